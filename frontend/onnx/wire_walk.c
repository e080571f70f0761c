/* Every message is walked twice: the first walk counts the elements of its repeated fields, the
 * second one fills arrays of exactly that size. A count never exceeds the bytes it was read from,
 * so memory stays proportional to the input. */
#include "frontend/onnx/wire_walk.h"
#include <string.h>

enum { MAX_FIELDS = 24 };

typedef enum wire_type {
  WIRE_VARINT = 0,
  WIRE_FIXED64 = 1,
  WIRE_LENGTH = 2,
  WIRE_FIXED32 = 5
} wire_type;

typedef struct reader {
  const uint8_t *base; /* of the whole input, for offsets in messages */
  const uint8_t *at, *end;
  const tsr_wire_message *message;
  tsr_arena *arena;
  tsr_diag *diag;
  unsigned depth;
} reader;

/* One occurrence of a field: its number as bits in `scalar`, or its bytes. */
typedef struct occurrence {
  uint32_t number;
  wire_type type;
  uint64_t scalar;
  const uint8_t *bytes;
  uint64_t size;
} occurrence;

static tsr_status malformed(const reader *r, const char *what) {
  return tsr_fail(r->diag, TSR_ERR_FORMAT, "malformed protobuf at byte %llu (in %s): %s",
                  (unsigned long long)(r->at - r->base), r->message->name, what);
}

static tsr_status out_of_memory(const reader *r) {
  return tsr_fail(r->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while reading %s",
                  r->message->name);
}

static tsr_status read_varint(reader *r, uint64_t *out_value) {
  uint64_t value = 0;
  *out_value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (r->at == r->end)
      return malformed(r, "a number is cut off");
    uint8_t byte = *r->at++;
    if (shift == 63 && byte > 1)
      return malformed(r, "a number has more than 64 bits");
    value |= (uint64_t)(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) {
      *out_value = value;
      return TSR_OK;
    }
  }
  return malformed(r, "a number has more than 10 bytes");
}

static tsr_status read_fixed(reader *r, unsigned width, uint64_t *out_value) {
  *out_value = 0;
  if ((uint64_t)(r->end - r->at) < width)
    return malformed(r, "a fixed-width number is cut off");
  for (unsigned i = 0; i < width; i++)
    *out_value |= (uint64_t)r->at[i] << (8 * i);
  r->at += width;
  return TSR_OK;
}

static tsr_status next_occurrence(reader *r, occurrence *out) {
  uint64_t key = 0;
  memset(out, 0, sizeof *out);
  TSR_TRY(read_varint(r, &key));
  if (key >> 3 == 0 || key >> 3 >= (1u << 29))
    return malformed(r, "field number out of range");
  out->number = (uint32_t)(key >> 3);
  out->type = (wire_type)(key & 7);
  switch (key & 7) {
  case WIRE_VARINT:
    return read_varint(r, &out->scalar);
  case WIRE_FIXED64:
    return read_fixed(r, 8, &out->scalar);
  case WIRE_FIXED32:
    return read_fixed(r, 4, &out->scalar);
  case WIRE_LENGTH:
    TSR_TRY(read_varint(r, &out->size));
    if (out->size > (uint64_t)(r->end - r->at))
      return malformed(r, "a length reaches beyond the end");
    out->bytes = r->at;
    r->at += out->size;
    return TSR_OK;
  default:
    return malformed(r, "groups and unknown wire types are not part of ONNX");
  }
}

static const tsr_wire_field *find_field(const tsr_wire_message *message, uint32_t number,
                                        uint32_t *out_index) {
  for (uint32_t i = 0; i < message->field_count; i++)
    if (message->fields[i].number == number) {
      *out_index = i;
      return &message->fields[i];
    }
  return NULL;
}

static wire_type expected_type(tsr_wire_kind kind) {
  switch (kind) {
  case TSR_WIRE_INT:
    return WIRE_VARINT;
  case TSR_WIRE_FLOAT:
    return WIRE_FIXED32;
  case TSR_WIRE_DOUBLE:
    return WIRE_FIXED64;
  default:
    return WIRE_LENGTH;
  }
}

