/* Compiled graphs against float64: NAME.tsr is evaluated here, exactly, together with a bound of
 * the error of each result (tests/numeric/error_graph.h), and NAME.tsm runs on the device. Symbolic
 * dims have their hints as values. */
#include "frontend/cli/host_tensor.h"
#include "ir/eval.h"
#include "runtime/float_convert.h"
#include "tests/gpu/items.h"
#include "tests/numeric/error_graph.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>

enum { MOST_PORTS = 64, MOST_DIMS = 16, MOST_VALUES = 1 << 18, ELEMENT_LIMIT = 1 << 26 };

typedef struct port {
  tsr_value value, bound;
  tsr_host_tensor data; /* of inputs */
} port;

typedef struct model {
  const char *path; /* without its ending */
  tsr_ir *ir;
  tsr_builder builder;
  tsr_eval *eval;
  tsr_module *module;
  tsr_exec *exec;
  port inputs[MOST_PORTS], outputs[MOST_PORTS];
  uint32_t input_count, output_count;
  int64_t dims[MOST_DIMS];
  char *reason;
} model;

static bool fail(model *m, const char *what, const char *detail) {
  snprintf(m->reason, REASON_BYTES, "%s: %s", what, detail);
  return false;
}

static bool read_graph(model *m) {
  char path[4096];
  static char text[1 << 20];
  tsr_diag diag = {0};
  snprintf(path, sizeof path, "%s.tsr", m->path);
  FILE *in = fopen(path, "r");
  if (in == NULL)
    return fail(m, path, "cannot be read");
  size_t length = fread(text, 1, sizeof text, in);
  fclose(in);
  if (tsr_ir_parse(tsr_allocator_default(), text, length, path, &diag, &m->ir) != TSR_OK)
    return fail(m, path, diag.message);
  m->builder = (tsr_builder){.ir = m->ir};
  TSR_FOR_EACH_OP (m->ir, tsr_ir_top(m->ir), op)
    if (tsr_op_get(m->ir, op)->code == TSR_OP_GRAPH)
      m->builder.region = tsr_op_get(m->ir, op)->regions[0];
  for (uint32_t i = 0; i < tsr_dim_count(m->ir) && i < MOST_DIMS; i++)
    m->dims[i] = tsr_dim_get(m->ir, i + 1)->hint;
  return m->builder.region != 0 || fail(m, path, "has no graph");
}

static bool make_input(model *m, tsr_value value, uint32_t number) {
  const tsr_type_info *type = tsr_value_type(m->ir, value);
  tsr_diag diag = {0};
  int64_t dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < type->rank; i++)
    if (tsr_expr_eval(m->ir, type->dims[i], m->dims, &dims[i]) != TSR_OK)
      return fail(m, "input", "its shape has no value");
  port *p = &m->inputs[m->input_count++];
  p->value = value;
  if (tsr_host_tensor_create(&p->data, type->dtype, type->rank, dims, &diag) != TSR_OK)
    return fail(m, "input", diag.message);
  tsr_host_tensor_fill_random(&p->data, 1 + number);
  return tsr_eval_bind(m->eval, value, dims, type->rank, p->data.data) == TSR_OK ||
         fail(m, "input", tsr_eval_diag(m->eval)->message);
}

/* The bound of an output, in its shape. tf32 reads the upper 10 bits of a fraction. */
static bool make_bound(model *m, port *output, bool tf32) {
  static tsr_value bounds[MOST_VALUES];
  memset(bounds, 0, sizeof bounds);
  const tsr_type_info *type = tsr_value_type(m->ir, output->value);
  if (tsr_dtype_class_of(type->dtype) != TSR_CLASS_FLOAT)
    return true;
  error_graph errors = {.b = &m->builder,
                        .bounds = bounds,
                        .capacity = MOST_VALUES,
                        .operand_rounding = tf32 ? 0x1p-10 : 0};
  tsr_value bound = error_bound(&errors, output->value);
  if (bound == 0)
    return fail(m, "bound", "no rule for an op of this graph");
  output->bound = tsr_graph_broadcast(&m->builder, bound, type->dims, type->rank);
  return true;
}

/* Inputs, and outputs with their bounds. Making bounds appends ops: the outputs are listed first.
 */
static bool collect_ports(model *m, bool tf32) {
  tsr_value inputs[MOST_PORTS];
  uint32_t count = 0;
  TSR_FOR_EACH_OP (m->ir, m->builder.region, op) {
    const tsr_op_data *data = tsr_op_get(m->ir, op);
    if (data->code == TSR_OP_INPUT && count < MOST_PORTS)
      inputs[count++] = data->results[0];
    if (data->code == TSR_OP_OUTPUT && m->output_count < MOST_PORTS)
      m->outputs[m->output_count++].value = data->operands[0].value;
  }
  for (uint32_t i = 0; i < m->output_count; i++)
    if (!make_bound(m, &m->outputs[i], tf32))
      return false;
  if (tsr_eval_create(m->ir, m->dims, false, ELEMENT_LIMIT, tsr_allocator_default(), &m->eval) !=
      TSR_OK)
    return fail(m, "reference", "cannot be made");
  for (uint32_t i = 0; i < count; i++)
    if (!make_input(m, inputs[i], i))
      return false;
  return true;
}

