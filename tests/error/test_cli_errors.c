/* Bad input of every kind on the command line: exit status, the error line, and no file left over.
 * The binary is found in TESSERA. */
#include "runtime/hash.h"
#include "runtime/module/format.h"
#include "tests/error/bad_models.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CAP_IGNORE_MODES = 1, CAP_READ_ANYTHING = 2, NO_LIMIT = 0 };

#define ROWS(table) ((int)(sizeof(table) / sizeof *(table)))

static char folder[512];

/* Runs the binary with `arguments`, split at blanks; what it printed goes to `out`. */
typedef struct outcome {
  int status; /* exit status, or 1000 + signal */
  char out[1 << 16];
} outcome;
static outcome last;

static void become(const char *arguments, const char *standard_output, uint64_t file_limit) {
  char copy[1024], *rest = copy, *argv[32] = {getenv("TESSERA")};
  int count = 1;
  strcpy(copy, arguments);
  for (char *word; count < 31 && (word = strtok_r(rest, " ", &rest)) != NULL;)
    argv[count++] = word;
  int output = open(standard_output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  int error = open("../stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(output, 1);
  dup2(error, 2);
  if (file_limit != NO_LIMIT)
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){file_limit, file_limit});
  prctl(PR_CAPBSET_DROP, CAP_IGNORE_MODES);
  prctl(PR_CAPBSET_DROP, CAP_READ_ANYTHING);
  execv(argv[0], argv);
  _exit(127);
}

static void run(const char *arguments, const char *standard_output, uint64_t file_limit) {
  ck_assert_msg(getenv("TESSERA") != NULL, "TESSERA names no binary");
  int status;
  pid_t child = fork();
  if (child == 0)
    become(arguments, standard_output, file_limit);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  last.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  FILE *file = fopen("../stderr", "rb");
  size_t size = fread(last.out, 1, sizeof last.out - 1, file);
  last.out[size] = '\0';
  fclose(file);
}

/* The names in the folder, so that a file too many is seen. */
static int count_files(void) {
  DIR *directory = opendir(".");
  int count = 0;
  while (readdir(directory) != NULL)
    count++;
  closedir(directory);
  return count;
}

/* One line "error: ...", and after wrong usage the hint, and nothing else. */
static void check_form(const char *arguments) {
  const char *end = strchr(last.out, '\n');
  ck_assert_msg(strncmp(last.out, "error: ", 7) == 0 && end != NULL, "%s: %s", arguments, last.out);
  bool alone = end[1] == '\0', hint = strncmp(end + 1, "see tessera", 11) == 0;
  ck_assert_msg(alone || (last.status == 2 && hint), "%s: %s", arguments, last.out);
}

static void expect(const char *arguments, int status, const char *const *parts) {
  int before = count_files();
  run(arguments, "../stdout", NO_LIMIT);
  ck_assert_msg(last.status == status, "%s: status %d, not %d: %s", arguments, last.status, status,
                last.out);
  check_form(arguments);
  const char *at = last.out;
  for (int i = 0; i < 4 && parts[i] != NULL; i++) {
    const char *found = strstr(at, parts[i]);
    ck_assert_msg(found != NULL, "%s: '%s' does not follow in: %s", arguments, parts[i], last.out);
    at = found + strlen(parts[i]);
  }
  ck_assert_msg(count_files() == before, "%s: files came or went", arguments);
}

/* What every row expects after "error: ", in this order. */
typedef struct row {
  const char *arguments;
  int status;
  const char *parts[4];
} row;

