/* wgmma (PTX ISA 9.7.15, sm_90a): a warpgroup of 4 warps multiplies 64 x K by K x N in the
 * background. Parts of device.h; a kernel text instantiates the sizes it uses, so that a text pays
 * only for those:
 *
 *   TSR_WGMMA_F16(n, a, b)   a, b: k (K contiguous) or m (M/N contiguous); K = 16; n = 8, 16 .. 256
 *   TSR_WGMMA_BF16(n, a, b)  the same; a = r takes a from registers
 *   TSR_WGMMA_TF32(n)        K = 8;   TSR_WGMMA_E4M3(n), TSR_WGMMA_E5M2(n)  K = 32
 *   TSR_WGMMA_S8(n)          K = 32; n = 8, 16, 24, 32, 48, 64, 80, 96 .. 256; int accumulators
 *
 * define tsr_wgmma_f16_64xN_kk(d, a, b, accumulate) and so on: d = a b + (accumulate ? d : 0).
 * a and b are descriptors (tsr_wgmma_descriptor); in tsr_wgmma_f16_64xN_rk a is 4 registers in the
 * layout of mma.sync's 16x8x16 a, warp w of the group holding rows 16 w ..
 *
 * d has n / 2 elements per thread: with warp w of the group and column block j of 8 columns,
 *   d[4j], d[4j+1]: (16w + g, 8j + 2t), (.., 8j + 2t + 1)     d[4j+2], d[4j+3]: row 16w + g + 8
 *
 * Order: fence; wgmma ...; commit; wait(n); hold. Registers and shared memory belong to wgmma until
 * the wait; tsr_wgmma_hold keeps the compiler from moving uses of d before it. */
#ifndef TSR_DEVICE_WGMMA_H
#define TSR_DEVICE_WGMMA_H

