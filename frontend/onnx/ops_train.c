/* One step of an optimiser (ai.onnx.preview.training): for each tensor its gradient and state. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"

typedef struct step {
  tsr_lower *l;
  uint32_t count;         /* of tensors */
  tsr_value rate, number; /* R, and T as R's dtype */
  tsr_value begun;        /* T > 0 */
} step;

/* Inputs R, T, then `groups` groups of `count` tensors; outputs one group less. */
static tsr_status begin(tsr_lower *l, uint32_t groups, step *out) {
  *out = (step){.l = l};
  TSR_TRY(tsr_lower_need(l, l->in_count));
  if (l->in_count < 2 + groups || (l->in_count - 2) % groups != 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "%u inputs", l->in_count);
  out->count = (l->in_count - 2) / groups;
  if (l->out_count > out->count * (groups - 1))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "%u outputs", l->out_count);
  out->rate = v_to_scalar(l, tsr_lower_value(l, 0));
  tsr_value number = v_to_scalar(l, tsr_lower_value(l, 1));
  out->begun = v_gt(l, number, v_number(l, number, 0));
  out->number = v_cast(l, number, v_dtype(l, out->rate));
  return TSR_OK;
}

static tsr_value given(const step *s, uint32_t group, uint32_t i) {
  return tsr_lower_value(s->l, 2 + group * s->count + i);
}

static void give(const step *s, uint32_t group, uint32_t i, tsr_value value) {
  tsr_lower_set(s->l, group * s->count + i, value);
}

static double attr(const step *s, const char *name, float otherwise) {
  return (double)tsr_lower_float(s->l, name, otherwise);
}

/* The gradient with that of the norm of x. */
static tsr_value gradient(const step *s, tsr_value x, uint32_t i) {
  double norm = attr(s, "norm_coefficient", 0);
  tsr_value g = given(s, 1, i);
  return norm == 0 ? g : v_add(s->l, g, v_mul_number(s->l, x, norm));
}

/* a * x + b * y */
static tsr_value mix(const step *s, double a, tsr_value x, double b, tsr_value y) {
  return v_add(s->l, v_mul_number(s->l, x, a), v_mul_number(s->l, y, b));
}

static tsr_value minus_scaled(const step *s, tsr_value x, tsr_value rate, tsr_value by) {
  return v_sub(s->l, x, v_mul(s->l, v_cast(s->l, rate, v_dtype(s->l, x)), by));
}

tsr_status tsr_lower_op_adagrad(tsr_lower *l) {
  step s;
  TSR_TRY(begin(l, 3, &s));
  double decay = attr(&s, "decay_factor", 0), epsilon = attr(&s, "epsilon", 1e-6f);
  tsr_value slower = v_add_number(l, v_mul_number(l, s.number, decay), 1);
  tsr_value rate = v_div(l, s.rate, slower);
  for (uint32_t i = 0; i < s.count; i++) {
    tsr_value x = given(&s, 0, i), g = gradient(&s, x, i);
    tsr_value h = v_add(l, given(&s, 2, i), v_mul(l, g, g));
    tsr_value by = v_div(l, g, v_add_number(l, v_sqrt(l, h), epsilon));
    give(&s, 0, i, minus_scaled(&s, x, rate, by));
    give(&s, 1, i, h);
  }
  return TSR_OK;
}

/* The rate makes up for the averages' start at 0: R sqrt(1 - beta^T) / (1 - alpha^T). */
static tsr_value adam_rate(const step *s, double alpha, double beta) {
  tsr_lower *l = s->l;
  tsr_value one = v_number(l, s->rate, 1);
  tsr_value slow = v_sub(l, one, v_pow(l, v_number(l, s->rate, beta), s->number));
  tsr_value fast = v_sub(l, one, v_pow(l, v_number(l, s->rate, alpha), s->number));
  return v_select(l, s->begun, v_div(l, v_mul(l, s->rate, v_sqrt(l, slow)), fast), s->rate);
}

tsr_status tsr_lower_op_adam(tsr_lower *l) {
  step s;
  TSR_TRY(begin(l, 4, &s));
  double alpha = attr(&s, "alpha", 0.9f), beta = attr(&s, "beta", 0.999f);
  double epsilon = attr(&s, "epsilon", 1e-6f), post = attr(&s, "norm_coefficient_post", 0);
  tsr_value rate = adam_rate(&s, alpha, beta);
  for (uint32_t i = 0; i < s.count; i++) {
    tsr_value x = given(&s, 0, i), g = gradient(&s, x, i);
    tsr_value v = mix(&s, alpha, given(&s, 2, i), 1 - alpha, g);
    tsr_value h = mix(&s, beta, given(&s, 3, i), 1 - beta, v_mul(l, g, g));
    tsr_value by = v_div(l, v, v_add_number(l, v_sqrt(l, h), epsilon));
    tsr_value y = minus_scaled(&s, x, rate, by);
    give(&s, 0, i, post == 0 ? y : v_mul_number(l, y, 1 - post));
    give(&s, 1, i, v);
    give(&s, 2, i, h);
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_momentum(tsr_lower *l) {
  step s;
  TSR_TRY(begin(l, 3, &s));
  double alpha = attr(&s, "alpha", 0), beta = attr(&s, "beta", 0);
  bool nesterov = tsr_lower_text_is(l, "mode", "standard", "nesterov");
  if (!nesterov && !tsr_lower_text_is(l, "mode", "standard", "standard"))
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "mode '%s'", tsr_lower_text(l, "mode", ""));
  for (uint32_t i = 0; i < s.count; i++) {
    tsr_value x = given(&s, 0, i), g = gradient(&s, x, i);
    tsr_value by = v_select(l, s.begun, v_mul_number(l, g, beta), g);
    tsr_value v = v_add(l, v_mul_number(l, given(&s, 2, i), alpha), by);
    if (nesterov)
      by = v_add(l, g, v_mul_number(l, v, alpha));
    give(&s, 0, i, minus_scaled(&s, x, s.rate, nesterov ? by : v));
    give(&s, 1, i, v);
  }
  return TSR_OK;
}
