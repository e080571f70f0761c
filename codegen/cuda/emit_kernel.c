/* A kernel: one task is one block of threads. mbarriers and allocs, of l1 and l2 alike, are carved
 * out of dynamic shared memory; behind them lies the area through which tiles change their
 * layout. */
#include "codegen/cuda/emit.h"
#include "runtime/hash.h"
#include <string.h>

enum {
  MAX_GRID = 8,
  MOST_THREADS = 256,
  WARP = 32,
  ELEMENTS_PER_THREAD = 4,
  SHARED_ALIGN = 128,
  SWIZZLE_ALIGN = 1024,
  MOST_CLUSTER = 8
};

/* --- what the body holds --- */

typedef struct survey {
  uint64_t most_elements;
  uint32_t *loads, *stores; /* by value id */
} survey;

static void count_access(tsr_cu *e, survey *s, const tsr_op_data *op, uint32_t operand, bool stores,
                         const tsr_value *indices, uint32_t index_count) {
  tsr_value value = op->operands[operand].value;
  uint32_t weight = 1;
  for (uint32_t i = 0; stores && i < index_count; ++i) {
    bool used = false;
    for (uint32_t k = 0; indices[i] && k < op->operands[operand].subscript_count; ++k)
      used = used || tsr_expr_uses_value(e->ir, op->operands[operand].subscripts[k], indices[i]);
    weight += !used;
  }
  *(stores ? &s->stores[value] : &s->loads[value]) += weight;
}

/* `indices`: of the loops around, 0 where a loop has none. A store that may hit an element twice
 * counts as several. */
static void look(tsr_cu *e, survey *s, tsr_region region, tsr_value *indices, uint32_t count) {
  enum { DEEPEST = 64 };
  if (count == DEEPEST)
    tsr_cu_fail(e, TSR_ERR_LIMIT, "loops are nested more than %d deep", DEEPEST);
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    e->op = op;
    e->op_id = id;
    for (uint32_t i = 0; i < op->result_count; ++i) {
      const tsr_type_info *type = tsr_value_type(e->ir, op->results[i]);
      if (type->level != TSR_LEVEL_REG)
        continue;
      tsr_cu_tile tile = tsr_cu_tile_of_type(e, tsr_value_get(e->ir, op->results[i])->type);
      if (tsr_cu_elements(&tile) > s->most_elements)
        s->most_elements = tsr_cu_elements(&tile);
    }
    switch (op->code) {
    case TSR_OP_LOAD:
    case TSR_OP_GATHER_LOAD:
      count_access(e, s, op, 0, false, indices, count);
      break;
    case TSR_OP_STORE:
      count_access(e, s, op, 1, true, indices, count);
      break;
    case TSR_OP_SCATTER_STORE:
    case TSR_OP_APPEND:
      s->stores[op->operands[1].value] += 2;
      break;
    case TSR_OP_COPY:
      count_access(e, s, op, 0, false, indices, count);
      count_access(e, s, op, 1, true, indices, count);
      break;
    default:
      break;
    }
    for (uint32_t i = 0; i < op->region_count; ++i) {
      bool loops = op->code == TSR_OP_FOR || op->code == TSR_OP_LOOP;
      if (loops)
        indices[count] =
            op->code == TSR_OP_FOR ? tsr_region_get(e->ir, op->regions[i])->args[0] : 0;
      look(e, s, op->regions[i], indices, loops ? count + 1 : count);
    }
  }
}

/* Threads see what others stored only behind a barrier, and on the CPU one store follows another:
 * buffers that are stored to more than once, or loaded too, have one before every access. Allocs
 * are such buffers (tsr_cu_carve) unless the kernel states its own synchronisation. */
static void find_hazards(tsr_cu *e, const survey *s) {
  for (tsr_value value = 1; value < e->slot_count; ++value) {
    bool global = tsr_value_type(e->ir, value)->level == TSR_LEVEL_GLOBAL;
    e->hazard[value] =
        global && (s->stores[value] > 1 || (s->stores[value] > 0 && s->loads[value] > 0));
  }
}

