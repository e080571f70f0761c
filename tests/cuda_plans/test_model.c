/* The analytic model of CUDA devices: what must get dearer does, and the default schedules of
 * shapes whose best kernels are known have their marks. `test_model_cuda_plans table [ARCH]` prints
 * the default schedule of every shape. */
#include "passes/cost/cuda.h"
#include "tests/cuda_plans/planning.h"
#include "tests/cuda_plans/shapes.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the table --- */

typedef struct row {
  const char *name;
  const tsr_target *target;
} row;

static void print_row(void *context, tsr_nest *nest) {
  const row *r = context;
  tsr_schedule schedule;
  tsr_cost cost;
  char line[512];
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  tsr_default_cuda(nest, &schedule, &cost);
  clock_gettime(CLOCK_MONOTONIC, &to);
  schedule_line(&schedule, line, sizeof line);
  printf("%-6s %-32s %8.2f us | %s | %s | %.1f ms\n", r->target->name + 5, r->name,
         cost.cycles / r->target->gpu.clock_ghz / 1000, line, cost.why,
         (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
}

static int print_table(const char *only) {
  static const char *const architectures[] = {"sm_80", "sm_89", "sm_90a"};
  for (size_t a = 0; a < 3; a++)
    for (size_t i = 0; i < shape_count(); i++) {
      char name[SHAPE_NAME_BYTES], text[SHAPE_TEXT_BYTES];
      tsr_target target;
      if (only != NULL && strcmp(only, architectures[a]) != 0)
        continue;
      shape_text(i, name, text);
      tsr_ir *ir = blocks_of(text, architectures[a], &target);
      each_nest(ir, &target, print_row, &(row){name, &target});
      tsr_ir_destroy(ir);
    }
  return 0;
}

/* --- the model alone --- */

static tsr_target target_of(const char *name) {
  tsr_target target;
  ck_assert(tsr_target_cuda(name, &target));
  return target;
}

/* f16 on the A100: 128x128 tiles, one for each multiprocessor at n = 108 * 128. */
static tsr_cost_cuda_contract half_gemm(int64_t tiles) {
  return (tsr_cost_cuda_contract){.outer = 1,
                                  .m = 128,
                                  .n = 128 * tiles,
                                  .k = 4096,
                                  .a_bytes = 2,
                                  .b_bytes = 2,
                                  .a_run = 16,
                                  .b_run = 16,
                                  .c_bytes = 2,
                                  .atom = tsr_atom_find("mma.f16"),
                                  .bm = 128,
                                  .bn = 128,
                                  .bk = 64,
                                  .warps_m = 2,
                                  .warps_n = 2,
                                  .stages = 3,
                                  .split = 1,
                                  .raster = 1,
                                  .cluster = 1};
}

static tsr_cost cost_of(const tsr_target *target, const tsr_cost_cuda_contract *shape) {
  tsr_cost cost;
  tsr_cost_of_cuda_contract(target, shape, &cost);
  return cost;
}

START_TEST(test_waves) {
  const tsr_target target = target_of("cuda:sm_80");
  const int64_t sms = target.gpu.multiprocessors;
  tsr_cost_cuda_contract shape = half_gemm(1);
  const tsr_cost one = cost_of(&target, &shape);
  const int64_t seats = sms * one.resident;
  ck_assert_int_ge(one.resident, 1);
  double last = 0;
  for (int64_t tiles = 1; tiles < 6 * seats; tiles += 7) {
    shape = half_gemm(tiles);
    const tsr_cost cost = cost_of(&target, &shape);
    ck_assert_double_ge(cost.cycles, 0.999 * last);
    last = cost.cycles;
  }
  /* A wave of one task costs nearly as much as a full one of one task on each multiprocessor. */
  shape = half_gemm(seats);
  const tsr_cost full = cost_of(&target, &shape);
  shape = half_gemm(seats + 1);
  const tsr_cost more = cost_of(&target, &shape);
  ck_assert_double_eq(full.waves, 1);
  ck_assert_double_eq(more.waves, 2);
  ck_assert_double_ge(more.cycles - full.cycles, 0.8 * (one.cycles - one.overhead));
}
END_TEST

START_TEST(test_bank_conflicts) {
  const tsr_target target = target_of("cuda:sm_80");
  tsr_cost_cuda_contract shape = half_gemm(1000);
  const tsr_cost before = cost_of(&target, &shape);
  shape.bank_passes = 2;
  const tsr_cost twice = cost_of(&target, &shape);
  shape.bank_passes = 8;
  const tsr_cost often = cost_of(&target, &shape);
  ck_assert_double_lt(before.cycles, twice.cycles);
  ck_assert_double_lt(twice.cycles, often.cycles);
  ck_assert_double_gt(often.shared, often.compute);
}
END_TEST

/* More stages hide more latency, until blocks get fewer or none fits. */
START_TEST(test_stages) {
  const tsr_target target = target_of("cuda:sm_80");
  tsr_cost_cuda_contract shape = half_gemm(108);
  shape.bm = shape.bn = 64;
  shape.n = 64 * 108;
  shape.m = 64;
  shape.bk = 32;
  double last = 1e30;
  int64_t resident = target.gpu.blocks;
  bool rose = false;
  for (shape.stages = 2; shape.stages <= 40; shape.stages++) {
    const tsr_cost cost = cost_of(&target, &shape);
    if (cost.resident < 1) {
      ck_assert_double_ge(cost.cycles, 1e29);
      rose = true;
      break;
    }
    ck_assert_int_le(cost.resident, resident);
    ck_assert_double_le(cost.cycles, last);
    resident = cost.resident;
    last = cost.cycles;
  }
  ck_assert(rose);
  /* With many tasks a deeper ring costs residents, and these would hide more. */
  tsr_cost_cuda_contract many = half_gemm(2000);
  many.stages = 2;
  const tsr_cost shallow = cost_of(&target, &many);
  many.stages = 5;
  const tsr_cost deep = cost_of(&target, &many);
  ck_assert_int_lt(deep.resident, shallow.resident);
  ck_assert_double_gt(deep.cycles, shallow.cycles);
  /* Copies of less than four bytes do not run ahead. */
  many = half_gemm(2000);
  const tsr_cost ahead = cost_of(&target, &many);
  many.a_run = 2;
  ck_assert_double_gt(cost_of(&target, &many).cycles, ahead.cycles);
}
END_TEST

START_TEST(test_split_and_cluster) {
  const tsr_target target = target_of("cuda:sm_90a");
  tsr_cost_cuda_contract few = half_gemm(8), many = half_gemm(2000);
  const tsr_cost few_whole = cost_of(&target, &few), many_whole = cost_of(&target, &many);
  few.split = many.split = 8;
  ck_assert_double_lt(cost_of(&target, &few).cycles, few_whole.cycles);
  ck_assert_double_gt(cost_of(&target, &many).cycles, many_whole.cycles);
  tsr_cost_cuda_contract wide = half_gemm(32);
  wide.m = 4096;
  wide.atom = tsr_atom_find("wgmma.f16");
  wide.wgmma = true;
  wide.bn = 256;
  wide.warps_m = 8;
  wide.warps_n = 1;
  const tsr_cost alone = cost_of(&target, &wide);
  wide.cluster = 2;
  const tsr_cost shared = cost_of(&target, &wide);
  ck_assert_double_lt(shared.near, alone.near);
  ck_assert_double_le(shared.cycles, alone.cycles);
}
END_TEST

START_TEST(test_registers) {
  const tsr_target target = target_of("cuda:sm_80");
  tsr_cost_cuda_contract shape = half_gemm(1);
  const int64_t before = tsr_cost_cuda_registers(&shape);
  /* 128 x 128 sums of 128 threads, and something beside them. */
  ck_assert_int_gt(before, 128);
  ck_assert_int_le(before, tsr_cost_cuda_register_limit(&target, &shape));
  shape.bn = 256;
  ck_assert_int_gt(tsr_cost_cuda_registers(&shape), tsr_cost_cuda_register_limit(&target, &shape));
  ck_assert_int_eq(tsr_cost_cuda_resident(&target, 1024, 64, 0), 1);
  ck_assert_int_eq(tsr_cost_cuda_resident(&target, 256, 32, 0), 8);
  ck_assert_int_eq(tsr_cost_cuda_resident(&target, 128, 32, 81 << 10), 2);
  ck_assert_int_eq(tsr_cost_cuda_resident(&target, 128, 32, 164 << 10), 0);
}
END_TEST

static double nest_cycles(const tsr_target *target, int64_t stride, double points, double tasks) {
  const tsr_cost_cuda_access access = {.times = tasks,
                                       .rows = 1,
                                       .lanes = 1024,
                                       .lane_stride = stride,
                                       .vector = stride == 1 ? 4 : 1,
                                       .bytes = 4,
                                       .distinct = points * 4};
  const tsr_cost_cuda_nest shape = {.tasks = tasks,
                                    .steps = 1,
                                    .rows = 1,
                                    .lanes = 1024,
                                    .threads = 128,
                                    .operations = 2,
                                    .registers = 40,
                                    .accesses = &access,
                                    .access_count = 1};
  tsr_cost cost;
  tsr_cost_of_cuda_nest(target, &shape, &cost);
  return cost.cycles;
}

START_TEST(test_nests) {
  const tsr_target target = target_of("cuda:sm_80");
  const double points = 64e6, tasks = points / 1024, alone = nest_cycles(&target, 1, points, tasks);
  ck_assert_double_lt(alone, nest_cycles(&target, 1, 2 * points, 2 * tasks));
  ck_assert_double_lt(2 * alone, nest_cycles(&target, 1000, points, tasks));
  /* Bound by memory: no faster than it, and not much slower. */
  const double memory = points * 4 / target.gpu.memory_rate;
  ck_assert_double_ge(alone, memory);
  ck_assert_double_le(alone, 1.5 * memory);
}
END_TEST

/* --- default schedules --- */

typedef struct chosen {
  tsr_schedule schedules[8];
  tsr_cost costs[8];
  uint32_t count;
} chosen;

static void keep(void *context, tsr_nest *nest) {
  chosen *c = context;
  tsr_diag diag = {0};
  ck_assert_uint_lt(c->count, 8);
  tsr_default_cuda(nest, &c->schedules[c->count], &c->costs[c->count]);
  ck_assert_int_eq(tsr_schedule_check(nest, &c->schedules[c->count], "k", &diag), TSR_OK);
  ck_assert_double_lt(c->costs[c->count].cycles, 1e20);
  ck_assert_ptr_nonnull(strstr(c->costs[c->count].why, "bound by"));
  c->count++;
}

static chosen choose(const char *text, const char *arch) {
  chosen c = {.count = 0};
  tsr_target target;
  tsr_ir *ir = blocks_of(text, arch, &target);
  each_nest(ir, &target, keep, &c);
  tsr_ir_destroy(ir);
  return c;
}

static chosen choose_gemm(int m, int n, int k, const char *dtype, const char *arch) {
  char text[1024];
  snprintf(text, sizeof text,
           "graph @g {\n"
           "  %%x = input {name = \"x\"} : %s[%d, %d]\n"
           "  %%w = input {name = \"w\"} : %s[%d, %d]\n"
           "  %%y = einsum %%x, %%w {spec = \"mk,kn->mn\"} : %s[%d, %d]\n"
           "  output %%y {name = \"y\"}\n}\n",
           dtype, m, k, dtype, k, n, dtype, m, n);
  chosen c = choose(text, arch);
  ck_assert_uint_eq(c.count, 1);
  return c;
}

START_TEST(test_large_gemms) {
  const chosen hopper = choose_gemm(4096, 4096, 4096, "bf16", "sm_90a");
  const int64_t *knobs = hopper.schedules[0].knobs;
  ck_assert_int_eq(hopper.schedules[0].strategy, TSR_STRATEGY_WGMMA);
  ck_assert_int_ge(knobs[TSR_KNOB_BM], 128);
  ck_assert_int_ge(knobs[TSR_KNOB_BN], 128);
  ck_assert_int_ge(knobs[TSR_KNOB_STAGES], 3);
  const chosen ampere = choose_gemm(4096, 4096, 4096, "f16", "sm_80");
  knobs = ampere.schedules[0].knobs;
  ck_assert_str_eq(ampere.schedules[0].atom->text, "mma.f16");
  ck_assert_int_ge(knobs[TSR_KNOB_BM] * knobs[TSR_KNOB_BN], 128 * 64);
  ck_assert_int_eq(knobs[TSR_KNOB_SPLIT], 1);
  const chosen exact = choose_gemm(2048, 2048, 2048, "f32", "sm_80");
  ck_assert_str_eq(exact.schedules[0].atom->text, "fma.f32");
  /* Ratios between devices are those of their tensor cores, roughly. */
  const double us80 = ampere.costs[0].cycles / 1.41, us90 = hopper.costs[0].cycles / 1.83;
  ck_assert_double_gt(us80 / us90, 2);
  ck_assert_double_lt(us80 / us90, 5);
}
END_TEST

/* Few rows: what counts is that all of the device reads the weights. */
START_TEST(test_skinny_gemms) {
  static const char *const archs[] = {"sm_80", "sm_89", "sm_90a"};
  static const int rows[] = {1, 4, 16};
  for (int a = 0; a < 3; a++)
    for (int i = 0; i < 3; i++) {
      char name[32];
      snprintf(name, sizeof name, "cuda:%s", archs[a]);
      const tsr_target target = target_of(name);
      const chosen c = choose_gemm(rows[i], 4096, 11008, "f16", archs[a]);
      const double floor = 2.0 * 4096 * 11008 / target.gpu.memory_rate;
      ck_assert_double_le(c.costs[0].cycles, 1.5 * floor + 3 * target.gpu.launch_cycles);
    }
}
END_TEST

START_TEST(test_reductions) {
  chosen c = choose("graph @g {\n"
                    "  %x = input {name = \"x\"} : f32[1024, 4096]\n"
                    "  %y = reduce %x {axes = [0, 1], combine = \"add\"} : f32[]\n"
                    "  %z = reduce %x {axes = [1], combine = \"max\"} : f32[1024]\n"
                    "  %c = reduce %x {axes = [0], combine = \"add\"} : f32[4096]\n"
                    "  output %y {name = \"y\"}\n"
                    "  output %z {name = \"z\"}\n"
                    "  output %c {name = \"c\"}\n}\n",
                    "sm_80");
  ck_assert_uint_eq(c.count, 3);
  /* One number: many tasks share the work. */
  ck_assert_int_ge(c.schedules[0].knobs[TSR_KNOB_SPLIT], 32);
  /* Rows: threads lie along them, so that they read whole lines. */
  ck_assert_int_ge(c.schedules[1].knobs[TSR_KNOB_FOLD], 0);
  ck_assert_int_ge(c.schedules[1].knobs[TSR_KNOB_LANES], 32);
  ck_assert_int_eq(c.schedules[1].knobs[TSR_KNOB_SPLIT], 1);
  /* Columns: lanes along the output, the column in several threads or parts. */
  ck_assert_int_ge(c.schedules[2].knobs[TSR_KNOB_LANES], 8);
  ck_assert(c.schedules[2].knobs[TSR_KNOB_ROWS] * c.schedules[2].knobs[TSR_KNOB_SPLIT] >= 8);
}
END_TEST

START_TEST(test_maps) {
  chosen c = choose("graph @g {\n"
                    "  %x = input {name = \"x\"} : f32[1024, 4096]\n"
                    "  %b = input {name = \"b\"} : f32[4096]\n"
                    "  %t = transpose %x {perm = [1, 0]} : f32[4096, 1024]\n"
                    "  %y = add %x, %b : f32[1024, 4096]\n"
                    "  %z = exp %x : f32[1024, 4096]\n"
                    "  output %t {name = \"t\"}\n"
                    "  output %y {name = \"y\"}\n"
                    "  output %z {name = \"z\"}\n}\n",
                    "sm_90a");
  ck_assert_uint_ge(c.count, 2);
  for (uint32_t i = 0; i < c.count; i++) {
    const int64_t *knobs = c.schedules[i].knobs;
    ck_assert_int_eq(c.schedules[i].strategy, TSR_STRATEGY_NEST);
    ck_assert_int_ge(knobs[TSR_KNOB_LANES] * knobs[TSR_KNOB_ROWS], 4 * 32 * knobs[TSR_KNOB_WARPS]);
    ck_assert_int_ge(knobs[TSR_KNOB_WARPS], 2);
    ck_assert_int_ge(knobs[TSR_KNOB_LANES], 32);
    ck_assert_double_ge(c.costs[i].tasks, 132);
  }
}
END_TEST

int main(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], "table") == 0)
    return print_table(count > 2 ? arguments[2] : NULL);
  Suite *suite = suite_create("cuda_plans.model");
  TCase *cases = tcase_create("model");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, test_waves);
  tcase_add_test(cases, test_bank_conflicts);
  tcase_add_test(cases, test_stages);
  tcase_add_test(cases, test_split_and_cluster);
  tcase_add_test(cases, test_registers);
  tcase_add_test(cases, test_nests);
  tcase_add_test(cases, test_large_gemms);
  tcase_add_test(cases, test_skinny_gemms);
  tcase_add_test(cases, test_reductions);
  tcase_add_test(cases, test_maps);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
