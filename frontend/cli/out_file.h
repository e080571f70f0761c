/* Files that the command line writes: whole or not at all. */
#ifndef TSR_FRONTEND_CLI_OUT_FILE_H
#define TSR_FRONTEND_CLI_OUT_FILE_H
#include "runtime/diag.h"
#include <stdio.h>

/* Opens `path` for writing, anew. */
TSR_WARN_UNUSED tsr_status tsr_out_file_open(const char *path, FILE **out_file, tsr_diag *diag);
/* Closes the file. When anything could not be written it is removed (unless it is a device), and
 * the status is TSR_ERR_IO. */
TSR_WARN_UNUSED tsr_status tsr_out_file_close(FILE *file, const char *path, tsr_diag *diag);

#endif
