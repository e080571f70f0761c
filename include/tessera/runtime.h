/* Running compiled modules: this header is the manual.
 *
 *   tsr_module *module;                        one per .tsm file, shared by all threads
 *   tsr_exec *exec;                            one per thread that runs it
 *   DLTensor x = {...}, y;
 *   tsr_module_load_file("m.tsm", NULL, &module, NULL);
 *   tsr_exec_create(module, NULL, &exec, NULL);
 *   tsr_exec_bind_input(exec, 0, &x);
 *   tsr_exec_run(exec);
 *   tsr_exec_output(exec, 0, &y);              y.data, y.shape: valid until the next run
 *   tsr_exec_destroy(exec);
 *   tsr_module_release(module);
 *
 * A module holds one program per target it was compiled for. Loading chooses the first that this
 * machine runs: a program of the CPU ("cpu:x86-64-v4") by processor features, one of CUDA
 * ("cuda:sm_90a") when an NVIDIA driver of CUDA 12.0 or later is there and a device for which it
 * has code. The driver is looked for only when a CUDA program is. The calls are the same for both;
 * "On a CUDA device" below says what else there is.
 *
 * A module holds machine code: it is as trusted as a shared library. The tables around the code are
 * checked completely when a module is loaded, so that damaged or hostile tables are refused with a
 * status; the code itself cannot be checked. A module file must not be changed or truncated in
 * place while it is loaded (replace it by renaming, as the writer does).
 *
 * Every function returns a status; on failure out-parameters are zeroed and a text says what is
 * wrong. Functions take NULL for a `tsr_message`, an options structure or an allocator where
 * nothing special is wanted. Tensors are dense and row-major. No function prints or exits. */
#ifndef TESSERA_RUNTIME_H
#define TESSERA_RUNTIME_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/allocator.h>
#include <tessera/dlpack.h>
#include <tessera/dtype.h>
#include <tessera/status.h>
#include <tessera/version.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most dims a tensor may have. */
#define TSR_MAX_RANK 16

/* The explanation of a failed load or create, terminated; "" when there is nothing to say. */
typedef struct tsr_message {
  char text[2048];
} tsr_message;

/* ---- Element types and DLPack ---- */

/* The DLPack type of `dtype`: bool is kDLBool of 8 bits; b1, i2, i4, u2, u4 are kDLInt or kDLUInt
 * of so many bits. Code, bits and lanes are 0 for TSR_DTYPE_NONE. Any thread. */
DLDataType tsr_dtype_to_dlpack(tsr_dtype dtype);
/* TSR_DTYPE_NONE for what Tessera has not, vectors (lanes != 1) included. Any thread. */
tsr_dtype tsr_dtype_from_dlpack(DLDataType type);

/* ---- Threads ---- */

/* A part of a launch: runs the tasks [begin, end). `worker` is below tsr_executor.workers and at
 * no time is the same for two running calls that share `context`. */
typedef void (*tsr_task_function)(void *context, int64_t begin, int64_t end, uint32_t worker);

/* Who runs the tasks of a launch. parallel_for calls `function` on ranges that together cover
 * [0, tasks) exactly once, from any threads, and returns when all of them have returned. tasks >=
 * 0. Tasks never wait for other tasks, so any order and any number of threads will do. An executor
 * that several execs share may be called by several threads at once. */
typedef struct tsr_executor {
  void *context;
  uint32_t workers; /* 1 or more; execs keep scratch memory for that many */
  void (*parallel_for)(void *context, int64_t tasks, tsr_task_function function,
                       void *function_context);
} tsr_executor;

/* The default executor: `threads` threads counting the caller; 0 means one per processor this
 * process may use. Idle threads look for work for 0.1 ms, then sleep. With no more threads than
 * processors, the pool's own threads bar themselves from the caller's processor and each other's;
 * the caller's affinity is left alone. Errors: ARGUMENT (more than 1024 threads),
 * OUT_OF_MEMORY (also when the system gives no more threads). The pool outlives the execs that use
 * it. */
typedef struct tsr_pool tsr_pool;
TSR_WARN_UNUSED tsr_status tsr_pool_create(uint32_t threads, const tsr_allocator *allocator,
                                           tsr_pool **out_pool);
