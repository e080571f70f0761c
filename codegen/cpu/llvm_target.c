#include "codegen/cpu/llvm_target.h"
#include <assert.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <llvm/Config/llvm-config.h>
#include <stdio.h>
#include <string.h>

/* Loop-carried addresses are strength-reduced by the code generator itself; what has to happen
 * before is that equal address parts meet (gvn) and leave the loops (licm, which needs MemorySSA:
 * without `loop-mssa` LLVM aborts). `sroa` first: kernels keep tiles in values, but spilled
 * temporaries of helper functions may be allocas. */
static const char pipeline[] =
    "function(sroa,instcombine<no-verify-fixpoint>,simplifycfg,gvn,loop-simplify,"
    "loop-mssa(licm),instcombine<no-verify-fixpoint>,simplifycfg)";

static tsr_status llvm_failure(tsr_diag *diag, const char *what, char *message) {
  tsr_status status =
      tsr_fail(diag, TSR_ERR_INTERNAL, "LLVM: %s: %s", what, message ? message : "no message");
  LLVMDisposeMessage(message);
  return status;
}

static const char *level_cpu(tsr_cpu_level level) {
  switch (level) {
  case TSR_CPU_LEVEL_X86_64_V2:
    return "x86-64-v2";
  case TSR_CPU_LEVEL_X86_64_V3:
    return "x86-64-v3";
  case TSR_CPU_LEVEL_X86_64_V4:
    return "x86-64-v4";
  case TSR_CPU_LEVEL_AARCH64:
  case TSR_CPU_LEVEL_GENERIC:
    break;
  }
  return "generic";
}

static void target_features(const tsr_cpu_isa *isa, char *out, size_t size) {
  const bool tiles = !isa->amx_emulated;
  int length = snprintf(
      out, size, "%s%s%s%s%s%s", isa->avx512_vnni ? "+avx512vnni," : "",
      isa->avx512_bf16 ? "+avx512bf16," : "", isa->avx512_fp16 ? "+avx512fp16," : "",
      tiles && (isa->amx_int8 || isa->amx_bf16) ? "+amx-tile," : "",
      tiles && isa->amx_int8 ? "+amx-int8," : "", tiles && isa->amx_bf16 ? "+amx-bf16," : "");
  assert(length >= 0 && (size_t)length < size);
  if (length > 0)
    out[length - 1] = '\0';
}

/* AArch64 may be made on another machine, by an LLVM that has its code generator. */
static tsr_status initialize_backend(tsr_cpu_level level, tsr_diag *diag) {
  if (level == TSR_CPU_LEVEL_AARCH64) {
#if defined(LLVM_HAS_AARCH64_TARGET) && LLVM_HAS_AARCH64_TARGET
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
    return TSR_OK;
#else
    return tsr_fail(diag, TSR_ERR_DEVICE, "this LLVM cannot make code for AArch64");
#endif
  }
  if (LLVMInitializeNativeTarget() || LLVMInitializeNativeAsmPrinter() ||
      LLVMInitializeNativeAsmParser())
    return tsr_fail(diag, TSR_ERR_DEVICE, "this LLVM cannot make code for the machine it runs on");
  return TSR_OK;
}

/* Kernels call nothing of the system, so that the triple decides calling conventions only. */
static char *level_triple(tsr_cpu_level level) {
  return level == TSR_CPU_LEVEL_AARCH64 ? LLVMCreateMessage("aarch64-unknown-linux-gnu")
                                        : LLVMGetDefaultTargetTriple();
}

