/* Operators that draw numbers. Element number i of a node's draw is a hash of (seed, i): SplitMix64
 * (Steele, Lea, Flood 2014) at position i, in operations of the graph like all others. So a run
 * draws what the run before drew, on every machine and with any number of threads; the seed is the
 * attribute, or the node's name when there is none. A node in a loop draws the same in each turn.
 */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "runtime/hash.h"
#include <math.h>
#include <string.h>

static tsr_value u64(tsr_lower *l, uint64_t number) {
  int64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return tsr_graph_scalar_int(l->b, TSR_U64, bits);
}

static uint64_t seed_of(tsr_lower *l) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "seed");
  const char *name = l->b->origin ? l->b->origin : l->node->op_type;
  if (a && a->type == TSR_ONNX_FLOAT)
    return tsr_hash64(&a->f, sizeof a->f);
  if (a && a->type == TSR_ONNX_INT)
    return tsr_hash64(&a->i, sizeof a->i);
  return tsr_hash64(name, strlen(name));
}

static tsr_value scramble(tsr_lower *l, tsr_value x, int64_t shift, uint64_t factor) {
  x = v_binary(l, TSR_OP_XOR, x, v_binary(l, TSR_OP_SHR, x, u64(l, (uint64_t)shift)));
  return factor != 0 ? v_mul(l, x, u64(l, factor)) : x;
}

/* 64 random bits for each element of a shape, u64. */
static tsr_value draw_bits(tsr_lower *l, const tsr_expr *dims, uint32_t rank) {
  tsr_expr count = e_int(l, 1);
  for (uint32_t i = 0; i < rank; i++)
    count = e_mul(l, count, dims[i]);
  tsr_value x = tsr_graph_iota(l->b, TSR_U64, &count, 1, 0);
  x = v_add(l, v_mul(l, x, u64(l, 0x9E3779B97F4A7C15u)), u64(l, seed_of(l)));
  x = scramble(l, x, 30, 0xBF58476D1CE4E5B9u);
  x = scramble(l, x, 27, 0x94D049BB133111EBu);
  return v_reshape(l, scramble(l, x, 31, 0), dims, rank);
}

/* The upper (or lower) `bits` of 64 as a number in [0, 1), exact in `dtype`, F32 or F64. */
static tsr_value fraction(tsr_lower *l, tsr_value x, bool upper, int bits, tsr_dtype dtype) {
  if (upper)
    x = v_binary(l, TSR_OP_SHR, x, u64(l, 64 - (uint64_t)bits));
  else
    x = v_and(l, x, u64(l, ((uint64_t)1 << bits) - 1));
  return v_mul_number(l, v_cast(l, v_cast(l, x, TSR_I64), dtype), ldexp(1, -bits));
}

static tsr_value draw_uniform(tsr_lower *l, const tsr_expr *dims, uint32_t rank, tsr_dtype dtype) {
  return fraction(l, draw_bits(l, dims, rank), true, dtype == TSR_F64 ? 53 : 24, dtype);
}

/* Box and Muller's sqrt(-2 ln u) cos(2 pi v), u in (0, 1]. */
static tsr_value draw_normal(tsr_lower *l, const tsr_expr *dims, uint32_t rank, tsr_dtype dtype) {
  int bits = dtype == TSR_F64 ? 32 : 24;
  tsr_value x = draw_bits(l, dims, rank);
  tsr_value u = v_add_number(l, fraction(l, x, true, bits, dtype), ldexp(1, -bits));
  tsr_value v = fraction(l, x, false, bits, dtype);
  tsr_value radius = v_sqrt(l, v_mul_number(l, v_log(l, u), -2));
  return v_mul(l, radius, v_cos(l, v_mul_number(l, v, 6.283185307179586)));
}

/* Shape and dtype of the result: of attributes, or like input 0. */
static tsr_status read_shape(tsr_lower *l, bool like, tsr_expr *dims, uint32_t *out_rank,
                             tsr_dtype *out_dtype) {
  uint32_t rank = 0;
  int64_t element = tsr_lower_int(l, "dtype", like ? 0 : 1);
  *out_rank = 0;
  *out_dtype = tsr_onnx_dtype(element);
  if (like) {
    TSR_TRY(tsr_lower_need(l, 1));
    rank = l->in[0]->rank;
    for (uint32_t i = 0; i < rank; i++)
      dims[i] = l->in[0]->dims[i];
    if (element == 0)
      *out_dtype = l->in[0]->dtype;
  } else {
    const int64_t *shape = tsr_lower_ints(l, "shape", &rank);
    if (!shape || rank > TSR_MAX_RANK)
      return tsr_lower_wrong(l, TSR_ERR_FORMAT, "shape is missing");
    for (uint32_t i = 0; i < rank; i++) {
      if (shape[i] < 0)
        return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an extent of %lld", (long long)shape[i]);
      dims[i] = e_int(l, shape[i]);
    }
  }
  *out_rank = rank;
  if (*out_dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "element type %s", tsr_onnx_dtype_name(element));
  return TSR_OK;
}

