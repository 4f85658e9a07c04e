// The threads of one agent of a world with its own time: who they are, whether they wait, and until when.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "../clock/page.h"
#include "sandbox_fd.h"

namespace clove::clock {

class Agent;

/** The program that stands behind those into which no library can be put (native/clock/start); a world has a copy of its own. */
struct StartFile {
  dev_t device = 0;
  ino_t inode = 0;
};

/** One process of an agent, and how its time is kept. */
struct MemberProgram {
  uint32_t agent = 0;
  int process = 0;
  /** 1: by the library; 2: by clove-start; 0: not at all, or not yet. */
  int tier = 0;
  std::string name;
};

/** Why nothing can be skipped now. Without agent and detail: nothing speaks against it. */
struct Blocker {
  /** Somebody simply works, the usual case: this agent's bell will tell, where there is one. */
  bool isWork = false;
  Agent* agent = nullptr;
  /** Names a degradation when it lasts; empty otherwise. */
  std::string name;
  std::string detail;
  explicit operator bool() const { return isWork || !detail.empty(); }
};

/** A file of a thread in /proc. It is kept open while the process can spare the descriptor, and opened for each look otherwise. */
class ThreadFile {
 public:
  explicit ThreadFile(const char* name) : name_(name) {}
  ThreadFile(ThreadFile&& other) noexcept : name_(other.name_), kept_(std::move(other.kept_)) {}
  ThreadFile& operator=(ThreadFile&& other) noexcept;
  ~ThreadFile();
  /** Its text; false when it cannot be had, errno says why. */
  bool Read(int tid, char* text, size_t size) const;

 private:
  const char* name_;
  mutable Fd kept_;
};

/** What /proc says of one thread of any process. */
class ThreadProbe {
 public:
  ThreadProbe() = default;
  explicit ThreadProbe(int tid) : tid_(tid) {}
  struct Call {
    bool isAsleep = false;
    /** -1: not in a system call. */
    long number = -1;
    unsigned long arguments[6] = {};
  };
  /**
   * Whether it sleeps in the kernel, and in which call. A thread that was woken and has not yet reached its processor may pass for
   * asleep. False: it is gone, or not to be looked at (errno says which).
   */
  bool ReadCall(Call& call) const;
  enum class Rest { kAsleep, kAwake, kGone, kDenied };
  /** Whether it sleeps, and nobody has woken it yet. */
  Rest Look() const;
  /** How often it has been given a processor; 0 when the kernel does not count. */
  uint64_t Runs() const;
  /** Its state letter. */
  char State() const;

 private:
  int tid_ = 0;
  ThreadFile syscall_{"syscall"}, schedstat_{"schedstat"}, wchan_{"wchan"};
};

/** Makes the empty slots of an agent that is to be started. Empty, or why not. */
std::string MakeSlots(const std::string& path, bool connectsOutside, uint64_t seed);

class Agent {
 public:
  /** `group` is the folder of the agent's control group. Usable when `error()` is empty. */
  Agent(uint32_t id, const std::string& slotsPath, const std::string& group, std::vector<int> ignoredProcesses, StartFile start);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  uint32_t id() const { return id_; }
  const std::string& error() const { return error_; }
  /** Takes notice of threads that came and went. True: there were some. */
  bool Refresh();
  /** Looks at the slots: the earliest deadline after `now`; whoever is due or at work is a blocker. */
  Blocker Survey(int64_t now, int64_t& earliest);
  /** Looks at the kernel: whether every thread really sleeps; `lists`: and whether there are others. To be called after Survey of all agents. */
  Blocker Verify(int64_t realNow, bool lists);
  /** Whether nothing has moved since Survey. */
  bool IsUnchanged();
  /** Wakes whom the last survey found waiting for a moment up to `now`; how many, and the last of them. */
  uint32_t WakeSurveyed(int64_t now, int64_t realNow, int wakeSignal, int& last);
  /** The same after a look at all slots. The earliest deadline that is still to come. */
  int64_t WakeDue(int64_t now, int64_t realNow, int wakeSignal);
  /** From now on the agent's next wait rings. */
  void ArmBell();
  /** Where it rings; only for futex calls. */
  uint32_t* bellWord() const { return reinterpret_cast<uint32_t*>(mapping_ + offsetof(AgentFile, bell) + offsetof(Bell, word)); }
  /** False: it cannot be read. */
  bool ReadBellWord(uint32_t& word) const;
  /** Whether the last survey found threads that wait for their agent's next turn. */
  bool WantsTurn() const;
  bool HasTurn() const { return (turn_ & 1) != 0; }
  /** Lets the agent run, or stops letting it. */
  void SetTurn(bool isOn);
  /** What the turn that just ended cost in virtual time; once. */
  int64_t TakeCharge();
  /** The latest deadline of the last survey that is not after `limit`. */
  int64_t LastDeadlineWithin(int64_t limit) const;
  size_t threadCount() const { return threads_.size(); }
  void ListPrograms(std::vector<MemberProgram>& programs);

