// Waits for descriptors: poll, select, epoll. The wake signal is blocked but for the time in the kernel.
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "library.h"

using namespace clove::clock;

namespace {

constexpr int64_t kMillisecond = 1'000'000;

/** What the kernel takes for a signal mask. */
using Mask = uint64_t;
Mask ToMask(const sigset_t* set) {
  Mask mask;
  memcpy(&mask, set, sizeof mask);
  return mask;
}

/**
 * The same in a strict world. What is ready is looked at when everything on its way has arrived and only in turns of this agent, so
 * that what is seen does not depend on who was quicker. `await` sleeps until there may be something, `look` takes it.
 */
template <typename Await, typename Look>
int WaitInTurns(int64_t timeout, const sigset_t* userMask, Await&& await, Look&& look) {
  const int64_t deadline = timeout < 0 ? kForever : AddNs(VirtualMonotonic(), timeout);
  Mask program = userMask == nullptr ? 0 : ToMask(userMask);
  if (userMask == nullptr) SystemCall(SYS_rt_sigprocmask, SIG_BLOCK, 0, Value(&program), sizeof program);
  Mask asleep = program & ~(1ull << (WakeSignal() - 1));
  timespec zero = {0, 0};
  AwaitNextTurn();
  for (;;) {
    const long seen = look(&zero, &program);
    if (seen != 0) return Answer(seen);
    if (deadline != kForever && VirtualMonotonic() >= deadline) return 0;
    long result;
    {
      Wait turn(kWaitSignal, deadline);
      turn.EndInNextTurn();
      // It ends when there is something, or time has moved; a look at the clock now and then changes nothing.
      do {
        timespec time = ToTimespec(RealUntil(deadline, kChunkNs));
        result = await(&time, &asleep);
      } while (result == 0 && RealUntil(deadline, kChunkNs) > 0);
    }
    if (result == -EINTR && TakeWake()) continue;
    if (result < 0) return Answer(result);
  }
}

/**
 * Calls `wait(timeout, mask)` (null = none) until it has a result or the deadline is over.
 * `timeout` in virtual nanoseconds, negative = for ever.
 */
template <typename Call>
int WaitFor(int64_t timeout, const sigset_t* userMask, Call&& wait) {
  if (IsStrict()) return WaitInTurns(timeout, userMask, wait, wait);
  Mask mask = userMask == nullptr ? 0 : ToMask(userMask);
  timespec zero = {0, 0};
  if (timeout == 0) return Answer(wait(&zero, userMask == nullptr ? nullptr : &mask));
  if (timeout < 0) {
    Wait untimed(kWaitSignal, kForever);
    return Answer(wait(nullptr, userMask == nullptr ? nullptr : &mask));
  }
  const int64_t deadline = AddNs(VirtualMonotonic(), timeout);
  if (userMask == nullptr) SystemCall(SYS_rt_sigprocmask, SIG_BLOCK, 0, Value(&mask), sizeof mask);
  mask &= ~(1ull << (WakeSignal() - 1));
  Wait timed(kWaitSignal, deadline);
  for (;;) {
    const int64_t remaining = RealUntil(deadline, kChunkNs);
    timespec time = ToTimespec(remaining);
    const long result = wait(&time, &mask);
    if (result > 0 || (result == 0 && remaining == 0)) return static_cast<int>(result);
    // Time may have moved: whether this was the end says the clock, after a last look without waiting.
    if (result == 0 || (result == -EINTR && TakeWake())) continue;
    return Answer(result);
  }
}

int64_t FromMilliseconds(int milliseconds) { return milliseconds < 0 ? -1 : milliseconds * kMillisecond; }
int64_t FromTimespec(const timespec* time) { return time == nullptr ? -1 : ToNsClamped(*time); }

int Poll(pollfd* fds, nfds_t count, int64_t timeout, const sigset_t* mask) {
  return WaitFor(timeout, mask, [=](timespec* time, Mask* kernelMask) {
    return CancellableSystemCall(SYS_ppoll, Value(fds), static_cast<long>(count), Value(time), Value(kernelMask), sizeof(Mask));
  });
}

int EpollWait(int epoll, epoll_event* events, int count, int64_t timeout, const sigset_t* mask) {
  const auto wait = [=](timespec* time, Mask* kernelMask) {
    // epoll_pwait2 is younger (5.11) and may be filtered; milliseconds, rounded up, then.
    static std::atomic<bool> hasNanoseconds{true};
    if (hasNanoseconds.load(std::memory_order_relaxed)) {
      const long result = CancellableSystemCall(441 /* epoll_pwait2 */, epoll, Value(events), count, Value(time), Value(kernelMask),
                                                sizeof(Mask));
      if (result != -ENOSYS) return result;
      hasNanoseconds.store(false, std::memory_order_relaxed);
    }
    const long milliseconds = time == nullptr ? -1 : static_cast<long>((ToNs(*time) + kMillisecond - 1) / kMillisecond);
    return CancellableSystemCall(SYS_epoll_pwait, epoll, Value(events), count, milliseconds, Value(kernelMask), sizeof(Mask));
  };
  if (!IsStrict()) return WaitFor(timeout, mask, wait);
  // Taking an event may use it up: until the turn has come it is only known that there is one.
  const auto await = [=](timespec* time, Mask* kernelMask) {
    pollfd waited = {epoll, POLLIN, 0};
    return CancellableSystemCall(SYS_ppoll, Value(&waited), 1, Value(time), Value(kernelMask), sizeof(Mask));
  };
  return WaitInTurns(timeout, mask, await, wait);
}

/** `remaining`: gets what is left of the timeout; null = not wanted. */
int Select(int count, fd_set* reads, fd_set* writes, fd_set* errors, int64_t timeout, const sigset_t* mask, int64_t* remaining) {
  if (count < 0 || count > 1 << 20) return Answer(-EINVAL);
  fd_set* sets[3] = {reads, writes, errors};
  const size_t size = (static_cast<size_t>(count) + 63) / 64 * 8;
  // The kernel empties the sets at every call that finds nothing.
  auto* copies = static_cast<char*>(__builtin_alloca(3 * size + 1));
  for (int i = 0; i < 3; i++)
    if (sets[i] != nullptr) memcpy(copies + static_cast<size_t>(i) * size, sets[i], size);
  const int64_t start = remaining == nullptr ? 0 : VirtualMonotonic();
  const int result = WaitFor(timeout, mask, [&](timespec* time, Mask* kernelMask) {
    for (int i = 0; i < 3; i++)
      if (sets[i] != nullptr) memcpy(sets[i], copies + static_cast<size_t>(i) * size, size);
    const struct {
      const Mask* mask;
      size_t size;
    } pack = {kernelMask, sizeof(Mask)};
    return CancellableSystemCall(SYS_pselect6, count, Value(reads), Value(writes), Value(errors),
                          Value(time), Value(&pack));
  });
  if (remaining != nullptr) {
    const int64_t left = timeout - (VirtualMonotonic() - start);
    *remaining = left > 0 ? left : 0;
  }
  return result;
}

CLOVE_REAL(poll, int (*)(pollfd*, nfds_t, int));
CLOVE_REAL(ppoll, int (*)(pollfd*, nfds_t, const timespec*, const sigset_t*));
CLOVE_REAL(select, int (*)(int, fd_set*, fd_set*, fd_set*, timeval*));
CLOVE_REAL(pselect, int (*)(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*));
CLOVE_REAL(epoll_wait, int (*)(int, epoll_event*, int, int));
CLOVE_REAL(epoll_pwait, int (*)(int, epoll_event*, int, int, const sigset_t*));
CLOVE_REAL(epoll_pwait2, int (*)(int, epoll_event*, int, const timespec*, const sigset_t*));

}  // namespace

