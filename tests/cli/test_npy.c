#include "frontend/cli/npy.h"
#include "runtime/float_convert.h"
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Builds a file of `version` from a header text and elements, and parses it. */
static tsr_status parse(int version, const char *header, const void *data, size_t data_size,
                        tsr_dtype wanted, tsr_host_tensor *out_tensor, tsr_diag *diag) {
  uint8_t bytes[1024] = {0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)version, 0};
  size_t length = strlen(header), begin = version == 1 ? 10 : 12;
  ck_assert_uint_le(begin + length + data_size, sizeof bytes);
  bytes[8] = (uint8_t)(length & 0xff);
  bytes[9] = (uint8_t)(length >> 8);
  memcpy(bytes + begin, header, length);
  if (data_size > 0)
    memcpy(bytes + begin + length, data, data_size);
  tsr_diag_clear(diag);
  return tsr_npy_parse(bytes, begin + length + data_size, wanted, out_tensor, diag);
}

START_TEST(reads_what_numpy_writes) {
  static const float values[6] = {1, 2, 3, 4, 5, 6};
  tsr_host_tensor tensor;
  tsr_diag diag;
  for (int version = 1; version <= 3; version++) {
    ck_assert_int_eq(parse(version,
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } \n", values,
                           sizeof values, TSR_DTYPE_NONE, &tensor, &diag),
                     TSR_OK);
    ck_assert_int_eq(tensor.dtype, TSR_F32);
    ck_assert_uint_eq(tensor.rank, 2);
    ck_assert_int_eq(tensor.dims[0], 2);
    ck_assert_int_eq(tensor.dims[1], 3);
    ck_assert_mem_eq(tensor.data, values, sizeof values);
    tsr_host_tensor_destroy(&tensor);
  }
}
END_TEST

START_TEST(undoes_fortran_order_and_byte_order) {
  static const uint8_t values[12] = {0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6};
  static const int16_t wanted[6] = {1, 2, 3, 4, 5, 6};
  tsr_host_tensor tensor;
  tsr_diag diag;
  ck_assert_int_eq(parse(1, "{'shape': (2, 3), 'fortran_order': True, 'descr': '>i2'}", values,
                         sizeof values, TSR_I16, &tensor, &diag),
                   TSR_OK);
  ck_assert_mem_eq(tensor.data, wanted, sizeof wanted);
  tsr_host_tensor_destroy(&tensor);
}
END_TEST

START_TEST(takes_raw_bits_for_types_without_a_name) {
  static const uint16_t bits[2] = {0x3f80, 0x4000};
  tsr_host_tensor tensor;
  tsr_diag diag;
  const char *raw = "{'descr': '|V2', 'fortran_order': False, 'shape': (2,)}";
  const char *u2 = "{'descr': '<u2', 'fortran_order': False, 'shape': (2,)}";
  ck_assert_int_eq(parse(1, raw, bits, 4, TSR_DTYPE_NONE, &tensor, &diag), TSR_OK);
  ck_assert_int_eq(tensor.dtype, TSR_BF16);
  ck_assert(tsr_element_load_f64(TSR_BF16, tensor.data, 1) == 2.0);
  tsr_host_tensor_destroy(&tensor);
  ck_assert_int_eq(parse(1, u2, bits, 4, TSR_BF16, &tensor, &diag), TSR_OK);
  ck_assert_int_eq(tensor.dtype, TSR_BF16);
  tsr_host_tensor_destroy(&tensor);
  ck_assert_int_eq(parse(1, u2, bits, 4, TSR_F16, &tensor, &diag), TSR_ERR_TYPE);
  ck_assert_int_eq(parse(1, u2, bits, 4, TSR_F32, &tensor, &diag), TSR_ERR_TYPE);
}
END_TEST

static const struct {
  const char *header;
  tsr_status status;
} hostile[] = {
    {"", TSR_ERR_FORMAT},
    {"{", TSR_ERR_FORMAT},
    {"{}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3)}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3)}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order: False, 'shape': (2, 3)}", TSR_ERR_FORMAT},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", TSR_ERR_SHAPE},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", TSR_ERR_SHAPE},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,6)}",
     TSR_ERR_SHAPE},
    {"{'descr': '<c8', 'fortran_order': False, 'shape': (3,)}", TSR_ERR_UNSUPPORTED},
    {"{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", TSR_ERR_UNSUPPORTED},
    {"{'descr': '<f0', 'fortran_order': False, 'shape': (3,)}", TSR_ERR_UNSUPPORTED},
    {"{'descr': '<f-4', 'fortran_order': False, 'shape': (3,)}", TSR_ERR_UNSUPPORTED},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", TSR_ERR_UNSUPPORTED},
};

