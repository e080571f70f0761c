/* A row as a line of text, and the line's parts. The line is what the identity of a row is made
 * from, what an export holds and what an import reads. */
#ifndef TSR_TUNER_DATABASE_ROW_H
#define TSR_TUNER_DATABASE_ROW_H
#include "runtime/arena.h"
#include "tuner/database.h"

enum { TSR_DB_ID_SIZE = 33 };

/* {"trial":{"workload":"0123456789abcdef", ...}} with its fields in a fixed order; NULL when memory
 * is out. */
const char *tsr_db_row_text(const tsr_db_record *record, tsr_arena *arena);
const char *tsr_db_workload_text(uint64_t workload, uint32_t version, const char *text,
                                 tsr_arena *arena);
/* 128 bits of the line as hexadecimal digits. */
void tsr_db_row_id(const char *line, char out_id[TSR_DB_ID_SIZE]);
/* "[12, 13]" */
const char *tsr_db_samples_text(const int64_t *samples, uint32_t count, tsr_arena *arena);
/* False: it is no such list. */
bool tsr_db_samples_parse(const char *text, tsr_arena *arena, const int64_t **out_samples,
                          uint32_t *out_count);
/* Of an even number the lower one of the two in the middle; -1: of none. */
int64_t tsr_db_median(const int64_t *samples, uint32_t count, tsr_arena *arena);
/* NULL, or which rule of database.h the row breaks. */
const char *tsr_db_row_fault(const tsr_db_record *record);

#endif
