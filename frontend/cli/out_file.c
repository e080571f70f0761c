#include "frontend/cli/out_file.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

tsr_status tsr_out_file_open(const char *path, FILE **out_file, tsr_diag *diag) {
  *out_file = fopen(path, "wb");
  if (*out_file != NULL)
    return TSR_OK;
  tsr_diag_set_file(diag, path);
  return tsr_fail(diag, TSR_ERR_IO, "%s", strerror(errno));
}

/* The first error counts: a stream that failed once forgets why when it is closed. */
tsr_status tsr_out_file_close(FILE *file, const char *path, tsr_diag *diag) {
  struct stat about;
  bool failed = fflush(file) != 0;
  int reason = errno;
  if (!failed && ferror(file) != 0) {
    failed = true;
    reason = EIO;
  }
  bool regular = fstat(fileno(file), &about) == 0 && S_ISREG(about.st_mode);
  if (fclose(file) != 0 && !failed) {
    failed = true;
    reason = errno;
  }
  if (!failed)
    return TSR_OK;
  if (regular)
    (void)unlink(path);
  tsr_diag_set_file(diag, path);
  return tsr_fail(diag, TSR_ERR_IO, "it could not be written: %s", strerror(reason));
}
