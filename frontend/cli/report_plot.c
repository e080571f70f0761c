#include "frontend/cli/report_plot.h"
#include "frontend/cli/report.h"
#include "ir/lex.h"
#include <math.h>
#include <string.h>

/* --- texts --- */

/* The character at `text` and its bytes; what a page must not hold is U+FFFD. */
static void put_character(FILE *out, const char *text, size_t bytes) {
  static const struct {
    char c;
    const char *name;
  } names[] = {{'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
  unsigned char c = (unsigned char)*text;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (*text == names[i].c) {
      fputs(names[i].name, out);
      return;
    }
  }
  bool control =
      c < 0x20 || c == 0x7f || (c == 0xc2 && bytes == 2 && (unsigned char)text[1] < 0xa0);
  if (control || (c >= 0x80 && bytes == 1))
    fputs("\xef\xbf\xbd", out);
  else
    fwrite(text, 1, bytes, out);
}

/* 1 where no character is well formed: texts that were cut, names of files. */
static size_t character_bytes(const char *text) {
  size_t bytes = tsr_utf8_length(text, strnlen(text, 4));
  return bytes > 0 ? bytes : 1;
}

void tsr_html_put(FILE *out, const char *text, uint32_t most) {
  uint32_t count = 0, left;
  for (const char *at = text; *at != '\0'; at += character_bytes(at))
    count++;
  bool cut = most > 0 && count > most;
  for (left = cut ? most - 1 : count; left > 0; left--) {
    size_t bytes = character_bytes(text);
    put_character(out, text, bytes);
    text += bytes;
  }
  if (cut)
    fputs("\xe2\x80\xa6", out);
}

const char *tsr_time_unit(double *inout_ns) {
  static const struct {
    double ns;
    const char *unit;
  } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "\xc2\xb5s"}, {1, "ns"}};
  int i = 0;
  while (i < 3 && *inout_ns < units[i].ns * 0.9995)
    i++;
  *inout_ns /= units[i].ns;
  return units[i].unit;
}

const char *tsr_time_text(double ns, char *out, size_t room) {
  double number = ns;
  const char *unit = tsr_time_unit(&number);
  if (number >= 1e6)
    snprintf(out, room, "%.2e %s", number, unit);
  else
    snprintf(out, room, "%.*f %s", number < 9.995 ? 2 : number < 99.95 ? 1 : 0, number, unit);
  return out;
}

/* --- scales --- */

double tsr_scale_place(const tsr_scale *s, double value) {
  double clamped = fmin(fmax(value, s->low), s->high);
  double share = s->log ? log(clamped / s->low) / log(s->high / s->low)
                        : (clamped - s->low) / (s->high - s->low);
  return s->from + share * (s->until - s->from);
}

void tsr_scale_widen(tsr_scale *s, double least) {
  if (!s->log) {
    if (s->high <= s->low)
      s->high = s->low + 1;
    return;
  }
  double missing = sqrt(fmax(1, least * s->low / s->high));
  s->low /= missing;
  s->high *= missing;
}

static uint32_t linear_ticks(const tsr_scale *s, uint32_t most, double *out, uint32_t room) {
  uint32_t count = 0;
  double step = pow(10, floor(log10((s->high - s->low) / most)));
  for (int i = 0; (s->high - s->low) / step > most; i++)
    step *= i % 3 == 1 ? 2.5 : 2;
  for (double at = ceil(s->low / step); at * step <= s->high && count < room; at++)
    out[count++] = at * step;
  return count;
}

uint32_t tsr_scale_ticks(const tsr_scale *s, uint32_t most, double *out, uint32_t room) {
  static const double steps[] = {1, 2, 5};
  uint32_t count = 0;
  if (!s->log || s->high / s->low < 6)
    return linear_ticks(s, most, out, room);
  double decades = log10(s->high / s->low);
  int every = (int)ceil(decades / most);
  bool fine = decades * 3 <= most;
  for (int power = (int)floor(log10(s->low)); pow(10, power) <= s->high; power++) {
    for (int i = 0; i < (fine ? 3 : 1); i++) {
      double value = pow(10, power) * steps[i];
      if (value >= s->low && value <= s->high && count < room && (every <= 1 || power % every == 0))
        out[count++] = value;
    }
  }
  return count;
}

