/* Life, storage, interned strings, dims, types and constants of an IR. */
#include "ir/ir_internal.h"
#include "runtime/hash.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_BITS = 8, CHUNK_ITEMS = 1 << CHUNK_BITS, FIRST_TABLE = 64, USUAL_DIM = 128 };

uint32_t tsr_ir_poison(tsr_ir *ir, tsr_status status, const char *format, ...) {
  va_list arguments;
  char message[sizeof ir->diag.message];
  assert(status != TSR_OK);
  if (ir->status != TSR_OK)
    return 0;
  ir->status = status;
  va_start(arguments, format);
  (void)vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  (void)tsr_fail(&ir->diag, status, "%s", message);
  return 0;
}

static void *out_of_memory(tsr_ir *ir) {
  (void)tsr_ir_poison(ir, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  return NULL;
}

void *tsr_ir_alloc(tsr_ir *ir, size_t size) {
  void *memory = tsr_arena_alloc(&ir->arena, size);
  return memory != NULL ? memory : out_of_memory(ir);
}

void *tsr_ir_copy(tsr_ir *ir, const void *data, size_t size) {
  void *memory = tsr_ir_alloc(ir, size);
  if (memory != NULL && size != 0)
    memcpy(memory, data, size);
  return memory;
}

uint32_t tsr_mix(uint32_t hash, uint64_t more) {
  uint64_t x = (hash ^ more) * UINT64_C(0x9e3779b97f4a7c15);
  x ^= x >> 29;
  x = (x + hash) * UINT64_C(0xbf58476d1ce4e5b9);
  return (uint32_t)(x ^ (x >> 32));
}

/* --- storage --- */

static bool add_chunk(tsr_ir *ir, tsr_store *store) {
  if (store->chunk_count == store->chunk_capacity) {
    uint32_t capacity = store->chunk_capacity == 0 ? 8 : store->chunk_capacity * 2;
    void **chunks = (void **)tsr_ir_alloc(ir, capacity * sizeof *chunks);
    if (chunks == NULL)
      return false;
    if (store->chunk_count != 0)
      memcpy(chunks, store->chunks, store->chunk_count * sizeof *chunks);
    store->chunks = chunks;
    store->chunk_capacity = capacity;
  }
  store->chunks[store->chunk_count] = tsr_ir_alloc(ir, (size_t)store->item_size * CHUNK_ITEMS);
  if (store->chunks[store->chunk_count] == NULL)
    return false;
  store->chunk_count++;
  return true;
}

void *tsr_store_at(const tsr_store *store, uint32_t id) {
  assert(id != 0 && id <= store->count);
  return (char *)store->chunks[id >> CHUNK_BITS] + (size_t)(id % CHUNK_ITEMS) * store->item_size;
}

uint32_t tsr_store_add(tsr_ir *ir, tsr_store *store, void **out_item) {
  uint32_t id = store->count + 1;
  *out_item = NULL;
  if (id == UINT32_MAX)
    return tsr_ir_poison(ir, TSR_ERR_LIMIT, "the program is too large");
  if (id >> CHUNK_BITS == store->chunk_count && !add_chunk(ir, store))
    return 0;
  store->count = id;
  *out_item = tsr_store_at(store, id);
  return id;
}

/* An array has room for the next power of two, at least 2, so that its count alone tells when it is
 * full. */
void *tsr_array_grow(tsr_ir *ir, void *items, uint32_t count, size_t item_size) {
  void *grown;
  if (count != 0 && (count == 1 || (count & (count - 1)) != 0))
    return items;
  if (count > UINT32_MAX / 4)
    return out_of_memory(ir);
  grown = tsr_ir_alloc(ir, (count == 0 ? 2 : (size_t)count * 2) * item_size);
  if (grown != NULL && count != 0)
    memcpy(grown, items, count * item_size);
  return grown;
}

static void place(tsr_id_table *table, uint32_t hash, uint32_t id) {
  uint32_t at = hash & (table->capacity - 1);
  while (table->ids[at] != 0)
    at = (at + 1) & (table->capacity - 1);
  table->ids[at] = id;
}

bool tsr_table_reserve(tsr_ir *ir, tsr_id_table *table,
                       uint32_t (*hash_of)(const tsr_ir *ir, uint32_t id)) {
  tsr_id_table grown = {NULL, table->capacity == 0 ? FIRST_TABLE : table->capacity * 2,
                        table->used};
  if (table->used + 1 <= table->capacity / 2)
    return true;
  grown.ids = (uint32_t *)tsr_ir_alloc(ir, grown.capacity * sizeof *grown.ids);
  if (grown.ids == NULL)
    return false;
  for (uint32_t i = 0; i < table->capacity; i++)
    if (table->ids[i] != 0)
      place(&grown, hash_of(ir, table->ids[i]), table->ids[i]);
  *table = grown;
  return true;
}

/* --- life --- */

static void init_store(tsr_store *store, size_t item_size) {
  store->item_size = (uint32_t)item_size;
}

tsr_status tsr_ir_create(const tsr_allocator *allocator, tsr_ir **out_ir) {
  tsr_ir *ir = (tsr_ir *)allocator->allocate(allocator->context, sizeof *ir, _Alignof(tsr_ir));
  void *top;
  *out_ir = NULL;
  if (ir == NULL)
    return TSR_ERR_OUT_OF_MEMORY;
  memset(ir, 0, sizeof *ir);
  ir->allocator = allocator;
  tsr_arena_init(&ir->arena, allocator);
  init_store(&ir->strings, sizeof(tsr_string_slot));
  init_store(&ir->exprs, sizeof(tsr_expr_slot));
  init_store(&ir->types, sizeof(tsr_type_slot));
  init_store(&ir->dims, sizeof(tsr_dim_slot));
  init_store(&ir->consts, sizeof(tsr_const_data));
  init_store(&ir->ops, sizeof(tsr_op_slot));
  init_store(&ir->values, sizeof(tsr_value_slot));
  init_store(&ir->regions, sizeof(tsr_region_data));
  ir->top = tsr_store_add(ir, &ir->regions, &top);
  if (ir->top == 0) {
    tsr_ir_destroy(ir);
    return TSR_ERR_OUT_OF_MEMORY;
  }
  *out_ir = ir;
  return TSR_OK;
}

void tsr_ir_destroy(tsr_ir *ir) {
  if (ir == NULL)
    return;
  tsr_arena_reset(&ir->arena);
  ir->allocator->release(ir->allocator->context, ir, sizeof *ir);
}

tsr_status tsr_ir_status(const tsr_ir *ir) {
  return ir->status;
}

tsr_diag *tsr_ir_diag(tsr_ir *ir) {
  return &ir->diag;
}

tsr_arena *tsr_ir_arena(tsr_ir *ir) {
  return &ir->arena;
}

const tsr_allocator *tsr_ir_allocator(const tsr_ir *ir) {
  return ir->allocator;
}

tsr_region tsr_ir_top(const tsr_ir *ir) {
  return ir->top;
}

/* --- strings --- */

static uint32_t string_hash_of(const tsr_ir *ir, uint32_t id) {
  return ((const tsr_string_slot *)tsr_store_at(&ir->strings, id))->hash;
}

static const char *find_string(const tsr_ir *ir, const char *text, size_t length, uint32_t hash) {
  const tsr_id_table *table = &ir->string_table;
  if (table->capacity == 0)
    return NULL;
  for (uint32_t at = hash & (table->capacity - 1); table->ids[at] != 0;
       at = (at + 1) & (table->capacity - 1)) {
    const tsr_string_slot *slot =
        (const tsr_string_slot *)tsr_store_at(&ir->strings, table->ids[at]);
    if (slot->hash == hash && slot->length == length && memcmp(slot->text, text, length) == 0)
      return slot->text;
  }
  return NULL;
}

const char *tsr_ir_intern_n(tsr_ir *ir, const char *text, size_t length) {
  uint32_t hash = (uint32_t)tsr_hash64(text, length), id;
  const char *found = find_string(ir, text, length, hash);
  void *item;
  char *copy;
  if (found != NULL)
    return found;
  copy = tsr_arena_string(&ir->arena, text, length);
  if (copy == NULL)
    return (const char *)out_of_memory(ir);
  if (!tsr_table_reserve(ir, &ir->string_table, string_hash_of))
    return NULL;
  id = tsr_store_add(ir, &ir->strings, &item);
  if (id == 0)
    return NULL;
  *(tsr_string_slot *)item = (tsr_string_slot){copy, length, hash};
  ir->string_table.used++;
  place(&ir->string_table, hash, id);
  return copy;
}

const char *tsr_ir_intern(tsr_ir *ir, const char *text) {
  return text == NULL ? NULL : tsr_ir_intern_n(ir, text, strlen(text));
}

/* --- dims --- */

tsr_dim_slot *tsr_dim_slot_of(const tsr_ir *ir, tsr_dim dim) {
  return (tsr_dim_slot *)tsr_store_at(&ir->dims, dim);
}

static tsr_dim add_dim(tsr_ir *ir, const char *name, tsr_dim_slot **out_slot) {
  const char *interned = tsr_ir_intern(ir, name);
  void *item;
  tsr_dim dim;
  if (interned == NULL)
    return 0;
  if (interned[0] == '\0')
    return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "a dim needs a name");
  if (tsr_dim_find(ir, name) != 0)
    return tsr_ir_poison(ir, TSR_ERR_ARGUMENT, "dim '%s' is declared twice", name);
  dim = tsr_store_add(ir, &ir->dims, &item);
  if (dim == 0)
    return 0;
  *out_slot = (tsr_dim_slot *)item;
  (*out_slot)->data.name = interned;
  return dim;
}

