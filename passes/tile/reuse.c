/* A result of a launch in the memory of an operand that nothing reads any more (`alias`): half the
 * lines to bring into the caches and to write back, where a sum of two tensors, or a product to
 * which one is added, takes the place of what it adds. The kernel must read an element of the
 * operand in no other step than the one that stores the result's element there; it then takes both
 * as one `inout` argument.
 */
#include "passes/tile/kernel_copy.h"
#include "passes/tile/tile.h"

enum { MOST_ENCLOSING = 32 };

/* A kernel that was made, for launches that do the same. */
typedef struct made_copy {
  tsr_op from, made;
  uint32_t operand, result;
} made_copy;

typedef struct reusing {
  tsr_ir *ir;
  tsr_arena scratch, per_kernel;
  tsr_value *root; /* by value: the one whose memory it is */
  tsr_op *last;    /* by root: the last op that reads it */
  bool *pinned;    /* by root: the caller's, a constant's, or read by the host */
  made_copy *made; /* per graph: one per launch and variant at most */
  uint32_t made_count, copy_count;
  bool failed; /* memory is out */
} reusing;

/* --- may two arguments of a kernel be one? --- */

/* What is around an op: index variables that take more than one value, less those that the
 * condition of an `if` narrows down where it holds (a rest belongs to one of the tasks). */
typedef struct enclosing {
  tsr_value variables[MOST_ENCLOSING];
  uint32_t count;
} enclosing;

static bool enter(tsr_ir *ir, tsr_op op, tsr_region region, enclosing *around) {
  const tsr_region_data *data = tsr_region_get(ir, region);
  const tsr_attr *cond =
      tsr_op_get(ir, op)->regions[0] == region ? tsr_op_attr(ir, op, "cond") : NULL;
  for (uint32_t i = 0; cond != NULL && cond->kind == TSR_ATTR_EXPR && i < around->count; i++)
    if (tsr_expr_uses_value(ir, cond->u.expr, around->variables[i]))
      around->variables[i--] = around->variables[--around->count];
  for (uint32_t i = 0; i < data->arg_count; i++) {
    const tsr_value_data arg = *tsr_value_get(ir, data->args[i]);
    if ((arg.role != TSR_ROLE_LOOP && arg.role != TSR_ROLE_GRID) ||
        tsr_expr_equals_int(ir, tsr_expr_sub(ir, arg.hi, arg.lo), 1))
      continue;
    if (around->count == MOST_ENCLOSING)
      return false;
    around->variables[around->count++] = data->args[i];
  }
  return true;
}

/* Whether the expression varies with the variable, itself or by the bounds of others. */
static bool varies_with(const tsr_ir *ir, tsr_expr expr, tsr_value variable,
                        const enclosing *around) {
  if (tsr_expr_uses_value(ir, expr, variable))
    return true;
  for (uint32_t i = 0; i < around->count; i++)
    if (around->variables[i] != variable && tsr_expr_uses_value(ir, expr, around->variables[i]) &&
        tsr_expr_uses_value(ir, tsr_value_get(ir, around->variables[i])->lo, variable))
      return true;
  return false;
}

/* Every turn of the loops around it stores other elements. A tile program stores none twice but in
 * turns that its subscripts do not name, as partial sums would be; the scalars of a proc, which are
 * no tiles, may be stored again and again. */
static bool stores_once(const tsr_ir *ir, const tsr_op_data *store, const enclosing *around) {
  const tsr_operand *to = &store->operands[1];
  if (store->attr_count != 0 || tsr_value_type(ir, store->operands[0].value)->rank != 2)
    return false;
  for (uint32_t v = 0; v < around->count; v++) {
    bool varies = false;
    for (uint32_t i = 0; i < to->subscript_count && !varies; i++)
      varies = varies_with(ir, to->subscripts[i], around->variables[v], around);
    if (!varies)
      return false;
  }
  return true;
}

