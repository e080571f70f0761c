#include "frontend/cli/options.h"
#include <signal.h>
#include <string.h>
#include <tessera/compiler.h>

/* A limit on file sizes is reported like a full disk, by the write that fails. */
int main(int argc, char **argv) {
  /* What the compile commands start to compile kernels; see tsr_cli_compile_options_begin. */
  if (argc == 2 && strcmp(argv[1], "--cuda-compile-worker") == 0)
    return tsr_compile_worker();
  signal(SIGXFSZ, SIG_IGN);
  return tsr_cli_main(argc, argv);
}
