#include "frontend/cli/report.h"
#include "frontend/cli/report_plot.h"
#include <math.h>
#include <string.h>

enum { WIDTH = 360 };

/* --- texts of axes --- */

static void number_text(double value, char *out, size_t room) {
  snprintf(out, room, value >= 1e5 || value < 1e-3 ? "%.0e" : "%g", value);
}

static void ns_text(double value, char *out, size_t room) {
  const char *unit = tsr_time_unit(&value);
  snprintf(out, room, "%.3g %s", value, unit);
}

static void seconds_text(double value, char *out, size_t room) {
  snprintf(out, room, "%g s", value);
}

/* --- ratios --- */

typedef struct ratio_chart {
  const tsr_report_file *file;
  const char *peer;
  uint32_t threads;
  tsr_scale x;
} ratio_chart;

enum { NAME_WIDTH = 158, NAME_CHARACTERS = 26 };
static const double row_height = 14, head_height = 18, bar_height = 9;
static const double furthest = 64; /* ratios beyond are drawn as this one */

/* How far the axis goes and how high the chart is; false: there is nothing to draw. */
static bool measure_ratios(ratio_chart *chart, double *out_height) {
  uint32_t count, rows = 0;
  double low = 0.5, high = 2;
  *out_height = 18;
  for (uint32_t g = 0; g < chart->file->groups_of_cases.count; g++) {
    (void)tsr_report_mean(chart->file, g, chart->peer, chart->threads, &count);
    *out_height += count > 0 ? head_height + row_height * count : 0;
    rows += count;
  }
  for (const tsr_report_case *c = chart->file->cases; c != NULL; c = c->next) {
    const tsr_report_versus *v = tsr_report_find_versus(c, chart->peer);
    if (v == NULL || c->threads != chart->threads)
      continue;
    low = fmin(low, v->ratio);
    high = fmax(high, v->ratio);
  }
  chart->x =
      (tsr_scale){true, fmax(low, 1 / furthest), fmin(high, furthest), NAME_WIDTH + 4, WIDTH - 40};
  return rows > 0;
}

static void put_ratio(FILE *out, const ratio_chart *chart, const tsr_report_case *c,
                      const tsr_report_versus *v, double y) {
  char text[32], ours[32], theirs[32];
  double one = tsr_scale_place(&chart->x, 1), at = tsr_scale_place(&chart->x, v->ratio);
  bool loses = tsr_report_loses(v->ratio);
  fputs("<g><title>", out);
  tsr_html_put(out, c->name, 0);
  fprintf(out, ": %s, ", tsr_time_text(c->time.median, ours, sizeof ours));
  tsr_html_put(out, v->peer, 0);
  fprintf(out, " %s</title>\n", tsr_time_text(v->time.median, theirs, sizeof theirs));
  tsr_svg_text(out, NAME_WIDTH, y + bar_height - 1, "end", "name", c->name, NAME_CHARACTERS);
  fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" class=\"%s\"/>\n",
          fmin(one, at), y, fmax(fabs(at - one), 0.5), bar_height, loses ? "loss" : "win");
  double wanted = v->bar > 0 ? v->bar : v->goal;
  if (wanted > 0) {
    double x = tsr_scale_place(&chart->x, wanted);
    tsr_svg_line(out, x, y - 2, x, y + bar_height + 2, "goal");
  }
  snprintf(text, sizeof text, v->ratio < 1000 ? "%.2f" : "%.0e", v->ratio);
  tsr_svg_text(out, WIDTH - 2, y + bar_height - 1, "end", loses ? "lost" : "won", text, 0);
  fputs("</g>\n", out);
}

static void put_group(FILE *out, const ratio_chart *chart, uint32_t group, double *y) {
  uint32_t count;
  char text[32];
  double mean = tsr_report_mean(chart->file, group, chart->peer, chart->threads, &count);
  if (count == 0)
    return;
  snprintf(text, sizeof text, "%.2f", mean);
  tsr_svg_text(out, NAME_WIDTH, *y + head_height - 5, "end", "head",
               chart->file->groups_of_cases.texts[group], 24);
  tsr_svg_text(out, WIDTH - 2, *y + head_height - 5, "end", "head", text, 0);
  *y += head_height;
  for (const tsr_report_case *c = chart->file->cases; c != NULL; c = c->next) {
    const tsr_report_versus *v = tsr_report_find_versus(c, chart->peer);
    if (v == NULL || c->threads != chart->threads || c->group != group)
      continue;
    put_ratio(out, chart, c, v, *y);
    *y += row_height;
  }
}

