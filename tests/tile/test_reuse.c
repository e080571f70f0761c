/* Results in the memory of operands that end: the same numbers, and only where nothing reads what
 * was there. */
#include "tests/tile/tile_run.h"
#include <stdarg.h>

enum { TEXT = 16384, POOL = 12, GRAPHS = 18 / TEST_SHARE };

static uint32_t aliases_in(const tsr_ir *ir, tsr_op graph) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op) {
    const tsr_attr *alias = tsr_op_attr(ir, op, "alias");
    for (uint32_t i = 0;
         alias != NULL && tsr_op_get(ir, op)->code == TSR_OP_LAUNCH && i < alias->count; i++)
      count += !tsr_expr_equals_int(ir, alias->u.exprs[i], -1);
  }
  return count;
}

/* How many results take over an operand, on machines of so many threads. */
static uint32_t taken_over(const char *text, uint32_t threads) {
  tsr_cpu_isa isa;
  tsr_target target;
  tiled t;
  tsr_cpu_isa_host(&isa);
  tsr_target_host(threads, &target);
  tiled_open(&t, text, &isa, &target);
  const uint32_t count = aliases_in(t.ir, t.graph);
  tiled_close(&t);
  return count;
}

static void check_results(const char *text, const int64_t *dims, uint32_t dim_count) {
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_cpu_isa_host(&isa);
  for (uint32_t threads = 1; threads < 4; threads += 2) {
    tsr_target_host(threads, &target);
    check_text(text, dims, dim_count, &isa, &target);
  }
}

/* --- one launch after another, whose last one may take an operand over or not --- */

/* u = x * 2; what stands for `last`; outputs. */
#define AFTER(dims, subscripts, par, last, outputs)                                                \
  "graph @g {\n %x = input {name = \"x\"} : f32" dims "\n %w = const {random = 1} : f32[40, 40]\n" \
  " %u = block " par " {\n %0 = load %x" subscripts " : f32\n %1 = const {value = 2} : f32\n"      \
  " %2 = mul %0, %1 : f32\n store %2, %u" subscripts "\n } : f32" dims "\n" last outputs "}\n"
#define SQUARE(last, outputs)                                                                      \
  AFTER("[40, 40]", "[%m, %n]", "par(%m in 40, %n in 40)", last, outputs)
#define OUT(value) " output %" value " {name = \"" value "\"}\n"
#define MAP(load, result)                                                                          \
  " %" result " = block par(%m in 40, %n in 40) {\n %0 = load " load " : f32\n"                    \
  " %1 = exp %0 : f32\n store %1, %" result "[%m, %n]\n } : f32[40, 40]\n"
#define PRODUCT(a, b, added, result)                                                               \
  " %" result " = block par(%m in 40, %n in 40) red(%k in 40) {\n %0 = load " a " : f32\n"         \
  " %1 = load " b " : f32\n %2 = mul %0, %1 : f32\n %3 = reduce %2 {combine = \"add\"} : f32\n"    \
  " %4 = load " added " : f32\n %5 = add %3, %4 : f32\n store %5, %" result "[%m, %n]\n"           \
  " } : f32[40, 40]\n"
#define TWICE(result)                                                                              \
  " %" result " = block par(%m in 40, %n in 40) {\n %0 = load %y[%m, %n] : f32\n"                  \
  " %1 = add %0, %0 : f32\n store %1, %" result "[%m, %n]\n } : f32[40, 40]\n"

