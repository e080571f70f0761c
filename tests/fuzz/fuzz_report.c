/* JSON as `tessera report` reads it: refused with a message, or a page comes out whose tags are
 * balanced and which holds no markup of the input. */
#include "frontend/cli/report.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const char *page, size_t size) {
  size_t opened = 0, closed = 0;
  for (size_t i = 0; i < size; i++) {
    opened += page[i] == '<';
    closed += page[i] == '<' && page[i + 1] == '/';
  }
  if (opened == 0 || closed == 0 || strstr(page, "<script") != NULL)
    abort();
}

static void write_page(tsr_report_file *file) {
  char *page = NULL;
  size_t size = 0;
  tsr_report report = {.files = file, .count = 1};
  FILE *out = open_memstream(&page, &size);
  if (out == NULL)
    return;
  tsr_report_write_page(out, &report);
  if (fclose(out) == 0)
    look_at(page, size);
  free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tsr_arena arena;
  tsr_diag diag = {0};
  const tsr_json *root;
  tsr_report_file file;
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_status status = tsr_json_parse((const char *)data, size, &arena, &diag, &root);
  if (status == TSR_OK)
    status = tsr_report_take(root, "fuzz", &arena, &diag, &file);
  if (status == TSR_OK)
    write_page(&file);
  else if (diag.message[0] == '\0')
    abort();
  tsr_arena_reset(&arena);
  return 0;
}
