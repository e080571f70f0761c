#include "passes/tile/contract_dot.h"
#include "passes/tile/default.h"
#include "passes/tile/group.h"
#include "passes/tile/space_form.h"
#include "passes/tile/split.h"
#include <string.h>

enum { TRIES = 256, MUTATION_TRIES = 48, PROBES = 200, MOST_PARTS = 256, MOST_CPU_PARTS = 64 };

/* --- values --- */

void tsr_space_add_value(tsr_value_list *values, int64_t value) {
  uint32_t at = values->count;
  while (at > 0 && values->list[at - 1] > value)
    at--;
  if ((at > 0 && values->list[at - 1] == value) || values->count == TSR_SPACE_VALUES)
    return;
  memmove(&values->list[at + 1], &values->list[at], (values->count - at) * sizeof *values->list);
  values->list[at] = value;
  values->count++;
}

void tsr_space_add_shares(tsr_value_list *values, int64_t size, int64_t least) {
  for (int64_t blocks = 1; values->count < TSR_SPACE_VALUES - 1;) {
    const int64_t share = (size + blocks - 1) / blocks;
    if (share < least)
      break;
    tsr_space_add_value(values, share);
    if (share <= 1)
      return;
    blocks += blocks < 6 ? 1 : blocks < 16 ? 2 : blocks / 4;
  }
  tsr_space_add_value(values, size < least ? size : least);
}

/* The factor between the two; of small or negative numbers, their distance. */
static double distance(int64_t a, int64_t b) {
  const double x = (double)(a < b ? a : b), y = (double)(a < b ? b : a);
  return x > 0 ? y / x : 1 + y - x;
}

static uint32_t nearest_at(const tsr_value_list *values, int64_t value) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < values->count; i++)
    if (distance(values->list[i], value) < distance(values->list[best], value))
      best = i;
  return best;
}

int64_t tsr_space_nearest(const tsr_value_list *values, int64_t value) {
  return values->count == 0 ? value : values->list[nearest_at(values, value)];
}

/* --- the space --- */

const tsr_space_part *tsr_space_part_of(const tsr_space *space, const tsr_schedule *schedule) {
  for (uint32_t i = 0; i < space->part_count; i++)
    if (space->parts[i].parts == schedule->knobs[TSR_KNOB_SPLIT])
      return &space->parts[i];
  return NULL;
}

tsr_nest *tsr_space_nest_of(const tsr_space *space, const tsr_schedule *schedule) {
  if (schedule->strategy == TSR_STRATEGY_CONTRACT)
    return space->matched;
  if (schedule->knobs[TSR_KNOB_SPLIT] <= 1)
    return space->nest;
  const tsr_space_part *part = tsr_space_part_of(space, schedule);
  return part == NULL ? NULL : part->first;
}

/* Values of the body that are alive at one time, at most, where it runs in its order. */
static tsr_status count_live(tsr_space *space) {
  const tsr_nest *nest = space->nest;
  const tsr_region region = tsr_op_get(nest->ir, nest->op)->regions[0];
  const uint32_t values = nest->value_count + 1;
  uint32_t *made = tsr_arena_alloc_array(&space->scratch, values, sizeof *made);
  uint32_t *used = tsr_arena_alloc_array(&space->scratch, values, sizeof *used);
  uint32_t count = 1;
  if (made == NULL || used == NULL)
    return tsr_taking_out_of_memory(&space->take);
  TSR_FOR_EACH_OP (nest->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(nest->ir, op);
    for (uint32_t i = 0; i < data->operand_count; i++)
      if (!data->operands[i].subscripted && data->operands[i].value < values)
        used[data->operands[i].value] = count;
    for (uint32_t i = 0; i < data->result_count; i++)
      if (nest->varies[data->results[i]] != 0)
        made[data->results[i]] = count;
    count++;
  }
  int32_t *change = tsr_arena_alloc_array(&space->scratch, count + 1, sizeof *change);
  if (change == NULL)
    return tsr_taking_out_of_memory(&space->take);
  for (uint32_t v = 0; v < values; v++)
    if (made[v] > 0 && used[v] > made[v]) {
      change[made[v]]++;
      change[used[v]]--;
    }
  int32_t live = 0;
  space->live = 1;
  for (uint32_t i = 0; i < count; i++) {
    live += change[i];
    space->live = (double)live > space->live ? (double)live : space->live;
  }
  return TSR_OK;
}

