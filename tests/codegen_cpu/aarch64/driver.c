/* Runs one function of an image on AArch64, for tests/codegen_cpu/test_aarch64.c.
 *
 *   driver IMAGE ENTRY map COUNT A B OUT           f(a, b, out, count)
 *   driver IMAGE ENTRY kernel TASKS DIM,DIM BUFFER...  f(buffers, dims, 0, tasks, scratch)
 *
 * Buffers are files; each is written back after the call. The image is mapped from its file
 * readable and executable, as the runtime does. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_BUFFERS = 8, SCRATCH = 1 << 20 };

static void *map(const char *path, int protection, int flags) {
  struct stat info;
  int file = open(path, protection & PROT_WRITE ? O_RDWR : O_RDONLY);
  if (file < 0 || fstat(file, &info) != 0) {
    perror(path);
    exit(2);
  }
  void *bytes = mmap(NULL, (size_t)info.st_size, protection, flags, file, 0);
  if (bytes == MAP_FAILED) {
    perror(path);
    exit(2);
  }
  close(file);
  return bytes;
}

int main(int argc, char **argv) {
  static _Alignas(64) unsigned char scratch[SCRATCH];
  void *buffers[MAX_BUFFERS];
  if (argc < 6 || argc > 6 + MAX_BUFFERS)
    return 2;
  char *entry = (char *)map(argv[1], PROT_READ | PROT_EXEC, MAP_PRIVATE) + atoll(argv[2]);
  int is_kernel = strcmp(argv[3], "kernel") == 0, first = is_kernel ? 6 : 5;
  int64_t count = atoll(argv[4]), dims[2] = {0};
  if (is_kernel && sscanf(argv[5], "%" SCNd64 ",%" SCNd64, &dims[0], &dims[1]) != 2)
    return 2;
  for (int i = first; i < argc; i++)
    buffers[i - first] = map(argv[i], PROT_READ | PROT_WRITE, MAP_SHARED);
  if (is_kernel) {
    void (*kernel)(void *const *, const int64_t *, int64_t, int64_t, void *);
    memcpy(&kernel, &entry, sizeof kernel);
    kernel(buffers, dims, 0, count, scratch);
  } else {
    void (*function)(const void *, const void *, void *, int64_t);
    memcpy(&function, &entry, sizeof function);
    function(buffers[0], buffers[1], buffers[2], count);
  }
  return 0;
}