START_TEST(refuses_hostile_headers) {
  static const float values[6] = {0};
  tsr_host_tensor tensor;
  tsr_diag diag;
  tsr_status status =
      parse(1, hostile[_i].header, values, sizeof values, TSR_DTYPE_NONE, &tensor, &diag);
  ck_assert_msg(status == hostile[_i].status, "%s: %s (%s)", hostile[_i].header,
                tsr_status_text(status), diag.message);
  ck_assert_str_ne(diag.message, "");
  ck_assert_ptr_null(tensor.data);
}
END_TEST

START_TEST(refuses_every_cut) {
  static const char text[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}";
  uint8_t bytes[128] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, sizeof text - 1};
  memcpy(bytes + 10, text, sizeof text - 1);
  size_t size = 10 + sizeof text - 1 + 4;
  tsr_host_tensor tensor;
  for (size_t cut = 0; cut < size; cut++) {
    uint8_t *copy = malloc(cut > 0 ? cut : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, cut);
    ck_assert_int_eq(tsr_npy_parse(copy, cut, TSR_DTYPE_NONE, &tensor, NULL), TSR_ERR_FORMAT);
    free(copy);
  }
  ck_assert_int_eq(tsr_npy_parse(bytes, size, TSR_DTYPE_NONE, &tensor, NULL), TSR_OK);
  tsr_host_tensor_destroy(&tensor);
}
END_TEST

/* Every dtype, every small rank, survives writing and reading. */
START_TEST(reads_what_it_writes) {
  static const tsr_dtype dtypes[] = {
#define DTYPE(name, code, text, bits, class) TSR_##name,
      TSR_DTYPE_LIST(DTYPE)
#undef DTYPE
  };
  static const int64_t dims[] = {3, 5, 1, 2};
  char path[] = "/tmp/tessera-npy-XXXXXX";
  int handle = mkstemp(path);
  ck_assert_int_ge(handle, 0);
  close(handle);
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    for (uint32_t rank = 0; rank <= 4; rank++) {
      tsr_host_tensor before, after;
      tsr_diag diag = {0};
      ck_assert_int_eq(tsr_host_tensor_create(&before, dtypes[i], rank, dims, &diag), TSR_OK);
      tsr_host_tensor_fill_random(&before, 7 + rank);
      ck_assert_msg(tsr_npy_write(path, &before, &diag) == TSR_OK, "%s", diag.message);
      ck_assert_msg(tsr_npy_read(path, dtypes[i], &after, &diag) == TSR_OK, "%s %s",
                    tsr_dtype_text(dtypes[i]), diag.message);
      ck_assert_uint_eq(after.rank, rank);
      ck_assert_mem_eq(after.dims, before.dims, sizeof after.dims);
      ck_assert_int_eq(after.bytes, before.bytes);
      ck_assert_mem_eq(after.data, before.data, (size_t)before.bytes);
      tsr_host_tensor_destroy(&before);
      tsr_host_tensor_destroy(&after);
    }
  }
  unlink(path);
}
END_TEST

START_TEST(reads_texts) {
  /* "a", "\xc3\xa9\xe2\x82\xac", "", "\xf0\x9d\x84\x9e" as UTF-32, two characters each. */
  static const uint8_t wide[] = {'a', 0, 0, 0, 0, 0, 0, 0, 0xe9, 0,    0, 0, 0xac, 0x20, 0, 0,
                                 0,   0, 0, 0, 0, 0, 0, 0, 0x1e, 0xd1, 1, 0, 0,    0,    0, 0};
  static const char *const wanted[] = {"a", "\xc3\xa9\xe2\x82\xac", "", "\xf0\x9d\x84\x9e"};
  const char *header = "{'descr': '<U2', 'fortran_order': False, 'shape': (2, 2)}";
  tsr_host_tensor tensor;
  tsr_diag diag;
  ck_assert_int_eq(parse(1, header, wide, sizeof wide, TSR_I64, &tensor, &diag), TSR_OK);
  ck_assert(tensor.is_text);
  ck_assert_int_eq(tensor.dtype, TSR_I64);
  ck_assert_int_eq(tensor.bytes, tsr_dtype_bytes(TSR_I64, tensor.count));
  for (int i = 0; i < 4; i++)
    ck_assert_str_eq(tsr_host_tensor_text(&tensor, i), wanted[i]);
  tsr_host_tensor_destroy(&tensor);
  header = "{'descr': '|S2', 'fortran_order': True, 'shape': (2, 2)}";
  ck_assert_int_eq(parse(1, header, "abc\0\0\0\xffz", 8, TSR_DTYPE_NONE, &tensor, &diag), TSR_OK);
  ck_assert_str_eq(tsr_host_tensor_text(&tensor, 0), "ab");
  ck_assert_str_eq(tsr_host_tensor_text(&tensor, 1), "");
  ck_assert_str_eq(tsr_host_tensor_text(&tensor, 2), "c");
  ck_assert_str_eq(tsr_host_tensor_text(&tensor, 3), "\xffz");
  tsr_host_tensor_destroy(&tensor);
  header = "{'descr': '>U1', 'fortran_order': False, 'shape': ()}";
  ck_assert_int_eq(parse(1, header, "\0\0\x20\xac", 4, TSR_DTYPE_NONE, &tensor, &diag), TSR_OK);
  ck_assert_str_eq(tsr_host_tensor_text(&tensor, 0), "\xe2\x82\xac");
  tsr_host_tensor_destroy(&tensor);
}
END_TEST

