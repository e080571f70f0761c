/* A block taken apart: axes, buffers, accesses and what varies with which axis. */
#include "passes/tile/nest.h"
#include <string.h>

enum { SYMBOLIC_STRIDE = 1 << 20 };

bool tsr_nest_is_const(const tsr_ir *ir, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(ir, value);
  return data->role == TSR_ROLE_RESULT && data->def != 0 &&
         tsr_op_get(ir, data->def)->code == TSR_OP_CONST;
}

tsr_nest_access *tsr_nest_access_of(const tsr_nest *nest, tsr_op op) {
  for (uint32_t i = 0; i < nest->access_count; i++)
    if (nest->accesses[i].op == op)
      return &nest->accesses[i];
  return NULL;
}

/* --- sizes --- */

static int64_t typical_dim(const tsr_dim_data *dim) {
  if (dim->hint > 0)
    return dim->hint;
  return dim->hi > 0 && dim->hi < 4096 ? dim->hi : 1024;
}

/* The number, or the value at the dims' typical sizes. */
static int64_t typical_size(tsr_nest *nest, tsr_expr expr, bool *out_fixed) {
  int64_t number = 0;
  *out_fixed = tsr_expr_is_int(nest->ir, expr, &number);
  if (*out_fixed)
    return number;
  const uint32_t count = tsr_dim_count(nest->ir);
  int64_t *dims = tsr_arena_alloc_array(nest->arena, count + 1, sizeof *dims);
  if (dims == NULL) {
    (void)tsr_ir_poison(nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
    return 1;
  }
  for (uint32_t i = 0; i < count; i++)
    dims[i] = typical_dim(tsr_dim_get(nest->ir, i + 1));
  if (tsr_expr_has(nest->ir, expr, TSR_INDEX_VALUE) ||
      tsr_expr_eval(nest->ir, expr, dims, &number) != TSR_OK || number < 1)
    return 1;
  return number;
}

int64_t tsr_nest_typical(tsr_nest *nest, tsr_expr expr) {
  bool fixed;
  return typical_size(nest, expr, &fixed);
}

/* --- reading --- */

typedef struct reading {
  tsr_nest *nest;
  uint32_t buffer_capacity, access_capacity;
  bool failed; /* memory */
  tsr_expr from[TSR_NEST_AXES], to[TSR_NEST_AXES];
  bool shifted;
} reading;

static void *grown(tsr_arena *arena, void *array, uint32_t count, uint32_t *capacity, size_t size) {
  if (count < *capacity)
    return array;
  const uint32_t next = *capacity == 0 ? 8 : *capacity * 2;
  void *bigger = tsr_arena_alloc_array(arena, next, size);
  if (bigger == NULL)
    return NULL;
  if (count > 0)
    memcpy(bigger, array, count * size);
  *capacity = next;
  return bigger;
}

static uint32_t buffer_of(reading *r, tsr_value value) {
  tsr_nest *nest = r->nest;
  for (uint32_t i = 0; i < nest->buffer_count; i++)
    if (nest->buffers[i].value == value)
      return i;
  tsr_nest_buffer *buffers =
      grown(nest->arena, nest->buffers, nest->buffer_count, &r->buffer_capacity, sizeof *buffers);
  if (buffers == NULL) {
    r->failed = true;
    return 0;
  }
  nest->buffers = buffers;
  tsr_nest_buffer *b = &buffers[nest->buffer_count];
  const tsr_type_info *type = tsr_value_type(nest->ir, value);
  *b = (tsr_nest_buffer){.value = value, .dtype = type->dtype, .rank = type->rank};
  b->original_rank = type->rank;
  for (uint32_t i = 0; i < type->rank; i++)
    b->dims[i] = b->original_dims[i] = type->dims[i];
  const tsr_value_data *data = tsr_value_get(nest->ir, value);
  b->result = data->role == TSR_ROLE_RESULT && data->def == nest->op;
  b->constant = tsr_nest_is_const(nest->ir, value);
  return nest->buffer_count++;
}

static uint32_t varies_of(const tsr_nest *nest, tsr_value value) {
  return value != 0 && value <= nest->value_count ? nest->varies[value] : 0;
}

/* Axes in an expression, through the scalars of the body that it holds. */
static uint32_t expr_varies(const tsr_nest *nest, tsr_expr expr, bool *indirect) {
  const tsr_expr_node node = tsr_expr_get(nest->ir, expr);
  if (node.op == TSR_INDEX_VALUE) {
    const tsr_arg_role role = tsr_value_get(nest->ir, node.value)->role;
    if (role == TSR_ROLE_RESULT || role == TSR_ROLE_CARRIED)
      *indirect = true;
    return varies_of(nest, node.value);
  }
  if (node.op < TSR_INDEX_ADD)
    return 0;
  return expr_varies(nest, node.a, indirect) | expr_varies(nest, node.b, indirect);
}

static uint32_t read_access(reading *r, tsr_op op, tsr_access_kind kind, tsr_value buffer,
                            const tsr_expr *subs, uint32_t count) {
  tsr_nest *nest = r->nest;
  tsr_nest_access *list =
      grown(nest->arena, nest->accesses, nest->access_count, &r->access_capacity, sizeof *list);
  if (list == NULL) {
    r->failed = true;
    return 0;
  }
  nest->accesses = list;
  tsr_nest_access *access = &list[nest->access_count++];
  uint32_t varies = 0;
  *access = (tsr_nest_access){.op = op, .kind = kind, .rank = count};
  for (uint32_t i = 0; i < count; i++) {
    varies |= expr_varies(nest, subs[i], &access->indirect);
    access->subs[i] = r->shifted
                          ? tsr_expr_substitute(nest->ir, subs[i], r->from, r->to, nest->axis_count)
                          : subs[i];
  }
  if (kind != TSR_ACCESS_INDEX) {
    access->buffer = buffer_of(r, buffer);
    if (r->failed)
      return 0;
    tsr_nest_buffer *b = &nest->buffers[access->buffer];
    if (kind == TSR_ACCESS_STORE)
      b->written = true;
    else
      b->read = true;
  }
  return varies;
}

static uint32_t reduced_axes(const tsr_nest *nest, tsr_op op) {
  const tsr_attr *over = tsr_op_attr(nest->ir, op, "over");
  uint32_t mask = 0;
  if (over == NULL || over->kind != TSR_ATTR_EXPRS) {
    for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
      mask |= 1u << i;
    return mask;
  }
  for (uint32_t i = 0; i < over->count; i++)
    for (uint32_t k = nest->par_count; k < nest->axis_count; k++)
      if (nest->axes[k].leaf == over->u.exprs[i])
        mask |= 1u << k;
  return mask;
}

void tsr_nest_new_walk(const tsr_nest *nest) {
  nest->walked[0]++;
}

bool tsr_nest_first_look(const tsr_nest *nest, tsr_value value) {
  if (value > nest->value_count || nest->walked[value] == nest->walked[0])
    return value > nest->value_count;
  nest->walked[value] = nest->walked[0];
  return true;
}

uint32_t tsr_nest_reduced(const tsr_nest *nest, tsr_op op) {
  return reduced_axes(nest, op);
}

uint32_t tsr_nest_red_mask(const tsr_nest *nest) {
  uint32_t mask = 0;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    mask |= 1u << i;
  return mask;
}

bool tsr_nest_reduces_over(const tsr_nest *nest, int axis) {
  TSR_FOR_EACH_OP (nest->ir, tsr_op_get(nest->ir, nest->op)->regions[0], op) {
    const tsr_op_data *data = tsr_op_get(nest->ir, op);
    if (data->code != TSR_OP_REDUCE)
      continue;
    for (uint32_t i = 0; axis >= 0 && i < data->operand_count; i++)
      if (nest->varies[data->operands[i].value] >> axis & 1)
        return true;
  }
  return false;
}

bool tsr_nest_has_region_reduce(const tsr_nest *nest) {
  TSR_FOR_EACH_OP (nest->ir, tsr_op_get(nest->ir, nest->op)->regions[0], op)
    if (tsr_op_get(nest->ir, op)->code == TSR_OP_REDUCE &&
        tsr_op_get(nest->ir, op)->region_count > 0)
      return true;
  return false;
}

uint32_t tsr_nest_op_weight(tsr_opcode code) {
  switch (code) {
  case TSR_OP_CONST:
    return 0;
  case TSR_OP_DIV:
  case TSR_OP_SQRT:
  case TSR_OP_RSQRT:
  case TSR_OP_RECIP:
    return 8;
  case TSR_OP_REM:
  case TSR_OP_MOD:
  case TSR_OP_POW:
    return 30;
  default:
    return code >= TSR_OP_EXP && code <= TSR_OP_ERF ? 16 : 1;
  }
}

static void note_results(reading *r, tsr_op op, uint32_t varies) {
  tsr_nest *nest = r->nest;
  const tsr_op_data *data = tsr_op_get(nest->ir, op);
  for (uint32_t i = 0; i < data->result_count; i++) {
    nest->varies[data->results[i]] = varies;
    nest->memo[data->results[i]] = 0;
    const tsr_dtype dtype = tsr_value_type(nest->ir, data->results[i])->dtype;
    if (dtype != TSR_BOOL && tsr_dtype_bits(dtype) > tsr_dtype_bits(nest->widest))
      nest->widest = dtype;
  }
}

static void read_op(reading *r, tsr_op op) {
  tsr_nest *nest = r->nest;
  const tsr_op_data *data = tsr_op_get(nest->ir, op);
  uint32_t varies = 0;
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const tsr_operand *operand = &data->operands[i];
    if (operand->subscripted)
      varies |= read_access(r, op,
                            data->code == TSR_OP_STORE || data->code == TSR_OP_SCATTER_STORE
                                ? TSR_ACCESS_STORE
                                : TSR_ACCESS_LOAD,
                            operand->value, operand->subscripts, operand->subscript_count);
    else
      varies |= varies_of(nest, operand->value);
  }
  if (data->code == TSR_OP_INDEX) {
    const tsr_expr value = tsr_op_attr(nest->ir, op, "value")->kind == TSR_ATTR_EXPR
                               ? tsr_op_attr(nest->ir, op, "value")->u.expr
                               : tsr_expr_int(nest->ir, tsr_op_int(nest->ir, op, "value", 0));
    varies |= read_access(r, op, TSR_ACCESS_INDEX, 0, &value, 1);
  }
  if (data->code == TSR_OP_REDUCE) {
    nest->reduce_count++;
    varies &= ~reduced_axes(nest, op);
  }
  nest->op_count += tsr_nest_op_weight(data->code);
  note_results(r, op, varies);
}

