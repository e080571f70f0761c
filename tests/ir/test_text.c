/* Parser and printer: fixpoints, errors with their place, hostile input, generated programs,
 * cloning, hashing, failing allocations. */
#include "ir/const_bytes.h"
#include "ir/eval.h"
#include "ir/graph_build.h"
#include "ir/narrow.h"
#include "tests/ir/ir_text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

/* --- fixpoints --- */

static const char *const canonical[] = {
    "",
    "dim N in 1..4096 hint 128\ndim K <= N*2 from device\n",
    "dim 'batch size' in 1..4\ndim 'f32' in 0..1\ndim 'min' in 2..2\n\n"
    "graph @g {\n  %x = input {name = \"x\"} : f32['batch size', 'f32' + 'min']\n}\n",
    "graph @'odd name' {\n  %'%' = const {value = [1, 2.5, -0.0, inf, -inf, nan]} : f32[6]\n"
    "  %0 = const {value = 1e-40} : f64[]\n  %1 = const {value = 1e+30} : f64[]\n"
    "  %2 = const {value = -9223372036854775808} : i64[]\n"
    "  %3 = const {value = true} : bool[]\n  %4 = const {value = []} : f32[0]\n}\n",
    "graph @a {\n  %x = input {name = \"a\\\"b\\\\c\\n\\t\\x01\\xff'\"} : f32[] from \"A\", "
    "\"B/c\"\n"
    "}\n\ngraph @b {\n  %x = input {name = \"\xc3\xa9\"} : f32[]\n}\n",
    "plan @p {hash = \"x\"} {\n  schedule @k {a = [\"m\", \"n\"], b = [1, 2], c = @s, d = u8, "
    "e = [0.5, 1], f = false}\n}\n",
    "kernel @k(%x: f32[4], inout %y: f32[4]) grid() {\n  barrier\n  %0 = load %x[0] : f32\n"
    "  barrier\n  wait {pending = 1}\n}\n",
    "dim N in 1..9\n\nkernel @k() grid(%i in N, %j in 2..N*2 step 3) {\n"
    "  for %a in %i..%j step 2 {\n    if {cond = %a < N and N != 3} {\n    } {\n    }\n  }\n}\n",
    "graph @g {\n  %x = input {name = \"x\"} : f32[3]\n  %a, %b = block red(%k in 3) {\n"
    "    %0 = load %x[%k] : f32\n    %1, %2 = reduce %0, %0 over(%k) {(%p: f32, %q: f32, %r: f32, "
    "%s: f32)\n      %3 = max %p, %r : f32\n      yield %3, %q\n    } : f32, f32\n"
    "    store %1, %a[]\n    store %2, %b[]\n  } : f32[], f32[]\n}\n",
};

START_TEST(canonical_text_is_kept) {
  tsr_ir *ir = must_parse(canonical[_i]);
  ck_assert_str_eq(must_print(ir), canonical[_i]);
  tsr_ir_destroy(ir);
}
END_TEST

/* Written loosely on the left; the printer's form on the right. */
static const struct {
  const char *text, *printed;
} loose[] = {
    {"graph@g{%7=input{name=\"x\"}:f32[ 2,3 ] %8=neg %7:f32[2,3]}",
     "graph @g {\n  %0 = input {name = \"x\"} : f32[2, 3]\n  %1 = neg %0 : f32[2, 3]\n}\n"},
    {"// c\nplan @p { schedule @s {b = 1, a = 2.0} }",
     "plan @p {\n  schedule @s {a = 2, b = 1}\n}\n"},
    {"kernel @k() { for %i in 4 {} for %i in 4 {} }",
     "kernel @k() grid() {\n  for %i in 4 {\n  }\n  for %i_2 in 4 {\n  }\n}\n"},
    {"graph @g { %x = const {value = 1} : reg f32[] from \"b\", \"a\", \"b\" }",
     "graph @g {\n  %x = const {value = 1} : f32 from \"a\", \"b\"\n}\n"},
};