/* Cuts the block, looks at the two, and takes them out again: their nests stay. */
static tsr_status add_part(tsr_space *space, int64_t parts, uint32_t axis) {
  tsr_space_part part = {.parts = parts};
  tsr_op first = 0, second = 0;
  tsr_schedule whole = space->first;
  whole.strategy = TSR_STRATEGY_NEST;
  whole.knobs[TSR_KNOB_SPLIT] = parts;
  tsr_status status = tsr_take_cut(&space->take, space->block, parts, axis, &first, &second);
  if (status == TSR_OK)
    status = tsr_take_nest(&space->take, first, &part.first);
  if (status == TSR_OK)
    status = tsr_take_nest(&space->take, second, &part.second);
  if (status == TSR_OK) {
    tsr_default_part(part.first, &whole, &part.start);
    tsr_schedule_default(part.second, &part.end);
    tsr_default_uncut(part.second, &part.end);
    (void)tsr_mma_match(part.first);
    space->parts[space->part_count++] = part;
    status = tsr_ir_status(space->take.ir);
  }
  if (second != 0)
    tsr_op_erase(space->take.ir, second);
  if (first != 0)
    tsr_op_erase(space->take.ir, first);
  return status;
}

static tsr_status add_parts(tsr_space *space) {
  const bool cuda = space->take.target->kind == TSR_TARGET_CUDA;
  const int64_t most = cuda ? MOST_PARTS : MOST_CPU_PARTS;
  if (!tsr_split_possible(space->nest))
    return TSR_OK;
  for (int64_t parts = 2; parts <= most && space->part_count < TSR_SPACE_PARTS; parts *= 2) {
    const int axis = tsr_split_axis(space->nest, parts, false);
    if (axis < 0)
      break;
    TSR_TRY(add_part(space, parts, (uint32_t)axis));
  }
  return TSR_OK;
}

static void add_form(tsr_space *space, tsr_strategy strategy, const tsr_atom *atom) {
  if (space->form_count == TSR_SPACE_FORMS)
    return;
  tsr_space_form *form = &space->forms[space->form_count++];
  *form = (tsr_space_form){.strategy = strategy, .atom = atom};
  switch (strategy) {
  case TSR_STRATEGY_NEST:
    tsr_space_nest_values(space, form);
    break;
  case TSR_STRATEGY_CONTRACT:
    tsr_space_contract_values(space, form);
    break;
  case TSR_STRATEGY_GROUP:
    tsr_space_group_values(space, form);
    break;
  case TSR_STRATEGY_PROC:
    for (int64_t grain = 1250; grain <= 640000; grain *= 2)
      tsr_space_add_value(&form->knobs[TSR_KNOB_GRAIN], grain);
    break;
  default:
    tsr_space_mma_values(space, form);
  }
}

/* Multiply-adds by parts: a row by tiles has them beside it, and none is by them alone. */
static bool only_stands_in(const tsr_atom *atom) {
  return atom != NULL && atom->kind == TSR_TARGET_CPU && atom->parts > 1 && atom->k == 1;
}

