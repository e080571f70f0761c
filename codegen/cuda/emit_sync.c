/* Barriers, mbarriers and waits. The threads that run an op are its team: the block, or the role
 * around it. One `arrive` of the IR is one arrival of every warp of its team, made by lane 0 behind
 * a barrier of the warp, so that what each warp has read is read; mbarriers are made for that many.
 * Where teams of different size arrive at one mbarrier, thread 0 arrives alone behind a barrier of
 * its team. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum { WARP = 32 };

static bool word_is(const tsr_cu *e, tsr_op op, const char *key, const char *word) {
  const char *text = tsr_op_string(e->ir, op, key);
  return text && !strcmp(text, word);
}

/* --- what the kernel says about its own synchronisation --- */

typedef struct sync_survey {
  bool *threads_write, *async_reads; /* by value id */
  tsr_region top;
  uint32_t warps; /* of the team */
  bool mbarriers;
} sync_survey;

static void note_arrival(tsr_cu *e, const sync_survey *s, const tsr_op_data *op) {
  uint32_t *weight = &e->arrivals_per_op[op->operands[0].value];
  *weight = *weight == 0 || *weight == s->warps ? s->warps : 1;
}

static void note_copy(tsr_cu *e, sync_survey *s, tsr_op id, const tsr_op_data *op, bool ahead) {
  bool from_global = tsr_value_type(e->ir, op->operands[0].value)->level == TSR_LEVEL_GLOBAL;
  if (word_is(e, id, "atom", "tma")) {
    e->own_sync = true;
    if (!from_global)
      s->async_reads[op->operands[0].value] = true;
    e->tma_stores = e->tma_stores || !from_global;
    e->multicasts = e->multicasts || tsr_op_attr(e->ir, id, "multicast");
    return;
  }
  s->threads_write[op->operands[1].value] = true;
  if (word_is(e, id, "atom", "cp.async")) {
    e->own_sync = true;
    e->loose_copies = e->loose_copies || !ahead;
  }
}

static void note_barrier(tsr_cu *e, const sync_survey *s, tsr_op id, const tsr_op_data *op) {
  e->own_sync = true;
  if (word_is(e, id, "scope", "grid"))
    e->cooperative = true;
  if (word_is(e, id, "scope", "cluster") && op->parent == s->top)
    ++e->cluster_barriers;
  else if (word_is(e, id, "scope", "cluster"))
    e->inner_cluster_barriers = true;
}

static void look(tsr_cu *e, sync_survey *s, tsr_region region, bool staged);

static void look_inside(tsr_cu *e, sync_survey *s, tsr_op id, const tsr_op_data *op, bool staged) {
  uint32_t outer = s->warps;
  for (uint32_t i = 0; i < op->region_count; ++i) {
    if (op->code == TSR_OP_ROLES) {
      s->warps = tsr_cu_role_warps(e, id, i);
      if (tsr_cu_role_is_single(e, op->regions[i]))
        s->warps = 1;
    }
    bool stages = op->code == TSR_OP_FOR && tsr_op_int(e->ir, id, "stages", 1) > 1;
    look(e, s, op->regions[i], stages || (staged && op->code == TSR_OP_IF));
    s->warps = outer;
  }
}

/* `staged`: copies up to the first barrier of the region belong to the loop's pipeline. */
static void look(tsr_cu *e, sync_survey *s, tsr_region region, bool staged) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    switch (op->code) {
    case TSR_OP_BARRIER:
      staged = false;
      note_barrier(e, s, id, op);
      break;
    case TSR_OP_WAIT:
      staged = false;
      e->own_sync = true;
      e->counts_copies = e->counts_copies ||
                         (word_is(e, id, "of", "copy") && tsr_op_int(e->ir, id, "pending", 0) > 0);
      break;
    case TSR_OP_MBARRIER:
      s->mbarriers = true;
      e->own_sync = true;
      break;
    case TSR_OP_ROLES:
      e->own_sync = true;
      break;
    case TSR_OP_ARRIVE:
      note_arrival(e, s, op);
      e->multicasts = e->multicasts || tsr_op_attr(e->ir, id, "multicast");
      break;
    case TSR_OP_COPY:
      note_copy(e, s, id, op, staged);
      break;
    case TSR_OP_STORE:
    case TSR_OP_SCATTER_STORE:
      s->threads_write[op->operands[1].value] = true;
      break;
    case TSR_OP_CONTRACT:
      for (uint32_t i = 0; i < 2; ++i)
        if (op->operands[i].subscripted)
          s->async_reads[op->operands[i].value] = true;
      break;
    default:
      break;
    }
    look_inside(e, s, id, op, staged);
  }
}

