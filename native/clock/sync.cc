// Semaphores, condition variables and locks with time-outs.
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <threads.h>

#include "library.h"

using namespace clove::clock;

namespace {

// ---- semaphores: the words of the C library's own, so that its sem_post and sem_wait go together with our waits

/** sem_t of glibc on 64-bit machines. */
struct Semaphore {
  std::atomic<uint64_t> data;  // value, and the number of waiters above it
  int shared;
  std::atomic<uint32_t>* value() { return reinterpret_cast<std::atomic<uint32_t>*>(&data); }
};
constexpr uint64_t kOneWaiter = 1ull << 32;

CLOVE_REAL(sem_wait, int (*)(sem_t*));
CLOVE_REAL(sem_timedwait, int (*)(sem_t*, const timespec*));
CLOVE_REAL(sem_clockwait, int (*)(sem_t*, clockid_t, const timespec*));
CLOVE_REAL(pthread_mutex_timedlock, int (*)(pthread_mutex_t*, const timespec*));
CLOVE_REAL(pthread_mutex_clocklock, int (*)(pthread_mutex_t*, clockid_t, const timespec*));
CLOVE_REAL(pthread_rwlock_timedrdlock, int (*)(pthread_rwlock_t*, const timespec*));
CLOVE_REAL(pthread_rwlock_timedwrlock, int (*)(pthread_rwlock_t*, const timespec*));
CLOVE_REAL(pthread_rwlock_clockrdlock, int (*)(pthread_rwlock_t*, clockid_t, const timespec*));
CLOVE_REAL(pthread_rwlock_clockwrlock, int (*)(pthread_rwlock_t*, clockid_t, const timespec*));
CLOVE_REAL(pthread_timedjoin_np, int (*)(pthread_t, void**, const timespec*));
CLOVE_REAL(pthread_clockjoin_np, int (*)(pthread_t, void**, clockid_t, const timespec*));

/** Whether a semaphore of this C library looks as above. */
bool KnowsSemaphores() {
  static std::atomic<int> known{0};
  int now = known.load(std::memory_order_relaxed);
  if (now == 0) {
    sem_t probe;
    auto& semaphore = *reinterpret_cast<Semaphore*>(&probe);
    now = -1;
    if (sizeof(sem_t) >= sizeof(Semaphore) && sem_init(&probe, 1, 7) == 0 && semaphore.data == 7 && semaphore.shared != 0 &&
        sem_init(&probe, 0, 9) == 0 && semaphore.data == 9 && semaphore.shared == 0)
      now = 1;
    known.store(now, std::memory_order_relaxed);
  }
  return now > 0;
}

/**
 * Repeats a wait of the C library that ends after a short real time, until the virtual deadline.
 * `attempt(moment)` answers ETIMEDOUT when that time is over; moment is real CLOCK_MONOTONIC or CLOCK_REALTIME.
 */
template <typename Attempt>
int Poll(int64_t deadline, clockid_t realClock, Attempt&& attempt) {
  Wait wait(kWaitChunk, deadline);
  for (;;) {
    const int64_t remaining = RealUntil(deadline, kPollNs);
    timespec now;
    RealClock(realClock, &now);
    const timespec moment = ToTimespec(ToNs(now) + remaining);
    const int error = attempt(&moment);
    if (error != ETIMEDOUT || remaining <= 0) return error;
  }
}

int SemaphoreWait(sem_t* sem, clockid_t clock, const timespec* moment) {
  auto& semaphore = *reinterpret_cast<Semaphore*>(sem);
  if (sem_trywait(sem) == 0) return 0;
  int64_t deadline;
  if (!IsValid(*moment) || !ToDeadline(clock, *moment, &deadline)) return Answer(-EINVAL);
  if (!KnowsSemaphores())
    return Answer(-Poll(deadline, CLOCK_REALTIME, [&](const timespec* real) { return real_sem_timedwait(sem, real) == 0 ? 0 : errno; }));
  uint64_t data = semaphore.data.fetch_add(kOneWaiter) + kOneWaiter;
  for (;;) {
    while (static_cast<uint32_t>(data) != 0)
      if (semaphore.data.compare_exchange_weak(data, data - 1 - kOneWaiter)) return 0;
    const int error = WaitOnWord(semaphore.value(), 0, semaphore.shared != 0, deadline, true);
    if (error == ETIMEDOUT || error == EINTR) {
      semaphore.data.fetch_sub(kOneWaiter);
      return Answer(-error);
    }
    data = semaphore.data.load();
  }
}

// ---- condition variables: wholly our own, since those of the C library cannot be ended early

struct Condition {
  /** Changes at every signal; waiters sleep on it. */
  std::atomic<uint32_t> sequence;
  std::atomic<uint32_t> waiters;
  uint32_t flags;
};
constexpr uint32_t kMonotonic = 1, kShared = 2;
static_assert(sizeof(Condition) <= sizeof(pthread_cond_t));

Condition& Of(pthread_cond_t* condition) { return *reinterpret_cast<Condition*>(condition); }

struct Waiter {
  Condition* condition;
  pthread_mutex_t* mutex;
};

/** A cancelled waiter, too, owns the mutex again. */
void Cancelled(void* argument) {
  auto& waiter = *static_cast<Waiter*>(argument);
  waiter.condition->waiters.fetch_sub(1);
  pthread_mutex_lock(waiter.mutex);
}

int ConditionWait(Condition& condition, pthread_mutex_t* mutex, int64_t deadline) {
  const uint32_t sequence = condition.sequence.load();
  const bool isShared = (condition.flags & kShared) != 0;
  condition.waiters.fetch_add(1);
  int error = pthread_mutex_unlock(mutex);
  if (error != 0) {
    condition.waiters.fetch_sub(1);
    return error;
  }
  Waiter waiter{&condition, mutex};
  pthread_cleanup_push(Cancelled, &waiter);
  do error = WaitOnWord(&condition.sequence, sequence, isShared, deadline, true);
  while (error == EINTR);
  pthread_cleanup_pop(0);
  condition.waiters.fetch_sub(1);
  const int locked = pthread_mutex_lock(mutex);
  if (locked != 0) return locked;
  return error == ETIMEDOUT ? ETIMEDOUT : 0;
}

int ConditionWaitUntil(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* moment) {
  int64_t deadline = kForever;
  if (!IsValid(*moment)) return EINVAL;
  if (HasWorld() && !ToDeadline(clock, *moment, &deadline)) return EINVAL;
  return ConditionWait(Of(condition), mutex, deadline);
}

int Wake(Condition& condition, int count) {
  if (condition.waiters.load() == 0) return 0;
  condition.sequence.fetch_add(1);
  WakeWord(&condition.sequence, count, (condition.flags & kShared) != 0);
  return 0;
}

int LockUntil(pthread_mutex_t* mutex, clockid_t clock, const timespec* moment) {
  const int tried = pthread_mutex_trylock(mutex);
  if (tried != EBUSY) return tried;
  int64_t deadline;
  if (!IsValid(*moment) || !ToDeadline(clock, *moment, &deadline)) return EINVAL;
  return Poll(deadline, CLOCK_REALTIME, [&](const timespec* real) { return real_pthread_mutex_timedlock(mutex, real); });
}

template <typename Try, typename Lock>
int RwLockUntil(clockid_t clock, const timespec* moment, Try&& attempt, Lock&& lock) {
  const int tried = attempt();
  if (tried != EBUSY) return tried;
  int64_t deadline;
  if (!IsValid(*moment) || !ToDeadline(clock, *moment, &deadline)) return EINVAL;
  return Poll(deadline, CLOCK_REALTIME, lock);
}

}  // namespace

