/* Inside of the emulator. A launch consists of clusters (a block without cluster is a cluster of
 * one); each thread is a fiber; lanes of a warp are contiguous fibers.
 *
 * Order between threads of a cluster is kept in vector clocks: clock[i] of a fiber is the latest
 * step of thread i that happened before. Columns behind the threads are agents: asynchronous copies
 * write as the agent of their mbarrier, and only a wait there passes the agent's step on. */
#ifndef TSR_TESTS_CUDA_EMULATOR_ENGINE_H
#define TSR_TESTS_CUDA_EMULATOR_ENGINE_H
#include "tests/cuda_emulator/emulator.h"
#include "tests/cuda_emulator/engine/device_api.h"
#include "tests/cuda_emulator/engine/fiber.h"
#include <tessera/status.h>

/* What kernel texts are compiled with, besides folders. */
#define TSR_EMULATOR_FLAGS                                                                         \
  "-std=gnu11 -O1 -g1 -w -fPIC -shared -nostdlib -Wl,-Bsymbolic -fsanitize=thread -fwrapv "        \
  "-fno-strict-aliasing -ffp-contract=off -fno-math-errno"
enum { PATH_BYTES = 1024 };

enum { AGENTS = 32, SLOTS = 4, BARRIERS = 16, MBARRIERS = 64, STACK_BYTES = 96 * 1024 };

/* One remembered access to (part of) a 4-byte word. */
typedef struct slot {
  uint32_t run; /* the cluster's run; 0: empty, older than the launch: forgotten */
  uint32_t clock;
  uint16_t column;
  uint8_t bytes; /* a bit per byte of the word */
  uint8_t kind;  /* TSR_ACCESS_... and ACCESS_ASYNC */
} slot;
enum { ACCESS_ASYNC = 4 };

/* Memory that kernels may touch. The last three are of shared memory only. */
typedef struct region {
  uint8_t *base;
  size_t size;
  slot (*slots)[SLOTS]; /* NULL: races are not looked for */
  char name[64];
  bool owned;
  struct block *block;
  uint8_t *written;       /* per byte */
  uint8_t *pending_write; /* per word: copies under way to it */
  uint8_t *pending_read;  /* per word: copies and wgmma that still read it */
} region;

typedef enum wait_kind {
  WAIT_NONE,
  WAIT_BARRIER,
  WAIT_WARP,
  WAIT_MBARRIER,
  WAIT_CLUSTER,
  WAIT_GRID,
} wait_kind;

typedef struct copy {
  uint8_t *shared;
  const uint8_t *global;
  int bytes, valid;
  int group;
} copy;

typedef struct tma_store {
  const struct tensor_map *map;
  const uint8_t *shared;
  int coordinates[5];
  int group;
  bool read;
} tma_store;

typedef struct fiber {
  tsr_fiber context;
  tsr_emulated_self self;
  struct block *block;
  struct warp *warp;
  int lane;
  uint32_t column; /* in the clocks of the cluster */
  uint32_t *clock;
  uint32_t *proxy_view; /* clock at the latest fence.proxy.async; NULL before */
  bool done, yielded;
  wait_kind wait;
  int wait_id;       /* number of the barrier, parity of the mbarrier's phase */
  const void *where; /* the mbarrier */
  /* cp.async */
  copy *copies;
  int copy_count, copy_capacity, copy_group;
  /* TMA stores */
  tma_store *stores;
  int store_count, store_capacity, store_group;
  bool wgmma_fenced;
  bool cluster_arrived;
  uint32_t cluster_phase; /* that it arrived in */
} fiber;

typedef struct warp {
  struct block *block;
  fiber *lanes;
  int lane_count;
  uint32_t runnable; /* a bit per lane */
  /* the warp operation that lanes are meeting in */
  const char *op;
  int op_detail;
  uint32_t arrived;
  uint32_t value[32];
  const void *in[32], *in2[32];
  void *out[32];
  uint64_t wide[32], wide2[32];
  struct wgmma_op *wgmma;
  int wgmma_count, wgmma_capacity, wgmma_group;
  uint64_t wgmma_issued;
  int registers;
} warp;

typedef struct named_barrier {
  int arrived, expected;
  uint32_t *clock;
} named_barrier;

typedef struct mbarrier {
  uint64_t *address;
  int count, pending;
  int64_t bytes; /* expected minus landed */
  uint32_t phase;
  uint32_t *clock, *done_clock;
  uint32_t init_column, init_clock;
  uint32_t agent;
  bool fenced;
} mbarrier;

