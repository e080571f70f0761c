/* The tables, in three requirements:
 *   1. A relocation is a row: which value, how it is scaled, how many signed bits it may have, and
 *      where the field keeps it.
 *   2. Only values that do not depend on where the image is mapped have rows: distances, distances
 *      of 4096-byte pages, and the low 12 bits of addresses. The latter two hold because images are
 *      mapped at multiples of 4096.
 *   3. A load of an address from the global offset table becomes the computation of that address,
 *      as linkers do; where the instruction does not allow it, the relocation is refused. */
#include "codegen/cpu/image_relocate.h"
#include <elf.h>
#include <stddef.h>
#include <string.h>

typedef enum value_kind {
  DISTANCE,      /* of the target from the place */
  PAGE_DISTANCE, /* of their pages, in pages */
  LOW_12,        /* of the target */
} value_kind;

typedef void (*put_function)(unsigned char *field, int64_t value);
/* Turns a load through the table into a computation; false where it cannot. */
typedef bool (*relax_function)(unsigned char *field, uint64_t bytes_before);

struct tsr_image_relocation {
  uint32_t type;
  uint8_t bytes;
  uint8_t kind;
  uint8_t scale; /* the value is a multiple of 1 << scale and is stored without these bits */
  uint8_t bits;  /* of the stored value with its sign; low bits have none */
  put_function put;
  relax_function relax;
};

static void put_64(unsigned char *field, int64_t value) {
  memcpy(field, &value, 8);
}

static void put_32(unsigned char *field, int64_t value) {
  int32_t narrow = (int32_t)value;
  memcpy(field, &narrow, 4);
}

/* ---- x86-64 ---- */

/* `mov symbol@GOTPCREL(%rip), %reg` (8b) becomes `lea symbol(%rip), %reg` (8d), and
 * `call *symbol@GOTPCREL(%rip)` (ff 15) becomes `addr32 call symbol` (67 e8). */
static bool relax_x86(unsigned char *field, uint64_t bytes_before) {
  if (bytes_before < 2)
    return false;
  if (field[-2] == 0x8b && (field[-1] & 0xc7) == 0x05) {
    field[-2] = 0x8d;
    return true;
  }
  if (field[-2] == 0xff && field[-1] == 0x15) {
    field[-2] = 0x67;
    field[-1] = 0xe8;
    return true;
  }
  return false;
}

static const tsr_image_relocation x86_64[] = {
    {R_X86_64_PC32, 4, DISTANCE, 0, 32, put_32, NULL},
    {R_X86_64_PLT32, 4, DISTANCE, 0, 32, put_32, NULL},
    {R_X86_64_PC64, 8, DISTANCE, 0, 64, put_64, NULL},
    {R_X86_64_GOTPCREL, 4, DISTANCE, 0, 32, put_32, relax_x86},
    {R_X86_64_GOTPCRELX, 4, DISTANCE, 0, 32, put_32, relax_x86},
    {R_X86_64_REX_GOTPCRELX, 4, DISTANCE, 0, 32, put_32, relax_x86},
};

/* ---- AArch64 ---- */

static void put_bits(unsigned char *field, uint32_t mask, uint32_t bits) {
  uint32_t word;
  memcpy(&word, field, 4);
  word = (word & ~mask) | (bits & mask);
  memcpy(field, &word, 4);
}

/* b, bl. */
static void put_branch(unsigned char *field, int64_t value) {
  put_bits(field, 0x03ffffff, (uint32_t)value);
}

/* adr, adrp: the two lowest bits stand apart. */
static void put_address(unsigned char *field, int64_t value) {
  uint32_t bits = (uint32_t)value;
  put_bits(field, 0x60ffffe0, (bits & 3) << 29 | (bits >> 2 & 0x7ffff) << 5);
}

/* b.cond, cbz, ldr of a literal. */
static void put_19(unsigned char *field, int64_t value) {
  put_bits(field, 0x00ffffe0, (uint32_t)value << 5);
}

/* add, ldr, str: the unsigned offset. */
static void put_offset(unsigned char *field, int64_t value) {
  put_bits(field, 0x003ffc00, (uint32_t)value << 10);
}

/* `ldr xA, [xB, #offset]` becomes `add xA, xB, #offset`. */
static bool relax_ldr(unsigned char *field, uint64_t bytes_before) {
  uint32_t word;
  (void)bytes_before;
  memcpy(&word, field, 4);
  if ((word & 0xffc00000) != 0xf9400000)
    return false;
  word = (word & 0x003fffff) | 0x91000000;
  memcpy(field, &word, 4);
  return true;
}

