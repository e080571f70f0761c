/* Relayouts of constants, evaluated: the packed bytes become constants of their own. */
#include "ir/bf16_parts.h"
#include "ir/const_bytes.h"
#include "passes/tile/tile.h"
#include <stdlib.h>
#include <string.h>

/* Every subscript is a sum of terms that depend on one lane each: base + sum steps[lane][position].
 * Each is checked against its dim, since what is outside is 0. */
typedef struct relayout {
  uint32_t rank, source_rank;
  int64_t dims[TSR_MAX_RANK], source_dims[TSR_MAX_RANK];
  int64_t base[TSR_MAX_RANK];
  int64_t *steps[TSR_MAX_RANK][TSR_MAX_RANK]; /* by subscript, lane; NULL: does not depend on it */
  int64_t along[TSR_MAX_RANK]; /* by subscript: from one element of a row to the next */
  bool even;                   /* `along` is the same within a row */
  size_t element;
  const unsigned char *source;
  unsigned char *target;
} relayout;

typedef struct packing {
  tsr_ir *ir;
  tsr_diag *diag;
  tsr_arena scratch;
  tsr_region graph;
  struct {
    tsr_op constant, relayout;
    tsr_value packed;
  } * done;
  uint32_t count, capacity;
} packing;

static tsr_status static_dims(const tsr_ir *ir, const tsr_type_info *type, int64_t *out,
                              tsr_diag *diag) {
  for (uint32_t i = 0; i < type->rank; i++)
    if (!tsr_expr_is_int(ir, type->dims[i], &out[i]))
      return tsr_fail(diag, TSR_ERR_SHAPE, "relayout of a constant with a symbolic shape");
  return TSR_OK;
}

/* The value at one position of the only lane. */
static tsr_status value_at(const tsr_ir *ir, tsr_expr expr, int64_t position, int64_t *out) {
  const tsr_expr_node node = tsr_expr_get(ir, expr);
  int64_t a = 0, b = 0;
  if (node.op == TSR_INDEX_INT || node.op == TSR_INDEX_LANE) {
    *out = node.op == TSR_INDEX_INT ? node.number : position;
    return TSR_OK;
  }
  if (node.op < TSR_INDEX_ADD)
    return TSR_ERR_SHAPE;
  TSR_TRY(value_at(ir, node.a, position, &a));
  TSR_TRY(value_at(ir, node.b, position, &b));
  return tsr_index_apply(node.op, a, b, out);
}

static uint32_t lanes_in(const tsr_ir *ir, tsr_expr expr) {
  const tsr_expr_node node = tsr_expr_get(ir, expr);
  if (node.op == TSR_INDEX_LANE)
    return node.number < TSR_MAX_RANK ? 1u << node.number : UINT32_MAX;
  return node.op < TSR_INDEX_ADD ? 0 : lanes_in(ir, node.a) | lanes_in(ir, node.b);
}

