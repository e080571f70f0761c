/* The analytic model of CUDA devices: cycles of a whole launch for a candidate, from waves of
 * tasks, what each level moves, and how well latencies are hidden. It ranks candidates. */
#ifndef TSR_PASSES_COST_CUDA_H
#define TSR_PASSES_COST_CUDA_H
#include "passes/cost/cost.h"

/* `outer` times [m, k] x [k, n] by strategy mma or wgmma. Fields named as knobs are these knobs. */
typedef struct tsr_cost_cuda_contract {
  int64_t outer, m, n, k;
  double a_bytes, b_bytes; /* of one element in shared memory */
  double a_total, b_total; /* bytes of the operands in memory; 0: every element is read once */
  double a_run, b_run; /* bytes that are copied at once, 16 at best; under 4: not ahead of time */
  double c_bytes;      /* of memory that the epilogue moves for one output, loads included */
  double epilogue_operations; /* of one output */
  const tsr_atom *atom;
  bool wgmma, persistent;
  int64_t bm, bn, bk, warps_m, warps_n, stages, split, raster, cluster;
  uint64_t shared_bytes; /* of a block; 0: that of the rings */
  double bank_passes;    /* of reads of fragments, 1: none too many; 0 counts as 1 */
} tsr_cost_cuda_contract;

void tsr_cost_of_cuda_contract(const tsr_target *target, const tsr_cost_cuda_contract *shape,
                               tsr_cost *out_cost);
/* The line `why` of a cost that one of the functions of this file has filled; they leave it empty.
 */
void tsr_cost_say_cuda(const tsr_target *target, tsr_cost *inout_cost);
/* Threads of a block; registers of the thread that needs most of them: sums, fragments, addresses.
 */
int64_t tsr_cost_cuda_threads(const tsr_cost_cuda_contract *shape);
/* Pieces of operand a (0) or b (1) that a thread copies in one turn. */
double tsr_cost_cuda_pieces(const tsr_cost_cuda_contract *shape, int which);
int64_t tsr_cost_cuda_registers(const tsr_cost_cuda_contract *shape);
uint64_t tsr_cost_cuda_shared(const tsr_cost_cuda_contract *shape);
/* Registers that such a thread may have before it spills: of a block of that many threads, or of
 * the consumers' share of what setmaxnreg hands out. */
int64_t tsr_cost_cuda_register_limit(const tsr_target *target, const tsr_cost_cuda_contract *shape);
/* Multiply-adds of an atom per cycle and multiprocessor. */
double tsr_cost_cuda_atom_rate(const tsr_target *target, const tsr_atom *atom);
/* Blocks resident on one multiprocessor; 0: not even one fits. */
int64_t tsr_cost_cuda_resident(const tsr_target *target, int64_t threads, int64_t registers,
                               uint64_t shared_bytes);

/* One load or store of a tile by strategy nest. */
typedef struct tsr_cost_cuda_access {
  double times;                    /* that it happens, over all tasks */
  int64_t rows, lanes;             /* of the tile it moves: 1 where it does not vary */
  int64_t row_stride, lane_stride; /* elements of memory; INT64_MAX: anywhere */
  int64_t vector;                  /* elements along the lanes that one thread can take at once */
  double bytes;                    /* of one element */
  double distinct;                 /* bytes of memory that it reaches, over all tasks */
  bool store;
  bool walks_on; /* the next turn of a task's loop goes on where this one ended: sectors are used up
                  */
} tsr_cost_cuda_access;

/* Tiles of rows x lanes points, `tasks` of them, each in `steps` turns of a loop. */
typedef struct tsr_cost_cuda_nest {
  double tasks, steps;
  int64_t rows, lanes, threads;
  double operations; /* of one point and step, by weight */
  double ending;     /* cycles behind the loop: exchanges between threads, the epilogue */
  int64_t registers; /* of one thread */
  const tsr_cost_cuda_access *accesses;
  uint32_t access_count;
} tsr_cost_cuda_nest;

void tsr_cost_of_cuda_nest(const tsr_target *target, const tsr_cost_cuda_nest *shape,
                           tsr_cost *out_cost);

#endif
