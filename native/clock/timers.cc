// Timers of the kernel that outlive the call: alarm, setitimer, timer_*, timerfd_*. Each is kept here with its virtual
// deadline; a thread of ours sleeps until the next one and has the kernel's timer expire at that moment, so that the
// signal or the readiness is the kernel's own.
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "library.h"
#include "schedule.h"

using namespace clove::clock;

namespace {

enum Kind : uint8_t { kFree, kInterval, kPosix, kDescriptor };

struct Timer : Schedule {
  Kind kind;
  /** Its descriptor; of a POSIX timer its clock. */
  int fd;
  timer_t id;
};

constexpr int kTimers = 256;
Timer timers[kTimers];
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/** Futex: changes when a deadline was set. */
std::atomic<uint32_t> changes{0};
bool isRunning = false;

CLOVE_REAL(setitimer, int (*)(int, const itimerval*, itimerval*));
CLOVE_REAL(getitimer, int (*)(int, itimerval*));
CLOVE_REAL(alarm, unsigned (*)(unsigned));
CLOVE_REAL(timer_create, int (*)(clockid_t, struct sigevent*, timer_t*));
CLOVE_REAL(timer_settime, int (*)(timer_t, int, const itimerspec*, itimerspec*));
CLOVE_REAL(timer_gettime, int (*)(timer_t, itimerspec*));
CLOVE_REAL(timer_delete, int (*)(timer_t));
CLOVE_REAL(timerfd_settime, int (*)(int, int, const itimerspec*, itimerspec*));
CLOVE_REAL(timerfd_gettime, int (*)(int, itimerspec*));
CLOVE_REAL(pthread_create, int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*));

class Locked {
 public:
  Locked() {
    // A handler that sets a timer must not meet its own thread in here.
    uint64_t all = ~0ull;
    SystemCall(SYS_rt_sigprocmask, SIG_SETMASK, Value(&all), Value(&before_), sizeof before_);
    pthread_mutex_lock(&lock);
  }
  ~Locked() {
    pthread_mutex_unlock(&lock);
    SystemCall(SYS_rt_sigprocmask, SIG_SETMASK, Value(&before_), 0, sizeof before_);
  }

 private:
  uint64_t before_ = 0;
};

/** Has the kernel's timer expire after this real time; 0 = disarms it. */
void SetKernelTimer(const Timer& timer, int64_t realNs, int64_t interval) {
  const itimerspec value = {ToTimespec(interval), ToTimespec(realNs)};
  switch (timer.kind) {
    case kInterval: {
      const auto toTimeval = [](const timespec& time) {
        return timeval{time.tv_sec, time.tv_nsec == 0 ? 0 : (time.tv_nsec + 999) / 1000};
      };
      const itimerval interval_ = {toTimeval(value.it_interval), toTimeval(value.it_value)};
      real_setitimer(ITIMER_REAL, &interval_, nullptr);
      break;
    }
    case kPosix:
      real_timer_settime(timer.id, 0, &value, nullptr);
      break;
    case kDescriptor:
      real_timerfd_settime(timer.fd, 0, &value, nullptr);
      break;
    case kFree:
      break;
  }
}

/** Whether the kernel's timer still has to expire. */
bool IsPending(const Timer& timer) {
  itimerspec value = {};
  itimerval interval = {};
  switch (timer.kind) {
    case kInterval:
      real_getitimer(ITIMER_REAL, &interval);
      return interval.it_value.tv_sec != 0 || interval.it_value.tv_usec != 0;
    case kPosix:
      real_timer_gettime(timer.id, &value);
      break;
    case kDescriptor:
      real_timerfd_gettime(timer.fd, &value);
      break;
    case kFree:
      break;
  }
  return value.it_value.tv_sec != 0 || value.it_value.tv_nsec != 0;
}

void Expire(Timer& timer, int64_t now) {
  timer.expirations += timer.Advance(now);
  SetKernelTimer(timer, 1, 0);
  // Until the kernel has let it expire nobody is awake but this thread, and it must be: else time could jump over the moment.
  for (int i = 0; i < 10000 && IsPending(timer); i++) sched_yield();
}

/** Expires what is due; the next deadline. */
int64_t RunTimers() {
  const Locked locked;
  int64_t next = kForever;
  const int64_t now = VirtualMonotonic();
  for (Timer& timer : timers) {
    if (timer.kind == kFree) continue;
    if (timer.deadline <= now) Expire(timer, now);
    if (timer.deadline < next) next = timer.deadline;
  }
  return next;
}

