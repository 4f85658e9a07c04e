#include "wire_json_keys.h"

#include <cstring>
#include <utility>

namespace clove::wire {

namespace {

/// Up to here the keys of an object are compared one by one; beyond, the table is used.
constexpr size_t kLinearKeys = 8;
/// A table that grew beyond this for one document is given back.
constexpr size_t kKeptEntries = 4096;
constexpr uint64_t kOdd = 0x9E3779B97F4A7C15ull;

__extension__ typedef unsigned __int128 uint128;

uint64_t Mix(uint64_t a, uint64_t b) {
  const uint128 product = static_cast<uint128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

bool SameText(const char* a, const char* b, size_t size) { return size == 0 || memcmp(a, b, size) == 0; }

}  // namespace

void JsonKeys::StartDocument() {
  ++document_;
  lastObject_ = 0;
  objects_.clear();
  keys_.clear();
  tableUsed_ = 0;
}

void JsonKeys::EndDocument() {
  if (table_.size() > kKeptEntries) std::vector<Entry>().swap(table_);
  if (keys_.capacity() > kKeptEntries) std::vector<Key>().swap(keys_);
}

void JsonKeys::OpenObject() { objects_.push_back({++lastObject_, static_cast<uint32_t>(keys_.size())}); }

void JsonKeys::CloseObject() {
  keys_.resize(objects_.back().firstKey);
  objects_.pop_back();
}

bool JsonKeys::Add(const char* text, uint32_t size) {
  const auto [object, firstKey] = objects_.back();
  const Key key = {text, size, Hash(text, size)};
  const size_t count = keys_.size() - firstKey;
  if (count < kLinearKeys) {
    for (size_t i = firstKey; i < keys_.size(); ++i) {
      if (keys_[i].hash == key.hash && keys_[i].size == size && SameText(keys_[i].text, text, size)) return false;
    }
  } else {
    if (count == kLinearKeys) {
      for (size_t i = firstKey; i < keys_.size(); ++i) Insert(keys_[i], object);
    }
    if (!Insert(key, object)) return false;
  }
  keys_.push_back(key);
  return true;
}

bool JsonKeys::Insert(const Key& key, uint32_t object) {
  if ((tableUsed_ + 1) * 2 > table_.size()) Grow();
  const size_t mask = table_.size() - 1;
  const uint64_t hash = Mix(key.hash ^ object, kOdd);
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

void JsonKeys::Grow() {
  const std::vector<Entry> old = std::move(table_);
  table_.assign(old.empty() ? 64 : old.size() * 2, Entry{});
  const size_t mask = table_.size() - 1;
  for (const Entry& entry : old) {
    if (entry.document != document_) continue;
    size_t i = entry.hash & mask;
    while (table_[i].document == document_) i = (i + 1) & mask;
    table_[i] = entry;
  }
}

uint64_t JsonKeys::Hash(const char* text, size_t size) const {
  uint64_t hash = seed_ ^ size;
  while (size >= 8) {
    uint64_t word;
    memcpy(&word, text, sizeof word);
    hash = Mix(hash ^ word, seed_ | kOdd);
    text += 8;
    size -= 8;
  }
  uint64_t tail = 0;
  if (size > 0) memcpy(&tail, text, size);
  return Mix(hash ^ tail, (seed_ >> 7) | 0xD6E8FEB86659FD93ull) + hash;
}

}  // namespace clove::wire
