/* Roles: the warps of a task in groups that run different code side by side. `thread` counts from 0
 * in each role, so that tiles are laid over a role as over a block; barriers in it are named ones.
 * A role that only waits, arrives and issues TMA copies is run by its first thread alone: nobody
 * else has to keep up with the phases. */
#include "codegen/cuda/emit.h"
#include <string.h>

enum { WARP = 32, WARPGROUP = 4, NAMED_BARRIERS = 15, REGISTERS = 65536 };

static int64_t number_of(tsr_cu *e, tsr_op roles, const char *key, uint32_t number) {
  const tsr_attr *list = tsr_op_attr(e->ir, roles, key);
  int64_t value = 0;
  if (!list)
    return 0;
  if (list->kind != TSR_ATTR_EXPRS || number >= list->count ||
      !tsr_expr_is_int(e->ir, list->u.exprs[number], &value))
    tsr_cu_fail(e, TSR_ERR_VERIFY, "'%s' has no number for role %u", key, number);
  return value;
}

uint32_t tsr_cu_role_warps(tsr_cu *e, tsr_op roles, uint32_t number) {
  int64_t warps = number_of(e, roles, "warps", number);
  if (warps < 1 || warps > 32 || (warps & (warps - 1)))
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "a role of %lld warps; powers of two have code",
                (long long)warps);
  return (uint32_t)warps;
}

static bool is_scalar(const tsr_cu *e, const tsr_op_data *op) {
  for (uint32_t i = 0; i < op->result_count; ++i)
    if (tsr_value_type(e->ir, op->results[i])->rank > 0)
      return false;
  return true;
}

bool tsr_cu_role_is_single(tsr_cu *e, tsr_region region) {
  TSR_FOR_EACH_OP (e->ir, region, id) {
    const tsr_op_data *op = tsr_op_get(e->ir, id);
    const char *atom = tsr_op_string(e->ir, id, "atom");
    bool fine = is_scalar(e, op);
    switch (op->code) {
    case TSR_OP_FOR:
    case TSR_OP_IF:
    case TSR_OP_LOOP:
    case TSR_OP_YIELD:
    case TSR_OP_ARRIVE:
    case TSR_OP_CONST:
    case TSR_OP_INDEX:
      break;
    case TSR_OP_WAIT:
      fine = fine && op->operand_count == 1;
      break;
    case TSR_OP_COPY:
      fine = fine && atom && !strcmp(atom, "tma") && op->operand_count == 3;
      break;
    case TSR_OP_LOAD:
    case TSR_OP_GATHER_LOAD:
      fine = fine && !e->hazard[op->operands[0].value];
      break;
    default:
      fine = fine && tsr_opcode_elementwise(op->code);
    }
    for (uint32_t i = 0; fine && i < op->region_count; ++i)
      fine = tsr_cu_role_is_single(e, op->regions[i]);
    if (!fine)
      return false;
  }
  return true;
}

void tsr_cu_enter_role(tsr_cu *e, tsr_op roles, uint32_t number, tsr_cu_team *out_outer) {
  *out_outer = (tsr_cu_team){e->threads, e->first_thread, e->barrier_id, e->single};
  if (e->barrier_id != 0)
    tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "roles inside of roles have no code on CUDA");
  if (number >= NAMED_BARRIERS)
    tsr_cu_fail(e, TSR_ERR_LIMIT, "%d roles at most", NAMED_BARRIERS);
  e->first_thread = 0;
  for (uint32_t i = 0; i < number; ++i)
    e->first_thread += tsr_cu_role_warps(e, roles, i) * WARP;
  e->threads = tsr_cu_role_warps(e, roles, number) * WARP;
  e->barrier_id = number + 1;
}

void tsr_cu_leave_role(tsr_cu *e, const tsr_cu_team *outer) {
  e->threads = outer->threads;
  e->first_thread = outer->first_thread;
  e->barrier_id = outer->barrier_id;
  e->single = outer->single;
}

/* A block starts with the same registers in all warps: what the bounds of a block that is alone on
 * its multiprocessor leave it. */
