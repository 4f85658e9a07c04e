#include "world_files.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include <memory>

#include "../init/sys.h"
#include "world_thread.h"

namespace clove {
namespace {

constexpr uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/** Taken while the host's paths can still be seen; read-only from here on. */
bool TakeLayers(const std::vector<std::string>& layers, std::vector<Fd>& trees, WorldFiles& files) {
  for (const std::string& layer : layers) {
    const Fd source(OpenAt2(AT_FDCWD, layer.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
    files.step = "open of " + layer;
    if (!source.valid()) return false;
    if (IsWindowIntoKernel(source.get())) {
      errno = EINVAL;
      return false;
    }
    // Not recursive: what is mounted below a layer is no part of it.
    Fd tree(OpenTree(source.get(), "", kOpenTreeClone | kOpenTreeCloexec | kAtEmptyPath));
    if (!tree.valid() || MountSetattr(tree.get(), "", kAtEmptyPath, kAttrReadonly | kAttrNosuid | kAttrNodev, MS_PRIVATE) != 0) return false;
    trees.push_back(std::move(tree));
  }
  return true;
}

bool Make(const WorldFilesRequest& request, WorldFiles& files) {
  std::vector<Fd> trees;
  if (!TakeLayers(request.layers, trees, files)) return false;
  files.step = "unshare";
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  Fd space(open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!space.valid()) return false;
  files.step = "tmpfs";
  char options[96];
  snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=755", static_cast<unsigned long long>(request.bytes),
           // The folders made here are not the world's to pay for.
           static_cast<unsigned long long>(request.inodes + request.layers.size() + 8));
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0 || chdir("/tmp") != 0) return false;
  files.step = "folders";
  umask(0);  // of this thread alone: unshare(CLONE_NEWNS) gave it its own
  if (mkdir("upper", 0755) != 0 || mkdir("work", 0755) != 0 || mkdir("root", 0755) != 0) return false;
  std::string lower;
  for (size_t i = 0; i < trees.size(); i++) {
    const std::string name = "l" + std::to_string(i);
    files.step = "layer " + name;
    if (mkdir(name.c_str(), 0755) != 0 || MoveMount(trees[i].get(), "", AT_FDCWD, name.c_str(), kMoveFromEmpty) != 0) return false;
    lower += (lower.empty() ? "/" : ":/") + name;
  }
  // The copies of the host's mounts go: they would keep its file systems busy, and no name of the host shall be seen.
  files.step = "pivot_root";
  if (PivotRoot(".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return false;
  files.step = "overlay";
  // No redirects and no metacopy: extended attributes in the upper layer are never trusted.
  const std::string layout = "lowerdir=" + lower + ",upperdir=/upper,workdir=/work,redirect_dir=off,metacopy=off,index=off,xino=off";
  if (mount("overlay", "/root", "overlay", MS_NOSUID | MS_NODEV, layout.c_str()) != 0) return false;
  files.root = Fd(open("/root", O_PATH | O_DIRECTORY | O_CLOEXEC));
  files.upper = Fd(open("/upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  files.store = Fd(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!files.root.valid() || !files.upper.valid() || !files.store.valid()) return false;
  files.space = std::move(space);
  return true;
}

bool IsOpaque(int folder) {
  char value[2];
  return fgetxattr(folder, "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

}  // namespace

WorldFiles MakeWorldFiles(const WorldFilesRequest& request) {
  WorldFiles files;
  OnOwnThread([&] {
    if (Make(request, files)) return;
    files.error = errno == 0 ? EIO : errno;
    files.root.reset();
    files.upper.reset();
    files.store.reset();
  });
  return files;
}

std::vector<Fd> CopyWorldTrees(int space, int root, const std::vector<std::string>& paths, int& error, std::string& at) {
  std::vector<Fd> trees;
  OnOwnThread([&] {
    const auto fail = [&](const std::string& what) {
      error = errno;
      at = what;
      trees.clear();
    };
    if (unshare(CLONE_FS) != 0 || setns(space, CLONE_NEWNS) != 0) return fail("the namespace of the world");
    for (const std::string& path : paths) {
      const Fd place(OpenAt2(root, path.c_str(), O_PATH | O_CLOEXEC, 0, kBeneath));
      if (!place.valid()) return fail(path);
      Fd tree(OpenTree(place.get(), "", kOpenTreeClone | kOpenTreeCloexec | kAtEmptyPath));
      if (!tree.valid()) return fail(path);
      trees.push_back(std::move(tree));
    }
  });
  return trees;
}

bool WalkTree(int folder, size_t most, std::vector<WorldEntry>& entries) {
  // Folders by path, opened again from the top: depth costs no descriptors and no stack.
  std::vector<std::string> waiting = {""};
  while (!waiting.empty()) {
    const std::string below = std::move(waiting.back());
    waiting.pop_back();
    const int opened = OpenAt2(folder, below.empty() ? "." : below.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, kBeneath);
    if (opened < 0) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG) continue;  // changed meanwhile
      return false;
    }
    const std::unique_ptr<DIR, CloseDirectory> directory(fdopendir(opened));
    if (directory == nullptr) {
      close(opened);
      return false;
    }
    while (const dirent* item = readdir(directory.get())) {
      if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
      if (entries.size() >= most) {
        errno = E2BIG;
        return false;
      }
      struct stat info {};
      if (fstatat(opened, item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      WorldEntry entry;
      entry.path = below.empty() ? item->d_name : below + "/" + item->d_name;
      entry.mode = info.st_mode;
      entry.uid = info.st_uid;
      entry.gid = info.st_gid;
      entry.size = static_cast<uint64_t>(info.st_size);
      entry.inode = info.st_ino;
      entry.links = info.st_nlink;
      entry.modifiedNs = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
      entry.changedNs = info.st_ctim.tv_sec * 1'000'000'000 + info.st_ctim.tv_nsec;
      entry.whiteout = S_ISCHR(info.st_mode) && info.st_rdev == 0;
      if (S_ISLNK(info.st_mode)) {
        char target[4096];
        const ssize_t length = readlinkat(opened, item->d_name, target, sizeof target);
        if (length > 0) entry.target.assign(target, static_cast<size_t>(length));
      }
      if (S_ISDIR(info.st_mode)) {
        const Fd child(openat(opened, item->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        entry.opaque = child.valid() && IsOpaque(child.get());
        waiting.push_back(entry.path);
      }
      entries.push_back(std::move(entry));
    }
  }
  return true;
}

int ResizeStore(int store, uint64_t bytes, uint64_t inodes) {
  // fspick and fsconfig: glibc has no wrappers. The store may be in any mount namespace.
  const Fd context(static_cast<int>(syscall(SYS_fspick, store, "", 1u /* CLOEXEC */ | 8u /* EMPTY_PATH */)));
  if (!context.valid()) return errno;
  const auto set = [&](const char* key, uint64_t value) {
    return value == 0 || syscall(SYS_fsconfig, context.get(), 1 /* SET_STRING */, key, std::to_string(value).c_str(), 0) == 0;
  };
  if (!set("size", bytes) || !set("nr_inodes", inodes)) return errno;
  return syscall(SYS_fsconfig, context.get(), 7 /* CMD_RECONFIGURE */, nullptr, nullptr, 0) == 0 ? 0 : errno;
}

bool ShareFolder(int folder) {
  // Version 2, then {tag, permissions, id}: owner, group and others with everything (linux/posix_acl_xattr.h).
  const struct {
    uint32_t version;
    struct {
      uint16_t tag, permissions;
      uint32_t id;
    } entries[3];
  } acl = {2, {{0x01, 7, ~0u}, {0x04, 7, ~0u}, {0x20, 7, ~0u}}};
  return fsetxattr(folder, "system.posix_acl_default", &acl, sizeof acl, 0) == 0;
}

}  // namespace clove