/* {arguments after "compile", exit status, texts} */
static const row onnx_rows[] = {
    {"cut.onnx", 1, {"cut.onnx: ", "end"}},
    {"empty.onnx", 1, {"empty.onnx: ", "empty"}},
    {"garbage.onnx", 1, {"garbage.onnx: "}},
    {"no-graph.onnx", 1, {"no-graph.onnx: ", "no graph"}},
    {"absent.onnx", 1, {"absent.onnx: ", "No such file"}},
    {"folder", 1, {"folder: ", "not a regular file"}},
    {"secret.onnx", 1, {"secret.onnx: ", "Permission denied"}},
    {"cyclic.onnx", 1, {"cyclic.onnx: node 'first' (Add): ", "cyclic"}},
    {"mixed.onnx", 1, {"mixed.onnx: node 'sum' (Add): ", "f32", "i64"}},
    {"broadcast.onnx", 1, {"broadcast.onnx: node 'sum' (Add): ", "broadcast"}},
    {"matmul.onnx", 1, {"matmul.onnx: node 'mm' (MatMul): ", "do not fit"}},
    {"logic.onnx", 1, {"logic.onnx: node 'both' (And): ", "bool or integer"}},
    {"huge-input.onnx", 1, {"huge-input.onnx: node 'x' (input): ", "overflow"}},
    {"huge-outer.onnx", 1, {"huge-outer.onnx: node 'x' (input): ", "overflow"}},
    {"huge-one.onnx", 1, {"huge-one.onnx: node 'x' (input): ", "overflow"}},
    {"huge-weight.onnx", 1, {"huge-weight.onnx: ", "'w'", "overflow"}},
    {"huge-fill.onnx", 1, {"huge-fill.onnx: node 'grow' (ConstantOfShape): ", "overflow"}},
    {"huge-expand.onnx", 1, {"huge-expand.onnx: node 'grow' (Expand): ", "overflow"}},
    {"huge-reshape.onnx", 1, {"huge-reshape.onnx: node 'grow' (Reshape): ", "overflow"}},
    {"negative-fill.onnx", 1, {"negative-fill.onnx: node 'grow' (ConstantOfShape): ", "negative"}},
    {"missing-file.onnx", 1, {"missing-file.onnx: ", "absent.bin", "No such file"}},
    {"absolute.onnx", 1, {"absolute.onnx: ", "'/etc/passwd' is refused"}},
    {"parent.onnx", 1, {"parent.onnx: ", "'../weights.bin' is refused"}},
    {"link.onnx", 1, {"link.onnx: ", "outside the model's directory"}},
    {"folder.onnx", 1, {"folder.onnx: ", "not a regular file"}},
    {"short-file.onnx", 1, {"short-file.onnx: ", "'w'", "4 bytes"}},
    {"no-data.onnx", 1, {"no-data.onnx: ", "'w'", "2"}},
    {"unknown-op.onnx", 1, {"unknown-op.onnx: ", "Unheard", "'odd'", "not supported"}},
    {"unknown-domain.onnx", 1, {"unknown-domain.onnx: ", "Magic", "'spell'", "domain"}},
    {"new-opset.onnx", 1, {"new-opset.onnx: ", "opset 999"}},
    {"gone-op.onnx", 1, {"gone-op.onnx: ", "Upsample", "opset 17", "'up'"}},
    {"undefined.onnx", 1, {"undefined.onnx: node 'sum' (Add): ", "'w'"}},
    {"twice.onnx", 1, {"twice.onnx: node 'two' (Exp): ", "already made"}},
    {"declared-type.onnx", 1, {"declared-type.onnx: ", "'z'", "INT64"}},
    {"string-input.onnx", 1, {"string-input.onnx: ", "Exp (opset 17, node 'e')", "string"}},
    {"no-type.onnx", 1, {"no-type.onnx: ", "'x'"}},
    {"odd-type.onnx", 1, {"odd-type.onnx: ", "'x'", "77"}},
    {"axis.onnx", 1, {"axis.onnx: node 'picky' (Softmax): ", "axis 5"}},
    {"deep.onnx", 1, {"deep.onnx: ", "nested deeper"}},
    {"rank.onnx", 1, {"rank.onnx: ", "'x'", "17 dims"}},
    {"inputs.onnx", 1, {"inputs.onnx: node 'sum' (Add): ", "input"}},
    {"good.onnx --target cpu:z80", 2, {"cpu:z80"}},
    {"good.onnx --target abacus", 2, {"unknown target 'abacus'", "cpu"}},
    {"good.onnx --dim N", 2, {"--dim wants NAME=N"}},
    {"good.onnx --dim N=", 2, {"--dim wants NAME=N"}},
    {"good.onnx --dim N=x", 2, {"--dim wants NAME=N"}},
    {"good.onnx --dim N=-1", 2, {"--dim wants NAME=N"}},
    {"good.onnx --dim N=99999999999999999999", 2, {"--dim wants NAME=N"}},
    {"good.onnx --dim N=5..2", 2, {"'N'", "5..2", "empty"}},
    {"good.onnx --dim M=5", 1, {"good.onnx: ", "--dim M"}},
    {"good.onnx --dim N=4611686018427387904", 1, {"good.onnx: ", "overflow"}},
    {"good.onnx --precision f7", 2, {"unknown precision 'f7'"}},
};

