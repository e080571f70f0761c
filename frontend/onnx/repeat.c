#include "frontend/onnx/repeat.h"
#include "frontend/onnx/sizes.h"
#include <string.h>

enum {
  FEW_NODES = 256,      /* unrolled without asking whether a loop is possible */
  MOST_TURNS = 1024,    /* of what cannot be a loop */
  MOST_NODES = 1 << 14, /* of the same */
  MOST_ATTEMPTS = 4 * TSR_MAX_RANK
};

/* What building a body showed about it. Only ever grows, so that bodies inside of bodies are not
 * built again and again. */
typedef struct finding {
  bool no_loop, no_unrolling;
  uint64_t *fresh; /* per carried value: axes that change */
  tsr_type *types; /* of carried lists and maybes; 0: as their starts */
} finding;

static finding *find(tsr_repeat *r) {
  tsr_lower *l = r->l;
  tsr_importer *im = l->importer;
  const char *key = tsr_arena_printf(l->arena, "%p", r->key);
  for (const tsr_frame *f = im->frame; key && f && f->call; f = f->caller)
    key = tsr_arena_printf(l->arena, "%s %p", key, (const void *)f->call);
  if (!key)
    return NULL;
  finding *found = (finding *)(void *)tsr_scope_find(&im->repeats, key);
  if (found)
    return found;
  found = tsr_lower_alloc(l, 1, sizeof *found);
  if (!found)
    return NULL;
  found->fresh = tsr_lower_alloc(l, r->carried, sizeof *found->fresh);
  found->types = tsr_lower_alloc(l, r->carried, sizeof *found->types);
  if (!found->fresh || !found->types ||
      !tsr_scope_set(im, &im->repeats, key, (tsr_imported *)(void *)found))
    return NULL;
  return found;
}

static bool is_constant(const tsr_repeat *r, uint32_t carried) {
  return r->constant && r->constant[carried];
}

static tsr_imported *broken_result(tsr_imported *const *values, uint32_t carried,
                                   tsr_imported *const *rows, uint32_t count, tsr_imported *go_on) {
  tsr_imported *broken = tsr_broken_of(values, carried);
  if (!broken)
    broken = tsr_broken_of(rows, count);
  return broken ? broken : tsr_broken_of(&go_on, 1);
}

/* --- unrolling --- */

typedef struct unrolling {
  tsr_repeat *r;
  int64_t turns;
  tsr_imported **values, **next, **rows;
  tsr_imported **lists; /* sequences */
  tsr_value alive;      /* bool scalar, 0: true for certain */
} unrolling;

static bool begin_unrolling(unrolling *u, tsr_repeat *r, int64_t turns) {
  tsr_lower *l = r->l;
  *u = (unrolling){.r = r, .turns = turns};
  u->values = tsr_lower_alloc(l, r->carried, sizeof *u->values);
  u->next = tsr_lower_alloc(l, r->carried, sizeof *u->next);
  u->rows = tsr_lower_alloc(l, r->rows, sizeof *u->rows);
  u->lists = tsr_lower_alloc(l, r->rows, sizeof *u->lists);
  if (!u->values || !u->next || !u->rows || !u->lists)
    return false;
  for (uint32_t i = 0; i < r->carried; i++)
    u->values[i] = r->values[i];
  for (uint32_t i = 0; i < r->rows; i++) {
    tsr_imported *list = u->lists[i] = tsr_lower_alloc(l, 1, sizeof *list);
    if (!list)
      return false;
    list->kind = TSR_IMPORTED_SEQUENCE;
    list->items = tsr_lower_alloc(l, (uint64_t)turns, sizeof *list->items);
    if (!list->items)
      return false;
  }
  return true;
}

static bool same_type(const tsr_imported *a, const tsr_imported *b) {
  return a->kind == TSR_IMPORTED_TENSOR && b->kind == TSR_IMPORTED_TENSOR && a->dtype == b->dtype &&
         a->rank == b->rank &&
         (a->rank == 0 || memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0);
}

