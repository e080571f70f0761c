/* XXH64 (Collet, "xxHash fast digest algorithm", specification v0.1.1): content addresses of
 * weights, checksums of module sections. Not a defence against forgery. */
#ifndef TSR_RUNTIME_HASH_H
#define TSR_RUNTIME_HASH_H
#include <stddef.h>
#include <stdint.h>

/* XXH64 of `size` bytes with seed 0; the same value on every machine. `data` may be NULL when size
 * is 0. */
uint64_t tsr_hash64(const void *data, size_t size);
uint64_t tsr_hash64_seeded(const void *data, size_t size, uint64_t seed);

#endif
