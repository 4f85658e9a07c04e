// Waiting for signals, and keeping the wake signal out of the program's sight.
#include <string.h>
#include <sys/signalfd.h>

#include "library.h"

using namespace clove::clock;

namespace {

CLOVE_REAL(sigaction, int (*)(int, const struct sigaction*, struct sigaction*));
CLOVE_REAL(signal, sighandler_t (*)(int, sighandler_t));
CLOVE_REAL(sigwait, int (*)(const sigset_t*, int*));
CLOVE_REAL(sigwaitinfo, int (*)(const sigset_t*, siginfo_t*));
CLOVE_REAL(sigtimedwait, int (*)(const sigset_t*, siginfo_t*, const timespec*));
CLOVE_REAL(signalfd, int (*)(int, const sigset_t*, int));

bool IsWakeSignal(int signal) { return HasWorld() && signal == WakeSignal(); }

sigset_t WithoutWake(const sigset_t* set) {
  sigset_t copy = *set;
  if (HasWorld()) sigdelset(&copy, WakeSignal());
  return copy;
}

}  // namespace

CLOVE_INTERPOSE(int, sigaction, int signal, const struct sigaction* action, struct sigaction* before) {
  if (!IsWakeSignal(signal)) return real_sigaction(signal, action, before);
  // As with the two signals that the C library keeps for itself.
  if (action != nullptr) return Answer(-EINVAL);
  if (before != nullptr) memset(before, 0, sizeof *before);
  return 0;
}
CLOVE_INTERPOSE(int, __sigaction, int signal, const struct sigaction* action, struct sigaction* before) {
  return clove_sigaction(signal, action, before);
}

CLOVE_INTERPOSE(sighandler_t, signal, int number, sighandler_t handler) {
  if (!IsWakeSignal(number)) return real_signal(number, handler);
  errno = EINVAL;
  return SIG_ERR;
}

CLOVE_INTERPOSE(int, sigwait, const sigset_t* set, int* number) {
  const sigset_t own = WithoutWake(set);
  if (!HasWorld()) return real_sigwait(&own, number);
  Wait untimed(kWaitChunk, kForever);
  return real_sigwait(&own, number);
}

CLOVE_INTERPOSE(int, sigwaitinfo, const sigset_t* set, siginfo_t* info) {
  const sigset_t own = WithoutWake(set);
  if (!HasWorld()) return real_sigwaitinfo(&own, info);
  Wait untimed(kWaitChunk, kForever);
  return real_sigwaitinfo(&own, info);
}

CLOVE_INTERPOSE(int, sigtimedwait, const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  if (!HasWorld()) return real_sigtimedwait(set, info, timeout);
  if (timeout == nullptr) return clove_sigwaitinfo(set, info);
  if (!IsValid(*timeout) || timeout->tv_sec < 0) return Answer(-EINVAL);
  // The wake signal is blocked here, so it is one more to wait for.
  uint64_t awaited;
  memcpy(&awaited, set, sizeof awaited);
  awaited |= 1ull << (WakeSignal() - 1);
  const int64_t deadline = AddNs(VirtualMonotonic(), ToNsClamped(*timeout));
  Wait timed(kWaitSignal, deadline);
  for (;;) {
    const int64_t remaining = RealUntil(deadline, kChunkNs);
    timespec time = ToTimespec(remaining);
    const long result = CancellableSystemCall(SYS_rt_sigtimedwait, Value(&awaited), Value(info), Value(&time), sizeof awaited);
    if (result == WakeSignal() || (result == -EAGAIN && remaining > 0)) continue;
    return Answer(result);
  }
}

CLOVE_INTERPOSE(int, signalfd, int fd, const sigset_t* set, int flags) {
  const sigset_t own = WithoutWake(set);
  return real_signalfd(fd, &own, flags);
}
