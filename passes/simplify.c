/* Algebra that IEEE arithmetic keeps, and views that move nothing. A rule looks at one op and gives
 * the value that stands for its result (0: does not apply); rules of one opcode are tried in the
 * order of the table. */
#include "ir/const_bytes.h"
#include "passes/canonicalize.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef tsr_value (*rule_function)(tsr_ir *ir, tsr_op op);

static tsr_value operand(const tsr_ir *ir, tsr_op op, uint32_t number) {
  return tsr_op_get(ir, op)->operands[number].value;
}

static tsr_value result(const tsr_ir *ir, tsr_op op) {
  return op == 0 ? 0 : tsr_op_get(ir, op)->results[0];
}

static tsr_type type_of(const tsr_ir *ir, tsr_value value) {
  return tsr_value_get(ir, value)->type;
}

/* The op that computes `value` when it is a `code`, or 0. */
static tsr_op defined_by(const tsr_ir *ir, tsr_value value, tsr_opcode code) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  bool found =
      data->role == TSR_ROLE_RESULT && data->def != 0 && tsr_op_get(ir, data->def)->code == code;
  return found ? data->def : 0;
}

typedef struct splat {
  double number;
  int64_t integer;
  bool is_float;
} splat;

static bool read_splat(tsr_ir *ir, tsr_value value, splat *out) {
  tsr_op op = defined_by(ir, value, TSR_OP_CONST);
  if (op == 0 || !tsr_const_splat(ir, op, &out->number, &out->integer))
    return false;
  out->is_float = tsr_dtype_class_of(tsr_value_type(ir, value)->dtype) == TSR_CLASS_FLOAT;
  return true;
}

static bool splat_is(tsr_ir *ir, tsr_value value, double number) {
  splat s;
  if (!read_splat(ir, value, &s))
    return false;
  return s.is_float ? s.number == number && signbit(s.number) == signbit(number)
                    : s.integer == (int64_t)number;
}

static bool is_float(const tsr_ir *ir, tsr_value value) {
  return tsr_dtype_class_of(tsr_value_type(ir, value)->dtype) == TSR_CLASS_FLOAT;
}

static tsr_op new_op(tsr_ir *ir, tsr_op before, tsr_opcode code, tsr_value x, tsr_type type) {
  tsr_op op = tsr_op_insert_before(ir, before, code);
  tsr_op_add_operand(ir, op, x);
  tsr_op_copy_origins(ir, op, before);
  tsr_op_add_result(ir, op, type);
  return op;
}

/* `x` in the shape of the op's result: itself, or broadcast. */
static tsr_value shaped(tsr_ir *ir, tsr_op op, tsr_value x) {
  tsr_type type = type_of(ir, result(ir, op));
  if (type_of(ir, x) == type)
    return x;
  if (tsr_value_type(ir, x)->dtype != tsr_type_get(ir, type)->dtype)
    return 0;
  return result(ir, new_op(ir, op, TSR_OP_BROADCAST, x, type));
}

/* --- arithmetic --- */

/* x + (-0) is x for every x; x + 0 is not for -0. Integers have one zero. */
static tsr_value add_zero(tsr_ir *ir, tsr_op op) {
  double zero = is_float(ir, result(ir, op)) ? -0.0 : 0.0;
  for (uint32_t i = 0; i < 2; i++)
    if (splat_is(ir, operand(ir, op, i), zero))
      return shaped(ir, op, operand(ir, op, 1 - i));
  return 0;
}

static tsr_value sub_zero(tsr_ir *ir, tsr_op op) {
  return splat_is(ir, operand(ir, op, 1), 0.0) ? shaped(ir, op, operand(ir, op, 0)) : 0;
}

static tsr_value mul_one(tsr_ir *ir, tsr_op op) {
  for (uint32_t i = 0; i < 2; i++)
    if (splat_is(ir, operand(ir, op, i), 1))
      return shaped(ir, op, operand(ir, op, 1 - i));
  return 0;
}

