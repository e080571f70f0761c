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

/* The file of an output without its ending; those of a list have ".0", ".1" and so on behind it. */
typedef struct file_stem {
  char text[MAX_NAME + 48];
  bool is_list;
} file_stem;

/* Whether `other` is a name that an item of the list `list` has. */
static bool is_item_of(const file_stem *other, const file_stem *list) {
  const size_t length = strlen(list->text);
  const char *rest = other->text + length;
  return list->is_list && strncmp(other->text, list->text, length) == 0 && *rest == '.' &&
         rest[1] != '\0' && rest[1 + strspn(rest + 1, "0123456789")] == '\0';
}

static bool clash(const file_stem *a, const file_stem *b) {
  return strcmp(a->text, b->text) == 0 || is_item_of(a, b) || is_item_of(b, a);
}

/* Names that clash with an earlier one are told apart by the output's number. */
static tsr_status choose_stems(tsr_cli_session *session, file_stem *stems) {
  for (uint32_t i = 0; i < session->info.output_count; i++) {
    static const char *const tellers[] = {"", ".", "_"};
    char name[MAX_NAME + 1];
    tsr_port_info port;
    bool fits = false;
    TSR_TRY(tsr_module_get_output(session->module, i, &port));
    safe_name(port.name, name);
    stems[i].is_list = tsr_port_is_list(&port);
    for (uint32_t trial = 0; !fits; trial++) {
      const char *teller = tellers[trial < 2 ? trial : 2];
      snprintf(stems[i].text, sizeof stems[i].text, "%s", name);
      if (*teller != '\0')
        snprintf(stems[i].text, sizeof stems[i].text, "%s%s%" PRIu32, name, teller,
                 trial < 3 ? i : i + trial);
      fits = true;
      for (uint32_t earlier = 0; earlier < i && fits; earlier++)
        fits = !clash(&stems[i], &stems[earlier]);
    }
  }
  return TSR_OK;
}

/* FOLDER/NAME.npy, of a list FOLDER/NAME.0.npy, NAME.1.npy and so on. */
static tsr_status write_output(tsr_cli_session *session, const file_stem *stem,
                               const tsr_host_items *items, const char *folder) {
  char path[4096];
  for (uint64_t i = 0; i < items->count; i++) {
    if (stem->is_list)
      snprintf(path, sizeof path, "%s/%s.%" PRIu64 ".npy", folder, stem->text, i);
    else
      snprintf(path, sizeof path, "%s/%s.npy", folder, stem->text);
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

static tsr_status report_output(tsr_cli_session *session, uint32_t index, const file_stem *stem,
                                const char *folder) {
  tsr_host_items items;
  tsr_port_info port;
  tsr_status status = TSR_OK;
  TSR_TRY(tsr_module_get_output(session->module, index, &port));
  TSR_TRY(tsr_cli_session_output(session, index, &items));
  if (items.absent)
    printf("%s: absent\n", port.name);
  else if (folder != NULL)
    status = write_output(session, stem, &items, folder);
  else
    print_output(&port, &items);
  tsr_port_release(&items);
  return status;
}

static tsr_status report_outputs(tsr_cli_session *session, const char *folder) {
  file_stem *stems = calloc(session->info.output_count + 1, sizeof *stems);
  if (stems == NULL)
    return tsr_fail(&session->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the outputs");
  tsr_status status = choose_stems(session, stems);
  for (uint32_t i = 0; i < session->info.output_count && status == TSR_OK; i++)
    status = report_output(session, i, &stems[i], folder);
  free(stems);
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
  return report_outputs(session, folder);
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
