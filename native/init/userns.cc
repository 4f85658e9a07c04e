// Without privilege on the host: a user namespace gives the rights to build the sandbox, and only inside of it.
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "init.h"

namespace clove {
namespace {

long WriteProc(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const ssize_t written = write(fd, text, strlen(text));
  const int error = errno;
  close(fd);
  errno = error;
  return written == static_cast<ssize_t>(strlen(text)) ? 0 : -1;
}

/** Whoever owns the namespace is who the agent is outside of it: never root of the host. */
void BecomeAgentUser() {
  if (setgroups(0, nullptr) != 0 || setresgid(plan->gid, plan->gid, plan->gid) != 0 || setresuid(plan->uid, plan->uid, plan->uid) != 0)
    Fail(S_uid, errno, "root would be who the agent is on the host");
  plan->hostUid = plan->uid;
  plan->hostGid = plan->gid;
}

}  // namespace

void EnterUserNamespace() {
  if (plan->userns == USERNS_OF_AGENT) BecomeAgentUser();
  // Outside of the new namespace these rights are needed once more, to write the maps; dumpable makes /proc ours.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  CloneArguments arguments{};
  // The sibling of its maker: the kernel process stays the parent that waits for it.
  arguments.flags = plan->namespaces | CLONE_NEWUSER | CLONE_PARENT;
  long pid = -1;
  if (!Faulted(S_namespaces)) pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  // Filters of containers: they cannot see clone3's flags, but those of the older call. Like fork, on a copy of this stack.
  if (pid < 0 && errno == ENOSYS) pid = syscall(SYS_clone, arguments.flags, 0, 0, 0, 0);
  if (pid < 0) Fail(S_namespaces, errno, "user namespace");
  if (pid > 0) {
    for (;;) pause();  // ends by the parent's hand, when it knows the child
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  char map[64];
  snprintf(map, sizeof map, "%u %u 1", plan->uid, plan->hostUid);
  STEP_CALL(S_id_maps, WriteProc("/proc/self/uid_map", map));
  STEP_CALL(S_id_maps, WriteProc("/proc/self/setgroups", "deny"));
  snprintf(map, sizeof map, "%u %u 1", plan->gid, plan->hostGid);
  STEP_CALL(S_id_maps, WriteProc("/proc/self/gid_map", map));
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  SendSimple(M_STAGE2, 0, 0, 0, 0);
}

}  // namespace clove
