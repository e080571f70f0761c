#include "frontend/cli/report.h"
#include <math.h>
#include <string.h>

/* Colours are chosen for both modes; marks differ by shape too, losses by stripes. */
static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
    "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
    "<title>Tessera: measured speed</title>\n<style>\n"
    ":root{--page:#fcfcfb;--ink:#1b1b1f;--soft:#5d5d66;--rule:#e2e2df;--card:#fff;--win:#2a6fbb;"
    "--loss:#c8501e;--good:#1a7f42;--c0:#2a6fbb;--c1:#c8501e;--c2:#1a7f5a;--c3:#9b3fa5;"
    "--c4:#a77400;--c5:#0d8ba1;--c6:#c23b64;--c7:#6a6a72}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#151518;--ink:#ececef;--soft:#a3a3ad;"
    "--rule:#34343b;--card:#1d1d21;--win:#6ea8ea;--loss:#f08a55;--good:#5fc98a;--c0:#6ea8ea;"
    "--c1:#f08a55;--c2:#55c79a;--c3:#cf8ad8;--c4:#dcae3c;--c5:#55c3d8;--c6:#f07f9f;"
    "--c7:#a9a9b3}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,sans-serif}\n"
    "main{max-width:940px;margin:0 auto;padding:16px}\n"
    "h1{font-size:1.5em;margin:.2em 0}h2{font-size:1.2em;margin:1.8em 0 .2em;"
    "overflow-wrap:anywhere}h3{font-size:1em;margin:1.6em 0 .5em}\n"
    "p{margin:.3em 0;max-width:75ch;overflow-wrap:anywhere}.about{color:var(--soft)}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,370px),1fr));"
    "gap:14px;align-items:start;margin-bottom:14px}\n"
    "figure{margin:0;padding:10px;background:var(--card);border:1px solid var(--rule);"
    "border-radius:6px}\n"
    "figcaption{font-weight:600;font-size:.9em;margin-bottom:6px;overflow-wrap:anywhere}\n"
    "figure>svg{display:block;width:100%;max-width:460px;height:auto}\n"
    "text{font-size:9.5px;fill:var(--ink)}text.tick{fill:var(--soft);font-size:9px}"
    "text.head{font-weight:700}text.lost{fill:var(--loss);font-weight:700}\n"
    ".grid{stroke:var(--rule);stroke-width:.7}.axis{stroke:var(--soft);stroke-width:1}"
    ".roof{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 3}"
    ".peer{stroke:var(--soft);stroke-width:1}.goal{stroke:var(--ink);stroke-width:1.6}\n"
    ".win{fill:var(--win)}.loss{fill:url(#stripes);stroke:var(--loss);stroke-width:.8}\n"
    ".mark{stroke:var(--card);stroke-width:.7}.line{fill:none;stroke-width:1.6}\n"
    ".legend{font-size:.8em;color:var(--soft);margin:6px 0 0}.legend span{margin-right:1em;"
    "white-space:nowrap;display:inline-block;max-width:100%;overflow:hidden;"
    "text-overflow:ellipsis}.key{width:11px;height:11px;vertical-align:-1px}\n"
    ".wide{overflow-x:auto;border:1px solid var(--rule);border-radius:6px;"
    "background:var(--card)}\n"
    "table{border-collapse:collapse;font-size:.86em;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:3px 10px;text-align:right;border-bottom:1px solid var(--rule);"
    "white-space:nowrap;unicode-bidi:isolate}tr:last-child td{border-bottom:0}"
    "th{color:var(--soft);font-weight:600;vertical-align:bottom}\n"
    "td:first-child,th:first-child{text-align:left;white-space:normal;overflow-wrap:break-word;"
    "min-width:9em;max-width:22em}\n"
    "@media(max-width:560px){main{padding:10px}th,td{padding:3px 6px}}\n"
    ".bad{color:var(--loss);font-weight:600}.good{color:var(--good);font-weight:600}\n";

