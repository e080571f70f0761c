/* AMX: one contract is a loop over the depth on 16 x 16 tile registers, with the tile configuration
 * of tsr_amx_config in force, which the runtime loads. Accumulators are registers 0 to 3, a 4 and
 * 5, b 6 and 7; the contract's accumulator goes in and out through the stack.
 *
 * For targets with `+amx-emulated` (tests on machines without AMX) the same four operations are
 * plain code over tile registers in memory, with the semantics of Intel's manual (Software
 * Developer's Manual volume 2, TDPBF16PS, TDPBSSD/TDPBSUD/TDPBUSD/TDPBUUD): TDPBF16PS adds the
 * products of the pairs' first and second elements in two sums over the pairs in order, each step a
 * fused multiply-add, then adds the two sums, then that to the accumulator; all rounded to nearest
 * even, subnormal operands and results are zero, MXCSR is not asked. The integer forms are exact
 * modulo 2^32. */
#include "codegen/cpu/emit_dot.h"
#include <stdio.h>

enum { TILE = 16, TILE_BYTES = 1024, ROW_BYTES = 64, A_TILE = 4, B_TILE = 6, TILE_COUNT = 8 };

const uint8_t tsr_amx_config[64] = {
    [0] = 1, /* palette */
    [16] = ROW_BYTES, [18] = ROW_BYTES, [20] = ROW_BYTES, [22] = ROW_BYTES,
    [24] = ROW_BYTES, [26] = ROW_BYTES, [28] = ROW_BYTES, [30] = ROW_BYTES,
    [48] = TILE,      [49] = TILE,      [50] = TILE,      [51] = TILE,
    [52] = TILE,      [53] = TILE,      [54] = TILE,      [55] = TILE,
};

typedef struct amx {
  tsr_emit *e;
  const tsr_dot *d;
  bool emulated;
  LLVMValueRef tiles; /* emulated: the registers */
  LLVMTypeRef byte;
} amx;

static LLVMValueRef byte_address(const amx *x, LLVMValueRef base, LLVMValueRef bytes) {
  return LLVMBuildInBoundsGEP2(x->e->builder, x->byte, base, &bytes, 1, "");
}

static LLVMValueRef stack(const amx *x, uint64_t bytes) {
  tsr_emit *e = x->e;
  LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
  LLVMPositionBuilderBefore(e->builder, LLVMGetFirstInstruction(e->entry)
                                            ? LLVMGetFirstInstruction(e->entry)
                                            : LLVMGetBasicBlockTerminator(e->entry));
  LLVMValueRef memory = LLVMBuildAlloca(e->builder, LLVMArrayType2(x->byte, bytes), "");
  LLVMSetAlignment(memory, ROW_BYTES);
  LLVMPositionBuilderAtEnd(e->builder, here);
  return memory;
}

/* --- emulated operations --- */

static LLVMValueRef register_address(const amx *x, unsigned tile) {
  return byte_address(x, x->tiles, tsr_emit_int(x->e, (int64_t)tile * TILE_BYTES));
}

static LLVMValueRef vector_load(const amx *x, LLVMTypeRef element, uint32_t lanes,
                                LLVMValueRef address) {
  LLVMValueRef load = LLVMBuildLoad2(x->e->builder, LLVMVectorType(element, lanes), address, "");
  LLVMSetAlignment(load, 1);
  return load;
}

/* 16 rows of 64 bytes. */
static void copy_rows(const amx *x, LLVMValueRef to, LLVMValueRef to_stride, LLVMValueRef from,
                      LLVMValueRef from_stride) {
  LLVMBuilderRef b = x->e->builder;
  for (int64_t row = 0; row < TILE; ++row) {
    LLVMValueRef number = tsr_emit_int(x->e, row);
    LLVMValueRef bytes = vector_load(
        x, x->byte, ROW_BYTES, byte_address(x, from, LLVMBuildMul(b, from_stride, number, "")));
    LLVMSetAlignment(
        LLVMBuildStore(b, bytes, byte_address(x, to, LLVMBuildMul(b, to_stride, number, ""))), 1);
  }
}

