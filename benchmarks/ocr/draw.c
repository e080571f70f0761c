/* The letters are strokes, listed below: points on a grid, the first digit from left to right, the
 * second one downwards from 0, the top of capitals, to a, the base line, and d, the lowest. A
 * stroke that begins with '~' is a smooth curve through its points (Catmull-Rom), others are
 * straight. A pixel is as dark as the pen, a disc, covers it on its nearest way. */
#include "draw.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct glyph {
  char symbol;
  float width; /* with the gap to the next one, in units of the grid */
  const char *strokes;
} glyph;

static const glyph glyphs[] = {
    {' ', 5, ""},
    {'A', 9, "0a 40 8a|17 77"},
    {'B', 9, "00 0a|00 30|~30 51 62 64 45|45 05|~45 66 78 69 4a|4a 0a"},
    {'C', 10, "~82 61 40 21 03 05 07 29 4a 69 88"},
    {'D', 10, "00 0a|00 30|~30 61 83 85 87 69 3a|3a 0a"},
    {'E', 9, "60 00 0a 6a|05 55"},
    {'F', 8, "60 00 0a|05 55"},
    {'G', 10, "~82 61 40 21 03 05 07 29 4a 69 87|87 86 56"},
    {'H', 10, "00 0a|80 8a|05 85"},
    {'I', 3, "00 0a"},
    {'J', 7, "~40 47 39 1a 09|40 47"},
    {'K', 9, "00 0a|70 06|34 7a"},
    {'L', 8, "00 0a 6a"},
    {'M', 11, "0a 00 48 80 8a"},
    {'N', 10, "0a 00 8a 80"},
    {'O', 10, "~40 21 03 05 07 29 4a 69 87 85 83 61 40"},
    {'P', 9, "0a 00 40|~40 61 73 65 46|46 06"},
    {'Q', 10, "~40 21 03 05 07 29 4a 69 87 85 83 61 40|57 8b"},
    {'R', 9, "0a 00 40|~40 61 73 65 46|46 06|46 7a"},
    {'S', 9, "~72 61 40 21 03 24 45 66 78 69 4a 29 08"},
    {'T', 8, "00 70|30 3a"},
    {'U', 10, "~80 86 69 4a 29 06 00"},
    {'V', 9, "00 4a 80"},
    {'W', 12, "00 2a 51 8a a0"},
    {'X', 9, "00 7a|70 0a"},
    {'Y', 9, "00 45 80|45 4a"},
    {'Z', 9, "00 70 0a 7a"},
    {'a', 8, "~04 13 33 54 56|56 5a|~56 36 16 08 19 2a 49 58"},
    {'b', 8, "00 0a|~07 15 33 54 67 59 3a 19 07"},
    {'c', 7, "~54 33 15 07 19 3a 59"},
    {'d', 8, "60 6a|~67 54 33 15 07 19 3a 59 67"},
    {'e', 8, "~07 67 54 33 15 07 19 3a 59|07 67"},
    {'f', 5, "~40 31 23|23 2a|03 43"},
    {'g', 8, "~67 54 33 15 07 19 3a 59 67|63 6a|~6a 5c 3d 1c"},
    {'h', 8, "00 0a|~06 14 33 53 65|65 6a"},
    {'i', 3, "03 0a|00 01"},
    {'j', 4, "13 1b|~1b 0d|10 11"},
    {'k', 7, "00 0a|53 07|26 5a"},
    {'l', 3, "00 0a"},
    {'m', 11, "03 0a|~06 14 33 44 46|46 4a|~46 54 73 84 86|86 8a"},
    {'n', 8, "03 0a|~06 14 33 53 65|65 6a"},
    {'o', 8, "~33 15 07 19 3a 59 67 55 33"},
    {'p', 8, "03 0d|~07 15 33 54 67 59 3a 19 07"},
    {'q', 8, "63 6d|~67 54 33 15 07 19 3a 59 67"},
    {'r', 5, "03 0a|~06 14 33 43"},
    {'s', 7, "~54 33 14 05 26 47 58 49 2a 09"},
    {'t', 5, "21 28|~28 29 3a 4a|03 43"},
    {'u', 8, "03 08|~08 19 3a 59 67|63 6a"},
    {'v', 7, "03 3a 63"},
    {'w', 10, "03 2a 45 6a 83"},
    {'x', 7, "03 5a|53 0a"},
    {'y', 7, "03 3a|63 3a 1d"},
    {'z', 7, "03 53 0a 5a"},
    {'0', 9, "~30 11 03 05 07 19 3a 59 67 65 63 51 30"},
    {'1', 6, "02 30 3a"},
    {'2', 9, "~02 11 30 51 63 55 38 0a|0a 6a"},
    {'3', 9, "~01 20 50 62 54 35|~35 55 67 59 3a 19 08"},
    {'4', 9, "5a 50 07 77"},
    {'5', 9, "60 10 05|~05 34 55 67 59 3a 19 08"},
    {'6', 9, "~61 30 11 05 07 19 3a 59 67 55 34 15 07"},
    {'7', 8, "00 60 2a"},
    {'8', 9, "~30 11 03 15 35 57 58 4a 2a 08 17 35 54 53 51 30"},
    {'9', 9, "~63 55 36 15 03 11 30 51 63 66 59 3a 19"},
    {'.', 3, "09 0a"},
    {',', 3, "09 0c"},
    {'-', 6, "06 46"},
    {':', 3, "04 05|09 0a"},
    {'!', 3, "00 06|09 0a"},
    {'+', 8, "33 39|06 66"},
    {'=', 8, "05 65|08 68"},
    {'/', 6, "40 0b"},
    {'?', 8, "~02 11 30 51 53 35 36|36 37|39 3a"},
};