static tsr_value right_one(tsr_ir *ir, tsr_op op) {
  return splat_is(ir, operand(ir, op, 1), 1) ? shaped(ir, op, operand(ir, op, 0)) : 0;
}

/* Dividing by a power of two is multiplying by its reciprocal, exactly, as long as that is a normal
 * number of the dtype. */
static tsr_value div_power_of_two(tsr_ir *ir, tsr_op op) {
  tsr_value divisor = operand(ir, op, 1);
  tsr_dtype dtype = tsr_value_type(ir, divisor)->dtype;
  splat s;
  int exponent;
  if ((dtype != TSR_F32 && dtype != TSR_F64) || !read_splat(ir, divisor, &s) ||
      !isfinite(s.number) || fabs(frexp(s.number, &exponent)) != 0.5 || abs(exponent) > 100)
    return 0;
  tsr_value inverse = tsr_insert_splat(ir, op, type_of(ir, divisor), 1 / s.number, 0);
  tsr_op mul = new_op(ir, op, TSR_OP_MUL, operand(ir, op, 0), type_of(ir, result(ir, op)));
  tsr_op_add_operand(ir, mul, inverse);
  return result(ir, mul);
}

static tsr_value pow_two(tsr_ir *ir, tsr_op op) {
  tsr_value x = operand(ir, op, 0);
  if (!splat_is(ir, operand(ir, op, 1), 2) || type_of(ir, x) != type_of(ir, result(ir, op)))
    return 0;
  tsr_op mul = new_op(ir, op, TSR_OP_MUL, x, type_of(ir, x));
  tsr_op_add_operand(ir, mul, x);
  return result(ir, mul);
}

static tsr_value same_operands(tsr_ir *ir, tsr_op op) {
  return operand(ir, op, 0) == operand(ir, op, 1) ? operand(ir, op, 0) : 0;
}

/* f(f(x)) = x */
static tsr_value involution(tsr_ir *ir, tsr_op op) {
  tsr_op inner = defined_by(ir, operand(ir, op, 0), tsr_op_get(ir, op)->code);
  return inner == 0 ? 0 : operand(ir, inner, 0);
}

/* f(f(x)) = f(x) */
static tsr_value idempotent(tsr_ir *ir, tsr_op op) {
  return defined_by(ir, operand(ir, op, 0), tsr_op_get(ir, op)->code) == 0 ? 0 : operand(ir, op, 0);
}

static tsr_value abs_neg(tsr_ir *ir, tsr_op op) {
  tsr_op inner = defined_by(ir, operand(ir, op, 0), TSR_OP_NEG);
  if (inner == 0 || !is_float(ir, result(ir, op)))
    return 0;
  return result(ir, new_op(ir, op, TSR_OP_ABS, operand(ir, inner, 0), type_of(ir, result(ir, op))));
}

static tsr_value select_known(tsr_ir *ir, tsr_op op) {
  splat condition;
  if (operand(ir, op, 1) == operand(ir, op, 2))
    return shaped(ir, op, operand(ir, op, 1));
  if (!read_splat(ir, operand(ir, op, 0), &condition))
    return 0;
  return shaped(ir, op, operand(ir, op, condition.integer != 0 ? 1 : 2));
}

static tsr_value select_not(tsr_ir *ir, tsr_op op) {
  tsr_op inner = defined_by(ir, operand(ir, op, 0), TSR_OP_NOT);
  if (inner == 0)
    return 0;
  tsr_op made = new_op(ir, op, TSR_OP_SELECT, operand(ir, inner, 0), type_of(ir, result(ir, op)));
  tsr_op_add_operand(ir, made, operand(ir, op, 2));
  tsr_op_add_operand(ir, made, operand(ir, op, 1));
  return result(ir, made);
}

static bool bool_splat(tsr_ir *ir, tsr_value value, bool *out) {
  splat s;
  if (tsr_value_type(ir, value)->dtype != TSR_BOOL || !read_splat(ir, value, &s))
    return false;
  *out = s.integer != 0;
  return true;
}

