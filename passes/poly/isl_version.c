#include "passes/poly/isl_version.h"
#include <isl/version.h>
#include <stdio.h>
#include <string.h>

void tsr_isl_version(char *out, unsigned out_size) {
  const char *text = isl_version();
  (void)snprintf(out, out_size, "%.*s", (int)strcspn(text, "\n"), text);
}