/* Powers of two: what a ratio is read by. */
static void put_ratio_axis(FILE *out, const tsr_scale *x, double bottom) {
  char text[32];
  for (double value = 1 / furthest; value <= furthest; value *= 2) {
    if (value < x->low || value > x->high)
      continue;
    double at = tsr_scale_place(x, value);
    number_text(value, text, sizeof text);
    tsr_svg_line(out, at, 4, at, bottom, value == 1 ? "axis" : "grid");
    if (x->high / x->low < 64 || fabs(remainder(log2(value), 2)) < 0.5)
      tsr_svg_text(out, at, bottom + 12, "middle", "tick", text, 7);
  }
}

void tsr_report_plot_ratios(FILE *out, const tsr_report_file *file, const char *peer,
                            uint32_t threads) {
  ratio_chart chart = {.file = file, .peer = peer, .threads = threads};
  char caption[256];
  double height, y = 0;
  if (!measure_ratios(&chart, &height))
    return;
  snprintf(caption, sizeof caption, "Speed against %.100s, %u thread%s", peer, threads,
           threads == 1 ? "" : "s");
  tsr_svg_begin(out, caption, WIDTH, height);
  put_ratio_axis(out, &chart.x, height - 14);
  for (uint32_t g = 0; g < file->groups_of_cases.count; g++)
    put_group(out, &chart, g, &y);
  tsr_svg_end(out, NULL, 0);
}

/* --- roofline --- */

/* Operations per byte and per nanosecond; false where the case does not say both. */
static bool find_intensity(const tsr_report_case *c, uint32_t threads, double *out_x,
                           double *out_y) {
  *out_x = c->flops > 0 && c->bytes > 0 ? c->flops / c->bytes : 0;
  *out_y = c->flops / c->time.median;
  return c->threads == threads && *out_x > 0;
}

static bool is_rate(const tsr_report_ceiling *c, uint32_t threads) {
  return c->threads == threads && strstr(c->unit, "OP/s") != NULL;
}

/* Of memory, what reading gives: the roofs. */
static bool is_read(const tsr_report_ceiling *c, uint32_t threads) {
  return c->threads == threads && strcmp(c->unit, "GB/s") == 0 && strstr(c->name, "read") != NULL;
}

static bool measure_roofline(const tsr_report_file *file, uint32_t threads, tsr_scale *x,
                             tsr_scale *y) {
  double low_x = HUGE_VAL, high_x = 0, low_y = HUGE_VAL, high_y = 0, at_x, at_y;
  for (const tsr_report_case *c = file->cases; c != NULL; c = c->next) {
    if (!find_intensity(c, threads, &at_x, &at_y))
      continue;
    low_x = fmin(low_x, at_x);
    high_x = fmax(high_x, at_x);
    low_y = fmin(low_y, at_y);
    high_y = fmax(high_y, at_y);
  }
  for (const tsr_report_ceiling *c = file->ceilings; c != NULL; c = c->next)
    if (is_rate(c, threads))
      high_y = fmax(high_y, c->median);
  *x = (tsr_scale){true, low_x / 2, high_x * 2, 38, WIDTH - 6};
  *y = (tsr_scale){true, low_y / 2, high_y * 1.6, 262, 8};
  if (high_x <= 0)
    return false;
  tsr_scale_widen(x, 10);
  tsr_scale_widen(y, 10);
  return true;
}

