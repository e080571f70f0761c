/* Windows and the discrete Fourier transform. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include "frontend/onnx/sizes.h"
#include <math.h>
#include <string.h>

/* Bounds what a transform's matrix takes. */
enum { MAX_LENGTH = 2048 };

static const double pi = 3.14159265358979323846;

/* a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N): `arg` 0 Hann, 1 Hamming, 2 Blackman; N is the size,
 * less 1 unless periodic. */
tsr_status tsr_lower_op_window(tsr_lower *l) {
  static const double rows[3][3] = {
      {0.5, 0.5, 0}, {25.0 / 46.0, 21.0 / 46.0, 0}, {0.42, 0.5, 0.08}};
  int64_t size, type = tsr_lower_int(l, "output_datatype", 1);
  tsr_dtype dtype = tsr_onnx_dtype(type);
  TSR_TRY(tsr_lower_need(l, 1));
  if (!tsr_lower_scalar_int(l, 0, &size))
    return tsr_lower_unknown(l, 0, "size");
  if (dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "output type %s", tsr_onnx_dtype_name(type));
  if (size < 0 || size > INT32_MAX)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "size %lld", (long long)size);
  const double *a = rows[l->arg];
  double period = (double)(tsr_lower_int(l, "periodic", 1) ? size : size - 1);
  tsr_expr dim = e_int(l, size);
  tsr_value at = v_cast(l, tsr_graph_iota(l->b, TSR_I64, &dim, 1, 0), TSR_F64);
  tsr_value angle = v_mul_number(l, at, 2 * pi / (period > 0 ? period : 1));
  tsr_value y = v_add_number(l, v_mul_number(l, v_cos(l, angle), -a[1]), a[0]);
  if (a[2] != 0)
    y = v_add(l, y, v_mul_number(l, v_cos(l, v_mul_number(l, angle, 2)), a[2]));
  tsr_lower_set(l, 0, v_cast(l, y, dtype));
  return TSR_OK;
}

/* fourier_matrix, computed in a run. */
static tsr_value symbolic_matrix(tsr_lower *l, tsr_dtype dtype, tsr_expr length,
                                 tsr_expr sample_count, tsr_expr bin_count, bool inverse,
                                 bool sine) {
  tsr_expr dims[2] = {sample_count, bin_count};
  tsr_value j = tsr_graph_iota(l->b, TSR_I64, dims, 2, 0),
            k = tsr_graph_iota(l->b, TSR_I64, dims, 2, 1);
  tsr_value n = tsr_graph_index(l->b, TSR_I64, length), wide = v_cast(l, n, TSR_F64);
  tsr_value reduced = v_binary(l, TSR_OP_MOD, v_mul(l, j, k), n);
  tsr_value angle = v_div(l, v_mul_number(l, v_cast(l, reduced, TSR_F64), 2 * pi), wide);
  tsr_value y = sine ? v_sin(l, angle) : v_cos(l, angle);
  if (sine && !inverse)
    y = v_neg(l, y);
  return v_cast(l, inverse ? v_div(l, y, wide) : y, dtype);
}

/* cos and -sin (or +sin) of 2 pi j k / n, [samples, bins]: the angle is reduced first, so that
 * large j k lose nothing. A constant where all three are known. */
static tsr_value fourier_matrix(tsr_lower *l, tsr_dtype dtype, tsr_expr length,
                                tsr_expr sample_count, tsr_expr bin_count, bool inverse,
                                bool sine) {
  int64_t n, samples, bins;
  if (!tsr_expr_is_int(l->ir, length, &n) || !tsr_expr_is_int(l->ir, sample_count, &samples) ||
      !tsr_expr_is_int(l->ir, bin_count, &bins))
    return symbolic_matrix(l, dtype, length, sample_count, bin_count, inverse, sine);
  double *numbers = tsr_lower_alloc(l, (uint64_t)(samples * bins), sizeof *numbers);
  for (int64_t j = 0; numbers && j < samples; j++)
    for (int64_t k = 0; k < bins; k++) {
      double angle = 2 * pi * (double)(j * k % n) / (double)n;
      double value = sine ? (inverse ? sin(angle) : -sin(angle)) : cos(angle);
      numbers[j * bins + k] = inverse ? value / (double)n : value;
    }
  if (!numbers)
    return 0;
  tsr_expr dims[2] = {sample_count, bin_count};
  tsr_value flat = v_vector_float(l, dtype, numbers, (uint32_t)(samples * bins));
  return v_reshape(l, flat, dims, 2);
}

