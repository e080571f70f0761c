/* The emulated driver, called as the runtime calls a driver. Each test is a process of its own, so
 * that what the environment says is read anew. */
#include "runtime/cuda/driver.h"
#include <check.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "tessera-cuda-text sm_80\n"

static const char texts[] =
    HEAD "TSR_KERNEL(128) scale(const float *x, float *y, tsr_s64 n, float by) {\n"
         "  tsr_s64 i = tsr_block() * 128 + tsr_thread();\n"
         "  if (i < n)\n"
         "    y[i] = x[i] * by;\n"
         "}\n"
         "TSR_KERNEL(384) add(const float *x, const float *y, float *z, tsr_s64 n) {\n"
         "  tsr_s64 i = tsr_block() * 384 + tsr_thread();\n"
         "  if (i < n)\n"
         "    z[i] = x[i] + y[i];\n"
         "}\n"
         "TSR_KERNEL(32) wild(float *y) {\n"
         "  y[tsr_thread() + 1000000] = 1;\n"
         "}\n";

enum { N = 300, BYTES = N * 4 };

/* The driver with a context and a module. */
typedef struct rig {
  const tsr_cuda_driver *d;
  tsr_cu_context context;
  tsr_cu_module module;
  tsr_cu_stream a, b;
  float *host; /* pinned, N numbers */
} rig;

static rig r;

static void check_call(tsr_cu_result result, tsr_cu_result wanted, const char *call, int line) {
  const char *text = "?";
  if (result != 0)
    r.d->cuGetErrorString(result, &text);
  ck_assert_msg(result == wanted, "line %d: %s gives %d (%s), not %d", line, call, result, text,
                wanted);
}
#define OK(call)          check_call(r.d->call, 0, #call, __LINE__)
#define GIVES(code, call) check_call(r.d->call, code, #call, __LINE__)

static void load(void) {
  const char *path = getenv("TESSERA_EMULATED_DRIVER");
  ck_assert_msg(path != NULL, "TESSERA_EMULATED_DRIVER is the library's path");
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  ck_assert_msg(library != NULL, "%s", dlerror());
  const tsr_cuda_driver *(*table)(void);
  void *found = dlsym(library, "tsr_emulated_driver_table");
  memcpy(&table, &found, sizeof table);
  ck_assert_ptr_nonnull(found);
  r.d = table();
  /* What the runtime looks up is there by name too. */
#define LOOK(result, name, parameters) ck_assert_msg(dlsym(library, #name) != NULL, #name);
  TSR_CUDA_DRIVER_LIST(LOOK)
#undef LOOK
}

static void begin(const char *seed) {
  setenv("TESSERA_EMULATED_SEED", seed, 1);
  load();
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&r.context, 0));
  OK(cuCtxPushCurrent_v2(r.context));
  OK(cuModuleLoadDataEx(&r.module, texts, 0, NULL, NULL));
  OK(cuStreamCreate(&r.a, TSR_CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&r.b, TSR_CU_STREAM_NON_BLOCKING));
  OK(cuMemHostAlloc((void **)&r.host, BYTES, 0));
  for (int i = 0; i < N; ++i)
    r.host[i] = (float)i;
}

static void end(void) {
  OK(cuMemFreeHost(r.host));
  OK(cuStreamDestroy_v2(r.a));
  OK(cuStreamDestroy_v2(r.b));
  OK(cuModuleUnload(r.module));
  tsr_cu_context popped;
  OK(cuCtxPopCurrent_v2(&popped));
  ck_assert_ptr_eq(popped, r.context);
  OK(cuDevicePrimaryCtxRelease_v2(0));
}

static tsr_cu_function function(const char *name) {
  tsr_cu_function found;
  OK(cuModuleGetFunction(&found, r.module, name));
  return found;
}

static tsr_cu_pointer device(void) {
  tsr_cu_pointer p;
  OK(cuMemAlloc_v2(&p, BYTES));
  return p;
}

static tsr_cu_launch_config config(unsigned threads, tsr_cu_stream stream) {
  return (tsr_cu_launch_config){
      .grid = {(N + threads - 1) / threads, 1, 1}, .block = {threads, 1, 1}, .stream = stream};
}

