// New programs keep the clock, whatever environment they are given.
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "library.h"
#include "program.h"

using namespace clove::clock;

extern char** environ;

namespace {

constexpr size_t kMaxEntry = 4096;
char preload[kMaxEntry] = "";   // LD_PRELOAD=<this library>
char clockFolder[kMaxEntry] = "";  // CLOVE_CLOCK=<folder>
const char* library = preload + sizeof("LD_PRELOAD=") - 1;

CLOVE_REAL(execve, int (*)(const char*, char* const*, char* const*));
CLOVE_REAL(execvpe, int (*)(const char*, char* const*, char* const*));
CLOVE_REAL(execveat, int (*)(int, const char*, char* const*, char* const*, int));
CLOVE_REAL(fexecve, int (*)(int, char* const*, char* const*));
CLOVE_REAL(posix_spawn, int (*)(pid_t*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const*, char* const*));
CLOVE_REAL(posix_spawnp, int (*)(pid_t*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const*, char* const*));

__attribute__((constructor)) void RememberOwnPlace() {
  Dl_info info;
  const char* folder = getenv("CLOVE_CLOCK");
  if (folder == nullptr || !HasWorld() || dladdr(reinterpret_cast<void*>(&RememberOwnPlace), &info) == 0 || info.dli_fname == nullptr) return;
  if (snprintf(preload, sizeof preload, "LD_PRELOAD=%s", info.dli_fname) >= static_cast<int>(sizeof preload) ||
      snprintf(clockFolder, sizeof clockFolder, "CLOVE_CLOCK=%s", folder) >= static_cast<int>(sizeof clockFolder))
    preload[0] = 0;
}

struct Needs {
  size_t count = 0;             // entries of the environment
  const char* other = nullptr;  // an LD_PRELOAD without this library
  bool hasPreload = false, hasFolder = false;
};

Needs Inspect(char* const* environment) {
  Needs needs;
  for (; environment != nullptr && environment[needs.count] != nullptr; needs.count++) {
    const char* entry = environment[needs.count];
    if (BeginsWith(entry, kFolderVariable)) needs.hasFolder = true;
    if (!BeginsWith(entry, kPreloadVariable)) continue;
    if (strstr(entry, library) != nullptr) needs.hasPreload = true;
    else needs.other = entry;
  }
  return needs;
}

/** Fills `copy` (count + 3 pointers); `joined` has room for both preloads. No allocation: this may run in a vfork child. */
char** Complete(char* const* environment, const Needs& needs, char** copy, char* joined, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < needs.count; i++)
    if (needs.hasPreload || environment[i] != needs.other) copy[n++] = environment[i];
  if (!needs.hasPreload) {
    copy[n++] = preload;
    if (needs.other != nullptr && snprintf(joined, size, "%s:%s", preload, strchr(needs.other, '=') + 1) < static_cast<int>(size))
      copy[n - 1] = joined;
  }
  if (!needs.hasFolder) copy[n++] = clockFolder;
  copy[n] = nullptr;
  return copy;
}

// A macro, since what it makes must live on the caller's stack.
#define CLOVE_WITH_CLOCK(name, environment)                                                                    \
  char* const* name = environment;                                                                             \
  if (preload[0] != 0) {                                                                                       \
    const Needs needs_ = Inspect(environment);                                                                 \
    if (!needs_.hasPreload || !needs_.hasFolder) {                                                             \
      const size_t size_ = needs_.other == nullptr ? 1 : strlen(preload) + strlen(needs_.other) + 2;           \
      name = Complete(environment, needs_, static_cast<char**>(__builtin_alloca((needs_.count + 3) * sizeof(char*))), \
                      static_cast<char*>(__builtin_alloca(size_)), size_);                                     \
    }                                                                                                          \
  }

/** A program that takes no library is started in another way; of all others nothing changes. */
#define CLOVE_BY_KIND(start)                                                                                   \
  if (Target target_; preload[0] != 0 && start.path != nullptr) {                                              \
    FindTarget(start.path, target_);                                                                           \
    if (NeedsStart(target_.kind)) {                                                                            \
      const char* const folder_ = clockFolder + sizeof kFolderVariable - 1;                                    \
      start = Redirect(start, target_, folder_, static_cast<char**>(__builtin_alloca(PointersFor(start, target_) * sizeof(char*))), \
                       static_cast<char*>(__builtin_alloca(TextFor(start, target_, folder_))));                \
    }                                                                                                          \
  }

/** Where a program of the search path is, as execvp finds it; null: nowhere. */
const char* FindInPath(const char* file, char* found, size_t size) {
  if (strchr(file, '/') != nullptr) return file;
  const char* path = getenv("PATH");
  if (path == nullptr) path = "/bin:/usr/bin";
  for (;;) {
    const char* end = strchrnul(path, ':');
    const auto length = static_cast<int>(end - path);
    if (snprintf(found, size, "%.*s%s%s", length, path, length == 0 ? "" : "/", file) < static_cast<int>(size) &&
        SystemCall(SYS_faccessat, AT_FDCWD, Value(found), X_OK) == 0)
      return found;
    if (*end == 0) return nullptr;
    path = end + 1;
  }
}

