/* What stands between the device primitives and a kernel: numeric.h, then math.h where functions of
 * it are called. */
#ifndef TSR_CODEGEN_CUDA_TEXT_H
#define TSR_CODEGEN_CUDA_TEXT_H

/* Terminated. */
extern const char tsr_cuda_numeric_text[];
extern const char tsr_cuda_math_text[];

#endif
