/* Narrowing the range of a symbolic dim after parsing (--dim NAME=LO..HI). */
#include "ir/narrow.h"
#include "ir/ir_internal.h"

tsr_status tsr_dim_narrow(tsr_ir *ir, const char *name, int64_t lo, int64_t hi, tsr_diag *diag) {
  tsr_dim dim = tsr_dim_find(ir, name);
  if (dim == 0 || tsr_dim_get(ir, dim)->from_device)
    return tsr_fail(diag, TSR_ERR_NOT_FOUND, "the model has no input dim '%s'", name);
  tsr_dim_data *data = &tsr_dim_slot_of(ir, dim)->data;
  if (lo < data->lo || hi > data->hi || lo > hi)
    return tsr_fail(diag, TSR_ERR_SHAPE, "dim '%s' ranges over %lld..%lld, which %lld..%lld leaves",
                    name, (long long)data->lo, (long long)data->hi, (long long)lo, (long long)hi);
  data->lo = lo;
  data->hi = hi;
  data->hint = data->hint < lo ? lo : data->hint > hi ? hi : data->hint;
  tsr_expr_refresh_intervals(ir);
  return TSR_OK;
}