static void read_ops(reading *r, tsr_region region) {
  TSR_FOR_EACH_OP (r->nest->ir, region, op) {
    read_op(r, op);
    const tsr_op_data *data = tsr_op_get(r->nest->ir, op);
    if (data->code != TSR_OP_REDUCE)
      for (uint32_t i = 0; i < data->region_count; i++)
        read_ops(r, data->regions[i]);
  }
}

static tsr_status read_axes(reading *r, tsr_diag *diag) {
  tsr_nest *nest = r->nest;
  const tsr_region_data *region =
      tsr_region_get(nest->ir, tsr_op_get(nest->ir, nest->op)->regions[0]);
  if (region->arg_count > TSR_NEST_AXES)
    return tsr_fail(diag, TSR_ERR_LIMIT, "a block of %u axes; at most %d are supported",
                    region->arg_count, TSR_NEST_AXES);
  for (uint32_t i = 0; i < region->arg_count; i++) {
    tsr_nest_axis *axis = &nest->axes[i];
    const tsr_value_data *data = tsr_value_get(nest->ir, region->args[i]);
    axis->variable = region->args[i];
    axis->leaf = tsr_expr_value(nest->ir, axis->variable);
    axis->red = data->role == TSR_ROLE_RED;
    axis->extent = tsr_expr_sub(nest->ir, data->hi, data->lo);
    int64_t step = 1;
    tsr_expr_is_int(nest->ir, data->step, &step);
    tsr_expr lo = data->lo;
    axis->extent = tsr_expr_ceildiv_int(nest->ir, axis->extent, step);
    axis->size = typical_size(nest, axis->extent, &axis->fixed);
    nest->varies[axis->variable] = 1u << i;
    r->from[i] = axis->leaf;
    r->to[i] = tsr_expr_add(nest->ir, tsr_expr_mul_int(nest->ir, axis->leaf, step), lo);
    r->shifted |= r->to[i] != axis->leaf;
    if (!axis->red)
      nest->par_count = i + 1;
  }
  nest->axis_count = region->arg_count;
  return TSR_OK;
}

