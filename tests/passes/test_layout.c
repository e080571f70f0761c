/* layout against the graph without it: random networks of products over the channels of a pixel,
 * windows of each channel, sums of two images, and of what keeps images as they are: transposed
 * readers, windows over all channels, groups of them, steps, outputs. */
#include "passes/passes.h"
#include "tests/passes/block_eval.h"
#include <stdarg.h>
#include <stdio.h>

enum { LANES = 4, MOST_IMAGES = 16, TEXT_BYTES = 1 << 14, NETWORKS = 300 / TEST_SHARE };

typedef struct shape {
  int channels, rows, width;
} shape;

typedef struct network {
  char text[TEXT_BYTES];
  size_t length;
  uint64_t state;
  int batch;
  shape images[MOST_IMAGES];
  int count, weights;
} network;

static int below(network *n, int limit) {
  n->state = n->state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (int)((n->state >> 33) % (uint64_t)limit);
}

__attribute__((format(printf, 2, 3))) static void say(network *n, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  n->length += (size_t)vsnprintf(n->text + n->length, TEXT_BYTES - n->length, format, arguments);
  va_end(arguments);
  ck_assert_uint_lt(n->length, TEXT_BYTES);
}

/* The next image, of what `say` said before it. */
static void add_image(network *n, shape s) {
  say(n, " : f32[%d, %d, %d, %d]\n", n->batch, s.channels, s.rows, s.width);
  n->images[n->count++] = s;
}

static void add_conv(network *n, int of, int channels, int groups, int window, int stride) {
  const shape from = n->images[of];
  const int pad = window / 2;
  const shape to = {channels, (from.rows + 2 * pad - window) / stride + 1,
                    (from.width + 2 * pad - window) / stride + 1};
  say(n, " %%w%d = const {random = %d} : f32[%d, %d, %d, %d]\n", n->weights, n->weights + 1,
      channels, from.channels / groups, window, window);
  say(n,
      " %%i%d = conv %%i%d, %%w%d {dilations = [1, 1], groups = %d, high = [%d, %d], low = [%d, "
      "%d], strides = [%d, %d]}",
      n->count, of, n->weights++, groups, pad, pad, pad, pad, stride, stride);
  add_image(n, to);
}

static void add_sum(network *n, int of) {
  const shape a = n->images[of];
  for (int i = n->count; i-- > 0;) {
    const shape b = n->images[i];
    if (i == of || a.channels != b.channels || a.rows != b.rows || a.width != b.width)
      continue;
    say(n, " %%i%d = add %%i%d, %%i%d", n->count, of, i);
    add_image(n, a);
    return;
  }
  say(n, " %%i%d = abs %%i%d", n->count, of);
  add_image(n, a);
}

static void add_step(network *n) {
  static const int widths[] = {8, 12, 16, 8, 16, 6};
  const int of = below(n, 3) > 0 ? n->count - 1 : below(n, n->count);
  const shape from = n->images[of];
  switch (below(n, 28)) {
  case 0:
    say(n, " %%i%d = transpose %%i%d {perm = [0, 1, 3, 2]}", n->count, of);
    add_image(n, (shape){from.channels, from.width, from.rows});
    return;
  case 1:
    say(n, " %%i%d = transpose %%i%d {perm = [0, 2, 1, 3]}", n->count, of);
    add_image(n, (shape){from.rows, from.channels, from.width});
    return;
  case 2:
    add_conv(n, of, widths[below(n, 6)], 1, 3, 1 + below(n, 2));
    return;
  case 3:
    add_conv(n, of, from.channels % 2 ? 1 : 8, from.channels % 2 ? 1 : 2, 1, 1);
    return;
  case 4:
    add_conv(n, of, widths[below(n, 6)], 1, 1, 2);
    return;
  case 5:
  case 6:
  case 7:
    add_sum(n, of);
    return;
  case 8:
  case 9:
  case 10:
  case 11:
  case 12:
  case 13:
  case 14:
    add_conv(n, of, from.channels, from.channels, 3, 1 + below(n, 2));
    return;
  default:
    add_conv(n, of, widths[below(n, 6)], 1, 1, 1);
  }
}

