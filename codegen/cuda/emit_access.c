/* Memory. An access is done register by register, or in runs of 4, 8 or 16 bytes where several
 * registers are provably neighbours in memory: its subscripts become s0, s1 ..., the element is
 * touched where they are inside the buffer and the register is inside the tile. */
#include "codegen/cuda/emit.h"
#include "runtime/float_convert.h"
#include <string.h>

/* --- runs of several elements --- */

/* How an access of a tile is done: `run` registers of r<axis> at once. */
typedef struct run_shape {
  uint32_t axis, run, bytes;
} run_shape;

static run_shape find_run(tsr_cu *e, const tsr_cu_access *at) {
  const uint32_t size = tsr_dtype_bits(at->dtype) / 8;
  run_shape best = {0, 1, size};
  for (uint32_t axis = 0; axis < at->tile.rank; ++axis) {
    uint32_t run = tsr_cu_run_of(&at->tile, axis), most = 1;
    while (run % (most * 2) == 0 && most * 2 * size <= 16 &&
           at->tile.extents[axis] % (most * 2) == 0)
      most *= 2;
    run = most > 1 ? tsr_cu_run(e, at->value, at->subscripts, &at->tile, axis, most) : 1;
    if (run > best.run && run * size >= 4)
      best = (run_shape){axis, run, run * size};
  }
  return best;
}

static bool in_shared(const tsr_cu_access *at) {
  return at->buffer->level == TSR_LEVEL_L1 || at->buffer->level == TSR_LEVEL_L2;
}

static const char *run_type(const run_shape *shape) {
  return shape->bytes == 4 ? "tsr_u32x1" : shape->bytes == 8 ? "tsr_u32x2" : "tsr_u32x4";
}

static tsr_dtype bits_dtype(tsr_dtype dtype) {
  unsigned bits = tsr_dtype_bits(dtype);
  return bits == 64 ? TSR_U64 : bits == 32 ? TSR_U32 : bits == 16 ? TSR_U16 : TSR_U8;
}

/* The registers v further along the run. */
static const char *register_in_run(tsr_cu *e, const tsr_cu_tile *tile, const run_shape *shape,
                                   const char *v) {
  const char *r[TSR_MAX_RANK] = {NULL};
  r[shape->axis] = tsr_cu_format(e, "(r%u + %s)", shape->axis, v);
  return tsr_cu_register_at(e, tile, r);
}

/* Element v of a run as bits. */
static const char *element_of_run(tsr_cu *e, tsr_dtype dtype) {
  const unsigned bits = tsr_dtype_bits(dtype), fields = bits < 32 ? 32 / bits : 1;
  if (bits == 64)
    return "((tsr_u64)run.x[2 * v + 1] << 32 | run.x[2 * v])";
  if (bits == 32)
    return "run.x[v]";
  return tsr_cu_format(e, "((tsr_u%u)(run.x[v / %u] >> v %% %u * %u))", bits, fields, fields, bits);
}

/* `pad` in every element of a word; of 8 bytes its lower or upper half. */
static uint32_t pad_word(tsr_dtype dtype, double pad, uint32_t half) {
  uint64_t bits = 0;
  tsr_element_store_f64(dtype, &bits, 0, pad);
  for (unsigned width = tsr_dtype_bits(dtype); width < 32; width *= 2)
    bits |= bits << width;
  return (uint32_t)(bits >> (half * 32));
}

static void declare_run(tsr_cu *e, const run_shape *shape, tsr_dtype dtype, double pad) {
  const uint32_t low = pad_word(dtype, pad, 0);
  const uint32_t high = tsr_dtype_bits(dtype) == 64 ? pad_word(dtype, pad, 1) : low;
  if (shape->bytes == 4)
    tsr_cu_line(e, "tsr_u32x1 run = {{%uu}};", low);
  else if (shape->bytes == 8)
    tsr_cu_line(e, "tsr_u32x2 run = {{%uu, %uu}};", low, high);
  else
    tsr_cu_line(e, "tsr_u32x4 run = {{%uu, %uu, %uu, %uu}};", low, high, low, high);
}

