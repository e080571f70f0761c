/* ONNX backend tests whose models were compiled before, compared as `tessera verify` does. */
#include "frontend/cli/verify_case.h"
#include "tests/gpu/items.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static verdict run_operator(const char *folder, char *out_reason) {
  tsr_cli_args args = {.command = TSR_COMMAND_VERIFY};
  switch (tsr_verify_case(&args, folder, out_reason, REASON_BYTES)) {
  case TSR_VERDICT_PASS:
    return VERDICT_PASS;
  case TSR_VERDICT_SKIP:
    return VERDICT_SKIP;
  default:
    return VERDICT_FAIL;
  }
}

static char *join(const char *a, const char *between, const char *b) {
  size_t bytes = strlen(a) + strlen(between) + strlen(b) + 1;
  char *text = malloc(bytes);
  if (text == NULL)
    abort();
  snprintf(text, bytes, "%s%s%s", a, between, b);
  return text;
}

void items_add_operators(items *all, const char *folder) {
  struct dirent **entries = NULL;
  int count = scandir(folder, &entries, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    char *path = join(folder, "/", entries[i]->d_name), *module = join(path, "/", "model.tsm");
    if (access(module, F_OK) == 0 && all->count < MOST_ITEMS) {
      all->list[all->count++] = (item){
          .name = join("operator", ".", entries[i]->d_name), .folder = path, .run = run_operator};
      path = NULL;
    }
    free(path);
    free(module);
    free(entries[i]);
  }
  free(entries);
}