static void make_network(network *n, uint64_t seed) {
  static const int sides[] = {3, 5, 7, 4};
  *n = (network){.state = seed * 77777 + 1};
  n->batch = 1 + below(n, 2);
  say(n, "graph @g {\n %%i0 = input {name = \"x\"}");
  add_image(n, (shape){8, sides[below(n, 4)], sides[below(n, 4)]});
  const int steps = 3 + below(n, 8);
  for (int i = 0; i < steps; i++)
    add_step(n);
  const int of = n->count - 1, other = below(n, n->count);
  if (below(n, 4) > 0) {
    say(n, " %%mean = reduce %%i%d {axes = [2, 3], combine = \"add\"} : f32[%d, %d]\n", of,
        n->batch, n->images[of].channels);
    say(n, " output %%mean {name = \"mean\"}\n");
  } else {
    say(n, " output %%i%d {name = \"y\"}\n", of);
  }
  if (other != of && other > 0 && below(n, 3) == 0)
    say(n, " output %%i%d {name = \"z\"}\n", other);
  say(n, "}\n");
}

static tsr_region body_of(const tsr_ir *ir) {
  return tsr_op_get(ir, tsr_region_get(ir, tsr_ir_top(ir))->first)->regions[0];
}

static tsr_ir *lower(const network *n, int64_t bytes) {
  const tsr_pass_options options = {
      .check_blocks = true, .layout_bytes = bytes, .layout_lanes = LANES};
  tsr_diag diag = {0};
  tsr_ir *ir = NULL;
  ck_assert_msg(tsr_ir_parse(tsr_allocator_default(), n->text, n->length, "test.tsr", &diag, &ir) ==
                    TSR_OK,
                "%s\n%s", diag.message, n->text);
  ck_assert_msg(tsr_passes_run(ir, &options, &diag) == TSR_OK, "%s\n%s", diag.message, n->text);
  return ir;
}

static void run(machine *m, tsr_ir *ir) {
  uint64_t state = 5;
  machine_init(m, ir, NULL, 0);
  TSR_FOR_EACH_OP (ir, body_of(ir), op) {
    if (tsr_op_get(ir, op)->code != TSR_OP_INPUT)
      continue;
    buffer *b = make_buffer(m, tsr_op_get(ir, op)->results[0]);
    for (int64_t i = 0; i < b->count; i++) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      b->data[i].f = (double)(state >> 33) * 0x1p-30 - 1;
    }
  }
  run_graph(m, body_of(ir));
}

/* The innermost extents of what blocks store as images. */
static int innermost_extents(const tsr_ir *ir, int64_t *out_dims, int most) {
  int count = 0;
  TSR_FOR_EACH_OP (ir, body_of(ir), op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code != TSR_OP_BLOCK || tsr_value_type(ir, data->results[0])->rank != 4 ||
        count == most)
      continue;
    ck_assert(tsr_expr_is_int(ir, tsr_value_type(ir, data->results[0])->dims[3], &out_dims[count]));
    count++;
  }
  return count;
}

/* How many images moved; the outputs are the same number for number. */
static int check_network(const network *n) {
  tsr_ir *plain = lower(n, 0), *laid = lower(n, 1 << 20);
  int64_t before[64], after[64];
  const int count = innermost_extents(plain, before, 64);
  machine want, got;
  int moved = 0;
  ck_assert_int_eq(innermost_extents(laid, after, 64), count);
  for (int i = 0; i < count; i++)
    moved += before[i] != after[i];
  run(&want, plain);
  run(&got, laid);
  tsr_op a = tsr_region_get(plain, body_of(plain))->first;
  TSR_FOR_EACH_OP (laid, body_of(laid), op) {
    if (tsr_op_get(laid, op)->code != TSR_OP_OUTPUT)
      continue;
    while (tsr_op_get(plain, a)->code != TSR_OP_OUTPUT)
      a = tsr_op_get(plain, a)->next;
    const buffer *x = &want.buffers[tsr_op_get(plain, a)->operands[0].value];
    const buffer *y = &got.buffers[tsr_op_get(laid, op)->operands[0].value];
    ck_assert_int_eq(x->count, y->count);
    ck_assert_int_eq(memcmp(x->dims, y->dims, sizeof x->dims), 0);
    for (int64_t i = 0; i < x->count; i++)
      ck_assert_msg(x->data[i].f == y->data[i].f, "element %d: %g, not %g\n%s", (int)i,
                    y->data[i].f, x->data[i].f, n->text);
    a = tsr_op_get(plain, a)->next;
  }
  machine_free(&want);
  machine_free(&got);
  tsr_ir_destroy(plain);
  tsr_ir_destroy(laid);
  return moved;
}

