// An owned descriptor, and small reads and writes of kernel files relative to one.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

namespace clove {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

/** File systems whose files are windows into the kernel, not data. Also true when that cannot be told. */
inline bool IsWindowIntoKernel(int fd) {
  struct statfs info {};
  if (fstatfs(fd, &info) != 0) return true;
  for (const unsigned long type : {0x9fa0ul /* proc */, 0x62656572ul /* sysfs */, 0x27e0ebul /* cgroup */, 0x63677270ul /* cgroup2 */,
                                   0x64626720ul /* debugfs */, 0x74726163ul /* tracefs */, 0x73636673ul /* securityfs */,
                                   0xcafe4a11ul /* bpf */, 0x1cd1ul /* devpts */, 0x62656570ul /* configfs */, 0x6165676cul /* pstore */,
                                   0xde5e81e4ul /* efivarfs */, 0x42494e4dul /* binfmt_misc */, 0x19800202ul /* mqueue */,
                                   0x6e736673ul /* nsfs */})
    if (static_cast<unsigned long>(info.f_type) == type) return true;
  return false;
}

inline bool ReadFileAt(int directory, const char* name, std::string& content) {
  const Fd fd(openat(directory, name, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  content.clear();
  char buffer[4096];
  for (;;) {
    const ssize_t count = read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) return true;
    content.append(buffer, static_cast<size_t>(count));
  }
}

inline bool WriteFileAt(int directory, const char* name, const std::string& content) {
  const Fd fd(openat(directory, name, O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  const ssize_t written = write(fd.get(), content.data(), content.size());
  if (written >= 0 && static_cast<size_t>(written) != content.size()) errno = EIO;
  return written == static_cast<ssize_t>(content.size());
}

/** First number of a file; `fallback` when there is none ("max"). */
inline int64_t ReadNumberAt(int directory, const char* name, int64_t fallback) {
  std::string content;
  if (!ReadFileAt(directory, name, content) || content.empty() || content[0] < '0' || content[0] > '9') return fallback;
  return strtoll(content.c_str(), nullptr, 10);
}

/** Number after `key ` at the start of a line. */
inline uint64_t NumberOf(const std::string& content, const char* key) {
  const size_t length = strlen(key);
  for (size_t at = 0; at < content.size();) {
    if (content.compare(at, length, key) == 0 && content[at + length] == ' ') return strtoull(content.c_str() + at + length + 1, nullptr, 10);
    at = content.find('\n', at);
    if (at == std::string::npos) return 0;
    at++;
  }
  return 0;
}

/** The parts between separators, without empty ones. */
inline std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at <= text.size()) {
    size_t end = text.find(separator, at);
    if (end == std::string::npos) end = text.size();
    if (end > at) parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

}  // namespace clove
