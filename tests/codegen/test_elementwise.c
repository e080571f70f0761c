/* Every element-wise op on every dtype, with masked ends, against plain C. */
#include "harness.h"
#include <math.h>

enum { COUNT = 37, LANES = 16 };

typedef struct operation {
  const char *text;
  int operands;
  bool to_bool, floats, integers, bools;
} operation;

static const operation operations[] = {
    {"neg", 1, false, true, true, false},    {"abs", 1, false, true, true, false},
    {"sign", 1, false, true, true, false},   {"floor", 1, false, true, true, false},
    {"ceil", 1, false, true, true, false},   {"trunc", 1, false, true, true, false},
    {"round", 1, false, true, true, false},  {"exp", 1, false, true, false, false},
    {"log", 1, false, true, false, false},   {"sqrt", 1, false, true, false, false},
    {"rsqrt", 1, false, true, false, false}, {"recip", 1, false, true, false, false},
    {"sin", 1, false, true, false, false},   {"cos", 1, false, true, false, false},
    {"tan", 1, false, true, false, false},   {"asin", 1, false, true, false, false},
    {"acos", 1, false, true, false, false},  {"atan", 1, false, true, false, false},
    {"sinh", 1, false, true, false, false},  {"cosh", 1, false, true, false, false},
    {"tanh", 1, false, true, false, false},  {"asinh", 1, false, true, false, false},
    {"acosh", 1, false, true, false, false}, {"atanh", 1, false, true, false, false},
    {"erf", 1, false, true, false, false},   {"not", 1, false, false, true, true},
    {"isnan", 1, true, true, false, false},  {"isinf", 1, true, true, false, false},
    {"add", 2, false, true, true, false},    {"sub", 2, false, true, true, false},
    {"mul", 2, false, true, true, false},    {"div", 2, false, true, true, false},
    {"rem", 2, false, true, true, false},    {"mod", 2, false, true, true, false},
    {"pow", 2, false, true, true, false},    {"min", 2, false, true, true, false},
    {"max", 2, false, true, true, false},    {"and", 2, false, false, true, true},
    {"or", 2, false, false, true, true},     {"xor", 2, false, false, true, true},
    {"shl", 2, false, false, true, false},   {"shr", 2, false, false, true, false},
    {"eq", 2, true, true, true, true},       {"ne", 2, true, true, true, true},
    {"lt", 2, true, true, true, false},      {"le", 2, true, true, true, false},
    {"gt", 2, true, true, true, false},      {"ge", 2, true, true, true, false},
};

static const tsr_dtype dtypes[] = {TSR_F32, TSR_F64, TSR_F16, TSR_BF16, TSR_I8,  TSR_I16, TSR_I32,
                                   TSR_I64, TSR_U8,  TSR_U16, TSR_U32,  TSR_U64, TSR_BOOL};
enum {
  DTYPES = sizeof dtypes / sizeof *dtypes,
  OPERATIONS = sizeof operations / sizeof *operations
};

static bool applies(const operation *op, tsr_dtype dtype) {
  tsr_dtype_class kind = tsr_dtype_class_of(dtype);
  return kind == TSR_CLASS_FLOAT ? op->floats : kind == TSR_CLASS_BOOL ? op->bools : op->integers;
}

static bool is(const operation *op, const char *text) {
  return strcmp(op->text, text) == 0;
}

static double nan_max(double a, double b) {
  return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}

static double float_mod(double a, double b) {
  double rest = fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0))
    return rest + b;
  return rest == 0 ? copysign(rest, b) : rest;
}

