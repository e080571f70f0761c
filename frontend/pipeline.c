#include "frontend/pipeline.h"
#include "codegen/cpu/codegen.h"
#include "codegen/cuda/cuda.h"
#include "codegen/host_program.h"
#include "codegen/program.h"
#include "frontend/cuda_program.h"
#include "frontend/known_schedules.h"
#include "frontend/manifest.h"
#include "ir/copy.h"
#include "ir/narrow.h"
#include "passes/passes.h"
#include "passes/tile/tile.h"
#include "runtime/module/writer.h"
#include <stdio.h>
#include <string.h>
#include <tessera/version.h>

typedef struct target_build target_build;

/* A graph's way to a program: the whole model, or what its host program calls. */
typedef struct part_build {
  target_build *build;
  const char *name; /* of the graph; "" when it is the whole model */
  tsr_ir *ir;
  tsr_program *program;
  tsr_cuda_program cuda; /* target.kind TSR_TARGET_CUDA: its kernels */
} part_build;

/* One target's way through the compiler. Everything that `program` points to lives in an IR, onnx
 * or arena. */
struct target_build {
  const tsr_compile_options *options;
  const char *target_text;
  tsr_diag *diag;
  tsr_ir *ir; /* as imported, then divided; a single part has it too */
  tsr_onnx_model *onnx;
  tsr_arena arena;
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_program program; /* of the host, when there are parts for it to call */
  part_build *parts;
  uint32_t part_count;
  tsr_cuda_program cuda;   /* what those of all parts start as */
  tsr_db *db;              /* NULL: no schedules are known */
  uint32_t known, kernels; /* kernels with a schedule from there, of so many */
  bool blocks_only;        /* no further than the pass `storage` */
  bool unasked;            /* added for later devices; emits nothing */
};

struct tsr_compilation {
  const tsr_allocator *allocator;
  target_build *builds;
  uint32_t count;
  tsr_db *db;
};

static const tsr_compile_options no_options;

static bool has_suffix(const char *text, const char *suffix) {
  size_t length = strlen(text), tail = strlen(suffix);
  return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

/* The whole file in memory from `arena`. */
static tsr_status read_text(const char *path, tsr_arena *arena, tsr_diag *diag,
                            const char **out_text, size_t *out_bytes) {
  FILE *file = fopen(path, "rb");
  if (file == NULL)
    return tsr_fail(diag, TSR_ERR_IO, "cannot open the file: %m");
  size_t used = 0, capacity = 1 << 16;
  char *text = tsr_arena_alloc(arena, capacity);
  while (text != NULL) {
    used += fread(text + used, 1, capacity - used, file);
    if (used < capacity)
      break;
    char *larger = tsr_arena_alloc(arena, capacity * 2);
    if (larger != NULL)
      memcpy(larger, text, used);
    text = larger;
    capacity *= 2;
  }
  bool failed = ferror(file) != 0;
  fclose(file);
  if (text == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory for the file");
  if (failed)
    return tsr_fail(diag, TSR_ERR_IO, "cannot read the file");
  *out_text = text;
  *out_bytes = used;
  return TSR_OK;
}

static tsr_op find_top(const tsr_ir *ir, tsr_opcode code) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), op) {
    if (tsr_op_get(ir, op)->code == code)
      return op;
  }
  return 0;
}

static tsr_status import_text(const tsr_model_source *source, const tsr_compile_options *options,
                              const tsr_allocator *allocator, tsr_diag *diag, tsr_ir **out_ir) {
  tsr_arena scratch;
  tsr_arena_init(&scratch, allocator);
  const char *text = source->text;
  size_t bytes = source->text_bytes;
  tsr_status status = TSR_OK;
  if (text == NULL)
    status = read_text(source->path, &scratch, diag, &text, &bytes);
  if (status == TSR_OK)
    status = tsr_ir_parse(allocator, text, bytes, source->path, diag, out_ir);
  tsr_arena_reset(&scratch);
  for (uint32_t i = 0; status == TSR_OK && i < options->dim_count; i++)
    status = tsr_dim_narrow(*out_ir, options->dims[i].name, options->dims[i].lo,
                            options->dims[i].hi, diag);
  if (status == TSR_OK)
    status = tsr_ir_verify(*out_ir, diag);
  if (status == TSR_OK && find_top(*out_ir, TSR_OP_GRAPH) == 0 &&
      find_top(*out_ir, TSR_OP_MODEL) == 0)
    status = tsr_fail(diag, TSR_ERR_FORMAT, "the file has no graph to compile");
  return status;
}

