/* Programs on the emulated device: results, tensors on both sides, graphs, what launches are given.
 */
#include "runtime/cuda/cuda_exec.h"
#include "tests/cuda_runtime/cuda_programs.h"
#include <check.h>
#include <pthread.h>
#include <stdio.h>

typedef struct fixture {
  tsr_arena arena;
  test_file image;
  tsr_module *module;
  tsr_exec *exec;
} fixture;

static void load(fixture *self, const tsr_program *program, const tsr_exec_options *options) {
  tsr_message message;
  self->image = test_write(&program, 1);
  ck_assert_msg(tsr_module_load_memory(self->image.bytes, self->image.size, NULL, &self->module,
                                       &message) == TSR_OK,
                "%s", message.text);
  ck_assert_msg(tsr_exec_create(self->module, options, &self->exec, &message) == TSR_OK, "%s",
                message.text);
}

static void load_chain(fixture *self, const tsr_exec_options *options) {
  tsr_program program;
  tsr_arena_init(&self->arena, tsr_allocator_default());
  program = test_on_cuda(&self->arena, test_chain_program(), "cuda-emulated", "sm_80");
  load(self, &program, options);
}

static void unload(fixture *self) {
  tsr_exec_destroy(self->exec);
  tsr_module_release(self->module);
  free(self->image.bytes);
  tsr_arena_reset(&self->arena);
}

static void must(const fixture *self, tsr_status status) {
  ck_assert_msg(status == TSR_OK, "%s", tsr_exec_last_error(self->exec));
}

static tsr_exec_stats stats_of(const fixture *self) {
  tsr_exec_stats stats;
  tsr_exec_get_stats(self->exec, &stats);
  return stats;
}

/* What the chain adds: 4, and 99 more where N <= 4. */
static void check_chain(const fixture *self, const int32_t *x, int64_t n) {
  DLTensor y, z;
  must(self, tsr_exec_output(self->exec, 0, &y));
  must(self, tsr_exec_output(self->exec, 1, &z));
  ck_assert_int_eq(y.device.device_type, kDLCPU);
  ck_assert_int_eq(y.shape[0], n);
  for (int64_t i = 0; i < n; i++)
    ck_assert_int_eq(((int32_t *)y.data)[i], x[i] + 4 + (n <= 4 ? 99 : 0));
  for (int64_t i = 0; i < 4; i++)
    ck_assert_int_eq(((int32_t *)z.data)[i], 2 * test_weight[i]);
}

static void run_chain(const fixture *self, int32_t *x, int64_t n) {
  DLTensor tensor = test_tensor(x, TSR_I32, &n, 1);
  must(self, tsr_exec_bind_input(self->exec, 0, &tensor));
  must(self, tsr_exec_run(self->exec));
  check_chain(self, x, n);
}

/* Device memory of the test's own, by the same driver. */
typedef struct gpu {
  tsr_cuda_driver driver;
  tsr_cu_context context;
} gpu;

static void gpu_open(gpu *self) {
  tsr_cu_device device;
  ck_assert_int_eq(tsr_cuda_driver_open(&self->driver, NULL), TSR_OK);
  ck_assert_int_eq(self->driver.cuDeviceGet(&device, 0), 0);
  ck_assert_int_eq(self->driver.cuDevicePrimaryCtxRetain(&self->context, device), 0);
  ck_assert_int_eq(self->driver.cuCtxPushCurrent_v2(self->context), 0);
}

static char *gpu_alloc(const gpu *self, size_t bytes) {
  tsr_cu_pointer pointer;
  ck_assert_int_eq(self->driver.cuMemAlloc_v2(&pointer, bytes), 0);
  return (char *)(uintptr_t)pointer;
}

static void gpu_free(const gpu *self, void *data) {
  ck_assert_int_eq(self->driver.cuMemFree_v2((tsr_cu_pointer)(uintptr_t)data), 0);
}

static void gpu_put(const gpu *self, void *to, const void *from, size_t bytes) {
  ck_assert_int_eq(
      self->driver.cuMemcpyHtoDAsync_v2((tsr_cu_pointer)(uintptr_t)to, from, bytes, NULL), 0);
  ck_assert_int_eq(self->driver.cuStreamSynchronize(NULL), 0);
}

static void gpu_get(const gpu *self, void *to, const void *from, size_t bytes) {
  ck_assert_int_eq(
      self->driver.cuMemcpyDtoHAsync_v2(to, (tsr_cu_pointer)(uintptr_t)from, bytes, NULL), 0);
  ck_assert_int_eq(self->driver.cuStreamSynchronize(NULL), 0);
}

