// What clove-init's sources need from a runtime, here from the C library; and what a forked interpreter needs mended.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>

#include "../init/sys.h"
#include "zygote.h"

namespace clove {

void DefaultSignal(int number) {
  // The kernel's structure, all zero; the library refuses the two numbers it keeps for itself.
  const uint64_t standard[4] = {};
  syscall(SYS_rt_sigaction, number, standard, nullptr, 8);
}

int CloneWithStack(int (*entry)(void*), char* stackTop, unsigned long flags, void* argument, int* pidfd, int* childTid) {
  return clone(entry, stackTop, static_cast<int>(flags), argument, pidfd, nullptr, childTid);
}

namespace {

std::atomic<bool> forked{false};

/** A set that signal handlers and forks may meet in any state. */
template <size_t size>
class Left {
 public:
  void Add(uintptr_t value) {
    for (auto& entry : entries_) {
      uintptr_t expected = 0;
      if (entry.compare_exchange_strong(expected, value)) return;
    }
  }
  void Remove(uintptr_t value) {
    for (auto& entry : entries_) {
      uintptr_t expected = value;
      if (entry.compare_exchange_strong(expected, 0)) return;
    }
  }
  bool Has(uintptr_t value) const {
    for (const auto& entry : entries_)
      if (entry.load(std::memory_order_relaxed) == value) return true;
    return false;
  }

 private:
  std::atomic<uintptr_t> entries_[size]{};
};
Left<512> threads;
int exitStatus = 1;

/** A thread of the template that waits for work: what a forked process needs to have it again. */
struct Waiter {
  std::atomic<bool> taken{false}, waits{false};
  pthread_cond_t* condition;
  pthread_mutex_t* mutex;
  jmp_buf place;
};
Waiter waiters[64];
thread_local bool isOurs;

Waiter* TakeWaiter() {
  if (!isOurs) return nullptr;
  for (Waiter& waiter : waiters)
    if (!waiter.taken.exchange(true)) return &waiter;
  return nullptr;
}

struct Start {
  void* (*entry)(void*);
  void* argument;
};

void* Run(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  free(argument);
  isOurs = true;
  void* const result = start.entry(start.argument);
  // In a forked process this frame is that of a thread which the library does not know: the process is about to end.
  while (forked.load()) pause();
  return result;
}

/** Goes on where a thread of the template waited, on its stack, with the mutex it had. */
void* Resume(void* argument) {
  auto* const waiter = static_cast<Waiter*>(argument);
  longjmp(waiter->place, 1);
}

/**
 * A condition counts its waiters, and whoever signals or destroys it waits for those who left their count: for ever, when they
 * are threads that no fork takes along. Empty again but for its kind (shared, clock), which the library keeps in two bits.
 */
void Empty(pthread_cond_t* condition) {
  auto* const words = reinterpret_cast<uint32_t*>(condition);
  constexpr size_t kReferences = 9;
  static_assert(sizeof(pthread_cond_t) == 48);
  const uint32_t kind = words[kReferences] & 3;
  memset(words, 0, sizeof(pthread_cond_t));
  words[kReferences] = kind;
}

void AfterFork() {
  forked.store(true);
  for (const Waiter& waiter : waiters)
    if (waiter.waits.load()) Empty(waiter.condition);
}
__attribute__((constructor)) void Register() { pthread_atfork(nullptr, nullptr, AfterFork); }

template <typename Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

template <typename T>
uintptr_t Key(T value) {
  return (uintptr_t)value;
}

}  // namespace
}  // namespace clove

// Preloaded into the template, so that these come before the C library's. V8 asks the kernel not to give its heap to
// children, which only a program that forks to execute may want.
extern "C" {

using namespace clove;
#define EXPORT __attribute__((visibility("default")))

EXPORT int madvise(void* start, size_t length, int advice) noexcept {
  if (advice == MADV_DONTFORK) return 0;
  return static_cast<int>(syscall(SYS_madvise, start, length, advice));
}

/**
 * A thread's name is the place of its stack. One of the library's own would be given out anew in a forked process, and the new
 * thread could not be told from the one that is no more; a stack of ours stays where it is.
 */
EXPORT int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) noexcept {
  static const auto create = Next<decltype(&pthread_create)>("pthread_create");
  if (forked.load()) return create(thread, attributes, start, argument);
  pthread_attr_t own;
  size_t size = 0;
  pthread_attr_init(&own);
  pthread_attr_getstacksize(attributes != nullptr ? attributes : &own, &size);
  if (attributes != nullptr) own = *attributes;
  void* const stack = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return EAGAIN;
  pthread_attr_setstack(&own, stack, size);
  auto* const first = static_cast<Start*>(malloc(sizeof(Start)));
  *first = {start, argument};
  const int result = create(thread, &own, Run, first);
  if (result == 0) {
    threads.Add(Key(*thread));
  } else {
    munmap(stack, size);
    free(first);
  }
  return result;
}

int* clove_zygote_exit_status() { return &exitStatus; }

/**
 * Node joins the workers of its platform last of all, when every program and every hook has ended. In an agent they are not
 * there, nor is the event loop of one of them: the process ends here, with the status that was decided before.
 */
EXPORT int pthread_join(pthread_t thread, void** result) {
  static const auto join = Next<decltype(&pthread_join)>("pthread_join");
  if (forked.load() && threads.Has(Key(thread))) {
    fflush(nullptr);
    _exit(exitStatus);
  }
  const int answer = join(thread, result);
  if (!forked.load()) threads.Remove(Key(thread));
  return answer;
}

EXPORT int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  static const auto wait = Next<decltype(&pthread_cond_wait)>("pthread_cond_wait");
  Waiter* const waiter = forked.load() ? nullptr : TakeWaiter();
  if (waiter == nullptr) return wait(condition, mutex);
  waiter->condition = condition;
  waiter->mutex = mutex;
  // The second return is that of a new thread: woken without a reason, as every waiter must be ready to be.
  if (setjmp(waiter->place) != 0) return pthread_mutex_lock(mutex);
  waiter->waits.store(true);
  const int answer = wait(condition, mutex);
  waiter->waits.store(false);
  waiter->taken.store(false);
  return answer;
}

/**
 * The threads of the template that waited for work, again, in a forked process: without Node's platform worker, what is handed
 * to it would never be done, and Node waits for that. Returns how many.
 */
int clove_zygote_resume_threads() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  int count = 0;
  for (Waiter& waiter : waiters) {
    pthread_t thread;
    if (waiter.waits.load() && pthread_create(&thread, &attributes, Resume, &waiter) == 0) count++;
  }
  return count;
}

EXPORT int pthread_mutex_destroy(pthread_mutex_t* mutex) noexcept {
  static const auto destroy = Next<decltype(&pthread_mutex_destroy)>("pthread_mutex_destroy");
  const int answer = destroy(mutex);
  // Still counted as used by a thread that waited on a condition with it.
  return answer == EBUSY && forked.load() ? 0 : answer;
}
}
