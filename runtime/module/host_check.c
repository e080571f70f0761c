/* The rules for the tables of host programs: the interpreter relies on all of them. */
#include "runtime/module/program_check.h"
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>

/* Of a value, while the steps are walked in order. */
enum { UNMADE, IN_SCOPE, GONE };

typedef struct checker {
  const tsr_program *program;
  tsr_diag *diag;
  unsigned char *values;        /* UNMADE ... */
  bool *dims;                   /* known */
  bool *regions, *steps;        /* belong to somebody */
  uint32_t *made, made_count;   /* values, in order */
  uint32_t *bound, bound_count; /* dims that became known, in order */
  const uint32_t *const *part_dims;
} checker;

typedef struct host_op_rule {
  int min_operands, max_operands, results, regions, numbers, texts;
  /* What operands and results are, a letter each; operands that may be absent count, and with more
   * operands than letters the last one stands for the rest. t: a tensor, i: of an integer type,
   * n: of i64, b: of bool, l: a list, m: a maybe. T, L, M, V (a tensor or a list): their dtypes
   * are the same. NULL: the step's part or regions say it. */
  const char *operand_kinds, *result_kinds;
} host_op_rule;

static const char *const kinds_of[][2] = {
    [TSR_HOST_CALL] = {NULL, NULL},        [TSR_HOST_IF] = {"b", NULL},
    [TSR_HOST_LOOP] = {NULL, NULL},        [TSR_HOST_LIST_MAKE] = {"T", "L"},
    [TSR_HOST_LIST_INSERT] = {"LTi", "L"}, [TSR_HOST_LIST_ERASE] = {"Li", "L"},
    [TSR_HOST_LIST_AT] = {"Li", "T"},      [TSR_HOST_LIST_LENGTH] = {"l", "n"},
    [TSR_HOST_LIST_SPLIT] = {"Ti", "L"},   [TSR_HOST_LIST_CONCAT] = {"L", "T"},
    [TSR_HOST_MAYBE_MAKE] = {"V", "M"},    [TSR_HOST_MAYBE_HAS] = {"m", "b"},
    [TSR_HOST_MAYBE_GET] = {"M", "V"},     [TSR_HOST_TEXT_NORMALIZE] = {"n", "n"},
    [TSR_HOST_TEXT_CONCAT] = {"n", "n"},   [TSR_HOST_TEXT_SPLIT] = {"n", "nn"},
    [TSR_HOST_TEXT_MATCH] = {"n", "b"},    [TSR_HOST_TEXT_PARSE] = {"n", "t"},
    [TSR_HOST_TEXT_FORMAT] = {"t", "n"},   [TSR_HOST_TEXT_RANK] = {"n", "n"},
};
_Static_assert(sizeof kinds_of / sizeof kinds_of[0] == TSR_HOST_OP_COUNT, "a row per operation");

static host_op_rule rule_of(uint32_t op) {
  static const host_op_rule rules[] = {
#define TSR_HOST_OP(name, text, min_operands, max_operands, results, regions, numbers, texts)      \
  {min_operands, max_operands, results, regions, numbers, texts, NULL, NULL},
#include "runtime/host/host_ops.def"
#undef TSR_HOST_OP
  };
  host_op_rule rule = rules[op];
  rule.operand_kinds = kinds_of[op][0];
  rule.result_kinds = kinds_of[op][1];
  return rule;
}

static tsr_status bad(const checker *self, const char *what, uint32_t index) {
  return tsr_fail(self->diag, TSR_ERR_FORMAT, "the module's tables are inconsistent: %s (entry %u)",
                  what, index);
}

