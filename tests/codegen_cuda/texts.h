/* Kernels that use every kind of tile op; the same list goes through NVRTC and through the emulated
 * device. */
#ifndef TSR_TESTS_CODEGEN_CUDA_TEXTS_H
#define TSR_TESTS_CODEGEN_CUDA_TEXTS_H
#include "tests/codegen/harness.h"

/* Exact results on the CPU and on CUDA: no sums whose order matters. */
static const char *const exact_text =
    "dim N in 1..1000\n"
    "kernel @copy(%x: f32[N], out %y: f32[N]) grid(%i in N ceildiv 100) {\n"
    "  %a = load %x[%i*100 + $0] {pad = 2} : reg f32[100]\n"
    "  store %a, %y[%i*100 + $0]\n"
    "}\n"
    "kernel @edges(%x: f32[5, 7], out %y: f32[9, 9]) grid(%i in 1) {\n"
    "  %a = load %x[$0 - 2, $1 - 1] {pad = -3} : reg f32[9, 9]\n"
    "  store %a, %y[$0, $1]\n"
    "}\n"
    "kernel @turn(%x: f32[40, 24], out %y: f32[24, 40]) grid(%i in 1) {\n"
    "  %a = load %x[$0, $1] : reg f32[40, 24]\n"
    "  %b = transpose %a {perm = [1, 0]} : reg f32[24, 40]\n"
    "  %c = add %b, %b : reg f32[24, 40]\n"
    "  store %c, %y[$0, $1]\n"
    "}\n"
    "kernel @broadcast(%x: f32[12, 50], %r: f32[50], %c: f32[12, 1], out %y: f32[12, 50]) grid(%i "
    "in 1) {\n"
    "  %a = load %x[$0, $1] : reg f32[12, 50]\n"
    "  %b = load %r[$1] : reg f32[1, 50]\n"
    "  %d = load %c[$0, 0] : reg f32[12, 1]\n"
    "  %e = mul %a, %b : reg f32[12, 50]\n"
    "  %f = sub %e, %d : reg f32[12, 50]\n"
    "  store %f, %y[$0, $1]\n"
    "}\n"
    "kernel @slices(%x: f32[6, 32], out %y: f32[4, 9]) grid(%i in 1) {\n"
    "  %a = load %x[$0, $1] : reg f32[6, 32]\n"
    "  %b = tile_slice %a {start = [1, 5]} : reg f32[4, 9]\n"
    "  store %b, %y[$0, $1]\n"
    "}\n"
    "kernel @extrema(%x: f32[24, 300], out %y: f32[24, 1], out %z: f32[1, 300], out %w: f32[1, 1]) "
    "grid(%i in 1) {\n"
    "  %a = load %x[$0, $1] : reg f32[24, 300]\n"
    "  %b = reduce %a {axes = [1], combine = \"max\"} : reg f32[24, 1]\n"
    "  %c = reduce %a {axes = [0], combine = \"min\"} : reg f32[1, 300]\n"
    "  %d = reduce %a {combine = \"max\"} : reg f32[1, 1]\n"
    "  store %b, %y[$0, 0]\n"
    "  store %c, %z[0, $1]\n"
    "  store %d, %w[0, 0]\n"
    "}\n"
    "kernel @integers(%x: i32[24, 45], out %y: i32[24, 1], out %z: i64[1, 1]) grid(%i in 1) {\n"
    "  %a = load %x[$0, $1] : reg i32[24, 45]\n"
    "  %b = reduce %a {axes = [1], combine = \"add\"} : reg i32[24, 1]\n"
    "  %c = cast %a : reg i64[24, 45]\n"
    "  %d = reduce %c {combine = \"add\"} : reg i64[1, 1]\n"
    "  store %b, %y[$0, 0]\n"
    "  store %d, %z[0, 0]\n"
    "}\n"
    "kernel @gather(%x: f32[50], %n: i64[70], out %y: f32[70]) grid(%i in 1) {\n"
    "  %k = load %n[$0] : reg i64[70]\n"
    "  %a = gather_load %x[%k] {pad = 9} : reg f32[70]\n"
    "  store %a, %y[$0]\n"
    "}\n"
    "kernel @counts(%n: i32[70], inout %y: i32[8]) grid(%i in 3) {\n"
    "  %k = load %n[$0] : reg i32[70]\n"
    "  %one = const {value = 1} : reg i32[70]\n"
    "  scatter_store %one, %y[%k] {combine = \"add\"}\n"
    "}\n"
    "kernel @peaks(%v: f32[70], %n: i32[70], inout %y: f32[8], inout %z: u8[8]) grid(%i in 1) {\n"
    "  %k = load %n[$0] : reg i32[70]\n"
    "  %a = load %v[$0] : reg f32[70]\n"
    "  scatter_store %a, %y[%k] {combine = \"max\"}\n"
    "  %b = cast %a : reg u8[70]\n"
    "  scatter_store %b, %z[%k] {combine = \"max\"}\n"
    "}\n"
    "kernel @flow(%x: f32[N], out %y: f32[N], out %s: f32[1]) grid(%i in 1) {\n"
    "  %z = const {value = 0} : reg f32[64]\n"
    "  %m = for %j in N ceildiv 64 carry(%a = %z) {\n"
    "    %b = load %x[%j*64 + $0] : reg f32[64]\n"
    "    %c = max %a, %b : reg f32[64]\n"
    "    if {cond = %j mod 2 == 0} {\n"
    "      store %b, %y[%j*64 + $0]\n"
    "    } {\n"
    "      store %c, %y[%j*64 + $0]\n"
    "    }\n"
    "    yield %c\n"
    "  } : reg f32[64]\n"
    "  %r = reduce %m {combine = \"max\"} : reg f32[1]\n"
    "  store %r, %s[$0]\n"
    "}\n"
    "kernel @until(%x: i32[1], out %y: i32[1]) grid(%i in 1) {\n"
    "  %a = load %x[0] : i32\n"
    "  %one = const {value = 1} : i32\n"
    "  %zero = const {value = 0} : i32\n"
    "  %q, %n = loop carry(%v = %a, %c = %zero) {limit = 40} {\n"
    "    %h = shr %v, %one : i32\n"
    "    %d = add %c, %one : i32\n"
    "    %more = ne %h, %zero : bool\n"
    "    yield %more, %h, %d\n"
    "  } : i32, i32\n"
    "  store %n, %y[0]\n"
    "}\n"
    "kernel @scratch(%x: f32[32, 32], out %y: f32[32, 32]) grid(%i in 1) {\n"
    "  %s = alloc : l1 f32[32, 33]\n"
    "  copy %x[0, 0], %s[0, 0] {shape = [32, 32], atom = \"vector\"}\n"
    "  barrier\n"
    "  %a = load %s[$1, $0] : reg f32[32, 32]\n"
    "  store %a, %y[$0, $1]\n"
    "}\n"
    "kernel @swizzled(%x: f32[32, 32], %u: i16[24, 80], out %y: f32[32, 32], out %v: i16[80, 24]) "
    "grid(%i in 1) {\n"
    "  %s = alloc {swizzle = 128} : l1 f32[2, 32, 32]\n"
    "  %t = alloc {swizzle = 64} : l1 i16[24, 80]\n"
    "  copy %x[0, 0], %s[%i + 1, 0, 0] {shape = [32, 32], atom = \"vector\"}\n"
    "  copy %u[0, 0], %t[0, 0] {shape = [24, 80], atom = \"vector\"}\n"
    "  barrier\n"
    "  %a = load %s[1, $1, $0] : reg f32[32, 32]\n"
    "  store %a, %y[$0, $1]\n"
    "  %b = load %t[$1, $0] : reg i16[80, 24]\n"
    "  store %b, %v[$0, $1]\n"
    "}\n"
    "kernel @history(inout %x: i32[64]) grid(%i in 1) {\n"
    "  for %j in 1..64 {\n"
    "    %a = load %x[%j - 1] : i32\n"
    "    %b = load %x[%j] : i32\n"
    "    %c = max %a, %b : i32\n"
    "    store %c, %x[%j]\n"
    "  }\n"
    "}\n"
    "kernel @pairs(%x: f32[20, 33], out %v: f32[20, 1], out %k: i64[20, 1]) grid(%i in 1) {\n"
    "  %a = load %x[$0, $1] : reg f32[20, 33]\n"
    "  %n = index {value = $1} : reg i64[20, 33]\n"
    "  %m, %w = reduce %a, %n {axes = [1]} {(%p: f32, %q: i64, %r: f32, %s: i64)\n"
    "    %g = gt %p, %r : bool\n"
    "    %f = select %g, %p, %r : f32\n"
    "    %h = select %g, %q, %s : i64\n"
    "    yield %f, %h\n"
    "  } : reg f32[20, 1], reg i64[20, 1]\n"
    "  store %m, %v[$0, 0]\n"
    "  store %w, %k[$0, 0]\n"
    "}\n"
    "kernel @tables(out %y: f32[3, 4], out %z: i64[12]) grid(%i in 1) {\n"
    "  %a = const {value = [1, 2.5, -3, 4, 5, 6, 7, inf, 9, 10, 11, -0.0]} : reg f32[3, 4]\n"
    "  %b = index {value = ($0 * 7 - 5) floordiv 3 + ($0 * 5 - 9) mod 4} : reg i64[12]\n"
    "  store %a, %y[$0, $1]\n"
    "  store %b, %z[$0]\n"
    "}\n";

