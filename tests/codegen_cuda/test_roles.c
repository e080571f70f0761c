/* TMA, mbarriers, roles, clusters and barriers of every scope. */
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/codegen_cuda/device_run.h"

static char text[8192];

#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))

/* --- TMA loads --- */

/* x is [.., 3, 5, 7, 4, 64] by rank; the box is out's shape and starts at `start`, outside too. */
static const int64_t extents[5] = {3, 5, 7, 4, 64};
static const struct {
  uint32_t rank, swizzle;
  int64_t start[5], box[5];
} loads[] = {
    {1, 0, {0, 0, 0, 0, 32}, {1, 1, 1, 1, 64}},   {2, 128, {0, 0, 0, -1, 0}, {1, 1, 1, 8, 64}},
    {2, 64, {0, 0, 0, 1, 48}, {1, 1, 1, 8, 32}},  {2, 32, {0, 0, 0, 2, -8}, {1, 1, 1, 16, 16}},
    {3, 128, {0, 0, 5, 1, 16}, {1, 1, 4, 4, 64}}, {4, 64, {0, -1, 3, 2, 0}, {1, 3, 2, 4, 32}},
    {5, 32, {1, 3, -1, 0, 8}, {2, 2, 3, 2, 16}},  {5, 0, {0, 1, 2, 3, 8}, {2, 1, 4, 1, 24}}};
static int current;

static double expect_load(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  int64_t place[5], offset = 0;
  for (int axis = 4; axis >= 0; --axis) {
    place[axis] = i % loads[current].box[axis] + loads[current].start[axis];
    i /= loads[current].box[axis];
  }
  for (int axis = 5 - (int)loads[current].rank; axis < 5; ++axis) {
    if (place[axis] < 0 || place[axis] >= extents[axis])
      return 0;
    offset = offset * extents[axis] + place[axis];
  }
  return in[0][offset];
}

static void list(char *out, const int64_t *values, uint32_t rank) {
  for (uint32_t axis = 5 - rank; axis < 5; ++axis)
    out += sprintf(out, "%s%lld", axis > 5 - rank ? ", " : "", (long long)values[axis]);
}

START_TEST(test_load) {
  static const char *const lanes[] = {
      "", "$0", "$0, $1", "$0, $1, $2", "$0, $1, $2, $3", "$0, $1, $2, $3, $4"};
  char shape[64], start[64], box[64], zeros[64], swizzle[32] = "";
  static const int64_t none[5] = {0};
  uint32_t rank = loads[_i].rank;
  int64_t bytes = 2;
  list(shape, extents, rank);
  list(start, loads[_i].start, rank);
  list(box, loads[_i].box, rank);
  list(zeros, none, rank);
  for (int axis = 0; axis < 5; ++axis)
    bytes *= loads[_i].box[axis];
  if (loads[_i].swizzle)
    sprintf(swizzle, "{swizzle = %u} ", loads[_i].swizzle);
  snprintf(text, sizeof text,
           "kernel @k(%%x: f16[%s], out %%y: f16[%s]) grid(%%i in 1) {warps = 2} {\n"
           "  %%s = alloc %s: l1 f16[%s]\n"
           "  %%full = mbarrier {arrivals = 1} : l1 u64[2]\n"
           "  arrive %%full[1] {bytes = %d}\n"
           "  copy %%x[%s], %%s[%s], %%full[1] {atom = \"tma\", shape = [%s]}\n"
           "  wait %%full[1] {parity = 0}\n"
           "  %%a = load %%s[%s] : reg f16[%s]\n"
           "  store %%a, %%y[%s]\n"
           "}\n",
           shape, box, swizzle, box, (int)bytes, start, zeros, box, lanes[rank], box, lanes[rank]);
  current = _i;
  run_text(text, "cuda:sm_90a", NULL, 0, expect_load, 3);
}
END_TEST

/* Six axes become five. */
static double expect_six(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  return in[0][(((int64_t)(1 * 3 + 2) * 2 + 1) * 2 + 1) * 64 + i / 16 * 16 + i % 16];
}

START_TEST(test_six_axes) {
  run_text("kernel @k(%x: f32[2, 3, 2, 2, 4, 16], out %y: f32[4, 16]) grid(%i in 1) {warps = 1} {\n"
           "  %s = alloc {swizzle = 64} : l1 f32[4, 16]\n"
           "  %full = mbarrier {arrivals = 1} : l1 u64[1]\n"
           "  arrive %full[0] {bytes = 256}\n"
           "  copy %x[1, 2, 1, 1, 0, 0], %s[0, 0], %full[0] {atom = \"tma\", shape = [4, 16]}\n"
           "  wait %full[0] {parity = 0}\n"
           "  %a = load %s[$0, $1] : reg f32[4, 16]\n"
           "  store %a, %y[$0, $1]\n"
           "}\n",
           "cuda:sm_90a", NULL, 0, expect_six, 2);
}
END_TEST