tsr_status tsr_nest_read(tsr_ir *ir, const tsr_target *target, const tsr_nest_pool *pool,
                         tsr_op block, tsr_diag *diag, tsr_nest **out_nest) {
  *out_nest = NULL;
  tsr_nest *nest = tsr_arena_alloc(pool->arena, sizeof *nest);
  if (nest == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  *nest = (tsr_nest){.ir = ir,
                     .target = target,
                     .arena = pool->arena,
                     .op = block,
                     .widest = TSR_BOOL,
                     .varies = pool->varies,
                     .memo = pool->memo,
                     .walked = pool->walked,
                     .value_count = pool->value_count};
  const tsr_op_data *data = tsr_op_get(ir, block);
  nest->proc = data->code == TSR_OP_PROC;
  reading r = {.nest = nest};
  TSR_TRY(read_axes(&r, diag));
  read_ops(&r, data->regions[0]);
  for (uint32_t i = 0; i < data->result_count; i++)
    buffer_of(&r, data->results[i]);
  if (r.failed)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  *out_nest = nest;
  return TSR_OK;
}

/* --- joining axes --- */

static bool plain_at(const tsr_nest *nest, const tsr_nest_access *access, uint32_t i, uint32_t j,
                     uint32_t *out_dim) {
  const tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  for (uint32_t d = 0; d + 1 < access->rank; d++)
    if (access->subs[d] == nest->axes[i].leaf && access->subs[d + 1] == nest->axes[j].leaf &&
        buffer->dims[d + 1] == nest->axes[j].extent) {
      *out_dim = d;
      return true;
    }
  return false;
}

static unsigned uses_of(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis) {
  unsigned uses = 0;
  for (uint32_t d = 0; d < access->rank; d++)
    if (tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[axis].variable))
      uses++;
  return uses;
}

