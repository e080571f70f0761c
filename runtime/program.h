/* A compiled program, as the compiler hands it to the module writer and as the reader hands it to
 * the executor. Flat tables; every reference is an index into one of them. All memory belongs to
 * whoever made the program (an arena). */
#ifndef TSR_RUNTIME_PROGRAM_H
#define TSR_RUNTIME_PROGRAM_H
#include "runtime/index_code.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tessera/dtype.h>

/* An index expression: a slice of tsr_program.steps. */
typedef struct tsr_code {
  uint32_t first;
  uint32_t count; /* 0: absent (guard: always true) */
} tsr_code;

typedef enum tsr_dim_source {
  TSR_DIM_FROM_INPUT = 0,  /* bound by the shapes of the inputs */
  TSR_DIM_FROM_DEVICE = 1, /* read from a buffer when a segment ends (tsr_dim_read) */
  TSR_DIM_FROM_CALLER = 2, /* of a part: the host program's dim of the same name, which it knows */
  TSR_DIM_FROM_HOST = 3,   /* of a host program: bound where a value is made whose extent it is */
} tsr_dim_source;

/* A symbolic dim. Values outside [lo, hi] are refused with the dim's name. */
typedef struct tsr_dim_desc {
  const char *name;
  uint32_t source;
  int64_t lo, hi;
} tsr_dim_desc;

typedef enum tsr_buffer_kind {
  TSR_BUFFER_INPUT = 0,
  TSR_BUFFER_OUTPUT = 1,
  TSR_BUFFER_CONSTANT = 2,
  TSR_BUFFER_TEMPORARY = 3, /* lives in the arena from its first to its last use by a launch */
} tsr_buffer_kind;

/* A storage of dense row-major elements. `dims` are `rank` consecutive entries of
 * tsr_program.codes. */
typedef struct tsr_buffer_desc {
  uint32_t kind;
  uint32_t dtype;
  uint32_t rank;
  uint32_t first_dim; /* into tsr_program.codes */
  uint32_t index;     /* input, output or constant number; 0 for temporaries */
} tsr_buffer_desc;

/* Of outputs: `alias` is the number of the input in whose memory it may live, + 1; 0: none. With
 * `keep` its memory must start with that input's contents, which the runtime copies where the two
 * are not one. */
typedef struct tsr_port_desc {
  const char *name;
  uint32_t buffer;
  uint32_t alias, keep;
} tsr_port_desc;

/* Constant data: bytes of one dense tensor. Equal bytes are stored once in the module's weight
 * table. */
typedef struct tsr_constant_desc {
  const void *data;
  uint64_t bytes;
  uint64_t hash; /* content hash, tsr_hash64 of the bytes */
} tsr_constant_desc;

enum { TSR_TILE_CONFIG_BYTES = 64 };

typedef struct tsr_kernel_desc {
  const char *name;              /* unique in the program, for people */
  const char *symbol;            /* CUDA: the function in the kernel's units; "" or NULL elsewhere.
                                    Several kernels may be one function */
  const char *nodes;             /* ONNX node names it computes, comma separated */
  uint64_t entry;                /* offset of the function in a CPU program's image; CUDA: 0 */
  uint64_t scratch_bytes;        /* per thread, 64-byte aligned; CUDA: 0 */
  uint32_t first_dim, dim_count; /* into tsr_program.kernel_dims: the dims passed, in order */
  /* CUDA only, 0 elsewhere: */
  uint32_t threads;              /* of a block */
  uint32_t shared_bytes;         /* dynamic shared memory of a block */
  uint32_t cluster;              /* blocks of a cluster, along x; 0 or 1: none */
  uint32_t cooperative;          /* 1: all blocks are resident at once */
  uint32_t first_map, map_count; /* into tsr_program.maps: tensor maps, parameters behind tasks */
  /* CPU: AMX's tile configuration (LDTILECFG) that the code wants in force; all zero: none. Where
   * the process may not use tiles, the launch's next variant runs. */
  uint8_t tiles[TSR_TILE_CONFIG_BYTES];
} tsr_kernel_desc;

