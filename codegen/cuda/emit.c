#include "codegen/cuda/emit.h"
#include "codegen/common.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *tsr_cu_fail(tsr_cu *e, tsr_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  e->status = tsr_codegen_fail(e->ir, e->op, e->diag, status, format, arguments);
  va_end(arguments);
  longjmp(*e->escape, 1);
}

void *tsr_cu_alloc(tsr_cu *e, size_t count, size_t size) {
  void *memory = tsr_arena_alloc_array(e->arena, count, size);
  return memory ? memory : tsr_cu_fail(e, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

/* --- text --- */

static const char *format_list(tsr_cu *e, const char *format, va_list arguments) {
  char brief[256];
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(brief, sizeof brief, format, arguments);
  size_t size = length < 0 ? 0 : (size_t)length;
  char *text = tsr_cu_alloc(e, size + 1, 1);
  if (size < sizeof brief)
    memcpy(text, brief, size + 1);
  else
    vsnprintf(text, size + 1, format, again);
  va_end(again);
  return text;
}

const char *tsr_cu_format(tsr_cu *e, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *text = format_list(e, format, arguments);
  va_end(arguments);
  return text;
}

static void append_text(tsr_cu *e, const char *text, size_t length) {
  if (e->used + length + 1 > e->capacity) {
    size_t larger = e->capacity ? e->capacity : 4096;
    while (larger < e->used + length + 1)
      larger *= 2;
    char *moved = tsr_cu_alloc(e, larger, 1);
    if (e->used)
      memcpy(moved, e->text, e->used);
    e->text = moved;
    e->capacity = larger;
  }
  memcpy(e->text + e->used, text, length);
  e->used += length;
  e->text[e->used] = 0;
}

/* Constants of blocks that have ended. */
static void forget_known(tsr_cu *e) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < e->known_count; ++i)
    if (e->known[i].indent <= e->indent)
      e->known[kept++] = e->known[i];
  e->known_count = kept;
}

void tsr_cu_line(tsr_cu *e, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *text = format_list(e, format, arguments);
  va_end(arguments);
  size_t length = strlen(text);
  if (length > 0 && text[0] == '}' && e->indent > 0) {
    --e->indent;
    tsr_cu_wgmma_forget(e);
    forget_known(e);
  }
  for (unsigned i = 0; i < e->indent; ++i)
    append_text(e, "  ", 2);
  append_text(e, text, length);
  append_text(e, "\n", 1);
  if (length > 0 && text[length - 1] == '{')
    ++e->indent;
}

const char *tsr_cu_name(tsr_cu *e, tsr_value value, const char *otherwise) {
  const char *given = tsr_value_get(e->ir, value)->name;
  enum { LONGEST = 40 };
  char clean[LONGEST + 1];
  size_t length = 0;
  for (; given && given[length] && length < LONGEST; ++length)
    clean[length] = (char)(isalnum((unsigned char)given[length]) ? given[length] : '_');
  clean[length] = 0;
  bool usable = length > 0 && !isdigit((unsigned char)clean[0]);
  return tsr_cu_format(e, "%s_%u", usable ? clean : otherwise, e->names++);
}

const char *tsr_cu_temporary(tsr_cu *e, const char *prefix) {
  return tsr_cu_format(e, "%s%u", prefix, e->temporaries++);
}

/* --- tiles --- */

enum { MAX_ELEMENTS = 1 << 16 };

tsr_cu_tile tsr_cu_tile_of_type(tsr_cu *e, tsr_type type) {
  const tsr_type_info *info = tsr_type_get(e->ir, type);
  tsr_cu_tile tile = {.dtype = info->dtype, .rank = info->rank};
  uint64_t elements = 1;
  if (!tsr_cu_supports(info->dtype))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "tiles of %s have no code on CUDA",
                tsr_dtype_text(info->dtype));
  for (uint32_t axis = 0; axis < info->rank; ++axis) {
    int64_t extent = 0;
    if (!tsr_expr_is_int(e->ir, info->dims[info->rank - 1 - axis], &extent) || extent < 1 ||
        extent > MAX_ELEMENTS)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "axis %u of a tile is not a positive number",
                  info->rank - 1 - axis);
    tile.extents[axis] = (uint32_t)extent;
    elements *= (uint64_t)extent;
    if (elements > MAX_ELEMENTS)
      tsr_cu_fail(e, TSR_ERR_LIMIT, "a tile must have 1 to %d elements", MAX_ELEMENTS);
  }
  return tile;
}

