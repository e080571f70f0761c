/* The CUDA driver API (docs.nvidia.com/cuda/cuda-driver-api) by dlopen: no toolkit, no headers and
 * no link dependency. TSR_CUDA_DRIVER_LIST is the one list of entry points; the vtable, the loading
 * and the emulated driver of the tests (a shared library that exports the same names) come from it.
 *
 * X(result, name, (parameters)): every symbol that the runtime may call. */
#ifndef TSR_RUNTIME_CUDA_DRIVER_H
#define TSR_RUNTIME_CUDA_DRIVER_H
#include "runtime/diag.h"
#include <stddef.h>
#include <stdint.h>

typedef int tsr_cu_result; /* CUresult; 0 is success */
typedef int tsr_cu_device;
typedef uint64_t tsr_cu_pointer; /* CUdeviceptr */
typedef struct tsr_cu_context_st *tsr_cu_context;
typedef struct tsr_cu_module_st *tsr_cu_module;
typedef struct tsr_cu_function_st *tsr_cu_function;
typedef struct tsr_cu_stream_st *tsr_cu_stream;
typedef struct tsr_cu_event_st *tsr_cu_event;
typedef struct tsr_cu_graph_st *tsr_cu_graph;
typedef struct tsr_cu_graph_exec_st *tsr_cu_graph_exec;
typedef struct tsr_cu_graph_node_st *tsr_cu_graph_node;

/* CUlaunchAttribute: id and a 64-byte value. */
enum { TSR_CU_LAUNCH_COOPERATIVE = 2, TSR_CU_LAUNCH_CLUSTER = 4 };
typedef struct tsr_cu_launch_attribute {
  uint32_t id;
  char padding[4];
  union {
    char bytes[64];
    uint32_t cluster[3];
    int32_t cooperative;
  } value;
} tsr_cu_launch_attribute;

/* CUlaunchConfig. */
typedef struct tsr_cu_launch_config {
  uint32_t grid[3], block[3];
  uint32_t shared_bytes;
  tsr_cu_stream stream;
  tsr_cu_launch_attribute *attributes;
  uint32_t attribute_count;
} tsr_cu_launch_config;

/* CUDA_MEMCPY2D. */
typedef struct tsr_cu_copy_2d {
  size_t from_x, from_y;
  int from_kind; /* TSR_CU_MEMORY_... */
  const void *from_host;
  tsr_cu_pointer from_device;
  void *from_array;
  size_t from_pitch;
  size_t to_x, to_y;
  int to_kind;
  void *to_host;
  tsr_cu_pointer to_device;
  void *to_array;
  size_t to_pitch;
  size_t row_bytes, rows;
} tsr_cu_copy_2d;

/* CUtensorMap: opaque, 64-byte aligned. */
typedef struct tsr_cu_tensor_map {
  _Alignas(64) uint64_t opaque[16];
} tsr_cu_tensor_map;

/* CUgraphExecUpdateResultInfo. */
typedef struct tsr_cu_graph_update {
  int32_t result;
  tsr_cu_graph_node error_node, error_from_node;
} tsr_cu_graph_update;

/* Numbers of the interface that are used here. */
enum {
  TSR_CU_ERROR_INVALID_VALUE = 1,
  TSR_CU_ERROR_OUT_OF_MEMORY = 2,
  TSR_CU_ERROR_NO_DEVICE = 100,
  TSR_CU_ERROR_INVALID_IMAGE = 200,
  TSR_CU_ERROR_NO_BINARY = 209,
  TSR_CU_ERROR_INVALID_PTX = 218,
  TSR_CU_ERROR_UNSUPPORTED_PTX = 222,
  TSR_CU_ERROR_NOT_FOUND = 500,
  TSR_CU_ERROR_ILLEGAL_ADDRESS = 700,
  TSR_CU_ERROR_LAUNCH_FAILED = 719,

  TSR_CU_ATTRIBUTE_MAX_SHARED_PER_BLOCK_OPTIN = 97,
  TSR_CU_ATTRIBUTE_MULTIPROCESSORS = 16,
  TSR_CU_ATTRIBUTE_CLOCK_KHZ = 13,
  TSR_CU_ATTRIBUTE_MEMORY_CLOCK_KHZ = 36,
  TSR_CU_ATTRIBUTE_MEMORY_BUS_BITS = 37,
  TSR_CU_ATTRIBUTE_L2_BYTES = 38,
  TSR_CU_ATTRIBUTE_MAJOR = 75,
  TSR_CU_ATTRIBUTE_MINOR = 76,
  TSR_CU_ATTRIBUTE_COOPERATIVE = 95,
  TSR_CU_ATTRIBUTE_MEMORY_POOLS = 115,