static void put_head(FILE *out) {
  fputs(head, out);
  for (int i = 0; i < 8; i++)
    fprintf(out, ".mark.c%d{fill:var(--c%d)}.line.c%d{stroke:var(--c%d)}", i, i, i, i);
  fputs("\n</style>\n</head>\n<body>\n"
        "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\"><defs>"
        "<pattern id=\"stripes\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" "
        "patternTransform=\"rotate(45)\"><rect width=\"4\" height=\"4\" "
        "style=\"fill:var(--loss);fill-opacity:.25\"/><rect width=\"2\" height=\"4\" "
        "style=\"fill:var(--loss)\"/></pattern></defs></svg>\n"
        "<main>\n<h1>Tessera: measured speed</h1>\n",
        out);
}

/* --- tables --- */

/* Names of columns, apart by '|'. */
static void begin_table(FILE *out, const char *columns) {
  fputs("<div class=\"wide\"><table>\n<thead><tr>", out);
  while (*columns != '\0') {
    size_t length = strcspn(columns, "|");
    fprintf(out, "<th>%.*s</th>", (int)length, columns);
    columns += length + (columns[length] == '|');
  }
  fputs("</tr></thead>\n<tbody>\n", out);
}

static void end_table(FILE *out) {
  fputs("</tbody></table></div>\n", out);
}

static void put_cell(FILE *out, const char *text) {
  fputs("<td>", out);
  tsr_html_put(out, text, 0);
  fputs("</td>", out);
}

static void put_number(FILE *out, double number, int digits) {
  if (number > 0)
    fprintf(out, number < 1e9 ? "<td>%.*f</td>" : "<td>%.*e</td>", digits, number);
  else
    fputs("<td></td>", out);
}

static void put_time(FILE *out, double ns) {
  char text[32];
  put_cell(out, tsr_time_text(ns, text, sizeof text));
}

static void put_ratio(FILE *out, double ratio) {
  if (ratio <= 0)
    fputs("<td></td>", out);
  else
    fprintf(out, ratio < 1e9 ? "<td%s>%.2f</td>" : "<td%s>%.2e</td>",
            tsr_report_loses(ratio) ? " class=\"bad\"" : "", ratio);
}

/* What is to be reached, in the colour of whether it is. */
static void put_bar(FILE *out, double ratio, double bar) {
  if (bar > 0)
    fprintf(out, "<td class=\"%s\">%s %.2f</td>", ratio >= bar ? "good" : "bad",
            ratio >= bar ? "\xe2\x9c\x93" : "\xe2\x9c\x97", bar);
  else
    fputs("<td></td>", out);
}

/* --- comparisons with peers --- */

static void put_about(FILE *out, const tsr_report_file *file) {
  fputs("<p class=\"about\">Commit ", out);
  tsr_html_put(out, *file->commit != '\0' ? file->commit : "unknown", 40);
  if (*file->date != '\0') {
    fputs(", ", out);
    tsr_html_put(out, file->date, 40);
  }
  fputs(".</p>\n", out);
}

static void put_groups(FILE *out, const tsr_report_file *file) {
  begin_table(out, "Group|Threads|Peer|Mean|Bar|Goal|Cases");
  for (uint32_t g = 0; g < file->groups_of_cases.count; g++) {
    const char *name = file->groups_of_cases.texts[g];
    for (uint32_t t = 0; t < file->thread_count_count; t++) {
      for (uint32_t p = 0; p < file->peers.count; p++) {
        uint32_t count, threads = file->thread_counts[t];
        const char *peer = file->peers.texts[p];
        double mean = tsr_report_mean(file, g, peer, threads, &count);
        if (count == 0)
          continue;
        const tsr_report_group *goals = tsr_report_find_group(file, name, peer, threads);
        fputs("<tr>", out);
        put_cell(out, name);
        fprintf(out, "<td>%u</td>", threads);
        put_cell(out, peer);
        put_ratio(out, mean);
        put_bar(out, mean, goals == NULL ? 0 : goals->bar > 0 ? goals->bar : goals->goal);
        put_number(out, goals != NULL ? goals->goal : 0, 2);
        fprintf(out, "<td>%u</td></tr>\n", count);
      }
    }
  }
  end_table(out);
}

static void put_limits(FILE *out, const tsr_report_file *file) {
  if (file->limits == NULL)
    return;
  fputs("<h3>Limits of whole commands</h3>\n", out);
  begin_table(out, "Command|Took|Limit|");
  for (const tsr_report_limit *limit = file->limits; limit != NULL; limit = limit->next) {
    fputs("<tr>", out);
    put_cell(out, limit->name);
    put_time(out, limit->seconds * 1e9);
    put_time(out, limit->limit * 1e9);
    fputs(limit->seconds <= limit->limit ? "<td class=\"good\">\xe2\x9c\x93 kept</td>"
                                         : "<td class=\"bad\">\xe2\x9c\x97 passed</td>",
          out);
    fputs("</tr>\n", out);
  }
  end_table(out);
}

