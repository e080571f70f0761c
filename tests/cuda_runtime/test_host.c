/* Host programs on the emulated device: what they give is what the same ones give on the CPU
 * (tests/runtime/test_host.c), wherever tensors lie. */
#include "runtime/cuda/cuda_exec.h"
#include "runtime/host/host.h"
#include "tests/cuda_runtime/cuda_programs.h"
#include "tests/runtime/host_models.h"
#include <check.h>
#include <stdio.h>
#include <unistd.h>

/* ---- Machines ---- */

typedef struct machine {
  test_file image;
  tsr_module *module;
  tsr_exec *exec;
} machine;

static machine start(const tsr_program *program, const tsr_exec_options *options) {
  machine m;
  tsr_message message;
  m.image = test_write(&program, 1);
  ck_assert_msg(tsr_module_load_memory(m.image.bytes, m.image.size, NULL, &m.module, &message) ==
                    TSR_OK,
                "%s", message.text);
  ck_assert_msg(tsr_exec_create(m.module, options, &m.exec, &message) == TSR_OK, "%s",
                message.text);
  return m;
}

static void stop(machine m) {
  tsr_exec_destroy(m.exec);
  tsr_module_release(m.module);
  free(m.image.bytes);
}

/* What hb_finish made, for the emulated device; further down the memory of `b`. */
static const tsr_program *for_cuda(host_builder *b) {
  b->program.target = "cuda-emulated";
  for (uint32_t i = 0; i < b->program.part_count; i++)
    b->parts[i] = test_on_cuda(&b->arena, b->parts[i], "cuda-emulated", "sm_80");
  return &b->program;
}

static void must(tsr_exec *exec, tsr_status status) {
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(exec));
}

/* ---- Results ---- */

static void check_tensor(const DLTensor *a, const DLTensor *b, const cuda_device *device) {
  static char copy[1 << 16];
  int64_t count = 1;
  const char *data = (const char *)b->data;
  size_t bytes;
  ck_assert_int_eq(a->ndim, b->ndim);
  ck_assert_int_eq(a->dtype.code, b->dtype.code);
  for (int d = 0; d < a->ndim; d++) {
    ck_assert_int_eq(a->shape[d], b->shape[d]);
    count *= a->shape[d];
  }
  if (a->dtype.code == kDLOpaqueHandle) {
    for (int64_t i = 0; i < count; i++)
      ck_assert_str_eq(((const char *const *)a->data)[i], ((const char *const *)b->data)[i]);
    return;
  }
  bytes = (size_t)count * a->dtype.bits / 8;
  if (b->device.device_type == kDLCUDA && bytes != 0) {
    ck_assert_uint_le(bytes, sizeof copy);
    ck_assert_int_eq(tsr_cuda_enter((cuda_device *)(uintptr_t)device, NULL), TSR_OK);
    ck_assert_int_eq(
        device->driver.cuMemcpyDtoHAsync_v2(copy, (tsr_cu_pointer)(uintptr_t)b->data, bytes, NULL),
        0);
    ck_assert_int_eq(device->driver.cuStreamSynchronize(NULL), 0);
    tsr_cuda_leave((cuda_device *)(uintptr_t)device);
    data = copy;
  }
  if (bytes != 0)
    ck_assert_mem_eq(a->data, data, bytes);
}

static void check_same(const machine *cpu, const machine *cuda, uint32_t outputs) {
  for (uint32_t i = 0; i < outputs; i++) {
    uint64_t count, same_count;
    int32_t present, same_present;
    must(cpu->exec, tsr_exec_output_count(cpu->exec, i, &count, &present));
    must(cuda->exec, tsr_exec_output_count(cuda->exec, i, &same_count, &same_present));
    ck_assert_uint_eq(count, same_count);
    ck_assert_int_eq(present, same_present);
    for (uint64_t item = 0; item < count; item++) {
      DLTensor a, b;
      must(cpu->exec, tsr_exec_output_item(cpu->exec, i, item, &a));
      must(cuda->exec, tsr_exec_output_item(cuda->exec, i, item, &b));
      check_tensor(&a, &b, cuda->module->cuda->device);
    }
  }
}

/* ---- Inputs ---- */

typedef struct model {
  void (*build)(host_builder *b);
  /* Binds set number `set` of inputs; false: there is none. */
  bool (*bind)(tsr_exec *exec, int set);
} model;

