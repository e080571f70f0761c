/* A group of blocks that walk the same rows: which variables of which block walk the group's axes.
 */
#ifndef TSR_PASSES_GROUP_H
#define TSR_PASSES_GROUP_H
#include "ir/ir.h"

enum { TSR_GROUP_MEMBERS = 16, TSR_GROUP_AXES = 8 };

/* A block and those of its variables that walk the group's axes. */
typedef struct tsr_group_member {
  tsr_op op;
  tsr_value axes[TSR_GROUP_AXES];
} tsr_group_member;

/* Every value that one member hands to another has the group's axes in front, dims of extent 1 left
 * out. */
typedef struct tsr_group_rows {
  tsr_group_member members[TSR_GROUP_MEMBERS];
  uint32_t count, axis_count;
} tsr_group_rows;

/* The block alone: the first dims of its first result that are variables of its own. False: it
 * cannot begin a group. */
bool tsr_group_begin(const tsr_ir *ir, tsr_op block, tsr_group_rows *out);
/* The block behind the others, whose results it may read through reshapes; the group keeps those of
 * its axes that all share, and has none left where it does not fit. */
void tsr_group_join(tsr_ir *ir, tsr_op block, tsr_group_rows *inout);
/* Takes a `group` op of blocks apart. False: it has other ops, or no axes. */
bool tsr_group_read(tsr_ir *ir, tsr_op group, tsr_group_rows *out);
/* The member's result that `buffer` is or is a reshape of, or 0. */
tsr_value tsr_group_result(const tsr_ir *ir, const tsr_group_rows *g, tsr_value buffer);
/* How many dims of a value that is handed on the group's axes take. */
uint32_t tsr_group_dims(const tsr_ir *ir, const tsr_group_rows *g, tsr_value value);
/* A par or red variable that the subscript is, or 0. */
tsr_value tsr_group_variable(const tsr_ir *ir, tsr_expr subscript);
/* Bytes of one row of a value that is handed on; -1: not known. */
double tsr_group_row_bytes(const tsr_ir *ir, const tsr_group_rows *g, tsr_value value);
/* Does the member with that number sum over something that is the same for all rows of the last
 * axis? Then these go through it together. */
bool tsr_group_shares_rows(tsr_ir *ir, const tsr_group_rows *g, uint32_t number);
/* Does a contraction write or read the value, or stand between who does? Then all rows of it stand
 * at once. Members read results themselves, no reshapes of them. */
bool tsr_group_stands(tsr_ir *ir, const tsr_group_rows *g, tsr_value value);
bool tsr_group_is_axis(const tsr_group_rows *g, const tsr_group_member *m, tsr_value variable);
#endif
