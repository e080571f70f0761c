/* What the space of schedules hands out is legal, repeatable, and right when it runs. */
#include "ir/copy.h"
#include "passes/passes.h"
#include "passes/tile/space.h"
#include "tests/tile/tile_run.h"

typedef struct workload {
  const char *name, *text;
} workload;

static const workload workloads[] = {
    {"gemm with weights",
     "graph @g {\n %x = input {name = \"x\"} : f32[37, 48]\n %w = const {random = 1} : f32[48, "
     "66]\n %b = const {random = 2} : f32[66]\n %h = einsum %x, %w {spec = \"mk,kn->mn\"} : "
     "f32[37, 66]\n %s = add %h, %b : f32[37, 66]\n %0 = const {value = 0} : f32[]\n %y = max %s, "
     "%0 : f32[37, 66]\n output %y {name = \"y\"}\n}\n"},
    {"gemm of inputs", "graph @g {\n %x = input {name = \"x\"} : f32[2, 19, 128]\n"
                       " %w = input {name = \"w\"} : f32[2, 128, 34]\n"
                       " %y = einsum %x, %w {spec = \"bmk,bkn->bmn\"} : f32[2, 19, 34]\n"
                       " output %y {name = \"y\"}\n}\n"},
    {"vector by matrix",
     "graph @g {\n %x = input {name = \"x\"} : f32[128]\n %w = const {random = 1} : f32[128, 100]\n"
     " %y = einsum %x, %w {spec = \"k,kn->n\"} : f32[100]\n output %y {name = \"y\"}\n}\n"},
    {"symbolic gemm",
     "dim N in 1..512 hint 33\ngraph @g {\n %x = input {name = \"x\"} : f32[N, 64]\n"
     " %w = const {random = 1} : f32[64, 48]\n"
     " %y = einsum %x, %w {spec = \"mk,kn->mn\"} : f32[N, 48]\n output %y {name = \"y\"}\n}\n"},
    {"half gemm",
     "graph @g {\n %x = input {name = \"x\"} : f16[20, 128]\n %w = const {random = 1} : f16[128, "
     "24]\n"
     " %y = einsum %x, %w {spec = \"mk,kn->mn\"} : f16[20, 24]\n output %y {name = \"y\"}\n}\n"},
    {"convolution", "graph @g {\n %x = input {name = \"x\"} : f32[1, 8, 14, 14]\n"
                    " %w = const {random = 1} : f32[16, 8, 3, 3]\n"
                    " %y = conv %x, %w {dilations = [1, 1], groups = 1, high = [1, 1], low = [1, "
                    "1], strides = [1, 1]} : f32[1, 16, 14, 14]\n output %y {name = \"y\"}\n}\n"},
    {"small image",
     "graph @g {\n %x = input {name = \"x\"} : f32[1, 24, 7, 7]\n"
     " %w = const {random = 1} : f32[40, 24, 1, 1]\n"
     " %y = conv %x, %w {dilations = [1, 1], groups = 1, high = [0, 0], low = [0, 0], strides = "
     "[1, 1]} : f32[1, 40, 7, 7]\n output %y {name = \"y\"}\n}\n"},
    {"depthwise convolution",
     "graph @g {\n %x = input {name = \"x\"} : f32[1, 6, 19, 19]\n"
     " %w = const {random = 1} : f32[6, 1, 3, 3]\n"
     " %y = conv %x, %w {dilations = [1, 1], groups = 6, high = [1, 1], low = [1, 1], strides = "
     "[2, 2]} : f32[1, 6, 10, 10]\n output %y {name = \"y\"}\n}\n"},
    {"depthwise convolution of channels side by side",
     "graph @g {\n %x = input {name = \"x\"} : f32[2, 9, 11, 40]\n %w = const {random = 1} : "
     "f32[40, 3, 5]\n %y = block par(%n in 2, %p in 9, %q in 6, %c in 40) red(%u in 3, %v in 5) "
     "{\n %0 = load "
     "%x[%n, %p + %u - 1, %q*2 + %v - 2, %c] : f32\n %1 = load %w[%c, %u, %v] : f32\n %2 = mul %0, "
     "%1 : f32\n %3 = reduce %2 {combine = \"add\"} : f32\n store %3, %y[%n, %p, %q, %c]\n } : "
     "f32[2, 9, 6, 40]\n output %y {name = \"y\"}\n}\n"},
    {"pool",
     "graph @g {\n %x = input {name = \"x\"} : f32[6, 23, 41]\n %y = block par(%c in 6, %p in 12, "
     "%q in 21) red(%u in 3, %v in 3) {\n %0 = load %x[%c, %p*2 + %u - 1, %q*2 + %v - 1] {pad = "
     "-inf} : f32\n %1 = reduce %0 {combine = \"max\"} : f32\n store %1, %y[%c, %p, %q]\n } : "
     "f32[6, 12, 21]\n output %y {name = \"y\"}\n}\n"},
    {"elementwise and a turned operand",
     "graph @g {\n %x = input {name = \"x\"} : f32[33, 70]\n %z = input {name = \"z\"} : f32[70, "
     "33]\n"
     " %t = transpose %z {perm = [1, 0]} : f32[33, 70]\n %e = exp %x : f32[33, 70]\n"
     " %y = add %e, %t : f32[33, 70]\n output %y {name = \"y\"}\n}\n"},
    {"softmax",
     "graph @g {\n %x = input {name = \"x\"} : f32[37, 130]\n"
     " %m = reduce %x {axes = [1], combine = \"max\"} : f32[37]\n %m1 = reshape %m : f32[37, 1]\n"
     " %d = sub %x, %m1 : f32[37, 130]\n %e = exp %d : f32[37, 130]\n"
     " %s = reduce %e {axes = [1], combine = \"add\"} : f32[37]\n %s1 = reshape %s : f32[37, 1]\n"
     " %y = div %e, %s1 : f32[37, 130]\n output %y {name = \"y\"}\n}\n"},
    {"sum of everything",
     "graph @g {\n %x = input {name = \"x\"} : f32[61, 67]\n"
     " %y = reduce %x {axes = [0, 1], combine = \"add\"} : f32[]\n output %y {name = \"y\"}\n}\n"},
    {"sum of much",
     "graph @g {\n %x = input {name = \"x\"} : f32[3000, 1001]\n"
     " %y = reduce %x {axes = [0, 1], combine = \"max\"} : f32[]\n output %y {name = \"y\"}\n}\n"},
    {"sum of columns",
     "dim N in 1..4096 hint 300\ngraph @g {\n %x = input {name = \"x\"} : f32[N, 67]\n"
     " %y = reduce %x {axes = [0], combine = \"add\"} : f32[67]\n output %y {name = \"y\"}\n}\n"},
    {"softmax as one kernel",
     "dim N in 1..512 hint 33\ngraph @g {\n %x = input {name = \"x\"} : f32[N, 130]\n"
     " %m = reduce %x {axes = [1], combine = \"max\"} : f32[N]\n %m1 = reshape %m : f32[N, 1]\n"
     " %d = sub %x, %m1 : f32[N, 130]\n %e = exp %d : f32[N, 130]\n"
     " %s = reduce %e {axes = [1], combine = \"add\"} : f32[N]\n %s1 = reshape %s : f32[N, 1]\n"
     " %y = div %e, %s1 : f32[N, 130]\n output %y {name = \"y\"}\n}\n"},
    {"attention as one kernel",
     "graph @g {\n %q = input {name = \"q\"} : f32[2, 37, 16]\n"
     " %k = input {name = \"k\"} : f32[2, 70, 16]\n %v = input {name = \"v\"} : f32[2, 70, 24]\n"
     " %x = einsum %q, %k {spec = \"bmk,bnk->bmn\"} : f32[2, 37, 70]\n"
     " %m = reduce %x {axes = [2], combine = \"max\"} : f32[2, 37]\n"
     " %m1 = reshape %m : f32[2, 37, 1]\n %d = sub %x, %m1 : f32[2, 37, 70]\n"
     " %e = exp %d : f32[2, 37, 70]\n"
     " %s = reduce %e {axes = [2], combine = \"add\"} : f32[2, 37]\n"
     " %s1 = reshape %s : f32[2, 37, 1]\n %p = div %e, %s1 : f32[2, 37, 70]\n"
     " %y = einsum %p, %v {spec = \"bmk,bkn->bmn\"} : f32[2, 37, 24]\n"
     " output %y {name = \"y\"}\n}\n"},
};
/* A product that atoms with k-groups make, where the target has them. */
typedef struct product {
  workload of;
  const char *atoms[2]; /* all that do */
} product;

