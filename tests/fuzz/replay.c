// Stands in for libFuzzer where it is not linked: gives every file named on the command line, and
// every file in a named folder, to the fuzz target once. Prints how many there were, so that a lost
// corpus shows.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, size_t size) {
  FILE *file = fopen(path, "rb");
  uint8_t *data = malloc(size > 0 ? size : 1);
  int failed = file == NULL || data == NULL || fread(data, 1, size, file) != size;
  if (!failed)
    LLVMFuzzerTestOneInput(data, size);
  else
    fprintf(stderr, "%s: cannot be read\n", path);
  free(data);
  if (file != NULL)
    fclose(file);
  return failed;
}

static int replay(const char *path, int *inputs) {
  struct stat about;
  if (stat(path, &about) != 0) {
    fprintf(stderr, "%s: cannot be read\n", path);
    return 1;
  }
  if (!S_ISDIR(about.st_mode)) {
    ++*inputs;
    return replay_file(path, (size_t)about.st_size);
  }
  struct dirent **entries = NULL;
  int count = scandir(path, &entries, NULL, alphasort);
  int failed = count < 0;
  for (int i = 0; i < count; i++) {
    char name[4096];
    int length = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.' && length > 0 && (size_t)length < sizeof name)
      failed |= replay(name, inputs);
    free(entries[i]);
  }
  free(entries);
  return failed;
}

int main(int argc, char **argv) {
  int failed = LLVMFuzzerTestOneInput((const uint8_t *)"", 0) > 0;
  int inputs = 0;
  for (int i = 1; i < argc; i++)
    failed |= replay(argv[i], &inputs);
  printf("%d inputs replayed\n", inputs);
  return failed;
}
