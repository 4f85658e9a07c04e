#include "world_faults.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vector>

namespace clove {
namespace {

/** Newer than the headers of some distributions (Linux 6.14): an answer may name its error. */
constexpr uint32_t ErrorBits(int error) { return static_cast<uint32_t>(error & 0xff) << 24; }
constexpr uint64_t kAsked = FAN_OPEN_PERM | FAN_ACCESS_PERM;

/** What comes from this process must not wait for this process. */
bool IsOwn(int thread) {
  char path[48];
  snprintf(path, sizeof path, "/proc/self/task/%d", thread);
  return access(path, F_OK) == 0;
}

/** Whether the call that a thread is in opens for writing; its arguments are in /proc while it waits. */
bool OpensForWriting(int thread) {
  char path[48], text[256] = {};
  snprintf(path, sizeof path, "/proc/%d/syscall", thread);
  const Fd file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid() || read(file.get(), text, sizeof text - 1) <= 0) return false;
  char* at = text;
  const long number = strtol(at, &at, 10);
  unsigned long arguments[4] = {};
  for (unsigned long& argument : arguments) argument = strtoul(at, &at, 16);
  unsigned long flags = 0;
  switch (number) {
#ifdef SYS_creat
    case SYS_creat:
      return true;
#endif
#ifdef SYS_open
    case SYS_open:
      flags = arguments[1];
      break;
#endif
    case SYS_openat:
      flags = arguments[2];
      break;
    case 437: {  // openat2: its flags are the first member of a structure of the process
      uint64_t value = 0;
      const iovec here = {&value, sizeof value}, there = {reinterpret_cast<void*>(arguments[2]), sizeof value};
      if (process_vm_readv(thread, &here, 1, &there, 1, 0) != sizeof value) return false;
      flags = static_cast<unsigned long>(value);
      break;
    }
    default:
      return false;
  }
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

std::string PathOf(int fd) {
  char link[48], target[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, target, sizeof target);
  return length <= 0 ? "" : std::string(target, static_cast<size_t>(length));
}

}  // namespace

int DiskWatch::Start(int folder) {
  // Of the class that may name errors; the threads, since what they are in is looked at.
  group_ = Fd(fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_TID | FAN_UNLIMITED_QUEUE,
                            O_RDONLY | O_CLOEXEC | O_LARGEFILE));
  if (!group_.valid()) return errno;
  stop_ = Fd(eventfd(0, EFD_CLOEXEC));
  if (!stop_.valid()) return errno;
  // Before the mark: from then on somebody waits for it.
  thread_ = std::thread([this] { Run(); });
  if (fanotify_mark(group_.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kAsked, folder, ".") == 0) return 0;
  const int error = errno;
  Stop();
  return error;
}

void DiskWatch::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    while (write(stop_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
    thread_.join();
  }
  // Closing it lets everybody go on that still waits.
  group_.reset();
}

void DiskWatch::Run() {
  std::vector<char> events(64 * 1024);
  for (;;) {
    pollfd waits[2] = {{group_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[1].revents != 0) return;
    const ssize_t size = read(group_.get(), events.data(), events.size());
    if (size > 0) Take(events.data(), static_cast<size_t>(size));
  }
}

void DiskWatch::Take(const char* events, size_t size) {
  for (size_t at = 0; at + sizeof(fanotify_event_metadata) <= size;) {
    fanotify_event_metadata event;
    memcpy(&event, events + at, sizeof event);
    if (event.event_len < sizeof event) return;
    at += event.event_len;
    if (event.fd < 0) continue;  // the queue has overflowed: nobody waits for that
    DiskAccess access;
    access.fd = event.fd;
    access.thread = event.pid;
    access.isRead = (event.mask & FAN_ACCESS_PERM) != 0;
    if (IsOwn(event.pid)) {
      Answer(event.fd, 0);
      continue;
    }
    access.isWrite = !access.isRead && OpensForWriting(event.pid);
    access.path = PathOf(event.fd);
    ask_(std::move(access));
  }
}

bool DiskWatch::Answer(int fd, int error) {
  const auto respond = [&](uint32_t response) {
    const fanotify_response answer = {fd, response};
    return write(group_.get(), &answer, sizeof answer) == sizeof answer;
  };
  const bool isTaken = respond(error == 0 ? FAN_ALLOW : FAN_DENY | ErrorBits(error));
  if (!isTaken) respond(FAN_ALLOW);
  close(fd);
  return isTaken;
}

int SetReadonly(int folder, bool isReadonly) {
  const Fd context(static_cast<int>(syscall(SYS_fspick, folder, "", 1u /* CLOEXEC */ | 8u /* EMPTY_PATH */)));
  if (!context.valid()) return errno;
  if (syscall(SYS_fsconfig, context.get(), 0 /* SET_FLAG */, isReadonly ? "ro" : "rw", nullptr, 0) != 0) return errno;
  return syscall(SYS_fsconfig, context.get(), 7 /* CMD_RECONFIGURE */, nullptr, nullptr, 0) == 0 ? 0 : errno;
}

}  // namespace clove
