// PID 1 of an agent that a template has forked (native/zygote): the agent is there first, as the child of the process that then
// became this program. PID 1 builds the sandbox around both, the agent gives up its own rights, and says itself that it is ready.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "init.h"

namespace clove {

void MeetAgent() {
  // The template ignored it, and that outlives an execve.
  DefaultSignal(SIGCHLD);
  if (CloseRange(FD_FAMILY + 1, ~0u, 0) != 0) _exit(125);
  // The control socket has come through the template, which may have kept it: the order, with one that it has not, comes another way.
  // A filter that the template has put on itself would be on us: what it answers need not have happened. The kernel process counts filters, too.
  int pair[2] = {-1, -1};
  if (fcntl(FD_ORDER, F_GETFD) != -1 || errno != EBADF) _exit(125);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 || pair[0] != FD_ORDER) _exit(125);
  const int self = PidfdOpen(getpid());
  if (prctl(PR_SET_NAME, AWAITS_ORDER, 0, 0, 0) != 0) _exit(125);
  SendSimple(M_STAGE2, 0, self < 0 ? errno : 0, 0, 0, self);
  close(self);
  // It may be long until there is one, and nothing is worth waiting for without the agent, or without the kernel process.
  pollfd sources[3] = {{pair[1], POLLIN, 0}, {FD_FAMILY, POLLIN, 0}, {FD_CONTROL, 0, 0}};
  while (poll(sources, 3, -1) < 0 && errno == EINTR) continue;
  if (sources[1].revents != 0 || sources[2].revents != 0) _exit(125);
  close(pair[0]);
  AwaitFirstOrder(pair[1]);
}

void LetAgentBecome() {
  if (Faulted(S_fork_agent)) Fail(S_fork_agent, errno, "");
  // Its end is told by its side of the socket.
  if (!PassOrder(FD_FAMILY)) Fail(S_fork_agent, ECHILD, "the agent ended before it had its plan");
}

void FollowAgent() {
  ready.kind = M_READY;
  if (!SendTo(FD_FAMILY, &ready, sizeof ready, nullptr, 0)) Fail(S_fork_agent, ECHILD, "the agent ended before it was ready");
  Passed passed{S_fork_agent, ECHILD, 0};
  const ssize_t size = RetryOnEintr([&] { return recv(FD_FAMILY, &passed, sizeof passed, 0); });
  close(FD_FAMILY);
  if (size != sizeof passed) Fail(S_fork_agent, ECHILD, "the agent ended before it was let go");
  if (passed.error != 0) Fail(static_cast<Step>(passed.step), passed.error, "");
  SendSimple(M_STARTED, 0, 0, 0, 0);
  Serve(passed.pid, NowUs());
}

}  // namespace clove
