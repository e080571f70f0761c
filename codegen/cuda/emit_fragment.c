/* fragment, and loads for tensor cores: a tile into the registers that tensor cores take it from.
 * ldmatrix brings 8 x 8 matrices of 16-bit elements, or 8 rows of 16 bytes of any others, where
 * every row is provably in one piece; with .trans the rows run along the side (rows of a, columns
 * of b) instead of the depth. All else is loaded element by element, into the same places. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum { ROW_BYTES = 16, WARP = 32 };

typedef struct fragment {
  tsr_cu_access at;
  tsr_expr subscripts[TSR_MAX_RANK];
  uint32_t depth, side; /* axes */
  uint32_t fields;      /* elements of a word */
} fragment;

/* A box without lanes gets them: its axes are the buffer's last ones. */
static void take_subscripts(tsr_cu *e, const tsr_operand *operand, uint32_t rank, fragment *f) {
  uint32_t count = operand->subscript_count;
  bool has_lanes = e->op->code != TSR_OP_FRAGMENT;
  for (uint32_t i = 0; i < count; ++i)
    has_lanes = has_lanes || tsr_expr_has(e->ir, operand->subscripts[i], TSR_INDEX_LANE);
  for (uint32_t i = 0; i < count; ++i) {
    f->subscripts[i] = operand->subscripts[i];
    if (!has_lanes && i + rank >= count)
      f->subscripts[i] =
          tsr_expr_add(e->ir, f->subscripts[i], tsr_expr_lane(e->ir, i + rank - count));
  }
}

/* --- ldmatrix --- */

static uint32_t blocks_along(const tsr_cu_tile *tile, uint32_t axis, uint32_t size) {
  return tsr_cu_registers_along(tile, axis) / size;
}

/* Where the warp's part of the side starts; NULL: all warps have all of it. */
static const char *warp_start(tsr_cu *e, const tsr_cu_tile *tile, uint32_t side) {
  const tsr_cu_axis *axis = &tile->layout.axis[side];
  const tsr_cu_digit *last = &axis->digits[axis->count - 1];
  if (last->stride < WARP)
    return NULL;
  const char *number = tsr_cu_format(e, "thread / %u", last->stride);
  if (last->stride * last->size < e->threads)
    number = tsr_cu_format(e, "%s %% %u", number, last->size);
  return tsr_cu_format(e, "%s * %u", number, tile->extents[side] / last->size);
}

/* How the matrices of one instruction, numbered by `part`, lie: 2 along the side, 2 along the
 * depth, or 4 along the depth. */
typedef struct matrices {
  uint32_t count, along_depth;
  bool side_first;                /* bit 0 of `part` goes along the side */
  uint32_t side_loop, depth_loop; /* instructions along both */
} matrices;

static matrices plan_matrices(const fragment *f) {
  const tsr_cu_tile *tile = &f->at.tile;
  uint32_t depths = blocks_along(tile, f->depth, 2 * f->fields);
  if (tile->layout.use == TSR_CU_OPERAND_A)
    return (matrices){4, 2, true, blocks_along(tile, f->side, 2), depths};
  uint32_t sides = blocks_along(tile, f->side, 1);
  if (depths % 2 == 0)
    return (matrices){4, 4, false, sides, depths / 2};
  if (depths == 1 && sides % 2 == 0)
    return (matrices){4, 2, false, sides / 2, 1};
  return (matrices){2, 2, false, sides, depths};
}

static const char *plus(tsr_cu *e, const char *a, const char *b) {
  return a && b ? tsr_cu_format(e, "%s + %s", a, b) : a ? a : b ? b : "0";
}

/* `part` taken apart: the matrix's number along the side or the depth; NULL: always 0. */
static const char *part_text(const matrices *m, bool side) {
  if (side)
    return m->count == m->along_depth ? NULL : m->side_first ? "part % 2" : "part / 2";
  if (m->count == m->along_depth)
    return "part";
  return m->side_first ? "part / 2" : "part % 2";
}

