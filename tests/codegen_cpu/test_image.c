/* Targets and images: the texts of targets; position independence with constants, jump tables and
 * calls; what an image refuses; damaged objects. */
#include "runtime/cpu_features.h"
#include "tests/codegen_cpu/jit.h"
#include <math.h>

START_TEST(target_texts) {
  static const char *texts[] = {"cpu:x86-64-v2", "cpu:x86-64-v3", "cpu:x86-64-v4",
                                "cpu:x86-64-v4+vnni+bf16", "cpu:x86-64-v4+fp16+amx-int8+amx-bf16"};
  static const char *wrong[] = {"cpux",           "cpu:avx2+vnni", "cpu:avx512+", "cpu:avx513",
                                "cpu:avx512+x87", "cuda:sm_80",    "cpu:generic"};
  tsr_cpu_isa isa, host;
  char text[TSR_CPU_ISA_TEXT];
  for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
    tsr_cpu_isa again;
    ck_assert_int_eq(tsr_cpu_isa_parse(texts[i], NULL, &isa), TSR_OK);
    tsr_cpu_isa_text(&isa, text);
    ck_assert_str_eq(text, texts[i]);
    tsr_cpu_isa_from_features(tsr_cpu_isa_features(&isa), &again);
    tsr_cpu_isa_text(&again, text);
    ck_assert_str_eq(text, texts[i]);
  }
  ck_assert_int_eq(tsr_cpu_isa_parse("cpu:avx2", NULL, &isa), TSR_OK);
  ck_assert_int_eq(isa.level, TSR_CPU_LEVEL_X86_64_V3);
  ck_assert_uint_eq(tsr_cpu_isa_lanes(&isa, 32), 8);
  for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    tsr_diag diag;
    tsr_diag_clear(&diag);
    ck_assert_int_ne(tsr_cpu_isa_parse(wrong[i], &diag, &isa), TSR_OK);
    ck_assert_str_ne(diag.message, "");
  }
  tsr_cpu_isa_host(&host);
  ck_assert_int_eq(tsr_cpu_isa_parse("cpu", NULL, &isa), TSR_OK);
  ck_assert(tsr_cpu_isa_covers(&host, &isa) && tsr_cpu_isa_covers(&isa, &host));
  ck_assert_uint_eq(tsr_cpu_isa_features(&host) & ~tsr_cpu_features(), 0);
}
END_TEST

/* A switch dense enough for a jump table, over values that need constants of several sizes. */
static LLVMValueRef add_table_function(jit *j) {
  enum { CASES = 24 };
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(j->context), i64 = LLVMInt64TypeInContext(j->context);
  LLVMTypeRef type = LLVMFunctionType(f64, (LLVMTypeRef[]){i64, f64}, 2, false);
  LLVMValueRef function = LLVMAddFunction(j->module, "pick", type);
  tsr_llvm_target_function(j->target, function);
  LLVMBuilderRef at = LLVMCreateBuilderInContext(j->context);
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(j->context, function, "entry");
  LLVMBasicBlockRef other = LLVMAppendBasicBlockInContext(j->context, function, "other");
  LLVMPositionBuilderAtEnd(at, entry);
  LLVMValueRef branch = LLVMBuildSwitch(at, LLVMGetParam(function, 0), other, CASES);
  for (unsigned i = 0; i < CASES; i++) {
    LLVMBasicBlockRef block = LLVMAppendBasicBlockInContext(j->context, function, "case");
    LLVMAddCase(branch, LLVMConstInt(i64, i, false), block);
    LLVMPositionBuilderAtEnd(at, block);
    tsr_math math = {j->target, j->context, j->module, at};
    LLVMValueRef x = LLVMGetParam(function, 1);
    LLVMValueRef factor = LLVMConstReal(f64, i * 1.25 + 0.125);
    LLVMValueRef y =
        i % 3 == 0   ? LLVMBuildFMul(at, x, factor, "")
        : i % 3 == 1 ? tsr_math_emit(&math, TSR_MATH_SQRT, LLVMBuildFAdd(at, x, factor, ""), NULL)
                     : LLVMBuildFDiv(at, factor, x, "");
    LLVMBuildRet(at, y);
  }
  LLVMPositionBuilderAtEnd(at, other);
  LLVMBuildRet(at, LLVMConstReal(f64, -1));
  LLVMDisposeBuilder(at);
  return function;
}

typedef double (*pick_function)(int64_t which, double x);

static pick_function pick_at(unsigned char *base, const tsr_image *image) {
  const tsr_image_symbol *symbol = tsr_image_find(image, "pick");
  ck_assert_ptr_nonnull(symbol);
  ck_assert_uint_gt(symbol->bytes, 0);
  unsigned char *address = base + symbol->entry;
  pick_function function;
  memcpy(&function, &address, sizeof function);
  return function;
}

