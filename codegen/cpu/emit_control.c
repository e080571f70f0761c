/* Regions and control flow. Carried tiles become one phi per row. */
#include "codegen/cpu/emit.h"
#include <assert.h>
#include <string.h>

enum { MAX_UNROLLED = 1024, MAX_VERSION_CHECKS = 24 };

/* --- ops --- */

static bool is_buffer_level(tsr_level level) {
  return level == TSR_LEVEL_L1 || level == TSR_LEVEL_L2;
}

static void emit_yield(tsr_emit *e) {
  uint32_t count = e->op->operand_count;
  const tsr_emit_tile **tiles = tsr_emit_alloc(e, count, sizeof *tiles);
  for (uint32_t i = 0; tiles && i < count; ++i)
    tiles[i] = tsr_emit_operand(e, i);
  e->yielded = tiles;
  e->yielded_count = tiles ? count : 0;
}

static void bind_result(tsr_emit *e, const tsr_emit_tile *tile) {
  if (tile)
    tsr_emit_bind(e, e->op->results[0], tile);
}

static void emit_op(tsr_emit *e) {
  const tsr_op_info *info = tsr_opcode_info(e->op->code);
  switch (e->op->code) {
  case TSR_OP_FOR:
    tsr_emit_for(e);
    break;
  case TSR_OP_IF:
    tsr_emit_if(e);
    break;
  case TSR_OP_LOOP:
    tsr_emit_loop(e);
    break;
  case TSR_OP_YIELD:
    emit_yield(e);
    break;
  case TSR_OP_CONST:
    bind_result(e, tsr_emit_const(e));
    break;
  case TSR_OP_INDEX:
    bind_result(e, tsr_emit_index_tile(e));
    break;
  case TSR_OP_LOAD:
  case TSR_OP_GATHER_LOAD:
    bind_result(e, tsr_emit_load(e));
    break;
  case TSR_OP_STORE:
  case TSR_OP_SCATTER_STORE:
    tsr_emit_store(e);
    break;
  case TSR_OP_APPEND:
    bind_result(e, tsr_emit_append(e));
    break;
  case TSR_OP_PREFETCH:
    tsr_emit_prefetch(e);
    break;
  case TSR_OP_COPY:
    tsr_emit_copy(e);
    break;
  case TSR_OP_ALLOC:
    if (!is_buffer_level(tsr_value_type(e->ir, e->op->results[0])->level))
      tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "alloc is for l1 and l2 buffers");
    break;
  case TSR_OP_CONTRACT:
    bind_result(e, tsr_emit_contract(e));
    break;
  case TSR_OP_REDUCE:
    tsr_emit_reduce(e);
    break;
  case TSR_OP_TRANSPOSE:
    bind_result(e, tsr_emit_transpose_op(e));
    break;
  case TSR_OP_TILE_SLICE:
    bind_result(e, tsr_emit_slice(e));
    break;
  case TSR_OP_BARRIER:
    break; /* a task is one thread */
  default:
    if (tsr_opcode_elementwise(e->op->code))
      bind_result(e, tsr_emit_elementwise(e));
    else
      tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "%s has no code on the CPU", info->text);
  }
}

void tsr_emit_region(tsr_emit *e, tsr_region region) {
  const tsr_op_data *outer = e->op;
  tsr_op outer_id = e->op_id;
  e->yielded_count = 0;
  TSR_FOR_EACH_OP (e->ir, region, id) {
    if (e->status != TSR_OK)
      return;
    e->op_id = id;
    e->op = tsr_op_get(e->ir, id);
    emit_op(e);
    if (e->op->code != TSR_OP_YIELD)
      e->yielded_count = 0;
  }
  if (e->status != TSR_OK)
    return;
  e->op = outer;
  e->op_id = outer_id;
}

/* --- lists of tiles that meet in a block --- */

typedef const tsr_emit_tile *tile_ref;

static bool same_shapes(tsr_emit *e, const tile_ref *a, const tile_ref *b, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (a[i]->dtype != b[i]->dtype || a[i]->rows != b[i]->rows || a[i]->lanes != b[i]->lanes) {
      tsr_emit_fail(e, TSR_ERR_VERIFY, "value %u of yield has another type", i);
      return false;
    }
  return true;
}

