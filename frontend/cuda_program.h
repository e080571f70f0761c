/* From the CUDA C of a program's kernels to the units of its image: which forms a target gets, the
 * compiler, its cache and its worker processes, and what ptxas said of each kernel. */
#ifndef TSR_FRONTEND_CUDA_PROGRAM_H
#define TSR_FRONTEND_CUDA_PROGRAM_H
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/cuda.h"
#include "runtime/program.h"
#include <tessera/compiler.h>

/* What a unit of each kernel is made of; may be combined but for TEXT. */
enum { TSR_CUDA_FORM_CUBIN = 1, TSR_CUDA_FORM_PTX = 2, TSR_CUDA_FORM_TEXT = 4 };

/* One program's way to its image. Everything lives in the program's arena. */
typedef struct tsr_cuda_program {
  tsr_program *program; /* gets the image; NULL until its tables are made */
  const char *target;   /* as given, for messages */
  const char *arch;     /* "sm_90a" */
  uint32_t capability;  /* 90 */
  bool specific;        /* the code is for that architecture alone */
  bool emulated;
  uint32_t forms;       /* of the image's units; 0: no image is wanted */
  uint32_t whole_forms; /* of all kernels in one unit, for `whole`; no TEXT */
  tsr_cuda_code code;
  tsr_arena *arena;
  /* What tsr_cuda_programs_compile fills in: */
  const tsr_cuda_kernel_record **records; /* by kernel of the program; NULL: not known, as with PTX
                                             alone */
  tsr_cuda_output whole;
} tsr_cuda_program;

/* True for "cuda:..", and for "cuda-emulated[:sm_XX]", the emulated device of the tests; sets arch,
 * capability, specific and `out_plain`, the target that code is made for. */
bool tsr_cuda_program_target(const char *text, tsr_cuda_program *out_program,
                             const char **out_plain);
/* What the emulated device takes, all kernels in one text: a line that says for which architecture,
 * and the kernels without the device primitives, of which it has its own. NULL: no memory. */
const char *tsr_cuda_program_text(const tsr_cuda_program *program);
/* False where this build has no emulated device. */
bool tsr_cuda_emulation_exists(void);

/* Compiles the kernels of all programs, each text once, and makes the images. TSR_ERR_DEVICE: there
 * is no NVRTC; the message says what to install and what works without it. Kernels whose registers
 * spill, or that ptxas serialised, are told to options->warning_function. */
TSR_WARN_UNUSED tsr_status tsr_cuda_programs_compile(tsr_cuda_program *const *programs,
                                                     uint32_t count,
                                                     const tsr_compile_options *options,
                                                     const tsr_allocator *allocator,
                                                     tsr_diag *diag);

/* The IR kernel's code behind kernel number `kernel` of the program. */
const tsr_cuda_kernel *tsr_cuda_program_kernel(const tsr_cuda_program *program, uint32_t kernel);

#endif
