// The world's files, the virtual clock read from them, and the slot of each thread.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "library.h"

namespace clove::clock {

namespace {

enum : int { kUnknown, kOpening, kNone, kOpen };
std::atomic<int> status{kUnknown};
int32_t ownProcess = 0;
/** Of a process without a world: real time, seen through the same formula. */
constinit Page noWorld{0, 0, 0, {0}, 1, 1, {0}, {0}, {0}, {0}, {0}, {0}};
const Page* page = &noWorld;
AgentFile* agent = nullptr;
pthread_key_t endOfThread;
bool hasKey = false;

__attribute__((tls_model("initial-exec"))) thread_local Slot* ownSlot = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local int32_t ownThread = 0;
__attribute__((tls_model("initial-exec"))) thread_local volatile sig_atomic_t wakes = 0;
/** In a strict world, where time stands still while somebody runs: how often this thread has read the clock since it last waited. */
__attribute__((tls_model("initial-exec"))) thread_local uint32_t reads = 0;
/** A program that reads the clock so often in a row waits for it to move. Each further read moves it. */
constexpr uint32_t kFreeReads = 1000;
constexpr int64_t kChargePerReadNs = 1000;

CLOVE_REAL(clock_gettime, int (*)(clockid_t, timespec*));
CLOVE_REAL(sigaction, int (*)(int, const struct sigaction*, struct sigaction*));

/** One of the shared files; null when it is not what it should be. */
void* Map(const char* folder, const char* name, size_t size, bool writable) {
  char path[512];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= static_cast<int>(sizeof path)) return nullptr;
  const long fd = SystemCall(SYS_openat, AT_FDCWD, Value(path), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
  if (fd < 0) return nullptr;
  struct stat info;
  void* mapped = MAP_FAILED;
  if (fstat(static_cast<int>(fd), &info) == 0 && info.st_size >= static_cast<off_t>(size))
    mapped = mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, static_cast<int>(fd), 0);
  SystemCall(SYS_close, fd);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

void OnWake(int) { wakes = 1; }

/** The wake signal has a handler that notes it, and is blocked but within a wait. */
void PrepareSignal() {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = OnWake;
  action.sa_flags = SA_ONSTACK;
  real_sigaction(static_cast<int>(page->wakeSignal), &action, nullptr);
  uint64_t mask = 1ull << (page->wakeSignal - 1);
  SystemCall(SYS_rt_sigprocmask, SIG_BLOCK, Value(&mask), 0, sizeof mask);
}

void AfterForkInChild() {
  if (status.load() != kOpen) return;
  ownProcess = static_cast<int32_t>(SystemCall(SYS_getpid));
  ForgetSlot();
  TimersAfterFork();
  OwnSlot();
}

bool OpenWorld() {
  const char* folder = getenv("CLOVE_CLOCK");
  if (folder == nullptr || *folder == 0) return false;
  const auto* mapped = static_cast<const Page*>(Map(folder, kPageFile, sizeof(Page), false));
  agent = static_cast<AgentFile*>(Map(folder, kSlotsFile, sizeof(AgentFile), true));
  if (mapped == nullptr || agent == nullptr || mapped->magic != kMagic || mapped->version != kVersion ||
      agent->magic != kMagic || agent->version != kVersion)
    return false;
  page = mapped;
  ownProcess = static_cast<int32_t>(SystemCall(SYS_getpid));
  hasKey = pthread_key_create(&endOfThread, [](void*) { ReleaseSlot(); }) == 0;
  pthread_atfork(nullptr, nullptr, AfterForkInChild);
  PrepareSignal();
  return true;
}

/** Whether the coordinator has given a sign of life lately. */
bool IsAlive(int64_t real) {
  return real <= page->heartbeat.load(std::memory_order_relaxed) + page->grace.load(std::memory_order_relaxed);
}

inline Reading Read() {
  for (;;) {
    const uint32_t before = page->sequence.load(std::memory_order_acquire);
    const int64_t realBase = page->realBase.load(std::memory_order_relaxed);
    const int64_t virtualBase = page->virtualBase.load(std::memory_order_relaxed);
    const uint32_t numerator = page->rateNumerator, denominator = page->rateDenominator;
    const int64_t real = RealMonotonic();
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((before & 1) != 0 || page->sequence.load(std::memory_order_relaxed) != before) {
      // A coordinator that died in the middle must not hang anybody: the bases differ by one jump at most.
      if ((before & 1) == 0 || real - page->heartbeat.load(std::memory_order_relaxed) < page->grace.load(std::memory_order_relaxed)) {
        sched_yield();
        continue;
      }
    }
    if (__builtin_expect(numerator == denominator, 1)) return {real, virtualBase + (real - realBase), 1, 1};
    if (IsStrict()) {
      if (++reads > kFreeReads) agent->turn.charged.fetch_add(kChargePerReadNs, std::memory_order_relaxed);
      if (IsAlive(real)) return {real, virtualBase + agent->turn.charged.load(std::memory_order_relaxed), 0, 1};
    }
    const int64_t alive = page->heartbeat.load(std::memory_order_relaxed) + page->grace.load(std::memory_order_relaxed);
    if (__builtin_expect(real <= alive, 1)) return {real, virtualBase + Scaled(real - realBase, numerator, denominator), numerator, denominator};
    // Nobody moves the clock any more: from the end of its grace on it runs by itself.
    const int64_t last = alive > realBase ? alive : realBase;
    const int64_t charged = IsStrict() ? agent->turn.charged.load(std::memory_order_relaxed) : 0;
    return {real, virtualBase + charged + Scaled(last - realBase, numerator, denominator) + (real - last), 1, 1};
  }
}

Slot* ClaimSlot(int32_t thread, int32_t process) {
  const uint32_t first = static_cast<uint32_t>(thread) % kSlotCount;
  for (uint32_t i = 0; i < kSlotCount; i++) {
    Slot& slot = agent->slots[(first + i) % kSlotCount];
    int32_t owner = slot.thread.load(std::memory_order_relaxed);
    if (owner == thread || (owner == 0 && slot.thread.compare_exchange_strong(owner, thread))) {
      slot.process.store(process);
      slot.external.store(0);
      slot.pinned.store(0);
      slot.state.store((slot.state.load() | 1) + 1);  // even: at work
      return &slot;
    }
  }
  return nullptr;
}

__attribute__((constructor)) void Start() {
  if (!HasWorld()) return;
  OwnSlot();
  // Before the program's first instruction.
  if (IsStrict()) Wait turn(kWaitChunk, kForever);
}

}  // namespace

void* Next(const char* name) { return dlsym(RTLD_NEXT, name); }

const Page* World() { return HasWorld() ? page : nullptr; }

bool HasWorld() {
  int now = status.load(std::memory_order_acquire);
  if (__builtin_expect(now == kOpen, 1)) return true;
  if (now != kUnknown) return false;  // while opening, too: what mapping needs itself gets the real clock
  if (!status.compare_exchange_strong(now, kOpening)) return now == kOpen;
  const int error = errno;
  const bool opened = OpenWorld();
  errno = error;
  status.store(opened ? kOpen : kNone, std::memory_order_release);
  return opened;
}

int RealClock(clockid_t clock, timespec* time) {
  auto* function = real_clock_gettime.get();
  if (function == nullptr) return Answer(SystemCall(SYS_clock_gettime, clock, Value(time)));
  return function(clock, time);
}

int64_t RealMonotonic() {
  timespec now;
  RealClock(CLOCK_MONOTONIC, &now);
  return ToNs(now);
}

int64_t VirtualMonotonic() { return Read().virt; }

int64_t EpochOffset() {
  if (page != &noWorld) return page->epochOffset.load(std::memory_order_relaxed);
  timespec now;
  RealClock(CLOCK_REALTIME, &now);
  return ToNs(now) - RealMonotonic();
}

int64_t RealUntil(int64_t deadline, int64_t limit) { return RealSpan(Read(), deadline, limit); }

int64_t AheadOfMonotonic(clockid_t clock) {
  if (IsMonotonic(clock)) return 0;
  if (IsRealtime(clock)) return EpochOffset();
  if (IsStrict()) return clock == CLOCK_TAI ? EpochOffset() : 0;
  timespec time;
  if (RealClock(clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : clock, &time) != 0) return 0;
  const int64_t ahead = ToNs(time) - RealMonotonic();
  if (clock != CLOCK_TAI) return ahead;
  timespec real;
  RealClock(CLOCK_REALTIME, &real);
  return EpochOffset() + (ToNs(time) - ToNs(real));
}

timespec ToKernelMoment(clockid_t clock, int64_t deadline) {
  timespec now;
  RealClock(clock, &now);
  return ToTimespec(AddNs(ToNs(now), RealUntil(deadline, kForever / 4)));
}

Slot* OwnSlot() {
  Slot* slot = ownSlot;
  // Another thread's number: the coordinator took us for dead and gave the slot away.
  if (__builtin_expect(slot != nullptr && slot->thread.load(std::memory_order_relaxed) == ownThread, 1)) return slot;
  if (!HasWorld()) return nullptr;
  ownThread = static_cast<int32_t>(SystemCall(SYS_gettid));
  ownSlot = ClaimSlot(ownThread, static_cast<int32_t>(SystemCall(SYS_getpid)));
  if (ownSlot != nullptr && hasKey) pthread_setspecific(endOfThread, ownSlot);
  return ownSlot;
}

void ForgetSlot() {
  ownSlot = nullptr;
  ownThread = 0;
}

void ReleaseSlot() {
  // In a vfork child the slot is its parent's.
  if (ownSlot != nullptr && SystemCall(SYS_gettid) == ownThread) {
    int32_t owner = ownThread;
    ownSlot->thread.compare_exchange_strong(owner, 0);
    ForgetSlot();
  }
}

bool IsOwnProcess() { return SystemCall(SYS_getpid) == ownProcess; }

bool ConnectsOutside() { return HasWorld() && agent->connectsOutside != 0; }

void CountExternal(int change) {
  const auto process = static_cast<int32_t>(SystemCall(SYS_getpid));
  for (Slot& slot : agent->slots) {
    if (slot.thread.load() != process || slot.process.load() != process) continue;
    slot.external.fetch_add(static_cast<uint32_t>(change));
    return;
  }
}

Bell& AgentBell() { return agent->bell; }

bool IsStrict() { return page->mode.load(std::memory_order_relaxed) == kStrictMode; }

void AwaitNextTurn() {
  if (!HasWorld() || !IsStrict()) return;
  Wait turn(kWaitChunk, kForever);
  turn.EndInNextTurn();
}

bool FillSeeded(void* buffer, size_t size) {
  if (!HasWorld() || !IsStrict()) return false;
  static std::atomic<uint64_t> state{0};
  static std::atomic<int32_t> owner{0};
  // A forked child draws numbers of its own.
  if (const int32_t process = ownProcess; owner.exchange(process) != process)
    state.store(agent->turn.seed + 0x632be59bd9b4e019ull * (agent->turn.processes.fetch_add(1) + 1));
  auto* bytes = static_cast<unsigned char*>(buffer);
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    // SplitMix64: every number of the sequence depends on its place alone.
    uint64_t z = state.fetch_add(0x9e3779b97f4a7c15ull) + 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    memcpy(bytes + i, &z, size - i < sizeof z ? size - i : sizeof z);
  }
  return true;
}

