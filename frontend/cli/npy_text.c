/* Strings in .npy files: kind U is UTF-32, kind S bytes, both filled up with zeros to one length.
 */
#include "frontend/cli/npy_internal.h"
#include <inttypes.h>
#include <string.h>

enum { CODE_POINTS = 0x110000, UNIT = 4 };

static uint32_t read_unit(const uint8_t *at, bool big_endian) {
  uint32_t unit = 0;
  for (int i = 0; i < UNIT; i++)
    unit |= (uint32_t)at[big_endian ? UNIT - 1 - i : i] << 8 * i;
  return unit;
}

/* Appends UTF-8; false for what is no character. */
static bool put_utf8(uint32_t code, char **at) {
  if (code >= CODE_POINTS || (code >= 0xd800 && code < 0xe000))
    return false;
  if (code < 0x80) {
    *(*at)++ = (char)code;
    return true;
  }
  const int following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const uint32_t lead = following == 1 ? 0xc0 : following == 2 ? 0xe0 : 0xf0;
  *(*at)++ = (char)(lead | code >> 6 * following);
  for (int i = following - 1; i >= 0; i--)
    *(*at)++ = (char)(0x80 | (code >> 6 * i & 0x3f));
  return true;
}

/* Takes one character; false where the bytes are no UTF-8 (RFC 3629). */
static bool take_utf8(const char **at, uint32_t *out_code) {
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  const uint8_t lead = (uint8_t) * *at;
  const int following = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  *out_code = lead < 0x80 ? lead : lead & (0x3fu >> following);
  if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4)
    return false;
  ++*at;
  for (int i = 0; i < following; i++, ++*at) {
    const uint8_t byte = (uint8_t) * *at;
    if ((byte & 0xc0) != 0x80)
      return false;
    *out_code = *out_code << 6 | (byte & 0x3f);
  }
  return *out_code >= least[following] && *out_code < CODE_POINTS &&
         (*out_code < 0xd800 || *out_code >= 0xe000);
}

/* --- reading --- */

/* Bytes of an element without the zeros that fill it up. */
static uint32_t used_bytes(const npy_header *header, const uint8_t *element) {
  const uint32_t unit = header->kind == 'U' ? UNIT : 1;
  uint32_t used = header->bytes;
  for (; used >= unit; used -= unit) {
    bool filler = true;
    for (uint32_t i = 1; i <= unit; i++)
      filler = filler && element[used - i] == 0;
    if (!filler)
      break;
  }
  return used;
}

static tsr_status take_text(const npy_header *header, const uint8_t *element, char **at,
                            tsr_diag *diag) {
  const uint32_t used = used_bytes(header, element);
  if (header->kind == 'S') {
    if (used > 0 && memchr(element, 0, used) != NULL)
      return tsr_fail(diag, TSR_ERR_FORMAT, "a text of the .npy file contains a zero byte");
    memcpy(*at, element, used);
    *at += used;
    return TSR_OK;
  }
  for (uint32_t i = 0; i < used; i += UNIT) {
    uint32_t code = read_unit(element + i, header->order == '>');
    if (code == 0 || !put_utf8(code, at))
      return tsr_fail(diag, TSR_ERR_FORMAT,
                      "a text of the .npy file contains U+%04" PRIX32 ", which is no character",
                      code);
  }
  return TSR_OK;
}

tsr_status tsr_npy_take_texts(const npy_header *header, const uint8_t *from,
                              tsr_host_tensor *out_tensor, tsr_diag *diag) {
  int64_t count = 1;
  if (header->kind == 'U' && header->bytes % UNIT != 0)
    return tsr_fail(diag, TSR_ERR_FORMAT, "the .npy file's texts are no whole characters");
  /* The file has the bytes: nothing overflows. A character takes no more bytes than there. */
  for (uint32_t i = 0; i < header->rank; i++)
    count *= header->dims[i];
  const size_t most = (size_t)count * ((size_t)header->bytes + 1);
  TSR_TRY(tsr_host_tensor_create_text(out_tensor, header->rank, header->dims, most, diag));
  const char **texts = out_tensor->data;
  char *at = out_tensor->characters;
  for (int64_t i = 0; i < count; i++) {
    int64_t position = header->fortran ? tsr_npy_position(header, i) : i;
    texts[i] = at;
    tsr_status status = take_text(header, from + (size_t)position * header->bytes, &at, diag);
    if (status != TSR_OK) {
      tsr_host_tensor_destroy(out_tensor);
      return status;
    }
    at++;
  }
  return TSR_OK;
}

/* --- writing --- */

/* Characters of the text; false: it is no UTF-8. */
static bool count_characters(const char *text, uint32_t *out_count) {
  uint32_t code;
  for (*out_count = 0; *text != '\0'; ++*out_count)
    if (!take_utf8(&text, &code))
      return false;
  return true;
}

void tsr_npy_text_type(const tsr_host_tensor *tensor, char *out_kind, uint32_t *out_bytes) {
  uint32_t characters = 1, bytes = 1;
  bool unicode = true;
  for (int64_t i = 0; i < tensor->count; i++) {
    const char *text = tsr_host_tensor_text(tensor, i);
    const size_t length = strlen(text);
    uint32_t count = 0;
    unicode = unicode && count_characters(text, &count);
    characters = count > characters ? count : characters;
    bytes = length > bytes ? (uint32_t)length : bytes;
  }
  *out_kind = unicode ? 'U' : 'S';
  *out_bytes = unicode ? characters * UNIT : bytes;
}

void tsr_npy_put_texts(FILE *file, const tsr_host_tensor *tensor, char kind, uint32_t bytes) {
  for (int64_t i = 0; i < tensor->count; i++) {
    const char *text = tsr_host_tensor_text(tensor, i);
    uint32_t left = bytes, code;
    for (; *text != '\0' && kind == 'U' && take_utf8(&text, &code); left -= UNIT)
      for (int b = 0; b < UNIT; b++)
        putc((int)(code >> 8 * b & 0xff), file);
    for (; *text != '\0' && kind == 'S'; left--)
      putc(*text++, file);
    for (; left > 0; left--)
      putc(0, file);
  }
}
