#include "tests/cuda_plans/shapes.h"
#include <stdio.h>
#include <string.h>

/* y[m, n] = x[m, k] w[k, n] + bias; `t`: w is [n, k]. */
typedef struct gemm {
  int m, n, k;
  char t;
} gemm;

static const gemm float_gemms[] = {
    {64, 64, 64, 0},     {128, 128, 128, 0},  {512, 512, 512, 0},  {2048, 2048, 2048, 0},
    {128, 768, 768, 0},  {128, 3072, 768, 0}, {128, 768, 3072, 0}, {8, 4096, 4096, 0},
    {32, 4096, 4096, 0}, {127, 509, 1021, 0},
};

/* BERT, then a Llama block's projections in decode (1, 4, 16 tokens) and prefill. */
static const gemm half_gemms[] = {
    {512, 512, 512, 0},    {2048, 2048, 2048, 0}, {4096, 4096, 4096, 0}, {8192, 8192, 8192, 0},
    {128, 768, 768, 0},    {128, 3072, 768, 0},   {128, 768, 3072, 0},   {1, 4096, 4096, 0},
    {1, 4096, 4096, 1},    {1, 11008, 4096, 0},   {1, 4096, 11008, 0},   {4, 4096, 4096, 0},
    {16, 4096, 4096, 1},   {16, 11008, 4096, 0},  {32, 4096, 4096, 0},   {512, 4096, 4096, 0},
    {512, 11008, 4096, 0}, {512, 4096, 11008, 1}, {2048, 4096, 4096, 1}, {127, 509, 1021, 0},
};

static const gemm byte_gemms[] = {{512, 512, 512, 0}, {128, 768, 768, 0}, {2048, 2048, 2048, 1}};

/* Convolutions: image, channels in and out, window, stride; the convolutions of ResNet-50. */
typedef struct conv {
  int size, in, out, window, stride;
} conv;

static const conv convs[] = {
    {224, 3, 64, 7, 2},    {56, 64, 64, 1, 1},    {56, 64, 64, 3, 1},    {56, 64, 256, 1, 1},
    {56, 256, 64, 1, 1},   {56, 256, 128, 1, 1},  {56, 128, 128, 3, 2},  {28, 128, 512, 1, 1},
    {56, 256, 512, 1, 2},  {28, 512, 128, 1, 1},  {28, 128, 128, 3, 1},  {28, 512, 256, 1, 1},
    {28, 256, 256, 3, 2},  {14, 256, 1024, 1, 1}, {14, 1024, 256, 1, 1}, {14, 256, 256, 3, 1},
    {14, 1024, 512, 1, 1}, {14, 512, 512, 3, 2},  {7, 512, 2048, 1, 1},  {7, 2048, 512, 1, 1},
    {7, 512, 512, 3, 1},
};

