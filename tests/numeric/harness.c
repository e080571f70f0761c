#include "tests/numeric/harness.h"
#include "ir/eval.h"
#include "runtime/float_convert.h"
#include "tests/numeric/error_graph.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>

uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint32_t random_below(uint64_t *state, uint32_t bound) {
  return (uint32_t)(next_random(state) % bound);
}

static bool fail(const trial *t, const char *what, const char *detail) {
  fprintf(stderr, "%s (seed %llu): %s: %s\n", t->what, (unsigned long long)t->seed, what, detail);
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_allocator_default());
  char *text = tsr_ir_print(t->ir, &arena);
  if (text != NULL)
    fprintf(stderr, "%s\n", text);
  tsr_arena_reset(&arena);
  return false;
}

void trial_begin(trial *t, uint64_t seed) {
  memset(t, 0, sizeof *t);
  t->seed = seed;
  t->what = "trial";
  if (tsr_ir_create(tsr_allocator_default(), &t->ir) != TSR_OK)
    abort();
  t->b = tsr_graph_begin(t->ir, "g");
}

void trial_end(trial *t) {
  tsr_ir_destroy(t->ir);
}

tsr_expr trial_dim(trial *t, const char *name, int64_t value) {
  tsr_dim dim = tsr_dim_add(t->ir, name, 0, 1 << 20, value);
  t->dims[dim - 1] = value;
  return tsr_expr_dim(t->ir, dim);
}

tsr_value trial_input(trial *t, tsr_dtype dtype, const tsr_expr *dims, uint32_t rank, double lo,
                      double hi) {
  char name[16];
  snprintf(name, sizeof name, "x%u", t->input_count);
  t->input_lo[t->input_count] = lo;
  t->input_hi[t->input_count] = hi;
  tsr_value value = tsr_graph_input(&t->b, name, dtype, dims, rank);
  t->inputs[t->input_count++] = value;
  return value;
}

tsr_value trial_input_static(trial *t, tsr_dtype dtype, const int64_t *dims, uint32_t rank,
                             double lo, double hi) {
  tsr_expr exprs[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++)
    exprs[i] = tsr_expr_int(t->ir, dims[i]);
  return trial_input(t, dtype, exprs, rank, lo, hi);
}

tsr_value trial_const(trial *t, tsr_dtype dtype, const int64_t *dims, uint32_t rank, int64_t seed) {
  tsr_expr exprs[TSR_MAX_RANK];
  for (uint32_t i = 0; i < rank; i++)
    exprs[i] = tsr_expr_int(t->ir, dims[i]);
  tsr_op op = tsr_op_append(t->ir, t->b.region, TSR_OP_CONST);
  tsr_op_set_int(t->ir, op, "random", seed);
  return tsr_op_add_result(t->ir, op, tsr_type_make(t->ir, TSR_LEVEL_GLOBAL, dtype, exprs, rank));
}

void trial_output(trial *t, tsr_value value) {
  char name[16];
  if (value == 0 || t->output_count == MAX_PORTS)
    return;
  snprintf(name, sizeof name, "y%u", t->output_count);
  tsr_graph_output(&t->b, name, value);
  t->outputs[t->output_count++] = value;
}

/* The dense data and shape of one input or output. */
typedef struct tensor {
  tsr_dtype dtype;
  uint32_t rank;
  int64_t dims[TSR_MAX_RANK];
  int64_t count;
  void *data;
} tensor;

static bool shape_of(const trial *t, tsr_value value, tensor *out) {
  const tsr_type_info *type = tsr_value_type(t->ir, value);
  *out = (tensor){.dtype = type->dtype, .rank = type->rank, .count = 1};
  for (uint32_t i = 0; i < type->rank; i++) {
    if (tsr_expr_eval(t->ir, type->dims[i], t->dims, &out->dims[i]) != TSR_OK)
      return false;
    out->count *= out->dims[i];
  }
  return true;
}

