/* Code for AArch64, made on any host: the arithmetic of its relocations, images without library
 * calls, and, where qemu-aarch64 and aarch64-linux-gnu-gcc are installed, what the code computes.
 */
#include "codegen/cpu/codegen.h"
#include "codegen/cpu/image_relocate.h"
#include "runtime/cpu_features.h"
#include "tests/codegen_cpu/jit.h"
#include <elf.h>
#include <math.h>
#include <unistd.h>

/* ---- Targets ---- */

START_TEST(target_texts) {
  tsr_cpu_isa isa, again, x86;
  char text[TSR_CPU_ISA_TEXT];
  ck_assert_int_eq(tsr_cpu_isa_parse("cpu:aarch64", NULL, &isa), TSR_OK);
  tsr_cpu_isa_text(&isa, text);
  ck_assert_str_eq(text, "cpu:aarch64");
  ck_assert(isa.has_fma && isa.vector_bits == 128 && isa.vector_registers == 32);
  ck_assert_uint_eq(tsr_cpu_isa_features(&isa), TSR_CPU_AARCH64);
  tsr_cpu_isa_from_features(TSR_CPU_AARCH64, &again);
  ck_assert_int_eq(again.level, TSR_CPU_LEVEL_AARCH64);
  tsr_cpu_isa_from_features(TSR_CPU_X86_64_V4, &x86);
  ck_assert(!tsr_cpu_isa_covers(&x86, &isa) && !tsr_cpu_isa_covers(&isa, &x86));
  ck_assert(tsr_cpu_isa_covers(&isa, &isa));
  ck_assert_int_ne(tsr_cpu_isa_parse("cpu:aarch64+vnni", NULL, &isa), TSR_OK);
}
END_TEST

/* ---- Relocations ---- */

typedef struct patch_case {
  uint32_t type, before;
  int64_t place, target, addend;
  uint32_t after; /* as an assembler writes it */
  tsr_relocated result;
} patch_case;

static const patch_case patches[] = {
    /* bl .+0x40; b .-4; the ends of the range */
    {R_AARCH64_CALL26, 0x94000000, 0x1000, 0x1040, 0, 0x94000010, TSR_RELOCATED},
    {R_AARCH64_JUMP26, 0x14000000, 0x1000, 0xffc, 0, 0x17ffffff, TSR_RELOCATED},
    {R_AARCH64_CALL26, 0x94000000, 0, 0x7fffffc, 0, 0x95ffffff, TSR_RELOCATED},
    {R_AARCH64_CALL26, 0x94000000, 0, 0x8000000, 0, 0, TSR_RELOCATED_OUT_OF_RANGE},
    {R_AARCH64_CALL26, 0x94000000, 0x8000004, 0, 0, 0, TSR_RELOCATED_OUT_OF_RANGE},
    {R_AARCH64_CALL26, 0x94000000, 0, 0x42, 0, 0, TSR_RELOCATED_OUT_OF_RANGE},
    /* adrp x8, two pages on; x8, one page back; adr x0, .+5 */
    {R_AARCH64_ADR_PREL_PG_HI21, 0x90000008, 0x1ffc, 0x3004, 0, 0xd0000008, TSR_RELOCATED},
    {R_AARCH64_ADR_PREL_PG_HI21, 0x90000008, 0x2000, 0x1fff, 0, 0xf0ffffe8, TSR_RELOCATED},
    {R_AARCH64_ADR_PREL_LO21, 0x10000000, 0x100, 0x104, 1, 0x30000020, TSR_RELOCATED},
    {R_AARCH64_ADR_PREL_LO21, 0x10000000, 0, 1 << 20, 0, 0, TSR_RELOCATED_OUT_OF_RANGE},
    /* add x8, x8, #0x234; ldr b0, h0, w9, d0, q1 of [x8, #...] */
    {R_AARCH64_ADD_ABS_LO12_NC, 0x91000108, 0, 0x1230, 4, 0x9108d108, TSR_RELOCATED},
    {R_AARCH64_LDST8_ABS_LO12_NC, 0x3d400100, 0, 0x1fff, 0, 0x3d7ffd00, TSR_RELOCATED},
    {R_AARCH64_LDST16_ABS_LO12_NC, 0x7d400100, 0, 0x1002, 0, 0x7d400500, TSR_RELOCATED},
    {R_AARCH64_LDST32_ABS_LO12_NC, 0xb9400109, 0, 0x1ffc, 0, 0xb94ffd09, TSR_RELOCATED},
    {R_AARCH64_LDST64_ABS_LO12_NC, 0xfd400100, 0, 0x1ff8, 0, 0xfd47fd00, TSR_RELOCATED},
    {R_AARCH64_LDST128_ABS_LO12_NC, 0x3dc00101, 0, 0x5010, 0, 0x3dc00501, TSR_RELOCATED},
    {R_AARCH64_LDST128_ABS_LO12_NC, 0x3dc00101, 0, 0x5008, 0, 0, TSR_RELOCATED_OUT_OF_RANGE},
    /* ldr x8, [x8, :got_lo12:s] becomes add x8, x8, :lo12:s; a 32-bit load cannot */
    {R_AARCH64_ADR_GOT_PAGE, 0x90000008, 0x1ffc, 0x3004, 0, 0xd0000008, TSR_RELOCATED},
    {R_AARCH64_LD64_GOT_LO12_NC, 0xf9400108, 0, 0x1235, 0, 0x9108d508, TSR_RELOCATED},
    {R_AARCH64_LD64_GOT_LO12_NC, 0xb9400108, 0, 0x1234, 0, 0, TSR_RELOCATED_NOT_POSSIBLE},
    {R_AARCH64_PREL32, 0, 0x1000, 0xff0, 8, 0xfffffff8, TSR_RELOCATED},
    {R_AARCH64_PREL32, 0, 0, INT64_C(0x80000000), 0, 0, TSR_RELOCATED_OUT_OF_RANGE},
    {R_AARCH64_PREL32, 0, 0, 0x40, INT64_MAX, 0, TSR_RELOCATED_OUT_OF_RANGE},
};

