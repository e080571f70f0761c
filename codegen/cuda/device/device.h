/* Device primitives for CUDA C made by NVRTC: no toolkit header is needed, and no PTX stands
 * anywhere else (wgmma's family of sizes is in device_wgmma.h). Kernel texts are C as well as CUDA
 * C++: tests/cuda_emulator gives the same names a second definition for the host, so whatever a
 * kernel does beyond plain arithmetic and plain loads and stores goes through here. A section
 * number names a chapter of the PTX ISA, version 8.x.
 *
 *   g = lane / 4, t = lane % 4 in all fragment layouts below. */
#ifndef TSR_DEVICE_H
#define TSR_DEVICE_H

/* A kernel: TSR_KERNEL(threads) name(parameters) { ... }. The second form asks for `blocks`
 * resident blocks per multiprocessor, the third is launched in clusters of `blocks` along x. */
#define TSR_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define TSR_KERNEL_RESIDENT(threads, blocks)                                                       \
  extern "C" __global__ void __launch_bounds__(threads, blocks)
#define TSR_KERNEL_CLUSTER(threads, blocks)                                                        \
  extern "C" __global__ void __cluster_dims__(blocks, 1, 1) __launch_bounds__(threads, 1)
#define TSR_UNROLL   _Pragma("unroll")
#define TSR_RESTRICT __restrict__
/* What the compiler may take for granted. */
#define TSR_ASSUME(condition) __builtin_assume(condition)

/* Opaque 128 bytes of the driver's cuTensorMapEncodeTiled; a kernel parameter is declared
 * TSR_TENSOR_MAP name and passed on as &name. */
typedef struct __align__(64) tsr_tensor_map {
  tsr_u64 opaque[16];
}
tsr_tensor_map;
#define TSR_TENSOR_MAP const __grid_constant__ tsr_tensor_map

/* The block's dynamic shared memory, carved by offset. */
extern __shared__ __align__(1024) tsr_u8 tsr_shared[];

/* ---- identity (10, special registers) ---- */

TSR_DEVICE int tsr_thread(void) {
  return (int)threadIdx.x;
}
TSR_DEVICE int tsr_threads(void) {
  return (int)blockDim.x;
}
TSR_DEVICE int tsr_lane(void) {
  return (int)(threadIdx.x & 31u);
}
TSR_DEVICE int tsr_warp(void) {
  return (int)(threadIdx.x >> 5);
}
/* The linear number of the block and the number of blocks, over x and y. */
TSR_DEVICE tsr_s64 tsr_block(void) {
  return (tsr_s64)blockIdx.x + (tsr_s64)blockIdx.y * (tsr_s64)gridDim.x;
}
TSR_DEVICE tsr_s64 tsr_blocks(void) {
  return (tsr_s64)gridDim.x * (tsr_s64)gridDim.y;
}

/* The address of shared memory in its own window: what instructions and descriptors take. */
TSR_DEVICE tsr_u32 tsr_shared_address(const void *p) {
  tsr_u32 address;
  asm("{\n.reg .u64 a;\ncvta.to.shared.u64 a, %1;\ncvt.u32.u64 %0, a;\n}" : "=r"(address) : "l"(p));
  return address;
}

/* ---- barriers (9.7.13, bar, barrier.cta) ---- */

