/* One module mapped by several processes shares its weights' pages; the same module gives the same
 * bits on any number of threads; compiling twice gives the same bytes. */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>
#include <unistd.h>

enum { WIDTH = 1024, ROWS = 5, WEIGHT_KIB = WIDTH * WIDTH * 4 / 1024 };

static const char *const graph_text =
    "dim N in 1..64\n"
    "graph @g {\n"
    "  %x = input {name = \"x\"} : f32[N, 1024]\n"
    "  %w = const {random = 3} : f32[1024, 1024]\n"
    "  %e = einsum %x, %w {spec = \"nk,km->nm\"} : f32[N, 1024] from \"MatMul_0\"\n"
    "  %t = tanh %e : f32[N, 1024] from \"Tanh_1\"\n"
    "  %s = reduce %t {axes = [1], combine = \"add\"} : f32[N] from \"Sum_2\"\n"
    "  output %t {name = \"t\"}\n"
    "  output %s {name = \"s\"}\n"
    "}\n";

static void compile(void **out_bytes, size_t *out_size, tsr_context **out_context) {
  ck_assert_int_eq(tsr_context_create(NULL, out_context), TSR_OK);
  tsr_status status = tsr_compile_text(*out_context, graph_text, strlen(graph_text), "g.tsr", NULL,
                                       out_bytes, out_size);
  ck_assert_msg(status == TSR_OK, "%s", tsr_context_error(*out_context));
}

static void run(tsr_module *module, uint32_t threads, float *out_t, float *out_s) {
  static float data[ROWS * WIDTH];
  int64_t shape[2] = {ROWS, WIDTH};
  for (size_t i = 0; i < sizeof data / sizeof *data; i++)
    data[i] = (float)(i % 101) * 0.01f - 0.5f;
  DLTensor x = {.data = data,
                .device = {.device_type = kDLCPU},
                .ndim = 2,
                .dtype = tsr_dtype_to_dlpack(TSR_F32),
                .shape = shape};
  tsr_exec_options options = {.size = sizeof options, .threads = threads};
  tsr_exec *exec;
  DLTensor t, s;
  ck_assert_int_eq(tsr_exec_create(module, &options, &exec, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &x), TSR_OK);
  ck_assert_int_eq(tsr_exec_run(exec), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 0, &t), TSR_OK);
  ck_assert_int_eq(tsr_exec_output(exec, 1, &s), TSR_OK);
  memcpy(out_t, t.data, ROWS * WIDTH * sizeof *out_t);
  memcpy(out_s, s.data, ROWS * sizeof *out_s);
  tsr_exec_destroy(exec);
}

/* In kiB, over the mappings of the file `name`: pages that others map too (dirty as long as
 * the file is not on the disk), and pages of our own. */
static void read_smaps(const char *name, long *out_shared, long *out_private) {
  FILE *file = fopen("/proc/self/smaps", "r");
  char line[4096];
  bool ours = false;
  *out_shared = *out_private = 0;
  ck_assert_ptr_nonnull(file);
  while (fgets(line, sizeof line, file) != NULL) {
    long amount;
    if (strchr(line, '-') != NULL && strchr(line, '-') < strchr(line, ' '))
      ours = strstr(line, name) != NULL;
    else if (ours && (sscanf(line, "Shared_Clean: %ld", &amount) == 1 ||
                      sscanf(line, "Shared_Dirty: %ld", &amount) == 1))
      *out_shared += amount;
    else if (ours && (sscanf(line, "Private_Clean: %ld", &amount) == 1 ||
                      sscanf(line, "Private_Dirty: %ld", &amount) == 1))
      *out_private += amount;
  }
  fclose(file);
}

static void load_and_run(const char *path, tsr_module **out_module) {
  static float t[ROWS * WIDTH], s[ROWS];
  ck_assert_int_eq(tsr_module_load_file(path, NULL, out_module, NULL), TSR_OK);
  run(*out_module, 1, t, s);
}

/* Holds the module, with every weight read, until the pipe is closed. */
static pid_t start_other(const char *path, int *out_ready, int *out_hold) {
  int ready[2], hold[2];
  char byte = 0;
  ck_assert(pipe(ready) == 0 && pipe(hold) == 0);
  pid_t child = fork();
  if (child == 0) {
    tsr_module *module;
    close(hold[1]);
    load_and_run(path, &module);
    if (write(ready[1], &byte, 1) == 1)
      (void)!read(hold[0], &byte, 1);
    _exit(0);
  }
  close(hold[0]);
  close(ready[1]);
  *out_ready = ready[0];
  *out_hold = hold[1];
  return child;
}

START_TEST(weights_are_shared_between_processes) {
  char path[600], byte;
  const char *base = getenv("TESSERA_TEST_TMP");
  tsr_context *context;
  void *bytes;
  size_t size;
  compile(&bytes, &size, &context);
  snprintf(path, sizeof path, "%s/sharing-%ld.tsm", base ? base : "/tmp", (long)getpid());
  FILE *file = fopen(path, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
  ck_assert_int_eq(fclose(file), 0);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  int ready, hold, status;
  pid_t other = start_other(path, &ready, &hold);
  ck_assert_int_eq(read(ready, &byte, 1), 1);
  tsr_module *module;
  load_and_run(path, &module);
  long shared, own;
  read_smaps(strrchr(path, '/'), &shared, &own);
  ck_assert_msg(shared >= WEIGHT_KIB, "%ld kiB are shared, %ld not; the weights have %d", shared,
                own, WEIGHT_KIB);
  ck_assert_msg(own <= 64, "%ld kiB of the module are not shared", own);
  close(hold);
  ck_assert_int_eq(waitpid(other, &status, 0), other);
  ck_assert_int_eq(status, 0);
  tsr_module_release(module);
  ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(threads_do_not_change_bits) {
  static float t[3][ROWS * WIDTH], s[3][ROWS];
  tsr_context *context;
  tsr_module *module;
  void *bytes;
  size_t size;
  compile(&bytes, &size, &context);
  ck_assert_int_eq(tsr_module_load_memory(bytes, size, NULL, &module, NULL), TSR_OK);
  for (uint32_t i = 0; i < 3; i++)
    run(module, i + 1, t[i], s[i]);
  for (int i = 1; i < 3; i++) {
    ck_assert_int_eq(memcmp(t[0], t[i], sizeof t[0]), 0);
    ck_assert_int_eq(memcmp(s[0], s[i], sizeof s[0]), 0);
  }
  tsr_module_release(module);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
}
END_TEST

START_TEST(compiling_twice_gives_the_same_bytes) {
  tsr_context *contexts[2];
  void *bytes[2];
  size_t sizes[2];
  for (int i = 0; i < 2; i++)
    compile(&bytes[i], &sizes[i], &contexts[i]);
  ck_assert_uint_eq(sizes[0], sizes[1]);
  ck_assert_int_eq(memcmp(bytes[0], bytes[1], sizes[0]), 0);
  for (int i = 0; i < 2; i++) {
    tsr_bytes_release(contexts[i], bytes[i], sizes[i]);
    tsr_context_destroy(contexts[i]);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("sharing");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, weights_are_shared_between_processes);
  tcase_add_test(tests, threads_do_not_change_bits);
  tcase_add_test(tests, compiling_twice_gives_the_same_bytes);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
