/* Tiles a graph of blocks, compiles it, runs it on this machine, and compares the outputs with the
 * block oracle. */
#ifndef TSR_TESTS_TILE_TILE_RUN_H
#define TSR_TESTS_TILE_TILE_RUN_H
#include "codegen/cpu/codegen.h"
#include "passes/tile/tile.h"
#include "runtime/float_convert.h"
#include "runtime/program.h"
#include "tests/passes/block_eval.h"
#include <check.h>
#include <stdio.h>
#include <sys/mman.h>

enum { TILE_PAGE = 4096, MAX_DIMS = 64 };

/* One compiled graph. */
typedef struct tiled {
  tsr_arena arena;
  tsr_ir *ir;
  tsr_op graph;
  tsr_cpu_code code;
  void *mapped;
  size_t mapped_bytes;
} tiled;

typedef struct tensor {
  void *data;
  size_t bytes;
  int64_t count;
} tensor;

static inline void fail_with(const tsr_diag *diag, const char *text) {
  char message[2048];
  tsr_diag_format(diag, message, sizeof message);
  ck_abort_msg("%s\n%s", message, text);
}

static inline tsr_ir *parse_text(const char *text) {
  tsr_diag diag = {0};
  tsr_ir *ir = NULL;
  if (tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", &diag, &ir) != TSR_OK)
    fail_with(&diag, text);
  return ir;
}

static inline tsr_op graph_of(const tsr_ir *ir) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH)
      return op;
  return 0;
}

static inline tsr_op plan_of(const tsr_ir *ir) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == TSR_OP_PLAN)
      return op;
  return 0;
}