static const product grouped[] = {
    {{"bytes with weights",
      "graph @g {\n %x = input {name = \"x\"} : u8[37, 150]\n %w = const {random = 1} : i8[150, "
      "66]\n"
      " %a = cast %x : i32[37, 150]\n %b = cast %w : i32[150, 66]\n"
      " %y = einsum %a, %b {spec = \"mk,kn->mn\"} : i32[37, 66]\n output %y {name = \"y\"}\n}\n"},
     {"vnni.u8i8", "amx.u8i8"}},
    {{"signed bytes",
      "graph @g {\n %x = input {name = \"x\"} : i8[37, 128]\n %w = input {name = \"w\"} : i8[128, "
      "48]\n"
      " %a = cast %x : i32[37, 128]\n %b = cast %w : i32[128, 48]\n"
      " %y = einsum %a, %b {spec = \"mk,kn->mn\"} : i32[37, 48]\n output %y {name = \"y\"}\n}\n"},
     {"amx.i8i8"}},
    {{"bytes of an image",
      "graph @g {\n %x = input {name = \"x\"} : u8[12, 14, 14]\n %w = const {random = 1} : "
      "i8[40, 12, 3, 3]\n %y = block par(%m in 40, %p in 14, %q in 14) red(%c in 12, %u in 3, %v "
      "in "
      "3) {\n %0 = load %x[%c, %p + %u - 1, %q + %v - 1] {pad = 113} : u8\n %1 = cast %0 : i32\n "
      "%2 = load %w[%m, %c, %u, %v] : i8\n %3 = cast %2 : i32\n %4 = mul %1, %3 : i32\n "
      "%5 = reduce %4 {combine = \"add\"} : i32\n store %5, %y[%m, %p, %q]\n } : i32[40, 14, 14]\n"
      " output %y {name = \"y\"}\n}\n"},
     {"vnni.u8i8", "amx.u8i8"}},
    {{"rows of bf16",
      "dim N in 1..512 hint 33\ngraph @g {\n %x = input {name = \"x\"} : bf16[N, 128]\n"
      " %w = const {random = 1} : bf16[128, 48]\n %a = cast %x : f32[N, 128]\n"
      " %b = cast %w : f32[128, 48]\n %y = einsum %a, %b {spec = \"mk,kn->mn\"} : f32[N, 48]\n"
      " output %y {name = \"y\"}\n}\n"},
     {"dot.bf16", "amx.bf16"}},
    {{"f32 by parts",
      "graph @g {\n %x = input {name = \"x\"} : f32[64, 256]\n %w = const {random = 1} : f32[256, "
      "96]\n %y = einsum %x, %w {spec = \"mk,kn->mn\"} : f32[64, 96]\n output %y {name = "
      "\"y\"}\n}\n"},
     {"dot.bf16x3", "amx.bf16x3"}},
};
enum { GROUPED = sizeof grouped / sizeof *grouped };