START_TEST(loose_text_becomes_canonical) {
  tsr_ir *ir = must_parse(loose[_i].text);
  ck_assert_str_eq(must_print(ir), loose[_i].printed);
  tsr_ir_destroy(ir);
  ir = must_parse(loose[_i].printed);
  ck_assert_str_eq(must_print(ir), loose[_i].printed);
  tsr_ir_destroy(ir);
}
END_TEST

/* --- errors --- */

static const struct {
  const char *text, *message;
  unsigned line, column;
} errors[] = {
    {"graph @g {\n  %x = frob : f32[]\n}", "'frob' is not an op", 2, 8},
    {"graph @g {\n  %y = neg %x : f32[]\n}", "%x is not defined before", 2, 12},
    {"graph @g {\n  %y = neg %y : f32[]\n}", "%y is not defined before", 2, 12},
    {"graph @g { %x = input {name = \"\"} : f32[]\n%x = neg %x : f32[] }", "%x is defined already",
     2, 1},
    {"graph @g {", "'}' is expected", 1, 11},
    {"graph @g { %x = input {name = \"x} : f32[] }", "a quoted text has no end", 1, 31},
    {"graph @g { %x = input {name = \"\xff\"} : f32[] }", "not UTF-8", 1, 31},
    {"\xc0\x80", "not UTF-8", 1, 1},
    {"graph @g { %x = input {name = \"\\q\"} : f32[] }", "unknown escape", 1, 31},
    {"graph @g { %x = const {value = 9223372036854775808} : i64[] }", "does not fit 64 bits", 1,
     32},
    {"graph @g { %x = const {value = 99999999999999999999} : i64[] }", "does not fit 64 bits", 1,
     32},
    {"graph @g { %x = const {value = 1, value = 1} : i64[] }", "given twice", 1, 41},
    {"graph @g { %x = const {data = 1} : i64[] }", "cannot stand in text", 1, 29},
    {"graph @g { %x = const {value = [1, \"a\"]} : i64[] }", "a list holds", 1, 40},
    {"graph @g { %x = input {name = \"\"} : f32[M] }", "'M' is not a declared dim", 1, 41},
    {"graph @g { %x = input {name = \"\"} : f33[] }", "a type is expected", 1, 37},
    {"graph @g { %x = input {name = \"\"} : f32[-1] }", "is negative", 1, 45},
    {"graph @g { %x = input {name = \"\"} : f32[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8]"
     " }",
     "rank 17", 1, 92},
    {"graph @g { %x = input {name = \"\"} : f32[4611686018427387904*4] }", "overflows 64 bits", 1,
     62},
    {"dim N in 5..4", "holds no size", 1, 14},
    {"dim N in 1..4 dim N in 1..4", "declared twice", 1, 28},
    {"kernel @k() { for %i in 4 step 0 {} }", "must be positive", 1, 34},
    {"kernel @k() { wait {pending = 1 floordiv 0} }", "divides by zero", 1, 43},
    {"kernel @k() { wait {pending = $16} }", "at most 16 axes", 1, 31},
    {"graph @g { %x, %x = neg : f32[], f32[] }", "%x is defined already", 1, 25},
    {"graph @g { output }  7", "is not an op", 1, 22},
    {"graph @g { #", "unexpected character", 1, 12},
};

START_TEST(errors_name_their_place) {
  tsr_diag diag;
  tsr_ir *ir;
  tsr_diag_clear(&diag);
  tsr_status status = tsr_ir_parse(tsr_allocator_default(), errors[_i].text,
                                   strlen(errors[_i].text), "e.tsr", &diag, &ir);
  ck_assert_int_ne(status, TSR_OK);
  ck_assert_ptr_null(ir);
  ck_assert_msg(strstr(diag.message, errors[_i].message) != NULL, "'%s' is not in '%s'",
                errors[_i].message, diag.message);
  ck_assert_msg(diag.line == errors[_i].line && diag.column == errors[_i].column,
                "%s at %u:%u, not %u:%u", diag.message, diag.line, diag.column, errors[_i].line,
                errors[_i].column);
  ck_assert_str_eq(diag.file, "e.tsr");
}
END_TEST

