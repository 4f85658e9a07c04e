// Decides in one pass, before JavaScript sees it, whether a payload is JSON that is safe to hand to JSON.parse:
// well-formed, valid UTF-8, shallow, small, without keys that are ambiguous or that touch prototypes.
// No dependency on Node, so that it can be fuzzed alone.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace clove::wire {

constexpr uint32_t kJsonMaxDepth = 64;
/// Values of any kind, containers included, keys not.
constexpr uint32_t kJsonMaxNodes = 100'000;

class JsonGuard {
 public:
  /// `seed` keys the hash of object keys: random per process, so that nobody can send keys that collide.
  explicit JsonGuard(uint64_t seed) : seed_(seed) {}

  /// True: empty, or safe JSON. False: reason() says why not.
  bool Check(const char* data, size_t size);
  const char* Reason() const { return reason_; }
  /// Whether the payload accepted last has only bytes below 0x80.
  bool Ascii() const { return ascii_; }

 private:
  struct Key {
    const char* text;
    uint32_t size;
    uint64_t hash;
  };
  struct Level {
    bool isObject;
    uint32_t object;
    uint32_t firstKey;
  };
  struct Entry {
    uint64_t document;
    uint64_t hash;
    const char* text;
    uint32_t size;
    uint32_t object;
  };

  void SkipSpace();
  bool Value();
  bool AfterValue(bool* more);
  bool OpenContainer(bool isObject, bool* closed);
  void CloseContainer();
  bool MemberKey();
  bool String(const char** text, uint32_t* size, bool decode);
  bool Escape(bool decode);
  bool Hex4(uint32_t* unit);
  bool Multibyte(bool decode);
  bool Number();
  bool Literal(const char* word, size_t size);
  bool AddKey(const char* text, uint32_t size);
  bool InsertIntoTable(const Key& key, uint32_t object);
  void GrowTable();
  uint64_t Hash(const char* text, size_t size) const;

  bool Syntax(const char* what);
  bool Refuse(const char* what);

  uint64_t seed_;
  const char* begin_ = nullptr;
  const char* p_ = nullptr;
  const char* end_ = nullptr;
  bool ascii_ = true;
  uint32_t nodes_ = 0;
  uint32_t depth_ = 0;
  uint32_t objects_ = 0;
  Level levels_[kJsonMaxDepth] = {};
  std::vector<Key> keys_;
  /// Keys that had escapes, decoded. Reserved once per document, so that pointers into it stay good.
  std::string decoded_;
  /// Open-addressing set of the keys of large objects. An entry of an earlier document counts as free.
  std::vector<Entry> table_;
  size_t tableUsed_ = 0;
  uint64_t document_ = 0;
  char reason_[96] = {};
};

/// Length of the valid UTF-8 sequence at p (first byte ≥ 0x80): 2, 3 or 4; 0 when overlong, surrogate, cut or > U+10FFFF.
size_t Utf8SequenceBytes(const char* p, const char* end);

}  // namespace clove::wire