CLOVE_INTERPOSE(int, sem_timedwait, sem_t* sem, const timespec* moment) {
  return HasWorld() ? SemaphoreWait(sem, CLOCK_REALTIME, moment) : real_sem_timedwait(sem, moment);
}

CLOVE_INTERPOSE(int, sem_clockwait, sem_t* sem, clockid_t clock, const timespec* moment) {
  return HasWorld() ? SemaphoreWait(sem, clock, moment) : real_sem_clockwait(sem, clock, moment);
}

CLOVE_INTERPOSE(int, sem_wait, sem_t* sem) {
  if (!HasWorld() || sem_trywait(sem) == 0) return HasWorld() ? 0 : real_sem_wait(sem);
  Wait untimed(kWaitChunk, kForever);
  return real_sem_wait(sem);
}

CLOVE_INTERPOSE(int, pthread_cond_init, pthread_cond_t* condition, const pthread_condattr_t* attributes) {
  Condition& own = Of(condition);
  own.sequence.store(0);
  own.waiters.store(0);
  own.flags = 0;
  if (attributes == nullptr) return 0;
  clockid_t clock = CLOCK_REALTIME;
  int isShared = PTHREAD_PROCESS_PRIVATE;
  pthread_condattr_getclock(attributes, &clock);
  pthread_condattr_getpshared(attributes, &isShared);
  own.flags = (clock == CLOCK_MONOTONIC ? kMonotonic : 0) | (isShared == PTHREAD_PROCESS_SHARED ? kShared : 0);
  return 0;
}

CLOVE_INTERPOSE(int, pthread_cond_destroy, pthread_cond_t* condition) {
  // Who was woken just now still looks at it once more.
  for (int i = 0; i < 1000 && Of(condition).waiters.load() != 0; i++) sched_yield();
  return 0;
}

CLOVE_INTERPOSE(int, pthread_cond_signal, pthread_cond_t* condition) { return Wake(Of(condition), 1); }
CLOVE_INTERPOSE(int, pthread_cond_broadcast, pthread_cond_t* condition) { return Wake(Of(condition), INT32_MAX); }

