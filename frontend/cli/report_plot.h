/* Axes and marks of the page's plots: SVG without scripts, coloured by the page's style sheet. */
#ifndef TSR_FRONTEND_CLI_REPORT_PLOT_H
#define TSR_FRONTEND_CLI_REPORT_PLOT_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* From values to places. Of a logarithmic one, both ends are above 0. */
typedef struct tsr_scale {
  bool log;
  double low, high;   /* values */
  double from, until; /* places; until may be the smaller one */
} tsr_scale;

/* Values outside go to the nearer end. */
double tsr_scale_place(const tsr_scale *scale, double value);
/* Makes both ends different; then, of a logarithmic scale, at least `least` times apart. */
void tsr_scale_widen(tsr_scale *scale, double least);

/* Ticks that read well: at most `room` values, ascending; 1, 2, 5 steps (1, 10, 100 where a
 * logarithmic scale is long). */
uint32_t tsr_scale_ticks(const tsr_scale *scale, uint32_t most, double *out, uint32_t room);

/* <figure> with a caption, and <svg> of that size, which scales with the page. */
void tsr_svg_begin(FILE *out, const char *caption, double width, double height);
/* Ends both; below the plot stands what the marks of the numbers in the set `used` mean. */
void tsr_svg_end(FILE *out, const char *const *names, uint32_t used);
/* `anchor`: "start", "middle", "end". `most`: characters, 0: all. */
void tsr_svg_text(FILE *out, double x, double y, const char *anchor, const char *class,
                  const char *text, uint32_t most);
void tsr_svg_line(FILE *out, double x1, double y1, double x2, double y2, const char *class);
/* A mark of a group: its colour and its shape go by the number. `title` is what pointing at it
 * shows; it may hold any text. */
void tsr_svg_mark(FILE *out, double x, double y, uint32_t number, const char *title);
/* Ticks with lines across the plot, and their texts below or left of it. */
void tsr_svg_axis_x(FILE *out, const tsr_scale *x, const tsr_scale *y, uint32_t most,
                    void (*text)(double value, char *out, size_t room));
void tsr_svg_axis_y(FILE *out, const tsr_scale *x, const tsr_scale *y, uint32_t most,
                    void (*text)(double value, char *out, size_t room));
#endif
