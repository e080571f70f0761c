/* Modules made of kernel texts, functions, launches, tensor maps. */
#include "tests/cuda_emulator/driver/state.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text_mark[] = "tessera-cuda-text sm_";

/* The options of a load that matter here: CU_JIT_ERROR_LOG_BUFFER and its size. */
enum { OPTION_ERROR_LOG = 5, OPTION_ERROR_LOG_BYTES = 6 };

static void write_log(const char *text, unsigned count, const int *options, void *const *values) {
  char *log = NULL;
  size_t bytes = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == OPTION_ERROR_LOG)
      log = values[i];
    if (options[i] == OPTION_ERROR_LOG_BYTES)
      bytes = (size_t)(uintptr_t)values[i];
  }
  if (log && bytes > 0)
    snprintf(log, bytes, "%s", text);
}

/* "sm_80" runs on all that is as new or newer, "sm_90a" on 90 alone. */
static bool runs_on(const char *text, int capability, const char **out_body) {
  char *end;
  long wanted = strtol(text, &end, 10);
  bool specific = *end == 'a';
  end += specific;
  *out_body = end + 1;
  return *end == '\n' && (specific ? wanted == capability : wanted <= capability);
}

EXPORT tsr_cu_result cuModuleLoadDataEx(tsr_cu_module *out_module, const void *image,
                                        unsigned option_count, int *options, void **values) {
  ENTER();
  context *c;
  *out_module = NULL;
  TRY(current_context(&c));
  const char *text = image, *kernels;
  if (!image)
    return EMULATED_INVALID_VALUE;
  if (strncmp(text, text_mark, sizeof(text_mark) - 1) != 0)
    return refuse(EMULATED_NO_BINARY_FOR_GPU, "an image that is no kernel text");
  int capability = the_driver.devices[c->device].capability;
  if (!runs_on(text + sizeof(text_mark) - 1, capability, &kernels))
    return refuse(EMULATED_NO_BINARY_FOR_GPU, "a text for '%.*s' on a device of capability %d",
                  (int)strcspn(text, "\n"), text, capability);
  if (!tsr_emulator_compile(c->emulator, kernels)) {
    write_log(tsr_emulator_error(c->emulator), option_count, options, values);
    return refuse(EMULATED_INVALID_IMAGE, "%s", tsr_emulator_error(c->emulator));
  }
  tsr_cu_module module = object_make(OBJECT_MODULE, sizeof(*module), c);
  if (module)
    module->text = strdup(kernels);
  if (!module || !module->text)
    return EMULATED_OUT_OF_MEMORY;
  *out_module = module;
  return 0;
}

EXPORT tsr_cu_result cuModuleUnload(tsr_cu_module module) {
  ENTER();
  TRY(object_check(module, OBJECT_MODULE));
  context *c = module->object.owner;
  TRY(not_while_capturing());
  run_all(c);
  for (object *o = NULL, *next; (next = object_next(o, OBJECT_FUNCTION, c)) != NULL;) {
    if (((tsr_cu_function)next)->module == module) {
      object_free(next);
      o = NULL;
    } else {
      o = next;
    }
  }
  free(module->text);
  object_free(module);
  return 0;
}

EXPORT tsr_cu_result cuModuleGetFunction(tsr_cu_function *out_function, tsr_cu_module module,
                                         const char *name) {
  ENTER();
  *out_function = NULL;
  TRY(object_check(module, OBJECT_MODULE));
  context *c = module->object.owner;
  for (object *o = NULL; (o = object_next(o, OBJECT_FUNCTION, c)) != NULL;)
    if (((tsr_cu_function)o)->module == module &&
        strcmp(((tsr_cu_function)o)->about.name, name) == 0) {
      *out_function = (tsr_cu_function)o;
      return 0;
    }
  const tsr_emulated_kernel *kernel = tsr_emulator_kernel(c->emulator, module->text, name);
  if (!kernel)
    return refuse(EMULATED_NOT_FOUND, "%s", tsr_emulator_error(c->emulator));
  tsr_cu_function function = object_make(OBJECT_FUNCTION, sizeof(*function), c);
  if (!function)
    return EMULATED_OUT_OF_MEMORY;
  function->module = module;
  function->kernel = kernel;
  function->about = tsr_emulated_kernel_about(kernel);
  function->shared_limit = DEFAULT_SHARED_LIMIT;
  *out_function = function;
  return 0;
}

