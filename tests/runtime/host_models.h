/* Host programs for tests on every device. Each hb_begin is in here, hb_finish is not. */
#ifndef TESTS_RUNTIME_HOST_MODELS_H
#define TESTS_RUNTIME_HOST_MODELS_H
#include "tests/runtime/host_programs.h"

static const uint8_t test_yes = 1;

/* y = x + one per turn; as many turns as l has elements. z: x itself. */
static inline void build_counted(host_builder *b) {
  uint32_t n, l, x, more, y, go, in, out, body;
  hb_begin(b);
  n = hb_dim(b, "N", TSR_DIM_FROM_INPUT, 0, 1 << 20);
  l = hb_dim(b, "L", TSR_DIM_FROM_INPUT, 0, 1 << 20);
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(n))));
  more = hb_input(b, "l", hb_tensor(b, TSR_I32, SHAPE(BIND(l))));
  (void)more;
  go = hb_constant(b, hb_tensor(b, TSR_BOOL, SCALAR), &test_yes, 1);
  (void)hb_part(b, ADD_ONE, 1, "N", TSR_I32);
  body = hb_regions(b, 1);
  in = hb_param(b, body, hb_tensor(b, TSR_I32, SHAPE(DIM(n))));
  out = hb_tensor(b, TSR_I32, SHAPE(DIM(n)));
  hb_call(b, body, 0, VALUES(in), out);
  hb_yield(b, body, go);
  hb_yield(b, body, out);
  y = hb_tensor(b, TSR_I32, SHAPE(DIM(n)));
  (void)hb_loop(b, 0, body, DIM(l), VALUES(x), VALUES(y));
  hb_output(b, "y", y);
  hb_output(b, "z", x);
}

/* While v < bound, at least once: v = v + 1. In each turn of an outer loop of `turns`, bound grows
 * by what the inner one gave, which is captured by nothing: v begins at 0. */
static inline void build_nested(host_builder *b, int64_t turns) {
  static const int32_t zero = 0;
  uint32_t start_value, go, outer, inner, bound, v, next, less, found, sum, result;
  hb_begin(b);
  start_value = hb_input(b, "bound", hb_tensor(b, TSR_I32, SCALAR));
  go = hb_constant(b, hb_tensor(b, TSR_BOOL, SCALAR), &test_yes, 1);
  v = hb_constant(b, hb_tensor(b, TSR_I32, SCALAR), &zero, sizeof zero);
  (void)hb_part(b, ADD_ONE, 1, NULL, TSR_I32);
  (void)hb_part(b, LESS, 2, NULL, TSR_BOOL);
  (void)hb_part(b, SUM, 2, NULL, TSR_I32);
  outer = hb_regions(b, 1);
  inner = hb_regions(b, 1);
  bound = hb_param(b, outer, hb_tensor(b, TSR_I32, SCALAR));
  {
    uint32_t in = hb_param(b, inner, hb_tensor(b, TSR_I32, SCALAR));
    next = hb_tensor(b, TSR_I32, SCALAR);
    less = hb_tensor(b, TSR_BOOL, SCALAR);
    hb_call(b, inner, 0, VALUES(in), next);
    hb_call(b, inner, 1, VALUES(next, bound), less);
    hb_yield(b, inner, less);
    hb_yield(b, inner, next);
  }
  found = hb_tensor(b, TSR_I32, SCALAR);
  (void)hb_loop(b, outer, inner, INT64_MIN, VALUES(v), VALUES(found));
  sum = hb_tensor(b, TSR_I32, SCALAR);
  hb_call(b, outer, 2, VALUES(found, bound), sum);
  hb_yield(b, outer, go);
  hb_yield(b, outer, sum);
  result = hb_tensor(b, TSR_I32, SCALAR);
  (void)hb_loop(b, 0, outer, turns, VALUES(start_value), VALUES(result));
  hb_output(b, "result", result);
}

/* which: 0 by an operand, 1 by whether N is 0. then: x + 1; else: the first m of x's elements,
 * which are as many as are not 0 (a device dim), all fresh dims of the result. */
