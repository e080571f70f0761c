/* What `run --state IN=OUT --steps N` does between the steps: output OUT becomes input IN. */
#ifndef TSR_FRONTEND_CLI_STATE_H
#define TSR_FRONTEND_CLI_STATE_H
#include "frontend/cli/session.h"

/* One --state. Where IN holds integers and OUT floats, IN gets a choice instead: the position of
 * the largest element along the last axis, at the last place of the axis before it: [B, S, V] gives
 * [B, 1], [B, V] gives [B]. */
typedef struct tsr_cli_state {
  uint32_t input, output;
  bool choice;
  bool in_place; /* declared by --alias: the output is bound to the input's memory */
} tsr_cli_state;

typedef struct tsr_cli_states {
  tsr_cli_state *items;
  uint32_t count;
} tsr_cli_states;

/* Reads the options of the session and binds what is updated in place. `end` in any case. */
TSR_WARN_UNUSED tsr_status tsr_cli_states_begin(tsr_cli_session *session,
                                                tsr_cli_states *out_states);
void tsr_cli_states_end(tsr_cli_states *states);
/* After step number `step` (from 1): prints the choices, and unless it was the last step, makes the
 * outputs inputs. */
TSR_WARN_UNUSED tsr_status tsr_cli_states_next(tsr_cli_session *session,
                                               const tsr_cli_states *states, uint64_t step,
                                               bool last);
#endif