static int32_t numbers[64] = {0, 3, 5, 0, 7, 1, 2, 0, 4, 9};

static void bind_vector(tsr_exec *exec, uint32_t index, int32_t *data, int64_t n) {
  DLTensor tensor = test_tensor(data, TSR_I32, &n, 1);
  must(exec, tsr_exec_bind_input(exec, index, &tensor));
}

static void bind_scalar(tsr_exec *exec, uint32_t index, const void *data, tsr_dtype dtype) {
  DLTensor tensor = test_tensor((void *)(uintptr_t)data, dtype, NULL, 0);
  must(exec, tsr_exec_bind_input(exec, index, &tensor));
}

static void bind_vectors(tsr_exec *exec, uint32_t index, uint64_t count) {
  int64_t sizes[8] = {3, 1, 0, 4, 5, 2, 6, 1};
  DLTensor items[8];
  for (uint64_t i = 0; i < count; i++)
    items[i] = test_tensor(numbers + i, TSR_I32, &sizes[i], 1);
  must(exec, tsr_exec_bind_input_list(exec, index, items, count));
}

static bool bind_counted(tsr_exec *exec, int set) {
  static const int64_t sizes[] = {5, 5, 1, 0, 7}, turns[] = {0, 1, 7, 3, 2};
  if (set == 5)
    return false;
  bind_vector(exec, 0, numbers, sizes[set]);
  bind_vector(exec, 1, numbers, turns[set]);
  return true;
}

static void build_nested_thrice(host_builder *b) {
  build_nested(b, 3);
}

static bool bind_nested(tsr_exec *exec, int set) {
  static const int32_t bounds[] = {-1, 1, 4};
  if (set == 3)
    return false;
  bind_scalar(exec, 0, &bounds[set], TSR_I32);
  return true;
}

static void build_if_operand(host_builder *b) {
  build_if(b, 0);
}

static void build_if_dim(host_builder *b) {
  build_if(b, 1);
}

static bool bind_if(tsr_exec *exec, int set) {
  static const uint8_t truth[] = {0, 1};
  if (set == 4)
    return false;
  bind_vector(exec, 0, numbers, set == 2 ? 0 : 9);
  bind_scalar(exec, 1, &truth[set % 2], TSR_BOOL);
  return true;
}

static void build_full_lists(host_builder *b) {
  build_lists(b, false);
}

static bool bind_lists(tsr_exec *exec, int set) {
  static const int64_t p[] = {0, -1, 3, 1};
  static const int32_t q[] = {-1, 0, 2, 0};
  static const uint64_t counts[] = {1, 3, 8, 2};
  if (set == 4)
    return false;
  bind_vectors(exec, 0, counts[set]);
  bind_vector(exec, 1, numbers + 5, set);
  bind_scalar(exec, 2, &p[set], TSR_I64);
  bind_scalar(exec, 3, &q[set], TSR_I32);
  return true;
}

static bool bind_pieces(tsr_exec *exec, int set) {
  static int32_t x[1000], sizes[] = {2, 0, 5, 1, 3};
  static const int64_t k[] = {1, 2, 7};
  static const int64_t shapes[][2] = {{4, 11}, {1, 7}, {30, 8}}, pieces[] = {5, 3, 4};
  int64_t shape[2];
  DLTensor tensor;
  for (int i = 0; i < 1000; i++)
    x[i] = i * 3;
  if (set == 3)
    return false;
  memcpy(shape, shapes[set], sizeof shape);
  tensor = test_tensor(x, TSR_I32, shape, 2);
  must(exec, tsr_exec_bind_input(exec, 0, &tensor));
  bind_vector(exec, 1, sizes, pieces[set]);
  bind_scalar(exec, 2, &k[set], TSR_I64);
  return true;
}

static bool bind_growing(tsr_exec *exec, int set) {
  static const int64_t sizes[] = {3, 2, 0, 1, 3}, turns[] = {4, 0, 2, 9, 4};
  if (set == 5)
    return false;
  bind_vector(exec, 0, numbers + 4, sizes[set]);
  bind_vector(exec, 1, numbers, turns[set]);
  return true;
}