static tsr_status out_of_memory(const checker *self) {
  return tsr_fail(self->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while checking a module");
}

static bool is_slice(uint32_t first, uint32_t count, uint32_t total) {
  return first <= total && count <= total - first;
}

/* ---- Dims of parts ---- */

static int compare_names(const void *left, const void *right) {
  const tsr_dim_desc *a = *(const tsr_dim_desc *const *)left;
  const tsr_dim_desc *b = *(const tsr_dim_desc *const *)right;
  return strcmp(a->name, b->name);
}

static const tsr_dim_desc **sort_dims(const tsr_program *p, tsr_arena *arena) {
  const tsr_dim_desc **sorted =
      (const tsr_dim_desc **)tsr_arena_alloc_array(arena, p->dim_count, sizeof *sorted);
  if (sorted == NULL)
    return NULL;
  for (uint32_t i = 0; i < p->dim_count; i++)
    sorted[i] = &p->dims[i];
  qsort(sorted, p->dim_count, sizeof *sorted, compare_names);
  return sorted;
}

static const uint32_t *find_dims(const tsr_program *p, const tsr_program *part,
                                 const tsr_dim_desc *const *sorted, tsr_arena *arena) {
  uint32_t *found = (uint32_t *)tsr_arena_alloc_array(arena, part->dim_count, sizeof *found);
  if (found == NULL)
    return NULL;
  for (uint32_t i = 0; i < part->dim_count; i++) {
    const tsr_dim_desc *wanted = &part->dims[i], *const * dim;
    dim = (const tsr_dim_desc *const *)bsearch(&wanted, sorted, p->dim_count, sizeof *sorted,
                                               compare_names);
    found[i] = dim != NULL ? (uint32_t)(*dim - p->dims) : TSR_HOST_NO_DIM;
  }
  return found;
}

const uint32_t *const *tsr_host_part_dims(const tsr_program *program, tsr_arena *arena) {
  const tsr_dim_desc **sorted = sort_dims(program, arena);
  const uint32_t **dims =
      (const uint32_t **)tsr_arena_alloc_array(arena, program->part_count, sizeof *dims);
  if (sorted == NULL || dims == NULL)
    return NULL;
  for (uint32_t i = 0; i < program->part_count; i++) {
    dims[i] = find_dims(program, &program->parts[i], sorted, arena);
    if (dims[i] == NULL)
      return NULL;
  }
  return dims;
}

static tsr_status check_dim_names(const checker *self, tsr_arena *scratch) {
  const tsr_program *p = self->program;
  const tsr_dim_desc **sorted = sort_dims(p, scratch);
  if (sorted == NULL)
    return out_of_memory(self);
  for (uint32_t i = 1; i < p->dim_count; i++)
    if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
      return bad(self, "two dims have the same name", (uint32_t)(sorted[i] - p->dims));
  return TSR_OK;
}

/* ---- Values ---- */

static tsr_status check_value(const checker *self, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_host_value *value = &p->host_values[index];
  if (value->kind > TSR_HOST_MAYBE_LIST || value->text > 1 ||
      tsr_dtype_bits((tsr_dtype)value->dtype) == 0)
    return bad(self, "a value has an unknown kind or dtype", index);
  if (value->text == 1 && value->dtype != TSR_I64)
    return bad(self, "numbers of texts are not i64", index);
  if (value->rank == TSR_HOST_ANY_RANK)
    return TSR_OK;
  if (value->rank > TSR_MAX_RANK || !is_slice(value->first_dim, value->rank, p->code_count) ||
      !is_slice(value->first_bind, value->rank, p->argument_count))
    return bad(self, "a value's dims are out of range", index);
  for (uint32_t d = 0; d < value->rank; d++) {
    uint32_t bind = p->arguments[value->first_bind + d];
    if (bind != 0 && (bind > p->dim_count ||
                      tsr_program_plain_dim(p, p->codes[value->first_dim + d]) != bind - 1))
      return bad(self, "a value binds a dim that its extent is not", index);
  }
  return TSR_OK;
}

static tsr_status check_constant(checker *self, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_host_constant *constant = &p->host_constants[index];
  const tsr_host_value *value;
  int64_t count = 1, bytes, dim;
  if (constant->value >= p->host_value_count || constant->constant >= p->constant_count)
    return bad(self, "a constant value does not exist", index);
  value = &p->host_values[constant->value];
  if (value->kind != TSR_HOST_TENSOR || value->rank == TSR_HOST_ANY_RANK)
    return bad(self, "a constant value is no tensor", index);
  for (uint32_t d = 0; d < value->rank; d++) {
    tsr_code code = p->codes[value->first_dim + d];
    if (tsr_index_eval(p->steps + code.first, code.count, NULL, 0, &dim) != TSR_OK || dim < 0 ||
        __builtin_mul_overflow(count, dim, &count))
      return bad(self, "a constant value's shape is not fixed or overflows", index);
  }
  bytes = tsr_dtype_bytes((tsr_dtype)value->dtype, count);
  if (bytes < 0 || (uint64_t)bytes != p->constants[constant->constant].bytes)
    return bad(self, "a constant value's bytes do not fit its shape", index);
  if (self->values[constant->value] != UNMADE)
    return bad(self, "a value is made twice", constant->value);
  self->values[constant->value] = IN_SCOPE;
  return TSR_OK;
}

static tsr_status check_used(const checker *self, uint32_t value) {
  if (value >= self->program->host_value_count || self->values[value] != IN_SCOPE)
    return bad(self, "a value is used that does not exist or is not made yet", value);
  return TSR_OK;
}

static tsr_status check_used_slice(const checker *self, uint32_t first, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    TSR_TRY(check_used(self, self->program->arguments[first + i]));
  return TSR_OK;
}

static void bind_dim(checker *self, uint32_t dim) {
  if (self->dims[dim])
    return;
  self->dims[dim] = true;
  self->bound[self->bound_count++] = dim;
}

static tsr_status check_code(const checker *self, tsr_code code, uint32_t index) {
  for (uint32_t i = 0; i < code.count; i++) {
    const tsr_index_step *step = &self->program->steps[code.first + i];
    if (step->op == TSR_INDEX_DIM && !self->dims[step->operand])
      return bad(self, "a dim is used before it is known", index);
  }
  return TSR_OK;
}

/* All values of the slice are made at the same time: first they bind, then they are compared. */
static tsr_status check_made_slice(checker *self, uint32_t first, uint32_t count) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t index = p->arguments[first + i];
    const tsr_host_value *value;
    if (index >= p->host_value_count || self->values[index] != UNMADE)
      return bad(self, "a value is made that does not exist or was made before", index);
    value = &p->host_values[index];
    self->values[index] = IN_SCOPE;
    self->made[self->made_count++] = index;
    if (value->kind != TSR_HOST_TENSOR || value->rank == TSR_HOST_ANY_RANK)
      continue;
    for (uint32_t d = 0; d < value->rank; d++)
      if (p->arguments[value->first_bind + d] != 0)
        bind_dim(self, p->arguments[value->first_bind + d] - 1);
  }
  for (uint32_t i = 0; i < count; i++) {
    const tsr_host_value *value = &p->host_values[p->arguments[first + i]];
    if (value->kind != TSR_HOST_TENSOR || value->rank == TSR_HOST_ANY_RANK)
      continue;
    for (uint32_t d = 0; d < value->rank; d++)
      TSR_TRY(check_code(self, p->codes[value->first_dim + d], p->arguments[first + i]));
  }
  return TSR_OK;
}