void tsr_cu_survey_sync(tsr_cu *e, tsr_region region) {
  sync_survey s = {.top = region, .warps = (e->threads + WARP - 1) / WARP};
  s.threads_write = tsr_cu_alloc(e, e->slot_count, sizeof *s.threads_write);
  s.async_reads = tsr_cu_alloc(e, e->slot_count, sizeof *s.async_reads);
  e->arrivals_per_op = tsr_cu_alloc(e, e->slot_count, sizeof *e->arrivals_per_op);
  look(e, &s, region, false);
  if (s.mbarriers || e->multicasts)
    ++e->cluster_barriers; /* tsr_cu_start_mbarriers */
  for (tsr_value value = 1; value < e->slot_count; ++value)
    e->mixes_proxies = e->mixes_proxies || (s.threads_write[value] && s.async_reads[value]);
}

/* --- barriers --- */

void tsr_cu_barrier(tsr_cu *e) {
  if (e->single)
    return;
  if (e->threads == WARP)
    tsr_cu_line(e, "tsr_warp_barrier();");
  else if (e->barrier_id == 0)
    tsr_cu_line(e, "tsr_barrier();");
  else
    tsr_cu_line(e, "tsr_barrier_named(%u, %u);", e->barrier_id, e->threads);
}

void tsr_cu_cluster_barrier(tsr_cu *e) {
  tsr_cu_line(e, "tsr_cluster_arrive();");
  tsr_cu_line(e, "tsr_cluster_wait();");
}

/* What threads wrote is there for wgmma and TMA of whoever passes the barrier. */
static void fence_proxies(tsr_cu *e) {
  if (e->mixes_proxies && e->target->capability >= 90)
    tsr_cu_line(e, "tsr_fence_proxy_async();");
}

/* Copies outside of pipelines end at every barrier. */
static void finish_copies(tsr_cu *e) {
  if (e->loose_copies) {
    tsr_cu_line(e, "tsr_copy_async_commit();");
    tsr_cu_line(e, "tsr_copy_async_wait(0);");
  }
  if (e->tma_stores)
    tsr_cu_line(e, "tsr_tma_store_wait(0);");
}

void tsr_cu_barrier_op(tsr_cu *e) {
  const char *scope = tsr_op_string(e->ir, e->op_id, "scope");
  bool in_role = e->barrier_id != 0;
  if (!scope)
    scope = "task";
  if (e->single)
    tsr_cu_fail(e, TSR_ERR_INTERNAL, "a barrier in a role of one thread");
  if (!tsr_cu_turn_begins(e))
    finish_copies(e);
  fence_proxies(e);
  if (!strcmp(scope, "warp"))
    tsr_cu_line(e, "tsr_warp_barrier();");
  else if (!strcmp(scope, "role") || (!strcmp(scope, "task") && !in_role))
    tsr_cu_barrier(e);
  else if (!strcmp(scope, "task"))
    tsr_cu_line(e, "tsr_barrier();");
  else if (!strcmp(scope, "cluster") && e->cluster > 1)
    tsr_cu_cluster_barrier(e);
  else if (!strcmp(scope, "cluster"))
    tsr_cu_barrier(e);
  else
    tsr_cu_line(e, "tsr_grid_barrier();");
  tsr_cu_turn_goes_on(e);
}

/* --- mbarriers --- */

static const char *mbarrier_at(tsr_cu *e, uint32_t number) {
  const tsr_operand *operand = &e->op->operands[number];
  const tsr_type_info *type = tsr_value_type(e->ir, operand->value);
  const char *base = e->slots[operand->value].buffer;
  tsr_expr place = tsr_expr_int(e->ir, 0);
  if (!base || operand->subscript_count != type->rank)
    return tsr_cu_fail(e, TSR_ERR_VERIFY, "operand %u is no element of mbarriers", number);
  for (uint32_t i = 0; i < type->rank; ++i)
    place = tsr_expr_add(e->ir, tsr_expr_mul(e->ir, place, type->dims[i]), operand->subscripts[i]);
  return tsr_cu_format(e, "%s + %s", base, tsr_cu_index(e, place, NULL));
}

