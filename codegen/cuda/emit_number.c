/* One element: types, constants, conversions and every elementwise op as a C expression. Arguments
 * are names or expressions in parentheses, and may be repeated. The rules are those of the CPU: f16
 * and bf16 are computed in f32 and rounded after every op that can leave the type's values. */
#include "codegen/common.h"
#include "codegen/cuda/emit.h"
#include "runtime/float_convert.h"
#include <math.h>
#include <string.h>

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static bool is_signed(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_INT;
}

/* Types that are computed in f32 and rounded after every op: those with a suffix. */
static const char *narrow_suffix(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_F16:
    return "f16";
  case TSR_BF16:
    return "bf16";
  case TSR_F8E4M3:
    return "e4m3";
  case TSR_F8E5M2:
    return "e5m2";
  case TSR_F8E4M3UZ:
    return "e4m3uz";
  case TSR_F8E5M2UZ:
    return "e5m2uz";
  case TSR_F8E8M0:
    return "e8m0";
  default:
    return NULL;
  }
}

/* Conversions of values of the type itself, which must not saturate: infinity is one of e5m2. */
static bool has_special(tsr_dtype dtype) {
  return tsr_dtype_bits(dtype) == 8 && dtype != TSR_F8E4M3;
}

static bool is_narrow(tsr_dtype dtype) {
  return narrow_suffix(dtype) != NULL;
}

tsr_dtype tsr_cu_computed(tsr_dtype dtype) {
  return is_narrow(dtype) ? TSR_F32 : dtype;
}

bool tsr_cu_supports(tsr_dtype dtype) {
  unsigned bits = tsr_dtype_bits(dtype);
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_NONE)
    return false;
  return is_float(dtype) ? bits >= 32 || is_narrow(dtype) : bits >= 8;
}

const char *tsr_cu_storage(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_F32:
    return "float";
  case TSR_F64:
    return "double";
  case TSR_I8:
    return "tsr_s8";
  case TSR_I16:
    return "short";
  case TSR_I32:
    return "int";
  case TSR_I64:
    return "tsr_s64";
  case TSR_U32:
    return "tsr_u32";
  case TSR_U64:
    return "tsr_u64";
  default:
    return tsr_dtype_bits(dtype) == 8 ? "tsr_u8" : "tsr_u16";
  }
}

const char *tsr_cu_ctype(tsr_dtype dtype) {
  if (dtype == TSR_BOOL)
    return "int";
  return is_narrow(dtype) ? "float" : tsr_cu_storage(dtype);
}

/* The suffix of functions on the type that a dtype is computed in. */
static const char *suffix(tsr_dtype dtype) {
  return dtype == TSR_F64 ? "f64" : "f32";
}

const char *tsr_cu_widen(tsr_cu *e, tsr_dtype dtype, const char *stored) {
  if (dtype == TSR_BOOL)
    return tsr_cu_format(e, "(%s != 0)", stored);
  return is_narrow(dtype) ? tsr_cu_format(e, "tsr_%s_to_f32(%s)", narrow_suffix(dtype), stored)
                          : stored;
}

const char *tsr_cu_narrow(tsr_cu *e, tsr_dtype dtype, const char *value) {
  if (dtype == TSR_BOOL)
    return tsr_cu_format(e, "(tsr_u8)(%s)", value);
  if (!is_narrow(dtype))
    return value;
  return tsr_cu_format(e, "tsr_f32_to_%s%s(%s)", narrow_suffix(dtype),
                       has_special(dtype) ? "_special" : "", value);
}

/* --- constants --- */

