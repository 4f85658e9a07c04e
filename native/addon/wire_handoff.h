// The way from the wire thread to JavaScript: events are gathered during one turn of the loop and published together,
// and JavaScript is called once, however much has been published until it comes.
#pragma once
#include <atomic>
#include <mutex>
#include <string_view>

#include "wire_types.h"

namespace clove::wire {

class Handoff {
 public:
  using Notify = void (*)(void* context);

  Handoff(uint64_t maxBytes, Notify notify, void* context) : maxBytes_(maxBytes), notify_(notify), context_(context) {}

  // Wire thread.
  void Open(const OpenEvent& event) { local_.opens.push_back(event); }
  void Request(RequestEvent event, std::string_view text);
  void Close(uint32_t connection) { local_.closes.push_back(connection); }
  void Publish();
  bool HasRoom() const { return bytes_.load() < maxBytes_; }
  /// Counts the takings: what was handed over in an earlier epoch is no longer waiting.
  uint64_t Epoch() const { return epoch_.load(); }
  /// Some connection waits for room or for the next epoch: the next Take() has to wake the wire thread.
  void WaitForRoom() { waiting_.store(true); }

  // JavaScript's thread. Returns whether the wire thread waits for the room that this has made.
  bool Take(Batch* batch);

 private:
  /// What a request costs beside its text.
  static constexpr uint64_t kRequestOverhead = 64;

  const uint64_t maxBytes_;
  const Notify notify_;
  void* const context_;
  Batch local_;
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> epoch_{0};
  std::atomic<bool> waiting_{false};
  std::mutex mutex_;
  /// Guarded by mutex_.
  Batch shared_;
  bool notified_ = false;
};

}  // namespace clove::wire
