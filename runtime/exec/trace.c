#include "runtime/exec/trace.h"
#include "runtime/clock.h"
#include <string.h>

tsr_status tsr_trace_open(tsr_trace *trace, const char *path, tsr_trace_event *events,
                          uint32_t capacity) {
  memset(trace, 0, sizeof *trace);
  trace->file = fopen(path, "we");
  if (trace->file == NULL)
    return TSR_ERR_IO;
  trace->start_ns = tsr_time_ns();
  trace->events = events;
  trace->capacity = capacity;
  return fputs("[", trace->file) < 0 ? TSR_ERR_IO : TSR_OK;
}

static void put_string(FILE *file, const char *text) {
  fputc('"', file);
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      fprintf(file, "\\%c", c);
    else if (c < 0x20)
      fprintf(file, "\\u%04x", c);
    else
      fputc(c, file);
  }
  fputc('"', file);
}

static void put_microseconds(FILE *file, int64_t time_ns) {
  fprintf(file, "%lld.%03lld", (long long)(time_ns / 1000), (long long)(time_ns % 1000));
}

static void put_event(tsr_trace *trace, const tsr_trace_event *event) {
  FILE *file = trace->file;
  fputs(trace->written++ == 0 ? "\n" : ",\n", file);
  fputs("{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"cat\":\"kernel\",\"name\":", file);
  put_string(file, event->name);
  fputs(",\"ts\":", file);
  put_microseconds(file, event->begin_ns - trace->start_ns);
  fputs(",\"dur\":", file);
  put_microseconds(file, event->end_ns - event->begin_ns);
  fprintf(file, ",\"args\":{\"launch\":%u,\"variant\":%u,\"tasks\":%lld,\"nodes\":", event->launch,
          event->variant, (long long)event->tasks);
  put_string(file, event->nodes);
  fputs("}}", file);
}

tsr_status tsr_trace_flush(tsr_trace *trace) {
  for (uint32_t i = 0; i < trace->count; i++)
    put_event(trace, &trace->events[i]);
  trace->count = 0;
  return fflush(trace->file) != 0 || ferror(trace->file) ? TSR_ERR_IO : TSR_OK;
}

tsr_status tsr_trace_close(tsr_trace *trace) {
  tsr_status status = TSR_OK;
  if (trace->file == NULL)
    return TSR_OK;
  if (fputs("\n]\n", trace->file) < 0 || ferror(trace->file))
    status = TSR_ERR_IO;
  if (fclose(trace->file) != 0)
    status = TSR_ERR_IO;
  memset(trace, 0, sizeof *trace);
  return status;
}
