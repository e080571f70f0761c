/* Parsing and printing for the tests of this folder; failures end the test with the message. */
#ifndef TSR_TESTS_IR_IR_TEXT_H
#define TSR_TESTS_IR_IR_TEXT_H
#include "ir/ir.h"
#include <check.h>
#include <string.h>

static inline tsr_ir *must_parse(const char *text) {
  tsr_diag diag;
  tsr_ir *ir;
  tsr_diag_clear(&diag);
  tsr_status status =
      tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", &diag, &ir);
  ck_assert_msg(status == TSR_OK, "%u:%u: %s\n%s", diag.line, diag.column, diag.message, text);
  return ir;
}

static inline void must_verify(const tsr_ir *ir) {
  tsr_diag diag;
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_ir_verify(ir, &diag) == TSR_OK, "%u: %s: %s", diag.line, diag.op, diag.message);
}

static inline char *must_print(tsr_ir *ir) {
  char *text = tsr_ir_print(ir, tsr_ir_arena(ir));
  ck_assert_ptr_nonnull(text);
  return text;
}

static inline int run_suite(Suite *suite) {
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}

#endif