static inline void build_if(host_builder *b, int which) {
  uint32_t n, m, r, x, c, then, other, a, y;
  tsr_host_step *step;
  hb_begin(b);
  n = hb_dim(b, "N", TSR_DIM_FROM_INPUT, 0, 1 << 20);
  m = hb_dim(b, "M", TSR_DIM_FROM_HOST, 0, 1000);
  r = hb_dim(b, "R", TSR_DIM_FROM_HOST, 0, 500);
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(n))));
  c = hb_input(b, "c", hb_tensor(b, TSR_BOOL, SCALAR));
  (void)hb_part(b, ADD_ONE, 1, "N", TSR_I32);
  b->parts[b->program.part_count] = test_filter_program();
  {
    static const tsr_dim_desc dims[] = {{"N", TSR_DIM_FROM_CALLER, 0, 1 << 20},
                                        {"M", TSR_DIM_FROM_DEVICE, 0, 1000}};
    b->parts[b->program.part_count].dims = dims;
  }
  b->program.part_count++;
  then = hb_regions(b, 2);
  other = then + 1;
  a = hb_tensor(b, TSR_I32, SHAPE(DIM(n)));
  hb_call(b, then, 0, VALUES(x), a);
  hb_yield(b, then, a);
  {
    uint32_t twice = hb_value(b, TSR_HOST_LIST, TSR_I32, ANY_SHAPE);
    uint32_t both = hb_dim(b, "B", TSR_DIM_FROM_HOST, 0, 1 << 21);
    uint32_t joined = hb_tensor(b, TSR_I32, SHAPE(BIND(both)));
    uint32_t found = hb_tensor(b, TSR_I32, SHAPE(DIM(m)));
    static const int64_t numbers[] = {0, 0, 0};
    (void)hb_step(b, other, TSR_HOST_LIST_MAKE, VALUES(x, x), VALUES(twice));
    hb_numbers(b, hb_step(b, other, TSR_HOST_LIST_CONCAT, VALUES(twice), VALUES(joined)), numbers,
               3);
    hb_call(b, other, 1, VALUES(x, joined), found);
    hb_yield(b, other, found);
  }
  y = hb_tensor(b, TSR_I32, SHAPE(BIND(r)));
  step = hb_step(b, 0, TSR_HOST_IF, which == 0 ? &c : NULL, which == 0 ? 1 : 0, VALUES(y));
  if (which != 0)
    step->code = hb_code(b, DIM(n));
  step->first_region = then;
  step->region_count = 2;
  step->nodes = "/if,/If_1";
  hb_output(b, "y", y);
}

static inline uint32_t hb_list(host_builder *b, uint32_t rank, const int64_t *extents) {
  return hb_value(b, TSR_HOST_LIST, TSR_I32, rank, extents);
}

static inline uint32_t hb_join(host_builder *b, uint32_t region, uint32_t list, uint32_t result,
                               int64_t axis, int64_t stack, int64_t reverse) {
  const int64_t numbers[] = {axis, stack, reverse};
  hb_numbers(b, hb_step(b, region, TSR_HOST_LIST_CONCAT, VALUES(list), VALUES(result)), numbers, 3);
  return result;
}

/* Inputs: 0 a list l of vectors, 1 a vector t, 2 and 3 positions p and q. Outputs: 0 l with t at
 * p, 1 l with t at the end, 2 l without q, 3 l without its last, 4 l[q], 5 the length, 6 all of l
 * in one, 7 the list t, t, t, 8 l. `maybe_empty`: without those that need items (2, 3, 4). */
