/* Blocks become kernels and launches. */
#include "passes/tile/tile.h"
#include "passes/tile/contract_dot.h"
#include "passes/tile/contract_parts.h"
#include "passes/tile/default.h"
#include "passes/tile/group.h"
#include "passes/tile/mma.h"
#include "passes/tile/take.h"
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 24, MAX_VARIANTS = 3 };

/* A kernel of a block: the first one is right for all extents, further ones where their guard
 * holds. */
typedef struct made_variant {
  char name[NAME_BYTES];
  tsr_schedule schedule;
  tsr_expr guard; /* of all but the first */
} made_variant;

/* Kernels made or to be made of one kind of block. */
typedef struct made_kernel {
  tsr_op block;  /* the first block of its kind */
  int64_t parts; /* above 1: the block is cut in two along `axis`, and is no kernel itself */
  uint32_t axis;
  tsr_op first, second; /* what it was cut into */
  uint32_t op_count;    /* of the block: what differs here needs no comparison */
  bool known;           /* `row` is in the place of the default */
  tsr_schedule row;
  uint32_t count;
  made_variant variants[MAX_VARIANTS];
} made_kernel;

typedef struct tiling {
  tsr_taking take;
  const tsr_plan_source *plan;
  made_kernel *kernels;
  uint32_t count, capacity;
  uint32_t number; /* of the next kernel */
  bool planning;
} tiling;

/* --- schedules --- */

static tsr_status add_where(tiling *t, tsr_op block) {
  const tsr_op_data *data = tsr_op_get(t->take.ir, block);
  tsr_diag_set_node(t->take.diag, data->origin_count > 0 ? data->origins[0] : "",
                    tsr_opcode_info(data->code)->text);
  return t->take.diag != NULL && t->take.diag->status != TSR_OK ? t->take.diag->status
                                                                : TSR_ERR_INTERNAL;
}

static tsr_status from_plan(tiling *t, const char *name, tsr_schedule *inout) {
  if (t->plan == NULL || t->plan->plan == 0)
    return TSR_OK;
  TSR_FOR_EACH_OP (t->plan->ir, tsr_op_get(t->plan->ir, t->plan->plan)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(t->plan->ir, op);
    if (data->code == TSR_OP_SCHEDULE && data->symbol != NULL && strcmp(data->symbol, name) == 0)
      return tsr_schedule_read(t->plan->ir, op, t->take.diag, inout);
  }
  return TSR_OK;
}

static bool is_group(const tiling *t, tsr_op op) {
  return tsr_op_get(t->take.ir, op)->code == TSR_OP_GROUP;
}

static tsr_status check_whole(tiling *t, tsr_op block, const tsr_schedule *schedule,
                              const char *name) {
  tsr_nest *nest = NULL;
  TSR_TRY(tsr_take_nest(&t->take, block, &nest));
  return tsr_take_check(&t->take, nest, schedule, name);
}

/* A schedule that cuts the block is one of the first of its parts: the block is cut to see. `part`:
 * the block is such a part already. */
static tsr_status check_row(tiling *t, tsr_op block, bool part, const tsr_schedule *schedule,
                            const char *name) {
  tsr_nest *nest = NULL;
  tsr_op first, second;
  int axis = -1;
  if (is_group(t, block))
    return tsr_group_check(schedule, name, t->take.diag);
  if (!part) {
    TSR_TRY(tsr_take_nest(&t->take, block, &nest));
    TSR_TRY(tsr_take_split(&t->take, nest, schedule, name, &axis));
  }
  if (axis < 0)
    return check_whole(t, block, schedule, name);
  TSR_TRY(tsr_take_cut(&t->take, block, schedule->knobs[TSR_KNOB_SPLIT], (uint32_t)axis, &first,
                       &second));
  const tsr_status status = check_whole(t, first, schedule, name);
  tsr_op_erase(t->take.ir, second);
  tsr_op_erase(t->take.ir, first);
  return status;
}

/* Takes the kernel's row if it is legal; why it is not, nobody wants to know. */
static tsr_status take_row(tiling *t, tsr_op block, bool part, made_kernel *kernel) {
  tsr_diag *diag = t->take.diag, why = {0};
  t->take.diag = &why;
  const tsr_status status = check_row(t, block, part, &kernel->row, kernel->variants[0].name);
  t->take.diag = diag;
  kernel->known = status == TSR_OK;
  return status == TSR_ERR_OUT_OF_MEMORY ? tsr_taking_out_of_memory(&t->take)
                                         : tsr_ir_status(t->take.ir);
}

/* The first legal schedule that is known for the block. */
static tsr_status ask_known(tiling *t, tsr_op block, made_kernel *kernel) {
  const tsr_plan_source *plan = t->plan;
  if (plan == NULL || plan->known == NULL || tsr_op_get(t->take.ir, block)->code == TSR_OP_PROC)
    return TSR_OK;
  for (uint32_t i = 0;
       !kernel->known && plan->known(plan->known_context, t->take.ir, block, i, &kernel->row); i++)
    TSR_TRY(take_row(t, block, false, kernel));
  return TSR_OK;
}

