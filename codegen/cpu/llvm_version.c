#include "codegen/cpu/llvm_version.h"
#include <llvm-c/Core.h>
#include <stdio.h>

void tsr_llvm_version(char *out, size_t out_size) {
  unsigned major = 0, minor = 0, patch = 0;
  LLVMGetVersion(&major, &minor, &patch);
  (void)snprintf(out, out_size, "%u.%u.%u", major, minor, patch);
}
