/* Draws a line of text with a pen of even width. */
#ifndef TESSERA_BENCHMARKS_OCR_DRAW_H
#define TESSERA_BENCHMARKS_OCR_DRAW_H

/* Grey pixels, row by row: 0 black, 1 white. */
typedef struct picture {
  int height, width;
  float *pixels;
} picture;

/* Letters, digits and a few signs of ASCII; others are left out. `size` is the height of capitals
 * in pixels, (x, y) the left end of the base line. Returns where the text ends. */
float draw_text(picture *p, const char *text, float x, float y, float size, float ink);

#endif