const tsr_cu_tile *tsr_cu_operand(tsr_cu *e, uint32_t number) {
  const tsr_operand *operand = &e->op->operands[number];
  const tsr_cu_tile *tile = number < e->op->operand_count ? e->slots[operand->value].tile : NULL;
  if (!tile || operand->subscripted)
    return tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "operand %u is no tile in registers", number);
  tsr_cu_wgmma_settle(e, tile);
  return tile;
}

void tsr_cu_bind(tsr_cu *e, tsr_value value, const tsr_cu_tile *tile) {
  e->slots[value] = (tsr_cu_slot){.tile = tile};
  if (e->accumulates[value])
    tsr_cu_wgmma_note(e, tile);
}

static const tsr_cu_tile *declare(tsr_cu *e, const tsr_cu_tile *shape, const char *name,
                                  bool packed) {
  tsr_cu_tile *tile = tsr_cu_alloc(e, 1, sizeof *tile);
  *tile = *shape;
  tile->name = name;
  tile->packed = packed;
  tile->indent = e->indent;
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    tile->at[axis] = NULL;
  uint32_t registers = tsr_cu_registers(tile);
  const char *type = packed ? "tsr_u32" : tsr_cu_ctype(tile->dtype);
  if (packed)
    tsr_cu_line(e, "%s %s[%u];", type, name, registers * tsr_dtype_bits(tile->dtype) / 32);
  else if (registers == 1)
    tsr_cu_line(e, "%s %s;", type, name);
  else
    tsr_cu_line(e, "%s %s[%u];", type, name, registers);
  return tile;
}

const tsr_cu_tile *tsr_cu_declare(tsr_cu *e, const tsr_cu_tile *shape, const char *name) {
  return declare(e, shape, name, false);
}

const tsr_cu_tile *tsr_cu_declare_packed(tsr_cu *e, const tsr_cu_tile *shape, const char *name) {
  return declare(e, shape, name, true);
}

const tsr_cu_tile *tsr_cu_declare_result(tsr_cu *e, const tsr_cu_layout *layout) {
  tsr_value value = e->op->results[0];
  tsr_cu_tile shape = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, value)->type);
  shape.layout = layout ? *layout : tsr_cu_wanted(e, value, &shape);
  const tsr_cu_tile *tile = tsr_cu_declare(e, &shape, tsr_cu_name(e, value, "v"));
  tsr_cu_bind(e, value, tile);
  return tile;
}

/* --- loops over registers --- */

/* `digit`, the one of size `size` of a number behind those whose product is `below`, times
 * `weight`, as C; `top`: there is none above it. */
static const char *digit_text(tsr_cu *e, const char *number, uint32_t below, uint32_t size,
                              bool top, uint32_t weight) {
  const char *text = number;
  if (below > 1)
    text = tsr_cu_format(e, "%s / %u", text, below);
  if (!top)
    text = tsr_cu_format(e, "%s %% %u", text, size);
  return weight > 1 ? tsr_cu_format(e, "%s * %u", text, weight) : text;
}

static const char *sum(tsr_cu *e, const char *more, const char *so_far) {
  return so_far ? tsr_cu_format(e, "%s + %s", more, so_far) : more;
}

