/* When registers can be emptied: behind the last use of what they hold. A use inside of a region
 * counts as one of the step that the region belongs to, in the region that makes the value, because
 * the region may run again. */
#include "runtime/host/host.h"

enum { NO_REGION = UINT32_MAX };

typedef struct finder {
  host_exec *self;
  const tsr_program *program;
  uint32_t *value_regions;               /* by value: where it is made */
  uint32_t *owner_steps, *owner_regions; /* by region: whose it is */
} finder;

/* Of `value` by `step` (HOST_LAST_AT_END: by the yield) of `region`. */
static void use(const finder *f, uint32_t value, uint32_t step, uint32_t region) {
  host_exec *self = f->self;
  bool captured = false;
  if (f->value_regions[value] == NO_REGION) /* a constant, which stays */
    return;
  for (; region != f->value_regions[value]; region = f->owner_regions[region]) {
    step = f->owner_steps[region];
    captured = true;
  }
  self->captured[value] = captured || (self->last_use[value] == step && self->captured[value]);
  self->last_use[value] = step;
}

static void walk_region(const finder *f, uint32_t index) {
  const tsr_program *p = f->program;
  const tsr_host_region *region = &p->host_regions[index];
  for (uint32_t i = 0; i < region->param_count; i++) {
    uint32_t value = p->arguments[region->first_param + i];
    f->value_regions[value] = index;
    f->self->last_use[value] = HOST_LAST_AT_END;
  }
  for (uint32_t s = region->first_step; s < region->first_step + region->step_count; s++) {
    const tsr_host_step *step = &p->host_steps[s];
    for (uint32_t i = 0; i < step->operand_count; i++)
      use(f, p->arguments[step->first_operand + i], s, index);
    for (uint32_t i = 0; i < step->region_count; i++) {
      f->owner_steps[step->first_region + i] = s;
      f->owner_regions[step->first_region + i] = index;
      walk_region(f, step->first_region + i);
    }
    for (uint32_t i = 0; i < step->result_count; i++) {
      uint32_t value = p->arguments[step->first_result + i];
      f->value_regions[value] = index;
      f->self->last_use[value] = s; /* for now: nobody uses it */
    }
  }
  for (uint32_t i = 0; i < region->yield_count; i++)
    use(f, p->arguments[region->first_yield + i], HOST_LAST_AT_END, index);
}

static host_dying *dying_list(const finder *f, uint32_t value) {
  uint32_t step = f->self->last_use[value];
  return step != HOST_LAST_AT_END ? &f->self->step_ends[step]
                                  : &f->self->region_ends[f->value_regions[value]];
}

/* Counts, places, fills. */
static void list_dying(const finder *f) {
  const tsr_program *p = f->program;
  host_exec *self = f->self;
  uint32_t at = 0;
  for (uint32_t v = 0; v < p->host_value_count; v++)
    if (f->value_regions[v] != NO_REGION)
      dying_list(f, v)->first++;
  for (uint32_t i = 0; i < p->host_step_count + p->host_region_count; i++) {
    host_dying *list =
        i < p->host_step_count ? &self->step_ends[i] : &self->region_ends[i - p->host_step_count];
    uint32_t count = list->first;
    list->first = at;
    at += count;
  }
  for (uint32_t v = 0; v < p->host_value_count; v++) {
    host_dying *list;
    if (f->value_regions[v] == NO_REGION)
      continue;
    list = dying_list(f, v);
    self->dying[list->first + list->count++] = v;
  }
}

tsr_status tsr_host_find_last_uses(host_exec *self) {
  const tsr_program *p = self->program;
  tsr_arena *arena = &self->exec->memory;
  finder f = {.self = self, .program = p};
#define TABLE(where, field, count)                                                                 \
  (((where).field = tsr_arena_alloc_array(arena, (count), sizeof *(where).field)) != NULL)
  if (!TABLE(f, value_regions, p->host_value_count) ||
      !TABLE(f, owner_steps, p->host_region_count) ||
      !TABLE(f, owner_regions, p->host_region_count) ||
      !TABLE(*self, last_use, p->host_value_count) ||
      !TABLE(*self, captured, p->host_value_count) || !TABLE(*self, dying, p->host_value_count) ||
      !TABLE(*self, step_ends, p->host_step_count) ||
      !TABLE(*self, region_ends, p->host_region_count))
    return tsr_exec_fail(self->exec, TSR_ERR_OUT_OF_MEMORY, "out of memory while creating an exec");
#undef TABLE
  for (uint32_t i = 0; i < p->host_value_count; i++) { /* constants stay like this */
    f.value_regions[i] = NO_REGION;
    self->last_use[i] = HOST_LAST_AT_END;
  }
  walk_region(&f, 0);
  list_dying(&f);
  return TSR_OK;
}
