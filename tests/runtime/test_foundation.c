#include "runtime/arena.h"
#include "runtime/clock.h"
#include "runtime/cpu_features.h"
#include "runtime/diag.h"
#include "runtime/hash.h"
#include "runtime/index_code.h"
#include "tests/runtime/programs.h"
#include <check.h>

START_TEST(status_texts_are_distinct) {
  for (int i = 0; i < TSR_STATUS_COUNT; i++)
    for (int j = 0; j < i; j++)
      ck_assert_str_ne(tsr_status_text((tsr_status)i), tsr_status_text((tsr_status)j));
  ck_assert_str_eq(tsr_status_text((tsr_status)TSR_STATUS_COUNT), "unknown status");
  ck_assert_str_eq(tsr_status_text((tsr_status)-1), "unknown status");
}
END_TEST

START_TEST(dtype_table) {
  for (int i = 1; i < TSR_DTYPE_COUNT; i++) {
    tsr_dtype dtype = (tsr_dtype)i;
    const char *text = tsr_dtype_text(dtype);
    ck_assert_int_eq(tsr_dtype_parse(text, strlen(text)), dtype);
    ck_assert_int_eq(tsr_dtype_from_dlpack(tsr_dtype_to_dlpack(dtype)), dtype);
    ck_assert_int_eq(tsr_dtype_bytes(dtype, 8), tsr_dtype_bits(dtype));
    ck_assert_int_ne(tsr_dtype_class_of(dtype), TSR_CLASS_NONE);
  }
  ck_assert_int_eq(tsr_dtype_parse("f33", 3), TSR_DTYPE_NONE);
  ck_assert_int_eq(tsr_dtype_parse("none", 4), TSR_DTYPE_NONE);
  ck_assert_int_eq(tsr_dtype_parse("f32x", 3), TSR_F32);
  ck_assert_str_eq(tsr_dtype_text(TSR_DTYPE_COUNT), "?");
  ck_assert_int_eq(tsr_dtype_bytes(TSR_I4, 3), 2);
  ck_assert_int_eq(tsr_dtype_bytes(TSR_F6E2M3, 3), 3);
  ck_assert_int_eq(tsr_dtype_bytes(TSR_B1, 9), 2);
  ck_assert_int_eq(tsr_dtype_bytes(TSR_F64, 0), 0);
  ck_assert_int_eq(tsr_dtype_bytes(TSR_F64, -1), -1);
  ck_assert_int_eq(tsr_dtype_bytes(TSR_F64, INT64_MAX / 8), INT64_MAX / 8 * 8);
  ck_assert_int_eq(tsr_dtype_bytes(TSR_F64, INT64_MAX / 8 + 1), -1);
  ck_assert_int_eq(tsr_dtype_bytes(TSR_I8, INT64_MAX), INT64_MAX);
}
END_TEST

START_TEST(dlpack_refuses_vectors) {
  DLDataType type = tsr_dtype_to_dlpack(TSR_F32);
  type.lanes = 4;
  ck_assert_int_eq(tsr_dtype_from_dlpack(type), TSR_DTYPE_NONE);
  ck_assert_int_eq(tsr_dtype_to_dlpack(TSR_DTYPE_NONE).bits, 0);
}
END_TEST

START_TEST(arena_gives_zeroed_aligned_memory) {
  test_heap heap;
  tsr_arena arena;
  test_heap_init(&heap, 0);
  tsr_arena_init(&arena, &heap.allocator);
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < 3000; i++) {
      size_t size = i % 500 == 0 ? 100000 : i % 97;
      unsigned char *bytes = (unsigned char *)tsr_arena_alloc(&arena, size);
      ck_assert_ptr_nonnull(bytes);
      ck_assert_uint_eq((uintptr_t)bytes % 16, 0);
      for (size_t k = 0; k < size; k++)
        ck_assert_uint_eq(bytes[k], 0);
      memset(bytes, 0xff, size);
    }
    ck_assert_ptr_ne(tsr_arena_alloc(&arena, 0), tsr_arena_alloc(&arena, 0));
    tsr_arena_reset(&arena);
    ck_assert_int_eq(heap.live, 0);
  }
  ck_assert_ptr_null(tsr_arena_alloc(&arena, SIZE_MAX));
  ck_assert_ptr_null(tsr_arena_alloc_array(&arena, SIZE_MAX / 2, 4));
  ck_assert_str_eq(tsr_arena_string(&arena, "abcdef", 3), "abc");
  ck_assert_str_eq(tsr_arena_printf(&arena, "%d-%s", 42, "x"), "42-x");
  tsr_arena_reset(&arena);
  heap.fail_at = 1;
  ck_assert_ptr_null(tsr_arena_alloc(&arena, 1));
  ck_assert_ptr_null(tsr_arena_printf(&arena, "x"));
}
END_TEST

