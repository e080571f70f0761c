/* Tensor maps. The driver counts dims from the innermost one, the tables from the outermost. */
#include "runtime/cuda/cuda.h"
#include <tessera/dtype.h>

enum { MAX_MAP_RANK = 5, BASE_ALIGNMENT = 16, STRIDE_ALIGNMENT = 16 };

/* The driver knows no narrower floats than 16 bits: they travel as bytes. */
static int element_type(uint32_t dtype) {
  switch (dtype) {
  case TSR_F16:
    return TSR_CU_TENSOR_F16;
  case TSR_BF16:
    return TSR_CU_TENSOR_BF16;
  case TSR_F32:
    return TSR_CU_TENSOR_F32;
  case TSR_F64:
    return TSR_CU_TENSOR_F64;
  case TSR_I32:
    return TSR_CU_TENSOR_S32;
  case TSR_I64:
    return TSR_CU_TENSOR_S64;
  default:
    break;
  }
  switch (tsr_dtype_bits((tsr_dtype)dtype)) {
  case 8:
    return TSR_CU_TENSOR_U8;
  case 16:
    return TSR_CU_TENSOR_U16;
  case 32:
    return TSR_CU_TENSOR_U32;
  default:
    return TSR_CU_TENSOR_U64;
  }
}

static int swizzle_mode(uint32_t bytes) {
  switch (bytes) {
  case 32:
    return TSR_CU_SWIZZLE_32;
  case 64:
    return TSR_CU_SWIZZLE_64;
  case 128:
    return TSR_CU_SWIZZLE_128;
  default:
    return TSR_CU_SWIZZLE_NONE;
  }
}

/* Extents and byte strides, innermost first; NULL, or what no tensor map can describe. */
static const char *find_extents(const tsr_map_desc *map, const int64_t *dims, uint64_t buffer_bytes,
                                uint64_t *extents, uint64_t *strides) {
  uint64_t bytes = tsr_dtype_bits((tsr_dtype)map->dtype) / 8;
  for (uint32_t i = 0; i < map->rank; i++) {
    int64_t extent = dims[map->rank - 1 - i];
    if (extent <= 0 || extent > INT64_C(1) << 32)
      return "has an extent outside of 1..2^32";
    extents[i] = (uint64_t)extent;
    strides[i] = bytes;
    if (i != 0 && (bytes % STRIDE_ALIGNMENT != 0 || bytes >= UINT64_C(1) << 40))
      return "has rows that are no multiple of 16 bytes, or too long";
    if (__builtin_mul_overflow(bytes, extents[i], &bytes))
      return "overflows";
  }
  return bytes > buffer_bytes ? "reaches beyond its buffer" : NULL;
}

bool tsr_cuda_map_fits(const tsr_map_desc *map, const int64_t *dims, uint64_t buffer_bytes) {
  uint64_t extents[MAX_MAP_RANK], strides[MAX_MAP_RANK];
  return find_extents(map, dims, buffer_bytes, extents, strides) == NULL;
}

tsr_status tsr_cuda_encode_map(cuda_device *device, const tsr_map_desc *map, const int64_t *dims,
                               void *base, uint64_t buffer_bytes, const char *kernel,
                               tsr_diag *diag, tsr_cu_tensor_map *out_map) {
  static const uint32_t steps[MAX_MAP_RANK] = {1, 1, 1, 1, 1};
  uint64_t extents[MAX_MAP_RANK], strides[MAX_MAP_RANK];
  uint32_t box[MAX_MAP_RANK];
  const char *problem = find_extents(map, dims, buffer_bytes, extents, strides);
  if ((uintptr_t)base % BASE_ALIGNMENT != 0)
    problem = "is not aligned to 16 bytes";
  if (problem != NULL)
    return tsr_fail(diag, TSR_ERR_SHAPE, "kernel '%.100s': the tensor map of argument %u %s",
                    kernel, map->argument, problem);
  for (uint32_t i = 0; i < map->rank; i++)
    box[i] = map->box[map->rank - 1 - i];
  /* The stride of the innermost dim is the element's size and not passed. */
  return tsr_cuda_check(
      device, diag,
      device->driver.cuTensorMapEncodeTiled(out_map, element_type(map->dtype), map->rank, base,
                                            extents, strides + 1, box, steps, 0,
                                            swizzle_mode(map->swizzle), TSR_CU_L2_PROMOTION_128, 0),
      "cannot encode a tensor map");
}
