#include "frontend/cli/cuda_probe.h"
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* Functions of the driver's interface (CUDA Driver API, docs.nvidia.com/cuda/cuda-driver-api); all
 * return 0 for success. A CUdevice is an int. */
typedef struct driver {
  int (*init)(unsigned flags);
  int (*version)(int *version);
  int (*count)(int *count);
  int (*device)(int *device, int ordinal);
  int (*name)(char *name, int length, int device);
  int (*attribute)(int *value, int attribute, int device);
} driver;

enum { COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76 };

static void *open_first(const char *const *names) {
  void *library = NULL;
  for (; *names != NULL && library == NULL; names++)
    library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
  return library;
}

/* dlsym gives a pointer to data; ISO C has no conversion to a function, POSIX demands it works. */
static bool find(void *library, const char *name, void *out_function) {
  void *symbol = dlsym(library, name);
  memcpy(out_function, &symbol, sizeof symbol);
  return symbol != NULL;
}

/* Both libraries stay loaded: closed, they leave memory behind. */
static void probe_nvrtc(tsr_cuda_probe *probe) {
  static const char *const names[] = {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12",
                                      "/usr/local/cuda/lib64/libnvrtc.so", NULL};
  void *library = open_first(names);
  int (*version)(int *major, int *minor) = NULL;
  if (library == NULL)
    return;
  probe->has_nvrtc = find(library, "nvrtcVersion", &version) &&
                     version(&probe->nvrtc_major, &probe->nvrtc_minor) == 0;
}

static void describe_device(const driver *cuda, int ordinal, tsr_cuda_device *out_device) {
  int device = 0;
  *out_device = (tsr_cuda_device){0};
  if (cuda->device(&device, ordinal) != 0)
    return;
  (void)cuda->name(out_device->name, (int)sizeof out_device->name, device);
  (void)cuda->attribute(&out_device->major, COMPUTE_CAPABILITY_MAJOR, device);
  (void)cuda->attribute(&out_device->minor, COMPUTE_CAPABILITY_MINOR, device);
}

static void probe_driver(tsr_cuda_probe *probe) {
  static const char *const names[] = {"libcuda.so.1", "libcuda.so", NULL};
  void *library = open_first(names);
  driver cuda;
  if (library == NULL || !find(library, "cuInit", &cuda.init) ||
      !find(library, "cuDriverGetVersion", &cuda.version) ||
      !find(library, "cuDeviceGetCount", &cuda.count) ||
      !find(library, "cuDeviceGet", &cuda.device) ||
      !find(library, "cuDeviceGetName", &cuda.name) ||
      !find(library, "cuDeviceGetAttribute", &cuda.attribute))
    return;
  probe->has_driver = true;
  (void)cuda.version(&probe->driver_version);
  probe->driver_error = cuda.init(0);
  if (probe->driver_error != 0)
    return;
  probe->driver_error = cuda.count(&probe->device_count);
  for (int i = 0; i < probe->device_count && i < TSR_CUDA_PROBE_DEVICES; i++)
    describe_device(&cuda, i, &probe->devices[i]);
}

void tsr_cuda_probe_run(tsr_cuda_probe *out_probe) {
  *out_probe = (tsr_cuda_probe){0};
  probe_nvrtc(out_probe);
  probe_driver(out_probe);
}
