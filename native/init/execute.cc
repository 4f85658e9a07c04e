// From PID 1 to a program: one clone that shares memory, a new session, its descriptors, execve.
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "init.h"

namespace clove {
namespace {

alignas(16) char stack[64 << 10];

void ResetSignals() {
  // Ignored signals survive execve: Node ignores SIGPIPE, and an agent must not inherit that.
  for (int signal = 1; signal < 65; signal++)
    if (signal != SIGKILL && signal != SIGSTOP) DefaultSignal(signal);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

/** Tries argv[0] as it is, or in every directory of the search path. Returns the errno to report. */
int ExecuteArgv(char* base, const Command& command) {
  char* const* argv = reinterpret_cast<char* const*>(base + command.argv);
  char* const* env = reinterpret_cast<char* const*>(base + command.env);
  const char* name = argv[0];
  if (strchr(name, '/') != nullptr) {
    ExecuteProgram(name, argv, env);
    return errno;
  }
  int error = ENOENT;
  const size_t nameLength = strlen(name);
  char path[MAX_PATH];
  const char* rest = command.searchPath != 0 ? base + command.searchPath : "/usr/local/bin:/usr/bin:/bin";
  while (nameLength > 0) {
    const char* end = strchr(rest, ':');
    const size_t length = end != nullptr ? static_cast<size_t>(end - rest) : strlen(rest);
    if (length > 0 && length + nameLength + 2 <= sizeof path) {
      memcpy(path, rest, length);
      path[length] = '/';
      memcpy(path + length + 1, name, nameLength + 1);
      ExecuteProgram(path, argv, env);
      if (errno == EACCES) error = EACCES;
      else if (errno != ENOENT && errno != ENOTDIR) return errno;
    }
    if (end == nullptr) break;
    rest = end + 1;
  }
  return error;
}

int EnterDirectory(const char* path) {
  const int directory = OpenAt2(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
  if (directory < 0) return -1;
  return fchdir(directory);
}

/** The agent says that everything is done and waits for the parent, who has a look from outside. */
bool PassGate2() {
  ready.kind = M_READY;
  return Send(&ready, sizeof ready) && AwaitGate(M_GATE2);
}

/** What to run came with gate 2. Returns errno. */
int TakeProgram(Launch& launch, const int* given) {
  struct stat info {};
  if (fstat(given[0], &info) != 0) return errno;
  launch.size = static_cast<uint64_t>(info.st_size);
  if (launch.size < sizeof(Command)) return EBADMSG;
  void* mapping = mmap(nullptr, launch.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, given[0], 0);
  if (mapping == MAP_FAILED) return errno;
  launch.base = static_cast<char*>(mapping);
  launch.command = reinterpret_cast<const Command*>(mapping);
  if (!Relocate(launch.base, launch.size, *launch.command)) return EBADMSG;
  for (int fd = 0; fd < 3; fd++)
    if (dup2(given[1 + fd], fd) < 0) return errno;
  return 0;
}

/** As PassGate2(), where what is to run comes with the gate. The descriptors close when it is executed. */
bool PassGate2WithProgram(Launch& launch) {
  ready.kind = M_READY;
  if (!Send(&ready, sizeof ready)) return false;
  const int* const given = ReceiveProgram();
  if (given == nullptr) return false;
  const int error = TakeProgram(launch, given);
  if (error == 0) return true;
  launch.step = S_gate2;
  launch.error = error;
  return false;
}

int Child(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  const auto fail = [&](Step step, int error) {
    launch.step = step;
    launch.error = error;
    _exit(127);
    return 0;
  };
  ResetSignals();
  if (Wanted(L_pdeath)) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (Wanted(L_session)) setsid();
  for (int fd = 0; fd < 3; fd++)
    if (launch.stdio[fd] >= 0 && dup2(launch.stdio[fd], fd) < 0) return fail(S_close_fds, errno);
  // Everything from 3 up belongs to PID 1; the next exec is the last time it could travel.
  if (Wanted(L_fds) && CloseRange(3, ~0u, kCloseRangeCloexec) != 0) return fail(S_close_fds, errno);
  if (launch.agent) {
    if (!(launch.isGiven ? PassGate2WithProgram(launch) : PassGate2())) _exit(125);
    launch.isLetGo = true;
    if (Faulted(S_working_directory)) return fail(S_working_directory, errno);
    if (Faulted(S_exec)) return fail(S_exec, errno);
  }
  if (EnterDirectory(launch.base + launch.command->cwd) != 0) return fail(S_working_directory, errno);
  return fail(S_exec, ExecuteArgv(launch.base, *launch.command));
}

}  // namespace

uint64_t NowUs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

int StartGivenProgram(Launch& launch) {
  static int childIsThere;
  childIsThere = 1;
  launch.error = 0;
  launch.step = S_NONE;
  // As with CLONE_VFORK the child has this memory to itself until it execs or ends, which clears the word; but whoever waits
  // that way counts as busy, and a sandbox may wait for its agent for hours.
  const int pid = CloneWithStack(Child, stack + sizeof stack, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, &launch, nullptr, &childIsThere);
  if (pid < 0) return pid;
  while (__atomic_load_n(&childIsThere, __ATOMIC_ACQUIRE) != 0) syscall(SYS_futex, &childIsThere, FUTEX_WAIT, 1, nullptr, nullptr, 0);
  return pid;
}

int StartProgram(Launch& launch, int* pidfd) {
  launch.error = 0;
  launch.step = S_NONE;
  // The flags are visible to the filter (clone3's are not); the child may use the caller's memory because the caller sleeps.
  return CloneWithStack(Child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD | (pidfd != nullptr ? CLONE_PIDFD : 0), &launch,
                        pidfd);
}

}  // namespace clove
