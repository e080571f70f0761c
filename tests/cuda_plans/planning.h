/* Graphs lowered to blocks, and their default schedules. */
#ifndef TESTS_CUDA_PLANS_PLANNING_H
#define TESTS_CUDA_PLANS_PLANNING_H
#include "passes/tile/default.h"

/* Parses the text and runs the passes; `arch`: "sm_80". */
tsr_ir *blocks_of(const char *text, const char *arch, tsr_target *out_target);
/* Calls `look` for each block, with its nest joined. The nests live until the next call. */
void each_nest(tsr_ir *ir, const tsr_target *target, void (*look)(void *context, tsr_nest *nest),
               void *context);
/* "wgmma.bf16 128x256x64 4 stages ..." */
void schedule_line(const tsr_schedule *schedule, char *out, size_t size);

#endif
