/* What text cannot express about host programs: branches deeper in each other than it may nest
 * them. The tables themselves are looked at in tests/golden/host. */
#include "codegen/host_program.h"
#include "runtime/module/program_check.h"
#include <check.h>

/* A model whose `depth` branches stand in each other; each gives its outermost condition. */
static tsr_op nested_branches(tsr_ir *ir, int depth) {
  tsr_op model = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_MODEL);
  tsr_op_set_symbol(ir, model, "main");
  tsr_region region = tsr_op_add_region(ir, model);
  tsr_type type = tsr_type_make(ir, TSR_LEVEL_GLOBAL, TSR_BOOL, NULL, 0);
  tsr_op input = tsr_op_append(ir, region, TSR_OP_INPUT), outermost = 0;
  tsr_op_set_string(ir, input, "name", "yes");
  tsr_value yes = tsr_op_add_result(ir, input, type);
  for (int i = 0; i < depth; i++) {
    tsr_op branch = tsr_op_append(ir, region, TSR_OP_IF);
    tsr_op_add_operand(ir, branch, yes);
    outermost = i == 0 ? branch : outermost;
    if (i > 0)
      tsr_op_append(ir, region, TSR_OP_YIELD);
    region = tsr_op_add_region(ir, branch);
    tsr_op_append(ir, tsr_op_add_region(ir, branch), TSR_OP_YIELD);
  }
  tsr_op_append(ir, region, TSR_OP_YIELD);
  tsr_op output = tsr_op_append(ir, tsr_op_get(ir, outermost)->parent, TSR_OP_OUTPUT);
  tsr_op_set_string(ir, output, "name", "same");
  tsr_op_add_operand(ir, output, yes);
  return model;
}

START_TEST(depth_is_limited) {
  static const struct {
    int depth;
    tsr_status status;
  } rows[] = {{1, TSR_OK},
              {TSR_PROGRAM_MAX_DEPTH - 1, TSR_OK},
              {TSR_PROGRAM_MAX_DEPTH, TSR_ERR_LIMIT},
              {1000, TSR_ERR_LIMIT}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tsr_ir *ir;
    tsr_arena arena;
    tsr_diag diag = {0};
    tsr_program program;
    tsr_host_parts parts = {.target = "cpu", .precision = "f32", .producer = ""};
    ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
    tsr_arena_init(&arena, tsr_allocator_default());
    tsr_op model = nested_branches(ir, rows[i].depth);
    tsr_status status = tsr_host_program_build(ir, model, &parts, &arena, &diag, &program);
    ck_assert_msg(status == rows[i].status, "depth %d: %s", rows[i].depth, diag.message);
    if (status == TSR_OK) {
      ck_assert_uint_eq(program.host_step_count, (uint32_t)rows[i].depth);
      ck_assert_uint_eq(program.host_region_count, 1 + 2 * (uint32_t)rows[i].depth);
      ck_assert_msg(tsr_program_check(&program, &arena, &diag) == TSR_OK, "%s", diag.message);
    }
    tsr_arena_reset(&arena);
    tsr_ir_destroy(ir);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("host_program");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, depth_is_limited);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