/* Runs of each block; by hand more may be asked for. */
#ifndef TEST_RUNS
#define TEST_RUNS 1
#endif

enum { WORKLOADS = sizeof workloads / sizeof *workloads, MOST_BLOCKS = 8 };

/* Too much for the oracle; its default cuts the block. */
static bool is_large(const workload *w) {
  return strcmp(w->name, "sum of much") == 0;
}

static void must(tsr_status status, const tsr_diag *diag, const char *name) {
  if (status != TSR_OK)
    fail_with(diag, name);
}

/* Its blocks become a group, on CPUs. */
static bool is_group(const workload *w) {
  return strstr(w->name, "as one kernel") != NULL;
}

/* The blocks of a workload, each in an IR of its own. */
typedef struct blocks {
  tsr_ir *whole; /* shares the bytes of constants with the others */
  tsr_ir *irs[MOST_BLOCKS];
  tsr_op ops[MOST_BLOCKS];
  uint32_t count;
} blocks;

static void release(blocks *b) {
  for (uint32_t i = 0; i < b->count; i++)
    tsr_ir_destroy(b->irs[i]);
  tsr_ir_destroy(b->whole);
}

static blocks blocks_of(const workload *w) {
  tsr_diag diag = {0};
  const tsr_pass_options options = {.fold_elements = -1, /* narrow constants stay so */
                                    .group_bytes = is_group(w) ? 1 << 20 : 0};
  tsr_ir *ir = parse_text(w->text);
  blocks found = {.whole = ir};
  must(tsr_ir_verify(ir, &diag), &diag, w->name);
  must(tsr_passes_run(ir, &options, &diag), &diag, w->name);
  TSR_FOR_EACH_OP (ir, tsr_op_get(ir, graph_of(ir))->regions[0], op)
    if (tsr_op_get(ir, op)->code == (is_group(w) ? TSR_OP_GROUP : TSR_OP_BLOCK) &&
        found.count < MOST_BLOCKS) {
      const uint32_t at = found.count++;
      must(tsr_ir_isolate(ir, op, tsr_allocator_default(), &found.irs[at], &found.ops[at]), &diag,
           w->name);
    }
  ck_assert_uint_gt(found.count, 0);
  return found;
}