static void refuse_repeated(const char *head, const char *part, int count) {
  size_t length = strlen(head) + (size_t)count * strlen(part);
  char *text = malloc(length + 1);
  tsr_diag diag;
  tsr_ir *ir;
  ck_assert_ptr_nonnull(text);
  strcpy(text, head);
  for (int i = 0; i < count; i++)
    strcpy(text + strlen(head) + (size_t)i * strlen(part), part);
  tsr_diag_clear(&diag);
  ck_assert_int_ne(tsr_ir_parse(tsr_allocator_default(), text, length, "e.tsr", &diag, &ir),
                   TSR_OK);
  ck_assert_str_ne(diag.message, "");
  free(text);
}

START_TEST(nesting_is_limited) {
  refuse_repeated("graph @g { %x = const {value = ", "(", 100000);
  refuse_repeated("graph @g { %x = const {value = ", "-", 100000);
  refuse_repeated("kernel @k() ", "{ if {cond = 1} ", 20000);
  refuse_repeated("graph @g { %x = const {value = ", "min(", 20000);
  refuse_repeated("dim N in 0..9 graph @g { %x = index {value = N", "*(N + 1)", 500);
  refuse_repeated("dim N in 0..9 graph @g { %x = index {value = N", "*N floordiv 7", 5000);
  refuse_repeated("graph @g { %x = const {value = ", "9", 100000);
}
END_TEST

/* --- generated programs --- */

typedef struct generator {
  tsr_ir *ir;
  uint64_t seed;
  tsr_dim dims[3];
  tsr_value indexes[64];
  int index_count;
} generator;

static uint32_t draw(generator *g, uint32_t count) {
  g->seed = g->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
  return (uint32_t)(g->seed >> 33) % count;
}

static tsr_expr random_expr(generator *g, int depth, bool lanes) {
  static const tsr_index_op operators[] = {TSR_INDEX_ADD, TSR_INDEX_MUL,     TSR_INDEX_FLOORDIV,
                                           TSR_INDEX_MOD, TSR_INDEX_CEILDIV, TSR_INDEX_MIN,
                                           TSR_INDEX_MAX, TSR_INDEX_LT,      TSR_INDEX_EQ,
                                           TSR_INDEX_AND, TSR_INDEX_OR};
  if (depth == 0 || draw(g, 4) == 0) {
    switch (draw(g, 4)) {
    case 0:
      return tsr_expr_int(g->ir, (int64_t)draw(g, 40) - 10);
    case 1:
      return tsr_expr_dim(g->ir, g->dims[draw(g, 3)]);
    case 2:
      if (lanes)
        return tsr_expr_lane(g->ir, draw(g, 2));
      return tsr_expr_int(g->ir, 3);
    default:
      if (g->index_count == 0)
        return tsr_expr_int(g->ir, 1);
      return tsr_expr_value(g->ir, g->indexes[draw(g, (uint32_t)g->index_count)]);
    }
  }
  tsr_index_op op = operators[draw(g, 11)];
  tsr_expr a = random_expr(g, depth - 1, lanes);
  tsr_expr b = random_expr(g, depth - 1, lanes);
  if (op == TSR_INDEX_FLOORDIV || op == TSR_INDEX_MOD || op == TSR_INDEX_CEILDIV)
    b = tsr_expr_int(g->ir, 1 + draw(g, 30));
  return tsr_expr_binary(g->ir, op, a, b);
}