/** What a descriptor is of; null where its file has no name any more. */
const char* NameOf(int fd, char* name, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long length = SystemCall(SYS_readlinkat, AT_FDCWD, Value(link), Value(name), static_cast<long>(size - 1));
  if (length <= 0) return nullptr;
  name[length] = 0;
  return SystemCall(SYS_faccessat, AT_FDCWD, Value(name), X_OK) == 0 ? name : nullptr;
}

void BeforeExec() {
  if (!HasWorld() || !IsOwnProcess()) return;
  TimersBeforeExec();
  ReleaseSlot();
}

}  // namespace

CLOVE_INTERPOSE(int, execve, const char* path, char* const* argv, char* const* environment) {
  CLOVE_WITH_CLOCK(complete, environment)
  Start start{path, argv, complete};
  CLOVE_BY_KIND(start)
  BeforeExec();
  return real_execve(start.path, start.argv, start.environment);
}

CLOVE_INTERPOSE(int, execvpe, const char* file, char* const* argv, char* const* environment) {
  CLOVE_WITH_CLOCK(complete, environment)
  char found[PATH_MAX];
  Start start{FindInPath(file, found, sizeof found), argv, complete};
  CLOVE_BY_KIND(start)
  BeforeExec();
  if (start.environment != complete) return real_execve(start.path, start.argv, start.environment);
  return real_execvpe(file, argv, complete);
}

CLOVE_INTERPOSE(int, execv, const char* path, char* const* argv) { return clove_execve(path, argv, environ); }
CLOVE_INTERPOSE(int, execvp, const char* file, char* const* argv) { return clove_execvpe(file, argv, environ); }

CLOVE_INTERPOSE(int, execveat, int folder, const char* path, char* const* argv, char* const* environment, int flags) {
  CLOVE_WITH_CLOCK(complete, environment)
  char name[PATH_MAX];
  const bool isOfDescriptor = (flags & AT_EMPTY_PATH) != 0 && *path == 0;
  Start start{isOfDescriptor ? NameOf(folder, name, sizeof name) : *path == '/' || folder == AT_FDCWD ? path : nullptr, argv, complete};
  CLOVE_BY_KIND(start)
  BeforeExec();
  if (start.environment != complete) return real_execve(start.path, start.argv, start.environment);
  return real_execveat(folder, path, argv, complete, flags);
}

CLOVE_INTERPOSE(int, fexecve, int fd, char* const* argv, char* const* environment) {
  CLOVE_WITH_CLOCK(complete, environment)
  char name[PATH_MAX];
  Start start{NameOf(fd, name, sizeof name), argv, complete};
  CLOVE_BY_KIND(start)
  BeforeExec();
  if (start.environment != complete) return real_execve(start.path, start.argv, start.environment);
  return real_fexecve(fd, argv, complete);
}

// The arguments up to the null pointer, as a vector on the stack.
#define CLOVE_ARGUMENTS(argv, first, list)                                              \
  size_t count_ = 1;                                                                    \
  va_list counted_;                                                                     \
  va_copy(counted_, list);                                                              \
  while (va_arg(counted_, char*) != nullptr) count_++;                                  \
  va_end(counted_);                                                                     \
  char** argv = static_cast<char**>(__builtin_alloca((count_ + 1) * sizeof(char*)));    \
  argv[0] = const_cast<char*>(first);                                                   \
  for (size_t i_ = 1; i_ <= count_; i_++) argv[i_] = va_arg(list, char*);

CLOVE_INTERPOSE(int, execl, const char* path, const char* first, ...) {
  va_list list;
  va_start(list, first);
  CLOVE_ARGUMENTS(argv, first, list)
  va_end(list);
  return clove_execve(path, argv, environ);
}

CLOVE_INTERPOSE(int, execlp, const char* file, const char* first, ...) {
  va_list list;
  va_start(list, first);
  CLOVE_ARGUMENTS(argv, first, list)
  va_end(list);
  return clove_execvpe(file, argv, environ);
}

CLOVE_INTERPOSE(int, execle, const char* path, const char* first, ...) {
  va_list list;
  va_start(list, first);
  CLOVE_ARGUMENTS(argv, first, list)
  char* const* environment = va_arg(list, char* const*);
  va_end(list);
  return clove_execve(path, argv, environment);
}

CLOVE_INTERPOSE(int, posix_spawn, pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions, const posix_spawnattr_t* attributes,
                char* const* argv, char* const* environment) {
  CLOVE_WITH_CLOCK(complete, environment)
  Start start{path, argv, complete};
  CLOVE_BY_KIND(start)
  return real_posix_spawn(pid, start.path, actions, attributes, start.argv, start.environment);
}

CLOVE_INTERPOSE(int, posix_spawnp, pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
                const posix_spawnattr_t* attributes, char* const* argv, char* const* environment) {
  CLOVE_WITH_CLOCK(complete, environment)
  char found[PATH_MAX];
  Start start{FindInPath(file, found, sizeof found), argv, complete};
  CLOVE_BY_KIND(start)
  if (start.environment != complete) return real_posix_spawn(pid, start.path, actions, attributes, start.argv, start.environment);
  return real_posix_spawnp(pid, file, actions, attributes, argv, complete);
}
