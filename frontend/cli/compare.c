#include "frontend/cli/compare.h"
#include "runtime/float_convert.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const double absolute = 1e-7, relative = 1e-3;

static bool floats_agree(double actual, double expected) {
  if (isnan(actual) || isnan(expected))
    return isnan(actual) && isnan(expected);
  if (isinf(actual) || isinf(expected))
    return actual == expected;
  return fabs(actual - expected) <= absolute + relative * fabs(expected);
}

static bool elements_agree(const tsr_host_tensor *actual, const tsr_host_tensor *expected,
                           int64_t index) {
  if (actual->is_text)
    return strcmp(tsr_host_tensor_text(actual, index), tsr_host_tensor_text(expected, index)) == 0;
  if (tsr_dtype_class_of(actual->dtype) != TSR_CLASS_FLOAT)
    return tsr_element_load_bits(actual->dtype, actual->data, index) ==
           tsr_element_load_bits(expected->dtype, expected->data, index);
  return floats_agree(tsr_element_load_f64(actual->dtype, actual->data, index),
                      tsr_element_load_f64(expected->dtype, expected->data, index));
}

static bool same_type(const tsr_host_tensor *actual, const tsr_host_tensor *expected) {
  return actual->dtype == expected->dtype && actual->is_text == expected->is_text &&
         actual->rank == expected->rank &&
         memcmp(actual->dims, expected->dims, actual->rank * sizeof *actual->dims) == 0;
}

static void describe_texts(const tsr_host_tensor *actual, const tsr_host_tensor *expected,
                           int64_t first, int64_t different, char *out_reason, size_t reason_size) {
  snprintf(out_reason, reason_size,
           "element %" PRId64 " is \"%.100s\", not \"%.100s\"; %" PRId64 " of %" PRId64 " differ",
           first, tsr_host_tensor_text(actual, first), tsr_host_tensor_text(expected, first),
           different, actual->count);
}

static void describe_numbers(const tsr_host_tensor *actual, const tsr_host_tensor *expected,
                             int64_t first, int64_t different, char *out_reason,
                             size_t reason_size) {
  double largest = 0;
  for (int64_t i = first; i < actual->count; i++) {
    if (!elements_agree(actual, expected, i))
      largest = fmax(largest, fabs(tsr_element_load_f64(actual->dtype, actual->data, i) -
                                   tsr_element_load_f64(expected->dtype, expected->data, i)));
  }
  snprintf(out_reason, reason_size,
           "element %" PRId64 " is %.9g, not %.9g; %" PRId64 " of %" PRId64
           " differ, by %.3g at most",
           first, tsr_element_load_f64(actual->dtype, actual->data, first),
           tsr_element_load_f64(expected->dtype, expected->data, first), different, actual->count,
           largest);
}

bool tsr_tensors_agree(const tsr_host_tensor *actual, const tsr_host_tensor *expected,
                       char *out_reason, size_t reason_size) {
  if (!same_type(actual, expected)) {
    char is[256], wanted[256];
    tsr_host_tensor_type_text(actual, is, sizeof is);
    tsr_host_tensor_type_text(expected, wanted, sizeof wanted);
    snprintf(out_reason, reason_size, "is %s, not %s", is, wanted);
    return false;
  }
  int64_t first = -1, different = 0;
  for (int64_t i = 0; i < actual->count; i++) {
    if (!elements_agree(actual, expected, i) && different++ == 0)
      first = i;
  }
  if (different > 0)
    (actual->is_text ? describe_texts : describe_numbers)(actual, expected, first, different,
                                                          out_reason, reason_size);
  return different == 0;
}

bool tsr_items_agree(const tsr_host_items *actual, const tsr_host_items *expected, char *out_reason,
                     size_t reason_size) {
  if (actual->absent != expected->absent) {
    snprintf(out_reason, reason_size, "is %s, not %s", actual->absent ? "absent" : "there",
             expected->absent ? "absent" : "there");
    return false;
  }
  if (actual->count != expected->count) {
    snprintf(out_reason, reason_size, "has %" PRIu64 " tensors, not %" PRIu64, actual->count,
             expected->count);
    return false;
  }
  for (uint64_t i = 0; i < actual->count; i++) {
    char reason[512];
    if (tsr_tensors_agree(&actual->items[i], &expected->items[i], reason, sizeof reason))
      continue;
    if (actual->count == 1)
      snprintf(out_reason, reason_size, "%s", reason);
    else
      snprintf(out_reason, reason_size, "tensor %" PRIu64 " of the list: %s", i, reason);
    return false;
  }
  return true;
}