/* In double; the single-precision types are rounded from it once. */
static double float_reference(const operation *op, double a, double b) {
  static const struct {
    const char *text;
    double (*function)(double);
  } table[] = {{"abs", fabs},   {"floor", floor}, {"ceil", ceil},   {"trunc", trunc},
               {"round", rint}, {"exp", exp},     {"log", log},     {"sqrt", sqrt},
               {"sin", sin},    {"cos", cos},     {"tan", tan},     {"asin", asin},
               {"acos", acos},  {"atan", atan},   {"sinh", sinh},   {"cosh", cosh},
               {"tanh", tanh},  {"asinh", asinh}, {"acosh", acosh}, {"atanh", atanh},
               {"erf", erf}};
  for (size_t i = 0; i < sizeof table / sizeof *table; ++i)
    if (is(op, table[i].text))
      return table[i].function(a);
  if (is(op, "neg"))
    return -a;
  if (is(op, "sign"))
    return a > 0 ? 1 : a < 0 ? -1 : a;
  if (is(op, "rsqrt"))
    return 1 / sqrt(a);
  if (is(op, "recip"))
    return 1 / a;
  if (is(op, "isnan"))
    return isnan(a);
  if (is(op, "isinf"))
    return isinf(a) != 0;
  if (is(op, "add"))
    return a + b;
  if (is(op, "sub"))
    return a - b;
  if (is(op, "mul"))
    return a * b;
  if (is(op, "div"))
    return a / b;
  if (is(op, "rem"))
    return fmod(a, b);
  if (is(op, "mod"))
    return float_mod(a, b);
  if (is(op, "pow"))
    return pow(a, b);
  if (is(op, "min"))
    return -nan_max(-a, -b);
  if (is(op, "max"))
    return nan_max(a, b);
  if (is(op, "eq"))
    return a == b;
  if (is(op, "ne"))
    return a != b;
  if (is(op, "lt"))
    return a < b;
  if (is(op, "le"))
    return a <= b;
  if (is(op, "gt"))
    return a > b;
  ck_assert(is(op, "ge"));
  return a >= b;
}

static __int128 int_power(__int128 base, __int128 exponent, unsigned bits) {
  uint64_t result = 1, square = (uint64_t)base;
  if (exponent < 0)
    return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  for (; exponent > 0; exponent >>= 1, square *= square)
    if (exponent & 1)
      result *= square;
  return bits == 0 ? 0 : (__int128)(int64_t)result;
}

/* Exact; the caller keeps the low bits. */
static __int128 int_reference(const operation *op, tsr_dtype dtype, __int128 a, __int128 b) {
  __int128 bits = tsr_dtype_bits(dtype);
  unsigned __int128 count = (unsigned __int128)b & (((unsigned __int128)1 << bits) - 1);
  if (is(op, "neg"))
    return -a;
  if (is(op, "abs"))
    return a < 0 ? -a : a;
  if (is(op, "sign"))
    return (a > 0) - (a < 0);
  if (is(op, "floor") || is(op, "ceil") || is(op, "trunc") || is(op, "round"))
    return a;
  if (is(op, "not"))
    return dtype == TSR_BOOL ? !a : ~a;
  if (is(op, "add"))
    return a + b;
  if (is(op, "sub"))
    return a - b;
  if (is(op, "mul"))
    return (__int128)((unsigned __int128)a * (unsigned __int128)b);
  if (is(op, "div"))
    return b == 0 ? 0 : a / b;
  if (is(op, "rem"))
    return b == 0 ? 0 : a % b;
  if (is(op, "mod"))
    return b == 0 ? 0 : (a % b + b) % b;
  if (is(op, "pow"))
    return int_power(a, b, (unsigned)bits);
  if (is(op, "min"))
    return a < b ? a : b;
  if (is(op, "max"))
    return a > b ? a : b;
  if (is(op, "and"))
    return a & b;
  if (is(op, "or"))
    return a | b;
  if (is(op, "xor"))
    return a ^ b;
  if (is(op, "shl"))
    return count >= (unsigned __int128)bits ? 0 : (__int128)((unsigned __int128)a << (int)count);
  if (is(op, "shr"))
    return a >> (count >= (unsigned __int128)bits ? (int)bits : (int)count);
  if (is(op, "eq"))
    return a == b;
  if (is(op, "ne"))
    return a != b;
  if (is(op, "lt"))
    return a < b;
  if (is(op, "le"))
    return a <= b;
  if (is(op, "gt"))
    return a > b;
  ck_assert(is(op, "ge"));
  return a >= b;
}

