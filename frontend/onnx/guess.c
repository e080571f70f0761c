/* Guesses about what decides a rank: an If whose branches make results of different ranks, a
 * Squeeze of whatever is 1. Most models are right for one case only, and often that is the rare
 * one: an export keeps the branch for a window of one step and for any other, behind which nothing
 * fits. */
#include "frontend/onnx/importer.h"

static bool is_turned(tsr_guesses *g, const tsr_onnx_node *node, uint32_t which) {
  for (uint32_t i = 0; i < g->count; i++)
    if (g->items[i].node == node && g->items[i].which == which)
      return g->items[i].turned;
  if (g->count < TSR_IMPORT_GUESS_LIMIT)
    g->items[g->count++] = (tsr_guess){node, which, false};
  return false;
}

bool tsr_lower_guess(tsr_lower *l, uint32_t which, tsr_expr condition, bool usual) {
  bool truth = usual != is_turned(l->importer->guesses, l->node, which);
  tsr_expr holds =
      truth ? condition : tsr_expr_binary(l->ir, TSR_INDEX_EQ, condition, tsr_expr_int(l->ir, 0));
  tsr_graph_check(l->b, holds,
                  "for these sizes its result has another rank than the program was made for, "
                  "which takes --dim NAME=N when compiling");
  return truth;
}

/* The latest guess that was not yet turned is; what was asked after it is open again. */
bool tsr_guesses_next(tsr_guesses *g) {
  while (g->count > 0 && g->items[g->count - 1].turned)
    g->count--;
  if (g->count > 0)
    g->items[g->count - 1].turned = true;
  return g->count > 0;
}
