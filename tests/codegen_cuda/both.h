/* Runs every kernel of a .tsr text twice on the same random inputs, by the code for this machine's
 * CPU and by the CUDA C on the emulated device, and compares what they store. */
#ifndef TSR_TESTS_CODEGEN_CUDA_BOTH_H
#define TSR_TESTS_CODEGEN_CUDA_BOTH_H
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/device/device_text.h"
#include "tests/codegen/harness.h"
#include "tests/cuda_emulator/emulator.h"
#include <math.h>

typedef struct both {
  program cpu;
  tsr_cuda_code cuda;
  tsr_emulator *emulator;
  const dim_value *dims;
  double tolerance; /* relative, of float results; 0: the same bits (all NaNs are alike) */
  double low, high; /* range of random inputs */
} both;

enum { MAX_BUFFERS = 16, MAX_DIMS = 16 };

static inline int64_t both_eval(const both *b, tsr_expr expr) {
  int64_t values[MAX_DIMS] = {0}, result = 0;
  for (const dim_value *dim = b->dims; dim && dim->name; ++dim)
    if (tsr_dim_find(b->cpu.ir, dim->name) != 0)
      values[tsr_dim_find(b->cpu.ir, dim->name) - 1] = dim->value;
  ck_assert_int_eq(tsr_expr_eval(b->cpu.ir, expr, values, &result), TSR_OK);
  return result;
}

static inline void both_fill(const both *b, tsr_dtype dtype, void *data, int64_t count,
                             uint64_t *random) {
  for (int64_t i = 0; i < count; ++i) {
    double unit = (double)(next_random(random) >> 11) * 0x1p-53;
    double value = b->low + (b->high - b->low) * unit;
    tsr_element_store_f64(
        dtype, data, i, tsr_dtype_class_of(dtype) == TSR_CLASS_BOOL ? (double)(unit < 0.5) : value);
  }
}

static inline bool both_alike(const both *b, tsr_dtype dtype, const void *x, const void *y,
                              int64_t i) {
  if (tsr_element_load_bits(dtype, x, i) == tsr_element_load_bits(dtype, y, i))
    return true;
  if (tsr_dtype_class_of(dtype) != TSR_CLASS_FLOAT)
    return false;
  double u = tsr_element_load_f64(dtype, x, i), v = tsr_element_load_f64(dtype, y, i);
  if (isnan(u) && isnan(v))
    return true;
  double unit = dtype == TSR_F64   ? 0x1p-30
                : dtype == TSR_F32 ? 1.0
                : dtype == TSR_F16 ? 0x1p13
                                   : 0x1p16;
  double size = fmax(fabs(u), fabs(v));
  return fabs(u - v) <= b->tolerance * unit * fmax(size, 1e-3);
}

