/* Runs the kernel of a .tsr text on the emulated device under several orders of threads, and
 * compares its last argument with what a function says of every element. Inputs are small whole
 * numbers, so that sums are exact in every order. */
#ifndef TSR_TESTS_CODEGEN_CUDA_DEVICE_RUN_H
#define TSR_TESTS_CODEGEN_CUDA_DEVICE_RUN_H
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/device/device_common.h"
#include "codegen/cuda/device/device_text.h"
#include "tests/codegen/harness.h"
#include "tests/cuda_emulator/emulator.h"
#include <math.h>

enum { RUN_BUFFERS = 8, RUN_DIMS = 8 };

typedef struct run_tensor_map {
  _Alignas(64) unsigned char bytes[128];
} run_tensor_map;

/* Element `i` of the last argument, from the others. */
typedef double run_expect(const double *const *in, const int64_t *dims, int64_t i);

typedef struct device_run {
  tsr_arena arena;
  tsr_ir *ir;
  tsr_cuda_code code;
  int64_t dims[RUN_DIMS]; /* by dim id - 1 */
} device_run;

static inline tsr_status run_try_open(device_run *r, const char *text, const char *target_name,
                                      tsr_diag *diag) {
  tsr_target target;
  *r = (device_run){0};
  tsr_arena_init(&r->arena, tsr_allocator_default());
  ck_assert(tsr_target_cuda(target_name, &target));
  TSR_TRY(tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", diag, &r->ir));
  TSR_TRY(tsr_ir_verify(r->ir, diag));
  return tsr_codegen_cuda(r->ir, &target, &r->arena, diag, &r->code);
}

static inline void run_close(device_run *r) {
  tsr_ir_destroy(r->ir);
  tsr_arena_reset(&r->arena);
}

static inline void run_open(device_run *r, const char *text, const char *target_name) {
  tsr_diag diag = {0};
  char message[2048];
  if (run_try_open(r, text, target_name, &diag) == TSR_OK)
    return;
  tsr_diag_format(&diag, message, sizeof message);
  ck_abort_msg("%s\n%s", message, text);
}

static inline int64_t run_eval(const device_run *r, tsr_expr expr) {
  int64_t result = 0;
  ck_assert_int_eq(tsr_expr_eval(r->ir, expr, r->dims, &result), TSR_OK);
  return result;
}

/* As the runtime does: a dense buffer, extents outermost first. */
static inline void run_encode(const device_run *r, tsr_emulator *e, const tsr_cuda_map *map,
                              void *base, run_tensor_map *out) {
  static const uint32_t swizzles[] = {TSR_SWIZZLE_NONE, TSR_SWIZZLE_32, TSR_SWIZZLE_64, 0,
                                      TSR_SWIZZLE_128};
  uint64_t dims[5], strides[5];
  uint32_t box[5], size = (uint32_t)tsr_dtype_bits(map->dtype) / 8;
  uint64_t stride = size;
  for (uint32_t i = 0; i < map->rank; ++i) {
    uint32_t from = map->rank - 1 - i;
    dims[i] = (uint64_t)run_eval(r, map->dims[from]);
    box[i] = map->box[from];
    if (i > 0)
      strides[i - 1] = stride;
    stride *= dims[i];
  }
  ck_assert_msg(tsr_emulator_encode_tensor_map(e, out, map->rank, size, base, dims, strides, box,
                                               swizzles[map->swizzle / 32]),
                "%s", tsr_emulator_error(e));
}

/* Whole numbers from -4 to 4; indices (unsigned types) from 0 to 8, or words of random bits. */
static bool run_words;

static inline void run_fill(tsr_dtype dtype, void *data, int64_t count, uint64_t *random) {
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = next_random(random) >> 24;
    bool index = tsr_dtype_class_of(dtype) == TSR_CLASS_UINT;
    double number = (double)(bits % 9) - (index ? 0 : 4);
    tsr_element_store_f64(dtype, data, i,
                          run_words && dtype == TSR_U32 ? (double)(uint32_t)bits : number);
  }
}

enum { RUN_WHY = 4096 };

static inline bool run_compare(const device_run *r, tsr_dtype dtype, const void *got, int64_t count,
                               const double *const *in, run_expect *expect, char *why) {
  for (int64_t i = 0; i < count; ++i) {
    double wanted = expect(in, r->dims, i), found = tsr_element_load_f64(dtype, got, i);
    if (found != wanted) {
      snprintf(why, RUN_WHY, "element %lld: %.17g, wanted %.17g", (long long)i, found, wanted);
      return false;
    }
  }
  return true;
}