static tsr_status import_onnx(const tsr_model_source *source, const tsr_compile_options *options,
                              const tsr_allocator *allocator, tsr_diag *diag, tsr_ir **out_ir,
                              tsr_onnx_model **out_onnx) {
  tsr_onnx_model *onnx = allocator->allocate(allocator->context, sizeof *onnx, 16);
  if (onnx == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  tsr_status status = tsr_onnx_model_open(onnx, allocator, source->path, diag);
  if (status != TSR_OK) {
    allocator->release(allocator->context, onnx, sizeof *onnx);
    return status;
  }
  *out_onnx = onnx;
  tsr_arena scratch;
  tsr_arena_init(&scratch, allocator);
  tsr_import_dim *dims = tsr_arena_alloc_array(&scratch, options->dim_count, sizeof *dims);
  tsr_import_alias *aliases =
      tsr_arena_alloc_array(&scratch, options->alias_count, sizeof *aliases);
  if (dims == NULL || aliases == NULL) {
    tsr_arena_reset(&scratch);
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  }
  for (uint32_t i = 0; i < options->dim_count; i++)
    dims[i] = (tsr_import_dim){options->dims[i].name, options->dims[i].lo, options->dims[i].hi};
  for (uint32_t i = 0; i < options->alias_count; i++)
    aliases[i] = (tsr_import_alias){options->aliases[i].output, options->aliases[i].input};
  tsr_import_options import = {.dims = dims,
                               .dim_count = options->dim_count,
                               .aliases = aliases,
                               .alias_count = options->alias_count,
                               .assumptions = source->assumptions,
                               .assumption_count = source->assumption_count};
  status = tsr_onnx_import(onnx, &import, allocator, diag, out_ir);
  tsr_arena_reset(&scratch);
  return status;
}

static tsr_op find_output(const tsr_ir *ir, const char *name) {
  TSR_FOR_EACH_OP (ir, tsr_ir_top(ir), graph) {
    if (tsr_op_get(ir, graph)->code != TSR_OP_GRAPH)
      continue;
    TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph)->regions[0], op)
      if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT &&
          strcmp(tsr_op_string(ir, op, "name"), name) == 0)
        return op;
  }
  return 0;
}

/* The pass in_place looks at what is declared. */
static tsr_status declare_aliases(tsr_ir *ir, const tsr_compile_options *options, tsr_diag *diag) {
  for (uint32_t i = 0; i < options->alias_count; i++) {
    tsr_op output = find_output(ir, options->aliases[i].output);
    if (output == 0)
      return tsr_fail(diag, TSR_ERR_NOT_FOUND,
                      "the model has no output '%s', which is to live in "
                      "the memory of input '%s'",
                      options->aliases[i].output, options->aliases[i].input);
    tsr_op_set_string(ir, output, "alias", options->aliases[i].input);
  }
  return tsr_ir_status(ir);
}

tsr_status tsr_model_import(const tsr_model_source *source, const tsr_compile_options *options,
                            const tsr_allocator *allocator, tsr_diag *diag, tsr_ir **out_ir,
                            tsr_onnx_model **out_onnx) {
  *out_ir = NULL;
  *out_onnx = NULL;
  if (source->graph != NULL) {
    TSR_TRY(tsr_ir_copy_in_order(source->graph, allocator, out_ir));
    TSR_TRY(declare_aliases(*out_ir, options, diag));
    return tsr_ir_verify(*out_ir, diag);
  }
  bool text = source->text != NULL || has_suffix(source->path, ".tsr");
  tsr_status status = text ? import_text(source, options, allocator, diag, out_ir)
                           : import_onnx(source, options, allocator, diag, out_ir, out_onnx);
  if (status == TSR_OK)
    status = declare_aliases(*out_ir, options, diag);
  if (status != TSR_OK)
    tsr_diag_set_file(diag, source->path);
  return status;
}

static bool emits(const target_build *build, uint32_t kinds) {
  return (build->options->emit & kinds) != 0 && build->options->emit_function != NULL &&
         !build->unasked;
}

static void emit_bytes(const target_build *build, tsr_emit kind, const char *kind_text,
                       const char *part, const void *bytes, size_t size) {
  if (emits(build, (uint32_t)kind) && bytes != NULL)
    build->options->emit_function(build->options->emit_context, kind_text, build->target_text, part,
                                  bytes, size);
}

static void emit(const target_build *build, tsr_emit kind, const char *kind_text, const char *part,
                 const char *text) {
  emit_bytes(build, kind, kind_text, part, text, text == NULL ? 0 : strlen(text));
}

