// Programs and waits that the library cannot see.
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock_members.h"

namespace clove::clock {

namespace {

/** Whether the arguments that a thread sleeps with name a time-out: a pointer that is not null. */
bool HasPointer(const ThreadProbe::Call& call, int index) { return call.arguments[index] != 0; }
/** A time-out in milliseconds, where -1 is none. */
bool HasMilliseconds(const ThreadProbe::Call& call, int index) { return static_cast<int32_t>(call.arguments[index]) > 0; }

bool ReadAt(int fd, off_t offset, void* buffer, size_t size) {
  return pread(fd, buffer, size, offset) == static_cast<ssize_t>(size);
}

enum class Program { kUnknown, kGo, kStatic, kOtherLibrary, kDynamic };

Program Inspect(int fd) {
  Elf64_Ehdr header;
  if (!ReadAt(fd, 0, &header, sizeof header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
    return Program::kUnknown;
  Program program = Program::kStatic;
  for (int i = 0; i < header.e_phnum && i < 64; i++) {
    Elf64_Phdr segment;
    if (!ReadAt(fd, static_cast<off_t>(header.e_phoff + static_cast<uint64_t>(i) * header.e_phentsize), &segment, sizeof segment)) break;
    char text[256] = "";
    const size_t size = segment.p_filesz < sizeof text - 1 ? segment.p_filesz : sizeof text - 1;
    if (segment.p_type == PT_INTERP && ReadAt(fd, static_cast<off_t>(segment.p_offset), text, size)) {
      program = strstr(text, "ld-linux") != nullptr ? Program::kDynamic : Program::kOtherLibrary;
    } else if (segment.p_type == PT_NOTE && ReadAt(fd, static_cast<off_t>(segment.p_offset), text, size)) {
      // Go marks its programs with a note called "Go"; they read the clock without the C library even when they have it.
      if (size >= 16 && memcmp(text + 12, "Go\0", 4) == 0) return Program::kGo;
    }
  }
  return program;
}

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

Blocker DescribeUncovered(int process) {
  char link[64], path[PATH_MAX] = "?";
  snprintf(link, sizeof link, "/proc/%d/exe", process);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length > 0) path[length] = 0;
  const Fd file(open(link, O_RDONLY | O_CLOEXEC));
  const std::string who = std::string(path) + " (process " + std::to_string(process) + ")";
  const char* const effect = ": the world runs at real speed while it lives";
  switch (file.get() < 0 ? Program::kUnknown : Inspect(file.get())) {
    case Program::kGo:
      return {false, nullptr, "go-binary", who + " is a Go program, which reads the kernel's clock itself" + effect};
    case Program::kStatic:
      return {false, nullptr, "static-binary", who + " is statically linked, and no library can be put under it" + effect};
    case Program::kOtherLibrary:
      return {false, nullptr, "other-libc", who + " uses a C library other than glibc" + effect};
    default:
      return {false, nullptr, "not-registered", who + " runs without the world's clock (its environment or its privileges keep the library out)" + effect};
  }
}

}  // namespace clove::clock
