/* The linking step, in five requirements:
 *   1. What is laid out: every allocatable section with contents, code first, except unwind tables,
 *      which nothing reads. Writable and thread-local sections are refused.
 *   2. What is resolved: relocations that do not depend on where the image is mapped, against
 *      symbols that the object defines (image_relocate.c: x86-64 and AArch64).
 *   3. What is refused: absolute relocations and undefined symbols, by name.
 *   4. What is kept free: the first 64 bytes. Callers built with clang's -fsanitize=function read
 *      eight bytes in front of what they call.
 *   5. What is trusted: nothing. Sizes and offsets are checked before use, so that a damaged object
 *      is a status and not a crash. */
#include "codegen/cpu/image.h"
#include "codegen/cpu/image_relocate.h"
#include <elf.h>
#include <inttypes.h>
#include <llvm-c/Core.h>
#include <string.h>

/* Every machine's relocation type 0 does nothing. */
enum {
  NOT_PLACED = -1,
  NO_RELOCATION = 0,
  CODE_GAP = 64,
  MAX_ALIGNMENT = 4096,
  MAX_IMAGE = 1 << 30
};

typedef struct linker {
  const unsigned char *object;
  size_t object_bytes;
  tsr_arena *arena;
  tsr_diag *diag;
  const tsr_image_machine *machine;
  Elf64_Shdr *sections;
  int64_t *places; /* image offset of each section, or NOT_PLACED */
  uint32_t section_count;
  const char *section_names; /* terminated */
  Elf64_Sym *symbols;
  uint32_t symbol_count;
  const char *symbol_names; /* terminated */
  uint64_t symbol_names_bytes;
  uint64_t section_names_bytes;
  unsigned char *image;
  uint64_t image_bytes;
} linker;

static tsr_status malformed(linker *l, const char *what) {
  return tsr_fail(l->diag, TSR_ERR_FORMAT, "code object: %s", what);
}

static bool in_object(const linker *l, uint64_t offset, uint64_t bytes) {
  return offset <= l->object_bytes && bytes <= l->object_bytes - offset;
}

static const char *name_in(const char *names, uint64_t bytes, uint64_t offset) {
  return names && offset < bytes ? names + offset : "?";
}

static const char *section_name(const linker *l, const Elf64_Shdr *section) {
  return name_in(l->section_names, l->section_names_bytes, section->sh_name);
}

static const char *symbol_name(const linker *l, const Elf64_Sym *symbol) {
  return name_in(l->symbol_names, l->symbol_names_bytes, symbol->st_name);
}

/* A string table's bytes; its last byte must end a string. */
static tsr_status read_names(linker *l, uint32_t section, const char **out_names,
                             uint64_t *out_bytes) {
  if (section >= l->section_count)
    return malformed(l, "a string table is missing");
  const Elf64_Shdr *header = &l->sections[section];
  if (header->sh_type != SHT_STRTAB || header->sh_size == 0 ||
      !in_object(l, header->sh_offset, header->sh_size) ||
      l->object[header->sh_offset + header->sh_size - 1] != 0)
    return malformed(l, "a string table is damaged");
  *out_names = (const char *)l->object + header->sh_offset;
  *out_bytes = header->sh_size;
  return TSR_OK;
}

static tsr_status read_header(linker *l) {
  Elf64_Ehdr header;
  if (l->object_bytes < sizeof header)
    return malformed(l, "it is shorter than an ELF header");
  memcpy(&header, l->object, sizeof header);
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_REL)
    return malformed(l, "it is not a little-endian relocatable ELF64 file");
  l->machine = tsr_image_machine_find(header.e_machine);
  if (!l->machine)
    return tsr_fail(l->diag, TSR_ERR_UNSUPPORTED,
                    "code object: images are made for x86-64 and AArch64, this is ELF machine %u",
                    header.e_machine);
  l->section_count = header.e_shnum;
  uint64_t bytes = (uint64_t)header.e_shnum * sizeof(Elf64_Shdr);
  if (header.e_shentsize != sizeof(Elf64_Shdr) || !in_object(l, header.e_shoff, bytes))
    return malformed(l, "the section table is damaged");
  l->sections = tsr_arena_alloc_array(l->arena, l->section_count, sizeof *l->sections);
  l->places = tsr_arena_alloc_array(l->arena, l->section_count, sizeof *l->places);
  if (!l->sections || !l->places)
    return tsr_fail(l->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  memcpy(l->sections, l->object + header.e_shoff, bytes);
  for (uint32_t i = 0; i < l->section_count; i++)
    l->places[i] = NOT_PLACED;
  return read_names(l, header.e_shstrndx, &l->section_names, &l->section_names_bytes);
}

