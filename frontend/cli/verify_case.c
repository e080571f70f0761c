#include "frontend/cli/verify_case.h"
#include "frontend/cli/compare.h"
#include "frontend/cli/model.h"
#include "frontend/cli/port.h"
#include "frontend/onnx/value_pb.h"
#include <stdio.h>
#include <string.h>
#include <tessera/runtime.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, MOST_PORTS = 256 };

/* A data set's input: its file, and a copy aligned as the runtime wants it. */
typedef struct test_input {
  tsr_value_file file;
  tsr_host_items items;
  tsr_import_assumption *assumption; /* NULL for what the import cannot rely on */
} test_input;

typedef struct test_case {
  const tsr_cli_args *args;
  const char *folder;
  bool compile_only;
  char set[PATH_BYTES]; /* folder of the data set that is being run */
  tsr_value_kind input_kinds[MOST_PORTS], output_kinds[MOST_PORTS]; /* as the model says */
  test_input inputs[MOST_PORTS];
  uint32_t input_count;
  tsr_import_assumption assumptions[MOST_PORTS];
  uint32_t assumption_count;
  tsr_cli_module loaded; /* compiled for this data set, or for all where no input was relied on */
  tsr_module_info info;
  tsr_exec *exec;
  tsr_diag diag;
} test_case;

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

/* What the files hold; a model that cannot be read is refused when it is compiled. */
static void read_kinds(test_case *test) {
  char path[PATH_BYTES];
  tsr_onnx_model model;
  tsr_diag unused = {0};
  snprintf(path, sizeof path, "%s/model.onnx", test->folder);
  if (tsr_onnx_model_open(&model, tsr_allocator_default(), path, &unused) != TSR_OK)
    return;
  const tsr_onnx_graph *graph = model.proto.graph;
  for (uint64_t i = 0; graph != NULL && i < graph->inputs.count && i < MOST_PORTS; i++)
    test->input_kinds[i] = tsr_value_kind_of(graph->inputs.items[i].type);
  for (uint64_t i = 0; graph != NULL && i < graph->outputs.count && i < MOST_PORTS; i++)
    test->output_kinds[i] = tsr_value_kind_of(graph->outputs.items[i].type);
  tsr_onnx_model_close(&model);
}

static tsr_status copy_texts(test_case *test, const tsr_onnx_tensor *from, uint32_t rank,
                             tsr_host_tensor *out_tensor) {
  size_t bytes = 0;
  for (uint64_t i = 0; i < from->string_data.count; i++)
    bytes += (size_t)from->string_data.items[i].size + 1;
  TSR_TRY(tsr_host_tensor_create_text(out_tensor, rank, from->dims.items, bytes, &test->diag));
  const char **texts = out_tensor->data;
  char *at = out_tensor->characters;
  for (uint64_t i = 0; i < from->string_data.count; i++) {
    const tsr_wire_bytes *text = &from->string_data.items[i];
    texts[i] = at;
    if (text->size > 0)
      memcpy(at, text->data, (size_t)text->size);
    at += text->size + 1;
  }
  return TSR_OK;
}

static tsr_status copy_tensor(test_case *test, const tsr_onnx_tensor *from,
                              tsr_host_tensor *out_tensor) {
  uint32_t rank = from->dims.count > TSR_MAX_RANK ? TSR_MAX_RANK + 1 : (uint32_t)from->dims.count;
  if (tsr_onnx_tensor_is_text(from))
    return copy_texts(test, from, rank, out_tensor);
  TSR_TRY(tsr_host_tensor_create(out_tensor, from->dtype, rank, from->dims.items, &test->diag));
  if ((uint64_t)out_tensor->bytes != from->bytes)
    return tsr_fail(&test->diag, TSR_ERR_FORMAT, "data and shape do not fit");
  if (from->bytes > 0)
    memcpy(out_tensor->data, from->data, (size_t)from->bytes);
  return TSR_OK;
}

static tsr_status copy_value(test_case *test, const tsr_value_file *file,
                             tsr_host_items *out_items) {
  TSR_TRY(tsr_host_items_create(out_items, file->count, &test->diag));
  out_items->absent = file->absent;
  tsr_status status = TSR_OK;
  for (uint64_t i = 0; i < file->count && status == TSR_OK; i++)
    status = copy_tensor(test, &file->items[i], &out_items->items[i]);
  if (status != TSR_OK)
    tsr_host_items_destroy(out_items);
  return status;
}

