/* A kernel: one task is one block of threads. Allocs, of l1 and l2 alike, are carved out of dynamic
 * shared memory; behind them lies the area through which tiles change their layout. */
#include "codegen/cuda/emit.h"
#include "runtime/hash.h"
#include <string.h>

enum { MAX_GRID = 8, MOST_THREADS = 256, WARP = 32, ELEMENTS_PER_THREAD = 4, SHARED_ALIGN = 128 };

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
 * buffers that are stored to more than once, or loaded too, have one before every access. */
static void find_hazards(tsr_cu *e, const survey *s) {
  for (tsr_value value = 1; value < e->slot_count; ++value)
    e->hazard[value] = s->stores[value] > 1 || (s->stores[value] > 0 && s->loads[value] > 0);
}

static uint32_t choose_threads(tsr_cu *e, tsr_op kernel, uint64_t elements) {
  int64_t warps = tsr_op_int(e->ir, kernel, "warps", 0);
  uint32_t threads = WARP;
  if (warps < 0 || warps > 32 || (warps & (warps - 1)))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a task of %lld warps; powers of two up to 32 have code",
                (long long)warps);
  if (warps > 0)
    return (uint32_t)warps * WARP;
  while (threads < MOST_THREADS && (uint64_t)threads * ELEMENTS_PER_THREAD < elements)
    threads *= 2;
  return threads;
}

/* --- shared memory --- */

static void carve(tsr_cu *e, tsr_region region) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    e->op = op;
    e->op_id = id;
    for (uint32_t i = 0; i < op->region_count; ++i)
      carve(e, op->regions[i]);
    if (op->code != TSR_OP_ALLOC)
      continue;
    tsr_value value = op->results[0];
    const tsr_type_info *type = tsr_value_type(e->ir, value);
    int64_t elements = 0, bytes = -1;
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
    tsr_cu_line(e, "%s *const %s = (%s *)(tsr_shared + %llu);", ctype, name, ctype,
                (unsigned long long)e->alloc_bytes);
    e->slots[value].buffer = name;
    e->hazard[value] = true;
    e->alloc_bytes += ((uint64_t)bytes + SHARED_ALIGN - 1) / SHARED_ALIGN * SHARED_ALIGN;
  }
}

/* --- tasks --- */

/* Grid variables by division, the last one fastest. */
static void decode_task(tsr_cu *e, const tsr_region_data *region) {
  uint32_t rank = 0, seen = 0;
  for (uint32_t i = 0; i < region->arg_count; ++i)
    rank += tsr_value_get(e->ir, region->args[i])->role == TSR_ROLE_GRID;
  if (rank > MAX_GRID)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "%u grid variables; at most %d have code", rank, MAX_GRID);
  tsr_cu_line(e, "tsr_s64 task = tsr_block();");
  tsr_cu_line(e, "if (task >= tasks)");
  tsr_cu_line(e, "  return;");
  for (uint32_t i = region->arg_count; i-- > 0;) {
    tsr_value value = region->args[i];
    const tsr_value_data *range = tsr_value_get(e->ir, value);
    int64_t step = 0;
    if (range->role != TSR_ROLE_GRID)
      continue;
    if (!tsr_expr_is_int(e->ir, range->step, &step) || step < 1)
      tsr_cu_fail(e, TSR_ERR_VERIFY, "the step of a grid variable is not positive");
    const char *name = tsr_cu_name(e, value, "g"), *position = "task";
    if (++seen < rank) {
      tsr_expr span = tsr_expr_sub(e->ir, range->hi, range->lo);
      const char *count = tsr_cu_index(e, tsr_expr_ceildiv_int(e->ir, span, step), NULL);
      tsr_cu_line(e, "const tsr_s64 %s_at = task %% %s;", name, count);
      tsr_cu_line(e, "task /= %s;", count);
      position = tsr_cu_format(e, "%s_at", name);
    }
    if (step > 1)
      position = tsr_cu_format(e, "%s * %lld", position, (long long)step);
    if (!tsr_expr_equals_int(e->ir, range->lo, 0))
      position = tsr_cu_format(e, "%s + %s", tsr_cu_index(e, range->lo, NULL), position);
    tsr_cu_line(e, "const tsr_s64 %s = %s;", name, position);
    e->slots[value].index = name;
  }
}

static void name_buffers(tsr_cu *e, const tsr_region_data *region) {
  for (uint32_t i = 0; i < region->arg_count; ++i) {
    tsr_value value = region->args[i];
    tsr_arg_role role = tsr_value_get(e->ir, value)->role;
    if (role == TSR_ROLE_IN || role == TSR_ROLE_OUT || role == TSR_ROLE_INOUT)
      e->slots[value].buffer = tsr_cu_name(e, value, "p");
    else if (role != TSR_ROLE_GRID)
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
  return tsr_cu_format(e, "%stsr_s64 tasks", text);
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

/* The function is named after what it does: kernels that differ in names alone have one text, which
 * is compiled once and found again. */
static void finish_text(tsr_cu *e, const tsr_op_data *op, tsr_arena *result, tsr_cuda_kernel *out) {
  const char *list = parameters(e, op, &out->buffer_count);
  const char *rest = tsr_cu_format(e, "(%s) {\n%s}\n", list, e->text);
  const char *head = tsr_cu_format(e, "TSR_KERNEL(%u)", e->threads);
  uint64_t hash = tsr_hash64_seeded(rest, strlen(rest), tsr_hash64(head, strlen(head)));
  out->symbol = tsr_arena_printf(result, "tsr_%016llx", (unsigned long long)hash);
  out->body = tsr_arena_printf(result, "%s %s%s", head, out->symbol, rest);
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
  tsr_value indices[DEEPEST] = {0};
  const tsr_op_data *op = tsr_op_get(e->ir, kernel);
  survey s = {0};
  e->op = op;
  e->op_id = kernel;
  if (!op->symbol || op->region_count != 1)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "a kernel needs a name and a body");
  if (tsr_op_attr(e->ir, kernel, "cluster"))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "clusters have no code on CUDA");
  const tsr_region_data *region = tsr_region_get(e->ir, op->regions[0]);
  s.loads = tsr_cu_alloc(e, e->slot_count, sizeof *s.loads);
  s.stores = tsr_cu_alloc(e, e->slot_count, sizeof *s.stores);
  look(e, &s, op->regions[0], indices, 0);
  e->op = op;
  e->op_id = kernel;
  e->threads = choose_threads(e, kernel, s.most_elements);
  find_hazards(e, &s);
  tsr_cu_choose_layouts(e, op->regions[0]);
  name_buffers(e, region);
  e->indent = 1;
  tsr_cu_line(e, "const int thread = tsr_thread();");
  decode_task(e, region);
  carve(e, op->regions[0]);
  e->op = op;
  e->op_id = kernel;
  const tsr_cu_sink nothing = {0};
  tsr_cu_region(e, op->regions[0], &nothing);
  out->threads = e->threads;
  out->shared_bytes = e->alloc_bytes + e->exchange_bytes;
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
  if (!dims)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (e.dim_count)
    memcpy(dims, e.dims, e.dim_count * sizeof *dims);
  out_kernel->dims = dims;
  out_kernel->dim_count = e.dim_count;
  return TSR_OK;
}
