/* The passes that make products narrower, against the graph as it was: bytes exactly, bf16 within
 * the rounding of its operands. */
#include "ir/eval.h"
#include "passes/passes.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 4096 };

static tsr_ir *parse(const char *text) {
  tsr_diag diag = {0};
  tsr_ir *ir = NULL;
  if (tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", &diag, &ir) != TSR_OK)
    ck_abort_msg("%s\n%s", diag.message, text);
  return ir;
}

static uint64_t next(uint64_t *state) {
  *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
  return *state >> 33;
}

/* The one output's values; inputs are random bytes, or floats of either sign around 1. */
static int64_t evaluate(tsr_ir *ir, double *out) {
  tsr_eval *eval = NULL;
  const tsr_array *array = NULL;
  uint64_t state = 11;
  int64_t count = 0;
  ck_assert_int_eq(tsr_eval_create(ir, NULL, true, MAX_VALUES, tsr_allocator_default(), &eval),
                   TSR_OK);
  const tsr_region region = tsr_op_get(ir, tsr_region_get(ir, tsr_ir_top(ir))->first)->regions[0];
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code == TSR_OP_INPUT) {
      const tsr_type_info *type = tsr_value_type(ir, data->results[0]);
      int64_t dims[TSR_MAX_RANK], elements = 1;
      static float floats[MAX_VALUES];
      static uint8_t bytes[MAX_VALUES];
      for (uint32_t i = 0; i < type->rank; i++) {
        ck_assert(tsr_expr_is_int(ir, type->dims[i], &dims[i]));
        elements *= dims[i];
      }
      for (int64_t i = 0; i < elements; i++) {
        bytes[i] = (uint8_t)next(&state);
        floats[i] = (float)next(&state) * 0x1p-30f - 1;
      }
      ck_assert_int_eq(tsr_eval_bind(eval, data->results[0], dims, type->rank,
                                     type->dtype == TSR_F32 ? (void *)floats : (void *)bytes),
                       TSR_OK);
    }
    if (data->code == TSR_OP_OUTPUT) {
      ck_assert_int_eq(tsr_eval_get(eval, data->operands[0].value, &array), TSR_OK);
      count = array->count;
      for (int64_t i = 0; i < count; i++)
        out[i] = array->floats != NULL ? array->floats[i] : (double)array->integers[i];
    }
  }
  tsr_eval_destroy(eval);
  return count;
}

static void run_pass(tsr_ir *ir, const char *name, const char *text) {
  const tsr_pass_options options = {.byte_products = true, .bf16_products = true};
  tsr_diag diag = {0};
  if (tsr_pass_run(ir, tsr_pass_find(name), &options, &diag) != TSR_OK)
    ck_abort_msg("%s\n%s", diag.message, text);
}

/* Operands of products that are widened from `dtype`. */
static int narrow_operands(const tsr_ir *ir, tsr_dtype dtype) {
  int count = 0;
  const tsr_region region = tsr_op_get(ir, tsr_region_get(ir, tsr_ir_top(ir))->first)->regions[0];
  TSR_FOR_EACH_OP (ir, region, op) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    if (data->code != TSR_OP_EINSUM && data->code != TSR_OP_CONV)
      continue;
    for (int i = 0; i < 2; i++) {
      const tsr_op_data *cast = tsr_op_get(ir, tsr_value_get(ir, data->operands[i].value)->def);
      count +=
          cast->code == TSR_OP_CAST && tsr_value_type(ir, cast->operands[0].value)->dtype == dtype;
    }
  }
  return count;
}

/* `text` has one product of i32, which becomes one of u8 by i8. */
static void check_bytes(const char *text) {
  static double before[MAX_VALUES], after[MAX_VALUES];
  tsr_ir *ir = parse(text);
  const int64_t count = evaluate(ir, before);
  run_pass(ir, "bytes", text);
  ck_assert_msg(narrow_operands(ir, TSR_U8) == 1 && narrow_operands(ir, TSR_I8) == 1, "%s", text);
  ck_assert_int_eq(evaluate(ir, after), count);
  for (int64_t i = 0; i < count; i++)
    ck_assert_msg(before[i] == after[i], "element %d: %g, not %g\n%s", (int)i, after[i], before[i],
                  text);
  tsr_ir_destroy(ir);
}

/* Every pair of signs, zero points that are numbers, tensors or none. */
START_TEST(products_of_bytes) {
  static const char *const dtypes[] = {"u8", "i8"};
  for (int a = 0; a < 2; a++)
    for (int b = 0; b < 2; b++)
      for (int za = 0; za < 3; za++)
        for (int zb = 0; zb < 3; zb++) {
          char text[1024];
          static const char *const zero[] = {"const {value = 0} : i32[]",
                                             "const {value = 77} : i32[]", "cast %z : i32[1]"};
          snprintf(
              text, sizeof text,
              "graph @g {\n %%x = input {name = \"x\"} : %s[2, 3, 5]\n %%w = input {name = \"w\"} "
              ": %s[2, 5, 4]\n %%z = input {name = \"z\"} : u8[1]\n %%za = %s\n %%zb = %s\n %%0 = "
              "cast %%x : i32[2, 3, 5]\n %%1 = cast %%w : i32[2, 5, 4]\n %%2 = sub %%0, %%za : "
              "i32[2, 3, 5]\n %%3 = sub %%1, %%zb : i32[2, 5, 4]\n %%y = einsum %%2, %%3 {spec = "
              "\"bmk,bkn->bmn\"} : i32[2, 3, 4]\n output %%y {name = \"y\"}\n}\n",
              dtypes[a], dtypes[b], zero[za], zero[zb]);
          check_bytes(text);
        }
}
END_TEST