static void emit_ir(const target_build *build, tsr_emit kind, const char *kind_text,
                    const char *part, const tsr_ir *ir) {
  if (!emits(build, (uint32_t)kind))
    return;
  tsr_arena scratch;
  tsr_arena_init(&scratch, build->arena.allocator);
  emit(build, kind, kind_text, part, tsr_ir_print(ir, &scratch));
  tsr_arena_reset(&scratch);
}

static void emit_part(const part_build *part, tsr_emit kind, const char *kind_text) {
  emit_ir(part->build, kind, kind_text, part->name, part->ir);
}

/* The schedules, which tsr_pass_tile derives again: printed, then dropped. */
static tsr_status emit_plan(const part_build *part, const tsr_plan_source *source) {
  const target_build *build = part->build;
  if (!emits(build, TSR_EMIT_PLAN))
    return TSR_OK;
  tsr_op plan;
  tsr_arena scratch;
  tsr_arena_init(&scratch, build->arena.allocator);
  tsr_status status = tsr_plan_make(part->ir, &build->target, source, build->diag, &plan);
  if (status == TSR_OK) {
    emit(build, TSR_EMIT_PLAN, "plan", part->name, tsr_op_print(part->ir, plan, &scratch));
    tsr_op_erase(part->ir, plan);
  }
  tsr_arena_reset(&scratch);
  return status;
}

/* After which pass which text shows. */
static tsr_status after_pass(void *context, const tsr_ir *ir, const char *pass, int64_t time_ns) {
  (void)ir;
  (void)time_ns;
  if (strcmp(pass, "canonicalize") == 0)
    emit_part(context, TSR_EMIT_GRAPH, "graph");
  if (strcmp(pass, "to_blocks") == 0)
    emit_part(context, TSR_EMIT_BLOCK, "block");
  if (strcmp(pass, "group") == 0)
    emit_part(context, TSR_EMIT_GROUPS, "groups");
  return TSR_OK;
}

/* The program's target is named as it was given, so that loading by that name finds it. */
static tsr_status select_cuda(target_build *build, const char *plain) {
  tsr_cuda_program *cuda = &build->cuda;
  if (cuda->emulated && !tsr_cuda_emulation_exists())
    return tsr_fail(build->diag, TSR_ERR_UNSUPPORTED,
                    "'%s' is the device of the tests, which this build does not have; build with "
                    "TESSERA_TESTS on, or compile for '%s'",
                    build->target_text, plain);
  if (!tsr_target_cuda(plain, &build->target))
    return tsr_fail(build->diag, TSR_ERR_INTERNAL, "'%s' has no description", plain);
  build->target.tf32 =
      build->options->precision != NULL && strcmp(build->options->precision, "tf32") == 0;
  cuda->arena = &build->arena;
  if (build->unasked)
    cuda->forms = TSR_CUDA_FORM_PTX;
  if (build->options->emit_only)
    cuda->forms = 0;
  if (emits(build, TSR_EMIT_PTX))
    cuda->whole_forms |= TSR_CUDA_FORM_PTX;
  if (emits(build, TSR_EMIT_CUBIN))
    cuda->whole_forms |= TSR_CUDA_FORM_CUBIN;
  return TSR_OK;
}

static tsr_status select_target(target_build *build) {
  const char *text = build->target_text, *plain;
  if (strncmp(text, "cuda", 4) == 0 && tsr_cuda_program_target(text, &build->cuda, &plain))
    return select_cuda(build, plain);
  if (strncmp(text, "cpu", 3) != 0 || (text[3] != 0 && text[3] != ':'))
    return tsr_fail(
        build->diag, TSR_ERR_ARGUMENT,
        "unknown target '%s'; known are cpu, cpu:x86-64-v2, cpu:avx2, cpu:avx512, cpu:aarch64, "
        "cuda:sm_80, cuda:sm_89, cuda:sm_90a",
        text);
  TSR_TRY(tsr_cpu_isa_parse(text, build->diag, &build->isa));
  tsr_cpu_caches caches;
  tsr_cpu_cache_sizes(&caches);
  uint32_t threads = build->options->threads == 0 ? tsr_cpu_count() : build->options->threads;
  tsr_target_cpu(tsr_cpu_isa_features(&build->isa), &caches, threads, &build->target);
  tsr_cpu_isa_text(&build->isa, build->target.name);
  build->target.bf16_parts =
      build->options->precision == NULL || strcmp(build->options->precision, "f32-strict") != 0;
  return TSR_OK;
}

