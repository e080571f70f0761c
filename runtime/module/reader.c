#include "runtime/hash.h"
#include "runtime/module/module.h"
#include "runtime/module/program_check.h"
#include <string.h>

static tsr_status bad(tsr_diag *diag, const char *what) {
  return tsr_fail(diag, TSR_ERR_FORMAT, "the module is malformed: %s", what);
}

static tsr_status out_of_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while loading a module");
}

static bool is_zero(const unsigned char *bytes, uint64_t size) {
  unsigned char any = 0;
  for (uint64_t i = 0; i < size; i++)
    any |= bytes[i];
  return any == 0;
}

/* The next multiple, or UINT64_MAX (which no file reaches) on overflow. */
static uint64_t round_up(uint64_t value, uint64_t multiple) {
  return value > UINT64_MAX - multiple ? UINT64_MAX : (value + multiple - 1) / multiple * multiple;
}

static uint64_t add_size(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* What can be said before the checksum of meta: is it a module, of this version, complete. */
static tsr_status check_start(const tsr_module *module, tsm_header *out_header, tsr_diag *diag) {
  if (module->size < sizeof *out_header)
    return bad(diag, "it is shorter than a header");
  memcpy(out_header, module->bytes, sizeof *out_header);
  if (memcmp(out_header->magic, TSM_MAGIC, TSM_MAGIC_BYTES) != 0)
    return tsr_fail(diag, TSR_ERR_FORMAT, "this is not a Tessera module");
  if (out_header->version != TSR_MODULE_FORMAT_VERSION)
    return tsr_fail(diag, TSR_ERR_VERSION,
                    "the module has format version %u, this runtime reads version %u; compile the "
                    "model again",
                    out_header->version, TSR_MODULE_FORMAT_VERSION);
  if (out_header->total_bytes != module->size)
    return tsr_fail(diag, TSR_ERR_FORMAT, "the module has %llu bytes, its header says %llu",
                    (unsigned long long)module->size, (unsigned long long)out_header->total_bytes);
  if (out_header->reserved != 0)
    return bad(diag, "a reserved field is set");
  if (out_header->meta_bytes < sizeof *out_header || out_header->meta_bytes > module->size)
    return bad(diag, "its tables do not fit into it");
  return TSR_OK;
}

/* Tables are checked in a private copy: what was checked cannot change any more. */
static tsr_status copy_meta(tsr_module *module, tsr_diag *diag) {
  tsm_header header;
  unsigned char *meta;
  TSR_TRY(check_start(module, &header, diag));
  meta = (unsigned char *)tsr_arena_alloc(&module->arena, header.meta_bytes);
  if (meta == NULL)
    return out_of_memory(diag);
  memcpy(meta, module->bytes, header.meta_bytes);
  memcpy(meta, &header, sizeof header);
  if (tsr_hash64(meta + TSM_CHECKED_FROM, header.meta_bytes - TSM_CHECKED_FROM) !=
      header.meta_checksum)
    return tsr_fail(diag, TSR_ERR_CHECKSUM, "the module's tables are damaged");
  module->header = (const tsm_header *)meta;
  return TSR_OK;
}

/* `count` records of `record_bytes` at `offset` lie within meta; NULL otherwise. */
static const void *find_records(const tsr_module *module, uint64_t offset, uint64_t count,
                                uint64_t record_bytes) {
  const tsm_header *header = module->header;
  if (offset % 8 != 0 || offset > header->meta_bytes ||
      count > (header->meta_bytes - offset) / record_bytes)
    return NULL;
  return (const unsigned char *)header + offset;
}

static tsr_status find_sections(tsr_module *module, tsr_diag *diag) {
  const tsm_header *header = module->header;
  module->records = (const tsm_program *)find_records(module, header->programs_offset,
                                                      header->program_count, sizeof(tsm_program));
  module->weights = (const tsm_weight *)find_records(module, header->weights_offset,
                                                     header->weight_count, sizeof(tsm_weight));
  if (module->records == NULL || module->weights == NULL || header->program_count == 0)
    return bad(diag, "its program or weight table is out of range");
  if (header->strings_offset > header->meta_bytes ||
      header->strings_bytes > header->meta_bytes - header->strings_offset ||
      header->strings_bytes == 0)
    return bad(diag, "its string table is out of range");
  module->strings = (const char *)header + header->strings_offset;
  if (module->strings[header->strings_bytes - 1] != '\0')
    return bad(diag, "its string table is not terminated");
  return TSR_OK;
}

/* Everything behind meta lies in one order without gaps, so that no ranges overlap. */
static tsr_status check_layout(const tsr_module *module, tsr_diag *diag) {
  const tsm_header *header = module->header;
  uint64_t at = round_up(header->meta_bytes, TSM_PAGE);
  for (uint32_t i = 0; i < header->program_count; i++) {
    if (module->records[i].image_offset != at)
      return bad(diag, "a code image is not where it belongs");
    at = add_size(at, round_up(module->records[i].image_bytes, TSM_PAGE));
  }
  if (header->weight_data_offset != at)
    return bad(diag, "the weights are not where they belong");
  for (uint32_t i = 0; i < header->weight_count; i++) {
    if (module->weights[i].offset != at)
      return bad(diag, "a weight is not where it belongs");
    at = add_size(at, round_up(module->weights[i].bytes, TSM_WEIGHT_ALIGNMENT));
  }
  if (at != module->size)
    return bad(diag, "its sections do not add up to its size");
  if (!is_zero(module->bytes + header->meta_bytes,
               round_up(header->meta_bytes, TSM_PAGE) - header->meta_bytes))
    return tsr_fail(diag, TSR_ERR_CHECKSUM, "the padding after the module's tables is damaged");
  return TSR_OK;
}

/* One program being read; `failed` collects bad string and table references. */
typedef struct program_reader {
  tsr_module *module;
  const tsm_program *record;
  tsr_program *program;
  bool failed, out_of_memory;
} program_reader;

static const char *read_string(program_reader *self, uint32_t offset) {
  if (offset < self->module->header->strings_bytes)
    return self->module->strings + offset;
  self->failed = true;
  return "";
}

static const void *read_table(program_reader *self, const tsm_table *table, size_t record_bytes) {
  const void *records = find_records(self->module, table->offset, table->count, record_bytes);
  self->failed |= records == NULL;
  return records;
}

static void *new_table(program_reader *self, uint32_t count, size_t record_bytes) {
  void *records = tsr_arena_alloc_array(&self->module->arena, count, record_bytes);
  self->out_of_memory |= records == NULL;
  return records;
}

/* Finds all tables and counts. Those whose records differ in memory are converted below. */
static void read_plain_tables(program_reader *self) {
  const tsm_program *r = self->record;
  tsr_program *p = self->program;
#define PLAIN(name, counter, type)                                                                 \
  p->name = (const type *)read_table(self, &r->name, sizeof(type));                                \
  p->counter = r->name.count;
  PLAIN(steps, step_count, tsr_index_step)
  PLAIN(codes, code_count, tsr_code)
  PLAIN(buffers, buffer_count, tsr_buffer_desc)
  PLAIN(kernel_dims, kernel_dim_count, uint32_t)
  PLAIN(maps, map_count, tsr_map_desc)
  PLAIN(variants, variant_count, tsr_variant_desc)
  PLAIN(launches, launch_count, tsr_launch_desc)
  PLAIN(arguments, argument_count, uint32_t)
  PLAIN(segments, segment_count, tsr_segment_desc)
  PLAIN(reads, read_count, tsr_dim_read)
  PLAIN(host_values, host_value_count, tsr_host_value)
  PLAIN(host_regions, host_region_count, tsr_host_region)
  PLAIN(host_constants, host_constant_count, tsr_host_constant)
  PLAIN(host_numbers, host_number_count, int64_t)
#undef PLAIN
}

static void read_dims(program_reader *self) {
  const tsm_table *table = &self->record->dims;
  const tsm_dim *from = (const tsm_dim *)read_table(self, table, sizeof *from);
  tsr_dim_desc *to = (tsr_dim_desc *)new_table(self, from != NULL ? table->count : 0, sizeof *to);
  if (from == NULL || to == NULL)
    return;
  for (uint32_t i = 0; i < table->count; i++) {
    to[i].name = read_string(self, from[i].name);
    to[i].source = from[i].source;
    to[i].lo = from[i].lo;
    to[i].hi = from[i].hi;
  }
  self->program->dims = to;
  self->program->dim_count = table->count;
}

static const tsr_port_desc *read_ports(program_reader *self, const tsm_table *table) {
  const tsm_port *from = (const tsm_port *)read_table(self, table, sizeof *from);
  tsr_port_desc *to = (tsr_port_desc *)new_table(self, from != NULL ? table->count : 0, sizeof *to);
  if (from == NULL || to == NULL)
    return NULL;
  for (uint32_t i = 0; i < table->count; i++) {
    to[i].name = read_string(self, from[i].name);
    to[i].buffer = from[i].buffer;
    to[i].alias = from[i].alias;
    to[i].keep = from[i].keep;
  }
  return to;
}

static void read_constants(program_reader *self) {
  const tsm_table *table = &self->record->constants;
  const tsr_module *module = self->module;
  const tsm_constant *from = (const tsm_constant *)read_table(self, table, sizeof *from);
  tsr_constant_desc *to =
      (tsr_constant_desc *)new_table(self, from != NULL ? table->count : 0, sizeof *to);
  if (from == NULL || to == NULL)
    return;
  for (uint32_t i = 0; i < table->count; i++) {
    if (from[i].weight >= module->header->weight_count) {
      self->failed = true;
      return;
    }
    to[i].data = module->bytes + module->weights[from[i].weight].offset;
    to[i].bytes = module->weights[from[i].weight].bytes;
    to[i].hash = module->weights[from[i].weight].hash;
  }
  self->program->constants = to;
  self->program->constant_count = table->count;
}

static void read_kernels(program_reader *self) {
  const tsm_table *table = &self->record->kernels;
  const tsm_kernel *from = (const tsm_kernel *)read_table(self, table, sizeof *from);
  tsr_kernel_desc *to =
      (tsr_kernel_desc *)new_table(self, from != NULL ? table->count : 0, sizeof *to);
  if (from == NULL || to == NULL)
    return;
  for (uint32_t i = 0; i < table->count; i++) {
    to[i].name = read_string(self, from[i].name);
    to[i].nodes = read_string(self, from[i].nodes);
    to[i].symbol = read_string(self, from[i].symbol);
    to[i].entry = from[i].entry;
    to[i].scratch_bytes = from[i].scratch_bytes;
    to[i].first_dim = from[i].first_dim;
    to[i].dim_count = from[i].dim_count;
    to[i].threads = from[i].threads;
    to[i].shared_bytes = from[i].shared_bytes;
    to[i].cluster = from[i].cluster;
    to[i].cooperative = from[i].cooperative;
    to[i].first_map = from[i].first_map;
    to[i].map_count = from[i].map_count;
    memcpy(to[i].tiles, from[i].tiles, sizeof to[i].tiles);
  }
  self->program->kernels = to;
  self->program->kernel_count = table->count;
}

static const char *const *read_texts(program_reader *self, const tsm_table *table) {
  const tsm_text *from = (const tsm_text *)read_table(self, table, sizeof *from);
  const char **to = (const char **)new_table(self, from != NULL ? table->count : 0, sizeof *to);
  if (from == NULL || to == NULL)
    return NULL;
  for (uint32_t i = 0; i < table->count; i++)
    to[i] = read_string(self, from[i].text);
  return to;
}

static void read_host_steps(program_reader *self) {
  const tsm_table *table = &self->record->host_steps;
  const tsm_host_step *from = (const tsm_host_step *)read_table(self, table, sizeof *from);
  tsr_host_step *to = (tsr_host_step *)new_table(self, from != NULL ? table->count : 0, sizeof *to);
  if (from == NULL || to == NULL)
    return;
  for (uint32_t i = 0; i < table->count; i++)
    to[i] = (tsr_host_step){.op = from[i].op,
                            .part = from[i].part,
                            .first_operand = from[i].first_operand,
                            .operand_count = from[i].operand_count,
                            .first_result = from[i].first_result,
                            .result_count = from[i].result_count,
                            .first_region = from[i].first_region,
                            .region_count = from[i].region_count,
                            .first_number = from[i].first_number,
                            .number_count = from[i].number_count,
                            .first_text = from[i].first_text,
                            .text_count = from[i].text_count,
                            .code = from[i].code,
                            .nodes = read_string(self, from[i].nodes)};
  self->program->host_steps = to;
  self->program->host_step_count = table->count;
}

static void read_host_tables(program_reader *self) {
  const tsm_program *r = self->record;
  read_host_steps(self);
  self->program->host_texts = read_texts(self, &r->host_texts);
  self->program->host_text_count = r->host_texts.count;
  self->program->texts = read_texts(self, &r->texts);
  self->program->text_count = r->texts.count;
}

static void read_checks(program_reader *self) {
  const tsm_table *table = &self->record->checks;
  const tsm_check *from = (const tsm_check *)read_table(self, table, sizeof *from);
  tsr_check_desc *to =
      (tsr_check_desc *)new_table(self, from != NULL ? table->count : 0, sizeof *to);
  if (from == NULL || to == NULL)
    return;
  for (uint32_t i = 0; i < table->count; i++) {
    to[i].holds = from[i].holds;
    to[i].text = read_string(self, from[i].text);
  }
  self->program->checks = to;
  self->program->check_count = table->count;
}

static tsr_status read_program(tsr_module *module, uint32_t index, tsr_diag *diag) {
  const tsm_program *record = &module->records[index];
  tsr_program *program = &module->programs[index];
  program_reader self = {module, record, program, false, false};
  program->target = read_string(&self, record->target);
  program->precision = read_string(&self, record->precision);
  program->producer = read_string(&self, record->producer);
  program->cpu_features = record->cpu_features;
  program->image = module->bytes + record->image_offset;
  program->image_bytes = record->image_bytes;
  read_plain_tables(&self);
  read_dims(&self);
  program->inputs = read_ports(&self, &record->inputs);
  program->input_count = record->inputs.count;
  program->outputs = read_ports(&self, &record->outputs);
  program->output_count = record->outputs.count;
  read_constants(&self);
  read_kernels(&self);
  read_host_tables(&self);
  read_checks(&self);
  if (self.out_of_memory)
    return out_of_memory(diag);
  if (self.failed)
    return bad(diag, "a table, name or weight reference is out of range");
  if (tsr_hash64(program->image, round_up(record->image_bytes, TSM_PAGE)) != record->image_checksum)
    return tsr_fail(diag, TSR_ERR_CHECKSUM, "the module's code is damaged");
  return TSR_OK;
}

static tsr_status check_program(const tsr_module *module, uint32_t index, tsr_diag *diag) {
  tsr_arena scratch;
  tsr_status status;
  tsr_arena_init(&scratch, module->allocator);
  status = tsr_program_check(&module->programs[index], &scratch, diag);
  tsr_arena_reset(&scratch);
  return status;
}

/* The check refuses parts that have parts. */
static tsr_status find_parts(tsr_module *module, uint32_t index, tsr_diag *diag) {
  uint32_t left = module->header->program_count - index - 1,
           count = module->records[index].part_count;
  if (count > left)
    return bad(diag, "a program has more parts than there are programs");
  module->programs[index].parts = count != 0 ? &module->programs[index + 1] : NULL;
  module->programs[index].part_count = count;
  for (uint32_t i = 1; i <= count; i++)
    module->programs[index + i].part_count = module->records[index + i].part_count;
  return TSR_OK;
}

tsr_status tsr_module_read_tables(tsr_module *module, tsr_diag *diag) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return tsr_fail(diag, TSR_ERR_UNSUPPORTED, "module files need a little-endian machine");
#endif
  TSR_TRY(copy_meta(module, diag));
  TSR_TRY(find_sections(module, diag));
  TSR_TRY(check_layout(module, diag));
  module->programs = (tsr_program *)tsr_arena_alloc_array(
      &module->arena, module->header->program_count, sizeof *module->programs);
  if (module->programs == NULL)
    return out_of_memory(diag);
  for (uint32_t i = 0; i < module->header->program_count; i++)
    TSR_TRY(read_program(module, i, diag));
  for (uint32_t i = 0; i < module->header->program_count; i += 1 + module->programs[i].part_count) {
    TSR_TRY(find_parts(module, i, diag));
    TSR_TRY(check_program(module, i, diag));
  }
  return TSR_OK;
}

tsr_status tsr_module_check_weights(const tsr_module *module, tsr_diag *diag) {
  for (uint32_t i = 0; i < module->header->weight_count; i++) {
    const tsm_weight *weight = &module->weights[i];
    const unsigned char *bytes = module->bytes + weight->offset;
    uint64_t padded = round_up(weight->bytes, TSM_WEIGHT_ALIGNMENT);
    if (tsr_hash64(bytes, weight->bytes) != weight->hash ||
        !is_zero(bytes + weight->bytes, padded - weight->bytes))
      return tsr_fail(diag, TSR_ERR_CHECKSUM, "weight %u of the module is damaged", i);
  }
  return TSR_OK;
}