/* Constants within a byte's range of each other, whatever it starts at; windows over padding. */
START_TEST(constants_and_windows) {
  static const char *const weights[] = {"[1, -128, 127, 5, 6, 7]", "[-131, 124, 3, 4, 5, 6]",
                                        "[0, 255, 3, 4, 128, 6]"};
  char text[1024];
  for (int i = 0; i < 3; i++)
    for (int sign = 0; sign < 2; sign++) {
      snprintf(text, sizeof text,
               "graph @g {\n %%x = input {name = \"x\"} : %s[4, 3]\n %%w = const {value = %s} : "
               "i32[3, 2]\n %%z = const {value = -5} : i32[]\n %%0 = cast %%x : i32[4, 3]\n %%1 = "
               "sub %%0, %%z : i32[4, 3]\n %%y = einsum %%1, %%w {spec = \"mk,kn->mn\"} : i32[4, "
               "2]\n output %%y {name = \"y\"}\n}\n",
               sign ? "i8" : "u8", weights[i]);
      check_bytes(text);
      snprintf(
          text, sizeof text,
          "graph @g {\n %%x = input {name = \"x\"} : %s[1, 1, 5, 4]\n %%w = const {value = %s} "
          ": i32[2, 1, 3, 1]\n %%z = const {value = 9} : i32[]\n %%0 = cast %%x : i32[1, 1, 5, "
          "4]\n %%1 = sub %%0, %%z : i32[1, 1, 5, 4]\n %%y = conv %%1, %%w {dilations = [1, 1], "
          "groups = 1, high = [1, 0], low = [1, 2], strides = [1, 2]} : i32[1, 2, 5, 3]\n output "
          "%%y {name = \"y\"}\n}\n",
          sign ? "i8" : "u8", weights[0]);
      check_bytes(text);
    }
}
END_TEST

/* Of eight significant bits, both operands are off by at most 2^-8 of themselves, so that a sum is
 * by (1 + 2^-8)^2 - 1 of its products' magnitudes, which the graph itself computes of absolute
 * values; then f32 rounds. */
static const double bf16_share = (1 + 0x1p-8) * (1 + 0x1p-8) - 1;

START_TEST(products_of_bf16) {
  static double exact[MAX_VALUES], rounded[MAX_VALUES], magnitudes[MAX_VALUES];
  const char *format =
      "graph @g {\n %%x = input {name = \"x\"} : f32[9, 40]\n %%w = const {random = 3} : f32[40, "
      "7]\n %%0 = %s %%x : f32[9, 40]\n %%1 = %s %%w : f32[40, 7]\n "
      "%%y = einsum %%0, %%1 {spec = \"mk,kn->mn\"} : f32[9, 7]\n output %%y {name = \"y\"}\n}\n";
  char text[1024];
  snprintf(text, sizeof text, format, "abs", "abs");
  tsr_ir *ir = parse(text);
  evaluate(ir, magnitudes);
  tsr_ir_destroy(ir);
  snprintf(text, sizeof text, format, "neg", "neg");
  ir = parse(text);
  const int64_t count = evaluate(ir, exact);
  run_pass(ir, "precision", text);
  ck_assert_int_eq(narrow_operands(ir, TSR_BF16), 2);
  ck_assert_int_eq(evaluate(ir, rounded), count);
  bool differs = false;
  for (int64_t i = 0; i < count; i++) {
    const double ulp = 0x1p-22;
    ck_assert_msg(fabs(rounded[i] - exact[i]) <= (bf16_share + ulp) * magnitudes[i],
                  "element %d: %g, not %g", (int)i, rounded[i], exact[i]);
    differs = differs || rounded[i] != exact[i];
  }
  ck_assert(differs);
  tsr_ir_destroy(ir);
}
END_TEST

/* Operands that are rounded by as much as there is, all to the same side: what is promised is
 * reached within a hundredth, and kept. */
START_TEST(products_of_bf16_that_round_most) {
  static double exact[MAX_VALUES], rounded[MAX_VALUES];
  const char *text =
      "graph @g {\n %x = const {value = 1.00390625} : f32[2, 64]\n %w = const {value = 1.00390625} "
      ": "
      "f32[64, 3]\n %y = einsum %x, %w {spec = \"mk,kn->mn\"} : f32[2, 3]\n output %y {name = "
      "\"y\"}\n}\n";
  tsr_ir *ir = parse(text);
  const int64_t count = evaluate(ir, exact);
  run_pass(ir, "precision", text);
  ck_assert_int_eq(evaluate(ir, rounded), count);
  for (int64_t i = 0; i < count; i++) {
    const double off = fabs(rounded[i] - exact[i]);
    ck_assert(off <= bf16_share * exact[i] && off >= 0.98 * bf16_share * exact[i]);
  }
  tsr_ir_destroy(ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("narrow");
  TCase *tcase = tcase_create("narrow");
  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, products_of_bytes);
  tcase_add_test(tcase, constants_and_windows);
  tcase_add_test(tcase, products_of_bf16);
  tcase_add_test(tcase, products_of_bf16_that_round_most);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
