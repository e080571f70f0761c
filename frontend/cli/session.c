#include "frontend/cli/session.h"
#include "frontend/cli/emulated.h"
#include "frontend/cli/npy.h"
#include "runtime/clock.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static tsr_status exec_failed(tsr_cli_session *session, tsr_status status) {
  (void)tsr_fail(&session->diag, status, "%s", tsr_exec_last_error(session->exec));
  tsr_diag_set_file(&session->diag, session->path);
  return status;
}

static int find_dim(const tsr_cli_session *session, const char *name, size_t length) {
  for (uint32_t i = 0; i < session->info.dim_count; i++) {
    tsr_dim_info dim;
    if (tsr_module_get_dim(session->module, i, &dim) == TSR_OK && strlen(dim.name) == length &&
        memcmp(dim.name, name, length) == 0)
      return (int)i;
  }
  return -1;
}

/* Takes the values that --dim fixes; bounds, and dims that were fixed when compiling, say nothing
 * here. */
static void take_dim_options(tsr_cli_session *session) {
  int position = 0;
  const char *text;
  while ((text = tsr_cli_next(session->args, TSR_OPTION_DIM, &position)) != NULL) {
    size_t length = strcspn(text, "=");
    int dim = find_dim(session, text, length);
    if (dim < 0 || text[length] == '\0' || strstr(text, "..") != NULL)
      continue;
    session->dim_values[dim] = strtoll(text + length + 1, NULL, 10);
  }
}

static tsr_status bind(tsr_cli_session *session, uint32_t index) {
  tsr_status status =
      tsr_port_bind(session->exec, session->module, index, &session->inputs[index], &session->diag);
  if (status != TSR_OK)
    tsr_diag_set_file(&session->diag, session->path);
  return status;
}

/* Lets the shape of a given input decide the dims it names. */
static void learn_dims(tsr_cli_session *session, const tsr_port_info *port,
                       const tsr_host_tensor *input) {
  for (uint32_t i = 0; i < port->rank && port->rank == input->rank; i++) {
    int dim =
        port->dims[i] < 0 ? find_dim(session, port->dim_texts[i], strlen(port->dim_texts[i])) : -1;
    if (dim >= 0)
      session->dim_values[dim] = input->dims[i];
  }
}

/* Files of a list: commas part them, "\\," is a comma of a name. None in an empty text. */
static uint64_t count_files(const char *text) {
  uint64_t count = *text != '\0';
  for (; *text != '\0'; text++) {
    if (*text == '\\' && text[1] == ',')
      text++;
    else if (*text == ',')
      count++;
  }
  return count;
}

/* Takes the next file's name out of the list. */
static bool next_file(const char **text, char *out, size_t out_size) {
  size_t length = 0;
  for (; **text != '\0' && **text != ','; ++*text) {
    if (**text == '\\' && (*text)[1] == ',')
      ++*text;
    if (length + 1 < out_size)
      out[length++] = **text;
  }
  out[length] = '\0';
  *text += **text == ',';
  return length + 1 < out_size;
}

/* The files of an input: one of a tensor, any number of a list, none of an absent optional. */
static tsr_status read_files(tsr_cli_session *session, const tsr_port_info *port, const char *text,
                             tsr_host_items *items) {
  char path[4096];
  const uint64_t count = tsr_port_is_list(port) ? count_files(text) : *text != '\0';
  if (count == 0 && port->kind == TSR_PORT_TENSOR)
    return tsr_fail(&session->diag, TSR_ERR_ARGUMENT,
                    "--input %s= names no file; only a list can be empty", port->name);
  TSR_TRY(tsr_host_items_create(items, count, &session->diag));
  items->absent = count == 0 && port->kind == TSR_PORT_OPTIONAL;
  for (uint64_t i = 0; i < count; i++) {
    bool fits = true;
    if (tsr_port_is_list(port))
      fits = next_file(&text, path, sizeof path);
    else
      fits = snprintf(path, sizeof path, "%s", text) < (int)sizeof path;
    if (!fits)
      return tsr_fail(&session->diag, TSR_ERR_ARGUMENT, "a file's name in --input is too long");
    TSR_TRY(tsr_npy_read(path, port->dtype, &items->items[i], &session->diag));
  }
  return TSR_OK;
}

static tsr_status read_input(tsr_cli_session *session, const char *text) {
  const char *equals = strchr(text, '=');
  if (equals == NULL || equals == text)
    return tsr_fail(&session->diag, TSR_ERR_ARGUMENT, "--input wants NAME=FILE.npy, not '%s'",
                    text);
  char name[512];
  uint32_t index = 0;
  snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
  if (tsr_module_find_input(session->module, name, &index) != TSR_OK) {
    tsr_diag_set_file(&session->diag, session->path);
    return tsr_fail(&session->diag, TSR_ERR_NOT_FOUND,
                    "the model has no input '%s'; 'tessera inspect' lists inputs", name);
  }
  tsr_port_info port;
  TSR_TRY(tsr_module_get_input(session->module, index, &port));
  tsr_host_items_destroy(&session->inputs[index]);
  session->given[index] = true;
  TSR_TRY(read_files(session, &port, equals + 1, &session->inputs[index]));
  if (port.kind == TSR_PORT_TENSOR)
    learn_dims(session, &port, &session->inputs[index].items[0]);
  return bind(session, index);
}

/* The extent of a random input's dim: fixed, known from elsewhere, or the least that is allowed but
 * not 0. */