/* x and true, x or false, x xor false: x. x and false, x or true: the constant. */
static tsr_value logic_known(tsr_ir *ir, tsr_op op) {
  tsr_opcode code = tsr_op_get(ir, op)->code;
  for (uint32_t i = 0; i < 2; i++) {
    bool known;
    if (!bool_splat(ir, operand(ir, op, i), &known))
      continue;
    if (known == (code == TSR_OP_AND))
      return shaped(ir, op, operand(ir, op, 1 - i));
    if (code != TSR_OP_XOR)
      return shaped(ir, op, operand(ir, op, i));
  }
  return 0;
}

/* Every value of `narrow` is a value of `wide`. */
static bool holds(tsr_dtype wide, tsr_dtype narrow) {
  tsr_dtype_class w = tsr_dtype_class_of(wide), n = tsr_dtype_class_of(narrow);
  unsigned w_bits = tsr_dtype_bits(wide), n_bits = tsr_dtype_bits(narrow);
  if (w == TSR_CLASS_FLOAT && n == TSR_CLASS_FLOAT)
    return wide == TSR_F64 || (wide == TSR_F32 && n_bits <= 16);
  if (n == TSR_CLASS_BOOL)
    return w != TSR_CLASS_FLOAT || w_bits >= 16;
  if (w == n)
    return w_bits >= n_bits;
  if (w == TSR_CLASS_INT && n == TSR_CLASS_UINT)
    return w_bits > n_bits;
  bool from_integer = n == TSR_CLASS_INT || n == TSR_CLASS_UINT;
  return w == TSR_CLASS_FLOAT && from_integer &&
         ((wide == TSR_F64 && n_bits <= 32) || (wide == TSR_F32 && n_bits <= 16));
}

static tsr_value cast_none(tsr_ir *ir, tsr_op op) {
  return type_of(ir, operand(ir, op, 0)) == type_of(ir, result(ir, op)) ? operand(ir, op, 0) : 0;
}

/* There and back through a type that loses nothing. */
static tsr_value cast_back(tsr_ir *ir, tsr_op op) {
  tsr_op inner = defined_by(ir, operand(ir, op, 0), TSR_OP_CAST);
  if (inner == 0 || type_of(ir, operand(ir, inner, 0)) != type_of(ir, result(ir, op)))
    return 0;
  return holds(tsr_value_type(ir, operand(ir, op, 0))->dtype,
               tsr_value_type(ir, result(ir, op))->dtype)
             ? operand(ir, inner, 0)
             : 0;
}

/* --- views --- */

static tsr_value same_type(tsr_ir *ir, tsr_op op) {
  return type_of(ir, operand(ir, op, 0)) == type_of(ir, result(ir, op)) ? operand(ir, op, 0) : 0;
}

static tsr_value view_of_view(tsr_ir *ir, tsr_op op) {
  tsr_opcode code = tsr_op_get(ir, op)->code;
  tsr_op inner = defined_by(ir, operand(ir, op, 0), code);
  if (inner == 0)
    return 0;
  return result(ir, new_op(ir, op, code, operand(ir, inner, 0), type_of(ir, result(ir, op))));
}

static bool read_perm(const tsr_ir *ir, tsr_op op, int64_t *perm, uint32_t *rank) {
  return tsr_op_ints(ir, op, "perm", perm, TSR_MAX_RANK, rank);
}

