/* Measures f32 matrix products and convolutions of ours against oneDNN's, in turns in one process.
 *
 *   contraction_peers THREADS SECONDS [LIST]
 *
 * LIST (standard input when not given) has a case in each line, words apart by blanks:
 *
 *   NAME gemm MODULE WEIGHTS
 *   NAME conv MODULE WEIGHTS STRIDE PADDING GROUPS
 *
 * MODULE's first input is x, its output y: [m, k] and [m, n] of a product, NCHW of a convolution.
 * The other operand w is [k, n] or [outputs, channels per group, height, width]. WEIGHTS is a
 * module without inputs whose output is w, which MODULE then has as a constant; with "-" w is
 * MODULE's second input. Constants may have been laid out beforehand on both sides. All else is
 * plain on both sides, but for a convolution's images, which oneDNN has in a layout of its own
 * choice without being charged for it.
 *
 * Each case takes about SECONDS. A line of JSON comes per case: times are the least and the median
 * of rounds (each the mean of `calls` calls), "ratio" is the median over the rounds of oneDNN's
 * time by ours; gflops are those of the least times, "fma_gflops" what one thread reached in
 * registers in between. Ends with 1 when a result is wrong. */
#include <dnnl.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>
#include <time.h>

#if DNNL_VERSION_MAJOR != 2
#error "written for the interface of oneDNN 2"
#endif

enum { MOST_ROUNDS = 4000, LEAST_ROUNDS = 5, ROUND_NS = 200000, MOST_WORDS = 7 };

/* Of oneDNN's own threads. */
void omp_set_num_threads(int threads);
/* OpenMP 5.0, 3.2.37: ends them (kind 1: all else stays). They wait actively for more work, and the
 * other side must not share its processors with them; calls that are not counted bring them back.
 */
int omp_pause_resource_all(int kind);

typedef struct problem {
  const char *name, *module, *weights; /* weights: NULL when w is an input */
  bool conv;
  int64_t stride, padding, groups;
  int64_t m, n, k;
  double operations;
} problem;

typedef struct peer {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_t primitive;
  dnnl_memory_t x, w, y;
  dnnl_memory_desc_t plain_x, plain_w, plain_y;
} peer;

typedef struct ours {
  tsr_exec *exec;
  DLTensor x, w, y;
  tsr_exec *weights; /* owns w, or NULL */
} ours;

static void check(dnnl_status_t status, const char *what) {
  if (status != dnnl_success) {
    fprintf(stderr, "error: oneDNN: %s: status %d\n", what, (int)status);
    exit(1);
  }
}

static void check_ours(tsr_status status, const char *what, const char *why) {
  if (status != TSR_OK) {
    fprintf(stderr, "error: %s: %s\n", what, why);
    exit(1);
  }
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- the ceiling --- */

#ifdef __x86_64__
#include <immintrin.h>

enum { CHAINS = 12, STEPS = 2000 };

__attribute__((target("avx512f"))) static float multiply_512(void) {
  __m512 sum[CHAINS];
  for (int i = 0; i < CHAINS; i++)
    sum[i] = _mm512_set1_ps((float)i);
  const __m512 x = _mm512_set1_ps(0.999f);
  for (int step = 0; step < STEPS; step++)
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++)
      sum[i] = _mm512_fmadd_ps(sum[i], x, x);
  for (int i = 1; i < CHAINS; i++)
    sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx2,fma"))) static float multiply_256(void) {
  __m256 sum[CHAINS];
  for (int i = 0; i < CHAINS; i++)
    sum[i] = _mm256_set1_ps((float)i);
  const __m256 x = _mm256_set1_ps(0.999f);
  for (int step = 0; step < STEPS; step++)
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++)
      sum[i] = _mm256_fmadd_ps(sum[i], x, x);
  for (int i = 1; i < CHAINS; i++)
    sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}

