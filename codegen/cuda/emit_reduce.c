/* Reductions over axes of tiles. A thread reduces its own registers in their order, then threads
 * exchange: by shuffles inside a warp, through shared memory beyond it. Of two partial results the
 * one of the lower thread stands left, so that all copies have the same bits, and these depend on
 * the tile's shape and the block's size only. f16 and bf16 sums are kept in f32 until the end. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum { MAX_TUPLE = 8 };

typedef struct reduction {
  uint32_t count; /* of tiles in the tuple */
  const char *combine;
  tsr_region region; /* 0: `combine` names the operation */
  bool reduced[TSR_MAX_RANK];
  const tsr_cu_tile *tiles[MAX_TUPLE], *results[MAX_TUPLE]; /* results: as accumulated */
} reduction;

static void read_axes(tsr_cu *e, reduction *r, uint32_t rank) {
  const tsr_attr *attr = tsr_op_attr(e->ir, e->op_id, "axes");
  int64_t axes[TSR_MAX_RANK];
  uint32_t count = 0;
  for (uint32_t axis = 0; axis < rank; ++axis)
    r->reduced[axis] = attr == NULL;
  if (!attr)
    return;
  bool fits = tsr_op_ints(e->ir, e->op_id, "axes", axes, TSR_MAX_RANK, &count);
  for (uint32_t i = 0; fits && i < count; ++i) {
    fits = axes[i] >= 0 && axes[i] < rank;
    if (fits)
      r->reduced[rank - 1 - (uint32_t)axes[i]] = true;
  }
  if (!fits)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "axes are not axes of the tile");
}

/* A combiner region states no identity: its reduced axes lie in the registers of every thread,
 * where no element is missing. */
static void read_operands(tsr_cu *e, reduction *r) {
  tsr_cu_layout layout = tsr_cu_operand(e, 0)->layout;
  read_axes(e, r, tsr_cu_operand(e, 0)->rank);
  for (uint32_t axis = 0; r->region && axis < tsr_cu_operand(e, 0)->rank; ++axis)
    if (r->reduced[axis]) {
      layout.axis[axis].count = 0;
      tsr_cu_fill(&layout.axis[axis], tsr_cu_operand(e, 0)->extents[axis], 0);
    }
  for (uint32_t i = 0; i < r->count; ++i) {
    const tsr_cu_tile *tile = tsr_cu_operand(e, i), *first = tsr_cu_operand(e, 0);
    if (tile->rank != first->rank ||
        memcmp(tile->extents, first->extents, sizeof tile->extents) != 0)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "the operands differ in shape");
    r->tiles[i] = tsr_cu_relayout(e, tile, &layout);
  }
}

static const tsr_cu_tile *declare_accumulator(tsr_cu *e, const reduction *r, uint32_t number) {
  tsr_value value = e->op->results[number];
  tsr_cu_tile shape = *r->tiles[number];
  for (uint32_t axis = 0; axis < shape.rank; ++axis)
    if (r->reduced[axis])
      shape.extents[axis] = 1;
  shape.dtype = tsr_value_type(e->ir, value)->dtype;
  if (!r->region)
    shape.dtype = tsr_cu_computed(shape.dtype);
  return tsr_cu_declare(e, &shape, tsr_cu_name(e, value, r->combine ? r->combine : "reduced"));
}

/* --- by name --- */

static void reduce_registers(tsr_cu *e, const reduction *r) {
  const tsr_cu_tile *tile = r->tiles[0], *result = r->results[0];
  const char *identity = tsr_cu_identity(e, r->combine, result->dtype);
  tsr_cu_begin(e, result, false);
  tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, result), identity);
  tsr_cu_end(e);
  tsr_cu_begin(e, tile, true);
  const char *inside = tsr_cu_inside(e, tile), *type = tsr_cu_ctype(result->dtype);
  const char *value = tsr_cu_cast(e, tile->dtype, result->dtype, tsr_cu_register(e, tile));
  if (strcmp(inside, "1") != 0)
    value = tsr_cu_format(e, "%s ? %s : %s", inside, value, identity);
  tsr_cu_line(e, "const %s next = %s;", type, value);
  const char *so_far = tsr_cu_register(e, result);
  tsr_cu_line(e, "%s = %s;", so_far, tsr_cu_combine(e, r->combine, result->dtype, so_far, "next"));
  tsr_cu_end(e);
}

