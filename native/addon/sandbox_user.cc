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

/** In our memory, while our thread sleeps; the raw call changes the user of this process alone. */
int KillAsUser(void* argument) {
  const long uid = static_cast<long>(*static_cast<uid_t*>(argument));
  if (syscall(SYS_setresuid, uid, uid, uid) != 0) return 1;
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
  const int pid = clone(KillAsUser, stack + sizeof stack, CLONE_VM | CLONE_VFORK, &uid);
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
