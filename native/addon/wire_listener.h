// A listening unix socket and its file.
#pragma once
#include <sys/stat.h>

#include <string>

#include "wire_connection.h"
#include "wire_fd.h"
#include "wire_types.h"

namespace clove::wire {

/// Why a socket could not be bound. `code` is one of the project's error codes; `error` an errno or 0.
struct BindFailure {
  const char* code = nullptr;
  std::string message;
  const char* hint = nullptr;
  int error = 0;
};

class Listener : public Source {
 public:
  Listener(uint32_t listenerId, const ListenOptions& listenOptions)
      : Source(Kind::kListener), id(listenerId), options(listenOptions) {}

  /// Makes the socket and its file and listens. A file that nobody serves is replaced; nobody can take part in between.
  bool Bind(const std::string& path, BindFailure* failure);
  /// Stops listening and removes the file, unless another has taken its place.
  void Close();
  bool Admits(uint32_t uid) const;

  const uint32_t id;
  const ListenOptions options;
  UniqueFd fd;
  uint32_t connections = 0;
  bool closed = false;
  /// Out of descriptors: not asked for connections until then. 0 = serving.
  uint64_t pausedUntilMs = 0;

 private:
  bool BindLocked(const std::string& path, BindFailure* failure);

  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace clove::wire