static uint32_t choose_threads(tsr_cu *e, tsr_op kernel, uint64_t elements) {
  int64_t warps = tsr_op_int(e->ir, kernel, "warps", 0);
  uint32_t threads = WARP;
  if (warps < 0 || warps > 32)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a task of %lld warps; up to 32 have code",
                (long long)warps);
  if (warps > 0)
    return (uint32_t)warps * WARP;
  while (threads < MOST_THREADS && (uint64_t)threads * ELEMENTS_PER_THREAD < elements)
    threads *= 2;
  return threads;
}

/* --- shared memory --- */

typedef struct carving {
  tsr_value *mbarriers;
  uint32_t mbarrier_count;
} carving;

static uint64_t alignment(tsr_cu *e, tsr_op id, const tsr_op_data *op) {
  int64_t given = tsr_op_int(e->ir, id, "align", 1);
  uint64_t least = tsr_op_int(e->ir, id, "swizzle", 0) ? SWIZZLE_ALIGN : SHARED_ALIGN;
  if (given < 1 || given > SWIZZLE_ALIGN || (given & (given - 1)))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "align = %lld; powers of two up to %d are possible",
                (long long)given, SWIZZLE_ALIGN);
  if (op->code == TSR_OP_MBARRIER)
    least = 8;
  return (uint64_t)given > least ? (uint64_t)given : least;
}

static void carve_one(tsr_cu *e, tsr_op id, const tsr_op_data *op) {
  tsr_value value = op->results[0];
  const tsr_type_info *type = tsr_value_type(e->ir, value);
  int64_t elements = 0, bytes = -1;
  uint64_t align = alignment(e, id, op);
  if (type->level != TSR_LEVEL_L1 && type->level != TSR_LEVEL_L2)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "alloc is for l1 and l2 buffers");
  if (!tsr_cu_supports(type->dtype))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "buffers of %s have no code on CUDA",
                tsr_dtype_text(type->dtype));
  if (tsr_expr_is_int(e->ir, tsr_type_elements(e->ir, tsr_value_get(e->ir, value)->type),
                      &elements))
    bytes = tsr_dtype_bytes(type->dtype, elements);
  if (bytes < 0)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "alloc needs a size that is a number");
  const char *name = tsr_cu_name(e, value, "shared"), *ctype = tsr_cu_storage(type->dtype);
  e->alloc_bytes = (e->alloc_bytes + align - 1) / align * align;
  tsr_cu_line(e, "%s *const %s = (%s *)(tsr_shared + %llu);", ctype, name, ctype,
              (unsigned long long)e->alloc_bytes);
  e->slots[value].buffer = name;
  e->hazard[value] = !e->own_sync;
  e->alloc_bytes += (uint64_t)bytes;
}

/* Allocs in order, then mbarriers: these need little alignment. */
static void carve(tsr_cu *e, carving *c, tsr_region region, bool top, tsr_opcode what) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    e->op = op;
    e->op_id = id;
    for (uint32_t i = 0; i < op->region_count; ++i)
      carve(e, c, op->regions[i], false, what);
    if (op->code != what)
      continue;
    e->op = op;
    e->op_id = id;
    if (what == TSR_OP_MBARRIER && !top)
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "mbarriers are made in the kernel's own region");
    if (what == TSR_OP_MBARRIER && e->target->capability < 90)
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "mbarriers have code from sm_90 on");
    carve_one(e, id, op);
    if (what == TSR_OP_MBARRIER)
      c->mbarriers[c->mbarrier_count++] = op->results[0];
  }
}

