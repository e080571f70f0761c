#include "runtime/cpu_features.h"
#include "runtime/module/format.h"
#include "runtime/module/module.h"
#include "runtime/module/program_check.h"
#include "runtime/module/writer.h"
#include "tests/runtime/cuda_programs.h"
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A module in memory, aligned to 64. */
typedef struct image {
  unsigned char *bytes;
  size_t size;
} image;

static image write_programs(const tsr_program *const *programs, uint32_t count) {
  image out;
  tsr_diag diag;
  void *data;
  tsr_diag_clear(&diag);
  ck_assert_msg(tsr_module_write_memory(programs, count, NULL, &data, &out.size, &diag) == TSR_OK,
                "%s", diag.message);
  out.bytes = (unsigned char *)data;
  return out;
}

static image write_two(void) {
  tsr_program chain = test_chain_program(), filter = test_filter_program();
  const tsr_program *programs[] = {&chain, &filter};
  return write_programs(programs, 2);
}

static image write_one(const tsr_program *program) {
  return write_programs(&program, 1);
}

static tsr_status load(const image *from, uint32_t flags, tsr_module **out_module,
                       tsr_message *out_message) {
  tsr_module_options options = {.size = sizeof options, .flags = flags};
  return tsr_module_load_memory(from->bytes, from->size, &options, out_module, out_message);
}

/* Loads what must not load, and returns the status. */
static tsr_status refusal(const image *from) {
  tsr_module *module = NULL;
  tsr_message message;
  tsr_status status = load(from, TSR_MODULE_BORROW | TSR_MODULE_VERIFY_WEIGHTS, &module, &message);
  if (status != TSR_OK) {
    ck_assert_ptr_null(module);
    ck_assert_uint_ne(strlen(message.text), 0);
  }
  tsr_module_release(module);
  return status;
}

static void temporary_path(char *out, size_t size, const char *name) {
  const char *folder = getenv("TESSERA_TEST_TMP");
  (void)snprintf(out, size, "%s/%ld-%s", folder != NULL ? folder : "/tmp", (long)getpid(), name);
}

START_TEST(round_trip) {
  image two = write_two();
  tsr_module *module;
  tsr_module_info info;
  tsr_port_info port;
  tsr_dim_info dim;
  tsr_kernel_info kernel;
  tsr_target_info target;
  tsr_message message;
  uint32_t index;
  ck_assert_msg(load(&two, TSR_MODULE_VERIFY_WEIGHTS, &module, &message) == TSR_OK, "%s",
                message.text);
  free(two.bytes);
  tsr_module_get_info(module, &info);
  ck_assert_str_eq(info.target, "cpu:x86-64");
  ck_assert_str_eq(info.precision, "f32");
  ck_assert_str_eq(info.producer, "test");
  ck_assert_uint_eq(info.target_count, 2);
  ck_assert_uint_eq(info.launch_count, 5);
  ck_assert_uint_eq(info.kernel_count, KERNELS);
  ck_assert_uint_eq(info.weight_bytes, sizeof test_weight);
  ck_assert_int_eq(tsr_module_get_input(module, 0, &port), TSR_OK);
  ck_assert_str_eq(port.name, "x");
  ck_assert_int_eq(port.dtype, TSR_I32);
  ck_assert_uint_eq(port.rank, 1);
  ck_assert_int_eq(port.dims[0], -1);
  ck_assert_str_eq(port.dim_texts[0], "N");
  ck_assert_int_eq(tsr_module_get_output(module, 1, &port), TSR_OK);
  ck_assert_int_eq(port.dims[0], 4);
  ck_assert_str_eq(port.dim_texts[0], "4");
  ck_assert_int_eq(tsr_module_get_input(module, 1, &port), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_get_dim(module, 0, &dim), TSR_OK);
  ck_assert_str_eq(dim.name, "N");
  ck_assert_int_eq(dim.hi, 1 << 20);
  ck_assert_int_eq(dim.from_results, 0);
  ck_assert_int_eq(tsr_module_get_kernel(module, ADD_HUNDRED, &kernel), TSR_OK);
  ck_assert_str_eq(kernel.nodes, "Add \"quoted\"");
  ck_assert_int_eq(tsr_module_get_target(module, 1, &target), TSR_OK);
  ck_assert_int_eq(target.selected, 0);
  ck_assert_int_eq(tsr_module_get_target(module, 2, &target), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_find_output(module, "z", &index), TSR_OK);
  ck_assert_uint_eq(index, 1);
  ck_assert_int_eq(tsr_module_find_input(module, "nope", &index), TSR_ERR_NOT_FOUND);
  ck_assert_int_eq(tsr_module_verify_weights(module), TSR_OK);
  ck_assert_uint_eq((uintptr_t)tsr_module_program(module)->constants[0].data % 64, 0);
  ck_assert_mem_eq(tsr_module_program(module)->constants[1].data, test_weight, sizeof test_weight);
  tsr_module_release(module);
}
END_TEST

