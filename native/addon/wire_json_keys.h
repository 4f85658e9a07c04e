// Finds keys that occur twice in one object, in constant time per key whatever a hostile document looks like.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace clove::wire {

class JsonKeys {
 public:
  /// `seed` keys the hash: random per process, so that nobody can send keys that collide.
  explicit JsonKeys(uint64_t seed) : seed_(seed) {}

  void StartDocument();
  void OpenObject();
  /// False when the innermost open object has this key already. The text must stay until EndDocument().
  bool Add(const char* text, uint32_t size);
  void CloseObject();
  void EndDocument();

 private:
  struct Key {
    const char* text;
    uint32_t size;
    uint64_t hash;
  };
  struct Object {
    uint32_t number;
    uint32_t firstKey;
  };
  struct Entry {
    uint64_t document;
    uint64_t hash;
    const char* text;
    uint32_t size;
    uint32_t object;
  };

  bool Insert(const Key& key, uint32_t object);
  void Grow();
  uint64_t Hash(const char* text, size_t size) const;

  const uint64_t seed_;
  uint64_t document_ = 0;
  uint32_t lastObject_ = 0;
  /// The open objects, innermost last, and their keys.
  std::vector<Object> objects_;
  std::vector<Key> keys_;
  /// Open-addressing set of the keys of large objects. An entry of an earlier document counts as free.
  std::vector<Entry> table_;
  size_t tableUsed_ = 0;
};

}  // namespace clove::wire