START_TEST(diagnostic_keeps_the_first_failure) {
  tsr_diag diag;
  char text[64];
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_fail(&diag, TSR_ERR_SHAPE, "bad %d", 7), TSR_ERR_SHAPE);
  ck_assert_int_eq(tsr_fail(&diag, TSR_ERR_TYPE, "later"), TSR_ERR_TYPE);
  ck_assert_int_eq(tsr_fail(NULL, TSR_ERR_IO, "nobody listens"), TSR_ERR_IO);
  tsr_diag_format(&diag, text, sizeof text);
  ck_assert_str_eq(text, "bad 7");
  tsr_diag_set_node(&diag, "conv1", "Conv");
  tsr_diag_set_node(&diag, "other", "Other");
  tsr_diag_set_file(&diag, "m.onnx");
  tsr_diag_format(&diag, text, sizeof text);
  ck_assert_str_eq(text, "m.onnx: node 'conv1' (Conv): bad 7");
  tsr_diag_set_position(&diag, 3, 9);
  tsr_diag_format(&diag, text, sizeof text);
  ck_assert_str_eq(text, "m.onnx:3:9: node 'conv1' (Conv): bad 7");
  tsr_diag_format(&diag, text, 8);
  ck_assert_str_eq(text, "m.onnx:");
  tsr_diag_clear(&diag);
  tsr_diag_set_node(&diag, "a\n\x1b[2Jb", "Conv");
  tsr_diag_format(&diag, text, sizeof text);
  ck_assert_str_eq(text, "node 'a??[2Jb' (Conv): ok");
}
END_TEST

/* The mathematical value, by 128-bit arithmetic; false where it does not exist. */
static bool reference(tsr_index_op op, __int128 a, __int128 b, __int128 *out) {
  __int128 quotient = b != 0 ? a / b : 0, rest = b != 0 ? a % b : 0;
  bool round_down = rest != 0 && (rest < 0) != (b < 0);
  switch (op) {
  case TSR_INDEX_ADD:
    *out = a + b;
    return true;
  case TSR_INDEX_MUL:
    *out = a * b;
    return true;
  case TSR_INDEX_FLOORDIV:
    *out = quotient - round_down;
    return b != 0;
  case TSR_INDEX_CEILDIV:
    *out = quotient + (rest != 0 && !round_down);
    return b != 0;
  case TSR_INDEX_MOD:
    *out = a - b * (quotient - round_down);
    return b != 0;
  case TSR_INDEX_MIN:
    *out = a < b ? a : b;
    return true;
  case TSR_INDEX_MAX:
    *out = a < b ? b : a;
    return true;
  case TSR_INDEX_LT:
    *out = a < b;
    return true;
  case TSR_INDEX_LE:
    *out = a <= b;
    return true;
  case TSR_INDEX_EQ:
    *out = a == b;
    return true;
  case TSR_INDEX_NE:
    *out = a != b;
    return true;
  case TSR_INDEX_AND:
    *out = a && b;
    return true;
  default:
    *out = a || b;
    return true;
  }
}

START_TEST(index_operators_match_wide_arithmetic) {
  static const int64_t values[] = {
      INT64_MIN, INT64_MIN + 1, -1000000007,   -64,           -7,       -2, -1, 0, 1, 2, 3, 7,
      64,        1000000007,    INT64_MAX / 2, INT64_MAX - 1, INT64_MAX};
  for (int op = TSR_INDEX_ADD; op < TSR_INDEX_OP_COUNT; op++)
    for (size_t i = 0; i < TEST_LENGTH(values); i++)
      for (size_t j = 0; j < TEST_LENGTH(values); j++) {
        __int128 expected;
        int64_t value = 0;
        bool exists = reference((tsr_index_op)op, values[i], values[j], &expected) &&
                      expected >= INT64_MIN && expected <= INT64_MAX;
        tsr_status status = tsr_index_apply((tsr_index_op)op, values[i], values[j], &value);
        ck_assert_int_eq(status, exists ? TSR_OK : TSR_ERR_SHAPE);
        ck_assert_int_eq(value, exists ? (int64_t)expected : 0);
      }
}
END_TEST

START_TEST(index_code_checks_its_stack) {
  static const int64_t dims[] = {5, 3};
  static const tsr_index_step good[] = {{TSR_INDEX_DIM, 0},
                                        {TSR_INDEX_INT, 2},
                                        {TSR_INDEX_ADD, 0},
                                        {TSR_INDEX_DIM, 1},
                                        {TSR_INDEX_CEILDIV, 0}};
  static const tsr_index_step unknown_dim[] = {{TSR_INDEX_DIM, 2}};
  static const tsr_index_step negative_dim[] = {{TSR_INDEX_DIM, -1}};
  static const tsr_index_step unknown_op[] = {{TSR_INDEX_INT, 1}, {TSR_INDEX_INT, 1}, {99, 0}};
  static const tsr_index_step value_op[] = {{TSR_INDEX_VALUE, 0}};
  tsr_index_step deep[65];
  int64_t value;
  ck_assert_int_eq(tsr_index_eval(good, 5, dims, 2, &value), TSR_OK);
  ck_assert_int_eq(value, 3);
  for (uint32_t count = 0; count < 5; count++)
    ck_assert_int_eq(tsr_index_eval(good, count, dims, 2, &value),
                     count == 1 || count == 3 ? TSR_OK : TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_index_eval(good + 2, 1, dims, 2, &value), TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_index_eval(unknown_dim, 1, dims, 2, &value), TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_index_eval(negative_dim, 1, dims, 2, &value), TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_index_eval(unknown_op, 3, dims, 2, &value), TSR_ERR_FORMAT);
  ck_assert_int_eq(tsr_index_eval(value_op, 1, dims, 2, &value), TSR_ERR_FORMAT);
  for (int i = 0; i < 65; i++)
    deep[i] = (tsr_index_step){TSR_INDEX_INT, i};
  ck_assert_int_eq(tsr_index_eval(deep, 65, dims, 2, &value), TSR_ERR_FORMAT);
}
END_TEST

