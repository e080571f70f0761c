/* Measures one f32 kernel of ours against oneDNN's, in turns in one process, on one thread.
 *
 *   peer_onednn NAME MODULE.tsm WEIGHTS.tsm ROUNDS
 *
 * MODULE has one input x and one output: a matrix product when x has two dims, a convolution of
 * stride 1 that keeps the size otherwise. WEIGHTS has no input; its output is the other operand.
 * oneDNN may lay out the weights as it likes beforehand; x and the result are plain on both sides
 * for the product, and in oneDNN's own blocked layout on its side for the convolution (which it is
 * not charged for). Prints a line of JSON. */
#include <dnnl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>
#include <time.h>

#if DNNL_VERSION_MAJOR != 2
#error "written for the interface of oneDNN 2"
#endif

enum { MOST_ROUNDS = 10000 };

/* Calls that are timed together. */
static const int calls = 4;

typedef struct peer {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_t primitive;
  dnnl_memory_t x, w, y;
  dnnl_memory_desc_t plain_x, plain_w, plain_y;
  double operations;
} peer;

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

/* `out_input` (or NULL) gets the only input; it lives as long as the exec. */
static tsr_exec *open_module(const char *path, tsr_port_info *out_input) {
  tsr_module *module;
  tsr_exec *exec = NULL;
  tsr_message message;
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  check_ours(tsr_module_load_file(path, NULL, &module, &message), path, message.text);
  check_ours(tsr_exec_create(module, &options, &exec, &message), path, message.text);
  if (out_input != NULL)
    check_ours(tsr_module_get_input(module, 0, out_input), path, "it has no input");
  tsr_module_release(module);
  return exec;
}

static DLTensor run(tsr_exec *exec) {
  DLTensor y;
  check_ours(tsr_exec_run(exec), "run", tsr_exec_last_error(exec));
  check_ours(tsr_exec_output(exec, 0, &y), "output", tsr_exec_last_error(exec));
  return y;
}

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

static dnnl_primitive_desc_t describe_product(peer *p, const DLTensor *x, const DLTensor *w) {
  dnnl_matmul_desc_t desc;
  int64_t y_dims[2] = {x->shape[0], w->shape[1]};
  p->plain_x = describe(2, x->shape, dnnl_ab);
  p->plain_w = describe(2, w->shape, dnnl_ab);
  p->plain_y = describe(2, y_dims, dnnl_ab);
  dnnl_memory_desc_t any_w = describe(2, w->shape, dnnl_format_tag_any);
  p->operations = 2.0 * (double)x->shape[0] * (double)x->shape[1] * (double)w->shape[1];
  check(dnnl_matmul_desc_init(&desc, &p->plain_x, &any_w, NULL, &p->plain_y), "matmul");
  dnnl_primitive_desc_t primitive;
  check(dnnl_primitive_desc_create(&primitive, &desc, NULL, p->engine, NULL), "matmul");
  return primitive;
}

static dnnl_primitive_desc_t describe_convolution(peer *p, const DLTensor *x, const DLTensor *w) {
  dnnl_convolution_desc_t desc;
  int64_t y_dims[4] = {x->shape[0], w->shape[0], x->shape[2], x->shape[3]};
  dnnl_dims_t strides = {1, 1}, padding = {w->shape[2] / 2, w->shape[3] / 2};
  p->plain_x = describe(4, x->shape, dnnl_abcd);
  p->plain_w = describe(4, w->shape, dnnl_abcd);
  p->plain_y = describe(4, y_dims, dnnl_abcd);
  dnnl_memory_desc_t any_x = describe(4, x->shape, dnnl_format_tag_any);
  dnnl_memory_desc_t any_w = describe(4, w->shape, dnnl_format_tag_any);
  dnnl_memory_desc_t any_y = describe(4, y_dims, dnnl_format_tag_any);
  p->operations = 2.0 * (double)(y_dims[0] * y_dims[1] * y_dims[2] * y_dims[3]) *
                  (double)(w->shape[1] * w->shape[2] * w->shape[3]);
  check(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct,
                                           &any_x, &any_w, NULL, &any_y, strides, padding, padding),
        "convolution");
  dnnl_primitive_desc_t primitive;
  check(dnnl_primitive_desc_create(&primitive, &desc, NULL, p->engine, NULL), "convolution");
  return primitive;
}

static void open_peer(peer *p, const DLTensor *x, const DLTensor *w) {
  check(dnnl_engine_create(&p->engine, dnnl_cpu, 0), "engine");
  check(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags), "stream");
  dnnl_primitive_desc_t desc =
      x->ndim == 2 ? describe_product(p, x, w) : describe_convolution(p, x, w);
  check(dnnl_primitive_create(&p->primitive, desc), "primitive");
  p->x = create_memory(p, dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0), NULL);
  p->w = create_memory(p, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0), NULL);
  p->y = create_memory(p, dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0), NULL);
  dnnl_memory_t plain_x = create_memory(p, &p->plain_x, x->data);
  dnnl_memory_t plain_w = create_memory(p, &p->plain_w, w->data);
  reorder(p, plain_x, p->x);
  reorder(p, plain_w, p->w);
  dnnl_memory_destroy(plain_x);
  dnnl_memory_destroy(plain_w);
  dnnl_primitive_desc_destroy(desc);
}

