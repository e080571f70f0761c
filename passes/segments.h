/* What the two halves of the pass `segments` share: what is live and in which segment it runs
 * (segments_order.c), and the making of the model and its graphs (segments.c). */
#ifndef TSR_PASSES_SEGMENTS_H
#define TSR_PASSES_SEGMENTS_H
#include "ir/ir.h"

/* What gives a dim its value: an op, and the result or argument whose extent it is (0: an attribute
 * says it). In different regions a dim has different ones. */
typedef struct tsr_dim_maker {
  tsr_op op;
  tsr_value value;
  uint32_t next; /* number + 1 of another one of the same dim */
} tsr_dim_maker;

/* Ids are those of the IR before the pass adds anything; new ones are beyond the tables. */
typedef struct tsr_segments {
  tsr_ir *ir;
  tsr_arena *arena;
  uint32_t op_count, value_count, dim_count;
  tsr_dim_maker *makers;
  uint32_t maker_count;
  uint32_t *first_maker; /* by dim: number + 1 among the makers */
  uint8_t *dim_live, *op_live, *value_live;
  /* By op, not 0: made of constants alone, by whoever needs it. */
  uint8_t *is_free;
  /* By value: the host takes it, or another graph than its own does. */
  uint8_t *on_host, *exported;
  /* By op: the segment of a device op, the group of a host op, within its region. */
  uint32_t *level;
} tsr_segments;

/* Run by the host: control flow and ops of kind HOST. */
bool tsr_op_of_host(const tsr_ir *ir, tsr_op op);
/* The op in `region` that is `op` or holds it; 0: it is not inside. */
tsr_op tsr_op_in_region(const tsr_ir *ir, tsr_region region, tsr_op op);
/* Whether carried value or result `number` of a live loop or if is needed. */
bool tsr_slot_live(const tsr_segments *s, tsr_op op, uint32_t number);
/* Whether the value is a constant that the host can keep: one whose bytes do not depend on dims. */
bool tsr_is_host_constant(const tsr_segments *s, tsr_value value);
/* A free op whose value a graph has to make, as the host cannot. */
bool tsr_is_made_free(const tsr_segments *s, tsr_op op);

/* Called for each value that an op takes from outside of itself, what is in its regions included.
 * What is not live, or not needed by what is live, is left out. */
typedef void tsr_use_visitor(void *context, tsr_op user, tsr_value value);
void tsr_visit_uses(const tsr_segments *s, tsr_op op, tsr_use_visitor *visit, void *context);
/* The same for dims: in types of results and arguments, attributes, subscripts and ranges. */
typedef void tsr_dim_visitor(void *context, tsr_dim dim);
void tsr_visit_dims(const tsr_segments *s, tsr_op op, tsr_dim_visitor *visit, void *context);

/* Fills the tables for the ops of the graph. */
TSR_WARN_UNUSED tsr_status tsr_segments_order(tsr_segments *s, tsr_op graph, tsr_diag *diag);

#endif
