/* Element types and ranks. One list; codes are stable across module versions. */
#ifndef TESSERA_DTYPE_H
#define TESSERA_DTYPE_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, code, "text", bits, class). Sub-byte types pack from the least significant bit of each
 * byte, rows unpadded. Sources: IEEE 754-2019; bfloat16 (truncated binary32); float8 as in OFP8
 * r1.0 (fn) and its "uz" forms as in ONNX; float6, float4, e8m0: OCP Microscaling Formats v1.0.
 * bool is one byte, 0 or 1; b1 is one bit. */
#define TSR_DTYPE_LIST(X)                                                                          \
  X(BOOL, 1, "bool", 8, BOOL)                                                                      \
  X(B1, 2, "b1", 1, UINT)                                                                          \
  X(I2, 3, "i2", 2, INT)                                                                           \
  X(I4, 4, "i4", 4, INT)                                                                           \
  X(I8, 5, "i8", 8, INT)                                                                           \
  X(I16, 6, "i16", 16, INT)                                                                        \
  X(I32, 7, "i32", 32, INT)                                                                        \
  X(I64, 8, "i64", 64, INT)                                                                        \
  X(U2, 9, "u2", 2, UINT)                                                                          \
  X(U4, 10, "u4", 4, UINT)                                                                         \
  X(U8, 11, "u8", 8, UINT)                                                                         \
  X(U16, 12, "u16", 16, UINT)                                                                      \
  X(U32, 13, "u32", 32, UINT)                                                                      \
  X(U64, 14, "u64", 64, UINT)                                                                      \
  X(F4E2M1, 15, "f4e2m1", 4, FLOAT)                                                                \
  X(F6E2M3, 16, "f6e2m3", 6, FLOAT)                                                                \
  X(F6E3M2, 17, "f6e3m2", 6, FLOAT)                                                                \
  X(F8E4M3, 18, "f8e4m3", 8, FLOAT)                                                                \
  X(F8E4M3UZ, 19, "f8e4m3uz", 8, FLOAT)                                                            \
  X(F8E5M2, 20, "f8e5m2", 8, FLOAT)                                                                \
  X(F8E5M2UZ, 21, "f8e5m2uz", 8, FLOAT)                                                            \
  X(F8E8M0, 22, "f8e8m0", 8, FLOAT)                                                                \
  X(F16, 23, "f16", 16, FLOAT)                                                                     \
  X(BF16, 24, "bf16", 16, FLOAT)                                                                   \
  X(F32, 25, "f32", 32, FLOAT)                                                                     \
  X(F64, 26, "f64", 64, FLOAT)

/* The most dims a tensor may have. */
#define TSR_MAX_RANK 16

typedef enum tsr_dtype {
  TSR_DTYPE_NONE = 0,
#define TSR_DTYPE_ENUM(name, code, text, bits, kind) TSR_##name = code,
  TSR_DTYPE_LIST(TSR_DTYPE_ENUM)
#undef TSR_DTYPE_ENUM
      TSR_DTYPE_COUNT
} tsr_dtype;

typedef enum tsr_dtype_class {
  TSR_CLASS_NONE,
  TSR_CLASS_BOOL,
  TSR_CLASS_INT,
  TSR_CLASS_UINT,
  TSR_CLASS_FLOAT
} tsr_dtype_class;

/* Static string; "?" for a value outside the list. */
const char *tsr_dtype_text(tsr_dtype dtype);
/* TSR_DTYPE_NONE when `text` names no type. */
tsr_dtype tsr_dtype_parse(const char *text, size_t length);
/* Bits of one element; 0 for NONE. */
unsigned tsr_dtype_bits(tsr_dtype dtype);
tsr_dtype_class tsr_dtype_class_of(tsr_dtype dtype);
/* Bytes of `count` densely packed elements, rounded up to whole bytes; -1 on overflow or a negative
 * count. */
int64_t tsr_dtype_bytes(tsr_dtype dtype, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
