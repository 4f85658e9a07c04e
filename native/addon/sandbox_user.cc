// Ending everything of an agent by its user: where neither groups nor namespaces can be had, as in a container.
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "sandbox_service.h"

namespace clove {
namespace {

constexpr uid_t kFirstUid = 200'000, kUidsPerKernel = 4096;

/** The last of a kernel's block of users, which it gives to no agent (kernel/agents/uid-pool.ts). */
uid_t ReservedUser(uid_t agent) {
  const uid_t place = agent < kFirstUid ? 0 : (agent - kFirstUid) / kUidsPerKernel;
  return kFirstUid + (place + 1) * kUidsPerKernel - 1;
}

struct Users {
  long agent;
  /** Of nobody: whoever signals us must have it. */
  long reserved;
};

/** In our memory, while our thread sleeps; the raw call changes the user of this process alone. */
int KillAsUser(void* argument) {
  const Users& users = *static_cast<const Users*>(argument);
  // kill() goes by the effective user; our real and saved one are no agent's, so that none can stop or end us on the way.
  if (syscall(SYS_setresuid, users.reserved, users.agent, users.reserved) != 0) return 1;
  // The kernel goes over all processes under the lock that forks need: none is born behind it.
  kill(-1, SIGKILL);
  return 0;
}

}  // namespace

bool KillsByUser(const LaunchRequest& request) {
  return (request.disable & bit(L_pidns)) != 0 && (request.disable & bit(L_uid)) == 0 && geteuid() == 0 && request.uid != 0;
}

void KillUser(uid_t uid) {
  alignas(16) static char stack[16 << 10];  // of the service thread alone
  Users users{static_cast<long>(uid), static_cast<long>(ReservedUser(uid))};
  const int pid = clone(KillAsUser, stack + sizeof stack, CLONE_VM | CLONE_VFORK, &users);
  if (pid < 0) return;
  while (waitpid(pid, nullptr, __WALL) < 0 && errno == EINTR) continue;
}

bool UserHasProcesses(uid_t uid) {
  DIR* const processes = opendir("/proc");
  if (processes == nullptr) return false;
  const std::string line = "\nUid:\t" + std::to_string(uid) + "\t";
  bool found = false;
  std::string status;
  while (const dirent* entry = found ? nullptr : readdir(processes)) {
    if (atoi(entry->d_name) <= 0 || !ReadFileAt(dirfd(processes), (std::string(entry->d_name) + "/status").c_str(), status)) continue;
    found = status.find(line) != std::string::npos && status.find("\nState:\tZ") == std::string::npos && status.find("\nState:\tX") == std::string::npos;
  }
  closedir(processes);
  return found;
}

}  // namespace clove