/* ---- Kinds ---- */

static bool is_list(const tsr_host_value *value) {
  return value->kind == TSR_HOST_LIST || value->kind == TSR_HOST_MAYBE_LIST;
}

static bool is_maybe(const tsr_host_value *value) {
  return value->kind == TSR_HOST_MAYBE || value->kind == TSR_HOST_MAYBE_LIST;
}

static bool fits(const tsr_host_value *value, char kind, uint32_t *inout_dtype) {
  bool tensor = value->kind == TSR_HOST_TENSOR;
  if (kind >= 'A' && kind <= 'Z') {
    if (*inout_dtype != TSR_DTYPE_NONE && *inout_dtype != value->dtype)
      return false;
    *inout_dtype = value->dtype;
  }
  switch (kind) {
  case 't':
  case 'T':
    return tensor;
  case 'i':
    return tensor && (value->dtype == TSR_I32 || value->dtype == TSR_I64);
  case 'n':
    return tensor && value->dtype == TSR_I64;
  case 'b':
    return tensor && value->dtype == TSR_BOOL;
  case 'l':
  case 'L':
    return value->kind == TSR_HOST_LIST;
  case 'V':
    return !is_maybe(value);
  default: /* m, M */
    return is_maybe(value);
  }
}

static bool slice_fits(const checker *self, uint32_t first, uint32_t count, const char *kinds,
                       uint32_t *inout_dtype) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < count; i++) {
    size_t last = strlen(kinds) - 1;
    if (!fits(&p->host_values[p->arguments[first + i]], kinds[i < last ? i : last], inout_dtype))
      return false;
  }
  return true;
}

