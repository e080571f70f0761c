/* Status codes of every Tessera function. The list is the single source: enum, names and
 * tests/error are generated from it. */
#ifndef TESSERA_STATUS_H
#define TESSERA_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, "text", when to use it) */
#define TSR_STATUS_LIST(X)                                                                         \
  X(OK, "ok", "the call did what it says")                                                         \
  X(ERR_ARGUMENT, "invalid argument", "a caller's argument is NULL, out of range or inconsistent") \
  X(ERR_OUT_OF_MEMORY, "out of memory", "an allocator returned NULL")                              \
  X(ERR_IO, "input/output error", "a file could not be opened, read, mapped or written")           \
  X(ERR_FORMAT, "malformed input", "a file's bytes are not what its format demands")               \
  X(ERR_VERSION, "unsupported version", "a file is of a version that this library does not read")  \
  X(ERR_CHECKSUM, "checksum mismatch", "bytes were damaged since they were written")               \
  X(ERR_UNSUPPORTED, "unsupported", "the input is valid but needs an op, type or feature missing") \
  X(ERR_TYPE, "type error", "operand dtypes or ranks do not fit the operation")                    \
  X(ERR_SHAPE, "shape error", "dims do not fit, are negative, or overflow")                        \
  X(ERR_NOT_FOUND, "not found", "a named input, output, kernel, dim or file does not exist")       \
  X(ERR_DEVICE, "device error", "the machine lacks a feature, or a driver call failed")            \
  X(ERR_VERIFY, "verification failed", "IR breaks a rule of its level")                            \
  X(ERR_STATE, "wrong state", "a call came before what it needs, or after what ends it")           \
  X(ERR_LIMIT, "limit exceeded", "an input asks for more than a documented bound")                 \
  X(ERR_INTERNAL, "internal error", "an invariant of the compiler broke; please report it")

typedef enum tsr_status {
#define TSR_STATUS_ENUM(name, text, when) TSR_##name,
  TSR_STATUS_LIST(TSR_STATUS_ENUM)
#undef TSR_STATUS_ENUM
      TSR_STATUS_COUNT
} tsr_status;

#if defined(__GNUC__) || defined(__clang__)
#define TSR_WARN_UNUSED       __attribute__((warn_unused_result))
#define TSR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define TSR_WARN_UNUSED
#define TSR_PRINTF(fmt, args)
#endif

/* The text of `status`, a static string; "unknown status" for a value outside the list. */
const char *tsr_status_text(tsr_status status);

#ifdef __cplusplus
}
#endif
#endif
