/* contract by wgmma: groups of four warps multiply operands that lie in shared memory, in rows of
 * exactly as many bytes as their swizzle is wide (wider tiles are several panels of such rows). The
 * products are under way until a wait; the variable of the accumulators is theirs until then. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum { GROUP = 128, CORE = 8 };

/* An operand in place. Offsets count elements. */
typedef struct side {
  const tsr_operand *operand;
  const tsr_type_info *buffer;
  tsr_cu_tile tile;     /* its shape; no layout */
  uint32_t along, deep; /* lanes of the side (rows of a, columns of b) and of the depth */
  uint32_t width;       /* elements of a row */
  uint32_t bytes;       /* of an element */
  bool depth_major;     /* rows run along the depth */
  int64_t leading, stride;
} side;

static const struct {
  const char *atom, *macro, *text;
  bool any_major; /* rows may run along the side, too */
} names[] = {{"wgmma.f16", "F16", "f16", true},       {"wgmma.bf16", "BF16", "bf16", true},
             {"wgmma.tf32", "TF32", "tf32", false},   {"wgmma.s8", "S8", "s8", false},
             {"wgmma.f8e4m3", "E4M3", "e4m3", false}, {"wgmma.f8e5m2", "E5M2", "e5m2", false}};

static uint32_t find_name(tsr_cu *e, const tsr_cu_mma *mma) {
  for (uint32_t i = 0; i < sizeof names / sizeof *names; ++i)
    if (!strcmp(names[i].atom, mma->atom->text))
      return i;
  tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' has no code on CUDA", mma->atom->text);
  return 0;
}

/* --- where the elements lie --- */

static void refuse(tsr_cu *e, const char *why) {
  tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "an operand cannot be read in place: %s", why);
}

static tsr_expr element_number(tsr_cu *e, const side *s, int64_t along, int64_t deep) {
  const tsr_expr from[2] = {tsr_expr_lane(e->ir, s->along), tsr_expr_lane(e->ir, s->deep)};
  const tsr_expr to[2] = {tsr_expr_int(e->ir, along), tsr_expr_int(e->ir, deep)};
  tsr_expr number = tsr_expr_int(e->ir, 0);
  for (uint32_t i = 0; i < s->buffer->rank; ++i)
    number = tsr_expr_add(e->ir, tsr_expr_mul(e->ir, number, s->buffer->dims[i]),
                          tsr_expr_substitute(e->ir, s->operand->subscripts[i], from, to, 2));
  return number;
}

/* How far behind the operand's first element an element lies. */
static int64_t offset_of(tsr_cu *e, const side *s, int64_t along, int64_t deep) {
  int64_t offset = 0;
  tsr_expr from = element_number(e, s, 0, 0), to = element_number(e, s, along, deep);
  if (!tsr_expr_is_int(e->ir, tsr_expr_sub(e->ir, to, from), &offset))
    refuse(e, "distances in its buffer are no numbers");
  return offset;
}

/* Do `count` elements from (along, deep) on go up by `step`, in steps of `by` along one of both? */
static bool goes_by(tsr_cu *e, const side *s, bool deep, uint32_t by, uint32_t count,
                    int64_t step) {
  for (uint32_t i = 1; i < count; ++i)
    if (offset_of(e, s, deep ? 0 : (int64_t)i * by, deep ? (int64_t)i * by : 0) != i * step)
      return false;
  return true;
}

/* No subscript may mix both lanes, so that distances along one do not depend on the other. */
static void check_lanes(tsr_cu *e, const side *s) {
  const tsr_expr lanes[2] = {tsr_expr_lane(e->ir, s->along), tsr_expr_lane(e->ir, s->deep)};
  const tsr_expr zero = tsr_expr_int(e->ir, 0);
  for (uint32_t i = 0; i < s->buffer->rank; ++i) {
    tsr_expr own = s->operand->subscripts[i];
    if (tsr_expr_substitute(e->ir, own, &lanes[0], &zero, 1) != own &&
        tsr_expr_substitute(e->ir, own, &lanes[1], &zero, 1) != own)
      refuse(e, "a subscript mixes both lanes");
  }
}

/* The part of the operand that one instruction reads: `rows` along the side, the atom's depth. */
static void find_major(tsr_cu *e, side *s, const tsr_cu_mma *mma, uint32_t rows, bool any_major) {
  const uint32_t depth = mma->atom->k;
  check_lanes(e, s);
  s->depth_major = goes_by(e, s, true, 1, depth < s->width ? depth : s->width, 1);
  if (s->depth_major) {
    s->leading = 0;
    s->stride = CORE * (int64_t)s->width;
    if (!goes_by(e, s, false, 1, rows, s->width) || depth > s->width)
      refuse(e, "its rows do not lie one behind the other");
    return;
  }
  if (!any_major || !goes_by(e, s, false, 1, rows < s->width ? rows : s->width, 1) ||
      !goes_by(e, s, true, 1, depth, s->width))
    refuse(e, any_major ? "neither side nor depth is contiguous" : "the depth is not contiguous");
  s->stride = CORE * (int64_t)s->width;
  s->leading = rows > s->width ? offset_of(e, s, s->width, 0) : s->stride;
  if (rows > s->width &&
      (rows % s->width != 0 || !goes_by(e, s, false, s->width, rows / s->width, s->leading)))
    refuse(e, "its panels do not lie at equal distances");
}

