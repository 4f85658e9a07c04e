// When a timer of the kernel expires in virtual time. Shared by the library and clove-start, hence neither a C library nor memory of
// its own.
#pragma once
#include <sys/time.h>

#include "moments.h"

namespace clove::clock {

struct Schedule {
  /** kForever = not armed. */
  int64_t deadline;
  /** 0 = once. */
  int64_t interval;
  /** Expirations of a descriptor that nobody has read yet. */
  uint64_t expirations;

  /** Moves the deadline on; how often the timer has expired until `now`, which is not before it. */
  uint64_t Advance(int64_t now) {
    const int64_t missed = interval > 0 ? (now - deadline) / interval : 0;
    deadline = interval > 0 ? deadline + (missed + 1) * interval : kForever;
    return 1 + static_cast<uint64_t>(missed);
  }
};
inline constexpr Schedule kUnarmed = {kForever, 0, 0};

/** As a program is told of it; null: of a timer that was never set. */
inline itimerspec Remaining(const Schedule* timer) {
  itimerspec value = {};
  if (timer == nullptr || timer->deadline == kForever) return value;
  const int64_t remaining = timer->deadline - VirtualMonotonic();
  value.it_interval = ToTimespec(timer->interval);
  value.it_value = ToTimespec(remaining > 0 ? remaining : 1);
  return value;
}

/** it_value as a deadline. */
inline int64_t DeadlineOf(clockid_t clock, bool isAbsolute, const itimerspec& value) {
  if (value.it_value.tv_sec == 0 && value.it_value.tv_nsec == 0) return kForever;
  int64_t deadline;
  if (!isAbsolute || !ToDeadline(clock, value.it_value, &deadline)) return AddNs(VirtualMonotonic(), ToNsClamped(value.it_value));
  return deadline;
}

inline bool IsValid(const itimerspec& value) {
  return IsValid(value.it_value) && IsValid(value.it_interval) && value.it_value.tv_sec >= 0;
}

inline int64_t FromTimeval(const timeval& time) { return ToNsClamped({time.tv_sec, time.tv_usec * 1000}); }

}  // namespace clove::clock