static __int128 int_element(tsr_dtype dtype, const void *data, int64_t index) {
  int64_t value = tsr_element_load_i64(dtype, data, index);
  return dtype == TSR_U64 ? (__int128)(uint64_t)value : (__int128)value;
}

/* Units in the last place that an op may be off by, beyond the rounding of the reference. */
static double allowed_ulp(const operation *op, tsr_dtype dtype) {
  static const char *const exact[] = {"neg",   "abs",   "sign",  "floor", "ceil", "trunc",
                                      "round", "isnan", "isinf", "add",   "sub",  "mul",
                                      "div",   "min",   "max",   "eq",    "ne",   "lt",
                                      "le",    "gt",    "ge",    "recip", "sqrt", "rem"};
  for (size_t i = 0; i < sizeof exact / sizeof *exact; ++i)
    if (is(op, exact[i]))
      return 0;
  return dtype == TSR_F64 ? 5 : dtype == TSR_F32 ? 3 : 1;
}

static double ulp_of(tsr_dtype dtype, double value) {
  int digits = dtype == TSR_F64 ? 53 : dtype == TSR_F32 ? 24 : dtype == TSR_F16 ? 11 : 8;
  int least = dtype == TSR_F64 ? -1074 : dtype == TSR_F32 ? -149 : dtype == TSR_F16 ? -24 : -133;
  int exponent = 0;
  frexp(value, &exponent);
  return ldexp(1, exponent - digits > least ? exponent - digits : least);
}

static void check_float(const operation *op, tsr_dtype dtype, double a, double b, double got) {
  tsr_dtype to = op->to_bool ? TSR_BOOL : dtype;
  double exact = float_reference(op, a, b), expected = exact;
  if (to != TSR_BOOL) {
    uint64_t bits = 0;
    tsr_element_store_f64(to, &bits, 0, exact);
    expected = tsr_element_load_f64(to, &bits, 0);
  }
  bool same = (isnan(expected) && isnan(got)) || expected == got;
  bool near = isfinite(expected) && isfinite(got) &&
              fabs(expected - got) <= allowed_ulp(op, dtype) * ulp_of(dtype, expected);
  ck_assert_msg(same || near, "%s %s: (%a, %a) -> %a, expected %a", op->text, tsr_dtype_text(dtype),
                a, b, got, expected);
}

static void check_int(const operation *op, tsr_dtype dtype, const void *x, const void *z,
                      const void *y, int64_t i) {
  tsr_dtype to = op->to_bool ? TSR_BOOL : dtype;
  __int128 a = int_element(dtype, x, i), b = int_element(dtype, z, i);
  uint64_t expected = 0;
  tsr_element_store_i64(to, &expected, 0, (int64_t)int_reference(op, dtype, a, b));
  uint64_t got = tsr_element_load_bits(to, y, i);
  ck_assert_msg(got == expected, "%s %s: (%lld, %lld) -> %llx, expected %llx", op->text,
                tsr_dtype_text(dtype), (long long)a, (long long)b, (unsigned long long)got,
                (unsigned long long)expected);
}

static size_t write_kernel(char *text, size_t size, const operation *op, int number,
                           tsr_dtype dtype) {
  const char *in = tsr_dtype_text(dtype), *out = op->to_bool ? "bool" : in;
  return (size_t)snprintf(
      text, size,
      "kernel @k%d(%%x: %s[N], %%z: %s[N], out %%y: %s[N]) grid(%%t in N ceildiv %d) {\n"
      "  %%a = load %%x[%%t*%d + $0] : reg %s[%d]\n"
      "  %%b = load %%z[%%t*%d + $0] : reg %s[%d]\n"
      "  %%c = %s %%a%s : reg %s[%d]\n"
      "  store %%c, %%y[%%t*%d + $0]\n}\n",
      number, in, in, out, LANES, LANES, in, LANES, LANES, in, LANES, op->text,
      op->operands == 2 ? ", %b" : "", out, LANES, LANES);
}

