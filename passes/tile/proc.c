/* Strategy "proc": the body as it is, scalars being tiles of rank 0. Outer par variables become the
 * grid, inner ones loops of a task while it is small. */
#include "passes/tile/nest.h"
#include <string.h>

enum { MAX_GRID = 4, POINT_CYCLES = 50 };

static uint32_t grid_rank(const tsr_nest *nest, double grain) {
  double work = POINT_CYCLES;
  for (uint32_t i = nest->par_count; i < nest->axis_count; i++)
    work *= (double)nest->axes[i].size;
  uint32_t rank = nest->par_count;
  while (rank > 0 && work * (double)nest->axes[rank - 1].size <= grain)
    work *= (double)nest->axes[--rank].size;
  return rank < MAX_GRID ? rank : MAX_GRID;
}

static int64_t step_of(const tsr_ir *ir, tsr_value index) {
  int64_t step = 1;
  tsr_expr_is_int(ir, tsr_value_get(ir, index)->step, &step);
  return step;
}

tsr_status tsr_tile_proc(tsr_nest *nest, const tsr_schedule *schedule, tsr_region region,
                         tsr_diag *diag) {
  tsr_ir *ir = nest->ir;
  const uint32_t rank = grid_rank(nest, (double)schedule->knobs[TSR_KNOB_GRAIN]);
  const uint32_t size = nest->value_count + 1;
  tsr_value *map = tsr_arena_alloc_array(nest->arena, size, sizeof *map);
  if (map == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in tiling");
  for (uint32_t i = 0; i < nest->buffer_count; i++)
    map[nest->buffers[i].value] = nest->buffers[i].arg;
  for (uint32_t i = 0; i < nest->axis_count; i++) {
    const tsr_value_data *data = tsr_value_get(ir, nest->axes[i].variable);
    const int64_t step = step_of(ir, nest->axes[i].variable);
    if (i < rank) {
      map[nest->axes[i].variable] =
          tsr_region_add_index(ir, region, TSR_ROLE_GRID, data->lo, data->hi, step);
      continue;
    }
    tsr_op loop = tsr_op_append(ir, region, TSR_OP_FOR);
    region = tsr_op_add_region(ir, loop);
    map[nest->axes[i].variable] =
        tsr_region_add_index(ir, region, TSR_ROLE_LOOP, data->lo, data->hi, step);
  }
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, nest->op)->regions[0], op)
    tsr_op_clone(ir, op, region, map, size);
  return tsr_ir_status(ir);
}