typedef struct complex_value {
  tsr_value re, im; /* im 0: real */
} complex_value;

/* Splits the last axis (1 or 2 parts) off. */
static complex_value take_parts(tsr_lower *l, tsr_value x) {
  complex_value c = {0, 0};
  uint32_t last = v_rank(l, x) - 1;
  int64_t parts = 0;
  v_static_dim(l, x, last, &parts);
  tsr_expr dims[TSR_MAX_RANK], one = e_int(l, 1);
  for (uint32_t i = 0; i < last; i++)
    dims[i] = v_dim(l, x, i);
  c.re = v_reshape(l, v_slice_axis(l, x, last, e_int(l, 0), one), dims, last);
  if (parts == 2)
    c.im = v_reshape(l, v_slice_axis(l, x, last, one, one), dims, last);
  return c;
}

/* x with a last axis of 1 (real) or 2 (complex), as take_parts needs it. One that only a run knows
 * becomes 2: what is real has an imaginary part of zeros. */
static tsr_status known_parts(tsr_lower *l, tsr_value *x) {
  int64_t parts = 0;
  uint32_t last = v_rank(l, *x) - 1;
  tsr_expr dim = v_dim(l, *x, last);
  if (!v_static_dim(l, *x, last, &parts)) {
    tsr_expr either = e_max(l, e_int(l, 1), e_min(l, dim, e_int(l, 2)));
    tsr_graph_check(l->b, tsr_expr_binary(l->ir, TSR_INDEX_EQ, dim, either),
                    "the last axis is neither 1 nor 2");
    *x = v_fit_axis(l, *x, last, e_int(l, 2), 0);
  } else if (parts < 1 || parts > 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "a last axis of %lld, neither 1 nor 2",
                           (long long)parts);
  return TSR_OK;
}

static tsr_value join_parts(tsr_lower *l, tsr_value re, tsr_value im) {
  uint32_t rank = v_rank(l, re);
  tsr_value parts[2] = {v_unsqueeze(l, re, rank), v_unsqueeze(l, im, rank)};
  return tsr_graph_concat(l->b, parts, 2, rank);
}

/* x [..., samples] times the matrix. */
static tsr_value transform(tsr_lower *l, complex_value x, tsr_value cosines, tsr_value sines) {
  tsr_value re = v_matmul(l, x.re, cosines, false, false);
  tsr_value im = v_matmul(l, x.re, sines, false, false);
  if (x.im) {
    re = v_sub(l, re, v_matmul(l, x.im, sines, false, false));
    im = v_add(l, im, v_matmul(l, x.im, cosines, false, false));
  }
  return join_parts(l, re, im);
}

/* Multiplies [..., samples] of half a spectrum by how often the whole one has each of its bins. */
static tsr_value double_bins(tsr_lower *l, tsr_value x, tsr_expr length) {
  if (!x)
    return 0;
  tsr_expr samples = v_dim(l, x, v_rank(l, x) - 1);
  tsr_value k = tsr_graph_iota(l->b, TSR_I64, &samples, 1, 0),
            zero = tsr_graph_scalar_int(l->b, TSR_I64, 0);
  tsr_value middle = v_eq(l, v_add(l, k, k), tsr_graph_index(l->b, TSR_I64, length));
  tsr_value once = v_or(l, v_eq(l, k, zero), middle);
  return v_mul(l, x, v_select(l, once, v_number(l, x, 1), v_number(l, x, 2)));
}

/* A length that is an input: known, or read by the host; at least 1. */
static tsr_status read_length(tsr_lower *l, uint32_t input, const char *what, tsr_expr *out) {
  int64_t known;
  uint32_t count = 0;
  if (tsr_lower_scalar_int(l, input, &known)) {
    *out = e_int(l, known);
    return TSR_OK;
  }
  tsr_value counts = tsr_size_vector(l, input, &count);
  if (!counts || count != 1)
    return tsr_lower_unknown(l, input, what);
  tsr_value number = tsr_size_element(l, counts, 0);
  tsr_size_check(l, v_lt(l, number, v_i64(l, 1)), "the length is less than 1");
  *out = tsr_size_read(l, counts, 0, what, UINT32_MAX, 0);
  return TSR_OK;
}

