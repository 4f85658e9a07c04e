// How an agent comes out of a template: what serve.cc asks for, birth.cc makes and agent.cc becomes.
#pragma once
#include <signal.h>

#include "../addon/zygote_request.h"
#include "../init/init.h"

namespace clove {

struct Received {
  ZygoteRequest request;
  int fds[MAX_ZYGOTE_FDS];
  uint32_t count;
};

/** What the processes that share memory tell each other. */
struct Birth {
  const Received* received;
  volatile int error;
  volatile Step step;
  int family[2];  // between PID 1 and the agent; in their tables only, not in the template's
};

/** Descriptors of the interpreter. */
extern bool used[ZYGOTE_FIRST_FD];

/** True in the agent, sandboxed, looked at and let go. In the template false, with an errno in `birth` when nothing was born. */
bool Bear(Birth* birth);
/** The agent, from its fork to gate 2; `mask` are the signals that the interpreter had blocked. */
void BecomeAgent(int control, int family, const sigset_t& mask);

}  // namespace clove
