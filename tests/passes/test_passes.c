/* The runner, the fusion report, and what happens when memory runs out at any moment. */
#include "passes/passes.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char model[] =
    "dim N in 1..64 hint 16\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[N, 32]\n"
    "  %w = const {random = 1} : f32[8, 32]\n"
    "  %wt = transpose %w {perm = [1, 0]} : f32[32, 8]\n"
    "  %one = const {value = 1} : f32[]\n"
    "  %x1 = mul %x, %one : f32[N, 32] from \"Identity\"\n"
    "  %h = einsum %x1, %wt {spec = \"mk,kn->mn\"} : f32[N, 8] from \"MatMul\"\n"
    "  %r = exp %h : f32[N, 8] from \"Exp\"\n"
    "  %s = reduce %r {axes = [1], combine = \"add\"} : f32[N] from \"Sum\"\n"
    "  %s1 = reshape %s : f32[N, 1]\n"
    "  %q = div %r, %s1 : f32[N, 8] from \"Div\"\n"
    "  %t = reshape %q : f32[N, 2, 4]\n"
    "  %u = transpose %t {perm = [1, 0, 2]} : f32[2, N, 4] from \"Heads\"\n"
    "  %v, %i = topk %u {axis = 2, largest = true} : f32[2, N, 2], i64[2, N, 2] from \"TopK\"\n"
    "  output %v {name = \"v\"}\n"
    "  output %i {name = \"i\"}\n"
    "}\n";

static tsr_ir *parse(const tsr_allocator *allocator, tsr_status *out_status) {
  tsr_ir *ir = NULL;
  tsr_diag diag = {0};
  *out_status = tsr_ir_parse(allocator, model, sizeof model - 1, "model.tsr", &diag, &ir);
  return ir;
}

static tsr_ir *parse_model(void) {
  tsr_status status;
  tsr_ir *ir = parse(tsr_allocator_default(), &status);
  ck_assert_int_eq(status, TSR_OK);
  return ir;
}

typedef struct seen {
  char names[16][32];
  uint32_t count;
} seen;

static tsr_status note(void *context, const tsr_ir *ir, const char *pass, int64_t time_ns) {
  seen *s = (seen *)context;
  (void)ir;
  ck_assert_int_ge(time_ns, 0);
  strcpy(s->names[s->count++], pass);
  return TSR_OK;
}