static void load_runs(tsr_cu *e, const tsr_cu_access *at, const run_shape *shape,
                      const tsr_cu_tile *into, double pad) {
  const char *condition = NULL;
  tsr_cu_begin_runs(e, &at->tile, true, shape->axis, shape->run);
  const char *address = tsr_cu_address_of(e, tsr_cu_place(e, at, &condition));
  const char *call = tsr_cu_format(e, "tsr_load_%s_%u(%s)", in_shared(at) ? "shared" : "global",
                                   shape->bytes, address);
  if (!strcmp(condition, "1"))
    tsr_cu_line(e, "const %s run = %s;", run_type(shape), call);
  else {
    declare_run(e, shape, at->dtype, pad);
    tsr_cu_line(e, "if (%s)", condition);
    tsr_cu_line(e, "  run = %s;", call);
  }
  tsr_cu_line(e, "TSR_UNROLL");
  tsr_cu_line(e, "for (int v = 0; v < %u; ++v) {", shape->run);
  const char *bits = element_of_run(e, at->dtype);
  const char *value = tsr_cu_bitcast(e, bits_dtype(at->dtype), at->dtype, bits);
  tsr_cu_line(e, "%s = %s;", register_in_run(e, into, shape, "v"),
              tsr_cu_cast(e, at->dtype, into->dtype, value));
  tsr_cu_line(e, "}");
  tsr_cu_end(e);
}

/* Word w of a run from the registers. */
static const char *word_of_registers(tsr_cu *e, const run_shape *shape, const tsr_cu_tile *tile,
                                     tsr_dtype dtype) {
  const unsigned bits = tsr_dtype_bits(dtype), fields = 32 / bits;
  const char *values[4], *word = NULL;
  for (unsigned i = 0; i < fields; ++i) {
    const char *v = fields == 1 ? "w" : tsr_cu_format(e, i ? "w * %u + %u" : "w * %u", fields, i);
    values[i] = tsr_cu_cast(e, tile->dtype, dtype, register_in_run(e, tile, shape, v));
  }
  if (dtype == TSR_F16 || dtype == TSR_BF16)
    return tsr_cu_format(e, "tsr_f32x2_to_%sx2(%s, %s)", tsr_dtype_text(dtype), values[0],
                         values[1]);
  for (unsigned i = 0; i < fields; ++i) {
    const char *part = tsr_cu_bitcast(e, dtype, bits_dtype(dtype), values[i]);
    if (bits < 32)
      part = tsr_cu_format(e, "(tsr_u32)(tsr_u%u)%s", bits, part);
    word = i ? tsr_cu_format(e, "%s | %s << %u", word, part, i * bits) : part;
  }
  return word;
}

static void store_runs(tsr_cu *e, const tsr_cu_access *at, const run_shape *shape,
                       const tsr_cu_tile *tile) {
  const char *condition = NULL;
  tsr_cu_begin_runs(e, &at->tile, true, shape->axis, shape->run);
  const char *address = tsr_cu_address_of(e, tsr_cu_place(e, at, &condition));
  condition = tsr_cu_both(e, tsr_cu_owner(e, tile), condition);
  bool always = !strcmp(condition, "1"), wide = tsr_dtype_bits(at->dtype) == 64;
  if (!always)
    tsr_cu_line(e, "if (%s) {", condition);
  tsr_cu_line(e, "%s run;", run_type(shape));
  tsr_cu_line(e, "TSR_UNROLL");
  tsr_cu_line(e, "for (int w = 0; w < %u; ++w) {", wide ? shape->run : shape->bytes / 4);
  if (wide) {
    const char *value = register_in_run(e, tile, shape, "w");
    const char *bits =
        tsr_cu_bitcast(e, at->dtype, TSR_U64, tsr_cu_cast(e, tile->dtype, at->dtype, value));
    tsr_cu_line(e, "const tsr_u64 both = (tsr_u64)%s;", bits);
    tsr_cu_line(e, "run.x[2 * w] = (tsr_u32)both;");
    tsr_cu_line(e, "run.x[2 * w + 1] = (tsr_u32)(both >> 32);");
  } else
    tsr_cu_line(e, "run.x[w] = %s;", word_of_registers(e, shape, tile, at->dtype));
  tsr_cu_line(e, "}");
  tsr_cu_line(e, "tsr_store_%s_%u(%s, run);", in_shared(at) ? "shared" : "global", shape->bytes,
              address);
  if (!always)
    tsr_cu_line(e, "}");
  tsr_cu_end(e);
}

/* --- loads --- */

void tsr_cu_load_tile(tsr_cu *e, const tsr_cu_access *at, const tsr_cu_tile *into, double pad) {
  const char *condition = NULL;
  const run_shape shape = find_run(e, at);
  if (shape.run > 1) {
    load_runs(e, at, &shape, into, pad);
    return;
  }
  tsr_cu_begin(e, &at->tile, true);
  const char *element = tsr_cu_place(e, at, &condition);
  const char *value = tsr_cu_cast(e, at->dtype, into->dtype, tsr_cu_widen(e, at->dtype, element));
  if (!strcmp(condition, "1"))
    tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, into), value);
  else {
    const char *other = tsr_cu_cast(e, at->dtype, into->dtype, tsr_cu_number(e, at->dtype, pad));
    tsr_cu_line(e, "%s = %s ? %s : %s;", tsr_cu_register(e, into), condition, value, other);
  }
  tsr_cu_end(e);
}

