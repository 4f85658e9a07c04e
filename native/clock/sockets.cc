// Descriptors with time of their own: receive time-outs, timers that are read, and connections that lead out of the world.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "library.h"

using namespace clove::clock;

extern "C" int clove_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) __asm__("ppoll");

namespace {

constexpr size_t kDescriptors = 65536;
enum : uint8_t { kTimer = 1, kReceiveTimeout = 2, kExternal = 4 };
std::atomic<uint8_t> marks[kDescriptors];

bool IsMarked(int fd, uint8_t mark) {
  return static_cast<size_t>(fd) < kDescriptors && (marks[fd].load(std::memory_order_relaxed) & mark) != 0;
}
void Mark(int fd, uint8_t mark) {
  if (static_cast<size_t>(fd) < kDescriptors) marks[fd].fetch_or(mark);
}
void Unmark(int fd) {
  if (static_cast<size_t>(fd) >= kDescriptors || marks[fd].load(std::memory_order_relaxed) == 0) return;
  if ((marks[fd].exchange(0) & kExternal) != 0) CountExternal(-1);
}

CLOVE_REAL(read, ssize_t (*)(int, void*, size_t));
CLOVE_REAL(readv, ssize_t (*)(int, const iovec*, int));
CLOVE_REAL(recv, ssize_t (*)(int, void*, size_t, int));
CLOVE_REAL(recvfrom, ssize_t (*)(int, void*, size_t, int, sockaddr*, socklen_t*));
CLOVE_REAL(recvmsg, ssize_t (*)(int, msghdr*, int));
CLOVE_REAL(recvmmsg, int (*)(int, mmsghdr*, unsigned, int, timespec*));
CLOVE_REAL(accept, int (*)(int, sockaddr*, socklen_t*));
CLOVE_REAL(accept4, int (*)(int, sockaddr*, socklen_t*, int));
CLOVE_REAL(socket, int (*)(int, int, int));
CLOVE_REAL(connect, int (*)(int, const sockaddr*, socklen_t));
CLOVE_REAL(setsockopt, int (*)(int, int, int, const void*, socklen_t));
CLOVE_REAL(close, int (*)(int));
CLOVE_REAL(dup2, int (*)(int, int));
CLOVE_REAL(dup3, int (*)(int, int, int));
CLOVE_REAL(timerfd_create, int (*)(int, int));

/** In a strict world: before something is taken from a stream, everything on its way has arrived, and it is this agent's turn. */
void AwaitStream(int fd, int flags, short what) {
  if (!IsStrict() || !HasWorld()) return;
  const int error = errno;
  struct stat info;
  const bool isStream = fstat(fd, &info) == 0 && (S_ISSOCK(info.st_mode) || S_ISFIFO(info.st_mode));
  if (isStream && ((flags & MSG_DONTWAIT) != 0 || (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0)) AwaitNextTurn();
  else if (isStream) {
    pollfd waited = {fd, what, 0};
    clove_ppoll(&waited, 1, nullptr, nullptr);
  }
  errno = error;
}

/** Before a blocking receive: waits for its time-out in virtual time. False: over, errno is set. */
bool AwaitInput(int fd, int flags) {
  if (!IsMarked(fd, kReceiveTimeout)) AwaitStream(fd, flags, POLLIN);
  if (!IsMarked(fd, kReceiveTimeout) || (flags & MSG_DONTWAIT) != 0 || !HasWorld()) return true;
  timeval timeout = {};
  socklen_t size = sizeof timeout;
  if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &size) != 0 || (timeout.tv_sec == 0 && timeout.tv_usec == 0) ||
      (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0)
    return true;
  const timespec time = {timeout.tv_sec, timeout.tv_usec * 1000};
  pollfd waited = {fd, POLLIN, 0};
  const int result = clove_ppoll(&waited, 1, &time, nullptr);
  if (result == 0) errno = EAGAIN;
  return result > 0;
}

/** Whether an address is one that nobody in the world serves. Only asked where agents share the host's network. */
bool LeadsOutside(const sockaddr* address) {
  if (address == nullptr) return false;
  if (address->sa_family == AF_INET || address->sa_family == AF_INET6) return true;
  if (address->sa_family != AF_UNIX) return false;
  const char* socket = getenv("CLOVE_SOCKET");
  return socket == nullptr || strncmp(reinterpret_cast<const sockaddr_un*>(address)->sun_path, socket, sizeof(sockaddr_un::sun_path)) != 0;
}

}  // namespace

CLOVE_INTERPOSE(ssize_t, read, int fd, void* buffer, size_t size) {
  if (__builtin_expect(!IsMarked(fd, kTimer | kReceiveTimeout) && !IsStrict(), 1)) return real_read(fd, buffer, size);
  if (!AwaitInput(fd, 0)) return -1;
  const ssize_t result = real_read(fd, buffer, size);
  if (result == sizeof(uint64_t) && IsMarked(fd, kTimer)) {
    uint64_t count;
    memcpy(&count, buffer, sizeof count);
    if (TakeExpirations(fd, &count)) memcpy(buffer, &count, sizeof count);
  }
  return result;
}

