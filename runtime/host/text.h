/* Texts of a model: a table that gives equal texts equal numbers, and the operations on tensors of
 * such numbers (TEXT_... of host_ops.def). All in host memory, dense row-major. */
#ifndef TSR_RUNTIME_HOST_TEXT_H
#define TSR_RUNTIME_HOST_TEXT_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include "runtime/program.h"
#include <tessera/runtime.h>

/* The table of one exec. Number 0 is "". */
typedef struct tsr_texts tsr_texts;

/* Starts with `texts`, numbered in order (the first is "", when there is one). */
TSR_WARN_UNUSED tsr_status tsr_texts_create(const char *const *texts, uint32_t count,
                                            const tsr_allocator *allocator, tsr_texts **out_texts);
void tsr_texts_destroy(tsr_texts *texts);
/* Forgets all but those it started with: at the begin of a run. */
void tsr_texts_reset(tsr_texts *texts);
/* The number of the text, added if it is new. `length` bytes without a zero byte among them. */
TSR_WARN_UNUSED tsr_status tsr_texts_number(tsr_texts *texts, const char *text, size_t length,
                                            int64_t *out_number);
/* Terminated, valid until the reset; NULL: there is no such number. */
const char *tsr_texts_get(const tsr_texts *texts, int64_t number);

/* A dense tensor in host memory. */
typedef struct tsr_host_array {
  tsr_dtype dtype;
  uint32_t rank;
  int64_t shape[TSR_MAX_RANK];
  void *data;
} tsr_host_array;

/* Runs step->op, one of TEXT_...: `numbers` and `words` are the step's. Of results, dtype is given;
 * rank, shape and data (from `arena`) are set. Errors: SHAPE (operands do not broadcast, a rank is
 * not possible), FORMAT (a text that is no number, an expression that is not understood), ARGUMENT
 * (a number without a text), OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_text_run(tsr_host_op op, const int64_t *numbers,
                                        const char *const *words, uint32_t word_count,
                                        tsr_texts *texts, const tsr_host_array *operands,
                                        uint32_t operand_count, tsr_host_array *results,
                                        uint32_t result_count, tsr_arena *arena, tsr_diag *diag);
/* The same check before a run, while compiling: FORMAT when TEXT_MATCH cannot understand `pattern`.
 */
TSR_WARN_UNUSED tsr_status tsr_text_pattern_check(const char *pattern,
                                                  const tsr_allocator *allocator, tsr_diag *diag);

#endif
