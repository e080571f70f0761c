/* Matrix products by every atom, as tile IR. Arguments of a kernel are a, b, [bias,] c, where a is
 * [M, K] or, named %at, [K, M]; b is [K, N] or, named %bt, [N, K]; c = a b + bias. */
#ifndef TSR_TESTS_CODEGEN_CUDA_CONTRACT_TEXTS_H
#define TSR_TESTS_CODEGEN_CUDA_CONTRACT_TEXTS_H

typedef struct contract_text {
  const char *name;
  int arch;
  long long m; /* the value of dim M */
  const char *text;
} contract_text;

/* A pipeline over rings with a swizzle, panels of b, both operands by ldmatrix. */
#define RING_TEXT(dtype, atom)                                                                     \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(%a: " dtype "[M, 96], %b: " dtype "[96, 128], %bias: " dtype "[128], out %c: " dtype  \
  "[M, 128]) grid(%i in M ceildiv 64, %j in 1) {warps = 4} {\n"                                    \
  "  %sa = alloc {swizzle = 64} : l1 " dtype "[3, 64, 32]\n"                                       \
  "  %sb = alloc {swizzle = 128} : l1 " dtype "[3, 2, 32, 64]\n"                                   \
  "  %z = const {value = 0} : reg f32[64, 128]\n"                                                  \
  "  %acc = for %k in 3 carry(%s = %z) {stages = 3} {\n"                                           \
  "    copy %a[%i*64, %k*32], %sa[%k mod 3, 0, 0] {atom = \"cp.async\", shape = [64, 32]}\n"       \
  "    copy %b[%k*32, %j*128], %sb[%k mod 3, 0, 0, 0] {atom = \"cp.async\", shape = [32, 64]}\n"   \
  "    copy %b[%k*32, %j*128 + 64], %sb[%k mod 3, 1, 0, 0] {atom = \"cp.async\", shape = [32, "    \
  "64]}\n"                                                                                         \
  "    barrier\n"                                                                                  \
  "    %d = for %q in 2 carry(%e = %s) {unroll = 0} {\n"                                           \
  "      %fa = fragment %sa[%k mod 3, $0, %q*16 + $1] {atom = \"ldmatrix\"} : reg " dtype          \
  "[64, 16]\n"                                                                                     \
  "      %fb = fragment %sb[%k mod 3, $1 floordiv 64, %q*16 + $0, $1 mod 64] {atom = "             \
  "\"ldmatrix\"} : reg " dtype "[16, 128]\n"                                                       \
  "      %g = contract %fa, %fb, %e {atom = \"" atom "\", warps = [2, 2]} : reg f32[64, 128]\n"    \
  "      yield %g\n"                                                                               \
  "    } : reg f32[64, 128]\n"                                                                     \
  "    yield %d\n"                                                                                 \
  "  } : reg f32[64, 128]\n"                                                                       \
  "  %h = cast %acc : reg " dtype "[64, 128]\n"                                                    \
  "  %bi = load %bias[%j*128 + $1] : reg " dtype "[1, 128]\n"                                      \
  "  %r = add %h, %bi : reg " dtype "[64, 128]\n"                                                  \
  "  store %r, %c[%i*64 + $0, %j*128 + $1]\n"                                                      \
  "}\n"

/* One tile of depth `k` in padded rows; `am`, `bm`: how the operands lie in global and in shared
 * memory, as types and as subscripts. */
#define TILE_TEXT(from, to, atom, fragment, m, n, k, warps, names, ta, tb, sa, sb, ba, bb, la, lb) \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(" names ", out %c: " to "[M, " n "]) grid(%i in M ceildiv " m ") {warps = 4} {\n"     \
  "  %sa = alloc : l1 " from ta "\n"                                                               \
  "  %sb = alloc : l1 " from tb "\n"                                                               \
  "  copy " sa ", %sa[0, 0] {shape = " ba "}\n"                                                    \
  "  copy " sb ", %sb[0, 0] {shape = " bb "}\n"                                                    \
  "  barrier\n"                                                                                    \
  "  %z = const {value = 0} : reg " to "[" m ", " n "]\n"                                          \
  "  %fa = fragment %sa[" la "] {atom = \"" fragment "\"} : reg " from "[" m ", " k "]\n"          \
  "  %fb = fragment %sb[" lb "] {atom = \"" fragment "\"} : reg " from "[" k ", " n "]\n"          \
  "  %g = contract %fa, %fb, %z {atom = \"" atom "\", warps = " warps "} : reg " to "[" m ", " n   \
  "]\n"                                                                                            \
  "  store %g, %c[%i*" m " + $0, $1]\n"                                                            \
  "}\n"

