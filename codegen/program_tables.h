/* The tables of a program while it is built, and what programs of kernels (program.c) and host
 * programs (host_program.c) put into them alike: dims, index code, ports, constants. Tables grow in
 * an arena. */
#ifndef TSR_CODEGEN_PROGRAM_TABLES_H
#define TSR_CODEGEN_PROGRAM_TABLES_H
#include "ir/ir.h"
#include "runtime/program.h"

/* A table that grows by doubling; the old copy stays in the arena. */
typedef struct tsr_program_table {
  void *items;
  uint32_t count, capacity;
} tsr_program_table;

typedef struct tsr_program_tables {
  tsr_ir *ir;
  tsr_arena *arena;
  tsr_diag *diag;
  tsr_dim_source dim_source; /* of dims that are not from the device */
  bool device_dims_too;      /* or of all */
  tsr_program_table steps, codes, dims, buffers, inputs, outputs, constants, arguments;
  uint32_t *dim_number; /* by dim id: number + 1; a dim that nothing uses has none */
} tsr_program_tables;

TSR_WARN_UNUSED tsr_status tsr_tables_begin(tsr_program_tables *t, tsr_ir *ir, tsr_arena *arena,
                                            tsr_diag *diag);
tsr_status tsr_tables_out_of_memory(const tsr_program_tables *t);
/* Appends the `item_bytes` at `item`, which are the size of all items of the table. */
TSR_WARN_UNUSED tsr_status tsr_tables_push(tsr_program_tables *t, tsr_program_table *table,
                                           const void *item, size_t item_bytes);
#define TSR_PUSH(tables, table, item) tsr_tables_push(tables, table, item, sizeof *(item))

TSR_WARN_UNUSED tsr_status tsr_tables_dim(tsr_program_tables *t, tsr_dim dim, uint32_t *out_number);
/* Absent code for expression 0. */
TSR_WARN_UNUSED tsr_status tsr_tables_code(tsr_program_tables *t, tsr_expr expr, tsr_code *out);
/* Codes of consecutive extents. */
TSR_WARN_UNUSED tsr_status tsr_tables_shape(tsr_program_tables *t, const tsr_expr *dims,
                                            uint32_t rank, uint32_t *out_first);
/* Gives the buffer the dtype and shape of the type. */
TSR_WARN_UNUSED tsr_status tsr_tables_describe(tsr_program_tables *t, const tsr_type_info *type,
                                               tsr_buffer_desc *out);
/* What the caller sees of the input or output op `op` of a value. */
tsr_type_info tsr_tables_port_type(const tsr_program_tables *t, tsr_op op, tsr_value value);
TSR_WARN_UNUSED tsr_status tsr_tables_constant(tsr_program_tables *t, tsr_op op);
/* "MatMul_0, Relu_1"; NULL when memory is out. */
const char *tsr_tables_origins(tsr_program_tables *t, tsr_op op);
/* The op cannot be part of a program, `why` says what is missing. */
tsr_status tsr_tables_refuse(const tsr_program_tables *t, tsr_op op, const char *why);
/* Sets the program's tables that are here. */
void tsr_tables_hand_over(const tsr_program_tables *t, tsr_program *out);
#define TSR_HAND_OVER(from, out, items_name, count_name)                                           \
  ((out)->items_name = (from)->items_name.items, (out)->count_name = (from)->items_name.count)

#endif
