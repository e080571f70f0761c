/* decode and relayout: tiles whose elements come from places that a map names. Where the map moves
 * bits of the position only, the operand is asked for in the layout in which every thread already
 * has what its elements need, so that nothing moves. Otherwise it goes through shared memory. */
#include "codegen/cuda/emit.h"
#include "runtime/float_convert.h"
#include <string.h>

enum { MOST_BITS = 40, MOST_PLACES = TSR_MAX_RANK + 1 };

/* One bit of a position in the result: of r<axis> (stride 0) or of the thread's number. */
typedef struct position_bit {
  uint32_t axis, number, stride;
  int64_t weight;             /* along the result's axis */
  int64_t moves[MOST_PLACES]; /* what it adds to each place of the map */
} position_bit;

/* places = sum of the bits' moves. Places count from the first of the map. */
typedef struct bit_map {
  position_bit bits[MOST_BITS];
  uint32_t bit_count, place_count;
} bit_map;

/* --- maps as numbers --- */

static int64_t floor_of(int64_t a, int64_t b) {
  return b == 0 ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool evaluate(const tsr_ir *ir, tsr_expr expr, const int64_t *lanes, int64_t *out) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  int64_t a = 0, b = 0;
  if (node.op == TSR_INDEX_INT || node.op == TSR_INDEX_LANE) {
    *out = node.op == TSR_INDEX_INT ? node.number : lanes[node.number];
    return true;
  }
  if (node.op == TSR_INDEX_DIM || node.op == TSR_INDEX_VALUE || !evaluate(ir, node.a, lanes, &a) ||
      !evaluate(ir, node.b, lanes, &b))
    return false;
  switch (node.op) {
  case TSR_INDEX_ADD:
    *out = a + b;
    return true;
  case TSR_INDEX_MUL:
    *out = a * b;
    return true;
  case TSR_INDEX_FLOORDIV:
    *out = floor_of(a, b);
    return true;
  case TSR_INDEX_MOD:
    *out = b == 0 ? 0 : a - floor_of(a, b) * b;
    return true;
  default:
    return false;
  }
}

/* --- bits of a layout --- */

static bool list_bits(const tsr_cu_tile *tile, const tsr_cu_layout *layout, bit_map *map) {
  for (uint32_t axis = 0; axis < tile->rank; ++axis) {
    const tsr_cu_axis *own = &layout->axis[axis];
    uint32_t in_registers = 0;
    int64_t weight = 1;
    for (uint32_t i = 0; tile->extents[axis] > 1 && i < own->count; ++i) {
      uint32_t size = own->digits[i].size, stride = own->digits[i].stride;
      if (size & (size - 1))
        return false;
      for (uint32_t bit = 1; bit < size; bit *= 2, weight *= 2) {
        if (map->bit_count == MOST_BITS)
          return false;
        map->bits[map->bit_count++] = (position_bit){
            .axis = axis, .number = in_registers, .stride = stride * bit, .weight = weight};
        in_registers += stride == 0;
      }
    }
  }
  return true;
}

/* Is the map the sum of what single bits do, and 0 at the start? */
static bool is_sum(const tsr_ir *ir, const tsr_cu_tile *tile, const tsr_expr *places,
                   const bit_map *map) {
  uint64_t count = tsr_cu_elements(tile);
  for (uint64_t element = 0; element < count; ++element) {
    int64_t lanes[TSR_MAX_RANK] = {0}, sum[MOST_PLACES] = {0}, found = 0;
    uint64_t left = element;
    for (uint32_t axis = 0; axis < tile->rank; ++axis) {
      lanes[tile->rank - 1 - axis] = (int64_t)(left % tile->extents[axis]);
      left /= tile->extents[axis];
    }
    for (uint32_t i = 0; i < map->bit_count; ++i)
      if (lanes[tile->rank - 1 - map->bits[i].axis] & map->bits[i].weight)
        for (uint32_t place = 0; place < map->place_count; ++place)
          sum[place] += map->bits[i].moves[place];
    for (uint32_t place = 0; place < map->place_count; ++place)
      if (!evaluate(ir, places[place], lanes, &found) || found != sum[place])
        return false;
  }
  return true;
}

