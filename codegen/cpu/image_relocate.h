/* What the linking step knows about machines: one table of relocations for each. */
#ifndef TSR_CODEGEN_CPU_IMAGE_RELOCATE_H
#define TSR_CODEGEN_CPU_IMAGE_RELOCATE_H
#include <stdbool.h>
#include <stdint.h>

typedef struct tsr_image_relocation tsr_image_relocation;

typedef struct tsr_image_machine {
  uint16_t number; /* ELF's */
  const tsr_image_relocation *relocations;
  uint32_t relocation_count;
} tsr_image_machine;

typedef enum tsr_relocated {
  TSR_RELOCATED,
  TSR_RELOCATED_NOT_POSSIBLE, /* the instruction cannot be made to compute an address */
  TSR_RELOCATED_OUT_OF_RANGE, /* the value does not fit, or is not aligned as it must be */
} tsr_relocated;

/* Where a relocation stands and what it refers to, as offsets in the image. */
typedef struct tsr_image_reference {
  unsigned char *field;  /* the bytes at `place` */
  uint64_t bytes_before; /* of the same section */
  int64_t place, target, addend;
} tsr_image_reference;

/* NULL: images are not made for it. */
const tsr_image_machine *tsr_image_machine_find(uint16_t number);
/* NULL: this type is not position independent, or not known. */
const tsr_image_relocation *tsr_image_relocation_find(const tsr_image_machine *machine,
                                                      uint32_t type);
/* Of the field that is changed. */
uint32_t tsr_image_relocation_bytes(const tsr_image_relocation *relocation);
tsr_relocated tsr_image_relocation_apply(const tsr_image_relocation *relocation,
                                         const tsr_image_reference *reference);

#endif