static DLTensor on_device(void *data, tsr_dtype dtype, int64_t *shape, int rank) {
  DLTensor tensor = test_tensor(data, dtype, shape, rank);
  tensor.device.device_type = kDLCUDA;
  return tensor;
}

/* ---- Host tensors and graphs ---- */

/* Launch by launch, then captured, then replayed; a new shape begins anew; contents of the bound
 * memory may change in between. */
START_TEST(graphs_replay_unchanged_shapes) {
  fixture self;
  int32_t x[20] = {0};
  spy_state *spy = test_spy();
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  for (int run = 0; run < 5; run++) {
    for (int i = 0; i < 20; i++)
      x[i] = run * 100 + i;
    run_chain(&self, x, 10);
    ck_assert_uint_eq(stats_of(&self).launches, 5);
    ck_assert_uint_eq(stats_of(&self).graph_captures, run >= 1);
    ck_assert_uint_eq(stats_of(&self).graph_launches, (uint64_t)run);
  }
  ck_assert_int_eq(spy->calls[SPY_cuLaunchKernelEx], 10); /* run and captured */
  ck_assert_int_eq(spy->calls[SPY_cuGraphLaunch], 4);
  ck_assert_int_eq(spy->calls[SPY_cuStreamBeginCapture_v2], 1);
  ck_assert_uint_eq(stats_of(&self).plans, 1);
  for (int run = 0; run < 3; run++)
    run_chain(&self, x, 20);
  ck_assert_uint_eq(stats_of(&self).graph_captures, 2);
  ck_assert_uint_eq(stats_of(&self).graph_updates, 1); /* the same kernels */
  ck_assert_uint_eq(stats_of(&self).graph_launches, 6);
  for (int run = 0; run < 3; run++)
    run_chain(&self, x, 3);
  ck_assert_uint_eq(stats_of(&self).graph_captures, 3);
  ck_assert_uint_eq(stats_of(&self).graph_updates, 1); /* another kernel: a new graph */
  ck_assert_int_eq(spy->calls[SPY_cuGraphInstantiateWithFlags], 2);
  ck_assert_uint_eq(stats_of(&self).runs, 11);
  unload(&self);
  ck_assert_int_eq(spy->live, 0);
}
END_TEST

START_TEST(graphs_can_be_switched_off) {
  tsr_exec_options options = {.size = sizeof options, .flags = TSR_EXEC_NO_GRAPHS};
  fixture self;
  int32_t x[10] = {3, 1, 2};
  spy_state *spy = test_spy();
  test_use_driver(true, "90");
  load_chain(&self, &options);
  for (int run = 0; run < 3; run++)
    run_chain(&self, x, 10);
  ck_assert_int_eq(spy->calls[SPY_cuLaunchKernelEx], 15);
  ck_assert_int_eq(spy->calls[SPY_cuStreamBeginCapture_v2], 0);
  unload(&self);
}
END_TEST

START_TEST(devices_without_pools_are_enough) {
  fixture self;
  int32_t x[30] = {3, 1, 2};
  spy_state *spy = test_spy();
  spy->no_pools = true;
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  for (int run = 0; run < 6; run++)
    run_chain(&self, x, run < 3 ? 10 : 30);
  ck_assert_int_eq(spy->calls[SPY_cuMemAllocAsync], 0);
  ck_assert_int_gt(spy->calls[SPY_cuMemAlloc_v2], 0);
  unload(&self);
  ck_assert_int_eq(spy->live, 0);
}
END_TEST

/* Memory that is not there is said with numbers; smaller shapes run on. */
START_TEST(memory_of_the_device_runs_out) {
  fixture self;
  enum { LARGE = 1 << 20 };
  static int32_t x[LARGE];
  int64_t n = LARGE;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1);
  (void)setenv("TESSERA_EMULATED_MEMORY", "100000", 1);
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  run_chain(&self, x, 10);
  ck_assert_int_eq(tsr_exec_bind_input(self.exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(self.exec), TSR_ERR_OUT_OF_MEMORY);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(self.exec), "of 100000 free"));
  for (int run = 0; run < 3; run++)
    run_chain(&self, x, 10);
  unload(&self);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

