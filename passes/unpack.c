/* unpack: after it, no value has elements of less than a byte. Neighbours of 1, 2 or 4 bits share a
 * byte, which tasks, threads and vector lanes could not store to side by side. So inside of a
 * program every element has a byte: integers as i8 or u8, f4e2m1 as f8e4m3, which has all of its
 * values. Inputs and outputs stay packed: they become bytes that say in `packed` and `shape` what
 * the caller sees, and ops take them apart and put them together, each byte by one element. What
 * the narrow type would round or cut off is written out where a value is made. */
#include "ir/const_bytes.h"
#include "ir/graph_build.h"
#include "passes/passes.h"
#include "passes/point.h"
#include "runtime/float_convert.h"
#include <string.h>

typedef struct unpacking {
  tsr_ir *ir;
  tsr_diag *diag;
  tsr_builder b;
} unpacking;

/* Types of 6 bits lie across bytes; nothing makes them yet. */
static bool is_packed(tsr_dtype dtype) {
  unsigned bits = tsr_dtype_bits(dtype);
  return bits == 1 || bits == 2 || bits == 4;
}

static tsr_dtype unpacked(tsr_dtype dtype) {
  tsr_dtype_class class = tsr_dtype_class_of(dtype);
  return class == TSR_CLASS_FLOAT ? TSR_F8E4M3 : class == TSR_CLASS_INT ? TSR_I8 : TSR_U8;
}

static tsr_dtype dtype_of(const unpacking *u, tsr_value value) {
  return tsr_value_type(u->ir, value)->dtype;
}

static void retype(unpacking *u, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(u->ir, value);
  if (is_packed(type->dtype))
    tsr_value_set_type(
        u->ir, value,
        tsr_type_make(u->ir, type->level, unpacked(type->dtype), type->dims, type->rank));
}

/* --- words --- */

static tsr_value apply(unpacking *u, tsr_opcode code, tsr_value x, tsr_value y) {
  return tsr_graph_binary(&u->b, code, x, y);
}

static tsr_value integer(unpacking *u, tsr_value like, int64_t number) {
  return tsr_graph_scalar_int(&u->b, dtype_of(u, like), number);
}

static tsr_value real(unpacking *u, tsr_value like, double number) {
  return tsr_graph_scalar(&u->b, dtype_of(u, like), number);
}

static tsr_value with_int(unpacking *u, tsr_opcode code, tsr_value x, int64_t number) {
  return apply(u, code, x, integer(u, x, number));
}

static tsr_value with_real(unpacking *u, tsr_opcode code, tsr_value x, double number) {
  return apply(u, code, x, real(u, x, number));
}

/* --- values --- */

/* The low bits of i8 or u8 as a value of the type. */
static tsr_value wrap(unpacking *u, tsr_value x, tsr_dtype dtype) {
  int64_t bits = tsr_dtype_bits(dtype);
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_UINT)
    return with_int(u, TSR_OP_AND, x, ((int64_t)1 << bits) - 1);
  return with_int(u, TSR_OP_SHR, with_int(u, TSR_OP_SHL, x, 8 - bits), 8 - bits);
}

/* Floats of at least 32 bits, where every constant below is exact. */
static tsr_value widen(unpacking *u, tsr_value x) {
  return dtype_of(u, x) == TSR_F64 ? x : tsr_graph_cast(&u->b, x, TSR_F32);
}

/* f4e2m1 has steps of 0.5 below 2, of 1 below 4, then 4 and 6. Halves go to the even code, which is
 * where rounding to even leads in each of the three. */
static tsr_value to_f4(unpacking *u, tsr_value x) {
  x = widen(u, x);
  tsr_value size = tsr_graph_unary(&u->b, TSR_OP_ABS, x);
  tsr_value fine = tsr_graph_unary(&u->b, TSR_OP_ROUND, with_real(u, TSR_OP_MUL, x, 2));
  tsr_value whole = tsr_graph_unary(&u->b, TSR_OP_ROUND, x);
  tsr_value coarse = tsr_graph_unary(&u->b, TSR_OP_ROUND, with_real(u, TSR_OP_MUL, x, 0.5));
  tsr_value y = tsr_graph_select(&u->b, with_real(u, TSR_OP_LT, size, 4), whole,
                                 with_real(u, TSR_OP_MUL, coarse, 2));
  y = tsr_graph_select(&u->b, with_real(u, TSR_OP_LT, size, 2), with_real(u, TSR_OP_MUL, fine, 0.5),
                       y);
  y = with_real(u, TSR_OP_MAX, with_real(u, TSR_OP_MIN, y, 6), -6);
  y = tsr_graph_select(&u->b, tsr_graph_unary(&u->b, TSR_OP_ISNAN, x), real(u, x, 6), y);
  return tsr_graph_cast(&u->b, y, TSR_F8E4M3);
}

