/* The invariants of a program's tables. The writer and the reader both call this; everything after
 * the reader relies on it and checks nothing again. */
#ifndef TSR_RUNTIME_MODULE_PROGRAM_CHECK_H
#define TSR_RUNTIME_MODULE_PROGRAM_CHECK_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include "runtime/program.h"

enum {
  TSR_PROGRAM_MAX_CODE = 1024,       /* steps of one expression */
  TSR_PROGRAM_MAX_STACK = 64,        /* its depth; tsr_index_eval has that much room */
  TSR_PROGRAM_MAX_SCRATCH = 1 << 30, /* bytes per thread */
  TSR_PROGRAM_MAX_ARGUMENTS = 4096,  /* of one launch */
  TSR_PROGRAM_MAX_VARIANTS = 64,     /* of one launch */
  TSR_PROGRAM_MAX_THREADS = 1024,    /* of a block */
  TSR_PROGRAM_MAX_SHARED = 1 << 20,  /* bytes of a block; devices have less and say so themselves */
  TSR_PROGRAM_MAX_CLUSTER = 16,      /* blocks */
  TSR_PROGRAM_MAX_BOX = 256,         /* extent of a tensor map's box */
  TSR_PROGRAM_MAX_OPERANDS = 1 << 16, /* of a step of a host program; likewise results, texts */
  TSR_PROGRAM_MAX_DEPTH = 64,         /* of its regions inside of each other */
};

/* By the target's name: "cuda:sm_90a" and the tests' "cuda-emulated" hold units of
 * runtime/cuda/image.h, everything else holds code of a CPU. */
bool tsr_program_is_cuda(const tsr_program *program);

/* TSR_OK or TSR_ERR_FORMAT with a message. Checks that every index, slice and enumerator is in
 * range; every expression leaves one value within the stack; ports and buffers name each other;
 * every dim from inputs is a whole dim of some input, every other dim is read by exactly one
 * segment's end, and nothing uses a dim before it is known; segments cover launches and reads in
 * order, once each; every launch ends in a variant without guard; constants have the bytes that
 * their shape says; kernels start inside the image, or each has a unit in it; tensor maps are what
 * a device can encode. Of a host program, that its parts are such programs, and that in the order
 * of its steps every value is made once, and used after that inside of the region that makes it, as
 * every dim is; that regions form a tree of at most TSR_PROGRAM_MAX_DEPTH; and that operands,
 * results, yields and ports are of the kinds and dtypes that the operations want. Extents and ranks
 * of values are compared in the run. `scratch` is an arena for temporary memory. */
TSR_WARN_UNUSED tsr_status tsr_program_check(const tsr_program *program, tsr_arena *scratch,
                                             tsr_diag *diag);

/* The first segment in which each dim is known (0: from the start), for tests and the executor.
 * `out_segments` has dim_count entries. */
void tsr_program_dim_segments(const tsr_program *program, uint32_t *out_segments);
/* Likewise for an expression: the largest of its dims'. */
uint32_t tsr_program_code_segment(const tsr_program *program, tsr_code code,
                                  const uint32_t *dim_segments);

/* host_check.c: the rules for the host tables of a program whose other tables, and whose parts, are
 * right. */
TSR_WARN_UNUSED tsr_status tsr_host_check(const tsr_program *program, tsr_arena *scratch,
                                          tsr_diag *diag);
enum { TSR_HOST_NO_DIM = UINT32_MAX };
/* For each part of a host program, for each of the part's dims: the host program's dim of the same
 * name, or TSR_HOST_NO_DIM. NULL when memory is out. */
const uint32_t *const *tsr_host_part_dims(const tsr_program *program, tsr_arena *arena);
/* Whether `code` is an expression of at least one step that leaves one value. */
bool tsr_program_is_code(const tsr_program *program, tsr_code code);

/* The number of the dim when `code` is that dim alone, else -1. */
int64_t tsr_program_plain_dim(const tsr_program *program, tsr_code code);

#endif