static bool make_input(const trial *t, uint32_t number, tensor *out) {
  uint64_t state = t->seed * 1000003 + number;
  double lo = t->input_lo[number], hi = t->input_hi[number];
  if (!shape_of(t, t->inputs[number], out))
    return false;
  out->data = aligned_alloc(64, ((size_t)tsr_dtype_bytes(out->dtype, out->count) + 64) & ~63ul);
  for (int64_t i = 0; i < out->count; i++) {
    double unit = (double)(next_random(&state) >> 11) * 0x1p-53;
    if (tsr_dtype_class_of(out->dtype) == TSR_CLASS_FLOAT)
      tsr_element_store_f64(out->dtype, out->data, i, lo + unit * (hi - lo));
    else
      tsr_element_store_i64(out->dtype, out->data, i, (int64_t)floor(lo + unit * (hi - lo + 1)));
  }
  return true;
}

/* Reference values and bounds of all outputs. */
typedef struct reference {
  tsr_eval *eval;
  const tsr_array *values[MAX_PORTS], *bounds[MAX_PORTS];
} reference;

static bool make_reference(trial *t, const tsr_value *bounds, const tensor *inputs,
                           reference *out) {
  if (tsr_eval_create(t->ir, t->dims, false, 1 << 24, tsr_allocator_default(), &out->eval) !=
      TSR_OK)
    return fail(t, "reference", "cannot create");
  for (uint32_t i = 0; i < t->input_count; i++)
    if (tsr_eval_bind(out->eval, t->inputs[i], inputs[i].dims, inputs[i].rank, inputs[i].data) !=
        TSR_OK)
      return fail(t, "reference input", tsr_eval_diag(out->eval)->message);
  for (uint32_t i = 0; i < t->output_count; i++) {
    out->bounds[i] = NULL;
    if (tsr_eval_get(out->eval, t->outputs[i], &out->values[i]) != TSR_OK ||
        (bounds[i] != 0 && tsr_eval_get(out->eval, bounds[i], &out->bounds[i]) != TSR_OK))
      return fail(t, "reference", tsr_eval_diag(out->eval)->message);
  }
  return true;
}

static bool says_something(const trial *t, const tsr_array *value, const tsr_array *bound) {
  char detail[128];
  double largest = 0, widest = 0;
  if (t->loosest == 0 || bound == NULL)
    return true;
  for (int64_t i = 0; i < value->count; i++) {
    largest = fmax(largest, fabs(value->floats[i]));
    widest = bound->floats[i] <= widest ? widest : bound->floats[i];
  }
  snprintf(detail, sizeof detail, "%.3g, while the largest value is %.3g", widest, largest);
  return widest <= t->loosest * largest || fail(t, "a bound is too wide", detail);
}

/* Exact for integers; NaN equals NaN; an infinite bound allows anything. */
static bool close_enough(const tensor *got, const reference *want, uint32_t output, int64_t i,
                         char *detail, size_t size) {
  const tsr_array *value = want->values[output], *bound = want->bounds[output];
  if (tsr_dtype_class_of(got->dtype) != TSR_CLASS_FLOAT) {
    int64_t a = tsr_element_load_i64(got->dtype, got->data, i);
    snprintf(detail, size, "output %u element %lld: %lld, should be %lld", output, (long long)i,
             (long long)a, (long long)value->integers[i]);
    return a == value->integers[i];
  }
  double a = tsr_element_load_f64(got->dtype, got->data, i), e = value->floats[i];
  double reach = bound == NULL ? 0 : bound->floats[i];
  snprintf(detail, size, "output %u element %lld: %.17g, should be %.17g within %.3g", output,
           (long long)i, a, e, reach);
  if (isnan(e) || isinf(e))
    return isnan(e) ? isnan(a) : a == e;
  double largest = got->dtype == TSR_F16 ? 65504 : got->dtype == TSR_F64 ? HUGE_VAL : 0x1p127;
  if (isinf(a) && fabs(e) + reach >= largest)
    return true;
  return isinf(reach) || isnan(reach) || fabs(a - e) <= reach;
}

static bool compare(const trial *t, tsr_exec *exec, const reference *want) {
  char detail[256];
  for (uint32_t o = 0; o < t->output_count; o++) {
    DLTensor view;
    tensor got;
    if (tsr_exec_output(exec, o, &view) != TSR_OK || !shape_of(t, t->outputs[o], &got))
      return fail(t, "output", tsr_exec_last_error(exec));
    if (view.ndim != (int32_t)got.rank ||
        (got.rank != 0 && memcmp(view.shape, got.dims, got.rank * sizeof *got.dims) != 0))
      return fail(t, "output", "has another shape");
    got.data = view.data;
    for (int64_t i = 0; i < got.count; i++)
      if (!close_enough(&got, want, o, i, detail, sizeof detail))
        return fail(t, "values", detail);
  }
  return true;
}

