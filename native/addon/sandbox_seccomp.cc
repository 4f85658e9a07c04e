// From the policy table to a filter program: a decision tree over ranges of numbers, leaves that check arguments.
#include "sandbox_seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>

#include <algorithm>
#include <map>

namespace clove {
namespace {

enum class Action { Missing, Deny, Allow, Clone, Ioctl, Socket, Personality, Seccomp, Prctl, Debug, Template, TemplateClone3 };

struct Call {
  const char* name;
  uint32_t number;
  Action action;
};

constexpr Action kRule_clone = Action::Clone, kRule_ioctl = Action::Ioctl, kRule_socket = Action::Socket,
                 kRule_personality = Action::Personality, kRule_seccomp = Action::Seccomp, kRule_prctl = Action::Prctl, kRule_debug = Action::Debug,
                 kRule_template = Action::Template, kRule_clone3 = Action::TemplateClone3;

const Call kCalls[] = {
#define ALLOW(name) {#name, __NR_##name, Action::Allow},
#define ALLOW_NR(name, number) {#name, number, Action::Allow},
#define DENY(name) {#name, __NR_##name, Action::Deny},
#define DENY_NR(name, number) {#name, number, Action::Deny},
#define MISSING(name) {#name, __NR_##name, Action::Missing},
#define CHECK(name, rule) {#name, __NR_##name, kRule_##rule},
#include "seccomp_policy.def"
};

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
#error "no system call policy for this architecture"
#endif

// Every CLONE_NEW*: NEWTIME NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET.
constexpr uint32_t kNamespaceFlags = 0x7e020080;

using Program = std::vector<sock_filter>;

sock_filter Statement(uint16_t code, uint32_t k) { return {code, 0, 0, k}; }
sock_filter Jump(uint16_t code, uint32_t k, size_t jt, size_t jf) {
  return {code, static_cast<uint8_t>(jt), static_cast<uint8_t>(jf), k};
}
sock_filter Return(uint32_t value) { return Statement(BPF_RET | BPF_K, value); }
sock_filter Errno(int error) { return Return(SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)); }
// The low half: the kernel reads ints, and a 64-bit compare would be passed by garbage in the high half (CVE-2019-7303).
sock_filter LoadLow(int argument) {
  return Statement(BPF_LD | BPF_W | BPF_ABS,
                   static_cast<uint32_t>(offsetof(seccomp_data, args) + 8 * static_cast<size_t>(argument)));
}
const uint16_t kEqual = BPF_JMP | BPF_JEQ | BPF_K, kAtLeast = BPF_JMP | BPF_JGE | BPF_K, kAnyBit = BPF_JMP | BPF_JSET | BPF_K;
const uint32_t kAllow = SECCOMP_RET_ALLOW;

Program Leaf(Action action, SeccompProfile profile) {
  const bool isTemplate = profile == SeccompProfile::Template;
  switch (action) {
    case Action::Allow:
      return {Return(kAllow)};
    case Action::Deny:
      return {Errno(EPERM)};
    case Action::Missing:
      return {Errno(ENOSYS)};
    case Action::Debug:
      return {profile == SeccompProfile::Debug ? Return(kAllow) : Errno(EPERM)};
    case Action::Template:
      return {isTemplate ? Return(kAllow) : Errno(EPERM)};
    case Action::TemplateClone3:
      return {isTemplate ? Return(kAllow) : Errno(ENOSYS)};
    case Action::Clone:
      return {LoadLow(0), Jump(kAnyBit, kNamespaceFlags, 0, 1), Errno(EPERM), Return(kAllow)};
    case Action::Ioctl:  // TIOCSTI, TIOCLINUX: typing into somebody's terminal
      return {LoadLow(1), Jump(kEqual, 0x5412, 1, 0), Jump(kEqual, 0x541c, 0, 1), Errno(EPERM), Return(kAllow)};
    case Action::Personality:
      return {LoadLow(0), Jump(kEqual, 0, 1, 0), Jump(kEqual, 0xffffffff, 0, 1), Return(kAllow), Errno(EPERM)};
    case Action::Seccomp:  // a listener would let the agent supervise, and stall, its own calls
      return {LoadLow(1), Jump(kAnyBit, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0, 1), Errno(EPERM), Return(kAllow)};
    case Action::Prctl:  // PR_SET_MM: with rights in a user namespace of its own, a process chooses what /proc/<pid>/exe says it is
      return {LoadLow(0), Jump(kEqual, 35, 0, 1), Errno(EPERM), Return(kAllow)};
    case Action::Socket:
      // AF_UNIX any; AF_INET and AF_INET6 with the protocols 0, ICMP, TCP, UDP, ICMPv6 (no MPTCP, SMC, raw ones);
      // AF_NETLINK only ROUTE. Every other family is out: ALG, VSOCK, PACKET, XDP, RXRPC, …
      return {LoadLow(0),
              Jump(kEqual, 1, 12, 0),
              Jump(kEqual, 16, 9, 0),
              Jump(kEqual, 2, 2, 0),
              Jump(kEqual, 10, 1, 0),
              Errno(EPERM),
              LoadLow(2),
              Jump(kEqual, 0, 6, 0),
              Jump(kEqual, 6, 5, 0),
              Jump(kEqual, 17, 4, 0),
              Jump(kEqual, 1, 3, 0),
              Jump(kEqual, 58, 2, 4),
              LoadLow(2),
              Jump(kEqual, 0, 0, 1),
              Return(kAllow),
              Errno(EPERM),
              Errno(EPROTONOSUPPORT)};
  }
  return {Errno(EPERM)};
}

struct Range {
  uint32_t first;
  Action action;
};

std::vector<Range> Ranges() {
  std::map<uint32_t, Action> byNumber;
  for (const Call& call : kCalls) byNumber[call.number] = call.action;
  std::vector<Range> ranges{{0, Action::Missing}};
  uint32_t next = 0;
  for (auto [number, action] : byNumber) {
    if (number != next && ranges.back().action != Action::Missing) ranges.push_back({next, Action::Missing});
    if (ranges.back().first == number) ranges.back().action = action;
    else if (ranges.back().action != action) ranges.push_back({number, action});
    next = number + 1;
  }
  ranges.push_back({next, Action::Missing});
  return ranges;
}

Program Tree(const std::vector<Range>& ranges, size_t from, size_t to, SeccompProfile profile) {
  if (to - from == 1) return Leaf(ranges[from].action, profile);
  const size_t middle = (from + to) / 2;
  Program low = Tree(ranges, from, middle, profile), high = Tree(ranges, middle, to, profile), program;
  if (low.size() <= 255) {
    program.push_back(Jump(kAtLeast, ranges[middle].first, low.size(), 0));
  } else {
    program.push_back(Jump(kAtLeast, ranges[middle].first, 0, 1));
    program.push_back(Statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(low.size())));
  }
  program.insert(program.end(), low.begin(), low.end());
  program.insert(program.end(), high.begin(), high.end());
  return program;
}