static void set_registers(tsr_cu *e, uint32_t block, int64_t registers) {
  int64_t first = REGISTERS / block / 8 * 8;
  if (registers == 0 || e->target->capability < 90)
    return;
  if (e->threads % (WARPGROUP * WARP) != 0 || e->first_thread % (WARPGROUP * WARP) != 0)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "registers are set by whole groups of four warps");
  if (registers % 8 != 0 || registers < 24 || registers > 256)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "%lld registers; multiples of 8 from 24 to 256 are possible",
                (long long)registers);
  e->sets_registers = true;
  tsr_cu_line(e, "tsr_set_max_registers_%s(%lld);", registers <= first ? "dec" : "inc",
              (long long)registers);
}

static void check_registers(tsr_cu *e, tsr_op roles, uint32_t count) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i)
    sum += number_of(e, roles, "registers", i) * tsr_cu_role_warps(e, roles, i) * WARP;
  if (sum > REGISTERS)
    tsr_cu_fail(e, TSR_ERR_LIMIT, "the roles ask for %lld registers, a block has %d",
                (long long)sum, REGISTERS);
}

/* Tiles that change their layout in one role must not meet those of another one. */
static void emit_role(tsr_cu *e, tsr_op roles, uint32_t number, uint32_t block) {
  const tsr_op_data *op = tsr_op_get(e->ir, roles);
  const tsr_cu_sink nothing = {0};
  tsr_cu_team outer;
  tsr_cu_enter_role(e, roles, number, &outer);
  if (e->first_thread > 0)
    tsr_cu_line(e, "const int thread = tsr_thread() - %u;", e->first_thread);
  else
    tsr_cu_line(e, "const int thread = tsr_thread();");
  tsr_cu_line(e, "(void)thread;");
  set_registers(e, block, number_of(e, roles, "registers", number));
  e->single = tsr_cu_role_is_single(e, op->regions[number]);
  bool single = e->single;
  if (single)
    tsr_cu_line(e, "if (thread == 0) {");
  tsr_cu_region(e, op->regions[number], &nothing);
  if (single) {
    tsr_cu_line(e, "}");
    tsr_cu_line(e, "tsr_warp_barrier();");
  }
  tsr_cu_leave_role(e, &outer);
}

/* What follows may use the exchange area and what the roles stored. */
static bool needs_barrier_behind(const tsr_cu *e, const tsr_op_data *roles) {
  if (roles->next == 0)
    return false;
  tsr_opcode next = tsr_op_get(e->ir, roles->next)->code;
  return next != TSR_OP_BARRIER && next != TSR_OP_YIELD;
}

void tsr_cu_roles(tsr_cu *e) {
  const tsr_op id = e->op_id;
  const tsr_op_data *op = e->op;
  uint32_t block = e->threads, warps = 0;
  uint64_t base = e->alloc_bytes, outside = e->exchange_bytes;
  for (uint32_t i = 0; i < op->region_count; ++i)
    warps += tsr_cu_role_warps(e, id, i);
  if (warps * WARP != block)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the roles have %u warps, the task %u", warps, block / WARP);
  check_registers(e, id, op->region_count);
  uint32_t first = 0;
  for (uint32_t i = 0; i < op->region_count; ++i) {
    uint32_t end = first + tsr_cu_role_warps(e, id, i) * WARP;
    if (i + 1 < op->region_count)
      tsr_cu_line(e, "%sif (tsr_thread() < %u) {", i ? "} else " : "", end);
    else
      tsr_cu_line(e, "%s{", i ? "} else " : "");
    first = end;
    e->exchange_bytes = 0;
    emit_role(e, id, i, block);
    e->alloc_bytes += (e->exchange_bytes + 127) / 128 * 128;
    if (e->alloc_bytes > e->role_bytes)
      e->role_bytes = e->alloc_bytes;
  }
  tsr_cu_line(e, "}");
  e->alloc_bytes = base;
  e->exchange_bytes = outside;
  if (needs_barrier_behind(e, op))
    tsr_cu_line(e, "tsr_barrier();");
}
