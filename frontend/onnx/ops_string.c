/* Strings. In the graph they are i64 numbers of texts; what must see letters is done by the host
 * (ops text_..), looking texts up is arithmetic on numbers. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/op_table.h"
#include "runtime/float_convert.h"
#include <stdio.h>
#include <string.h>

tsr_dtype tsr_onnx_element(int64_t data_type, bool *out_text) {
  *out_text = data_type == TSR_ONNX_STRING_DATA;
  return *out_text ? TSR_I64 : tsr_onnx_dtype(data_type);
}

int64_t tsr_text_number(tsr_importer *im, const char *text, uint64_t length) {
  int64_t number;
  if (length > 0 && memchr(text, 0, (size_t)length)) {
    (void)tsr_ir_poison(im->ir, TSR_ERR_UNSUPPORTED, "a string of the model holds a zero byte");
    return -1;
  }
  tsr_status status = tsr_texts_number(im->texts, length > 0 ? text : "", (size_t)length, &number);
  if (status != TSR_OK) {
    (void)tsr_ir_poison(im->ir, status, "no room for the strings of the model");
    return -1;
  }
  return number;
}

const int64_t *tsr_lower_text_numbers(tsr_lower *l, const char *name, uint32_t *out_count) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, name);
  *out_count = 0;
  if (!a || a->type != TSR_ONNX_STRINGS)
    return NULL;
  int64_t *numbers = tsr_lower_alloc(l, a->strings.count + 1, sizeof *numbers);
  for (uint64_t i = 0; numbers && i < a->strings.count; i++)
    numbers[i] = tsr_text_number(l->importer, a->strings.items[i].data, a->strings.items[i].size);
  *out_count = (uint32_t)a->strings.count;
  return numbers;
}

static void set_text(tsr_lower *l, uint32_t output, tsr_value value) {
  tsr_lower_set(l, output, value);
  if (value && output < l->out_count && l->out[output])
    l->out[output]->text = true;
}

static tsr_status need_text(tsr_lower *l, uint32_t input) {
  if (!tsr_lower_is_text(l, input))
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "input %u is not of strings", input);
  return TSR_OK;
}

/* An attribute's text, which the IR keeps as a terminated one. */
static tsr_status text_attr(tsr_lower *l, const char *name, const char *otherwise,
                            const char **out) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, name);
  *out = tsr_lower_text(l, name, otherwise);
  if (a && a->type == TSR_ONNX_STRING && a->s.size > 0 && memchr(a->s.data, 0, (size_t)a->s.size))
    return tsr_lower_unsupported(l, "a zero byte in %s", name);
  return TSR_OK;
}

static tsr_type like_type(tsr_lower *l, tsr_value x, tsr_dtype dtype) {
  const tsr_type_info *type = x ? v_type(l, x) : NULL;
  return type ? tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, dtype, type->dims, type->rank) : 0;
}

/* --- StringNormalizer --- */

static tsr_status set_stop_words(tsr_lower *l, tsr_op op) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, "stopwords");
  if (!a || a->type != TSR_ONNX_STRINGS || a->strings.count == 0)
    return TSR_OK;
  const char **words = tsr_lower_alloc(l, a->strings.count, sizeof *words);
  if (!words)
    return TSR_ERR_OUT_OF_MEMORY;
  for (uint64_t i = 0; i < a->strings.count; i++) {
    const tsr_wire_bytes *s = &a->strings.items[i];
    words[i] = tsr_ir_intern_n(l->ir, s->size > 0 ? s->data : "", (size_t)s->size);
    if (words[i] && strlen(words[i]) != s->size)
      return tsr_lower_unsupported(l, "a zero byte in stopwords");
  }
  tsr_attr attr = {.key = tsr_ir_intern(l->ir, "stopwords"),
                   .kind = TSR_ATTR_STRINGS,
                   .count = (uint32_t)a->strings.count};
  attr.u.strings = words;
  tsr_op_set_attr(l->ir, op, &attr);
  return TSR_OK;
}

