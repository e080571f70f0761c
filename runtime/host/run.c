#include "runtime/clock.h"
#include "runtime/host/host.h"
#include "runtime/module/program_check.h"
#include <stdio.h>
#include <string.h>

static tsr_status run_region(host_exec *self, uint32_t index);

/* ---- Expressions ---- */

tsr_status tsr_host_eval(host_exec *self, tsr_code code, const char *what, int64_t *out_value) {
  const tsr_program *p = self->program;
  const tsr_index_step *step = p->steps + code.first;
  if (code.count == 1) { /* nearly all; checked: an integer or a dim */
    *out_value = step->op == TSR_INDEX_INT ? step->operand : self->exec->dims[step->operand];
    return TSR_OK;
  }
  if (tsr_index_eval(step, code.count, self->exec->dims, p->dim_count, out_value) == TSR_OK)
    return TSR_OK;
  return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "%s overflows or divides by zero", what);
}

/* ---- Values are made ---- */

/* Which of the values that are made at the same time, for errors. */
static void name_value(const host_exec *self, const char *kind, uint32_t number, char *out,
                       size_t size) {
  if (strcmp(kind, "input") == 0)
    (void)snprintf(out, size, "input '%.200s'", self->program->inputs[number].name);
  else
    (void)snprintf(out, size, "%s number %u", kind, number);
}

static tsr_status bind_extents(host_exec *self, const tsr_host_value *value,
                               const host_tensor *tensor, const char *kind, uint32_t number) {
  const tsr_program *p = self->program;
  char name[256];
  for (uint32_t d = 0; d < value->rank; d++) {
    uint32_t bind = p->arguments[value->first_bind + d];
    const tsr_dim_desc *desc;
    if (bind == 0)
      continue;
    desc = &p->dims[bind - 1];
    self->exec->dims[bind - 1] = tensor->shape[d];
    if (tensor->shape[d] >= desc->lo && tensor->shape[d] <= desc->hi)
      continue;
    name_value(self, kind, number, name, sizeof name);
    return tsr_exec_check_dim_range(self->exec, bind - 1, tensor->shape[d], name);
  }
  return TSR_OK;
}

static tsr_status wrong_extent(host_exec *self, tsr_code code, const host_tensor *tensor,
                               uint32_t d, int64_t expected, const char *kind, uint32_t number) {
  const tsr_program *p = self->program;
  int64_t dim = tsr_program_plain_dim(p, code);
  char name[256], text[200] = "";
  name_value(self, kind, number, name, sizeof name);
  if (dim >= 0)
    (void)snprintf(text, sizeof text, " ('%.180s')", p->dims[dim].name);
  return tsr_exec_fail(self->exec, TSR_ERR_SHAPE, "%s: dim %u%s is %lld, but it must be %lld here",
                       name, d, text, (long long)tensor->shape[d], (long long)expected);
}

static tsr_status compare_extents(host_exec *self, const tsr_host_value *value,
                                  const host_tensor *tensor, const char *kind, uint32_t number) {
  for (uint32_t d = 0; d < value->rank; d++) {
    tsr_code code = self->program->codes[value->first_dim + d];
    int64_t expected;
    TSR_TRY(tsr_host_eval(self, code, "the size of a value", &expected));
    if (expected != tensor->shape[d])
      return wrong_extent(self, code, tensor, d, expected, kind, number);
  }
  return TSR_OK;
}

static bool is_typed(const tsr_host_value *value) {
  return value->kind == TSR_HOST_TENSOR && value->rank != TSR_HOST_ANY_RANK;
}

/* `count` values that were put into registers: extents become dims, then all are compared. */
static tsr_status make(host_exec *self, const uint32_t *values, uint32_t count, const char *kind) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < count; i++) {
    const tsr_host_value *value = &p->host_values[values[i]];
    const host_tensor *tensor = host_tensor_at(self, values[i]);
    if (!is_typed(value))
      continue;
    if (tensor->rank != value->rank)
      return tsr_exec_fail(self->exec, TSR_ERR_SHAPE,
                           "%s number %u: rank is %u, but it must be %u here", kind, i,
                           tensor->rank, value->rank);
    TSR_TRY(bind_extents(self, value, tensor, kind, i));
  }
  for (uint32_t i = 0; i < count; i++)
    if (is_typed(&p->host_values[values[i]]))
      TSR_TRY(compare_extents(self, &p->host_values[values[i]], host_tensor_at(self, values[i]),
                              kind, i));
  return TSR_OK;
}

