#include "tuner/task.h"
#include "codegen/cpu/cpu_isa.h"
#include "codegen/cpu/llvm_version.h"
#include "codegen/cuda/nvrtc.h"
#include "ir/copy.h"
#include "passes/tile/group.h"
#include "runtime/hash.h"
#include "tuner/memo.h"
#include <stdio.h>
#include <string.h>
#include <tessera/version.h>

tsr_op tsr_task_block(const tsr_ir *ir) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph) {
    if (tsr_op_get(ir, graph)->code != TSR_OP_GRAPH)
      continue;
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op)
      if (tsr_op_get(ir, op)->code == TSR_OP_BLOCK || tsr_op_get(ir, op)->code == TSR_OP_GROUP)
        return op;
  }
  return 0;
}

/* --- keys --- */

enum { MOST_DIMS = 64 };

typedef struct dim_order {
  const tsr_ir *ir;
  tsr_dim dims[MOST_DIMS];
  uint32_t count;
} dim_order;

static void order_expr(dim_order *order, tsr_expr expr) {
  const tsr_expr_node node = tsr_expr_get(order->ir, expr);
  if (expr == 0 || !tsr_expr_has(order->ir, expr, TSR_INDEX_DIM))
    return;
  if (node.op != TSR_INDEX_DIM) {
    order_expr(order, node.a);
    order_expr(order, node.b);
    return;
  }
  for (uint32_t i = 0; i < order->count; i++)
    if (order->dims[i] == node.dim)
      return;
  if (order->count < MOST_DIMS)
    order->dims[order->count++] = node.dim;
}

static void order_type(dim_order *order, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(order->ir, value);
  for (uint32_t i = 0; i < tsr_type_dim_count(type); i++)
    order_expr(order, type->dims[i]);
}

/* By first appearance, which is the same in every model that has the block. */
static void order_dims(dim_order *order, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(order->ir, op);
  for (uint32_t i = 0; i < data->result_count; i++)
    order_type(order, data->results[i]);
  for (uint32_t i = 0; i < data->operand_count; i++) {
    order_type(order, data->operands[i].value);
    for (uint32_t k = 0; k < data->operands[i].subscript_count; k++)
      order_expr(order, data->operands[i].subscripts[k]);
  }
  for (uint32_t r = 0; r < data->region_count; r++) {
    const tsr_region_data *region = tsr_region_get(order->ir, data->regions[r]);
    for (uint32_t i = 0; i < region->arg_count; i++)
      order_expr(order, tsr_value_get(order->ir, region->args[i])->hi);
    TSR_FOR_EACH_OP (order->ir, data->regions[r], inner)
      order_dims(order, inner);
  }
}

static const char *dims_text(const tsr_ir *ir, tsr_op block, tsr_arena *arena) {
  dim_order order = {.ir = ir};
  char text[MOST_DIMS * 21 + 1] = "";
  size_t used = 0;
  order_dims(&order, block);
  for (uint32_t i = 0; i < order.count; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i == 0 ? "" : ",",
                             (long long)tsr_dim_get(ir, order.dims[i])->hint);
  return tsr_arena_string(arena, text, used);
}

/* The hash of the block itself does not see which operands are constants, on which the panels of a
 * contraction depend. */
static uint64_t workload_of(const tsr_ir *isolated, tsr_op block) {
  unsigned char constant[256] = {0};
  size_t count = 0;
  TSR_FOR_EACH_OP (isolated, tsr_op_get(isolated, block)->parent, op) {
    if (op == block || count == sizeof constant)
      break;
    constant[count++] = tsr_op_get(isolated, op)->code == TSR_OP_CONST;
  }
  const uint64_t hash = tsr_op_workload_hash(isolated, block);
  return hash == 0 ? 0 : tsr_hash64_seeded(constant, count, hash);
}

static const char *target_text(const tsr_target *target, tsr_arena *arena) {
  char text[TSR_CPU_ISA_TEXT];
  tsr_cpu_isa isa;
  if (target->kind == TSR_TARGET_CUDA)
    return tsr_arena_printf(arena, "%s%s", target->name, target->tf32 ? "+tf32" : "");
  tsr_cpu_isa_from_features(target->cpu_features, &isa);
  tsr_cpu_isa_text(&isa, text);
  return tsr_arena_string(arena, text, strlen(text));
}

static const char *device_text(const tsr_target *target, tsr_arena *arena) {
  if (target->kind == TSR_TARGET_CUDA)
    return tsr_arena_printf(arena, "multiprocessors=%u l2=%llu", target->gpu.multiprocessors,
                            (unsigned long long)target->l2_bytes);
  return tsr_arena_printf(arena, "l1d=%llu l2=%llu l3=%llu line=%u",
                          (unsigned long long)target->l1_bytes,
                          (unsigned long long)target->l2_bytes,
                          (unsigned long long)target->l3_bytes, target->line_bytes);
}

