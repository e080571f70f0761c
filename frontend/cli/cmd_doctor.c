#include "codegen/cpu/llvm_version.h"
#include "frontend/cli/cuda_probe.h"
#include "frontend/cli/options.h"
#include "passes/poly/isl_version.h"
#include "runtime/cpu_features.h"
#include "tessera_commit.h"
#include "tuner/ceilings.h"
#include <inttypes.h>
#include <stdio.h>
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

static int print_ceilings(void) {
  enum { SECONDS = 4 };
  tsr_ceiling_figure one[TSR_CEILING_COUNT], all[TSR_CEILING_COUNT];
  tsr_diag diag = {0};
  uint32_t threads = tsr_cpu_count();
  const tsr_allocator *allocator = tsr_allocator_default();
  tsr_status status = tsr_ceilings_measure(1, SECONDS, allocator, &diag, one);
  if (status == TSR_OK && threads > 1)
    status = tsr_ceilings_measure(threads, SECONDS, allocator, &diag, all);
  if (status != TSR_OK)
    return tsr_cli_bad(&diag);
  printf("ceilings   medians (least .. most) of 1 thread%s", threads > 1 ? "" : "\n");
  if (threads > 1)
    printf(", then of %" PRIu32 " at once\n", threads);
  for (int i = 0; i < TSR_CEILING_COUNT; i++)
    print_figure((tsr_ceiling)i, &one[i], threads > 1 ? &all[i] : NULL);
  return TSR_EXIT_FINE;
}

int tsr_cli_doctor(const tsr_cli_args *args) {
  print_libraries();
  print_cpu();
  print_cuda();
  return tsr_cli_has(args, TSR_OPTION_CEILINGS) ? print_ceilings() : TSR_EXIT_FINE;
}
