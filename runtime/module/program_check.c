#include "runtime/module/program_check.h"
#include "runtime/cuda/image.h"
#include <string.h>
#include <tessera/runtime.h>

typedef struct checker {
  const tsr_program *program;
  uint32_t *dim_segments;
  tsr_diag *diag;
  bool part; /* of a host program */
} checker;

static tsr_status bad(const checker *self, const char *what, uint32_t index) {
  return tsr_fail(self->diag, TSR_ERR_FORMAT, "the module's tables are inconsistent: %s (entry %u)",
                  what, index);
}

static bool is_slice(uint32_t first, uint32_t count, uint32_t total) {
  return first <= total && count <= total - first;
}

bool tsr_program_is_cuda(const tsr_program *program) {
  const char *target = program->target;
  return strncmp(target, "cuda", 4) == 0 &&
         (target[4] == '\0' || target[4] == ':' || target[4] == '-');
}

int64_t tsr_program_plain_dim(const tsr_program *program, tsr_code code) {
  const tsr_index_step *step = &program->steps[code.first];
  return code.count == 1 && step->op == TSR_INDEX_DIM ? step->operand : -1;
}

void tsr_program_dim_segments(const tsr_program *program, uint32_t *out_segments) {
  for (uint32_t i = 0; i < program->dim_count; i++)
    out_segments[i] = program->dims[i].source == TSR_DIM_FROM_DEVICE ? UINT32_MAX : 0;
  for (uint32_t s = 0; s < program->segment_count; s++)
    for (uint32_t i = 0; i < program->segments[s].read_count; i++)
      out_segments[program->reads[program->segments[s].first_read + i].dim] = s + 1;
}

uint32_t tsr_program_code_segment(const tsr_program *program, tsr_code code,
                                  const uint32_t *dim_segments) {
  uint32_t segment = 0;
  for (uint32_t i = 0; i < code.count; i++) {
    const tsr_index_step *step = &program->steps[code.first + i];
    if (step->op == TSR_INDEX_DIM && dim_segments[step->operand] > segment)
      segment = dim_segments[step->operand];
  }
  return segment;
}

/* Stack discipline of one expression of at least one step. */
bool tsr_program_is_code(const tsr_program *program, tsr_code code) {
  uint32_t depth = 0;
  if (code.count == 0 || code.count > TSR_PROGRAM_MAX_CODE ||
      !is_slice(code.first, code.count, program->step_count))
    return false;
  for (uint32_t i = 0; i < code.count; i++) {
    const tsr_index_step *step = &program->steps[code.first + i];
    if (step->op == TSR_INDEX_INT)
      depth++;
    else if (step->op == TSR_INDEX_DIM && step->operand >= 0 &&
             step->operand < (int64_t)program->dim_count)
      depth++;
    else if (step->op >= TSR_INDEX_ADD && step->op < TSR_INDEX_OP_COUNT && depth >= 2)
      depth--;
    else
      return false;
    if (depth > TSR_PROGRAM_MAX_STACK)
      return false;
  }
  return depth == 1;
}

static tsr_status check_texts(const checker *self) {
  const tsr_program *p = self->program;
  if (p->target == NULL || p->precision == NULL || p->producer == NULL)
    return bad(self, "target, precision or producer is missing", 0);
  if (p->image_bytes != 0 && p->image == NULL)
    return bad(self, "the code image is missing", 0);
  return TSR_OK;
}

static tsr_status check_dims(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->dim_count; i++) {
    const tsr_dim_desc *dim = &p->dims[i];
    if (dim->name == NULL || dim->name[0] == '\0')
      return bad(self, "a symbolic dim has no name", i);
    if (dim->source > TSR_DIM_FROM_HOST)
      return bad(self, "a symbolic dim has an unknown source", i);
    if (dim->lo < 0 || dim->hi < dim->lo)
      return bad(self, "a symbolic dim's range is negative or empty", i);
  }
  return TSR_OK;
}