void* Run(void*) {
  for (;;) {
    const uint32_t before = changes.load();
    const int64_t next = RunTimers();
    WaitOnWord(&changes, before, false, next, false);
  }
  return nullptr;
}

/** Under the lock. False: no thread to be had, the kernel's timer must do. */
bool EnsureThread() {
  if (isRunning) return true;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  pthread_t thread;
  // All signals are blocked here, and the thread inherits that.
  isRunning = real_pthread_create(&thread, &attributes, Run, nullptr) == 0;
  pthread_attr_destroy(&attributes);
  if (isRunning) pthread_setname_np(thread, "clove-timers");
  return isRunning;
}

template <typename Match>
Timer* Find(Match&& match, bool orFree) {
  Timer* free = nullptr;
  for (Timer& timer : timers) {
    if (timer.kind == kFree) {
      if (free == nullptr) free = &timer;
    } else if (match(timer)) {
      return &timer;
    }
  }
  return orFree ? free : nullptr;
}

Timer* FindDescriptor(int fd, bool orFree = false) {
  return Find([fd](const Timer& timer) { return timer.kind == kDescriptor && timer.fd == fd; }, orFree);
}
Timer* FindPosix(timer_t id, bool orFree = false) {
  return Find([id](const Timer& timer) { return timer.kind == kPosix && timer.id == id; }, orFree);
}
Timer* FindInterval(bool orFree = false) {
  return Find([](const Timer& timer) { return timer.kind == kInterval; }, orFree);
}

/** Sets a timer to a new deadline. */
void Arm(Timer& timer, int64_t deadline, int64_t interval) {
  static_cast<Schedule&>(timer) = {deadline, interval, 0};
  SetKernelTimer(timer, 0, 0);
  if (deadline == kForever) return;
  if (!EnsureThread()) SetKernelTimer(timer, RealUntil(deadline, kForever / 4) + 1, interval);
  changes.fetch_add(1);
  WakeWord(&changes, 1, false);
}

constexpr size_t kNotedDescriptors = 4096;
/** Clock + 1 of the descriptors that were created through us. */
std::atomic<uint8_t> clocks[kNotedDescriptors];

clockid_t ClockOf(int fd) {
  const uint8_t noted = static_cast<size_t>(fd) < kNotedDescriptors ? clocks[fd].load() : 0;
  return noted == 0 ? CLOCK_MONOTONIC : noted - 1;
}

timeval ToTimeval(const timespec& time) { return {time.tv_sec, time.tv_nsec / 1000}; }

/** An interval timer that came over an exec is taken over. */
__attribute__((constructor(200))) void AdoptIntervalTimer() {
  itimerval value = {};
  if (!HasWorld() || real_getitimer(ITIMER_REAL, &value) != 0) return;
  const int64_t remaining = FromTimeval(value.it_value);
  if (remaining == 0) return;
  const Locked locked;
  Timer* timer = FindInterval(true);
  if (timer == nullptr || timer->kind != kFree) return;
  timer->kind = kInterval;
  Arm(*timer, AddNs(VirtualMonotonic(), remaining), FromTimeval(value.it_interval));
}

}  // namespace

namespace clove::clock {

void TimersAfterFork() {
  // Interval and POSIX timers are not inherited; descriptors are, and the parent's thread serves them.
  pthread_mutex_init(&lock, nullptr);
  isRunning = false;
  for (Timer& timer : timers) timer.kind = kFree;
}

void TimersBeforeExec() {
  if (!HasWorld()) return;
  for (const Timer& timer : timers)
    if ((timer.kind == kInterval || timer.kind == kDescriptor) && timer.deadline != kForever)
      SetKernelTimer(timer, RealUntil(timer.deadline, kForever / 4) + 1, timer.interval);
}

int NoteTimerDescriptor(int fd, clockid_t clock) {
  if (fd >= 0 && static_cast<size_t>(fd) < kNotedDescriptors) clocks[fd].store(static_cast<uint8_t>(clock + 1));
  return fd;
}

bool TakeExpirations(int fd, uint64_t* count) {
  const Locked locked;
  Timer* timer = FindDescriptor(fd);
  if (timer == nullptr) return false;
  if (timer->expirations > *count) *count = timer->expirations;
  timer->expirations = 0;
  return true;
}

}  // namespace clove::clock

