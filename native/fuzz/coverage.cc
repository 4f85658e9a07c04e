// Edge coverage from the compiler's hook; must not be compiled with that hook itself.
#include <cstdint>
#include <cstring>

#include "fuzz_support.h"

namespace {

constexpr size_t kEdges = 1 << 13;
uint8_t current[kEdges];
uint8_t seen[kEdges];
size_t seenCount = 0;
uintptr_t previous = 0;

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  current[(here ^ previous) % kEdges] = 1;
  previous = here << 1;
}

namespace clove::fuzz {

void ResetCoverage() {
  memset(current, 0, sizeof current);
  previous = 0;
}

bool ReachedNew() {
  const size_t before = seenCount;
  for (size_t i = 0; i < kEdges; ++i) {
    if (current[i] == 0 || seen[i] != 0) continue;
    seen[i] = 1;
    ++seenCount;
  }
  return seenCount > before;
}

size_t EdgesReached() { return seenCount; }

}  // namespace clove::fuzz