static tsr_status check_buffers(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->code_count; i++)
    if (!tsr_program_is_code(p, p->codes[i]))
      return bad(self, "an expression is not valid", i);
  for (uint32_t i = 0; i < p->buffer_count; i++) {
    const tsr_buffer_desc *buffer = &p->buffers[i];
    if (buffer->kind > TSR_BUFFER_TEMPORARY)
      return bad(self, "a buffer has an unknown kind", i);
    if (tsr_dtype_bits((tsr_dtype)buffer->dtype) == 0)
      return bad(self, "a buffer has an unknown dtype", i);
    if (buffer->rank > TSR_MAX_RANK || !is_slice(buffer->first_dim, buffer->rank, p->code_count))
      return bad(self, "a buffer's dims are out of range", i);
    if ((buffer->kind == TSR_BUFFER_INPUT &&
         (buffer->index >= p->input_count || p->inputs[buffer->index].buffer != i)) ||
        (buffer->kind == TSR_BUFFER_OUTPUT &&
         (buffer->index >= p->output_count || p->outputs[buffer->index].buffer != i)) ||
        (buffer->kind == TSR_BUFFER_CONSTANT && buffer->index >= p->constant_count))
      return bad(self, "a buffer names a wrong input, output or constant", i);
  }
  return TSR_OK;
}

static tsr_status check_ports(const checker *self, const tsr_port_desc *ports, uint32_t count,
                              uint32_t kind) {
  for (uint32_t i = 0; i < count; i++) {
    uint32_t buffer = ports[i].buffer;
    if (ports[i].name == NULL)
      return bad(self, "an input or output has no name", i);
    if (buffer >= self->program->buffer_count || self->program->buffers[buffer].kind != kind ||
        self->program->buffers[buffer].index != i)
      return bad(self, "an input or output names a wrong buffer", i);
  }
  return TSR_OK;
}

static bool same_code(const tsr_program *p, tsr_code a, tsr_code b) {
  return a.count == b.count && (a.count == 0 || memcmp(p->steps + a.first, p->steps + b.first,
                                                       a.count * sizeof *p->steps) == 0);
}

/* Outputs that live in an input's memory are of its dtype and shape. */
static tsr_status check_aliases(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->input_count; i++)
    if ((p->inputs[i].alias | p->inputs[i].keep) != 0)
      return bad(self, "an input lives in another's memory", i);
  for (uint32_t i = 0; i < p->output_count; i++) {
    const tsr_port_desc *port = &p->outputs[i];
    const tsr_buffer_desc *to = &p->buffers[port->buffer], *from;
    if (port->alias > p->input_count || port->keep > 1 || (port->keep != 0 && port->alias == 0))
      return bad(self, "an output lives in no input's memory", i);
    if (port->alias == 0)
      continue;
    from = &p->buffers[p->inputs[port->alias - 1].buffer];
    if (from->dtype != to->dtype || from->rank != to->rank)
      return bad(self, "an output lives in an input of another type", i);
    for (uint32_t d = 0; d < to->rank; d++)
      if (!same_code(p, p->codes[from->first_dim + d], p->codes[to->first_dim + d]))
        return bad(self, "an output lives in an input of another shape", i);
  }
  return TSR_OK;
}

static tsr_status check_constants(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->constant_count; i++)
    if (p->constants[i].bytes != 0 && p->constants[i].data == NULL)
      return bad(self, "a constant has no data", i);
  for (uint32_t i = 0; i < p->buffer_count; i++) {
    const tsr_buffer_desc *buffer = &p->buffers[i];
    int64_t count = 1, bytes;
    if (buffer->kind != TSR_BUFFER_CONSTANT)
      continue;
    for (uint32_t d = 0; d < buffer->rank; d++) {
      tsr_code code = p->codes[buffer->first_dim + d];
      int64_t dim;
      if (tsr_index_eval(p->steps + code.first, code.count, NULL, 0, &dim) != TSR_OK || dim < 0 ||
          __builtin_mul_overflow(count, dim, &count))
        return bad(self, "a constant's shape is not fixed or overflows", i);
    }
    bytes = tsr_dtype_bytes((tsr_dtype)buffer->dtype, count);
    if (bytes < 0 || (uint64_t)bytes != p->constants[buffer->index].bytes)
      return bad(self, "a constant's bytes do not fit its shape", i);
  }
  return TSR_OK;
}

