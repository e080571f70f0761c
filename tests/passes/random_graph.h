/* Random graphs over every op of the graph level, from a seed: built twice they are the same graph.
 * Header only. */
#ifndef TSR_TESTS_PASSES_RANDOM_GRAPH_H
#define TSR_TESTS_PASSES_RANDOM_GRAPH_H
#include "ir/graph_build.h"
#include <stdio.h>
#include <string.h>

enum { POOL = 64, MAX_INPUTS = 8, MAX_OUTPUTS = 4 };

typedef struct random_graph {
  tsr_ir *ir;
  tsr_builder b;
  uint64_t state;
  tsr_value pool[POOL];
  uint32_t count;
  tsr_value inputs[MAX_INPUTS], outputs[MAX_OUTPUTS];
  uint32_t input_count, output_count;
  uint32_t device_dims;
} random_graph;

static const int64_t random_graph_dims[] = {3, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

static uint32_t below(random_graph *g, uint32_t bound) {
  g->state += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t z = g->state;
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (uint32_t)((z ^ (z >> 31)) % bound);
}

static const tsr_type_info *type_of(const random_graph *g, tsr_value value) {
  return tsr_value_type(g->ir, value);
}

/* Values stay small, so that the evaluator stays fast. */
static void keep(random_graph *g, tsr_value value) {
  const tsr_type_info *type = value == 0 ? NULL : type_of(g, value);
  int64_t elements = 1;
  if (value == 0 || g->count == POOL || type->rank > 5)
    return;
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t extent = 1;
    if (tsr_expr_has(g->ir, type->dims[i], TSR_INDEX_DIM)) {
      if (tsr_expr_eval(g->ir, type->dims[i], random_graph_dims, &extent) != TSR_OK || extent < 0)
        return;
    } else {
      tsr_expr_is_int(g->ir, type->dims[i], &extent);
    }
    elements *= extent;
  }
  if (elements <= 4000)
    g->pool[g->count++] = value;
}

static tsr_expr any_dim(random_graph *g) {
  uint32_t n = below(g, 8);
  return n < 2 ? tsr_expr_dim(g->ir, n + 1) : tsr_expr_int(g->ir, n < 4 ? 1 : (int64_t)n - 2);
}

static tsr_value new_input(random_graph *g, tsr_dtype dtype, const tsr_expr *dims, uint32_t rank) {
  char name[16];
  if (g->input_count == MAX_INPUTS)
    return 0;
  snprintf(name, sizeof name, "x%u", g->input_count);
  tsr_value value = tsr_graph_input(&g->b, name, dtype, dims, rank);
  g->inputs[g->input_count++] = value;
  return value;
}

/* A tensor of given shape: an input, or a constant when the shape is known. */
static tsr_value fresh(random_graph *g, tsr_dtype dtype, const tsr_expr *dims, uint32_t rank) {
  bool known = true;
  for (uint32_t i = 0; i < rank; i++)
    known &= !tsr_expr_has(g->ir, dims[i], TSR_INDEX_DIM);
  if (!known || g->input_count < 3)
    return new_input(g, dtype, dims, rank);
  tsr_op op = tsr_op_append(g->ir, g->b.region, TSR_OP_CONST);
  tsr_op_set_int(g->ir, op, "random", (int64_t)below(g, 1000));
  return tsr_op_add_result(g->ir, op, tsr_type_make(g->ir, TSR_LEVEL_GLOBAL, dtype, dims, rank));
}

static tsr_value any(random_graph *g) {
  return g->pool[below(g, g->count)];
}

static tsr_value as_float(random_graph *g, tsr_value x) {
  return tsr_graph_cast(&g->b, x, TSR_F32);
}

/* Bounded, so that chains of products stay finite. */
static tsr_value tame(random_graph *g, tsr_value x) {
  return tsr_graph_unary(&g->b, TSR_OP_TANH, as_float(g, x));
}

static tsr_value any_of_rank(random_graph *g, uint32_t least) {
  for (uint32_t i = 0; i < 20; i++) {
    tsr_value x = any(g);
    if (type_of(g, x)->rank >= least)
      return x;
  }
  tsr_expr dims[4] = {any_dim(g), any_dim(g), any_dim(g), any_dim(g)};
  return fresh(g, TSR_F32, dims, least < 4 ? least : 4);
}

static bool is_static(random_graph *g, tsr_expr dim, int64_t *out) {
  return tsr_expr_is_int(g->ir, dim, out);
}

