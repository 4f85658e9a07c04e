// How a thread waits so that the coordinator can end the wait when time jumps.
#include <linux/futex.h>
#include <pthread.h>

#include "library.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace clove::clock {

namespace {

/** One word of futex_waitv: as in <linux/futex.h> of 5.16, which older headers do not have. */
struct WaitedWord {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
constexpr uint32_t kWord32 = 2, kPrivate = 128;

/** Whether this kernel waits on two words at once: the program's and that of the slot. */
bool HasWaitv() {
  static std::atomic<int> known{0};
  int now = known.load(std::memory_order_relaxed);
  if (now == 0) {
    now = SystemCall(SYS_futex_waitv, 0, 0, 0, 0, 0) == -ENOSYS ? -1 : 1;
    known.store(now, std::memory_order_relaxed);
  }
  return now > 0;
}

}  // namespace

long CancellableSystemCall(long number, long a, long b, long c, long d, long e, long f) {
  int before;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
  const long result = SystemCall(number, a, b, c, d, e, f);
  pthread_setcanceltype(before, nullptr);
  return result;
}

int SleepUntil(int64_t deadline) {
  Wait wait(kWaitWord, deadline);
  for (;;) {
    const uint32_t before = wait.word() == nullptr ? 0 : wait.word()->load();
    const int64_t remaining = RealUntil(deadline, wait.word() == nullptr ? kPollNs : kChunkNs);
    if (remaining <= 0) return 0;
    timespec timeout = ToTimespec(remaining);
    const long result = wait.word() == nullptr
                            ? CancellableSystemCall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, Value(&timeout), 0)
                            : CancellableSystemCall(SYS_futex, Value(wait.word()), FUTEX_WAIT, before, Value(&timeout));
    if (result == -EINTR && !TakeWake()) return EINTR;
  }
}

int WakeWord(const void* word, int count, bool isShared) {
  return static_cast<int>(SystemCall(SYS_futex, Value(word), FUTEX_WAKE | (isShared ? 0 : FUTEX_PRIVATE_FLAG), count));
}

int WaitOnWord(const void* word, uint32_t expected, bool isShared, int64_t deadline, bool cancellable) {
  const auto call = cancellable ? CancellableSystemCall : SystemCall;
  const auto* value = static_cast<const std::atomic<uint32_t>*>(word);
  const bool both = HasWaitv();
  Wait wait(both ? kWaitWord : kWaitChunk, deadline);
  for (;;) {
    const uint32_t before = wait.word() == nullptr ? 0 : wait.word()->load();
    if (value->load() != expected) return EAGAIN;
    long result;
    if (deadline == kForever) {
      result = call(SYS_futex, Value(word), FUTEX_WAIT | (isShared ? 0 : FUTEX_PRIVATE_FLAG), expected, 0, 0, 0);
    } else if (both && wait.word() != nullptr) {
      const int64_t remaining = RealUntil(deadline, kChunkNs);
      if (remaining <= 0) return ETIMEDOUT;
      WaitedWord words[2] = {{expected, reinterpret_cast<uint64_t>(word), kWord32 | (isShared ? 0 : kPrivate), 0},
                             {before, reinterpret_cast<uint64_t>(wait.word()), kWord32, 0}};
      timespec until = ToTimespec(RealMonotonic() + remaining);
      result = call(SYS_futex_waitv, Value(words), 2, 0, Value(&until), CLOCK_MONOTONIC, 0);
      if (result == 1) continue;  // the slot's word: time has moved
    } else {
      const int64_t remaining = RealUntil(deadline, kPollNs);
      if (remaining <= 0) return ETIMEDOUT;
      timespec timeout = ToTimespec(remaining);
      result = call(SYS_futex, Value(word), FUTEX_WAIT | (isShared ? 0 : FUTEX_PRIVATE_FLAG), expected, Value(&timeout), 0, 0);
    }
    if (result >= 0) return 0;
    if (result == -EINTR && !TakeWake()) return EINTR;
    if (result != -EINTR && result != -EAGAIN && result != -ETIMEDOUT) return static_cast<int>(-result);
  }
}

}  // namespace clove::clock