/* What LDTILECFG takes without a fault: palette 1, eight tiles of at most 16 rows of 64 bytes,
 * zeros elsewhere; or nothing at all. */
static bool is_tile_config(const uint8_t *tiles) {
  enum { COLUMNS = 16, ROWS = 48, COUNT = 8, MAX_ROWS = 16, MAX_BYTES = 64 };
  bool any = false, rest = false;
  for (uint32_t i = 1; i < TSR_TILE_CONFIG_BYTES; i++) {
    const bool tile = (i >= COLUMNS && i < COLUMNS + 2 * COUNT) || (i >= ROWS && i < ROWS + COUNT);
    any = any || tiles[i] != 0;
    rest = rest || (!tile && tiles[i] != 0);
  }
  if (tiles[0] == 0)
    return !any;
  for (uint32_t i = 0; i < COUNT; i++) {
    const uint32_t bytes = tiles[COLUMNS + 2 * i] + 256u * tiles[COLUMNS + 2 * i + 1];
    if (bytes > MAX_BYTES || tiles[ROWS + i] > MAX_ROWS || (bytes == 0) != (tiles[ROWS + i] == 0))
      return false;
  }
  return tiles[0] == 1 && !rest;
}

static tsr_status check_cpu_kernel(const checker *self, uint32_t index) {
  const tsr_kernel_desc *kernel = &self->program->kernels[index];
  if (kernel->entry >= self->program->image_bytes)
    return bad(self, "a kernel starts outside the code image", index);
  if (kernel->scratch_bytes > TSR_PROGRAM_MAX_SCRATCH)
    return bad(self, "a kernel wants too much scratch memory", index);
  if (!is_tile_config(kernel->tiles))
    return bad(self, "a kernel's tile configuration is not valid", index);
  if ((kernel->symbol != NULL && kernel->symbol[0] != '\0') ||
      (kernel->threads | kernel->shared_bytes | kernel->cluster | kernel->cooperative |
       kernel->first_map | kernel->map_count) != 0)
    return bad(self, "a kernel for a CPU has the fields of a CUDA kernel", index);
  return TSR_OK;
}

static tsr_status check_cuda_kernel(const checker *self, uint32_t index) {
  const tsr_kernel_desc *kernel = &self->program->kernels[index];
  static const uint8_t no_tiles[TSR_TILE_CONFIG_BYTES];
  if (kernel->entry != 0 || kernel->scratch_bytes != 0 ||
      memcmp(kernel->tiles, no_tiles, sizeof no_tiles) != 0)
    return bad(self, "a CUDA kernel has the fields of a kernel for a CPU", index);
  if (kernel->symbol == NULL || kernel->symbol[0] == '\0')
    return bad(self, "a CUDA kernel has no symbol", index);
  if (kernel->threads == 0 || kernel->threads > TSR_PROGRAM_MAX_THREADS)
    return bad(self, "a kernel's block has no threads or too many", index);
  if (kernel->shared_bytes > TSR_PROGRAM_MAX_SHARED)
    return bad(self, "a kernel wants too much shared memory", index);
  if (kernel->cluster > TSR_PROGRAM_MAX_CLUSTER || kernel->cooperative > 1)
    return bad(self, "a kernel's cluster or cooperative mark is out of range", index);
  if (!is_slice(kernel->first_map, kernel->map_count, self->program->map_count))
    return bad(self, "a kernel's tensor maps are out of range", index);
  return TSR_OK;
}