/* The values of the next turn, frozen where the turns have ended. False: their types do not allow
 * it. */
static bool carry_on(unrolling *u) {
  tsr_lower *l = u->r->l;
  for (uint32_t i = 0; i < u->r->carried; i++) {
    tsr_imported *old = u->values[i], *fresh = u->next[i];
    u->values[i] = fresh;
    if (!u->alive || fresh == old)
      continue;
    if (!same_type(fresh, old))
      return false;
    u->values[i] = tsr_imported_new(
        l, v_select(l, u->alive, tsr_imported_value(l, fresh), tsr_imported_value(l, old)));
    if (!u->values[i])
      return false;
    u->values[i]->text = old->text;
  }
  return true;
}

/* Builds one turn. `out_more`: the next may follow. False: it cannot go on like this. */
static bool unroll_turn(unrolling *u, int64_t turn, bool *out_more, tsr_status *out_status) {
  tsr_repeat *r = u->r;
  tsr_lower *l = r->l;
  tsr_imported *go_on = NULL, *number = tsr_known_scalar(l, TSR_I64, turn);
  *out_more = false;
  if (r->carried > 0)
    memcpy(u->next, u->values, r->carried * sizeof *u->next);
  if (!number)
    *out_status = TSR_ERR_OUT_OF_MEMORY;
  else
    *out_status = r->turn(r, number, u->next, u->rows, &go_on);
  if (*out_status != TSR_OK)
    return false;
  r->broken = broken_result(u->next, r->carried, u->rows, r->rows, go_on);
  if (r->broken)
    return true;
  for (uint32_t i = 0; i < r->rows; i++)
    u->lists[i]->items[u->lists[i]->item_count++] = u->rows[i];
  if (!carry_on(u))
    return false;
  bool known = true;
  if (!go_on || tsr_known_bool(l, go_on, &known)) {
    *out_more = known;
    return true;
  }
  if (r->rows > 0)
    return false;
  tsr_value now = v_to_scalar(l, tsr_imported_value(l, go_on));
  u->alive = u->alive ? v_and(l, u->alive, now) : now;
  *out_more = true;
  return true;
}

/* Ops that must not run for a turn that is not taken: checks that would fail, bodies, what the host
 * does. */
static bool has_effects(const tsr_ir *ir, tsr_region region) {
  TSR_FOR_EACH_OP (ir, region, op) {
    tsr_opcode code = tsr_op_get(ir, op)->code;
    if (code == TSR_OP_RESIZE_DIM || code == TSR_OP_CHECK || code == TSR_OP_IF ||
        code == TSR_OP_LOOP || tsr_opcode_info(code)->kind == TSR_KIND_HOST)
      return true;
  }
  return false;
}

static void finish_unrolling(unrolling *u, int64_t turns) {
  tsr_repeat *r = u->r;
  for (uint32_t i = 0; i < r->carried; i++)
    r->values[i] = u->values[i];
  for (uint32_t i = 0; i < r->rows; i++) {
    u->lists[i]->dtype = u->lists[i]->items[0]->dtype;
    u->lists[i]->rank = TSR_RANK_ANY;
    u->lists[i]->text = u->lists[i]->items[0]->text;
    r->lists[i] = u->lists[i];
  }
  r->exact = turns == u->turns;
}

static tsr_status unroll(tsr_repeat *r, int64_t turns, bool *out_done) {
  unrolling u;
  tsr_status status = TSR_OK;
  bool more = true, good = true;
  int64_t turn = 0;
  *out_done = false;
  if (!begin_unrolling(&u, r, turns))
    return TSR_ERR_OUT_OF_MEMORY;
  tsr_attempt a = tsr_attempt_begin(r->l, TSR_OP_IF);
  TSR_TRY(tsr_ir_status(r->l->ir));
  while (good && more && turn < turns)
    good = unroll_turn(&u, turn++, &more, &status) && !r->broken;
  if (status != TSR_OK && status != TSR_ERR_UNSUPPORTED)
    return status;
  if (r->broken) {
    tsr_attempt_drop(r->l, &a);
    *out_done = true;
    return TSR_OK;
  }
  if (good && u.alive && has_effects(r->l->ir, tsr_op_get(r->l->ir, a.op)->regions[0]))
    good = false;
  if (!good) {
    tsr_attempt_drop(r->l, &a);
    tsr_attempt_forget_reports(r->l, &a);
    return TSR_OK;
  }
  tsr_attempt_dissolve(r->l, &a);
  finish_unrolling(&u, turn);
  *out_done = true;
  return TSR_OK;
}

