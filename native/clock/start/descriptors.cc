// Waits for descriptors: poll, select, epoll. The wake signal is blocked but for the time in the kernel.
#include <errno.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>

#include "start.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

namespace clove::clock {

namespace {

constexpr int64_t kMillisecond = 1'000'000;
/** Beyond this many descriptors a select passes: its sets would not fit on a small stack. */
constexpr int kMostSelected = 8192;

/** Calls `wait(timeout, mask)` until it has a result or the deadline is over. Timeout in virtual nanoseconds; negative = for ever. */
template <typename Call>
long WaitFor(int64_t timeout, Mask program, Call&& wait) {
  Mask mask = program & ~(MaskOf(SIGSYS) | MaskOf(WakeSignal()));
  if (timeout <= 0) {
    Mask untouched = Passable(program);
    timespec zero = {0, 0};
    if (timeout == 0) return wait(&zero, &untouched);
    Wait untimed(kWaitSignal, kForever);
    for (;;) {
      const long result = wait(nullptr, &mask);
      if (result != -EINTR || !TakeWake()) return result;
    }
  }
  const int64_t deadline = AddNs(VirtualMonotonic(), timeout);
  Wait timed(kWaitSignal, deadline);
  for (;;) {
    const int64_t remaining = RealUntil(deadline, kChunkNs);
    timespec time = ToTimespec(remaining);
    const long result = wait(&time, &mask);
    if (result > 0 || (result == 0 && remaining == 0)) return result;
    // Time may have moved: whether this was the end says the clock, after a last look without waiting.
    if (result == 0 || (result == -EINTR && TakeWake())) continue;
    return result;
  }
}

int64_t FromMilliseconds(long value) {
  const auto milliseconds = static_cast<int>(value);
  return milliseconds < 0 ? -1 : milliseconds * kMillisecond;
}
Mask MaskAt(long address, Mask own) { return address == 0 ? own : *reinterpret_cast<const Mask*>(address); }

long Poll(long fds, long count, int64_t timeout, Mask mask) {
  return WaitFor(timeout, mask,
                 [=](timespec* time, Mask* kernelMask) { return SystemCall(SYS_ppoll, fds, count, Value(time), Value(kernelMask), sizeof(Mask)); });
}

long Epoll(const long* a, int64_t timeout, Mask mask) {
  return WaitFor(timeout, mask, [=](timespec* time, Mask* kernelMask) {
    // epoll_pwait2 is younger (5.11) and may be filtered; milliseconds, rounded up, then.
    static std::atomic<bool> hasNanoseconds{true};
    if (hasNanoseconds.load(std::memory_order_relaxed)) {
      const long result = SystemCall(SYS_epoll_pwait2, a[0], a[1], a[2], Value(time), Value(kernelMask), sizeof(Mask));
      if (result != -ENOSYS) return result;
      hasNanoseconds.store(false, std::memory_order_relaxed);
    }
    const long milliseconds = time == nullptr ? -1 : static_cast<long>((ToNs(*time) + kMillisecond - 1) / kMillisecond);
    return SystemCall(SYS_epoll_pwait, a[0], a[1], a[2], milliseconds, Value(kernelMask), sizeof(Mask));
  });
}

long Select(const long* a, int64_t timeout, Mask mask, int64_t* left) {
  const auto count = static_cast<int>(a[0]);
  if (count < 0) return -EINVAL;
  const size_t size = (static_cast<size_t>(count) + 63) / 64 * 8;
  // The kernel empties the sets at every call that finds nothing.
  auto* copies = static_cast<char*>(__builtin_alloca(3 * size + 1));
  const auto copy = [&](bool isBack) {
    for (int i = 0; i < 3; i++) {
      auto* set = reinterpret_cast<char*>(a[1 + i]);
      char* kept = copies + static_cast<size_t>(i) * size;
      if (set != nullptr) __builtin_memcpy(isBack ? set : kept, isBack ? kept : set, size);
    }
  };
  copy(false);
  const int64_t start = VirtualMonotonic();
  const long result = WaitFor(timeout, mask, [&](timespec* time, Mask* kernelMask) {
    copy(true);
    const struct {
      const Mask* mask;
      size_t size;
    } pack = {kernelMask, sizeof(Mask)};
    return SystemCall(SYS_pselect6, count, a[1], a[2], a[3], Value(time), Value(&pack));
  });
  const int64_t remaining = timeout - (VirtualMonotonic() - start);
  *left = remaining > 0 ? remaining : 0;
  return result;
}

}  // namespace

long OnPoll(const long* a, Mask own) { return Poll(a[0], a[1], FromMilliseconds(a[2]), own); }

long OnPpoll(const long* a, Mask own) {
  auto* timeout = reinterpret_cast<timespec*>(a[2]);
  if (timeout != nullptr && (!IsValid(*timeout) || timeout->tv_sec < 0)) return -EINVAL;
  const int64_t start = VirtualMonotonic(), ns = timeout == nullptr ? -1 : ToNsClamped(*timeout);
  const long result = Poll(a[0], a[1], ns, MaskAt(a[3], own));
  if (timeout != nullptr) *timeout = ToTimespec(ns - (VirtualMonotonic() - start));
  return result;
}

long OnSelect(const long* a, Mask own) {
  auto* timeout = reinterpret_cast<timeval*>(a[4]);
  if (a[0] > kMostSelected) return SystemCall(SYS_select, a[0], a[1], a[2], a[3], a[4]);
  if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return -EINVAL;
  int64_t left;
  const long result = Select(a, AddNs(ToNsClamped({timeout->tv_sec, 0}), timeout->tv_usec * 1000), own, &left);
  *timeout = {static_cast<time_t>(left / kSecond), static_cast<suseconds_t>(left % kSecond / 1000)};
  return result;
}

long OnPselect(const long* a, Mask own) {
  auto* timeout = reinterpret_cast<timespec*>(a[4]);
  const auto* pack = reinterpret_cast<const long*>(a[5]);
  if (a[0] > kMostSelected) return SystemCall(SYS_pselect6, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (timeout != nullptr && (!IsValid(*timeout) || timeout->tv_sec < 0)) return -EINVAL;
  int64_t left;
  const long result = Select(a, timeout == nullptr ? -1 : ToNsClamped(*timeout), pack == nullptr ? own : MaskAt(pack[0], own), &left);
  if (timeout != nullptr) *timeout = ToTimespec(left);
  return result;
}

long OnEpollWait(const long* a, Mask own) { return Epoll(a, FromMilliseconds(a[3]), own); }
long OnEpollPwait(const long* a, Mask own) { return Epoll(a, FromMilliseconds(a[3]), MaskAt(a[4], own)); }

long OnEpollPwait2(const long* a, Mask own) {
  const auto* timeout = reinterpret_cast<const timespec*>(a[3]);
  if (timeout != nullptr && (!IsValid(*timeout) || timeout->tv_sec < 0)) return -EINVAL;
  return Epoll(a, timeout == nullptr ? -1 : ToNsClamped(*timeout), MaskAt(a[4], own));
}

long OnRead(long number, const long* a, Mask own) {
  const auto pass = [&] { return SystemCall(number, a[0], a[1], a[2], a[3], a[4], a[5]); };
  timeval timeout = {};
  unsigned size = sizeof timeout;
  const long flags = number == SYS_recvfrom ? a[3] : number == SYS_recvmsg ? a[2] : 0;
  if ((flags & MSG_DONTWAIT) != 0 || SystemCall(SYS_getsockopt, a[0], SOL_SOCKET, SO_RCVTIMEO, Value(&timeout), Value(&size)) != 0 ||
      (timeout.tv_sec == 0 && timeout.tv_usec == 0) || (SystemCall(SYS_fcntl, a[0], F_GETFL) & O_NONBLOCK) != 0)
    return pass();
  pollfd waited = {static_cast<int>(a[0]), POLLIN, 0};
  const long ready = Poll(Value(&waited), 1, ToNsClamped({timeout.tv_sec, timeout.tv_usec * 1000}), own);
  return ready > 0 ? pass() : ready == 0 ? -EAGAIN : ready;
}

}  // namespace clove::clock