/* Whether what is of type `from` may become a value of type `to`: extents are compared in the run.
 */
static bool passes(const checker *self, uint32_t from, uint32_t to) {
  const tsr_host_value *a = &self->program->host_values[from];
  const tsr_host_value *b = &self->program->host_values[to];
  return a->kind == b->kind && a->dtype == b->dtype &&
         (a->rank == b->rank || a->rank == TSR_HOST_ANY_RANK || b->rank == TSR_HOST_ANY_RANK);
}

static bool all_pass(const checker *self, uint32_t first_from, uint32_t first_to, uint32_t count) {
  const uint32_t *arguments = self->program->arguments;
  for (uint32_t i = 0; i < count; i++)
    if (!passes(self, arguments[first_from + i], arguments[first_to + i]))
      return false;
  return true;
}

static bool port_fits(const checker *self, uint32_t value, const tsr_program *program,
                      uint32_t buffer) {
  const tsr_host_value *a = &self->program->host_values[value];
  const tsr_buffer_desc *b = &program->buffers[buffer];
  return a->kind == TSR_HOST_TENSOR && a->dtype == b->dtype &&
         (a->rank == b->rank || a->rank == TSR_HOST_ANY_RANK);
}

/* ---- Steps ---- */

static tsr_status check_region(checker *self, uint32_t index, uint32_t depth);

static tsr_status check_call(checker *self, const tsr_host_step *step, uint32_t index) {
  const tsr_program *p = self->program, *part;
  if (step->part >= p->part_count)
    return bad(self, "a step calls a part that does not exist", index);
  part = &p->parts[step->part];
  if (step->operand_count != part->input_count || step->result_count != part->output_count)
    return bad(self, "a call has not as many values as its part has inputs and outputs", index);
  for (uint32_t i = 0; i < part->input_count; i++)
    if (!port_fits(self, p->arguments[step->first_operand + i], part, part->inputs[i].buffer))
      return bad(self, "an operand of a call is not what its part takes", index);
  for (uint32_t i = 0; i < part->output_count; i++)
    if (!port_fits(self, p->arguments[step->first_result + i], part, part->outputs[i].buffer))
      return bad(self, "a result of a call is not what its part gives", index);
  for (uint32_t i = 0; i < part->dim_count; i++) {
    uint32_t dim = self->part_dims[step->part][i];
    bool known = dim != TSR_HOST_NO_DIM && self->dims[dim];
    if (part->dims[i].source == TSR_DIM_FROM_CALLER && !known)
      return bad(self, "a call's part needs a dim that is not known", index);
    if (part->dims[i].source == TSR_DIM_FROM_DEVICE && dim != TSR_HOST_NO_DIM)
      bind_dim(self, dim);
  }
  return TSR_OK;
}

static tsr_status check_if(checker *self, const tsr_host_step *step, uint32_t index,
                           uint32_t depth) {
  const tsr_program *p = self->program;
  if ((step->operand_count != 0) == (step->code.count != 0))
    return bad(self, "an if has no condition, or two", index);
  for (uint32_t i = 0; i < 2; i++) {
    const tsr_host_region *region = &p->host_regions[step->first_region + i];
    if (region->param_count != 0 || region->yield_count != step->result_count)
      return bad(self, "a region of an if has parameters, or not as many values as the if", index);
    TSR_TRY(check_region(self, step->first_region + i, depth));
    if (!all_pass(self, region->first_yield, step->first_result, step->result_count))
      return bad(self, "a region of an if gives other values than the if", index);
  }
  return TSR_OK;
}

static tsr_status check_loop(checker *self, const tsr_host_step *step, uint32_t index,
                             uint32_t depth) {
  const tsr_program *p = self->program;
  const tsr_host_region *region = &p->host_regions[step->first_region];
  uint32_t count = step->operand_count, dtype = TSR_DTYPE_NONE;
  if (step->result_count != count || region->param_count != count ||
      region->yield_count != count + 1)
    return bad(self, "a loop carries not as many values as its region", index);
  TSR_TRY(check_region(self, step->first_region, depth));
  if (!fits(&p->host_values[p->arguments[region->first_yield]], 'b', &dtype) ||
      !all_pass(self, step->first_operand, region->first_param, count) ||
      !all_pass(self, region->first_yield + 1, region->first_param, count) ||
      !all_pass(self, step->first_operand, step->first_result, count) ||
      !all_pass(self, region->first_yield + 1, step->first_result, count))
    return bad(self, "a loop's region takes or gives other values than the loop", index);
  return TSR_OK;
}

