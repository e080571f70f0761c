/* The interface of the emulated device (tests/cuda_emulator/emulator.h) over a driver: memory is a
 * pair of a host's and a device's copy; a launch uploads all pairs, gives the kernel the device's
 * addresses, and downloads them again. */
#include "codegen/cuda/device/device_common.h"
#include "runtime/cuda/driver.h"
#include "tests/gpu/gpu_case.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MEMORIES = 64, MOST_MODULES = 16, MOST_ARGUMENTS = 64, FIRST_STICKY_ERROR = 700 };

typedef struct memory {
  void *host;
  tsr_cu_pointer device;
  size_t bytes;
} memory;

typedef struct module {
  char unit[64];
  tsr_cu_module handle;
} module;

struct tsr_emulated_kernel {
  tsr_cu_function function;
};

struct tsr_emulator {
  memory memories[MOST_MEMORIES];
  module modules[MOST_MODULES];
  int memory_count, module_count;
  tsr_emulated_kernel kernel;
  char error[1500];
};

static struct {
  tsr_cuda_driver driver;
  tsr_cu_stream stream;
  tsr_cu_device device;
  int capability, arguments;
  bool lost, emulated;
  char name[128], folder[2048];
} gpu;

static bool fail(tsr_emulator *e, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(e->error, sizeof e->error, format, list);
  va_end(list);
  return false;
}

/* Errors of the driver, where the call stands. */
static bool check(tsr_emulator *e, tsr_cu_result result, const char *call) {
  if (result == 0)
    return true;
  const char *name = NULL, *text = NULL;
  if (gpu.driver.cuGetErrorName(result, &name) != 0)
    name = NULL;
  if (gpu.driver.cuGetErrorString(result, &text) != 0)
    text = NULL;
  gpu.lost = gpu.lost || result >= FIRST_STICKY_ERROR;
  return fail(e, "%s: %s (%d): %s", call, name ? name : "an error", result, text ? text : "");
}
#define CHECK(e, call) check(e, gpu.driver.call, #call)

bool gpu_device_open(char *why, size_t why_size) {
  tsr_diag diag = {0};
  tsr_emulator about = {.memory_count = 0};
  tsr_cu_context context;
  int count = 0, major = 0, minor = 0;
  const char *library = getenv("TESSERA_CUDA_DRIVER");
  if (tsr_cuda_driver_open(&gpu.driver, &diag) != TSR_OK) {
    snprintf(why, why_size, "%s", diag.message);
    return false;
  }
  bool opened = CHECK(&about, cuDeviceGetCount(&count));
  if (opened && count == 0)
    opened = fail(&about, "there is no CUDA device");
  opened = opened && CHECK(&about, cuDeviceGet(&gpu.device, 0)) &&
           CHECK(&about, cuDeviceGetName(gpu.name, sizeof gpu.name, gpu.device)) &&
           CHECK(&about, cuDeviceGetAttribute(&major, TSR_CU_ATTRIBUTE_MAJOR, gpu.device)) &&
           CHECK(&about, cuDeviceGetAttribute(&minor, TSR_CU_ATTRIBUTE_MINOR, gpu.device)) &&
           CHECK(&about, cuDevicePrimaryCtxRetain(&context, gpu.device)) &&
           CHECK(&about, cuCtxPushCurrent_v2(context)) &&
           CHECK(&about, cuStreamCreate(&gpu.stream, TSR_CU_STREAM_NON_BLOCKING));
  gpu.capability = major * 10 + minor;
  gpu.emulated = library != NULL && strstr(library, "tessera_cuda_emulated") != NULL;
  snprintf(why, why_size, "%s", about.error);
  return opened;
}

int gpu_device_capability(void) {
  return gpu.capability;
}
const char *gpu_device_name(void) {
  return gpu.name;
}
int gpu_device_turns(void) {
  return gpu.emulated ? 1 : 10;
}
void gpu_device_set_folder(const char *folder) {
  snprintf(gpu.folder, sizeof gpu.folder, "%s", folder);
}
void gpu_device_arguments(int count) {
  gpu.arguments = count;
}
bool gpu_device_lost(void) {
  return gpu.lost;
}