static void carve_all(tsr_cu *e, tsr_region region) {
  carving c = {.mbarriers = tsr_cu_alloc(e, e->slot_count, sizeof *c.mbarriers)};
  carve(e, &c, region, true, TSR_OP_ALLOC);
  carve(e, &c, region, true, TSR_OP_MBARRIER);
  e->alloc_bytes = (e->alloc_bytes + SHARED_ALIGN - 1) / SHARED_ALIGN * SHARED_ALIGN;
  tsr_cu_start_mbarriers(e, c.mbarriers, c.mbarrier_count);
}

/* --- tasks --- */

static uint32_t grid_variables(tsr_cu *e, const tsr_region_data *region, tsr_value *out_values) {
  uint32_t rank = 0;
  for (uint32_t i = 0; i < region->arg_count; ++i) {
    if (tsr_value_get(e->ir, region->args[i])->role != TSR_ROLE_GRID)
      continue;
    if (rank == MAX_GRID)
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "at most %d grid variables have code", MAX_GRID);
    out_values[rank++] = region->args[i];
  }
  return rank;
}

/* How many positions a grid variable has. */
static tsr_expr extent_of(tsr_cu *e, tsr_value variable) {
  const tsr_value_data *range = tsr_value_get(e->ir, variable);
  int64_t step = 0;
  if (!tsr_expr_is_int(e->ir, range->step, &step) || step < 1)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the step of a grid variable is not positive");
  return tsr_expr_ceildiv_int(e->ir, tsr_expr_sub(e->ir, range->hi, range->lo), step);
}

/* The kernel's `cluster` by grid variable; 1 where there is none. */
static void read_cluster(tsr_cu *e, tsr_op kernel, const tsr_value *variables, uint32_t rank,
                         int64_t *out_cluster) {
  const tsr_attr *attr = tsr_op_attr(e->ir, kernel, "cluster");
  int64_t given[MAX_GRID];
  uint32_t count = 0;
  e->cluster = 1;
  for (uint32_t i = 0; i < rank; ++i)
    out_cluster[i] = 1;
  if (!attr)
    return;
  if (!tsr_op_ints(e->ir, kernel, "cluster", given, MAX_GRID, &count) || count > rank)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "'cluster' has a number per grid variable");
  for (uint32_t i = 0; i < count; ++i) {
    out_cluster[i] = given[i];
    if (given[i] < 1 || given[i] > MOST_CLUSTER || e->cluster * given[i] > MOST_CLUSTER)
      tsr_cu_fail(e, TSR_ERR_LIMIT, "a cluster has 1 to %d tasks", MOST_CLUSTER);
    e->cluster *= (uint32_t)given[i];
    if (rank > 1 && !tsr_expr_divisible(e->ir, extent_of(e, variables[i]), given[i]))
      tsr_cu_fail(e, TSR_ERR_VERIFY, "a cluster of %lld along grid variable %u does not divide it",
                  (long long)given[i], i);
  }
  if (e->cluster > 1 && e->target->capability < 90)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "clusters need sm_90");
}

/* Blocks beyond the tasks. In a cluster the others wait for them. */
static void leave_early(tsr_cu *e, bool whole) {
  if (whole) {
    tsr_cu_line(e, "if (task >= tasks)");
    tsr_cu_line(e, "  return;");
    return;
  }
  if (e->multicasts || e->inner_cluster_barriers)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "tasks work together, but the cluster does not divide the grid");
  tsr_cu_line(e, "if (task >= tasks) {");
  for (uint32_t i = 0; i < e->cluster_barriers; ++i)
    tsr_cu_cluster_barrier(e);
  tsr_cu_line(e, "return;");
  tsr_cu_line(e, "}");
}

/* Splits a number by the extents, the last one fastest: `part` names what is left of it. */
static const char *split(tsr_cu *e, const char *part, const char *extent, bool last,
                         const char *name) {
  if (last)
    return part;
  tsr_cu_line(e, "const tsr_s64 %s = %s %% %s;", name, part, extent);
  tsr_cu_line(e, "%s /= %s;", part, extent);
  return name;
}

/* Grid variables by division, the last one fastest; with clusters first the cluster's place, then
 * the rank inside of it. */