/* A tensor map (CUtensorMap) over the dense buffer of one argument, encoded by the runtime when its
 * pointer or dims change. */
typedef struct tsr_map_desc {
  uint32_t argument;  /* of the kernel: which buffer */
  uint32_t dtype;     /* tsr_dtype of an element as the map sees it */
  uint32_t rank;      /* 1 to 5 */
  uint32_t first_dim; /* into tsr_program.codes: `rank` extents, outermost first; their product is
                         at most the buffer's elements */
  uint32_t swizzle;   /* bytes: 0, 32, 64 or 128 */
  uint32_t box[5];    /* elements, outermost first */
} tsr_map_desc;

/* One variant of a launch: taken when `guard` holds and the device can encode the kernel's tensor
 * maps (no empty extents, rows of whole 16 bytes); the last variant of a launch has no guard, and
 * is taken when no other was. */
typedef struct tsr_variant_desc {
  tsr_code guard;
  uint32_t kernel;
  uint32_t grid_rank;
  tsr_code grid[4]; /* tasks = product; 0 tasks: nothing to do */
} tsr_variant_desc;

typedef struct tsr_launch_desc {
  uint32_t first_variant, variant_count;
  uint32_t first_argument,
      argument_count; /* into tsr_program.arguments: buffer numbers, kernel argument order */
  uint32_t first_zeroed, zeroed_count; /* into tsr_program.arguments: those of them that the runtime
                                          clears before the launch; temporaries and outputs */
} tsr_launch_desc;

/* After a segment the host reads one int64 element of `buffer` into dim `dim`. */
typedef struct tsr_dim_read {
  uint32_t dim, buffer;
  uint64_t element;
} tsr_dim_read;

/* The run ends with `text` and the values of the dims where `holds` is 0; evaluated as soon as its
 * dims are known, before what is launched then. */
typedef struct tsr_check_desc {
  tsr_code holds;
  const char *text;
} tsr_check_desc;

/* The unit of memory planning and graph capture: launches in order, then reads. */
typedef struct tsr_segment_desc {
  uint32_t first_launch, launch_count;
  uint32_t first_read, read_count;
} tsr_segment_desc;

/* --- host programs ---
 *
 * A model with control flow, lists, maybes or texts is a host program and its parts. The host
 * program has ports, dims, constants and the tables below, but no kernels, launches or segments.
 * Parts are ordinary programs, each the unit of memory planning and graph capture, which the host
 * program calls; dims of the same name are the same. */

/* The operations (host_ops.def). */
typedef enum tsr_host_op {
#define TSR_HOST_OP(name, text, min_operands, max_operands, results, regions, numbers, texts)      \
  TSR_HOST_##name,
#include "runtime/host/host_ops.def"
#undef TSR_HOST_OP
  TSR_HOST_OP_COUNT
} tsr_host_op;

typedef enum tsr_host_kind {
  TSR_HOST_TENSOR = 0,
  TSR_HOST_LIST = 1,
  TSR_HOST_MAYBE = 2,     /* a tensor or nothing */
  TSR_HOST_MAYBE_LIST = 3 /* a list or nothing */
} tsr_host_kind;

enum { TSR_HOST_ANY_RANK = UINT32_MAX };

/* What a host value may be: of a list and a maybe, its items, whose extents are not compared when
 * they enter. Values are registers: one per result, region parameter, port and constant. */
typedef struct tsr_host_value {
  uint32_t kind; /* tsr_host_kind */
  uint32_t dtype;
  uint32_t rank;       /* TSR_HOST_ANY_RANK: of items that are only passed on */
  uint32_t first_dim;  /* into tsr_program.codes: `rank` extents */
  uint32_t first_bind; /* into tsr_program.arguments: `rank` entries. d + 1: the extent becomes the
                          value of dim d when this value is made; 0: it must equal its code */
  uint32_t text;       /* 1: i64 numbers of texts */
} tsr_host_value;