/* Operations per nanosecond of one thread, in registers; 0: this machine has no such units. */
static double multiply_rate(void) {
  static volatile float keep;
  const bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !__builtin_cpu_supports("fma"))
    return 0;
  const int64_t start = now_ns();
  keep = wide ? multiply_512() : multiply_256();
  (void)keep;
  return (wide ? 32.0 : 16.0) * (double)(CHAINS * STEPS) / (double)(now_ns() - start);
}
#else
static double multiply_rate(void) {
  return 0;
}
#endif

/* --- ours --- */

static tsr_exec *open_module(const char *path, uint32_t threads, tsr_port_info *out_ports,
                             uint32_t count) {
  tsr_module *module;
  tsr_exec *exec = NULL;
  tsr_message message;
  tsr_exec_options options = {.size = sizeof options, .threads = threads};
  check_ours(tsr_module_load_file(path, NULL, &module, &message), path, message.text);
  check_ours(tsr_exec_create(module, &options, &exec, &message), path, message.text);
  for (uint32_t i = 0; i < count; i++)
    check_ours(tsr_module_get_input(module, i, &out_ports[i]), path, "too few inputs");
  tsr_module_release(module);
  return exec;
}

static DLTensor run(tsr_exec *exec) {
  DLTensor y;
  check_ours(tsr_exec_run(exec), "run", tsr_exec_last_error(exec));
  check_ours(tsr_exec_output(exec, 0, &y), "output", tsr_exec_last_error(exec));
  return y;
}

