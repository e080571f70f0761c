#include "frontend/cli/options.h"
#include "passes/passes.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole file, from malloc. */
static tsr_status read_text(const char *path, char **out_text, size_t *out_length, tsr_diag *diag) {
  *out_text = NULL;
  *out_length = 0;
  FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
  if (file == NULL)
    return tsr_fail(diag, TSR_ERR_IO, "%s", strerror(errno));
  size_t room = 1 << 16, length = 0;
  char *text = malloc(room);
  while (text != NULL) {
    length += fread(text + length, 1, room - length, file);
    if (length < room)
      break;
    char *larger = realloc(text, room *= 2);
    if (larger == NULL)
      free(text);
    text = larger;
  }
  bool failed = ferror(file) != 0;
  if (file != stdin)
    fclose(file);
  *out_text = text;
  *out_length = length;
  if (text == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the file");
  return failed ? tsr_fail(diag, TSR_ERR_IO, "it cannot be read: %s", strerror(errno)) : TSR_OK;
}

static tsr_status run_passes(const tsr_cli_args *args, tsr_ir *ir, tsr_diag *diag) {
  tsr_pass_options options = {0};
  int position = 0;
  const char *name;
  while ((name = tsr_cli_next(args, TSR_OPTION_PASS, &position)) != NULL)
    TSR_TRY(tsr_pass_run(ir, tsr_pass_find(name), &options, diag));
  return TSR_OK;
}

static tsr_status print(const tsr_ir *ir, tsr_diag *diag) {
  tsr_arena arena;
  tsr_arena_init(&arena, tsr_allocator_default());
  const char *text = tsr_ir_print(ir, &arena);
  if (text != NULL)
    fputs(text, stdout);
  tsr_arena_reset(&arena);
  return text != NULL ? TSR_OK : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "no memory for the text");
}

static tsr_status optimize(const tsr_cli_args *args, tsr_diag *diag) {
  char *text;
  size_t length;
  tsr_ir *ir = NULL;
  const char *path = args->positional[0];
  tsr_status status = read_text(path, &text, &length, diag);
  if (status == TSR_OK)
    status = tsr_ir_parse(tsr_allocator_default(), text, length, path, diag, &ir);
  free(text);
  if (status == TSR_OK)
    status = tsr_ir_verify(ir, diag);
  if (status == TSR_OK)
    status = run_passes(args, ir, diag);
  if (status == TSR_OK)
    status = print(ir, diag);
  else
    tsr_diag_set_file(diag, path);
  tsr_ir_destroy(ir);
  return status;
}

int tsr_cli_opt(const tsr_cli_args *args) {
  tsr_diag diag = {0};
  int position = 0;
  const char *name;
  while ((name = tsr_cli_next(args, TSR_OPTION_PASS, &position)) != NULL) {
    if (tsr_pass_find(name) == NULL) {
      char known[512] = "";
      uint32_t count;
      const tsr_pass_info *passes = tsr_passes(&count);
      for (uint32_t i = 0; i < count; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i > 0 ? ", " : "",
                 passes[i].name);
      return tsr_cli_usage(args, "--pass knows no '%s'; passes are %s", name, known);
    }
  }
  return optimize(args, &diag) == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&diag);
}
