#include "wire_utf8.h"

namespace clove::wire {

namespace {

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

}  // namespace

size_t Utf8SequenceBytes(const char* text, const char* end) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(text);
  const size_t left = static_cast<size_t>(end - text);
  const uint8_t first = p[0];
  if (first < 0xC2) return 0;
  if (first < 0xE0) return left >= 2 && IsContinuation(text[1]) ? 2 : 0;
  if (first < 0xF0) {
    if (left < 3 || !IsContinuation(text[1]) || !IsContinuation(text[2])) return 0;
    if (first == 0xE0 && p[1] < 0xA0) return 0;
    if (first == 0xED && p[1] > 0x9F) return 0;
    return 3;
  }
  if (first > 0xF4 || left < 4) return 0;
  if (!IsContinuation(text[1]) || !IsContinuation(text[2]) || !IsContinuation(text[3])) return 0;
  if (first == 0xF0 && p[1] < 0x90) return 0;
  if (first == 0xF4 && p[1] > 0x8F) return 0;
  return 4;
}

bool ValidUtf8(const char* text, const char* end) {
  const char* p = text;
  while (p < end) {
    if (static_cast<uint8_t>(*p) < 0x80) {
      ++p;
      continue;
    }
    size_t bytes = Utf8SequenceBytes(p, end);
    if (bytes == 0) return false;
    p += bytes;
  }
  return true;
}

void AppendUtf8(std::string* to, uint32_t code) {
  const auto tail = [to, code](int shift) { to->push_back(static_cast<char>(0x80 | (code >> shift & 0x3F))); };
  if (code < 0x80) {
    to->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    to->push_back(static_cast<char>(0xC0 | code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    to->push_back(static_cast<char>(0xE0 | code >> 12));
    tail(6);
    tail(0);
  } else {
    to->push_back(static_cast<char>(0xF0 | code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace clove::wire
