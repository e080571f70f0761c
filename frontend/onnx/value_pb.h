/* A value in a file of its own, as ONNX backend tests keep them (input_0.pb, output_0.pb): a
 * TensorProto, SequenceProto or OptionalProto. */
#ifndef TSR_FRONTEND_ONNX_VALUE_PB_H
#define TSR_FRONTEND_ONNX_VALUE_PB_H
#include "frontend/onnx/onnx_model.h"

/* Which message a file holds: it does not say so itself, its model's types do. */
typedef enum tsr_value_kind {
  TSR_VALUE_TENSOR,
  TSR_VALUE_SEQUENCE,
  TSR_VALUE_OPTIONAL /* of a tensor or of a sequence */
} tsr_value_kind;

typedef struct tsr_value_file {
  const char *name;       /* "" where the file has none */
  tsr_value_kind kind;    /* as asked for */
  bool is_list;           /* a sequence, or an optional that has one */
  bool absent;            /* an optional without a value */
  tsr_onnx_tensor *items; /* the tensor, or those of the list: dtype, dims, data and bytes are valid
                             until the file is closed. dtype NONE: texts, in string_data */
  uint64_t count;
  tsr_arena arena;
  tsr_onnx_mapping *mappings;
} tsr_value_file;

/* The kind of values of that type; NULL: a tensor. */
tsr_value_kind tsr_value_kind_of(const tsr_onnx_type *type);

/* Reads the value. TSR_ERR_UNSUPPORTED for complex numbers, sparse tensors, maps, and lists of
 * anything but tensors; TSR_ERR_IO, FORMAT, SHAPE, LIMIT; errors carry the path. On failure nothing
 * needs closing. */
TSR_WARN_UNUSED tsr_status tsr_value_file_open(tsr_value_file *out_file,
                                               const tsr_allocator *allocator, const char *path,
                                               tsr_value_kind kind, tsr_diag *diag);
/* The same over bytes in memory, which must outlive the value; external data is refused. */
TSR_WARN_UNUSED tsr_status tsr_value_file_parse(tsr_value_file *out_file,
                                                const tsr_allocator *allocator, const void *bytes,
                                                uint64_t size, tsr_value_kind kind, tsr_diag *diag);

void tsr_value_file_close(tsr_value_file *file);

/* Tensors of texts: `string_data` has one of `elements` each, which holds no zero byte. */
bool tsr_onnx_tensor_is_text(const tsr_onnx_tensor *tensor);

#endif
