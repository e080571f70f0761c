/* What the lowering of one ONNX node sees: its inputs as imported values, its attributes, a graph
 * builder, and the content of small constants. Functions that return tsr_value follow the builder:
 * 0 in gives 0 out, and the importer checks once after the node. */
#ifndef TSR_FRONTEND_ONNX_LOWER_H
#define TSR_FRONTEND_ONNX_LOWER_H
#include "frontend/onnx/import.h"
#include "ir/graph_build.h"

typedef struct tsr_importer tsr_importer;
typedef struct tsr_lower tsr_lower;

/* Elements known while importing, row-major: integers and bools as expressions (numbers or symbolic
 * dims), floats as numbers. */
typedef struct tsr_content {
  uint64_t count;
  const tsr_expr *exprs; /* classes INT, UINT, BOOL */
  const double *floats;  /* class FLOAT */
} tsr_content;

typedef enum tsr_imported_kind {
  TSR_IMPORTED_TENSOR,
  TSR_IMPORTED_SEQUENCE, /* a list whose length is known; lives only while importing */
  TSR_IMPORTED_LIST,     /* a list that the host keeps; `value` is of such a type */
  TSR_IMPORTED_MAYBE, /* an optional: the host's when `value` is not 0; else it is known that it is
                       * its only item (item_count 1), or nothing (0) */
  TSR_IMPORTED_BROKEN /* result of a node that could not be imported, or of such values */
} tsr_imported_kind;

/* A value of the ONNX graph; of lists and maybes, dtype, rank and dims are the items', the rank
 * TSR_RANK_ANY where that may be any. `value` is 0 until an op needs it in the graph: shape
 * arithmetic stays content, constants that only give axes leave no trace. */
typedef struct tsr_imported {
  tsr_imported_kind kind;
  tsr_value value;
  tsr_dtype dtype;
  uint32_t rank;
  const tsr_expr *dims;
  const void *data; /* bytes of a constant, or NULL */
  const tsr_content *content;
  uint64_t assumes;            /* set of assumptions, by number, that `assumed` rests on */
  const tsr_content *assumed;  /* the content under them */
  const tsr_expr *partial;     /* rank 1, not all known: an entry per element, 0 for unknown ones */
  const char *note;            /* of a broken value: why, when no node has reported it */
  struct tsr_imported **items; /* of a sequence */
  uint64_t item_count;
  bool of_lists; /* of a maybe known to be nothing: of a list */
  bool text;     /* i64 numbers of texts, or of lists and maybes: items that are such */
} tsr_imported;

typedef struct tsr_onnx_op tsr_onnx_op;

typedef tsr_status (*tsr_lower_function)(tsr_lower *l);
/* Sets the node's outputs from the contents of its inputs; false: not possible, lower it. */
typedef bool (*tsr_fold_function)(tsr_lower *l);

/* A row of the operator table (op_table.def): opsets `since` to `until` of `domain`. */
struct tsr_onnx_op {
  const char *domain, *name;
  int64_t since, until;
  tsr_lower_function lower;
  int arg; /* what tells apart the operators that share a function */
  tsr_fold_function fold;
};

struct tsr_lower {
  tsr_importer *importer;
  tsr_ir *ir;
  tsr_builder *b;
  tsr_arena *arena;
  const tsr_onnx_node *node;
  const tsr_onnx_op *row;
  int64_t opset;
  int arg;
  tsr_imported **in; /* NULL where absent */
  uint32_t in_count;
  tsr_imported **out; /* NULL until the lowering sets it */
  uint32_t out_count;
  bool assuming;    /* a trial with assumed contents: nothing of them is placed in the graph */
  char reason[256]; /* why the node is unsupported */
};

/* --- failing --- */
/* The node cannot be imported; the reason is collected with those of other nodes. */
TSR_WARN_UNUSED tsr_status tsr_lower_unsupported(tsr_lower *l, const char *format, ...)
    TSR_PRINTF(2, 3);
/* The node is wrong: ends the import. */
TSR_WARN_UNUSED tsr_status tsr_lower_wrong(tsr_lower *l, tsr_status status, const char *format, ...)
    TSR_PRINTF(3, 4);
/* Inputs 0 to count - 1 must be there. */
TSR_WARN_UNUSED tsr_status tsr_lower_need(tsr_lower *l, uint32_t count);
/* "input 1 (axes) must be known when compiling". */
TSR_WARN_UNUSED tsr_status tsr_lower_unknown(tsr_lower *l, uint32_t input, const char *what);

/* --- attributes; in a function body those of the call are found --- */
const tsr_onnx_attribute *tsr_lower_attr(tsr_lower *l, const char *name);
int64_t tsr_lower_int(tsr_lower *l, const char *name, int64_t otherwise);
float tsr_lower_float(tsr_lower *l, const char *name, float otherwise);
/* A terminated copy. */
const char *tsr_lower_text(tsr_lower *l, const char *name, const char *otherwise);
bool tsr_lower_text_is(tsr_lower *l, const char *name, const char *otherwise, const char *text);
/* The element type that `to` of a Cast says: a number, before opset 6 its name; 0 when absent. */
int64_t tsr_lower_cast_target(tsr_lower *l);
/* NULL when absent. */
const int64_t *tsr_lower_ints(tsr_lower *l, const char *name, uint32_t *out_count);
const float *tsr_lower_floats(tsr_lower *l, const char *name, uint32_t *out_count);

