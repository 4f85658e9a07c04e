#include "sandbox_clone.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox_fd.h"

namespace clove {
namespace {

struct Entry {
  void (*function)(void*);
  void* argument;
};

int Enter(void* entry) {
  const Entry& call = *static_cast<Entry*>(entry);
  call.function(call.argument);
  return 127;
}

struct Trial {
  int error, pivotError;
};

/** In new namespaces and in our memory, while our thread sleeps: system calls only. */
int TryMounts(void* argument) {
  Trial& trial = *static_cast<Trial*>(argument);
  trial.error = mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : errno;
  // With paths that are not there: only whoever may call it is told so.
  trial.pivotError = syscall(SYS_pivot_root, "/proc/clove-none", "/proc/clove-none") == 0 ? 0 : errno;
  return 0;
}

/** What came of it: errno of the clone or of a first mount. */
Trial TryNamespaces(int more) {
  alignas(16) static char stack[16 << 10];
  Trial trial{0, ENOENT};
  // No exit signal: the child is invisible to a parent that waits for its own children.
  const int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | more;
  const int pid = clone(TryMounts, stack + sizeof stack, flags, &trial);
  if (pid < 0) return {errno, ENOENT};
  int status = 0;
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) continue;
  return trial;
}

NamespaceFacts Measure() {
  NamespaceFacts facts;
  const bool root = geteuid() == 0;
  Trial own{EPERM, ENOENT};
  if (root) own = TryNamespaces(0);
  const Trial trial = own.error == 0 ? own : TryNamespaces(CLONE_NEWUSER);
  facts.way = own.error == 0 ? NamespaceFacts::Own : trial.error == 0 ? NamespaceFacts::User : NamespaceFacts::None;
  facts.error = facts.way != NamespaceFacts::None ? 0 : root ? own.error : trial.error;
  facts.pivot = trial.pivotError == ENOENT;
  return facts;
}

}  // namespace

long CloneWithoutClone3(uint64_t flags, void* stackTop, int* pidfd, void (*entry)(void*), void* argument) {
  Entry call{entry, argument};
  const int pid = clone(Enter, stackTop, static_cast<int>(flags), &call, pidfd);
  return pid < 0 ? -errno : pid;
}

const NamespaceFacts& Namespaces() {
  static const NamespaceFacts facts = Measure();
  return facts;
}

bool IsMappedUser(uint32_t uid) {
  static const std::string map = [] {
    std::string content;
    ReadFileAt(AT_FDCWD, "/proc/self/uid_map", content);
    return content;
  }();
  if (map.empty()) return true;  // a kernel without user namespaces
  for (const std::string& line : Split(map, '\n')) {
    unsigned long inside = 0, outside = 0, count = 0;
    if (sscanf(line.c_str(), "%lu %lu %lu", &inside, &outside, &count) == 3 && uid >= inside && uid - inside < count) return true;
  }
  return false;
}

bool MakesOwnNamespaces(uint32_t uid) { return geteuid() == 0 && Namespaces().way == NamespaceFacts::Own && IsMappedUser(uid); }

}  // namespace clove
