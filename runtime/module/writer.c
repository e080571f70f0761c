#include "runtime/module/writer.h"
#include "runtime/arena.h"
#include "runtime/clock.h"
#include "runtime/hash.h"
#include "runtime/module/format.h"
#include "runtime/module/program_check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct growing {
  unsigned char *bytes;
  size_t size, capacity;
} growing;

/* Where finished bytes go: a file, or memory that is large enough. */
typedef struct sink {
  int file;
  unsigned char *memory;
  uint64_t written;
} sink;

typedef struct weight {
  const void *data;
  tsm_weight entry;
  struct weight *next_in_bucket;
} weight;

typedef struct writer {
  const tsr_allocator *allocator;
  tsr_arena arena;
  tsr_diag *diag;
  const tsr_program **programs; /* each host program with its parts behind it */
  uint32_t program_count;
  growing meta, strings;
  tsm_program *records; /* copied into meta when all offsets are known */
  weight *weights;
  weight **buckets;
  uint32_t weight_count, bucket_count; /* bucket_count: a power of two */
  tsm_header header;
} writer;

static const unsigned char zeros[TSM_PAGE];

static tsr_status out_of_memory(writer *self) {
  return tsr_fail(self->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while writing a module");
}

static void growing_release(writer *self, growing *buffer) {
  self->allocator->release(self->allocator->context, buffer->bytes, buffer->capacity);
}

static tsr_status append(writer *self, growing *buffer, const void *data, size_t size) {
  if (size > buffer->capacity - buffer->size) {
    size_t capacity = (buffer->capacity + size) * 2;
    unsigned char *bytes =
        capacity < size
            ? NULL
            : (unsigned char *)self->allocator->allocate(self->allocator->context, capacity, 16);
    if (bytes == NULL)
      return out_of_memory(self);
    if (buffer->size != 0)
      memcpy(bytes, buffer->bytes, buffer->size);
    growing_release(self, buffer);
    buffer->bytes = bytes;
    buffer->capacity = capacity;
  }
  if (size != 0)
    memcpy(buffer->bytes + buffer->size, data, size);
  buffer->size += size;
  return TSR_OK;
}

static tsr_status align_meta(writer *self, size_t alignment) {
  return append(self, &self->meta, zeros, (alignment - self->meta.size % alignment) % alignment);
}

static tsr_status add_string(writer *self, const char *text, uint32_t *out_offset) {
  if (self->strings.size > UINT32_MAX)
    return tsr_fail(self->diag, TSR_ERR_LIMIT, "a module holds at most 4 GiB of names");
  *out_offset = (uint32_t)self->strings.size;
  return append(self, &self->strings, text, strlen(text) + 1);
}

/* ---- Weights, each distinct content once ---- */

static tsr_status create_weights(writer *self) {
  uint64_t most = 0;
  uint32_t buckets = 16;
  for (uint32_t i = 0; i < self->program_count; i++)
    most += self->programs[i]->constant_count;
  if (most > UINT32_MAX / 2)
    return tsr_fail(self->diag, TSR_ERR_LIMIT, "a module holds at most 2^31 constants");
  while (buckets < most)
    buckets *= 2;
  self->bucket_count = buckets;
  self->weights = (weight *)tsr_arena_alloc_array(&self->arena, most, sizeof *self->weights);
  self->buckets = (weight **)tsr_arena_alloc_array(&self->arena, buckets, sizeof *self->buckets);
  return self->weights == NULL || self->buckets == NULL ? out_of_memory(self) : TSR_OK;
}

static uint32_t intern_weight(writer *self, const tsr_constant_desc *constant) {
  uint64_t hash = tsr_hash64(constant->data, constant->bytes);
  weight **bucket = &self->buckets[hash & (self->bucket_count - 1)], *entry;
  for (entry = *bucket; entry != NULL; entry = entry->next_in_bucket)
    if (entry->entry.hash == hash && entry->entry.bytes == constant->bytes &&
        (constant->bytes == 0 || memcmp(entry->data, constant->data, constant->bytes) == 0))
      return (uint32_t)(entry - self->weights);
  entry = &self->weights[self->weight_count];
  entry->data = constant->data;
  entry->entry.bytes = constant->bytes;
  entry->entry.hash = hash;
  entry->next_in_bucket = *bucket;
  *bucket = entry;
  return self->weight_count++;
}

/* ---- Tables ---- */

static tsr_status begin_table(writer *self, tsm_table *table, uint32_t count) {
  TSR_TRY(align_meta(self, 8));
  table->offset = self->meta.size;
  table->count = count;
  return TSR_OK;
}

static tsr_status add_plain_table(writer *self, tsm_table *table, const void *records,
                                  uint32_t count, size_t record_size) {
  TSR_TRY(begin_table(self, table, count));
  return append(self, &self->meta, records, count * record_size);
}

static tsr_status add_dims(writer *self, tsm_table *table, const tsr_program *program) {
  TSR_TRY(begin_table(self, table, program->dim_count));
  for (uint32_t i = 0; i < program->dim_count; i++) {
    const tsr_dim_desc *dim = &program->dims[i];
    tsm_dim record = {0, dim->source, dim->lo, dim->hi};
    TSR_TRY(add_string(self, dim->name, &record.name));
    TSR_TRY(append(self, &self->meta, &record, sizeof record));
  }
  return TSR_OK;
}

static tsr_status add_ports(writer *self, tsm_table *table, const tsr_port_desc *ports,
                            uint32_t count) {
  TSR_TRY(begin_table(self, table, count));
  for (uint32_t i = 0; i < count; i++) {
    tsm_port record = {0, ports[i].buffer, ports[i].alias, ports[i].keep};
    TSR_TRY(add_string(self, ports[i].name, &record.name));
    TSR_TRY(append(self, &self->meta, &record, sizeof record));
  }
  return TSR_OK;
}

static tsr_status add_constants(writer *self, tsm_table *table, const tsr_program *program) {
  TSR_TRY(begin_table(self, table, program->constant_count));
  for (uint32_t i = 0; i < program->constant_count; i++) {
    tsm_constant record = {intern_weight(self, &program->constants[i])};
    TSR_TRY(append(self, &self->meta, &record, sizeof record));
  }
  return TSR_OK;
}

static tsr_status add_kernels(writer *self, tsm_table *table, const tsr_program *program) {
  TSR_TRY(begin_table(self, table, program->kernel_count));
  for (uint32_t i = 0; i < program->kernel_count; i++) {
    const tsr_kernel_desc *kernel = &program->kernels[i];
    tsm_kernel record = {.entry = kernel->entry,
                         .scratch_bytes = kernel->scratch_bytes,
                         .first_dim = kernel->first_dim,
                         .dim_count = kernel->dim_count,
                         .threads = kernel->threads,
                         .shared_bytes = kernel->shared_bytes,
                         .cluster = kernel->cluster,
                         .cooperative = kernel->cooperative,
                         .first_map = kernel->first_map,
                         .map_count = kernel->map_count};
    memcpy(record.tiles, kernel->tiles, sizeof record.tiles);
    TSR_TRY(add_string(self, kernel->name, &record.name));
    TSR_TRY(add_string(self, kernel->nodes, &record.nodes));
    TSR_TRY(add_string(self, kernel->symbol == NULL ? "" : kernel->symbol, &record.symbol));
    TSR_TRY(append(self, &self->meta, &record, sizeof record));
  }
  return TSR_OK;
}

static tsr_status add_texts(writer *self, tsm_table *table, const char *const *texts,
                            uint32_t count) {
  TSR_TRY(begin_table(self, table, count));
  for (uint32_t i = 0; i < count; i++) {
    tsm_text record;
    TSR_TRY(add_string(self, texts[i], &record.text));
    TSR_TRY(append(self, &self->meta, &record, sizeof record));
  }
  return TSR_OK;
}

static tsr_status add_host_steps(writer *self, tsm_table *table, const tsr_program *program) {
  TSR_TRY(begin_table(self, table, program->host_step_count));
  for (uint32_t i = 0; i < program->host_step_count; i++) {
    const tsr_host_step *step = &program->host_steps[i];
    tsm_host_step record = {.op = step->op,
                            .part = step->part,
                            .first_operand = step->first_operand,
                            .operand_count = step->operand_count,
                            .first_result = step->first_result,
                            .result_count = step->result_count,
                            .first_region = step->first_region,
                            .region_count = step->region_count,
                            .first_number = step->first_number,
                            .number_count = step->number_count,
                            .first_text = step->first_text,
                            .text_count = step->text_count,
                            .code = step->code};
    TSR_TRY(add_string(self, step->nodes, &record.nodes));
    TSR_TRY(append(self, &self->meta, &record, sizeof record));
  }
  return TSR_OK;
}

/* Structures with inner padding do not occur among the plain tables (see the assertions in
 * format.h), so their bytes are fully defined. */
static tsr_status add_checks(writer *self, tsm_table *table, const tsr_program *program) {
  TSR_TRY(begin_table(self, table, program->check_count));
  for (uint32_t i = 0; i < program->check_count; i++) {
    tsm_check record = {program->checks[i].holds, 0, 0};
    TSR_TRY(add_string(self, program->checks[i].text, &record.text));
    TSR_TRY(append(self, &self->meta, &record, sizeof record));
  }
  return TSR_OK;
}

static tsr_status add_program(writer *self, const tsr_program *p, tsm_program *record) {
  TSR_TRY(add_string(self, p->target, &record->target));
  TSR_TRY(add_string(self, p->precision, &record->precision));
  TSR_TRY(add_string(self, p->producer, &record->producer));
  record->part_count = p->part_count;
  record->cpu_features = p->cpu_features;
  record->image_bytes = p->image_bytes;
#define PLAIN(name, count)                                                                         \
  TSR_TRY(add_plain_table(self, &record->name, p->name, p->count, sizeof *p->name))
  PLAIN(steps, step_count);
  PLAIN(codes, code_count);
  TSR_TRY(add_dims(self, &record->dims, p));
  PLAIN(buffers, buffer_count);
  TSR_TRY(add_ports(self, &record->inputs, p->inputs, p->input_count));
  TSR_TRY(add_ports(self, &record->outputs, p->outputs, p->output_count));
  TSR_TRY(add_constants(self, &record->constants, p));
  TSR_TRY(add_kernels(self, &record->kernels, p));
  PLAIN(kernel_dims, kernel_dim_count);
  PLAIN(maps, map_count);
  PLAIN(variants, variant_count);
  PLAIN(launches, launch_count);
  PLAIN(arguments, argument_count);
  PLAIN(segments, segment_count);
  PLAIN(reads, read_count);
  PLAIN(host_values, host_value_count);
  TSR_TRY(add_host_steps(self, &record->host_steps, p));
  PLAIN(host_regions, host_region_count);
  PLAIN(host_constants, host_constant_count);
  PLAIN(host_numbers, host_number_count);
  TSR_TRY(add_texts(self, &record->host_texts, p->host_texts, p->host_text_count));
  TSR_TRY(add_texts(self, &record->texts, p->texts, p->text_count));
#undef PLAIN
  TSR_TRY(add_checks(self, &record->checks, p));
  return TSR_OK;
}

/* ---- Offsets and checksums ---- */

static uint64_t round_up(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/* The checksum includes the zeros that follow the image in the file, which are not in memory. */
static tsr_status checksum_image(writer *self, const tsr_program *program, uint64_t *out_checksum) {
  uint64_t size = round_up(program->image_bytes, TSM_PAGE);
  unsigned char *padded =
      (unsigned char *)self->allocator->allocate(self->allocator->context, size + 1, TSM_PAGE);
  if (padded == NULL)
    return out_of_memory(self);
  memset(padded, 0, size);
  if (program->image_bytes != 0)
    memcpy(padded, program->image, program->image_bytes);
  *out_checksum = tsr_hash64(padded, size);
  self->allocator->release(self->allocator->context, padded, size + 1);
  return TSR_OK;
}

static tsr_status place_images(writer *self, uint64_t *inout_offset) {
  *inout_offset = round_up(*inout_offset, TSM_PAGE);
  for (uint32_t i = 0; i < self->program_count; i++) {
    self->records[i].image_offset = *inout_offset;
    TSR_TRY(checksum_image(self, self->programs[i], &self->records[i].image_checksum));
    *inout_offset += round_up(self->programs[i]->image_bytes, TSM_PAGE);
  }
  return TSR_OK;
}

static void place_weights(writer *self, uint64_t *inout_offset) {
  self->header.weight_data_offset = *inout_offset;
  for (uint32_t i = 0; i < self->weight_count; i++) {
    self->weights[i].entry.offset = *inout_offset;
    *inout_offset += round_up(self->weights[i].entry.bytes, TSM_WEIGHT_ALIGNMENT);
  }
}

/* Fills in what was left open while meta grew: program records, weight entries, the header. */
static void finish_meta(writer *self, uint64_t total_bytes) {
  tsm_header *header = &self->header;
  memcpy(header->magic, TSM_MAGIC, TSM_MAGIC_BYTES);
  header->version = TSR_MODULE_FORMAT_VERSION;
  header->total_bytes = total_bytes;
  header->meta_bytes = self->meta.size;
  header->program_count = self->program_count;
  header->weight_count = self->weight_count;
  memcpy(self->meta.bytes + header->programs_offset, self->records,
         self->program_count * sizeof *self->records);
  for (uint32_t i = 0; i < self->weight_count; i++)
    memcpy(self->meta.bytes + header->weights_offset + i * sizeof(tsm_weight),
           &self->weights[i].entry, sizeof(tsm_weight));
  memcpy(self->meta.bytes, header, sizeof *header);
  header->meta_checksum =
      tsr_hash64(self->meta.bytes + TSM_CHECKED_FROM, self->meta.size - TSM_CHECKED_FROM);
  memcpy(self->meta.bytes, header, sizeof *header);
}

static tsr_status build(writer *self) {
  uint64_t offset;
  TSR_TRY(create_weights(self));
  self->records = (tsm_program *)tsr_arena_alloc_array(&self->arena, self->program_count,
                                                       sizeof *self->records);
  if (self->records == NULL)
    return out_of_memory(self);
  TSR_TRY(append(self, &self->meta, &self->header, sizeof self->header));
  self->header.programs_offset = self->meta.size;
  TSR_TRY(append(self, &self->meta, self->records, self->program_count * sizeof *self->records));
  for (uint32_t i = 0; i < self->program_count; i++)
    TSR_TRY(add_program(self, self->programs[i], &self->records[i]));
  TSR_TRY(align_meta(self, 8));
  self->header.weights_offset = self->meta.size;
  for (uint32_t i = 0; i < self->weight_count; i++)
    TSR_TRY(append(self, &self->meta, &self->weights[i].entry, sizeof(tsm_weight)));
  self->header.strings_offset = self->meta.size;
  self->header.strings_bytes = self->strings.size;
  TSR_TRY(append(self, &self->meta, self->strings.bytes, self->strings.size));
  offset = self->meta.size;
  TSR_TRY(place_images(self, &offset));
  place_weights(self, &offset);
  finish_meta(self, offset);
  return TSR_OK;
}

/* ---- Output ---- */

static tsr_status emit(writer *self, sink *out, const void *data, uint64_t size) {
  const unsigned char *at = (const unsigned char *)data;
  if (out->memory != NULL && size != 0)
    memcpy(out->memory + out->written, data, size);
  out->written += size;
  while (out->memory == NULL && size != 0) {
    size_t part = size < ((size_t)1 << 30) ? (size_t)size : (size_t)1 << 30;
    ssize_t done = write(out->file, at, part);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      return tsr_fail(self->diag, TSR_ERR_IO, "cannot write: %s", strerror(done < 0 ? errno : EIO));
    at += done;
    size -= (uint64_t)done;
  }
  return TSR_OK;
}

static tsr_status emit_zeros(writer *self, sink *out, uint64_t multiple) {
  return emit(self, out, zeros, round_up(out->written, multiple) - out->written);
}

static tsr_status emit_all(writer *self, sink *out) {
  TSR_TRY(emit(self, out, self->meta.bytes, self->meta.size));
  TSR_TRY(emit_zeros(self, out, TSM_PAGE));
  for (uint32_t i = 0; i < self->program_count; i++) {
    TSR_TRY(emit(self, out, self->programs[i]->image, self->programs[i]->image_bytes));
    TSR_TRY(emit_zeros(self, out, TSM_PAGE));
  }
  for (uint32_t i = 0; i < self->weight_count; i++) {
    TSR_TRY(emit(self, out, self->weights[i].data, self->weights[i].entry.bytes));
    TSR_TRY(emit_zeros(self, out, TSM_WEIGHT_ALIGNMENT));
  }
  return TSR_OK;
}

static tsr_status list_programs(writer *self, const tsr_program *const *programs, uint32_t count) {
  uint64_t total = count;
  for (uint32_t i = 0; i < count; i++)
    total += programs[i]->part_count;
  if (total > UINT32_MAX)
    return tsr_fail(self->diag, TSR_ERR_LIMIT, "a module holds at most 2^32 programs");
  self->programs =
      (const tsr_program **)tsr_arena_alloc_array(&self->arena, total, sizeof *self->programs);
  if (self->programs == NULL)
    return out_of_memory(self);
  for (uint32_t i = 0; i < count; i++) {
    self->programs[self->program_count++] = programs[i];
    for (uint32_t j = 0; j < programs[i]->part_count; j++)
      self->programs[self->program_count++] = &programs[i]->parts[j];
  }
  return TSR_OK;
}

static tsr_status begin(writer *self, const tsr_program *const *programs, uint32_t count,
                        const tsr_allocator *allocator, tsr_diag *diag) {
  memset(self, 0, sizeof *self);
  self->allocator = allocator != NULL ? allocator : tsr_allocator_default();
  self->diag = diag;
  tsr_arena_init(&self->arena, self->allocator);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return tsr_fail(diag, TSR_ERR_UNSUPPORTED, "module files need a little-endian machine");
#endif
  if (programs == NULL || count == 0)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "a module needs at least one program");
  for (uint32_t i = 0; i < count; i++)
    TSR_TRY(tsr_program_check(programs[i], &self->arena, diag));
  TSR_TRY(list_programs(self, programs, count));
  return build(self);
}

static void end(writer *self) {
  growing_release(self, &self->meta);
  growing_release(self, &self->strings);
  tsr_arena_reset(&self->arena);
}

static tsr_status write_memory(writer *self, void **out_data, size_t *out_bytes) {
  uint64_t size = self->header.total_bytes;
  sink out = {-1, NULL, 0};
  out.memory = (unsigned char *)self->allocator->allocate(self->allocator->context, size,
                                                          TSM_WEIGHT_ALIGNMENT);
  if (out.memory == NULL)
    return out_of_memory(self);
  TSR_TRY(emit_all(self, &out));
  *out_data = out.memory;
  *out_bytes = size;
  return TSR_OK;
}

tsr_status tsr_module_write_memory(const tsr_program *const *programs, uint32_t count,
                                   const tsr_allocator *allocator, void **out_data,
                                   size_t *out_bytes, tsr_diag *diag) {
  writer self;
  tsr_status status;
  *out_data = NULL;
  *out_bytes = 0;
  status = begin(&self, programs, count, allocator, diag);
  if (status == TSR_OK)
    status = write_memory(&self, out_data, out_bytes);
  end(&self);
  return status;
}

/* The rename is made durable too, as far as the file system lets a folder be synced. */
static void sync_folder(const char *path, char *scratch) {
  char *slash;
  int folder;
  strcpy(scratch, path);
  slash = strrchr(scratch, '/');
  if (slash == NULL)
    strcpy(scratch, ".");
  else
    slash[slash == scratch ? 1 : 0] = '\0';
  folder = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0)
    return;
  (void)fsync(folder);
  (void)close(folder);
}