START_TEST(formulas_are_spelled_out) {
  tsr_program filter = test_filter_program();
  image one = write_one(&filter);
  tsr_module *module;
  tsr_port_info port;
  ck_assert_int_eq(load(&one, 0, &module, NULL), TSR_OK);
  ck_assert_int_eq(tsr_module_get_input(module, 1, &port), TSR_OK);
  ck_assert_str_eq(port.dim_texts[0], "2 * N");
  tsr_module_release(module);
  free(one.bytes);
}
END_TEST

/* Equal weights of both constants and of both programs are one entry. */
START_TEST(weights_are_shared) {
  tsr_program chain = test_chain_program(), other = test_chain_program();
  const tsr_program *programs[] = {&chain, &other};
  image two = write_programs(programs, 2);
  tsm_header header;
  memcpy(&header, two.bytes, sizeof header);
  ck_assert_uint_eq(header.weight_count, 1);
  ck_assert_uint_eq(header.program_count, 2);
  free(two.bytes);
}
END_TEST

START_TEST(writing_is_deterministic) {
  image a = write_two(), b = write_two();
  ck_assert_uint_eq(a.size, b.size);
  ck_assert_mem_eq(a.bytes, b.bytes, a.size);
  free(a.bytes);
  free(b.bytes);
}
END_TEST

START_TEST(every_flipped_byte_is_found) {
  tsr_program chain = test_chain_program();
  image one = write_one(&chain);
  for (size_t i = 0; i < one.size; i++) {
    tsr_status status;
    one.bytes[i] ^= (unsigned char)(1u << i % 8);
    status = refusal(&one);
    if (i < 8)
      ck_assert_int_eq(status, TSR_ERR_FORMAT);
    else if (i < 12)
      ck_assert_int_eq(status, TSR_ERR_VERSION);
    else if (i >= TSM_CHECKED_FROM + 16)
      ck_assert_int_eq(status, TSR_ERR_CHECKSUM);
    ck_assert_int_ne(status, TSR_OK);
    one.bytes[i] ^= (unsigned char)(1u << i % 8);
  }
  ck_assert_int_eq(refusal(&one), TSR_OK);
  free(one.bytes);
}
END_TEST

START_TEST(every_truncation_is_found) {
  image two = write_two();
  size_t size = two.size;
  for (two.size = 0; two.size < size; two.size++)
    ck_assert_int_eq(refusal(&two), TSR_ERR_FORMAT);
  free(two.bytes);
}
END_TEST

/* The header's size is right, but the sections end before it. */
START_TEST(appended_bytes_are_refused) {
  tsr_program chain = test_chain_program();
  image one = write_one(&chain), longer;
  uint64_t size = one.size + 64;
  longer.size = size;
  longer.bytes = (unsigned char *)aligned_alloc(64, (size + 63) / 64 * 64);
  ck_assert_ptr_nonnull(longer.bytes);
  memset(longer.bytes, 0, size);
  memcpy(longer.bytes, one.bytes, one.size);
  memcpy(longer.bytes + offsetof(tsm_header, total_bytes), &size, sizeof size);
  ck_assert_int_eq(refusal(&longer), TSR_ERR_FORMAT);
  free(longer.bytes);
  free(one.bytes);
}
END_TEST

START_TEST(damaged_weights_load_unless_checked) {
  tsr_program chain = test_chain_program();
  image one = write_one(&chain);
  tsr_module *module;
  one.bytes[one.size - 60] ^= 1;
  ck_assert_int_eq(load(&one, 0, &module, NULL), TSR_OK);
  ck_assert_int_eq(tsr_module_verify_weights(module), TSR_ERR_CHECKSUM);
  tsr_module_release(module);
  ck_assert_int_eq(load(&one, TSR_MODULE_VERIFY_WEIGHTS, &module, NULL), TSR_ERR_CHECKSUM);
  free(one.bytes);
}
END_TEST

/* Random words anywhere in the tables, with the checksum made right again: any status, no crash,
 * and what loads is consistent. */
