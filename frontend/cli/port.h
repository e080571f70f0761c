/* Inputs and outputs of an exec as the command line holds them. */
#ifndef TSR_FRONTEND_CLI_PORT_H
#define TSR_FRONTEND_CLI_PORT_H
#include "frontend/cli/host_tensor.h"
#include <tessera/runtime.h>

bool tsr_port_is_list(const tsr_port_info *port);
bool tsr_port_is_optional(const tsr_port_info *port);

/* "list of f32[N, 4]", "optional text[..]". */
void tsr_port_type_text(const tsr_port_info *port, char *out, size_t out_size);

/* Makes `items`, which must stay, what input number `index` is: TSR_ERR_ARGUMENT when the port is
 * of another kind, else as the runtime says; the message names the input. */
TSR_WARN_UNUSED tsr_status tsr_port_bind(tsr_exec *exec, const tsr_module *module, uint32_t index,
                                         const tsr_host_items *items, tsr_diag *diag);

/* What output number `index` of the last run is: views of the exec's memory. Free the places by
 * tsr_port_release. */
TSR_WARN_UNUSED tsr_status tsr_port_output(tsr_exec *exec, const tsr_module *module, uint32_t index,
                                           tsr_host_items *out_items, tsr_diag *diag);
void tsr_port_release(tsr_host_items *items);

#endif
