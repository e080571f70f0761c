#include "frontend/cli/npy.h"
#include "frontend/cli/session.h"
#include "frontend/cli/state.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
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

/* The file of output `index`, without its ending: names that become equal are told apart by the
 * output's number. */
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
    snprintf(out, out_size, "%s", mine);
  else
    snprintf(out, out_size, "%s.%u", mine, (unsigned)index);
}

/* FOLDER/NAME.npy, of a list FOLDER/NAME.0.npy, NAME.1.npy and so on. */
static tsr_status write_output(tsr_cli_session *session, uint32_t index, const tsr_port_info *port,
                               const tsr_host_items *items, const char *folder) {
  char name[MAX_NAME + 32], path[4096];
  file_name(session, index, name, sizeof name);
  for (uint64_t i = 0; i < items->count; i++) {
    if (tsr_port_is_list(port))
      snprintf(path, sizeof path, "%s/%s.%" PRIu64 ".npy", folder, name, i);
    else
      snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    TSR_TRY(tsr_npy_write(path, &items->items[i], &session->diag));
  }
  return TSR_OK;
}

static void print_output(const tsr_port_info *port, const tsr_host_items *items) {
  if (tsr_port_is_list(port))
    printf("%s: list of %" PRIu64 "\n", port->name, items->count);
  for (uint64_t i = 0; i < items->count; i++) {
    printf("%s", port->name);
    if (tsr_port_is_list(port))
      printf(".%" PRIu64, i);
    fputs(": ", stdout);
    tsr_host_tensor_summarize(&items->items[i], stdout);
    putchar('\n');
  }
}

static tsr_status report_output(tsr_cli_session *session, uint32_t index, const char *folder) {
  tsr_host_items items;
  tsr_port_info port;
  tsr_status status = TSR_OK;
  TSR_TRY(tsr_module_get_output(session->module, index, &port));
  TSR_TRY(tsr_cli_session_output(session, index, &items));
  if (items.absent)
    printf("%s: absent\n", port.name);
  else if (folder != NULL)
    status = write_output(session, index, &port, &items, folder);
  else
    print_output(&port, &items);
  tsr_port_release(&items);
  return status;
}

static tsr_status run_steps(tsr_cli_session *session) {
  const uint64_t steps = (uint64_t)tsr_cli_count(session->args, TSR_OPTION_STEPS, 1);
  tsr_cli_states states;
  tsr_status status = tsr_cli_states_begin(session, &states);
  for (uint64_t step = 1; status == TSR_OK && step <= steps; step++) {
    status = tsr_cli_session_run(session);
    if (status == TSR_OK)
      status = tsr_cli_states_next(session, &states, step, step == steps);
  }
  if (status == TSR_OK && steps == 0)
    status = tsr_fail(&session->diag, TSR_ERR_ARGUMENT, "--steps 0 runs nothing");
  tsr_cli_states_end(&states);
  return status;
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
  TSR_TRY(run_steps(session));
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
