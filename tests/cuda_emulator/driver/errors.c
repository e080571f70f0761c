/* Errors, and what is said about them on standard error: a real driver says nothing. */
#include "tests/cuda_emulator/driver/state.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  tsr_cu_result number;
  const char *name, *text;
} errors[] = {{0, "CUDA_SUCCESS", "no error"},
#define ROW(name, number, text) {number, "CUDA_ERROR_" #name, text},
              EMULATED_ERROR_LIST(ROW)
#undef ROW
};

static void say(const char *text) {
  fprintf(stderr, "emulated CUDA driver: %s\n", text);
}

tsr_cu_result refuse(tsr_cu_result error, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  say(text);
  return error;
}

/* The finding stands behind the text of LAUNCH_FAILED from now on. */
void keep_finding(const char *text) {
  say(text);
  snprintf(the_driver.finding, sizeof(the_driver.finding), "unspecified launch failure: %s", text);
}

EXPORT tsr_cu_result cuGetErrorName(tsr_cu_result error, const char **text) {
  for (size_t i = 0; text && i < sizeof(errors) / sizeof(*errors); ++i)
    if (errors[i].number == error) {
      *text = errors[i].name;
      return 0;
    }
  return EMULATED_INVALID_VALUE;
}

EXPORT tsr_cu_result cuGetErrorString(tsr_cu_result error, const char **text) {
  if (text && error == EMULATED_LAUNCH_FAILED && the_driver.finding[0]) {
    *text = the_driver.finding;
    return 0;
  }
  for (size_t i = 0; text && i < sizeof(errors) / sizeof(*errors); ++i)
    if (errors[i].number == error) {
      *text = errors[i].text;
      return 0;
    }
  return EMULATED_INVALID_VALUE;
}
