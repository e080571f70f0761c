/* Matrix products and Einstein sums. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <string.h>

tsr_status tsr_lower_op_matmul(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value x = tsr_lower_value(l, 0), y = tsr_lower_value(l, 1);
  tsr_dtype dtype = v_dtype(l, x);
  tsr_lower_set(l, 0, v_cast(l, v_matmul(l, x, y, false, false), dtype));
  return TSR_OK;
}

/* alpha * A' * B' + beta * C. */
tsr_status tsr_lower_op_gemm(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_value a = tsr_lower_value(l, 0), b = tsr_lower_value(l, 1);
  double alpha = (double)tsr_lower_float(l, "alpha", 1),
         beta = (double)tsr_lower_float(l, "beta", 1);
  if (v_rank(l, a) != 2 || v_rank(l, b) != 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "operands of rank %u and %u", v_rank(l, a),
                           v_rank(l, b));
  tsr_value y =
      v_matmul(l, a, b, tsr_lower_int(l, "transA", 0) != 0, tsr_lower_int(l, "transB", 0) != 0);
  if (alpha != 1)
    y = v_mul_number(l, y, alpha);
  if (tsr_lower_has(l, 2) && beta != 0) {
    tsr_value c = tsr_lower_value(l, 2);
    y = v_add(l, y, beta == 1 ? c : v_mul_number(l, c, beta));
  }
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* --- Einsum: pairs of operands from the left --- */

typedef struct term {
  tsr_value x;
  char letters[TSR_MAX_RANK + 1];
} term;

static bool contains(const char *letters, char letter) {
  return strchr(letters, letter) != NULL;
}

/* Letters of one operand; "..." stands for as many axes as are left, named from `dots` (the last
 * ones of it). Capital letters come after the small ones are taken: refused. */
static bool read_letters(const char *text, size_t length, uint32_t rank, const char *dots,
                         char *out) {
  uint32_t named = 0, n = 0;
  bool has_dots = false;
  for (size_t i = 0; i < length; i++) {
    named += text[i] >= 'a' && text[i] <= 'z';
    has_dots |= text[i] == '.';
  }
  if (named > rank || (!has_dots && named != rank))
    return false;
  uint32_t spread = rank - named;
  for (size_t i = 0; i < length; i++) {
    if (text[i] == '.') {
      for (uint32_t k = 0; k < spread && has_dots; k++)
        out[n++] = dots[strlen(dots) - spread + k];
      has_dots = false;
    } else if (text[i] >= 'a' && text[i] <= 'z')
      out[n++] = text[i];
    else if (text[i] != ' ')
      return false;
  }
  out[n] = '\0';
  return true;
}

/* Takes the diagonal of every repeated letter: a mask and a sum over the second axis. */
static term diagonal(tsr_lower *l, term t) {
  for (uint32_t i = 0; t.letters[i]; i++)
    for (uint32_t k = i + 1; t.letters[k]; k++)
      if (t.letters[i] == t.letters[k] && t.x) {
        uint32_t rank = v_rank(l, t.x);
        const tsr_expr *dims = v_type(l, t.x)->dims;
        tsr_value same = v_eq(l, tsr_graph_iota(l->b, TSR_I64, dims, rank, i),
                              tsr_graph_iota(l->b, TSR_I64, dims, rank, k));
        int64_t axis = k;
        t.x = v_select(l, same, t.x, v_number(l, t.x, 0));
        t.x = tsr_graph_reduce(l->b, t.x, "add", &axis, 1);
        memmove(t.letters + k, t.letters + k + 1, strlen(t.letters + k));
        k--;
      }
  return t;
}

/* Sums away the letters that neither `rest` nor the result needs. */
static term sum_letters(tsr_lower *l, term t, const char *needed) {
  int64_t axes[TSR_MAX_RANK];
  uint32_t count = 0, kept = 0;
  for (uint32_t i = 0; t.letters[i]; i++) {
    if (!contains(needed, t.letters[i]))
      axes[count++] = i;
    else
      t.letters[kept++] = t.letters[i];
  }
  t.letters[kept] = '\0';
  if (count > 0)
    t.x = tsr_graph_reduce(l->b, t.x, "add", axes, count);
  return t;
}

/* An axis of extent 1 against a larger one broadcasts: it loses its letter. */
static term drop_broadcast(tsr_lower *l, term t, term other) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t kept = 0;
  for (uint32_t i = 0; t.letters[i]; i++) {
    const char *there = strchr(other.letters, t.letters[i]);
    tsr_expr dim = v_dim(l, t.x, i);
    bool drop = there && tsr_expr_equals_int(l->ir, dim, 1) &&
                v_dim(l, other.x, (uint32_t)(there - other.letters)) != dim;
    if (drop)
      continue;
    t.letters[kept] = t.letters[i];
    dims[kept++] = dim;
  }
  t.letters[kept] = '\0';
  t.x = v_reshape(l, t.x, dims, kept);
  return t;
}

static term contract_pair(tsr_lower *l, term a, term b, const char *needed) {
  char spec[3 * TSR_MAX_RANK + 8] = "";
  term both = {0, ""};
  uint32_t n = 0;
  term x = drop_broadcast(l, a, b), y = drop_broadcast(l, b, a);
  for (const char *c = x.letters; *c; c++)
    if (contains(needed, *c))
      both.letters[n++] = *c;
  for (const char *c = y.letters; *c && n < TSR_MAX_RANK; c++)
    if (contains(needed, *c) && !contains(x.letters, *c))
      both.letters[n++] = *c;
  both.letters[n] = '\0';
  strcat(strcat(strcat(spec, x.letters), ","), y.letters);
  strcat(strcat(spec, "->"), both.letters);
  both.x = tsr_graph_einsum(l->b, spec, x.x, y.x);
  return both;
}