/* A stage whose sizes depend on what the host reads; nothing found is nothing to do. */
START_TEST(sizes_are_read_from_the_device) {
  fixture self;
  tsr_program program;
  int32_t x[12] = {5, 0, 7, 0, 0, 9}, b[24] = {0};
  int64_t n = 12, twice = 24, m;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), other = test_tensor(b, TSR_I32, &twice, 1), y;
  test_use_driver(true, "90");
  tsr_arena_init(&self.arena, tsr_allocator_default());
  program = test_on_cuda(&self.arena, test_filter_program(), "cuda-emulated", "sm_80");
  load(&self, &program, NULL);
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  must(&self, tsr_exec_bind_input(self.exec, 1, &other));
  for (int run = 0; run < 6; run++) {
    int found = 0;
    x[run + 6] = run % 3; /* 3 3 4 5 5 6 */
    for (int i = 0; i < 12; i++)
      found += x[i] != 0;
    must(&self, tsr_exec_run(self.exec));
    must(&self, tsr_exec_dim_value(self.exec, 1, &m));
    ck_assert_int_eq(m, found);
    must(&self, tsr_exec_output(self.exec, 0, &y));
    ck_assert_int_eq(y.shape[0], found);
    for (int i = 0; i < found; i++)
      ck_assert_int_eq(((int32_t *)y.data)[i], x[i] + 2);
  }
  ck_assert_uint_gt(stats_of(&self).graph_launches, 0);
  memset(x, 0, sizeof x);
  must(&self, tsr_exec_run(self.exec));
  must(&self, tsr_exec_output(self.exec, 0, &y));
  ck_assert_int_eq(y.shape[0], 0);
  ck_assert_uint_eq(stats_of(&self).launches, 2);
  unload(&self);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

/* Several times the ring of pinned chunks in both directions, and many small pieces. */
START_TEST(large_tensors_go_through_the_ring) {
  enum { BYTES = 9 * CUDA_CHUNK_BYTES + 4321, SMALL = 300 };
  unsigned char *x = (unsigned char *)malloc(BYTES), *y = (unsigned char *)calloc(1, BYTES);
  unsigned char small[SMALL] = {0};
  cuda_staging staging;
  cuda_device *device;
  void *data;
  test_use_driver(true, "90");
  ck_assert_int_eq(tsr_cuda_device_open(0, tsr_allocator_default(), NULL, &device), TSR_OK);
  ck_assert_int_eq(tsr_cuda_enter(device, NULL), TSR_OK);
  tsr_cuda_staging_init(&staging, device, NULL);
  ck_assert_int_eq(tsr_cuda_allocate(device, NULL, BYTES, NULL, &data), TSR_OK);
  for (uint32_t i = 0; i < BYTES; i++)
    x[i] = (unsigned char)(i * 2654435761u >> 13);
  ck_assert_int_eq(tsr_cuda_upload(&staging, data, x, BYTES, NULL), TSR_OK);
  ck_assert_int_eq(tsr_cuda_download(&staging, y, data, BYTES, NULL), TSR_OK);
  for (uint32_t i = 0; i < SMALL; i++)
    ck_assert_int_eq(tsr_cuda_download(&staging, small + i, (unsigned char *)data + i * 7, 1, NULL),
                     TSR_OK);
  ck_assert_int_eq(device->driver.cuStreamSynchronize(NULL), 0);
  tsr_cuda_staging_complete(&staging);
  ck_assert_mem_eq(x, y, BYTES);
  for (uint32_t i = 0; i < SMALL; i++)
    ck_assert_int_eq(small[i], x[i * 7]);
  tsr_cuda_release_synchronously(device, data);
  tsr_cuda_staging_destroy(&staging);
  tsr_cuda_leave(device);
  tsr_cuda_device_release(device);
  ck_assert_int_eq(test_spy()->live, 0);
  free(x);
  free(y);
}
END_TEST

/* ---- Tensors on the device ---- */