static void put_memory_roof(FILE *out, const tsr_report_ceiling *c, const tsr_scale *x,
                            const tsr_scale *y) {
  /* Where the line enters and leaves the plot. */
  double left = fmax(x->low, y->low / c->median), right = fmin(x->high, y->high / c->median);
  if (left >= right)
    return;
  double x1 = tsr_scale_place(x, left), y1 = tsr_scale_place(y, left * c->median);
  double x2 = tsr_scale_place(x, right), y2 = tsr_scale_place(y, right * c->median);
  tsr_svg_line(out, x1, y1, x2, y2, "roof");
  fprintf(out, "<g transform=\"translate(%.1f %.1f) rotate(%.1f)\">", x1 + (x2 - x1) * 0.02,
          y1 + (y2 - y1) * 0.02, atan2(y2 - y1, x2 - x1) * 57.29578);
  char text[96];
  snprintf(text, sizeof text, "%.40s %.0f GB/s", c->name, c->median);
  tsr_svg_text(out, 4, -3, "start", "tick", text, 0);
  fputs("</g>\n", out);
}

static void put_roofs(FILE *out, const tsr_report_file *file, uint32_t threads, const tsr_scale *x,
                      const tsr_scale *y) {
  for (const tsr_report_ceiling *c = file->ceilings; c != NULL; c = c->next) {
    if (is_read(c, threads))
      put_memory_roof(out, c, x, y);
    if (!is_rate(c, threads))
      continue;
    char text[96];
    double at = tsr_scale_place(y, c->median);
    snprintf(text, sizeof text, "%.40s %.0f %.20s", c->name, c->median, c->unit);
    tsr_svg_line(out, x->from, at, x->until, at, "roof");
    tsr_svg_text(out, x->until, at - 3, "end", "tick", text, 0);
  }
}

/* Our mark, and a line to where the fastest peer is. */
static void put_roofline_case(FILE *out, const tsr_report_case *c, const tsr_scale *x,
                              const tsr_scale *y, double at_x, double at_y) {
  char title[320], time[32];
  double fastest = HUGE_VAL, px = tsr_scale_place(x, at_x), py = tsr_scale_place(y, at_y);
  for (const tsr_report_versus *v = c->versus; v != NULL; v = v->next)
    fastest = fmin(fastest, v->time.median);
  if (fastest < HUGE_VAL) {
    double peer = tsr_scale_place(y, c->flops / fastest);
    tsr_svg_line(out, px, py, px, peer, "peer");
    tsr_svg_line(out, px - 3, peer, px + 3, peer, "peer");
  }
  snprintf(title, sizeof title, "%.200s: %s, %.3g GFLOP/s, %.3g operations per byte", c->name,
           tsr_time_text(c->time.median, time, sizeof time), at_y, at_x);
  tsr_svg_mark(out, px, py, c->group, title);
}

void tsr_report_plot_roofline(FILE *out, const tsr_report_file *file, uint32_t threads) {
  tsr_scale x, y;
  char caption[96];
  double at_x, at_y;
  uint32_t used = 0;
  if (!measure_roofline(file, threads, &x, &y))
    return;
  snprintf(caption, sizeof caption, "Roofline, %u thread%s: GFLOP/s over operations per byte",
           threads, threads == 1 ? "" : "s");
  tsr_svg_begin(out, caption, WIDTH, 280);
  tsr_svg_axis_x(out, &x, &y, 6, number_text);
  tsr_svg_axis_y(out, &x, &y, 6, number_text);
  put_roofs(out, file, threads, &x, &y);
  for (const tsr_report_case *c = file->cases; c != NULL; c = c->next) {
    if (!find_intensity(c, threads, &at_x, &at_y))
      continue;
    put_roofline_case(out, c, &x, &y, at_x, at_y);
    used |= UINT32_C(1) << c->group;
  }
  tsr_svg_end(out, file->groups_of_cases.texts, used);
}

/* --- history --- */

/* The same group in another file, by name. */
static double mean_of(const tsr_report_file *file, const char *group, const char *peer,
                      uint32_t threads) {
  uint32_t count;
  for (uint32_t g = 0; g < file->groups_of_cases.count; g++)
    if (strcmp(file->groups_of_cases.texts[g], group) == 0)
      return tsr_report_mean(file, g, peer, threads, &count);
  return 0;
}