/* The position along an axis of register `r` of this thread. */
static const char *position(tsr_cu *e, const tsr_cu_tile *tile, uint32_t axis) {
  const tsr_cu_axis *own = &tile->layout.axis[axis];
  const uint32_t registers = tsr_cu_registers_along(tile, axis);
  const char *text = NULL, *r = tsr_cu_format(e, "r%u", axis);
  uint32_t weight = 1, below = 1;
  for (uint32_t i = 0; tile->extents[axis] > 1 && i < own->count; ++i) {
    uint32_t size = own->digits[i].size, stride = own->digits[i].stride, first = weight;
    for (; i + 1 < own->count && !stride && !own->digits[i + 1].stride; ++i)
      size *= own->digits[i + 1].size;
    weight *= size;
    if (stride == TSR_CU_TURN)
      text = sum(e, digit_text(e, "turn", 1, size, true, first), text);
    else if (stride)
      text =
          sum(e, digit_text(e, "thread", stride, size, stride * size >= e->threads, first), text);
    else {
      text = sum(e, digit_text(e, r, below, size, below * size == registers, first), text);
      below *= size;
    }
  }
  return text ? text : "0";
}

/* Braces are only there where something is declared or repeated. */
void tsr_cu_begin_runs(tsr_cu *e, const tsr_cu_tile *tile, bool positions, uint32_t along,
                       uint32_t run) {
  uint32_t braces = 0;
  if (e->nesting == 0) {
    e->loops_at = e->turns.count ? e->turns.at : e->used;
    e->loops_indent = e->turns.count ? e->turns.indent : e->indent;
  }
  for (uint32_t axis = tile->rank; axis-- > 0;) {
    uint32_t registers = tsr_cu_registers_along(tile, axis);
    if (registers == 1)
      continue;
    ++braces;
    tsr_cu_line(e, "TSR_UNROLL");
    if (axis == along && run > 1)
      tsr_cu_line(e, "for (int r%u = 0; r%u < %u; r%u += %u) {", axis, axis, registers, axis, run);
    else
      tsr_cu_line(e, "for (int r%u = 0; r%u < %u; ++r%u) {", axis, axis, registers, axis);
  }
  if (positions && braces == 0) {
    ++braces;
    tsr_cu_line(e, "{");
  }
  for (uint32_t axis = tile->rank; positions && axis-- > 0;)
    if (tile->extents[axis] > 1)
      tsr_cu_line(e, "const int x%u = %s;", axis, position(e, tile, axis));
  if (e->nesting == TSR_CU_NESTING)
    tsr_cu_fail(e, TSR_ERR_LIMIT, "loops over registers are nested too deeply");
  e->braces[e->nesting++] = braces;
}

void tsr_cu_begin(tsr_cu *e, const tsr_cu_tile *tile, bool positions) {
  tsr_cu_begin_runs(e, tile, positions, 0, 1);
}

void tsr_cu_end(tsr_cu *e) {
  for (uint32_t braces = e->braces[--e->nesting]; braces > 0; --braces)
    tsr_cu_line(e, "}");
}

/* Moves the text [from, end) before [to, from). */
static void move_back(tsr_cu *e, size_t to, size_t from) {
  size_t moved = e->used - from;
  char *copy = tsr_cu_alloc(e, moved + 1, 1);
  memcpy(copy, e->text + from, moved);
  memmove(e->text + to + moved, e->text + to, from - to);
  memcpy(e->text + to, copy, moved);
}

/* Text positions at or behind `at`, where `moved` bytes have been put in. */
static void shift(tsr_cu *e, size_t at, size_t moved) {
  if (e->chain.end && e->chain.begin >= at) {
    e->chain.begin += moved;
    e->chain.close += moved;
    e->chain.end += moved;
  }
  if (e->nesting > 0 && e->loops_at >= at)
    e->loops_at += moved;
  if (e->turns.count && e->turns.at >= at)
    e->turns.at += moved;
  for (uint32_t i = 0; i < e->scope_count && i < TSR_CU_NESTING; ++i)
    if (e->scopes[i].at >= at)
      e->scopes[i].at += moved;
}

static void note_known(tsr_cu *e, const tsr_cu_known *known) {
  if (e->known_count == e->known_capacity) {
    e->known_capacity = e->known_capacity ? 2 * e->known_capacity : 16;
    tsr_cu_known *moved = tsr_cu_alloc(e, e->known_capacity, sizeof *moved);
    if (e->known_count)
      memcpy(moved, e->known, e->known_count * sizeof *moved);
    e->known = moved;
  }
  e->known[e->known_count++] = *known;
}

