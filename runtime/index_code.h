/* Index arithmetic: the operators that shapes, subscripts, loop bounds, grids and guards are made
 * of, at every level of the IR, and the postfix code that the runtime evaluates at call time. All
 * arithmetic is int64 and checked. */
#ifndef TSR_RUNTIME_INDEX_CODE_H
#define TSR_RUNTIME_INDEX_CODE_H
#include <stdint.h>
#include <tessera/status.h>

/* X(NAME, "text", operands). Divisions round towards minus infinity (ceildiv: plus infinity), mod
 * takes the divisor's sign; dividing by zero is an error. Comparisons give 0 or 1; and/or take any
 * non-zero as true. */
#define TSR_INDEX_OP_LIST(X)                                                                       \
  X(INT, "int", 0)                                                                                 \
  X(DIM, "dim", 0)                                                                                 \
  X(VALUE, "value", 0)                                                                             \
  X(LANE, "lane", 0)                                                                               \
  X(ADD, "+", 2)                                                                                   \
  X(MUL, "*", 2)                                                                                   \
  X(FLOORDIV, "floordiv", 2)                                                                       \
  X(CEILDIV, "ceildiv", 2)                                                                         \
  X(MOD, "mod", 2)                                                                                 \
  X(MIN, "min", 2)                                                                                 \
  X(MAX, "max", 2)                                                                                 \
  X(LT, "<", 2)                                                                                    \
  X(LE, "<=", 2)                                                                                   \
  X(EQ, "==", 2)                                                                                   \
  X(NE, "!=", 2)                                                                                   \
  X(AND, "and", 2)                                                                                 \
  X(OR, "or", 2)

typedef enum tsr_index_op {
#define TSR_INDEX_OP_ENUM(name, text, operands) TSR_INDEX_##name,
  TSR_INDEX_OP_LIST(TSR_INDEX_OP_ENUM)
#undef TSR_INDEX_OP_ENUM
      TSR_INDEX_OP_COUNT
} tsr_index_op;

/* One step of postfix code: INT pushes `operand`, DIM pushes dims[operand], the others pop two and
 * push one. VALUE and LANE never reach the runtime. */
typedef struct tsr_index_step {
  int64_t op; /* tsr_index_op */
  int64_t operand;
} tsr_index_step;

/* Both operands int64, result checked: TSR_ERR_SHAPE on overflow or a zero divisor. */
TSR_WARN_UNUSED tsr_status tsr_index_apply(tsr_index_op op, int64_t a, int64_t b, int64_t *out);

/* Evaluates `count` steps over `dims`; stack depth is checked (TSR_ERR_FORMAT). */
TSR_WARN_UNUSED tsr_status tsr_index_eval(const tsr_index_step *steps, uint32_t count,
                                          const int64_t *dims, uint32_t dim_count, int64_t *out);

#endif