/* The same elements, as they lie or turned: rows as lanes. */
static bool same_elements(tsr_ir *ir, const tsr_operand *a, tsr_value tile_a, const tsr_operand *b,
                          tsr_value tile_b) {
  const tsr_expr lanes[2] = {tsr_expr_lane(ir, 0), tsr_expr_lane(ir, 1)};
  const tsr_expr swapped[2] = {lanes[1], lanes[0]};
  const tsr_type_info *x = tsr_value_type(ir, tile_a), *y = tsr_value_type(ir, tile_b);
  if (a->subscript_count != b->subscript_count || x->rank != 2 || y->rank != 2)
    return false;
  bool same = x->dims[0] == y->dims[0] && x->dims[1] == y->dims[1];
  bool turned = x->dims[0] == y->dims[1] && x->dims[1] == y->dims[0];
  for (uint32_t i = 0; i < a->subscript_count; i++) {
    const tsr_expr other = tsr_expr_substitute(ir, b->subscripts[i], lanes, swapped, 2);
    same = same && a->subscripts[i] == b->subscripts[i];
    turned = turned && a->subscripts[i] == other;
  }
  return same || turned;
}

/* Behind the load, in its region, the same elements of the result are stored. */
static bool is_stored_in_step(tsr_ir *ir, tsr_op load, tsr_value result) {
  const tsr_op_data *from = tsr_op_get(ir, load);
  for (tsr_op op = from->next; op != 0; op = tsr_op_get(ir, op)->next) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code == TSR_OP_STORE && data->operands[1].value == result &&
        same_elements(ir, &from->operands[0], from->results[0], &data->operands[1],
                      data->operands[0].value))
      return true;
  }
  return false;
}

static bool may_be_one(tsr_ir *ir, tsr_op outer, tsr_region region, tsr_value operand,
                       tsr_value result, enclosing around) {
  if (!enter(ir, outer, region, &around))
    return false;
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    for (uint32_t i = 0; i < data->operand_count; i++) {
      const tsr_value value = data->operands[i].value;
      if ((value != operand && value != result) || data->code == TSR_OP_PREFETCH)
        continue;
      if (value == operand
              ? data->code != TSR_OP_LOAD || !is_stored_in_step(ir, op, result)
              : data->code != TSR_OP_STORE || i != 1 || !stores_once(ir, data, &around))
        return false;
    }
    for (uint32_t i = 0; i < data->region_count; i++)
      if (!may_be_one(ir, op, data->regions[i], operand, result, around))
        return false;
  }
  return true;
}

/* Of a kernel's arguments but for the grid's; 0: there are fewer. */
static tsr_value argument(const tsr_ir *ir, tsr_op kernel, uint32_t number) {
  const tsr_region_data *body = tsr_region_get(ir, tsr_op_get(ir, kernel)->regions[0]);
  for (uint32_t i = 0; i < body->arg_count; i++)
    if (tsr_value_get(ir, body->args[i])->role != TSR_ROLE_GRID && number-- == 0)
      return body->args[i];
  return 0;
}

/* `result` counts from the first argument. */
static bool kernel_allows(tsr_ir *ir, tsr_op kernel, uint32_t operand, uint32_t result) {
  if (kernel == 0) /* of no such name */
    return false;
  const tsr_value from = argument(ir, kernel, operand), to = argument(ir, kernel, result);
  return from != 0 && to != 0 && tsr_value_get(ir, from)->type == tsr_value_get(ir, to)->type &&
         tsr_value_get(ir, from)->role == TSR_ROLE_IN &&
         tsr_value_get(ir, to)->role == TSR_ROLE_OUT &&
         may_be_one(ir, kernel, tsr_op_get(ir, kernel)->regions[0], from, to, (enclosing){0});
}

/* The kernels that a launch may run. */
static uint32_t kernel_count(const tsr_ir *ir, tsr_op launch) {
  const tsr_attr *kernels = tsr_op_attr(ir, launch, "kernels");
  return kernels == NULL ? 1 : kernels->count;
}

static tsr_op kernel_of(const tsr_ir *ir, tsr_op launch, uint32_t number) {
  const tsr_attr *kernels = tsr_op_attr(ir, launch, "kernels");
  return tsr_ir_find_symbol(ir, kernels == NULL ? tsr_op_get(ir, launch)->symbol
                                                : kernels->u.strings[number]);
}

