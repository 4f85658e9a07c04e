// The clock of one world: writes its page, watches the threads of its agents, and moves time on when all of them wait.
#pragma once
#include <pthread.h>
#include <stdint.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "clock_members.h"

namespace clove::clock {

enum class Mode : uint32_t { kReal, kScale, kStep, kSkip, kStrict };

struct Options {
  /** Folder of the page; exists. */
  std::string folder;
  Mode mode = Mode::kReal;
  uint32_t rateNumerator = 1, rateDenominator = 1;
  /** Virtual CLOCK_REALTIME at the start; negative: the real one. */
  int64_t startEpochNs = -1;
  /** Virtual time that has passed already (a world that goes on). */
  int64_t elapsedNs = 0;
  /** Virtual time since the start beyond which nothing is skipped. */
  int64_t horizonNs = kForever;
  int64_t coalesceNs = 1'000'000;
  int wakeSignal = 0;
  /** Threads of this process that serve the agents: while one of them is at work nothing is skipped. */
  bool watchesOwnProcess = true;
  /** So many short jumps in a row for one and the same thread are taken for polling. */
  uint32_t pollingJumps = 500'000;
};

struct Degradation {
  std::string name, detail;
  int64_t elapsedNs = 0;
  bool isActive = true;
};

struct Jump {
  int64_t realEpochNs, elapsedNs, skippedNs;
};

struct Status {
  uint64_t jumps = 0;
  int64_t skippedNs = 0;
  /** What it costs to find out that everybody waits, and to move on: of successful attempts, in all. */
  int64_t attemptNs = 0;
  size_t threads = 0;
  std::string blocker;
  std::vector<Degradation> degradations;
  std::vector<MemberProgram> programs;
};

class Coordinator {
 public:
  enum class Signal { kDue, kAdvanced };
  using Notify = void (*)(void* context, Signal signal);

  Coordinator(Options options, Notify notify, void* context);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  /** Empty, or why it cannot run. */
  std::string Start();
  void Stop();

  /** Virtual time since the world's start. */
  int64_t Elapsed() const;
  /** Watches the threads of a control group, but for those of the ignored processes. Empty, or why it cannot. */
  std::string Admit(uint32_t id, const std::string& slotsPath, const std::string& group, std::vector<int> ignored);
  void Expel(uint32_t id);
  /** +1 and -1: something that takes real time begins and ends. When it returns from +1, nothing is skipped. */
  void Lease(int change);
  /** +1 and -1: time stands still between them, and nothing is skipped. */
  void Still(int change);
  /** What agents are told as the date is off by so much from now on; other clocks stay. */
  void Skew(int64_t ns);
  /** The earliest timer of the kernel's side, as virtual time since the start, and whether somebody sleeps there. */
  void SetTimer(int64_t elapsedNs, bool isAwaited);
  /** Moves on to this moment, one deadline after another; kAdvanced when there. */
  void AdvanceTo(int64_t elapsedNs);
  Status ReadStatus();
  std::vector<Jump> TakeJumps();

 private:
  static void* ThreadMain(void* self);
  void Run();
  /** Real nanoseconds until it has to look again, at the latest; and whose bell matters until then (0 = nobody's). */
  int64_t Turn(uint32_t& agent);
  /** Sleeps; true: somebody rang. */
  bool Sleep(int64_t ns, uint32_t attention, uint32_t agent);
  bool MaySkip() const;
  bool IsAnybodyWaiting() const;
  Blocker Attempt(int64_t realNow);
  // Strict worlds (clock_strict.cc).
  /** Everybody rests: ends a turn, or begins the next. False: nobody wants one, and time may move. */
  bool PassTurn(int64_t realNow);
  /** Gives up the order where it would stop the world. */
  bool EndOrder(const Blocker& blocker, int64_t realNow);
  /** From now on the world is one that skips: what keeps it from being strict is named. */
  void LoseOrder(const std::string& why);
  bool IsStrict() const { return mode_ == Mode::kStrict; }
  bool OwnThreadsSleep();
  void FindOwnThreads();
  void FindKernelThreads();
  bool KernelThreadsSleep() const;
  void MoveTo(int64_t virtualTarget);
  int64_t Virtual(int64_t real) const;
  void Note(const Blocker& blocker);
  void Poke();

  struct OwnThread {
    ThreadProbe probe;
    uint64_t runs = 0;
  };

  const Options options_;
  const Notify notify_;
  void* const context_;
  Page* page_ = nullptr;
  /** Futex: changes when somebody of this process wants attention. */
  std::atomic<uint32_t> attention_{0};
  pthread_t thread_ = {};
  bool isStarted_ = false;
  std::atomic<bool> isStopping_{false};
  StartFile startFile_;
  int64_t start_ = 0;  // virtual CLOCK_MONOTONIC of the world's start

  /** Guards everything below, and every change of the page. */
  mutable std::mutex mutex_;
  std::map<uint32_t, std::shared_ptr<Agent>> agents_;
  int leases_ = 0;
  int stills_ = 0;
  /** Virtual epoch of CLOCK_MONOTONIC zero, without any skew. */
  int64_t epoch_ = 0;
  uint64_t leaseChanges_ = 0;
  int64_t timer_ = kForever;
  bool isTimerTold_ = false;
  bool isAwaited_ = false;
  Mode mode_ = Mode::kReal;
  uint32_t lastTurn_ = 0;
  uint32_t turnsInARow_ = 0;
  int64_t turnSince_ = 0;
  int64_t target_ = -1;  // of AdvanceTo; -1 = none
  std::vector<OwnThread> ownThreads_;
  std::vector<ThreadProbe> kernelThreads_;  // of the coordinator's thread alone
  int64_t ownThreadsFoundAt_ = 0;
  int64_t refreshedAt_ = 0;
  /** Nobody was born since the threads of all agents were listed, while this is LastBorn(); -1 = they have to be listed. */
  int64_t listedBorn_ = -1;
  /** Who is being started is moved into its control group without being born there. */
  int64_t admittedAt_ = 0;
  int64_t backoff_ = 0;
  int64_t wokeAllAt_ = 0;
  int64_t nextDue_ = kForever;
  uint32_t lastBusy_ = 0;
  std::string blocker_, candidate_;
  int64_t candidateSince_ = 0;
  int64_t blockedSince_ = 0;
  int lastWoken_ = 0;
  int pollingThread_ = 0;
  uint32_t pollingJumps_ = 0;
  Status status_;
  std::vector<Jump> jumps_;
};

}  // namespace clove::clock