/* --- inputs and outputs --- */
bool tsr_lower_has(const tsr_lower *l, uint32_t input);
bool tsr_lower_wants(const tsr_lower *l, uint32_t output);
/* The input in the graph; 0 when absent. */
tsr_value tsr_lower_value(tsr_lower *l, uint32_t input);
tsr_value tsr_imported_value(tsr_lower *l, tsr_imported *imported);
/* What is known for certain; NULL: nothing. Not longer than TSR_CONTENT_LIMIT. */
const tsr_content *tsr_imported_content(tsr_lower *l, tsr_imported *imported);
/* For an operator that cannot do without: assumptions about inputs count too. So do the functions
 * below. */
const tsr_content *tsr_lower_content(tsr_lower *l, uint32_t input);
enum { TSR_CONTENT_LIMIT = 8192 };
/* Integers of an input, all plain numbers; NULL when absent or not known. */
const int64_t *tsr_lower_numbers(tsr_lower *l, uint32_t input, uint32_t *out_count);
/* The first element of an input as a number. */
bool tsr_lower_scalar_int(tsr_lower *l, uint32_t input, int64_t *out_number);
bool tsr_lower_scalar_float(tsr_lower *l, uint32_t input, double *out_number);
/* List attribute `name`, or the input (UINT32_MAX: no such input) when the attribute is absent.
 * `out_known` is false when the input is there but not known; NULL and true: neither is there. */
const int64_t *tsr_lower_list(tsr_lower *l, const char *name, uint32_t input, uint32_t *out_count,
                              bool *out_known);

/* Whether the node's output is the model's output that is declared to live in the memory of the
 * model's input that this input of the node is. */
bool tsr_lower_in_place(const tsr_lower *l, uint32_t output, uint32_t input);

void tsr_lower_set(tsr_lower *l, uint32_t output, tsr_value value);
void tsr_lower_set_imported(tsr_lower *l, uint32_t output, tsr_imported *imported);
/* `dims` and the content's arrays are kept. */
void tsr_lower_set_content(tsr_lower *l, uint32_t output, tsr_dtype dtype, const tsr_expr *dims,
                           uint32_t rank, const tsr_content *content);
/* Of the kind that the value's type says. */
tsr_imported *tsr_imported_new(tsr_lower *l, tsr_value value);
/* What the lowering was given: NULL when memory is out (the IR is poisoned then). */
void *tsr_lower_alloc(tsr_lower *l, uint64_t count, size_t size);

/* --- lists and maybes; ops_list.c --- */
/* A sequence or list as a value of a list type: of a sequence by list_make, anew in each call, so
 * that it may be asked for in any region. */
tsr_value tsr_imported_list(tsr_lower *l, tsr_imported *sequence);
/* A maybe, or what is going to be the content of one, as a value of a maybe type. */
tsr_value tsr_imported_maybe(tsr_lower *l, tsr_imported *x);
/* The same with the type given, as values that are carried or chosen must have it. */
tsr_value tsr_imported_list_as(tsr_lower *l, tsr_imported *sequence, tsr_type list);
tsr_value tsr_imported_maybe_as(tsr_lower *l, tsr_imported *x, tsr_type maybe);
/* The level that the value has or would have: GLOBAL, LIST, MAYBE, MAYBE_LIST. */
tsr_level tsr_imported_level(tsr_lower *l, const tsr_imported *x);
/* The list or maybe type for values like both (`b` may be NULL); 0 when there is none, and for two
 * tensors. Where items differ in an extent it has the wildcard, where they differ in rank any; an
 * empty sequence is like any other of its dtype. */
tsr_type tsr_imported_join(tsr_lower *l, const tsr_imported *a, const tsr_imported *b);
/* In types of lists and maybes: an extent that is not known. Stays the same through joins; values
 * taken out get dims of their own in its place. */
tsr_expr tsr_wildcard_dim(tsr_lower *l);
/* The shape that the model declares for the node's output; NULL: none, or not of a tensor. */
const tsr_onnx_shape *tsr_declared_shape(tsr_lower *l, uint32_t output);
/* A new dim 0..2^28 named "NODE.what[axis]" that the host binds where a value is made whose type is
 * the first to name it. */
tsr_expr tsr_fresh_dim(tsr_lower *l, const char *what, uint32_t axis);
/* An op of kind HOST with one result. */
tsr_value tsr_lower_host(tsr_lower *l, tsr_opcode code, const tsr_value *operands, uint32_t count,
                         tsr_type result);

/* --- texts; ops_string.c --- */
/* The dtype of an element type; strings are I64, numbers of texts. */
tsr_dtype tsr_onnx_element(int64_t data_type, bool *out_text);
/* The number that the text has in the model; -1 (poison) when it holds a zero byte. */
int64_t tsr_text_number(tsr_importer *importer, const char *text, uint64_t length);
/* The same for each of an attribute's texts, NULL when absent. */
const int64_t *tsr_lower_text_numbers(tsr_lower *l, const char *name, uint32_t *out_count);
static inline bool tsr_lower_is_text(const tsr_lower *l, uint32_t input) {
  return tsr_lower_has(l, input) && l->in[input]->text;
}

/* A negative axis counts from `rank`; false when out of range. */
bool tsr_lower_axis(int64_t axis, uint32_t rank, uint32_t *out_axis);
/* Attribute `name` as an axis of a rank; TSR_ERR_FORMAT when out of range. */
TSR_WARN_UNUSED tsr_status tsr_lower_axis_attr(tsr_lower *l, const char *name, int64_t otherwise,
                                               uint32_t rank, uint32_t *out_axis);
/* Normalises `count` axes in place of a copy, refuses duplicates. */
TSR_WARN_UNUSED tsr_status tsr_lower_axes(tsr_lower *l, const int64_t *axes, uint32_t count,
                                          uint32_t rank, int64_t *out_axes);

#endif