/* --- a loop --- */

typedef struct looping {
  tsr_repeat *r;
  finding *found;
  tsr_attempt attempt;
  tsr_value *starts;
  tsr_type *types; /* of the region's arguments */
  tsr_imported **arguments, **values, **rows;
  tsr_value *next;        /* yielded for the carried values */
  tsr_value number, zero; /* the turn's number and its start, when it is asked for */
  tsr_imported *go_on;
} looping;

static bool begin_looping(looping *p, tsr_repeat *r, finding *found) {
  tsr_lower *l = r->l;
  *p = (looping){.r = r, .found = found};
  p->starts = tsr_lower_alloc(l, r->carried, sizeof *p->starts);
  p->types = tsr_lower_alloc(l, r->carried, sizeof *p->types);
  p->arguments = tsr_lower_alloc(l, r->carried, sizeof *p->arguments);
  p->values = tsr_lower_alloc(l, r->carried, sizeof *p->values);
  p->next = tsr_lower_alloc(l, r->carried, sizeof *p->next);
  p->rows = tsr_lower_alloc(l, r->rows, sizeof *p->rows);
  return p->starts && p->types && p->arguments && p->values && p->next && p->rows;
}

/* A value as one of a list or maybe type. */
static tsr_value host_value_as(tsr_lower *l, tsr_imported *x, tsr_type type) {
  if (tsr_type_get(l->ir, type)->level == TSR_LEVEL_LIST)
    return tsr_imported_list_as(l, x, type);
  return tsr_imported_maybe_as(l, x, type);
}

/* The starts in the graph; types of lists and maybes. */
static void make_starts(looping *p) {
  tsr_repeat *r = p->r;
  tsr_lower *l = r->l;
  for (uint32_t i = 0; i < r->carried; i++) {
    if (is_constant(r, i))
      continue;
    tsr_imported *start = r->values[i];
    p->types[i] = p->found->types[i] ? p->found->types[i] : tsr_imported_join(l, start, NULL);
    p->starts[i] =
        p->types[i] ? host_value_as(l, start, p->types[i]) : tsr_imported_value(l, start);
  }
  p->zero = r->counts ? v_i64(l, 0) : 0;
}

/* Lists that were made for an attempt that failed. */
static void drop_starts(looping *p) {
  tsr_lower *l = p->r->l;
  for (uint32_t i = 0; i < p->r->carried; i++) {
    const tsr_imported *start = p->r->values[i];
    if (p->starts[i] && p->types[i] && p->starts[i] != start->value)
      tsr_op_erase(l->ir, tsr_value_get(l->ir, p->starts[i])->def);
  }
}

/* The type of a carried tensor inside (or behind) the loop, with dims of its own where its extents
 * change. */
static tsr_type tensor_type(const looping *p, uint32_t carried, const char *what) {
  tsr_lower *l = p->r->l;
  const tsr_type_info *start = v_type(l, p->starts[carried]);
  tsr_expr dims[TSR_MAX_RANK];
  const char *name = tsr_arena_printf(l->arena, "%s%u", what, carried);
  for (uint32_t i = 0; i < start->rank; i++)
    dims[i] = (p->found->fresh[carried] >> i & 1) != 0 ? tsr_fresh_dim(l, name ? name : what, i)
                                                       : start->dims[i];
  return tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, start->dtype, dims, start->rank);
}

