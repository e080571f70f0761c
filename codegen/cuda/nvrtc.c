/* The border to NVRTC: where it is found, its entry points, its errors. */
#include "codegen/cuda/nvrtc.h"
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct nvrtc_program nvrtc_program;

/* X(field, symbol's name after "nvrtc", parameters): every entry point that is used; all give a
 * number of RESULTS. */
#define NVRTC_ENTRY_LIST(X)                                                                        \
  X(version, Version, (int *major, int *minor))                                                    \
  X(create, CreateProgram,                                                                         \
    (nvrtc_program * *program, const char *text, const char *name, int header_count,               \
     const char *const *headers, const char *const *include_names))                                \
  X(destroy, DestroyProgram, (nvrtc_program * *program))                                           \
  X(compile, CompileProgram, (nvrtc_program * program, int count, const char *const *options))     \
  X(ptx_size, GetPTXSize, (nvrtc_program * program, size_t * size))                                \
  X(ptx, GetPTX, (nvrtc_program * program, char *bytes))                                           \
  X(cubin_size, GetCUBINSize, (nvrtc_program * program, size_t * size))                            \
  X(cubin, GetCUBIN, (nvrtc_program * program, char *bytes))                                       \
  X(log_size, GetProgramLogSize, (nvrtc_program * program, size_t * size))                         \
  X(log, GetProgramLog, (nvrtc_program * program, char *text))

/* X(NVRTC's number, name, what it becomes here) */
#define NVRTC_RESULT_LIST(X)                                                                       \
  X(1, OUT_OF_MEMORY, TSR_ERR_OUT_OF_MEMORY)                                                       \
  X(2, PROGRAM_CREATION_FAILURE, TSR_ERR_INTERNAL)                                                 \
  X(3, INVALID_INPUT, TSR_ERR_ARGUMENT)                                                            \
  X(5, INVALID_OPTION, TSR_ERR_UNSUPPORTED)                                                        \
  X(6, COMPILATION, TSR_ERR_INTERNAL)                                                              \
  X(7, BUILTIN_OPERATION_FAILURE, TSR_ERR_DEVICE)

enum { NVRTC_OLDEST = 12, LOG_LINES = 6, OPTIONS_ADDED = 2 };

struct tsr_nvrtc {
  const tsr_allocator *allocator;
  void *library, *builtins;
  int major, minor;
  char path[PATH_MAX];
  char identity[96];
#define ENTRY_FIELD(field, name, parameters) int(*field) parameters;
  NVRTC_ENTRY_LIST(ENTRY_FIELD)
#undef ENTRY_FIELD
};

static const char *const library_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", NULL};

/* Where below a given folder the library is: a toolkit, PyPI's packages for CUDA 13 and 12, and
 * site-packages. */
static const char *const subfolders[] = {"",
                                         "/lib64",
                                         "/lib",
                                         "/targets/x86_64-linux/lib",
                                         "/nvidia/cu13/lib",
                                         "/nvidia/cuda_nvrtc/lib",
                                         NULL};

static const char *const usual_folders[] = {"/usr/local/cuda",           "/usr/local/cuda-13",
                                            "/usr/local/cuda-12",        "/opt/cuda",
                                            "/usr/lib/x86_64-linux-gnu", NULL};

/* Opening. */