static double expect_same(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  return 2 * in[0][i];
}

/* Out by TMA as well, cut off at the edge. */
START_TEST(test_store) {
  run_text("kernel @k(%x: f32[21, 32], out %y: f32[21, 32]) grid(%i in 3) {warps = 2} {\n"
           "  %s = alloc {swizzle = 128} : l1 f32[8, 32]\n"
           "  %a = load %x[%i*8 + $0, $1] : reg f32[8, 32]\n"
           "  %b = add %a, %a : reg f32[8, 32]\n"
           "  store %b, %s[$0, $1]\n"
           "  barrier\n"
           "  copy %s[0, 0], %y[%i*8, 0] {atom = \"tma\", shape = [8, 32]}\n"
           "}\n",
           "cuda:sm_90a", NULL, 0, expect_same, 4);
}
END_TEST

/* --- rings between roles --- */

/* y[t, j] = sum over k of x[t, k, j]. */
static double expect_columns(const double *const *in, const int64_t *dims, int64_t i) {
  double sum = 0;
  for (int64_t k = 0; k < dims[1]; ++k)
    for (int64_t row = 0; row < 8; ++row)
      sum += in[0][(i / 32 * dims[1] * 8 + k * 8 + row) * 32 + i % 32];
  return sum;
}

static const struct {
  int producer, consumer, stages, arrivals;
  const char *hand_back;
  int64_t tiles, turns;
} rings[] = {
    {1, 2, 2, 1, "", 1, 1},
    {1, 4, 2, 1, "", 3, 2},
    {4, 8, 3, 1, "", 5, 3},
    {1, 1, 4, 1, "", 2, 6},
    {2, 4, 2, 1, "", 4, 5},
    {1, 2, 3, 1, "", 7, 1},
    {1, 2, 2, 2, "      arrive %empty[%r mod 2]\n", 3, 4},
};

/* Persistent: two tasks walk over all tiles; the count of rounds goes on from tile to tile. */
static void write_ring(int number) {
  int n = rings[number].stages;
  snprintf(
      text, sizeof text,
      "dim T in 1..16\n"
      "dim K in 0..16\n"
      "kernel @k(%%x: f32[T, K*8, 32], out %%y: f32[T, 32]) grid(%%p in 2) {warps = %d} {\n"
      "  %%s = alloc {swizzle = 128} : l1 f32[%d, 8, 32]\n"
      "  %%full = mbarrier {arrivals = 1} : l1 u64[%d]\n"
      "  %%empty = mbarrier {arrivals = %d} : l1 u64[%d]\n"
      "  roles {names = [\"producer\", \"consumer\"]%s, warps = [%d, %d]} {\n"
      "    for %%t in %%p..T step 2 {\n"
      "      for %%k in K {\n"
      "        wait %%empty[((%%t floordiv 2)*K + %%k) mod %d] {parity = (((%%t floordiv 2)*K + "
      "%%k) floordiv %d + 1) mod 2}\n"
      "        arrive %%full[((%%t floordiv 2)*K + %%k) mod %d] {bytes = 1024}\n"
      "        copy %%x[%%t, %%k*8, 0], %%s[((%%t floordiv 2)*K + %%k) mod %d, 0, 0], "
      "%%full[((%%t floordiv 2)*K + %%k) mod %d] {atom = \"tma\", shape = [8, 32]}\n"
      "      }\n"
      "    }\n"
      "  } {\n"
      "    for %%u in %%p..T step 2 {\n"
      "      %%z = const {value = 0} : reg f32[8, 32]\n"
      "      %%a = for %%r in (%%u floordiv 2)*K..(%%u floordiv 2)*K + K carry(%%c = %%z) {\n"
      "        wait %%full[%%r mod %d] {parity = (%%r floordiv %d) mod 2}\n"
      "        %%v = load %%s[%%r mod %d, $0, $1] : reg f32[8, 32]\n"
      "        %%w = add %%v, %%c : reg f32[8, 32]\n"
      "%s"
      "        arrive %%empty[%%r mod %d]\n"
      "        yield %%w\n"
      "      } : reg f32[8, 32]\n"
      "      %%b = reduce %%a {axes = [0], combine = \"add\"} : reg f32[1, 32]\n"
      "      store %%b, %%y[%%u + $0, $1]\n"
      "    }\n"
      "  }\n"
      "}\n",
      rings[number].producer + rings[number].consumer, n, n, rings[number].arrivals, n,
      rings[number].producer == 4 ? ", registers = [40, 232]" : "", rings[number].producer,
      rings[number].consumer, n, n, n, n, n, n, n, n, rings[number].hand_back, n);
}

