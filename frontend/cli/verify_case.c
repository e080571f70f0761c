#include "frontend/cli/verify_case.h"
#include "frontend/cli/compare.h"
#include "frontend/cli/model.h"
#include "frontend/onnx/tensor_pb.h"
#include <stdio.h>
#include <string.h>
#include <tessera/runtime.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, MOST_INPUTS = 256 };

/* A data set's input: its file, and a copy aligned as the runtime wants it. */
typedef struct test_input {
  tsr_tensor_file file;
  tsr_host_tensor tensor;
} test_input;

typedef struct test_case {
  const tsr_cli_args *args;
  const char *folder;
  bool compile_only;
  char set[PATH_BYTES]; /* folder of the data set that is being run */
  test_input inputs[MOST_INPUTS];
  tsr_import_assumption assumptions[MOST_INPUTS];
  uint32_t input_count;
  tsr_cli_module loaded; /* compiled for this data set, or for all where no input was relied on */
  tsr_module_info info;
  tsr_exec *exec;
  tsr_diag diag;
} test_case;

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

static tsr_status copy_tensor(test_case *test, const tsr_onnx_tensor *from,
                              tsr_host_tensor *out_tensor) {
  uint32_t rank = from->dims.count > TSR_MAX_RANK ? TSR_MAX_RANK + 1 : (uint32_t)from->dims.count;
  TSR_TRY(tsr_host_tensor_create(out_tensor, from->dtype, rank, from->dims.items, &test->diag));
  if ((uint64_t)out_tensor->bytes != from->bytes)
    return tsr_fail(&test->diag, TSR_ERR_FORMAT, "data and shape do not fit");
  if (from->bytes > 0)
    memcpy(out_tensor->data, from->data, (size_t)from->bytes);
  return TSR_OK;
}

/* ONNX's own writer, whose NumPy has no bfloat16, stores it as uint16. */
static void take_bits_as(tsr_host_tensor *tensor, tsr_dtype wanted) {
  if (tensor->dtype == TSR_U16 && wanted == TSR_BF16)
    tensor->dtype = TSR_BF16;
}

static tsr_status open_inputs(test_case *test) {
  char path[PATH_BYTES + 32];
  for (test->input_count = 0; test->input_count < MOST_INPUTS; test->input_count++) {
    uint32_t number = test->input_count;
    test_input *input = &test->inputs[number];
    snprintf(path, sizeof path, "%s/input_%u.pb", test->set, (unsigned)number);
    if (!exists(path))
      return TSR_OK;
    TSR_TRY(tsr_tensor_file_open(&input->file, tsr_allocator_default(), path, &test->diag));
    input->tensor = (tsr_host_tensor){0};
    tsr_status status = copy_tensor(test, &input->file.tensor, &input->tensor);
    if (status != TSR_OK) {
      tsr_host_tensor_destroy(&input->tensor);
      tsr_tensor_file_close(&input->file);
      return status;
    }
    test->assumptions[number] =
        (tsr_import_assumption){.name = input->file.tensor.name, .tensor = &input->file.tensor};
  }
  return tsr_fail(&test->diag, TSR_ERR_LIMIT, "more than %d inputs", MOST_INPUTS);
}

static void close_inputs(test_case *test) {
  for (uint32_t i = 0; i < test->input_count; i++) {
    tsr_host_tensor_destroy(&test->inputs[i].tensor);
    tsr_tensor_file_close(&test->inputs[i].file);
  }
  test->input_count = 0;
}

static bool relied_on_input(const test_case *test) {
  bool used = false;
  for (uint32_t i = 0; i < MOST_INPUTS; i++)
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
  if (status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY || test->input_count == 0)
    return status;
  tsr_diag_clear(&test->diag);
  source.assumptions = test->assumptions;
  source.assumption_count = test->input_count;
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

/* The file's name for the tensor decides which input it is, its number where that says nothing. */
static tsr_status bind_input(test_case *test, uint32_t number) {
  tsr_host_tensor *tensor = &test->inputs[number].tensor;
  uint32_t index;
  if (tsr_module_find_input(test->loaded.module, test->assumptions[number].name, &index) !=
      TSR_OK) {
    if (test->assumptions[number].used || number >= test->info.input_count)
      return TSR_OK;
    index = number;
  }
  tsr_port_info port;
  if (tsr_module_get_input(test->loaded.module, index, &port) == TSR_OK)
    take_bits_as(tensor, port.dtype);
  DLTensor view = {.data = tensor->data,
                   .device = {.device_type = kDLCPU},
                   .ndim = (int32_t)tensor->rank,
                   .dtype = tsr_dtype_to_dlpack(tensor->dtype),
                   .shape = tensor->dims};
  tsr_status status = tsr_exec_bind_input(test->exec, index, &view);
  return status == TSR_OK ? TSR_OK : exec_failed(test, status);
}

static tsr_status compare_output(test_case *test, uint32_t index, const tsr_onnx_tensor *wanted) {
  DLTensor view;
  tsr_status status = tsr_exec_output(test->exec, index, &view);
  if (status != TSR_OK)
    return exec_failed(test, status);
  tsr_host_tensor actual = {.dtype = tsr_dtype_from_dlpack(view.dtype),
                            .rank = (uint32_t)view.ndim,
                            .count = 1,
                            .data = (char *)view.data + view.byte_offset};
  for (int32_t i = 0; i < view.ndim; i++) {
    actual.dims[i] = view.shape[i];
    actual.count *= view.shape[i];
  }
  char reason[512];
  tsr_host_tensor expected = {0};
  status = copy_tensor(test, wanted, &expected);
  take_bits_as(&expected, actual.dtype);
  if (status == TSR_OK && !tsr_tensors_agree(&actual, &expected, reason, sizeof reason))
    status = tsr_fail(&test->diag, TSR_ERR_VERIFY, "output %u: %s", (unsigned)index, reason);
  tsr_host_tensor_destroy(&expected);
  return status;
}

static tsr_status check_outputs(test_case *test) {
  char path[PATH_BYTES + 32];
  tsr_tensor_file file;
  for (uint32_t i = 0; i < test->info.output_count; i++) {
    snprintf(path, sizeof path, "%s/output_%u.pb", test->set, (unsigned)i);
    if (!exists(path))
      return i > 0 ? TSR_OK
                   : tsr_fail(&test->diag, TSR_ERR_UNSUPPORTED, "it has no expected outputs");
    TSR_TRY(tsr_tensor_file_open(&file, tsr_allocator_default(), path, &test->diag));
    tsr_status status = compare_output(test, i, &file.tensor);
    tsr_tensor_file_close(&file);
    TSR_TRY(status);
  }
  return TSR_OK;
}

/* Data that cannot be read, such as a sequence's, matters only if the model could be compiled. */
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
