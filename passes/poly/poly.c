/* Domains and subscripts are written in isl's own text, which it parses faster than it multiplies;
 * each question is then one or two set operations. Names: d<dim>, v<value>, q<expr> for products of
 * dims (taken as parameters of their own), o<k> for subscripts. */
#include "passes/poly/poly.h"
#include <isl/ctx.h>
#include <isl/map.h>
#include <isl/options.h>
#include <isl/set.h>
#include <isl/space.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAMES = 96, TEXT_BYTES = 1 << 15, MAX_OPERATIONS = 400000 };

struct tsr_poly {
  const tsr_allocator *allocator;
  isl_ctx *ctx;
};

tsr_status tsr_poly_create(const tsr_allocator *allocator, tsr_poly **out_poly) {
  *out_poly =
      (tsr_poly *)allocator->allocate(allocator->context, sizeof **out_poly, _Alignof(tsr_poly));
  if (*out_poly == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  **out_poly = (tsr_poly){.allocator = allocator, .ctx = isl_ctx_alloc()};
  if ((*out_poly)->ctx == NULL) {
    tsr_poly_destroy(*out_poly);
    *out_poly = NULL;
    return TSR_ERR_OUT_OF_MEMORY;
  }
  isl_options_set_on_error((*out_poly)->ctx, ISL_ON_ERROR_CONTINUE);
  return TSR_OK;
}

void tsr_poly_destroy(tsr_poly *poly) {
  if (poly == NULL)
    return;
  if (poly->ctx != NULL)
    isl_ctx_free(poly->ctx);
  poly->allocator->release(poly->allocator->context, poly, sizeof *poly);
}

/* --- writing text --- */

typedef struct writer {
  tsr_ir *ir;
  char *text;
  size_t length;
  bool failed;
  tsr_expr params[MAX_NAMES]; /* dims and products of dims */
  uint32_t param_count;
  tsr_value values[MAX_NAMES]; /* variables, par axes first */
  uint32_t value_count, par_count;
} writer;

static void put(writer *w, const char *format, ...) TSR_PRINTF(2, 3);
static void put(writer *w, const char *format, ...) {
  va_list list;
  va_start(list, format);
  size_t room = TEXT_BYTES - w->length;
  int written = vsnprintf(w->text + w->length, room, format, list);
  va_end(list);
  if (written < 0 || (size_t)written >= room)
    w->failed = true;
  else
    w->length += (size_t)written;
}

static void note_param(writer *w, tsr_expr expr) {
  for (uint32_t i = 0; i < w->param_count; i++)
    if (w->params[i] == expr)
      return;
  if (w->param_count == MAX_NAMES)
    w->failed = true;
  else
    w->params[w->param_count++] = expr;
}

static void note_value(writer *w, tsr_value value) {
  for (uint32_t i = 0; i < w->value_count; i++)
    if (w->values[i] == value)
      return;
  if (w->value_count == MAX_NAMES)
    w->failed = true;
  else
    w->values[w->value_count++] = value;
}

static void put_expr(writer *w, tsr_expr expr);

/* floordiv, ceildiv and mod by a number. */
static void put_division(writer *w, const tsr_expr_node *node, const char *before,
                         const char *between, const char *after) {
  int64_t divisor;
  if (!tsr_expr_is_int(w->ir, node->b, &divisor) || divisor <= 0) {
    w->failed = true;
    return;
  }
  put(w, "%s", before);
  put_expr(w, node->a);
  put(w, "%s%lld%s", between, (long long)divisor, after);
}

static void put_pair(writer *w, const char *before, tsr_expr a, const char *between, tsr_expr b) {
  put(w, "%s", before);
  put_expr(w, a);
  put(w, "%s", between);
  put_expr(w, b);
  put(w, ")");
}

/* The factor stands bare and last: the only place where isl's parser takes a negative one. */
static void put_scaled(writer *w, tsr_expr expr, int64_t factor) {
  put(w, "((");
  put_expr(w, expr);
  put(w, ") * %lld)", (long long)factor);
}

static void put_compound(writer *w, tsr_expr expr, const tsr_expr_node *node) {
  int64_t number;
  switch (node->op) {
  case TSR_INDEX_ADD:
    put_pair(w, "(", node->a, " + ", node->b);
    return;
  case TSR_INDEX_MUL:
    if (tsr_expr_is_int(w->ir, node->a, &number)) {
      put_scaled(w, node->b, number);
      return;
    }
    if (tsr_expr_is_int(w->ir, node->b, &number)) {
      put_scaled(w, node->a, number);
      return;
    }
    break;
  case TSR_INDEX_FLOORDIV:
    if (tsr_expr_is_int(w->ir, node->b, &number)) {
      put_division(w, node, "floor(", "/", ")");
      return;
    }
    break;
  case TSR_INDEX_CEILDIV:
    if (tsr_expr_is_int(w->ir, node->b, &number)) {
      put_division(w, node, "ceil(", "/", ")");
      return;
    }
    break;
  case TSR_INDEX_MOD:
    if (tsr_expr_is_int(w->ir, node->b, &number)) {
      put_division(w, node, "(", " mod ", ")");
      return;
    }
    break;
  case TSR_INDEX_MIN:
    put_pair(w, "min(", node->a, ", ", node->b);
    return;
  case TSR_INDEX_MAX:
    put_pair(w, "max(", node->a, ", ", node->b);
    return;
  default:
    break;
  }
  if (tsr_expr_has(w->ir, expr, TSR_INDEX_VALUE) || tsr_expr_has(w->ir, expr, TSR_INDEX_LANE)) {
    w->failed = true;
    return;
  }
  note_param(w, expr);
  put(w, "q%u", expr);
}

static void put_expr(writer *w, tsr_expr expr) {
  tsr_expr_node node = tsr_expr_get(w->ir, expr);
  switch (node.op) {
  case TSR_INDEX_INT:
    put(w, "%lld", (long long)node.number);
    return;
  case TSR_INDEX_DIM:
    note_param(w, expr);
    put(w, "d%u", node.dim);
    return;
  case TSR_INDEX_VALUE:
    note_value(w, node.value);
    put(w, "v%u", node.value);
    return;
  case TSR_INDEX_LANE:
    w->failed = true;
    return;
  default:
    put_compound(w, expr, &node);
  }
}

static void put_param(writer *w, tsr_expr param) {
  tsr_expr_node node = tsr_expr_get(w->ir, param);
  put(w, node.op == TSR_INDEX_DIM ? "d%u" : "q%u", node.op == TSR_INDEX_DIM ? node.dim : param);
}

/* What is known of a parameter: the range of a dim, the interval of a product. */
static void put_param_range(writer *w, tsr_expr param) {
  int64_t lo, hi;
  tsr_expr_bounds(w->ir, param, NULL, 0, &lo, &hi);
  put(w, " and ");
  put_param(w, param);
  put(w, " >= %lld", lo == INT64_MIN ? 0LL : (long long)lo);
  if (hi == INT64_MAX)
    return;
  put(w, " and ");
  put_param(w, param);
  put(w, " <= %lld", (long long)hi);
}

static void put_value_range(writer *w, tsr_value value) {
  const tsr_value_data *data = tsr_value_get(w->ir, value);
  int64_t step;
  if (data->lo == 0 || data->hi == 0)
    return;
  put(w, " and ");
  put_expr(w, data->lo);
  put(w, " <= v%u and v%u < ", value, value);
  put_expr(w, data->hi);
  if (!tsr_expr_is_int(w->ir, data->step, &step) || step == 1)
    return;
  put(w, " and (v%u - ", value);
  put_expr(w, data->lo);
  put(w, ") mod %lld = 0", (long long)step);
}

/* --- questions --- */

/* "[params] -> { [par] -> [o0, ...] : exists (others : o0 = subscript and ...) }", the element
 * confined to the buffer. The parts are written in the order in which their names
 * become known and put together at the end. */
static bool write_access(writer *w, const tsr_operand *operand, char *out) {
  const tsr_type_info *type = tsr_value_type(w->ir, operand->value);
  put(w, "1 = 1");
  for (uint32_t k = 0; k < operand->subscript_count; k++) {
    put(w, " and o%u = ", k);
    put_expr(w, operand->subscripts[k]);
    put(w, " and 0 <= o%u < ", k);
    put_expr(w, type->dims[k]);
  }
  for (uint32_t i = 0; i < w->value_count; i++)
    put_value_range(w, w->values[i]);
  for (uint32_t i = 0; i < w->param_count; i++)
    put_param_range(w, w->params[i]);
  if (w->failed)
    return false;
  size_t body = w->length;
  put(w, "%c[", 0);
  for (uint32_t i = 0; i < w->param_count; i++) {
    put(w, i == 0 ? "" : ", ");
    put_param(w, w->params[i]);
  }
  put(w, "] -> { [");
  for (uint32_t i = 0; i < w->par_count; i++)
    put(w, i == 0 ? "v%u" : ", v%u", w->values[i]);
  put(w, "] -> [");
  for (uint32_t k = 0; k < operand->subscript_count; k++)
    put(w, k == 0 ? "o%u" : ", o%u", k);
  put(w, "] : ");
  for (uint32_t i = w->par_count; i < w->value_count; i++)
    put(w, i == w->par_count ? "exists v%u" : ", v%u", w->values[i]);
  put(w, w->value_count > w->par_count ? " : " : "");
  int written = snprintf(out, TEXT_BYTES * 2, "%s%s }", w->text + body + 1, w->text);
  return !w->failed && written > 0 && written < TEXT_BYTES * 2;
}

static void write_box(writer *w, const tsr_operand *operand, char *out) {
  const tsr_type_info *type = tsr_value_type(w->ir, operand->value);
  w->length = 0;
  put(w, "1 = 1");
  for (uint32_t k = 0; k < operand->subscript_count; k++) {
    put(w, " and 0 <= o%u < ", k);
    put_expr(w, type->dims[k]);
  }
  for (uint32_t i = 0; i < w->param_count; i++)
    put_param_range(w, w->params[i]);
  size_t body = w->length;
  put(w, "%c[", 0);
  for (uint32_t i = 0; i < w->param_count; i++) {
    put(w, i == 0 ? "" : ", ");
    put_param(w, w->params[i]);
  }
  put(w, "] -> { [");
  for (uint32_t k = 0; k < operand->subscript_count; k++)
    put(w, k == 0 ? "o%u" : ", o%u", k);
  put(w, "] : ");
  snprintf(out, TEXT_BYTES * 2, "%s%s }", w->text + body + 1, w->text);
}

typedef struct access {
  tsr_arena arena;
  writer w;
  isl_map *map;
  isl_set *box;
} access;

static void note_par_axes(writer *w, tsr_op block) {
  const tsr_op_data *data = tsr_op_get(w->ir, block);
  const tsr_region_data *region = tsr_region_get(w->ir, data->regions[0]);
  for (uint32_t i = 0; i < region->arg_count; i++)
    if (tsr_value_get(w->ir, region->args[i])->role == TSR_ROLE_PAR)
      note_value(w, region->args[i]);
  w->par_count = w->value_count;
}

static bool open_access(access *a, tsr_poly *poly, tsr_ir *ir, tsr_op block,
                        const tsr_operand *operand) {
  *a = (access){.w = {.ir = ir}};
  tsr_arena_init(&a->arena, poly->allocator);
  a->w.text = (char *)tsr_arena_alloc(&a->arena, TEXT_BYTES);
  char *text = (char *)tsr_arena_alloc(&a->arena, TEXT_BYTES * 2);
  if (a->w.text == NULL || text == NULL)
    return false;
  isl_ctx_reset_operations(poly->ctx);
  isl_ctx_reset_error(poly->ctx);
  isl_ctx_set_max_operations(poly->ctx, MAX_OPERATIONS);
  note_par_axes(&a->w, block);
  if (!write_access(&a->w, operand, text))
    return false;
  a->map = isl_map_read_from_str(poly->ctx, text);
  write_box(&a->w, operand, text);
  a->box = a->w.failed ? NULL : isl_set_read_from_str(poly->ctx, text);
  return a->map != NULL && a->box != NULL;
}

/* Products of dims stand for any number, so that a counterexample may need one that cannot be. */
static bool takes_products(const writer *w) {
  for (uint32_t i = 0; i < w->param_count; i++)
    if (tsr_expr_get(w->ir, w->params[i]).op != TSR_INDEX_DIM)
      return true;
  return false;
}

static tsr_poly_answer close_access(access *a, tsr_poly *poly, isl_bool answer) {
  isl_map_free(a->map);
  isl_set_free(a->box);
  tsr_arena_reset(&a->arena);
  isl_ctx_set_max_operations(poly->ctx, 0);
  isl_ctx_reset_error(poly->ctx);
  if (answer == isl_bool_true)
    return TSR_POLY_YES;
  return answer == isl_bool_false && !takes_products(&a->w) ? TSR_POLY_NO : TSR_POLY_UNKNOWN;
}

/* Pairs of points that touch the same element, one by each operand, are all of the form (p, p). */
static isl_bool only_itself(const access *a, const access *b) {
  isl_map *meets = isl_map_apply_range(isl_map_copy(a->map), isl_map_reverse(isl_map_copy(b->map)));
  isl_map *same = isl_map_identity(isl_map_get_space(meets));
  isl_bool answer = isl_map_is_subset(meets, same);
  isl_map_free(meets);
  isl_map_free(same);
  return answer;
}

tsr_poly_answer tsr_poly_par_disjoint(tsr_poly *poly, tsr_ir *ir, tsr_op block,
                                      const tsr_operand *one, const tsr_operand *other) {
  access a, b;
  bool open = open_access(&a, poly, ir, block, one);
  open = open_access(&b, poly, ir, block, other) && open;
  isl_bool answer = open ? only_itself(&a, &b) : isl_bool_error;
  (void)close_access(&b, poly, isl_bool_error);
  return close_access(&a, poly, answer);
}

tsr_poly_answer tsr_poly_covers(tsr_poly *poly, tsr_ir *ir, tsr_op block,
                                const tsr_operand *operand) {
  access a;
  isl_bool answer = isl_bool_error;
  if (open_access(&a, poly, ir, block, operand)) {
    isl_set *touched = isl_map_range(isl_map_copy(a.map));
    answer = isl_set_is_subset(a.box, touched);
    isl_set_free(touched);
  }
  return close_access(&a, poly, answer);
}
