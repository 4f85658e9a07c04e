#include "wire_json_guard.h"

#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "wire_utf8.h"

namespace clove::wire {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101ull;
constexpr uint64_t kHighs = 0x8080808080808080ull;
/// Capacity of a buffer that is kept for the next document.
constexpr size_t kKeptBytes = 4096;

/// Bytes that end the fast path of a string: `"`, `\`, control characters, anything ≥ 0x80. The lowest mark is exact.
uint64_t SpecialBytes(uint64_t word) {
  uint64_t quote = word ^ (kOnes * '"');
  uint64_t backslash = word ^ (kOnes * '\\');
  uint64_t marks = word;
  marks |= (word - kOnes * 0x20) & ~word;
  marks |= (quote - kOnes) & ~quote;
  marks |= (backslash - kOnes) & ~backslash;
  return marks & kHighs;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsPrototypeKey(const char* text, uint32_t size) {
  if (size == 9) return memcmp(text, "__proto__", 9) == 0 || memcmp(text, "prototype", 9) == 0;
  return size == 11 && memcmp(text, "constructor", 11) == 0;
}

/// Whether a number that from_chars found out of range is too large (else it is too small, which is a harmless 0).
bool TooLarge(const char* p, const char* end) {
  constexpr int64_t kSaturated = 1'000'000'000;
  if (p < end && *p == '-') ++p;
  int64_t magnitude = 0;
  bool significant = false;
  for (; p < end && IsDigit(*p); ++p) {
    significant = significant || *p != '0';
    if (significant) ++magnitude;
  }
  if (p < end && *p == '.') {
    for (++p; p < end && IsDigit(*p); ++p) {
      significant = significant || *p != '0';
      if (!significant) --magnitude;
    }
  }
  int64_t exponent = 0;
  if (p < end) {
    ++p;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') ++p;
    for (; p < end; ++p) exponent = exponent > kSaturated ? exponent : exponent * 10 + (*p - '0');
    if (negative) exponent = -exponent;
  }
  return significant && magnitude + exponent > 0;
}

}  // namespace

bool JsonGuard::Check(const char* data, size_t size) {
  begin_ = p_ = data;
  end_ = data + size;
  ascii_ = true;
  nodes_ = depth_ = 0;
  keys_.StartDocument();
  decoded_.clear();
  if (size == 0) return true;
  bool ok = true;
  for (bool more = true; ok && more;) ok = Value() && AfterValue(&more);
  keys_.EndDocument();
  if (decoded_.capacity() > kKeptBytes) std::string().swap(decoded_);
  return ok;
}

void JsonGuard::SkipSpace() {
  while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
}

/// Reads one value; a container only up to its first member, whose value is then the next to read.
bool JsonGuard::Value() {
  for (;;) {
    SkipSpace();
    if (p_ == end_) return Syntax("unexpected end");
    if (++nodes_ > kJsonMaxNodes) return Refuse("JSON has more than 100000 values");
    const char c = *p_;
    if (c == '{' || c == '[') {
      bool closed = false;
      if (!OpenContainer(c == '{', &closed)) return false;
      if (closed) return true;
      continue;
    }
    const char* text;
    uint32_t size;
    if (c == '"') return String(&text, &size, false);
    if (c == '-' || IsDigit(c)) return Number();
    if (c == 't') return Literal("true", 4);
    if (c == 'f') return Literal("false", 5);
    if (c == 'n') return Literal("null", 4);
    return Syntax("unexpected character");
  }
}

/// Closes what ends here and stands before the next value (`more`), or at the end of the document.
bool JsonGuard::AfterValue(bool* more) {
  for (;;) {
    SkipSpace();
    if (depth_ == 0) {
      *more = false;
      return p_ == end_ || Syntax("text after the value");
    }
    if (p_ == end_) return Syntax("unexpected end");
    const bool isObject = isObject_[depth_ - 1];
    const char c = *p_;
    if (c == ',') {
      ++p_;
      return !isObject || MemberKey();
    }
    if (c != (isObject ? '}' : ']')) return Syntax("expected a comma or the end of the container");
    ++p_;
    CloseContainer();
  }
}

bool JsonGuard::OpenContainer(bool isObject, bool* closed) {
  if (depth_ == kJsonMaxDepth) return Refuse("JSON is deeper than 64 levels");
  ++p_;
  isObject_[depth_++] = isObject;
  if (isObject) keys_.OpenObject();
  SkipSpace();
  if (p_ < end_ && *p_ == (isObject ? '}' : ']')) {
    ++p_;
    CloseContainer();
    *closed = true;
    return true;
  }
  return !isObject || MemberKey();
}

void JsonGuard::CloseContainer() {
  if (isObject_[--depth_]) keys_.CloseObject();
}

bool JsonGuard::MemberKey() {
  SkipSpace();
  if (p_ == end_) return Syntax("unexpected end");
  if (*p_ != '"') return Syntax("expected a key");
  const char* text;
  uint32_t size;
  if (!String(&text, &size, true) || !AddKey(text, size)) return false;
  SkipSpace();
  if (p_ == end_) return Syntax("unexpected end");
  if (*p_ != ':') return Syntax("expected a colon");
  ++p_;
  return true;
}

/// `decode`: text is the decoded string (else it is left as it stands in the payload and not to be used).
bool JsonGuard::String(const char** text, uint32_t* size, bool decode) {
  const char* start = ++p_;
  bool decoding = false;
  size_t decodedStart = 0;
  for (;;) {
    const char* run = p_;
    while (end_ - p_ >= 8) {
      uint64_t word;
      memcpy(&word, p_, sizeof word);
      const uint64_t marks = SpecialBytes(word);
      if (marks != 0) {
        p_ += std::countr_zero(marks) >> 3;
        break;
      }
      p_ += 8;
    }
    while (p_ < end_ && *p_ != '"' && *p_ != '\\' && static_cast<uint8_t>(*p_ - 0x20) < 0x60) ++p_;
    if (decoding) decoded_.append(run, static_cast<size_t>(p_ - run));
    if (p_ == end_) return Syntax("unterminated string");
    const char c = *p_;
    if (c == '"') break;
    if (c == '\\') {
      if (decode && !decoding) {
        decoding = true;
        decoded_.reserve(static_cast<size_t>(end_ - begin_));
        decodedStart = decoded_.size();
        decoded_.append(start, static_cast<size_t>(p_ - start));
      }
      if (!Escape(decoding)) return false;
    } else if (static_cast<uint8_t>(c) >= 0x80) {
      if (!Multibyte(decoding)) return false;
    } else {
      return Syntax("control character in a string");
    }
  }
  *text = decoding ? decoded_.data() + decodedStart : start;
  *size = static_cast<uint32_t>(decoding ? decoded_.size() - decodedStart : static_cast<size_t>(p_ - start));
  ++p_;
  return true;
}

/// All sequences that follow each other: text in most scripts is little else.
bool JsonGuard::Multibyte(bool decode) {
  const char* start = p_;
  do {
    const size_t bytes = Utf8SequenceBytes(p_, end_);
    if (bytes == 0) return Syntax("invalid byte");
    p_ += bytes;
  } while (p_ < end_ && static_cast<uint8_t>(*p_) >= 0x80);
  if (decode) decoded_.append(start, static_cast<size_t>(p_ - start));
  ascii_ = false;
  return true;
}

bool JsonGuard::Hex4(uint32_t* unit) {
  if (end_ - p_ < 4) return Syntax("unterminated string");
  *unit = 0;
  for (int i = 0; i < 4; ++i, ++p_) {
    const char c = *p_;
    uint32_t digit;
    if (IsDigit(c)) {
      digit = static_cast<uint32_t>(c - '0');
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      digit = static_cast<uint32_t>((c | 0x20) - 'a' + 10);
    } else {
      return Syntax("bad \\u escape");
    }
    *unit = *unit << 4 | digit;
  }
  return true;
}

bool JsonGuard::Escape(bool decode) {
  ++p_;
  if (p_ == end_) return Syntax("unterminated string");
  const char c = *p_++;
  char plain = 0;
  switch (c) {
    case '"': case '\\': case '/': plain = c; break;
    case 'b': plain = '\b'; break;
    case 'f': plain = '\f'; break;
    case 'n': plain = '\n'; break;
    case 'r': plain = '\r'; break;
    case 't': plain = '\t'; break;
    case 'u': break;
    default: --p_; return Syntax("bad escape");
  }
  if (c != 'u') {
    if (decode) decoded_.push_back(plain);
    return true;
  }
  uint32_t code;
  if (!Hex4(&code)) return false;
  if (code >= 0xD800 && code <= 0xDFFF) {
    uint32_t low = 0;
    if (code >= 0xDC00 || end_ - p_ < 2 || p_[0] != '\\' || p_[1] != 'u') return Refuse("lone surrogate");
    p_ += 2;
    if (!Hex4(&low)) return false;
    if (low < 0xDC00 || low > 0xDFFF) return Refuse("lone surrogate");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  if (decode) AppendUtf8(&decoded_, code);
  return true;
}

bool JsonGuard::Number() {
  /// Below this many digits and without an exponent nothing can overflow.
  constexpr ptrdiff_t kSafeDigits = 300;
  const char* start = p_;
  if (*p_ == '-') ++p_;
  if (p_ == end_ || !IsDigit(*p_)) return Syntax("bad number");
  const char* digits = p_;
  if (*p_ == '0') {
    ++p_;
  } else {
    while (p_ < end_ && IsDigit(*p_)) ++p_;
  }
  bool mayOverflow = p_ - digits > kSafeDigits;
  if (p_ < end_ && *p_ == '.') {
    ++p_;
    if (p_ == end_ || !IsDigit(*p_)) return Syntax("bad number");
    while (p_ < end_ && IsDigit(*p_)) ++p_;
  }
  if (p_ < end_ && (*p_ == 'e' || *p_ == 'E')) {
    mayOverflow = true;
    ++p_;
    if (p_ < end_ && (*p_ == '+' || *p_ == '-')) ++p_;
    if (p_ == end_ || !IsDigit(*p_)) return Syntax("bad number");
    while (p_ < end_ && IsDigit(*p_)) ++p_;
  }
  if (!mayOverflow) return true;
  double value = 0;
  const auto [parsed, error] = std::from_chars(start, p_, value);
  if (error == std::errc::result_out_of_range && TooLarge(start, p_)) return Refuse("number overflows");
  return true;
}

bool JsonGuard::Literal(const char* word, size_t size) {
  if (static_cast<size_t>(end_ - p_) < size || memcmp(p_, word, size) != 0) return Syntax("unexpected character");
  p_ += size;
  return true;
}

bool JsonGuard::AddKey(const char* text, uint32_t size) {
  if (IsPrototypeKey(text, size)) return Refuse("forbidden key");
  return keys_.Add(text, size) || Refuse("duplicate key");
}

/// Bytes that are no text at all are told as such, wherever the grammar happened to fail.
bool JsonGuard::Syntax(const char* what) {
  if (!ValidUtf8(begin_, end_)) {
    snprintf(reason_, sizeof reason_, "invalid UTF-8");
  } else {
    snprintf(reason_, sizeof reason_, "invalid JSON: %s at byte %zu", what, static_cast<size_t>(p_ - begin_));
  }
  return false;
}

bool JsonGuard::Refuse(const char* what) {
  snprintf(reason_, sizeof reason_, "%s at byte %zu", what, static_cast<size_t>(p_ - begin_));
  return false;
}

}  // namespace clove::wire
