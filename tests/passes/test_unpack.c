/* unpack against the evaluator: the graph before and after the pass, given the same packed bytes,
 * give the same packed bytes. Every code of every type, every cast of a sweep of floats and
 * integers, shapes that end inside a byte. */
#include "ir/eval.h"
#include "ir/graph_build.h"
#include "passes/passes.h"
#include "runtime/float_convert.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const tsr_dtype packed[] = {TSR_B1, TSR_I2, TSR_U2, TSR_I4, TSR_U4, TSR_F4E2M1};
enum { PACKED = sizeof packed / sizeof *packed, MOST = 4096 };

static const tsr_dtype sources[] = {TSR_BOOL, TSR_I8,  TSR_U8,   TSR_I32, TSR_I64,      TSR_U64,
                                    TSR_F16,  TSR_F32, TSR_BF16, TSR_F64, TSR_F8E4M3UZ, TSR_F8E5M2,
                                    TSR_B1,   TSR_I2,  TSR_U2,   TSR_I4,  TSR_U4,       TSR_F4E2M1};
enum { SOURCES = sizeof sources / sizeof *sources };

typedef struct both_graphs {
  tsr_ir *ir;
  tsr_builder b;
  tsr_value input, outputs[16];
  uint32_t output_count;
} both_graphs;

static void begin(both_graphs *g, tsr_dtype dtype, const int64_t *dims, uint32_t rank) {
  tsr_expr exprs[TSR_MAX_RANK];
  *g = (both_graphs){0};
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &g->ir), TSR_OK);
  g->b = tsr_graph_begin(g->ir, "g");
  for (uint32_t i = 0; i < rank; i++)
    exprs[i] = tsr_expr_int(g->ir, dims[i]);
  g->input = tsr_graph_input(&g->b, "x", dtype, exprs, rank);
}

static void output(both_graphs *g, tsr_value value) {
  char name[16];
  snprintf(name, sizeof name, "y%u", g->output_count);
  tsr_graph_output(&g->b, name, value);
  g->outputs[g->output_count++] = value;
}

/* The bytes of a value; the caller frees them. */
static unsigned char *evaluate(tsr_ir *ir, tsr_value input, const void *data, tsr_value value,
                               size_t *out_bytes) {
  const tsr_type_info *type = tsr_value_type(ir, input);
  const tsr_array *array = NULL;
  int64_t dims[TSR_MAX_RANK];
  tsr_eval *eval;
  for (uint32_t i = 0; i < type->rank; i++)
    ck_assert(tsr_expr_is_int(ir, type->dims[i], &dims[i]));
  ck_assert_int_eq(tsr_eval_create(ir, NULL, true, 1 << 20, tsr_allocator_default(), &eval),
                   TSR_OK);
  ck_assert_int_eq(tsr_eval_bind(eval, input, dims, type->rank, data), TSR_OK);
  ck_assert_msg(tsr_eval_get(eval, value, &array) == TSR_OK, "%s", tsr_eval_diag(eval)->message);
  *out_bytes = (size_t)tsr_dtype_bytes(array->dtype, array->count);
  unsigned char *bytes = (unsigned char *)calloc(1, *out_bytes + 8);
  tsr_array_store(array, bytes);
  tsr_eval_destroy(eval);
  return bytes;
}

static tsr_op find(const tsr_ir *ir, tsr_region region, tsr_opcode code, uint32_t which) {
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == code && which-- == 0)
      return op;
  return 0;
}

static void expect_unpacked(const tsr_ir *ir, tsr_region region) {
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    for (uint32_t i = 0; i < data->result_count; i++)
      ck_assert_uint_ge(tsr_dtype_bits(tsr_value_type(ir, data->results[i])->dtype), 8);
  }
}

