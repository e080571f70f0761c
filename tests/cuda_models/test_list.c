/* cases.list names the ONNX backend cases that are run on the emulated device in every test run.
 * Here: each exists, and each operator of the shipped cases is in one of them, or stands in a line
 * "- Operator" because no case with it passes on the CPU.
 *
 * To choose anew: tessera verify DATA/node ... >verdicts; TESSERA_CHOOSE=verdicts
 * test_list_cuda_models writes the list to standard output: for every operator a case with it, the
 * rest at random. */
#include "frontend/onnx/onnx_model.h"
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA "/usr/share/libonnx-testdata/data"
enum { MOST_CASES = 4096, MOST_OPS = 512, OPS_PER_CASE = 96, CHOSEN = 170 };

typedef struct test_case {
  char name[160]; /* below DATA */
  int ops[OPS_PER_CASE];
  int op_count;
  bool passes, chosen;
} test_case;

static test_case cases[MOST_CASES];
static int case_count;
static char ops[MOST_OPS][64];
static int op_count;

static void need(bool holds, const char *what) {
  if (holds)
    return;
  fprintf(stderr, "%s\n", what);
  exit(EXIT_FAILURE);
}

static int find_op(const char *name) {
  for (int i = 0; i < op_count; i++)
    if (strcmp(ops[i], name) == 0)
      return i;
  need(op_count < MOST_OPS, "more operators than MOST_OPS");
  snprintf(ops[op_count], sizeof ops[0], "%s", name);
  return op_count++;
}

static void add_ops(test_case *c, const tsr_onnx_graph *graph) {
  for (uint64_t i = 0; graph != NULL && i < graph->nodes.count; i++) {
    const tsr_onnx_node *node = &graph->nodes.items[i];
    int op = find_op(node->op_type), at = 0;
    while (at < c->op_count && c->ops[at] != op)
      at++;
    if (at == c->op_count && at < OPS_PER_CASE)
      c->ops[c->op_count++] = op;
    for (uint64_t a = 0; a < node->attributes.count; a++) {
      const tsr_onnx_attribute *attribute = &node->attributes.items[a];
      add_ops(c, attribute->g);
      for (uint64_t g = 0; g < attribute->graphs.count; g++)
        add_ops(c, &attribute->graphs.items[g]);
    }
  }
}

static void add_folder(const char *folder) {
  struct dirent **entries = NULL;
  char path[512];
  snprintf(path, sizeof path, DATA "/%s", folder);
  int count = scandir(path, &entries, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    snprintf(path, sizeof path, DATA "/%s/%s/model.onnx", folder, entries[i]->d_name);
    tsr_onnx_model model;
    tsr_diag diag = {0};
    if (entries[i]->d_name[0] != '.' && access(path, R_OK) == 0 &&
        tsr_onnx_model_open(&model, tsr_allocator_default(), path, &diag) == TSR_OK) {
      need(case_count < MOST_CASES, "more cases than MOST_CASES");
      test_case *c = &cases[case_count++];
      snprintf(c->name, sizeof c->name, "%s/%s", folder, entries[i]->d_name);
      add_ops(c, model.proto.graph);
      tsr_onnx_model_close(&model);
    }
    free(entries[i]);
  }
  free(entries);
}

static void read_cases(void) {
  add_folder("node");
  add_folder("pytorch-converted");
  add_folder("pytorch-operator");
  add_folder("simple");
}

static test_case *find_case(const char *name) {
  for (int i = 0; i < case_count; i++)
    if (strcmp(cases[i].name, name) == 0)
      return &cases[i];
  return NULL;
}

static bool has_op(const test_case *c, int op) {
  for (int i = 0; i < c->op_count; i++)
    if (c->ops[i] == op)
      return true;
  return false;
}

static bool is_covered(int op) {
  for (int i = 0; i < case_count; i++)
    if (cases[i].chosen && has_op(&cases[i], op))
      return true;
  return false;
}

static uint64_t random_state = 2026;

static uint32_t random_below(uint32_t bound) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 33) % bound;
}

static bool choose_for(int op) {
  int found = 0, chosen = 0;
  for (int i = 0; i < case_count; i++)
    if (cases[i].passes && has_op(&cases[i], op) && random_below((uint32_t)++found) == 0)
      chosen = i;
  if (found > 0)
    cases[chosen].chosen = true;
  return found > 0;
}

static void choose(const char *verdicts) {
  char line[2048];
  int count = 0;
  FILE *in = fopen(verdicts, "r");
  need(in != NULL, "the verdicts cannot be read");
  while (fgets(line, sizeof line, in) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    const char *at = strstr(line, DATA "/");
    test_case *c = at != NULL ? find_case(at + sizeof DATA) : NULL;
    if (c != NULL && strncmp(line, "PASS ", 5) == 0)
      c->passes = true;
  }
  fclose(in);
  for (int op = 0; op < op_count; op++)
    if (!is_covered(op) && !choose_for(op))
      printf("- %s\n", ops[op]);
  for (int i = 0; i < case_count; i++)
    count += cases[i].chosen;
  while (count < CHOSEN) {
    test_case *c = &cases[random_below((uint32_t)case_count)];
    if (c->passes && !c->chosen) {
      c->chosen = true;
      count++;
    }
  }
  for (int i = 0; i < case_count; i++)
    if (cases[i].chosen)
      printf("%s\n", cases[i].name);
}

START_TEST(every_operator_is_in_the_list) {
  char line[256];
  bool without[MOST_OPS] = {false};
  int count = 0;
  read_cases();
  FILE *in = fopen("tests/cuda_models/cases.list", "r");
  ck_assert_ptr_nonnull(in);
  while (fgets(line, sizeof line, in) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "- ", 2) == 0) {
      without[find_op(line + 2)] = true;
      continue;
    }
    test_case *c = find_case(line);
    ck_assert_msg(c != NULL, "there is no case '%s'", line);
    c->chosen = true;
    count++;
  }
  fclose(in);
  ck_assert_int_ge(count, 150);
  for (int op = 0; op < op_count; op++)
    ck_assert_msg(is_covered(op) || without[op], "no case of the list has '%s'", ops[op]);
}
END_TEST

int main(void) {
  if (access(DATA, R_OK) != 0) {
    puts("SKIP: libonnx-testdata is not installed");
    return 77;
  }
  const char *verdicts = getenv("TESSERA_CHOOSE");
  if (verdicts != NULL) {
    read_cases();
    choose(verdicts);
    return EXIT_SUCCESS;
  }
  Suite *suite = suite_create("cuda_models.list");
  TCase *tc = tcase_create("list");
  tcase_set_timeout(tc, 60);
  tcase_add_test(tc, every_operator_is_in_the_list);
  suite_add_tcase(suite, tc);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