/* NULL is allowed. No parallel_for may be running. */
void tsr_pool_destroy(tsr_pool *pool);
/* Valid as long as the pool. The caller takes part as worker 0. When the pool is busy with another
 * caller's tasks, or the caller is itself such a task, the caller runs all its tasks alone. */
tsr_executor tsr_pool_executor(tsr_pool *pool);

/* ---- Modules ---- */

typedef struct tsr_module tsr_module;

enum {
  /* Also compare the checksum of every weight, which reads the whole file. */
  TSR_MODULE_VERIFY_WEIGHTS = 1u << 0,
  /* tsr_module_load_memory only: use the caller's bytes in place. They start at a multiple of 64
   * and stay unchanged until the module is gone. */
  TSR_MODULE_BORROW = 1u << 1,
  /* For tsr_module_get_... only: selects the first program, or that of `options->target`, whether
   * or not this machine runs it, and looks for no device. tsr_exec_create refuses with STATE. */
  TSR_MODULE_DESCRIBE = 1u << 2,
};

/* Zero-initialise, then set `size = sizeof(tsr_module_options)` and what is wanted. */
typedef struct tsr_module_options {
  size_t size;
  const tsr_allocator *allocator; /* NULL: the default */
  const char *target;             /* NULL: the first program that this machine can run; a target:
                                     that program; "cpu" or "cuda": the first of that kind */
  uint32_t flags;                 /* TSR_MODULE_... */
  int32_t device;                 /* number of the CUDA device, for CUDA programs */
} tsr_module_options;

/* Maps the file; weights are read when they are first used and shared between processes. Takes the
 * first program that this machine runs, or of those for `options->target`. A CUDA program is loaded
 * without touching the device: that happens when execs are created and first run.
 * Errors: IO (no such file, not readable), FORMAT (not a module, or its tables are inconsistent),
 * VERSION (of another format version), CHECKSUM (damaged), DEVICE (no program runs here; lists why,
 * for each: missing processor features, no driver or one too old, no device, devices that it has
 * code for), NOT_FOUND (no program for `target`), OUT_OF_MEMORY, ARGUMENT (also no CUDA device of
 * that number). Any thread. */
TSR_WARN_UNUSED tsr_status tsr_module_load_file(const char *path, const tsr_module_options *options,
                                                tsr_module **out_module, tsr_message *out_message);
/* The same from `bytes` bytes at `data`, which are copied unless TSR_MODULE_BORROW. */
TSR_WARN_UNUSED tsr_status tsr_module_load_memory(const void *data, size_t bytes,
                                                  const tsr_module_options *options,
                                                  tsr_module **out_module,
                                                  tsr_message *out_message);

/* Reference counting, any thread; loading gives one reference, every exec holds one. Returns
 * `module`. NULL is allowed in both. */
tsr_module *tsr_module_retain(tsr_module *module);
void tsr_module_release(tsr_module *module);

/* Reads all weights and compares checksums: OK or CHECKSUM. Any thread. */
TSR_WARN_UNUSED tsr_status tsr_module_verify_weights(const tsr_module *module);

/* All that follows reads an immutable module: any thread; strings and arrays live as long as the
 * module. */

/* A symbolic dim of the model. */
typedef struct tsr_dim_info {
  const char *name;
  int64_t lo, hi;       /* values outside lo..hi are refused */
  int32_t from_results; /* 1: known only during a run (the number of results found); 0: bound by the
                           shapes of the inputs */
} tsr_dim_info;

/* What an input or output is. */
typedef enum tsr_port_kind {
  TSR_PORT_TENSOR = 0,
  TSR_PORT_LIST = 1,         /* a sequence of ONNX: any number of tensors of one dtype */
  TSR_PORT_OPTIONAL = 2,     /* a tensor or nothing */
  TSR_PORT_OPTIONAL_LIST = 3 /* a list or nothing */
} tsr_port_kind;

/* The rank of tensors in a list whose rank the model does not say. */
#define TSR_ANY_RANK UINT32_MAX

/* An input or output. dims[i] >= 0 is a fixed size; where it is -1, dim_texts[i] is the dim's name,
 * or a formula of names such as "2 * N + 1". dim_texts[i] of a fixed size is its decimal number.
 * Of a list, dtype, rank and dims are those of its tensors; rank may be TSR_ANY_RANK. */