CLOVE_INTERPOSE(int, poll, pollfd* fds, nfds_t count, int milliseconds) {
  if (!HasWorld()) return real_poll(fds, count, milliseconds);
  return Poll(fds, count, FromMilliseconds(milliseconds), nullptr);
}
CLOVE_INTERPOSE(int, __poll, pollfd* fds, nfds_t count, int milliseconds) { return clove_poll(fds, count, milliseconds); }

CLOVE_INTERPOSE(int, ppoll, pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (!HasWorld()) return real_ppoll(fds, count, timeout, mask);
  if (timeout != nullptr && (!IsValid(*timeout) || timeout->tv_sec < 0)) return Answer(-EINVAL);
  return Poll(fds, count, FromTimespec(timeout), mask);
}

CLOVE_INTERPOSE(int, __poll_chk, pollfd* fds, nfds_t count, int milliseconds, size_t size) {
  if (size / sizeof *fds < count) __builtin_trap();
  return clove_poll(fds, count, milliseconds);
}

CLOVE_INTERPOSE(int, __ppoll_chk, pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t size) {
  if (size / sizeof *fds < count) __builtin_trap();
  return clove_ppoll(fds, count, timeout, mask);
}

CLOVE_INTERPOSE(int, select, int count, fd_set* reads, fd_set* writes, fd_set* errors, timeval* timeout) {
  if (!HasWorld()) return real_select(count, reads, writes, errors, timeout);
  if (timeout == nullptr) return Select(count, reads, writes, errors, -1, nullptr, nullptr);
  if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return Answer(-EINVAL);
  const int64_t ns = AddNs(ToNsClamped({timeout->tv_sec, 0}), timeout->tv_usec * 1000);
  int64_t remaining;
  const int result = Select(count, reads, writes, errors, ns, nullptr, &remaining);
  const int error = errno;
  *timeout = {remaining / kSecond, remaining % kSecond / 1000};
  errno = error;
  return result;
}
CLOVE_INTERPOSE(int, __select, int count, fd_set* reads, fd_set* writes, fd_set* errors, timeval* timeout) {
  return clove_select(count, reads, writes, errors, timeout);
}

CLOVE_INTERPOSE(int, pselect, int count, fd_set* reads, fd_set* writes, fd_set* errors, const timespec* timeout, const sigset_t* mask) {
  if (!HasWorld()) return real_pselect(count, reads, writes, errors, timeout, mask);
  if (timeout != nullptr && (!IsValid(*timeout) || timeout->tv_sec < 0)) return Answer(-EINVAL);
  return Select(count, reads, writes, errors, FromTimespec(timeout), mask, nullptr);
}

CLOVE_INTERPOSE(int, epoll_wait, int epoll, epoll_event* events, int count, int milliseconds) {
  if (!HasWorld()) return real_epoll_wait(epoll, events, count, milliseconds);
  return EpollWait(epoll, events, count, FromMilliseconds(milliseconds), nullptr);
}

CLOVE_INTERPOSE(int, epoll_pwait, int epoll, epoll_event* events, int count, int milliseconds, const sigset_t* mask) {
  if (!HasWorld()) return real_epoll_pwait(epoll, events, count, milliseconds, mask);
  return EpollWait(epoll, events, count, FromMilliseconds(milliseconds), mask);
}

CLOVE_INTERPOSE(int, epoll_pwait2, int epoll, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask) {
  if (!HasWorld()) return real_epoll_pwait2(epoll, events, count, timeout, mask);
  return EpollWait(epoll, events, count, FromTimespec(timeout), mask);
}
