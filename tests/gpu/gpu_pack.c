/* gpu_pack FOLDER [--texts]: writes the kernels of gpu_tests: per unit UNIT.cu, what the emulated
 * driver takes, and unless --texts is given UNIT.sm_80.cubin, UNIT.sm_90a.cubin and
 * UNIT.compute_80.ptx as far as the unit runs there. Status 1 when a text does not compile, or
 * compiles to something that is rejected (spills, matrix instructions made serial). */
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/device/device_text.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/gpu/gpu_case.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/allocator.h>

static bool write_file(const char *folder, const char *unit, const char *ending, const char *head,
                       const void *bytes, size_t size) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s%s", folder, unit, ending);
  FILE *out = fopen(path, "wb");
  if (out == NULL) {
    fprintf(stderr, "error: %s cannot be written\n", path);
    return false;
  }
  fputs(head, out);
  fwrite(bytes, 1, size, out);
  return fclose(out) == 0;
}

static bool check_report(const tsr_cuda_output *output, const char *unit, const char *arch,
                         tsr_arena *arena) {
  tsr_diag diag = {0};
  tsr_cuda_report report;
  if (tsr_cuda_report_make(output->cubin, output->cubin_size, output->log, arena, &report, &diag) !=
      TSR_OK) {
    fprintf(stderr, "error: %s for %s: %s\n", unit, arch, diag.message);
    return false;
  }
  const tsr_cuda_kernel_record *rejected = tsr_cuda_report_rejected(&report);
  if (rejected != NULL)
    fprintf(stderr, "error: %s for %s: %s is rejected: %s\n", unit, arch, rejected->name,
            rejected->reason);
  return rejected == NULL;
}

static bool compile(const tsr_nvrtc *nvrtc, const char *folder, const char *unit, const char *text,
                    const char *arch, uint32_t want) {
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_diag diag = {0};
  tsr_cuda_output output;
  char ending[32];
  tsr_cuda_source source = {.text = text, .name = unit, .arch = arch, .want = want};
  snprintf(ending, sizeof ending, ".%s.%s", arch, want == TSR_CUDA_CUBIN ? "cubin" : "ptx");
  bool fine = tsr_nvrtc_compile(nvrtc, &source, &arena, &output, &diag) == TSR_OK;
  if (!fine)
    fprintf(stderr, "error: %s for %s: %s\n", unit, arch, diag.message);
  else if (want == TSR_CUDA_CUBIN)
    fine = check_report(&output, unit, arch, &arena) &&
           write_file(folder, unit, ending, "", output.cubin, output.cubin_size);
  else
    fine = write_file(folder, unit, ending, "", output.ptx, output.ptx_size);
  tsr_arena_reset(&arena);
  return fine;
}

static bool pack(const tsr_nvrtc *nvrtc, const char *folder, gpu_unit unit) {
  char *kernels = gpu_unit_text(unit.name);
  if (kernels == NULL) {
    fprintf(stderr, "error: the text of %s cannot be read\n", unit.name);
    return false;
  }
  const char *head =
      unit.capability == 90 ? "tessera-cuda-text sm_90a\n" : "tessera-cuda-text sm_80\n";
  bool fine = write_file(folder, unit.name, ".cu", head, kernels, strlen(kernels));
  if (nvrtc != NULL && fine) {
    char *text = calloc(1, tsr_cuda_device_text_size + strlen(kernels) + 1);
    if (text == NULL)
      abort();
    memcpy(text, tsr_cuda_device_text, tsr_cuda_device_text_size);
    memcpy(text + tsr_cuda_device_text_size, kernels, strlen(kernels));
    fine = compile(nvrtc, folder, unit.name, text, "sm_90a", TSR_CUDA_CUBIN);
    if (unit.capability == 80)
      fine = fine && compile(nvrtc, folder, unit.name, text, "sm_80", TSR_CUDA_CUBIN) &&
             compile(nvrtc, folder, unit.name, text, "compute_80", TSR_CUDA_PTX);
    free(text);
  }
  free(kernels);
  return fine;
}

int main(int count, char **words) {
  bool texts = count == 3 && strcmp(words[2], "--texts") == 0;
  if (count != 2 && !texts) {
    fprintf(stderr, "usage: gpu_pack FOLDER [--texts]\n");
    return 2;
  }
  tsr_nvrtc *nvrtc = NULL;
  tsr_diag diag = {0};
  if (!texts && tsr_nvrtc_open(tsr_allocator_default(), NULL, &nvrtc, &diag) != TSR_OK) {
    fprintf(stderr, "error: %s\n", diag.message);
    return 1;
  }
  bool fine = true;
  for (int i = 0; gpu_unit_at(i).name != NULL; i++)
    fine = pack(nvrtc, words[1], gpu_unit_at(i)) && fine;
  tsr_nvrtc_close(nvrtc);
  return fine ? 0 : 1;
}