static int64_t clamp(int64_t number, int64_t lo, int64_t hi) {
  return number < lo ? lo : number > hi ? hi : number;
}

tsr_dim tsr_dim_add(tsr_ir *ir, const char *name, int64_t lo, int64_t hi, int64_t hint) {
  tsr_dim_slot *slot;
  tsr_dim dim;
  if (lo < 0 || lo > hi)
    return tsr_ir_poison(ir, TSR_ERR_SHAPE, "dim '%s' in %lld..%lld holds no size",
                         name == NULL ? "" : name, (long long)lo, (long long)hi);
  dim = add_dim(ir, name, &slot);
  if (dim == 0)
    return 0;
  slot->data.lo = lo;
  slot->data.hi = hi;
  slot->hint_given = hint > 0;
  slot->data.hint = hint > 0 ? hint : clamp(USUAL_DIM, lo, hi);
  return dim;
}

tsr_dim tsr_dim_add_device(tsr_ir *ir, const char *name, tsr_expr bound) {
  tsr_dim_slot *slot;
  tsr_dim dim;
  int64_t lo, hi;
  if (bound == 0)
    return 0;
  dim = add_dim(ir, name, &slot);
  if (dim == 0)
    return 0;
  tsr_expr_bounds(ir, bound, NULL, 0, &lo, &hi);
  slot->data.hi = hi < 0 ? 0 : hi;
  slot->data.hint = clamp(USUAL_DIM, 0, slot->data.hi);
  slot->data.bound = bound;
  slot->data.from_device = true;
  return dim;
}