START_TEST(device_tensors_are_used_in_place) {
  fixture self;
  gpu g;
  int32_t host[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, got[10];
  int64_t n = 10;
  char *x, *y;
  DLTensor in, out, view;
  spy_state *spy = test_spy();
  test_use_driver(true, "90");
  gpu_open(&g);
  x = gpu_alloc(&g, sizeof host + 16);
  y = gpu_alloc(&g, sizeof got + 16);
  gpu_put(&g, x, host, sizeof host);
  load_chain(&self, NULL);
  in = on_device(x, TSR_I32, &n, 1);
  out = on_device(y, TSR_I32, &n, 1);
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  must(&self, tsr_exec_bind_output(self.exec, 0, &out));
  for (int run = 0; run < 3; run++)
    must(&self, tsr_exec_run(self.exec));
  ck_assert_uint_eq(stats_of(&self).graph_launches, 2);
  gpu_get(&g, got, y, sizeof got);
  for (int i = 0; i < 10; i++)
    ck_assert_int_eq(got[i], host[i] + 4);
  must(&self, tsr_exec_output(self.exec, 0, &view));
  ck_assert_ptr_eq(view.data, y);
  ck_assert_int_eq(view.device.device_type, kDLCUDA);
  ck_assert_int_eq(spy->calls[SPY_cuMemcpyDtoDAsync_v2], 0);
  /* 4 bytes further on kernels cannot use them: they are copied, with the same results. */
  in.byte_offset = out.byte_offset = 4;
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  must(&self, tsr_exec_bind_output(self.exec, 0, &out));
  for (int run = 0; run < 3; run++)
    must(&self, tsr_exec_run(self.exec));
  ck_assert_int_eq(spy->calls[SPY_cuMemcpyDtoDAsync_v2], 6);
  gpu_get(&g, got, y + 4, sizeof got);
  for (int i = 0; i < 10; i++)
    ck_assert_int_eq(got[i], host[i + 1] + 4);
  /* And a host tensor again, in the place of both. */
  must(&self, tsr_exec_bind_output(self.exec, 0, NULL));
  run_chain(&self, host, 10);
  unload(&self);
  gpu_free(&g, x);
  gpu_free(&g, y);
}
END_TEST

START_TEST(tensors_of_other_places_are_refused) {
  fixture self;
  int32_t host[10] = {0};
  int64_t n = 10;
  DLTensor tensor = on_device(host, TSR_I32, &n, 1);
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  ck_assert_int_eq(tsr_exec_bind_input(self.exec, 0, &tensor), TSR_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(self.exec), "no memory of the CUDA device"));
  tensor.device.device_id = 1;
  ck_assert_int_eq(tsr_exec_bind_output(self.exec, 0, &tensor), TSR_ERR_DEVICE);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(self.exec), "CUDA device 1"));
  tensor.device = (DLDevice){(DLDeviceType)10, 0};
  ck_assert_int_eq(tsr_exec_bind_input(self.exec, 0, &tensor), TSR_ERR_DEVICE);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(self.exec), "DLPack device 10"));
  tensor.device = (DLDevice){kDLCPU, 0};
  must(&self, tsr_exec_bind_input(self.exec, 0, &tensor));
  unload(&self);
}
END_TEST

/* Pinned memory of the caller's is copied without staging. */
START_TEST(pinned_tensors_are_copied_directly) {
  fixture self;
  gpu g;
  int64_t n = 10;
  void *x, *y;
  DLTensor in, out, view;
  spy_state *spy = test_spy();
  long before;
  test_use_driver(true, "90");
  gpu_open(&g);
  ck_assert_int_eq(g.driver.cuMemHostAlloc(&x, 40, 0), 0);
  ck_assert_int_eq(g.driver.cuMemHostAlloc(&y, 40, 0), 0);
  for (int i = 0; i < 10; i++)
    ((int32_t *)x)[i] = i * i;
  load_chain(&self, NULL);
  before = spy->calls[SPY_cuMemHostAlloc];
  in = test_tensor(x, TSR_I32, &n, 1);
  out = test_tensor(y, TSR_I32, &n, 1);
  in.device.device_type = out.device.device_type = kDLCUDAHost;
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  must(&self, tsr_exec_bind_output(self.exec, 0, &out));
  must(&self, tsr_exec_run(self.exec));
  for (int i = 0; i < 10; i++)
    ck_assert_int_eq(((int32_t *)y)[i], i * i + 4);
  must(&self, tsr_exec_output(self.exec, 0, &view));
  ck_assert_int_eq(view.device.device_type, kDLCUDAHost);
  ck_assert_int_eq(spy->calls[SPY_cuMemHostAlloc], before + 1); /* the other output's view */
  unload(&self);
  ck_assert_int_eq(g.driver.cuMemFreeHost(x), 0);
  ck_assert_int_eq(g.driver.cuMemFreeHost(y), 0);
}
END_TEST

/* Outputs stay on the device, also when exec and module are gone. */
START_TEST(outputs_are_taken_on_the_device) {
  tsr_exec_options options = {.size = sizeof options, .output_device = kDLCUDA};
  fixture self;
  gpu g;
  int32_t x[10] = {4, 3, 2}, got[10];
  int64_t n = 10;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), view;
  DLManagedTensor *taken, *second;
  spy_state *spy = test_spy();
  test_use_driver(true, "90");
  gpu_open(&g);
  load_chain(&self, &options);
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  must(&self, tsr_exec_run(self.exec));
  must(&self, tsr_exec_output(self.exec, 0, &view));
  ck_assert_int_eq(view.device.device_type, kDLCUDA);
  must(&self, tsr_exec_take_output(self.exec, 0, &taken));
  ck_assert_ptr_eq(taken->dl_tensor.data, view.data);
  ck_assert_int_eq(tsr_exec_output(self.exec, 0, &view), TSR_ERR_STATE);
  x[0] = 40;
  must(&self, tsr_exec_run(self.exec));
  must(&self, tsr_exec_take_output(self.exec, 0, &second));
  ck_assert_ptr_ne(second->dl_tensor.data, taken->dl_tensor.data);
  unload(&self);
  gpu_get(&g, got, taken->dl_tensor.data, sizeof got);
  ck_assert_int_eq(got[0], 8);
  gpu_get(&g, got, second->dl_tensor.data, sizeof got);
  ck_assert_int_eq(got[0], 44);
  taken->deleter(taken);
  second->deleter(second);
  ck_assert_int_eq(spy->live, 2); /* the test's context, and that it is current */
}
END_TEST

