// Programs and waits that the library cannot see.
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../clock/program.h"
#include "clock_members.h"

namespace clove::clock {

namespace {

/** Whether the arguments that a thread sleeps with name a time-out: a pointer that is not null. */
bool HasPointer(const ThreadProbe::Call& call, int index) { return call.arguments[index] != 0; }
/** A time-out in milliseconds, where -1 is none. */
bool HasMilliseconds(const ThreadProbe::Call& call, int index) { return static_cast<int32_t>(call.arguments[index]) > 0; }

}  // namespace

bool IsTimedCall(const ThreadProbe::Call& call) {
  switch (call.number) {
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return true;
    case SYS_futex: {
      const auto command = call.arguments[1] & static_cast<unsigned long>(FUTEX_CMD_MASK);
      return (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET || command == FUTEX_LOCK_PI) && HasPointer(call, 3);
    }
    case 449:  // futex_waitv
      return HasPointer(call, 3);
    case SYS_ppoll:
      return HasPointer(call, 2);
    case SYS_pselect6:
      return HasPointer(call, 4);
    case SYS_epoll_pwait:
      return HasMilliseconds(call, 3);
    case 441:  // epoll_pwait2
      return HasPointer(call, 3);
    case SYS_rt_sigtimedwait:
      return HasPointer(call, 2);
    case SYS_semtimedop:
      return HasPointer(call, 3);
    case SYS_mq_timedsend:
    case SYS_mq_timedreceive:
      return HasPointer(call, 4);
    case SYS_io_getevents:
      return HasPointer(call, 4);
#if defined(SYS_poll)
    case SYS_poll:
      return HasMilliseconds(call, 2);
    case SYS_select:
      return HasPointer(call, 4);
    case SYS_epoll_wait:
      return HasMilliseconds(call, 3);
#endif
    default:
      return false;
  }
}

bool IsStartedBy(int process, const StartFile& start) {
  char link[64];
  snprintf(link, sizeof link, "/proc/%d/exe", process);
  struct stat info;
  return start.inode != 0 && stat(link, &info) == 0 && info.st_ino == start.inode && info.st_dev == start.device;
}

Blocker DescribeUncovered(int process) {
  char link[64], path[PATH_MAX] = "?";
  snprintf(link, sizeof link, "/proc/%d/exe", process);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length > 0) path[length] = 0;
  const Fd file(open(link, O_RDONLY | O_CLOEXEC));
  const std::string who = std::string(path) + " (process " + std::to_string(process) + ")";
  const char* const effect = ": the world runs at real speed while it lives";
  switch (file.get() < 0 ? ProgramKind::kUnknown : KindOfElf(file.get())) {
    case ProgramKind::kGo:
      return {false, nullptr, "go-binary", who + " is a Go program, which reads the kernel's clock itself" + effect};
    case ProgramKind::kStatic:
      return {false, nullptr, "static-binary", who + " is statically linked, and no library can be put under it" + effect};
    case ProgramKind::kOtherLibrary:
      return {false, nullptr, "other-libc", who + " uses a C library other than glibc" + effect};
    default:
      return {false, nullptr, "not-registered", who + " runs without the world's clock (its environment or its privileges keep the library out)" + effect};
  }
}

Blocker DescribePinned(int process, uint32_t reason) {
  const std::string who = "process " + std::to_string(process);
  const char* const effect = ": the world runs at real speed while it lives";
  if (reason == kPinTimers) return {false, nullptr, "many-timers", who + " has more timers at once than the clock keeps" + effect};
  // Written by the agent, whatever it means.
  return {false, nullptr, "socket-timeout", who + " receives from sockets with a time-out (SO_RCVTIMEO), and its reads cannot be seen" + effect};
}

}  // namespace clove::clock
