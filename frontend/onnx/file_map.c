#include "frontend/onnx/file_map.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static tsr_status io_error(tsr_diag *diag, const char *path, const char *what) {
  return tsr_fail(diag, TSR_ERR_IO, "cannot %s '%s': %s", what, path, strerror(errno));
}

/* Maps the open file; the descriptor stays the caller's. */
static tsr_status map_descriptor(int descriptor, const char *path, tsr_diag *diag,
                                 tsr_onnx_mapping *mapping) {
  struct stat info;
  if (fstat(descriptor, &info) != 0)
    return io_error(diag, path, "examine");
  if (!S_ISREG(info.st_mode))
    return tsr_fail(diag, TSR_ERR_IO, "'%s' is not a regular file", path);
  mapping->size = (uint64_t)info.st_size;
  if (mapping->size == 0)
    return TSR_OK;
  void *data = mmap(NULL, (size_t)mapping->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (data == MAP_FAILED)
    return io_error(diag, path, "map");
  mapping->data = data;
  return TSR_OK;
}

tsr_status tsr_onnx_map_file(tsr_onnx_mapping **list, tsr_arena *arena, const char *path,
                             tsr_diag *diag) {
  tsr_onnx_mapping *mapping = tsr_arena_alloc(arena, sizeof *mapping);
  char *copy = tsr_arena_string(arena, path, strlen(path));
  if (!mapping || !copy)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory while opening '%s'", path);
  mapping->path = copy;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return io_error(diag, path, "open");
  tsr_status status = map_descriptor(descriptor, path, diag, mapping);
  close(descriptor);
  if (status != TSR_OK)
    return status;
  mapping->next = *list;
  *list = mapping;
  return TSR_OK;
}

static bool has_parent_step(const char *path) {
  for (const char *at = path; *at;) {
    size_t length = strcspn(at, "/");
    if (length == 2 && at[0] == '.' && at[1] == '.')
      return true;
    at += length;
    at += *at == '/';
  }
  return false;
}

/* `out` holds PATH_MAX bytes; with links followed. */
static tsr_status resolve_directory(const char *model_path, char *out, tsr_diag *diag) {
  const char *slash = strrchr(model_path, '/');
  size_t length = slash ? (size_t)(slash - model_path) : 0;
  char directory[PATH_MAX];
  if (length >= sizeof directory)
    return tsr_fail(diag, TSR_ERR_IO, "path too long: '%s'", model_path);
  memcpy(directory, model_path, length);
  directory[length] = '\0';
  const char *named = length > 0 ? directory : slash ? "/" : ".";
  if (!realpath(named, out))
    return io_error(diag, named, "resolve the model's directory");
  return TSR_OK;
}

static bool is_below(const char *path, const char *directory) {
  size_t length = strlen(directory);
  if (strcmp(directory, "/") == 0)
    return true;
  return strncmp(path, directory, length) == 0 && path[length] == '/';
}

static tsr_status resolve_external(const char *model_path, const char *location, char *out,
                                   tsr_diag *diag) {
  char directory[PATH_MAX];
  char joined[PATH_MAX];
  TSR_TRY(resolve_directory(model_path, directory, diag));
  size_t base = strlen(directory), extra = strlen(location);
  if (base + extra + 2 > sizeof joined)
    return tsr_fail(diag, TSR_ERR_IO, "path of external data too long: '%s'", location);
  memcpy(joined, directory, base);
  joined[base] = '/';
  memcpy(joined + base + 1, location, extra + 1);
  if (!realpath(joined, out))
    return tsr_fail(diag, TSR_ERR_IO, "cannot open external data '%s': %s", joined,
                    strerror(errno));
  if (!is_below(out, directory))
    return tsr_fail(diag, TSR_ERR_FORMAT,
                    "external data '%s' leads to '%s', outside the model's directory '%s'; move "
                    "the file next to the model",
                    location, out, directory);
  return TSR_OK;
}

tsr_status tsr_onnx_map_external(tsr_onnx_mapping **list, tsr_arena *arena, const char *model_path,
                                 const char *location, const tsr_onnx_mapping **out_mapping,
                                 tsr_diag *diag) {
  char resolved[PATH_MAX];
  *out_mapping = NULL;
  if (location[0] == '\0')
    return tsr_fail(diag, TSR_ERR_FORMAT, "external data without a location");
  if (location[0] == '/' || has_parent_step(location))
    return tsr_fail(diag, TSR_ERR_FORMAT,
                    "external data location '%s' is refused: it must be relative to the model's "
                    "directory and stay in it",
                    location);
  TSR_TRY(resolve_external(model_path, location, resolved, diag));
  for (const tsr_onnx_mapping *m = *list; m; m = m->next)
    if (strcmp(m->path, resolved) == 0) {
      *out_mapping = m;
      return TSR_OK;
    }
  TSR_TRY(tsr_onnx_map_file(list, arena, resolved, diag));
  *out_mapping = *list;
  return TSR_OK;
}

void tsr_onnx_unmap_all(tsr_onnx_mapping *list) {
  for (; list; list = list->next)
    if (list->data)
      munmap((void *)(uintptr_t)list->data, (size_t)list->size);
}
