#include "frontend/manifest.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text that grows in an arena; `text` becomes NULL when memory is out. */
typedef struct writer {
  tsr_arena *arena;
  char *text;
  size_t used, capacity;
  uint64_t weights; /* bytes of the constants that were put */
} writer;

static void put_bytes(writer *w, const char *bytes, size_t count) {
  if (w->text == NULL)
    return;
  if (w->used + count + 1 > w->capacity) {
    size_t capacity = (w->used + count + 1) * 2;
    char *larger = tsr_arena_alloc(w->arena, capacity);
    if (larger != NULL)
      memcpy(larger, w->text, w->used);
    w->text = larger;
    w->capacity = capacity;
    if (larger == NULL)
      return;
  }
  memcpy(w->text + w->used, bytes, count);
  w->used += count;
  w->text[w->used] = 0;
}

static void put(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(writer *w, const char *format, ...) {
  char line[256];
  va_list args;
  va_start(args, format);
  int length = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (length > 0)
    put_bytes(w, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

static void put_string(writer *w, const char *text) {
  put_bytes(w, "\"", 1);
  for (; *text != 0; text++) {
    if (*text == '"' || *text == '\\')
      put(w, "\\%c", *text);
    else if ((unsigned char)*text < 0x20)
      put(w, "\\u%04x", (unsigned)*text);
    else
      put_bytes(w, text, 1);
  }
  put_bytes(w, "\"", 1);
}

/* Postfix: "N 64 ceildiv". */
static void put_code(writer *w, const tsr_program *program, tsr_code code) {
  static const char *const texts[] = {
#define INDEX_TEXT(name, text, operands) text,
      TSR_INDEX_OP_LIST(INDEX_TEXT)
#undef INDEX_TEXT
  };
  char text[1024];
  size_t used = 0;
  text[0] = 0;
  for (uint32_t i = 0; i < code.count && used < sizeof text - 1; i++) {
    const tsr_index_step *step = &program->steps[code.first + i];
    const char *space = i == 0 ? "" : " ";
    int length;
    if (step->op == TSR_INDEX_INT)
      length = snprintf(text + used, sizeof text - used, "%s%" PRId64, space, step->operand);
    else if (step->op == TSR_INDEX_DIM)
      length = snprintf(text + used, sizeof text - used, "%s%s", space,
                        program->dims[step->operand].name);
    else
      length = snprintf(text + used, sizeof text - used, "%s%s", space, texts[step->op]);
    used += length > 0 ? (size_t)length : 0;
  }
  put_string(w, text);
}

static void put_code_list(writer *w, const tsr_program *program, const tsr_code *codes,
                          uint32_t count) {
  put(w, "[");
  for (uint32_t i = 0; i < count; i++) {
    put(w, i == 0 ? "" : ", ");
    put_code(w, program, codes[i]);
  }
  put(w, "]");
}

/* Entries of program->codes, which is NULL where there are none. */
static void put_codes(writer *w, const tsr_program *program, uint32_t first, uint32_t count) {
  put_code_list(w, program, count == 0 ? NULL : program->codes + first, count);
}

/* The bytes that a constant takes in the emitted weights. */
static uint64_t constant_room(const tsr_constant_desc *constant) {
  enum { ALIGNMENT = 64 };
  return (constant->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Those of a host program come first, then those of its parts in order. */
static void put_constants(writer *w, const tsr_program *program) {
  put(w, "  \"constants\": [");
  for (uint32_t i = 0; i < program->constant_count; i++) {
    put(w, "%s{\"offset\": %" PRIu64 ", \"bytes\": %" PRIu64 "}", i == 0 ? "" : ", ", w->weights,
        program->constants[i].bytes);
    w->weights += constant_room(&program->constants[i]);
  }
  put(w, "],\n");
}

/* `bytes` NULL: counts only. Returns where the next constant goes. */
static uint64_t copy_constants(const tsr_program *program, char *bytes, uint64_t at) {
  for (uint32_t i = 0; i < program->constant_count; i++) {
    if (bytes != NULL)
      memcpy(bytes + at, program->constants[i].data, program->constants[i].bytes);
    at += constant_room(&program->constants[i]);
  }
  for (uint32_t i = 0; i < program->part_count; i++)
    at = copy_constants(&program->parts[i], bytes, at);
  return at;
}

const void *tsr_manifest_weights(const tsr_program *program, tsr_arena *arena, size_t *out_bytes) {
  *out_bytes = copy_constants(program, NULL, 0);
  char *bytes = tsr_arena_alloc(arena, *out_bytes);
  if (bytes != NULL)
    copy_constants(program, bytes, 0);
  return bytes;
}

static void put_buffers(writer *w, const tsr_program *program) {
  static const char *const kinds[] = {"input", "output", "constant", "temporary"};
  put(w, "  \"buffers\": [\n");
  for (uint32_t i = 0; i < program->buffer_count; i++) {
    const tsr_buffer_desc *buffer = &program->buffers[i];
    put(w,
        "    {\"kind\": \"%s\", \"index\": %u, \"dtype\": \"%s\", \"dims\": ", kinds[buffer->kind],
        buffer->index, tsr_dtype_text((tsr_dtype)buffer->dtype));
    put_codes(w, program, buffer->first_dim, buffer->rank);
    put(w, "}%s\n", i + 1 == program->buffer_count ? "" : ",");
  }
  put(w, "  ],\n");
}

static void put_ports(writer *w, const char *key, const tsr_port_desc *ports, uint32_t count) {
  put(w, "  \"%s\": [", key);
  for (uint32_t i = 0; i < count; i++) {
    put(w, "%s{\"name\": ", i == 0 ? "" : ", ");
    put_string(w, ports[i].name);
    put(w, ", \"buffer\": %u}", ports[i].buffer);
  }
  put(w, "],\n");
}

static void put_dims(writer *w, const tsr_program *program) {
  put(w, "  \"dims\": [");
  for (uint32_t i = 0; i < program->dim_count; i++) {
    put(w, "%s{\"name\": ", i == 0 ? "" : ", ");
    put_string(w, program->dims[i].name);
    put(w, ", \"lo\": %" PRId64 ", \"hi\": %" PRId64 "}", program->dims[i].lo, program->dims[i].hi);
  }
  put(w, "],\n");
}

/* The buffers of some launch that may run the kernel: all of them give it the same types. */
static const tsr_launch_desc *find_launch(const tsr_program *program, uint32_t kernel) {
  for (uint32_t i = 0; i < program->launch_count; i++)
    for (uint32_t v = 0; v < program->launches[i].variant_count; v++)
      if (program->variants[program->launches[i].first_variant + v].kernel == kernel)
        return &program->launches[i];
  return NULL;
}

/* What the function takes, in order. */
static void put_parameters(writer *w, const tsr_program *program, uint32_t number) {
  const tsr_kernel_desc *kernel = &program->kernels[number];
  const tsr_launch_desc *launch = find_launch(program, number);
  put(w, ",\n     \"parameters\": [");
  for (uint32_t i = 0; launch != NULL && i < launch->argument_count; i++)
    put(w, "{\"kind\": \"buffer\", \"dtype\": \"%s\"}, ",
        tsr_dtype_text(
            (tsr_dtype)program->buffers[program->arguments[launch->first_argument + i]].dtype));
  for (uint32_t d = 0; d < kernel->dim_count; d++) {
    put(w, "{\"kind\": \"dim\", \"name\": ");
    put_string(w, program->dims[program->kernel_dims[kernel->first_dim + d]].name);
    put(w, "}, ");
  }
  put(w, "{\"kind\": \"tasks\"}");
  for (uint32_t m = 0; m < kernel->map_count; m++)
    put(w, ", {\"kind\": \"map\", \"map\": %u}", m);
  put(w, "]");
}

static void put_maps(writer *w, const tsr_program *program, const tsr_kernel_desc *kernel) {
  put(w, ",\n     \"maps\": [");
  for (uint32_t m = 0; m < kernel->map_count; m++) {
    const tsr_map_desc *map = &program->maps[kernel->first_map + m];
    put(w,
        "%s{\"argument\": %u, \"dtype\": \"%s\", \"swizzle\": %u, \"dims\": ", m == 0 ? "" : ", ",
        map->argument, tsr_dtype_text((tsr_dtype)map->dtype), map->swizzle);
    put_codes(w, program, map->first_dim, map->rank);
    put(w, ", \"box\": [");
    for (uint32_t i = 0; i < map->rank; i++)
      put(w, "%s%u", i == 0 ? "" : ", ", map->box[i]);
    put(w, "]}");
  }
  put(w, "]");
}

/* A figure that only the log has, and the log may not have it. */
static void put_known(writer *w, const char *key, int32_t value) {
  if (value != TSR_CUDA_UNKNOWN)
    put(w, ", \"%s\": %" PRId32, key, value);
}

static void put_record(writer *w, const tsr_cuda_kernel_record *record) {
  put(w,
      ",\n     \"registers\": %" PRId32 ", \"stack_bytes\": %" PRId32
      ", \"static_shared_bytes\": %" PRId32,
      record->registers, record->stack_bytes, record->shared_bytes);
  put_known(w, "spill_store_bytes", record->spill_store_bytes);
  put_known(w, "spill_load_bytes", record->spill_load_bytes);
  put(w, ", \"warnings\": [");
  if (record->warning != NULL)
    put_string(w, record->warning);
  put(w, "]");
}

static void put_cuda_kernel(writer *w, const tsr_program *program, uint32_t number,
                            const tsr_cuda_program *cuda) {
  const tsr_kernel_desc *kernel = &program->kernels[number];
  put(w, ",\n     \"function\": ");
  put_string(w, kernel->symbol);
  put(w, ", \"threads\": %u, \"shared_bytes\": %u, \"cluster\": %u, \"cooperative\": %s",
      kernel->threads, kernel->shared_bytes, kernel->cluster > 1 ? kernel->cluster : 1,
      kernel->cooperative != 0 ? "true" : "false");
  put_parameters(w, program, number);
  put_maps(w, program, kernel);
  if (cuda->records != NULL && cuda->records[number] != NULL)
    put_record(w, cuda->records[number]);
}

static void put_cpu_kernel(writer *w, const tsr_program *program, uint32_t number) {
  const tsr_kernel_desc *kernel = &program->kernels[number];
  put(w, ", \"entry\": %" PRIu64 ", \"scratch_bytes\": %" PRIu64 ", \"dims\": [", kernel->entry,
      kernel->scratch_bytes);
  for (uint32_t d = 0; d < kernel->dim_count; d++) {
    put(w, d == 0 ? "" : ", ");
    put_string(w, program->dims[program->kernel_dims[kernel->first_dim + d]].name);
  }
  put(w, "]");
}

static void put_kernels(writer *w, const tsr_program *program, const tsr_cuda_program *cuda) {
  put(w, "  \"kernels\": [\n");
  for (uint32_t i = 0; i < program->kernel_count; i++) {
    put(w, "    {\"name\": ");
    put_string(w, program->kernels[i].name);
    put(w, ", \"nodes\": ");
    put_string(w, program->kernels[i].nodes);
    if (cuda != NULL)
      put_cuda_kernel(w, program, i, cuda);
    else
      put_cpu_kernel(w, program, i);
    put(w, "}%s\n", i + 1 == program->kernel_count ? "" : ",");
  }
  put(w, "  ],\n");
}

static void put_launches(writer *w, const tsr_program *program) {
  put(w, "  \"launches\": [\n");
  for (uint32_t i = 0; i < program->launch_count; i++) {
    const tsr_launch_desc *launch = &program->launches[i];
    put(w, "    {\"arguments\": [");
    for (uint32_t a = 0; a < launch->argument_count; a++)
      put(w, "%s%u", a == 0 ? "" : ", ", program->arguments[launch->first_argument + a]);
    put(w, "], \"zeroed\": [");
    for (uint32_t z = 0; z < launch->zeroed_count; z++)
      put(w, "%s%u", z == 0 ? "" : ", ", program->arguments[launch->first_zeroed + z]);
    put(w, "], \"variants\": [");
    for (uint32_t v = 0; v < launch->variant_count; v++) {
      const tsr_variant_desc *variant = &program->variants[launch->first_variant + v];
      put(w, "%s{\"kernel\": %u, \"guard\": ", v == 0 ? "" : ", ", variant->kernel);
      put_code(w, program, variant->guard);
      put(w, ", \"grid\": ");
      put_code_list(w, program, variant->grid, variant->grid_rank);
      put(w, "}");
    }
    put(w, "]}%s\n", i + 1 == program->launch_count ? "" : ",");
  }
  put(w, "  ]\n");
}

/* --- of host programs --- */

/* `count` entries of a table, which is NULL where it has none. */
static void put_numbers(writer *w, const char *key, const uint32_t *table, uint32_t first,
                        uint32_t count) {
  put(w, "\"%s\": [", key);
  for (uint32_t i = 0; i < count; i++)
    put(w, "%s%u", i == 0 ? "" : ", ", table[first + i]);
  put(w, "]");
}

static void put_texts(writer *w, const char *key, const char *const *table, uint32_t first,
                      uint32_t count) {
  put(w, "\"%s\": [", key);
  for (uint32_t i = 0; i < count; i++) {
    put(w, i == 0 ? "" : ", ");
    put_string(w, table[first + i]);
  }
  put(w, "]");
}

/* `binds`: per extent the dim that gets its value when the value is made, or null. */
static void put_value(writer *w, const tsr_program *program, const tsr_host_value *value) {
  static const char *const kinds[] = {"tensor", "list", "optional", "optional list"};
  put(w, "    {\"kind\": \"%s\", \"dtype\": \"%s\"", kinds[value->kind],
      value->text != 0 ? "text" : tsr_dtype_text((tsr_dtype)value->dtype));
  if (value->rank != TSR_HOST_ANY_RANK) {
    put(w, ", \"dims\": ");
    put_codes(w, program, value->first_dim, value->rank);
  }
  for (uint32_t i = 0; value->kind == TSR_HOST_TENSOR && i < value->rank; i++) {
    uint32_t bind = program->arguments[value->first_bind + i];
    put(w, i == 0 ? ", \"binds\": [" : ", ");
    if (bind == 0)
      put(w, "null");
    else
      put_string(w, program->dims[bind - 1].name);
    put(w, i + 1 == value->rank ? "]" : "");
  }
  put(w, "}");
}

static void put_step(writer *w, const tsr_program *program, const tsr_host_step *step) {
  static const char *const texts[] = {
#define TSR_HOST_OP(name, text, ...) text,
#include "runtime/host/host_ops.def"
#undef TSR_HOST_OP
  };
  put(w, "    {\"op\": \"%s\", ", texts[step->op]);
  if (step->op == TSR_HOST_CALL)
    put(w, "\"part\": %u, ", step->part);
  put_numbers(w, "operands", program->arguments, step->first_operand, step->operand_count);
  put(w, ", ");
  put_numbers(w, "results", program->arguments, step->first_result, step->result_count);
  if (step->region_count != 0)
    put(w, ", \"regions\": [");
  for (uint32_t i = 0; i < step->region_count; i++)
    put(w, "%s%u%s", i == 0 ? "" : ", ", step->first_region + i,
        i + 1 == step->region_count ? "]" : "");
  if (step->code.count != 0) {
    put(w, ", \"%s\": ", step->op == TSR_HOST_LOOP ? "limit" : "condition");
    put_code(w, program, step->code);
  }
  put(w, ", \"numbers\": [");
  for (uint32_t i = 0; i < step->number_count; i++)
    put(w, "%s%" PRId64, i == 0 ? "" : ", ", program->host_numbers[step->first_number + i]);
  put(w, "], ");
  put_texts(w, "texts", program->host_texts, step->first_text, step->text_count);
  put(w, ", \"nodes\": ");
  put_string(w, step->nodes);
  put(w, "}");
}

static void put_region(writer *w, const tsr_program *program, const tsr_host_region *region) {
  put(w, "    {\"first_step\": %u, \"steps\": %u, ", region->first_step, region->step_count);
  put_numbers(w, "parameters", program->arguments, region->first_param, region->param_count);
  put(w, ", ");
  put_numbers(w, "yields", program->arguments, region->first_yield, region->yield_count);
  put(w, "}");
}

/* What the host does: registers (`values`), those that constants start, regions and their steps. */
static void put_host(writer *w, const tsr_program *program) {
  put(w, "  \"values\": [\n");
  for (uint32_t i = 0; i < program->host_value_count; i++) {
    put_value(w, program, &program->host_values[i]);
    put(w, "%s\n", i + 1 == program->host_value_count ? "" : ",");
  }
  put(w, "  ],\n  \"constant_values\": [");
  for (uint32_t i = 0; i < program->host_constant_count; i++)
    put(w, "%s{\"value\": %u, \"constant\": %u}", i == 0 ? "" : ", ",
        program->host_constants[i].value, program->host_constants[i].constant);
  put(w, "],\n  ");
  put_texts(w, "texts", program->texts, 0, program->text_count);
  put(w, ",\n  \"regions\": [\n");
  for (uint32_t i = 0; i < program->host_region_count; i++) {
    put_region(w, program, &program->host_regions[i]);
    put(w, "%s\n", i + 1 == program->host_region_count ? "" : ",");
  }
  put(w, "  ],\n  \"steps\": [\n");
  for (uint32_t i = 0; i < program->host_step_count; i++) {
    put_step(w, program, &program->host_steps[i]);
    put(w, "%s\n", i + 1 == program->host_step_count ? "" : ",");
  }
  put(w, "  ],\n");
}

/* --- all --- */

static void put_tables(writer *w, const tsr_program *program) {
  put_dims(w, program);
  put_ports(w, "inputs", program->inputs, program->input_count);
  put_ports(w, "outputs", program->outputs, program->output_count);
  put_constants(w, program);
  put_buffers(w, program);
}

static void put_part(writer *w, const tsr_manifest_part *part) {
  put_tables(w, part->program);
  put_kernels(w, part->program, part->cuda);
  put_launches(w, part->program);
}

const char *tsr_manifest(const tsr_program *program, const tsr_manifest_part *parts,
                         uint32_t part_count, tsr_arena *arena) {
  writer w = {.arena = arena, .capacity = 4096};
  w.text = tsr_arena_alloc(arena, w.capacity);
  put(&w, "{\n  \"target\": ");
  put_string(&w, program->target);
  put(&w, ",\n");
  if (program->host_region_count == 0) {
    put_part(&w, &parts[0]);
  } else {
    put_tables(&w, program);
    put_host(&w, program);
    put(&w, "  \"parts\": [\n");
    for (uint32_t i = 0; i < part_count; i++) {
      put(&w, "  {\n  \"name\": ");
      put_string(&w, parts[i].name);
      put(&w, ",\n");
      put_part(&w, &parts[i]);
      put(&w, "  }%s\n", i + 1 == part_count ? "" : ",");
    }
    put(&w, "  ]\n");
  }
  put(&w, "}\n");
  return w.text;
}
