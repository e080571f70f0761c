/* The device primitives of codegen/cuda/device/device.h a second time, for the host: a kernel text
 * behind this one is C. Plain loads and stores are seen because the text is compiled with
 * -fsanitize=thread and the hooks are ours. */
#ifndef TSR_DEVICE_EMULATED_H
#define TSR_DEVICE_EMULATED_H
#include "device_api.h"
#include "device_common.h"

static const tsr_emulated_api *tsr_api;
static const tsr_emulated_self *tsr_self;

/* Not instrumented themselves. */
#define TSR_RAW static __attribute__((noinline, unused, no_sanitize("thread")))
/* Constant while a thread runs. */
#define TSR_IDENTITY static __attribute__((noinline, unused, const, no_sanitize("thread")))

#define TSR_HOOK __attribute__((visibility("hidden"), no_sanitize("thread"), used))
#define TSR_HOOKS(bytes)                                                                           \
  TSR_HOOK void __tsan_read##bytes(void *p) {                                                      \
    tsr_api->access(p, bytes, TSR_ACCESS_READ, TSR_SPACE_ANY);                                     \
  }                                                                                                \
  TSR_HOOK void __tsan_write##bytes(void *p) {                                                     \
    tsr_api->access(p, bytes, TSR_ACCESS_WRITE, TSR_SPACE_ANY);                                    \
  }                                                                                                \
  TSR_HOOK void __tsan_unaligned_read##bytes(void *p) {                                            \
    tsr_api->access(p, bytes, TSR_ACCESS_READ, TSR_SPACE_ANY);                                     \
  }                                                                                                \
  TSR_HOOK void __tsan_unaligned_write##bytes(void *p) {                                           \
    tsr_api->access(p, bytes, TSR_ACCESS_WRITE, TSR_SPACE_ANY);                                    \
  }
TSR_HOOKS(1)
TSR_HOOKS(2)
TSR_HOOKS(4)
TSR_HOOKS(8)
TSR_HOOKS(16)
TSR_HOOK void __tsan_read_range(void *p, unsigned long bytes) {
  for (unsigned long i = 0; i < bytes; ++i)
    tsr_api->access((char *)p + i, 1, TSR_ACCESS_READ, TSR_SPACE_ANY);
}
TSR_HOOK void __tsan_write_range(void *p, unsigned long bytes) {
  for (unsigned long i = 0; i < bytes; ++i)
    tsr_api->access((char *)p + i, 1, TSR_ACCESS_WRITE, TSR_SPACE_ANY);
}
TSR_HOOK void *__tsan_memcpy(void *to, const void *from, unsigned long bytes) {
  __tsan_read_range((void *)from, bytes);
  __tsan_write_range(to, bytes);
  return __builtin_memcpy(to, from, bytes);
}
TSR_HOOK void *__tsan_memset(void *to, int value, unsigned long bytes) {
  __tsan_write_range(to, bytes);
  return __builtin_memset(to, value, bytes);
}
TSR_HOOK void __tsan_func_entry(void *p) {
  (void)p;
}
TSR_HOOK void __tsan_func_exit(void) {
}
TSR_HOOK void __tsan_init(void) {
}

/* The loader reads kernels' names and parameters from the text. They are not static, so that no
 * compiler changes how they take their parameters. */
#define TSR_KERNEL(threads)                  __attribute__((noinline, visibility("default"))) void
#define TSR_KERNEL_RESIDENT(threads, blocks) __attribute__((noinline, visibility("default"))) void
#define TSR_KERNEL_CLUSTER(threads, blocks)  __attribute__((noinline, visibility("default"))) void
#define TSR_UNROLL
#define TSR_RESTRICT
#define TSR_ASSUME(condition)                                                                      \
  do {                                                                                             \
    if (!(condition))                                                                              \
      __builtin_trap();                                                                            \
  } while (0)

typedef struct tsr_tensor_map {
  tsr_u64 opaque[16];
} __attribute__((aligned(64))) tsr_tensor_map;
#define TSR_TENSOR_MAP const tsr_tensor_map

