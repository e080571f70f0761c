/* Streams and events. A call puts work into a stream; it runs when something waits (run.c). */
#include "tests/cuda_emulator/driver/state.h"
#include <stdlib.h>
#include <string.h>

command *command_make(command_kind kind) {
  command *work = calloc(1, sizeof(*work));
  if (work)
    work->kind = kind;
  return work;
}

void command_free(command *work) {
  if (!work)
    return;
  line_release(work->wait.line);
  body_release(work->graph);
  free(work->staged);
  free(work->arguments);
  free(work->values);
  free(work->before);
  free(work);
}

tsr_cu_result check_stream(tsr_cu_stream handle, tsr_cu_stream *out_stream) {
  context *c;
  TRY(current_context(&c));
  *out_stream = handle ? handle : c->null_stream;
  TRY(object_check(*out_stream, OBJECT_STREAM));
  return (*out_stream)->object.owner->error;
}

tsr_cu_result not_while_capturing(void) {
  for (object *o = NULL; (o = object_next(o, OBJECT_STREAM, NULL)) != NULL;) {
    capture *found = ((tsr_cu_stream)o)->capture;
    if (!found || found->thread != this_thread())
      continue;
    found->invalid = true;
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED,
                  "a call that may wait, while this thread captures a stream");
  }
  return 0;
}

static moment end_of(tsr_cu_stream stream) {
  return (moment){stream->line, stream->line->given};
}

static void append(tsr_cu_stream stream, command *work) {
  work->next = NULL;
  work->number = ++the_driver.numbers;
  ++stream->line->given;
  if (stream->last)
    stream->last->next = work;
  else
    stream->first = work;
  stream->last = work;
}

static tsr_cu_result append_wait(tsr_cu_stream stream, moment m) {
  if (reached(m) || m.line == stream->line)
    return 0;
  command *work = command_make(COMMAND_WAIT);
  if (!work)
    return EMULATED_OUT_OF_MEMORY;
  work->wait = m;
  ++m.line->references;
  append(stream, work);
  return 0;
}

/* The null stream comes behind all streams that do not refuse that, and they behind it. */
static tsr_cu_result order_with_null_stream(tsr_cu_stream stream) {
  context *c = stream->object.owner;
  if (stream != c->null_stream)
    return stream->blocking ? append_wait(stream, end_of(c->null_stream)) : 0;
  for (object *o = NULL; (o = object_next(o, OBJECT_STREAM, c)) != NULL;)
    if (((tsr_cu_stream)o)->blocking)
      TRY(append_wait(stream, end_of((tsr_cu_stream)o)));
  return 0;
}

tsr_cu_result give(tsr_cu_stream stream, command *work) {
  tsr_cu_result result =
      stream->capture ? capture_command(stream, work) : order_with_null_stream(stream);
  if (result)
    command_free(work);
  else if (!stream->capture)
    append(stream, work);
  return result;
}

EXPORT tsr_cu_result cuStreamCreate(tsr_cu_stream *out_stream, unsigned flags) {
  ENTER();
  context *c;
  *out_stream = NULL;
  TRY(current_context(&c));
  if (flags > TSR_CU_STREAM_NON_BLOCKING)
    return EMULATED_INVALID_VALUE;
  tsr_cu_stream stream = object_make(OBJECT_STREAM, sizeof(*stream), c);
  timeline *line = calloc(1, sizeof(*line));
  if (!stream || !line) {
    if (stream)
      object_free(stream);
    free(line);
    return EMULATED_OUT_OF_MEMORY;
  }
  line->references = 1;
  line->next = the_driver.lines;
  the_driver.lines = line;
  stream->line = line;
  stream->blocking = flags == 0;
  *out_stream = stream;
  return 0;
}

void stream_release(tsr_cu_stream stream) {
  while (stream->first) {
    command *work = stream->first;
    stream->first = work->next;
    command_free(work);
  }
  frontier_clear(&stream->behind);
  line_release(stream->line);
  object_free(stream);
}

EXPORT tsr_cu_result cuStreamDestroy_v2(tsr_cu_stream stream) {
  ENTER();
  TRY(object_check(stream, OBJECT_STREAM));
  context *c = stream->object.owner;
  if (stream == c->null_stream)
    return EMULATED_INVALID_HANDLE;
  if (stream->capture)
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED, "a stream is destroyed while captured");
  run_until(end_of(stream));
  stream_release(stream);
  return 0;
}