Program Build(SeccompProfile profile) {
  Program program{Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
                  // 32-bit entry points would reach calls under other numbers (socketcall): no such process may live.
                  Jump(kEqual, kArch, 1, 0), Return(SECCOMP_RET_KILL_PROCESS),
                  Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
#if defined(__x86_64__)
  program.push_back(Jump(kAnyBit, 0x40000000, 0, 1));  // x32
  program.push_back(Return(SECCOMP_RET_KILL_PROCESS));
#endif
  const std::vector<Range> ranges = Ranges();
  Program tree = Tree(ranges, 0, ranges.size(), profile);
  program.insert(program.end(), tree.begin(), tree.end());
  return program;
}

const char* ActionName(Action action, bool debugProfile) {
  switch (action) {
    case Action::Allow: return "allow";
    case Action::Deny: return "EPERM";
    case Action::Missing: return "ENOSYS";
    case Action::Clone: return "allow without CLONE_NEW*, else EPERM";
    case Action::Ioctl: return "allow without TIOCSTI and TIOCLINUX, else EPERM";
    case Action::Socket: return "allow UNIX, INET, INET6 (TCP, UDP, ICMP), NETLINK_ROUTE, else EPERM";
    case Action::Personality: return "allow 0 and 0xffffffff, else EPERM";
    case Action::Seccomp: return "allow without NEW_LISTENER, else EPERM";
    case Action::Prctl: return "allow without PR_SET_MM, else EPERM";
    case Action::Debug: return debugProfile ? "allow" : "EPERM";
    case Action::Template: return "EPERM";
    case Action::TemplateClone3: return "ENOSYS";
  }
  return "EPERM";
}

}  // namespace

const Program& SeccompProgram(SeccompProfile profile) {
  static const Program programs[] = {Build(SeccompProfile::Normal), Build(SeccompProfile::Debug), Build(SeccompProfile::Template)};
  return programs[static_cast<int>(profile)];
}

uint64_t SeccompHash(bool debugProfile) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const sock_filter& instruction : SeccompProgram(debugProfile ? SeccompProfile::Debug : SeccompProfile::Normal)) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&instruction);
    for (size_t i = 0; i < sizeof instruction; i++) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
  }
  return hash;
}

std::string SeccompListing(bool debugProfile) {
  std::vector<Call> calls(std::begin(kCalls), std::end(kCalls));
  std::sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) { return a.number < b.number; });
#if defined(__x86_64__)
  std::string json = "{\"arch\":\"x86_64\",\"calls\":[";
#else
  std::string json = "{\"arch\":\"aarch64\",\"calls\":[";
#endif
  for (size_t i = 0; i < calls.size(); i++) {
    char line[160];
    snprintf(line, sizeof line, "%s{\"name\":\"%s\",\"nr\":%u,\"action\":\"%s\"}", i == 0 ? "" : ",", calls[i].name,
             calls[i].number, ActionName(calls[i].action, debugProfile));
    json += line;
  }
  return json + "]}";
}

}  // namespace clove
