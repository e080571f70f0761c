#include "runtime/cpu_features.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };

/* Where CPUID reports a feature, and which register state the system must save for it. Bits of
 * other architectures have no leaf. */
typedef struct feature_source {
  uint32_t leaf, subleaf;
  uint8_t word, bit;
  uint64_t state; /* XCR0 bits */
} feature_source;

enum { STATE_AVX = 0x6, STATE_AVX512 = 0xe6, STATE_AMX = 0x60000 };

static const feature_source sources[TSR_CPU_BIT_COUNT] = {
    [TSR_CPU_BIT_SSE3] = {1, 0, ECX, 0, 0},
    [TSR_CPU_BIT_SSSE3] = {1, 0, ECX, 9, 0},
    [TSR_CPU_BIT_SSE41] = {1, 0, ECX, 19, 0},
    [TSR_CPU_BIT_SSE42] = {1, 0, ECX, 20, 0},
    [TSR_CPU_BIT_POPCNT] = {1, 0, ECX, 23, 0},
    [TSR_CPU_BIT_CX16] = {1, 0, ECX, 13, 0},
    [TSR_CPU_BIT_LAHF] = {0x80000001u, 0, ECX, 0, 0},
    [TSR_CPU_BIT_AVX] = {1, 0, ECX, 28, STATE_AVX},
    [TSR_CPU_BIT_AVX2] = {7, 0, EBX, 5, STATE_AVX},
    [TSR_CPU_BIT_FMA] = {1, 0, ECX, 12, STATE_AVX},
    [TSR_CPU_BIT_F16C] = {1, 0, ECX, 29, STATE_AVX},
    [TSR_CPU_BIT_BMI1] = {7, 0, EBX, 3, 0},
    [TSR_CPU_BIT_BMI2] = {7, 0, EBX, 8, 0},
    [TSR_CPU_BIT_LZCNT] = {0x80000001u, 0, ECX, 5, 0},
    [TSR_CPU_BIT_MOVBE] = {1, 0, ECX, 22, 0},
    [TSR_CPU_BIT_XSAVE] = {1, 0, ECX, 27, 0},
    [TSR_CPU_BIT_AVX512F] = {7, 0, EBX, 16, STATE_AVX512},
    [TSR_CPU_BIT_AVX512BW] = {7, 0, EBX, 30, STATE_AVX512},
    [TSR_CPU_BIT_AVX512DQ] = {7, 0, EBX, 17, STATE_AVX512},
    [TSR_CPU_BIT_AVX512VL] = {7, 0, EBX, 31, STATE_AVX512},
    [TSR_CPU_BIT_AVX512CD] = {7, 0, EBX, 28, STATE_AVX512},
    [TSR_CPU_BIT_AVX512_VNNI] = {7, 0, ECX, 11, STATE_AVX512},
    [TSR_CPU_BIT_AVX512_BF16] = {7, 1, EAX, 5, STATE_AVX512},
    [TSR_CPU_BIT_AVX512_FP16] = {7, 0, EDX, 23, STATE_AVX512},
    [TSR_CPU_BIT_AMX_TILE] = {7, 0, EDX, 24, STATE_AMX},
    [TSR_CPU_BIT_AMX_BF16] = {7, 0, EDX, 22, STATE_AMX},
    [TSR_CPU_BIT_AMX_INT8] = {7, 0, EDX, 25, STATE_AMX},
};

/* All four words; zero for a leaf the processor lacks. */
static void read_leaf(uint32_t leaf, uint32_t subleaf, uint32_t words[4]) {
  memset(words, 0, 4 * sizeof words[0]);
  if (leaf == 7 && subleaf == 1) {
    uint32_t first[4];
    read_leaf(7, 0, first);
    if (first[EAX] < 1)
      return;
  }
  (void)__get_cpuid_count(leaf, subleaf, &words[EAX], &words[EBX], &words[ECX], &words[EDX]);
}