/* --- kernels of one argument less --- */

static tsr_op kernel_with_one(reusing *r, tsr_op kernel, uint32_t operand, uint32_t result) {
  tsr_ir *ir = r->ir;
  for (uint32_t i = 0; i < r->made_count; i++)
    if (r->made[i].from == kernel && r->made[i].operand == operand && r->made[i].result == result)
      return r->made[i].made;
  const tsr_value from = argument(ir, kernel, operand), to = argument(ir, kernel, result);
  tsr_kernel_copy copy = tsr_kernel_copy_begin(ir, kernel, 'i', r->copy_count, &r->per_kernel);
  r->failed = copy.kernel == 0;
  if (r->failed)
    return 0;
  for (uint32_t i = 0; i < tsr_region_get(ir, copy.from)->arg_count; i++) {
    const tsr_value arg = tsr_region_get(ir, copy.from)->args[i];
    if (arg == from)
      copy.map[from] = copy.map[to] =
          tsr_region_add_arg(ir, copy.to, TSR_ROLE_INOUT, tsr_value_get(ir, arg)->type);
    else if (arg != to)
      tsr_kernel_copy_argument(ir, &copy, arg);
  }
  tsr_kernel_copy_body(ir, &copy);
  tsr_arena_reset(&r->per_kernel);
  r->made[r->made_count++] = (made_copy){kernel, copy.kernel, operand, result};
  r->copy_count++;
  return copy.kernel;
}

static void take_over(reusing *r, tsr_op launch, uint32_t operand, uint32_t result) {
  tsr_ir *ir = r->ir;
  const uint32_t count = kernel_count(ir, launch), results = tsr_op_get(ir, launch)->result_count;
  const char **names = tsr_arena_alloc_array(&r->scratch, count, sizeof *names);
  tsr_expr *alias = tsr_arena_alloc_array(&r->scratch, results, sizeof *alias);
  r->failed = names == NULL || alias == NULL;
  for (uint32_t i = 0; i < count && !r->failed; i++) {
    const tsr_op kernel = kernel_with_one(r, kernel_of(ir, launch, i), operand,
                                          tsr_op_get(ir, launch)->operand_count + result);
    names[i] = kernel == 0 ? NULL : tsr_op_get(ir, kernel)->symbol;
  }
  if (r->failed)
    return;
  for (uint32_t i = 0; i < results; i++)
    alias[i] = tsr_expr_int(ir, i == result ? (int64_t)operand : -1);
  tsr_op_set_exprs(ir, launch, "alias", alias, results);
  if (tsr_op_attr(ir, launch, "kernels") == NULL) {
    tsr_op_set_symbol(ir, launch, names[0]);
    return;
  }
  tsr_attr kernels = {.key = "kernels", .kind = TSR_ATTR_STRINGS, .count = count};
  kernels.u.strings = names;
  tsr_op_set_attr(ir, launch, &kernels);
}

/* --- launches --- */

/* Whether the operand's memory ends with the launch, and is of no other of its operands. */
static bool ends_here(const reusing *r, tsr_op launch, uint32_t operand) {
  const tsr_op_data *data = tsr_op_get(r->ir, launch);
  const tsr_value root = r->root[data->operands[operand].value];
  uint32_t reads = 0;
  for (uint32_t i = 0; i < data->operand_count; i++)
    reads += r->root[data->operands[i].value] == root;
  return !r->pinned[root] && r->last[root] == launch && reads == 1;
}

static bool same_tensor(const tsr_ir *ir, tsr_value a, tsr_value b) {
  const tsr_type_info *x = tsr_value_type(ir, a), *y = tsr_value_type(ir, b);
  bool same = x->dtype == y->dtype && x->rank == y->rank;
  for (uint32_t i = 0; same && i < x->rank; i++)
    same = x->dims[i] == y->dims[i];
  return same;
}