static tsr_value add_carried(const looping *p, tsr_value start, tsr_type type) {
  tsr_ir *ir = p->r->l->ir;
  tsr_op op = p->attempt.op;
  if (op == 0 || start == 0 || type == 0)
    return 0;
  tsr_op_add_operand(ir, op, start);
  return tsr_region_add_arg(ir, tsr_op_get(ir, op)->regions[0], TSR_ROLE_CARRIED, type);
}

static tsr_status begin_body(looping *p) {
  tsr_repeat *r = p->r;
  tsr_lower *l = r->l;
  make_starts(p);
  TSR_TRY(tsr_ir_status(l->ir));
  p->attempt = tsr_attempt_begin(l, TSR_OP_LOOP);
  TSR_TRY(tsr_ir_status(l->ir));
  if (r->limit)
    tsr_op_set_expr(l->ir, p->attempt.op, "limit", r->limit);
  p->number = r->counts ? add_carried(p, p->zero, tsr_value_get(l->ir, p->zero)->type) : 0;
  for (uint32_t i = 0; i < r->carried; i++) {
    p->values[i] = p->arguments[i] = r->values[i];
    if (is_constant(r, i))
      continue;
    tsr_type type = p->types[i] ? p->types[i] : tensor_type(p, i, "in");
    p->values[i] = p->arguments[i] = tsr_imported_new(l, add_carried(p, p->starts[i], type));
    if (!p->values[i])
      return TSR_ERR_OUT_OF_MEMORY;
    p->values[i]->text = r->values[i]->text;
  }
  return tsr_ir_status(l->ir);
}

/* The extent that the model declares for an axis of what a turn gives. It counts where nothing
 * better is known: the host compares it with what there is. -1: none. */
static int64_t declared_extent(const tsr_repeat *r, uint32_t output, uint32_t axis) {
  const tsr_onnx_type *type = r->declared ? r->declared[output].type : NULL;
  const tsr_onnx_shape *shape = type && type->tensor ? type->tensor->shape : NULL;
  if (!shape || axis >= shape->dims.count ||
      !TSR_WIRE_HAS(&shape->dims.items[axis], TSR_ONNX_DIM_VALUE))
    return -1;
  return shape->dims.items[axis].value;
}

static bool agrees(const looping *p, uint32_t carried, uint32_t axis) {
  tsr_lower *l = p->r->l;
  tsr_expr in = p->arguments[carried]->dims[axis], out = p->values[carried]->dims[axis];
  int64_t number;
  if ((p->found->fresh[carried] >> axis & 1) != 0 || in == out)
    return true;
  return tsr_attempt_binds(l, &p->attempt, out) && tsr_expr_is_int(l->ir, in, &number) &&
         number == declared_extent(p->r, carried, axis);
}

/* Whether a turn gives tensor `carried` back with the type that it takes; what differs is noted.
 * TSR_ERR_UNSUPPORTED: it never will. */
static tsr_status compare_tensor(const looping *p, uint32_t carried, bool *out_agrees) {
  tsr_lower *l = p->r->l;
  const tsr_imported *in = p->arguments[carried], *out = p->values[carried];
  *out_agrees = true;
  if (in->dtype != out->dtype)
    return tsr_lower_unsupported(l, "carried value %u is %s before and %s after a step", carried,
                                 tsr_dtype_text(in->dtype), tsr_dtype_text(out->dtype));
  if (in->rank != out->rank)
    return tsr_lower_unsupported(l, "carried value %u has rank %u before and %u after a step",
                                 carried, in->rank, out->rank);
  for (uint32_t i = 0; i < in->rank; i++)
    if (!agrees(p, carried, i)) {
      p->found->fresh[carried] |= (uint64_t)1 << i;
      *out_agrees = false;
    }
  return TSR_OK;
}