/* A plan with the schedule for @k0. */
static tsr_ir *plan_with(const tsr_schedule *schedule, tsr_plan_source *out_plan) {
  tsr_ir *ir = NULL;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  const tsr_op plan = tsr_op_append(ir, tsr_ir_top(ir), TSR_OP_PLAN);
  tsr_op_set_symbol(ir, plan, "main");
  const tsr_op op = tsr_op_append(ir, tsr_op_add_region(ir, plan), TSR_OP_SCHEDULE);
  tsr_op_set_symbol(ir, op, "k0");
  tsr_schedule_write(ir, op, schedule);
  *out_plan = (tsr_plan_source){.ir = ir, .plan = plan};
  return ir;
}

static void accepted(const tsr_ir *block, const tsr_target *target, const tsr_schedule *schedule,
                     const char *name) {
  tsr_diag diag = {0};
  tsr_ir *copy = NULL;
  tsr_plan_source plan;
  tsr_ir *plan_ir = plan_with(schedule, &plan);
  ck_assert_int_eq(tsr_ir_copy_in_order(block, tsr_allocator_default(), &copy), TSR_OK);
  if (tsr_pass_tile(copy, target, &plan, &diag) != TSR_OK) {
    tsr_arena arena;
    tsr_arena_init(&arena, tsr_allocator_default());
    fprintf(stderr, "%s on %s:\n%s\n", name, target->name, tsr_ir_print(plan_ir, &arena));
    fail_with(&diag, tsr_ir_print(block, &arena));
  }
  tsr_ir_destroy(copy);
  tsr_ir_destroy(plan_ir);
}

/* The register rule: sums, a vector of each column and one element leave one register at least, and
 * one alone only where steps are taken one by one. */
static void leaves_registers(const tsr_target *target, const tsr_schedule *schedule,
                             const char *name) {
  const int64_t *knobs = schedule->knobs, lanes = tsr_target_lanes(target, 32);
  const int64_t mr = knobs[TSR_KNOB_MR], vectors = (knobs[TSR_KNOB_NR] + lanes - 1) / lanes;
  const int64_t left = (int64_t)target->vector_registers - mr * vectors - vectors - 1;
  if (target->kind != TSR_TARGET_CPU || schedule->strategy != TSR_STRATEGY_CONTRACT ||
      schedule->atom != NULL || mr == 1)
    return;
  ck_assert_msg(left >= 1, "%s: a tile of %lld x %lld vectors", name, (long long)mr,
                (long long)vectors);
  ck_assert_msg(left > 1 || knobs[TSR_KNOB_UNROLL] == 1, "%s: unrolled %lld x %lld vectors", name,
                (long long)mr, (long long)vectors);
}

/* The bit of an atom with k-groups. */
static uint64_t atom_bit(const tsr_atom *atom) {
  unsigned at = 0;
  if (atom == NULL || atom->k <= 1)
    return 0;
  while (tsr_atom_at(at) != atom)
    at++;
  return UINT64_C(1) << at;
}

/* Sampled, mutated, crossed; two walks from one state are the same. Returns the atoms with k-groups
 * that were met. */
static uint64_t walk(tsr_space *space, const tsr_ir *block, const tsr_target *target, int steps,
                     const char *name) {
  uint64_t random = 7, again = 7, met = 0;
  tsr_schedule last, next, other, repeated;
  tsr_cost cost;
  tsr_space_default(space, &last);
  ck_assert(tsr_space_is_legal(space, &last));
  leaves_registers(target, &last, name);
  if (target->threads > 1 && strcmp(name, "sum of much") == 0)
    ck_assert_int_gt(last.knobs[TSR_KNOB_SPLIT], 1);
  accepted(block, target, &last, name);
  for (int i = 0; i < steps; i++) {
    ck_assert_msg(tsr_space_sample(space, &random, &next), "%s: nothing to sample", name);
    ck_assert(tsr_space_sample(space, &again, &repeated));
    ck_assert_mem_eq(next.knobs, repeated.knobs, sizeof next.knobs);
    ck_assert(tsr_space_is_legal(space, &next));
    leaves_registers(target, &next, name);
    accepted(block, target, &next, name);
    met |= atom_bit(next.atom);
    if (tsr_space_cross(space, &random, &last, &next, &other))
      accepted(block, target, &other, name);
    if (tsr_space_mutate(space, &random, &last, &other)) {
      leaves_registers(target, &other, name);
      accepted(block, target, &other, name);
      last = other;
    }
    again = random;
    tsr_space_cost(space, &next, &cost);
    ck_assert_msg(cost.cycles > 0 && isfinite(cost.cycles), "%s: costs %g", name, cost.cycles);
  }
  return met;
}

