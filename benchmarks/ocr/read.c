/* Reads text from a picture with two of the models that the rapidocr-onnxruntime package ships,
 * compiled to Tessera modules: one finds lines of text, the other one reads a line. The picture is
 * drawn here (draw.c); the program fails when it reads something else than was drawn.
 *
 *   read DETECT.tsm RECOGNIZE.tsm CHARACTERS.txt LINE...
 *
 * The first model makes of pixels f32[1, 3, H, W], H and W multiples of 32, the probability that a
 * pixel is in the core of a line of text. The second one makes of a line f32[1, 3, 48, W]
 * probabilities f32[1, T, C] of characters, from left to right: number 0 is none, 1 and on are the
 * lines of CHARACTERS.txt, the last one is a blank. Pixels are -1 to 1. */
#include "draw.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/runtime.h>
#include <time.h>

enum {
  LETTER = 30,
  LINE_STEP = 84,
  MARGIN = 40,
  LINE_HEIGHT = 48,
  MOST_LINES = 16,
  MOST_TEXT = 256
};

static const float text_threshold = 0.3f; /* as the package has it, like the next one */
static const float unclip_ratio =
    1.6f; /* what was found is the core of a line; the letters reach further */

typedef struct network {
  const char *path;
  tsr_module *module;
  tsr_exec *exec;
} network;

typedef struct box {
  int top, bottom, left, right; /* of pixels, all inside */
} box;

typedef struct characters {
  char *text;
  const char **items;
  int64_t count;
} characters;

_Noreturn static void die(const char *what, const char *why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  exit(1);
}