TSR_DEVICE void tsr_barrier(void) {
  asm volatile("barrier.sync 0;" ::: "memory");
}
/* Barrier `id` (1..15) of `threads` threads, a multiple of 32. */
TSR_DEVICE void tsr_barrier_named(int id, int threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/* Counts at the barrier without waiting. */
TSR_DEVICE void tsr_barrier_named_arrive(int id, int threads) {
  asm volatile("barrier.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/* All lanes of the warp; orders their memory accesses. */
TSR_DEVICE void tsr_warp_barrier(void) {
  asm volatile("bar.warp.sync 0xffffffff;" ::: "memory");
}

/* ---- warp shuffles and votes (9.7.9, shfl.sync; 9.7.13, vote.sync): all 32 lanes take part ----
 */

TSR_DEVICE int tsr_warp_shuffle_xor_i32(int value, int lane_mask) {
  int r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;"
               : "=r"(r)
               : "r"(value), "r"(lane_mask));
  return r;
}
/* The value of lane + delta; the lane's own where there is none. */
TSR_DEVICE int tsr_warp_shuffle_down_i32(int value, int delta) {
  int r;
  asm volatile("shfl.sync.down.b32 %0, %1, %2, 0x1f, 0xffffffff;"
               : "=r"(r)
               : "r"(value), "r"(delta));
  return r;
}
/* The value of lane - delta; the lane's own where there is none. */
TSR_DEVICE int tsr_warp_shuffle_up_i32(int value, int delta) {
  int r;
  asm volatile("shfl.sync.up.b32 %0, %1, %2, 0, 0xffffffff;" : "=r"(r) : "r"(value), "r"(delta));
  return r;
}
TSR_DEVICE int tsr_warp_shuffle_index_i32(int value, int lane) {
  int r;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(r) : "r"(value), "r"(lane));
  return r;
}
TSR_DEVICE float tsr_warp_shuffle_xor_f32(float value, int lane_mask) {
  return tsr_bits_to_f32((tsr_u32)tsr_warp_shuffle_xor_i32((int)tsr_f32_to_bits(value), lane_mask));
}
TSR_DEVICE float tsr_warp_shuffle_down_f32(float value, int delta) {
  return tsr_bits_to_f32((tsr_u32)tsr_warp_shuffle_down_i32((int)tsr_f32_to_bits(value), delta));
}
TSR_DEVICE float tsr_warp_shuffle_up_f32(float value, int delta) {
  return tsr_bits_to_f32((tsr_u32)tsr_warp_shuffle_up_i32((int)tsr_f32_to_bits(value), delta));
}
TSR_DEVICE float tsr_warp_shuffle_index_f32(float value, int lane) {
  return tsr_bits_to_f32((tsr_u32)tsr_warp_shuffle_index_i32((int)tsr_f32_to_bits(value), lane));
}
/* Bit l is set where `predicate` is not 0 in lane l. */
TSR_DEVICE tsr_u32 tsr_warp_ballot(int predicate) {
  tsr_u32 r;
  asm volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %1, 0;\nvote.sync.ballot.b32 %0, p, 0xffffffff;\n}"
               : "=r"(r)
               : "r"(predicate));
  return r;
}

/* ---- atomics on global or shared memory (9.7.13, atom; relaxed, scope gpu) ---- */

/* TSR_ATOMIC(name, type, ptx instruction, register constraint): returns the old value. */
#define TSR_ATOMIC(name, type, ptx, constraint)                                                    \
  TSR_DEVICE type tsr_atomic_##name(type *p, type value) {                                         \
    type old;                                                                                      \
    asm volatile("atom.relaxed.gpu." ptx " %0, [%1], %2;"                                          \
                 : "=" constraint(old)                                                             \
                 : "l"(p), constraint(value)                                                       \
                 : "memory");                                                                      \
    return old;                                                                                    \
  }
TSR_ATOMIC(add_i32, int, "add.s32", "r")
TSR_ATOMIC(add_i64, tsr_s64, "add.u64", "l")
TSR_ATOMIC(add_f32, float, "add.f32", "f")
TSR_ATOMIC(add_f64, double, "add.f64", "d")
TSR_ATOMIC(max_i32, int, "max.s32", "r")
TSR_ATOMIC(min_i32, int, "min.s32", "r")
TSR_ATOMIC(and_u32, tsr_u32, "and.b32", "r")
TSR_ATOMIC(or_u32, tsr_u32, "or.b32", "r")

/* Stores `value` where `*p` equals `expected`; returns what was there. */
#define TSR_ATOMIC_CAS(name, type, ptx, constraint)                                                \
  TSR_DEVICE type tsr_atomic_cas_##name(type *p, type expected, type value) {                      \
    type old;                                                                                      \
    asm volatile("atom.relaxed.gpu.cas." ptx " %0, [%1], %2, %3;"                                  \
                 : "=" constraint(old)                                                             \
                 : "l"(p), constraint(expected), constraint(value)                                 \
                 : "memory");                                                                      \
    return old;                                                                                    \
  }
TSR_ATOMIC_CAS(u16, tsr_u16, "b16", "h")
TSR_ATOMIC_CAS(u32, tsr_u32, "b32", "r")
TSR_ATOMIC_CAS(u64, tsr_u64, "b64", "l")

/* Flags between blocks (9.7.9, ld.acquire; st.release): what a thread wrote before the release is
 * seen by the thread that acquires the value. tsr_fence_gpu orders all earlier accesses. */
