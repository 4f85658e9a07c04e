// Which calls become SIGSYS. All others are let through by their number alone, which the kernel remembers per call, so that they cost
// what they always do. Nothing is refused here but clone3, whose children could be without the handler.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "start.h"

extern "C" const char __executable_start[], __start_clove_probe[];

namespace clove::clock {

namespace {

/** A condition on one argument. */
enum Test : uint8_t { kNone, kPointer, kPositive, kZero, kFamily, kClock, kFutexWait, kReceiveTimeout };
struct Trapped {
  uint16_t number;
  Test test;
  uint8_t argument;
  Test orTest = kNone;
  uint8_t orArgument = 0;
};

constexpr Trapped kTrapped[] = {
    {SYS_clock_gettime, kClock, 0},
    {SYS_gettimeofday, kNone, 0},
    {SYS_time, kNone, 0},
    {SYS_times, kNone, 0},
    {SYS_nanosleep, kNone, 0},
    {SYS_clock_nanosleep, kNone, 0},
    {SYS_futex, kFutexWait, 1},
    {SYS_poll, kPositive, 2},
    {SYS_ppoll, kPointer, 2, kPointer, 3},
    {SYS_select, kPointer, 4},
    {SYS_pselect6, kPointer, 4, kPointer, 5},
    {SYS_epoll_wait, kPositive, 3},
    {SYS_epoll_pwait, kPositive, 3, kPointer, 4},
    {441 /* epoll_pwait2 */, kPointer, 3, kPointer, 4},
    {SYS_rt_sigtimedwait, kPointer, 2},
    {SYS_semtimedop, kPointer, 3},
    {SYS_mq_timedsend, kPointer, 4},
    {SYS_mq_timedreceive, kPointer, 4},
    {SYS_rt_sigaction, kNone, 0},
    {SYS_rt_sigprocmask, kPointer, 1},
    {SYS_rt_sigsuspend, kNone, 0},
    {SYS_setitimer, kZero, 0},
    {SYS_getitimer, kZero, 0},
    {SYS_alarm, kNone, 0},
    {SYS_timer_create, kNone, 0},
    {SYS_timer_settime, kNone, 0},
    {SYS_timer_gettime, kNone, 0},
    {SYS_timer_delete, kNone, 0},
    {SYS_timerfd_create, kNone, 0},
    {SYS_timerfd_settime, kNone, 0},
    {SYS_timerfd_gettime, kNone, 0},
    {SYS_socket, kFamily, 0},
    {SYS_setsockopt, kReceiveTimeout, 1},
    {SYS_execve, kNone, 0},
    {SYS_execveat, kNone, 0},
    {SYS_readlink, kNone, 0},
    {SYS_readlinkat, kNone, 0},
};

/** Of processes with sockets that receive for a limited time, from then on. */
constexpr Trapped kReads[] = {
    {SYS_read, kNone, 0}, {SYS_readv, kNone, 0}, {SYS_recvfrom, kNone, 0}, {SYS_recvmsg, kNone, 0}, {SYS_accept, kNone, 0}, {SYS_accept4, kNone, 0},
};

class Program {
 public:
  void Add(uint16_t code, uint32_t k, uint8_t jt = 0, uint8_t jf = 0) {
    if (count_ < sizeof code_ / sizeof *code_) code_[count_++] = {code, jt, jf, k};
  }
  void Load(size_t offset) { Add(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
  void LoadArgument(int argument, bool high = false) {
    Load(offsetof(seccomp_data, args) + 8 * static_cast<size_t>(argument) + (high ? 4 : 0));
  }
  void Return(uint32_t value) { Add(BPF_RET | BPF_K, value); }
  void Allow() { Return(SECCOMP_RET_ALLOW); }
  void Clear() { count_ = 0; }
  size_t count() const { return count_; }
  sock_filter* code() { return code_; }
  void Patch(size_t at, uint8_t jt, uint8_t jf) { code_[at].jt = jt, code_[at].jf = jf; }

 private:
  sock_filter code_[512] = {};
  size_t count_ = 0;
};

constexpr uint16_t kEqual = BPF_JMP | BPF_JEQ | BPF_K, kAtLeast = BPF_JMP | BPF_JGE | BPF_K, kAnyBit = BPF_JMP | BPF_JSET | BPF_K;
constexpr uint16_t kMaskBits = BPF_ALU | BPF_AND | BPF_K;

constinit Program program;

/** Calls of our own pass, whoever makes them: our code is in the same place in every program. */
void TrapOthers() {
  const auto first = reinterpret_cast<uint64_t>(__executable_start), end = reinterpret_cast<uint64_t>(__start_clove_probe);
  program.Load(offsetof(seccomp_data, instruction_pointer) + 4);
  program.Add(kEqual, static_cast<uint32_t>(first >> 32), 0, 3);
  program.Load(offsetof(seccomp_data, instruction_pointer));
  program.Add(kAtLeast, static_cast<uint32_t>(end), 1, 0);
  program.Allow();
  program.Return(SECCOMP_RET_TRAP);
}

/** Goes `hit` instructions further when the test holds; falls through otherwise. */
void Add(Test test, uint8_t argument, uint8_t hit) {
  switch (test) {
    case kNone:
      break;
    case kPointer:
      program.LoadArgument(argument);
      program.Add(kEqual, 0, 0, static_cast<uint8_t>(hit + 2));
      program.LoadArgument(argument, true);
      program.Add(kEqual, 0, 0, hit);
      break;
    case kPositive:
      program.LoadArgument(argument);
      program.Add(kAnyBit, 0x80000000, 1, 0);
      program.Add(kEqual, 0, 0, hit);
      break;
    case kZero:
      program.LoadArgument(argument);
      program.Add(kEqual, 0, hit, 0);
      break;
    case kFamily:
      program.LoadArgument(argument);
      program.Add(kEqual, AF_INET, static_cast<uint8_t>(hit + 1), 0);
      program.Add(kEqual, AF_INET6, hit, 0);
      break;
    case kClock:  // but for those of processor time: 2, 3, and what a number below zero stands for
      program.LoadArgument(argument);
      program.Add(kAnyBit, 0x80000000, 2, 0);
      program.Add(kEqual, CLOCK_PROCESS_CPUTIME_ID, 1, 0);
      program.Add(kEqual, CLOCK_THREAD_CPUTIME_ID, 0, hit);
      break;
    case kFutexWait:
      program.LoadArgument(argument);
      program.Add(kMaskBits, static_cast<uint32_t>(FUTEX_CMD_MASK));
      program.Add(kEqual, FUTEX_WAIT, 1, 0);
      program.Add(kEqual, FUTEX_WAIT_BITSET, 0, 4);
      Add(kPointer, 3, hit);
      break;
    case kReceiveTimeout:
      program.LoadArgument(argument);
      program.Add(kEqual, SOL_SOCKET, 0, 3);
      program.LoadArgument(2);
      program.Add(kEqual, 20 /* SO_RCVTIMEO */, static_cast<uint8_t>(hit + 1), 0);
      program.Add(kEqual, 66 /* SO_RCVTIMEO_NEW */, hit, 0);
      break;
  }
}

size_t LengthOfTest(Test test) {
  constexpr size_t lengths[] = {0, 4, 3, 2, 3, 4, 8, 5};
  return lengths[test];
}

template <size_t kCount>
void Build(const Trapped (&calls)[kCount]) {
  program.Clear();
  program.Load(offsetof(seccomp_data, arch));
  program.Add(kEqual, AUDIT_ARCH_X86_64, 1, 0);
  program.Allow();
  program.Load(offsetof(seccomp_data, nr));
  program.Add(kEqual, 435 /* clone3 */, 0, 1);
  program.Return(SECCOMP_RET_ERRNO | ENOSYS);
  for (const Trapped& call : calls) {
    const size_t at = program.count();
    program.Add(kEqual, call.number);
    if (call.test != kNone) {
      // A miss of both falls onto the permission, a hit goes beyond it.
      Add(call.test, call.argument, static_cast<uint8_t>(LengthOfTest(call.orTest) + 1));
      Add(call.orTest, call.orArgument, 1);
      program.Allow();
    }
    TrapOthers();
    program.Patch(at, 0, static_cast<uint8_t>(program.count() - at - 1));
  }
  program.Allow();
}

long Install(unsigned flags) {
  const sock_fprog packed{static_cast<unsigned short>(program.count()), program.code()};
  if (const long result = SystemCall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); result < 0) return result;
  return SystemCall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, Value(&packed));
}

}  // namespace

long InstallFilter() {
  Build(kTrapped);
  return Install(0);
}

bool InstallReadFilter() {
  static std::atomic<bool> isInstalled{false};
  if (isInstalled.exchange(true)) return true;
  Build(kReads);
  // For all threads of the process, and those that come.
  if (Install(SECCOMP_FILTER_FLAG_TSYNC) == 0) return true;
  isInstalled.store(false);
  return false;
}

}  // namespace clove::clock