static bool find_moves(const tsr_ir *ir, const tsr_cu_tile *tile, const tsr_cu_layout *layout,
                       const tsr_expr *places, uint32_t place_count, bit_map *map) {
  *map = (bit_map){.place_count = place_count};
  if (place_count > MOST_PLACES || !list_bits(tile, layout, map))
    return false;
  for (uint32_t i = 0; i < map->bit_count; ++i) {
    position_bit *bit = &map->bits[i];
    int64_t lanes[TSR_MAX_RANK] = {0};
    if (bit->weight >= tile->extents[bit->axis])
      continue;
    lanes[tile->rank - 1 - bit->axis] = bit->weight;
    for (uint32_t place = 0; place < place_count; ++place)
      if (!evaluate(ir, places[place], lanes, &bit->moves[place]))
        return false;
  }
  return is_sum(ir, tile, places, map);
}

/* The bit that adds 2^power to a place; NULL: none or several. */
static const position_bit *bit_of(const bit_map *map, uint32_t place, int64_t weight) {
  const position_bit *found = NULL;
  for (uint32_t i = 0; i < map->bit_count; ++i)
    if (map->bits[i].moves[place] == weight) {
      if (found)
        return NULL;
      found = &map->bits[i];
    }
  return found;
}

/* The layout of an operand of `shape` in which threads have what they need: place p is the
 * operand's axis rank - 1 - p. */
static bool operand_layout(const bit_map *map, const tsr_cu_tile *shape, tsr_cu_layout *out) {
  *out = (tsr_cu_layout){0};
  for (uint32_t place = 0; place < shape->rank; ++place) {
    uint32_t axis = shape->rank - 1 - place, used = 0, order = 0;
    int64_t weight = 1, most = 0;
    for (uint32_t i = 0; i < map->bit_count; ++i) {
      const position_bit *bit = &map->bits[i];
      used += bit->moves[place] != 0;
      most += bit->moves[place];
      for (uint32_t other = 0; other < shape->rank; ++other)
        if (other != place && bit->moves[place] && bit->moves[other])
          return false;
    }
    if (most >= shape->extents[axis])
      return false;
    tsr_cu_axis *digits = &out->axis[axis];
    for (; used > 0; --used, weight *= 2) {
      const position_bit *bit = bit_of(map, place, weight);
      tsr_cu_digit *last = digits->count ? &digits->digits[digits->count - 1] : NULL;
      if (!bit)
        return false;
      if (last && (bit->stride ? last->stride * last->size == bit->stride : last->stride == 0)) {
        last->size *= 2;
        continue;
      }
      if (digits->count == TSR_CU_DIGITS)
        return false;
      tsr_cu_push(digits, 2, bit->stride, order++);
    }
    if (weight < shape->extents[axis])
      return false;
  }
  return true;
}

/* C for a place at r0, r1 .. of the result. */
static const char *place_text(tsr_cu *e, const bit_map *map, uint32_t place) {
  const char *text = NULL;
  for (uint32_t i = 0; i < map->bit_count; ++i) {
    const position_bit *bit = &map->bits[i];
    if (bit->moves[place] == 0)
      continue;
    const char *digit = bit->stride ? tsr_cu_format(e, "thread / %u", bit->stride)
                                    : tsr_cu_format(e, "(r%u >> %u)", bit->axis, bit->number);
    const char *term = tsr_cu_format(e, "(%s & 1) * %lld", digit, (long long)bit->moves[place]);
    text = text ? tsr_cu_format(e, "%s + %s", text, term) : term;
  }
  return text ? tsr_cu_format(e, "(%s)", text) : "0";
}