/* Values are made in an order that is not that of the text: loops are inserted before others. */
static void random_body(generator *g, tsr_region region, tsr_value buffer, int depth) {
  int kept = g->index_count;
  for (uint32_t i = 0; i < 1 + draw(g, 3); i++) {
    tsr_op first = tsr_region_get(g->ir, region)->first;
    tsr_op op = first != 0 && draw(g, 2) == 0 ? tsr_op_insert_before(g->ir, first, TSR_OP_FOR)
                                              : tsr_op_append(g->ir, region, TSR_OP_FOR);
    tsr_region body = tsr_op_add_region(g->ir, op);
    tsr_value index = tsr_region_add_index(g->ir, body, TSR_ROLE_LOOP, random_expr(g, 1, false),
                                           random_expr(g, 2, false), 1 + draw(g, 4));
    if (draw(g, 2) == 0)
      tsr_value_set_name(g->ir, index, draw(g, 2) == 0 ? "i" : "odd name");
    g->indexes[g->index_count++] = index;
    tsr_op load = tsr_op_append(g->ir, body, TSR_OP_LOAD);
    tsr_expr subscripts[2] = {random_expr(g, 3, true), random_expr(g, 3, true)};
    tsr_op_add_element(g->ir, load, buffer, subscripts, 2);
    tsr_expr dims[2] = {tsr_expr_int(g->ir, 4), tsr_expr_int(g->ir, 4)};
    (void)tsr_op_add_result(g->ir, load, tsr_type_make(g->ir, TSR_LEVEL_REG, TSR_F32, dims, 2));
    tsr_op_set_float(g->ir, load, "pad", (double)draw(g, 5) / 2);
    if (depth > 0)
      random_body(g, body, buffer, depth - 1);
    g->index_count = kept;
  }
}

static tsr_ir *random_program(uint64_t seed) {
  generator g = {.seed = seed};
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &g.ir), TSR_OK);
  g.dims[0] = tsr_dim_add(g.ir, "N", 1, 100, 7);
  g.dims[1] = tsr_dim_add(g.ir, "M", 0, 9, 0);
  g.dims[2] = tsr_dim_add_device(g.ir, "K", tsr_expr_dim(g.ir, g.dims[0]));
  for (int i = 0; i < 2; i++) {
    tsr_op kernel = tsr_op_append(g.ir, tsr_ir_top(g.ir), TSR_OP_KERNEL);
    tsr_op_set_symbol(g.ir, kernel, i == 0 ? "a" : "b");
    tsr_region body = tsr_op_add_region(g.ir, kernel);
    tsr_expr dims[2] = {tsr_expr_dim(g.ir, g.dims[0]), tsr_expr_dim(g.ir, g.dims[1])};
    tsr_value buffer = tsr_region_add_arg(g.ir, body, TSR_ROLE_IN,
                                          tsr_type_make(g.ir, TSR_LEVEL_GLOBAL, TSR_F32, dims, 2));
    random_body(&g, body, buffer, 2);
  }
  return g.ir;
}

START_TEST(printed_programs_read_back) {
  int done = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    tsr_ir *ir = random_program(seed);
    if (tsr_ir_status(ir) != TSR_OK) {
      ck_assert_int_eq(tsr_ir_status(ir), TSR_ERR_LIMIT);
      tsr_ir_destroy(ir);
      continue;
    }
    char *text = must_print(ir);
    tsr_ir *again = must_parse(text);
    ck_assert_str_eq(must_print(again), text);
    must_verify(ir);
    must_verify(again);
    tsr_op a = tsr_region_get(ir, tsr_ir_top(ir))->first;
    tsr_op b = tsr_region_get(again, tsr_ir_top(again))->first;
    ck_assert_uint_eq(tsr_op_workload_hash(ir, a), tsr_op_workload_hash(again, b));
    tsr_ir_destroy(again);
    tsr_ir_destroy(ir);
    done++;
  }
  ck_assert_int_gt(done, 250);
}
END_TEST

/* --- constants --- */