/* a [M, k], b [k, n] as they are; and both the other way round. */
#define PLAIN_TEXT(from, to, atom, fragment, m, n, k, kp, np, warps)                               \
  TILE_TEXT(from, to, atom, fragment, m, n, k, warps,                                              \
            "%a: " from "[M, " k "], %b: " from "[" k ", " n "]", "[" m ", " kp "]",               \
            "[" k ", " np "]", "%a[%i*" m ", 0]", "%b[0, 0]", "[" m ", " k "]", "[" k ", " n "]",  \
            "$0, $1", "$0, $1")
#define TURNED_TEXT(from, to, atom, fragment, m, n, k, kp, mp, warps)                              \
  TILE_TEXT(from, to, atom, fragment, m, n, k, warps,                                              \
            "%at: " from "[" k ", M], %bt: " from "[" n ", " k "]", "[" k ", " mp "]",             \
            "[" n ", " kp "]", "%at[0, %i*" m "]", "%bt[0, 0]", "[" k ", " m "]",                  \
            "[" n ", " k "]", "$1, $0", "$1, $0")

/* Operands that are made in registers: loaded straight from memory, converted on the way. */
#define REGISTER_TEXT                                                                              \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(%a: f32[M, 48], %b: i8[48, 40], out %c: f32[M, 40]) grid(%i in M ceildiv 32) {warps " \
  "= 2} {\n"                                                                                       \
  "  %z = const {value = 0} : reg f32[32, 40]\n"                                                   \
  "  %x = load %a[%i*32 + $0, $1] : reg f32[32, 48]\n"                                             \
  "  %y = load %b[$0, $1] : reg i8[48, 40]\n"                                                      \
  "  %u = cast %x : reg f16[32, 48]\n"                                                             \
  "  %v = cast %y : reg f16[48, 40]\n"                                                             \
  "  %g = contract %u, %v, %z {atom = \"mma.f16\", warps = [2, 1]} : reg f32[32, 40]\n"            \
  "  store %g, %c[%i*32 + $0, $1]\n"                                                               \
  "}\n"

/* The product goes on as the left operand of another one, by the unit matrix, which is made in
 * registers; `columns` of warps decide whether it must change its layout for that. */
#define CHAIN_TEXT(warps)                                                                          \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(%a: f16[M, 32], %b: f16[32, 32], out %c: f16[M, 32]) grid(%i in M ceildiv 64) "       \
  "{warps "                                                                                        \
  "= 4} {\n"                                                                                       \
  "  %z = const {value = 0} : reg f32[64, 32]\n"                                                   \
  "  %x = load %a[%i*64 + $0, $1] : reg f16[64, 32]\n"                                             \
  "  %y = load %b[$0, $1] : reg f16[32, 32]\n"                                                     \
  "  %g = contract %x, %y, %z {atom = \"mma.f16\", warps = " warps "} : reg f32[64, 32]\n"         \
  "  %h = cast %g : reg f16[64, 32]\n"                                                             \
  "  %r = index {value = $0} : reg i64[32, 32]\n"                                                  \
  "  %s = index {value = $1} : reg i64[32, 32]\n"                                                  \
  "  %t = eq %r, %s : reg bool[32, 32]\n"                                                          \
  "  %u = cast %t : reg f16[32, 32]\n"                                                             \
  "  %v = contract %h, %u, %z {atom = \"mma.f16\", warps = " warps "} : reg f32[64, 32]\n"         \
  "  %w = cast %v : reg f16[64, 32]\n"                                                             \
  "  store %w, %c[%i*64 + $0, $1]\n"                                                               \
  "}\n"

/* Fragments of other types than what is multiplied; sums and extrema over accumulators, which leave
 * them what they are: g - max + max of integers is g. */