static DLTensor random_tensor(const tsr_port_info *port) {
  size_t count = 1;
  int64_t *shape = calloc(port->rank, sizeof *shape);
  for (uint32_t i = 0; i < port->rank; i++)
    count *= (size_t)port->dims[i];
  float *data = aligned_alloc(64, (count * sizeof *data + 63) / 64 * 64);
  if (shape == NULL || data == NULL)
    exit(1);
  memcpy(shape, port->dims, port->rank * sizeof *shape);
  for (size_t i = 0; i < count; i++)
    data[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  return (DLTensor){.data = data,
                    .device = {.device_type = kDLCPU},
                    .ndim = (int32_t)port->rank,
                    .dtype = tsr_dtype_to_dlpack(TSR_F32),
                    .shape = shape};
}

static void open_ours(ours *o, const problem *p, uint32_t threads) {
  tsr_port_info ports[2];
  const uint32_t inputs = p->weights == NULL ? 2 : 1;
  o->exec = open_module(p->module, threads, ports, inputs);
  srand(1);
  o->x = random_tensor(&ports[0]);
  check_ours(tsr_exec_bind_input(o->exec, 0, &o->x), p->module, tsr_exec_last_error(o->exec));
  if (p->weights == NULL) {
    o->w = random_tensor(&ports[1]);
    check_ours(tsr_exec_bind_input(o->exec, 1, &o->w), p->module, tsr_exec_last_error(o->exec));
  } else {
    o->weights = open_module(p->weights, 1, NULL, 0);
    o->w = run(o->weights);
  }
  o->y = run(o->exec);
}

static void free_tensor(DLTensor *tensor) {
  free(tensor->data);
  free(tensor->shape);
}

static void close_ours(ours *o) {
  free_tensor(&o->x);
  if (o->weights == NULL)
    free_tensor(&o->w);
  else
    tsr_exec_destroy(o->weights);
  tsr_exec_destroy(o->exec);
}

/* --- oneDNN --- */

static dnnl_memory_desc_t describe(int rank, const int64_t *dims, dnnl_format_tag_t tag) {
  dnnl_memory_desc_t desc;
  dnnl_dims_t extents = {0};
  memcpy(extents, dims, (size_t)rank * sizeof *dims);
  check(dnnl_memory_desc_init_by_tag(&desc, rank, extents, dnnl_f32, tag), "layout");
  return desc;
}

/* Copies between a plain array and a memory of any layout. */
static void reorder(peer *p, dnnl_memory_t from, dnnl_memory_t to) {
  const dnnl_memory_desc_t *from_desc, *to_desc;
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t primitive;
  check(dnnl_memory_get_memory_desc(from, &from_desc), "layout");
  check(dnnl_memory_get_memory_desc(to, &to_desc), "layout");
  check(dnnl_reorder_primitive_desc_create(&desc, from_desc, p->engine, to_desc, p->engine, NULL),
        "reorder");
  check(dnnl_primitive_create(&primitive, desc), "reorder");
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  check(dnnl_primitive_execute(primitive, p->stream, 2, arguments), "reorder");
  check(dnnl_stream_wait(p->stream), "reorder");
  dnnl_primitive_destroy(primitive);
  dnnl_primitive_desc_destroy(desc);
}

static dnnl_memory_t create_memory(peer *p, const dnnl_memory_desc_t *desc, void *data) {
  dnnl_memory_t memory;
  check(dnnl_memory_create(&memory, desc, p->engine, data != NULL ? data : DNNL_MEMORY_ALLOCATE),
        "memory");
  return memory;
}

static dnnl_primitive_desc_t describe_product(peer *p, const problem *q, const ours *o) {
  dnnl_matmul_desc_t desc;
  dnnl_primitive_desc_t primitive;
  p->plain_x = describe(2, o->x.shape, dnnl_ab);
  p->plain_w = describe(2, o->w.shape, dnnl_ab);
  p->plain_y = describe(2, o->y.shape, dnnl_ab);
  const dnnl_memory_desc_t w =
      describe(2, o->w.shape, q->weights == NULL ? dnnl_ab : dnnl_format_tag_any);
  check(dnnl_matmul_desc_init(&desc, &p->plain_x, &w, NULL, &p->plain_y), "matmul");
  check(dnnl_primitive_desc_create(&primitive, &desc, NULL, p->engine, NULL), "matmul");
  return primitive;
}

static dnnl_primitive_desc_t describe_convolution(peer *p, const problem *q, const ours *o) {
  dnnl_convolution_desc_t desc;
  dnnl_primitive_desc_t primitive;
  dnnl_dims_t strides = {q->stride, q->stride}, padding = {q->padding, q->padding}, high;
  int64_t w_dims[5] = {q->groups, o->w.shape[0] / q->groups, o->w.shape[1], o->w.shape[2],
                       o->w.shape[3]};
  const int grouped = q->groups > 1 ? 1 : 0;
  const int64_t *w_shape = grouped ? w_dims : o->w.shape;
  for (int i = 0; i < 2; i++)
    high[i] =
        (o->y.shape[2 + i] - 1) * q->stride + o->w.shape[2 + i] - o->x.shape[2 + i] - padding[i];
  p->plain_x = describe(4, o->x.shape, dnnl_abcd);
  p->plain_w = describe(4 + grouped, w_shape, grouped ? dnnl_abcde : dnnl_abcd);
  p->plain_y = describe(4, o->y.shape, dnnl_abcd);
  const dnnl_memory_desc_t x = describe(4, o->x.shape, dnnl_format_tag_any);
  const dnnl_memory_desc_t w = describe(4 + grouped, w_shape, dnnl_format_tag_any);
  const dnnl_memory_desc_t y = describe(4, o->y.shape, dnnl_format_tag_any);
  check(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct,
                                           &x, &w, NULL, &y, strides, padding, high),
        "convolution");
  check(dnnl_primitive_desc_create(&primitive, &desc, NULL, p->engine, NULL), "convolution");
  return primitive;
}