static tsr_status check_kernels(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->kernel_dim_count; i++)
    if (p->kernel_dims[i] >= p->dim_count)
      return bad(self, "a kernel's dim does not exist", i);
  for (uint32_t i = 0; i < p->kernel_count; i++) {
    const tsr_kernel_desc *kernel = &p->kernels[i];
    if (kernel->name == NULL || kernel->nodes == NULL)
      return bad(self, "a kernel has no name", i);
    if (!is_slice(kernel->first_dim, kernel->dim_count, p->kernel_dim_count))
      return bad(self, "a kernel's dims are out of range", i);
    TSR_TRY(tsr_program_is_cuda(p) ? check_cuda_kernel(self, i) : check_cpu_kernel(self, i));
  }
  return TSR_OK;
}

static bool is_map_type(uint32_t dtype) {
  uint32_t bits = tsr_dtype_bits((tsr_dtype)dtype);
  return bits == 8 || bits == 16 || bits == 32 || bits == 64;
}

/* What cuTensorMapEncodeTiled takes, as far as it does not depend on a pointer or dims. */
static tsr_status check_map(const checker *self, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_map_desc *map = &p->maps[index];
  uint32_t row_bytes;
  if (map->rank == 0 || map->rank > sizeof map->box / sizeof map->box[0] ||
      !is_slice(map->first_dim, map->rank, p->code_count))
    return bad(self, "a tensor map's dims are out of range", index);
  if (!is_map_type(map->dtype))
    return bad(self, "a tensor map's dtype is none that it can have", index);
  if (map->swizzle != 0 && map->swizzle != 32 && map->swizzle != 64 && map->swizzle != 128)
    return bad(self, "a tensor map's swizzle is not 0, 32, 64 or 128 bytes", index);
  for (uint32_t d = 0; d < sizeof map->box / sizeof map->box[0]; d++)
    if (d < map->rank ? map->box[d] == 0 || map->box[d] > TSR_PROGRAM_MAX_BOX : map->box[d] != 0)
      return bad(self, "a tensor map's box is empty or too large", index);
  row_bytes = map->box[map->rank - 1] * (tsr_dtype_bits((tsr_dtype)map->dtype) / 8);
  if (row_bytes % 16 != 0 || (map->swizzle != 0 && row_bytes > map->swizzle))
    return bad(self,
               "a tensor map's box has rows of no multiple of 16 bytes, or longer than the "
               "swizzle",
               index);
  return TSR_OK;
}

static tsr_status check_maps(const checker *self) {
  const tsr_program *p = self->program;
  if (p->map_count != 0 && !tsr_program_is_cuda(p))
    return bad(self, "a program for a CPU has tensor maps", 0);
  for (uint32_t i = 0; i < p->map_count; i++)
    TSR_TRY(check_map(self, i));
  return TSR_OK;
}

static tsr_status check_image(const checker *self) {
  const tsr_program *p = self->program;
  const tsr_cuda_unit *units;
  uint32_t count;
  if (!tsr_program_is_cuda(p))
    return TSR_OK;
  return tsr_cuda_image_read(p->image, p->image_bytes, p->kernel_count, self->diag, &units, &count);
}

static tsr_status check_variants(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->variant_count; i++) {
    const tsr_variant_desc *variant = &p->variants[i];
    if (variant->kernel >= p->kernel_count)
      return bad(self, "a launch variant's kernel does not exist", i);
    if (variant->guard.count != 0 && !tsr_program_is_code(p, variant->guard))
      return bad(self, "a launch variant's guard is not valid", i);
    if (variant->grid_rank > sizeof variant->grid / sizeof variant->grid[0])
      return bad(self, "a launch variant's grid has too many dims", i);
    for (uint32_t d = 0; d < variant->grid_rank; d++)
      if (!tsr_program_is_code(p, variant->grid[d]))
        return bad(self, "a launch variant's grid is not valid", i);
  }
  return TSR_OK;
}

