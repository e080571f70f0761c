/* A model or module that is loaded, with its inputs bound: what `run` and `bench` share. */
#ifndef TSR_FRONTEND_CLI_SESSION_H
#define TSR_FRONTEND_CLI_SESSION_H
#include "frontend/cli/host_tensor.h"
#include "frontend/cli/model.h"
#include "frontend/cli/port.h"
#include <tessera/runtime.h>

typedef struct tsr_cli_session {
  const tsr_cli_args *args;
  const char *path;
  tsr_cli_module loaded;
  tsr_module *module; /* loaded's */
  tsr_module_info info;
  tsr_exec *exec;
  tsr_host_items *inputs; /* info.input_count of them */
  bool *given;            /* which of them were */
  int64_t *dim_values;    /* info.dim_count of them, -1 where not known yet */
  int64_t load_ns;        /* loading the module and preparing its first run */
  tsr_diag diag;
} tsr_cli_session;

/* Loads args' first argument, compiling it first unless it is a module, and binds every input: from
 * the files of --input, or random; optional ones that are not given are absent. On failure `diag`
 * says why; close in any case. */
TSR_WARN_UNUSED tsr_status tsr_cli_session_open(tsr_cli_session *session, const tsr_cli_args *args);
void tsr_cli_session_close(tsr_cli_session *session);

/* Runs once; a failure goes to `diag`. */
TSR_WARN_UNUSED tsr_status tsr_cli_session_run(tsr_cli_session *session);

/* Output number `index` of the last run; the data stays the exec's: tsr_port_release. */
TSR_WARN_UNUSED tsr_status tsr_cli_session_output(tsr_cli_session *session, uint32_t index,
                                                  tsr_host_items *out_items);

#endif
