/* Compiled texts that outlive the process. A library's name is the hash of all that it was made
 * from: the text, the emulated primitives, the compiler and its flags. */
#include "runtime/hash.h"
#include "tests/cuda_emulator/engine/engine.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAYS_KEPT = 7 };

const char *emulator_compiler(void) {
  const char *compiler = getenv("CC");
  return compiler && *compiler ? compiler : "cc";
}

static uint64_t hash_file(const char *path, uint64_t seed) {
  char data[4096];
  FILE *in = fopen(path, "rb");
  for (size_t count; in && (count = fread(data, 1, sizeof(data), in)) > 0;)
    seed = tsr_hash64_seeded(data, count, seed);
  if (in)
    fclose(in);
  return seed;
}

/* The compiler is known by its name, and by the time and size of the first file of that name in
 * $PATH. */
static uint64_t hash_compiler(uint64_t seed) {
  const char *compiler = emulator_compiler(), *path = getenv("PATH");
  char file[PATH_BYTES];
  struct stat about;
  size_t name = strcspn(compiler, " ");
  seed = tsr_hash64_seeded(compiler, strlen(compiler), seed);
  while (path && *path) {
    size_t length = strcspn(path, ":");
    snprintf(file, sizeof(file), "%.*s/%.*s", (int)length, path, (int)name, compiler);
    if (stat(memchr(compiler, '/', name) ? compiler : file, &about) == 0) {
      int64_t facts[] = {about.st_mtim.tv_sec, about.st_mtim.tv_nsec, about.st_size};
      return tsr_hash64_seeded(facts, sizeof(facts), seed);
    }
    path += length + (path[length] == ':');
  }
  return seed;
}

static uint64_t hash_all(const char *source) {
  static const char *const files[] = {
      TSR_EMULATOR_FOLDER "/device_emulated.h", TSR_EMULATOR_FOLDER "/engine/device_api.h",
      TSR_EMULATOR_FOLDER "/engine/load.c", TSR_DEVICE_FOLDER "/device_common.h"};
  uint64_t hash = tsr_hash64(TSR_EMULATOR_FLAGS, strlen(TSR_EMULATOR_FLAGS));
  for (size_t i = 0; i < sizeof(files) / sizeof(*files); ++i)
    hash = hash_file(files[i], hash);
  return tsr_hash64_seeded(source, strlen(source), hash_compiler(hash));
}

/* Removes what was not used for days. */
static void tidy(const char *folder) {
  DIR *entries = opendir(folder);
  char path[PATH_BYTES];
  struct stat about;
  for (struct dirent *entry; entries && (entry = readdir(entries)) != NULL;) {
    size_t length = strlen(entry->d_name);
    snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
    if (length > 3 && strcmp(entry->d_name + length - 3, ".so") == 0 && stat(path, &about) == 0 &&
        time(NULL) - about.st_mtime > DAYS_KEPT * 24 * 3600)
      unlink(path);
  }
  if (entries)
    closedir(entries);
}

bool kept_library(const char *source, char out_path[PATH_BYTES]) {
  const char *folder = getenv("TESSERA_EMULATED_CACHE");
  if (!folder || !*folder || strlen(folder) > PATH_BYTES - 32)
    return false;
  if (mkdir(folder, 0777) != 0 && errno != EEXIST)
    return false;
  snprintf(out_path, PATH_BYTES, "%s/%016llx.so", folder, (unsigned long long)hash_all(source));
  if (access(out_path, F_OK) == 0)
    utimensat(AT_FDCWD, out_path, NULL, 0);
  else
    tidy(folder);
  return true;
}

/* The two may lie in different file systems. */
bool keep_library(const char *made, const char *kept) {
  char beside[PATH_BYTES + 32], data[65536];
  snprintf(beside, sizeof(beside), "%s.%ld.new", kept, (long)getpid());
  FILE *in = fopen(made, "rb"), *out = fopen(beside, "wb");
  bool fine = in && out;
  for (size_t count; fine && (count = fread(data, 1, sizeof(data), in)) > 0;)
    fine = fwrite(data, 1, count, out) == count;
  fine = fine && !ferror(in);
  if (in)
    fclose(in);
  if (out)
    fine = fclose(out) == 0 && fine;
  fine = fine && rename(beside, kept) == 0;
  if (!fine)
    unlink(beside);
  return fine;
}
