/* Texts of models: the table, the operations, regular expressions, numbers. Expected values are
 * what Python's str methods, NumPy and RE2 give. */
#include "runtime/host/pattern.h"
#include "runtime/host/text.h"
#include "runtime/host/text_number.h"
#include "runtime/host/unicode.h"
#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the table --- */

START_TEST(table_numbers_texts) {
  static const char *const own[] = {"", "a", "b", "a"};
  tsr_texts *t;
  int64_t number;
  ck_assert_int_eq(tsr_texts_create(own, 4, NULL, &t), TSR_OK);
  ck_assert_int_eq(tsr_texts_number(t, "", 0, &number), TSR_OK);
  ck_assert_int_eq(number, 0);
  ck_assert_int_eq(tsr_texts_number(t, "a", 1, &number), TSR_OK);
  ck_assert_int_eq(number, 1);
  for (int turn = 0; turn < 3; turn++) {
    char text[16];
    for (int i = 0; i < 3000; i++) {
      int length = snprintf(text, sizeof text, "t%d", i);
      ck_assert_int_eq(tsr_texts_number(t, text, (size_t)length, &number), TSR_OK);
      ck_assert_int_eq(number, 4 + i);
      ck_assert_int_eq(tsr_texts_number(t, text, (size_t)length, &number), TSR_OK);
      ck_assert_int_eq(number, 4 + i);
    }
    ck_assert_str_eq(tsr_texts_get(t, 4 + 2999), "t2999");
    tsr_texts_reset(t);
    ck_assert_ptr_null(tsr_texts_get(t, 4));
    ck_assert_str_eq(tsr_texts_get(t, 2), "b");
  }
  ck_assert_ptr_null(tsr_texts_get(t, -1));
  tsr_texts_destroy(t);
}
END_TEST

/* --- operations on rows of texts --- */

typedef struct bench {
  tsr_texts *texts;
  tsr_arena arena;
  tsr_diag diag;
  tsr_host_array in[2], out[2];
} bench;

static void begin(bench *b) {
  *b = (bench){.out = {{.dtype = TSR_I64}, {.dtype = TSR_I64}}};
  ck_assert_int_eq(tsr_texts_create(NULL, 0, NULL, &b->texts), TSR_OK);
  tsr_arena_init(&b->arena, tsr_allocator_default());
}

static void end(bench *b) {
  tsr_texts_destroy(b->texts);
  tsr_arena_reset(&b->arena);
}

/* A vector of the texts between bars: "a|b|". */
static void give(bench *b, int which, const char *joined) {
  tsr_host_array *in = &b->in[which];
  in->dtype = TSR_I64;
  in->rank = 1;
  in->shape[0] = 0;
  int64_t *numbers = tsr_arena_alloc(&b->arena, (strlen(joined) + 1) * sizeof *numbers);
  in->data = numbers;
  for (const char *bar; (bar = strchr(joined, '|')); joined = bar + 1)
    ck_assert_int_eq(
        tsr_texts_number(b->texts, joined, (size_t)(bar - joined), &numbers[in->shape[0]++]),
        TSR_OK);
}

static const char *got(const bench *b, int which) {
  static char text[4096];
  int64_t count = 1;
  size_t at = 0;
  text[0] = '\0';
  for (uint32_t i = 0; i < b->out[which].rank; i++)
    count *= b->out[which].shape[i];
  for (int64_t i = 0; i < count; i++)
    at += (size_t)snprintf(text + at, sizeof text - at, "%s|",
                           tsr_texts_get(b->texts, ((const int64_t *)b->out[which].data)[i]));
  return text;
}

static tsr_status run(bench *b, tsr_host_op op, const int64_t *numbers, const char *const *words,
                      uint32_t word_count) {
  tsr_diag_clear(&b->diag);
  return tsr_text_run(op, numbers, words, word_count, b->texts, b->in,
                      op == TSR_HOST_TEXT_CONCAT ? 2 : 1, b->out, op == TSR_HOST_TEXT_SPLIT ? 2 : 1,
                      &b->arena, &b->diag);
}

