/* The inside of tsr_module (declared in <tessera/runtime.h>). Immutable once loaded. */
#ifndef TSR_RUNTIME_MODULE_MODULE_H
#define TSR_RUNTIME_MODULE_MODULE_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include "runtime/module/format.h"
#include "runtime/program.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <tessera/runtime.h>

typedef enum tsr_module_storage {
  TSR_MODULE_MAPPED,   /* munmap */
  TSR_MODULE_OWNED,    /* from the allocator */
  TSR_MODULE_BORROWED, /* the caller's */
} tsr_module_storage;

struct tsr_module {
  atomic_uint references;
  const tsr_allocator *allocator;
  tsr_arena arena; /* tables, names, infos */
  const unsigned char *bytes;
  uint64_t size;
  tsr_module_storage storage;
  const void *code; /* of the selected program, executable */
  uint64_t code_bytes;
  const tsm_header *header; /* copies in the arena, so that nothing changes after the check */
  const tsm_program *records;
  const tsm_weight *weights;
  const char *strings;
  tsr_program *programs; /* header->program_count */
  uint32_t selected;
  bool runnable;             /* false: loaded to be described only */
  struct cuda_program *cuda; /* of a selected CUDA program */
  uint64_t weight_bytes;
  const tsr_port_info *inputs, *outputs;
  /* Of a selected host program that runs here: its parts as modules of their own, whose bytes are
   * this one's. They live as long as this one, and references to them count for nothing. */
  struct tsr_module *parts;
  uint32_t part_count;
};

/* The selected program. Its image is data; the executable mapping of a CPU program is `code`. */
const tsr_program *tsr_module_program(const tsr_module *module);
/* The function of kernel number `kernel` of the selected program. */
tsr_cpu_kernel tsr_module_kernel_function(const tsr_module *module, uint32_t kernel);

/* reader.c: reads and checks header, tables and code of module->bytes into the arena. */
TSR_WARN_UNUSED tsr_status tsr_module_read_tables(tsr_module *module, tsr_diag *diag);
/* select.c: chooses the program that this machine runs, as the options say. */
TSR_WARN_UNUSED tsr_status tsr_module_select(tsr_module *module, const tsr_module_options *options,
                                             tsr_diag *diag);
TSR_WARN_UNUSED tsr_status tsr_module_check_weights(const tsr_module *module, tsr_diag *diag);
/* info.c: fills inputs and outputs for the selected program; and weight_bytes too. */
TSR_WARN_UNUSED tsr_status tsr_module_describe_ports(tsr_module *module, tsr_diag *diag);
TSR_WARN_UNUSED tsr_status tsr_module_describe(tsr_module *module, tsr_diag *diag);

#endif
