#include "runtime/cuda/cuda_exec.h"
#include <stdio.h>
#include <string.h>

enum { MAP_ALIGNMENT = 64, MAX_GRID_Y = 65535, SHOWN_SUSPECTS = 4 };

/* ---- Tables ---- */

/* The most dims and maps that any variant of the launch passes. */
static void largest_kernel(const tsr_program *p, const tsr_launch_desc *launch, uint32_t *out_dims,
                           uint32_t *out_maps) {
  *out_dims = *out_maps = 0;
  for (uint32_t v = 0; v < launch->variant_count; v++) {
    const tsr_kernel_desc *kernel = &p->kernels[p->variants[launch->first_variant + v].kernel];
    *out_dims = kernel->dim_count > *out_dims ? kernel->dim_count : *out_dims;
    *out_maps = kernel->map_count > *out_maps ? kernel->map_count : *out_maps;
  }
}

static tsr_cu_tensor_map *allocate_maps(tsr_arena *arena, uint32_t count) {
  unsigned char *bytes = (unsigned char *)tsr_arena_alloc(
      arena, (size_t)count * sizeof(tsr_cu_tensor_map) + MAP_ALIGNMENT);
  if (bytes == NULL)
    return NULL;
  bytes += (MAP_ALIGNMENT - (uintptr_t)bytes % MAP_ALIGNMENT) % MAP_ALIGNMENT;
  return (tsr_cu_tensor_map *)(void *)bytes;
}

