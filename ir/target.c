#include "ir/target.h"
#include <stdio.h>
#include <string.h>

static const tsr_atom atoms[] = {
#define TSR_ATOM(name, kind, text, m, n, k, a, b, c, place, features, rate, scope, parts)          \
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
   TSR_TARGET_##kind,                                                                              \
   parts},
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
  out_target->fma_rate = 2;
  out_target->dot_bf16_share = out_target->amx_share = 1;
  out_target->l1_rate = 2.0 * out_target->vector_bits / 8;
  out_target->l2_rate = 48;
  out_target->l3_rate = 16;
  out_target->memory_rate = 5;
  out_target->launch_cycles = 300;
  out_target->fork_cycles = 1000;
}

void tsr_target_host(unsigned threads, tsr_target *out_target) {
  tsr_cpu_caches caches;
  tsr_cpu_cache_sizes(&caches);
  tsr_target_cpu(tsr_cpu_features(), &caches, threads, out_target);
}

/* Sizes and rates are those of the data sheets and of the tuning guides: A100 SXM 80 GB (NVIDIA
 * A100 Tensor Core GPU Architecture, 2020; 2039 GB/s at 1.41 GHz; L2 of 5120 bytes per cycle), L40
 * (data sheet 2022: 864 GB/s at 2.49 GHz, 181 TFLOP/s of f16), H100 SXM (NVIDIA H100 Tensor Core
 * GPU Architecture, 2022; 3352 GB/s, 989 TFLOP/s at 1.83 GHz); residency: CUDA C++ Programming
 * Guide, "Technical Specifications per Compute Capability". Not in them, and typical of what
 * measurements publish: latencies, the rate of the L2 of the L40 and the H100, launches of 2
 * microseconds, and mma.sync on the H100 at 62 percent of the rate of wgmma. */
static const struct cuda_device {
  const char *name;
  unsigned capability;
  uint64_t l2_bytes;
  tsr_gpu gpu;
} cuda_devices[] = {
    {"cuda:sm_80",
     80,
     UINT64_C(40) << 20,
     {.multiprocessors = 108,
      .warps = 64,
      .blocks = 32,
      .shared_bytes = 164 << 10,
      .block_shared_bytes = 163 << 10,
      .memory_rate = 1446,
      .l2_rate = 5120,
      .f32_rate = 64,
      .f64_rate = 32,
      .i32_rate = 64,
      .mma_share = 1,
      .memory_latency = 570,
      .l2_latency = 260,
      .launch_cycles = 2800,
      .clock_ghz = 1.41}},
    {"cuda:sm_89",
     89,
     UINT64_C(96) << 20,
     {.multiprocessors = 142,
      .warps = 48,
      .blocks = 24,
      .shared_bytes = 100 << 10,
      .block_shared_bytes = 99 << 10,
      .memory_rate = 347,
      .l2_rate = 2000,
      .f32_rate = 128,
      .f64_rate = 2,
      .i32_rate = 64,
      .mma_share = 0.25,
      .memory_latency = 700,
      .l2_latency = 300,
      .launch_cycles = 5000,
      .clock_ghz = 2.49}},
    {"cuda:sm_90a",
     90,
     UINT64_C(50) << 20,
     {.multiprocessors = 132,
      .warps = 64,
      .blocks = 32,
      .shared_bytes = 228 << 10,
      .block_shared_bytes = 227 << 10,
      .memory_rate = 1832,
      .l2_rate = 3700,
      .f32_rate = 128,
      .f64_rate = 64,
      .i32_rate = 64,
      .mma_share = 1.24,
      .wgmma_share = 1,
      .memory_latency = 650,
      .l2_latency = 270,
      .launch_cycles = 3600,
      .clock_ghz = 1.83}},
};

/* What all of them share, and the fields that stand for every kind of target. */
static void fill_cuda(const struct cuda_device *device, tsr_target *target) {
  tsr_gpu *gpu = &target->gpu;
  const double count = device->gpu.multiprocessors;
  *target = (tsr_target){.kind = TSR_TARGET_CUDA,
                         .capability = device->capability,
                         .vector_bits = 128 * 32,
                         .vector_registers = 32,
                         .has_fma = true,
                         .l1_bytes = device->gpu.block_shared_bytes,
                         .l2_bytes = device->l2_bytes,
                         .l3_bytes = device->l2_bytes,
                         .line_bytes = 128,
                         .threads = device->gpu.multiprocessors,
                         .l1_rate = 128,
                         .l2_rate = device->gpu.l2_rate / count,
                         .l3_rate = device->gpu.l2_rate / count,
                         .memory_rate = device->gpu.memory_rate / count,
                         .launch_cycles = device->gpu.launch_cycles,
                         .gpu = device->gpu};
  gpu->registers = 1 << 16;
  gpu->shared_per_block = 1 << 10;
  gpu->shared_rate = 128;
  gpu->special_rate = 16;
  gpu->shared_latency = 30;
  snprintf(target->name, sizeof target->name, "%s", device->name);
}

bool tsr_target_cuda(const char *text, tsr_target *out_target) {
  memset(out_target, 0, sizeof *out_target);
  for (size_t i = 0; i < sizeof cuda_devices / sizeof *cuda_devices; i++)
    if (strcmp(text, cuda_devices[i].name) == 0) {
      fill_cuda(&cuda_devices[i], out_target);
      return true;
    }
  return false;
}

unsigned tsr_target_lanes(const tsr_target *target, unsigned bits) {
  const unsigned lanes = bits > 0 ? target->vector_bits / bits : 0;
  return lanes > 0 ? lanes : 1;
}

uint64_t tsr_target_narrow_products(const tsr_target *target) {
  uint64_t found = 0;
  for (unsigned i = 0; target->kind == TSR_TARGET_CUDA && i < ATOM_COUNT; i++)
    if (atoms[i].kind == TSR_TARGET_CUDA && atoms[i].features <= target->capability &&
        atoms[i].a == atoms[i].b && tsr_dtype_bits(atoms[i].a) < tsr_dtype_bits(atoms[i].c))
      found |= UINT64_C(1) << atoms[i].a;
  return found;
}

bool tsr_target_byte_products(const tsr_target *target) {
  return target->kind == TSR_TARGET_CPU &&
         (target->cpu_features & (TSR_CPU_AVX512_VNNI | TSR_CPU_AMX_INT8)) != 0;
}

bool tsr_target_bf16_vectors(const tsr_target *target) {
  return target->kind == TSR_TARGET_CPU && (target->cpu_features & TSR_CPU_AVX512_BF16) != 0 &&
         (target->cpu_features & TSR_CPU_AMX_BF16) == 0;
}

bool tsr_target_bf16_products(const tsr_target *target) {
  return tsr_target_bf16_vectors(target) ||
         (target->kind == TSR_TARGET_CPU && (target->cpu_features & TSR_CPU_AMX_BF16) != 0);
}