static void open_peer(peer *p, const problem *q, const ours *o) {
  check(dnnl_engine_create(&p->engine, dnnl_cpu, 0), "engine");
  check(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags), "stream");
  dnnl_primitive_desc_t desc = q->conv ? describe_convolution(p, q, o) : describe_product(p, q, o);
  check(dnnl_primitive_create(&p->primitive, desc), "primitive");
  p->x = create_memory(p, dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0), NULL);
  p->w = create_memory(p, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0), NULL);
  p->y = create_memory(p, dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0), NULL);
  dnnl_memory_t plain_x = create_memory(p, &p->plain_x, o->x.data);
  dnnl_memory_t plain_w = create_memory(p, &p->plain_w, o->w.data);
  reorder(p, plain_x, p->x);
  reorder(p, plain_w, p->w);
  dnnl_memory_destroy(plain_x);
  dnnl_memory_destroy(plain_w);
  dnnl_primitive_desc_destroy(desc);
}

static void close_peer(peer *p) {
  dnnl_memory_destroy(p->x);
  dnnl_memory_destroy(p->w);
  dnnl_memory_destroy(p->y);
  dnnl_primitive_destroy(p->primitive);
  dnnl_stream_destroy(p->stream);
  dnnl_engine_destroy(p->engine);
}

static void run_peer(peer *p) {
  dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_SRC, p->x}, {DNNL_ARG_WEIGHTS, p->w}, {DNNL_ARG_DST, p->y}};
  check(dnnl_primitive_execute(p->primitive, p->stream, 3, arguments), "execute");
  check(dnnl_stream_wait(p->stream), "wait");
}

/* The largest difference between the results, by the largest magnitude of the peer's. */
static double compare(peer *p, const DLTensor *y) {
  const size_t count = dnnl_memory_desc_get_size(&p->plain_y) / sizeof(float);
  float *wanted = calloc(count, sizeof *wanted);
  if (wanted == NULL)
    exit(1);
  dnnl_memory_t plain = create_memory(p, &p->plain_y, wanted);
  reorder(p, p->y, plain);
  double difference = 0, magnitude = 0;
  for (size_t i = 0; i < count; i++) {
    const double here = fabs((double)((float *)y->data)[i] - (double)wanted[i]);
    if (!isnan(difference) && !(here <= difference)) /* NaN is kept */
      difference = here;
    magnitude = fmax(magnitude, fabs((double)wanted[i]));
  }
  dnnl_memory_destroy(plain);
  free(wanted);
  return difference / magnitude;
}

/* --- a case --- */

static void read_sizes(problem *q, const ours *o) {
  const int64_t *y = o->y.shape, *w = o->w.shape;
  if (q->conv) {
    q->m = y[1] / q->groups;
    q->n = y[0] * y[2] * y[3];
    q->k = w[1] * w[2] * w[3];
  } else {
    q->m = y[0];
    q->n = y[1];
    q->k = w[0];
  }
  q->operations = 2.0 * (double)(q->m * q->n) * (double)(q->k * q->groups);
}