typedef struct block {
  struct cluster *cluster;
  long long index;
  int rank;
  region shared;
  named_barrier barriers[BARRIERS];
  mbarrier mbarriers[MBARRIERS];
  int mbarrier_count;
  warp *warps;
  int warp_count;
  fiber *fibers;
  int alive; /* threads; at 0 its shared memory is gone for the others of the cluster */
} block;

typedef struct cluster {
  struct tsr_emulator *e;
  uint32_t run;
  block *blocks;
  int block_count;
  fiber *fibers;
  int fiber_count, alive;
  uint32_t width; /* columns of a clock */
  uint32_t *clocks;
  uint32_t agent_step[AGENTS];
  uint32_t agents;
  int arrived;
  uint32_t cluster_phase;
  uint32_t *cluster_clock, *cluster_done;
  uint32_t *flag_clock; /* what threads have released through flags and fences */
  uint32_t *grid_clock; /* what its threads did before the latest barrier of the grid */
  uint32_t acquired;    /* time of the latest acquire */
} cluster;

/* What tsr_emulator_encode_tensor_map puts into the 128 bytes. */
typedef struct tensor_map {
  uint64_t magic;
  uint8_t *base;
  uint64_t dims[5];
  uint64_t strides[4];
  uint16_t box[5];
  uint8_t rank, element_bytes, swizzle;
} tensor_map;
_Static_assert(sizeof(tensor_map) <= 128, "fits the driver's opaque map");

/* A TMA load under way: performed at issue or when nothing else can run, as the seed says. */
typedef struct load {
  cluster *cluster;
  tensor_map map;        /* a copy: the parameter may be gone when the box lands */
  const uint8_t *global; /* NULL: a box of the map */
  int coordinates[5];
  uint32_t bytes;
  struct {
    block *block;
    uint8_t *shared;
    mbarrier *bar;
  } to[16];
  int to_count;
} load;

struct tsr_emulated_kernel {
  const struct text *text;
  tsr_emulated_entry entry;
};

typedef struct text {
  struct text *next;
  char *source;
  void *library;
  tsr_emulated_text_info info;
  tsr_emulated_kernel *kernels;
  int kernel_count;
} text;

struct tsr_emulator {
  int arch;
  char error[2048];
  char folder[256];
  int texts_made;
  text *texts;
  region **regions;
  int region_count, region_capacity;
  region *last_region;
  bool unwatched; /* new buffers get no slots */
  tsr_emulated_api api;
  uint32_t runs;
  /* the launch */
  const tsr_emulated_kernel *kernel;
  const tsr_emulated_launch *launch;
  void *const *args;
  uint32_t first_run;
  bool failed;
  uint64_t random;
  cluster *clusters;
  int cluster_count;
  warp **warps;
  int warp_count;
  int current_warp;
  fiber *current;
  tsr_fiber scheduler;
  load *loads;
  int load_count, load_capacity;
  uint32_t idle_turns;
  int grid_arrived;   /* threads at the grid's barrier */
  uint32_t *released; /* per run of the launch: time of its latest release, 0 for none */
  uint32_t released_count, time;
  uint8_t *stacks;
  size_t stack_count;
};

/* The emulator of the launch that runs on this thread: the functions of the table have no other way
 * to find it. */
extern _Thread_local tsr_emulator *tsr_running;

/* schedule.c */
uint32_t random_below(tsr_emulator *e, uint32_t bound);
void block_current(tsr_emulator *e, wait_kind kind, int id, const void *where);
void make_runnable(fiber *f);
void yield_current(tsr_emulator *e);

/* report.c: records the first finding. `fail_thread` never returns: the thread's fiber is left. */
void fail_launch(tsr_emulator *e, const fiber *f, const char *format, ...) TSR_PRINTF(3, 4);
_Noreturn void fail_thread(const char *format, ...) TSR_PRINTF(1, 2);
void report_deadlock(tsr_emulator *e);
bool fail_call(tsr_emulator *e, const char *format, ...) TSR_PRINTF(2, 3);

/* kept.c: compiled texts that outlive the process, in $TESSERA_EMULATED_CACHE. */
const char *emulator_compiler(void);
/* The path for the library of a text; false when nothing is kept. */
bool kept_library(const char *source, char out_path[PATH_BYTES]);
/* Moves a new library there, whole or not at all. */
bool keep_library(const char *made, const char *kept);

