/* The importer's state: scopes of names, call frames of inlined functions, and the list of what is
 * unsupported. Shared by import.c, scope.c and the lowerings of control flow. */
#ifndef TSR_FRONTEND_ONNX_IMPORTER_H
#define TSR_FRONTEND_ONNX_IMPORTER_H
#include "frontend/onnx/lower.h"
#include "runtime/host/text.h"

typedef struct tsr_scope_slot {
  const char *name; /* NULL: free */
  tsr_imported *imported;
} tsr_scope_slot;

/* Names visible in a graph; a subgraph sees those of `parent` too. */
typedef struct tsr_scope {
  const struct tsr_scope *parent;
  tsr_scope_slot *slots;
  uint32_t room, used;
} tsr_scope;

/* The call that is being inlined: where ref_attr_name and opset versions are looked up. */
typedef struct tsr_frame {
  const struct tsr_frame *caller;
  const tsr_onnx_node *call;
  const tsr_onnx_function *function;
  const tsr_onnx_opset *opsets;
  uint64_t opset_count;
} tsr_frame;

typedef struct tsr_unsupported tsr_unsupported;

/* What decides a rank and is known only in a run: the program is made for one of two cases, and
 * which one is a guess until the rest of the model was imported. */
typedef struct tsr_guess {
  const tsr_onnx_node *node;
  uint32_t which; /* of the node's questions */
  bool turned;    /* against what is usual */
} tsr_guess;

enum {
  TSR_IMPORT_GUESS_LIMIT = 32,  /* later ones stay as is usual */
  TSR_IMPORT_ATTEMPT_LIMIT = 32 /* imports of one model */
};

typedef struct tsr_guesses {
  tsr_guess items[TSR_IMPORT_GUESS_LIMIT];
  uint32_t count;
} tsr_guesses;

struct tsr_importer {
  const tsr_onnx_model *model;
  const tsr_import_options *options;
  tsr_ir *ir;
  tsr_builder builder;
  tsr_arena *arena; /* of the IR */
  tsr_diag *diag;
  tsr_scope *scope;
  tsr_scope dims;      /* dim_param -> its expression, in dims[0] */
  tsr_scope constants; /* names of the main graph's initializers */
  tsr_scope functions; /* "domain/name/overload" -> number of the function + 1 */
  tsr_scope repeats;   /* what repeat.c found out about bodies */
  const tsr_frame *frame;
  uint32_t depth; /* of inlined functions and unrolled bodies */
  uint64_t node_budget;
  uint32_t fresh_dims;
  tsr_expr wildcard;           /* tsr_wildcard_dim, 0 until it is asked for */
  tsr_texts *texts;            /* of the model, by number */
  const tsr_onnx_graph *graph; /* whose nodes are imported */
  tsr_unsupported *unsupported, **unsupported_end;
  uint32_t unsupported_count;
  tsr_guesses *guesses;
  bool lenient; /* whatever shapes outputs are declared with */
};

/* What one import may expand to: bounds unrolling and recursive functions. */
enum {
  TSR_IMPORT_NODE_LIMIT = 1 << 19,
  TSR_IMPORT_OP_LIMIT = 1 << 22,
  TSR_IMPORT_DEPTH_LIMIT = 64,
  TSR_IMPORT_REPORT_LIMIT = 2048 /* unsupported nodes that are told apart; more are counted */
};

const tsr_onnx_attribute *tsr_importer_attribute(const tsr_importer *importer,
                                                 const tsr_onnx_node *node, const char *name);

/* --- import.c and ports.c --- */
/* Collects what cannot be imported; the import goes on to find all of it. */
TSR_WARN_UNUSED tsr_status tsr_importer_unsupported(tsr_importer *im, const char *op,
                                                    const char *node, int64_t opset,
                                                    const char *reason);
/* The builder's failure, if there was one, as the import's. */
TSR_WARN_UNUSED tsr_status tsr_importer_status(tsr_importer *im);
tsr_status tsr_importer_no_memory(tsr_importer *im);
/* Gives a name its value; out of memory when `imported` is NULL. */
TSR_WARN_UNUSED tsr_status tsr_importer_bind(tsr_importer *im, const char *name,
                                             tsr_imported *imported);
/* A value that could not be imported; `note` says why unless a node already did. */
tsr_imported *tsr_importer_broken(tsr_importer *im, const char *note);
/* 0 when the model imports no such domain. */
int64_t tsr_importer_opset(const tsr_importer *im, const char *domain);
TSR_WARN_UNUSED tsr_status tsr_import_inputs(tsr_importer *im, const tsr_onnx_graph *graph);
/* Adds an output that stands for something unsupported to the list. */
TSR_WARN_UNUSED tsr_status tsr_import_note_output(tsr_importer *im,
                                                  const tsr_onnx_value_info *info);
TSR_WARN_UNUSED tsr_status tsr_import_output(tsr_importer *im, const tsr_onnx_value_info *info);

/* --- guess.c --- */
/* Takes `condition`, an expression over dims, for true or for false, and returns which: as `usual`
 * says unless an earlier attempt with that failed. Runs in which it is otherwise fail. */
bool tsr_lower_guess(tsr_lower *l, uint32_t which, tsr_expr condition, bool usual);
/* Turns to the combination to be tried next; false: there is none. */
bool tsr_guesses_next(tsr_guesses *guesses);

/* --- scope.c --- */
/* NULL when the name is not visible. */
tsr_imported *tsr_scope_find(const tsr_scope *scope, const char *name);
/* False when memory is out. */
bool tsr_scope_set(tsr_importer *importer, tsr_scope *scope, const char *name,
                   tsr_imported *imported);
bool tsr_scope_has_own(const tsr_scope *scope, const char *name);

/* An order of `count` nodes in which every value is made before it is used: indices in the arena.
 * TSR_ERR_FORMAT names a node on a cycle. */
TSR_WARN_UNUSED tsr_status tsr_import_order(tsr_importer *importer, const tsr_onnx_node *nodes,
                                            uint64_t count, const uint64_t **out_order);

/* The content that an assumption gives its input; NULL when it is large. */
const tsr_content *tsr_imported_assume(tsr_lower *l, const tsr_import_assumption *assumption);

/* A constant over the tensor's bytes; NULL when memory is out. */
tsr_imported *tsr_import_tensor(tsr_importer *importer, const tsr_onnx_tensor *tensor);

/* Imports the initializers and nodes of a subgraph in a new scope below the current one whose
 * inputs are bound to `inputs`, and gives its outputs. */
TSR_WARN_UNUSED tsr_status tsr_import_subgraph(tsr_lower *l, const tsr_onnx_graph *graph,
                                               tsr_imported *const *inputs, uint32_t input_count,
                                               tsr_imported **outputs, uint32_t output_count);

/* The row for an operator at an opset; NULL when there is none. `out_since` and `out_until` are the
 * opsets at which the table has the operator, 0 when it never does. */
const tsr_onnx_op *tsr_onnx_op_find(const char *domain, const char *name, int64_t opset,
                                    int64_t *out_since, int64_t *out_until);

#endif
