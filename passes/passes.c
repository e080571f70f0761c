#include "passes/passes.h"
#include "runtime/clock.h"
#include <string.h>

#define PASS_ROW(name, why) {#name, tsr_pass_##name, why},
static const tsr_pass_info pass_table[] = {TSR_PASS_LIST(PASS_ROW)};
#undef PASS_ROW

enum { PASS_COUNT = sizeof pass_table / sizeof pass_table[0] };

const tsr_pass_info *tsr_passes(uint32_t *out_count) {
  if (out_count != NULL)
    *out_count = PASS_COUNT;
  return pass_table;
}

const tsr_pass_info *tsr_pass_find(const char *name) {
  for (uint32_t i = 0; i < PASS_COUNT; i++)
    if (strcmp(pass_table[i].name, name) == 0)
      return &pass_table[i];
  return NULL;
}

/* An IR that a pass broke is a bug of the pass, whatever the verifier calls it. */
static tsr_status verify_after(tsr_ir *ir, const char *pass, tsr_diag *diag) {
  tsr_diag found = {0};
  tsr_status status = tsr_ir_verify(ir, &found);
  if (status == TSR_OK)
    return TSR_OK;
  if (status == TSR_ERR_OUT_OF_MEMORY)
    return tsr_fail(diag, status, "%s", found.message);
  char text[sizeof found.message + 64];
  tsr_diag_format(&found, text, sizeof text);
  return tsr_fail(diag, TSR_ERR_INTERNAL, "pass %s left broken IR: %s", pass, text);
}

static bool hooked(const tsr_pass_options *options, const char *pass) {
  return options->hook != NULL &&
         (options->print_after == NULL || strcmp(options->print_after, "all") == 0 ||
          strcmp(options->print_after, pass) == 0);
}

tsr_status tsr_pass_run(tsr_ir *ir, const tsr_pass_info *pass, const tsr_pass_options *options,
                        tsr_diag *diag) {
  static const tsr_pass_options defaults;
  if (options == NULL)
    options = &defaults;
  TSR_TRY(tsr_ir_verify(ir, diag));
  int64_t start = tsr_time_ns();
  TSR_TRY(pass->function(ir, options, diag));
  int64_t time_ns = tsr_time_ns() - start;
  if (tsr_ir_status(ir) != TSR_OK)
    return tsr_fail(diag, tsr_ir_status(ir), "pass %s: %s", pass->name, tsr_ir_diag(ir)->message);
  TSR_TRY(verify_after(ir, pass->name, diag));
  return hooked(options, pass->name) ? options->hook(options->hook_context, ir, pass->name, time_ns)
                                     : TSR_OK;
}

static bool wanted(const tsr_pass_options *options, const tsr_pass_info *pass) {
  if (pass->function == tsr_pass_check_blocks)
    return options->check_blocks;
  return pass->function != tsr_pass_fuse || options->fuse_level != TSR_FUSE_NONE;
}

tsr_status tsr_passes_run(tsr_ir *ir, const tsr_pass_options *options, tsr_diag *diag) {
  static const tsr_pass_options defaults;
  if (options == NULL)
    options = &defaults;
  if (options->stop_after != NULL && tsr_pass_find(options->stop_after) == NULL)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "there is no pass named \"%s\"", options->stop_after);
  for (uint32_t i = 0; i < PASS_COUNT; i++) {
    if (wanted(options, &pass_table[i]))
      TSR_TRY(tsr_pass_run(ir, &pass_table[i], options, diag));
    if (options->stop_after != NULL && strcmp(options->stop_after, pass_table[i].name) == 0)
      break;
  }
  return TSR_OK;
}