/* Where an access joins i and j: -1 it uses neither, -2 they cannot be joined. */
static int join_dim(const tsr_nest *nest, const tsr_nest_access *access, uint32_t i, uint32_t j) {
  const unsigned ui = uses_of(nest, access, i), uj = uses_of(nest, access, j);
  uint32_t dim = 0;
  if (ui == 0 && uj == 0)
    return -1;
  if (access->kind == TSR_ACCESS_INDEX || ui != 1 || uj != 1 || !plain_at(nest, access, i, j, &dim))
    return -2;
  return (int)dim;
}

/* All accesses of a buffer must see the same view. */
static bool buffers_agree(const tsr_nest *nest, const int *dims, uint64_t spare) {
  for (uint32_t a = 0; a < nest->access_count; a++)
    for (uint32_t b = 0; b < nest->access_count; b++) {
      if (nest->accesses[a].kind == TSR_ACCESS_INDEX ||
          nest->accesses[b].kind == TSR_ACCESS_INDEX ||
          nest->accesses[a].buffer != nest->accesses[b].buffer)
        continue;
      const bool free_a = a < 64 && (spare >> a & 1) != 0, free_b = b < 64 && (spare >> b & 1) != 0;
      if ((free_a ? -1 : dims[a]) != (free_b ? -1 : dims[b]))
        return false;
    }
  return true;
}

/* A reduce over one of the two only must keep them apart. */
static bool reduces_agree(const tsr_nest *nest, tsr_region region, uint32_t i, uint32_t j) {
  TSR_FOR_EACH_OP (nest->ir, region, op) {
    if (tsr_op_get(nest->ir, op)->code != TSR_OP_REDUCE)
      continue;
    const uint32_t mask = reduced_axes(nest, op);
    if ((mask >> i & 1) != (mask >> j & 1))
      return false;
  }
  return true;
}

static void join_access(tsr_nest *nest, tsr_nest_access *access, uint32_t dim) {
  access->rank--;
  for (uint32_t d = dim + 1; d < access->rank; d++)
    access->subs[d] = access->subs[d + 1];
  (void)nest;
}

static void join_buffer(tsr_nest *nest, tsr_nest_buffer *buffer, uint32_t dim) {
  buffer->dims[dim] = tsr_expr_mul(nest->ir, buffer->dims[dim], buffer->dims[dim + 1]);
  buffer->rank--;
  for (uint32_t d = dim + 1; d < buffer->rank; d++)
    buffer->dims[d] = buffer->dims[d + 1];
}