TSR_DEVICE int tsr_load_acquire_i32(const int *p) {
  int value;
  asm volatile("ld.acquire.gpu.b32 %0, [%1];" : "=r"(value) : "l"(p) : "memory");
  return value;
}
TSR_DEVICE void tsr_store_release_i32(int *p, int value) {
  asm volatile("st.release.gpu.b32 [%0], %1;" ::"l"(p), "r"(value) : "memory");
}
TSR_DEVICE void tsr_fence_gpu(void) {
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
}

/* All blocks of a cooperative launch; orders their memory accesses. The driver gives such a launch
 * a workspace: its address is in the environment registers 1 (high) and 2, the second word of it is
 * a counter that belongs to grid barriers (cooperative_groups/details/driver_abi.h). Block 0 adds
 * what flips the top bit once all others have added 1, so that the counter is ready for the next
 * one. */
TSR_DEVICE void tsr_grid_barrier(void) {
  tsr_barrier();
  if (tsr_thread() == 0) {
    tsr_u64 workspace;
    tsr_u32 old, seen, add = 1;
    asm("{\n.reg .u32 h, l;\nmov.u32 h, %%envreg1;\nmov.u32 l, %%envreg2;\nmov.b64 %0, {l, h};\n}"
        : "=l"(workspace));
    if (tsr_block() == 0)
      add = 0x80000000u - (tsr_u32)(tsr_blocks() - 1);
    tsr_fence_gpu();
    asm volatile("atom.acq_rel.gpu.add.u32 %0, [%1], %2;"
                 : "=r"(old)
                 : "l"(workspace + 4), "r"(add)
                 : "memory");
    do {
      asm volatile("ld.acquire.gpu.b32 %0, [%1];" : "=r"(seen) : "l"(workspace + 4) : "memory");
    } while (((seen ^ old) & 0x80000000u) == 0);
    tsr_fence_gpu();
  }
  tsr_barrier();
}

/* ---- vector loads and stores (9.7.9, ld, st); the address is a multiple of the size ---- */

TSR_DEVICE tsr_u32x4 tsr_load_global_16(const void *p) {
  tsr_u32x4 v;
  asm volatile("{\n.reg .u64 a;\ncvta.to.global.u64 a, %4;\nld.global.v4.b32 {%0,%1,%2,%3}, [a];\n}"
               : "=r"(v.x[0]), "=r"(v.x[1]), "=r"(v.x[2]), "=r"(v.x[3])
               : "l"(p)
               : "memory");
  return v;
}
/* Through the read-only path: memory that no thread of the grid writes. */
TSR_DEVICE tsr_u32x4 tsr_load_constant_16(const void *p) {
  tsr_u32x4 v;
  asm("{\n.reg .u64 a;\ncvta.to.global.u64 a, %4;\n"
      "ld.global.nc.L1::no_allocate.v4.b32 {%0,%1,%2,%3}, [a];\n}"
      : "=r"(v.x[0]), "=r"(v.x[1]), "=r"(v.x[2]), "=r"(v.x[3])
      : "l"(p));
  return v;
}
TSR_DEVICE tsr_u32x2 tsr_load_global_8(const void *p) {
  tsr_u32x2 v;
  asm volatile("{\n.reg .u64 a;\ncvta.to.global.u64 a, %2;\nld.global.v2.b32 {%0,%1}, [a];\n}"
               : "=r"(v.x[0]), "=r"(v.x[1])
               : "l"(p)
               : "memory");
  return v;
}
TSR_DEVICE tsr_u32x1 tsr_load_global_4(const void *p) {
  tsr_u32x1 v;
  asm volatile("{\n.reg .u64 a;\ncvta.to.global.u64 a, %1;\nld.global.b32 %0, [a];\n}"
               : "=r"(v.x[0])
               : "l"(p)
               : "memory");
  return v;
}
TSR_DEVICE void tsr_store_global_16(void *p, tsr_u32x4 v) {
  asm volatile(
      "{\n.reg .u64 a;\ncvta.to.global.u64 a, %0;\nst.global.v4.b32 [a], {%1,%2,%3,%4};\n}" ::"l"(
          p),
      "r"(v.x[0]), "r"(v.x[1]), "r"(v.x[2]), "r"(v.x[3])
      : "memory");
}
TSR_DEVICE void tsr_store_global_8(void *p, tsr_u32x2 v) {
  asm volatile(
      "{\n.reg .u64 a;\ncvta.to.global.u64 a, %0;\nst.global.v2.b32 [a], {%1,%2};\n}" ::"l"(p),
      "r"(v.x[0]), "r"(v.x[1])
      : "memory");
}
TSR_DEVICE void tsr_store_global_4(void *p, tsr_u32x1 v) {
  asm volatile("{\n.reg .u64 a;\ncvta.to.global.u64 a, %0;\nst.global.b32 [a], %1;\n}" ::"l"(p),
               "r"(v.x[0])
               : "memory");
}
TSR_DEVICE tsr_u32x4 tsr_load_shared_16(const void *p) {
  tsr_u32x4 v;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x[0]), "=r"(v.x[1]), "=r"(v.x[2]), "=r"(v.x[3])
               : "r"(tsr_shared_address(p))
               : "memory");
  return v;
}
TSR_DEVICE tsr_u32x2 tsr_load_shared_8(const void *p) {
  tsr_u32x2 v;
  asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];"
               : "=r"(v.x[0]), "=r"(v.x[1])
               : "r"(tsr_shared_address(p))
               : "memory");
  return v;
}
TSR_DEVICE tsr_u32x1 tsr_load_shared_4(const void *p) {
  tsr_u32x1 v;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(v.x[0]) : "r"(tsr_shared_address(p)) : "memory");
  return v;
}
TSR_DEVICE void tsr_store_shared_16(void *p, tsr_u32x4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(tsr_shared_address(p)), "r"(v.x[0]),
               "r"(v.x[1]), "r"(v.x[2]), "r"(v.x[3])
               : "memory");
}