/* The operand's r<axis> at those of the result: its register bits in the order of operand_layout.
 */
static const char *register_text(tsr_cu *e, const bit_map *map, uint32_t place) {
  const char *text = NULL;
  int64_t weight = 1, most = 0;
  uint32_t number = 0;
  for (uint32_t i = 0; i < map->bit_count; ++i)
    most += map->bits[i].moves[place];
  for (; weight <= most; weight *= 2) {
    const position_bit *bit = bit_of(map, place, weight);
    if (!bit || bit->stride)
      continue;
    const char *term =
        tsr_cu_format(e, "(r%u >> %u & 1) * %u", bit->axis, bit->number, 1U << number++);
    text = text ? tsr_cu_format(e, "%s + %s", text, term) : term;
  }
  return text ? tsr_cu_format(e, "(%s)", text) : "0";
}

/* --- an operand at the elements of the result --- */

typedef struct source {
  const tsr_cu_tile *tile;
  bool in_place; /* by `map`; otherwise the tile has the result's layout */
  bit_map map;
} source;

/* For every element of the result its operand's, through shared memory. Outside of it: 0. */
static const tsr_cu_tile *fetch(tsr_cu *e, const tsr_cu_tile *operand, const tsr_cu_tile *result,
                                const tsr_expr *places) {
  tsr_cu_tile shape = *result;
  shape.dtype = operand->dtype;
  const tsr_cu_tile *made = tsr_cu_declare(e, &shape, tsr_cu_temporary(e, "fetched"));
  tsr_cu_line(e, "{");
  const char *array = tsr_cu_stage(e, operand), *linear = "0";
  tsr_cu_begin(e, made, true);
  const char *inside = tsr_cu_inside(e, made);
  for (uint32_t place = 0; place < operand->rank; ++place) {
    uint32_t extent = operand->extents[operand->rank - 1 - place];
    tsr_cu_line(e, "const tsr_s64 p%u = %s;", place, tsr_cu_index(e, places[place], made));
    inside = tsr_cu_both(e, inside, tsr_cu_format(e, "p%u >= 0 && p%u < %u", place, place, extent));
    linear = tsr_cu_format(e, "(%s) * %u + p%u", linear, extent, place);
  }
  tsr_cu_line(e, "%s = %s ? %s[%s] : 0;", tsr_cu_register(e, made), inside, array, linear);
  tsr_cu_end(e);
  tsr_cu_barrier(e);
  tsr_cu_line(e, "}");
  return made;
}

/* `places`: of the operand's axes, and one more where `extra`. */
static source open_source(tsr_cu *e, const tsr_cu_tile *operand, const tsr_cu_tile *result,
                          const tsr_expr *places, uint32_t extra) {
  source s = {.tile = operand};
  tsr_cu_layout layout;
  s.in_place = find_moves(e->ir, result, &result->layout, places, operand->rank + extra, &s.map) &&
               operand_layout(&s.map, operand, &layout);
  s.tile = s.in_place ? tsr_cu_relayout(e, operand, &layout) : fetch(e, operand, result, places);
  return s;
}

static const char *source_element(tsr_cu *e, const source *s) {
  const char *r[TSR_MAX_RANK] = {NULL};
  if (!s->in_place)
    return tsr_cu_register(e, s->tile);
  for (uint32_t axis = 0; axis < s->tile->rank; ++axis)
    r[axis] = register_text(e, &s->map, s->tile->rank - 1 - axis);
  return tsr_cu_register_at(e, s->tile, r);
}

/* --- what the ops say --- */

static uint32_t map_of(tsr_cu *e, tsr_op id, tsr_expr *out) {
  const tsr_attr *map = tsr_op_attr(e->ir, id, "map");
  if (!map)
    return 0;
  if (map->kind != TSR_ATTR_EXPRS || map->count > MOST_PLACES)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "'map' is no list of subscripts");
  memcpy(out, map->u.exprs, map->count * sizeof *out);
  return map->count;
}

