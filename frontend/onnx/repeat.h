/* What is done turn by turn: unrolled where the number of turns is known and little is done in all,
 * else an op `loop`. A carried value whose extents change gets dims of its own; which ones is found
 * out by building the body until what it takes and gives agree. */
#ifndef TSR_FRONTEND_ONNX_REPEAT_H
#define TSR_FRONTEND_ONNX_REPEAT_H
#include "frontend/onnx/bodies.h"

typedef struct tsr_repeat tsr_repeat;

/* Builds a turn. `number`: of the turn from 0, an i64 scalar. `values`: the carried ones, which
 * become those of the next turn. `out_rows`: what the turn adds to the lists; `*out_go_on` (NULL
 * before: always): whether another turn may follow. */
typedef tsr_status (*tsr_turn)(tsr_repeat *r, tsr_imported *number, tsr_imported **values,
                               tsr_imported **out_rows, tsr_imported **out_go_on);

struct tsr_repeat {
  tsr_lower *l;
  tsr_turn turn;
  void *user;
  const void *key; /* tells apart the repeats of an import; what was learnt of one serves when its
                      body is built again */
  tsr_expr limit;  /* turns at most, not negative; 0: any number */
  bool counts;     /* turns ask for their number */
  uint64_t cost;   /* nodes of a turn */
  uint32_t carried, rows;
  tsr_imported **values; /* the starts, then the results */
  const bool *constant;  /* carried values that every turn leaves as they are; NULL: none */
  const tsr_onnx_value_info
      *declared;        /* what the model says of the carried values, then of the rows; or NULL */
  tsr_imported **lists; /* made: per row output a sequence or list of the rows of all turns */
  bool exact;           /* made: there were `limit` turns */
  tsr_imported *broken; /* made: not NULL when something in the body cannot be imported; then
                           nothing else is */
};

/* TSR_ERR_UNSUPPORTED with the reason when it can be no loop and is too much to unroll. */
TSR_WARN_UNUSED tsr_status tsr_repeat_run(tsr_repeat *r);
/* The rows in a tensor along a new axis, the last turn's first with `backward`. 0: not possible,
 * with the node's reason. */
tsr_value tsr_repeat_stack(tsr_repeat *r, uint32_t row, uint32_t axis, bool backward);
/* Slice `number` of x along the axis, which goes; counted from the last one with `backward`. */
tsr_value tsr_repeat_slice(tsr_lower *l, tsr_value x, uint32_t axis, tsr_imported *number,
                           bool backward);

#endif
