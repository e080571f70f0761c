#include <tessera/version.h>

const char *tsr_version_text(void) {
  return TSR_VERSION_TEXT;
}

uint32_t tsr_version_module_format(void) {
  return TSR_MODULE_FORMAT_VERSION;
}
