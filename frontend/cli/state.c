#include "frontend/cli/state.h"
#include "runtime/float_convert.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static tsr_status find_ports(tsr_cli_session *session, const char *text, tsr_cli_state *out) {
  char input[512];
  const char *equals = strchr(text, '=');
  if (equals == NULL || equals == text || equals[1] == '\0')
    return tsr_fail(&session->diag, TSR_ERR_ARGUMENT, "--state wants INPUT=OUTPUT, not '%s'", text);
  snprintf(input, sizeof input, "%.*s", (int)(equals - text), text);
  tsr_diag_set_file(&session->diag, session->path);
  if (tsr_module_find_input(session->module, input, &out->input) != TSR_OK)
    return tsr_fail(&session->diag, TSR_ERR_NOT_FOUND,
                    "the model has no input '%s'; 'tessera inspect' lists inputs", input);
  if (tsr_module_find_output(session->module, equals + 1, &out->output) != TSR_OK)
    return tsr_fail(&session->diag, TSR_ERR_NOT_FOUND,
                    "the model has no output '%s'; 'tessera inspect' lists outputs", equals + 1);
  tsr_diag_clear(&session->diag);
  return TSR_OK;
}

static bool is_float(tsr_dtype dtype) {
  return tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
}

static tsr_status check_ports(tsr_cli_session *session, tsr_cli_state *state) {
  tsr_port_info in, out;
  TSR_TRY(tsr_module_get_input(session->module, state->input, &in));
  TSR_TRY(tsr_module_get_output(session->module, state->output, &out));
  bool tensors = in.kind == TSR_PORT_TENSOR && out.kind == TSR_PORT_TENSOR && in.is_text == 0 &&
                 out.is_text == 0;
  state->choice = tensors && is_float(out.dtype) && !is_float(in.dtype) && in.dtype != TSR_BOOL &&
                  out.rank == in.rank + 1;
  state->in_place = tensors && out.alias != NULL && strcmp(out.alias, in.name) == 0;
  if (tensors && (state->choice || (in.dtype == out.dtype && in.rank == out.rank)))
    return TSR_OK;
  tsr_diag_set_file(&session->diag, session->path);
  return tsr_fail(&session->diag, TSR_ERR_TYPE,
                  "--state %s=%s: the output is %s of rank %" PRIu32
                  ", which cannot become an input of %s and rank %" PRIu32,
                  in.name, out.name, tsr_dtype_text(out.dtype), out.rank, tsr_dtype_text(in.dtype),
                  in.rank);
}

/* The output is written where the input is. */
static tsr_status bind_in_place(tsr_cli_session *session, const tsr_cli_state *state) {
  tsr_host_tensor *tensor = &session->inputs[state->input].items[0];
  DLTensor view = {.data = tensor->data,
                   .device = {.device_type = kDLCPU},
                   .ndim = (int32_t)tensor->rank,
                   .dtype = tsr_dtype_to_dlpack(tensor->dtype),
                   .shape = tensor->dims};
  tsr_status status = tsr_exec_bind_output(session->exec, state->output, &view);
  if (status == TSR_OK)
    return TSR_OK;
  tsr_diag_set_file(&session->diag, session->path);
  return tsr_fail(&session->diag, status, "%s", tsr_exec_last_error(session->exec));
}

