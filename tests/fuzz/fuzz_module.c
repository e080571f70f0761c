// Loads any bytes as a module, and runs what loads with an executor that executes nothing, so that
// plans, guards, grids and reads of dims meet hostile tables while machine code does not run.
// Magic, version, size and checksums are made right first: the tables behind them are the target.
#include "runtime/hash.h"
#include "runtime/module/format.h"
#include "runtime/module/module.h"
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LARGEST_BLOCK = 1 << 22, LARGEST_INPUT = 1 << 12, MOST_TURNS = 8, MOST_LOOPS = 4 };

// A table may ask for any number of bytes.
static void *allocate(void *context, size_t size, size_t alignment) {
  (void)context;
  return size > LARGEST_BLOCK ? NULL : tsr_allocator_default()->allocate(NULL, size, alignment);
}

static void release(void *context, void *pointer, size_t size) {
  (void)context;
  tsr_allocator_default()->release(NULL, pointer, size);
}

static void execute_nothing(void *context, int64_t tasks, tsr_task_function function,
                            void *function_context) {
  (void)context;
  (void)tasks;
  (void)function;
  (void)function_context;
}

static void repair_images(uint8_t *bytes, size_t size, const tsm_header *header) {
  for (uint32_t i = 0; i < header->program_count && i < 16; i++) {
    tsm_program program;
    uint64_t at = header->programs_offset + i * sizeof program, padded;
    if (at > size || size - at < sizeof program)
      return;
    memcpy(&program, bytes + at, sizeof program);
    padded = program.image_bytes > size ? size : (program.image_bytes + TSM_PAGE - 1) & ~0xfffull;
    if (program.image_offset > size || padded > size - program.image_offset)
      continue;
    program.image_checksum = tsr_hash64(bytes + program.image_offset, padded);
    memcpy(bytes + at, &program, sizeof program);
  }
}

static void repair(uint8_t *bytes, size_t size) {
  tsm_header header;
  if (size < sizeof header)
    return;
  memcpy(&header, bytes, sizeof header);
  memcpy(header.magic, TSM_MAGIC, TSM_MAGIC_BYTES);
  header.version = TSR_MODULE_FORMAT_VERSION;
  header.reserved = 0;
  header.total_bytes = size;
  repair_images(bytes, size, &header);
  memcpy(bytes, &header, sizeof header);
  if (header.meta_bytes > TSM_CHECKED_FROM && header.meta_bytes <= size)
    header.meta_checksum =
        tsr_hash64(bytes + TSM_CHECKED_FROM, header.meta_bytes - TSM_CHECKED_FROM);
  memcpy(bytes, &header, sizeof header);
}

// Binds input `index` with 3 for every dim that is not fixed; memory stays small. Lists have two
// such tensors; strings are "".
static int bind_input(tsr_exec *exec, const tsr_module *module, uint32_t index, void *memory,
                      void *strings) {
  tsr_port_info info;
  int64_t shape[TSR_MAX_RANK], count = 1;
  DLTensor items[2];
  uint32_t rank;
  if (tsr_module_get_input(module, index, &info) != TSR_OK)
    return 0;
  rank = info.rank == TSR_ANY_RANK ? 1 : info.rank;
  for (uint32_t d = 0; d < rank; d++) {
    shape[d] = info.rank != TSR_ANY_RANK && info.dims[d] >= 0 ? info.dims[d] : 3;
    if (__builtin_mul_overflow(count, shape[d], &count) || count > LARGEST_INPUT / 8)
      return 0;
  }
  memset(items, 0, sizeof items);
  items[0].data = info.is_text != 0 ? strings : memory;
  items[0].device.device_type = kDLCPU;
  items[0].ndim = (int32_t)rank;
  items[0].dtype =
      info.is_text != 0 ? (DLDataType){kDLOpaqueHandle, 64, 1} : tsr_dtype_to_dlpack(info.dtype);
  items[0].shape = shape;
  items[1] = items[0];
  if (info.kind == TSR_PORT_LIST || info.kind == TSR_PORT_OPTIONAL_LIST)
    return tsr_exec_bind_input_list(exec, index, items, 2) == TSR_OK;
  if (info.kind == TSR_PORT_OPTIONAL && index % 2 == 1)
    return tsr_exec_bind_input_absent(exec, index) == TSR_OK;
  return tsr_exec_bind_input(exec, index, items) == TSR_OK;
}

// Loops run as long as their program says, which may be for ever; these take a few turns.
static int loops_end(const tsr_program *p) {
  int loops = 0;
  for (uint32_t i = 0; i < p->host_step_count; i++) {
    const tsr_code code = p->host_steps[i].code;
    const tsr_index_step *limit = &p->steps[code.first];
    if (p->host_steps[i].op != TSR_HOST_LOOP)
      continue;
    if (code.count != 1 || (limit->op == TSR_INDEX_INT && limit->operand > MOST_TURNS) ||
        (limit->op == TSR_INDEX_DIM && p->dims[limit->operand].source != TSR_DIM_FROM_INPUT))
      return 0;
    loops++;
  }
  return loops <= MOST_LOOPS;
}

static void run(tsr_module *module, const tsr_allocator *allocator) {
  static const tsr_executor executor = {NULL, 2, execute_nothing};
  tsr_exec_options options = {
      .size = sizeof options, .allocator = allocator, .executor = &executor};
  tsr_module_info info;
  tsr_exec *exec;
  void *memory = calloc(1, LARGEST_INPUT);
  const char *strings[LARGEST_INPUT / 8];
  uint32_t bound = 0;
  for (size_t i = 0; i < LARGEST_INPUT / 8; i++)
    strings[i] = "";
  tsr_module_get_info(module, &info);
  if (loops_end(tsr_module_program(module)) && memory != NULL &&
      tsr_exec_create(module, &options, &exec, NULL) == TSR_OK) {
    while (bound < info.input_count && bind_input(exec, module, bound, memory, strings))
      bound++;
    for (int i = 0; i < 2 && bound == info.input_count; i++)
      if (tsr_exec_run(exec) != TSR_OK)
        break;
    tsr_exec_destroy(exec);
  }
  free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const tsr_allocator allocator = {NULL, allocate, release};
  tsr_module_options options = {
      .size = sizeof options, .allocator = &allocator, .flags = TSR_MODULE_BORROW};
  tsr_module *module;
  uint8_t *bytes = aligned_alloc(64, (size + 64) & ~(size_t)63);
  if (bytes == NULL)
    return 0;
  if (size != 0)
    memcpy(bytes, data, size);
  repair(bytes, size);
  if (tsr_module_load_memory(bytes, size, &options, &module, NULL) == TSR_OK) {
    if (tsr_module_verify_weights(module) == TSR_OK)
      run(module, &allocator);
    tsr_module_release(module);
  }
  options.flags |= TSR_MODULE_DESCRIBE; // programs that this machine does not run are read, too
  if (tsr_module_load_memory(bytes, size, &options, &module, NULL) == TSR_OK)
    tsr_module_release(module);
  free(bytes);
  return 0;
}
