#include "frontend/cli/progress.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 40, SHORT_BAR = 20, TENTHS = 10, DEFAULT_COLUMNS = 80 };

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

/* What fits behind the bar on a line of the terminal. */
static int text_room(const tsr_progress *progress, int bar) {
  struct winsize size = {0};
  const int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0
                          ? (int)size.ws_col
                          : DEFAULT_COLUMNS;
  const int room = columns - 1 - bar - (int)strlen(progress->what) - (int)strlen(" [] ");
  return room > 0 ? room : 0;
}

void tsr_progress_show(tsr_progress *progress, double share, const char *text) {
  share = share < 0 ? 0 : share > 1 ? 1 : share;
  const int64_t tenth = (int64_t)(share * (int)TENTHS);
  const bool further = tenth > progress->done;
  progress->done = further ? tenth : progress->done;
  if (progress->quiet)
    return;
  if (!progress->terminal) {
    if (further)
      fprintf(stderr, "%s: %s\n", progress->what, text);
    return;
  }
  fprintf(stderr, "\r%s [", progress->what);
  for (int i = 0; i < SHORT_BAR; i++)
    putc(i < (int)(share * (int)SHORT_BAR) ? '#' : ' ', stderr);
  fprintf(stderr, "] %.*s\033[K", text_room(progress, SHORT_BAR), text);
  fflush(stderr);
}

void tsr_progress_clear(const tsr_progress *progress) {
  if (!progress->quiet && progress->terminal)
    fputs("\r\033[K", stderr);
}