  TSR_CU_FUNCTION_MAX_DYNAMIC_SHARED = 8,
  TSR_CU_FUNCTION_NON_PORTABLE_CLUSTER = 14,
  TSR_CU_FUNCTION_LOCAL_BYTES = 3,
  TSR_CU_FUNCTION_REGISTERS = 4,

  TSR_CU_STREAM_NON_BLOCKING = 1,
  TSR_CU_CAPTURE_THREAD_LOCAL = 1,
  TSR_CU_EVENT_DISABLE_TIMING = 2,
  TSR_CU_POINTER_MEMORY_TYPE = 2,
  TSR_CU_MEMORY_HOST = 1,
  TSR_CU_MEMORY_DEVICE = 2,

  TSR_CU_TENSOR_U8 = 0,
  TSR_CU_TENSOR_U16 = 1,
  TSR_CU_TENSOR_U32 = 2,
  TSR_CU_TENSOR_S32 = 3,
  TSR_CU_TENSOR_U64 = 4,
  TSR_CU_TENSOR_S64 = 5,
  TSR_CU_TENSOR_F16 = 6,
  TSR_CU_TENSOR_F32 = 7,
  TSR_CU_TENSOR_F64 = 8,
  TSR_CU_TENSOR_BF16 = 9,
  TSR_CU_SWIZZLE_NONE = 0,
  TSR_CU_SWIZZLE_32 = 1,
  TSR_CU_SWIZZLE_64 = 2,
  TSR_CU_SWIZZLE_128 = 3,
  TSR_CU_L2_PROMOTION_128 = 2,
};

