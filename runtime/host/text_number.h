/* Numbers as text and back, as Cast of ONNX does: the same under every locale. */
#ifndef TSR_RUNTIME_HOST_TEXT_NUMBER_H
#define TSR_RUNTIME_HOST_TEXT_NUMBER_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <stdint.h>
#include <tessera/dtype.h>

enum { TSR_NUMBER_TEXT = 40 }; /* room for any number, terminated */

/* Integers in decimals, bool as 1 or 0. Floats with the fewest digits that read back as the same
 * number (of f32 for the narrow types), plain or as 1e-05, 1.5e+10: with an exponent below -4, or
 * of at least 8 that the digits do not reach; NaN, INF, -INF. ONNX Runtime writes the same but for
 * its eighth digit, which it also writes when seven say the same number. Returns the length. */
size_t tsr_number_format(tsr_dtype dtype, const void *data, int64_t index, char *out);
/* Stores what the text says: digits with sign, point and exponent, between white space; for floats
 * also inf, infinity and nan in any case. Of integer types: integers keep their low bits, fractions
 * are cut off. TSR_ERR_FORMAT: no such number, or not in the range of 64 bits. */
TSR_WARN_UNUSED tsr_status tsr_number_parse(const char *text, tsr_dtype dtype, void *data,
                                            int64_t index, tsr_arena *arena);

#endif
