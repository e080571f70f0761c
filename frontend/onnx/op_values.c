/* Strings, sequences and optionals at operators: op_values.def. */
#include "frontend/onnx/op_values.h"
#include <stdio.h>
#include <string.h>

typedef struct values_row {
  const char *domain, *name;
  uint32_t lists, texts, out;
} values_row;

#define OWN_OUTPUTS 0x80000000u

#define VALUES(domain, name, lists, texts, out) {domain, #name, lists, texts, out},
static const values_row rows[] = {
#include "frontend/onnx/op_values.def"
};
#undef VALUES

static const values_row *find(const tsr_onnx_op *op) {
  static const values_row none = {0};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(rows[i].name, op->name) == 0 && strcmp(rows[i].domain, op->domain) == 0)
      return &rows[i];
  return &none;
}

static bool in_set(uint32_t set, uint32_t number) {
  return (set >> (number < 30 ? number : 30) & 1) != 0;
}

bool tsr_op_takes(const tsr_lower *l, char *out_why, size_t size) {
  const values_row *row = NULL;
  bool any_text = false;
  for (uint32_t i = 0; i < l->in_count; i++) {
    const tsr_imported *x = l->in[i];
    bool list = x && x->kind != TSR_IMPORTED_TENSOR;
    if (!x || (!list && !x->text))
      continue;
    row = row ? row : find(l->row);
    any_text |= x->text;
    if (list && !in_set(row->lists, i)) {
      snprintf(out_why, size, "its input %u is %s", i,
               x->kind == TSR_IMPORTED_MAYBE ? "an optional" : "a sequence");
      return false;
    }
    if (x->text && !in_set(row->texts, i)) {
      snprintf(out_why, size, "its input %u is of strings", i);
      return false;
    }
  }
  for (uint32_t i = 0; any_text && row->out != OWN_OUTPUTS && i < l->in_count; i++)
    if (l->in[i] && in_set(row->texts, i) && !l->in[i]->text) {
      snprintf(out_why, size, "some of its inputs are of strings and input %u is not", i);
      return false;
    }
  return true;
}

void tsr_op_mark_texts(const tsr_lower *l) {
  bool any_text = false;
  for (uint32_t i = 0; i < l->in_count && !any_text; i++)
    any_text = l->in[i] && l->in[i]->text;
  if (!any_text)
    return;
  const values_row *row = find(l->row);
  for (uint32_t i = 0; row->out != OWN_OUTPUTS && i < l->out_count; i++)
    if (l->out[i] && in_set(row->out, i))
      l->out[i]->text = true;
}
