#include "tests/cuda_gemm/gemm_run.h"
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/device/device_common.h"
#include "codegen/cuda/device/device_text.h"
#include "passes/passes.h"
#include "passes/tile/tile.h"
#include "tests/cuda_emulator/emulator.h"
#include <stdarg.h>
#include <stdio.h>

#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/passes/block_eval.h"

enum { TEXT_BYTES = 1 << 16, MOST_ARGS = 32, MAP_BYTES = 128, MOST_MAPS = 8 };

typedef struct compiled {
  tsr_arena arena;
  tsr_ir *ir;
  tsr_cuda_code code;
  tsr_emulator *emulator;
  uint32_t seed;
} compiled;

typedef struct tensor {
  void *data;
  size_t bytes;
  int64_t count;
} tensor;

static void fail_at(const char *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void fail_at(const char *text, const char *format, ...) {
  char message[1000];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  fputs(text, stderr); /* Check's messages are short */
  ck_abort_msg("%s", message);
}

static void fail_with(const tsr_diag *diag, const char *text) {
  char message[900];
  tsr_diag_format(diag, message, sizeof message);
  fail_at(text, "%s", message);
}

/* --- compiling --- */

static void write_text(char *text, const gemm_case *cases, unsigned count) {
  int at = snprintf(text, TEXT_BYTES,
                    "dim M in 0..4096 hint 64\ndim N in 1..4096 hint 64\ndim K in 1..4096 hint "
                    "64\ndim B in 1..64 hint 2\n");
  for (unsigned i = 0; i < count; i++)
    at += snprintf(text + at, (size_t)(TEXT_BYTES - at), "graph @g%u {\n%s}\n", i, cases[i].graph);
  at += snprintf(text + at, (size_t)(TEXT_BYTES - at), "plan @p {\n");
  for (unsigned i = 0; i < count; i++) {
    at += snprintf(text + at, (size_t)(TEXT_BYTES - at), "  schedule @k%u {%s}\n", i,
                   cases[i].schedule);
    if (cases[i].variant != NULL)
      at += snprintf(text + at, (size_t)(TEXT_BYTES - at), "  schedule @k%u_1 {%s}\n", i,
                     cases[i].variant);
  }
  at += snprintf(text + at, (size_t)(TEXT_BYTES - at), "}\n");
  ck_assert(at < TEXT_BYTES);
}

/* As blocks, fused. */
static tsr_ir *blocks_of(const char *text) {
  tsr_diag diag = {0};
  tsr_ir *ir = NULL;
  tsr_pass_options passes = {.fuse_level = TSR_FUSE_REGISTER};
  if (tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", &diag, &ir) != TSR_OK ||
      tsr_passes_run(ir, &passes, &diag) != TSR_OK)
    fail_with(&diag, text);
  return ir;
}

static tsr_op top_of(const tsr_ir *ir, tsr_opcode code, unsigned at) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op)
    if (tsr_op_get(ir, op)->code == code && at-- == 0)
      return op;
  ck_abort_msg("the text lacks an op");
  return 0;
}

static void compile_text(compiled *c, const char *text, const char *name, bool tf32) {
  tsr_target target;
  tsr_diag diag = {0};
  ck_assert(tsr_target_cuda(name, &target));
  /* So few that persistent tasks take several tiles, and places of rings are used again. */
  target.gpu.multiprocessors = 2;
  target.tf32 = tf32;
  tsr_arena_init(&c->arena, tsr_allocator_default());
  c->ir = blocks_of(text);
  const tsr_plan_source plan = {.ir = c->ir, .plan = top_of(c->ir, TSR_OP_PLAN, 0)};
  if (tsr_pass_tile(c->ir, &target, &plan, &diag) != TSR_OK ||
      tsr_pass_pack(c->ir, &diag) != TSR_OK || tsr_ir_verify(c->ir, &diag) != TSR_OK ||
      tsr_codegen_cuda(c->ir, &target, &c->arena, &diag, &c->code) != TSR_OK)
    fail_with(&diag, tsr_ir_print(c->ir, &c->arena));
  c->emulator = tsr_emulator_create((int)target.capability);
  ck_assert(c->emulator != NULL);
}