static const char *float_text(tsr_cu *e, bool wide, double number) {
  if (isfinite(number)) {
    const char *text = tsr_cu_format(e, "%.*g", wide ? 17 : 9, number);
    bool plain = !strpbrk(text, ".e");
    text = tsr_cu_format(e, "%s%s%s", text, plain ? ".0" : "", wide ? "" : "f");
    return signbit(number) ? tsr_cu_format(e, "(%s)", text) : text;
  }
  uint64_t bits = 0;
  tsr_element_store_f64(wide ? TSR_F64 : TSR_F32, &bits, 0, number);
  return wide ? tsr_cu_format(e, "tsr_bits_to_f64(0x%llxu)", (unsigned long long)bits)
              : tsr_cu_format(e, "tsr_bits_to_f32(0x%llxu)", (unsigned long long)bits);
}

const char *tsr_cu_integer(tsr_cu *e, tsr_dtype dtype, int64_t number) {
  if (number == INT64_MIN)
    return "(-0x7fffffffffffffffLL - 1)";
  if (!is_signed(dtype) && tsr_dtype_bits(dtype) == 64)
    return tsr_cu_format(e, "0x%llxull", (unsigned long long)number);
  bool small = number <= INT32_MAX && number >= -INT32_MAX;
  const char *text = tsr_cu_format(e, small ? "%lld" : "%lldLL", (long long)number);
  return number < 0 ? tsr_cu_format(e, "(%s)", text) : text;
}

const char *tsr_cu_number(tsr_cu *e, tsr_dtype dtype, double number) {
  if (is_narrow(dtype))
    number = tsr_float_decode(dtype,
                              tsr_float_encode(dtype, number,
                                               tsr_dtype_bits(dtype) == 8 ? TSR_OVERFLOW_SATURATE
                                                                          : TSR_OVERFLOW_SPECIAL));
  if (is_float(dtype))
    return float_text(e, dtype == TSR_F64, number);
  uint64_t bits = 0;
  tsr_element_store_f64(dtype, &bits, 0, number);
  return tsr_cu_integer(e, dtype, tsr_element_load_i64(dtype, &bits, 0));
}

/* --- conversions --- */

static const char *round_to(tsr_cu *e, tsr_dtype dtype, const char *value) {
  if (is_narrow(dtype))
    return tsr_cu_format(e, "tsr_round_%s(%s)", narrow_suffix(dtype), value);
  return value;
}

static const char *convert_to(tsr_cu *e, tsr_dtype dtype, tsr_overflow overflow,
                              const char *value) {
  if (!is_narrow(dtype) || tsr_dtype_bits(dtype) != 8 || overflow == TSR_OVERFLOW_SATURATE)
    return round_to(e, dtype, value);
  return tsr_cu_format(e, "tsr_round_%s_special(%s)", narrow_suffix(dtype), value);
}

static const char *from_float(tsr_cu *e, tsr_dtype from, tsr_dtype to, tsr_overflow overflow,
                              const char *value) {
  unsigned bits = tsr_dtype_bits(to);
  if (to == TSR_BOOL)
    return tsr_cu_format(e, "(%s != 0)", value);
  if (!is_float(to))
    return tsr_cu_format(e, "(%s)tsr_%s_to_%s(%s, %u)", tsr_cu_ctype(to), suffix(from),
                         is_signed(to) ? "signed" : "unsigned", value, bits);
  if (from == TSR_F64 && to != TSR_F64)
    return to == TSR_F32
               ? tsr_cu_format(e, "(float)%s", value)
               : convert_to(e, to, overflow, tsr_cu_format(e, "tsr_f64_to_f32_odd(%s)", value));
  if (to == TSR_F64)
    return tsr_cu_format(e, "(double)%s", value);
  return to == TSR_F32 ? value : convert_to(e, to, overflow, value);
}

static const char *from_integer(tsr_cu *e, tsr_dtype from, tsr_dtype to, tsr_overflow overflow,
                                const char *value) {
  bool narrow = is_narrow(to);
  if (to == TSR_BOOL)
    return tsr_cu_format(e, "(%s != 0)", value);
  if (!narrow || from == TSR_BOOL)
    return tsr_cu_format(e, "(%s)%s", tsr_cu_ctype(to), value);
  if (tsr_dtype_bits(from) < 32)
    return convert_to(e, to, overflow, tsr_cu_format(e, "(float)%s", value));
  return convert_to(
      e, to, overflow,
      tsr_cu_format(e, "tsr_%s_to_f32_odd(%s)", is_signed(from) ? "s64" : "u64", value));
}