/* Cleared before the launch: results of it, whose memory is the runtime's to write. */
static tsr_status check_zeroed(const checker *self, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_launch_desc *launch = &p->launches[index];
  if (launch->zeroed_count > launch->argument_count ||
      !is_slice(launch->first_zeroed, launch->zeroed_count, p->argument_count))
    return bad(self, "a launch's cleared buffers are out of range", index);
  for (uint32_t z = 0; z < launch->zeroed_count; z++) {
    uint32_t buffer = p->arguments[launch->first_zeroed + z], a = 0;
    while (a < launch->argument_count && p->arguments[launch->first_argument + a] != buffer)
      a++;
    if (a == launch->argument_count || (p->buffers[buffer].kind != TSR_BUFFER_TEMPORARY &&
                                        p->buffers[buffer].kind != TSR_BUFFER_OUTPUT))
      return bad(self, "a launch clears a buffer that is no result of it", index);
  }
  return TSR_OK;
}

/* Whichever variant is taken, its tensor maps must find their argument. */
static tsr_status check_map_arguments(const checker *self, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_launch_desc *launch = &p->launches[index];
  for (uint32_t v = 0; v < launch->variant_count; v++) {
    const tsr_kernel_desc *kernel = &p->kernels[p->variants[launch->first_variant + v].kernel];
    for (uint32_t i = 0; i < kernel->map_count; i++)
      if (p->maps[kernel->first_map + i].argument >= launch->argument_count)
        return bad(self, "a tensor map's argument does not exist", index);
  }
  return TSR_OK;
}

static tsr_status check_launches(const checker *self) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < p->argument_count; i++)
    if (p->arguments[i] >= p->buffer_count)
      return bad(self, "a launch argument's buffer does not exist", i);
  for (uint32_t i = 0; i < p->launch_count; i++) {
    const tsr_launch_desc *launch = &p->launches[i];
    if (launch->variant_count == 0 || launch->variant_count > TSR_PROGRAM_MAX_VARIANTS ||
        !is_slice(launch->first_variant, launch->variant_count, p->variant_count))
      return bad(self, "a launch's variants are out of range", i);
    if (p->variants[launch->first_variant + launch->variant_count - 1].guard.count != 0)
      return bad(self, "a launch's last variant has a guard", i);
    if (launch->argument_count > TSR_PROGRAM_MAX_ARGUMENTS ||
        !is_slice(launch->first_argument, launch->argument_count, p->argument_count))
      return bad(self, "a launch's arguments are out of range", i);
    TSR_TRY(check_zeroed(self, i));
    TSR_TRY(check_map_arguments(self, i));
  }
  return TSR_OK;
}

static tsr_status check_reads(const checker *self, const tsr_segment_desc *segment) {
  const tsr_program *p = self->program;
  for (uint32_t i = 0; i < segment->read_count; i++) {
    const tsr_dim_read *read = &p->reads[segment->first_read + i];
    if (read->dim >= p->dim_count || p->dims[read->dim].source != TSR_DIM_FROM_DEVICE)
      return bad(self, "a read names a wrong dim", segment->first_read + i);
    if (read->buffer >= p->buffer_count || p->buffers[read->buffer].dtype != TSR_I64)
      return bad(self, "a read names a wrong buffer", segment->first_read + i);
  }
  return TSR_OK;
}

static tsr_status check_segments(const checker *self) {
  const tsr_program *p = self->program;
  uint32_t launches = 0, reads = 0;
  for (uint32_t i = 0; i < p->segment_count; i++) {
    const tsr_segment_desc *segment = &p->segments[i];
    if (segment->first_launch != launches || segment->launch_count > p->launch_count - launches ||
        segment->first_read != reads || segment->read_count > p->read_count - reads)
      return bad(self, "segments do not follow each other", i);
    launches += segment->launch_count;
    reads += segment->read_count;
    TSR_TRY(check_reads(self, segment));
  }
  if (launches != p->launch_count || reads != p->read_count)
    return bad(self, "a launch or read is in no segment", p->segment_count);
  return TSR_OK;
}

