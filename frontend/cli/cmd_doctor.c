#include "codegen/cpu/llvm_version.h"
#include "frontend/cli/cuda_probe.h"
#include "frontend/cli/json.h"
#include "frontend/cli/options.h"
#include "frontend/cli/out_file.h"
#include "passes/poly/isl_version.h"
#include "runtime/cpu_features.h"
#include "tessera_commit.h"
#include "tuner/ceilings.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <tessera/version.h>

static const char *x86_level(uint64_t features) {
  static const struct {
    uint64_t features;
    const char *name;
  } levels[] = {{TSR_CPU_X86_64_V4, "x86-64-v4"},
                {TSR_CPU_X86_64_V3, "x86-64-v3"},
                {TSR_CPU_X86_64_V2, "x86-64-v2"}};
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
    if ((features & levels[i].features) == levels[i].features)
      return levels[i].name;
  }
  return "generic";
}

static void print_cpu(void) {
  uint64_t features = tsr_cpu_features();
  char names[1024];
  struct utsname system;
  tsr_cpu_caches caches;
  tsr_cpu_feature_names(features, names, sizeof names);
  tsr_cpu_cache_sizes(&caches);
  if (uname(&system) == 0)
    printf("system     %s %s, %s\n", system.sysname, system.release, system.machine);
  printf("cpu        level %s, %" PRIu32 " threads\n", x86_level(features), tsr_cpu_count());
  printf("features   %s\n", *names != '\0' ? names : "none that Tessera knows");
  printf("caches     L1 data %" PRIu64 " KiB, L2 %" PRIu64 " KiB, L3 %" PRIu64
         " KiB, lines of %" PRIu32 " bytes\n",
         caches.l1d_bytes >> 10, caches.l2_bytes >> 10, caches.l3_bytes >> 10, caches.line_bytes);
  if ((features & TSR_CPU_AMX_TILE) != 0)
    printf("amx        %s\n", tsr_cpu_request_amx() ? "the system permits it"
                                                    : "the system refuses it; needs Linux 5.16");
}

static void print_libraries(void) {
  char llvm[32], isl[64];
  tsr_llvm_version(llvm, sizeof llvm);
  tsr_isl_version(isl, sizeof isl);
  printf("tessera    %s, commit %s, modules of version %" PRIu32 "\n", tsr_version_text(),
         TESSERA_COMMIT, tsr_version_module_format());
  printf("llvm       %s\n", llvm);
  printf("isl        %s\n", isl);
}

static void print_cuda(void) {
  tsr_cuda_probe probe;
  tsr_cuda_probe_run(&probe);
  if (probe.nvrtc_missing[0] == '\0')
    printf("nvrtc      %d.%d, %s\n", probe.nvrtc_major, probe.nvrtc_minor, probe.nvrtc_path);
  else
    printf("nvrtc      missing: %s\n", probe.nvrtc_missing);
  if (probe.cache_missing[0] == '\0')
    printf("kernels    %" PRIu32 " compiled, %.1f MiB, in %s\n", probe.cache_entries,
           (double)probe.cache_bytes / (1 << 20), probe.cache_folder);
  else
    printf("kernels    compiled ones are not kept: %s\n", probe.cache_missing);
  if (probe.driver_missing[0] == '\0')
    printf("driver     serves CUDA %d.%d\n", probe.driver_version / 1000,
           probe.driver_version % 1000 / 10);
  else
    printf("driver     missing: %s\n", probe.driver_missing);
  for (int i = 0; i < probe.device_count && i < TSR_CUDA_PROBE_DEVICES; i++)
    printf("gpu %d      %s, sm_%d%d, %.1f GiB\n", i, probe.devices[i].name, probe.devices[i].major,
           probe.devices[i].minor, (double)probe.devices[i].memory_bytes / (1 << 30));
  if (probe.device_count == 0)
    puts("gpu        none; compiling for CUDA and running on the CPU need none");
}

/* Medians, least and most of one figure, for one thread and for all. */
static void print_figure(tsr_ceiling ceiling, const tsr_ceiling_figure *one,
                         const tsr_ceiling_figure *all) {
  if (one->median <= 0)
    return;
  printf("%-14s %9.1f (%.1f .. %.1f)", tsr_ceiling_text(ceiling), one->median, one->least,
         one->most);
  if (all != NULL)
    printf("   %9.1f (%.1f .. %.1f)", all->median, all->least, all->most);
  printf(" %s\n", tsr_ceiling_unit(ceiling));
}