/* False with the emulator's finding or a wrong element in `why`. */
static inline bool run_once(const device_run *r, const char *text, tsr_emulator *e,
                            run_expect *expect, uint32_t seed, char *why) {
  tsr_op op = tsr_region_get(r->ir, tsr_ir_top(r->ir))->first;
  const tsr_region_data *region = tsr_region_get(r->ir, tsr_op_get(r->ir, op)->regions[0]);
  const tsr_cuda_kernel *kernel = &r->code.kernels[0];
  void *device[RUN_BUFFERS], *args[RUN_BUFFERS + RUN_DIMS + 9];
  double *in[RUN_BUFFERS] = {NULL};
  int64_t counts[RUN_BUFFERS], dims[RUN_DIMS], tasks = 1;
  tsr_dtype dtypes[RUN_BUFFERS];
  run_tensor_map maps[8];
  uint64_t random = 88172645463325252ULL;
  uint32_t used = 0;
  for (uint32_t i = 0; i < region->arg_count; ++i) {
    const tsr_value_data *value = tsr_value_get(r->ir, region->args[i]);
    if (value->role == TSR_ROLE_GRID) {
      int64_t step = run_eval(r, value->step);
      tasks *= (run_eval(r, value->hi) - run_eval(r, value->lo) + step - 1) / step;
      continue;
    }
    ck_assert_uint_lt(used, RUN_BUFFERS);
    dtypes[used] = tsr_type_get(r->ir, value->type)->dtype;
    counts[used] = run_eval(r, tsr_type_elements(r->ir, value->type));
    size_t bytes = (size_t)tsr_dtype_bytes(dtypes[used], counts[used]);
    device[used] = tsr_emulator_alloc(e, bytes ? bytes : 1, "buffer");
    in[used] = calloc((size_t)counts[used] + 1, sizeof(double));
    ck_assert(device[used] != NULL && in[used] != NULL);
    if (value->role != TSR_ROLE_OUT)
      run_fill(dtypes[used], device[used], counts[used], &random);
    for (int64_t k = 0; k < counts[used]; ++k)
      in[used][k] = tsr_element_load_f64(dtypes[used], device[used], k);
    args[used] = &device[used];
    ++used;
  }
  uint32_t at = used;
  for (uint32_t d = 0; d < kernel->dim_count; ++d) {
    dims[d] = r->dims[kernel->dims[d] - 1];
    args[at++] = &dims[d];
  }
  args[at++] = &tasks;
  ck_assert_uint_le(kernel->map_count, 8);
  for (uint32_t m = 0; m < kernel->map_count; ++m) {
    run_encode(r, e, &kernel->maps[m], device[kernel->maps[m].argument], &maps[m]);
    args[at++] = &maps[m];
  }
  uint32_t blocks = (uint32_t)(tasks > 0 ? tasks : 1), cluster = kernel->cluster;
  tsr_emulated_launch launch = {.grid = {(blocks + cluster - 1) / cluster * cluster, 1, 1},
                                .threads = kernel->threads,
                                .cluster = cluster,
                                .shared_bytes = (uint32_t)kernel->shared_bytes,
                                .cooperative = kernel->cooperative,
                                .seed = seed};
  const tsr_emulated_kernel *made = tsr_emulator_kernel(e, text, kernel->symbol);
  bool fine = made && tsr_emulator_launch(e, made, &launch, args);
  if (!fine)
    snprintf(why, RUN_WHY, "%s", tsr_emulator_error(e));
  fine = fine && run_compare(r, dtypes[used - 1], device[used - 1], counts[used - 1],
                             (const double *const *)in, expect, why);
  for (uint32_t i = 0; i < used; ++i) {
    tsr_emulator_free(e, device[i]);
    free(in[i]);
  }
  return fine;
}

/* `values`: of the text's dims in order. With `planted`, its first place in the kernel becomes
 * `instead`, which some order of threads must find out. */
static inline void run_planted(const char *text, const char *target, const int64_t *values,
                               uint32_t value_count, run_expect *expect, uint32_t seeds,
                               const char *planted, const char *instead) {
  device_run r;
  char why[RUN_WHY] = "";
  bool found = false;
  run_open(&r, text, target);
  for (uint32_t i = 0; i < value_count; ++i)
    r.dims[i] = values[i];
  const tsr_cuda_kernel *kernel = &r.code.kernels[0];
  const char *made = kernel->text;
  if (planted) {
    const char *at = strstr(strstr(made, "\nTSR_KERNEL"), planted);
    ck_assert_msg(at, "no '%s' in\n%.3000s", planted, kernel->body);
    made = tsr_arena_printf(&r.arena, "%.*s%s%s", (int)(at - made), made, instead,
                            at + strlen(planted));
  }
  tsr_emulator *e = tsr_emulator_create(strstr(target, "90") ? 90 : 80);
  ck_assert_ptr_nonnull(e);
  for (uint32_t seed = 0; seed < seeds && !found; ++seed) {
    bool fine = run_once(&r, made, e, expect, seed, why);
    found = planted && !fine && !strstr(why, "compile");
    ck_assert_msg(fine || found, "seed %u: %s\n%.3000s", seed, why, kernel->body);
  }
  ck_assert_msg(!planted || found, "'%s' as '%s' is not found out\n%.3000s", planted, instead,
                kernel->body);
  tsr_emulator_destroy(e);
  run_close(&r);
}

static inline void run_text(const char *text, const char *target, const int64_t *values,
                            uint32_t value_count, run_expect *expect, uint32_t seeds) {
  run_planted(text, target, values, value_count, expect, seeds, NULL, NULL);
}

#endif