START_TEST(patched_words) {
  const tsr_image_machine *machine = tsr_image_machine_find(EM_AARCH64);
  const patch_case *c = &patches[_i];
  uint32_t word = c->before;
  tsr_image_reference reference = {(unsigned char *)&word, 8, c->place, c->target, c->addend};
  const tsr_image_relocation *found = tsr_image_relocation_find(machine, c->type);
  ck_assert_ptr_nonnull(found);
  ck_assert_uint_eq(tsr_image_relocation_bytes(found), 4);
  ck_assert_int_eq(tsr_image_relocation_apply(found, &reference), c->result);
  if (c->result == TSR_RELOCATED)
    ck_assert_msg(word == c->after, "got %08x, want %08x", word, c->after);
}
END_TEST

START_TEST(absolute_relocations_have_no_row) {
  const tsr_image_machine *machine = tsr_image_machine_find(EM_AARCH64);
  ck_assert_ptr_null(tsr_image_relocation_find(machine, R_AARCH64_ABS64));
  ck_assert_ptr_null(tsr_image_relocation_find(machine, R_AARCH64_ABS32));
  ck_assert_ptr_null(tsr_image_machine_find(EM_RISCV));
  uint64_t value = 0;
  tsr_image_reference reference = {(unsigned char *)&value, 0, 0x1000, 0x40, -8};
  const tsr_image_relocation *wide = tsr_image_relocation_find(machine, R_AARCH64_PREL64);
  ck_assert_uint_eq(tsr_image_relocation_bytes(wide), 8);
  ck_assert_int_eq(tsr_image_relocation_apply(wide, &reference), TSR_RELOCATED);
  ck_assert_int_eq((int64_t)value, 0x40 - 8 - 0x1000);
}
END_TEST

/* ---- Images ---- */

static void build(jit *j) {
  tsr_status status = tsr_llvm_target_optimize(j->target, j->module, &j->diag);
  if (status == TSR_OK)
    status = tsr_image_build(j->target, j->module, &j->arena, &j->diag, &j->image);
  ck_assert_msg(status == TSR_OK, "%s", j->diag.message);
}

