/* An ONNX model as plain structures (names as in onnx.proto). The file is mapped; tensor bytes stay
 * in the mapping wherever the file has them as raw_data or in an external file. */
#ifndef TSR_FRONTEND_ONNX_ONNX_MODEL_H
#define TSR_FRONTEND_ONNX_ONNX_MODEL_H
#include "frontend/onnx/wire_walk.h"
#include <tessera/dtype.h>

typedef struct tsr_onnx_graph tsr_onnx_graph;
typedef struct tsr_onnx_type tsr_onnx_type;

typedef struct tsr_onnx_entry {
  uint64_t present;
  const char *key;
  const char *value;
} tsr_onnx_entry;

/* data_type of TensorProto and elem_type of types; X(number, "name", tsr_dtype or NONE). */
#define TSR_ONNX_DTYPE_LIST(X)                                                                     \
  X(0, "UNDEFINED", TSR_DTYPE_NONE)                                                                \
  X(1, "FLOAT", TSR_F32)                                                                           \
  X(2, "UINT8", TSR_U8)                                                                            \
  X(3, "INT8", TSR_I8)                                                                             \
  X(4, "UINT16", TSR_U16)                                                                          \
  X(5, "INT16", TSR_I16)                                                                           \
  X(6, "INT32", TSR_I32)                                                                           \
  X(7, "INT64", TSR_I64)                                                                           \
  X(8, "STRING", TSR_DTYPE_NONE)                                                                   \
  X(9, "BOOL", TSR_BOOL)                                                                           \
  X(10, "FLOAT16", TSR_F16)                                                                        \
  X(11, "DOUBLE", TSR_F64)                                                                         \
  X(12, "UINT32", TSR_U32)                                                                         \
  X(13, "UINT64", TSR_U64)                                                                         \
  X(14, "COMPLEX64", TSR_DTYPE_NONE)                                                               \
  X(15, "COMPLEX128", TSR_DTYPE_NONE)                                                              \
  X(16, "BFLOAT16", TSR_BF16)                                                                      \
  X(17, "FLOAT8E4M3FN", TSR_F8E4M3)                                                                \
  X(18, "FLOAT8E4M3FNUZ", TSR_F8E4M3UZ)                                                            \
  X(19, "FLOAT8E5M2", TSR_F8E5M2)                                                                  \
  X(20, "FLOAT8E5M2FNUZ", TSR_F8E5M2UZ)                                                            \
  X(21, "UINT4", TSR_U4)                                                                           \
  X(22, "INT4", TSR_I4)                                                                            \
  X(23, "FLOAT4E2M1", TSR_F4E2M1)                                                                  \
  X(24, "FLOAT8E8M0", TSR_F8E8M0)                                                                  \
  X(25, "UINT2", TSR_U2)                                                                           \
  X(26, "INT2", TSR_I2)

enum { TSR_ONNX_STRING_DATA = 8 };

/* After loading: `dtype` is NONE for element types that Tessera has not (strings, complex), then
 * `data` is NULL; otherwise `data` is `bytes` bytes of dense elements in the machine's layout, at
 * any alignment. */
typedef struct tsr_onnx_tensor {
  uint64_t present;
  const char *name;
  TSR_WIRE_LIST(int64_t) dims;
  int64_t data_type;
  tsr_wire_bytes segment; /* no writer uses it */
  TSR_WIRE_LIST(float) float_data;
  TSR_WIRE_LIST(int64_t) int32_data;
  TSR_WIRE_LIST(tsr_wire_bytes) string_data;
  TSR_WIRE_LIST(int64_t) int64_data;
  TSR_WIRE_LIST(double) double_data;
  TSR_WIRE_LIST(int64_t) uint64_data;
  tsr_wire_bytes raw_data;
  TSR_WIRE_LIST(tsr_onnx_entry) external_data;
  int64_t data_location;
  tsr_dtype dtype;
  const void *data;
  uint64_t bytes;
  int64_t elements;
} tsr_onnx_tensor;