START_TEST(runs_at_any_address) {
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    jit_begin(&j, *target);
    add_table_function(&j);
    jit_finish(&j);
    size_t bytes = 3 * 4096 + j.image.size;
    unsigned char *other =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(other, MAP_FAILED);
    memcpy(other + 4096, j.image.bytes, j.image.size);
    ck_assert_int_eq(mprotect(other, bytes, PROT_READ | PROT_EXEC), 0);
    unsigned char *bases[] = {j.code, other + 4096};
    for (unsigned k = 0; k < 2; k++)
      for (int i = -1; i < 26; i++) {
        double x = 3.5, factor = i * 1.25 + 0.125, got = pick_at(bases[k], &j.image)(i, x);
        double want = i < 0 || i > 23 ? -1
                      : i % 3 == 0    ? x * factor
                      : i % 3 == 1    ? sqrt(x + factor)
                                      : factor / x;
        ck_assert_double_eq(got, want);
      }
    munmap(other, bytes);
    jit_end(&j);
  }
}
END_TEST

static LLVMValueRef body(const tsr_math *math, LLVMValueRef a, LLVMValueRef b, const void *user) {
  return tsr_math_emit(math, *(const tsr_math_fn *)user, a,
                       tsr_math_operands(*(const tsr_math_fn *)user) == 2 ? b : NULL);
}

/* Every math function in one module: helpers, tables and merged constants meet. */
START_TEST(many_functions_in_one_image) {
  static tsr_math_fn all[TSR_MATH_COUNT];
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    char name[32];
    jit_begin(&j, *target);
    LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
    for (unsigned i = 0; i < TSR_MATH_COUNT; i++) {
      all[i] = (tsr_math_fn)i;
      for (unsigned lanes = 0; lanes <= 16; lanes += 16) {
        snprintf(name, sizeof name, "%s%u", tsr_math_text(all[i]), lanes);
        jit_map(&j, name, type, type, lanes, body, &all[i]);
      }
    }
    jit_finish(&j);
    ck_assert_uint_eq(j.image.symbol_count, 2 * TSR_MATH_COUNT);
    float a[16], b[16], one[16], many[16];
    for (unsigned i = 0; i < 16; i++) {
      a[i] = 0.0625f * (float)i;
      b[i] = 1.5f;
    }
    for (unsigned i = 0; i < TSR_MATH_COUNT; i++) {
      snprintf(name, sizeof name, "%s0", tsr_math_text(all[i]));
      jit_entry(&j, name)(a, b, one, 16);
      snprintf(name, sizeof name, "%s16", tsr_math_text(all[i]));
      jit_entry(&j, name)(a, b, many, 1);
      for (unsigned k = 0; k < 16; k++)
        ck_assert(one[k] == many[k] || (isnan(one[k]) && isnan(many[k])));
    }
    jit_end(&j);
  }
}
END_TEST

/* Builds the module, expecting a refusal whose message has `part`. */
static void expect_refusal(jit *j, const char *part) {
  ck_assert_int_eq(tsr_llvm_target_optimize(j->target, j->module, &j->diag), TSR_OK);
  tsr_status status = tsr_image_build(j->target, j->module, &j->arena, &j->diag, &j->image);
  ck_assert_int_eq(status, TSR_ERR_INTERNAL);
  ck_assert_msg(strstr(j->diag.message, part) != NULL, "%s", j->diag.message);
  ck_assert_ptr_null(j->image.bytes);
}

static LLVMValueRef call_outside(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                 const void *user) {
  (void)b;
  LLVMTypeRef type = LLVMTypeOf(a), signature = LLVMFunctionType(type, &type, 1, false);
  LLVMValueRef function = LLVMAddFunction(math->module, user, signature);
  return LLVMBuildCall2(math->builder, signature, function, &a, 1, "");
}

static LLVMValueRef read_variable(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                  const void *user) {
  (void)b;
  LLVMValueRef variable = LLVMAddGlobal(math->module, LLVMTypeOf(a), user);
  LLVMSetInitializer(variable, LLVMConstReal(LLVMTypeOf(a), 4));
  LLVMValueRef old = LLVMBuildLoad2(math->builder, LLVMTypeOf(a), variable, "");
  LLVMBuildStore(math->builder, a, variable);
  return old;
}

static LLVMValueRef read_pointer_table(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                       const void *user) {
  LLVMTypeRef pointer = LLVMPointerTypeInContext(math->context, 0);
  LLVMValueRef target = LLVMAddGlobal(math->module, LLVMTypeOf(a), "number");
  LLVMSetInitializer(target, LLVMConstReal(LLVMTypeOf(a), 4));
  LLVMSetGlobalConstant(target, true);
  LLVMValueRef table = LLVMAddGlobal(math->module, pointer, user);
  LLVMSetInitializer(table, target);
  LLVMSetGlobalConstant(table, true);
  LLVMValueRef address = LLVMBuildLoad2(math->builder, pointer, table, "");
  LLVMSetVolatile(address, true);
  return LLVMBuildFAdd(math->builder, b, LLVMBuildLoad2(math->builder, LLVMTypeOf(a), address, ""),
                       "");
}