static tsr_status read_symbols(linker *l) {
  for (uint32_t i = 0; i < l->section_count; i++) {
    const Elf64_Shdr *section = &l->sections[i];
    if (section->sh_type != SHT_SYMTAB)
      continue;
    if (l->symbols)
      return malformed(l, "it has two symbol tables");
    uint64_t count = section->sh_size / sizeof(Elf64_Sym);
    if (section->sh_entsize != sizeof(Elf64_Sym) || count > UINT32_MAX ||
        !in_object(l, section->sh_offset, section->sh_size))
      return malformed(l, "the symbol table is damaged");
    l->symbols = tsr_arena_alloc_array(l->arena, (size_t)count, sizeof *l->symbols);
    if (!l->symbols)
      return tsr_fail(l->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
    memcpy(l->symbols, l->object + section->sh_offset, (size_t)count * sizeof *l->symbols);
    l->symbol_count = (uint32_t)count;
    TSR_TRY(read_names(l, section->sh_link, &l->symbol_names, &l->symbol_names_bytes));
  }
  return l->symbols ? TSR_OK : malformed(l, "it has no symbol table");
}

static bool is_unwind_table(const linker *l, const Elf64_Shdr *section) {
  return section->sh_type == SHT_X86_64_UNWIND ||
         strcmp(section_name(l, section), ".eh_frame") == 0;
}

static bool is_laid_out(const linker *l, const Elf64_Shdr *section) {
  return (section->sh_flags & SHF_ALLOC) && section->sh_size > 0 && !is_unwind_table(l, section);
}

static tsr_status check_section(linker *l, const Elf64_Shdr *section) {
  if (section->sh_flags & (SHF_WRITE | SHF_TLS))
    return tsr_fail(l->diag, TSR_ERR_INTERNAL,
                    "generated code has data that is written or needs absolute addresses: "
                    "section '%s', %" PRIu64 " bytes",
                    section_name(l, section), (uint64_t)section->sh_size);
  uint64_t alignment = section->sh_addralign;
  if (section->sh_type != SHT_PROGBITS || alignment > MAX_ALIGNMENT ||
      (alignment & (alignment - 1)) != 0 || !in_object(l, section->sh_offset, section->sh_size))
    return malformed(l, "a section is damaged");
  return TSR_OK;
}

static uint64_t align_up(uint64_t value, uint64_t alignment) {
  return alignment > 1 ? (value + alignment - 1) / alignment * alignment : value;
}

static tsr_status place_sections(linker *l, bool code) {
  for (uint32_t i = 0; i < l->section_count; i++) {
    const Elf64_Shdr *section = &l->sections[i];
    if (!is_laid_out(l, section) || ((section->sh_flags & SHF_EXECINSTR) != 0) != code)
      continue;
    TSR_TRY(check_section(l, section));
    l->image_bytes = align_up(l->image_bytes, section->sh_addralign);
    l->places[i] = (int64_t)l->image_bytes;
    l->image_bytes += section->sh_size;
    if (l->image_bytes > MAX_IMAGE)
      return tsr_fail(l->diag, TSR_ERR_LIMIT, "generated code is larger than 1 GiB");
  }
  return TSR_OK;
}

static tsr_status lay_out(linker *l) {
  l->image_bytes = CODE_GAP;
  TSR_TRY(place_sections(l, true));
  l->image_bytes = align_up(l->image_bytes + CODE_GAP, CODE_GAP);
  TSR_TRY(place_sections(l, false));
  l->image_bytes = align_up(l->image_bytes, CODE_GAP);
  l->image = tsr_arena_alloc(l->arena, (size_t)l->image_bytes);
  if (!l->image)
    return tsr_fail(l->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < l->section_count; i++)
    if (l->places[i] != NOT_PLACED)
      memcpy(l->image + l->places[i], l->object + l->sections[i].sh_offset,
             (size_t)l->sections[i].sh_size);
  return TSR_OK;
}

/* Image offset of a symbol. */
static tsr_status symbol_place(linker *l, uint64_t index, int64_t *out_place) {
  *out_place = 0;
  if (index >= l->symbol_count)
    return malformed(l, "a relocation names no symbol");
  const Elf64_Sym *symbol = &l->symbols[index];
  if (symbol->st_shndx == SHN_UNDEF)
    return tsr_fail(l->diag, TSR_ERR_INTERNAL,
                    "generated code needs the undefined symbol '%s'; code images have no library",
                    symbol_name(l, symbol));
  if (symbol->st_shndx >= l->section_count || l->places[symbol->st_shndx] == NOT_PLACED ||
      symbol->st_value > l->sections[symbol->st_shndx].sh_size)
    return tsr_fail(l->diag, TSR_ERR_INTERNAL,
                    "generated code refers to the symbol '%s' outside its image",
                    symbol_name(l, symbol));
  *out_place = l->places[symbol->st_shndx] + (int64_t)symbol->st_value;
  return TSR_OK;
}

static tsr_status refuse_relocation(linker *l, uint32_t type, uint64_t symbol) {
  const Elf64_Sym *entry = symbol < l->symbol_count ? &l->symbols[symbol] : NULL;
  return tsr_fail(l->diag, TSR_ERR_INTERNAL,
                  "generated code is not position independent: relocation type %" PRIu32
                  " against '%s'",
                  type, entry ? symbol_name(l, entry) : "?");
}

static tsr_status apply(linker *l, const Elf64_Shdr *section, int64_t place,
                        const Elf64_Rela *entry) {
  uint32_t type = (uint32_t)ELF64_R_TYPE(entry->r_info);
  uint64_t symbol = ELF64_R_SYM(entry->r_info);
  if (type == NO_RELOCATION)
    return TSR_OK;
  const tsr_image_relocation *relocation = tsr_image_relocation_find(l->machine, type);
  tsr_image_reference reference = {.bytes_before = entry->r_offset, .addend = entry->r_addend};
  TSR_TRY(symbol_place(l, symbol, &reference.target));
  if (!relocation)
    return refuse_relocation(l, type, symbol);
  if (entry->r_offset > section->sh_size ||
      section->sh_size - entry->r_offset < tsr_image_relocation_bytes(relocation))
    return malformed(l, "a relocation lies outside its section");
  reference.place = place + (int64_t)entry->r_offset;
  reference.field = l->image + reference.place;
  switch (tsr_image_relocation_apply(relocation, &reference)) {
  case TSR_RELOCATED_NOT_POSSIBLE:
    return refuse_relocation(l, type, symbol);
  case TSR_RELOCATED_OUT_OF_RANGE:
    return malformed(l, "a relocation overflows or is not aligned");
  case TSR_RELOCATED:
    break;
  }
  return TSR_OK;
}

static tsr_status relocate(linker *l) {
  for (uint32_t i = 0; i < l->section_count; i++) {
    const Elf64_Shdr *table = &l->sections[i];
    if (table->sh_type != SHT_RELA && table->sh_type != SHT_REL)
      continue;
    if (table->sh_info >= l->section_count)
      return malformed(l, "a relocation table belongs to no section");
    int64_t place = l->places[table->sh_info];
    if (place == NOT_PLACED)
      continue;
    if (table->sh_type == SHT_REL || table->sh_entsize != sizeof(Elf64_Rela) ||
        !in_object(l, table->sh_offset, table->sh_size))
      return malformed(l, "a relocation table is damaged");
    for (uint64_t at = 0; at + sizeof(Elf64_Rela) <= table->sh_size; at += sizeof(Elf64_Rela)) {
      Elf64_Rela entry;
      memcpy(&entry, l->object + table->sh_offset + at, sizeof entry);
      TSR_TRY(apply(l, &l->sections[table->sh_info], place, &entry));
    }
  }
  return TSR_OK;
}

static bool is_entry(const linker *l, const Elf64_Sym *symbol) {
  return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
         ELF64_ST_BIND(symbol->st_info) == STB_GLOBAL && symbol->st_shndx != SHN_UNDEF &&
         symbol->st_shndx < l->section_count && l->places[symbol->st_shndx] != NOT_PLACED;
}

static tsr_status list_entries(linker *l, tsr_image *out) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < l->symbol_count; i++)
    count += is_entry(l, &l->symbols[i]);
  tsr_image_symbol *entries = tsr_arena_alloc_array(l->arena, count, sizeof *entries);
  if (!entries)
    return tsr_fail(l->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  for (uint32_t i = 0; i < l->symbol_count; i++) {
    const Elf64_Sym *symbol = &l->symbols[i];
    if (!is_entry(l, symbol))
      continue;
    tsr_image_symbol *entry = &entries[out->symbol_count++];
    int64_t place;
    TSR_TRY(symbol_place(l, i, &place));
    const char *name = symbol_name(l, symbol);
    entry->name = tsr_arena_string(l->arena, name, strlen(name));
    entry->entry = (uint64_t)place;
    entry->bytes = symbol->st_size;
    if (!entry->name)
      return tsr_fail(l->diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  }
  out->symbols = entries;
  return TSR_OK;
}

static tsr_status link_object(linker *l, tsr_image *out) {
  TSR_TRY(read_header(l));
  TSR_TRY(read_symbols(l));
  TSR_TRY(lay_out(l));
  TSR_TRY(relocate(l));
  return list_entries(l, out);
}

tsr_status tsr_image_link(const void *object, size_t object_bytes, tsr_arena *arena, tsr_diag *diag,
                          tsr_image *out_image) {
  linker l = {.object = object, .object_bytes = object_bytes, .arena = arena, .diag = diag};
  tsr_image image = {0};
  memset(out_image, 0, sizeof *out_image);
  TSR_TRY(link_object(&l, &image));
  image.bytes = l.image;
  image.size = l.image_bytes;
  *out_image = image;
  return TSR_OK;
}

tsr_status tsr_image_build(const tsr_llvm_target *target, LLVMModuleRef module, tsr_arena *arena,
                           tsr_diag *diag, tsr_image *out_image) {
  LLVMMemoryBufferRef object = NULL;
  memset(out_image, 0, sizeof *out_image);
  TSR_TRY(tsr_llvm_target_object(target, module, diag, &object));
  tsr_status status =
      tsr_image_link(LLVMGetBufferStart(object), LLVMGetBufferSize(object), arena, diag, out_image);
  LLVMDisposeMemoryBuffer(object);
  return status;
}

const tsr_image_symbol *tsr_image_find(const tsr_image *image, const char *name) {
  for (uint32_t i = 0; i < image->symbol_count; i++)
    if (strcmp(image->symbols[i].name, name) == 0)
      return &image->symbols[i];
  return NULL;
}