/* Axes are within the rank that the table says; with TSR_HOST_ANY_RANK the run says it. */
static bool numbers_fit(const checker *self, const tsr_host_step *step) {
  const tsr_program *p = self->program;
  const int64_t *numbers = step->number_count == 0 ? NULL : p->host_numbers + step->first_number;
  uint32_t rank;
  switch (step->op) {
  case TSR_HOST_LIST_SPLIT:
    rank = p->host_values[p->arguments[step->first_operand]].rank;
    return numbers[0] >= 0 && numbers[0] < (int64_t)rank && numbers[1] >> 1 == 0;
  case TSR_HOST_LIST_CONCAT:
    rank = p->host_values[p->arguments[step->first_result]].rank;
    return rank != TSR_HOST_ANY_RANK && numbers[0] >= 0 && numbers[0] < (int64_t)rank &&
           numbers[1] >> 1 == 0 && numbers[2] >> 1 == 0;
  default:
    return true;
  }
}

static tsr_status check_kinds(const checker *self, const tsr_host_step *step, uint32_t index) {
  const tsr_program *p = self->program;
  host_op_rule rule = rule_of(step->op);
  uint32_t dtype = TSR_DTYPE_NONE;
  bool fit =
      (rule.operand_kinds == NULL ||
       slice_fits(self, step->first_operand, step->operand_count, rule.operand_kinds, &dtype)) &&
      (rule.result_kinds == NULL ||
       slice_fits(self, step->first_result, step->result_count, rule.result_kinds, &dtype));
  if (!fit)
    return bad(self, "a step has operands or results of wrong kinds", index);
  if ((step->op == TSR_HOST_MAYBE_MAKE && step->operand_count != 0) ||
      step->op == TSR_HOST_MAYBE_GET)
    fit = is_list(&p->host_values[p->arguments[step->first_operand]]) ==
          is_list(&p->host_values[p->arguments[step->first_result]]);
  if (!fit)
    return bad(self, "a maybe of a list is taken for one of a tensor, or the reverse", index);
  if (!numbers_fit(self, step))
    return bad(self, "a step's numbers are out of range", index);
  return TSR_OK;
}

static bool counts(int rule, uint32_t count) {
  return rule < 0 || count == (uint32_t)rule;
}

static tsr_status check_step_form(const checker *self, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_host_step *step = &p->host_steps[index];
  host_op_rule rule;
  bool control = step->op == TSR_HOST_IF || step->op == TSR_HOST_LOOP;
  if (step->op >= TSR_HOST_OP_COUNT || step->nodes == NULL)
    return bad(self, "a step is no operation, or has no nodes", index);
  rule = rule_of(step->op);
  if (step->operand_count < (uint32_t)rule.min_operands ||
      (rule.max_operands >= 0 && step->operand_count > (uint32_t)rule.max_operands) ||
      step->operand_count > TSR_PROGRAM_MAX_OPERANDS ||
      step->result_count > TSR_PROGRAM_MAX_OPERANDS || !counts(rule.results, step->result_count) ||
      !counts(rule.regions, step->region_count) || !counts(rule.numbers, step->number_count) ||
      !counts(rule.texts, step->text_count) || step->text_count > TSR_PROGRAM_MAX_OPERANDS)
    return bad(self, "a step has not as many operands, results or the like as its operation",
               index);
  if (!is_slice(step->first_operand, step->operand_count, p->argument_count) ||
      !is_slice(step->first_result, step->result_count, p->argument_count) ||
      !is_slice(step->first_region, step->region_count, p->host_region_count) ||
      !is_slice(step->first_number, step->number_count, p->host_number_count) ||
      !is_slice(step->first_text, step->text_count, p->host_text_count))
    return bad(self, "a step's operands, results or the like are out of range", index);
  if (step->code.count != 0 && (!control || !tsr_program_is_code(p, step->code)))
    return bad(self, "a step's expression is not valid", index);
  for (uint32_t i = 0; i < step->result_count; i++)
    if (p->arguments[step->first_result + i] >= p->host_value_count)
      return bad(self, "a step's result does not exist", index);
  return TSR_OK;
}