static const struct {
  const char *what, *text;
  uint32_t taken;
} cases[] = {
    {"a map", SQUARE(MAP("%u[%m, %n]", "y") TWICE("z"), OUT("z")), 1},
    {"what a product adds",
     SQUARE(PRODUCT("%x[%m, %k]", "%w[%k, %n]", "%u[%m, %n]", "y") TWICE("z"), OUT("z")), 1},
    {"the result is an output", SQUARE(MAP("%u[%m, %n]", "y"), OUT("y")), 0},
    {"the operand is an output", SQUARE(MAP("%u[%m, %n]", "y") TWICE("z"), OUT("z") OUT("u")), 0},
    {"the operand is the caller's", SQUARE(MAP("%x[%m, %n]", "y") TWICE("z"), OUT("z") OUT("u")),
     0},
    {"the operand is read later",
     SQUARE(MAP("%u[%m, %n]", "y") PRODUCT("%y[%m, %k]", "%u[%k, %n]", "%x[%m, %n]", "z"),
            OUT("z")),
     0},
    {"the operand is read turned", SQUARE(MAP("%u[%n, %m]", "y") TWICE("z"), OUT("z")), 0},
    {"the operand is read a row further on",
     SQUARE(MAP("%u[%m + 1, %n]", "y") TWICE("z"), OUT("z")), 0},
    {"the operand is a factor, too",
     SQUARE(PRODUCT("%u[%m, %k]", "%w[%k, %n]", "%u[%m, %n]", "y") TWICE("z"), OUT("z")), 0},
    {"the operand is the factor",
     SQUARE(PRODUCT("%u[%m, %k]", "%w[%k, %n]", "%x[%m, %n]", "y") TWICE("z"), OUT("z")), 0},
    {"a view of the operand is read later",
     SQUARE(" %v = reshape %u : f32[1600]\n" MAP(
                "%u[%m, %n]",
                "y") " %z = block par(%m in 40, %n in 40) {\n %0 = load %v[%m*40 + %n] : f32\n"
                     " %1 = load %y[%n, %m] : f32\n %2 = add %0, %1 : f32\n store %2, %z[%m, %n]\n"
                     " } : f32[40, 40]\n",
            OUT("z")),
     0},
    {"a view of the operand ends",
     SQUARE(" %v = reshape %u : f32[40, 40]\n" MAP("%v[%m, %n]", "y") TWICE("z"), OUT("z")), 1},
};

START_TEST(only_memory_that_ends_is_taken) {
  for (uint32_t threads = 1; threads < 3; threads++)
    if (taken_over(cases[_i].text, threads) != cases[_i].taken)
      ck_abort_msg("%s, %u threads: %u results take an operand over, not %u", cases[_i].what,
                   threads, taken_over(cases[_i].text, threads), cases[_i].taken);
  check_results(cases[_i].text, NULL, 0);
}
END_TEST

/* A chain of sums: every one but the last, an output, is in the memory of the first, by kernels
 * that are one where they do the same. */
START_TEST(chains_stay_in_one_memory) {
  static const char *const text =
      SQUARE(PRODUCT("%x[%m, %k]", "%w[%k, %n]", "%u[%m, %n]", "y")
                 PRODUCT("%x[%m, %k]", "%w[%k, %n]", "%y[%m, %n]", "z")
                     PRODUCT("%x[%m, %k]", "%w[%k, %n]", "%z[%m, %n]", "v"),
             OUT("v"));
  ck_assert_uint_eq(taken_over(text, 1), 2);
  check_results(text, NULL, 0);
}
END_TEST

/* Images of 7 x 7, whose tiles are turned where they are stored; a number of rows that only the run
 * knows, whose rest is tiles of 4, 2, 1. */
START_TEST(turned_tiles_and_rests) {
  static const char *const turned =
      "graph @g {\n %x = input {name = \"x\"} : f32[256, 7, 7]\n"
      " %w = const {random = 1} : f32[96, 256]\n"
      " %u = block par(%m in 96, %y in 7, %z in 7) red(%k in 256) {\n"
      " %0 = load %w[%m, %k] : f32\n %1 = load %x[%k, %y, %z] : f32\n %2 = mul %0, %1 : f32\n"
      " %3 = reduce %2 {combine = \"add\"} : f32\n store %3, %u[%m, %y, %z]\n } : f32[96, 7, 7]\n"
      " %v = block par(%m in 96, %y in 7, %z in 7) red(%k in 256) {\n"
      " %0 = load %w[%m, %k] : f32\n %1 = load %x[%k, %y, %z] : f32\n %2 = mul %0, %1 : f32\n"
      " %3 = reduce %2 {combine = \"add\"} : f32\n %4 = load %u[%m, %y, %z] : f32\n"
      " %5 = add %3, %4 : f32\n store %5, %v[%m, %y, %z]\n } : f32[96, 7, 7]\n"
      " %s = block par(%m in 96) red(%y in 7, %z in 7) {\n %0 = load %v[%m, %y, %z] : f32\n"
      " %1 = reduce %0 {combine = \"add\"} : f32\n store %1, %s[%m]\n } : f32[96]\n"
      " output %s {name = \"s\"}\n output %x {name = \"y\"}\n}\n";
  static const char *const rests =
      "dim N in 0..64 hint 37\ngraph @g {\n %x = input {name = \"x\"} : f32[N, 50]\n"
      " %w = const {random = 1} : f32[50, 50]\n"
      " %u = block par(%m in N, %n in 50) {\n %0 = load %x[%m, %n] : f32\n %1 = neg %0 : f32\n"
      " store %1, %u[%m, %n]\n } : f32[N, 50]\n"
      " %v = block par(%m in N, %n in 50) red(%k in 50) {\n %0 = load %x[%m, %k] : f32\n"
      " %1 = load %w[%k, %n] : f32\n %2 = mul %0, %1 : f32\n"
      " %3 = reduce %2 {combine = \"add\"} : f32\n %4 = load %u[%m, %n] : f32\n"
      " %5 = add %3, %4 : f32\n store %5, %v[%m, %n]\n } : f32[N, 50]\n"
      " %s = block par(%m in N) red(%n in 50) {\n %0 = load %v[%m, %n] : f32\n"
      " %1 = reduce %0 {combine = \"add\"} : f32\n store %1, %s[%m]\n } : f32[N]\n"
      " output %s {name = \"s\"}\n}\n";
  ck_assert_uint_eq(taken_over(turned, 1), 1);
  ck_assert_uint_eq(taken_over(rests, 1), 1);
  ck_assert_uint_eq(taken_over(rests, 2), 1);
  check_results(turned, NULL, 0);
  for (int64_t n = 0; n < 40; n += 1 + n / 4)
    check_results(rests, &n, 1);
}
END_TEST