static inline void both_run_kernel(both *b, tsr_op op, uint32_t number, uint32_t seed) {
  const tsr_op_data *data = tsr_op_get(b->cpu.ir, op);
  const tsr_region_data *region = tsr_region_get(b->cpu.ir, data->regions[0]);
  const tsr_cuda_kernel *kernel = &b->cuda.kernels[number];
  void *buffers[MAX_BUFFERS], *device[MAX_BUFFERS], *args[MAX_BUFFERS + MAX_DIMS + 1];
  int64_t counts[MAX_BUFFERS], dims[MAX_DIMS], tasks = 1;
  tsr_dtype dtypes[MAX_BUFFERS];
  uint32_t used = 0;
  uint64_t random = 88172645463325252ULL + number;
  for (uint32_t i = 0; i < region->arg_count; ++i) {
    const tsr_value_data *value = tsr_value_get(b->cpu.ir, region->args[i]);
    if (value->role == TSR_ROLE_GRID) {
      int64_t step = both_eval(b, value->step);
      int64_t span = both_eval(b, value->hi) - both_eval(b, value->lo);
      tasks *= span <= 0 ? 0 : (span + step - 1) / step;
      continue;
    }
    ck_assert_uint_lt(used, MAX_BUFFERS);
    dtypes[used] = tsr_type_get(b->cpu.ir, value->type)->dtype;
    counts[used] = both_eval(b, tsr_type_elements(b->cpu.ir, value->type));
    size_t bytes = (size_t)tsr_dtype_bytes(dtypes[used], counts[used]);
    buffers[used] = guarded(bytes, true);
    if (value->role != TSR_ROLE_OUT)
      both_fill(b, dtypes[used], buffers[used], counts[used], &random);
    device[used] = tsr_emulator_alloc(b->emulator, bytes ? bytes : 1, "buffer");
    ck_assert_ptr_nonnull(device[used]);
    memcpy(device[used], buffers[used], bytes);
    args[used] = &device[used];
    ++used;
  }
  for (uint32_t d = 0; d < kernel->dim_count; ++d) {
    dims[d] = both_eval(b, tsr_expr_dim(b->cpu.ir, kernel->dims[d]));
    args[used + d] = &dims[d];
  }
  args[used + kernel->dim_count] = &tasks;
  program_run_tasks(&b->cpu, data->symbol, buffers, b->dims, 0, tasks);
  tsr_emulated_launch launch = {.grid = {(uint32_t)(tasks > 0 ? tasks : 1), 1, 1},
                                .threads = kernel->threads,
                                .shared_bytes = (uint32_t)kernel->shared_bytes,
                                .seed = seed};
  const tsr_emulated_kernel *made =
      tsr_emulator_kernel(b->emulator, b->cuda.text + tsr_cuda_device_text_size, kernel->symbol);
  ck_assert_msg(made, "%s", tsr_emulator_error(b->emulator));
  ck_assert_msg(tsr_emulator_launch(b->emulator, made, &launch, args), "%s\n%s",
                tsr_emulator_error(b->emulator), kernel->body);
  for (uint32_t i = 0; i < used; ++i) {
    for (int64_t e = 0; e < counts[i]; ++e)
      if (!both_alike(b, dtypes[i], buffers[i], device[i], e))
        ck_abort_msg("%s, buffer %u, element %lld: cpu %.17g, cuda %.17g\n%s", data->symbol, i,
                     (long long)e, tsr_element_load_f64(dtypes[i], buffers[i], e),
                     tsr_element_load_f64(dtypes[i], device[i], e), kernel->body);
    guarded_free(buffers[i], (size_t)tsr_dtype_bytes(dtypes[i], counts[i]));
    tsr_emulator_free(b->emulator, device[i]);
  }
}

static inline void both_open(both *b, const char *text) {
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_diag diag = {0};
  char message[2048];
  tsr_cpu_isa_host(&isa);
  program_open(&b->cpu, text, &isa);
  ck_assert(tsr_target_cuda("cuda:sm_80", &target));
  if (tsr_codegen_cuda(b->cpu.ir, &target, &b->cpu.arena, &diag, &b->cuda) != TSR_OK) {
    tsr_diag_format(&diag, message, sizeof message);
    ck_abort_msg("%s\n%s", message, text);
  }
}

/* All kernels of the text, in two orders of threads. */
static inline void both_run(const char *text, const dim_value *dims, double tolerance, double low,
                            double high) {
  both b = {.dims = dims, .tolerance = tolerance, .low = low, .high = high};
  both_open(&b, text);
  b.emulator = tsr_emulator_create(80);
  ck_assert_ptr_nonnull(b.emulator);
  for (uint32_t seed = 0; seed < 2; ++seed) {
    uint32_t number = 0;
    TSR_FOR_EACH_OP (b.cpu.ir, tsr_ir_top(b.cpu.ir), op)
      if (tsr_op_get(b.cpu.ir, op)->code == TSR_OP_KERNEL)
        both_run_kernel(&b, op, number++, seed == 0 ? 1 : 7);
  }
  tsr_emulator_destroy(b.emulator);
  program_close(&b.cpu);
}

#endif