/* Nanoseconds per call, of `calls` calls of one side behind some that are not counted. */
static double time_calls(ours *o, peer *p, int64_t calls, bool alone) {
  if (!alone && o != NULL)
    (void)omp_pause_resource_all(1);
  for (int warm = 0; warm < (alone ? 1 : 3); warm++)
    if (o != NULL)
      (void)run(o->exec);
    else
      run_peer(p);
  const int64_t start = now_ns();
  for (int64_t i = 0; i < calls; i++)
    if (o != NULL)
      (void)run(o->exec);
    else
      run_peer(p);
  return (double)(now_ns() - start) / (double)calls;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static bool measure(problem *q, uint32_t threads, double seconds) {
  static double ours_ns[MOST_ROUNDS], peers_ns[MOST_ROUNDS], ratios[MOST_ROUNDS];
  const bool alone = threads == 1;
  ours o = {0};
  peer p = {0};
  open_ours(&o, q, threads);
  open_peer(&p, q, &o);
  read_sizes(q, &o);
  run_peer(&p);
  const double difference = compare(&p, &o.y);
  const double first = fmin(time_calls(&o, NULL, 3, alone), time_calls(NULL, &p, 3, alone));
  const int64_t calls = (int64_t)fmax(1, ceil((double)ROUND_NS / first));
  const int64_t end = now_ns() + (int64_t)(seconds * 1e9);
  double rate = 0;
  int rounds = 0;
  while (rounds < MOST_ROUNDS && (rounds < LEAST_ROUNDS || now_ns() < end)) {
    ours_ns[rounds] = time_calls(&o, NULL, calls, alone);
    peers_ns[rounds] = time_calls(NULL, &p, calls, alone);
    ratios[rounds] = peers_ns[rounds] / ours_ns[rounds];
    rounds++;
    rate = fmax(rate, multiply_rate());
  }
  qsort(ours_ns, (size_t)rounds, sizeof *ours_ns, compare_doubles);
  qsort(peers_ns, (size_t)rounds, sizeof *peers_ns, compare_doubles);
  qsort(ratios, (size_t)rounds, sizeof *ratios, compare_doubles);
  printf("{\"case\": \"%s\", \"peer\": \"oneDNN %d.%d.%d\", ", q->name, dnnl_version()->major,
         dnnl_version()->minor, dnnl_version()->patch);
  printf("\"kind\": \"%s\", \"m\": %lld, \"n\": %lld, \"k\": %lld, ", q->conv ? "conv" : "gemm",
         (long long)q->m, (long long)q->n, (long long)q->k);
  printf("\"groups\": %lld, \"constant\": %s, \"threads\": %u, \"rounds\": %d, \"calls\": %lld, ",
         (long long)q->groups, q->weights != NULL ? "true" : "false", threads, rounds,
         (long long)calls);
  printf("\"ours_ns\": %.0f, \"onednn_ns\": %.0f, \"ours_median_ns\": %.0f, "
         "\"onednn_median_ns\": %.0f, ",
         ours_ns[0], peers_ns[0], ours_ns[rounds / 2], peers_ns[rounds / 2]);
  printf("\"gflops\": %.1f, \"onednn_gflops\": %.1f, \"fma_gflops\": %.1f, \"ratio\": %.3f, "
         "\"relative_difference\": %.2g}\n",
         q->operations / ours_ns[0], q->operations / peers_ns[0], rate, ratios[rounds / 2],
         difference);
  fflush(stdout);
  close_peer(&p);
  close_ours(&o);
  return difference <= 1e-4;
}

/* Splits the line in place. False: it is no case. */
static bool read_problem(char *line, problem *out) {
  char *words[MOST_WORDS], *rest = NULL;
  int count = 0;
  for (char *word = strtok_r(line, " \t\n", &rest); word != NULL && count < MOST_WORDS;
       word = strtok_r(NULL, " \t\n", &rest))
    words[count++] = word;
  if (count != 4 && count != 7)
    return false;
  *out = (problem){.name = words[0], .module = words[2], .groups = 1};
  out->conv = strcmp(words[1], "conv") == 0;
  out->weights = strcmp(words[3], "-") == 0 ? NULL : words[3];
  if (out->conv && count == 7) {
    out->stride = atoll(words[4]);
    out->padding = atoll(words[5]);
    out->groups = atoll(words[6]);
  }
  return out->conv ? out->stride > 0 && out->groups > 0 : strcmp(words[1], "gemm") == 0;
}

int main(int argc, char **argv) {
  const int threads = argc >= 3 ? atoi(argv[1]) : 0;
  FILE *list = argc >= 4 ? fopen(argv[3], "r") : stdin;
  char line[4096];
  bool right = true;
  if (threads < 1 || list == NULL) {
    fprintf(stderr, "usage: contraction_peers THREADS SECONDS [LIST]\n");
    return 2;
  }
  omp_set_num_threads(threads);
  while (fgets(line, sizeof line, list) != NULL) {
    problem q;
    if (line[0] == '\n' || line[0] == '#')
      continue;
    if (!read_problem(line, &q)) {
      fprintf(stderr, "error: a line of the list is no case\n");
      return 2;
    }
    right = measure(&q, (uint32_t)threads, atof(argv[2])) && right;
  }
  return right ? 0 : 1;
}
