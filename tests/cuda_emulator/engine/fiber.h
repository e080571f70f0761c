/* Fibers: stacks that a scheduler switches between by hand. */
#ifndef TSR_TESTS_CUDA_EMULATOR_FIBER_H
#define TSR_TESTS_CUDA_EMULATOR_FIBER_H
#include <stddef.h>

#if defined(__x86_64__) && !defined(TSR_FIBER_PORTABLE)
#define TSR_FIBER_ASSEMBLY 1
#else
#include <ucontext.h>
#endif

typedef struct tsr_fiber {
#ifdef TSR_FIBER_ASSEMBLY
  void *stack_pointer;
#else
  ucontext_t context;
#endif
  void (*entry)(void *);
  void *argument;
  char *stack;
  size_t stack_bytes;
  void *fake_stack; /* of the address sanitizer */
} tsr_fiber;

/* A fiber that runs entry(argument) when first switched to; `entry` must never return. */
void tsr_fiber_make(tsr_fiber *fiber, void *stack, size_t stack_bytes, void (*entry)(void *),
                    void *argument);
/* Saves where this one is and goes on in the other. The fiber that the operating system's thread
 * began with needs no making: it is all zero before. */
void tsr_fiber_switch(tsr_fiber *from, tsr_fiber *to);
/* The same for a fiber that is never gone on in. */
void tsr_fiber_end(tsr_fiber *from, tsr_fiber *to);
#endif
