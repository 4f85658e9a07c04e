// UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace clove::wire {

/// Length of the valid sequence at `text`, whose first byte is ≥ 0x80: 2, 3 or 4; 0 when there is none.
size_t Utf8SequenceBytes(const char* text, const char* end);

bool ValidUtf8(const char* text, const char* end);

/// `code` must be a Unicode scalar value.
void AppendUtf8(std::string* to, uint32_t code);

}  // namespace clove::wire
