/* Memory. An access is done register by register: its subscripts become s0, s1 ..., the element is
 * touched where they are inside the buffer and the register is inside the tile. Checks that
 * `tsr_expr_prove_nonnegative` proves are left out. */
#include "codegen/cuda/emit.h"
#include <string.h>

typedef struct access {
  tsr_value value;
  const tsr_type_info *buffer;
  tsr_dtype dtype;
  const tsr_expr *subscripts;
  tsr_cu_tile tile; /* what is moved, with its layout */
} access;

static void access_init(tsr_cu *e, access *at, const tsr_operand *operand,
                        const tsr_expr *subscripts, const tsr_cu_tile *tile) {
  *at = (access){.value = operand->value,
                 .buffer = tsr_value_type(e->ir, operand->value),
                 .subscripts = subscripts,
                 .tile = *tile};
  at->dtype = at->buffer->dtype;
  if (!e->slots[operand->value].buffer)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the accessed value is not a buffer");
  if (operand->subscript_count != at->buffer->rank)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "%u subscripts for a buffer of rank %u",
                operand->subscript_count, at->buffer->rank);
  if (!tsr_cu_supports(at->dtype))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "buffers of %s have no code on CUDA",
                tsr_dtype_text(at->dtype));
  if (e->hazard[operand->value])
    tsr_cu_barrier(e);
}

/* --- places --- */

/* The `swizzle` of the alloc that made a buffer; 0: none. */
static uint32_t swizzle_of(const tsr_cu *e, tsr_value buffer) {
  const tsr_value_data *data = tsr_value_get(e->ir, buffer);
  if (data->role != TSR_ROLE_RESULT || tsr_op_get(e->ir, data->def)->code != TSR_OP_ALLOC)
    return 0;
  return (uint32_t)tsr_op_int(e->ir, data->def, "swizzle", 0);
}

/* The element's number, from the text of its subscripts: ((s0) * d1 + s1) * d2 + s2. */
static const char *horner(tsr_cu *e, const tsr_type_info *buffer, const char *const *subscripts,
                          uint32_t count) {
  const char *offset = NULL;
  for (uint32_t i = 0; i < count; ++i)
    offset =
        offset ? tsr_cu_format(e, "%s * %s + %s", i > 1 ? tsr_cu_format(e, "(%s)", offset) : offset,
                               tsr_cu_index(e, buffer->dims[i], NULL), subscripts[i])
               : subscripts[i];
  return offset ? offset : "0";
}

/* Rows of exactly the swizzle's width are told from the place inside of them, so that the compiler
 * sees which bits the xor can touch. */
static const char *swizzled(tsr_cu *e, tsr_value value, uint32_t width,
                            const char *const *subscripts) {
  const tsr_type_info *buffer = tsr_value_type(e->ir, value);
  const uint32_t rank = buffer->rank, bytes = tsr_dtype_bits(buffer->dtype) / 8;
  const char *type = tsr_cu_storage(buffer->dtype), *base = e->slots[value].buffer;
  int64_t row = 0;
  if (rank < 2 || !tsr_expr_is_int(e->ir, buffer->dims[rank - 1], &row) || row * bytes != width)
    return tsr_cu_format(e, "*(%s *)((tsr_u8 *)%s + tsr_swizzle_%u((tsr_u32)(%s) * %u))", type,
                         base, width, horner(e, buffer, subscripts, rank), bytes);
  return tsr_cu_format(e, "*(%s *)((tsr_u8 *)%s + tsr_swizzle_row_%u(%s, (%s) * %u))", type, base,
                       width, horner(e, buffer, subscripts, rank - 1), subscripts[rank - 1], bytes);
}

static const char *element_at(tsr_cu *e, tsr_value value, const char *const *subscripts) {
  uint32_t width = swizzle_of(e, value);
  if (width)
    return swizzled(e, value, width, subscripts);
  const tsr_type_info *buffer = tsr_value_type(e->ir, value);
  return tsr_cu_format(e, "%s[%s]", e->slots[value].buffer,
                       horner(e, buffer, subscripts, buffer->rank));
}

const char *tsr_cu_element(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                           const tsr_cu_tile *around) {
  const char *texts[TSR_MAX_RANK];
  uint32_t rank = tsr_value_type(e->ir, buffer)->rank;
  for (uint32_t i = 0; i < rank; ++i)
    texts[i] = tsr_cu_index(e, subscripts[i], around);
  return element_at(e, buffer, texts);
}

/* &*x is x. */
static const char *address_of(tsr_cu *e, const char *element) {
  return *element == '*' ? tsr_cu_format(e, "(%s)", element + 1) : tsr_cu_format(e, "&%s", element);
}

const char *tsr_cu_address(tsr_cu *e, tsr_value buffer, const tsr_expr *subscripts,
                           const tsr_cu_tile *around) {
  return address_of(e, tsr_cu_element(e, buffer, subscripts, around));
}

static bool proven(tsr_cu *e, const access *at, tsr_expr expr) {
  int64_t lanes[TSR_MAX_RANK] = {0};
  for (uint32_t lane = 0; lane < at->tile.rank; ++lane)
    lanes[lane] = at->tile.extents[at->tile.rank - 1 - lane];
  return tsr_expr_prove_nonnegative(e->ir, expr, lanes, at->tile.rank);
}

/* Inside the loops over the tile's registers: declares the subscripts. The element's place, and
 * when it may be touched. */
