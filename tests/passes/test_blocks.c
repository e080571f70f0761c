/* Random graphs (without folding, which rounds): the graph's own evaluator, the blocks and the
 * fused blocks give the same numbers. TESSERA_RANDOM_GRAPHS sets how many, TESSERA_RANDOM_SEED runs
 * one alone. */
#include "passes/passes.h"
#include "tests/passes/block_eval.h"
#include "tests/passes/random_graph.h"

enum { DEFAULT_GRAPHS = 200 / TEST_SHARE };

typedef struct input_data {
  int64_t dims[TSR_MAX_RANK];
  int64_t count;
  uint32_t rank;
  void *bytes; /* in the input's dtype */
} input_data;

static void fill_input(const random_graph *g, uint32_t which, uint64_t seed, input_data *out) {
  const tsr_type_info *type = type_of(g, g->inputs[which]);
  *out = (input_data){.rank = type->rank, .count = 1};
  for (uint32_t i = 0; i < type->rank; i++) {
    ck_assert_int_eq(tsr_expr_eval(g->ir, type->dims[i], random_graph_dims, &out->dims[i]), TSR_OK);
    out->count *= out->dims[i];
  }
  out->bytes = calloc((size_t)out->count + 1, 8);
  for (int64_t i = 0; i < out->count; i++) {
    uint64_t element = (uint64_t)i;
    if (type->dtype == TSR_F32)
      ((float *)out->bytes)[i] = (float)tsr_random_float(seed + which, element);
    else if (type->dtype == TSR_I32)
      ((int32_t *)out->bytes)[i] = (int32_t)tsr_random_int(seed + which, element, TSR_I32);
    else
      ((int64_t *)out->bytes)[i] = tsr_random_int(seed + which, element, TSR_I64);
  }
}

static void bind_buffer(machine *m, tsr_value value, const input_data *data) {
  buffer *b = make_buffer(m, value);
  for (int64_t i = 0; i < b->count; i++)
    b->data[i] = b->dtype == TSR_F32   ? (number){.f = (double)((const float *)data->bytes)[i]}
                 : b->dtype == TSR_I32 ? (number){.i = ((const int32_t *)data->bytes)[i]}
                                       : (number){.i = ((const int64_t *)data->bytes)[i]};
}

static tsr_value output_value(const tsr_ir *ir, tsr_region region, uint32_t which) {
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT && which-- == 0)
      return tsr_op_get(ir, op)->operands[0].value;
  return 0;
}

static bool near(double a, double b) {
  return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= 1e-9 * (1 + fabs(a) + fabs(b));
}

static void compare_outputs(const machine *m, tsr_region region, tsr_eval *eval,
                            const random_graph *reference, uint64_t seed, const char *what) {
  for (uint32_t i = 0; i < reference->output_count; i++) {
    const buffer *got = &m->buffers[output_value(m->ir, region, i)];
    const tsr_array *want = NULL;
    ck_assert_int_eq(tsr_eval_get(eval, reference->outputs[i], &want), TSR_OK);
    ck_assert_msg(got->data != NULL && got->count == want->count,
                  "seed %llu, %s: output %u has %lld elements, not %lld", (unsigned long long)seed,
                  what, i, (long long)got->count, (long long)want->count);
    for (int64_t k = 0; k < want->count; k++) {
      bool same = want->floats != NULL ? near(got->data[k].f, want->floats[k])
                                       : got->data[k].i == want->integers[k];
      ck_assert_msg(same, "seed %llu, %s: output %u element %lld is %.15g / %lld, not %.15g / %lld",
                    (unsigned long long)seed, what, i, (long long)k, got->data[k].f,
                    (long long)got->data[k].i, want->floats != NULL ? want->floats[k] : 0,
                    (long long)(want->floats != NULL ? 0 : want->integers[k]));
    }
  }
}

static void run_passes(tsr_ir *ir, const tsr_pass_options *options, uint64_t seed) {
  tsr_diag diag = {0};
  tsr_status status = tsr_passes_run(ir, options, &diag);
  ck_assert_msg(status == TSR_OK, "seed %llu: %s", (unsigned long long)seed, diag.message);
}

/* The graph of the seed through the pipeline with `options`, run point by point. */
static void check_variant(uint64_t seed, const tsr_pass_options *options, const char *what,
                          const random_graph *reference, tsr_eval *eval, const input_data *inputs) {
  tsr_ir *ir;
  random_graph g;
  machine m;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  random_graph_build(&g, ir, seed);
  run_passes(ir, options, seed);
  if (getenv("TESSERA_RANDOM_SEED") != NULL) {
    char *text = tsr_ir_print(ir, tsr_ir_arena(ir));
    printf("// %s\n%s\n", what, text);
  }
  machine_init(&m, ir, random_graph_dims, 16);
  for (uint32_t i = 0; i < g.input_count; i++)
    bind_buffer(&m, g.inputs[i], &inputs[i]);
  run_graph(&m, g.b.region);
  compare_outputs(&m, g.b.region, eval, reference, seed, what);
  machine_free(&m);
  tsr_ir_destroy(ir);
}

static void check_seed(uint64_t seed) {
  tsr_ir *ir;
  tsr_eval *eval;
  random_graph g;
  input_data inputs[MAX_INPUTS];
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  random_graph_build(&g, ir, seed);
  ck_assert_msg(tsr_ir_status(ir) == TSR_OK, "seed %llu: %s", (unsigned long long)seed,
                tsr_ir_diag(ir)->message);
  if (getenv("TESSERA_RANDOM_SEED") != NULL)
    printf("// graph\n%s\n", tsr_ir_print(ir, tsr_ir_arena(ir)));
  ck_assert_int_eq(
      tsr_eval_create(ir, random_graph_dims, false, 1 << 20, tsr_allocator_default(), &eval),
      TSR_OK);
  for (uint32_t i = 0; i < g.input_count; i++) {
    fill_input(&g, i, seed, &inputs[i]);
    ck_assert_int_eq(
        tsr_eval_bind(eval, g.inputs[i], inputs[i].dims, inputs[i].rank, inputs[i].bytes), TSR_OK);
  }
  tsr_pass_options lowered = {
      .fuse_level = TSR_FUSE_NONE, .check_blocks = true, .fold_elements = -1};
  tsr_pass_options fused = {.check_blocks = true, .fold_elements = -1};
  check_variant(seed, &lowered, "blocks", &g, eval, inputs);
  check_variant(seed, &fused, "fused blocks", &g, eval, inputs);
  for (uint32_t i = 0; i < g.input_count; i++)
    free(inputs[i].bytes);
  tsr_eval_destroy(eval);
  tsr_ir_destroy(ir);
}

START_TEST(random_graphs_keep_their_meaning) {
  const char *one = getenv("TESSERA_RANDOM_SEED"), *many = getenv("TESSERA_RANDOM_GRAPHS");
  if (one != NULL) {
    check_seed(strtoull(one, NULL, 10));
    return;
  }
  uint64_t count = many != NULL ? strtoull(many, NULL, 10) : DEFAULT_GRAPHS;
  for (uint64_t seed = 1; seed <= count; seed++)
    check_seed(seed);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks");
  TCase *tests = tcase_create("random");
  tcase_set_timeout(tests, 500);
  tcase_add_test(tests, random_graphs_keep_their_meaning);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
