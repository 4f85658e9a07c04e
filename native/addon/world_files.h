// The files of a mounted world: one overlay in a mount namespace of its own, which no process lives in. Sandboxes get
// copies of parts of it; the kernel process reaches it through descriptors only.
#pragma once
#include <stdint.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "sandbox_fd.h"

namespace clove {

struct WorldFilesRequest {
  std::vector<std::string> layers;  // host folders, the uppermost first; never written to
  uint64_t bytes = 0, inodes = 0;   // of what is written
};

struct WorldFiles {
  Fd space;  // the mount namespace
  Fd root;   // the overlay
  Fd upper;  // what was written
  Fd store;  // the tmpfs that holds it
  int error = 0;
  std::string step;
};

WorldFiles MakeWorldFiles(const WorldFilesRequest& request);

/** Detached copies of these places of the overlay (relative, no links), in order; each for one sandbox. Empty on failure. */
std::vector<Fd> CopyWorldTrees(int space, int root, const std::vector<std::string>& paths, int& error, std::string& at);

/** One entry below a folder, as it is: links are not followed. */
struct WorldEntry {
  std::string path, target;  // relative; target of a link
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t size = 0, inode = 0, links = 0;
  int64_t modifiedNs = 0, changedNs = 0;
  bool whiteout = false, opaque = false;
};

/** Everything below an open folder, parents before children. False with errno; at most `most` entries (E2BIG). */
bool WalkTree(int folder, size_t most, std::vector<WorldEntry>& entries);

/** How much may be written from now on, bytes and inodes of the whole store; 0 = as it is. 0 or errno: EINVAL when more is used. */
int ResizeStore(int store, uint64_t bytes, uint64_t inodes);

/** New entries of a folder become readable and writable for all, whatever the umask: the default ACL of POSIX 1003.1e. */
bool ShareFolder(int folder);

}  // namespace clove