const char *tsr_cu_cast_by(tsr_cu *e, tsr_dtype from, tsr_dtype to, tsr_overflow overflow,
                           const char *value) {
  if (from == to)
    return value;
  const char *text = is_float(from) ? from_float(e, from, to, overflow, value)
                                    : from_integer(e, from, to, overflow, value);
  return text == value ? value : tsr_cu_format(e, "(%s)", text);
}

const char *tsr_cu_cast(tsr_cu *e, tsr_dtype from, tsr_dtype to, const char *value) {
  return tsr_cu_cast_by(e, from, to, TSR_OVERFLOW_SATURATE, value);
}

const char *tsr_cu_bitcast(tsr_cu *e, tsr_dtype from, tsr_dtype to, const char *value) {
  const char *bits = value;
  if (from == TSR_F32 || from == TSR_F64)
    bits = tsr_cu_format(e, "tsr_%s_to_bits(%s)", suffix(from), value);
  else
    bits = tsr_cu_narrow(e, from, value);
  if (to == TSR_F32 || to == TSR_F64)
    return tsr_cu_format(e, "tsr_bits_to_%s((%s)%s)", suffix(to),
                         to == TSR_F64 ? "tsr_u64" : "tsr_u32", bits);
  return tsr_cu_widen(e, to, tsr_cu_format(e, "(%s)%s", tsr_cu_storage(to), bits));
}

/* --- elementwise ops --- */

static const char *float_unary(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *x) {
  switch (code) {
  case TSR_OP_NEG:
    return tsr_cu_format(e, "-%s", x);
  case TSR_OP_RECIP:
    return tsr_cu_format(e, dtype == TSR_F64 ? "1.0 / %s" : "1.0f / %s", x);
  case TSR_OP_ISNAN:
    return tsr_cu_format(e, "(%s != %s)", x, x);
  case TSR_OP_ISINF:
    return tsr_cu_format(e, "(tsr_abs_%s(%s) == %s)", suffix(dtype), x,
                         float_text(e, dtype == TSR_F64, INFINITY));
  case TSR_OP_NOT:
  case TSR_OP_CAST:
  case TSR_OP_BITCAST:
    return NULL;
  default:
    return tsr_cu_format(e, "tsr_%s_%s(%s)", tsr_opcode_info(code)->text, suffix(dtype), x);
  }
}

static const char *float_binary(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *a,
                                const char *b) {
  switch (code) {
  case TSR_OP_ADD:
    return tsr_cu_format(e, "%s + %s", a, b);
  case TSR_OP_SUB:
    return tsr_cu_format(e, "%s - %s", a, b);
  case TSR_OP_MUL:
    return tsr_cu_format(e, "%s * %s", a, b);
  case TSR_OP_DIV:
    return tsr_cu_format(e, "%s / %s", a, b);
  case TSR_OP_MIN:
  case TSR_OP_MAX:
  case TSR_OP_MOD:
  case TSR_OP_POW:
  case TSR_OP_REM:
    return tsr_cu_format(e, "tsr_%s_%s(%s, %s)", tsr_opcode_info(code)->text, suffix(dtype), a, b);
  default:
    return NULL;
  }
}

/* Arithmetic that may wrap is done without sign, in at least 32 bits. */
static const char *wrapping(tsr_cu *e, tsr_dtype dtype, const char *a, char operator,
                            const char * b) {
  const char *wide = tsr_dtype_bits(dtype) == 64 ? "tsr_u64" : "tsr_u32";
  return tsr_cu_format(e, "(%s)((%s)%s %c (%s)%s)", tsr_cu_ctype(dtype), wide, a, operator, wide,
                       b);
}