/* Runs the pass, compares, and ends the graph. */
static void finish(both_graphs *g, const void *data, const char *what) {
  unsigned char *want[16];
  size_t bytes[16], got_bytes;
  tsr_diag diag = {0};
  ck_assert_msg(tsr_ir_status(g->ir) == TSR_OK, "%s: %s", what, tsr_ir_diag(g->ir)->message);
  for (uint32_t i = 0; i < g->output_count; i++)
    want[i] = evaluate(g->ir, g->input, data, g->outputs[i], &bytes[i]);
  tsr_status status = tsr_pass_run(g->ir, tsr_pass_find("unpack"), NULL, &diag);
  ck_assert_msg(status == TSR_OK, "%s: %s", what, diag.message);
  expect_unpacked(g->ir, g->b.region);
  tsr_value input = tsr_op_get(g->ir, find(g->ir, g->b.region, TSR_OP_INPUT, 0))->results[0];
  for (uint32_t i = 0; i < g->output_count; i++) {
    tsr_op op = find(g->ir, g->b.region, TSR_OP_OUTPUT, i);
    tsr_value value = tsr_op_get(g->ir, op)->operands[0].value;
    unsigned char *got = evaluate(g->ir, input, data, value, &got_bytes);
    ck_assert_uint_eq(got_bytes, bytes[i]);
    for (size_t k = 0; k < got_bytes; k++)
      ck_assert_msg(got[k] == want[i][k], "%s, output %u, byte %zu: 0x%02x instead of 0x%02x", what,
                    i, k, got[k], want[i][k]);
    free(got);
    free(want[i]);
  }
  tsr_ir_destroy(g->ir);
}

/* Random bits for narrow types; around the ranges and ties of packed types for the others. */
static void fill(tsr_dtype dtype, void *data, int64_t count) {
  static const double specials[] = {INFINITY, -INFINITY, NAN, 0.0, -0.0, 1e30, -1e30, 0x1p-140};
  for (int64_t i = 0; i < count; i++) {
    double real = (double)(i % 513 - 256) / 16 * (1 + (double)(i % 3 - 1) * 0x1p-20);
    if (tsr_dtype_bits(dtype) < 8)
      tsr_element_store_bits(dtype, data, i, (uint64_t)i * 2654435761u >> 7);
    else if (dtype == TSR_BOOL || tsr_dtype_class_of(dtype) != TSR_CLASS_FLOAT)
      tsr_element_store_i64(dtype, data, i, i % 5 == 0 ? i * 0x123456789ab : i % 256 - 128);
    else if (i % 64 < 8)
      tsr_element_store_bits(dtype, data, i,
                             tsr_float_encode(dtype, specials[i % 8], TSR_OVERFLOW_SPECIAL));
    else
      tsr_element_store_f64(dtype, data, i, real);
  }
}

START_TEST(casts) {
  static uint64_t data[MOST + 1];
  int64_t dims[2] = {23, 89};
  tsr_dtype from = sources[_i];
  both_graphs g;
  begin(&g, from, dims, 2);
  for (int k = 0; k < PACKED; k++)
    output(&g, tsr_graph_cast(&g.b, g.input, packed[k]));
  fill(from, data, dims[0] * dims[1]);
  finish(&g, data, tsr_dtype_text(from));
  if (tsr_dtype_bits(from) >= 8)
    return;
  begin(&g, from, dims, 2);
  for (int k = 0; k < SOURCES && k < 12; k++)
    output(&g, tsr_graph_cast(&g.b, g.input, sources[k]));
  finish(&g, data, tsr_dtype_text(from));
}
END_TEST

START_TEST(odd_shapes) {
  static const int64_t shapes[][3] = {{1, 1, 1}, {1, 1, 3}, {2, 3, 5}, {3, 1, 7},
                                      {4, 4, 2}, {1, 0, 3}, {1, 1, 8}, {1, 1, 9}};
  static const int64_t perm[3] = {2, 0, 1};
  static uint64_t data[64];
  for (uint32_t rank = 0; rank <= 3; rank += 3)
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
      both_graphs g;
      begin(&g, packed[_i], shapes[k], rank);
      output(&g, g.input);
      if (rank == 3)
        output(&g, tsr_graph_transpose(&g.b, g.input, perm));
      fill(packed[_i], data, 64);
      finish(&g, data, tsr_dtype_text(packed[_i]));
    }
}
END_TEST