EXPORT tsr_cu_result cuFuncSetAttribute(tsr_cu_function function, int attribute, int value) {
  ENTER();
  TRY(object_check(function, OBJECT_FUNCTION));
  uint32_t limit = tsr_emulator_shared_limit(function->object.owner->emulator);
  switch (attribute) {
  case TSR_CU_FUNCTION_MAX_DYNAMIC_SHARED:
    if (value < 0 || (uint32_t)value > limit)
      return refuse(EMULATED_INVALID_VALUE, "%s: %d bytes of shared memory, the device has %u",
                    function->about.name, value, limit);
    function->shared_limit = (uint32_t)value;
    return 0;
  case TSR_CU_FUNCTION_NON_PORTABLE_CLUSTER:
    function->non_portable_cluster = value != 0;
    return 0;
  default:
    return refuse(EMULATED_INVALID_VALUE, "function attribute %d cannot be set", attribute);
  }
}

/* As many registers as the kernel's bound of threads allows: nothing is known of the real number.
 */
EXPORT tsr_cu_result cuFuncGetAttribute(int *value, int attribute, tsr_cu_function function) {
  ENTER();
  TRY(object_check(function, OBJECT_FUNCTION));
  int most = (int)(65536 / function->about.threads / 8 * 8);
  switch (attribute) {
  case 0: /* most threads of a block */
    *value = (int)function->about.threads;
    return 0;
  case TSR_CU_FUNCTION_LOCAL_BYTES:
    *value = 0;
    return 0;
  case TSR_CU_FUNCTION_REGISTERS:
    *value = most < 255 ? most : 255;
    return 0;
  case TSR_CU_FUNCTION_MAX_DYNAMIC_SHARED:
    *value = (int)function->shared_limit;
    return 0;
  case TSR_CU_FUNCTION_NON_PORTABLE_CLUSTER:
    *value = function->non_portable_cluster;
    return 0;
  default:
    return refuse(EMULATED_INVALID_VALUE, "function attribute %d is not emulated", attribute);
  }
}

EXPORT tsr_cu_result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks,
                                                                 tsr_cu_function function,
                                                                 int threads, size_t shared_bytes) {
  ENTER();
  TRY(object_check(function, OBJECT_FUNCTION));
  if (threads <= 0)
    return EMULATED_INVALID_VALUE;
  *blocks = 0;
  uint32_t limit = tsr_emulator_shared_limit(function->object.owner->emulator);
  if ((uint32_t)threads > function->about.threads || shared_bytes > function->shared_limit)
    return 0;
  size_t by_threads = 2048 / ((size_t)(threads + 31) / 32 * 32);
  size_t by_shared = (limit + 1024) / (shared_bytes + 1024);
  size_t most = by_threads < 32 ? by_threads : 32;
  *blocks = (int)(by_shared < most ? by_shared : most);
  return 0;
}

/* Copies the parameters' values, each at a multiple of 64. */
static bool copy_arguments(command *work, const tsr_emulated_kernel_info *about,
                           void *const *parameters) {
  size_t bytes = 64;
  for (uint32_t i = 0; i < about->argument_count; ++i)
    bytes += ((size_t)about->argument_bytes[i] + 63) / 64 * 64;
  work->arguments = calloc((size_t)about->argument_count + 1, sizeof(void *));
  work->values = aligned_alloc(64, bytes);
  if (!work->arguments || !work->values)
    return false;
  uint8_t *at = work->values;
  for (uint32_t i = 0; i < about->argument_count; ++i) {
    memcpy(at, parameters[i], (size_t)about->argument_bytes[i]);
    work->arguments[i] = at;
    at += ((size_t)about->argument_bytes[i] + 63) / 64 * 64;
  }
  return true;
}

static tsr_cu_result read_attributes(const tsr_cu_launch_config *config,
                                     tsr_emulated_launch *launch) {
  for (uint32_t i = 0; i < config->attribute_count; ++i) {
    const tsr_cu_launch_attribute *a = &config->attributes[i];
    if (a->id == TSR_CU_LAUNCH_COOPERATIVE) {
      launch->cooperative = a->value.cooperative != 0;
    } else if (a->id == TSR_CU_LAUNCH_CLUSTER) {
      if (a->value.cluster[1] != 1 || a->value.cluster[2] != 1 || a->value.cluster[0] == 0)
        return refuse(EMULATED_INVALID_CLUSTER_SIZE, "clusters of %u x %u x %u blocks",
                      a->value.cluster[0], a->value.cluster[1], a->value.cluster[2]);
      launch->cluster = a->value.cluster[0];
    } else {
      return refuse(EMULATED_INVALID_VALUE, "launch attribute %u is not emulated", a->id);
    }
  }
  return 0;
}

