/* Read-only file mappings, and the rule for which files a model may name as external data. */
#ifndef TSR_FRONTEND_ONNX_FILE_MAP_H
#define TSR_FRONTEND_ONNX_FILE_MAP_H
#include "runtime/arena.h"
#include "runtime/diag.h"
#include <stdbool.h>

typedef struct tsr_onnx_mapping tsr_onnx_mapping;

struct tsr_onnx_mapping {
  tsr_onnx_mapping *next;
  const char *path; /* resolved */
  const void *data; /* NULL for an empty file */
  uint64_t size;
};

/* Maps the regular file at `path` and puts it in front of `list`; the list's memory is the arena's.
 * TSR_ERR_IO names the path and the system's reason. */
TSR_WARN_UNUSED tsr_status tsr_onnx_map_file(tsr_onnx_mapping **list, tsr_arena *arena,
                                             const char *path, tsr_diag *diag);

/* Maps `location`, which must be a relative path without "..", and must lead, symbolic links
 * followed, to a file below the directory of `model_path`. Each file is mapped once per list. */
TSR_WARN_UNUSED tsr_status tsr_onnx_map_external(tsr_onnx_mapping **list, tsr_arena *arena,
                                                 const char *model_path, const char *location,
                                                 const tsr_onnx_mapping **out_mapping,
                                                 tsr_diag *diag);

void tsr_onnx_unmap_all(tsr_onnx_mapping *list);

#endif
