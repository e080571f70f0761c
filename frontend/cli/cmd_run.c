#include "frontend/cli/npy.h"
#include "frontend/cli/session.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_NAME = 200 };

/* Makes a file name of an output's name: letters, digits, '.', '-', '_' stay, everything else and a
 * leading '.' become '_', so that no name leads out of the directory. */
static void safe_name(const char *name, char *out) {
  size_t length = 0;
  for (; name[length] != '\0' && length < MAX_NAME; length++) {
    unsigned char symbol = (unsigned char)name[length];
    bool plain = isalnum(symbol) || symbol == '-' || symbol == '_' || (symbol == '.' && length > 0);
    out[length] = plain ? (char)symbol : '_';
  }
  if (length == 0)
    out[length++] = '_';
  out[length] = '\0';
}

/* The file of output `index`: names that become equal are told apart by the output's number. */
static void file_name(const tsr_cli_session *session, uint32_t index, char *out, size_t out_size) {
  char mine[MAX_NAME + 1] = "", other[MAX_NAME + 1];
  tsr_port_info port;
  bool unique = true;
  if (tsr_module_get_output(session->module, index, &port) == TSR_OK)
    safe_name(port.name, mine);
  for (uint32_t i = 0; i < index; i++) {
    if (tsr_module_get_output(session->module, i, &port) != TSR_OK)
      continue;
    safe_name(port.name, other);
    if (strcmp(mine, other) == 0)
      unique = false;
  }
  if (unique)
    snprintf(out, out_size, "%s.npy", mine);
  else
    snprintf(out, out_size, "%s.%u.npy", mine, (unsigned)index);
}

static tsr_status report_output(tsr_cli_session *session, uint32_t index, const char *folder) {
  tsr_host_tensor tensor;
  tsr_port_info port;
  TSR_TRY(tsr_cli_session_output(session, index, &tensor));
  TSR_TRY(tsr_module_get_output(session->module, index, &port));
  if (folder != NULL) {
    char name[MAX_NAME + 32], path[4096];
    file_name(session, index, name, sizeof name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return tsr_npy_write(path, &tensor, &session->diag);
  }
  printf("%s: ", port.name);
  tsr_host_tensor_summarize(&tensor, stdout);
  putchar('\n');
  return TSR_OK;
}

static tsr_status run(tsr_cli_session *session) {
  const char *folder = tsr_cli_text(session->args, TSR_OPTION_OUTPUT_DIR, NULL);
  const char *trace = tsr_cli_text(session->args, TSR_OPTION_TRACE, NULL);
  if (folder != NULL && mkdir(folder, 0777) != 0 && errno != EEXIST) {
    tsr_diag_set_file(&session->diag, folder);
    return tsr_fail(&session->diag, TSR_ERR_IO, "%s", strerror(errno));
  }
  if (trace != NULL) {
    tsr_status status = tsr_exec_set_trace(session->exec, trace);
    if (status != TSR_OK)
      return tsr_fail(&session->diag, status, "%s", tsr_exec_last_error(session->exec));
  }
  TSR_TRY(tsr_cli_session_run(session));
  for (uint32_t i = 0; i < session->info.output_count; i++)
    TSR_TRY(report_output(session, i, folder));
  return TSR_OK;
}

int tsr_cli_run(const tsr_cli_args *args) {
  tsr_cli_session session;
  tsr_status status = tsr_cli_session_open(&session, args);
  if (status == TSR_OK)
    status = run(&session);
  int result = status == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&session.diag);
  tsr_cli_session_close(&session);
  return result;
}
