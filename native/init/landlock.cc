// The second wall: Landlock, with every right of the ABI this program knows.
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "init.h"

namespace clove {
namespace {

// Bits by the ABI that brought them; our own, because installed headers are older than running kernels.
constexpr uint64_t kExecute = 1, kWriteFile = 2, kReadFile = 4, kReadDir = 8;
constexpr uint64_t kFsAbi1 = (1 << 13) - 1, kRefer = 1 << 13, kTruncate = 1 << 14, kIoctlDev = 1 << 15;
constexpr uint64_t kScopeAbi6 = 3;              // abstract sockets, signals
constexpr uint64_t kFileRights = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDev;
constexpr int kKnownAbi = 7;

struct Ruleset {
  uint64_t fs, net, scoped;
};
struct __attribute__((packed)) PathRule {
  uint64_t allowed;
  int32_t parent;
};

uint64_t handledFs;

long Allow(int ruleset, const char* path, uint64_t rights) {
  // A link (/bin, /lib64 …) leads below another of these paths.
  const int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -1;
  struct stat info;
  if (fstat(fd, &info) == 0 && !S_ISDIR(info.st_mode)) rights = S_ISLNK(info.st_mode) ? 0 : rights & kFileRights;
  PathRule rule{rights & handledFs, fd};
  const long result = rule.allowed == 0 ? 0 : syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0);
  close(fd);
  return result;
}

long Restrict() {
  const int abi = landlockAbi;
  handledFs = kFsAbi1 | (abi >= 2 ? kRefer : 0) | (abi >= 3 ? kTruncate : 0) | (abi >= 5 ? kIoctlDev : 0);
  // Network rights are only withheld where nothing is reachable anyway but loopback; there TCP must stay possible.
  Ruleset attributes{handledFs, 0, abi >= 6 ? kScopeAbi6 : 0};
  const size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  const int ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0));
  if (ruleset < 0) return -1;

  const uint64_t readExecute = kExecute | kReadFile | kReadDir, read = kReadFile | kReadDir, all = handledFs;
  const bool ownRoot = (ready.onMask & bit(L_mntns)) != 0;
  long bad = 0;
  for (const char* path : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) bad |= Allow(ruleset, path, readExecute);
  if (ownRoot) {
    bad |= Allow(ruleset, "/", kReadDir);  // the names in the root are all ours
    bad |= Allow(ruleset, "/etc", read);
    for (const char* path : {"/work", "/run", "/tmp", "/dev/shm"}) bad |= Allow(ruleset, path, all);
    for (uint32_t i = 0; i < plan->mountCount; i++) {
      const PlanMount& mount = At<PlanMount>(plan->mounts)[i];
      char path[MAX_PATH + 1];
      snprintf(path, sizeof path, "/%s", At<char>(mount.target));
      bad |= Allow(ruleset, path, mount.readonly != 0 ? readExecute : all);
    }
  } else {
    // The host's root: only what a program needs to start, and a place for temporary files.
    for (const char* path : {"/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf",
                             "/etc/localtime", "/etc/ssl", "/etc/ca-certificates", "/etc/alternatives"})
      bad |= Allow(ruleset, path, read);
    bad |= Allow(ruleset, "/tmp", all);
    if (plan->command.cwd != 0) bad |= Allow(ruleset, At<char>(plan->command.cwd), all);
  }
  bad |= Allow(ruleset, "/proc", read);
  bad |= Allow(ruleset, "/dev", read);
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    bad |= Allow(ruleset, path, kReadFile | kWriteFile | kIoctlDev);
  if (bad != 0) {
    close(ruleset);
    return -1;
  }
  const long result = syscall(SYS_landlock_restrict_self, ruleset, 0);
  close(ruleset);
  return result;
}

}  // namespace

void ApplyLandlock() {
  landlockAbi = 0;
  if (!Wanted(L_landlock)) return LayerSet(L_landlock, STATE_OFF, 0, "left out by request");
  if (Faulted(S_landlock)) {
    Check(S_landlock, -1, "");
    return;
  }
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1);
  if (!Check(S_landlock, abi, "landlock_create_ruleset: no Landlock in this kernel")) return;
  landlockAbi = static_cast<int>(abi);
  if (!Check(S_landlock, Restrict(), "landlock_add_rule or landlock_restrict_self")) return;
  ready.landlockAbi = landlockAbi;
  LayerOn(L_landlock, "abi %d%s; all file rights%s%s", landlockAbi, landlockAbi > kKnownAbi ? " (newer rights unused)" : "",
          landlockAbi >= 5 ? ", device ioctls" : "", landlockAbi >= 6 ? "; scopes abstract sockets, signals" : "; no scopes");
}

}  // namespace clove