/* Dims from inputs must be bound by an input, others read once. */
static tsr_status check_dim_sources(const checker *self) {
  const tsr_program *p = self->program;
  uint32_t *bound = self->dim_segments;
  memset(bound, 0, p->dim_count * sizeof *bound);
  for (uint32_t i = 0; i < p->input_count; i++) {
    const tsr_buffer_desc *buffer = &p->buffers[p->inputs[i].buffer];
    for (uint32_t d = 0; d < buffer->rank; d++) {
      int64_t dim = tsr_program_plain_dim(p, p->codes[buffer->first_dim + d]);
      if (dim >= 0 && p->dims[dim].source == TSR_DIM_FROM_INPUT)
        bound[dim] = 1;
    }
  }
  for (uint32_t i = 0; i < p->dim_count; i++) {
    bound[i] |= p->dims[i].source == TSR_DIM_FROM_CALLER;
    if (p->dims[i].source > (self->part ? TSR_DIM_FROM_CALLER : TSR_DIM_FROM_DEVICE))
      return bad(self, "a symbolic dim has a source that only other programs have", i);
  }
  for (uint32_t i = 0; i < p->read_count; i++)
    if (++bound[p->reads[i].dim] > 1)
      return bad(self, "a dim is read twice", i);
  for (uint32_t i = 0; i < p->dim_count; i++)
    if (bound[i] == 0)
      return bad(self, "a symbolic dim is bound by no input and no read", i);
  return TSR_OK;
}

static uint32_t buffer_segment(const checker *self, uint32_t index) {
  const tsr_buffer_desc *buffer = &self->program->buffers[index];
  uint32_t segment = 0;
  for (uint32_t d = 0; d < buffer->rank; d++) {
    uint32_t known = tsr_program_code_segment(
        self->program, self->program->codes[buffer->first_dim + d], self->dim_segments);
    segment = known > segment ? known : segment;
  }
  return segment;
}

static uint32_t map_segment(const checker *self, const tsr_map_desc *map) {
  uint32_t segment = 0;
  for (uint32_t d = 0; d < map->rank; d++) {
    uint32_t known = tsr_program_code_segment(
        self->program, self->program->codes[map->first_dim + d], self->dim_segments);
    segment = known > segment ? known : segment;
  }
  return segment;
}

static uint32_t variant_segment(const checker *self, const tsr_variant_desc *variant) {
  const tsr_program *p = self->program;
  const tsr_kernel_desc *kernel = &p->kernels[variant->kernel];
  uint32_t segment = tsr_program_code_segment(p, variant->guard, self->dim_segments);
  for (uint32_t d = 0; d < variant->grid_rank; d++) {
    uint32_t known = tsr_program_code_segment(p, variant->grid[d], self->dim_segments);
    segment = known > segment ? known : segment;
  }
  for (uint32_t d = 0; d < kernel->dim_count; d++) {
    uint32_t known = self->dim_segments[p->kernel_dims[kernel->first_dim + d]];
    segment = known > segment ? known : segment;
  }
  for (uint32_t i = 0; i < kernel->map_count; i++) {
    uint32_t known = map_segment(self, &p->maps[kernel->first_map + i]);
    segment = known > segment ? known : segment;
  }
  return segment;
}

static tsr_status check_segment_order(const checker *self, const uint32_t *buffer_segments,
                                      const uint32_t *variant_segments, uint32_t index) {
  const tsr_program *p = self->program;
  const tsr_segment_desc *segment = &p->segments[index];
  for (uint32_t i = 0; i < segment->launch_count; i++) {
    const tsr_launch_desc *launch = &p->launches[segment->first_launch + i];
    for (uint32_t v = 0; v < launch->variant_count; v++)
      if (variant_segments[launch->first_variant + v] > index)
        return bad(self, "a launch uses a dim before it is known", segment->first_launch + i);
    for (uint32_t a = 0; a < launch->argument_count; a++)
      if (buffer_segments[p->arguments[launch->first_argument + a]] > index)
        return bad(self, "a launch uses a buffer before its size is known",
                   segment->first_launch + i);
  }
  for (uint32_t i = 0; i < segment->read_count; i++)
    if (buffer_segments[p->reads[segment->first_read + i].buffer] > index)
      return bad(self, "a read uses a buffer before its size is known", segment->first_read + i);
  return TSR_OK;
}

