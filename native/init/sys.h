// System calls that glibc 2.36 has no wrapper for, and the constants of newer kernel headers.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

// In <linux/sched.h> of 5.7, which glibc 2.36 does not repeat, and in <sched.h>.
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

namespace clove {

inline int OpenAt2(int dir, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  open_how how{flags, mode, resolve};
  return static_cast<int>(syscall(SYS_openat2, dir, path, &how, sizeof how));
}
inline int OpenTree(int dir, const char* path, unsigned flags) {
  return static_cast<int>(syscall(SYS_open_tree, dir, path, flags));
}
inline int MoveMount(int fromDir, const char* from, int toDir, const char* to, unsigned flags) {
  return static_cast<int>(syscall(SYS_move_mount, fromDir, from, toDir, to, flags));
}
struct MountAttributes {
  uint64_t set, clear, propagation, userns;
};
inline int MountSetattr(int dir, const char* path, unsigned flags, uint64_t set, uint64_t propagation = 0) {
  MountAttributes attributes{set, 0, propagation, 0};
  return static_cast<int>(syscall(SYS_mount_setattr, dir, path, flags, &attributes, sizeof attributes));
}
inline int PivotRoot(const char* newRoot, const char* putOld) {
  return static_cast<int>(syscall(SYS_pivot_root, newRoot, putOld));
}
inline int CloseRange(unsigned first, unsigned last, unsigned flags) {
  return static_cast<int>(syscall(SYS_close_range, first, last, flags));
}
/** What clone3 takes. */
struct CloneArguments {
  uint64_t flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize, cgroup;
};
/** Filters of containers answer clone3 with ENOSYS, because they cannot see its flags; clone(2) is left then. */
inline bool HasClone3() {
  // Without arguments it answers EINVAL, and makes nothing.
  static const bool has = syscall(SYS_clone3, nullptr, 0) >= 0 || errno != ENOSYS;
  return has;
}
inline int PidfdOpen(int pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }
inline int PidfdSendSignal(int pidfd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

constexpr unsigned kCloseRangeCloexec = 4;
constexpr unsigned kOpenTreeClone = 1, kOpenTreeCloexec = O_CLOEXEC;
constexpr unsigned kMoveFromEmpty = 0x4, kMoveToEmpty = 0x40;
constexpr unsigned kAtEmptyPath = 0x1000, kAtRecursive = 0x8000;
constexpr uint64_t kAttrReadonly = 1, kAttrNosuid = 2, kAttrNodev = 4, kAttrNoexec = 8;

// clove-init only (runtime.cc).
/** clone(2) whose child runs `entry` on a stack of its own. `childTid` is that of CLONE_CHILD_CLEARTID. */
int CloneWithStack(int (*entry)(void*), char* stackTop, unsigned long flags, void* argument, int* pidfd, int* childTid = nullptr);
/** Back to what a new program expects of a signal. */
void DefaultSignal(int signal);

template <typename Call>
auto RetryOnEintr(Call call) {
  decltype(call()) result;
  do result = call();
  while (result == -1 && errno == EINTR);
  return result;
}

}  // namespace clove
