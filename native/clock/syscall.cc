// syscall(): libraries that go past the C library's wrappers (libuv, V8, Rust's std, absl) mostly go through here.
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/time.h>
#include <string.h>
#include <mqueue.h>

#include "library.h"

using namespace clove::clock;

extern "C" {
int clove_clock_gettime(clockid_t, timespec*) __asm__("clock_gettime");
int clove_gettimeofday(timeval*, struct timezone*) __asm__("gettimeofday");
int clove_clock_nanosleep(clockid_t, int, const timespec*, timespec*) __asm__("clock_nanosleep");
int clove_nanosleep(const timespec*, timespec*) __asm__("nanosleep");
int clove_ppoll(pollfd*, nfds_t, const timespec*, const sigset_t*) __asm__("ppoll");
int clove_epoll_pwait(int, epoll_event*, int, int, const sigset_t*) __asm__("epoll_pwait");
int clove_epoll_pwait2(int, epoll_event*, int, const timespec*, const sigset_t*) __asm__("epoll_pwait2");
}

namespace {

CLOVE_REAL(syscall, long (*)(long, long, long, long, long, long, long));
CLOVE_REAL(semtimedop, int (*)(int, sembuf*, size_t, const timespec*));
CLOVE_REAL(mq_timedreceive, ssize_t (*)(mqd_t, char*, size_t, unsigned*, const timespec*));
CLOVE_REAL(mq_timedsend, int (*)(mqd_t, const char*, size_t, unsigned, const timespec*));

/** The kernel's 8 bytes of a mask as the C library's. */
struct WideMask {
  sigset_t set;
  explicit WideMask(long kernelMask) {
    sigemptyset(&set);
    if (kernelMask != 0) memcpy(&set, reinterpret_cast<const void*>(kernelMask), sizeof(uint64_t));
  }
};

/** FUTEX_WAIT and FUTEX_WAIT_BITSET with a time-out. */
long Futex(uint32_t* word, int operation, uint32_t value, const timespec* timeout, long word2, uint32_t bits) {
  const int64_t deadline = FutexDeadline(operation, *timeout);
  if (WaitsForAnybody(operation, bits)) return Answer(-WaitOnWord(word, value, (operation & FUTEX_PRIVATE_FLAG) == 0, deadline, false));
  return Answer(WaitOnBits<Wait>(word, operation, value, word2, bits, deadline));
}

/** RepeatUntil of a call that answers with errno. */
template <typename Attempt>
auto Repeat(int64_t deadline, int overError, Attempt&& attempt) {
  return RepeatUntil<Wait>(deadline, [=](auto result) { return result < 0 && errno == overError; }, attempt);
}

timespec RealtimeIn(int64_t ns) {
  timespec now;
  RealClock(CLOCK_REALTIME, &now);
  return ToTimespec(ToNs(now) + ns);
}

}  // namespace

