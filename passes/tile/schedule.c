#include "passes/tile/schedule.h"
#include <string.h>

static const tsr_knob_info knobs[] = {
#define NEST     TSR_KNOB_OF_NEST
#define CONTRACT TSR_KNOB_OF_CONTRACT
#define PROC     TSR_KNOB_OF_PROC
#define MMA      TSR_KNOB_OF_MMA
#define WGMMA    TSR_KNOB_OF_WGMMA
#define GROUP    TSR_KNOB_OF_GROUP
#define TSR_KNOB(name, text, least, greatest, strategies, meaning)                                 \
  {text, meaning, least, greatest, strategies},
#include "passes/tile/knobs.def"
#undef TSR_KNOB
#undef NEST
#undef CONTRACT
#undef PROC
#undef MMA
#undef WGMMA
#undef GROUP
};

static const char *const strategies[] = {"nest", "contract", "proc", "mma", "wgmma", "group"};
enum { STRATEGY_COUNT = sizeof strategies / sizeof *strategies };

const tsr_knob_info *tsr_knob_get(tsr_knob knob) {
  return &knobs[knob];
}

const char *tsr_strategy_text(tsr_strategy strategy) {
  return strategies[strategy];
}

bool tsr_schedule_equal(const tsr_schedule *a, const tsr_schedule *b) {
  return a->strategy == b->strategy && a->atom == b->atom &&
         memcmp(a->knobs, b->knobs, sizeof a->knobs) == 0;
}

static tsr_status fail_at(const tsr_op_data *op, tsr_diag *diag, const char *key,
                          const char *what) {
  tsr_fail(diag, TSR_ERR_ARGUMENT, "schedule @%s: '%s' %s", op->symbol != NULL ? op->symbol : "?",
           key, what);
  tsr_diag_set_position(diag, op->line, 0);
  return TSR_ERR_ARGUMENT;
}

static tsr_status read_strategy(const tsr_op_data *op, const tsr_attr *attr, tsr_diag *diag,
                                tsr_schedule *inout) {
  if (attr->kind != TSR_ATTR_STRING)
    return fail_at(op, diag, attr->key, "must be a text");
  for (unsigned i = 0; i < STRATEGY_COUNT; i++)
    if (strcmp(attr->u.string, strategies[i]) == 0) {
      inout->strategy = (tsr_strategy)i;
      return TSR_OK;
    }
  return fail_at(op, diag, attr->key,
                 "must be \"nest\", \"contract\", \"proc\", \"mma\", \"wgmma\" or \"group\"");
}

static tsr_status read_atom(const tsr_op_data *op, const tsr_attr *attr, tsr_diag *diag,
                            tsr_schedule *inout) {
  inout->atom = attr->kind == TSR_ATTR_STRING ? tsr_atom_find(attr->u.string) : NULL;
  return inout->atom != NULL ? TSR_OK : fail_at(op, diag, attr->key, "names no atom of atoms.def");
}

static bool has_atom(const tsr_schedule *schedule) {
  return schedule->strategy == TSR_STRATEGY_CONTRACT || schedule->strategy == TSR_STRATEGY_MMA ||
         schedule->strategy == TSR_STRATEGY_WGMMA;
}

static tsr_status read_knob(const tsr_op_data *op, const tsr_attr *attr, tsr_diag *diag,
                            tsr_schedule *inout) {
  for (unsigned i = 0; i < TSR_KNOB_COUNT; i++) {
    if (strcmp(knobs[i].text, attr->key) != 0)
      continue;
    if (attr->kind != TSR_ATTR_INT)
      return fail_at(op, diag, attr->key, "must be an integer");
    if (attr->u.integer < knobs[i].least || attr->u.integer > knobs[i].greatest)
      return fail_at(op, diag, attr->key, "is out of range");
    inout->knobs[i] = attr->u.integer;
    return TSR_OK;
  }
  return fail_at(op, diag, attr->key, "is not a knob");
}

tsr_status tsr_schedule_read(const tsr_ir *ir, tsr_op op, tsr_diag *diag, tsr_schedule *inout) {
  const tsr_op_data *data = tsr_op_get(ir, op);
  const tsr_strategy before = inout->strategy;
  for (uint32_t i = 0; i < data->attr_count; i++) {
    const tsr_attr *attr = &data->attrs[i];
    if (strcmp(attr->key, "strategy") == 0)
      TSR_TRY(read_strategy(data, attr, diag, inout));
    else if (strcmp(attr->key, "atom") == 0)
      TSR_TRY(read_atom(data, attr, diag, inout));
    else
      TSR_TRY(read_knob(data, attr, diag, inout));
  }
  const bool names_none = tsr_op_attr(ir, op, "atom") == NULL;
  const bool says_strategy = tsr_op_attr(ir, op, "strategy") != NULL;
  const bool on_cpu = inout->strategy == TSR_STRATEGY_CONTRACT;
  if (names_none &&
      (!has_atom(inout) || (on_cpu && (says_strategy || before != TSR_STRATEGY_CONTRACT))))
    inout->atom = NULL; /* of the strategy that it would have had */
  if (on_cpu && inout->atom != NULL && inout->atom->k == 1 && inout->atom->parts == 1)
    inout->atom = NULL; /* multiply-adds of the sum's own type */
  if (!has_atom(inout) && inout->atom != NULL)
    return fail_at(data, diag, "atom", "is no knob of this strategy");
  for (unsigned i = 0; i < TSR_KNOB_COUNT; i++)
    if ((knobs[i].strategies & 1u << inout->strategy) == 0 &&
        tsr_op_attr(ir, op, knobs[i].text) != NULL)
      return fail_at(data, diag, knobs[i].text, "is no knob of this strategy");
  return TSR_OK;
}

/* A knob below its least value is not in use on this target. */
void tsr_schedule_write(tsr_ir *ir, tsr_op op, const tsr_schedule *schedule) {
  tsr_op_set_string(ir, op, "strategy", strategies[schedule->strategy]);
  if (schedule->atom != NULL)
    tsr_op_set_string(ir, op, "atom", schedule->atom->text);
  for (unsigned i = 0; i < TSR_KNOB_COUNT; i++)
    if ((knobs[i].strategies & 1u << schedule->strategy) != 0 &&
        schedule->knobs[i] >= knobs[i].least)
      tsr_op_set_int(ir, op, knobs[i].text, schedule->knobs[i]);
}