static const char *scaled(tsr_cu *e, const char *text, uint32_t by) {
  return text ? tsr_cu_format(e, "%s * %u", text, by) : NULL;
}

static void open_loop(tsr_cu *e, const char *name, uint32_t count) {
  if (count == 1)
    return;
  tsr_cu_line(e, "TSR_UNROLL");
  tsr_cu_line(e, "for (int %s = 0; %s < %u; ++%s) {", name, name, count, name);
}

static void close_loop(tsr_cu *e, uint32_t count) {
  if (count > 1)
    tsr_cu_line(e, "}");
}

/* The instructions follow each other in the array of words: those along the depth first. */
static void load_matrices(tsr_cu *e, const fragment *f, const tsr_cu_tile *result, bool trans) {
  const matrices m = plan_matrices(f);
  const uint32_t across = f->fields * 4; /* elements of 16 bytes */
  const uint32_t side_step = 8 * (m.count / m.along_depth), depth_step = across * m.along_depth;
  tsr_cu_tile place = f->at.tile;
  tsr_cu_line(e, "{");
  tsr_cu_line(e, "const int row = thread %% 8, part = thread / 8 %% %u;", m.count);
  open_loop(e, "i", m.side_loop);
  open_loop(e, "k", m.depth_loop);
  const char *side = warp_start(e, &f->at.tile, f->side), *depth = NULL;
  side = plus(e, side, m.side_loop > 1 ? scaled(e, "i", side_step) : NULL);
  side = strcmp(side, "0") ? side : NULL;
  side = plus(e, side, scaled(e, part_text(&m, true), 8));
  side = strcmp(side, "0") ? side : NULL;
  depth = plus(e, m.depth_loop > 1 ? scaled(e, "k", depth_step) : NULL,
               scaled(e, part_text(&m, false), across));
  place.at[f->side] = trans ? (side ? side : "0") : plus(e, side, "row");
  place.at[f->depth] = trans ? plus(e, depth, "row") : depth;
  const char *to = result->name;
  if (m.depth_loop > 1 && m.side_loop > 1)
    to = tsr_cu_format(e, "%s + (i * %u + k) * %u", to, m.depth_loop, m.count);
  else if (m.depth_loop > 1 || m.side_loop > 1)
    to = tsr_cu_format(e, "%s + %s * %u", to, m.depth_loop > 1 ? "k" : "i", m.count);
  tsr_cu_line(e, "tsr_ldmatrix_x%u%s(%s, %s);", m.count, trans ? "_trans" : "", to,
              tsr_cu_address(e, f->at.value, f->subscripts, &place));
  close_loop(e, m.depth_loop);
  close_loop(e, m.side_loop);
  tsr_cu_line(e, "}");
}

/* ldmatrix takes rows by warps; in groups of four warps these are not the last digit of the side.
 */
static bool warps_are_last(const fragment *f) {
  const tsr_cu_axis *axis = &f->at.tile.layout.axis[f->side];
  for (uint32_t i = 0; i + 1 < axis->count; ++i)
    if (axis->digits[i].stride >= WARP)
      return false;
  return true;
}

/* Every row of 16 bytes along the axis is in one piece, in shared memory. */
static bool rows_fit(tsr_cu *e, const fragment *f, uint32_t axis) {
  const tsr_type_info *buffer = f->at.buffer;
  const uint32_t row = ROW_BYTES * 8 / tsr_dtype_bits(buffer->dtype);
  return warps_are_last(f) && (buffer->level == TSR_LEVEL_L1 || buffer->level == TSR_LEVEL_L2) &&
         tsr_cu_run(e, f->at.value, f->subscripts, &f->at.tile, axis, row) == row &&
         tsr_cu_never_outside(e, f->at.value, f->subscripts, &f->at.tile);
}

/* --- words by plain loads --- */