/* `x` is of any type that is not packed. */
static tsr_value to_packed(unpacking *u, tsr_value x, tsr_dtype dtype) {
  int64_t bits = tsr_dtype_bits(dtype);
  bool sign = tsr_dtype_class_of(dtype) == TSR_CLASS_INT;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
    return to_f4(u, x);
  if (tsr_dtype_class_of(dtype_of(u, x)) != TSR_CLASS_FLOAT)
    return wrap(u, tsr_graph_cast(&u->b, x, unpacked(dtype)), dtype);
  x = with_real(u, TSR_OP_MIN, widen(u, x), (double)(((int64_t)1 << (bits - sign)) - 1));
  x = with_real(u, TSR_OP_MAX, x, sign ? -(double)((int64_t)1 << (bits - 1)) : 0);
  return tsr_graph_cast(&u->b, x, unpacked(dtype));
}

/* --- codes: u8 with the element's bits --- */

/* f8e4m3 counts exponents from 6 higher: from 1 on the codes are a shift and a sum away. */
static tsr_value from_code(unpacking *u, tsr_value code, tsr_dtype dtype) {
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_UINT)
    return code;
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_INT)
    return wrap(u, tsr_graph_bitcast(&u->b, code, TSR_I8), dtype);
  tsr_value sign = with_int(u, TSR_OP_SHL, with_int(u, TSR_OP_AND, code, 8), 4);
  tsr_value size = with_int(u, TSR_OP_AND, code, 7);
  tsr_value normal = with_int(u, TSR_OP_ADD, with_int(u, TSR_OP_SHL, size, 2), 0x30);
  tsr_value half = with_int(u, TSR_OP_MUL, size, 0x30);
  tsr_value bits = tsr_graph_select(&u->b, with_int(u, TSR_OP_GE, size, 2), normal, half);
  return tsr_graph_bitcast(&u->b, apply(u, TSR_OP_OR, bits, sign), TSR_F8E4M3);
}

static tsr_value to_code(unpacking *u, tsr_value x, tsr_dtype dtype) {
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_UINT)
    return x;
  x = tsr_graph_bitcast(&u->b, x, TSR_U8);
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_INT)
    return with_int(u, TSR_OP_AND, x, ((int64_t)1 << tsr_dtype_bits(dtype)) - 1);
  tsr_value sign = with_int(u, TSR_OP_AND, with_int(u, TSR_OP_SHR, x, 4), 8);
  tsr_value size = with_int(u, TSR_OP_AND, x, 0x7f);
  tsr_value normal = with_int(u, TSR_OP_SHR, with_int(u, TSR_OP_SUB, size, 0x30), 2);
  tsr_value half = with_int(u, TSR_OP_MIN, size, 1);
  tsr_value code = tsr_graph_select(&u->b, with_int(u, TSR_OP_GE, size, 0x38), normal, half);
  return apply(u, TSR_OP_OR, code, sign);
}

/* --- bytes --- */

typedef struct packing {
  tsr_dtype dtype;
  int64_t bits, per_byte;
  tsr_expr count, bytes, padded; /* elements, bytes, elements that the bytes have room for */
} packing;

static packing packing_of(unpacking *u, tsr_type type) {
  tsr_ir *ir = u->ir;
  packing p = {.dtype = tsr_type_get(ir, type)->dtype};
  p.bits = tsr_dtype_bits(p.dtype);
  p.per_byte = 8 / p.bits;
  p.count = tsr_type_elements(ir, type);
  p.bytes = tsr_expr_binary(ir, TSR_INDEX_CEILDIV, p.count, tsr_expr_int(ir, p.per_byte));
  p.padded = tsr_expr_mul_int(ir, p.bytes, p.per_byte);
  return p;
}

