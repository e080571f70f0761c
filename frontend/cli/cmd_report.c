#include "frontend/cli/options.h"
#include "frontend/cli/out_file.h"
#include "frontend/cli/report.h"

/* The page is begun when every file has been read and found right. */
static tsr_status report(const tsr_cli_args *args, const char *path, tsr_arena *arena,
                         tsr_diag *diag) {
  tsr_report results;
  FILE *out;
  TSR_TRY(
      tsr_report_read(args->positional, (uint32_t)args->positional_count, arena, diag, &results));
  TSR_TRY(tsr_out_file_open(path, &out, diag));
  tsr_report_write_page(out, &results);
  return tsr_out_file_close(out, path, diag);
}

int tsr_cli_report(const tsr_cli_args *args) {
  tsr_diag diag = {0};
  tsr_arena arena;
  const char *path = tsr_cli_text(args, TSR_OPTION_OUTPUT, NULL);
  if (path == NULL)
    return tsr_cli_usage(args, "-o FILE.html is missing");
  tsr_arena_init(&arena, tsr_allocator_default());
  tsr_status status = report(args, path, &arena, &diag);
  tsr_arena_reset(&arena);
  return status == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&diag);
}