START_TEST(hostile_tables_are_refused) {
  image two = write_two();
  unsigned char *good = (unsigned char *)malloc(two.size);
  uint64_t random = 99;
  int refused = 0;
  tsm_header header;
  memcpy(good, two.bytes, two.size);
  memcpy(&header, good, sizeof header);
  for (int round = 0; round < 40000; round++) {
    static const uint32_t words[] = {0, 1, 2, 5, 0x7fffffff, 0x80000000u, 0xffffffffu, 0xfffffff8u};
    size_t at;
    random = random * 6364136223846793005u + 1442695040888963407u;
    at = TSM_CHECKED_FROM + (random >> 20) % (header.meta_bytes - TSM_CHECKED_FROM - 4) / 4 * 4;
    memcpy(two.bytes + at, &words[(random >> 58) % 8], 4);
    header.meta_checksum =
        tsr_hash64(two.bytes + TSM_CHECKED_FROM, header.meta_bytes - TSM_CHECKED_FROM);
    memcpy(two.bytes + offsetof(tsm_header, meta_checksum), &header.meta_checksum, 8);
    refused += refusal(&two) != TSR_OK;
    if (round % 3 == 2)
      memcpy(two.bytes, good, two.size);
  }
  ck_assert_int_gt(refused, 10000);
  free(good);
  free(two.bytes);
}
END_TEST

/* The status after 8 or 4 bytes of the tables are replaced and the checksum is made right. */
static tsr_status refusal_with(size_t at, uint64_t value, size_t size) {
  tsr_program chain = test_chain_program();
  image one = write_one(&chain);
  tsm_header header;
  tsr_status status;
  memcpy(one.bytes + at, &value, size);
  memcpy(&header, one.bytes, sizeof header);
  header.meta_checksum =
      tsr_hash64(one.bytes + TSM_CHECKED_FROM, header.meta_bytes - TSM_CHECKED_FROM);
  memcpy(one.bytes, &header, sizeof header);
  status = refusal(&one);
  free(one.bytes);
  return status;
}