tsr_emulator *tsr_emulator_create(int arch) {
  (void)arch;
  return calloc(1, sizeof(tsr_emulator));
}

static void release(memory *m) {
  if (m->device != 0 && !gpu.lost)
    (void)gpu.driver.cuMemFree_v2(m->device);
  free(m->host);
}

void tsr_emulator_destroy(tsr_emulator *e) {
  for (int i = 0; i < e->memory_count; i++)
    release(&e->memories[i]);
  for (int i = 0; i < e->module_count && !gpu.lost; i++)
    (void)gpu.driver.cuModuleUnload(e->modules[i].handle);
  free(e);
}

const char *tsr_emulator_error(const tsr_emulator *e) {
  return e->error;
}

void *tsr_emulator_alloc(tsr_emulator *e, size_t bytes, const char *name) {
  (void)name;
  memory m = {.bytes = bytes, .host = aligned_alloc(256, (bytes + 255) / 256 * 256 + 256)};
  if (e->memory_count == MOST_MEMORIES || m.host == NULL ||
      !CHECK(e, cuMemAlloc_v2(&m.device, bytes > 0 ? bytes : 1))) {
    free(m.host);
    return NULL;
  }
  memset(m.host, 0xff, bytes);
  e->memories[e->memory_count++] = m;
  return m.host;
}

/* By address; the whole of it is read only where its first half is right, since what stands there
 * may be a parameter of four bytes. */
static const memory *find_memory(const tsr_emulator *e, const void *argument) {
  uint32_t low;
  memcpy(&low, argument, sizeof low);
  for (int i = 0; i < e->memory_count; i++)
    if ((uint32_t)(uintptr_t)e->memories[i].host == low &&
        memcmp(&e->memories[i].host, argument, sizeof(void *)) == 0)
      return &e->memories[i];
  return NULL;
}

void tsr_emulator_free(tsr_emulator *e, void *host) {
  for (int i = 0; i < e->memory_count; i++)
    if (e->memories[i].host == host) {
      release(&e->memories[i]);
      e->memories[i] = e->memories[--e->memory_count];
      return;
    }
}

/* Reads a unit's file; terminated by a zero. */
static char *read_unit(const char *unit, const char *ending) {
  char path[2300];
  snprintf(path, sizeof path, "%s/%s%s", gpu.folder, unit, ending);
  FILE *in = fopen(path, "rb");
  if (in == NULL)
    return NULL;
  fseek(in, 0, SEEK_END);
  long size = ftell(in);
  rewind(in);
  char *bytes = calloc(1, (size_t)size + 1);
  if (bytes != NULL && fread(bytes, 1, (size_t)size, in) != (size_t)size) {
    free(bytes);
    bytes = NULL;
  }
  fclose(in);
  return bytes;
}

/* The emulated driver takes texts; a device its own CUBIN, an unknown device PTX. */
static const char *unit_ending(void) {
  if (gpu.emulated)
    return ".cu";
  if (gpu.capability == 90)
    return ".sm_90a.cubin";
  return gpu.capability / 10 == 8 ? ".sm_80.cubin" : ".compute_80.ptx";
}

static tsr_cu_module load_unit(tsr_emulator *e, const char *unit) {
  for (int i = 0; i < e->module_count; i++)
    if (strcmp(e->modules[i].unit, unit) == 0)
      return e->modules[i].handle;
  enum { LOG_BUFFER = 5, LOG_BYTES = 6 };
  char log[1024] = "";
  int options[] = {LOG_BUFFER, LOG_BYTES};
  void *values[] = {log, (void *)(uintptr_t)sizeof log};
  char *bytes = read_unit(unit, unit_ending());
  if (bytes == NULL) {
    fail(e, "%s/%s%s cannot be read", gpu.folder, unit, unit_ending());
    return NULL;
  }
  module *m = &e->modules[e->module_count];
  bool loaded = e->module_count < MOST_MODULES &&
                CHECK(e, cuModuleLoadDataEx(&m->handle, bytes, 2, options, values));
  free(bytes);
  if (!loaded) {
    size_t length = strlen(e->error);
    snprintf(e->error + length, sizeof e->error - length, ": %s%s: %.400s", unit, unit_ending(),
             log);
    return NULL;
  }
  snprintf(m->unit, sizeof m->unit, "%s", unit);
  e->module_count++;
  return m->handle;
}