START_TEST(test_ring) {
  const int64_t dims[] = {rings[_i].tiles, rings[_i].turns};
  write_ring(_i);
  run_text(text, "cuda:sm_90a", dims, 2, expect_columns, 6);
}
END_TEST

START_TEST(test_ring_planted) {
  static const char *const planted[][2] = {
      {"tsr_mbarrier_wait(empty", "(void)(empty"},
      {"tsr_mbarrier_wait(full", "(void)(full"},
      {", tsr_lane() == 0)", ", thread == 0)"},
      {"tsr_mbarrier_arrive_expect(", "tsr_mbarrier_expect("},
      {"(int)1024", "(int)512"},
      {"% 3", "% 2"},
  };
  const int64_t dims[] = {rings[2].tiles, rings[2].turns};
  write_ring(2);
  run_planted(text, "cuda:sm_90a", dims, 2, expect_columns, 6, planted[_i][0], planted[_i][1]);
}
END_TEST

/* A producer of threads: what they stored is seen behind the mbarrier; two roles of different size
 * arrive at one. */
static double expect_three(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  return 3 * in[0][i];
}

START_TEST(test_threads_produce) {
  run_text("kernel @k(%x: f32[4, 64], out %y: f32[4, 64]) grid(%i in 1) {warps = 7} {\n"
           "  %s = alloc : l1 f32[2, 64]\n"
           "  %d = alloc : l1 f32[2, 64]\n"
           "  %full = mbarrier {arrivals = 2} : l1 u64[2]\n"
           "  %empty = mbarrier {arrivals = 1} : l1 u64[2]\n"
           "  roles {warps = [2, 1, 4]} {\n"
           "    for %k in 4 {\n"
           "      wait %empty[%k mod 2] {parity = (%k floordiv 2 + 1) mod 2}\n"
           "      %a = load %x[%k, $0] : reg f32[64]\n"
           "      store %a, %s[%k mod 2, $0]\n"
           "      arrive %full[%k mod 2]\n"
           "    }\n"
           "  } {\n"
           "    for %k in 4 {\n"
           "      wait %empty[%k mod 2] {parity = (%k floordiv 2 + 1) mod 2}\n"
           "      %a = load %x[%k, $0] : reg f32[64]\n"
           "      %b = add %a, %a : reg f32[64]\n"
           "      store %b, %d[%k mod 2, $0]\n"
           "      arrive %full[%k mod 2]\n"
           "    }\n"
           "  } {\n"
           "    for %k in 4 {\n"
           "      wait %full[%k mod 2] {parity = (%k floordiv 2) mod 2}\n"
           "      %a = load %s[%k mod 2, $0] : reg f32[64]\n"
           "      %b = load %d[%k mod 2, 63 - $0] : reg f32[64]\n"
           "      barrier {scope = \"role\"}\n"
           "      %f = load %d[%k mod 2, $0] : reg f32[64]\n"
           "      %g = sub %b, %b : reg f32[64]\n"
           "      %c = add %a, %f : reg f32[64]\n"
           "      %e = add %c, %g : reg f32[64]\n"
           "      arrive %empty[%k mod 2]\n"
           "      store %e, %y[%k, $0]\n"
           "    }\n"
           "  }\n"
           "}\n",
           "cuda:sm_90a", NULL, 0, expect_three, 6);
}
END_TEST

/* --- clusters --- */

/* Each task brings half of what both read, and hands its places back to both. */
static double expect_shared_rows(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  double sum = 0;
  for (int64_t k = 0; k < 5; ++k)
    for (int64_t row = 0; row < 16; ++row)
      sum += in[0][((i / 128 * 5 + k) * 16 + row) * 32 + i % 32];
  return sum * (double)(i / 32 % 4 + 1);
}

