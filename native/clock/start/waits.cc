// Sleeps, futexes and waits for signals.
#include <errno.h>
#include <sys/sem.h>

#include "start.h"

namespace clove::clock {

long SleepUntil(int64_t deadline) { return SleepUntilBy<Wait>(SystemCall, deadline); }

long SleepFor(int64_t ns, timespec* remaining) {
  const int64_t deadline = AddNs(VirtualMonotonic(), ns);
  const long result = SleepUntil(deadline);
  if (result == -EINTR && remaining != nullptr) *remaining = ToTimespec(deadline - VirtualMonotonic());
  return result;
}

long OnNanosleep(const long* a) {
  const auto* request = reinterpret_cast<const timespec*>(a[0]);
  if (!IsValid(*request) || request->tv_sec < 0) return -EINVAL;
  return SleepFor(ToNsClamped(*request), reinterpret_cast<timespec*>(a[1]));
}

long OnClockNanosleep(const long* a) {
  const auto* request = reinterpret_cast<const timespec*>(a[2]);
  if (!IsVirtual(a[0])) return SystemCall(SYS_clock_nanosleep, a[0], a[1], a[2], a[3]);
  if (!IsValid(*request) || request->tv_sec < 0) return -EINVAL;
  if ((a[1] & TIMER_ABSTIME) == 0) return SleepFor(ToNsClamped(*request), reinterpret_cast<timespec*>(a[3]));
  int64_t deadline;
  ToDeadline(a[0], *request, &deadline);
  return SleepUntil(deadline);
}

long WaitOnWord(const void* word, uint32_t expected, bool isShared, int64_t deadline) {
  return WaitOnWordBy<Wait>(SystemCall, word, expected, isShared, deadline);
}

long OnFutex(const long* a) {
  const int operation = static_cast<int>(a[1]);
  const auto* timeout = reinterpret_cast<const timespec*>(a[3]);
  const auto expected = static_cast<uint32_t>(a[2]), bits = static_cast<uint32_t>(a[5]);
  if (!IsValid(*timeout) || timeout->tv_sec < 0) return -EINVAL;
  const auto* word = reinterpret_cast<const void*>(a[0]);
  const int64_t deadline = FutexDeadline(operation, *timeout);
  if (WaitsForAnybody(operation, bits)) return WaitOnWord(word, expected, (operation & FUTEX_PRIVATE_FLAG) == 0, deadline);
  return WaitOnBits<Wait>(word, operation, expected, a[4], bits, deadline);
}

long OnSigtimedwait(const long* a) {
  const auto* timeout = reinterpret_cast<const timespec*>(a[2]);
  if (!IsValid(*timeout) || timeout->tv_sec < 0) return -EINVAL;
  // The wake signal is blocked here, so it is one more to wait for.
  const Mask awaited = (*reinterpret_cast<const Mask*>(a[0]) & ~MaskOf(SIGSYS)) | MaskOf(WakeSignal());
  const int64_t deadline = AddNs(VirtualMonotonic(), ToNsClamped(*timeout));
  Wait timed(kWaitSignal, deadline);
  for (;;) {
    const int64_t remaining = RealUntil(deadline, kChunkNs);
    timespec time = ToTimespec(remaining);
    const long result = SystemCall(SYS_rt_sigtimedwait, Value(&awaited), a[1], Value(&time), sizeof awaited);
    if (result == WakeSignal() || (result == -EAGAIN && remaining > 0)) continue;
    return result;
  }
}

namespace {

/** RepeatUntil of a call that answers as the kernel does. */
template <typename Attempt>
long Repeat(int64_t deadline, long overError, Attempt&& attempt) {
  return RepeatUntil<Wait>(deadline, [=](long result) { return result == overError; }, attempt);
}

}  // namespace

long OnSemtimedop(const long* a) {
  const auto* operations = reinterpret_cast<const sembuf*>(a[1]);
  const auto* timeout = reinterpret_cast<const timespec*>(a[3]);
  for (long i = 0; i < a[2]; i++)
    if ((operations[i].sem_flg & IPC_NOWAIT) != 0) return SystemCall(SYS_semtimedop, a[0], a[1], a[2], a[3]);
  if (!IsValid(*timeout) || timeout->tv_sec < 0) return -EINVAL;
  return Repeat(AddNs(VirtualMonotonic(), ToNsClamped(*timeout)), -EAGAIN, [=](int64_t ns) {
    const timespec time = ToTimespec(ns);
    return SystemCall(SYS_semtimedop, a[0], a[1], a[2], Value(&time));
  });
}

long OnQueue(long number, const long* a) {
  const auto* moment = reinterpret_cast<const timespec*>(a[4]);
  int64_t deadline;
  if (!IsValid(*moment) || !ToDeadline(CLOCK_REALTIME, *moment, &deadline)) return -EINVAL;
  return Repeat(deadline, -ETIMEDOUT, [=](int64_t ns) {
    timespec until;
    SystemCall(SYS_clock_gettime, CLOCK_REALTIME, Value(&until));
    until = ToTimespec(ToNs(until) + ns);
    return SystemCall(number, a[0], a[1], a[2], a[3], Value(&until));
  });
}

}  // namespace clove::clock
