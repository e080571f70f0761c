#include "codegen/cpu/llvm_target.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* The optional extensions, in the order of the canonical text. */
typedef struct extension {
  const char *text;
  size_t field;
} extension;

static const extension extensions[] = {
    {"vnni", offsetof(tsr_cpu_isa, avx512_vnni)},  {"bf16", offsetof(tsr_cpu_isa, avx512_bf16)},
    {"fp16", offsetof(tsr_cpu_isa, avx512_fp16)},  {"amx-int8", offsetof(tsr_cpu_isa, amx_int8)},
    {"amx-bf16", offsetof(tsr_cpu_isa, amx_bf16)},
};
enum { EXTENSION_COUNT = sizeof extensions / sizeof *extensions };

typedef struct level_name {
  const char *text;
  tsr_cpu_level level;
} level_name;

/* The first name of a level is the canonical one. */
static const level_name levels[] = {
    {"generic", TSR_CPU_LEVEL_GENERIC},     {"x86-64-v2", TSR_CPU_LEVEL_X86_64_V2},
    {"x86-64-v3", TSR_CPU_LEVEL_X86_64_V3}, {"x86-64-v4", TSR_CPU_LEVEL_X86_64_V4},
    {"avx2", TSR_CPU_LEVEL_X86_64_V3},      {"avx512", TSR_CPU_LEVEL_X86_64_V4},
};
enum { LEVEL_COUNT = sizeof levels / sizeof *levels };

static bool *extension_of(tsr_cpu_isa *isa, size_t index) {
  return (bool *)((char *)isa + extensions[index].field);
}

static bool has_extension(const tsr_cpu_isa *isa, size_t index) {
  return *(const bool *)((const char *)isa + extensions[index].field);
}

static void isa_of_level(tsr_cpu_level level, tsr_cpu_isa *out) {
  memset(out, 0, sizeof *out);
  out->level = level;
  out->vector_bits = level == TSR_CPU_LEVEL_X86_64_V4   ? 512
                     : level == TSR_CPU_LEVEL_X86_64_V3 ? 256
                                                        : 128;
  out->vector_registers = level == TSR_CPU_LEVEL_X86_64_V4 ? 32 : 16;
  out->has_fma = level >= TSR_CPU_LEVEL_X86_64_V3;
  out->has_f16_convert = level >= TSR_CPU_LEVEL_X86_64_V3;
#if defined(__aarch64__)
  if (level == TSR_CPU_LEVEL_GENERIC) {
    out->vector_registers = 32;
    out->has_fma = true;
    out->has_f16_convert = true;
  }
#endif
}

#if defined(__x86_64__)

static uint64_t read_xcr0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

static bool all_set(uint32_t bits, uint32_t mask) {
  return (bits & mask) == mask;
}

/* CPUID leaves 1, 7.0, 7.1 and 0x80000001, as far as the levels of the x86-64 psABI need them. */
void tsr_cpu_isa_host(tsr_cpu_isa *out_isa) {
  uint32_t a, b, c, d, b7 = 0, c7 = 0, d7 = 0, a71 = 0, c1 = 0, ext = 0;
  isa_of_level(TSR_CPU_LEVEL_GENERIC, out_isa);
  if (!__get_cpuid(1, &a, &b, &c1, &d) ||
      !all_set(c1, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B))
    return;
  isa_of_level(TSR_CPU_LEVEL_X86_64_V2, out_isa);
  if (!all_set(c1, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C | bit_MOVBE))
    return;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) || !__get_cpuid(0x80000001u, &a, &b, &ext, &d))
    return;
  if (!all_set(b7, bit_AVX2 | bit_BMI | bit_BMI2) || !(ext & bit_LZCNT))
    return;
  uint64_t xcr0 = read_xcr0();
  if ((xcr0 & 0x6u) != 0x6u)
    return;
  isa_of_level(TSR_CPU_LEVEL_X86_64_V3, out_isa);
  const uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  if (!all_set(b7, avx512) || (xcr0 & 0xe6u) != 0xe6u)
    return;
  isa_of_level(TSR_CPU_LEVEL_X86_64_V4, out_isa);
  __get_cpuid_count(7, 1, &a71, &b, &c, &d);
  out_isa->avx512_vnni = (c7 >> 11 & 1) != 0;
  out_isa->avx512_bf16 = (a71 >> 5 & 1) != 0;
  out_isa->avx512_fp16 = (d7 >> 23 & 1) != 0;
  bool tiles = (d7 >> 24 & 1) != 0 && (xcr0 & 0x60000u) == 0x60000u;
  out_isa->amx_bf16 = tiles && (d7 >> 22 & 1) != 0;
  out_isa->amx_int8 = tiles && (d7 >> 25 & 1) != 0;
}