static bool load(model *m, bool *out_tf32) {
  char path[4096];
  tsr_message message = {""};
  tsr_module_info info;
  tsr_exec_options options = {.size = sizeof options, .threads = 1};
  snprintf(path, sizeof path, "%s.tsm", m->path);
  if (tsr_module_load_file(path, NULL, &m->module, &message) != TSR_OK ||
      tsr_exec_create(m->module, &options, &m->exec, &message) != TSR_OK)
    return fail(m, "load", message.text);
  tsr_module_get_info(m->module, &info);
  *out_tf32 = strcmp(info.precision, "tf32") == 0;
  return true;
}

static bool run(model *m) {
  for (uint32_t i = 0; i < m->input_count; i++) {
    tsr_host_tensor *data = &m->inputs[i].data;
    DLTensor view = {.data = data->data,
                     .device = {.device_type = kDLCPU},
                     .ndim = (int32_t)data->rank,
                     .dtype = tsr_dtype_to_dlpack(data->dtype),
                     .shape = data->dims};
    if (tsr_exec_bind_input(m->exec, i, &view) != TSR_OK)
      return fail(m, "bind", tsr_exec_last_error(m->exec));
  }
  return tsr_exec_run(m->exec) == TSR_OK || fail(m, "run", tsr_exec_last_error(m->exec));
}

static bool close_enough(const DLTensor *got, const tsr_array *want, const tsr_array *bound,
                         int64_t i, char *detail, size_t size) {
  tsr_dtype dtype = want->dtype;
  if (tsr_dtype_class_of(dtype) != TSR_CLASS_FLOAT) {
    int64_t a = tsr_element_load_i64(dtype, got->data, i);
    snprintf(detail, size, "element %lld is %lld, not %lld", (long long)i, (long long)a,
             (long long)want->integers[i]);
    return a == want->integers[i];
  }
  double a = tsr_element_load_f64(dtype, got->data, i), e = want->floats[i];
  snprintf(detail, size, "element %lld is %.9g, not %.9g within %.3g", (long long)i, a, e,
           bound->floats[i]);
  return isfinite(bound->floats[i]) && isfinite(e) ? fabs(a - e) <= bound->floats[i]
         : isnan(e)                                ? isnan(a)
                                                   : a == e;
}

/* A bound so wide that any number passes is no test: it has to be below the largest result. */
static bool bound_says_something(const tsr_array *want, const tsr_array *bound) {
  double largest = 0, middle = 0;
  for (int64_t i = 0; i < want->count; i++) {
    largest = fmax(largest, fabs(want->floats[i]));
    middle += bound->floats[i] / (double)want->count;
  }
  return want->count == 0 || middle < largest;
}

static bool compare_output(model *m, uint32_t number) {
  const port *output = &m->outputs[number];
  const tsr_array *want, *bound = NULL;
  DLTensor got;
  char detail[512], what[32];
  snprintf(what, sizeof what, "output %u", (unsigned)number);
  if (tsr_eval_get(m->eval, output->value, &want) != TSR_OK ||
      (output->bound != 0 && tsr_eval_get(m->eval, output->bound, &bound) != TSR_OK))
    return fail(m, "reference", tsr_eval_diag(m->eval)->message);
  if (tsr_exec_output(m->exec, number, &got) != TSR_OK)
    return fail(m, what, tsr_exec_last_error(m->exec));
  if (bound != NULL && !bound_says_something(want, bound))
    return fail(m, what, "the bound of its error is wider than its values");
  if (got.ndim != (int32_t)want->rank ||
      memcmp(got.shape, want->dims, want->rank * sizeof *want->dims) != 0)
    return fail(m, what, "has another shape");
  for (int64_t i = 0; i < want->count; i++)
    if (!close_enough(&got, want, bound, i, detail, sizeof detail))
      return fail(m, what, detail);
  return true;
}

static void end(model *m) {
  for (uint32_t i = 0; i < m->input_count; i++)
    tsr_host_tensor_destroy(&m->inputs[i].data);
  tsr_exec_destroy(m->exec);
  tsr_module_release(m->module);
  if (m->eval != NULL)
    tsr_eval_destroy(m->eval);
  if (m->ir != NULL)
    tsr_ir_destroy(m->ir);
}

/* Twice at least: later runs go through what the first one kept. */
static verdict run_model(const char *path, char *out_reason) {
  static model m;
  bool tf32 = false;
  m = (model){.path = path, .reason = out_reason};
  bool fine = read_graph(&m) && load(&m, &tf32) && collect_ports(&m, tf32);
  for (int turn = 0; fine && turn < 1 + gpu_device_turns(); turn++) {
    fine = run(&m);
    for (uint32_t i = 0; fine && i < m.output_count; i++)
      fine = compare_output(&m, i);
  }
  end(&m);
  return fine ? VERDICT_PASS : VERDICT_FAIL;
}

void items_add_models(items *all, const char *folder) {
  struct dirent **entries = NULL;
  int count = scandir(folder, &entries, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    char *ending = strstr(entries[i]->d_name, ".tsm"), *path = NULL, *name = NULL;
    if (ending != NULL && all->count < MOST_ITEMS) {
      *ending = '\0';
      if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0 ||
          asprintf(&name, "model.%s", entries[i]->d_name) < 0)
        abort();
      all->list[all->count++] = (item){.name = name, .folder = path, .run = run_model};
    }
    free(entries[i]);
  }
  free(entries);
}