static const char *int_unary(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *x) {
  const char *type = tsr_cu_ctype(dtype);
  switch (code) {
  case TSR_OP_NEG:
    return wrapping(e, dtype, "0", '-', x);
  case TSR_OP_NOT:
    return tsr_cu_format(e, "(%s)~%s", type, x);
  case TSR_OP_ABS:
    return is_signed(dtype)
               ? tsr_cu_format(e, "%s < 0 ? %s : %s", x, wrapping(e, dtype, "0", '-', x), x)
               : x;
  case TSR_OP_SIGN:
    return is_signed(dtype) ? tsr_cu_format(e, "(%s)((%s > 0) - (%s < 0))", type, x, x)
                            : tsr_cu_format(e, "(%s)(%s != 0)", type, x);
  case TSR_OP_FLOOR:
  case TSR_OP_CEIL:
  case TSR_OP_TRUNC:
  case TSR_OP_ROUND:
    return x;
  case TSR_OP_ISNAN:
  case TSR_OP_ISINF:
    return "0";
  default:
    return NULL;
  }
}

static const char *unsigned_of(tsr_dtype dtype) {
  switch (tsr_dtype_bits(dtype)) {
  case 8:
    return "tsr_u8";
  case 16:
    return "tsr_u16";
  case 32:
    return "tsr_u32";
  default:
    return "tsr_u64";
  }
}

static const char *shift(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *a,
                         const char *b) {
  unsigned bits = tsr_dtype_bits(dtype);
  const char *type = tsr_cu_ctype(dtype), *plain = unsigned_of(dtype);
  const char *within = tsr_cu_format(e, "(%s)%s < %u", plain, b, bits);
  if (code == TSR_OP_SHL)
    return tsr_cu_format(e, "%s ? (%s)((tsr_u64)%s << %s) : 0", within, type, a, b);
  if (!is_signed(dtype))
    return tsr_cu_format(e, "%s ? (%s)(%s >> %s) : 0", within, type, a, b);
  return tsr_cu_format(e, "(%s)(%s >> (%s ? %s : %u))", type, a, within, b, bits - 1);
}

static const char *int_binary(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *a,
                              const char *b) {
  const char *type = tsr_cu_ctype(dtype);
  const char *wide = tsr_dtype_bits(dtype) == 64 ? "64" : "32";
  char sign = is_signed(dtype) ? 's' : 'u';
  switch (code) {
  case TSR_OP_ADD:
    return wrapping(e, dtype, a, '+', b);
  case TSR_OP_SUB:
    return wrapping(e, dtype, a, '-', b);
  case TSR_OP_MUL:
    return wrapping(e, dtype, a, '*', b);
  case TSR_OP_DIV:
  case TSR_OP_REM:
  case TSR_OP_MOD:
    return tsr_cu_format(e, "(%s)tsr_%s_%c%s(%s, %s)", type, tsr_opcode_info(code)->text, sign,
                         wide, a, b);
  case TSR_OP_POW:
    return tsr_cu_format(e, "(%s)tsr_pow_%c64(%s, %s)", type, sign, a, b);
  case TSR_OP_MIN:
    return tsr_cu_format(e, "%s < %s ? %s : %s", a, b, a, b);
  case TSR_OP_MAX:
    return tsr_cu_format(e, "%s > %s ? %s : %s", a, b, a, b);
  case TSR_OP_AND:
    return tsr_cu_format(e, "(%s)(%s & %s)", type, a, b);
  case TSR_OP_OR:
    return tsr_cu_format(e, "(%s)(%s | %s)", type, a, b);
  case TSR_OP_XOR:
    return tsr_cu_format(e, "(%s)(%s ^ %s)", type, a, b);
  case TSR_OP_SHL:
  case TSR_OP_SHR:
    return shift(e, code, dtype, a, b);
  default:
    return NULL;
  }
}

