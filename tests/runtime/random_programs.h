/* Random programs of several segments, and a plain interpreter that gives every buffer its own
 * memory. The kernels are those of programs.h. */
#ifndef TESTS_RUNTIME_RANDOM_PROGRAMS_H
#define TESTS_RUNTIME_RANDOM_PROGRAMS_H
#include "tests/runtime/programs.h"
#include <check.h>

enum { MOST_DIMS = 5, MOST_BUFFERS = 60, MOST_LAUNCHES = 40, INPUT_MOST = 300 };

typedef struct generator {
  uint64_t random;
  tsr_index_step steps[MOST_DIMS + 1];
  tsr_code codes[MOST_DIMS];
  tsr_dim_desc dims[MOST_DIMS];
  tsr_buffer_desc buffers[MOST_BUFFERS];
  tsr_port_desc inputs[1], outputs[MOST_BUFFERS];
  tsr_variant_desc variants[MOST_LAUNCHES];
  tsr_launch_desc launches[MOST_LAUNCHES];
  uint32_t arguments[MOST_LAUNCHES * 3];
  tsr_segment_desc segments[MOST_DIMS];
  tsr_dim_read reads[MOST_DIMS];
  tsr_program program;
  uint32_t known_dims; /* usable so far */
} generator;

static uint32_t pick(generator *self, uint32_t below) {
  self->random = self->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(self->random >> 33) % below;
}

static uint32_t new_buffer(generator *self, uint32_t dim) {
  tsr_program *p = &self->program;
  tsr_buffer_desc *buffer = &self->buffers[p->buffer_count];
  *buffer = (tsr_buffer_desc){TSR_BUFFER_TEMPORARY, TSR_I32, 1, dim, 0};
  if (pick(self, 6) == 0) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    if (p->output_count < TEST_LENGTH(names)) {
      buffer->kind = TSR_BUFFER_OUTPUT;
      buffer->index = p->output_count;
      self->outputs[p->output_count] =
          (tsr_port_desc){.name = names[p->output_count], .buffer = p->buffer_count};
      p->output_count++;
    }
  }
  return p->buffer_count++;
}

static void new_launch(generator *self, uint32_t kernel, uint32_t grid_code,
                       const uint32_t *arguments, uint32_t count) {
  tsr_program *p = &self->program;
  self->variants[p->variant_count] =
      (tsr_variant_desc){{0, 0}, kernel, 1, {{self->codes[grid_code].first, 1}}};
  self->launches[p->launch_count] =
      (tsr_launch_desc){p->variant_count++, 1, p->argument_count, count, 0, 0};
  for (uint32_t i = 0; i < count; i++)
    self->arguments[p->argument_count++] = arguments[i];
  p->launch_count++;
}

/* Any earlier buffer of that dim; there always is one for dim 0. */
static int find_buffer(generator *self, uint32_t dim) {
  uint32_t start = pick(self, self->program.buffer_count);
  for (uint32_t i = 0; i < self->program.buffer_count; i++) {
    uint32_t index = (start + i) % self->program.buffer_count;
    if (self->buffers[index].rank == 1 && self->buffers[index].first_dim == dim)
      return (int)index;
  }
  return -1;
}

static void add_random_launch(generator *self) {
  uint32_t dim = pick(self, self->known_dims), arguments[3], kind = pick(self, 3);
  int a = find_buffer(self, dim), b = find_buffer(self, dim);
  if (a < 0 || kind == 0) { /* a shorter copy of a buffer of dim 0 */
    arguments[0] = (uint32_t)find_buffer(self, 0);
    arguments[1] = new_buffer(self, dim);
    new_launch(self, COPY, dim, arguments, 2);
  } else if (kind == 1) {
    arguments[0] = (uint32_t)a;
    arguments[1] = new_buffer(self, dim);
    new_launch(self, pick(self, 2) == 0 ? ADD_ONE : ADD_HUNDRED, dim, arguments, 2);
  } else {
    arguments[0] = (uint32_t)a;
    arguments[1] = (uint32_t)b;
    arguments[2] = new_buffer(self, dim);
    new_launch(self, SUM, dim, arguments, 3);
  }
}

/* One launch that counts, whose result is the next dim. The grid code of one task is the last. */
static void add_count(generator *self, uint32_t dim) {
  tsr_program *p = &self->program;
  uint32_t arguments[2] = {(uint32_t)find_buffer(self, 0), p->buffer_count};
  self->buffers[p->buffer_count++] = (tsr_buffer_desc){TSR_BUFFER_TEMPORARY, TSR_I64, 0, 0, 0};
  new_launch(self, COUNT, 0, arguments, 2);
  self->variants[p->variant_count - 1].grid[0].first = MOST_DIMS;
  self->reads[p->read_count++] = (tsr_dim_read){dim, arguments[1], 0};
}