static const char *const cluster_text =
    "kernel @k(%x: f32[2, 80, 32], out %y: f32[2, 4, 32]) grid(%i in 2, %j in 4) {cluster = [1, "
    "2], warps = 3} {\n"
    "  %s = alloc {swizzle = 128} : l1 f32[2, 16, 32]\n"
    "  %full = mbarrier {arrivals = 1} : l1 u64[2]\n"
    "  %empty = mbarrier {arrivals = 2} : l1 u64[2]\n"
    "  roles {warps = [1, 2]} {\n"
    "    for %k in 5 {\n"
    "      wait %empty[%k mod 2] {parity = (%k floordiv 2 + 1) mod 2}\n"
    "      arrive %full[%k mod 2] {bytes = 2048}\n"
    "      copy %x[%i, %k*16 + (%j mod 2)*8, 0], %s[%k mod 2, (%j mod 2)*8, 0], %full[%k mod 2] "
    "{atom = \"tma\", multicast = 3, shape = [8, 32]}\n"
    "    }\n"
    "  } {\n"
    "    %z = const {value = 0} : reg f32[16, 32]\n"
    "    %a = for %k in 5 carry(%c = %z) {\n"
    "      wait %full[%k mod 2] {parity = (%k floordiv 2) mod 2}\n"
    "      %v = load %s[%k mod 2, $0, $1] : reg f32[16, 32]\n"
    "      %w = add %v, %c : reg f32[16, 32]\n"
    "      arrive %empty[%k mod 2] {multicast = 3}\n"
    "      yield %w\n"
    "    } : reg f32[16, 32]\n"
    "    %b = reduce %a {axes = [0], combine = \"add\"} : reg f32[1, 32]\n"
    "    %n = index {value = %j + 1} : reg f32[1, 1]\n"
    "    %m = mul %b, %n : reg f32[1, 32]\n"
    "    store %m, %y[%i, %j + $0, $1]\n"
    "  }\n"
    "  barrier {scope = \"cluster\"}\n"
    "}\n";

START_TEST(test_cluster) {
  run_text(cluster_text, "cuda:sm_90a", NULL, 0, expect_shared_rows, 6);
}
END_TEST

/* Five tasks in clusters of two: the sixth block only meets the barriers. */
static double expect_tasks(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  return in[0][i] + (double)(i / 32);
}

START_TEST(test_padded_cluster) {
  run_text("dim N in 1..100\n"
           "kernel @k(%x: f32[N, 32], out %y: f32[N, 32]) grid(%i in N) {cluster = [2], warps = 1} "
           "{\n"
           "  %a = load %x[%i, $0] : reg f32[32]\n"
           "  barrier {scope = \"cluster\"}\n"
           "  %n = index {value = %i} : reg f32[1]\n"
           "  %b = add %a, %n : reg f32[32]\n"
           "  store %b, %y[%i, $0]\n"
           "  barrier {scope = \"cluster\"}\n"
           "}\n",
           "cuda:sm_90a", (const int64_t[]){5}, 1, expect_tasks, 4);
}
END_TEST

/* --- grids --- */

/* Every task reads what its neighbour stored. */
static double expect_neighbour(const double *const *in, const int64_t *dims, int64_t i) {
  (void)dims;
  return in[0][(i / 32 + 3) % 6 * 32 + i % 32] * 8;
}

static const char *const grid_text =
    "kernel @k(%x: f32[6, 32], inout %w: f32[6, 32], out %y: f32[6, 32]) grid(%i in 6) "
    "{warps = 2} {\n"
    "  %a = load %x[%i, $0] : reg f32[32]\n"
    "  %b = add %a, %a : reg f32[32]\n"
    "  store %b, %w[%i, $0]\n"
    "  for %k in 2 {\n"
    "    barrier {scope = \"grid\"}\n"
    "    %c = load %w[(%i + %k + 1) mod 6, $0] : reg f32[32]\n"
    "    barrier {scope = \"grid\"}\n"
    "    %d = add %c, %c : reg f32[32]\n"
    "    store %d, %w[%i, $0]\n"
    "  }\n"
    "  barrier {scope = \"grid\"}\n"
    "  %e = load %w[%i, $0] : reg f32[32]\n"
    "  store %e, %y[%i, $0]\n"
    "}\n";

START_TEST(test_grid) {
  run_text(grid_text, "cuda:sm_80", NULL, 0, expect_neighbour, 4);
}
END_TEST

/* --- NVRTC --- */

