/* contract by mma.sync: every warp multiplies its blocks, the operands are words in registers. */
#include "codegen/cuda/emit.h"
#include <string.h>

static const struct {
  const char *atom, *text;
} names[] = {{"mma.f16", "f16_16x8x16"},     {"mma.bf16", "bf16_16x8x16"},
             {"mma.tf32", "tf32_16x8x8"},    {"mma.s8", "s8_16x8x32"},
             {"mma.f8e4m3", "e4m3_16x8x32"}, {"mma.f8e5m2", "e5m2_16x8x32"}};

static const char *function_of(tsr_cu *e, const tsr_cu_mma *mma) {
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
    if (!strcmp(names[i].atom, mma->atom->text))
      return names[i].text;
  return tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' has no code on CUDA", mma->atom->text);
}

/* The word of elements r<depth> .. of a tile that is not packed. */
static const char *word_of(tsr_cu *e, const tsr_cu_tile *tile, uint32_t depth) {
  const unsigned bits = tsr_dtype_bits(tile->dtype), fields = 32 / bits;
  const char *values[4], *word = NULL;
  for (unsigned i = 0; i < fields; ++i) {
    const char *r[2] = {NULL, NULL};
    if (i > 0)
      r[depth] = tsr_cu_format(e, "(r%u + %u)", depth, i);
    values[i] = tsr_cu_register_at(e, tile, r);
  }
  if (fields == 1)
    return tsr_cu_format(e, "tsr_f32_to_tf32(%s)", values[0]);
  if (fields == 2)
    return tsr_cu_format(e, "tsr_f32x2_to_%sx2(%s, %s)", tsr_dtype_text(tile->dtype), values[0],
                         values[1]);
  for (unsigned i = 0; i < fields; ++i) {
    const char *part =
        tsr_cu_format(e, "(tsr_u32)(tsr_u8)%s", tsr_cu_bitcast(e, tile->dtype, TSR_U8, values[i]));
    word = i ? tsr_cu_format(e, "%s | %s << %u", word, part, i * bits) : part;
  }
  return word;
}

const char *tsr_cu_operand_words(tsr_cu *e, uint32_t number, const tsr_cu_mma *mma) {
  const tsr_cu_layout layout = tsr_cu_mma_operand(mma, number == 0);
  const uint32_t depth = number == 0 ? 0 : 1;
  const tsr_cu_tile *tile = tsr_cu_operand(e, number);
  const uint32_t rows = number == 0 ? mma->m : mma->k, columns = number == 0 ? mma->k : mma->n;
  if (tile->rank != 2 || tile->extents[1] != rows || tile->extents[0] != columns)
    tsr_cu_fail(e, TSR_ERR_VERIFY, "the operands of contract do not fit together");
  if (tile->packed && mma->fields > 1 && tsr_cu_same_layout(tile, &layout))
    return tile->name;
  tile = tsr_cu_relayout(e, tile, &layout);
  tsr_cu_tile shape = *tile;
  shape.layout = layout;
  const tsr_cu_tile *words = tsr_cu_declare_packed(e, &shape, tsr_cu_temporary(e, "words"));
  tsr_cu_begin_runs(e, words, false, depth, mma->fields);
  const char *place = tsr_cu_register_number(e, words, NULL);
  if (mma->fields > 1)
    place = tsr_cu_format(e, "(%s) / %u", place, mma->fields);
  tsr_cu_line(e, "%s[%s] = %s;", words->name, place, word_of(e, tile, depth));
  tsr_cu_end(e);
  return words->name;
}

/* Opens a loop over blocks, if there are several; the number of the block. */
static const char *blocks(tsr_cu *e, const char *name, uint32_t count, uint32_t *braces) {
  if (count == 1)
    return NULL;
  tsr_cu_line(e, "TSR_UNROLL");
  tsr_cu_line(e, "for (int %s = 0; %s < %u; ++%s) {", name, name, count, name);
  ++*braces;
  return name;
}

/* array + (outer * inner_count + inner) * size */
static const char *block_of(tsr_cu *e, const char *array, const char *outer, const char *inner,
                            uint32_t inner_count, uint32_t size) {
  if (outer && inner)
    return tsr_cu_format(e, "%s + (%s * %u + %s) * %u", array, outer, inner_count, inner, size);
  if (outer)
    return tsr_cu_format(e, "%s + %s * %u", array, outer, inner_count * size);
  return inner ? tsr_cu_format(e, "%s + %s * %u", array, inner, size) : array;
}

void tsr_cu_contract_mma(tsr_cu *e, const tsr_cu_mma *mma) {
  const tsr_cu_layout layout = tsr_cu_mma_accumulators(mma);
  const char *function = function_of(e, mma);
  uint32_t braces = 0;
  for (uint32_t i = 0; i < 2; ++i)
    if (e->op->operands[i].subscripted)
      tsr_cu_fail(e, TSR_ERR_UNSUPPORTED, "atom '%s' reads no operands in place", mma->atom->text);
  const tsr_cu_tile *acc = tsr_cu_accumulators(e, &layout);
  tsr_cu_line(e, "{");
  const char *a = tsr_cu_operand_words(e, 0, mma), *b = tsr_cu_operand_words(e, 1, mma);
  const char *k = blocks(e, "k", mma->k_blocks, &braces);
  const char *i = blocks(e, "i", mma->m_blocks, &braces);
  const char *j = blocks(e, "j", mma->n_blocks, &braces);
  tsr_cu_line(e, "tsr_mma_%s(%s, %s, %s);", function,
              block_of(e, acc->name, i, j, mma->n_blocks, 4),
              block_of(e, a, i, k, mma->k_blocks, 4), block_of(e, b, j, k, mma->k_blocks, 2));
  for (; braces > 0; --braces)
    tsr_cu_line(e, "}");
  tsr_cu_line(e, "}");
}