/* y = x * by; the parameters are gone when it runs. */
static void scale(tsr_cu_pointer x, tsr_cu_pointer y, float by, tsr_cu_stream stream) {
  long long n = N;
  tsr_cu_launch_config c = config(128, stream);
  void *parameters[] = {&x, &y, &n, &by};
  OK(cuLaunchKernelEx(&c, function("scale"), parameters, NULL));
  by = -1;
  n = 0;
}

static void expect(tsr_cu_pointer p, float factor, int line) {
  static float back[N];
  OK(cuMemcpyDtoHAsync_v2(back, p, BYTES, r.a));
  for (int i = 0; i < N; ++i)
    ck_assert_msg(back[i] == (float)i * factor, "line %d, element %d: %g, not %g", line, i, back[i],
                  (float)i * factor);
}
#define EXPECT(p, factor) expect(p, factor, __LINE__)

static const char *const seeds[] = {"0", "1", "2", "3", "17"};

START_TEST(streams_keep_their_order) {
  begin(seeds[_i]);
  tsr_cu_pointer x = device(), y = device();
  OK(cuMemcpyHtoDAsync_v2(x, r.host, BYTES, r.a));
  scale(x, y, 2, r.a);
  scale(y, x, 3, r.a);
  OK(cuMemcpyDtoDAsync_v2(y, x, BYTES, r.a));
  OK(cuMemcpyDtoHAsync_v2(r.host, y, BYTES, r.a));
  ck_assert_msg(r.host[1] == 1, "pinned memory is written when something waits");
  OK(cuStreamSynchronize(r.a));
  ck_assert(r.host[7] == 42);
  EXPECT(y, 6);
  OK(cuMemsetD8Async(y, 0, BYTES, r.a));
  EXPECT(y, 0);
  OK(cuMemFree_v2(x));
  OK(cuMemFree_v2(y));
  end();
}
END_TEST

START_TEST(rows_are_copied) {
  begin("0");
  tsr_cu_pointer x = device(), y = device();
  float back[10];
  tsr_cu_copy_2d copy = {.from_kind = TSR_CU_MEMORY_DEVICE,
                         .from_device = x + 4,
                         .from_pitch = 16,
                         .to_kind = TSR_CU_MEMORY_DEVICE,
                         .to_device = y,
                         .to_pitch = 8,
                         .row_bytes = 8,
                         .rows = 5};
  OK(cuMemcpyHtoDAsync_v2(x, r.host, BYTES, r.a));
  OK(cuMemcpy2DAsync_v2(&copy, r.a));
  OK(cuMemcpyDtoHAsync_v2(back, y, sizeof back, r.a));
  for (int i = 0; i < 10; ++i)
    ck_assert(back[i] == r.host[1 + i / 2 * 4 + i % 2]);
  copy.rows = BYTES;
  GIVES(1, cuMemcpy2DAsync_v2(&copy, r.a));
  copy.rows = 5;
  copy.row_bytes = 12;
  GIVES(1, cuMemcpy2DAsync_v2(&copy, r.a));
  copy.row_bytes = 8;
  copy.to_kind = TSR_CU_MEMORY_HOST;
  GIVES(1, cuMemcpy2DAsync_v2(&copy, r.a));
  OK(cuMemFree_v2(x));
  OK(cuMemFree_v2(y));
  end();
}
END_TEST

/* Behind a copy in another stream, with and without the event that orders the two. */
static bool launch_is_behind_copy(bool waits) {
  tsr_cu_pointer x = device(), y = device();
  static float back[N];
  tsr_cu_event copied;
  OK(cuEventCreate(&copied, TSR_CU_EVENT_DISABLE_TIMING));
  OK(cuMemcpyHtoDAsync_v2(x, r.host, BYTES, r.a));
  OK(cuEventRecord(copied, r.a));
  if (waits)
    OK(cuStreamWaitEvent(r.b, copied, 0));
  scale(x, y, 2, r.b);
  OK(cuMemcpyDtoHAsync_v2(back, y, BYTES, r.b));
  OK(cuEventDestroy_v2(copied));
  OK(cuMemFree_v2(x));
  OK(cuMemFree_v2(y));
  return back[5] == 10;
}

