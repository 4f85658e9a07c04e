// The world's files, the virtual clock read from them, and the slot of each thread.
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "start.h"

namespace clove::clock {

namespace {

const Page* page = nullptr;
AgentFile* agent = nullptr;
char folder[4096];
/** Which thread of this process holds a slot: a slot that is not in here is one that a dead thread of the same number left. */
std::atomic<int32_t> holders[kSlotCount];
std::atomic<uint8_t> wakes[kSlotCount];

int64_t Real(long clock) {
  timespec now{};
  SystemCall(SYS_clock_gettime, clock, Value(&now));
  return ToNs(now);
}

Reading Read() {
  for (;;) {
    const uint32_t before = page->sequence.load(std::memory_order_acquire);
    const int64_t realBase = page->realBase.load(std::memory_order_relaxed);
    const int64_t virtualBase = page->virtualBase.load(std::memory_order_relaxed);
    const uint32_t numerator = page->rateNumerator, denominator = page->rateDenominator;
    const int64_t real = RealMonotonic();
    const int64_t alive = page->heartbeat.load(std::memory_order_relaxed) + page->grace.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((before & 1) != 0 || page->sequence.load(std::memory_order_relaxed) != before) {
      // A coordinator that died in the middle must not hang anybody: the bases differ by one jump at most.
      if ((before & 1) == 0 || real < alive) {
        SystemCall(SYS_sched_yield);
        continue;
      }
    }
    if (numerator == denominator) return {real, virtualBase + (real - realBase), 1, 1};
    if (real <= alive) return {real, virtualBase + Scaled(real - realBase, numerator, denominator), numerator, denominator};
    // Nobody moves the clock any more: from the end of its grace on it runs by itself.
    const int64_t last = alive > realBase ? alive : realBase;
    return {real, virtualBase + Scaled(last - realBase, numerator, denominator) + (real - last), 1, 1};
  }
}

void* Map(const char* name, size_t size, bool isWritable) {
  char path[sizeof folder + 32];
  Append(Append(Append(path, folder), "/"), name);
  const long fd = SystemCall(SYS_openat, AT_FDCWD, Value(path), (isWritable ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
  if (fd < 0) return nullptr;
  struct stat info;
  long mapped = -1;
  if (SystemCall(SYS_fstat, fd, Value(&info)) == 0 && info.st_size >= static_cast<off_t>(size))
    mapped = SystemCall(SYS_mmap, 0, static_cast<long>(size), isWritable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  SystemCall(SYS_close, fd);
  return mapped < 0 && mapped >= -kError ? nullptr : reinterpret_cast<void*>(mapped);
}

bool IsGone(const Slot& slot, int32_t thread) { return SystemCall(SYS_tgkill, slot.process.load(), thread, 0) == -ESRCH; }

Slot* Claim(int32_t thread) {
  constexpr uint32_t kTrusted = 8;
  const uint32_t first = static_cast<uint32_t>(thread) % kSlotCount;
  for (uint32_t i = 0; i < kSlotCount; i++) {
    const uint32_t index = (first + i) % kSlotCount;
    Slot& slot = agent->slots[index];
    int32_t owner = slot.thread.load(std::memory_order_relaxed);
    if (owner == thread && holders[index].load(std::memory_order_relaxed) == thread) return &slot;
    // Threads end here without a word; whoever never stood in the coordinator's list is cleared away only by those who need the place.
    const bool isFree = owner == 0 || owner == thread || (i >= kTrusted && IsGone(slot, owner));
    if (!isFree || !slot.thread.compare_exchange_strong(owner, thread)) continue;
    holders[index].store(thread, std::memory_order_relaxed);
    wakes[index].store(0);
    slot.process.store(static_cast<int32_t>(SystemCall(SYS_getpid)));
    slot.external.store(0);
    slot.pinned.store(0);
    slot.state.store((slot.state.load() | 1) + 1);  // even: at work
    return &slot;
  }
  return nullptr;
}

}  // namespace

bool OpenWorld(const char* place) {
  if (place == nullptr || LengthOf(place) >= sizeof folder) return false;
  Append(folder, place);
  const auto* mapped = static_cast<const Page*>(Map(kPageFile, sizeof(Page), false));
  agent = static_cast<AgentFile*>(Map(kSlotsFile, sizeof(AgentFile), true));
  if (mapped == nullptr || agent == nullptr || mapped->magic != kMagic || mapped->version != kVersion || agent->magic != kMagic ||
      agent->version != kVersion)
    return false;
  page = mapped;
  return true;
}

bool HasWorld() { return page != nullptr; }
bool IsStrict() { return page->mode.load(std::memory_order_relaxed) == kStrictMode; }
const char* WorldFolder() { return folder; }
int WakeSignal() { return static_cast<int>(page->wakeSignal); }
int64_t RealMonotonic() { return Real(CLOCK_MONOTONIC); }
int64_t VirtualMonotonic() { return Read().virt; }
int64_t EpochOffset() { return page->epochOffset.load(std::memory_order_relaxed); }

int64_t RealUntil(int64_t deadline, int64_t limit) { return RealSpan(Read(), deadline, limit); }

int64_t AheadOfMonotonic(clockid_t clock) {
  if (IsMonotonic(clock)) return 0;
  if (IsRealtime(clock)) return EpochOffset();
  if (clock == CLOCK_TAI) return EpochOffset() + Real(CLOCK_TAI) - Real(CLOCK_REALTIME);
  return Real(clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : clock) - RealMonotonic();
}

long ReadClock(long clock, timespec* time) {
  if (!IsVirtual(clock)) return SystemCall(SYS_clock_gettime, clock, Value(time));
  *time = ToTimespec(VirtualMonotonic() + AheadOfMonotonic(clock));
  return 0;
}

Slot* OwnSlot() { return HasWorld() ? Claim(static_cast<int32_t>(SystemCall(SYS_gettid))) : nullptr; }

Bell& AgentBell() { return agent->bell; }

int IndexOf(const Slot* slot) { return static_cast<int>(slot - agent->slots); }

void Pin(uint32_t reason) {
  const auto process = static_cast<int32_t>(SystemCall(SYS_getpid));
  for (Slot& slot : agent->slots)
    if (slot.thread.load() == process && slot.process.load() == process) slot.pinned.store(reason);
}

void NoteWake() {
  if (const Slot* slot = OwnSlot()) wakes[IndexOf(slot)].store(1);
}

bool TakeWake() {
  const Slot* slot = OwnSlot();
  return slot != nullptr && wakes[IndexOf(slot)].exchange(0) != 0;
}

}  // namespace clove::clock

// What the compiler takes for granted.
extern "C" {
#define PLAIN __attribute__((optimize("no-tree-loop-distribute-patterns")))
PLAIN void* memcpy(void* to, const void* from, size_t size) {
  for (size_t i = 0; i < size; i++) static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
  return to;
}
PLAIN void* memset(void* to, int byte, size_t size) {
  for (size_t i = 0; i < size; i++) static_cast<char*>(to)[i] = static_cast<char>(byte);
  return to;
}
}
