#include "passes/reshape_map.h"

typedef struct axes {
  const tsr_type_info *type;
  uint32_t next;
} axes;

static bool is_one(const tsr_ir *ir, tsr_expr dim) {
  return tsr_expr_equals_int(ir, dim, 1);
}

/* Of a tensor without elements every subscript is as good as any other, and division by 0 none. */
static bool is_none(const tsr_ir *ir, tsr_expr dim) {
  return tsr_expr_equals_int(ir, dim, 0);
}

static bool skip_ones(const tsr_ir *ir, axes *a) {
  while (a->next < a->type->rank && is_one(ir, a->type->dims[a->next]))
    a->next++;
  return a->next < a->type->rank;
}

static tsr_expr product(tsr_ir *ir, const tsr_type_info *type, uint32_t first, uint32_t end) {
  tsr_expr all = tsr_expr_int(ir, 1);
  for (uint32_t i = first; i < end; i++)
    all = tsr_expr_mul(ir, all, type->dims[i]);
  return all;
}

/* Extends both ends to the least group with equal products; symbolic products are equal when the
 * expressions are. */
static bool match_group(tsr_ir *ir, const axes *from, const axes *to, uint32_t *from_end,
                        uint32_t *to_end) {
  for (uint32_t f = from->next + 1; f <= from->type->rank; f++) {
    tsr_expr left = product(ir, from->type, from->next, f);
    for (uint32_t t = to->next + 1; t <= to->type->rank; t++)
      if (product(ir, to->type, to->next, t) == left) {
        *from_end = f;
        *to_end = t;
        return true;
      }
  }
  return false;
}

static tsr_expr join(tsr_ir *ir, const axes *from, uint32_t end, const tsr_expr *subscripts) {
  tsr_expr flat = tsr_expr_int(ir, 0);
  for (uint32_t i = from->next; i < end; i++)
    flat = tsr_expr_add(ir, tsr_expr_mul(ir, flat, from->type->dims[i]), subscripts[i]);
  return flat;
}

/* The outermost axis needs no mod: subscripts are in range, and where they are not the element must
 * stay out of range. */
static void part(tsr_ir *ir, const axes *to, uint32_t end, tsr_expr flat, tsr_expr *out) {
  bool outermost = true;
  for (uint32_t i = to->next; i < end; i++) {
    tsr_expr inner = product(ir, to->type, i + 1, end);
    if (is_one(ir, to->type->dims[i]) || is_none(ir, to->type->dims[i]) || is_none(ir, inner)) {
      out[i] = tsr_expr_int(ir, 0);
      continue;
    }
    out[i] = tsr_expr_binary(ir, TSR_INDEX_FLOORDIV, flat, inner);
    if (!outermost)
      out[i] = tsr_expr_binary(ir, TSR_INDEX_MOD, out[i], to->type->dims[i]);
    outermost = false;
  }
}

bool tsr_reshape_subscripts(tsr_ir *ir, const tsr_type_info *from, const tsr_type_info *to,
                            const tsr_expr *subscripts, tsr_expr *out) {
  axes f = {from, 0}, t = {to, 0};
  for (uint32_t i = 0; i < to->rank; i++)
    out[i] = tsr_expr_int(ir, 0);
  for (;;) {
    bool more_from = skip_ones(ir, &f), more_to = skip_ones(ir, &t);
    if (!more_from || !more_to)
      return more_from == more_to;
    uint32_t from_end, to_end;
    if (!match_group(ir, &f, &t, &from_end, &to_end))
      return false;
    part(ir, &t, to_end, join(ir, &f, from_end, subscripts), out);
    f.next = from_end;
    t.next = to_end;
  }
}
