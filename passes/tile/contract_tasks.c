/* Tasks of a contraction: their order, and how many the outer axes and rows make. Threads take
 * shares of tasks in a row, so the order says what each of them reads and writes. */
#include "passes/tile/contract.h"

/* Is the operand, whose side is `axis`, a constant that every one of several threads can keep in L2
 * beside what else it reads? */
static bool stays_near(const tsr_nest *nest, const tsr_contraction *c,
                       const tsr_contract_operand *operand, int axis) {
  const double share = (double)nest->target->l2_bytes / 4;
  return nest->target->threads > 1 && axis >= 0 && operand->packable && c->depth_fixed &&
         (double)nest->axes[axis].size * (double)c->depth_size * (double)operand->bytes <= share;
}

bool tsr_contract_columns_first(const tsr_nest *nest, const tsr_contraction *c, bool pack_a) {
  if (pack_a || c->direct || c->m < 0 || c->n < 0)
    return false;
  if (stays_near(nest, c, &c->b, c->n))
    return false;
  if (stays_near(nest, c, &c->a, c->m))
    return true;
  return c->b.packable && nest->axes[c->n].size * c->b.bytes > nest->axes[c->m].size * c->a.bytes;
}

bool tsr_contract_rows_first(const tsr_nest *nest, const tsr_contraction *c) {
  enum { LINES = 4 }; /* of each thread, beside two that others wrote */
  return c->direct && c->direct_y >= 0 &&
         c->line[0].size >= LINES * (int64_t)nest->target->threads &&
         stays_near(nest, c, &c->b, c->n);
}

uint32_t tsr_contract_outer_grid(const tsr_nest *nest, const tsr_contraction *c, uint32_t count,
                                 double work, double grain) {
  while (count > 0 && work * (double)nest->axes[c->outer[count - 1]].size <= grain)
    work *= (double)nest->axes[c->outer[--count]].size;
  return count;
}

int64_t tsr_contract_window_block(const tsr_nest *nest, const tsr_contraction *c, uint32_t count,
                                  double columns, double work, double grain) {
  const int64_t all = nest->axes[tsr_contract_window_row(c)].size;
  double tasks = columns < 1 ? 1 : columns;
  for (uint32_t i = 0; i + 1 < c->outer_count; i++)
    *(i < count ? &tasks : &work) *= (double)nest->axes[c->outer[i]].size;
  const double wanted = 4 * (double)nest->target->threads / tasks;
  const double parts = wanted < work / grain ? wanted : work / grain;
  if (nest->target->threads <= 1 || parts < 2)
    return all;
  const int64_t rows = (int64_t)((double)all / parts);
  return rows < 1 ? 1 : rows;
}

/* As many rows as make a task of `grain` cycles, in equal blocks: as many as share out evenly where
 * rows come first. */
int64_t tsr_contract_direct_rows_of(const tsr_nest *nest, const tsr_contraction *c, int64_t columns,
                                    double grain) {
  const double lanes = tsr_target_lanes(nest->target, tsr_dtype_bits(c->dtype));
  const int64_t all = c->direct_y < 0 ? 1 : nest->axes[c->direct_y].size;
  const int64_t threads = (int64_t)nest->target->threads;
  const double row =
      (double)c->depth_size * (double)nest->axes[c->m].size * (double)columns / (2 * lanes) + 20;
  int64_t rows = all;
  while (rows > 1 && row * (double)(rows - 1) >= grain)
    rows--;
  int64_t blocks = (all + rows - 1) / rows;
  if (tsr_contract_rows_first(nest, c) && all >= threads)
    blocks = (blocks + threads - 1) / threads * threads;
  blocks = blocks < all ? blocks : all;
  return (all + blocks - 1) / blocks;
}
