/* Launches the kernels of a compiled graph from a program of one's own, with the CUDA driver alone:
 * no Tessera library, no toolkit.
 *
 *   tessera compile model.tsr --target cuda:sm_80 --emit manifest --emit ptx --emit weights \
 *     --emit-dir DIR
 *   launch_kernels DIR/manifest.json DIR/ptx.ptx DIR/weights.bin N=1000
 *
 * (or --emit cubin, and DIR/cubin.cubin). The manifest says what there is to know: buffers, kernels
 * with their parameters, launches in order. Here inputs are 0, 1, 2 ..; the first elements of every
 * output are printed. Inputs and outputs are f32. Exit status: 0 fine, 1 failed, 3 there is no
 * driver or device. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, NO_DEVICE = 3 };

static void die(const char *what, const char *which) {
  fprintf(stderr, "error: %s%s\n", what, which);
  exit(1);
}

/* --- the few lines of JSON that a manifest needs: values are pointers to their first character ---
 */

static const char *skip_space(const char *at) {
  return at + strspn(at, " \n\t,:");
}

static const char *skip_value(const char *at) {
  int depth = 0;
  at = skip_space(at);
  do {
    if (*at == '"')
      for (at++; *at != '"' && *at != '\0'; at++)
        at += *at == '\\';
    depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
    at += *at != '\0';
  } while (*at != '\0' && (depth > 0 || strchr("truefalsn0123456789.-", *at) != NULL));
  return at;
}

/* Element `index` of an array, or of the keys and values of an object; NULL behind the last. */
static const char *element(const char *array, int index) {
  const char *at = skip_space(array + 1);
  for (; index > 0 && *at != ']' && *at != '}'; index--)
    at = skip_space(skip_value(at));
  return *at == ']' || *at == '}' ? NULL : at;
}

static const char *member(const char *object, const char *key) {
  size_t length = strlen(key);
  const char *at;
  for (int i = 0; (at = element(object, i)) != NULL; i += 2)
    if (at[0] == '"' && strncmp(at + 1, key, length) == 0 && at[1 + length] == '"')
      return element(object, i + 1);
  die("the manifest has no ", key);
  return NULL;
}

static int64_t number(const char *object, const char *key) {
  return strtoll(member(object, key), NULL, 10);
}

static char *text(const char *value, char *out, size_t size) {
  size_t length = strcspn(value + 1, "\"");
  snprintf(out, size, "%.*s", (int)length, value + 1);
  return out;
}

/* --- expressions: postfix over 64-bit integers, dims by name --- */

typedef struct dim {
  char name[64];
  int64_t value;
} dim;

static dim dims[MOST];
static int dim_count;

static int64_t dim_value(const char *name) {
  for (int i = 0; i < dim_count; i++)
    if (strcmp(dims[i].name, name) == 0)
      return dims[i].value;
  die("the arguments do not give the dim ", name);
  return 0;
}