static side open_side(tsr_cu *e, const tsr_cu_mma *mma, uint32_t number, bool any_major) {
  side s = {.operand = &e->op->operands[number]};
  s.buffer = tsr_value_type(e->ir, s.operand->value);
  s.bytes = tsr_dtype_bits(s.buffer->dtype) / 8;
  s.along = number;
  s.deep = 1 - number;
  s.tile.rank = 2;
  s.tile.extents[1] = number == 0 ? mma->m : mma->k;
  s.tile.extents[0] = number == 0 ? mma->k : mma->n;
  uint32_t swizzle = tsr_cu_swizzle(e, s.operand->value);
  int64_t row = 0;
  if (!s.operand->subscripted || s.buffer->level != TSR_LEVEL_L1)
    refuse(e, "it is not in l1");
  if (s.operand->subscript_count != s.buffer->rank || s.buffer->rank < 2)
    refuse(e, "its rank does not fit");
  if (swizzle == 0 || !tsr_expr_is_int(e->ir, s.buffer->dims[s.buffer->rank - 1], &row) ||
      row * s.bytes != swizzle)
    refuse(e, "its rows are not as wide as its swizzle");
  s.width = (uint32_t)row;
  find_major(e, &s, mma, number == 0 ? 64 : mma->n_step, any_major);
  return s;
}

/* The operand's part of this group of warps, as a descriptor. */
static const char *descriptor(tsr_cu *e, const side *s, uint32_t groups, uint32_t groups_before,
                              uint32_t extent, const char *name) {
  tsr_cu_tile place = s->tile;
  const uint32_t axis = 1 - s->along;
  const uint32_t swizzle = tsr_cu_swizzle(e, s->operand->value);
  place.at[0] = place.at[1] = "0";
  if (groups > 1) {
    const char *number = tsr_cu_format(e, "thread / %u", GROUP * groups_before);
    if (GROUP * groups_before * groups < e->threads)
      number = tsr_cu_format(e, "%s %% %u", number, groups);
    place.at[axis] = tsr_cu_format(e, "%s * %u", number, extent / groups);
  }
  tsr_cu_line(e, "const tsr_u64 %s = tsr_wgmma_descriptor(%s, %lld, %lld, TSR_SWIZZLE_%u);", name,
              tsr_cu_address(e, s->operand->value, s->operand->subscripts, &place),
              (long long)(s->leading * s->bytes), (long long)(s->stride * s->bytes), swizzle);
  return name;
}

static const char *advanced(tsr_cu *e, const side *s, const char *name, int64_t along,
                            int64_t deep) {
  int64_t bytes = offset_of(e, s, along, deep) * s->bytes;
  if (bytes % 16 != 0 || bytes < 0)
    refuse(e, "its parts are not 16 bytes apart");
  return bytes ? tsr_cu_format(e, "tsr_wgmma_descriptor_advance(%s, %lld)", name, (long long)bytes)
               : name;
}

/* --- the op --- */

/* The function in front of the kernel, once per text. */
static const char *instance(tsr_cu *e, uint32_t name, const tsr_cu_mma *mma, char a, char b) {
  const char *function =
      tsr_cu_format(e, "tsr_wgmma_%s_64x%u_%c%c", names[name].text, mma->n_step, a, b);
  const char *guard = tsr_cu_format(e, "#ifndef HAVE_%s\n", function);
  if (e->instances && strstr(e->instances, guard))
    return function;
  const char *arguments = names[name].any_major ? tsr_cu_format(e, "%u, %c, %c", mma->n_step, a, b)
                                                : tsr_cu_format(e, "%u", mma->n_step);
  e->instances = tsr_cu_format(e, "%s%s#define HAVE_%s\nTSR_WGMMA_%s(%s)\n#endif\n",
                               e->instances ? e->instances : "", guard, function, names[name].macro,
                               arguments);
  return function;
}

/* Room for one more element of a list. */
static void *grown(tsr_cu *e, void *list, uint32_t count, uint32_t *capacity, size_t size) {
  if (count < *capacity)
    return list;
  uint32_t larger = *capacity ? 2 * *capacity : 8;
  void *moved = tsr_cu_alloc(e, larger, size);
  if (count)
    memcpy(moved, list, count * size);
  *capacity = larger;
  return moved;
}

void tsr_cu_wgmma_note(tsr_cu *e, const tsr_cu_tile *tile) {
  for (uint32_t i = 0; i < e->accumulator_count; ++i)
    if (e->accumulators[i] == tile)
      return;
  e->accumulators = grown(e, e->accumulators, e->accumulator_count, &e->accumulator_capacity,
                          sizeof *e->accumulators);
  e->accumulators[e->accumulator_count++] = tile;
}