/* ---- Control ---- */

static void end_uses(host_exec *self, const host_deaths *list) {
  for (uint64_t i = 0; i < list->count; i++)
    tsr_host_clear(self, self->deaths[list->first + i].value);
}

/* What the region gave, as references in `yields`, and nothing of it in registers. */
static tsr_status run_body(host_exec *self, uint32_t index) {
  const tsr_host_region *region = &self->program->host_regions[index];
  TSR_TRY(run_region(self, index));
  for (uint32_t i = 0; i < region->yield_count; i++)
    self->yields[index][i] =
        tsr_host_retain(self->registers[self->program->arguments[region->first_yield + i]]);
  end_uses(self, &self->region_ends[index]);
  return TSR_OK;
}

static void move(host_exec *self, host_object **from, const uint32_t *values, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    self->registers[values[i]] = from[i];
    from[i] = NULL;
  }
}

static tsr_status run_if(host_exec *self, const tsr_host_step *step) {
  const uint32_t *arguments = self->program->arguments;
  uint32_t region;
  int64_t truth;
  if (step->operand_count != 0)
    TSR_TRY(tsr_host_read(self, host_tensor_at(self, arguments[step->first_operand]),
                          "the condition", &truth));
  else
    TSR_TRY(tsr_host_eval(self, step->code, "the condition", &truth));
  region = step->first_region + (truth != 0 ? 0 : 1);
  TSR_TRY(run_body(self, region));
  move(self, self->yields[region], arguments + step->first_result, step->result_count);
  return TSR_OK;
}

/* One turn; the parameters' registers hold what it begins with, and then what the next one does. */
static tsr_status run_turn(host_exec *self, uint32_t index, bool *out_go_on) {
  const tsr_host_region *region = &self->program->host_regions[index];
  const uint32_t *params = self->program->arguments + region->first_param;
  host_object **yields = self->yields[index];
  int64_t truth;
  TSR_TRY(make(self, params, region->param_count, "carried value"));
  TSR_TRY(run_body(self, index));
  TSR_TRY(tsr_host_read(self, (host_tensor *)(void *)yields[0], "the loop's condition", &truth));
  tsr_host_release(self, yields[0]);
  yields[0] = NULL;
  move(self, yields + 1, params, region->param_count);
  *out_go_on = truth != 0;
  return TSR_OK;
}

static tsr_status run_loop(host_exec *self, uint32_t step_index) {
  const tsr_program *p = self->program;
  const tsr_host_step *step = &p->host_steps[step_index];
  const uint32_t *params = p->arguments + p->host_regions[step->first_region].first_param;
  const uint32_t *operands = p->arguments + step->first_operand;
  int64_t limit = INT64_MAX;
  bool go_on = true;
  if (step->code.count != 0)
    TSR_TRY(tsr_host_eval(self, step->code, "the number of turns", &limit));
  for (uint32_t i = 0; i < step->operand_count; i++)
    self->registers[params[i]] = tsr_host_retain(self->registers[operands[i]]);
  for (uint32_t i = 0; i < step->operand_count; i++) /* so that the loop may change its lists */
    if (tsr_host_dies(self, step_index, operands[i]))
      tsr_host_clear(self, operands[i]);
  for (int64_t turn = 0; turn < limit && go_on; turn++)
    TSR_TRY(run_turn(self, step->first_region, &go_on));
  for (uint32_t i = 0; i < step->result_count; i++) {
    self->registers[p->arguments[step->first_result + i]] = self->registers[params[i]];
    self->registers[params[i]] = NULL;
  }
  return TSR_OK;
}

/* ---- Steps ---- */

static tsr_status run_operation(host_exec *self, uint32_t index) {
  const tsr_host_step *step = &self->program->host_steps[index];
  switch ((tsr_host_op)step->op) {
  case TSR_HOST_CALL:
    return tsr_host_call(self, step);
  case TSR_HOST_IF:
    return run_if(self, step);
  case TSR_HOST_LOOP:
    return run_loop(self, index);
  case TSR_HOST_TEXT_NORMALIZE:
  case TSR_HOST_TEXT_CONCAT:
  case TSR_HOST_TEXT_SPLIT:
  case TSR_HOST_TEXT_MATCH:
  case TSR_HOST_TEXT_PARSE:
  case TSR_HOST_TEXT_FORMAT:
  case TSR_HOST_TEXT_RANK:
    return tsr_host_text_step(self, step);
  default:
    return tsr_host_list_step(self, index);
  }
}