typedef struct tsr_port_info {
  const char *name;
  tsr_dtype dtype;
  uint32_t rank;
  const int64_t *dims;
  const char *const *dim_texts;
  tsr_port_kind kind;
  int32_t is_text; /* 1: strings. Tensors of them are DLPack tensors of type kDLOpaqueHandle with 64
                      bits: data is an array of `const char *`, each ended by a zero byte; dtype is
                      then TSR_I64 */
  const char *alias; /* of outputs: the input in whose memory the output may live, or NULL; see
                        tsr_exec_bind_output */
} tsr_port_info;

typedef struct tsr_kernel_info {
  const char *name;
  const char *nodes;      /* ONNX nodes it computes, comma separated */
  uint64_t scratch_bytes; /* per thread; CPU */
  const char *symbol;     /* CUDA: the function's name, else "" */
  uint32_t threads;       /* CUDA: of a block, */
  uint32_t shared_bytes;  /* its dynamic shared memory, */
  uint32_t cluster;       /* blocks of a cluster, 0 or 1: none, */
  int32_t cooperative;    /* and 1 when all blocks run at the same time */
} tsr_kernel_info;

/* A program of the module, whether or not this machine runs it. */
typedef struct tsr_target_info {
  const char *target;    /* as --target takes it */
  uint64_t cpu_features; /* what it needs; names by tsr_module_feature_text */
  uint64_t code_bytes;
  int32_t selected; /* 1: the one that execs of this module run */
} tsr_target_info;

typedef struct tsr_module_info {
  const char *target;    /* of the selected program, as are the rest */
  const char *precision; /* as --precision takes it */
  const char *producer;  /* version of the compiler */
  uint32_t target_count, input_count, output_count, dim_count, kernel_count;
  uint32_t launch_count, segment_count;
  uint64_t weight_bytes; /* of the selected program's distinct weights */
  uint64_t module_bytes; /* of the whole file */
  uint64_t code_bytes;
  DLDevice device;         /* where execs of the module run kernels: kDLCPU or kDLCUDA */
  const char *device_name; /* of a CUDA device, else "" */
} tsr_module_info;

void tsr_module_get_info(const tsr_module *module, tsr_module_info *out_info);
/* For each: ARGUMENT when `index` is not below the count. */
TSR_WARN_UNUSED tsr_status tsr_module_get_target(const tsr_module *module, uint32_t index,
                                                 tsr_target_info *out_info);
TSR_WARN_UNUSED tsr_status tsr_module_get_input(const tsr_module *module, uint32_t index,
                                                tsr_port_info *out_info);
TSR_WARN_UNUSED tsr_status tsr_module_get_output(const tsr_module *module, uint32_t index,
                                                 tsr_port_info *out_info);
TSR_WARN_UNUSED tsr_status tsr_module_get_dim(const tsr_module *module, uint32_t index,
                                              tsr_dim_info *out_info);
TSR_WARN_UNUSED tsr_status tsr_module_get_kernel(const tsr_module *module, uint32_t index,
                                                 tsr_kernel_info *out_info);
/* The number of the input or output called `name`: NOT_FOUND, with *out_index 0. */
TSR_WARN_UNUSED tsr_status tsr_module_find_input(const tsr_module *module, const char *name,
                                                 uint32_t *out_index);
TSR_WARN_UNUSED tsr_status tsr_module_find_output(const tsr_module *module, const char *name,
                                                  uint32_t *out_index);
/* Writes "avx512f, avx512bw" for the bits of tsr_target_info.cpu_features, always terminated, cut
 * off when `out_size` is too small. Any thread. */
void tsr_module_feature_text(uint64_t cpu_features, char *out, size_t out_size);

/* ---- Execution ---- */

/* The state of running one module: bindings, memory, threads. One thread at a time. */
typedef struct tsr_exec tsr_exec;

