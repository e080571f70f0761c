/* Text IR: whatever is accepted prints to text that is accepted again and prints the same; verified
 * text stays verified. */
#include "ir/ir.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool fine, const char *what, const char *text) {
  if (fine)
    return;
  fprintf(stderr, "%s\n%s\n", what, text == NULL ? "" : text);
  abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const tsr_allocator *allocator = tsr_allocator_default();
  tsr_diag diag;
  tsr_ir *first, *second;
  tsr_diag_clear(&diag);
  tsr_status status = tsr_ir_parse(allocator, (const char *)data, size, "input.tsr", &diag, &first);
  if (status != TSR_OK) {
    demand(diag.message[0] != '\0' && first == NULL, "an error without a message", NULL);
    return 0;
  }
  char *text = tsr_ir_print(first, tsr_ir_arena(first));
  demand(text != NULL, "no text", NULL);
  tsr_diag_clear(&diag);
  status = tsr_ir_parse(allocator, text, strlen(text), "printed.tsr", &diag, &second);
  demand(status == TSR_OK, diag.message, text);
  char *again = tsr_ir_print(second, tsr_ir_arena(second));
  demand(again != NULL && strcmp(text, again) == 0, "printing again differs", text);
  tsr_diag_clear(&diag);
  status = tsr_ir_verify(first, &diag);
  demand(status == TSR_OK || diag.message[0] != '\0', "refused without a message", text);
  tsr_diag_clear(&diag);
  demand(status == tsr_ir_verify(second, &diag), "the verifier's answer changed", text);
  TSR_FOR_EACH_OP (first, tsr_ir_top(first), op) {
    tsr_op other = tsr_region_get(second, tsr_ir_top(second))->first;
    for (tsr_op at = tsr_region_get(first, tsr_ir_top(first))->first; at != op;
         at = tsr_op_get(first, at)->next)
      other = tsr_op_get(second, other)->next;
    if (status == TSR_OK)
      demand(tsr_op_workload_hash(first, op) == tsr_op_workload_hash(second, other),
             "the workload hash changed", text);
  }
  tsr_ir_destroy(second);
  tsr_ir_destroy(first);
  return 0;
}
