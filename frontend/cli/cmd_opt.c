#include "codegen/cpu/cpu_isa.h"
#include "frontend/cli/options.h"
#include "passes/passes.h"
#include "passes/tile/tile.h"
#include "runtime/cpu_features.h"
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

/* The passes that need a target come after those of the pass list. */
static tsr_status plan(tsr_ir *ir, const tsr_target *target, tsr_diag *diag) {
  return tsr_plan_default(ir, target, diag, NULL);
}

static tsr_op find_plan(const tsr_ir *ir) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    if (tsr_op_get(ir, op)->code == TSR_OP_PLAN)
      return op;
  }
  return 0;
}

static tsr_status tile(tsr_ir *ir, const tsr_target *target, tsr_diag *diag) {
  const tsr_plan_source source = {.ir = ir, .plan = find_plan(ir)};
  return tsr_pass_tile(ir, target, source.plan != 0 ? &source : NULL, diag);
}

static tsr_status pack(tsr_ir *ir, const tsr_target *target, tsr_diag *diag) {
  (void)target;
  return tsr_pass_pack(ir, diag);
}

static const struct target_pass {
  const char *name;
  tsr_status (*function)(tsr_ir *ir, const tsr_target *target, tsr_diag *diag);
} target_passes[] = {{"plan", plan},
                     {"tile", tile},
                     {"pack", pack},
                     {"fetch_next", tsr_pass_fetch_next},
                     {"reuse", tsr_pass_reuse}};
enum { TARGET_PASS_COUNT = sizeof target_passes / sizeof *target_passes };

static const struct target_pass *find_target_pass(const char *name) {
  for (int i = 0; i < TARGET_PASS_COUNT; i++) {
    if (strcmp(target_passes[i].name, name) == 0)
      return &target_passes[i];
  }
  return NULL;
}

/* The target of --target, with caches and threads that do not depend on the machine at hand, so
 * that the same text comes out everywhere. */
static tsr_status select_target(const tsr_cli_args *args, tsr_target *out_target, tsr_diag *diag) {
  static const tsr_cpu_caches caches = {
      .l1d_bytes = 32 << 10, .l2_bytes = 1 << 20, .l3_bytes = 32 << 20, .line_bytes = 64};
  tsr_cpu_isa isa;
  const char *text = tsr_cli_text(args, TSR_OPTION_TARGET, "cpu:x86-64-v4");
  if (tsr_target_cuda(text, out_target))
    return TSR_OK;
  TSR_TRY(tsr_cpu_isa_parse(text, diag, &isa));
  tsr_target_cpu(tsr_cpu_isa_features(&isa), &caches, 1, out_target);
  tsr_cpu_isa_text(&isa, out_target->name);
  out_target->bf16_parts = true;
  return TSR_OK;
}

static tsr_status run_passes(const tsr_cli_args *args, tsr_ir *ir, tsr_diag *diag) {
  tsr_pass_options options = {
      .fuse_level = tsr_cli_has(args, TSR_OPTION_NO_FUSE) ? TSR_FUSE_NONE : TSR_FUSE_REGISTER};
  tsr_target target;
  TSR_TRY(select_target(args, &target, diag));
  options.narrow_products = tsr_target_narrow_products(&target);
  options.byte_products = tsr_target_byte_products(&target);
  options.group_bytes = target.kind == TSR_TARGET_CPU ? (int64_t)target.l2_bytes : 0;
  options.layout_bytes = options.group_bytes;
  options.layout_lanes = tsr_target_lanes(&target, 32);
  int position = 0;
  const char *name;
  while ((name = tsr_cli_next(args, TSR_OPTION_PASS, &position)) != NULL) {
    const struct target_pass *pass = find_target_pass(name);
    if (pass == NULL) {
      TSR_TRY(tsr_pass_run(ir, tsr_pass_find(name), &options, diag));
    } else {
      TSR_TRY(pass->function(ir, &target, diag));
      TSR_TRY(tsr_ir_verify(ir, diag));
    }
  }
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

static int unknown_pass(const tsr_cli_args *args, const char *name) {
  char known[512] = "";
  uint32_t count;
  const tsr_pass_info *passes = tsr_passes(&count);
  for (uint32_t i = 0; i < count + TARGET_PASS_COUNT; i++)
    snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i > 0 ? ", " : "",
             i < count ? passes[i].name : target_passes[i - count].name);
  return tsr_cli_usage(args, "--pass knows no '%s'; passes are %s", name, known);
}

int tsr_cli_opt(const tsr_cli_args *args) {
  tsr_diag diag = {0};
  int position = 0;
  const char *name;
  while ((name = tsr_cli_next(args, TSR_OPTION_PASS, &position)) != NULL) {
    if (tsr_pass_find(name) == NULL && find_target_pass(name) == NULL)
      return unknown_pass(args, name);
  }
  return optimize(args, &diag) == TSR_OK ? TSR_EXIT_FINE : tsr_cli_bad(&diag);
}
