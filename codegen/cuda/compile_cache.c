/* An entry is one file, named by the hash of its key:
 *
 *   header | key (identity and source) | output (PTX, CUBIN, log)
 *
 * The header has the sizes of both and a checksum of both. Its time of modification is when it was
 * last used. Files that begin with a dot are being written. */
#include "codegen/cuda/compile_cache.h"
#include "codegen/cuda/nvrtc_codec.h"
#include "runtime/hash.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FORMAT_VERSION = 1, NAME_DIGITS = 32, STORES_PER_SCAN = 64, STALE_SECONDS = 3600 };

static const char MAGIC[8] = "TSRCUDA";
static const char SUFFIX[] = ".kernel";

typedef struct entry_header {
  char magic[8];
  uint64_t version, key_size, output_size, checksum;
} entry_header;

struct tsr_compile_cache {
  const tsr_allocator *allocator;
  pthread_mutex_t lock; /* of all that follows but `folder` */
  uint64_t bound_bytes;
  uint64_t known_bytes; /* of all entries at the last scan, and of what was stored since */
  uint32_t stores_since_scan;
  uint64_t serial; /* of temporary files */
  tsr_compile_cache_statistics statistics;
  char folder[PATH_MAX - 128];
};

/* Scanning and eviction. */

typedef struct seen_entry {
  struct timespec used;
  uint64_t size;
  char name[NAME_DIGITS + sizeof SUFFIX];
} seen_entry;

typedef struct scan {
  tsr_arena arena;
  seen_entry *entries;
  size_t count, capacity;
  uint64_t bytes;
} scan;

static bool is_entry_name(const char *name) {
  return strlen(name) == NAME_DIGITS + sizeof SUFFIX - 1 &&
         strspn(name, "0123456789abcdef") >= NAME_DIGITS && strcmp(name + NAME_DIGITS, SUFFIX) == 0;
}

static int by_use(const void *left, const void *right) {
  const struct timespec *a = &((const seen_entry *)left)->used;
  const struct timespec *b = &((const seen_entry *)right)->used;
  if (a->tv_sec != b->tv_sec)
    return a->tv_sec < b->tv_sec ? -1 : 1;
  return a->tv_nsec < b->tv_nsec ? -1 : a->tv_nsec > b->tv_nsec;
}

/* Where memory is out, the entries seen so far have to do. */
static bool add_entry(scan *s, const char *name, const struct stat *about) {
  if (s->count == s->capacity) {
    size_t capacity = s->capacity == 0 ? 64 : 2 * s->capacity;
    seen_entry *entries = tsr_arena_alloc_array(&s->arena, capacity, sizeof *entries);
    if (entries == NULL)
      return false;
    if (s->count > 0)
      memcpy(entries, s->entries, s->count * sizeof *entries);
    s->entries = entries;
    s->capacity = capacity;
  }
  seen_entry *entry = &s->entries[s->count++];
  entry->used = about->st_mtim;
  entry->size = (uint64_t)about->st_size;
  memcpy(entry->name, name, sizeof entry->name);
  s->bytes += entry->size;
  return true;
}

/* Temporary files of processes that were killed while writing are removed. */
static void remove_stale(int folder, const char *name, const struct stat *about) {
  if (strncmp(name, ".write-", 7) == 0 && time(NULL) - about->st_mtim.tv_sec > STALE_SECONDS)
    (void)unlinkat(folder, name, 0);
}