/* Everything else, as text. */
static const struct {
  const char *name, *text;
} others[] = {
    {"softmax 1024x1024", "graph @g {\n"
                          "  %x = input {name = \"x\"} : f32[1024, 1024]\n"
                          "  %m = reduce %x {axes = [1], combine = \"max\"} : f32[1024]\n"
                          "  %m1 = reshape %m : f32[1024, 1]\n"
                          "  %d = sub %x, %m1 : f32[1024, 1024]\n"
                          "  %e = exp %d : f32[1024, 1024]\n"
                          "  %s = reduce %e {axes = [1], combine = \"add\"} : f32[1024]\n"
                          "  %s1 = reshape %s : f32[1024, 1]\n"
                          "  %y = div %e, %s1 : f32[1024, 1024]\n"
                          "  output %y {name = \"y\"}\n}\n"},
    {"layernorm 512x768", "graph @g {\n"
                          "  %x = input {name = \"x\"} : f32[512, 768]\n"
                          "  %g = input {name = \"g\"} : f32[768]\n"
                          "  %c = const {value = 0.0013020833} : f32[]\n"
                          "  %s = reduce %x {axes = [1], combine = \"add\"} : f32[512]\n"
                          "  %s1 = reshape %s : f32[512, 1]\n"
                          "  %m = mul %s1, %c : f32[512, 1]\n"
                          "  %d = sub %x, %m : f32[512, 768]\n"
                          "  %q = mul %d, %d : f32[512, 768]\n"
                          "  %v = reduce %q {axes = [1], combine = \"add\"} : f32[512]\n"
                          "  %v1 = reshape %v : f32[512, 1]\n"
                          "  %v2 = mul %v1, %c : f32[512, 1]\n"
                          "  %r = rsqrt %v2 : f32[512, 1]\n"
                          "  %n = mul %d, %r : f32[512, 768]\n"
                          "  %y = mul %n, %g : f32[512, 768]\n"
                          "  output %y {name = \"y\"}\n}\n"},
    {"gelu 512x3072", "graph @g {\n"
                      "  %x = input {name = \"x\"} : f32[512, 3072]\n"
                      "  %c = const {value = 0.70710678} : f32[]\n"
                      "  %h = const {value = 0.5} : f32[]\n"
                      "  %1 = const {value = 1} : f32[]\n"
                      "  %a = mul %x, %c : f32[512, 3072]\n"
                      "  %b = erf %a : f32[512, 3072]\n"
                      "  %d = add %b, %1 : f32[512, 3072]\n"
                      "  %e = mul %d, %x : f32[512, 3072]\n"
                      "  %y = mul %e, %h : f32[512, 3072]\n"
                      "  output %y {name = \"y\"}\n}\n"},
    {"add relu 1024x4096", "graph @g {\n"
                           "  %x = input {name = \"x\"} : f16[1024, 4096]\n"
                           "  %b = input {name = \"b\"} : f16[4096]\n"
                           "  %0 = const {value = 0} : f16[]\n"
                           "  %s = add %x, %b : f16[1024, 4096]\n"
                           "  %y = max %s, %0 : f16[1024, 4096]\n"
                           "  output %y {name = \"y\"}\n}\n"},
    {"transpose 1024x4096", "graph @g {\n"
                            "  %x = input {name = \"x\"} : f32[1024, 4096]\n"
                            "  %y = transpose %x {perm = [1, 0]} : f32[4096, 1024]\n"
                            "  output %y {name = \"y\"}\n}\n"},
    {"sum of 1024x4096", "graph @g {\n"
                         "  %x = input {name = \"x\"} : f32[1024, 4096]\n"
                         "  %y = reduce %x {axes = [0, 1], combine = \"add\"} : f32[]\n"
                         "  output %y {name = \"y\"}\n}\n"},
    {"sum of columns 1000x999", "graph @g {\n"
                                "  %x = input {name = \"x\"} : f32[1000, 999]\n"
                                "  %y = reduce %x {axes = [0], combine = \"add\"} : f32[999]\n"
                                "  output %y {name = \"y\"}\n}\n"},
    {"attention 12x512x64", "graph @g {\n"
                            "  %q = input {name = \"q\"} : f16[12, 512, 64]\n"
                            "  %k = input {name = \"k\"} : f16[12, 512, 64]\n"
                            "  %v = input {name = \"v\"} : f16[12, 512, 64]\n"
                            "  %s = einsum %q, %k {spec = \"hmd,hnd->hmn\"} : f16[12, 512, 512]\n"
                            "  %m = reduce %s {axes = [2], combine = \"max\"} : f16[12, 512]\n"
                            "  %m1 = reshape %m : f16[12, 512, 1]\n"
                            "  %d = sub %s, %m1 : f16[12, 512, 512]\n"
                            "  %e = exp %d : f16[12, 512, 512]\n"
                            "  %t = reduce %e {axes = [2], combine = \"add\"} : f16[12, 512]\n"
                            "  %t1 = reshape %t : f16[12, 512, 1]\n"
                            "  %p = div %e, %t1 : f16[12, 512, 512]\n"
                            "  %y = einsum %p, %v {spec = \"hmn,hnd->hmd\"} : f16[12, 512, 64]\n"
                            "  output %y {name = \"y\"}\n}\n"},
    {"BERT's layer over N tokens", "dim N in 1..512 hint 128\n"
                                   "graph @g {\n"
                                   "  %x = input {name = \"x\"} : f16[N, 768]\n"
                                   "  %w = const {random = 1} : f16[768, 2304]\n"
                                   "  %w1 = const {random = 2} : f16[768, 3072]\n"
                                   "  %b1 = const {random = 3} : f16[3072]\n"
                                   "  %w2 = const {random = 4} : f16[3072, 768]\n"
                                   "  %0 = const {value = 0} : f16[]\n"
                                   "  %q = einsum %x, %w {spec = \"mk,kn->mn\"} : f16[N, 2304]\n"
                                   "  %h = einsum %x, %w1 {spec = \"mk,kn->mn\"} : f16[N, 3072]\n"
                                   "  %h1 = add %h, %b1 : f16[N, 3072]\n"
                                   "  %h2 = max %h1, %0 : f16[N, 3072]\n"
                                   "  %y = einsum %h2, %w2 {spec = \"mk,kn->mn\"} : f16[N, 768]\n"
                                   "  %z = add %y, %x : f16[N, 768]\n"
                                   "  output %q {name = \"q\"}\n"
                                   "  output %z {name = \"y\"}\n}\n"},
    {"attention over N tokens", "dim N in 1..512 hint 128\n"
                                "graph @g {\n"
                                "  %q = input {name = \"q\"} : f16[N, 12, 64]\n"
                                "  %k = input {name = \"k\"} : f16[N, 12, 64]\n"
                                "  %v = input {name = \"v\"} : f16[N, 12, 64]\n"
                                "  %s = einsum %q, %k {spec = \"mhd,nhd->hmn\"} : f16[12, N, N]\n"
                                "  %y = einsum %s, %v {spec = \"hmn,nhd->mhd\"} : f16[N, 12, 64]\n"
                                "  output %y {name = \"y\"}\n}\n"},
};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static void gemm_text(const gemm *g, const char *dtype, int constant, char *name, char *text) {
  char weights[64], shape[32];
  snprintf(shape, sizeof shape, g->t ? "[%d, %d]" : "[%d, %d]", g->t ? g->n : g->k,
           g->t ? g->k : g->n);
  snprintf(weights, sizeof weights, constant ? "const {random = 1}" : "input {name = \"w\"}");
  snprintf(name, SHAPE_NAME_BYTES, "%s %dx%dx%d%s%s", dtype, g->m, g->n, g->k,
           g->t ? " transposed" : "", constant ? " constant" : "");
  snprintf(text, SHAPE_TEXT_BYTES,
           "graph @g {\n"
           "  %%x = input {name = \"x\"} : %s[%d, %d]\n"
           "  %%w = %s : %s%s\n"
           "  %%b = input {name = \"b\"} : %s[%d]\n"
           "  %%h = einsum %%x, %%w {spec = \"%s->mn\"} : %s[%d, %d]\n"
           "  %%y = add %%h, %%b : %s[%d, %d]\n"
           "  output %%y {name = \"y\"}\n}\n",
           dtype, g->m, g->k, weights, dtype, shape, dtype, g->n, g->t ? "mk,nk" : "mk,kn", dtype,
           g->m, g->n, dtype, g->m, g->n);
}