static bool may_take_over(const reusing *r, tsr_op launch, uint32_t operand, uint32_t result) {
  const tsr_op_data *data = tsr_op_get(r->ir, launch);
  if (!same_tensor(r->ir, data->operands[operand].value, data->results[result]) ||
      !ends_here(r, launch, operand))
    return false;
  for (uint32_t i = 0; i < kernel_count(r->ir, launch); i++)
    if (!kernel_allows(r->ir, kernel_of(r->ir, launch, i), operand, data->operand_count + result))
      return false;
  return true;
}

/* The first pair that may be one. */
static void visit_launch(reusing *r, tsr_op launch) {
  const tsr_op_data *data = tsr_op_get(r->ir, launch);
  if (tsr_op_attr(r->ir, launch, "zero") != NULL || tsr_op_attr(r->ir, launch, "alias") != NULL)
    return;
  for (uint32_t result = 0; result < data->result_count; result++)
    for (uint32_t i = 0; !r->pinned[data->results[result]] && i < data->operand_count; i++)
      if (may_take_over(r, launch, i, result)) {
        take_over(r, launch, i, result);
        return;
      }
}

/* Whose memory the results are, and who reads it last. Only what a launch makes and launches read
 * is free to be taken. */
static void visit_op(reusing *r, tsr_op outer, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(r->ir, op);
  const bool view = data->code == TSR_OP_RESHAPE, launch = data->code == TSR_OP_LAUNCH;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const tsr_value root = r->root[data->operands[i].value];
    r->last[root] = outer;
    r->pinned[root] = r->pinned[root] || (!view && !launch);
  }
  for (uint32_t i = 0; i < data->result_count; i++) {
    r->root[data->results[i]] = view ? r->root[data->operands[0].value] : data->results[i];
    r->pinned[data->results[i]] = !view && !launch;
  }
  for (uint32_t i = 0; i < data->region_count; i++)
    TSR_FOR_EACH_OP (r->ir, data->regions[i], inner)
      visit_op(r, outer, inner);
}

static void reuse_in_graph(reusing *r, tsr_region region) {
  tsr_ir *ir = r->ir;
  const size_t values = (size_t)tsr_value_count(ir) + 1;
  uint32_t most = 0;
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_LAUNCH)
      most += kernel_count(ir, op);
  r->root = tsr_arena_alloc_array(&r->scratch, values, sizeof *r->root);
  r->last = tsr_arena_alloc_array(&r->scratch, values, sizeof *r->last);
  r->pinned = tsr_arena_alloc_array(&r->scratch, values, sizeof *r->pinned);
  r->made = tsr_arena_alloc_array(&r->scratch, most, sizeof *r->made);
  r->made_count = 0;
  r->failed = r->root == NULL || r->last == NULL || r->pinned == NULL || r->made == NULL;
  if (r->failed)
    return;
  for (size_t i = 0; i < values; i++) {
    r->root[i] = (tsr_value)i;
    r->last[i] = 0;
    r->pinned[i] = false;
  }
  TSR_FOR_EACH_OP (ir, region, op)
    visit_op(r, op, op);
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_LAUNCH && !r->failed)
      visit_launch(r, op);
  for (uint32_t i = 0; i < r->made_count && !r->failed; i++) {
    bool seen = false;
    for (uint32_t before = 0; before < i; before++)
      seen = seen || r->made[before].from == r->made[i].from;
    if (!seen)
      tsr_kernel_erase_unused(ir, r->made[i].from);
  }
}

tsr_status tsr_pass_reuse(tsr_ir *ir, const tsr_target *target, tsr_diag *diag) {
  reusing r = {.ir = ir};
  if (target->kind != TSR_TARGET_CPU)
    return TSR_OK;
  tsr_arena_init(&r.scratch, tsr_ir_allocator(ir));
  tsr_arena_init(&r.per_kernel, tsr_ir_allocator(ir));
  for (tsr_op op = tsr_region_get(ir, tsr_ir_top(ir))->first; op != 0 && !r.failed;
       op = tsr_op_get(ir, op)->next)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      reuse_in_graph(&r, tsr_op_get(ir, op)->regions[0]);
  tsr_arena_reset(&r.scratch);
  tsr_arena_reset(&r.per_kernel);
  return r.failed ? tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory") : tsr_ir_status(ir);
}