static tsr_status check_step(checker *self, uint32_t index, uint32_t depth) {
  const tsr_host_step *step = &self->program->host_steps[index];
  if (self->steps[index])
    return bad(self, "a step belongs to two regions", index);
  self->steps[index] = true;
  TSR_TRY(check_step_form(self, index));
  TSR_TRY(check_used_slice(self, step->first_operand, step->operand_count));
  TSR_TRY(check_code(self, step->code, index));
  TSR_TRY(check_kinds(self, step, index));
  if (step->op == TSR_HOST_CALL)
    TSR_TRY(check_call(self, step, index));
  if (step->op == TSR_HOST_IF)
    TSR_TRY(check_if(self, step, index, depth));
  if (step->op == TSR_HOST_LOOP)
    TSR_TRY(check_loop(self, step, index, depth));
  return check_made_slice(self, step->first_result, step->result_count);
}

/* ---- Regions ---- */

static tsr_status check_region_form(checker *self, uint32_t index, uint32_t depth) {
  const tsr_program *p = self->program;
  const tsr_host_region *region = &p->host_regions[index];
  if (depth >= TSR_PROGRAM_MAX_DEPTH)
    return bad(self, "regions are too deep inside of each other", index);
  if (self->regions[index])
    return bad(self, "a region belongs to two steps", index);
  self->regions[index] = true;
  if (!is_slice(region->first_step, region->step_count, p->host_step_count) ||
      !is_slice(region->first_param, region->param_count, p->argument_count) ||
      !is_slice(region->first_yield, region->yield_count, p->argument_count) ||
      region->param_count > TSR_PROGRAM_MAX_OPERANDS ||
      region->yield_count > TSR_PROGRAM_MAX_OPERANDS + 1)
    return bad(self, "a region's steps, parameters or results are out of range", index);
  return TSR_OK;
}

/* What is made inside of a region is not known behind it. Regions are marked when they are entered,
 * so that none is inside of itself. */
static tsr_status check_region(checker *self, uint32_t index, uint32_t depth) {
  const tsr_host_region *region = &self->program->host_regions[index];
  uint32_t made = self->made_count, bound = self->bound_count;
  TSR_TRY(check_region_form(self, index, depth));
  TSR_TRY(check_made_slice(self, region->first_param, region->param_count));
  for (uint32_t i = 0; i < region->step_count; i++)
    TSR_TRY(check_step(self, region->first_step + i, depth + 1));
  TSR_TRY(check_used_slice(self, region->first_yield, region->yield_count));
  while (self->made_count > made)
    self->values[self->made[--self->made_count]] = GONE;
  while (self->bound_count > bound)
    self->dims[self->bound[--self->bound_count]] = false;
  return TSR_OK;
}

/* Extents are compared in the run. */
static bool may_alias(const checker *self, const tsr_port_desc *port, uint32_t value,
                      uint32_t buffer_kind) {
  const tsr_program *p = self->program;
  const tsr_host_value *to = &p->host_values[value], *from;
  if (buffer_kind != TSR_BUFFER_OUTPUT || port->alias > p->input_count)
    return false;
  from = &p->host_values[p->arguments[p->host_regions[0].first_param + port->alias - 1]];
  return to->kind == TSR_HOST_TENSOR && from->kind == TSR_HOST_TENSOR && to->text == 0 &&
         from->text == 0 && to->dtype == from->dtype && to->rank == from->rank &&
         to->rank != TSR_HOST_ANY_RANK;
}