/* Has a loop ended since the top of the last of `scopes` scopes? */
static bool behind_loop(const tsr_cu *e, uint32_t scopes) {
  for (uint32_t i = scopes; i > 0 && i <= e->scope_count && i <= TSR_CU_NESTING; ++i)
    if (e->scopes[i - 1].looped)
      return true;
  return false;
}

/* Only kernels that set their registers have some to spare for what lives through a loop: elsewhere
 * ptxas moves whole addresses out of loops as soon as it can, and spills. A single number that is
 * computed in front of a loop of wgmma for behind it makes ptxas serialise (C7514). */
const char *tsr_cu_constant(tsr_cu *e, uint32_t scopes, const char *type, const char *text) {
  for (uint32_t i = e->known_count; i-- > 0;)
    if (!strcmp(e->known[i].text, text) && !strcmp(e->known[i].type, type) &&
        (e->sets_registers || e->known[i].loops_ended == e->loops_ended))
      return e->known[i].name;
  if (!e->sets_registers || (e->nesting == 0 && behind_loop(e, scopes)))
    scopes = 0;
  if (scopes == 0 && (e->nesting == 0 || e->loops_at == 0))
    return text;
  const size_t at = scopes ? e->scopes[scopes - 1].at : e->loops_at, start = e->used;
  const unsigned indent = e->indent, own = scopes ? e->scopes[scopes - 1].indent : e->loops_indent;
  const tsr_cu_known known = {type, text, tsr_cu_temporary(e, "q"), own, e->loops_ended};
  e->indent = own;
  tsr_cu_line(e, "const %s %s = %s;", type, known.name, text);
  e->indent = indent;
  shift(e, at, e->used - start);
  move_back(e, at, start);
  note_known(e, &known);
  return known.name;
}

void tsr_cu_scope_begin(tsr_cu *e, tsr_value variable, const char *index) {
  if (e->scope_count < TSR_CU_NESTING)
    e->scopes[e->scope_count] = (tsr_cu_scope){e->used, e->indent, variable, index, false};
  ++e->scope_count;
}

void tsr_cu_scope_end(tsr_cu *e) {
  --e->scope_count;
  ++e->loops_ended;
  if (e->scope_count > 0 && e->scope_count <= TSR_CU_NESTING)
    e->scopes[e->scope_count - 1].looped = true;
}

void tsr_cu_pass_chain(tsr_cu *e, size_t start) {
  tsr_cu_chain *chain = &e->chain;
  if (chain->end == 0 || start != chain->end || e->nesting > 0)
    return;
  size_t moved = e->used - start;
  move_back(e, chain->begin, start);
  chain->begin += moved;
  chain->close += moved;
  chain->end += moved;
}

static bool continues_chain(const tsr_cu *e, const tsr_cu_tile *tile, size_t declared) {
  if (e->chain.end == 0 || declared != e->chain.end || e->nesting > 0)
    return false;
  for (uint32_t axis = 0; axis < TSR_MAX_RANK; ++axis)
    if (e->chain.registers[axis] != (axis < tile->rank ? tsr_cu_registers_along(tile, axis) : 1))
      return false;
  return true;
}

void tsr_cu_begin_chained(tsr_cu *e, const tsr_cu_tile *tile, size_t declared) {
  tsr_cu_chain *chain = &e->chain;
  uint32_t braces = 0;
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    braces += tsr_cu_registers_along(tile, axis) > 1;
  if (braces == 0 || !continues_chain(e, tile, declared)) {
    *chain = (tsr_cu_chain){.begin = declared};
    for (uint32_t axis = 0; axis < TSR_MAX_RANK; ++axis)
      chain->registers[axis] = axis < tile->rank ? tsr_cu_registers_along(tile, axis) : 1;
    tsr_cu_begin(e, tile, false);
    return;
  }
  tsr_cu_pass_chain(e, declared);
  e->loops_at = 0;
  e->used = chain->close;
  e->indent += braces;
  e->braces[e->nesting++] = braces;
}

