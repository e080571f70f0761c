#include "frontend/onnx/tensor_data.h"
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ONNX tensor bytes are little-endian and are used in place"
#endif

enum { MAX_RANK = 64, FIELD_RAW_DATA = 9, LOCATION_EXTERNAL = 1 };

#define DATA_TYPE_CASE(number, name, dtype)                                                        \
  case number:                                                                                     \
    return dtype;
tsr_dtype tsr_onnx_dtype(int64_t data_type) {
  switch (data_type) { TSR_ONNX_DTYPE_LIST(DATA_TYPE_CASE) }
  return TSR_DTYPE_NONE;
}

#define DATA_NAME_CASE(number, name, dtype)                                                        \
  case number:                                                                                     \
    return name;
const char *tsr_onnx_dtype_name(int64_t data_type) {
  switch (data_type) { TSR_ONNX_DTYPE_LIST(DATA_NAME_CASE) }
  return "?";
}

static const char *label(const tsr_onnx_tensor *tensor) {
  return tensor->name[0] ? tensor->name : "(unnamed)";
}

static tsr_status count_elements(const tsr_onnx_data_source *source, tsr_onnx_tensor *tensor) {
  if (tensor->dims.count > MAX_RANK)
    return tsr_fail(source->diag, TSR_ERR_LIMIT, "tensor '%s' has %llu dims, more than %d",
                    label(tensor), (unsigned long long)tensor->dims.count, MAX_RANK);
  bool empty = false;
  for (uint64_t i = 0; i < tensor->dims.count; i++) {
    if (tensor->dims.items[i] < 0)
      return tsr_fail(source->diag, TSR_ERR_SHAPE, "tensor '%s': dim %llu is negative (%lld)",
                      label(tensor), (unsigned long long)i, (long long)tensor->dims.items[i]);
    empty |= tensor->dims.items[i] == 0;
  }
  int64_t elements = empty ? 0 : 1;
  for (uint64_t i = 0; i < tensor->dims.count && !empty; i++)
    if (__builtin_mul_overflow(elements, tensor->dims.items[i], &elements))
      return tsr_fail(source->diag, TSR_ERR_SHAPE, "tensor '%s': the product of its dims overflows",
                      label(tensor));
  tensor->elements = elements;
  return TSR_OK;
}

static tsr_status wrong_length(const tsr_onnx_data_source *source, const tsr_onnx_tensor *tensor,
                               uint64_t found, const char *unit, uint64_t wanted) {
  return tsr_fail(source->diag, TSR_ERR_FORMAT,
                  "tensor '%s' (%s, %lld elements) has %llu %s of data where %llu are needed",
                  label(tensor), tsr_onnx_dtype_name(tensor->data_type),
                  (long long)tensor->elements, (unsigned long long)found, unit,
                  (unsigned long long)wanted);
}

static bool parse_unsigned(const char *text, uint64_t *out_value) {
  uint64_t value = 0;
  *out_value = 0;
  if (!*text)
    return false;
  for (; *text; text++) {
    if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10u, &value) ||
        __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
      return false;
  }
  *out_value = value;
  return true;
}

typedef struct external_reference {
  const char *location;
  uint64_t offset, length;
  bool has_length;
} external_reference;

static tsr_status read_reference(const tsr_onnx_data_source *source, const tsr_onnx_tensor *tensor,
                                 external_reference *out) {
  memset(out, 0, sizeof *out);
  for (uint64_t i = 0; i < tensor->external_data.count; i++) {
    const tsr_onnx_entry *entry = &tensor->external_data.items[i];
    bool good = true;
    if (strcmp(entry->key, "location") == 0)
      out->location = entry->value;
    else if (strcmp(entry->key, "offset") == 0)
      good = parse_unsigned(entry->value, &out->offset);
    else if (strcmp(entry->key, "length") == 0)
      good = out->has_length = parse_unsigned(entry->value, &out->length);
    if (!good)
      return tsr_fail(source->diag, TSR_ERR_FORMAT, "tensor '%s': external data %s '%s' is no size",
                      label(tensor), entry->key, entry->value);
  }
  if (!out->location)
    return tsr_fail(source->diag, TSR_ERR_FORMAT, "tensor '%s': external data without a location",
                    label(tensor));
  return TSR_OK;
}