static const char *shuffle(tsr_cu *e, tsr_dtype dtype, const char *value, uint32_t mask) {
  const char *type = tsr_cu_ctype(dtype);
  if (dtype == TSR_F64)
    return tsr_cu_format(e, "tsr_warp_shuffle_xor_f64(%s, %u)", value, mask);
  if (!strcmp(type, "float"))
    return tsr_cu_format(e, "tsr_warp_shuffle_xor_f32(%s, %u)", value, mask);
  if (tsr_dtype_bits(dtype) == 64)
    return tsr_cu_format(e, "(%s)tsr_warp_shuffle_xor_u64((tsr_u64)%s, %u)", type, value, mask);
  return tsr_cu_format(e, "(%s)tsr_warp_shuffle_xor_i32((int)%s, %u)", type, value, mask);
}

/* Every thread meets the one of its warp whose number differs in the bit `mask`. */
static void meet_in_warp(tsr_cu *e, const reduction *r, uint32_t mask) {
  const tsr_cu_tile *result = r->results[0];
  const char *type = tsr_cu_ctype(result->dtype);
  tsr_cu_line(e, "{");
  tsr_cu_begin(e, result, false);
  const char *own = tsr_cu_register(e, result);
  tsr_cu_line(e, "const %s other = %s;", type, shuffle(e, result->dtype, own, mask));
  tsr_cu_line(e, "const int upper = (thread & %u) != 0;", mask);
  tsr_cu_line(e, "const %s low = upper ? other : %s, high = upper ? %s : other;", type, own, own);
  tsr_cu_line(e, "%s = %s;", own, tsr_cu_combine(e, r->combine, result->dtype, "low", "high"));
  tsr_cu_end(e);
  tsr_cu_line(e, "}");
}

enum { MOST_BITS = 3 }; /* that threads of an exchange through memory differ in */

/* All threads that differ in the given bits meet at once: each combines what all of them left, as
 * the same tree. */
static void meet_in_memory(tsr_cu *e, const reduction *r, const uint32_t *bits, uint32_t count) {
  const tsr_cu_tile *result = r->results[0];
  const char *type = tsr_cu_ctype(result->dtype), *parts[1 << MOST_BITS];
  uint32_t all = 0;
  tsr_cu_line(e, "{");
  const uint64_t size = tsr_dtype_bits(result->dtype) == 64 ? 8 : 4;
  const char *array = tsr_cu_exchange(e, type, size * e->threads * tsr_cu_registers(result));
  const char *number = tsr_cu_register_number(e, result, NULL);
  const char *where = number ? tsr_cu_format(e, "(%s) * %u + ", number, e->threads) : "";
  tsr_cu_begin(e, result, false);
  tsr_cu_line(e, "%s[%sthread] = %s;", array, where, tsr_cu_register(e, result));
  tsr_cu_end(e);
  tsr_cu_barrier(e);
  for (uint32_t i = 0; i < count; ++i)
    all |= bits[i];
  tsr_cu_line(e, "const int first = thread & ~%u;", all);
  tsr_cu_begin(e, result, false);
  for (uint32_t part = 0; part < 1U << count; ++part) {
    uint32_t offset = 0;
    for (uint32_t i = 0; i < count; ++i)
      offset += part >> i & 1 ? bits[i] : 0;
    parts[part] = tsr_cu_format(e, "part%u", part);
    tsr_cu_line(e, "%s %s = %s[%sfirst + %u];", type, parts[part], array, where, offset);
  }
  for (uint32_t step = 1; step < 1U << count; step *= 2)
    for (uint32_t part = 0; part < 1U << count; part += 2 * step)
      tsr_cu_line(e, "%s = %s;", parts[part],
                  tsr_cu_combine(e, r->combine, result->dtype, parts[part], parts[part + step]));
  tsr_cu_line(e, "%s = part0;", tsr_cu_register(e, result));
  tsr_cu_end(e);
  tsr_cu_barrier(e);
  tsr_cu_line(e, "}");
}

static void reduce_threads(tsr_cu *e, const reduction *r) {
  enum { WARP = 32, MOST = 16 };
  const tsr_cu_tile *tile = r->tiles[0];
  uint32_t beyond[MOST], count = 0;
  for (uint32_t axis = 0; axis < tile->rank; ++axis) {
    const tsr_cu_axis *own = &tile->layout.axis[axis];
    for (uint32_t i = 0; r->reduced[axis] && tile->extents[axis] > 1 && i < own->count; ++i)
      for (uint32_t step = 1; own->digits[i].stride && step < own->digits[i].size; step *= 2) {
        uint32_t bit = step * own->digits[i].stride;
        if (bit < WARP)
          meet_in_warp(e, r, bit);
        else if (count < MOST)
          beyond[count++] = bit;
      }
  }
  for (uint32_t i = 0; i < count; i += MOST_BITS)
    meet_in_memory(e, r, beyond + i, count - i < MOST_BITS ? count - i : MOST_BITS);
}