/* Word by word: in one load where its elements are neighbours, else element by element. */
static void load_words(tsr_cu *e, fragment *f, const tsr_cu_tile *result) {
  const unsigned bits = tsr_dtype_bits(f->at.dtype);
  const bool whole =
      tsr_cu_run(e, f->at.value, f->subscripts, &f->at.tile, f->depth, f->fields) == f->fields;
  const bool shared = f->at.buffer->level == TSR_LEVEL_L1 || f->at.buffer->level == TSR_LEVEL_L2;
  const char *condition = NULL;
  tsr_cu_begin_runs(e, &f->at.tile, true, f->depth, f->fields);
  const char *place = tsr_cu_register_number(e, result, NULL);
  const char *word = tsr_cu_format(e, "%s[(%s) / %u]", result->name, place, f->fields);
  tsr_cu_line(e, "tsr_u32 word = 0;");
  if (!whole) {
    tsr_cu_line(e, "TSR_UNROLL");
    tsr_cu_line(e, "for (int f = 0; f < %u; ++f) {", f->fields);
    f->at.tile.at[f->depth] = tsr_cu_format(e, "x%u + f", f->depth);
  }
  const char *element = tsr_cu_place(e, &f->at, &condition);
  if (whole)
    element = tsr_cu_format(e, "tsr_load_%s_4(%s).x[0]", shared ? "shared" : "global",
                            tsr_cu_address_of(e, element));
  else
    element = tsr_cu_format(e, "(tsr_u32)(tsr_u%u)%s << f * %u", bits, element, bits);
  const char *set = whole ? "=" : "|=";
  if (!strcmp(condition, "1"))
    tsr_cu_line(e, "word %s %s;", set, element);
  else {
    tsr_cu_line(e, "if (%s)", condition);
    tsr_cu_line(e, "  word %s %s;", set, element);
  }
  if (!whole)
    tsr_cu_line(e, "}");
  f->at.tile.at[f->depth] = NULL;
  tsr_cu_line(e, "%s = word;", word);
  tsr_cu_end(e);
}

/* --- the op --- */

/* Was the layout made for elements of this size? The contraction may be of converted ones. */
static bool made_for(const fragment *f) {
  const tsr_cu_digit *first = &f->at.tile.layout.axis[f->depth].digits[0];
  return f->fields == 1 ? first->stride == 1 : first->stride == 0 && first->size == f->fields;
}

/* In the registers of mma the elements of a word lie side by side. */
void tsr_cu_fragment(tsr_cu *e) {
  const tsr_operand *operand = &e->op->operands[0];
  const tsr_value value = e->op->results[0];
  const char *atom = tsr_op_string(e->ir, e->op_id, "atom");
  fragment f = {0};
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
  shape.layout = tsr_cu_wanted(e, value, &shape);
  take_subscripts(e, operand, shape.rank, &f);
  tsr_cu_access_init(e, &f.at, operand, f.subscripts, &shape);
  if (shape.dtype != f.at.dtype)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "a fragment has the dtype of its buffer");
  f.depth = shape.layout.use == TSR_CU_OPERAND_A ? 0 : 1;
  f.side = 1 - f.depth;
  f.fields = 32 / tsr_dtype_bits(shape.dtype);
  if (shape.layout.use == TSR_CU_NO_USE || f.fields == 0 || !made_for(&f)) {
    tsr_cu_load_tile(e, &f.at, tsr_cu_declare_result(e, NULL), 0);
    return;
  }
  bool matrix = atom && !strcmp(atom, "ldmatrix");
  bool along = matrix && rows_fit(e, &f, f.depth);
  bool across = matrix && !along && f.fields == 2 && rows_fit(e, &f, f.side);
  if (f.fields == 1 && !along) {
    tsr_cu_load_tile(e, &f.at, tsr_cu_declare_result(e, NULL), 0);
    return;
  }
  const tsr_cu_tile *tile = tsr_cu_declare_packed(e, &shape, tsr_cu_name(e, value, "v"));
  tsr_cu_bind(e, value, tile);
  if (along || across)
    load_matrices(e, &f, tile, across);
  else
    load_words(e, &f, tile);
}
