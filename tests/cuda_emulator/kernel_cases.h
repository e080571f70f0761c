/* The kernels of kernels/ with their data, launches and float64 references. */
#ifndef TSR_TESTS_CUDA_KERNEL_CASES_H
#define TSR_TESTS_CUDA_KERNEL_CASES_H
#include "tests/cuda_emulator/emulator.h"

typedef struct kernel_case {
  const char *name;
  const char *file;   /* in kernels/, without .cu */
  const char *prefix; /* stands in front of the file's text */
  int arch;           /* 80 or 90 */
  /* Runs `text` (the file, or a mutation of it) with every size it is tested at. False with the
   * emulator's finding, or what is wrong with the result, in `why`. */
  bool (*run)(const struct kernel_case *self, tsr_emulator *emulator, const char *text,
              uint32_t seed, char *why, size_t why_size);
  int element_bytes, type; /* of the operands of a GEMM; TSR_MMA_... */
  bool b_rows_are_k;
} kernel_case;

extern const kernel_case kernel_cases[];
extern const int kernel_case_count;

/* prefix + file, to be freed. */
char *kernel_case_text(const kernel_case *c);
const kernel_case *kernel_case_find(const char *name);
#endif
