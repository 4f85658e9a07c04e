#include "clock_coordinator.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace clove::clock {

namespace {

constexpr int64_t kMicrosecond = 1'000, kMillisecond = 1'000'000;
constexpr int64_t kHeartbeatNs = 100 * kMillisecond;
/** A coordinator that is silent for so long is dead: a machine may well stand still for a second. */
constexpr int64_t kGraceNs = 3'000 * kMillisecond;
/** Between two looks at a world that works: the bell tells of most of its waits, not of those in plain reads. */
constexpr int64_t kFirstLookNs = 20 * kMicrosecond, kLastLookNs = 2 * kMillisecond;
constexpr int64_t kRefreshNs = 5 * kMillisecond;
constexpr int64_t kWakeAllNs = 1 * kMillisecond;
/** After somebody was admitted. */
constexpr int64_t kSettlingNs = 1'000 * kMillisecond;
constexpr int64_t kOwnThreadsNs = 1'000 * kMillisecond;
/** A reason not to skip is worth a word when it has lasted. */
constexpr int64_t kLastingNs = 100 * kMillisecond;
/** Jumps shorter than this, one after the other for one thread, are a program that polls. */
constexpr int64_t kPollingNs = 20 * kMillisecond;
constexpr int64_t kPollingPauseNs = 10 * kMillisecond;
constexpr size_t kKeptJumps = 4096;
constexpr size_t kKernelThreads = 16;
/** CLOCK_MONOTONIC at the start of a strict world. */
constexpr int64_t kStrictUptimeNs = 1'000'000 * kMillisecond;

template <typename Shared>
Shared* MapNew(const std::string& path, mode_t mode) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.valid() || fchmod(fd.get(), mode) != 0 || ftruncate(fd.get(), 4096) != 0) return nullptr;
  // A hole in a full file system would be a signal at the first store: what cannot be had is refused here.
  if (errno = posix_fallocate(fd.get(), 0, 4096); errno != 0) return nullptr;
  void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  return mapped == MAP_FAILED ? nullptr : static_cast<Shared*>(mapped);
}

int64_t RealEpochNs() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

int64_t Scaled(int64_t ns, uint32_t numerator, uint32_t denominator) {
  return numerator == denominator ? ns : static_cast<int64_t>(static_cast<__int128>(ns) * numerator / denominator);
}

}  // namespace

Coordinator::Coordinator(Options options, Notify notify, void* context) : options_(std::move(options)), notify_(notify), context_(context) {}

Coordinator::~Coordinator() {
  Stop();
  if (page_ != nullptr) munmap(page_, 4096);
}

