#include "frontend/cli/json.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static tsr_arena arena;
static tsr_diag diag;

static void setup(void) {
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_diag_clear(&diag);
}

static void teardown(void) {
  tsr_arena_reset(&arena);
}

static const tsr_json *parse(const char *text) {
  const tsr_json *value;
  tsr_status status = tsr_json_parse(text, strlen(text), &arena, &diag, &value);
  ck_assert_msg(status == TSR_OK, "%s: %s", text, diag.message);
  return value;
}

START_TEST(reads_values) {
  const tsr_json *root =
      parse(" {\"a\": [1, -2.5e3, true, false, null, \"x\"],\n\"b\": {}, \"a\": 7}\n");
  ck_assert_int_eq(root->kind, TSR_JSON_OBJECT);
  ck_assert_uint_eq(root->count, 3);
  const tsr_json *list = tsr_json_get(root, "a");
  ck_assert_int_eq(list->kind, TSR_JSON_LIST);
  ck_assert_uint_eq(list->count, 6);
  ck_assert(list->first->number == 1);
  ck_assert(list->first->next->number == -2500);
  ck_assert(list->first->next->next->truth);
  ck_assert_int_eq(list->first->next->next->next->kind, TSR_JSON_BOOL);
  ck_assert(!list->first->next->next->next->truth);
  ck_assert_int_eq(tsr_json_get(root, "b")->kind, TSR_JSON_OBJECT);
  ck_assert_uint_eq(tsr_json_get(root, "b")->line, 2);
  ck_assert_ptr_null(tsr_json_get(root, "c"));
  ck_assert_ptr_null(tsr_json_get(list, "a"));
  ck_assert_ptr_null(tsr_json_get(NULL, "a"));
}
END_TEST

START_TEST(reads_texts) {
  static const struct {
    const char *json, *text;
  } cases[] = {
      {"\"\"", ""},
      {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
      {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac"},
      {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
      /* Halves of pairs, and the end of a text in C, are no characters. */
      {"\"\\ud83d\"", "\xef\xbf\xbd"},
      {"\"\\ude00\\ud83dx\"", "\xef\xbf\xbd\xef\xbf\xbdx"},
      {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                             "A"},
      {"\"a\\u0000b\"", "a\xef\xbf\xbd"
                        "b"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    ck_assert_str_eq(parse(cases[i].json)->text, cases[i].text);
}
END_TEST

START_TEST(refuses) {
  static const struct {
    const char *json;
    uint32_t line;
  } cases[] = {
      {"", 1},
      {"  \n ", 2},
      {"{", 1},
      {"[1,\n2", 2},
      {"[1 2]", 1},
      {"[1,]", 1},
      {"[,1]", 1},
      {"{\"a\"}", 1},
      {"{\"a\":}", 1},
      {"{1: 2}", 1},
      {"{\"a\": 1,}", 1},
      {"nul", 1},
      {"tru", 1},
      {"01", 1},
      {"1.", 1},
      {".5", 1},
      {"-", 1},
      {"+1", 1},
      {"1e", 1},
      {"0x10", 1},
      {"NaN", 1},
      {"Infinity", 1},
      {"1e999", 1},
      {"\"abc", 1},
      {"\"a\nb\"", 1},
      {"\"\\x\"", 1},
      {"\"\\u12\"", 1},
      {"\"\\u12g4\"", 1},
      {"\"\xff\"", 1},
      {"\"\xed\xa0\x80\"", 1},
      {"1 2", 1},
      {"{}\n\n]", 3},
      {"\"\\", 1},
      {"'a'", 1},
      {"// a\n1", 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const tsr_json *value;
    tsr_diag_clear(&diag);
    ck_assert_int_eq(tsr_json_parse(cases[i].json, strlen(cases[i].json), &arena, &diag, &value),
                     TSR_ERR_FORMAT);
    ck_assert_ptr_null(value);
    ck_assert_msg(diag.line == cases[i].line, "%s: line %u", cases[i].json, diag.line);
    ck_assert_int_ne(diag.message[0], 0);
  }
}
END_TEST

/* A zero byte, which no C string has, and every prefix of a text, none of which is whole. */
START_TEST(refuses_parts) {
  static const char text[] = "{\"a\": [1.5e-3, {\"b\": \"\\u20ac\\n\"}], \"c\": null}";
  const tsr_json *value;
  for (size_t length = 0; length < sizeof text - 1; length++) {
    char *part = malloc(length + 1); /* its end is the end of what may be read */
    ck_assert_ptr_nonnull(part);
    memcpy(part, text, length);
    ck_assert_int_eq(tsr_json_parse(part, length, &arena, &diag, &value), TSR_ERR_FORMAT);
    free(part);
  }
  ck_assert_int_eq(tsr_json_parse(text, sizeof text - 1, &arena, &diag, &value), TSR_OK);
  ck_assert_int_eq(tsr_json_parse(text, sizeof text, &arena, &diag, &value), TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_json_parse("\"\0\"", 3, &arena, &diag, &value), TSR_ERR_FORMAT);
}
END_TEST

START_TEST(bounds_depth_and_digits) {
  enum { MOST = 1000 };
  char text[2 * MOST + 1];
  const tsr_json *value;
  for (int depth = 64; depth <= 65; depth++) {
    memset(text, '[', (size_t)depth);
    memset(text + depth, ']', (size_t)depth);
    ck_assert_int_eq(tsr_json_parse(text, 2 * (size_t)depth, &arena, &diag, &value),
                     depth == 64 ? TSR_OK : TSR_ERR_FORMAT);
  }
  memset(text, '1', 401);
  ck_assert_int_eq(tsr_json_parse(text, 401, &arena, &diag, &value), TSR_ERR_FORMAT);
  text[1] = '.';
  ck_assert_int_eq(tsr_json_parse(text, 400, &arena, &diag, &value), TSR_OK);
  ck_assert(fabs(value->number - 10.0 / 9) < 1e-15);
}
END_TEST

START_TEST(writes_what_it_reads) {
  static const char text[] = "a\"b\\c\n\x01\x7f\xe2\x82\xac</script>";
  char *out = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&out, &size);
  ck_assert_ptr_nonnull(file);
  tsr_json_put_text(file, text);
  ck_assert_int_eq(fclose(file), 0);
  ck_assert_str_eq(parse(out)->text, text);
  free(out);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("json");
  TCase *tests = tcase_create("json");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, reads_values);
  tcase_add_test(tests, reads_texts);
  tcase_add_test(tests, refuses);
  tcase_add_test(tests, refuses_parts);
  tcase_add_test(tests, bounds_depth_and_digits);
  tcase_add_test(tests, writes_what_it_reads);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
