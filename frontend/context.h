/* What the files behind the public compile calls share. */
#ifndef TSR_FRONTEND_CONTEXT_H
#define TSR_FRONTEND_CONTEXT_H
#include "frontend/pipeline.h"

const tsr_allocator *tsr_context_allocator(const tsr_context *context);
/* Makes `diag` the context's error and returns its status. */
tsr_status tsr_context_fail(tsr_context *context, const tsr_diag *diag);
/* Compiles into memory; the context's error is that of this call. */
TSR_WARN_UNUSED tsr_status tsr_context_compile(tsr_context *context, const tsr_model_source *source,
                                               const tsr_compile_options *options, void **out_bytes,
                                               size_t *out_size);

#endif