static void read_folder(DIR *folder, scan *s) {
  struct dirent *item;
  while ((item = readdir(folder)) != NULL) {
    struct stat about;
    if (fstatat(dirfd(folder), item->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(about.st_mode))
      continue;
    if (!is_entry_name(item->d_name))
      remove_stale(dirfd(folder), item->d_name, &about);
    else if (!add_entry(s, item->d_name, &about))
      return;
  }
}

/* Goes a tenth below the bound, so that not every store has to remove one. */
static void evict(tsr_compile_cache *cache, int folder, scan *s) {
  uint64_t target = cache->bound_bytes - cache->bound_bytes / 10;
  if (s->bytes <= cache->bound_bytes)
    return;
  qsort(s->entries, s->count, sizeof *s->entries, by_use);
  for (size_t i = 0; i < s->count && s->bytes > target; i++) {
    cache->statistics.evicted += unlinkat(folder, s->entries[i].name, 0) == 0;
    s->bytes -= s->entries[i].size;
  }
}

static void scan_folder(tsr_compile_cache *cache) {
  scan s = {0};
  DIR *folder = opendir(cache->folder);
  if (folder == NULL)
    return;
  tsr_arena_init(&s.arena, cache->allocator);
  read_folder(folder, &s);
  evict(cache, dirfd(folder), &s);
  cache->known_bytes = s.bytes;
  cache->stores_since_scan = 0;
  tsr_arena_reset(&s.arena);
  closedir(folder);
}

void tsr_compile_cache_size(tsr_compile_cache *cache, uint32_t *out_entries, uint64_t *out_bytes) {
  scan s = {0};
  DIR *folder = opendir(cache->folder);
  *out_entries = 0;
  *out_bytes = 0;
  if (folder == NULL)
    return;
  tsr_arena_init(&s.arena, cache->allocator);
  read_folder(folder, &s);
  *out_entries = (uint32_t)s.count;
  *out_bytes = s.bytes;
  tsr_arena_reset(&s.arena);
  closedir(folder);
}

/* Opening. */

static tsr_status choose_folder(const char *folder, char *out, size_t size, tsr_diag *diag) {
  const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int length;
  if (folder != NULL)
    length = snprintf(out, size, "%s", folder);
  else if (base != NULL && base[0] == '/')
    length = snprintf(out, size, "%s/tessera/cuda", base);
  else if (home != NULL && home[0] == '/')
    length = snprintf(out, size, "%s/.cache/tessera/cuda", home);
  else
    return tsr_fail(diag, TSR_ERR_IO,
                    "no place for the cache of kernels: set XDG_CACHE_HOME or HOME");
  if (length <= 0 || (size_t)length >= size)
    return tsr_fail(diag, TSR_ERR_IO, "the cache folder's path is too long or empty");
  return TSR_OK;
}

static tsr_status make_folders(char *path, tsr_diag *diag) {
  for (char *at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
    if (at != NULL)
      *at = '\0';
    bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
    int error = errno;
    if (at != NULL)
      *at = '/';
    if (at == NULL && !made)
      return tsr_fail(diag, TSR_ERR_IO, "cannot make the cache folder %s: %s", path,
                      strerror(error));
    if (at == NULL)
      return TSR_OK;
  }
}

static tsr_status check_folder(const char *path, tsr_diag *diag) {
  DIR *folder = opendir(path);
  if (folder == NULL)
    return tsr_fail(diag, TSR_ERR_IO, "cannot read the cache folder %s: %s", path, strerror(errno));
  closedir(folder);
  return TSR_OK;
}

tsr_status tsr_compile_cache_open(const tsr_allocator *allocator, const char *folder,
                                  uint64_t bound_bytes, tsr_compile_cache **out_cache,
                                  tsr_diag *diag) {
  *out_cache = NULL;
  tsr_compile_cache *cache =
      allocator->allocate(allocator->context, sizeof *cache, _Alignof(tsr_compile_cache));
  if (cache == NULL)
    return tsr_fail(diag, TSR_ERR_OUT_OF_MEMORY, "out of memory");
  memset(cache, 0, sizeof *cache);
  cache->allocator = allocator;
  cache->bound_bytes =
      bound_bytes != 0 ? bound_bytes : (uint64_t)TSR_COMPILE_CACHE_DEFAULT_MIB << 20;
  pthread_mutex_init(&cache->lock, NULL);
  tsr_status status = choose_folder(folder, cache->folder, sizeof cache->folder, diag);
  if (status == TSR_OK)
    status = make_folders(cache->folder, diag);
  if (status == TSR_OK)
    status = check_folder(cache->folder, diag);
  if (status != TSR_OK) {
    tsr_compile_cache_close(cache);
    return status;
  }
  scan_folder(cache);
  *out_cache = cache;
  return TSR_OK;
}

void tsr_compile_cache_close(tsr_compile_cache *cache) {
  if (cache == NULL)
    return;
  pthread_mutex_destroy(&cache->lock);
  cache->allocator->release(cache->allocator->context, cache, sizeof *cache);
}

const char *tsr_compile_cache_folder(const tsr_compile_cache *cache) {
  return cache->folder;
}

/* Entries. */

static void entry_path(const tsr_compile_cache *cache, tsr_cuda_bytes key, char *out,
                       size_t out_size) {
  snprintf(out, out_size, "%s/%016llx%016llx%s", cache->folder,
           (unsigned long long)tsr_hash64_seeded(key.data, key.size, FORMAT_VERSION),
           (unsigned long long)tsr_hash64_seeded(key.data, key.size, ~(uint64_t)FORMAT_VERSION),
           SUFFIX);
}

static void count(tsr_compile_cache *cache, uint64_t *counter) {
  pthread_mutex_lock(&cache->lock);
  ++*counter;
  pthread_mutex_unlock(&cache->lock);
}

static bool read_all(int file, uint8_t *bytes, size_t size) {
  while (size > 0) {
    ssize_t got = read(file, bytes, size);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    bytes += got;
    size -= (size_t)got;
  }
  return true;
}

static bool write_all(int file, const void *data, size_t size) {
  const uint8_t *bytes = data;
  while (size > 0) {
    ssize_t put = write(file, bytes, size);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return false;
    bytes += put;
    size -= (size_t)put;
  }
  return true;
}

typedef enum found { FOUND, ABSENT, DAMAGED, OTHER_KEY, NO_MEMORY } found;

/* `bytes` are the whole entry. */
static found read_entry(tsr_cuda_bytes bytes, tsr_cuda_bytes key, tsr_cuda_output *out_output) {
  entry_header header;
  if (bytes.size < sizeof header)
    return DAMAGED;
  memcpy(&header, bytes.data, sizeof header);
  uint64_t rest = bytes.size - sizeof header;
  uint8_t *body = bytes.data + sizeof header;
  if (memcmp(header.magic, MAGIC, sizeof MAGIC) != 0 || header.version != FORMAT_VERSION ||
      header.key_size > rest || header.output_size != rest - header.key_size ||
      header.checksum != tsr_hash64(body, rest))
    return DAMAGED;
  if (header.key_size != key.size || memcmp(body, key.data, key.size) != 0)
    return OTHER_KEY;
  tsr_cuda_bytes output = {body + header.key_size, header.output_size};
  return tsr_cuda_output_decode(output, out_output) == TSR_OK ? FOUND : DAMAGED;
}

/* The file is read, not mapped: it may become shorter meanwhile. */
static found read_file(int file, tsr_cuda_bytes key, tsr_arena *arena,
                       tsr_cuda_output *out_output) {
  struct stat about;
  if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode))
    return DAMAGED;
  if (about.st_size < (off_t)sizeof(entry_header))
    return DAMAGED;
  tsr_cuda_bytes bytes = {tsr_arena_alloc(arena, (size_t)about.st_size), (size_t)about.st_size};
  if (bytes.data == NULL)
    return NO_MEMORY;
  if (!read_all(file, bytes.data, bytes.size))
    return DAMAGED;
  return read_entry(bytes, key, out_output);
}