CLOVE_INTERPOSE(long, syscall, long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  if (HasWorld()) {
    switch (number) {
      case SYS_clock_gettime:
        return clove_clock_gettime(static_cast<clockid_t>(a[0]), reinterpret_cast<timespec*>(a[1]));
      case SYS_gettimeofday:
        return clove_gettimeofday(reinterpret_cast<timeval*>(a[0]), reinterpret_cast<struct timezone*>(a[1]));
      case SYS_getrandom:
        if (FillSeeded(reinterpret_cast<void*>(a[0]), static_cast<size_t>(a[1]))) return a[1];
        break;
      case SYS_nanosleep:
        return clove_nanosleep(reinterpret_cast<timespec*>(a[0]), reinterpret_cast<timespec*>(a[1]));
      case SYS_clock_nanosleep:
        return Answer(-clove_clock_nanosleep(static_cast<clockid_t>(a[0]), static_cast<int>(a[1]), reinterpret_cast<timespec*>(a[2]),
                                             reinterpret_cast<timespec*>(a[3])));
      case SYS_futex: {
        const int command = static_cast<int>(a[1]) & FUTEX_CMD_MASK;
        const auto* timeout = reinterpret_cast<const timespec*>(a[3]);
        if (timeout == nullptr || (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET)) break;
        if (!IsValid(*timeout)) return Answer(-EINVAL);
        return Futex(reinterpret_cast<uint32_t*>(a[0]), static_cast<int>(a[1]), static_cast<uint32_t>(a[2]), timeout, a[4],
                     static_cast<uint32_t>(a[5]));
      }
      case SYS_ppoll: {
        const WideMask mask(a[3]);
        return clove_ppoll(reinterpret_cast<pollfd*>(a[0]), static_cast<nfds_t>(a[1]), reinterpret_cast<timespec*>(a[2]),
                           a[3] == 0 ? nullptr : &mask.set);
      }
      case SYS_epoll_pwait: {
        const WideMask mask(a[4]);
        return clove_epoll_pwait(static_cast<int>(a[0]), reinterpret_cast<epoll_event*>(a[1]), static_cast<int>(a[2]),
                                 static_cast<int>(a[3]), a[4] == 0 ? nullptr : &mask.set);
      }
      case 441: {  // epoll_pwait2
        const WideMask mask(a[4]);
        return clove_epoll_pwait2(static_cast<int>(a[0]), reinterpret_cast<epoll_event*>(a[1]), static_cast<int>(a[2]),
                                  reinterpret_cast<timespec*>(a[3]), a[4] == 0 ? nullptr : &mask.set);
      }
#if defined(SYS_time)
      case SYS_time: {
        timespec now;
        clove_clock_gettime(CLOCK_REALTIME, &now);
        if (a[0] != 0) *reinterpret_cast<time_t*>(a[0]) = now.tv_sec;
        return now.tv_sec;
      }
      case SYS_poll: {
        const timespec time = ToTimespec(a[2] * 1'000'000);
        return clove_ppoll(reinterpret_cast<pollfd*>(a[0]), static_cast<nfds_t>(a[1]), static_cast<int>(a[2]) < 0 ? nullptr : &time, nullptr);
      }
      case SYS_epoll_wait:
        return clove_epoll_pwait(static_cast<int>(a[0]), reinterpret_cast<epoll_event*>(a[1]), static_cast<int>(a[2]),
                                 static_cast<int>(a[3]), nullptr);
#endif
      default:
        break;
    }
  }
  return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

CLOVE_INTERPOSE(int, semtimedop, int set, sembuf* operations, size_t count, const timespec* timeout) {
  bool waits = HasWorld() && timeout != nullptr;
  for (size_t i = 0; i < count; i++) waits = waits && (operations[i].sem_flg & IPC_NOWAIT) == 0;
  if (!waits) return real_semtimedop(set, operations, count, timeout);
  if (!IsValid(*timeout) || timeout->tv_sec < 0) return Answer(-EINVAL);
  return Repeat(AddNs(VirtualMonotonic(), ToNsClamped(*timeout)), EAGAIN, [=](int64_t ns) {
    const timespec time = ToTimespec(ns);
    return real_semtimedop(set, operations, count, &time);
  });
}

CLOVE_INTERPOSE(ssize_t, mq_timedreceive, mqd_t queue, char* message, size_t size, unsigned* priority, const timespec* moment) {
  int64_t deadline;
  if (!HasWorld() || moment == nullptr || !IsValid(*moment)) return real_mq_timedreceive(queue, message, size, priority, moment);
  ToDeadline(CLOCK_REALTIME, *moment, &deadline);
  return Repeat(deadline, ETIMEDOUT, [=](int64_t ns) {
    const timespec until = RealtimeIn(ns);
    return real_mq_timedreceive(queue, message, size, priority, &until);
  });
}

CLOVE_INTERPOSE(int, mq_timedsend, mqd_t queue, const char* message, size_t size, unsigned priority, const timespec* moment) {
  int64_t deadline;
  if (!HasWorld() || moment == nullptr || !IsValid(*moment)) return real_mq_timedsend(queue, message, size, priority, moment);
  ToDeadline(CLOCK_REALTIME, *moment, &deadline);
  return Repeat(deadline, ETIMEDOUT, [=](int64_t ns) {
    const timespec until = RealtimeIn(ns);
    return real_mq_timedsend(queue, message, size, priority, &until);
  });
}
