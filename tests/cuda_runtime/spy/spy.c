#include "tests/cuda_runtime/spy/spy.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static spy_state state = {.failed = -1};
static tsr_cuda_driver real;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

EXPORT spy_state *tsr_spy_get(void) {
  return &state;
}

/* The arguments of each entry point, to hand them on. */
#define ARGS_cuInit                                      (flags)
#define ARGS_cuDriverGetVersion                          (version)
#define ARGS_cuGetErrorName                              (error, text)
#define ARGS_cuGetErrorString                            (error, text)
#define ARGS_cuDeviceGetCount                            (count)
#define ARGS_cuDeviceGet                                 (device, ordinal)
#define ARGS_cuDeviceGetName                             (name, length, device)
#define ARGS_cuDeviceGetAttribute                        (value, attribute, device)
#define ARGS_cuDeviceTotalMem_v2                         (bytes, device)
#define ARGS_cuDevicePrimaryCtxRetain                    (context, device)
#define ARGS_cuDevicePrimaryCtxRelease_v2                (device)
#define ARGS_cuCtxPushCurrent_v2                         (context)
#define ARGS_cuCtxPopCurrent_v2                          (context)
#define ARGS_cuCtxSynchronize                            ()
#define ARGS_cuModuleLoadDataEx                          (module, image, option_count, options, values)
#define ARGS_cuModuleUnload                              (module)
#define ARGS_cuModuleGetFunction                         (function, module, name)
#define ARGS_cuFuncSetAttribute                          (function, attribute, value)
#define ARGS_cuFuncGetAttribute                          (value, attribute, function)
#define ARGS_cuOccupancyMaxActiveBlocksPerMultiprocessor (blocks, function, threads, shared_bytes)
#define ARGS_cuLaunchKernelEx                            (config, function, parameters, extra)
#define ARGS_cuMemGetInfo_v2                             (available, total)
#define ARGS_cuMemAlloc_v2                               (pointer, bytes)
#define ARGS_cuMemFree_v2                                (pointer)
#define ARGS_cuMemAllocAsync                             (pointer, bytes, stream)
#define ARGS_cuMemFreeAsync                              (pointer, stream)
#define ARGS_cuMemHostAlloc                              (pointer, bytes, flags)
#define ARGS_cuMemFreeHost                               (pointer)
#define ARGS_cuMemcpyHtoDAsync_v2                        (to, from, bytes, stream)
#define ARGS_cuMemcpyDtoHAsync_v2                        (to, from, bytes, stream)
#define ARGS_cuMemcpyDtoDAsync_v2                        (to, from, bytes, stream)
#define ARGS_cuMemcpy2DAsync_v2                          (copy, stream)
#define ARGS_cuMemsetD8Async                             (to, value, bytes, stream)
#define ARGS_cuPointerGetAttribute                       (value, attribute, pointer)
#define ARGS_cuStreamCreate                              (stream, flags)
#define ARGS_cuStreamDestroy_v2                          (stream)
#define ARGS_cuStreamSynchronize                         (stream)
#define ARGS_cuStreamWaitEvent                           (stream, event, flags)
#define ARGS_cuStreamBeginCapture_v2                     (stream, mode)
#define ARGS_cuStreamEndCapture                          (stream, graph)
#define ARGS_cuEventCreate                               (event, flags)
#define ARGS_cuEventRecord                               (event, stream)
#define ARGS_cuEventSynchronize                          (event)
#define ARGS_cuEventElapsedTime                          (milliseconds, start, end)
#define ARGS_cuEventDestroy_v2                           (event)
#define ARGS_cuGraphInstantiateWithFlags                 (exec, graph, flags)
#define ARGS_cuGraphExecUpdate_v2                        (exec, graph, result)
#define ARGS_cuGraphLaunch                               (exec, stream)
#define ARGS_cuGraphExecDestroy                          (exec)
#define ARGS_cuGraphDestroy                              (graph)
#define ARGS_cuTensorMapEncodeTiled                                                                \
  (map, dtype, rank, base, dims, strides, box, element_strides, interleave, swizzle, l2_promotion, \
   out_of_bounds_fill)