static void walk_all(const tsr_target *target, int steps) {
  for (unsigned w = 0; w < WORKLOADS; w++) {
    if (is_group(&workloads[w]) && target->kind != TSR_TARGET_CPU)
      continue;
    blocks b = blocks_of(&workloads[w]);
    for (uint32_t i = 0; i < b.count; i++) {
      tsr_diag diag = {0};
      tsr_space *space = NULL;
      must(tsr_space_create(b.irs[i], b.ops[i], target, tsr_allocator_default(), &diag, &space),
           &diag, workloads[w].name);
      (void)walk(space, b.irs[i], target, steps, workloads[w].name);
      tsr_space_destroy(space);
    }
    release(&b);
  }
}

START_TEST(legal_on_cpu) {
  static const char *const names[] = {":x86-64-v4", ":x86-64-v3", ":x86-64-v2"};
  for (unsigned i = 0; i < 3; i++) {
    tsr_diag diag = {0};
    tsr_cpu_isa isa;
    tsr_target target;
    must(tsr_cpu_isa_parse(names[i], &diag, &isa), &diag, names[i]);
    const tsr_cpu_caches small = {2048, 8192, 65536, 64};
    tsr_target_cpu(tsr_cpu_isa_features(&isa), i == 1 ? &small : NULL, i == 0 ? 4 : 1, &target);
    walk_all(&target, 20);
  }
}
END_TEST

/* A CPU whose products of f32 may be made of bf16 parts. */
static void grouped_target(const char *name, unsigned threads, tsr_cpu_isa *out_isa,
                           tsr_target *out_target) {
  const tsr_cpu_caches small = {2048, 8192, 65536, 64};
  tsr_diag diag = {0};
  must(tsr_cpu_isa_parse(name, &diag, out_isa), &diag, name);
  tsr_target_cpu(tsr_cpu_isa_features(out_isa), threads > 1 ? NULL : &small, threads, out_target);
  out_target->bf16_parts = true;
}

/* A graph of one block, with its space. */
typedef struct grouped_space {
  blocks b;
  tsr_space *space;
} grouped_space;

static grouped_space open_grouped(const workload *w, const tsr_target *target) {
  tsr_diag diag = {0};
  grouped_space made = {.b = blocks_of(w)};
  ck_assert_msg(made.b.count == 1, "%s: not one block", w->name);
  must(tsr_space_create(made.b.irs[0], made.b.ops[0], target, tsr_allocator_default(), &diag,
                        &made.space),
       &diag, w->name);
  return made;
}

static void close_grouped(grouped_space *g) {
  tsr_space_destroy(g->space);
  release(&g->b);
}

/* The i-th atom of the product, where the target has it. */
static const tsr_atom *atom_of(const product *p, unsigned i, const tsr_target *target) {
  const tsr_atom *atom = p->atoms[i] == NULL ? NULL : tsr_atom_find(p->atoms[i]);
  ck_assert(p->atoms[i] == NULL || atom != NULL);
  return atom != NULL && (atom->features & ~target->cpu_features) == 0 ? atom : NULL;
}

/* Half of all draws are by the default's form, the others by any of at most four (nest, plain
 * contract, two atoms): a form is drawn with a chance of an eighth at least, unless nothing legal
 * is found of it. That DRAWS miss one has a chance of 1e-23. */
enum { DRAWS = 400 };

static void sample_by(tsr_space *space, uint64_t *random, const tsr_atom *atom, const char *name,
                      tsr_schedule *out) {
  int draws = 0;
  do
    ck_assert_msg(draws++ < DRAWS && tsr_space_sample(space, random, out), "%s: %s is never drawn",
                  name, atom->text);
  while (out->atom != atom);
}

/* Five standard deviations below half. */
static void default_form_leads(tsr_space *space, const char *name) {
  const int least = DRAWS / 2 - 5 * 10;
  uint64_t random = 5;
  int same = 0;
  tsr_schedule first, next;
  tsr_space_default(space, &first);
  for (int i = 0; i < DRAWS; i++) {
    ck_assert(tsr_space_sample(space, &random, &next));
    same += next.strategy == first.strategy && next.atom == first.atom;
  }
  ck_assert_msg(same >= least, "%s: %d of %d draws are by the default's form", name, same, DRAWS);
}

/* Walks, and then schedules by each atom that the product is to have, and neighbours of theirs;
 * no walk meets any other. */