static void generate(generator *self, uint64_t seed) {
  static const char *const names[MOST_DIMS] = {"N", "M1", "M2", "M3", "M4"};
  tsr_program *p = &self->program;
  uint32_t dims;
  memset(self, 0, sizeof *self);
  self->random = seed;
  dims = 1 + pick(self, MOST_DIMS);
  *p = test_base_program();
  for (uint32_t i = 0; i < MOST_DIMS; i++) {
    self->steps[i] = (tsr_index_step){TSR_INDEX_DIM, i};
    self->codes[i] = (tsr_code){i, 1};
    self->dims[i] = (tsr_dim_desc){names[i], i != 0, 0, INPUT_MOST};
  }
  self->steps[MOST_DIMS] = (tsr_index_step){TSR_INDEX_INT, 1};
  self->buffers[p->buffer_count++] = (tsr_buffer_desc){TSR_BUFFER_INPUT, TSR_I32, 1, 0, 0};
  self->inputs[0] = (tsr_port_desc){.name = "x", .buffer = 0};
  for (uint32_t s = 0; s < dims; s++) {
    uint32_t first = p->launch_count, reads = p->read_count, count = pick(self, 7);
    self->known_dims = s + 1;
    for (uint32_t i = 0; i < count; i++)
      add_random_launch(self);
    if (s + 1 < dims)
      add_count(self, s + 1);
    self->segments[s] =
        (tsr_segment_desc){first, p->launch_count - first, reads, p->read_count - reads};
  }
  p->steps = self->steps;
  p->step_count = MOST_DIMS + 1;
  p->codes = self->codes;
  p->code_count = dims;
  p->dims = self->dims;
  p->dim_count = dims;
  p->buffers = self->buffers;
  p->inputs = self->inputs;
  p->input_count = 1;
  p->outputs = self->outputs;
  p->variants = self->variants;
  p->launches = self->launches;
  p->arguments = self->arguments;
  p->segments = self->segments;
  p->segment_count = dims;
  p->reads = self->reads;
}

/* The same program without sharing of memory, in C. */
typedef struct interpreter {
  int32_t values[MOST_BUFFERS][INPUT_MOST];
  int64_t counts[MOST_BUFFERS];
  int64_t dims[MOST_DIMS];
} interpreter;

static void interpret_launch(interpreter *self, const generator *from, uint32_t index) {
  const tsr_launch_desc *launch = &from->launches[index];
  const tsr_variant_desc *variant = &from->variants[launch->first_variant];
  const uint32_t *arguments = &from->arguments[launch->first_argument];
  const int32_t *a = self->values[arguments[0]], *b = self->values[arguments[1]];
  uint32_t out = arguments[launch->argument_count - 1];
  int64_t n = variant->kernel == COUNT ? self->dims[0] : self->dims[variant->grid[0].first];
  self->counts[out] = 0;
  for (int64_t i = 0; i < n; i++) {
    if (variant->kernel == COUNT)
      self->counts[out] += a[i] != 0;
    else if (variant->kernel == SUM)
      self->values[out][i] = (int32_t)((uint32_t)a[i] + (uint32_t)b[i]);
    else
      self->values[out][i] = a[i] + (variant->kernel == ADD_ONE       ? 1
                                     : variant->kernel == ADD_HUNDRED ? 100
                                                                      : 0);
  }
}

static void interpret(interpreter *self, const generator *from, const int32_t *x, int64_t n) {
  self->dims[0] = n;
  if (n != 0)
    memcpy(self->values[0], x, (size_t)n * sizeof *x);
  for (uint32_t s = 0; s < from->program.segment_count; s++) {
    const tsr_segment_desc *segment = &from->segments[s];
    for (uint32_t i = 0; i < segment->launch_count; i++)
      interpret_launch(self, from, segment->first_launch + i);
    for (uint32_t i = 0; i < segment->read_count; i++) {
      const tsr_dim_read *read = &from->reads[segment->first_read + i];
      self->dims[read->dim] = self->counts[read->buffer];
    }
  }
}

static void compare(tsr_exec *exec, const generator *from, const interpreter *expected) {
  for (uint32_t i = 0; i < from->program.output_count; i++) {
    uint32_t buffer = from->outputs[i].buffer;
    int64_t n = expected->dims[from->buffers[buffer].first_dim];
    DLTensor view;
    ck_assert_int_eq(tsr_exec_output(exec, i, &view), TSR_OK);
    ck_assert_int_eq(view.shape[0], n);
    if (n != 0)
      ck_assert_mem_eq(view.data, expected->values[buffer], (size_t)n * sizeof(int32_t));
  }
}

/* On `n` random numbers. */
static void run_random(tsr_exec *exec, generator *from, interpreter *expected, int64_t n) {
  int32_t x[INPUT_MOST];
  DLTensor tensor = test_tensor(x, TSR_I32, &n, 1);
  for (int64_t i = 0; i < INPUT_MOST; i++)
    x[i] = pick(from, 3) == 0 ? 0 : (int32_t)pick(from, 1000);
  interpret(expected, from, x, n);
  ck_assert_int_eq(tsr_exec_bind_input(exec, 0, &tensor), TSR_OK);
  ck_assert_msg(tsr_exec_run(exec) == TSR_OK, "%s", tsr_exec_last_error(exec));
  compare(exec, from, expected);
}

#endif
