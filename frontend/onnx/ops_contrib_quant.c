/* com.microsoft: products of quantised tensors. Words of few bits are unpacked by shifts and masks
 * in the graph: weights stay packed in the module, and every call widens them before the product.
 */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"

/* --- whole products, scaled --- */

/* x minus input `zero` (a scalar, or one per column) as i32. */
static tsr_value centred(tsr_lower *l, tsr_value x, uint32_t zero) {
  tsr_value wide = v_cast(l, x, TSR_I32);
  if (!tsr_lower_has(l, zero))
    return wide;
  return v_sub(l, wide, v_cast(l, tsr_lower_value(l, zero), TSR_I32));
}

/* x times y, both centred, times the scales, plus the bias: a type of float. */
static tsr_value scaled_product(tsr_lower *l, tsr_value x, tsr_value y, tsr_value scale_x,
                                uint32_t scale_y, uint32_t bias) {
  tsr_dtype dtype = v_dtype(l, scale_x);
  tsr_value z = v_cast(l, v_matmul(l, x, y, false, false), dtype);
  tsr_value scale = v_mul(l, scale_x, v_cast(l, tsr_lower_value(l, scale_y), dtype));
  z = v_mul(l, z, scale);
  if (tsr_lower_has(l, bias))
    z = v_add(l, z, v_cast(l, tsr_lower_value(l, bias), dtype));
  return z;
}

tsr_status tsr_lower_op_contrib_dynamic_matmul(tsr_lower *l) {
  enum { A, B, B_SCALE, B_ZERO, BIAS };
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value x = tsr_lower_value(l, A), scale, zero;
  tsr_value words = tsr_dynamic_quantize(l, v_widen(l, x), &scale, &zero);
  words = v_sub(l, v_cast(l, words, TSR_I32), v_cast(l, zero, TSR_I32));
  tsr_value y = centred(l, tsr_lower_value(l, B), B_ZERO);
  tsr_value z = scaled_product(l, words, y, scale, B_SCALE, BIAS);
  tsr_lower_set(l, 0, v_cast(l, z, v_dtype(l, x)));
  return TSR_OK;
}

tsr_status tsr_lower_op_contrib_matmul_to_float(tsr_lower *l) {
  enum { A, B, A_SCALE, B_SCALE, A_ZERO, B_ZERO, BIAS };
  TSR_TRY(tsr_lower_need(l, 4));
  tsr_value scale = tsr_lower_value(l, A_SCALE);
  if (v_rank(l, scale) == 1 && tsr_expr_equals_int(l->ir, v_dim(l, scale, 0), 1))
    scale = v_to_scalar(l, scale);
  if (v_rank(l, scale) != 0)
    return tsr_lower_unsupported(l, "input 2 (a_scale) of rank %u", v_rank(l, scale));
  tsr_value x = centred(l, tsr_lower_value(l, A), A_ZERO);
  tsr_value y = centred(l, tsr_lower_value(l, B), B_ZERO);
  tsr_value z = scaled_product(l, x, y, v_widen(l, scale), B_SCALE, BIAS);
  tsr_lower_set(l, 0, v_cast(l, z, v_dtype(l, scale)));
  return TSR_OK;
}

/* --- words of few bits --- */

enum { IN_A, IN_B, IN_SCALES, IN_ZEROS, IN_GROUPS, IN_BIAS };

typedef struct narrow {
  tsr_lower *l;
  int64_t k, n, bits, block, blocks;
} narrow;

/* The last axis of bytes as fields of `bits`, the lowest bits first. */
static tsr_value unpack(const narrow *p, tsr_value bytes) {
  tsr_lower *l = p->l;
  uint8_t shifts[8];
  int64_t fields = 8 / p->bits;
  uint32_t rank = v_rank(l, bytes);
  tsr_expr dims[TSR_MAX_RANK];
  if (fields == 1 || rank == 0)
    return bytes;
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = v_dim(l, bytes, i);
  dims[rank - 1] = tsr_expr_mul_int(l->ir, dims[rank - 1], fields);
  for (int64_t i = 0; i < fields; i++)
    shifts[i] = (uint8_t)(i * p->bits);
  tsr_value shift = tsr_graph_const(l->b, TSR_U8, &fields, 1, shifts, true);
  tsr_value all = v_binary(l, TSR_OP_SHR, v_unsqueeze(l, bytes, rank), shift);
  all = v_and(l, all, tsr_graph_scalar_int(l->b, TSR_U8, (1 << p->bits) - 1));
  return v_reshape(l, all, dims, rank);
}