static void add_forms(tsr_space *space) {
  if (space->nest->proc) {
    add_form(space, TSR_STRATEGY_PROC, NULL);
    return;
  }
  add_form(space, TSR_STRATEGY_NEST, NULL);
  if (space->contraction != NULL)
    add_form(space, TSR_STRATEGY_CONTRACT, NULL);
  const tsr_atom *groups[TSR_CONTRACT_ATOMS];
  uint32_t count = space->narrow == NULL ? 0 : tsr_contract_atoms(space->matched, groups);
  for (uint32_t i = 0; i < count; i++)
    if (!only_stands_in(groups[i]))
      add_form(space, TSR_STRATEGY_CONTRACT, groups[i]);
  const tsr_atom *atoms[TSR_MMA_ATOMS];
  if (space->problem == NULL || !tsr_mma_atoms(space->nest, atoms, &count))
    return;
  for (uint32_t i = 0; i < count; i++)
    if (atoms[i]->place != TSR_ATOM_MEMORY)
      add_form(space, TSR_STRATEGY_MMA, atoms[i]);
    else if (space->problem->k.fixed)
      add_form(space, TSR_STRATEGY_WGMMA, atoms[i]);
}

static int form_of(const tsr_space *space, tsr_strategy strategy, const tsr_atom *atom) {
  for (uint32_t i = 0; i < space->form_count; i++)
    if (space->forms[i].strategy == strategy && space->forms[i].atom == atom)
      return (int)i;
  return -1;
}

static bool sample_form(tsr_space *space, const tsr_space_form *form, uint32_t tries,
                        uint64_t *random, tsr_schedule *out);

/* Forms of which nothing is legal go. */
static void drop_empty_forms(tsr_space *space) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < space->form_count; i++) {
    uint64_t random = 1;
    tsr_schedule schedule;
    const bool is_first = space->forms[i].strategy == space->first.strategy &&
                          space->forms[i].atom == space->first.atom;
    if (!is_first && !sample_form(space, &space->forms[i], PROBES, &random, &schedule))
      continue;
    if (is_first)
      space->first_form = kept;
    if (kept != i)
      space->forms[kept] = space->forms[i];
    kept++;
  }
  space->form_count = kept;
}

/* One form; no nest of a block is read. */
static tsr_status fill_group(tsr_space *space) {
  tsr_taking *take = &space->take;
  if (!tsr_group_possible(take->ir, take->target, space->block))
    return tsr_fail(take->diag, TSR_ERR_UNSUPPORTED, "the group is no kernel of this target");
  tsr_group_default(take->ir, take->target, space->block, &space->first);
  space->group = true;
  space->uncut = space->first;
  space->forms = tsr_arena_alloc_array(&take->arena, 1, sizeof *space->forms);
  if (space->forms == NULL)
    return tsr_taking_out_of_memory(take);
  add_form(space, TSR_STRATEGY_GROUP, NULL);
  take->diag = &space->diag;
  return tsr_ir_status(take->ir);
}

static tsr_status fill(tsr_space *space) {
  tsr_taking *take = &space->take;
  TSR_TRY(tsr_taking_begin(take));
  if (tsr_op_get(take->ir, space->block)->code == TSR_OP_GROUP)
    return fill_group(space);
  TSR_TRY(tsr_take_nest(take, space->block, &space->nest));
  TSR_TRY(tsr_take_nest(take, space->block, &space->matched));
  tsr_schedule_default(space->matched, &space->first);
  tsr_schedule tiles;
  if (only_stands_in(space->first.atom) && tsr_contract_dot_parts(space->matched, &tiles))
    space->first = tiles;
  if (!space->nest->proc && take->target->kind == TSR_TARGET_CUDA)
    space->problem = tsr_mma_match(space->nest);
  else if (!space->nest->proc)
    space->contraction = tsr_contract_match(space->matched);
  if (space->contraction != NULL)
    space->narrow = tsr_contract_narrow(space->matched);
  space->live = 1;
  if (!space->nest->proc)
    TSR_TRY(count_live(space));
  TSR_TRY(add_parts(space));
  space->uncut = space->first;
  tsr_default_uncut(space->nest, &space->uncut);
  if (space->first.strategy == TSR_STRATEGY_NEST && space->first.knobs[TSR_KNOB_SPLIT] > 1) {
    const tsr_space_part *part = tsr_space_part_of(space, &space->first);
    space->first = part != NULL ? part->start : space->uncut;
  }
  /* From here on nests keep nothing: what they need for an answer goes with it. */
  space->nest->arena = space->matched->arena = &space->scratch;
  for (uint32_t i = 0; i < space->part_count; i++)
    space->parts[i].first->arena = space->parts[i].second->arena = &space->scratch;
  space->forms = tsr_arena_alloc_array(&take->arena, TSR_SPACE_FORMS, sizeof *space->forms);
  if (space->forms == NULL)
    return tsr_taking_out_of_memory(take);
  add_forms(space);
  take->diag = &space->diag;
  drop_empty_forms(space);
  tsr_arena_reset(&space->scratch);
  return tsr_ir_status(take->ir);
}