static void decode_task(tsr_cu *e, const tsr_value *variables, uint32_t rank,
                        const int64_t *cluster) {
  tsr_cu_line(e, "tsr_s64 task = tsr_block();");
  leave_early(e, e->cluster == 1 || rank > 1 ||
                     tsr_expr_divisible(e->ir, extent_of(e, variables[0]), e->cluster));
  if (e->cluster > 1) {
    tsr_cu_line(e, "tsr_s64 rank = task %% %u;", e->cluster);
    tsr_cu_line(e, "task /= %u;", e->cluster);
  }
  for (uint32_t i = rank; i-- > 0;) {
    const tsr_value_data *range = tsr_value_get(e->ir, variables[i]);
    const char *name = tsr_cu_name(e, variables[i], "g");
    tsr_expr extent = tsr_expr_ceildiv_int(e->ir, extent_of(e, variables[i]), cluster[i]);
    int64_t step = 1;
    const char *at = split(e, "task", i == 0 ? "" : tsr_cu_index(e, extent, NULL), i == 0,
                           tsr_cu_format(e, "%s_at", name));
    if (cluster[i] > 1) {
      const char *inner = tsr_cu_format(e, "%lld", (long long)cluster[i]);
      bool last = true;
      for (uint32_t k = 0; k < i; ++k)
        last = last && cluster[k] == 1;
      const char *in = split(e, "rank", inner, last, tsr_cu_format(e, "%s_in", name));
      at = tsr_cu_format(e, "(%s * %s + %s)", at, inner, in);
    }
    tsr_expr_is_int(e->ir, range->step, &step);
    if (step > 1)
      at = tsr_cu_format(e, "%s * %lld", at, (long long)step);
    if (!tsr_expr_equals_int(e->ir, range->lo, 0))
      at = tsr_cu_format(e, "%s + %s", tsr_cu_index(e, range->lo, NULL), at);
    tsr_cu_line(e, "const tsr_s64 %s = %s;", name, at);
    e->slots[variables[i]].index = name;
  }
}

static void name_buffers(tsr_cu *e, const tsr_region_data *region) {
  tsr_value *arguments = tsr_cu_alloc(e, region->arg_count, sizeof *arguments);
  e->arguments = arguments;
  for (uint32_t i = 0; i < region->arg_count; ++i) {
    tsr_value value = region->args[i];
    tsr_arg_role role = tsr_value_get(e->ir, value)->role;
    if (role == TSR_ROLE_IN || role == TSR_ROLE_OUT || role == TSR_ROLE_INOUT) {
      e->slots[value].buffer = tsr_cu_name(e, value, "p");
      arguments[e->argument_count++] = value;
    } else if (role != TSR_ROLE_GRID)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "arguments must be buffers or grid variables");
  }
}

/* --- the whole --- */

/* May stand in a comment of one line. */
static bool is_plain(const char *name) {
  return name && !strstr(name, "*/") && !strchr(name, '\n') && !strchr(name, '\\');
}

static const char *parameters(tsr_cu *e, const tsr_op_data *op, uint32_t *out_buffers) {
  const tsr_region_data *region = tsr_region_get(e->ir, op->regions[0]);
  const char *text = "";
  *out_buffers = 0;
  for (uint32_t i = 0; i < region->arg_count; ++i) {
    tsr_value value = region->args[i];
    const tsr_value_data *data = tsr_value_get(e->ir, value);
    if (data->role == TSR_ROLE_GRID)
      continue;
    tsr_dtype dtype = tsr_type_get(e->ir, data->type)->dtype;
    ++*out_buffers;
    text = tsr_cu_format(e, "%s%s%s *TSR_RESTRICT %s, ", text,
                         data->role == TSR_ROLE_IN ? "const " : "", tsr_cu_storage(dtype),
                         e->slots[value].buffer);
  }
  for (uint32_t i = 0; i < e->dim_count; ++i)
    text = tsr_cu_format(e, "%stsr_s64 d%u, ", text, i);
  text = tsr_cu_format(e, "%stsr_s64 tasks", text);
  for (uint32_t i = 0; i < e->map_count; ++i)
    text = tsr_cu_format(e, "%s, TSR_TENSOR_MAP map%u", text, i);
  return text;
}

