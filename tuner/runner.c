#include "tuner/runner.h"
#include "runtime/float_convert.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

bool tsr_runner_data_make(const tsr_memo_layout *layout, const void *base, tsr_arena *arena,
                          const tsr_allocator *allocator, tsr_runner_data *out) {
  out->inputs = tsr_arena_alloc_array(arena, layout->input_count, sizeof *out->inputs);
  out->outputs = tsr_arena_alloc_array(arena, layout->output_count, sizeof *out->outputs);
  if (out->inputs == NULL || out->outputs == NULL)
    return false;
  for (uint32_t i = 0; i < layout->input_count; i++) {
    const tsr_memo_tensor *input = &layout->inputs[i];
    out->inputs[i] = allocator->allocate(allocator->context, input->bytes + 1, 64);
    if (out->inputs[i] == NULL)
      return false;
    memcpy(out->inputs[i], (const char *)base + input->at, input->bytes);
  }
  for (uint32_t i = 0; i < layout->output_count; i++) {
    out->outputs[i] = allocator->allocate(allocator->context, layout->outputs[i].bytes + 1, 64);
    if (out->outputs[i] == NULL)
      return false;
  }
  return true;
}

static tsr_status map_bytes(int fd, size_t size, tsr_runner *runner, tsr_message *message) {
  void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (size == 0 || bytes == MAP_FAILED) {
    snprintf(message->text, sizeof message->text, "the module has no bytes");
    return size == 0 ? TSR_ERR_FORMAT : TSR_ERR_OUT_OF_MEMORY;
  }
  runner->bytes = bytes;
  runner->size = size;
  return TSR_OK;
}

static DLTensor view(const tsr_memo_tensor *tensor, void *data) {
  return (DLTensor){.data = data,
                    .device = {kDLCPU, 0},
                    .ndim = (int32_t)tensor->rank,
                    .dtype = tsr_dtype_to_dlpack(tensor->dtype),
                    .shape = tensor->dims};
}

static tsr_status bind(tsr_runner *runner, const tsr_memo_layout *layout,
                       const tsr_runner_data *data, bool bind_outputs) {
  uint32_t number;
  for (uint32_t i = 0; i < layout->input_count; i++) {
    const DLTensor tensor = view(&layout->inputs[i], data->inputs[i]);
    if (tsr_module_find_input(runner->module, layout->inputs[i].name, &number) == TSR_OK)
      TSR_TRY(tsr_exec_bind_input(runner->exec, number, &tensor));
  }
  for (uint32_t i = 0; bind_outputs && i < layout->output_count; i++) {
    const DLTensor tensor = view(&layout->outputs[i], data->outputs[i]);
    TSR_TRY(tsr_module_find_output(runner->module, layout->outputs[i].name, &number));
    TSR_TRY(tsr_exec_bind_output(runner->exec, number, &tensor));
  }
  return TSR_OK;
}

tsr_status tsr_runner_open(int fd, size_t size, const tsr_memo_layout *layout,
                           const tsr_runner_data *data, bool bind_outputs,
                           const tsr_executor *executor, const tsr_allocator *allocator,
                           tsr_runner *out_runner, tsr_message *out_message) {
  *out_runner = (tsr_runner){0};
  out_message->text[0] = '\0';
  const tsr_module_options module_options = {
      .size = sizeof module_options, .allocator = allocator, .flags = TSR_MODULE_BORROW};
  const tsr_exec_options exec_options = {
      .size = sizeof exec_options, .allocator = allocator, .executor = executor};
  tsr_status status = map_bytes(fd, size, out_runner, out_message);
  if (status == TSR_OK)
    status = tsr_module_load_memory(out_runner->bytes, size, &module_options, &out_runner->module,
                                    out_message);
  if (status == TSR_OK)
    status = tsr_exec_create(out_runner->module, &exec_options, &out_runner->exec, out_message);
  if (status == TSR_OK) {
    status = bind(out_runner, layout, data, bind_outputs);
    if (status != TSR_OK)
      snprintf(out_message->text, sizeof out_message->text, "%s",
               tsr_exec_last_error(out_runner->exec));
  }
  if (status != TSR_OK)
    tsr_runner_close(out_runner);
  return status;
}

