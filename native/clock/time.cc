// Reading clocks, and sleeping.
#include <dlfcn.h>
#include <string.h>
#include <sys/time.h>
#include <sys/times.h>

#include "library.h"

using namespace clove::clock;

namespace {

CLOVE_REAL(times, clock_t (*)(tms*));
CLOVE_REAL(clock_nanosleep, int (*)(clockid_t, int, const timespec*, timespec*));

__attribute__((tls_model("initial-exec"))) thread_local bool isCalibrating = false;

/**
 * Abseil, which Node has in it, measures the processor's frequency with sleeps of up to a quarter of a second when two threads first meet at
 * a lock. In a strict world that would cost the program virtual time at a moment that nobody can foresee: it is done at the start.
 */
__attribute__((constructor(300))) void Calibrate() {
  if (!HasWorld() || !IsStrict()) return;
  const auto measure = reinterpret_cast<double (*)()>(dlsym(RTLD_DEFAULT, "_ZN4absl13base_internal19NominalCPUFrequencyEv"));
  if (measure == nullptr) return;
  isCalibrating = true;
  measure();
  isCalibrating = false;
}

timespec VirtualRealtime() { return ToTimespec(VirtualMonotonic() + EpochOffset()); }

int ReadClock(clockid_t clock, timespec* time) {
  if (!IsVirtual(clock) || !HasWorld()) return RealClock(clock, time);
  if (IsMonotonic(clock) || IsRealtime(clock)) {
    *time = IsRealtime(clock) ? VirtualRealtime() : ToTimespec(VirtualMonotonic());
    return 0;
  }
  // Clocks that are a little ahead of these two: as far as they really are.
  timespec real, base;
  const clockid_t baseClock = clock == CLOCK_TAI ? CLOCK_REALTIME : CLOCK_MONOTONIC;
  if (RealClock(clock, &real) != 0) return -1;
  if (IsStrict()) {
    *time = clock == CLOCK_TAI ? VirtualRealtime() : ToTimespec(VirtualMonotonic());
    return 0;
  }
  RealClock(baseClock, &base);
  const int64_t virtualBase = VirtualMonotonic() + (clock == CLOCK_TAI ? EpochOffset() : 0);
  *time = ToTimespec(virtualBase + (ToNs(real) - ToNs(base)));
  return 0;
}

/** In a strict world: pauses up to here give way to other threads of the program, as locks do while they wait for each other. */
constexpr int64_t kYieldNs = 20'000;

/** 0, or EINTR with what remains. */
int SleepFor(int64_t ns, timespec* remaining) {
  if (isCalibrating || (ns <= kYieldNs && IsStrict())) {
    const timespec pause = ToTimespec(ns);
    SystemCall(SYS_nanosleep, Value(&pause), 0);
    return 0;
  }
  const int64_t deadline = AddNs(VirtualMonotonic(), ns);
  const int error = SleepUntil(deadline);
  if (error != 0 && remaining != nullptr) *remaining = ToTimespec(deadline - VirtualMonotonic());
  return error;
}

}  // namespace

CLOVE_INTERPOSE(int, clock_gettime, clockid_t clock, timespec* time) {
  if (__builtin_expect(isCalibrating, 0)) return RealClock(clock, time);
  if (__builtin_expect(clock == CLOCK_MONOTONIC && HasWorld(), 1)) {
    *time = ToTimespec(VirtualMonotonic());
    return 0;
  }
  return ReadClock(clock, time);
}

CLOVE_INTERPOSE(int, gettimeofday, timeval* time, struct timezone* zone) {
  if (zone != nullptr) *zone = {0, 0};
  if (time == nullptr) return 0;
  timespec now;
  ReadClock(CLOCK_REALTIME, &now);
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
CLOVE_INTERPOSE(int, __gettimeofday, timeval* time, struct timezone* zone) { return clove_gettimeofday(time, zone); }

CLOVE_INTERPOSE(time_t, time, time_t* result) {
  timespec now;
  ReadClock(CLOCK_REALTIME, &now);
  if (result != nullptr) *result = now.tv_sec;
  return now.tv_sec;
}

CLOVE_INTERPOSE(int, timespec_get, timespec* time, int base) {
  if (base != TIME_UTC) return 0;
  ReadClock(CLOCK_REALTIME, time);
  return base;
}

CLOVE_INTERPOSE(clock_t, times, tms* buffer) {
  const clock_t real = real_times(buffer);
  if (!HasWorld() || real == static_cast<clock_t>(-1)) return real;
  const int64_t ahead = VirtualMonotonic() - RealMonotonic();
  return real + static_cast<clock_t>(ahead / (kSecond / sysconf(_SC_CLK_TCK)));
}

CLOVE_INTERPOSE(int, clock_nanosleep, clockid_t clock, int flags, const timespec* request, timespec* remaining) {
  if (!HasWorld() || !IsVirtual(clock)) return real_clock_nanosleep(clock, flags, request, remaining);
  if (!IsValid(*request) || request->tv_sec < 0) return EINVAL;
  if ((flags & TIMER_ABSTIME) == 0) return SleepFor(ToNsClamped(*request), remaining);
  int64_t deadline;
  ToDeadline(clock, *request, &deadline);
  return SleepUntil(deadline);
}

CLOVE_INTERPOSE(int, nanosleep, const timespec* request, timespec* remaining) {
  if (!HasWorld()) return Answer(CancellableSystemCall(SYS_nanosleep, Value(request), Value(remaining)));
  if (!IsValid(*request) || request->tv_sec < 0) return Answer(-EINVAL);
  return Answer(-SleepFor(ToNsClamped(*request), remaining));
}
CLOVE_INTERPOSE(int, __nanosleep, const timespec* request, timespec* remaining) { return clove_nanosleep(request, remaining); }

CLOVE_INTERPOSE(int, thrd_sleep, const timespec* request, timespec* remaining) {
  const int result = clove_nanosleep(request, remaining);
  return result == 0 ? 0 : errno == EINTR ? -1 : -2;
}

CLOVE_INTERPOSE(unsigned, sleep, unsigned seconds) {
  timespec request = {static_cast<time_t>(seconds), 0}, remaining = {0, 0};
  if (clove_nanosleep(&request, &remaining) == 0) return 0;
  return static_cast<unsigned>(remaining.tv_sec + (remaining.tv_nsec >= kSecond / 2 ? 1 : 0));
}

CLOVE_INTERPOSE(int, usleep, useconds_t microseconds) {
  const timespec request = ToTimespec(static_cast<int64_t>(microseconds) * 1000);
  return clove_nanosleep(&request, nullptr);
}