static inline void build_lists(host_builder *b, bool maybe_empty) {
  uint32_t t_dim, item_dim, all_dim, l, t, p, q, out[9];
  hb_begin(b);
  t_dim = hb_dim(b, "T", TSR_DIM_FROM_INPUT, 0, 100);
  item_dim = hb_dim(b, "item", TSR_DIM_FROM_HOST, 0, 100);
  all_dim = hb_dim(b, "all", TSR_DIM_FROM_HOST, 0, 10000);
  l = hb_input(b, "l", hb_list(b, SHAPE(DIM(item_dim))));
  t = hb_input(b, "t", hb_tensor(b, TSR_I32, SHAPE(BIND(t_dim))));
  p = hb_input(b, "p", hb_tensor(b, TSR_I64, SCALAR));
  q = hb_input(b, "q", hb_tensor(b, TSR_I32, SCALAR));
  for (int i = 0; i < 9; i++)
    out[i] = i == 4   ? hb_tensor(b, TSR_I32, SHAPE(BIND(item_dim)))
             : i == 5 ? hb_tensor(b, TSR_I64, SCALAR)
             : i == 6 ? hb_tensor(b, TSR_I32, SHAPE(BIND(all_dim)))
                      : hb_list(b, ANY_SHAPE);
  (void)hb_step(b, 0, TSR_HOST_LIST_INSERT, VALUES(l, t, p), VALUES(out[0]));
  (void)hb_step(b, 0, TSR_HOST_LIST_INSERT, VALUES(l, t), VALUES(out[1]));
  if (!maybe_empty) {
    hb_step(b, 0, TSR_HOST_LIST_ERASE, VALUES(l, q), VALUES(out[2]))->nodes = "Erase";
    (void)hb_step(b, 0, TSR_HOST_LIST_ERASE, VALUES(l), VALUES(out[3]));
    (void)hb_step(b, 0, TSR_HOST_LIST_AT, VALUES(l, q), VALUES(out[4]));
  }
  (void)hb_step(b, 0, TSR_HOST_LIST_LENGTH, VALUES(l), VALUES(out[5]));
  (void)hb_join(b, 0, l, out[6], 0, 0, 0);
  (void)hb_step(b, 0, TSR_HOST_LIST_MAKE, VALUES(t, t, t), VALUES(out[7]));
  for (uint32_t i = 0; i < 8; i++)
    hb_output(b, "out", maybe_empty && i >= 2 && i <= 4 ? l : out[i]);
  hb_output(b, "l", l);
}

/* x: i32[A, B], s: i32[S], k: i64[]. Outputs: 0 x in columns by the sizes s, 1 those joined again,
 * 2 backwards; 3 rows without their axis, 4 those stacked along axis 1: the transpose; 5 x in
 * blocks of k rows, 6 those joined. */
static inline void build_pieces(host_builder *b) {
  static const int64_t columns[] = {1, 1}, rows[] = {0, 1}, blocks[] = {0, 1};
  uint32_t da, db, ds, x, s, k, by_size, by_row, by_block;
  uint32_t piece, height;
  hb_begin(b);
  da = hb_dim(b, "A", TSR_DIM_FROM_INPUT, 0, 100);
  db = hb_dim(b, "B", TSR_DIM_FROM_INPUT, 0, 100);
  ds = hb_dim(b, "S", TSR_DIM_FROM_INPUT, 0, 100);
  piece = hb_dim(b, "piece", TSR_DIM_FROM_HOST, 0, 100);
  height = hb_dim(b, "height", TSR_DIM_FROM_HOST, 0, 100);
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(da), BIND(db))));
  s = hb_input(b, "s", hb_tensor(b, TSR_I32, SHAPE(BIND(ds))));
  k = hb_input(b, "k", hb_tensor(b, TSR_I64, SCALAR));
  by_size = hb_list(b, SHAPE(DIM(da), DIM(piece)));
  hb_numbers(b, hb_step(b, 0, TSR_HOST_LIST_SPLIT, VALUES(x, s), VALUES(by_size)), columns, 2);
  hb_output(b, "by size", by_size);
  hb_output(b, "joined",
            hb_join(b, 0, by_size, hb_tensor(b, TSR_I32, SHAPE(DIM(da), DIM(db))), 1, 0, 0));
  hb_output(b, "backwards",
            hb_join(b, 0, by_size, hb_tensor(b, TSR_I32, SHAPE(DIM(da), DIM(db))), 1, 0, 1));
  by_row = hb_list(b, SHAPE(DIM(db)));
  hb_numbers(b, hb_step(b, 0, TSR_HOST_LIST_SPLIT, VALUES(x), VALUES(by_row)), rows, 2);
  hb_output(b, "by row", by_row);
  hb_output(b, "transpose",
            hb_join(b, 0, by_row, hb_tensor(b, TSR_I32, SHAPE(DIM(db), DIM(da))), 1, 1, 0));
  by_block = hb_list(b, SHAPE(DIM(height), DIM(db)));
  hb_numbers(b, hb_step(b, 0, TSR_HOST_LIST_SPLIT, VALUES(x, k), VALUES(by_block)), blocks, 2);
  hb_output(b, "by block", by_block);
  hb_output(b, "blocks",
            hb_join(b, 0, by_block, hb_tensor(b, TSR_I32, SHAPE(DIM(da), DIM(db))), 0, 0, 0));
}