tsr_status tsr_task_key(const tsr_ir *ir, tsr_op block, const tsr_target *target, const char *mode,
                        tsr_arena *arena, tsr_db_key *out_key) {
  tsr_ir *isolated;
  tsr_op op;
  *out_key = (tsr_db_key){0};
  TSR_TRY(tsr_ir_isolate(ir, block, tsr_ir_allocator(ir), &isolated, &op));
  *out_key = (tsr_db_key){.workload = workload_of(isolated, op),
                          .workload_version = TSR_HASH_VERSION,
                          .threads = target->kind == TSR_TARGET_CUDA ? 0 : target->threads,
                          .dims = dims_text(isolated, op, arena),
                          .target = target_text(target, arena),
                          .device = device_text(target, arena),
                          .mode = mode};
  tsr_ir_destroy(isolated);
  const bool failed = out_key->workload == 0 || out_key->dims == NULL || out_key->target == NULL ||
                      out_key->device == NULL;
  return failed ? TSR_ERR_OUT_OF_MEMORY : TSR_OK;
}

tsr_status tsr_task_origin(const tsr_target *target, const tsr_allocator *allocator,
                           tsr_arena *arena, tsr_db_origin *out_origin) {
  char version[64];
  tsr_nvrtc *nvrtc = NULL;
  *out_origin = (tsr_db_origin){"", "", "", tsr_version_text(), ""};
  if (target->kind == TSR_TARGET_CPU) {
    tsr_llvm_version(version, sizeof version);
    out_origin->compiler = tsr_arena_printf(arena, "llvm %s", version);
  } else if (tsr_nvrtc_open(allocator, NULL, &nvrtc, NULL) == TSR_OK) {
    const char *identity = tsr_nvrtc_identity(nvrtc);
    out_origin->compiler = tsr_arena_string(arena, identity, strlen(identity));
    tsr_nvrtc_close(nvrtc);
  }
  return out_origin->compiler == NULL ? TSR_ERR_OUT_OF_MEMORY : TSR_OK;
}

/* --- schedules as text --- */

const char *tsr_task_schedule_text(const tsr_schedule *schedule, const tsr_allocator *allocator,
                                   tsr_arena *arena) {
  tsr_ir *ir = NULL;
  const char *text = NULL;
  if (tsr_ir_create(allocator, &ir) != TSR_OK)
    return NULL;
  tsr_op plan = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_PLAN);
  tsr_op_set_symbol(ir, plan, "p");
  tsr_op op = tsr_op_append(ir, tsr_op_add_region(ir, plan), TSR_OP_SCHEDULE);
  tsr_op_set_symbol(ir, op, "k");
  tsr_schedule_write(ir, op, schedule);
  if (tsr_ir_status(ir) == TSR_OK)
    text = tsr_op_print(ir, op, arena);
  if (text != NULL)
    text = strchr(text, '{');
  tsr_ir_destroy(ir);
  if (text != NULL) {
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] != '}')
      length--;
    text = tsr_arena_string(arena, text, length);
  }
  return text;
}

static bool is_only(const tsr_ir *ir, tsr_region region, tsr_opcode code) {
  const tsr_region_data *data = tsr_region_get(ir, region);
  return data->first != 0 && data->first == data->last && tsr_op_get(ir, data->first)->code == code;
}

/* The one in the one plan; 0: the text holds something else. */
static tsr_op only_schedule(const tsr_ir *ir) {
  if (!is_only(ir, tsr_ir_top(ir), TSR_OP_PLAN))
    return 0;
  const tsr_op plan = tsr_region_get(ir, tsr_ir_top(ir))->first;
  const tsr_region inside = tsr_op_get(ir, plan)->regions[0];
  return is_only(ir, inside, TSR_OP_SCHEDULE) ? tsr_region_get(ir, inside)->first : 0;
}

