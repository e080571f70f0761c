/* Import, compile, write, load and run while one request for memory fails: the first, the second
 * and so on. Every failure ends in TSR_ERR_OUT_OF_MEMORY, and nothing stays allocated. Requests are
 * those to the allocator and those to arenas, which the linker sends here (--wrap); LLVM's and
 * isl's own are not ours. TESSERA_LONG=1 tries every request, otherwise as many as the time
 * allows. */
#include "runtime/arena.h"
#include "runtime/clock.h"
#include "runtime/diag.h"
#include "tests/onnx/model_writer.h"
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <tessera/compiler.h>
#include <tessera/runtime.h>
#include <unistd.h>

enum { SECONDS_PER_MODEL = 6 };

/* One heap for the whole program: the wrapped arena functions know no other. */
static struct heap {
  _Atomic int64_t requests, live_bytes, live_blocks;
  int64_t failing; /* the number of the request that fails; 0: none */
} heap;

static bool fails(void) {
  return ++heap.requests == heap.failing;
}

static void *counted_allocate(void *context, size_t size, size_t alignment) {
  (void)context;
  if (fails())
    return NULL;
  size_t rounded = (size + alignment - 1) / alignment * alignment;
  void *memory = aligned_alloc(alignment < sizeof(void *) ? sizeof(void *) : alignment, rounded);
  if (memory == NULL)
    return NULL;
  heap.live_bytes += (int64_t)size;
  heap.live_blocks++;
  return memory;
}

static void counted_release(void *context, void *pointer, size_t size) {
  (void)context;
  if (pointer == NULL)
    return;
  heap.live_bytes -= (int64_t)size;
  heap.live_blocks--;
  free(pointer);
}

static const tsr_allocator counted = {NULL, counted_allocate, counted_release};

void *__real_tsr_arena_alloc(tsr_arena *arena, size_t size);
void *__real_tsr_arena_alloc_array(tsr_arena *arena, size_t count, size_t element_size);
char *__real_tsr_arena_string(tsr_arena *arena, const char *text, size_t length);
void *__wrap_tsr_arena_alloc(tsr_arena *arena, size_t size);
void *__wrap_tsr_arena_alloc_array(tsr_arena *arena, size_t count, size_t element_size);
char *__wrap_tsr_arena_string(tsr_arena *arena, const char *text, size_t length);

void *__wrap_tsr_arena_alloc(tsr_arena *arena, size_t size) {
  return fails() ? NULL : __real_tsr_arena_alloc(arena, size);
}

void *__wrap_tsr_arena_alloc_array(tsr_arena *arena, size_t count, size_t element_size) {
  return fails() ? NULL : __real_tsr_arena_alloc_array(arena, count, element_size);
}

char *__wrap_tsr_arena_string(tsr_arena *arena, const char *text, size_t length) {
  return fails() ? NULL : __real_tsr_arena_string(arena, text, length);
}

static const char *const kernels_text =
    "dim N in 1..100\n"
    "graph @several {\n"
    "  %x = input {name = \"x\"} : f32[N, 4, 6, 6]\n"
    "  %w = const {random = 3} : f32[8, 4, 3, 3]\n"
    "  %c = conv %x, %w {strides = [1, 1], dilations = [1, 1], low = [1, 1], high = [1, 1], "
    "groups = 1} : f32[N, 8, 6, 6] from \"Conv_0\"\n"
    "  %r = reduce %c {axes = [2, 3], combine = \"add\"} : f32[N, 8] from \"Sum_1\"\n"
    "  %m = const {random = 5} : f32[8, 16]\n"
    "  %e = einsum %r, %m {spec = \"nk,km->nm\"} : f32[N, 16] from \"MatMul_2\"\n"
    "  %t = tanh %e : f32[N, 16] from \"Tanh_3\"\n"
    "  %v, %i = topk %t {axis = 1, largest = true} : f32[N, 3], i64[N, 3] from \"TopK_4\"\n"
    "  %table = const {random = 7} : f32[16, 5]\n"
    "  %g = gather %table, %i {axis = 0} : f32[N, 3, 5] from \"Gather_5\"\n"
    "  output %v {name = \"v\"}\n"
    "  output %g {name = \"g\"}\n"
    "}\n";

