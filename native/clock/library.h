// Shared by the parts of libclove_clock.so: the C library's own functions, the world's page, the slot of this thread.
#pragma once
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "moments.h"
#include "page.h"
#include "raw.h"
#include "waits.h"

// A function of ours under a name of the C library. The label keeps its prototype out of the way.
#define CLOVE_INTERPOSE(result, name, ...)                                                                     \
  extern "C" __attribute__((visibility("default"), used)) result clove_##name(__VA_ARGS__) __asm__(#name);     \
  extern "C" result clove_##name(__VA_ARGS__)

namespace clove::clock {

/** The next definition of a function: the C library's, or that of a library preloaded after this one. */
void* Next(const char* name);

template <typename Function>
class Real {
 public:
  explicit constexpr Real(const char* name) : name_(name) {}
  template <typename... Arguments>
  auto operator()(Arguments... arguments) {
    return get()(arguments...);
  }
  Function get() {
    auto* found = function_.load(std::memory_order_relaxed);
    if (found == nullptr) {
      found = reinterpret_cast<Function>(Next(name_));
      function_.store(found, std::memory_order_relaxed);
    }
    return found;
  }

 private:
  const char* name_;
  std::atomic<Function> function_{nullptr};
};
#define CLOVE_REAL(name, type) static constinit ::clove::clock::Real<type> real_##name(#name)

/** Maps the world's files on first use. Null: this process has no world clock, and everything is passed on. */
const Page* World();
bool HasWorld();

int RealClock(clockid_t clock, timespec* time);
/** A virtual moment as the kernel's own clock would have it, were nothing skipped until then. */
timespec ToKernelMoment(clockid_t clock, int64_t deadline);
/** A system call as a cancellation point: the result, or minus errno. */
long CancellableSystemCall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);
inline int Answer(long result) {
  if (result >= 0) return static_cast<int>(result);
  errno = static_cast<int>(-result);
  return -1;
}

void ReleaseSlot();
/** In a new process: its memory is a copy, its slot is not. */
void ForgetSlot();
void CountExternal(int change);
bool ConnectsOutside();

/** Whether this is a world in which one agent runs at a time. */
bool IsStrict();
/** In a strict world: lets everybody else have their turn. What was on its way to this process has arrived afterwards. */
void AwaitNextTurn();
/** In a strict world: fills a buffer from the agent's seed. False: not a strict world. */
bool FillSeeded(void* buffer, size_t size);

/** A wait, from its entry to its exit, as the coordinator sees it. */
class Wait : public SlotWait {
 public:
  Wait(WaitKind kind, int64_t deadline);
  ~Wait();
  /** In a strict world this wait ends in a turn that begins after it, never in the one it began in. */
  void EndInNextTurn() { needsNextTurn_ = true; }

 private:
  void AwaitTurn();
  uint32_t turn_ = 0;
  bool needsNextTurn_ = false;
};

int WakeSignal();

/** Sleeps until a virtual moment. 0, or EINTR when a signal of the program's own arrived. */
int SleepUntil(int64_t deadline);
/**
 * Waits on a word of the program until it is not `expected` any more, somebody wakes it, or the virtual deadline.
 * 0, EAGAIN, EINTR or ETIMEDOUT.
 */
int WaitOnWord(const void* word, uint32_t expected, bool isShared, int64_t deadline, bool cancellable);
int WakeWord(const void* word, int count, bool isShared);

/** After a fork, in the child: what of other parts does not live on. */
void TimersAfterFork();
/** Before an exec: timers go on in the kernel alone. */
void TimersBeforeExec();
/** Whether this is the process that was registered, and not a vfork child in its memory. */
bool IsOwnProcess();
/** Remembers the clock of a new timer descriptor; the descriptor. */
int NoteTimerDescriptor(int fd, clockid_t clock);
/** Whether a descriptor is a timer of ours, whose count of expirations is then set. */
bool TakeExpirations(int fd, uint64_t* count);

}  // namespace clove::clock
