/* Rules of single ops that stand in kernels only: scratch, copies, atoms, narrow types,
 * synchronisation. */
#include "ir/target.h"
#include "ir/verify_internal.h"
#include <string.h>

static tsr_status check_one_of(tsr_verifier *v, tsr_op op, const char *key, int64_t a, int64_t b,
                               int64_t c) {
  int64_t number = tsr_op_int(v->ir, op, key, a);
  if (number == a || number == b || number == c)
    return TSR_OK;
  return tsr_verify_fail(v, op, "'%s' is %lld; it may be %lld, %lld or %lld", key,
                         (long long)number, (long long)a, (long long)b, (long long)c);
}

tsr_status tsr_verify_alloc(tsr_verifier *v, tsr_op op) {
  tsr_level level = result_type(v, op, 0)->level;
  if (level == TSR_LEVEL_GLOBAL || level == TSR_LEVEL_NONE)
    return tsr_verify_fail(v, op, "scratch lives at l2, cluster, l1 or reg");
  return check_one_of(v, op, "swizzle", 32, 64, 128);
}

/* The source may be gathered. */
static bool has_lanes(const tsr_verifier *v, const tsr_operand *operand) {
  for (uint32_t i = 0; i < operand->subscript_count; i++)
    if (tsr_expr_has(v->ir, operand->subscripts[i], TSR_INDEX_LANE))
      return true;
  return false;
}

/* One element of what `mbarrier` made. */
static tsr_status check_mbarrier_operand(tsr_verifier *v, tsr_op op, uint32_t number) {
  const tsr_value_data *value = tsr_value_get(v->ir, data_of(v, op)->operands[number].value);
  if (value->role != TSR_ROLE_RESULT || data_of(v, value->def)->code != TSR_OP_MBARRIER)
    return tsr_verify_fail(v, op, "operand %u is no mbarrier", number);
  return tsr_verify_subscripts(v, op, number, NULL, 0, false);
}

static tsr_status check_tma(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  bool tma =
      strcmp(tsr_op_string(v->ir, op, "atom") == NULL ? "" : tsr_op_string(v->ir, op, "atom"),
             "tma") == 0;
  if (!tma)
    return tsr_op_attr(v->ir, op, "multicast") == NULL && data->operand_count == 2
               ? TSR_OK
               : tsr_verify_fail(v, op, "only a copy by tma has an mbarrier or 'multicast'");
  if (has_lanes(v, &data->operands[0]) || has_lanes(v, &data->operands[1]))
    return tsr_verify_fail(v, op, "a copy by tma moves a box: subscripts without lanes");
  if (tsr_op_float(v->ir, op, "pad", 0) != 0)
    return tsr_verify_fail(v, op, "a copy by tma pads with 0");
  if ((operand_type(v, op, 0)->level == TSR_LEVEL_GLOBAL) != (data->operand_count == 3))
    return tsr_verify_fail(v, op,
                           "a copy by tma from global memory, and only that, has an mbarrier");
  return TSR_OK;
}

/* Inside `for {stages = n}` a copy that may run ahead needs n places to go to. */
static tsr_status check_ring(tsr_verifier *v, tsr_op op) {
  const tsr_type_info *to = operand_type(v, op, 1);
  const char *atom = tsr_op_string(v->ir, op, "atom");
  tsr_op around = parent_of(v, op);
  int64_t stages, places;
  while (around != 0 && data_of(v, around)->code == TSR_OP_IF)
    around = parent_of(v, around);
  if (around == 0 || data_of(v, around)->code != TSR_OP_FOR || atom == NULL ||
      strcmp(atom, "cp.async") != 0)
    return TSR_OK;
  stages = tsr_op_int(v->ir, around, "stages", 1);
  if (stages > 1 &&
      (to->rank == 0 || !tsr_expr_is_int(v->ir, to->dims[0], &places) || places < stages))
    return tsr_verify_fail(v, op,
                           "the target's first axis must have a place for each of %lld stages",
                           (long long)stages);
  return TSR_OK;
}