void tsr_runner_close(tsr_runner *runner) {
  tsr_exec_destroy(runner->exec);
  tsr_module_release(runner->module);
  if (runner->bytes != NULL)
    munmap(runner->bytes, runner->size);
  *runner = (tsr_runner){0};
}

/* --- comparing --- */

/* The largest finite number, beyond which a right kernel may have infinity. */
static double largest(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_F64:
    return 1.7976931348623157e308;
  case TSR_F32:
    return 3.4028234663852886e38;
  case TSR_BF16:
    return 3.3895313892515355e38;
  case TSR_F16:
    return 65504;
  default:
    return 448;
  }
}

static double read_number(const tsr_memo_tensor *tensor, const void *data, int64_t element) {
  if (tensor->dtype == TSR_F32)
    return (double)((const float *)data)[element];
  const size_t size = tensor->bytes / (size_t)tensor->count;
  uint64_t bits = 0;
  memcpy(&bits, (const char *)data + (size_t)element * size, size);
  switch (tsr_dtype_class_of(tensor->dtype)) {
  case TSR_CLASS_FLOAT:
    return tsr_float_decode(tensor->dtype, bits);
  case TSR_CLASS_INT: {
    const unsigned shift = 64 - 8 * (unsigned)size;
    return (double)((int64_t)(bits << shift) >> shift);
  }
  default:
    return (double)bits;
  }
}

/* A bound that is no number says that anything may be right. */
static double error_of(double got, double wanted, double bound, double most) {
  if (isnan(bound) || bound == INFINITY)
    return 0;
  if (isnan(wanted) || isnan(got))
    return isnan(wanted) && isnan(got) ? 0 : INFINITY;
  if (got == wanted)
    return 0;
  if (isinf(got))
    return fabs(wanted) + bound >= most && (got > 0) == (wanted > 0) ? 0 : INFINITY;
  const double gap = fabs(got - wanted);
  return bound > 0 ? gap / bound : INFINITY;
}

static double compare_tensor(const tsr_memo_tensor *tensor, const void *data, const char *base,
                             int64_t *out_worst, double *out_got, double *out_wanted) {
  const bool real = tsr_dtype_class_of(tensor->dtype) == TSR_CLASS_FLOAT;
  const double *bounds = (const double *)(const void *)(base + tensor->bound_at);
  const double *reals = (const double *)(const void *)(base + tensor->at);
  const double most = real ? largest(tensor->dtype) : INFINITY;
  const size_t size = tensor->count > 0 ? tensor->bytes / (size_t)tensor->count : 0;
  double worst = 0;
  for (int64_t i = 0; i < tensor->count; i++) {
    const char *element = (const char *)data + (size_t)i * size;
    const char *same = base + tensor->at + (size_t)i * size;
    if (!real && memcmp(element, same, size) == 0)
      continue;
    const double got = read_number(tensor, data, i);
    const double wanted = real ? reals[i] : read_number(tensor, base + tensor->at, i);
    /* Integers that differ do so by 1 at least, even where f64 cannot tell them apart. */
    double error = error_of(got, wanted, bounds[i], most);
    if (!real && bounds[i] == 0)
      error = INFINITY;
    if (error > worst) {
      worst = error;
      *out_worst = i;
      *out_got = got;
      *out_wanted = wanted;
    }
  }
  return worst;
}

double tsr_runner_compare(const tsr_memo_layout *layout, const tsr_runner_data *data,
                          const void *base, char *out_where, size_t size) {
  double worst = 0;
  out_where[0] = '\0';
  for (uint32_t i = 0; i < layout->output_count; i++) {
    int64_t at = 0;
    double got = 0, wanted = 0;
    const double error =
        compare_tensor(&layout->outputs[i], data->outputs[i], base, &at, &got, &wanted);
    if (error <= worst)
      continue;
    worst = error;
    snprintf(out_where, size, "element %lld of result %u is %.9g, not %.9g", (long long)at, i, got,
             wanted);
  }
  return worst;
}

void tsr_runner_poison(const tsr_memo_layout *layout, const tsr_runner_data *data) {
  for (uint32_t i = 0; i < layout->output_count; i++)
    memset(data->outputs[i], 0xff, layout->outputs[i].bytes);
}