/* A loop with a growing tensor, a list and a branch, and texts: a host program of several parts. */
static const char *const host_text =
    "dim N in 1..100\n"
    "dim S in 0..1000\n"
    "dim T in 0..1000\n"
    "dim R in 0..1000\n"
    "graph @main {texts = [\"\", \"one\", \"two\"]} {\n"
    "  %x = input {name = \"x\"} : f32[N, 4]\n"
    "  %zero = const {value = 0} : i64[]\n"
    "  %one = const {value = 1} : i64[]\n"
    "  %go = const {value = true} : bool[]\n"
    "  %none = list_make : list f32[4]\n"
    "  %n, %all, %rows = loop carry(%i = %zero, %acc: f32[S, 4] = %x, %list = %none) "
    "{limit = 3} {\n"
    "    %j = add %i, %one : i64[]\n"
    "    %more = concat %acc, %x {axis = 0} : f32[N + S, 4] from \"grow\"\n"
    "    %row = reduce %more {axes = [0], combine = \"max\"} : f32[4]\n"
    "    %first = eq %i, %zero : bool[]\n"
    "    %kept = if %first {\n"
    "      %twice = add %row, %row : f32[4]\n"
    "      yield %twice\n"
    "    } {\n"
    "      yield %row\n"
    "    } : f32[4] from \"if\"\n"
    "    %longer = list_insert %list, %kept : list f32[4]\n"
    "    yield %go, %j, %more, %longer\n"
    "  } : i64[], f32[T, 4], list f32[4] from \"loop\"\n"
    "  %whole = list_concat %rows {axis = 0, stack = true} : f32[R, 4]\n"
    "  %words = const {value = [1, 2]} : i64[2]\n"
    "  %pairs = text_concat %words, %words : i64[2]\n"
    "  %big = exp %whole : f32[R, 4]\n"
    "  output %all {name = \"all\"}\n"
    "  output %big {name = \"big\"}\n"
    "  output %pairs {name = \"pairs\", text = true}\n"
    "}\n";

static wire floats(const char *name, int64_t rows, int64_t columns) {
  wire t = {0}, data = {0};
  wire_int(&t, 1, rows);
  wire_int(&t, 1, columns);
  wire_int(&t, 2, ONNX_FLOAT);
  wire_text(&t, 8, name);
  for (int64_t i = 0; i < rows * columns; i++) {
    float value = (float)(i % 7) - 3;
    wire_bytes(&data, &value, sizeof value);
  }
  wire_message(&t, 9, data);
  return t;
}

/* softmax(relu(x w)) with its shape computed by shape arithmetic. */
static wire small_model(void) {
  static const int64_t zero = 0, rest = -1, axis = 1;
  wire g = {0}, softmax = onnx_node("Softmax", "softmax", "r", "s");
  wire concat = onnx_node("Concat", "shape", "n rest", "shape");
  onnx_int(&softmax, "axis", 1);
  onnx_int(&concat, "axis", 0);
  onnx_add_node(&g, onnx_node("MatMul", "product", "x w", "p"));
  onnx_add_node(&g, onnx_node("Relu", "relu", "p", "r"));
  onnx_add_node(&g, softmax);
  onnx_add_node(&g, onnx_node("Shape", "dims", "x", "d"));
  onnx_add_node(&g, onnx_node("Gather", "first", "d zero", "n"));
  onnx_add_node(&g, concat);
  onnx_add_node(&g, onnx_node("Reshape", "flat", "s shape", "y"));
  onnx_add_node(&g, onnx_node("ReduceSum", "sum", "y axis", "z"));
  onnx_add_initializer(&g, floats("w", 12, 10));
  onnx_add_initializer(&g, onnx_ints("zero", &zero, 1));
  onnx_add_initializer(&g, onnx_ints("rest", &rest, 1));
  onnx_add_initializer(&g, onnx_ints("axis", &axis, 1));
  onnx_add_input(&g, onnx_value("x", ONNX_FLOAT, "N M"));
  onnx_add_output(&g, onnx_value("y", ONNX_FLOAT, "N 10"));
  onnx_add_output(&g, onnx_value("z", ONNX_FLOAT, "N 1"));
  return onnx_model(g, 17);
}

typedef struct model {
  const char *text; /* NULL: the file at `path` */
  char path[600];
  char module_path[600];
  int64_t dims[4];
  uint32_t rank;
} model;

static tsr_status use_module(const model *m, const tsr_module *module, tsr_exec *exec) {
  static float data[2 * 4 * 6 * 6];
  int64_t shape[4];
  tsr_module_info info;
  for (size_t i = 0; i < sizeof data / sizeof *data; i++)
    data[i] = (float)(i % 11) * 0.25f - 1;
  memcpy(shape, m->dims, sizeof shape);
  DLTensor x = {.data = data,
                .device = {.device_type = kDLCPU},
                .ndim = (int32_t)m->rank,
                .dtype = tsr_dtype_to_dlpack(TSR_F32),
                .shape = shape};
  TSR_TRY(tsr_exec_bind_input(exec, 0, &x));
  TSR_TRY(tsr_exec_run(exec));
  tsr_module_get_info(module, &info);
  for (uint32_t i = 0; i < info.output_count; i++) {
    DLManagedTensor *taken;
    tsr_port_info port;
    TSR_TRY(tsr_module_get_output(module, i, &port));
    if (port.is_text != 0)
      continue;
    TSR_TRY(tsr_exec_take_output(exec, i, &taken));
    taken->deleter(taken);
  }
  return tsr_exec_run(exec);
}