static const char *op_text(uint32_t op) {
  static const char *const texts[] = {
#define TSR_HOST_OP(name, text, min_operands, max_operands, results, regions, numbers, texts) text,
#include "runtime/host/host_ops.def"
#undef TSR_HOST_OP
  };
  return texts[op];
}

/* The innermost step's nodes. */
static tsr_status explain(host_exec *self, const tsr_host_step *step, tsr_status status) {
  char text[1500];
  if (self->explained)
    return status;
  self->explained = true;
  (void)snprintf(text, sizeof text, "%s", self->exec->last_error);
  if (step->nodes[0] != '\0')
    return tsr_exec_fail(self->exec, status, "nodes '%.400s': %s", step->nodes, text);
  return tsr_exec_fail(self->exec, status, "%s: %s", op_text(step->op), text);
}

/* What the host does itself, by its clock; calls have their launches' events. */
static tsr_status trace_operation(host_exec *self, uint32_t index) {
  const tsr_host_step *step = &self->program->host_steps[index];
  tsr_trace *trace = &self->exec->trace;
  tsr_trace_event event = {
      .name = op_text(step->op), .nodes = step->nodes, .begin_ns = tsr_time_ns()};
  tsr_status status = run_operation(self, index);
  event.end_ns = tsr_time_ns();
  trace->events = &event;
  trace->count = 1;
  if (tsr_trace_flush(trace) != TSR_OK && status == TSR_OK)
    status = tsr_exec_fail(self->exec, TSR_ERR_IO, "cannot write the trace file");
  trace->events = NULL;
  return status;
}

static bool has_steps(const tsr_host_step *step) {
  return step->op == TSR_HOST_CALL || step->op == TSR_HOST_IF || step->op == TSR_HOST_LOOP;
}

static tsr_status run_step(host_exec *self, uint32_t index) {
  const tsr_host_step *step = &self->program->host_steps[index];
  bool traced = self->exec->trace.file != NULL && !has_steps(step);
  tsr_status status = traced ? trace_operation(self, index) : run_operation(self, index);
  if (status == TSR_OK)
    status =
        make(self, self->program->arguments + step->first_result, step->result_count, "result");
  if (status != TSR_OK)
    return explain(self, step, status);
  end_uses(self, &self->step_ends[index]);
  return TSR_OK;
}

/* The parameters' registers are filled. */
static tsr_status run_region(host_exec *self, uint32_t index) {
  const tsr_host_region *region = &self->program->host_regions[index];
  for (uint32_t i = 0; i < region->step_count; i++)
    TSR_TRY(run_step(self, region->first_step + i));
  return TSR_OK;
}

/* ---- Runs ---- */

/* After a failure: all but the constants is let go. */
static void forget(host_exec *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->host_region_count; i++)
    for (uint32_t y = 0; y < p->host_regions[i].yield_count; y++) {
      tsr_host_release(self, self->yields[i][y]);
      self->yields[i][y] = NULL;
    }
  for (uint32_t i = 0; i < p->host_value_count; i++)
    if (!self->constants[i])
      tsr_host_clear(self, i);
  for (uint32_t i = 0; i < p->part_count; i++)
    for (uint32_t o = 0; o < p->parts[i].output_count; o++) {
      host_tensor *tensor = self->parts[i].placed[o];
      self->parts[i].placed[o] = NULL;
      tsr_host_release(self, tensor != NULL ? &tensor->object : NULL);
    }
  tsr_arena_reset(&self->step_memory);
}

static tsr_status run_model(host_exec *self) {
  const tsr_program *p = self->program;
  const tsr_host_region *model = &p->host_regions[0];
  TSR_TRY(tsr_host_take_inputs(self));
  TSR_TRY(make(self, p->arguments + model->first_param, model->param_count, "input"));
  TSR_TRY(run_body(self, 0));
  return tsr_host_give_outputs(self, self->yields[0]);
}

tsr_status tsr_host_run(tsr_exec *exec) {
  host_exec *self = exec->host;
  tsr_status status;
  self->explained = false;
  tsr_host_forget_outputs(self);
  for (uint32_t i = 0; i < exec->program->part_count; i++)
    self->parts[i].exec->stats.launches = self->parts[i].exec->stats.kept_bytes = 0;
  status = run_model(self);
  if (status != TSR_OK)
    forget(self);
  return status;
}