static uint64_t walk_atoms(const product *p, const tsr_target *target) {
  const char *name = p->of.name;
  grouped_space g = open_grouped(&p->of, target);
  const tsr_ir *block = g.b.irs[0];
  const uint64_t met = walk(g.space, block, target, 12, name);
  uint64_t random = 17, wanted = 0;
  default_form_leads(g.space, name);
  for (unsigned i = 0; i < 2; i++) {
    const tsr_atom *atom = atom_of(p, i, target);
    wanted |= atom_bit(atom);
    for (int k = 0; atom != NULL && k < 6; k++) {
      tsr_schedule next, other;
      tsr_cost cost;
      sample_by(g.space, &random, atom, name, &next);
      ck_assert(tsr_space_is_legal(g.space, &next));
      accepted(block, target, &next, name);
      tsr_space_cost(g.space, &next, &cost);
      ck_assert_msg(cost.cycles > 0 && isfinite(cost.cycles), "%s: costs %g", name, cost.cycles);
      ck_assert(tsr_space_mutate(g.space, &random, &next, &other));
      accepted(block, target, &other, name);
    }
  }
  ck_assert_msg((met & ~wanted) == 0, "%s: by another atom", name);
  close_grouped(&g);
  return wanted;
}

/* Every atom with k-groups that the target has is met; multiply-adds by parts are no schedule of
 * their own. */
START_TEST(legal_with_groups) {
  static const char *const names[] = {":x86-64-v4+vnni+bf16",
                                      ":x86-64-v4+vnni+bf16+amx-int8+amx-bf16"};
  for (unsigned i = 0; i < 4; i++) {
    tsr_cpu_isa isa;
    tsr_target target;
    const tsr_atom *atom;
    uint64_t met = 0;
    grouped_target(names[i / 2], i % 2 ? 4 : 1, &isa, &target);
    for (unsigned w = 0; w < GROUPED; w++)
      met |= walk_atoms(&grouped[w], &target);
    for (unsigned a = 0; (atom = tsr_atom_at(a)) != NULL; a++)
      if (atom->kind == TSR_TARGET_CPU && atom->k > 1 &&
          (atom->features & ~target.cpu_features) == 0)
        ck_assert_msg(met >> a & 1, "%s is never met on %s", atom->text, names[i / 2]);
  }
}
END_TEST

/* The graph as it is tiled, without its plan. */
static const char *tiled_text(const tsr_ir *block, const tsr_target *target,
                              const tsr_plan_source *plan, tsr_arena *arena) {
  tsr_diag diag = {0};
  tsr_ir *copy = NULL;
  ck_assert_int_eq(tsr_ir_copy_in_order(block, tsr_allocator_default(), &copy), TSR_OK);
  must(tsr_pass_tile(copy, target, plan, &diag), &diag, "tiling");
  const char *text = tsr_ir_print(copy, arena);
  ck_assert_ptr_nonnull(text);
  tsr_ir_destroy(copy);
  return text;
}

static bool knows_one(void *context, const tsr_ir *ir, tsr_op block, uint32_t at,
                      tsr_schedule *out_schedule) {
  (void)ir;
  (void)block;
  *out_schedule = *(const tsr_schedule *)context;
  return at == 0;
}

/* Where multiply-adds stand in for tiles, the default is that by tiles, which as a row makes the
 * same kernels as no row does, and from which the space goes on. */
START_TEST(default_by_tiles) {
  static const workload large = {
      "large product",
      "graph @g {\n %x = input {name = \"x\"} : f32[512, 512]\n %w = const {random = 1} : f32[512, "
      "512]\n %y = einsum %x, %w {spec = \"mk,kn->mn\"} : f32[512, 512]\n output %y {name = "
      "\"y\"}\n}\n"};
  tsr_cpu_isa isa;
  tsr_target target;
  tsr_diag diag = {0};
  tsr_schedule first, sampled, other;
  const tsr_plan_source row = {.known = knows_one, .known_context = &first};
  tsr_arena arena;
  uint64_t random = 19;
  must(tsr_cpu_isa_parse(":x86-64-v4+bf16+amx-bf16", &diag, &isa), &diag, "isa");
  tsr_target_cpu(tsr_cpu_isa_features(&isa), NULL, 1, &target);
  target.bf16_parts = true;
  grouped_space g = open_grouped(&large, &target);
  tsr_space_default(g.space, &first);
  ck_assert_ptr_eq(first.atom, tsr_atom_find("amx.bf16x3"));
  ck_assert(tsr_space_is_legal(g.space, &first));
  tsr_arena_init(&arena, tsr_allocator_default());
  const char *known = tiled_text(g.b.irs[0], &target, &row, &arena);
  const char *own = tiled_text(g.b.irs[0], &target, NULL, &arena);
  if (strcmp(known, own) != 0)
    fprintf(stderr, "by the default as a row:\n%s\nwithout a plan:\n%s\n", known, own);
  ck_assert(strcmp(known, own) == 0);
  tsr_arena_reset(&arena);
  default_form_leads(g.space, large.name);
  sample_by(g.space, &random, first.atom, large.name, &sampled);
  ck_assert(tsr_space_cross(g.space, &random, &first, &sampled, &other));
  close_grouped(&g);
}
END_TEST