static void *need(void *memory) {
  if (memory == NULL)
    die("read", "out of memory");
  return memory;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static network open_network(const char *path) {
  network n = {.path = path};
  tsr_message message;
  if (tsr_module_load_file(path, NULL, &n.module, &message) != TSR_OK ||
      tsr_exec_create(n.module, NULL, &n.exec, &message) != TSR_OK)
    die(path, message.text);
  return n;
}

static void close_network(network *n) {
  tsr_exec_destroy(n->exec);
  tsr_module_release(n->module);
}

/* Grey pixels as the three colours that the networks were trained with; the result lives until the
 * next run. */
static DLTensor run_network(network *n, const picture *p) {
  size_t pixels = (size_t)p->height * (size_t)p->width;
  float *planes = need(malloc(3 * pixels * sizeof *planes));
  for (size_t i = 0; i < 3 * pixels; i++)
    planes[i] = 2 * p->pixels[i % pixels] - 1;
  int64_t shape[4] = {1, 3, p->height, p->width};
  DLTensor result, input = {.data = planes,
                            .device = {.device_type = kDLCPU},
                            .ndim = 4,
                            .dtype = tsr_dtype_to_dlpack(TSR_F32),
                            .shape = shape};
  if (tsr_exec_bind_input(n->exec, 0, &input) != TSR_OK || tsr_exec_run(n->exec) != TSR_OK ||
      tsr_exec_output(n->exec, 0, &result) != TSR_OK)
    die(n->path, tsr_exec_last_error(n->exec));
  free(planes);
  return result;
}

static picture new_picture(int height, int width, float shade) {
  picture p = {height, width, need(malloc((size_t)height * (size_t)width * sizeof(float)))};
  for (int i = 0; i < height * width; i++)
    p.pixels[i] = shade;
  return p;
}

static int to_multiple(float length, int of) {
  return ((int)length + of) / of * of;
}

/* Paper that darkens towards a corner, and the lines on it. */
static picture draw_page(char **lines, int count) {
  float width = 0;
  picture nowhere = {0, 0, NULL};
  for (int i = 0; i < count; i++)
    width = fmaxf(width, draw_text(&nowhere, lines[i], MARGIN, 0, LETTER, 0) + (float)MARGIN);
  picture p =
      new_picture(to_multiple((float)(count * LINE_STEP + MARGIN), 32), to_multiple(width, 32), 1);
  for (int y = 0; y < p.height; y++) {
    for (int x = 0; x < p.width; x++)
      p.pixels[y * p.width + x] = 0.98f - 0.2f * (float)(x + y) / (float)(p.width + p.height);
  }
  for (int i = 0; i < count; i++)
    draw_text(&p, lines[i], MARGIN, (float)((i + 1) * LINE_STEP - 10), LETTER, 0.1f);
  return p;
}

/* The box around all pixels that are reached from pixel `start` over its neighbours; clears them.
 */
static box take_region(uint8_t *mask, int height, int width, int start, int *queue) {
  box b = {height, 0, width, 0};
  int begin = 0, end = 0;
  mask[start] = 0;
  queue[end++] = start;
  while (begin < end) {
    int y = queue[begin] / width, x = queue[begin] % width;
    begin++;
    b.top = y < b.top ? y : b.top;
    b.bottom = y > b.bottom ? y : b.bottom;
    b.left = x < b.left ? x : b.left;
    b.right = x > b.right ? x : b.right;
    for (int k = 0; k < 9; k++) {
      int ny = y + k / 3 - 1, nx = x + k % 3 - 1;
      if (ny < 0 || nx < 0 || ny >= height || nx >= width || !mask[ny * width + nx])
        continue;
      mask[ny * width + nx] = 0;
      queue[end++] = ny * width + nx;
    }
  }
  return b;
}

static box grow_box(box b, int height, int width) {
  float h = (float)(b.bottom - b.top + 1), w = (float)(b.right - b.left + 1);
  int by = (int)(h * w * unclip_ratio / (2 * (h + w)) + 0.5f);
  b.top = b.top > by ? b.top - by : 0;
  b.left = b.left > by ? b.left - by : 0;
  b.bottom = b.bottom + by < height ? b.bottom + by : height - 1;
  b.right = b.right + by < width ? b.right + by : width - 1;
  return b;
}

/* Lines of text from top to bottom; specks are left out. */
static int find_lines(network *detector, const picture *page, box *lines) {
  DLTensor found = run_network(detector, page);
  if (found.ndim != 4 || found.shape[2] != page->height || found.shape[3] != page->width)
    die(detector->path, "its output does not fit the picture");
  int size = page->height * page->width, count = 0;
  uint8_t *mask = need(calloc((size_t)size, 1));
  int *queue = need(malloc((size_t)size * sizeof *queue));
  for (int i = 0; i < size; i++)
    mask[i] = ((const float *)found.data)[i] > text_threshold;
  for (int i = 0; i < size && count < MOST_LINES; i++) {
    if (!mask[i])
      continue;
    box b = take_region(mask, page->height, page->width, i, queue);
    if (b.bottom - b.top >= 3 && b.right - b.left >= 3)
      lines[count++] = grow_box(b, page->height, page->width);
  }
  free(queue);
  free(mask);
  return count;
}

/* A box of the page as a line of LINE_HEIGHT pixels, bilinear. */
static picture cut_line(const picture *page, box b) {
  int height = b.bottom - b.top + 1, width = b.right - b.left + 1;
  picture line = new_picture(LINE_HEIGHT, (width * LINE_HEIGHT + height - 1) / height, 0);
  for (int i = 0; i < line.height * line.width; i++) {
    float y = ((float)(i / line.width) + 0.5f) * (float)height / (float)LINE_HEIGHT - 0.5f;
    float x = ((float)(i % line.width) + 0.5f) * (float)width / (float)line.width - 0.5f;
    y = fminf(fmaxf(y, 0), (float)height - 1);
    x = fminf(fmaxf(x, 0), (float)width - 1);
    int y0 = (int)y, x0 = (int)x, y1 = y0 + 1 < height ? y0 + 1 : y0,
        x1 = x0 + 1 < width ? x0 + 1 : x0;
    const float *from = page->pixels + b.top * page->width + b.left;
    float upper = from[y0 * page->width + x0] * (1 - x + (float)x0) +
                  from[y0 * page->width + x1] * (x - (float)x0);
    float lower = from[y1 * page->width + x0] * (1 - x + (float)x0) +
                  from[y1 * page->width + x1] * (x - (float)x0);
    line.pixels[i] = upper * (1 - y + (float)y0) + lower * (y - (float)y0);
  }
  return line;
}

static characters load_characters(const char *path) {
  FILE *file = fopen(path, "rb");
  long size = -1;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
    die(path, "cannot be read");
  rewind(file);
  characters c = {.text = need(calloc((size_t)size + 1, 1))};
  if (fread(c.text, 1, (size_t)size, file) != (size_t)size)
    die(path, "cannot be read");
  fclose(file);
  c.items = need(malloc(((size_t)size + 3) * sizeof *c.items));
  c.items[c.count++] = "";
  for (char *at = c.text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
    *end = '\0';
    c.items[c.count++] = at;
  }
  c.items[c.count++] = " ";
  return c;
}

/* The likeliest character at every place; equal ones in a row are one, unless there is none between
 * them. */
static void read_line(network *reader, const characters *known, const picture *line,
                      char *out_text) {
  DLTensor result = run_network(reader, line);
  if (result.ndim != 3 || result.shape[2] != known->count)
    die(reader->path, "its output does not fit the list of characters");
  int64_t last = 0;
  size_t length = 0;
  for (int64_t t = 0; t < result.shape[1]; t++) {
    const float *p = (const float *)result.data + t * known->count;
    int64_t best = 0;
    for (int64_t i = 1; i < known->count; i++)
      best = p[i] > p[best] ? i : best;
    size_t more = best != last ? strlen(known->items[best]) : 0;
    if (length + more < MOST_TEXT)
      memcpy(out_text + length, known->items[best], more);
    length += length + more < MOST_TEXT ? more : 0;
    last = best;
  }
  out_text[length] = '\0';
}

int main(int argc, char **argv) {
  if (argc < 5 || argc - 4 > MOST_LINES) {
    fprintf(stderr, "usage: read DETECT.tsm RECOGNIZE.tsm CHARACTERS.txt LINE...\n");
    return 2;
  }
  network detector = open_network(argv[1]), reader = open_network(argv[2]);
  characters known = load_characters(argv[3]);
  picture page = draw_page(argv + 4, argc - 4);
  box boxes[MOST_LINES];
  double begin = now_ms();
  int count = find_lines(&detector, &page, boxes), wrong = count != argc - 4;
  printf("%d x %d pixels, %d line%s of text found (%.0f ms)\n", page.width, page.height, count,
         count == 1 ? "" : "s", now_ms() - begin);
  for (int i = 0; i < count; i++) {
    char text[MOST_TEXT];
    picture line = cut_line(&page, boxes[i]);
    begin = now_ms();
    read_line(&reader, &known, &line, text);
    int right = i < argc - 4 && strcmp(text, argv[4 + i]) == 0;
    printf("%s \"%s\" (%.0f ms)\n", right ? "read: " : "wrong:", text, now_ms() - begin);
    wrong |= !right;
    free(line.pixels);
  }
  free(page.pixels);
  free(known.items);
  free(known.text);
  close_network(&reader);
  close_network(&detector);
  return wrong;
}
