/* A CUDA driver library that stands before the emulated one: it counts calls, keeps what launches
 * and tensor maps were given, knows what is alive, and fails the call that it is told to. Tests
 * find `tsr_spy_get` in it with dlsym. */
#ifndef TESTS_CUDA_RUNTIME_SPY_H
#define TESTS_CUDA_RUNTIME_SPY_H
#include "runtime/cuda/driver.h"
#include <stdbool.h>

/* The number of each entry point. */
enum {
#define SPY_NUMBER(result, name, parameters) SPY_##name,
  TSR_CUDA_DRIVER_LIST(SPY_NUMBER)
#undef SPY_NUMBER
      SPY_COUNT
};

enum { SPY_MOST_ATTRIBUTES = 4 };

typedef struct spy_map {
  int dtype, swizzle;
  uint32_t rank;
  void *base;
  uint64_t dims[5], strides[5];
  uint32_t box[5], steps[5];
} spy_map;

typedef struct spy_state {
  long calls[SPY_COUNT];
  long total; /* of calls that can fail */
  /* The `fail_at`-th of them from now on (1: the next) fails with `error`; 0: none. Releases are
   * done all the same. */
  long fail_at;
  tsr_cu_result error;
  bool no_pools; /* devices say that they have no stream-ordered allocation */
  int failed;    /* the number of the entry point that failed last, -1: none */
  /* Made and not yet released: device and pinned memory, streams, events, modules, graphs, retained
   * contexts, contexts pushed. */
  long live;
  tsr_cu_launch_config launch; /* the last one; attributes are copied */
  tsr_cu_launch_attribute attributes[SPY_MOST_ATTRIBUTES];
  spy_map map; /* the last one */
} spy_state;

spy_state *tsr_spy_get(void);

#endif
