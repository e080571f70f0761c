/* Writes protobuf messages for tests, including wrong ones. */
#ifndef TSR_TESTS_ONNX_WIRE_WRITER_H
#define TSR_TESTS_ONNX_WIRE_WRITER_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct wire {
  uint8_t *data;
  size_t size, room;
} wire;

static inline void wire_bytes(wire *w, const void *bytes, size_t size) {
  if (w->size + size > w->room) {
    w->room = 2 * (w->size + size) + 64;
    w->data = realloc(w->data, w->room);
    if (!w->data)
      abort();
  }
  if (size > 0)
    memcpy(w->data + w->size, bytes, size);
  w->size += size;
}

static inline void wire_varint(wire *w, uint64_t value) {
  do {
    uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    wire_bytes(w, &byte, 1);
    value >>= 7;
  } while (value > 0);
}

static inline void wire_int(wire *w, unsigned field, int64_t value) {
  wire_varint(w, field << 3);
  wire_varint(w, (uint64_t)value);
}

static inline void wire_blob(wire *w, unsigned field, const void *bytes, size_t size) {
  wire_varint(w, field << 3 | 2);
  wire_varint(w, size);
  wire_bytes(w, bytes, size);
}

static inline void wire_text(wire *w, unsigned field, const char *text) {
  wire_blob(w, field, text, strlen(text));
}

/* Takes `inner`. */
static inline void wire_message(wire *w, unsigned field, wire inner) {
  wire_blob(w, field, inner.data, inner.size);
  free(inner.data);
}

#endif
