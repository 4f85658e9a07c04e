#include "wire_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <cstring>

namespace clove::wire {

namespace {

constexpr int kBacklog = 4096;
constexpr int kLockAttempts = 100;
constexpr long kLockPauseNs = 10'000'000;

bool Fail(BindFailure* failure, const std::string& what, const std::string& path, int error, const char* hint = nullptr) {
  *failure = {"IO", what + " " + path + ": " + strerror(error), hint, error};
  return false;
}

sockaddr_un Address(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

enum class Occupant { kNobody, kStale, kServed, kUnknown };

/// Who answers at the path now. kUnknown: errno says why it could not be told.
Occupant WhoIsThere(const std::string& path) {
  UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.Valid()) return Occupant::kUnknown;
  const sockaddr_un address = Address(path);
  if (connect(probe.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return Occupant::kServed;
  switch (errno) {
    case ENOENT: return Occupant::kNobody;
    case ECONNREFUSED: return Occupant::kStale;
    // A full backlog, or a socket of another type: in both cases somebody holds it.
    case EAGAIN:
    case EPROTOTYPE: return Occupant::kServed;
    default: return Occupant::kUnknown;
  }
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// Two servers that start at once must not each find the other's new file stale.
bool LockFolder(int fd) {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK && errno != EINTR) return false;
    const timespec pause = {0, kLockPauseNs};
    nanosleep(&pause, nullptr);
  }
  errno = EBUSY;
  return false;
}

}  // namespace

bool Listener::Bind(const std::string& path, BindFailure* failure) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path) || path.find('\0') != std::string::npos) {
    *failure = {"BAD_REQUEST", "socket path must have 1 to 107 bytes: " + path, "Choose a shorter path for the socket.", 0};
    return false;
  }
  const std::string folderPath = FolderOf(path);
  UniqueFd folder(open(folderPath.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.Valid()) return Fail(failure, "cannot open folder", folderPath, errno, "The socket's folder must exist.");
  if (!LockFolder(folder.Get())) return Fail(failure, "cannot lock folder", folderPath, errno);
  return BindLocked(path, failure);
}

bool Listener::BindLocked(const std::string& path, BindFailure* failure) {
  struct stat old;
  if (lstat(path.c_str(), &old) == 0) {
    if (!S_ISSOCK(old.st_mode)) {
      *failure = {"IO", "not a socket: " + path, "Another file has this name; remove it or choose another path.", EEXIST};
      return false;
    }
    switch (WhoIsThere(path)) {
      case Occupant::kServed:
        *failure = {"ALREADY_RUNNING", "a server already answers at " + path,
                    "Stop the kernel that runs there, or choose another socket path.", EADDRINUSE};
        return false;
      case Occupant::kUnknown: return Fail(failure, "cannot tell who serves", path, errno);
      case Occupant::kStale:
        if (unlink(path.c_str()) != 0 && errno != ENOENT) return Fail(failure, "cannot remove stale socket", path, errno);
        break;
      case Occupant::kNobody: break;
    }
  }
  UniqueFd socketFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socketFd.Valid()) return Fail(failure, "cannot make socket", path, errno);
  // The file is made with the mode of the socket's own inode, less the umask: never wider than asked for, not even for
  // a moment. Until listen() nobody can connect, so owner and exact mode can be set in peace.
  const sockaddr_un address = Address(path);
  if (fchmod(socketFd.Get(), options.mode & 0700) != 0 ||
      bind(socketFd.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Fail(failure, "cannot bind", path, errno);
  }
  path_ = path;
  UniqueFd file(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat made;
  bool ok = file.Valid() && fstat(file.Get(), &made) == 0;
  if (ok && !S_ISSOCK(made.st_mode)) {
    errno = ENOTSOCK;
    ok = false;
  }
  if (ok) {
    device_ = made.st_dev;
    inode_ = made.st_ino;
    // Through the descriptor, not the name: it cannot have become another file.
    const std::string self = "/proc/self/fd/" + std::to_string(file.Get());
    ok = (!options.changeOwner || fchownat(file.Get(), "", options.uid, options.gid, AT_EMPTY_PATH) == 0) &&
         chmod(self.c_str(), options.mode & 0777) == 0;
  }
  ok = ok && listen(socketFd.Get(), kBacklog) == 0;
  if (!ok) {
    Fail(failure, "cannot set up", path, errno);
    Close();
    return false;
  }
  fd = std::move(socketFd);
  return true;
}

void Listener::Close() {
  closed = true;
  fd.Reset();
  struct stat now;
  if (inode_ != 0 && lstat(path_.c_str(), &now) == 0 && now.st_dev == device_ && now.st_ino == inode_) {
    unlink(path_.c_str());
  }
  inode_ = 0;
}

bool Listener::Admits(uint32_t uid) const {
  if (options.anyUid) return true;
  return std::find(options.allowUids.begin(), options.allowUids.end(), uid) != options.allowUids.end();
}

}  // namespace clove::wire