START_TEST(references_out_of_range_are_refused) {
  static const uint64_t wild[] = {4, 1 << 20, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
  static const size_t offsets[] = {
      offsetof(tsm_header, programs_offset), offsetof(tsm_header, weights_offset),
      offsetof(tsm_header, strings_offset), offsetof(tsm_header, strings_bytes),
      offsetof(tsm_header, weight_data_offset)};
  tsr_program chain = test_chain_program();
  image one = write_one(&chain);
  tsm_header header;
  size_t program = sizeof header;
  memcpy(&header, one.bytes, sizeof header);
  free(one.bytes);
  for (size_t i = 0; i < TEST_LENGTH(offsets); i++)
    for (size_t w = 0; w < TEST_LENGTH(wild); w++)
      if (w == 0) /* within the file: names become other text */
        ck_assert_int_ne(refusal_with(offsets[i], wild[w], 8), TSR_OK);
      else
        ck_assert_int_eq(refusal_with(offsets[i], wild[w], 8), TSR_ERR_FORMAT);
  ck_assert_int_eq(refusal_with(offsetof(tsm_header, strings_bytes), header.strings_bytes - 1, 8),
                   TSR_ERR_FORMAT);
  ck_assert_int_eq(refusal_with(offsetof(tsm_header, program_count), 0, 4), TSR_ERR_FORMAT);
  ck_assert_int_eq(refusal_with(offsetof(tsm_header, program_count), 1000, 4), TSR_ERR_FORMAT);
  ck_assert_int_eq(refusal_with(offsetof(tsm_header, weight_count), 1000, 4), TSR_ERR_FORMAT);
  ck_assert_int_eq(refusal_with(program + offsetof(tsm_program, target), header.strings_bytes, 4),
                   TSR_ERR_FORMAT);
#define WILD_TABLE(name, count_name, type)                                                         \
  for (size_t w = 1; w < TEST_LENGTH(wild); w++) {                                                 \
    size_t at = program + offsetof(tsm_program, name);                                             \
    ck_assert_int_eq(refusal_with(at, wild[w], 8), TSR_ERR_FORMAT);                                \
    ck_assert_int_eq(refusal_with(at, wild[w] & ~(uint64_t)7, 8), TSR_ERR_FORMAT);                 \
    ck_assert_int_eq(refusal_with(at + 8, wild[w], 4), TSR_ERR_FORMAT);                            \
    ck_assert_int_eq(refusal_with(at + 8, header.meta_bytes / sizeof(type), 4), TSR_ERR_FORMAT);   \
  }
  TSM_TABLE_LIST(WILD_TABLE)
#undef WILD_TABLE
}
END_TEST

/* Each row breaks one rule of tsr_program_check. */
static void expect_bad(tsr_program *program, const char *words) {
  tsr_diag diag;
  tsr_arena arena;
  void *data;
  size_t size;
  const tsr_program *programs = program;
  tsr_diag_clear(&diag);
  tsr_arena_init(&arena, tsr_allocator_default());
  ck_assert_int_eq(tsr_program_check(program, &arena, &diag), TSR_ERR_FORMAT);
  ck_assert_msg(strstr(diag.message, words) != NULL, "'%s' lacks '%s'", diag.message, words);
  ck_assert_int_eq(tsr_module_write_memory(&programs, 1, NULL, &data, &size, NULL), TSR_ERR_FORMAT);
  tsr_arena_reset(&arena);
}

#define BREAK(type, table, count, index, change, words)                                            \
  do {                                                                                             \
    tsr_program broken = test_filter_program();                                                    \
    type records[16];                                                                              \
    memcpy(records, broken.table, sizeof(type) * broken.count);                                    \
    broken.table = records;                                                                        \
    records[index].change;                                                                         \
    expect_bad(&broken, words);                                                                    \
  } while (0)

START_TEST(each_rule_is_checked) {
  static const uint32_t wild[] = {0, 2, 0, 99, 2, 4, 4, 5};
  tsr_program p;
  BREAK(tsr_code, codes, code_count, 0, count = 0, "expression");
  BREAK(tsr_code, codes, code_count, 2, count = 2, "expression");
  BREAK(tsr_code, codes, code_count, 2, count = 2000, "expression");
  BREAK(tsr_code, codes, code_count, 0, first = UINT32_MAX, "expression");
  BREAK(tsr_index_step, steps, step_count, 0, operand = 2, "expression");
  BREAK(tsr_index_step, steps, step_count, 4, op = TSR_INDEX_VALUE, "expression");
  BREAK(tsr_dim_desc, dims, dim_count, 0, name = NULL, "no name");
  BREAK(tsr_dim_desc, dims, dim_count, 0, source = 2, "source");
  BREAK(tsr_dim_desc, dims, dim_count, 0, lo = -1, "range");
  BREAK(tsr_dim_desc, dims, dim_count, 1, hi = -1, "range");
  BREAK(tsr_dim_desc, dims, dim_count, 1, source = TSR_DIM_FROM_INPUT, "wrong dim");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 2, kind = 4, "kind");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 2, dtype = 0, "dtype");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 2, dtype = TSR_DTYPE_COUNT, "dtype");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 2, rank = 17, "dims are out of range");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 2, first_dim = 3, "dims are out of range");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 0, index = 1, "wrong input");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 2, kind = TSR_BUFFER_CONSTANT,
        "wrong input, output or constant");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 0, first_dim = 1, "bound by no input");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 1, first_dim = 1,
        "input's shape depends on results");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 2, first_dim = 1, "buffer before its size");
  BREAK(tsr_buffer_desc, buffers, buffer_count, 3, dtype = TSR_I32, "wrong buffer");
  BREAK(tsr_port_desc, inputs, input_count, 1, buffer = 0, "wrong input");
  BREAK(tsr_port_desc, inputs, input_count, 1, name = NULL, "no name");
  BREAK(tsr_port_desc, outputs, output_count, 0, buffer = 77, "wrong");
  BREAK(tsr_port_desc, outputs, output_count, 0, alias = 77, "no input's memory");
  BREAK(tsr_port_desc, outputs, output_count, 0, keep = 1, "no input's memory");
  BREAK(tsr_kernel_desc, kernels, kernel_count, 0, entry = sizeof test_image, "outside the code");
  BREAK(tsr_kernel_desc, kernels, kernel_count, 0, scratch_bytes = UINT64_MAX, "scratch");
  BREAK(tsr_kernel_desc, kernels, kernel_count, 0, tiles[0] = 2, "tile configuration");
  BREAK(tsr_kernel_desc, kernels, kernel_count, 0, tiles[48] = 16, "tile configuration");
  BREAK(tsr_kernel_desc, kernels, kernel_count, 0, dim_count = 2, "kernel's dims");
  BREAK(tsr_kernel_desc, kernels, kernel_count, 0, name = NULL, "no name");
  BREAK(tsr_variant_desc, variants, variant_count, 0, kernel = KERNELS, "kernel does not exist");
  BREAK(tsr_variant_desc, variants, variant_count, 0, grid_rank = 5, "too many dims");
  BREAK(tsr_variant_desc, variants, variant_count, 0, grid[0].count = 0, "grid is not valid");
  BREAK(tsr_variant_desc, variants, variant_count, 0, guard.count = 1, "last variant has a guard");
  BREAK(tsr_variant_desc, variants, variant_count, 0, grid[0].first = 1, "dim before it is known");
  BREAK(tsr_launch_desc, launches, launch_count, 0, variant_count = 0, "variants are out of range");
  BREAK(tsr_launch_desc, launches, launch_count, 3, first_variant = 4, "variants are out of range");
  BREAK(tsr_launch_desc, launches, launch_count, 3, argument_count = 3,
        "arguments are out of range");
  BREAK(tsr_segment_desc, segments, segment_count, 1, first_launch = 1, "follow each other");
  BREAK(tsr_segment_desc, segments, segment_count, 0, launch_count = 1, "follow each other");
  BREAK(tsr_segment_desc, segments, segment_count, 1, launch_count = 1, "in no segment");
  BREAK(tsr_segment_desc, segments, segment_count, 0, read_count = 2, "follow each other");
  BREAK(tsr_dim_read, reads, read_count, 0, dim = 0, "wrong dim");
  BREAK(tsr_dim_read, reads, read_count, 0, buffer = 99, "wrong buffer");
  p = test_filter_program();
  p.arguments = wild;
  expect_bad(&p, "argument's buffer");
  p = test_filter_program();
  p.target = NULL;
  expect_bad(&p, "missing");
}
END_TEST