/* ---- On a CUDA device ----
 *
 * Contexts and streams. All work is done in the primary context of device number
 * `tsr_module_options.device`, which every function makes current for its own duration only. An
 * exec issues everything to one stream: its own, or the caller's `tsr_exec_options.stream`, which
 * must not be capturing. Execs of several threads share kernels and weights of their module, which
 * are loaded once: weights when the first exec is created, each kernel when it is first linked into
 * a run.
 *
 * Which DLPack devices where:
 *
 *   device          input                                output that is bound
 *   kDLCPU          copied to the device in each run,    copied back in each run, through pinned
 *                   through pinned memory; has been      memory; complete after the wait
 *                   read when tsr_exec_run_async returns
 *   kDLCUDAHost     copied by the device itself: must    written by the device itself; complete
 *                   not change until the wait            after the wait
 *   kDLCUDA         of this device: used in place;       written in place
 *   kDLCUDAManaged  not aligned to 16 bytes: copied      not aligned to 16 bytes: copied to
 *
 * Outputs that are not bound are allocated by the exec in what `tsr_exec_options.output_device`
 * says: kDLCPU (the default) and kDLCUDAHost give views in pinned host memory, kDLCUDA leaves them
 * on the device. Memory that is bound must stay valid until the run has been waited for, and longer
 * as tsr_exec_bind_input says. A taken output on the device is freed by its deleter behind all work
 * of the device, also when exec and module are gone; allocators of both must outlive it.
 *
 * Waiting. tsr_exec_run_async returns when the run is issued, except that it waits where the model
 * computes a size that the host needs. Results on the device may be used at once by work that the
 * caller issues to the same stream; the host, and work in other streams, come after tsr_exec_wait.
 * Likewise what writes bound device tensors is done when the run is issued, or was issued to the
 * same stream.
 *
 * Graphs. The launches of a run with the same shapes and pointers as the run before are captured
 * into a CUDA graph, which later runs launch as a whole until shapes or pointers change; then it is
 * updated in the same way. Contents of bound memory may change freely. Traced runs, and runs with
 * TSR_EXEC_NO_GRAPHS, launch kernel by kernel.
 *
 * Errors. Failed driver calls are DEVICE, or OUT_OF_MEMORY when memory of the device or pinned
 * memory ran out, with the driver's text; the exec stays usable, and smaller shapes may run. After
 * a kernel broke a rule (an illegal address, say) CUDA refuses all further work of the process: the
 * exec reports DEVICE from then on, with the kernels that were launched since the stream was last
 * waited for, latest first, and their ONNX nodes; other execs and modules fail likewise. The
 * environment variable TESSERA_CUDA_SYNC=1, read when an exec is created, waits for each launch, so
 * that the message names the one.
 *
 * TESSERA_CUDA_DRIVER, read when a module is loaded, names another library than libcuda.so.1. */

/* Zero-initialise, then set `size = sizeof(tsr_exec_options)` and what is wanted. */
typedef struct tsr_exec_options {
  size_t size;
  const tsr_allocator *allocator; /* NULL: the default. Used for all memory of the exec, arena and
                                     outputs too; must outlive taken outputs */
  uint32_t threads;               /* of the exec's own pool, counting the caller; 0: all. CPU */
  const tsr_executor *executor;   /* not NULL: this one (copied) in place of an own pool. CPU */
  void *stream;                   /* CUDA: a CUstream of the device's primary context for all work,
                                     which outlives the exec; NULL: one of its own */
  int32_t output_device;          /* CUDA: DLDeviceType of outputs that are not bound: kDLCPU or 0,
                                     kDLCUDAHost, kDLCUDA */
  uint32_t flags;                 /* TSR_EXEC_... */
} tsr_exec_options;

enum {
  /* CUDA: always launch kernel by kernel, never as a graph. */
  TSR_EXEC_NO_GRAPHS = 1u << 0,
};

/* Takes a reference to `module`. Errors: ARGUMENT (also options for another kind of device), STATE
 * (loaded with TSR_MODULE_DESCRIBE), OUT_OF_MEMORY; CUDA: DEVICE. Any thread. */
TSR_WARN_UNUSED tsr_status tsr_exec_create(tsr_module *module, const tsr_exec_options *options,
                                           tsr_exec **out_exec, tsr_message *out_message);
/* NULL is allowed. Waits for what is under way. Outputs that were taken stay valid; views of
 * outputs do not. */
void tsr_exec_destroy(tsr_exec *exec);