static tsr_cu_result check_limits(tsr_cu_function function, const tsr_emulated_launch *launch,
                                  const tsr_cu_launch_config *config) {
  const char *name = function->about.name;
  tsr_emulator *e = function->object.owner->emulator;
  if (config->block[1] != 1 || config->block[2] != 1)
    return refuse(EMULATED_INVALID_VALUE, "%s: blocks are emulated in one dimension", name);
  if (launch->threads > function->about.threads)
    return refuse(EMULATED_LAUNCH_OUT_OF_RESOURCES, "%s: launched with %u threads, its bound is %u",
                  name, launch->threads, function->about.threads);
  if (launch->shared_bytes > function->shared_limit)
    return refuse(EMULATED_INVALID_VALUE,
                  "%s: %u bytes of shared memory, its attribute allows for %u", name,
                  launch->shared_bytes, function->shared_limit);
  if (launch->cluster > 8 && !function->non_portable_cluster)
    return refuse(EMULATED_INVALID_CLUSTER_SIZE, "%s: clusters of %u blocks need an attribute",
                  name, launch->cluster);
  if (!tsr_emulator_can_launch(e, function->kernel, launch))
    return refuse(launch->cooperative   ? EMULATED_COOPERATIVE_LAUNCH_TOO_LARGE
                  : launch->cluster > 1 ? EMULATED_INVALID_CLUSTER_SIZE
                                        : EMULATED_INVALID_VALUE,
                  "%s", tsr_emulator_error(e));
  return 0;
}

EXPORT tsr_cu_result cuLaunchKernelEx(const tsr_cu_launch_config *config, tsr_cu_function function,
                                      void **parameters, void **extra) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(config->stream, &stream));
  TRY(object_check(function, OBJECT_FUNCTION));
  if (function->object.owner != stream->object.owner)
    return refuse(EMULATED_INVALID_HANDLE, "a function and a stream of different contexts");
  if (extra || (!parameters && function->about.argument_count > 0))
    return refuse(EMULATED_INVALID_VALUE, "parameters are emulated as an array of pointers");
  tsr_emulated_launch launch = {.threads = config->block[0],
                                .shared_bytes = config->shared_bytes,
                                .cluster = function->about.cluster,
                                .large_clusters = function->non_portable_cluster};
  memcpy(launch.grid, config->grid, sizeof(launch.grid));
  TRY(read_attributes(config, &launch));
  TRY(check_limits(function, &launch, config));
  command *work = command_make(COMMAND_LAUNCH);
  if (!work || !copy_arguments(work, &function->about, parameters)) {
    command_free(work);
    return EMULATED_OUT_OF_MEMORY;
  }
  work->function = function;
  work->kernel = function->kernel;
  work->launch = launch;
  return give(stream, work);
}

static uint32_t element_bytes(int dtype) {
  switch (dtype) {
  case TSR_CU_TENSOR_U8:
    return 1;
  case TSR_CU_TENSOR_U16:
  case TSR_CU_TENSOR_F16:
  case TSR_CU_TENSOR_BF16:
    return 2;
  case TSR_CU_TENSOR_U32:
  case TSR_CU_TENSOR_S32:
  case TSR_CU_TENSOR_F32:
    return 4;
  case TSR_CU_TENSOR_U64:
  case TSR_CU_TENSOR_S64:
  case TSR_CU_TENSOR_F64:
    return 8;
  default:
    return 0;
  }
}

EXPORT tsr_cu_result cuTensorMapEncodeTiled(tsr_cu_tensor_map *map, int dtype, uint32_t rank,
                                            void *base, const uint64_t *dims,
                                            const uint64_t *strides, const uint32_t *box,
                                            const uint32_t *element_strides, int interleave,
                                            int swizzle, int l2_promotion, int out_of_bounds_fill) {
  ENTER();
  /* Numbers of device_common.h. */
  static const uint32_t swizzles[] = {[TSR_CU_SWIZZLE_NONE] = 0,
                                      [TSR_CU_SWIZZLE_32] = 3,
                                      [TSR_CU_SWIZZLE_64] = 2,
                                      [TSR_CU_SWIZZLE_128] = 1};
  if (element_bytes(dtype) == 0 || interleave != 0 || swizzle < 0 || swizzle > TSR_CU_SWIZZLE_128 ||
      l2_promotion < 0 || l2_promotion > 3 || out_of_bounds_fill != 0)
    return refuse(EMULATED_INVALID_VALUE, "tensor map: type %d, interleave %d, swizzle %d, fill %d",
                  dtype, interleave, swizzle, out_of_bounds_fill);
  for (uint32_t i = 0; i < rank && i < 5; ++i)
    if (element_strides[i] != 1)
      return refuse(EMULATED_INVALID_VALUE, "tensor map: boxes are emulated with steps of 1");
  if (!is_device_memory(base))
    return refuse(EMULATED_INVALID_VALUE, "tensor map: %p is no device memory", base);
  tsr_emulator *e = tsr_emulator_create(90);
  if (!e)
    return EMULATED_OUT_OF_MEMORY;
  bool fine = tsr_emulator_encode_tensor_map(e, map, rank, element_bytes(dtype), base, dims,
                                             strides, box, swizzles[swizzle]);
  tsr_cu_result result = fine ? 0 : refuse(EMULATED_INVALID_VALUE, "%s", tsr_emulator_error(e));
  tsr_emulator_destroy(e);
  return result;
}
