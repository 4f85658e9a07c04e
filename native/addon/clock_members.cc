#include "clock_members.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace clove::clock {

namespace {

constexpr int64_t kMillisecond = 1'000'000;
/** A process between fork, exec and the constructor of its library is there for a moment. */
constexpr int64_t kUncoveredGraceNs = 50 * kMillisecond;
/** Probes behind a thread's first slot, as the library makes them. */
constexpr uint32_t kProbes = 256;
/** A minute of virtual time in one turn: 60 million looks at the clock. */
constexpr int64_t kMostChargeNs = 60'000 * kMillisecond;

size_t SlotOffset(int index) { return offsetof(AgentFile, slots) + static_cast<size_t>(index) * sizeof(Slot); }

bool ReadPath(const char* path, char* text, size_t size) {
  const Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  return fd.valid() && ReadProcText(fd.get(), text, size);
}

/** The last number of a line such as "NSpid:\t812\t7". */
int LastNumber(const char* status, const char* name) {
  const char* line = strstr(status, name);
  if (line == nullptr) return 0;
  int number = 0;
  for (const char* at = line + strlen(name); *at != 0 && *at != '\n';) {
    char* end;
    const long value = strtol(at, &end, 10);
    if (end == at) break;
    number = static_cast<int>(value);
    at = end;
  }
  return number;
}

}  // namespace

std::string MakeSlots(const std::string& path, bool connectsOutside, uint64_t seed) {
  const Fd slots(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666));
  // Agents run under users of their own; who may come here at all is decided by the folder above.
  if (!slots.valid() || fchmod(slots.get(), 0666) != 0 || ftruncate(slots.get(), sizeof(AgentFile)) != 0)
    return "cannot make " + path + ": " + strerror(errno);
  if (const int error = posix_fallocate(slots.get(), 0, sizeof(AgentFile)); error != 0) return "cannot make " + path + ": " + strerror(error);
  const struct {
    uint64_t magic;
    uint32_t version, connectsOutside;
  } head = {kMagic, kVersion, connectsOutside ? 1u : 0u};
  static_assert(offsetof(AgentFile, connectsOutside) == 12);
  const bool isWritten = pwrite(slots.get(), &head, sizeof head, 0) == sizeof head &&
                         pwrite(slots.get(), &seed, sizeof seed, offsetof(AgentFile, turn) + offsetof(Turn, seed)) == sizeof seed;
  return isWritten ? "" : "cannot write " + path + ": " + strerror(errno);
}

Agent::Agent(uint32_t id, const std::string& slotsPath, const std::string& group, std::vector<int> ignoredProcesses, StartFile start)
    : id_(id), ignored_(std::move(ignoredProcesses)), start_(start), file_(open(slotsPath.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)) {
  void* mapped = file_.valid() ? mmap(nullptr, sizeof(AgentFile), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0) : MAP_FAILED;
  if (mapped == MAP_FAILED) {
    error_ = "cannot map " + slotsPath + ": " + strerror(errno);
    return;
  }
  mapping_ = static_cast<char*>(mapped);
  // Of version 2: the lists of version 1 are cached for as long as somebody reads them.
  threadsFile_ = Fd(open((group + "/cgroup.threads").c_str(), O_RDONLY | O_CLOEXEC));
  if (threadsFile_.valid()) return;
  error_ = "cannot read the threads of the control group " + group + ": " + strerror(errno);
}

Agent::~Agent() {
  if (mapping_ != nullptr) munmap(mapping_, sizeof(AgentFile));
}

bool Agent::ReadThreads(std::string& text) const {
  char buffer[16384];
  text.clear();
  for (;;) {
    const ssize_t length = pread(threadsFile_.get(), buffer, sizeof buffer, static_cast<off_t>(text.size()));
    if (length < 0) return errno == ENODEV;  // the group is gone, and everybody in it
    text.append(buffer, static_cast<size_t>(length));
    if (length < static_cast<ssize_t>(sizeof buffer)) return true;
  }
}