/* For people: what the kernel and its dims are called. */
static const char *comment(tsr_cu *e, const tsr_op_data *op) {
  const char *text = is_plain(op->symbol) ? op->symbol : "a kernel";
  for (uint32_t i = 0; i < e->dim_count; ++i) {
    const char *name = tsr_dim_get(e->ir, e->dims[i])->name;
    if (is_plain(name))
      text = tsr_cu_format(e, "%s; d%u: %s", text, i, name);
  }
  return tsr_cu_format(e, "/* %s */\n", text);
}

/* Descriptors come from memory: better before the first copy than with it. */
static const char *fetch_maps(tsr_cu *e) {
  const char *text = "";
  for (uint32_t i = 0; i < e->map_count; ++i)
    text = tsr_cu_format(e, "%s    tsr_tma_prefetch_map(&map%u);\n", text, i);
  return *text ? tsr_cu_format(e, "  if (tsr_thread() == 0) {\n%s  }\n", text) : text;
}

/* The function is named after what it does: kernels that differ in names alone have one text, which
 * is compiled once and found again. */
static void finish_text(tsr_cu *e, const tsr_op_data *op, tsr_arena *result, tsr_cuda_kernel *out) {
  const char *list = parameters(e, op, &out->buffer_count);
  const char *rest = tsr_cu_format(e, "(%s) {\n%s%s}\n", list, fetch_maps(e), e->text);
  const char *head = tsr_cu_format(e, "TSR_KERNEL(%u)", e->threads);
  if (e->sets_registers)
    head = tsr_cu_format(e, "TSR_KERNEL_RESIDENT(%u, 1)", e->threads);
  if (e->cluster > 1)
    head = tsr_cu_format(e, "TSR_KERNEL_CLUSTER(%u, %u)", e->threads, e->cluster);
  uint64_t hash = tsr_hash64_seeded(rest, strlen(rest), tsr_hash64(head, strlen(head)));
  out->symbol = tsr_arena_printf(result, "tsr_%016llx", (unsigned long long)hash);
  out->body = tsr_arena_printf(result, "%s%s %s%s", e->instances ? e->instances : "", head,
                               out->symbol, rest);
  out->comment = tsr_arena_printf(result, "%s", comment(e, op));
  out->name = tsr_arena_string(result, op->symbol, strlen(op->symbol));
  if (!out->symbol || !out->body || !out->comment || !out->name)
    tsr_cu_fail(e, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

static uint64_t most_shared(const tsr_target *target) {
  return target->l1_bytes ? target->l1_bytes : 48 << 10;
}

static void emit_kernel(tsr_cu *e, tsr_op kernel, tsr_arena *result, tsr_cuda_kernel *out) {
  enum { DEEPEST = 65 };
  tsr_value indices[DEEPEST] = {0}, variables[MAX_GRID];
  int64_t cluster[MAX_GRID];
  const tsr_op_data *op = tsr_op_get(e->ir, kernel);
  survey s = {0};
  e->op = op;
  e->op_id = kernel;
  if (!op->symbol || op->region_count != 1)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "a kernel needs a name and a body");
  const tsr_region_data *region = tsr_region_get(e->ir, op->regions[0]);
  s.loads = tsr_cu_alloc(e, e->slot_count, sizeof *s.loads);
  s.stores = tsr_cu_alloc(e, e->slot_count, sizeof *s.stores);
  look(e, &s, op->regions[0], indices, 0);
  e->op = op;
  e->op_id = kernel;
  e->threads = choose_threads(e, kernel, s.most_elements);
  find_hazards(e, &s);
  uint32_t rank = grid_variables(e, region, variables);
  read_cluster(e, kernel, variables, rank, cluster);
  tsr_cu_survey_sync(e, op->regions[0]);
  tsr_cu_choose_layouts(e, op->regions[0]);
  name_buffers(e, region);
  e->indent = 1;
  tsr_cu_line(e, "const int thread = tsr_thread();");
  decode_task(e, variables, rank, cluster);
  carve_all(e, op->regions[0]);
  e->op = op;
  e->op_id = kernel;
  const tsr_cu_sink nothing = {0};
  tsr_cu_scope_begin(e, 0, NULL);
  tsr_cu_region(e, op->regions[0], &nothing);
  tsr_cu_scope_end(e);
  if (e->tma_stores)
    tsr_cu_line(e, "tsr_tma_store_wait(0);");
  out->threads = e->threads;
  out->cluster = e->cluster;
  out->cooperative = e->cooperative;
  out->shared_bytes = e->alloc_bytes + e->exchange_bytes;
  if (out->shared_bytes < e->role_bytes)
    out->shared_bytes = e->role_bytes;
  if (out->shared_bytes > most_shared(e->target))
    tsr_cu_fail(e, TSR_ERR_LIMIT, "needs %llu bytes of shared memory, %s has %llu",
                (unsigned long long)out->shared_bytes, e->target->name,
                (unsigned long long)most_shared(e->target));
  finish_text(e, op, result, out);
}

/* The one place that failures of the emit_*.c files come back to. */
static tsr_status emit_or_escape(tsr_cu *e, tsr_op kernel, tsr_arena *result,
                                 tsr_cuda_kernel *out_kernel) {
  jmp_buf escape;
  e->escape = &escape;
  if (setjmp(escape) == 0) {
    e->slots = tsr_cu_alloc(e, e->slot_count, sizeof *e->slots);
    e->hazard = tsr_cu_alloc(e, e->slot_count, sizeof *e->hazard);
    e->accumulates = tsr_cu_alloc(e, e->slot_count, sizeof *e->accumulates);
    e->wanted = tsr_cu_alloc(e, e->slot_count, sizeof *e->wanted);
    e->dim_number = tsr_cu_alloc(e, tsr_dim_count(e->ir) + 1, sizeof *e->dim_number);
    e->dims = tsr_cu_alloc(e, tsr_dim_count(e->ir) + 1, sizeof *e->dims);
    emit_kernel(e, kernel, result, out_kernel);
  }
  e->escape = NULL;
  return e->status;
}

tsr_status tsr_cu_kernel(tsr_ir *ir, tsr_op kernel, const tsr_target *target, tsr_arena *scratch,
                         tsr_arena *result, tsr_diag *diag, tsr_cuda_kernel *out_kernel) {
  tsr_cu e = {.ir = ir,
              .arena = scratch,
              .diag = diag,
              .target = target,
              .slot_count = tsr_value_count(ir) + 1};
  *out_kernel = (tsr_cuda_kernel){0};
  TSR_TRY(emit_or_escape(&e, kernel, result, out_kernel));
  if (tsr_ir_status(ir) != TSR_OK)
    return tsr_fail(diag, tsr_ir_status(ir), "%s", tsr_ir_diag(ir)->message);
  tsr_dim *dims = tsr_arena_alloc_array(result, e.dim_count, sizeof *dims);
  tsr_cuda_map *maps = tsr_arena_alloc_array(result, e.map_count, sizeof *maps);
  if (!dims || !maps)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (e.dim_count)
    memcpy(dims, e.dims, e.dim_count * sizeof *dims);
  if (e.map_count)
    memcpy(maps, e.maps, e.map_count * sizeof *maps);
  out_kernel->dims = dims;
  out_kernel->dim_count = e.dim_count;
  out_kernel->maps = maps;
  out_kernel->map_count = e.map_count;
  return TSR_OK;
}