START_TEST(outputs_are_taken_on_the_host) {
  fixture self;
  int32_t x[10] = {4, 3, 2};
  DLManagedTensor *taken;
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  run_chain(&self, x, 10);
  run_chain(&self, x, 10);
  must(&self, tsr_exec_take_output(self.exec, 0, &taken));
  x[0] = 40;
  run_chain(&self, x, 10);
  ck_assert_uint_eq(stats_of(&self).graph_captures, 1); /* the device's memory stayed */
  unload(&self);
  ck_assert_int_eq(taken->dl_tensor.device.device_type, kDLCPU);
  ck_assert_int_eq(((int32_t *)taken->dl_tensor.data)[0], 8);
  taken->deleter(taken);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

/* ---- Without waiting ---- */

START_TEST(runs_are_waited_for_later) {
  fixture self;
  int32_t x[20] = {1, 2, 3}, y[10] = {0};
  int64_t n = 10;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), out = test_tensor(y, TSR_I32, &n, 1), z;
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  must(&self, tsr_exec_wait(self.exec)); /* nothing to wait for */
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  must(&self, tsr_exec_bind_output(self.exec, 0, &out));
  must(&self, tsr_exec_run_async(self.exec));
  x[0] = 100; /* has been read */
  ck_assert_int_eq(tsr_exec_output(self.exec, 1, &z), TSR_ERR_STATE);
  ck_assert_ptr_nonnull(strstr(tsr_exec_last_error(self.exec), "tsr_exec_wait"));
  must(&self, tsr_exec_wait(self.exec));
  ck_assert_int_eq(y[0], 5);
  must(&self, tsr_exec_output(self.exec, 1, &z));
  ck_assert_int_eq(((int32_t *)z.data)[3], 80);
  for (int i = 0; i < 3; i++) {
    x[1] = i;
    must(&self, tsr_exec_run_async(self.exec));
  }
  must(&self, tsr_exec_wait(self.exec));
  ck_assert_int_eq(y[0], 104);
  ck_assert_int_eq(y[1], 6);
  ck_assert_uint_eq(stats_of(&self).runs, 4);
  /* One that cannot be issued takes nothing from those before it. */
  x[0] = 7;
  y[0] = 0;
  must(&self, tsr_exec_run_async(self.exec));
  in.shape = NULL;
  ck_assert_int_ne(tsr_exec_bind_input(self.exec, 0, &in), TSR_OK);
  ck_assert_int_eq(tsr_exec_run_async(self.exec), TSR_ERR_STATE);
  must(&self, tsr_exec_wait(self.exec));
  ck_assert_int_eq(y[0], 11);
  ck_assert_uint_eq(stats_of(&self).runs, 5);
  in.shape = &n;
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  /* Results that grow while the smaller ones are under way. */
  must(&self, tsr_exec_bind_output(self.exec, 0, NULL));
  for (n = 15; n <= 20; n += 5) {
    must(&self, tsr_exec_bind_input(self.exec, 0, &in));
    must(&self, tsr_exec_run_async(self.exec));
  }
  must(&self, tsr_exec_wait(self.exec));
  check_chain(&self, x, 20);
  must(&self, tsr_exec_run_async(self.exec));
  unload(&self); /* under way */
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

/* Work of the caller's in his stream is ordered with the exec's without any waiting. */
START_TEST(streams_of_the_caller_order_work) {
  tsr_exec_options options = {.size = sizeof options, .output_device = kDLCUDA};
  fixture self;
  gpu g;
  int32_t host[10] = {7, 8, 9}, *pinned;
  int64_t n = 10;
  char *x;
  tsr_cu_stream stream;
  void *memory;
  DLTensor in, y;
  test_use_driver(false, "90");
  gpu_open(&g);
  x = gpu_alloc(&g, sizeof host);
  ck_assert_int_eq(g.driver.cuMemHostAlloc(&memory, sizeof host, 0), 0);
  pinned = (int32_t *)memory;
  ck_assert_int_eq(g.driver.cuStreamCreate(&stream, TSR_CU_STREAM_NON_BLOCKING), 0);
  options.stream = stream;
  load_chain(&self, &options);
  in = on_device(x, TSR_I32, &n, 1);
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  for (int run = 0; run < 3; run++) {
    ck_assert_int_eq(
        g.driver.cuMemcpyHtoDAsync_v2((tsr_cu_pointer)(uintptr_t)x, host, sizeof host, stream), 0);
    must(&self, tsr_exec_run_async(self.exec));
    must(&self, tsr_exec_output(self.exec, 0, &y));
    ck_assert_int_eq(g.driver.cuMemcpyDtoHAsync_v2(pinned, (tsr_cu_pointer)(uintptr_t)y.data,
                                                   sizeof host, stream),
                     0);
    ck_assert_int_eq(g.driver.cuStreamSynchronize(stream), 0);
    ck_assert_int_eq(pinned[2], 13);
  }
  must(&self, tsr_exec_wait(self.exec));
  unload(&self);
  ck_assert_int_eq(g.driver.cuStreamDestroy_v2(stream), 0);
}
END_TEST

/* ---- What only CUDA has ---- */

START_TEST(launches_carry_maps_and_attributes) {
  fixture self;
  tsr_program program;
  float x[64 * 64];
  int64_t shape[2] = {24, 64}, w;
  DLTensor in = test_tensor(x, TSR_F32, shape, 2), y, z, third;
  spy_state *spy = test_spy();
  test_use_driver(true, "90");
  tsr_arena_init(&self.arena, tsr_allocator_default());
  program = test_special_program(&self.arena, "cuda-emulated:sm_90a", "sm_90a");
  load(&self, &program, NULL);
  for (int run = 0; run < 6; run++) {
    if (run == 3)
      shape[0] = 4; /* one task: the grid is rounded up to a whole cluster */
    for (int i = 0; i < 64 * 64; i++)
      x[i] = (float)(i + run);
    must(&self, tsr_exec_bind_input(self.exec, 0, &in));
    must(&self, tsr_exec_run(self.exec));
    must(&self, tsr_exec_output(self.exec, 0, &y));
    must(&self, tsr_exec_output(self.exec, 1, &z));
    must(&self, tsr_exec_output(self.exec, 2, &third));
    memcpy(&w, third.data, sizeof w);
    ck_assert_int_eq(w, shape[0]);
    ck_assert_mem_eq(z.data, x, (size_t)shape[0] * 64 * sizeof(float));
    for (int64_t row = 0; row < shape[0]; row++)
      ck_assert_mem_eq((float *)y.data + row * 64, x + row * 64,
                       (shape[0] == 4 ? 32 : 64) * sizeof(float));
    ck_assert_int_eq(spy->calls[SPY_cuTensorMapEncodeTiled], run < 3 ? 1 : 2);
  }
  ck_assert_uint_eq(spy->map.rank, 2);
  ck_assert_int_eq(spy->map.dtype, TSR_CU_TENSOR_F32);
  ck_assert_int_eq(spy->map.swizzle, TSR_CU_SWIZZLE_128);
  ck_assert_uint_eq(spy->map.dims[0], 64); /* innermost first */
  ck_assert_uint_eq(spy->map.dims[1], 4);
  ck_assert_uint_eq(spy->map.strides[0], 256);
  ck_assert_uint_eq(spy->map.box[0], 32);
  ck_assert_uint_eq(spy->map.box[1], 8);
  ck_assert_uint_eq(spy->map.steps[0], 1);
  /* The last launch is the cooperative one, with more shared memory than needs no attribute. */
  ck_assert_uint_eq(spy->launch.attribute_count, 1);
  ck_assert_uint_eq(spy->attributes[0].id, TSR_CU_LAUNCH_COOPERATIVE);
  ck_assert_uint_eq(spy->launch.shared_bytes, 64 << 10);
  ck_assert_int_eq(spy->calls[SPY_cuFuncSetAttribute], 1);
  unload(&self);
  ck_assert_int_eq(spy->live, 0);
}
END_TEST

/* A variant whose tensor map would have an empty extent gives way to the next one, whatever its
 * guard says. */
START_TEST(variants_without_maps_are_passed_over) {
  static const tsr_index_step more[] = {
      {TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 8}, {TSR_INDEX_FLOORDIV, 0}};
  static const tsr_variant_desc variants[] = {{{5, 1}, 0, 1, {{2, 3}}}, {{0, 0}, 1, 1, {{0, 1}}}};
  static const tsr_launch_desc launches[] = {{0, 2, 0, 2, 1, 1}};
  static const tsr_segment_desc segments[] = {{0, 1, 0, 0}};
  static const tsr_code codes[] = {{0, 1}, {1, 1}, {6, 3}, {1, 1}};
  static const tsr_map_desc maps[] = {{0, TSR_F32, 2, 2, 128, {8, 32}}};
  static const int64_t sizes[] = {4, 8, 4, 8};
  fixture self;
  tsr_program program;
  tsr_index_step steps[9];
  float x[8 * 64];
  int64_t shape[2] = {0, 64};
  DLTensor in = test_tensor(x, TSR_F32, shape, 2), y;
  spy_state *spy = test_spy();
  long encoded = 0;
  test_use_driver(true, "90");
  tsr_arena_init(&self.arena, tsr_allocator_default());
  program = test_special_program(&self.arena, "cuda-emulated:sm_90a", "sm_90a");
  memcpy(steps, program.steps, 6 * sizeof *steps);
  memcpy(steps + 6, more, sizeof more);
  TEST_TABLE(program, steps, step_count, steps);
  TEST_TABLE(program, codes, code_count, codes);
  TEST_TABLE(program, maps, map_count, maps);
  TEST_TABLE(program, variants, variant_count, variants);
  TEST_TABLE(program, launches, launch_count, launches);
  TEST_TABLE(program, segments, segment_count, segments);
  load(&self, &program, NULL);
  for (int i = 0; i < 8 * 64; i++)
    x[i] = (float)i;
  for (size_t i = 0; i < TEST_LENGTH(sizes); i++) {
    shape[0] = sizes[i];
    must(&self, tsr_exec_bind_input(self.exec, 0, &in));
    must(&self, tsr_exec_run(self.exec));
    must(&self, tsr_exec_output(self.exec, 0, &y));
    ck_assert_mem_eq(y.data, x, (sizes[i] == 4 ? 4u : 1u) * 64 * sizeof(float));
    encoded += sizes[i] == 8;
    ck_assert_int_eq(spy->calls[SPY_cuTensorMapEncodeTiled], encoded);
  }
  unload(&self);
}
END_TEST

/* A module, its execs and their tensors belong to one device. */
START_TEST(other_devices_are_used) {
  tsr_exec_options options = {.size = sizeof options, .output_device = kDLCUDA};
  tsr_module_options module_options = {.size = sizeof module_options, .device = 1};
  fixture self;
  tsr_program program;
  const tsr_program *programs = &program;
  int32_t x[10] = {1};
  int64_t n = 10;
  DLTensor in = test_tensor(x, TSR_I32, &n, 1), y;
  test_use_driver(true, "80,90");
  tsr_arena_init(&self.arena, tsr_allocator_default());
  program = test_on_cuda(&self.arena, test_chain_program(), "cuda-emulated", "sm_80");
  self.image = test_write(&programs, 1);
  ck_assert_int_eq(tsr_module_load_memory(self.image.bytes, self.image.size, &module_options,
                                          &self.module, NULL),
                   TSR_OK);
  ck_assert_int_eq(tsr_exec_create(self.module, &options, &self.exec, NULL), TSR_OK);
  must(&self, tsr_exec_bind_input(self.exec, 0, &in));
  must(&self, tsr_exec_run(self.exec));
  must(&self, tsr_exec_output(self.exec, 0, &y));
  ck_assert_int_eq(y.device.device_type, kDLCUDA);
  ck_assert_int_eq(y.device.device_id, 1);
  must(&self, tsr_exec_bind_input(self.exec, 0, &y)); /* what it gave is what it takes */
  y.device.device_id = 0;
  ck_assert_int_eq(tsr_exec_bind_input(self.exec, 0, &y), TSR_ERR_DEVICE);
  unload(&self);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

/* Grids by the numbers of tasks: x as far as it goes, whole clusters, then y. */
START_TEST(grids_cover_all_tasks) {
  static const struct {
    int64_t tasks;
    uint32_t cluster, x, y;
  } rows[] = {{1, 0, 1, 1},
              {5, 4, 8, 1},
              {INT32_MAX, 1, INT32_MAX, 1},
              {(int64_t)INT32_MAX + 1, 1, INT32_MAX, 2},
              {INT32_MAX, 2, INT32_MAX - 1, 2},
              {(int64_t)INT32_MAX * 65535, 1, INT32_MAX, 65535},
              {(int64_t)INT32_MAX * 65535 + 1, 1, 0, 0},
              {INT64_MAX, 16, 0, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint32_t grid[3] = {0, 0, 0};
    bool fits = tsr_cuda_grid(rows[i].tasks, rows[i].cluster, grid);
    ck_assert_int_eq(fits, rows[i].x != 0);
    if (!fits)
      continue;
    ck_assert_uint_eq(grid[0], rows[i].x);
    ck_assert_uint_eq(grid[1], rows[i].y);
    ck_assert_uint_eq(grid[2], 1);
  }
}
END_TEST

START_TEST(traces_have_times_of_the_device) {
  fixture self;
  int32_t x[10] = {0};
  char path[600], text[8192] = "";
  const char *folder = getenv("TESSERA_TEST_TMP");
  FILE *file;
  size_t size;
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  (void)snprintf(path, sizeof path, "%s/cuda-trace.json", folder != NULL ? folder : "/tmp");
  must(&self, tsr_exec_set_trace(self.exec, path));
  for (int run = 0; run < 3; run++)
    run_chain(&self, x, 10);
  ck_assert_uint_eq(stats_of(&self).graph_launches, 0);
  ck_assert_int_gt(stats_of(&self).device_ns, 0);
  must(&self, tsr_exec_set_trace(self.exec, NULL));
  run_chain(&self, x, 10);
  ck_assert_uint_eq(stats_of(&self).graph_launches, 1);
  file = fopen(path, "r");
  ck_assert_ptr_nonnull(file);
  size = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[size] = '\0';
  size = 0;
  for (const char *at = text; (at = strstr(at, "\"dur\":")) != NULL; at++) {
    ck_assert(strtod(at + 6, NULL) > 0);
    size++;
  }
  ck_assert_uint_eq(size, 15);
  unload(&self);
  ck_assert_int_eq(test_spy()->live, 0);
}
END_TEST

/* ---- Threads ---- */

typedef struct worker {
  tsr_module *module;
  int seed;
  bool fine;
} worker;

static void *work(void *context) {
  worker *self = (worker *)context;
  tsr_exec *exec;
  self->fine = tsr_exec_create(self->module, NULL, &exec, NULL) == TSR_OK;
  tsr_module_release(self->module);
  for (int run = 0; run < 6 && self->fine; run++) {
    int32_t x[16];
    int64_t n = 5 + (self->seed + run / 3) % 8;
    DLTensor in = test_tensor(x, TSR_I32, &n, 1), y;
    for (int i = 0; i < 16; i++)
      x[i] = self->seed * 1000 + run * 10 + i;
    self->fine = tsr_exec_bind_input(exec, 0, &in) == TSR_OK && tsr_exec_run(exec) == TSR_OK &&
                 tsr_exec_output(exec, 0, &y) == TSR_OK && y.shape[0] == n;
    for (int64_t i = 0; i < n && self->fine; i++)
      self->fine = ((int32_t *)y.data)[i] == x[i] + 4;
  }
  tsr_exec_destroy(exec);
  return NULL;
}

/* One module, an exec each, and the module is let go first. */
START_TEST(threads_share_a_module) {
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  worker workers[THREADS];
  fixture self;
  long loads;
  test_use_driver(true, "90");
  load_chain(&self, NULL);
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker){tsr_module_retain(self.module), i, false};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  tsr_exec_destroy(self.exec);
  tsr_module_release(self.module);
  for (int i = 0; i < THREADS; i++) {
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert(workers[i].fine);
  }
  loads = test_spy()->calls[SPY_cuModuleLoadDataEx];
  ck_assert_int_eq(loads, 1); /* all kernels are one unit */
  ck_assert_int_eq(test_spy()->live, 0);
  free(self.image.bytes);
  tsr_arena_reset(&self.arena);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cuda_runs");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, graphs_replay_unchanged_shapes);
  tcase_add_test(tests, graphs_can_be_switched_off);
  tcase_add_test(tests, devices_without_pools_are_enough);
  tcase_add_test(tests, memory_of_the_device_runs_out);
  tcase_add_test(tests, sizes_are_read_from_the_device);
  tcase_add_test(tests, large_tensors_go_through_the_ring);
  tcase_add_test(tests, device_tensors_are_used_in_place);
  tcase_add_test(tests, tensors_of_other_places_are_refused);
  tcase_add_test(tests, pinned_tensors_are_copied_directly);
  tcase_add_test(tests, outputs_are_taken_on_the_device);
  tcase_add_test(tests, outputs_are_taken_on_the_host);
  tcase_add_test(tests, runs_are_waited_for_later);
  tcase_add_test(tests, streams_of_the_caller_order_work);
  tcase_add_test(tests, launches_carry_maps_and_attributes);
  tcase_add_test(tests, variants_without_maps_are_passed_over);
  tcase_add_test(tests, other_devices_are_used);
  tcase_add_test(tests, grids_cover_all_tasks);
  tcase_add_test(tests, traces_have_times_of_the_device);
  tcase_add_test(tests, threads_share_a_module);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