/* Registers (and generic writes to shared memory) of before are ready for wgmma. */
TSR_DEVICE void tsr_wgmma_fence(void) {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
TSR_DEVICE void tsr_wgmma_commit(void) {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/* At most `groups` (a constant, 0..7) of the latest groups are under way. */
#define tsr_wgmma_wait(groups)                                                                     \
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory")

#define tsr_wgmma_hold_f32(d, count)                                                               \
  do {                                                                                             \
    TSR_UNROLL for (int tsr_i = 0; tsr_i < (count);                                                \
                    ++tsr_i) asm volatile("" : "+f"((d)[tsr_i])::"memory");                        \
  } while (0)
#define tsr_wgmma_hold_s32(d, count)                                                               \
  do {                                                                                             \
    TSR_UNROLL for (int tsr_i = 0; tsr_i < (count);                                                \
                    ++tsr_i) asm volatile("" : "+r"((d)[tsr_i])::"memory");                        \
  } while (0)

TSR_DEVICE tsr_u64 tsr_wgmma_descriptor(const void *shared, tsr_u32 leading_bytes,
                                        tsr_u32 stride_bytes, tsr_u32 swizzle) {
  return tsr_wgmma_descriptor_at(tsr_shared_address(shared), leading_bytes, stride_bytes, swizzle);
}

/* TSR_LIST_n: the names of the n / 2 accumulators; TSR_REGS_n: their operands; TSR_NEXT_n: the
 * names of the six operands behind them. */
// clang-format off
#define TSR_D4(c, d, i) c((d)[i]), c((d)[i + 1]), c((d)[i + 2]), c((d)[i + 3])
#define TSR_LIST_8 "%0,%1,%2,%3"
#define TSR_LIST_16 TSR_LIST_8 "," "%4,%5,%6,%7"
#define TSR_LIST_24 TSR_LIST_16 "," "%8,%9,%10,%11"
#define TSR_LIST_32 TSR_LIST_24 "," "%12,%13,%14,%15"
#define TSR_LIST_40 TSR_LIST_32 "," "%16,%17,%18,%19"
#define TSR_LIST_48 TSR_LIST_40 "," "%20,%21,%22,%23"
#define TSR_LIST_56 TSR_LIST_48 "," "%24,%25,%26,%27"
#define TSR_LIST_64 TSR_LIST_56 "," "%28,%29,%30,%31"
#define TSR_LIST_72 TSR_LIST_64 "," "%32,%33,%34,%35"
#define TSR_LIST_80 TSR_LIST_72 "," "%36,%37,%38,%39"
#define TSR_LIST_88 TSR_LIST_80 "," "%40,%41,%42,%43"
#define TSR_LIST_96 TSR_LIST_88 "," "%44,%45,%46,%47"
#define TSR_LIST_104 TSR_LIST_96 "," "%48,%49,%50,%51"
#define TSR_LIST_112 TSR_LIST_104 "," "%52,%53,%54,%55"
#define TSR_LIST_120 TSR_LIST_112 "," "%56,%57,%58,%59"
#define TSR_LIST_128 TSR_LIST_120 "," "%60,%61,%62,%63"
#define TSR_LIST_136 TSR_LIST_128 "," "%64,%65,%66,%67"
#define TSR_LIST_144 TSR_LIST_136 "," "%68,%69,%70,%71"
#define TSR_LIST_152 TSR_LIST_144 "," "%72,%73,%74,%75"
#define TSR_LIST_160 TSR_LIST_152 "," "%76,%77,%78,%79"
#define TSR_LIST_168 TSR_LIST_160 "," "%80,%81,%82,%83"
#define TSR_LIST_176 TSR_LIST_168 "," "%84,%85,%86,%87"
#define TSR_LIST_184 TSR_LIST_176 "," "%88,%89,%90,%91"
#define TSR_LIST_192 TSR_LIST_184 "," "%92,%93,%94,%95"
#define TSR_LIST_200 TSR_LIST_192 "," "%96,%97,%98,%99"
#define TSR_LIST_208 TSR_LIST_200 "," "%100,%101,%102,%103"
#define TSR_LIST_216 TSR_LIST_208 "," "%104,%105,%106,%107"
#define TSR_LIST_224 TSR_LIST_216 "," "%108,%109,%110,%111"
#define TSR_LIST_232 TSR_LIST_224 "," "%112,%113,%114,%115"
#define TSR_LIST_240 TSR_LIST_232 "," "%116,%117,%118,%119"
#define TSR_LIST_248 TSR_LIST_240 "," "%120,%121,%122,%123"
#define TSR_LIST_256 TSR_LIST_248 "," "%124,%125,%126,%127"
#define TSR_REGS_8(c, d) TSR_D4(c, d, 0)
#define TSR_REGS_16(c, d) TSR_REGS_8(c, d), TSR_D4(c, d, 4)
#define TSR_REGS_24(c, d) TSR_REGS_16(c, d), TSR_D4(c, d, 8)
#define TSR_REGS_32(c, d) TSR_REGS_24(c, d), TSR_D4(c, d, 12)
#define TSR_REGS_40(c, d) TSR_REGS_32(c, d), TSR_D4(c, d, 16)
#define TSR_REGS_48(c, d) TSR_REGS_40(c, d), TSR_D4(c, d, 20)
#define TSR_REGS_56(c, d) TSR_REGS_48(c, d), TSR_D4(c, d, 24)
#define TSR_REGS_64(c, d) TSR_REGS_56(c, d), TSR_D4(c, d, 28)
#define TSR_REGS_72(c, d) TSR_REGS_64(c, d), TSR_D4(c, d, 32)
#define TSR_REGS_80(c, d) TSR_REGS_72(c, d), TSR_D4(c, d, 36)
#define TSR_REGS_88(c, d) TSR_REGS_80(c, d), TSR_D4(c, d, 40)
#define TSR_REGS_96(c, d) TSR_REGS_88(c, d), TSR_D4(c, d, 44)
#define TSR_REGS_104(c, d) TSR_REGS_96(c, d), TSR_D4(c, d, 48)
#define TSR_REGS_112(c, d) TSR_REGS_104(c, d), TSR_D4(c, d, 52)
#define TSR_REGS_120(c, d) TSR_REGS_112(c, d), TSR_D4(c, d, 56)
#define TSR_REGS_128(c, d) TSR_REGS_120(c, d), TSR_D4(c, d, 60)
#define TSR_REGS_136(c, d) TSR_REGS_128(c, d), TSR_D4(c, d, 64)
#define TSR_REGS_144(c, d) TSR_REGS_136(c, d), TSR_D4(c, d, 68)
#define TSR_REGS_152(c, d) TSR_REGS_144(c, d), TSR_D4(c, d, 72)
#define TSR_REGS_160(c, d) TSR_REGS_152(c, d), TSR_D4(c, d, 76)
#define TSR_REGS_168(c, d) TSR_REGS_160(c, d), TSR_D4(c, d, 80)
#define TSR_REGS_176(c, d) TSR_REGS_168(c, d), TSR_D4(c, d, 84)
#define TSR_REGS_184(c, d) TSR_REGS_176(c, d), TSR_D4(c, d, 88)
#define TSR_REGS_192(c, d) TSR_REGS_184(c, d), TSR_D4(c, d, 92)
#define TSR_REGS_200(c, d) TSR_REGS_192(c, d), TSR_D4(c, d, 96)
#define TSR_REGS_208(c, d) TSR_REGS_200(c, d), TSR_D4(c, d, 100)
#define TSR_REGS_216(c, d) TSR_REGS_208(c, d), TSR_D4(c, d, 104)
#define TSR_REGS_224(c, d) TSR_REGS_216(c, d), TSR_D4(c, d, 108)
#define TSR_REGS_232(c, d) TSR_REGS_224(c, d), TSR_D4(c, d, 112)
#define TSR_REGS_240(c, d) TSR_REGS_232(c, d), TSR_D4(c, d, 116)
#define TSR_REGS_248(c, d) TSR_REGS_240(c, d), TSR_D4(c, d, 120)
#define TSR_REGS_256(c, d) TSR_REGS_248(c, d), TSR_D4(c, d, 124)
#define TSR_NEXT_8 "%4", "%5", "%6", "%7", "%8", "%9"
#define TSR_NEXT_16 "%8", "%9", "%10", "%11", "%12", "%13"
#define TSR_NEXT_24 "%12", "%13", "%14", "%15", "%16", "%17"
#define TSR_NEXT_32 "%16", "%17", "%18", "%19", "%20", "%21"
#define TSR_NEXT_40 "%20", "%21", "%22", "%23", "%24", "%25"
#define TSR_NEXT_48 "%24", "%25", "%26", "%27", "%28", "%29"
#define TSR_NEXT_56 "%28", "%29", "%30", "%31", "%32", "%33"
#define TSR_NEXT_64 "%32", "%33", "%34", "%35", "%36", "%37"
#define TSR_NEXT_72 "%36", "%37", "%38", "%39", "%40", "%41"
#define TSR_NEXT_80 "%40", "%41", "%42", "%43", "%44", "%45"
#define TSR_NEXT_88 "%44", "%45", "%46", "%47", "%48", "%49"
#define TSR_NEXT_96 "%48", "%49", "%50", "%51", "%52", "%53"
#define TSR_NEXT_104 "%52", "%53", "%54", "%55", "%56", "%57"
#define TSR_NEXT_112 "%56", "%57", "%58", "%59", "%60", "%61"
#define TSR_NEXT_120 "%60", "%61", "%62", "%63", "%64", "%65"
#define TSR_NEXT_128 "%64", "%65", "%66", "%67", "%68", "%69"
#define TSR_NEXT_136 "%68", "%69", "%70", "%71", "%72", "%73"
#define TSR_NEXT_144 "%72", "%73", "%74", "%75", "%76", "%77"
#define TSR_NEXT_152 "%76", "%77", "%78", "%79", "%80", "%81"
#define TSR_NEXT_160 "%80", "%81", "%82", "%83", "%84", "%85"
#define TSR_NEXT_168 "%84", "%85", "%86", "%87", "%88", "%89"
#define TSR_NEXT_176 "%88", "%89", "%90", "%91", "%92", "%93"
#define TSR_NEXT_184 "%92", "%93", "%94", "%95", "%96", "%97"
#define TSR_NEXT_192 "%96", "%97", "%98", "%99", "%100", "%101"
#define TSR_NEXT_200 "%100", "%101", "%102", "%103", "%104", "%105"
#define TSR_NEXT_208 "%104", "%105", "%106", "%107", "%108", "%109"
#define TSR_NEXT_216 "%108", "%109", "%110", "%111", "%112", "%113"
#define TSR_NEXT_224 "%112", "%113", "%114", "%115", "%116", "%117"
#define TSR_NEXT_232 "%116", "%117", "%118", "%119", "%120", "%121"
#define TSR_NEXT_240 "%120", "%121", "%122", "%123", "%124", "%125"
#define TSR_NEXT_248 "%124", "%125", "%126", "%127", "%128", "%129"
#define TSR_NEXT_256 "%128", "%129", "%130", "%131", "%132", "%133"
// clang-format on

#define TSR_TRANSPOSE_k "0"
#define TSR_TRANSPOSE_m "1"

/* Both operands from shared memory; `tail` are the immediates behind the predicate. */
#define TSR_WGMMA_SS(...) TSR_WGMMA_SS_(__VA_ARGS__)
#define TSR_WGMMA_SS_(name, type, c, list, regs, ptx, tail, ia, ib, is, ...)                       \
  TSR_DEVICE void name(type *d, tsr_u64 a, tsr_u64 b, int accumulate) {                            \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " is ", 0;\nwgmma.mma_async.sync.aligned." ptx  \
                 " {" list "}, " ia ", " ib ", p" tail ";\n}"                                      \
                 : regs("+" c, d)                                                                  \
                 : "l"(a), "l"(b), "r"(accumulate)                                                 \
                 : "memory");                                                                      \
  }
/* a from registers. */
#define TSR_WGMMA_RS(...) TSR_WGMMA_RS_(__VA_ARGS__)
#define TSR_WGMMA_RS_(name, type, c, list, regs, ptx, tail, i0, i1, i2, i3, ib, is)                \
  TSR_DEVICE void name(type *d, const tsr_u32 *a, tsr_u64 b, int accumulate) {                     \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " is ", 0;\nwgmma.mma_async.sync.aligned." ptx  \
                 " {" list "}, {" i0 "," i1 "," i2 "," i3 "}, " ib ", p" tail ";\n}"               \
                 : regs("+" c, d)                                                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate)             \
                 : "memory");                                                                      \
  }

#define TSR_WGMMA_16_k(type, n, a, b)                                                              \
  TSR_WGMMA_SS(tsr_wgmma_##type##_64x##n##_##a##b, float, "f", TSR_LIST_##n, TSR_REGS_##n,         \
               "m64n" #n "k16.f32." #type "." #type,                                               \
               ", 1, 1, " TSR_TRANSPOSE_##a ", " TSR_TRANSPOSE_##b, TSR_NEXT_##n)
#define TSR_WGMMA_16_m TSR_WGMMA_16_k
#define TSR_WGMMA_16_r(type, n, a, b)                                                              \
  TSR_WGMMA_RS(tsr_wgmma_##type##_64x##n##_##a##b, float, "f", TSR_LIST_##n, TSR_REGS_##n,         \
               "m64n" #n "k16.f32." #type "." #type, ", 1, 1, " TSR_TRANSPOSE_##b, TSR_NEXT_##n)

#define TSR_WGMMA_F16(n, a, b)  TSR_WGMMA_16_##a(f16, n, a, b)
#define TSR_WGMMA_BF16(n, a, b) TSR_WGMMA_16_##a(bf16, n, a, b)
#define TSR_WGMMA_TF32(n)                                                                          \
  TSR_WGMMA_SS(tsr_wgmma_tf32_64x##n##_kk, float, "f", TSR_LIST_##n, TSR_REGS_##n,                 \
               "m64n" #n "k8.f32.tf32.tf32", ", 1, 1", TSR_NEXT_##n)
#define TSR_WGMMA_E4M3(n)                                                                          \
  TSR_WGMMA_SS(tsr_wgmma_e4m3_64x##n##_kk, float, "f", TSR_LIST_##n, TSR_REGS_##n,                 \
               "m64n" #n "k32.f32.e4m3.e4m3", ", 1, 1", TSR_NEXT_##n)
#define TSR_WGMMA_E5M2(n)                                                                          \
  TSR_WGMMA_SS(tsr_wgmma_e5m2_64x##n##_kk, float, "f", TSR_LIST_##n, TSR_REGS_##n,                 \
               "m64n" #n "k32.f32.e5m2.e5m2", ", 1, 1", TSR_NEXT_##n)
#define TSR_WGMMA_S8(n)                                                                            \
  TSR_WGMMA_SS(tsr_wgmma_s8_64x##n##_kk, int, "r", TSR_LIST_##n, TSR_REGS_##n,                     \
               "m64n" #n "k32.s32.s8.s8", "", TSR_NEXT_##n)
#endif