static void check_const(tsr_dtype dtype, const void *data, int64_t count, const char *printed) {
  tsr_ir *ir;
  ck_assert_int_eq(tsr_ir_create(tsr_allocator_default(), &ir), TSR_OK);
  tsr_builder b = tsr_graph_begin(ir, "g");
  tsr_value value = tsr_graph_const(&b, dtype, &count, 1, data, true);
  char *text = must_print(ir);
  ck_assert_msg(strstr(text, printed) != NULL, "'%s' is not in\n%s", printed, text);
  tsr_ir *again = must_parse(text);
  ck_assert_str_eq(must_print(again), text);
  if (strstr(printed, "elided") == NULL) {
    const void *bytes, *bytes_again;
    uint64_t size, size_again;
    tsr_op op = tsr_value_get(ir, value)->def, op_again = tsr_op_count(again);
    ck_assert_int_eq(tsr_const_bytes(ir, op, tsr_ir_arena(ir), NULL, &bytes, &size), TSR_OK);
    ck_assert_int_eq(
        tsr_const_bytes(again, op_again, tsr_ir_arena(again), NULL, &bytes_again, &size_again),
        TSR_OK);
    ck_assert_uint_eq(size, size_again);
    ck_assert(memcmp(bytes, bytes_again, size) == 0);
  }
  tsr_ir_destroy(again);
  tsr_ir_destroy(ir);
}

START_TEST(constants_print_exactly) {
  const float floats[] = {0.1f, 16777216.0f, 1.17549435e-38f, -0.0f, 3e38f, 1e-45f};
  check_const(TSR_F32, floats, 6, "{value = [0.1, 16777216, 1.1754944e-38, -0.0, ");
  const double doubles[] = {0.1, 1.0 / 3, 5e-324, -INFINITY};
  check_const(TSR_F64, doubles, 4, "{value = [0.1, 0.3333333333333333, 5e-324, -inf]}");
  const int64_t integers[] = {INT64_MIN, -1, INT64_MAX};
  check_const(TSR_I64, integers, 3, "{value = [-9223372036854775808, -1, 9223372036854775807]}");
  check_const(TSR_U64, integers, 3, "{value = [-9223372036854775808, -1, 9223372036854775807]}");
  const uint8_t bytes[] = {0x21, 0x43};
  check_const(TSR_U4, bytes, 4, "{value = [1, 2, 3, 4]}");
  const uint16_t halves[] = {0x2e66, 0x7c00, 0xfbff};
  check_const(TSR_F16, halves, 3, "{value = [0.1, inf, -65504]}");
  check_const(TSR_BF16, (const uint16_t[]){0x3dcd}, 1, "{value = 0.1}");
  float many[100];
  for (int i = 0; i < 100; i++)
    many[i] = 2.5f;
  check_const(TSR_F32, many, 100, "{value = 2.5}");
  many[99] = 0;
  check_const(TSR_F32, many, 100, "{elided = \"");
  check_const(TSR_F32, many, 0, "{value = []}");
}
END_TEST

/* --- cloning, replacing, hashing --- */

static const char program[] = "dim N in 1..64 hint 8\n"
                              "graph @g {\n"
                              "  %x = input {name = \"x\"} : f32[N, 8]\n"
                              "  %w = const {random = 7} : f32[8, 4]\n"
                              "  %y = block par(%i in N, %j in 4) red(%k in 8) {\n"
                              "    %0 = load %x[%i, %k] : f32\n"
                              "    %1 = load %w[%k, %j] : f32\n"
                              "    %2 = mul %0, %1 : f32\n"
                              "    %3 = reduce %2 {combine = \"add\"} : f32\n"
                              "    store %3, %y[%i, %j]\n"
                              "  } : f32[N, 4] from \"MatMul\"\n"
                              "  output %y {name = \"y\"}\n"
                              "}\n";

static tsr_op find_op(const tsr_ir *ir, tsr_opcode code) {
  for (tsr_op op = 1; op <= tsr_op_count(ir); op++)
    if (tsr_op_get(ir, op)->code == code && tsr_op_get(ir, op)->parent != 0)
      return op;
  return 0;
}