static found look_up(const char *path, tsr_cuda_bytes key, tsr_arena *arena,
                     tsr_cuda_output *out_output) {
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0)
    return ABSENT;
  found result = read_file(file, key, arena, out_output);
  if (result == FOUND)
    (void)futimens(file, NULL);
  close(file);
  return result;
}

tsr_status tsr_compile_cache_get(tsr_compile_cache *cache, const tsr_cuda_source *source,
                                 const char *identity, tsr_arena *arena, bool *out_found,
                                 tsr_cuda_output *out_output) {
  char path[PATH_MAX];
  tsr_cuda_bytes key;
  *out_found = false;
  *out_output = (tsr_cuda_output){0};
  if (!tsr_cuda_source_encode(identity, source, false, arena, &key))
    return TSR_ERR_OUT_OF_MEMORY;
  entry_path(cache, key, path, sizeof path);
  found result = look_up(path, key, arena, out_output);
  if (result == NO_MEMORY)
    return TSR_ERR_OUT_OF_MEMORY;
  if (result == DAMAGED) {
    count(cache, &cache->statistics.damaged);
    (void)unlink(path);
  }
  *out_found = result == FOUND;
  count(cache, result == FOUND ? &cache->statistics.hits : &cache->statistics.misses);
  return TSR_OK;
}

