/* Runs: several registers of a tile that are neighbours in memory move as one vector of 4, 8 or 16
 * bytes. Tiles change their layout through shared memory in runs, too. */
#include "codegen/cuda/emit.h"
#include "runtime/float_convert.h"
#include <string.h>

static const char *run_type(const tsr_cu_run_shape *shape) {
  return shape->bytes == 4 ? "tsr_u32x1" : shape->bytes == 8 ? "tsr_u32x2" : "tsr_u32x4";
}

static tsr_dtype bits_dtype(tsr_dtype dtype) {
  unsigned bits = tsr_dtype_bits(dtype);
  return bits == 64 ? TSR_U64 : bits == 32 ? TSR_U32 : bits == 16 ? TSR_U16 : TSR_U8;
}

/* The registers v further along the run. */
static const char *register_in_run(tsr_cu *e, const tsr_cu_tile *tile,
                                   const tsr_cu_run_shape *shape, const char *v) {
  const char *r[TSR_MAX_RANK] = {NULL};
  r[shape->axis] = tsr_cu_format(e, "(r%u + %s)", shape->axis, v);
  return tsr_cu_register_at(e, tile, r);
}

/* Element v of a run as bits. */
static const char *element_of_run(tsr_cu *e, tsr_dtype dtype) {
  const unsigned bits = tsr_dtype_bits(dtype), fields = bits < 32 ? 32 / bits : 1;
  if (bits == 64)
    return "((tsr_u64)run.x[2 * v + 1] << 32 | run.x[2 * v])";
  if (bits == 32)
    return "run.x[v]";
  return tsr_cu_format(e, "((tsr_u%u)(run.x[v / %u] >> v %% %u * %u))", bits, fields, fields, bits);
}

/* `pad` in every element of a word; of 8 bytes its lower or upper half. */
static uint32_t pad_word(tsr_dtype dtype, double pad, uint32_t half) {
  uint64_t bits = 0;
  tsr_element_store_f64(dtype, &bits, 0, pad);
  for (unsigned width = tsr_dtype_bits(dtype); width < 32; width *= 2)
    bits |= bits << width;
  return (uint32_t)(bits >> (half * 32));
}

static void declare_run(tsr_cu *e, const tsr_cu_run_shape *shape, tsr_dtype dtype, double pad) {
  const uint32_t low = pad_word(dtype, pad, 0);
  const uint32_t high = tsr_dtype_bits(dtype) == 64 ? pad_word(dtype, pad, 1) : low;
  if (shape->bytes == 4)
    tsr_cu_line(e, "tsr_u32x1 run = {{%uu}};", low);
  else if (shape->bytes == 8)
    tsr_cu_line(e, "tsr_u32x2 run = {{%uu, %uu}};", low, high);
  else
    tsr_cu_line(e, "tsr_u32x4 run = {{%uu, %uu, %uu, %uu}};", low, high, low, high);
}

void tsr_cu_load_run(tsr_cu *e, const tsr_cu_run_shape *shape, const tsr_cu_tile *into,
                     const tsr_cu_run_place *place, double pad) {
  const tsr_dtype dtype = place->dtype;
  const char *call = tsr_cu_format(e, "tsr_load_%s_%u(%s)", place->shared ? "shared" : "global",
                                   shape->bytes, place->address);
  if (!strcmp(place->condition, "1"))
    tsr_cu_line(e, "const %s run = %s;", run_type(shape), call);
  else {
    declare_run(e, shape, dtype, pad);
    tsr_cu_line(e, "if (%s)", place->condition);
    tsr_cu_line(e, "  run = %s;", call);
  }
  tsr_cu_line(e, "TSR_UNROLL");
  tsr_cu_line(e, "for (int v = 0; v < %u; ++v) {", shape->run);
  const char *value = tsr_cu_bitcast(e, bits_dtype(dtype), dtype, element_of_run(e, dtype));
  tsr_cu_line(e, "%s = %s;", register_in_run(e, into, shape, "v"),
              tsr_cu_cast(e, dtype, into->dtype, value));
  tsr_cu_line(e, "}");
}

/* Word w of a run from the registers. */
static const char *word_of_registers(tsr_cu *e, const tsr_cu_run_shape *shape,
                                     const tsr_cu_tile *tile, tsr_dtype dtype) {
  const unsigned bits = tsr_dtype_bits(dtype), fields = 32 / bits;
  const char *values[4], *word = NULL;
  for (unsigned i = 0; i < fields; ++i) {
    const char *v = fields == 1 ? "w" : tsr_cu_format(e, i ? "w * %u + %u" : "w * %u", fields, i);
    values[i] = tsr_cu_cast(e, tile->dtype, dtype, register_in_run(e, tile, shape, v));
  }
  if (dtype == TSR_F16 || dtype == TSR_BF16)
    return tsr_cu_format(e, "tsr_f32x2_to_%sx2(%s, %s)", tsr_dtype_text(dtype), values[0],
                         values[1]);
  for (unsigned i = 0; i < fields; ++i) {
    const char *part = tsr_cu_bitcast(e, dtype, bits_dtype(dtype), values[i]);
    if (bits < 32)
      part = tsr_cu_format(e, "(tsr_u32)(tsr_u%u)%s", bits, part);
    word = i ? tsr_cu_format(e, "%s | %s << %u", word, part, i * bits) : part;
  }
  return word;
}

