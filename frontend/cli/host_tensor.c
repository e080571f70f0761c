#include "frontend/cli/host_tensor.h"
#include "runtime/float_convert.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/allocator.h>

enum { ALIGNMENT = 64 };

_Static_assert(sizeof(const char *) == 8, "texts are elements of 64 bits");

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

tsr_status tsr_host_tensor_create_text(tsr_host_tensor *out_tensor, uint32_t rank,
                                       const int64_t *dims, size_t character_bytes,
                                       tsr_diag *diag) {
  TSR_TRY(tsr_host_tensor_create(out_tensor, TSR_I64, rank, dims, diag));
  out_tensor->is_text = true;
  out_tensor->characters = calloc(character_bytes + 1, 1);
  out_tensor->character_bytes = character_bytes;
  if (out_tensor->characters == NULL) {
    tsr_host_tensor_destroy(out_tensor);
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for %zu bytes of texts",
                    character_bytes);
  }
  /* The byte behind the last one stays zero. */
  const char **texts = out_tensor->data;
  for (int64_t i = 0; i < out_tensor->count; i++)
    texts[i] = out_tensor->characters + character_bytes;
  return TSR_OK;
}

void tsr_host_tensor_destroy(tsr_host_tensor *tensor) {
  const tsr_allocator *allocator = tsr_allocator_default();
  if (tensor->data != NULL)
    allocator->release(allocator->context, tensor->data, allocated_bytes(tensor));
  free(tensor->characters);
  *tensor = (tsr_host_tensor){0};
}

tsr_status tsr_host_items_create(tsr_host_items *out_items, uint64_t count, tsr_diag *diag) {
  *out_items = (tsr_host_items){.count = count};
  out_items->items = calloc((size_t)count + 1, sizeof *out_items->items);
  if (out_items->items != NULL)
    return TSR_OK;
  *out_items = (tsr_host_items){0};
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for a list of tensors");
}

void tsr_host_items_destroy(tsr_host_items *items) {
  for (uint64_t i = 0; i < items->count; i++)
    tsr_host_tensor_destroy(&items->items[i]);
  free(items->items);
  *items = (tsr_host_items){0};
}

const char *tsr_host_tensor_text(const tsr_host_tensor *tensor, int64_t element) {
  return ((const char *const *)tensor->data)[element];
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

/* Points elements at words that are here for good. */
static void fill_random_texts(tsr_host_tensor *tensor, uint64_t seed) {
  static const char *const words[] = {"", "a", "B", "one", "Two", "3", "-4.5", "two words"};
  const char **texts = tensor->data;
  uint64_t state = seed;
  for (int64_t i = 0; i < tensor->count; i++)
    texts[i] = words[(next_random(&state) >> 32) % (sizeof words / sizeof *words)];
}

void tsr_host_tensor_fill_random(tsr_host_tensor *tensor, uint64_t seed) {
  uint64_t state = seed;
  if (tensor->is_text) {
    fill_random_texts(tensor, seed);
    return;
  }
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

void tsr_host_tensor_type_text(const tsr_host_tensor *tensor, char *out, size_t out_size) {
  int used =
      snprintf(out, out_size, "%s[", tensor->is_text ? "text" : tsr_dtype_text(tensor->dtype));
  for (uint32_t i = 0; i < tensor->rank && used >= 0 && (size_t)used < out_size; i++)
    used += snprintf(out + used, out_size - (size_t)used, "%s%" PRId64, i > 0 ? ", " : "",
                     tensor->dims[i]);
  if (used >= 0 && (size_t)used < out_size)
    snprintf(out + used, out_size - (size_t)used, "]");
}

static void summarize_texts(const tsr_host_tensor *tensor, FILE *stream) {
  enum { MOST = 4 };
  for (int64_t i = 0; i < tensor->count && i < MOST; i++)
    fprintf(stream, "%s\"%.60s\"", i == 0 ? " " : ", ", tsr_host_tensor_text(tensor, i));
  if (tensor->count > MOST)
    fputs(" ..", stream);
}

static void summarize_numbers(const tsr_host_tensor *tensor, FILE *stream) {
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
  if (tensor->count > nans)
    fprintf(stream, " min %.6g max %.6g mean %.6g", low, high,
            sum / (double)(tensor->count - nans));
  if (nans > 0)
    fprintf(stream, " NaN %" PRId64, nans);
}

void tsr_host_tensor_summarize(const tsr_host_tensor *tensor, FILE *stream) {
  char type[512];
  tsr_host_tensor_type_text(tensor, type, sizeof type);
  fputs(type, stream);
  if (tensor->is_text)
    summarize_texts(tensor, stream);
  else
    summarize_numbers(tensor, stream);
}