static bool is_mma(const tsr_schedule *schedule) {
  return schedule->strategy == TSR_STRATEGY_MMA || schedule->strategy == TSR_STRATEGY_WGMMA;
}

/* A variant reads the constants that the first schedule has laid out; that layout is one for all
 * schedules of the strategies of CUDA. */
static tsr_status check_variant(tiling *t, tsr_nest *nest, const made_variant *first,
                                const made_variant *variant) {
  static const tsr_knob tiles[2] = {TSR_KNOB_MR, TSR_KNOB_NR};
  TSR_TRY(tsr_schedule_check(nest, &variant->schedule, variant->name, t->take.diag));
  if (is_mma(&first->schedule) != is_mma(&variant->schedule))
    return tsr_fail(t->take.diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: 'strategy' does not go with that of @%s: both read one packed "
                    "constant",
                    variant->name, first->name);
  if (!is_mma(&first->schedule) &&
      (first->schedule.atom == NULL) != (variant->schedule.atom == NULL))
    return tsr_fail(t->take.diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: 'atom' does not go with that of @%s: both read one packed "
                    "constant",
                    variant->name, first->name);
  if (is_mma(&first->schedule))
    return TSR_OK;
  const tsr_contraction *c = tsr_contract_of(nest, &first->schedule);
  const bool shared[2] = {c != NULL && c->a.packable, c != NULL && c->b.packable && !c->flat};
  for (int i = 0; i < 2; i++)
    if (shared[i] && variant->schedule.knobs[tiles[i]] != first->schedule.knobs[tiles[i]])
      return tsr_fail(t->take.diag, TSR_ERR_ARGUMENT,
                      "schedule @%s: '%s' must be that of @%s: both read one packed constant",
                      variant->name, tsr_knob_get(tiles[i])->text, first->name);
  return TSR_OK;
}

/* Up to its extent, and where the tensors are such as the strategy can read. */
static tsr_expr guard_of(tiling *t, tsr_nest *nest, tsr_expr extent, const tsr_schedule *schedule) {
  const int64_t upto = schedule->knobs[TSR_KNOB_UPTO];
  tsr_expr guard = 0;
  if (schedule->strategy == TSR_STRATEGY_WGMMA)
    guard = tsr_wgmma_guard(nest, schedule);
  if (guard != 0 && tsr_expr_equals_int(t->take.ir, guard, 1))
    guard = 0;
  if (extent != 0 && upto < tsr_knob_get(TSR_KNOB_UPTO)->greatest) {
    const tsr_expr small =
        tsr_expr_binary(t->take.ir, TSR_INDEX_LE, extent, tsr_expr_int(t->take.ir, upto));
    guard = guard == 0 ? small : tsr_expr_binary(t->take.ir, TSR_INDEX_AND, small, guard);
  }
  return guard == 0 ? tsr_expr_int(t->take.ir, 1) : guard;
}

/* The extent at which rows are measured; 0: not known. */
static int64_t measured_extent(const tiling *t, tsr_expr extent) {
  int64_t typical = 0;
  return tsr_expr_at_hints(t->take.ir, extent, &typical) == TSR_OK ? typical : 0;
}

/* The model's variants end where the row begins to run. */
static void stay_below(int64_t typical, tsr_schedule *variants, uint32_t count) {
  int64_t before = 0;
  for (uint32_t i = 0; i < count; i++) {
    int64_t *upto = &variants[i].knobs[TSR_KNOB_UPTO];
    if (*upto >= typical)
      *upto = typical - 1 > before ? typical - 1 : 0;
    before = *upto > before ? *upto : before;
  }
}

/* The variants around a row of measurements: at the extent that it was measured at, it runs. Where
 * the model has another schedule for the high end of the range, that one is the kernel without a
 * guard, and the row takes the place of the variant for the typical extent. */
static uint32_t around_row(tiling *t, tsr_nest *nest, made_kernel *kernel, tsr_expr extent,
                           tsr_schedule *out) {
  const tsr_schedule row = kernel->variants[0].schedule;
  const int64_t typical = measured_extent(t, extent);
  made_variant high = kernel->variants[0];
  tsr_diag *diag = t->take.diag, why = {0};
  tsr_schedule_high_end(nest, &high.schedule);
  high.schedule.knobs[TSR_KNOB_UPTO] = 0;
  t->take.diag = &why;
  const bool other = memcmp(high.schedule.knobs, row.knobs, sizeof row.knobs) != 0 &&
                     tsr_take_check(&t->take, nest, &high.schedule, high.name) == TSR_OK &&
                     check_variant(t, nest, &high, &kernel->variants[0]) == TSR_OK;
  t->take.diag = diag;
  uint32_t count = other ? tsr_schedule_variants(nest, &high.schedule, out, MAX_VARIANTS - 1) : 0;
  for (uint32_t i = 0; i < count; i++) {
    const int64_t upto = out[i].knobs[TSR_KNOB_UPTO];
    if (upto < typical)
      continue;
    out[i] = row;
    out[i].knobs[TSR_KNOB_UPTO] = upto;
    kernel->variants[0].schedule = high.schedule;
    return count;
  }
  count = tsr_schedule_variants(nest, &row, out, MAX_VARIANTS - 1);
  stay_below(typical, out, count);
  return count;
}