static size_t element_size(const tsr_wire_field *field) {
  switch (field->kind) {
  case TSR_WIRE_INT:
    return sizeof(int64_t);
  case TSR_WIRE_FLOAT:
    return sizeof(float);
  case TSR_WIRE_DOUBLE:
    return sizeof(double);
  case TSR_WIRE_TEXT:
    return sizeof(char *);
  case TSR_WIRE_BYTES:
    return sizeof(tsr_wire_bytes);
  case TSR_WIRE_MESSAGE:
    return field->message->size;
  }
  return 0;
}

static bool is_packed(const tsr_wire_field *field, const occurrence *o) {
  return field->repeated && o->type == WIRE_LENGTH && expected_type(field->kind) != WIRE_LENGTH;
}

/* Elements in a packed run. A varint ends at each byte without the high bit. */
static tsr_status count_packed(const reader *r, const tsr_wire_field *field, const occurrence *o,
                               uint64_t *out_count) {
  *out_count = 0;
  if (field->kind == TSR_WIRE_INT) {
    for (uint64_t i = 0; i < o->size; i++)
      *out_count += (o->bytes[i] & 0x80) == 0;
    return TSR_OK;
  }
  uint64_t width = field->kind == TSR_WIRE_FLOAT ? 4 : 8;
  if (o->size % width != 0)
    return malformed(r, "a packed list of fixed-width numbers has an odd length");
  *out_count = o->size / width;
  return TSR_OK;
}

static void store_scalar(tsr_wire_kind kind, uint64_t scalar, void *target) {
  if (kind == TSR_WIRE_FLOAT) {
    uint32_t bits = (uint32_t)scalar;
    memcpy(target, &bits, sizeof bits);
  } else
    memcpy(target, &scalar, sizeof scalar);
}

static tsr_status decode_message(reader *r, void *structure);

static tsr_status store_text(reader *r, const occurrence *o, void *target) {
  if (o->size > 0 && memchr(o->bytes, 0, (size_t)o->size))
    return malformed(r, "a text contains a zero byte");
  const char *text =
      tsr_arena_string(r->arena, o->size > 0 ? (const char *)o->bytes : "", (size_t)o->size);
  if (!text)
    return out_of_memory(r);
  memcpy(target, &text, sizeof text);
  return TSR_OK;
}

static tsr_status decode_nested(reader *r, const tsr_wire_field *field, const occurrence *o,
                                void *structure) {
  if (r->depth + 1 >= TSR_WIRE_MAX_DEPTH)
    return tsr_fail(r->diag, TSR_ERR_LIMIT,
                    "messages nested deeper than %d levels (about 100 "
                    "subgraphs)",
                    TSR_WIRE_MAX_DEPTH);
  reader inner = *r;
  inner.at = o->bytes;
  inner.end = o->bytes + o->size;
  inner.message = field->message;
  inner.depth = r->depth + 1;
  return decode_message(&inner, structure);
}

/* Stores one unpacked occurrence at `target`, an element of the kind. */
static tsr_status store_element(reader *r, const tsr_wire_field *field, const occurrence *o,
                                void *target) {
  switch (field->kind) {
  case TSR_WIRE_TEXT:
    return store_text(r, o, target);
  case TSR_WIRE_BYTES: {
    tsr_wire_bytes slice = {(const char *)o->bytes, o->size};
    memcpy(target, &slice, sizeof slice);
    return TSR_OK;
  }
  case TSR_WIRE_MESSAGE:
    return decode_nested(r, field, o, target);
  default:
    store_scalar(field->kind, o->scalar, target);
    return TSR_OK;
  }
}

static tsr_status store_singular(reader *r, const tsr_wire_field *field, const occurrence *o,
                                 bool seen, char *place) {
  if (field->kind != TSR_WIRE_MESSAGE)
    return store_element(r, field, o, place);
  if (seen)
    return malformed(r, "a message field is given twice");
  void *nested = tsr_arena_alloc(r->arena, field->message->size);
  if (!nested)
    return out_of_memory(r);
  memcpy(place, &nested, sizeof nested);
  return decode_nested(r, field, o, nested);
}

