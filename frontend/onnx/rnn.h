/* RNN, GRU and LSTM: the cell, one step of one or both directions at once. */
#ifndef TSR_FRONTEND_ONNX_RNN_H
#define TSR_FRONTEND_ONNX_RNN_H
#include "frontend/onnx/repeat.h"

typedef enum tsr_rnn_kind { TSR_RNN = 0, TSR_GRU = 1, TSR_LSTM = 2 } tsr_rnn_kind;

typedef struct tsr_rnn_activation {
  const char *name;
  double alpha, beta;
} tsr_rnn_activation;

/* Inputs of DynamicQuantizeLSTM behind those of LSTM; zero points follow their scales. */
enum { RNN_W_SCALE = 8, RNN_R_SCALE = 10 };

/* Values have the directions as their first axis when there are two, and lack it when there is one;
 * D below. */
typedef struct tsr_rnn {
  tsr_lower *l;
  tsr_rnn_kind kind;
  uint32_t gates; /* blocks of rows in W, R and B */
  int64_t hidden, directions;
  bool backward;    /* the only direction is */
  bool batch_first; /* layout 1 */
  bool reset_late;  /* GRU: linear_before_reset */
  bool couples;     /* LSTM: input_forget */
  bool quantised;   /* DynamicQuantizeLSTM: weights are integers, states become them */
  double clip;      /* 0: none */
  tsr_expr steps, batch;
  tsr_value x;      /* [T, B, I] */
  tsr_value inputs; /* [T, D, B, gates * H], biases added; the second direction's steps backwards */
  tsr_value r;      /* [D, gates * H, H]; quantised [directions, H, gates * H] */
  tsr_value lengths;                    /* [B, 1], or 0 */
  tsr_value reset_bias;                 /* with reset_late: [D, 1, H] */
  tsr_value peepholes[3];               /* LSTM: [D, 1, H] each, of input, output, forget; or 0 */
  tsr_rnn_activation activations[2][3]; /* per direction: f, g, h */
} tsr_rnn;

/* The states after a step: `h` and `c` [D, B, H] are changed, `inputs` is [D, B, gates * H]. */
void tsr_rnn_step(const tsr_rnn *n, tsr_value inputs, tsr_value *h, tsr_value *c);
/* Names, in the order in which models give their parameters; TSR_ERR_UNSUPPORTED: unknown ones. */
TSR_WARN_UNUSED tsr_status tsr_rnn_read_activations(tsr_rnn *n);
/* DynamicQuantizeLSTM: x [.., K] rounded to 8 bits times `weights` [directions, K, N] of one
 * direction; their scales are input `scale`, [directions] or [directions, N], zero points the one
 * behind it. */
tsr_value tsr_rnn_quantised_product(const tsr_rnn *n, tsr_value x, tsr_value weights,
                                    uint32_t scale, int64_t direction);
/* Entry `at` of the first axis, which goes. */
tsr_value tsr_rnn_entry(tsr_lower *l, tsr_value x, int64_t at);
/* Block `gate` of the last axis. */
tsr_value tsr_rnn_block(const tsr_rnn *n, tsr_value x, int64_t gate);

#endif