tsr_status tsr_lower_op_dft(tsr_lower *l) {
  int64_t known, axis = tsr_lower_int(l, "axis", 1);
  uint32_t at;
  TSR_TRY(tsr_lower_need(l, 1));
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t rank = v_rank(l, x);
  bool inverse = tsr_lower_int(l, "inverse", 0) != 0, onesided = tsr_lower_int(l, "onesided", 0);
  if (l->opset >= 20) {
    axis = -2;
    if (tsr_lower_has(l, 2) && !tsr_lower_scalar_int(l, 2, &axis))
      return tsr_lower_unknown(l, 2, "axis");
  }
  if (rank < 2 || !tsr_lower_axis(axis, rank, &at) || at == rank - 1)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "axis %lld, rank %u", (long long)axis, rank);
  TSR_TRY(known_parts(l, &x));
  bool real = inverse && onesided; /* half a spectrum to a real signal */
  tsr_expr one = e_int(l, 1), n = v_dim(l, x, at);
  tsr_expr length = real ? tsr_expr_mul_int(l->ir, e_sub(l, n, one), 2) : n;
  if (tsr_lower_has(l, 1))
    TSR_TRY(read_length(l, 1, "dft_length", &length));
  if (tsr_expr_is_int(l->ir, length, &known) && (known < 1 || known > MAX_LENGTH))
    return tsr_lower_unsupported(l, "length %lld", (long long)known);
  tsr_expr half = e_add(l, tsr_expr_floordiv_int(l->ir, length, 2), one),
           most = real ? half : length;
  tsr_expr samples = e_min(l, n, most), bins = onesided && !real ? half : length;
  tsr_dtype dtype = v_dtype(l, x);
  tsr_value wide = v_slice_axis(l, v_widen(l, x), at, e_int(l, 0), samples);
  complex_value c = take_parts(l, v_move_axis(l, wide, at, rank - 2));
  if (real) {
    c.re = double_bins(l, c.re, length);
    c.im = double_bins(l, c.im, length);
  }
  tsr_dtype compute = v_dtype(l, wide);
  tsr_value cosines = fourier_matrix(l, compute, length, samples, bins, inverse, false);
  tsr_value sines = fourier_matrix(l, compute, length, samples, bins, inverse, true);
  tsr_value y = transform(l, c, cosines, sines);
  if (real)
    y = v_slice_axis(l, y, rank - 1, e_int(l, 0), e_int(l, 1));
  y = v_move_axis(l, y, rank - 2, at);
  tsr_lower_set(l, 0, v_cast(l, y, dtype));
  return TSR_OK;
}

/* Triangles over the bins of a spectrum whose corners are evenly spaced in mel. */
tsr_status tsr_lower_op_mel_weight_matrix(tsr_lower *l) {
  enum { MOST_BINS = 4096, MOST_NUMBERS = 1 << 22 };
  static const char *const names[] = {"num_mel_bins", "dft_length", "sample_rate",
                                      "lower_edge_hertz", "upper_edge_hertz"};
  double in[5], corners[3];
  int64_t type = tsr_lower_int(l, "output_datatype", 1);
  tsr_dtype dtype = tsr_onnx_dtype(type);
  TSR_TRY(tsr_lower_need(l, 5));
  for (uint32_t i = 0; i < 5; i++)
    if (!tsr_lower_scalar_float(l, i, &in[i]))
      return tsr_lower_unknown(l, i, names[i]);
  if (dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "output type %s", tsr_onnx_dtype_name(type));
  if (!(in[0] >= 1 && in[0] <= (double)MOST_BINS && in[1] >= 1 && in[1] <= 2 * (double)MOST_BINS &&
        in[2] > 0 && in[3] >= 0 && in[4] >= in[3]))
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%g mel bins, length %g, rate %g, %g to %g Hz", in[0],
                           in[1], in[2], in[3], in[4]);
  int64_t columns = (int64_t)in[0], rows = (int64_t)in[1] / 2 + 1;
  double low = 2595 * log10(1 + in[3] / 700), high = 2595 * log10(1 + in[4] / 700);
  double step = (high - low) / (double)(columns + 2);
  if (rows * columns > MOST_NUMBERS)
    return tsr_lower_unsupported(l, "%lld x %lld weights", (long long)rows, (long long)columns);
  double *numbers = tsr_lower_alloc(l, (uint64_t)(rows * columns), sizeof *numbers);
  if (!numbers)
    return TSR_OK;
  memset(numbers, 0, (size_t)(rows * columns) * sizeof *numbers);
  for (int64_t c = 0; c < columns; c++) {
    for (int64_t k = 0; k < 3; k++) {
      double hertz = 700 * (pow(10, ((double)(c + k) * step + low) / 2595) - 1);
      corners[k] = floor((in[1] + 1) * hertz / in[2]);
    }
    for (int64_t r = 0; r < rows; r++) {
      double at = (double)r, up = corners[1] - corners[0], down = corners[2] - corners[1];
      double *out = &numbers[r * columns + c];
      if (at >= corners[0] && at <= corners[1])
        *out = up == 0 ? 1 : (at - corners[0]) / up;
      if (down > 0 && at >= corners[1] && at < corners[2])
        *out = (corners[2] - at) / down;
    }
  }
  tsr_expr dims[2] = {e_int(l, rows), e_int(l, columns)};
  tsr_value y = v_vector_float(l, TSR_F64, numbers, (uint32_t)(rows * columns));
  tsr_lower_set(l, 0, v_cast(l, v_reshape(l, y, dims, 2), dtype));
  return TSR_OK;
}