static tsr_status compare(const looping *p, bool *out_agree) {
  tsr_repeat *r = p->r;
  tsr_lower *l = r->l;
  *out_agree = true;
  for (uint32_t i = 0; i < r->carried; i++) {
    bool same = true;
    tsr_imported *in = p->arguments[i], *out = p->values[i];
    if (is_constant(r, i))
      continue;
    if (in->kind == TSR_IMPORTED_TENSOR && out->kind == TSR_IMPORTED_TENSOR) {
      TSR_TRY(compare_tensor(p, i, &same));
    } else {
      tsr_type type = tsr_imported_join(l, in, out);
      type = tsr_attempt_outer_type(l, &p->attempt, type);
      if (type == 0)
        return tsr_lower_unsupported(
            l, "carried value %u changes between a tensor, a sequence and an optional", i);
      same = type == tsr_value_get(l->ir, in->value)->type;
      p->found->types[i] = type;
    }
    *out_agree &= same;
  }
  return TSR_OK;
}

/* List `row`, empty before the loop, which a turn appends its row to: the argument, then what is
 * yielded. */
static tsr_value collect(looping *p, uint32_t row, tsr_region body) {
  tsr_lower *l = p->r->l;
  tsr_value x = tsr_imported_value(l, p->rows[row]);
  if (!x)
    return 0;
  const tsr_type_info *info = v_type(l, x);
  tsr_expr dims[TSR_MAX_RANK];
  for (uint32_t i = 0; i < info->rank; i++) {
    int64_t declared = declared_extent(p->r, p->r->carried + row, i);
    bool better = declared >= 0 && tsr_attempt_binds(l, &p->attempt, info->dims[i]);
    dims[i] = better ? e_int(l, declared) : info->dims[i];
  }
  tsr_type type = tsr_type_make(l->ir, TSR_LEVEL_LIST, info->dtype, dims, info->rank);
  type = tsr_attempt_outer_type(l, &p->attempt, type);
  tsr_attempt_leave(l, &p->attempt);
  tsr_value empty = tsr_lower_host(l, TSR_OP_LIST_MAKE, NULL, 0, type);
  if (empty)
    tsr_op_move_before(l->ir, tsr_value_get(l->ir, empty)->def, p->attempt.op);
  tsr_attempt_enter(l, &p->attempt, body);
  tsr_value operands[2] = {add_carried(p, empty, type), x};
  return tsr_lower_host(l, TSR_OP_LIST_INSERT, operands, 2, type);
}

static tsr_value condition(looping *p) {
  tsr_lower *l = p->r->l;
  bool known = true;
  p->r->exact = false;
  if (p->go_on && !tsr_known_bool(l, p->go_on, &known))
    return v_to_scalar(l, tsr_imported_value(l, p->go_on));
  p->r->exact = known && p->r->limit != 0;
  return tsr_graph_scalar_int(l->b, TSR_BOOL, known);
}

static tsr_imported *add_result(const looping *p, tsr_type type, bool text) {
  tsr_lower *l = p->r->l;
  tsr_value value = type ? tsr_op_add_result(l->ir, p->attempt.op, type) : 0;
  tsr_imported *made = tsr_imported_new(l, value);
  if (made)
    made->text = text;
  return made;
}

/* Results in the order of the arguments: the number, carried values, lists. */
static tsr_status add_results(looping *p, const tsr_value *yields, uint32_t first_list) {
  tsr_repeat *r = p->r;
  tsr_lower *l = r->l;
  bool made = !r->counts || add_result(p, tsr_value_get(l->ir, p->zero)->type, false);
  for (uint32_t i = 0; i < r->carried; i++) {
    if (is_constant(r, i))
      continue;
    tsr_type type = p->types[i];
    if (!type)
      type =
          p->found->fresh[i] ? tensor_type(p, i, "out") : tsr_value_get(l->ir, p->starts[i])->type;
    r->values[i] = add_result(p, type, p->values[i]->text);
    made = made && r->values[i];
  }
  for (uint32_t i = 0; i < r->rows; i++) {
    r->lists[i] =
        add_result(p, tsr_value_get(l->ir, yields[first_list + i])->type, p->rows[i]->text);
    made = made && r->lists[i];
  }
  return made ? tsr_ir_status(l->ir) : TSR_ERR_OUT_OF_MEMORY;
}