START_TEST(events_order_streams) {
  begin(seeds[_i]);
  for (int i = 0; i < 8; ++i)
    ck_assert(launch_is_behind_copy(true));
  end();
}
END_TEST

START_TEST(missing_wait_is_found) {
  begin("1");
  ck_assert(!launch_is_behind_copy(false));
  end();
}
END_TEST

START_TEST(missing_wait_is_found_at_random) {
  begin(seeds[2 + _i]);
  int wrong = 0;
  for (int i = 0; i < 16; ++i)
    wrong += !launch_is_behind_copy(false);
  ck_assert_int_gt(wrong, 0);
  end();
}
END_TEST

START_TEST(null_stream_orders_blocking_streams) {
  begin(seeds[_i]);
  tsr_cu_stream blocking;
  tsr_cu_pointer x = device(), y = device();
  OK(cuStreamCreate(&blocking, 0));
  OK(cuMemcpyHtoDAsync_v2(x, r.host, BYTES, blocking));
  scale(x, y, 2, NULL);
  scale(y, x, 2, blocking);
  OK(cuStreamSynchronize(blocking));
  EXPECT(x, 4);
  OK(cuStreamDestroy_v2(blocking));
  OK(cuMemFree_v2(x));
  OK(cuMemFree_v2(y));
  end();
}
END_TEST

START_TEST(findings_stay) {
  begin("0");
  tsr_cu_pointer x = device();
  tsr_cu_launch_config c = {.grid = {1, 1, 1}, .block = {32, 1, 1}, .stream = r.a};
  void *parameters[] = {&x};
  OK(cuLaunchKernelEx(&c, function("wild"), parameters, NULL));
  GIVES(TSR_CU_ERROR_LAUNCH_FAILED, cuStreamSynchronize(r.a));
  const char *text;
  OK(cuGetErrorString(TSR_CU_ERROR_LAUNCH_FAILED, &text));
  ck_assert_msg(strstr(text, "kernel wild") && strstr(text, "out of bounds"), "%s", text);
  GIVES(TSR_CU_ERROR_LAUNCH_FAILED, cuStreamSynchronize(r.b));
  GIVES(TSR_CU_ERROR_LAUNCH_FAILED, cuMemAlloc_v2(&x, 4));
}
END_TEST

START_TEST(memory_is_watched) {
  begin("0");
  tsr_cu_pointer x = device(), y;
  unsigned type = 0;
  OK(cuPointerGetAttribute(&type, TSR_CU_POINTER_MEMORY_TYPE, x + 8));
  ck_assert_uint_eq(type, TSR_CU_MEMORY_DEVICE);
  OK(cuPointerGetAttribute(&type, TSR_CU_POINTER_MEMORY_TYPE, (tsr_cu_pointer)(uintptr_t)r.host));
  ck_assert_uint_eq(type, TSR_CU_MEMORY_HOST);
  GIVES(1, cuPointerGetAttribute(&type, TSR_CU_POINTER_MEMORY_TYPE, (tsr_cu_pointer)(uintptr_t)&r));
  GIVES(1, cuMemcpyHtoDAsync_v2(x + 4, r.host, BYTES, r.a));
  GIVES(1, cuMemcpyHtoDAsync_v2(x, (void *)(uintptr_t)x, BYTES, r.a));
  GIVES(1, cuMemcpyDtoDAsync_v2(x, (tsr_cu_pointer)(uintptr_t)r.host, BYTES, r.a));
  GIVES(1, cuMemcpyDtoHAsync_v2((void *)(uintptr_t)x, x, BYTES, r.a));
  GIVES(1, cuMemFree_v2(x + 256));
  OK(cuMemFree_v2(x));
  GIVES(1, cuMemFree_v2(x));
  OK(cuMemAllocAsync(&y, BYTES, r.a));
  OK(cuMemFreeAsync(y, r.a));
  GIVES(1, cuMemcpyHtoDAsync_v2(y, r.host, BYTES, r.a));
  OK(cuStreamSynchronize(r.a));
  size_t available, total;
  OK(cuMemGetInfo_v2(&available, &total));
  ck_assert_uint_eq(available, total);
  GIVES(TSR_CU_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&x, total + 1));
  tsr_cu_stream gone;
  OK(cuStreamCreate(&gone, 0));
  OK(cuStreamDestroy_v2(gone));
  GIVES(400, cuStreamSynchronize(gone));
  end();
}
END_TEST

