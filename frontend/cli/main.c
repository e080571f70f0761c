#include "frontend/cli/options.h"

int main(int argc, char **argv) {
  return tsr_cli_main(argc, argv);
}
