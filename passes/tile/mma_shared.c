/* How the operands' tiles lie in shared memory: derived from how they come and how they are read.
 */
#include "passes/tile/mma_emit.h"
#include <string.h>

enum { LINE_BYTES = 128, RUN_BYTES = 16, LEAST_ASYNC = 4 };

static bool is_fma(const tsr_atom *atom) {
  return strncmp(atom->text, "fma.", 4) == 0;
}

static int64_t bytes_of(tsr_dtype dtype) {
  return tsr_dtype_bits(dtype) / 8;
}

int64_t tsr_mma_step(const tsr_atom *atom) {
  return is_fma(atom) ? RUN_BYTES / bytes_of(atom->a) : (int64_t)atom->k;
}

/* ldmatrix moves rows of 16 bytes; turning them is for elements of 2 bytes only. */
static void choose_read(const tsr_atom *atom, tsr_mma_ring *ring) {
  const int64_t bytes = bytes_of(ring->operand.dtype);
  const bool along_depth = ring->operand.along_depth;
  ring->fragment = "vector";
  if (is_fma(atom)) {
    ring->read = along_depth ? (tsr_banks_access){RUN_BYTES, 1, 1, 0}
                             : (tsr_banks_access){RUN_BYTES, 8, 1, 0};
  } else if (along_depth || bytes == 2) {
    ring->read = (tsr_banks_access){RUN_BYTES, 1, 1, 0};
    ring->fragment = "ldmatrix";
  } else {
    ring->read = (tsr_banks_access){(uint32_t)bytes, 8, bytes == 1 ? 4 : 1, 0};
  }
}

static tsr_banks_access write_of(const tsr_mma_ring *ring, int64_t row_bytes) {
  const int64_t piece = ring->async ? ring->operand.run_bytes : RUN_BYTES;
  const int64_t across = row_bytes / piece < 32 ? row_bytes / piece : 32;
  return (tsr_banks_access){(uint32_t)piece, across > 0 ? (uint32_t)across : 1, 1, 0};
}

/* Panels of 128 bytes with a swizzle where whole rows cannot have one and it reads no worse. */
static void choose_layout(tsr_mma_ring *ring) {
  const int64_t bytes = bytes_of(ring->operand.dtype), row = ring->length * bytes;
  const tsr_banks_access write = write_of(ring, row);
  tsr_banks_choose((uint32_t)row, &ring->read, &write, &ring->layout);
  ring->panel = ring->length;
  if (row <= LINE_BYTES || row % LINE_BYTES != 0)
    return;
  const tsr_banks_layout panel = {LINE_BYTES, LINE_BYTES};
  if (tsr_banks_worst(&panel, LINE_BYTES, &ring->read) <=
      tsr_banks_worst(&ring->layout, (uint32_t)row, &ring->read)) {
    ring->layout = panel;
    ring->panel = LINE_BYTES / bytes;
  }
}

void tsr_mma_ring_of(tsr_nest *nest, const tsr_mma_problem *problem, const tsr_schedule *schedule,
                     int which, tsr_mma_ring *out_ring) {
  const int64_t *knobs = schedule->knobs;
  *out_ring = (tsr_mma_ring){.which = which,
                             .side = which == 0 ? &problem->m : &problem->n,
                             .tile = knobs[which == 0 ? TSR_KNOB_BM : TSR_KNOB_BN],
                             .depth = knobs[TSR_KNOB_BK]};
  tsr_mma_ring *ring = out_ring;
  tsr_mma_operand_of(nest, problem, schedule->atom, which, &ring->operand);
  ring->rows = ring->operand.along_depth ? ring->tile : ring->depth;
  ring->length = ring->operand.along_depth ? ring->depth : ring->tile;
  ring->async = ring->operand.plain && ring->operand.run_bytes >= LEAST_ASYNC;
  choose_read(schedule->atom, ring);
  choose_layout(ring);
  ring->place_bytes = ring->rows * (ring->length / ring->panel) * (int64_t)ring->layout.row_bytes;
}

tsr_value tsr_mma_alloc(tsr_nest *nest, tsr_region region, tsr_mma_ring *ring, int64_t places) {
  tsr_ir *ir = nest->ir;
  const int64_t bytes = bytes_of(ring->operand.dtype);
  tsr_expr dims[TSR_MAX_RANK] = {tsr_expr_int(ir, places)};
  uint32_t rank = 1;
  if (ring->panel != ring->length)
    dims[rank++] = tsr_expr_int(ir, ring->length / ring->panel);
  dims[rank++] = tsr_expr_int(ir, ring->rows);
  for (uint32_t i = 0; i < ring->gap; i++)
    dims[rank++] = tsr_expr_int(ir, 1);
  dims[rank++] = tsr_expr_int(ir, ring->layout.row_bytes / bytes);
  tsr_op op = tsr_op_append(ir, region, TSR_OP_ALLOC);
  if (ring->layout.swizzle != 0)
    tsr_op_set_int(ir, op, "swizzle", ring->layout.swizzle);
  ring->buffer =
      tsr_op_add_result(ir, op, tsr_type_make(ir, TSR_LEVEL_L1, ring->operand.dtype, dims, rank));
  return ring->buffer;
}

uint32_t tsr_mma_subscripts(tsr_nest *nest, const tsr_mma_ring *ring, tsr_expr slot, tsr_expr tile,
                            tsr_expr depth, tsr_expr *out_subs) {
  tsr_ir *ir = nest->ir;
  const tsr_expr row = ring->operand.along_depth ? tile : depth;
  const tsr_expr at = ring->operand.along_depth ? depth : tile;
  uint32_t rank = 0;
  out_subs[rank++] = slot;
  if (ring->panel != ring->length)
    out_subs[rank++] = tsr_expr_floordiv_int(ir, at, ring->panel);
  out_subs[rank++] = row;
  for (uint32_t i = 0; i < ring->gap; i++)
    out_subs[rank++] = tsr_expr_int(ir, 0);
  out_subs[rank++] = ring->panel != ring->length ? tsr_expr_mod_int(ir, at, ring->panel) : at;
  return rank;
}
