/* Reads protobuf's wire format (protobuf.dev/programming-guides/encoding) by tables: one row per
 * field says where in a plain C structure its value goes. Numbers, text and structures go into an
 * arena; bytes fields stay where they are, as slices of the input. The input is not trusted. */
#ifndef TSR_FRONTEND_ONNX_WIRE_WALK_H
#define TSR_FRONTEND_ONNX_WIRE_WALK_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Message nesting that is accepted: a subgraph is three messages deep (graph, node, attribute). */
#define TSR_WIRE_MAX_DEPTH 312

/* A slice of the input; not terminated. */
typedef struct tsr_wire_bytes {
  const char *data;
  uint64_t size;
} tsr_wire_bytes;

/* A repeated field. All lists have this layout, so that the decoder fills them without knowing T.
 */
#define TSR_WIRE_LIST(T)                                                                           \
  struct {                                                                                         \
    T *items;                                                                                      \
    uint64_t count;                                                                                \
  }

/* What the field's place in the structure is, singular / repeated:
 * INT      int64_t / list of int64_t: every varint type, sign-extended or bit-cast
 * FLOAT    float / list of float
 * DOUBLE   double / list of double
 * TEXT     const char *, terminated copy / list of it; absent: ""; a zero byte inside is an error
 * BYTES    tsr_wire_bytes / list of it
 * MESSAGE  pointer to the structure, NULL when absent / list of structures */
typedef enum tsr_wire_kind {
  TSR_WIRE_INT,
  TSR_WIRE_FLOAT,
  TSR_WIRE_DOUBLE,
  TSR_WIRE_TEXT,
  TSR_WIRE_BYTES,
  TSR_WIRE_MESSAGE
} tsr_wire_kind;

typedef struct tsr_wire_message tsr_wire_message;

typedef struct tsr_wire_field {
  uint32_t number; /* below 64 */
  tsr_wire_kind kind;
  bool repeated;
  size_t offset;
  const tsr_wire_message *message; /* of kind MESSAGE */
} tsr_wire_field;

/* A structure's first member is `uint64_t present`: bit n is set when field n was there. */
struct tsr_wire_message {
  const char *name;
  size_t size;
  const tsr_wire_field *fields;
  uint32_t field_count;
};

#define TSR_WIRE_HAS(structure, number) (((structure)->present >> (number)) & 1u)

/* Decodes `size` bytes into `out_structure` (message->size bytes, zeroed here). Unknown fields are
 * skipped; a singular scalar given twice keeps its last value. Slices point into `data`. Errors:
 * TSR_ERR_FORMAT with the byte offset, TSR_ERR_LIMIT for nesting, TSR_ERR_OUT_OF_MEMORY. */
TSR_WARN_UNUSED tsr_status tsr_wire_decode(const tsr_wire_message *message, const void *data,
                                           uint64_t size, tsr_arena *arena, tsr_diag *diag,
                                           void *out_structure);

#endif
