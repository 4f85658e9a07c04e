// SIGSYS: a call of the program that the clock answers, in the thread that made it and with its memory at hand.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/times.h>

#include "start.h"

namespace clove::clock {

namespace {

constexpr unsigned long kRestorer = 0x04000000;  // SA_RESTORER
constexpr size_t kStackSize = 64 << 10;
/** A real kernel's tick of times(). */
constexpr int64_t kTickNs = kSecond / 100;

/** What the program wants of the two signals that are ours: it is told that it has it. */
Action wanted[2];
/** Where the handlers of threads without an alternate stack run from the second call on, and whose each is. */
std::atomic<char*> stacks[kSlotCount];
std::atomic<int32_t> stackOwners[kSlotCount];
std::atomic<bool> hasProbed{false};

int OursOf(long signal) { return signal == SIGSYS ? 0 : HasWorld() && signal == WakeSignal() ? 1 : -1; }

long OnSigaction(const long* a) {
  const auto* action = reinterpret_cast<const Action*>(a[1]);
  auto* before = reinterpret_cast<Action*>(a[2]);
  if (const int ours = OursOf(a[0]); ours >= 0 && a[3] == sizeof(Mask)) {
    const Action previous = wanted[ours];
    if (action != nullptr) wanted[ours] = *action;
    if (before != nullptr) *before = previous;
    return 0;
  }
  if (action == nullptr) return SystemCall(SYS_rt_sigaction, a[0], a[1], a[2], a[3]);
  // A call of a handler that blocks SIGSYS would end the program.
  Action passed = *action;
  passed.mask &= ~MaskOf(SIGSYS);
  return SystemCall(SYS_rt_sigaction, a[0], Value(&passed), a[2], a[3]);
}

/** The mask that holds once this handler has returned. */
long OnSigprocmask(const long* a, Mask& own) {
  if (a[3] != sizeof(Mask)) return -EINVAL;
  const Mask set = *reinterpret_cast<const Mask*>(a[1]), before = own;
  switch (static_cast<int>(a[0])) {
    case SIG_BLOCK:
      own = Passable(own | set);
      break;
    case SIG_UNBLOCK:
      own = Passable(own & ~set);
      break;
    case SIG_SETMASK:
      own = Passable(set);
      break;
    default:
      return -EINVAL;
  }
  if (a[2] != 0) *reinterpret_cast<Mask*>(a[2]) = before;
  return 0;
}

long OnGettimeofday(const long* a) {
  timespec now;
  ReadClock(CLOCK_REALTIME, &now);
  if (auto* time = reinterpret_cast<timeval*>(a[0])) *time = {now.tv_sec, now.tv_nsec / 1000};
  if (auto* zone = reinterpret_cast<int*>(a[1])) zone[0] = zone[1] = 0;
  return 0;
}

long OnTime(const long* a) {
  timespec now;
  ReadClock(CLOCK_REALTIME, &now);
  if (a[0] != 0) *reinterpret_cast<time_t*>(a[0]) = now.tv_sec;
  return now.tv_sec;
}

/** Bytes that the kernel keeps back for 40 real milliseconds would be in flight while everybody sleeps. */
long OnSocket(const long* a) {
  const long fd = SystemCall(SYS_socket, a[0], a[1], a[2]);
  const int on = 1;
  if (fd >= 0 && (a[1] & 0xf) == SOCK_STREAM) SystemCall(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, Value(&on), sizeof on);
  return fd;
}

long OnSetsockopt(const long* a) {
  const auto* time = reinterpret_cast<const timeval*>(a[3]);
  if (a[4] >= static_cast<long>(sizeof *time) && (time->tv_sec != 0 || time->tv_usec != 0) && !InstallReadFilter()) Pin(kPinReceiveTimeout);
  return SystemCall(SYS_setsockopt, a[0], a[1], a[2], a[3], a[4]);
}

long OnSigsuspend(const long* a) {
  const Mask mask = Passable(*reinterpret_cast<const Mask*>(a[0]));
  return SystemCall(SYS_rt_sigsuspend, Value(&mask), a[1]);
}

long Answer(long number, const long* a, Mask& own) {
  switch (number) {
    // As without a world, but for what keeps the handler in its place.
    case SYS_rt_sigaction:
      return OnSigaction(a);
    case SYS_rt_sigprocmask:
      return OnSigprocmask(a, own);
    case SYS_rt_sigsuspend:
      return OnSigsuspend(a);
    case SYS_execve:
      return OnExecve(reinterpret_cast<const char*>(a[0]), reinterpret_cast<char* const*>(a[1]), reinterpret_cast<char* const*>(a[2]));
    case SYS_execveat:
      return OnExecveat(a);
    case SYS_readlink:
      return OnReadlink(AT_FDCWD, reinterpret_cast<const char*>(a[0]), reinterpret_cast<char*>(a[1]), static_cast<size_t>(a[2]));
    case SYS_readlinkat:
      return OnReadlink(a[0], reinterpret_cast<const char*>(a[1]), reinterpret_cast<char*>(a[2]), static_cast<size_t>(a[3]));
    case SYS_socket:
      return OnSocket(a);
    default:
      break;
  }
  if (!HasWorld()) return SystemCall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  switch (number) {
    case SYS_clock_gettime:
      return ReadClock(a[0], reinterpret_cast<timespec*>(a[1]));
    case SYS_gettimeofday:
      return OnGettimeofday(a);
    case SYS_time:
      return OnTime(a);
    case SYS_times:
      return SystemCall(SYS_times, a[0]) + (VirtualMonotonic() - RealMonotonic()) / kTickNs;
    case SYS_nanosleep:
      return OnNanosleep(a);
    case SYS_clock_nanosleep:
      return OnClockNanosleep(a);
    case SYS_futex:
      return OnFutex(a);
    case SYS_poll:
      return OnPoll(a, own);
    case SYS_ppoll:
      return OnPpoll(a, own);
    case SYS_select:
      return OnSelect(a, own);
    case SYS_pselect6:
      return OnPselect(a, own);
    case SYS_epoll_wait:
      return OnEpollWait(a, own);
    case SYS_epoll_pwait:
      return OnEpollPwait(a, own);
    case 441:
      return OnEpollPwait2(a, own);
    case SYS_rt_sigtimedwait:
      return OnSigtimedwait(a);
    case SYS_semtimedop:
      return OnSemtimedop(a);
    case SYS_mq_timedsend:
    case SYS_mq_timedreceive:
      return OnQueue(number, a);
    case SYS_setsockopt:
      return OnSetsockopt(a);
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_accept:
    case SYS_accept4:
      return OnRead(number, a, own);
    default:
      return OnTimerCall(number, a);
  }
}

/** The place of a stack in the table, -1: it is none of ours. */
int StackAt(const void* place) {
  for (int i = 0; i < static_cast<int>(kSlotCount); i++)
    if (const char* stack = stacks[i].load(std::memory_order_relaxed); stack == nullptr || stack == place) return stack == nullptr ? -1 : i;
  return -1;
}

/** Whether there is no such thread any more, in whatever process: a vfork child's stack is its parent's. */
bool IsGone(int32_t thread) { return SystemCall(SYS_tkill, thread, 0) == -ESRCH; }

/**
 * The frame of a signal takes a few kilobytes, and some stacks (of a vfork child in musl) have less: from a thread's first call on
 * there is one for it. Whoever has a stack for signals of his own (Go) keeps it.
 */
void GiveStack(stack_t& current) {
  const auto thread = static_cast<int32_t>(SystemCall(SYS_gettid));
  // After an exec there is none though it is not said to be disabled.
  if ((current.ss_flags & SS_DISABLE) == 0 && current.ss_size != 0) {
    // In a fork the stack of its parent's thread is its own by now; a vfork child has only borrowed it.
    const int index = current.ss_size == kStackSize ? StackAt(current.ss_sp) : -1;
    const int32_t owner = index < 0 ? thread : stackOwners[index].load(std::memory_order_relaxed);
    if (owner != thread && IsGone(owner)) stackOwners[index].store(thread);
    return;
  }
  for (uint32_t i = 0; i < kSlotCount; i++) {
    int32_t owner = stackOwners[i].load(std::memory_order_relaxed);
    // Threads end without a word: their stacks are taken over.
    if (owner != 0 && !IsGone(owner)) continue;
    if (!stackOwners[i].compare_exchange_strong(owner, thread)) continue;
    if (stacks[i].load() == nullptr) {
      const long mapped = SystemCall(SYS_mmap, 0, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (mapped < 0 && mapped >= -kError) return;
      stacks[i].store(reinterpret_cast<char*>(mapped));
    }
    // Taken over by the kernel at the end of this handler.
    current = {stacks[i].load(), 0, kStackSize};
    return;
  }
}

/** A SIGSYS that is none of ours. */
void PassOn(int signal, siginfo_t* info, void* context) {
  void* const handler = wanted[0].handler;
  if (handler == reinterpret_cast<void*>(1)) return;
  if (handler != nullptr) return reinterpret_cast<void (*)(int, siginfo_t*, void*)>(handler)(signal, info, context);
  const Action standard{};
  SystemCall(SYS_rt_sigaction, SIGSYS, Value(&standard), 0, sizeof(Mask));
  SystemCall(SYS_tgkill, SystemCall(SYS_getpid), SystemCall(SYS_gettid), SIGSYS);
}

void OnTrap(int signal, siginfo_t* info, void* context) {
  auto& user = *static_cast<ucontext_t*>(context);
  greg_t* registers = user.uc_mcontext.gregs;
  if (info->si_code != 1 /* SYS_SECCOMP */) return PassOn(signal, info, context);
  if (!hasProbed.load(std::memory_order_relaxed)) {
    hasProbed.store(true);
    registers[REG_RAX] = -1;
    return;
  }
  GiveStack(user.uc_stack);
  const long arguments[6] = {static_cast<long>(registers[REG_RDI]), static_cast<long>(registers[REG_RSI]), static_cast<long>(registers[REG_RDX]),
                             static_cast<long>(registers[REG_R10]), static_cast<long>(registers[REG_R8]),  static_cast<long>(registers[REG_R9])};
  Mask own;
  __builtin_memcpy(&own, &user.uc_sigmask, sizeof own);
  registers[REG_RAX] = Answer(info->si_syscall, arguments, own);
  __builtin_memcpy(&user.uc_sigmask, &own, sizeof own);
}

void OnWake(int, siginfo_t*, void*) { NoteWake(); }

void Handle(int signal, void (*handler)(int, siginfo_t*, void*)) {
  // Interrupted by itself where a handler of the program looks at the clock.
  const Action action{reinterpret_cast<void*>(handler), SA_SIGINFO | SA_ONSTACK | SA_NODEFER | kRestorer,
                      reinterpret_cast<void*>(ReturnFromSignal), 0};
  SystemCall(SYS_rt_sigaction, signal, Value(&action), 0, sizeof(Mask));
}

}  // namespace

__asm__(".text\n.globl clove_return\n.type clove_return, @function\nclove_return:\n  movl $15, %eax\n  syscall\n");
extern "C" void clove_return();
void ReturnFromSignal() { clove_return(); }

// A look at the clock from a place whose calls do not pass.
__asm__(".section clove_probe,\"ax\",@progbits\n.globl clove_probe_call\nclove_probe_call:\n  movl $228, %eax\n  syscall\n  ret\n.text\n");
extern "C" long clove_probe_call(long clock, timespec* time);

void PrepareSignals() {
  Handle(SIGSYS, OnTrap);
  const Mask trap = MaskOf(SIGSYS);
  SystemCall(SYS_rt_sigprocmask, SIG_UNBLOCK, Value(&trap), 0, sizeof trap);
  if (!HasWorld()) return;
  Handle(WakeSignal(), OnWake);
  const Mask wake = MaskOf(WakeSignal());
  SystemCall(SYS_rt_sigprocmask, SIG_BLOCK, Value(&wake), 0, sizeof wake);
}

bool IsTrapping() {
  timespec ignored;
  clove_probe_call(CLOCK_MONOTONIC, &ignored);
  return hasProbed.exchange(true);
}

}  // namespace clove::clock