static tsr_status store_packed(reader *r, const tsr_wire_field *field, const occurrence *o,
                               char *target) {
  reader inner = *r;
  inner.at = o->bytes;
  inner.end = o->bytes + o->size;
  size_t size = element_size(field);
  for (; inner.at < inner.end; target += size) {
    uint64_t scalar = 0;
    if (field->kind == TSR_WIRE_INT)
      TSR_TRY(read_varint(&inner, &scalar));
    else
      TSR_TRY(read_fixed(&inner, field->kind == TSR_WIRE_FLOAT ? 4 : 8, &scalar));
    store_scalar(field->kind, scalar, target);
  }
  return TSR_OK;
}

/* First walk: checks wire types and counts the elements of repeated fields. */
static tsr_status count_elements(reader *r, uint64_t *counts) {
  while (r->at < r->end) {
    occurrence o;
    uint32_t index = 0;
    TSR_TRY(next_occurrence(r, &o));
    const tsr_wire_field *field = find_field(r->message, o.number, &index);
    if (!field)
      continue;
    uint64_t count = 1;
    if (is_packed(field, &o))
      TSR_TRY(count_packed(r, field, &o, &count));
    else if (o.type != expected_type(field->kind))
      return malformed(r, "a field has the wrong wire type");
    counts[index] += count;
  }
  return TSR_OK;
}

typedef struct list_header {
  char *items;
  uint64_t count;
} list_header;

/* Gives every list its array and every text its empty value; list counts start at 0 and grow while
 * the second walk fills them. */
static tsr_status prepare(reader *r, const uint64_t *counts, char *structure) {
  memset(structure, 0, r->message->size);
  for (uint32_t i = 0; i < r->message->field_count; i++) {
    const tsr_wire_field *field = &r->message->fields[i];
    if (field->repeated && counts[i] > 0) {
      list_header list = {tsr_arena_alloc_array(r->arena, (size_t)counts[i], element_size(field)),
                          0};
      if (!list.items)
        return out_of_memory(r);
      memcpy(structure + field->offset, &list, sizeof list);
    } else if (!field->repeated && field->kind == TSR_WIRE_TEXT) {
      const char *empty = "";
      memcpy(structure + field->offset, &empty, sizeof empty);
    }
  }
  return TSR_OK;
}

static tsr_status append(reader *r, const tsr_wire_field *field, const occurrence *o, char *place) {
  list_header list;
  memcpy(&list, place, sizeof list);
  char *target = list.items + list.count * element_size(field);
  uint64_t count = 1;
  if (is_packed(field, o)) {
    TSR_TRY(count_packed(r, field, o, &count));
    TSR_TRY(store_packed(r, field, o, target));
  } else
    TSR_TRY(store_element(r, field, o, target));
  list.count += count;
  memcpy(place, &list, sizeof list);
  return TSR_OK;
}

static tsr_status decode_message(reader *r, void *structure) {
  uint64_t counts[MAX_FIELDS] = {0};
  uint64_t present = 0;
  reader counting = *r;
  TSR_TRY(count_elements(&counting, counts));
  TSR_TRY(prepare(r, counts, structure));
  while (r->at < r->end) {
    occurrence o;
    uint32_t index = 0;
    TSR_TRY(next_occurrence(r, &o));
    const tsr_wire_field *field = find_field(r->message, o.number, &index);
    if (!field)
      continue;
    char *place = (char *)structure + field->offset;
    if (!field->repeated)
      TSR_TRY(store_singular(r, field, &o, (present >> field->number) & 1, place));
    else if (counts[index] > 0)
      TSR_TRY(append(r, field, &o, place));
    present |= (uint64_t)1 << field->number;
  }
  memcpy(structure, &present, sizeof present);
  return TSR_OK;
}

tsr_status tsr_wire_decode(const tsr_wire_message *message, const void *data, uint64_t size,
                           tsr_arena *arena, tsr_diag *diag, void *out_structure) {
  reader r = {.base = data,
              .at = data,
              .end = size > 0 ? (const uint8_t *)data + size : data,
              .message = message,
              .arena = arena,
              .diag = diag};
  memset(out_structure, 0, message->size);
  if (message->field_count > MAX_FIELDS)
    return tsr_fail(diag, TSR_ERR_INTERNAL, "message table of %s has too many fields",
                    message->name);
  return decode_message(&r, out_structure);
}