/* Frames of the signal, read at [frame, place in it]: windowed, transformed. */
tsr_status tsr_lower_op_stft(tsr_lower *l) {
  int64_t n, step, length = 1;
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0);
  if (v_rank(l, x) == 2) /* not ONNX's text, but what ONNX Runtime takes for real signals */
    x = v_unsqueeze(l, x, 2);
  if (!tsr_lower_scalar_int(l, 1, &step))
    return tsr_lower_unknown(l, 1, "frame_step");
  if (v_rank(l, x) != 3)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "needs rank 3, not %u", v_rank(l, x));
  TSR_TRY(known_parts(l, &x));
  tsr_value wide = v_widen(l, x);
  tsr_value window = tsr_lower_has(l, 2) ? v_cast(l, tsr_lower_value(l, 2), v_dtype(l, wide)) : 0;
  if (tsr_lower_has(l, 3)) {
    if (!tsr_lower_scalar_int(l, 3, &length))
      return tsr_lower_unknown(l, 3, "frame_length");
  } else if (!window) {
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "neither window nor frame_length");
  }
  /* A window of a length that only a run knows is as long as its frames. */
  const bool fixed = tsr_lower_has(l, 3) || v_static_dim(l, window, 0, &length);
  length = fixed ? length : 1;
  bool onesided = tsr_lower_int(l, "onesided", 1) != 0;
  bool known = v_static_dim(l, x, 1, &n) && fixed;
  if (step < 1 || length < 1 || (known && length > n) || length > MAX_LENGTH)
    return tsr_lower_unsupported(l, "frames of %lld at steps of %lld", (long long)length,
                                 (long long)step);
  tsr_expr samples = v_dim(l, x, 1), count = fixed ? e_int(l, length) : v_dim(l, window, 0);
  tsr_expr bins = onesided ? e_add(l, tsr_expr_floordiv_int(l->ir, count, 2), e_int(l, 1)) : count;
  if (!known) {
    tsr_value has = tsr_graph_index(l->b, TSR_I64, samples);
    tsr_size_check(l, v_lt(l, has, tsr_graph_index(l->b, TSR_I64, count)),
                   "the signal is shorter than a frame");
  }
  tsr_expr frames =
      e_max(l, e_int(l, 0),
            e_add(l, tsr_expr_floordiv_int(l->ir, e_sub(l, samples, count), step), e_int(l, 1)));
  tsr_expr dims[2] = {frames, count};
  tsr_value start = v_mul(l, tsr_graph_iota(l->b, TSR_I64, dims, 2, 0), v_i64(l, step));
  tsr_value stack =
      tsr_graph_gather(l->b, wide, v_add(l, start, tsr_graph_iota(l->b, TSR_I64, dims, 2, 1)), 1);
  if (window)
    stack = v_mul(l, stack, v_along(l, window, 2, 4));
  tsr_dtype compute = v_dtype(l, wide);
  tsr_value cosines = fourier_matrix(l, compute, count, count, bins, false, false);
  tsr_value sines = fourier_matrix(l, compute, count, count, bins, false, true);
  tsr_value y = transform(l, take_parts(l, stack), cosines, sines);
  tsr_lower_set(l, 0, v_cast(l, y, v_dtype(l, x)));
  return TSR_OK;
}