/* A row by tiles of AMX, which the system may deny, becomes a variant of the default by vectors
 * where both read the same panels. Beside a row by vectors nothing runs that was not measured. */
static uint32_t stand_in(tiling *t, tsr_nest *nest, made_kernel *kernel, tsr_schedule *out) {
  made_variant *first = &kernel->variants[0], other = *first;
  tsr_diag *diag = t->take.diag, why = {0};
  if (first->schedule.atom->place != TSR_ATOM_MEMORY)
    return 0;
  if (!tsr_contract_dot_stand_in(nest, &first->schedule, &other.schedule))
    tsr_schedule_default(nest, &other.schedule);
  other.schedule.knobs[TSR_KNOB_UPTO] = 0;
  const bool vectors = other.schedule.strategy == TSR_STRATEGY_CONTRACT &&
                       other.schedule.atom != NULL && other.schedule.atom->place == TSR_ATOM_REG;
  t->take.diag = &why;
  const bool fits = vectors && check_variant(t, nest, &other, first) == TSR_OK;
  t->take.diag = diag;
  if (!fits)
    return 0;
  *out = first->schedule;
  out->knobs[TSR_KNOB_UPTO] = tsr_knob_get(TSR_KNOB_UPTO)->greatest;
  first->schedule = other.schedule;
  return 1;
}

/* The variants of the kernel; the plan may change each, drop it by `upto` = 0, or add one. */
static tsr_status add_variants(tiling *t, tsr_nest *nest, made_kernel *kernel) {
  tsr_schedule more[MAX_VARIANTS - 1];
  const tsr_schedule *first = &kernel->variants[0].schedule;
  const bool grouped = !is_mma(first) && first->atom != NULL;
  const tsr_expr extent = is_mma(first) ? tsr_mma_guarded(nest) : tsr_schedule_guarded(nest);
  uint32_t count = 0;
  if (grouped)
    count = kernel->known ? stand_in(t, nest, kernel, more)
                          : tsr_contract_dot_variants(nest, first, more);
  else if (kernel->known && extent != 0 && !is_mma(first))
    count = around_row(t, nest, kernel, extent, more);
  else
    count = tsr_schedule_variants(nest, first, more, MAX_VARIANTS - 1);
  const bool any = extent != 0 || is_mma(first) || grouped;
  for (uint32_t i = 0; any && i < MAX_VARIANTS - 1; i++) {
    made_variant *variant = &kernel->variants[kernel->count];
    snprintf(variant->name, sizeof variant->name, "%.16s_%u", kernel->variants[0].name, i + 1);
    variant->schedule = i < count ? more[i] : *first;
    TSR_TRY(from_plan(t, variant->name, &variant->schedule));
    if (variant->schedule.knobs[TSR_KNOB_UPTO] == 0)
      continue;
    TSR_TRY(check_variant(t, nest, &kernel->variants[0], variant));
    variant->guard = guard_of(t, nest, extent, &variant->schedule);
    kernel->count++;
  }
  return TSR_OK;
}

static tsr_status check_fill(tiling *t, tsr_op block) {
  if (tsr_op_attr(t->take.ir, block, "fill") == NULL)
    return TSR_OK;
  return tsr_fail(t->take.diag, TSR_ERR_UNSUPPORTED,
                  "blocks with 'fill' (run-time sparsity) are not lowered on this target yet");
}

/* Is the block cut in two? `out_whole` is its default schedule, had it no plan. */
static tsr_status decide_split(tiling *t, tsr_op block, made_kernel *kernel,
                               tsr_schedule *out_whole) {
  tsr_nest *nest = NULL;
  int axis = -1;
  const char *name = kernel->variants[0].name;
  TSR_TRY(check_fill(t, block));
  TSR_TRY(ask_known(t, block, kernel));
  TSR_TRY(tsr_take_nest(&t->take, block, &nest));
  tsr_schedule_default(nest, out_whole);
  if (kernel->known)
    *out_whole = kernel->row;
  tsr_schedule planned = *out_whole;
  TSR_TRY(from_plan(t, name, &planned));
  TSR_TRY(tsr_take_split(&t->take, nest, &planned, name, &axis));
  if (axis < 0) {
    tsr_default_uncut(nest, out_whole);
    return TSR_OK;
  }
  kernel->parts = planned.knobs[TSR_KNOB_SPLIT];
  kernel->axis = (uint32_t)axis;
  return TSR_OK;
}

