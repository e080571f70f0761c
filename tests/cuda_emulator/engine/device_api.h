/* What a kernel text compiled for the host (device_emulated.h) and the engine know of each other: a
 * table of functions that act for the thread being run. */
#ifndef TSR_TESTS_CUDA_EMULATOR_DEVICE_API_H
#define TSR_TESTS_CUDA_EMULATOR_DEVICE_API_H

/* What a running thread reads about itself. */
typedef struct tsr_emulated_self {
  int thread, threads;
  long long block, blocks;
  unsigned char *shared;
  int cluster_rank, cluster_size;
} tsr_emulated_self;

enum { TSR_ACCESS_READ = 0, TSR_ACCESS_WRITE = 1, TSR_ACCESS_ATOMIC = 2 };
enum { TSR_SPACE_ANY, TSR_SPACE_GLOBAL, TSR_SPACE_SHARED };
enum { TSR_SHUFFLE_XOR, TSR_SHUFFLE_DOWN, TSR_SHUFFLE_UP, TSR_SHUFFLE_INDEX, TSR_SHUFFLE_BALLOT };
enum { TSR_MMA_F16, TSR_MMA_BF16, TSR_MMA_TF32, TSR_MMA_S8, TSR_MMA_E4M3, TSR_MMA_E5M2 };
enum {
  TSR_MBARRIER_INIT,
  TSR_MBARRIER_INVALIDATE,
  TSR_MBARRIER_ARRIVE,
  TSR_MBARRIER_ARRIVE_EXPECT,
  TSR_MBARRIER_EXPECT,
  TSR_MBARRIER_ARRIVE_REMOTE,
  TSR_MBARRIER_ARRIVE_COPIES,
  TSR_MBARRIER_TEST,
  TSR_MBARRIER_WAIT
};
enum { TSR_MAJOR_K, TSR_MAJOR_M, TSR_MAJOR_REGISTERS };

/* X(result, name, parameters) */
#define TSR_EMULATED_API(X)                                                                        \
  X(void, access, (const void *address, int bytes, int kind, int space))                           \
  X(unsigned, shared_address, (const void *address))                                               \
  X(void, barrier, (int id, int threads, int wait))                                                \
  X(void, warp_barrier, (void))                                                                    \
  X(unsigned, shuffle, (int mode, unsigned value, int operand))                                    \
  X(void, synchronise, (const void *flag, int acquire, int release))                               \
  X(void, spin, (void))                                                                            \
  X(void, copy_async, (void *shared, const void *global, int bytes, int valid))                    \
  X(void, copy_async_commit, (void))                                                               \
  X(void, copy_async_wait, (int groups))                                                           \
  X(void, ldmatrix, (unsigned *r, const void *row, int count, int transposed))                     \
  X(void, stmatrix, (void *row, const unsigned *r, int count))                                     \
  X(void, mma, (int type, void *d, const unsigned *a, const unsigned *b))                          \
  X(int, mbarrier, (int op, unsigned long long *bar, int operand))                                 \
  X(void, fence_proxy_async, (void))                                                               \
  X(void, fence_mbarrier_init, (void))                                                             \
  X(void, cluster_barrier, (int wait))                                                             \
  X(void, grid_barrier, (void))                                                                    \
  X(void *, cluster_shared, (void *p, int rank))                                                   \
  X(void, tma_load,                                                                                \
    (void *shared, const void *map, unsigned long long *bar, int dims, const int *coordinates,     \
     unsigned blocks))                                                                             \
  X(void, tma_store, (const void *map, const void *shared, int dims, const int *coordinates))      \
  X(void, tma_store_commit, (void))                                                                \
  X(void, tma_store_wait, (int groups, int read))                                                  \
  X(void, bulk_load, (void *shared, const void *global, int bytes, unsigned long long *bar))       \
  X(void, wgmma,                                                                                   \
    (int type, int n, void *d, const unsigned *a_registers, unsigned long long a,                  \
     unsigned long long b, int accumulate, int a_major, int b_major))                              \
  X(void, wgmma_fence, (void))                                                                     \
  X(void, wgmma_commit, (void))                                                                    \
  X(void, wgmma_wait, (int groups))                                                                \
  X(void, set_max_registers, (int count))

typedef struct tsr_emulated_api {
#define TSR_EMULATED_MEMBER(result, name, parameters) result(*name) parameters;
  TSR_EMULATED_API(TSR_EMULATED_MEMBER)
#undef TSR_EMULATED_MEMBER
} tsr_emulated_api;

/* One row per kernel of a compiled text. */
typedef struct tsr_emulated_entry {
  const char *name;
  void (*call)(void *const *args);
  int threads;   /* of TSR_KERNEL; a launch must have as many */
  int cluster;   /* blocks of TSR_KERNEL_CLUSTER, else 1 */
  int arguments; /* number of parameters */
  const int *argument_bytes;
} tsr_emulated_entry;

/* What a compiled text exports as tsr_emulated_text. */
typedef struct tsr_emulated_text_info {
  const tsr_emulated_api **api;
  const tsr_emulated_self **self;
  const tsr_emulated_entry *entries; /* ends with a NULL name */
} tsr_emulated_text_info;
#endif