static tsr_status read_term(packing *p, relayout *r, uint32_t d, tsr_expr term) {
  const uint32_t mask = lanes_in(p->ir, term);
  uint32_t lane = 0;
  int64_t number = 0;
  if (tsr_expr_get(p->ir, term).op == TSR_INDEX_ADD) {
    TSR_TRY(read_term(p, r, d, tsr_expr_get(p->ir, term).a));
    return read_term(p, r, d, tsr_expr_get(p->ir, term).b);
  }
  if (mask == 0) {
    if (value_at(p->ir, term, 0, &number) != TSR_OK)
      return tsr_fail(p->diag, TSR_ERR_SHAPE, "relayout: a subscript has no value");
    r->base[d] += number;
    return TSR_OK;
  }
  while ((mask >> lane & 1) == 0)
    lane++;
  if (mask != 1u << lane || lane >= r->rank)
    return tsr_fail(p->diag, TSR_ERR_UNSUPPORTED,
                    "relayout: a term of a subscript depends on several axes");
  const size_t count = (size_t)(r->dims[lane] > 0 ? r->dims[lane] : 1);
  if (r->steps[d][lane] == NULL) {
    r->steps[d][lane] = tsr_arena_alloc_array(&p->scratch, count, sizeof(int64_t));
    if (r->steps[d][lane] == NULL)
      return tsr_fail(p->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in packing");
    memset(r->steps[d][lane], 0, count * sizeof(int64_t));
  }
  for (int64_t i = 0; i < r->dims[lane]; i++) {
    if (value_at(p->ir, term, i, &number) != TSR_OK)
      return tsr_fail(p->diag, TSR_ERR_SHAPE, "relayout: a subscript has no value");
    r->steps[d][lane][i] += number;
  }
  return TSR_OK;
}

static tsr_status read_map(packing *p, tsr_op op, relayout *r) {
  const tsr_attr *map = tsr_op_attr(p->ir, op, "map");
  const uint32_t last = r->rank - 1;
  if (map == NULL || map->kind != TSR_ATTR_EXPRS || map->count != r->source_rank)
    return tsr_fail(p->diag, TSR_ERR_VERIFY, "relayout: the map needs one subscript per dim");
  r->even = true;
  for (uint32_t d = 0; d < map->count; d++) {
    TSR_TRY(read_term(p, r, d, map->u.exprs[d]));
    const int64_t *steps = r->steps[d][last];
    r->along[d] = steps != NULL && r->dims[last] > 1 ? steps[1] - steps[0] : 0;
    for (int64_t i = 1; steps != NULL && r->even && i < r->dims[last]; i++)
      r->even = steps[i] - steps[i - 1] == r->along[d];
  }
  return TSR_OK;
}

/* Element by element. */
static void copy_uneven_row(const relayout *r, const int64_t *subscripts, unsigned char *to) {
  const uint32_t last = r->rank - 1;
  for (int64_t i = 0; i < r->dims[last]; i++, to += r->element) {
    int64_t offset = 0;
    bool inside = true;
    for (uint32_t d = 0; d < r->source_rank && inside; d++) {
      const int64_t at = subscripts[d] + (r->steps[d][last] != NULL ? r->steps[d][last][i] : 0);
      inside = at >= 0 && at < r->source_dims[d];
      offset = offset * r->source_dims[d] + at;
    }
    if (inside)
      memcpy(to, r->source + offset * (int64_t)r->element, r->element);
  }
}

/* One innermost row: lanes whose subscripts are inside are copied, in one piece where they are
 * neighbours in the source. */
static void copy_row(const relayout *r, const int64_t *subscripts, unsigned char *to) {
  const uint32_t last = r->rank - 1;
  const int64_t count = r->dims[last];
  int64_t offset = 0, stride = 0, lo = 0, hi = count;
  for (uint32_t d = 0; d < r->source_rank; d++) {
    const int64_t c = r->along[d];
    const int64_t at = subscripts[d] + (r->steps[d][last] != NULL ? r->steps[d][last][0] : 0);
    offset = offset * r->source_dims[d] + at;
    stride = stride * r->source_dims[d] + c;
    if (c == 0) {
      hi = at < 0 || at >= r->source_dims[d] ? 0 : hi;
      continue;
    }
    while (lo < hi && (at + c * lo < 0 || at + c * lo >= r->source_dims[d]))
      lo++;
    while (hi > lo && (at + c * (hi - 1) < 0 || at + c * (hi - 1) >= r->source_dims[d]))
      hi--;
  }
  if (hi <= lo)
    return;
  const unsigned char *from = r->source + (offset + stride * lo) * (int64_t)r->element;
  if (stride == 1) {
    memcpy(to + lo * (int64_t)r->element, from, (size_t)(hi - lo) * r->element);
    return;
  }
  for (int64_t i = lo; i < hi; i++, from += stride * (int64_t)r->element)
    memcpy(to + i * (int64_t)r->element, from, r->element);
}

static void copy_all(const relayout *r) {
  int64_t position[TSR_MAX_RANK] = {0}, rows = 1;
  for (uint32_t i = 0; i + 1 < r->rank; i++)
    rows *= r->dims[i];
  unsigned char *to = r->target;
  for (int64_t row = 0; row < rows; row++) {
    int64_t subscripts[TSR_MAX_RANK];
    for (uint32_t d = 0; d < r->source_rank; d++) {
      subscripts[d] = r->base[d];
      for (uint32_t i = 0; i + 1 < r->rank; i++)
        subscripts[d] += r->steps[d][i] != NULL ? r->steps[d][i][position[i]] : 0;
    }
    if (r->even)
      copy_row(r, subscripts, to);
    else
      copy_uneven_row(r, subscripts, to);
    to += r->dims[r->rank - 1] * (int64_t)r->element;
    for (uint32_t i = r->rank - 1; i-- > 0;) {
      if (++position[i] < r->dims[i])
        break;
      position[i] = 0;
    }
  }
}

/* `count` values laid out as f32 become bf16: which part each of them is, its position along `axis`
 * says. */
static tsr_status split_parts(packing *p, relayout *r, int64_t axis, int64_t count) {
  int64_t inner = 1;
  if (r->element != sizeof(float) || axis >= (int64_t)r->rank || r->dims[axis] != TSR_BF16_PARTS)
    return tsr_fail(p->diag, TSR_ERR_SHAPE, "relayout: 'parts' is no axis of 3 parts of f32");
  for (uint32_t i = (uint32_t)axis + 1; i < r->rank; i++)
    inner *= r->dims[i];
  uint16_t *narrow =
      tsr_arena_alloc_array(tsr_ir_arena(p->ir), (size_t)(count > 0 ? count : 1), sizeof *narrow);
  if (narrow == NULL)
    return tsr_fail(p->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in packing");
  for (int64_t i = 0; i < count; i++) {
    uint16_t parts[TSR_BF16_PARTS];
    float value;
    memcpy(&value, r->target + (size_t)i * sizeof value, sizeof value);
    tsr_bf16_parts_of(value, parts);
    narrow[i] = parts[i / inner % TSR_BF16_PARTS];
  }
  r->target = (unsigned char *)narrow;
  r->element = sizeof *narrow;
  return TSR_OK;
}

/* The const op under a relayout, through a reshape that only joins dims. */
static tsr_op source_const(const tsr_ir *ir, tsr_op op) {
  const tsr_value value = tsr_op_get(ir, op)->operands[0].value;
  const tsr_value_data *data = tsr_value_get(ir, value);
  if (data->role != TSR_ROLE_RESULT)
    return 0;
  const tsr_opcode code = tsr_op_get(ir, data->def)->code;
  if (code == TSR_OP_RESHAPE)
    return source_const(ir, data->def);
  return code == TSR_OP_CONST ? data->def : 0;
}

static bool same_map(const tsr_ir *ir, tsr_op a, tsr_op b) {
  const tsr_attr *x = tsr_op_attr(ir, a, "map"), *y = tsr_op_attr(ir, b, "map");
  const tsr_value va = tsr_op_get(ir, a)->results[0], vb = tsr_op_get(ir, b)->results[0];
  return x->count == y->count && tsr_value_get(ir, va)->type == tsr_value_get(ir, vb)->type &&
         tsr_op_int(ir, a, "parts", -1) == tsr_op_int(ir, b, "parts", -1) &&
         memcmp(x->u.exprs, y->u.exprs, x->count * sizeof *x->u.exprs) == 0;
}

static tsr_value packed_before(const packing *p, tsr_op constant, tsr_op op) {
  for (uint32_t i = 0; i < p->count; i++)
    if (p->done[i].constant == constant && same_map(p->ir, p->done[i].relayout, op))
      return p->done[i].packed;
  return 0;
}

static tsr_status remember(packing *p, tsr_op constant, tsr_op op, tsr_value packed) {
  if (p->count == p->capacity) {
    const uint32_t capacity = p->capacity == 0 ? 64 : p->capacity * 2;
    void *bigger = tsr_arena_alloc_array(tsr_ir_arena(p->ir), capacity, sizeof *p->done);
    if (bigger == NULL)
      return tsr_fail(p->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in packing");
    if (p->count > 0)
      memcpy(bigger, p->done, p->count * sizeof *p->done);
    p->done = bigger;
    p->capacity = capacity;
  }
  p->done[p->count].constant = constant;
  p->done[p->count].relayout = op;
  p->done[p->count++].packed = packed;
  return TSR_OK;
}

/* The constant is made at the graph's start, where all regions that share it see it. */
static tsr_status evaluate(packing *p, tsr_op constant, tsr_op op, tsr_value *out_packed) {
  tsr_ir *ir = p->ir;
  relayout r = {0};
  const tsr_op_data *data = tsr_op_get(ir, op);
  const tsr_type_info *type = tsr_value_type(ir, data->results[0]);
  const tsr_type_info *source = tsr_value_type(ir, data->operands[0].value);
  r.rank = type->rank;
  r.source_rank = source->rank;
  TSR_TRY(static_dims(ir, type, r.dims, p->diag));
  TSR_TRY(static_dims(ir, source, r.source_dims, p->diag));
  const unsigned bits = tsr_dtype_bits(source->dtype);
  const int64_t parts = tsr_op_int(ir, op, "parts", -1);
  if (bits % 8 != 0 || r.rank == 0)
    return tsr_fail(p->diag, TSR_ERR_UNSUPPORTED, "relayout of elements of %u bits", bits);
  TSR_TRY(read_map(p, op, &r));
  int64_t count = 1;
  for (uint32_t i = 0; i < r.rank; i++)
    if (__builtin_mul_overflow(count, r.dims[i], &count))
      return tsr_fail(p->diag, TSR_ERR_SHAPE, "relayout: too many elements");
  const void *bytes = NULL;
  uint64_t byte_count = 0;
  TSR_TRY(tsr_const_bytes(ir, constant, &p->scratch, p->diag, &bytes, &byte_count));
  r.element = bits / 8;
  r.source = bytes;
  r.target = tsr_arena_alloc_array(parts >= 0 ? &p->scratch : tsr_ir_arena(ir),
                                   (size_t)(count > 0 ? count : 1), r.element);
  if (r.target == NULL)
    return tsr_fail(p->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in packing");
  if (count > 0)
    copy_all(&r);
  if (parts >= 0)
    TSR_TRY(split_parts(p, &r, parts, count));
  const uint32_t number =
      tsr_const_add(ir, type->dtype, r.target, (uint64_t)count * r.element, false);
  tsr_op made = tsr_op_insert_before(ir, tsr_region_get(ir, p->graph)->first, TSR_OP_CONST);
  tsr_op_set_int(ir, made, "data", (int64_t)number);
  tsr_op_copy_origins(ir, made, op);
  *out_packed = tsr_op_add_result(ir, made, tsr_value_get(ir, data->results[0])->type);
  return remember(p, constant, op, *out_packed);
}

static tsr_status pack_region(packing *p, tsr_region region) {
  for (tsr_op op = tsr_region_get(p->ir, region)->first, next; op != 0; op = next) {
    const tsr_op_data *data = tsr_op_get(p->ir, op);
    next = data->next;
    for (uint32_t i = 0; i < data->region_count; i++)
      TSR_TRY(pack_region(p, data->regions[i]));
    const tsr_op constant = data->code == TSR_OP_RELAYOUT ? source_const(p->ir, op) : 0;
    if (constant == 0)
      continue;
    tsr_value packed = packed_before(p, constant, op);
    if (packed == 0)
      TSR_TRY(evaluate(p, constant, op, &packed));
    tsr_arena_reset(&p->scratch);
    tsr_value_replace_all(p->ir, data->results[0], packed);
  }
  return TSR_OK;
}

/* Relayouts go first, then what only they used: reshapes and the constants in their old order. */
static void sweep(tsr_ir *ir, tsr_region region, const uint32_t *uses, uint32_t value_count,
                  bool last) {
  for (tsr_op op = tsr_region_get(ir, region)->last, before; op != 0; op = before) {
    const tsr_op_data *data = tsr_op_get(ir, op);
    before = data->prev;
    for (uint32_t i = 0; i < data->region_count; i++)
      sweep(ir, data->regions[i], uses, value_count, last);
    const bool wanted = last ? data->code == TSR_OP_CONST
                             : data->code == TSR_OP_RELAYOUT || data->code == TSR_OP_RESHAPE;
    if (wanted && data->results[0] <= value_count && uses[data->results[0]] == 0)
      tsr_op_erase(ir, op);
  }
}

static tsr_status sweep_graphs(packing *p) {
  for (unsigned round = 0; round < 3; round++) {
    const uint32_t count = tsr_value_count(p->ir);
    uint32_t *uses = tsr_arena_alloc_array(&p->scratch, count + 1, sizeof *uses);
    if (uses == NULL)
      return tsr_fail(p->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory in packing");
    tsr_ir_count_uses(p->ir, uses);
    TSR_FOR_EACH_OP (p->ir, tsr_ir_top(p->ir), graph)
      if (tsr_op_get(p->ir, graph)->code == TSR_OP_GRAPH)
        sweep(p->ir, tsr_op_get(p->ir, graph)->regions[0], uses, count, round == 2);
  }
  return TSR_OK;
}

tsr_status tsr_pass_pack(tsr_ir *ir, tsr_diag *diag) {
  packing p = {.ir = ir, .diag = diag};
  tsr_arena_init(&p.scratch, tsr_ir_allocator(ir));
  tsr_status status = TSR_OK;
  bool packed = false;
  for (tsr_op op = tsr_region_get(ir, tsr_ir_top(ir))->first; op != 0 && status == TSR_OK;
       op = tsr_op_get(ir, op)->next)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH) {
      p.graph = tsr_op_get(ir, op)->regions[0];
      p.count = 0;
      status = pack_region(&p, p.graph);
      packed = packed || p.count > 0;
    }
  if (status == TSR_OK && packed)
    status = sweep_graphs(&p);
  tsr_arena_reset(&p.scratch);
  return status != TSR_OK ? status : tsr_ir_status(ir);
}