EXPORT tsr_cu_result cuStreamSynchronize(tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  if (stream->capture) {
    stream->capture->invalid = true;
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED, "a captured stream is waited for");
  }
  TRY(not_while_capturing());
  TRY(order_with_null_stream(stream));
  run_until(end_of(stream));
  return stream->object.owner->error;
}

EXPORT tsr_cu_result cuStreamWaitEvent(tsr_cu_stream handle, tsr_cu_event event, unsigned flags) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  TRY(object_check(event, OBJECT_EVENT));
  if (flags != 0)
    return EMULATED_INVALID_VALUE;
  if (!event->capture) {
    if (stream->capture && event->recordings > 0) {
      stream->capture->invalid = true;
      return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED,
                    "a captured stream waits for an event recorded outside the capture");
    }
    return append_wait(stream, event->at);
  }
  if (stream->capture && stream->capture != event->capture)
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED, "two captures would become one");
  stream->capture = event->capture;
  return frontier_join(&stream->behind, &event->behind) ? 0 : EMULATED_OUT_OF_MEMORY;
}

EXPORT tsr_cu_result cuEventCreate(tsr_cu_event *out_event, unsigned flags) {
  ENTER();
  context *c;
  *out_event = NULL;
  TRY(current_context(&c));
  if (flags > 3)
    return refuse(EMULATED_INVALID_VALUE, "event flags %u are not emulated", flags);
  tsr_cu_event event = object_make(OBJECT_EVENT, sizeof(*event), c);
  if (!event)
    return EMULATED_OUT_OF_MEMORY;
  event->timed = (flags & TSR_CU_EVENT_DISABLE_TIMING) == 0;
  event->time_us = -1;
  *out_event = event;
  return 0;
}

EXPORT tsr_cu_result cuEventRecord(tsr_cu_event event, tsr_cu_stream handle) {
  ENTER();
  tsr_cu_stream stream;
  TRY(check_stream(handle, &stream));
  TRY(object_check(event, OBJECT_EVENT));
  if (event->object.owner != stream->object.owner)
    return refuse(EMULATED_INVALID_HANDLE, "an event of another context is recorded");
  frontier_clear(&event->behind);
  event->capture = stream->capture;
  if (stream->capture)
    return frontier_join(&event->behind, &stream->behind) ? 0 : EMULATED_OUT_OF_MEMORY;
  command *work = command_make(COMMAND_RECORD);
  if (!work)
    return EMULATED_OUT_OF_MEMORY;
  work->event = event;
  work->recording = ++event->recordings;
  TRY(give(stream, work));
  line_release(event->at.line);
  event->at = end_of(stream);
  ++event->at.line->references;
  event->time_us = -1;
  return 0;
}

EXPORT tsr_cu_result cuEventSynchronize(tsr_cu_event event) {
  ENTER();
  TRY(object_check(event, OBJECT_EVENT));
  context *c = event->object.owner;
  if (event->capture)
    return refuse(EMULATED_STREAM_CAPTURE_UNSUPPORTED, "an event of a capture is waited for");
  TRY(not_while_capturing());
  if (c->error)
    return c->error;
  run_until(event->at);
  return c->error;
}

EXPORT tsr_cu_result cuEventElapsedTime(float *milliseconds, tsr_cu_event start, tsr_cu_event end) {
  ENTER();
  TRY(object_check(start, OBJECT_EVENT));
  TRY(object_check(end, OBJECT_EVENT));
  context *c = start->object.owner;
  if (c->error)
    return c->error;
  if (!start->timed || !end->timed || start->recordings == 0 || end->recordings == 0)
    return refuse(EMULATED_INVALID_HANDLE, "the time of an event without one is asked for");
  if (start->time_us < 0 || end->time_us < 0)
    return EMULATED_NOT_READY;
  *milliseconds = (float)((end->time_us - start->time_us) * 1e-3);
  return 0;
}

EXPORT tsr_cu_result cuEventDestroy_v2(tsr_cu_event event) {
  ENTER();
  TRY(object_check(event, OBJECT_EVENT));
  run_until(event->at);
  line_release(event->at.line);
  frontier_clear(&event->behind);
  object_free(event);
  return 0;
}