typedef struct tsr_onnx_sparse_tensor {
  uint64_t present;
  tsr_onnx_tensor *values;
  tsr_onnx_tensor *indices;
  TSR_WIRE_LIST(int64_t) dims;
} tsr_onnx_sparse_tensor;

/* SequenceProto of onnx-data.proto. Of what is not a tensor only the number counts. */
typedef struct tsr_onnx_sequence {
  uint64_t present;
  const char *name;
  TSR_WIRE_LIST(tsr_onnx_tensor) tensors;
  TSR_WIRE_LIST(tsr_wire_bytes) others; /* sparse tensors */
  TSR_WIRE_LIST(tsr_wire_bytes) sequences;
  TSR_WIRE_LIST(tsr_wire_bytes) maps;
  TSR_WIRE_LIST(tsr_wire_bytes) optionals;
} tsr_onnx_sequence;

/* OptionalProto: one of them, or nothing. */
typedef struct tsr_onnx_optional {
  uint64_t present;
  const char *name;
  tsr_onnx_tensor *tensor;
  tsr_onnx_sequence *sequence;
  tsr_wire_bytes other; /* a sparse tensor */
  tsr_wire_bytes map;
  tsr_wire_bytes optional;
} tsr_onnx_optional;

enum { TSR_ONNX_DIM_VALUE = 1, TSR_ONNX_DIM_PARAM = 2 }; /* bits of tsr_onnx_dim.present */

typedef struct tsr_onnx_dim {
  uint64_t present;
  int64_t value;
  const char *param;
} tsr_onnx_dim;

typedef struct tsr_onnx_shape {
  uint64_t present;
  TSR_WIRE_LIST(tsr_onnx_dim) dims;
} tsr_onnx_shape;

/* Tensor or sparse tensor; shape NULL: of unknown rank. */
typedef struct tsr_onnx_tensor_type {
  uint64_t present;
  int64_t elem_type;
  tsr_onnx_shape *shape;
} tsr_onnx_tensor_type;

/* Sequence or optional. */
typedef struct tsr_onnx_wrapped_type {
  uint64_t present;
  tsr_onnx_type *elem_type;
} tsr_onnx_wrapped_type;

/* One of the pointers is set, or `is_map`, or nothing. */
struct tsr_onnx_type {
  uint64_t present;
  tsr_onnx_tensor_type *tensor;
  tsr_onnx_wrapped_type *sequence;
  tsr_onnx_tensor_type *sparse_tensor;
  tsr_onnx_wrapped_type *optional;
  tsr_wire_bytes map;
};

typedef struct tsr_onnx_value_info {
  uint64_t present;
  const char *name;
  tsr_onnx_type *type;
} tsr_onnx_value_info;

typedef enum tsr_onnx_attribute_type {
  TSR_ONNX_UNDEFINED = 0,
  TSR_ONNX_FLOAT = 1,
  TSR_ONNX_INT = 2,
  TSR_ONNX_STRING = 3,
  TSR_ONNX_TENSOR = 4,
  TSR_ONNX_GRAPH = 5,
  TSR_ONNX_FLOATS = 6,
  TSR_ONNX_INTS = 7,
  TSR_ONNX_STRINGS = 8,
  TSR_ONNX_TENSORS = 9,
  TSR_ONNX_GRAPHS = 10,
  TSR_ONNX_SPARSE_TENSOR = 11,
  TSR_ONNX_SPARSE_TENSORS = 12,
  TSR_ONNX_TYPE_PROTO = 13,
  TSR_ONNX_TYPE_PROTOS = 14
} tsr_onnx_attribute_type;

/* After loading `type` is set, also where an old writer left it out. */
typedef struct tsr_onnx_attribute {
  uint64_t present;
  const char *name;
  const char *ref_attr_name; /* in function bodies: the attribute of the call to take */
  int64_t type;              /* tsr_onnx_attribute_type */
  float f;
  int64_t i;
  tsr_wire_bytes s;
  tsr_onnx_tensor *t;
  tsr_onnx_graph *g;
  tsr_onnx_sparse_tensor *sparse_tensor;
  tsr_onnx_type *tp;
  TSR_WIRE_LIST(float) floats;
  TSR_WIRE_LIST(int64_t) ints;
  TSR_WIRE_LIST(tsr_wire_bytes) strings;
  TSR_WIRE_LIST(tsr_onnx_tensor) tensors;
  TSR_WIRE_LIST(tsr_onnx_graph) graphs;
} tsr_onnx_attribute;

