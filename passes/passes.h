/* The passes over graph IR, as one list, and what runs them. Each pass takes verified IR to
 * verified IR of the same meaning. The order of the list is the order of the pipeline. */
#ifndef TSR_PASSES_PASSES_H
#define TSR_PASSES_PASSES_H
#include "ir/ir.h"

/* X(NAME, why it stands there). The function is tsr_pass_NAME. */
#define TSR_PASS_LIST(X)                                                                           \
  X(segments, "what the host runs becomes a model, what devices run graphs that it calls")         \
  X(equal_dims, "dims that checks make equal are one, so that shapes meet without reshapes")       \
  X(unpack, "no element shares a byte with others, so that any task may store any element")        \
  X(canonicalize, "fold, share and drop what later passes would otherwise carry along")            \
  X(bytes, "products of integers are of bytes, where the target multiplies those at once")         \
  X(precision, "products that may be narrower round their operands")                               \
  X(in_place, "updates of a state that the caller keeps move what is new, not the whole")          \
  X(to_blocks,                                                                                     \
    "every op becomes a loop nest with explicit subscripts, so that one rule fuses all")           \
  X(fuse, "intermediates stay in registers: producers move into consumers' subscripts")            \
  X(narrow_stores, "products find operands in memory as narrow as they are")                       \
  X(storage, "every output gets memory of its own, so that launches are all that is left to run")  \
  X(layout, "images have their channels side by side where that fills vectors")                    \
  X(check_blocks, "each element stored once, parallel points apart: asked of isl, changes "        \
                  "nothing")                                                                       \
  X(group, "blocks that walk the same rows hand them on in the caches")

/* What one edge between two blocks became, and why: `tessera explain` prints these. */
typedef struct tsr_fuse_edge {
  tsr_value value; /* the intermediate */
  tsr_op consumer; /* reader at the end of the pass */
  const char *const *producer_origins, *const *consumer_origins;
  uint32_t producer_origin_count, consumer_origin_count;
  bool fused;
  const char *reason; /* of a refusal; static text or in the report's arena */
} tsr_fuse_edge;

/* Filled by tsr_pass_fuse when options point to one; the strings live in the IR. */
typedef struct tsr_fuse_report {
  const tsr_allocator *allocator;
  tsr_fuse_edge *edges;
  uint32_t count, capacity;
} tsr_fuse_report;

void tsr_fuse_report_init(tsr_fuse_report *report, const tsr_allocator *allocator);
void tsr_fuse_report_reset(tsr_fuse_report *report);

typedef enum tsr_fuse_level {
  TSR_FUSE_REGISTER, /* the default */
  TSR_FUSE_NONE
} tsr_fuse_level;

/* Called after each pass that ran; another status than OK ends the run with it. */
typedef tsr_status (*tsr_pass_hook)(void *context, const tsr_ir *ir, const char *pass,
                                    int64_t time_ns);

/* All zero: everything at its default. */
typedef struct tsr_pass_options {
  tsr_fuse_level fuse_level;
  bool check_blocks;       /* tsr_passes_run: ask isl about every block */
  const char *stop_after;  /* name of the last pass to run, or NULL */
  const char *print_after; /* name of a pass, "all", or NULL: who gets `hook` calls */
  tsr_pass_hook hook;
  void *hook_context;
  /* Largest result that folding may grow to; 0: 65536, negative: folds nothing. */
  int64_t fold_elements;
  /* Bit d: the target multiplies numbers of tsr_dtype d into wide sums at once. Where both operands
   * of a product are widened from such a dtype, constants keep it; else folding widens them. */
  uint64_t narrow_products;
  bool byte_products;   /* the target multiplies unsigned by signed bytes into i32 */
  bool bf16_products;   /* operands of products of f32 are rounded to bf16 */
  int64_t group_bytes;  /* of the cache that a task may fill with what blocks of a group hand on; 0:
                           no groups */
  int64_t layout_bytes; /* of the second cache; 0: images stay as they are */
  int64_t layout_lanes; /* numbers of f32 in a vector */
  tsr_fuse_report *report; /* or NULL */
} tsr_pass_options;

typedef tsr_status (*tsr_pass_function)(tsr_ir *ir, const tsr_pass_options *options,
                                        tsr_diag *diag);
typedef struct tsr_pass_info {
  const char *name;
  tsr_pass_function function;
  const char *why;
} tsr_pass_info;

/* The list; `out_count` may be NULL. */
const tsr_pass_info *tsr_passes(uint32_t *out_count);
const tsr_pass_info *tsr_pass_find(const char *name); /* NULL: no such pass */

/* verify -> pass -> verify -> hook, for one pass. */
TSR_WARN_UNUSED tsr_status tsr_pass_run(tsr_ir *ir, const tsr_pass_info *pass,
                                        const tsr_pass_options *options, tsr_diag *diag);
/* The pipeline from graph to fused blocks. */
TSR_WARN_UNUSED tsr_status tsr_passes_run(tsr_ir *ir, const tsr_pass_options *options,
                                          tsr_diag *diag);

/* --- outputs that live in an input's memory, `alias` (in_place.c) --- */
/* Whether the output may; `host`: the region is a model's, whose extents a run may compare. */
TSR_WARN_UNUSED tsr_status tsr_in_place_check(const tsr_ir *ir, tsr_region region, tsr_op output,
                                              bool host, tsr_diag *diag);
/* Declares the outputs of a part of a model that are an input with some elements replaced. */
void tsr_in_place_declare(tsr_ir *ir, tsr_op graph);

#define TSR_PASS_DECLARE(name, why)                                                                \
  TSR_WARN_UNUSED tsr_status tsr_pass_##name(tsr_ir *ir, const tsr_pass_options *options,          \
                                             tsr_diag *diag);
TSR_PASS_LIST(TSR_PASS_DECLARE)
#undef TSR_PASS_DECLARE

#endif