static void check_uses(const tsr_ir *ir) {
  uint32_t *counts = calloc(tsr_value_count(ir) + 1, sizeof *counts);
  ck_assert_ptr_nonnull(counts);
  tsr_ir_count_uses(ir, counts);
  for (tsr_value value = 1; value <= tsr_value_count(ir); value++) {
    uint32_t found = 0;
    for (tsr_op op = 1; op <= tsr_op_count(ir); op++)
      for (uint32_t i = 0; i < tsr_op_get(ir, op)->operand_count; i++) {
        const tsr_operand *operand = &tsr_op_get(ir, op)->operands[i];
        found += operand->value == value;
        for (uint32_t s = 0; s < operand->subscript_count; s++)
          found += tsr_expr_uses_value(ir, operand->subscripts[s], value);
      }
    ck_assert_uint_eq(counts[value], found);
  }
  free(counts);
}

START_TEST(clones_are_complete) {
  tsr_ir *ir = must_parse(program);
  tsr_op block = find_op(ir, TSR_OP_BLOCK);
  check_uses(ir);
  uint64_t hash = tsr_op_workload_hash(ir, block);
  tsr_op clone = tsr_op_clone(ir, block, tsr_op_get(ir, block)->parent, NULL, 0);
  ck_assert_uint_ne(clone, 0);
  ck_assert_uint_ne(clone, block);
  ck_assert_uint_eq(tsr_op_workload_hash(ir, clone), hash);
  check_uses(ir);
  must_verify(ir);
  tsr_value new = tsr_op_get(ir, clone)->results[0];
  tsr_op output = find_op(ir, TSR_OP_OUTPUT);
  tsr_op_move_before(ir, clone, output);
  tsr_op_set_operand(ir, output, 0, new);
  must_verify(ir);
  char *text = must_print(ir);
  tsr_ir *again = must_parse(text);
  ck_assert_str_eq(must_print(again), text);
  must_verify(again);
  tsr_ir_destroy(again);
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(values_are_replaced_everywhere) {
  tsr_ir *ir = must_parse(
      "kernel @k(%x: f32[64], out %y: f32[64]) grid() { for %i in 8 { for %j in 8 {\n"
      "for %l in %i..%i + 4 { %a = load %x[%i*8 + %l] : f32 store %a, %y[min(%i, %l)] } } } }");
  tsr_op outer = find_op(ir, TSR_OP_FOR);
  tsr_op inner = tsr_region_get(ir, tsr_op_get(ir, outer)->regions[0])->first;
  tsr_value i = tsr_region_get(ir, tsr_op_get(ir, outer)->regions[0])->args[0];
  tsr_value j = tsr_region_get(ir, tsr_op_get(ir, inner)->regions[0])->args[0];
  tsr_value_replace_all(ir, i, j);
  char *text = must_print(ir);
  ck_assert_ptr_nonnull(strstr(text, "for %l in %j..%j + 4"));
  ck_assert_ptr_nonnull(strstr(text, "load %x[%j*8 + %l]"));
  ck_assert_ptr_null(strstr(text, "%i*"));
  uint32_t *counts = calloc(tsr_value_count(ir) + 1, sizeof *counts);
  ck_assert_ptr_nonnull(counts);
  tsr_ir_count_uses(ir, counts);
  ck_assert_uint_eq(counts[i], 0);
  ck_assert_uint_ge(counts[j], 4);
  free(counts);
  must_verify(ir);
  tsr_ir_destroy(ir);
}
END_TEST

START_TEST(erasing_frees_uses) {
  tsr_ir *ir = must_parse(program);
  tsr_op output = find_op(ir, TSR_OP_OUTPUT), block = find_op(ir, TSR_OP_BLOCK);
  tsr_op_erase(ir, output);
  tsr_op_erase(ir, find_op(ir, TSR_OP_STORE));
  uint32_t *counts = calloc(tsr_value_count(ir) + 1, sizeof *counts);
  ck_assert_ptr_nonnull(counts);
  tsr_op_erase(ir, block);
  tsr_ir_count_uses(ir, counts);
  for (tsr_value value = 1; value <= tsr_value_count(ir); value++)
    ck_assert_uint_eq(counts[value], 0);
  free(counts);
  tsr_ir_destroy(ir);
}
END_TEST

static uint64_t hash_of_block(const char *text) {
  tsr_ir *ir = must_parse(text);
  uint64_t hash = tsr_op_workload_hash(ir, find_op(ir, TSR_OP_BLOCK));
  tsr_ir_destroy(ir);
  return hash;
}

/* The program with the first `from` replaced. */
static const char *edited(const char *from, const char *to) {
  static char text[4096];
  const char *at = strstr(program, from);
  ck_assert_ptr_nonnull(at);
  (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - program), program, to,
                 at + strlen(from));
  return text;
}