/* u8[bytes] -> u8[bytes, per_byte] -> the elements that are there -> the shape. */
static tsr_value unpack(unpacking *u, tsr_value bytes, const packing *p, const tsr_type_info *to) {
  unsigned char shifts[8];
  tsr_expr rows[2] = {p->bytes, tsr_expr_int(u->ir, 1)}, zero = tsr_expr_int(u->ir, 0);
  int64_t step = 1;
  for (int64_t i = 0; i < p->per_byte; i++)
    shifts[i] = (unsigned char)(i * p->bits);
  tsr_value by = tsr_graph_const(&u->b, TSR_U8, &p->per_byte, 1, shifts, true);
  tsr_value codes = apply(u, TSR_OP_SHR, tsr_graph_reshape(&u->b, bytes, rows, 2), by);
  codes = with_int(u, TSR_OP_AND, codes, ((int64_t)1 << p->bits) - 1);
  codes = tsr_graph_reshape(&u->b, codes, &p->padded, 1);
  if (p->padded != p->count)
    codes = tsr_graph_slice(&u->b, codes, &zero, &step, &p->count);
  return from_code(u, tsr_graph_reshape(&u->b, codes, to->dims, to->rank), p->dtype);
}

/* The way back; each byte is the `or` of its elements. */
static tsr_value pack(unpacking *u, tsr_value value, const packing *p) {
  tsr_expr zero = tsr_expr_int(u->ir, 0), one = tsr_expr_int(u->ir, 1);
  tsr_expr rows[2] = {p->bytes, tsr_expr_int(u->ir, p->per_byte)}, column[2] = {p->bytes, one};
  int64_t steps[2] = {1, 1};
  tsr_value codes = tsr_graph_reshape(&u->b, to_code(u, value, p->dtype), &p->count, 1), bytes = 0;
  if (p->padded != p->count) {
    tsr_expr high = tsr_expr_sub(u->ir, p->padded, p->count);
    codes = tsr_graph_pad(&u->b, codes, integer(u, codes, 0), &zero, &high, NULL, "constant");
  }
  codes = tsr_graph_reshape(&u->b, codes, rows, 2);
  for (int64_t i = 0; i < p->per_byte; i++) {
    tsr_expr start[2] = {zero, tsr_expr_int(u->ir, i)};
    tsr_value part = tsr_graph_slice(&u->b, codes, start, steps, column);
    part = with_int(u, TSR_OP_SHL, tsr_graph_reshape(&u->b, part, &p->bytes, 1), i * p->bits);
    bytes = bytes == 0 ? part : apply(u, TSR_OP_OR, bytes, part);
  }
  return bytes;
}

/* --- ops --- */

/* What the caller sees of bytes. */
static void describe(unpacking *u, tsr_op op, tsr_dtype dtype, const tsr_type_info *shape) {
  tsr_op_set_dtype(u->ir, op, "packed", dtype);
  if (shape->rank > 0)
    tsr_op_set_exprs(u->ir, op, "shape", shape->dims, shape->rank);
}

/* A copy of an op without regions, with results still to be added. */
static tsr_op begin_copy(unpacking *u, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(u->ir, op);
  tsr_op made = tsr_op_append(u->ir, u->b.region, data->code);
  for (uint32_t i = 0; made != 0 && i < data->attr_count; i++)
    tsr_op_set_attr(u->ir, made, &data->attrs[i]);
  return made;
}

static tsr_value unpack_input(unpacking *u, tsr_op op) {
  tsr_type type = tsr_value_get(u->ir, tsr_op_result(u->ir, op, 0))->type;
  packing p = packing_of(u, type);
  tsr_op made = begin_copy(u, op);
  if (made == 0)
    return 0;
  tsr_op_remove_attr(u->ir, made, "sparse");
  describe(u, made, p.dtype, tsr_type_get(u->ir, type));
  tsr_value bytes =
      tsr_op_add_result(u->ir, made, tsr_type_make(u->ir, TSR_LEVEL_GLOBAL, TSR_U8, &p.bytes, 1));
  return unpack(u, bytes, &p, tsr_type_get(u->ir, type));
}

/* One number stays one number, whatever the shape. */
static tsr_value unpack_splat(unpacking *u, const tsr_type_info *type, double number,
                              int64_t whole) {
  tsr_dtype dtype = unpacked(type->dtype);
  if (tsr_dtype_class_of(dtype) != TSR_CLASS_FLOAT)
    return tsr_graph_broadcast(&u->b, tsr_graph_scalar_int(&u->b, dtype, whole), type->dims,
                               type->rank);
  number =
      tsr_float_decode(type->dtype, tsr_float_encode(type->dtype, number, TSR_OVERFLOW_SATURATE));
  return tsr_graph_splat(&u->b, dtype, number, type->dims, type->rank);
}