START_TEST(host_cannot_touch_device_memory) {
  begin("0");
  tsr_cu_pointer x = device();
  *(volatile float *)(uintptr_t)x = 1;
}
END_TEST

START_TEST(limits_of_launches) {
  begin("0");
  tsr_cu_pointer x = device();
  long long n = N;
  float by = 1;
  void *parameters[] = {&x, &x, &n, &by};
  tsr_cu_function f = function("scale");
  tsr_cu_launch_config c = config(128, r.a);
  c.block[0] = 256;
  GIVES(701, cuLaunchKernelEx(&c, f, parameters, NULL));
  c.block[0] = 128;
  c.shared_bytes = 48 * 1024 + 4;
  GIVES(1, cuLaunchKernelEx(&c, f, parameters, NULL));
  GIVES(1, cuFuncSetAttribute(f, TSR_CU_FUNCTION_MAX_DYNAMIC_SHARED, 228 * 1024));
  OK(cuFuncSetAttribute(f, TSR_CU_FUNCTION_MAX_DYNAMIC_SHARED, 227 * 1024));
  OK(cuLaunchKernelEx(&c, f, parameters, NULL));
  c.grid[0] = 0;
  GIVES(1, cuLaunchKernelEx(&c, f, parameters, NULL));
  tsr_cu_launch_attribute attribute = {.id = TSR_CU_LAUNCH_CLUSTER, .value.cluster = {2, 1, 1}};
  c.attributes = &attribute;
  c.attribute_count = 1;
  c.grid[0] = 3;
  GIVES(912, cuLaunchKernelEx(&c, f, parameters, NULL));
  c.grid[0] = 4;
  OK(cuLaunchKernelEx(&c, f, parameters, NULL));
  attribute.value.cluster[0] = 16;
  c.grid[0] = 16;
  GIVES(912, cuLaunchKernelEx(&c, f, parameters, NULL));
  OK(cuFuncSetAttribute(f, TSR_CU_FUNCTION_NON_PORTABLE_CLUSTER, 1));
  OK(cuLaunchKernelEx(&c, f, parameters, NULL));
  attribute = (tsr_cu_launch_attribute){.id = TSR_CU_LAUNCH_COOPERATIVE, .value.cooperative = 1};
  c.grid[0] = 1 << 20;
  GIVES(720, cuLaunchKernelEx(&c, f, parameters, NULL));
  c.attribute_count = 0;
  c.shared_bytes = 0;
  c.grid[0] = 3;
  c.grid[1] = 2;
  OK(cuLaunchKernelEx(&c, f, parameters, NULL));
  int value;
  OK(cuFuncGetAttribute(&value, TSR_CU_FUNCTION_REGISTERS, f));
  ck_assert_int_eq(value, 255);
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, f, 128, 100 * 1024));
  ck_assert_int_eq(value, 2);
  GIVES(500, cuModuleGetFunction(&f, r.module, "nothing"));
  OK(cuMemFree_v2(x));
  end();
}
END_TEST

