/* Compiling models: this header is the manual. Programs that only run modules need
 * <tessera/runtime.h> alone.
 *
 *   tsr_context *context;
 *   tsr_context_create(NULL, &context);
 *   if (tsr_compile_file(context, "model.onnx", NULL, "model.tsm") != TSR_OK)
 *     fprintf(stderr, "error: %s\n", tsr_context_error(context));
 *   tsr_context_destroy(context);
 *
 * A model is an ONNX file (opsets 6 to 24) or a graph in Tessera's own text (file names ending in
 * .tsr). A context belongs to one thread at a time; several contexts work side by side. Options
 * given as NULL are the defaults. No function prints or exits. */
#ifndef TESSERA_COMPILER_H
#define TESSERA_COMPILER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tessera/allocator.h>
#include <tessera/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tsr_context tsr_context;

/* `allocator` NULL: the default; it must outlive the context. Errors: OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_context_create(const tsr_allocator *allocator,
                                              tsr_context **out_context);
/* NULL is allowed. */
void tsr_context_destroy(tsr_context *context);
/* "FILE: node 'NAME' (Op): what is wrong and what to do" of the last failed call, "" when it
 * succeeded. Valid until the next call. */
const char *tsr_context_error(const tsr_context *context);

/* Fixes or narrows a symbolic dim: lo == hi makes it a number. `name` is the model's dim_param, or
 * INPUT.AXIS where it has none. */
typedef struct tsr_dim_range {
  const char *name;
  int64_t lo, hi;
} tsr_dim_range;

/* What `emit` can show. X(NAME, bit, "text", what it is) */
#define TSR_EMIT_LIST(X)                                                                           \
  X(GRAPH, 0, "graph", "the imported and simplified graph")                                        \
  X(BLOCK, 1, "block", "one loop nest per operator")                                               \
  X(GROUPS, 2, "groups", "the loop nests after fusion, one per kernel")                            \
  X(PLAN, 3, "plan", "the schedules")                                                              \
  X(TILE, 4, "tile", "the kernels as tile programs, and the launch list")                          \
  X(LL, 5, "ll", "LLVM IR")                                                                        \
  X(ASM, 6, "asm", "assembly")                                                                     \
  X(MANIFEST, 7, "manifest", "JSON: kernels, grids, arguments")                                    \
  X(CU, 8, "cu", "CUDA C")                                                                         \
  X(PTX, 9, "ptx", "PTX of all kernels of a CUDA target in one text")                              \
  X(CUBIN, 10, "cubin", "the same as CUBIN: bytes, no text")                                       \
  X(WEIGHTS, 11, "weights", "the constants' bytes, where the manifest says")                       \
  X(MODEL, 12, "model", "the imported graph, divided into what the host does and what it calls")

typedef enum tsr_emit {
#define TSR_EMIT_ENUM(name, bit, text, what) TSR_EMIT_##name = 1 << bit,
  TSR_EMIT_LIST(TSR_EMIT_ENUM)
#undef TSR_EMIT_ENUM
} tsr_emit;

/* Gets one emitted text of `size` bytes, ended by a zero byte behind them (a CUBIN and weights
 * are bytes, and not ended): `kind` as in TSR_EMIT_LIST, `target` as given. `part`: which graph of
 * a model that the host divides (control flow, lists, texts); "" when it is about the whole. Valid
 * during the call. */
typedef void (*tsr_emit_function)(void *context, const char *kind, const char *target,
                                  const char *part, const char *text, size_t size);
/* Gets a warning about the result, one line without "warning:"; `target` is "" where it concerns
 * none. Valid during the call. */
typedef void (*tsr_warning_function)(void *context, const char *target, const char *text);

/* The output is the next state of the input (a decoder's cache): same dtype and shape, and both may
 * be bound to one memory, which is then updated in place (tsr_exec_bind_output). */
typedef struct tsr_alias {
  const char *output, *input;
} tsr_alias;

