/* FlexAttention: attention whose scores and probabilities the model's own subgraphs change. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/op_table.h"
#include <math.h>

enum { IN_Q, IN_K, IN_V };

typedef struct flex {
  tsr_lower *l;
  tsr_value q, k, v;  /* [B, H, group, S, D], [B, H, T, D], [B, H, T, M] in the compute type */
  tsr_expr scores[4]; /* [B, query heads, S, T] */
  tsr_dtype precise;  /* of the softmax and of what the subgraphs see */
  double scale;
} flex;

static tsr_status read_flex(tsr_lower *l, flex *f) {
  TSR_TRY(tsr_lower_need(l, 3));
  tsr_value q = v_widen(l, tsr_lower_value(l, IN_Q)), k = v_widen(l, tsr_lower_value(l, IN_K));
  int64_t query_heads = 0, heads = 0, width = 0, type = tsr_lower_int(l, "softmax_precision", 0);
  f->l = l;
  f->v = tsr_lower_value(l, IN_V);
  if (v_rank(l, q) != 4 || v_rank(l, k) != 4 || v_rank(l, f->v) != 4)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "Q, K and V need rank 4");
  if (!v_static_dim(l, q, 1, &query_heads) || !v_static_dim(l, k, 1, &heads) ||
      !v_static_dim(l, q, 3, &width))
    return tsr_lower_unsupported(l, "a symbolic number or size of heads");
  if (query_heads < 1 || heads < 1 || query_heads % heads != 0)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%lld query heads and %lld key heads",
                           (long long)query_heads, (long long)heads);
  f->precise = type ? tsr_onnx_dtype(type) : v_dtype(l, q);
  if (tsr_dtype_class_of(f->precise) != TSR_CLASS_FLOAT)
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "softmax_precision %s", tsr_onnx_dtype_name(type));
  f->scale = 1 / sqrt((double)width);
  f->scale = (double)tsr_lower_float(l, "scale", (float)f->scale);
  tsr_expr dims[5] = {v_dim(l, q, 0), e_int(l, heads), e_int(l, query_heads / heads),
                      v_dim(l, q, 2), v_dim(l, q, 3)};
  f->scores[0] = dims[0];
  f->scores[1] = v_dim(l, q, 1);
  f->scores[2] = dims[3];
  f->scores[3] = v_dim(l, k, 2);
  f->q = v_reshape(l, q, dims, 5);
  f->k = k;
  return TSR_OK;
}

/* x as the graph of attribute `name` changes it; `out_broken` when that could not be imported. */
static tsr_status modify(tsr_lower *l, const char *name, tsr_value *x, tsr_imported **out_broken) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, name);
  *out_broken = NULL;
  if (!a || a->type != TSR_ONNX_GRAPH || *x == 0)
    return TSR_OK;
  tsr_imported *in = tsr_imported_new(l, *x), *out = NULL;
  if (!in)
    return TSR_ERR_OUT_OF_MEMORY;
  TSR_TRY(tsr_import_subgraph(l, a->g, &in, 1, &out, 1));
  if (out->kind == TSR_IMPORTED_BROKEN)
    *out_broken = out;
  else if (out->rank != v_rank(l, *x) || out->dtype != v_dtype(l, *x))
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "%s changes the type of its input", name);
  else
    *x = tsr_imported_value(l, out);
  return TSR_OK;
}

tsr_status tsr_lower_op_flex_attention(tsr_lower *l) {
  static const int64_t last = 3;
  flex f;
  tsr_imported *broken;
  TSR_TRY(read_flex(l, &f));
  tsr_value x = tsr_graph_einsum(l->b, "bhgsd,bhtd->bhgst", f.q, f.k);
  x = v_reshape(l, v_mul_number(l, x, f.scale), f.scores, 4);
  x = v_cast(l, x, f.precise);
  TSR_TRY(modify(l, "score_mod", &x, &broken));
  if (!broken) {
    x = v_softmax(l, x, &last, 1);
    TSR_TRY(modify(l, "prob_mod", &x, &broken));
  }
  if (broken) {
    tsr_lower_set_imported(l, 0, broken);
    return TSR_OK;
  }
  x = v_widen(l, x);
  tsr_expr grouped[5] = {f.scores[0], v_dim(l, f.q, 1), v_dim(l, f.q, 2), f.scores[2], f.scores[3]};
  tsr_expr dims[4] = {f.scores[0], f.scores[1], f.scores[2], v_dim(l, f.v, 3)};
  tsr_value y = tsr_graph_einsum(l->b, "bhgst,bhtm->bhgsm", v_reshape(l, x, grouped, 5),
                                 v_cast(l, f.v, v_dtype(l, x)));
  tsr_lower_set(l, 0, v_cast(l, v_reshape(l, y, dims, 4), v_dtype(l, f.v)));
  return TSR_OK;
}