static tsr_status finish_loop(looping *p) {
  tsr_repeat *r = p->r;
  tsr_lower *l = r->l;
  tsr_region body = tsr_op_get(l->ir, p->attempt.op)->regions[0];
  tsr_value *yields = tsr_lower_alloc(l, 2 + (uint64_t)r->carried + r->rows, sizeof *yields);
  uint32_t count = 0;
  if (!yields)
    return TSR_ERR_OUT_OF_MEMORY;
  yields[count++] = condition(p);
  if (r->counts)
    yields[count++] = v_add(l, p->number, v_i64(l, 1));
  for (uint32_t i = 0; i < r->carried; i++)
    if (!is_constant(r, i))
      yields[count++] = p->types[i] ? host_value_as(l, p->values[i], p->types[i])
                                    : tsr_imported_value(l, p->values[i]);
  uint32_t first_list = count;
  for (uint32_t i = 0; i < r->rows; i++)
    yields[count++] = collect(p, i, body);
  tsr_attempt_leave(l, &p->attempt);
  TSR_TRY(tsr_ir_status(l->ir));
  tsr_attempt_yield(l, body, yields, count);
  return add_results(p, yields, first_list);
}

/* One attempt at the body. `out_again`: with what was found out another one is worth it. */
static tsr_status try_loop(looping *p, bool *out_again) {
  tsr_repeat *r = p->r;
  tsr_lower *l = r->l;
  bool agree = false;
  *out_again = false;
  p->go_on = NULL;
  TSR_TRY(begin_body(p));
  tsr_imported *number = tsr_imported_new(l, p->number);
  tsr_status status =
      number ? r->turn(r, number, p->values, p->rows, &p->go_on) : TSR_ERR_OUT_OF_MEMORY;
  if (status == TSR_OK) {
    r->broken = broken_result(p->values, r->carried, p->rows, r->rows, p->go_on);
    if (!r->broken)
      status = compare(p, &agree);
  }
  for (uint32_t i = 0; status == TSR_OK && !r->broken && i < r->rows; i++)
    if (p->rows[i]->kind != TSR_IMPORTED_TENSOR)
      status = tsr_lower_unsupported(l, "scan output %u is no tensor", i);
  if (status == TSR_OK && agree)
    return finish_loop(p);
  if (status != TSR_OK && status != TSR_ERR_UNSUPPORTED)
    return status;
  tsr_attempt_drop(l, &p->attempt);
  drop_starts(p);
  if (!r->broken)
    tsr_attempt_forget_reports(l, &p->attempt);
  *out_again = status == TSR_OK && !r->broken;
  return status;
}

static tsr_status as_loop(tsr_repeat *r, finding *found) {
  looping p;
  bool again = true;
  if (!begin_looping(&p, r, found))
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; again && i < MOST_ATTEMPTS + r->carried * TSR_MAX_RANK; i++)
    TSR_TRY(try_loop(&p, &again));
  return again ? tsr_lower_unsupported(r->l, "the types of its carried values do not settle")
               : TSR_OK;
}

/* --- both --- */

static bool worth(int64_t turns, uint64_t cost, int64_t most_turns, uint64_t most_nodes) {
  return turns > 0 && turns <= most_turns && (cost ? cost : 1) <= most_nodes / (uint64_t)turns;
}