/* Axes of extent 1 may go anywhere: when the others keep their order the bytes stay in place. */
static tsr_value transpose_in_place(tsr_ir *ir, tsr_op op) {
  const tsr_type_info *type = tsr_value_type(ir, operand(ir, op, 0));
  int64_t perm[TSR_MAX_RANK], last = -1;
  uint32_t rank;
  if (!read_perm(ir, op, perm, &rank))
    return 0;
  for (uint32_t i = 0; i < rank; i++) {
    if (tsr_expr_equals_int(ir, type->dims[perm[i]], 1))
      continue;
    if (perm[i] < last)
      return 0;
    last = perm[i];
  }
  tsr_type wanted = type_of(ir, result(ir, op));
  if (type_of(ir, operand(ir, op, 0)) == wanted)
    return operand(ir, op, 0);
  return result(ir, new_op(ir, op, TSR_OP_RESHAPE, operand(ir, op, 0), wanted));
}

static tsr_value transpose_twice(tsr_ir *ir, tsr_op op) {
  tsr_op inner = defined_by(ir, operand(ir, op, 0), TSR_OP_TRANSPOSE);
  int64_t outer_perm[TSR_MAX_RANK], inner_perm[TSR_MAX_RANK], both[TSR_MAX_RANK];
  uint32_t rank, inner_rank;
  if (inner == 0 || !read_perm(ir, op, outer_perm, &rank) ||
      !read_perm(ir, inner, inner_perm, &inner_rank) || rank != inner_rank)
    return 0;
  for (uint32_t i = 0; i < rank; i++)
    both[i] = inner_perm[outer_perm[i]];
  tsr_op made =
      new_op(ir, op, TSR_OP_TRANSPOSE, operand(ir, inner, 0), type_of(ir, result(ir, op)));
  tsr_op_set_ints(ir, made, "perm", both, rank);
  return result(ir, made);
}

static tsr_value slice_all(tsr_ir *ir, tsr_op op) {
  const tsr_type_info *type = tsr_value_type(ir, result(ir, op));
  const tsr_attr *start = tsr_op_attr(ir, op, "start"), *step = tsr_op_attr(ir, op, "step");
  for (uint32_t i = 0; i < type->rank; i++)
    if (!tsr_expr_equals_int(ir, start->u.exprs[i], 0) ||
        !tsr_expr_equals_int(ir, step->u.exprs[i], 1))
      return 0;
  return same_type(ir, op);
}

static bool all_zero(const tsr_ir *ir, tsr_op op, const char *key) {
  const tsr_attr *attr = tsr_op_attr(ir, op, key);
  if (attr == NULL)
    return true;
  for (uint32_t i = 0; i < attr->count; i++)
    if (!tsr_expr_equals_int(ir, attr->u.exprs[i], 0))
      return false;
  return true;
}

static tsr_value pad_nothing(tsr_ir *ir, tsr_op op) {
  return all_zero(ir, op, "low") && all_zero(ir, op, "high") && all_zero(ir, op, "interior")
             ? same_type(ir, op)
             : 0;
}

/* Parts without elements add nothing; one part is itself. */
static tsr_value concat_few(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  uint32_t axis = (uint32_t)tsr_op_int(ir, op, "axis", 0), count = 0;
  tsr_value only = operand(ir, op, 0);
  for (uint32_t i = 0; i < data->operand_count; i++)
    if (!tsr_expr_equals_int(ir, tsr_value_type(ir, operand(ir, op, i))->dims[axis], 0)) {
      only = operand(ir, op, i);
      count++;
    }
  return count <= 1 && type_of(ir, only) == type_of(ir, result(ir, op)) ? only : 0;
}

/* Reducing axes of extent 1 only, or none: the element itself. */
static tsr_value reduce_nothing(tsr_ir *ir, tsr_op op) {
  const tsr_type_info *type = tsr_value_type(ir, operand(ir, op, 0));
  int64_t axes[TSR_MAX_RANK];
  uint32_t count;
  if (tsr_op_get(ir, op)->operand_count != 1 ||
      !tsr_op_ints(ir, op, "axes", axes, TSR_MAX_RANK, &count))
    return 0;
  for (uint32_t i = 0; i < count; i++)
    if (!tsr_expr_equals_int(ir, type->dims[axes[i]], 1))
      return 0;
  tsr_value x = operand(ir, op, 0);
  tsr_type wanted = type_of(ir, result(ir, op));
  return type_of(ir, x) == wanted ? x : result(ir, new_op(ir, op, TSR_OP_RESHAPE, x, wanted));
}