tsr_status tsr_lower_op_string_normalizer(tsr_lower *l) {
  static const char *const cases[][2] = {{"NONE", "none"}, {"LOWER", "lower"}, {"UPPER", "upper"}};
  const char *action, *locale, *word = NULL;
  TSR_TRY(tsr_lower_need(l, 1));
  TSR_TRY(need_text(l, 0));
  TSR_TRY(text_attr(l, "case_change_action", "NONE", &action));
  TSR_TRY(text_attr(l, "locale", "", &locale));
  for (size_t i = 0; i < 3; i++)
    if (strcmp(cases[i][0], action) == 0)
      word = cases[i][1];
  if (!word)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "case_change_action '%s'", action);
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t rank = v_rank(l, x);
  if (rank < 1 || rank > 2)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u; 1 and 2 are", rank);
  tsr_expr dims[2] = {e_int(l, 1), e_int(l, 1)};
  dims[rank - 1] = tsr_fresh_dim(l, "kept", rank - 1);
  tsr_value y = tsr_lower_host(l, TSR_OP_TEXT_NORMALIZE, &x, 1,
                               tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, TSR_I64, dims, rank));
  if (!y)
    return TSR_OK;
  tsr_op op = tsr_value_get(l->ir, y)->def;
  tsr_op_set_string(l->ir, op, "case", word);
  tsr_op_set_bool(l->ir, op, "mind_case", tsr_lower_int(l, "is_case_sensitive", 0) != 0);
  if (locale[0] != '\0')
    tsr_op_set_string(l->ir, op, "locale", locale);
  TSR_TRY(set_stop_words(l, op));
  set_text(l, 0, y);
  return TSR_OK;
}

/* --- StringConcat, StringSplit, RegexFullMatch --- */

tsr_status tsr_lower_op_string_concat(tsr_lower *l) {
  tsr_expr dims[TSR_MAX_RANK];
  uint32_t rank;
  TSR_TRY(tsr_lower_need(l, 2));
  TSR_TRY(need_text(l, 0));
  TSR_TRY(need_text(l, 1));
  tsr_value x[] = {tsr_lower_value(l, 0), tsr_lower_value(l, 1)};
  if (!x[0] || !x[1])
    return TSR_OK;
  /* Extents that may differ are compared by the run. */
  if (!tsr_broadcast_dims(l->ir, v_type(l, x[0]), v_type(l, x[1]), dims, &rank)) {
    rank = v_rank(l, x[0]) > v_rank(l, x[1]) ? v_rank(l, x[0]) : v_rank(l, x[1]);
    for (uint32_t i = 0; i < rank; i++)
      dims[i] = tsr_fresh_dim(l, "joined", i);
  }
  set_text(l, 0,
           tsr_lower_host(l, TSR_OP_TEXT_CONCAT, x, 2,
                          tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, TSR_I64, dims, rank)));
  return TSR_OK;
}

tsr_status tsr_lower_op_string_split(tsr_lower *l) {
  const char *delimiter;
  tsr_expr dims[TSR_MAX_RANK + 1];
  tsr_value pieces[2];
  TSR_TRY(tsr_lower_need(l, 1));
  TSR_TRY(need_text(l, 0));
  TSR_TRY(text_attr(l, "delimiter", "", &delimiter));
  tsr_value x = tsr_lower_value(l, 0);
  uint32_t rank = v_rank(l, x);
  if (!x)
    return TSR_OK;
  if (rank >= TSR_MAX_RANK)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "an input of rank %u", rank);
  for (uint32_t i = 0; i < rank; i++)
    dims[i] = v_dim(l, x, i);
  dims[rank] = tsr_fresh_dim(l, "pieces", rank);
  tsr_type types[] = {tsr_type_make(l->ir, TSR_LEVEL_GLOBAL, TSR_I64, dims, rank + 1),
                      like_type(l, x, TSR_I64)};
  tsr_op op = tsr_graph_host(l->b, TSR_OP_TEXT_SPLIT, &x, 1, types, 2, pieces);
  if (op == 0)
    return TSR_OK;
  if (delimiter[0] != '\0')
    tsr_op_set_string(l->ir, op, "delimiter", delimiter);
  if (tsr_lower_attr(l, "maxsplit"))
    tsr_op_set_int(l->ir, op, "limit", tsr_lower_int(l, "maxsplit", -1));
  set_text(l, 0, pieces[0]);
  tsr_lower_set(l, 1, pieces[1]);
  return TSR_OK;
}