typedef struct code_format {
  tsr_dtype dtype; /* NONE: a table */
  const tsr_attr *table;
  unsigned bits;
} code_format;

static code_format format_of(tsr_cu *e, tsr_op id) {
  const char *name = tsr_op_string(e->ir, id, "format");
  code_format format = {.table = tsr_op_attr(e->ir, id, "table")};
  if (name && strcmp(name, "table") != 0) {
    format.dtype = tsr_dtype_parse(name, strlen(name));
    format.bits = format.dtype ? tsr_dtype_bits(format.dtype) : 0;
  } else if (format.table)
    while (format.bits < 8 && 1U << format.bits < format.table->count)
      ++format.bits;
  if (format.bits < 1 || format.bits > 8)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "decode of '%s' has no code on CUDA", name ? name : "");
  return format;
}

/* The subscripts of the words and, behind them, the field. */
static void word_places(tsr_cu *e, tsr_op id, uint32_t rank, uint32_t word_bits, unsigned bits,
                        tsr_expr *out) {
  if (map_of(e, id, out) > 0)
    return;
  int64_t fields = word_bits / bits;
  for (uint32_t i = 0; i < rank; ++i)
    out[i] = tsr_expr_lane(e->ir, i);
  tsr_expr last = rank > 0 ? out[rank - 1] : tsr_expr_int(e->ir, 0);
  if (rank > 0)
    out[rank - 1] = tsr_expr_floordiv_int(e->ir, last, fields);
  out[rank] = tsr_expr_mod_int(e->ir, last, fields);
}

/* Groups: every element of the factor stands for a run. */
static void factor_places(tsr_cu *e, const tsr_cu_tile *factor, const tsr_cu_tile *result,
                          tsr_expr *out) {
  for (uint32_t i = 0; i < factor->rank; ++i) {
    uint32_t axis = factor->rank - 1 - i, extent = factor->extents[axis];
    out[i] = tsr_expr_floordiv_int(e->ir, tsr_expr_lane(e->ir, i), result->extents[axis] / extent);
  }
}

bool tsr_cu_decode_wants(tsr_cu *e, tsr_op id, uint32_t operand, const tsr_cu_layout *result,
                         tsr_cu_layout *out_layout) {
  const tsr_op_data *op = tsr_op_get(e->ir, id);
  tsr_cu_tile to = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, op->results[0])->type);
  tsr_cu_tile from =
      tsr_cu_tile_of_type(e, tsr_value_get(e->ir, op->operands[operand].value)->type);
  tsr_expr places[MOST_PLACES];
  bit_map map;
  if (op->code == TSR_OP_RELAYOUT)
    map_of(e, id, places);
  else if (operand == 0)
    word_places(e, id, from.rank, tsr_dtype_bits(from.dtype), format_of(e, id).bits, places);
  else
    factor_places(e, &from, &to, places);
  return find_moves(e->ir, &to, result, places, from.rank, &map) &&
         operand_layout(&map, &from, out_layout);
}

/* --- text --- */

void tsr_cu_relayout_op(tsr_cu *e) {
  const tsr_cu_tile *from = tsr_cu_operand(e, 0);
  tsr_expr places[MOST_PLACES];
  if (map_of(e, e->op_id, places) != from->rank)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "'map' has one subscript per axis of the operand");
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, e->op->results[0])->type);
  shape.layout = tsr_cu_wanted(e, e->op->results[0], &shape);
  source s = open_source(e, from, &shape, places, 0);
  const tsr_cu_tile *to = tsr_cu_declare_result(e, &shape.layout);
  tsr_cu_begin(e, to, false);
  tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, to), source_element(e, &s));
  tsr_cu_end(e);
}

