/* Memory. An access is done register by register, or in runs of 4, 8 or 16 bytes where several
 * registers are provably neighbours in memory: its subscripts become s0, s1 ..., the element is
 * touched where they are inside the buffer and the register is inside the tile. */
#include "codegen/cuda/emit.h"
#include <string.h>

/* --- runs of several elements --- */

/* How an access of a tile is best done. */
static tsr_cu_run_shape find_run(tsr_cu *e, const tsr_cu_access *at) {
  const uint32_t size = tsr_dtype_bits(at->dtype) / 8;
  tsr_cu_run_shape best = {0, 1, size};
  for (uint32_t axis = 0; axis < at->tile.rank; ++axis) {
    uint32_t run = tsr_cu_run_of(&at->tile, axis), most = 1;
    while (run % (most * 2) == 0 && most * 2 * size <= 16 &&
           at->tile.extents[axis] % (most * 2) == 0)
      most *= 2;
    run = most > 1 ? tsr_cu_run(e, at->value, at->subscripts, &at->tile, axis, most) : 1;
    if (run > best.run && run * size >= 4)
      best = (tsr_cu_run_shape){axis, run, run * size};
  }
  return best;
}

static bool in_shared(const tsr_cu_access *at) {
  return at->buffer->level == TSR_LEVEL_L1 || at->buffer->level == TSR_LEVEL_L2;
}

static void load_runs(tsr_cu *e, const tsr_cu_access *at, const tsr_cu_run_shape *shape,
                      const tsr_cu_tile *into, double pad) {
  const char *condition = NULL;
  tsr_cu_begin_runs(e, &at->tile, true, shape->axis, shape->run);
  const char *address = tsr_cu_address_of(e, tsr_cu_place(e, at, &condition));
  const tsr_cu_run_place place = {at->dtype, in_shared(at), address, condition};
  tsr_cu_load_run(e, shape, into, &place, pad);
  tsr_cu_end(e);
}

static void store_runs(tsr_cu *e, const tsr_cu_access *at, const tsr_cu_run_shape *shape,
                       const tsr_cu_tile *tile) {
  const char *condition = NULL;
  tsr_cu_begin_runs(e, &at->tile, true, shape->axis, shape->run);
  const char *address = tsr_cu_address_of(e, tsr_cu_place(e, at, &condition));
  condition = tsr_cu_both(e, tsr_cu_owner(e, tile), condition);
  const tsr_cu_run_place place = {at->dtype, in_shared(at), address, condition};
  tsr_cu_store_run(e, shape, tile, &place);
  tsr_cu_end(e);
}

/* --- loads --- */

void tsr_cu_load_tile(tsr_cu *e, const tsr_cu_access *at, const tsr_cu_tile *into, double pad) {
  const char *condition = NULL;
  const tsr_cu_run_shape shape = find_run(e, at);
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
  if (shape.layout.use != TSR_CU_NO_USE && tsr_op_float(e->ir, e->op_id, "pad", 0) == 0 &&
      shape.dtype == tsr_value_type(e->ir, operand->value)->dtype) {
    tsr_cu_fragment(e);
    return;
  }
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
  const tsr_cu_run_shape shape = find_run(e, at);
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

/* Four lanes of accumulators have 8 neighbours of a row: a sector of 32 bytes if these are of 4
 * bytes, half of one if of 2, and every half is a transaction. So four lanes exchange words of four
 * blocks of 8 columns: then each has a block, 16 bytes. Is the tile laid out for that? `out_quads`:
 * as it is then. Not behind wgmma: where shuffles follow a pipelined loop of unknown length, ptxas
 * believes that they read accumulators under way, and serialises (C7514). */
static bool in_quads(tsr_cu *e, const tsr_cu_access *at, const tsr_cu_tile *tile,
                     tsr_cu_tile *out_quads) {
  const tsr_cu_axis *own = &tile->layout.axis[0];
  if (tile->rank == 0 || tile->packed || tile->dtype != at->dtype || e->accumulator_count > 0 ||
      tsr_dtype_bits(at->dtype) != 16 || at->buffer->level != TSR_LEVEL_GLOBAL || own->count < 3)
    return false;
  const tsr_cu_digit *pair = &own->digits[0], *lanes = &own->digits[1], *blocks = &own->digits[2];
  if (pair->stride != 0 || pair->size != 2 || lanes->stride != 1 || lanes->size != 4 ||
      blocks->stride != 0 || blocks->size % 4 != 0)
    return false;
  *out_quads = *tile;
  tsr_cu_axis *axis = &out_quads->layout.axis[0];
  *axis = (tsr_cu_axis){0};
  tsr_cu_push(axis, 8, 0, pair->order);
  tsr_cu_push(axis, 4, 1, 0);
  tsr_cu_push(axis, blocks->size / 4, 0, blocks->order);
  for (uint32_t i = 3; i < own->count; ++i)
    tsr_cu_push(axis, own->digits[i].size, own->digits[i].stride, own->digits[i].order);
  return tile->extents[0] % 8 == 0 && tsr_cu_run(e, at->value, at->subscripts, tile, 0, 8) == 8;
}

static void store_quads(tsr_cu *e, tsr_cu_access *at, const tsr_cu_tile *tile,
                        const tsr_cu_tile *quads) {
  const tsr_cu_run_shape shape = {0, 8, 16};
  const char *condition = NULL;
  at->tile = *quads;
  tsr_cu_begin_runs(e, quads, true, 0, shape.run);
  const char *address = tsr_cu_address_of(e, tsr_cu_place(e, at, &condition));
  condition = tsr_cu_both(e, tsr_cu_owner(e, quads), condition);
  tsr_cu_gather_run(e, &shape, tile, at->dtype);
  tsr_cu_line(e, "run = tsr_quad_transpose(run, thread);");
  if (strcmp(condition, "1") != 0)
    tsr_cu_line(e, "if (%s)", condition);
  tsr_cu_line(e, "%stsr_store_global_16(%s, run);", strcmp(condition, "1") != 0 ? "  " : "",
              address);
  tsr_cu_end(e);
}

void tsr_cu_store(tsr_cu *e) {
  const tsr_cu_tile *tile = tsr_cu_operand(e, 0);
  const tsr_operand *operand = &e->op->operands[1];
  const char *combine = tsr_op_string(e->ir, e->op_id, "combine");
  tsr_cu_access at;
  tsr_cu_tile quads;
  if (combine && !strcmp(combine, "none"))
    combine = NULL;
  tsr_cu_access_init(e, &at, operand, operand->subscripts, tile);
  if (combine && !tsr_cu_identity(e, combine, at.dtype))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a store cannot combine by '%s'", combine);
  if (!combine && in_quads(e, &at, tile, &quads)) {
    store_quads(e, &at, tile, &quads);
    return;
  }
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