static bool bind_maybes(tsr_exec *exec, int set) {
  if (set == 4)
    return false;
  if ((set & 1) != 0)
    bind_vector(exec, 0, numbers, 3);
  else
    must(exec, tsr_exec_bind_input_absent(exec, 0));
  if ((set & 2) != 0)
    bind_vectors(exec, 1, 3);
  else
    must(exec, tsr_exec_bind_input_absent(exec, 1));
  bind_vector(exec, 2, numbers + 3, 4);
  return true;
}

static bool bind_strings(tsr_exec *exec, int set) {
  static const char *a[] = {"a", "", "b", "long and \303\274"};
  int64_t n = 4 - set;
  DLTensor tensor = test_tensor((void *)a, TSR_I64, &n, 1);
  if (set == 2)
    return false;
  tensor.dtype = (DLDataType){kDLOpaqueHandle, 64, 1};
  must(exec, tsr_exec_bind_input(exec, 0, &tensor));
  must(exec, tsr_exec_bind_input_list(exec, 1, &tensor, (uint64_t)set));
  return true;
}

static const model models[] = {
    {build_counted, bind_counted},  {build_nested_thrice, bind_nested},
    {build_if_operand, bind_if},    {build_if_dim, bind_if},
    {build_full_lists, bind_lists}, {build_pieces, bind_pieces},
    {build_growing, bind_growing},  {build_maybes, bind_maybes},
    {build_strings, bind_strings},  {build_branches, bind_growing},
};

/* ---- Tests ---- */

static void compare(const model *what, const tsr_exec_options *options) {
  host_builder b;
  machine cpu, cuda;
  uint32_t outputs;
  what->build(&b);
  cpu = start(hb_finish(&b), NULL);
  cuda = start(for_cuda(&b), options);
  outputs = b.program.output_count;
  hb_end(&b);
  for (int set = 0; what->bind(cpu.exec, set); set++) {
    (void)what->bind(cuda.exec, set);
    must(cpu.exec, tsr_exec_run(cpu.exec));
    for (int run = 0; run < 3; run++) {
      must(cuda.exec, tsr_exec_run(cuda.exec));
      check_same(&cpu, &cuda, outputs);
    }
  }
  stop(cpu);
  stop(cuda);
}

START_TEST(the_same_as_on_the_cpu) {
  static const int32_t places[] = {kDLCPU, kDLCUDAHost, kDLCUDA};
  test_use_driver(true, "90");
  for (int i = 0; i < 3; i++) {
    tsr_exec_options options = {.size = sizeof options, .output_device = places[i]};
    compare(&models[_i], &options);
    ck_assert_int_eq(test_spy()->live, 0);
  }
}
END_TEST

/* A loop whose condition is a constant reads nothing, and its part's launches find their memory
 * where it was two turns before. */
START_TEST(turns_do_not_wait) {
  host_builder b;
  machine m;
  spy_state *spy = test_spy();
  long waits, allocations;
  int32_t x[5] = {1, 2, 3, 4, 5};
  DLTensor y;
  test_use_driver(true, "90");
  build_counted(&b);
  (void)hb_finish(&b);
  m = start(for_cuda(&b), NULL);
  bind_vector(m.exec, 0, x, 5);
  bind_vector(m.exec, 1, numbers, 10);
  for (int run = 0; run < 2; run++)
    must(m.exec, tsr_exec_run(m.exec));
  waits = spy->calls[SPY_cuStreamSynchronize];
  allocations = spy->calls[SPY_cuMemAllocAsync];
  bind_vector(m.exec, 1, numbers, 50);
  must(m.exec, tsr_exec_run(m.exec));
  ck_assert_int_eq(spy->calls[SPY_cuStreamSynchronize] - waits, 1);
  ck_assert_int_le(spy->calls[SPY_cuMemAllocAsync] - allocations, 1); /* of another size of l */
  must(m.exec, tsr_exec_output(m.exec, 0, &y));
  ck_assert_int_eq(((const int32_t *)y.data)[4], 55);
  stop(m);
  hb_end(&b);
  ck_assert_int_eq(spy->live, 0);
}
END_TEST

/* Addresses of carried values take turns: after two runs of each of them, the part of two launches
 * is launched as graphs. */