/* Zero points as [n, blocks, 1] in the type of the scales; a scalar where there are none. */
static tsr_status read_zeros(const narrow *p, tsr_dtype dtype, tsr_value *out) {
  tsr_lower *l = p->l;
  tsr_expr dims[3] = {e_int(l, p->n), e_int(l, p->blocks), e_int(l, 1)};
  *out = tsr_graph_scalar(l->b, dtype, (double)(1 << (p->bits - 1)));
  if (!tsr_lower_has(l, IN_ZEROS))
    return TSR_OK;
  tsr_value zeros = tsr_lower_value(l, IN_ZEROS);
  if (v_dtype(l, zeros) == TSR_U8) {
    int64_t bytes = (p->blocks * p->bits + 7) / 8;
    tsr_expr rows[2] = {dims[0], e_int(l, bytes)};
    zeros = unpack(p, v_reshape(l, zeros, rows, 2));
    zeros = v_slice_axis(l, zeros, 1, e_int(l, 0), dims[1]);
  } else if (!v_is_float(l, zeros))
    return tsr_lower_unsupported(l, "zero_points of type %s", tsr_dtype_text(v_dtype(l, zeros)));
  *out = v_cast(l, v_reshape(l, zeros, dims, 3), dtype);
  return TSR_OK;
}

static tsr_status read_narrow(tsr_lower *l, narrow *p) {
  TSR_TRY(tsr_lower_need(l, 3));
  *p = (narrow){l,
                tsr_lower_int(l, "K", 0),
                tsr_lower_int(l, "N", 0),
                tsr_lower_int(l, "bits", 4),
                tsr_lower_int(l, "block_size", 0),
                0};
  if (p->bits != 2 && p->bits != 4 && p->bits != 8)
    return tsr_lower_unsupported(l, "bits = %lld", (long long)p->bits);
  if (tsr_lower_int(l, "weight_prepacked", 0) != 0)
    return tsr_lower_unsupported(l, "weight_prepacked = 1");
  const int64_t most = 1 << 28;
  if (p->k < 1 || p->k > most || p->n < 1 || p->n > most || p->block < 8 || p->block > most ||
      (p->block & (p->block - 1)) != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "K = %lld, N = %lld, block_size = %lld",
                           (long long)p->k, (long long)p->n, (long long)p->block);
  p->blocks = (p->k + p->block - 1) / p->block;
  if (l->in[IN_B]->dtype != TSR_U8)
    return tsr_lower_unsupported(l, "B of type %s", tsr_dtype_text(l->in[IN_B]->dtype));
  return TSR_OK;
}

/* [N or 1, blocks or 1, 1] as [.., K]: of the group that g_idx gives each column. */
static tsr_value by_group(const narrow *p, tsr_value x) {
  tsr_lower *l = p->l;
  tsr_expr flat[2] = {v_dim(l, x, 0), v_dim(l, x, 1)};
  if (v_rank(l, x) != 3)
    return x;
  tsr_value group = v_cast(l, tsr_lower_value(l, IN_GROUPS), TSR_I64);
  group = v_slice_axis(l, group, 0, e_int(l, 0), e_int(l, p->k));
  return tsr_graph_gather(l->b, v_reshape(l, x, flat, 2), group, 1);
}

/* A times the transpose of (code - zero) * scale. */
tsr_status tsr_lower_op_contrib_matmul_nbits(tsr_lower *l) {
  narrow p;
  tsr_value zeros;
  TSR_TRY(read_narrow(l, &p));
  tsr_value x = tsr_lower_value(l, IN_A), wide = v_widen(l, x);
  tsr_dtype dtype = v_dtype(l, wide);
  tsr_expr words[3] = {e_int(l, p.n), e_int(l, p.blocks), e_int(l, p.block * p.bits / 8)};
  tsr_expr each[3] = {words[0], words[1], e_int(l, 1)};
  tsr_expr rows[2] = {words[0], e_int(l, p.blocks * p.block)};
  TSR_TRY(read_zeros(&p, dtype, &zeros));
  tsr_value codes = unpack(&p, v_reshape(l, tsr_lower_value(l, IN_B), words, 3));
  tsr_value scales = v_cast(l, v_reshape(l, tsr_lower_value(l, IN_SCALES), each, 3), dtype);
  tsr_value w = v_cast(l, codes, dtype);
  bool listed = tsr_lower_has(l, IN_GROUPS);
  if (!listed)
    w = v_mul(l, v_sub(l, w, zeros), scales);
  w = v_reshape(l, w, rows, 2);
  if (p.k < p.blocks * p.block)
    w = v_slice_axis(l, w, 1, e_int(l, 0), e_int(l, p.k));
  if (listed)
    w = v_mul(l, v_sub(l, w, by_group(&p, zeros)), by_group(&p, scales));
  tsr_value y = v_matmul(l, wide, w, false, true);
  if (tsr_lower_has(l, IN_BIAS))
    y = v_add(l, y, v_cast(l, tsr_lower_value(l, IN_BIAS), dtype));
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}