TSR_IDENTITY int tsr_thread(void) {
  return tsr_self->thread;
}
TSR_IDENTITY int tsr_threads(void) {
  return tsr_self->threads;
}
TSR_IDENTITY int tsr_lane(void) {
  return tsr_self->thread & 31;
}
TSR_IDENTITY int tsr_warp(void) {
  return tsr_self->thread >> 5;
}
TSR_IDENTITY tsr_s64 tsr_block(void) {
  return tsr_self->block;
}
TSR_IDENTITY tsr_s64 tsr_blocks(void) {
  return tsr_self->blocks;
}
TSR_IDENTITY int tsr_cluster_rank(void) {
  return tsr_self->cluster_rank;
}
TSR_IDENTITY int tsr_cluster_size(void) {
  return tsr_self->cluster_size;
}
TSR_IDENTITY tsr_u8 *tsr_shared_base(void) {
  return tsr_self->shared;
}
#define tsr_shared (tsr_shared_base())

TSR_RAW tsr_u32 tsr_shared_address(const void *p) {
  return tsr_api->shared_address(p);
}

TSR_RAW void tsr_barrier(void) {
  tsr_api->barrier(0, tsr_self->threads, 1);
}
TSR_RAW void tsr_barrier_named(int id, int threads) {
  tsr_api->barrier(id, threads, 1);
}
TSR_RAW void tsr_barrier_named_arrive(int id, int threads) {
  tsr_api->barrier(id, threads, 0);
}
TSR_RAW void tsr_warp_barrier(void) {
  tsr_api->warp_barrier();
}

#define TSR_SHUFFLE(name, MODE)                                                                    \
  TSR_RAW int tsr_warp_shuffle_##name##_i32(int value, int operand) {                              \
    return (int)tsr_api->shuffle(TSR_SHUFFLE_##MODE, (tsr_u32)value, operand);                     \
  }                                                                                                \
  TSR_RAW float tsr_warp_shuffle_##name##_f32(float value, int operand) {                          \
    return tsr_bits_to_f32(tsr_api->shuffle(TSR_SHUFFLE_##MODE, tsr_f32_to_bits(value), operand)); \
  }
TSR_SHUFFLE(xor, XOR)
TSR_SHUFFLE(down, DOWN)
TSR_SHUFFLE(up, UP)
TSR_SHUFFLE(index, INDEX)
TSR_RAW tsr_u32 tsr_warp_ballot(int predicate) {
  return tsr_api->shuffle(TSR_SHUFFLE_BALLOT, predicate != 0, 0);
}

#define TSR_ATOMIC(name, type, expression)                                                         \
  TSR_RAW type tsr_atomic_##name(type *p, type value) {                                            \
    tsr_api->access(p, sizeof(type), TSR_ACCESS_WRITE | TSR_ACCESS_ATOMIC, TSR_SPACE_ANY);         \
    type old = *p;                                                                                 \
    *p = (expression);                                                                             \
    return old;                                                                                    \
  }
TSR_ATOMIC(add_i32, int, (int)((tsr_u32)old + (tsr_u32)value))
TSR_ATOMIC(add_i64, tsr_s64, (tsr_s64)((tsr_u64)old + (tsr_u64)value))
TSR_ATOMIC(add_f32, float, old + value)
TSR_ATOMIC(add_f64, double, old + value)
TSR_ATOMIC(max_i32, int, old > value ? old : value)
TSR_ATOMIC(min_i32, int, old < value ? old : value)
TSR_ATOMIC(and_u32, tsr_u32, old &value)
TSR_ATOMIC(or_u32, tsr_u32, old | value)

#define TSR_ATOMIC_CAS(name, type)                                                                 \
  TSR_RAW type tsr_atomic_cas_##name(type *p, type expected, type value) {                         \
    tsr_api->access(p, sizeof(type), TSR_ACCESS_WRITE | TSR_ACCESS_ATOMIC, TSR_SPACE_ANY);         \
    type old = *p;                                                                                 \
    if (old == expected)                                                                           \
      *p = value;                                                                                  \
    return old;                                                                                    \
  }
TSR_ATOMIC_CAS(u16, tsr_u16)
TSR_ATOMIC_CAS(u32, tsr_u32)
TSR_ATOMIC_CAS(u64, tsr_u64)

