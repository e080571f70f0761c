#include "frontend/cli/progress.h"
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { BAR = 40, TENTHS = 10 };

static void draw(const tsr_progress *progress) {
  int filled = progress->total > 0 ? (int)(BAR * progress->done / progress->total) : BAR;
  fprintf(stderr, "\r%s [", progress->what);
  for (int i = 0; i < BAR; i++)
    putc(i < filled ? '#' : ' ', stderr);
  fprintf(stderr, "] %" PRId64 "/%" PRId64, progress->done, progress->total);
  fflush(stderr);
}

void tsr_progress_begin(tsr_progress *progress, const tsr_cli_args *args, const char *what,
                        int64_t total) {
  *progress = (tsr_progress){.what = what,
                             .total = total,
                             .quiet = tsr_cli_has(args, TSR_OPTION_QUIET),
                             .terminal = isatty(STDERR_FILENO) != 0};
}

void tsr_progress_step(tsr_progress *progress) {
  int64_t before = progress->done * TENTHS / progress->total;
  progress->done++;
  int64_t after = progress->done * TENTHS / progress->total;
  if (progress->quiet)
    return;
  if (progress->terminal)
    draw(progress);
  else if (after > before && progress->total >= TENTHS)
    fprintf(stderr, "%s: %" PRId64 " of %" PRId64 "\n", progress->what, progress->done,
            progress->total);
}

void tsr_progress_clear(const tsr_progress *progress) {
  if (!progress->quiet && progress->terminal)
    fputs("\r\033[K", stderr);
}