void Agent::Rebuild(const std::string& text) {
  std::vector<Thread> next;
  for (const char* at = text.c_str(); *at != 0;) {
    char* end;
    const int tid = static_cast<int>(strtol(at, &end, 10));
    if (end == at) break;
    at = *end == 0 ? end : end + 1;
    auto known = std::find_if(threads_.begin(), threads_.end(), [tid](const Thread& thread) { return thread.tid == tid; });
    if (known != threads_.end()) {
      next.push_back(std::move(*known));
      known->tid = 0;
      continue;
    }
    char path[64], status[4096];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    if (!ReadPath(path, status, sizeof status)) continue;  // gone already: the list will differ again
    Thread thread;
    thread.tid = tid;
    thread.process = LastNumber(status, "\nTgid:");
    if (std::find(ignored_.begin(), ignored_.end(), thread.process) != ignored_.end()) continue;
    thread.innerTid = LastNumber(status, "\nNSpid:");
    thread.innerProcess = LastNumber(status, "\nNStgid:");
    thread.probe = ThreadProbe(tid);
    next.push_back(std::move(thread));
  }
  // Slots of threads that were killed in the middle of something.
  for (Thread& gone : threads_) {
    if (gone.tid == 0 || gone.slot < 0) continue;
    Slot slot;
    if (ReadSlot(gone, slot)) WriteAt(SlotOffset(gone.slot) + offsetof(Slot, thread), 0);
  }
  threads_ = std::move(next);
  lastThreads_ = text;
}

bool Agent::Refresh() {
  isStale_ = false;
  std::string text;
  isReadable_ = ReadThreads(text);
  if (text == lastThreads_) return false;
  Rebuild(text);
  return true;
}

