/* The compiler as one readable function: model -> graph -> blocks -> tiles -> code -> module. */
#ifndef TSR_FRONTEND_PIPELINE_H
#define TSR_FRONTEND_PIPELINE_H
#include "frontend/onnx/import.h"
#include "ir/target.h"
#include "runtime/program.h"
#include <tessera/compiler.h>

/* Where a model comes from: a file, text in memory, or graph IR that is copied. */
typedef struct tsr_model_source {
  const char *path; /* of the file, or the name of the text in messages */
  const char *text; /* NULL: read the file */
  size_t text_bytes;
  const tsr_ir *graph; /* NULL: file or text; must outlive the compilation */
  /* Input values that the import may rely on (verify: shapes given as inputs); NULL for a program
   * good for all inputs. */
  tsr_import_assumption *assumptions;
  uint32_t assumption_count;
} tsr_model_source;

/* Programs of one compilation and what they point into. */
typedef struct tsr_compilation tsr_compilation;

TSR_WARN_UNUSED tsr_status tsr_pipeline_run(const tsr_model_source *source,
                                            const tsr_compile_options *options,
                                            const tsr_allocator *allocator, tsr_diag *diag,
                                            tsr_compilation **out_compilation);
/* For the first target alone, and no further than blocks, behind the pass `storage`: what tuning
 * tasks are made from. Nothing can be written. */
TSR_WARN_UNUSED tsr_status tsr_pipeline_blocks(const tsr_model_source *source,
                                               const tsr_compile_options *options,
                                               const tsr_allocator *allocator, tsr_diag *diag,
                                               tsr_compilation **out_compilation);
/* Of the first target: the IR of each of its parts, and what it is; `out_emulated`: the device of
 * the tests, which has no times. They live as long as the compilation. */
uint32_t tsr_compilation_part_count(const tsr_compilation *compilation);
const tsr_ir *tsr_compilation_part(const tsr_compilation *compilation, uint32_t part);
const tsr_target *tsr_compilation_target(const tsr_compilation *compilation, bool *out_emulated);
void tsr_compilation_destroy(tsr_compilation *compilation); /* NULL is allowed */
TSR_WARN_UNUSED tsr_status tsr_compilation_write_file(const tsr_compilation *compilation,
                                                      const char *path, tsr_diag *diag);
TSR_WARN_UNUSED tsr_status tsr_compilation_write_memory(const tsr_compilation *compilation,
                                                        const tsr_allocator *allocator,
                                                        tsr_diag *diag, void **out_bytes,
                                                        size_t *out_size);

/* Reads a model into graph IR. `out_onnx` is what an ONNX model's constants point into (NULL for
 * text): close it after the IR. */
TSR_WARN_UNUSED tsr_status tsr_model_import(const tsr_model_source *source,
                                            const tsr_compile_options *options,
                                            const tsr_allocator *allocator, tsr_diag *diag,
                                            tsr_ir **out_ir, tsr_onnx_model **out_onnx);

#endif