tsr_status tsr_lower_op_regex_full_match(tsr_lower *l) {
  const char *pattern;
  tsr_diag diag = {0};
  TSR_TRY(tsr_lower_need(l, 1));
  TSR_TRY(need_text(l, 0));
  TSR_TRY(text_attr(l, "pattern", "", &pattern));
  tsr_status status = tsr_text_pattern_check(pattern, tsr_ir_allocator(l->ir), &diag);
  if (status == TSR_ERR_OUT_OF_MEMORY)
    return tsr_lower_wrong(l, status, "%.200s", diag.message);
  if (status != TSR_OK)
    return tsr_lower_unsupported(l, "%.200s", diag.message);
  tsr_value x = tsr_lower_value(l, 0);
  tsr_value y = tsr_lower_host(l, TSR_OP_TEXT_MATCH, &x, 1, like_type(l, x, TSR_BOOL));
  if (y)
    tsr_op_set_string(l->ir, tsr_value_get(l->ir, y)->def, "pattern", pattern);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* --- Cast --- */

bool tsr_lower_text_cast(tsr_lower *l, tsr_dtype to, bool to_text, tsr_status *out_status) {
  bool from_text = tsr_lower_is_text(l, 0);
  *out_status = TSR_OK;
  if (from_text && to_text)
    tsr_lower_set_imported(l, 0, l->in[0]);
  else if (from_text || to_text) {
    tsr_value x = tsr_lower_value(l, 0);
    tsr_value y = tsr_lower_host(l, to_text ? TSR_OP_TEXT_FORMAT : TSR_OP_TEXT_PARSE, &x, 1,
                                 like_type(l, x, to));
    if (to_text)
      set_text(l, 0, y);
    else
      tsr_lower_set(l, 0, y);
  }
  return from_text || to_text;
}

/* --- tables: LabelEncoder, CategoryMapper --- */

/* One side of a table: what it is of, and its elements, one array of the two. */
typedef struct side {
  tsr_dtype dtype;
  bool text;
  uint32_t count;
  const int64_t *numbers; /* of integers and texts */
  const double *floats;
} side;

static bool side_floats(tsr_lower *l, const char *name, side *out) {
  const float *floats = tsr_lower_floats(l, name, &out->count);
  if (!floats)
    return false;
  double *wide = tsr_lower_alloc(l, out->count + (uint64_t)1, sizeof *wide);
  for (uint32_t i = 0; wide && i < out->count; i++)
    wide[i] = (double)floats[i];
  out->floats = wide;
  out->dtype = TSR_F32;
  return true;
}

/* keys_tensor, values_tensor, default_tensor. */
static bool side_tensor(tsr_lower *l, const char *name, side *out) {
  const tsr_onnx_attribute *a = tsr_lower_attr(l, name);
  if (!a || a->type != TSR_ONNX_TENSOR)
    return false;
  tsr_imported *tensor = tsr_import_tensor(l->importer, a->t);
  if (!tensor || tensor->kind == TSR_IMPORTED_BROKEN)
    return false;
  *out = (side){.dtype = tensor->dtype, .text = tensor->text, .count = (uint32_t)a->t->elements};
  if (tensor->dtype == TSR_DTYPE_NONE || a->t->elements > INT32_MAX)
    return false;
  bool is_float = tsr_dtype_class_of(out->dtype) == TSR_CLASS_FLOAT;
  double *floats = tsr_lower_alloc(l, out->count + (uint64_t)1, sizeof *floats);
  int64_t *numbers = tsr_lower_alloc(l, out->count + (uint64_t)1, sizeof *numbers);
  for (uint32_t i = 0; floats && numbers && i < out->count; i++) {
    floats[i] = is_float ? tsr_element_load_f64(out->dtype, tensor->data, i) : 0;
    numbers[i] = is_float ? 0 : tsr_element_load_i64(out->dtype, tensor->data, i);
  }
  out->floats = is_float ? floats : NULL;
  out->numbers = is_float ? NULL : numbers;
  return floats && numbers;
}

/* Attributes PREFIX_strings, _int64s, _floats or _tensor. */
static bool read_side(tsr_lower *l, const char *prefix, side *out) {
  char name[32];
  *out = (side){0};
  snprintf(name, sizeof name, "%s_tensor", prefix);
  if (side_tensor(l, name, out))
    return true;
  snprintf(name, sizeof name, "%s_strings", prefix);
  out->numbers = tsr_lower_text_numbers(l, name, &out->count);
  out->dtype = TSR_I64;
  out->text = out->numbers != NULL;
  if (out->numbers)
    return true;
  snprintf(name, sizeof name, "%s_int64s", prefix);
  out->numbers = tsr_lower_ints(l, name, &out->count);
  if (out->numbers)
    return true;
  snprintf(name, sizeof name, "%s_floats", prefix);
  return side_floats(l, name, out);
}

static tsr_value vector_of(tsr_lower *l, const side *s) {
  if (s->floats)
    return v_vector_float(l, s->dtype, s->floats, s->count);
  return v_cast(l, v_vector_i64(l, s->numbers, s->count), s->dtype);
}

/* values[i] for the first i with keys[i] == x, else `otherwise`. NaN is a key like others. All keys
 * are compared at once: arg_max over the matches finds the first. */
static tsr_value look_up(tsr_lower *l, tsr_value x, const side *keys, const side *values,
                         const side *otherwise) {
  uint32_t rank = v_rank(l, x);
  tsr_value table = vector_of(l, keys), missing = vector_of(l, otherwise);
  tsr_value wide = v_unsqueeze(l, v_cast(l, x, keys->dtype), rank);
  tsr_value same = v_eq(l, wide, table);
  if (keys->floats)
    same = v_or(l, same, v_and(l, v_unary(l, TSR_OP_ISNAN, wide), v_unary(l, TSR_OP_ISNAN, table)));
  tsr_value number = v_cast(l, same, TSR_I32);
  tsr_value at = tsr_graph_arg_reduce(l->b, number, "max", rank, false);
  int64_t axis = rank;
  tsr_value found = tsr_graph_reduce(l->b, number, "max", &axis, 1);
  tsr_value y = tsr_graph_gather(l->b, vector_of(l, values), at, 0);
  return v_select(l, v_gt(l, found, v_number(l, found, 0)), y, v_to_scalar(l, missing));
}

/* Compared all at once, each element with each key. */
enum { MOST_KEYS = 1 << 20 };

static tsr_status map_with(tsr_lower *l, const side *keys, const side *values,
                           const side *otherwise) {
  tsr_value x = tsr_lower_value(l, 0);
  if (keys->count == 0 || keys->count != values->count)
    return tsr_lower_wrong(l, TSR_ERR_SHAPE, "%u keys and %u values", keys->count, values->count);
  if (keys->count > MOST_KEYS)
    return tsr_lower_unsupported(l, "%u keys; %d are", keys->count, MOST_KEYS);
  if (keys->text != tsr_lower_is_text(l, 0) ||
      (keys->floats != NULL) != (tsr_dtype_class_of(l->in[0]->dtype) == TSR_CLASS_FLOAT))
    return tsr_lower_wrong(l, TSR_ERR_TYPE, "the keys are not of the input's element type");
  tsr_value y = look_up(l, x, keys, values, otherwise);
  if (values->text)
    set_text(l, 0, y);
  else
    tsr_lower_set(l, 0, y);
  return TSR_OK;
}

/* What stands for keys that the table does not have: an attribute default_..., else the standard's.
 */
static tsr_status default_of(tsr_lower *l, const side *values, side *out) {
  int64_t *number = tsr_lower_alloc(l, 1, sizeof *number);
  double *real = tsr_lower_alloc(l, 1, sizeof *real);
  const char *word;
  if (!number || !real)
    return TSR_ERR_OUT_OF_MEMORY;
  if (side_tensor(l, "default_tensor", out) && out->count > 0) {
    if (out->text != values->text || out->dtype != values->dtype)
      return tsr_lower_wrong(l, TSR_ERR_TYPE, "default_tensor is not of the values' element type");
    out->count = 1;
    return TSR_OK;
  }
  *out = (side){.dtype = values->dtype, .text = values->text, .count = 1};
  *number = tsr_lower_int(l, "default_int64", -1);
  *real = (double)tsr_lower_float(l, "default_float", -0.0f);
  if (values->text) {
    TSR_TRY(text_attr(l, "default_string", "_Unused", &word));
    *number = tsr_text_number(l->importer, word, strlen(word));
  }
  out->floats = values->floats ? real : NULL;
  out->numbers = values->floats ? NULL : number;
  return TSR_OK;
}

/* Before opset 2 a list of strings alone, each mapped to its place, or back. */
static tsr_status label_classes(tsr_lower *l) {
  side words = {.dtype = TSR_I64, .text = true}, places = {.dtype = TSR_I64}, otherwise;
  words.numbers = tsr_lower_text_numbers(l, "classes_strings", &words.count);
  int64_t *numbers = tsr_lower_alloc(l, words.count + (uint64_t)1, sizeof *numbers);
  if (!words.numbers || !numbers)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "classes_strings is missing");
  for (uint32_t i = 0; i < words.count; i++)
    numbers[i] = i;
  places.numbers = numbers;
  places.count = words.count;
  bool forth = tsr_lower_is_text(l, 0);
  TSR_TRY(default_of(l, forth ? &places : &words, &otherwise));
  return map_with(l, forth ? &words : &places, forth ? &places : &words, &otherwise);
}