static void run_operation(const program *p, const operation *op, int number, tsr_dtype dtype,
                          bool special) {
  char symbol[16];
  size_t in_bytes = COUNT * dtype_size(dtype);
  size_t out_bytes = COUNT * dtype_size(op->to_bool ? TSR_BOOL : dtype);
  void *x = guarded(in_bytes, special), *z = guarded(in_bytes, special);
  void *y = guarded(out_bytes, special);
  dim_value dims[] = {{"N", COUNT}, {NULL, 0}};
  snprintf(symbol, sizeof symbol, "k%d", number);
  fill(dtype, x, COUNT, 2 * (uint64_t)number + 1, special);
  fill(dtype, z, COUNT, 2 * (uint64_t)number + 2, special);
  program_run(p, symbol, (void *const[]){x, z, y}, dims, (COUNT + LANES - 1) / LANES);
  for (int64_t i = 0; i < COUNT; ++i)
    if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT)
      check_float(op, dtype, tsr_element_load_f64(dtype, x, i), tsr_element_load_f64(dtype, z, i),
                  tsr_element_load_f64(op->to_bool ? TSR_BOOL : dtype, y, i));
    else
      check_int(op, dtype, x, z, y, i);
  guarded_free(x, in_bytes);
  guarded_free(z, in_bytes);
  guarded_free(y, out_bytes);
}

START_TEST(test_ops) {
  tsr_dtype dtype = dtypes[_i];
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  size_t capacity = 1 << 16, used = 0;
  char *text = malloc(capacity);
  ck_assert_ptr_nonnull(text);
  used += (size_t)snprintf(text, capacity, "dim N in 0..1000\n");
  for (int i = 0; i < OPERATIONS; ++i)
    if (applies(&operations[i], dtype))
      used += write_kernel(text + used, capacity - used, &operations[i], i, dtype);
  ck_assert_uint_lt(used, capacity);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    program_open(&p, text, &isas[isa]);
    for (int i = 0; i < OPERATIONS; ++i)
      if (applies(&operations[i], dtype)) {
        run_operation(&p, &operations[i], i, dtype, false);
        run_operation(&p, &operations[i], i, dtype, true);
      }
    program_close(&p);
  }
  free(text);
}
END_TEST

/* select by a column, a row and a whole tile; broadcasting of every kind. */
START_TEST(test_broadcast) {
  static const char text[] =
      "kernel @k(%x: f32[5, 7], %r: f32[7], %c: f32[5], out %y: f32[5, 7]) grid() {\n"
      "  %a = load %x[$0, $1] : reg f32[5, 7]\n"
      "  %row = load %r[$1] : reg f32[1, 7]\n"
      "  %col = load %c[$0] : reg f32[5, 1]\n"
      "  %lt = lt %row, %col : reg bool[5, 7]\n"
      "  %s = add %a, %col : reg f32[5, 7]\n"
      "  %m = mul %s, %row : reg f32[5, 7]\n"
      "  %two = const {value = 2} : reg f32[1, 1]\n"
      "  %q = mul %m, %two : reg f32[5, 7]\n"
      "  %o = select %lt, %q, %col : reg f32[5, 7]\n"
      "  store %o, %y[$0, $1]\n}\n";
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    float x[35], r[7], c[5], y[35] = {0};
    program_open(&p, text, &isas[isa]);
    fill(TSR_F32, x, 35, 1, false);
    fill(TSR_F32, r, 7, 2, false);
    fill(TSR_F32, c, 5, 3, false);
    program_run(&p, "k", (void *const[]){x, r, c, y}, NULL, 1);
    for (int i = 0; i < 35; ++i) {
      float row = r[i % 7], col = c[i / 7];
      ck_assert_float_eq(y[i], row < col ? (x[i] + col) * row * 2 : col);
    }
    program_close(&p);
  }
}
END_TEST

