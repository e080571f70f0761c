/* Short forms for the cases: units in the last place, schedules, lines of graphs. */
#ifndef TSR_TESTS_CUDA_GEMM_TEXTS_H
#define TSR_TESTS_CUDA_GEMM_TEXTS_H

#define F16  0x1p-11
#define BF16 0x1p-8
#define TF32 0x1p-11
#define F32  0x1p-24
#define F64  0x1p-53

#define MMA(atom, bm, bn, bk, wm, wn, stages, raster)                                              \
  "strategy = \"mma\", atom = \"" atom "\", bm = " #bm ", bn = " #bn ", bk = " #bk                 \
  ", warps_m = " #wm ", warps_n = " #wn ", stages = " #stages ", split = 1, raster = " #raster

#define INPUT(name, type)       "  %" name " = input {name = \"" name "\"} : " type "\n"
#define OUTPUT(name)            "  output %" name " {name = \"" name "\"}\n"
#define CONST(name, seed, type) "  %" name " = const {random = " #seed "} : " type "\n"

/* c = a b in one type, by the letters of einsum. */
#define GEMM(in, a, b, spec, c)                                                                    \
  INPUT("a", in a)                                                                                 \
  INPUT("b", in b) "  %c = einsum %a, %b {spec = \"" spec "\"} : " in c "\n" OUTPUT("c")

/* The same on signed bytes with sums in i32. */
#define BYTES(a, b, spec, c)                                                                       \
  INPUT("a", "i8" a)                                                                               \
  INPUT("b", "i8" b)                                                                               \
  "  %a1 = cast %a : i32" a "\n  %b1 = cast %b : i32" b "\n"                                       \
  "  %c = einsum %a1, %b1 {spec = \"" spec "\"} : i32" c "\n" OUTPUT("c")

#define COUNT(array) (unsigned)(sizeof(array) / sizeof *(array))

#endif
