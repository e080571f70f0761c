/* Host programs by hand: values, regions and steps in any order, tables at the end. Parts are of
 * the kernels of programs.h. Not checked: what does not fit the arrays. */
#ifndef TESTS_RUNTIME_HOST_PROGRAMS_H
#define TESTS_RUNTIME_HOST_PROGRAMS_H
#include "runtime/arena.h"
#include "tests/runtime/programs.h"

enum { HB_MOST = 256, HB_IN_REGION = 24 };

typedef struct hb_region {
  uint32_t params[HB_IN_REGION], param_count;
  uint32_t yields[HB_IN_REGION], yield_count;
  tsr_host_step steps[HB_IN_REGION];
  uint32_t step_count;
} hb_region;

typedef struct host_builder {
  tsr_arena arena;
  tsr_program program; /* complete after hb_finish */
  tsr_index_step steps[HB_MOST];
  tsr_code codes[HB_MOST];
  tsr_dim_desc dims[16];
  tsr_buffer_desc buffers[32];
  tsr_port_desc inputs[16], outputs[16];
  tsr_constant_desc constants[16];
  uint32_t arguments[1024];
  tsr_host_value values[HB_MOST];
  tsr_host_step host_steps[HB_MOST];
  hb_region build[16];
  tsr_host_region regions[16];
  tsr_host_constant host_constants[16];
  int64_t numbers[64];
  const char *host_texts[16], *texts[16];
  tsr_program parts[16];
} host_builder;

/* Extents: a number, the value of a dim, or the first to name a dim. */
#define DIM(d)         (-(int64_t)(d)-1)
#define BIND(d)        (-(int64_t)(d)-1001)
#define HB_LENGTH(...) ((uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))
#define VALUES(...)    (const uint32_t[]){__VA_ARGS__}, HB_LENGTH(__VA_ARGS__)
#define NO_VALUES      NULL, 0
#define SHAPE(...)                                                                                 \
  (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) {              \
    __VA_ARGS__                                                                                    \
  }
#define SCALAR    0, NULL
#define ANY_SHAPE TSR_HOST_ANY_RANK, NULL

static inline uint32_t hb_arguments(host_builder *b, const uint32_t *from, uint32_t count) {
  uint32_t first = b->program.argument_count;
  for (uint32_t i = 0; i < count; i++)
    b->arguments[b->program.argument_count++] = from[i];
  return first;
}

static inline void hb_begin(host_builder *b) {
  memset(b, 0, sizeof *b);
  tsr_arena_init(&b->arena, tsr_allocator_default());
  b->program.target = "cpu:x86-64";
  b->program.precision = "f32";
  b->program.producer = "test";
  b->program.host_region_count = 1;
}

static inline uint32_t hb_dim(host_builder *b, const char *name, uint32_t source, int64_t lo,
                              int64_t hi) {
  b->dims[b->program.dim_count] = (tsr_dim_desc){name, source, lo, hi};
  return b->program.dim_count++;
}

static inline tsr_code hb_code(host_builder *b, int64_t extent) {
  int64_t dim = extent <= -1001 ? -extent - 1001 : -extent - 1;
  tsr_code code = {b->program.step_count, 1};
  b->steps[b->program.step_count++] =
      extent >= 0 ? (tsr_index_step){TSR_INDEX_INT, extent} : (tsr_index_step){TSR_INDEX_DIM, dim};
  return code;
}

static inline uint32_t hb_value(host_builder *b, uint32_t kind, tsr_dtype dtype, uint32_t rank,
                                const int64_t *extents) {
  tsr_host_value *value = &b->values[b->program.host_value_count];
  *value = (tsr_host_value){.kind = kind, .dtype = dtype, .rank = rank};
  if (rank != TSR_HOST_ANY_RANK) {
    value->first_dim = b->program.code_count;
    value->first_bind = b->program.argument_count;
    for (uint32_t d = 0; d < rank; d++) {
      b->codes[b->program.code_count++] = hb_code(b, extents[d]);
      b->arguments[b->program.argument_count++] =
          extents[d] <= -1001 ? (uint32_t)(-extents[d] - 1000) : 0;
    }
  }
  return b->program.host_value_count++;
}

static inline uint32_t hb_tensor(host_builder *b, tsr_dtype dtype, uint32_t rank,
                                 const int64_t *extents) {
  return hb_value(b, TSR_HOST_TENSOR, dtype, rank, extents);
}