/* --- random graphs of products, maps and sums over the same square shape --- */

typedef struct writing {
  char text[TEXT];
  size_t length;
  uint64_t state;
  uint32_t count; /* values %v0 .. */
} writing;

static uint32_t below(writing *w, uint32_t bound) {
  w->state = w->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)((w->state >> 33) % bound);
}

__attribute__((format(printf, 2, 3))) static void put(writing *w, const char *format, ...) {
  va_list list;
  va_start(list, format);
  w->length += (size_t)vsnprintf(w->text + w->length, TEXT - w->length, format, list);
  va_end(list);
  ck_assert_uint_lt(w->length, TEXT);
}

static const char *turn(writing *w) {
  return below(w, 4) == 0 ? "%n, %m" : "%m, %n";
}

static void put_block(writing *w, uint32_t size) {
  const uint32_t a = below(w, w->count), b = below(w, w->count), kind = below(w, 4);
  put(w, " %%v%u = block par(%%m in %u, %%n in %u)", w->count, size, size);
  if (kind == 0) {
    put(w, " {\n %%0 = load %%v%u[%s] : f32\n %%1 = load %%v%u[%s] : f32\n", a, turn(w), b,
        turn(w));
    put(w, " %%2 = sub %%0, %%1 : f32\n");
  } else if (kind == 1) {
    put(w, " {\n %%0 = load %%v%u[%s] : f32\n %%2 = abs %%0 : f32\n", a, turn(w));
  } else {
    put(w, " red(%%k in %u) {\n %%0 = load %%v%u[%%m, %%k] : f32\n", size, a);
    put(w, " %%1 = load %%w[%%k, %%n] : f32\n %%3 = mul %%0, %%1 : f32\n");
    put(w, " %%4 = reduce %%3 {combine = \"add\"} : f32\n %%5 = load %%v%u[%s] : f32\n", b,
        turn(w));
    put(w, " %%2 = add %%4, %%5 : f32\n");
  }
  put(w, " store %%2, %%v%u[%%m, %%n]\n } : f32[%u, %u]\n", w->count, size, size);
  w->count++;
}

static void put_graph(writing *w, uint64_t seed) {
  static const uint32_t sizes[] = {5, 16, 33, 48};
  *w = (writing){.state = seed * 77 + 1, .count = 1};
  const uint32_t size = sizes[below(w, 4)];
  put(w, "graph @g {\n %%v0 = input {name = \"x\"} : f32[%u, %u]\n", size, size);
  put(w, " %%w = const {random = 2} : f32[%u, %u]\n", size, size);
  while (w->count < POOL)
    put_block(w, size);
  put(w, " output %%v%u {name = \"y\"}\n", POOL - 1);
  if (below(w, 2) == 0)
    put(w, " output %%v%u {name = \"z\"}\n", 1 + below(w, POOL - 2));
  put(w, "}\n");
}

START_TEST(random_graphs_compute_the_same) {
  static writing w;
  uint32_t taken = 0;
  for (uint64_t seed = 0; seed < GRAPHS; seed++) {
    put_graph(&w, seed);
    taken += taken_over(w.text, 1);
    check_results(w.text, NULL, 0);
  }
  ck_assert_uint_gt(taken, GRAPHS);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("reuse");
  TCase *all = tcase_create("reuse");
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, only_memory_that_ends_is_taken, 0, sizeof cases / sizeof *cases);
  tcase_add_test(all, chains_stay_in_one_memory);
  tcase_add_test(all, turned_tiles_and_rests);
  tcase_add_test(all, random_graphs_compute_the_same);
  suite_add_tcase(suite, all);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