void tsr_cu_load(tsr_cu *e) {
  const tsr_operand *operand = &e->op->operands[0];
  tsr_value result = e->op->results[0];
  tsr_cu_access at;
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, result)->type);
  shape.layout = tsr_cu_wanted(e, result, &shape);
  tsr_cu_access_init(e, &at, operand, operand->subscripts, &shape);
  const tsr_cu_tile *tile = tsr_cu_declare_result(e, NULL);
  tsr_cu_load_tile(e, &at, tile, tsr_op_float(e->ir, e->op_id, "pad", 0));
}

/* --- stores --- */

/* One element by an atomic instruction where there is one; NULL otherwise. */
static const char *atomic_call(tsr_cu *e, const char *combine, tsr_dtype dtype, const char *address,
                               const char *value) {
  bool add = !strcmp(combine, "add");
  switch (dtype) {
  case TSR_F32:
  case TSR_F64:
    return add ? tsr_cu_format(e, "tsr_atomic_add_%s(%s, %s);", tsr_dtype_text(dtype), address,
                               value)
               : NULL;
  case TSR_I32:
    if (add || !strcmp(combine, "max") || !strcmp(combine, "min"))
      return tsr_cu_format(e, "tsr_atomic_%s_i32(%s, %s);", combine, address, value);
    return NULL;
  case TSR_U32:
    return add ? tsr_cu_format(e, "tsr_atomic_add_i32((int *)%s, (int)%s);", address, value) : NULL;
  case TSR_I64:
  case TSR_U64:
    return add ? tsr_cu_format(e, "tsr_atomic_add_i64((tsr_s64 *)%s, (tsr_s64)%s);", address, value)
               : NULL;
  default:
    return NULL;
  }
}

/* new = combine(old, value), again while another thread was faster. Elements of a byte are changed
 * in the word that holds them. */
static void combine_by_exchange(tsr_cu *e, const char *combine, tsr_dtype dtype,
                                const char *address, const char *value) {
  unsigned bits = tsr_dtype_bits(dtype);
  tsr_dtype plain = bits == 64 ? TSR_U64 : bits == 16 ? TSR_U16 : TSR_U32;
  const char *type = tsr_cu_storage(plain), *old = "old";
  tsr_cu_line(e, "{");
  if (bits == 8) {
    tsr_cu_line(e, "const tsr_u64 byte = (tsr_u64)%s;", address);
    tsr_cu_line(e, "tsr_u32 *const word = (tsr_u32 *)(byte & ~(tsr_u64)3);");
    tsr_cu_line(e, "const int low = (int)(byte & 3) * 8;");
    old = "(tsr_u8)(old >> low)";
  } else
    tsr_cu_line(e, "%s *const word = (%s *)%s;", type, type, address);
  tsr_cu_line(e, "%s seen = tsr_atomic_cas_u%u(word, 0, 0), old;", type, bits == 8 ? 32 : bits);
  tsr_cu_line(e, "do {");
  tsr_cu_line(e, "old = seen;");
  tsr_cu_line(e, "const %s before = %s;", tsr_cu_ctype(dtype),
              tsr_cu_bitcast(e, bits == 8 ? TSR_U8 : plain, dtype, old));
  tsr_cu_line(e, "const %s after = %s;", tsr_cu_ctype(dtype),
              tsr_cu_combine(e, combine, dtype, "before", value));
  const char *next = tsr_cu_bitcast(e, dtype, bits == 8 ? TSR_U8 : plain, "after");
  if (bits == 8)
    next = tsr_cu_format(e, "(old & ~(255u << low)) | (tsr_u32)%s << low", next);
  tsr_cu_line(e, "seen = tsr_atomic_cas_u%u(word, old, %s);", bits == 8 ? 32 : bits, next);
  tsr_cu_line(e, "} while (seen != old);");
  tsr_cu_line(e, "}");
}

static void store_element(tsr_cu *e, const tsr_cu_access *at, const char *element,
                          const char *combine, const char *value) {
  if (!combine) {
    tsr_cu_line(e, "%s = %s;", element, tsr_cu_narrow(e, at->dtype, value));
    return;
  }
  const char *address = tsr_cu_address_of(e, element);
  const char *call = atomic_call(e, combine, at->dtype, address, value);
  if (call)
    tsr_cu_line(e, "%s", call);
  else
    combine_by_exchange(e, combine, at->dtype, address, value);
}

