#include "sandbox_host.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../init/sys.h"
#include "sandbox_cgroup.h"
#include "sandbox_clone.h"
#include "sandbox_request.h"

namespace clove {
namespace {

int TryUserNamespace(void*) { return unshare(CLONE_NEWUSER) == 0 ? 0 : 1; }

bool UserNamespacesWork() {
  alignas(16) static char stack[16 << 10];
  // No exit signal: the child is invisible to a parent that waits for its own children.
  const int pid = clone(TryUserNamespace, stack + sizeof stack, CLONE_VM | CLONE_VFORK, nullptr);
  int status = 1;
  if (pid < 0 || waitpid(pid, &status, __WALL) != pid) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

HostFacts MeasureHost() {
  HostFacts facts;
  utsname name{};
  uname(&name);
  facts.kernelRelease = name.release;
  const CgroupHost& host = HostCgroups();
  bool v1 = false;
  for (const Hierarchy& hierarchy : host.hierarchies) v1 |= !hierarchy.unified;
  facts.cgroup = v1 && host.unified >= 0 ? "hybrid" : v1 ? "v1" : host.unified >= 0 ? "v2" : "none";
  const char* const names[] = {"memory", "cpu", "pids", "cpuset", "freezer"};
  for (int c = 0; c < CONTROLLER_COUNT; c++)
    if (host.of[c] >= 0) facts.controllers += (facts.controllers.empty() ? "" : ",") + std::string(names[c]);
  if (host.unified >= 0) facts.unifiedPath = host.hierarchies[host.unified].mount;
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1);
  facts.landlockAbi = abi < 0 ? 0 : static_cast<int>(abi);
  const uint32_t action = SECCOMP_RET_KILL_PROCESS;
  facts.seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
  facts.userNamespaces = UserNamespacesWork();
  facts.clone3 = HasClone3();
  const NamespaceFacts& namespaces = Namespaces();
  facts.pivotRoot = namespaces.pivot;
  facts.namespaces = namespaces.way == NamespaceFacts::Own ? "own" : namespaces.way == NamespaceFacts::User ? "user" : "none";
  if (namespaces.error != 0) facts.namespacesError = ErrnoName(namespaces.error);
  return facts;
}

}  // namespace clove
