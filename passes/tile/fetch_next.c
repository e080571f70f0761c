/* Constants that a launch would wait for come into the caches while launches before it compute. A
 * kernel whose products leave memory idle gets one more input, the constant, and fetches a little
 * of it at each turn of an inner loop. Each task fetches the same part of the constant that it is
 * of its launch, since threads take the same parts of all launches. Nothing that is computed
 * changes.
 */
#include "passes/tile/kernel_copy.h"
#include "passes/tile/tile.h"

enum {
  MOST_LOOPS = 8,
  NEAREST = 8,            /* launches before the one that waits */
  LEAST_BYTES = 64 << 10, /* of a launch's part */
  MOST_STEP = 2048,       /* bytes per turn: more would not spread */
};

/* The model's rates are those of machines with the most units; and where memory falls behind, what
 * is not there yet waits no longer than it would have. */
static const double most_share = 3;
/* What a launch waits for takes so much of its products' time. Below that the hardware, and panels
 * fetched `ahead`, hide it. */
static const double least_share = 1.0 / 3;

/* A launch, and what is known of its kernel. */
typedef struct station {
  tsr_op launch, kernel; /* no kernel: one of several */
  double cycles;         /* of the products of all tasks; 0: nobody knows */
  int64_t bytes;         /* of the constants it reads */
  tsr_value slow;        /* the greatest of them */
  int64_t slow_bytes;
  bool fetches; /* for another one */
} station;

/* A kernel that was made, for launches that need the same. */
typedef struct made_fetch {
  tsr_op from, made;
  tsr_type type;
  int64_t first, elements;
} made_fetch;

typedef struct fetching {
  tsr_ir *ir;
  const tsr_target *target;
  tsr_arena scratch, per_kernel;
  station *stations;
  made_fetch *made;
  uint32_t station_count, made_count;
  bool failed; /* memory is out */
} fetching;

/* A loop, or the tasks: turns, the same for all or at most so many (0: nobody knows), and the
 * number of the one at hand. */
typedef struct turns {
  int64_t count;
  tsr_expr number;
} turns;

/* --- what a kernel does --- */

static turns turns_of(tsr_ir *ir, tsr_value variable) {
  const tsr_value_data *index = tsr_value_get(ir, variable);
  int64_t step = 0, lo = 0, hi = 0;
  if (!tsr_expr_is_int(ir, index->step, &step) || step <= 0)
    return (turns){0};
  const tsr_expr start = index->lo;
  tsr_expr_bounds(ir, tsr_expr_sub(ir, index->hi, start), NULL, 0, &lo, &hi);
  if (hi <= 0 || hi > INT64_MAX / 2)
    return (turns){0};
  const tsr_expr from_start = tsr_expr_sub(ir, tsr_expr_value(ir, variable), start);
  return (turns){(hi + step - 1) / step, tsr_expr_floordiv_int(ir, from_start, step)};
}

/* The turns of `inner` within those of `outer`. */
static turns turns_within(tsr_ir *ir, turns outer, turns inner) {
  turns both = {0};
  if (__builtin_mul_overflow(outer.count, inner.count, &both.count) || both.count == 0)
    return (turns){0};
  both.number = tsr_expr_add(ir, tsr_expr_mul_int(ir, outer.number, inner.count), inner.number);
  return both;
}

/* All index variables of a role that a region has; one turn where it has none. */
static turns turns_of_region(tsr_ir *ir, tsr_region region, tsr_arg_role role) {
  const tsr_region_data *body = tsr_region_get(ir, region);
  turns all = {1, tsr_expr_int(ir, 0)};
  for (uint32_t i = 0; i < body->arg_count; i++)
    if (tsr_value_get(ir, body->args[i])->role == role)
      all = turns_within(ir, all, turns_of(ir, body->args[i]));
  return all;
}

static turns tasks_of(tsr_ir *ir, tsr_op kernel) {
  return turns_of_region(ir, tsr_op_get(ir, kernel)->regions[0], TSR_ROLE_GRID);
}

static double extent(const tsr_ir *ir, tsr_value tile, uint32_t axis) {
  const tsr_type_info *type = tsr_value_type(ir, tile);
  int64_t size = 1;
  return axis < type->rank && tsr_expr_is_int(ir, type->dims[axis], &size) ? (double)size : 1;
}

