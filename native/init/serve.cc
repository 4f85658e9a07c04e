// PID 1 of a sandbox: reaps everything, starts commands and opens files for the kernel, ends with the agent.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "init.h"

namespace clove {
namespace {

struct Running {
  int pid;  // 0 = free
  uint32_t op;
  uint64_t startedUs;
};
Running running[MAX_EXECS];
Message message;
int descriptors[4];
int descriptorCount;

void CloseDescriptors() {
  for (int i = 0; i < descriptorCount; i++) close(descriptors[i]);
  descriptorCount = 0;
}

/** One message with its descriptors. False when the kernel process is gone. */
bool Receive() {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors)];
  iovec part{&message, sizeof message};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t size = RetryOnEintr([&] { return recvmsg(FD_CONTROL, &header, MSG_CMSG_CLOEXEC); });
  if (size < static_cast<ssize_t>(MESSAGE_HEAD)) return false;
  if (size == sizeof message) message.text[sizeof message.text - 1] = 0;
  else reinterpret_cast<char*>(&message)[size] = 0;
  descriptorCount = 0;
  for (cmsghdr* entry = CMSG_FIRSTHDR(&header); entry != nullptr; entry = CMSG_NXTHDR(&header, entry)) {
    if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
    descriptorCount = static_cast<int>((entry->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(descriptors, CMSG_DATA(entry), static_cast<size_t>(descriptorCount) * sizeof(int));
  }
  return true;
}

/** EXEC: descriptors are the command blob, stdin, stdout, stderr. */
void StartCommand() {
  const uint32_t op = message.op;
  const auto answer = [&](int error) { SendSimple(M_EXEC_STARTED, op, error, 0, 0); };
  Running* slot = nullptr;
  for (Running& entry : running)
    if (entry.pid == 0) slot = &entry;
  if (slot == nullptr) return answer(EAGAIN);
  if (descriptorCount != 4) return answer(EBADMSG);
  struct stat info {};
  fstat(descriptors[0], &info);
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size < sizeof(Command)) return answer(EBADMSG);
  void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptors[0], 0);
  if (mapping == MAP_FAILED) return answer(errno);
  auto* base = static_cast<char*>(mapping);
  const Command command = *reinterpret_cast<Command*>(base);
  if (!Relocate(base, size, command)) {
    munmap(mapping, size);
    return answer(EBADMSG);
  }
  Launch launch{base, &command, {descriptors[1], descriptors[2], descriptors[3]}, false, S_NONE, 0, false, 0, false};
  int pidfd = -1;
  const int pid = StartProgram(launch, &pidfd);
  const int error = pid < 0 ? errno : launch.error;
  munmap(mapping, size);
  if (error != 0) {
    if (pid > 0) waitpid(pid, nullptr, 0);
    if (pid > 0) close(pidfd);
    return SendSimple(M_EXEC_STARTED, op, error, launch.step == S_working_directory ? 1 : 0, 0);
  }
  *slot = {pid, op, NowUs()};
  SendSimple(M_EXEC_STARTED, op, 0, 0, 0, pidfd);
  close(pidfd);
}

/** OPEN with exactly the rights of the agent: same uid, same root, same Landlock domain. */
void OpenPath() {
  const uint64_t flags = static_cast<uint64_t>(message.status) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  const uint64_t mode = (flags & O_CREAT) != 0 ? message.step & 0777 : 0;
  const int fd = OpenAt2(AT_FDCWD, message.text, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  SendSimple(M_OPENED, message.op, fd < 0 ? errno : 0, 0, 0, fd);
  if (fd >= 0) close(fd);
}

void Handle() {
  switch (message.kind) {
    case M_EXEC:
      StartCommand();
      break;
    case M_EXEC_KILL:
      for (const Running& entry : running)
        if (entry.pid != 0 && entry.op == message.op) {
          kill(-entry.pid, message.status);
          kill(entry.pid, message.status);
        }
      break;
    case M_OPEN:
      OpenPath();
      break;
    default:
      break;
  }
  CloseDescriptors();
}

/** Without a pid namespace to take them along: orphans come to us, so killing children until none is left ends the tree. */
void EndDescendants() {
  char children[4096];
  for (;;) {
    const int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    const ssize_t size = fd < 0 ? -1 : read(fd, children, sizeof children - 1);
    close(fd);
    if (size <= 0) return;
    children[size] = 0;
    for (char* at = children; *at != 0;) {
      const long pid = strtol(at, &at, 10);
      if (pid > 0) kill(static_cast<pid_t>(pid), SIGKILL);
      while (*at == ' ') at++;
    }
    if (waitpid(-1, nullptr, 0) < 0) return;
    while (waitpid(-1, nullptr, WNOHANG) > 0) continue;
  }
}

bool lingers;  // the template is gone; agents that came from it live on

void Reap(int agentPid, uint64_t startedUs) {
  int status = 0;
  for (;;) {
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid < 0 && lingers) _exit(0);
    if (pid <= 0) return;
    if (pid == agentPid) {
      // The tree lives as long as its main process; the end of PID 1 ends every other process of the namespace.
      const uint64_t wallUs = NowUs() - startedUs;
      if (!Wanted(L_pidns)) EndDescendants();
      rusage usage{};
      getrusage(RUSAGE_CHILDREN, &usage);
      SendSimple(M_MAIN_EXITED, static_cast<uint32_t>(usage.ru_maxrss), 0, status, wallUs);
      if (plan->role != ROLE_TEMPLATE) _exit(0);
      lingers = true;
      continue;
    }
    for (Running& entry : running) {
      if (entry.pid != pid) continue;
      SendSimple(M_EXEC_EXITED, entry.op, 0, status, NowUs() - entry.startedUs);
      entry.pid = 0;
    }
  }
}

}  // namespace

void Serve(int agentPid, uint64_t startedUs) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) _exit(125);
  // The standard descriptors are the agent's alone: its end of a pipe must be its own to close.
  for (int fd = 0; fd < 3; fd++) close(fd);
  for (int fd = 0; fd < 3; fd++)
    if (open("/dev/null", O_RDWR) != fd) break;
  if (chdir("/") != 0) _exit(125);  // what OPEN takes for the root
  Reap(agentPid, startedUs);
  pollfd sources[2] = {{FD_CONTROL, POLLIN, 0}, {signals, POLLIN, 0}};
  for (;;) {
    if (poll(sources, 2, -1) < 0 && errno != EINTR) _exit(125);
    if (sources[1].revents != 0) {
      signalfd_siginfo ignored;
      while (read(signals, &ignored, sizeof ignored) > 0) continue;
      Reap(agentPid, startedUs);
    }
    if (sources[0].revents != 0) {
      if (!Receive()) _exit(0);  // the kernel process is gone: so is everything here
      Handle();
    }
  }
}

}  // namespace clove