void tsr_cu_end_chained(tsr_cu *e) {
  e->chain.close = e->used;
  bool loops = e->braces[e->nesting - 1] > 0;
  tsr_cu_end(e);
  e->chain.end = loops ? e->used : 0;
}

/* A register digit with its place in the number r<axis> and in the array. */
typedef struct register_digit {
  uint32_t axis, below, size, order, weight;
} register_digit;

enum { MAX_REGISTER_DIGITS = TSR_MAX_RANK * TSR_CU_DIGITS };

/* By their order in the array; digits that continue each other in both numbers are one. */
static uint32_t register_digits(const tsr_cu_tile *tile, register_digit *digits) {
  uint32_t count = 0, kept = 0, weight = 1;
  for (uint32_t axis = 0; axis < tile->rank; ++axis) {
    const tsr_cu_axis *own = &tile->layout.axis[axis];
    uint32_t below = 1;
    for (uint32_t i = 0; tile->extents[axis] > 1 && i < own->count; ++i) {
      if (own->digits[i].stride)
        continue;
      register_digit next = {axis, below, own->digits[i].size, own->digits[i].order, 0};
      uint32_t at = count++;
      for (; at > 0 && digits[at - 1].order > next.order; --at)
        digits[at] = digits[at - 1];
      digits[at] = next;
      below *= next.size;
    }
  }
  for (uint32_t i = 0; i < count; ++i) {
    register_digit *last = kept ? &digits[kept - 1] : NULL, next = digits[i];
    next.weight = weight;
    weight *= next.size;
    if (last && last->axis == next.axis && last->below * last->size == next.below)
      last->size *= next.size;
    else
      digits[kept++] = next;
  }
  return kept;
}

const char *tsr_cu_register_number(tsr_cu *e, const tsr_cu_tile *tile, const char *const *r) {
  register_digit digits[MAX_REGISTER_DIGITS];
  const char *number = NULL;
  uint32_t count = register_digits(tile, digits);
  for (uint32_t i = 0; i < count; ++i) {
    const register_digit *d = &digits[i];
    const char *own = r && r[d->axis] ? r[d->axis] : tsr_cu_format(e, "r%u", d->axis);
    bool top = d->below * d->size == tsr_cu_registers_along(tile, d->axis);
    number = sum(e, digit_text(e, own, d->below, d->size, top, d->weight), number);
  }
  return number;
}

/* A field of a word of packed elements. */
static const char *packed_element(tsr_cu *e, const tsr_cu_tile *tile, const char *number) {
  const uint32_t bits = tsr_dtype_bits(tile->dtype), fields = 32 / bits;
  const char *text = tsr_cu_format(e, "(tsr_u%u)(%s[(%s) / %u] >> (%s) %% %u * %u)", bits,
                                   tile->name, number, fields, number, fields, bits);
  if (fields == 1)
    return tsr_cu_bitcast(e, TSR_U32, tile->dtype, tsr_cu_format(e, "%s[%s]", tile->name, number));
  return tsr_cu_bitcast(e, bits == 16 ? TSR_U16 : TSR_U8, tile->dtype,
                        tsr_cu_format(e, "(%s)", text));
}

const char *tsr_cu_register_at(tsr_cu *e, const tsr_cu_tile *tile, const char *const *r) {
  const char *number = tsr_cu_register_number(e, tile, r);
  if (number && tile->packed)
    return packed_element(e, tile, number);
  return number ? tsr_cu_format(e, "%s[%s]", tile->name, number) : tile->name;
}

const char *tsr_cu_register(tsr_cu *e, const tsr_cu_tile *tile) {
  return tsr_cu_register_at(e, tile, NULL);
}

const char *tsr_cu_both(tsr_cu *e, const char *a, const char *b) {
  if (!strcmp(a, "1"))
    return b;
  return !strcmp(b, "1") ? a : tsr_cu_format(e, "%s && %s", a, b);
}