static void byte_text(const gemm *g, char *name, char *text) {
  snprintf(name, SHAPE_NAME_BYTES, "i8 %dx%dx%d%s", g->m, g->n, g->k, g->t ? " transposed" : "");
  snprintf(text, SHAPE_TEXT_BYTES,
           "graph @g {\n"
           "  %%x = input {name = \"x\"} : i8[%d, %d]\n"
           "  %%w = input {name = \"w\"} : i8[%d, %d]\n"
           "  %%x1 = cast %%x : i32[%d, %d]\n"
           "  %%w1 = cast %%w : i32[%d, %d]\n"
           "  %%y = einsum %%x1, %%w1 {spec = \"%s->mn\"} : i32[%d, %d]\n"
           "  output %%y {name = \"y\"}\n}\n",
           g->m, g->k, g->t ? g->n : g->k, g->t ? g->k : g->n, g->m, g->k, g->t ? g->n : g->k,
           g->t ? g->k : g->n, g->t ? "mk,nk" : "mk,kn", g->m, g->n);
}

static void conv_text(const conv *c, const char *dtype, char *name, char *text) {
  const int pad = c->window / 2, size = (c->size + 2 * pad - c->window) / c->stride + 1;
  snprintf(name, SHAPE_NAME_BYTES, "%s conv %dx%d %d to %d, %d^2 by %d", dtype, c->size, c->size,
           c->in, c->out, c->window, c->stride);
  snprintf(
      text, SHAPE_TEXT_BYTES,
      "graph @g {\n"
      "  %%x = input {name = \"x\"} : %s[1, %d, %d, %d]\n"
      "  %%w = const {random = 2} : %s[%d, %d, %d, %d]\n"
      "  %%y = conv %%x, %%w {dilations = [1, 1], groups = 1, high = [%d, %d], low = [%d, %d], "
      "strides = [%d, %d]} : %s[1, %d, %d, %d]\n"
      "  output %%y {name = \"y\"}\n}\n",
      dtype, c->in, c->size, c->size, dtype, c->out, c->in, c->window, c->window, pad, pad, pad,
      pad, c->stride, c->stride, dtype, c->out, size, size);
}

size_t shape_count(void) {
  return COUNT(float_gemms) + 2 * COUNT(half_gemms) + COUNT(byte_gemms) + 2 * COUNT(convs) +
         COUNT(others);
}

void shape_text(size_t number, char name[SHAPE_NAME_BYTES], char text[SHAPE_TEXT_BYTES]) {
  if (number < COUNT(float_gemms)) {
    gemm_text(&float_gemms[number], "f32", 0, name, text);
    return;
  }
  number -= COUNT(float_gemms);
  if (number < 2 * COUNT(half_gemms)) {
    /* Half of them with weights that are known, which get a layout of their own. */
    const size_t at = number / 2;
    gemm_text(&half_gemms[at], number % 2 == 0 ? "bf16" : "f16", (at + number) % 2 == 0, name,
              text);
    return;
  }
  number -= 2 * COUNT(half_gemms);
  if (number < COUNT(byte_gemms)) {
    byte_text(&byte_gemms[number], name, text);
    return;
  }
  number -= COUNT(byte_gemms);
  if (number < 2 * COUNT(convs)) {
    conv_text(&convs[number / 2], number % 2 == 0 ? "f32" : "f16", name, text);
    return;
  }
  number -= 2 * COUNT(convs);
  snprintf(name, SHAPE_NAME_BYTES, "%s", others[number].name);
  snprintf(text, SHAPE_TEXT_BYTES, "%s", others[number].text);
}