static void put_figure_row(FILE *out, const tsr_report_file *file, const tsr_report_case *c) {
  fputs("<tr>", out);
  put_cell(out, c->name);
  fprintf(out, "<td>%u</td>", c->threads);
  put_time(out, c->time.median);
  put_time(out, c->time.least);
  put_time(out, c->time.p95);
  for (uint32_t p = 0; p < file->peers.count; p++) {
    const tsr_report_versus *v = tsr_report_find_versus(c, file->peers.texts[p]);
    if (v == NULL) {
      fputs("<td></td><td></td><td></td>", out);
      continue;
    }
    put_time(out, v->time.median);
    put_ratio(out, v->ratio);
    put_bar(out, v->ratio, v->bar > 0 ? v->bar : v->goal);
  }
  put_number(out, c->flops / c->time.median, 1);
  put_bar(out, c->best_ratio, c->best_bar > 0 ? c->best_bar : c->best_goal);
  fputs("</tr>\n", out);
}

static void put_figures(FILE *out, const tsr_report_file *file) {
  fputs("<h3>All figures</h3>\n<p class=\"about\">Medians; the bar is the smaller of the goal and "
        "80 % of what the device was measured to permit. The last bar is against the faster of "
        "the peers.</p>\n<div class=\"wide\"><table>\n<thead><tr><th>Case</th><th>Threads</th>"
        "<th>Tessera</th><th>least</th><th>95 %</th>",
        out);
  for (uint32_t p = 0; p < file->peers.count; p++) {
    fputs("<th>", out);
    tsr_html_put(out, file->peers.texts[p], 40);
    fputs("</th><th>ratio</th><th>bar</th>", out);
  }
  fputs("<th>GFLOP/s</th><th>bar</th></tr></thead>\n<tbody>\n", out);
  for (const tsr_report_case *c = file->cases; c != NULL; c = c->next)
    put_figure_row(out, file, c);
  end_table(out);
}

static void put_ceilings(FILE *out, const tsr_report_file *file) {
  if (file->ceilings == NULL)
    return;
  fputs("<h3>What the device was measured to reach</h3>\n", out);
  begin_table(out, "Ceiling|Threads|Median|Unit");
  for (const tsr_report_ceiling *c = file->ceilings; c != NULL; c = c->next) {
    fputs("<tr>", out);
    put_cell(out, c->name);
    fprintf(out, "<td>%u</td>", c->threads);
    put_number(out, c->median, 1);
    put_cell(out, c->unit);
    fputs("</tr>\n", out);
  }
  end_table(out);
}

/* The same case in another file. */
static const tsr_report_case *find_case(const tsr_report_file *file, const tsr_report_case *like) {
  const tsr_report_case *c = file->cases;
  while (c != NULL && (c->threads != like->threads || strcmp(c->name, like->name) != 0))
    c = c->next;
  return c;
}

static void put_history_table(FILE *out, const tsr_report_file *files, uint32_t count) {
  enum { MOST_COLUMNS = 8 };
  uint32_t first = count > MOST_COLUMNS ? count - MOST_COLUMNS : 0;
  fputs("<p class=\"about\">Against the faster peer of each case, by commit.</p>\n"
        "<div class=\"wide\"><table>\n<thead><tr><th>Case</th><th>Threads</th>",
        out);
  for (uint32_t i = first; i < count; i++) {
    fputs("<th>", out);
    tsr_html_put(out, files[i].commit, 10);
    fputs("</th>", out);
  }
  fputs("</tr></thead>\n<tbody>\n", out);
  for (const tsr_report_case *c = files[count - 1].cases; c != NULL; c = c->next) {
    fputs("<tr>", out);
    put_cell(out, c->name);
    fprintf(out, "<td>%u</td>", c->threads);
    for (uint32_t i = first; i < count; i++) {
      const tsr_report_case *then = find_case(&files[i], c);
      put_ratio(out, then != NULL ? then->best_ratio : 0);
    }
    fputs("</tr>\n", out);
  }
  end_table(out);
}

