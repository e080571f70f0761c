/* Which LLVM is linked. */
#ifndef TSR_CODEGEN_CPU_LLVM_VERSION_H
#define TSR_CODEGEN_CPU_LLVM_VERSION_H
#include <stddef.h>

/* Writes "19.1.7" into `out`, always terminated. */
void tsr_llvm_version(char *out, size_t out_size);

#endif
