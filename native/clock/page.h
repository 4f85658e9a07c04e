// What a world's coordinator and the processes of its agents share. Two files: the page of the world, which agents only
// read, and one per agent with its bell and the slots of its threads. The latter is not trusted: an agent may write
// nonsense into it, or cut it short, and spoils its own time. The coordinator therefore reads it with system calls and
// touches no mapping of it.
#pragma once
#include <stdint.h>

#include <atomic>

namespace clove::clock {

inline constexpr uint64_t kMagic = 0x636c6f636b763031;  // "clockv01"
inline constexpr uint32_t kVersion = 3;
/** Page::mode of worlds in which one agent runs at a time. */
inline constexpr uint32_t kStrictMode = 4;
inline constexpr int64_t kForever = INT64_MAX;
/** No wait in the kernel is longer: whoever missed a change of the clock sees it then. */
inline constexpr int64_t kChunkNs = 1'000'000'000;
/** Their places below the folder that CLOVE_CLOCK names. */
inline constexpr const char* kPageFile = "world/page";
inline constexpr const char* kSlotsFile = "agent/slots";

/** Written by the coordinator alone. virtual = virtualBase + (real - realBase) * rateNumerator / rateDenominator */
struct Page {
  uint64_t magic;
  uint32_t version;
  /** The signal that ends a wait for descriptors early; blocked outside such waits. */
  uint32_t wakeSignal;
  /** Odd while the fields below are being changed. */
  std::atomic<uint32_t> sequence;
  uint32_t rateNumerator;
  uint32_t rateDenominator;
  std::atomic<uint32_t> mode;
  /** CLOCK_MONOTONIC at which virtual monotonic time was virtualBase. */
  std::atomic<int64_t> realBase;
  std::atomic<int64_t> virtualBase;
  /** Virtual CLOCK_REALTIME minus virtual CLOCK_MONOTONIC. */
  std::atomic<int64_t> epochOffset;
  /** CLOCK_MONOTONIC of the coordinator's last sign of life; once it is silent for `grace`, time runs at real speed. */
  std::atomic<int64_t> heartbeat;
  std::atomic<int64_t> grace;
};

struct Bell {
  /** 1 while the coordinator wants to hear of the next wait that begins. */
  std::atomic<uint32_t> armed;
  /** Futex the coordinator sleeps on. */
  std::atomic<uint32_t> word;
};

/** Of an agent in a strict world. */
struct Turn {
  /** Futex: odd while the agent may run; another number for every turn it gets. */
  std::atomic<uint32_t> word;
  /** How many processes have asked for random numbers of their own. */
  std::atomic<uint32_t> processes;
  /** Virtual time of this turn: what programs that watch the clock have been charged. */
  std::atomic<int64_t> charged;
  uint64_t seed;
};

/** How a thread that waits is woken when its deadline has come. */
enum WaitKind : uint32_t {
  kWaitWord = 1,    // futex on its slot's word
  kWaitSignal = 2,  // the wake signal
  kWaitChunk = 3,   // it looks by itself every few milliseconds
  kWaitTurn = 4,    // its agent's next turn
};

/** One thread. Ids are those inside the agent's pid namespace. */
struct alignas(64) Slot {
  std::atomic<int32_t> thread;
  std::atomic<int32_t> process;
  /** Counts entries into and exits from waits: odd = waiting. */
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> word;
  /** Virtual CLOCK_MONOTONIC; kForever = waits for somebody else only. */
  std::atomic<int64_t> deadline;
  std::atomic<uint32_t> kind;
  /** Connections of the thread's process that lead out of the world; only in the slot of a process's first thread. */
  std::atomic<uint32_t> external;
  /** Why the process runs at real speed while it lives (kPin…), 0: it does not; only in the slot of its first thread. */
  std::atomic<uint32_t> pinned;
};

/** Sockets with a time-out for receiving, of a program whose reads are not seen. */
inline constexpr uint32_t kPinReceiveTimeout = 1;
/** More timers at once than there is room for. */
inline constexpr uint32_t kPinTimers = 2;

inline constexpr uint32_t kSlotCount = 2048;

struct AgentFile {
  uint64_t magic;
  uint32_t version;
  /** 1: what this agent connects to is not part of the world, and nothing is skipped while it is connected. */
  uint32_t connectsOutside;
  alignas(64) Bell bell;
  alignas(64) Turn turn;
  alignas(64) Slot slots[kSlotCount];
};

}  // namespace clove::clock