typedef struct equation {
  const char *inputs[16];
  size_t lengths[16];
  uint32_t count;
  const char *output; /* NULL: implied */
} equation;

static bool split_equation(const char *text, equation *out) {
  memset(out, 0, sizeof *out);
  const char *arrow = strstr(text, "->");
  const char *end = arrow ? arrow : text + strlen(text);
  out->output = arrow ? arrow + 2 : NULL;
  for (const char *at = text; out->count < 16;) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    const char *stop = comma ? comma : end;
    out->inputs[out->count] = at;
    out->lengths[out->count++] = (size_t)(stop - at);
    if (!comma)
      return true;
    at = comma + 1;
  }
  return false;
}

/* Without "->" the result has the dots, then the letters that occur once, in order. */
static void implied_output(const term *terms, uint32_t count, const char *dots, char *out) {
  uint32_t seen[128] = {0}, n = 0;
  for (uint32_t i = 0; i < count; i++)
    for (const char *c = terms[i].letters; *c; c++)
      seen[(unsigned char)*c]++;
  for (const char *c = dots; *c; c++)
    out[n++] = *c;
  for (unsigned c = 'a'; c <= 'z'; c++)
    if (seen[c] == 1 && n < TSR_MAX_RANK)
      out[n++] = (char)c;
  out[n] = '\0';
}

/* Names for the axes that "..." stands for: letters of the end of the alphabet that nobody uses. */
static bool name_dots(const char *text, uint32_t most, char *dots) {
  uint32_t n = 0;
  for (char c = 'z'; c >= 'a' && n < most; c--)
    if (!contains(text, c))
      dots[n++] = c;
  dots[n] = '\0';
  return n == most;
}

static tsr_value arrange(tsr_lower *l, term t, const char *output) {
  int64_t perm[TSR_MAX_RANK];
  uint32_t n = 0;
  for (const char *c = output; *c; c++) {
    const char *at = strchr(t.letters, *c);
    if (!at)
      return 0;
    perm[n++] = at - t.letters;
  }
  bool moves = false;
  for (uint32_t i = 0; i < n; i++)
    moves |= perm[i] != i;
  return moves ? tsr_graph_transpose(l->b, t.x, perm) : t.x;
}

static tsr_status read_terms(tsr_lower *l, const equation *e, const char *dots, term *terms) {
  for (uint32_t i = 0; i < e->count; i++) {
    terms[i].x = tsr_lower_value(l, i);
    if (!read_letters(e->inputs[i], e->lengths[i], v_rank(l, terms[i].x), dots, terms[i].letters))
      return tsr_lower_wrong(l, TSR_ERR_SHAPE, "the equation does not fit input %u of rank %u", i,
                             v_rank(l, terms[i].x));
    terms[i] = diagonal(l, terms[i]);
  }
  return TSR_OK;
}

tsr_status tsr_lower_op_einsum(tsr_lower *l) {
  equation e;
  term terms[16];
  char dots[TSR_MAX_RANK + 1], output[2 * TSR_MAX_RANK + 1], needed[16 * TSR_MAX_RANK + 64];
  const char *text = tsr_lower_text(l, "equation", "");
  TSR_TRY(tsr_lower_need(l, l->in_count > 0 ? l->in_count : 1));
  uint32_t most = 0;
  if (!split_equation(text, &e) || e.count != l->in_count)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "equation '%s' for %u inputs", text, l->in_count);
  for (uint32_t i = 0; i < e.count; i++) {
    uint32_t rank = l->in[i]->rank, named = 0;
    for (size_t k = 0; k < e.lengths[i]; k++)
      named += e.inputs[i][k] >= 'a' && e.inputs[i][k] <= 'z';
    if (memchr(e.inputs[i], '.', e.lengths[i]) && rank > named && rank - named > most)
      most = rank - named;
  }
  if (!name_dots(text, most, dots))
    return tsr_lower_unsupported(l, "equation '%s' uses too many letters", text);
  TSR_TRY(read_terms(l, &e, dots, terms));
  if (!e.output)
    implied_output(terms, e.count, dots, output);
  else {
    size_t length = strlen(e.output), named = 0;
    for (size_t i = 0; i < length; i++)
      named += e.output[i] >= 'a' && e.output[i] <= 'z';
    uint32_t rank = (uint32_t)named + (contains(e.output, '.') ? most : 0);
    if (rank > TSR_MAX_RANK || !read_letters(e.output, length, rank, dots, output))
      return tsr_lower_unsupported(l, "equation '%s'", text);
  }
  term all = terms[0];
  for (uint32_t i = 0; i < e.count; i++) {
    strcpy(needed, output);
    for (uint32_t k = i + 1; k < e.count; k++)
      strcat(needed, terms[k].letters);
    all = i == 0 ? all : contract_pair(l, all, terms[i], needed);
    all = sum_letters(l, all, needed);
  }
  tsr_value y = arrange(l, all, output);
  if (!y && tsr_ir_status(l->ir) == TSR_OK)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "equation '%s': the result has an unknown axis", text);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}