static tsr_status unpack_const(unpacking *u, tsr_op op, tsr_value *out) {
  const tsr_type_info *type = tsr_value_type(u->ir, tsr_op_result(u->ir, op, 0));
  tsr_dtype dtype = unpacked(type->dtype);
  int64_t dims[TSR_MAX_RANK], count = 1, whole;
  const void *packed;
  uint64_t bytes;
  double number;
  if (tsr_const_splat(u->ir, op, &number, &whole)) {
    *out = unpack_splat(u, type, number, whole);
    return TSR_OK;
  }
  TSR_TRY(tsr_const_bytes(u->ir, op, tsr_ir_arena(u->ir), u->diag, &packed, &bytes));
  for (uint32_t i = 0; i < type->rank; i++) {
    (void)tsr_expr_is_int(u->ir, type->dims[i], &dims[i]);
    count *= dims[i];
  }
  unsigned char *data = tsr_arena_alloc(tsr_ir_arena(u->ir), (size_t)count + 1);
  if (data == NULL)
    return tsr_fail(u->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in pass unpack");
  for (int64_t i = 0; i < count; i++)
    tsr_element_store_f64(dtype, data, i, tsr_element_load_f64(type->dtype, packed, i));
  *out = tsr_graph_const(&u->b, dtype, dims, type->rank, data, false);
  return TSR_OK;
}

/* The op on unpacked operands, then what the narrow type makes of its result. */
static tsr_value redo(unpacking *u, tsr_op op, tsr_dtype dtype) {
  const tsr_op_data *data = tsr_op_get(u->ir, op);
  const tsr_type_info *type = tsr_value_type(u->ir, data->results[0]);
  bool is_float = tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
  tsr_value operands[3] = {0};
  for (uint32_t i = 0; i < data->operand_count && i < 3; i++)
    operands[i] = is_float ? widen(u, data->operands[i].value) : data->operands[i].value;
  tsr_op made = begin_copy(u, op);
  for (uint32_t i = 0; made != 0 && i < data->operand_count; i++)
    tsr_op_add_operand(u->ir, made, operands[i]);
  tsr_value y =
      tsr_op_add_result(u->ir, made,
                        tsr_type_make(u->ir, TSR_LEVEL_GLOBAL, is_float ? TSR_F32 : unpacked(dtype),
                                      type->dims, type->rank));
  return is_float ? to_f4(u, y) : wrap(u, y, dtype);
}

static tsr_status refuse(unpacking *u, tsr_op op, tsr_dtype dtype) {
  const tsr_op_data *data = tsr_op_get(u->ir, op);
  (void)tsr_fail(u->diag, TSR_ERR_UNSUPPORTED, "results of %s are not supported here",
                 tsr_dtype_text(dtype));
  tsr_diag_set_node(u->diag, data->origin_count > 0 ? data->origins[0] : NULL,
                    tsr_opcode_info(data->code)->text);
  return TSR_ERR_UNSUPPORTED;
}

static bool combines(const unpacking *u, tsr_op op) {
  const char *how = tsr_op_string(u->ir, op, "combine");
  return tsr_opcode_info(tsr_op_get(u->ir, op)->code)->kind == TSR_KIND_REDUCE ||
         (how != NULL && strcmp(how, "none") != 0);
}

/* What stands for the op's only result; 0: the op stays, with another type. `from` is what its
 * first operand was. */
static tsr_status replacement(unpacking *u, tsr_op op, tsr_dtype from, tsr_dtype to,
                              tsr_value *out) {
  const tsr_op_data *data = tsr_op_get(u->ir, op);
  tsr_value x = data->operand_count > 0 ? data->operands[0].value : 0;
  switch (data->code) {
  case TSR_OP_INPUT:
    *out = unpack_input(u, op);
    return TSR_OK;
  case TSR_OP_CONST:
    return unpack_const(u, op, out);
  case TSR_OP_CAST:
    *out = from == to ? 0 : to_packed(u, x, to);
    return TSR_OK;
  case TSR_OP_BITCAST:
    *out = from_code(u, to_code(u, x, from), to);
    return TSR_OK;
  default:
    break;
  }
  if (combines(u, op))
    return refuse(u, op, to);
  tsr_op_kind kind = tsr_opcode_info(data->code)->kind;
  if (kind == TSR_KIND_UNARY || kind == TSR_KIND_BINARY || data->code == TSR_OP_IOTA ||
      data->code == TSR_OP_INDEX)
    *out = redo(u, op, to);
  return TSR_OK;
}

/* The builder appends; what it made since `last` belongs in front of `anchor`. */
static void place_before(unpacking *u, tsr_op last, tsr_op anchor) {
  tsr_op op = last == 0 ? tsr_region_get(u->ir, u->b.region)->first : tsr_op_get(u->ir, last)->next;
  for (tsr_op next; op != 0; op = next) {
    next = tsr_op_get(u->ir, op)->next;
    tsr_op_move_before(u->ir, op, anchor);
    tsr_op_copy_origins(u->ir, op, anchor);
  }
}

static void take_over(unpacking *u, tsr_op op, tsr_value made) {
  tsr_value old = tsr_op_result(u->ir, op, 0);
  const char *name = tsr_value_get(u->ir, old)->name;
  tsr_value_replace_all(u->ir, old, made);
  tsr_value_set_name(u->ir, old, NULL);
  if (tsr_value_get(u->ir, made)->name == NULL)
    tsr_value_set_name(u->ir, made, name);
  tsr_op_erase(u->ir, op);
}

/* `was`: by op, what operand 0 was. */
static tsr_status unpack_op(unpacking *u, tsr_op op, const tsr_dtype *was) {
  const tsr_op_data *data = tsr_op_get(u->ir, op);
  tsr_op last = tsr_region_get(u->ir, u->b.region)->last;
  if (data->code == TSR_OP_OUTPUT && is_packed(was[op])) {
    tsr_value value = data->operands[0].value;
    const tsr_type_info *type = tsr_value_type(u->ir, value);
    packing p = packing_of(u, tsr_type_make(u->ir, type->level, was[op], type->dims, type->rank));
    describe(u, op, was[op], type);
    tsr_op_set_operand(u->ir, op, 0, pack(u, value, &p));
    place_before(u, last, op);
    return tsr_ir_status(u->ir);
  }
  tsr_dtype to = data->result_count > 0 ? dtype_of(u, data->results[0]) : TSR_DTYPE_NONE;
  tsr_value made = 0;
  if (is_packed(to) && data->region_count == 0)
    TSR_TRY(replacement(u, op, was[op], to, &made));
  TSR_TRY(tsr_ir_status(u->ir));
  if (made != 0) {
    place_before(u, last, op);
    take_over(u, op, made);
    return TSR_OK;
  }
  for (uint32_t i = 0; i < data->result_count; i++)
    retype(u, data->results[i]);
  return TSR_OK;
}

static tsr_status unpack_region(unpacking *u, tsr_region region, const tsr_dtype *was) {
  const tsr_region_data *data = tsr_region_get(u->ir, region);
  for (uint32_t i = 0; i < data->arg_count; i++)
    retype(u, data->args[i]);
  for (tsr_op op = data->first, next; op != 0; op = next) {
    const tsr_op_data *inner = tsr_op_get(u->ir, op);
    next = inner->next;
    if (inner->code == TSR_OP_IF || inner->code == TSR_OP_LOOP)
      for (uint32_t r = 0; r < inner->region_count; r++)
        TSR_TRY(unpack_region(u, inner->regions[r], was));
    u->b.region = region;
    TSR_TRY(unpack_op(u, op, was));
  }
  return tsr_ir_status(u->ir);
}

/* False when the graph has nothing to do, or is lowered already. */
static bool note_operands(const tsr_ir *ir, tsr_region region, tsr_dtype *was) {
  bool any = false;
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->operand_count > 0)
      was[op] = tsr_value_type(ir, data->operands[0].value)->dtype;
    for (uint32_t i = 0; i < data->result_count; i++)
      any = any || is_packed(tsr_value_type(ir, data->results[i])->dtype);
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t r = 0; r < data->region_count; r++)
        any = note_operands(ir, data->regions[r], was) || any;
  }
  return any;
}

tsr_status tsr_pass_unpack(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  unpacking u = {.ir = ir, .diag = diag, .b = {.ir = ir}};
  tsr_arena scratch;
  tsr_status status = TSR_OK;
  (void)options;
  tsr_arena_init(&scratch, tsr_ir_allocator(ir));
  tsr_dtype *was = tsr_arena_alloc_array(&scratch, tsr_op_count(ir) + 1, sizeof *was);
  if (was == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in pass unpack");
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    const tsr_op_data *graph = tsr_op_get(ir, op);
    if (status == TSR_OK && graph->code == TSR_OP_GRAPH &&
        note_operands(ir, graph->regions[0], was))
      status = unpack_region(&u, graph->regions[0], was);
  }
  tsr_arena_reset(&scratch);
  return status == TSR_OK ? tsr_ir_status(ir) : status;
}