static const row text_rows[] = {
    {"absent.tsr", 1, {"absent.tsr: ", "No such file"}},
    {"folder.tsr", 1, {"folder.tsr: "}},
    {"empty.tsr", 1, {"empty.tsr: ", "no graph"}},
    {"syntax.tsr", 1, {"syntax.tsr:2:", "expected"}},
    {"character.tsr", 1, {"character.tsr:2:"}},
    {"open.tsr", 1, {"open.tsr:"}},
    {"op.tsr", 1, {"op.tsr:3:", "frobnicate"}},
    {"value.tsr", 1, {"value.tsr:3:", "%y"}},
    {"type.tsr", 1, {"type.tsr:"}},
    {"result.tsr", 1, {"result.tsr:"}},
    {"dim.tsr", 1, {"dim.tsr:2:", "'M'"}},
    {"range.tsr", 1, {"range.tsr:", "'N'", "5..2"}},
    {"number.tsr", 1, {"number.tsr:2:"}},
    {"huge.tsr", 1, {"huge.tsr", "overflow"}},
    {"parentheses.tsr", 1, {"parentheses.tsr:2:", "nest"}},
    {"bytes.tsr", 1, {"bytes.tsr:1:"}},
};

static const struct text_model {
  const char *name, *text;
} text_models[] = {
    {"good.tsr", "dim N in 1..100\ngraph @g {\n  %x = input {name = \"x\"} : f32[N, 3]\n"
                 "  %y = add %x, %x : f32[N, 3] from \"Add_0\"\n  output %y {name = \"y\"}\n}\n"},
    {"empty.tsr", ""},
    {"syntax.tsr", "graph @g {\n  %x = input {name = } : f32[3]\n  output %x {name = \"y\"}\n}\n"},
    {"character.tsr", "graph @g {\n  %x = ?input {name = \"x\"} : f32[3]\n}\n"},
    {"open.tsr", "graph @g {\n  %x = input {name = \"x\"} : f32[3]\n  output %x {name = \"y\"}\n"},
    {"op.tsr", "graph @g {\n  %x = input {name = \"x\"} : f32[3]\n  %y = frobnicate %x : f32[3]\n"
               "  output %y {name = \"y\"}\n}\n"},
    {"value.tsr",
     "graph @g {\n  %x = input {name = \"x\"} : f32[3]\n  output %y {name = \"y\"}\n}\n"},
    {"type.tsr", "graph @g {\n  %x = input {name = \"x\"} : f32[3]\n"
                 "  %n = input {name = \"n\"} : i64[3]\n  %y = add %x, %n : f32[3]\n"
                 "  output %y {name = \"y\"}\n}\n"},
    {"result.tsr", "graph @g {\n  %x = input {name = \"x\"} : f32[3]\n  %y = exp %x : f32[4]\n"
                   "  output %y {name = \"y\"}\n}\n"},
    {"dim.tsr",
     "graph @g {\n  %x = input {name = \"x\"} : f32[M]\n  output %x {name = \"y\"}\n}\n"},
    {"range.tsr", "dim N in 5..2\ngraph @g {\n  %x = input {name = \"x\"} : f32[N]\n"
                  "  output %x {name = \"y\"}\n}\n"},
    {"number.tsr", "graph @g {\n  %x = input {name = \"x\"} : f32[99999999999999999999]\n}\n"},
    {"huge.tsr", "graph @g {\n  %x = input {name = \"x\"} : f32[" HUGE_DIM ", 4]\n"
                 "  %y = exp %x : f32[" HUGE_DIM ", 4]\n  output %y {name = \"y\"}\n}\n"},
    {"bytes.tsr", "\x93TSM\r\n\x1a\n"},
};

