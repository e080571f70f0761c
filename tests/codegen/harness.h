/* Compiles .tsr text for every instruction set of this machine and runs the kernels. Buffers lie
 * between pages that cannot be touched, against the one in front or the one behind, so that every
 * access outside of them ends the test. */
#ifndef TSR_TESTS_CODEGEN_HARNESS_H
#define TSR_TESTS_CODEGEN_HARNESS_H
#include "codegen/cpu/codegen.h"
#include "ir/ir.h"
#include "runtime/float_convert.h"
#include "runtime/program.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct program {
  tsr_arena arena;
  tsr_ir *ir;
  tsr_cpu_code code;
  void *mapped;
} program;

typedef struct dim_value {
  const char *name;
  int64_t value;
} dim_value;

enum { PAGE = 4096 };

static inline uint64_t next_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  *state = x;
  return x * 0x2545F4914F6CDD1DULL;
}

static inline size_t round_pages(size_t bytes) {
  return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* `bytes` zeroed bytes that end at a page that traps, or start after one. */
static inline void *guarded(size_t bytes, bool at_end) {
  bytes = bytes ? bytes : 64;
  size_t pages = round_pages(bytes);
  char *base = mmap(NULL, pages + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(base, MAP_FAILED);
  ck_assert_int_eq(mprotect(base + PAGE, pages, PROT_READ | PROT_WRITE), 0);
  return at_end ? base + PAGE + (pages - bytes) : base + PAGE;
}

static inline void guarded_free(void *memory, size_t bytes) {
  size_t pages = round_pages(bytes ? bytes : 1);
  char *start = (char *)((uintptr_t)memory / PAGE * PAGE);
  munmap(start - PAGE, pages + 2 * PAGE);
}

/* The levels that this machine runs; returns how many. */
static inline int host_isas(tsr_cpu_isa out_isas[4]) {
  static const char *const names[] = {":x86-64-v2", ":x86-64-v3", ":x86-64-v4", ":generic"};
  tsr_cpu_isa host;
  int count = 0;
  tsr_cpu_isa_host(&host);
  const int step = TEST_SHARE > 1 ? 2 : 1;
  for (int i = 0; i < 4; i += step) {
    tsr_cpu_isa isa;
    tsr_diag diag = {0};
    if (tsr_cpu_isa_parse(names[i], &diag, &isa) == TSR_OK && tsr_cpu_isa_covers(&host, &isa))
      out_isas[count++] = isa;
  }
  ck_assert_int_gt(count, 0);
  return count;
}

static inline void program_close(program *p) {
  if (p->mapped)
    munmap(p->mapped, round_pages(p->code.image_bytes));
  tsr_ir_destroy(p->ir);
  tsr_arena_reset(&p->arena);
}

static inline tsr_status program_try(program *p, const char *text, const tsr_cpu_isa *isa,
                                     bool want_assembly, tsr_diag *diag) {
  tsr_codegen_options options = {.want_assembly = want_assembly};
  *p = (program){0};
  tsr_arena_init(&p->arena, tsr_allocator_default());
  TSR_TRY(tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "test.tsr", diag, &p->ir));
  TSR_TRY(tsr_codegen_cpu(p->ir, isa, &options, &p->arena, diag, &p->code));
  size_t size = round_pages(p->code.image_bytes);
  p->mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(p->mapped, MAP_FAILED);
  memcpy(p->mapped, p->code.image, p->code.image_bytes);
  ck_assert_int_eq(mprotect(p->mapped, size, PROT_READ | PROT_EXEC), 0);
  return TSR_OK;
}

static inline void program_open(program *p, const char *text, const tsr_cpu_isa *isa) {
  tsr_diag diag = {0};
  char message[2048];
  if (program_try(p, text, isa, false, &diag) == TSR_OK)
    return;
  tsr_diag_format(&diag, message, sizeof message);
  ck_abort_msg("%s\n%s", message, text);
}

/* Runs tasks [begin, end) of a kernel. */
static inline void program_run_tasks(const program *p, const char *symbol, void *const *buffers,
                                     const dim_value *dims, int64_t begin, int64_t end) {
  int64_t values[32] = {0};
  for (uint32_t i = 0; i < p->code.kernel_count; ++i) {
    const tsr_kernel_code *kernel = &p->code.kernels[i];
    if (strcmp(kernel->symbol, symbol) != 0)
      continue;
    for (uint32_t d = 0; d < kernel->dim_count; ++d) {
      const char *name = tsr_dim_get(p->ir, kernel->dims[d])->name;
      const dim_value *dim = dims;
      while (dim && dim->name && strcmp(dim->name, name) != 0)
        ++dim;
      ck_assert_msg(dim && dim->name, "no value for dim %s", name);
      values[d] = dim->value;
    }
    size_t scratch_bytes = (kernel->scratch_bytes + 63) / 64 * 64;
    char *scratch = guarded(scratch_bytes, true);
    memset(scratch, 0xAB, scratch_bytes);
    char *entry = (char *)p->mapped + kernel->entry;
    tsr_cpu_kernel function;
    memcpy(&function, &entry, sizeof function);
    function(buffers, values, begin, end, scratch);
    guarded_free(scratch, scratch_bytes);
    return;
  }
  ck_abort_msg("no kernel %s", symbol);
}

static inline void program_run(const program *p, const char *symbol, void *const *buffers,
                               const dim_value *dims, int64_t tasks) {
  program_run_tasks(p, symbol, buffers, dims, 0, tasks);
}

/* --- elements --- */

static inline size_t dtype_size(tsr_dtype dtype) {
  return tsr_dtype_bits(dtype) / 8;
}

/* Small values that every op has an opinion on: zeros, both signs, ties, and for floats, when
 * `special`, infinities and NaN. */
static inline void fill(tsr_dtype dtype, void *data, int64_t count, uint64_t seed, bool special) {
  static const double specials[] = {0.0, -0.0, 1.0,      -1.0,      0.5, -1.5,
                                    2.5, 1e30, INFINITY, -INFINITY, NAN};
  uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = next_random(&state);
    bool is_float = tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
    if (is_float && special && bits % 3 == 0)
      tsr_element_store_f64(dtype, data, i, specials[bits / 8 % 11]);
    else if (is_float)
      tsr_element_store_f64(dtype, data, i, (double)(int64_t)(bits % 4001) / 256.0 - 8.0);
    else if (dtype == TSR_BOOL)
      ((uint8_t *)data)[i] = bits & 1;
    else if (special && bits % 3 == 0)
      tsr_element_store_i64(dtype, data, i, (int64_t)next_random(&state));
    else
      tsr_element_store_i64(dtype, data, i, (int64_t)(bits % 23) - 7);
  }
}

#endif