/* Declares the numbers of all codes where arithmetic does not give them. */
static const char *code_table(tsr_cu *e, const code_format *format, tsr_dtype dtype) {
  bool plain = format->dtype && tsr_dtype_class_of(format->dtype) != TSR_CLASS_FLOAT;
  if (plain)
    return NULL;
  const char *name = tsr_cu_temporary(e, "codes");
  tsr_cu_line(e, "const %s %s[%u] = {", tsr_cu_ctype(dtype), name, 1U << format->bits);
  for (uint32_t code = 0; code < 1U << format->bits; ++code) {
    const tsr_attr *table = format->table;
    double number = 0;
    int64_t whole = 0;
    if (format->dtype)
      number = tsr_float_decode(format->dtype, code);
    else if (table->kind == TSR_ATTR_NUMBERS)
      number = table->u.numbers[code];
    else if (table->kind == TSR_ATTR_EXPRS && tsr_expr_is_int(e->ir, table->u.exprs[code], &whole))
      number = (double)whole;
    else
      tsr_cu_fail(e, TSR_ERR_VERIFY, "'table' is no list of numbers");
    tsr_cu_line(e, "%s,", tsr_cu_number(e, dtype, number));
  }
  tsr_cu_line(e, "};");
  return name;
}

static const char *decoded(tsr_cu *e, const code_format *format, const char *table,
                           tsr_dtype dtype) {
  if (table)
    return tsr_cu_format(e, "%s[code]", table);
  bool is_signed = tsr_dtype_class_of(format->dtype) == TSR_CLASS_INT;
  const char *number = is_signed ? tsr_cu_format(e, "((int)(code << %u) >> %u)", 32 - format->bits,
                                                 32 - format->bits)
                                 : "(int)code";
  if (tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT) /* of 8 bits at most: exact in each */
    return tsr_cu_format(e, "(%s)%s", tsr_cu_ctype(dtype), number);
  return tsr_cu_cast(e, TSR_I32, dtype, number);
}

/* --- pairs --- */

/* Does the lowest register bit along `axis` move the field by `distance` (the factors: nothing)? */
static bool pair_moves(const source *s, uint32_t axis, int64_t distance) {
  for (uint32_t i = 0; s->in_place && i < s->map.bit_count; ++i) {
    const position_bit *bit = &s->map.bits[i];
    if (bit->axis != axis || bit->stride != 0 || bit->number != 0)
      continue;
    for (uint32_t place = 0; place < s->tile->rank; ++place)
      if (bit->moves[place] != 0)
        return false;
    return s->map.place_count == s->tile->rank || bit->moves[s->tile->rank] == distance;
  }
  return false;
}

/* Operands of mma in f16 whose pairs lie 16 bits apart in one word: both codes are taken by one
 * mask, into the last places of 1024, from which subtracting 1024 is exact. */
static bool in_pairs(const tsr_cu_tile *to, const code_format *format, const source *word,
                     const source *factors, uint32_t count, uint32_t axis) {
  bool plain = format->dtype && tsr_dtype_class_of(format->dtype) == TSR_CLASS_UINT;
  bool fits = plain && to->dtype == TSR_F16 && to->layout.use != TSR_CU_NO_USE && to->rank == 2 &&
              tsr_dtype_bits(word->tile->dtype) == 32 && 16 % format->bits == 0 &&
              pair_moves(word, axis, 16 / format->bits);
  for (uint32_t i = 0; i < count; ++i)
    fits = fits && (tsr_cu_elements(factors[i].tile) == 1 || pair_moves(&factors[i], axis, 0));
  return fits;
}

static const char *both_halves(tsr_cu *e, const source *factor) {
  const char *value = source_element(e, factor);
  return tsr_cu_format(e, "tsr_f32x2_to_f16x2(%s, %s)", value, value);
}

