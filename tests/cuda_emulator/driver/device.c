/* Devices and their primary contexts, chosen by the environment (README.md). */
#include "tests/cuda_emulator/driver/state.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

driver the_driver;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local context *stack[STACK_DEPTH];
static _Thread_local int depth;
static _Thread_local char thread_mark;

uint64_t this_thread(void) {
  return (uint64_t)(uintptr_t)&thread_mark;
}

static uint64_t number_from(const char *name, uint64_t fallback) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, NULL, 10) : fallback;
}

/* $TESSERA_EMULATED_FAIL is FUNCTION:N:ERROR: the N-th call of FUNCTION gives ERROR. */
static tsr_cu_result wanted_failure(const char *name) {
  static int calls;
  const char *text = getenv("TESSERA_EMULATED_FAIL");
  size_t length = strlen(name);
  if (!text || strncmp(text, name, length) != 0 || text[length] != ':')
    return 0;
  char *end;
  long turn = strtol(text + length + 1, &end, 10);
  return ++calls == turn && *end == ':' ? (tsr_cu_result)strtol(end + 1, NULL, 10) : 0;
}

tsr_cu_result begin_call(const char *name) {
  pthread_mutex_lock(&lock);
  if (!the_driver.initialized && strcmp(name, "cuInit") != 0 &&
      strcmp(name, "cuDriverGetVersion") != 0)
    return refuse(EMULATED_NOT_INITIALIZED, "%s before cuInit", name);
  return wanted_failure(name);
}

void end_call(guard *g) {
  (void)g;
  pthread_mutex_unlock(&lock);
}

tsr_cu_result current_context(context **out_context) {
  *out_context = depth > 0 ? stack[depth - 1] : NULL;
  if (!*out_context)
    return refuse(EMULATED_INVALID_CONTEXT, "no context is current");
  TRY(object_check(*out_context, OBJECT_CONTEXT));
  return (*out_context)->error;
}

static void report_at_exit(void) {
  const char *wanted = getenv("TESSERA_EMULATED_LEAKS");
  if (wanted && strcmp(wanted, "1") == 0)
    report_leaks(NULL);
}

/* One device per word of $TESSERA_EMULATED_SM. */
EXPORT tsr_cu_result cuInit(unsigned flags) {
  ENTER();
  if (flags != 0)
    return EMULATED_INVALID_VALUE;
  if (the_driver.initialized)
    return 0;
  const char *text = getenv("TESSERA_EMULATED_SM");
  for (text = text && *text ? text : "90"; *text && the_driver.device_count < MOST_DEVICES;) {
    char *end;
    long capability = strtol(text, &end, 10);
    if (end == text || capability < 80 || capability > 999)
      return refuse(EMULATED_NO_DEVICE, "TESSERA_EMULATED_SM wants numbers such as 80,90, not '%s'",
                    text);
    the_driver.devices[the_driver.device_count++] =
        (device){.capability = (int)capability,
                 .memory_bytes = (size_t)number_from("TESSERA_EMULATED_MEMORY", UINT64_C(4) << 30)};
    text = *end ? end + 1 : end;
  }
  the_driver.seed = (uint32_t)number_from("TESSERA_EMULATED_SEED", 0);
  the_driver.random = 0x9e3779b97f4a7c15ull * (the_driver.seed + 1);
  the_driver.initialized = true;
  atexit(report_at_exit);
  return 0;
}

EXPORT tsr_cu_result cuDriverGetVersion(int *version) {
  ENTER();
  *version = (int)number_from("TESSERA_EMULATED_VERSION", 13000);
  return 0;
}

EXPORT tsr_cu_result cuDeviceGetCount(int *count) {
  ENTER();
  *count = the_driver.device_count;
  return 0;
}

static tsr_cu_result check_device(tsr_cu_device ordinal) {
  return ordinal < 0 || ordinal >= the_driver.device_count ? EMULATED_INVALID_DEVICE : 0;
}

EXPORT tsr_cu_result cuDeviceGet(tsr_cu_device *out_device, int ordinal) {
  ENTER();
  TRY(check_device(ordinal));
  *out_device = ordinal;
  return 0;
}

EXPORT tsr_cu_result cuDeviceGetName(char *name, int length, tsr_cu_device ordinal) {
  ENTER();
  TRY(check_device(ordinal));
  if (length <= 0)
    return EMULATED_INVALID_VALUE;
  snprintf(name, (size_t)length, TSR_CUDA_EMULATED_NAME " of capability %d.%d",
           the_driver.devices[ordinal].capability / 10,
           the_driver.devices[ordinal].capability % 10);
  return 0;
}

static uint32_t shared_limit(int capability) {
  tsr_emulator *e = tsr_emulator_create(capability);
  uint32_t limit = e ? tsr_emulator_shared_limit(e) : 0;
  tsr_emulator_destroy(e);
  return limit;
}

