/* The structures of DLPack (dmlc.github.io/dlpack, C API, versions 0.8 to 1.1), as far as Tessera
 * exchanges tensors: same names, same memory layout. Include your own dlpack.h before this header
 * and that one is used instead (its guard is DLPACK_DLPACK_H_). */
#ifndef TESSERA_DLPACK_H
#define TESSERA_DLPACK_H
#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where the data lies: host memory, memory of a CUDA device, pinned host memory, memory that CUDA
 * moves between both. <tessera/runtime.h> says which is taken where. */
typedef enum {
  kDLCPU = 1,
  kDLCUDA = 2,
  kDLCUDAHost = 3,
  kDLCUDAManaged = 13,
} DLDeviceType;

typedef struct DLDevice {
  DLDeviceType device_type;
  int32_t device_id;
} DLDevice;

/* Kinds of elements. Bits and lanes complete the type; lanes is always 1 here. Elements of fewer
 * than 8 bits are packed from the least significant bit. */
typedef enum {
  kDLInt = 0,
  kDLUInt = 1,
  kDLFloat = 2,
  kDLOpaqueHandle = 3,
  kDLBfloat = 4,
  kDLBool = 6,
  kDLFloat8_e4m3fn = 10,
  kDLFloat8_e4m3fnuz = 11,
  kDLFloat8_e5m2 = 12,
  kDLFloat8_e5m2fnuz = 13,
  kDLFloat8_e8m0fnu = 14,
  kDLFloat6_e2m3fn = 15,
  kDLFloat6_e3m2fn = 16,
  kDLFloat4_e2m1fn = 17,
} DLDataTypeCode;

typedef struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
} DLDataType;

/* A view: owns nothing. The first element is at (char *)data + byte_offset. `strides`, in elements,
 * may be NULL for a compact row-major tensor. */
typedef struct DLTensor {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape;
  int64_t *strides;
  uint64_t byte_offset;
} DLTensor;

/* A tensor with an owner. Whoever holds it calls deleter(self) once, from any thread. */
typedef struct DLManagedTensor {
  DLTensor dl_tensor;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensor *self);
} DLManagedTensor;

#ifdef __cplusplus
}
#endif
#endif
#endif