static const row run_rows[] = {
    {"run absent.tsm", 1, {"absent.tsm: ", "No such file"}},
    {"run folder.tsm", 1, {"folder.tsm: "}},
    {"run secret.tsm", 1, {"secret.tsm: ", "Permission denied"}},
    {"run text.tsm", 1, {"text.tsm: "}},
    {"run empty.tsm", 1, {"empty.tsm: "}},
    {"run version.tsm", 1, {"version.tsm: ", "version 9999"}},
    {"inspect version.tsm", 1, {"version.tsm: ", "version 9999"}},
    {"bench version.tsm", 1, {"version.tsm: ", "version 9999"}},
    {"run good.tsm --target cpu:x86-64-v9", 1, {"good.tsm: ", "cpu:x86-64-v9"}},
    {"run good.tsm --input z=x.npy", 1, {"good.tsm: ", "no input 'z'"}},
    {"run good.tsm --input x", 2, {"--input wants NAME=FILE.npy"}},
    {"run good.tsm --input =x.npy", 2, {"--input wants NAME=FILE.npy"}},
    {"run good.tsm --input x=absent.npy", 1, {"absent.npy: ", "No such file"}},
    {"run good.tsm --input x=folder", 1, {"folder: ", "regular file"}},
    {"run good.tsm --input x=secret.npy", 1, {"secret.npy: ", "Permission denied"}},
    {"run good.tsm --input x=text.npy", 1, {"text.npy: ", "no .npy file"}},
    {"run good.tsm --input x=cut.npy", 1, {"cut.npy: ", "cut short"}},
    {"run good.tsm --input x=short.npy", 1, {"short.npy: ", "20 bytes", "24"}},
    {"run good.tsm --input x=int.npy", 1, {"int.npy: ", "f32 is wanted"}},
    {"run good.tsm --input x=rank.npy", 1, {"good.tsm: ", "'x'", "rank"}},
    {"run good.tsm --input x=wide.npy", 1, {"good.tsm: ", "'x'", "3"}},
    {"run good.tsm --input x=huge.npy", 1, {"huge.npy: ", "overflow"}},
    {"run good.tsm --dim N=101", 1, {"good.tsm: ", "N"}},
    {"run good.tsr --dim N=101", 1, {"good.tsr: ", "N"}},
    {"run good.tsm --input x=x.npy --output-dir good.tsr", 1, {"good.tsr", "ot a directory"}},
    {"run good.tsm --quiet --output-dir absent/folder", 1, {"absent/folder: ", "No such file"}},
    {"run good.tsm --quiet --trace absent/t.json", 1, {"absent/t.json", "No such file"}},
    {"bench good.tsm --quiet --runs 2 --json absent/b.json",
     1,
     {"absent/b.json: ", "No such file"}},
    {"compile good.tsr -o absent/out.tsm", 1, {"absent/out.tsm: ", "No such file"}},
    {"compile good.tsr -o folder", 1, {"folder: ", "no regular file"}},
    {"compile good.tsr --emit ll --emit-dir absent/folder", 1, {"absent/folder: ", "No such file"}},
    {"compile good.tsr --emit ll --emit-dir good.tsr", 1, {"good.tsr", "directory"}},
    {"opt absent.tsr", 1, {"absent.tsr: ", "No such file"}},
    {"opt syntax.tsr", 1, {"syntax.tsr:2:"}},
    {"verify absent", 1, {"absent"}},
};