static void make_unary(random_graph *g) {
  static const tsr_opcode codes[] = {TSR_OP_NEG, TSR_OP_ABS,   TSR_OP_EXP,  TSR_OP_ERF,
                                     TSR_OP_SIN, TSR_OP_FLOOR, TSR_OP_SIGN, TSR_OP_TANH};
  tsr_value x = tame(g, any(g));
  keep(g, tsr_graph_unary(&g->b, codes[below(g, 8)], x));
}

static tsr_value partner(random_graph *g, tsr_value x, tsr_dtype dtype) {
  const tsr_type_info *type = type_of(g, x);
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t skip = below(g, type->rank + 1);
  for (uint32_t i = skip; i < type->rank; i++)
    dims[i - skip] = below(g, 3) == 0 ? tsr_expr_int(g->ir, 1) : type->dims[i];
  return fresh(g, dtype, dims, type->rank - skip);
}

static tsr_value mate(random_graph *g, tsr_value x) {
  const tsr_type_info *type = type_of(g, x);
  for (uint32_t i = 0; i < 10; i++) {
    tsr_value y = any(g);
    tsr_expr dims[TSR_MAX_RANK];
    uint32_t rank;
    if (type_of(g, y)->dtype == type->dtype &&
        tsr_broadcast_dims(g->ir, type, type_of(g, y), dims, &rank))
      return y;
  }
  return partner(g, x, type->dtype);
}

static void make_binary(random_graph *g) {
  static const tsr_opcode codes[] = {TSR_OP_ADD, TSR_OP_SUB, TSR_OP_MUL, TSR_OP_MIN, TSR_OP_MAX};
  tsr_value x = tame(g, any(g));
  keep(g, tsr_graph_binary(&g->b, codes[below(g, 5)], x, mate(g, x)));
}

static void make_select(random_graph *g) {
  tsr_value x = tame(g, any(g)), y = mate(g, x);
  tsr_value condition = tsr_graph_binary(&g->b, below(g, 2) ? TSR_OP_LT : TSR_OP_GE, x, y);
  keep(g, tsr_graph_select(&g->b, condition, x, tsr_graph_scalar(&g->b, TSR_F32, 0.25)));
}

static void make_cast(random_graph *g) {
  tsr_value x = tame(g, any(g));
  tsr_value scaled = tsr_graph_binary(&g->b, TSR_OP_MUL, x, tsr_graph_scalar(&g->b, TSR_F32, 7.5));
  keep(g, tsr_graph_cast(&g->b, scaled, below(g, 2) ? TSR_I32 : TSR_I64));
}

/* Joins two neighbouring axes, parts a known one, or adds and drops axes of extent 1. */
static void make_reshape(random_graph *g) {
  tsr_value x = any(g);
  const tsr_type_info *type = type_of(g, x);
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank = 0, at = type->rank == 0 ? 0 : below(g, type->rank), how = below(g, 3);
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t extent;
    if (how == 0 && i == at && i + 1 < type->rank) {
      dims[rank++] = tsr_expr_mul(g->ir, type->dims[i], type->dims[i + 1]);
      i++;
    } else if (how == 1 && i == at && is_static(g, type->dims[i], &extent) && extent % 2 == 0) {
      dims[rank++] = tsr_expr_int(g->ir, 2);
      dims[rank++] = tsr_expr_int(g->ir, extent / 2);
    } else {
      dims[rank++] = type->dims[i];
    }
  }
  if (how == 2)
    dims[rank++] = tsr_expr_int(g->ir, 1);
  keep(g, tsr_graph_reshape(&g->b, x, dims, rank));
}

static void make_transpose(random_graph *g) {
  tsr_value x = any_of_rank(g, 2);
  int64_t perm[TSR_MAX_RANK];
  uint32_t rank = type_of(g, x)->rank;
  for (uint32_t i = 0; i < rank; i++)
    perm[i] = i;
  for (uint32_t i = rank; i > 1; i--) {
    uint32_t k = below(g, i);
    int64_t t = perm[i - 1];
    perm[i - 1] = perm[k];
    perm[k] = t;
  }
  keep(g, tsr_graph_transpose(&g->b, x, perm));
}

static void make_broadcast(random_graph *g) {
  tsr_value x = any(g);
  const tsr_type_info *type = type_of(g, x);
  tsr_expr dims[TSR_MAX_RANK] = {any_dim(g)};
  for (uint32_t i = 0; i < type->rank; i++)
    dims[i + 1] = tsr_expr_equals_int(g->ir, type->dims[i], 1) ? any_dim(g) : type->dims[i];
  keep(g, tsr_graph_broadcast(&g->b, x, dims, type->rank + 1));
}

