// The file system of a sandbox: a small tmpfs root, read-only binds of the system, masked /proc, sized scratch space.
// Everything is created in a tree that the agent never owned; the only foreign part is what the caller mounts, and
// there no link is ever followed.
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "init.h"

namespace clove {
namespace {

constexpr unsigned long kSafe = MS_NOSUID | MS_NODEV;
constexpr uint64_t kReadOnlySafe = kAttrReadonly | kAttrNosuid | kAttrNodev;

// Where the new root is put together before it becomes "/". Any host directory serves: the mount is private.
const char* Staging() {
  for (const char* path : {"/tmp", "/run", "/mnt", "/var"}) {
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return path;
  }
  return "/proc";
}

/** mkdir that accepts an existing directory. */
long MakeDirectory(const char* path, mode_t mode = 0755) {
  return mkdir(path, mode) == 0 || errno == EEXIST ? 0 : -1;
}

/** A read-only copy of a host tree at a path of the new root. */
long BindReadOnly(const char* source, const char* target) {
  const int tree = OpenTree(AT_FDCWD, source, kOpenTreeClone | kOpenTreeCloexec | kAtRecursive);
  if (tree < 0) return -1;
  long result = MountSetattr(tree, "", kAtEmptyPath | kAtRecursive, kReadOnlySafe, MS_PRIVATE);
  if (result == 0) result = MoveMount(tree, "", AT_FDCWD, target, kMoveFromEmpty);
  const int error = errno;
  close(tree);
  errno = error;
  return result;
}

/** Makes a top-level entry of the system (/bin, /lib64 …) as the host has it: a link or a bind. */
long SystemEntry(const char* name) {
  char path[64], link[256];
  snprintf(path, sizeof path, "/%s", name);
  const ssize_t length = readlink(path, link, sizeof link - 1);
  if (length > 0) {
    link[length] = 0;
    return symlink(link, name);
  }
  struct stat info;
  if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) return 0;
  if (MakeDirectory(name) != 0) return -1;
  return BindReadOnly(path, name);
}

long MakeSystem() {
  if (MakeDirectory("usr") != 0 || BindReadOnly("/usr", "usr") != 0) return -1;
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
    if (SystemEntry(name) != 0) return -1;
  for (const char* name : {"var", "dev", "proc"})
    if (MakeDirectory(name) != 0) return -1;
  return symlink("../tmp", "var/tmp") != 0 || symlink("../run", "var/run") != 0 ? -1 : 0;
}

long WriteFile(const char* path, const char* content) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return -1;
  const size_t length = strlen(content);
  const ssize_t written = write(fd, content, length);
  close(fd);
  if (written == static_cast<ssize_t>(length)) return 0;
  if (written >= 0) errno = ENOSPC;
  return -1;
}

/** What of the host's settings programs need to start and to speak TLS. */
long BindEtc() {
  if (MakeDirectory("etc") != 0) return -1;
  if (symlink("../usr/lib/os-release", "etc/os-release") != 0 || symlink("../proc/self/mounts", "etc/mtab") != 0) return -1;
  for (const char* name : {"etc/ssl", "etc/ca-certificates", "etc/pki", "etc/alternatives", "etc/ld.so.cache"}) {
    char source[64];
    snprintf(source, sizeof source, "/%s", name);
    struct stat info;
    if (lstat(source, &info) != 0) continue;
    if (S_ISDIR(info.st_mode) ? MakeDirectory(name) != 0 : WriteFile(name, "") != 0) return -1;
    if (BindReadOnly(source, name) != 0) return -1;
  }
  return 0;
}

/** Accounts and names: of this agent. */
long WriteEtc() {
  const struct {
    const char* path;
    uint32_t content;
  } files[] = {{"etc/passwd", plan->passwd}, {"etc/group", plan->group},       {"etc/hosts", plan->hosts},
               {"etc/hostname", plan->hostname}, {"etc/resolv.conf", plan->resolv}, {"etc/nsswitch.conf", plan->nsswitch}};
  for (const auto& file : files)
    if (WriteFile(file.path, At<char>(file.content)) != 0) return -1;
  return plan->localtime != 0 ? symlink(At<char>(plan->localtime), "etc/localtime") : 0;
}

/** Number of a memory device: major 1. */
constexpr dev_t MemoryDevice(unsigned minor) { return 1 << 8 | minor; }