const char *tsr_cu_mbarrier_operand(tsr_cu *e, uint32_t number) {
  return mbarrier_at(e, number);
}

static tsr_expr attr_expr(tsr_cu *e, const char *key) {
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, key);
  if (!attr)
    return 0;
  if (attr->kind == TSR_ATTR_INT)
    return tsr_expr_int(e->ir, attr->u.integer);
  if (attr->kind != TSR_ATTR_EXPR)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "'%s' is no index expression", key);
  return attr->u.expr;
}

const char *tsr_cu_multicast(tsr_cu *e, bool *out_all) {
  tsr_expr mask = attr_expr(e, "multicast");
  int64_t bits = 0;
  *out_all = false;
  if (!mask)
    return NULL;
  if (tsr_expr_is_int(e->ir, mask, &bits)) {
    if (bits < 1 || bits >> e->cluster != 0)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "multicast to ranks %#llx in a cluster of %u",
                  (unsigned long long)bits, e->cluster);
    *out_all = bits == (1LL << e->cluster) - 1;
  }
  return tsr_cu_format(e, "(tsr_u32)%s", tsr_cu_index(e, mask, NULL));
}

/* `alone`: thread 0 for all; otherwise lane r of every warp for rank r. */
static void arrive_at_ranks(tsr_cu *e, const char *bar, bool alone) {
  bool all = false;
  const char *mask = tsr_cu_multicast(e, &all);
  if (alone) {
    tsr_cu_line(e, "for (int rank = 0; %srank < %u; ++rank) {", e->single ? "" : "thread == 0 && ",
                e->cluster);
    if (!all)
      tsr_cu_line(e, "if (%s >> rank & 1)", mask);
    tsr_cu_line(e, "tsr_mbarrier_arrive_remote(%s, rank);", bar);
    tsr_cu_line(e, "}");
    return;
  }
  const char *mine = all ? "" : tsr_cu_format(e, " && (%s >> tsr_lane() & 1)", mask);
  tsr_cu_line(e, "tsr_mbarrier_arrive_remote_if(%s, tsr_lane(), tsr_lane() < %u%s);", bar,
              e->cluster, mine);
}

/* Bytes are announced by thread 0; the other warps arrive without. */
static void arrive_here(tsr_cu *e, const char *bar, const char *bytes, bool alone) {
  const char *plain = tsr_cu_format(e, "tsr_mbarrier_arrive(%s);", bar);
  const char *first =
      bytes ? tsr_cu_format(e, "tsr_mbarrier_arrive_expect(%s, (int)%s);", bar, bytes) : plain;
  if (e->single) {
    tsr_cu_line(e, "%s", first);
    return;
  }
  if (!bytes) {
    tsr_cu_line(e, "tsr_mbarrier_arrive_if(%s, %s == 0);", bar, alone ? "thread" : "tsr_lane()");
    return;
  }
  tsr_cu_line(e, "if (thread == 0)");
  tsr_cu_line(e, "  %s", first);
  if (bytes && !alone && e->threads > WARP) {
    tsr_cu_line(e, "else if (tsr_lane() == 0)");
    tsr_cu_line(e, "  %s", plain);
  }
}

static bool names(const tsr_cu *e, const tsr_op_data *op, tsr_value bar) {
  for (uint32_t i = 0; i < op->operand_count; ++i)
    if (op->operands[i].value == bar)
      return true;
  for (uint32_t r = 0; r < op->region_count; ++r)
    TSR_FOR_EACH_OP (e->ir, op->regions[r], id)
      if (names(e, tsr_op_get(e->ir, id), bar))
        return true;
  return false;
}

/* Where the copies stand beside the arrive, the bytes must be theirs: a phase that waits for others
 * never ends. */
static void check_bytes(tsr_cu *e, int64_t bytes) {
  const tsr_operand *bar = &e->op->operands[0];
  int64_t sum = 0;
  TSR_FOR_EACH_OP (e->ir, e->op->parent, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    if (id == e->op_id || op->code == TSR_OP_WAIT || !names(e, op, bar->value))
      continue;
    int64_t shape[TSR_MAX_RANK], box = 1;
    uint32_t rank = 0;
    const tsr_operand *on = op->operand_count == 3 ? &op->operands[2] : bar;
    bool here = on->subscript_count == bar->subscript_count &&
                !memcmp(on->subscripts, bar->subscripts, bar->subscript_count * sizeof(tsr_expr));
    if (op->code != TSR_OP_COPY || !here || tsr_op_attr(e->ir, id, "multicast") ||
        !tsr_op_ints(e->ir, id, "shape", shape, TSR_MAX_RANK, &rank))
      return;
    for (uint32_t i = 0; i < rank; ++i)
      box *= shape[i];
    sum += box * tsr_dtype_bits(tsr_value_type(e->ir, op->operands[0].value)->dtype) / 8;
  }
  if (sum > 0 && sum != bytes)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "%lld bytes are announced, the copies bring %lld",
                (long long)bytes, (long long)sum);
}