/* The schedules of a block's kernels. `whole`: the default that it has as the first block of two
 * (its knob `split` is above 1), or as one that is not to be cut. */
static tsr_status prepare(tiling *t, tsr_op block, made_kernel *kernel, const tsr_schedule *whole) {
  tsr_nest *nest = NULL;
  made_variant *first = &kernel->variants[0];
  TSR_TRY(check_fill(t, block));
  TSR_TRY(tsr_take_nest(&t->take, block, &nest));
  if (whole->knobs[TSR_KNOB_SPLIT] > 1)
    tsr_default_part(nest, whole, &first->schedule);
  else
    first->schedule = *whole;
  if (kernel->known)
    first->schedule = kernel->row;
  TSR_TRY(from_plan(t, first->name, &first->schedule));
  if (whole->knobs[TSR_KNOB_SPLIT] <= 1 && first->schedule.knobs[TSR_KNOB_SPLIT] > 1)
    return tsr_fail(t->take.diag, TSR_ERR_ARGUMENT,
                    "schedule @%s: 'split' must be 1: the block is one of two already",
                    first->name);
  first->schedule.knobs[TSR_KNOB_UPTO] = 0;
  kernel->count = 1;
  const bool contract = first->schedule.strategy == TSR_STRATEGY_CONTRACT;
  if (!contract && nest->contraction != NULL)
    TSR_TRY(tsr_take_nest(&t->take, block, &nest));
  TSR_TRY(tsr_take_check(&t->take, nest, &first->schedule, first->name));
  return contract || is_mma(&first->schedule) ? add_variants(t, nest, kernel) : TSR_OK;
}

/* --- kernels --- */

static tsr_dtype packed_dtype(const tsr_nest_buffer *buffer) {
  return buffer->parts_axis > 0 ? TSR_BF16 : buffer->dtype;
}

/* Inputs in the order of their first use, then the block's results. */
static void add_arguments(tiling *t, tsr_nest *nest, tsr_region region) {
  const tsr_op_data *data = tsr_op_get(t->take.ir, nest->op);
  for (uint32_t i = 0; i < nest->buffer_count; i++) {
    tsr_nest_buffer *b = &nest->buffers[i];
    if (!b->result)
      b->arg = tsr_region_add_arg(
          t->take.ir, region, TSR_ROLE_IN,
          tsr_type_make(t->take.ir, TSR_LEVEL_GLOBAL, packed_dtype(b), b->dims, b->rank));
  }
  for (uint32_t k = 0; k < data->result_count; k++)
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
      tsr_nest_buffer *b = &nest->buffers[i];
      if (b->result && b->value == data->results[k])
        b->arg = tsr_region_add_arg(
            t->take.ir, region, b->read ? TSR_ROLE_INOUT : TSR_ROLE_OUT,
            tsr_type_make(t->take.ir, TSR_LEVEL_GLOBAL, b->dtype, b->dims, b->rank));
    }
}

static tsr_status make_kernel(tiling *t, tsr_nest *nest, const made_variant *variant) {
  tsr_ir *ir = t->take.ir;
  const tsr_schedule *schedule = &variant->schedule;
  const tsr_op kernel = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_KERNEL);
  tsr_op_set_symbol(ir, kernel, variant->name);
  tsr_op_set_string(ir, kernel, "target", t->take.target->name);
  tsr_op_copy_origins(ir, kernel, nest->op);
  const tsr_region region = tsr_op_add_region(ir, kernel);
  add_arguments(t, nest, region);
  switch (schedule->strategy) {
  case TSR_STRATEGY_CONTRACT:
    return tsr_tile_contract(nest, schedule, region, t->take.diag);
  case TSR_STRATEGY_PROC:
    return tsr_tile_proc(nest, schedule, region, t->take.diag);
  case TSR_STRATEGY_MMA:
    return tsr_tile_mma(nest, schedule, region, t->take.diag);
  case TSR_STRATEGY_WGMMA:
    return tsr_tile_wgmma(nest, schedule, region, t->take.diag);
  default:
    return tsr_tile_nest(nest, schedule, region, t->take.diag);
  }
}

/* The tensor as a launch passes it: a constant that the kernel reads in panels is laid out first.
 */