static uint64_t enabled_state(void) {
  uint32_t words[4], low, high;
  read_leaf(1, 0, words);
  if ((words[ECX] >> 27 & 1) == 0)
    return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

uint64_t tsr_cpu_features(void) {
  uint64_t state = enabled_state(), features = 0;
  for (unsigned bit = 0; bit < TSR_CPU_BIT_COUNT; bit++) {
    const feature_source *source = &sources[bit];
    uint32_t words[4];
    if (source->leaf == 0)
      continue;
    read_leaf(source->leaf, source->subleaf, words);
    if ((words[source->word] >> source->bit & 1) != 0 && (state & source->state) == source->state)
      features |= (uint64_t)1 << bit;
  }
  return features;
}

static void add_cache(tsr_cpu_caches *caches, const uint32_t words[4]) {
  uint32_t level = words[EAX] >> 5 & 7;
  uint64_t line = (words[EBX] & 0xfff) + 1, sets = (uint64_t)words[ECX] + 1;
  uint64_t size = line * ((words[EBX] >> 12 & 0x3ff) + 1) * ((words[EBX] >> 22) + 1) * sets;
  caches->line_bytes = (uint32_t)line;
  if (level == 1)
    caches->l1d_bytes = size;
  else if (level == 2)
    caches->l2_bytes = size;
  else if (level == 3)
    caches->l3_bytes = size;
}

/* Leaf 4 (Intel) and 0x8000001d (AMD) have the same layout. */
static void read_caches(uint32_t leaf, tsr_cpu_caches *caches) {
  for (uint32_t i = 0; i < 16; i++) {
    uint32_t words[4], type;
    read_leaf(leaf, i, words);
    type = words[EAX] & 0x1f;
    if (type == 0)
      return;
    if (type == 1 || type == 3)
      add_cache(caches, words);
  }
}

void tsr_cpu_cache_sizes(tsr_cpu_caches *out_caches) {
  memset(out_caches, 0, sizeof *out_caches);
  read_caches(4, out_caches);
  if (out_caches->l1d_bytes == 0)
    read_caches(0x8000001du, out_caches);
}

bool tsr_cpu_request_amx(void) {
  enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
  if ((tsr_cpu_features() & TSR_CPU_AMX_TILE) == 0)
    return false;
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

void tsr_cpu_load_tiles(const void *config) {
  __asm__ volatile("ldtilecfg (%0)" : : "r"(config) : "memory");
}

void tsr_cpu_release_tiles(void) {
  __asm__ volatile("tilerelease" : : : "memory");
}

#else

uint64_t tsr_cpu_features(void) {
#if defined(__aarch64__)
  return TSR_CPU_AARCH64;
#else
  return 0;
#endif
}

static uint64_t positive(long value) {
  return value > 0 ? (uint64_t)value : 0;
}

void tsr_cpu_cache_sizes(tsr_cpu_caches *out_caches) {
  memset(out_caches, 0, sizeof *out_caches);
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  out_caches->l1d_bytes = positive(sysconf(_SC_LEVEL1_DCACHE_SIZE));
  out_caches->l2_bytes = positive(sysconf(_SC_LEVEL2_CACHE_SIZE));
  out_caches->l3_bytes = positive(sysconf(_SC_LEVEL3_CACHE_SIZE));
  out_caches->line_bytes = (uint32_t)positive(sysconf(_SC_LEVEL1_DCACHE_LINESIZE));
#endif
}

bool tsr_cpu_request_amx(void) {
  return false;
}

void tsr_cpu_load_tiles(const void *config) {
  (void)config;
}

void tsr_cpu_release_tiles(void) {
}

#endif

uint32_t tsr_cpu_count(void) {
  cpu_set_t set;
  int count;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  count = CPU_COUNT(&set);
  return count > 0 ? (uint32_t)count : 1;
}

static const char *const feature_texts[TSR_CPU_BIT_COUNT] = {
#define TSR_CPU_TEXT(name, bit, text) [bit] = text,
    TSR_CPU_FEATURE_LIST(TSR_CPU_TEXT)
#undef TSR_CPU_TEXT
};

const char *tsr_cpu_feature_text(uint32_t bit) {
  return bit < TSR_CPU_BIT_COUNT ? feature_texts[bit] : "?";
}

int tsr_cpu_feature_parse(const char *text, size_t length) {
  for (int bit = 0; bit < TSR_CPU_BIT_COUNT; bit++)
    if (strlen(feature_texts[bit]) == length && memcmp(feature_texts[bit], text, length) == 0)
      return bit;
  return -1;
}

void tsr_cpu_feature_names(uint64_t features, char *out, size_t out_size) {
  size_t used = 0;
  if (out_size == 0)
    return;
  out[0] = '\0';
  for (uint32_t bit = 0; bit < 64 && used < out_size; bit++) {
    int length;
    if ((features >> bit & 1) == 0)
      continue;
    length = bit < TSR_CPU_BIT_COUNT ? snprintf(out + used, out_size - used, "%s%s",
                                                used != 0 ? ", " : "", feature_texts[bit])
                                     : snprintf(out + used, out_size - used, "%sfeature %u",
                                                used != 0 ? ", " : "", bit);
    used += length > 0 ? (size_t)length : 0;
  }
}
