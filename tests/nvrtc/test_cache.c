/* The compile cache; no compiler is needed. */
#include "codegen/cuda/compile_cache.h"
#include "tests/nvrtc/failing.h"
#include "tests/nvrtc/temporary.h"
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static char folder[256];
static tsr_compile_cache *cache;
static tsr_arena arena;

static void open_cache(uint64_t bound) {
  tsr_diag diag = {0};
  tsr_compile_cache_close(cache);
  ck_assert_int_eq(tsr_compile_cache_open(tsr_allocator_default(), folder, bound, &cache, &diag),
                   TSR_OK);
}

static void set_up(void) {
  make_folder(folder, sizeof folder);
  tsr_arena_init(&arena, tsr_allocator_default());
  cache = NULL;
  open_cache(0);
}

static void tear_down(void) {
  tsr_compile_cache_close(cache);
  tsr_arena_reset(&arena);
  remove_folder(folder);
}

static tsr_compile_cache_statistics statistics(void) {
  tsr_compile_cache_statistics s;
  tsr_compile_cache_get_statistics(cache, &s);
  return s;
}

static tsr_cuda_source source_of(const char *text) {
  return (tsr_cuda_source){text, NULL, "sm_80", NULL, 0, TSR_CUDA_PTX | TSR_CUDA_CUBIN};
}

static void put(const char *text, const void *cubin, size_t size) {
  tsr_cuda_source source = source_of(text);
  tsr_cuda_output output = {text, strlen(text), cubin, size, "log"};
  ck_assert_int_eq(tsr_compile_cache_put(cache, &source, "c 1", &output), TSR_OK);
}

static bool get_source(const tsr_cuda_source *source, const char *identity,
                       tsr_cuda_output *output) {
  bool found;
  ck_assert_int_eq(tsr_compile_cache_get(cache, source, identity, &arena, &found, output), TSR_OK);
  return found;
}

static bool get(const char *text) {
  tsr_cuda_source source = source_of(text);
  tsr_cuda_output output;
  bool found = get_source(&source, "c 1", &output);
  if (found)
    ck_assert_str_eq(output.ptx, text);
  return found;
}

START_TEST(what_was_put_is_found) {
  static const uint8_t cubin[] = {1, 0, 2, 0, 0, 3};
  tsr_cuda_source source = source_of("text");
  tsr_cuda_output output;
  ck_assert(!get("text"));
  put("text", cubin, sizeof cubin);
  open_cache(0);
  ck_assert(get_source(&source, "c 1", &output));
  ck_assert_uint_eq(output.ptx_size, 4);
  ck_assert_uint_eq(output.cubin_size, sizeof cubin);
  ck_assert_mem_eq(output.cubin, cubin, sizeof cubin);
  ck_assert_str_eq(output.log, "log");
  ck_assert_uint_eq(statistics().hits, 1);
  ck_assert_int_eq(each_file(folder, 1, NULL), 1);
}
END_TEST

/* Each part of the key but the name tells kernels apart; texts do not run into each other. */
START_TEST(every_part_of_the_key_counts) {
  static const char *const one[] = {"-a", "b"}, *const joined[] = {"-ab"};
  tsr_cuda_source base = {"text", "name", "sm_80", one, 2, TSR_CUDA_PTX};
  tsr_cuda_output output = {"x", 1, NULL, 0, ""};
  ck_assert_int_eq(tsr_compile_cache_put(cache, &base, "c 1", &output), TSR_OK);
  tsr_cuda_source changed[] = {base, base, base, base, base, base};
  changed[0].text = "texs";
  changed[1].arch = "sm_90";
  changed[2].options = joined;
  changed[2].option_count = 1;
  changed[3].option_count = 1;
  changed[4].want = TSR_CUDA_CUBIN;
  changed[5].text = "";
  for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
    ck_assert(!get_source(&changed[i], "c 1", &output));
  ck_assert(!get_source(&base, "c 2", &output));
  base.name = "another";
  ck_assert(get_source(&base, "c 1", &output));
  ck_assert_ptr_null(output.cubin);
}
END_TEST

/* Every byte of an entry, changed alone, and every length. */
static char entry[4096];

static void note_entry(const char *path) {
  snprintf(entry, sizeof entry, "%s", path);
}