/* Element `part` of every word. */
static LLVMValueRef word_part(const amx *x, LLVMValueRef words, bool real, bool is_signed,
                              unsigned part) {
  LLVMBuilderRef b = x->e->builder;
  const unsigned bits = real ? 16 : 8;
  LLVMValueRef left = LLVMConstInt(x->e->i32, 32 - bits - part * bits, false);
  LLVMValueRef right = LLVMConstInt(x->e->i32, 32 - bits, false);
  LLVMValueRef up = LLVMBuildShl(b, words, tsr_emit_splat(x->e, left, TILE), "");
  if (real) {
    LLVMValueRef mask = LLVMConstInt(x->e->i32, 0xffff0000u, false);
    up = LLVMBuildAnd(b, up, tsr_emit_splat(x->e, mask, TILE), "");
    return LLVMBuildBitCast(b, up, LLVMVectorType(LLVMFloatTypeInContext(x->e->math.context), TILE),
                            "");
  }
  right = tsr_emit_splat(x->e, right, TILE);
  return is_signed ? LLVMBuildAShr(b, up, right, "") : LLVMBuildLShr(b, up, right, "");
}

static LLVMValueRef real_splat(const amx *x, LLVMTypeRef type, double number) {
  return tsr_emit_splat(x->e, LLVMConstReal(type, number), TILE);
}

/* Zero of its sign where |value| < 2^-126, NaN as it is. */
static LLVMValueRef subnormal_is_zero(const amx *x, LLVMValueRef value, LLVMValueRef is_tiny) {
  tsr_emit *e = x->e;
  LLVMTypeRef bits = LLVMVectorType(e->i32, TILE);
  LLVMValueRef sign = tsr_emit_splat(e, LLVMConstInt(e->i32, 0x80000000u, false), TILE);
  LLVMValueRef zero =
      LLVMBuildAnd(e->builder, LLVMBuildBitCast(e->builder, value, bits, ""), sign, "");
  zero = LLVMBuildBitCast(e->builder, zero, LLVMTypeOf(value), "");
  return LLVMBuildSelect(e->builder, is_tiny, zero, value, "");
}

static LLVMValueRef magnitude(const amx *x, LLVMValueRef value) {
  LLVMTypeRef type = LLVMTypeOf(value);
  return tsr_emit_intrinsic(x->e, "llvm.fabs", &type, 1, &value, 1);
}

static LLVMValueRef denormals_are_zero(const amx *x, LLVMValueRef value) {
  LLVMValueRef least = real_splat(x, LLVMFloatTypeInContext(x->e->math.context), 0x1p-126);
  return subnormal_is_zero(
      x, value, LLVMBuildFCmp(x->e->builder, LLVMRealOLT, magnitude(x, value), least, ""));
}

/* a * b + c rounded once to f32; a result is tiny, and zero, where it would be below 2^-126 if it
 * were rounded with any exponent, which a sum in f64 decides. */
static LLVMValueRef fused_flushed(const amx *x, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
  tsr_emit *e = x->e;
  LLVMTypeRef real = LLVMDoubleTypeInContext(e->math.context), wide = LLVMVectorType(real, TILE);
  LLVMValueRef narrow[3] = {a, b, c}, exact[3];
  LLVMTypeRef type = LLVMTypeOf(a);
  for (unsigned i = 0; i < 3; ++i)
    exact[i] = LLVMBuildFPExt(e->builder, narrow[i], wide, "");
  LLVMValueRef sum = tsr_emit_intrinsic(e, "llvm.fma", &wide, 1, exact, 3);
  LLVMValueRef tiny = LLVMBuildFCmp(e->builder, LLVMRealOLT, magnitude(x, sum),
                                    real_splat(x, real, 0x1.ffffffp-127), "");
  LLVMValueRef rounded = tsr_emit_intrinsic(e, "llvm.fma", &type, 1, narrow, 3);
  return subnormal_is_zero(x, rounded, tiny);
}