static tsr_value launch_operand(tiling *t, const tsr_nest *nest, const tsr_nest_buffer *b) {
  tsr_ir *ir = t->take.ir;
  if (b->map == NULL)
    return b->value;
  tsr_value source = b->value;
  if (b->map_rank != b->original_rank) {
    tsr_op reshape = tsr_op_insert_before(ir, nest->op, TSR_OP_RESHAPE);
    tsr_op_add_operand(ir, reshape, source);
    tsr_op_copy_origins(ir, reshape, nest->op);
    source = tsr_op_add_result(
        ir, reshape, tsr_type_make(ir, TSR_LEVEL_GLOBAL, b->dtype, b->map_dims, b->map_rank));
  }
  tsr_op relayout = tsr_op_insert_before(ir, nest->op, TSR_OP_RELAYOUT);
  tsr_op_add_operand(ir, relayout, source);
  tsr_op_set_exprs(ir, relayout, "map", b->map, b->map_rank);
  if (b->parts_axis > 0)
    tsr_op_set_int(ir, relayout, "parts", b->parts_axis);
  tsr_op_copy_origins(ir, relayout, nest->op);
  return tsr_op_add_result(
      ir, relayout,
      tsr_type_make(ir, TSR_LEVEL_GLOBAL, packed_dtype(b), b->packed_dims, b->packed_rank));
}

/* The launch's kernel, or its variants in the order of their guards, the first kernel last. */
static void name_kernels(tiling *t, tsr_op launch, const made_kernel *kernel) {
  tsr_expr guards[MAX_VARIANTS];
  const char *names[MAX_VARIANTS];
  const uint32_t last = kernel->count - 1;
  if (last == 0) {
    tsr_op_set_symbol(t->take.ir, launch, kernel->variants[0].name);
    return;
  }
  for (uint32_t i = 0; i < last; i++) {
    names[i] = kernel->variants[i + 1].name;
    guards[i] = kernel->variants[i + 1].guard;
  }
  names[last] = kernel->variants[0].name;
  tsr_attr attr = {.key = "kernels", .kind = TSR_ATTR_STRINGS, .count = kernel->count};
  attr.u.strings = names;
  tsr_op_set_attr(t->take.ir, launch, &attr);
  tsr_op_set_exprs(t->take.ir, launch, "guards", guards, last);
}

/* Before the block, which stays for comparison with later ones. */
static tsr_status make_launch(tiling *t, const tsr_nest *nest, const made_kernel *kernel) {
  tsr_ir *ir = t->take.ir;
  uint32_t count = 0;
  tsr_value *operands =
      tsr_arena_alloc_array(&t->take.per_block, nest->buffer_count + 1, sizeof *operands);
  if (operands == NULL)
    return tsr_taking_out_of_memory(&t->take);
  for (uint32_t i = 0; i < nest->buffer_count; i++)
    if (!nest->buffers[i].result)
      operands[count++] = launch_operand(t, nest, &nest->buffers[i]);
  tsr_op launch = tsr_op_insert_before(ir, nest->op, TSR_OP_LAUNCH);
  name_kernels(t, launch, kernel);
  for (uint32_t i = 0; i < count; i++)
    tsr_op_add_operand(ir, launch, operands[i]);
  tsr_op_copy_origins(ir, launch, nest->op);
  const tsr_op_data *data = tsr_op_get(ir, nest->op);
  for (uint32_t i = 0; i < data->result_count; i++) {
    const tsr_type_info *type = tsr_value_type(ir, data->results[i]);
    tsr_op_add_result(ir, launch,
                      tsr_type_make(ir, TSR_LEVEL_GLOBAL, type->dtype, type->dims, type->rank));
  }
  return tsr_ir_status(ir);
}

/* --- finding blocks --- */

static uint32_t ops_within(const tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  uint32_t count = 1;
  for (uint32_t i = 0; i < data->region_count; i++)
    TSR_FOR_EACH_OP (ir, data->regions[i], inner)
      count += ops_within(ir, inner);
  return count;
}

/* A kernel by parts reads constants that can be split. */
static bool can_share(tiling *t, tsr_op block, const made_kernel *kernel) {
  const tsr_atom *atom = kernel->variants[0].schedule.atom;
  tsr_diag *diag = t->take.diag, why = {0};
  tsr_nest *nest = NULL;
  if (kernel->count == 0 || atom == NULL || atom->parts == 1)
    return true;
  t->take.diag = &why;
  const tsr_status status = tsr_take_nest(&t->take, block, &nest);
  t->take.diag = diag;
  return status == TSR_OK && tsr_contract_parts_in_range(nest);
}

static made_kernel *same_kernel(tiling *t, tsr_op block, uint32_t op_count) {
  for (uint32_t i = 0; i < t->count; i++)
    if (t->kernels[i].op_count == op_count &&
        tsr_nest_same_block(t->take.ir, &t->take.pool, t->kernels[i].block, block) &&
        can_share(t, block, &t->kernels[i]))
      return &t->kernels[i];
  return NULL;
}