/* An index that turned out to be a number. */
static tsr_value index_known(tsr_ir *ir, tsr_op op) {
  const tsr_attr *value = tsr_op_attr(ir, op, "value");
  return value != NULL && value->kind == TSR_ATTR_INT
             ? tsr_insert_splat(ir, op, type_of(ir, result(ir, op)), 0, value->u.integer)
             : 0;
}

static const struct {
  tsr_opcode code;
  rule_function apply;
} rules[] = {
    {TSR_OP_INDEX, index_known},
    {TSR_OP_ADD, add_zero},
    {TSR_OP_SUB, sub_zero},
    {TSR_OP_MUL, mul_one},
    {TSR_OP_DIV, right_one},
    {TSR_OP_DIV, div_power_of_two},
    {TSR_OP_POW, right_one},
    {TSR_OP_POW, pow_two},
    {TSR_OP_MIN, same_operands},
    {TSR_OP_MAX, same_operands},
    {TSR_OP_AND, same_operands},
    {TSR_OP_AND, logic_known},
    {TSR_OP_OR, same_operands},
    {TSR_OP_OR, logic_known},
    {TSR_OP_XOR, logic_known},
    {TSR_OP_NEG, involution},
    {TSR_OP_NOT, involution},
    {TSR_OP_ABS, idempotent},
    {TSR_OP_ABS, abs_neg},
    {TSR_OP_FLOOR, idempotent},
    {TSR_OP_CEIL, idempotent},
    {TSR_OP_TRUNC, idempotent},
    {TSR_OP_ROUND, idempotent},
    {TSR_OP_SIGN, idempotent},
    {TSR_OP_SELECT, select_known},
    {TSR_OP_SELECT, select_not},
    {TSR_OP_CAST, cast_none},
    {TSR_OP_CAST, cast_back},
    {TSR_OP_BITCAST, cast_none},
    {TSR_OP_RESHAPE, same_type},
    {TSR_OP_RESHAPE, view_of_view},
    {TSR_OP_BROADCAST, same_type},
    {TSR_OP_BROADCAST, view_of_view},
    {TSR_OP_TRANSPOSE, transpose_in_place},
    {TSR_OP_TRANSPOSE, transpose_twice},
    {TSR_OP_SLICE, slice_all},
    {TSR_OP_PAD, pad_nothing},
    {TSR_OP_CONCAT, concat_few},
    {TSR_OP_REDUCE, reduce_nothing},
};

static tsr_value apply_rules(tsr_ir *ir, tsr_op op) {
  tsr_opcode code = tsr_op_get(ir, op)->code;
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
    tsr_value value = rules[i].code == code ? rules[i].apply(ir, op) : 0;
    if (value != 0)
      return value;
  }
  return 0;
}

/* The replacement carries the names of the nodes it now stands for; an input carries none. */
static void keep_origins(tsr_ir *ir, tsr_value value, tsr_op op) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  if (data->role == TSR_ROLE_RESULT && tsr_op_get(ir, data->def)->code != TSR_OP_INPUT &&
      tsr_op_get(ir, data->def)->code != TSR_OP_CONST)
    tsr_op_copy_origins(ir, data->def, op);
}

bool tsr_simplify_region(tsr_ir *ir, tsr_region region) {
  bool changed = false;
  for (tsr_op op = tsr_region_get(ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    next = data->next;
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t i = 0; i < data->region_count; i++)
        changed |= tsr_simplify_region(ir, data->regions[i]);
    tsr_value value = apply_rules(ir, op);
    if (value == 0)
      continue;
    keep_origins(ir, value, op);
    tsr_value_replace_all(ir, data->results[0], value);
    tsr_op_erase(ir, op);
    changed = true;
  }
  return changed;
}