static tsr_program_parts describe_program(const target_build *build) {
  const bool cuda = build->target.kind == TSR_TARGET_CUDA;
  const char *precision = build->options->precision;
  return (tsr_program_parts){.target = cuda ? build->target_text : build->target.name,
                             .cpu_features = cuda ? 0 : tsr_cpu_isa_needs(&build->isa),
                             .tile_features = cuda ? 0 : tsr_cpu_isa_tiles(&build->isa),
                             .precision = precision == NULL ? "f32" : precision,
                             .producer = tsr_version_text()};
}

static tsr_status build_program(part_build *part, tsr_program_parts *about) {
  about->called = part->name[0] != 0;
  return tsr_program_build(part->ir, find_top(part->ir, TSR_OP_GRAPH), about, &part->build->arena,
                           part->build->diag, part->program);
}

static tsr_status lower_cuda(part_build *part, tsr_program_parts *about) {
  target_build *build = part->build;
  tsr_cuda_code code;
  TSR_TRY(tsr_codegen_cuda(part->ir, &build->target, &build->arena, build->diag, &code));
  part->cuda = build->cuda;
  part->cuda.code = code;
  part->cuda.program = part->program;
  if (emits(build, TSR_EMIT_CU))
    emit(build, TSR_EMIT_CU, "cu", part->name,
         part->cuda.emulated ? tsr_cuda_program_text(&part->cuda) : code.text);
  tsr_kernel_code *kernels =
      tsr_arena_alloc_array(&build->arena, code.kernel_count, sizeof *kernels);
  if (kernels == NULL)
    return tsr_fail(build->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < code.kernel_count; i++)
    kernels[i] = (tsr_kernel_code){.symbol = code.kernels[i].name,
                                   .dims = code.kernels[i].dims,
                                   .dim_count = code.kernels[i].dim_count,
                                   .function = code.kernels[i].symbol,
                                   .threads = code.kernels[i].threads,
                                   .shared_bytes = (uint32_t)code.kernels[i].shared_bytes,
                                   .cluster = code.kernels[i].cluster,
                                   .cooperative = code.kernels[i].cooperative,
                                   .maps = code.kernels[i].maps,
                                   .map_count = code.kernels[i].map_count};
  about->kernels = kernels;
  about->kernel_count = code.kernel_count;
  return build_program(part, about);
}

static tsr_status lower_cpu(part_build *part, tsr_program_parts *about) {
  target_build *build = part->build;
  const uint32_t wanted = build->options->emit;
  tsr_codegen_options codegen = {.want_ll = (wanted & TSR_EMIT_LL) != 0,
                                 .want_assembly = (wanted & TSR_EMIT_ASM) != 0};
  tsr_cpu_code code;
  TSR_TRY(tsr_codegen_cpu(part->ir, &build->isa, &codegen, &build->arena, build->diag, &code));
  emit(build, TSR_EMIT_LL, "ll", part->name, code.ll);
  emit(build, TSR_EMIT_ASM, "asm", part->name, code.assembly);
  about->image = code.image;
  about->image_bytes = code.image_bytes;
  about->kernels = code.kernels;
  about->kernel_count = code.kernel_count;
  return build_program(part, about);
}

/* Blocks to tile programs, under schedules of the database where it has some. */
static tsr_status tile_known(part_build *part) {
  target_build *build = part->build;
  tsr_known_schedules known;
  TSR_TRY(tsr_known_schedules_begin(&known, build->db, &build->target, build->arena.allocator,
                                    build->diag));
  tsr_plan_source source = tsr_known_schedules_source(&known);
  tsr_status status = emit_plan(part, &source);
  source = tsr_known_schedules_source(&known);
  if (status == TSR_OK)
    status = tsr_pass_tile(part->ir, &build->target, &source, build->diag);
  build->known += known.asked - known.missing;
  build->kernels += known.asked;
  if (known.status != TSR_OK) {
    *build->diag = known.diag;
    status = known.status;
  }
  tsr_known_schedules_end(&known);
  return status;
}

static tsr_status tile(part_build *part) {
  if (part->build->db != NULL)
    return tile_known(part);
  TSR_TRY(emit_plan(part, NULL));
  return tsr_pass_tile(part->ir, &part->build->target, NULL, part->build->diag);
}