static void make_slice(random_graph *g) {
  tsr_value x = any_of_rank(g, 1);
  const tsr_type_info *type = type_of(g, x);
  tsr_expr start[TSR_MAX_RANK], extent[TSR_MAX_RANK];
  int64_t step[TSR_MAX_RANK];
  for (uint32_t i = 0; i < type->rank; i++) {
    bool back = below(g, 3) == 0;
    bool shorten = below(g, 2) == 0 && !tsr_expr_equals_int(g->ir, type->dims[i], 1);
    step[i] = back ? -1 : 1;
    extent[i] = shorten ? tsr_expr_add_int(g->ir, type->dims[i], -1) : type->dims[i];
    start[i] = back ? tsr_expr_add_int(g->ir, type->dims[i], -1)
                    : tsr_expr_int(g->ir, shorten ? below(g, 2) : 0);
  }
  keep(g, tsr_graph_slice(&g->b, x, start, step, extent));
}

static void make_pad(random_graph *g) {
  static const char *const modes[] = {"constant", "constant", "edge", "reflect", "wrap"};
  tsr_value x = tame(g, any_of_rank(g, 1));
  const tsr_type_info *type = type_of(g, x);
  tsr_expr low[TSR_MAX_RANK], high[TSR_MAX_RANK];
  int64_t interior[TSR_MAX_RANK];
  const char *mode = modes[below(g, 5)];
  for (uint32_t i = 0; i < type->rank; i++) {
    bool one = tsr_expr_equals_int(g->ir, type->dims[i], 1);
    low[i] = tsr_expr_int(g->ir, one ? 0 : below(g, 2));
    high[i] = tsr_expr_int(g->ir, one ? 0 : below(g, 2));
    interior[i] = below(g, 4) == 0;
  }
  bool constant = strcmp(mode, "constant") == 0;
  tsr_value value = tsr_graph_scalar(&g->b, TSR_F32, below(g, 2) ? 0 : -1.5);
  keep(g,
       tsr_graph_pad(&g->b, x, value, low, high, constant && below(g, 2) ? interior : NULL, mode));
}

static void make_concat(random_graph *g) {
  tsr_value x = any_of_rank(g, 1), parts[3] = {x, 0, 0};
  const tsr_type_info *type = type_of(g, x);
  uint32_t axis = below(g, type->rank);
  tsr_expr dims[TSR_MAX_RANK];
  memcpy(dims, type->dims, type->rank * sizeof *dims);
  dims[axis] = any_dim(g);
  parts[1] = fresh(g, type->dtype, dims, type->rank);
  parts[2] = x;
  if (parts[1] != 0)
    keep(g, tsr_graph_concat(&g->b, parts, 2 + below(g, 2), axis));
}

static void make_reduce(random_graph *g) {
  static const char *const combines[] = {"add", "max", "min", "mul"};
  tsr_value x = tame(g, any_of_rank(g, 1));
  uint32_t rank = type_of(g, x)->rank;
  int64_t axes[TSR_MAX_RANK];
  uint32_t count = 0;
  for (uint32_t i = 0; i < rank; i++)
    if (below(g, 2) == 0)
      axes[count++] = i;
  keep(g, tsr_graph_reduce(&g->b, x, combines[below(g, 4)], axes, count));
}

static void make_arg_reduce(random_graph *g) {
  tsr_value x = tame(g, any_of_rank(g, 1));
  keep(g, tsr_graph_arg_reduce(&g->b, x, below(g, 2) ? "max" : "min", below(g, type_of(g, x)->rank),
                               below(g, 2)));
}

static void make_einsum(random_graph *g) {
  tsr_value x = tame(g, any_of_rank(g, 2));
  const tsr_type_info *type = type_of(g, x);
  tsr_expr dims[3] = {type->dims[type->rank - 1], any_dim(g), 0};
  char spec[64];
  if (type->rank == 2) {
    strcpy(spec, below(g, 2) ? "mk,kn->mn" : "mk,kn->nm");
    keep(g, tsr_graph_einsum(&g->b, spec, x, fresh(g, TSR_F32, dims, 2)));
  } else if (type->rank == 3) {
    tsr_expr batch[3] = {type->dims[0], type->dims[2], any_dim(g)};
    keep(g, below(g, 2) ? tsr_graph_einsum(&g->b, "bmk,bkn->bmn", x, fresh(g, TSR_F32, batch, 3))
                        : tsr_graph_einsum(&g->b, "bmk,kn->bmn", x, fresh(g, TSR_F32, dims, 2)));
  }
}