/* As many turns as l has elements: v, which begins as x, becomes v + 1 with x behind it, and goes
 * to a list before; result: v, the list, and its items in one. */
static inline void build_growing(host_builder *b) {
  uint32_t n, l, in_dim, next_dim, out_dim, all_dim, x, more, go, none, body, v, list, plus, both,
      next, longer, result, results, all;
  hb_begin(b);
  n = hb_dim(b, "N", TSR_DIM_FROM_INPUT, 0, 100);
  l = hb_dim(b, "L", TSR_DIM_FROM_INPUT, 0, 100);
  in_dim = hb_dim(b, "P", TSR_DIM_FROM_HOST, 0, 10000);
  next_dim = hb_dim(b, "Q", TSR_DIM_FROM_HOST, 0, 10000);
  out_dim = hb_dim(b, "R", TSR_DIM_FROM_HOST, 0, 10000);
  all_dim = hb_dim(b, "all", TSR_DIM_FROM_HOST, 0, 1 << 20);
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(n))));
  more = hb_input(b, "l", hb_tensor(b, TSR_I32, SHAPE(BIND(l))));
  (void)more;
  go = hb_constant(b, hb_tensor(b, TSR_BOOL, SCALAR), &test_yes, 1);
  (void)hb_part(b, ADD_ONE, 1, "P", TSR_I32);
  none = hb_list(b, ANY_SHAPE);
  (void)hb_step(b, 0, TSR_HOST_LIST_MAKE, NO_VALUES, VALUES(none));
  body = hb_regions(b, 1);
  v = hb_param(b, body, hb_tensor(b, TSR_I32, SHAPE(BIND(in_dim))));
  list = hb_param(b, body, hb_list(b, ANY_SHAPE));
  plus = hb_tensor(b, TSR_I32, SHAPE(DIM(in_dim)));
  both = hb_list(b, ANY_SHAPE);
  next = hb_tensor(b, TSR_I32, SHAPE(BIND(next_dim)));
  longer = hb_list(b, ANY_SHAPE);
  hb_call(b, body, 0, VALUES(v), plus);
  (void)hb_step(b, body, TSR_HOST_LIST_MAKE, VALUES(plus, x), VALUES(both));
  (void)hb_join(b, body, both, next, 0, 0, 0);
  (void)hb_step(b, body, TSR_HOST_LIST_INSERT, VALUES(list, v), VALUES(longer));
  hb_yield(b, body, go);
  hb_yield(b, body, next);
  hb_yield(b, body, longer);
  result = hb_tensor(b, TSR_I32, SHAPE(BIND(out_dim)));
  results = hb_list(b, ANY_SHAPE);
  (void)hb_loop(b, 0, body, DIM(l), VALUES(x, none), VALUES(result, results));
  all = hb_tensor(b, TSR_I32, SHAPE(BIND(all_dim)));
  (void)hb_join(b, 0, results, all, 0, 0, 0);
  hb_output(b, "v", result);
  hb_output(b, "list", results);
  hb_output(b, "all", all);
}

/* As many turns as l has elements: x is appended to a list, in one branch (x has elements) or in
 * the other (none, then twice). */