static tsr_status resolve_external(const tsr_onnx_data_source *source, tsr_onnx_tensor *tensor) {
  external_reference reference;
  const tsr_onnx_mapping *mapping = NULL;
  TSR_TRY(read_reference(source, tensor, &reference));
  if (!source->model_path)
    return tsr_fail(source->diag, TSR_ERR_IO,
                    "tensor '%s' is in external file '%s', but the model was given as bytes in "
                    "memory; open it as a file",
                    label(tensor), reference.location);
  TSR_TRY(tsr_onnx_map_external(source->mappings, source->arena, source->model_path,
                                reference.location, &mapping, source->diag));
  uint64_t length = reference.has_length ? reference.length : tensor->bytes;
  if (reference.offset > mapping->size || length > mapping->size - reference.offset)
    return tsr_fail(source->diag, TSR_ERR_FORMAT,
                    "tensor '%s': bytes %llu to %llu + %llu are outside external file '%s' of %llu "
                    "bytes",
                    label(tensor), (unsigned long long)reference.offset,
                    (unsigned long long)reference.offset, (unsigned long long)length, mapping->path,
                    (unsigned long long)mapping->size);
  if (length != tensor->bytes)
    return wrong_length(source, tensor, length, "bytes", tensor->bytes);
  tensor->data = mapping->data ? (const char *)mapping->data + reference.offset : "";
  return TSR_OK;
}

/* The typed list that onnx.proto prescribes for the type. */
typedef struct typed_list {
  const char *items;
  uint64_t count;
  unsigned stride; /* bytes of an item as decoded */
  unsigned width;  /* bytes of it that count, the lowest ones */
  uint64_t items_wanted;
} typed_list;

static typed_list select_list(const tsr_onnx_tensor *tensor) {
  typed_list list = {.items_wanted = (uint64_t)tensor->elements};
  unsigned bits = tsr_dtype_bits(tensor->dtype);
  list.width = bits < 8 ? 1 : bits / 8;
  list.stride = sizeof(int64_t);
  switch (tensor->dtype) {
  case TSR_F32:
    list.items = (const char *)tensor->float_data.items;
    list.count = tensor->float_data.count;
    list.stride = sizeof(float);
    break;
  case TSR_F64:
    list.items = (const char *)tensor->double_data.items;
    list.count = tensor->double_data.count;
    break;
  case TSR_I64:
    list.items = (const char *)tensor->int64_data.items;
    list.count = tensor->int64_data.count;
    break;
  case TSR_U32:
  case TSR_U64:
    list.items = (const char *)tensor->uint64_data.items;
    list.count = tensor->uint64_data.count;
    break;
  default:
    list.items = (const char *)tensor->int32_data.items;
    list.count = tensor->int32_data.count;
    if (bits < 8)
      list.items_wanted = tensor->bytes;
  }
  return list;
}

static tsr_status resolve_typed(const tsr_onnx_data_source *source, tsr_onnx_tensor *tensor) {
  typed_list list = select_list(tensor);
  if (list.count != list.items_wanted)
    return wrong_length(source, tensor, list.count, "items", list.items_wanted);
  char *data = tsr_arena_alloc(source->arena, (size_t)tensor->bytes);
  if (!data)
    return tsr_fail(source->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory for tensor '%s'",
                    label(tensor));
  for (uint64_t i = 0; i < list.count; i++)
    memcpy(data + i * list.width, list.items + i * list.stride, list.width);
  tensor->data = data;
  return TSR_OK;
}

/* bool is 0 or 1 everywhere in Tessera; a file may hold any non-zero byte as true. */
static tsr_status normalise_bool(const tsr_onnx_data_source *source, tsr_onnx_tensor *tensor) {
  const unsigned char *bytes = tensor->data;
  uint64_t i = 0;
  while (i < tensor->bytes && bytes[i] <= 1)
    i++;
  if (i == tensor->bytes)
    return TSR_OK;
  unsigned char *copy = tsr_arena_alloc(source->arena, (size_t)tensor->bytes);
  if (!copy)
    return tsr_fail(source->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory for tensor '%s'",
                    label(tensor));
  for (i = 0; i < tensor->bytes; i++)
    copy[i] = bytes[i] != 0;
  tensor->data = copy;
  return TSR_OK;
}

tsr_status tsr_onnx_tensor_resolve(const tsr_onnx_data_source *source, tsr_onnx_tensor *tensor) {
  TSR_TRY(count_elements(source, tensor));
  tensor->dtype = tsr_onnx_dtype(tensor->data_type);
  if (tensor->dtype == TSR_DTYPE_NONE)
    return TSR_OK;
  int64_t bytes = tsr_dtype_bytes(tensor->dtype, tensor->elements);
  if (bytes < 0)
    return tsr_fail(source->diag, TSR_ERR_SHAPE, "tensor '%s': its size in bytes overflows",
                    label(tensor));
  tensor->bytes = (uint64_t)bytes;
  if (tensor->data_location == LOCATION_EXTERNAL)
    TSR_TRY(resolve_external(source, tensor));
  else if (TSR_WIRE_HAS(tensor, FIELD_RAW_DATA)) {
    if (tensor->raw_data.size != tensor->bytes)
      return wrong_length(source, tensor, tensor->raw_data.size, "bytes", tensor->bytes);
    tensor->data = tensor->bytes > 0 ? tensor->raw_data.data : "";
  } else
    TSR_TRY(resolve_typed(source, tensor));
  if (tensor->dtype == TSR_BOOL)
    TSR_TRY(normalise_bool(source, tensor));
  return TSR_OK;
}