static int64_t floor_div(int64_t a, int64_t b) {
  return b == 0 ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t apply(const char *op, int64_t a, int64_t b) {
  if (strcmp(op, "+") == 0)
    return a + b;
  if (strcmp(op, "*") == 0)
    return a * b;
  if (strcmp(op, "floordiv") == 0)
    return floor_div(a, b);
  if (strcmp(op, "ceildiv") == 0)
    return -floor_div(-a, b);
  if (strcmp(op, "mod") == 0)
    return a - floor_div(a, b) * b;
  if (strcmp(op, "min") == 0)
    return a < b ? a : b;
  if (strcmp(op, "max") == 0)
    return a > b ? a : b;
  if (strcmp(op, "<") == 0)
    return a < b;
  if (strcmp(op, "<=") == 0)
    return a <= b;
  if (strcmp(op, "==") == 0)
    return a == b;
  if (strcmp(op, "!=") == 0)
    return a != b;
  if (strcmp(op, "and") == 0)
    return a != 0 && b != 0;
  if (strcmp(op, "or") == 0)
    return a != 0 || b != 0;
  die("the manifest has an operator that is not known here: ", op);
  return 0;
}

/* "N 64 ceildiv"; a guard of no words holds. */
static int64_t evaluate(const char *value) {
  char words[1024], *rest = NULL, *word;
  int64_t stack[MOST] = {1};
  int depth = 0;
  text(value, words, sizeof words);
  for (word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
    char *end;
    int64_t whole = strtoll(word, &end, 10);
    int is_dim = 0;
    for (int i = 0; i < dim_count; i++)
      is_dim |= strcmp(dims[i].name, word) == 0;
    if (*end == '\0' || is_dim) {
      if (depth == MOST)
        die("an expression of the manifest is too deep", "");
      stack[depth++] = *end == '\0' ? whole : dim_value(word);
    } else if (depth > 1) {
      depth--;
      stack[depth - 1] = apply(word, stack[depth - 1], stack[depth]);
    } else {
      die("the arguments do not give the dim ", word);
    }
  }
  return stack[0];
}

static int64_t product(const char *codes) {
  int64_t result = 1;
  const char *code;
  for (int i = 0; (code = element(codes, i)) != NULL; i++)
    result *= evaluate(code);
  return result;
}

/* --- the driver, as in cuda.h --- */

typedef struct launch_attribute {
  unsigned id;
  char padding[4];
  union {
    char bytes[64];
    unsigned cluster[3];
    int cooperative;
  } value;
} launch_attribute;

typedef struct launch_config {
  unsigned grid[3], block[3], shared_bytes;
  void *stream;
  launch_attribute *attributes;
  unsigned attribute_count;
} launch_config;

typedef struct tensor_map {
  _Alignas(64) uint64_t opaque[16];
} tensor_map;

#define DRIVER_LIST(X)                                                                             \
  X(cuInit, (unsigned flags))                                                                      \
  X(cuDeviceGet, (int *device, int ordinal))                                                       \
  X(cuDevicePrimaryCtxRetain, (void **context, int device))                                        \
  X(cuCtxPushCurrent_v2, (void *context))                                                          \
  X(cuCtxSynchronize, (void))                                                                      \
  X(cuModuleLoadDataEx,                                                                            \
    (void **module, const void *image, unsigned count, int *options, void **values))               \
  X(cuModuleGetFunction, (void **function, void *module, const char *name))                        \
  X(cuFuncSetAttribute, (void *function, int attribute, int value))                                \
  X(cuLaunchKernelEx,                                                                              \
    (const launch_config *config, void *function, void **parameters, void **extra))                \
  X(cuMemAlloc_v2, (uint64_t * pointer, size_t bytes))                                             \
  X(cuMemsetD8Async, (uint64_t to, unsigned char value, size_t bytes, void *stream))               \
  X(cuMemcpyHtoDAsync_v2, (uint64_t to, const void *from, size_t bytes, void *stream))             \
  X(cuMemcpyDtoHAsync_v2, (void *to, uint64_t from, size_t bytes, void *stream))                   \
  X(cuTensorMapEncodeTiled,                                                                        \
    (tensor_map * map, int type, uint32_t rank, void *base, const uint64_t *dims,                  \
     const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,          \
     int swizzle, int promotion, int fill))

static struct {
#define DRIVER_FIELD(name, parameters) int(*name) parameters;
  DRIVER_LIST(DRIVER_FIELD)
#undef DRIVER_FIELD
} cuda;

static void check(int result, const char *what) {
  if (result != 0) {
    fprintf(stderr, "error: %s: CUDA error %d\n", what, result);
    exit(1);
  }
}

static void open_driver(void) {
  const char *named = getenv("TESSERA_CUDA_DRIVER");
  void *library = dlopen(named != NULL ? named : "libcuda.so.1", RTLD_NOW), *context;
  int device;
  if (library == NULL) {
    fprintf(stderr, "no NVIDIA driver: %s\n", dlerror());
    exit(NO_DEVICE);
  }
#define DRIVER_FIND(name, parameters)                                                              \
  *(void **)&cuda.name = dlsym(library, #name);                                                    \
  if (cuda.name == NULL)                                                                           \
    die("the driver is too old, it lacks ", #name);
  DRIVER_LIST(DRIVER_FIND)
#undef DRIVER_FIND
  if (cuda.cuInit(0) != 0 || cuda.cuDeviceGet(&device, 0) != 0) {
    fprintf(stderr, "no CUDA device\n");
    exit(NO_DEVICE);
  }
  check(cuda.cuDevicePrimaryCtxRetain(&context, device), "the device's context");
  check(cuda.cuCtxPushCurrent_v2(context), "the device's context");
}

/* --- buffers and launches --- */

static uint64_t buffers[MOST];

static size_t dtype_bytes(const char *dtype) {
  size_t bits =
      strncmp(dtype, "bool", 4) == 0 ? 8 : strtoul(dtype + strcspn(dtype, "0123456789"), NULL, 10);
  return bits / 8;
}

static size_t buffer_bytes(const char *buffer) {
  char dtype[16];
  return (size_t)product(member(buffer, "dims")) *
         dtype_bytes(text(member(buffer, "dtype"), dtype, sizeof dtype));
}

static void make_buffers(const char *list, const char *constants, const char *weights,
                         int64_t weight_bytes) {
  char kind[16];
  const char *buffer;
  for (int i = 0; i < MOST && (buffer = element(list, i)) != NULL; i++) {
    size_t bytes = buffer_bytes(buffer);
    float *counting = malloc(bytes + sizeof *counting);
    const char *values = (const char *)counting;
    text(member(buffer, "kind"), kind, sizeof kind);
    if (counting == NULL)
      die("out of ", "memory");
    for (size_t e = 0; e < bytes / sizeof *counting; e++)
      counting[e] = (float)e;
    if (strcmp(kind, "constant") == 0) {
      const char *constant = element(constants, (int)number(buffer, "index"));
      values = weights + number(constant, "offset");
      if (number(constant, "offset") + (int64_t)bytes > weight_bytes)
        die("the weights end before those of ", "a constant");
    }
    check(cuda.cuMemAlloc_v2(&buffers[i], bytes + 16), "memory");
    check(cuda.cuMemcpyHtoDAsync_v2(buffers[i], values, bytes, NULL), "copying");
    check(cuda.cuCtxSynchronize(), "copying");
    free(counting);
  }
}

/* CUtensorMapDataType; floats by their size, the rest as unsigned integers of it. */
static int map_type(const char *dtype) {
  static const char *const names[] = {"f16", "f32", "f64", "bf16"};
  static const int types[] = {6, 7, 8, 9};
  for (int i = 0; i < 4; i++)
    if (strcmp(dtype, names[i]) == 0)
      return types[i];
  return dtype_bytes(dtype) == 1 ? 0 : dtype_bytes(dtype) == 2 ? 1 : 2;
}

/* The map's dims count from the outermost one, the driver's from the innermost one. */
static void encode_map(const char *map, uint64_t base, tensor_map *out) {
  uint64_t extents[5], strides[5];
  uint32_t box[5], steps[5] = {1, 1, 1, 1, 1}, rank = 0;
  char dtype[16];
  const char *codes = member(map, "dims"), *boxes = member(map, "box");
  int64_t swizzle = number(map, "swizzle");
  text(member(map, "dtype"), dtype, sizeof dtype);
  while (element(codes, (int)rank) != NULL)
    rank++;
  for (uint32_t i = 0; i < rank; i++) {
    extents[i] = (uint64_t)evaluate(element(codes, (int)(rank - 1 - i)));
    box[i] = (uint32_t)strtoul(element(boxes, (int)(rank - 1 - i)), NULL, 10);
    strides[i] = (i == 0 ? dtype_bytes(dtype) : strides[i - 1]) * extents[i];
  }
  /* Swizzles of 32, 64 and 128 bytes are 1, 2 and 3; 2 asks for 128 bytes from L2; what lies
   * outside reads as 0. */
  int mode = swizzle == 128 ? 3 : (int)(swizzle / 32);
  check(cuda.cuTensorMapEncodeTiled(out, map_type(dtype), rank, (void *)base, extents, strides, box,
                                    steps, 0, mode, 2, 0),
        "a tensor map");
}

/* The first variant whose guard holds. */
static const char *choose(const char *variants) {
  const char *variant = element(variants, 0);
  for (int i = 0; (variant = element(variants, i)) != NULL; i++)
    if (evaluate(member(variant, "guard")) != 0)
      return variant;
  die("no variant of a launch fits", "");
  return NULL;
}

static void launch(void *module, const char *kernels, const char *list, const char *what) {
  void *function, *parameters[2 * MOST];
  int64_t integers[MOST];
  tensor_map maps[8];
  launch_attribute attributes[2];
  char name[128], kind[16];
  const char *variant = choose(member(what, "variants")), *arguments = member(what, "arguments");
  const char *kernel = element(kernels, (int)number(variant, "kernel")), *parameter;
  int64_t tasks = product(member(variant, "grid")), cluster = number(kernel, "cluster");
  int count = 0, buffer = 0, integer = 0, map = 0;
  for (; (parameter = element(member(kernel, "parameters"), count)) != NULL; count++) {
    text(member(parameter, "kind"), kind, sizeof kind);
    if (count == MOST || map == 8)
      die("a kernel has too many parameters", "");
    if (strcmp(kind, "buffer") == 0) {
      parameters[count] = &buffers[strtol(element(arguments, buffer++), NULL, 10)];
    } else if (strcmp(kind, "map") == 0) {
      const char *about = element(member(kernel, "maps"), (int)number(parameter, "map"));
      int64_t argument = number(about, "argument");
      encode_map(about, buffers[strtol(element(arguments, (int)argument), NULL, 10)], &maps[map]);
      parameters[count] = &maps[map++];
    } else {
      integers[integer] = strcmp(kind, "tasks") == 0
                              ? tasks
                              : dim_value(text(member(parameter, "name"), name, sizeof name));
      parameters[count] = &integers[integer++];
    }
  }
  if (tasks == 0)
    return;
  launch_config config = {.grid = {(unsigned)((tasks + cluster - 1) / cluster * cluster), 1, 1},
                          .block = {(unsigned)number(kernel, "threads"), 1, 1},
                          .shared_bytes = (unsigned)number(kernel, "shared_bytes"),
                          .attributes = attributes};
  memset(attributes, 0, sizeof attributes);
  if (cluster > 1) {
    attributes[config.attribute_count].id = 4;
    attributes[config.attribute_count].value.cluster[0] = (unsigned)cluster;
    attributes[config.attribute_count].value.cluster[1] = 1;
    attributes[config.attribute_count++].value.cluster[2] = 1;
  }
  if (strncmp(member(kernel, "cooperative"), "true", 4) == 0) {
    attributes[config.attribute_count].id = 2;
    attributes[config.attribute_count++].value.cooperative = 1;
  }
  const char *zeroed;
  for (int i = 0; (zeroed = element(member(what, "zeroed"), i)) != NULL; i++) {
    int cleared = (int)strtol(zeroed, NULL, 10);
    size_t bytes = buffer_bytes(element(list, cleared));
    check(cuda.cuMemsetD8Async(buffers[cleared], 0, bytes, NULL), "clearing");
  }
  text(member(kernel, "function"), name, sizeof name);
  check(cuda.cuModuleGetFunction(&function, module, name), name);
  if (config.shared_bytes > 48 << 10)
    check(cuda.cuFuncSetAttribute(function, 8, (int)config.shared_bytes), "shared memory");
  check(cuda.cuLaunchKernelEx(&config, function, parameters, NULL), name);
}

static void print_outputs(const char *manifest) {
  enum { SHOWN = 8 };
  float values[SHOWN];
  char name[128];
  const char *output;
  check(cuda.cuCtxSynchronize(), "the kernels");
  for (int i = 0; (output = element(member(manifest, "outputs"), i)) != NULL; i++) {
    int buffer = (int)number(output, "buffer");
    size_t bytes = buffer_bytes(element(member(manifest, "buffers"), buffer));
    size_t shown = bytes / sizeof(float) < SHOWN ? bytes / sizeof(float) : SHOWN;
    check(cuda.cuMemcpyDtoHAsync_v2(values, buffers[buffer], shown * sizeof(float), NULL),
          "copying");
    check(cuda.cuCtxSynchronize(), "copying");
    printf("%s:", text(member(output, "name"), name, sizeof name));
    for (size_t e = 0; e < shown; e++)
      printf(" %g", (double)values[e]);
    printf("\n");
  }
}

/* The file with a zero byte behind it, which PTX needs. */
static char *read_file(const char *path, int64_t *out_bytes) {
  FILE *file = fopen(path, "rb");
  long size = -1;
  if (file != NULL && fseek(file, 0, SEEK_END) == 0)
    size = ftell(file);
  char *bytes = size >= 0 ? calloc((size_t)size + 1, 1) : NULL;
  if (bytes == NULL || fseek(file, 0, SEEK_SET) != 0 ||
      fread(bytes, 1, (size_t)size, file) != (size_t)size)
    die("cannot read ", path);
  fclose(file);
  *out_bytes = size;
  return bytes;
}

int main(int argc, char **argv) {
  if (argc < 4 || argc - 4 > MOST) {
    fprintf(stderr, "usage: launch_kernels MANIFEST.json CODE WEIGHTS.bin [DIM=N...]\n");
    return 2;
  }
  int64_t code_bytes, weight_bytes;
  char *manifest = read_file(argv[1], &code_bytes), *code = read_file(argv[2], &code_bytes);
  char *weights = read_file(argv[3], &weight_bytes);
  for (int i = 4; i < argc; i++) {
    dim *d = &dims[dim_count++];
    const char *equals = strchr(argv[i], '=');
    if (equals == NULL)
      die("expected DIM=N, not ", argv[i]);
    snprintf(d->name, sizeof d->name, "%.*s", (int)(equals - argv[i]), argv[i]);
    d->value = strtoll(equals + 1, NULL, 10);
  }
  void *module;
  const char *what;
  open_driver();
  check(cuda.cuModuleLoadDataEx(&module, code, 0, NULL, NULL), "loading the kernels");
  make_buffers(member(manifest, "buffers"), member(manifest, "constants"), weights, weight_bytes);
  for (int i = 0; (what = element(member(manifest, "launches"), i)) != NULL; i++)
    launch(module, member(manifest, "kernels"), member(manifest, "buffers"), what);
  print_outputs(manifest);
  free(manifest);
  free(code);
  free(weights);
  return 0;
}