/* Cycles of one product of tiles, as if by multiply-adds of vectors. */
static double product_cycles(const fetching *f, tsr_op op) {
  const tsr_op_data *product = tsr_op_get(f->ir, op);
  const tsr_value sums = product->results[0];
  const unsigned bits = tsr_dtype_bits(tsr_value_type(f->ir, sums)->dtype);
  const bool each = tsr_op_bool(f->ir, op, "each", false);
  const double depth = each ? 1 : extent(f->ir, product->operands[0].value, 1);
  return extent(f->ir, sums, 0) * extent(f->ir, sums, 1) * depth /
         (tsr_target_lanes(f->target, bits) * f->target->fma_rate);
}

static double region_cycles(const fetching *f, tsr_region region);

/* Negative: extents that only a run knows. */
static double op_cycles(const fetching *f, tsr_op op) {
  const tsr_op_data *data = tsr_op_get(f->ir, op);
  double cycles = 0;
  if (data->code == TSR_OP_CONTRACT)
    return product_cycles(f, op);
  for (uint32_t i = 0; i < data->region_count; i++) {
    const double inside = region_cycles(f, data->regions[i]);
    if (inside < 0)
      return inside;
    cycles += inside;
  }
  if (data->code != TSR_OP_FOR || cycles == 0)
    return cycles;
  const turns loop = turns_of_region(f->ir, data->regions[0], TSR_ROLE_LOOP);
  return loop.count == 0 ? -1 : cycles * (double)loop.count;
}

static double region_cycles(const fetching *f, tsr_region region) {
  double cycles = 0;
  TSR_FOR_EACH_OP (f->ir, region, op) {
    const double more = op_cycles(f, op);
    if (more < 0)
      return more;
    cycles += more;
  }
  return cycles;
}

/* --- launches --- */

/* Of constants whose elements are bytes or wider, else 0. */
static int64_t constant_bytes(const tsr_ir *ir, tsr_value value) {
  const tsr_op def = tsr_value_get(ir, value)->def;
  const tsr_type_info *type = tsr_value_type(ir, value);
  int64_t count = 1, size = 0;
  if (tsr_op_get(ir, def)->code != TSR_OP_CONST || tsr_op_attr(ir, def, "value") != NULL ||
      tsr_dtype_bits(type->dtype) < 8)
    return 0;
  for (uint32_t i = 0; i < type->rank; i++)
    if (!tsr_expr_is_int(ir, type->dims[i], &size) || __builtin_mul_overflow(count, size, &count))
      return 0;
  const int64_t bytes = tsr_dtype_bytes(type->dtype, count);
  return bytes < 0 ? 0 : bytes;
}

static void visit_launch(fetching *f, tsr_op launch) {
  const tsr_op_data *data = tsr_op_get(f->ir, launch);
  station *s = &f->stations[f->station_count++];
  *s = (station){.launch = launch};
  for (uint32_t i = 0; i < data->operand_count; i++) {
    const int64_t bytes = constant_bytes(f->ir, data->operands[i].value);
    s->bytes += bytes;
    if (bytes > s->slow_bytes) {
      s->slow_bytes = bytes;
      s->slow = data->operands[i].value;
    }
  }
  s->kernel = data->symbol == NULL ? 0 : tsr_ir_find_symbol(f->ir, data->symbol);
  if (s->kernel == 0)
    return;
  const double cycles = region_cycles(f, tsr_op_get(f->ir, s->kernel)->regions[0]);
  s->cycles = cycles > 0 ? cycles * (double)tasks_of(f->ir, s->kernel).count : 0;
}

static bool waits(const fetching *f, const station *s) {
  return s->cycles > 0 && s->slow_bytes >= (int64_t)f->target->l2_bytes / 4 &&
         s->slow_bytes <= (int64_t)f->target->l3_bytes / 2 &&
         (double)s->slow_bytes >= least_share * s->cycles * f->target->memory_rate;
}

/* --- a kernel that fetches --- */

/* The loops around most of the products, from the outside in. */
static uint32_t find_loops(const fetching *f, tsr_op kernel, tsr_op *out) {
  tsr_region region = tsr_op_get(f->ir, kernel)->regions[0];
  uint32_t depth = 0;
  while (depth < MOST_LOOPS) {
    tsr_op best = 0;
    double most = 0;
    TSR_FOR_EACH_OP (f->ir, region, op) {
      const double cycles = tsr_op_get(f->ir, op)->code == TSR_OP_FOR ? op_cycles(f, op) : 0;
      if (cycles > most) {
        most = cycles;
        best = op;
      }
    }
    if (best == 0)
      break;
    out[depth++] = best;
    region = tsr_op_get(f->ir, best)->regions[0];
  }
  return depth;
}