START_TEST(hash_follows_the_workload) {
  uint64_t hash = hash_of_block(program);
  ck_assert_uint_eq(hash_of_block(edited("from \"MatMul\"", "from \"Other\", \"Names\"")), hash);
  ck_assert_uint_eq(hash_of_block(edited("random = 7", "random = 8")), hash);
  ck_assert_uint_eq(hash_of_block(edited("{name = \"x\"}", "{name = \"input\"}")), hash);
  ck_assert_uint_eq(hash_of_block(edited("dim N", "dim Z in 1..9\ndim N")), hash);
  ck_assert_uint_eq(hash_of_block(edited("  %w =", "  %u = const {value = 1} : f32[]\n  %w =")),
                    hash);
  ck_assert_uint_ne(hash_of_block(edited("1..64", "1..65")), hash);
  ck_assert_uint_ne(hash_of_block(edited("f32[8, 4]", "f32[8, 5]")), hash);
  ck_assert_uint_ne(hash_of_block(edited("\"add\"", "\"max\"")), hash);
  ck_assert_uint_ne(hash_of_block(edited("mul %0", "sub %0")), hash);
  ck_assert_uint_ne(hash_of_block(edited("load %x[%i, %k]", "load %x[%i, %k + 1]")), hash);
  ck_assert_uint_ne(hash_of_block(edited("mul %0, %1", "mul %1, %0")), hash);
}
END_TEST

/* What a narrower range makes simpler prints as it will be read. */
START_TEST(narrowed_programs_read_back) {
  tsr_diag diag;
  tsr_ir *ir = must_parse("dim N in 1..64\nkernel @k(%x: f32[N]) grid(%i in N ceildiv 8) {\n"
                          "  %a = load %x[%i + min(N, 32) + N floordiv 16] : f32\n}\n");
  tsr_diag_clear(&diag);
  ck_assert_int_eq(tsr_dim_narrow(ir, "N", 1, 8, &diag), TSR_OK);
  char *text = must_print(ir);
  ck_assert_ptr_nonnull(strstr(text, "dim N in 1..8\n"));
  ck_assert_ptr_nonnull(strstr(text, "load %x[N + %i]"));
  tsr_ir *again = must_parse(text);
  ck_assert_str_eq(must_print(again), text);
  tsr_ir_destroy(again);
  tsr_ir_destroy(ir);
}
END_TEST

/* --- failing allocations --- */

typedef struct failing {
  int left;
  long live;
} failing;

static void *failing_allocate(void *context, size_t size, size_t alignment) {
  failing *f = (failing *)context;
  if (f->left-- <= 0)
    return NULL;
  void *memory = NULL;
  if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) != 0)
    return NULL;
  f->live++;
  return memory;
}

static void failing_release(void *context, void *pointer, size_t size) {
  (void)size;
  ((failing *)context)->live -= pointer != NULL;
  free(pointer);
}

/* Parses, verifies, clones, hashes and prints with the allocation number `count` failing; true when
 * none did. */
