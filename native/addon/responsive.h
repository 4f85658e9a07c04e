// Threads that others wait for, and that work for some tens of microseconds at a time, are to run when they wake up.
#pragma once
#include <linux/sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace clove {

/** Of linux/sched/types.h, which cannot be included beside <sched.h>. */
struct SchedulingAttributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
constexpr uint32_t kSchedulingAttributesSize = 48;

/**
 * Gives a thread (0 = the calling one) the shortest slice: it gets no more of the processor than before, but gets it when it wakes
 * up, from whoever has a longer one (Linux 6.12; older ones take no notice). What it starts is not so.
 */
inline void StayResponsive(pid_t thread) {
  constexpr long kOrdinary = 0 /* SCHED_OTHER */, kResetOnFork = 0x40000000 /* SCHED_RESET_ON_FORK */;
  const long policy = syscall(SYS_sched_getscheduler, thread);
  if (policy < 0 || (policy & ~kResetOnFork) != kOrdinary) return;  // somebody has decided otherwise
  constexpr uint64_t kShortestNs = 100'000;
  const int nice = getpriority(PRIO_PROCESS, static_cast<id_t>(thread));
  SchedulingAttributes attributes{kSchedulingAttributesSize, 0 /* SCHED_OTHER */, SCHED_FLAG_RESET_ON_FORK, nice, 0, kShortestNs, 0, 0};
  syscall(SYS_sched_setattr, thread, &attributes, 0);
}

}  // namespace clove
