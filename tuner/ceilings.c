#include "tuner/ceilings.h"
#include "runtime/arena.h"
#include "runtime/clock.h"
#include "runtime/cpu_features.h"
#include "tuner/ceilings_kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 7, ALIGNMENT = 4096 };

static const struct {
  const char *text, *unit;
} names[] = {
#define NAME(name, text, unit, what) {text, unit},
    TSR_CEILING_LIST(NAME)
#undef NAME
};

const char *tsr_ceiling_text(tsr_ceiling ceiling) {
  return names[ceiling].text;
}

const char *tsr_ceiling_unit(tsr_ceiling ceiling) {
  return names[ceiling].unit;
}

/* --- levels of memory --- */

typedef enum motion { READ, COPY, STREAM, HAND_OVER } motion;

/* Bytes that one thread reads. */
static uint64_t half_l1(const tsr_cpu_caches *c, uint32_t threads) {
  (void)threads;
  return c->l1d_bytes / 2;
}

static uint64_t half_l2(const tsr_cpu_caches *c, uint32_t threads) {
  (void)threads;
  return c->l2_bytes / 2;
}

static uint64_t quarter_l2(const tsr_cpu_caches *c, uint32_t threads) {
  (void)threads;
  return c->l2_bytes / 4;
}

static uint64_t beyond_l2(const tsr_cpu_caches *c, uint32_t threads) {
  uint64_t share = c->l3_bytes / 2 / threads;
  return share < 4 * c->l2_bytes ? share : 4 * c->l2_bytes;
}

static uint64_t beyond_all(const tsr_cpu_caches *c, uint32_t threads) {
  return (2 * c->l3_bytes + (64 << 20)) / threads;
}

static const struct {
  motion motion;
  uint64_t (*bytes)(const tsr_cpu_caches *caches, uint32_t threads);
} levels[TSR_CEILING_COUNT] = {[TSR_CEILING_L1_READ] = {READ, half_l1},
                               [TSR_CEILING_L2_READ] = {READ, half_l2},
                               [TSR_CEILING_L2_COPY] = {COPY, quarter_l2},
                               [TSR_CEILING_L3_READ] = {READ, beyond_l2},
                               [TSR_CEILING_HAND_OVER] = {HAND_OVER, quarter_l2},
                               [TSR_CEILING_MEMORY_READ] = {READ, beyond_all},
                               [TSR_CEILING_MEMORY_COPY] = {COPY, beyond_all},
                               [TSR_CEILING_MEMORY_STREAM] = {STREAM, beyond_all}};

static void read_caches(tsr_cpu_caches *out) {
  tsr_cpu_cache_sizes(out);
  out->l1d_bytes = out->l1d_bytes != 0 ? out->l1d_bytes : 32 << 10;
  out->l2_bytes = out->l2_bytes != 0 ? out->l2_bytes : 1 << 20;
  out->l3_bytes = out->l3_bytes != 0 ? out->l3_bytes : 32 << 20;
}

/* --- one figure --- */

/* Every thread does `rounds` rounds on memory of its own: what is read, then what is written. To
 * hand over, all do one round (`turn`) before any does the next. */
typedef struct probe {
  uint32_t threads;
  const tsr_ceiling_kernels *kernels;
  const tsr_ceiling_loop *loop; /* NULL: memory */
  motion motion;
  unsigned char *memory;
  size_t stride, bytes;
  int64_t rounds, turn;
  double *results; /* one per thread, so that nothing is left out */
} probe;

static double move(const probe *p, unsigned char *from) {
  double sum = 0;
  for (int64_t i = 0; i < p->rounds; i++) {
    if (p->motion == READ)
      sum += p->kernels->read(from, p->bytes);
    else if (p->motion == COPY)
      p->kernels->copy(from + p->bytes, from, p->bytes);
    else
      p->kernels->stream(from + p->bytes, from, p->bytes);
  }
  return sum;
}

static void run_range(void *context, int64_t begin, int64_t end, uint32_t worker) {
  const probe *p = context;
  (void)worker;
  for (int64_t i = begin; i < end; i++)
    p->results[i] =
        p->loop != NULL ? p->loop->run(p->rounds) : move(p, p->memory + (size_t)i * p->stride);
}

/* Each thread fills one half of its memory with what the next thread filled the same half of in the
 * turn before; that one fills its other half meanwhile. */