/* ONNX's own writer, whose NumPy has no bfloat16, stores it as uint16. */
static void take_bits_as(tsr_host_items *items, tsr_dtype wanted) {
  for (uint64_t i = 0; i < items->count; i++)
    if (items->items[i].dtype == TSR_U16 && wanted == TSR_BF16)
      items->items[i].dtype = TSR_BF16;
}

static tsr_status open_input(test_case *test, const char *path, tsr_value_kind kind,
                             test_input *input) {
  *input = (test_input){0};
  TSR_TRY(tsr_value_file_open(&input->file, tsr_allocator_default(), path, kind, &test->diag));
  tsr_status status = copy_value(test, &input->file, &input->items);
  if (status != TSR_OK) {
    tsr_value_file_close(&input->file);
    return status;
  }
  if (kind != TSR_VALUE_TENSOR || input->items.items[0].is_text)
    return TSR_OK;
  input->assumption = &test->assumptions[test->assumption_count++];
  *input->assumption =
      (tsr_import_assumption){.name = input->file.name, .tensor = &input->file.items[0]};
  return TSR_OK;
}

static tsr_status open_inputs(test_case *test) {
  char path[PATH_BYTES + 32];
  test->assumption_count = 0;
  for (test->input_count = 0; test->input_count < MOST_PORTS; test->input_count++) {
    uint32_t number = test->input_count;
    snprintf(path, sizeof path, "%s/input_%u.pb", test->set, (unsigned)number);
    if (!exists(path))
      return TSR_OK;
    TSR_TRY(open_input(test, path, test->input_kinds[number], &test->inputs[number]));
  }
  return tsr_fail(&test->diag, TSR_ERR_LIMIT, "more than %d inputs", MOST_PORTS);
}

static void close_inputs(test_case *test) {
  for (uint32_t i = 0; i < test->input_count; i++) {
    tsr_host_items_destroy(&test->inputs[i].items);
    tsr_value_file_close(&test->inputs[i].file);
  }
  test->input_count = 0;
}

static bool relied_on_input(const test_case *test) {
  bool used = false;
  for (uint32_t i = 0; i < test->assumption_count; i++)
    used |= test->assumptions[i].used;
  return used;
}

static void unload(test_case *test) {
  tsr_exec_destroy(test->exec);
  test->exec = NULL;
  tsr_cli_module_close(&test->loaded);
}

/* What is not supported as data (axes, ranks) is compiled in: the module is then for these inputs.
 */
static tsr_status compile(test_case *test, const char *path) {
  tsr_model_source source = {.path = path};
  tsr_status status = tsr_cli_module_open(test->args, &source, &test->loaded, &test->diag);
  if (status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY || test->assumption_count == 0)
    return status;
  tsr_diag_clear(&test->diag);
  source.assumptions = test->assumptions;
  source.assumption_count = test->assumption_count;
  return tsr_cli_module_open(test->args, &source, &test->loaded, &test->diag);
}

static tsr_status load(test_case *test) {
  char path[PATH_BYTES];
  tsr_message message = {""};
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  snprintf(path, sizeof path, "%s/model.tsm", test->folder);
  if (!exists(path))
    snprintf(path, sizeof path, "%s/model.onnx", test->folder);
  TSR_TRY(compile(test, path));
  tsr_module_get_info(test->loaded.module, &test->info);
  if (test->compile_only)
    return TSR_OK;
  tsr_status status = tsr_exec_create(test->loaded.module, &options, &test->exec, &message);
  return status == TSR_OK ? TSR_OK : tsr_fail(&test->diag, status, "%s", message.text);
}

static tsr_status exec_failed(test_case *test, tsr_status status) {
  return tsr_fail(&test->diag, status, "%s", tsr_exec_last_error(test->exec));
}

/* The file's name for the value decides which input it is, its number where that says nothing. */
static tsr_status bind_input(test_case *test, uint32_t number) {
  test_input *input = &test->inputs[number];
  uint32_t index;
  if (tsr_module_find_input(test->loaded.module, input->file.name, &index) != TSR_OK) {
    const bool used = input->assumption != NULL && input->assumption->used;
    if (used || number >= test->info.input_count)
      return TSR_OK;
    index = number;
  }
  tsr_port_info port;
  if (tsr_module_get_input(test->loaded.module, index, &port) == TSR_OK)
    take_bits_as(&input->items, port.dtype);
  return tsr_port_bind(test->exec, test->loaded.module, index, &input->items, &test->diag);
}