static inline void build_branches(host_builder *b) {
  uint32_t n, l, x, more, go, none, body, list, then, once, twice, first, next, result;
  tsr_host_step *step;
  hb_begin(b);
  n = hb_dim(b, "N", TSR_DIM_FROM_INPUT, 0, 100);
  l = hb_dim(b, "L", TSR_DIM_FROM_INPUT, 0, 1 << 20);
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(n))));
  more = hb_input(b, "l", hb_tensor(b, TSR_I32, SHAPE(BIND(l))));
  (void)more;
  go = hb_constant(b, hb_tensor(b, TSR_BOOL, SCALAR), &test_yes, 1);
  none = hb_list(b, ANY_SHAPE);
  (void)hb_step(b, 0, TSR_HOST_LIST_MAKE, NO_VALUES, VALUES(none));
  body = hb_regions(b, 1);
  list = hb_param(b, body, hb_list(b, ANY_SHAPE));
  then = hb_regions(b, 2);
  once = hb_list(b, ANY_SHAPE);
  first = hb_list(b, ANY_SHAPE);
  twice = hb_list(b, ANY_SHAPE);
  (void)hb_step(b, then, TSR_HOST_LIST_INSERT, VALUES(list, x), VALUES(once));
  hb_yield(b, then, once);
  (void)hb_step(b, then + 1, TSR_HOST_LIST_INSERT, VALUES(list, x), VALUES(first));
  (void)hb_step(b, then + 1, TSR_HOST_LIST_INSERT, VALUES(first, x), VALUES(twice));
  hb_yield(b, then + 1, twice);
  next = hb_list(b, ANY_SHAPE);
  step = hb_step(b, body, TSR_HOST_IF, NO_VALUES, VALUES(next));
  step->code = hb_code(b, DIM(n));
  step->first_region = then;
  step->region_count = 2;
  hb_yield(b, body, go);
  hb_yield(b, body, next);
  result = hb_list(b, ANY_SHAPE);
  (void)hb_loop(b, 0, body, DIM(l), VALUES(none), VALUES(result));
  hb_output(b, "list", result);
}

/* Inputs: 0 an optional vector m, 1 an optional list o of vectors, 2 a vector x. Outputs: 0 m; 1
 * whether m is there; 2 m + 1, or x; 3 o, or the list m', x where m' is 2; 4 an absent one; 5 o. */
static inline void build_maybes(host_builder *b) {
  uint32_t d, md, rd, m, o, x, has, listed, then, y, made, absent, list;
  tsr_host_step *step;
  hb_begin(b);
  d = hb_dim(b, "X", TSR_DIM_FROM_INPUT, 0, 100);
  md = hb_dim(b, "M", TSR_DIM_FROM_HOST, 0, 100);
  rd = hb_dim(b, "R", TSR_DIM_FROM_HOST, 0, 100);
  m = hb_input(b, "m", hb_value(b, TSR_HOST_MAYBE, TSR_I32, SHAPE(DIM(md))));
  o = hb_input(b, "o", hb_value(b, TSR_HOST_MAYBE_LIST, TSR_I32, ANY_SHAPE));
  x = hb_input(b, "x", hb_tensor(b, TSR_I32, SHAPE(BIND(d))));
  (void)hb_part(b, ADD_ONE, 1, "M", TSR_I32);
  has = hb_tensor(b, TSR_BOOL, SCALAR);
  (void)hb_step(b, 0, TSR_HOST_MAYBE_HAS, VALUES(m), VALUES(has));
  then = hb_regions(b, 2);
  {
    uint32_t value = hb_tensor(b, TSR_I32, SHAPE(BIND(md))),
             plus = hb_tensor(b, TSR_I32, SHAPE(DIM(md)));
    (void)hb_step(b, then, TSR_HOST_MAYBE_GET, VALUES(m), VALUES(value));
    hb_call(b, then, 0, VALUES(value), plus);
    hb_yield(b, then, plus);
    hb_yield(b, then + 1, x);
  }
  y = hb_tensor(b, TSR_I32, SHAPE(BIND(rd)));
  step = hb_step(b, 0, TSR_HOST_IF, VALUES(has), VALUES(y));
  step->first_region = then;
  step->region_count = 2;
  listed = hb_tensor(b, TSR_BOOL, SCALAR);
  (void)hb_step(b, 0, TSR_HOST_MAYBE_HAS, VALUES(o), VALUES(listed));
  then = hb_regions(b, 2);
  {
    uint32_t got = hb_list(b, ANY_SHAPE), other = hb_list(b, ANY_SHAPE);
    (void)hb_step(b, then, TSR_HOST_MAYBE_GET, VALUES(o), VALUES(got));
    hb_yield(b, then, got);
    (void)hb_step(b, then + 1, TSR_HOST_LIST_MAKE, VALUES(y, x), VALUES(other));
    hb_yield(b, then + 1, other);
  }
  list = hb_list(b, ANY_SHAPE);
  step = hb_step(b, 0, TSR_HOST_IF, VALUES(listed), VALUES(list));
  step->first_region = then;
  step->region_count = 2;
  made = hb_value(b, TSR_HOST_MAYBE_LIST, TSR_I32, ANY_SHAPE);
  (void)hb_step(b, 0, TSR_HOST_MAYBE_MAKE, VALUES(list), VALUES(made));
  absent = hb_value(b, TSR_HOST_MAYBE, TSR_I32, ANY_SHAPE);
  (void)hb_step(b, 0, TSR_HOST_MAYBE_MAKE, NO_VALUES, VALUES(absent));
  hb_output(b, "m", m);
  hb_output(b, "has", has);
  hb_output(b, "y", y);
  hb_output(b, "made", made);
  hb_output(b, "absent", absent);
  hb_output(b, "o", o);
}