static LLVMValueRef read_global(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                const void *user) {
  LLVMValueRef values[8];
  LLVMTypeRef element = LLVMTypeOf(a), array = LLVMArrayType2(element, 8);
  (void)user;
  for (unsigned i = 0; i < 8; i++)
    values[i] = LLVMConstReal(element, i * 1.5 + 0.25);
  LLVMValueRef global = LLVMAddGlobal(math->module, array, "table");
  LLVMSetInitializer(global, LLVMConstArray2(element, values, 8));
  LLVMSetGlobalConstant(global, true);
  LLVMTypeRef i64 = LLVMInt64TypeInContext(math->context);
  LLVMValueRef index = LLVMBuildFPToUI(math->builder, a, i64, "");
  LLVMValueRef address = LLVMBuildGEP2(math->builder, element, global, &index, 1, "");
  return LLVMBuildFAdd(math->builder, b, LLVMBuildLoad2(math->builder, element, address, ""), "");
}

static uint32_t word_at(const tsr_image *image, uint64_t offset) {
  uint32_t word;
  memcpy(&word, image->bytes + offset, 4);
  return word;
}

/* What `adrp rD` and the first `add rD, rD, #n` after it compute, read from the machine code; 0
 * when the function has no such pair. */
static uint64_t computed_address(const tsr_image *image, const tsr_image_symbol *function) {
  int64_t page = -1;
  uint32_t reg = 0;
  for (uint64_t at = function->entry; at < function->entry + function->bytes; at += 4) {
    uint32_t word = word_at(image, at);
    if (page < 0 && (word & 0x9f000000) == 0x90000000) {
      int64_t pages = (int64_t)((word >> 5 & 0x7ffff) << 2 | (word >> 29 & 3));
      pages -= pages >= 1 << 20 ? 1 << 21 : 0;
      page = (int64_t)(at / 4096) + pages;
      reg = word & 31;
    } else if (page >= 0 && (word & 0xffc003ff) == (0x91000000 | reg << 5 | reg)) {
      return (uint64_t)page * 4096 + (word >> 10 & 0xfff);
    }
  }
  return 0;
}

/* The table is reached through the global offset table in the object; in the image the pair must
 * compute where its bytes lie. */
START_TEST(addresses_of_constants) {
  jit j;
  jit_begin(&j, "cpu:aarch64");
  LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
  jit_map(&j, "f", type, type, 0, read_global, NULL);
  build(&j);
  uint64_t address = computed_address(&j.image, tsr_image_find(&j.image, "f"));
  ck_assert_uint_gt(address, 0);
  ck_assert_uint_le(address + 8 * sizeof(float), j.image.size);
  for (unsigned i = 0; i < 8; i++) {
    float value;
    memcpy(&value, j.image.bytes + address + i * sizeof value, sizeof value);
    ck_assert(value == (float)i * 1.5F + 0.25F);
  }
  jit_end(&j);
}
END_TEST

static LLVMValueRef math_body(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                              const void *user) {
  tsr_math_fn fn = *(const tsr_math_fn *)user;
  return tsr_math_emit(math, fn, a, tsr_math_operands(fn) == 2 ? b : NULL);
}

/* One module of all math functions in float and double, scalar and in vectors. */
static void build_math(jit *j, const char *target, unsigned lanes) {
  static tsr_math_fn all[TSR_MATH_COUNT];
  char name[32];
  jit_begin(j, target);
  for (unsigned i = 0; i < TSR_MATH_COUNT; i++) {
    all[i] = (tsr_math_fn)i;
    for (unsigned wide = 0; wide < 2; wide++) {
      LLVMTypeRef type =
          wide ? LLVMDoubleTypeInContext(j->context) : LLVMFloatTypeInContext(j->context);
      snprintf(name, sizeof name, "%s_%s", tsr_math_text(all[i]), wide ? "f64" : "f32");
      jit_map(j, name, type, type, lanes, math_body, &all[i]);
    }
  }
}

/* An image has no undefined symbol, so one that links calls no library. */
START_TEST(math_needs_no_library) {
  static const unsigned lanes[] = {0, 4, 16};
  for (unsigned i = 0; i < 3; i++) {
    jit j;
    build_math(&j, "cpu:aarch64", lanes[i]);
    build(&j);
    ck_assert_uint_eq(j.image.symbol_count, 2 * TSR_MATH_COUNT);
    jit_end(&j);
  }
}
END_TEST

static LLVMValueRef convert_body(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                 const void *user) {
  const tsr_dtype *pair = user;
  (void)b;
  return tsr_numeric_convert_storage(math, tsr_numeric_widen(math, pair[0], a), pair[0], pair[1],
                                     TSR_OVERFLOW_SATURATE);
}