static tsr_status choose_extent(tsr_cli_session *session, const tsr_port_info *port, uint32_t axis,
                                int64_t *out_extent) {
  *out_extent = port->dims[axis];
  if (*out_extent >= 0)
    return TSR_OK;
  const char *text = port->dim_texts[axis];
  int index = find_dim(session, text, strlen(text));
  tsr_dim_info dim;
  if (index < 0 || tsr_module_get_dim(session->module, (uint32_t)index, &dim) != TSR_OK)
    return tsr_fail(&session->diag, TSR_ERR_SHAPE,
                    "dim %" PRIu32 " of input '%s' is %s: give the input by --input", axis,
                    port->name, text);
  int64_t *value = &session->dim_values[index];
  if (*value < 0) {
    *value = dim.lo > 0 || dim.hi < 1 ? dim.lo : 1;
    if (!tsr_cli_has(session->args, TSR_OPTION_QUIET))
      fprintf(stderr, "dim %s is %" PRId64 "; --dim %s=N chooses another\n", text, *value, text);
  }
  *out_extent = *value;
  return TSR_OK;
}

/* A tensor, or a short list of tensors of one shape. */
static tsr_status make_random_input(tsr_cli_session *session, uint32_t index, uint64_t seed) {
  enum { LIST_LENGTH = 3 };
  tsr_port_info port;
  int64_t dims[TSR_MAX_RANK] = {0};
  tsr_host_items *input = &session->inputs[index];
  TSR_TRY(tsr_module_get_input(session->module, index, &port));
  if (port.rank == TSR_ANY_RANK)
    return tsr_fail(&session->diag, TSR_ERR_SHAPE,
                    "input '%s' is a list of tensors of any rank: give it by --input", port.name);
  for (uint32_t i = 0; i < port.rank; i++)
    TSR_TRY(choose_extent(session, &port, i, &dims[i]));
  TSR_TRY(tsr_host_items_create(input, tsr_port_is_list(&port) ? LIST_LENGTH : 1, &session->diag));
  for (uint64_t i = 0; i < input->count; i++) {
    tsr_host_tensor *tensor = &input->items[i];
    if (port.is_text != 0)
      TSR_TRY(tsr_host_tensor_create_text(tensor, port.rank, dims, 0, &session->diag));
    else
      TSR_TRY(tsr_host_tensor_create(tensor, port.dtype, port.rank, dims, &session->diag));
    tsr_host_tensor_fill_random(tensor, seed + UINT64_C(0x100000001) * index + 7919 * i);
  }
  return bind(session, index);
}

static tsr_status bind_missing(tsr_cli_session *session, uint32_t index, uint64_t seed) {
  tsr_port_info port;
  TSR_TRY(tsr_module_get_input(session->module, index, &port));
  if (!tsr_port_is_optional(&port))
    return make_random_input(session, index, seed);
  session->inputs[index].absent = true;
  return bind(session, index);
}

static tsr_status bind_inputs(tsr_cli_session *session) {
  session->inputs = calloc(session->info.input_count + 1, sizeof *session->inputs);
  session->given = calloc(session->info.input_count + 1, sizeof *session->given);
  session->dim_values = calloc(session->info.dim_count + 1, sizeof *session->dim_values);
  if (session->inputs == NULL || session->given == NULL || session->dim_values == NULL)
    return tsr_fail(&session->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the inputs");
  for (uint32_t i = 0; i < session->info.dim_count; i++)
    session->dim_values[i] = -1;
  take_dim_options(session);
  int position = 0;
  const char *text;
  while ((text = tsr_cli_next(session->args, TSR_OPTION_INPUT, &position)) != NULL)
    TSR_TRY(read_input(session, text));
  uint64_t seed = (uint64_t)tsr_cli_count(session->args, TSR_OPTION_SEED, 1);
  for (uint32_t i = 0; i < session->info.input_count; i++) {
    if (!session->given[i])
      TSR_TRY(bind_missing(session, i, seed));
  }
  return TSR_OK;
}

tsr_status tsr_cli_session_open(tsr_cli_session *session, const tsr_cli_args *args) {
  *session = (tsr_cli_session){.args = args, .path = args->positional[0]};
  tsr_model_source source = {.path = session->path};
  tsr_cli_use_emulated_device(args);
  TSR_TRY(tsr_cli_module_open(args, &source, &session->loaded, &session->diag));
  session->module = session->loaded.module;
  session->load_ns = session->loaded.load_ns;
  tsr_module_get_info(session->module, &session->info);
  tsr_exec_options options = {.size = sizeof options};
  options.threads = (uint32_t)tsr_cli_count(args, TSR_OPTION_THREADS, 0);
  tsr_message message;
  int64_t begin_ns = tsr_time_ns();
  tsr_status status = tsr_exec_create(session->module, &options, &session->exec, &message);
  session->load_ns += tsr_time_ns() - begin_ns;
  if (status == TSR_OK)
    return bind_inputs(session);
  tsr_diag_set_file(&session->diag, session->path);
  return tsr_fail(&session->diag, status, "%s", message.text);
}

void tsr_cli_session_close(tsr_cli_session *session) {
  tsr_exec_destroy(session->exec);
  for (uint32_t i = 0; session->inputs != NULL && i < session->info.input_count; i++)
    tsr_host_items_destroy(&session->inputs[i]);
  free(session->inputs);
  free(session->given);
  free(session->dim_values);
  tsr_cli_module_close(&session->loaded);
  *session = (tsr_cli_session){0};
}

tsr_status tsr_cli_session_run(tsr_cli_session *session) {
  tsr_status status = tsr_exec_run(session->exec);
  return status == TSR_OK ? TSR_OK : exec_failed(session, status);
}

tsr_status tsr_cli_session_output(tsr_cli_session *session, uint32_t index,
                                  tsr_host_items *out_items) {
  tsr_status status =
      tsr_port_output(session->exec, session->module, index, out_items, &session->diag);
  if (status != TSR_OK)
    tsr_diag_set_file(&session->diag, session->path);
  return status;
}