/* arg: 1 normal, 0 uniform; 2 and 3 are those like an input. */
tsr_status tsr_lower_op_random(tsr_lower *l) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank;
  tsr_dtype dtype;
  bool normal = (l->arg & 1) != 0;
  TSR_TRY(read_shape(l, l->arg >= 2, dims, &rank, &dtype));
  tsr_dtype wide = dtype == TSR_F64 ? TSR_F64 : TSR_F32;
  tsr_value x;
  if (normal) {
    x = v_mul_number(l, draw_normal(l, dims, rank, wide),
                     (double)tsr_lower_float(l, "scale", 1.0f));
    x = v_add_number(l, x, (double)tsr_lower_float(l, "mean", 0.0f));
  } else {
    double low = (double)tsr_lower_float(l, "low", 0.0f);
    double high = (double)tsr_lower_float(l, "high", 1.0f);
    x = v_mul_number(l, draw_uniform(l, dims, rank, wide), high - low);
    x = v_add_number(l, x, low);
  }
  tsr_lower_set(l, 0, v_cast(l, x, dtype));
  return TSR_OK;
}

tsr_status tsr_lower_op_bernoulli(tsr_lower *l) {
  int64_t element = tsr_lower_int(l, "dtype", 0);
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value p = v_widen(l, tsr_lower_value(l, 0));
  tsr_dtype dtype = element == 0 ? l->in[0]->dtype : tsr_onnx_dtype(element);
  if (dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "element type %s", tsr_onnx_dtype_name(element));
  tsr_value u = draw_uniform(l, l->in[0]->dims, l->in[0]->rank, v_dtype(l, p));
  tsr_lower_set(l, 0, v_cast(l, v_lt(l, u, p), dtype));
  return TSR_OK;
}

/* The class with the greatest sum of its logarithm and a number of Gumbel's distribution has the
 * distribution that the logarithms say. */
tsr_status tsr_lower_op_multinomial(tsr_lower *l) {
  int64_t element = tsr_lower_int(l, "dtype", 6), samples = tsr_lower_int(l, "sample_size", 1);
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_dtype dtype = tsr_onnx_dtype(element);
  tsr_value x = v_widen(l, tsr_lower_value(l, 0));
  if (v_rank(l, x) != 2 || samples < 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u, %lld samples", v_rank(l, x),
                           (long long)samples);
  if (dtype != TSR_I32 && dtype != TSR_I64)
    return tsr_lower_unsupported(l, "element type %s", tsr_onnx_dtype_name(element));
  tsr_expr dims[3] = {v_dim(l, x, 0), e_int(l, samples), v_dim(l, x, 1)};
  tsr_dtype wide = v_dtype(l, x);
  /* u in (0, 1): half a step above what is drawn. */
  tsr_value u =
      v_add_number(l, draw_uniform(l, dims, 3, wide), ldexp(1, wide == TSR_F64 ? -54 : -25));
  tsr_value gumbel = v_neg(l, v_log(l, v_neg(l, v_log(l, u))));
  tsr_value score = v_add(l, v_unsqueeze(l, x, 1), gumbel);
  tsr_lower_set(l, 0, v_cast(l, tsr_graph_arg_reduce(l->b, score, "max", 2, false), dtype));
  return TSR_OK;
}

/* --- Dropout --- */

/* Elements stay with probability 1 - ratio, and are divided by it. */
static tsr_status drop(tsr_lower *l, tsr_value ratio, tsr_value training) {
  tsr_value x = tsr_lower_value(l, 0), wide = v_widen(l, x);
  ratio = v_cast(l, v_to_scalar(l, ratio), v_dtype(l, wide));
  tsr_value u = draw_uniform(l, l->in[0]->dims, l->in[0]->rank, v_dtype(l, wide));
  tsr_value keep = v_ge(l, u, ratio);
  if (training)
    keep = v_or(l, keep, v_not(l, training));
  tsr_value rest = v_sub(l, v_number(l, ratio, 1), ratio);
  tsr_value scaled = v_div(l, wide, rest);
  if (training)
    scaled = v_select(l, training, scaled, wide);
  tsr_lower_set(l, 0, v_cast(l, v_select(l, keep, scaled, v_number(l, wide, 0)), v_dtype(l, x)));
  if (tsr_lower_wants(l, 1))
    tsr_lower_set(l, 1, keep);
  return TSR_OK;
}

/* In inference it does nothing, the mask is all true. What is not known is chosen by the run. */
tsr_status tsr_lower_op_dropout(tsr_lower *l) {
  int64_t training = 0;
  double ratio = 0.5;
  TSR_TRY(tsr_lower_need(l, 1));
  if (l->opset >= 12 && tsr_lower_has(l, 2)) {
    bool known = tsr_lower_scalar_int(l, 2, &training);
    bool plain = !tsr_lower_has(l, 1) || tsr_lower_scalar_float(l, 1, &ratio);
    tsr_value mode = known ? 0 : v_to_scalar(l, tsr_lower_value(l, 2));
    if ((!known || training != 0) && !(plain && ratio == 0))
      return drop(
          l, tsr_lower_has(l, 1) ? tsr_lower_value(l, 1) : tsr_graph_scalar(l->b, TSR_F32, ratio),
          mode);
  }
  if (tsr_lower_wants(l, 1)) {
    const tsr_imported *x = l->in[0];
    tsr_dtype mask = l->opset >= 10 ? TSR_BOOL : x->dtype;
    tsr_lower_set(l, 1, tsr_graph_splat(l->b, mask, 1, x->dims, x->rank));
  }
  tsr_lower_set_imported(l, 0, l->in[0]);
  return TSR_OK;
}
