/* Fusion's view of one graph region: who reads what, which pairs may merge, and the two merges. */
#ifndef TSR_PASSES_FUSE_GRAPH_H
#define TSR_PASSES_FUSE_GRAPH_H
#include "passes/block_info.h"
#include "passes/passes.h"

enum {
  TSR_FUSE_MAX_READERS = 16,
  TSR_FUSE_MAX_OPS = 192,   /* of a fused body */
  TSR_FUSE_MAX_LOADS = 24,  /* pointers and registers are finite */
  TSR_FUSE_MAX_RESULTS = 4, /* of a block that keeps intermediates */
  TSR_FUSE_MAX_ALIASES = 4
};

/* One reader of one value of a block: directly, or through reshapes of it. `consumer` 0: something
 * that is not an op of this region reads it. */
typedef struct tsr_fuse_link {
  tsr_op producer, consumer;
  tsr_value value;
  uint32_t reader_count; /* readers of `value` in all, others than reshapes */
} tsr_fuse_link;

typedef struct tsr_fuse_use {
  tsr_value value;
  tsr_op reader; /* op of this region */
  struct tsr_fuse_use *next;
} tsr_fuse_use;

typedef struct tsr_fuse_graph {
  tsr_region region;
  tsr_arena arena;
  tsr_fuse_use **uses; /* by value: the ops of the region that read it, each once */
  uint32_t *position;  /* by op: place in the region, 0 when not in it */
  uint32_t value_count, op_count;
} tsr_fuse_graph;

TSR_WARN_UNUSED tsr_status tsr_fuse_graph_init(tsr_fuse_graph *graph, tsr_ir *ir, tsr_diag *diag);
/* Reads the region anew; call after each change. */
TSR_WARN_UNUSED tsr_status tsr_fuse_graph_build(tsr_fuse_graph *graph, tsr_ir *ir,
                                                tsr_region region, tsr_diag *diag);
void tsr_fuse_graph_reset(tsr_fuse_graph *graph);

/* All links of a block or proc. The number may exceed `capacity`. */
uint32_t tsr_fuse_links_of(const tsr_fuse_graph *graph, const tsr_ir *ir, tsr_op producer,
                           tsr_fuse_link *out_links, uint32_t capacity);
bool tsr_fuse_link_involves(const tsr_fuse_link *links, uint32_t count, tsr_op op);

/* NULL: legal. Otherwise why not, a static text. */
const char *tsr_fuse_refuse_inline(tsr_ir *ir, const tsr_fuse_link *link);
/* `keep`: the intermediate has other readers and stays a result. */
const char *tsr_fuse_refuse_epilogue(tsr_ir *ir, const tsr_fuse_graph *graph,
                                     const tsr_fuse_link *link, bool keep);
/* True when inlining the producer into all its `count` readers costs no more than storing it. */
bool tsr_fuse_inline_pays(tsr_ir *ir, const tsr_fuse_link *links, uint32_t count);
const char *tsr_fuse_explain(tsr_ir *ir, const tsr_fuse_graph *graph, const tsr_fuse_link *links,
                             uint32_t count, uint32_t number);

/* Replaces the consumer by one that computes the producer's value at each load. The producer stays
 * until tsr_fuse_erase_unused. */
TSR_WARN_UNUSED tsr_status tsr_fuse_inline(tsr_ir *ir, const tsr_fuse_link *link, tsr_diag *diag);
/* Replaces producer and consumer by one block, at the place of either. */
TSR_WARN_UNUSED tsr_status tsr_fuse_epilogue(tsr_ir *ir, const tsr_fuse_graph *graph,
                                             const tsr_fuse_link *link, tsr_diag *diag);
/* Erases a block and the reshapes of its results when nothing reads them. */
void tsr_fuse_erase_unused(tsr_ir *ir, tsr_op op);

/* True when `buffer` is `value` or a reshape of it. */
bool tsr_fuse_is_alias(const tsr_ir *ir, tsr_value buffer, tsr_value value);
/* Subscripts of the alias `buffer` as subscripts of `value`, through the reshapes between them; and
 * back. */
bool tsr_fuse_to_value(tsr_ir *ir, tsr_value buffer, tsr_value value, const tsr_expr *subscripts,
                       tsr_expr *out);
bool tsr_fuse_to_alias(tsr_ir *ir, tsr_value buffer, tsr_value value, const tsr_expr *subscripts,
                       tsr_expr *out);
/* A map that only moves elements (one direct load, casts): what contractions take as operand. */
bool tsr_fuse_is_view(const tsr_ir *ir, const tsr_block_info *info);
/* A view whose axes are the whole axes of what it reads, in some order, those of extent 1 too: in
 * range together, out of range together. */
bool tsr_fuse_is_permutation(const tsr_ir *ir, const tsr_block_info *info, tsr_value value);
/* What must hold for `subscripts` to lie inside `buffer`; 0: they always do. */
tsr_expr tsr_fuse_guard(tsr_ir *ir, tsr_value buffer, const tsr_expr *subscripts);
/* The result of the producer that `buffer` is or is a reshape of, or 0. */
tsr_value tsr_fuse_result_of(const tsr_ir *ir, tsr_op producer, tsr_value buffer);
/* The axes of the consumer as expressions of the producer's, by argument number of the consumer's
 * region. NULL: found. */
const char *tsr_fuse_match_axes(tsr_ir *ir, const tsr_fuse_link *link, tsr_expr *out_axes);
/* True when the merged block can stand where the consumer stands (else where the producer does). */
bool tsr_fuse_at_consumer(const tsr_ir *ir, const tsr_fuse_graph *graph, const tsr_fuse_link *link);

TSR_WARN_UNUSED tsr_status tsr_fuse_report_add(tsr_fuse_report *report, tsr_ir *ir,
                                               const tsr_fuse_link *link, bool fused,
                                               const char *reason, tsr_diag *diag);
#endif
