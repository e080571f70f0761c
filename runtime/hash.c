#include "runtime/hash.h"
#include <string.h>

static const uint64_t prime_1 = 0x9E3779B185EBCA87u;
static const uint64_t prime_2 = 0xC2B2AE3D27D4EB4Fu;
static const uint64_t prime_3 = 0x165667B19E3779F9u;
static const uint64_t prime_4 = 0x85EBCA77C2B2AE63u;
static const uint64_t prime_5 = 0x27D4EB2F165667C5u;

static uint64_t rotate_left(uint64_t value, unsigned bits) {
  return value << bits | value >> (64 - bits);
}

static uint64_t load_64(const unsigned char *bytes) {
  uint64_t value;
  memcpy(&value, bytes, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

static uint32_t load_32(const unsigned char *bytes) {
  uint32_t value;
  memcpy(&value, bytes, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  return value;
}

static uint64_t mix_lane(uint64_t lane, uint64_t input) {
  return rotate_left(lane + input * prime_2, 31) * prime_1;
}

static uint64_t merge_lane(uint64_t hash, uint64_t lane) {
  return (hash ^ mix_lane(0, lane)) * prime_1 + prime_4;
}

static uint64_t finish(uint64_t hash, const unsigned char *at, size_t left) {
  for (; left >= 8; at += 8, left -= 8)
    hash = rotate_left(hash ^ mix_lane(0, load_64(at)), 27) * prime_1 + prime_4;
  if (left >= 4) {
    hash = rotate_left(hash ^ load_32(at) * prime_1, 23) * prime_2 + prime_3;
    at += 4;
    left -= 4;
  }
  for (; left != 0; at++, left--)
    hash = rotate_left(hash ^ *at * prime_5, 11) * prime_1;
  hash = (hash ^ hash >> 33) * prime_2;
  hash = (hash ^ hash >> 29) * prime_3;
  return hash ^ hash >> 32;
}

uint64_t tsr_hash64_seeded(const void *data, size_t size, uint64_t seed) {
  const unsigned char *at = (const unsigned char *)data;
  size_t left = size;
  uint64_t hash;
  if (size >= 32) {
    uint64_t a = seed + prime_1 + prime_2, b = seed + prime_2, c = seed, d = seed - prime_1;
    for (; left >= 32; at += 32, left -= 32) {
      a = mix_lane(a, load_64(at));
      b = mix_lane(b, load_64(at + 8));
      c = mix_lane(c, load_64(at + 16));
      d = mix_lane(d, load_64(at + 24));
    }
    hash = rotate_left(a, 1) + rotate_left(b, 7) + rotate_left(c, 12) + rotate_left(d, 18);
    hash = merge_lane(merge_lane(merge_lane(merge_lane(hash, a), b), c), d);
  } else {
    hash = seed + prime_5;
  }
  return finish(hash + (uint64_t)size, at, left);
}

uint64_t tsr_hash64(const void *data, size_t size) {
  return tsr_hash64_seeded(data, size, 0);
}