/* Where and how fast a kernel fetches `elements` in each of its tasks: the body of a loop, its
 * turns in a task, elements at each. */
typedef struct place {
  tsr_region body;
  turns all;
  int64_t step;
} place;

/* The innermost loop that has no more turns than there are elements. */
static bool find_place(const fetching *f, tsr_op kernel, int64_t elements, int64_t bytes,
                       place *out) {
  tsr_op loops[MOST_LOOPS];
  const uint32_t depth = find_loops(f, kernel, loops);
  turns all = {1, tsr_expr_int(f->ir, 0)};
  *out = (place){0};
  for (uint32_t i = 0; i < depth; i++) {
    const tsr_region body = tsr_op_get(f->ir, loops[i])->regions[0];
    all = turns_within(f->ir, all, turns_of_region(f->ir, body, TSR_ROLE_LOOP));
    if (all.count == 0 || all.count > elements)
      break;
    *out = (place){.body = body, .all = all, .step = (elements + all.count - 1) / all.count};
  }
  return out->body != 0 && out->step * bytes <= MOST_STEP;
}

/* A copy of the kernel with one more input, behind `operands` arguments. 0: memory is out. */
static tsr_op copy_kernel(fetching *f, tsr_op kernel, uint32_t operands, tsr_type type,
                          tsr_value *out_input) {
  tsr_ir *ir = f->ir;
  tsr_kernel_copy copy = tsr_kernel_copy_begin(ir, kernel, 'f', f->made_count, &f->per_kernel);
  if (copy.kernel == 0)
    return 0;
  uint32_t arguments = 0;
  for (uint32_t i = 0; i < tsr_region_get(ir, copy.from)->arg_count; i++) {
    const tsr_value arg = tsr_region_get(ir, copy.from)->args[i];
    if (tsr_value_get(ir, arg)->role != TSR_ROLE_GRID && arguments++ == operands)
      *out_input = tsr_region_add_arg(ir, copy.to, TSR_ROLE_IN, type);
    tsr_kernel_copy_argument(ir, &copy, arg);
  }
  if (arguments == operands)
    *out_input = tsr_region_add_arg(ir, copy.to, TSR_ROLE_IN, type);
  tsr_kernel_copy_body(ir, &copy);
  return copy.kernel;
}

/* Elements `first` and so many more of each task's part of the constant, which is `slice` long. */
static tsr_op make_kernel(fetching *f, const station *s, const made_fetch *wanted, int64_t bytes,
                          int64_t slice) {
  tsr_ir *ir = f->ir;
  const tsr_expr all = tsr_type_elements(ir, wanted->type);
  const tsr_type type =
      tsr_type_make(ir, TSR_LEVEL_GLOBAL, tsr_type_get(ir, wanted->type)->dtype, &all, 1);
  tsr_value input = 0;
  place at;
  const tsr_op made =
      copy_kernel(f, s->kernel, tsr_op_get(ir, s->launch)->operand_count, type, &input);
  if (made == 0 || !find_place(f, made, wanted->elements, bytes, &at))
    return 0;
  tsr_expr start = tsr_expr_mul_int(ir, tasks_of(ir, made).number, slice);
  start = tsr_expr_add(ir, start, tsr_expr_mul_int(ir, at.all.number, at.step));
  start = tsr_expr_add(ir, tsr_expr_add_int(ir, start, wanted->first), tsr_expr_lane(ir, 0));
  const tsr_op fetch =
      tsr_op_insert_before(ir, tsr_region_get(ir, at.body)->first, TSR_OP_PREFETCH);
  const tsr_expr shape = tsr_expr_int(ir, at.step);
  tsr_op_add_element(ir, fetch, input, &start, 1);
  tsr_op_set_exprs(ir, fetch, "shape", &shape, 1);
  return made;
}

static tsr_op kernel_that_fetches(fetching *f, const station *s, made_fetch wanted, int64_t bytes,
                                  int64_t slice) {
  for (uint32_t i = 0; i < f->made_count; i++)
    if (f->made[i].from == wanted.from && f->made[i].type == wanted.type &&
        f->made[i].first == wanted.first && f->made[i].elements == wanted.elements)
      return f->made[i].made;
  wanted.made = make_kernel(f, s, &wanted, bytes, slice);
  tsr_arena_reset(&f->per_kernel);
  f->failed = wanted.made == 0;
  if (!f->failed)
    f->made[f->made_count++] = wanted;
  return wanted.made;
}