static LLVMValueRef sum_flushed(const amx *x, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef real = LLVMFloatTypeInContext(x->e->math.context);
  return fused_flushed(x, denormals_are_zero(x, a), real_splat(x, real, 1),
                       denormals_are_zero(x, b));
}

/* Row `row` (i64) of the three tiles: the body of the operation. */
static void multiply_row(const amx *x, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b) {
  tsr_emit *e = x->e;
  const bool real = x->d->b.dtype == TSR_BF16;
  const unsigned parts = real ? 2 : 4;
  LLVMTypeRef element = real ? LLVMFloatTypeInContext(e->math.context) : e->i32;
  LLVMValueRef old = vector_load(x, element, TILE, c);
  LLVMValueRef sums[4];
  for (unsigned part = 0; part < parts; ++part)
    sums[part] = LLVMConstNull(LLVMTypeOf(old));
  for (int64_t k = 0; k < TILE; ++k) {
    LLVMValueRef word =
        LLVMBuildLoad2(e->builder, e->i32, byte_address(x, a, tsr_emit_int(e, k * 4)), "");
    LLVMSetAlignment(word, 1);
    word = tsr_emit_splat(e, word, TILE);
    LLVMValueRef words =
        vector_load(x, e->i32, TILE, byte_address(x, b, tsr_emit_int(e, k * ROW_BYTES)));
    for (unsigned part = 0; part < parts; ++part) {
      LLVMValueRef left = word_part(x, word, real, x->d->a.dtype == TSR_I8, part);
      LLVMValueRef right = word_part(x, words, real, x->d->b.dtype == TSR_I8, part);
      if (real)
        sums[part] =
            fused_flushed(x, denormals_are_zero(x, left), denormals_are_zero(x, right), sums[part]);
      else
        sums[part] =
            LLVMBuildAdd(e->builder, sums[part], LLVMBuildMul(e->builder, left, right, ""), "");
    }
  }
  LLVMValueRef sum = sums[0];
  for (unsigned part = 1; part < parts; ++part)
    sum = real ? sum_flushed(x, sum, sums[part]) : LLVMBuildAdd(e->builder, sum, sums[part], "");
  sum = real ? sum_flushed(x, old, sum) : LLVMBuildAdd(e->builder, old, sum, "");
  LLVMSetAlignment(LLVMBuildStore(e->builder, sum, c), 1);
}

static void emulated_rows(const amx *x, LLVMValueRef function) {
  tsr_emit *e = x->e;
  LLVMBuilderRef b = e->builder;
  LLVMContextRef context = e->math.context;
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(context, function, "entry");
  LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(context, function, "row");
  LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(context, function, "return");
  LLVMPositionBuilderAtEnd(b, entry);
  LLVMBuildBr(b, body);
  LLVMPositionBuilderAtEnd(b, body);
  LLVMValueRef row = LLVMBuildPhi(b, e->i64, ""), zero = tsr_emit_int(e, 0);
  LLVMValueRef at = LLVMBuildMul(b, row, tsr_emit_int(e, ROW_BYTES), "");
  multiply_row(x, byte_address(x, LLVMGetParam(function, 0), at),
               byte_address(x, LLVMGetParam(function, 1), at), LLVMGetParam(function, 2));
  LLVMValueRef next = LLVMBuildAdd(b, row, tsr_emit_int(e, 1), "");
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, tsr_emit_int(e, TILE), ""), body, done);
  LLVMAddIncoming(row, &zero, &entry, 1);
  LLVMAddIncoming(row, &next, &body, 1);
  LLVMPositionBuilderAtEnd(b, done);
  LLVMBuildRetVoid(b);
}