tsr_status tsr_repeat_run(tsr_repeat *r) {
  tsr_lower *l = r->l;
  int64_t turns = 0;
  bool done = false;
  bool known = r->limit && tsr_expr_is_int(l->ir, r->limit, &turns);
  finding *found = find(r);
  r->lists = tsr_lower_alloc(l, r->rows, sizeof *r->lists);
  if (!found || !r->lists)
    return TSR_ERR_OUT_OF_MEMORY;
  if (known && !found->no_unrolling && worth(turns, r->cost, FEW_NODES, FEW_NODES)) {
    TSR_TRY(unroll(r, turns, &done));
    if (done)
      return TSR_OK;
    found->no_unrolling = true;
  }
  bool may_unroll = known && !found->no_unrolling && worth(turns, r->cost, MOST_TURNS, MOST_NODES);
  if (found->no_loop && !may_unroll)
    found->no_loop = false;
  if (!found->no_loop) {
    tsr_unsupported **end = l->importer->unsupported_end;
    uint32_t reports = l->importer->unsupported_count;
    tsr_status status = as_loop(r, found);
    if (!may_unroll || (status != TSR_ERR_UNSUPPORTED && !r->broken))
      return status;
    found->no_loop = true;
    r->broken = NULL;
    l->importer->unsupported_end = end;
    *end = NULL;
    l->importer->unsupported_count = reports;
  }
  TSR_TRY(unroll(r, turns, &done));
  if (!done && l->reason[0] == '\0')
    return tsr_lower_unsupported(l, "the types of its carried values change");
  return done ? TSR_OK : TSR_ERR_UNSUPPORTED;
}

/* --- what turns read and leave --- */

static tsr_value stack_sequence(tsr_lower *l, const tsr_imported *list, uint32_t axis,
                                bool backward) {
  uint32_t count = (uint32_t)list->item_count;
  tsr_value *parts = tsr_lower_alloc(l, count, sizeof *parts);
  for (uint32_t i = 0; parts && i < count; i++)
    parts[i] =
        v_unsqueeze(l, tsr_imported_value(l, list->items[backward ? count - 1 - i : i]), axis);
  if (!parts || count == 0)
    return 0;
  return count == 1 ? parts[0] : tsr_graph_concat(l->b, parts, count, axis);
}

static tsr_value stack_list(tsr_repeat *r, const tsr_imported *list, uint32_t row, bool backward) {
  tsr_lower *l = r->l;
  tsr_expr dims[TSR_MAX_RANK], wildcard = l->importer->wildcard;
  const char *name = tsr_arena_printf(l->arena, "rows%u", row);
  if (!name)
    return 0;
  dims[0] = r->exact ? r->limit : tsr_fresh_dim(l, name, 0);
  for (uint32_t i = 0; i < list->rank; i++)
    dims[i + 1] = list->dims[i] == wildcard ? tsr_fresh_dim(l, name, i + 1) : list->dims[i];
  tsr_type type = tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, list->dtype, dims, list->rank + 1);
  tsr_value y = tsr_lower_host(l, TSR_OP_LIST_CONCAT, &list->value, 1, type);
  if (!y)
    return 0;
  tsr_op op = tsr_value_get(l->ir, y)->def;
  tsr_op_set_int(l->ir, op, "axis", 0);
  tsr_op_set_bool(l->ir, op, "stack", true);
  if (backward)
    tsr_op_set_bool(l->ir, op, "reverse", true);
  return y;
}

tsr_value tsr_repeat_stack(tsr_repeat *r, uint32_t row, uint32_t axis, bool backward) {
  const tsr_imported *list = r->lists[row];
  if (list->kind == TSR_IMPORTED_SEQUENCE)
    return stack_sequence(r->l, list, axis, backward);
  return v_move_axis(r->l, stack_list(r, list, row, backward), 0, axis);
}

tsr_value tsr_repeat_slice(tsr_lower *l, tsr_value x, uint32_t axis, tsr_imported *number,
                           bool backward) {
  tsr_expr dims[TSR_MAX_RANK], last = tsr_expr_add_int(l->ir, v_dim(l, x, axis), -1);
  uint32_t rank = 0;
  const tsr_content *content = tsr_imported_content(l, number);
  if (!content) {
    tsr_value at = tsr_imported_value(l, number);
    if (backward)
      at = v_sub(l, tsr_size_scalar(l, last), at);
    return tsr_graph_gather(l->b, x, at, axis);
  }
  tsr_expr at = backward ? e_sub(l, last, content->exprs[0]) : content->exprs[0];
  for (uint32_t i = 0; i < v_rank(l, x); i++)
    if (i != axis)
      dims[rank++] = v_dim(l, x, i);
  return v_reshape(l, v_slice_axis(l, x, axis, at, e_int(l, 1)), dims, rank);
}