static const tsr_image_relocation aarch64[] = {
    {R_AARCH64_PREL32, 4, DISTANCE, 0, 32, put_32, NULL},
    {R_AARCH64_PREL64, 8, DISTANCE, 0, 64, put_64, NULL},
    {R_AARCH64_CALL26, 4, DISTANCE, 2, 26, put_branch, NULL},
    {R_AARCH64_JUMP26, 4, DISTANCE, 2, 26, put_branch, NULL},
    {R_AARCH64_CONDBR19, 4, DISTANCE, 2, 19, put_19, NULL},
    {R_AARCH64_LD_PREL_LO19, 4, DISTANCE, 2, 19, put_19, NULL},
    {R_AARCH64_ADR_PREL_LO21, 4, DISTANCE, 0, 21, put_address, NULL},
    {R_AARCH64_ADR_PREL_PG_HI21, 4, PAGE_DISTANCE, 0, 21, put_address, NULL},
    {R_AARCH64_ADD_ABS_LO12_NC, 4, LOW_12, 0, 13, put_offset, NULL},
    {R_AARCH64_LDST8_ABS_LO12_NC, 4, LOW_12, 0, 13, put_offset, NULL},
    {R_AARCH64_LDST16_ABS_LO12_NC, 4, LOW_12, 1, 13, put_offset, NULL},
    {R_AARCH64_LDST32_ABS_LO12_NC, 4, LOW_12, 2, 13, put_offset, NULL},
    {R_AARCH64_LDST64_ABS_LO12_NC, 4, LOW_12, 3, 13, put_offset, NULL},
    {R_AARCH64_LDST128_ABS_LO12_NC, 4, LOW_12, 4, 13, put_offset, NULL},
    {R_AARCH64_ADR_GOT_PAGE, 4, PAGE_DISTANCE, 0, 21, put_address, NULL},
    {R_AARCH64_LD64_GOT_LO12_NC, 4, LOW_12, 0, 13, put_offset, relax_ldr},
};

/* ---- All machines ---- */

static const tsr_image_machine machines[] = {
    {EM_X86_64, x86_64, sizeof x86_64 / sizeof *x86_64},
    {EM_AARCH64, aarch64, sizeof aarch64 / sizeof *aarch64},
};

const tsr_image_machine *tsr_image_machine_find(uint16_t number) {
  for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
    if (machines[i].number == number)
      return &machines[i];
  return NULL;
}

const tsr_image_relocation *tsr_image_relocation_find(const tsr_image_machine *machine,
                                                      uint32_t type) {
  for (uint32_t i = 0; i < machine->relocation_count; i++)
    if (machine->relocations[i].type == type)
      return &machine->relocations[i];
  return NULL;
}

uint32_t tsr_image_relocation_bytes(const tsr_image_relocation *relocation) {
  return relocation->bytes;
}

/* Rounds down, for negative addresses too. */
static int64_t page_of(int64_t address) {
  return address < 0 ? -1 - (-1 - address) / 4096 : address / 4096;
}

static bool fits(int64_t value, unsigned bits) {
  if (bits >= 64)
    return true;
  int64_t limit = INT64_C(1) << (bits - 1);
  return value >= -limit && value < limit;
}

tsr_relocated tsr_image_relocation_apply(const tsr_image_relocation *relocation,
                                         const tsr_image_reference *reference) {
  int64_t target, value;
  if (relocation->relax && !relocation->relax(reference->field, reference->bytes_before))
    return TSR_RELOCATED_NOT_POSSIBLE;
  if (__builtin_add_overflow(reference->target, reference->addend, &target) ||
      __builtin_sub_overflow(target, reference->place, &value))
    return TSR_RELOCATED_OUT_OF_RANGE;
  if (relocation->kind == PAGE_DISTANCE)
    value = page_of(target) - page_of(reference->place);
  else if (relocation->kind == LOW_12)
    value = target - page_of(target) * 4096;
  int64_t unit = INT64_C(1) << relocation->scale;
  if (value % unit != 0 || !fits(value / unit, relocation->bits))
    return TSR_RELOCATED_OUT_OF_RANGE;
  relocation->put(reference->field, value / unit);
  return TSR_RELOCATED;
}