/* One function per operation and module: void (c, a, b) over registers in memory. */
static LLVMValueRef emulated_multiply(const amx *x, const char *name) {
  tsr_emit *e = x->e;
  LLVMValueRef function = LLVMGetNamedFunction(e->math.module, name);
  if (function)
    return function;
  LLVMTypeRef types[3] = {e->pointer, e->pointer, e->pointer};
  function =
      LLVMAddFunction(e->math.module, name,
                      LLVMFunctionType(LLVMVoidTypeInContext(e->math.context), types, 3, false));
  LLVMSetLinkage(function, LLVMInternalLinkage);
  tsr_llvm_target_function(e->target, function);
  LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
  emulated_rows(x, function);
  LLVMPositionBuilderAtEnd(e->builder, here);
  return function;
}

/* --- the four operations --- */

static LLVMValueRef tile_number(const amx *x, unsigned tile) {
  return LLVMConstInt(x->byte, tile, false);
}

static void tile_zero(const amx *x, unsigned tile) {
  tsr_emit *e = x->e;
  LLVMValueRef arguments[1] = {tile_number(x, tile)};
  if (!x->emulated) {
    tsr_emit_intrinsic(e, "llvm.x86.tilezero", NULL, 0, arguments, 1);
    return;
  }
  LLVMTypeRef row = LLVMVectorType(x->byte, ROW_BYTES);
  for (int64_t i = 0; i < TILE; ++i)
    LLVMSetAlignment(
        LLVMBuildStore(e->builder, LLVMConstNull(row),
                       byte_address(x, register_address(x, tile), tsr_emit_int(e, i * ROW_BYTES))),
        1);
}

static void tile_load(const amx *x, unsigned tile, LLVMValueRef address, LLVMValueRef stride) {
  LLVMValueRef arguments[3] = {tile_number(x, tile), address, stride};
  if (x->emulated)
    copy_rows(x, register_address(x, tile), tsr_emit_int(x->e, ROW_BYTES), address, stride);
  else
    tsr_emit_intrinsic(x->e, "llvm.x86.tileloadd64", NULL, 0, arguments, 3);
}

static void tile_store(const amx *x, unsigned tile, LLVMValueRef address, LLVMValueRef stride) {
  LLVMValueRef arguments[3] = {tile_number(x, tile), address, stride};
  if (x->emulated)
    copy_rows(x, address, stride, register_address(x, tile), tsr_emit_int(x->e, ROW_BYTES));
  else
    tsr_emit_intrinsic(x->e, "llvm.x86.tilestored64", NULL, 0, arguments, 3);
}

static void tile_multiply(const amx *x, unsigned c, unsigned a, unsigned b) {
  const bool left = x->d->a.dtype == TSR_I8, right = x->d->b.dtype == TSR_I8;
  const char *name = x->d->b.dtype == TSR_BF16 ? "tdpbf16ps"
                     : left                    ? (right ? "tdpbssd" : "tdpbsud")
                                               : (right ? "tdpbusd" : "tdpbuud");
  char symbol[48];
  snprintf(symbol, sizeof symbol, "%s.%s", x->emulated ? "amx" : "llvm.x86", name);
  if (x->emulated) {
    LLVMValueRef function = emulated_multiply(x, symbol);
    LLVMValueRef arguments[3] = {register_address(x, c), register_address(x, a),
                                 register_address(x, b)};
    LLVMBuildCall2(x->e->builder, LLVMGlobalGetValueType(function), function, arguments, 3, "");
    return;
  }
  LLVMValueRef arguments[3] = {tile_number(x, c), tile_number(x, a), tile_number(x, b)};
  tsr_emit_intrinsic(x->e, symbol, NULL, 0, arguments, 3);
}

/* --- the contract --- */

static bool is_zero(const tsr_emit_tile *tile) {
  for (uint32_t i = 0; i < tile->count; ++i)
    if (!LLVMIsConstant(tile->values[i]) || !LLVMIsNull(tile->values[i]))
      return false;
  return true;
}