/* Blocks are counted along x first; a text may have any number of kernels. */
START_TEST(many_kernels_and_rows_of_blocks) {
  enum { KERNELS = 300 };
  char *text = NULL;
  size_t bytes = 0;
  FILE *out = open_memstream(&text, &bytes);
  fputs(HEAD, out);
  for (int i = 0; i < KERNELS; ++i)
    fprintf(out,
            "TSR_KERNEL(1) number_%d(float *y) {\n"
            "  y[tsr_block()] = (float)tsr_block() * %d * (float)(tsr_blocks() == 6);\n"
            "}\n",
            i, i);
  fclose(out);
  begin("1");
  tsr_cu_module m;
  tsr_cu_function f;
  tsr_cu_pointer y = device();
  tsr_cu_launch_config c = {.grid = {3, 2, 1}, .block = {1, 1, 1}, .stream = r.a};
  void *parameters[] = {&y};
  float back[6];
  OK(cuModuleLoadDataEx(&m, text, 0, NULL, NULL));
  free(text);
  OK(cuModuleGetFunction(&f, m, "number_299"));
  OK(cuLaunchKernelEx(&c, f, parameters, NULL));
  OK(cuMemcpyDtoHAsync_v2(back, y, sizeof back, r.a));
  for (int i = 0; i < 6; ++i)
    ck_assert(back[i] == 299.0f * (float)i);
  OK(cuMemFree_v2(y));
  OK(cuModuleUnload(m));
  end();
}
END_TEST

START_TEST(images) {
  begin("0");
  tsr_cu_module m;
  char log[256] = "";
  int options[] = {5, 6};
  void *values[] = {log, (void *)(uintptr_t)sizeof log};
  GIVES(TSR_CU_ERROR_NO_BINARY,
        cuModuleLoadDataEx(&m, ".version 8.0\n.target sm_80\n", 0, NULL, NULL));
  GIVES(TSR_CU_ERROR_NO_BINARY, cuModuleLoadDataEx(&m, "\177ELF", 0, NULL, NULL));
  GIVES(TSR_CU_ERROR_NO_BINARY,
        cuModuleLoadDataEx(&m, "tessera-cuda-text sm_100a\n", 0, NULL, NULL));
  GIVES(TSR_CU_ERROR_INVALID_IMAGE,
        cuModuleLoadDataEx(&m, HEAD "TSR_KERNEL(32) k(void) { nonsense; }", 2, options, values));
  ck_assert_msg(strstr(log, "nonsense") != NULL, "%s", log);
  end();
}
END_TEST

START_TEST(devices_are_chosen) {
  setenv("TESSERA_EMULATED_SM", "80,89,90", 1);
  load();
  int value;
  tsr_cu_device found;
  GIVES(3, cuDeviceGetCount(&value));
  OK(cuInit(0));
  OK(cuDeviceGetCount(&value));
  ck_assert_int_eq(value, 3);
  OK(cuDeviceGet(&found, 1));
  OK(cuDeviceGetAttribute(&value, TSR_CU_ATTRIBUTE_MINOR, found));
  ck_assert_int_eq(value, 9);
  OK(cuDeviceGetAttribute(&value, TSR_CU_ATTRIBUTE_MAX_SHARED_PER_BLOCK_OPTIN, found));
  ck_assert_int_eq(value, 99 * 1024);
  GIVES(101, cuDeviceGet(&found, 3));
  GIVES(201, cuCtxSynchronize());
}
END_TEST

START_TEST(calls_fail_when_asked) {
  setenv("TESSERA_EMULATED_FAIL", "cuMemAlloc_v2:2:2", 1);
  begin("0");
  tsr_cu_pointer x = device(), y;
  GIVES(2, cuMemAlloc_v2(&y, 16));
  OK(cuMemAlloc_v2(&y, 16));
  OK(cuMemFree_v2(y));
  OK(cuMemFree_v2(x));
  end();
}
END_TEST

static tsr_cu_graph capture(tsr_cu_pointer x, tsr_cu_pointer y, float by, int launches) {
  tsr_cu_graph graph;
  OK(cuStreamBeginCapture_v2(r.a, TSR_CU_CAPTURE_THREAD_LOCAL));
  OK(cuMemcpyHtoDAsync_v2(x, r.host, BYTES, r.a));
  for (int i = 0; i < launches; ++i)
    scale(i % 2 ? y : x, i % 2 ? x : y, by, r.a);
  OK(cuStreamEndCapture(r.a, &graph));
  return graph;
}

