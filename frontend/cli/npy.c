#include "frontend/cli/npy.h"
#include "frontend/cli/npy_internal.h"
#include "frontend/cli/out_file.h"
#include "runtime/float_convert.h"
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

/* NumPy's kinds and sizes beside ours; the first row of a dtype is the one it is written as, the
 * first of a kind and size what it is read as. */
static const struct npy_type {
  char kind;
  unsigned bytes;
  tsr_dtype dtype;
} npy_types[] = {
    {'f', 2, TSR_F16},      {'f', 4, TSR_F32},    {'f', 8, TSR_F64},      {'i', 1, TSR_I8},
    {'i', 2, TSR_I16},      {'i', 4, TSR_I32},    {'i', 8, TSR_I64},      {'u', 1, TSR_U8},
    {'u', 2, TSR_U16},      {'u', 4, TSR_U32},    {'u', 8, TSR_U64},      {'b', 1, TSR_BOOL},
    {'V', 2, TSR_BF16},     {'i', 1, TSR_I2},     {'i', 1, TSR_I4},       {'u', 1, TSR_B1},
    {'u', 1, TSR_U2},       {'u', 1, TSR_U4},     {'u', 1, TSR_F4E2M1},   {'u', 1, TSR_F6E2M3},
    {'u', 1, TSR_F6E3M2},   {'u', 1, TSR_F8E4M3}, {'u', 1, TSR_F8E4M3UZ}, {'u', 1, TSR_F8E5M2},
    {'u', 1, TSR_F8E5M2UZ}, {'u', 1, TSR_F8E8M0},
};
enum { NPY_TYPE_COUNT = sizeof npy_types / sizeof *npy_types };

/* The header's text, which is a Python dictionary. */
typedef struct npy_cursor {
  const char *at, *end;
  tsr_diag *diag;
} npy_cursor;

static tsr_status malformed(npy_cursor *c, const char *what) {
  return tsr_fail(c->diag, TSR_ERR_FORMAT, "the .npy header is malformed: %s", what);
}

static void skip_blanks(npy_cursor *c) {
  while (c->at < c->end && strchr(" \t\r\n", *c->at) != NULL && *c->at != '\0')
    c->at++;
}

static bool accept(npy_cursor *c, char symbol) {
  skip_blanks(c);
  if (c->at == c->end || *c->at != symbol)
    return false;
  c->at++;
  return true;
}

static bool accept_word(npy_cursor *c, const char *word) {
  skip_blanks(c);
  size_t length = strlen(word);
  if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
    return false;
  c->at += length;
  return true;
}

static tsr_status read_string(npy_cursor *c, char *out, size_t out_size) {
  skip_blanks(c);
  if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
    return malformed(c, "a quoted text is missing");
  char quote = *c->at++;
  size_t length = 0;
  while (c->at < c->end && *c->at != quote) {
    if (length + 1 >= out_size)
      return malformed(c, "a text is too long");
    out[length++] = *c->at++;
  }
  if (c->at == c->end)
    return malformed(c, "a text does not end");
  c->at++;
  out[length] = '\0';
  return TSR_OK;
}

static tsr_status read_descr(npy_cursor *c, npy_header *header) {
  skip_blanks(c);
  if (c->at < c->end && *c->at == '[')
    return tsr_fail(c->diag, TSR_ERR_UNSUPPORTED, "the .npy file holds records, not numbers");
  char text[16];
  TSR_TRY(read_string(c, text, sizeof text));
  unsigned long bytes = 0;
  char *end = text;
  if (strlen(text) >= 3 && strchr("<>|=", text[0]) != NULL)
    bytes = strtoul(text + 2, &end, 10);
  const bool of_texts = bytes != 0 && (text[1] == 'U' || text[1] == 'S');
  if (of_texts)
    bytes *= text[1] == 'U' ? 4 : 1; /* NumPy counts characters */
  if (bytes == 0 || bytes > (of_texts ? INT32_MAX : 16) || *end != '\0' || text[2] < '0' ||
      text[2] > '9')
    return tsr_fail(c->diag, TSR_ERR_UNSUPPORTED, "the .npy file's type '%s' is not supported",
                    text);
  header->order = text[0];
  header->kind = text[1];
  header->bytes = (uint32_t)bytes;
  return TSR_OK;
}

