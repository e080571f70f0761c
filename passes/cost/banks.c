#include "passes/cost/banks.h"

enum { BANKS = 32, PHASE_BYTES = 128, WARP = 32 };

uint32_t tsr_banks_address(const tsr_banks_layout *layout, uint32_t row, uint32_t byte) {
  const uint32_t at = row * layout->row_bytes + byte;
  if (layout->swizzle == 0)
    return at;
  return at ^ ((at >> 3) & (layout->swizzle - 16));
}

static uint32_t phase_passes(const uint32_t *addresses, uint32_t count, uint32_t bytes) {
  uint32_t words[WARP * 4], used = 0, fill[BANKS] = {0}, most = 1;
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t w = addresses[i] / 4; w <= (addresses[i] + bytes - 1) / 4; w++) {
      bool known = false;
      for (uint32_t k = 0; k < used && !known; k++)
        known = words[k] == w;
      if (known)
        continue;
      words[used++] = w;
      if (++fill[w % BANKS] > most)
        most = fill[w % BANKS];
    }
  return most;
}

uint32_t tsr_banks_passes(const uint32_t *addresses, uint32_t count, uint32_t bytes) {
  const uint32_t wide = bytes > 4 ? bytes : 4, phase = PHASE_BYTES / wide;
  uint32_t passes = 0;
  for (uint32_t at = 0; at < count; at += phase)
    passes += phase_passes(addresses + at, count - at < phase ? count - at : phase, bytes);
  return passes;
}

uint32_t tsr_banks_least(const tsr_banks_access *access) {
  return access->bytes > 4 ? WARP * access->bytes / PHASE_BYTES : 1;
}

uint32_t tsr_banks_worst(const tsr_banks_layout *layout, uint32_t used_bytes,
                         const tsr_banks_access *access) {
  const uint32_t step = access->across_step != 0 ? access->across_step : access->bytes;
  const uint32_t width = (access->across - 1) * step + access->bytes;
  uint32_t worst = 0;
  for (uint32_t start = 0; start == 0 || start + width <= used_bytes; start += width) {
    uint32_t addresses[WARP];
    for (uint32_t i = 0; i < WARP; i++)
      addresses[i] = tsr_banks_address(layout, i / access->across * access->row_step,
                                       start + i % access->across * step);
    const uint32_t passes = tsr_banks_passes(addresses, WARP, access->bytes);
    worst = passes > worst ? passes : worst;
  }
  return worst;
}

void tsr_banks_choose(uint32_t used_bytes, const tsr_banks_access *read,
                      const tsr_banks_access *write, tsr_banks_layout *out_layout) {
  uint32_t least_read = UINT32_MAX, least_write = UINT32_MAX;
  for (uint32_t i = 0; i <= 8; i++) {
    tsr_banks_layout layout = {used_bytes, used_bytes};
    const bool swizzled = i == 0;
    if (swizzled && used_bytes != 32 && used_bytes != 64 && used_bytes != 128)
      continue;
    if (!swizzled)
      layout = (tsr_banks_layout){used_bytes + (i - 1) * 16, 0};
    const uint32_t reads = tsr_banks_worst(&layout, used_bytes, read);
    const uint32_t writes = tsr_banks_worst(&layout, used_bytes, write);
    if (reads < least_read || (reads == least_read && writes < least_write)) {
      least_read = reads;
      least_write = writes;
      *out_layout = layout;
    }
  }
}
