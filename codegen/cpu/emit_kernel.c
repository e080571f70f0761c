/* A kernel is two functions. The outer one has the kernel ABI; it takes the buffers and the scratch
 * apart and calls the inner one, whose pointer arguments are `noalias`: outputs never overlap
 * inputs, and distinct allocs are distinct memory. The inner one loops over its tasks:
 *
 *   entry: dims    tasks: grid variables of task_begin    task: body, then step the grid variables
 */
#include "codegen/cpu/emit_dot.h"
#include <stdio.h>
#include <string.h>

enum { MAX_GRID = 8, SCRATCH_ALIGN = 64 };

/* A piece of scratch. Allocs of regions that are not alive together may use the same one. */
typedef struct slot_list {
  uint64_t *bytes;
  uint32_t count, capacity;
} slot_list;

typedef struct kernel_parts {
  const tsr_region_data *region;
  tsr_value *buffers;
  uint32_t buffer_count;
  tsr_value grid[MAX_GRID];
  uint32_t grid_rank;
  slot_list slots;
  uint32_t *slot_of; /* by value id: 1 + number of the alloc's slot */
} kernel_parts;

/* --- scratch --- */

static void alloc_slot(tsr_emit *e, kernel_parts *parts, tsr_op op, uint32_t depth) {
  tsr_value value = tsr_op_get(e->ir, op)->results[0];
  const tsr_type_info *type = tsr_value_type(e->ir, value);
  int64_t elements = 0;
  slot_list *slots = &parts->slots;
  tsr_expr size = tsr_type_elements(e->ir, tsr_value_get(e->ir, value)->type);
  int64_t bytes = -1;
  if (tsr_expr_is_int(e->ir, size, &elements))
    bytes = tsr_dtype_bytes(type->dtype, elements);
  if (bytes < 0) {
    e->op = tsr_op_get(e->ir, op);
    tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "alloc needs a size that is a number");
    return;
  }
  if (!tsr_emit_grow(e, (void **)&slots->bytes, &slots->capacity, depth + 1, sizeof *slots->bytes))
    return;
  if (slots->count < depth + 1)
    slots->count = depth + 1;
  if (slots->bytes[depth] < (uint64_t)bytes)
    slots->bytes[depth] = (uint64_t)bytes;
  parts->slot_of[value] = depth + 1;
}

/* `live` allocs are alive where the region starts: its own ones come behind them. Slots of a region
 * are free again after it. */
static void find_allocs(tsr_emit *e, kernel_parts *parts, tsr_region region, uint32_t live) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    if (e->status != TSR_OK)
      return;
    if (op->code == TSR_OP_ALLOC && op->result_count == 1)
      alloc_slot(e, parts, id, live++);
    for (uint32_t i = 0; i < op->region_count; ++i)
      find_allocs(e, parts, op->regions[i], live);
  }
}

/* --- arguments --- */

static bool sort_arguments(tsr_emit *e, kernel_parts *parts) {
  parts->buffers = tsr_emit_alloc(e, parts->region->arg_count, sizeof *parts->buffers);
  for (uint32_t i = 0; parts->buffers && i < parts->region->arg_count; ++i) {
    tsr_value value = parts->region->args[i];
    tsr_arg_role role = tsr_value_get(e->ir, value)->role;
    if (role == TSR_ROLE_IN || role == TSR_ROLE_OUT || role == TSR_ROLE_INOUT)
      parts->buffers[parts->buffer_count++] = value;
    else if (role == TSR_ROLE_GRID && parts->grid_rank < MAX_GRID)
      parts->grid[parts->grid_rank++] = value;
    else
      return tsr_emit_fail(e, TSR_ERR_VERIFY,
                           "arguments must be buffers, grid variables at most %d",
                           MAX_GRID) != NULL;
  }
  return parts->buffers != NULL;
}

static void add_attribute(tsr_emit *e, LLVMValueRef function, uint32_t argument, const char *name,
                          uint64_t number) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(function, argument + 1,
                          LLVMCreateEnumAttribute(e->math.context, kind, number));
}

