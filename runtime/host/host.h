/* Inside of execs of host programs: a recursive walk over the regions of the program, which
 * tsr_program_check has checked. An exec of each part does the arithmetic.
 *
 * Values are registers that hold references to objects: tensors, and lists of tensors; an absent
 * maybe is NULL. A tensor's memory is the device's, in which everything happens in order. Where it
 * comes from is remembered (host_slot): when the last reference goes, it is kept there for the next
 * tensor, so that the turns of a loop soon need no new memory, and pointers repeat. */
#ifndef TSR_RUNTIME_HOST_HOST_H
#define TSR_RUNTIME_HOST_HOST_H
#include "runtime/exec/exec.h"
#include "runtime/host/text.h"

typedef struct host_object {
  uint32_t references;
  bool is_list;
} host_object;

typedef struct host_slot host_slot;

typedef struct host_tensor {
  host_object object;
  tsr_dtype dtype;
  uint32_t rank;
  int64_t shape[TSR_MAX_RANK];
  uint64_t bytes;
  void *data;    /* on the device; somewhere when empty */
  bool owns;     /* data is in `memory`; else it is the caller's or a constant's */
  bool writable; /* the caller's, to be overwritten by an output that updates this input */
  bool scalar_known;
  int64_t scalar;        /* its one element, when it was read */
  const void *host_data; /* the same bytes for the host, or NULL */
  exec_memory memory;
  host_slot *slot;
  struct host_tensor *next; /* in the slot */
} host_tensor;

typedef struct host_list {
  host_object object;
  uint64_t count, capacity;
  host_tensor **items;
} host_list;

/* Tensors that are not in use, of what made them. */
struct host_slot {
  host_tensor *free;
  uint32_t count;
};

/* A value whose register can be emptied; `direct`: its last use is by the step itself, not inside
 * of its regions. */
typedef struct host_death {
  uint32_t value;
  bool direct;
} host_death;

/* A slice of host_exec.deaths. */
typedef struct host_deaths {
  uint64_t first, count;
} host_deaths;

typedef struct host_part {
  tsr_exec *exec;
  const uint32_t *dims; /* by its dims: the host program's */
  bool dims_known;      /* they were set */
  uint32_t step;        /* the present call */
  host_tensor **placed; /* their tensors */
} host_part;

typedef struct host_input {
  bool bound, present;
  exec_binding *items; /* of a list */
  uint64_t count, capacity;
} host_input;

/* What the last run gave, of outputs that are no plain tensors. */
typedef struct host_output {
  host_object *value;
  exec_view view;
  uint64_t *offsets;   /* in the view, by item */
  const char ***texts; /* by item */
} host_output;

struct host_exec {
  tsr_exec *exec;
  const tsr_program *program;
  host_part *parts;
  host_object **registers;
  bool *constants;       /* by value: in its register from the start */
  host_slot *slots;      /* by value */
  host_slot copies;      /* of what outputs may not share */
  host_object ***yields; /* by region: what it gave, on its way */
  host_death *deaths;
  host_deaths *step_ends, *region_ends; /* by step, behind it; by region, behind its yields */
  host_input *inputs;
  host_output *outputs;
  tsr_texts *texts;
  tsr_arena run_memory;  /* of results */
  tsr_arena step_memory; /* of one step */
  uint64_t tensor_bytes; /* memory of all tensors, those in slots too */
  bool explained;        /* the error has its step's nodes */
};
typedef struct host_exec host_exec;

/* ---- create.c; between tsr_exec's `create` and `destroy`. Where the program is no host program,
 * the functions for every exec do nothing. ---- */

TSR_WARN_UNUSED tsr_status tsr_host_create(tsr_exec *exec, const tsr_exec_options *options);
void tsr_host_destroy(tsr_exec *exec);
TSR_WARN_UNUSED tsr_status tsr_host_prepare_trace(tsr_exec *exec);
void tsr_host_add_stats(const tsr_exec *exec, tsr_exec_stats *inout_stats);
/* lifetimes.c: last uses. */
TSR_WARN_UNUSED tsr_status tsr_host_find_last_uses(host_exec *self);
/* Nothing needs `value` after this step, which uses it, nor the step's regions. */
bool tsr_host_dies(const host_exec *self, uint32_t step, uint32_t value);

