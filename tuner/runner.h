/* A module that is loaded and bound to a task's data, ready to run. */
#ifndef TSR_TUNER_RUNNER_H
#define TSR_TUNER_RUNNER_H
#include "tuner/memo.h"
#include <tessera/runtime.h>

/* Where the module's inputs are read and its outputs written, by the layout's order. */
typedef struct tsr_runner_data {
  void **inputs;
  void **outputs;
} tsr_runner_data;

typedef struct tsr_runner {
  tsr_module *module;
  tsr_exec *exec;
  void *bytes; /* the module's, mapped */
  size_t size;
} tsr_runner;

/* Memory for the tensors, inputs copied from `base`. False: no memory. */
bool tsr_runner_data_make(const tsr_memo_layout *layout, const void *base, tsr_arena *arena,
                          const tsr_allocator *allocator, tsr_runner_data *out_data);

/* Loads the module in memory file `fd` and binds it: tensors of the layout that it does not name
 * are left out. `bind_outputs`: to data->outputs, else they are the exec's. */
TSR_WARN_UNUSED tsr_status tsr_runner_open(int fd, size_t size, const tsr_memo_layout *layout,
                                           const tsr_runner_data *data, bool bind_outputs,
                                           const tsr_executor *executor,
                                           const tsr_allocator *allocator, tsr_runner *out_runner,
                                           tsr_message *out_message);
void tsr_runner_close(tsr_runner *runner);

/* How far the outputs are from the reference at `base`, in units of what it allows: the largest
 * over all elements. Above 1 is wrong. `out_where`: a text about the worst, at most `size`. */
double tsr_runner_compare(const tsr_memo_layout *layout, const tsr_runner_data *data,
                          const void *base, char *out_where, size_t size);

/* Overwrites the outputs with what no kernel computes. */
void tsr_runner_poison(const tsr_memo_layout *layout, const tsr_runner_data *data);

#endif