/* --- by a region --- */

static void bind_scalar(tsr_cu *e, tsr_value value, tsr_dtype dtype, const char *name) {
  tsr_cu_tile *tile = tsr_cu_alloc(e, 1, sizeof *tile);
  *tile = (tsr_cu_tile){.dtype = dtype, .name = name};
  tsr_cu_bind(e, value, tile);
}

/* The first register along all reduced axes starts, the region adds the others. */
static void reduce_by_region(tsr_cu *e, const reduction *r) {
  const tsr_region_data *region = tsr_region_get(e->ir, r->region);
  const tsr_cu_tile *next[MAX_TUPLE] = {NULL};
  const char *first = "1";
  if (region->arg_count != 2 * r->count)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "a combiner of %u values takes %u arguments", r->count,
                2 * r->count);
  tsr_cu_begin(e, r->tiles[0], true);
  for (uint32_t axis = 0; axis < r->tiles[0]->rank; ++axis)
    if (r->reduced[axis] && tsr_cu_registers_along(r->tiles[0], axis) > 1)
      first = tsr_cu_both(e, first, tsr_cu_format(e, "r%u == 0", axis));
  tsr_cu_line(e, "if (%s) {", first);
  for (uint32_t i = 0; i < r->count; ++i)
    tsr_cu_line(
        e, "%s = %s;", tsr_cu_register(e, r->results[i]),
        tsr_cu_cast(e, r->tiles[i]->dtype, r->results[i]->dtype, tsr_cu_register(e, r->tiles[i])));
  tsr_cu_line(e, "} else {");
  for (uint32_t i = 0; i < r->count; ++i) {
    const tsr_cu_tile *result = r->results[i];
    tsr_cu_tile scalar = {.dtype = result->dtype};
    bind_scalar(e, region->args[i], result->dtype, tsr_cu_register(e, result));
    bind_scalar(e, region->args[r->count + i], result->dtype,
                tsr_cu_cast(e, r->tiles[i]->dtype, result->dtype, tsr_cu_register(e, r->tiles[i])));
    next[i] = tsr_cu_declare(e, &scalar, tsr_cu_temporary(e, "next"));
  }
  tsr_cu_sink sink = {.tiles = next, .count = r->count};
  tsr_cu_region(e, r->region, &sink);
  for (uint32_t i = 0; i < r->count; ++i)
    tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, r->results[i]), next[i]->name);
  tsr_cu_line(e, "}");
  tsr_cu_end(e);
}

static void bind_results(tsr_cu *e, const reduction *r) {
  for (uint32_t i = 0; i < r->count; ++i) {
    tsr_value value = e->op->results[i];
    tsr_cu_tile shape = *r->results[i];
    shape.dtype = tsr_value_type(e->ir, value)->dtype;
    if (shape.dtype == r->results[i]->dtype) {
      tsr_cu_bind(e, value, r->results[i]);
      continue;
    }
    const tsr_cu_tile *tile = tsr_cu_declare(e, &shape, tsr_cu_temporary(e, "rounded"));
    tsr_cu_begin(e, tile, false);
    tsr_cu_line(
        e, "%s = %s;", tsr_cu_register(e, tile),
        tsr_cu_cast(e, r->results[i]->dtype, shape.dtype, tsr_cu_register(e, r->results[i])));
    tsr_cu_end(e);
    tsr_cu_bind(e, value, tile);
  }
}

void tsr_cu_reduce(tsr_cu *e) {
  reduction r = {.count = e->op->operand_count,
                 .combine = tsr_op_string(e->ir, e->op_id, "combine")};
  r.region = e->op->region_count > 0 ? e->op->regions[0] : 0;
  bool named = r.combine && tsr_cu_identity(e, r.combine, TSR_F32) && r.count == 1;
  if (r.count < 1 || r.count > MAX_TUPLE || r.count != e->op->result_count || (!named && !r.region))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "needs a known combine, or a region, and a result per operand");
  read_operands(e, &r);
  for (uint32_t i = 0; i < r.count; ++i)
    r.results[i] = declare_accumulator(e, &r, i);
  if (r.region)
    reduce_by_region(e, &r);
  else {
    reduce_registers(e, &r);
    reduce_threads(e, &r);
  }
  bind_results(e, &r);
}
