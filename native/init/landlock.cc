// The second wall: Landlock, with every right of the ABI this program knows.
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "init.h"

namespace clove {

int landlockAbi;

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
int ruleset = -1;
int prepareError;  // errno of what could not be prepared
bool isBesideAgent;

long Allow(const char* path, uint64_t rights) {
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

/** The rules that are the same for every agent. Paths that are mounted later get their own. */
long MakeRuleset() {
  const int abi = landlockAbi;
  handledFs = kFsAbi1 | (abi >= 2 ? kRefer : 0) | (abi >= 3 ? kTruncate : 0) | (abi >= 5 ? kIoctlDev : 0);
  // Network rights are only withheld where nothing is reachable anyway but loopback; there TCP must stay possible.
  // PID 1 of a template's agent is in another domain than the agent; commands that it starts are to reach that all the same.
  const bool isScoped = abi >= 6 && !isBesideAgent;
  Ruleset attributes{handledFs, 0, isScoped ? kScopeAbi6 : 0};
  const size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0));
  if (ruleset < 0) return -1;

  const uint64_t readExecute = kExecute | kReadFile | kReadDir, read = kReadFile | kReadDir, all = handledFs;
  const bool ownRoot = (ready.onMask & bit(L_mntns)) != 0;
  long bad = 0;
  for (const char* path : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) bad |= Allow(path, readExecute);
  if (ownRoot) {
    bad |= Allow("/", kReadDir);  // the names in the root are all ours
    bad |= Allow("/etc", read);
    for (const char* path : {"/work", "/run", "/tmp", "/dev/shm"}) bad |= Allow(path, all);
  } else {
    // The host's root: only what a program needs to start, and a place for temporary files.
    for (const char* path : {"/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf",
                             "/etc/localtime", "/etc/ssl", "/etc/ca-certificates", "/etc/alternatives"})
      bad |= Allow(path, read);
    bad |= Allow("/tmp", all);
    const char* cwd = At<char>(plan->command.cwd);
    if (cwd != nullptr && strcmp(cwd, "/") != 0) bad |= Allow(cwd, all);  // that would be everything
  }
  bad |= Allow("/proc", read);
  bad |= Allow("/dev", read);
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    bad |= Allow(path, kReadFile | kWriteFile | kIoctlDev);
  return bad;
}

long Restrict() {
  long bad = 0;
  const uint64_t readExecute = kExecute | kReadFile | kReadDir;
  const bool ownRoot = (ready.onMask & bit(L_mntns)) != 0;
  for (uint32_t i = 0; i < plan->mountCount; i++) {
    const PlanMount& mount = At<PlanMount>(plan->mounts)[i];
    if (!ownRoot && mount.source == 0) continue;
    char path[MAX_PATH + 1];
    snprintf(path, sizeof path, ownRoot ? "/%s" : "%s", At<char>(ownRoot ? mount.target : mount.source));
    bad |= Allow(path, mount.readonly != 0 ? readExecute : handledFs);
  }
  if (bad != 0) {
    close(ruleset);
    return -1;
  }
  const long result = syscall(SYS_landlock_restrict_self, ruleset, 0);
  close(ruleset);
  return result;
}

}  // namespace

void PrepareLandlock(bool besideAgent) {
  if (!Wanted(L_landlock)) return;
  isBesideAgent = besideAgent;
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1);
  landlockAbi = abi < 0 ? 0 : static_cast<int>(abi);
  if (abi < 0 || MakeRuleset() != 0) prepareError = errno != 0 ? errno : EIO;
}

void ApplyLandlock() {
  if (!Wanted(L_landlock)) return LayerSet(L_landlock, STATE_OFF, 0, "left out by request");
  if (Faulted(S_landlock)) {
    Check(S_landlock, -1, "");
    return;
  }
  errno = prepareError;
  if (!Check(S_landlock, landlockAbi == 0 ? -1 : 0, "landlock_create_ruleset: no Landlock in this kernel")) return;
  if (!Check(S_landlock, prepareError != 0 ? -1 : Restrict(), "landlock_add_rule or landlock_restrict_self")) return;
  ready.landlockAbi = landlockAbi;
  LayerOn(L_landlock, "abi %d%s; all file rights%s%s", landlockAbi, landlockAbi > kKnownAbi ? " (newer rights unused)" : "",
          landlockAbi >= 5 ? ", device ioctls" : "", landlockAbi >= 6 ? "; scopes abstract sockets, signals" : "; no scopes");
}

}  // namespace clove