std::string Coordinator::Start() {
  page_ = MapNew<Page>(options_.folder + "/page", 0644);
 if (page_ == nullptr) return "cannot make the clock's page in " + options_.folder + ": " + strerror(errno);
  if (struct stat info; stat((options_.folder + "/clove-start").c_str(), &info) == 0) startFile_ = {info.st_dev, info.st_ino};
  const int64_t real = MonotonicNs();
  // Virtual monotonic time begins where the machine's is: a world looks like a machine that has been up for a while.
  // But for a strict one, which looks the same each time.
  const int64_t now = options_.mode == Mode::kStrict ? kStrictUptimeNs + options_.elapsedNs : real;
  start_ = now - options_.elapsedNs;
  page_->version = kVersion;
  page_->wakeSignal = static_cast<uint32_t>(options_.wakeSignal != 0 ? options_.wakeSignal : SIGRTMAX - 6);
  mode_ = options_.mode;
  page_->mode = static_cast<uint32_t>(mode_);
  const bool isStill = mode_ == Mode::kStep || mode_ == Mode::kStrict;
  page_->rateNumerator = isStill ? 0 : options_.rateNumerator;
  page_->rateDenominator = options_.rateDenominator;
  page_->realBase.store(real);
  page_->virtualBase.store(now);
  epoch_ = (options_.startEpochNs < 0 ? RealEpochNs() - options_.elapsedNs : options_.startEpochNs) - start_;
  page_->epochOffset.store(epoch_);
  page_->heartbeat.store(real);
  page_->grace.store(kGraceNs);
  page_->magic = kMagic;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  LastBorn();  // tries out once whether it can be relied on
  const int error = pthread_create(&thread_, nullptr, &Coordinator::ThreadMain, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return std::string("cannot start the clock's thread: ") + strerror(error);
  pthread_setname_np(thread_, "clove-clock");
  isStarted_ = true;
  return "";
}

void Coordinator::Stop() {
  if (!isStarted_) return;
  isStopping_.store(true);
  Poke();
  pthread_join(thread_, nullptr);
  isStarted_ = false;
  // Whoever still lives goes on at real speed at once.
  std::lock_guard lock(mutex_);
  page_->heartbeat.store(MonotonicNs() - kGraceNs);
  agents_.clear();
}

int64_t Coordinator::Virtual(int64_t real) const {
  return page_->virtualBase.load(std::memory_order_relaxed) +
         Scaled(real - page_->realBase.load(std::memory_order_relaxed), page_->rateNumerator, page_->rateDenominator);
}

int64_t Coordinator::Elapsed() const {
  std::lock_guard lock(mutex_);
  return Virtual(MonotonicNs()) - start_;
}

std::string Coordinator::Admit(uint32_t id, const std::string& slotsPath, const std::string& group, std::vector<int> ignored) {
  auto agent = std::make_shared<Agent>(id, slotsPath, group, std::move(ignored), startFile_);
  if (!agent->error().empty()) return agent->error();
  {
    std::lock_guard lock(mutex_);
    // Whoever came too late for a strict order runs as in any other world.
    if (options_.mode == Mode::kStrict && !IsStrict()) agent->SetTurn(true);
    agents_[id] = std::move(agent);
    admittedAt_ = MonotonicNs();
    listedBorn_ = -1;
  }
  Poke();
  return "";
}

void Coordinator::Expel(uint32_t id) {
  std::lock_guard lock(mutex_);
  agents_.erase(id);
}

void Coordinator::Lease(int change) {
  {
    std::lock_guard lock(mutex_);
    leases_ += change;
    leaseChanges_++;
    if (leases_ > 0) return;
  }
  Poke();
}

void Coordinator::Still(int change) {
  {
    std::lock_guard lock(mutex_);
    stills_ += change;
    const uint32_t rate = stills_ > 0 || mode_ == Mode::kStep || mode_ == Mode::kStrict ? 0 : options_.rateNumerator;
    if (rate != page_->rateNumerator) {
      const int64_t real = MonotonicNs();
      const int64_t now = Virtual(real);
      page_->sequence.fetch_add(1, std::memory_order_acq_rel);
      std::atomic_thread_fence(std::memory_order_release);
      page_->realBase.store(real, std::memory_order_relaxed);
      page_->virtualBase.store(now, std::memory_order_relaxed);
      page_->rateNumerator = rate;
      page_->sequence.fetch_add(1, std::memory_order_release);
    }
  }
  Lease(change);
}

void Coordinator::Skew(int64_t ns) {
  std::lock_guard lock(mutex_);
  page_->epochOffset.store(epoch_ + ns, std::memory_order_relaxed);
}

void Coordinator::SetTimer(int64_t elapsedNs, bool isAwaited) {
  {
    std::lock_guard lock(mutex_);
    isAwaited_ = isAwaited;
    timer_ = elapsedNs == kForever ? kForever : elapsedNs + start_;
    isTimerTold_ = false;
    leaseChanges_++;
  }
  Poke();
}

void Coordinator::AdvanceTo(int64_t elapsedNs) {
  {
    std::lock_guard lock(mutex_);
    target_ = elapsedNs + start_;
  }
  Poke();
}

Status Coordinator::ReadStatus() {
  std::lock_guard lock(mutex_);
  Status status = status_;
  for (const auto& [id, agent] : agents_) {
    status.threads += agent->threadCount();
    agent->ListPrograms(status.programs);
  }
  status.blocker = leases_ > 0 ? std::to_string(leases_) + " leases" : blocker_;
  return status;
}

std::vector<Jump> Coordinator::TakeJumps() {
  std::lock_guard lock(mutex_);
  return std::move(jumps_);
}

void* Coordinator::ThreadMain(void* self) {
  static_cast<Coordinator*>(self)->Run();
  return nullptr;
}

void Coordinator::Run() {
  // Waits here are short, and somebody waits for each of them.
  prctl(PR_SET_TIMERSLACK, 1);
  FindKernelThreads();
  while (!isStopping_.load(std::memory_order_relaxed)) {
    const uint32_t attention = attention_.load();
    uint32_t agent = 0;
    const int64_t wait = Turn(agent);
    if (wait > 0 && Sleep(wait, attention, agent)) backoff_ = 0;
  }
}

bool Coordinator::Sleep(int64_t ns, uint32_t attention, uint32_t id) {
  std::shared_ptr<Agent> agent;
  uint32_t word = 0;
  {
    std::lock_guard lock(mutex_);
    const auto found = agents_.find(id);
    if (found != agents_.end() && found->second->ReadBellWord(word)) agent = found->second;
    if (agent != nullptr) {
      agent->ArmBell();
      // From here on its next wait rings; what came just before is seen now.
      int64_t ignored = kForever;
      if (!agent->Survey(Virtual(MonotonicNs()), ignored)) return true;
    }
  }
  const int64_t until = MonotonicNs() + ns;
  timespec end = {until / 1'000'000'000, until % 1'000'000'000};
  const struct {
    uint64_t value, address;
    uint32_t flags, reserved;
  } words[2] = {{attention, reinterpret_cast<uint64_t>(&attention_), 2 | 128, 0},
                {word, agent == nullptr ? 0 : reinterpret_cast<uint64_t>(agent->bellWord()), 2, 0}};
  long result = syscall(449 /* futex_waitv */, words, agent == nullptr ? 1 : 2, 0, &end, CLOCK_MONOTONIC);
  if (result < 0 && (errno == ENOSYS || errno == EFAULT)) {
    timespec timeout = {ns / 1'000'000'000, ns % 1'000'000'000};
    result = syscall(SYS_futex, &attention_, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, attention, &timeout, nullptr, 0);
  }
  return result >= 0 || errno == EAGAIN;
}

void Coordinator::Poke() {
  attention_.fetch_add(1);
  syscall(SYS_futex, &attention_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
}

bool Coordinator::MaySkip() const {
  return leases_ == 0 && (target_ >= 0 || mode_ == Mode::kSkip || mode_ == Mode::kStrict);
}

int64_t Coordinator::Turn(uint32_t& agentToHear) {
  int64_t realNow = MonotonicNs();
  std::unique_lock lock(mutex_);
  page_->heartbeat.store(realNow, std::memory_order_relaxed);
  if (realNow - refreshedAt_ > kRefreshNs) {
    for (auto& [id, agent] : agents_) agent->Refresh();
    refreshedAt_ = realNow;
  }
  bool isAdvanced = false;
  int64_t wait = kHeartbeatNs;
  if (MaySkip()) {
    const Blocker blocker = Attempt(realNow);
    Note(blocker);
    if (!blocker) {
      backoff_ = 0;
      wait = 0;  // whoever was woken is heard next
      isAdvanced = target_ >= 0 && Virtual(MonotonicNs()) >= target_;
      if (isAdvanced) target_ = -1;
    } else {
      lastBusy_ = blocker.agent == nullptr ? 0 : blocker.agent->id();
      backoff_ = std::clamp(backoff_ * 3 / 2, kFirstLookNs, kLastLookNs);
      wait = EndOrder(blocker, realNow) ? 0 : backoff_;
      agentToHear = blocker.isWork ? lastBusy_ : 0;
    }
  }
  realNow = MonotonicNs();
  const int64_t now = Virtual(realNow);
  const bool isDue = timer_ <= now && !isTimerTold_;
  if (isDue) isTimerTold_ = true;
  // Where time just passes, nobody's own time-out knows of earlier jumps: each is woken when it is due.
  if (realNow - wokeAllAt_ > kWakeAllNs) {
    nextDue_ = kForever;
    for (auto& [id, agent] : agents_) nextDue_ = std::min(nextDue_, agent->WakeDue(now, realNow, static_cast<int>(page_->wakeSignal)));
    wokeAllAt_ = realNow;
  }
  const int64_t next = std::min(nextDue_, isTimerTold_ ? kForever : timer_);
  if (next != kForever && page_->rateNumerator != 0) {
    const int64_t real = Scaled(next - now, page_->rateDenominator, page_->rateNumerator);
    wait = std::min(wait, std::max(real, kFirstLookNs));
  }
  lock.unlock();
  if (isDue) notify_(context_, Signal::kDue);
  if (isAdvanced) notify_(context_, Signal::kAdvanced);
  return wait;
}

/** One attempt to move on. Its blocker says why it did not; none = time was moved. */
Blocker Coordinator::Attempt(int64_t realNow) {
  const int64_t now = Virtual(realNow);
  if (timer_ <= now) return {true, nullptr, "", ""};
  const uint64_t changes = leaseChanges_;
  int64_t earliest = timer_;
  // Who worked a moment ago is asked first.
  if (const auto busy = agents_.find(lastBusy_); busy != agents_.end()) {
    int64_t ignored = kForever;
    if (const Blocker blocker = busy->second->Survey(now, ignored)) return blocker;
  }
  for (auto& [id, agent] : agents_)
    if (const Blocker blocker = agent->Survey(now, earliest)) return blocker;
  const int64_t limit = target_ >= 0 ? target_ : options_.horizonNs == kForever ? kForever : start_ + options_.horizonNs;
  if (!KernelThreadsSleep() || !OwnThreadsSleep()) return {true, nullptr, "", ""};
  // Listing the threads of an agent costs as much as looking at one of them: not while nobody can have come.
  const int64_t born = realNow - admittedAt_ < kSettlingNs ? -1 : LastBorn();
  const bool lists = born < 0 || born != listedBorn_;
  for (auto& [id, agent] : agents_)
    if (const Blocker blocker = agent->Verify(realNow, lists)) return blocker;
  if (lists) listedBorn_ = born;
  const bool isUndecided = IsStrict() || target_ >= 0;
  if (!isUndecided && (earliest == kForever || !IsAnybodyWaiting())) return {true, nullptr, "", ""};
  for (auto& [id, agent] : agents_)
    if (!agent->IsUnchanged()) return {true, nullptr, "", ""};
  for (OwnThread& thread : ownThreads_)
    if (thread.probe.Runs() != thread.runs) return {true, nullptr, "", ""};
  if (changes != leaseChanges_ || leases_ > 0) return {true, nullptr, "", ""};
  if (IsStrict()) {
    if (PassTurn(realNow)) return {};
    if (target_ < 0 && (earliest == kForever || !IsAnybodyWaiting())) return {true, nullptr, "", ""};
  }
  if (target_ < 0 && earliest > limit) return {false, nullptr, "", "the next deadline lies beyond the horizon"};
  // Deadlines that follow at once are met by the same jump, never by going beyond the last of them.
  int64_t goal = std::min(earliest, limit);
  if (earliest <= limit) {
    int64_t last = earliest;
    for (auto& [id, agent] : agents_) last = std::max(last, agent->LastDeadlineWithin(earliest + (IsStrict() ? 0 : options_.coalesceNs)));
    goal = std::min(last, limit);
  }
  const bool isPolling = lastWoken_ > 0 && lastWoken_ == pollingThread_ && goal - now < kPollingNs;
  if (isPolling && pollingJumps_ >= options_.pollingJumps && realNow - blockedSince_ < kPollingPauseNs)
    return {false, nullptr, "livelock",
            "thread " + std::to_string(lastWoken_) + " alone has waited " + std::to_string(pollingJumps_) +
                " times in a row for a few milliseconds: it polls for something that only real time brings, and is let through 100 times a second"};
  pollingJumps_ = isPolling ? pollingJumps_ + 1 : 0;
  pollingThread_ = lastWoken_;
  MoveTo(goal);
  const int64_t realAfter = MonotonicNs();
  uint32_t woken = 0;
  int last = 0;
  for (auto& [id, agent] : agents_) {
    const uint32_t more = agent->WakeSurveyed(Virtual(realAfter), realAfter, static_cast<int>(page_->wakeSignal), last);
    if (more > 0) lastBusy_ = id;
    woken += more;
  }
  lastWoken_ = woken == 1 ? last : 0;
  status_.attemptNs += MonotonicNs() - realNow;
  return {};
}

/** Without anybody who waits time would run away through the schedule of an empty world. */
bool Coordinator::IsAnybodyWaiting() const {
  if (isAwaited_) return true;
  for (const auto& [id, agent] : agents_)
    if (agent->threadCount() > 0) return true;
  return false;
}

void Coordinator::MoveTo(int64_t virtualTarget) {
  const int64_t real = MonotonicNs();
  const int64_t now = Virtual(real);
  if (virtualTarget <= now) return;
  page_->sequence.fetch_add(1, std::memory_order_acq_rel);
  std::atomic_thread_fence(std::memory_order_release);
  page_->realBase.store(real, std::memory_order_relaxed);
  page_->virtualBase.store(virtualTarget, std::memory_order_relaxed);
  page_->sequence.fetch_add(1, std::memory_order_release);
  status_.jumps++;
  status_.skippedNs += virtualTarget - now;
  if (jumps_.size() >= 2 * kKeptJumps) jumps_.erase(jumps_.begin(), jumps_.begin() + kKeptJumps);
  jumps_.push_back({RealEpochNs(), now - start_, virtualTarget - now});
  isTimerTold_ = false;
}

/** The kernel's threads for what interrupts left to do: packets on their way within this machine, when there are many. */
void Coordinator::FindKernelThreads() {
  DIR* processes = opendir("/proc");
  if (processes == nullptr) return;
  while (const dirent* entry = readdir(processes)) {
    const int pid = atoi(entry->d_name);
    std::string name;
    if (pid <= 0 || !ReadFileAt(dirfd(processes), (std::string(entry->d_name) + "/comm").c_str(), name)) continue;
    // On a large machine looking at all of them would cost more than it tells.
    if (name.starts_with("ksoftirqd/") && kernelThreads_.size() < kKernelThreads) kernelThreads_.emplace_back(pid);
  }
  closedir(processes);
}

void Coordinator::FindOwnThreads() {
  ownThreads_.clear();
  ownThreads_.push_back({ThreadProbe(getpid()), 0});
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return;
  while (const dirent* entry = readdir(tasks)) {
    const int tid = atoi(entry->d_name);
    if (tid <= 0 || tid == getpid()) continue;
    std::string name;
    if (ReadFileAt(dirfd(tasks), (std::string(entry->d_name) + "/comm").c_str(), name) && name == "clove-wire\n")
      ownThreads_.push_back({ThreadProbe(tid), 0});
  }
  closedir(tasks);
}

bool Coordinator::KernelThreadsSleep() const {
  for (const ThreadProbe& thread : kernelThreads_) {
    if (thread.Look() == ThreadProbe::Rest::kAwake) return false;
  }
  return true;
}

/** Whether the threads that serve agents wait for events; what agents have sent wakes them before the agents sleep. */
bool Coordinator::OwnThreadsSleep() {
  if (!options_.watchesOwnProcess) return true;
  const int64_t now = MonotonicNs();
  if (now - ownThreadsFoundAt_ > kOwnThreadsNs) {
    FindOwnThreads();
    ownThreadsFoundAt_ = now;
  }
  for (OwnThread& thread : ownThreads_) {
    thread.runs = thread.probe.Runs();
    ThreadProbe::Call call;
    if (!thread.probe.ReadCall(call)) {
      ownThreadsFoundAt_ = 0;
      return false;
    }
    bool waitsForEvents = call.number == SYS_epoll_pwait || call.number == 441 /* epoll_pwait2 */;
#if defined(SYS_epoll_wait)
    waitsForEvents = waitsForEvents || call.number == SYS_epoll_wait;
#endif
    if (!call.isAsleep || !waitsForEvents || thread.probe.Look() != ThreadProbe::Rest::kAsleep) return false;
  }
  return true;
}

void Coordinator::Note(const Blocker& blocker) {
  const int64_t real = MonotonicNs();
  for (Degradation& known : status_.degradations) known.isActive = known.isActive && (blocker.isWork || known.detail == blocker.detail);
  if (blocker.detail != blocker_) {
    if (!blocker.isWork || real - blockedSince_ > kLastingNs) {
      blocker_ = blocker.detail;
      blockedSince_ = real;
    }
  }
  // A look-up of a name, a program before its first instruction: what is over in a moment degrades nothing.
  if (!blocker.isWork && blocker.detail != candidate_) {
    candidate_ = blocker.detail;
    candidateSince_ = real;
  }
  if (blocker.name.empty() || real - candidateSince_ < kLastingNs) return;
  for (Degradation& known : status_.degradations) {
    if (known.name != blocker.name || known.detail != blocker.detail) continue;
    known.isActive = true;
    return;
  }
  if (status_.degradations.size() < 100) status_.degradations.push_back({blocker.name, blocker.detail, Virtual(real) - start_, true});
}

}  // namespace clove::clock