#define AROUND_TEXT(warps)                                                                         \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(%a: i8[M, 32], %b: f32[32, 48], out %c: f32[M, 48]) grid(%i in M ceildiv 32) {warps " \
  "= 4} {\n"                                                                                       \
  "  %sa = alloc : l1 i8[32, 48]\n"                                                                \
  "  %sb = alloc : l1 f32[32, 52]\n"                                                               \
  "  copy %a[%i*32, 0], %sa[0, 0] {shape = [32, 32]}\n"                                            \
  "  copy %b[0, 0], %sb[0, 0] {shape = [32, 48]}\n"                                                \
  "  barrier\n"                                                                                    \
  "  %z = const {value = 0} : reg f32[32, 48]\n"                                                   \
  "  %fa = fragment %sa[$0, $1] {atom = \"ldmatrix\"} : reg i8[32, 32]\n"                          \
  "  %fb = fragment %sb[$0, $1] {atom = \"ldmatrix\"} : reg f32[32, 48]\n"                         \
  "  %x = cast %fa : reg f16[32, 32]\n"                                                            \
  "  %y = cast %fb : reg f16[32, 48]\n"                                                            \
  "  %g = contract %x, %y, %z {atom = \"mma.f16\", warps = " warps "} : reg f32[32, 48]\n"         \
  "  %m = reduce %g {axes = [1], combine = \"max\"} : reg f32[32, 1]\n"                            \
  "  %n = reduce %g {axes = [0], combine = \"add\"} : reg f32[1, 48]\n"                            \
  "  %p = sub %g, %m : reg f32[32, 48]\n"                                                          \
  "  %q = add %p, %n : reg f32[32, 48]\n"                                                          \
  "  %r = add %q, %m : reg f32[32, 48]\n"                                                          \
  "  %s = sub %r, %n : reg f32[32, 48]\n"                                                          \
  "  store %s, %c[%i*32 + $0, $1]\n"                                                               \
  "}\n"

/* Rows whose length is known at run time only, and are not aligned: nothing moves in runs. */
#define RAGGED_TEXT                                                                                \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(%a: f16[M, 48], %bt: f16[M, 48], out %c: f16[M, M]) grid(%i in M ceildiv 32, %j in "  \
  "M "                                                                                             \
  "ceildiv 16) {warps = 2} {\n"                                                                    \
  "  %sb = alloc : l1 f16[16, 56]\n"                                                               \
  "  copy %bt[%j*16, 0], %sb[0, 0] {shape = [16, 48]}\n"                                           \
  "  barrier\n"                                                                                    \
  "  %z = const {value = 0} : reg f32[32, 16]\n"                                                   \
  "  %x = fragment %a[%i*32 + $0, $1] {atom = \"vector\"} : reg f16[32, 48]\n"                     \
  "  %y = fragment %sb[$1, $0] {atom = \"ldmatrix\"} : reg f16[48, 16]\n"                          \
  "  %g = contract %x, %y, %z {atom = \"mma.f16\"} : reg f32[32, 16]\n"                            \
  "  %h = cast %g : reg f16[32, 16]\n"                                                             \
  "  store %h, %c[%i*32 + $0, %j*16 + $1]\n"                                                       \
  "}\n"