static void make_conv(random_graph *g) {
  tsr_value x = tame(g, any_of_rank(g, 3));
  const tsr_type_info *type = type_of(g, x);
  int64_t channels, strides[2], dilations[2] = {1, 1}, extent;
  tsr_expr low[2], high[2], w[4];
  uint32_t spatial = type->rank - 2;
  if (type->rank > 4 || !is_static(g, type->dims[1], &channels) || channels == 0)
    return;
  int64_t groups = below(g, 2) ? 1 : channels;
  w[0] = tsr_expr_int(g->ir, groups * (int64_t)(1 + below(g, 3)));
  w[1] = tsr_expr_int(g->ir, channels / groups);
  for (uint32_t i = 0; i < spatial; i++) {
    bool tiny = !is_static(g, type->dims[i + 2], &extent) || extent < 3;
    w[i + 2] = tsr_expr_int(g->ir, tiny ? 1 : 1 + (int64_t)below(g, 3));
    strides[i] = 1 + (int64_t)below(g, 2);
    low[i] = tsr_expr_int(g->ir, below(g, 2));
    high[i] = tsr_expr_int(g->ir, below(g, 2));
  }
  keep(g, tsr_graph_conv(&g->b, x, fresh(g, TSR_F32, w, type->rank), strides, dilations, low, high,
                         groups));
}

static void make_pool(random_graph *g) {
  static const char *const combines[] = {"add", "max", "min"};
  tsr_value x = tame(g, any_of_rank(g, 2));
  int64_t window[1] = {1 + (int64_t)below(g, 2)}, strides[1] = {1 + (int64_t)below(g, 2)};
  int64_t dilations[1] = {1};
  tsr_expr low[1] = {tsr_expr_int(g->ir, below(g, 2))}, high[1] = {tsr_expr_int(g->ir, 1)};
  keep(g,
       tsr_graph_pool(&g->b, x, combines[below(g, 3)], 1, window, strides, dilations, low, high));
}

static void make_scan(random_graph *g) {
  tsr_value x = tame(g, any_of_rank(g, 1));
  keep(g, tsr_graph_scan(&g->b, x, below(g, 2) ? "add" : "max", below(g, type_of(g, x)->rank),
                         below(g, 2), below(g, 2)));
}

/* Indices in -8..8, some of them out of range. */
static tsr_value indices_of(random_graph *g, const tsr_expr *dims, uint32_t rank) {
  return fresh(g, below(g, 2) ? TSR_I64 : TSR_I32, dims, rank);
}

static void make_gather(random_graph *g) {
  tsr_value x = any_of_rank(g, 1);
  tsr_expr dims[2] = {any_dim(g), any_dim(g)};
  tsr_value indices = indices_of(g, dims, below(g, 3));
  if (indices != 0)
    keep(g, tsr_graph_gather(&g->b, x, indices, below(g, type_of(g, x)->rank)));
}

static void make_gather_nd(random_graph *g) {
  tsr_value x = any_of_rank(g, 2);
  const tsr_type_info *type = type_of(g, x);
  uint32_t batch = below(g, 2);
  tsr_expr dims[3] = {batch ? type->dims[0] : any_dim(g), any_dim(g), tsr_expr_int(g->ir, 1)};
  tsr_value indices = indices_of(g, dims, 3);
  if (indices != 0)
    keep(g, tsr_graph_gather_nd(&g->b, x, indices, batch));
}

static void make_gather_elements(random_graph *g) {
  tsr_value x = any_of_rank(g, 1);
  const tsr_type_info *type = type_of(g, x);
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t axis = below(g, type->rank);
  memcpy(dims, type->dims, type->rank * sizeof *dims);
  dims[axis] = any_dim(g);
  tsr_value indices = indices_of(g, dims, type->rank);
  if (indices != 0)
    keep(g, tsr_graph_gather_elements(&g->b, x, indices, axis));
}

static void make_scatter_nd(random_graph *g) {
  static const char *const combines[] = {"none", "add", "max", "mul"};
  tsr_value x = tame(g, any_of_rank(g, 2));
  const tsr_type_info *type = type_of(g, x);
  int64_t width = 1 + (int64_t)below(g, 2);
  tsr_expr dims[2] = {any_dim(g), tsr_expr_int(g->ir, width)}, shape[TSR_MAX_RANK] = {dims[0]};
  memcpy(shape + 1, type->dims + width, (type->rank - (size_t)width) * sizeof *shape);
  tsr_value indices = indices_of(g, dims, 2);
  tsr_value updates = fresh(g, TSR_F32, shape, type->rank - (uint32_t)width + 1);
  if (indices != 0 && updates != 0)
    keep(g, tsr_graph_scatter_nd(&g->b, x, indices, updates, combines[below(g, 4)]));
}