static bool run_module(const trial *t, const void *bytes, size_t size, const tensor *inputs,
                       const reference *want) {
  tsr_module *module = NULL;
  tsr_exec *exec = NULL;
  tsr_message message;
  tsr_exec_options options = {.size = sizeof options, .threads = 2};
  bool good = tsr_module_load_memory(bytes, size, NULL, &module, &message) == TSR_OK &&
              tsr_exec_create(module, &options, &exec, &message) == TSR_OK;
  if (!good)
    fail(t, "load", message.text);
  for (uint32_t i = 0; good && i < t->input_count; i++) {
    int64_t shape[TSR_MAX_RANK];
    memcpy(shape, inputs[i].dims, sizeof shape);
    DLTensor tensor_view = {.data = inputs[i].data,
                            .device = {.device_type = kDLCPU},
                            .ndim = (int32_t)inputs[i].rank,
                            .dtype = tsr_dtype_to_dlpack(inputs[i].dtype),
                            .shape = shape};
    good = tsr_exec_bind_input(exec, i, &tensor_view) == TSR_OK ||
           fail(t, "bind", tsr_exec_last_error(exec));
  }
  if (good)
    good = tsr_exec_run(exec) == TSR_OK || fail(t, "run", tsr_exec_last_error(exec));
  if (good)
    good = compare(t, exec, want);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  return good;
}

static bool compile_and_run(const trial *t, const char *text, const tsr_compile_options *options,
                            const tensor *inputs, const reference *want) {
  tsr_context *context;
  void *bytes;
  size_t size;
  if (tsr_context_create(NULL, &context) != TSR_OK)
    return false;
  bool good =
      tsr_compile_text(context, text, strlen(text), "trial", options, &bytes, &size) == TSR_OK ||
      fail(t, "compile", tsr_context_error(context));
  if (good)
    good = run_module(t, bytes, size, inputs, want);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return good;
}

/* The bound in the shape of the value it is for. */
static tsr_value spread(trial *t, tsr_value bound, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(t->ir, value);
  return bound == 0 ? 0 : tsr_graph_broadcast(&t->b, bound, type->dims, type->rank);
}

bool trial_check(trial *t, const tsr_compile_options *options, uint32_t option_count) {
  if (tsr_ir_status(t->ir) != TSR_OK)
    return fail(t, "build", tsr_ir_diag(t->ir)->message);
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_allocator_default());
  char *text = tsr_ir_print(t->ir, &arena);
  tensor inputs[MAX_PORTS] = {0};
  bool good = text != NULL;
  for (uint32_t i = 0; good && i < t->input_count; i++)
    good = make_input(t, i, &inputs[i]);
  enum { BOUNDED = 1 << 16 };
  static tsr_value bounds_of[BOUNDED];
  memset(bounds_of, 0, sizeof bounds_of);
  error_graph errors = {.b = &t->b,
                        .bounds = bounds_of,
                        .capacity = BOUNDED,
                        .operand_rounding = t->operand_rounding};
  tsr_value bounds[MAX_PORTS] = {0};
  for (uint32_t i = 0; i < t->output_count; i++)
    if (tsr_dtype_class_of(tsr_value_type(t->ir, t->outputs[i])->dtype) == TSR_CLASS_FLOAT)
      bounds[i] = spread(t, error_bound(&errors, t->outputs[i]), t->outputs[i]);
  for (uint32_t i = 0; good && i < t->output_count; i++)
    if (bounds[i] == 0 &&
        tsr_dtype_class_of(tsr_value_type(t->ir, t->outputs[i])->dtype) == TSR_CLASS_FLOAT)
      good = fail(t, "bound", "no rule for an op of this graph");
  reference want = {0};
  good = good && make_reference(t, bounds, inputs, &want);
  for (uint32_t i = 0; good && i < t->output_count; i++)
    good = says_something(t, want.values[i], want.bounds[i]);
  for (uint32_t i = 0; good && i < option_count; i++)
    good = compile_and_run(t, text, &options[i], inputs, &want);
  tsr_eval_destroy(want.eval);
  for (uint32_t i = 0; i < t->input_count; i++)
    free(inputs[i].data);
  tsr_arena_reset(&arena);
  return good;
}