/* An .npy file of zeros. */
static void save_npy(const char *path, const char *type, const char *shape, size_t bytes) {
  char file[512] = {0}, text[118];
  snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type,
           shape);
  memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
  memset(file + 10, ' ', 118);
  memcpy(file + 10, text, strlen(text));
  file[127] = '\n';
  save(path, file, 128 + bytes);
}

static void read_module(unsigned char *bytes, size_t room, size_t *out_size) {
  FILE *file = fopen("good.tsm", "rb");
  ck_assert_ptr_nonnull(file);
  *out_size = fread(bytes, 1, room, file);
  ck_assert(*out_size > sizeof(tsm_header) && *out_size < room);
  fclose(file);
}

static unsigned char module_bytes[1 << 20];
static size_t module_size;

/* A module whose header says another version and whose checksum is right. */
static void save_other_version(void) {
  static unsigned char copy[sizeof module_bytes];
  memcpy(copy, module_bytes, module_size);
  tsm_header header;
  memcpy(&header, copy, sizeof header);
  header.version = 9999;
  header.meta_checksum =
      tsr_hash64(copy + TSM_CHECKED_FROM, (size_t)header.meta_bytes - TSM_CHECKED_FROM);
  memcpy(copy, &header, sizeof header);
  save("version.tsm", copy, module_size);
}

static void save_parentheses(void) {
  char text[8192] = "graph @g {\n  %x = input {name = \"x\"} : f32[";
  size_t used = strlen(text);
  memset(text + used, '(', 4000);
  text[used + 4000] = '\0';
  save_text("parentheses.tsr", text);
}

static void forbid(const char *path) {
  ck_assert_int_eq(chmod(path, 0), 0);
}

static void write_files(void) {
  save_bad_models();
  for (size_t i = 0; i < sizeof text_models / sizeof *text_models; i++)
    save_text(text_models[i].name, text_models[i].text);
  save_parentheses();
  save_npy("x.npy", "<f4", "2, 3", 24);
  save_npy("short.npy", "<f4", "2, 3", 20);
  save_npy("int.npy", "<i4", "2, 3", 24);
  save_npy("rank.npy", "<f4", "6,", 24);
  save_npy("wide.npy", "<f4", "2, 4", 32);
  save_npy("huge.npy", "<f4", HUGE_DIM ", 8", 24);
  save_npy("secret.npy", "<f4", "2, 3", 24);
  save("cut.npy", "\x93NUMPY\x01\x00\x76\x00{", 11);
  save_text("text.npy", "no array at all");
  save_text("text.tsm", "no module at all, but some bytes");
  save_text("empty.tsm", "");
  save_text("secret.onnx", "");
  save_text("secret.tsm", "");
  forbid("secret.npy");
  forbid("secret.onnx");
  forbid("secret.tsm");
  ck_assert_int_eq(symlink("/etc/passwd", "link.bin"), 0);
  ck_assert_int_eq(mkdir("folder", 0700), 0);
  ck_assert_int_eq(mkdir("folder.tsr", 0700), 0);
  ck_assert_int_eq(mkdir("folder.tsm", 0700), 0);
  run("compile good.tsr -o good.tsm --quiet", "../stdout", NO_LIMIT);
  ck_assert_msg(last.status == 0, "%s", last.out);
  read_module(module_bytes, sizeof module_bytes, &module_size);
  save_other_version();
}

/* TESSERA_TEST_TMP/cli_errors_XXXXXX/files is the current folder, beside it go what the binary
 * prints. */
static void set_up(void) {
  const char *base = getenv("TESSERA_TEST_TMP");
  snprintf(folder, sizeof folder, "%s/cli_errors_XXXXXX", base ? base : "/tmp");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  ck_assert_int_eq(chdir(folder), 0);
  ck_assert_int_eq(mkdir("files", 0700), 0);
  ck_assert_int_eq(chdir("files"), 0);
  write_files();
}

static void tear_down(void) {
  char command[600];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  ck_assert_int_eq(chdir("/"), 0);
  ck_assert_int_eq(system(command), 0);
}

