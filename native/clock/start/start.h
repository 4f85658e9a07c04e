// clove-start: the world's clock for programs into which no library can be put (static ones, Go, other C libraries). It is started in
// their place, maps them as the kernel would, hides the vDSO so that a look at the clock becomes a system call, has the kernel turn the
// calls that take or tell time into the signal SIGSYS (seccomp), and answers them in its handler, within the very thread that called.
// There is no supervisor: the world's page is read here, and a wait is told of in a slot, as by libclove_clock.so. If the coordinator
// dies, calls go on at real speed. What is not answered passes.
//
// It lives in the memory of another program, beside whatever that uses for a C library: no library, no thread-local storage, no heap.
#pragma once
#include <linux/time_types.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "../moments.h"
#include "../page.h"
#include "../program.h"
#include "../raw.h"
#include "../waits.h"

namespace clove::clock {

inline constexpr int kError = 4095;

using Mask = uint64_t;
inline constexpr Mask MaskOf(int signal) { return 1ull << (signal - 1); }

/** The kernel's own form of a disposition. */
struct Action {
  void* handler;
  unsigned long flags;
  void* restorer;
  Mask mask;
};

// --- world.cc
/** Maps the world's files below the folder of CLOVE_CLOCK. False: there is none to be had. */
bool OpenWorld(const char* folder);
/** Without a world everything passes. */
bool HasWorld();
bool IsStrict();
const char* WorldFolder();
int WakeSignal();
/** 0 or minus errno. */
long ReadClock(long clock, timespec* time);
int IndexOf(const Slot* slot);
/** Says of this process that nothing may be skipped while it lives, and why. */
void Pin(uint32_t reason);

/** A wait, from its entry to its exit, as the coordinator sees it. */
class Wait : public SlotWait {
 public:
  Wait(WaitKind kind, int64_t deadline) : SlotWait(OwnSlot()) {
    if (hasSlot()) Begin(kind, deadline);
  }
  ~Wait() {
    if (hasSlot()) End();
  }
};
void NoteWake();

// --- waits.cc: each answers as the kernel would
long SleepFor(int64_t ns, timespec* remaining);
long SleepUntil(int64_t deadline);
long WaitOnWord(const void* word, uint32_t expected, bool isShared, int64_t deadline);
long OnFutex(const long* a);
long OnNanosleep(const long* a);
long OnClockNanosleep(const long* a);
long OnSigtimedwait(const long* a);
long OnSemtimedop(const long* a);
long OnQueue(long number, const long* a);
// --- descriptors.cc; `own`: the thread's signal mask
long OnPoll(const long* a, Mask own);
long OnPpoll(const long* a, Mask own);
long OnSelect(const long* a, Mask own);
long OnPselect(const long* a, Mask own);
long OnEpollWait(const long* a, Mask own);
long OnEpollPwait(const long* a, Mask own);
long OnEpollPwait2(const long* a, Mask own);
/** read, recvfrom and the like, of sockets that receive for a limited time. */
long OnRead(long number, const long* a, Mask own);
// --- timers.cc
long OnTimerCall(long number, const long* a);
/** The kernel's own timers must do from here on: no thread of ours survives an exec. */
void TimersBeforeExec();
/** Before the program begins: an interval timer that came over an exec is taken over. */
void PrepareTimers();
// --- exec.cc
long OnExecve(const char* path, char* const* argv, char* const* environment);
long OnExecveat(const long* a);
long OnReadlink(long folder, const char* path, char* to, size_t size);
void SetProgram(int fd, const char* given);
const char* ProgramPath();
// --- trap.cc
/** Handlers and the signal mask. */
void PrepareSignals();
/** Whether the calls of this process come here already: a filter outlives an exec. */
bool IsTrapping();
void ReturnFromSignal();
/** What passes in a mask that a program sets. */
inline Mask Passable(Mask mask) { return (mask & ~MaskOf(SIGSYS)) | (HasWorld() ? MaskOf(WakeSignal()) : 0); }
// --- filter.cc
/** 0 or minus errno. */
long InstallFilter();
/** From now on the process's reads come here, too. False: they do not. */
bool InstallReadFilter();
// --- load.cc
struct Loaded {
  uintptr_t entry = 0;         // where to begin: of the interpreter where there is one
  uintptr_t programEntry = 0;
  uintptr_t headers = 0;
  size_t headerCount = 0;
  uintptr_t interpreterBase = 0;
  bool hasExecutableStack = false;
};
/** 0 or minus errno. */
long LoadProgram(int fd, Loaded& loaded);

}  // namespace clove::clock
