/* How far a long command is, on standard error: a bar on a terminal, a line per tenth elsewhere. */
#ifndef TSR_FRONTEND_CLI_PROGRESS_H
#define TSR_FRONTEND_CLI_PROGRESS_H
#include "frontend/cli/options.h"

typedef struct tsr_progress {
  const char *what;
  int64_t total, done;
  bool quiet, terminal;
} tsr_progress;

void tsr_progress_begin(tsr_progress *progress, const tsr_cli_args *args, const char *what,
                        int64_t total);
void tsr_progress_step(tsr_progress *progress);
/* For commands that do not count alike steps: the share that is done, 0..1, and what to say beside
 * the bar. Elsewhere than on a terminal `text` is a line per tenth. */
void tsr_progress_show(tsr_progress *progress, double share, const char *text);
/* Takes the bar away, so that other output can be written; the next step draws it again. */
void tsr_progress_clear(const tsr_progress *progress);

#endif
