#include "frontend/cli/host_tensor.h"
#include "runtime/float_convert.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <tessera/allocator.h>

enum { ALIGNMENT = 64 };

static size_t allocated_bytes(const tsr_host_tensor *tensor) {
  return tensor->bytes > 0 ? (size_t)tensor->bytes : 1;
}

tsr_status tsr_host_tensor_create(tsr_host_tensor *out_tensor, tsr_dtype dtype, uint32_t rank,
                                  const int64_t *dims, tsr_diag *diag) {
  *out_tensor = (tsr_host_tensor){.dtype = dtype, .rank = rank, .count = 1};
  if (rank > TSR_HOST_MAX_RANK)
    return tsr_fail(diag, TSR_ERR_SHAPE, "%" PRIu32 " dims; at most %d are supported", rank,
                    TSR_HOST_MAX_RANK);
  for (uint32_t i = 0; i < rank; i++) {
    if (dims[i] < 0)
      return tsr_fail(diag, TSR_ERR_SHAPE, "dim %" PRIu32 " is negative: %" PRId64, i, dims[i]);
    out_tensor->dims[i] = dims[i];
    if (__builtin_mul_overflow(out_tensor->count, dims[i], &out_tensor->count))
      return tsr_fail(diag, TSR_ERR_SHAPE, "the product of the dims overflows");
  }
  out_tensor->bytes = tsr_dtype_bytes(dtype, out_tensor->count);
  if (out_tensor->bytes < 0)
    return tsr_fail(diag, TSR_ERR_SHAPE, "the size in bytes overflows");
  const tsr_allocator *allocator = tsr_allocator_default();
  size_t bytes = allocated_bytes(out_tensor);
  out_tensor->data = allocator->allocate(allocator->context, bytes, ALIGNMENT);
  if (out_tensor->data == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for a tensor of %zu bytes", bytes);
  memset(out_tensor->data, 0, bytes);
  return TSR_OK;
}

void tsr_host_tensor_destroy(tsr_host_tensor *tensor) {
  const tsr_allocator *allocator = tsr_allocator_default();
  if (tensor->data != NULL)
    allocator->release(allocator->context, tensor->data, allocated_bytes(tensor));
  *tensor = (tsr_host_tensor){0};
}

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014). */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* The sum of twelve uniform numbers less six: normal to what a benchmark needs, and without the
 * library functions whose last bit differs between systems. */
static double next_normal(uint64_t *state) {
  double sum = -6.0;
  for (int i = 0; i < 12; i++)
    sum += (double)(next_random(state) >> 11) * 0x1p-53;
  return sum;
}

void tsr_host_tensor_fill_random(tsr_host_tensor *tensor, uint64_t seed) {
  uint64_t state = seed;
  tsr_dtype_class class = tsr_dtype_class_of(tensor->dtype);
  unsigned bits = tsr_dtype_bits(tensor->dtype);
  int64_t low = 0, values = 2;
  if (class == TSR_CLASS_INT || class == TSR_CLASS_UINT) {
    values = bits < 5 ? (int64_t)1 << bits : 16;
    low = class == TSR_CLASS_INT ? -values / 2 : 0;
  }
  for (int64_t i = 0; i < tensor->count; i++) {
    if (class == TSR_CLASS_FLOAT)
      tsr_element_store_f64(tensor->dtype, tensor->data, i, next_normal(&state));
    else
      tsr_element_store_i64(tensor->dtype, tensor->data, i,
                            low + (int64_t)(next_random(&state) >> 32) % values);
  }
}

void tsr_host_tensor_type_text(tsr_dtype dtype, uint32_t rank, const int64_t *dims, char *out,
                               size_t out_size) {
  int used = snprintf(out, out_size, "%s[", tsr_dtype_text(dtype));
  for (uint32_t i = 0; i < rank && used >= 0 && (size_t)used < out_size; i++)
    used += snprintf(out + used, out_size - (size_t)used, "%s%" PRId64, i > 0 ? ", " : "", dims[i]);
  if (used >= 0 && (size_t)used < out_size)
    snprintf(out + used, out_size - (size_t)used, "]");
}

void tsr_host_tensor_summarize(const tsr_host_tensor *tensor, FILE *stream) {
  char type[512];
  tsr_host_tensor_type_text(tensor->dtype, tensor->rank, tensor->dims, type, sizeof type);
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t nans = 0;
  for (int64_t i = 0; i < tensor->count; i++) {
    double value = tsr_element_load_f64(tensor->dtype, tensor->data, i);
    if (isnan(value)) {
      nans++;
      continue;
    }
    low = fmin(low, value);
    high = fmax(high, value);
    sum += value;
  }
  fputs(type, stream);
  if (tensor->count > nans)
    fprintf(stream, " min %.6g max %.6g mean %.6g", low, high,
            sum / (double)(tensor->count - nans));
  if (nans > 0)
    fprintf(stream, " NaN %" PRId64, nans);
}