tsr_status tsr_verify_copy(tsr_verifier *v, tsr_op op) {
  const tsr_attr *shape = tsr_op_attr(v->ir, op, "shape");
  TSR_TRY(tsr_verify_word(v, op, "atom", "vector cp.async tma"));
  TSR_TRY(tsr_verify_word(v, op, "cache", CACHE_WORDS));
  if (has_lanes(v, &data_of(v, op)->operands[0]) != has_lanes(v, &data_of(v, op)->operands[1]))
    return tsr_verify_fail(v, op, "either both subscripts of a copy use lanes or none");
  TSR_TRY(tsr_verify_subscripts(v, op, 0, shape->u.exprs, shape->count, true));
  TSR_TRY(tsr_verify_subscripts(v, op, 1, shape->u.exprs, shape->count, false));
  TSR_TRY(tsr_verify_target(v, op, 1));
  if (data_of(v, op)->operand_count == 3)
    TSR_TRY(check_mbarrier_operand(v, op, 2));
  if (operand_type(v, op, 0)->dtype != operand_type(v, op, 1)->dtype)
    return tsr_verify_dtypes(v, op);
  if (!has_lanes(v, &data_of(v, op)->operands[0]) &&
      (shape->count > operand_type(v, op, 0)->rank || shape->count > operand_type(v, op, 1)->rank))
    return tsr_verify_fail(v, op, "the box has more axes than a buffer");
  TSR_TRY(check_ring(v, op));
  return check_tma(v, op);
}

tsr_status tsr_verify_fragment(tsr_verifier *v, tsr_op op) {
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  TSR_TRY(tsr_verify_word(v, op, "atom", "vector ldmatrix"));
  TSR_TRY(tsr_verify_subscripts(v, op, 0, result_type(v, op, 0)->dims, result_type(v, op, 0)->rank,
                                false));
  if (!has_lanes(v, &data_of(v, op)->operands[0]) &&
      result_type(v, op, 0)->rank > operand_type(v, op, 0)->rank)
    return tsr_verify_fail(v, op, "the box has more axes than the buffer");
  return operand_type(v, op, 0)->dtype == result_type(v, op, 0)->dtype ? TSR_OK
                                                                       : tsr_verify_dtypes(v, op);
}

/* Elements of a that meet those of c one by one, and one row of b. */
static bool fits_each(tsr_verifier *v, tsr_op op) {
  const tsr_type_info *a = operand_type(v, op, 0), *b = operand_type(v, op, 1);
  return a->dims[1] == operand_type(v, op, 2)->dims[1] && tsr_expr_equals_int(v->ir, b->dims[0], 1);
}

static tsr_status check_contract_attrs(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  const tsr_attr *warps = tsr_op_attr(v->ir, op, "warps");
  bool a = data->operands[0].subscripted, b = data->operands[1].subscripted;
  int64_t k = tsr_op_int(v->ir, op, "k", 0);
  if (a && b && k < 1)
    return tsr_verify_fail(v, op, "'k' is needed where both operands are read in place");
  if (k != 0 && ((!a && !tsr_expr_equals_int(v->ir, operand_type(v, op, 0)->dims[1], k)) ||
                 (!b && !tsr_expr_equals_int(v->ir, operand_type(v, op, 1)->dims[0], k))))
    return tsr_verify_fail(v, op, "'k' is not the operands' k");
  const tsr_atom *atom = tsr_atom_find(tsr_op_string(v->ir, op, "atom"));
  if (atom == NULL)
    return tsr_verify_fail(v, op, "no atom is named \"%s\"", tsr_op_string(v->ir, op, "atom"));
  if (tsr_op_attr(v->ir, op, "row") != NULL && (a || atom->m != 1 || atom->k != 1))
    return tsr_verify_fail(v, op, "'row' is for rows of registers by atoms fma.*");
  if (tsr_op_bool(v->ir, op, "each", false) &&
      (a || b || k != 0 || atom->m != 1 || atom->k != 1 || !fits_each(v, op)))
    return tsr_verify_fail(v, op,
                           "'each' is for elements of a and a row of b in registers, by "
                           "atoms fma.*");
  if (warps != NULL && warps->count != 2)
    return tsr_verify_fail(v, op, "'warps' divides m and n: two numbers");
  return TSR_OK;
}