static tsr_status read_shape(npy_cursor *c, npy_header *header) {
  if (!accept(c, '('))
    return malformed(c, "'shape' is no tuple");
  while (!accept(c, ')')) {
    skip_blanks(c);
    int64_t dim = 0;
    const char *first = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
      if (__builtin_mul_overflow(dim, 10, &dim) || __builtin_add_overflow(dim, *c->at - '0', &dim))
        return tsr_fail(c->diag, TSR_ERR_SHAPE, "a dim of the .npy file does not fit 64 bits");
    }
    if (c->at == first)
      return malformed(c, "a dim is no number");
    if (header->rank == TSR_HOST_MAX_RANK)
      return tsr_fail(c->diag, TSR_ERR_SHAPE, "the .npy file has more than %d dims",
                      TSR_HOST_MAX_RANK);
    header->dims[header->rank++] = dim;
    if (!accept(c, ',') && (c->at == c->end || *c->at != ')'))
      return malformed(c, "a comma is missing in 'shape'");
  }
  return TSR_OK;
}

static tsr_status read_entry(npy_cursor *c, npy_header *header, unsigned *seen) {
  static const char *const keys[] = {"descr", "fortran_order", "shape"};
  char key[16];
  TSR_TRY(read_string(c, key, sizeof key));
  unsigned which = 0;
  while (which < 3 && strcmp(key, keys[which]) != 0)
    which++;
  if (which == 3 || (*seen & 1u << which) != 0)
    return malformed(c, "a key is unknown or given twice");
  *seen |= 1u << which;
  if (!accept(c, ':'))
    return malformed(c, "a colon is missing");
  if (which == 0)
    return read_descr(c, header);
  if (which == 2)
    return read_shape(c, header);
  header->fortran = accept_word(c, "True");
  return header->fortran || accept_word(c, "False")
             ? TSR_OK
             : malformed(c, "'fortran_order' is neither True nor False");
}

static tsr_status read_header(npy_cursor *c, npy_header *out_header) {
  *out_header = (npy_header){0};
  unsigned seen = 0;
  if (!accept(c, '{'))
    return malformed(c, "no dictionary");
  while (!accept(c, '}')) {
    TSR_TRY(read_entry(c, out_header, &seen));
    skip_blanks(c);
    if (!accept(c, ',') && (c->at == c->end || *c->at != '}'))
      return malformed(c, "a comma is missing");
  }
  skip_blanks(c);
  if (c->at != c->end)
    return malformed(c, "text follows the dictionary");
  return seen == 7 ? TSR_OK : malformed(c, "a key is missing");
}

/* Finds the header's text and where the elements start. */
static tsr_status find_header(const uint8_t *bytes, size_t size, size_t *out_begin, size_t *out_end,
                              tsr_diag *diag) {
  if (size < 10 || memcmp(bytes, magic, sizeof magic) != 0)
    return tsr_fail(diag, TSR_ERR_FORMAT, "this is no .npy file");
  unsigned version = bytes[6];
  if (version < 1 || version > 3)
    return tsr_fail(diag, TSR_ERR_VERSION, "version %u of the .npy format is not known", version);
  size_t length = bytes[8] | (size_t)bytes[9] << 8;
  *out_begin = 10;
  if (version > 1) {
    if (size < 12)
      return tsr_fail(diag, TSR_ERR_FORMAT, "the .npy file is cut short");
    length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    *out_begin = 12;
  }
  if (length > size - *out_begin)
    return tsr_fail(diag, TSR_ERR_FORMAT, "the .npy file is cut short");
  *out_end = *out_begin + length;
  return TSR_OK;
}

static tsr_dtype natural_dtype(const npy_header *header) {
  for (int i = 0; i < NPY_TYPE_COUNT; i++) {
    if (npy_types[i].kind == header->kind && npy_types[i].bytes == header->bytes)
      return npy_types[i].dtype;
  }
  return TSR_DTYPE_NONE;
}

static bool is_text(const npy_header *header) {
  return header->kind == 'U' || header->kind == 'S';
}

/* Whether the file's elements may be taken as the bits of `wanted`. */
static bool stands_for(const npy_header *header, tsr_dtype wanted) {
  unsigned bits = tsr_dtype_bits(wanted);
  if ((bits + 7) / 8 != header->bytes)
    return false;
  if (header->kind == 'V')
    return true;
  bool without_name = natural_dtype(&(npy_header){.kind = 'V', .bytes = 2}) == wanted || bits < 8;
  for (int i = 0; i < NPY_TYPE_COUNT && !without_name; i++)
    without_name =
        npy_types[i].dtype == wanted && npy_types[i].kind == 'u' && bits == 8 && wanted != TSR_U8;
  return without_name && (header->kind == 'u' || (header->kind == 'i' && bits < 8));
}