/* Likewise for what only programs for CUDA have. */
#define BREAK_CUDA(type, table, count, index, change, words)                                       \
  do {                                                                                             \
    tsr_program broken = cuda;                                                                     \
    type records[16];                                                                              \
    memcpy(records, broken.table, sizeof(type) * broken.count);                                    \
    broken.table = records;                                                                        \
    records[index].change;                                                                         \
    expect_bad(&broken, words);                                                                    \
  } while (0)

START_TEST(each_rule_for_cuda_is_checked) {
  static const uint32_t foreign[] = {0, 1, 2, 0};
  tsr_arena arena;
  tsr_program cuda, p;
  tsr_arena_init(&arena, tsr_allocator_default());
  cuda = test_cuda_program(&arena, "cuda:sm_90a");
  ck_assert_ptr_nonnull(cuda.image);
  ck_assert_int_eq(tsr_program_check(&cuda, &arena, NULL), TSR_OK);
#define KERNEL(change, words) BREAK_CUDA(tsr_kernel_desc, kernels, kernel_count, 0, change, words)
  KERNEL(threads = 0, "threads");
  KERNEL(threads = 1025, "threads");
  KERNEL(shared_bytes = UINT32_MAX, "shared memory");
  KERNEL(cluster = 17, "cluster");
  KERNEL(cooperative = 2, "cooperative");
  KERNEL(entry = 16, "fields of a kernel for a CPU");
  KERNEL(scratch_bytes = 16, "fields of a kernel for a CPU");
  KERNEL(tiles[0] = 1, "fields of a kernel for a CPU");
  KERNEL(symbol = "", "no symbol");
  KERNEL(symbol = NULL, "no symbol");
  KERNEL(map_count = 2, "tensor maps are out of range");
  KERNEL(first_map = UINT32_MAX, "tensor maps are out of range");
#define MAP(change, words) BREAK_CUDA(tsr_map_desc, maps, map_count, 0, change, words)
  MAP(argument = 3, "argument does not exist");
  MAP(dtype = TSR_DTYPE_COUNT, "dtype");
  MAP(dtype = TSR_U4, "dtype");
  MAP(rank = 0, "dims are out of range");
  MAP(rank = 6, "dims are out of range");
  MAP(first_dim = 1, "dims are out of range");
  MAP(swizzle = 16, "swizzle");
  MAP(swizzle = 64, "longer than the swizzle");
  MAP(box[0] = 0, "box");
  MAP(box[0] = 257, "box");
  MAP(box[2] = 1, "box");
  MAP(box[1] = 3, "multiple of 16 bytes");
#define LAUNCH(change, words) BREAK_CUDA(tsr_launch_desc, launches, launch_count, 0, change, words)
  LAUNCH(zeroed_count = 2, "cleared buffers are out of range");
  LAUNCH(first_zeroed = 5, "cleared buffers are out of range");
  LAUNCH(first_zeroed = 0, "clears a buffer that is no result");
  LAUNCH(argument_count = 2, "clears a buffer that is no result");
  p = cuda;
  p.arguments = foreign;
  expect_bad(&p, "clears a buffer that is no result");
  p = cuda;
  p.target = "cpu:x86-64";
  expect_bad(&p, "a program for a CPU has tensor maps");
  p.map_count = 0;
  expect_bad(&p, "fields of a CUDA kernel");
  p = cuda;
  p.kernel_count = 1;
  expect_bad(&p, "order of kernels");
  p = cuda;
  p.image_bytes--;
  expect_bad(&p, "bytes are out of range");
  p.image_bytes = 0;
  expect_bad(&p, "no header");
  tsr_arena_reset(&arena);
}
END_TEST