START_TEST(graphs_are_updated) {
  begin(seeds[_i]);
  tsr_cu_pointer x = device(), y = device();
  tsr_cu_graph graph = capture(x, y, 2, 3), longer = capture(x, y, 2, 4), other;
  tsr_cu_graph_exec exec;
  tsr_cu_graph_update update;
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cuGraphDestroy(graph));
  OK(cuGraphLaunch(exec, r.a));
  EXPECT(y, 8);
  OK(cuGraphLaunch(exec, r.a));
  other = capture(x, y, 3, 3);
  OK(cuGraphExecUpdate_v2(exec, other, &update));
  EXPECT(y, 8);
  OK(cuGraphLaunch(exec, r.a));
  EXPECT(y, 27);
  GIVES(910, cuGraphExecUpdate_v2(exec, longer, &update));
  ck_assert_int_eq(update.result, 2);
  OK(cuGraphLaunch(exec, r.a));
  EXPECT(y, 27);
  OK(cuGraphDestroy(longer));
  OK(cuGraphDestroy(other));
  OK(cuGraphExecDestroy(exec));
  OK(cuMemFree_v2(x));
  OK(cuMemFree_v2(y));
  end();
}
END_TEST

/* One stream forks into two and they meet again; a node's kernel is another one afterwards. */
START_TEST(graphs_of_two_streams) {
  begin(seeds[_i]);
  tsr_cu_pointer x = device(), y = device(), z = device();
  tsr_cu_event forked, met;
  tsr_cu_graph graphs[2];
  tsr_cu_graph_exec exec;
  tsr_cu_graph_update update;
  long long n = N;
  OK(cuEventCreate(&forked, TSR_CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&met, TSR_CU_EVENT_DISABLE_TIMING));
  for (int i = 0; i < 2; ++i) {
    OK(cuStreamBeginCapture_v2(r.a, TSR_CU_CAPTURE_THREAD_LOCAL));
    OK(cuMemcpyHtoDAsync_v2(x, r.host, BYTES, r.a));
    OK(cuEventRecord(forked, r.a));
    OK(cuStreamWaitEvent(r.b, forked, 0));
    scale(x, z, 3, r.b);
    OK(cuEventRecord(met, r.b));
    scale(x, y, 2, r.a);
    OK(cuStreamWaitEvent(r.a, met, 0));
    tsr_cu_launch_config c = config(i ? 128 : 384, r.a);
    void *parameters[] = {&y, &z, &y, &n};
    if (i == 0)
      OK(cuLaunchKernelEx(&c, function("add"), parameters, NULL));
    else
      scale(z, y, 1, r.a);
    OK(cuStreamEndCapture(r.a, &graphs[i]));
  }
  OK(cuGraphInstantiateWithFlags(&exec, graphs[0], 0));
  OK(cuGraphLaunch(exec, r.a));
  EXPECT(y, 5);
  GIVES(910, cuGraphExecUpdate_v2(exec, graphs[1], &update));
  ck_assert_int_eq(update.result, 4);
  OK(cuGraphExecDestroy(exec));
  OK(cuGraphDestroy(graphs[0]));
  OK(cuGraphDestroy(graphs[1]));
  /* A fork that never comes back. */
  tsr_cu_graph lost;
  OK(cuStreamBeginCapture_v2(r.a, TSR_CU_CAPTURE_THREAD_LOCAL));
  OK(cuEventRecord(forked, r.a));
  OK(cuStreamWaitEvent(r.b, forked, 0));
  scale(x, z, 3, r.b);
  GIVES(904, cuStreamEndCapture(r.a, &lost));
  /* Waiting while capturing. */
  OK(cuStreamBeginCapture_v2(r.a, TSR_CU_CAPTURE_THREAD_LOCAL));
  scale(x, z, 3, r.a);
  GIVES(900, cuStreamSynchronize(r.a));
  GIVES(901, cuStreamEndCapture(r.a, &lost));
  OK(cuEventDestroy_v2(forked));
  OK(cuEventDestroy_v2(met));
  OK(cuMemFree_v2(x));
  OK(cuMemFree_v2(y));
  OK(cuMemFree_v2(z));
  end();
}
END_TEST

