/* Graphs lowered for CUDA by the default schedules, contractions as nests: every kernel that comes
 * out computes on the emulated device what the code for the CPU makes of the same tile program. */
#include "passes/passes.h"
#include "passes/tile/tile.h"
#include "tests/codegen_cuda/both.h"

static const char *const graphs[] = {
    "dim N in 1..64\n"
    "plan @g {\n"
    "  schedule @k0 {strategy = \"nest\", vector = 1, fold = -1, side = 0, lanes = 32, rows = 8, "
    "warps = 2, split = 1, grain = 1, unroll = 4}\n"
    "}\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[N, 70]\n"
    "  %y = input {name = \"y\"} : f32[70, 33]\n"
    "  %a = einsum %x, %y {spec = \"ik,kj->ij\"} : f32[N, 33]\n"
    "  %t = tanh %a : f32[N, 33]\n"
    "  output %t {name = \"t\"}\n"
    "}\n",
    "plan @g {\n"
    "  schedule @k0 {strategy = \"nest\", vector = 2, fold = -1, side = 1, lanes = 8, rows = 4, "
    "warps = 1, split = 1, grain = 1, unroll = 4}\n"
    "}\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[1, 4, 9, 9]\n"
    "  %w = input {name = \"w\"} : f32[6, 4, 3, 3]\n"
    "  %c = conv %x, %w {strides = [2, 1], dilations = [1, 1], low = [1, 1], high = [1, 1], groups "
    "= 1} "
    ": f32[1, 6, 5, 9]\n"
    "  %p = pool %c {window = [2, 2], strides = [1, 2], dilations = [1, 1], low = [0, 0], high = "
    "[0, 0], "
    "combine = \"max\"} : f32[1, 6, 4, 4]\n"
    "  output %p {name = \"p\"}\n"
    "}\n",
    "dim N in 1..64\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[N, 41]\n"
    "  %e = exp %x : f32[N, 41]\n"
    "  %s = reduce %e {axes = [1], combine = \"add\"} : f32[N]\n"
    "  %r = reshape %s : f32[N, 1]\n"
    "  %d = div %e, %r : f32[N, 41]\n"
    "  %t = transpose %d {perm = [1, 0]} : f32[41, N]\n"
    "  output %t {name = \"t\"}\n"
    "}\n",
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[12, 37]\n"
    "  %m = arg_reduce %x {axis = 1, combine = \"max\"} : i64[12]\n"
    "  %c = scan %x {axis = 1, combine = \"add\"} : f32[12, 37]\n"
    "  %v, %i = topk %x {axis = 1, largest = true} : f32[12, 5], i64[12, 5]\n"
    "  output %m {name = \"m\"}\n"
    "  output %c {name = \"c\"}\n"
    "  output %v {name = \"v\"}\n"
    "  output %i {name = \"i\"}\n"
    "}\n",
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[30, 8]\n"
    "  %k = input {name = \"k\"} : i64[11]\n"
    "  %u = input {name = \"u\"} : f32[11, 8]\n"
    "  %g = gather %x, %k {axis = 0} : f32[11, 8]\n"
    "  %h = mul %g, %u : f32[11, 8]\n"
    "  output %h {name = \"h\"}\n"
    "}\n",
};

static const dim_value dims[] = {{"N", 37}, {NULL, 0}};

/* The plan of the text, if it has one. */
static const tsr_plan_source *plan_of(const tsr_ir *ir, tsr_plan_source *plan) {
  *plan = (tsr_plan_source){.ir = ir};
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_PLAN)
      plan->plan = op;
  return plan->plan != 0 ? plan : NULL;
}

START_TEST(test_graph) {
  tsr_arena arena;
  tsr_ir *ir = NULL;
  tsr_diag diag = {0};
  tsr_target target;
  tsr_plan_source plan;
  char message[2048];
  const char *text = graphs[_i];
  tsr_pass_options passes = {.fuse_level = TSR_FUSE_REGISTER};
  tsr_arena_init(&arena, tsr_allocator_default());
  ck_assert(tsr_target_cuda("cuda:sm_80", &target));
  if (tsr_ir_parse(arena.allocator, text, strlen(text), "graph.tsr", &diag, &ir) != TSR_OK ||
      tsr_passes_run(ir, &passes, &diag) != TSR_OK ||
      tsr_pass_tile(ir, &target, plan_of(ir, &plan), &diag) != TSR_OK ||
      tsr_pass_pack(ir, &diag) != TSR_OK) {
    tsr_diag_format(&diag, message, sizeof message);
    ck_abort_msg("%s", message);
  }
  const char *kernels = tsr_ir_print(ir, &arena);
  ck_assert_ptr_nonnull(kernels);
  both_run(kernels, dims, 1e-5, -1, 4);
  tsr_ir_destroy(ir);
  tsr_arena_reset(&arena);
}
END_TEST

/* What has no code is refused by name. */
START_TEST(test_refusals) {
  static const char *const texts[][2] = {
      {"kernel @k(%x: u4[8], out %y: u4[8]) grid(%i in 1) {\n"
       "  %a = load %x[$0] : reg u4[8]\n  store %a, %y[$0]\n}\n",
       "u4"},
      {"kernel @k(out %y: f32[1]) grid(%i in 1) {warps = 3} {\n"
       "  %a = const {value = 1} : reg f32[4]\n  store %a, %y[$0]\n}\n",
       "96 threads"},
  };
  tsr_arena arena;
  tsr_ir *ir = NULL;
  tsr_diag diag = {0};
  tsr_target target;
  tsr_cuda_code code;
  tsr_arena_init(&arena, tsr_allocator_default());
  ck_assert(tsr_target_cuda("cuda:sm_90a", &target));
  ck_assert_int_eq(
      tsr_ir_parse(arena.allocator, texts[_i][0], strlen(texts[_i][0]), "test.tsr", &diag, &ir),
      TSR_OK);
  ck_assert_int_eq(tsr_codegen_cuda(ir, &target, &arena, &diag, &code), TSR_ERR_UNSUPPORTED);
  ck_assert_msg(strstr(diag.message, texts[_i][1]), "%s", diag.message);
  ck_assert_uint_eq(code.kernel_count, 0);
  tsr_ir_destroy(ir);
  tsr_arena_reset(&arena);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.lowered");
  TCase *cases = tcase_create("graphs");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, test_graph, 0, sizeof graphs / sizeof *graphs);
  tcase_add_loop_test(cases, test_refusals, 0, 2);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