static void make_scatter_elements(random_graph *g) {
  static const char *const combines[] = {"none", "add", "max"};
  tsr_value x = tame(g, any_of_rank(g, 1));
  const tsr_type_info *type = type_of(g, x);
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t axis = below(g, type->rank);
  memcpy(dims, type->dims, type->rank * sizeof *dims);
  dims[axis] = any_dim(g);
  tsr_value indices = indices_of(g, dims, type->rank);
  tsr_value updates = fresh(g, TSR_F32, dims, type->rank);
  if (indices != 0 && updates != 0)
    keep(g, tsr_graph_scatter_elements(&g->b, x, indices, updates, axis, combines[below(g, 3)]));
}

static void make_topk(random_graph *g) {
  tsr_value x = any_of_rank(g, 1), values, indices;
  const tsr_type_info *type = type_of(g, x);
  uint32_t axis = below(g, type->rank);
  int64_t extent;
  tsr_expr k = is_static(g, type->dims[axis], &extent)
                   ? tsr_expr_int(g->ir, 1 + (int64_t)below(g, (uint32_t)(extent > 0 ? extent : 1)))
                   : type->dims[axis];
  tsr_graph_topk(&g->b, x, k, axis, below(g, 2), &values, &indices);
  keep(g, values);
  keep(g, indices);
}

static void make_iota(random_graph *g) {
  tsr_expr dims[2] = {any_dim(g), any_dim(g)};
  keep(g, tsr_graph_iota(&g->b, below(g, 2) ? TSR_F32 : TSR_I64, dims, 2, below(g, 2)));
}

/* Its device dim is unknown to `keep`: the value is an output at once, behind an elementwise op. */
static void make_nonzero(random_graph *g) {
  char name[16];
  if (g->device_dims == 4 || g->output_count == MAX_OUTPUTS - 1)
    return;
  tsr_value x = tsr_graph_unary(&g->b, TSR_OP_FLOOR, tame(g, any(g)));
  snprintf(name, sizeof name, "K%u", g->device_dims++);
  tsr_value found = tsr_graph_nonzero(&g->b, x, name);
  if (found == 0)
    return;
  g->outputs[g->output_count++] = tsr_graph_unary(&g->b, TSR_OP_NEG, found);
}

static void (*const makers[])(random_graph *) = {
    make_unary,
    make_binary,
    make_binary,
    make_select,
    make_cast,
    make_reshape,
    make_reshape,
    make_transpose,
    make_broadcast,
    make_slice,
    make_pad,
    make_concat,
    make_reduce,
    make_reduce,
    make_arg_reduce,
    make_einsum,
    make_einsum,
    make_conv,
    make_pool,
    make_scan,
    make_gather,
    make_gather_nd,
    make_gather_elements,
    make_scatter_nd,
    make_scatter_elements,
    make_topk,
    make_iota,
    make_nonzero,
};

static void random_graph_build(random_graph *g, tsr_ir *ir, uint64_t seed) {
  *g = (random_graph){.ir = ir, .state = seed};
  tsr_dim_add(ir, "N", 1, 100, 8);
  tsr_dim_add(ir, "M", 1, 100, 16);
  g->b = tsr_graph_begin(ir, "random");
  tsr_expr first[3] = {any_dim(g), any_dim(g), any_dim(g)}, second[2] = {any_dim(g), any_dim(g)};
  keep(g, new_input(g, TSR_F32, first, 3));
  keep(g, new_input(g, TSR_F32, second, 2));
  uint32_t steps = 3 + below(g, 10);
  for (uint32_t i = 0; i < steps && tsr_ir_status(ir) == TSR_OK; i++)
    makers[below(g, sizeof makers / sizeof makers[0])](g);
  while (g->output_count < MAX_OUTPUTS - 1 && g->output_count < 2)
    g->outputs[g->output_count++] = any(g);
  g->outputs[g->output_count++] = g->pool[g->count - 1];
  for (uint32_t i = 0; i < g->output_count; i++) {
    char name[16];
    snprintf(name, sizeof name, "y%u", i);
    tsr_graph_output(&g->b, name, g->outputs[i]);
  }
}
#endif