static LLVMValueRef divide_body(const tsr_math *math, LLVMValueRef a, LLVMValueRef b,
                                const void *user) {
  return LLVMBuildXor(math->builder, tsr_numeric_divide(math, TSR_INT_DIV_FLOOR, a, b, true),
                      tsr_numeric_ipow(math, a, b, user != NULL), "");
}

START_TEST(conversions_need_no_library) {
  jit j;
  static tsr_dtype pairs[TSR_DTYPE_COUNT * TSR_DTYPE_COUNT][2];
  unsigned count = 0;
  char name[32];
  jit_begin(&j, "cpu:aarch64");
  tsr_math math = {.target = j.target, .context = j.context, .module = j.module};
  for (unsigned from = 0; from < TSR_DTYPE_COUNT; from++)
    for (unsigned to = 0; to < TSR_DTYPE_COUNT; to++) {
      if (!tsr_numeric_supports((tsr_dtype)from) || !tsr_numeric_supports((tsr_dtype)to))
        continue;
      pairs[count][0] = (tsr_dtype)from;
      pairs[count][1] = (tsr_dtype)to;
      for (unsigned lanes = 0; lanes <= 8; lanes += 8) {
        snprintf(name, sizeof name, "c%u_%u_%u", from, to, lanes);
        jit_map(&j, name, tsr_numeric_storage_type(&math, (tsr_dtype)from, 0),
                tsr_numeric_storage_type(&math, (tsr_dtype)to, 0), lanes, convert_body,
                pairs[count]);
      }
      count++;
    }
  for (unsigned bits = 8; bits <= 64; bits *= 2) {
    snprintf(name, sizeof name, "d%u", bits);
    LLVMTypeRef type = LLVMIntTypeInContext(j.context, bits);
    jit_map(&j, name, type, type, 8, divide_body, NULL);
  }
  build(&j);
  ck_assert_uint_eq(j.image.symbol_count, 2 * count + 4);
  jit_end(&j);
}
END_TEST

START_TEST(damaged_objects) {
  jit j;
  LLVMMemoryBufferRef buffer;
  uint64_t state = 11;
  jit_begin(&j, "cpu:aarch64");
  LLVMTypeRef type = LLVMFloatTypeInContext(j.context);
  jit_map(&j, "f", type, type, 0, read_global, NULL);
  ck_assert_int_eq(tsr_llvm_target_optimize(j.target, j.module, &j.diag), TSR_OK);
  ck_assert_int_eq(tsr_llvm_target_object(j.target, j.module, &j.diag, &buffer), TSR_OK);
  size_t size = LLVMGetBufferSize(buffer);
  for (unsigned round = 0; round < 20000; round++) {
    unsigned char *copy = malloc(size);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, LLVMGetBufferStart(buffer), size);
    for (unsigned k = 0; k < 1 + round % 4; k++)
      copy[jit_random(&state) % size] = (unsigned char)jit_random(&state);
    tsr_arena arena;
    tsr_image image;
    tsr_arena_init(&arena, tsr_allocator_default());
    tsr_status status = tsr_image_link(copy, size, &arena, NULL, &image);
    for (uint32_t i = 0; status == TSR_OK && i < image.symbol_count; i++)
      ck_assert_uint_le(image.symbols[i].entry, image.size);
    tsr_arena_reset(&arena);
    free(copy);
  }
  LLVMDisposeMemoryBuffer(buffer);
  jit_end(&j);
}
END_TEST

/* ---- Running ---- */

static char folder[256];

static bool have_emulator(void) {
  static const char *programs[] = {"qemu-aarch64", "aarch64-linux-gnu-gcc"};
  char command[1024];
  const char *base = getenv("TESSERA_TEST_TMP");
  for (unsigned i = 0; i < 2; i++) {
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", programs[i]);
    if (system(command) != 0) {
      printf("SKIP running AArch64 code: %s is not installed\n", programs[i]);
      return false;
    }
  }
  snprintf(folder, sizeof folder, "%s/aarch64-XXXXXX", base ? base : "/tmp");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(command, sizeof command,
           "aarch64-linux-gnu-gcc -O1 -static -o %s/driver tests/codegen_cpu/aarch64/driver.c",
           folder);
  ck_assert_msg(system(command) == 0, "the driver does not compile");
  return true;
}

