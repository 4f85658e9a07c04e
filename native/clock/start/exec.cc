// New programs of a program that is answered from here are so, too: the filter outlives an exec, and so must what it calls.
#include <errno.h>
#include <sys/mman.h>

#include "start.h"

namespace clove::clock {

namespace {

char programPath[4096];
constexpr char kOwnLink[] = "/proc/self/exe";
/** As much as fits well on a small stack beside the rest. */
constexpr size_t kMostOnStack = 16 << 10;

/** Where the kernel would show this program: it takes clove-start for it. */
bool IsOwnLink(const char* path) {
  if (BeginsWith(path, kOwnLink) && LengthOf(path) == sizeof kOwnLink - 1) return true;
  if (!BeginsWith(path, "/proc/")) return false;
  long number = 0;
  for (path += 6; *path >= '0' && *path <= '9'; path++) number = number * 10 + (*path - '0');
  return number > 0 && BeginsWith(path, "/exe") && path[4] == 0 && number == SystemCall(SYS_getpid);
}

/** Where the clock's files cannot be seen the program would be without what its calls end in. */
long Execute(const Start& start, const Target& target, char** pointers, char* text) {
  const Start changed = Redirect(start, target, WorldFolder(), pointers, text);
  if (changed.path == start.path) return -EACCES;
  TimersBeforeExec();
  return SystemCall(SYS_execve, Value(changed.path), Value(changed.argv), Value(changed.environment));
}

}  // namespace

void SetProgram(int fd, const char* given) {
  char link[40] = "/proc/self/fd/";
  char* at = link + LengthOf(link);
  char digits[12];
  int count = 0;
  do digits[count++] = static_cast<char>('0' + fd % 10);
  while ((fd /= 10) != 0);
  while (count > 0) *at++ = digits[--count];
  *at = 0;
  const long length = SystemCall(SYS_readlinkat, AT_FDCWD, Value(link), Value(programPath), sizeof programPath - 1);
  if (length > 0) programPath[length] = 0;
  else if (LengthOf(given) < sizeof programPath) Append(programPath, given);
}

const char* ProgramPath() { return programPath; }

long OnReadlink(long folder, const char* path, char* to, size_t size) {
  if (path == nullptr || !IsOwnLink(path)) return SystemCall(SYS_readlinkat, folder, Value(path), Value(to), static_cast<long>(size));
  size_t length = LengthOf(programPath);
  if (length > size) length = size;
  __builtin_memcpy(to, programPath, length);
  return static_cast<long>(length);
}

long OnExecve(const char* path, char* const* argv, char* const* environment) {
  if (path == nullptr) return -EFAULT;
  const Start start{IsOwnLink(path) ? programPath : path, argv, environment};
  Target target;
  FindTarget(start.path, target);
  if (target.kind == ProgramKind::kUnknown) {
    // What may be started but not read would be started without the handler of its calls.
    if (SystemCall(SYS_faccessat, AT_FDCWD, Value(target.path), X_OK) == 0 && SystemCall(SYS_faccessat, AT_FDCWD, Value(target.path), R_OK) != 0)
      return -EACCES;
    return SystemCall(SYS_execve, Value(start.path), Value(argv), Value(environment));
  }
  const size_t pointers = PointersFor(start, target) * sizeof(char*), size = pointers + TextFor(start, target, WorldFolder());
  if (size <= kMostOnStack) {
    auto* const room = static_cast<char*>(__builtin_alloca(size));
    return Execute(start, target, reinterpret_cast<char**>(room), room + pointers);
  }
  const long mapped = SystemCall(SYS_mmap, 0, static_cast<long>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped < 0 && mapped >= -kError) return mapped;
  const long result = Execute(start, target, reinterpret_cast<char**>(mapped), reinterpret_cast<char*>(mapped) + pointers);
  SystemCall(SYS_munmap, mapped, static_cast<long>(size));
  return result;
}

long OnExecveat(const long* a) {
  const auto* path = reinterpret_cast<const char*>(a[1]);
  auto* const argv = reinterpret_cast<char* const*>(a[2]);
  auto* const environment = reinterpret_cast<char* const*>(a[3]);
  if (path == nullptr) return -EFAULT;
  if (*path == '/' || (static_cast<int>(a[0]) == AT_FDCWD && *path != 0)) return OnExecve(path, argv, environment);
  // Relative to a descriptor, or the descriptor itself: by the name that its file has.
  char name[4096], link[40] = "/proc/self/fd/";
  char* at = link + LengthOf(link);
  char digits[12];
  int count = 0;
  unsigned fd = static_cast<unsigned>(a[0]);
  do digits[count++] = static_cast<char>('0' + fd % 10);
  while ((fd /= 10) != 0);
  while (count > 0) *at++ = digits[--count];
  *at = 0;
  const long length = SystemCall(SYS_readlinkat, AT_FDCWD, Value(link), Value(name), sizeof name - 1);
  if (length <= 0) return length < 0 ? length : -EBADF;
  name[length] = 0;
  if (*path != 0) {
    if (static_cast<size_t>(length) + LengthOf(path) + 2 > sizeof name) return -ENAMETOOLONG;
    Append(Append(name + length, "/"), path);
  }
  return OnExecve(name, argv, environment);
}

}  // namespace clove::clock
