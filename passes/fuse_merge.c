/* The two merges: see fuse.c. */
#include "passes/fuse_graph.h"
#include "passes/rewrite.h"
#include <string.h>

static bool read_by(const tsr_ir *ir, tsr_op op, tsr_value value) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  if (tsr_op_reads(ir, op, value))
    return true;
  for (uint32_t r = 0; r < data->region_count; r++)
    TSR_FOR_EACH_OP (ir, data->regions[r], inner)
      if (read_by(ir, inner, value))
        return true;
  return false;
}

/* A value is read only behind its definition, in the same region or inside one of its ops. */
static bool has_readers(const tsr_ir *ir, tsr_value value) {
  tsr_op op = tsr_value_get(ir, value)->def;
  for (op = tsr_op_get(ir, op)->next; op != 0; op = tsr_op_get(ir, op)->next)
    if (read_by(ir, op, value))
      return true;
  return false;
}

static void erase_aliases(tsr_ir *ir, tsr_op op) {
  tsr_region region = tsr_op_get(ir, op)->parent;
  for (tsr_op at = tsr_region_get(ir, region)->last, before; at != op && at != 0; at = before) {
    before = tsr_op_get(ir, at)->prev;
    const tsr_op_data *alias = tsr_op_get(ir, at);
    if (alias->code == TSR_OP_RESHAPE && tsr_fuse_result_of(ir, op, alias->results[0]) != 0 &&
        !has_readers(ir, alias->results[0]))
      tsr_op_erase(ir, at);
  }
}

void tsr_fuse_erase_unused(tsr_ir *ir, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  erase_aliases(ir, op);
  for (uint32_t i = 0; i < data->result_count; i++)
    if (has_readers(ir, data->results[i]))
      return;
  tsr_op_erase(ir, op);
}

/* --- inline --- */

typedef struct inlining {
  tsr_rewriter rw;
  const tsr_fuse_link *link;
  tsr_block_info producer;
  tsr_op store; /* the producer's */
} inlining;

/* The producer's value at `subscripts` of its result. */
static tsr_value inline_value(inlining *in, const tsr_expr *subscripts) {
  tsr_ir *ir = in->rw.ir;
  const tsr_operand *place = &tsr_op_get(ir, in->store)->operands[1];
  for (uint32_t i = 0; i < place->subscript_count; i++) {
    tsr_expr_node node = tsr_expr_get(ir, place->subscripts[i]);
    if (node.op == TSR_INDEX_VALUE)
      in->rw.exprs[node.value] = subscripts[i];
  }
  TSR_FOR_EACH_OP (ir, in->producer.body, op)
    if (op != in->store)
      tsr_rewriter_clone(&in->rw, op);
  return tsr_rewriter_value(&in->rw, tsr_op_get(ir, in->store)->operands[0].value);
}

/* A permutation leaves its source where the load leaves the intermediate, so the load's own pad
 * value does there too. Axes of extent 1 have no variable in it: they stand for each other in
 * order. */
static tsr_value permuted_load(inlining *in, const tsr_expr *subscripts, double pad) {
  tsr_ir *ir = in->rw.ir;
  (void)inline_value(in, subscripts);
  TSR_FOR_EACH_OP (ir, in->producer.body, op) {
    const tsr_operand *from = &tsr_op_get(ir, op)->operands[0];
    const tsr_operand *to = &tsr_op_get(ir, in->store)->operands[1];
    tsr_expr places[TSR_MAX_RANK];
    uint32_t unit = 0;
    if (!tsr_op_is_load(ir, op))
      continue;
    for (uint32_t i = 0; i < from->subscript_count; i++) {
      if (!tsr_expr_equals_int(ir, from->subscripts[i], 0)) {
        places[i] = tsr_rewriter_expr(&in->rw, from->subscripts[i]);
        continue;
      }
      while (!tsr_expr_equals_int(ir, to->subscripts[unit], 0))
        unit++;
      places[i] = subscripts[unit++];
    }
    return tsr_point_load_pad(&in->rw.out, from->value, places, from->subscript_count, pad);
  }
  return 0;
}

/* What the load would have given outside the intermediate. */
static tsr_value pad_value(inlining *in, tsr_op load) {
  tsr_dtype dtype = tsr_scalar_dtype(in->rw.ir, tsr_op_get(in->rw.ir, load)->results[0]);
  return tsr_point_float(&in->rw.out, dtype, tsr_op_float(in->rw.ir, load, "pad", 0));
}

static void inline_load(inlining *in, tsr_op load) {
  tsr_ir *ir = in->rw.ir;
  const tsr_op_data *data = tsr_op_get(ir, load);
  const tsr_operand *from = &data->operands[0];
  tsr_expr at[TSR_MAX_RANK], subscripts[TSR_MAX_RANK];
  for (uint32_t i = 0; i < from->subscript_count; i++)
    at[i] = tsr_rewriter_expr(&in->rw, from->subscripts[i]);
  if (!tsr_fuse_to_value(ir, from->value, in->link->value, at, subscripts)) {
    (void)tsr_ir_poison(ir, TSR_ERR_INTERNAL, "fuse: a reshape does not split");
    return;
  }
  tsr_expr guard = tsr_fuse_guard(ir, from->value, at);
  bool direct =
      from->value == in->link->value && tsr_fuse_is_permutation(ir, &in->producer, in->link->value);
  tsr_value value = guard != 0 && direct
                        ? permuted_load(in, subscripts, tsr_op_float(ir, load, "pad", 0))
                        : inline_value(in, subscripts);
  if (guard != 0 && !direct) {
    tsr_value outside = pad_value(in, load);
    tsr_value inside = tsr_point_condition(&in->rw.out, guard);
    value = tsr_point_select(&in->rw.out, inside, value, outside);
  }
  in->rw.values[data->results[0]] = value;
}

