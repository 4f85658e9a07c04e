// Round robin for threads that answer calls, taken back from whichever of them keeps its processor busy.
//
// The fair scheduler weighs: a thread that just worked for a moment has to wait until others have had as much, and those are looked at
// only every few milliseconds. An agent beside a busy neighbour noticed that in one call of a hundred. A thread with a real-time policy
// runs when it wakes up. So that this is never a way to take a processor from others, a guard looks every 10 ms what each thread used.
#include "urgent.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>

#include "responsive.h"

namespace clove {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kThreadPriority = 1, kGuardPriority = 2;
constexpr auto kBusyPeriod = std::chrono::milliseconds(10), kIdlePeriod = std::chrono::milliseconds(40);
/** Of one processor, averaged over some two periods; all members together, of those processors that they may run on. */
constexpr double kMostLoad = 0.6;
/** A thread that took more is an ordinary one for so long. */
constexpr auto kPenalty = std::chrono::milliseconds(100);
/** In a period; below, nobody needs to be looked at soon. */
constexpr double kIdleLoad = 0.02;

struct Member {
  pid_t thread;
  clockid_t clock;
  double usedMs = 0, load = 0;
  bool urgent = false;
  Clock::time_point ordinaryUntil{};
};

double UsedMs(clockid_t clock) {
  timespec used{};
  clock_gettime(clock, &used);
  return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
}

bool SetPolicy(pid_t thread, uint32_t policy, uint32_t priority) {
  SchedulingAttributes attributes{kSchedulingAttributesSize, policy, SCHED_FLAG_RESET_ON_FORK, 0, priority, 0, 0, 0};
  return syscall(SYS_sched_setattr, thread, &attributes, 0) == 0;
}

class Guard {
 public:
  /** Lives to the end of the process: threads may leave after everything else. */
  static Guard& Get() {
    static Guard* const guard = new Guard;
    return *guard;
  }

  void Join(pid_t thread) {
    Member member{thread, {}};
    if (pthread_getcpuclockid(pthread_self(), &member.clock) != 0) return;
    std::lock_guard lock(mutex_);
    members_.push_back(member);
    if (running_) Raise(members_.back());
  }

  void Leave(pid_t thread) {
    std::lock_guard lock(mutex_);
    members_.remove_if([&](Member& member) {
      if (member.thread == thread) Lower(member);
      return member.thread == thread;
    });
  }

  /** False: this process may not. */
  bool Start() {
    std::lock_guard lock(mutex_);
    if (running_) return !refused_;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    stopping_ = false;
    const bool started = pthread_create(&thread_, nullptr, &Guard::Main, this) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started) return false;
    pthread_setname_np(thread_, "clove-urgent");
    running_ = true;
    // Without a guard above them none of them may be raised.
    const sched_param parameters{kGuardPriority};
    if (pthread_setschedparam(thread_, SCHED_FIFO, &parameters) != 0) {
      refused_ = true;
      return false;
    }
    refused_ = false;
    for (Member& member : members_) Raise(member);
    return true;
  }

  void Stop() {
    {
      std::lock_guard lock(mutex_);
      if (!running_) return;
      stopping_ = true;
      for (Member& member : members_) Lower(member);
      wake_.notify_one();
    }
    pthread_join(thread_, nullptr);
    std::lock_guard lock(mutex_);
    running_ = false;
  }

 private:
  static void* Main(void* self) {
    static_cast<Guard*>(self)->Run();
    return nullptr;
  }

  void Run() {
    std::unique_lock lock(mutex_);
    auto looked = Clock::now();
    auto period = Clock::duration(kBusyPeriod);
    while (!stopping_ && !refused_) {
      wake_.wait_for(lock, period);
      const auto now = Clock::now();
      const double elapsedMs = std::chrono::duration<double, std::milli>(now - looked).count();
      looked = now;
      bool busy = false;
      for (Member& member : members_) busy = Measure(member, elapsedMs) || busy;
      Judge(now);
      period = busy ? kBusyPeriod : kIdlePeriod;
    }
  }

  bool Measure(Member& member, double elapsedMs) {
    const double usedMs = UsedMs(member.clock);
    const double load = elapsedMs > 0 ? (usedMs - member.usedMs) / elapsedMs : 0;
    member.usedMs = usedMs;
    member.load = (member.load + load) / 2;
    return load > kIdleLoad;
  }

  void Judge(Clock::time_point now) {
    // Where they are too many for the processors, those that do least stay.
    members_.sort([](const Member& a, const Member& b) { return a.load < b.load; });
    double together = 0;
    for (Member& member : members_) {
      if (member.load > kMostLoad || together + member.load > kMostLoad * Processors(member.thread)) {
        Lower(member);
        member.ordinaryUntil = now + kPenalty;
        continue;
      }
      if (!member.urgent && now >= member.ordinaryUntil) Raise(member);
      if (member.urgent) together += member.load;
    }
  }

  /** On which this thread may run. */
  static int Processors(pid_t thread) {
    cpu_set_t set;
    // Refused where there are more than fit into the set: then they are many.
    return sched_getaffinity(thread, sizeof set, &set) == 0 ? CPU_COUNT(&set) : CPU_SETSIZE;
  }

  void Raise(Member& member) {
    if (member.urgent || refused_ || stopping_) return;
    const long policy = syscall(SYS_sched_getscheduler, member.thread);
    if (policy < 0 || (policy & ~SCHED_RESET_ON_FORK) != SCHED_OTHER) return;
    if (getpriority(PRIO_PROCESS, static_cast<id_t>(member.thread)) != 0) return;
    member.usedMs = UsedMs(member.clock);
    member.urgent = SetPolicy(member.thread, SCHED_RR, kThreadPriority);
  }

  void Lower(Member& member) {
    if (!member.urgent) return;
    member.urgent = false;
    if (SetPolicy(member.thread, SCHED_OTHER, 0)) StayResponsive(member.thread);
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Member> members_;
  pthread_t thread_{};
  bool running_ = false, stopping_ = false, refused_ = false;
};

pid_t ThreadId() { return static_cast<pid_t>(syscall(SYS_gettid)); }

}  // namespace

UrgentThread::UrgentThread() { Guard::Get().Join(ThreadId()); }
UrgentThread::~UrgentThread() { Guard::Get().Leave(ThreadId()); }

bool StartUrgency() { return Guard::Get().Start(); }
void StopUrgency() { Guard::Get().Stop(); }
void JoinUrgency() { Guard::Get().Join(ThreadId()); }
void LeaveUrgency() { Guard::Get().Leave(ThreadId()); }

}  // namespace clove