static tsr_status check_order(const checker *self, tsr_arena *scratch) {
  const tsr_program *p = self->program;
  uint32_t *buffers = (uint32_t *)tsr_arena_alloc_array(scratch, p->buffer_count, sizeof *buffers);
  uint32_t *variants =
      (uint32_t *)tsr_arena_alloc_array(scratch, p->variant_count, sizeof *variants);
  if (buffers == NULL || variants == NULL)
    return tsr_fail(self->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while checking a module");
  tsr_program_dim_segments(p, self->dim_segments);
  for (uint32_t i = 0; i < p->buffer_count; i++) {
    buffers[i] = buffer_segment(self, i);
    if (p->buffers[i].kind == TSR_BUFFER_INPUT && buffers[i] != 0)
      return bad(self, "an input's shape depends on results", i);
  }
  for (uint32_t i = 0; i < p->variant_count; i++)
    variants[i] = variant_segment(self, &p->variants[i]);
  for (uint32_t i = 0; i < p->segment_count; i++)
    TSR_TRY(check_segment_order(self, buffers, variants, i));
  return TSR_OK;
}

static tsr_status check_checks(const checker *self) {
  for (uint32_t i = 0; i < self->program->check_count; i++) {
    const tsr_check_desc *check = &self->program->checks[i];
    if (check->text == NULL || !tsr_program_is_code(self->program, check->holds))
      return bad(self, "a check has no text or no valid expression", i);
  }
  return TSR_OK;
}

static tsr_status check_no_host_tables(const checker *self) {
  const tsr_program *p = self->program;
  if ((p->host_value_count | p->host_step_count | p->host_region_count | p->host_constant_count |
       p->host_number_count | p->host_text_count | p->text_count | p->part_count) != 0)
    return bad(self, "a program that is no host program has tables of one", 0);
  return TSR_OK;
}

/* What host programs and others have. */
static tsr_status check_common(const checker *self) {
  TSR_TRY(check_texts(self));
  TSR_TRY(check_dims(self));
  TSR_TRY(check_buffers(self));
  return check_constants(self);
}

static tsr_status check_kernel_program(const tsr_program *program, bool part, tsr_arena *scratch,
                                       tsr_diag *diag) {
  checker self = {program, NULL, diag, part};
  self.dim_segments =
      (uint32_t *)tsr_arena_alloc_array(scratch, program->dim_count, sizeof *self.dim_segments);
  if (self.dim_segments == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while checking a module");
  TSR_TRY(check_common(&self));
  TSR_TRY(check_no_host_tables(&self));
  TSR_TRY(check_ports(&self, program->inputs, program->input_count, TSR_BUFFER_INPUT));
  TSR_TRY(check_ports(&self, program->outputs, program->output_count, TSR_BUFFER_OUTPUT));
  TSR_TRY(check_aliases(&self));
  TSR_TRY(check_maps(&self));
  TSR_TRY(check_kernels(&self));
  TSR_TRY(check_image(&self));
  TSR_TRY(check_variants(&self));
  TSR_TRY(check_launches(&self));
  TSR_TRY(check_segments(&self));
  TSR_TRY(check_checks(&self));
  TSR_TRY(check_dim_sources(&self));
  return check_order(&self, scratch);
}

tsr_status tsr_program_check(const tsr_program *program, tsr_arena *scratch, tsr_diag *diag) {
  checker self = {program, NULL, diag, false};
  if (program->host_region_count == 0)
    return check_kernel_program(program, false, scratch, diag);
  TSR_TRY(check_common(&self));
  for (uint32_t i = 0; i < program->part_count; i++)
    TSR_TRY(check_kernel_program(&program->parts[i], true, scratch, diag));
  return tsr_host_check(program, scratch, diag);
}