/* Rows of a that meet rows `row` and up of c. */
static bool fits_rows(tsr_verifier *v, tsr_op op) {
  const int64_t row = tsr_op_int(v->ir, op, "row", 0);
  int64_t a = 0, c = 0;
  return tsr_expr_is_int(v->ir, operand_type(v, op, 0)->dims[0], &a) &&
         tsr_expr_is_int(v->ir, operand_type(v, op, 2)->dims[0], &c) && row >= 0 && row < c &&
         a <= c - row;
}

/* a [m, k], b [k, n], c [m, n]; where an operand is read in place its subscripts say the shape. */
tsr_status tsr_verify_contract(tsr_verifier *v, tsr_op op) {
  const tsr_op_data *data = data_of(v, op);
  const tsr_type_info *c = operand_type(v, op, 2);
  TSR_TRY(tsr_verify_register(v, op, 2));
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  if (!tsr_verify_same_shape(c, result_type(v, op, 0)))
    return tsr_verify_fail(v, op, "accumulator and result differ");
  if (c->rank != 2)
    return tsr_verify_fail(v, op, "the accumulator must have two axes");
  for (uint32_t i = 0; i < 2; i++) {
    const tsr_type_info *type = operand_type(v, op, i);
    if (data->operands[i].subscripted) {
      TSR_TRY(tsr_verify_subscripts(v, op, i, NULL, 2, false));
      continue;
    }
    TSR_TRY(tsr_verify_register(v, op, i));
    const bool rows = i == 0 && tsr_op_attr(v->ir, op, "row") != NULL;
    if (type->rank != 2 || (rows ? !fits_rows(v, op) : type->dims[i] != c->dims[i]))
      return tsr_verify_fail(v, op, "operand %u is %s; it does not fit an accumulator %s", i,
                             tsr_verify_value_text(v, data->operands[i].value),
                             tsr_verify_value_text(v, data->operands[2].value));
  }
  if (!data->operands[0].subscripted && !data->operands[1].subscripted &&
      !tsr_op_bool(v->ir, op, "each", false) &&
      operand_type(v, op, 0)->dims[1] != operand_type(v, op, 1)->dims[0])
    return tsr_verify_fail(v, op, "the operands differ in k");
  return check_contract_attrs(v, op);
}

tsr_status tsr_verify_tile_transpose(tsr_verifier *v, tsr_op op) {
  const tsr_type_info *from = operand_type(v, op, 0), *to = result_type(v, op, 0);
  int64_t perm[TSR_MAX_RANK];
  uint32_t count, seen = 0;
  TSR_TRY(tsr_verify_register(v, op, 0));
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  if (!tsr_op_ints(v->ir, op, "perm", perm, TSR_MAX_RANK, &count) || count != from->rank ||
      to->rank != from->rank || to->dtype != from->dtype)
    return tsr_verify_fail(v, op, "'perm' does not fit the tile");
  for (uint32_t i = 0; i < count; i++) {
    if (perm[i] < 0 || perm[i] >= count || (seen >> perm[i] & 1) != 0)
      return tsr_verify_fail(v, op, "'perm' is no permutation");
    seen |= 1u << perm[i];
    if (to->dims[i] != from->dims[perm[i]])
      return tsr_verify_fail(v, op, "the result's axis %u is not axis %d of the operand", i,
                             (int)perm[i]);
  }
  return TSR_OK;
}