enum { MOST_POINTS = 32, PIECES = 8 };

typedef struct point {
  float x, y;
} point;

typedef struct pen {
  picture *picture;
  point origin; /* of the grid, in pixels */
  float unit;   /* of the grid, in pixels */
  float radius; /* in pixels */
  float ink;
} pen;

static float coordinate(char digit) {
  return (float)(digit >= 'a' ? digit - 'a' + 10 : digit - '0');
}

static float distance(point a, point b, float x, float y) {
  float dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  float t = length > 0 ? ((x - a.x) * dx + (y - a.y) * dy) / length : 0;
  t = fminf(fmaxf(t, 0), 1);
  return hypotf(x - a.x - t * dx, y - a.y - t * dy);
}

static void draw_line(const pen *with, point a, point b) {
  picture *p = with->picture;
  int reach = (int)with->radius + 2;
  int top = (int)fminf(a.y, b.y) - reach, bottom = (int)fmaxf(a.y, b.y) + reach;
  int left = (int)fminf(a.x, b.x) - reach, right = (int)fmaxf(a.x, b.x) + reach;
  for (int y = top < 0 ? 0 : top; y <= bottom && y < p->height; y++) {
    for (int x = left < 0 ? 0 : left; x <= right && x < p->width; x++) {
      float covered = with->radius + 0.5f - distance(a, b, (float)x, (float)y);
      float *pixel = &p->pixels[y * p->width + x];
      covered = fminf(fmaxf(covered, 0), 1);
      *pixel = fminf(*pixel, 1 - covered * (1 - with->ink));
    }
  }
}

/* Between b and c at t of a curve through a, b, c, d. */
static float curve(float a, float b, float c, float d, float t) {
  float linear = c - a, square = 2 * a - 5 * b + 4 * c - d, cube = 3 * b - 3 * c + d - a;
  return b + 0.5f * t * (linear + t * (square + t * cube));
}

static void draw_curve(const pen *with, const point *points, int count) {
  int closed = points[0].x == points[count - 1].x && points[0].y == points[count - 1].y;
  point last = points[0];
  for (int i = 0; i + 1 < count; i++) {
    point before = points[i > 0 ? i - 1 : closed ? count - 2 : 0];
    point after = points[i + 2 < count ? i + 2 : closed ? 1 : count - 1];
    for (int k = 1; k <= PIECES; k++) {
      float t = (float)k / (float)PIECES;
      point next = {curve(before.x, points[i].x, points[i + 1].x, after.x, t),
                    curve(before.y, points[i].y, points[i + 1].y, after.y, t)};
      draw_line(with, last, next);
      last = next;
    }
  }
}

static void draw_strokes(const pen *with, const char *at) {
  point points[MOST_POINTS];
  while (*at != '\0') {
    int smooth = *at == '~', count = 0;
    at += smooth;
    while (*at != '\0' && *at != '|' && count < MOST_POINTS) {
      points[count].x = with->origin.x + with->unit * coordinate(at[0]);
      points[count++].y = with->origin.y + with->unit * coordinate(at[1]);
      at += at[2] == ' ' ? 3 : 2;
    }
    if (smooth)
      draw_curve(with, points, count);
    for (int i = 1; i < count && !smooth; i++)
      draw_line(with, points[i - 1], points[i]);
    at += *at == '|';
  }
}

float draw_text(picture *p, const char *text, float x, float y, float size, float ink) {
  pen with = {p, {x, y - size}, size / 10, size * 0.065f, ink};
  for (; *text != '\0'; text++) {
    for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++) {
      if (glyphs[i].symbol != *text)
        continue;
      draw_strokes(&with, glyphs[i].strokes);
      with.origin.x += (glyphs[i].width + 0.7f) * with.unit;
    }
  }
  return with.origin.x;
}
