#include "tuner/ceilings_kernels.h"
#include "runtime/cpu_features.h"
#include <string.h>

/* Sixteen accumulators hide the latency of two units; the multiplier stays near 1, so that no value
 * ever becomes subnormal or infinite. */
#define REPEAT16(x)                                                                                \
  x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)

#define START(i) vector a##i = SPLAT(1.0f + (float)(i)*0.01f);
#define TURN(i)  a##i = FMA(a##i, factor, term);
#define KEEP(i)  sum = ADD(sum, a##i);

#define DEFINE_FMA(name, attribute)                                                                \
  attribute static double name(int64_t rounds) {                                                   \
    vector factor = SPLAT(0.9999f), term = SPLAT(0.0001f), sum = SPLAT(0.0f);                      \
    REPEAT16(START)                                                                                \
    for (int64_t i = 0; i < rounds; i++) {                                                         \
      REPEAT16(TURN)                                                                               \
    }                                                                                              \
    REPEAT16(KEEP)                                                                                 \
    float out[64];                                                                                 \
    memcpy(out, &sum, sizeof sum);                                                                 \
    return (double)out[0];                                                                         \
  }

/* A chain of additions, which the compiler cannot shorten and no processor renames away. */
static double count_cycles(int64_t rounds) {
  uint64_t sum = (uint64_t)rounds, step = 3;
#define ADD_NEXT(i)                                                                                \
  __asm__ volatile("" : "+r"(sum), "+r"(step));                                                    \
  sum += step;
  for (int64_t i = 0; i < rounds; i++) {
    REPEAT16(ADD_NEXT)
  }
#undef ADD_NEXT
  return (double)(sum & 1);
}

/* Sums of whole vectors of 32-bit words: each word that is read is used. */
#define DEFINE_MEMORY(suffix, attribute, words)                                                    \
  attribute static double read_##suffix(const void *from, size_t bytes) {                          \
    typedef uint32_t wide __attribute__((vector_size(words)));                                     \
    const wide *at = from;                                                                         \
    wide s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};                                                   \
    for (size_t i = 0; i < bytes / (words); i += 4) {                                              \
      s0 += at[i];                                                                                 \
      s1 += at[i + 1];                                                                             \
      s2 += at[i + 2];                                                                             \
      s3 += at[i + 3];                                                                             \
    }                                                                                              \
    s0 += s1 + s2 + s3;                                                                            \
    uint32_t out[(words) / 4];                                                                     \
    memcpy(out, &s0, sizeof s0);                                                                   \
    return (double)out[0];                                                                         \
  }                                                                                                \
  attribute static void copy_##suffix(void *to, const void *from, size_t bytes) {                  \
    typedef uint32_t wide __attribute__((vector_size(words)));                                     \
    const volatile wide *in = from;                                                                \
    wide *out = to;                                                                                \
    for (size_t i = 0; i < bytes / (words); i++)                                                   \
      out[i] = in[i];                                                                              \
  }

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define AVX2   __attribute__((target("avx2,fma")))

DEFINE_MEMORY(sse, , 16)
DEFINE_MEMORY(avx2, AVX2, 32)
DEFINE_MEMORY(avx512, AVX512, 64)

#define vector       __m128
#define SPLAT(x)     _mm_set1_ps(x)
#define ADD(a, b)    _mm_add_ps(a, b)
#define FMA(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
DEFINE_FMA(fma_sse, )
#undef vector
#undef SPLAT
#undef ADD
#undef FMA

#define vector       __m256
#define SPLAT(x)     _mm256_set1_ps(x)
#define ADD(a, b)    _mm256_add_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
DEFINE_FMA(fma_avx2, AVX2)
#undef vector
#undef SPLAT
#undef ADD
#undef FMA

#define vector       __m512
#define SPLAT(x)     _mm512_set1_ps(x)
#define ADD(a, b)    _mm512_add_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
DEFINE_FMA(fma_avx512, AVX512)
#undef vector
#undef SPLAT
#undef ADD
#undef FMA

#define FP16         __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512fp16")))
#define vector       __m512h
#define SPLAT(x)     _mm512_set1_ph((_Float16)(x))
#define ADD(a, b)    _mm512_add_ph(a, b)
#define FMA(a, b, c) _mm512_fmadd_ph(a, b, c)
DEFINE_FMA(fma_fp16, FP16)
#undef vector
#undef SPLAT
#undef ADD
#undef FMA

#define VNNI         __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define vector       __m512i
#define SPLAT(x)     _mm512_set1_epi32((int)((x)*100))
#define ADD(a, b)    _mm512_add_epi32(a, b)
#define FMA(a, b, c) _mm512_dpbusd_epi32(a, b, c)
DEFINE_FMA(dot_vnni, VNNI)
#undef vector
#undef SPLAT
#undef ADD
#undef FMA

/* A pair of bf16 a word, small, so that sums stay normal. No two accumulators may start alike: the
 * compiler would make one of them. */
static inline int bf16_pair(float x) {
  uint32_t bits;
  const float small = x * 0x1p-20f;
  memcpy(&bits, &small, sizeof bits);
  return (int)(bits >> 16 << 16 | bits >> 16);
}

