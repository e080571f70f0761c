/* Every status code that input from outside can cause has the input that causes it, through the
 * public API. A code added to TSR_STATUS_LIST without a row here fails. */
#include "runtime/hash.h"
#include "runtime/module/format.h"
#include "tests/error/bad_models.h"
#include <stdbool.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>
#include <unistd.h>

static const char *const good_text = "dim N in 1..9\ngraph @g {\n"
                                     "  %x = input {name = \"x\"} : f32[N, 3]\n"
                                     "  %y = add %x, %x : f32[N, 3] from \"Add_0\"\n"
                                     "  output %y {name = \"y\"}\n}\n";

/* The message of the failed call. */
static char text[2048];

static void keep(const char *message) {
  snprintf(text, sizeof text, "%s", message);
}

static tsr_status compile_text(const char *graph, const tsr_compile_options *options) {
  tsr_context *context;
  void *bytes;
  size_t size;
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  tsr_status status =
      tsr_compile_text(context, graph, strlen(graph), "g.tsr", options, &bytes, &size);
  keep(tsr_context_error(context));
  ck_assert((status == TSR_OK) == (bytes != NULL));
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return status;
}

static tsr_status compile_path(const char *path, const tsr_compile_options *options) {
  tsr_context *context;
  void *bytes;
  size_t size;
  ck_assert_int_eq(tsr_context_create(NULL, &context), TSR_OK);
  tsr_status status = tsr_compile_file_to_memory(context, path, options, &bytes, &size);
  keep(tsr_context_error(context));
  ck_assert((status == TSR_OK) == (bytes != NULL));
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return status;
}

/* Takes `model`. */
static tsr_status compile_model(wire model) {
  char path[600];
  const char *base = getenv("TESSERA_TEST_TMP");
  snprintf(path, sizeof path, "%s/status-%ld.onnx", base ? base : "/tmp", (long)getpid());
  save_model(path, model);
  tsr_status status = compile_path(path, NULL);
  ck_assert_int_eq(unlink(path), 0);
  return status;
}

/* The module of good_text. */
static void make_module(tsr_context **out_context, void **out_bytes, size_t *out_size) {
  ck_assert_int_eq(tsr_context_create(NULL, out_context), TSR_OK);
  ck_assert_int_eq(tsr_compile_text(*out_context, good_text, strlen(good_text), "g.tsr", NULL,
                                    out_bytes, out_size),
                   TSR_OK);
}

static void change_version(unsigned char *bytes) {
  tsm_header header;
  memcpy(&header, bytes, sizeof header);
  header.version++;
  memcpy(bytes, &header, sizeof header);
}

static void flip_table(unsigned char *bytes) {
  bytes[sizeof(tsm_header) + 4] ^= 1;
}

/* The processor feature that none has, in tables whose checksum is right. */
static void ask_for_more(unsigned char *bytes) {
  tsm_header header;
  tsm_program program;
  memcpy(&header, bytes, sizeof header);
  memcpy(&program, bytes + header.programs_offset, sizeof program);
  program.cpu_features = UINT64_MAX;
  memcpy(bytes + header.programs_offset, &program, sizeof program);
  header.meta_checksum =
      tsr_hash64(bytes + TSM_CHECKED_FROM, (size_t)header.meta_bytes - TSM_CHECKED_FROM);
  memcpy(bytes, &header, sizeof header);
}

static tsr_status load_changed(void (*change)(unsigned char *bytes)) {
  tsr_context *context;
  void *bytes;
  size_t size;
  make_module(&context, &bytes, &size);
  change(bytes);
  tsr_module *module;
  tsr_message message;
  tsr_status status = tsr_module_load_memory(bytes, size, NULL, &module, &message);
  keep(message.text);
  ck_assert((status == TSR_OK) == (module != NULL));
  tsr_module_release(module);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return status;
}

/* An execution of good_text; `call` fails on it. */
static tsr_status on_exec(tsr_status (*call)(tsr_exec *exec)) {
  tsr_context *context;
  void *bytes;
  size_t size;
  tsr_module *module;
  tsr_exec *exec;
  make_module(&context, &bytes, &size);
  ck_assert_int_eq(tsr_module_load_memory(bytes, size, NULL, &module, NULL), TSR_OK);
  ck_assert_int_eq(tsr_exec_create(module, NULL, &exec, NULL), TSR_OK);
  tsr_status status = call(exec);
  keep(tsr_exec_last_error(exec));
  ck_assert_int_eq(tsr_exec_last_status(exec), status);
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return status;
}

static void *no_memory(void *context, size_t size, size_t alignment) {
  (void)context;
  (void)size;
  (void)alignment;
  return NULL;
}

