#include "codegen/cpu/cpu_isa.h"
#include "runtime/cpu_features.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The optional extensions, in the order of the canonical text. */
typedef struct extension {
  const char *text;
  size_t field;
  uint64_t features; /* runtime/cpu_features.h */
} extension;

static const extension extensions[] = {
    {"vnni", offsetof(tsr_cpu_isa, avx512_vnni), TSR_CPU_AVX512_VNNI},
    {"bf16", offsetof(tsr_cpu_isa, avx512_bf16), TSR_CPU_AVX512_BF16},
    {"fp16", offsetof(tsr_cpu_isa, avx512_fp16), TSR_CPU_AVX512_FP16},
    {"amx-int8", offsetof(tsr_cpu_isa, amx_int8), TSR_CPU_AMX_TILE | TSR_CPU_AMX_INT8},
    {"amx-bf16", offsetof(tsr_cpu_isa, amx_bf16), TSR_CPU_AMX_TILE | TSR_CPU_AMX_BF16},
    {"amx-emulated", offsetof(tsr_cpu_isa, amx_emulated), 0}, /* no machine has it */
};
enum { EXTENSION_COUNT = sizeof extensions / sizeof *extensions };

typedef struct level_name {
  const char *text;
  tsr_cpu_level level;
} level_name;

/* What "generic" means here: the level with a feature bit where there is one, because only bits
 * keep other machines from loading the code. */
#if defined(__aarch64__)
#define HOST_BASELINE TSR_CPU_LEVEL_AARCH64
#else
#define HOST_BASELINE TSR_CPU_LEVEL_GENERIC
#endif

/* The first name of a level is the canonical one. */
static const level_name levels[] = {
    {"aarch64", TSR_CPU_LEVEL_AARCH64},     {"generic", HOST_BASELINE},
    {"x86-64-v2", TSR_CPU_LEVEL_X86_64_V2}, {"x86-64-v3", TSR_CPU_LEVEL_X86_64_V3},
    {"x86-64-v4", TSR_CPU_LEVEL_X86_64_V4}, {"avx2", TSR_CPU_LEVEL_X86_64_V3},
    {"avx512", TSR_CPU_LEVEL_X86_64_V4},
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
  if (level == TSR_CPU_LEVEL_AARCH64) {
    out->vector_registers = 32;
    out->has_fma = true;
    out->has_f16_convert = true;
  }
}

static uint64_t level_features(tsr_cpu_level level) {
  switch (level) {
  case TSR_CPU_LEVEL_X86_64_V2:
    return TSR_CPU_X86_64_V2;
  case TSR_CPU_LEVEL_X86_64_V3:
    return TSR_CPU_X86_64_V3;
  case TSR_CPU_LEVEL_X86_64_V4:
    return TSR_CPU_X86_64_V4;
  case TSR_CPU_LEVEL_AARCH64:
    return TSR_CPU_AARCH64;
  case TSR_CPU_LEVEL_GENERIC:
    break;
  }
  return 0;
}

void tsr_cpu_isa_from_features(uint64_t features, tsr_cpu_isa *out_isa) {
  tsr_cpu_level level = TSR_CPU_LEVEL_X86_64_V4;
  while (level > TSR_CPU_LEVEL_GENERIC && (level_features(level) & ~features) != 0)
    level--;
  isa_of_level(level, out_isa);
  if (level < TSR_CPU_LEVEL_X86_64_V4)
    return;
  for (size_t i = 0; i < EXTENSION_COUNT; i++)
    *extension_of(out_isa, i) =
        extensions[i].features != 0 && (extensions[i].features & ~features) == 0;
}

uint64_t tsr_cpu_isa_features(const tsr_cpu_isa *isa) {
  uint64_t features = level_features(isa->level);
  for (size_t i = 0; i < EXTENSION_COUNT; i++)
    if (has_extension(isa, i))
      features |= extensions[i].features;
  return features;
}

uint64_t tsr_cpu_isa_tiles(const tsr_cpu_isa *isa) {
  const uint64_t amx = TSR_CPU_AMX_TILE | TSR_CPU_AMX_BF16 | TSR_CPU_AMX_INT8;
  return isa->amx_emulated ? 0 : tsr_cpu_isa_features(isa) & amx;
}

uint64_t tsr_cpu_isa_needs(const tsr_cpu_isa *isa) {
  const uint64_t amx = TSR_CPU_AMX_TILE | TSR_CPU_AMX_BF16 | TSR_CPU_AMX_INT8;
  return tsr_cpu_isa_features(isa) & ~amx;
}

void tsr_cpu_isa_host(tsr_cpu_isa *out_isa) {
  tsr_cpu_isa_from_features(tsr_cpu_features(), out_isa);
}

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

static bool level_can_be_made(tsr_cpu_level level) {
  if (level == TSR_CPU_LEVEL_AARCH64)
    return true;
#if defined(__x86_64__)
  return level != TSR_CPU_LEVEL_GENERIC;
#else
  return level == HOST_BASELINE;
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
  if (!level_can_be_made(isa.level))
    return tsr_fail(diag, TSR_ERR_UNSUPPORTED,
                    "target '%s': code is made for aarch64 and for the architecture of this "
                    "machine, on x86 from x86-64-v2 (SSE4.2) up",
                    text);
  *out_isa = isa;
  return TSR_OK;
bad:
  return tsr_fail(diag, TSR_ERR_ARGUMENT,
                  "target '%s' is not known; use cpu, cpu:aarch64, cpu:x86-64-v2, cpu:x86-64-v3 "
                  "(cpu:avx2), cpu:x86-64-v4 (cpu:avx512) and, after the last, any of +vnni +bf16 "
                  "+fp16 +amx-int8 +amx-bf16",
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
  const uint64_t all = tsr_cpu_isa_needs(need) | tsr_cpu_isa_tiles(need);
  return (all & ~tsr_cpu_isa_features(have)) == 0;
}

bool tsr_cpu_isa_host_runs(uint64_t features) {
  tsr_cpu_isa here, wanted;
  tsr_cpu_isa_host(&here);
  tsr_cpu_isa_from_features(features, &wanted);
  return tsr_cpu_isa_covers(&here, &wanted);
}

unsigned tsr_cpu_isa_lanes(const tsr_cpu_isa *isa, unsigned bits) {
  assert(bits > 0);
  return bits >= isa->vector_bits ? 1 : isa->vector_bits / bits;
}