tsr_dim tsr_dim_find(const tsr_ir *ir, const char *name) {
  const char *interned =
      find_string(ir, name, strlen(name), (uint32_t)tsr_hash64(name, strlen(name)));
  for (tsr_dim dim = 1; interned != NULL && dim <= ir->dims.count; dim++)
    if (tsr_dim_slot_of(ir, dim)->data.name == interned)
      return dim;
  return 0;
}

const tsr_dim_data *tsr_dim_get(const tsr_ir *ir, tsr_dim dim) {
  static const tsr_dim_data none = {.name = ""};
  return dim == 0 ? &none : &tsr_dim_slot_of(ir, dim)->data;
}

uint32_t tsr_dim_count(const tsr_ir *ir) {
  return ir->dims.count;
}

/* --- types --- */

static tsr_type_slot *type_slot_of(const tsr_ir *ir, tsr_type type) {
  return (tsr_type_slot *)tsr_store_at(&ir->types, type);
}

static uint32_t type_hash_of(const tsr_ir *ir, uint32_t id) {
  return type_slot_of(ir, id)->hash;
}

static uint32_t hash_type(const tsr_type_info *info) {
  uint32_t hash = tsr_mix((uint32_t)info->level, (uint64_t)info->dtype << 8 | info->rank);
  for (uint32_t i = 0; i < tsr_type_dim_count(info); i++)
    hash = tsr_mix(hash, info->dims[i]);
  return hash;
}

static bool same_type(const tsr_type_info *a, const tsr_type_info *b) {
  uint32_t count = tsr_type_dim_count(a);
  return a->level == b->level && a->dtype == b->dtype && a->rank == b->rank &&
         (count == 0 || memcmp(a->dims, b->dims, count * sizeof *a->dims) == 0);
}

static tsr_type add_type(tsr_ir *ir, tsr_type_info info) {
  uint32_t hash = hash_type(&info);
  tsr_id_table *table = &ir->type_table;
  void *item;
  tsr_type type;
  if (!tsr_table_reserve(ir, table, type_hash_of))
    return 0;
  for (uint32_t at = hash & (table->capacity - 1); table->ids[at] != 0;
       at = (at + 1) & (table->capacity - 1))
    if (same_type(&type_slot_of(ir, table->ids[at])->info, &info))
      return table->ids[at];
  info.dims =
      (const tsr_expr *)tsr_ir_copy(ir, info.dims, tsr_type_dim_count(&info) * sizeof *info.dims);
  if (info.dims == NULL)
    return 0;
  type = tsr_store_add(ir, &ir->types, &item);
  if (type == 0)
    return 0;
  *(tsr_type_slot *)item = (tsr_type_slot){info, hash};
  table->used++;
  place(table, hash, type);
  return type;
}