/* NVRTC loses memory each time it is unloaded, so it stays. */
static void *open_file(const char *path) {
  return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static void *open_in_folder(const char *folder) {
  char path[PATH_MAX];
  for (int s = 0; subfolders[s] != NULL; s++)
    for (int n = 0; library_names[n] != NULL; n++) {
      int length = snprintf(path, sizeof path, "%s%s/%s", folder, subfolders[s], library_names[n]);
      void *library = length < (int)sizeof path ? open_file(path) : NULL;
      if (library != NULL)
        return library;
    }
  return NULL;
}

static void *open_place(const char *path) {
  struct stat about;
  if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
    return open_in_folder(path);
  return strchr(path, '/') != NULL ? open_file(path) : NULL;
}

static void *open_anywhere(void) {
  static const char *const variables[] = {"CUDA_HOME", "CUDA_PATH", NULL};
  void *library = NULL;
  for (int n = 0; library_names[n] != NULL && library == NULL; n++)
    library = open_file(library_names[n]);
  for (int v = 0; variables[v] != NULL && library == NULL; v++) {
    const char *folder = getenv(variables[v]);
    if (folder != NULL && folder[0] == '/')
      library = open_in_folder(folder);
  }
  for (int f = 0; usual_folders[f] != NULL && library == NULL; f++)
    library = open_in_folder(usual_folders[f]);
  return library;
}

static tsr_status absent(tsr_diag *diag, const char *place) {
  const char *where = place != NULL ? place : "the library path, CUDA_HOME or the usual folders";
  return tsr_fail(
      diag, TSR_ERR_DEVICE,
      "NVRTC, which compiles kernels for CUDA, is missing: no libnvrtc.so.13 or libnvrtc.so.12 "
      "could be opened in %s. Install a CUDA toolkit 12 or 13, or run 'pip install "
      "nvidia-cuda-nvrtc' and set TESSERA_NVRTC to its folder (.../site-packages/nvidia/cu13). "
      "Neither a driver nor a GPU is needed to compile. Without NVRTC, target cpu, '--emit cu' and "
      "modules that were compiled before still work",
      where);
}

/* dlsym gives a pointer to data; ISO C has no conversion to a function, POSIX demands it works. */
static bool find(void *library, const char *name, void *out_function) {
  void *symbol = dlsym(library, name);
  memcpy(out_function, &symbol, sizeof symbol);
  return symbol != NULL;
}

static tsr_status bind_entries(tsr_nvrtc *nvrtc, tsr_diag *diag) {
  const char *missing = NULL;
#define BIND(field, name, parameters)                                                              \
  if (!find(nvrtc->library, "nvrtc" #name, &nvrtc->field))                                         \
    missing = "nvrtc" #name;
  NVRTC_ENTRY_LIST(BIND)
#undef BIND
  if (missing != NULL)
    return tsr_fail(diag, TSR_ERR_DEVICE,
                    "the NVRTC that was found lacks %s; install version %d or newer", missing,
                    NVRTC_OLDEST);
  if (nvrtc->version(&nvrtc->major, &nvrtc->minor) != 0)
    return tsr_fail(diag, TSR_ERR_DEVICE, "NVRTC does not say its version; reinstall it");
  if (nvrtc->major < NVRTC_OLDEST)
    return tsr_fail(diag, TSR_ERR_DEVICE, "NVRTC %d.%d is too old; install version %d or newer",
                    nvrtc->major, nvrtc->minor, NVRTC_OLDEST);
  return TSR_OK;
}

/* What tells one build of NVRTC from another: its file and the GNU build id in its notes. */
typedef struct build {
  uintptr_t address; /* of any of its functions */
  bool found;
  char id[41];
} build;

static void read_notes(const uint8_t *notes, size_t size, build *out_build) {
  static const char digits[] = "0123456789abcdef";
  ElfW(Nhdr) note;
  for (size_t at = 0; size - at >= sizeof note;) {
    memcpy(&note, notes + at, sizeof note);
    size_t name_at = at + sizeof note, name_size = ((size_t)note.n_namesz + 3) & ~(size_t)3;
    size_t id_size = ((size_t)note.n_descsz + 3) & ~(size_t)3;
    if (name_size > size - name_at || id_size > size - name_at - name_size)
      return;
    const uint8_t *id = notes + name_at + name_size;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
        memcmp(notes + name_at, "GNU", 4) == 0) {
      for (size_t i = 0; i < note.n_descsz && i < 20; i++) {
        out_build->id[2 * i] = digits[id[i] >> 4];
        out_build->id[2 * i + 1] = digits[id[i] & 15];
        out_build->id[2 * i + 2] = '\0';
      }
      return;
    }
    at = name_at + name_size + id_size;
  }
}

static int visit_library(struct dl_phdr_info *info, size_t size, void *context) {
  build *wanted = context;
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type == PT_LOAD &&
        wanted->address - (info->dlpi_addr + part->p_vaddr) < part->p_memsz)
      wanted->found = true;
  }
  for (int i = 0; i < info->dlpi_phnum && wanted->found; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    const uint8_t *notes = NULL;
    uintptr_t address = info->dlpi_addr + part->p_vaddr;
    memcpy(&notes, &address, sizeof notes);
    if (part->p_type == PT_NOTE && wanted->id[0] == '\0')
      read_notes(notes, part->p_memsz, wanted);
  }
  return wanted->found;
}

/* Without a build id the file's size and time tell builds apart. */
static tsr_status identify(tsr_nvrtc *nvrtc, tsr_diag *diag) {
  Dl_info about;
  build found = {0};
  void *symbol = dlsym(nvrtc->library, "nvrtcVersion");
  if (dladdr(symbol, &about) == 0 || about.dli_fname == NULL ||
      realpath(about.dli_fname, nvrtc->path) == NULL)
    return tsr_fail(diag, TSR_ERR_DEVICE, "the file of the NVRTC that was opened cannot be found");
  memcpy(&found.address, &symbol, sizeof found.address);
  (void)dl_iterate_phdr(visit_library, &found);
  if (found.id[0] == '\0') {
    struct stat file;
    if (stat(nvrtc->path, &file) == 0)
      snprintf(found.id, sizeof found.id, "%llx-%llx", (unsigned long long)file.st_size,
               (unsigned long long)file.st_mtime);
  }
  snprintf(nvrtc->identity, sizeof nvrtc->identity, "nvrtc %d.%d %s", nvrtc->major, nvrtc->minor,
           found.id);
  return TSR_OK;
}

