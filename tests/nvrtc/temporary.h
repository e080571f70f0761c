/* A folder for one test, removed with what is in it. */
#ifndef TESTS_NVRTC_TEMPORARY_H
#define TESTS_NVRTC_TEMPORARY_H
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void make_folder(char *path, size_t size) {
  const char *base = getenv("TESSERA_TEST_TMP");
  snprintf(path, size, "%s/nvrtc-XXXXXX", base != NULL ? base : "/tmp");
  if (mkdtemp(path) == NULL) {
    fprintf(stderr, "no temporary folder %s\n", path);
    exit(1);
  }
}

/* Visits the files of `folder` whose names do not begin with a dot, hidden ones as well when asked
 * for; gives their number. `visit` may be NULL. */
static inline int each_file(const char *folder, int hidden, void (*visit)(const char *path)) {
  char path[4096];
  struct dirent *item;
  int count = 0;
  DIR *items = opendir(folder);
  while (items != NULL && (item = readdir(items)) != NULL) {
    if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0 ||
        (item->d_name[0] == '.' && !hidden))
      continue;
    snprintf(path, sizeof path, "%s/%s", folder, item->d_name);
    count++;
    if (visit != NULL)
      visit(path);
  }
  if (items != NULL)
    closedir(items);
  return count;
}

static inline void remove_file(const char *path) {
  (void)unlink(path);
}

static inline void remove_folder(const char *folder) {
  (void)each_file(folder, 1, remove_file);
  (void)rmdir(folder);
}

#endif