typedef struct tile_grid {
  uint32_t down, across; /* tiles of the accumulator */
  LLVMValueRef memory;   /* the accumulator, row-major */
  LLVMValueRef row_bytes;
} tile_grid;

static LLVMValueRef value_address(const amx *x, const tile_grid *g, const tsr_emit_tile *tile,
                                  uint32_t number) {
  tsr_emit_point at = tsr_emit_point_of(tile->extents, 2, number);
  return byte_address(x, g->memory,
                      tsr_emit_int(x->e, ((int64_t)at.row * tile->lanes + at.start) * 4));
}

static LLVMValueRef corner(const amx *x, const tile_grid *g, uint32_t i, uint32_t j) {
  int64_t bytes = (int64_t)i * TILE * g->across * ROW_BYTES + (int64_t)j * ROW_BYTES;
  return byte_address(x, g->memory, tsr_emit_int(x->e, bytes));
}

static void begin_sums(const amx *x, const tile_grid *g, const tsr_emit_tile *acc) {
  const bool zero = is_zero(acc);
  for (uint32_t i = 0; !zero && i < acc->count; ++i)
    LLVMSetAlignment(LLVMBuildStore(x->e->builder, acc->values[i], value_address(x, g, acc, i)), 4);
  for (uint32_t i = 0; i < g->down; ++i)
    for (uint32_t j = 0; j < g->across; ++j)
      if (zero)
        tile_zero(x, i * g->across + j);
      else
        tile_load(x, i * g->across + j, corner(x, g, i, j), g->row_bytes);
}

/* One step of the depth. */
static void amx_step(const amx *x, const tile_grid *g, LLVMValueRef step) {
  tsr_emit *e = x->e;
  LLVMBuilderRef b = e->builder;
  const tsr_dot *d = x->d;
  LLVMValueRef a_stride = tsr_dot_stride(e, &d->a), b_stride = tsr_dot_stride(e, &d->b);
  LLVMValueRef a_skip = LLVMBuildNSWMul(b, step, tsr_emit_int(e, ROW_BYTES), "");
  LLVMValueRef b_skip =
      LLVMBuildNSWMul(b, LLVMBuildNSWMul(b, step, tsr_emit_int(e, TILE), ""), b_stride, "");
  for (uint32_t j = 0; j < g->across; ++j) {
    LLVMValueRef skip = LLVMBuildNSWAdd(b, b_skip, tsr_emit_int(e, (int64_t)j * ROW_BYTES), "");
    tile_load(x, B_TILE + j, tsr_dot_address(e, &d->b, skip), b_stride);
  }
  for (uint32_t i = 0; i < g->down; ++i) {
    LLVMValueRef skip = LLVMBuildNSWAdd(
        b, a_skip, LLVMBuildNSWMul(b, a_stride, tsr_emit_int(e, (int64_t)i * TILE), ""), "");
    tile_load(x, A_TILE + i, tsr_dot_address(e, &d->a, skip), a_stride);
    for (uint32_t j = 0; j < g->across; ++j)
      tile_multiply(x, i * g->across + j, A_TILE + i, B_TILE + j);
  }
}

static void amx_loop(const amx *x, const tile_grid *g) {
  tsr_emit *e = x->e;
  LLVMBuilderRef b = e->builder;
  const int64_t steps = x->d->depth / x->d->atom->k;
  LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
  LLVMBasicBlockRef body = tsr_emit_block(e, "tiles"), done = tsr_emit_block(e, "tiled");
  LLVMBuildBr(b, body);
  LLVMPositionBuilderAtEnd(b, body);
  LLVMValueRef step = LLVMBuildPhi(b, e->i64, ""), zero = tsr_emit_int(e, 0);
  LLVMAddIncoming(step, &zero, &before, 1);
  amx_step(x, g, step);
  LLVMValueRef next = LLVMBuildNSWAdd(b, step, tsr_emit_int(e, 1), "");
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, tsr_emit_int(e, steps), ""), body, done);
  LLVMAddIncoming(step, &next, &latch, 1);
  LLVMPositionBuilderAtEnd(b, done);
}

