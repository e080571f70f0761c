// Reads any bytes as a CUBIN, as the log of its compilation, and as what a worker process or a file
// of the cache may say.
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/nvrtc_codec.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Every record that is given must be whole.
static void use(const tsr_cuda_report *report) {
  for (uint32_t i = 0; i < report->kernel_count; i++) {
    const tsr_cuda_kernel_record *kernel = &report->kernels[i];
    if (tsr_cuda_report_find(report, kernel->name) == NULL || kernel->registers < 0 ||
        kernel->shared_bytes < 0 || (kernel->warning_count > 0) != (kernel->warning != NULL))
      abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tsr_arena arena;
  tsr_cuda_report report;
  tsr_cuda_source source;
  tsr_cuda_output output;
  const char *head;
  uint8_t *copy = malloc(size + 1);
  if (copy == NULL)
    return 0;
  if (size > 0)
    memcpy(copy, data, size);
  copy[size] = 0;
  tsr_cuda_bytes bytes = {copy, size};
  tsr_arena_init(&arena, tsr_allocator_default());
  if (tsr_cuda_report_make(data, size, (const char *)copy, &arena, &report, NULL) == TSR_OK)
    use(&report);
  if (tsr_cuda_source_decode(bytes, &arena, &head, &source) == TSR_OK &&
      !tsr_cuda_source_encode(head, &source, true, &arena, &bytes))
    abort();
  bytes = (tsr_cuda_bytes){copy, size};
  if (tsr_cuda_output_decode(bytes, &output) == TSR_OK &&
      !tsr_cuda_output_encode(&output, &arena, &bytes))
    abort();
  tsr_arena_reset(&arena);
  free(copy);
  return 0;
}