TSR_RAW int tsr_load_acquire_i32(const int *p) {
  tsr_api->spin();
  tsr_api->access(p, 4, TSR_ACCESS_READ | TSR_ACCESS_ATOMIC, TSR_SPACE_ANY);
  tsr_api->synchronise(p, 1, 0);
  return *p;
}
TSR_RAW void tsr_store_release_i32(int *p, int value) {
  tsr_api->access(p, 4, TSR_ACCESS_WRITE | TSR_ACCESS_ATOMIC, TSR_SPACE_ANY);
  tsr_api->synchronise(p, 0, 1);
  *p = value;
}
TSR_RAW void tsr_fence_gpu(void) {
  tsr_api->synchronise(0, 1, 1);
}
TSR_RAW void tsr_grid_barrier(void) {
  tsr_api->grid_barrier();
}

#define TSR_VECTOR(bytes, words, space, SPACE)                                                     \
  TSR_RAW tsr_u32x##words tsr_load_##space##_##bytes(const void *p) {                              \
    tsr_u32x##words v;                                                                             \
    tsr_api->access(p, bytes, TSR_ACCESS_READ, TSR_SPACE_##SPACE);                                 \
    __builtin_memcpy(&v, p, bytes);                                                                \
    return v;                                                                                      \
  }                                                                                                \
  TSR_RAW void tsr_store_##space##_##bytes(void *p, tsr_u32x##words v) {                           \
    tsr_api->access(p, bytes, TSR_ACCESS_WRITE, TSR_SPACE_##SPACE);                                \
    __builtin_memcpy(p, &v, bytes);                                                                \
  }
TSR_VECTOR(16, 4, global, GLOBAL)
TSR_VECTOR(8, 2, global, GLOBAL)
TSR_VECTOR(4, 1, global, GLOBAL)
TSR_VECTOR(16, 4, shared, SHARED)
TSR_VECTOR(8, 2, shared, SHARED)
TSR_VECTOR(4, 1, shared, SHARED)
#define tsr_load_constant_16 tsr_load_global_16

/* f16: the same steps as float8 in device_common.h. */
TSR_RAW float tsr_f16_to_f32(tsr_u16 bits) {
  tsr_u32 exponent = bits >> 10 & 31u, fraction = bits & 1023u, a;
  if (exponent == 31)
    a = 0x7f800000u | fraction << 13;
  else if (exponent == 0)
    a = tsr_f32_to_bits((float)fraction * 5.9604644775390625e-8f);
  else
    a = (exponent + 112u) << 23 | fraction << 13;
  return tsr_bits_to_f32(a | (tsr_u32)(bits & 0x8000u) << 16);
}
TSR_RAW tsr_u16 tsr_f32_to_f16(float value) {
  tsr_u32 bits = tsr_f32_to_bits(value);
  tsr_u32 sign = bits >> 16 & 0x8000u, a = bits & 0x7fffffffu;
  if (a > 0x7f800000u)
    return 0x7fffu;
  if (a < 0x38800000u)
    return (tsr_u16)(sign | (tsr_f32_to_bits(tsr_bits_to_f32(a) + 0.5f) - 0x3f000000u));
  a = (a + 0xfffu + (a >> 13 & 1u)) >> 13;
  a -= 112u << 10;
  return (tsr_u16)(sign | (a > 0x7c00u ? 0x7c00u : a));
}
TSR_RAW tsr_u16 tsr_f32_to_bf16(float value) {
  tsr_u32 a = tsr_f32_to_bits(value);
  if ((a & 0x7fffffffu) > 0x7f800000u)
    return 0x7fffu;
  return (tsr_u16)((a + 0x7fffu + (a >> 16 & 1u)) >> 16);
}
TSR_RAW tsr_u32 tsr_f32x2_to_f16x2(float low, float high) {
  return tsr_f32_to_f16(low) | (tsr_u32)tsr_f32_to_f16(high) << 16;
}
TSR_RAW tsr_u32 tsr_f32x2_to_bf16x2(float low, float high) {
  return tsr_f32_to_bf16(low) | (tsr_u32)tsr_f32_to_bf16(high) << 16;
}
/* f32 has more than twice the places of f16: rounding twice is rounding once. */
TSR_RAW tsr_u32 tsr_f16x2_sub(tsr_u32 a, tsr_u32 b) {
  return tsr_f32x2_to_f16x2(tsr_f16_to_f32((tsr_u16)a) - tsr_f16_to_f32((tsr_u16)b),
                            tsr_f16_to_f32((tsr_u16)(a >> 16)) -
                                tsr_f16_to_f32((tsr_u16)(b >> 16)));
}
TSR_RAW tsr_u32 tsr_f16x2_mul(tsr_u32 a, tsr_u32 b) {
  return tsr_f32x2_to_f16x2(tsr_f16_to_f32((tsr_u16)a) * tsr_f16_to_f32((tsr_u16)b),
                            tsr_f16_to_f32((tsr_u16)(a >> 16)) *
                                tsr_f16_to_f32((tsr_u16)(b >> 16)));
}
TSR_RAW tsr_u32 tsr_f32_to_tf32(float value) {
  tsr_u32 a = tsr_f32_to_bits(value);
  if ((a & 0x7f800000u) == 0x7f800000u)
    return a;
  return (a + 0x1000u) & ~0x1fffu;
}
#define tsr_f32_to_e4m3 tsr_f32_to_e4m3_bitwise
#define tsr_f32_to_e5m2 tsr_f32_to_e5m2_bitwise
#define tsr_e4m3_to_f32 tsr_e4m3_to_f32_bitwise
#define tsr_e5m2_to_f32 tsr_e5m2_to_f32_bitwise