tsr_status tsr_space_create(tsr_ir *ir, tsr_op block, const tsr_target *target,
                            const tsr_allocator *allocator, tsr_diag *diag, tsr_space **out_space) {
  *out_space = NULL;
  if (allocator == NULL)
    allocator = tsr_allocator_default();
  tsr_space *space = allocator->allocate(allocator->context, sizeof *space, 16);
  if (space == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory for the space of schedules");
  *space = (tsr_space){.allocator = allocator,
                       .take = {.ir = ir, .target = target, .diag = diag},
                       .block = block,
                       .rates = target};
  tsr_arena_init(&space->scratch, allocator);
  const tsr_status status = fill(space);
  if (status != TSR_OK) {
    tsr_space_destroy(space);
    return diag != NULL && diag->status != TSR_OK
               ? status
               : tsr_fail(diag, status, "the space of schedules cannot be made");
  }
  *out_space = space;
  return TSR_OK;
}

void tsr_space_destroy(tsr_space *space) {
  if (space == NULL)
    return;
  tsr_arena_reset(&space->scratch);
  tsr_taking_end(&space->take);
  space->allocator->release(space->allocator->context, space, sizeof *space);
}

void tsr_space_calibrate(tsr_space *space, const tsr_target *rates) {
  space->rates = rates;
  if (!space->group)
    space->nest->target = space->matched->target = rates;
  for (uint32_t i = 0; i < space->part_count; i++)
    space->parts[i].first->target = space->parts[i].second->target = rates;
}

void tsr_space_default(tsr_space *space, tsr_schedule *out_schedule) {
  *out_schedule = space->first;
}

/* --- one schedule --- */

/* Knobs in their ranges; 0 stands for one that the target does not use. */
static bool in_range(const tsr_schedule *schedule) {
  for (unsigned i = 0; i < TSR_KNOB_COUNT; i++) {
    const tsr_knob_info *info = tsr_knob_get((tsr_knob)i);
    const int64_t value = schedule->knobs[i];
    const bool used = (info->strategies & 1u << schedule->strategy) != 0;
    if (used ? value != 0 && (value < info->least || value > info->greatest) : value != 0)
      return false;
  }
  return schedule->knobs[TSR_KNOB_UPTO] == 0;
}

static bool fits(const tsr_space *space, const tsr_schedule *schedule) {
  switch (schedule->strategy) {
  case TSR_STRATEGY_NEST:
    return tsr_space_nest_fits(space, schedule);
  case TSR_STRATEGY_CONTRACT:
    return tsr_space_contract_fits(space, schedule);
  case TSR_STRATEGY_PROC:
    return schedule->knobs[TSR_KNOB_GRAIN] >= 1;
  default:
    return tsr_space_mma_fits(space, schedule);
  }
}

static bool is_legal(tsr_space *space, const tsr_schedule *schedule) {
  if (tsr_schedule_equal(schedule, &space->first))
    return true;
  if (space->group) {
    space->diag = (tsr_diag){0};
    return in_range(schedule) && tsr_group_check(schedule, "", &space->diag) == TSR_OK &&
           tsr_space_group_fits(space, schedule);
  }
  tsr_nest *nest = tsr_space_nest_of(space, schedule);
  int axis = -1;
  if (nest == NULL || !in_range(schedule) || !fits(space, schedule) ||
      form_of(space, schedule->strategy, schedule->atom) < 0)
    return false;
  space->diag = (tsr_diag){0};
  return tsr_take_split(&space->take, space->nest, schedule, "", &axis) == TSR_OK &&
         tsr_take_check(&space->take, nest, schedule, "") == TSR_OK;
}

bool tsr_space_is_legal(tsr_space *space, const tsr_schedule *schedule) {
  const bool legal = is_legal(space, schedule);
  tsr_arena_reset(&space->scratch);
  return legal;
}

static void settle(const tsr_space *space, tsr_schedule *inout) {
  switch (inout->strategy) {
  case TSR_STRATEGY_NEST:
    tsr_space_nest_settle(space, inout);
    break;
  case TSR_STRATEGY_CONTRACT:
    tsr_space_contract_settle(space, inout);
    break;
  case TSR_STRATEGY_PROC:
  case TSR_STRATEGY_GROUP:
    break;
  default:
    tsr_space_mma_settle(space, inout);
  }
}

/* --- moving about --- */

/* Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014), figure 17. */
uint64_t tsr_space_next_random(uint64_t *random) {
  uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static uint32_t below(uint64_t *random, uint32_t count) {
  return (uint32_t)((tsr_space_next_random(random) >> 32) * count >> 32);
}

static bool sample_form(tsr_space *space, const tsr_space_form *form, uint32_t tries,
                        uint64_t *random, tsr_schedule *out) {
  for (uint32_t i = 0; i < tries; i++) {
    tsr_schedule schedule = {.strategy = form->strategy, .atom = form->atom};
    for (unsigned k = 0; k < TSR_KNOB_COUNT; k++)
      if (form->knobs[k].count > 0)
        schedule.knobs[k] = form->knobs[k].list[below(random, form->knobs[k].count)];
    settle(space, &schedule);
    if (!is_legal(space, &schedule))
      continue;
    *out = schedule;
    return true;
  }
  return false;
}

/* The default's form as often as all others. */
static const tsr_space_form *pick_form(const tsr_space *space, uint64_t *random) {
  const bool first = below(random, 2) == 0;
  const uint32_t any = below(random, space->form_count);
  return &space->forms[first ? space->first_form : any];
}

bool tsr_space_sample(tsr_space *space, uint64_t *random, tsr_schedule *out_schedule) {
  bool found = sample_form(space, pick_form(space, random), TRIES, random, out_schedule);
  if (!found)
    found = sample_form(space, &space->forms[space->first_form], TRIES, random, out_schedule);
  tsr_arena_reset(&space->scratch);
  return found;
}

/* A cut block's variables have other numbers: its schedules start from its own default. */
static void change_sides(const tsr_space *space, int64_t split, tsr_schedule *inout) {
  const tsr_schedule *from = &space->uncut;
  tsr_schedule asked = *inout;
  asked.knobs[TSR_KNOB_SPLIT] = split;
  const tsr_space_part *part = tsr_space_part_of(space, &asked);
  if (split > 1 && part != NULL)
    from = &part->start;
  if (from->strategy == TSR_STRATEGY_NEST)
    *inout = *from;
  inout->knobs[TSR_KNOB_SPLIT] = split;
}

static void set_knob(const tsr_space *space, tsr_knob knob, int64_t value, tsr_schedule *inout) {
  const bool was_cut = inout->knobs[TSR_KNOB_SPLIT] > 1;
  if (knob == TSR_KNOB_SPLIT && inout->strategy == TSR_STRATEGY_NEST && was_cut != (value > 1))
    change_sides(space, value, inout);
  else
    inout->knobs[knob] = value;
}

static void move_knob(const tsr_space *space, const tsr_space_form *form, uint64_t *random,
                      tsr_schedule *inout) {
  tsr_knob movable[TSR_KNOB_COUNT];
  uint32_t count = 0;
  for (unsigned k = 0; k < TSR_KNOB_COUNT; k++)
    if (form->knobs[k].count > 1)
      movable[count++] = (tsr_knob)k;
  if (count == 0)
    return;
  const tsr_knob knob = movable[below(random, count)];
  const tsr_value_list *values = &form->knobs[knob];
  const uint32_t at = nearest_at(values, inout->knobs[knob]);
  const uint32_t kind = below(random, 8);
  uint32_t to = below(random, values->count);
  if (kind > 0) { /* a neighbour, or the one behind it */
    const uint32_t step = kind > 2 ? 1 : 2;
    const bool up = below(random, 2) == 0;
    to = up ? at + step : at < step ? 0 : at - step;
    to = to < values->count ? to : values->count - 1;
  }
  set_knob(space, knob, values->list[to], inout);
}

bool tsr_space_mutate(tsr_space *space, uint64_t *random, const tsr_schedule *from,
                      tsr_schedule *out_schedule) {
  const int own = form_of(space, from->strategy, from->atom);
  bool found = false;
  for (uint32_t i = 0; i < MUTATION_TRIES && !found; i++) {
    if (own < 0 || (space->form_count > 1 && below(random, 12) == 0)) {
      found = sample_form(space, &space->forms[below(random, space->form_count)], 16, random,
                          out_schedule) &&
              !tsr_schedule_equal(out_schedule, from);
      continue;
    }
    *out_schedule = *from;
    for (uint32_t moves = 1 + below(random, 3); moves > 0; moves--)
      move_knob(space, &space->forms[own], random, out_schedule);
    settle(space, out_schedule);
    found = !tsr_schedule_equal(out_schedule, from) && is_legal(space, out_schedule);
  }
  tsr_arena_reset(&space->scratch);
  return found;
}

bool tsr_space_cross(tsr_space *space, uint64_t *random, const tsr_schedule *a,
                     const tsr_schedule *b, tsr_schedule *out_schedule) {
  bool found = false;
  if (a->strategy != b->strategy || a->atom != b->atom)
    return false;
  const bool other_side = (a->knobs[TSR_KNOB_SPLIT] > 1) != (b->knobs[TSR_KNOB_SPLIT] > 1);
  for (uint32_t i = 0; i < MUTATION_TRIES && !found; i++) {
    *out_schedule = *a;
    for (unsigned k = 0; k < TSR_KNOB_COUNT; k++) {
      const bool axis =
          k == TSR_KNOB_VECTOR || k == TSR_KNOB_FOLD || k == TSR_KNOB_SIDE || k == TSR_KNOB_SPLIT;
      if (below(random, 2) == 0 && !(axis && other_side && a->strategy == TSR_STRATEGY_NEST))
        out_schedule->knobs[k] = b->knobs[k];
    }
    settle(space, out_schedule);
    found = is_legal(space, out_schedule);
  }
  tsr_arena_reset(&space->scratch);
  return found;
}

bool tsr_space_adopt(tsr_space *space, const tsr_schedule *foreign, tsr_schedule *out_schedule) {
  const int form = form_of(space, foreign->strategy, foreign->atom);
  *out_schedule = *foreign;
  if (form < 0 || tsr_space_is_legal(space, foreign))
    return form >= 0;
  *out_schedule = (tsr_schedule){.strategy = foreign->strategy, .atom = foreign->atom};
  for (unsigned k = 0; k < TSR_KNOB_COUNT; k++) {
    const tsr_value_list *values = &space->forms[form].knobs[k];
    if (values->count > 0)
      out_schedule->knobs[k] = tsr_space_nearest(values, foreign->knobs[k]);
  }
  settle(space, out_schedule);
  const bool legal = is_legal(space, out_schedule);
  tsr_arena_reset(&space->scratch);
  return legal;
}
