/* CPU targets: what `--target cpu[:FEATURES]` names. Nothing here looks at the name of the CPU:
 * virtual machines report wrong ones. */
#ifndef TSR_CODEGEN_CPU_CPU_ISA_H
#define TSR_CODEGEN_CPU_CPU_ISA_H
#include "runtime/diag.h"
#include <stdbool.h>
#include <stdint.h>

/* The x86 levels are ordered: a machine of one runs code of those before it. */
typedef enum tsr_cpu_level {
  TSR_CPU_LEVEL_GENERIC,   /* the baseline of a host that is neither x86-64 nor AArch64 */
  TSR_CPU_LEVEL_AARCH64,   /* its baseline: NEON, 32 registers of 128 bits, FMA */
  TSR_CPU_LEVEL_X86_64_V2, /* SSE4.2: 16 registers of 128 bits, no FMA */
  TSR_CPU_LEVEL_X86_64_V3, /* AVX2, FMA, F16C, BMI2: 16 registers of 256 bits */
  TSR_CPU_LEVEL_X86_64_V4, /* AVX-512 F, BW, CD, DQ, VL: 32 registers of 512 bits */
} tsr_cpu_level;

typedef struct tsr_cpu_isa {
  tsr_cpu_level level;
  bool avx512_vnni;
  bool avx512_bf16;
  bool avx512_fp16;
  bool amx_int8;
  bool amx_bf16;
  bool amx_emulated;    /* tile operations by plain code, for tests: the machine needs no AMX */
  bool has_fma;         /* llvm.fma is one instruction */
  bool has_f16_convert; /* half <-> float are instructions */
  unsigned vector_bits; /* of the widest vector register */
  unsigned vector_registers; /* of that width */
} tsr_cpu_isa;

enum { TSR_CPU_ISA_TEXT = 96 };

/* Parses what stands after "cpu" in a target: "" (this machine), or ":" and one of x86-64-v2,
 * x86-64-v3, x86-64-v4, avx2 (= v3), avx512 (= v4), aarch64, host, generic (not on x86; aarch64 on
 * AArch64); then any number of "+vnni", "+bf16", "+fp16", "+amx-int8", "+amx-bf16", which need v4;
 * with "+amx-emulated" the last two run anywhere, slowly. aarch64 is taken on every host, as a
 * target to compile for; the others are for the host's own architecture. The whole target
 * ("cpu:avx2") is taken too. TSR_ERR_ARGUMENT for anything else, with the list of what is allowed.
 */
TSR_WARN_UNUSED tsr_status tsr_cpu_isa_parse(const char *text, tsr_diag *diag,
                                             tsr_cpu_isa *out_isa);
/* What this machine and its kernel support. amx_*: only what the CPU has; permission to use it is
 * the runtime's affair. */
void tsr_cpu_isa_host(tsr_cpu_isa *out_isa);
/* The best isa whose code a machine with these TSR_CPU_* bits (runtime/cpu_features.h) runs, and
 * the bits of an isa. GENERIC has none. */
void tsr_cpu_isa_from_features(uint64_t features, tsr_cpu_isa *out_isa);
uint64_t tsr_cpu_isa_features(const tsr_cpu_isa *isa);
/* The bits that all of its code needs, and those that code on AMX tiles needs besides: none when
 * they are emulated. */
uint64_t tsr_cpu_isa_needs(const tsr_cpu_isa *isa);
uint64_t tsr_cpu_isa_tiles(const tsr_cpu_isa *isa);
/* Canonical text, which parses back to the same isa: "cpu:x86-64-v4+vnni+bf16". */
void tsr_cpu_isa_text(const tsr_cpu_isa *isa, char out_text[TSR_CPU_ISA_TEXT]);
/* True when a machine with `have` runs code made for `need`. */
bool tsr_cpu_isa_covers(const tsr_cpu_isa *have, const tsr_cpu_isa *need);
/* Does this machine run code for these TSR_CPU_* bits? */
bool tsr_cpu_isa_host_runs(uint64_t features);
/* Lanes of the widest vector register for elements of `bits`. */
unsigned tsr_cpu_isa_lanes(const tsr_cpu_isa *isa, unsigned bits);

#endif