/* Arithmetic wraps, or rounds to f4e2m1, after every op. */
START_TEST(arithmetic) {
  static const tsr_opcode codes[] = {TSR_OP_ADD, TSR_OP_SUB, TSR_OP_MUL,
                                     TSR_OP_DIV, TSR_OP_MIN, TSR_OP_MAX};
  static uint64_t data[MOST];
  int64_t dims[1] = {1021};
  tsr_dtype dtype = packed[_i];
  both_graphs g;
  begin(&g, dtype, dims, 1);
  fill(dtype, data, dims[0]);
  int64_t back = -1;
  tsr_expr start = tsr_expr_int(g.ir, 1020), extent = tsr_expr_int(g.ir, 1021);
  tsr_value turned = tsr_graph_slice(&g.b, g.input, &start, &back, &extent);
  for (size_t k = 0; k < sizeof codes / sizeof *codes; k++)
    output(&g, tsr_graph_binary(&g.b, codes[k], g.input, turned));
  if (dtype != TSR_F4E2M1) {
    output(&g, tsr_graph_unary(&g.b, TSR_OP_NOT, g.input));
    output(&g, tsr_graph_binary(&g.b, TSR_OP_SHL, g.input, g.input));
  }
  output(&g, tsr_graph_unary(&g.b, TSR_OP_NEG, g.input));
  output(&g, tsr_graph_binary(&g.b, TSR_OP_LT, g.input, turned));
  output(&g, tsr_graph_select(&g.b, tsr_graph_binary(&g.b, TSR_OP_LT, g.input, turned), turned,
                              g.input));
  finish(&g, data, tsr_dtype_text(dtype));
}
END_TEST

START_TEST(bitcasts_and_constants) {
  static uint64_t data[64], numbers[64];
  int64_t dims[1] = {77};
  tsr_dtype dtype = packed[_i];
  both_graphs g;
  fill(dtype, data, 77);
  fill(dtype, numbers, 77);
  begin(&g, dtype, dims, 1);
  for (int k = 0; k < PACKED; k++)
    if (tsr_dtype_bits(packed[k]) == tsr_dtype_bits(dtype))
      output(&g, tsr_graph_bitcast(&g.b, g.input, packed[k]));
  tsr_value table = tsr_graph_const(&g.b, dtype, dims, 1, numbers, true);
  tsr_value below = tsr_graph_binary(&g.b, TSR_OP_LT, g.input, tsr_graph_scalar(&g.b, dtype, 1));
  output(&g, table);
  output(&g, tsr_graph_select(&g.b, below, table, g.input));
  finish(&g, data, tsr_dtype_text(dtype));
}
END_TEST

/* Without a packed type nothing changes; a sum of packed elements is refused by name. */
START_TEST(refusals) {
  int64_t dims[1] = {5}, axes[1] = {0};
  tsr_diag diag = {0};
  both_graphs g;
  begin(&g, TSR_F32, dims, 1);
  output(&g, tsr_graph_cast(&g.b, g.input, TSR_I8));
  uint32_t ops = tsr_op_count(g.ir);
  ck_assert_int_eq(tsr_pass_run(g.ir, tsr_pass_find("unpack"), NULL, &diag), TSR_OK);
  ck_assert_uint_eq(tsr_op_count(g.ir), ops);
  tsr_ir_destroy(g.ir);
  begin(&g, TSR_I4, dims, 1);
  output(&g, tsr_graph_reduce(&g.b, g.input, "max", axes, 1));
  ck_assert_int_eq(tsr_pass_run(g.ir, tsr_pass_find("unpack"), NULL, &diag), TSR_ERR_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(diag.message, "i4"));
  tsr_ir_destroy(g.ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("passes.unpack");
  TCase *tests = tcase_create("unpack");
  tcase_add_loop_test(tests, casts, 0, SOURCES);
  tcase_add_loop_test(tests, odd_shapes, 0, PACKED);
  tcase_add_loop_test(tests, arithmetic, 0, PACKED);
  tcase_add_loop_test(tests, bitcasts_and_constants, 0, PACKED);
  tcase_add_test(tests, refusals);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
