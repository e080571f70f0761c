#include "runtime/cuda/cuda.h"
#include "runtime/module/module.h"
#include "runtime/module/program_check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NO_FILE = -1 };

static tsr_module *create(const tsr_allocator *allocator) {
  tsr_module *module =
      (tsr_module *)allocator->allocate(allocator->context, sizeof *module, _Alignof(tsr_module));
  if (module == NULL)
    return NULL;
  memset(module, 0, sizeof *module);
  atomic_init(&module->references, 1);
  module->allocator = allocator;
  module->storage = TSR_MODULE_BORROWED;
  tsr_arena_init(&module->arena, allocator);
  return module;
}

static void destroy_code(tsr_module *module) {
  tsr_cuda_program_destroy(module->cuda);
  if (module->code != NULL)
    (void)munmap((void *)(uintptr_t)module->code, module->code_bytes);
}

static void destroy(tsr_module *module) {
  const tsr_allocator *allocator = module->allocator;
  for (uint32_t i = 0; i < module->part_count; i++) {
    destroy_code(&module->parts[i]);
    tsr_arena_reset(&module->parts[i].arena);
  }
  destroy_code(module);
  if (module->storage == TSR_MODULE_MAPPED)
    (void)munmap((void *)(uintptr_t)module->bytes, module->size);
  if (module->storage == TSR_MODULE_OWNED)
    allocator->release(allocator->context, (void *)(uintptr_t)module->bytes, module->size);
  tsr_arena_reset(&module->arena);
  allocator->release(allocator->context, module, sizeof *module);
}

tsr_module *tsr_module_retain(tsr_module *module) {
  if (module != NULL)
    (void)atomic_fetch_add_explicit(&module->references, 1, memory_order_relaxed);
  return module;
}

void tsr_module_release(tsr_module *module) {
  if (module != NULL &&
      atomic_fetch_sub_explicit(&module->references, 1, memory_order_acq_rel) == 1)
    destroy(module);
}

/* ---- Code ---- */

static tsr_status map_code_copy(tsr_module *module, const tsr_program *program, tsr_diag *diag) {
  void *code =
      mmap(NULL, module->code_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the module's code");
  memcpy(code, program->image, program->image_bytes);
  if (mprotect(code, module->code_bytes, PROT_READ | PROT_EXEC) != 0) {
    (void)munmap(code, module->code_bytes);
    return tsr_fail(diag, TSR_ERR_DEVICE, "the system refuses executable memory: %s",
                    strerror(errno));
  }
  __builtin___clear_cache((char *)code, (char *)code + program->image_bytes);
  module->code = code;
  return TSR_OK;
}

/* Code of a CPU only: the image of a CUDA program is data for the driver.
 *
 * From the file where that is possible, so that processes share the pages and they are never
 * writable; a file system mounted noexec and pages larger than TSM_PAGE need a copy. */
static tsr_status map_code(tsr_module *module, int file, tsr_diag *diag) {
  const tsr_program *program = &module->programs[module->selected];
  uint64_t offset = module->records[module->selected].image_offset;
  long page = sysconf(_SC_PAGESIZE);
  void *code = MAP_FAILED;
  if (program->image_bytes == 0 || !module->runnable || tsr_program_is_cuda(program))
    return TSR_OK;
  module->code_bytes = program->image_bytes;
  if (file != NO_FILE && page > 0 && offset % (uint64_t)page == 0)
    code = mmap(NULL, module->code_bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, (off_t)offset);
  if (code == MAP_FAILED)
    return map_code_copy(module, program, diag);
  module->code = code;
  return TSR_OK;
}

/* ---- Parts ---- */

static tsr_status load_part(const tsr_module *module, uint32_t number, uint32_t first_constant,
                            int file, tsr_diag *diag) {
  tsr_module *part = &module->parts[number];
  part->bytes = module->bytes;
  part->size = module->size;
  part->storage = TSR_MODULE_BORROWED;
  part->header = module->header;
  part->records = module->records;
  part->weights = module->weights;
  part->strings = module->strings;
  part->programs = module->programs;
  part->selected = module->selected + 1 + number;
  part->runnable = true;
  if (module->cuda != NULL)
    TSR_TRY(tsr_cuda_program_create_part(module->cuda, number, first_constant, diag, &part->cuda));
  TSR_TRY(map_code(part, file, diag));
  return tsr_module_describe_ports(part, diag);
}

static tsr_status load_parts(tsr_module *module, int file, tsr_diag *diag) {
  const tsr_program *program = tsr_module_program(module);
  uint32_t constant = program->constant_count;
  if (!module->runnable || program->part_count == 0)
    return TSR_OK;
  module->parts = (tsr_module *)tsr_arena_alloc_array(&module->arena, program->part_count,
                                                      sizeof *module->parts);
  if (module->parts == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
  for (uint32_t i = 0; i < program->part_count; i++) {
    atomic_init(&module->parts[i].references, 1);
    module->parts[i].allocator = module->allocator;
    tsr_arena_init(&module->parts[i].arena, module->allocator);
    module->part_count = i + 1;
    TSR_TRY(load_part(module, i, constant, file, diag));
    constant += program->parts[i].constant_count;
  }
  return TSR_OK;
}

/* ---- Loading ---- */

static tsr_status load(tsr_module *module, const tsr_module_options *options, int file,
                       tsr_diag *diag) {
  TSR_TRY(tsr_module_read_tables(module, diag));
  if ((options->flags & TSR_MODULE_VERIFY_WEIGHTS) != 0)
    TSR_TRY(tsr_module_check_weights(module, diag));
  TSR_TRY(tsr_module_select(module, options, diag));
  TSR_TRY(map_code(module, file, diag));
  TSR_TRY(load_parts(module, file, diag));
  return tsr_module_describe(module, diag);
}

static tsr_status map_file(tsr_module *module, int file, tsr_diag *diag) {
  struct stat info;
  void *bytes;
  if (fstat(file, &info) != 0)
    return tsr_fail(diag, TSR_ERR_IO, "cannot read: %s", strerror(errno));
  if (!S_ISREG(info.st_mode))
    return tsr_fail(diag, TSR_ERR_IO, "cannot read: not a regular file");
  if (info.st_size < (off_t)sizeof(tsm_header))
    return tsr_fail(diag, TSR_ERR_FORMAT, "this is not a Tessera module: it has only %lld bytes",
                    (long long)info.st_size);
  bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  if (bytes == MAP_FAILED)
    return tsr_fail(diag, TSR_ERR_IO, "cannot map: %s", strerror(errno));
  module->bytes = (const unsigned char *)bytes;
  module->size = (uint64_t)info.st_size;
  module->storage = TSR_MODULE_MAPPED;
  return TSR_OK;
}

static tsr_status load_file(tsr_module *module, const char *path, const tsr_module_options *options,
                            tsr_diag *diag) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  tsr_status status;
  if (file < 0)
    return tsr_fail(diag, TSR_ERR_IO, "cannot open: %s", strerror(errno));
  status = map_file(module, file, diag);
  if (status == TSR_OK)
    status = load(module, options, file, diag);
  (void)close(file);
  return status;
}

static tsr_status load_memory(tsr_module *module, const void *data, size_t bytes,
                              const tsr_module_options *options, tsr_diag *diag) {
  const tsr_allocator *allocator = module->allocator;
  if (bytes < sizeof(tsm_header))
    return tsr_fail(diag, TSR_ERR_FORMAT, "this is not a Tessera module: it has only %zu bytes",
                    bytes);
  module->bytes = (const unsigned char *)data;
  if ((options->flags & TSR_MODULE_BORROW) == 0) {
    void *copy = allocator->allocate(allocator->context, bytes, TSM_WEIGHT_ALIGNMENT);
    if (copy == NULL)
      return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
    memcpy(copy, data, bytes);
    module->bytes = (const unsigned char *)copy;
    module->storage = TSR_MODULE_OWNED;
  } else if ((uintptr_t)data % TSM_WEIGHT_ALIGNMENT != 0) {
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "borrowed module bytes must start at a multiple of 64");
  }
  module->size = bytes;
  return load(module, options, NO_FILE, diag);
}

