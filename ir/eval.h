/* The meaning of graph IR: a slow, direct evaluator. Floats are kept in float64 (exact reference),
 * integers in int64, both rounded or wrapped to the op's dtype when `round` is set. Constant
 * folding uses it with rounding; tests use it without, as the float64 reference. */
#ifndef TSR_IR_EVAL_H
#define TSR_IR_EVAL_H
#include "ir/ir.h"

typedef struct tsr_array {
  tsr_dtype dtype;
  uint32_t rank;
  int64_t dims[TSR_MAX_RANK];
  int64_t count;
  double *floats;    /* dtype class FLOAT */
  int64_t *integers; /* the other classes; u64 as its bits */
} tsr_array;

typedef struct tsr_eval tsr_eval;

/* Evaluates ops of one graph; `dims` gives every symbolic dim (index dim - 1; device dims are
 * filled in). Values are computed on demand and kept until destroy. `limit` bounds the elements of
 * any one array (TSR_ERR_LIMIT). */
TSR_WARN_UNUSED tsr_status tsr_eval_create(tsr_ir *ir, const int64_t *dims, bool round,
                                           int64_t limit, const tsr_allocator *allocator,
                                           tsr_eval **out_eval);
void tsr_eval_destroy(tsr_eval *eval);
tsr_diag *tsr_eval_diag(tsr_eval *eval);
/* Binds an input value from dense bytes. */
TSR_WARN_UNUSED tsr_status tsr_eval_bind(tsr_eval *eval, tsr_value input, const int64_t *dims,
                                         uint32_t rank, const void *data);
/* The array of `value`; owned by the evaluator. */
TSR_WARN_UNUSED tsr_status tsr_eval_get(tsr_eval *eval, tsr_value value, const tsr_array **out);
/* Dense bytes of an array in its dtype. `bytes` must be tsr_dtype_bytes(dtype, count). */
void tsr_array_store(const tsr_array *array, void *data);
/* The elements of `const {random = seed}`, the same everywhere: uniform in [-1, 1) for floats
 * (scaled by nothing), small integers in [-8, 8) (unsigned: [0, 16)), fair bools. splitmix64 of
 * seed and element number. */
double tsr_random_float(uint64_t seed, uint64_t element);
int64_t tsr_random_int(uint64_t seed, uint64_t element, tsr_dtype dtype);

#endif
