/* Writes .tsm files; see format.h for the bytes. */
#ifndef TSR_RUNTIME_MODULE_WRITER_H
#define TSR_RUNTIME_MODULE_WRITER_H
#include "runtime/diag.h"
#include "runtime/program.h"
#include <tessera/allocator.h>

/* One module with `count` >= 1 programs, in the order in which a loader tries them: most
 * demanding first; parts of host programs are not counted. Constants with equal bytes are stored
 * once. The file appears complete or not at all: it is written beside `path`, synced and renamed.
 * Errors: ARGUMENT, FORMAT (a program breaks tsr_program_check), LIMIT (more strings or table
 * entries than 32 bits count), IO, OUT_OF_MEMORY. `diag` may be NULL. */
TSR_WARN_UNUSED tsr_status tsr_module_write(const char *path, const tsr_program *const *programs,
                                            uint32_t count, const tsr_allocator *allocator,
                                            tsr_diag *diag);
/* The same bytes in memory from `allocator`, aligned to 64; release with size *out_bytes. */
TSR_WARN_UNUSED tsr_status tsr_module_write_memory(const tsr_program *const *programs,
                                                   uint32_t count, const tsr_allocator *allocator,
                                                   void **out_data, size_t *out_bytes,
                                                   tsr_diag *diag);

#endif
