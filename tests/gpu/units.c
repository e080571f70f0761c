/* The kernel texts of the tests, by name; their files lie in the source tree. */
#include "tests/cuda_emulator/kernel_cases.h"
#include "tests/gpu/gpu_case.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  gpu_unit unit;
  const char *path;
} own[] = {
    {{"sm80", 80}, "tests/gpu/kernels/sm80.cu"},
    {{"convert", 80}, "tests/cuda_emulator/kernels/convert.cu"},
    {{"sm90", 90}, "tests/gpu/kernels/sm90.cu"},
    {{"wgmma", 90}, "tests/gpu/kernels/wgmma.cu"},
    {{"probe", 80}, "benchmarks/gpu_probe.cu"},
    {{"probe90", 90}, "benchmarks/gpu_probe90.cu"},
};
enum { OWN = sizeof own / sizeof *own };

gpu_unit gpu_unit_at(int index) {
  if (index < OWN)
    return own[index].unit;
  if (index < OWN + kernel_case_count)
    return (gpu_unit){kernel_cases[index - OWN].name, kernel_cases[index - OWN].arch};
  return (gpu_unit){NULL, 0};
}

static char *read_text(const char *path) {
  char whole[4096];
  snprintf(whole, sizeof whole, "%s/%s", TSR_SOURCE_FOLDER, path);
  FILE *in = fopen(whole, "r");
  enum { MOST = 1 << 17 };
  char *text = in == NULL ? NULL : calloc(1, MOST);
  if (text != NULL && fread(text, 1, MOST - 1, in) == MOST - 1) {
    free(text);
    text = NULL;
  }
  if (in != NULL)
    fclose(in);
  return text;
}

char *gpu_unit_text(const char *name) {
  for (int i = 0; i < OWN; i++)
    if (strcmp(own[i].unit.name, name) == 0)
      return read_text(own[i].path);
  const kernel_case *c = kernel_case_find(name);
  return c == NULL ? NULL : kernel_case_text(c);
}