static const char *place(tsr_cu *e, const access *at, const char **out_condition) {
  const char *subscripts[TSR_MAX_RANK], *condition = tsr_cu_inside(e, &at->tile);
  for (uint32_t i = 0; i < at->buffer->rank; ++i) {
    tsr_expr subscript = at->subscripts[i], dim = at->buffer->dims[i];
    const char *text = tsr_cu_index(e, subscript, &at->tile);
    tsr_cu_line(e, "const tsr_s64 s%u = %s;", i, text);
    if (!proven(e, at, subscript))
      condition = tsr_cu_both(e, condition, tsr_cu_format(e, "s%u >= 0", i));
    if (!proven(e, at, tsr_expr_sub(e->ir, tsr_expr_add_int(e->ir, dim, -1), subscript)))
      condition =
          tsr_cu_both(e, condition, tsr_cu_format(e, "s%u < %s", i, tsr_cu_index(e, dim, NULL)));
    subscripts[i] = tsr_cu_format(e, "s%u", i);
  }
  *out_condition = condition;
  return element_at(e, at->value, subscripts);
}

static void load_tile(tsr_cu *e, const access *at, const tsr_cu_tile *into, double pad) {
  const char *condition = NULL;
  tsr_cu_begin(e, &at->tile, true);
  const char *element = place(e, at, &condition);
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
  access at;
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, result)->type);
  shape.layout = tsr_cu_wanted(e, result, &shape);
  access_init(e, &at, operand, operand->subscripts, &shape);
  const tsr_cu_tile *tile = tsr_cu_declare_result(e, NULL);
  load_tile(e, &at, tile, tsr_op_float(e->ir, e->op_id, "pad", 0));
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

static void store_element(tsr_cu *e, const access *at, const char *element, const char *combine,
                          const char *value) {
  if (!combine) {
    tsr_cu_line(e, "%s = %s;", element, tsr_cu_narrow(e, at->dtype, value));
    return;
  }
  const char *address = address_of(e, element);
  const char *call = atomic_call(e, combine, at->dtype, address, value);
  if (call)
    tsr_cu_line(e, "%s", call);
  else
    combine_by_exchange(e, combine, at->dtype, address, value);
}

static void store_tile(tsr_cu *e, const access *at, const tsr_cu_tile *tile, const char *combine) {
  const char *condition = NULL;
  tsr_cu_begin(e, &at->tile, true);
  const char *element = place(e, at, &condition);
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
  access at;
  if (combine && !strcmp(combine, "none"))
    combine = NULL;
  access_init(e, &at, operand, operand->subscripts, tile);
  if (combine && !tsr_cu_identity(e, combine, at.dtype))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a store cannot combine by '%s'", combine);
  store_tile(e, &at, tile, combine);
}

/* --- copy --- */

void tsr_cu_copy_plain(tsr_cu *e) {
  const tsr_operand *operands = e->op->operands;
  tsr_expr from[TSR_MAX_RANK], to[TSR_MAX_RANK];
  tsr_cu_tile box;
  access at;
  tsr_cu_copy_box(e, &box, from, to);
  box.layout = tsr_cu_default_layout(e->threads, box.extents, box.rank);
  tsr_cu_line(e, "{");
  access_init(e, &at, &operands[0], from, &box);
  const tsr_cu_tile *tile = tsr_cu_declare(e, &box, "box");
  load_tile(e, &at, tile, tsr_op_float(e->ir, e->op_id, "pad", 0));
  access_init(e, &at, &operands[1], to, &box);
  store_tile(e, &at, tile, NULL);
  tsr_cu_line(e, "}");
}

/* --- append --- */

void tsr_cu_append(tsr_cu *e) {
  const tsr_operand *operand = &e->op->operands[1];
  const tsr_cu_tile none = {.dtype = TSR_I64};
  access at;
  const char *condition = NULL;
  access_init(e, &at, operand, operand->subscripts, &none);
  unsigned bits = tsr_dtype_bits(at.dtype);
  tsr_dtype_class kind = tsr_dtype_class_of(at.dtype);
  if (tsr_cu_operand(e, 0)->dtype != TSR_BOOL || (kind != TSR_CLASS_INT && kind != TSR_CLASS_UINT))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "append needs an integer counter and a bool tile");
  if (bits < 32)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a counter of %u bits has no code on CUDA", bits);
  const tsr_cu_tile *tile = tsr_cu_declare_result(e, NULL);
  const tsr_cu_tile *kept = tsr_cu_relayout(e, tsr_cu_operand(e, 0), &tile->layout);
  tsr_cu_line(e, "{");
  const char *counter = place(e, &at, &condition);
  tsr_cu_begin(e, tile, true);
  const char *mine = tsr_cu_both(e, tsr_cu_both(e, tsr_cu_owner(e, tile), tsr_cu_inside(e, tile)),
                                 tsr_cu_register(e, kept));
  const char *type = tsr_cu_ctype(tile->dtype), *word = bits == 64 ? "tsr_s64" : "int";
  tsr_cu_line(e, "%s = %s ? (%s)tsr_atomic_add_i%u((%s *)%s, 1) : (%s)-1;",
              tsr_cu_register(e, tile), mine, type, bits, word, address_of(e, counter), type);
  tsr_cu_end(e);
  tsr_cu_line(e, "}");
  tsr_cu_share(e, tile);
}
