#include "runtime/diag.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void tsr_diag_clear(tsr_diag *diag) {
  if (diag != NULL)
    memset(diag, 0, sizeof *diag);
}

tsr_status tsr_fail(tsr_diag *diag, tsr_status status, const char *format, ...) {
  va_list arguments;
  if (diag == NULL || diag->status != TSR_OK)
    return status;
  diag->status = status;
  va_start(arguments, format);
  (void)vsnprintf(diag->message, sizeof diag->message, format, arguments);
  va_end(arguments);
  return status;
}

static void fill_if_empty(char *field, size_t size, const char *text) {
  if (field[0] == '\0' && text != NULL)
    (void)snprintf(field, size, "%s", text);
}

void tsr_diag_set_file(tsr_diag *diag, const char *file) {
  if (diag != NULL)
    fill_if_empty(diag->file, sizeof diag->file, file);
}

void tsr_diag_set_node(tsr_diag *diag, const char *node, const char *op) {
  if (diag == NULL)
    return;
  fill_if_empty(diag->node, sizeof diag->node, node);
  fill_if_empty(diag->op, sizeof diag->op, op);
}

void tsr_diag_set_position(tsr_diag *diag, uint32_t line, uint32_t column) {
  if (diag == NULL || diag->line != 0)
    return;
  diag->line = line;
  diag->column = column;
}

typedef struct text_out {
  char *at;
  size_t left; /* including the terminator */
} text_out;

static void put(text_out *out, const char *format, ...) TSR_PRINTF(2, 3);

static void put(text_out *out, const char *format, ...) {
  va_list arguments;
  int length;
  va_start(arguments, format);
  length = vsnprintf(out->at, out->left, format, arguments);
  va_end(arguments);
  if (length < 0)
    return;
  if ((size_t)length >= out->left)
    length = (int)(out->left - 1);
  out->at += length;
  out->left -= (size_t)length;
}

/* Names come from files: what would break the line or talk to a terminal becomes '?'. */
static void replace_controls(char *text) {
  for (; *text != '\0'; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f)
      *text = '?';
}

void tsr_diag_format(const tsr_diag *diag, char *text, uint32_t text_size) {
  text_out out = {text, text_size};
  if (text_size == 0)
    return;
  text[0] = '\0';
  if (diag == NULL)
    return;
  if (diag->file[0] != '\0')
    put(&out, "%s:", diag->file);
  if (diag->line != 0)
    put(&out, "%u:", diag->line);
  if (diag->line != 0 && diag->column != 0)
    put(&out, "%u:", diag->column);
  if (diag->file[0] != '\0' || diag->line != 0)
    put(&out, " ");
  if (diag->node[0] != '\0')
    put(&out, "node '%s'", diag->node);
  if (diag->op[0] != '\0')
    put(&out, "%s(%s)", diag->node[0] != '\0' ? " " : "", diag->op);
  if (diag->node[0] != '\0' || diag->op[0] != '\0')
    put(&out, ": ");
  put(&out, "%s", diag->message[0] != '\0' ? diag->message : tsr_status_text(diag->status));
  replace_controls(text);
}