CLOVE_INTERPOSE(int, setitimer, int which, const itimerval* value, itimerval* before) {
  if (!HasWorld() || which != ITIMER_REAL || value == nullptr) return real_setitimer(which, value, before);
  if (value->it_value.tv_usec < 0 || value->it_value.tv_usec > 999999 || value->it_value.tv_sec < 0) return Answer(-EINVAL);
  const Locked locked;
  Timer* timer = FindInterval(true);
  if (timer == nullptr) return real_setitimer(which, value, before);
  if (before != nullptr) {
    const itimerspec remaining = Remaining(timer->kind == kFree ? nullptr : timer);
    *before = {ToTimeval(remaining.it_interval), ToTimeval(remaining.it_value)};
  }
  timer->kind = kInterval;
  const int64_t first = FromTimeval(value->it_value);
  Arm(*timer, first == 0 ? kForever : AddNs(VirtualMonotonic(), first), FromTimeval(value->it_interval));
  return 0;
}

CLOVE_INTERPOSE(int, getitimer, int which, itimerval* value) {
  if (!HasWorld() || which != ITIMER_REAL) return real_getitimer(which, value);
  const Locked locked;
  const itimerspec remaining = Remaining(FindInterval());
  *value = {ToTimeval(remaining.it_interval), ToTimeval(remaining.it_value)};
  return 0;
}

CLOVE_INTERPOSE(unsigned, alarm, unsigned seconds) {
  if (!HasWorld()) return real_alarm(seconds);
  const itimerval value = {{0, 0}, {static_cast<time_t>(seconds), 0}};
  itimerval before = {};
  if (clove_setitimer(ITIMER_REAL, &value, &before) != 0) return 0;
  // Rounded, but never to "there was none".
  const auto whole = static_cast<unsigned>(before.it_value.tv_sec + (before.it_value.tv_usec >= 500000 ? 1 : 0));
  return whole == 0 && before.it_value.tv_usec != 0 ? 1 : whole;
}

CLOVE_INTERPOSE(int, timer_create, clockid_t clock, struct sigevent* event, timer_t* id) {
  const int result = real_timer_create(clock, event, id);
  if (result == 0 && HasWorld() && IsVirtual(clock)) {
    const Locked locked;
    Timer* timer = FindPosix(*id, true);
    if (timer != nullptr) *timer = {kUnarmed, kPosix, clock, *id};
  }
  return result;
}

CLOVE_INTERPOSE(int, timer_settime, timer_t id, int flags, const itimerspec* value, itimerspec* before) {
  if (!HasWorld()) return real_timer_settime(id, flags, value, before);
  if (value == nullptr || !IsValid(*value)) return Answer(-EINVAL);
  const Locked locked;
  Timer* timer = FindPosix(id);
  if (timer == nullptr) return real_timer_settime(id, flags, value, before);
  if (before != nullptr) *before = Remaining(timer);
  Arm(*timer, DeadlineOf(timer->fd, (flags & TIMER_ABSTIME) != 0, *value), ToNsClamped(value->it_interval));
  return 0;
}

CLOVE_INTERPOSE(int, timer_gettime, timer_t id, itimerspec* value) {
  if (!HasWorld()) return real_timer_gettime(id, value);
  const Locked locked;
  const Timer* timer = FindPosix(id);
  if (timer == nullptr) return real_timer_gettime(id, value);
  *value = Remaining(timer);
  return 0;
}

CLOVE_INTERPOSE(int, timer_delete, timer_t id) {
  if (HasWorld()) {
    const Locked locked;
    Timer* timer = FindPosix(id);
    if (timer != nullptr) timer->kind = kFree;
  }
  return real_timer_delete(id);
}

CLOVE_INTERPOSE(int, timerfd_settime, int fd, int flags, const itimerspec* value, itimerspec* before) {
  if (!HasWorld()) return real_timerfd_settime(fd, flags, value, before);
  if (value == nullptr || !IsValid(*value)) return Answer(-EINVAL);
  itimerspec current;
  if (real_timerfd_gettime(fd, &current) != 0) return -1;
  const Locked locked;
  Timer* timer = FindDescriptor(fd, true);
  if (timer == nullptr) return real_timerfd_settime(fd, flags, value, before);
  if (timer->kind == kFree) *timer = {kUnarmed, kDescriptor, fd, nullptr};
  if (before != nullptr) *before = Remaining(timer);
  const int64_t deadline = DeadlineOf(ClockOf(fd), (flags & TFD_TIMER_ABSTIME) != 0, *value);
  Arm(*timer, deadline, ToNsClamped(value->it_interval));
  return 0;
}

CLOVE_INTERPOSE(int, timerfd_gettime, int fd, itimerspec* value) {
  if (!HasWorld()) return real_timerfd_gettime(fd, value);
  const Locked locked;
  const Timer* timer = FindDescriptor(fd);
  if (timer == nullptr) return real_timerfd_gettime(fd, value);
  *value = Remaining(timer);
  return 0;
}