/* Code is in the order of the IR; its names are those of contents. */
static const tsr_cuda_kernel *kernel_named(const compiled *c, const char *symbol) {
  uint32_t at = 0;
  TSR_FOR_EACH_OP (c->ir, tsr_ir_top(c->ir), op) {
    const tsr_op_data *data = tsr_op_get(c->ir, op);
    if (data->code == TSR_OP_KERNEL && strcmp(data->symbol, symbol) == 0)
      return &c->code.kernels[at];
    at += data->code == TSR_OP_KERNEL ? 1 : 0;
  }
  ck_abort_msg("no kernel %s", symbol);
  return NULL;
}

/* --- running --- */

static int64_t value_of(const compiled *c, tsr_expr expr, const int64_t *dims) {
  int64_t result = 0;
  ck_assert_int_eq(tsr_expr_eval(c->ir, expr, dims, &result), TSR_OK);
  return result;
}

static tensor new_tensor(compiled *c, tsr_value value, const int64_t *dims) {
  const tsr_type_info *type = tsr_value_type(c->ir, value);
  tensor made = {.count = 1};
  for (uint32_t i = 0; i < type->rank; i++)
    made.count *= value_of(c, type->dims[i], dims);
  made.bytes = (size_t)tsr_dtype_bytes(type->dtype, made.count);
  made.data = tsr_emulator_alloc(c->emulator, made.bytes > 0 ? made.bytes : 1, "tensor");
  ck_assert(made.data != NULL);
  return made;
}

static int64_t task_count(const compiled *c, const char *symbol, const int64_t *dims) {
  const tsr_op kernel = tsr_ir_find_symbol(c->ir, symbol);
  const tsr_region_data *region = tsr_region_get(c->ir, tsr_op_get(c->ir, kernel)->regions[0]);
  int64_t tasks = 1;
  for (uint32_t i = 0; i < region->arg_count; i++) {
    const tsr_value_data *arg = tsr_value_get(c->ir, region->args[i]);
    if (arg->role == TSR_ROLE_GRID)
      tasks *= value_of(c, arg->hi, dims);
  }
  return tasks;
}

static const char *chosen_kernel(const compiled *c, tsr_op op, const int64_t *dims) {
  const tsr_attr *kernels = tsr_op_attr(c->ir, op, "kernels");
  const tsr_attr *guards = tsr_op_attr(c->ir, op, "guards");
  if (kernels == NULL)
    return tsr_op_get(c->ir, op)->symbol;
  for (uint32_t i = 0; guards != NULL && i < guards->count; i++)
    if (value_of(c, guards->u.exprs[i], dims) != 0)
      return kernels->u.strings[i];
  return kernels->u.strings[kernels->count - 1];
}

static void encode_map(compiled *c, const tsr_cuda_map *map, void *base, const int64_t *dims,
                       void *out) {
  const uint32_t swizzle = map->swizzle == 128  ? TSR_SWIZZLE_128
                           : map->swizzle == 64 ? TSR_SWIZZLE_64
                           : map->swizzle == 32 ? TSR_SWIZZLE_32
                                                : TSR_SWIZZLE_NONE;
  uint64_t sizes[5], strides[5], pitch = tsr_dtype_bits(map->dtype) / 8;
  uint32_t box[5];
  for (uint32_t i = 0; i < map->rank; i++) {
    const uint32_t d = map->rank - 1 - i;
    sizes[i] = (uint64_t)value_of(c, map->dims[d], dims);
    box[i] = map->box[d];
    pitch *= sizes[i];
    strides[i] = pitch;
  }
  ck_assert_msg(tsr_emulator_encode_tensor_map(c->emulator, out, map->rank,
                                               (uint32_t)tsr_dtype_bits(map->dtype) / 8, base,
                                               sizes, strides, box, swizzle),
                "%s", tsr_emulator_error(c->emulator));
}