static made_kernel *new_kernel(tiling *t, tsr_op block, uint32_t op_count) {
  if (t->count == t->capacity) {
    const uint32_t capacity = t->capacity == 0 ? 64 : t->capacity * 2;
    made_kernel *bigger = tsr_arena_alloc_array(&t->take.arena, capacity, sizeof *bigger);
    if (bigger == NULL)
      return NULL;
    if (t->count > 0)
      memcpy(bigger, t->kernels, t->count * sizeof *bigger);
    t->kernels = bigger;
    t->capacity = capacity;
  }
  made_kernel *kernel = &t->kernels[t->count];
  *kernel = (made_kernel){.block = block, .op_count = op_count};
  snprintf(kernel->variants[0].name, NAME_BYTES, "k%u", t->number++);
  t->count++;
  return kernel;
}

typedef tsr_status (*block_visitor)(tiling *t, tsr_op block);

/* Blocks of a group go before it; its results are theirs. */
static void take_apart(tiling *t, tsr_op group) {
  const tsr_op_data *data = tsr_op_get(t->take.ir, group);
  const tsr_region region = data->regions[0];
  for (tsr_op op = tsr_region_get(t->take.ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *inner = tsr_op_get(t->take.ir, op);
    next = inner->next;
    if (inner->code == TSR_OP_YIELD) {
      for (uint32_t i = 0; i < data->result_count && i < inner->operand_count; i++)
        tsr_value_replace_all(t->take.ir, data->results[i], inner->operands[i].value);
      continue;
    }
    for (uint32_t i = 0; i < inner->result_count; i++) {
      const tsr_type_info *type = tsr_value_type(t->take.ir, inner->results[i]);
      tsr_value_set_type(
          t->take.ir, inner->results[i],
          tsr_type_make(t->take.ir, TSR_LEVEL_GLOBAL, type->dtype, type->dims, type->rank));
    }
    tsr_op_move_before(t->take.ir, op, group);
  }
  tsr_op_erase(t->take.ir, group);
}

/* Those that cannot be one kernel of the target. */
static void take_groups_apart(tiling *t, tsr_region region) {
  for (tsr_op op = tsr_region_get(t->take.ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(t->take.ir, op);
    next = data->next;
    if (data->code == TSR_OP_GROUP) {
      if (!tsr_group_possible(t->take.ir, t->take.target, op))
        take_apart(t, op);
    } else if (data->code != TSR_OP_BLOCK && data->code != TSR_OP_PROC)
      for (uint32_t i = 0; i < data->region_count; i++)
        take_groups_apart(t, data->regions[i]);
  }
}

static tsr_status visit_region(tiling *t, tsr_region region, block_visitor visit) {
  for (tsr_op op = tsr_region_get(t->take.ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(t->take.ir, op);
    next = data->next;
    if (data->code == TSR_OP_BLOCK || data->code == TSR_OP_PROC || data->code == TSR_OP_GROUP) {
      const tsr_status status = visit(t, op);
      tsr_arena_reset(&t->take.per_block);
      if (status != TSR_OK)
        return status;
    } else {
      for (uint32_t i = 0; i < data->region_count; i++)
        TSR_TRY(visit_region(t, data->regions[i], visit));
    }
  }
  return TSR_OK;
}

static tsr_status visit_graphs(tiling *t, block_visitor visit) {
  for (tsr_op op = tsr_region_get(t->take.ir, tsr_ir_top(t->take.ir))->first; op != 0;
       op = tsr_op_get(t->take.ir, op)->next)
    if (tsr_op_get(t->take.ir, op)->code == TSR_OP_GRAPH)
      TSR_TRY(visit_region(t, tsr_op_get(t->take.ir, op)->regions[0], visit));
  return TSR_OK;
}

/* --- the two passes --- */

/* A nest laid out for a schedule. */
static tsr_status laid_out(tiling *t, tsr_op block, const tsr_schedule *schedule,
                           tsr_nest **out_nest) {
  TSR_TRY(tsr_take_nest(&t->take, block, out_nest));
  if (schedule->strategy == TSR_STRATEGY_CONTRACT)
    tsr_contract_layout(*out_nest, schedule);
  if (is_mma(schedule))
    tsr_mma_layout(*out_nest);
  return TSR_OK;
}

static tsr_status make_kernels(tiling *t, tsr_op block, made_kernel *kernel,
                               const tsr_schedule *whole) {
  TSR_TRY(prepare(t, block, kernel, whole));
  for (uint32_t i = 0; i < kernel->count; i++) {
    tsr_nest *nest = NULL;
    TSR_TRY(laid_out(t, block, &kernel->variants[i].schedule, &nest));
    TSR_TRY(make_kernel(t, nest, &kernel->variants[i]));
  }
  return TSR_OK;
}

/* What is done with a block that is not cut: `kernel` is a new one where `whole` is not NULL. */
typedef tsr_status (*kernel_visitor)(tiling *t, tsr_op block, made_kernel *kernel,
                                     const tsr_schedule *whole);

/* One of the two blocks of one that is cut; `whole` has the schedule that decided it, for the first
 * of them, NULL for the second; `row` what is known for that first one, or NULL. */
static tsr_status visit_part(tiling *t, tsr_op block, const tsr_schedule *whole,
                             const tsr_schedule *row, kernel_visitor visit) {
  const uint32_t op_count = ops_within(t->take.ir, block);
  made_kernel *kernel = same_kernel(t, block, op_count);
  tsr_schedule own = {0};
  if (kernel != NULL && kernel->parts <= 1)
    return visit(t, block, kernel, NULL);
  kernel = new_kernel(t, block, op_count);
  if (kernel == NULL)
    return tsr_taking_out_of_memory(&t->take);
  if (row != NULL) {
    kernel->row = *row;
    TSR_TRY(take_row(t, block, true, kernel));
  }
  if (whole == NULL) {
    tsr_nest *nest = NULL;
    TSR_TRY(tsr_take_nest(&t->take, block, &nest));
    tsr_schedule_default(nest, &own);
    tsr_default_uncut(nest, &own);
    whole = &own;
  }
  return visit(t, block, kernel, whole);
}

static tsr_status visit_block(tiling *t, tsr_op block, kernel_visitor visit) {
  const uint32_t op_count = ops_within(t->take.ir, block);
  made_kernel *kernel = same_kernel(t, block, op_count);
  const bool is_new = kernel == NULL;
  tsr_schedule whole = {0};
  if (is_new) {
    kernel = new_kernel(t, block, op_count);
    if (kernel == NULL)
      return tsr_taking_out_of_memory(&t->take);
    TSR_TRY(decide_split(t, block, kernel, &whole));
  }
  if (kernel->parts <= 1)
    return visit(t, block, kernel, is_new ? &whole : NULL);
  tsr_op first = 0, second = 0;
  if (is_new)
    t->number--;
  else if (t->planning)
    return TSR_OK;
  whole.knobs[TSR_KNOB_SPLIT] = kernel->parts;
  TSR_TRY(tsr_take_cut(&t->take, block, kernel->parts, kernel->axis, &first, &second));
  if (is_new) {
    kernel->first = first;
    kernel->second = second;
  }
  const tsr_schedule row = kernel->row;
  TSR_TRY(visit_part(t, first, &whole, is_new && kernel->known ? &row : NULL, visit));
  return visit_part(t, second, NULL, NULL, visit);
}

static tsr_status tile_kernel(tiling *t, tsr_op block, made_kernel *kernel,
                              const tsr_schedule *whole) {
  tsr_nest *nest = NULL;
  if (whole != NULL)
    TSR_TRY(make_kernels(t, block, kernel, whole));
  TSR_TRY(laid_out(t, block, &kernel->variants[0].schedule, &nest));
  return make_launch(t, nest, kernel);
}

static tsr_status make_group_kernel(tiling *t, tsr_op group, const made_kernel *kernel) {
  tsr_ir *ir = t->take.ir;
  const tsr_op made = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_KERNEL);
  tsr_op_set_symbol(ir, made, kernel->variants[0].name);
  tsr_op_set_string(ir, made, "target", t->take.target->name);
  tsr_op_copy_origins(ir, made, group);
  return tsr_tile_group(&t->take, group, &kernel->variants[0].schedule,
                        tsr_op_add_region(ir, made));
}

static tsr_status make_group_launch(tiling *t, tsr_op group, const made_kernel *kernel) {
  enum { MOST_INPUTS = 64 };
  tsr_ir *ir = t->take.ir;
  tsr_value inputs[MOST_INPUTS];
  const uint32_t count = tsr_group_inputs(ir, group, inputs, MOST_INPUTS);
  tsr_op launch = tsr_op_insert_before(ir, group, TSR_OP_LAUNCH);
  name_kernels(t, launch, kernel);
  for (uint32_t i = 0; i < count && i < MOST_INPUTS; i++)
    tsr_op_add_operand(ir, launch, inputs[i]);
  tsr_op_copy_origins(ir, launch, group);
  for (uint32_t i = 0; i < tsr_op_get(ir, group)->result_count; i++)
    tsr_op_add_result(ir, launch, tsr_value_get(ir, tsr_op_get(ir, group)->results[i])->type);
  return tsr_ir_status(ir);
}

static tsr_status visit_group(tiling *t, tsr_op group) {
  const uint32_t op_count = ops_within(t->take.ir, group);
  made_kernel *kernel = same_kernel(t, group, op_count);
  if (kernel == NULL) {
    kernel = new_kernel(t, group, op_count);
    if (kernel == NULL)
      return tsr_taking_out_of_memory(&t->take);
    tsr_schedule *schedule = &kernel->variants[0].schedule;
    kernel->count = 1;
    TSR_TRY(ask_known(t, group, kernel));
    if (kernel->known)
      *schedule = kernel->row;
    else
      tsr_group_default(t->take.ir, t->take.target, group, schedule);
    TSR_TRY(from_plan(t, kernel->variants[0].name, schedule));
    TSR_TRY(tsr_group_check(schedule, kernel->variants[0].name, t->take.diag));
    if (!t->planning)
      TSR_TRY(make_group_kernel(t, group, kernel));
  }
  return t->planning ? TSR_OK : make_group_launch(t, group, kernel);
}

static tsr_status tile_block(tiling *t, tsr_op block) {
  const tsr_status status =
      is_group(t, block) ? visit_group(t, block) : visit_block(t, block, tile_kernel);
  if (status != TSR_OK)
    (void)add_where(t, block);
  return status;
}

/* Its launch stands before each block: results change hands, and the block goes. */
static tsr_status retire_block(tiling *t, tsr_op block) {
  const tsr_op_data *data = tsr_op_get(t->take.ir, block);
  const tsr_op_data *launch = tsr_op_get(t->take.ir, data->prev);
  for (uint32_t i = 0; i < data->result_count; i++)
    tsr_value_replace_all(t->take.ir, data->results[i], launch->results[i]);
  tsr_op_erase(t->take.ir, block);
  return tsr_ir_status(t->take.ir);
}

static tsr_status ir_failure(tiling *t, tsr_status status) {
  if (status == TSR_OK)
    status = tsr_ir_status(t->take.ir);
  if (status != TSR_OK && t->take.diag != NULL && t->take.diag->status == TSR_OK)
    *t->take.diag = *tsr_ir_diag(t->take.ir);
  return status;
}

tsr_status tsr_pass_tile(tsr_ir *ir, const tsr_target *target, const tsr_plan_source *plan,
                         tsr_diag *diag) {
  tiling t = {.take = {.ir = ir, .target = target, .diag = diag}, .plan = plan};
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_KERNEL)
      t.number++;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph)
    if (tsr_op_get(ir, graph)->code == TSR_OP_GRAPH)
      take_groups_apart(&t, tsr_op_get(ir, graph)->regions[0]);
  tsr_status status = tsr_taking_begin(&t.take);
  if (status == TSR_OK)
    status = visit_graphs(&t, tile_block);
  if (status == TSR_OK)
    status = visit_graphs(&t, retire_block);
  status = ir_failure(&t, status);
  tsr_taking_end(&t.take);
  return status;
}