START_TEST(turns_are_graphs) {
  host_builder b;
  machine m;
  tsr_exec_stats stats;
  tsr_program *part;
  int32_t x[5] = {1, 2, 3, 4, 5};
  DLTensor y;
  static const tsr_buffer_desc buffers[] = {{TSR_BUFFER_INPUT, TSR_I32, 1, 0, 0},
                                            {TSR_BUFFER_TEMPORARY, TSR_I32, 1, 0, 0},
                                            {TSR_BUFFER_OUTPUT, TSR_I32, 1, 0, 0}};
  static const tsr_port_desc outputs[] = {{.name = "0", .buffer = 2}};
  static const uint32_t arguments[] = {0, 1, 1, 2};
  static const tsr_launch_desc launches[] = {{0, 1, 0, 2, 0, 0}, {0, 1, 2, 2, 0, 0}};
  static const tsr_segment_desc segments[] = {{0, 2, 0, 0}};
  test_use_driver(true, "90");
  build_counted(&b);
  (void)hb_finish(&b);
  part = &b.parts[0];
  TEST_TABLE(*part, buffers, buffer_count, buffers);
  TEST_TABLE(*part, outputs, output_count, outputs);
  TEST_TABLE(*part, arguments, argument_count, arguments);
  TEST_TABLE(*part, launches, launch_count, launches);
  TEST_TABLE(*part, segments, segment_count, segments);
  m = start(for_cuda(&b), NULL);
  bind_vector(m.exec, 0, x, 5);
  bind_vector(m.exec, 1, numbers, 60);
  for (int run = 1; run <= 3; run++) {
    must(m.exec, tsr_exec_run(m.exec));
    must(m.exec, tsr_exec_output(m.exec, 0, &y));
    for (int i = 0; i < 5; i++)
      ck_assert_int_eq(((const int32_t *)y.data)[i], x[i] + 120);
    tsr_exec_get_stats(m.exec, &stats);
    ck_assert_uint_eq(stats.launches, 120);
    /* In the first turn the input's address comes in. */
    ck_assert_uint_ge(stats.graph_launches, (uint64_t)run * 60 - 10);
    ck_assert_uint_le(stats.graph_captures, 6);
  }
  stop(m);
  hb_end(&b);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

START_TEST(device_tensors_in_and_out) {
  host_builder b;
  machine m;
  cuda_device *device;
  void *x, *y;
  int32_t host[5] = {1, 2, 3, 4, 5}, got[5];
  int64_t n = 5;
  DLTensor in, out;
  test_use_driver(true, "90");
  build_counted(&b);
  (void)hb_finish(&b);
  m = start(for_cuda(&b), NULL);
  hb_end(&b);
  device = m.module->cuda->device;
  ck_assert_int_eq(tsr_cuda_enter(device, NULL), TSR_OK);
  ck_assert_int_eq(tsr_cuda_allocate(device, NULL, sizeof host + 16, NULL, &x), TSR_OK);
  ck_assert_int_eq(tsr_cuda_allocate(device, NULL, sizeof host + 16, NULL, &y), TSR_OK);
  for (uint64_t offset = 0; offset <= 4; offset += 4) { /* misaligned ones are copied */
    ck_assert_int_eq(device->driver.cuMemcpyHtoDAsync_v2((tsr_cu_pointer)(uintptr_t)x + offset,
                                                         host, sizeof host, NULL),
                     0);
    ck_assert_int_eq(device->driver.cuStreamSynchronize(NULL), 0);
    in = test_tensor(x, TSR_I32, &n, 1);
    in.device.device_type = kDLCUDA;
    out = in;
    out.data = y;
    in.byte_offset = out.byte_offset = offset;
    must(m.exec, tsr_exec_bind_input(m.exec, 0, &in));
    bind_vector(m.exec, 1, numbers, 3);
    must(m.exec, tsr_exec_bind_output(m.exec, 0, &out));
    must(m.exec, tsr_exec_bind_output(m.exec, 1, NULL));
    must(m.exec, tsr_exec_run(m.exec));
    ck_assert_int_eq(device->driver.cuMemcpyDtoHAsync_v2(got, (tsr_cu_pointer)(uintptr_t)y + offset,
                                                         sizeof got, NULL),
                     0);
    ck_assert_int_eq(device->driver.cuStreamSynchronize(NULL), 0);
    for (int i = 0; i < 5; i++)
      ck_assert_int_eq(got[i], host[i] + 3);
  }
  tsr_cuda_release_synchronously(device, x);
  tsr_cuda_release_synchronously(device, y);
  tsr_cuda_leave(device);
  stop(m);
}
END_TEST

START_TEST(taken_results_outlive_host_programs) {
  static const int32_t places[] = {kDLCPU, kDLCUDA};
  test_use_driver(true, "90");
  for (int i = 0; i < 2; i++) {
    tsr_exec_options options = {.size = sizeof options, .output_device = places[i]};
    host_builder b;
    machine m;
    int32_t x[5] = {1, 2, 3, 4, 5};
    DLManagedTensor *first, *second;
    build_counted(&b);
    (void)hb_finish(&b);
    m = start(for_cuda(&b), &options);
    hb_end(&b);
    bind_vector(m.exec, 0, x, 5);
    bind_vector(m.exec, 1, numbers, 3);
    must(m.exec, tsr_exec_run(m.exec));
    must(m.exec, tsr_exec_take_output(m.exec, 0, &first));
    must(m.exec, tsr_exec_run(m.exec));
    must(m.exec, tsr_exec_take_output(m.exec, 1, &second));
    stop(m);
    if (i == 0)
      ck_assert_int_eq(((const int32_t *)first->dl_tensor.data)[4], 8);
    first->deleter(first);
    second->deleter(second);
    ck_assert_int_eq(test_spy()->live, 0);
  }
}
END_TEST

/* Every call of the driver fails once: a clean status, and the next run is right. */
START_TEST(failed_calls_of_the_driver) {
  const model *what = &models[_i];
  spy_state *spy = test_spy();
  long calls;
  host_builder b;
  machine cpu, cuda;
  uint32_t outputs;
  int last = 0;
  test_use_driver(true, "90");
  what->build(&b);
  cpu = start(hb_finish(&b), NULL);
  cuda = start(for_cuda(&b), NULL);
  outputs = b.program.output_count;
  hb_end(&b);
  while (what->bind(cpu.exec, last))
    last++;
  (void)what->bind(cpu.exec, last - 1);
  (void)what->bind(cuda.exec, last - 1);
  must(cpu.exec, tsr_exec_run(cpu.exec));
  must(cuda.exec, tsr_exec_run(cuda.exec));
  calls = spy->total;
  must(cuda.exec, tsr_exec_run(cuda.exec));
  calls = spy->total - calls;
  for (long k = 1; k <= calls; k += 1 + calls / 40) {
    tsr_status status;
    spy->fail_at = k;
    spy->error = TSR_CU_ERROR_OUT_OF_MEMORY;
    status = tsr_exec_run(cuda.exec);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY || status == TSR_ERR_DEVICE);
    spy->fail_at = 0;
    must(cuda.exec, tsr_exec_run(cuda.exec));
    check_same(&cpu, &cuda, outputs);
  }
  stop(cpu);
  stop(cuda);
  ck_assert_int_eq(spy->live, 0);
}
END_TEST

