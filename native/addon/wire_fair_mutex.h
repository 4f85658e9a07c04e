// A mutex that two threads take in turns: whoever waits is next, however quickly the other comes back. An ordinary one
// would let the wire thread, which lets go for nanoseconds between two events, keep JavaScript waiting through a flood.
#pragma once
#include <mutex>

namespace clove::wire {

class FairMutex {
 public:
  void lock() {
    next_.lock();
    state_.lock();
    next_.unlock();
  }
  bool try_lock() { return state_.try_lock(); }
  void unlock() { state_.unlock(); }

 private:
  std::mutex next_;
  std::mutex state_;
};

}  // namespace clove::wire