/* What the database was good for. */
static void tell_known(const target_build *build) {
  const tsr_compile_options *options = build->options;
  char text[1200];
  if (build->db == NULL || build->unasked || options->warning_function == NULL)
    return;
  const int length =
      snprintf(text, sizeof text, "%u of %u kernels have a measured schedule in %.1000s",
               build->known, build->kernels, options->db);
  if (build->known < build->kernels)
    snprintf(text + length, sizeof text - (size_t)length, "; %u have none and take the model's",
             build->kernels - build->known);
  options->warning_function(options->warning_context, build->target_text, text);
}

static bool wants_bf16(const target_build *build) {
  const char *precision = build->options->precision;
  return precision != NULL && strcmp(precision, "bf16") == 0 &&
         tsr_target_bf16_products(&build->target);
}

/* Of the second cache, which processors have to themselves; 0: blocks stay as they are. */
static int64_t cache_bytes(const target_build *build) {
  const tsr_target *target = &build->target;
  return target->kind == TSR_TARGET_CPU && !build->options->no_fuse ? (int64_t)target->l2_bytes : 0;
}

/* Graph to kernels to machine code to program tables. */
static tsr_status lower(part_build *part) {
  target_build *build = part->build;
  const tsr_compile_options *options = build->options;
  tsr_diag *diag = build->diag;
  tsr_pass_options passes = {.fuse_level = options->no_fuse ? TSR_FUSE_NONE : TSR_FUSE_REGISTER,
                             .narrow_products = tsr_target_narrow_products(&build->target),
                             .byte_products = tsr_target_byte_products(&build->target),
                             .bf16_products = wants_bf16(build),
                             .group_bytes = cache_bytes(build),
                             .layout_bytes = cache_bytes(build),
                             .layout_lanes = tsr_target_lanes(&build->target, 32),
                             .print_after = "all",
                             .hook = after_pass,
                             .hook_context = part};
  TSR_TRY(tsr_passes_run(part->ir, &passes, diag));
  if (build->blocks_only)
    return TSR_OK;
  TSR_TRY(tile(part));
  TSR_TRY(tsr_pass_pack(part->ir, diag));
  TSR_TRY(tsr_pass_fetch_next(part->ir, &build->target, diag));
  TSR_TRY(tsr_pass_reuse(part->ir, &build->target, diag));
  emit_part(part, TSR_EMIT_TILE, "tile");
  TSR_TRY(tsr_ir_verify(part->ir, diag));
  tsr_program_parts about = describe_program(build);
  return build->target.kind == TSR_TARGET_CUDA ? lower_cuda(part, &about) : lower_cpu(part, &about);
}

static tsr_status check_options(const tsr_compile_options *options, tsr_diag *diag) {
  if (options->precision != NULL && strcmp(options->precision, "f32") != 0 &&
      strcmp(options->precision, "f32-strict") != 0 && strcmp(options->precision, "tf32") != 0 &&
      strcmp(options->precision, "bf16") != 0)
    return tsr_fail(diag, TSR_ERR_ARGUMENT,
                    "unknown precision '%s'; known are f32, f32-strict, tf32, bf16",
                    options->precision);
  for (uint32_t i = 0; i < options->dim_count; i++)
    if (options->dims[i].name == NULL || options->dims[i].lo < 0 ||
        options->dims[i].hi < options->dims[i].lo)
      return tsr_fail(diag, TSR_ERR_ARGUMENT, "dim '%s': the range %lld..%lld is empty or negative",
                      options->dims[i].name == NULL ? "" : options->dims[i].name,
                      (long long)options->dims[i].lo, (long long)options->dims[i].hi);
  return TSR_OK;
}

/* Memory that runs out leaves IR which later stages may refuse for reasons of their own, or do
 * without; what happened first is what counts. */