/* clock.c */
void clock_join(uint32_t *into, const uint32_t *from, uint32_t width);
/* What the thread did so far belongs to the step that ends here. */
void clock_release(fiber *f, uint32_t *into);
void clock_acquire(fiber *f, const uint32_t *from);

/* memory.c */
bool region_init(region *r, void *base, size_t size, const char *name, bool watched);
void region_clear(region *r);
region *find_region(tsr_emulator *e, const fiber *f, const void *address);
/* Checks and remembers an access of the current thread; fails the thread. Returns the region, NULL
 * for the thread's own stack. */
region *check_access(fiber *f, const void *address, size_t bytes, int kind, int space);
/* Fails the thread when it reaches for shared memory of a block that has ended. */
void check_alive(fiber *f, const block *b, const char *what);
/* The same range for memory that instructions name; `what` stands in reports. Neither checks nor
 * changes what is remembered. */
region *check_range(fiber *f, const void *address, size_t bytes, size_t alignment, int space,
                    const char *what);
/* The part of check_access behind the range check, as thread or agent `column` at `step`, whose
 * view is `clock`. `remember` false: only looks. Returns false with `out_why`. */
bool race_free(tsr_emulator *e, region *r, const cluster *c, uint32_t column, uint32_t step,
               const uint32_t *clock, size_t offset, size_t bytes, int kind, bool remember,
               char *out_why, size_t why_size);
void check_written(fiber *f, region *r, size_t offset, size_t bytes);
void check_pending(fiber *f, region *r, size_t offset, size_t bytes, int kind, const char *what);
void mark_pending(region *r, size_t offset, size_t bytes, uint8_t *marks, int delta);
void check_proxy(fiber *f, region *r, size_t offset, size_t bytes, const char *what);
void api_access(const void *address, int bytes, int kind, int space);
unsigned api_shared_address(const void *address);
void api_synchronise(const void *flag, int acquire, int release);
void api_spin(void);

/* barrier.c */
void api_barrier(int id, int threads, int wait);
void api_cluster_barrier(int wait);
void api_grid_barrier(void);
void *api_cluster_shared(void *p, int rank);
int api_mbarrier(int op, unsigned long long *bar, int operand);
mbarrier *find_mbarrier(block *b, const void *address);
mbarrier *use_mbarrier(fiber *f, const void *address, const char *what);
void mbarrier_land(tsr_emulator *e, mbarrier *bar, int64_t bytes);
void api_fence_proxy_async(void);
void api_fence_mbarrier_init(void);

/* warp.c: the lanes of a warp meet; true in the lane that arrives last and must call meet_end after
 * it has acted for all. */
bool meet(fiber *f, const char *op, int detail);
void meet_end(fiber *f);
void api_warp_barrier(void);
unsigned api_shuffle(int mode, unsigned value, int operand);
void api_ldmatrix(unsigned *r, const void *row, int count, int transposed);
void api_stmatrix(void *row, const unsigned *r, int count);
void api_mma(int type, void *d, const unsigned *a, const unsigned *b);
void api_set_max_registers(int count);
/* Element `i` of packed operands. */
double mma_element(int type, const void *packed, int i);
int mma_element_bytes(int type);

/* copy.c */
void api_copy_async(void *shared, const void *global, int bytes, int valid);
void api_copy_async_commit(void);
void api_copy_async_wait(int groups);
void finish_copies(fiber *f, int up_to_group);

/* tma.c */
void api_tma_load(void *shared, const void *map, unsigned long long *bar, int dims,
                  const int *coordinates, unsigned blocks);
void api_tma_store(const void *map, const void *shared, int dims, const int *coordinates);
void api_tma_store_commit(void);
void api_tma_store_wait(int groups, int read);
void api_bulk_load(void *shared, const void *global, int bytes, unsigned long long *bar);
/* Performs one load that is under way; false when there is none. */
bool land_one_load(tsr_emulator *e);
/* What is left when a cluster ends. */
void finish_stores(fiber *f, int up_to_group, bool only_read);

/* wgmma.c */
void api_wgmma(int type, int n, void *d, const unsigned *a_registers, unsigned long long a,
               unsigned long long b, int accumulate, int a_major, int b_major);
void api_wgmma_fence(void);
void api_wgmma_commit(void);
void api_wgmma_wait(int groups);
void wgmma_clear(warp *w);

/* load.c */
void unload_texts(tsr_emulator *e);
#endif