static void run_launch(compiled *c, tsr_op op, tensor *tensors, const int64_t *dims) {
  const tsr_op_data *data = tsr_op_get(c->ir, op);
  const char *symbol = chosen_kernel(c, op, dims);
  const tsr_cuda_kernel *kernel = kernel_named(c, symbol);
  _Alignas(64) unsigned char maps[MOST_MAPS][MAP_BYTES];
  void *args[MOST_ARGS], *buffers[MOST_ARGS];
  long long values[MOST_ARGS], tasks = task_count(c, symbol, dims);
  uint32_t count = 0, used = 0;
  for (uint32_t i = 0; i < data->operand_count; i++)
    buffers[count++] = tensors[data->operands[i].value].data;
  for (uint32_t i = 0; i < data->result_count; i++) {
    tensors[data->results[i]] = new_tensor(c, data->results[i], dims);
    buffers[count++] = tensors[data->results[i]].data;
  }
  for (; used < count; used++)
    args[used] = &buffers[used];
  for (uint32_t i = 0; i < kernel->dim_count; i++) {
    values[i] = dims[kernel->dims[i] - 1];
    args[used++] = &values[i];
  }
  args[used++] = &tasks;
  if (tasks == 0)
    return;
  for (uint32_t i = 0; i < kernel->map_count; i++) {
    encode_map(c, &kernel->maps[i], buffers[kernel->maps[i].argument], dims, maps[i]);
    args[used++] = maps[i];
  }
  const uint32_t cluster = kernel->cluster > 1 ? kernel->cluster : 1;
  tsr_emulated_launch launch = {.grid = {((uint32_t)tasks + cluster - 1) / cluster * cluster, 1, 1},
                                .threads = kernel->threads,
                                .cluster = cluster,
                                .shared_bytes = (uint32_t)kernel->shared_bytes,
                                .seed = c->seed++};
  const tsr_emulated_kernel *made =
      tsr_emulator_kernel(c->emulator, c->code.text + tsr_cuda_device_text_size, kernel->symbol);
  ck_assert_msg(made != NULL, "%s", tsr_emulator_error(c->emulator));
  if (!tsr_emulator_launch(c->emulator, made, &launch, args))
    fail_at(kernel->body, "%.900s", tsr_emulator_error(c->emulator));
}

/* --- the oracle --- */

static double random_unit(uint64_t *state) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (double)(*state >> 11) * 0x1p-52 - 1;
}

static void absolute(buffer *b) {
  for (int64_t i = 0; i < b->count; i++)
    b->data[i].f = fabs(b->data[i].f);
}

/* The graph of the machine, on the absolute values of inputs and constants where `magnitude`. */
static void run_oracle(machine *m, tsr_region region, bool magnitude) {
  TSR_FOR_EACH_OP (m->ir, region, op) {
    const tsr_op_data *data = tsr_op_get(m->ir, op);
    if (data->code == TSR_OP_CONST)
      make_const(m, data, op);
    else if (data->code == TSR_OP_RESHAPE)
      copy_buffer(m, data->results[0], data->operands[0].value);
    else if (data->code == TSR_OP_BLOCK)
      run_block(m, data);
    else
      ck_assert(data->code == TSR_OP_INPUT || data->code == TSR_OP_OUTPUT);
    if (magnitude && (data->code == TSR_OP_INPUT || data->code == TSR_OP_CONST))
      absolute(&m->buffers[data->results[0]]);
  }
}

static void make_input(compiled *c, machine *m, machine *magnitude, tsr_value value,
                       tsr_value oracle, tensor *tensors, uint64_t seed) {
  buffer *b = make_buffer(m, oracle), *a = make_buffer(magnitude, oracle);
  tensors[value] = new_tensor(c, value, m->dims);
  for (int64_t i = 0; i < b->count; i++) {
    const double unit = random_unit(&seed);
    if (is_float(b->dtype)) {
      tsr_element_store_f64(b->dtype, tensors[value].data, i, unit);
      b->data[i].f = tsr_element_load_f64(b->dtype, tensors[value].data, i);
    } else {
      b->data[i].i = (int64_t)(unit * 128);
      tsr_element_store_i64(b->dtype, tensors[value].data, i, b->data[i].i);
    }
    a->data[i] = b->data[i];
  }
}

static void compare_all(const gemm_case *one, const buffer *want, const buffer *magnitude,
                        const tensor *got, compiled *c) {
  const double loss = (one->depth + 2) * one->sum_unit + one->operand_unit + one->result_unit;
  ck_assert_int_eq(want->count, got->count);
  for (int64_t i = 0; i < want->count; i++) {
    if (!is_float(want->dtype)) {
      const long long x = tsr_element_load_i64(want->dtype, got->data, i), y = want->data[i].i;
      if (x != y)
        fail_at(tsr_ir_print(c->ir, &c->arena), "%s: element %lld is %lld, not %lld", one->name,
                (long long)i, x, y);
      continue;
    }
    const double x = tsr_element_load_f64(want->dtype, got->data, i), y = want->data[i].f;
    const double least = want->dtype == TSR_F16 ? 0x1p-24 : 0;
    const double bound = 1.01 * loss * magnitude->data[i].f + least;
    if (!(fabs(x - y) <= bound))
      fail_at(tsr_ir_print(c->ir, &c->arena), "%s: element %lld is %.9g, not %.9g (bound %.3g)",
              one->name, (long long)i, x, y, bound);
  }
}