static bool expect_count(tsr_emit *e, uint32_t count, uint32_t expected) {
  if (e->status == TSR_OK && count != expected)
    tsr_emit_fail(e, TSR_ERR_VERIFY, "%u values are yielded, %u are needed", count, expected);
  return e->status == TSR_OK;
}

/* Phis at the builder's position for tiles that come from one block now, from another later. */
static tile_ref *begin_phis(tsr_emit *e, const tile_ref *from, uint32_t count,
                            LLVMBasicBlockRef block) {
  tile_ref *phis = tsr_emit_alloc(e, count, sizeof *phis);
  for (uint32_t i = 0; phis && i < count; ++i) {
    tsr_emit_tile *tile = tsr_emit_tile_new(e, from[i]->dtype, from[i]->extents, from[i]->rank);
    if (!tile)
      return NULL;
    for (uint32_t v = 0; v < tile->count; ++v) {
      LLVMValueRef value = from[i]->values[v];
      tile->values[v] = LLVMBuildPhi(e->builder, LLVMTypeOf(value), "");
      LLVMAddIncoming(tile->values[v], &value, &block, 1);
    }
    phis[i] = tile;
  }
  return phis;
}

static void add_incoming(tsr_emit *e, const tile_ref *phis, const tile_ref *from, uint32_t count,
                         LLVMBasicBlockRef block) {
  if (!phis || !same_shapes(e, phis, from, count))
    return;
  for (uint32_t i = 0; i < count; ++i)
    for (uint32_t v = 0; v < phis[i]->count; ++v)
      LLVMAddIncoming(phis[i]->values[v], &from[i]->values[v], &block, 1);
}

/* Two versions of code that leave tiles behind: built one after the other, joined at the end. */
typedef struct fork {
  LLVMBasicBlockRef other, join, ends[2];
  tile_ref *tiles[2];
  uint32_t count, mark;
} fork;

static void fork_begin(tsr_emit *e, fork *f, LLVMValueRef condition, bool likely) {
  LLVMBasicBlockRef first = tsr_emit_block(e, "yes");
  *f = (fork){.other = tsr_emit_block(e, "no"), .join = tsr_emit_block(e, "join")};
  tsr_emit_branch(e, condition, first, f->other, likely);
  LLVMPositionBuilderAtEnd(e->builder, first);
  f->mark = tsr_emit_scope_begin(e);
}

static void fork_side_done(tsr_emit *e, fork *f, int side, tile_ref *tiles, uint32_t count) {
  tsr_emit_scope_end(e, f->mark);
  if (side == 1 && !expect_count(e, count, f->count))
    return;
  f->tiles[side] = tiles;
  f->count = count;
  f->ends[side] = LLVMGetInsertBlock(e->builder);
  LLVMBuildBr(e->builder, f->join);
  LLVMPositionBuilderAtEnd(e->builder, side == 0 ? f->other : f->join);
}

/* The joined tiles; `*out_count` of them. */
static tile_ref *fork_end(tsr_emit *e, const fork *f, uint32_t *out_count) {
  *out_count = 0;
  if (e->status != TSR_OK)
    return NULL;
  tile_ref *phis = begin_phis(e, f->tiles[0], f->count, f->ends[0]);
  add_incoming(e, phis, f->tiles[1], f->count, f->ends[1]);
  *out_count = phis ? f->count : 0;
  return phis;
}

/* --- versions by bounds checks --- */

static LLVMValueRef all_nonnegative(tsr_emit *e, const tsr_expr *exprs, uint32_t count) {
  LLVMValueRef all = LLVMConstInt(e->i1, 1, false), zero = tsr_emit_int(e, 0);
  for (uint32_t i = 0; i < count; ++i) {
    LLVMValueRef value = tsr_emit_index(e, exprs[i]);
    LLVMValueRef holds = LLVMBuildICmp(e->builder, LLVMIntSGE, value, zero, "");
    all = LLVMBuildAnd(e->builder, all, holds, "");
  }
  return all;
}

static uint32_t assume_all(tsr_emit *e, const tsr_expr *exprs, uint32_t count) {
  uint32_t before = e->assumed_count;
  for (uint32_t i = 0; i < count; ++i)
    tsr_emit_assume(e, exprs[i]);
  return before;
}

