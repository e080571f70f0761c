/* Work that streams hold is run when a call waits for it, as late as that and in an order that the
 * seed chooses among all that streams and events allow: what is not ordered by them shows as a
 * wrong result sooner or later. Seed 0 is the order of calls, 1 the latest call first. */
#include "tests/cuda_emulator/driver/state.h"
#include <stdlib.h>
#include <string.h>

bool reached(moment m) {
  return !m.line || m.line->done >= m.at;
}

void line_release(timeline *line) {
  if (!line || --line->references > 0)
    return;
  for (timeline **at = &the_driver.lines; *at; at = &(*at)->next)
    if (*at == line) {
      *at = line->next;
      break;
    }
  free(line);
}

static uint64_t next_random(void) {
  the_driver.random ^= the_driver.random << 13;
  the_driver.random ^= the_driver.random >> 7;
  the_driver.random ^= the_driver.random << 17;
  return the_driver.random >> 33;
}

static tsr_cu_result still_there(const context *c, const command *work) {
  bool reads = work->kind == COMMAND_COPY && work->copy != COPY_HOST_TO_DEVICE;
  bool writes = work->kind == COMMAND_SET || work->copy != COPY_DEVICE_TO_HOST;
  if ((reads && !is_still_memory(c, work->from, work->bytes)) ||
      (writes && !is_still_memory(c, work->to, work->bytes)))
    return refuse(EMULATED_ILLEGAL_ADDRESS, "a copy runs when its device memory has been freed");
  return 0;
}

static void launch(context *c, const command *work) {
  tsr_emulated_launch how = work->launch;
  how.seed = the_driver.seed;
  if (!tsr_emulator_launch(c->emulator, work->kernel, &how, work->arguments)) {
    keep_finding(tsr_emulator_error(c->emulator));
    c->error = EMULATED_LAUNCH_FAILED;
  }
  the_driver.clock_us += 2 + 1e-3 * how.grid[0] * how.grid[1] * how.threads / 32;
}

/* Everything but what concerns streams. */
static void perform(context *c, const command *work) {
  if (c->error)
    return;
  switch (work->kind) {
  case COMMAND_LAUNCH:
    launch(c, work);
    break;
  case COMMAND_COPY:
  case COMMAND_SET:
    the_driver.clock_us += 1 + 1e-4 * (double)work->bytes;
    c->error = still_there(c, work);
    if (!c->error && work->kind == COMMAND_SET)
      memset(work->to, work->value, work->bytes);
    else if (!c->error)
      memmove(work->to, work->from, work->bytes);
    break;
  case COMMAND_GRAPH:
    run_body(c, work->graph, perform);
    break;
  default:
    break;
  }
}

static void finish_record(const command *work) {
  for (object *o = NULL; (o = object_next(o, OBJECT_EVENT, NULL)) != NULL;)
    if ((tsr_cu_event)o == work->event && work->event->recordings == work->recording)
      work->event->time_us = the_driver.clock_us;
}

static void finish_free(const context *c, const command *work) {
  for (object *o = NULL; (o = object_next(o, OBJECT_MEMORY, c)) != NULL;)
    if (((device_memory *)o)->base == work->to) {
      release_memory((device_memory *)o);
      return;
    }
}

static void run_first(tsr_cu_stream stream) {
  command *work = stream->first;
  context *c = stream->object.owner;
  perform(c, work);
  if (work->kind == COMMAND_RECORD)
    finish_record(work);
  if (work->kind == COMMAND_FREE)
    finish_free(c, work);
  stream->first = work->next;
  if (!stream->first)
    stream->last = NULL;
  ++stream->line->done;
  command_free(work);
}

static bool can_run(tsr_cu_stream stream) {
  return stream->first && (stream->first->kind != COMMAND_WAIT || reached(stream->first->wait));
}

/* The stream whose first work is next. */
static tsr_cu_stream pick(void) {
  tsr_cu_stream found = NULL;
  uint64_t seen = 0;
  for (object *o = NULL; (o = object_next(o, OBJECT_STREAM, NULL)) != NULL;) {
    tsr_cu_stream stream = (tsr_cu_stream)o;
    if (!can_run(stream))
      continue;
    ++seen;
    bool better = !found;
    if (found && the_driver.seed < 2)
      better = (stream->first->number < found->first->number) == (the_driver.seed == 0);
    else if (found)
      better = next_random() % seen == 0;
    if (better)
      found = stream;
  }
  return found;
}

static void open_all(void (*act)(const context *)) {
  for (object *o = NULL; (o = object_next(o, OBJECT_CONTEXT, NULL)) != NULL;)
    act((const context *)o);
}

void run_until(moment wanted) {
  if (reached(wanted))
    return;
  open_all(open_memory);
  for (tsr_cu_stream next; !reached(wanted) && (next = pick()) != NULL;)
    run_first(next);
  open_all(close_memory);
}

void run_all(const context *c) {
  for (object *o = NULL; (o = object_next(o, OBJECT_STREAM, c)) != NULL;)
    run_until((moment){((tsr_cu_stream)o)->line, ((tsr_cu_stream)o)->line->given});
}
