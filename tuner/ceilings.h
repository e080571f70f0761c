/* What this machine's processor reaches: rates of arithmetic and of every level of memory, measured
 * now. The cost model's rates are set by them while tuning, and they stand beside every measured
 * row of the database; datasheets are never asked. */
#ifndef TSR_TUNER_CEILINGS_H
#define TSR_TUNER_CEILINGS_H
#include "ir/target.h"
#include "runtime/diag.h"
#include <tessera/runtime.h>

/* X(NAME, "text", "unit", what runs). Arithmetic counts a fused multiply-add as two operations, a
 * copy counts what is read alone. `hand over` is the rate at which layers of a network can pass on
 * what lies in the second caches where other threads go on with it: every line is read by one
 * thread and then written by another. It takes many times as long between processors that share no
 * cache, and two processors of a virtual machine may share one now and none a minute later. One
 * thread hands over to itself. */
#define TSR_CEILING_LIST(X)                                                                        \
  X(CLOCK, "clock", "GHz", "additions that wait for each other: one a cycle")                      \
  X(FMA_F32, "fma f32", "GFLOP/s", "fused multiply-adds of the widest vectors, in registers")      \
  X(FMA_F16, "fma f16", "GFLOP/s", "the same in half precision (AVX512-FP16)")                     \
  X(DOT_I8, "dot i8", "GOP/s", "products of bytes summed in i32 (VNNI), in registers")             \
  X(DOT_BF16, "dot bf16", "GFLOP/s", "products of bf16 summed in f32 (AVX512-BF16), in registers") \
  X(AMX_BF16, "amx bf16", "GFLOP/s", "products of bf16 tiles, in registers")                       \
  X(AMX_I8, "amx i8", "GOP/s", "products of int8 tiles, in registers")                             \
  X(L1_READ, "l1 read", "GB/s", "reading half of the first data cache")                            \
  X(L2_READ, "l2 read", "GB/s", "reading half of the second cache")                                \
  X(L2_COPY, "l2 copy", "GB/s", "copying within half of the second cache")                         \
  X(L3_READ, "l3 read", "GB/s", "reading what the second cache is too small for")                  \
  X(HAND_OVER, "hand over", "GB/s", "copying what the next thread copied a turn before")           \
  X(MEMORY_READ, "memory read", "GB/s", "reading more than all caches hold")                       \
  X(MEMORY_COPY, "memory copy", "GB/s", "copying more than all caches hold")                       \
  X(MEMORY_STREAM, "memory stream", "GB/s", "the same by stores that pass the caches")

typedef enum tsr_ceiling {
#define TSR_CEILING_ENUM(name, text, unit, what) TSR_CEILING_##name,
  TSR_CEILING_LIST(TSR_CEILING_ENUM)
#undef TSR_CEILING_ENUM
      TSR_CEILING_COUNT
} tsr_ceiling;

const char *tsr_ceiling_text(tsr_ceiling ceiling);
const char *tsr_ceiling_unit(tsr_ceiling ceiling);

/* Of one measurement: in the ceiling's unit; 0 where the machine has not what it takes. */
typedef struct tsr_ceiling_figure {
  double median, least, most;
} tsr_ceiling_figure;

/* Measures all with `threads` threads that work at the same time, on data of their own but for
 * `hand over`, for about `seconds` in all. OUT_OF_MEMORY, ARGUMENT (no threads). */
TSR_WARN_UNUSED tsr_status tsr_ceilings_measure(uint32_t threads, double seconds,
                                                const tsr_allocator *allocator, tsr_diag *diag,
                                                tsr_ceiling_figure out_figures[TSR_CEILING_COUNT]);

/* The figures that the cost model knows, of `threads` threads at once, as kept beside measurements
 * (tsr_db_origin): "threads=1 clock=3.67 fma=117 l1=.." and so on; those of bf16 where the machine
 * multiplies it. What other programs did meanwhile only ever makes figures smaller, so the greatest
 * count. */
enum { TSR_CEILINGS_TEXT = 160 };
void tsr_ceilings_text(const tsr_ceiling_figure figures[TSR_CEILING_COUNT], uint32_t threads,
                       char out_text[TSR_CEILINGS_TEXT]);
/* Sets the rates of a CPU target by such a text: what the model says of schedules then holds on
 * this machine. False, and nothing is changed: the text is none of these. Names of targets, keys
 * and code do not depend on rates. */
bool tsr_ceilings_calibrate(const char *text, tsr_target *inout_target);

#endif
