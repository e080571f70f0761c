/* Cast and CastLike. `cast` of the IR rounds to nearest, saturates integers and keeps their low
 * bits when they get narrower; what ONNX wants beyond that is done to the value first. */
#include "frontend/onnx/build.h"
#include "frontend/onnx/op_table.h"
#include <math.h>
#include <string.h>

/* To f8e8m0, powers of two: `round_mode` "up" goes to the next one above, "down" cuts off. On the
 * bits of a float both are exact; what would leave the type's range becomes the greatest value, or
 * without `saturate` infinity, which the cast makes NaN. */
static tsr_value to_power_of_two(tsr_lower *l, tsr_value x, bool up) {
  bool saturate = tsr_lower_int(l, "saturate", 1) != 0;
  x = v_abs(l, v_cast(l, x, TSR_F32));
  tsr_value bits = tsr_graph_bitcast(l->b, x, TSR_I32), power = bits;
  if (up)
    power = v_add_number(l, bits, 0x7fffff);
  power = v_and(l, power, v_number(l, bits, 0x7f800000));
  if (saturate)
    power = v_min(l, power, v_number(l, bits, 0x7f000000));
  power = tsr_graph_bitcast(l->b, power, TSR_F32);
  return v_select(l, v_lt(l, x, v_number(l, x, (double)INFINITY)), power, x);
}

/* Integers of less than a byte take the low bits of a float's integer; f4e2m1 makes NaN minus zero.
 */
static tsr_status convert(tsr_lower *l, tsr_dtype dtype) {
  tsr_value given = tsr_lower_value(l, 0), x = given;
  bool is_float = tsr_dtype_class_of(dtype) == TSR_CLASS_FLOAT;
  const char *mode = tsr_lower_text(l, "round_mode", "up");
  if (v_is_float(l, x) && !is_float && tsr_dtype_bits(dtype) < 8)
    x = v_cast(l, x, TSR_I32);
  if (v_is_float(l, x) && dtype == TSR_F4E2M1 && v_dtype(l, x) != dtype) {
    x = v_widen(l, x);
    x = v_select(l, v_unary(l, TSR_OP_ISNAN, x), v_number(l, x, -0.0), x);
  }
  if (dtype == TSR_F8E8M0 && v_dtype(l, x) != dtype) {
    if (!mode ||
        (strcmp(mode, "up") != 0 && strcmp(mode, "down") != 0 && strcmp(mode, "nearest") != 0))
      return tsr_lower_unsupported(l, "round_mode '%s'", mode ? mode : "");
    if (strcmp(mode, "nearest") != 0)
      x = to_power_of_two(l, x, strcmp(mode, "up") == 0);
  }
  tsr_value y = v_cast(l, x, dtype);
  if (y && y != given && tsr_lower_int(l, "saturate", 1) == 0)
    tsr_op_set_bool(l->ir, tsr_value_get(l->ir, y)->def, "saturate", false);
  tsr_lower_set(l, 0, y);
  return TSR_OK;
}

tsr_status tsr_lower_op_cast(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 1));
  int64_t to = tsr_lower_cast_target(l);
  bool text;
  tsr_status status;
  tsr_dtype dtype = tsr_onnx_element(to, &text);
  if (dtype == TSR_DTYPE_NONE)
    return tsr_lower_unsupported(l, "casting to %s (%lld)", tsr_onnx_dtype_name(to), (long long)to);
  return tsr_lower_text_cast(l, dtype, text, &status) ? status : convert(l, dtype);
}

tsr_status tsr_lower_op_cast_like(tsr_lower *l) {
  TSR_TRY(tsr_lower_need(l, 2));
  tsr_dtype dtype = l->in[1]->dtype;
  tsr_status status;
  return tsr_lower_text_cast(l, dtype, tsr_lower_is_text(l, 1), &status) ? status
                                                                         : convert(l, dtype);
}