tsr_status tsr_task_schedule_parse(const char *text, const tsr_allocator *allocator, tsr_diag *diag,
                                   tsr_schedule *out_schedule) {
  tsr_arena arena;
  tsr_ir *ir = NULL;
  *out_schedule = (tsr_schedule){0};
  tsr_arena_init(&arena, allocator);
  const char *whole = tsr_arena_printf(&arena, "plan @p {\n  schedule @k %s\n}\n", text);
  tsr_status status = whole == NULL
                          ? tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory")
                          : tsr_ir_parse(allocator, whole, strlen(whole), "schedule", diag, &ir);
  if (status == TSR_OK)
    status = tsr_ir_verify(ir, diag);
  if (status == TSR_OK) {
    const tsr_op op = only_schedule(ir);
    status = op == 0 || tsr_op_string(ir, op, "strategy") == NULL
                 ? tsr_fail(diag, TSR_ERR_FORMAT, "this is no schedule: %s", text)
                 : tsr_schedule_read(ir, op, diag, out_schedule);
  }
  if (status != TSR_OK)
    *out_schedule = (tsr_schedule){0};
  if (ir != NULL)
    tsr_ir_destroy(ir);
  tsr_arena_reset(&arena);
  return status;
}

/* --- collecting --- */

typedef struct collecting {
  const tsr_target *target;
  const tsr_allocator *allocator;
  tsr_diag *diag;
  tsr_task_list list;
  uint32_t capacity;
} collecting;

bool tsr_task_exists(const tsr_ir *ir, tsr_op block) {
  const tsr_opcode code = tsr_op_get(ir, block)->code;
  return code == TSR_OP_GROUP || (code == TSR_OP_BLOCK && tsr_op_attr(ir, block, "fill") == NULL);
}

static tsr_status out_of_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

static const char *name_of(tsr_ir *ir, tsr_op block) {
  const tsr_op_data *data = tsr_op_get(ir, block);
  char text[256] = "";
  size_t used = 0;
  for (uint32_t i = 0; i < data->origin_count && used < sizeof text - 1; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i == 0 ? "" : ", ",
                             data->origins[i]);
  return tsr_ir_intern(ir, text);
}

static int64_t value_at_hints(const tsr_ir *ir, tsr_expr expr) {
  int64_t value = 1;
  return tsr_expr_at_hints(ir, expr, &value) == TSR_OK && value > 0 ? value : 1;
}

static double bytes_of(const tsr_ir *ir, tsr_value value) {
  const tsr_type_info *type = tsr_value_type(ir, value);
  double bytes = tsr_dtype_bits(type->dtype) / 8.0;
  for (uint32_t i = 0; i < tsr_type_dim_count(type); i++)
    bytes *= (double)value_at_hints(ir, type->dims[i]);
  return bytes;
}

/* Points times operations. */
static double work_of(const tsr_ir *ir, tsr_op block) {
  const tsr_region body = tsr_op_get(ir, block)->regions[0];
  const tsr_region_data *region = tsr_region_get(ir, body);
  double points = 1, ops = 0;
  for (uint32_t i = 0; i < region->arg_count; i++)
    points *= (double)value_at_hints(ir, tsr_value_get(ir, region->args[i])->hi);
  TSR_FOR_EACH_OP (ir, body, op)
    ops++;
  return points * ops;
}

/* The larger of what its points take in vectors of f32 and what its tensors take to come from
 * memory, in cycles of one core: good enough to tell large tasks from small ones. */
static double rough_cycles(const tsr_task *task, const tsr_target *target) {
  const tsr_op_data *data = tsr_op_get(task->ir, task->block);
  double work = 0, bytes = 0;
  if (data->code == TSR_OP_GROUP)
    TSR_FOR_EACH_OP (task->ir, data->regions[0], member)
      work += tsr_op_get(task->ir, member)->code == TSR_OP_BLOCK ? work_of(task->ir, member) : 0;
  else
    work = work_of(task->ir, task->block);
  TSR_FOR_EACH_OP (task->ir, data->parent, op)
    for (uint32_t i = 0; i < tsr_op_get(task->ir, op)->result_count; i++)
      bytes += bytes_of(task->ir, tsr_op_get(task->ir, op)->results[i]);
  const double compute = work / (4.0 * tsr_target_lanes(target, 32));
  const double memory = bytes / (target->memory_rate > 0 ? target->memory_rate : 4);
  return (compute > memory ? compute : memory) + target->launch_cycles;
}

static tsr_status add_task(collecting *c, tsr_ir *isolated, tsr_op block, uint64_t workload) {
  tsr_task_list *list = &c->list;
  if (list->count == c->capacity) {
    const uint32_t capacity = c->capacity == 0 ? 32 : c->capacity * 2;
    tsr_task *bigger = c->allocator->allocate(c->allocator->context, capacity * sizeof *bigger, 16);
    if (bigger == NULL)
      return out_of_memory(c->diag);
    if (list->count > 0) {
      memcpy(bigger, list->tasks, list->count * sizeof *bigger);
      c->allocator->release(c->allocator->context, list->tasks, c->capacity * sizeof *bigger);
    }
    list->tasks = bigger;
    c->capacity = capacity;
  }
  tsr_task task = {.ir = isolated, .block = block, .workload = workload, .times = 1};
  task.name = name_of(isolated, block);
  task.dims = dims_text(isolated, block, tsr_ir_arena(isolated));
  if (task.name == NULL || task.dims == NULL)
    return out_of_memory(c->diag);
  task.share = rough_cycles(&task, c->target);
  TSR_TRY(tsr_task_memo_create(c->allocator, c->diag, &task.memo));
  list->tasks[list->count++] = task;
  return TSR_OK;
}

