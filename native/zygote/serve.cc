// A template: an interpreter that has imported what its agents need and now forks one for every request of the kernel.
// How one comes to be: birth.cc, then agent.cc.
#include "zygote.h"

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "birth.h"

namespace clove {

bool used[ZYGOTE_FIRST_FD];

namespace {

int channel = -1;

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
                     received.count == received.request.count && received.count >= 2 + received.request.hasUnified;
  if (!whole) received.request.magic = 0;
  return true;
}

void CloseReceived(const Received& received) {
  for (uint32_t i = 0; i < received.count; i++) close(received.fds[i]);
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
    Birth birth{&received, 0, S_clone, {-1, -1}};
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