static tsr_status choose_dtype(const npy_header *header, tsr_dtype wanted, tsr_dtype *out_dtype,
                               tsr_diag *diag) {
  *out_dtype = natural_dtype(header);
  if (is_text(header) && (wanted == TSR_DTYPE_NONE || wanted == TSR_I64)) {
    *out_dtype = TSR_I64;
    return TSR_OK;
  }
  if (wanted == TSR_DTYPE_NONE && *out_dtype == TSR_DTYPE_NONE)
    return tsr_fail(diag, TSR_ERR_UNSUPPORTED,
                    "elements of kind '%c' and %u bytes are not supported", header->kind,
                    header->bytes);
  if (wanted == TSR_DTYPE_NONE || wanted == *out_dtype)
    return TSR_OK;
  if (!stands_for(header, wanted))
    return tsr_fail(diag, TSR_ERR_TYPE, "the file holds '%c%u' elements where %s is wanted",
                    header->kind, header->bytes, tsr_dtype_text(wanted));
  *out_dtype = wanted;
  return TSR_OK;
}

static uint64_t read_bits(const uint8_t *at, unsigned bytes, bool big_endian) {
  uint64_t bits = 0;
  for (unsigned i = 0; i < bytes; i++)
    bits |= (uint64_t)at[big_endian ? bytes - 1 - i : i] << 8 * i;
  return bits;
}

int64_t tsr_npy_position(const npy_header *header, int64_t index) {
  int64_t position = 0, stride = 1;
  int64_t subscripts[TSR_HOST_MAX_RANK];
  for (uint32_t i = header->rank; i-- > 0;) {
    subscripts[i] = index % header->dims[i];
    index /= header->dims[i];
  }
  for (uint32_t i = 0; i < header->rank; i++) {
    position += subscripts[i] * stride;
    stride *= header->dims[i];
  }
  return position;
}

static void copy_elements(const npy_header *header, const uint8_t *from, tsr_host_tensor *tensor) {
  bool big_endian = header->order == '>';
  bool whole_bytes = tsr_dtype_bits(tensor->dtype) == 8 * header->bytes;
  if (!big_endian && !header->fortran && whole_bytes && tensor->dtype != TSR_BOOL) {
    if (tensor->bytes > 0)
      memcpy(tensor->data, from, (size_t)tensor->bytes);
    return;
  }
  for (int64_t i = 0; i < tensor->count; i++) {
    int64_t at = header->fortran ? tsr_npy_position(header, i) : i;
    uint64_t bits = read_bits(from + (size_t)at * header->bytes, header->bytes, big_endian);
    if (tensor->dtype == TSR_BOOL)
      bits = bits != 0;
    tsr_element_store_bits(tensor->dtype, tensor->data, i, bits);
  }
}

tsr_status tsr_npy_parse(const void *bytes, size_t size, tsr_dtype wanted,
                         tsr_host_tensor *out_tensor, tsr_diag *diag) {
  *out_tensor = (tsr_host_tensor){0};
  size_t begin = 0, end = 0;
  TSR_TRY(find_header(bytes, size, &begin, &end, diag));
  npy_cursor cursor = {(const char *)bytes + begin, (const char *)bytes + end, diag};
  npy_header header;
  TSR_TRY(read_header(&cursor, &header));
  tsr_dtype dtype;
  TSR_TRY(choose_dtype(&header, wanted, &dtype, diag));
  int64_t count = header.bytes;
  for (uint32_t i = 0; i < header.rank; i++) {
    if (__builtin_mul_overflow(count, header.dims[i], &count))
      return tsr_fail(diag, TSR_ERR_SHAPE, "the product of the .npy file's dims overflows");
  }
  if ((uint64_t)count != size - end)
    return tsr_fail(diag, TSR_ERR_FORMAT,
                    "the .npy file has %zu bytes of elements, its shape needs %" PRId64, size - end,
                    count);
  if (is_text(&header))
    return tsr_npy_take_texts(&header, (const uint8_t *)bytes + end, out_tensor, diag);
  tsr_status status = tsr_host_tensor_create(out_tensor, dtype, header.rank, header.dims, diag);
  if (status == TSR_OK)
    copy_elements(&header, (const uint8_t *)bytes + end, out_tensor);
  return status;
}