/* NVRTC opens this one by its name alone, which outside the linker's path finds it only when it is
 * open already. */
static void open_builtins(tsr_nvrtc *nvrtc) {
  char path[PATH_MAX + 64];
  const char *slash = strrchr(nvrtc->path, '/');
  snprintf(path, sizeof path, "%.*s/libnvrtc-builtins.so.%d.%d", (int)(slash - nvrtc->path),
           nvrtc->path, nvrtc->major, nvrtc->minor);
  nvrtc->builtins = open_file(path);
}

tsr_status tsr_nvrtc_open(const tsr_allocator *allocator, const char *path, tsr_nvrtc **out_nvrtc,
                          tsr_diag *diag) {
  const char *variable = getenv("TESSERA_NVRTC");
  const char *place = path != NULL                              ? path
                      : variable != NULL && variable[0] != '\0' ? variable
                                                                : NULL;
  *out_nvrtc = NULL;
  tsr_nvrtc *nvrtc = allocator->allocate(allocator->context, sizeof *nvrtc, _Alignof(tsr_nvrtc));
  if (nvrtc == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  memset(nvrtc, 0, sizeof *nvrtc);
  nvrtc->allocator = allocator;
  nvrtc->library = place != NULL ? open_place(place) : open_anywhere();
  tsr_status status = nvrtc->library == NULL ? absent(diag, place) : bind_entries(nvrtc, diag);
  if (status == TSR_OK)
    status = identify(nvrtc, diag);
  if (status != TSR_OK) {
    tsr_nvrtc_close(nvrtc);
    return status;
  }
  open_builtins(nvrtc);
  *out_nvrtc = nvrtc;
  return TSR_OK;
}

void tsr_nvrtc_close(tsr_nvrtc *nvrtc) {
  if (nvrtc == NULL)
    return;
  if (nvrtc->library != NULL)
    dlclose(nvrtc->library);
  if (nvrtc->builtins != NULL)
    dlclose(nvrtc->builtins);
  nvrtc->allocator->release(nvrtc->allocator->context, nvrtc, sizeof *nvrtc);
}

void tsr_nvrtc_version(const tsr_nvrtc *nvrtc, int *out_major, int *out_minor) {
  *out_major = nvrtc->major;
  *out_minor = nvrtc->minor;
}

const char *tsr_nvrtc_path(const tsr_nvrtc *nvrtc) {
  return nvrtc->path;
}

const char *tsr_nvrtc_identity(const tsr_nvrtc *nvrtc) {
  return nvrtc->identity;
}

/* Compiling. */

typedef struct compilation {
  const tsr_nvrtc *nvrtc;
  const tsr_cuda_source *source;
  tsr_arena *arena;
  tsr_diag *diag;
  nvrtc_program *program;
  const char **options;
  int option_count;
} compilation;

static tsr_status no_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

static const char *label(const tsr_cuda_source *source) {
  return source->name != NULL ? source->name : "a kernel";
}

static tsr_status translate(const compilation *c, const char *call, int result) {
#define RESULT_CASE(number, name, status)                                                          \
  case number:                                                                                     \
    return tsr_fail(c->diag, status, "%s: NVRTC's %s failed: " #name "%s%s", label(c->source),     \
                    call,                                                                          \
                    status == TSR_ERR_DEVICE ? "; is libnvrtc-builtins in the folder of " : "",    \
                    status == TSR_ERR_DEVICE ? c->nvrtc->path : "");
  switch (result) {
  case 0:
    return TSR_OK;
    NVRTC_RESULT_LIST(RESULT_CASE)
  default:
    return tsr_fail(c->diag, TSR_ERR_INTERNAL, "%s: NVRTC's %s failed with number %d",
                    label(c->source), call, result);
  }
#undef RESULT_CASE
}

/* PTX of "sm_90a" is asked for as "compute_90a", which leaves ptxas out and takes half the time. */
static tsr_status make_options(compilation *c) {
  const tsr_cuda_source *source = c->source;
  const char *arch = source->arch;
  bool cubin = (source->want & TSR_CUDA_CUBIN) != 0;
  bool real = strncmp(arch, "sm_", 3) == 0, is_virtual = strncmp(arch, "compute_", 8) == 0;
  if ((source->want & (TSR_CUDA_PTX | TSR_CUDA_CUBIN)) == 0)
    return tsr_fail(c->diag, TSR_ERR_ARGUMENT, "neither PTX nor CUBIN is asked for");
  if (source->option_count > INT_MAX / 2)
    return tsr_fail(c->diag, TSR_ERR_ARGUMENT, "too many options");
  if (!real && (!is_virtual || cubin))
    return tsr_fail(c->diag, TSR_ERR_ARGUMENT, "architecture '%.64s' gives no %s; use one like %s",
                    arch, cubin ? "CUBIN" : "PTX", cubin ? "sm_80" : "sm_80 or compute_80");
  c->options =
      tsr_arena_alloc_array(c->arena, source->option_count + OPTIONS_ADDED, sizeof(char *));
  if (c->options == NULL)
    return no_memory(c->diag);
  for (uint32_t i = 0; i < source->option_count; i++)
    c->options[c->option_count++] = source->options[i];
  const char *option =
      tsr_arena_printf(c->arena, "--gpu-architecture=%s%s", real && !cubin ? "compute_" : "",
                       real && !cubin ? arch + 3 : arch);
  if (option == NULL)
    return no_memory(c->diag);
  c->options[c->option_count++] = option;
  if (cubin)
    c->options[c->option_count++] = "--ptxas-options=-v";
  return TSR_OK;
}

typedef int (*size_function)(nvrtc_program *program, size_t *size);
typedef int (*bytes_function)(nvrtc_program *program, char *bytes);

/* NVRTC's texts end with a zero that their size counts; one more is kept in case one does not. */
static tsr_status take(const compilation *c, const char *what, size_function get_size,
                       bytes_function get_bytes, char **out_bytes, size_t *out_size) {
  *out_bytes = NULL;
  *out_size = 0;
  TSR_TRY(translate(c, what, get_size(c->program, out_size)));
  char *bytes = *out_size < SIZE_MAX ? tsr_arena_alloc(c->arena, *out_size + 1) : NULL;
  if (bytes == NULL)
    return no_memory(c->diag);
  TSR_TRY(translate(c, what, get_bytes(c->program, bytes)));
  bytes[*out_size] = '\0';
  *out_bytes = bytes;
  return TSR_OK;
}

/* The first lines of `log`, in one line. */
static void shorten(const char *log, char *out, size_t size) {
  size_t length = 0;
  for (int lines = 0; *log != '\0' && lines < LOG_LINES && length + 4 < size; log++) {
    bool line_end = *log == '\n';
    if (line_end && length > 0 && out[length - 1] == ' ')
      continue;
    lines += line_end;
    if (line_end && length > 0)
      out[length++] = ';';
    out[length++] = line_end ? ' ' : *log;
  }
  while (length > 0 && (out[length - 1] == ' ' || out[length - 1] == ';'))
    length--;
  out[length] = '\0';
}

static tsr_status judge(const compilation *c, int result, const char *log) {
  char lines[768];
  shorten(log, lines, sizeof lines);
  if (result == 6)
    return tsr_fail(c->diag, TSR_ERR_INTERNAL, "%s does not compile for %s: %s", label(c->source),
                    c->source->arch, lines);
  if (result == 5)
    return tsr_fail(c->diag, TSR_ERR_UNSUPPORTED,
                    "%s: NVRTC %d.%d knows no such architecture (%s) or option: %s",
                    label(c->source), c->nvrtc->major, c->nvrtc->minor, c->source->arch, lines);
  return translate(c, "compilation", result);
}

static tsr_status compile(compilation *c, tsr_cuda_output *out) {
  const tsr_nvrtc *nvrtc = c->nvrtc;
  size_t log_size;
  char *log, *ptx, *cubin;
  int result = nvrtc->compile(c->program, c->option_count, c->options);
  TSR_TRY(take(c, "log", nvrtc->log_size, nvrtc->log, &log, &log_size));
  out->log = log;
  TSR_TRY(judge(c, result, log));
  if ((c->source->want & TSR_CUDA_PTX) != 0) {
    TSR_TRY(take(c, "PTX", nvrtc->ptx_size, nvrtc->ptx, &ptx, &out->ptx_size));
    out->ptx = ptx;
    out->ptx_size = strlen(ptx);
  }
  if ((c->source->want & TSR_CUDA_CUBIN) != 0) {
    TSR_TRY(take(c, "CUBIN", nvrtc->cubin_size, nvrtc->cubin, &cubin, &out->cubin_size));
    out->cubin = (const uint8_t *)cubin;
  }
  return TSR_OK;
}

tsr_status tsr_nvrtc_compile(const tsr_nvrtc *nvrtc, const tsr_cuda_source *source,
                             tsr_arena *arena, tsr_cuda_output *out_output, tsr_diag *diag) {
  compilation c = {nvrtc, source, arena, diag, NULL, NULL, 0};
  *out_output = (tsr_cuda_output){0};
  TSR_TRY(make_options(&c));
  TSR_TRY(translate(&c, "creation of a program",
                    nvrtc->create(&c.program, source->text, "kernel.cu", 0, NULL, NULL)));
  tsr_status status = compile(&c, out_output);
  (void)nvrtc->destroy(&c.program);
  return status;
}