void tsr_emit_region_versioned(tsr_emit *e, tsr_region region) {
  tsr_expr checks[MAX_VERSION_CHECKS] = {0};
  uint32_t count = tsr_emit_region_checks(e, region, checks, MAX_VERSION_CHECKS);
  if (count == 0) {
    tsr_emit_region(e, region);
    return;
  }
  fork f;
  fork_begin(e, &f, all_nonnegative(e, checks, count), true);
  uint32_t before = assume_all(e, checks, count);
  tsr_emit_region(e, region);
  e->assumed_count = before;
  fork_side_done(e, &f, 0, e->yielded, e->yielded_count);
  tsr_emit_region(e, region);
  fork_side_done(e, &f, 1, e->yielded, e->yielded_count);
  e->yielded = fork_end(e, &f, &e->yielded_count);
}

/* --- for --- */

typedef struct counted_loop {
  tsr_region region;
  tsr_value index;
  const tsr_value_data *range;
  const tsr_value *carried; /* region arguments */
  uint32_t carried_count;
  int64_t step;
  int64_t unroll; /* copies of the body per turn; 0: all */
} counted_loop;

static bool loop_init(tsr_emit *e, counted_loop *loop) {
  *loop = (counted_loop){.region = e->op->regions[0]};
  const tsr_region_data *region = tsr_region_get(e->ir, loop->region);
  if (region->arg_count < 1 || region->arg_count != 1 + e->op->operand_count ||
      tsr_value_get(e->ir, region->args[0])->role != TSR_ROLE_LOOP)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "needs one index variable and an argument per carry") !=
           NULL;
  loop->index = region->args[0];
  loop->range = tsr_value_get(e->ir, loop->index);
  loop->carried = region->args + 1;
  loop->carried_count = region->arg_count - 1;
  loop->unroll = tsr_op_int(e->ir, e->op_id, "unroll", 1);
  if (!tsr_expr_is_int(e->ir, loop->range->step, &loop->step) || loop->step < 1 || loop->unroll < 0)
    return tsr_emit_fail(e, TSR_ERR_VERIFY, "step must be positive and unroll not negative") !=
           NULL;
  return true;
}

/* One copy of the body; the tiles it yields, NULL after a failure. */
static tile_ref *loop_body(tsr_emit *e, const counted_loop *loop, LLVMValueRef index,
                           tile_ref *carried) {
  uint32_t mark = tsr_emit_scope_begin(e);
  e->slots[loop->index] = (tsr_emit_slot){.index = index};
  for (uint32_t i = 0; i < loop->carried_count; ++i)
    tsr_emit_bind(e, loop->carried[i], carried[i]);
  tsr_emit_region(e, loop->region);
  tsr_emit_scope_end(e, mark);
  if (!expect_count(e, e->yielded_count, loop->carried_count) ||
      !same_shapes(e, e->yielded, carried, loop->carried_count))
    return NULL;
  return loop->carried_count > 0 ? e->yielded : carried;
}

/* Where a loop stands between two of its parts. */
typedef struct progress {
  LLVMValueRef index; /* the next one to run */
  tile_ref *carried;
} progress;

