/* NumPy's .npy files, versions 1 to 3 (numpy.org/doc/stable/reference/generated/numpy.lib.format).
 * The reader does not trust the file. */
#ifndef TSR_FRONTEND_CLI_NPY_H
#define TSR_FRONTEND_CLI_NPY_H
#include "frontend/cli/host_tensor.h"

/* Reads `path`, swapping bytes and undoing Fortran order where the file has them. NumPy has no name
 * for most narrow types; `wanted` (or TSR_DTYPE_NONE) says which type a file of raw bytes (V1, V2)
 * or of unsigned integers of the same size stands for, and that elements narrower than a byte lie
 * in one byte each. Without it V2 is bf16. A file of any other type than `wanted` is TSR_ERR_TYPE:
 * values are never converted. Kinds U and S are texts (UTF-8 in memory), which TSR_I64 takes, too.
 * TSR_ERR_IO, TSR_ERR_FORMAT, TSR_ERR_SHAPE, TSR_ERR_UNSUPPORTED name the file. */
TSR_WARN_UNUSED tsr_status tsr_npy_read(const char *path, tsr_dtype wanted,
                                        tsr_host_tensor *out_tensor, tsr_diag *diag);

/* The same over bytes in memory. */
TSR_WARN_UNUSED tsr_status tsr_npy_parse(const void *bytes, size_t size, tsr_dtype wanted,
                                         tsr_host_tensor *out_tensor, tsr_diag *diag);

/* Writes a version 1 file. bf16 is V2, the other types that NumPy lacks are one unsigned (i2, i4:
 * signed) byte per element: the value of an integer, the bits of a float. Texts are of kind U, or
 * of kind S when one of them is no UTF-8. */
TSR_WARN_UNUSED tsr_status tsr_npy_write(const char *path, const tsr_host_tensor *tensor,
                                         tsr_diag *diag);

#endif