START_TEST(random_networks) {
  static network n;
  int moved = 0, networks = 0;
  for (uint64_t seed = 1; seed <= NETWORKS; seed++) {
    make_network(&n, seed);
    const int images = check_network(&n);
    moved += images;
    networks += images > 0;
  }
  /* Chance makes more than that; none would mean that nothing was tested. */
  ck_assert_int_gt(moved, NETWORKS / 4);
  ck_assert_int_gt(networks, NETWORKS / 10);
}
END_TEST

/* Variables that start elsewhere, or walk in steps, do so in the block that has moved too. */
START_TEST(variables_keep_their_bounds) {
  static network n;
  n = (network){0};
  say(&n, "%s",
      "graph @g {\n %x = input {name = \"x\"} : f32[1, 16, 7, 7]\n %w = const {random = 1} : "
      "f32[8, 16]\n %v = const {random = 2} : f32[8, 3, 3]\n %a = block par(%c in 8, %p in 7, %q "
      "in 7) red(%k in 1..16 step 2) {\n %0 = load %x[0, %k, %p, %q] : f32\n %1 = load %w[%c, %k] "
      ": f32\n %2 = mul %0, %1 : f32\n %3 = reduce %2 {combine = \"add\"} : f32\n store %3, %a[0, "
      "%c, %p, %q]\n } : f32[1, 8, 7, 7]\n %b = block par(%c in 8, %p in 7, %q in 7) red(%u in "
      "1..3, %s in 0..3 step 2, %j in 1) {\n %0 = load %a[0, %c, %p + %u - 1, %q + %s - 1 + %j] : "
      "f32\n %1 = load %v[%c, %u, %s] : f32\n %2 = mul %0, %1 : f32\n %3 = reduce %2 {combine = "
      "\"add\"} : f32\n store %3, %b[0, %c, %p, %q]\n } : f32[1, 8, 7, 7]\n %m = block par(%c in "
      "8) red(%p in 7, %q in 7) {\n %0 = load %b[0, %c, %p, %q] : f32\n %1 = reduce %0 {combine = "
      "\"add\"} : f32\n store %1, %m[%c]\n } : f32[8]\n output %m {name = \"m\"}\n}\n");
  ck_assert_int_eq(check_network(&n), 2);
}
END_TEST

/* Which images move does not depend on the order of what reads them: %a would move because a window
 * reads lines of 6, and with it %c and %b, were it not for %d, a product of it that is an output.
 */
START_TEST(order_does_not_matter) {
  static const char product[] = "{dilations = [1, 1], groups = 1, high = [0, 0], low = [0, 0], "
                                "strides = [1, 1]} : f32[1, 8, 6, 6]";
  static network n;
  for (int way = 0; way < 4; way++) {
    n = (network){0};
    say(&n,
        "graph @g {\n %%x = input {name = \"x\"} : f32[1, 8, 6, 6]\n %%w = const {random = 1} : "
        "f32[8, 8, 1, 1]\n %%u = const {random = 3} : f32[8, 8, 1, 1]\n %%v = const {random = 2} : "
        "f32[8, 1, 3, 3]\n %%a = conv %%x, %%w %s\n "
        "%%c = conv %%a, %%v {dilations = [1, 1], groups = 8, high = [1, 1], low = [1, 1], strides "
        "= [1, 1]} : f32[1, 8, 6, 6]\n",
        product);
    for (int i = 0; i < 2; i++)
      say(&n, " %%%s = conv %%a, %%%s %s\n", i == way % 2 ? "b" : "d", i == way % 2 ? "w" : "u",
          product);
    static const char *const read[] = {"c", "b", "d"};
    for (int i = 0; i < (way < 2 ? 2 : 3); i++)
      say(&n,
          " %%m%d = reduce %%%s {axes = [2, 3], combine = \"add\"} : f32[1, 8]\n output %%m%d "
          "{name = \"m%d\"}\n",
          i, read[i], i, i);
    say(&n, way < 2 ? " output %%d {name = \"d\"}\n}\n" : "}\n");
    ck_assert_int_eq(check_network(&n), way < 2 ? 0 : 4);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("layout");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, random_networks);
  tcase_add_test(tests, variables_keep_their_bounds);
  tcase_add_test(tests, order_does_not_matter);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