TSR_DEVICE void tsr_store_shared_8(void *p, tsr_u32x2 v) {
  asm volatile("st.shared.v2.b32 [%0], {%1,%2};" ::"r"(tsr_shared_address(p)), "r"(v.x[0]),
               "r"(v.x[1])
               : "memory");
}
TSR_DEVICE void tsr_store_shared_4(void *p, tsr_u32x1 v) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(tsr_shared_address(p)), "r"(v.x[0]) : "memory");
}

/* ---- conversions (9.7.9, cvt): to nearest even; float8 saturates to the largest finite value ----
 */

TSR_DEVICE float tsr_f16_to_f32(tsr_u16 bits) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(bits));
  return r;
}
TSR_DEVICE tsr_u16 tsr_f32_to_f16(float value) {
  tsr_u16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(value));
  return r;
}
TSR_DEVICE tsr_u16 tsr_f32_to_bf16(float value) {
  tsr_u16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(value));
  return r;
}
/* Two at once: `low` goes into the lower half. */
TSR_DEVICE tsr_u32 tsr_f32x2_to_f16x2(float low, float high) {
  tsr_u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
TSR_DEVICE tsr_u32 tsr_f32x2_to_bf16x2(float low, float high) {
  tsr_u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
/* Both halves, rounded as f16: never part of a fused operation. */
TSR_DEVICE tsr_u32 tsr_f16x2_sub(tsr_u32 a, tsr_u32 b) {
  tsr_u32 r;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}
TSR_DEVICE tsr_u32 tsr_f16x2_mul(tsr_u32 a, tsr_u32 b) {
  tsr_u32 r;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}
/* f32 rounded to the 19 bits of tf32 (ties away from zero), as f32 bits. */
TSR_DEVICE tsr_u32 tsr_f32_to_tf32(float value) {
  tsr_u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(value));
  return r;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
TSR_DEVICE tsr_u8 tsr_f32_to_e4m3(float value) {
  tsr_u16 r;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(0.0f), "f"(value));
  return (tsr_u8)r;
}
TSR_DEVICE tsr_u8 tsr_f32_to_e5m2(float value) {
  tsr_u16 r;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(r) : "f"(0.0f), "f"(value));
  return (tsr_u8)r;
}
TSR_DEVICE float tsr_e4m3_to_f32(tsr_u8 bits) {
  tsr_u32 pair;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"((tsr_u16)bits));
  return tsr_f16_to_f32((tsr_u16)pair);
}
#else
TSR_DEVICE tsr_u8 tsr_f32_to_e4m3(float value) {
  return tsr_f32_to_e4m3_bitwise(value);
}
TSR_DEVICE tsr_u8 tsr_f32_to_e5m2(float value) {
  return tsr_f32_to_e5m2_bitwise(value);
}
TSR_DEVICE float tsr_e4m3_to_f32(tsr_u8 bits) {
  return tsr_e4m3_to_f32_bitwise(bits);
}
#endif
/* e5m2 is the upper half of f16: exact. */
TSR_DEVICE float tsr_e5m2_to_f32(tsr_u8 bits) {
  return tsr_f16_to_f32((tsr_u16)((tsr_u32)bits << 8));
}