#define TSR_COPY_ASYNC(bytes)                                                                      \
  TSR_RAW void tsr_copy_async_##bytes(void *shared, const void *global, int valid) {               \
    tsr_api->copy_async(shared, global, bytes, valid);                                             \
  }
TSR_COPY_ASYNC(4)
TSR_COPY_ASYNC(8)
TSR_COPY_ASYNC(16)
TSR_RAW void tsr_copy_async_commit(void) {
  tsr_api->copy_async_commit();
}
TSR_RAW void tsr_copy_async_wait(int groups) {
  tsr_api->copy_async_wait(groups);
}

#define TSR_LDMATRIX(suffix, transposed)                                                           \
  TSR_RAW void tsr_ldmatrix_x1##suffix(tsr_u32 *r, const void *row) {                              \
    tsr_api->ldmatrix(r, row, 1, transposed);                                                      \
  }                                                                                                \
  TSR_RAW void tsr_ldmatrix_x2##suffix(tsr_u32 *r, const void *row) {                              \
    tsr_api->ldmatrix(r, row, 2, transposed);                                                      \
  }                                                                                                \
  TSR_RAW void tsr_ldmatrix_x4##suffix(tsr_u32 *r, const void *row) {                              \
    tsr_api->ldmatrix(r, row, 4, transposed);                                                      \
  }
TSR_LDMATRIX(, 0)
TSR_LDMATRIX(_trans, 1)
TSR_RAW void tsr_stmatrix_x4(void *row, const tsr_u32 *r) {
  tsr_api->stmatrix(row, r, 4);
}

#define TSR_MMA(name, type, TYPE)                                                                  \
  TSR_RAW void tsr_mma_##name(type *d, const tsr_u32 *a, const tsr_u32 *b) {                       \
    tsr_api->mma(TSR_MMA_##TYPE, d, a, b);                                                         \
  }
TSR_MMA(f16_16x8x16, float, F16)
TSR_MMA(bf16_16x8x16, float, BF16)
TSR_MMA(tf32_16x8x8, float, TF32)
TSR_MMA(s8_16x8x32, int, S8)
TSR_MMA(e4m3_16x8x32, float, E4M3)
TSR_MMA(e5m2_16x8x32, float, E5M2)

