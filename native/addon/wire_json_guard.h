// Decides in one pass, before JavaScript sees it, whether a payload is JSON that is safe to hand to JSON.parse:
// well-formed, valid UTF-8, shallow, small, without keys that are ambiguous or that touch prototypes.
// No dependency on Node, so that it can be fuzzed alone.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "wire_json_keys.h"

namespace clove::wire {

constexpr uint32_t kJsonMaxDepth = 64;
/// Values of any kind, containers included, keys not.
constexpr uint32_t kJsonMaxNodes = 100'000;

class JsonGuard {
 public:
  /// `seed` keys the hash of object keys: random per process, so that nobody can send keys that collide.
  explicit JsonGuard(uint64_t seed) : keys_(seed) {}

  /// True: empty, or safe JSON. False: reason() says why not.
  bool Check(const char* data, size_t size);
  const char* Reason() const { return reason_; }
  /// Whether the payload accepted last has only bytes below 0x80.
  bool Ascii() const { return ascii_; }

 private:
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

  bool Syntax(const char* what);
  bool Refuse(const char* what);

  JsonKeys keys_;
  const char* begin_ = nullptr;
  const char* p_ = nullptr;
  const char* end_ = nullptr;
  bool ascii_ = true;
  uint32_t nodes_ = 0;
  uint32_t depth_ = 0;
  bool isObject_[kJsonMaxDepth] = {};
  /// Keys that had escapes, decoded. Reserved once per document, so that pointers into it stay good.
  std::string decoded_;
  char reason_[96] = {};
};

}  // namespace clove::wire