static void hand_over(void *context, int64_t begin, int64_t end, uint32_t worker) {
  const probe *p = context;
  const size_t from = p->turn % 2 != 0 ? p->bytes : 0, to = p->bytes - from;
  (void)worker;
  for (int64_t i = begin; i < end; i++) {
    const size_t next = (size_t)((i + 1) % p->threads);
    p->kernels->copy(p->memory + (size_t)i * p->stride + to, p->memory + next * p->stride + from,
                     p->bytes);
  }
}

static double time_once(probe *p, const tsr_executor *executor) {
  int64_t start = tsr_time_ns();
  if (p->loop != NULL || p->motion != HAND_OVER)
    executor->parallel_for(executor->context, p->threads, run_range, p);
  else
    for (p->turn = 0; p->turn < p->rounds; p->turn++)
      executor->parallel_for(executor->context, p->threads, hand_over, p);
  return fmax(1, (double)(tsr_time_ns() - start));
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The shortest of some tries: what others did meanwhile is not ours. */
static double least_time(probe *p, const tsr_executor *executor) {
  enum { TRIES = 3 };
  double least = INFINITY;
  for (int i = 0; i < TRIES; i++)
    least = fmin(least, time_once(p, executor));
  return least;
}

/* As many rounds as the time of a sample takes, found by doubling. Work per nanosecond is the
 * figure in units of 10^9 per second. */
static tsr_ceiling_figure measure(probe *p, const tsr_executor *executor, double sample_ns) {
  double rates[SAMPLES], took, work = p->loop != NULL ? p->loop->ops : (double)p->bytes;
  for (p->rounds = 1; (took = least_time(p, executor)) < sample_ns / 16; p->rounds *= 2)
    ;
  p->rounds = (int64_t)fmax(1, (double)p->rounds * sample_ns / took);
  for (int i = 0; i < SAMPLES; i++)
    rates[i] = (double)p->rounds * work * p->threads / time_once(p, executor);
  qsort(rates, SAMPLES, sizeof *rates, compare);
  return (tsr_ceiling_figure){rates[SAMPLES / 2], rates[0], rates[SAMPLES - 1]};
}

/* --- all of them --- */

static tsr_status measure_all(tsr_arena *arena, const tsr_executor *executor, uint32_t threads,
                              double seconds, tsr_diag *diag, tsr_ceiling_figure *out) {
  tsr_ceiling_kernels kernels;
  tsr_cpu_caches caches;
  double sample_ns = seconds * 1e9 / (TSR_CEILING_COUNT * (SAMPLES + 1));
  tsr_ceiling_kernels_select(&kernels);
  read_caches(&caches);
  size_t most = (size_t)(beyond_all(&caches, threads) / ALIGNMENT + 1) * ALIGNMENT * 2;
  unsigned char *memory = tsr_arena_alloc(arena, most * threads + ALIGNMENT);
  probe p = {.threads = threads, .kernels = &kernels};
  p.results = tsr_arena_alloc_array(arena, threads, sizeof *p.results);
  if (memory == NULL || p.results == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory to measure with");
  p.memory = memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT);
  memset(p.memory, 1, most * threads);
  for (int i = 0; i < TSR_CEILING_COUNT; i++) {
    p.loop = i < TSR_CEILING_ARITHMETIC ? &kernels.arithmetic[i] : NULL;
    if (p.loop != NULL && p.loop->run == NULL)
      continue;
    if (p.loop == NULL) {
      p.motion = levels[i].motion;
      p.bytes = (size_t)(levels[i].bytes(&caches, threads) / 1024 * 1024);
      p.stride = (2 * p.bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    out[i] = measure(&p, executor, sample_ns);
  }
  return TSR_OK;
}

tsr_status tsr_ceilings_measure(uint32_t threads, double seconds, const tsr_allocator *allocator,
                                tsr_diag *diag, tsr_ceiling_figure out_figures[TSR_CEILING_COUNT]) {
  tsr_pool *pool;
  tsr_arena arena;
  memset(out_figures, 0, TSR_CEILING_COUNT * sizeof *out_figures);
  if (threads == 0)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "no threads to measure with");
  tsr_status status = tsr_pool_create(threads, allocator, &pool);
  if (status != TSR_OK)
    return tsr_fail(diag, status, "cannot start %u threads", threads);
  tsr_executor executor = tsr_pool_executor(pool);
  tsr_arena_init(&arena, allocator);
  status = measure_all(&arena, &executor, threads, seconds, diag, out_figures);
  tsr_arena_reset(&arena);
  tsr_pool_destroy(pool);
  return status;
}

/* --- for the model --- */

/* X(CEILING, "name in the text") */
#define MODEL_LIST(X)                                                                              \
  X(CLOCK, "clock")                                                                                \
  X(FMA_F32, "fma")                                                                                \
  X(L1_READ, "l1")                                                                                 \
  X(L2_READ, "l2")                                                                                 \
  X(L3_READ, "l3")                                                                                 \
  X(MEMORY_READ, "memory")
/* Where the machine has them. */
#define MODEL_LIST_BF16(X)                                                                         \
  X(DOT_BF16, "dot_bf16")                                                                          \
  X(AMX_BF16, "amx_bf16")

void tsr_ceilings_text(const tsr_ceiling_figure figures[TSR_CEILING_COUNT], uint32_t threads,
                       char out_text[TSR_CEILINGS_TEXT]) {
  int used = snprintf(out_text, TSR_CEILINGS_TEXT, "threads=%u", threads);
#define PUT(name, text)                                                                            \
  if (used >= 0 && used < TSR_CEILINGS_TEXT && figures[TSR_CEILING_##name].most > 0)               \
    used += snprintf(out_text + used, (size_t)(TSR_CEILINGS_TEXT - used), " %s=%.4g", text,        \
                     figures[TSR_CEILING_##name].most);
  MODEL_LIST(PUT)
  MODEL_LIST_BF16(PUT)
#undef PUT
}

/* What of the rate in atoms.def this is; an operation is half a product. 1: not known. */
static double share_of(const char *atom_text, double operations_per_cycle, int64_t lanes) {
  const tsr_atom *atom = tsr_atom_find(atom_text);
  const double columns = atom->n > 0 ? (double)atom->n : (double)lanes;
  const double all = 2.0 * atom->m * columns * atom->k * atom->rate;
  return operations_per_cycle > 0 ? fmin(1, operations_per_cycle / all) : 1;
}

/* The number behind `name=`, or 0. */
static double number_of(const char *text, const char *name) {
  const size_t length = strlen(name);
  for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name))
    if ((at == text || at[-1] == ' ') && at[length] == '=')
      return strtod(at + length + 1, NULL);
  return 0;
}

bool tsr_ceilings_calibrate(const char *text, tsr_target *inout_target) {
  tsr_target *t = inout_target;
  double figures[TSR_CEILING_COUNT] = {0};
  const double threads = number_of(text, "threads");
  bool all = t->kind == TSR_TARGET_CPU && threads >= 1;
#define GET(name, text_name)                                                                       \
  figures[TSR_CEILING_##name] = number_of(text, text_name);                                        \
  all = all && figures[TSR_CEILING_##name] > 0 && isfinite(figures[TSR_CEILING_##name]);
  MODEL_LIST(GET)
#undef GET
#define GET_BF16(name, text_name) figures[TSR_CEILING_##name] = number_of(text, text_name);
  MODEL_LIST_BF16(GET_BF16)
#undef GET_BF16
  if (!all)
    return false;
  /* Each is the sum over the threads. A cycle is one of the processor's. The target's vectors may
   * be shorter than those that were measured; no core starts more than two. */
  const double cycles = figures[TSR_CEILING_CLOCK];
  const double lanes = tsr_target_lanes(t, 32);
  t->clock_ghz = cycles / threads;
  t->fma_rate = fmin(2, figures[TSR_CEILING_FMA_F32] / (2 * lanes * cycles));
  t->dot_bf16_share =
      share_of("dot.bf16", figures[TSR_CEILING_DOT_BF16] / cycles, tsr_target_lanes(t, 32));
  /* One unit for all cores. */
  t->amx_share = share_of("amx.bf16", figures[TSR_CEILING_AMX_BF16] / t->clock_ghz, 0);
  t->l1_rate = figures[TSR_CEILING_L1_READ] / cycles;
  t->l2_rate = figures[TSR_CEILING_L2_READ] / cycles;
  t->l3_rate = figures[TSR_CEILING_L3_READ] / cycles;
  t->memory_rate = figures[TSR_CEILING_MEMORY_READ] / cycles;
  return true;
}