static void write_entry(const uint8_t *bytes, size_t size) {
  FILE *file = fopen(entry, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
  fclose(file);
}

START_TEST(damage_is_found_and_removed) {
  uint8_t bytes[1024], damaged[1024];
  put("text", "cubin", 5);
  each_file(folder, 0, note_entry);
  FILE *file = fopen(entry, "rb");
  ck_assert_ptr_nonnull(file);
  size_t size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  ck_assert_uint_lt(size, sizeof bytes - 1);
  for (size_t i = 0; i < size; i++) {
    memcpy(damaged, bytes, size);
    damaged[i] ^= 0x10;
    write_entry(damaged, size);
    ck_assert(!get("text"));
    ck_assert_int_ne(access(entry, F_OK), 0);
    write_entry(bytes, i);
    ck_assert(!get("text"));
  }
  write_entry(bytes, size + 1);
  ck_assert(!get("text"));
  ck_assert_uint_eq(statistics().damaged, 2 * size + 1);
  write_entry(bytes, size);
  ck_assert(get("text"));
}
END_TEST

START_TEST(an_entry_of_another_key_is_not_taken) {
  char first[4096];
  put("text", "cubin", 5);
  each_file(folder, 0, note_entry);
  memcpy(first, entry, sizeof first);
  put("other", "cubin", 5);
  ck_assert(get("other"));
  remove_file(first);
  each_file(folder, 0, note_entry);
  ck_assert_int_eq(rename(entry, first), 0);
  ck_assert(!get("text"));
  ck_assert_uint_eq(statistics().damaged, 0);
}
END_TEST

/* The kernel's clock for file times ticks in milliseconds. */
static void tick(void) {
  struct timespec nap = {0, 15000000};
  nanosleep(&nap, NULL);
}

START_TEST(least_recently_used_goes_first) {
  static uint8_t cubin[1000];
  char text[] = "k0";
  open_cache(10000);
  for (int i = 0; i < 8; i++, tick()) {
    text[1] = (char)('0' + i);
    put(text, cubin, sizeof cubin);
  }
  ck_assert(get("k0"));
  tick();
  put("k8", cubin, sizeof cubin);
  put("k9", cubin, sizeof cubin);
  ck_assert_uint_ge(statistics().evicted, 1);
  ck_assert(get("k0"));
  ck_assert(get("k9"));
  ck_assert(!get("k1"));
  ck_assert_int_ge(each_file(folder, 1, NULL), 7);
}
END_TEST

START_TEST(a_smaller_bound_is_kept_at_once) {
  static uint8_t cubin[1000];
  char text[] = "k0";
  for (int i = 0; i < 9; i++) {
    text[1] = (char)('0' + i);
    put(text, cubin, sizeof cubin);
  }
  open_cache(4000);
  ck_assert_int_le(each_file(folder, 1, NULL), 3);
  open_cache(1);
  ck_assert_int_eq(each_file(folder, 1, NULL), 0);
}
END_TEST

START_TEST(what_a_killed_process_left_is_removed) {
  char path[512];
  struct timespec old[2] = {{1000, 0}, {1000, 0}};
  snprintf(path, sizeof path, "%s/.write-1-0-0", folder);
  int file = open(path, O_CREAT | O_WRONLY, 0600);
  ck_assert_int_ge(file, 0);
  close(file);
  open_cache(0);
  ck_assert_int_eq(access(path, F_OK), 0);
  ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
  open_cache(0);
  ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* A folder that cannot be written costs nothing but the entries. */
START_TEST(a_lost_folder_is_no_failure) {
  remove_folder(folder);
  put("text", "cubin", 5);
  ck_assert(!get("text"));
  ck_assert_uint_eq(statistics().store_failures, 1);
  ck_assert_uint_eq(statistics().stores, 0);
}
END_TEST

START_TEST(a_folder_that_cannot_be_made_is_said) {
  tsr_compile_cache *none;
  tsr_diag diag = {0};
  ck_assert_int_eq(
      tsr_compile_cache_open(tsr_allocator_default(), "/dev/null/cache", 0, &none, &diag),
      TSR_ERR_IO);
  ck_assert_ptr_null(none);
  ck_assert_ptr_nonnull(strstr(diag.message, "/dev/null/cache"));
}
END_TEST

START_TEST(the_default_folder_follows_the_environment) {
  char path[512], inner[600];
  tsr_compile_cache *other;
  snprintf(path, sizeof path, "%s/tessera", folder);
  snprintf(inner, sizeof inner, "%s/cuda", path);
  ck_assert_int_eq(setenv("XDG_CACHE_HOME", folder, 1), 0);
  ck_assert_int_eq(tsr_compile_cache_open(tsr_allocator_default(), NULL, 0, &other, NULL), TSR_OK);
  ck_assert_str_eq(tsr_compile_cache_folder(other), inner);
  tsr_compile_cache_close(other);
  remove_folder(inner);
  remove_folder(path);
}
END_TEST

/* Writes and reads entries whose bytes follow from their number. */
enum { KEYS = 40, ROUNDS = 300, PROCESSES = 4, THREADS = 2 };

static bool check_entry(unsigned number) {
  char text[32];
  uint8_t cubin[600];
  tsr_arena local;
  tsr_cuda_output output;
  bool found = false, right = true;
  snprintf(text, sizeof text, "kernel %u", number);
  memset(cubin, (int)number, sizeof cubin);
  tsr_cuda_source source = source_of(text);
  tsr_arena_init(&local, tsr_allocator_default());
  if (tsr_compile_cache_get(cache, &source, "c 1", &local, &found, &output) != TSR_OK)
    right = false;
  if (found)
    right = right && output.cubin_size == sizeof cubin &&
            memcmp(output.cubin, cubin, sizeof cubin) == 0 && strcmp(output.ptx, text) == 0;
  output = (tsr_cuda_output){text, strlen(text), cubin, sizeof cubin, ""};
  if (!found && tsr_compile_cache_put(cache, &source, "c 1", &output) != TSR_OK)
    right = false;
  tsr_arena_reset(&local);
  return right;
}

static void *hammer(void *seed) {
  unsigned state = *(unsigned *)seed;
  for (int i = 0; i < ROUNDS; i++) {
    state = state * 1103515245u + 12345u;
    if (!check_entry((state >> 16) % KEYS))
      return seed;
  }
  return NULL;
}

static int hammer_with_threads(unsigned seed) {
  pthread_t threads[THREADS];
  unsigned seeds[THREADS];
  int failed = 0;
  for (unsigned i = 0; i < THREADS; i++) {
    seeds[i] = seed * THREADS + i + 1;
    failed |= pthread_create(&threads[i], NULL, hammer, &seeds[i]) != 0;
  }
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    failed |= result != NULL;
  }
  return failed || statistics().damaged != 0 || statistics().store_failures != 0;
}

static long long folder_bytes;
static void add_bytes(const char *path) {
  struct stat about;
  if (stat(path, &about) == 0)
    folder_bytes += about.st_size;
}

START_TEST(processes_and_threads_share_a_folder) {
  pid_t children[PROCESSES];
  for (unsigned i = 0; i < PROCESSES; i++) {
    children[i] = fork();
    ck_assert_int_ge(children[i], 0);
    if (children[i] == 0) {
      cache = NULL;
      open_cache(20000);
      _exit(hammer_with_threads(i));
    }
  }
  for (int i = 0; i < PROCESSES; i++) {
    int status;
    ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
    ck_assert_int_eq(status, 0);
  }
  open_cache(20000);
  ck_assert_int_ge(each_file(folder, 1, NULL), 5);
  folder_bytes = 0;
  (void)each_file(folder, 1, add_bytes);
  ck_assert_int_le(folder_bytes, 20000);
}
END_TEST

/* Opens, stores, looks up; the arena of what is found is scarce as well. */
static tsr_status use_scarce(failing_allocator *failing, bool *found) {
  tsr_cuda_source source = source_of("scarce");
  tsr_cuda_output output = {"x", 1, NULL, 0, ""};
  tsr_compile_cache *scarce;
  tsr_arena local;
  tsr_arena_init(&local, &failing->allocator);
  tsr_status status = tsr_compile_cache_open(&failing->allocator, folder, 0, &scarce, NULL);
  if (status == TSR_OK)
    status = tsr_compile_cache_put(scarce, &source, "c 1", &output);
  if (status == TSR_OK)
    status = tsr_compile_cache_get(scarce, &source, "c 1", &local, found, &output);
  tsr_compile_cache_close(scarce);
  tsr_arena_reset(&local);
  return status;
}

START_TEST(memory_may_be_out) {
  tsr_status status = TSR_ERR_OUT_OF_MEMORY;
  bool found = false;
  int64_t calls = 0;
  for (; status != TSR_OK; calls++) {
    failing_allocator failing;
    failing_init(&failing, calls);
    status = use_scarce(&failing, &found);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    ck_assert_int_eq(failing.live, 0);
  }
  ck_assert(found);
  ck_assert_int_gt(calls, 3);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("compile_cache");
  TCase *tests = tcase_create("cache");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, what_was_put_is_found);
  tcase_add_test(tests, every_part_of_the_key_counts);
  tcase_add_test(tests, damage_is_found_and_removed);
  tcase_add_test(tests, an_entry_of_another_key_is_not_taken);
  tcase_add_test(tests, least_recently_used_goes_first);
  tcase_add_test(tests, a_smaller_bound_is_kept_at_once);
  tcase_add_test(tests, what_a_killed_process_left_is_removed);
  tcase_add_test(tests, a_lost_folder_is_no_failure);
  tcase_add_test(tests, a_folder_that_cannot_be_made_is_said);
  tcase_add_test(tests, the_default_folder_follows_the_environment);
  tcase_add_test(tests, processes_and_threads_share_a_folder);
  tcase_add_test(tests, memory_may_be_out);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
