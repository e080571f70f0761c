/* Contractions by every atom on the emulated device. Operands are small integers, which all the
 * types hold and whose products and sums are exact: every element must be the one that float64
 * gives, rounded to c's type. */
#include "codegen/cuda/cuda.h"
#include "codegen/cuda/device/device_text.h"
#include "tests/codegen/harness.h"
#include "tests/codegen_cuda/contract_texts.h"
#include "tests/cuda_emulator/emulator.h"

typedef struct matrix {
  const char *name;
  tsr_dtype dtype;
  int64_t rows, columns; /* 1 x n for a vector */
  void *data;            /* the device's */
} matrix;

typedef struct product {
  tsr_arena arena;
  tsr_ir *ir;
  tsr_cuda_code code;
  tsr_emulator *emulator;
  matrix matrices[4];
  uint32_t count;
  int64_t m, tasks;
} product;

static int64_t eval(const product *p, tsr_expr expr) {
  int64_t result = 0;
  ck_assert_int_eq(tsr_expr_eval(p->ir, expr, &p->m, &result), TSR_OK);
  return result;
}

static void open_product(product *p, const contract_text *row) {
  tsr_diag diag = {0};
  tsr_target target;
  char message[2048], name[16];
  *p = (product){.m = row->m, .tasks = 1};
  tsr_arena_init(&p->arena, tsr_allocator_default());
  snprintf(name, sizeof name, row->arch == 90 ? "cuda:sm_90a" : "cuda:sm_%d", row->arch);
  ck_assert(tsr_target_cuda(name, &target));
  if (tsr_ir_parse(p->arena.allocator, row->text, strlen(row->text), row->name, &diag, &p->ir) !=
          TSR_OK ||
      tsr_ir_verify(p->ir, &diag) != TSR_OK ||
      tsr_codegen_cuda(p->ir, &target, &p->arena, &diag, &p->code) != TSR_OK) {
    tsr_diag_format(&diag, message, sizeof message);
    ck_abort_msg("%s: %s\n%s", row->name, message, row->text);
  }
  p->emulator = tsr_emulator_create(row->arch);
  ck_assert_ptr_nonnull(p->emulator);
}

static void close_product(product *p) {
  tsr_emulator_destroy(p->emulator);
  tsr_ir_destroy(p->ir);
  tsr_arena_reset(&p->arena);
}

static void add_matrix(product *p, tsr_value value, uint64_t *random) {
  const tsr_type_info *type = tsr_value_type(p->ir, value);
  matrix *x = &p->matrices[p->count++];
  x->name = tsr_value_get(p->ir, value)->name;
  x->dtype = type->dtype;
  x->rows = type->rank == 2 ? eval(p, type->dims[0]) : 1;
  x->columns = eval(p, type->dims[type->rank - 1]);
  x->data = tsr_emulator_alloc(p->emulator, (size_t)tsr_dtype_bytes(x->dtype, x->rows * x->columns),
                               x->name);
  ck_assert_ptr_nonnull(x->data);
  if (tsr_value_get(p->ir, value)->role == TSR_ROLE_IN)
    for (int64_t i = 0; i < x->rows * x->columns; ++i)
      tsr_element_store_f64(x->dtype, x->data, i, (double)(next_random(random) >> 40 & 7) - 3);
}

/* Element (i, j) of a matrix or of its transpose. */
static double element(const matrix *x, bool turned, int64_t i, int64_t j) {
  return tsr_element_load_f64(x->dtype, x->data, turned ? j * x->columns + i : i * x->columns + j);
}

static void check(const product *p, const contract_text *row) {
  const matrix *a = &p->matrices[0], *b = &p->matrices[1], *c = &p->matrices[p->count - 1];
  const matrix *bias = p->count == 4 ? &p->matrices[2] : NULL;
  const bool at = !strcmp(a->name, "at"), bt = !strcmp(b->name, "bt");
  const int64_t depth = at ? a->rows : a->columns;
  for (int64_t i = 0; i < c->rows; ++i)
    for (int64_t j = 0; j < c->columns; ++j) {
      double sum = 0, rounded = 0;
      for (int64_t k = 0; k < depth; ++k)
        sum += element(a, at, i, k) * element(b, bt, k, j);
      tsr_element_store_f64(c->dtype, &rounded, 0, sum + (bias ? element(bias, false, 0, j) : 0));
      rounded = tsr_element_load_f64(c->dtype, &rounded, 0);
      if (element(c, false, i, j) != rounded)
        ck_abort_msg("%s: element %lld, %lld is %g, not %g\n%s", row->name, (long long)i,
                     (long long)j, element(c, false, i, j), rounded, p->code.kernels[0].body);
    }
}

START_TEST(test_product) {
  const contract_text *row = &contract_texts[_i];
  product p;
  uint64_t random = 88172645463325252ULL;
  void *args[8];
  open_product(&p, row);
  const tsr_cuda_kernel *kernel = &p.code.kernels[0];
  tsr_op op = tsr_region_get(p.ir, tsr_ir_top(p.ir))->first;
  const tsr_region_data *region = tsr_region_get(p.ir, tsr_op_get(p.ir, op)->regions[0]);
  for (uint32_t i = 0; i < region->arg_count; ++i) {
    const tsr_value_data *value = tsr_value_get(p.ir, region->args[i]);
    if (value->role == TSR_ROLE_GRID)
      p.tasks *= eval(&p, value->hi) - eval(&p, value->lo);
    else
      add_matrix(&p, region->args[i], &random);
  }
  uint32_t used = 0;
  for (; used < p.count; ++used)
    args[used] = &p.matrices[used].data;
  for (uint32_t d = 0; d < kernel->dim_count; ++d)
    args[used++] = &p.m;
  args[used] = &p.tasks;
  const tsr_emulated_kernel *made =
      tsr_emulator_kernel(p.emulator, p.code.text + tsr_cuda_device_text_size, kernel->symbol);
  ck_assert_msg(made, "%s\n%s", tsr_emulator_error(p.emulator), kernel->body);
  for (uint32_t seed = 1; seed < 4; seed += 2) {
    tsr_emulated_launch launch = {.grid = {(uint32_t)p.tasks, 1, 1},
                                  .threads = kernel->threads,
                                  .shared_bytes = (uint32_t)kernel->shared_bytes,
                                  .seed = seed};
    const matrix *c = &p.matrices[p.count - 1];
    memset(c->data, 0xff, (size_t)tsr_dtype_bytes(c->dtype, c->rows * c->columns));
    ck_assert_msg(tsr_emulator_launch(p.emulator, made, &launch, args), "%s: %s\n%s", row->name,
                  tsr_emulator_error(p.emulator), kernel->body);
    check(&p, row);
  }
  close_product(&p);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("codegen_cuda.contract");
  TCase *cases = tcase_create("products");
  tcase_set_timeout(cases, 120);
  tcase_add_loop_test(cases, test_product, 0, CONTRACT_TEXTS);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