static tsr_status create_launch(tsr_exec *exec, exec_launch *launch) {
  cuda_launch *self = (cuda_launch *)tsr_arena_alloc(&exec->memory, sizeof *self);
  uint32_t dims, maps;
  if (self == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  largest_kernel(exec->program, launch->desc, &dims, &maps);
  self->parameters = (void **)tsr_arena_alloc_array(
      &exec->memory, (size_t)launch->desc->argument_count + dims + 1 + maps,
      sizeof *self->parameters);
  self->maps = allocate_maps(&exec->memory, maps);
  if (self->parameters == NULL || self->maps == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  launch->cuda = self;
  return TSR_OK;
}

tsr_status tsr_cuda_create_launches(tsr_exec *exec) {
  for (uint32_t i = 0; i < exec->program->launch_count; i++)
    if (create_launch(exec, &exec->launches[i]) != TSR_OK)
      return tsr_fail(&exec->cuda->diag, TSR_ERR_OUT_OF_MEMORY,
                      "out of memory while creating an exec");
  return TSR_OK;
}

/* ---- Linking ---- */

static tsr_status eval_map(tsr_exec *exec, const tsr_kernel_desc *kernel, const tsr_map_desc *map,
                           int64_t out_dims[5]) {
  const tsr_program *p = exec->program;
  for (uint32_t d = 0; d < map->rank; d++) {
    tsr_code code = p->codes[map->first_dim + d];
    if (tsr_index_eval(p->steps + code.first, code.count, exec->dims, p->dim_count, &out_dims[d]) !=
        TSR_OK)
      return tsr_fail(&exec->cuda->diag, TSR_ERR_SHAPE,
                      "kernel '%.100s': an extent of a tensor map overflows", kernel->name);
  }
  return TSR_OK;
}

static const exec_buffer *map_buffer(const tsr_exec *exec, const exec_launch *launch,
                                     const tsr_map_desc *map) {
  return &exec->buffers[exec->program->arguments[launch->desc->first_argument + map->argument]];
}

tsr_status tsr_cuda_maps_fit(tsr_exec *exec, const exec_launch *launch, bool *out_fit) {
  const tsr_kernel_desc *kernel = &exec->program->kernels[launch->kernel];
  int64_t dims[5];
  *out_fit = true;
  for (uint32_t i = 0; i < kernel->map_count && *out_fit; i++) {
    const tsr_map_desc *map = &exec->program->maps[kernel->first_map + i];
    TSR_TRY(eval_map(exec, kernel, map, dims));
    *out_fit = tsr_cuda_map_fits(map, dims, map_buffer(exec, launch, map)->bytes);
  }
  return TSR_OK;
}

static tsr_status encode_maps(tsr_exec *exec, exec_launch *launch) {
  const tsr_kernel_desc *kernel = &exec->program->kernels[launch->kernel];
  int64_t dims[5];
  for (uint32_t i = 0; i < kernel->map_count; i++) {
    const tsr_map_desc *map = &exec->program->maps[kernel->first_map + i];
    const exec_buffer *buffer = map_buffer(exec, launch, map);
    TSR_TRY(eval_map(exec, kernel, map, dims));
    TSR_TRY(tsr_cuda_encode_map(exec->cuda->device, map, dims, buffer->pointer, buffer->bytes,
                                kernel->name, &exec->cuda->diag, &launch->cuda->maps[i]));
  }
  return TSR_OK;
}

static void set_parameters(exec_launch *launch, const tsr_kernel_desc *kernel) {
  cuda_launch *self = launch->cuda;
  void **next = self->parameters;
  for (uint32_t i = 0; i < launch->desc->argument_count; i++)
    *next++ = &launch->buffers[i];
  for (uint32_t i = 0; i < kernel->dim_count; i++)
    *next++ = &launch->dims[i];
  *next++ = &self->tasks;
  for (uint32_t i = 0; i < kernel->map_count; i++)
    *next++ = &self->maps[i];
}

bool tsr_cuda_grid(int64_t tasks, uint32_t cluster_blocks, uint32_t out_grid[3]) {
  int64_t cluster = cluster_blocks > 1 ? cluster_blocks : 1;
  int64_t widest = INT32_MAX / cluster * cluster, blocks, rows;
  if (__builtin_add_overflow(tasks, cluster - 1, &blocks))
    blocks = INT64_MAX;
  blocks = blocks / cluster * cluster;
  rows = blocks / widest + (blocks % widest != 0);
  out_grid[0] = (uint32_t)(rows > 1 ? widest : blocks);
  out_grid[1] = (uint32_t)rows;
  out_grid[2] = 1;
  return rows <= MAX_GRID_Y;
}

static tsr_status set_grid(cuda_exec *self, cuda_launch *launch, const tsr_kernel_desc *kernel) {
  if (tsr_cuda_grid(launch->tasks, kernel->cluster, launch->config.grid))
    return TSR_OK;
  return tsr_fail(&self->diag, TSR_ERR_SHAPE,
                  "kernel '%.100s': %lld tasks are more than a grid can have", kernel->name,
                  (long long)launch->tasks);
}

static void set_attributes(cuda_launch *launch, const tsr_kernel_desc *kernel) {
  uint32_t count = 0;
  memset(launch->attributes, 0, sizeof launch->attributes);
  if (kernel->cluster > 1) {
    tsr_cu_launch_attribute *attribute = &launch->attributes[count++];
    attribute->id = TSR_CU_LAUNCH_CLUSTER;
    attribute->value.cluster[0] = kernel->cluster;
    attribute->value.cluster[1] = attribute->value.cluster[2] = 1;
  }
  if (kernel->cooperative != 0) {
    tsr_cu_launch_attribute *attribute = &launch->attributes[count++];
    attribute->id = TSR_CU_LAUNCH_COOPERATIVE;
    attribute->value.cooperative = 1;
  }
  launch->config.attributes = count != 0 ? launch->attributes : NULL;
  launch->config.attribute_count = count;
}

/* All blocks of a cooperative grid are resident at once, or the driver refuses; here with numbers.
 * How many clusters fit, the driver alone knows. */
static tsr_status check_residence(cuda_exec *self, const cuda_launch *launch,
                                  const tsr_kernel_desc *kernel) {
  int blocks = 0;
  int64_t most, wanted = (int64_t)launch->config.grid[0] * launch->config.grid[1];
  if (kernel->cooperative == 0 || kernel->cluster > 1)
    return TSR_OK;
  TSR_TRY(tsr_cuda_check(self->device, &self->diag,
                         self->device->driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(
                             &blocks, launch->function, (int)kernel->threads, kernel->shared_bytes),
                         "cannot ask how many blocks fit"));
  most = (int64_t)blocks * self->device->multiprocessors;
  if (wanted <= most)
    return TSR_OK;
  return tsr_fail(&self->diag, TSR_ERR_DEVICE,
                  "kernel '%.100s' needs %lld blocks at the same time, device %d, %s, holds %lld; "
                  "compile for this device",
                  kernel->name, (long long)wanted, (int)self->device->ordinal, self->device->name,
                  (long long)most);
}

tsr_status tsr_cuda_link(tsr_exec *exec, exec_launch *launch) {
  cuda_exec *self = exec->cuda;
  const tsr_kernel_desc *kernel = &exec->program->kernels[launch->kernel];
  cuda_launch *to = launch->cuda;
  to->tasks = launch->tasks;
  if (launch->tasks == 0)
    return TSR_OK;
  TSR_TRY(tsr_cuda_program_function(self->program, launch->kernel, &self->diag, &to->function));
  TSR_TRY(set_grid(self, to, kernel));
  to->config.block[0] = kernel->threads;
  to->config.block[1] = to->config.block[2] = 1;
  to->config.shared_bytes = kernel->shared_bytes;
  to->config.stream = self->stream;
  set_attributes(to, kernel);
  set_parameters(launch, kernel);
  TSR_TRY(check_residence(self, to, kernel));
  return encode_maps(exec, launch);
}

/* ---- Launching ---- */

tsr_status tsr_cuda_clear(cuda_exec *self, void *data, uint64_t bytes) {
  return tsr_cuda_check(
      self->device, &self->diag,
      self->device->driver.cuMemsetD8Async((tsr_cu_pointer)(uintptr_t)data, 0, bytes, self->stream),
      "cannot clear memory of the CUDA device");
}

cuda_exec *tsr_cuda_whole(const tsr_exec *exec) {
  return exec->parent != NULL ? exec->parent->cuda : exec->cuda;
}

void tsr_cuda_note_launch(const tsr_exec *exec, uint32_t launch) {
  cuda_exec *whole = tsr_cuda_whole(exec);
  whole->recent[whole->launched++ % CUDA_RECENT] = (cuda_recent){exec, launch};
}

void tsr_cuda_suspects(const tsr_exec *exec, char *out, size_t size) {
  const cuda_exec *self = tsr_cuda_whole(exec);
  uint64_t kept = self->launched < CUDA_RECENT ? self->launched : CUDA_RECENT;
  uint64_t shown = kept < SHOWN_SUSPECTS ? kept : SHOWN_SUSPECTS;
  size_t used = 0;
  out[0] = '\0';
  for (uint64_t i = 0; i < shown && used < size; i++) {
    const cuda_recent *recent = &self->recent[(self->launched - 1 - i) % CUDA_RECENT];
    const exec_launch *launch = &recent->exec->launches[recent->launch];
    const tsr_kernel_desc *kernel = &recent->exec->program->kernels[launch->kernel];
    int length = snprintf(out + used, size - used, "%skernel '%.80s' (%.80s)", i != 0 ? ", " : "",
                          kernel->name, kernel->nodes);
    used += length > 0 ? (size_t)length : 0;
  }
  if (self->launched > shown && used < size)
    (void)snprintf(out + used, size - used, " and %llu launches before",
                   (unsigned long long)(self->launched - shown));
}

tsr_status tsr_cuda_synchronize(tsr_exec *exec, const char *what) {
  cuda_exec *self = exec->cuda;
  TSR_TRY(tsr_cuda_check(self->device, &self->diag,
                         self->device->driver.cuStreamSynchronize(self->stream), what));
  tsr_cuda_whole(exec)->launched = 0;
  return TSR_OK;
}

static tsr_status clear_results(tsr_exec *exec, const exec_launch *launch) {
  for (uint32_t i = 0; i < launch->desc->zeroed_count; i++) {
    uint32_t buffer = exec->program->arguments[launch->desc->first_zeroed + i];
    if (exec->buffers[buffer].bytes != 0)
      TSR_TRY(
          tsr_cuda_clear(exec->cuda, exec->buffers[buffer].pointer, exec->buffers[buffer].bytes));
  }
  return TSR_OK;
}

static tsr_status launch_kernel(tsr_exec *exec, const exec_launch *launch) {
  cuda_exec *self = exec->cuda;
  const tsr_kernel_desc *kernel = &exec->program->kernels[launch->kernel];
  char what[300];
  tsr_cu_result result = self->device->driver.cuLaunchKernelEx(
      &launch->cuda->config, launch->cuda->function, launch->cuda->parameters, NULL);
  if (result == 0)
    return TSR_OK;
  (void)snprintf(what, sizeof what, "cannot launch kernel '%.100s' (%.100s)", kernel->name,
                 kernel->nodes);
  return tsr_cuda_check(self->device, &self->diag, result, what);
}

tsr_status tsr_cuda_launch(tsr_exec *exec, const exec_launch *launch) {
  TSR_TRY(clear_results(exec, launch));
  if (launch->tasks == 0)
    return TSR_OK;
  return launch_kernel(exec, launch);
}