static tsr_status read_file(const char *path, void **out_bytes, size_t *out_size, tsr_diag *diag) {
  *out_bytes = NULL;
  *out_size = 0;
  FILE *file = fopen(path, "rb");
  if (file == NULL)
    return tsr_fail(diag, TSR_ERR_IO, "%s", strerror(errno));
  struct stat about;
  tsr_status status = TSR_OK;
  if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode)) {
    status = tsr_fail(diag, TSR_ERR_IO, "this is no regular file");
  } else {
    *out_size = (size_t)about.st_size;
    *out_bytes = malloc(*out_size > 0 ? *out_size : 1);
    if (*out_bytes == NULL)
      status = tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for %zu bytes", *out_size);
    else if (fread(*out_bytes, 1, *out_size, file) != *out_size)
      status = tsr_fail(diag, TSR_ERR_IO, "it could not be read to its end");
  }
  fclose(file);
  return status;
}

tsr_status tsr_npy_read(const char *path, tsr_dtype wanted, tsr_host_tensor *out_tensor,
                        tsr_diag *diag) {
  *out_tensor = (tsr_host_tensor){0};
  void *bytes = NULL;
  size_t size = 0;
  tsr_status status = read_file(path, &bytes, &size, diag);
  if (status == TSR_OK)
    status = tsr_npy_parse(bytes, size, wanted, out_tensor, diag);
  free(bytes);
  if (status != TSR_OK)
    tsr_diag_set_file(diag, path);
  return status;
}

static const struct npy_type *written_type(tsr_dtype dtype) {
  for (int i = 0; i < NPY_TYPE_COUNT; i++) {
    if (npy_types[i].dtype == dtype)
      return &npy_types[i];
  }
  return NULL;
}

/* Writes magic, version and dictionary, padded so that the elements start at a multiple of 64.
 * `number`: behind the kind in 'descr'. */
static void write_header(FILE *file, char kind, uint32_t number, const tsr_host_tensor *tensor) {
  char text[512];
  const bool no_order = number == 1 || kind == 'V' || kind == 'S';
  int length =
      snprintf(text, sizeof text, "{'descr': '%c%c%" PRIu32 "', 'fortran_order': False, 'shape': (",
               no_order && kind != 'U' ? '|' : '<', kind, number);
  for (uint32_t i = 0; i < tensor->rank; i++)
    length += snprintf(text + length, sizeof text - (size_t)length, "%" PRId64 "%s",
                       tensor->dims[i], tensor->rank == 1 || i + 1 < tensor->rank ? ", " : "");
  length += snprintf(text + length, sizeof text - (size_t)length, "), }");
  while ((10 + length + 1) % 64 != 0)
    text[length++] = ' ';
  text[length++] = '\n';
  fwrite(magic, 1, sizeof magic, file);
  const uint8_t rest[4] = {1, 0, (uint8_t)(length & 0xff), (uint8_t)(length >> 8)};
  fwrite(rest, 1, sizeof rest, file);
  fwrite(text, 1, (size_t)length, file);
}

static void write_elements(FILE *file, const struct npy_type *type, const tsr_host_tensor *tensor) {
  if (tsr_dtype_bits(tensor->dtype) == 8 * type->bytes) {
    fwrite(tensor->data, 1, (size_t)tensor->bytes, file);
    return;
  }
  for (int64_t i = 0; i < tensor->count; i++) {
    bool integer = tsr_dtype_class_of(tensor->dtype) != TSR_CLASS_FLOAT;
    int64_t value = integer ? tsr_element_load_i64(tensor->dtype, tensor->data, i)
                            : (int64_t)tsr_element_load_bits(tensor->dtype, tensor->data, i);
    putc((int)(value & 0xff), file);
  }
}

static tsr_status write_texts(const char *path, const tsr_host_tensor *tensor, tsr_diag *diag) {
  FILE *file;
  char kind;
  uint32_t bytes;
  tsr_npy_text_type(tensor, &kind, &bytes);
  TSR_TRY(tsr_out_file_open(path, &file, diag));
  write_header(file, kind, kind == 'U' ? bytes / 4 : bytes, tensor);
  tsr_npy_put_texts(file, tensor, kind, bytes);
  return tsr_out_file_close(file, path, diag);
}

tsr_status tsr_npy_write(const char *path, const tsr_host_tensor *tensor, tsr_diag *diag) {
  const struct npy_type *type = written_type(tensor->dtype);
  if (tensor->is_text)
    return write_texts(path, tensor, diag);
  if (type == NULL)
    return tsr_fail(diag, TSR_ERR_UNSUPPORTED, "a tensor of this type cannot be written as .npy");
  FILE *file;
  TSR_TRY(tsr_out_file_open(path, &file, diag));
  write_header(file, type->kind, type->bytes, tensor);
  write_elements(file, type, tensor);
  return tsr_out_file_close(file, path, diag);
}