TSR_RAW void tsr_mbarrier_init(tsr_u64 *bar, int count) {
  tsr_api->mbarrier(TSR_MBARRIER_INIT, bar, count);
}
TSR_RAW void tsr_mbarrier_invalidate(tsr_u64 *bar) {
  tsr_api->mbarrier(TSR_MBARRIER_INVALIDATE, bar, 0);
}
TSR_RAW void tsr_mbarrier_arrive(tsr_u64 *bar) {
  tsr_api->mbarrier(TSR_MBARRIER_ARRIVE, bar, 0);
}
TSR_RAW void tsr_mbarrier_arrive_expect(tsr_u64 *bar, int bytes) {
  tsr_api->mbarrier(TSR_MBARRIER_ARRIVE_EXPECT, bar, bytes);
}
TSR_RAW void tsr_mbarrier_expect(tsr_u64 *bar, int bytes) {
  tsr_api->mbarrier(TSR_MBARRIER_EXPECT, bar, bytes);
}
TSR_RAW void tsr_mbarrier_arrive_remote(tsr_u64 *bar, int rank) {
  tsr_api->mbarrier(TSR_MBARRIER_ARRIVE_REMOTE, bar, rank);
}
TSR_RAW void tsr_mbarrier_arrive_if(tsr_u64 *bar, int condition) {
  if (condition)
    tsr_api->mbarrier(TSR_MBARRIER_ARRIVE, bar, 0);
}
TSR_RAW void tsr_mbarrier_arrive_remote_if(tsr_u64 *bar, int rank, int condition) {
  if (condition)
    tsr_api->mbarrier(TSR_MBARRIER_ARRIVE_REMOTE, bar, rank);
}
TSR_RAW void tsr_mbarrier_arrive_copies(tsr_u64 *bar) {
  tsr_api->mbarrier(TSR_MBARRIER_ARRIVE_COPIES, bar, 0);
}
TSR_RAW int tsr_mbarrier_test(tsr_u64 *bar, int parity) {
  return tsr_api->mbarrier(TSR_MBARRIER_TEST, bar, parity);
}
TSR_RAW void tsr_mbarrier_wait(tsr_u64 *bar, int parity) {
  tsr_api->mbarrier(TSR_MBARRIER_WAIT, bar, parity);
}

TSR_RAW void tsr_fence_proxy_async(void) {
  tsr_api->fence_proxy_async();
}
TSR_RAW void tsr_fence_mbarrier_init(void) {
  tsr_api->fence_mbarrier_init();
}

TSR_RAW void tsr_cluster_arrive(void) {
  tsr_api->cluster_barrier(0);
}
TSR_RAW void tsr_cluster_wait(void) {
  tsr_api->cluster_barrier(1);
}
TSR_RAW void *tsr_cluster_shared(void *p, int rank) {
  return tsr_api->cluster_shared(p, rank);
}

#define TSR_P1 int c0
#define TSR_P2 TSR_P1, int c1
#define TSR_P3 TSR_P2, int c2
#define TSR_P4 TSR_P3, int c3
#define TSR_P5 TSR_P4, int c4
#define TSR_C1 c0
#define TSR_C2 TSR_C1, c1
#define TSR_C3 TSR_C2, c2
#define TSR_C4 TSR_C3, c3
#define TSR_C5 TSR_C4, c4
#define TSR_TMA(dims)                                                                              \
  TSR_RAW void tsr_tma_load_##dims##d(void *shared, const tsr_tensor_map *map, tsr_u64 *bar,       \
                                      TSR_P##dims) {                                               \
    int c[] = {TSR_C##dims};                                                                       \
    tsr_api->tma_load(shared, map, bar, dims, c, 0);                                               \
  }                                                                                                \
  TSR_RAW void tsr_tma_store_##dims##d(const tsr_tensor_map *map, const void *shared,              \
                                       TSR_P##dims) {                                              \
    int c[] = {TSR_C##dims};                                                                       \
    tsr_api->tma_store(map, shared, dims, c);                                                      \
  }                                                                                                \
  TSR_RAW void tsr_tma_load_##dims##d_multicast(void *shared, const tsr_tensor_map *map,           \
                                                tsr_u64 *bar, tsr_u32 blocks, TSR_P##dims) {       \
    int c[] = {TSR_C##dims};                                                                       \
    tsr_api->tma_load(shared, map, bar, dims, c, blocks | 0x10000u);                               \
  }
TSR_TMA(1)
TSR_TMA(2)
TSR_TMA(3)
TSR_TMA(4)
TSR_TMA(5)
TSR_RAW void tsr_tma_store_commit(void) {
  tsr_api->tma_store_commit();
}
TSR_RAW void tsr_tma_store_wait(int groups) {
  tsr_api->tma_store_wait(groups, 0);
}
TSR_RAW void tsr_tma_store_wait_read(int groups) {
  tsr_api->tma_store_wait(groups, 1);
}
#define tsr_tma_prefetch_map(map) ((void)(map))
TSR_RAW void tsr_bulk_load(void *shared, const void *global, int bytes, tsr_u64 *bar) {
  tsr_api->bulk_load(shared, global, bytes, bar);
}

TSR_RAW void tsr_set_max_registers_inc(int count) {
  tsr_api->set_max_registers(count);
}
TSR_RAW void tsr_set_max_registers_dec(int count) {
  tsr_api->set_max_registers(count);
}
#define tsr_grid_wait()              ((void)0)
#define tsr_grid_launch_dependents() ((void)0)