/* A data page of exactly `bytes`, before a page that traps. */
static inline void *before_trap(size_t bytes) {
  const size_t pages = (bytes + TILE_PAGE - 1) / TILE_PAGE * TILE_PAGE;
  char *base = mmap(NULL, pages + TILE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(base, MAP_FAILED);
  if (pages > 0)
    ck_assert_int_eq(mprotect(base, pages, PROT_READ | PROT_WRITE), 0);
  return base + pages - bytes;
}

static inline void free_before_trap(void *data, size_t bytes) {
  const size_t pages = (bytes + TILE_PAGE - 1) / TILE_PAGE * TILE_PAGE;
  if (data != NULL)
    munmap((char *)data + bytes - pages, pages + TILE_PAGE);
}

/* Makes code of t->ir, which is tiled. */
static inline void tiled_compile(tiled *t, const tsr_cpu_isa *isa, const tsr_target *target) {
  tsr_diag diag = {0};
  if (tsr_pass_pack(t->ir, &diag) != TSR_OK ||
      tsr_pass_fetch_next(t->ir, target, &diag) != TSR_OK ||
      tsr_pass_reuse(t->ir, target, &diag) != TSR_OK || tsr_ir_verify(t->ir, &diag) != TSR_OK ||
      tsr_codegen_cpu(t->ir, isa, NULL, &t->arena, &diag, &t->code) != TSR_OK)
    fail_with(&diag, tsr_ir_print(t->ir, &t->arena));
  t->graph = graph_of(t->ir);
  t->mapped_bytes = (t->code.image_bytes + TILE_PAGE - 1) / TILE_PAGE * TILE_PAGE;
  t->mapped =
      mmap(NULL, t->mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(t->mapped, MAP_FAILED);
  memcpy(t->mapped, t->code.image, t->code.image_bytes);
  ck_assert_int_eq(mprotect(t->mapped, t->mapped_bytes, PROT_READ | PROT_EXEC), 0);
}

/* Tiles by the plan in the text, if there is one, else by the default. */
static inline void tiled_open(tiled *t, const char *text, const tsr_cpu_isa *isa,
                              const tsr_target *target) {
  tsr_diag diag = {0};
  *t = (tiled){.ir = parse_text(text)};
  tsr_arena_init(&t->arena, tsr_allocator_default());
  const tsr_plan_source plan = {.ir = t->ir, .plan = plan_of(t->ir)};
  if (tsr_pass_tile(t->ir, target, plan.plan != 0 ? &plan : NULL, &diag) != TSR_OK)
    fail_with(&diag, text);
  tiled_compile(t, isa, target);
}

static inline void tiled_close(tiled *t) {
  munmap(t->mapped, t->mapped_bytes);
  tsr_arena_reset(&t->arena);
  tsr_ir_destroy(t->ir);
}

static inline const tsr_kernel_code *kernel_code(const tiled *t, const char *symbol) {
  for (uint32_t i = 0; i < t->code.kernel_count; i++)
    if (strcmp(t->code.kernels[i].symbol, symbol) == 0)
      return &t->code.kernels[i];
  ck_abort_msg("no kernel %s", symbol);
  return NULL;
}

static inline int64_t task_count(const tiled *t, tsr_op kernel, const int64_t *dims) {
  const tsr_region_data *region = tsr_region_get(t->ir, tsr_op_get(t->ir, kernel)->regions[0]);
  int64_t tasks = 1;
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(t->ir, region->args[i]);
    int64_t hi = 0;
    if (arg->role != TSR_ROLE_GRID)
      continue;
    ck_assert_int_eq(tsr_expr_eval(t->ir, arg->hi, dims, &hi), TSR_OK);
    tasks *= hi;
  }
  return tasks;
}

static inline tensor new_tensor(const tiled *t, tsr_value value, const int64_t *dims) {
  const tsr_type_info *type = tsr_value_type(t->ir, value);
  tensor made = {.count = 1};
  for (uint32_t i = 0; i < type->rank; i++) {
    int64_t extent = 0;
    ck_assert_int_eq(tsr_expr_eval(t->ir, type->dims[i], dims, &extent), TSR_OK);
    made.count *= extent;
  }
  made.bytes = (size_t)tsr_dtype_bytes(type->dtype, made.count);
  made.data = before_trap(made.bytes);
  memset(made.data, 0xA5, made.bytes);
  return made;
}

/* The kernel of a launch: the first whose guard holds at these dims, or the last. */
static inline const char *chosen_kernel(const tiled *t, tsr_op op, const int64_t *dims) {
  const tsr_attr *kernels = tsr_op_attr(t->ir, op, "kernels");
  const tsr_attr *guards = tsr_op_attr(t->ir, op, "guards");
  if (kernels == NULL)
    return tsr_op_get(t->ir, op)->symbol;
  for (uint32_t i = 0; guards != NULL && i < guards->count; i++) {
    int64_t holds = 0;
    ck_assert_int_eq(tsr_expr_eval(t->ir, guards->u.exprs[i], dims, &holds), TSR_OK);
    if (holds != 0)
      return kernels->u.strings[i];
  }
  return kernels->u.strings[kernels->count - 1];
}

/* Tasks one by one from the last to the first: they must not depend on each other's order. */
static inline void run_launch(tiled *t, tsr_op op, tensor *tensors, const int64_t *dims) {
  const tsr_op_data *data = tsr_op_get(t->ir, op);
  const char *symbol = chosen_kernel(t, op, dims);
  const tsr_kernel_code *code = kernel_code(t, symbol);
  void *buffers[64];
  int64_t values[MAX_DIMS] = {0};
  uint32_t count = 0;
  for (uint32_t i = 0; i < data->operand_count; i++)
    buffers[count++] = tensors[data->operands[i].value].data;
  const tsr_attr *alias = tsr_op_attr(t->ir, op, "alias");
  for (uint32_t i = 0; i < data->result_count; i++) {
    int64_t taken = -1;
    if (alias != NULL && tsr_expr_is_int(t->ir, alias->u.exprs[i], &taken) && taken >= 0) {
      tensor *operand = &tensors[data->operands[taken].value];
      tensors[data->results[i]] = *operand;
      *operand = (tensor){0};
      continue;
    }
    tensors[data->results[i]] = new_tensor(t, data->results[i], dims);
    buffers[count++] = tensors[data->results[i]].data;
  }
  for (uint32_t i = 0; i < code->dim_count; i++)
    values[i] = dims[code->dims[i] - 1];
  void *scratch = NULL;
  ck_assert_int_eq(posix_memalign(&scratch, 64, code->scratch_bytes + 64), 0);
  memset(scratch, 0xFF, code->scratch_bytes + 64);
  char *entry = (char *)t->mapped + code->entry;
  tsr_cpu_kernel function;
  memcpy(&function, &entry, sizeof function);
  for (int64_t task = task_count(t, tsr_ir_find_symbol(t->ir, symbol), dims); task-- > 0;)
    function(buffers, values, task, task + 1, scratch);
  free(scratch);
}

static inline void make_input(tiled *t, machine *m, tsr_value value, tsr_value oracle,
                              tensor *tensors, uint64_t seed) {
  buffer *b = make_buffer(m, oracle);
  tensors[value] = new_tensor(t, value, m->dims);
  for (int64_t i = 0; i < b->count; i++)
    if (is_float(b->dtype)) {
      tsr_element_store_f64(b->dtype, tensors[value].data, i, tsr_random_float(seed, (uint64_t)i));
      b->data[i].f = tsr_element_load_f64(b->dtype, tensors[value].data, i);
    } else {
      b->data[i].i = tsr_random_int(seed, (uint64_t)i, b->dtype);
      tsr_element_store_i64(b->dtype, tensors[value].data, i, b->data[i].i);
    }
}

static inline void check_output(const machine *m, tsr_value oracle, const tensor *got,
                                tsr_dtype dtype, const char *text) {
  const buffer *want = &m->buffers[oracle];
  ck_assert_int_eq(want->count, got->count);
  double scale = 1e-30;
  for (int64_t i = 0; i < want->count; i++)
    if (is_float(dtype) && isfinite(want->data[i].f) && fabs(want->data[i].f) > scale)
      scale = fabs(want->data[i].f);
  const double unit = dtype == TSR_F64 ? 1e-12 : dtype == TSR_F32 ? 2e-5 : 2e-2;
  for (int64_t i = 0; i < want->count; i++) {
    if (!is_float(dtype)) {
      const long long a = tsr_element_load_i64(dtype, got->data, i), b = want->data[i].i;
      if (a != b)
        ck_abort_msg("element %lld is %lld, not %lld\n%s", (long long)i, a, b, text);
      continue;
    }
    const double x = tsr_element_load_f64(dtype, got->data, i), y = want->data[i].f;
    if (!((isnan(x) && isnan(y)) || x == y || fabs(x - y) <= unit * scale))
      ck_abort_msg("element %lld is %g, not %g\n%s", (long long)i, x, y, text);
  }
}

/* Runs the text with the given values of its dims and compares every output. */
static inline void check_text(const char *text, const int64_t *dims, uint32_t dim_count,
                              const tsr_cpu_isa *isa, const tsr_target *target) {
  tiled t;
  machine m;
  tsr_ir *reference = parse_text(text);
  tiled_open(&t, text, isa, target);
  machine_init(&m, reference, dims, dim_count);
  tensor *tensors = calloc(tsr_value_count(t.ir) + 1, sizeof *tensors);
  const tsr_region from = tsr_op_get(reference, graph_of(reference))->regions[0];
  const tsr_region to = tsr_op_get(t.ir, t.graph)->regions[0];
  tsr_op a = tsr_region_get(reference, from)->first;
  uint64_t seed = 1;
  TSR_FOR_EACH_OP (t.ir, to, op) {
    const tsr_op_data *data = tsr_op_get(t.ir, op);
    if (data->code != TSR_OP_INPUT)
      continue;
    while (tsr_op_get(reference, a)->code != TSR_OP_INPUT)
      a = tsr_op_get(reference, a)->next;
    make_input(&t, &m, data->results[0], tsr_op_get(reference, a)->results[0], tensors, seed++);
    a = tsr_op_get(reference, a)->next;
  }
  run_graph(&m, from);
  a = tsr_region_get(reference, from)->first;
  char *shown = tsr_ir_print(t.ir, &t.arena);
  TSR_FOR_EACH_OP (t.ir, to, op) {
    const tsr_op_data *data = tsr_op_get(t.ir, op);
    if (data->code == TSR_OP_CONST) {
      tensor *made = &tensors[data->results[0]];
      const void *bytes = NULL;
      uint64_t count = 0;
      tsr_diag diag = {0};
      *made = new_tensor(&t, data->results[0], m.dims);
      ck_assert_int_eq(tsr_const_bytes(t.ir, op, &t.arena, &diag, &bytes, &count), TSR_OK);
      memcpy(made->data, bytes, made->bytes);
    } else if (data->code == TSR_OP_RESHAPE) {
      tensor *made = &tensors[data->results[0]];
      *made = new_tensor(&t, data->results[0], m.dims);
      memcpy(made->data, tensors[data->operands[0].value].data, made->bytes);
    } else if (data->code == TSR_OP_INDEX) {
      const tsr_attr *value = tsr_op_attr(t.ir, op, "value");
      tensors[data->results[0]] = new_tensor(&t, data->results[0], m.dims);
      tsr_element_store_i64(
          tsr_value_type(t.ir, data->results[0])->dtype, tensors[data->results[0]].data, 0,
          value->kind == TSR_ATTR_INT ? value->u.integer : eval_expr(&m, value->u.expr));
    } else if (data->code == TSR_OP_LAUNCH) {
      run_launch(&t, op, tensors, m.dims);
    } else if (data->code == TSR_OP_OUTPUT) {
      while (tsr_op_get(reference, a)->code != TSR_OP_OUTPUT)
        a = tsr_op_get(reference, a)->next;
      const tsr_value value = data->operands[0].value;
      check_output(&m, tsr_op_get(reference, a)->operands[0].value, &tensors[value],
                   tsr_value_type(t.ir, value)->dtype, shown);
      a = tsr_op_get(reference, a)->next;
    }
  }
  for (uint32_t i = 0; i <= tsr_value_count(t.ir); i++)
    free_before_trap(tensors[i].data, tensors[i].bytes);
  free(tensors);
  machine_free(&m);
  tsr_ir_destroy(reference);
  tiled_close(&t);
}
#endif
