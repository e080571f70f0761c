#include <tessera/runtime.h>

static uint8_t special_float_code(tsr_dtype dtype) {
  switch (dtype) {
  case TSR_BF16:
    return kDLBfloat;
  case TSR_F8E4M3:
    return kDLFloat8_e4m3fn;
  case TSR_F8E4M3UZ:
    return kDLFloat8_e4m3fnuz;
  case TSR_F8E5M2:
    return kDLFloat8_e5m2;
  case TSR_F8E5M2UZ:
    return kDLFloat8_e5m2fnuz;
  case TSR_F8E8M0:
    return kDLFloat8_e8m0fnu;
  case TSR_F6E2M3:
    return kDLFloat6_e2m3fn;
  case TSR_F6E3M2:
    return kDLFloat6_e3m2fn;
  case TSR_F4E2M1:
    return kDLFloat4_e2m1fn;
  default:
    return kDLFloat;
  }
}

DLDataType tsr_dtype_to_dlpack(tsr_dtype dtype) {
  DLDataType type = {0, 0, 0};
  switch (tsr_dtype_class_of(dtype)) {
  case TSR_CLASS_BOOL:
    type.code = kDLBool;
    break;
  case TSR_CLASS_INT:
    type.code = kDLInt;
    break;
  case TSR_CLASS_UINT:
    type.code = kDLUInt;
    break;
  case TSR_CLASS_FLOAT:
    type.code = special_float_code(dtype);
    break;
  case TSR_CLASS_NONE:
  default:
    return type;
  }
  type.bits = (uint8_t)tsr_dtype_bits(dtype);
  type.lanes = 1;
  return type;
}

tsr_dtype tsr_dtype_from_dlpack(DLDataType type) {
  for (int code = 1; code < TSR_DTYPE_COUNT; code++) {
    DLDataType known = tsr_dtype_to_dlpack((tsr_dtype)code);
    if (known.code == type.code && known.bits == type.bits && known.lanes == type.lanes)
      return (tsr_dtype)code;
  }
  return TSR_DTYPE_NONE;
}