START_TEST(runner_stops_and_reports_each_pass) {
  seen all = {0}, one = {0};
  tsr_diag diag = {0};
  tsr_ir *ir = parse_model();
  tsr_pass_options options = {.stop_after = "to_blocks", .hook = note, .hook_context = &all};
  ck_assert_int_eq(tsr_passes_run(ir, &options, &diag), TSR_OK);
  ck_assert_uint_eq(all.count, 8);
  ck_assert_str_eq(all.names[0], "segments");
  ck_assert_str_eq(all.names[1], "equal_dims");
  ck_assert_str_eq(all.names[2], "unpack");
  ck_assert_str_eq(all.names[3], "canonicalize");
  ck_assert_str_eq(all.names[4], "bytes");
  ck_assert_str_eq(all.names[5], "precision");
  ck_assert_str_eq(all.names[6], "in_place");
  ck_assert_str_eq(all.names[7], "to_blocks");
  tsr_ir_destroy(ir);
  ir = parse_model();
  options = (tsr_pass_options){.print_after = "fuse", .hook = note, .hook_context = &one};
  ck_assert_int_eq(tsr_passes_run(ir, &options, &diag), TSR_OK);
  ck_assert_uint_eq(one.count, 1);
  ck_assert_str_eq(one.names[0], "fuse");
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(runner_refuses_unknown_passes) {
  tsr_diag diag = {0};
  tsr_ir *ir = parse_model();
  tsr_pass_options options = {.stop_after = "nothing"};
  ck_assert_int_eq(tsr_passes_run(ir, &options, &diag), TSR_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(diag.message, "nothing"));
  ck_assert_ptr_null(tsr_pass_find("nothing"));
  tsr_ir_destroy(ir);
}
END_TEST

static const tsr_fuse_edge *find_edge(const tsr_fuse_report *report, const char *producer,
                                      const char *consumer) {
  for (uint32_t i = 0; i < report->count; i++) {
    const tsr_fuse_edge *e = &report->edges[i];
    bool from = false, to = false;
    for (uint32_t k = 0; k < e->producer_origin_count; k++)
      from |= strcmp(e->producer_origins[k], producer) == 0;
    for (uint32_t k = 0; k < e->consumer_origin_count; k++)
      to |= strcmp(e->consumer_origins[k], consumer) == 0;
    if (from && to)
      return e;
  }
  return NULL;
}

START_TEST(report_names_both_ends_and_the_reason) {
  tsr_fuse_report report;
  tsr_diag diag = {0};
  tsr_ir *ir = parse_model();
  tsr_fuse_report_init(&report, tsr_allocator_default());
  tsr_pass_options options = {.report = &report};
  ck_assert_int_eq(tsr_passes_run(ir, &options, &diag), TSR_OK);
  const tsr_fuse_edge *epilogue = find_edge(&report, "MatMul", "Exp");
  ck_assert_ptr_nonnull(epilogue);
  ck_assert(epilogue->fused);
  const tsr_fuse_edge *kept = find_edge(&report, "Exp", "Sum");
  ck_assert_ptr_nonnull(kept);
  ck_assert(!kept->fused);
  ck_assert_ptr_nonnull(strstr(kept->reason, "level above registers"));
  const tsr_fuse_edge *proc = find_edge(&report, "Heads", "TopK");
  ck_assert_ptr_nonnull(proc);
  ck_assert_ptr_nonnull(strstr(proc->reason, "never fuses"));
  tsr_fuse_report_reset(&report);
  tsr_ir_destroy(ir);
}
END_TEST

/* --- an allocator whose n-th call fails, and all after it --- */

typedef struct failing {
  int64_t left, live;
} failing;

static void *fail_allocate(void *context, size_t size, size_t alignment) {
  failing *f = (failing *)context;
  if (f->left-- <= 0)
    return NULL;
  f->live++;
  return tsr_allocator_default()->allocate(NULL, size, alignment);
}

static void fail_release(void *context, void *pointer, size_t size) {
  failing *f = (failing *)context;
  if (pointer != NULL)
    f->live--;
  tsr_allocator_default()->release(NULL, pointer, size);
}

/* Parses and runs everything (asking isl takes long: not at every step) with `budget` allocations;
 * true when they sufficed. */
static bool run_with(int64_t budget, bool check_blocks) {
  failing f = {.left = budget};
  tsr_allocator allocator = {.context = &f, .allocate = fail_allocate, .release = fail_release};
  tsr_status status;
  tsr_fuse_report report;
  tsr_fuse_report_init(&report, &allocator);
  tsr_ir *ir = parse(&allocator, &status);
  if (status == TSR_OK) {
    tsr_diag diag = {0};
    tsr_pass_options options = {.report = &report, .check_blocks = check_blocks};
    status = tsr_passes_run(ir, &options, &diag);
  }
  ck_assert_msg(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY, "%lld allocations: status %s",
                (long long)budget, tsr_status_text(status));
  tsr_fuse_report_reset(&report);
  tsr_ir_destroy(ir);
  ck_assert_int_eq(f.live, 0);
  return status == TSR_OK;
}

START_TEST(every_allocation_may_fail) {
  int64_t budget = 0;
  while (!run_with(budget, false))
    budget++;
  ck_assert_int_gt(budget, 20);
  for (int64_t more = budget; !run_with(more, true); more += 41)
    ck_assert_int_lt(more, 100000);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("passes");
  TCase *tests = tcase_create("passes");
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, runner_stops_and_reports_each_pass);
  tcase_add_test(tests, runner_refuses_unknown_passes);
  tcase_add_test(tests, report_names_both_ends_and_the_reason);
  tcase_add_test(tests, every_allocation_may_fail);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
