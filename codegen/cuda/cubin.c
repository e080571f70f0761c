/* A CUBIN is an ELF file. Each kernel is a function symbol marked as an entry, in a section
 * .text.NAME; what is read of it stands in .nv.info             attributes of all functions: symbol
 * and value .nv.info.NAME        attributes of one kernel .nv.shared.NAME      its static shared
 * memory, without bytes .nv.constant0.NAME   its constant bank An attribute is a byte that tells
 * the form of its value, a byte that names it, and either a value of up to 16 bits or a length and
 * bytes. Every read is checked against the file's size first: the bytes may be anything. */
#include "codegen/cuda/cubin.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>

/* The format has no published standard: these numbers were read off the CUBINs of kernels whose
 * figures the log gives. */
enum { MACHINE_CUDA = 190, SYMBOL_IS_ENTRY = 0x10, MOST_KERNELS = 1024 };
enum { FORM_NONE = 1, FORM_BYTE = 2, FORM_HALF = 3, FORM_SIZED = 4 };
enum { ATTRIBUTE_MAX_THREADS = 0x05, ATTRIBUTE_FRAME = 0x11, ATTRIBUTE_REGISTERS = 0x2f };

typedef struct reader {
  const uint8_t *bytes;
  size_t size;
  Elf64_Ehdr header;
  Elf64_Shdr names, symbols, symbol_names;
  tsr_arena *arena;
  tsr_diag *diag;
  tsr_cuda_report *report;
  uint32_t *symbol_of; /* kernel -> index of its symbol */
} reader;

static tsr_status malformed(const reader *r, const char *what) {
  return tsr_fail(r->diag, TSR_ERR_FORMAT, "not a usable CUBIN: %s", what);
}

static tsr_status no_memory(tsr_diag *diag) {
  return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
}

static bool inside(const reader *r, uint64_t offset, uint64_t size) {
  return offset <= r->size && size <= r->size - offset;
}