/* ---- cp.async (9.7.9, cp.async; sm_80): global to shared in the background. The first `valid`
 * bytes are copied, the rest of the 4, 8 or 16 is zero; both addresses are multiples of the size,
 * also where valid is 0 and nothing is read. ---- */

#define TSR_COPY_ASYNC(size, cache)                                                                \
  TSR_DEVICE void tsr_copy_async_##size(void *shared, const void *global, int valid) {             \
    asm volatile("{\n.reg .u64 a;\ncvta.to.global.u64 a, %1;\n"                                    \
                 "cp.async." cache ".shared.global [%0], [a], " #size                              \
                 ", %2;\n}" ::"r"(tsr_shared_address(shared)),                                     \
                 "l"(global), "r"(valid)                                                           \
                 : "memory");                                                                      \
  }
TSR_COPY_ASYNC(4, "ca")
TSR_COPY_ASYNC(8, "ca")
TSR_COPY_ASYNC(16, "cg")

/* Closes a group of this thread's copies. */
TSR_DEVICE void tsr_copy_async_commit(void) {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/* Waits until at most `groups` (a constant) of this thread's latest groups are under way. The other
 * threads' copies are seen behind a barrier. */
#define tsr_copy_async_wait(groups) asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory")

/* ---- ldmatrix, stmatrix (9.7.14): 8x8 matrices of 2-byte elements in shared memory. Lane l gives
 * the address of row l % 8 of matrix l / 8, 16-byte aligned (x1 uses lanes 0-7, x2 0-15); register
 * r[i] of a lane gets elements (g, 2t) and (g, 2t+1) of matrix i; _trans: elements (2t, g) and
 * (2t+1, g). ---- */

#define TSR_LDMATRIX(suffix, trans)                                                                \
  TSR_DEVICE void tsr_ldmatrix_x1##suffix(tsr_u32 *r, const void *row) {                           \
    asm volatile("ldmatrix.sync.aligned.m8n8.x1" trans ".shared.b16 {%0}, [%1];"                   \
                 : "=r"(r[0])                                                                      \
                 : "r"(tsr_shared_address(row))                                                    \
                 : "memory");                                                                      \
  }                                                                                                \
  TSR_DEVICE void tsr_ldmatrix_x2##suffix(tsr_u32 *r, const void *row) {                           \
    asm volatile("ldmatrix.sync.aligned.m8n8.x2" trans ".shared.b16 {%0,%1}, [%2];"                \
                 : "=r"(r[0]), "=r"(r[1])                                                          \
                 : "r"(tsr_shared_address(row))                                                    \
                 : "memory");                                                                      \
  }                                                                                                \
  TSR_DEVICE void tsr_ldmatrix_x4##suffix(tsr_u32 *r, const void *row) {                           \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" trans ".shared.b16 {%0,%1,%2,%3}, [%4];"          \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                                  \
                 : "r"(tsr_shared_address(row))                                                    \
                 : "memory");                                                                      \
  }
TSR_LDMATRIX(, "")
TSR_LDMATRIX(_trans, ".trans")

