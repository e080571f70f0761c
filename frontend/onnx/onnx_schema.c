/* Field numbers of onnx.proto, release 1.20 (ONNX specification, IR.md). Fields that nobody reads
 * (doc strings, training, device placement) are left out and so skipped. */
#include "frontend/onnx/onnx_schema.h"
#include "frontend/onnx/onnx_model.h"
#include <stddef.h>

/* The decoder fills every list through one header; see TSR_WIRE_LIST. */
_Static_assert(sizeof(void *) == sizeof(uint64_t), "list headers are two 64-bit words");

#define INT(n, member)                                                                             \
  { n, TSR_WIRE_INT, false, offsetof(S, member), NULL }
#define FLOAT(n, member)                                                                           \
  { n, TSR_WIRE_FLOAT, false, offsetof(S, member), NULL }
#define TEXT(n, member)                                                                            \
  { n, TSR_WIRE_TEXT, false, offsetof(S, member), NULL }
#define BYTES(n, member)                                                                           \
  { n, TSR_WIRE_BYTES, false, offsetof(S, member), NULL }
#define ONE(n, member, message)                                                                    \
  { n, TSR_WIRE_MESSAGE, false, offsetof(S, member), &message }
#define INTS(n, member)                                                                            \
  { n, TSR_WIRE_INT, true, offsetof(S, member), NULL }
#define FLOATS(n, member)                                                                          \
  { n, TSR_WIRE_FLOAT, true, offsetof(S, member), NULL }
#define DOUBLES(n, member)                                                                         \
  { n, TSR_WIRE_DOUBLE, true, offsetof(S, member), NULL }
#define TEXTS(n, member)                                                                           \
  { n, TSR_WIRE_TEXT, true, offsetof(S, member), NULL }
#define SLICES(n, member)                                                                          \
  { n, TSR_WIRE_BYTES, true, offsetof(S, member), NULL }
#define MANY(n, member, message)                                                                   \
  { n, TSR_WIRE_MESSAGE, true, offsetof(S, member), &message }
#define MESSAGE(name, text, fields)                                                                \
  name = {text, sizeof(S), fields, sizeof(fields) / sizeof((fields)[0])}

static const tsr_wire_message graph_message, type_message;

#define S tsr_onnx_entry
static const tsr_wire_field entry_fields[] = {TEXT(1, key), TEXT(2, value)};
static const tsr_wire_message MESSAGE(entry_message, "StringStringEntryProto", entry_fields);
#undef S

#define S tsr_onnx_tensor
static const tsr_wire_field tensor_fields[] = {
    INTS(1, dims),          INT(2, data_type),
    BYTES(3, segment),      FLOATS(4, float_data),
    INTS(5, int32_data),    SLICES(6, string_data),
    INTS(7, int64_data),    TEXT(8, name),
    BYTES(9, raw_data),     DOUBLES(10, double_data),
    INTS(11, uint64_data),  MANY(13, external_data, entry_message),
    INT(14, data_location),
};
const tsr_wire_message MESSAGE(tsr_onnx_tensor_message, "TensorProto", tensor_fields);
#undef S

#define S tsr_onnx_sparse_tensor
static const tsr_wire_field sparse_fields[] = {ONE(1, values, tsr_onnx_tensor_message),
                                               ONE(2, indices, tsr_onnx_tensor_message),
                                               INTS(3, dims)};
static const tsr_wire_message MESSAGE(sparse_message, "SparseTensorProto", sparse_fields);
#undef S

/* Values in files of their own (onnx-data.proto). What is counted only is not taken apart. */
#define S tsr_onnx_sequence
static const tsr_wire_field sequence_fields[] = {
    TEXT(1, name),     MANY(3, tensors, tsr_onnx_tensor_message),
    SLICES(4, others), SLICES(5, sequences),
    SLICES(6, maps),   SLICES(7, optionals),
};
const tsr_wire_message MESSAGE(tsr_onnx_sequence_message, "SequenceProto", sequence_fields);
#undef S

#define S tsr_onnx_optional
static const tsr_wire_field optional_fields[] = {
    TEXT(1, name),   ONE(3, tensor, tsr_onnx_tensor_message),
    BYTES(4, other), ONE(5, sequence, tsr_onnx_sequence_message),
    BYTES(6, map),   BYTES(7, optional),
};
const tsr_wire_message MESSAGE(tsr_onnx_optional_message, "OptionalProto", optional_fields);
#undef S

#define S tsr_onnx_dim
static const tsr_wire_field dim_fields[] = {INT(TSR_ONNX_DIM_VALUE, value),
                                            TEXT(TSR_ONNX_DIM_PARAM, param)};