/* In place, behind plain copies; `swizzle` bytes of `width` elements per row. */
#define IN_PLACE_TEXT(from, to, atom, m, n, k, swizzle, warps, all, names, ta, tb, sa, sb, ba, bb, \
                      la, lb)                                                                      \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(" names ", out %c: " to "[M, " n "]) grid(%i in M ceildiv " m ") {warps = " all       \
  "} {\n"                                                                                          \
  "  %sa = alloc {swizzle = " swizzle "} : l1 " from ta "\n"                                       \
  "  %sb = alloc {swizzle = " swizzle "} : l1 " from tb "\n"                                       \
  "  copy " sa ", %sa" ba "\n"                                                                     \
  "  copy " sb ", %sb" bb "\n"                                                                     \
  "  barrier\n"                                                                                    \
  "  %z = const {value = 0} : reg " to "[" m ", " n "]\n"                                          \
  "  %g = contract %sa[" la "], %sb[" lb "], %z {atom = \"" atom "\", k = " k ", warps = " warps   \
  "} : reg " to "[" m ", " n "]\n"                                                                 \
  "  wait {of = \"contract\", pending = 0}\n"                                                      \
  "  store %g, %c[%i*" m " + $0, $1]\n"                                                            \
  "}\n"

/* a [M, k], b [n, k]: rows of exactly the swizzle's width along the depth. */
#define WGMMA_K_TEXT(from, to, atom, m, n, k, swizzle, warps, all)                                 \
  IN_PLACE_TEXT(from, to, atom, m, n, k, swizzle, warps, all,                                      \
                "%a: " from "[M, " k "], %bt: " from "[" n ", " k "]", "[" m ", " k "]",           \
                "[" n ", " k "]", "%a[%i*" m ", 0]", "%bt[0, 0]",                                  \
                "[0, 0] {shape = [" m ", " k "]}", "[0, 0] {shape = [" n ", " k "]}", "$0, $1",    \
                "$1, $0")

/* a [k, M], b [k, n]: rows of 64 elements of 16 bits along m and n, in panels. */
#define WGMMA_M_TEXT(from, atom, m, n, mpanels, npanels)                                           \
  IN_PLACE_TEXT(from, "f32", atom, m, n, "32", "128", "[4, 1]", "4",                               \
                "%at: " from "[32, M], %b: " from "[32, " n "]", "[" mpanels ", 32, 64]",          \
                "[" npanels ", 32, 64]", "%at[$0, %i*" m " + $1]", "%b[$0, $1]",                   \
                "[$1 floordiv 64, $0, $1 mod 64] {shape = [32, " m "]}",                           \
                "[$1 floordiv 64, $0, $1 mod 64] {shape = [32, " n "]}",                           \
                "$0 floordiv 64, $1, $0 mod 64", "$1 floordiv 64, $0, $1 mod 64")

/* A loop over panels of the depth, one product under way while the next one is issued. */
#define WGMMA_LOOP_TEXT                                                                            \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(%a: f16[M, 192], %bt: f16[72, 192], %bias: f32[72], out %c: f32[M, 72]) grid(%i in "  \
  "M ceildiv 128) {warps = 8} {\n"                                                                 \
  "  %sa = alloc {swizzle = 128} : l1 f16[3, 128, 64]\n"                                           \
  "  %sb = alloc {swizzle = 128} : l1 f16[3, 72, 64]\n"                                            \
  "  copy %a[%i*128 + $0, $1], %sa[$1 floordiv 64, $0, $1 mod 64] {shape = [128, 192]}\n"          \
  "  copy %bt[$0, $1], %sb[$1 floordiv 64, $0, $1 mod 64] {shape = [72, 192]}\n"                   \
  "  barrier\n"                                                                                    \
  "  %z = const {value = 0} : reg f32[128, 72]\n"                                                  \
  "  %acc = for %k in 3 carry(%s = %z) {\n"                                                        \
  "    %g = contract %sa[%k, $0, $1], %sb[%k, $1, $0], %s {atom = \"wgmma.f16\", k = 64, warps = " \
  "[8, 1]} : reg f32[128, 72]\n"                                                                   \
  "    wait {of = \"contract\", pending = 1}\n"                                                    \
  "    yield %g\n"                                                                                 \
  "  } : reg f32[128, 72]\n"                                                                       \
  "  %bi = load %bias[$1] : reg f32[1, 72]\n"                                                      \
  "  %r = add %acc, %bi : reg f32[128, 72]\n"                                                      \
  "  store %r, %c[%i*128 + $0, $1]\n"                                                              \
  "}\n"

/* a in registers, b in place. */
#define WGMMA_REGISTER_TEXT                                                                        \
  "dim M in 1..65536\n"                                                                            \
  "kernel @k(%a: f16[M, 64], %b: f16[64, 128], out %c: f32[M, 128]) grid(%i in M ceildiv 64) "     \
  "{warps = 4} {\n"                                                                                \
  "  %sb = alloc {swizzle = 128} : l1 f16[2, 64, 64]\n"                                            \
  "  copy %b[$0, $1], %sb[$1 floordiv 64, $0, $1 mod 64] {shape = [64, 128]}\n"                    \
  "  barrier\n"                                                                                    \
  "  %z = const {value = 0} : reg f32[64, 128]\n"                                                  \
  "  %x = load %a[%i*64 + $0, $1] : reg f16[64, 64]\n"                                             \
  "  %g = contract %x, %sb[$1 floordiv 64, $0, $1 mod 64], %z {atom = \"wgmma.f16\"} : reg "       \
  "f32[64, 128]\n"                                                                                 \
  "  store %g, %c[%i*64 + $0, $1]\n"                                                               \
  "}\n"

static const contract_text contract_texts[] = {
    {"f16 ring", 80, 100, RING_TEXT("f16", "mma.f16")},
    {"bf16 ring", 80, 64, RING_TEXT("bf16", "mma.bf16")},
    {"f16 plain", 80, 33,
     PLAIN_TEXT("f16", "f32", "mma.f16", "ldmatrix", "32", "48", "48", "56", "56", "[2, 2]")},
    {"f16 turned", 80, 32,
     TURNED_TEXT("f16", "f32", "mma.f16", "ldmatrix", "32", "80", "16", "24", "40", "[2, 2]")},
    {"bf16 by loads", 80, 40,
     PLAIN_TEXT("bf16", "f32", "mma.bf16", "vector", "32", "32", "32", "33", "33", "[2, 2]")},
    {"tf32 plain", 80, 50,
     PLAIN_TEXT("f32", "f32", "mma.tf32", "ldmatrix", "64", "24", "24", "28", "25", "[4, 1]")},
    {"tf32 turned", 80, 64,
     TURNED_TEXT("f32", "f32", "mma.tf32", "ldmatrix", "32", "32", "16", "20", "36", "[2, 2]")},
    {"s8 plain", 80, 31,
     PLAIN_TEXT("i8", "i32", "mma.s8", "ldmatrix", "32", "64", "64", "80", "65", "[1, 4]")},
    {"s8 turned", 80, 48,
     TURNED_TEXT("i8", "i32", "mma.s8", "ldmatrix", "32", "16", "32", "48", "32", "[2, 2]")},
    {"e4m3", 89, 40,
     TURNED_TEXT("f8e4m3", "f32", "mma.f8e4m3", "ldmatrix", "32", "16", "32", "48", "32",
                 "[2, 2]")},
    {"e5m2", 89, 32,
     PLAIN_TEXT("f8e5m2", "f32", "mma.f8e5m2", "ldmatrix", "32", "16", "32", "48", "32", "[2, 2]")},
    {"made in registers", 80, 70, REGISTER_TEXT},
    {"chain", 80, 70, CHAIN_TEXT("[4, 1]")},
    {"chain with exchange", 80, 64, CHAIN_TEXT("[2, 2]")},
    {"around", 80, 50, AROUND_TEXT("[2, 2]")},

    {"ragged", 80, 39, RAGGED_TEXT},
    {"bf16 deep", 80, 32,
     TURNED_TEXT("bf16", "f32", "mma.bf16", "ldmatrix", "32", "32", "64", "72", "40", "[2, 2]")},
    {"f32", 80, 33,
     PLAIN_TEXT("f32", "f32", "fma.f32", "vector", "64", "64", "8", "9", "68", "[2, 2]")},
    {"f32 turned", 80, 64,
     TURNED_TEXT("f32", "f32", "fma.f32", "vector", "64", "32", "8", "12", "68", "[2, 2]")},
    {"f64", 80, 20,
     PLAIN_TEXT("f64", "f64", "fma.f64", "vector", "32", "24", "6", "7", "25", "[2, 2]")},
    {"i32", 80, 64,
     PLAIN_TEXT("i32", "i32", "fma.i32", "vector", "64", "32", "4", "5", "36", "[2, 2]")},
    {"wgmma f16, 128", 90, 70,
     WGMMA_K_TEXT("f16", "f32", "wgmma.f16", "64", "24", "64", "128", "[4, 1]", "4")},
    {"wgmma bf16, 64, two groups", 90, 128,
     WGMMA_K_TEXT("bf16", "f32", "wgmma.bf16", "128", "32", "32", "64", "[8, 1]", "8")},
    {"wgmma f16, 32, groups by columns", 90, 64,
     WGMMA_K_TEXT("f16", "f32", "wgmma.f16", "64", "48", "16", "32", "[4, 2]", "8")},
    {"wgmma tf32", 90, 64,
     WGMMA_K_TEXT("f32", "f32", "wgmma.tf32", "64", "16", "32", "128", "[4, 1]", "4")},
    {"wgmma s8", 90, 65,
     WGMMA_K_TEXT("i8", "i32", "wgmma.s8", "64", "48", "64", "64", "[4, 1]", "4")},
    {"wgmma e4m3", 90, 64,
     WGMMA_K_TEXT("f8e4m3", "f32", "wgmma.f8e4m3", "64", "40", "64", "64", "[4, 1]", "4")},
    {"wgmma f16, sides contiguous", 90, 128,
     WGMMA_M_TEXT("f16", "wgmma.f16", "128", "128", "2", "2")},
    {"wgmma bf16, 320 columns", 90, 64, WGMMA_M_TEXT("bf16", "wgmma.bf16", "64", "320", "1", "5")},
    {"wgmma loop", 90, 130, WGMMA_LOOP_TEXT},
    {"wgmma registers", 90, 64, WGMMA_REGISTER_TEXT},
};

enum { CONTRACT_TEXTS = sizeof contract_texts / sizeof *contract_texts };

#endif
