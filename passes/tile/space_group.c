/* Schedules of a group: how many rows all blocks finish before the next ones, and tasks. */
#include "passes/tile/default.h"
#include "passes/tile/group.h"
#include "passes/tile/space_form.h"

enum { MOST_TASKS_PER_THREAD = 64 };

/* Where nothing is the same for two rows, they gain nothing from being at hand together. */
void tsr_space_group_values(tsr_space *space, tsr_space_form *form) {
  const tsr_target *target = space->take.target;
  tsr_value_list *rows = &form->knobs[TSR_KNOB_ROWS], *grain = &form->knobs[TSR_KNOB_GRAIN];
  tsr_group_facts facts;
  if (!tsr_group_describe(space->take.ir, target, space->block, &facts))
    return;
  const int64_t all = greatest((int64_t)facts.rows, 1);
  const int64_t most = least(all, tsr_knob_get(TSR_KNOB_ROWS)->greatest);
  tsr_space_add_value(rows, space->first.knobs[TSR_KNOB_ROWS]);
  if (facts.shared_bytes > 0) {
    for (int64_t count = 1; count <= most; count *= 2)
      tsr_space_add_value(rows, count);
    tsr_space_add_shares(rows, most, least(most, 4));
  }
  const double work = facts.cycles * facts.outer * facts.rows;
  const int64_t threads = greatest((int64_t)target->threads, 1);
  tsr_space_add_value(grain, space->first.knobs[TSR_KNOB_GRAIN]);
  for (int64_t tasks = 1; tasks <= MOST_TASKS_PER_THREAD; tasks *= 2) {
    tsr_space_add_value(grain, greatest((int64_t)(work / (double)tasks), 1));
    tsr_space_add_value(grain, greatest((int64_t)(work / (double)(tasks * threads)), 1));
  }
}

/* What stands in scratch has room in the second cache, as long as there is a choice. */
bool tsr_space_group_fits(tsr_space *space, const tsr_schedule *schedule) {
  const tsr_target *target = space->take.target;
  tsr_group_facts facts;
  const int64_t rows = schedule->knobs[TSR_KNOB_ROWS];
  return tsr_group_describe(space->take.ir, target, space->block, &facts) &&
         (rows == 1 || rows == space->first.knobs[TSR_KNOB_ROWS] ||
          (double)rows * facts.scratch_bytes <= (double)target->l2_bytes);
}
