// What the kernel says of a thread: whether it sleeps, where, and how often it ran.
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "clock_members.h"

namespace clove::clock {

namespace {

/** What a fleet of a thousand threads needs; a process that may open fewer files keeps three of four for everything else. */
constexpr int kMostThreadFiles = 4096;
std::atomic<int> openThreadFiles{0};

int MostThreadFiles() {
  static const int most = [] {
    rlimit limit{};
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<int>(std::min<rlim_t>(limit.rlim_cur / 4, kMostThreadFiles)) : kMostThreadFiles;
  }();
  return most;
}

bool TakeThreadFile() {
  if (openThreadFiles.fetch_add(1, std::memory_order_relaxed) < MostThreadFiles()) return true;
  openThreadFiles.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

}  // namespace

int64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

bool ReadProcText(int fd, char* text, size_t size) {
  const ssize_t length = pread(fd, text, size - 1, 0);
  if (length == 0) errno = ESRCH;
  if (length <= 0) return false;
  text[length] = 0;
  return true;
}

bool IsDenied() { return errno != ENOENT && errno != ESRCH; }

ThreadFile& ThreadFile::operator=(ThreadFile&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(kept_, other.kept_);
  return *this;
}

ThreadFile::~ThreadFile() {
  if (kept_.valid()) openThreadFiles.fetch_sub(1, std::memory_order_relaxed);
}

bool ThreadFile::Read(int tid, char* text, size_t size) const {
  if (kept_.valid()) return ReadProcText(kept_.get(), text, size);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", tid, name_);
  Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  const bool isRead = ReadProcText(fd.get(), text, size);
  if (isRead && TakeThreadFile()) kept_ = std::move(fd);
  return isRead;
}

bool ThreadProbe::ReadCall(Call& call) const {
  char text[256];
  if (!syscall_.Read(tid_, text, sizeof text)) return false;
  call.isAsleep = text[0] != 'r';  // "running"
  if (!call.isAsleep) return true;
  char* at = text;
  call.number = strtol(at, &at, 10);
  for (unsigned long& argument : call.arguments) argument = strtoul(at, &at, 16);
  return true;
}

namespace {

/** -1: cannot be read. */
int64_t ReadLastBorn() {
  static const Fd fd(open("/proc/loadavg", O_RDONLY | O_CLOEXEC));
  char text[128];
  if (!fd.valid() || !ReadProcText(fd.get(), text, sizeof text)) return -1;
  const char* last = strrchr(text, ' ');
  return last == nullptr ? -1 : strtoll(last, nullptr, 10);
}

/** Whether the number follows births: a virtualised file (lxcfs) is of processes alone, or of a few seconds ago. */
bool TellsBirths() {
  // Another's birth, or a file that is renewed just now, may hide it once.
  for (int i = 0; i < 4; i++) {
    const int64_t before = ReadLastBorn();
    pthread_t thread;
    if (before < 0 || pthread_create(&thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr) != 0) return false;
    pthread_join(thread, nullptr);
    if (ReadLastBorn() == before) return false;
  }
  return true;
}

}  // namespace

int64_t LastBorn() {
  static const bool isTold = TellsBirths();
  return isTold ? ReadLastBorn() : -1;
}

ThreadProbe::Rest ThreadProbe::Look() const {
  // The place where it sleeps is told only of a thread that is neither on a processor nor on its way to one. "syscall" cannot tell
  // the latter: a wake-up that waits for another processor's interrupt leaves no trace there.
  char place[128];
  if (wchan_.Read(tid_, place, sizeof place) && strcmp(place, "0") != 0) return Rest::kAsleep;
  // No place: it runs, or still counts as queued though it sleeps (which this look ends), or this kernel tells no places.
  Call call;
  if (!ReadCall(call)) return IsDenied() ? Rest::kDenied : Rest::kGone;
  return call.isAsleep && State() == 'S' ? Rest::kAsleep : Rest::kAwake;
}

uint64_t ThreadProbe::Runs() const {
  char text[96];
  if (!schedstat_.Read(tid_, text, sizeof text)) return 0;
  const char* last = strrchr(text, ' ');
  return last == nullptr ? 0 : strtoull(last, nullptr, 10);
}

char ThreadProbe::State() const {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/task/%d/stat", tid_, tid_);
  const Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || !ReadProcText(fd.get(), text, sizeof text)) return 'X';
  const char* name = strrchr(text, ')');
  return name == nullptr || name[1] == 0 ? 'X' : name[2];
}

}  // namespace clove::clock