static void run_peer(peer *p) {
  dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_SRC, p->x}, {DNNL_ARG_WEIGHTS, p->w}, {DNNL_ARG_DST, p->y}};
  check(dnnl_primitive_execute(p->primitive, p->stream, 3, arguments), "execute");
  check(dnnl_stream_wait(p->stream), "wait");
}

/* The largest difference between the results, by the largest magnitude of the peer's. */
static double compare(peer *p, const DLTensor *y) {
  size_t count = dnnl_memory_desc_get_size(&p->plain_y) / sizeof(float);
  float *wanted = calloc(count, sizeof *wanted);
  if (wanted == NULL)
    exit(1);
  dnnl_memory_t plain = create_memory(p, &p->plain_y, wanted);
  reorder(p, p->y, plain);
  double difference = 0, magnitude = 0;
  for (size_t i = 0; i < count; i++) {
    difference = fmax(difference, fabs((double)((float *)y->data)[i] - (double)wanted[i]));
    magnitude = fmax(magnitude, fabs((double)wanted[i]));
  }
  dnnl_memory_destroy(plain);
  free(wanted);
  return difference / magnitude;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_times(const char *name, double *times_ns, int rounds, double operations) {
  qsort(times_ns, (size_t)rounds, sizeof *times_ns, compare_doubles);
  double median = times_ns[rounds / 2];
  printf("\"%s\": {\"median_ns\": %.0f, \"p10_ns\": %.0f, \"p90_ns\": %.0f, \"gflops\": %.1f}",
         name, median, times_ns[rounds / 10], times_ns[rounds * 9 / 10], operations / median);
}

static DLTensor random_input(const tsr_port_info *port) {
  size_t count = 1;
  int64_t *shape = calloc(port->rank, sizeof *shape);
  for (uint32_t i = 0; i < port->rank; i++)
    count *= (size_t)port->dims[i];
  float *data = aligned_alloc(64, (count * sizeof *data + 63) / 64 * 64);
  if (shape == NULL || data == NULL)
    exit(1);
  memcpy(shape, port->dims, port->rank * sizeof *shape);
  srand(1);
  for (size_t i = 0; i < count; i++)
    data[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  return (DLTensor){.data = data,
                    .device = {.device_type = kDLCPU},
                    .ndim = (int32_t)port->rank,
                    .dtype = tsr_dtype_to_dlpack(TSR_F32),
                    .shape = shape};
}

int main(int argc, char **argv) {
  int rounds = argc == 5 ? atoi(argv[4]) : 0;
  if (rounds < 1 || rounds > MOST_ROUNDS) {
    fprintf(stderr, "usage: peer_onednn NAME MODULE.tsm WEIGHTS.tsm ROUNDS\n");
    return 2;
  }
  static double ours_ns[MOST_ROUNDS], peers_ns[MOST_ROUNDS], ratios[MOST_ROUNDS];
  tsr_port_info port;
  tsr_exec *weights = open_module(argv[3], NULL);
  tsr_exec *ours = open_module(argv[2], &port);
  DLTensor w = run(weights), x = random_input(&port);
  check_ours(tsr_exec_bind_input(ours, 0, &x), argv[2], tsr_exec_last_error(ours));
  static peer p;
  open_peer(&p, &x, &w);
  for (int i = 0; i < 2 * calls; i++) {
    (void)run(ours);
    run_peer(&p);
  }
  DLTensor y = run(ours);
  double difference = compare(&p, &y);
  for (int i = 0; i < rounds; i++) {
    int64_t t0 = now_ns();
    for (int j = 0; j < calls; j++)
      (void)run(ours);
    int64_t t1 = now_ns();
    for (int j = 0; j < calls; j++)
      run_peer(&p);
    int64_t t2 = now_ns();
    ours_ns[i] = (double)(t1 - t0) / calls;
    peers_ns[i] = (double)(t2 - t1) / calls;
    ratios[i] = peers_ns[i] / ours_ns[i];
  }
  printf("{\"name\": \"%s\", \"peer\": \"oneDNN %d.%d.%d\", \"threads\": 1, \"rounds\": %d, ",
         argv[1], dnnl_version()->major, dnnl_version()->minor, dnnl_version()->patch, rounds);
  print_times("tessera", ours_ns, rounds, p.operations);
  printf(", ");
  print_times("other", peers_ns, rounds, p.operations);
  qsort(ratios, (size_t)rounds, sizeof *ratios, compare_doubles);
  printf(", \"ratio\": %.3f, \"relative_difference\": %.3g}\n", ratios[rounds / 2], difference);
  tsr_exec_destroy(ours);
  tsr_exec_destroy(weights);
  free(x.data);
  free(x.shape);
  return difference <= 1e-4 ? 0 : 1;
}