static void remove_folder(void) {
  char command[512];
  snprintf(command, sizeof command, "rm -r %s", folder);
  ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const void *bytes, size_t size) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
  ck_assert_int_eq(fclose(file), 0);
}

static void read_file(const char *name, void *bytes, size_t size) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fread(bytes, 1, size, file), size);
  fclose(file);
}

static void run_driver(uint64_t entry, const char *arguments) {
  char command[1024];
  snprintf(command, sizeof command, "cd %s && qemu-aarch64 ./driver image %llu %s", folder,
           (unsigned long long)entry, arguments);
  ck_assert_msg(system(command) == 0, "%s", command);
}

enum { SAMPLES = 4096 };

static void fill_samples(void *data, bool wide, uint64_t seed) {
  static const double special[] = {0, -0.0, 1, -1, 0.5, 2, -3, 88, 1e30, INFINITY, -INFINITY, NAN};
  for (unsigned i = 0; i < SAMPLES; i++) {
    uint64_t bits = jit_random(&seed);
    double value = i % 7 == 0
                       ? special[bits % 12]
                       : ldexp((double)(int64_t)bits, -63 + (int)(jit_random(&seed) % 13) - 6);
    if (wide)
      ((double *)data)[i] = value;
    else
      ((float *)data)[i] = (float)value;
  }
}

static double sample_at(const void *data, bool wide, unsigned i) {
  return wide ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

/* Both machines have FMA, and the same code for both means the same bits; libm decides where this
 * machine has none. */
START_TEST(math_gives_the_same_bits_as_avx2) {
  if (!have_emulator())
    return;
  tsr_cpu_isa host, avx2;
  jit arm, x86;
  tsr_cpu_isa_host(&host);
  bool comparable =
      tsr_cpu_isa_parse("cpu:avx2", NULL, &avx2) == TSR_OK && tsr_cpu_isa_covers(&host, &avx2);
  if (!comparable)
    printf("SKIP the comparison with AVX2: this machine does not run it\n");
  build_math(&arm, "cpu:aarch64", 8);
  build(&arm);
  write_file("image", arm.image.bytes, arm.image.size);
  if (comparable) {
    build_math(&x86, "cpu:avx2", 8);
    jit_finish(&x86);
  }
  static double a[SAMPLES], b[SAMPLES], want[SAMPLES], got[SAMPLES];
  for (unsigned k = 0; k < arm.image.symbol_count; k++) {
    const tsr_image_symbol *symbol = &arm.image.symbols[k];
    bool wide = strstr(symbol->name, "_f64") != NULL;
    size_t bytes = SAMPLES * (wide ? sizeof(double) : sizeof(float));
    char arguments[64];
    fill_samples(a, wide, k + 1);
    fill_samples(b, wide, k + 1000);
    memset(got, 0, sizeof got);
    write_file("a", a, bytes);
    write_file("b", b, bytes);
    write_file("out", got, bytes);
    snprintf(arguments, sizeof arguments, "map %d a b out", SAMPLES / 8);
    run_driver(symbol->entry, arguments);
    read_file("out", got, bytes);
    if (comparable)
      jit_entry(&x86, symbol->name)(a, b, want, SAMPLES / 8);
    for (unsigned i = 0; i < SAMPLES; i++) {
      double x = sample_at(a, wide, i), y = sample_at(got, wide, i);
      double z = comparable ? sample_at(want, wide, i) : 0;
      if (comparable && !(y == z && !signbit(y) == !signbit(z)) && !(isnan(y) && isnan(z)))
        ck_abort_msg("%s(%.17g, %.17g): AArch64 %.17g, AVX2 %.17g", symbol->name, x,
                     sample_at(b, wide, i), y, z);
      bool is_exp = strncmp(symbol->name, "exp_", 4) == 0;
      if (!is_exp && strncmp(symbol->name, "tanh_", 5) != 0)
        continue;
      double truth = is_exp ? exp(x) : tanh(x);
      truth = wide ? truth : (double)(float)truth;
      if (!(y == truth) && !(isnan(y) && isnan(truth)) &&
          !(fabs(y - truth) <= fabs(truth) * (wide ? 1e-15 : 4e-7) + (wide ? 1e-323 : 3e-45)))
        ck_abort_msg("%s(%.17g) is %.17g, not %.17g", symbol->name, x, y, truth);
    }
  }
  if (comparable)
    jit_end(&x86);
  jit_end(&arm);
  remove_folder();
}
END_TEST

static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  ck_assert_msg(file != NULL, "cannot open %s: run from the repository's root", path);
  char *text = calloc(1, 1 << 16);
  ck_assert_ptr_nonnull(text);
  ck_assert_uint_lt(fread(text, 1, 1 << 16, file), 1 << 16);
  fclose(file);
  return text;
}