/* The reverse of tsr_ldmatrix_x4 (sm_90). */
TSR_DEVICE void tsr_stmatrix_x4(void *row, const tsr_u32 *r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(
                   tsr_shared_address(row)),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

/* ---- mma.sync (9.7.14, mma): d += a b for one warp; a is m x k with rows, b is k x n with columns
 * of consecutive k in a register, lowest first.
 *
 *   d[4], m16n8    d[0], d[1]: (g, 2t), (g, 2t+1)      d[2], d[3]: (g+8, 2t), (g+8, 2t+1)
 *   f16, bf16      a[0]: (g, 2t..2t+1)  a[1]: (g+8, 2t..)  a[2]: (g, 2t+8..)  a[3]: (g+8, 2t+8..)
 *   16x8x16        b[0]: (2t..2t+1, g)  b[1]: (2t+8.., g)
 *   tf32           a[0]: (g, t)  a[1]: (g+8, t)  a[2]: (g, t+4)  a[3]: (g+8, t+4)
 *   16x8x8         b[0]: (t, g)  b[1]: (t+4, g)
 *   s8, float8     a[0]: (g, 4t..4t+3)  a[1]: (g+8, 4t..)  a[2]: (g, 4t+16..)  a[3]: (g+8, 4t+16..)
 *   16x8x32        b[0]: (4t..4t+3, g)  b[1]: (4t+16.., g)
 */

#define TSR_MMA(name, type, constraint, ptx)                                                       \
  TSR_DEVICE void tsr_mma_##name(type *d, const tsr_u32 *a, const tsr_u32 *b) {                    \
    asm volatile("mma.sync.aligned." ptx " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"  \
                 : "+" constraint(d[0]), "+" constraint(d[1]), "+" constraint(d[2]),               \
                   "+" constraint(d[3])                                                            \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));              \
  }
TSR_MMA(f16_16x8x16, float, "f", "m16n8k16.row.col.f32.f16.f16.f32")
TSR_MMA(bf16_16x8x16, float, "f", "m16n8k16.row.col.f32.bf16.bf16.f32")
TSR_MMA(tf32_16x8x8, float, "f", "m16n8k8.row.col.f32.tf32.tf32.f32")
TSR_MMA(s8_16x8x32, int, "r", "m16n8k32.row.col.s32.s8.s8.s32")
/* float8 needs sm_89. */
TSR_MMA(e4m3_16x8x32, float, "f", "m16n8k32.row.col.f32.e4m3.e4m3.f32")
TSR_MMA(e5m2_16x8x32, float, "f", "m16n8k32.row.col.f32.e5m2.e5m2.f32")

/* ---- mbarrier (9.7.13.15; transactions and try_wait: sm_90): 8 bytes of shared memory. A phase
 * ends when `count` threads have arrived and all expected bytes have landed; the phases' parities
 * are 0, 1, 0, ... ---- */

/* By one thread, before a barrier; in a cluster, and before asynchronous copies use it, behind
 * tsr_fence_mbarrier_init. */
TSR_DEVICE void tsr_mbarrier_init(tsr_u64 *bar, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(tsr_shared_address(bar)), "r"(count)
               : "memory");
}
TSR_DEVICE void tsr_mbarrier_invalidate(tsr_u64 *bar) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(tsr_shared_address(bar)) : "memory");
}
TSR_DEVICE void tsr_mbarrier_arrive(tsr_u64 *bar) {
  asm volatile(
      "{\n.reg .b64 s;\nmbarrier.arrive.shared::cta.b64 s, [%0];\n}" ::"r"(tsr_shared_address(bar))
      : "memory");
}
/* Arrives, and makes the phase wait for `bytes` more of asynchronous copies. */
TSR_DEVICE void tsr_mbarrier_arrive_expect(tsr_u64 *bar, int bytes) {
  asm volatile("{\n.reg .b64 s;\nmbarrier.arrive.expect_tx.shared::cta.b64 s, [%0], %1;\n}" ::"r"(
                   tsr_shared_address(bar)),
               "r"(bytes)
               : "memory");
}
/* Only the bytes, without arriving. */
TSR_DEVICE void tsr_mbarrier_expect(tsr_u64 *bar, int bytes) {
  asm volatile(
      "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(tsr_shared_address(bar)),
      "r"(bytes)
      : "memory");
}
/* The same in the threads whose condition is not 0. There is no branch: behind one, ptxas no longer
 * sees that wgmma's accumulators are not read while it runs, and makes one wgmma wait for another.
 */
