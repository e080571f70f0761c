/* What the attention operators of both domains are made of. Heads are [B, heads, S, D]. */
#ifndef TSR_FRONTEND_ONNX_ATTENTION_H
#define TSR_FRONTEND_ONNX_ATTENTION_H
#include "frontend/onnx/build.h"

/* [B, S, heads * D] as [B, heads, S, D], and back. */
tsr_value v_split_heads(tsr_lower *l, tsr_value x, int64_t heads);
tsr_value v_merge_heads(tsr_lower *l, tsr_value x);
/* q [B, q_heads, S, D] times k [B, k_heads, T, D]: [B, q_heads, S, T]. Query heads that share a key
 * head are next to each other. */
tsr_value v_head_scores(tsr_lower *l, tsr_value q, tsr_value k);
/* p [B, p_heads, S, T] times v [B, v_heads, T, D]: [B, p_heads, S, D]. */
tsr_value v_head_mix(tsr_lower *l, tsr_value p, tsr_value v);
/* Softmax over the last of four axes where a row of nothing but -inf is all 0. `sink` (or 0), which
 * broadcasts, is one more score of each row, whose share is dropped. */
tsr_value v_guarded_softmax(tsr_lower *l, tsr_value x, tsr_value sink);
/* Rotates the first `turned` elements of every head by pairs: neighbours when interleaved, else the
 * halves. c and s are [B, 1, S, turned / 2]. */
tsr_value v_rotate_heads(tsr_lower *l, tsr_value x, tsr_value c, tsr_value s, int64_t turned,
                         bool interleaved);

#endif