tsr_status tsr_fuse_inline(tsr_ir *ir, const tsr_fuse_link *link, tsr_diag *diag) {
  inlining in = {.link = link, .producer = tsr_block_describe(ir, link->producer)};
  const tsr_op_data *consumer = tsr_op_get(ir, link->consumer);
  in.store = tsr_block_store_of(ir, in.producer.body, link->value);
  TSR_TRY(tsr_rewriter_begin(&in.rw, ir, link->consumer, diag));
  tsr_op_copy_origins(ir, in.rw.out.op, link->producer);
  for (uint32_t i = 0; i < consumer->result_count; i++)
    tsr_rewriter_result(&in.rw, consumer->results[i]);
  tsr_rewriter_copy_axes(&in.rw, link->consumer);
  TSR_FOR_EACH_OP (ir, consumer->regions[0], op) {
    if (tsr_op_is_load(ir, op) &&
        tsr_fuse_is_alias(ir, tsr_op_get(ir, op)->operands[0].value, link->value))
      inline_load(&in, op);
    else
      tsr_rewriter_clone(&in.rw, op);
  }
  tsr_point_drop_dead(ir, in.rw.out.region);
  for (uint32_t i = 0; i < consumer->result_count; i++)
    tsr_rewriter_take_over(&in.rw, consumer->results[i]);
  tsr_op_erase(ir, link->consumer);
  tsr_rewriter_end(&in.rw);
  return TSR_OK;
}

/* --- epilogue --- */

/* The producer's results that somebody else reads. */
static bool is_kept(const tsr_fuse_link *link, tsr_value result) {
  return result != link->value || link->reader_count > 1;
}

static void clone_producer(tsr_rewriter *rw, const tsr_fuse_link *link) {
  tsr_region body = tsr_op_get(rw->ir, link->producer)->regions[0];
  tsr_rewriter_copy_axes(rw, link->producer);
  TSR_FOR_EACH_OP (rw->ir, body, op) {
    if (!tsr_op_is_store(rw->ir, op) || is_kept(link, tsr_op_get(rw->ir, op)->operands[1].value))
      tsr_rewriter_clone(rw, op);
  }
}

static void clone_consumer(tsr_rewriter *rw, const tsr_fuse_link *link, const tsr_expr *axes) {
  tsr_ir *ir = rw->ir;
  tsr_region body = tsr_op_get(ir, link->consumer)->regions[0];
  tsr_region produced = tsr_op_get(ir, link->producer)->regions[0];
  const tsr_region_data *region = tsr_region_get(ir, body);
  for (uint32_t i = 0; i < region->arg_count; i++)
    rw->exprs[region->args[i]] = tsr_rewriter_expr(rw, axes[i]);
  TSR_FOR_EACH_OP (ir, body, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    tsr_value result = tsr_op_is_load(ir, op)
                           ? tsr_fuse_result_of(ir, link->producer, data->operands[0].value)
                           : 0;
    if (result == 0) {
      tsr_rewriter_clone(rw, op);
      continue;
    }
    tsr_op store = tsr_block_store_of(ir, produced, result);
    rw->values[data->results[0]] = tsr_rewriter_value(rw, tsr_op_get(ir, store)->operands[0].value);
  }
}

tsr_status tsr_fuse_epilogue(tsr_ir *ir, const tsr_fuse_graph *graph, const tsr_fuse_link *link,
                             tsr_diag *diag) {
  tsr_rewriter rw;
  tsr_expr axes[TSR_MAX_RANK * 2];
  const char *reason = tsr_fuse_match_axes(ir, link, axes);
  if (reason != NULL)
    return tsr_fail(diag, TSR_ERR_INTERNAL, "fuse: %s", reason);
  tsr_op place = tsr_fuse_at_consumer(ir, graph, link) ? link->consumer : link->producer;
  const tsr_op_data *producer = tsr_op_get(ir, link->producer);
  const tsr_op_data *consumer = tsr_op_get(ir, link->consumer);
  TSR_TRY(tsr_rewriter_begin(&rw, ir, place, diag));
  tsr_op_copy_origins(ir, rw.out.op, link->producer);
  tsr_op_copy_origins(ir, rw.out.op, link->consumer);
  for (uint32_t i = 0; i < producer->result_count; i++)
    if (is_kept(link, producer->results[i]))
      tsr_rewriter_result(&rw, producer->results[i]);
  for (uint32_t i = 0; i < consumer->result_count; i++)
    tsr_rewriter_result(&rw, consumer->results[i]);
  clone_producer(&rw, link);
  clone_consumer(&rw, link, axes);
  tsr_point_drop_dead(ir, rw.out.region);
  for (uint32_t i = 0; i < consumer->result_count; i++)
    tsr_rewriter_take_over(&rw, consumer->results[i]);
  tsr_op_erase(ir, link->consumer);
  erase_aliases(ir, link->producer);
  for (uint32_t i = 0; i < producer->result_count; i++)
    if (is_kept(link, producer->results[i]))
      tsr_rewriter_take_over(&rw, producer->results[i]);
  tsr_fuse_erase_unused(ir, link->producer);
  tsr_rewriter_end(&rw);
  return TSR_OK;
}