static void put_history(FILE *out, const tsr_report_file *files, uint32_t count) {
  const tsr_report_file *newest = &files[count - 1];
  if (count < 2)
    return;
  fputs("<h3>History</h3>\n<div class=\"plots\">\n", out);
  for (uint32_t p = 0; p < newest->peers.count; p++)
    for (uint32_t t = 0; t < newest->thread_count_count; t++)
      tsr_report_plot_history(out, files, count, newest->peers.texts[p], newest->thread_counts[t]);
  fputs("</div>\n", out);
  put_history_table(out, files, count);
}

/* Files of one device, oldest first: the newest in full, the others in its history. */
static void put_peers(FILE *out, const tsr_report_file *files, uint32_t count) {
  const tsr_report_file *file = &files[count - 1];
  fputs("<section>\n<h2>", out);
  tsr_html_put(out, *file->device != '\0' ? file->device : "Unknown device", 0);
  if (*file->precision != '\0') {
    fputs(", ", out);
    tsr_html_put(out, file->precision, 40);
  }
  fputs("</h2>\n", out);
  put_about(out, file);
  fputs("<p>A ratio is the peer's time over Tessera's in the same run: above 1 Tessera is faster, "
        "below 1 (striped) it loses. Vertical marks on the bars are what is to be reached; means "
        "are geometric.</p>\n",
        out);
  put_groups(out, file);
  put_limits(out, file);
  fputs("<h3>Ratios</h3>\n", out);
  for (uint32_t p = 0; p < file->peers.count; p++) {
    fputs("<div class=\"plots\">\n", out);
    for (uint32_t t = 0; t < file->thread_count_count; t++)
      tsr_report_plot_ratios(out, file, file->peers.texts[p], file->thread_counts[t]);
    fputs("</div>\n", out);
  }
  fputs("<h3>Roofline</h3>\n<p class=\"about\">Marks are Tessera's, strokes where the "
        "fastest peer is.</p>\n<div class=\"plots\">\n",
        out);
  for (uint32_t t = 0; t < file->thread_count_count; t++)
    tsr_report_plot_roofline(out, file, file->thread_counts[t]);
  fputs("</div>\n", out);
  put_history(out, files, count);
  put_figures(out, file);
  put_ceilings(out, file);
  fputs("</section>\n", out);
}

/* --- tuning, latencies --- */

static void put_share(FILE *out, double share, double times, const char *unit) {
  if (isnan(share))
    fputs("<td></td>", out);
  else
    fprintf(out, "<td>%.2f%s</td>", share * times, unit);
}

static void put_tuning(FILE *out, const tsr_report_file *files, uint32_t count) {
  fputs("<section>\n<h2>Tuning", out);
  if (*files->device != '\0') {
    fputs(" on ", out);
    tsr_html_put(out, files->device, 0);
  }
  fputs("</h2>\n<div class=\"plots\">\n", out);
  for (uint32_t i = 0, n; i < count; i += n) {
    for (n = 1; i + n < count && strcmp(files[i].model, files[i + n].model) == 0; n++)
      ;
    tsr_report_plot_tuning(out, &files[i], n);
  }
  fputs("</div>\n<p class=\"about\">Rank is the correlation of what the model predicts with what "
        "is measured; top 1 and top 10: what its best, or the best of its ten, lacks of the best "
        "that was measured.</p>\n",
        out);
  begin_table(out, "Model|Threads|First|Best|Gain|Trials|Seconds|Rank|Top 1|Top 10|Commit|Date");
  for (uint32_t i = 0; i < count; i++) {
    const tsr_report_file *f = &files[i];
    const tsr_report_point *last = &f->points[f->point_count > 0 ? f->point_count - 1 : 0];
    fputs("<tr>", out);
    put_cell(out, f->model);
    fprintf(out, "<td>%u</td>", f->threads);
    if (f->point_count > 0) {
      put_time(out, f->points->ns);
      put_time(out, last->ns);
      put_ratio(out, f->points->ns / last->ns);
      put_number(out, last->trials, 0);
      put_number(out, last->seconds, 1);
    } else {
      fputs("<td></td><td></td><td></td><td></td><td></td>", out);
    }
    put_share(out, f->rank_correlation, 1, "");
    put_share(out, f->top1_regret, 100, " %");
    put_share(out, f->top10_regret, 100, " %");
    put_cell(out, f->commit);
    put_cell(out, f->date);
    fputs("</tr>\n", out);
  }
  end_table(out);
  fputs("</section>\n", out);
}

