/* What If, Loop, Scan and the recurrent operators share: bodies that become regions. What is known
 * of a value may rest on dims that only a body binds; what an attempt left behind, when it was not
 * the last one, is dropped with it. */
#ifndef TSR_FRONTEND_ONNX_BODIES_H
#define TSR_FRONTEND_ONNX_BODIES_H
#include "frontend/onnx/build.h"
#include "frontend/onnx/importer.h"

/* --- attempts: an op with regions that may yet be dropped --- */
typedef struct tsr_attempt {
  tsr_op op;
  tsr_region outside;
  tsr_dim dims; /* later ones are bound inside */
  tsr_unsupported **reports_end;
  uint32_t reports;
} tsr_attempt;

/* `code`: TSR_OP_IF or TSR_OP_LOOP with one empty region, into which the builder goes. */
tsr_attempt tsr_attempt_begin(tsr_lower *l, tsr_opcode code);
/* Goes on in another region of the op. */
void tsr_attempt_enter(tsr_lower *l, const tsr_attempt *a, tsr_region region);
/* Goes back behind the op. */
void tsr_attempt_leave(tsr_lower *l, const tsr_attempt *a);
/* The op goes; the builder is behind it. */
void tsr_attempt_drop(tsr_lower *l, const tsr_attempt *a);
/* What was reported since its begin was not. */
void tsr_attempt_forget_reports(tsr_lower *l, const tsr_attempt *a);
/* The op goes and what its regions hold, which has no yields, takes its place. */
void tsr_attempt_dissolve(tsr_lower *l, const tsr_attempt *a);
void tsr_attempt_yield(tsr_lower *l, tsr_region region, const tsr_value *values, uint32_t count);
/* Whether the expression means something only inside. */
bool tsr_attempt_binds(const tsr_lower *l, const tsr_attempt *a, tsr_expr expr);
/* A type of lists or maybes as it may be said outside: with the wildcard where its dims are bound
 * inside. */
tsr_type tsr_attempt_outer_type(tsr_lower *l, const tsr_attempt *a, tsr_type type);

/* --- subgraphs --- */
/* Nodes that a turn of the body runs, more for loops inside of it. */
uint64_t tsr_body_cost(const tsr_onnx_graph *graph);
/* Whether a node or output of the graph, or of graphs inside of it, names it. */
bool tsr_body_names(const tsr_onnx_graph *graph, const char *name);
/* The input of the body that its output is by Identity alone; UINT32_MAX: none. */
uint32_t tsr_body_passes(const tsr_onnx_graph *graph, uint32_t output);
tsr_imported *tsr_known_scalar(tsr_lower *l, tsr_dtype dtype, int64_t number);
/* False when not known. */
bool tsr_known_bool(tsr_lower *l, tsr_imported *x, bool *out);
/* The first broken one; NULL: none. */
tsr_imported *tsr_broken_of(tsr_imported *const *x, uint32_t count);
/* All outputs of the node are as broken as the given value. */
void tsr_lower_set_broken(tsr_lower *l, tsr_imported *broken);

#endif