static inline uint32_t hb_strings(host_builder *b, uint32_t kind, uint32_t rank,
                                  const int64_t *extents) {
  uint32_t value = hb_value(b, kind, TSR_I64, rank, extents);
  b->values[value].text = 1;
  return value;
}

/* a: strings [N], l: a list of strings. 0: a with "!" behind each; 1: l with that behind; 2: a as
 * an optional; 3: whether each of a is "a" or "b". */
static inline void build_strings(host_builder *b) {
  static const int64_t exclamation = 1;
  uint32_t n, a, l, mark, loud, longer, maybe, match;
  tsr_host_step *step;
  hb_begin(b);
  b->texts[0] = "";
  b->texts[1] = "!";
  b->program.text_count = 2;
  b->host_texts[0] = "a|b";
  b->program.host_text_count = 1;
  n = hb_dim(b, "N", TSR_DIM_FROM_INPUT, 0, 100);
  a = hb_input(b, "a", hb_strings(b, TSR_HOST_TENSOR, SHAPE(BIND(n))));
  l = hb_input(b, "l", hb_strings(b, TSR_HOST_LIST, ANY_SHAPE));
  mark = hb_constant(b, hb_strings(b, TSR_HOST_TENSOR, SCALAR), &exclamation, sizeof exclamation);
  loud = hb_strings(b, TSR_HOST_TENSOR, SHAPE(DIM(n)));
  (void)hb_step(b, 0, TSR_HOST_TEXT_CONCAT, VALUES(a, mark), VALUES(loud));
  longer = hb_strings(b, TSR_HOST_LIST, ANY_SHAPE);
  (void)hb_step(b, 0, TSR_HOST_LIST_INSERT, VALUES(l, loud), VALUES(longer));
  maybe = hb_strings(b, TSR_HOST_MAYBE, ANY_SHAPE);
  (void)hb_step(b, 0, TSR_HOST_MAYBE_MAKE, VALUES(a), VALUES(maybe));
  match = hb_tensor(b, TSR_BOOL, SHAPE(DIM(n)));
  step = hb_step(b, 0, TSR_HOST_TEXT_MATCH, VALUES(a), VALUES(match));
  step->text_count = 1;
  hb_output(b, "loud", loud);
  hb_output(b, "longer", longer);
  hb_output(b, "maybe", maybe);
  hb_output(b, "match", match);
}

#endif