/* Files of one device, oldest first: the newest counts. */
static void put_goals(FILE *out, const tsr_report_file *files, uint32_t count) {
  const tsr_report_file *file = &files[count - 1];
  fputs("<section>\n<h2>Goals of the tuner", out);
  if (*file->device != '\0') {
    fputs(" on ", out);
    tsr_html_put(out, file->device, 0);
  }
  fputs("</h2>\n", out);
  put_about(out, file);
  begin_table(out, "What|Figure|Limit|");
  for (const tsr_report_goal *goal = file->goals; goal != NULL; goal = goal->next) {
    fputs("<tr><td>", out);
    tsr_html_put(out, goal->name, 0);
    if (*goal->device != '\0' && strcmp(goal->device, file->device) != 0) {
      fputs(", on ", out);
      tsr_html_put(out, goal->device, 0);
    }
    fprintf(out, "</td><td>%.4g ", goal->value);
    tsr_html_put(out, goal->unit, 20);
    if (isnan(goal->limit)) {
      fputs("</td><td></td><td></td></tr>\n", out);
      continue;
    }
    fprintf(out, "</td><td>%.4g ", goal->limit);
    tsr_html_put(out, goal->unit, 20);
    fputs(goal->value < goal->limit ? "</td><td class=\"good\">\xe2\x9c\x93 met</td>"
                                    : "</td><td class=\"bad\">\xe2\x9c\x97 missed</td>",
          out);
    fputs("</tr>\n", out);
  }
  end_table(out);
  fputs("</section>\n", out);
}

static void put_latencies(FILE *out, const tsr_report_file *files, uint32_t count) {
  fputs("<section>\n<h2>Latencies", out);
  if (*files->device != '\0') {
    fputs(" on ", out);
    tsr_html_put(out, files->device, 0);
  }
  fputs("</h2>\n<div class=\"plots\">\n", out);
  tsr_report_plot_latency(out, files, count);
  fputs("</div>\n", out);
  begin_table(out, "Model|Target|Threads|Precision|Median|least|95 %|Runs|Kernels|Load|Commit");
  for (uint32_t i = 0; i < count; i++) {
    const tsr_report_file *f = &files[i];
    fputs("<tr>", out);
    put_cell(out, f->model);
    put_cell(out, f->target);
    fprintf(out, "<td>%u</td>", f->threads);
    put_cell(out, f->precision);
    put_time(out, f->latency.median);
    put_time(out, f->latency.least);
    put_time(out, f->latency.p95);
    put_number(out, f->runs, 0);
    put_number(out, f->kernels, 0);
    if (f->load_ns > 0)
      put_time(out, f->load_ns);
    else
      put_cell(out, "");
    put_cell(out, f->commit);
    fputs("</tr>\n", out);
  }
  end_table(out);
  fputs("</section>\n", out);
}

/* A device's comparisons are told apart by precision too: each is a history of its own. */
static bool is_same_section(const tsr_report_file *a, const tsr_report_file *b) {
  return a->kind == b->kind && strcmp(a->device, b->device) == 0 &&
         (a->kind != TSR_REPORT_PEERS || strcmp(a->precision, b->precision) == 0);
}

void tsr_report_write_page(FILE *out, const tsr_report *report) {
  static void (*const sections[])(FILE *, const tsr_report_file *,
                                  uint32_t) = {[TSR_REPORT_PEERS] = put_peers,
                                               [TSR_REPORT_TUNING] = put_tuning,
                                               [TSR_REPORT_GOALS] = put_goals,
                                               [TSR_REPORT_BENCH] = put_latencies};
  put_head(out);
  for (uint32_t i = 0, n; i < report->count; i += n) {
    const tsr_report_file *first = &report->files[i];
    for (n = 1; i + n < report->count && is_same_section(first, &first[n]); n++)
      ;
    sections[first->kind](out, first, n);
  }
  fputs("</main>\n</body>\n</html>\n", out);
}