const char *tsr_cu_inside(tsr_cu *e, const tsr_cu_tile *tile) {
  const char *all = "1";
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    if (!tsr_cu_exact(tile, axis))
      all = tsr_cu_both(e, all, tsr_cu_format(e, "x%u < %u", axis, tile->extents[axis]));
  return all;
}

const char *tsr_cu_owner(tsr_cu *e, const tsr_cu_tile *tile) {
  uint32_t copies = e->threads - 1;
  for (uint32_t axis = 0; axis < tile->rank; ++axis)
    for (uint32_t i = 0; tile->extents[axis] > 1 && i < tile->layout.axis[axis].count; ++i) {
      const tsr_cu_digit *digit = &tile->layout.axis[axis].digits[i];
      if (digit->stride != TSR_CU_TURN)
        copies &= ~((digit->size - 1) * digit->stride);
    }
  if (copies == 0)
    return "1";
  return copies == e->threads - 1 ? "thread == 0" : tsr_cu_format(e, "(thread & %u) == 0", copies);
}

const char *tsr_cu_linear(tsr_cu *e, const tsr_cu_tile *tile) {
  const char *index = NULL;
  for (uint32_t axis = tile->rank; axis-- > 0;) {
    if (tile->extents[axis] == 1)
      continue;
    index = index ? tsr_cu_format(e, "(%s) * %u + x%u", index, tile->extents[axis], axis)
                  : tsr_cu_format(e, "x%u", axis);
  }
  return index ? index : "0";
}

/* --- shared memory --- */

const char *tsr_cu_exchange(tsr_cu *e, const char *ctype, uint64_t bytes) {
  const char *name = tsr_cu_temporary(e, "s");
  if (bytes > e->exchange_bytes)
    e->exchange_bytes = bytes;
  tsr_cu_line(e, "%s *const %s = (%s *)(tsr_shared + %llu);", ctype, name, ctype,
              (unsigned long long)e->alloc_bytes);
  return name;
}

const char *tsr_cu_stage(tsr_cu *e, const tsr_cu_tile *tile) {
  const char *array = tsr_cu_exchange(e, tsr_cu_ctype(tile->dtype), 8 * tsr_cu_elements(tile));
  tsr_cu_begin(e, tile, true);
  const char *here = tsr_cu_both(e, tsr_cu_owner(e, tile), tsr_cu_inside(e, tile));
  const char *linear = tsr_cu_linear(e, tile), *value = tsr_cu_register(e, tile);
  if (!strcmp(here, "1"))
    tsr_cu_line(e, "%s[%s] = %s;", array, linear, value);
  else {
    tsr_cu_line(e, "if (%s)", here);
    tsr_cu_line(e, "  %s[%s] = %s;", array, linear, value);
  }
  tsr_cu_end(e);
  tsr_cu_barrier(e);
  return array;
}

const tsr_cu_tile *tsr_cu_relayout(tsr_cu *e, const tsr_cu_tile *tile,
                                   const tsr_cu_layout *layout) {
  if (tsr_cu_same_layout(tile, layout))
    return tile;
  tsr_cu_tile shape = *tile;
  shape.layout = *layout;
  const tsr_cu_tile *result = tsr_cu_declare(e, &shape, tsr_cu_temporary(e, "moved"));
  tsr_cu_line(e, "{");
  tsr_cu_pass(e, tile, result);
  tsr_cu_line(e, "}");
  return result;
}

void tsr_cu_assign(tsr_cu *e, const tsr_cu_tile *destination, const tsr_cu_tile *source) {
  source = tsr_cu_relayout(e, source, &destination->layout);
  tsr_cu_begin(e, destination, false);
  tsr_cu_line(e, "%s = %s;", tsr_cu_register(e, destination), tsr_cu_register(e, source));
  tsr_cu_end(e);
}

void tsr_cu_share(tsr_cu *e, const tsr_cu_tile *tile) {
  if (!strcmp(tsr_cu_owner(e, tile), "1"))
    return;
  tsr_cu_line(e, "{");
  tsr_cu_pass(e, tile, tile);
  tsr_cu_line(e, "}");
}
