// How a thread waits so that the coordinator can end the wait when time jumps: the slot that tells of it, and the futexes slept on. Shared
// by the library and clove-start, hence neither a C library nor memory of its own.
#pragma once
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "moments.h"
#include "page.h"
#include "raw.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace clove::clock {

// --- Each has its own.
/** The slot of this thread; null when there is none to be had (then waits are seen by the coordinator as work). */
Slot* OwnSlot();
/** The agent's. Only with a world. */
Bell& AgentBell();
/** True once for every wake signal that this thread has received. */
bool TakeWake();

/** What a thread says of itself in its slot while it waits. */
class SlotWait {
 public:
  SlotWait(const SlotWait&) = delete;
  SlotWait& operator=(const SlotWait&) = delete;
  /** Word that changes when the coordinator wakes this thread; null without a slot. */
  std::atomic<uint32_t>* word() const { return slot_ == nullptr ? nullptr : &slot_->word; }

 protected:
  explicit SlotWait(Slot* slot) : slot_(slot) {}
  // The rest only with a slot.
  void Begin(uint32_t kind, int64_t deadline) {
    // In a signal handler that interrupted a wait.
    isNested_ = (slot_->state.load(std::memory_order_relaxed) & 1) != 0;
    outerKind_ = slot_->kind.load(std::memory_order_relaxed);
    outerDeadline_ = slot_->deadline.load(std::memory_order_relaxed);
    Publish(kind, deadline);
  }
  void End() {
    if (isNested_) Publish(outerKind_, outerDeadline_);
    else slot_->state.store((slot_->state.load(std::memory_order_relaxed) | 1) + 1, std::memory_order_release);
  }
  void Publish(uint32_t kind, int64_t deadline) {
    slot_->kind.store(kind, std::memory_order_relaxed);
    slot_->deadline.store(deadline, std::memory_order_relaxed);
    // Ordered against the look at the bell: one of the two sides sees the other.
    slot_->state.exchange((slot_->state.load(std::memory_order_relaxed) + 1) | 1, std::memory_order_seq_cst);
    Bell& bell = AgentBell();
    if (bell.armed.load(std::memory_order_seq_cst) != 0 && bell.armed.exchange(0) != 0) {
      bell.word.fetch_add(1);
      SystemCall(SYS_futex, Value(&bell.word), FUTEX_WAKE, 1);
    }
  }
  bool hasSlot() const { return slot_ != nullptr; }
  bool isNested() const { return isNested_; }

 private:
  Slot* slot_;
  uint32_t outerKind_ = 0;
  int64_t outerDeadline_ = 0;
  bool isNested_ = false;
};

/** One word of futex_waitv: as in <linux/futex.h> of 5.16, which older headers do not have. */
struct WaitedWord {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
inline constexpr uint32_t kWord32 = 2, kPrivate = 128;

/** Whether this kernel waits on two words at once: the program's and that of the slot. */
inline bool HasWaitv() {
  static std::atomic<int> known{0};
  int now = known.load(std::memory_order_relaxed);
  if (now == 0) {
    now = SystemCall(SYS_futex_waitv, 0, 0, 0, 0, 0) == -ENOSYS ? -1 : 1;
    known.store(now, std::memory_order_relaxed);
  }
  return now > 0;
}

/** How a wait enters the kernel: SystemCall, or one that can be cancelled there. */
using Call = long (*)(long, long, long, long, long, long, long);

/** Sleeps until a virtual moment. 0, or -EINTR when a signal of the program's own arrived. */
template <typename Wait>
long SleepUntilBy(Call call, int64_t deadline) {
  Wait wait(kWaitWord, deadline);
  for (;;) {
    const uint32_t before = wait.word() == nullptr ? 0 : wait.word()->load();
    const int64_t remaining = RealUntil(deadline, wait.word() == nullptr ? kPollNs : kChunkNs);
    if (remaining <= 0) return 0;
    const timespec timeout = ToTimespec(remaining);
    const long result = wait.word() == nullptr ? call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, Value(&timeout), 0, 0, 0)
                                               : call(SYS_futex, Value(wait.word()), FUTEX_WAIT, before, Value(&timeout), 0, 0);
    if (result == -EINTR && !TakeWake()) return -EINTR;
  }
}

