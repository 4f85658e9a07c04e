#include "wire_json_guard.h"

#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace clove::wire {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101ull;
constexpr uint64_t kHighs = 0x8080808080808080ull;
/// Up to here the keys of an object are compared one by one; beyond, a hash table is used.
constexpr uint32_t kLinearKeys = 8;
constexpr size_t kTableKeptEntries = 4096;

__extension__ typedef unsigned __int128 uint128;

uint64_t Mix(uint64_t a, uint64_t b) {
  uint128 product = static_cast<uint128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

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

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool SameText(const char* a, const char* b, size_t size) { return size == 0 || memcmp(a, b, size) == 0; }

/// A forbidden key of exactly this size, or null.
bool IsPrototypeKey(const char* text, uint32_t size) {
  if (size == 9) return memcmp(text, "__proto__", 9) == 0 || memcmp(text, "prototype", 9) == 0;
  return size == 11 && memcmp(text, "constructor", 11) == 0;
}

bool ValidUtf8(const char* p, const char* end) {
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

bool JsonGuard::Check(const char* data, size_t size) {
  begin_ = p_ = data;
  end_ = data + size;
  ascii_ = true;
  nodes_ = depth_ = objects_ = 0;
  keys_.clear();
  decoded_.clear();
  tableUsed_ = 0;
  ++document_;
  if (size == 0) return true;
  bool ok = true;
  for (bool more = true; ok && more;) ok = Value() && AfterValue(&more);
  if (table_.size() > kTableKeptEntries) std::vector<Entry>().swap(table_);
  if (decoded_.capacity() > kTableKeptEntries) std::string().swap(decoded_);
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
    const bool isObject = levels_[depth_ - 1].isObject;
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
  levels_[depth_++] = {isObject, ++objects_, static_cast<uint32_t>(keys_.size())};
  SkipSpace();
  if (p_ < end_ && *p_ == (isObject ? '}' : ']')) {
    ++p_;
    CloseContainer();
    *closed = true;
    return true;
  }
  return !isObject || MemberKey();
}

void JsonGuard::CloseContainer() { keys_.resize(levels_[--depth_].firstKey); }

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
  if (!decode) return true;
  if (code < 0x80) {
    decoded_.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    decoded_.push_back(static_cast<char>(0xC0 | code >> 6));
    decoded_.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    decoded_.push_back(static_cast<char>(0xE0 | code >> 12));
    decoded_.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    decoded_.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    decoded_.push_back(static_cast<char>(0xF0 | code >> 18));
    decoded_.push_back(static_cast<char>(0x80 | (code >> 12 & 0x3F)));
    decoded_.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    decoded_.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
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

uint64_t JsonGuard::Hash(const char* text, size_t size) const {
  uint64_t hash = seed_ ^ size;
  while (size >= 8) {
    uint64_t word;
    memcpy(&word, text, sizeof word);
    hash = Mix(hash ^ word, seed_ | 0x9E3779B97F4A7C15ull);
    text += 8;
    size -= 8;
  }
  uint64_t tail = 0;
  if (size > 0) memcpy(&tail, text, size);
  return Mix(hash ^ tail, (seed_ >> 7) | 0xD6E8FEB86659FD93ull) + hash;
}

bool JsonGuard::AddKey(const char* text, uint32_t size) {
  if (IsPrototypeKey(text, size)) return Refuse("forbidden key");
  const Level& level = levels_[depth_ - 1];
  const Key key = {text, size, Hash(text, size)};
  const uint32_t count = static_cast<uint32_t>(keys_.size()) - level.firstKey;
  bool fresh = true;
  if (count < kLinearKeys) {
    for (uint32_t i = level.firstKey; i < keys_.size() && fresh; ++i) {
      fresh = keys_[i].hash != key.hash || keys_[i].size != size || !SameText(keys_[i].text, text, size);
    }
  } else {
    if (count == kLinearKeys) {
      for (uint32_t i = level.firstKey; i < keys_.size(); ++i) InsertIntoTable(keys_[i], level.object);
    }
    fresh = InsertIntoTable(key, level.object);
  }
  if (!fresh) return Refuse("duplicate key");
  keys_.push_back(key);
  return true;
}

/// False when the object has this key already.
bool JsonGuard::InsertIntoTable(const Key& key, uint32_t object) {
  if ((tableUsed_ + 1) * 2 > table_.size()) GrowTable();
  const size_t mask = table_.size() - 1;
  const uint64_t hash = Mix(key.hash ^ object, 0x9E3779B97F4A7C15ull);
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    Entry& entry = table_[i];
    if (entry.document != document_) {
      entry = {document_, hash, key.text, key.size, object};
      ++tableUsed_;
      return true;
    }
    if (entry.hash == hash && entry.object == object && entry.size == key.size &&
        SameText(entry.text, key.text, key.size)) {
      return false;
    }
  }
}

void JsonGuard::GrowTable() {
  std::vector<Entry> old = std::move(table_);
  table_.assign(old.empty() ? 64 : old.size() * 2, Entry{});
  const size_t mask = table_.size() - 1;
  for (const Entry& entry : old) {
    if (entry.document != document_) continue;
    size_t i = entry.hash & mask;
    while (table_[i].document == document_) i = (i + 1) & mask;
    table_[i] = entry;
  }
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
