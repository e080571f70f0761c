#include "codegen/cuda/nvrtc_codec.h"
#include <string.h>

/* A field is its length (ABSENT: NULL), its bytes and a zero, so that texts can be used in place.
 */
static const uint64_t ABSENT = UINT64_MAX;

enum { SOURCE_FIELDS = 5, OUTPUT_FIELDS = 3 };

static size_t field_size(const void *data, size_t size) {
  return sizeof(uint64_t) + (data != NULL ? size + 1 : 0);
}

static size_t text_size(const char *text) {
  return text != NULL ? strlen(text) : 0;
}

/* The arena's memory is zeroed, which ends every field. */
static void write_field(tsr_cuda_bytes *bytes, const void *data, size_t size) {
  uint64_t length = data != NULL ? size : ABSENT;
  memcpy(bytes->data + bytes->size, &length, sizeof length);
  if (data != NULL && size > 0)
    memcpy(bytes->data + bytes->size + sizeof length, data, size);
  bytes->size += field_size(data, size);
}

static void write_text(tsr_cuda_bytes *bytes, const char *text) {
  write_field(bytes, text, text_size(text));
}

static bool read_field(tsr_cuda_bytes *rest, const uint8_t **out_data, size_t *out_size) {
  uint64_t length;
  *out_data = NULL;
  *out_size = 0;
  if (rest->size < sizeof length)
    return false;
  memcpy(&length, rest->data, sizeof length);
  rest->data += sizeof length;
  rest->size -= sizeof length;
  if (length == ABSENT)
    return true;
  if (length >= rest->size || rest->data[length] != 0)
    return false;
  *out_data = rest->data;
  *out_size = length;
  rest->data += length + 1;
  rest->size -= length + 1;
  return true;
}

static bool read_text(tsr_cuda_bytes *rest, const char **out_text) {
  const uint8_t *data;
  size_t size;
  *out_text = NULL;
  if (!read_field(rest, &data, &size) || (data != NULL && memchr(data, 0, size) != NULL))
    return false;
  *out_text = (const char *)data;
  return true;
}

bool tsr_cuda_source_encode(const char *head, const tsr_cuda_source *source, bool with_name,
                            tsr_arena *arena, tsr_cuda_bytes *out_bytes) {
  const char *texts[SOURCE_FIELDS - 1] = {head, with_name ? source->name : NULL, source->text,
                                          source->arch};
  size_t size = field_size(&source->want, sizeof source->want);
  for (int i = 0; i < SOURCE_FIELDS - 1; i++)
    size += field_size(texts[i], text_size(texts[i]));
  for (uint32_t i = 0; i < source->option_count; i++)
    size += field_size(source->options[i], text_size(source->options[i]));
  *out_bytes = (tsr_cuda_bytes){tsr_arena_alloc(arena, size), 0};
  if (out_bytes->data == NULL)
    return false;
  for (int i = 0; i < SOURCE_FIELDS - 1; i++)
    write_text(out_bytes, texts[i]);
  write_field(out_bytes, &source->want, sizeof source->want);
  for (uint32_t i = 0; i < source->option_count; i++)
    write_text(out_bytes, source->options[i]);
  return true;
}

bool tsr_cuda_output_encode(const tsr_cuda_output *output, tsr_arena *arena,
                            tsr_cuda_bytes *out_bytes) {
  *out_bytes =
      (tsr_cuda_bytes){tsr_arena_alloc(arena, field_size(output->ptx, output->ptx_size) +
                                                  field_size(output->cubin, output->cubin_size) +
                                                  field_size(output->log, text_size(output->log))),
                       0};
  if (out_bytes->data == NULL)
    return false;
  write_field(out_bytes, output->ptx, output->ptx_size);
  write_field(out_bytes, output->cubin, output->cubin_size);
  write_text(out_bytes, output->log);
  return true;
}

static bool count_options(tsr_cuda_bytes rest, uint32_t *out_count) {
  const char *option;
  for (*out_count = 0; rest.size > 0; ++*out_count)
    if (!read_text(&rest, &option) || option == NULL)
      return false;
  return true;
}

tsr_status tsr_cuda_source_decode(tsr_cuda_bytes bytes, tsr_arena *arena, const char **out_head,
                                  tsr_cuda_source *out_source) {
  const uint8_t *want;
  size_t want_size;
  *out_source = (tsr_cuda_source){0};
  *out_head = NULL;
  if (!read_text(&bytes, out_head) || !read_text(&bytes, &out_source->name) ||
      !read_text(&bytes, &out_source->text) || !read_text(&bytes, &out_source->arch) ||
      !read_field(&bytes, &want, &want_size) || want_size != sizeof out_source->want ||
      *out_head == NULL || out_source->text == NULL || out_source->arch == NULL ||
      !count_options(bytes, &out_source->option_count))
    return TSR_ERR_FORMAT;
  memcpy(&out_source->want, want, want_size);
  const char **options =
      tsr_arena_alloc_array(arena, out_source->option_count, sizeof(const char *));
  if (options == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint32_t i = 0; i < out_source->option_count; i++)
    if (!read_text(&bytes, &options[i]))
      return TSR_ERR_FORMAT;
  out_source->options = options;
  return TSR_OK;
}

tsr_status tsr_cuda_output_decode(tsr_cuda_bytes bytes, tsr_cuda_output *out_output) {
  const uint8_t *ptx;
  *out_output = (tsr_cuda_output){0};
  if (!read_field(&bytes, &ptx, &out_output->ptx_size) ||
      !read_field(&bytes, &out_output->cubin, &out_output->cubin_size) ||
      !read_text(&bytes, &out_output->log) || bytes.size != 0) {
    *out_output = (tsr_cuda_output){0};
    return TSR_ERR_FORMAT;
  }
  out_output->ptx = (const char *)ptx;
  return TSR_OK;
}
