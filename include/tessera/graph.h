/* Building a graph from C, node by node, and compiling it: this header is the manual.
 *
 *   tsr_graph *g;
 *   tsr_graph_create(context, "layer", &g);
 *   tsr_graph_dim n = tsr_graph_add_dim(g, "N", 1, 4096), k = tsr_graph_int(g, 256);
 *   tsr_graph_value x = tsr_graph_add_input(g, "x", TSR_F32, (tsr_graph_dim[]){n, k}, 2);
 *   tsr_graph_value w = tsr_graph_add_constant(g, TSR_F32, (int64_t[]){256, 512}, 2, weights);
 *   tsr_graph_attr spec = {"spec", TSR_GRAPH_STRING, .string = "mk,kn->mn"};
 *   tsr_graph_value y = tsr_graph_add_node(g, "einsum", (tsr_graph_value[]){x, w}, 2, &spec, 1,
 * NULL); tsr_graph_add_output(g, "y", y); tsr_compile_graph(context, g, NULL, &bytes, &size);
 *   tsr_graph_destroy(g);
 *
 * Ops, their operands and attributes are those of ir/ops.def at the level of graphs. Handles are
 * small integers; 0 is the failed one: it may be passed on, gives 0 again, and tsr_compile_graph
 * reports the first failure. A graph belongs to its context and to one thread at a time. */
#ifndef TESSERA_GRAPH_H
#define TESSERA_GRAPH_H
#include <tessera/compiler.h>
#include <tessera/dtype.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tsr_graph tsr_graph;
typedef uint32_t tsr_graph_value; /* a tensor of the graph */
typedef uint32_t tsr_graph_dim;   /* an extent: a number, a symbolic dim, or a formula of those */

/* Errors: ARGUMENT, OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_graph_create(tsr_context *context, const char *name,
                                            tsr_graph **out_graph);
/* NULL is allowed. */
void tsr_graph_destroy(tsr_graph *graph);

/* A symbolic dim, 0 <= lo <= hi, bound at run time by an input that has it as an extent; the same
 * name gives the same dim. */
tsr_graph_dim tsr_graph_add_dim(tsr_graph *graph, const char *name, int64_t lo, int64_t hi);
tsr_graph_dim tsr_graph_int(tsr_graph *graph, int64_t number);
/* `op` is "+", "*", "floordiv", "ceildiv", "mod", "min" or "max". */
tsr_graph_dim tsr_graph_formula(tsr_graph *graph, const char *op, tsr_graph_dim a, tsr_graph_dim b);

/* Ports are numbered in the order in which they are added. `name` is copied. */
tsr_graph_value tsr_graph_add_input(tsr_graph *graph, const char *name, tsr_dtype dtype,
                                    const tsr_graph_dim *dims, uint32_t rank);
void tsr_graph_add_output(tsr_graph *graph, const char *name, tsr_graph_value value);
/* Dense row-major data of tsr_dtype_bytes(dtype, product of dims), copied. */
tsr_graph_value tsr_graph_add_constant(tsr_graph *graph, tsr_dtype dtype, const int64_t *dims,
                                       uint32_t rank, const void *data);

typedef enum tsr_graph_attr_kind {
  TSR_GRAPH_INT,
  TSR_GRAPH_FLOAT,
  TSR_GRAPH_BOOL,
  TSR_GRAPH_STRING,
  TSR_GRAPH_INTS, /* ints, count */
  TSR_GRAPH_DIMS  /* dims, count: start of slice, low and high of pad, conv and pool */
} tsr_graph_attr_kind;

/* One attribute; the field that `kind` names counts. */
typedef struct tsr_graph_attr {
  const char *key;
  tsr_graph_attr_kind kind;
  int64_t integer; /* INT, BOOL */
  double number;
  const char *string;
  const int64_t *ints;
  const tsr_graph_dim *dims;
  uint32_t count;
} tsr_graph_attr;

/* The result type of an op that does not infer its own: reshape, broadcast, slice, cast, topk ...
 */
typedef struct tsr_graph_type {
  tsr_dtype dtype;
  uint32_t rank;
  const tsr_graph_dim *dims;
} tsr_graph_type;

/* Appends a node and gives its first result; `type` NULL: inferred. */
tsr_graph_value tsr_graph_add_node(tsr_graph *graph, const char *op,
                                   const tsr_graph_value *operands, uint32_t operand_count,
                                   const tsr_graph_attr *attrs, uint32_t attr_count,
                                   const tsr_graph_type *type);
/* Result number `number` of the node that made `value` (topk has two). */
tsr_graph_value tsr_graph_result(tsr_graph *graph, tsr_graph_value value, uint32_t number);

/* Compiles as tsr_compile_text does; the graph stays as it is. Errors: what a builder call recorded
 * first, then those of compiling. */
TSR_WARN_UNUSED tsr_status tsr_compile_graph(tsr_context *context, const tsr_graph *graph,
                                             const tsr_compile_options *options, void **out_bytes,
                                             size_t *out_size);

#ifdef __cplusplus
}
#endif
#endif
