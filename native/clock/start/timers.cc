// Timers of the kernel that outlive the call: alarm, setitimer, timer_*, timerfd_*. Each is kept here with its virtual deadline; a
// thread of ours sleeps until the next one and has the kernel's timer expire at that moment, so that the signal or the readiness is
// the kernel's own.
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>

#include "../schedule.h"
#include "start.h"

namespace clove::clock {

namespace {

enum Kind : uint8_t { kFree, kInterval, kPosix, kDescriptor };

struct Timer : Schedule {
  Kind kind;
  /** Its descriptor or number. */
  int id;
  int clock;
};

constexpr int kTimers = 256;
constexpr size_t kThreadStack = 64 << 10;
/** Sets the count of a timer's expirations: _IOW('T', 0, u64). */
constexpr long kSetTicks = 0x40085400;
Timer timers[kTimers];
/**
 * What belongs to this memory, and is empty in that of a fork: the lock, which a thread that is not there may have held at the fork. A
 * vfork child shares the memory, whose lock is really held.
 */
struct alignas(4096) OfMemory {
  std::atomic<uint32_t> lock{0};
  /** The timers are those that were set here. */
  bool isKnown = false;
  char rest[4096 - 8] = {};
};
OfMemory ofMemory;
static_assert(sizeof ofMemory == 4096);
/** Whether the kernel empties it. */
bool isEmptied = false;
/** Futex: changes when a deadline was set. */
std::atomic<uint32_t> changes{0};
/** The process whose timers these are, and whose thread it is: of a fork, neither. */
int32_t owner = 0;

class Locked {
 public:
  Locked() {
    // A handler that sets a timer must not meet its own thread in here.
    const Mask all = ~Mask{0};
    SystemCall(SYS_rt_sigprocmask, SIG_SETMASK, Value(&all), Value(&before_), sizeof before_);
    while (ofMemory.lock.exchange(1, std::memory_order_acquire) != 0) SystemCall(SYS_sched_yield);
  }
  ~Locked() {
    ofMemory.lock.store(0, std::memory_order_release);
    SystemCall(SYS_rt_sigprocmask, SIG_SETMASK, Value(&before_), 0, sizeof before_);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Mask before_ = 0;
};

timeval ToTimeval(int64_t ns) {
  const timespec time = ToTimespec(ns + (ns > 0 ? 999 : 0));
  return {time.tv_sec, time.tv_nsec / 1000};
}

/** Has the kernel's timer expire after this real time; 0 = disarms it. */
long SetKernelTimer(const Timer& timer, int64_t realNs, int64_t interval) {
  const itimerspec value = {ToTimespec(interval), ToTimespec(realNs)};
  const itimerval coarse = {ToTimeval(interval), ToTimeval(realNs)};
  switch (timer.kind) {
    case kInterval:
      return SystemCall(SYS_setitimer, ITIMER_REAL, Value(&coarse), 0);
    case kPosix:
      return SystemCall(SYS_timer_settime, timer.id, 0, Value(&value), 0);
    case kDescriptor:
      return SystemCall(SYS_timerfd_settime, timer.id, 0, Value(&value), 0);
    default:
      return 0;
  }
}

/** Whether the kernel's timer still has to expire. */
bool IsPending(const Timer& timer) {
  itimerspec value = {};
  itimerval coarse = {};
  if (timer.kind == kInterval) SystemCall(SYS_getitimer, ITIMER_REAL, Value(&coarse));
  else SystemCall(timer.kind == kPosix ? SYS_timer_gettime : SYS_timerfd_gettime, timer.id, Value(&value));
  return value.it_value.tv_sec != 0 || value.it_value.tv_nsec != 0 || coarse.it_value.tv_sec != 0 || coarse.it_value.tv_usec != 0;
}

/** False: the descriptor is another's by now. */
bool ExpireDescriptor(Timer& timer, uint64_t more) {
  itimerspec ignored;
  if (SystemCall(SYS_timerfd_gettime, timer.id, Value(&ignored)) < 0) return false;
  pollfd state = {timer.id, POLLIN, 0};
  const timespec now = {0, 0};
  const bool isUnread = SystemCall(SYS_ppoll, Value(&state), 1, Value(&now), 0, 0) == 1;
  timer.expirations = (isUnread ? timer.expirations : 0) + more;
  if (SystemCall(SYS_ioctl, timer.id, kSetTicks, Value(&timer.expirations)) == 0) return true;
  // A kernel without it: one expiration for all.
  SetKernelTimer(timer, 1, 0);
  for (int i = 0; i < 10000 && IsPending(timer); i++) SystemCall(SYS_sched_yield);
  return true;
}

void Expire(Timer& timer, int64_t now) {
  const uint64_t more = timer.Advance(now);
  if (timer.kind == kDescriptor) {
    if (!ExpireDescriptor(timer, more)) timer.kind = kFree;
    return;
  }
  SetKernelTimer(timer, 1, 0);
  // Until the kernel has let it expire nobody is awake but this thread, and it must be: else time could jump over the moment.
  for (int i = 0; i < 10000 && IsPending(timer); i++) SystemCall(SYS_sched_yield);
}

/** Expires what is due; the next deadline. */
int64_t RunTimers() {
  const Locked locked;
  int64_t next = kForever;
  const int64_t now = VirtualMonotonic();
  for (Timer& timer : timers) {
    if (timer.kind == kFree) continue;
    if (timer.deadline <= now) Expire(timer, now);
    if (timer.kind != kFree && timer.deadline < next) next = timer.deadline;
  }
  return next;
}

extern "C" [[noreturn]] __attribute__((used)) void clove_run_timers() {
  SystemCall(SYS_prctl, PR_SET_NAME, Value("clove-timers"));
  for (;;) {
    const uint32_t before = changes.load();
    WaitOnWord(&changes, before, false, RunTimers());
  }
}

// The new thread has our stack and no thread-local storage; it never leaves this file.
__asm__(R"(
.text
clove_clone_timers:
  movl $56, %eax
  xorl %edx, %edx
  xorl %r10d, %r10d
  xorl %r8d, %r8d
  syscall
  testl %eax, %eax
  jnz 1f
  xorl %ebp, %ebp
  andq $-16, %rsp
  call clove_run_timers
1: ret
)");
extern "C" long clove_clone_timers(long flags, void* stackTop);

/** Under the lock. False: no thread to be had, the kernel's timer must do. */
bool EnsureThread() {
  static bool isRunning = false;
  const auto process = static_cast<int32_t>(SystemCall(SYS_getpid));
  if (isRunning && owner == process) return true;
  owner = process;
  const long stack = SystemCall(SYS_mmap, 0, kThreadStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack < 0 && stack >= -kError) return isRunning = false;
  constexpr long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  // All signals are blocked here, and the thread inherits that.
  return isRunning = clove_clone_timers(flags, reinterpret_cast<char*>(stack) + kThreadStack) > 0;
}

/** Under the lock. In a fork: interval and POSIX timers are not inherited; descriptors are, and the parent's thread serves them. */
void ForgetParents() {
  const auto process = static_cast<int32_t>(SystemCall(SYS_getpid));
  const bool isKnown = ofMemory.isKnown;
  ofMemory.isKnown = isEmptied;
  if (isKnown || owner == 0 || owner == process) return;
  for (Timer& timer : timers) {
    if (timer.kind == kDescriptor) timer.deadline = kForever;
    else timer.kind = kFree;
  }
  owner = 0;
}

Timer* Find(Kind kind, int id) {
  for (Timer& timer : timers)
    if (timer.kind == kind && timer.id == id) return &timer;
  return nullptr;
}

Timer* Take(Kind kind, int id, int clock) {
  for (Timer& timer : timers) {
    if (timer.kind != kFree) continue;
    timer = {kUnarmed, kind, id, clock};
    return &timer;
  }
  return nullptr;
}

void Arm(Timer& timer, int64_t deadline, int64_t interval) {
  static_cast<Schedule&>(timer) = {deadline, interval, 0};
  SetKernelTimer(timer, 0, 0);
  if (deadline == kForever) return;
  if (!EnsureThread()) SetKernelTimer(timer, RealUntil(deadline, kForever / 4) + 1, interval);
  changes.fetch_add(1);
  SystemCall(SYS_futex, Value(&changes), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

itimerval Coarse(const itimerspec& value) { return {ToTimeval(ToNs(value.it_interval)), ToTimeval(ToNs(value.it_value))}; }

long SetInterval(const itimerval* value, itimerval* before) {
  Timer* timer = Find(kInterval, 0);
  if (before != nullptr) *before = Coarse(Remaining(timer));
  if (value == nullptr) return 0;
  if (timer == nullptr) timer = Take(kInterval, 0, CLOCK_MONOTONIC);
  if (timer == nullptr) return SystemCall(SYS_setitimer, ITIMER_REAL, Value(value), Value(before));
  const int64_t first = FromTimeval(value->it_value);
  Arm(*timer, first == 0 ? kForever : AddNs(VirtualMonotonic(), first), FromTimeval(value->it_interval));
  return 0;
}

long SetAlarm(long seconds) {
  const itimerval value = {{0, 0}, {static_cast<unsigned>(seconds), 0}};
  itimerval before = {};
  SetInterval(&value, &before);
  // Rounded, but never to "there was none".
  const long whole = before.it_value.tv_sec + (before.it_value.tv_usec >= 500000 ? 1 : 0);
  return whole == 0 && before.it_value.tv_usec != 0 ? 1 : whole;
}

long SetTimer(long number, const long* a, Kind kind) {
  const auto* value = reinterpret_cast<const itimerspec*>(a[2]);
  auto* before = reinterpret_cast<itimerspec*>(a[3]);
  const auto id = static_cast<int>(a[0]);
  Timer* timer = Find(kind, id);
  if (value == nullptr || !IsValid(*value)) return -EINVAL;
  itimerspec ignored;
  if (timer == nullptr && kind == kDescriptor && SystemCall(SYS_timerfd_gettime, id, Value(&ignored)) == 0)
    timer = Take(kind, id, CLOCK_MONOTONIC);  // it came over an exec
  if (timer == nullptr) return SystemCall(number, a[0], a[1], a[2], a[3]);
  if (before != nullptr) *before = Remaining(timer);
  Arm(*timer, DeadlineOf(timer->clock, (a[1] & TIMER_ABSTIME) != 0, *value), ToNsClamped(value->it_interval));
  return 0;
}

long GetTimer(long number, const long* a, Kind kind) {
  const Timer* timer = Find(kind, static_cast<int>(a[0]));
  if (timer == nullptr) return SystemCall(number, a[0], a[1]);
  *reinterpret_cast<itimerspec*>(a[1]) = Remaining(timer);
  return 0;
}

/** A new timer of the kernel: where there is no room to keep one it has the kernel's time, and the process says so. */
void Keep(Kind kind, int id, int clock) {
  if (Timer* old = Find(kind, id)) old->kind = kFree;
  if (Take(kind, id, clock) == nullptr) Pin(kPinTimers);
}

}  // namespace

long OnTimerCall(long number, const long* a) {
  const Locked locked;
  ForgetParents();
  switch (number) {
    case SYS_setitimer: {
      const auto* value = reinterpret_cast<const itimerval*>(a[1]);
      if (value != nullptr && (value->it_value.tv_usec < 0 || value->it_value.tv_usec > 999999 || value->it_value.tv_sec < 0)) return -EINVAL;
      const itimerval none = {};
      return SetInterval(value == nullptr ? &none : value, reinterpret_cast<itimerval*>(a[2]));
    }
    case SYS_getitimer:
      return SetInterval(nullptr, reinterpret_cast<itimerval*>(a[1]));
    case SYS_alarm:
      return SetAlarm(a[0]);
    case SYS_timer_create: {
      const long result = SystemCall(number, a[0], a[1], a[2]);
      if (result == 0 && IsVirtual(a[0])) Keep(kPosix, *reinterpret_cast<const int*>(a[2]), static_cast<int>(a[0]));
      return result;
    }
    case SYS_timer_settime:
      return SetTimer(number, a, kPosix);
    case SYS_timer_gettime:
      return GetTimer(number, a, kPosix);
    case SYS_timer_delete:
      if (Timer* timer = Find(kPosix, static_cast<int>(a[0]))) timer->kind = kFree;
      return SystemCall(number, a[0]);
    case SYS_timerfd_create: {
      const long fd = SystemCall(number, a[0], a[1]);
      if (fd >= 0) Keep(kDescriptor, static_cast<int>(fd), static_cast<int>(a[0]));
      return fd;
    }
    case SYS_timerfd_settime:
      return SetTimer(number, a, kDescriptor);
    case SYS_timerfd_gettime:
      return GetTimer(number, a, kDescriptor);
    default:
      return SystemCall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
}

void TimersBeforeExec() {
  if (!HasWorld() || owner != SystemCall(SYS_getpid)) return;
  for (const Timer& timer : timers)
    if ((timer.kind == kInterval || timer.kind == kDescriptor) && timer.deadline != kForever)
      SetKernelTimer(timer, RealUntil(timer.deadline, kForever / 4) + 1, timer.interval);
}

void PrepareTimers() {
  isEmptied = SystemCall(SYS_madvise, Value(&ofMemory), sizeof ofMemory, MADV_WIPEONFORK) == 0;
  ofMemory.isKnown = isEmptied;
  itimerval value = {};
  if (SystemCall(SYS_getitimer, ITIMER_REAL, Value(&value)) != 0 || (value.it_value.tv_sec == 0 && value.it_value.tv_usec == 0)) return;
  const Locked locked;
  SetInterval(&value, nullptr);
}

}  // namespace clove::clock