static tsr_status compare_output(test_case *test, uint32_t index, const tsr_value_file *wanted) {
  tsr_host_items actual, expected;
  tsr_port_info port;
  char reason[700];
  TSR_TRY(tsr_port_output(test->exec, test->loaded.module, index, &actual, &test->diag));
  tsr_status status = copy_value(test, wanted, &expected);
  if (status == TSR_OK && tsr_module_get_output(test->loaded.module, index, &port) == TSR_OK) {
    take_bits_as(&expected, port.dtype);
    if (!wanted->absent && tsr_port_is_list(&port) != wanted->is_list)
      status = tsr_fail(&test->diag, TSR_ERR_VERIFY, "output %u: %s a list", (unsigned)index,
                        wanted->is_list ? "is not" : "is");
    else if (!tsr_items_agree(&actual, &expected, reason, sizeof reason))
      status = tsr_fail(&test->diag, TSR_ERR_VERIFY, "output %u: %s", (unsigned)index, reason);
  }
  tsr_host_items_destroy(&expected);
  tsr_port_release(&actual);
  return status;
}

static tsr_status check_outputs(test_case *test) {
  char path[PATH_BYTES + 32];
  tsr_value_file file;
  for (uint32_t i = 0; i < test->info.output_count; i++) {
    snprintf(path, sizeof path, "%s/output_%u.pb", test->set, (unsigned)i);
    if (!exists(path))
      return i > 0 ? TSR_OK
                   : tsr_fail(&test->diag, TSR_ERR_UNSUPPORTED, "it has no expected outputs");
    const tsr_value_kind kind = i < MOST_PORTS ? test->output_kinds[i] : TSR_VALUE_TENSOR;
    TSR_TRY(tsr_value_file_open(&file, tsr_allocator_default(), path, kind, &test->diag));
    tsr_status status = compare_output(test, i, &file);
    tsr_value_file_close(&file);
    TSR_TRY(status);
  }
  return TSR_OK;
}

/* Data that cannot be read, such as a map's, matters only if the model could be compiled. */
static tsr_status explain_unreadable_inputs(test_case *test, tsr_status status) {
  tsr_diag about_inputs = test->diag;
  tsr_diag_clear(&test->diag);
  close_inputs(test);
  if (load(test) == TSR_ERR_UNSUPPORTED)
    return TSR_ERR_UNSUPPORTED;
  test->diag = about_inputs;
  return status;
}

static tsr_status run_set(test_case *test) {
  tsr_status opened = open_inputs(test);
  if (opened != TSR_OK)
    return explain_unreadable_inputs(test, opened);
  if (test->loaded.module == NULL)
    TSR_TRY(load(test));
  if (test->compile_only)
    return TSR_OK;
  for (uint32_t i = 0; i < test->input_count; i++)
    TSR_TRY(bind_input(test, i));
  tsr_status status = tsr_exec_run(test->exec);
  if (status != TSR_OK)
    return exec_failed(test, status);
  return check_outputs(test);
}

static tsr_status run_sets(test_case *test) {
  for (unsigned set = 0;; set++) {
    snprintf(test->set, sizeof test->set, "%s/test_data_set_%u", test->folder, set);
    if (!exists(test->set))
      return set > 0 ? TSR_OK
                     : tsr_fail(&test->diag, TSR_ERR_UNSUPPORTED, "it has no test_data_set_0");
    tsr_status status = run_set(test);
    if (relied_on_input(test))
      unload(test);
    close_inputs(test);
    TSR_TRY(status);
  }
}

tsr_verdict tsr_verify_case(const tsr_cli_args *args, const char *folder, char *out_reason,
                            size_t reason_size) {
  static test_case test;
  test = (test_case){
      .args = args, .folder = folder, .compile_only = tsr_cli_has(args, TSR_OPTION_COMPILE_ONLY)};
  *out_reason = '\0';
  read_kinds(&test);
  tsr_status status = run_sets(&test);
  if (status != TSR_OK) {
    /* The line names the directory already. */
    test.diag.file[0] = '\0';
    tsr_diag_format(&test.diag, out_reason, (uint32_t)reason_size);
  }
  unload(&test);
  if (status == TSR_OK)
    return TSR_VERDICT_PASS;
  return status == TSR_ERR_UNSUPPORTED ? TSR_VERDICT_SKIP : TSR_VERDICT_FAIL;
}
