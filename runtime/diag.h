/* The diagnostic of a failed call: what, where in which file, at which ONNX node. Owned by the
 * context or exec; fixed size, so that reporting out-of-memory needs no memory. */
#ifndef TSR_RUNTIME_DIAG_H
#define TSR_RUNTIME_DIAG_H
#include <stdint.h>
#include <tessera/status.h>

typedef struct tsr_diag {
  tsr_status status;
  char file[512]; /* "" when no file is involved */
  char node[256]; /* ONNX node name, or "" */
  char op[64];    /* ONNX or IR operator name, or "" */
  uint32_t line;  /* 1-based line in a text file, 0 otherwise */
  uint32_t column;
  char message[1024]; /* what is wrong and what to do, no trailing newline, no "error:" */
} tsr_diag;

void tsr_diag_clear(tsr_diag *diag);

/* Records status and message unless an earlier failure is recorded already, and returns `status`.
 * `diag` may be NULL. */
tsr_status tsr_fail(tsr_diag *diag, tsr_status status, const char *format, ...) TSR_PRINTF(3, 4);

/* Adds what the caller knows, where the callee left it empty. */
void tsr_diag_set_file(tsr_diag *diag, const char *file);
void tsr_diag_set_node(tsr_diag *diag, const char *node, const char *op);
void tsr_diag_set_position(tsr_diag *diag, uint32_t line, uint32_t column);

/* Writes "FILE:LINE: node 'NAME' (Op): message" (the parts that are known) into `out`, always
 * terminated. Control
 * characters, which names from files may hold, become '?': the text is one line. */
void tsr_diag_format(const tsr_diag *diag, char *out, uint32_t out_size);

#define TSR_TRY(expression)                                                                        \
  do {                                                                                             \
    tsr_status tsr_try_status_ = (expression);                                                     \
    if (tsr_try_status_ != TSR_OK)                                                                 \
      return tsr_try_status_;                                                                      \
  } while (0)

#endif