static tsr_status plan_kernel(tiling *t, tsr_op block, made_kernel *kernel,
                              const tsr_schedule *whole) {
  return whole == NULL ? TSR_OK : prepare(t, block, kernel, whole);
}

static tsr_status plan_block(tiling *t, tsr_op block) {
  return is_group(t, block) ? visit_group(t, block) : visit_block(t, block, plan_kernel);
}

/* A plan leaves the graph as it was. */
static void drop_cut_blocks(tiling *t) {
  for (uint32_t i = 0; i < t->count; i++) {
    if (t->kernels[i].second != 0)
      tsr_op_erase(t->take.ir, t->kernels[i].second);
    if (t->kernels[i].first != 0)
      tsr_op_erase(t->take.ir, t->kernels[i].first);
  }
}

tsr_status tsr_plan_make(tsr_ir *ir, const tsr_target *target, const tsr_plan_source *source,
                         tsr_diag *diag, tsr_op *out_plan) {
  tiling t = {.take = {.ir = ir, .target = target, .diag = diag}, .plan = source, .planning = true};
  if (out_plan != NULL)
    *out_plan = 0;
  const char *symbol = "plan";
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph)
    if (tsr_op_get(ir, graph)->code == TSR_OP_GRAPH) {
      take_groups_apart(&t, tsr_op_get(ir, graph)->regions[0]);
      symbol = tsr_op_get(ir, graph)->symbol;
    }
  tsr_status status = tsr_taking_begin(&t.take);
  if (status == TSR_OK)
    status = visit_graphs(&t, plan_block);
  if (status == TSR_OK) {
    tsr_op plan = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_PLAN);
    tsr_op_set_symbol(ir, plan, symbol);
    tsr_op_set_string(ir, plan, "target", target->name);
    const tsr_region region = tsr_op_add_region(ir, plan);
    for (uint32_t i = 0; i < t.count; i++)
      for (uint32_t k = 0; k < t.kernels[i].count; k++) {
        tsr_op schedule = tsr_op_append(ir, region, TSR_OP_SCHEDULE);
        tsr_op_set_symbol(ir, schedule, t.kernels[i].variants[k].name);
        tsr_schedule_write(ir, schedule, &t.kernels[i].variants[k].schedule);
      }
    if (out_plan != NULL)
      *out_plan = plan;
  }
  drop_cut_blocks(&t);
  status = ir_failure(&t, status);
  tsr_taking_end(&t.take);
  return status;
}

tsr_status tsr_plan_default(tsr_ir *ir, const tsr_target *target, tsr_diag *diag,
                            tsr_op *out_plan) {
  return tsr_plan_make(ir, target, NULL, diag, out_plan);
}