static tsr_status create_machine(tsr_llvm_target *target, tsr_diag *diag) {
  LLVMTargetRef backend = NULL;
  char *message = NULL;
  target->triple = level_triple(target->isa.level);
  if (!target->triple)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  if (LLVMGetTargetFromTriple(target->triple, &backend, &message))
    return llvm_failure(diag, target->triple, message);
  target->machine =
      LLVMCreateTargetMachine(backend, target->triple, target->cpu, target->features,
                              LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
  if (!target->machine)
    return tsr_fail(diag, TSR_ERR_INTERNAL, "LLVM has no code generator for '%s'", target->triple);
  target->data_layout = LLVMCreateTargetDataLayout(target->machine);
  return target->data_layout ? TSR_OK : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

tsr_status tsr_llvm_target_create(const tsr_allocator *allocator, const tsr_cpu_isa *isa,
                                  tsr_diag *diag, tsr_llvm_target **out_target) {
  *out_target = NULL;
  TSR_TRY(initialize_backend(isa->level, diag));
  tsr_llvm_target *target =
      allocator->allocate(allocator->context, sizeof *target, _Alignof(tsr_llvm_target));
  if (!target)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  memset(target, 0, sizeof *target);
  target->allocator = allocator;
  target->isa = *isa;
  snprintf(target->cpu, sizeof target->cpu, "%s", level_cpu(isa->level));
  target_features(isa, target->features, sizeof target->features);
  tsr_status status = create_machine(target, diag);
  if (status != TSR_OK) {
    tsr_llvm_target_destroy(target);
    return status;
  }
  *out_target = target;
  return TSR_OK;
}

void tsr_llvm_target_destroy(tsr_llvm_target *target) {
  if (!target)
    return;
  if (target->data_layout)
    LLVMDisposeTargetData(target->data_layout);
  if (target->machine)
    LLVMDisposeTargetMachine(target->machine);
  LLVMDisposeMessage(target->triple);
  target->allocator->release(target->allocator->context, target, sizeof *target);
}

LLVMModuleRef tsr_llvm_target_module(const tsr_llvm_target *target, LLVMContextRef context,
                                     const char *name) {
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext(name, context);
  if (!module)
    return NULL;
  LLVMSetTarget(module, target->triple);
  LLVMSetModuleDataLayout(module, target->data_layout);
  return module;
}

static void add_string(LLVMValueRef function, const char *key, const char *value) {
  LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(function));
  LLVMAttributeRef attribute = LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value,
                                                         (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
}

static void add_enum(LLVMValueRef function, const char *name) {
  LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(function));
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  assert(kind != 0);
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(context, kind, 0));
}

/* `no-builtins` keeps LLVM from making calls to memcpy, memset or libm; the vector width is stated
 * because LLVM prefers 256 bits on AVX-512 machines. */
void tsr_llvm_target_function(const tsr_llvm_target *target, LLVMValueRef function) {
  char bits[16];
  snprintf(bits, sizeof bits, "%u", target->isa.vector_bits);
  add_string(function, "target-cpu", target->cpu);
  if (target->features[0])
    add_string(function, "target-features", target->features);
  add_string(function, "prefer-vector-width", bits);
  add_string(function, "min-legal-vector-width", bits);
  add_string(function, "no-builtins", "");
  add_string(function, "frame-pointer", "none");
  add_string(function, "no-trapping-math", "true");
  add_enum(function, "nounwind");
}

tsr_status tsr_llvm_target_optimize(const tsr_llvm_target *target, LLVMModuleRef module,
                                    tsr_diag *diag) {
  char *message = NULL;
  if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message))
    return llvm_failure(diag, "the module does not verify", message);
  LLVMDisposeMessage(message);
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  if (!options)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  LLVMErrorRef error = LLVMRunPasses(module, pipeline, target->machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (!error)
    return TSR_OK;
  char *text = LLVMGetErrorMessage(error);
  tsr_status status = tsr_fail(diag, TSR_ERR_INTERNAL, "LLVM: passes: %s", text);
  LLVMDisposeErrorMessage(text);
  return status;
}

static tsr_status emit(const tsr_llvm_target *target, LLVMModuleRef module,
                       LLVMCodeGenFileType type, tsr_diag *diag, LLVMMemoryBufferRef *out_buffer) {
  char *message = NULL;
  *out_buffer = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(target->machine, module, type, &message, out_buffer))
    return llvm_failure(diag, "code generation", message);
  return TSR_OK;
}

tsr_status tsr_llvm_target_object(const tsr_llvm_target *target, LLVMModuleRef module,
                                  tsr_diag *diag, LLVMMemoryBufferRef *out_object) {
  return emit(target, module, LLVMObjectFile, diag, out_object);
}

tsr_status tsr_llvm_target_ir_text(LLVMModuleRef module, tsr_arena *arena, tsr_diag *diag,
                                   const char **out_text) {
  *out_text = NULL;
  char *text = LLVMPrintModuleToString(module);
  if (text)
    *out_text = tsr_arena_string(arena, text, strlen(text));
  LLVMDisposeMessage(text);
  return *out_text ? TSR_OK : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

/* Code generation changes the module, so assembly is made from a copy. */
tsr_status tsr_llvm_target_asm_text(const tsr_llvm_target *target, LLVMModuleRef module,
                                    tsr_arena *arena, tsr_diag *diag, const char **out_text) {
  *out_text = NULL;
  LLVMMemoryBufferRef buffer = NULL;
  LLVMModuleRef copy = LLVMCloneModule(module);
  tsr_status status = emit(target, copy, LLVMAssemblyFile, diag, &buffer);
  LLVMDisposeModule(copy);
  TSR_TRY(status);
  *out_text = tsr_arena_string(arena, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  LLVMDisposeMemoryBuffer(buffer);
  return *out_text ? TSR_OK : tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}
