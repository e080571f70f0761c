/* Shared by the files of the evaluator: one per kind of op. */
#ifndef TSR_IR_EVAL_INTERNAL_H
#define TSR_IR_EVAL_INTERNAL_H
#include "ir/eval.h"

struct tsr_eval {
  tsr_ir *ir;
  const tsr_allocator *allocator;
  tsr_arena arena;
  tsr_diag diag;
  bool round;
  int64_t limit;
  int64_t *dims;
  bool *dim_known;
  tsr_array **values; /* by value; NULL: not computed yet */
  uint32_t value_count, dim_count;
};

/* One op about to be computed: its operands are. The op's function fills results. */
typedef struct tsr_eval_op {
  tsr_eval *eval;
  tsr_op op;
  const tsr_op_data *data;
  const tsr_array *in[3];
  tsr_array *out[2]; /* allocated from the result types, zero */
} tsr_eval_op;

typedef tsr_status tsr_eval_rule(tsr_eval_op *e);

tsr_eval_rule tsr_eval_elementwise, tsr_eval_view, tsr_eval_reduce, tsr_eval_indexed;

tsr_status tsr_eval_fail(tsr_eval_op *e, tsr_status status, const char *format, ...)
    TSR_PRINTF(3, 4);
/* Operand `number` of any op. */
const tsr_array *tsr_eval_operand(const tsr_eval_op *e, uint32_t number);
TSR_WARN_UNUSED tsr_status tsr_eval_expr(tsr_eval_op *e, tsr_expr expr, const int64_t *lanes,
                                         int64_t *out);
/* A list attribute evaluated; absent lists are `count` times `otherwise`. */
TSR_WARN_UNUSED tsr_status tsr_eval_list(tsr_eval_op *e, const char *key, uint32_t count,
                                         int64_t otherwise, int64_t *out);
TSR_WARN_UNUSED tsr_status tsr_eval_axis(tsr_eval_op *e, uint32_t rank, uint32_t *out);

bool tsr_array_is_float(const tsr_array *array);
/* The element as the other class would have it. */
double tsr_array_float(const tsr_array *array, int64_t index);
int64_t tsr_array_int(const tsr_array *array, int64_t index);
/* Copies an element between arrays of one class. */
void tsr_array_move(tsr_array *to, int64_t to_index, const tsr_array *from, int64_t from_index);
/* What an integer keeps of its bits in `dtype`. */
int64_t tsr_wrap(tsr_dtype dtype, int64_t number);
double tsr_round_to(tsr_dtype dtype, double number);

/* Row-major positions. */
void tsr_unravel(const tsr_array *array, int64_t index, int64_t *out_position);
int64_t tsr_ravel(const tsr_array *array, const int64_t *position);

/* A combiner by name: identity and step over both classes. */
typedef enum tsr_combine {
  TSR_COMBINE_NONE,
  TSR_COMBINE_ADD,
  TSR_COMBINE_MUL,
  TSR_COMBINE_MAX,
  TSR_COMBINE_MIN,
  TSR_COMBINE_AND,
  TSR_COMBINE_OR
} tsr_combine;

TSR_WARN_UNUSED tsr_status tsr_eval_combine(tsr_eval_op *e, tsr_combine *out);
/* Sets an element to the identity. */
void tsr_combine_start(tsr_combine combine, tsr_array *to, int64_t index);
void tsr_combine_step(tsr_combine combine, tsr_array *to, int64_t to_index, const tsr_array *from,
                      int64_t from_index);

#endif