TSR_RAW void tsr_wgmma_fence(void) {
  tsr_api->wgmma_fence();
}
TSR_RAW void tsr_wgmma_commit(void) {
  tsr_api->wgmma_commit();
}
TSR_RAW void tsr_wgmma_wait(int groups) {
  tsr_api->wgmma_wait(groups);
}
#define tsr_wgmma_hold_f32(d, count) ((void)0)
#define tsr_wgmma_hold_s32(d, count) ((void)0)
TSR_RAW tsr_u64 tsr_wgmma_descriptor(const void *shared, tsr_u32 leading_bytes,
                                     tsr_u32 stride_bytes, tsr_u32 swizzle) {
  return tsr_wgmma_descriptor_at(tsr_shared_address(shared), leading_bytes, stride_bytes, swizzle);
}

#define TSR_WGMMA_SS(name, type, TYPE, n, am, bm)                                                  \
  TSR_RAW void name(type *d, tsr_u64 a, tsr_u64 b, int accumulate) {                               \
    tsr_api->wgmma(TSR_MMA_##TYPE, n, d, 0, a, b, accumulate, am, bm);                             \
  }
#define TSR_MAJOR_k TSR_MAJOR_K
#define TSR_MAJOR_m TSR_MAJOR_M
#define TSR_WGMMA_k(type, TYPE, n, a, b)                                                           \
  TSR_WGMMA_SS(tsr_wgmma_##type##_64x##n##_##a##b, float, TYPE, n, TSR_MAJOR_##a, TSR_MAJOR_##b)
#define TSR_WGMMA_m TSR_WGMMA_k
#define TSR_WGMMA_r(type, TYPE, n, a, b)                                                           \
  TSR_RAW void tsr_wgmma_##type##_64x##n##_##a##b(float *d, const tsr_u32 *ar, tsr_u64 bd,         \
                                                  int accumulate) {                                \
    tsr_api->wgmma(TSR_MMA_##TYPE, n, d, ar, 0, bd, accumulate, TSR_MAJOR_REGISTERS,               \
                   TSR_MAJOR_##b);                                                                 \
  }
#define TSR_WGMMA_F16(n, a, b)  TSR_WGMMA_##a(f16, F16, n, a, b)
#define TSR_WGMMA_BF16(n, a, b) TSR_WGMMA_##a(bf16, BF16, n, a, b)
#define TSR_WGMMA_TF32(n)                                                                          \
  TSR_WGMMA_SS(tsr_wgmma_tf32_64x##n##_kk, float, TF32, n, TSR_MAJOR_K, TSR_MAJOR_K)
#define TSR_WGMMA_E4M3(n)                                                                          \
  TSR_WGMMA_SS(tsr_wgmma_e4m3_64x##n##_kk, float, E4M3, n, TSR_MAJOR_K, TSR_MAJOR_K)
#define TSR_WGMMA_E5M2(n)                                                                          \
  TSR_WGMMA_SS(tsr_wgmma_e5m2_64x##n##_kk, float, E5M2, n, TSR_MAJOR_K, TSR_MAJOR_K)
#define TSR_WGMMA_S8(n) TSR_WGMMA_SS(tsr_wgmma_s8_64x##n##_kk, int, S8, n, TSR_MAJOR_K, TSR_MAJOR_K)

/* Math of the CUDA library that kernels call. */
float expf(float), exp2f(float), logf(float), log2f(float), sqrtf(float);
float sinf(float), cosf(float), tanf(float), asinf(float), acosf(float), atanf(float);
float sinhf(float), coshf(float), tanhf(float), asinhf(float), acoshf(float), atanhf(float);
float erff(float), powf(float, float), fmodf(float, float), atan2f(float, float), log1pf(float);
float floorf(float), ceilf(float), rintf(float), truncf(float), fabsf(float), expm1f(float);
float fmaxf(float, float), fminf(float, float), fmaf(float, float, float), copysignf(float, float);
double exp(double), log(double), sqrt(double), pow(double, double), fmod(double, double);
double floor(double), ceil(double), rint(double), trunc(double), fabs(double), erf(double);
double sin(double), cos(double), tan(double), tanh(double), fmax(double, double);
double fmin(double, double), fma(double, double, double);
#define rsqrtf(x) (1.0f / sqrtf(x))
#endif
