// Threads of a kernel that everybody waits for: before all others, as long as they have little to do.
#pragma once

namespace clove {

/**
 * The calling thread takes part for as long as this lives, once urgency is on. Threads of an ordinary policy and priority only:
 * another one is somebody's decision.
 */
class UrgentThread {
 public:
  UrgentThread();
  ~UrgentThread();
  UrgentThread(const UrgentThread&) = delete;
  UrgentThread& operator=(const UrgentThread&) = delete;
};

/** Raises who takes part, and watches them. False: this process may not. */
bool StartUrgency();
void StopUrgency();
/** The calling thread takes part until LeaveUrgency(). */
void JoinUrgency();
void LeaveUrgency();

}  // namespace clove
