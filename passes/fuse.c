/* Fusion into registers. An intermediate disappears in one of two ways:
 *
 *   inline    the producer is a map; its body takes the place of each load of it, its axes become
 *             the load's subscripts. Always right; it pays when the work repeated costs no more
 *             than the memory traffic saved.
 *   epilogue  the consumer is a map that reads each element of the intermediate once and in place;
 *             its body moves behind the producer's store, its axes become the store's subscripts.
 *             Other readers of the intermediate keep it: the block then has several results.
 *
 * A reshape between the two is a change of subscripts (reshape_map.c). Order of preference:
 * epilogue where one block reads the value, inline where one block reads it, inline into several
 * readers, epilogue that keeps the intermediate; from the start after each. So what follows a
 * contraction goes behind it before a view carries it elsewhere, and a diamond of maps collapses
 * into one block before it is hung behind a contraction. */
#include "passes/canonicalize.h"
#include "passes/fuse_graph.h"
#include "passes/split_axes.h"
#include <string.h>

typedef struct fuser {
  tsr_ir *ir;
  tsr_fuse_graph graph;
  tsr_fuse_report *report;
  tsr_diag *diag;
} fuser;

typedef tsr_status (*strategy)(fuser *f, tsr_region region, bool *out_changed);

static tsr_status record(fuser *f, const tsr_fuse_link *link, bool fused, const char *reason) {
  return f->report == NULL ? TSR_OK
                           : tsr_fuse_report_add(f->report, f->ir, link, fused, reason, f->diag);
}

static tsr_status inline_readers(fuser *f, const tsr_fuse_link *links, uint32_t count) {
  tsr_op producer = links[0].producer;
  for (uint32_t i = 0; i < count; i++) {
    TSR_TRY(record(f, &links[i], true, NULL));
    TSR_TRY(tsr_fuse_inline(f->ir, &links[i], f->diag));
  }
  tsr_fuse_erase_unused(f->ir, producer);
  return tsr_fuse_graph_build(&f->graph, f->ir, f->graph.region, f->diag);
}

/* The links of one producer to each of its readers, when all are blocks that can take it; 0
 * otherwise. */
static uint32_t inlinable_readers(fuser *f, tsr_op producer, tsr_fuse_link *links,
                                  uint32_t capacity) {
  uint32_t count = tsr_fuse_links_of(&f->graph, f->ir, producer, links, capacity);
  if (count == 0 || count > capacity)
    return 0;
  for (uint32_t i = 0; i < count; i++)
    if (tsr_fuse_refuse_inline(f->ir, &links[i]) != NULL)
      return 0;
  return tsr_fuse_inline_pays(f->ir, links, count) ? count : 0;
}

static tsr_status inline_into(fuser *f, tsr_region region, uint32_t readers, bool *out_changed) {
  tsr_fuse_link links[TSR_FUSE_MAX_READERS];
  for (tsr_op op = tsr_region_get(f->ir, region)->first, next; op != 0; op = next) {
    next = tsr_op_get(f->ir, op)->next;
    if (tsr_op_get(f->ir, op)->code != TSR_OP_BLOCK)
      continue;
    uint32_t count = inlinable_readers(f, op, links, TSR_FUSE_MAX_READERS);
    if (count == 0 || count > readers)
      continue;
    while (next != 0 && tsr_fuse_link_involves(links, count, next))
      next = tsr_op_get(f->ir, next)->next;
    TSR_TRY(inline_readers(f, links, count));
    *out_changed = true;
  }
  return TSR_OK;
}

static tsr_status inline_single(fuser *f, tsr_region region, bool *out_changed) {
  return inline_into(f, region, 1, out_changed);
}

static tsr_status inline_several(fuser *f, tsr_region region, bool *out_changed) {
  return inline_into(f, region, TSR_FUSE_MAX_READERS, out_changed);
}

