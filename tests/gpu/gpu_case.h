/* The tests of gpu_tests: each is a row with kernels of one text, launched and compared with what
 * the host says must come out. They are written against tests/cuda_emulator/emulator.h, which
 * device.c gives over the driver: memory that the host sees, copied to and from the device around
 * every launch. */
#ifndef TSR_TESTS_GPU_CASE_H
#define TSR_TESTS_GPU_CASE_H
#include "tests/cuda_emulator/emulator.h"

typedef struct gpu_run {
  tsr_emulator *device;
  const char *unit; /* name of the kernel text; what the emulator's functions take as the text */
  char why[2048];
} gpu_run;

typedef struct gpu_case {
  const char *name;
  const char *unit;
  int capability; /* least; 90 stands for sm_90a and nothing else */
  bool (*run)(const struct gpu_case *self, gpu_run *run);
  const void *about; /* the run function's affair */
} gpu_case;

/* Ends with a NULL name. */
extern const gpu_case gpu_cases_sm80[], gpu_cases_sm90[];
/* Made from ir/atoms.def and from tests/cuda_emulator/kernel_cases.h; the memory stays. */
const gpu_case *gpu_cases_atoms(void);
const gpu_case *gpu_cases_wgmma(void);
const gpu_case *gpu_cases_kernels(void);

/* Kernel texts: of gpu_case.unit, number `index`; NULL name at the end. */
typedef struct gpu_unit {
  const char *name;
  int capability;
} gpu_unit;
gpu_unit gpu_unit_at(int index);
/* The text of a unit from the source tree, to be freed; NULL where it cannot be read. */
char *gpu_unit_text(const char *name);

/* False, with `why` set. */
bool gpu_fail(gpu_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Memory of the device, as tsr_emulator_alloc: poisoned with 0xff. */
void *gpu_memory(gpu_run *run, size_t bytes);
/* One launch and the wait for its end. */
bool gpu_launch(gpu_run *run, const char *kernel, const tsr_emulated_launch *launch, int count,
                void *const *args);
#define GPU_ARGS(...)                                                                              \
  (int)(sizeof((void *[]){__VA_ARGS__}) / sizeof(void *)), (void *[]) {                            \
    __VA_ARGS__                                                                                    \
  }
/* got[i] == want[i], or false that names the first difference. */
bool gpu_same_ints(gpu_run *run, const char *what, const int *got, const int *want, int count);
bool gpu_same_bytes(gpu_run *run, const char *what, const uint8_t *got, const uint8_t *want,
                    int count);

/* Over emulator.h: */
/* Opens the driver and its first device. False with the reason in `why`. */
bool gpu_device_open(char *why, size_t why_size);
int gpu_device_capability(void);
const char *gpu_device_name(void);
/* How often a test runs: what comes out right by chance comes out wrong some time. An emulated
 * device does the same each time. */
int gpu_device_turns(void);
/* Where the units' files are. */
void gpu_device_set_folder(const char *folder);
/* How many parameters the kernel of the following launches takes. */
void gpu_device_arguments(int count);
/* Whether the device failed in a way that ends its context. */
bool gpu_device_lost(void);
#endif
