#include "runtime/exec/plan.h"
#include <check.h>
#include <stdbool.h>

enum { MOST = 200, POSITIONS = 60 };

static uint64_t next_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

static uint64_t round_up(uint64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

static void check_plan(const tsr_plan_item *items, uint32_t count, uint64_t total) {
  uint64_t sum = 0, end = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t item_end = items[i].offset + items[i].bytes;
    ck_assert_uint_eq(items[i].offset % TSR_PLAN_ALIGNMENT, 0);
    sum += round_up(items[i].bytes);
    end = item_end > end ? item_end : end;
    for (uint32_t j = 0; j < i; j++) {
      bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
      bool apart =
          item_end <= items[j].offset || items[j].offset + items[j].bytes <= items[i].offset;
      ck_assert(!together || apart);
    }
  }
  ck_assert_uint_le(total, sum);
  ck_assert_uint_ge(total, end);
  for (uint32_t position = 0; position < POSITIONS; position++) {
    uint64_t live = 0;
    for (uint32_t i = 0; i < count; i++)
      if (items[i].first <= position && position <= items[i].last)
        live += items[i].bytes;
    ck_assert_uint_ge(total, live);
  }
}

START_TEST(random_lifetimes_do_not_collide) {
  uint64_t state = 7;
  for (int round = 0; round < 200; round++) {
    static tsr_plan_item items[MOST];
    static tsr_plan_item *scratch[2 * MOST];
    uint32_t count = (uint32_t)(next_random(&state) % MOST);
    uint64_t total;
    for (uint32_t i = 0; i < count; i++) {
      items[i].bytes = next_random(&state) % (round % 2 == 0 ? 300 : 100000) + 1;
      items[i].first = (uint32_t)(next_random(&state) % POSITIONS);
      items[i].last = items[i].first + (uint32_t)(next_random(&state) % 8);
      items[i].offset = 1;
    }
    ck_assert_int_eq(tsr_plan_arena(items, count, scratch, &total), TSR_OK);
    check_plan(items, count, total);
  }
}
END_TEST

/* A chain needs two buffers at a time, whatever its length. */
START_TEST(chain_reuses_memory) {
  tsr_plan_item items[20], *scratch[40];
  uint64_t total;
  for (uint32_t i = 0; i < 20; i++)
    items[i] = (tsr_plan_item){640, i, i + 1, 0};
  ck_assert_int_eq(tsr_plan_arena(items, 20, scratch, &total), TSR_OK);
  ck_assert_uint_eq(total, 1280);
}
END_TEST

/* The later gap of 128 fits better than the one of 256, then the earlier one of 256 better than
 * that of 384. */
START_TEST(best_gap_is_taken) {
  tsr_plan_item items[] = {{1024, 0, 9, 0}, {256, 0, 4, 0}, {192, 0, 9, 0},
                           {128, 0, 4, 0},  {110, 0, 9, 0}, {100, 5, 9, 0}};
  tsr_plan_item more[] = {{1024, 0, 9, 0}, {256, 0, 4, 0}, {192, 0, 9, 0}, {128, 0, 4, 0},
                          {120, 0, 4, 0},  {110, 0, 4, 0}, {100, 0, 9, 0}, {90, 5, 9, 0}};
  tsr_plan_item *scratch[16];
  uint64_t total;
  ck_assert_int_eq(tsr_plan_arena(items, 6, scratch, &total), TSR_OK);
  ck_assert_uint_eq(total, 1024 + 256 + 192 + 128 + 128);
  ck_assert_uint_eq(items[5].offset, items[3].offset);
  ck_assert_int_eq(tsr_plan_arena(more, 8, scratch, &total), TSR_OK);
  ck_assert_uint_eq(more[7].offset, more[1].offset);
}
END_TEST

START_TEST(overflow_is_an_error) {
  tsr_plan_item items[] = {{(uint64_t)INT64_MAX - 64, 0, 1, 0}, {128, 0, 1, 0}};
  tsr_plan_item huge[] = {{UINT64_MAX, 0, 1, 0}};
  tsr_plan_item *scratch[4];
  uint64_t total;
  ck_assert_int_eq(tsr_plan_arena(items, 2, scratch, &total), TSR_ERR_SHAPE);
  ck_assert_int_eq(tsr_plan_arena(huge, 1, scratch, &total), TSR_ERR_SHAPE);
  ck_assert_int_eq(tsr_plan_arena(items, 0, scratch, &total), TSR_OK);
  ck_assert_uint_eq(total, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("plan");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_add_test(tests, random_lifetimes_do_not_collide);
  tcase_add_test(tests, chain_reuses_memory);
  tcase_add_test(tests, best_gap_is_taken);
  tcase_add_test(tests, overflow_is_an_error);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