static tsr_status blame_memory(tsr_diag *diag) {
  tsr_diag_clear(diag);
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

static tsr_status lower_checked(part_build *part) {
  tsr_status status = lower(part);
  return tsr_ir_status(part->ir) == TSR_ERR_OUT_OF_MEMORY ? blame_memory(part->build->diag)
                                                          : status;
}

/* A model of one graph: its program is the whole. */
static tsr_status lower_whole(target_build *build) {
  build->parts = tsr_arena_alloc(&build->arena, sizeof *build->parts);
  if (build->parts == NULL)
    return tsr_fail(build->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  build->part_count = 1;
  build->parts[0] =
      (part_build){.build = build, .name = "", .ir = build->ir, .program = &build->program};
  return lower_checked(&build->parts[0]);
}

/* The steps of the host, and a program for each graph that they call. */
static tsr_status lower_parts(target_build *build, tsr_op model) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (build->ir, tsr_ir_top(build->ir), op)
    count += tsr_op_get(build->ir, op)->code == TSR_OP_GRAPH;
  tsr_program *programs = tsr_arena_alloc_array(&build->arena, count, sizeof *programs);
  const char **symbols = tsr_arena_alloc_array(&build->arena, count, sizeof *symbols);
  build->parts = tsr_arena_alloc_array(&build->arena, count, sizeof *build->parts);
  if (programs == NULL || symbols == NULL || build->parts == NULL)
    return tsr_fail(build->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  TSR_FOR_EACH_OP (build->ir, tsr_ir_top(build->ir), op) {
    if (tsr_op_get(build->ir, op)->code != TSR_OP_GRAPH)
      continue;
    const uint32_t number = build->part_count++;
    part_build *part = &build->parts[number];
    symbols[number] = tsr_op_get(build->ir, op)->symbol;
    *part = (part_build){.build = build, .name = symbols[number], .program = &programs[number]};
    TSR_TRY(tsr_ir_extract(build->ir, op, build->arena.allocator, &part->ir));
    tsr_in_place_declare(part->ir, find_top(part->ir, TSR_OP_GRAPH));
    TSR_TRY(lower_checked(part));
  }
  if (build->blocks_only)
    return TSR_OK;
  tsr_program_parts about = describe_program(build);
  tsr_host_parts parts = {.target = about.target,
                          .cpu_features = about.cpu_features,
                          .precision = about.precision,
                          .producer = about.producer,
                          .symbols = symbols,
                          .programs = programs,
                          .count = count};
  return tsr_host_program_build(build->ir, model, &parts, &build->arena, build->diag,
                                &build->program);
}

static tsr_status check_aliases(const tsr_ir *ir, tsr_op model, tsr_diag *diag) {
  tsr_region region = tsr_op_get(ir, model)->regions[0];
  TSR_FOR_EACH_OP (ir, region, op)
    if (tsr_op_get(ir, op)->code == TSR_OP_OUTPUT && tsr_op_string(ir, op, "alias") != NULL)
      TSR_TRY(tsr_in_place_check(ir, region, op, true, diag));
  return TSR_OK;
}

/* What the host must do itself is told apart from what kernels do. */
static tsr_status lower_model(target_build *build) {
  tsr_pass_options passes = {0};
  TSR_TRY(tsr_pass_run(build->ir, tsr_pass_find("segments"), &passes, build->diag));
  emit_ir(build, TSR_EMIT_MODEL, "model", "", build->ir);
  tsr_op model = find_top(build->ir, TSR_OP_MODEL);
  if (model != 0)
    TSR_TRY(check_aliases(build->ir, model, build->diag));
  return model == 0 ? lower_whole(build) : lower_parts(build, model);
}

static tsr_status build_target(target_build *build, const tsr_model_source *source) {
  TSR_TRY(select_target(build));
  TSR_TRY(tsr_model_import(source, build->options, build->arena.allocator, build->diag, &build->ir,
                           &build->onnx));
  tsr_status status = lower_model(build);
  if (status == TSR_OK && !build->blocks_only)
    tell_known(build);
  if (tsr_ir_status(build->ir) == TSR_ERR_OUT_OF_MEMORY)
    status = blame_memory(build->diag);
  if (status != TSR_OK)
    tsr_diag_set_file(build->diag, source->path);
  return status;
}

/* Kernels of all CUDA targets and their parts are compiled together, each text once. */
static tsr_status compile_cuda(tsr_compilation *made, const tsr_compile_options *options,
                               tsr_diag *diag) {
  tsr_arena scratch;
  uint32_t count = 0, most = 0;
  tsr_arena_init(&scratch, made->allocator);
  for (uint32_t i = 0; i < made->count; i++)
    most += made->builds[i].part_count;
  tsr_cuda_program **programs = tsr_arena_alloc_array(&scratch, most, sizeof *programs);
  for (uint32_t i = 0; programs != NULL && i < made->count; i++) {
    target_build *build = &made->builds[i];
    for (uint32_t p = 0; p < build->part_count && build->target.kind == TSR_TARGET_CUDA; p++)
      programs[count++] = &build->parts[p].cuda;
  }
  tsr_status status =
      programs == NULL ? tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory")
                       : tsr_cuda_programs_compile(programs, count, options, made->allocator, diag);
  tsr_arena_reset(&scratch);
  return status;
}

static void emit_manifest(target_build *build) {
  tsr_manifest_part *parts = tsr_arena_alloc_array(&build->arena, build->part_count, sizeof *parts);
  for (uint32_t i = 0; parts != NULL && i < build->part_count; i++)
    parts[i] = (tsr_manifest_part){
        .name = build->parts[i].name,
        .program = build->parts[i].program,
        .cuda = build->target.kind == TSR_TARGET_CUDA ? &build->parts[i].cuda : NULL};
  if (parts != NULL)
    emit(build, TSR_EMIT_MANIFEST, "manifest", "",
         tsr_manifest(&build->program, parts, build->part_count, &build->arena));
}

/* What is known only when all is compiled. */
static void emit_results(target_build *build) {
  for (uint32_t i = 0; i < build->part_count; i++) {
    const part_build *part = &build->parts[i];
    if ((part->cuda.whole_forms & TSR_CUDA_FORM_PTX) != 0)
      emit(build, TSR_EMIT_PTX, "ptx", part->name, part->cuda.whole.ptx);
    if ((part->cuda.whole_forms & TSR_CUDA_FORM_CUBIN) != 0)
      emit_bytes(build, TSR_EMIT_CUBIN, "cubin", part->name, part->cuda.whole.cubin,
                 part->cuda.whole.cubin_size);
  }
  if (emits(build, TSR_EMIT_WEIGHTS)) {
    size_t size;
    const void *bytes = tsr_manifest_weights(&build->program, &build->arena, &size);
    emit_bytes(build, TSR_EMIT_WEIGHTS, "weights", "", bytes, size);
  }
  if (emits(build, TSR_EMIT_MANIFEST))
    emit_manifest(build);
}

static tsr_status build_all(tsr_compilation *made, const tsr_model_source *source,
                            const tsr_compile_options *options, tsr_diag *diag) {
  if (made->builds[0].blocks_only)
    return build_target(&made->builds[0], source);
  if (options->db != NULL)
    TSR_TRY(tsr_db_open(options->db, TSR_DB_READ, made->allocator, diag, &made->db));
  for (uint32_t i = 0; i < made->count; i++) {
    made->builds[i].db = made->db;
    TSR_TRY(build_target(&made->builds[i], source));
  }
  TSR_TRY(compile_cuda(made, options, diag));
  for (uint32_t i = 0; i < made->count; i++)
    emit_results(&made->builds[i]);
  return TSR_OK;
}

/* Code for sm_90a runs on that architecture alone: behind it comes PTX for sm_80, which later
 * devices take, unless the user lists a target that has some. Returns the number of targets. */
static uint32_t list_targets(const tsr_compile_options *options, const char **out_targets,
                             uint32_t *out_unasked) {
  uint32_t count = 0, last = UINT32_MAX;
  const char *plain;
  bool open = !options->emit_only;
  for (uint32_t i = 0; i < options->target_count; i++) {
    tsr_cuda_program about = {0};
    if (tsr_cuda_program_target(options->targets[i], &about, &plain) &&
        (about.forms & TSR_CUDA_FORM_TEXT) == 0) {
      last = about.specific ? i : last;
      open = open && about.specific;
    }
  }
  *out_unasked = UINT32_MAX;
  for (uint32_t i = 0; i < options->target_count; i++) {
    out_targets[count++] = options->targets[i];
    if (open && i == last) {
      *out_unasked = count;
      out_targets[count++] = "cuda:sm_80";
    }
  }
  if (count == 0)
    out_targets[count++] = "cpu";
  return count;
}

static tsr_status run(const tsr_model_source *source, const tsr_compile_options *options,
                      bool blocks_only, const tsr_allocator *allocator, tsr_diag *diag,
                      tsr_compilation **out_compilation) {
  enum { MOST_TARGETS = 64 };
  const char *targets[MOST_TARGETS + 1];
  uint32_t unasked;
  *out_compilation = NULL;
  if (options == NULL)
    options = &no_options;
  TSR_TRY(check_options(options, diag));
  if (options->target_count > MOST_TARGETS)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "more than %d targets", MOST_TARGETS);
  uint32_t count = list_targets(options, targets, &unasked);
  tsr_compilation *made = allocator->allocate(allocator->context, sizeof *made, 16);
  target_build *builds =
      made == NULL ? NULL : allocator->allocate(allocator->context, count * sizeof *builds, 64);
  if (builds == NULL) {
    if (made != NULL)
      allocator->release(allocator->context, made, sizeof *made);
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  }
  memset(builds, 0, count * sizeof *builds);
  *made = (tsr_compilation){.allocator = allocator, .builds = builds, .count = count};
  for (uint32_t i = 0; i < count; i++) {
    builds[i].options = options;
    builds[i].target_text = targets[i];
    builds[i].unasked = i == unasked;
    builds[i].blocks_only = blocks_only;
    builds[i].diag = diag;
    tsr_arena_init(&builds[i].arena, allocator);
  }
  tsr_status status = build_all(made, source, options, diag);
  if (status == TSR_OK) {
    *out_compilation = made;
    return TSR_OK;
  }
  tsr_compilation_destroy(made);
  return tsr_fail(diag, status, "%s", tsr_status_text(status));
}

tsr_status tsr_pipeline_run(const tsr_model_source *source, const tsr_compile_options *options,
                            const tsr_allocator *allocator, tsr_diag *diag,
                            tsr_compilation **out_compilation) {
  return run(source, options, false, allocator, diag, out_compilation);
}

tsr_status tsr_pipeline_blocks(const tsr_model_source *source, const tsr_compile_options *options,
                               const tsr_allocator *allocator, tsr_diag *diag,
                               tsr_compilation **out_compilation) {
  return run(source, options, true, allocator, diag, out_compilation);
}

uint32_t tsr_compilation_part_count(const tsr_compilation *compilation) {
  return compilation->builds[0].part_count;
}

const tsr_ir *tsr_compilation_part(const tsr_compilation *compilation, uint32_t part) {
  return compilation->builds[0].parts[part].ir;
}

const tsr_target *tsr_compilation_target(const tsr_compilation *compilation, bool *out_emulated) {
  *out_emulated = compilation->builds[0].cuda.emulated;
  return &compilation->builds[0].target;
}

void tsr_compilation_destroy(tsr_compilation *compilation) {
  if (compilation == NULL)
    return;
  const tsr_allocator *allocator = compilation->allocator;
  for (uint32_t i = 0; i < compilation->count; i++) {
    target_build *build = &compilation->builds[i];
    for (uint32_t p = 0; p < build->part_count; p++)
      if (build->parts[p].ir != build->ir)
        tsr_ir_destroy(build->parts[p].ir);
    tsr_arena_reset(&build->arena);
    tsr_ir_destroy(build->ir);
    if (build->onnx != NULL) {
      tsr_onnx_model_close(build->onnx);
      allocator->release(allocator->context, build->onnx, sizeof *build->onnx);
    }
  }
  tsr_db_close(compilation->db);
  allocator->release(allocator->context, compilation->builds,
                     compilation->count * sizeof *compilation->builds);
  allocator->release(allocator->context, compilation, sizeof *compilation);
}

/* Without images there is nothing to write. */
static tsr_status check_writable(const tsr_compilation *compilation, tsr_diag *diag) {
  if (compilation->builds[0].blocks_only)
    return tsr_fail(diag, TSR_ERR_STATE, "only blocks were made");
  if (compilation->count != 0 && compilation->builds[0].options->emit_only)
    return tsr_fail(diag, TSR_ERR_ARGUMENT, "no module is made when only texts are wanted");
  return TSR_OK;
}

/* The programs in a list from `scratch`. */
static const tsr_program **list_programs(const tsr_compilation *compilation, tsr_arena *scratch) {
  const tsr_program **list = tsr_arena_alloc_array(scratch, compilation->count, sizeof *list);
  for (uint32_t i = 0; list != NULL && i < compilation->count; i++)
    list[i] = &compilation->builds[i].program;
  return list;
}

tsr_status tsr_compilation_write_file(const tsr_compilation *compilation, const char *path,
                                      tsr_diag *diag) {
  TSR_TRY(check_writable(compilation, diag));
  tsr_arena scratch;
  tsr_arena_init(&scratch, compilation->allocator);
  const tsr_program **programs = list_programs(compilation, &scratch);
  tsr_status status = programs == NULL ? tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory")
                                       : tsr_module_write(path, programs, compilation->count,
                                                          compilation->allocator, diag);
  tsr_arena_reset(&scratch);
  return status;
}

tsr_status tsr_compilation_write_memory(const tsr_compilation *compilation,
                                        const tsr_allocator *allocator, tsr_diag *diag,
                                        void **out_bytes, size_t *out_size) {
  tsr_arena scratch;
  tsr_arena_init(&scratch, compilation->allocator);
  *out_bytes = NULL;
  *out_size = 0;
  TSR_TRY(check_writable(compilation, diag));
  const tsr_program **programs = list_programs(compilation, &scratch);
  tsr_status status = programs == NULL
                          ? tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory")
                          : tsr_module_write_memory(programs, compilation->count, allocator,
                                                    out_bytes, out_size, diag);
  tsr_arena_reset(&scratch);
  return status;
}
