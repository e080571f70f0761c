/* One ONNX backend test directory: model.onnx, or model.tsm where it was compiled before;
 * test_data_set_N/input_N.pb, output_N.pb. */
#ifndef TSR_FRONTEND_CLI_VERIFY_CASE_H
#define TSR_FRONTEND_CLI_VERIFY_CASE_H
#include "frontend/cli/options.h"
#include <stddef.h>

typedef enum tsr_verdict { TSR_VERDICT_PASS, TSR_VERDICT_FAIL, TSR_VERDICT_SKIP } tsr_verdict;

/* Compiles the model, runs every data set and compares. SKIP: the model or its data need something
 * that Tessera has not. The reason, one line, goes to `out_reason` ("" for PASS). May crash or hang
 * as the code under test does: call it in a process of its own. */
tsr_verdict tsr_verify_case(const tsr_cli_args *args, const char *folder, char *out_reason,
                            size_t reason_size);

#endif
