// What is wrong with the disk of a mounted world: the kernel asks, before each open and each read of a file there, whether it may go
// on (fanotify permission events), and is answered late, or with an error. Processes cannot tell it from a disk that is slow or broken.
#pragma once
#include <stdint.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "sandbox_fd.h"

namespace clove {

/** One open or read that waits for its answer. */
struct DiskAccess {
  int fd = -1;  // names the question; closed by the answer
  int thread = 0;
  bool isRead = false;   // of an open file; else it is being opened
  bool isWrite = false;  // being opened for writing
  std::string path;      // as its process sees it
};

class DiskWatch {
 public:
  using Ask = std::function<void(DiskAccess)>;
  explicit DiskWatch(Ask ask) : ask_(std::move(ask)) {}
  ~DiskWatch() { Stop(); }
  DiskWatch(const DiskWatch&) = delete;
  DiskWatch& operator=(const DiskWatch&) = delete;
  /** Watches the whole file system that this folder is of. 0 or errno. `ask` is called on a thread of its own. */
  int Start(int folder);
  /** 0 = go on, or the error it fails with: EIO, ENOSPC. False: the kernel does not take that error. */
  bool Answer(int fd, int error);
  /** Whoever waits goes on. */
  void Stop();

 private:
  void Run();
  void Take(const char* events, size_t size);
  const Ask ask_;
  Fd group_, stop_;
  std::thread thread_;
};

/** The file system of this folder takes no changes, for anybody. 0 or errno: EBUSY while a file there is open for writing. */
int SetReadonly(int folder, bool isReadonly);

}  // namespace clove
