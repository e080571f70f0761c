#include "ir/target.h"
#include <stdio.h>
#include <string.h>

static const tsr_atom atoms[] = {
#define TSR_ATOM(name, kind, text, m, n, k, a, b, c, place, features, rate, scope)                 \
  {text,                                                                                           \
   m,                                                                                              \
   n,                                                                                              \
   k,                                                                                              \
   TSR_##a,                                                                                        \
   TSR_##b,                                                                                        \
   TSR_##c,                                                                                        \
   TSR_ATOM_##place,                                                                               \
   features,                                                                                       \
   rate,                                                                                           \
   TSR_ATOM_##scope,                                                                               \
   TSR_TARGET_##kind},
#include "ir/atoms.def"
#undef TSR_ATOM
};
enum { ATOM_COUNT = sizeof atoms / sizeof *atoms };

const tsr_atom *tsr_atom_at(unsigned number) {
  return number < ATOM_COUNT ? &atoms[number] : NULL;
}

const tsr_atom *tsr_atom_find(const char *text) {
  for (unsigned i = 0; text != NULL && i < ATOM_COUNT; i++)
    if (strcmp(atoms[i].text, text) == 0)
      return &atoms[i];
  return NULL;
}

static const char *level_name(uint64_t features) {
  if ((features & TSR_CPU_X86_64_V4) == TSR_CPU_X86_64_V4)
    return "cpu:x86-64-v4";
  if ((features & TSR_CPU_X86_64_V3) == TSR_CPU_X86_64_V3)
    return "cpu:x86-64-v3";
  if ((features & TSR_CPU_X86_64_V2) == TSR_CPU_X86_64_V2)
    return "cpu:x86-64-v2";
  return features & TSR_CPU_AARCH64 ? "cpu:aarch64" : "cpu:generic";
}

/* Rates are what one core of the servers of this decade sustains, in bytes per cycle; the model
 * compares candidates on one machine, so their ratios count. */
void tsr_target_cpu(uint64_t features, const tsr_cpu_caches *caches, unsigned threads,
                    tsr_target *out_target) {
  const bool v4 = (features & TSR_CPU_X86_64_V4) == TSR_CPU_X86_64_V4;
  const bool v3 = (features & TSR_CPU_X86_64_V3) == TSR_CPU_X86_64_V3;
  const bool aarch64 = (features & TSR_CPU_AARCH64) != 0;
  memset(out_target, 0, sizeof *out_target);
  out_target->kind = TSR_TARGET_CPU;
  snprintf(out_target->name, sizeof out_target->name, "%s", level_name(features));
  out_target->cpu_features = features;
  out_target->vector_bits = v4 ? 512 : v3 ? 256 : 128;
  out_target->vector_registers = v4 || aarch64 ? 32 : 16;
  out_target->has_fma = v3 || aarch64;
  out_target->l1_bytes = caches != NULL && caches->l1d_bytes > 0 ? caches->l1d_bytes : 32 << 10;
  out_target->l2_bytes = caches != NULL && caches->l2_bytes > 0 ? caches->l2_bytes : 1 << 20;
  out_target->l3_bytes = caches != NULL && caches->l3_bytes > 0 ? caches->l3_bytes : 16 << 20;
  out_target->line_bytes = caches != NULL && caches->line_bytes > 0 ? caches->line_bytes : 64;
  out_target->threads = threads > 0 ? threads : 1;
  out_target->l1_rate = 64;
  out_target->l2_rate = 32;
  out_target->l3_rate = 10;
  out_target->memory_rate = 4;
  out_target->launch_cycles = 300;
  out_target->fork_cycles = 8000;
}

void tsr_target_host(unsigned threads, tsr_target *out_target) {
  tsr_cpu_caches caches;
  tsr_cpu_cache_sizes(&caches);
  tsr_target_cpu(tsr_cpu_features(), &caches, threads, out_target);
}

/* Shared memory per block, L2 and memory rates: the data sheets of A100, L40 and H100; rates in
 * bytes per cycle and multiprocessor. */
static const struct cuda_device {
  const char *name;
  unsigned capability, multiprocessors;
  uint64_t shared_bytes, l2_bytes;
  double l2_rate, memory_rate;
} cuda_devices[] = {
    {"cuda:sm_80", 80, 108, 163 << 10, 40 << 20, 40, 10},
    {"cuda:sm_89", 89, 142, 99 << 10, 96 << 20, 20, 3},
    {"cuda:sm_90a", 90, 132, 227 << 10, 50 << 20, 40, 14},
};

bool tsr_target_cuda(const char *text, tsr_target *out_target) {
  memset(out_target, 0, sizeof *out_target);
  for (size_t i = 0; i < sizeof cuda_devices / sizeof *cuda_devices; i++) {
    const struct cuda_device *device = &cuda_devices[i];
    if (strcmp(text, device->name) != 0)
      continue;
    *out_target = (tsr_target){.kind = TSR_TARGET_CUDA,
                               .capability = device->capability,
                               .vector_bits = 128 * 32,
                               .vector_registers = 32,
                               .has_fma = true,
                               .l1_bytes = device->shared_bytes,
                               .l2_bytes = device->l2_bytes,
                               .l3_bytes = device->l2_bytes,
                               .line_bytes = 128,
                               .threads = device->multiprocessors,
                               .l1_rate = 128,
                               .l2_rate = device->l2_rate,
                               .l3_rate = device->l2_rate,
                               .memory_rate = device->memory_rate,
                               .launch_cycles = 4000};
    snprintf(out_target->name, sizeof out_target->name, "%s", device->name);
    return true;
  }
  return false;
}

unsigned tsr_target_lanes(const tsr_target *target, unsigned bits) {
  const unsigned lanes = bits > 0 ? target->vector_bits / bits : 0;
  return lanes > 0 ? lanes : 1;
}