static inline uint32_t hb_buffer(host_builder *b, uint32_t value, uint32_t kind, uint32_t index) {
  const tsr_host_value *v = &b->values[value];
  if (v->kind != TSR_HOST_TENSOR)
    return UINT32_MAX;
  b->buffers[b->program.buffer_count] =
      (tsr_buffer_desc){kind, v->dtype, v->rank, v->first_dim, index};
  return b->program.buffer_count++;
}

static inline uint32_t hb_param(host_builder *b, uint32_t region, uint32_t value) {
  b->build[region].params[b->build[region].param_count++] = value;
  return value;
}

static inline void hb_yield(host_builder *b, uint32_t region, uint32_t value) {
  b->build[region].yields[b->build[region].yield_count++] = value;
}

static inline uint32_t hb_input(host_builder *b, const char *name, uint32_t value) {
  uint32_t index = b->program.input_count++;
  b->inputs[index] =
      (tsr_port_desc){.name = name, .buffer = hb_buffer(b, value, TSR_BUFFER_INPUT, index)};
  return hb_param(b, 0, value);
}

static inline void hb_output(host_builder *b, const char *name, uint32_t value) {
  uint32_t index = b->program.output_count++;
  b->outputs[index] =
      (tsr_port_desc){.name = name, .buffer = hb_buffer(b, value, TSR_BUFFER_OUTPUT, index)};
  hb_yield(b, 0, value);
}

/* `bytes` at `data` live as long as the program. */
static inline uint32_t hb_constant(host_builder *b, uint32_t value, const void *data,
                                   uint64_t bytes) {
  uint32_t number = b->program.constant_count++;
  b->constants[number] = (tsr_constant_desc){data, bytes, tsr_hash64(data, bytes)};
  b->host_constants[b->program.host_constant_count++] = (tsr_host_constant){value, number};
  return value;
}

/* The number of the first of `count` new regions. */
static inline uint32_t hb_regions(host_builder *b, uint32_t count) {
  b->program.host_region_count += count;
  return b->program.host_region_count - count;
}

/* The step may be changed until the next one of its region is made. */
static inline tsr_host_step *hb_step(host_builder *b, uint32_t region, tsr_host_op op,
                                     const uint32_t *operands, uint32_t operand_count,
                                     const uint32_t *results, uint32_t result_count) {
  tsr_host_step *step = &b->build[region].steps[b->build[region].step_count++];
  memset(step, 0, sizeof *step);
  step->op = (uint32_t)op;
  step->first_operand = hb_arguments(b, operands, operand_count);
  step->operand_count = operand_count;
  step->first_result = hb_arguments(b, results, result_count);
  step->result_count = result_count;
  step->nodes = "";
  return step;
}

static inline void hb_numbers(host_builder *b, tsr_host_step *step, const int64_t *numbers,
                              uint32_t count) {
  step->first_number = b->program.host_number_count;
  step->number_count = count;
  for (uint32_t i = 0; i < count; i++)
    b->numbers[b->program.host_number_count++] = numbers[i];
}

static inline void hb_call(host_builder *b, uint32_t region, uint32_t part,
                           const uint32_t *operands, uint32_t operand_count, uint32_t result) {
  tsr_host_step *step = hb_step(b, region, TSR_HOST_CALL, operands, operand_count, VALUES(result));
  step->part = part;
  step->nodes = b->parts[part].kernels[0].name;
}

/* A loop whose turns are at most `limit` (see hb_code; INT64_MIN: any number), by region number
 * `body`. */
static inline tsr_host_step *hb_loop(host_builder *b, uint32_t region, uint32_t body, int64_t limit,
                                     const uint32_t *starts, uint32_t count,
                                     const uint32_t *results, uint32_t result_count) {
  tsr_host_step *step = hb_step(b, region, TSR_HOST_LOOP, starts, count, results, result_count);
  step->first_region = body;
  step->region_count = 1;
  if (limit != INT64_MIN)
    step->code = hb_code(b, limit);
  step->nodes = "/the/Loop";
  return step;
}