TSR_DEVICE void tsr_mbarrier_arrive_if(tsr_u64 *bar, int condition) {
  asm volatile("{\n.reg .b64 s;\n.reg .pred p;\nsetp.ne.s32 p, %1, 0;\n"
               "@p mbarrier.arrive.shared::cta.b64 s, [%0];\n}" ::"r"(tsr_shared_address(bar)),
               "r"(condition)
               : "memory");
}
/* Arrives at the mbarrier at the same place in block `rank` of the cluster. */
TSR_DEVICE void tsr_mbarrier_arrive_remote(tsr_u64 *bar, int rank) {
  asm volatile("{\n.reg .b32 a;\nmapa.shared::cluster.u32 a, %0, %1;\n"
               "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [a];\n}" ::"r"(
                   tsr_shared_address(bar)),
               "r"(rank)
               : "memory");
}
TSR_DEVICE void tsr_mbarrier_arrive_remote_if(tsr_u64 *bar, int rank, int condition) {
  asm volatile("{\n.reg .b32 a;\n.reg .pred p;\nsetp.ne.s32 p, %2, 0;\n"
               "@p mapa.shared::cluster.u32 a, %0, %1;\n"
               "@p mbarrier.arrive.release.cluster.shared::cluster.b64 _, [a];\n}" ::"r"(
                   tsr_shared_address(bar)),
               "r"(rank), "r"(condition)
               : "memory");
}
/* Arrives once all cp.async copies that this thread has issued so far have landed. */
TSR_DEVICE void tsr_mbarrier_arrive_copies(tsr_u64 *bar) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(tsr_shared_address(bar))
               : "memory");
}
/* Whether the phase of `parity` is over. */
TSR_DEVICE int tsr_mbarrier_test(tsr_u64 *bar, int parity) {
  tsr_u32 done;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
               "selp.u32 %0, 1, 0, p;\n}"
               : "=r"(done)
               : "r"(tsr_shared_address(bar)), "r"(parity)
               : "memory");
#else
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
               "selp.u32 %0, 1, 0, p;\n}"
               : "=r"(done)
               : "r"(tsr_shared_address(bar)), "r"(parity)
               : "memory");
#endif
  return (int)done;
}
/* Waits for the end of the phase of `parity`. The loop is PTX: around one of the compiler ptxas
 * believes that accumulators of wgmma which are under way are read, and serialises (C7514). */
TSR_DEVICE void tsr_mbarrier_wait(tsr_u64 *bar, int parity) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define TSR_MBARRIER_TRY "mbarrier.try_wait"
#else
#define TSR_MBARRIER_TRY "mbarrier.test_wait"
#endif
  asm volatile("{\n.reg .pred p;\nAGAIN:\n" TSR_MBARRIER_TRY
               ".parity.shared::cta.b64 p, [%0], %1;\n"
               "@!p bra AGAIN;\n}" ::"r"(tsr_shared_address(bar)),
               "r"(parity)
               : "memory");
}

/* ---- fences (9.7.13, fence): accesses of threads before asynchronous ones of TMA and wgmma to the
 * same shared memory; mbarrier_init before the cluster or the asynchronous copies see it ---- */

