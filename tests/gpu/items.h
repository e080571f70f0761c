/* What gpu_tests runs, one after the other: kernels (gpu_case.h), ONNX operators, models. */
#ifndef TSR_TESTS_GPU_ITEMS_H
#define TSR_TESTS_GPU_ITEMS_H
#include "tests/gpu/gpu_case.h"

typedef enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_SKIP } verdict;

enum { REASON_BYTES = 2048, MOST_ITEMS = 4096 };

typedef struct item {
  const char *name;
  const gpu_case *kernel; /* NULL: a folder */
  char *folder;
  verdict (*run)(const char *folder, char *out_reason);
} item;

typedef struct items {
  item list[MOST_ITEMS];
  int count;
} items;

/* Adds "operator.CASE" for every folder of `folder`: model.tsm and the data sets of an ONNX backend
 * test. Nothing where the folder is absent. */
void items_add_operators(items *all, const char *folder);
/* Adds "model.NAME" for every NAME.tsm of `folder`, beside it the graph NAME.tsr. */
void items_add_models(items *all, const char *folder);
#endif
