/* Random graphs with control flow mean the same before and after the pass `segments`, and after
 * canonicalization; each graph of a model stands alone. */
#include "ir/copy.h"
#include "passes/passes.h"
#include "tests/passes/control_flow.h"
#include <stdlib.h>

enum { SEEDS = 300 / TEST_SHARE };

static void extract_all(tsr_ir *ir) {
  tsr_diag diag = {0};
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    tsr_ir *part;
    if (tsr_op_get(ir, op)->code != TSR_OP_GRAPH)
      continue;
    ck_assert_int_eq(tsr_ir_extract(ir, op, tsr_allocator_default(), &part), TSR_OK);
    ck_assert_msg(tsr_ir_verify(part, &diag) == TSR_OK, "%s", diag.message);
    tsr_ir_destroy(part);
  }
}

START_TEST(models_mean_what_graphs_do) {
  uint32_t compared = 0;
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    tsr_diag diag = {0};
    tsr_ir *ir = random_graph(seed);
    machine before = run(ir, seed);
    ck_assert_msg(tsr_pass_run(ir, tsr_pass_find("segments"), NULL, &diag) == TSR_OK, "seed %u: %s",
                  (unsigned)seed, diag.message);
    extract_all(ir);
    machine after = run(ir, seed);
    /* What grew too large may have been for nothing. */
    if (!before.too_large && !after.too_large) {
      compare(&before, &after);
      compared++;
    }
    tsr_arena_reset(&before.arena);
    tsr_arena_reset(&after.arena);
    tsr_ir_destroy(ir);
  }
  ck_assert_uint_gt(compared, SEEDS / 2);
}
END_TEST

static void must_pass(tsr_ir *ir, const char *name, uint64_t seed) {
  tsr_diag diag = {0};
  ck_assert_msg(tsr_pass_run(ir, tsr_pass_find(name), NULL, &diag) == TSR_OK, "seed %u, %s: %s",
                (unsigned)seed, name, diag.message);
}

/* Rules, folding and sharing see what regions take from around them. */
START_TEST(canonical_graphs_mean_the_same) {
  uint32_t compared = 0;
  for (uint64_t seed = 1000; seed < 1000 + SEEDS; seed++) {
    tsr_ir *ir = random_graph(seed);
    machine before = run(ir, seed);
    must_pass(ir, "canonicalize", seed);
    machine after = run(ir, seed);
    must_pass(ir, "segments", seed);
    must_pass(ir, "canonicalize", seed);
    machine last = run(ir, seed);
    if (!before.too_large && !after.too_large && !last.too_large) {
      compare(&before, &after);
      compare(&before, &last);
      compared++;
    }
    tsr_arena_reset(&before.arena);
    tsr_arena_reset(&after.arena);
    tsr_arena_reset(&last.arena);
    tsr_ir_destroy(ir);
  }
  ck_assert_uint_gt(compared, SEEDS / 2);
}
END_TEST

static const char lists_text[] = "dim N in 1..64\n"
                                 "dim M in 1..64\n"
                                 "graph @main {texts = [\"\"]} {\n"
                                 "  %x = input {name = \"x\"} : f32[N]\n"
                                 "  %y = input {name = \"y\"} : f32[M]\n"
                                 "  %list = input {name = \"list\"} : list f32[..]\n"
                                 "  %words = input {name = \"words\", text = true} : i64[M]\n"
                                 "  check {holds = N == M, text = \"the lengths differ\"}\n"
                                 "  %more = list_insert %list, %y : list f32[..]\n"
                                 "  %some = maybe_make %more : maybe list f32[M]\n"
                                 "  %join = text_concat %words, %words : i64[M]\n"
                                 "  output %some {name = \"some\"}\n"
                                 "  output %join {name = \"join\", text = true}\n"
                                 "  output %x {name = \"x\"}\n"
                                 "}\n";

/* check_blocks changes nothing. */
static void run_all_passes(tsr_ir *ir, bool cut, uint64_t seed) {
  uint32_t count;
  const tsr_pass_info *passes = tsr_passes(&count);
  for (uint32_t i = 0; i < count; i++)
    if (passes[i].function != tsr_pass_check_blocks &&
        (cut || passes[i].function != tsr_pass_segments))
      must_pass(ir, passes[i].name, seed);
  tsr_ir_destroy(ir);
}

/* All passes leave verified IR, whether the graph was cut before them or not. */
START_TEST(every_pass_takes_control_flow) {
  for (int cut = 0; cut < 2; cut++) {
    tsr_diag diag = {0};
    tsr_ir *ir;
    for (uint64_t seed = 2000; seed < 2020; seed++)
      run_all_passes(random_graph(seed), cut != 0, seed);
    ck_assert_msg(tsr_ir_parse(tsr_allocator_default(), lists_text, strlen(lists_text), "lists.tsr",
                               &diag, &ir) == TSR_OK,
                  "%s", diag.message);
    run_all_passes(ir, cut != 0, 0);
  }
}
END_TEST

/* What is made of constants alone is copied, but not without end. */
START_TEST(long_chains_of_constants) {
  tsr_ir *ir;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  tsr_builder b = tsr_graph_begin(ir, "main");
  tsr_value x = tsr_graph_scalar(&b, TSR_F32, 1), list;
  tsr_type type = tsr_type_make(ir, TSR_LEVEL_LIST, TSR_F32, NULL, 0);
  for (int i = 0; i < 100000; i++)
    x = tsr_graph_unary(&b, TSR_OP_SIN, x);
  tsr_graph_host(&b, TSR_OP_LIST_MAKE, &x, 1, &type, 1, &list);
  tsr_graph_output(&b, "list", list);
  must_pass(ir, "segments", 0);
  tsr_ir_destroy(ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("segments");
  TCase *tests = tcase_create("random");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, models_mean_what_graphs_do);
  tcase_add_test(tests, canonical_graphs_mean_the_same);
  tcase_add_test(tests, every_pass_takes_control_flow);
  tcase_add_test(tests, long_chains_of_constants);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
