/* Values in files of their own: tensors, sequences and optionals. What is accepted can be read to
 * its last byte, and every failure has a message. */
#include "frontend/onnx/value_pb.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char sink;

static void read_all(const void *bytes, uint64_t size) {
  for (uint64_t i = 0; i < size; i++)
    sink = ((const unsigned char *)bytes)[i];
}

static void look_at(const tsr_onnx_tensor *tensor) {
  if (!tsr_onnx_tensor_is_text(tensor)) {
    if (tsr_dtype_bytes(tensor->dtype, tensor->elements) != (int64_t)tensor->bytes)
      abort();
    read_all(tensor->data, tensor->bytes);
    return;
  }
  if (tensor->string_data.count != (uint64_t)tensor->elements)
    abort();
  for (uint64_t i = 0; i < tensor->string_data.count; i++)
    read_all(tensor->string_data.items[i].data, tensor->string_data.items[i].size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const tsr_value_kind kinds[] = {TSR_VALUE_TENSOR, TSR_VALUE_SEQUENCE, TSR_VALUE_OPTIONAL};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    tsr_value_file file;
    tsr_diag diag = {0};
    tsr_status status =
        tsr_value_file_parse(&file, tsr_allocator_default(), data, size, kinds[k], &diag);
    if (status != TSR_OK) {
      if (diag.message[0] == '\0')
        abort();
      continue;
    }
    if (file.absent && file.count != 0)
      abort();
    for (uint64_t i = 0; i < file.count; i++)
      look_at(&file.items[i]);
    tsr_value_file_close(&file);
  }
  return 0;
}