/* Of one thread, and of all where there are several. */
typedef struct ceilings {
  uint32_t threads; /* 0: not measured */
  tsr_ceiling_figure one[TSR_CEILING_COUNT], all[TSR_CEILING_COUNT];
} ceilings;

static tsr_status measure_ceilings(ceilings *c, tsr_diag *diag) {
  enum { SECONDS = 4 };
  const tsr_allocator *allocator = tsr_allocator_default();
  c->threads = tsr_cpu_count();
  TSR_TRY(tsr_ceilings_measure(1, SECONDS, allocator, diag, c->one));
  return c->threads > 1 ? tsr_ceilings_measure(c->threads, SECONDS, allocator, diag, c->all)
                        : TSR_OK;
}

static void print_ceilings(const ceilings *c) {
  if (c->threads == 0)
    return;
  printf("ceilings   medians (least .. most) of 1 thread%s", c->threads > 1 ? "" : "\n");
  if (c->threads > 1)
    printf(", then of %" PRIu32 " at once\n", c->threads);
  for (int i = 0; i < TSR_CEILING_COUNT; i++)
    print_figure((tsr_ceiling)i, &c->one[i], c->threads > 1 ? &c->all[i] : NULL);
}

/* --- --json --- */

static void put_figures(FILE *out, uint32_t threads, const tsr_ceiling_figure *figures) {
  const char *before = "";
  fprintf(out, "%s\"%" PRIu32 "\": {", threads > 1 ? ", " : "", threads);
  for (int i = 0; i < TSR_CEILING_COUNT; i++) {
    const tsr_ceiling_figure *figure = &figures[i];
    if (figure->median <= 0)
      continue;
    fputs(before, out);
    tsr_json_put_text(out, tsr_ceiling_text((tsr_ceiling)i));
    fprintf(out, ": {\"median\": %.2f, \"least\": %.2f, \"most\": %.2f, \"unit\": \"%s\"}",
            figure->median, figure->least, figure->most, tsr_ceiling_unit((tsr_ceiling)i));
    before = ", ";
  }
  putc('}', out);
}

static void put_json(FILE *out, const ceilings *c) {
  uint64_t features = tsr_cpu_features();
  char names[1024];
  tsr_cpu_caches caches;
  tsr_cpu_feature_names(features, names, sizeof names);
  tsr_cpu_cache_sizes(&caches);
  fputs("{\"commit\": ", out);
  tsr_json_put_text(out, TESSERA_COMMIT);
  fprintf(out, ", \"level\": \"%s\", \"threads\": %" PRIu32 ", \"features\": ", x86_level(features),
          tsr_cpu_count());
  tsr_json_put_text(out, names);
  fprintf(out,
          ", \"caches\": {\"l1d\": %" PRIu64 ", \"l2\": %" PRIu64 ", \"l3\": %" PRIu64
          ", \"line\": %" PRIu32 "}",
          caches.l1d_bytes, caches.l2_bytes, caches.l3_bytes, caches.line_bytes);
  if (c->threads > 0) {
    fputs(", \"ceilings\": {", out);
    put_figures(out, 1, c->one);
    if (c->threads > 1)
      put_figures(out, c->threads, c->all);
    putc('}', out);
  }
  fputs("}\n", out);
}

static tsr_status write_json(const char *path, const ceilings *c, tsr_diag *diag) {
  FILE *out = stdout;
  if (strcmp(path, "-") != 0)
    TSR_TRY(tsr_out_file_open(path, &out, diag));
  put_json(out, c);
  return out != stdout ? tsr_out_file_close(out, path, diag) : TSR_OK;
}

int tsr_cli_doctor(const tsr_cli_args *args) {
  const char *json = tsr_cli_text(args, TSR_OPTION_JSON, NULL);
  tsr_status status = TSR_OK;
  tsr_diag diag = {0};
  ceilings found = {0};
  if (json == NULL) {
    print_libraries();
    print_cpu();
    print_cuda();
  }
  if (tsr_cli_has(args, TSR_OPTION_CEILINGS))
    status = measure_ceilings(&found, &diag);
  if (status == TSR_OK && json != NULL)
    status = write_json(json, &found, &diag);
  else if (status == TSR_OK)
    print_ceilings(&found);
  return status == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&diag);
}