START_TEST(test_cast) {
  tsr_dtype from = dtypes[_i];
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  char text[1 << 14];
  size_t used = (size_t)snprintf(text, sizeof text, "dim N in 0..1000\n");
  for (int i = 0; i < DTYPES; ++i)
    used +=
        (size_t)snprintf(text + used, sizeof text - used,
                         "kernel @k%d(%%x: %s[N], out %%y: %s[N]) grid(%%t in N ceildiv 8) {\n"
                         "  %%a = load %%x[%%t*8 + $0] : reg %s[8]\n  %%b = cast %%a : reg %s[8]\n"
                         "  store %%b, %%y[%%t*8 + $0]\n}\n",
                         i, tsr_dtype_text(from), tsr_dtype_text(dtypes[i]), tsr_dtype_text(from),
                         tsr_dtype_text(dtypes[i]));
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    program_open(&p, text, &isas[isa]);
    for (int i = 0; i < DTYPES; ++i) {
      tsr_dtype to = dtypes[i];
      char symbol[16];
      uint64_t x[COUNT] = {0}, y[COUNT] = {0}, expected = 0;
      dim_value dims[] = {{"N", COUNT}, {NULL, 0}};
      snprintf(symbol, sizeof symbol, "k%d", i);
      fill(from, x, COUNT, 7, false);
      program_run(&p, symbol, (void *const[]){x, y}, dims, (COUNT + 7) / 8);
      for (int64_t e = 0; e < COUNT; ++e) {
        bool whole = tsr_dtype_class_of(from) != TSR_CLASS_FLOAT;
        double value = tsr_element_load_f64(from, x, e);
        if (whole && !(from == TSR_U64 && tsr_dtype_class_of(to) == TSR_CLASS_FLOAT))
          tsr_element_store_i64(to, &expected, 0, tsr_element_load_i64(from, x, e));
        else
          tsr_element_store_f64(to, &expected, 0, value);
        ck_assert_msg(tsr_element_load_bits(to, y, e) == tsr_element_load_bits(to, &expected, 0),
                      "%s -> %s of %g", tsr_dtype_text(from), tsr_dtype_text(to), value);
      }
    }
    program_close(&p);
  }
}
END_TEST

/* Bits pass through; a column of scalars takes the packed path of the functions. */
START_TEST(test_bitcast_and_column) {
  static const char text[] = "kernel @k(%x: f32[6], out %y: i32[6], out %z: f32[6]) grid() {\n"
                             "  %a = load %x[$0] : reg f32[6, 1]\n"
                             "  %b = bitcast %a : reg i32[6, 1]\n"
                             "  store %b, %y[$0]\n"
                             "  %e = exp %a : reg f32[6, 1]\n"
                             "  store %e, %z[$0]\n}\n";
  tsr_cpu_isa isas[4];
  int isa_count = host_isas(isas);
  for (int isa = 0; isa < isa_count; ++isa) {
    program p;
    float x[6] = {0, -1, 2, 3.5F, -4, 0.25F}, z[6];
    int32_t y[6];
    program_open(&p, text, &isas[isa]);
    program_run(&p, "k", (void *const[]){x, y, z}, NULL, 1);
    ck_assert_mem_eq(x, y, sizeof x);
    for (int i = 0; i < 6; ++i)
      ck_assert_float_eq_tol(z[i] / expf(x[i]), 1, 1e-6F);
    program_close(&p);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("elementwise");
  TCase *ops = tcase_create("ops");
  tcase_set_timeout(ops, 300);
  tcase_add_loop_test(ops, test_ops, 0, DTYPES);
  tcase_add_loop_test(ops, test_cast, 0, DTYPES);
  tcase_add_test(ops, test_broadcast);
  tcase_add_test(ops, test_bitcast_and_column);
  suite_add_tcase(suite, ops);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