 private:
  struct Thread {
    int tid = 0, process = 0;            // as the host numbers them
    int innerTid = 0, innerProcess = 0;  // as the agent does
    int slot = -1;
    // At the last survey.
    bool hasSlot = false, isWaiting = false, wantsTurn = false;
    uint32_t state = 0;
    uint64_t runs = 0;
    int64_t deadline = 0;
    // The last wake.
    int64_t wokenAt = 0;
    uint32_t wakes = 0, wokenState = 0;
    ThreadProbe probe;
  };

  bool ReadThreads(std::string& text) const;
  void Rebuild(const std::string& text);
  /** A copy of the slot of a thread; false when it has none. */
  bool ReadSlot(Thread& thread, Slot& slot) const;
  bool ReadAt(size_t offset, void* to, size_t size) const;
  void WriteAt(size_t offset, uint32_t value) const;
  void Wake(Thread& thread, const Slot& slot, int64_t realNow, int wakeSignal);
  bool IsCovered(const Thread& thread) const;
  Blocker Unwatchable();
  Blocker SurveyThread(Thread& thread, int64_t now, int64_t& earliest);
  Blocker VerifyBlocked(Thread& thread, const ThreadProbe::Call& call, int64_t realNow);

  const uint32_t id_;
  std::string error_;
  const std::vector<int> ignored_;
  const StartFile start_;
  Fd threadsFile_;
  Fd file_;
  /** Of that file: an address for futex calls, never read or written. */
  char* mapping_ = nullptr;
  std::string lastThreads_;
  std::vector<Thread> threads_;
  bool isReadable_ = true;
  uint32_t turn_ = 0;
  /** Somebody of the list is gone. */
  bool isStale_ = false;
  /** Since when a process without this library is there; real, 0 = none. */
  int64_t uncoveredSince_ = 0;
};

/** Whether a process is one that clove-start mapped, or a fork of one. */
bool IsStartedBy(int process, const StartFile& start);

/** What a program is that does not know the world's clock: name and sentence of the degradation. */
Blocker DescribeUncovered(int process);

/**
 * The number that was given last to a new thread of any agent, or of anybody else whom this process could see: while it stays the same
 * nobody has been born. -1 = not to be had, or not to be relied on: the first call starts threads to see whether it tells of them.
 */
int64_t LastBorn();

/** The same of one that says itself why it cannot be covered; `reason` is one of kPin…. */
Blocker DescribePinned(int process, uint32_t reason);

/** Whether a system call, as its thread sleeps in it, ends by itself after some time. */
bool IsTimedCall(const ThreadProbe::Call& call);

int64_t MonotonicNs();

/** A small file of /proc as text; false when it cannot be read, errno says why. */
bool ReadProcText(int fd, char* text, size_t size);

/** Whether the last look at a thread failed because nobody may look, not because it is gone. */
bool IsDenied();

}  // namespace clove::clock