Wait::Wait(WaitKind kind, int64_t deadline) : SlotWait(OwnSlot()) {
  reads = 0;
  if (!hasSlot()) return;
  turn_ = agent->turn.word.load(std::memory_order_relaxed);
  Begin(kind, deadline);
}

Wait::~Wait() {
  if (!hasSlot()) return;
  if (!isNested() && IsStrict()) AwaitTurn();
  End();
}

/** Until the agent may run. Whoever was woken outside its turn does nothing before. */
void Wait::AwaitTurn() {
  const int error = errno;
  bool isPublished = false;
  for (;;) {
    const uint32_t word = agent->turn.word.load(std::memory_order_acquire);
    if ((word & 1) != 0 && !(needsNextTurn_ && word == turn_)) break;
    if (!isPublished) Publish(kWaitTurn, kForever);
    isPublished = true;
    const timespec look = ToTimespec(kChunkNs);
    SystemCall(SYS_futex, Value(&agent->turn.word), 0 /* FUTEX_WAIT, shared */, word, Value(&look));
    if (!IsStrict() || !IsAlive(RealMonotonic())) break;
  }
  errno = error;
}

bool TakeWake() {
  if (wakes == 0) return false;
  wakes = 0;
  return true;
}

int WakeSignal() { return static_cast<int>(page->wakeSignal); }

}  // namespace clove::clock
