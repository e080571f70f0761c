/* The bytes of a .tsm file. Little-endian; offsets count from the start of the file; every reserved
 * or padding byte is zero.
 *
 *   0                 +------------------------------------------------+
 *                     | tsm_header                                     |
 *   programs_offset   | tsm_program [program_count]                    |  "meta": covered by
 *                     | tables of program 0, each 8-byte aligned       |  header.meta_checksum
 *                     | tables of program 1 ...                        |  from byte 32 on
 *   weights_offset    | tsm_weight [weight_count]                      |
 *   strings_offset    | strings, each ended by a zero byte             |
 *   meta_bytes        +------------------------------------------------+
 *                     | zeros up to a page                             |
 *   image_offset      | image of program 0, zeros up to a page         |  program.image_checksum
 *                     | image of program 1, ...                        |
 *   weight_data_offset+------------------------------------------------+
 *                     | weight 0, zeros up to 64 bytes                 |  weight.hash, compared
 *                     | weight 1, ...                                  |  on request
 *   total_bytes       +------------------------------------------------+
 *
 * Programs are what can be chosen, each followed by the parts that it calls, if it is a host
 * program (tsm_program.part_count). A weight is stored once however many programs and constants use
 * it. Images start at a page, so
 * that code of the CPU can be mapped executable from the file; weights start at 64 bytes, so that
 * kernels may use aligned loads. */
#ifndef TSR_RUNTIME_MODULE_FORMAT_H
#define TSR_RUNTIME_MODULE_FORMAT_H
#include "runtime/program.h"
#include <tessera/version.h>

enum { TSM_PAGE = 4096, TSM_WEIGHT_ALIGNMENT = 64, TSM_MAGIC_BYTES = 8, TSM_CHECKED_FROM = 32 };

/* Not text, survives no line-end conversion. */
#define TSM_MAGIC "\x93TSM\r\n\x1a\n"

typedef struct tsm_header {
  char magic[TSM_MAGIC_BYTES];
  uint32_t version; /* TSR_MODULE_FORMAT_VERSION */
  uint32_t reserved;
  uint64_t total_bytes;
  uint64_t meta_checksum; /* tsr_hash64 of the bytes [TSM_CHECKED_FROM, meta_bytes) */
  uint64_t meta_bytes;
  uint32_t program_count;
  uint32_t weight_count;
  uint64_t programs_offset;
  uint64_t weights_offset;
  uint64_t strings_offset;
  uint64_t strings_bytes;
  uint64_t weight_data_offset;
  uint64_t reserved_2[5];
} tsm_header;

/* `count` records of the table's type at `offset`. */
typedef struct tsm_table {
  uint64_t offset;
  uint32_t count;
  uint32_t reserved;
} tsm_table;

/* X(field of tsm_program and tsr_program, count field of tsr_program, record in the file). Records
 * named tsr_ are the same in memory. */
#define TSM_TABLE_LIST(X)                                                                          \
  X(steps, step_count, tsr_index_step)                                                             \
  X(codes, code_count, tsr_code)                                                                   \
  X(dims, dim_count, tsm_dim)                                                                      \
  X(buffers, buffer_count, tsr_buffer_desc)                                                        \
  X(inputs, input_count, tsm_port)                                                                 \
  X(outputs, output_count, tsm_port)                                                               \
  X(constants, constant_count, tsm_constant)                                                       \
  X(kernels, kernel_count, tsm_kernel)                                                             \
  X(kernel_dims, kernel_dim_count, uint32_t)                                                       \
  X(maps, map_count, tsr_map_desc)                                                                 \
  X(variants, variant_count, tsr_variant_desc)                                                     \
  X(launches, launch_count, tsr_launch_desc)                                                       \
  X(arguments, argument_count, uint32_t)                                                           \
  X(segments, segment_count, tsr_segment_desc)                                                     \
  X(reads, read_count, tsr_dim_read)                                                               \
  X(host_values, host_value_count, tsr_host_value)                                                 \
  X(host_steps, host_step_count, tsm_host_step)                                                    \
  X(host_regions, host_region_count, tsr_host_region)                                              \
  X(host_constants, host_constant_count, tsr_host_constant)                                        \
  X(host_numbers, host_number_count, int64_t)                                                      \
  X(host_texts, host_text_count, tsm_text)                                                         \
  X(texts, text_count, tsm_text)                                                                   \
  X(checks, check_count, tsm_check)

/* Strings are offsets from strings_offset. The parts of a host program are the records that follow
 * it; they have none themselves. */
typedef struct tsm_program {
  uint32_t target, precision, producer, part_count;
  uint64_t cpu_features;
  uint64_t image_offset, image_bytes;
  uint64_t image_checksum; /* of the image and the zeros up to the page's end */
#define TSM_TABLE_FIELD(name, count, type) tsm_table name;
  TSM_TABLE_LIST(TSM_TABLE_FIELD)
#undef TSM_TABLE_FIELD
} tsm_program;

typedef struct tsm_dim {
  uint32_t name, source;
  int64_t lo, hi;
} tsm_dim;

typedef struct tsm_port {
  uint32_t name, buffer, alias, keep;
} tsm_port;

typedef struct tsm_constant {
  uint32_t weight;
} tsm_constant;

typedef struct tsm_kernel {
  uint32_t name, nodes, symbol, reserved;
  uint64_t entry, scratch_bytes;
  uint32_t first_dim, dim_count;
  uint32_t threads, shared_bytes, cluster, cooperative;
  uint32_t first_map, map_count;
  uint8_t tiles[64];
} tsm_kernel;

typedef struct tsm_text {
  uint32_t text;
} tsm_text;

/* tsr_host_step. */
typedef struct tsm_host_step {
  uint32_t op, part;
  uint32_t first_operand, operand_count;
  uint32_t first_result, result_count;
  uint32_t first_region, region_count;
  uint32_t first_number, number_count;
  uint32_t first_text, text_count;
  tsr_code code;
  uint32_t nodes, reserved;
} tsm_host_step;

typedef struct tsm_check {
  tsr_code holds;
  uint32_t text, reserved;
} tsm_check;

typedef struct tsm_weight {
  uint64_t offset, bytes;
  uint64_t hash; /* tsr_hash64 of the bytes */
} tsm_weight;

_Static_assert(sizeof(tsm_header) == 128, "file layout");
_Static_assert(sizeof(tsm_program) == 48 + 23 * sizeof(tsm_table), "file layout");
_Static_assert(sizeof(tsm_table) == 16 && sizeof(tsm_dim) == 24, "file layout");
_Static_assert(sizeof(tsm_port) == 16 && sizeof(tsm_constant) == 4, "file layout");
_Static_assert(sizeof(tsm_check) == 16, "file layout");
_Static_assert(sizeof(tsm_kernel) == 128 && sizeof(tsm_weight) == 24, "file layout");
_Static_assert(sizeof(tsr_index_step) == 16 && sizeof(tsr_code) == 8, "file layout");
_Static_assert(sizeof(tsr_buffer_desc) == 20 && sizeof(tsr_variant_desc) == 48, "file layout");
_Static_assert(sizeof(tsr_launch_desc) == 24 && sizeof(tsr_dim_read) == 16, "file layout");
_Static_assert(sizeof(tsr_segment_desc) == 16 && sizeof(tsr_map_desc) == 40, "file layout");
_Static_assert(sizeof(tsr_host_value) == 24 && sizeof(tsm_host_step) == 64, "file layout");
_Static_assert(sizeof(tsr_host_region) == 24 && sizeof(tsr_host_constant) == 8, "file layout");

#endif