static tsr_status collect_block(collecting *c, const tsr_ir *ir, tsr_op block) {
  tsr_ir *isolated = NULL;
  tsr_op op = 0;
  if (!tsr_task_exists(ir, block))
    return TSR_OK;
  tsr_status status = tsr_ir_isolate(ir, block, c->allocator, &isolated, &op);
  if (status != TSR_OK)
    return tsr_fail(c->diag, status, "a block cannot be taken out of its graph");
  /* Tiling would make its blocks kernels by themselves. */
  if (tsr_op_get(isolated, op)->code == TSR_OP_GROUP &&
      !tsr_group_possible(isolated, c->target, op)) {
    tsr_ir_destroy(isolated);
    return TSR_OK;
  }
  const uint64_t workload = workload_of(isolated, op);
  if (workload == 0)
    status = out_of_memory(c->diag);
  for (uint32_t i = 0; status == TSR_OK && i < c->list.count; i++)
    if (c->list.tasks[i].workload == workload) {
      c->list.tasks[i].times++;
      tsr_ir_destroy(isolated);
      return TSR_OK;
    }
  if (status == TSR_OK)
    status = add_task(c, isolated, op, workload);
  if (status != TSR_OK)
    tsr_ir_destroy(isolated);
  return status;
}

static tsr_status collect_region(collecting *c, const tsr_ir *ir, tsr_region region) {
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code == TSR_OP_BLOCK || data->code == TSR_OP_GROUP)
      TSR_TRY(collect_block(c, ir, op));
    else if (data->code == TSR_OP_PROC)
      c->list.procs++;
    else if (data->code == TSR_OP_GRAPH || data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t i = 0; i < data->region_count; i++)
        TSR_TRY(collect_region(c, ir, data->regions[i]));
  }
  return TSR_OK;
}

static void release_all(tsr_task_list *list, uint32_t capacity, const tsr_allocator *allocator) {
  for (uint32_t i = 0; i < list->count; i++) {
    tsr_task_memo_destroy(list->tasks[i].memo, allocator);
    tsr_ir_destroy(list->tasks[i].ir);
  }
  if (list->tasks != NULL)
    allocator->release(allocator->context, list->tasks, capacity * sizeof *list->tasks);
  *list = (tsr_task_list){0};
}

/* Exactly as long as it is: tsr_tasks_release knows no capacity. */
static tsr_status hand_over(collecting *c, tsr_task_list *out_list) {
  const uint32_t count = c->list.count;
  double sum = 0;
  out_list->procs = c->list.procs;
  if (count == 0)
    return TSR_OK;
  tsr_task *tasks = c->allocator->allocate(c->allocator->context, count * sizeof *tasks, 16);
  if (tasks == NULL)
    return out_of_memory(c->diag);
  memcpy(tasks, c->list.tasks, count * sizeof *tasks);
  c->allocator->release(c->allocator->context, c->list.tasks, c->capacity * sizeof *tasks);
  c->list = (tsr_task_list){0};
  for (uint32_t i = 0; i < count; i++)
    sum += tasks[i].share *= tasks[i].times;
  for (uint32_t i = 0; i < count; i++)
    tasks[i].share /= sum;
  out_list->tasks = tasks;
  out_list->count = count;
  return TSR_OK;
}

tsr_status tsr_tasks_collect(const tsr_ir *const *blocks, uint32_t count, const tsr_target *target,
                             const tsr_allocator *allocator, tsr_diag *diag,
                             tsr_task_list *out_list) {
  collecting c = {.target = target, .allocator = allocator, .diag = diag};
  tsr_status status = TSR_OK;
  *out_list = (tsr_task_list){0};
  for (uint32_t i = 0; status == TSR_OK && i < count; i++)
    status = collect_region(&c, blocks[i], tsr_ir_top(blocks[i]));
  if (status == TSR_OK)
    status = hand_over(&c, out_list);
  if (status != TSR_OK || c.list.tasks != NULL)
    release_all(&c.list, c.capacity, allocator);
  return status;
}

void tsr_tasks_release(tsr_task_list *list, const tsr_allocator *allocator) {
  release_all(list, list->count, allocator);
}