/* Any byte of header and unit table replaced: refused or harmless, and never a read outside. */
START_TEST(images_are_checked_completely) {
  tsr_arena arena;
  tsr_program cuda;
  const tsr_cuda_unit *units;
  uint32_t count, table;
  unsigned char *copy;
  static const unsigned char values[] = {0, 1, 2, 15, 16, 0x7f, 0x80, 0xff};
  int refused = 0;
  tsr_arena_init(&arena, tsr_allocator_default());
  cuda = test_cuda_program(&arena, "cuda:sm_90a");
  ck_assert_int_eq(tsr_cuda_image_read(cuda.image, cuda.image_bytes, 2, NULL, &units, &count),
                   TSR_OK);
  ck_assert_uint_eq(count, 4);
  for (uint32_t i = 0; i < count; i++) { /* the order given within a kernel */
    ck_assert_uint_eq(units[i].kernel, i / 2);
    ck_assert_uint_eq(units[i].kind, i == 0 || i == 3 ? TSR_CUDA_UNIT_CUBIN : TSR_CUDA_UNIT_PTX);
    ck_assert_uint_eq(units[i].offset % 16, 0);
  }
  ck_assert_uint_eq(units[0].offset, units[3].offset); /* equal bytes */
  ck_assert_uint_ne(units[1].offset, units[2].offset);
  table = (uint32_t)(sizeof(tsr_cuda_image_header) + count * sizeof(tsr_cuda_unit));
  copy = (unsigned char *)malloc(cuda.image_bytes);
  for (uint32_t i = 0; i < table; i++)
    for (size_t v = 0; v < sizeof values; v++) {
      memcpy(copy, cuda.image, cuda.image_bytes);
      copy[i] = values[v];
      refused += tsr_cuda_image_read(copy, cuda.image_bytes, 2, NULL, &units, &count) != TSR_OK;
    }
  ck_assert_int_gt(refused, 600);
  for (uint64_t size = 0; size < cuda.image_bytes; size++) {
    unsigned char *shorter = (unsigned char *)malloc(size + 1);
    memcpy(shorter, cuda.image, size);
    ck_assert_int_eq(tsr_cuda_image_read(shorter, size, 2, NULL, &units, &count), TSR_ERR_FORMAT);
    free(shorter);
  }
  ck_assert_int_eq(tsr_cuda_image_read(NULL, 0, 0, NULL, &units, &count), TSR_OK);
  ck_assert_int_eq(tsr_cuda_image_read(cuda.image, cuda.image_bytes, 3, NULL, &units, &count),
                   TSR_ERR_FORMAT);
  free(copy);
  tsr_arena_reset(&arena);
}
END_TEST

/* Written, read and described again; without a driver. */
START_TEST(cuda_programs_survive_the_file) {
  tsr_arena arena;
  tsr_program cuda, filter = test_filter_program();
  const tsr_program *programs[] = {&cuda, &filter}, *read;
  tsr_module_options options = {
      .size = sizeof options, .target = "cuda:sm_90a", .flags = TSR_MODULE_DESCRIBE};
  tsr_kernel_info kernel;
  tsr_module *module;
  image both;
  tsr_arena_init(&arena, tsr_allocator_default());
  cuda = test_cuda_program(&arena, "cuda:sm_90a");
  both = write_programs(programs, 2);
  ck_assert_int_eq(tsr_module_load_memory(both.bytes, both.size, &options, &module, NULL), TSR_OK);
  read = tsr_module_program(module);
  ck_assert_ptr_null(module->code); /* data, not to be executed */
  ck_assert_uint_eq(read->image_bytes, cuda.image_bytes);
  ck_assert_mem_eq(read->image, cuda.image, cuda.image_bytes);
  ck_assert_uint_eq(read->map_count, 1);
  ck_assert_mem_eq(read->maps, cuda.maps, sizeof *cuda.maps);
  ck_assert_mem_eq(read->launches, cuda.launches, sizeof *cuda.launches);
  ck_assert_int_eq(tsr_module_get_kernel(module, 0, &kernel), TSR_OK);
  ck_assert_str_eq(kernel.symbol, "k0");
  ck_assert_uint_eq(kernel.threads, 128);
  ck_assert_uint_eq(kernel.shared_bytes, 4096);
  ck_assert_uint_eq(kernel.cluster, 2);
  tsr_module_release(module);
  free(both.bytes);
  tsr_arena_reset(&arena);
}
END_TEST

START_TEST(constants_must_fit_their_shape) {
  static const tsr_constant_desc constants[] = {{test_weight, sizeof test_weight, 0},
                                                {test_same_weight, 12, 0}};
  tsr_program p = test_chain_program();
  p.constants = constants;
  expect_bad(&p, "bytes do not fit");
}
END_TEST