static tsr_status load_and_run(const model *m, const void *bytes, size_t size, char *out_message) {
  tsr_module_options load = {.size = sizeof load, .allocator = &counted};
  tsr_exec_options options = {.size = sizeof options, .allocator = &counted, .threads = 2};
  tsr_module *module = NULL;
  tsr_exec *exec = NULL;
  tsr_message message;
  tsr_status status = bytes == NULL ? tsr_module_load_file(m->module_path, &load, &module, &message)
                                    : tsr_module_load_memory(bytes, size, &load, &module, &message);
  if (status == TSR_OK)
    status = tsr_exec_create(module, &options, &exec, &message);
  strcpy(out_message, message.text);
  if (status == TSR_OK) {
    status = use_module(m, module, exec);
    strcpy(out_message, tsr_exec_last_error(exec));
  }
  tsr_exec_destroy(exec);
  tsr_module_release(module);
  return status;
}

/* The whole way of a model, with everything that it allocates released at the end. */
static tsr_status whole_way(const model *m, char *out_message) {
  tsr_context *context;
  void *bytes = NULL;
  size_t size = 0;
  tsr_status status = tsr_context_create(&counted, &context);
  strcpy(out_message, "out of memory");
  if (status != TSR_OK)
    return status;
  if (m->text != NULL) {
    status = tsr_compile_text(context, m->text, strlen(m->text), "text.tsr", NULL, &bytes, &size);
  } else {
    status = tsr_compile_file(context, m->path, NULL, m->module_path);
    ck_assert((access(m->module_path, F_OK) == 0) == (status == TSR_OK));
  }
  strcpy(out_message, tsr_context_error(context));
  if (status == TSR_OK)
    status = load_and_run(m, bytes, size, out_message);
  (void)unlink(m->module_path);
  tsr_bytes_release(context, bytes, size);
  tsr_context_destroy(context);
  return status;
}

static void try_request(const model *m, int64_t number) {
  char message[2048];
  heap.requests = heap.live_bytes = heap.live_blocks = 0;
  heap.failing = number;
  tsr_status status = whole_way(m, message);
  ck_assert_msg(status == (number == 0 ? TSR_OK : TSR_ERR_OUT_OF_MEMORY),
                "request %lld fails: '%s': %s", (long long)number, tsr_status_text(status),
                message);
  ck_assert_msg(number == 0 || message[0] != '\0', "request %lld: no message", (long long)number);
  ck_assert_msg(heap.live_blocks == 0 && heap.live_bytes == 0,
                "request %lld fails: %lld blocks, %lld bytes are left", (long long)number,
                (long long)heap.live_blocks, (long long)heap.live_bytes);
}

static int64_t common_divisor(int64_t a, int64_t b) {
  return b == 0 ? a : common_divisor(b, a % b);
}

/* Goes through the requests in steps without a factor in common with their number, so that the ones
 * tried are spread evenly whenever the time is up. */
static void try_all(const model *m) {
  try_request(m, 0);
  int64_t count = heap.requests, step = count * 5 / 8 + 1, tried = 0;
  while (common_divisor(step, count) != 1)
    step++;
  int64_t end_ns = tsr_time_ns() + SECONDS_PER_MODEL * INT64_C(1000000000);
  bool all = getenv("TESSERA_LONG") != NULL;
  for (int64_t at = 0; tried < count && (all || tsr_time_ns() < end_ns); tried++) {
    try_request(m, at + 1);
    at = (at + step) % count;
  }
  printf("%lld of %lld requests failed\n", (long long)tried, (long long)count);
}

static void name_files(model *m) {
  const char *base = getenv("TESSERA_TEST_TMP");
  const char *folder = base ? base : "/tmp";
  snprintf(m->path, sizeof m->path, "%s/allocation-%ld.onnx", folder, (long)getpid());
  snprintf(m->module_path, sizeof m->module_path, "%s/allocation-%ld.tsm", folder, (long)getpid());
}

START_TEST(onnx_model_fails_cleanly) {
  model m = {.dims = {2, 12}, .rank = 2};
  wire bytes = small_model();
  name_files(&m);
  FILE *file = fopen(m.path, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
  fclose(file);
  free(bytes.data);
  try_all(&m);
  ck_assert_int_eq(unlink(m.path), 0);
}
END_TEST

START_TEST(text_fails_cleanly) {
  model m = {.text = kernels_text, .dims = {2, 4, 6, 6}, .rank = 4};
  name_files(&m);
  try_all(&m);
}
END_TEST

START_TEST(host_program_fails_cleanly) {
  model m = {.text = host_text, .dims = {2, 4}, .rank = 2};
  name_files(&m);
  try_all(&m);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("allocation");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 0);
  tcase_add_test(tests, onnx_model_fails_cleanly);
  tcase_add_test(tests, text_fails_cleanly);
  tcase_add_test(tests, host_program_fails_cleanly);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
