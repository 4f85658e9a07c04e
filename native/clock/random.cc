// Random numbers: in a strict world those of the agent's seed, otherwise the kernel's.
#include <sys/auxv.h>
#include <sys/random.h>

#include "library.h"

using namespace clove::clock;

namespace {

CLOVE_REAL(getrandom, ssize_t (*)(void*, size_t, unsigned));
CLOVE_REAL(getentropy, int (*)(void*, size_t));

/** What the kernel laid beside the program's arguments for its own use. */
__attribute__((constructor)) void SeedStart() {
  if (void* random = reinterpret_cast<void*>(getauxval(AT_RANDOM)); random != nullptr) FillSeeded(random, 16);
}

}  // namespace

CLOVE_INTERPOSE(ssize_t, getrandom, void* buffer, size_t size, unsigned flags) {
  return FillSeeded(buffer, size) ? static_cast<ssize_t>(size) : real_getrandom(buffer, size, flags);
}

CLOVE_INTERPOSE(int, getentropy, void* buffer, size_t size) {
  if (size > 256) return Answer(-EIO);
  return FillSeeded(buffer, size) ? 0 : real_getentropy(buffer, size);
}

CLOVE_INTERPOSE(void, arc4random_buf, void* buffer, size_t size) {
  if (FillSeeded(buffer, size)) return;
  auto* bytes = static_cast<char*>(buffer);
  while (size > 0) {
    const ssize_t filled = real_getrandom(bytes, size, 0);
    if (filled > 0) bytes += filled, size -= static_cast<size_t>(filled);
  }
}

CLOVE_INTERPOSE(uint32_t, arc4random, void) {
  uint32_t number;
  clove_arc4random_buf(&number, sizeof number);
  return number;
}

CLOVE_INTERPOSE(uint32_t, arc4random_uniform, uint32_t end) {
  if (end < 2) return 0;
  // Numbers below this would make the small results more frequent.
  const uint32_t first = -end % end;
  for (;;)
    if (const uint32_t number = clove_arc4random(); number >= first) return number % end;
}