TSR_DEVICE void tsr_fence_proxy_async(void) {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
TSR_DEVICE void tsr_fence_mbarrier_init(void) {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/* ---- clusters (9.7.13, barrier.cluster; 9.7.9, mapa; sm_90) ---- */

TSR_DEVICE void tsr_cluster_arrive(void) {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
TSR_DEVICE void tsr_cluster_wait(void) {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
TSR_DEVICE int tsr_cluster_rank(void) {
  tsr_u32 r;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return (int)r;
}
TSR_DEVICE int tsr_cluster_size(void) {
  tsr_u32 r;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(r));
  return (int)r;
}
/* The same place in the shared memory of block `rank` of the cluster, for plain accesses. */
TSR_DEVICE void *tsr_cluster_shared(void *p, int rank) {
  void *r;
  asm("mapa.u64 %0, %1, %2;" : "=l"(r) : "l"(p), "r"(rank));
  return r;
}

/* ---- TMA (9.7.9.25, cp.async.bulk.tensor; sm_90): one thread issues the copy of a box. The shared
 * address is a multiple of 128 (with swizzle of width w: of 8 w, for the pattern to start there);
 * coordinates count elements, innermost first, and may lie outside: loads fill zeros there, stores
 * leave it out. A load counts the whole box on `bar`; _multicast puts it in the same place of every
 * block in `blocks` (a bit per rank) and counts on the mbarrier at the same place there. ---- */

#define TSR_P1 int c0
#define TSR_P2 TSR_P1, int c1
#define TSR_P3 TSR_P2, int c2
#define TSR_P4 TSR_P3, int c3
#define TSR_P5 TSR_P4, int c4
#define TSR_C1 "r"(c0)
#define TSR_C2 TSR_C1, "r"(c1)
#define TSR_C3 TSR_C2, "r"(c2)
#define TSR_C4 TSR_C3, "r"(c3)
#define TSR_C5 TSR_C4, "r"(c4)
#define TSR_TMA(dims, list_load, list_store)                                                       \
  TSR_DEVICE void tsr_tma_load_##dims##d(void *shared, const tsr_tensor_map *map, tsr_u64 *bar,    \
                                         TSR_P##dims) {                                            \
    asm volatile(                                                                                  \
        "cp.async.bulk.tensor." #dims                                                              \
        "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" list_load        \
        "}], [%2];" ::"r"(tsr_shared_address(shared)),                                             \
        "l"(map), "r"(tsr_shared_address(bar)), TSR_C##dims                                        \
        : "memory");                                                                               \
  }                                                                                                \
  TSR_DEVICE void tsr_tma_store_##dims##d(const tsr_tensor_map *map, const void *shared,           \
                                          TSR_P##dims) {                                           \
    asm volatile("cp.async.bulk.tensor." #dims                                                     \
                 "d.global.shared::cta.tile.bulk_group [%1, {" list_store                          \
                 "}], [%0];" ::"r"(tsr_shared_address(shared)),                                    \
                 "l"(map), TSR_C##dims                                                             \
                 : "memory");                                                                      \
  }
#define TSR_TMA_MULTICAST(dims, list, mask)                                                        \
  TSR_DEVICE void tsr_tma_load_##dims##d_multicast(void *shared, const tsr_tensor_map *map,        \
                                                   tsr_u64 *bar, tsr_u32 blocks, TSR_P##dims) {    \
    asm volatile("cp.async.bulk.tensor." #dims                                                     \
                 "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "  \
                 "[%0], [%1, {" list "}], [%2], " mask ";" ::"r"(tsr_shared_address(shared)),      \
                 "l"(map), "r"(tsr_shared_address(bar)), TSR_C##dims, "h"((tsr_u16)blocks)         \
                 : "memory");                                                                      \
  }
TSR_TMA(1, "%3", "%2")
TSR_TMA(2, "%3,%4", "%2,%3")
TSR_TMA(3, "%3,%4,%5", "%2,%3,%4")
TSR_TMA(4, "%3,%4,%5,%6", "%2,%3,%4,%5")
TSR_TMA(5, "%3,%4,%5,%6,%7", "%2,%3,%4,%5,%6")
TSR_TMA_MULTICAST(2, "%3,%4", "%5")
TSR_TMA_MULTICAST(3, "%3,%4,%5", "%6")
TSR_TMA_MULTICAST(4, "%3,%4,%5,%6", "%7")
TSR_TMA_MULTICAST(5, "%3,%4,%5,%6,%7", "%8")

/* Closes a group of this thread's TMA stores. */
TSR_DEVICE void tsr_tma_store_commit(void) {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/* At most `groups` (a constant) of the latest groups are unfinished; _read: still read shared
 * memory. */
#define tsr_tma_store_wait(groups)                                                                 \
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(groups) : "memory")
#define tsr_tma_store_wait_read(groups)                                                            \
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(groups) : "memory")
TSR_DEVICE void tsr_tma_prefetch_map(const tsr_tensor_map *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/* `bytes` (a multiple of 16, as both addresses) in one piece, counted on `bar`. */
TSR_DEVICE void tsr_bulk_load(void *shared, const void *global, int bytes, tsr_u64 *bar) {
  asm volatile("{\n.reg .u64 a;\ncvta.to.global.u64 a, %1;\n"
               "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [a], %2, "
               "[%3];\n}" ::"r"(tsr_shared_address(shared)),
               "l"(global), "r"(bytes), "r"(tsr_shared_address(bar))
               : "memory");
}

/* ---- registers of warp-specialised kernels (9.7.19, setmaxnreg; sm_90a): by all warps of a
 * warpgroup; `count` is a constant multiple of 8, 24..256 ---- */

#define tsr_set_max_registers_inc(count)                                                           \
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count))
#define tsr_set_max_registers_dec(count)                                                           \
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count))

/* ---- dependent launches (9.7.13, griddepcontrol; sm_90): wait until the grids this one depends on
 * are complete and their writes seen; let the grids that depend on this one start ---- */

TSR_DEVICE void tsr_grid_wait(void) {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
TSR_DEVICE void tsr_grid_launch_dependents(void) {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
#endif