static void store_tile(tsr_cu *e, const tsr_cu_access *at, const tsr_cu_tile *tile,
                       const char *combine) {
  const char *condition = NULL;
  const run_shape shape = find_run(e, at);
  if (shape.run > 1 && !combine) {
    store_runs(e, at, &shape, tile);
    return;
  }
  tsr_cu_begin(e, &at->tile, true);
  const char *element = tsr_cu_place(e, at, &condition);
  condition = tsr_cu_both(e, tsr_cu_owner(e, tile), condition);
  const char *value = tsr_cu_cast(e, tile->dtype, at->dtype, tsr_cu_register(e, tile));
  bool always = !strcmp(condition, "1");
  if (!always)
    tsr_cu_line(e, "if (%s) {", condition);
  store_element(e, at, element, combine, value);
  if (!always)
    tsr_cu_line(e, "}");
  tsr_cu_end(e);
}

void tsr_cu_store(tsr_cu *e) {
  const tsr_cu_tile *tile = tsr_cu_operand(e, 0);
  const tsr_operand *operand = &e->op->operands[1];
  const char *combine = tsr_op_string(e->ir, e->op_id, "combine");
  tsr_cu_access at;
  if (combine && !strcmp(combine, "none"))
    combine = NULL;
  tsr_cu_access_init(e, &at, operand, operand->subscripts, tile);
  if (combine && !tsr_cu_identity(e, combine, at.dtype))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a store cannot combine by '%s'", combine);
  store_tile(e, &at, tile, combine);
}

/* --- copy --- */

/* Runs that both sides have, if every thread is left with one. */
tsr_cu_layout tsr_cu_box_layout(tsr_cu *e, const tsr_cu_tile *box, const tsr_expr *from,
                                const tsr_expr *to) {
  uint32_t run = 16 * 8 / tsr_dtype_bits(box->dtype);
  while (run > 1 && (box->rank == 0 || box->extents[0] % run != 0 ||
                     tsr_cu_elements(box) < (uint64_t)run * e->threads))
    run /= 2;
  for (uint32_t i = 0; i < 2 && run > 1; ++i)
    run = tsr_cu_run(e, e->op->operands[i].value, i ? to : from, box, 0, run);
  return tsr_cu_default_layout(e->threads, box, run);
}

void tsr_cu_copy_plain(tsr_cu *e) {
  const tsr_operand *operands = e->op->operands;
  tsr_expr from[TSR_MAX_RANK], to[TSR_MAX_RANK];
  tsr_cu_tile box;
  tsr_cu_access at;
  tsr_cu_copy_box(e, &box, from, to);
  box.layout = tsr_cu_box_layout(e, &box, from, to);
  tsr_cu_line(e, "{");
  tsr_cu_access_init(e, &at, &operands[0], from, &box);
  const tsr_cu_tile *tile = tsr_cu_declare(e, &box, "box");
  tsr_cu_load_tile(e, &at, tile, tsr_op_float(e->ir, e->op_id, "pad", 0));
  tsr_cu_access_init(e, &at, &operands[1], to, &box);
  store_tile(e, &at, tile, NULL);
  tsr_cu_line(e, "}");
}

/* --- append --- */

void tsr_cu_append(tsr_cu *e) {
  const tsr_operand *operand = &e->op->operands[1];
  const tsr_cu_tile none = {.dtype = TSR_I64};
  tsr_cu_access at;
  const char *condition = NULL;
  tsr_cu_access_init(e, &at, operand, operand->subscripts, &none);
  unsigned bits = tsr_dtype_bits(at.dtype);
  tsr_dtype_class kind = tsr_dtype_class_of(at.dtype);
  if (tsr_cu_operand(e, 0)->dtype != TSR_BOOL || (kind != TSR_CLASS_INT && kind != TSR_CLASS_UINT))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "append needs an integer counter and a bool tile");
  if (bits < 32)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a counter of %u bits has no code on CUDA", bits);
  const tsr_cu_tile *tile = tsr_cu_declare_result(e, NULL);
  const tsr_cu_tile *kept = tsr_cu_relayout(e, tsr_cu_operand(e, 0), &tile->layout);
  tsr_cu_line(e, "{");
  const char *counter = tsr_cu_place(e, &at, &condition);
  tsr_cu_begin(e, tile, true);
  const char *mine = tsr_cu_both(e, tsr_cu_both(e, tsr_cu_owner(e, tile), tsr_cu_inside(e, tile)),
                                 tsr_cu_register(e, kept));
  const char *type = tsr_cu_ctype(tile->dtype), *word = bits == 64 ? "tsr_s64" : "int";
  tsr_cu_line(e, "%s = %s ? (%s)tsr_atomic_add_i%u((%s *)%s, 1) : (%s)-1;",
              tsr_cu_register(e, tile), mine, type, bits, word, tsr_cu_address_of(e, counter),
              type);
  tsr_cu_end(e);
  tsr_cu_line(e, "}");
  tsr_cu_share(e, tile);
}