static void expect_compile(const row *r) {
  char arguments[512];
  snprintf(arguments, sizeof arguments, "compile %s -o out.tsm", r->arguments);
  expect(arguments, r->status, r->parts);
}

START_TEST(models) {
  expect_compile(&onnx_rows[_i]);
}
END_TEST

START_TEST(texts) {
  expect_compile(&text_rows[_i]);
}
END_TEST

START_TEST(modules_and_arrays) {
  expect(run_rows[_i].arguments, run_rows[_i].status, run_rows[_i].parts);
}
END_TEST

/* No byte of a module may change unseen, and none may be missing. */
START_TEST(damaged_modules) {
  static unsigned char copy[sizeof module_bytes];
  static const char *const parts[4] = {"damaged.tsm: "};
  for (int i = 0; i < 12; i++) {
    size_t at = i == 0 ? 0 : module_size - 1 - (size_t)(12 - i) * (module_size / 13);
    memcpy(copy, module_bytes, module_size);
    copy[at] ^= (unsigned char)(1 << i % 8);
    save("damaged.tsm", copy, module_size);
    expect("run damaged.tsm", 1, parts);
    save("damaged.tsm", module_bytes, at);
    expect("run damaged.tsm", 1, parts);
  }
}
END_TEST

/* A disk that is full at any point leaves the old file, or none. */
START_TEST(full_disk) {
  const uint64_t limits[] = {1, 100, 5000, module_size - 1};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    static unsigned char now[sizeof module_bytes];
    size_t size;
    int before = count_files();
    run("compile good.tsr -o good.tsm", "../stdout", limits[i]);
    ck_assert_msg(last.status == 1, "limit %d: %d", (int)limits[i], last.status);
    ck_assert_msg(strstr(last.out, limits[i] > 100 ? "error: good.tsm: " : "") != NULL, "%s",
                  last.out);
    read_module(now, sizeof now, &size);
    ck_assert(size == module_size && memcmp(now, module_bytes, size) == 0);
    run("compile good.tsr -o other.tsm", "../stdout", limits[i]);
    ck_assert_int_eq(last.status, 1);
    ck_assert_int_eq(count_files(), before);
  }
  run("run good.tsm --input x=x.npy --dim N=2 --output-dir results --quiet", "../stdout", 100);
  ck_assert_int_eq(last.status, 1);
  ck_assert_ptr_nonnull(strstr(last.out, "y.npy"));
  ck_assert_int_eq(access("results/y.npy", F_OK), -1);
  run("compile good.tsr --emit ll --emit-dir texts", "../stdout", 100);
  ck_assert_int_eq(last.status, 1);
  ck_assert_ptr_nonnull(strstr(last.out, "texts/ll.ll"));
  ck_assert_int_eq(access("texts/ll.ll", F_OK), -1);
  run("bench good.tsm --dim N=2 --runs 2 --quiet --json report.json", "../stdout", 100);
  ck_assert_int_eq(last.status, 1);
  ck_assert_ptr_nonnull(strstr(last.out, "report.json"));
  ck_assert_int_eq(access("report.json", F_OK), -1);
}
END_TEST

START_TEST(full_standard_output) {
  static const char *const commands[] = {"--help", "run good.tsm --dim N=2 --quiet",
                                         "inspect good.tsm", "opt good.tsr",
                                         "compile good.tsr --emit ll"};
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    run(commands[i], "/dev/full", NO_LIMIT);
    ck_assert_msg(last.status == 1 && strstr(last.out, "error: standard output: ") != NULL,
                  "%s: %d %s", commands[i], last.status, last.out);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cli_errors");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 0);
  tcase_add_unchecked_fixture(tests, set_up, tear_down);
  tcase_add_loop_test(tests, models, 0, ROWS(onnx_rows));
  tcase_add_loop_test(tests, texts, 0, ROWS(text_rows));
  tcase_add_loop_test(tests, modules_and_arrays, 0, ROWS(run_rows));
  tcase_add_test(tests, damaged_modules);
  tcase_add_test(tests, full_disk);
  tcase_add_test(tests, full_standard_output);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