static void put_history_line(FILE *out, const tsr_report_file *files, uint32_t count,
                             uint32_t group, const char *peer, uint32_t threads, const tsr_scale *x,
                             const tsr_scale *y) {
  const char *name = files[count - 1].groups_of_cases.texts[group];
  bool drawing = false;
  fprintf(out, "<path class=\"line c%u\" d=\"", group % 8);
  for (uint32_t i = 0; i < count; i++) {
    double mean = mean_of(&files[i], name, peer, threads);
    if (mean > 0)
      fprintf(out, "%s%.1f %.1f", drawing ? "L" : "M", tsr_scale_place(x, i),
              tsr_scale_place(y, mean));
    drawing = mean > 0;
  }
  fputs("\"/>\n", out);
  for (uint32_t i = 0; i < count; i++) {
    char title[320];
    double mean = mean_of(&files[i], name, peer, threads);
    snprintf(title, sizeof title, "%.80s, %.40s %.40s: %.2f", name, files[i].commit, files[i].date,
             mean);
    if (mean > 0)
      tsr_svg_mark(out, tsr_scale_place(x, i), tsr_scale_place(y, mean), group, title);
  }
}

/* Commits below, as many as there is room for; the newest always. */
static void put_commits(FILE *out, const tsr_report_file *files, uint32_t count, const tsr_scale *x,
                        double bottom) {
  uint32_t step = (count + 4) / 5;
  for (uint32_t i = (count - 1) % step; i < count; i += step) {
    double at = tsr_scale_place(x, i);
    tsr_svg_line(out, at, bottom, at, bottom + 3, "axis");
    tsr_svg_text(out, at, bottom + 13, "middle", "tick", files[i].commit, 9);
    char day[16];
    snprintf(day, sizeof day, "%.10s", files[i].date);
    tsr_svg_text(out, at, bottom + 24, "middle", "tick", day, 0);
  }
}

void tsr_report_plot_history(FILE *out, const tsr_report_file *files, uint32_t count,
                             const char *peer, uint32_t threads) {
  const tsr_report_file *newest = &files[count - 1];
  double low = 1, high = 1;
  uint32_t used = 0;
  char caption[256];
  for (uint32_t g = 0; g < newest->groups_of_cases.count; g++) {
    for (uint32_t i = 0; i < count; i++) {
      double mean = mean_of(&files[i], newest->groups_of_cases.texts[g], peer, threads);
      if (mean <= 0)
        continue;
      used |= UINT32_C(1) << g;
      low = fmin(low, mean);
      high = fmax(high, mean);
    }
  }
  if (count < 2 || used == 0)
    return;
  tsr_scale x = {false, 0, count - 1, 52, WIDTH - 30}, y = {true, low / 1.1, high * 1.1, 190, 8};
  tsr_scale_widen(&y, 2);
  snprintf(caption, sizeof caption,
           "Speed against %.100s over commits, %u thread%s: geometric means", peer, threads,
           threads == 1 ? "" : "s");
  tsr_svg_begin(out, caption, WIDTH, 218);
  tsr_svg_axis_y(out, &x, &y, 6, number_text);
  tsr_svg_line(out, x.from, tsr_scale_place(&y, 1), x.until, tsr_scale_place(&y, 1), "axis");
  put_commits(out, files, count, &x, y.from);
  for (uint32_t g = 0; g < newest->groups_of_cases.count; g++)
    if ((used & UINT32_C(1) << g) != 0)
      put_history_line(out, files, count, g, peer, threads, &x, &y);
  tsr_svg_end(out, newest->groups_of_cases.texts, used);
}

/* --- tuning --- */

static void put_curve(FILE *out, const tsr_report_file *file, uint32_t number, const tsr_scale *x,
                      const tsr_scale *y) {
  fprintf(out, "<path class=\"line c%u\" d=\"", number % 8);
  for (uint32_t i = 0; i < file->point_count; i++) {
    double px = tsr_scale_place(x, file->points[i].seconds);
    double py = tsr_scale_place(y, file->points[i].ns);
    if (i == 0)
      fprintf(out, "M%.1f %.1f", px, py);
    else
      fprintf(out, "H%.1fV%.1f", px, py);
  }
  fputs("\"/>\n", out);
  if (file->point_count > 0) {
    const tsr_report_point *last = &file->points[file->point_count - 1];
    char title[320], time[32];
    snprintf(title, sizeof title, "%.40s %.40s: %s after %.0f trials, %.0f s", file->commit,
             file->date, tsr_time_text(last->ns, time, sizeof time), last->trials, last->seconds);
    tsr_svg_mark(out, tsr_scale_place(x, last->seconds), tsr_scale_place(y, last->ns), number,
                 title);
  }
}