/* ---- objects.c ---- */

/* A tensor with one reference, whose shape is `rank` extents, all >= 0; `data` undefined. */
TSR_WARN_UNUSED tsr_status tsr_host_new_tensor(host_exec *self, host_slot *slot, tsr_dtype dtype,
                                               uint32_t rank, const int64_t *shape,
                                               host_tensor **out_tensor);
/* The same over somebody else's memory. */
TSR_WARN_UNUSED tsr_status tsr_host_new_alias(host_exec *self, host_slot *slot, tsr_dtype dtype,
                                              uint32_t rank, const int64_t *shape, void *data,
                                              host_tensor **out_tensor);
TSR_WARN_UNUSED tsr_status tsr_host_new_list(host_exec *self, uint64_t capacity,
                                             host_list **out_list);
TSR_WARN_UNUSED tsr_status tsr_host_reserve(host_exec *self, host_list *list, uint64_t capacity);
host_object *tsr_host_retain(host_object *object); /* NULL is allowed in both */
void tsr_host_release(host_exec *self, host_object *object);
/* Register number `value` holds nothing any more. */
void tsr_host_clear(host_exec *self, uint32_t value);
void tsr_host_empty_slot(host_exec *self, host_slot *slot);
/* The one element of a bool, i32 or i64 tensor; `what` names it in the error. */
TSR_WARN_UNUSED tsr_status tsr_host_read(host_exec *self, host_tensor *tensor, const char *what,
                                         int64_t *out_value);
/* All elements, valid until the step's end. */
TSR_WARN_UNUSED tsr_status tsr_host_fetch(host_exec *self, const host_tensor *tensor,
                                          void **out_data);

static inline host_tensor *host_tensor_at(const host_exec *self, uint32_t value) {
  return (host_tensor *)(void *)self->registers[value];
}
static inline host_list *host_list_at(const host_exec *self, uint32_t value) {
  return (host_list *)(void *)self->registers[value];
}

/* ---- run.c ---- */

/* One run up to ops->end: inputs, the model, outputs. */
TSR_WARN_UNUSED tsr_status tsr_host_run(tsr_exec *exec);
/* The value of an expression over the host's dims. */
TSR_WARN_UNUSED tsr_status tsr_host_eval(host_exec *self, tsr_code code, const char *what,
                                         int64_t *out_value);

/* ---- call.c ---- */

TSR_WARN_UNUSED tsr_status tsr_host_call(host_exec *self, const tsr_host_step *step);
/* Memory for output number `number` of a part, whose shape and bytes are known. */
TSR_WARN_UNUSED tsr_status tsr_host_place_output(tsr_exec *part, uint32_t number,
                                                 void **out_pointer);

/* ---- lists.c, text_step.c ---- */

TSR_WARN_UNUSED tsr_status tsr_host_list_step(host_exec *self, uint32_t index);
TSR_WARN_UNUSED tsr_status tsr_host_text_step(host_exec *self, const tsr_host_step *step);

/* ---- ports.c ---- */

/* The registers of the model's parameters. */
TSR_WARN_UNUSED tsr_status tsr_host_take_inputs(host_exec *self);
/* What the model gave to the exec's outputs; takes the references. */
TSR_WARN_UNUSED tsr_status tsr_host_give_outputs(host_exec *self, host_object **values);
void tsr_host_forget_outputs(host_exec *self);
/* For bind.c: input number `index` was bound to a tensor, or not. */
void tsr_host_note_input(tsr_exec *exec, uint32_t index);
/* An output that tsr_exec.outputs does not show. */
bool tsr_host_shows(const tsr_exec *exec, uint32_t index);
TSR_WARN_UNUSED tsr_status tsr_host_output_item(tsr_exec *exec, uint32_t index, uint64_t item,
                                                DLTensor *out_tensor);
void tsr_host_count_items(const tsr_exec *exec, uint32_t index, uint64_t *out_count,
                          int32_t *out_present);

#endif