void tsr_cu_arrive(tsr_cu *e) {
  const char *bar = mbarrier_at(e, 0);
  tsr_expr bytes = attr_expr(e, "bytes");
  bool remote = tsr_op_attr(e->ir, e->op_id, "multicast") != NULL;
  uint32_t weight = e->arrivals_per_op[e->op->operands[0].value];
  bool alone = e->single || weight != e->threads / WARP;
  int64_t announced = 0;
  if (bytes && tsr_expr_is_int(e->ir, bytes, &announced))
    check_bytes(e, announced);
  if (bytes && remote)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "arrive with bytes on other ranks has no code on CUDA");
  fence_proxies(e);
  if (!e->single && alone)
    tsr_cu_barrier(e);
  else if (!e->single)
    tsr_cu_line(e, "tsr_warp_barrier();");
  if (remote && e->cluster > 1)
    arrive_at_ranks(e, bar, alone);
  else
    arrive_here(e, bar, bytes ? tsr_cu_index(e, bytes, NULL) : NULL, alone);
}

void tsr_cu_wait(tsr_cu *e) {
  int64_t pending = tsr_op_int(e->ir, e->op_id, "pending", 0);
  if (e->op->operand_count == 1) {
    tsr_expr parity = attr_expr(e, "parity");
    if (!parity)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "a wait for an mbarrier needs a parity");
    tsr_cu_line(e, "tsr_mbarrier_wait(%s, (int)%s);", mbarrier_at(e, 0),
                tsr_cu_index(e, parity, NULL));
    return;
  }
  if (pending < 0 || pending > 7)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "a wait with %lld pending; 0 to 7 have code",
                (long long)pending);
  if (word_is(e, e->op_id, "of", "contract")) {
    tsr_cu_wgmma_wait(e, (uint32_t)pending);
    return;
  }
  if (tsr_cu_turn_begins(e))
    return;
  if (e->loose_copies) {
    tsr_cu_line(e, "tsr_copy_async_commit();");
    tsr_cu_line(e, "tsr_copy_async_wait(%lld);", (long long)pending);
  }
  if (e->tma_stores)
    tsr_cu_line(e, "tsr_tma_store_wait(%lld);", (long long)pending);
}

/* The kernel's mbarriers, behind their declaration: thread 0 makes them, the task or the cluster
 * sees them. */
void tsr_cu_start_mbarriers(tsr_cu *e, const tsr_value *mbarriers, uint32_t count) {
  if (count > 0)
    tsr_cu_line(e, "if (tsr_thread() == 0) {");
  for (uint32_t i = 0; i < count; ++i) {
    tsr_value value = mbarriers[i];
    tsr_type type = tsr_value_get(e->ir, value)->type;
    tsr_op op = tsr_value_get(e->ir, value)->def;
    int64_t elements = 0, arrivals = tsr_op_int(e->ir, op, "arrivals", 0);
    uint32_t weight = e->arrivals_per_op[value] ? e->arrivals_per_op[value] : 1;
    if (!tsr_expr_is_int(e->ir, tsr_type_elements(e->ir, type), &elements) || arrivals < 1 ||
        arrivals * weight >= 1 << 20)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "mbarriers need a number of places and of arrivals");
    tsr_cu_line(e, "for (int i = 0; i < %lld; ++i)", (long long)elements);
    tsr_cu_line(e, "  tsr_mbarrier_init(%s + i, %lld);", e->slots[value].buffer,
                (long long)(arrivals * weight));
  }
  if (count > 0) {
    tsr_cu_line(e, "tsr_fence_mbarrier_init();");
    tsr_cu_line(e, "}");
  }
  if (e->cluster > 1 && (count > 0 || e->multicasts))
    tsr_cu_cluster_barrier(e);
  else if (count > 0)
    tsr_cu_line(e, "tsr_barrier();");
}
