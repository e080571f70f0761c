/* A range of sizes has a plan for its low end, its hint and its high end: the schedule that a run
 * of each size takes is what the model likes best there. */
#include "passes/passes.h"
#include "passes/tile/space.h"
#include "passes/tile/tile.h"
#include "tests/tile/tile_run.h"

enum { MOST = 8 };

typedef struct chosen {
  uint32_t count;
  tsr_schedule schedules[MOST]; /* the last one that is tried first */
} chosen;

typedef struct range {
  int64_t low, hint, high;
  const char *weights;
} range;

static const char *text_of(const range *r, int64_t hint, char *text, size_t bytes) {
  snprintf(text, bytes,
           "dim M in %lld..%lld hint %lld\ngraph @g {\n %%x = input {name = \"x\"} : f32[M, 64]\n "
           "%%w = %s : f32[64, 256]\n %%y = "
           "block par(%%i in M, %%j in 256) red(%%k in 64) {\n %%0 = load %%x[%%i, %%k] : f32\n "
           "%%1 = load %%w[%%k, %%j] : f32\n "
           "%%2 = mul %%0, %%1 : f32\n %%3 = reduce %%2 {combine = \"add\"} : f32\n store %%3, "
           "%%y[%%i, %%j]\n } : f32[M, 256]\n "
           "output %%y {name = \"y\"}\n}\n",
           (long long)r->low, (long long)r->high, (long long)hint, r->weights);
  return text;
}

static void read_plan(const char *text, const tsr_target *target, chosen *out) {
  tsr_diag diag = {0};
  tsr_ir *ir = parse_text(text);
  tsr_op plan = 0;
  out->count = 0;
  ck_assert_int_eq(tsr_ir_verify(ir, &diag), TSR_OK);
  if (tsr_plan_default(ir, target, &diag, &plan) != TSR_OK)
    fail_with(&diag, text);
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, plan)->regions[0], op) {
    ck_assert_uint_lt(out->count, MOST);
    out->schedules[out->count] = (tsr_schedule){0};
    ck_assert_int_eq(tsr_schedule_read(ir, op, &diag, &out->schedules[out->count++]), TSR_OK);
  }
  tsr_ir_destroy(ir);
}

/* The first variant whose guard lets the size through, else the kernel without one. */
static const tsr_schedule *taken(const chosen *c, int64_t size) {
  for (uint32_t i = 1; i < c->count; i++)
    if (size <= c->schedules[i].knobs[TSR_KNOB_UPTO])
      return &c->schedules[i];
  return &c->schedules[0];
}

/* The model's figures at a size: of a schedule, and of the one that is chosen where nothing but
 * that size is asked for. */
static void costs(const range *r, int64_t size, const tsr_target *target,
                  const tsr_schedule *schedule, double *out_cost, double *out_best) {
  char text[2048];
  tsr_diag diag = {0};
  tsr_cost cost;
  tsr_space *space = NULL;
  tsr_schedule best;
  const range only = {size, size, size + 1, r->weights};
  tsr_ir *ir = parse_text(text_of(&only, size, text, sizeof text));
  tsr_op block = 0;
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph_of(ir))->regions[0], op)
    if (tsr_op_get(ir, op)->code == TSR_OP_BLOCK)
      block = op;
  if (tsr_space_create(ir, block, target, tsr_allocator_default(), &diag, &space) != TSR_OK)
    fail_with(&diag, text);
  tsr_space_cost(space, schedule, &cost);
  *out_cost = cost.cycles;
  tsr_space_default(space, &best);
  tsr_space_cost(space, &best, &cost);
  *out_best = cost.cycles;
  tsr_space_destroy(space);
  tsr_ir_destroy(ir);
}

START_TEST(ends) {
  static const range ranges[] = {{1, 8, 4096, "input {name = \"w\"}"},
                                 {1, 1, 4096, "input {name = \"w\"}"},
                                 {1, 512, 4096, "input {name = \"w\"}"},
                                 {2, 3, 1000, "input {name = \"w\"}"},
                                 {128, 256, 2048, "input {name = \"w\"}"}};
  char text[2048];
  tsr_diag diag = {0};
  tsr_cpu_isa isa;
  tsr_target target;
  ck_assert_int_eq(tsr_cpu_isa_parse(":x86-64-v4", &diag, &isa), TSR_OK);
  tsr_target_cpu(tsr_cpu_isa_features(&isa), NULL, 1, &target);
  tsr_cpu_isa host;
  tsr_target here;
  tsr_cpu_isa_host(&host);
  tsr_target_host(1, &here);
  bool differ = false;
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    const range *r = &ranges[i];
    const int64_t sizes[] = {r->low, r->hint, r->high};
    chosen c;
    read_plan(text_of(r, r->hint, text, sizeof text), &target, &c);
    for (unsigned k = 0; k < 3; k++) {
      double cost, best;
      costs(r, sizes[k], &target, taken(&c, sizes[k]), &cost, &best);
      /* A variant that gains less than 1.1 is none, and one is within 1.1 of the best for the sake
       * of its other sizes. */
      ck_assert_msg(cost <= best * 1.1 * 1.1, "%lld in %lld..%lld: %g cycles, not %g",
                    (long long)sizes[k], (long long)r->low, (long long)r->high, cost, best);
    }
    differ = differ || !tsr_schedule_equal(taken(&c, r->hint), taken(&c, r->high));
    /* On both sides of the first guard, where kernels change. */
    for (int64_t size = c.count > 1 ? c.schedules[1].knobs[TSR_KNOB_UPTO] : 0;
         c.count > 1 && size < 70;
         size = size == c.schedules[1].knobs[TSR_KNOB_UPTO] ? size + 1 : 70)
      check_text(text, &size, 1, &host, &here);
  }
  ck_assert(differ);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ends");
  TCase *cases = tcase_create("ends");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, ends);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