/* Is the next op a contract by tiles too, and the only one that reads this sum? Then the sum stays
 * in the registers. */
static bool is_continued(const tsr_emit *e) {
  const tsr_value sum = e->op->results[0];
  const tsr_op_data *next = e->op->next != 0 ? tsr_op_get(e->ir, e->op->next) : NULL;
  if (next == NULL || next->code != TSR_OP_CONTRACT || next->operand_count != 3 ||
      next->operands[2].value != sum || e->uses[sum] != 1)
    return false;
  const char *text = tsr_op_string(e->ir, e->op->next, "atom");
  const tsr_atom *atom = text != NULL ? tsr_atom_find(text) : NULL;
  return atom != NULL && atom->parts == 1 && atom->place == TSR_ATOM_MEMORY &&
         atom->kind == TSR_TARGET_CPU;
}

static void end_sums(const amx *x, const tile_grid *g, const tsr_emit_tile *acc,
                     tsr_emit_tile *result) {
  tsr_emit *e = x->e;
  if (is_continued(e)) {
    e->held.value = e->op->results[0];
    e->held.memory = g->memory;
    e->held.tiles = x->tiles;
    for (uint32_t i = 0; i < result->count; ++i)
      result->values[i] = LLVMGetPoison(LLVMTypeOf(acc->values[i]));
    return;
  }
  e->held.value = 0;
  for (uint32_t i = 0; i < g->down; ++i)
    for (uint32_t j = 0; j < g->across; ++j)
      tile_store(x, i * g->across + j, corner(x, g, i, j), g->row_bytes);
  for (uint32_t i = 0; i < result->count; ++i) {
    LLVMValueRef load =
        LLVMBuildLoad2(e->builder, LLVMTypeOf(acc->values[i]), value_address(x, g, result, i), "");
    LLVMSetAlignment(load, 4);
    result->values[i] = load;
  }
}

void tsr_emit_amx(tsr_emit *e, const tsr_dot *d, const tsr_emit_tile *acc, tsr_emit_tile *result) {
  amx x = {.e = e,
           .d = d,
           .emulated = e->target->isa.amx_emulated,
           .byte = LLVMInt8TypeInContext(e->math.context)};
  tile_grid g = {.down = acc->rows / TILE, .across = acc->lanes / TILE};
  if (acc->rows % TILE != 0 || acc->lanes % TILE != 0 || g.down < 1 || g.down > 2 || g.across < 1 ||
      g.across > 2) {
    tsr_emit_fail(e, TSR_ERR_UNSUPPORTED, "AMX sums are 16 or 32 by 16 or 32, not %u by %u",
                  acc->rows, acc->lanes);
    return;
  }
  const bool held = e->held.value != 0 && e->held.value == e->op->operands[2].value;
  g.memory = held ? e->held.memory : stack(&x, (uint64_t)acc->rows * acc->lanes * 4);
  g.row_bytes = tsr_emit_int(e, (int64_t)acc->lanes * 4);
  if (x.emulated)
    x.tiles = held ? e->held.tiles : stack(&x, (uint64_t)TILE_COUNT * TILE_BYTES);
  e->uses_tiles = e->uses_tiles || !x.emulated;
  /* What the loop shares is computed before it, where the memo of expressions keeps it. */
  (void)tsr_dot_stride(e, &d->a);
  (void)tsr_dot_stride(e, &d->b);
  (void)tsr_dot_address(e, &d->a, tsr_emit_int(e, 0));
  (void)tsr_dot_address(e, &d->b, tsr_emit_int(e, 0));
  if (!held)
    begin_sums(&x, &g, acc);
  amx_loop(&x, &g);
  end_sums(&x, &g, acc, result);
}