START_TEST(refuses_what_are_no_texts) {
  const char *header = "{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}";
  static const uint8_t bad[][8] = {{0, 0, 0, 0, 'a', 0, 0, 0},    /* a zero inside */
                                   {0, 0, 0x11, 0, 'a', 0, 0, 0}, /* beyond Unicode */
                                   {'a', 0, 0, 0, 0, 0xd8, 0, 0}, /* a surrogate */
                                   {'a', 0, 0, 0, 0, 0, 0, 0x80}};
  tsr_host_tensor tensor;
  tsr_diag diag;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_assert_int_eq(parse(1, header, bad[i], 8, TSR_DTYPE_NONE, &tensor, &diag), TSR_ERR_FORMAT);
  ck_assert_int_eq(parse(1, header, bad[0], 7, TSR_DTYPE_NONE, &tensor, &diag), TSR_ERR_FORMAT);
  ck_assert_int_eq(parse(1, header, "a\0\0\0b\0\0\0", 8, TSR_F32, &tensor, &diag), TSR_ERR_TYPE);
  header = "{'descr': '|S3', 'fortran_order': False, 'shape': (1,)}";
  ck_assert_int_eq(parse(1, header, "a\0b", 3, TSR_DTYPE_NONE, &tensor, &diag), TSR_ERR_FORMAT);
  header = "{'descr': '|S0', 'fortran_order': False, 'shape': (9999999999,)}";
  ck_assert_int_eq(parse(1, header, "", 0, TSR_DTYPE_NONE, &tensor, &diag), TSR_ERR_UNSUPPORTED);
}
END_TEST

/* U where all are UTF-8, S where one is not: overlong, cut, surrogate. */
START_TEST(reads_the_texts_it_writes) {
  static const char *const texts[][3] = {
      {"", "", ""},
      {"x", "\xc3\xa9t\xc3\xa9", "\xf4\x8f\xbf\xbf"},
      {"ok", "\xc0\x80", "\xe2\x82"},
      {"\xed\xa0\x80", "\xf4\x90\x80\x80", "longer than others"}};
  static const int64_t dims[] = {3};
  char path[] = "/tmp/tessera-npy-XXXXXX";
  int handle = mkstemp(path);
  ck_assert_int_ge(handle, 0);
  close(handle);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    tsr_host_tensor before, after;
    tsr_diag diag = {0};
    ck_assert_int_eq(tsr_host_tensor_create_text(&before, 1, dims, 0, &diag), TSR_OK);
    memcpy(before.data, texts[i], sizeof texts[i]);
    ck_assert_msg(tsr_npy_write(path, &before, &diag) == TSR_OK, "%s", diag.message);
    ck_assert_msg(tsr_npy_read(path, TSR_I64, &after, &diag) == TSR_OK, "%s", diag.message);
    ck_assert_int_eq(after.count, 3);
    for (int t = 0; t < 3; t++)
      ck_assert_str_eq(tsr_host_tensor_text(&after, t), texts[i][t]);
    tsr_host_tensor_destroy(&before);
    tsr_host_tensor_destroy(&after);
  }
  unlink(path);
}
END_TEST

START_TEST(random_numbers_are_not_all_alike) {
  static const int64_t dims[] = {1000};
  tsr_host_tensor tensor;
  ck_assert_int_eq(tsr_host_tensor_create(&tensor, TSR_F32, 1, dims, NULL), TSR_OK);
  tsr_host_tensor_fill_random(&tensor, 1);
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < tensor.count; i++) {
    double value = tsr_element_load_f64(TSR_F32, tensor.data, i);
    sum += value;
    squares += value * value;
  }
  ck_assert(sum > -200 && sum < 200);
  ck_assert(squares > 800 && squares < 1200);
  tsr_host_tensor_destroy(&tensor);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("npy");
  TCase *cases = tcase_create("npy");
  tcase_add_test(cases, reads_what_numpy_writes);
  tcase_add_test(cases, undoes_fortran_order_and_byte_order);
  tcase_add_test(cases, takes_raw_bits_for_types_without_a_name);
  tcase_add_loop_test(cases, refuses_hostile_headers, 0, sizeof hostile / sizeof *hostile);
  tcase_add_test(cases, refuses_every_cut);
  tcase_add_test(cases, reads_what_it_writes);
  tcase_add_test(cases, reads_texts);
  tcase_add_test(cases, refuses_what_are_no_texts);
  tcase_add_test(cases, reads_the_texts_it_writes);
  tcase_add_test(cases, random_numbers_are_not_all_alike);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
