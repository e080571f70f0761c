#include <string.h>
#include <tessera/dtype.h>

typedef struct dtype_row {
  const char *text;
  unsigned bits;
  tsr_dtype_class kind;
} dtype_row;

static const dtype_row rows[] = {[TSR_DTYPE_NONE] = {"none", 0, TSR_CLASS_NONE},
#define TSR_DTYPE_ROW(name, code, text, bits, kind) [code] = {text, bits, TSR_CLASS_##kind},
                                 TSR_DTYPE_LIST(TSR_DTYPE_ROW)
#undef TSR_DTYPE_ROW
};

static int is_listed(tsr_dtype dtype) {
  unsigned code = (unsigned)dtype;
  return code > TSR_DTYPE_NONE && code < TSR_DTYPE_COUNT;
}

const char *tsr_dtype_text(tsr_dtype dtype) {
  return is_listed(dtype) ? rows[dtype].text : "?";
}

tsr_dtype tsr_dtype_parse(const char *text, size_t length) {
  for (unsigned code = 1; text != NULL && code < TSR_DTYPE_COUNT; code++)
    if (strlen(rows[code].text) == length && memcmp(rows[code].text, text, length) == 0)
      return (tsr_dtype)code;
  return TSR_DTYPE_NONE;
}

unsigned tsr_dtype_bits(tsr_dtype dtype) {
  return is_listed(dtype) ? rows[dtype].bits : 0;
}

tsr_dtype_class tsr_dtype_class_of(tsr_dtype dtype) {
  return is_listed(dtype) ? rows[dtype].kind : TSR_CLASS_NONE;
}

/* Whole groups of eight elements take `bits` bytes each, so nothing overflows before the result. */
int64_t tsr_dtype_bytes(tsr_dtype dtype, int64_t count) {
  int64_t bits = (int64_t)tsr_dtype_bits(dtype);
  int64_t groups, bytes;
  if (count < 0)
    return -1;
  groups = count / 8;
  if (__builtin_mul_overflow(groups, bits, &bytes) ||
      __builtin_add_overflow(bytes, (count % 8 * bits + 7) / 8, &bytes))
    return -1;
  return bytes;
}