typedef struct tsr_host_step {
  uint32_t op;                           /* tsr_host_op */
  uint32_t part;                         /* CALL: number among the host program's parts */
  uint32_t first_operand, operand_count; /* into tsr_program.arguments: values */
  uint32_t first_result, result_count;   /* into tsr_program.arguments: values */
  uint32_t first_region, region_count;   /* into tsr_program.host_regions */
  uint32_t first_number, number_count;   /* into tsr_program.host_numbers */
  uint32_t first_text, text_count;       /* into tsr_program.host_texts */
  tsr_code code;                         /* IF, LOOP: see host_ops.def; else absent */
  const char *nodes;                     /* ONNX node names, comma separated */
} tsr_host_step;

/* Steps run in order. Region 0 is the model: its parameters are the inputs, its yields the outputs,
 * in order of the ports. The steps of a region are consecutive; regions inside it follow it. */
typedef struct tsr_host_region {
  uint32_t first_step, step_count;   /* into tsr_program.host_steps */
  uint32_t first_param, param_count; /* into tsr_program.arguments: values */
  uint32_t first_yield, yield_count; /* into tsr_program.arguments: values */
} tsr_host_region;

/* A constant as a value, there from the start. */
typedef struct tsr_host_constant {
  uint32_t value, constant;
} tsr_host_constant;

typedef struct tsr_program {
  const char *target;    /* "cpu:x86-64-v4", as --target takes it */
  uint64_t cpu_features; /* TSR_CPU_* bits (runtime/cpu_features.h) that the code needs */
  const char *precision;
  const char *producer; /* version and commit */
  const void *image;    /* CPU: position-independent code without relocations and undefined symbols;
                           CUDA: the units of runtime/cuda/image.h */
  uint64_t image_bytes;
  const tsr_index_step *steps;
  uint32_t step_count;
  const tsr_code *codes;
  uint32_t code_count;
  const tsr_dim_desc *dims;
  uint32_t dim_count;
  const tsr_buffer_desc *buffers;
  uint32_t buffer_count;
  const tsr_port_desc *inputs;
  uint32_t input_count;
  const tsr_port_desc *outputs;
  uint32_t output_count;
  const tsr_constant_desc *constants;
  uint32_t constant_count;
  const tsr_kernel_desc *kernels;
  uint32_t kernel_count;
  const uint32_t *kernel_dims;
  uint32_t kernel_dim_count;
  const tsr_map_desc *maps;
  uint32_t map_count;
  const tsr_variant_desc *variants;
  uint32_t variant_count;
  const tsr_launch_desc *launches;
  uint32_t launch_count;
  const uint32_t *arguments;
  uint32_t argument_count;
  const tsr_segment_desc *segments;
  uint32_t segment_count;
  const tsr_dim_read *reads;
  uint32_t read_count;
  const tsr_check_desc *checks;
  uint32_t check_count;
  /* Of host programs, else empty. host_region_count > 0 says that it is one. Ports of tensors name
   * buffers of kind INPUT or OUTPUT, as elsewhere; `buffer` of lists and maybes is not looked at.
   */
  const tsr_host_value *host_values;
  uint32_t host_value_count;
  const tsr_host_step *host_steps;
  uint32_t host_step_count;
  const tsr_host_region *host_regions;
  uint32_t host_region_count;
  const tsr_host_constant *host_constants;
  uint32_t host_constant_count;
  const int64_t *host_numbers;
  uint32_t host_number_count;
  const char *const *host_texts; /* of steps */
  uint32_t host_text_count;
  const char *const *texts; /* the first texts of the exec's table; none: "" alone */
  uint32_t text_count;
  const struct tsr_program
      *parts; /* of a host program: the programs it calls, for the same target */
  uint32_t part_count;
} tsr_program;

/* The CPU kernel interface; see runtime/README.md. */
typedef void (*tsr_cpu_kernel)(void *const *buffers, const int64_t *dims, int64_t task_begin,
                               int64_t task_end, void *scratch);

#endif