/* On bool, add and max are "or", mul and min are "and". */
static const char *bool_binary(tsr_cu *e, tsr_opcode code, const char *a, const char *b) {
  switch (code) {
  case TSR_OP_ADD:
  case TSR_OP_MAX:
  case TSR_OP_OR:
    return tsr_cu_format(e, "%s | %s", a, b);
  case TSR_OP_MUL:
  case TSR_OP_MIN:
  case TSR_OP_AND:
    return tsr_cu_format(e, "%s & %s", a, b);
  case TSR_OP_XOR:
    return tsr_cu_format(e, "%s ^ %s", a, b);
  default:
    return NULL;
  }
}

static const char *compare(tsr_cu *e, tsr_opcode code, const char *a, const char *b) {
  static const struct {
    tsr_opcode code;
    const char *text;
  } rows[] = {{TSR_OP_EQ, "=="}, {TSR_OP_NE, "!="}, {TSR_OP_LT, "<"},
              {TSR_OP_LE, "<="}, {TSR_OP_GT, ">"},  {TSR_OP_GE, ">="}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i)
    if (rows[i].code == code)
      return tsr_cu_format(e, "%s %s %s", a, rows[i].text, b);
  return NULL;
}

const char *tsr_cu_apply(tsr_cu *e, tsr_opcode code, tsr_dtype dtype, const char *a, const char *b,
                         const char *c) {
  tsr_op_kind kind = tsr_opcode_info(code)->kind;
  const char *value = NULL;
  if (kind == TSR_KIND_TERNARY)
    return tsr_cu_format(e, "%s ? %s : %s", a, b, c);
  if (kind == TSR_KIND_COMPARE)
    return compare(e, code, a, b);
  if (is_float(dtype))
    value = b ? float_binary(e, code, dtype, a, b) : float_unary(e, code, dtype, a);
  else if (dtype == TSR_BOOL)
    value = b ? bool_binary(e, code, a, b) : code == TSR_OP_NOT ? tsr_cu_format(e, "!%s", a) : NULL;
  else
    value = b ? int_binary(e, code, dtype, a, b) : int_unary(e, code, dtype, a);
  return value && is_float(dtype) && !tsr_codegen_is_exact(code) ? round_to(e, dtype, value)
                                                                 : value;
}

/* --- combiners --- */

static const struct combiner {
  const char *text;
  tsr_opcode code;
  double identity; /* infinity: the greatest value of the type */
} combiners[] = {
    {"add", TSR_OP_ADD, -0.0},     {"mul", TSR_OP_MUL, 1}, {"max", TSR_OP_MAX, -INFINITY},
    {"min", TSR_OP_MIN, INFINITY}, {"and", TSR_OP_AND, 1}, {"or", TSR_OP_OR, 0},
};

static const struct combiner *find_combiner(const char *text) {
  for (size_t i = 0; text && i < sizeof combiners / sizeof *combiners; ++i)
    if (!strcmp(combiners[i].text, text))
      return &combiners[i];
  return NULL;
}

const char *tsr_cu_identity(tsr_cu *e, const char *combine, tsr_dtype dtype) {
  const struct combiner *found = find_combiner(combine);
  if (!found)
    return NULL;
  if (found->code == TSR_OP_AND && !is_float(dtype) && dtype != TSR_BOOL)
    return tsr_cu_format(e, "(%s)-1", tsr_cu_ctype(dtype));
  return tsr_cu_number(e, dtype, found->identity);
}

const char *tsr_cu_combine(tsr_cu *e, const char *combine, tsr_dtype dtype, const char *a,
                           const char *b) {
  const struct combiner *found = find_combiner(combine);
  const char *value = found ? tsr_cu_apply(e, found->code, dtype, a, b, NULL) : NULL;
  return value ? value
               : tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "cannot combine %s by '%s'",
                             tsr_dtype_text(dtype), combine ? combine : "");
}
