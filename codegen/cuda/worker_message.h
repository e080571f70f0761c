/* What goes between a pool and its workers: a header and bytes. */
#ifndef TSR_CODEGEN_CUDA_WORKER_MESSAGE_H
#define TSR_CODEGEN_CUDA_WORKER_MESSAGE_H
#include <stdint.h>

enum { TSR_WORKER_MAGIC = 0x54535257, TSR_WORKER_HELLO = 0x7fffffff };

/* A worker says hello (status TSR_WORKER_HELLO, no bytes) when it starts. A request's bytes are an
 * encoded source whose head is the path of NVRTC. A reply's bytes are a text with its zero and an
 * encoded output. */
typedef struct tsr_worker_message {
  uint32_t magic;
  uint32_t status;
  uint64_t text_size; /* with the zero; 0 in a request */
  uint64_t body_size; /* what follows the text */
  int64_t time_ns;    /* request: after how long the worker ends itself; reply: how long it took */
} tsr_worker_message;

/* More than this is a broken worker. */
#define TSR_WORKER_MOST_BYTES ((uint64_t)1 << 30)

#endif