static bool survive(int count, const char *text) {
  failing f = {count, 0};
  tsr_allocator allocator = {&f, failing_allocate, failing_release};
  tsr_diag diag;
  tsr_ir *ir;
  bool complete = false;
  tsr_diag_clear(&diag);
  tsr_status status = tsr_ir_parse(&allocator, text, strlen(text), "t", &diag, &ir);
  if (status == TSR_OK) {
    status = tsr_ir_verify(ir, &diag);
    tsr_op top = tsr_region_get(ir, tsr_ir_top(ir))->first;
    uint64_t hash = tsr_op_workload_hash(ir, top);
    bool cloned = tsr_op_clone(ir, top, tsr_ir_top(ir), NULL, 0) != 0;
    bool printed = tsr_ir_print(ir, tsr_ir_arena(ir)) != NULL;
    complete = status == TSR_OK && hash != 0 && cloned && printed;
    ck_assert(cloned || tsr_ir_status(ir) == TSR_ERR_OUT_OF_MEMORY);
    tsr_ir_destroy(ir);
  }
  ck_assert_msg(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY, "%s", diag.message);
  ck_assert_int_eq(f.live, 0);
  return complete;
}

START_TEST(failing_allocations_end_cleanly) {
  char *text = malloc(1 << 20);
  int count = 0;
  ck_assert_ptr_nonnull(text);
  strcpy(text, program);
  for (int i = 0; i < 300; i++)
    (void)sprintf(text + strlen(text),
                  "graph @g%d {\n  %%x%d = const {value = [%d, 0.5]} : f32[2]\n}\n", i, i, i);
  while (!survive(count, text))
    ck_assert_int_lt(++count, 1000);
  ck_assert_int_gt(count, 5);
  free(text);
}
END_TEST

/* The evaluator with its allocation number `count` failing; true when none did. */
static bool survive_eval(tsr_ir *ir, tsr_value value, int count) {
  failing f = {count, 0};
  tsr_allocator allocator = {&f, failing_allocate, failing_release};
  const tsr_array *array;
  tsr_eval *eval;
  tsr_status status = tsr_eval_create(ir, NULL, true, 100000, &allocator, &eval);
  if (status == TSR_OK) {
    status = tsr_eval_get(eval, value, &array);
    tsr_eval_destroy(eval);
  }
  ck_assert(status == TSR_OK || status == TSR_ERR_OUT_OF_MEMORY);
  ck_assert_int_eq(f.live, 0);
  return status == TSR_OK;
}

START_TEST(failing_allocations_end_evaluation) {
  tsr_ir *ir = must_parse("graph @g { %x = const {random = 1} : f32[100, 100]\n"
                          "%a = neg %x : f32[100, 100] %b = exp %a : f32[100, 100]\n"
                          "%c = reduce %b {axes = [0], combine = \"add\"} : f32[100] }");
  int count = 0;
  while (!survive_eval(ir, tsr_value_count(ir), count))
    ck_assert_int_lt(++count, 100);
  ck_assert_int_gt(count, 3);
  tsr_ir_destroy(ir);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("text");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, canonical_text_is_kept, 0, COUNT(canonical));
  tcase_add_loop_test(tests, loose_text_becomes_canonical, 0, COUNT(loose));
  tcase_add_loop_test(tests, errors_name_their_place, 0, COUNT(errors));
  tcase_add_test(tests, nesting_is_limited);
  tcase_add_test(tests, printed_programs_read_back);
  tcase_add_test(tests, constants_print_exactly);
  tcase_add_test(tests, clones_are_complete);
  tcase_add_test(tests, values_are_replaced_everywhere);
  tcase_add_test(tests, erasing_frees_uses);
  tcase_add_test(tests, hash_follows_the_workload);
  tcase_add_test(tests, narrowed_programs_read_back);
  tcase_add_test(tests, failing_allocations_end_cleanly);
  tcase_add_test(tests, failing_allocations_end_evaluation);
  suite_add_tcase(suite, tests);
  return run_suite(suite);
}