/* Arguments: buffers, scratch slots, dims, task_begin, task_end. */
static LLVMValueRef declare_inner(tsr_emit *e, const kernel_parts *parts, const char *symbol) {
  uint32_t pointers = parts->buffer_count + parts->slots.count + 1;
  LLVMTypeRef *types = tsr_emit_alloc(e, pointers + 2, sizeof *types);
  size_t size = strlen(symbol) + 8;
  char *name = tsr_emit_alloc(e, size, 1);
  if (!types || !name)
    return NULL;
  snprintf(name, size, "%s.tasks", symbol);
  for (uint32_t i = 0; i < pointers; ++i)
    types[i] = e->pointer;
  types[pointers] = types[pointers + 1] = e->i64;
  LLVMTypeRef type =
      LLVMFunctionType(LLVMVoidTypeInContext(e->math.context), types, pointers + 2, false);
  LLVMValueRef function = LLVMAddFunction(e->math.module, name, type);
  LLVMSetLinkage(function, LLVMInternalLinkage);
  tsr_llvm_target_function(e->target, function);
  for (uint32_t i = 0; i < pointers; ++i) {
    bool input =
        i < parts->buffer_count && tsr_value_get(e->ir, parts->buffers[i])->role == TSR_ROLE_IN;
    add_attribute(e, function, i, "noalias", 0);
    add_attribute(e, function, i, "nocapture", 0);
    if (input || i == pointers - 1)
      add_attribute(e, function, i, "readonly", 0);
    if (i >= parts->buffer_count && i < pointers - 1)
      add_attribute(e, function, i, "align", SCRATCH_ALIGN);
  }
  return function;
}

static void bind_buffers(tsr_emit *e, const kernel_parts *parts) {
  for (uint32_t i = 0; i < parts->buffer_count; ++i)
    e->slots[parts->buffers[i]].pointer = LLVMGetParam(e->function, i);
  for (tsr_value value = 1; value < e->slot_count; ++value)
    if (parts->slot_of[value])
      e->slots[value].pointer =
          LLVMGetParam(e->function, parts->buffer_count + parts->slot_of[value] - 1);
}

/* The function with the kernel ABI. Returns the bytes of scratch it hands out. */
static uint64_t emit_outer(tsr_emit *e, const kernel_parts *parts, const char *symbol) {
  LLVMTypeRef types[5] = {e->pointer, e->pointer, e->i64, e->i64, e->pointer};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->math.context), types, 5, false);
  LLVMValueRef outer = LLVMAddFunction(e->math.module, symbol, type);
  uint32_t pointers = parts->buffer_count + parts->slots.count + 1;
  LLVMValueRef *arguments = tsr_emit_alloc(e, pointers + 2, sizeof *arguments);
  uint64_t scratch = 0;
  tsr_llvm_target_function(e->target, outer);
  LLVMPositionBuilderAtEnd(e->builder,
                           LLVMAppendBasicBlockInContext(e->math.context, outer, "entry"));
  for (uint32_t i = 0; arguments && i < parts->buffer_count; ++i) {
    LLVMValueRef offset = tsr_emit_int(e, i);
    LLVMValueRef address =
        LLVMBuildInBoundsGEP2(e->builder, e->pointer, LLVMGetParam(outer, 0), &offset, 1, "");
    arguments[i] = LLVMBuildLoad2(e->builder, e->pointer, address, "");
  }
  LLVMTypeRef byte = LLVMInt8TypeInContext(e->math.context);
  for (uint32_t i = 0; arguments && i < parts->slots.count; ++i) {
    LLVMValueRef offset = tsr_emit_int(e, (int64_t)scratch);
    arguments[parts->buffer_count + i] =
        LLVMBuildInBoundsGEP2(e->builder, byte, LLVMGetParam(outer, 4), &offset, 1, "");
    scratch += (parts->slots.bytes[i] + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
  }
  if (arguments) {
    for (uint32_t i = 0; i < 3; ++i)
      arguments[pointers - 1 + i] = LLVMGetParam(outer, i + 1);
    LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(e->function), e->function, arguments,
                   pointers + 2, "");
  }
  LLVMBuildRetVoid(e->builder);
  return scratch;
}

/* --- tasks --- */

typedef struct grid_state {
  LLVMValueRef lo[MAX_GRID], hi[MAX_GRID], value[MAX_GRID];
  int64_t step[MAX_GRID];
} grid_state;

