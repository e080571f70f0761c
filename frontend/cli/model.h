/* From a path on the command line to a loaded module, and the compile options on the way. */
#ifndef TSR_FRONTEND_CLI_MODEL_H
#define TSR_FRONTEND_CLI_MODEL_H
#include "frontend/cli/options.h"
#include "frontend/pipeline.h"
#include <tessera/runtime.h>

/* The compile options that a command line gives; the arrays live until tsr_cli_compile_options_end.
 */
typedef struct tsr_cli_compile_options {
  tsr_compile_options options;
  const char **targets;
  tsr_dim_range *dims;
  char **dim_names;
  tsr_alias *aliases;
  char **alias_names;
} tsr_cli_compile_options;

TSR_WARN_UNUSED tsr_status tsr_cli_compile_options_begin(const tsr_cli_args *args,
                                                         tsr_cli_compile_options *out_options,
                                                         tsr_diag *diag);
void tsr_cli_compile_options_end(tsr_cli_compile_options *options);

/* A loaded module, and the bytes it was loaded from if it was compiled here. */
typedef struct tsr_cli_module {
  tsr_module *module;
  void *bytes;
  size_t size;
  int64_t load_ns; /* what loading took, without compiling */
} tsr_cli_module;

/* Loads the module at `source->path` if that ends in .tsm; anything else is compiled with the
 * options in `args` and loaded from memory. On failure nothing needs closing. */
TSR_WARN_UNUSED tsr_status tsr_cli_module_open(const tsr_cli_args *args,
                                               const tsr_model_source *source,
                                               tsr_cli_module *out_module, tsr_diag *diag);
void tsr_cli_module_close(tsr_cli_module *module);

/* The failure of loading the module at `path`, with the runtime's message. */
tsr_status tsr_cli_fail_loading(const char *path, tsr_status status, const char *message,
                                tsr_diag *diag);

#endif