START_TEST(event_times) {
  begin("0");
  tsr_cu_pointer x = device();
  tsr_cu_event start, stop;
  float ms = -1;
  OK(cuEventCreate(&start, 0));
  OK(cuEventCreate(&stop, 0));
  OK(cuEventRecord(start, r.a));
  scale(x, x, 1, r.a);
  OK(cuEventRecord(stop, r.a));
  GIVES(600, cuEventElapsedTime(&ms, start, stop));
  OK(cuEventSynchronize(stop));
  OK(cuEventElapsedTime(&ms, start, stop));
  ck_assert(ms > 0);
  OK(cuEventDestroy_v2(start));
  OK(cuEventDestroy_v2(stop));
  OK(cuMemFree_v2(x));
  end();
}
END_TEST

START_TEST(tensor_maps_have_the_limits) {
  begin("0");
  tsr_cu_pointer x = device();
  static tsr_cu_tensor_map map;
  void *base = (void *)(uintptr_t)x;
  uint64_t dims[] = {16, 4}, strides[] = {64};
  uint32_t box[] = {16, 4}, steps[] = {1, 1};
  OK(cuTensorMapEncodeTiled(&map, TSR_CU_TENSOR_F32, 2, base, dims, strides, box, steps, 0,
                            TSR_CU_SWIZZLE_64, 2, 0));
  GIVES(1, cuTensorMapEncodeTiled(&map, TSR_CU_TENSOR_F32, 2, base, dims, strides, box, steps, 0,
                                  TSR_CU_SWIZZLE_32, 2, 0));
  strides[0] = 68;
  GIVES(1, cuTensorMapEncodeTiled(&map, TSR_CU_TENSOR_F32, 2, base, dims, strides, box, steps, 0,
                                  TSR_CU_SWIZZLE_64, 2, 0));
  strides[0] = 64;
  GIVES(1, cuTensorMapEncodeTiled(&map, TSR_CU_TENSOR_F32, 2, (char *)base + 8, dims, strides, box,
                                  steps, 0, TSR_CU_SWIZZLE_64, 2, 0));
  GIVES(1, cuTensorMapEncodeTiled(&map, TSR_CU_TENSOR_F32, 2, &r, dims, strides, box, steps, 0,
                                  TSR_CU_SWIZZLE_64, 2, 0));
  OK(cuMemFree_v2(x));
  end();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("driver");
  TCase *tc = tcase_create("driver");
  int count = (int)(sizeof seeds / sizeof *seeds);
  tcase_set_timeout(tc, 60);
  tcase_add_loop_test(tc, streams_keep_their_order, 0, count);
  tcase_add_loop_test(tc, events_order_streams, 0, count);
  tcase_add_test(tc, missing_wait_is_found);
  tcase_add_loop_test(tc, missing_wait_is_found_at_random, 0, count - 2);
  tcase_add_loop_test(tc, null_stream_orders_blocking_streams, 0, count);
  tcase_add_test(tc, findings_stay);
  tcase_add_test(tc, rows_are_copied);
  tcase_add_test(tc, memory_is_watched);
  tcase_add_test(tc, limits_of_launches);
  tcase_add_test(tc, many_kernels_and_rows_of_blocks);
  tcase_add_test(tc, images);
  tcase_add_test(tc, devices_are_chosen);
  tcase_add_test(tc, calls_fail_when_asked);
  tcase_add_loop_test(tc, graphs_are_updated, 0, count);
  tcase_add_loop_test(tc, graphs_of_two_streams, 0, count);
  tcase_add_test(tc, event_times);
  tcase_add_test(tc, tensor_maps_have_the_limits);
  suite_add_tcase(suite, tc);
  const char *sanitizers = getenv("TESSERA_SANITIZE");
  if (sanitizers && *sanitizers) {
    puts("host_cannot_touch_device_memory: not run, a sanitizer takes the signal");
  } else {
    TCase *crash = tcase_create("crash");
    tcase_add_test_raise_signal(crash, host_cannot_touch_device_memory, 11);
    suite_add_tcase(suite, crash);
  }
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
