// The birth of an agent, in three processes. The template has no rights: the first one gets some, over nothing but new namespaces
// below a user namespace, whose numbers the kernel writes from outside. It shares the template's memory, and only makes them,
// because a pid namespace takes only children. Its child, which shares that memory too, is born into the agent's groups, forks the
// agent - the one copy of the template's page tables - and becomes clove-init: PID 1 of the sandbox that it builds around both.
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "birth.h"

namespace clove {
namespace {

long CloneSharing(long number, long first, long second) __attribute__((always_inline));
/**
 * clone3 or clone on the caller's own stack, like vfork: the child goes on in the caller's frame, so that its forks can return from
 * it, and must itself never return. The caller sleeps meanwhile; what is below its frame is the child's.
 */
inline long CloneSharing(long number, long first, long second) {
#if defined(__x86_64__)
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long call asm("x8") = number;
  register long result asm("x0") = first;
  register long size asm("x1") = second;
  asm volatile("svc #0" : "+r"(result) : "r"(call), "r"(size) : "memory");
  return result;
#else
#error "no clone for this architecture"
#endif
}

/** What a new user namespace gives would be lost in execve: nobody is root in there until the kernel has written the map. */
bool KeepRights() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  for (auto& half : data) half.inheritable = half.permitted;
  if (syscall(SYS_capset, &header, data) != 0) return false;
  for (int capability = 0; capability < 64; capability++)
    if ((data[capability / 32].permitted >> (capability % 32) & 1) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) return false;
  return true;
}

/** As the kernel process starts clove-init, but for a socket to the agent in place of a plan. Returns only when it fails. */
void ExecuteInit(const Received& received, int family) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  int from[] = {null, null, null, received.fds[0], family};
  for (int& fd : from)
    if ((fd = fcntl(fd, F_DUPFD_CLOEXEC, ZYGOTE_FIRST_FD)) < 0) return;
  const int image = fcntl(received.fds[1], F_DUPFD_CLOEXEC, ZYGOTE_FIRST_FD);
  if (image < 0) return;
  int last = 0;
  for (const int fd : from)
    if (dup3(fd, last++, 0) < 0) return;
  if (CloseRange(static_cast<unsigned>(last), ~0u, kCloseRangeCloexec) != 0) return;
  char name[] = "clove-init";
  char* const argv[] = {name, nullptr};
  char* const env[] = {nullptr};
  syscall(SYS_execveat, image, "", argv, env, AT_EMPTY_PATH);
}

/** In the agent's groups and namespaces, and in the template's memory. Returns only in the agent. */
__attribute__((noinline)) void ForkAgent(Birth* birth, const sigset_t& mask) {
  const Received& received = *birth->received;
  const auto fail = [birth](Step step) {
    birth->error = errno;
    birth->step = step;
    for (;;) syscall(SYS_exit_group, 0);
  };
  // A thread that moves only itself needs no lock against forks.
  for (uint32_t i = 2; i < received.count - received.request.hasUnified; i++)
    if (write(received.fds[i], "0", 1) != 1) fail(S_cgroup_attach);
  if ((received.request.namespaces & CLONE_NEWCGROUP) != 0 && unshare(CLONE_NEWCGROUP) != 0) fail(S_cgroupns);
  // The library's fork, with everything that interpreters and libraries do before and after it.
  const pid_t pid = fork();
  if (pid == 0) return BecomeAgent(received.fds[0], birth->family[1], mask);
  if (pid < 0 || !KeepRights()) fail(S_fork_agent);
  // When this fails the agent learns it from its end of the socket.
  ExecuteInit(received, birth->family[0]);
  fail(S_clone);
}

bool CloneInto(Birth* birth, uint64_t more, int group, void (*next)(Birth*, const sigset_t&), const sigset_t& mask) __attribute__((always_inline));
/** True in the agent. */
inline bool CloneInto(Birth* birth, uint64_t more, int group, void (*next)(Birth*, const sigset_t&), const sigset_t& mask) {
  CloneArguments arguments{};
  arguments.flags = CLONE_VM | CLONE_VFORK | more;
  arguments.exitSignal = SIGCHLD;
  arguments.cgroup = static_cast<uint64_t>(group);
  // Where a filter hides clone3 the agent's group is among those that a process moves itself into.
  const long pid = HasClone3() ? CloneSharing(SYS_clone3, reinterpret_cast<long>(&arguments), sizeof arguments)
                               : CloneSharing(SYS_clone, static_cast<long>(arguments.flags & 0xffffffff) | SIGCHLD, 0);
  if (pid == 0) {
    next(birth, mask);
    return true;
  }
  if (pid < 0) birth->error = static_cast<int>(-pid);
  return false;
}

/** In the template's memory, with every right in namespaces of its own. Returns only in the agent. */
__attribute__((noinline)) void MakeNamespaces(Birth* birth, const sigset_t& mask) {
  const ZygoteRequest& request = birth->received->request;
  // Before there is a network of the agent, which would show it.
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, birth->family) != 0) {
    birth->error = errno;
    birth->step = S_fork_agent;
  } else if (unshare(static_cast<int>(request.namespaces & ~static_cast<uint64_t>(CLONE_NEWCGROUP))) != 0) {
    birth->error = errno;
    birth->step = S_namespaces;
  } else {
    // Born there: to be moved takes the kernel a grace period of several milliseconds.
    const int group = request.hasUnified != 0 ? birth->received->fds[birth->received->count - 1] : 0;
    if (CloneInto(birth, request.hasUnified != 0 ? CLONE_INTO_CGROUP : 0, group, ForkAgent, mask)) return;
  }
  for (;;) syscall(SYS_exit_group, 0);
}

}  // namespace

__attribute__((noinline)) bool Bear(Birth* birth) {
  // Blocked in all of them but the template itself.
  sigset_t all, mask;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &mask);
  if (CloneInto(birth, 0, 0, MakeNamespaces, mask)) return true;
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  return false;
}

}  // namespace clove