static void decode_pairs(tsr_cu *e, const tsr_cu_tile *shape, const code_format *format,
                         const source *word, const source *factors, uint32_t count, uint32_t axis) {
  tsr_value result = e->op->results[0];
  const tsr_cu_tile *to = tsr_cu_declare_packed(e, shape, tsr_cu_name(e, result, "v"));
  tsr_cu_bind(e, result, to);
  tsr_cu_begin_runs(e, to, false, axis, 2);
  uint32_t mask = (1U << format->bits) - 1;
  const char *codes =
      tsr_cu_format(e, "(((tsr_u32)%s >> %s * %u & 0x%xu) | 0x64006400u)", source_element(e, word),
                    place_text(e, &word->map, word->tile->rank), format->bits, mask << 16 | mask);
  const char *value = tsr_cu_format(e, "tsr_f16x2_sub(%s, 0x64006400u)", codes);
  if (count > 1)
    value = tsr_cu_format(e, "tsr_f16x2_sub(%s, %s)", value, both_halves(e, &factors[1]));
  if (count > 0)
    value = tsr_cu_format(e, "tsr_f16x2_mul(%s, %s)", value, both_halves(e, &factors[0]));
  tsr_cu_line(e, "%s[(%s) / 2] = %s;", to->name, tsr_cu_register_number(e, to, NULL), value);
  tsr_cu_end(e);
}

void tsr_cu_decode(tsr_cu *e) {
  const tsr_cu_tile *words = tsr_cu_operand(e, 0);
  code_format format = format_of(e, e->op_id);
  tsr_expr places[MOST_PLACES];
  source factors[2];
  uint32_t word_bits = tsr_dtype_bits(words->dtype), count = e->op->operand_count - 1;
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, e->op->results[0])->type);
  shape.layout = tsr_cu_wanted(e, e->op->results[0], &shape);
  word_places(e, e->op_id, words->rank, word_bits, format.bits, places);
  tsr_expr field = places[words->rank];
  source word = open_source(e, words, &shape, places, 1);
  for (uint32_t i = 0; i < count; ++i) {
    const tsr_cu_tile *factor = tsr_cu_operand(e, i + 1);
    factor_places(e, factor, &shape, places);
    factors[i] = open_source(e, factor, &shape, places, 0);
  }
  uint32_t depth = shape.layout.use == TSR_CU_OPERAND_A ? 0 : 1;
  if (in_pairs(&shape, &format, &word, factors, count, depth)) {
    decode_pairs(e, &shape, &format, &word, factors, count, depth);
    return;
  }
  const tsr_cu_tile *to = tsr_cu_declare_result(e, &shape.layout);
  tsr_cu_line(e, "{");
  const char *table = code_table(e, &format, to->dtype);
  tsr_cu_begin(e, to, !word.in_place);
  const char *type = word_bits == 64 ? "tsr_u64" : "tsr_u32";
  const char *number = word.in_place ? place_text(e, &word.map, words->rank)
                                     : tsr_cu_format(e, "(int)%s", tsr_cu_index(e, field, to));
  const char *value = tsr_cu_register(e, to);
  tsr_cu_line(e, "const tsr_u32 code_word = (tsr_u32)((%s)%s >> %s * %u);", type,
              source_element(e, &word), number, format.bits);
  tsr_cu_line(e, "const tsr_u32 code = code_word & %uu;", (1U << format.bits) - 1);
  tsr_cu_line(e, "%s = %s;", value, decoded(e, &format, table, to->dtype));
  if (count > 1)
    tsr_cu_line(
        e, "%s = %s;", value,
        tsr_cu_apply(e, TSR_OP_SUB, to->dtype, value, source_element(e, &factors[1]), NULL));
  if (count > 0)
    tsr_cu_line(
        e, "%s = %s;", value,
        tsr_cu_apply(e, TSR_OP_MUL, to->dtype, value, source_element(e, &factors[0]), NULL));
  tsr_cu_end(e);
  tsr_cu_line(e, "}");
}
