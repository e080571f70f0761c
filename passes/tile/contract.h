/* Contractions: blocks whose only reduction is a sum of products of two operands, recognised by
 * what varies with what, whatever ops they came from. */
#ifndef TSR_PASSES_TILE_CONTRACT_H
#define TSR_PASSES_TILE_CONTRACT_H
#include "passes/tile/nest.h"

/* The row operand (a: varies with m, its elements are broadcast but for `each`) or the column
 * operand (b: varies with n, on the lanes). */
typedef struct tsr_contract_operand {
  tsr_value value;
  uint32_t varies;
  bool constant;         /* its largest access reads a constant */
  bool packable;         /* the constant can be laid out in panels at compile time */
  int64_t side_stride;   /* of that access along m (n) */
  int depth_axis;        /* red axis along which it is contiguous, or -1 */
  int64_t bytes;         /* of one element */
  tsr_nest_access *main; /* that access, or NULL */
  bool alone;            /* no other access of the operand runs along a red axis */
  bool checked;          /* its subscripts may leave the buffer (padding) */
} tsr_contract_operand;

/* A line of pixels as an operand reads it: position p under tap t (a depth axis, -1: none) is at
 * p * step + t * apart + low of `extent`, which is `size` where that is known, else -1. */
typedef struct tsr_contract_line {
  int tap;
  int64_t taps, step, apart, low, size;
  tsr_expr extent;
} tsr_contract_line;

typedef struct tsr_contraction {
  tsr_op reduce;
  tsr_dtype dtype;
  const char *atom;
  unsigned parts; /* of bf16 that its operands are split into (contract_parts.h); 1: none */
  tsr_contract_operand a, b;
  int m, n;    /* axes; m is -1 for a vector times a matrix */
  bool across; /* the output is contiguous along m: tiles are turned where they are stored */
  uint32_t outer[TSR_NEST_AXES], outer_count;
  uint32_t depth[TSR_NEST_AXES], depth_count; /* red axes, innermost last */
  bool few_rows;                              /* too few to share a copy of b */
  bool window; /* few rows, and neighbours of the result read the same of b, or zeros beside it */
  bool depth_fixed;
  int64_t depth_size; /* their product */
  /* n runs over whole rows of two variables, n = y * width + x, which only b reads apart. */
  bool flat;
  uint32_t flat_x;
  tsr_expr flat_rows;
  int64_t flat_width, flat_rows_size;
  /* Across (but for `each`), with windows: m are the pixels x of a row y (an axis that is not among
   * `outer`; -1: one row). Taps along y, then those along x are outermost in `depth`. */
  bool direct;
  /* Direct, and a varies with n as b does, such as a depthwise convolution whose channels lie side
   * by side: the depth is taps alone, and nothing is turned. */
  bool each;
  int direct_y;
  tsr_contract_line line[2]; /* along y, along x */
  /* Flat columns: a depth axis along which b's rows move as they do along y, both in one subscript,
   * y * row_step + tap * tap_step + ..; -1: none. A row that is copied once then serves several
   * taps. It is the last of `depth`. */
  int tap;
  int64_t tap_size, tap_step, row_step;
} tsr_contraction;

/* Rows of b that a block of `rows` rows of the output copies for all taps together. */
int64_t tsr_contract_tap_rows(const tsr_contraction *c, int64_t rows);

/* NULL: the block is no contraction. Joins the flat pair in the nest; further calls return the same
 * answer. */
const tsr_contraction *tsr_contract_match(tsr_nest *nest);

/* Does what is stored beyond the axis's end leave the buffer? Not where the axis is a part of a
 * subscript, such as the channels of a group: there the next group begins. */
bool tsr_contract_ends(const tsr_nest *nest, int axis);

/* Are blocks of columns the outermost that number tasks? Threads take shares of tasks in a row:
 * what the outermost axis divides is read by one of them, and everything else by all. So they are
 * where b is a constant in panels and greater than a: a thread fetches its part of the constants,
 * which nothing has in a cache yet, and writes whole columns of the result. Where a is copied,
 * tasks in a row copy the same rows. But a constant that each thread can keep does not divide them:
 * the image, or the rows, that it is multiplied with come first, so that every thread goes on with
 * the part of it that it wrote one launch before. */
bool tsr_contract_columns_first(const tsr_nest *nest, const tsr_contraction *c, bool pack_a);

/* Are blocks of lines of the image the outermost that number tasks of a direct contraction, as
 * where the constant is small? Else panels of columns are, each of which serves all lines. */
bool tsr_contract_rows_first(const tsr_nest *nest, const tsr_contraction *c);

/* How many of the first `count` outer axes number tasks: inner ones are loops of a task, which is
 * of `work` cycles without them, while it is smaller than the grain. */
uint32_t tsr_contract_outer_grid(const tsr_nest *nest, const tsr_contraction *c, uint32_t count,
                                 double work, double grain);

/* Rows of the image in a task of so many columns, of a direct contraction. */
int64_t tsr_contract_direct_rows_of(const tsr_nest *nest, const tsr_contraction *c, int64_t columns,
                                    double grain);

/* A window that is small enough to be straight code: depthwise convolution. */
bool tsr_contract_window(const tsr_nest *nest, const tsr_contraction *c);
/* The axis of the result's rows under each other that a window moves along, the innermost of the
 * outer ones; -1: none. */
int tsr_contract_window_row(const tsr_contraction *c);
/* Rows of a task of such a window: all, or fewer where `columns` blocks of columns and the first
 * `count` outer axes make too few tasks for the threads. All rows of one block are `work` cycles.
 */
int64_t tsr_contract_window_block(const tsr_nest *nest, const tsr_contraction *c, uint32_t count,
                                  double columns, double work, double grain);
/* Rows of the output that a register tile of one has under each other, of so many vectors. */
int64_t tsr_contract_window_rows(const tsr_target *target, const tsr_contraction *c, int64_t tile,
                                 int64_t vectors);

#endif
