/* Rules of min, max, comparisons, and, or. The four that are associative and commutative are kept
 * as left-leaning chains of distinct operands in order, none of which is known to decide against
 * another. */
#include "ir/ir_internal.h"

typedef struct operand_set {
  tsr_expr items[TSR_SUM_MAX_TERMS];
  uint32_t count;
  bool too_many;
} operand_set;

static void put_item(operand_set *set, tsr_expr item) {
  for (uint32_t i = 0; i < set->count; i++)
    if (set->items[i] == item)
      return;
  if (set->count == TSR_SUM_MAX_TERMS)
    set->too_many = true;
  else
    set->items[set->count++] = item;
}

static void drop_item(operand_set *set, uint32_t number) {
  set->count--;
  set->items[number] = set->items[set->count];
}

/* The first operand of a chain leaned on last. */
static void flatten(const tsr_ir *ir, tsr_index_op op, tsr_expr expr, operand_set *set) {
  tsr_expr_node node = tsr_expr_get(ir, expr);
  while (node.op == op) {
    put_item(set, node.b);
    expr = node.a;
    node = tsr_expr_get(ir, expr);
  }
  put_item(set, expr);
}

static tsr_expr chain(tsr_ir *ir, tsr_index_op op, operand_set *set) {
  tsr_expr result;
  if (set->too_many)
    return tsr_expr_refuse(ir, TSR_ERR_LIMIT, "an index expression has too many operands");
  for (uint32_t i = 1; i < set->count; i++)
    for (uint32_t j = i; j > 0 && tsr_expr_order(ir, set->items[j - 1], set->items[j]) > 0; j--) {
      tsr_expr swap = set->items[j];
      set->items[j] = set->items[j - 1];
      set->items[j - 1] = swap;
    }
  result = set->items[0];
  for (uint32_t i = 1; i < set->count; i++)
    result = tsr_expr_node_make(ir, op, result, set->items[i]);
  return result;
}

/* Takes out what can never be the result: for min, whatever another operand is never above. */
static void drop_ordered(tsr_ir *ir, tsr_index_op op, operand_set *set) {
  for (uint32_t i = 0; i < set->count; i++)
    for (uint32_t j = i + 1; j < set->count;) {
      tsr_expr low = op == TSR_INDEX_MIN ? set->items[i] : set->items[j];
      tsr_expr high = op == TSR_INDEX_MIN ? set->items[j] : set->items[i];
      if (tsr_expr_proves_difference(ir, high, low, 0)) {
        drop_item(set, j);
      } else if (tsr_expr_proves_difference(ir, low, high, 0)) {
        set->items[i] = set->items[j];
        drop_item(set, j);
        j = i + 1;
      } else {
        j++;
      }
    }
}

tsr_expr tsr_expr_min_max(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b) {
  operand_set set = {.count = 0, .too_many = false};
  flatten(ir, op, a, &set);
  flatten(ir, op, b, &set);
  drop_ordered(ir, op, &set);
  return chain(ir, op, &set);
}

/* --- comparisons --- */

static tsr_expr truth(tsr_ir *ir, bool value) {
  return tsr_expr_int(ir, value);
}

static tsr_expr equality(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b) {
  bool differ = tsr_expr_proves_difference(ir, a, b, 1) || tsr_expr_proves_difference(ir, b, a, 1);
  if (a == b || differ)
    return truth(ir, (op == TSR_INDEX_NE) == differ);
  return tsr_expr_order(ir, a, b) < 0 ? tsr_expr_node_make(ir, op, a, b)
                                      : tsr_expr_node_make(ir, op, b, a);
}

tsr_expr tsr_expr_compare_op(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b) {
  int64_t gap = op == TSR_INDEX_LT;
  if (op == TSR_INDEX_EQ || op == TSR_INDEX_NE)
    return equality(ir, op, a, b);
  if (tsr_expr_proves_difference(ir, b, a, gap))
    return truth(ir, true);
  if (tsr_expr_proves_difference(ir, a, b, 1 - gap))
    return truth(ir, false);
  return tsr_expr_node_make(ir, op, a, b);
}

/* --- and, or --- */

static bool is_truth(const tsr_ir *ir, tsr_expr expr) {
  const tsr_expr_slot *slot = tsr_expr_slot_of(ir, expr);
  return slot->lo >= 0 && slot->hi <= 1;
}

static bool known_truth(const tsr_ir *ir, tsr_expr expr, bool *out_value) {
  const tsr_expr_slot *slot = tsr_expr_slot_of(ir, expr);
  *out_value = slot->lo > 0 || slot->hi < 0;
  return *out_value || (slot->lo == 0 && slot->hi == 0);
}

tsr_expr tsr_expr_logic(tsr_ir *ir, tsr_index_op op, tsr_expr a, tsr_expr b) {
  operand_set set = {.count = 0, .too_many = false};
  bool neutral = op == TSR_INDEX_AND, value;
  flatten(ir, op, a, &set);
  flatten(ir, op, b, &set);
  for (uint32_t i = 0; i < set.count;) {
    if (!known_truth(ir, set.items[i], &value))
      i++;
    else if (value == neutral)
      drop_item(&set, i);
    else
      return truth(ir, !neutral);
  }
  if (set.count == 0)
    return truth(ir, neutral);
  if (set.count == 1 && !is_truth(ir, set.items[0]))
    return tsr_expr_binary(ir, TSR_INDEX_NE, set.items[0], tsr_expr_int(ir, 0));
  return chain(ir, op, &set);
}
