/* For the tests of codegen/cpu: functions over arrays, made with the builder, linked to an image
 * and mapped executable as the runtime's loader does. */
#ifndef TSR_TESTS_CODEGEN_CPU_JIT_H
#define TSR_TESTS_CODEGEN_CPU_JIT_H
#include "codegen/cpu/image.h"
#include "codegen/cpu/numeric.h"
#include <check.h>
#include <llvm-c/Core.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct jit {
  tsr_arena arena;
  tsr_diag diag;
  tsr_llvm_target *target;
  LLVMContextRef context;
  LLVMModuleRef module;
  tsr_image image;
  void *code;
} jit;

/* The value stored for a vector of `a` and one of `b`. */
typedef LLVMValueRef (*jit_body)(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                 const void *user);
/* Handles `vectors` vectors of elements. */
typedef void (*jit_function)(const void *a, const void *b, void *out, int64_t vectors);

/* The levels that this machine runs, as targets; NULL-terminated. */
static inline const char *const *jit_targets(void) {
  static const char *all[] = {"cpu:x86-64-v2", "cpu:avx2", "cpu:avx512", NULL};
  static const char *have[4];
  tsr_cpu_isa host, isa;
  unsigned count = 0;
  tsr_cpu_isa_host(&host);
  for (unsigned i = 0; all[i]; i++)
    if (tsr_cpu_isa_parse(all[i], NULL, &isa) == TSR_OK && tsr_cpu_isa_covers(&host, &isa))
      have[count++] = all[i];
    else
      printf("SKIP %s: this machine does not run it\n", all[i]);
  have[count] = NULL;
  return have;
}

static inline void jit_begin(jit *j, const char *target) {
  tsr_cpu_isa isa;
  memset(j, 0, sizeof *j);
  tsr_arena_init(&j->arena, tsr_allocator_default());
  ck_assert_int_eq(tsr_cpu_isa_parse(target, &j->diag, &isa), TSR_OK);
  ck_assert_int_eq(tsr_llvm_target_create(tsr_allocator_default(), &isa, &j->diag, &j->target),
                   TSR_OK);
  j->context = LLVMContextCreate();
  j->module = tsr_llvm_target_module(j->target, j->context, "test");
}

static inline LLVMTypeRef jit_vector(LLVMTypeRef element, unsigned lanes) {
  return lanes ? LLVMVectorType(element, lanes) : element;
}

static inline LLVMValueRef jit_load(LLVMBuilderRef at, LLVMTypeRef type, LLVMValueRef base,
                                    LLVMValueRef index) {
  LLVMValueRef address = LLVMBuildGEP2(at, type, base, &index, 1, "");
  LLVMValueRef value = LLVMBuildLoad2(at, type, address, "");
  LLVMSetAlignment(value, 1);
  return value;
}

/* Adds `name`: out[i] = body(a[i], b[i]) over vectors of `lanes` elements, 0 for scalars. Vectors
 * must fill whole bytes without padding: a power of two of lanes. */
static inline void jit_map(jit *j, const char *name, LLVMTypeRef in, LLVMTypeRef out,
                           unsigned lanes, jit_body body, const void *user) {
  LLVMTypeRef pointer = LLVMPointerTypeInContext(j->context, 0);
  LLVMTypeRef i64 = LLVMInt64TypeInContext(j->context);
  LLVMTypeRef parameters[] = {pointer, pointer, pointer, i64};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(j->context), parameters, 4, false);
  LLVMValueRef function = LLVMAddFunction(j->module, name, type);
  tsr_llvm_target_function(j->target, function);
  LLVMBuilderRef at = LLVMCreateBuilderInContext(j->context);
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(j->context, function, "entry");
  LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(j->context, function, "loop");
  LLVMBasicBlockRef end = LLVMAppendBasicBlockInContext(j->context, function, "end");
  LLVMPositionBuilderAtEnd(at, entry);
  LLVMBuildBr(at, loop);
  LLVMPositionBuilderAtEnd(at, loop);
  LLVMValueRef i = LLVMBuildPhi(at, i64, "");
  LLVMTypeRef from = jit_vector(in, lanes), to = jit_vector(out, lanes);
  LLVMValueRef a = jit_load(at, from, LLVMGetParam(function, 0), i);
  LLVMValueRef b = jit_load(at, from, LLVMGetParam(function, 1), i);
  tsr_math math = {j->target, j->context, j->module, at};
  LLVMValueRef y = body(&math, a, b, user);
  LLVMValueRef address = LLVMBuildGEP2(at, to, LLVMGetParam(function, 2), &i, 1, "");
  LLVMSetAlignment(LLVMBuildStore(at, y, address), 1);
  LLVMValueRef next = LLVMBuildAdd(at, i, LLVMConstInt(i64, 1, false), "");
  LLVMAddIncoming(i, (LLVMValueRef[]){LLVMConstInt(i64, 0, false), next},
                  (LLVMBasicBlockRef[]){entry, LLVMGetInsertBlock(at)}, 2);
  LLVMValueRef more = LLVMBuildICmp(at, LLVMIntSLT, next, LLVMGetParam(function, 3), "");
  LLVMBuildCondBr(at, more, loop, end);
  LLVMPositionBuilderAtEnd(at, end);
  LLVMBuildRetVoid(at);
  LLVMDisposeBuilder(at);
}

static inline void jit_finish(jit *j) {
  tsr_status status = tsr_llvm_target_optimize(j->target, j->module, &j->diag);
  if (status == TSR_OK)
    status = tsr_image_build(j->target, j->module, &j->arena, &j->diag, &j->image);
  ck_assert_msg(status == TSR_OK, "%s", j->diag.message);
  j->code = mmap(NULL, j->image.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(j->code, MAP_FAILED);
  memcpy(j->code, j->image.bytes, j->image.size);
  ck_assert_int_eq(mprotect(j->code, j->image.size, PROT_READ | PROT_EXEC), 0);
}

static inline jit_function jit_entry(const jit *j, const char *name) {
  const tsr_image_symbol *symbol = tsr_image_find(&j->image, name);
  ck_assert_msg(symbol != NULL, "no function '%s'", name);
  unsigned char *address = (unsigned char *)j->code + symbol->entry;
  jit_function function;
  memcpy(&function, &address, sizeof function);
  return function;
}

static inline void jit_end(jit *j) {
  if (j->code)
    munmap(j->code, j->image.size);
  LLVMDisposeModule(j->module);
  LLVMContextDispose(j->context);
  tsr_llvm_target_destroy(j->target);
  tsr_arena_reset(&j->arena);
}

/* xorshift64*: the same samples on every run. */
static inline uint64_t jit_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(2685821657736338717);
}

/* Runs the tests of one program; the process's exit status. */
static inline int jit_main(Suite *suite) {
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}

#endif