bool Agent::ReadAt(size_t offset, void* to, size_t size) const {
  return pread(file_.get(), to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

void Agent::WriteAt(size_t offset, uint32_t value) const { (void)!pwrite(file_.get(), &value, sizeof value, static_cast<off_t>(offset)); }

void Agent::ArmBell() {
  WriteAt(offsetof(AgentFile, bell) + offsetof(Bell, armed), 1);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

bool Agent::ReadBellWord(uint32_t& word) const {
  return ReadAt(offsetof(AgentFile, bell) + offsetof(Bell, word), &word, sizeof word);
}

bool Agent::ReadSlot(Thread& thread, Slot& slot) const {
  if (thread.slot >= 0 && ReadAt(SlotOffset(thread.slot), &slot, sizeof slot) && slot.thread == thread.innerTid) return true;
  thread.slot = -1;
  const uint32_t first = static_cast<uint32_t>(thread.innerTid) % kSlotCount;
  for (uint32_t i = 0; i < kProbes; i++) {
    const auto index = static_cast<int>((first + i) % kSlotCount);
    if (!ReadAt(SlotOffset(index), &slot, sizeof slot)) return false;
    // Claimed in this order: behind a slot that was never used there is none.
    if (slot.state == 0 && slot.thread == 0) return false;
    if (slot.thread != thread.innerTid) continue;
    thread.slot = index;
    return true;
  }
  return false;
}

bool Agent::IsCovered(const Thread& thread) const {
  for (const Thread& other : threads_)
    if (other.process == thread.process && other.hasSlot) return true;
  // Its fork's first call that tells time is still to come; what it waits in is none.
  return IsStartedBy(thread.process, start_);
}

void Agent::ListPrograms(std::vector<MemberProgram>& programs) {
  for (Thread& thread : threads_) {
    if (thread.tid != thread.process) continue;
    // A clock that is moved by hand surveys nobody in between.
    Slot slot;
    const bool hasSlot = ReadSlot(thread, slot) && slot.process == thread.innerProcess;
    char path[64], name[64] = "?";
    snprintf(path, sizeof path, "/proc/%d/comm", thread.process);
    if (ReadPath(path, name, sizeof name)) name[strcspn(name, "\n")] = 0;
    const int tier = IsStartedBy(thread.process, start_) ? 2 : hasSlot ? 1 : 0;
    programs.push_back({id_, thread.process, tier, name});
  }
}

Blocker Agent::Unwatchable() {
  return {false, this, "not-watched",
          "what the threads of agent " + std::to_string(id_) + " do cannot be seen in /proc (" + strerror(errno) + "): the world runs at real speed"};
}

Blocker Agent::SurveyThread(Thread& thread, int64_t now, int64_t& earliest) {
  Slot slot;
  thread.hasSlot = ReadSlot(thread, slot) && slot.process == thread.innerProcess;
  thread.state = thread.hasSlot ? slot.state.load() : 0;
  thread.isWaiting = (thread.state & 1) != 0;
  thread.wantsTurn = thread.isWaiting && slot.kind == kWaitTurn;
  thread.deadline = thread.isWaiting ? slot.deadline.load() : kForever;
  // Written by the agent: sums of it must not wrap.
  if (thread.deadline > kForever / 2) thread.deadline = kForever;
  if (thread.hasSlot && thread.tid == thread.process && slot.external != 0)
    return {false, this, "", "process " + std::to_string(thread.process) + " is connected to something outside the world"};
  if (thread.hasSlot && thread.tid == thread.process && slot.pinned != 0) return DescribePinned(thread.process, slot.pinned);
  if (thread.isWaiting) {
    if (thread.deadline <= now) return {true, this, "", ""};  // due, and not yet on its way
    earliest = std::min(earliest, thread.deadline);
    return {};
  }
  thread.runs = thread.probe.Runs();
  ThreadProbe::Call call;
  if (!thread.probe.ReadCall(call)) {
    if (IsDenied()) return Unwatchable();
    isStale_ = true;
    return {true, this, "", ""};
  }
  return {!call.isAsleep, this, "", ""};
}

Blocker Agent::Survey(int64_t now, int64_t& earliest) {
  // Threads that end do so between two looks all the time: whoever is gone must not hold up the others.
  if (isStale_) Refresh();
  int64_t own = kForever;
  for (int round = 0; round < 2; round++) {
    own = kForever;
    Blocker blocker;
    for (Thread& thread : threads_)
      if (blocker = SurveyThread(thread, now, own); blocker) break;
    if (blocker && !(isStale_ && round == 0 && Refresh())) return blocker;
    if (!blocker) break;
  }
  earliest = std::min(earliest, own);
  return {};
}

Blocker Agent::Verify(int64_t realNow, bool lists) {
  if (!isReadable_) return {false, this, "members-unreadable", "the threads of agent " + std::to_string(id_) + " cannot be listed"};
  if (lists && Refresh()) return {true, this, "", ""};
  bool anyUncovered = false;
  for (Thread& thread : threads_) {
    if (thread.isWaiting) {
      switch (thread.probe.Look()) {
        case ThreadProbe::Rest::kAsleep:
          continue;
        case ThreadProbe::Rest::kDenied:
          return Unwatchable();
        case ThreadProbe::Rest::kGone:
          isStale_ = true;
          [[fallthrough]];
        case ThreadProbe::Rest::kAwake:
          return {true, this, "", ""};
      }
    }
    ThreadProbe::Call call;
    if (!thread.probe.ReadCall(call) && IsDenied()) return Unwatchable();
    if (!call.isAsleep || call.number < 0) return {true, this, "", ""};
    const Blocker blocker = VerifyBlocked(thread, call, realNow);
    anyUncovered = anyUncovered || !IsCovered(thread);
    if (blocker) return blocker;
  }
  if (!anyUncovered) uncoveredSince_ = 0;
  return {};
}

/** A thread that sleeps without having said so: in a call that nobody but somebody else can end, or it is not idle. */
Blocker Agent::VerifyBlocked(Thread& thread, const ThreadProbe::Call& call, int64_t realNow) {
  if (!IsCovered(thread)) {
    if (uncoveredSince_ == 0) uncoveredSince_ = realNow;
    if (realNow - uncoveredSince_ < kUncoveredGraceNs) return {true, this, "", ""};
    return DescribeUncovered(thread.process);
  }
  if (thread.probe.State() != 'S') return {true, this, "", ""};
  // A wait that began after the survey is an ordinary one.
  Slot slot;
  if ((ReadSlot(thread, slot) ? slot.state.load() : 0) != (thread.hasSlot ? thread.state : 0)) return {true, this, "", ""};
  if (IsTimedCall(call))
    return {false, this, "direct-wait",
            "a thread of process " + std::to_string(thread.process) + " waits with a time-out in system call " + std::to_string(call.number) +
                " that did not go through the C library's functions"};
  return {};
}

bool Agent::IsUnchanged() {
  for (Thread& thread : threads_) {
    if (!thread.isWaiting) {
      if (thread.probe.Runs() != thread.runs) return false;
      continue;
    }
    Slot slot;
    if (!ReadSlot(thread, slot) || slot.state != thread.state) return false;
  }
  return true;
}

bool Agent::WantsTurn() const {
  return std::any_of(threads_.begin(), threads_.end(), [](const Thread& thread) { return thread.wantsTurn; });
}

void Agent::SetTurn(bool isOn) {
  if (isOn == HasTurn()) return;
  turn_++;
  const size_t word = offsetof(AgentFile, turn) + offsetof(Turn, word);
  WriteAt(word, turn_);
  if (isOn) syscall(SYS_futex, mapping_ + word, 1 /* FUTEX_WAKE */, INT_MAX, nullptr, nullptr, 0);
}

int64_t Agent::TakeCharge() {
  constexpr size_t place = offsetof(AgentFile, turn) + offsetof(Turn, charged);
  int64_t charged = 0;
  if (!ReadAt(place, &charged, sizeof charged) || charged <= 0) return 0;
  // Written by the agent: whoever claims more than a turn can cost gets no more at once. The rest stays, so that its time never goes back.
  const int64_t taken = std::min(charged, kMostChargeNs), rest = charged - taken;
  (void)!pwrite(file_.get(), &rest, sizeof rest, place);
  return taken;
}

int64_t Agent::LastDeadlineWithin(int64_t limit) const {
  int64_t last = 0;
  for (const Thread& thread : threads_)
    if (thread.isWaiting && thread.deadline <= limit) last = std::max(last, thread.deadline);
  return last;
}

void Agent::Wake(Thread& thread, const Slot& slot, int64_t realNow, int wakeSignal) {
  // Once is enough but for a wait that had not quite begun: again after 1, 2, 4 … ms.
  if (slot.state != thread.wokenState) thread.wakes = 0;
  thread.wokenState = slot.state;
  if (thread.wakes > 0 && realNow - thread.wokenAt < kMillisecond << std::min(thread.wakes - 1, 7u)) return;
  thread.wakes++;
  thread.wokenAt = realNow;
  if (slot.kind == kWaitSignal) {
    syscall(SYS_tgkill, thread.process, thread.tid, wakeSignal);
    return;
  }
  const size_t word = SlotOffset(thread.slot) + offsetof(Slot, word);
  WriteAt(word, slot.word + 1);
  syscall(SYS_futex, mapping_ + word, 1 /* FUTEX_WAKE */, INT_MAX, nullptr, nullptr, 0);
}

uint32_t Agent::WakeSurveyed(int64_t now, int64_t realNow, int wakeSignal, int& last) {
  uint32_t due = 0;
  for (Thread& thread : threads_) {
    Slot slot;
    if (!thread.isWaiting || thread.deadline > now || !ReadSlot(thread, slot)) continue;
    due++;
    last = thread.tid;
    if (slot.state == thread.state) Wake(thread, slot, realNow, wakeSignal);
  }
  return due;
}

int64_t Agent::WakeDue(int64_t now, int64_t realNow, int wakeSignal) {
  int64_t next = kForever;
  for (Thread& thread : threads_) {
    Slot slot;
    if (!ReadSlot(thread, slot) || (slot.state & 1) == 0) continue;
    if (slot.deadline <= now) Wake(thread, slot, realNow, wakeSignal);
    else next = std::min(next, slot.deadline.load());
  }
  return next;
}

}  // namespace clove::clock