/* --- drawing --- */

void tsr_svg_begin(FILE *out, const char *caption, double width, double height) {
  fputs("<figure><figcaption>", out);
  tsr_html_put(out, caption, 0);
  fprintf(out, "</figcaption>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", width,
          height);
  tsr_html_put(out, caption, 0);
  fputs("\">\n", out);
}

void tsr_svg_text(FILE *out, double x, double y, const char *anchor, const char *class,
                  const char *text, uint32_t most) {
  fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, class);
  tsr_html_put(out, text, most);
  fputs("</text>\n", out);
}

void tsr_svg_line(FILE *out, double x1, double y1, double x2, double y2, const char *class) {
  fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2,
          y2, class);
}

enum { COLOURS = 8, SHAPES = 4 };

static void put_shape(FILE *out, double x, double y, uint32_t number) {
  static const char *const shapes[SHAPES] = {"M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
                                             "M-3.2 -3.2h6.4v6.4h-6.4z", "M0 -4.2l4 7.2h-8z",
                                             "M0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z"};
  fprintf(out, "<path class=\"mark c%u\" transform=\"translate(%.1f %.1f)\" d=\"%s\">",
          number % COLOURS, x, y, shapes[(number + number / COLOURS) % SHAPES]);
}

void tsr_svg_mark(FILE *out, double x, double y, uint32_t number, const char *title) {
  put_shape(out, x, y, number);
  fputs("<title>", out);
  tsr_html_put(out, title, 0);
  fputs("</title></path>\n", out);
}

enum { MOST_TICKS = 24 };

void tsr_svg_axis_x(FILE *out, const tsr_scale *x, const tsr_scale *y, uint32_t most,
                    void (*text)(double value, char *out, size_t room)) {
  double ticks[MOST_TICKS];
  uint32_t count = tsr_scale_ticks(x, most, ticks, MOST_TICKS);
  for (uint32_t i = 0; i < count; i++) {
    char label[32];
    double at = tsr_scale_place(x, ticks[i]);
    text(ticks[i], label, sizeof label);
    tsr_svg_line(out, at, y->from, at, y->until, "grid");
    tsr_svg_text(out, at, y->from + 12, "middle", "tick", label, 0);
  }
}

void tsr_svg_axis_y(FILE *out, const tsr_scale *x, const tsr_scale *y, uint32_t most,
                    void (*text)(double value, char *out, size_t room)) {
  double ticks[MOST_TICKS];
  uint32_t count = tsr_scale_ticks(y, most, ticks, MOST_TICKS);
  for (uint32_t i = 0; i < count; i++) {
    char label[32];
    double at = tsr_scale_place(y, ticks[i]);
    text(ticks[i], label, sizeof label);
    tsr_svg_line(out, x->from, at, x->until, at, "grid");
    tsr_svg_text(out, x->from - 4, at + 3.5, "end", "tick", label, 0);
  }
}

void tsr_svg_end(FILE *out, const char *const *names, uint32_t used) {
  fputs("</svg>\n", out);
  if (used != 0)
    fputs("<p class=\"legend\">", out);
  for (uint32_t i = 0; i < 32; i++) {
    if ((used & UINT32_C(1) << i) == 0)
      continue;
    fputs("<span><svg viewBox=\"0 0 12 12\" class=\"key\">", out);
    put_shape(out, 6, 6, i);
    fputs("</path></svg> ", out);
    tsr_html_put(out, names[i], 60);
    fputs("</span>\n", out);
  }
  fputs(used != 0 ? "</p></figure>\n" : "</figure>\n", out);
}
