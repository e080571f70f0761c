/* The text of the device primitives: device_common.h, device.h, device_wgmma.h in this order. A
 * kernel's source for NVRTC is this text followed by the kernel. */
#ifndef TSR_CODEGEN_CUDA_DEVICE_TEXT_H
#define TSR_CODEGEN_CUDA_DEVICE_TEXT_H
#include <stddef.h>

/* Terminated by a zero byte that the size does not count. */
extern const char tsr_cuda_device_text[];
extern const size_t tsr_cuda_device_text_size;
#endif
