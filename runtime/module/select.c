/* Which program of a module this machine runs: the first that it can, or that the caller wants. */
#include "runtime/cpu_features.h"
#include "runtime/cuda/cuda.h"
#include "runtime/module/module.h"
#include "runtime/module/program_check.h"
#include <stdio.h>
#include <string.h>

typedef struct selection {
  tsr_module *module;
  const tsr_module_options *options;
  tsr_diag *diag;
  cuda_device *device;     /* opened for the first CUDA program that is looked at */
  char device_reason[512]; /* why there is none */
  char reasons[900];       /* why programs do not run here */
  size_t used;
} selection;

static bool is_cpu_target(const tsr_program *program) {
  return strncmp(program->target, "cpu", 3) == 0 &&
         (program->target[3] == '\0' || program->target[3] == ':');
}

/* AMX counts only when the system lets this process use the tile registers. */
static uint64_t missing_features(const tsr_program *program) {
  const uint64_t amx = TSR_CPU_AMX_TILE | TSR_CPU_AMX_BF16 | TSR_CPU_AMX_INT8;
  uint64_t needed = program->cpu_features, missing;
  for (uint32_t i = 0; i < program->part_count; i++)
    needed |= program->parts[i].cpu_features;
  missing = needed & ~tsr_cpu_features();
  if (missing == 0 && (needed & amx) != 0 && !tsr_cpu_request_amx())
    missing = needed & amx;
  return missing;
}

static bool names_family(const char *wanted, const char *target) {
  size_t length = strlen(wanted);
  return strchr(wanted, ':') == NULL && strncmp(wanted, target, length) == 0 &&
         target[length] == ':';
}

/* The name itself, or where no program has it "cpu", "cuda" for any of that kind. */
static bool is_wanted(const selection *self, const tsr_program *program, bool exact) {
  const char *wanted = self->options->target;
  return wanted == NULL || strcmp(program->target, wanted) == 0 ||
         (!exact && names_family(wanted, program->target));
}

static bool has_exact(const selection *self) {
  const tsr_module *module = self->module;
  for (uint32_t i = 0; i < module->header->program_count; i += 1 + module->programs[i].part_count)
    if (is_wanted(self, &module->programs[i], true))
      return true;
  return false;
}

static void add_reason(selection *self, const tsr_program *program, const char *reason) {
  int length;
  if (self->used >= sizeof self->reasons)
    return;
  length = snprintf(self->reasons + self->used, sizeof self->reasons - self->used, "%s'%.80s' %s",
                    self->used != 0 ? "; " : "", program->target, reason);
  self->used += length > 0 ? (size_t)length : 0;
}

/* The driver is opened once for all CUDA programs, and for a program of the CPU never. */
static tsr_status open_device(selection *self) {
  tsr_diag diag;
  tsr_status status;
  if (self->device != NULL || self->device_reason[0] != '\0')
    return TSR_OK;
  tsr_diag_clear(&diag);
  status =
      tsr_cuda_device_open(self->options->device, self->module->allocator, &diag, &self->device);
  if (status == TSR_ERR_OUT_OF_MEMORY || status == TSR_ERR_ARGUMENT)
    return tsr_fail(self->diag, status, "%s", diag.message);
  (void)snprintf(self->device_reason, sizeof self->device_reason, "%s", diag.message);
  return TSR_OK;
}

static tsr_status try_cuda(selection *self, const tsr_program *program, bool *out_runs) {
  char text[600];
  TSR_TRY(open_device(self));
  if (self->device == NULL) {
    (void)snprintf(text, sizeof text, "needs a CUDA device: %s", self->device_reason);
    add_reason(self, program, text);
    return TSR_OK;
  }
  *out_runs = tsr_cuda_program_fits(self->device, program, text, sizeof text);
  if (!*out_runs)
    add_reason(self, program, text);
  else
    TSR_TRY(tsr_cuda_program_create(self->device, program, self->module->allocator, self->diag,
                                    &self->module->cuda));
  return TSR_OK;
}

static tsr_status try_program(selection *self, const tsr_program *program, bool *out_runs) {
  uint64_t missing;
  char names[256], text[300];
  *out_runs = false;
  if (tsr_program_is_cuda(program))
    return try_cuda(self, program, out_runs);
  if (!is_cpu_target(program)) {
    add_reason(self, program, "needs a device that this runtime does not drive");
    return TSR_OK;
  }
  missing = missing_features(program);
  *out_runs = missing == 0;
  if (missing != 0) {
    tsr_cpu_feature_names(missing, names, sizeof names);
    (void)snprintf(text, sizeof text, "needs %s", names);
    add_reason(self, program, text);
  }
  return TSR_OK;
}

static tsr_status select_program(selection *self) {
  tsr_module *module = self->module;
  bool any = false, exact = has_exact(self), runs = false;
  for (uint32_t i = 0; i < module->header->program_count && !runs;
       i += 1 + module->programs[i].part_count) {
    if (!is_wanted(self, &module->programs[i], exact))
      continue;
    any = true;
    module->selected = i;
    if ((self->options->flags & TSR_MODULE_DESCRIBE) != 0)
      return TSR_OK;
    TSR_TRY(try_program(self, &module->programs[i], &runs));
  }
  module->runnable = runs;
  if (!any)
    return tsr_fail(self->diag, TSR_ERR_NOT_FOUND, "the module has no program for target '%s'",
                    self->options->target);
  if (!runs)
    return tsr_fail(self->diag, TSR_ERR_DEVICE,
                    "this machine runs no program of the module: %s; compile for a target it has",
                    self->reasons);
  return TSR_OK;
}

tsr_status tsr_module_select(tsr_module *module, const tsr_module_options *options,
                             tsr_diag *diag) {
  selection self = {.module = module, .options = options, .diag = diag};
  tsr_status status = select_program(&self);
  tsr_cuda_device_release(self.device); /* the program holds its own reference */
  return status;
}