static tsr_status epilogue(fuser *f, tsr_region region, bool keep, bool *out_changed) {
  tsr_fuse_link links[TSR_FUSE_MAX_READERS];
  for (tsr_op op = tsr_region_get(f->ir, region)->first, next; op != 0; op = next) {
    next = tsr_op_get(f->ir, op)->next;
    if (tsr_op_get(f->ir, op)->code != TSR_OP_BLOCK)
      continue;
    uint32_t count = tsr_fuse_links_of(&f->graph, f->ir, op, links, TSR_FUSE_MAX_READERS);
    for (uint32_t i = 0; i < count && i < TSR_FUSE_MAX_READERS; i++) {
      if (tsr_fuse_refuse_epilogue(f->ir, &f->graph, &links[i], keep) != NULL)
        continue;
      TSR_TRY(record(f, &links[i], true, NULL));
      while (next != 0 && tsr_fuse_link_involves(&links[i], 1, next))
        next = tsr_op_get(f->ir, next)->next;
      TSR_TRY(tsr_fuse_epilogue(f->ir, &f->graph, &links[i], f->diag));
      TSR_TRY(tsr_fuse_graph_build(&f->graph, f->ir, region, f->diag));
      *out_changed = true;
      break;
    }
  }
  return TSR_OK;
}

static tsr_status epilogue_single(fuser *f, tsr_region region, bool *out_changed) {
  return epilogue(f, region, false, out_changed);
}

static tsr_status epilogue_keeping(fuser *f, tsr_region region, bool *out_changed) {
  return epilogue(f, region, true, out_changed);
}

static const strategy strategies[] = {epilogue_single, inline_single, inline_several,
                                      epilogue_keeping};

/* What is left between blocks, with the reason of the strategy that came nearest. */
static tsr_status record_refusals(fuser *f, tsr_region region) {
  tsr_fuse_link links[TSR_FUSE_MAX_READERS];
  if (f->report == NULL)
    return TSR_OK;
  TSR_FOR_EACH_OP (f->ir, region, op) {
    uint32_t count = tsr_fuse_links_of(&f->graph, f->ir, op, links, TSR_FUSE_MAX_READERS);
    for (uint32_t i = 0; i < count && i < TSR_FUSE_MAX_READERS; i++) {
      const char *reason = tsr_fuse_explain(f->ir, &f->graph, links, count, i);
      if (links[i].consumer != 0)
        TSR_TRY(record(f, &links[i], false, reason));
    }
  }
  return TSR_OK;
}

static tsr_status fuse_region(fuser *f, tsr_region region) {
  TSR_FOR_EACH_OP (f->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(f->ir, op);
    if (data->code == TSR_OP_IF || data->code == TSR_OP_LOOP)
      for (uint32_t i = 0; i < data->region_count; i++)
        TSR_TRY(fuse_region(f, data->regions[i]));
  }
  TSR_TRY(tsr_fuse_graph_build(&f->graph, f->ir, region, f->diag));
  for (size_t i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
    bool changed = false;
    TSR_TRY(strategies[i](f, region, &changed));
    if (tsr_ir_status(f->ir) != TSR_OK)
      return tsr_fail(f->diag, tsr_ir_status(f->ir), "fuse: %s", tsr_ir_diag(f->ir)->message);
    if (changed)
      i = (size_t)-1;
  }
  TSR_TRY(record_refusals(f, region));
  return tsr_split_axes(f->ir, region, f->diag);
}

tsr_status tsr_pass_fuse(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  fuser f = {.ir = ir, .diag = diag, .report = options->report};
  if (options->fuse_level == TSR_FUSE_NONE)
    return TSR_OK;
  tsr_status status = tsr_fuse_graph_init(&f.graph, ir, diag);
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (status == TSR_OK && tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      status = fuse_region(&f, tsr_op_get(ir, op)->regions[0]);
  tsr_fuse_graph_reset(&f.graph);
  bool dropped = false;
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (status == TSR_OK && tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      status = tsr_dce_region(ir, tsr_op_get(ir, op)->regions[0], diag, &dropped);
  return status;
}