/* Whether not even the smallest tensor of this shape has a size in bytes. */
static bool is_too_large(const tsr_ir *ir, tsr_dtype dtype, const tsr_expr *dims, uint32_t rank) {
  int64_t elements = 1;
  bool overflows = false, empty = false;
  for (uint32_t i = 0; i < rank; i++) {
    int64_t lo, hi;
    tsr_expr_bounds(ir, dims[i], NULL, 0, &lo, &hi);
    empty |= lo <= 0;
    overflows |= !empty && __builtin_mul_overflow(elements, lo, &elements);
  }
  return !empty && (overflows || tsr_dtype_bytes(dtype, elements) < 0);
}

tsr_type tsr_type_make(tsr_ir *ir, tsr_level level, tsr_dtype dtype, const tsr_expr *dims,
                       uint32_t rank) {
  if (rank == TSR_RANK_ANY && level >= TSR_LEVEL_LIST && dtype > TSR_DTYPE_NONE &&
      dtype < TSR_DTYPE_COUNT)
    return add_type(ir, (tsr_type_info){level, dtype, rank, NULL});
  if (rank > TSR_MAX_RANK)
    return tsr_ir_poison(ir, TSR_ERR_LIMIT, "a tensor of rank %u; the limit is %d", rank,
                         TSR_MAX_RANK);
  if (dtype <= TSR_DTYPE_NONE || dtype >= TSR_DTYPE_COUNT || level == TSR_LEVEL_NONE)
    return tsr_ir_poison(ir, TSR_ERR_TYPE, "a tensor needs an element type and a level");
  for (uint32_t i = 0; i < rank; i++) {
    int64_t lo, hi;
    if (dims[i] == 0)
      return 0;
    tsr_expr_bounds(ir, dims[i], NULL, 0, &lo, &hi);
    if (hi < 0)
      return tsr_ir_poison(ir, TSR_ERR_SHAPE, "dim %u of a tensor is negative", i);
  }
  if (is_too_large(ir, dtype, dims, rank))
    return tsr_ir_poison(ir, TSR_ERR_SHAPE, "the size in bytes of a tensor overflows 64 bits");
  return add_type(ir, (tsr_type_info){level, dtype, rank, dims});
}

tsr_type tsr_type_index(tsr_ir *ir) {
  return add_type(ir, (tsr_type_info){TSR_LEVEL_NONE, TSR_DTYPE_NONE, 0, NULL});
}

const tsr_type_info *tsr_type_get(const tsr_ir *ir, tsr_type type) {
  static const tsr_type_info none = {TSR_LEVEL_NONE, TSR_DTYPE_NONE, 0, NULL};
  return type == 0 ? &none : &type_slot_of(ir, type)->info;
}

tsr_expr tsr_type_elements(tsr_ir *ir, tsr_type type) {
  const tsr_type_info *info = tsr_type_get(ir, type);
  tsr_expr product = type == 0 ? 0 : tsr_expr_int(ir, 1);
  for (uint32_t i = 0; i < tsr_type_dim_count(info); i++)
    product = tsr_expr_mul(ir, product, info->dims[i]);
  return product;
}

/* --- constants --- */

uint32_t tsr_const_add(tsr_ir *ir, tsr_dtype dtype, const void *data, uint64_t bytes, bool copy) {
  void *item;
  uint32_t id;
  if (copy && data != NULL) {
    data = tsr_ir_copy(ir, data, bytes);
    if (data == NULL)
      return 0;
  }
  id = tsr_store_add(ir, &ir->consts, &item);
  if (id == 0)
    return 0;
  *(tsr_const_data *)item =
      (tsr_const_data){dtype, data, bytes, data == NULL ? 0 : tsr_hash64(data, bytes)};
  return id;
}

const tsr_const_data *tsr_const_get(const tsr_ir *ir, uint32_t constant) {
  static const tsr_const_data none = {TSR_DTYPE_NONE, NULL, 0, 0};
  return constant == 0 || constant > ir->consts.count
             ? &none
             : (const tsr_const_data *)tsr_store_at(&ir->consts, constant);
}