CLOVE_INTERPOSE(int, pthread_cond_wait, pthread_cond_t* condition, pthread_mutex_t* mutex) {
  return ConditionWait(Of(condition), mutex, kForever);
}

CLOVE_INTERPOSE(int, pthread_cond_timedwait, pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* moment) {
  const clockid_t clock = (Of(condition).flags & kMonotonic) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
  return ConditionWaitUntil(condition, mutex, clock, moment);
}

CLOVE_INTERPOSE(int, pthread_cond_clockwait, pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* moment) {
  return ConditionWaitUntil(condition, mutex, clock, moment);
}

CLOVE_INTERPOSE(int, cnd_init, pthread_cond_t* condition) {
  clove_pthread_cond_init(condition, nullptr);
  return thrd_success;
}
CLOVE_INTERPOSE(void, cnd_destroy, pthread_cond_t* condition) { clove_pthread_cond_destroy(condition); }
CLOVE_INTERPOSE(int, cnd_signal, pthread_cond_t* condition) { return Wake(Of(condition), 1); }
CLOVE_INTERPOSE(int, cnd_broadcast, pthread_cond_t* condition) { return Wake(Of(condition), INT32_MAX); }
CLOVE_INTERPOSE(int, cnd_wait, pthread_cond_t* condition, pthread_mutex_t* mutex) {
  return ConditionWait(Of(condition), mutex, kForever) == 0 ? thrd_success : thrd_error;
}
CLOVE_INTERPOSE(int, cnd_timedwait, pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* moment) {
  const int error = ConditionWaitUntil(condition, mutex, CLOCK_REALTIME, moment);
  return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

CLOVE_INTERPOSE(int, pthread_mutex_timedlock, pthread_mutex_t* mutex, const timespec* moment) {
  return HasWorld() ? LockUntil(mutex, CLOCK_REALTIME, moment) : real_pthread_mutex_timedlock(mutex, moment);
}

CLOVE_INTERPOSE(int, pthread_mutex_clocklock, pthread_mutex_t* mutex, clockid_t clock, const timespec* moment) {
  return HasWorld() ? LockUntil(mutex, clock, moment) : real_pthread_mutex_clocklock(mutex, clock, moment);
}

CLOVE_INTERPOSE(int, mtx_timedlock, pthread_mutex_t* mutex, const timespec* moment) {
  const int error = clove_pthread_mutex_timedlock(mutex, moment);
  return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : error == EBUSY ? thrd_busy : thrd_error;
}

CLOVE_INTERPOSE(int, pthread_rwlock_clockrdlock, pthread_rwlock_t* lock, clockid_t clock, const timespec* moment) {
  if (!HasWorld()) return real_pthread_rwlock_clockrdlock(lock, clock, moment);
  return RwLockUntil(
      clock, moment, [&] { return pthread_rwlock_tryrdlock(lock); },
      [&](const timespec* real) { return real_pthread_rwlock_timedrdlock(lock, real); });
}

CLOVE_INTERPOSE(int, pthread_rwlock_clockwrlock, pthread_rwlock_t* lock, clockid_t clock, const timespec* moment) {
  if (!HasWorld()) return real_pthread_rwlock_clockwrlock(lock, clock, moment);
  return RwLockUntil(
      clock, moment, [&] { return pthread_rwlock_trywrlock(lock); },
      [&](const timespec* real) { return real_pthread_rwlock_timedwrlock(lock, real); });
}

CLOVE_INTERPOSE(int, pthread_rwlock_timedrdlock, pthread_rwlock_t* lock, const timespec* moment) {
  return HasWorld() ? clove_pthread_rwlock_clockrdlock(lock, CLOCK_REALTIME, moment) : real_pthread_rwlock_timedrdlock(lock, moment);
}

CLOVE_INTERPOSE(int, pthread_rwlock_timedwrlock, pthread_rwlock_t* lock, const timespec* moment) {
  return HasWorld() ? clove_pthread_rwlock_clockwrlock(lock, CLOCK_REALTIME, moment) : real_pthread_rwlock_timedwrlock(lock, moment);
}

CLOVE_INTERPOSE(int, pthread_clockjoin_np, pthread_t thread, void** value, clockid_t clock, const timespec* moment) {
  int64_t deadline;
  if (!HasWorld() || moment == nullptr) return real_pthread_clockjoin_np(thread, value, clock, moment);
  if (!IsValid(*moment) || !ToDeadline(clock, *moment, &deadline)) return EINVAL;
  return Poll(deadline, CLOCK_REALTIME, [&](const timespec* real) { return real_pthread_timedjoin_np(thread, value, real); });
}

CLOVE_INTERPOSE(int, pthread_timedjoin_np, pthread_t thread, void** value, const timespec* moment) {
  return HasWorld() ? clove_pthread_clockjoin_np(thread, value, CLOCK_REALTIME, moment) : real_pthread_timedjoin_np(thread, value, moment);
}