/* Makes `tensor` input number `index` of all runs until bound again. Nothing is copied: the data
 * (not the DLTensor, nor its shape array) must stay valid and may change between runs. Errors:
 * ARGUMENT (no such input; not compact row-major; data not aligned to its element size; NULL data
 * of a non-empty tensor; of a CUDA tensor: data that is no memory of the device), TYPE (dtype or
 * rank differs), SHAPE (a fixed dim differs, a dim is negative or outside its range), DEVICE (in
 * memory that this program cannot use, or of another device; on the CPU: not in host memory). After
 * an error the input is unbound. Dims that several inputs share are compared when the exec runs. */
TSR_WARN_UNUSED tsr_status tsr_exec_bind_input(tsr_exec *exec, uint32_t index,
                                               const DLTensor *tensor);
/* The same by name, or NOT_FOUND. */
TSR_WARN_UNUSED tsr_status tsr_exec_bind_input_name(tsr_exec *exec, const char *name,
                                                    const DLTensor *tensor);
/* Lets output number `index` be written to the caller's memory until bound again; NULL returns it
 * to the exec. The shape must be the output's when the exec runs (SHAPE, from tsr_exec_run). It
 * must not overlap an input or another output, but for the input that tsr_port_info.alias names:
 * the output may be bound to exactly that input's memory, and then updates it in place. A cache
 * that only gets new rows is not copied then; bound to other memory, the output gets the old
 * contents first (tsr_exec_stats.kept_bytes). The model's author, or tsr_compile_options.aliases,
 * declares such pairs. Errors as for inputs; memory that overlaps an input is refused by
 * tsr_exec_run (ARGUMENT). */
TSR_WARN_UNUSED tsr_status tsr_exec_bind_output(tsr_exec *exec, uint32_t index,
                                                const DLTensor *tensor);
TSR_WARN_UNUSED tsr_status tsr_exec_bind_output_name(tsr_exec *exec, const char *name,
                                                     const DLTensor *tensor);

/* ---- Lists, optionals and strings (tsr_port_info.kind, is_text) ----
 * Models that have them, or control flow, run step by step on the host, which calls kernels where
 * there is something to compute; tsr_exec_run_async waits where the host needs a value: a condition
 * that is computed, a position in a list. A loop of the model that does not end does not return.
 *
 * A tensor bound to an optional makes it present. Strings are copied when the exec runs; those of
 * outputs belong to the exec and are valid until its next run. All of this is in host memory; lists
 * of tensors may lie on the device as other inputs may. */

/* Makes the `count` tensors at `items` the list that input number `index` is. The DLTensors and
 * their shapes are copied, data is not: it stays valid until bound again. Errors: ARGUMENT (no
 * such input, or it is no list), TYPE, SHAPE, DEVICE as for tsr_exec_bind_input. */
TSR_WARN_UNUSED tsr_status tsr_exec_bind_input_list(tsr_exec *exec, uint32_t index,
                                                    const DLTensor *items, uint64_t count);
/* The optional input number `index` is nothing. Errors: ARGUMENT (no such input, or no optional).
 */
TSR_WARN_UNUSED tsr_status tsr_exec_bind_input_absent(tsr_exec *exec, uint32_t index);
/* How many tensors output number `index` of the last run has: 1 for a tensor, 0 for an absent
 * optional; *out_present (may be NULL) is 0 for an absent optional only. Errors: ARGUMENT, STATE.
 */
TSR_WARN_UNUSED tsr_status tsr_exec_output_count(tsr_exec *exec, uint32_t index,
                                                 uint64_t *out_count, int32_t *out_present);
/* Tensor number `item` of that output: as tsr_exec_output, which is the same with item 0 (ARGUMENT
 * when there is none). Outputs that are not of kind TENSOR, and strings, cannot be bound or taken
 * (STATE). Errors: ARGUMENT, STATE. */
TSR_WARN_UNUSED tsr_status tsr_exec_output_item(tsr_exec *exec, uint32_t index, uint64_t item,
                                                DLTensor *out_tensor);

/* Runs the module on the bound inputs and returns when all outputs are written. Errors: STATE (an
 * input is not bound), SHAPE (inputs contradict each other or a dim's range, an output bound by the
 * caller has another shape, sizes overflow), OUT_OF_MEMORY, IO (the trace file); CUDA: DEVICE. The
 * exec stays usable, but for what "On a CUDA device" says; outputs of a failed run are undefined
 * and tsr_exec_output refuses them. The same as the two calls that follow. */