tsr_status tsr_lower_op_label_encoder(tsr_lower *l) {
  side keys, values, otherwise;
  TSR_TRY(tsr_lower_need(l, 1));
  if (l->opset < 2)
    return label_classes(l);
  if (!read_side(l, "keys", &keys) || !read_side(l, "values", &values))
    return tsr_lower_unsupported(l, "its keys or values are missing, or of a type that is");
  TSR_TRY(default_of(l, &values, &otherwise));
  return map_with(l, &keys, &values, &otherwise);
}

tsr_status tsr_lower_op_category_mapper(tsr_lower *l) {
  side words = {.dtype = TSR_I64, .text = true}, numbers = {.dtype = TSR_I64}, otherwise;
  TSR_TRY(tsr_lower_need(l, 1));
  words.numbers = tsr_lower_text_numbers(l, "cats_strings", &words.count);
  numbers.numbers = tsr_lower_ints(l, "cats_int64s", &numbers.count);
  if (!words.numbers || !numbers.numbers)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "cats_strings or cats_int64s is missing");
  bool forth = tsr_lower_is_text(l, 0);
  TSR_TRY(default_of(l, forth ? &numbers : &words, &otherwise));
  return map_with(l, forth ? &words : &numbers, forth ? &numbers : &words, &otherwise);
}

/* 1 where the element is the category, along a new last axis. */
tsr_status tsr_lower_op_one_hot_encoder(tsr_lower *l) {
  side categories = {.dtype = TSR_I64};
  TSR_TRY(tsr_lower_need(l, 1));
  bool text = tsr_lower_is_text(l, 0);
  categories.numbers = text ? tsr_lower_text_numbers(l, "cats_strings", &categories.count)
                            : tsr_lower_ints(l, "cats_int64s", &categories.count);
  if (!categories.numbers || categories.count == 0)
    return tsr_lower_wrong(l, TSR_ERR_FORMAT, "its categories are missing");
  tsr_value x = tsr_lower_value(l, 0);
  if (tsr_lower_int(l, "zeros", 1) == 0)
    return tsr_lower_unsupported(l, "zeros = 0: an unknown category is an error");
  tsr_value wide = v_unsqueeze(l, v_cast(l, x, TSR_I64), v_rank(l, x));
  tsr_lower_set(l, 0, v_cast(l, v_eq(l, wide, vector_of(l, &categories)), TSR_F32));
  return TSR_OK;
}