/* Runs `copies` bodies per turn while the last of them is below `end`. */
static progress run_loop(tsr_emit *e, const counted_loop *loop, progress start, LLVMValueRef end,
                         int64_t copies, bool surely_runs) {
  progress now, after = {0};
  LLVMBuilderRef b = e->builder;
  LLVMValueRef ahead = tsr_emit_int(e, (copies - 1) * loop->step);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
  LLVMBasicBlockRef body = tsr_emit_block(e, "body"), exit = tsr_emit_block(e, "done");
  if (surely_runs)
    LLVMBuildBr(b, body);
  else {
    LLVMValueRef last = LLVMBuildNSWAdd(b, start.index, ahead, "");
    tsr_emit_branch(e, LLVMBuildICmp(b, LLVMIntSLT, last, end, ""), body, exit, false);
  }
  LLVMPositionBuilderAtEnd(b, body);
  now.index = LLVMBuildPhi(b, e->i64, "i");
  LLVMAddIncoming(now.index, &start.index, &before, 1);
  now.carried = begin_phis(e, start.carried, loop->carried_count, before);
  tile_ref *carried = now.carried;
  LLVMValueRef index = now.index;
  uint32_t mark = tsr_emit_scope_begin(e);
  for (int64_t copy = 0; carried && copy < copies; ++copy) {
    carried = loop_body(e, loop, index, carried);
    index = LLVMBuildNSWAdd(b, index, tsr_emit_int(e, loop->step), "");
  }
  tsr_emit_scope_end(e, mark);
  if (!carried)
    return start;
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
  LLVMValueRef last = LLVMBuildNSWAdd(b, index, ahead, "");
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, last, end, ""), body, exit);
  LLVMAddIncoming(now.index, &index, &latch, 1);
  add_incoming(e, now.carried, carried, loop->carried_count, latch);
  LLVMPositionBuilderAtEnd(b, exit);
  if (surely_runs)
    return (progress){index, carried};
  after.index = LLVMBuildPhi(b, e->i64, "");
  LLVMAddIncoming(after.index, &start.index, &before, 1);
  LLVMAddIncoming(after.index, &index, &latch, 1);
  after.carried = begin_phis(e, start.carried, loop->carried_count, before);
  add_incoming(e, after.carried, carried, loop->carried_count, latch);
  return after;
}

/* The number of turns when it is known, else -1. */
static int64_t trip_count(tsr_emit *e, const counted_loop *loop) {
  int64_t span = 0;
  if (!tsr_expr_is_int(e->ir, tsr_expr_sub(e->ir, loop->range->hi, loop->range->lo), &span))
    return -1;
  return span <= 0 ? 0 : (span + loop->step - 1) / loop->step;
}

static bool surely_runs(tsr_emit *e, const counted_loop *loop) {
  tsr_expr span = tsr_expr_sub(e->ir, loop->range->hi, loop->range->lo);
  return tsr_expr_prove_nonnegative(e->ir, tsr_expr_add_int(e->ir, span, -1), NULL, 0);
}

/* From `start` to `end`; whole turns of `unroll` copies, then single ones. */
static progress run_unrolled(tsr_emit *e, const counted_loop *loop, progress start,
                             LLVMValueRef end, bool runs, int64_t trips) {
  int64_t copies = loop->unroll < 1 ? 1 : loop->unroll;
  if (copies == 1)
    return run_loop(e, loop, start, end, 1, runs);
  if (trips < 0 || trips >= copies)
    start = run_loop(e, loop, start, end, copies, trips >= copies);
  if (trips >= 0 && trips % copies == 0)
    return start;
  return run_loop(e, loop, start, end, 1, false);
}

/* Upper bounds that grow with the loop's index hold up to some turn: the loop is cut there. `end`:
 * where the part without checks has to stop. */
static uint32_t split_checks(tsr_emit *e, const counted_loop *loop, const tsr_expr *checks,
                             uint32_t count, tsr_expr *out_kept, LLVMValueRef *end) {
  tsr_expr leaf = tsr_expr_value(e->ir, loop->index);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; ++i) {
    int64_t step = 0;
    tsr_expr rest = 0;
    if (!tsr_expr_uses_value(e->ir, checks[i], loop->index) ||
        !tsr_expr_linear(e->ir, checks[i], &leaf, 1, &step, &rest) || step >= 0)
      continue;
    tsr_expr stop = tsr_expr_add_int(e->ir, tsr_expr_floordiv_int(e->ir, rest, -step), 1);
    LLVMTypeRef type = e->i64;
    LLVMValueRef both[2] = {*end, tsr_emit_index(e, stop)};
    *end = tsr_emit_intrinsic(e, "llvm.smin", &type, 1, both, 2);
    out_kept[kept++] = checks[i];
  }
  return kept;
}

static progress run_split(tsr_emit *e, const counted_loop *loop, progress start,
                          const tsr_expr *checks, uint32_t count) {
  tsr_expr kept[MAX_VERSION_CHECKS] = {0};
  LLVMValueRef end = tsr_emit_index(e, loop->range->hi), clean_end = end;
  uint32_t kept_count = split_checks(e, loop, checks, count, kept, &clean_end);
  if (kept_count == 0)
    return run_unrolled(e, loop, start, end, surely_runs(e, loop), trip_count(e, loop));
  uint32_t before = assume_all(e, kept, kept_count);
  start = run_unrolled(e, loop, start, clean_end, false, -1);
  e->assumed_count = before;
  return run_loop(e, loop, start, end, 1, false);
}