START_TEST(selection_names_missing_features) {
  tsr_program needy = test_chain_program(), plain = test_filter_program();
  const tsr_program *programs[] = {&needy, &plain};
  tsr_module_options options = {.size = sizeof options, .target = "cpu:future"};
  tsr_module_info info;
  tsr_module *module;
  tsr_message message;
  image two;
  needy.target = "cpu:future";
  needy.cpu_features = (uint64_t)1 << 63 | TSR_CPU_MASK(SSE3);
  two = write_programs(programs, 2);
  ck_assert_int_eq(load(&two, 0, &module, NULL), TSR_OK);
  tsr_module_get_info(module, &info);
  ck_assert_str_eq(info.target, "cpu:x86-64");
  tsr_module_release(module);
  ck_assert_int_eq(tsr_module_load_memory(two.bytes, two.size, &options, &module, &message),
                   TSR_ERR_DEVICE);
  ck_assert_ptr_nonnull(strstr(message.text, "feature 63"));
  ck_assert_ptr_nonnull(strstr(message.text, "cpu:future"));
  options.target = "cpu:other";
  ck_assert_int_eq(tsr_module_load_memory(two.bytes, two.size, &options, &module, &message),
                   TSR_ERR_NOT_FOUND);
  ck_assert_ptr_nonnull(strstr(message.text, "cpu:other"));
  free(two.bytes);
  plain.target = "vulkan:any";
  two = write_programs(programs, 2);
  ck_assert_int_eq(load(&two, 0, &module, &message), TSR_ERR_DEVICE);
  ck_assert_ptr_nonnull(strstr(message.text, "vulkan:any"));
  free(two.bytes);
}
END_TEST

START_TEST(files_appear_whole) {
  tsr_program chain = test_chain_program();
  const tsr_program *program = &chain;
  image expected = write_one(&chain);
  char path[512], wrong[600];
  tsr_diag diag;
  tsr_module *module;
  tsr_message message;
  struct stat info;
  FILE *file;
  temporary_path(path, sizeof path, "whole.tsm");
  ck_assert_int_eq(tsr_module_write(path, &program, 1, NULL, NULL), TSR_OK);
  ck_assert_int_eq(tsr_module_write(path, &program, 1, NULL, NULL), TSR_OK);
  ck_assert_int_eq(stat(path, &info), 0);
  ck_assert_uint_eq((size_t)info.st_size, expected.size);
  ck_assert_int_eq(tsr_module_load_file(path, NULL, &module, &message), TSR_OK);
  ck_assert_mem_eq(module->bytes, expected.bytes, expected.size);
  ck_assert_int_eq(truncate(path, 100), 0); /* code is not touched below */
  tsr_module_release(module);
  ck_assert_int_eq(tsr_module_load_file(path, NULL, &module, &message), TSR_ERR_FORMAT);
  ck_assert_ptr_nonnull(strstr(message.text, path));
  file = fopen(path, "w");
  ck_assert_ptr_nonnull(file);
  fclose(file);
  ck_assert_int_eq(tsr_module_load_file(path, NULL, &module, &message), TSR_ERR_FORMAT);
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(tsr_module_load_file(path, NULL, &module, &message), TSR_ERR_IO);
  ck_assert_int_eq(tsr_module_load_file("/", NULL, &module, &message), TSR_ERR_IO);
  (void)snprintf(wrong, sizeof wrong, "%s/no/such/folder.tsm", path);
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_module_write(wrong, &program, 1, NULL, &diag), TSR_ERR_IO);
  ck_assert_str_eq(diag.file, wrong);
  free(expected.bytes);
}
END_TEST

/* Folders, pipes and devices are not replaced by a module, and nothing is left beside them. */
START_TEST(failed_writes_leave_nothing) {
  tsr_program chain = test_chain_program();
  const tsr_program *program = &chain;
  char folder[512], inside[600];
  struct stat about;
  DIR *entries;
  int count = 0;
  temporary_path(folder, sizeof folder, "folder");
  (void)snprintf(inside, sizeof inside, "%s/target", folder);
  ck_assert_int_eq(mkdir(folder, 0777), 0);
  ck_assert_int_eq(mkdir(inside, 0777), 0);
  ck_assert_int_eq(tsr_module_write(inside, &program, 1, NULL, NULL), TSR_ERR_IO);
  entries = opendir(folder);
  while (readdir(entries) != NULL)
    count++;
  closedir(entries);
  ck_assert_int_eq(count, 3); /* . .. target */
  (void)rmdir(inside);
  ck_assert_int_eq(mkfifo(inside, 0666), 0);
  ck_assert_int_eq(tsr_module_write(inside, &program, 1, NULL, NULL), TSR_ERR_IO);
  ck_assert_int_eq(stat(inside, &about), 0);
  ck_assert(S_ISFIFO(about.st_mode));
  (void)unlink(inside);
  (void)rmdir(folder);
}
END_TEST