/* Sums and products: compared within a tolerance. */
static const char *const close_text =
    "dim N in 1..1000\n"
    "kernel @softmax(%x: f32[N, 300], out %y: f32[N, 300]) grid(%i in N) {\n"
    "  %a = load %x[%i, $1] : reg f32[1, 300]\n"
    "  %b = reduce %a {axes = [1], combine = \"max\"} : reg f32[1, 1]\n"
    "  %c = sub %a, %b : reg f32[1, 300]\n"
    "  %d = exp %c : reg f32[1, 300]\n"
    "  %e = reduce %d {axes = [1], combine = \"add\"} : reg f32[1, 1]\n"
    "  %f = div %d, %e : reg f32[1, 300]\n"
    "  store %f, %y[%i, $1]\n"
    "}\n"
    "kernel @sums(%x: f16[24, 200], %u: f64[24, 200], out %y: f16[24, 1], out %z: f64[1, 200]) "
    "grid(%i in 1) {\n"
    "  %a = load %x[$0, $1] : reg f16[24, 200]\n"
    "  %b = reduce %a {axes = [1], combine = \"add\"} : reg f16[24, 1]\n"
    "  store %b, %y[$0, 0]\n"
    "  %c = load %u[$0, $1] : reg f64[24, 200]\n"
    "  %d = reduce %c {axes = [0], combine = \"mul\"} : reg f64[1, 200]\n"
    "  store %d, %z[0, $1]\n"
    "}\n"
    "kernel @atomic(%x: f32[64], inout %y: f32[1], inout %h: f16[1]) grid(%i in 1) {\n"
    "  %a = load %x[$0] : reg f32[64]\n"
    "  %b = reduce %a {combine = \"add\"} : reg f32[1]\n"
    "  store %b, %y[$0] {combine = \"add\"}\n"
    "  %c = cast %b : reg f16[1]\n"
    "  store %c, %h[$0] {combine = \"add\"}\n"
    "}\n"
    "kernel @matmul(%a: f32[N, 70], %b: f32[70, 100], %c: f32[100], out %d: f32[N, 100]) "
    "grid(%i in N ceildiv 24, %j in 100 ceildiv 40) {\n"
    "  %z = const {value = 0} : reg f32[24, 40]\n"
    "  %r = for %k in 70 ceildiv 16 carry(%t = %z) {\n"
    "    %x = load %a[%i*24 + $0, %k*16 + $1] : reg f32[24, 16]\n"
    "    %y = load %b[%k*16 + $0, %j*40 + $1] : reg f32[16, 40]\n"
    "    %u = contract %x, %y, %t {atom = \"fma.f32\"} : reg f32[24, 40]\n"
    "    yield %u\n"
    "  } : reg f32[24, 40]\n"
    "  %s = load %c[%j*40 + $1] : reg f32[1, 40]\n"
    "  %v = add %r, %s : reg f32[24, 40]\n"
    "  %w = max %v, %z : reg f32[24, 40]\n"
    "  store %w, %d[%i*24 + $0, %j*40 + $1]\n"
    "}\n"
    "kernel @deep(%a: bf16[8, 200], %b: bf16[200, 64], out %d: bf16[8, 64]) grid(%i in 1) {\n"
    "  %z = const {value = 0} : reg bf16[8, 64]\n"
    "  %x = load %a[$0, $1] : reg bf16[8, 200]\n"
    "  %y = load %b[$0, $1] : reg bf16[200, 64]\n"
    "  %u = contract %x, %y, %z {atom = \"fma.f32\"} : reg bf16[8, 64]\n"
    "  store %u, %d[$0, $1]\n"
    "}\n";