/** A device node of our own; where making one is forbidden (containers), the host's, bound. */
long MakeNode(const char* name, unsigned minor) {
  char source[32], target[32];
  snprintf(source, sizeof source, "/dev/%s", name);
  snprintf(target, sizeof target, "dev/%s", name);
  if (mknod(target, S_IFCHR | 0666, MemoryDevice(minor)) == 0) return 0;
  if (errno != EPERM || WriteFile(target, "") != 0 || mount(source, target, nullptr, MS_BIND, nullptr) != 0) return -1;
  struct stat info;  // a swapped node on the host would hand over some other device
  if (stat(target, &info) != 0) return -1;
  if (S_ISCHR(info.st_mode) && info.st_rdev == MemoryDevice(minor)) return 0;
  errno = ENODEV;
  return -1;
}

long MakeDev() {
  // The only file system without nodev, and nobody but us ever writes to it.
  if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=32,mode=755") != 0) return -1;
  if (MakeDirectory("dev/shm", 01777) != 0) return -1;
  const struct {
    const char* name;
    unsigned minor;
  } nodes[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
  for (const auto& node : nodes)
    if (MakeNode(node.name, node.minor) != 0) return -1;
  const char* links[][2] = {{"/proc/self/fd", "dev/fd"},
                            {"/proc/self/fd/0", "dev/stdin"},
                            {"/proc/self/fd/1", "dev/stdout"},
                            {"/proc/self/fd/2", "dev/stderr"}};
  for (auto& link : links)
    if (symlink(link[0], link[1]) != 0) return -1;
  return MountSetattr(AT_FDCWD, "dev", 0, kAttrReadonly | kAttrNosuid | kAttrNoexec);
}

/** Covers what is readable for everybody but nobody's business: kernel secrets, host facts, other users' keys. */
long MaskProc(char* how, size_t size) {
  int hidden = 0;
  for (const char* name : {"kcore", "keys", "key-users", "timer_list", "timer_stats", "sched_debug", "latency_stats", "kallsyms",
                           "config.gz", "cmdline"}) {
    char path[64];
    snprintf(path, sizeof path, "proc/%s", name);
    if (mount("/dev/null", path, nullptr, MS_BIND, nullptr) == 0) hidden++;
    else if (errno != ENOENT) return -1;
  }
  for (const char* name : {"acpi", "scsi", "asound"}) {
    char path[64];
    snprintf(path, sizeof path, "proc/%s", name);
    if (mount("tmpfs", path, "tmpfs", kSafe | MS_NOEXEC | MS_RDONLY, "size=4k,nr_inodes=2,mode=555") == 0) hidden++;
    else if (errno != ENOENT) return -1;
  }
  snprintf(how, size, "read-only, %d entries hidden, hidepid=2%s", hidden, plan->profile == PROFILE_STRICT ? ", subset=pid" : "");
  return 0;
}

/** Size and inodes of every scratch file system; 0 = unlimited. */
struct ScratchSize {
  uint64_t bytes, inodes;
};
ScratchSize scratch;

ScratchSize WantedScratch() { return {Wanted(L_disk) ? plan->tmpfsBytes : 0, Wanted(L_inodes) ? plan->tmpfsInodes : 0}; }

long Scratch(const char* path, mode_t mode) {
  char options[96];
  snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=%o", static_cast<unsigned long long>(scratch.bytes),
           static_cast<unsigned long long>(scratch.inodes), mode);
  if (MakeDirectory(path, mode) != 0) return -1;
  return mount("tmpfs", path, "tmpfs", kSafe, options);
}

bool IsMountTarget(const char* target) {
  for (uint32_t i = 0; i < plan->mountCount; i++)
    if (strcmp(At<char>(At<PlanMount>(plan->mounts)[i].target), target) == 0) return true;
  return false;
}

long MakeScratch() {
  scratch = WantedScratch();
  if (!IsMountTarget("work") && Scratch("work", 0755) != 0) return -1;
  if (!IsMountTarget("tmp") && Scratch("tmp", 01777) != 0) return -1;
  if (Scratch("run", 0755) != 0) return -1;
  if (Wanted(L_dev_min) && Scratch("dev/shm", 01777) != 0) return -1;
  return 0;
}