START_TEST(normalizes) {
  static const struct {
    int64_t numbers[2];
    const char *stop, *in, *out;
  } cases[] = {
      {{0, 1}, "abc", "ABC|abc|b|", "ABC|b|"},
      {{0, 0}, "ABC", "ABC|abc|b|", "b|"},
      {{1, 1}, "ABC", "ABC|aBc|B|", "abc|b|"},
      {{2, 0},
       "\xC3\x89t\xC3\xA9",
       "\xC3\xA9T\xC3\x89|stra\xC3\x9F"
       "e|",
       "STRA\xC3\x9F"
       "E|"},
      {{1, 1}, "x", "\xD0\x96\xD0\x81\xCE\xA9|", "\xD0\xB6\xD1\x91\xCF\x89|"},
      {{2, 1},
       "x",
       "\xC9\x90|a\xFF"
       "b|",
       "\xE2\xB1\xAF|A\xFF"
       "B|"},
      {{0, 1}, "a", "a|a|", "|"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bench b;
    const char *words[] = {"en_US", cases[i].stop};
    begin(&b);
    give(&b, 0, cases[i].in);
    ck_assert_int_eq(run(&b, TSR_HOST_TEXT_NORMALIZE, cases[i].numbers, words, 2), TSR_OK);
    ck_assert_str_eq(got(&b, 0), cases[i].out);
    end(&b);
  }
}
END_TEST

START_TEST(normalizes_rows_only) {
  static const int64_t numbers[2] = {0, 0};
  bench b;
  begin(&b);
  give(&b, 0, "a|b|");
  b.in[0].rank = 2;
  b.in[0].shape[1] = 1;
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_NORMALIZE, numbers, NULL, 0), TSR_ERR_SHAPE);
  b.in[0].shape[0] = 1;
  b.in[0].shape[1] = 2;
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_NORMALIZE, numbers, NULL, 0), TSR_OK);
  ck_assert_uint_eq(b.out[0].rank, 2);
  ck_assert_int_eq(b.out[0].shape[0], 1);
  ck_assert_str_eq(got(&b, 0), "a|b|");
  end(&b);
}
END_TEST

START_TEST(concatenates_broadcast) {
  bench b;
  begin(&b);
  give(&b, 0, "a|b|");
  give(&b, 1, "x||yz|");
  b.in[0].rank = 2;
  b.in[0].shape[1] = 1;
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_CONCAT, NULL, NULL, 0), TSR_OK);
  ck_assert_uint_eq(b.out[0].rank, 2);
  ck_assert_str_eq(got(&b, 0), "ax|a|ayz|bx|b|byz|");
  give(&b, 0, "a|b|");
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_CONCAT, NULL, NULL, 0), TSR_ERR_SHAPE);
  give(&b, 0, "");
  give(&b, 1, "q|");
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_CONCAT, NULL, NULL, 0), TSR_OK);
  ck_assert_int_eq(b.out[0].shape[0], 0);
  give(&b, 0, "a|");
  ((int64_t *)b.in[0].data)[0] = 77;
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_CONCAT, NULL, NULL, 0), TSR_ERR_ARGUMENT);
  end(&b);
}
END_TEST