TSR_WARN_UNUSED tsr_status tsr_exec_run(tsr_exec *exec);
/* Issues a run and returns without waiting for its end, where the device allows that; on the CPU it
 * is done then. Several may be issued before they are waited for; they happen in order, with the
 * bindings that each found. Errors as above; nothing of the exec is under way after one. */
TSR_WARN_UNUSED tsr_status tsr_exec_run_async(tsr_exec *exec);
/* Returns when all runs that were issued are done: all outputs are written then. OK when there are
 * none. Errors: DEVICE, IO. */
TSR_WARN_UNUSED tsr_status tsr_exec_wait(tsr_exec *exec);

/* A view of output number `index` of the last run, dense row-major; data and shape belong to the
 * exec (data to the caller when he bound it) and are valid until the next run, bind of that output,
 * or destroy. Data is aligned to 64 bytes unless the caller bound it. Errors: ARGUMENT, STATE (no
 * successful run yet, the output was taken, or lies in host memory and the run was not waited
 * for). */
TSR_WARN_UNUSED tsr_status tsr_exec_output(tsr_exec *exec, uint32_t index, DLTensor *out_tensor);
TSR_WARN_UNUSED tsr_status tsr_exec_output_name(tsr_exec *exec, const char *name,
                                                DLTensor *out_tensor);
/* Hands the memory of that output to the caller, who calls deleter; the next run allocates anew.
 * Errors: ARGUMENT, STATE (as above, or the caller bound it himself), OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_exec_take_output(tsr_exec *exec, uint32_t index,
                                                DLManagedTensor **out_tensor);

/* The value of symbolic dim number `index` in the last successful run. Errors: ARGUMENT, STATE. */
TSR_WARN_UNUSED tsr_status tsr_exec_dim_value(tsr_exec *exec, uint32_t index, int64_t *out_value);

/* Status and text of the last call on `exec` that failed, TSR_OK and "" before any. The text is
 * valid until the next call that fails. */
tsr_status tsr_exec_last_status(const tsr_exec *exec);
const char *tsr_exec_last_error(const tsr_exec *exec);

/* From now on every run appends one event per launch (kernel, ONNX nodes, tasks, times; those of a
 * device by its own clock), and per operation on lists, optionals and strings, to the file `path`,
 * which is created anew, in the JSON array form of the Trace Event Format that Perfetto and
 * chrome://tracing read. NULL ends it and closes the file. Waits for what is under way. Errors: IO,
 * OUT_OF_MEMORY; CUDA: DEVICE. */
TSR_WARN_UNUSED tsr_status tsr_exec_set_trace(tsr_exec *exec, const char *path);

typedef struct tsr_exec_stats {
  uint64_t arena_bytes; /* temporaries that share memory; the high-water mark of the last plan */
  uint64_t persistent_bytes; /* temporaries that live across a read of a dim; of a model that runs
                                step by step on the host, all values between its steps */
  uint64_t output_bytes;     /* outputs that the exec allocated */
  uint64_t scratch_bytes;   /* of all workers and between them; CUDA: what empty tensors point to */
  uint64_t temporary_bytes; /* sum of all temporaries, as if none shared memory */
  uint64_t runs;            /* successful */
  uint64_t launches;        /* of the last run, those with no tasks left out */
  uint64_t plans;           /* memory plans made; stays while shapes do not change */
  int64_t run_ns;           /* the last run, from its call to the end of waiting for it */
  int64_t device_ns;        /* CUDA: its launches and copies between them, by the device's clock */
  uint64_t graph_captures;  /* CUDA: graphs made or updated, */
  uint64_t graph_updates;   /* those of them that were updates of an earlier one, */
  uint64_t graph_launches;  /* and launched */
  uint64_t kept_bytes; /* of the last run: copied from inputs to outputs that update them, as the
                          two were bound to different memory (tsr_port_info.alias) */
} tsr_exec_stats;
void tsr_exec_get_stats(const tsr_exec *exec, tsr_exec_stats *out_stats);

#ifdef __cplusplus
}
#endif
#endif