/* Values published with XXH64 by its author and in other implementations' test suites. */
START_TEST(hash_matches_published_values) {
  static const char *text = "Nobody inspects the spammish repetition";
  unsigned char bytes[200];
  ck_assert_uint_eq(tsr_hash64(NULL, 0), 0xEF46DB3751D8E999u);
  ck_assert_uint_eq(tsr_hash64("a", 1), 0xD24EC4F1A98C6E5Bu);
  ck_assert_uint_eq(tsr_hash64("abc", 3), 0x44BC2CF5AD770999u);
  ck_assert_uint_eq(tsr_hash64(text, strlen(text)), 0xFBCEA83C8A378BF1u);
  memset(bytes, 0, sizeof bytes);
  for (size_t size = 1; size < sizeof bytes; size++)
    for (size_t i = 0; i < size * 8; i++) {
      uint64_t before = tsr_hash64(bytes, size);
      bytes[i / 8] ^= (unsigned char)(1u << i % 8);
      ck_assert_uint_ne(tsr_hash64(bytes, size), before);
      bytes[i / 8] ^= (unsigned char)(1u << i % 8);
    }
}
END_TEST

START_TEST(cpu_features_agree_with_the_compiler) {
#if defined(__x86_64__)
  uint64_t features = tsr_cpu_features();
  __builtin_cpu_init();
  ck_assert_int_eq((features & TSR_CPU_SSE42) != 0, __builtin_cpu_supports("sse4.2") != 0);
  ck_assert_int_eq((features & TSR_CPU_POPCNT) != 0, __builtin_cpu_supports("popcnt") != 0);
  ck_assert_int_eq((features & TSR_CPU_AVX2) != 0, __builtin_cpu_supports("avx2") != 0);
  ck_assert_int_eq((features & TSR_CPU_FMA) != 0, __builtin_cpu_supports("fma") != 0);
  ck_assert_int_eq((features & TSR_CPU_BMI2) != 0, __builtin_cpu_supports("bmi2") != 0);
  ck_assert_int_eq((features & TSR_CPU_AVX512F) != 0, __builtin_cpu_supports("avx512f") != 0);
  ck_assert_int_eq((features & TSR_CPU_AVX512BW) != 0, __builtin_cpu_supports("avx512bw") != 0);
  ck_assert_int_eq((features & TSR_CPU_AVX512VL) != 0, __builtin_cpu_supports("avx512vl") != 0);
  ck_assert_int_eq((features & TSR_CPU_AVX512_VNNI) != 0,
                   __builtin_cpu_supports("avx512vnni") != 0);
#endif
  tsr_cpu_caches caches;
  char text[128];
  tsr_cpu_cache_sizes(&caches);
  ck_assert_uint_le(caches.l1d_bytes, 1u << 20);
  ck_assert(caches.l2_bytes == 0 || caches.l2_bytes >= caches.l1d_bytes);
  ck_assert_uint_ge(tsr_cpu_count(), 1);
  for (uint32_t bit = 0; bit < TSR_CPU_BIT_COUNT; bit++) {
    const char *name = tsr_cpu_feature_text(bit);
    ck_assert_int_eq(tsr_cpu_feature_parse(name, strlen(name)), bit);
  }
  tsr_cpu_feature_names(TSR_CPU_AVX2 | TSR_CPU_AMX_TILE | (uint64_t)1 << 60, text, sizeof text);
  ck_assert_str_eq(text, "avx2, amx-tile, feature 60");
  tsr_cpu_feature_names(UINT64_MAX, text, 8);
  ck_assert_uint_lt(strlen(text), 8);
}
END_TEST

START_TEST(clock_does_not_go_back) {
  int64_t last = tsr_time_ns();
  for (int i = 0; i < 1000; i++) {
    int64_t now = tsr_time_ns();
    ck_assert_int_ge(now, last);
    last = now;
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("foundation");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_add_test(tests, status_texts_are_distinct);
  tcase_add_test(tests, dtype_table);
  tcase_add_test(tests, dlpack_refuses_vectors);
  tcase_add_test(tests, arena_gives_zeroed_aligned_memory);
  tcase_add_test(tests, diagnostic_keeps_the_first_failure);
  tcase_add_test(tests, index_operators_match_wide_arithmetic);
  tcase_add_test(tests, index_code_checks_its_stack);
  tcase_add_test(tests, hash_matches_published_values);
  tcase_add_test(tests, cpu_features_agree_with_the_compiler);
  tcase_add_test(tests, clock_does_not_go_back);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
