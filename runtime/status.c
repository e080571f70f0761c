#include <tessera/status.h>

const char *tsr_status_text(tsr_status status) {
  static const char *const texts[] = {
#define TSR_STATUS_TEXT(name, text, when) [TSR_##name] = text,
      TSR_STATUS_LIST(TSR_STATUS_TEXT)
#undef TSR_STATUS_TEXT
  };
  unsigned index = (unsigned)status;
  return index < TSR_STATUS_COUNT ? texts[index] : "unknown status";
}