/* Zero everything that is not wanted. */
typedef struct tsr_compile_options {
  const char *const
      *targets; /* "cpu", "cpu:x86-64-v2", "cpu:avx2", "cpu:avx512", this machine with none;
                   "cuda:sm_80", "cuda:sm_89", "cuda:sm_90a". A module for sm_90a alone gets, behind
                   it, PTX for sm_80 too, which later devices take */
  uint32_t target_count; /* the module holds one program per target; loading takes the first that
                            the machine can run */
  const tsr_dim_range *dims;
  uint32_t dim_count;
  /* NULL or "f32": where it is faster (AMX), a product of f32 by a constant may be the six greatest
   * products of its factors' three bf16 parts, summed in f32. x = x0 + x1 + x2 is exact, what is
   * left out of a product is at most 2^-24 of it, and sums are rounded less often than by
   * multiply-adds. Constants with values other than 0 and 2^-40 .. 2^40 are not split, nor are
   * blocks of the other factor with values other than 0 and 2^-60 .. 2^60, such as infinities and
   * NaN. "f32-strict": by multiply-adds of f32 only. "tf32": on CUDA, products of f32 matrices may
   * round their operands to tf32. "bf16": on CPUs that multiply bf16 faster (AVX512-BF16 or AMX),
   * the operands of f32 products and convolutions are rounded to bf16, to nearest; sums, results,
   * inputs and outputs stay f32. A sum of products is then off by at most 2^-7 (1 + 2^-9) of the
   * sum of the products' magnitudes, and by the rounding of f32 sums. Elsewhere: "f32". */
  const char *precision;
  uint32_t
      threads; /* that runs will use, a hint to the schedules; 0: as many as this machine has */
  bool no_fuse;
  bool deterministic; /* accepted for scripts; every kernel of this version is deterministic */
  uint32_t emit;      /* tsr_emit bits */
  tsr_emit_function emit_function;
  void *emit_context;
  bool emit_only; /* make no module: then CUDA C needs no NVRTC. The module's path may be NULL,
                     bytes are none */
  tsr_warning_function warning_function; /* NULL: warnings are dropped */
  void *warning_context;
  /* CUDA: program and arguments, ended by NULL, of processes that compile kernels side by side and
   * apart from this one; their main calls tsr_compile_worker. NULL: kernels are compiled one after
   * the other by the calling thread. */
  const char *const *cuda_worker;
  const char *cuda_cache; /* folder of compiled kernels; NULL: $XDG_CACHE_HOME/tessera/cuda or
                             ~/.cache/tessera/cuda; "": none */
  /* Outputs that may live in an input's memory. Where such an output is the input with some
   * elements replaced (ScatterElements, ScatterND, TensorScatter, the caches of
   * GroupQueryAttention), only these are written. NOT_FOUND: no such input or output; SHAPE: they
   * differ in type. */
  const tsr_alias *aliases;
  uint32_t alias_count;
  /* A tuning database, opened for reading: each kernel takes the best schedule that was measured
   * and found right for the same work, target, caches and number of threads; a warning says how
   * many kernels have one. Only its rows count, not how they came in. NULL: schedules come from
   * the analytic model. IO: there is no such file; FORMAT, VERSION, CHECKSUM. */
  const char *db;
} tsr_compile_options;

/* The main of a process started as tsr_compile_options.cuda_worker: serves until its standard input
 * ends. Returns the exit status. */
int tsr_compile_worker(void);

/* Compiles the model at `model_path` into the module `module_path`, which is replaced only when
 * everything went well. Errors: IO, FORMAT, UNSUPPORTED (all unsupported nodes at once), TYPE,
 * SHAPE, ARGUMENT (bad option), DEVICE (no NVRTC, which CUDA targets need: the message says what to
 * install), OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_compile_file(tsr_context *context, const char *model_path,
                                            const tsr_compile_options *options,
                                            const char *module_path);
/* The same into memory, to be loaded by tsr_module_load_memory and released by tsr_bytes_release.
 */
TSR_WARN_UNUSED tsr_status tsr_compile_file_to_memory(tsr_context *context, const char *model_path,
                                                      const tsr_compile_options *options,
                                                      void **out_bytes, size_t *out_size);
/* A graph in Tessera's text, `length` bytes; `name` stands for the file in messages. */
TSR_WARN_UNUSED tsr_status tsr_compile_text(tsr_context *context, const char *text, size_t length,
                                            const char *name, const tsr_compile_options *options,
                                            void **out_bytes, size_t *out_size);
void tsr_bytes_release(tsr_context *context, void *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
