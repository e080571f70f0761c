#include "tests/cuda_emulator/engine/fiber.h"
#include <stdbool.h>
#include <stdint.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define WITH_ADDRESS_SANITIZER 1
#endif

#ifdef WITH_ADDRESS_SANITIZER
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#define NOT_INSTRUMENTED __attribute__((no_sanitize("address")))

/* Not instrumented: its own frame would be in the fake stack that it gives back. */
NOT_INSTRUMENTED static void leave(tsr_fiber *from, const tsr_fiber *to, bool last) {
  if (!from->stack) {
    pthread_attr_t attributes;
    void *stack = NULL;
    size_t bytes = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
      pthread_attr_getstack(&attributes, &stack, &bytes);
      pthread_attr_destroy(&attributes);
    }
    from->stack = stack;
    from->stack_bytes = bytes;
  }
  __sanitizer_start_switch_fiber(last ? NULL : &from->fake_stack, to->stack, to->stack_bytes);
}

static void entered(tsr_fiber *fiber) {
  __sanitizer_finish_switch_fiber(fiber->fake_stack, NULL, NULL);
}
#else
#define NOT_INSTRUMENTED

static void leave(tsr_fiber *from, const tsr_fiber *to, bool last) {
  (void)last;
  (void)from;
  (void)to;
}

static void entered(tsr_fiber *fiber) {
  (void)fiber;
}
#endif

static void run(tsr_fiber *fiber) {
  entered(fiber);
  fiber->entry(fiber->argument);
}

#ifdef TSR_FIBER_ASSEMBLY
/* The registers that a call preserves go onto the stack, and the stack is exchanged. A new fiber's
 * stack looks as if it had been left at `begin_fiber`, with the fiber in rbx and its entry in r12.
 */
void exchange_stacks(void **save, void *load);
void begin_fiber(void);
__asm__(".text\n"
        ".globl exchange_stacks\n"
        ".type exchange_stacks,@function\n"
        "exchange_stacks:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  retq\n"
        ".size exchange_stacks,.-exchange_stacks\n"
        ".globl begin_fiber\n"
        ".type begin_fiber,@function\n"
        "begin_fiber:\n"
        "  .cfi_startproc\n"
        "  .cfi_undefined rip\n"
        "  movq %rbx, %rdi\n"
        "  callq *%r12\n"
        "  ud2\n"
        "  .cfi_endproc\n"
        ".size begin_fiber,.-begin_fiber\n");

void tsr_fiber_make(tsr_fiber *fiber, void *stack, size_t stack_bytes, void (*entry)(void *),
                    void *argument) {
  *fiber =
      (tsr_fiber){.entry = entry, .argument = argument, .stack = stack, .stack_bytes = stack_bytes};
  uintptr_t *top = (uintptr_t *)(void *)(fiber->stack + stack_bytes);
  *--top = 0;
  *--top = 0;
  *--top = (uintptr_t)begin_fiber;
  *--top = 0;                /* rbp */
  *--top = (uintptr_t)fiber; /* rbx */
  *--top = (uintptr_t)run;   /* r12 */
  *--top = 0;
  *--top = 0;
  *--top = 0;
  fiber->stack_pointer = top;
}

void tsr_fiber_switch(tsr_fiber *from, tsr_fiber *to) {
  leave(from, to, false);
  exchange_stacks(&from->stack_pointer, to->stack_pointer);
  entered(from);
}

NOT_INSTRUMENTED void tsr_fiber_end(tsr_fiber *from, tsr_fiber *to) {
  leave(from, to, true);
  exchange_stacks(&from->stack_pointer, to->stack_pointer);
}
#else
static void start(unsigned low, unsigned high) {
  run((tsr_fiber *)((uintptr_t)low | (uintptr_t)high << 32));
}

void tsr_fiber_make(tsr_fiber *fiber, void *stack, size_t stack_bytes, void (*entry)(void *),
                    void *argument) {
  *fiber =
      (tsr_fiber){.entry = entry, .argument = argument, .stack = stack, .stack_bytes = stack_bytes};
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = stack;
  fiber->context.uc_stack.ss_size = stack_bytes;
  fiber->context.uc_link = NULL;
  uintptr_t self = (uintptr_t)fiber;
  makecontext(&fiber->context, (void (*)(void))start, 2, (unsigned)self, (unsigned)(self >> 32));
}

void tsr_fiber_switch(tsr_fiber *from, tsr_fiber *to) {
  leave(from, to, false);
  swapcontext(&from->context, &to->context);
  entered(from);
}

NOT_INSTRUMENTED void tsr_fiber_end(tsr_fiber *from, tsr_fiber *to) {
  leave(from, to, true);
  setcontext(&to->context);
}
#endif