/* Attention of S = 43 tokens, B = 1, 12 heads of 64: two contractions around an online softmax. */
START_TEST(attention_kernel) {
  enum { S = 43, H = 12, D = 64, COUNT = H * S * D };
  static float data[4][COUNT];
  static const char *names[] = {"q", "k", "v", "o"};
  double weights[S];
  uint64_t seed = 3;
  tsr_arena arena;
  tsr_diag diag = {0};
  tsr_cpu_isa isa;
  tsr_ir *ir;
  tsr_cpu_code code;
  char *text = read_text("tests/golden/examples/attention/tile.tsr"), arguments[128];
  tsr_arena_init(&arena, tsr_allocator_default());
  ck_assert_int_eq(tsr_cpu_isa_parse("cpu:aarch64", &diag, &isa), TSR_OK);
  ck_assert_int_eq(
      tsr_ir_parse(tsr_allocator_default(), text, strlen(text), "tile.tsr", &diag, &ir), TSR_OK);
  ck_assert_msg(tsr_codegen_cpu(ir, &isa, NULL, &arena, &diag, &code) == TSR_OK, "%s",
                diag.message);
  if (have_emulator()) {
    for (int i = 0; i < 4; i++) {
      for (int k = 0; k < COUNT; k++)
        data[i][k] = i == 3 ? 0 : (float)ldexp((double)(int64_t)jit_random(&seed), -62);
      write_file(names[i], data[i], sizeof data[i]);
    }
    write_file("image", code.image, code.image_bytes);
    ck_assert_uint_eq(code.kernels[0].dim_count, 2);
    bool batch_first = strcmp(tsr_dim_get(ir, code.kernels[0].dims[0])->name, "B") == 0;
    snprintf(arguments, sizeof arguments, "kernel %d %s q k v o", H * ((S + 7) / 8),
             batch_first ? "1,43" : "43,1");
    ck_assert_uint_le(code.kernels[0].scratch_bytes, 1 << 20);
    run_driver(code.kernels[0].entry, arguments);
    read_file("o", data[3], sizeof data[3]);
    for (int row = 0; row < H * S; row++) {
      const float *q = data[0] + row * D, *keys = data[1] + row / S * S * D;
      const float *values = data[2] + row / S * S * D;
      double most = -INFINITY, total = 0;
      for (int s = 0; s < S; s++) {
        weights[s] = 0;
        for (int d = 0; d < D; d++)
          weights[s] += 0.125 * (double)q[d] * (double)keys[s * D + d];
        most = weights[s] > most ? weights[s] : most;
      }
      for (int s = 0; s < S; s++)
        total += weights[s] = exp(weights[s] - most);
      for (int d = 0; d < D; d++) {
        double sum = 0;
        for (int s = 0; s < S; s++)
          sum += weights[s] / total * (double)values[s * D + d];
        ck_assert_double_eq_tol(sum, (double)data[3][row * D + d], 1e-4);
      }
    }
    remove_folder();
  }
  tsr_ir_destroy(ir);
  tsr_arena_reset(&arena);
  free(text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cpu.aarch64");
  TCase *cases = tcase_create("aarch64");
  tcase_set_timeout(cases, 0);
  tcase_add_test(cases, target_texts);
  tcase_add_loop_test(cases, patched_words, 0, sizeof patches / sizeof *patches);
  tcase_add_test(cases, absolute_relocations_have_no_row);
  tcase_add_test(cases, addresses_of_constants);
  tcase_add_test(cases, math_needs_no_library);
  tcase_add_test(cases, conversions_need_no_library);
  tcase_add_test(cases, damaged_objects);
  tcase_add_test(cases, math_gives_the_same_bits_as_avx2);
  tcase_add_test(cases, attention_kernel);
  suite_add_tcase(suite, cases);
  return jit_main(suite);
}
