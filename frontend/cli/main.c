#include "frontend/cli/options.h"
#include <signal.h>

/* A limit on file sizes is reported like a full disk, by the write that fails. */
int main(int argc, char **argv) {
  signal(SIGXFSZ, SIG_IGN);
  return tsr_cli_main(argc, argv);
}
