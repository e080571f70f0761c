/* Versions of the library, its interface and its files. */
#ifndef TESSERA_VERSION_H
#define TESSERA_VERSION_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TSR_VERSION_MAJOR 0
#define TSR_VERSION_MINOR 1
#define TSR_VERSION_PATCH 0
#define TSR_VERSION_TEXT  "0.1.0"

/* Raised whenever the bytes of a .tsm file or the interface between runtime and kernels change
 * meaning. A runtime reads exactly one version; others are TSR_ERR_VERSION: compile again. */
#define TSR_MODULE_FORMAT_VERSION 4u

/* "0.1.0" of the library that is linked, which may differ from the header's. Static string; any
 * thread. */
const char *tsr_version_text(void);
/* The module format version that the linked library reads and writes. */
uint32_t tsr_version_module_format(void);

#ifdef __cplusplus
}
#endif
#endif