static void no_release(void *context, void *pointer, size_t size) {
  (void)context;
  (void)pointer;
  (void)size;
}

static tsr_status bad_target(void) {
  const char *target = "abacus";
  return compile_text(good_text, &(tsr_compile_options){.targets = &target, .target_count = 1});
}

static tsr_status out_of_memory(void) {
  static const tsr_allocator none = {NULL, no_memory, no_release};
  tsr_pool *pool;
  keep("out of memory");
  return tsr_pool_create(2, &none, &pool);
}

static tsr_status missing_file(void) {
  return compile_path("/nonexistent/model.onnx", NULL);
}

static tsr_status cyclic_graph(void) {
  return compile_model(cyclic_model());
}

static tsr_status other_version(void) {
  return load_changed(change_version);
}

static tsr_status flipped_bit(void) {
  return load_changed(flip_table);
}

static tsr_status unknown_op(void) {
  return compile_model(node_model(onnx_node("Unheard", "odd", "x", "z"), "2", NULL));
}

static tsr_status mixed_types(void) {
  return compile_model(mixed_types_model());
}

static tsr_status no_broadcast(void) {
  return compile_model(add_model("2 3", "4 3"));
}

static tsr_status unknown_dim(void) {
  tsr_dim_range dim = {"M", 5, 5};
  return compile_text(good_text, &(tsr_compile_options){.dims = &dim, .dim_count = 1});
}

static tsr_status missing_feature(void) {
  return load_changed(ask_for_more);
}

static tsr_status wrong_result_type(void) {
  return compile_text("graph @g {\n  %x = input {name = \"x\"} : f32[3]\n"
                      "  %y = exp %x : f32[4]\n  output %y {name = \"y\"}\n}\n",
                      NULL);
}

static tsr_status run_unbound(tsr_exec *exec) {
  return tsr_exec_run(exec);
}

static tsr_status no_input(void) {
  return on_exec(run_unbound);
}

static tsr_status deep_graph(void) {
  return compile_model(deep_model());
}

static const struct status_case {
  tsr_status (*provoke)(void);
  const char *part;   /* of the message */
  const char *reason; /* why there is no case */
} cases[TSR_STATUS_COUNT] = {
    [TSR_OK] = {.reason = "no error"},
    [TSR_ERR_ARGUMENT] = {bad_target, "unknown target 'abacus'", NULL},
    [TSR_ERR_OUT_OF_MEMORY] = {out_of_memory, "out of memory", NULL},
    [TSR_ERR_IO] = {missing_file, "/nonexistent/model.onnx", NULL},
    [TSR_ERR_FORMAT] = {cyclic_graph, "node 'first' (Add): the graph is cyclic", NULL},
    [TSR_ERR_VERSION] = {other_version, "version", NULL},
    [TSR_ERR_CHECKSUM] = {flipped_bit, "damaged", NULL},
    [TSR_ERR_UNSUPPORTED] = {unknown_op, "Unheard (opset 17, node 'odd')", NULL},
    [TSR_ERR_TYPE] = {mixed_types, "node 'sum' (Add): ", NULL},
    [TSR_ERR_SHAPE] = {no_broadcast, "node 'sum' (Add): ", NULL},
    [TSR_ERR_NOT_FOUND] = {unknown_dim, "'M'", NULL},
    [TSR_ERR_DEVICE] = {missing_feature, "", NULL},
    [TSR_ERR_VERIFY] = {wrong_result_type, "g.tsr", NULL},
    [TSR_ERR_STATE] = {no_input, "'x' is not bound", NULL},
    [TSR_ERR_LIMIT] = {deep_graph, "nested deeper", NULL},
    [TSR_ERR_INTERNAL] = {.reason = "a fault of the compiler; no input is known to cause it"},
};

START_TEST(status_has_its_input) {
  tsr_status code = (tsr_status)_i;
  const struct status_case *row = &cases[code];
  if (row->provoke == NULL) {
    ck_assert_msg(row->reason != NULL, "'%s' has neither a case nor a reason",
                  tsr_status_text(code));
    return;
  }
  text[0] = '\0';
  tsr_status status = row->provoke();
  ck_assert_msg(status == code, "'%s', not '%s': %s", tsr_status_text(status),
                tsr_status_text(code), text);
  ck_assert_msg(text[0] != '\0' && strstr(text, row->part) != NULL, "'%s' is not in '%s'",
                row->part, text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("status");
  TCase *tests = tcase_create("all");
  tcase_add_loop_test(tests, status_has_its_input, 0, TSR_STATUS_COUNT);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