bool tsr_nest_join_pair(tsr_nest *nest, uint32_t i, uint32_t j, uint64_t spare) {
  int64_t size;
  int *dims = tsr_arena_alloc_array(nest->arena, nest->access_count + 1, sizeof *dims);
  if (dims == NULL)
    return tsr_ir_poison(nest->ir, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling") != 0;
  if (nest->axes[i].red != nest->axes[j].red ||
      !reduces_agree(nest, tsr_op_get(nest->ir, nest->op)->regions[0], i, j) ||
      __builtin_mul_overflow(nest->axes[i].size, nest->axes[j].size, &size))
    return false;
  for (uint32_t a = 0; a < nest->access_count; a++) {
    dims[a] = join_dim(nest, &nest->accesses[a], i, j);
    if (dims[a] == -2 && !(a < 64 && (spare >> a & 1) != 0))
      return false;
  }
  if (!buffers_agree(nest, dims, spare))
    return false;
  uint64_t done = 0;
  for (uint32_t a = 0; a < nest->access_count; a++) {
    tsr_nest_access *access = &nest->accesses[a];
    if (dims[a] < 0 || (a < 64 && (spare >> a & 1) != 0))
      continue;
    join_access(nest, access, (uint32_t)dims[a]);
    if (access->buffer >= 64 || (done >> access->buffer & 1) == 0)
      join_buffer(nest, &nest->buffers[access->buffer], (uint32_t)dims[a]);
    if (access->buffer < 64)
      done |= UINT64_C(1) << access->buffer;
  }
  tsr_nest_axis *axis = &nest->axes[i];
  axis->extent = tsr_expr_mul(nest->ir, axis->extent, nest->axes[j].extent);
  axis->size = size;
  axis->fixed = axis->fixed && nest->axes[j].fixed;
  nest->axes[j].gone = true;
  return true;
}

/* Buffers beyond the 64th have no bit in `done`: such blocks are left alone. */
void tsr_nest_join(tsr_nest *nest) {
  if (nest->proc || nest->buffer_count > 64 || nest->access_count > 64)
    return;
  for (uint32_t i = 0; i < nest->axis_count; i++)
    for (uint32_t j = i + 1; !nest->axes[i].gone && j < nest->axis_count; j++)
      if (!nest->axes[j].gone && tsr_nest_join_pair(nest, i, j, 0))
        j = i;
}

/* --- strides --- */

int64_t tsr_nest_stride(const tsr_nest *nest, const tsr_nest_access *access, uint32_t axis) {
  const tsr_nest_buffer *buffer = &nest->buffers[access->buffer];
  const tsr_expr leaf = nest->axes[axis].leaf;
  int64_t stride = 0, scale = 1;
  for (uint32_t d = access->rank; d-- > 0;) {
    int64_t coefficient = 0, extent = 0;
    tsr_expr rest;
    if (!tsr_expr_linear(nest->ir, access->subs[d], &leaf, 1, &coefficient, &rest))
      return INT64_MAX;
    stride += coefficient * scale;
    if (!tsr_expr_is_int(nest->ir, buffer->dims[d], &extent))
      scale = SYMBOLIC_STRIDE;
    else if (scale < SYMBOLIC_STRIDE)
      scale *= extent > 0 ? extent : 1;
  }
  return stride;
}

int tsr_nest_innermost_red(const tsr_nest *nest) {
  for (uint32_t i = nest->axis_count; i-- > nest->par_count;)
    if (!nest->axes[i].gone)
      return (int)i;
  return -1;
}

int64_t tsr_nest_straight_steps(const tsr_nest_axis *axis, int64_t unroll) {
  enum { MOST_STEPS = 8 };
  const bool few = axis->fixed && axis->size > 1 && axis->size <= MOST_STEPS;
  return few && axis->size <= unroll ? axis->size : 0;
}

uint32_t tsr_nest_varies(const tsr_nest *nest, const tsr_nest_access *access) {
  const tsr_op_data *op = tsr_op_get(nest->ir, access->op);
  uint32_t mask = 0;
  if (access->kind == TSR_ACCESS_LOAD && op->result_count > 0)
    return nest->varies[op->results[0]];
  for (uint32_t d = 0; d < access->rank; d++)
    for (uint32_t i = 0; i < nest->axis_count; i++)
      if (tsr_expr_uses_value(nest->ir, access->subs[d], nest->axes[i].variable))
        mask |= 1u << i;
  return mask;
}