/* Roles keep their registers: no spill, no warning that setmaxnreg was ignored. */
START_TEST(test_nvrtc) {
  static const char *const options[] = {TSR_CUDA_OPTIONS, "--ptxas-options=-v"};
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  device_run r;
  if (tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    printf("SKIP %s\n", diag.message);
    return;
  }
  if (_i == 0)
    write_ring(2);
  run_open(&r, _i == 0 ? text : _i == 1 ? cluster_text : grid_text, "cuda:sm_90a");
  tsr_cuda_source source = {.text = r.code.kernels[0].source,
                            .arch = "sm_90a",
                            .options = options,
                            .option_count = 2,
                            .want = TSR_CUDA_CUBIN};
  tsr_cuda_output output = {0};
  tsr_cuda_report report;
  tsr_status status = tsr_nvrtc_compile(nvrtc, &source, &r.arena, &output, &diag);
  ck_assert_msg(status == TSR_OK, "%s", diag.message);
  ck_assert_int_eq(
      tsr_cuda_report_make(output.cubin, output.cubin_size, output.log, &r.arena, &report, &diag),
      TSR_OK);
  const tsr_cuda_kernel_record *rejected = tsr_cuda_report_rejected(&report);
  ck_assert_msg(!rejected, "%s", rejected ? rejected->reason : "");
  run_close(&r);
  tsr_nvrtc_close(nvrtc);
}
END_TEST

/* --- what is refused --- */

START_TEST(test_refused) {
  static const struct {
    const char *target;
    tsr_status status;
    const char *text, *why;
  } rows[] = {
      {"cuda:sm_90a", TSR_ERR_UNSUPPORTED,
       "kernel @k(%x: f16[8, 63], out %y: f16[1]) grid(%i in 1) {warps = 1} {\n"
       "  %s = alloc : l1 f16[8, 64]\n"
       "  %f = mbarrier {arrivals = 1} : l1 u64[1]\n"
       "  copy %x[0, 0], %s[0, 0], %f[0] {atom = \"tma\", shape = [8, 64]}\n"
       "}\n",
       "stride of 126 bytes"},
      {"cuda:sm_90a", TSR_ERR_VERIFY,
       "kernel @k(%x: f16[8, 64], out %y: f16[1]) grid(%i in 1) {warps = 1} {\n"
       "  %s = alloc : l1 f16[8, 72]\n"
       "  %f = mbarrier {arrivals = 1} : l1 u64[1]\n"
       "  copy %x[0, 0], %s[0, 0], %f[0] {atom = \"tma\", shape = [8, 64]}\n"
       "}\n",
       "without gaps"},
      {"cuda:sm_80", TSR_ERR_UNSUPPORTED,
       "kernel @k(%x: f16[8, 64], out %y: f16[1]) grid(%i in 1) {warps = 1} {\n"
       "  %f = mbarrier {arrivals = 1} : l1 u64[1]\n"
       "}\n",
       "sm_90"},
      {"cuda:sm_90a", TSR_ERR_VERIFY,
       "kernel @k(%x: f16[8, 64], out %y: f16[1]) grid(%i in 3, %j in 3) {warps = 1, cluster = [1, "
       "2]} {\n"
       "}\n",
       "does not divide"},
      {"cuda:sm_90a", TSR_ERR_VERIFY,
       "kernel @k(%x: f16[8, 64], out %y: f16[1]) grid(%i in 1) {warps = 1} {\n"
       "  %s = alloc : l1 f16[8, 64]\n"
       "  %f = mbarrier {arrivals = 1} : l1 u64[1]\n"
       "  arrive %f[0] {bytes = 512}\n"
       "  copy %x[0, 0], %s[0, 0], %f[0] {atom = \"tma\", shape = [8, 64]}\n"
       "}\n",
       "the copies bring 1024"},
  };
  device_run r;
  tsr_diag diag = {0};
  ck_assert_int_eq(run_try_open(&r, rows[_i].text, rows[_i].target, &diag), rows[_i].status);
  ck_assert_msg(strstr(diag.message, rows[_i].why), "%s", diag.message);
  run_close(&r);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.roles");
  TCase *cases = tcase_create("roles");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, test_load, 0, COUNT(loads));
  tcase_add_test(cases, test_six_axes);
  tcase_add_test(cases, test_store);
  tcase_add_loop_test(cases, test_ring, 0, COUNT(rings));
  tcase_add_loop_test(cases, test_ring_planted, 0, 6);
  tcase_add_test(cases, test_threads_produce);
  tcase_add_test(cases, test_cluster);
  tcase_add_test(cases, test_padded_cluster);
  tcase_add_test(cases, test_grid);
  tcase_add_loop_test(cases, test_nvrtc, 0, 3);
  tcase_add_loop_test(cases, test_refused, 0, 5);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