START_TEST(splits) {
  static const struct {
    const char *delimiter; /* NULL: white space */
    int64_t most;
    const char *in, *out;
    int64_t counts[4];
  } cases[] = {
      {NULL,
       -1,
       "a b| a\xE3\x80\x80"
       "b  c |||",
       "a|b||a|b|c|||||||",
       {2, 3, 0, 0}},
      {NULL, 1, " a b c |d|", "a|b c |d||", {2, 1}},
      {NULL, 0, "  a b |", "a b |", {1}},
      {" ", -1, "a  b||", "a||b||||", {3, 1}},
      {"aa", -1, "aaaab|b|", "||b|b|||", {3, 1}},
      {"-", 1, "a-b-c|-|", "a|b-c|||", {2, 2}},
      {NULL, -1, "||", "", {0, 0}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bench b;
    int64_t numbers[2] = {cases[i].most, cases[i].delimiter == NULL};
    begin(&b);
    give(&b, 0, cases[i].in);
    ck_assert_int_eq(
        run(&b, TSR_HOST_TEXT_SPLIT, numbers, &cases[i].delimiter, cases[i].delimiter != NULL),
        TSR_OK);
    ck_assert_str_eq(got(&b, 0), cases[i].out);
    ck_assert_int_eq(b.out[1].shape[0], b.in[0].shape[0]);
    ck_assert_mem_eq(b.out[1].data, cases[i].counts, (size_t)b.in[0].shape[0] * sizeof(int64_t));
    end(&b);
  }
}
END_TEST

/* --- regular expressions --- */

static int matches(const char *pattern, const char *text) {
  tsr_arena arena;
  tsr_pattern *made;
  tsr_diag diag = {0};
  int result = -1;
  tsr_arena_init(&arena, tsr_allocator_default());
  if (tsr_pattern_compile(pattern, &arena, &diag, &made) == TSR_OK)
    result = tsr_pattern_matches(made, text, strlen(text));
  tsr_arena_reset(&arena);
  return result;
}

START_TEST(matches_as_re2) {
  static const struct {
    const char *pattern, *text;
    int result; /* -1: refused */
  } cases[] = {
      {"", "", 1},
      {"", "a", 0},
      {"a.c", "abc", 1},
      {"a.c", "a\nc", 0},
      {"a.c",
       "a\xC3\xA9"
       "c",
       1},
      {"a.c",
       "a\xFF"
       "c",
       0},
      {"(?s)a.c", "a\nc", 1},
      {"\\w+", "\xC3\xA9", 0},
      {"\\w+", "a1_", 1},
      {"\\W", "\xC3\xA9", 1},
      {"\\pL+", "\xC3\xA9z", 1},
      {"\\pL", "1", 0},
      {"\\PL", "5", 1},
      {"\\p{^L}", "5", 1},
      {"\\p{Lu}", "\xC3\x89", 1},
      {"\\p{Lu}", "\xC3\xA9", 0},
      {"(?i)\\p{Lu}", "\xC3\xA9", 1},
      {"\\pN", "5", 1},
      {"(?i)\xC3\xA9", "\xC3\x89", 1},
      {"(?i)[k]", "\xE2\x84\xAA", 1},
      {"(?i)[^k]", "K", 0},
      {"(?i)abc", "aBC", 1},
      {"(?i:a)b", "AB", 0},
      {"(?-i:a)b", "ab", 1},
      {"(?i-s)A", "a", 1},
      {"a(?i)b|c", "C", 1},
      {"a$", "a", 1},
      {"a$", "a\n", 0},
      {"(?m)a$\n^b", "a\nb", 1},
      {"a$\n^b", "a\nb", 0},
      {"\\Aa\\z", "a", 1},
      {"\\bfoo\\b", "foo", 1},
      {"a\\Bb", "ab", 1},
      {"a\\bb", "ab", 0},
      {"a||b", "", 1},
      {"a||b", "b", 1},
      {"(a|b)*c", "ababc", 1},
      {"(|a)*", "aa", 1},
      {"(a*)*", "b", 0},
      {"(a*)+b", "aab", 1},
      {"a*?b+?", "aab", 1},
      {"(?U)a+", "aa", 1},
      {"x{2,3}", "x", 0},
      {"x{2,3}", "xxx", 1},
      {"x{2,3}", "xxxx", 0},
      {"x{2,}", "xxxxx", 1},
      {"x{0}", "", 1},
      {"x{,2}", "x{,2}", 1},
      {"a{1", "a{1", 1},
      {"^*a", "a", 1},
      {"[^a]", "\n", 1},
      {"[]a]", "]", 1},
      {"[a-c-e]", "-", 1},
      {"[\\w-]+", "a-b", 1},
      {"[[:alpha:]]+", "ab", 1},
      {"[[:^alpha:]]+", "12", 1},
      {"[a[:digit:]z]+", "a9z", 1},
      {"[\\pN\\s]+", "1 2", 1},
      {"[^\\d]", "5", 0},
      {"\\Qa.b\\E", "a.b", 1},
      {"\\Qa.b\\Ec+", "a.bcc", 1},
      {"\\Qab", "ab", 1},
      {"\\x{e9}\\x41",
       "\xC3\xA9"
       "A",
       1},
      {"\\07", "\x07", 1},
      {"\\_\\.", "_.", 1},
      {"\\s", "\v", 0},
      {"\\s", " ", 1},
      {"(?P<n>a)(?<m>b)(?:c)", "abc", 1},
      {"[^\\x{0}-\\x{10FFFF}]", "a", 0},
      {"\\p{Any}", "a", 1},
      {"(\\W|^)[\\w.\\-]{0,25}@(yahoo|gmail)\\.com(\\W|$)", "account@gmail.com", 1},
      {"(\\W|^)[\\w.\\-]{0,25}@(yahoo|gmail)\\.com(\\W|$)", "account@hotmail.com", 0},
      {"a{1001}", "a", -1},
      {"(a{100}){100}", "a", -1},
      {"(", "a", -1},
      {")", "a", -1},
      {"(?=a)", "a", -1},
      {"(?i", "a", -1},
      {"(?)", "a", -1},
      {"(?P<>a)", "a", -1},
      {"a**", "a", -1},
      {"a++", "a", -1},
      {"a{2}{3}", "a", -1},
      {"*a", "a", -1},
      {"{1}", "a", -1},
      {"x{2,1}", "x", -1},
      {"[a-\\d]", "a", -1},
      {"[z-a]", "a", -1},
      {"[a", "a", -1},
      {"[[:foo:]]", "f", -1},
      {"\\y", "y", -1},
      {"\\1", "a", -1},
      {"\\X", "a", -1},
      {"\\C", "a", -1},
      {"\\Z", "", -1},
      {"\\p{Greek}", "a", -1},
      {"\\p", "a", -1},
      {"a\\", "a", -1},
      {"\\x{110000}", "a", -1},
      {"\\xg", "a", -1},
      {"\xFF", "a", -1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    ck_assert_msg(matches(cases[i].pattern, cases[i].text) == cases[i].result, "%s on %s: not %d",
                  cases[i].pattern, cases[i].text, cases[i].result);
}
END_TEST

/* What makes a backtracking matcher exponential or a careless one large. The bound: at most 20000
 * steps for each of 20000 characters, which is 4e8 simple turns; each pattern takes far less. */
START_TEST(hostile_patterns_end) {
  static const char *const patterns[] = {"(a*)*b",
                                         "(a|a)*b",
                                         "(a|aa)+$",
                                         "(x+x+)+y",
                                         "((a{1,10}){1,10}){1,10}b",
                                         "(.*){1,32}[bc]",
                                         "((((a*)*)*)*)*b",
                                         "(a?){1000}a{0,1000}"};
  char *text = malloc(20001);
  ck_assert_ptr_nonnull(text);
  memset(text, 'a', 20000);
  text[20000] = '\0';
  clock_t start = clock();
  for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
    (void)matches(patterns[i], text);
  ck_assert_int_eq(matches("(a*)*b", text), 0);
  ck_assert_int_eq(matches("(a*)*", text), 1);
  double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
  ck_assert_msg(seconds < 60, "%g s", seconds);
  free(text);
}
END_TEST

static char *repeated(const char *head, char c, size_t count, const char *tail) {
  char *text = malloc(strlen(head) + count + strlen(tail) + 1);
  ck_assert_ptr_nonnull(text);
  strcpy(text, head);
  memset(text + strlen(head), c, count);
  strcpy(text + strlen(head) + count, tail);
  return text;
}

START_TEST(sizes_have_limits) {
  static const struct {
    const char *head;
    char c;
    size_t count;
    const char *tail;
    int result;
  } cases[] = {{"", '(', 2000, "", -1},     {"", 'a', 100000, "", -1}, {"[", 'b', 50000, "]", 0},
               {"(?i)", 'k', 15000, "", 0}, {"(", '|', 10000, ")", 0}, {"", '(', 900, "a", -1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *pattern = repeated(cases[i].head, cases[i].c, cases[i].count, cases[i].tail);
    ck_assert_msg(matches(pattern, "zz") == cases[i].result, "case %zu", i);
    free(pattern);
  }
  tsr_diag diag = {0};
  ck_assert_int_eq(tsr_text_pattern_check("(\\w{500}){2}\\pL{900}", NULL, &diag), TSR_OK);
  ck_assert_int_eq(tsr_text_pattern_check("(?:ab{10,})+\\C", NULL, &diag), TSR_ERR_FORMAT);
  ck_assert_ptr_nonnull(strstr(diag.message, "\\C"));
}
END_TEST

/* --- characters --- */

START_TEST(characters_round_trip) {
  for (uint32_t c = 1; c <= TSR_CHAR_MAX; c++) {
    char text[4];
    size_t at = 0, length;
    if (c >= 0xD800 && c < 0xE000)
      continue;
    length = tsr_char_encode(c, text);
    ck_assert_uint_eq(tsr_char_decode(text, length, &at), c);
    ck_assert_uint_eq(at, length);
    at = 0;
    if (length > 1) {
      ck_assert_uint_eq(tsr_char_decode(text, length - 1, &at), TSR_CHAR_INVALID);
      ck_assert_uint_eq(at, 1);
    }
    /* Every lower case letter that an upper case one has comes back to it, or to one like it. */
    ck_assert_uint_eq(tsr_char_lower(tsr_char_upper(tsr_char_lower(c))),
                      tsr_char_lower(tsr_char_upper(c)));
  }
  ck_assert_uint_eq(tsr_char_upper(0xFF), 0x178);
  ck_assert_uint_eq(tsr_char_lower(0x178), 0xFF);
  ck_assert_uint_eq(tsr_char_lower(0x100), 0x101);
  ck_assert_uint_eq(tsr_char_upper(0x3C2), 0x3A3);
}
END_TEST

/* --- numbers --- */

static const char *written(tsr_dtype dtype, double value) {
  static char text[TSR_NUMBER_TEXT];
  float narrow = (float)value;
  const void *data = dtype == TSR_F32 ? (const void *)&narrow : (const void *)&value;
  size_t length = tsr_number_format(dtype, data, 0, text);
  ck_assert_uint_eq(length, strlen(text));
  return text;
}

START_TEST(writes_numbers) {
  ck_assert_str_eq(written(TSR_F32, 0.1), "0.1");
  ck_assert_str_eq(written(TSR_F32, 0.7392636), "0.7392636");
  ck_assert_str_eq(written(TSR_F32, 1.0 / 3), "0.33333334");
  ck_assert_str_eq(written(TSR_F32, 1), "1");
  ck_assert_str_eq(written(TSR_F32, -1.5), "-1.5");
  ck_assert_str_eq(written(TSR_F32, 100), "100");
  ck_assert_str_eq(written(TSR_F32, 314.15926), "314.15927");
  ck_assert_str_eq(written(TSR_F32, 123456789), "1.2345679e+08");
  ck_assert_str_eq(written(TSR_F32, 16777216), "16777216");
  ck_assert_str_eq(written(TSR_F32, 1e10), "1e+10");
  ck_assert_str_eq(written(TSR_F32, 1e-5), "1e-05");
  ck_assert_str_eq(written(TSR_F32, 0.00025), "0.00025");
  ck_assert_str_eq(written(TSR_F32, 1e-45), "1e-45");
  ck_assert_str_eq(written(TSR_F64, 1e300), "1e+300");
  ck_assert_str_eq(written(TSR_F64, 123456789), "123456789");
  ck_assert_str_eq(written(TSR_F64, 0.1), "0.1");
  ck_assert_str_eq(written(TSR_F64, 1.7976931348623157e308), "1.7976931348623157e+308");
  ck_assert_str_eq(written(TSR_F64, -0.0), "-0");
  ck_assert_str_eq(written(TSR_F32, INFINITY), "INF");
  ck_assert_str_eq(written(TSR_F32, -INFINITY), "-INF");
  ck_assert_str_eq(written(TSR_F32, NAN), "NaN");
  char text[TSR_NUMBER_TEXT];
  uint64_t big = UINT64_MAX;
  tsr_number_format(TSR_U64, &big, 0, text);
  ck_assert_str_eq(text, "18446744073709551615");
  tsr_number_format(TSR_I64, &big, 0, text);
  ck_assert_str_eq(text, "-1");
}
END_TEST

START_TEST(numbers_read_back) {
  tsr_arena arena;
  uint32_t bits = 12345;
  tsr_arena_init(&arena, tsr_allocator_default());
  for (int i = 0; i < 20000; i++) {
    char text[TSR_NUMBER_TEXT];
    float x, y;
    bits = bits * 1664525u + 1013904223u;
    memcpy(&x, &bits, sizeof x);
    if (isnan(x))
      continue;
    tsr_number_format(TSR_F32, &x, 0, text);
    ck_assert_int_eq(tsr_number_parse(text, TSR_F32, &y, 0, &arena), TSR_OK);
    ck_assert_mem_eq(&x, &y, sizeof x);
  }
  tsr_arena_reset(&arena);
}
END_TEST

START_TEST(reads_numbers) {
  static const struct {
    const char *text;
    double value;
  } cases[] = {
      {"1.5", 1.5},        {" 2 ", 2},          {"INF", INFINITY},
      {"+INF", INFINITY},  {"-inf", -INFINITY}, {"Infinity", INFINITY},
      {"1e5", 1e5},        {"1E+5", 1e5},       {".5", 0.5},
      {"5.", 5},           {"-7", -7},          {"+3", 3},
      {"1e400", INFINITY}, {"1e-400", 0},       {"0000000000000000000000000012.50e0", 12.5}};
  static const char *const wrong[] = {"",  "abc", "1.5x", "0x10", "1_0",
                                      ".", "1e",  "--1",  "1 2",  "infi"};
  tsr_arena arena;
  double value;
  int64_t number;
  uint8_t byte;
  tsr_arena_init(&arena, tsr_allocator_default());
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ck_assert_int_eq(tsr_number_parse(cases[i].text, TSR_F64, &value, 0, &arena), TSR_OK);
    ck_assert_double_eq(value, cases[i].value);
  }
  ck_assert_int_eq(tsr_number_parse("nan", TSR_F64, &value, 0, &arena), TSR_OK);
  ck_assert(isnan(value));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ck_assert_int_eq(tsr_number_parse(wrong[i], TSR_F64, &value, 0, &arena), TSR_ERR_FORMAT);
    ck_assert_int_eq(tsr_number_parse(wrong[i], TSR_I64, &number, 0, &arena), TSR_ERR_FORMAT);
  }
  ck_assert_int_eq(tsr_number_parse("-9223372036854775808", TSR_I64, &number, 0, &arena), TSR_OK);
  ck_assert(number == INT64_MIN);
  ck_assert_int_eq(tsr_number_parse("9223372036854775808", TSR_I64, &number, 0, &arena),
                   TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_number_parse("18446744073709551615", TSR_U64, &number, 0, &arena), TSR_OK);
  ck_assert(number == -1);
  ck_assert_int_eq(tsr_number_parse("18446744073709551616", TSR_U64, &number, 0, &arena),
                   TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_number_parse("1e3", TSR_I64, &number, 0, &arena), TSR_OK);
  ck_assert_int_eq(number, 1000);
  ck_assert_int_eq(tsr_number_parse("inf", TSR_I64, &number, 0, &arena), TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_number_parse("-7", TSR_U8, &byte, 0, &arena), TSR_OK);
  ck_assert_int_eq(byte, 249);
  ck_assert_int_eq(tsr_number_parse("2", TSR_BOOL, &byte, 0, &arena), TSR_OK);
  ck_assert_int_eq(byte, 1);
  tsr_arena_reset(&arena);
}
END_TEST

/* Where the decimal point is a comma. */
START_TEST(no_locale_has_a_say) {
  if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "de_DE"))
    return; /* the locale is not installed: nothing to see */
  ck_assert_str_eq(written(TSR_F64, 0.5), "0.5");
  tsr_arena arena;
  double value;
  tsr_arena_init(&arena, tsr_allocator_default());
  ck_assert_int_eq(tsr_number_parse("1.25", TSR_F64, &value, 0, &arena), TSR_OK);
  ck_assert_double_eq(value, 1.25);
  tsr_arena_reset(&arena);
  setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(casts_between_texts_and_numbers) {
  bench b;
  float numbers[] = {0.25f, -3, INFINITY};
  begin(&b);
  b.in[0] = (tsr_host_array){.dtype = TSR_F32, .rank = 1, .shape = {3}, .data = numbers};
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_FORMAT, NULL, NULL, 0), TSR_OK);
  ck_assert_str_eq(got(&b, 0), "0.25|-3|INF|");
  b.in[0] = b.out[0];
  b.out[0].dtype = TSR_F32;
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_PARSE, NULL, NULL, 0), TSR_OK);
  ck_assert_mem_eq(b.out[0].data, numbers, sizeof numbers);
  b.out[0].dtype = TSR_BOOL;
  static const char *const pattern[] = {".*\\d"};
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_MATCH, NULL, pattern, 1), TSR_OK);
  ck_assert_mem_eq(b.out[0].data, "\1\1\0", 3);
  give(&b, 0, "1|x|");
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_PARSE, NULL, NULL, 0), TSR_ERR_FORMAT);
  ck_assert_ptr_nonnull(strstr(b.diag.message, "'x'"));
  end(&b);
}
END_TEST

