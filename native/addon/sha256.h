// SHA-256 (FIPS 180-4) of memory in one piece, with the processor's own instructions where it has them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace clove {

/** Writes the 64 characters of the hash, in hex, without an end mark. */
void Sha256Hex(const uint8_t* data, size_t length, char* hex);

/** Whether this processor has instructions for it; `usePortable` takes the other way (tests). */
bool HasShaInstructions();
void Sha256HexPortable(const uint8_t* data, size_t length, char* hex);

}  // namespace clove