/* What a call does to what is alive. */
static int effect(int call) {
  switch (call) {
  case SPY_cuDevicePrimaryCtxRetain:
  case SPY_cuCtxPushCurrent_v2:
  case SPY_cuModuleLoadDataEx:
  case SPY_cuMemAlloc_v2:
  case SPY_cuMemAllocAsync:
  case SPY_cuMemHostAlloc:
  case SPY_cuStreamCreate:
  case SPY_cuEventCreate:
  case SPY_cuGraphInstantiateWithFlags:
  case SPY_cuStreamEndCapture:
    return 1;
  case SPY_cuDevicePrimaryCtxRelease_v2:
  case SPY_cuCtxPopCurrent_v2:
  case SPY_cuModuleUnload:
  case SPY_cuMemFree_v2:
  case SPY_cuMemFreeAsync:
  case SPY_cuMemFreeHost:
  case SPY_cuStreamDestroy_v2:
  case SPY_cuEventDestroy_v2:
  case SPY_cuGraphExecDestroy:
  case SPY_cuGraphDestroy:
    return -1;
  default:
    return 0;
  }
}

static void open_real(void) {
  const char *path = getenv("TESSERA_SPIED_DRIVER");
  void *library = real.library != NULL || path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *symbol;
  if (library == NULL)
    return;
#define FIND(result, name, parameters)                                                             \
  symbol = dlsym(library, #name);                                                                  \
  memcpy(&real.name, &symbol, sizeof symbol);
  TSR_CUDA_DRIVER_LIST(FIND)
#undef FIND
  real.library = library;
}

/* The error that the call is to have, 0: none. */
static tsr_cu_result arrive(int call) {
  tsr_cu_result error = 0;
  (void)pthread_mutex_lock(&lock);
  open_real();
  state.calls[call]++;
  if (call != SPY_cuGetErrorName && call != SPY_cuGetErrorString) {
    state.total++;
    if (state.fail_at != 0 && --state.fail_at == 0) {
      error = state.error;
      state.failed = call;
    }
  }
  (void)pthread_mutex_unlock(&lock);
  return error;
}

static void depart(int call, tsr_cu_result result) {
  (void)pthread_mutex_lock(&lock);
  if (result == 0)
    state.live += effect(call);
  (void)pthread_mutex_unlock(&lock);
}

static void keep_launch(const tsr_cu_launch_config *config) {
  state.launch = *config;
  for (uint32_t i = 0; i < config->attribute_count && i < SPY_MOST_ATTRIBUTES; i++)
    state.attributes[i] = config->attributes[i];
}

static void keep_map(int dtype, int swizzle, uint32_t rank, void *base, const uint64_t *dims,
                     const uint64_t *strides, const uint32_t *box, const uint32_t *steps) {
  state.map = (spy_map){.dtype = dtype, .swizzle = swizzle, .rank = rank, .base = base};
  for (uint32_t i = 0; i < rank && i < 5; i++) {
    state.map.dims[i] = dims[i];
    state.map.box[i] = box[i];
    state.map.steps[i] = steps[i];
    if (i + 1 < rank)
      state.map.strides[i] = strides[i];
  }
}

/* A capture that fails has ended all the same, without a graph. */
static void drop_graph(tsr_cu_result wanted, tsr_cu_graph *graph) {
  if (wanted == 0 || *graph == NULL)
    return;
  (void)real.cuGraphDestroy(*graph);
  depart(SPY_cuGraphDestroy, 0);
  *graph = NULL;
}

static void hide_pools(int attribute, int *value) {
  if (state.no_pools && attribute == TSR_CU_ATTRIBUTE_MEMORY_POOLS)
    *value = 0;
}

/* What some calls do besides: EXTRA_name begins with a comma. */
#define EXTRA_cuLaunchKernelEx , keep_launch(config)
#define EXTRA_cuTensorMapEncodeTiled                                                               \
  , keep_map(dtype, swizzle, rank, base, dims, strides, box, element_strides)
#define EXTRA_cuDeviceGetAttribute  , hide_pools(attribute, value)
#define EXTRA_cuStreamEndCapture    , drop_graph(wanted, graph)
#define SECOND_(first, second, ...) second
#define SECOND(...)                 SECOND_(__VA_ARGS__)
#define EXTRA(name)                 SECOND(EXTRA_##name, (void)0, 0)

#define DEFINE(result_type, name, parameters)                                                      \
  EXPORT result_type name parameters;                                                              \
  EXPORT result_type name parameters {                                                             \
    tsr_cu_result wanted = arrive(SPY_##name), done;                                               \
    if (wanted != 0 && effect(SPY_##name) >= 0 && SPY_##name != SPY_cuStreamEndCapture)            \
      return wanted;                                                                               \
    done = real.name ARGS_##name;                                                                  \
    depart(SPY_##name, done);                                                                      \
    EXTRA(name);                                                                                   \
    return wanted != 0 ? wanted : done;                                                            \
  }
TSR_CUDA_DRIVER_LIST(DEFINE)