static void note_issue(tsr_cu *e, const tsr_cu_tile *tile) {
  e->under_way =
      grown(e, e->under_way, e->under_way_count, &e->under_way_capacity, sizeof *e->under_way);
  e->under_way[e->under_way_count++] = (tsr_cu_issue){tile, e->indent};
}

void tsr_cu_contract_wgmma(tsr_cu *e, const tsr_cu_mma *mma) {
  const uint32_t name = find_name(e, mma);
  const tsr_cu_layout layout = tsr_cu_mma_accumulators(mma);
  const bool registers = !e->op->operands[0].subscripted, any = names[name].any_major;
  const char *words = NULL, *da = NULL;
  side a = {0}, b = open_side(e, mma, 1, any);
  if (registers && !any)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' takes no operand from registers here",
                mma->atom->text);
  if (!registers)
    a = open_side(e, mma, 0, any);
  const tsr_cu_tile *acc = tsr_cu_accumulators(e, &layout);
  tsr_cu_wgmma_note(e, acc);
  if (registers)
    words = tsr_cu_operand_words(e, 0, mma);
  tsr_cu_line(e, "{");
  if (!registers)
    da = descriptor(e, &a, mma->warps_m, 1, mma->m, "da");
  const char *db = descriptor(e, &b, mma->warps_n, mma->warps_m, mma->n, "db");
  const char *function = instance(e, name, mma,
                                  registers       ? 'r'
                                  : a.depth_major ? 'k'
                                                  : 'm',
                                  b.depth_major ? 'k' : 'm');
  const uint32_t columns = mma->n_step / 2;
  tsr_cu_line(e, "tsr_wgmma_fence();");
  for (uint32_t k = 0; k < mma->k_blocks; ++k)
    for (uint32_t i = 0; i < mma->m_blocks; ++i)
      for (uint32_t j = 0; j < mma->n_blocks; ++j) {
        const int64_t deep = (int64_t)k * mma->atom->k;
        const char *left = registers
                               ? tsr_cu_format(e, "%s + %u", words, (i * mma->k_blocks + k) * 4)
                               : advanced(e, &a, da, (int64_t)i * 64, deep);
        tsr_cu_line(e, "%s(%s + %u, %s, %s, 1);", function, acc->name,
                    (i * mma->n_blocks + j) * columns, left,
                    advanced(e, &b, db, (int64_t)j * mma->n_step, deep));
      }
  tsr_cu_line(e, "tsr_wgmma_commit();");
  tsr_cu_line(e, "}");
  note_issue(e, acc);
}

/* --- waiting --- */

static bool among(const tsr_cu_issue *list, uint32_t count, const tsr_cu_tile *tile) {
  for (uint32_t i = 0; i < count; ++i)
    if (list[i].tile == tile)
      return true;
  return false;
}

/* The compiler must not move uses of the accumulators before the wait. */
static void hold(tsr_cu *e, const tsr_cu_tile *tile) {
  tsr_cu_line(e, "tsr_wgmma_hold_%s(%s, %u);", tile->dtype == TSR_I32 ? "s32" : "f32", tile->name,
              tsr_cu_registers(tile));
}

/* A wait inside of a block may not be met: for the text behind it what was issued outside of the
 * block may still be under way. */
void tsr_cu_wgmma_wait(tsr_cu *e, uint32_t pending) {
  const uint32_t left = pending < e->under_way_count ? pending : e->under_way_count;
  const uint32_t done = e->under_way_count - left;
  uint32_t kept = 0;
  tsr_cu_line(e, "tsr_wgmma_wait(%u);", pending);
  for (uint32_t i = 0; i < e->accumulator_count; ++i) {
    const tsr_cu_tile *tile = e->accumulators[i];
    if (pending == 0 ||
        (among(e->under_way, done, tile) && !among(e->under_way + done, left, tile)))
      hold(e, tile);
  }
  for (uint32_t i = 0; i < e->under_way_count; ++i)
    if (i >= done || e->under_way[i].indent < e->indent)
      e->under_way[kept++] = e->under_way[i];
  e->under_way_count = kept;
}

void tsr_cu_wgmma_settle(tsr_cu *e, const tsr_cu_tile *tile) {
  if (among(e->under_way, e->under_way_count, tile))
    tsr_cu_wgmma_wait(e, 0);
}

void tsr_cu_wgmma_forget(tsr_cu *e) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < e->accumulator_count; ++i)
    if (e->accumulators[i]->indent <= e->indent)
      e->accumulators[kept++] = e->accumulators[i];
  e->accumulator_count = kept;
  kept = 0;
  for (uint32_t i = 0; i < e->under_way_count; ++i)
    if (e->under_way[i].tile->indent <= e->indent)
      e->under_way[kept++] = e->under_way[i];
  e->under_way_count = kept;
}