/* A constant may stand behind the launch that is to fetch it. */
static void define_before(tsr_ir *ir, tsr_value constant, tsr_op launch) {
  const tsr_op def = tsr_value_get(ir, constant)->def;
  for (tsr_op op = tsr_op_get(ir, launch)->next; op != 0; op = tsr_op_get(ir, op)->next)
    if (op == def) {
      tsr_op_move_before(ir, def, launch);
      return;
    }
}

/* Launches before it fetch parts of what it waits for, the nearest one the first part. */
static void fetch_for(fetching *f, uint32_t number) {
  const station *slow = &f->stations[number];
  const tsr_type type = tsr_value_get(f->ir, slow->slow)->type;
  const int64_t bytes = tsr_dtype_bytes(tsr_type_get(f->ir, type)->dtype, 1);
  const double rate = most_share * f->target->memory_rate;
  int64_t rest = slow->slow_bytes;
  for (uint32_t back = 1; back <= NEAREST && back <= number && rest > 0; back++) {
    station *s = &f->stations[number - back];
    const double spare = s->cycles * rate - (double)s->bytes;
    const int64_t part = spare < (double)rest ? (int64_t)spare : rest;
    if (s->kernel == 0 || s->fetches || part < LEAST_BYTES || part < rest / 3)
      continue;
    const int64_t tasks = tasks_of(f->ir, s->kernel).count;
    const made_fetch wanted = {.from = s->kernel,
                               .type = type,
                               .first = (slow->slow_bytes - rest) / bytes / tasks,
                               .elements = part / bytes / tasks};
    place at;
    if (!find_place(f, s->kernel, wanted.elements, bytes, &at))
      continue;
    const tsr_op kernel =
        kernel_that_fetches(f, s, wanted, bytes, slow->slow_bytes / bytes / tasks);
    if (kernel == 0)
      return;
    define_before(f->ir, slow->slow, s->launch);
    tsr_op_add_operand(f->ir, s->launch, slow->slow);
    tsr_op_set_symbol(f->ir, s->launch, tsr_op_get(f->ir, kernel)->symbol);
    s->fetches = true;
    rest -= part;
  }
}

static void fetch_graph(fetching *f, tsr_region region) {
  uint32_t count = 0;
  TSR_FOR_EACH_OP (f->ir, region, op)
    count += tsr_op_get(f->ir, op)->code == TSR_OP_LAUNCH;
  f->stations = tsr_arena_alloc_array(&f->scratch, count, sizeof *f->stations);
  f->made = tsr_arena_alloc_array(&f->scratch, count, sizeof *f->made);
  f->station_count = f->made_count = 0;
  f->failed = f->stations == NULL || f->made == NULL;
  if (f->failed)
    return;
  TSR_FOR_EACH_OP (f->ir, region, op)
    if (tsr_op_get(f->ir, op)->code == TSR_OP_LAUNCH)
      visit_launch(f, op);
  for (uint32_t i = 0; i < count && !f->failed; i++)
    if (waits(f, &f->stations[i]))
      fetch_for(f, i);
}

/* Kernels whose launches all fetch something now. */
static void erase_unused(fetching *f) {
  for (uint32_t i = 0; i < f->made_count; i++) {
    const tsr_op kernel = f->made[i].from;
    bool seen = false;
    for (uint32_t before = 0; before < i; before++)
      seen = seen || f->made[before].from == kernel;
    if (!seen)
      tsr_kernel_erase_unused(f->ir, kernel);
  }
}

tsr_status tsr_pass_fetch_next(tsr_ir *ir, const tsr_target *target, tsr_diag *diag) {
  fetching f = {.ir = ir, .target = target};
  if (target->kind != TSR_TARGET_CPU)
    return TSR_OK;
  tsr_arena_init(&f.scratch, tsr_ir_allocator(ir));
  tsr_arena_init(&f.per_kernel, tsr_ir_allocator(ir));
  for (tsr_op op = tsr_region_get(ir, tsr_ir_top(ir))->first; op != 0 && !f.failed;
       op = tsr_op_get(ir, op)->next)
    if (tsr_op_get(ir, op)->code == TSR_OP_GRAPH) {
      fetch_graph(&f, tsr_op_get(ir, op)->regions[0]);
      if (!f.failed)
        erase_unused(&f);
    }
  tsr_arena_reset(&f.scratch);
  tsr_arena_reset(&f.per_kernel);
  return f.failed ? tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory") : tsr_ir_status(ir);
}