/* Files of one model: each a curve of the time of its kernels over the time of tuning. */
void tsr_report_plot_tuning(FILE *out, const tsr_report_file *files, uint32_t count) {
  double low = HUGE_VAL, high = 0, longest = 0;
  char caption[256], texts[TSR_REPORT_MOST_NAMES][96];
  const char *names[TSR_REPORT_MOST_NAMES];
  uint32_t used = 0;
  if (count > TSR_REPORT_MOST_NAMES) { /* the newest */
    files += count - TSR_REPORT_MOST_NAMES;
    count = TSR_REPORT_MOST_NAMES;
  }
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t j = 0; j < files[i].point_count; j++) {
      low = fmin(low, files[i].points[j].ns);
      high = fmax(high, files[i].points[j].ns);
      longest = fmax(longest, files[i].points[j].seconds);
    }
    snprintf(texts[i], sizeof texts[i], "%.20s %.12s, %u thread%s", files[i].date, files[i].commit,
             files[i].threads, files[i].threads == 1 ? "" : "s");
    names[i] = texts[i];
    used |= files[i].point_count > 0 ? UINT32_C(1) << i : 0;
  }
  if (used == 0)
    return;
  tsr_scale x = {false, 0, longest, 52, WIDTH - 16}, y = {true, low / 1.05, high * 1.05, 190, 8};
  tsr_scale_widen(&x, 0);
  tsr_scale_widen(&y, 1.5);
  snprintf(caption, sizeof caption, "Tuning %.100s: time of its kernels over seconds of tuning",
           files->model);
  tsr_svg_begin(out, caption, WIDTH, 208);
  tsr_svg_axis_x(out, &x, &y, 5, seconds_text);
  tsr_svg_axis_y(out, &x, &y, 6, ns_text);
  for (uint32_t i = 0; i < count; i++)
    put_curve(out, &files[i], i, &x, &y);
  tsr_svg_end(out, names, used);
}

/* --- latencies --- */

void tsr_report_plot_latency(FILE *out, const tsr_report_file *files, uint32_t count) {
  double low = HUGE_VAL, high = 0, height = 24 + row_height * (double)count;
  for (uint32_t i = 0; i < count; i++) {
    low = fmin(low, files[i].latency.least);
    high = fmax(high, fmax(files[i].latency.p95, files[i].latency.median));
  }
  tsr_scale x = {true, low / 1.2, high * 1.2, NAME_WIDTH + 4, WIDTH - 10};
  tsr_scale y = {false, 0, 1, height - 16, 2};
  tsr_scale_widen(&x, 4);
  tsr_svg_begin(out, "Latency: median, from the least to 95 % of the runs", WIDTH, height);
  tsr_svg_axis_x(out, &x, &y, 4, ns_text);
  for (uint32_t i = 0; i < count; i++) {
    const tsr_report_file *f = &files[i];
    char title[320], time[32];
    double at = 4 + row_height * (double)i + bar_height / 2.0;
    snprintf(title, sizeof title, "%.200s, %u threads: %s", f->model, f->threads,
             tsr_time_text(f->latency.median, time, sizeof time));
    const char *base = strrchr(f->model, '/');
    tsr_svg_text(out, NAME_WIDTH, at + 3.5, "end", "name", base != NULL ? base + 1 : f->model,
                 NAME_CHARACTERS);
    tsr_svg_line(out, tsr_scale_place(&x, f->latency.least), at,
                 tsr_scale_place(&x, f->latency.p95), at, "axis");
    tsr_svg_mark(out, tsr_scale_place(&x, f->latency.median), at, 0, title);
  }
  tsr_svg_end(out, NULL, 0);
}
