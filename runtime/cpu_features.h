/* What the processor and the system offer, from CPUID and XGETBV; never from the processor's name,
 * which virtual machines get wrong. */
#ifndef TSR_RUNTIME_CPU_FEATURES_H
#define TSR_RUNTIME_CPU_FEATURES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(NAME, bit, "text"). Bits are stored in modules and never change meaning. The texts are LLVM's
 * feature names; AARCH64 stands for that whole architecture with its baseline, NEON included. */
#define TSR_CPU_FEATURE_LIST(X)                                                                    \
  X(SSE3, 0, "sse3")                                                                               \
  X(SSSE3, 1, "ssse3")                                                                             \
  X(SSE41, 2, "sse4.1")                                                                            \
  X(SSE42, 3, "sse4.2")                                                                            \
  X(POPCNT, 4, "popcnt")                                                                           \
  X(CX16, 5, "cx16")                                                                               \
  X(LAHF, 6, "sahf")                                                                               \
  X(AVX, 7, "avx")                                                                                 \
  X(AVX2, 8, "avx2")                                                                               \
  X(FMA, 9, "fma")                                                                                 \
  X(F16C, 10, "f16c")                                                                              \
  X(BMI1, 11, "bmi")                                                                               \
  X(BMI2, 12, "bmi2")                                                                              \
  X(LZCNT, 13, "lzcnt")                                                                            \
  X(MOVBE, 14, "movbe")                                                                            \
  X(XSAVE, 15, "xsave")                                                                            \
  X(AVX512F, 16, "avx512f")                                                                        \
  X(AVX512BW, 17, "avx512bw")                                                                      \
  X(AVX512DQ, 18, "avx512dq")                                                                      \
  X(AVX512VL, 19, "avx512vl")                                                                      \
  X(AVX512CD, 20, "avx512cd")                                                                      \
  X(AVX512_VNNI, 21, "avx512vnni")                                                                 \
  X(AVX512_BF16, 22, "avx512bf16")                                                                 \
  X(AVX512_FP16, 23, "avx512fp16")                                                                 \
  X(AMX_TILE, 24, "amx-tile")                                                                      \
  X(AMX_BF16, 25, "amx-bf16")                                                                      \
  X(AMX_INT8, 26, "amx-int8")                                                                      \
  X(AARCH64, 27, "aarch64")

enum {
#define TSR_CPU_BIT_ENUM(name, bit, text) TSR_CPU_BIT_##name = bit,
  TSR_CPU_FEATURE_LIST(TSR_CPU_BIT_ENUM)
#undef TSR_CPU_BIT_ENUM
      TSR_CPU_BIT_COUNT
};

#define TSR_CPU_MASK(name)  ((uint64_t)1 << TSR_CPU_BIT_##name)
#define TSR_CPU_SSE42       TSR_CPU_MASK(SSE42)
#define TSR_CPU_POPCNT      TSR_CPU_MASK(POPCNT)
#define TSR_CPU_AVX2        TSR_CPU_MASK(AVX2)
#define TSR_CPU_FMA         TSR_CPU_MASK(FMA)
#define TSR_CPU_F16C        TSR_CPU_MASK(F16C)
#define TSR_CPU_BMI2        TSR_CPU_MASK(BMI2)
#define TSR_CPU_AVX512F     TSR_CPU_MASK(AVX512F)
#define TSR_CPU_AVX512BW    TSR_CPU_MASK(AVX512BW)
#define TSR_CPU_AVX512DQ    TSR_CPU_MASK(AVX512DQ)
#define TSR_CPU_AVX512VL    TSR_CPU_MASK(AVX512VL)
#define TSR_CPU_AVX512CD    TSR_CPU_MASK(AVX512CD)
#define TSR_CPU_AVX512_VNNI TSR_CPU_MASK(AVX512_VNNI)
#define TSR_CPU_AVX512_BF16 TSR_CPU_MASK(AVX512_BF16)
#define TSR_CPU_AVX512_FP16 TSR_CPU_MASK(AVX512_FP16)
#define TSR_CPU_AMX_TILE    TSR_CPU_MASK(AMX_TILE)
#define TSR_CPU_AMX_BF16    TSR_CPU_MASK(AMX_BF16)
#define TSR_CPU_AMX_INT8    TSR_CPU_MASK(AMX_INT8)
#define TSR_CPU_AARCH64     TSR_CPU_MASK(AARCH64)

/* The levels of the x86-64 psABI; each includes the one before. */
#define TSR_CPU_X86_64_V2                                                                          \
  (TSR_CPU_MASK(SSE3) | TSR_CPU_MASK(SSSE3) | TSR_CPU_MASK(SSE41) | TSR_CPU_SSE42 |                \
   TSR_CPU_POPCNT | TSR_CPU_MASK(CX16) | TSR_CPU_MASK(LAHF))
#define TSR_CPU_X86_64_V3                                                                          \
  (TSR_CPU_X86_64_V2 | TSR_CPU_MASK(AVX) | TSR_CPU_AVX2 | TSR_CPU_FMA | TSR_CPU_F16C |             \
   TSR_CPU_MASK(BMI1) | TSR_CPU_BMI2 | TSR_CPU_MASK(LZCNT) | TSR_CPU_MASK(MOVBE) |                 \
   TSR_CPU_MASK(XSAVE))
#define TSR_CPU_X86_64_V4                                                                          \
  (TSR_CPU_X86_64_V3 | TSR_CPU_AVX512F | TSR_CPU_AVX512BW | TSR_CPU_AVX512DQ | TSR_CPU_AVX512VL |  \
   TSR_CPU_AVX512CD)

/* Sizes in bytes of the caches one core reaches; 0 where unknown or absent. */
typedef struct tsr_cpu_caches {
  uint64_t l1d_bytes, l2_bytes, l3_bytes;
  uint32_t line_bytes;
} tsr_cpu_caches;

/* Bits of the features that the processor has and the system has enabled (register state by
 * XGETBV); on AArch64 the bit of that architecture; 0 on others. */
uint64_t tsr_cpu_features(void);
void tsr_cpu_cache_sizes(tsr_cpu_caches *out_caches);
/* Online logical processors that this process may use, at least 1. */
uint32_t tsr_cpu_count(void);

/* The text of one bit; "?" when unknown. */
const char *tsr_cpu_feature_text(uint32_t bit);
/* The bit number, or -1. */
int tsr_cpu_feature_parse(const char *text, size_t length);
/* Writes "avx512f, amx-tile" for the bits of `features`; always terminated; cut off if too long. */
void tsr_cpu_feature_names(uint64_t features, char *out, size_t out_size);

/* AMX needs the system's permission once per process: asks for it; true when granted. Without AMX
 * false. */
bool tsr_cpu_request_amx(void);
/* LDTILECFG with 64 bytes, and TILERELEASE, on the calling thread; the first only where the request
 * was granted. Tiles that are not released make every switch of threads dearer. */
void tsr_cpu_load_tiles(const void *config);
void tsr_cpu_release_tiles(void);

#endif