/* Callers built against an older header pass a shorter structure. */
static tsr_status read_options(const tsr_module_options *options, tsr_module_options *out_options,
                               tsr_diag *diag) {
  memset(out_options, 0, sizeof *out_options);
  if (options != NULL && options->size < sizeof options->size)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "tsr_module_options.size is not set");
  if (options != NULL)
    memcpy(out_options, options,
           options->size < sizeof *options ? options->size : sizeof *out_options);
  if (out_options->allocator == NULL)
    out_options->allocator = tsr_allocator_default();
  return TSR_OK;
}

static void give_message(const tsr_diag *diag, tsr_message *out_message) {
  if (out_message != NULL)
    tsr_diag_format(diag, out_message->text, sizeof out_message->text);
}

static tsr_status load_any(const char *path, const void *data, size_t bytes,
                           const tsr_module_options *user_options, tsr_module **out_module,
                           tsr_diag *diag) {
  tsr_module_options options;
  tsr_module *module;
  tsr_status status;
  if (out_module == NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "out_module is NULL");
  *out_module = NULL;
  if (path == NULL && data == NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "no module is given");
  TSR_TRY(read_options(user_options, &options, diag));
  module = create(options.allocator);
  if (module == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
  status = path != NULL ? load_file(module, path, &options, diag)
                        : load_memory(module, data, bytes, &options, diag);
  if (status == TSR_OK)
    *out_module = module;
  else
    tsr_module_release(module);
  return status;
}

tsr_status tsr_module_load_file(const char *path, const tsr_module_options *options,
                                tsr_module **out_module, tsr_message *out_message) {
  tsr_diag diag;
  tsr_status status;
  if (out_message != NULL)
    out_message->text[0] = '\0';
  tsr_diag_clear(&diag);
  status = load_any(path, NULL, 0, options, out_module, &diag);
  if (status != TSR_OK) {
    tsr_diag_set_file(&diag, path);
    give_message(&diag, out_message);
  }
  return status;
}

tsr_status tsr_module_load_memory(const void *data, size_t bytes, const tsr_module_options *options,
                                  tsr_module **out_module, tsr_message *out_message) {
  tsr_diag diag;
  tsr_status status;
  if (out_message != NULL)
    out_message->text[0] = '\0';
  tsr_diag_clear(&diag);
  status = load_any(NULL, data, bytes, options, out_module, &diag);
  if (status != TSR_OK)
    give_message(&diag, out_message);
  return status;
}

tsr_status tsr_module_verify_weights(const tsr_module *module) {
  return tsr_module_check_weights(module, NULL);
}