/* Appends "kernel @OP_DTYPE": out = op(inputs) over 300 elements. */
static inline void add_elementwise(char *text, size_t size, const char *op, int operands,
                                   const char *from, const char *to) {
  size_t used = strlen(text);
  static const char *const names[] = {"%x", "%y", "%z"};
  used += (size_t)snprintf(text + used, size - used, "kernel @%s_%s_%s(", op, from, to);
  for (int i = 0; i < operands; ++i)
    used += (size_t)snprintf(text + used, size - used, "%s: %s[300], ", names[i],
                             !strcmp(op, "select") && i == 0 ? "bool" : from);
  used += (size_t)snprintf(text + used, size - used, "out %%o: %s[300]) grid(%%i in 1) {\n", to);
  for (int i = 0; i < operands; ++i)
    used += (size_t)snprintf(text + used, size - used, "  %%a%d = load %s[$0] : reg %s[300]\n", i,
                             names[i], !strcmp(op, "select") && i == 0 ? "bool" : from);
  used += (size_t)snprintf(text + used, size - used, "  %%r = %s", op);
  for (int i = 0; i < operands; ++i)
    used += (size_t)snprintf(text + used, size - used, "%s %%a%d", i ? "," : "", i);
  used +=
      (size_t)snprintf(text + used, size - used, " : reg %s[300]\n  store %%r, %%o[$0]\n}\n", to);
  ck_assert_uint_lt(used, size);
}