static tsr_status write_and_rename(writer *self, const char *path, char *temporary, int file) {
  sink out = {file, NULL, 0};
  tsr_status status = emit_all(self, &out);
  if (status == TSR_OK && fsync(file) != 0)
    status = tsr_fail(self->diag, TSR_ERR_IO, "cannot sync: %s", strerror(errno));
  if (close(file) != 0 && status == TSR_OK)
    status = tsr_fail(self->diag, TSR_ERR_IO, "cannot close: %s", strerror(errno));
  if (status == TSR_OK && rename(temporary, path) != 0)
    status = tsr_fail(self->diag, TSR_ERR_IO, "cannot rename into place: %s", strerror(errno));
  if (status != TSR_OK)
    (void)unlink(temporary);
  else
    sync_folder(path, temporary);
  return status;
}

/* Not mkstemp: a module is to be readable like any other file that the user writes. What is there
 * and no regular file, such as /dev/null, is not to be replaced by one. */
static tsr_status write_file(writer *self, const char *path) {
  enum { ATTEMPTS = 16 };
  struct stat there;
  if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
    return tsr_fail(self->diag, TSR_ERR_IO, "this is no regular file, so no module is written");
  int file = -1;
  char *temporary = NULL;
  for (int i = 0; file < 0 && i < ATTEMPTS; i++) {
    temporary = tsr_arena_printf(&self->arena, "%s.tmp-%ld-%lld", path, (long)getpid(),
                                 (long long)tsr_time_ns());
    if (temporary == NULL)
      return out_of_memory(self);
    file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 && errno != EEXIST && errno != EINTR)
      break;
  }
  if (file < 0)
    return tsr_fail(self->diag, TSR_ERR_IO, "cannot create a file there: %s", strerror(errno));
  return write_and_rename(self, path, temporary, file);
}

tsr_status tsr_module_write(const char *path, const tsr_program *const *programs, uint32_t count,
                            const tsr_allocator *allocator, tsr_diag *diag) {
  writer self;
  tsr_status status;
  if (path == NULL || path[0] == '\0')
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "no path to write the module to");
  status = begin(&self, programs, count, allocator, diag);
  if (status == TSR_OK)
    status = write_file(&self, path);
  if (status != TSR_OK)
    tsr_diag_set_file(diag, path);
  end(&self);
  return status;
}