static tile_ref *run_all(tsr_emit *e, const counted_loop *loop, tile_ref *carried, int64_t trips) {
  int64_t first = 0;
  bool known = tsr_expr_is_int(e->ir, loop->range->lo, &first);
  LLVMValueRef lo = tsr_emit_index(e, loop->range->lo);
  for (int64_t trip = 0; carried && trip < trips; ++trip) {
    LLVMValueRef offset = tsr_emit_int(e, trip * loop->step);
    LLVMValueRef index = known ? tsr_emit_int(e, first + trip * loop->step)
                               : LLVMBuildNSWAdd(e->builder, lo, offset, "");
    carried = loop_body(e, loop, index, carried);
  }
  return carried;
}

/* Checks that do not change in the loop are asked once, before it. */
static tile_ref *run_versions(tsr_emit *e, const counted_loop *loop, tile_ref *carried) {
  tsr_expr checks[MAX_VERSION_CHECKS] = {0}, fixed[MAX_VERSION_CHECKS] = {0};
  uint32_t fixed_count = 0, joined = 0;
  uint32_t count = tsr_emit_region_checks(e, loop->region, checks, MAX_VERSION_CHECKS);
  for (uint32_t i = 0; i < count; ++i)
    if (!tsr_expr_uses_value(e->ir, checks[i], loop->index))
      fixed[fixed_count++] = checks[i];
  LLVMValueRef condition = all_nonnegative(e, fixed, fixed_count);
  progress start = {tsr_emit_index(e, loop->range->lo), carried};
  if (fixed_count == 0)
    return run_split(e, loop, start, checks, count).carried;
  fork f;
  fork_begin(e, &f, condition, true);
  uint32_t before = assume_all(e, fixed, fixed_count);
  tile_ref *fast = run_split(e, loop, start, checks, count).carried;
  e->assumed_count = before;
  fork_side_done(e, &f, 0, fast, loop->carried_count);
  counted_loop single = *loop;
  single.unroll = 1;
  tile_ref *slow = run_split(e, &single, start, checks, count).carried;
  fork_side_done(e, &f, 1, slow, loop->carried_count);
  return fork_end(e, &f, &joined);
}

void tsr_emit_for(tsr_emit *e) {
  counted_loop loop;
  const tsr_op_data *op = e->op;
  if (!loop_init(e, &loop))
    return;
  tile_ref *carried = tsr_emit_alloc(e, loop.carried_count, sizeof *carried);
  for (uint32_t i = 0; carried && i < loop.carried_count; ++i)
    carried[i] = tsr_emit_operand(e, i);
  if (!carried || e->status != TSR_OK)
    return;
  int64_t trips = trip_count(e, &loop);
  if (trips == 1 || (loop.unroll == 0 && trips >= 0 && trips <= MAX_UNROLLED))
    carried = run_all(e, &loop, carried, trips);
  else if (trips != 0)
    carried = run_versions(e, &loop, carried);
  for (uint32_t i = 0; e->status == TSR_OK && i < op->result_count; ++i)
    tsr_emit_bind(e, op->results[i], carried[i]);
}

/* --- if, loop --- */

static LLVMValueRef scalar_bool(tsr_emit *e, const tsr_emit_tile *tile) {
  if (tile && tile->dtype == TSR_BOOL && tile->rows == 1 && tile->lanes == 1)
    return tile->values[0];
  return tsr_emit_fail(e, TSR_ERR_VERIFY, "the condition is not a scalar bool");
}