enum { ELEMENTWISE_TEXT = 1 << 18 };

static inline bool is_float_text(const char *dtype) {
  return strchr(dtype, 'f') != NULL;
}

/* Every elementwise op on one dtype. `functions`: those that need not agree to the bit. */
static inline char *elementwise_text(const char *dtype, bool functions) {
  char *text = calloc(1, ELEMENTWISE_TEXT);
  ck_assert_ptr_nonnull(text);
  for (tsr_opcode code = TSR_OP_NONE + 1; code < TSR_OP_COUNT; ++code) {
    const tsr_op_info *info = tsr_opcode_info(code);
    bool real = is_float_text(dtype), boolean = !strcmp(dtype, "bool");
    bool function = (code >= TSR_OP_EXP && code <= TSR_OP_LOG) || code == TSR_OP_POW ||
                    (code >= TSR_OP_RSQRT && code <= TSR_OP_ERF && code != TSR_OP_RECIP) ||
                    code == TSR_OP_MOD || code == TSR_OP_REM;
    bool bits = code == TSR_OP_NOT || (code >= TSR_OP_AND && code <= TSR_OP_SHR);
    bool logic = code == TSR_OP_NOT || code == TSR_OP_AND || code == TSR_OP_OR ||
                 code == TSR_OP_XOR || code == TSR_OP_EQ || code == TSR_OP_NE;
    bool arithmetic = code == TSR_OP_SQRT || code == TSR_OP_RECIP;
    if (!tsr_opcode_elementwise(code) || code == TSR_OP_CAST || code == TSR_OP_BITCAST)
      continue;
    if ((real && bits) || (boolean && !logic && code != TSR_OP_SELECT))
      continue;
    if (!real && (arithmetic || (function && code < TSR_OP_NOT)))
      continue;
    if ((real && function) != functions)
      continue;
    bool to_bool = info->kind == TSR_KIND_COMPARE || code == TSR_OP_ISNAN || code == TSR_OP_ISINF;
    add_elementwise(text, ELEMENTWISE_TEXT, info->text, info->max_operands, dtype,
                    to_bool ? "bool" : dtype);
  }
  return text;
}

static const char *const all_dtypes[] = {"bool", "i8",  "i16", "i32", "i64",  "u8",  "u16",
                                         "u32",  "u64", "f16", "f32", "bf16", "f64", NULL};

/* Every conversion from one dtype. */
static inline char *cast_text(const char *from) {
  char *text = calloc(1, ELEMENTWISE_TEXT);
  ck_assert_ptr_nonnull(text);
  for (int i = 0; all_dtypes[i]; ++i)
    add_elementwise(text, ELEMENTWISE_TEXT, "cast", 1, from, all_dtypes[i]);
  return text;
}

#endif
