/* What passes know about the machine that code is made for: facts, no code generator. A pass is a
 * pure function of its input and of this. */
#ifndef TSR_IR_TARGET_H
#define TSR_IR_TARGET_H
#include "runtime/cpu_features.h"
#include <stdbool.h>
#include <tessera/dtype.h>

typedef enum tsr_target_kind { TSR_TARGET_CPU, TSR_TARGET_CUDA } tsr_target_kind;

/* A CUDA device. Of one multiprocessor and per cycle unless it says otherwise; cycles are those of
 * the multiprocessors' clock. Plain numbers, so that measured ones can take their place. */
typedef struct tsr_gpu {
  unsigned multiprocessors;      /* of the device */
  unsigned warps, blocks;        /* resident at once */
  unsigned registers;            /* of 32 bits */
  uint64_t shared_bytes;         /* for all resident blocks */
  uint64_t block_shared_bytes;   /* the most that one block may have */
  uint64_t shared_per_block;     /* taken of shared_bytes by each block besides its own */
  double memory_rate, l2_rate;   /* bytes, of the whole device */
  double shared_rate;            /* bytes */
  double f32_rate, f64_rate;     /* fused multiply-adds */
  double i32_rate;               /* integer multiply-adds */
  double special_rate;           /* exponentials, logarithms, reciprocals */
  double mma_share, wgmma_share; /* what a multiprocessor reaches of the rates of atoms.def */
  double memory_latency, l2_latency, shared_latency; /* cycles, unloaded */
  double launch_cycles; /* from the end of one kernel to work in the next one, and its drain */
  double clock_ghz;
} tsr_gpu;

typedef struct tsr_target {
  tsr_target_kind kind;
  char name[96];         /* as `--target` takes it: "cpu:x86-64-v4" */
  uint64_t cpu_features; /* TSR_CPU_* bits that the code may use */
  unsigned capability;   /* CUDA: 80, 89, 90 */
  bool tf32;             /* CUDA: contractions of f32 may round their operands to tf32 */
  bool bf16_parts;       /* CPU: products of f32 may be made of those of bf16 parts (atoms.def) */
  unsigned vector_bits;  /* of the widest vector register */
  unsigned vector_registers;
  bool has_fma;
  uint64_t l1_bytes, l2_bytes, l3_bytes; /* one core's data cache, its second level, the last */
  unsigned line_bytes;
  unsigned threads; /* that a run will use; 1 when unknown */
  /* Measured or typical rates, bytes per cycle and core; the model ranks by their ratios. */
  double l1_rate, l2_rate, l3_rate, memory_rate;
  double fma_rate;                  /* fused multiply-adds of whole vectors per cycle and core */
  double dot_bf16_share, amx_share; /* of the rates that atoms.def gives dot.bf16 and AMX's */
  double clock_ghz;                 /* 0: not known */
  double launch_cycles;             /* one launch of one kernel on one thread */
  double fork_cycles; /* a launch on all threads, which look for it: work to them and back */
  tsr_gpu gpu;        /* CUDA */
} tsr_target;

/* A CPU whose code may use `features` (TSR_CPU_* bits, 0: the architecture's baseline). Caches that
 * are 0 take typical sizes. */
void tsr_target_cpu(uint64_t features, const tsr_cpu_caches *caches, unsigned threads,
                    tsr_target *out_target);
/* "cuda:sm_80", "cuda:sm_89" or "cuda:sm_90a". False: the text names no such device. A vector
 * register stands for the threads of a block, l1 for the most shared memory of a block. */
bool tsr_target_cuda(const char *text, tsr_target *out_target);
/* This machine. */
void tsr_target_host(unsigned threads, tsr_target *out_target);
/* Lanes of the widest vector register for elements of `bits`, at least 1. */
unsigned tsr_target_lanes(const tsr_target *target, unsigned bits);

typedef enum tsr_atom_place { TSR_ATOM_REG, TSR_ATOM_MEMORY } tsr_atom_place;
typedef enum tsr_atom_scope { TSR_ATOM_THREAD, TSR_ATOM_MACHINE } tsr_atom_scope;

/* A row of atoms.def. */
typedef struct tsr_atom {
  const char *text;
  unsigned m, n, k;
  tsr_dtype a, b, c;
  tsr_atom_place place;
  uint64_t features;
  double rate;
  tsr_atom_scope scope;
  tsr_target_kind kind;
  unsigned parts; /* of bf16 that elements of a and b are split into; 1: they are as they are */
} tsr_atom;

const tsr_atom *tsr_atom_find(const char *text); /* NULL when unknown */
const tsr_atom *tsr_atom_at(unsigned number);    /* NULL past the end */
/* Bit d: the tensor cores of a CUDA target multiply two matrices of tsr_dtype d and add in a wider
 * one. */
uint64_t tsr_target_narrow_products(const tsr_target *target);
/* Unsigned bytes times signed ones, summed in i32, on a CPU. */
bool tsr_target_byte_products(const tsr_target *target);
/* Products of bf16 summed in f32, faster than those of f32, on a CPU. Vectors of them are not on
 * the machines that have AMX for it (measured: half the rate of f32's multiply-adds). */
bool tsr_target_bf16_products(const tsr_target *target);
bool tsr_target_bf16_vectors(const tsr_target *target);

#endif