START_TEST(ranks_of_texts) {
  bench b;
  static const int64_t ranks[] = {3, 0, 1, 5, 1, 3};
  begin(&b);
  give(&b, 0, "b||a|\xc3\xa4|a|b|");
  b.out[0].dtype = TSR_I64;
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_RANK, NULL, NULL, 0), TSR_OK);
  ck_assert_int_eq(b.out[0].shape[0], 6);
  ck_assert_mem_eq(b.out[0].data, ranks, sizeof ranks);
  give(&b, 0, "");
  ck_assert_int_eq(run(&b, TSR_HOST_TEXT_RANK, NULL, NULL, 0), TSR_OK);
  ck_assert_int_eq(b.out[0].shape[0], 0);
  end(&b);
}
END_TEST

/* --- running out of memory --- */

typedef struct failing {
  int64_t left;
  int64_t live;
} failing;

static void *fail_allocate(void *context, size_t size, size_t alignment) {
  failing *f = context;
  if (f->left-- <= 0)
    return NULL;
  f->live++;
  return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void fail_release(void *context, void *pointer, size_t size) {
  (void)size;
  if (pointer)
    ((failing *)context)->live--;
  free(pointer);
}

static tsr_status everything(const tsr_allocator *allocator, tsr_diag *diag) {
  static const char *const own[] = {"", "a b c", "x"}, *const words[] = {"(a|[b-d]\\pL)*.{3,90}"};
  static const int64_t split[] = {-1, 1};
  tsr_arena arena;
  tsr_texts *texts;
  int64_t numbers[] = {1, 2};
  tsr_host_array in = {.dtype = TSR_I64, .rank = 1, .shape = {2}, .data = numbers};
  tsr_host_array out[2] = {{.dtype = TSR_I64}, {.dtype = TSR_I64}};
  TSR_TRY(tsr_texts_create(own, 3, allocator, &texts));
  tsr_arena_init(&arena, allocator);
  tsr_status status =
      tsr_text_run(TSR_HOST_TEXT_SPLIT, split, NULL, 0, texts, &in, 1, out, 2, &arena, diag);
  if (status == TSR_OK)
    status = tsr_text_run(TSR_HOST_TEXT_MATCH, NULL, words, 1, texts, &in, 1, out, 1, &arena, diag);
  for (int i = 0; i < 40 && status == TSR_OK; i++) {
    char text[8];
    int64_t number;
    status = tsr_texts_number(texts, text, (size_t)snprintf(text, sizeof text, "n%d", i), &number);
  }
  tsr_arena_reset(&arena);
  tsr_texts_destroy(texts);
  return status;
}

START_TEST(every_allocation_may_fail) {
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  int64_t k = 0;
  for (; status != TSR_OK && k < 10000; k++) {
    failing f = {.left = k};
    tsr_allocator allocator = {&f, fail_allocate, fail_release};
    tsr_diag diag = {0};
    status = everything(&allocator, &diag);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    ck_assert_int_eq(f.live, 0);
  }
  ck_assert_int_eq(status, TSR_OK);
  ck_assert_int_gt(k, 5);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("text");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, table_numbers_texts);
  tcase_add_test(tests, normalizes);
  tcase_add_test(tests, normalizes_rows_only);
  tcase_add_test(tests, concatenates_broadcast);
  tcase_add_test(tests, splits);
  tcase_add_test(tests, matches_as_re2);
  tcase_add_test(tests, hostile_patterns_end);
  tcase_add_test(tests, sizes_have_limits);
  tcase_add_test(tests, characters_round_trip);
  tcase_add_test(tests, writes_numbers);
  tcase_add_test(tests, numbers_read_back);
  tcase_add_test(tests, reads_numbers);
  tcase_add_test(tests, no_locale_has_a_say);
  tcase_add_test(tests, casts_between_texts_and_numbers);
  tcase_add_test(tests, ranks_of_texts);
  tcase_add_test(tests, every_allocation_may_fail);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