const tsr_emulated_kernel *tsr_emulator_kernel(tsr_emulator *e, const char *unit,
                                               const char *name) {
  tsr_cu_module loaded = load_unit(e, unit);
  if (loaded == NULL || !CHECK(e, cuModuleGetFunction(&e->kernel.function, loaded, name)))
    return NULL;
  return &e->kernel;
}

static bool move(tsr_emulator *e, bool upload) {
  for (int i = 0; i < e->memory_count; i++) {
    memory *m = &e->memories[i];
    if (m->bytes == 0)
      continue;
    bool moved = upload ? CHECK(e, cuMemcpyHtoDAsync_v2(m->device, m->host, m->bytes, gpu.stream))
                        : CHECK(e, cuMemcpyDtoHAsync_v2(m->host, m->device, m->bytes, gpu.stream));
    if (!moved)
      return false;
  }
  return CHECK(e, cuStreamSynchronize(gpu.stream));
}

bool tsr_emulator_launch(tsr_emulator *e, const tsr_emulated_kernel *kernel,
                         const tsr_emulated_launch *launch, void *const *args) {
  void *values[MOST_ARGUMENTS];
  tsr_cu_pointer pointers[MOST_ARGUMENTS];
  for (int i = 0; i < gpu.arguments; i++) {
    const memory *m = find_memory(e, args[i]);
    pointers[i] = m != NULL ? m->device : 0;
    values[i] = m != NULL ? (void *)&pointers[i] : args[i];
  }
  /* Clusters are part of the kernels. */
  tsr_cu_launch_attribute cooperative = {.id = TSR_CU_LAUNCH_COOPERATIVE,
                                         .value = {.cooperative = 1}};
  tsr_cu_launch_config config = {.block = {launch->threads, 1, 1},
                                 .shared_bytes = launch->shared_bytes,
                                 .stream = gpu.stream,
                                 .attributes = &cooperative,
                                 .attribute_count = launch->cooperative};
  memcpy(config.grid, launch->grid, sizeof config.grid);
  return move(e, true) &&
         CHECK(e, cuFuncSetAttribute(kernel->function, TSR_CU_FUNCTION_MAX_DYNAMIC_SHARED,
                                     (int)launch->shared_bytes)) &&
         CHECK(e, cuLaunchKernelEx(&config, kernel->function, values, NULL)) &&
         CHECK(e, cuStreamSynchronize(gpu.stream)) && move(e, false);
}

bool tsr_emulator_encode_tensor_map(tsr_emulator *e, void *out_map, uint32_t rank,
                                    uint32_t element_bytes, void *base, const uint64_t *dims,
                                    const uint64_t *strides, const uint32_t *box,
                                    uint32_t swizzle) {
  static const int dtypes[] = {[1] = TSR_CU_TENSOR_U8,
                               [2] = TSR_CU_TENSOR_U16,
                               [4] = TSR_CU_TENSOR_U32,
                               [8] = TSR_CU_TENSOR_U64};
  static const int swizzles[] = {[TSR_SWIZZLE_NONE] = TSR_CU_SWIZZLE_NONE,
                                 [TSR_SWIZZLE_128] = TSR_CU_SWIZZLE_128,
                                 [TSR_SWIZZLE_64] = TSR_CU_SWIZZLE_64,
                                 [TSR_SWIZZLE_32] = TSR_CU_SWIZZLE_32};
  static const uint32_t ones[] = {1, 1, 1, 1, 1};
  tsr_cu_tensor_map map;
  const memory *m = find_memory(e, &base);
  if (m == NULL)
    return fail(e, "a tensor map over memory that is not the device's");
  void *device = (void *)(uintptr_t)m->device;
  if (!CHECK(e,
             cuTensorMapEncodeTiled(&map, dtypes[element_bytes], rank, device, dims, strides, box,
                                    ones, 0, swizzles[swizzle], TSR_CU_L2_PROMOTION_128, 0)))
    return false;
  memcpy(out_map, &map, sizeof map);
  return true;
}