tsr_status tsr_verify_tile_slice(tsr_verifier *v, tsr_op op) {
  TSR_TRY(tsr_verify_register(v, op, 0));
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  if (operand_type(v, op, 0)->rank != result_type(v, op, 0)->rank ||
      tsr_op_attr(v->ir, op, "start")->count != result_type(v, op, 0)->rank)
    return tsr_verify_fail(v, op, "'start' has one place per axis of the tile");
  return TSR_OK;
}

tsr_status tsr_verify_tile_relayout(tsr_verifier *v, tsr_op op) {
  const tsr_attr *map = tsr_op_attr(v->ir, op, "map");
  TSR_TRY(tsr_verify_register(v, op, 0));
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  if (operand_type(v, op, 0)->dtype != result_type(v, op, 0)->dtype)
    return tsr_verify_dtypes(v, op);
  if (map->count != operand_type(v, op, 0)->rank)
    return tsr_verify_fail(v, op, "'map' has one subscript per axis of the operand");
  for (uint32_t i = 0; i < map->count; i++)
    if (!tsr_verify_lanes_below(v, map->u.exprs[i], result_type(v, op, 0)->rank))
      return tsr_verify_fail(v, op, "subscript %u of 'map' uses a lane that the result lacks", i);
  return TSR_OK;
}

/* Scales and zero points repeat along runs of the result's axes. */
static tsr_status check_decode_factor(tsr_verifier *v, tsr_op op, uint32_t number) {
  const tsr_type_info *type = operand_type(v, op, number), *to = result_type(v, op, 0);
  TSR_TRY(tsr_verify_register(v, op, number));
  if (type->dtype != to->dtype)
    return tsr_verify_dtypes(v, op);
  if (type->rank == 0)
    return TSR_OK;
  for (uint32_t a = 0; a < to->rank; a++) {
    int64_t extent, runs;
    if (type->rank != to->rank || !tsr_expr_is_int(v->ir, to->dims[a], &extent) ||
        !tsr_expr_is_int(v->ir, type->dims[a], &runs) || runs < 1 || extent % runs != 0)
      return tsr_verify_fail(v, op, "operand %u is %s; its extents must divide those of %s", number,
                             tsr_verify_value_text(v, data_of(v, op)->operands[number].value),
                             tsr_verify_value_text(v, data_of(v, op)->results[0]));
  }
  return TSR_OK;
}

static unsigned format_bits(const tsr_verifier *v, tsr_op op) {
  const char *format = tsr_op_string(v->ir, op, "format");
  const tsr_attr *table = tsr_op_attr(v->ir, op, "table");
  tsr_dtype dtype = tsr_dtype_parse(format, strlen(format));
  if (strcmp(format, "table") != 0)
    return table == NULL && dtype != TSR_DTYPE_NONE ? (unsigned)tsr_dtype_bits(dtype) : 0;
  for (unsigned bits = 1; table != NULL && bits <= 8; bits++)
    if (table->count == 1u << bits)
      return bits;
  return 0;
}

/* Where there is no map, the last axis runs through the fields of its words. */
static tsr_status check_decode_shape(tsr_verifier *v, tsr_op op, unsigned fields) {
  const tsr_type_info *words = operand_type(v, op, 0), *to = result_type(v, op, 0);
  const tsr_attr *map = tsr_op_attr(v->ir, op, "map");
  if (map != NULL) {
    if (map->count != words->rank + 1)
      return tsr_verify_fail(v, op, "'map' has a subscript per axis of the words and the field");
    for (uint32_t i = 0; i < map->count; i++)
      if (!tsr_verify_lanes_below(v, map->u.exprs[i], to->rank))
        return tsr_verify_fail(v, op, "subscript %u of 'map' uses a lane that the result lacks", i);
    return TSR_OK;
  }
  if (words->rank == 0 && fields == 1)
    return TSR_OK;
  if (words->rank != to->rank || words->rank == 0)
    return tsr_verify_fail(v, op, "words and result differ in rank and there is no 'map'");
  for (uint32_t a = 0; a < to->rank; a++)
    if (to->dims[a] !=
        (a + 1 == to->rank ? tsr_expr_mul_int(v->ir, words->dims[a], fields) : words->dims[a]))
      return tsr_verify_fail(v, op, "the result's axis %u does not fit the words", a);
  return TSR_OK;
}