CLOVE_INTERPOSE(ssize_t, __read_chk, int fd, void* buffer, size_t size, size_t room) {
  if (size > room) __builtin_trap();
  return clove_read(fd, buffer, size);
}

CLOVE_INTERPOSE(ssize_t, readv, int fd, const iovec* parts, int count) {
  return AwaitInput(fd, 0) ? real_readv(fd, parts, count) : -1;
}

CLOVE_INTERPOSE(ssize_t, recv, int fd, void* buffer, size_t size, int flags) {
  return AwaitInput(fd, flags) ? real_recv(fd, buffer, size, flags) : -1;
}

CLOVE_INTERPOSE(ssize_t, recvfrom, int fd, void* buffer, size_t size, int flags, sockaddr* from, socklen_t* length) {
  return AwaitInput(fd, flags) ? real_recvfrom(fd, buffer, size, flags, from, length) : -1;
}

CLOVE_INTERPOSE(ssize_t, recvmsg, int fd, msghdr* message, int flags) {
  return AwaitInput(fd, flags) ? real_recvmsg(fd, message, flags) : -1;
}

CLOVE_INTERPOSE(int, recvmmsg, int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  if (!HasWorld() || timeout == nullptr) return AwaitInput(fd, flags) ? real_recvmmsg(fd, messages, count, flags, timeout) : -1;
  // The kernel looks at this time-out after each datagram only; here it holds for the wait for each of them.
  const int64_t deadline = AddNs(VirtualMonotonic(), ToNsClamped(*timeout));
  unsigned received = 0;
  while (received < count) {
    const int64_t left = deadline - VirtualMonotonic();
    const timespec time = ToTimespec(left);
    pollfd waited = {fd, POLLIN, 0};
    const int ready = left > 0 || received == 0 ? clove_ppoll(&waited, 1, &time, nullptr) : 0;
    if (ready < 0 && received == 0) return -1;
    if (ready <= 0) break;
    const int more = real_recvmmsg(fd, messages + received, count - received, flags | MSG_DONTWAIT, nullptr);
    if (more < 0 && received == 0 && errno != EAGAIN) return -1;
    if (more > 0) received += static_cast<unsigned>(more);
    if ((flags & MSG_WAITFORONE) != 0 && received > 0) break;
  }
  const int64_t left = deadline - VirtualMonotonic();
  *timeout = ToTimespec(left);
  if (received > 0) return static_cast<int>(received);
  return Answer(-EAGAIN);
}

CLOVE_INTERPOSE(int, accept, int fd, sockaddr* from, socklen_t* length) {
  return AwaitInput(fd, 0) ? real_accept(fd, from, length) : -1;
}

CLOVE_INTERPOSE(int, accept4, int fd, sockaddr* from, socklen_t* length, int flags) {
  return AwaitInput(fd, 0) ? real_accept4(fd, from, length, flags) : -1;
}

CLOVE_INTERPOSE(int, setsockopt, int fd, int level, int name, const void* value, socklen_t length) {
  if (level == SOL_SOCKET && name == SO_RCVTIMEO) Mark(fd, kReceiveTimeout);
  return real_setsockopt(fd, level, name, value, length);
}

CLOVE_INTERPOSE(int, socket, int domain, int type, int protocol) {
  const int fd = real_socket(domain, type, protocol);
  if (fd < 0 || !HasWorld()) return fd;
  Unmark(fd);
  if ((domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_STREAM) {
    // Bytes that the kernel keeps back for 40 real milliseconds would be in flight while everybody sleeps.
    const int error = errno, on = 1;
    real_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    errno = error;
  }
  return fd;
}

CLOVE_INTERPOSE(int, connect, int fd, const sockaddr* address, socklen_t length) {
  if (ConnectsOutside() && !IsMarked(fd, kExternal) && LeadsOutside(address)) {
    Mark(fd, kExternal);
    CountExternal(1);
  }
  const int result = real_connect(fd, address, length);
  if (result != 0 && errno != EINPROGRESS && errno != EINTR && IsMarked(fd, kExternal)) {
    const int error = errno;
    Unmark(fd);
    errno = error;
  }
  return result;
}

CLOVE_INTERPOSE(int, timerfd_create, int clock, int flags) {
  const int fd = NoteTimerDescriptor(real_timerfd_create(clock, flags), clock);
  if (fd >= 0) {
    Unmark(fd);
    Mark(fd, kTimer);
  }
  return fd;
}

CLOVE_INTERPOSE(int, close, int fd) {
  Unmark(fd);
  return real_close(fd);
}

CLOVE_INTERPOSE(int, dup2, int from, int to) {
  if (from != to) Unmark(to);
  return real_dup2(from, to);
}

CLOVE_INTERPOSE(int, dup3, int from, int to, int flags) {
  if (from != to) Unmark(to);
  return real_dup3(from, to, flags);
}
