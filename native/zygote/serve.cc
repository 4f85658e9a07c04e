// A template: an interpreter that has imported what its agents need and now forks one for every request of the kernel.
//
// The template itself has no capability, no network and a user of its own. An agent gets its rights over nothing but
// itself: it is born below a user namespace of its own, whose numbers the kernel writes from outside; in there it builds its
// sandbox with the very code of clove-init, gives everything up and waits at gate 2 like every other agent.
//
// Three processes per request. A first one shares the template's memory (so it costs no copy of page tables) and only makes
// the namespaces, because a pid namespace takes only children. Its fork is PID 1 of the sandbox, and that one's fork the agent.
#include "zygote.h"

#include <dirent.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../init/init.h"
#include "../addon/zygote_request.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif


namespace clove {
namespace {

int channel = -1;
bool used[ZYGOTE_FIRST_FD];  // descriptors of the interpreter

struct Received {
  ZygoteRequest request;
  int fds[MAX_ZYGOTE_FDS];
  uint32_t count;
};

struct CloneArguments {
  uint64_t flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize, cgroup;
};

/** What the processes that share memory tell each other. */
struct Birth {
  const Received* received;
  volatile int error;
  volatile Step step;
};

/** The agent's answer to PID 1: all is well, or where it stopped. */
struct Passed {
  int32_t step, error;
};

void RememberDescriptors() {
  for (int fd = 0; fd < ZYGOTE_FIRST_FD; fd++) used[fd] = fcntl(fd, F_GETFD) >= 0;
  used[channel] = false;
}

/** Whether a thread of this process runs, by its line in /proc; a thread that has just ended does not. */
bool IsRunning(int tasks, const char* name) {
  char path[32], line[256];
  snprintf(path, sizeof path, "%s/stat", name);
  const int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t size = read(fd, line, sizeof line - 1);
  close(fd);
  if (size <= 0) return false;
  line[size] = 0;
  const char* const end = strrchr(line, ')');  // the name before it may hold anything
  return end == nullptr || end[1] == 0 || end[2] != 'S';
}

/**
 * Until every other thread sleeps. One that works would be gone from the fork in the middle of it, with its locks held and its
 * work never done; those that wait for work can be had again (clove_zygote_resume_threads). False when there is no end to it.
 */
bool AwaitQuiet() {
  constexpr int kAttempts = 5000, kPauseUs = 1000;
  int quiet = 0;
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    DIR* const tasks = opendir("/proc/self/task");
    if (tasks == nullptr) return false;
    bool running = false;
    int others = 0;
    const int self = static_cast<int>(syscall(SYS_gettid));
    while (const dirent* const entry = readdir(tasks)) {
      if (entry->d_name[0] == '.' || atoi(entry->d_name) == self) continue;
      others++;
      running |= IsRunning(dirfd(tasks), entry->d_name);
    }
    closedir(tasks);
    if (others == 0) return true;
    quiet = running ? 0 : quiet + 1;
    if (quiet == 2) return true;
    usleep(kPauseUs);
  }
  return false;
}

bool Receive(Received& received) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof received.fds)];
  iovec part{&received.request, sizeof received.request};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t size = RetryOnEintr([&] { return recvmsg(channel, &header, MSG_CMSG_CLOEXEC); });
  received.count = 0;
  if (size <= 0) return false;
  for (cmsghdr* entry = CMSG_FIRSTHDR(&header); entry != nullptr; entry = CMSG_NXTHDR(&header, entry)) {
    if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
    received.count = static_cast<uint32_t>((entry->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(received.fds, CMSG_DATA(entry), received.count * sizeof(int));
  }
  const bool whole = size == sizeof received.request && received.request.magic == ZYGOTE_MAGIC &&
                     received.count == received.request.count && received.count >= 5 + received.request.hasUnified;
  if (!whole) received.request.magic = 0;
  return true;
}

void CloseReceived(const Received& received) {
  for (uint32_t i = 0; i < received.count; i++) close(received.fds[i]);
}

/**
 * 0, 1, 2 become the agent's, the descriptors of the setup get their numbers, and every other one of the template is
 * replaced by /dev/null: an epoll instance or a pipe that two agents hold would let them meet, and a number that is closed
 * could be given out again while a library still writes to it.
 */
bool TakeDescriptors(const Received& received) {
  const auto count = static_cast<int>(received.count - received.request.hasUnified);
  const int order[] = {0, 1};  // control, plan
  for (int i : order)
    if (dup3(received.fds[i], CLOVE_FIRST_FD + i, O_CLOEXEC) < 0) return false;
  for (int i = 5; i < count; i++)
    if (dup3(received.fds[i], FD_MOUNTS + i - 5, O_CLOEXEC) < 0) return false;
  for (int i = 0; i < 3; i++)
    if (dup2(received.fds[2 + i], i) < 0) return false;
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return false;
  for (int fd = 3; fd < ZYGOTE_FIRST_FD; fd++) {
    if (fd == null) continue;
    if (!used[fd]) close(fd);
    else if (dup3(null, fd, O_CLOEXEC) < 0) return false;
  }
  if (!used[null]) close(null);
  return CloseRange(static_cast<unsigned>(FD_MOUNTS + count - 5), ~0u, 0) == 0;
}

[[noreturn]] void ServeAgent(int pid, int passed) {
  Passed answer{S_fork_agent, ECHILD};
  const ssize_t size = RetryOnEintr([&] { return read(passed, &answer, sizeof answer); });
  close(passed);
  if (size != sizeof answer) Fail(S_fork_agent, ECHILD, "the agent ended before it was let go");
  if (answer.error != 0) Fail(static_cast<Step>(answer.step), answer.error, "");
  SendSimple(M_STARTED, 0, 0, 0, 0);
  Serve(pid, NowUs());
}

int EnterDirectory(const char* path) {
  const int directory = OpenAt2(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
  if (directory < 0) return -1;
  const int result = fchdir(directory);
  close(directory);
  return result;
}

/** The agent: reports, waits until the kernel has looked at it, drops what was needed to be made. */
void PassGate(int passed, const sigset_t& mask) {
  Passed answer{S_NONE, 0};
  const auto fail = [&](Step step, int error) {
    answer = {step, error};
    const ssize_t written = write(passed, &answer, sizeof answer);
    _exit(written == sizeof answer ? 127 : 125);
  };
  if (Wanted(L_pdeath)) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (Wanted(L_session)) setsid();
  ready.kind = M_READY;
  if (!Send(&ready, sizeof ready) || !AwaitGate(M_GATE2)) _exit(125);
  if (Faulted(S_working_directory)) fail(S_working_directory, errno);
  if (EnterDirectory(At<char>(plan->command.cwd)) != 0) fail(S_working_directory, errno);
  if (Faulted(S_exec)) fail(S_exec, errno);
  const ssize_t written = write(passed, &answer, sizeof answer);
  if (written != sizeof answer) _exit(125);
  close(passed);
  CloseRange(CLOVE_FIRST_FD, ~0u, 0);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
}

/** PID 1 of the new sandbox. Returns only in the agent. */
void BecomeInit(const Received& received, const sigset_t& mask) {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  prctl(PR_SET_NAME, "clove-init", 0, 0, 0);
  signal(SIGCHLD, SIG_DFL);
  if (!TakeDescriptors(received)) _exit(125);
  const int self = PidfdOpen(getpid());
  SendSimple(M_STAGE2, 0, self < 0 ? errno : 0, 0, 0, self);
  close(self);
  if (!AwaitGate(M_GATE1)) _exit(125);
  ReadPlan();
  BuildSandbox();
  int ends[2];
  if (Faulted(S_fork_agent) || pipe2(ends, O_CLOEXEC) != 0) Fail(S_fork_agent, errno, "");
  const int pid = fork();
  if (pid < 0) Fail(S_fork_agent, errno, "");
  if (pid > 0) {
    close(ends[1]);
    ServeAgent(pid, ends[0]);
  }
  close(ends[0]);
  PassGate(ends[1], mask);
  signal(SIGCHLD, SIG_DFL);
}

/** The process that shares the template's memory. Returns only in the agent. */
__attribute__((noinline)) void MakeNamespaces(Birth* birth) {
  sigset_t all, mask;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &mask);
  if (unshare(static_cast<int>(birth->received->request.namespaces)) != 0) {
    birth->error = errno;
    birth->step = S_namespaces;
  } else {
    // The library's fork, with everything that interpreters and libraries do before and after it.
    const pid_t pid = fork();
    if (pid == 0) return BecomeInit(*birth->received, mask);
    if (pid < 0) birth->error = errno;
  }
  for (;;) syscall(SYS_exit_group, 0);
}

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

/** True in the agent. */
__attribute__((noinline)) bool Bear(Birth* birth) {
  CloneArguments arguments{};
  arguments.flags = CLONE_VM | CLONE_VFORK;
  arguments.exitSignal = SIGCHLD;
  if (birth->received->request.hasUnified != 0) {
    // Born there: to be moved takes the kernel a grace period of several milliseconds.
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(birth->received->fds[birth->received->count - 1]);
  }
  // Where a filter hides clone3 the agent puts itself into its group (FD of cgroup.procs among those of the tasks).
  static const bool hasClone3 = syscall(SYS_clone3, nullptr, 0) >= 0 || errno != ENOSYS;
  const long pid = hasClone3 ? CloneSharing(SYS_clone3, reinterpret_cast<long>(&arguments), sizeof arguments)
                             : CloneSharing(SYS_clone, static_cast<long>(arguments.flags & 0xffffffff) | SIGCHLD, 0);
  if (pid == 0) {
    MakeNamespaces(birth);
    return true;
  }
  if (pid < 0) birth->error = static_cast<int>(-pid);
  return false;
}

void ReportFailure(const Received& received, Step step, int error) {
  Message message{};
  message.kind = M_FAILED;
  message.error = error;
  message.step = step;
  snprintf(message.text, sizeof message.text, "in the template");
  const ssize_t sent = send(received.fds[0], &message, MESSAGE_HEAD + strlen(message.text) + 1, MSG_NOSIGNAL);
  if (sent < 0) errno = 0;  // the kernel has given up waiting
}

}  // namespace
}  // namespace clove