static inline const tsr_program *hb_finish(host_builder *b) {
  tsr_program *p = &b->program;
  for (uint32_t r = 0; r < p->host_region_count; r++) {
    const hb_region *from = &b->build[r];
    b->regions[r] = (tsr_host_region){
        .first_step = p->host_step_count,
        .step_count = from->step_count,
        .first_param = hb_arguments(b, from->params, from->param_count),
        .param_count = from->param_count,
        .first_yield = hb_arguments(b, from->yields, from->yield_count),
        .yield_count = from->yield_count,
    };
    for (uint32_t i = 0; i < from->step_count; i++)
      b->host_steps[p->host_step_count++] = from->steps[i];
  }
  p->steps = b->steps;
  p->codes = b->codes;
  p->dims = b->dims;
  p->buffers = b->buffers;
  p->inputs = b->inputs;
  p->outputs = b->outputs;
  p->constants = b->constants;
  p->arguments = b->arguments;
  p->host_values = b->values;
  p->host_steps = b->host_steps;
  p->host_regions = b->regions;
  p->host_constants = b->host_constants;
  p->host_numbers = b->numbers;
  p->host_texts = b->host_texts;
  p->texts = b->texts;
  p->parts = b->parts;
  return p;
}

static inline void hb_end(host_builder *b) {
  tsr_arena_reset(&b->arena);
}

/* ---- Parts ---- */

/* `kernel` of programs.h, with `inputs` operands of i32[n] (dim NULL: of i32[]), and a result of
 * the same shape and `dtype`. The dim is the caller's. */
static inline uint32_t hb_part(host_builder *b, uint32_t kernel, uint32_t inputs, const char *dim,
                               tsr_dtype dtype) {
  static const tsr_index_step steps[] = {{TSR_INDEX_DIM, 0}, {TSR_INDEX_INT, 1}};
  static const tsr_code codes[] = {{0, 1}};
  static const tsr_port_desc ports[] = {{.name = "0", .buffer = 0}, {.name = "1", .buffer = 1}},
                             outputs[][1] = {{{.name = "0", .buffer = 0}},
                                             {{.name = "0", .buffer = 1}},
                                             {{.name = "0", .buffer = 2}}};
  static const uint32_t arguments[] = {0, 1, 2};
  static const tsr_segment_desc segments[] = {{0, 1, 0, 0}};
  tsr_program *p = &b->parts[b->program.part_count];
  tsr_buffer_desc *buffers =
      (tsr_buffer_desc *)tsr_arena_alloc_array(&b->arena, inputs + 1, sizeof *buffers);
  tsr_variant_desc *variant = (tsr_variant_desc *)tsr_arena_alloc(&b->arena, sizeof *variant);
  tsr_launch_desc *launch = (tsr_launch_desc *)tsr_arena_alloc(&b->arena, sizeof *launch);
  tsr_dim_desc *dims = (tsr_dim_desc *)tsr_arena_alloc(&b->arena, sizeof *dims);
  uint32_t rank = dim != NULL ? 1 : 0;
  *p = test_base_program();
  p->kernel_dims = NULL;
  p->kernel_dim_count = 0;
  p->kernels = (const tsr_kernel_desc *)tsr_arena_alloc(&b->arena, sizeof *p->kernels);
  *(tsr_kernel_desc *)(uintptr_t)p->kernels = test_kernels[kernel];
  p->kernel_count = 1;
  for (uint32_t i = 0; i < inputs; i++)
    buffers[i] = (tsr_buffer_desc){TSR_BUFFER_INPUT, TSR_I32, rank, 0, i};
  buffers[inputs] = (tsr_buffer_desc){TSR_BUFFER_OUTPUT, dtype, rank, 0, 0};
  *variant = (tsr_variant_desc){.kernel = 0, .grid_rank = 1, .grid = {{dim != NULL ? 0 : 1, 1}}};
  *launch = (tsr_launch_desc){0, 1, 0, inputs + 1, 0, 0};
  *dims = (tsr_dim_desc){dim, TSR_DIM_FROM_CALLER, 0, 1 << 20};
  TEST_TABLE(*p, steps, step_count, steps);
  TEST_TABLE(*p, codes, code_count, codes);
  TEST_TABLE(*p, arguments, argument_count, arguments);
  TEST_TABLE(*p, segments, segment_count, segments);
  p->argument_count = inputs + 1;
  p->step_count = 2;
  p->dims = dims;
  p->dim_count = rank;
  p->codes = codes;
  p->code_count = rank;
  if (rank == 0)
    p->steps = steps; /* the grid's number is step 1 */
  p->buffers = buffers;
  p->buffer_count = inputs + 1;
  p->inputs = ports;
  p->input_count = inputs;
  p->outputs = outputs[inputs];
  p->output_count = 1;
  p->variants = variant;
  p->variant_count = 1;
  p->launches = launch;
  p->launch_count = 1;
  return b->program.part_count++;
}

#endif