START_TEST(legal_on_cuda) {
  static const char *const names[] = {"cuda:sm_80", "cuda:sm_90a"};
  for (unsigned i = 0; i < 2; i++) {
    tsr_target target;
    ck_assert(tsr_target_cuda(names[i], &target));
    walk_all(&target, 10);
  }
}
END_TEST

/* The block's text with a plan for it: compiled, run and compared with the oracle. */
static void check_run(const tsr_ir *block, const tsr_schedule *schedule, const tsr_cpu_isa *isa,
                      const tsr_target *target) {
  tsr_plan_source plan;
  tsr_arena arena;
  tsr_ir *plan_ir = plan_with(schedule, &plan);
  tsr_arena_init(&arena, tsr_allocator_default());
  const char *text = tsr_ir_print(block, &arena), *more = tsr_ir_print(plan_ir, &arena);
  const size_t size = strlen(text) + strlen(more) + 2;
  char *both = tsr_arena_alloc(&arena, size);
  ck_assert_ptr_nonnull(both);
  snprintf(both, size, "%s\n%s", text, more);
  const int64_t dims[1] = {77};
  check_text(both, dims, tsr_dim_count(block), isa, target);
  tsr_arena_reset(&arena);
  tsr_ir_destroy(plan_ir);
}

START_TEST(right_on_cpu) {
  static const char *const names[] = {":x86-64-v4", ":x86-64-v2"};
  tsr_cpu_isa host, isa;
  uint64_t random = 11;
  tsr_cpu_isa_host(&host);
  for (unsigned w = 0; w < WORKLOADS; w++) {
    tsr_target target;
    tsr_diag diag = {0};
    if (is_large(&workloads[w]))
      continue;
    if (tsr_cpu_isa_parse(names[w % 2], &diag, &isa) != TSR_OK || !tsr_cpu_isa_covers(&host, &isa))
      isa = host;
    const tsr_cpu_caches small = {2048, 8192, 65536, 64};
    tsr_target_cpu(tsr_cpu_isa_features(&isa), &small, 2, &target);
    blocks b = blocks_of(&workloads[w]);
    for (uint32_t i = 0; i < b.count; i++) {
      tsr_space *space = NULL;
      tsr_schedule schedule;
      must(tsr_space_create(b.irs[i], b.ops[i], &target, tsr_allocator_default(), &diag, &space),
           &diag, workloads[w].name);
      for (int k = 0; k < 4 * TEST_RUNS && tsr_space_sample(space, &random, &schedule); k++)
        check_run(b.irs[i], &schedule, &isa, &target);
      tsr_space_destroy(space);
    }
    release(&b);
  }
}
END_TEST

/* Each atom of each product; AMX is emulated. */
START_TEST(right_with_groups) {
  static const char *const names[] = {":x86-64-v4+vnni+bf16",
                                      ":x86-64-v4+amx-int8+amx-bf16+amx-emulated"};
  tsr_cpu_isa host, isa;
  uint64_t random = 13;
  tsr_cpu_isa_host(&host);
  for (unsigned i = 0; i < 2; i++) {
    tsr_target target;
    grouped_target(names[i], 1, &isa, &target);
    if (!tsr_cpu_isa_covers(&host, &isa)) {
      printf("SKIP cpu%s: this machine does not run it\n", names[i]);
      continue;
    }
    for (unsigned w = 0; w < GROUPED; w++) {
      const product *p = &grouped[w];
      grouped_space g = open_grouped(&p->of, &target);
      for (unsigned a = 0; a < 2; a++) {
        const tsr_atom *atom = atom_of(p, a, &target);
        for (int k = 0; atom != NULL && k < 2 * TEST_RUNS; k++) {
          tsr_schedule schedule;
          sample_by(g.space, &random, atom, p->of.name, &schedule);
          check_run(g.b.irs[0], &schedule, &isa, &target);
        }
      }
      close_grouped(&g);
    }
  }
}
END_TEST

/* What is best for one size is a start for another one, and the model's figures may come from
 * another machine: neither changes what is legal. */