/* Grid variables of the first task, by division; from there on they are stepped. */
static bool grid_start(tsr_emit *e, const kernel_parts *parts, LLVMValueRef task, grid_state *g) {
  e->one_task = true;
  for (uint32_t i = parts->grid_rank; i-- > 0;) {
    const tsr_value_data *range = tsr_value_get(e->ir, parts->grid[i]);
    if (!tsr_expr_is_int(e->ir, range->step, &g->step[i]) || g->step[i] < 1)
      return tsr_emit_fail(e, TSR_ERR_VERIFY, "the step of a grid variable is not positive") !=
             NULL;
    tsr_expr span = tsr_expr_sub(e->ir, range->hi, range->lo);
    tsr_expr count = tsr_expr_ceildiv_int(e->ir, span, g->step[i]);
    e->one_task = e->one_task && tsr_expr_equals_int(e->ir, count, 1);
    LLVMValueRef steps = tsr_emit_index(e, count), position = task;
    g->lo[i] = tsr_emit_index(e, range->lo);
    g->hi[i] = tsr_emit_index(e, range->hi);
    if (i > 0) {
      position = LLVMBuildURem(e->builder, task, steps, "");
      task = LLVMBuildUDiv(e->builder, task, steps, "");
    }
    LLVMValueRef offset = LLVMBuildNSWMul(e->builder, position, tsr_emit_int(e, g->step[i]), "");
    g->value[i] = LLVMBuildNSWAdd(e->builder, g->lo[i], offset, "");
  }
  return true;
}

/* The next task's: the last variable steps; one that passes its end starts anew and steps the one
 * before it. */
static void grid_step(tsr_emit *e, const kernel_parts *parts, const grid_state *g,
                      const LLVMValueRef *now, LLVMValueRef *out_next) {
  LLVMValueRef passes = LLVMConstInt(e->i1, 1, false);
  for (uint32_t i = parts->grid_rank; i-- > 0;) {
    LLVMValueRef stepped = LLVMBuildNSWAdd(e->builder, now[i], tsr_emit_int(e, g->step[i]), "");
    LLVMValueRef moved = LLVMBuildSelect(e->builder, passes, stepped, now[i], "");
    if (i == 0) {
      out_next[0] = moved;
      return;
    }
    LLVMValueRef beyond = LLVMBuildICmp(e->builder, LLVMIntSGE, moved, g->hi[i], "");
    out_next[i] = LLVMBuildSelect(e->builder, beyond, g->lo[i], moved, "");
    passes = beyond;
  }
}

static void emit_tasks(tsr_emit *e, const kernel_parts *parts, tsr_region region) {
  uint32_t first = parts->buffer_count + parts->slots.count + 1;
  LLVMValueRef begin = LLVMGetParam(e->function, first), end = LLVMGetParam(e->function, first + 1);
  LLVMBuilderRef b = e->builder;
  LLVMBasicBlockRef check = tsr_emit_block(e, "check"), tasks = tsr_emit_block(e, "tasks");
  LLVMBasicBlockRef body = tsr_emit_block(e, "task"), done = tsr_emit_block(e, "return");
  grid_state g = {0};
  LLVMValueRef now[MAX_GRID] = {0}, next[MAX_GRID] = {0};
  LLVMPositionBuilderAtEnd(b, e->entry);
  LLVMBuildBr(b, check);
  LLVMPositionBuilderAtEnd(b, check);
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, begin, end, ""), tasks, done);
  LLVMPositionBuilderAtEnd(b, tasks);
  if (!grid_start(e, parts, begin, &g))
    return;
  LLVMBuildBr(b, body);
  LLVMPositionBuilderAtEnd(b, body);
  LLVMValueRef task = LLVMBuildPhi(b, e->i64, "task");
  LLVMAddIncoming(task, &begin, &tasks, 1);
  for (uint32_t i = 0; i < parts->grid_rank; ++i) {
    now[i] = LLVMBuildPhi(b, e->i64, "grid");
    LLVMAddIncoming(now[i], &g.value[i], &tasks, 1);
    e->slots[parts->grid[i]].index = now[i];
  }
  uint32_t mark = tsr_emit_scope_begin(e);
  tsr_emit_region_versioned(e, region);
  tsr_emit_scope_end(e, mark);
  grid_step(e, parts, &g, now, next);
  LLVMValueRef after = LLVMBuildNSWAdd(b, task, tsr_emit_int(e, 1), "");
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, after, end, ""), body, done);
  LLVMAddIncoming(task, &after, &latch, 1);
  for (uint32_t i = 0; i < parts->grid_rank; ++i)
    LLVMAddIncoming(now[i], &next[i], &latch, 1);
  LLVMPositionBuilderAtEnd(b, done);
  LLVMBuildRetVoid(b);
}