tsr_status tsr_verify_decode(tsr_verifier *v, tsr_op op) {
  unsigned bits = format_bits(v, op), word;
  TSR_TRY(tsr_verify_register(v, op, 0));
  TSR_TRY(tsr_verify_result_level(v, op, 0));
  word = (unsigned)tsr_dtype_bits(operand_type(v, op, 0)->dtype);
  if (bits == 0)
    return tsr_verify_fail(v, op, "'format' is a dtype, or \"table\" with 2, 4 .. 256 numbers");
  if (!tsr_verify_is_integer(operand_type(v, op, 0)->dtype) || word < bits)
    return tsr_verify_fail(v, op, "operand 0 must be words of at least %u bits", bits);
  for (uint32_t i = 1; i < data_of(v, op)->operand_count; i++)
    TSR_TRY(check_decode_factor(v, op, i));
  return check_decode_shape(v, op, word / bits);
}

/* --- synchronisation --- */

tsr_status tsr_verify_roles(tsr_verifier *v, tsr_op op) {
  static const char *const lists[] = {"names", "registers", "warps"};
  uint32_t regions = data_of(v, op)->region_count;
  const tsr_attr *warps = tsr_op_attr(v->ir, op, "warps");
  int64_t total = tsr_op_int(v->ir, v->container, "warps", 0), number;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    const tsr_attr *list = tsr_op_attr(v->ir, op, lists[i]);
    if (list != NULL && list->count != regions)
      return tsr_verify_fail(v, op, "%u %s for %u roles", list->count, lists[i], regions);
  }
  for (uint32_t i = 0; i < warps->count; i++) {
    if (!tsr_expr_is_int(v->ir, warps->u.exprs[i], &number) || number < 1 || number > total)
      return tsr_verify_fail(v, op, "the warps of the roles are not the kernel's");
    total -= number;
  }
  return total == 0 ? TSR_OK
                    : tsr_verify_fail(v, op, "the warps of the roles are not the kernel's");
}

tsr_status tsr_verify_barrier(tsr_verifier *v, tsr_op op) {
  return tsr_verify_word(v, op, "scope", "warp role task cluster grid");
}

tsr_status tsr_verify_mbarrier(tsr_verifier *v, tsr_op op) {
  const tsr_type_info *type = result_type(v, op, 0);
  if (type->level != TSR_LEVEL_L1 || type->dtype != TSR_U64)
    return tsr_verify_fail(v, op, "mbarriers are u64 in l1");
  if (tsr_op_int(v->ir, op, "arrivals", 0) < 1)
    return tsr_verify_fail(v, op, "'arrivals' is at least 1");
  return TSR_OK;
}

tsr_status tsr_verify_arrive(tsr_verifier *v, tsr_op op) {
  return check_mbarrier_operand(v, op, 0);
}

tsr_status tsr_verify_wait(tsr_verifier *v, tsr_op op) {
  bool on = data_of(v, op)->operand_count == 1;
  if (on != (tsr_op_attr(v->ir, op, "parity") != NULL) ||
      on == (tsr_op_attr(v->ir, op, "pending") != NULL) ||
      on == (tsr_op_attr(v->ir, op, "of") != NULL))
    return tsr_verify_fail(v, op, "a wait has an mbarrier and 'parity', or 'of' and 'pending'");
  TSR_TRY(tsr_verify_word(v, op, "of", "contract copy"));
  return on ? check_mbarrier_operand(v, op, 0) : TSR_OK;
}