using namespace clove;

int clove_zygote_open() {
  channel = fcntl(0, F_DUPFD_CLOEXEC, 3);
  if (channel < 0) return errno;
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || dup2(null, 0) < 0) return errno;
  close(null);
  return 0;
}

int clove_zygote_serve(CloveAgent* agent) {
  static Received received;
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  // PID 1 of an agent is orphaned at once: it comes to us, and without a handler nobody needs to wait for it.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  signal(SIGCHLD, SIG_IGN);
  // Once: nobody gives the others work any more.
  bool quiet = AwaitQuiet();
  // What imports and warm-up have given back to the allocator would be mapped, copied and taken down for every agent.
  malloc_trim(0);
  for (;;) {
    RememberDescriptors();
    if (!Receive(received)) _exit(0);
    if (received.request.magic == 0) {
      CloseReceived(received);
      continue;
    }
    Birth birth{&received, 0, S_clone};
    if (!quiet) quiet = AwaitQuiet();
    if (!quiet) birth.error = EDEADLK;
    else if (Bear(&birth)) break;
    if (birth.error != 0) ReportFailure(received, birth.step, birth.error);
    CloseReceived(received);
  }
  channel = -1;
  *agent = {At<const char* const>(plan->command.argv), At<const char* const>(plan->command.env), At<char>(plan->command.cwd),
            plan->command.argc, plan->command.envc};
  return 0;
}