/**
 * Waits on a word of the program until it is not `expected` any more, somebody wakes it, or the virtual deadline.
 * 0, -EAGAIN, -EINTR, -ETIMEDOUT, or what the kernel has against the word.
 */
template <typename Wait>
long WaitOnWordBy(Call call, const void* word, uint32_t expected, bool isShared, int64_t deadline) {
  const auto* value = static_cast<const std::atomic<uint32_t>*>(word);
  const int operation = FUTEX_WAIT | (isShared ? 0 : FUTEX_PRIVATE_FLAG);
  const bool both = HasWaitv();
  Wait wait(both ? kWaitWord : kWaitChunk, deadline);
  for (;;) {
    const uint32_t before = wait.word() == nullptr ? 0 : wait.word()->load();
    if (value->load() != expected) return -EAGAIN;
    long result;
    if (deadline == kForever) {
      result = call(SYS_futex, Value(word), operation, expected, 0, 0, 0);
    } else if (both && wait.word() != nullptr) {
      const int64_t remaining = RealUntil(deadline, kChunkNs);
      if (remaining <= 0) return -ETIMEDOUT;
      const WaitedWord words[2] = {{expected, reinterpret_cast<uint64_t>(word), kWord32 | (isShared ? 0 : kPrivate), 0},
                                   {before, reinterpret_cast<uint64_t>(wait.word()), kWord32, 0}};
      const timespec until = ToTimespec(RealMonotonic() + remaining);
      result = call(SYS_futex_waitv, Value(words), 2, 0, Value(&until), CLOCK_MONOTONIC, 0);
      if (result == 1) continue;  // the slot's word: time has moved
    } else {
      const int64_t remaining = RealUntil(deadline, kPollNs);
      if (remaining <= 0) return -ETIMEDOUT;
      const timespec timeout = ToTimespec(remaining);
      result = call(SYS_futex, Value(word), operation, expected, Value(&timeout), 0, 0);
    }
    if (result >= 0) return 0;
    if (result == -EINTR && !TakeWake()) return -EINTR;
    if (result != -EINTR && result != -EAGAIN && result != -ETIMEDOUT) return result;
  }
}

/**
 * Repeats a call that takes a real time-out, in small pieces, until the virtual deadline: it is told how long it may take, and `isOver`
 * whether an answer says that this has passed.
 */
template <typename Wait, typename IsOver, typename Attempt>
auto RepeatUntil(int64_t deadline, IsOver&& isOver, Attempt&& attempt) {
  Wait wait(kWaitChunk, deadline);
  for (;;) {
    const int64_t remaining = RealUntil(deadline, kPollNs);
    const auto result = attempt(remaining);
    if (!isOver(result) || remaining <= 0) return result;
  }
}

/** Until when FUTEX_WAIT and FUTEX_WAIT_BITSET wait. */
inline int64_t FutexDeadline(int operation, const timespec& timeout) {
  if ((operation & FUTEX_CMD_MASK) == FUTEX_WAIT) return AddNs(VirtualMonotonic(), ToNsClamped(timeout));
  int64_t deadline;
  ToDeadline((operation & FUTEX_CLOCK_REALTIME) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC, timeout, &deadline);
  return deadline;
}
/** Whether a futex is waited for whoever wakes it. */
inline bool WaitsForAnybody(int operation, uint32_t bits) { return (operation & FUTEX_CMD_MASK) == FUTEX_WAIT || bits == FUTEX_BITSET_MATCH_ANY; }

/** FUTEX_WAIT_BITSET for some only. Of two words at once only whole ones can be waited for: this one is looked at now and then. */
template <typename Wait>
long WaitOnBits(const void* word, int operation, uint32_t expected, long word2, uint32_t bits, int64_t deadline) {
  return RepeatUntil<Wait>(deadline, [](long result) { return result == -ETIMEDOUT; }, [=](int64_t ns) {
    const timespec until = ToTimespec(RealMonotonic() + ns);
    return SystemCall(SYS_futex, Value(word), (operation & FUTEX_PRIVATE_FLAG) | FUTEX_WAIT_BITSET, expected, Value(&until), word2, bits);
  });
}

}  // namespace clove::clock