static const tsr_wire_message MESSAGE(dim_message, "Dimension", dim_fields);
#undef S

#define S tsr_onnx_shape
static const tsr_wire_field shape_fields[] = {MANY(1, dims, dim_message)};
static const tsr_wire_message MESSAGE(shape_message, "TensorShapeProto", shape_fields);
#undef S

#define S tsr_onnx_tensor_type
static const tsr_wire_field tensor_type_fields[] = {INT(1, elem_type),
                                                    ONE(2, shape, shape_message)};
static const tsr_wire_message MESSAGE(tensor_type_message, "TypeProto.Tensor", tensor_type_fields);
#undef S

#define S tsr_onnx_wrapped_type
static const tsr_wire_field wrapped_fields[] = {ONE(1, elem_type, type_message)};
static const tsr_wire_message MESSAGE(wrapped_message, "TypeProto.Sequence", wrapped_fields);
#undef S

#define S tsr_onnx_type
static const tsr_wire_field type_fields[] = {
    ONE(1, tensor, tensor_type_message), ONE(4, sequence, wrapped_message), BYTES(5, map),
    ONE(8, sparse_tensor, tensor_type_message), ONE(9, optional, wrapped_message)};
static const tsr_wire_message MESSAGE(type_message, "TypeProto", type_fields);
#undef S

#define S tsr_onnx_value_info
static const tsr_wire_field value_info_fields[] = {TEXT(1, name), ONE(2, type, type_message)};
static const tsr_wire_message MESSAGE(value_info_message, "ValueInfoProto", value_info_fields);
#undef S

#define S tsr_onnx_attribute
static const tsr_wire_field attribute_fields[] = {
    TEXT(1, name),
    FLOAT(2, f),
    INT(3, i),
    BYTES(4, s),
    ONE(5, t, tsr_onnx_tensor_message),
    ONE(6, g, graph_message),
    FLOATS(7, floats),
    INTS(8, ints),
    SLICES(9, strings),
    MANY(10, tensors, tsr_onnx_tensor_message),
    MANY(11, graphs, graph_message),
    ONE(14, tp, type_message),
    INT(20, type),
    TEXT(21, ref_attr_name),
    ONE(22, sparse_tensor, sparse_message),
};
static const tsr_wire_message MESSAGE(attribute_message, "AttributeProto", attribute_fields);
#undef S

#define S tsr_onnx_node
static const tsr_wire_field node_fields[] = {TEXTS(1, inputs),
                                             TEXTS(2, outputs),
                                             TEXT(3, name),
                                             TEXT(4, op_type),
                                             TEXT(7, domain),
                                             TEXT(8, overload),
                                             MANY(5, attributes, attribute_message)};
static const tsr_wire_message MESSAGE(node_message, "NodeProto", node_fields);
#undef S

#define S tsr_onnx_graph
static const tsr_wire_field graph_fields[] = {
    MANY(1, nodes, node_message),
    TEXT(2, name),
    MANY(5, initializers, tsr_onnx_tensor_message),
    MANY(11, inputs, value_info_message),
    MANY(12, outputs, value_info_message),
    MANY(13, value_infos, value_info_message),
    MANY(15, sparse_initializers, sparse_message),
};
static const tsr_wire_message MESSAGE(graph_message, "GraphProto", graph_fields);
#undef S

#define S tsr_onnx_opset
static const tsr_wire_field opset_fields[] = {TEXT(1, domain), INT(2, version)};
static const tsr_wire_message MESSAGE(opset_message, "OperatorSetIdProto", opset_fields);
#undef S

#define S tsr_onnx_function
static const tsr_wire_field function_fields[] = {
    TEXT(1, name),
    TEXTS(4, inputs),
    TEXTS(5, outputs),
    TEXTS(6, attributes),
    MANY(7, nodes, node_message),
    MANY(9, opsets, opset_message),
    TEXT(10, domain),
    MANY(11, attribute_defaults, attribute_message),
    TEXT(13, overload),
};
static const tsr_wire_message MESSAGE(function_message, "FunctionProto", function_fields);
#undef S

#define S tsr_onnx_model_proto
static const tsr_wire_field model_fields[] = {
    INT(1, ir_version),
    TEXT(2, producer_name),
    TEXT(3, producer_version),
    TEXT(4, domain),
    INT(5, model_version),
    ONE(7, graph, graph_message),
    MANY(8, opsets, opset_message),
    MANY(14, metadata, entry_message),
    MANY(25, functions, function_message),
};
const tsr_wire_message MESSAGE(tsr_onnx_model_message, "ModelProto", model_fields);
#undef S