void tsr_cu_gather_run(tsr_cu *e, const tsr_cu_run_shape *shape, const tsr_cu_tile *tile,
                       tsr_dtype dtype) {
  const bool wide = tsr_dtype_bits(dtype) == 64;
  tsr_cu_line(e, "%s run;", run_type(shape));
  tsr_cu_line(e, "TSR_UNROLL");
  tsr_cu_line(e, "for (int w = 0; w < %u; ++w) {", wide ? shape->run : shape->bytes / 4);
  if (wide) {
    const char *value = register_in_run(e, tile, shape, "w");
    const char *bits = tsr_cu_bitcast(e, dtype, TSR_U64, tsr_cu_cast(e, tile->dtype, dtype, value));
    tsr_cu_line(e, "const tsr_u64 both = (tsr_u64)%s;", bits);
    tsr_cu_line(e, "run.x[2 * w] = (tsr_u32)both;");
    tsr_cu_line(e, "run.x[2 * w + 1] = (tsr_u32)(both >> 32);");
  } else
    tsr_cu_line(e, "run.x[w] = %s;", word_of_registers(e, shape, tile, dtype));
  tsr_cu_line(e, "}");
}

void tsr_cu_store_run(tsr_cu *e, const tsr_cu_run_shape *shape, const tsr_cu_tile *tile,
                      const tsr_cu_run_place *place) {
  bool always = !strcmp(place->condition, "1");
  if (!always)
    tsr_cu_line(e, "if (%s) {", place->condition);
  tsr_cu_gather_run(e, shape, tile, place->dtype);
  tsr_cu_line(e, "tsr_store_%s_%u(%s, run);", place->shared ? "shared" : "global", shape->bytes,
              place->address);
  if (!always)
    tsr_cu_line(e, "}");
}

/* --- from one layout to another --- */

/* Elements from row to row: rows start at 16-byte pieces an odd number apart, so that 8 rows next
 * to each other are in different banks. */
static uint32_t pitch_of(const tsr_cu_tile *tile) {
  const uint32_t size = tsr_dtype_bits(tile->dtype) / 8;
  const uint64_t bytes = (uint64_t)tile->extents[0] * size, pieces = (bytes + 15) / 16;
  if (tsr_cu_elements(tile) == tile->extents[0] || bytes < 16)
    return tile->extents[0];
  return (uint32_t)((pieces | 1) * 16 / size);
}

static uint64_t passing_bytes(const tsr_cu_tile *tile) {
  uint64_t size = tsr_dtype_bits(tile->dtype) / 8;
  if (tile->rank == 0)
    return size;
  return tsr_cu_elements(tile) / tile->extents[0] * pitch_of(tile) * size;
}

static tsr_cu_run_shape shape_of(const tsr_cu_tile *tile, uint32_t pitch) {
  const uint32_t size = tsr_dtype_bits(tile->dtype) / 8;
  tsr_cu_run_shape shape = {0, 1, size};
  if (tile->rank == 0)
    return shape;
  const uint32_t run = tsr_cu_run_of(tile, 0);
  uint32_t most = 1;
  while (run % (2 * most) == 0 && 2 * most * size <= 16 && tile->extents[0] % (2 * most) == 0 &&
         pitch % (2 * most) == 0)
    most *= 2;
  return most * size >= 4 ? (tsr_cu_run_shape){0, most, most * size} : shape;
}

/* The element's place in the array. */
static const char *passing_place(tsr_cu *e, const tsr_cu_tile *tile, uint32_t pitch) {
  const char *row = NULL, *last = "0";
  for (uint32_t axis = tile->rank; axis-- > 1;)
    if (tile->extents[axis] > 1)
      row = row ? tsr_cu_format(e, "(%s) * %u + x%u", row, tile->extents[axis], axis)
                : tsr_cu_format(e, "x%u", axis);
  if (tile->rank > 0 && tile->extents[0] > 1)
    last = "x0";
  return row ? tsr_cu_format(e, "(%s) * %u + %s", row, pitch, last) : last;
}

void tsr_cu_pass(tsr_cu *e, const tsr_cu_tile *from, const tsr_cu_tile *to) {
  const tsr_dtype dtype = from->dtype;
  const uint32_t pitch = from->rank > 0 ? pitch_of(from) : 1;
  const char *array = tsr_cu_exchange(e, tsr_cu_storage(dtype), passing_bytes(from));
  for (int reads = 0; reads < 2; ++reads) {
    const tsr_cu_tile *tile = reads ? to : from;
    const tsr_cu_run_shape shape = shape_of(tile, pitch);
    tsr_cu_begin_runs(e, tile, true, shape.axis, shape.run);
    const char *element = tsr_cu_format(e, "%s[%s]", array, passing_place(e, tile, pitch));
    const char *condition = tsr_cu_inside(e, tile);
    if (!reads)
      condition = tsr_cu_both(e, tsr_cu_owner(e, tile), condition);
    const tsr_cu_run_place place = {dtype, true, tsr_cu_address_of(e, element), condition};
    if (shape.run > 1 && reads)
      tsr_cu_load_run(e, &shape, tile, &place, 0);
    else if (shape.run > 1)
      tsr_cu_store_run(e, &shape, tile, &place);
    else if (reads && !strcmp(condition, "1"))
      tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, tile), tsr_cu_widen(e, dtype, element));
    else if (reads)
      tsr_cu_line(e, "%s = %s ? %s : 0;", tsr_cu_register(e, tile), condition,
                  tsr_cu_widen(e, dtype, element));
    else {
      if (strcmp(condition, "1") != 0)
        tsr_cu_line(e, "if (%s)", condition);
      tsr_cu_line(e, "%s%s = %s;", strcmp(condition, "1") ? "  " : "", element,
                  tsr_cu_narrow(e, dtype, tsr_cu_register(e, tile)));
    }
    tsr_cu_end(e);
    tsr_cu_barrier(e);
  }
}