START_TEST(refusals_name_what_is_wrong) {
  static const struct {
    jit_body body;
    const char *name, *part;
  } cases[] = {{call_outside, "from_elsewhere", "from_elsewhere"},
               {read_variable, "counter", "written"},
               {read_pointer_table, "table", "absolute"}};
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
    jit j;
    jit_begin(&j, "cpu:x86-64-v2");
    LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
    jit_map(&j, "f", type, type, 0, cases[i].body, cases[i].name);
    expect_refusal(&j, cases[i].part);
    jit_end(&j);
  }
}
END_TEST

/* Constants with an address of their own are reached through the global offset table by default;
 * the load becomes a computation. */
static LLVMValueRef read_global(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                const void *user) {
  LLVMValueRef values[8];
  LLVMTypeRef element = LLVMTypeOf(a), array = LLVMArrayType2(element, 8);
  for (unsigned i = 0; i < 8; i++)
    values[i] = LLVMConstReal(element, i * 1.5);
  LLVMValueRef global = LLVMAddGlobal(math->module, array, user);
  LLVMSetInitializer(global, LLVMConstArray2(element, values, 8));
  LLVMSetGlobalConstant(global, true);
  LLVMTypeRef i64 = LLVMInt64TypeInContext(math->context);
  LLVMValueRef index = LLVMBuildFPToUI(math->builder, a, i64, "");
  LLVMValueRef address = LLVMBuildGEP2(math->builder, element, global, &index, 1, "");
  return LLVMBuildFAdd(math->builder, b, LLVMBuildLoad2(math->builder, element, address, ""), "");
}

START_TEST(global_constants_are_reached) {
  for (const char *const *target = jit_targets(); *target; target++) {
    jit j;
    float a[8], b[8], out[8];
    jit_begin(&j, *target);
    LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
    jit_map(&j, "f", type, type, 0, read_global, "table");
    jit_finish(&j);
    for (unsigned i = 0; i < 8; i++) {
      a[i] = (float)(7 - i);
      b[i] = 100;
    }
    jit_entry(&j, "f")(a, b, out, 8);
    for (unsigned i = 0; i < 8; i++)
      ck_assert(out[i] == 100 + 1.5f * (float)(7 - i));
    jit_end(&j);
  }
}
END_TEST

/* Every cut and many flipped bytes: a status or an image within bounds, never a crash. */
START_TEST(damaged_objects) {
  jit j;
  LLVMMemoryBufferRef buffer;
  uint64_t state = 5;
  unsigned refused = 0;
  jit_begin(&j, "cpu:x86-64-v2");
  add_table_function(&j);
  ck_assert_int_eq(tsr_llvm_target_optimize(j.target, j.module, &j.diag), TSR_OK);
  ck_assert_int_eq(tsr_llvm_target_object(j.target, j.module, &j.diag, &buffer), TSR_OK);
  size_t size = LLVMGetBufferSize(buffer);
  for (unsigned round = 0; round < 20000; round++) {
    size_t length = round < size ? round : size;
    unsigned char *copy = malloc(length ? length : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, LLVMGetBufferStart(buffer), length);
    for (unsigned k = 0; length == size && k < 1 + round % 4; k++)
      copy[jit_random(&state) % length] = (unsigned char)jit_random(&state);
    tsr_arena arena;
    tsr_image image;
    tsr_arena_init(&arena, tsr_allocator_default());
    tsr_status status = tsr_image_link(copy, length, &arena, NULL, &image);
    refused += status != TSR_OK;
    for (uint32_t i = 0; status == TSR_OK && i < image.symbol_count; i++)
      if (image.symbols[i].entry > image.size)
        ck_abort_msg("an entry lies outside its image");
    tsr_arena_reset(&arena);
    free(copy);
  }
  ck_assert_uint_ge(refused, (unsigned)size);
  LLVMDisposeMemoryBuffer(buffer);
  jit_end(&j);
}
END_TEST

START_TEST(texts_of_a_module) {
  jit j;
  const char *ir, *assembly;
  jit_begin(&j, "cpu:x86-64-v2");
  add_table_function(&j);
  ck_assert_int_eq(tsr_llvm_target_ir_text(j.module, &j.arena, &j.diag, &ir), TSR_OK);
  ck_assert_int_eq(tsr_llvm_target_asm_text(j.target, j.module, &j.arena, &j.diag, &assembly),
                   TSR_OK);
  ck_assert_ptr_nonnull(strstr(ir, "define double @pick"));
  ck_assert_ptr_nonnull(strstr(assembly, "pick:"));
  jit_finish(&j);
  jit_end(&j);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cpu.image");
  TCase *cases = tcase_create("image");
  tcase_set_timeout(cases, 0);
  tcase_add_test(cases, target_texts);
  tcase_add_test(cases, runs_at_any_address);
  tcase_add_test(cases, many_functions_in_one_image);
  tcase_add_test(cases, refusals_name_what_is_wrong);
  tcase_add_test(cases, global_constants_are_reached);
  tcase_add_test(cases, damaged_objects);
  tcase_add_test(cases, texts_of_a_module);
  suite_add_tcase(suite, cases);
  return jit_main(suite);
}