typedef struct tsr_onnx_node {
  uint64_t present;
  const char *name;
  const char *op_type;
  const char *domain;
  const char *overload;
  TSR_WIRE_LIST(const char *) inputs;  /* "": absent */
  TSR_WIRE_LIST(const char *) outputs; /* "": not wanted */
  TSR_WIRE_LIST(tsr_onnx_attribute) attributes;
} tsr_onnx_node;

struct tsr_onnx_graph {
  uint64_t present;
  const char *name;
  TSR_WIRE_LIST(tsr_onnx_node) nodes;
  TSR_WIRE_LIST(tsr_onnx_tensor) initializers;
  TSR_WIRE_LIST(tsr_onnx_sparse_tensor) sparse_initializers;
  TSR_WIRE_LIST(tsr_onnx_value_info) inputs;
  TSR_WIRE_LIST(tsr_onnx_value_info) outputs;
  TSR_WIRE_LIST(tsr_onnx_value_info) value_infos;
};

typedef struct tsr_onnx_opset {
  uint64_t present;
  const char *domain;
  int64_t version;
} tsr_onnx_opset;

typedef struct tsr_onnx_function {
  uint64_t present;
  const char *name;
  const char *domain;
  const char *overload;
  TSR_WIRE_LIST(const char *) inputs;
  TSR_WIRE_LIST(const char *) outputs;
  TSR_WIRE_LIST(const char *) attributes;               /* without default */
  TSR_WIRE_LIST(tsr_onnx_attribute) attribute_defaults; /* with default */
  TSR_WIRE_LIST(tsr_onnx_node) nodes;
  TSR_WIRE_LIST(tsr_onnx_opset) opsets;
} tsr_onnx_function;

typedef struct tsr_onnx_model_proto {
  uint64_t present;
  int64_t ir_version;
  const char *producer_name;
  const char *producer_version;
  const char *domain;
  int64_t model_version;
  TSR_WIRE_LIST(tsr_onnx_opset) opsets;
  tsr_onnx_graph *graph;
  TSR_WIRE_LIST(tsr_onnx_entry) metadata;
  TSR_WIRE_LIST(tsr_onnx_function) functions;
} tsr_onnx_model_proto;

typedef struct tsr_onnx_mapping tsr_onnx_mapping;

/* An open model: `proto` and everything it points to live until it is closed. */
typedef struct tsr_onnx_model {
  tsr_onnx_model_proto proto;
  tsr_arena arena;
  tsr_onnx_mapping *mappings; /* the model's file and its external files */
} tsr_onnx_model;

/* Maps and decodes the model at `path`. TSR_ERR_IO, TSR_ERR_FORMAT, TSR_ERR_SHAPE, TSR_ERR_LIMIT
 * with file and tensor in `diag`. On failure `out_model` needs no closing. */
TSR_WARN_UNUSED tsr_status tsr_onnx_model_open(tsr_onnx_model *out_model,
                                               const tsr_allocator *allocator, const char *path,
                                               tsr_diag *diag);

/* The same over bytes in memory, which must outlive the model; external data is refused. */
TSR_WARN_UNUSED tsr_status tsr_onnx_model_parse(tsr_onnx_model *out_model,
                                                const tsr_allocator *allocator, const void *bytes,
                                                uint64_t size, tsr_diag *diag);

void tsr_onnx_model_close(tsr_onnx_model *model);

/* TSR_DTYPE_NONE for a type that Tessera has not; tsr_onnx_dtype_name gives "?" outside the list.
 */
tsr_dtype tsr_onnx_dtype(int64_t data_type);
const char *tsr_onnx_dtype_name(int64_t data_type);

#endif