static bool write_entry(const char *temporary, tsr_cuda_bytes body, size_t key_size) {
  entry_header header = {.version = FORMAT_VERSION,
                         .key_size = key_size,
                         .output_size = body.size - key_size,
                         .checksum = tsr_hash64(body.data, body.size)};
  memcpy(header.magic, MAGIC, sizeof MAGIC);
  int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0)
    return false;
  bool written = write_all(file, &header, sizeof header) && write_all(file, body.data, body.size);
  return (close(file) == 0) & written;
}

static bool store(tsr_compile_cache *cache, const char *path, tsr_cuda_bytes body,
                  size_t key_size) {
  char temporary[PATH_MAX];
  pthread_mutex_lock(&cache->lock);
  uint64_t serial = cache->serial++;
  pthread_mutex_unlock(&cache->lock);
  snprintf(temporary, sizeof temporary, "%s/.write-%ld-%llx-%llx", cache->folder, (long)getpid(),
           (unsigned long long)serial, (unsigned long long)(uintptr_t)cache);
  if (write_entry(temporary, body, key_size) && rename(temporary, path) == 0)
    return true;
  (void)unlink(temporary);
  return false;
}

static void account(tsr_compile_cache *cache, bool stored, uint64_t bytes) {
  pthread_mutex_lock(&cache->lock);
  if (stored) {
    cache->statistics.stores++;
    cache->known_bytes += bytes;
    if (++cache->stores_since_scan >= STORES_PER_SCAN || cache->known_bytes > cache->bound_bytes)
      scan_folder(cache);
  } else {
    cache->statistics.store_failures++;
  }
  pthread_mutex_unlock(&cache->lock);
}

tsr_status tsr_compile_cache_put(tsr_compile_cache *cache, const tsr_cuda_source *source,
                                 const char *identity, const tsr_cuda_output *output) {
  char path[PATH_MAX];
  tsr_arena arena;
  tsr_cuda_bytes key, value, body = {0};
  tsr_arena_init(&arena, cache->allocator);
  if (tsr_cuda_source_encode(identity, source, false, &arena, &key) &&
      tsr_cuda_output_encode(output, &arena, &value)) {
    body.size = key.size + value.size;
    body.data = tsr_arena_alloc(&arena, body.size);
  }
  if (body.data != NULL) {
    memcpy(body.data, key.data, key.size);
    memcpy(body.data + key.size, value.data, value.size);
    entry_path(cache, key, path, sizeof path);
    account(cache, store(cache, path, body, key.size), body.size + sizeof(entry_header));
  }
  tsr_arena_reset(&arena);
  return body.data != NULL ? TSR_OK : TSR_ERR_OUT_OF_MEMORY;
}

void tsr_compile_cache_get_statistics(tsr_compile_cache *cache,
                                      tsr_compile_cache_statistics *out_statistics) {
  pthread_mutex_lock(&cache->lock);
  *out_statistics = cache->statistics;
  pthread_mutex_unlock(&cache->lock);
}