#define TSR_CUDA_DRIVER_LIST(X)                                                                    \
  X(tsr_cu_result, cuInit, (unsigned flags))                                                       \
  X(tsr_cu_result, cuDriverGetVersion, (int *version))                                             \
  X(tsr_cu_result, cuGetErrorName, (tsr_cu_result error, const char **text))                       \
  X(tsr_cu_result, cuGetErrorString, (tsr_cu_result error, const char **text))                     \
  X(tsr_cu_result, cuDeviceGetCount, (int *count))                                                 \
  X(tsr_cu_result, cuDeviceGet, (tsr_cu_device * device, int ordinal))                             \
  X(tsr_cu_result, cuDeviceGetName, (char *name, int length, tsr_cu_device device))                \
  X(tsr_cu_result, cuDeviceGetAttribute, (int *value, int attribute, tsr_cu_device device))        \
  X(tsr_cu_result, cuDeviceTotalMem_v2, (size_t * bytes, tsr_cu_device device))                    \
  X(tsr_cu_result, cuDevicePrimaryCtxRetain, (tsr_cu_context * context, tsr_cu_device device))     \
  X(tsr_cu_result, cuDevicePrimaryCtxRelease_v2, (tsr_cu_device device))                           \
  X(tsr_cu_result, cuCtxPushCurrent_v2, (tsr_cu_context context))                                  \
  X(tsr_cu_result, cuCtxPopCurrent_v2, (tsr_cu_context * context))                                 \
  X(tsr_cu_result, cuCtxSynchronize, (void))                                                       \
  X(tsr_cu_result, cuModuleLoadDataEx,                                                             \
    (tsr_cu_module * module, const void *image, unsigned option_count, int *options,               \
     void **values))                                                                               \
  X(tsr_cu_result, cuModuleUnload, (tsr_cu_module module))                                         \
  X(tsr_cu_result, cuModuleGetFunction,                                                            \
    (tsr_cu_function * function, tsr_cu_module module, const char *name))                          \
  X(tsr_cu_result, cuFuncSetAttribute, (tsr_cu_function function, int attribute, int value))       \
  X(tsr_cu_result, cuFuncGetAttribute, (int *value, int attribute, tsr_cu_function function))      \
  X(tsr_cu_result, cuOccupancyMaxActiveBlocksPerMultiprocessor,                                    \
    (int *blocks, tsr_cu_function function, int threads, size_t shared_bytes))                     \
  X(tsr_cu_result, cuLaunchKernelEx,                                                               \
    (const tsr_cu_launch_config *config, tsr_cu_function function, void **parameters,              \
     void **extra))                                                                                \
  X(tsr_cu_result, cuMemGetInfo_v2, (size_t * available, size_t * total))                          \
  X(tsr_cu_result, cuMemAlloc_v2, (tsr_cu_pointer * pointer, size_t bytes))                        \
  X(tsr_cu_result, cuMemFree_v2, (tsr_cu_pointer pointer))                                         \
  X(tsr_cu_result, cuMemAllocAsync,                                                                \
    (tsr_cu_pointer * pointer, size_t bytes, tsr_cu_stream stream))                                \
  X(tsr_cu_result, cuMemFreeAsync, (tsr_cu_pointer pointer, tsr_cu_stream stream))                 \
  X(tsr_cu_result, cuMemHostAlloc, (void **pointer, size_t bytes, unsigned flags))                 \
  X(tsr_cu_result, cuMemFreeHost, (void *pointer))                                                 \
  X(tsr_cu_result, cuMemcpyHtoDAsync_v2,                                                           \
    (tsr_cu_pointer to, const void *from, size_t bytes, tsr_cu_stream stream))                     \
  X(tsr_cu_result, cuMemcpyDtoHAsync_v2,                                                           \
    (void *to, tsr_cu_pointer from, size_t bytes, tsr_cu_stream stream))                           \
  X(tsr_cu_result, cuMemcpyDtoDAsync_v2,                                                           \
    (tsr_cu_pointer to, tsr_cu_pointer from, size_t bytes, tsr_cu_stream stream))                  \
  X(tsr_cu_result, cuMemcpy2DAsync_v2, (const tsr_cu_copy_2d *copy, tsr_cu_stream stream))         \
  X(tsr_cu_result, cuMemsetD8Async,                                                                \
    (tsr_cu_pointer to, unsigned char value, size_t bytes, tsr_cu_stream stream))                  \
  X(tsr_cu_result, cuPointerGetAttribute, (void *value, int attribute, tsr_cu_pointer pointer))    \
  X(tsr_cu_result, cuStreamCreate, (tsr_cu_stream * stream, unsigned flags))                       \
  X(tsr_cu_result, cuStreamDestroy_v2, (tsr_cu_stream stream))                                     \
  X(tsr_cu_result, cuStreamSynchronize, (tsr_cu_stream stream))                                    \
  X(tsr_cu_result, cuStreamWaitEvent, (tsr_cu_stream stream, tsr_cu_event event, unsigned flags))  \
  X(tsr_cu_result, cuStreamBeginCapture_v2, (tsr_cu_stream stream, int mode))                      \
  X(tsr_cu_result, cuStreamEndCapture, (tsr_cu_stream stream, tsr_cu_graph * graph))               \
  X(tsr_cu_result, cuEventCreate, (tsr_cu_event * event, unsigned flags))                          \
  X(tsr_cu_result, cuEventRecord, (tsr_cu_event event, tsr_cu_stream stream))                      \
  X(tsr_cu_result, cuEventSynchronize, (tsr_cu_event event))                                       \
  X(tsr_cu_result, cuEventElapsedTime,                                                             \
    (float *milliseconds, tsr_cu_event start, tsr_cu_event end))                                   \
  X(tsr_cu_result, cuEventDestroy_v2, (tsr_cu_event event))                                        \
  X(tsr_cu_result, cuGraphInstantiateWithFlags,                                                    \
    (tsr_cu_graph_exec * exec, tsr_cu_graph graph, unsigned long long flags))                      \
  X(tsr_cu_result, cuGraphExecUpdate_v2,                                                           \
    (tsr_cu_graph_exec exec, tsr_cu_graph graph, tsr_cu_graph_update * result))                    \
  X(tsr_cu_result, cuGraphLaunch, (tsr_cu_graph_exec exec, tsr_cu_stream stream))                  \
  X(tsr_cu_result, cuGraphExecDestroy, (tsr_cu_graph_exec exec))                                   \
  X(tsr_cu_result, cuGraphDestroy, (tsr_cu_graph graph))                                           \
  X(tsr_cu_result, cuTensorMapEncodeTiled,                                                         \
    (tsr_cu_tensor_map * map, int dtype, uint32_t rank, void *base, const uint64_t *dims,          \
     const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,                \
     int interleave, int swizzle, int l2_promotion, int out_of_bounds_fill))

/* What the names of devices begin with that are emulated, which take texts (image.h) and nothing
 * else. */
#define TSR_CUDA_EMULATED_NAME "Emulated device"

/* The vtable. */
typedef struct tsr_cuda_driver {
#define TSR_CUDA_DRIVER_FIELD(result, name, parameters) result(*name) parameters;
  TSR_CUDA_DRIVER_LIST(TSR_CUDA_DRIVER_FIELD)
#undef TSR_CUDA_DRIVER_FIELD
  void *library;
} tsr_cuda_driver;

/* Opens the library in $TESSERA_CUDA_DRIVER, or libcuda.so.1, fills the vtable and calls cuInit.
 * The library stays loaded for the life of the process. TSR_ERR_DEVICE: the message says what is
 * missing (driver, an entry point of a driver too old, a device), what to do, and what works
 * without it. Any thread. */
TSR_WARN_UNUSED tsr_status tsr_cuda_driver_open(tsr_cuda_driver *out_driver, tsr_diag *diag);

#endif