/** Gives the scratch space to the agent; where it was made ahead in another size, it gets the right one while it is empty. */
long OwnScratch() {
  const ScratchSize wanted = WantedScratch();
  if (wanted.bytes != scratch.bytes || wanted.inodes != scratch.inodes) {
    char options[64];
    snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu", static_cast<unsigned long long>(wanted.bytes),
             static_cast<unsigned long long>(wanted.inodes));
    for (const char* path : {"work", "tmp", "run", "dev/shm"})
      if (mount(nullptr, path, nullptr, MS_REMOUNT | kSafe, options) != 0) return -1;
    scratch = wanted;
  }
  if (!Wanted(L_uid)) return 0;
  for (const char* path : {"work", "run"})
    if (!IsMountTarget(path) && syscall(SYS_fchownat, AT_FDCWD, path, plan->uid, plan->gid, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  return 0;
}

/** Opens a directory below `root` for a mount target, making what is missing; refuses links (ELOOP) and "..". */
int OpenTarget(int root, const char* target, bool directory) {
  int current = dup(root);
  const char* rest = target;
  char name[256];
  while (current >= 0) {
    const char* slash = strchr(rest, '/');
    const size_t length = slash != nullptr ? static_cast<size_t>(slash - rest) : strlen(rest);
    if (length == 0 || length >= sizeof name) {
      close(current);
      errno = length == 0 ? EINVAL : ENAMETOOLONG;
      return -1;
    }
    memcpy(name, rest, length);
    name[length] = 0;
    const bool last = slash == nullptr;
    int next = OpenAt2(current, name, O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (next < 0 && errno == ENOENT) {
      if (!last || directory) {
        if (mkdirat(current, name, 0755) != 0) next = -1;
      } else {
        const int file = openat(current, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (file >= 0) close(file);
      }
      next = OpenAt2(current, name, O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    }
    const int error = errno;
    close(current);
    errno = error;
    if (last || next < 0) return next;
    current = next;
    rest = slash + 1;
  }
  return -1;
}

int trees[MAX_MOUNTS];
bool isBuilt, hasScratch;

/** Takes hold of the sources while the host's paths can still be seen. */
void OpenMounts() {
  for (uint32_t i = 0; i < plan->mountCount; i++) {
    const PlanMount& entry = At<PlanMount>(plan->mounts)[i];
    trees[i] = FD_MOUNTS + static_cast<int>(i);
    if (entry.source == 0) continue;
    const char* path = At<char>(entry.source);
    const int source = OpenAt2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    Check(S_open_mounts, source, path);
    trees[i] = OpenTree(source, "", kOpenTreeClone | kOpenTreeCloexec | kAtEmptyPath | kAtRecursive);
    Check(S_open_mounts, trees[i], path);
    close(source);
    const uint64_t attributes = kAttrNosuid | kAttrNodev | (entry.readonly != 0 ? kAttrReadonly : 0);
    Check(S_open_mounts, MountSetattr(trees[i], "", kAtEmptyPath | kAtRecursive, attributes, MS_PRIVATE), path);
  }
}

void AttachMounts() {
  const int root = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (uint32_t i = 0; i < plan->mountCount; i++) {
    const PlanMount& entry = At<PlanMount>(plan->mounts)[i];
    const char* target = At<char>(entry.target);
    if (Faulted(S_mounts)) Check(S_mounts, -1, target);
    const int place = OpenTarget(root, target, entry.directory != 0);
    Check(S_mounts, place, target);
    Check(S_mounts, MoveMount(trees[i], "", place, "", kMoveFromEmpty | kMoveToEmpty), target);
    close(place);
    close(trees[i]);
    // Clients look at both places.
    if (strcmp(target, "run/clove.sock") == 0 && !IsMountTarget("tmp")) (void)symlinkat("/run/clove.sock", root, "tmp/clove.sock");
  }
  close(root);
}

bool DetachHost() {
  if (!STEP_CALL(S_pivot_root, PivotRoot(".", "."))) return false;
  // The old root is now stacked on the new one at "."; taking it off leaves nothing of the host.
  if (!STEP_CALL(S_detach_host, umount2(".", MNT_DETACH) != 0 || chdir("/") != 0 ? -1 : 0)) return false;
  LayerOn(L_mntns, "own tmpfs root, host detached");
  return true;
}

/**
 * Where a filter refuses pivot_root even to whoever may mount: the new root lies over the host's, and only the right to
 * unmount, which no agent has, leads below it. Less than having nothing of the host there.
 */
bool CoverHost() {
  if ((plan->require & bit(L_mntns)) != 0) {
    errno = EPERM;
    Check(S_pivot_root, -1, "refused by a filter");
  }
  if (!Check(S_pivot_root, mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || syscall(SYS_chroot, ".") != 0 || chdir("/") != 0 ? -1 : 0, "move and chroot"))
    return false;
  LayerSet(L_mntns, STATE_DEGRADED, EPERM, "own tmpfs root, moved over the host's: pivot_root is refused");
  return true;
}

}  // namespace

void BuildRoot() {
  if (!Wanted(L_mntns)) {
    for (Layer layer : {L_mntns, L_root_ro, L_proc_masked, L_dev_min, L_sys_hidden, L_disk, L_inodes})
      LayerSet(layer, STATE_OFF, 0, layer == L_mntns || !Wanted(layer) ? "left out by request" : "needs mntns");
    return;
  }
  // First of all: nothing that follows may travel back to the host.
  if (!STEP_CALL(S_mount_private, mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr))) return;
  OpenMounts();
  const char* staging = Staging();
  char options[64];
  snprintf(options, sizeof options, "size=1m,nr_inodes=512,mode=755");
  if (!STEP_CALL(S_root_tmpfs, mount("tmpfs", staging, "tmpfs", kSafe, options) != 0 || chdir(staging) != 0 ? -1 : 0)) return;
  umask(0);
  if (Faulted(S_system_binds)) {
    Check(S_system_binds, -1, "");
  } else {
    Check(S_system_binds, MakeSystem(), "binds of the system directories");
    Check(S_system_binds, BindEtc(), "binds below /etc");
  }
  if (!Wanted(L_dev_min)) {
    LayerSet(L_dev_min, STATE_OFF, 0, "left out by request; the host's /dev is bound");
    Check(S_dev, mount("/dev", "dev", nullptr, MS_BIND | MS_REC, nullptr), "bind of /dev");
  } else if (STEP_CALL(S_dev, MakeDev())) {
    LayerOn(L_dev_min, "null zero full random urandom, read-only");
  }
  const char* procOptions = !Wanted(L_proc_masked) ? nullptr : plan->profile == PROFILE_STRICT ? "hidepid=2,subset=pid" : "hidepid=2";
  if (Faulted(S_proc)) {
    Check(S_proc, -1, "");
  } else {
    // Read-only as a whole: sys, bus, fs, irq and sysrq-trigger need no masks of their own then.
    const unsigned long readOnly = Wanted(L_proc_masked) ? MS_RDONLY : 0;
    Check(S_proc, mount("proc", "proc", "proc", kSafe | MS_NOEXEC | readOnly, procOptions), "");
  }
  if (!Wanted(L_proc_masked)) {
    LayerSet(L_proc_masked, STATE_OFF, 0, "left out by request");
  } else {
    char how[96] = "";
    // Agents mount a /proc of their own, and the kernel lets them only where the one they come from shows everything.
    if (plan->role == ROLE_TEMPLATE) LayerSet(L_proc_masked, STATE_DEGRADED, 0, "read-only, hidepid=2, no entries hidden: a template");
    else if (STEP_CALL(S_proc_masks, MaskProc(how, sizeof how))) LayerOn(L_proc_masked, "%s", how);
  }
  hasScratch = STEP_CALL(S_scratch_tmpfs, MakeScratch());
  if (!hasScratch) LayerSet(L_inodes, STATE_OFF, ready.layers[L_disk].error, "needs the mounts of disk");
  if (!Wanted(L_sys_hidden)) {
    LayerSet(L_sys_hidden, STATE_OFF, 0, "left out by request; the host's /sys is bound");
    Check(S_mounts, MakeDirectory("sys") != 0 || mount("/sys", "sys", nullptr, MS_BIND | MS_REC, nullptr) != 0 ? -1 : 0, "bind of /sys");
  } else {
    LayerOn(L_sys_hidden, "/sys is not mounted");
  }
  isBuilt = plan->noPivot != 0 ? CoverHost() : DetachHost();
  if (isBuilt) ready.onMask |= bit(L_mntns);
}

void TakeMountTrees(const int* descriptors) { memcpy(trees, descriptors, plan->mountCount * sizeof *trees); }

void FurnishRoot() {
  if (!isBuilt) return;
  umask(0);
  STEP_CALL(S_etc, WriteEtc());
  if (hasScratch && Check(S_scratch_tmpfs, OwnScratch(), "size or owner")) {
    if (Wanted(L_disk)) LayerOn(L_disk, "tmpfs size=%llu each for /work /tmp /run /dev/shm", static_cast<unsigned long long>(plan->tmpfsBytes));
    else LayerSet(L_disk, STATE_OFF, 0, "left out by request");
    if (Wanted(L_inodes)) LayerOn(L_inodes, "tmpfs nr_inodes=%llu each", static_cast<unsigned long long>(plan->tmpfsInodes));
    else LayerSet(L_inodes, STATE_OFF, 0, "left out by request");
  }
  if (hasScratch && ready.layers[L_inodes].how[0] == 0) LayerSet(L_inodes, STATE_OFF, ready.layers[L_disk].error, "needs the mounts of disk");
  AttachMounts();
  if (!Wanted(L_root_ro)) LayerSet(L_root_ro, STATE_OFF, 0, "left out by request");
  else if (STEP_CALL(S_root_readonly, MountSetattr(AT_FDCWD, "/", 0, kReadOnlySafe))) LayerOn(L_root_ro, "/ and /usr mounted ro,nosuid,nodev");
}

}  // namespace clove
