/* When registers can be emptied: behind the last use of what they hold. A use inside of a region
 * counts as one of the step that the region belongs to, in the region that makes the value, because
 * the region may run again. The regions of an if do not: where the if is the last use, the last one
 * inside of each of them is one, too, so that a list may be changed in place there. */
#include "runtime/host/host.h"

enum { NO_REGION = UINT32_MAX, AT_END = UINT32_MAX };

/* The last use of a value within a region, so far. */
typedef struct last_use {
  struct last_use *next; /* of the same value in another region */
  uint32_t region;
  uint32_t step; /* AT_END: by the region's yield */
  bool captured; /* inside of that step's regions */
} last_use;

typedef struct finder {
  host_exec *self;
  const tsr_program *program;
  tsr_arena scratch;
  uint32_t *value_regions, *value_steps; /* by value: where it is made; AT_END: by the region */
  last_use **uses;                       /* by value */
  uint32_t *owner_steps, *owner_regions; /* by region: whose it is */
  bool failed;
} finder;

static last_use *find_use(const finder *f, uint32_t value, uint32_t region) {
  last_use *use = f->uses[value];
  while (use != NULL && use->region != region)
    use = use->next;
  return use;
}

static void note_use(finder *f, uint32_t value, uint32_t region, uint32_t step, bool captured) {
  last_use *use = find_use(f, value, region);
  if (use == NULL) {
    use = (last_use *)tsr_arena_alloc(&f->scratch, sizeof *use);
    f->failed |= use == NULL;
    if (use == NULL)
      return;
    *use = (last_use){f->uses[value], region, step, false};
    f->uses[value] = use;
  }
  use->captured = captured || (use->step == step && use->captured);
  use->step = step;
}

/* Of `value` by `step` of `region`. */
static void add_use(finder *f, uint32_t value, uint32_t step, uint32_t region) {
  bool captured = false;
  if (f->value_regions[value] == NO_REGION) /* a constant, which stays */
    return;
  for (; region != f->value_regions[value]; region = f->owner_regions[region]) {
    note_use(f, value, region, step, captured);
    step = f->owner_steps[region];
    captured = true;
  }
  note_use(f, value, region, step, captured);
}

static void walk_region(finder *f, uint32_t index) {
  const tsr_program *p = f->program;
  const tsr_host_region *region = &p->host_regions[index];
  for (uint32_t i = 0; i < region->param_count; i++) {
    f->value_regions[p->arguments[region->first_param + i]] = index;
    f->value_steps[p->arguments[region->first_param + i]] = AT_END;
  }
  for (uint32_t s = region->first_step; s < region->first_step + region->step_count; s++) {
    const tsr_host_step *step = &p->host_steps[s];
    for (uint32_t i = 0; i < step->operand_count; i++)
      add_use(f, p->arguments[step->first_operand + i], s, index);
    for (uint32_t i = 0; i < step->region_count; i++) {
      f->owner_steps[step->first_region + i] = s;
      f->owner_regions[step->first_region + i] = index;
      walk_region(f, step->first_region + i);
    }
    for (uint32_t i = 0; i < step->result_count; i++) {
      f->value_regions[p->arguments[step->first_result + i]] = index;
      f->value_steps[p->arguments[step->first_result + i]] = s;
    }
  }
  for (uint32_t i = 0; i < region->yield_count; i++)
    add_use(f, p->arguments[region->first_yield + i], AT_END, index);
}

/* ---- Lists of what dies where: counted, placed, filled ---- */

static void add_death(const finder *f, uint32_t value, uint32_t step, uint32_t region, bool direct,
                      bool fill) {
  host_exec *self = f->self;
  host_deaths *list = step != AT_END ? &self->step_ends[step] : &self->region_ends[region];
  if (fill)
    self->deaths[list->first + list->count++] = (host_death){value, direct};
  else
    list->first++;
}

static void add_deaths(const finder *f, uint32_t value, const last_use *use, bool fill) {
  const tsr_host_step *step;
  add_death(f, value, use->step, use->region, !use->captured, fill);
  if (use->step == AT_END || !use->captured)
    return;
  step = &f->program->host_steps[use->step];
  for (uint32_t i = 0; step->op == TSR_HOST_IF && i < step->region_count; i++) {
    const last_use *inside = find_use(f, value, step->first_region + i);
    if (inside != NULL && inside->step != AT_END)
      add_deaths(f, value, inside, fill);
  }
}

static void list_deaths(const finder *f, bool fill) {
  for (uint32_t v = 0; v < f->program->host_value_count; v++) {
    const last_use *use;
    if (f->value_regions[v] == NO_REGION)
      continue;
    use = find_use(f, v, f->value_regions[v]);
    if (use != NULL)
      add_deaths(f, v, use, fill);
    else
      add_death(f, v, f->value_steps[v], f->value_regions[v], false, fill);
  }
}

static uint64_t place_lists(host_deaths *lists, uint32_t count, uint64_t at) {
  for (uint32_t i = 0; i < count; i++) {
    uint64_t deaths = lists[i].first;
    lists[i].first = at;
    at += deaths;
  }
  return at;
}

static bool make_lists(const finder *f) {
  const tsr_program *p = f->program;
  host_exec *self = f->self;
  uint64_t total;
  list_deaths(f, false);
  total = place_lists(self->step_ends, p->host_step_count, 0);
  total = place_lists(self->region_ends, p->host_region_count, total);
  self->deaths =
      (host_death *)tsr_arena_alloc_array(&self->exec->memory, total, sizeof *self->deaths);
  if (self->deaths != NULL)
    list_deaths(f, true);
  return self->deaths != NULL;
}

static bool find(finder *f) {
  const tsr_program *p = f->program;
#define TABLE(where, field, arena, count)                                                          \
  (((where).field = tsr_arena_alloc_array((arena), (count), sizeof *(where).field)) != NULL)
  if (!TABLE(*f, value_regions, &f->scratch, p->host_value_count) ||
      !TABLE(*f, value_steps, &f->scratch, p->host_value_count) ||
      !TABLE(*f, uses, &f->scratch, p->host_value_count) ||
      !TABLE(*f, owner_steps, &f->scratch, p->host_region_count) ||
      !TABLE(*f, owner_regions, &f->scratch, p->host_region_count) ||
      !TABLE(*f->self, step_ends, &f->self->exec->memory, p->host_step_count) ||
      !TABLE(*f->self, region_ends, &f->self->exec->memory, p->host_region_count))
    return false;
#undef TABLE
  for (uint32_t i = 0; i < p->host_value_count; i++) /* constants stay like this */
    f->value_regions[i] = NO_REGION;
  walk_region(f, 0);
  return !f->failed && make_lists(f);
}

tsr_status tsr_host_find_last_uses(host_exec *self) {
  finder f = {.self = self, .program = self->program};
  bool found;
  tsr_arena_init(&f.scratch, self->exec->allocator);
  found = find(&f);
  tsr_arena_reset(&f.scratch);
  if (!found)
    return tsr_exec_fail(self->exec, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
  return TSR_OK;
}

bool tsr_host_dies(const host_exec *self, uint32_t step, uint32_t value) {
  const host_deaths *list = &self->step_ends[step];
  for (uint64_t i = 0; i < list->count; i++)
    if (self->deaths[list->first + i].value == value)
      return self->deaths[list->first + i].direct;
  return false;
}