/* A full disk, at every size at which it may fill: the old file stays, nothing else appears. */
START_TEST(full_disks_leave_the_old_file) {
  tsr_program chain = test_chain_program(), filter = test_filter_program();
  const tsr_program *old = &filter, *program = &chain;
  image expected = write_one(&filter);
  char folder[512], path[600];
  struct rlimit before, limit;
  tsr_module *module;
  temporary_path(folder, sizeof folder, "full");
  (void)snprintf(path, sizeof path, "%s/m.tsm", folder);
  ck_assert_int_eq(mkdir(folder, 0777), 0);
  ck_assert_int_eq(tsr_module_write(path, &old, 1, NULL, NULL), TSR_OK);
  (void)signal(SIGXFSZ, SIG_IGN);
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
  limit = before;
  bool refused = true; /* Check's own file is under the limit too: assert afterwards */
  for (limit.rlim_cur = 0; limit.rlim_cur < 8200; limit.rlim_cur += 100) {
    refused &= setrlimit(RLIMIT_FSIZE, &limit) == 0;
    refused &= tsr_module_write(path, &program, 1, NULL, NULL) == TSR_ERR_IO;
  }
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
  ck_assert(refused);
  ck_assert_int_eq(tsr_module_load_file(path, NULL, &module, NULL), TSR_OK);
  ck_assert_uint_eq(module->size, expected.size);
  ck_assert_mem_eq(module->bytes, expected.bytes, expected.size);
  tsr_module_release(module);
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(rmdir(folder), 0); /* empty */
  free(expected.bytes);
}
END_TEST

START_TEST(bad_arguments) {
  tsr_module_options options;
  tsr_module *module;
  tsr_program chain = test_chain_program();
  image one = write_one(&chain);
  void *data;
  size_t size;
  memset(&options, 0, sizeof options);
  ck_assert_int_eq(tsr_module_load_file(NULL, NULL, &module, NULL), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_load_memory(NULL, 10, NULL, &module, NULL), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_load_memory(one.bytes, one.size, NULL, NULL, NULL), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_load_memory(one.bytes, one.size, &options, &module, NULL),
                   TSR_ERR_ARGUMENT);
  options.size = sizeof options;
  options.flags = TSR_MODULE_BORROW;
  ck_assert_int_eq(tsr_module_load_memory(one.bytes + 8, one.size - 8, &options, &module, NULL),
                   TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_write_memory(NULL, 0, NULL, &data, &size, NULL), TSR_ERR_ARGUMENT);
  ck_assert_int_eq(tsr_module_write("", NULL, 0, NULL, NULL), TSR_ERR_ARGUMENT);
  tsr_module_release(NULL);
  ck_assert_ptr_null(tsr_module_retain(NULL));
  free(one.bytes);
}
END_TEST

START_TEST(allocation_failures_are_clean) {
  tsr_program chain = test_chain_program(), filter = test_filter_program();
  const tsr_program *programs[] = {&chain, &filter};
  image two = write_two();
  bool wrote = false, loaded = false;
  for (int k = 1; k < 200 && !(wrote && loaded); k++) {
    test_heap heap;
    tsr_module_options options = {.size = sizeof options, .allocator = &heap.allocator};
    tsr_module *module;
    void *data;
    size_t size;
    tsr_status status;
    test_heap_init(&heap, k);
    status = tsr_module_write_memory(programs, 2, &heap.allocator, &data, &size, NULL);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    if (status == TSR_OK)
      heap.allocator.release(heap.allocator.context, data, size);
    wrote = status == TSR_OK;
    ck_assert_int_eq(heap.live, 0);
    test_heap_init(&heap, k);
    status = tsr_module_load_memory(two.bytes, two.size, &options, &module, NULL);
    ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
    tsr_module_release(module);
    loaded = status == TSR_OK;
    ck_assert_int_eq(heap.live, 0);
  }
  ck_assert(wrote && loaded);
  free(two.bytes);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("module");
  TCase *tests = tcase_create("all");
  SRunner *runner;
  int failed;
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, round_trip);
  tcase_add_test(tests, formulas_are_spelled_out);
  tcase_add_test(tests, weights_are_shared);
  tcase_add_test(tests, writing_is_deterministic);
  tcase_add_test(tests, every_flipped_byte_is_found);
  tcase_add_test(tests, every_truncation_is_found);
  tcase_add_test(tests, appended_bytes_are_refused);
  tcase_add_test(tests, damaged_weights_load_unless_checked);
  tcase_add_test(tests, hostile_tables_are_refused);
  tcase_add_test(tests, references_out_of_range_are_refused);
  tcase_add_test(tests, each_rule_is_checked);
  tcase_add_test(tests, each_rule_for_cuda_is_checked);
  tcase_add_test(tests, images_are_checked_completely);
  tcase_add_test(tests, cuda_programs_survive_the_file);
  tcase_add_test(tests, constants_must_fit_their_shape);
  tcase_add_test(tests, selection_names_missing_features);
  tcase_add_test(tests, files_appear_whole);
  tcase_add_test(tests, failed_writes_leave_nothing);
  tcase_add_test(tests, full_disks_leave_the_old_file);
  tcase_add_test(tests, bad_arguments);
  tcase_add_test(tests, allocation_failures_are_clean);
  suite_add_tcase(suite, tests);
  runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
