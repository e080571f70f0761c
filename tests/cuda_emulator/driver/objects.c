/* What is alive: one list, so that a handle can be told from what it once was. */
#include "tests/cuda_emulator/driver/state.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const kind_names[OBJECT_KIND_COUNT] = {
    "context", "module",           "function",      "stream",     "event",
    "graph",   "executable graph", "device memory", "host memory"};

void *object_make(object_kind kind, size_t bytes, context *owner) {
  object *o = calloc(1, bytes);
  if (!o)
    return NULL;
  o->kind = kind;
  o->owner = owner;
  o->number = ++the_driver.numbers;
  o->next = the_driver.objects;
  if (o->next)
    o->next->previous = o;
  the_driver.objects = o;
  return o;
}

tsr_cu_result object_check(const void *handle, object_kind kind) {
  for (const object *o = the_driver.objects; o; o = o->next)
    if (o == handle && o->kind == kind)
      return 0;
  return refuse(EMULATED_INVALID_HANDLE, "%p is no %s that is alive", handle, kind_names[kind]);
}

void object_free(void *handle) {
  object *o = handle;
  if (o->previous)
    o->previous->next = o->next;
  else
    the_driver.objects = o->next;
  if (o->next)
    o->next->previous = o->previous;
  free(o);
}

object *object_next(object *behind, object_kind kind, const context *owner) {
  object *o = behind ? behind->next : the_driver.objects;
  while (o && (o->kind != kind || (owner && o->owner != owner)))
    o = o->next;
  return o;
}

/* Functions end with their module, contexts with their references. */
void report_leaks(const context *owner) {
  for (const object *o = the_driver.objects; o; o = o->next) {
    if ((owner && o->owner != owner) || o->kind == OBJECT_FUNCTION)
      continue;
    if (o->kind == OBJECT_STREAM && o->owner && (tsr_cu_stream)o == o->owner->null_stream)
      continue;
    size_t bytes = o->kind == OBJECT_MEMORY        ? ((const device_memory *)o)->bytes
                   : o->kind == OBJECT_HOST_MEMORY ? ((const host_memory *)o)->bytes
                                                   : 0;
    fprintf(stderr, "emulated CUDA driver: leak: %s, made by call %llu", kind_names[o->kind],
            (unsigned long long)o->number);
    if (bytes)
      fprintf(stderr, ", %zu bytes", bytes);
    fputc('\n', stderr);
  }
}