static tsr_status check_ports(const checker *self, const tsr_port_desc *ports, uint32_t count,
                              uint32_t first_value, uint32_t buffer_kind) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t value = p->arguments[first_value + i], buffer = ports[i].buffer;
    if (ports[i].name == NULL || ports[i].keep != 0)
      return bad(self, "an input or output has no name, or keeps another's contents", i);
    if (ports[i].alias != 0 && !may_alias(self, &ports[i], value, buffer_kind))
      return bad(self, "an input or output lives in memory of what it is not like", i);
    if (p->host_values[value].kind != TSR_HOST_TENSOR)
      continue;
    if (buffer >= p->buffer_count || p->buffers[buffer].kind != buffer_kind ||
        p->buffers[buffer].index != i)
      return bad(self, "an input or output names a wrong buffer", i);
    if (!port_fits(self, value, p, buffer) || p->host_values[value].rank == TSR_HOST_ANY_RANK)
      return bad(self, "an input or output is not what its value is", i);
  }
  return TSR_OK;
}

static tsr_status check_model(checker *self) {
  const tsr_program *p = self->program;
  const tsr_host_region *region = &p->host_regions[0];
  TSR_TRY(check_region(self, 0, 0));
  if (region->param_count != p->input_count || region->yield_count != p->output_count)
    return bad(self, "the model has not as many values as inputs and outputs", 0);
  TSR_TRY(check_ports(self, p->inputs, p->input_count, region->first_param, TSR_BUFFER_INPUT));
  return check_ports(self, p->outputs, p->output_count, region->first_yield, TSR_BUFFER_OUTPUT);
}

/* ---- Tables ---- */

static tsr_status check_empty(const checker *self) {
  const tsr_program *p = self->program;
  if ((p->kernel_count | p->kernel_dim_count | p->map_count | p->variant_count | p->launch_count |
       p->segment_count | p->read_count | p->check_count) != 0 ||
      p->image_bytes != 0)
    return bad(self, "a host program has kernels, launches or checks of its own", 0);
  for (uint32_t i = 0; i < p->buffer_count; i++)
    if (p->buffers[i].kind == TSR_BUFFER_TEMPORARY)
      return bad(self, "a host program has temporary buffers", i);
  for (uint32_t i = 0; i < p->dim_count; i++)
    if (p->dims[i].source != TSR_DIM_FROM_INPUT && p->dims[i].source != TSR_DIM_FROM_HOST)
      return bad(self, "a host program has dims that only other programs have", i);
  return TSR_OK;
}

static tsr_status check_texts(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->host_text_count; i++)
    if (p->host_texts[i] == NULL)
      return bad(self, "a text of a step is missing", i);
  for (uint32_t i = 0; i < p->text_count; i++)
    if (p->texts[i] == NULL || (i == 0 && p->texts[i][0] != '\0'))
      return bad(self, "a text is missing, or the first one is not empty", i);
  return TSR_OK;
}

static bool create_tables(checker *self, tsr_arena *scratch) {
  const tsr_program *p = self->program;
#define TABLE(field, count)                                                                        \
  ((self->field) = tsr_arena_alloc_array(scratch, (count), sizeof(*self->field)))
  return TABLE(values, p->host_value_count) != NULL && TABLE(made, p->host_value_count) != NULL &&
         TABLE(dims, p->dim_count) != NULL && TABLE(bound, p->dim_count) != NULL &&
         TABLE(regions, p->host_region_count) != NULL && TABLE(steps, p->host_step_count) != NULL &&
         (self->part_dims = tsr_host_part_dims(p, scratch)) != NULL;
#undef TABLE
}

tsr_status tsr_host_check(const tsr_program *program, tsr_arena *scratch, tsr_diag *diag) {
  checker self = {.program = program, .diag = diag};
  uint64_t constants = program->constant_count;
  for (uint32_t i = 0; i < program->part_count; i++)
    if (strcmp(program->parts[i].target, program->target) != 0)
      return bad(&self, "a part is for another target", i);
  for (uint32_t i = 0; i < program->part_count; i++)
    constants += program->parts[i].constant_count;
  if (constants > INT32_MAX)
    return bad(&self, "there are too many constants", 0);
  if (!create_tables(&self, scratch))
    return out_of_memory(&self);
  TSR_TRY(check_empty(&self));
  TSR_TRY(check_texts(&self));
  TSR_TRY(check_dim_names(&self, scratch));
  for (uint32_t i = 0; i < program->host_value_count; i++)
    TSR_TRY(check_value(&self, i));
  for (uint32_t i = 0; i < program->host_constant_count; i++)
    TSR_TRY(check_constant(&self, i));
  return check_model(&self);
}