static tsr_op next_of(const tsr_ir *ir, tsr_op op, tsr_opcode code) {
  while (tsr_op_get(ir, op)->code != code)
    op = tsr_op_get(ir, op)->next;
  return op;
}

static void run_case(compiled *c, tsr_ir *reference, const gemm_case *one, unsigned at,
                     const gemm_dims *dims) {
  machine m, magnitude;
  machine_init(&m, reference, dims->values, GEMM_DIMS);
  machine_init(&magnitude, reference, dims->values, GEMM_DIMS);
  tensor *tensors = calloc(tsr_value_count(c->ir) + 1, sizeof *tensors);
  const tsr_region from = tsr_op_get(reference, top_of(reference, TSR_OP_GRAPH, at))->regions[0];
  const tsr_region to = tsr_op_get(c->ir, top_of(c->ir, TSR_OP_GRAPH, at))->regions[0];
  tsr_op a = tsr_region_get(reference, from)->first;
  uint64_t seed = 17;
  TSR_FOR_EACH_OP (c->ir, to, op) {
    const tsr_op_data *data = tsr_op_get(c->ir, op);
    if (data->code != TSR_OP_INPUT)
      continue;
    a = next_of(reference, a, TSR_OP_INPUT);
    make_input(c, &m, &magnitude, data->results[0], tsr_op_get(reference, a)->results[0], tensors,
               seed++);
    a = tsr_op_get(reference, a)->next;
  }
  run_oracle(&m, from, false);
  run_oracle(&magnitude, from, true);
  a = tsr_region_get(reference, from)->first;
  TSR_FOR_EACH_OP (c->ir, to, op) {
    const tsr_op_data *data = tsr_op_get(c->ir, op);
    tensor *made = data->result_count > 0 ? &tensors[data->results[0]] : NULL;
    if (data->code == TSR_OP_CONST) {
      const void *bytes = NULL;
      uint64_t size = 0;
      tsr_diag diag = {0};
      *made = new_tensor(c, data->results[0], m.dims);
      ck_assert_int_eq(tsr_const_bytes(c->ir, op, &c->arena, &diag, &bytes, &size), TSR_OK);
      memcpy(made->data, bytes, made->bytes);
    } else if (data->code == TSR_OP_RESHAPE) {
      *made = new_tensor(c, data->results[0], m.dims);
      memcpy(made->data, tensors[data->operands[0].value].data, made->bytes);
    } else if (data->code == TSR_OP_LAUNCH) {
      run_launch(c, op, tensors, m.dims);
    } else if (data->code == TSR_OP_OUTPUT) {
      a = next_of(reference, a, TSR_OP_OUTPUT);
      const tsr_value want = tsr_op_get(reference, a)->operands[0].value;
      compare_all(one, &m.buffers[want], &magnitude.buffers[want],
                  &tensors[data->operands[0].value], c);
      a = tsr_op_get(reference, a)->next;
    }
  }
  for (uint32_t i = 0; i <= tsr_value_count(c->ir); i++)
    if (tensors[i].data != NULL)
      tsr_emulator_free(c->emulator, tensors[i].data);
  free(tensors);
  machine_free(&m);
  machine_free(&magnitude);
}

void gemm_run(const char *target, bool tf32, const gemm_case *cases, unsigned count,
              const gemm_dims *dims, unsigned dims_count) {
  char *text = malloc(TEXT_BYTES);
  compiled c = {.seed = 2};
  write_text(text, cases, count);
  compile_text(&c, text, target, tf32);
  tsr_ir *reference = blocks_of(text);
  for (unsigned i = 0; i < count; i++)
    for (unsigned k = 0; k < dims_count; k++)
      run_case(&c, reference, &cases[i], i, &dims[k]);
  tsr_emulator_destroy(c.emulator);
  tsr_ir_destroy(reference);
  tsr_ir_destroy(c.ir);
  tsr_arena_reset(&c.arena);
  free(text);
}