/* Creates an exec, the `fail_at`-th allocation of which fails and all later ones. */
static tsr_status create_with(const machine *m, test_heap *heap, int fail_at, tsr_exec **out_exec) {
  tsr_exec_options options = {.size = sizeof options};
  tsr_status status;
  test_heap_init(heap, fail_at);
  options.allocator = &heap->allocator;
  status = tsr_exec_create(m->module, &options, out_exec, NULL);
  ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
  heap->fail_at = 0;
  return status;
}

/* For every k, over create and over the first run. */
START_TEST(host_memory_may_end_anywhere) {
  const model *what = &models[_i];
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  host_builder b;
  machine m;
  test_heap heap;
  tsr_exec *exec;
  int failures = 0;
  test_use_driver(true, "90");
  what->build(&b);
  (void)hb_finish(&b);
  m = start(for_cuda(&b), NULL);
  hb_end(&b);
  for (int k = 1; status != TSR_OK; k++) {
    status = create_with(&m, &heap, k, &exec);
    tsr_exec_destroy(exec);
    ck_assert_int_eq(atomic_load(&heap.live), 0);
  }
  for (status = TSR_ERR_OUT_OF_MEMORY; status != TSR_OK; failures++) {
    ck_assert_int_eq(create_with(&m, &heap, 0, &exec), TSR_OK);
    (void)what->bind(exec, 1);
    heap.fail_at = atomic_load(&heap.calls) + 1 + failures;
    status = tsr_exec_run(exec);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    heap.fail_at = 0;
    must(exec, tsr_exec_run(exec));
    tsr_exec_destroy(exec);
    ck_assert_int_eq(atomic_load(&heap.live), 0);
  }
  ck_assert_int_gt(failures, 1);
  stop(m);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

/* A part whose kernel writes outside of its buffer; waited for at the end, or (1) at once. */
START_TEST(broken_parts_are_named) {
  static const tsr_kernel_desc kernels[] = {{.name = "outside", .nodes = "Scatter_1"}};
  host_builder b;
  machine m;
  tsr_exec *other;
  char text[2048];
  test_use_driver(false, "90");
  if (_i == 1)
    (void)setenv("TESSERA_CUDA_SYNC", "1", 1);
  build_counted(&b);
  (void)hb_finish(&b);
  TEST_TABLE(b.parts[0], kernels, kernel_count, kernels);
  m = start(for_cuda(&b), NULL);
  hb_end(&b);
  ck_assert_int_eq(tsr_exec_create(m.module, NULL, &other, NULL), TSR_OK);
  bind_vector(m.exec, 0, numbers, 4);
  bind_vector(m.exec, 1, numbers, 3);
  bind_vector(other, 0, numbers, 4);
  bind_vector(other, 1, numbers, 3);
  ck_assert_int_eq(tsr_exec_run(m.exec), TSR_ERR_DEVICE);
  (void)snprintf(text, sizeof text, "%s", tsr_exec_last_error(m.exec));
  ck_assert_msg(strstr(text, _i == 1 ? "in kernel 'outside' (Scatter_1)"
                                     : "latest first: kernel 'outside' (Scatter_1), kernel "
                                       "'outside' (Scatter_1), kernel 'outside'") != NULL,
                "%s", text);
  ck_assert_int_eq(tsr_exec_run(m.exec), TSR_ERR_DEVICE);
  ck_assert_msg(strstr(tsr_exec_last_error(m.exec), "'outside' (Scatter_1)") != NULL, "%s",
                tsr_exec_last_error(m.exec));
  ck_assert_int_eq(tsr_exec_run(other), TSR_ERR_DEVICE);
  tsr_exec_destroy(other);
  stop(m);
}
END_TEST

START_TEST(traces_of_parts_on_a_device) {
  host_builder b;
  machine m;
  char path[300], text[8000];
  const char *folder = getenv("TESSERA_TEST_TMP");
  size_t length;
  int events = 0;
  FILE *file;
  test_use_driver(true, "90");
  build_counted(&b);
  (void)hb_finish(&b);
  m = start(for_cuda(&b), NULL);
  hb_end(&b);
  (void)snprintf(path, sizeof path, "%s/%ld-cuda-host.json", folder != NULL ? folder : "/tmp",
                 (long)getpid());
  must(m.exec, tsr_exec_set_trace(m.exec, path));
  bind_vector(m.exec, 0, numbers, 4);
  bind_vector(m.exec, 1, numbers, 6);
  must(m.exec, tsr_exec_run(m.exec));
  must(m.exec, tsr_exec_set_trace(m.exec, NULL));
  file = fopen(path, "r");
  ck_assert_ptr_nonnull(file);
  length = fread(text, 1, sizeof text - 1, file);
  text[length] = '\0';
  (void)fclose(file);
  (void)remove(path);
  for (const char *at = text; (at = strstr(at, "\"name\":\"add_one\"")) != NULL; at++)
    events++;
  ck_assert_int_eq(events, 6);
  stop(m);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("host on cuda");
  TCase *tests = tcase_create("host on cuda");
  SRunner *runner;
  int failed, count = (int)(sizeof models / sizeof models[0]);
  if (TEST_HAS_KERNELS) {
    tcase_add_loop_test(tests, the_same_as_on_the_cpu, 0, count);
    tcase_add_loop_test(tests, failed_calls_of_the_driver, 0, count);
    tcase_add_loop_test(tests, host_memory_may_end_anywhere, 0, count);
  }
  tcase_add_test(tests, turns_do_not_wait);
  tcase_add_test(tests, turns_are_graphs);
  tcase_add_test(tests, device_tensors_in_and_out);
  tcase_add_test(tests, taken_results_outlive_host_programs);
  tcase_add_test(tests, traces_of_parts_on_a_device);
  tcase_add_loop_test(tests, broken_parts_are_named, 0, 2);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