START_TEST(other_sizes_and_rates) {
  static const int64_t sizes[][3] = {{70, 96, 80}, {512, 768, 3072}, {1, 64, 32}, {5, 1021, 509}};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  tsr_space *spaces[SIZES];
  blocks b[SIZES];
  tsr_target target, other;
  tsr_target_cpu(TSR_CPU_X86_64_V4, NULL, 2, &target);
  other = target;
  other.fma_rate = 0.25;
  other.l3_rate = 1;
  for (int i = 0; i < SIZES; i++) {
    char text[512];
    tsr_diag diag = {0};
    snprintf(text, sizeof text,
             "graph @g {\n %%x = input {name = \"x\"} : f32[%lld, %lld]\n %%w = const {random = 1} "
             ": f32[%lld, %lld]\n %%y = einsum %%x, %%w {spec = \"mk,kn->mn\"} : f32[%lld, %lld]\n"
             " output %%y {name = \"y\"}\n}\n",
             (long long)sizes[i][0], (long long)sizes[i][1], (long long)sizes[i][1],
             (long long)sizes[i][2], (long long)sizes[i][0], (long long)sizes[i][2]);
    const workload w = {"gemm", text};
    b[i] = blocks_of(&w);
    ck_assert_uint_eq(b[i].count, 1);
    must(tsr_space_create(b[i].irs[0], b[i].ops[0], &target, tsr_allocator_default(), &diag,
                          &spaces[i]),
         &diag, text);
  }
  for (int i = 0; i < SIZES; i++)
    for (int k = 0; k < SIZES; k++) {
      tsr_schedule from, moved, before;
      tsr_cost cost, calibrated;
      tsr_space_default(spaces[i], &from);
      ck_assert(tsr_space_adopt(spaces[k], &from, &moved));
      ck_assert(tsr_space_is_legal(spaces[k], &moved));
      ck_assert_int_eq(moved.strategy, from.strategy);
      accepted(b[k].irs[0], &target, &moved, "adopted");
      tsr_space_default(spaces[k], &before);
      tsr_space_calibrate(spaces[k], &target);
      tsr_space_cost(spaces[k], &moved, &cost);
      tsr_space_calibrate(spaces[k], &other);
      tsr_space_cost(spaces[k], &moved, &calibrated);
      if (sizes[k][0] > 1)
        ck_assert_double_gt(calibrated.cycles, cost.cycles);
      tsr_space_default(spaces[k], &from);
      ck_assert_mem_eq(&from, &before, sizeof from);
    }
  for (int i = 0; i < SIZES; i++) {
    tsr_space_destroy(spaces[i]);
    release(&b[i]);
  }
}
END_TEST

/* Every feature has a text, every row is finite. */
START_TEST(features) {
  tsr_target target;
  tsr_target_cpu(TSR_CPU_X86_64_V4, NULL, 2, &target);
  for (uint32_t i = 0; i < TSR_SPACE_FEATURES; i++)
    ck_assert_ptr_nonnull(tsr_space_feature_text(i));
  for (unsigned w = 0; w < WORKLOADS; w++) {
    blocks b = blocks_of(&workloads[w]);
    for (uint32_t i = 0; i < b.count; i++) {
      static float rows[2][TSR_SPACE_STORES][TSR_SPACE_FEATURES];
      tsr_diag diag = {0};
      tsr_space *space = NULL;
      tsr_schedule from, to;
      uint64_t random = 3;
      must(tsr_space_create(b.irs[i], b.ops[i], &target, tsr_allocator_default(), &diag, &space),
           &diag, workloads[w].name);
      tsr_space_default(space, &from);
      for (int k = 0; k < 8 && tsr_space_mutate(space, &random, &from, &to); k++) {
        const uint32_t before = tsr_space_features(space, &from, rows[0]);
        const uint32_t behind = tsr_space_features(space, &to, rows[1]);
        ck_assert(before >= 1 && before <= TSR_SPACE_STORES);
        ck_assert(behind >= 1 && behind <= TSR_SPACE_STORES);
        for (uint32_t r = 0; r < behind; r++)
          for (uint32_t f = 0; f < TSR_SPACE_FEATURES; f++)
            ck_assert_msg(isfinite(rows[1][r][f]), "%s: %s", workloads[w].name,
                          tsr_space_feature_text(f));
        from = to;
      }
      tsr_space_destroy(space);
    }
    release(&b);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("space");
  TCase *cases = tcase_create("space");
  tcase_add_test(cases, legal_on_cpu);
  tcase_add_test(cases, legal_with_groups);
  tcase_add_test(cases, default_by_tiles);
  tcase_add_test(cases, legal_on_cuda);
  tcase_add_test(cases, right_on_cpu);
  tcase_add_test(cases, right_with_groups);
  tcase_add_test(cases, other_sizes_and_rates);
  tcase_add_test(cases, features);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