static void emit_kernel(tsr_emit *e, tsr_op kernel, tsr_kernel_code *out_kernel) {
  const tsr_op_data *op = tsr_op_get(e->ir, kernel);
  kernel_parts parts = {0};
  e->op = op;
  e->op_id = kernel;
  if (!op->symbol || op->region_count != 1) {
    tsr_emit_fail(e, TSR_ERR_VERIFY, "a kernel needs a name and a body");
    return;
  }
  parts.region = tsr_region_get(e->ir, op->regions[0]);
  parts.slot_of = tsr_emit_alloc(e, e->slot_count, sizeof *parts.slot_of);
  if (!parts.slot_of || !sort_arguments(e, &parts))
    return;
  find_allocs(e, &parts, op->regions[0], 0);
  if (e->status != TSR_OK)
    return;
  e->function = declare_inner(e, &parts, op->symbol);
  if (!e->function)
    return;
  e->entry = tsr_emit_block(e, "entry");
  e->dims_argument = LLVMGetParam(e->function, parts.buffer_count + parts.slots.count);
  bind_buffers(e, &parts);
  emit_tasks(e, &parts, op->regions[0]);
  if (e->status != TSR_OK)
    return;
  out_kernel->symbol = op->symbol;
  out_kernel->scratch_bytes = emit_outer(e, &parts, op->symbol);
  out_kernel->tiles = e->uses_tiles ? tsr_amx_config : NULL;
}

/* The one place that failures of the emit_*.c files come back to. */
static tsr_status emit_or_escape(tsr_emit *e, tsr_op kernel, tsr_kernel_code *out_kernel) {
  jmp_buf escape;
  e->escape = &escape;
  if (setjmp(escape) == 0) {
    e->slots = tsr_emit_alloc(e, e->slot_count, sizeof *e->slots);
    e->dim_values = tsr_emit_alloc(e, tsr_dim_count(e->ir) + 1, sizeof *e->dim_values);
    e->dims = tsr_emit_alloc(e, tsr_dim_count(e->ir) + 1, sizeof *e->dims);
    uint32_t *uses = tsr_emit_alloc(e, e->slot_count, sizeof *uses);
    tsr_ir_count_uses(e->ir, uses);
    e->uses = uses;
    emit_kernel(e, kernel, out_kernel);
  }
  e->escape = NULL;
  return e->status;
}

tsr_status tsr_emit_kernel(tsr_ir *ir, tsr_op kernel, const tsr_math *math,
                           tsr_arena *scratch_arena, tsr_arena *result_arena, tsr_diag *diag,
                           tsr_kernel_code *out_kernel) {
  LLVMContextRef context = math->context;
  tsr_emit e = {.ir = ir,
                .arena = scratch_arena,
                .diag = diag,
                .target = math->target,
                .math = *math,
                .builder = math->builder,
                .i1 = LLVMInt1TypeInContext(context),
                .i32 = LLVMInt32TypeInContext(context),
                .i64 = LLVMInt64TypeInContext(context),
                .pointer = LLVMPointerTypeInContext(context, 0),
                .slot_count = tsr_value_count(ir) + 1};
  *out_kernel = (tsr_kernel_code){0};
  TSR_TRY(emit_or_escape(&e, kernel, out_kernel));
  if (tsr_ir_status(ir) != TSR_OK)
    return tsr_fail(diag, tsr_ir_status(ir), "%s", tsr_ir_diag(ir)->message);
  tsr_dim *dims = tsr_arena_alloc_array(result_arena, e.dim_count, sizeof *dims);
  if (!dims)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (e.dim_count)
    memcpy(dims, e.dims, e.dim_count * sizeof *dims);
  out_kernel->dims = dims;
  out_kernel->dim_count = e.dim_count;
  return TSR_OK;
}
