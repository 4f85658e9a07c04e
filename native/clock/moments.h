// Moments and spans of a world's time, as the library and clove-start both count them. Shared by the two, hence neither a C library nor
// memory of its own: what only one of them can know (its reading of the clock) is declared here and defined by each.
#pragma once
#include <stdint.h>
#include <time.h>

#include "page.h"

namespace clove::clock {

inline constexpr int64_t kSecond = 1'000'000'000;
/** How often a wait looks at the clock where nobody can wake it. */
inline constexpr int64_t kPollNs = 2'000'000;

inline int64_t ToNs(const timespec& time) { return static_cast<int64_t>(time.tv_sec) * kSecond + time.tv_nsec; }
inline timespec ToTimespec(int64_t ns) {
  if (ns < 0) ns = 0;
  return {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
}
inline bool IsValid(const timespec& time) { return time.tv_nsec >= 0 && time.tv_nsec < kSecond; }
/** Sum that stops at the ends instead of wrapping. */
inline int64_t AddNs(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? (b > 0 ? kForever : INT64_MIN) : sum;
}
inline int64_t ToNsClamped(const timespec& time) {
  return time.tv_sec >= kForever / kSecond ? kForever : time.tv_sec <= -(kForever / kSecond) ? -kForever : ToNs(time);
}

/** Whether the world moves this clock. */
inline bool IsVirtual(clockid_t clock) {
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_TAI:
      return true;
    default:
      return false;  // CPU time is what it is
  }
}
/** Whether a clock shows virtual CLOCK_MONOTONIC as it is. */
inline bool IsMonotonic(clockid_t clock) { return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE; }
/** Whether a clock shows virtual CLOCK_REALTIME as it is. */
inline bool IsRealtime(clockid_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_REALTIME_ALARM;
}

/** One look at the page: the two monotonic clocks at the same moment, and what the virtual one makes of the real one from then on. */
struct Reading {
  int64_t real, virt;
  uint32_t numerator, denominator;
};

inline int64_t Scaled(int64_t real, uint32_t numerator, uint32_t denominator) {
  if (numerator == denominator) return real;
  // In two parts: a product of both could be too large, and 128 bits are divided by a library.
  return real / denominator * numerator + real % denominator * numerator / denominator;
}

/** Real nanoseconds from a reading until a virtual moment, at most `limit`. */
inline int64_t RealSpan(const Reading& now, int64_t deadline, int64_t limit) {
  if (deadline == kForever) return limit;
  const int64_t remaining = deadline - now.virt;
  if (remaining <= 0) return 0;
  if (now.numerator == 0) return limit;
  const int64_t real = Scaled(remaining, now.denominator, now.numerator) + (now.numerator == now.denominator ? 0 : 1);
  return real < limit ? real : limit;
}

// --- Each has its own.
int64_t RealMonotonic();
/** Virtual CLOCK_MONOTONIC. Only with a world. */
int64_t VirtualMonotonic();
/** Virtual CLOCK_REALTIME minus virtual CLOCK_MONOTONIC. */
int64_t EpochOffset();
/** What a clock of the world is ahead of virtual CLOCK_MONOTONIC. */
int64_t AheadOfMonotonic(clockid_t clock);
/** Real nanoseconds until a virtual moment at the present rate, at most `limit`. */
int64_t RealUntil(int64_t deadline, int64_t limit);

/** A moment of a clock as one of virtual CLOCK_MONOTONIC. False: not a clock that the world has. */
inline bool ToDeadline(clockid_t clock, const timespec& moment, int64_t* deadline) {
  if (!IsVirtual(clock)) return false;
  *deadline = AddNs(ToNsClamped(moment), -AheadOfMonotonic(clock));
  return true;
}

}  // namespace clove::clock