void tsr_emit_if(tsr_emit *e) {
  const tsr_op_data *op = e->op;
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "cond");
  LLVMValueRef condition = NULL;
  if (attr && attr->kind == TSR_ATTR_EXPR)
    condition = tsr_emit_condition(e, attr->u.expr);
  else if (attr && (attr->kind == TSR_ATTR_INT || attr->kind == TSR_ATTR_BOOL))
    condition = LLVMConstInt(
        e->i1, attr->kind == TSR_ATTR_INT ? attr->u.integer != 0 : attr->u.boolean, false);
  else
    condition = scalar_bool(e, tsr_emit_operand(e, 0));
  if (!condition || op->region_count < 1 || op->region_count > 2) {
    tsr_emit_fail(e, TSR_ERR_VERIFY, "needs a condition and one or two regions");
    return;
  }
  fork f;
  uint32_t count = 0;
  fork_begin(e, &f, condition, false);
  tsr_emit_region(e, op->regions[0]);
  fork_side_done(e, &f, 0, e->yielded, e->yielded_count);
  e->yielded_count = 0;
  if (op->region_count == 2)
    tsr_emit_region(e, op->regions[1]);
  fork_side_done(e, &f, 1, e->yielded, e->yielded_count);
  tile_ref *tiles = fork_end(e, &f, &count);
  if (!expect_count(e, count, op->result_count))
    return;
  for (uint32_t i = 0; i < count; ++i)
    tsr_emit_bind(e, op->results[i], tiles[i]);
}

static LLVMValueRef under_limit(tsr_emit *e, const tsr_attr *limit, LLVMValueRef next,
                                LLVMValueRef more) {
  if (!limit)
    return more;
  tsr_expr expr =
      limit->kind == TSR_ATTR_INT ? tsr_expr_int(e->ir, limit->u.integer) : limit->u.expr;
  LLVMValueRef below = LLVMBuildICmp(e->builder, LLVMIntSLT, next, tsr_emit_index(e, expr), "");
  return LLVMBuildAnd(e->builder, more, below, "");
}

/* The body runs once before the condition is asked. */
static tile_ref *run_while(tsr_emit *e, const tsr_op_data *op, const tile_ref *start,
                           const tsr_attr *limit) {
  const tsr_region_data *region = tsr_region_get(e->ir, op->regions[0]);
  uint32_t count = op->operand_count;
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
  LLVMBasicBlockRef body = tsr_emit_block(e, "loop"), exit = tsr_emit_block(e, "looped");
  LLVMBuildBr(e->builder, body);
  LLVMPositionBuilderAtEnd(e->builder, body);
  LLVMValueRef turn = LLVMBuildPhi(e->builder, e->i64, "turn"), zero = tsr_emit_int(e, 0);
  LLVMAddIncoming(turn, &zero, &before, 1);
  tile_ref *phis = begin_phis(e, start, count, before);
  for (uint32_t i = 0; i < count; ++i)
    tsr_emit_bind(e, region->args[i], phis[i]);
  uint32_t mark = tsr_emit_scope_begin(e);
  tsr_emit_region(e, op->regions[0]);
  expect_count(e, e->yielded_count, count + 1);
  tile_ref *yielded = e->yielded;
  LLVMValueRef next = LLVMBuildNSWAdd(e->builder, turn, tsr_emit_int(e, 1), "");
  LLVMValueRef more = under_limit(e, limit, next, scalar_bool(e, yielded[0]));
  tsr_emit_scope_end(e, mark);
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->builder);
  LLVMBuildCondBr(e->builder, more, body, exit);
  LLVMAddIncoming(turn, &next, &latch, 1);
  add_incoming(e, phis, yielded + 1, count, latch);
  LLVMPositionBuilderAtEnd(e->builder, exit);
  return yielded + 1;
}

void tsr_emit_loop(tsr_emit *e) {
  const tsr_op_data *op = e->op;
  uint32_t count = op->operand_count, joined = 0;
  const tsr_attr *limit = tsr_op_attr(e->ir, e->op_id, "limit");
  tile_ref *start = tsr_emit_alloc(e, count, sizeof *start), *last = NULL;
  for (uint32_t i = 0; i < count; ++i)
    start[i] = tsr_emit_operand(e, i);
  expect_count(e, tsr_region_get(e->ir, op->regions[0])->arg_count, count);
  if (limit) {
    fork f;
    fork_begin(e, &f, under_limit(e, limit, tsr_emit_int(e, 0), LLVMConstInt(e->i1, 1, false)),
               true);
    fork_side_done(e, &f, 0, run_while(e, op, start, limit), count);
    fork_side_done(e, &f, 1, start, count);
    last = fork_end(e, &f, &joined);
  } else
    last = run_while(e, op, start, NULL);
  for (uint32_t i = 0; i < op->result_count; ++i)
    tsr_emit_bind(e, op->results[i], last[i]);
}