#else

void tsr_cpu_isa_host(tsr_cpu_isa *out_isa) {
  isa_of_level(TSR_CPU_LEVEL_GENERIC, out_isa);
}

#endif

static bool equals(const char *text, size_t length, const char *name) {
  return strlen(name) == length && memcmp(text, name, length) == 0;
}

static bool parse_level(const char *text, size_t length, tsr_cpu_isa *out) {
  if (length == 0 || equals(text, length, "host")) {
    tsr_cpu_isa_host(out);
    return true;
  }
  for (size_t i = 0; i < LEVEL_COUNT; i++)
    if (equals(text, length, levels[i].text)) {
      isa_of_level(levels[i].level, out);
      return true;
    }
  return false;
}

static bool parse_extension(const char *text, size_t length, tsr_cpu_isa *isa) {
  for (size_t i = 0; i < EXTENSION_COUNT; i++)
    if (equals(text, length, extensions[i].text)) {
      *extension_of(isa, i) = true;
      return true;
    }
  return false;
}

static bool level_is_native(tsr_cpu_level level) {
#if defined(__x86_64__)
  return level != TSR_CPU_LEVEL_GENERIC;
#else
  return level == TSR_CPU_LEVEL_GENERIC;
#endif
}

tsr_status tsr_cpu_isa_parse(const char *text, tsr_diag *diag, tsr_cpu_isa *out_isa) {
  memset(out_isa, 0, sizeof *out_isa);
  const char *rest = strncmp(text, "cpu", 3) == 0 ? text + 3 : text;
  if (*rest == ':')
    rest++;
  else if (*rest)
    goto bad;
  size_t length = strcspn(rest, "+");
  tsr_cpu_isa isa;
  if (!parse_level(rest, length, &isa))
    goto bad;
  rest += length;
  while (*rest == '+') {
    rest++;
    length = strcspn(rest, "+");
    if (isa.level != TSR_CPU_LEVEL_X86_64_V4 || !parse_extension(rest, length, &isa))
      goto bad;
    rest += length;
  }
  if (!level_is_native(isa.level))
    return tsr_fail(diag, TSR_ERR_UNSUPPORTED,
                    "target '%s': code is made for the architecture of this machine only, on x86 "
                    "from x86-64-v2 (SSE4.2) up",
                    text);
  *out_isa = isa;
  return TSR_OK;
bad:
  return tsr_fail(diag, TSR_ERR_ARGUMENT,
                  "target '%s' is not known; use cpu, cpu:x86-64-v2, cpu:x86-64-v3 (cpu:avx2), "
                  "cpu:x86-64-v4 (cpu:avx512) and, after the last, any of +vnni +bf16 +fp16 "
                  "+amx-int8 +amx-bf16",
                  text);
}

void tsr_cpu_isa_text(const tsr_cpu_isa *isa, char out_text[TSR_CPU_ISA_TEXT]) {
  size_t at = 0;
  for (size_t i = 0; i < LEVEL_COUNT && at == 0; i++)
    if (levels[i].level == isa->level)
      at = (size_t)snprintf(out_text, TSR_CPU_ISA_TEXT, "cpu:%s", levels[i].text);
  for (size_t i = 0; i < EXTENSION_COUNT; i++)
    if (has_extension(isa, i))
      at += (size_t)snprintf(out_text + at, TSR_CPU_ISA_TEXT - at, "+%s", extensions[i].text);
  assert(at > 0 && at < TSR_CPU_ISA_TEXT);
}

bool tsr_cpu_isa_covers(const tsr_cpu_isa *have, const tsr_cpu_isa *need) {
  if (need->level > have->level)
    return false;
  for (size_t i = 0; i < EXTENSION_COUNT; i++)
    if (has_extension(need, i) && !has_extension(have, i))
      return false;
  return true;
}

unsigned tsr_cpu_isa_lanes(const tsr_cpu_isa *isa, unsigned bits) {
  assert(bits > 0);
  return bits >= isa->vector_bits ? 1 : isa->vector_bits / bits;
}
