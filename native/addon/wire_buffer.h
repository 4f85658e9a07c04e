// Bytes that come in at the back and go out at the front; copying stays linear, and a burst's memory is given back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace clove::wire {

class ByteQueue {
 public:
  size_t Size() const { return bytes_.size() - start_; }
  bool Empty() const { return Size() == 0; }
  uint8_t* Data() { return reinterpret_cast<uint8_t*>(bytes_.data()) + start_; }

  void Append(const uint8_t* data, size_t size) { bytes_.append(reinterpret_cast<const char*>(data), size); }
  /// Forgets the first `size` bytes.
  void Drop(size_t size) {
    start_ += size;
    if (Empty()) {
      Clear();
    } else if (start_ > bytes_.size() / 2) {
      bytes_.erase(0, start_);
      start_ = 0;
    }
  }
  void Clear() {
    start_ = 0;
    if (bytes_.capacity() > kKeptCapacity) {
      std::string().swap(bytes_);
    } else {
      bytes_.clear();
    }
  }

 private:
  static constexpr size_t kKeptCapacity = 64 << 10;

  std::string bytes_;
  size_t start_ = 0;
};

}  // namespace clove::wire