#define BF16         __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define vector       __m512
#define SPLAT(x)     _mm512_castsi512_ps(_mm512_set1_epi32(bf16_pair(x)))
#define ADD(a, b)    _mm512_add_ps(a, b)
#define FMA(a, b, c) _mm512_dpbf16_ps(a, (__m512bh)(b), (__m512bh)(c))
DEFINE_FMA(dot_bf16, BF16)
#undef vector
#undef SPLAT
#undef ADD
#undef FMA

AVX512 static void stream_avx512(void *to, const void *from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64)
    _mm512_stream_si512((__m512i *)((char *)to + i), _mm512_load_si512((const char *)from + i));
  _mm_sfence();
}

static void stream_sse(void *to, const void *from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 16)
    _mm_stream_si128((__m128i *)((char *)to + i),
                     _mm_load_si128((const __m128i *)((const char *)from + i)));
  _mm_sfence();
}

/* --- AMX: tiles of 16 rows of 64 bytes; two of a, two of b, four sums, as a kernel would --- */

#define AMX __attribute__((target("amx-tile,amx-bf16,amx-int8")))

typedef struct tile_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t column_bytes[16];
  uint8_t rows[16];
} tile_config;

AMX static void begin_tiles(void) {
  tile_config config = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    config.column_bytes[i] = 64;
    config.rows[i] = 16;
  }
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

AMX static double end_tiles(void) {
  float out[256];
  _tile_stored(0, out, 64);
  _tile_release();
  return (double)out[0];
}

AMX static double amx_bf16(int64_t rounds) {
  begin_tiles();
  for (int64_t i = 0; i < rounds; i++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return end_tiles();
}

AMX static double amx_i8(int64_t rounds) {
  begin_tiles();
  for (int64_t i = 0; i < rounds; i++) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  return end_tiles();
}

/* The set of a loop and what a round of it does: turns times lanes times operations per lane. */
static void set(tsr_ceiling_kernels *out, tsr_ceiling ceiling, double (*run)(int64_t), double ops) {
  out->arithmetic[ceiling] = (tsr_ceiling_loop){run, ops};
}

static void select_amx(tsr_ceiling_kernels *out, uint64_t has) {
  if ((has & TSR_CPU_AMX_TILE) == 0 || !tsr_cpu_request_amx())
    return;
  if ((has & TSR_CPU_AMX_BF16) != 0)
    set(out, TSR_CEILING_AMX_BF16, amx_bf16, 4.0 * 16 * 16 * 32 * 2);
  if ((has & TSR_CPU_AMX_INT8) != 0)
    set(out, TSR_CEILING_AMX_I8, amx_i8, 4.0 * 16 * 16 * 64 * 2);
}

void tsr_ceiling_kernels_select(tsr_ceiling_kernels *out) {
  uint64_t has = tsr_cpu_features();
  *out = (tsr_ceiling_kernels){.read = read_sse, .copy = copy_sse, .stream = stream_sse};
  set(out, TSR_CEILING_CLOCK, count_cycles, 16);
  set(out, TSR_CEILING_FMA_F32, fma_sse, 16 * 4 * 2);
  if ((has & TSR_CPU_X86_64_V3) == TSR_CPU_X86_64_V3) {
    set(out, TSR_CEILING_FMA_F32, fma_avx2, 16 * 8 * 2);
    out->read = read_avx2;
    out->copy = copy_avx2;
  }
  if ((has & TSR_CPU_X86_64_V4) != TSR_CPU_X86_64_V4)
    return;
  set(out, TSR_CEILING_FMA_F32, fma_avx512, 16 * 16 * 2);
  out->read = read_avx512;
  out->copy = copy_avx512;
  out->stream = stream_avx512;
  if ((has & TSR_CPU_AVX512_VNNI) != 0)
    set(out, TSR_CEILING_DOT_I8, dot_vnni, 16 * 64 * 2);
  if ((has & TSR_CPU_AVX512_BF16) != 0)
    set(out, TSR_CEILING_DOT_BF16, dot_bf16, 16 * 32 * 2);
  if ((has & TSR_CPU_AVX512_FP16) != 0)
    set(out, TSR_CEILING_FMA_F16, fma_fp16, 16 * 32 * 2);
  select_amx(out, has);
}

#else

typedef float four __attribute__((vector_size(16)));

static inline four fma_four(four a, four b, four c) {
  for (int i = 0; i < 4; i++)
    a[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return a;
}

#define vector       four
#define SPLAT(x)     ((four){x, x, x, x})
#define ADD(a, b)    ((a) + (b))
#define FMA(a, b, c) fma_four(a, b, c)
DEFINE_FMA(fma_any, )
DEFINE_MEMORY(any, , 16)

void tsr_ceiling_kernels_select(tsr_ceiling_kernels *out) {
  *out = (tsr_ceiling_kernels){.read = read_any, .copy = copy_any, .stream = copy_any};
  out->arithmetic[TSR_CEILING_CLOCK] = (tsr_ceiling_loop){count_cycles, 16};
  out->arithmetic[TSR_CEILING_FMA_F32] = (tsr_ceiling_loop){fma_any, 16 * 4 * 2};
}

#endif