tsr_status tsr_cli_states_begin(tsr_cli_session *session, tsr_cli_states *out_states) {
  const char *text;
  int position = 0;
  *out_states = (tsr_cli_states){0};
  while (tsr_cli_next(session->args, TSR_OPTION_STATE, &position) != NULL)
    out_states->count++;
  out_states->items = calloc((size_t)out_states->count + 1, sizeof *out_states->items);
  if (out_states->items == NULL)
    return tsr_fail(&session->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the states");
  position = 0;
  for (uint32_t i = 0; (text = tsr_cli_next(session->args, TSR_OPTION_STATE, &position)) != NULL;
       i++) {
    TSR_TRY(find_ports(session, text, &out_states->items[i]));
    TSR_TRY(check_ports(session, &out_states->items[i]));
    if (out_states->items[i].in_place)
      TSR_TRY(bind_in_place(session, &out_states->items[i]));
  }
  return TSR_OK;
}

void tsr_cli_states_end(tsr_cli_states *states) {
  free(states->items);
  *states = (tsr_cli_states){0};
}

/* NaN is never chosen; of equal ones the first is. */
static int64_t largest(const tsr_host_tensor *from, int64_t first, int64_t count) {
  int64_t best = 0;
  double most = 0;
  bool any = false;
  for (int64_t i = 0; i < count; i++) {
    double value = tsr_element_load_f64(from->dtype, from->data, first + i);
    if ((any && !(value > most)) || value != value)
      continue;
    any = true;
    most = value;
    best = i;
  }
  return best;
}

static tsr_status choose(tsr_cli_session *session, const tsr_host_tensor *from, tsr_dtype dtype,
                         tsr_host_tensor *out) {
  uint32_t rank = from->rank - 1;
  int64_t dims[TSR_MAX_RANK], width = from->dims[rank], rows = 1;
  memcpy(dims, from->dims, sizeof dims);
  if (rank > 1) {
    rows = dims[rank - 1];
    dims[rank - 1] = 1;
  }
  TSR_TRY(tsr_host_tensor_create(out, dtype, rank, dims, &session->diag));
  if (rows == 0 || width == 0)
    return tsr_fail(&session->diag, TSR_ERR_SHAPE, "there is nothing to choose from");
  for (int64_t i = 0; i < out->count; i++)
    tsr_element_store_i64(dtype, out->data, i, largest(from, ((i + 1) * rows - 1) * width, width));
  return TSR_OK;
}

static void print_choice(const char *name, const tsr_host_tensor *tensor, uint64_t step) {
  printf("step %" PRIu64 ": %s", step, name);
  for (int64_t i = 0; i < tensor->count; i++)
    printf(" %" PRId64, tsr_element_load_i64(tensor->dtype, tensor->data, i));
  putchar('\n');
}

static tsr_status make_next(tsr_cli_session *session, const tsr_cli_state *state, uint64_t step,
                            tsr_host_items *out_items) {
  tsr_host_items made;
  tsr_port_info in;
  TSR_TRY(tsr_module_get_input(session->module, state->input, &in));
  TSR_TRY(tsr_host_items_create(out_items, 1, &session->diag));
  TSR_TRY(tsr_cli_session_output(session, state->output, &made));
  const tsr_host_tensor *from = &made.items[0];
  tsr_status status;
  if (state->choice)
    status = choose(session, from, in.dtype, &out_items->items[0]);
  else
    status = tsr_host_tensor_create(&out_items->items[0], from->dtype, from->rank, from->dims,
                                    &session->diag);
  if (status == TSR_OK && state->choice)
    print_choice(in.name, &out_items->items[0], step);
  else if (status == TSR_OK && from->bytes > 0)
    memcpy(out_items->items[0].data, from->data, (size_t)from->bytes);
  tsr_port_release(&made);
  return status;
}

/* All are made before any is replaced, as outputs may be views of what the exec still has. */
tsr_status tsr_cli_states_next(tsr_cli_session *session, const tsr_cli_states *states,
                               uint64_t step, bool last) {
  tsr_host_items *next = calloc((size_t)states->count + 1, sizeof *next);
  tsr_status status = next == NULL
                          ? tsr_fail(&session->diag, TSR_ERR_OUT_OF_MEMORY, "no memory for states")
                          : TSR_OK;
  for (uint32_t i = 0; status == TSR_OK && i < states->count; i++)
    if (!states->items[i].in_place && (states->items[i].choice || !last))
      status = make_next(session, &states->items[i], step, &next[i]);
  for (uint32_t i = 0; status == TSR_OK && !last && i < states->count; i++) {
    uint32_t input = states->items[i].input;
    if (states->items[i].in_place)
      continue;
    tsr_host_items_destroy(&session->inputs[input]);
    session->inputs[input] = next[i];
    next[i] = (tsr_host_items){0};
    status = tsr_port_bind(session->exec, session->module, input, &session->inputs[input],
                           &session->diag);
  }
  for (uint32_t i = 0; next != NULL && i < states->count; i++)
    tsr_host_items_destroy(&next[i]);
  free(next);
  return status;
}