EXPORT tsr_cu_result cuDeviceGetAttribute(int *value, int attribute, tsr_cu_device ordinal) {
  ENTER();
  TRY(check_device(ordinal));
  int capability = the_driver.devices[ordinal].capability;
  switch (attribute) {
  case TSR_CU_ATTRIBUTE_MAX_SHARED_PER_BLOCK_OPTIN:
    *value = (int)shared_limit(capability);
    return 0;
  case TSR_CU_ATTRIBUTE_MULTIPROCESSORS:
    *value = capability >= 90 ? 132 : 108;
    return 0;
  case TSR_CU_ATTRIBUTE_CLOCK_KHZ:
    *value = 1500000;
    return 0;
  case TSR_CU_ATTRIBUTE_MEMORY_CLOCK_KHZ:
    *value = 1200000;
    return 0;
  case TSR_CU_ATTRIBUTE_MEMORY_BUS_BITS:
    *value = 5120;
    return 0;
  case TSR_CU_ATTRIBUTE_L2_BYTES:
    *value = 40 << 20;
    return 0;
  case TSR_CU_ATTRIBUTE_MAJOR:
    *value = capability / 10;
    return 0;
  case TSR_CU_ATTRIBUTE_MINOR:
    *value = capability % 10;
    return 0;
  case TSR_CU_ATTRIBUTE_COOPERATIVE:
  case TSR_CU_ATTRIBUTE_MEMORY_POOLS:
    *value = 1;
    return 0;
  default:
    return refuse(EMULATED_INVALID_VALUE, "device attribute %d is not emulated", attribute);
  }
}

EXPORT tsr_cu_result cuDeviceTotalMem_v2(size_t *bytes, tsr_cu_device ordinal) {
  ENTER();
  TRY(check_device(ordinal));
  *bytes = the_driver.devices[ordinal].memory_bytes;
  return 0;
}

static context *make_context(int ordinal) {
  context *c = object_make(OBJECT_CONTEXT, sizeof(*c), NULL);
  if (!c)
    return NULL;
  c->device = ordinal;
  c->emulator = tsr_emulator_create(the_driver.devices[ordinal].capability);
  c->null_stream = object_make(OBJECT_STREAM, sizeof(*c->null_stream), c);
  timeline *line = calloc(1, sizeof(*line));
  if (!c->emulator || !c->null_stream || !line)
    return NULL;
  const char *races = getenv("TESSERA_EMULATED_RACES");
  tsr_emulator_watch_buffers(c->emulator, !races || strcmp(races, "0") != 0);
  line->references = 1;
  line->next = the_driver.lines;
  the_driver.lines = line;
  c->null_stream->line = line;
  return c;
}

EXPORT tsr_cu_result cuDevicePrimaryCtxRetain(tsr_cu_context *out_context, tsr_cu_device ordinal) {
  ENTER();
  TRY(check_device(ordinal));
  device *d = &the_driver.devices[ordinal];
  if (!d->primary)
    d->primary = make_context(ordinal);
  if (!d->primary)
    return EMULATED_OUT_OF_MEMORY;
  ++d->primary->references;
  *out_context = d->primary;
  return 0;
}

/* Everything that the context owns ends with it. */
static void destroy_context(context *c) {
  c->error = c->error ? c->error : EMULATED_INVALID_CONTEXT;
  run_all(c);
  for (object *o; (o = object_next(NULL, OBJECT_STREAM, c)) != NULL;)
    stream_release((tsr_cu_stream)o);
  for (object *o; (o = object_next(NULL, OBJECT_MEMORY, c)) != NULL;)
    release_memory((device_memory *)o);
  for (object *o; (o = object_next(NULL, OBJECT_EXEC, c)) != NULL;) {
    body_release(((tsr_cu_graph_exec)o)->body);
    object_free(o);
  }
  for (object *o; (o = object_next(NULL, OBJECT_EVENT, c)) != NULL;) {
    frontier_clear(&((tsr_cu_event)o)->behind);
    line_release(((tsr_cu_event)o)->at.line);
    object_free(o);
  }
  for (object *o; (o = object_next(NULL, OBJECT_FUNCTION, c)) != NULL;)
    object_free(o);
  for (object *o; (o = object_next(NULL, OBJECT_MODULE, c)) != NULL;) {
    free(((tsr_cu_module)o)->text);
    object_free(o);
  }
  tsr_emulator_destroy(c->emulator);
  object_free(c);
}

EXPORT tsr_cu_result cuDevicePrimaryCtxRelease_v2(tsr_cu_device ordinal) {
  ENTER();
  TRY(check_device(ordinal));
  device *d = &the_driver.devices[ordinal];
  if (!d->primary)
    return refuse(EMULATED_INVALID_CONTEXT, "the primary context is not retained");
  if (--d->primary->references > 0)
    return 0;
  if (!d->primary->error)
    run_all(d->primary);
  if (getenv("TESSERA_EMULATED_LEAKS"))
    report_leaks(d->primary);
  destroy_context(d->primary);
  d->primary = NULL;
  return 0;
}

EXPORT tsr_cu_result cuCtxPushCurrent_v2(tsr_cu_context c) {
  ENTER();
  TRY(object_check(c, OBJECT_CONTEXT));
  if (depth == STACK_DEPTH)
    return refuse(EMULATED_INVALID_VALUE, "%d contexts are pushed: pops are missing", depth);
  stack[depth++] = c;
  return 0;
}

EXPORT tsr_cu_result cuCtxPopCurrent_v2(tsr_cu_context *out_context) {
  ENTER();
  if (depth == 0)
    return refuse(EMULATED_INVALID_CONTEXT, "a context is popped where none was pushed");
  --depth;
  if (out_context)
    *out_context = stack[depth];
  return 0;
}

EXPORT tsr_cu_result cuCtxSynchronize(void) {
  ENTER();
  context *c;
  TRY(current_context(&c));
  TRY(not_while_capturing());
  run_all(c);
  return c->error;
}