static int32_t clamped(uint64_t value) {
  return value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

static bool get_section(const reader *r, uint32_t index, Elf64_Shdr *out_section) {
  uint64_t offset = r->header.e_shoff + (uint64_t)index * sizeof *out_section;
  if (index >= r->header.e_shnum || offset < r->header.e_shoff ||
      !inside(r, offset, sizeof *out_section))
    return false;
  memcpy(out_section, r->bytes + offset, sizeof *out_section);
  return out_section->sh_type == SHT_NOBITS ||
         inside(r, out_section->sh_offset, out_section->sh_size);
}

/* NULL when the text does not end inside its table. */
static const char *get_string(const reader *r, const Elf64_Shdr *table, uint64_t offset) {
  if (offset >= table->sh_size || table->sh_type == SHT_NOBITS)
    return NULL;
  const char *text = (const char *)r->bytes + table->sh_offset + offset;
  return memchr(text, '\0', table->sh_size - offset) != NULL ? text : NULL;
}

static bool get_symbol(const reader *r, uint64_t index, Elf64_Sym *out_symbol) {
  if (index >= r->symbols.sh_size / sizeof *out_symbol)
    return false;
  memcpy(out_symbol, r->bytes + r->symbols.sh_offset + index * sizeof *out_symbol,
         sizeof *out_symbol);
  return true;
}

static tsr_status read_header(reader *r) {
  if (r->size < sizeof r->header)
    return malformed(r, "too short");
  memcpy(&r->header, r->bytes, sizeof r->header);
  if (memcmp(r->header.e_ident, ELFMAG, SELFMAG) != 0 ||
      r->header.e_ident[EI_CLASS] != ELFCLASS64 || r->header.e_ident[EI_DATA] != ELFDATA2LSB ||
      r->header.e_machine != MACHINE_CUDA)
    return malformed(r, "no 64-bit ELF file for CUDA");
  if (r->header.e_shentsize != sizeof(Elf64_Shdr) ||
      !get_section(r, r->header.e_shstrndx, &r->names))
    return malformed(r, "no table of section names");
  return TSR_OK;
}

static tsr_status find_symbols(reader *r) {
  for (uint32_t i = 0; i < r->header.e_shnum; i++) {
    Elf64_Shdr section;
    if (!get_section(r, i, &section))
      return malformed(r, "a section lies outside the file");
    if (section.sh_type != SHT_SYMTAB)
      continue;
    r->symbols = section;
    if (!get_section(r, section.sh_link, &r->symbol_names))
      return malformed(r, "no table of symbol names");
    return TSR_OK;
  }
  return malformed(r, "no table of symbols");
}

static bool is_kernel(const Elf64_Sym *symbol) {
  return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && (symbol->st_other & SYMBOL_IS_ENTRY) != 0;
}

static tsr_status count_kernels(const reader *r, uint32_t *out_count) {
  Elf64_Sym symbol;
  *out_count = 0;
  for (uint64_t i = 0; get_symbol(r, i, &symbol); i++)
    *out_count += is_kernel(&symbol);
  if (*out_count > MOST_KERNELS)
    return tsr_fail(r->diag, TSR_ERR_LIMIT, "a CUBIN of more than %d kernels", MOST_KERNELS);
  return TSR_OK;
}

static tsr_status list_kernels(reader *r) {
  uint32_t count, filled = 0;
  Elf64_Sym symbol;
  TSR_TRY(count_kernels(r, &count));
  r->report->kernels = tsr_arena_alloc_array(r->arena, count, sizeof *r->report->kernels);
  r->symbol_of = tsr_arena_alloc_array(r->arena, count, sizeof *r->symbol_of);
  if (r->report->kernels == NULL || r->symbol_of == NULL)
    return no_memory(r->diag);
  for (uint64_t i = 0; filled < count && get_symbol(r, i, &symbol); i++) {
    if (!is_kernel(&symbol))
      continue;
    const char *name = get_string(r, &r->symbol_names, symbol.st_name);
    if (name == NULL)
      return malformed(r, "a kernel has no name");
    tsr_cuda_kernel_record record = {.spill_store_bytes = TSR_CUDA_UNKNOWN,
                                     .spill_load_bytes = TSR_CUDA_UNKNOWN,
                                     .barriers = TSR_CUDA_UNKNOWN};
    record.name = tsr_arena_string(r->arena, name, strlen(name));
    if (record.name == NULL)
      return no_memory(r->diag);
    r->symbol_of[filled] = (uint32_t)i;
    r->report->kernels[filled++] = record;
  }
  r->report->kernel_count = count;
  return TSR_OK;
}

/* Attributes. */

typedef struct attribute {
  uint8_t name;
  const uint8_t *bytes; /* of a sized value */
  uint32_t size;
} attribute;

static uint32_t load_u32(const uint8_t *bytes) {
  uint32_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

/* Reads the attribute at *at and moves on; false at the end, and where the bytes make no sense. */
static bool next_attribute(const reader *r, const Elf64_Shdr *section, uint64_t *at,
                           attribute *out_attribute) {
  const uint8_t *bytes = r->bytes + section->sh_offset + *at;
  uint64_t left = section->sh_size - *at;
  if (left < 4 || bytes[0] < FORM_NONE || bytes[0] > FORM_SIZED)
    return false;
  *out_attribute = (attribute){bytes[1], NULL, 0};
  *at += 4;
  if (bytes[0] != FORM_SIZED)
    return true;
  out_attribute->bytes = bytes + 4;
  out_attribute->size = (uint32_t)bytes[2] | (uint32_t)bytes[3] << 8;
  if (out_attribute->size > left - 4)
    return false;
  *at += out_attribute->size;
  return true;
}

static tsr_cuda_kernel_record *kernel_of_symbol(const reader *r, uint32_t symbol) {
  for (uint32_t i = 0; i < r->report->kernel_count; i++)
    if (r->symbol_of[i] == symbol)
      return &r->report->kernels[i];
  return NULL;
}

static void read_common_attributes(const reader *r, const Elf64_Shdr *section) {
  attribute a;
  for (uint64_t at = 0; next_attribute(r, section, &at, &a);) {
    bool wanted = a.name == ATTRIBUTE_REGISTERS || a.name == ATTRIBUTE_FRAME;
    tsr_cuda_kernel_record *kernel =
        wanted && a.size >= 8 ? kernel_of_symbol(r, load_u32(a.bytes)) : NULL;
    if (kernel == NULL)
      continue;
    if (a.name == ATTRIBUTE_REGISTERS)
      kernel->registers = clamped(load_u32(a.bytes + 4));
    else
      kernel->stack_bytes = clamped(load_u32(a.bytes + 4));
  }
}

static void read_kernel_attributes(const reader *r, const Elf64_Shdr *section,
                                   tsr_cuda_kernel_record *kernel) {
  attribute a;
  for (uint64_t at = 0; next_attribute(r, section, &at, &a);)
    if (a.name == ATTRIBUTE_MAX_THREADS && a.size >= 12) {
      uint64_t xy = (uint64_t)load_u32(a.bytes) * load_u32(a.bytes + 4);
      kernel->max_threads = clamped((uint64_t)clamped(xy) * load_u32(a.bytes + 8));
    }
}

/* Sections. */

static tsr_cuda_kernel_record *kernel_named(const tsr_cuda_report *report, const char *name,
                                            size_t length) {
  for (uint32_t i = 0; i < report->kernel_count; i++)
    if (strncmp(report->kernels[i].name, name, length) == 0 &&
        report->kernels[i].name[length] == '\0')
      return &report->kernels[i];
  return NULL;
}

/* The kernel of a section named `prefix` and a kernel's name. */
static tsr_cuda_kernel_record *kernel_of_section(const reader *r, const char *name,
                                                 const char *prefix) {
  size_t length = strlen(prefix);
  if (strncmp(name, prefix, length) != 0)
    return NULL;
  return kernel_named(r->report, name + length, strlen(name + length));
}

static void read_section(const reader *r, const char *name, const Elf64_Shdr *section) {
  tsr_cuda_kernel_record *kernel;
  bool has_bytes = section->sh_type != SHT_NOBITS;
  if (has_bytes && strcmp(name, ".nv.info") == 0)
    read_common_attributes(r, section);
  else if (has_bytes && (kernel = kernel_of_section(r, name, ".nv.info.")) != NULL)
    read_kernel_attributes(r, section, kernel);
  else if ((kernel = kernel_of_section(r, name, ".nv.shared.")) != NULL)
    kernel->shared_bytes = clamped(section->sh_size);
  else if ((kernel = kernel_of_section(r, name, ".nv.constant0.")) != NULL)
    kernel->constant_bytes = clamped(section->sh_size);
}

static tsr_status read_sections(const reader *r) {
  for (uint32_t i = 0; i < r->header.e_shnum; i++) {
    Elf64_Shdr section;
    if (!get_section(r, i, &section))
      return malformed(r, "a section lies outside the file");
    const char *name = get_string(r, &r->names, section.sh_name);
    if (name == NULL)
      return malformed(r, "a section has no name");
    read_section(r, name, &section);
  }
  return TSR_OK;
}

/* The log.
 *
 * ptxas writes its C75xx warnings first, most with the function's name, and then for each kernel
 *   ptxas info : Compiling entry function 'NAME' for 'sm_80'
 *   ptxas info : Function properties for NAME
 *   ptxas      .  S bytes stack frame, N bytes spill stores, M bytes spill loads
 *   ptxas info : Used R registers, used B barriers, ...
 * with a pair of properties more for every function that it calls. What names no kernel counts for
 * all. */

static int32_t number_before(const char *line, const char *words) {
  const char *end = strstr(line, words);
  if (end == NULL)
    return TSR_CUDA_UNKNOWN;
  const char *start = end;
  while (start > line && start[-1] >= '0' && start[-1] <= '9')
    start--;
  return start < end ? clamped(strtoull(start, NULL, 10)) : TSR_CUDA_UNKNOWN;
}

static void add_bytes(int32_t *total, int32_t more) {
  if (more != TSR_CUDA_UNKNOWN)
    *total = clamped((uint64_t)(*total == TSR_CUDA_UNKNOWN ? 0 : *total) + (uint64_t)more);
}

/* The kernel whose name stands in quotes behind `words`. */
static tsr_cuda_kernel_record *kernel_quoted(const tsr_cuda_report *report, const char *line,
                                             const char *words) {
  const char *name = strstr(line, words);
  if (name == NULL)
    return NULL;
  name += strlen(words);
  return kernel_named(report, name, strcspn(name, "'"));
}

/* "(C75" and two digits and ")". */
static const char *find_warning(const char *line) {
  for (const char *at = strstr(line, "(C75"); at != NULL; at = strstr(at + 1, "(C75"))
    if (at[4] >= '0' && at[4] <= '9' && at[5] >= '0' && at[5] <= '9' && at[6] == ')')
      return at;
  return NULL;
}

typedef struct log_reader {
  tsr_cuda_report *report;
  tsr_cuda_kernel_record *current; /* NULL: no kernel was named yet */
} log_reader;

static void read_figures(tsr_cuda_kernel_record *kernel, const char *line) {
  int32_t barriers = number_before(line, " barriers");
  add_bytes(&kernel->spill_store_bytes, number_before(line, " bytes spill stores"));
  add_bytes(&kernel->spill_load_bytes, number_before(line, " bytes spill loads"));
  if (barriers != TSR_CUDA_UNKNOWN)
    kernel->barriers = barriers;
}

static void note_warning(tsr_cuda_kernel_record *kernel, const char *warning) {
  if (kernel->warning == NULL)
    kernel->warning = warning;
  kernel->warning_count++;
}

static void read_line(log_reader *l, const char *line) {
  const char *warning = find_warning(line);
  tsr_cuda_kernel_record *kernel = l->current;
  if (warning != NULL)
    kernel = kernel_quoted(l->report, line, "function '");
  else if (strstr(line, "Compiling entry function '") != NULL)
    l->current = kernel = kernel_quoted(l->report, line, "Compiling entry function '");
  uint32_t first = kernel != NULL ? (uint32_t)(kernel - l->report->kernels) : 0;
  uint32_t last = kernel != NULL ? first + 1 : l->report->kernel_count;
  for (uint32_t i = first; i < last; i++)
    if (warning != NULL)
      note_warning(&l->report->kernels[i], warning);
    else
      read_figures(&l->report->kernels[i], line);
}

/* Warnings point into the copy of the log. */
static tsr_status read_log(const reader *r, const char *log) {
  log_reader l = {r->report, NULL};
  char *text = tsr_arena_string(r->arena, log, strlen(log));
  if (text == NULL)
    return no_memory(r->diag);
  while (*text != '\0') {
    char *end = strchrnul(text, '\n');
    bool more = *end != '\0';
    *end = '\0';
    read_line(&l, text);
    text = more ? end + 1 : end;
  }
  return TSR_OK;
}

/* The rule. */
static tsr_status judge(const reader *r, tsr_cuda_kernel_record *kernel) {
  if (kernel->warning_count > 0)
    kernel->reason = kernel->warning;
  if (kernel->spill_store_bytes > 0 || kernel->spill_load_bytes > 0) {
    kernel->reason = tsr_arena_printf(
        r->arena, "registers are spilled: %d bytes stored, %d bytes loaded at %d registers",
        kernel->spill_store_bytes, kernel->spill_load_bytes, kernel->registers);
    if (kernel->reason == NULL)
      return no_memory(r->diag);
  }
  return TSR_OK;
}

tsr_status tsr_cuda_report_make(const uint8_t *cubin, size_t cubin_size, const char *log,
                                tsr_arena *arena, tsr_cuda_report *out_report, tsr_diag *diag) {
  reader r = {
      .bytes = cubin, .size = cubin_size, .arena = arena, .diag = diag, .report = out_report};
  *out_report = (tsr_cuda_report){0};
  TSR_TRY(read_header(&r));
  TSR_TRY(find_symbols(&r));
  TSR_TRY(list_kernels(&r));
  TSR_TRY(read_sections(&r));
  if (log != NULL)
    TSR_TRY(read_log(&r, log));
  for (uint32_t i = 0; i < out_report->kernel_count; i++)
    TSR_TRY(judge(&r, &out_report->kernels[i]));
  return TSR_OK;
}

const tsr_cuda_kernel_record *tsr_cuda_report_find(const tsr_cuda_report *report,
                                                   const char *name) {
  return kernel_named(report, name, strlen(name));
}

const tsr_cuda_kernel_record *tsr_cuda_report_rejected(const tsr_cuda_report *report) {
  for (uint32_t i = 0; i < report->kernel_count; i++)
    if (report->kernels[i].reason != NULL)
      return &report->kernels[i];
  return NULL;
}
