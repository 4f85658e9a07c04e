// A listener for every port at once: a BPF program at the point where the kernel looks for the socket of a new
// connection (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9). It sees addresses and ports only and can do nothing but choose.
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "world_network.h"

namespace clove {
namespace {

long Bpf(int command, bpf_attr& attributes) { return syscall(SYS_bpf, command, &attributes, sizeof attributes); }

constexpr bpf_insn Instruction(uint8_t code, uint8_t to, uint8_t from, int16_t offset, int32_t value) {
  return {code, static_cast<uint8_t>(to & 15), static_cast<uint8_t>(from & 15), offset, value};
}
constexpr bpf_insn Move(uint8_t to, uint8_t from) { return Instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
constexpr bpf_insn Set(uint8_t to, int32_t value) { return Instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value); }
constexpr bpf_insn Load(uint8_t to, uint8_t from, size_t offset) {
  return Instruction(BPF_LDX | BPF_MEM | BPF_W, to, from, static_cast<int16_t>(offset), 0);
}
/** 32 bits, so that a value with its highest bit set is not widened. */
constexpr bpf_insn JumpIfEqual(uint8_t value, uint32_t constant, int16_t over) {
  return Instruction(BPF_JMP32 | BPF_JEQ | BPF_K, value, 0, over, static_cast<int32_t>(constant));
}
constexpr bpf_insn JumpUnlessEqual(uint8_t value, uint32_t constant, int16_t over) {
  return Instruction(BPF_JMP32 | BPF_JNE | BPF_K, value, 0, over, static_cast<int32_t>(constant));
}
constexpr bpf_insn Call(int32_t helper) { return Instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }

constexpr uint8_t R0 = 0, R1 = 1, R2 = 2, R3 = 3, R6 = 6, R7 = 7, R10 = 10;

/** Jumps to a common end are written as 0 and filled in when its place is known. */
class Program {
 public:
  void Add(bpf_insn instruction) { code_.push_back(instruction); }
  void ToEnd(bpf_insn jump) {
    ends_.push_back(code_.size());
    code_.push_back(jump);
  }
  /** Goes to the end when all four words are these. */
  void PassAddress6(const uint32_t words[4]) {
    for (int i = 0; i < 4; i++) {
      Add(Load(R2, R6, offsetof(bpf_sk_lookup, local_ip6) + static_cast<size_t>(i) * 4));
      // Over the rest of this comparison: two instructions a word.
      if (i < 3) Add(JumpUnlessEqual(R2, words[i], static_cast<int16_t>((3 - i) * 2)));
    }
    ToEnd(JumpIfEqual(R2, words[3], 0));
  }
  std::vector<bpf_insn>& Finish() {
    const size_t end = code_.size();
    for (const size_t at : ends_) code_[at].off = static_cast<int16_t>(end - at - 1);
    Add(Set(R0, SK_PASS));
    Add(Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
    return code_;
  }

 private:
  std::vector<bpf_insn> code_;
  std::vector<size_t> ends_;
};

std::vector<bpf_insn> Write(int map, const std::string& address4, const std::string& address6) {
  uint32_t own4 = 0, own6[4] = {}, loopback6[4] = {0, 0, 0, htonl(1)};
  const bool has4 = inet_pton(AF_INET, address4.c_str(), &own4) == 1, has6 = inet_pton(AF_INET6, address6.c_str(), own6) == 1;
  Program program;
  program.Add(Move(R6, R1));
  program.Add(Load(R2, R6, offsetof(bpf_sk_lookup, protocol)));
  program.ToEnd(JumpUnlessEqual(R2, IPPROTO_TCP, 0));
  program.Add(Load(R2, R6, offsetof(bpf_sk_lookup, family)));
  // IPv4: 127.0.0.0/8 is the agent's own, as everywhere.
  const size_t own = has4 ? 1 : 0;
  program.Add(JumpUnlessEqual(R2, AF_INET, static_cast<int16_t>(4 + own)));
  program.Add(Load(R2, R6, offsetof(bpf_sk_lookup, local_ip4)));
  if (has4) program.ToEnd(JumpIfEqual(R2, own4, 0));
  program.Add(Instruction(BPF_ALU | BPF_AND | BPF_K, R2, 0, 0, static_cast<int32_t>(htonl(0xff000000))));
  program.ToEnd(JumpIfEqual(R2, htonl(0x7f000000), 0));
  program.Add(Instruction(BPF_JMP | BPF_JA, 0, 0, static_cast<int16_t>(has6 ? 16 : 8), 0));
  program.PassAddress6(loopback6);
  if (has6) program.PassAddress6(own6);
  // The one listener.
  program.Add(Instruction(BPF_ST | BPF_MEM | BPF_W, R10, 0, -4, 0));
  program.Add(Move(R2, R10));
  program.Add(Instruction(BPF_ALU64 | BPF_ADD | BPF_K, R2, 0, 0, -4));
  program.Add(Instruction(BPF_LD | BPF_DW | BPF_IMM, R1, BPF_PSEUDO_MAP_FD, 0, map));
  program.Add(Instruction(0, 0, 0, 0, 0));
  program.Add(Call(BPF_FUNC_map_lookup_elem));
  program.ToEnd(Instruction(BPF_JMP | BPF_JEQ | BPF_K, R0, 0, 0, 0));
  program.Add(Move(R7, R0));
  program.Add(Move(R1, R6));
  program.Add(Move(R2, R7));
  program.Add(Set(R3, 0));
  program.Add(Call(BPF_FUNC_sk_assign));
  program.Add(Move(R1, R7));
  program.Add(Call(BPF_FUNC_sk_release));
  return program.Finish();
}

}  // namespace

Fd CatchConnections(int space, int listener, const std::string& address4, const std::string& address6, std::string& reason) {
  const auto fail = [&](const char* what) {
    reason = std::string(what) + ": " + strerrorname_np(errno);
    return Fd();
  };
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_SOCKMAP;
  attributes.key_size = 4;
  attributes.value_size = 8;
  attributes.max_entries = 1;
  const Fd map(static_cast<int>(Bpf(BPF_MAP_CREATE, attributes)));
  if (!map.valid()) return fail("map of sockets");
  uint32_t key = 0;
  uint64_t value = static_cast<uint64_t>(listener);
  attributes = {};
  attributes.map_fd = static_cast<uint32_t>(map.get());
  attributes.key = reinterpret_cast<uint64_t>(&key);
  attributes.value = reinterpret_cast<uint64_t>(&value);
  if (Bpf(BPF_MAP_UPDATE_ELEM, attributes) != 0) return fail("listener in the map");
  const std::vector<bpf_insn> code = Write(map.get(), address4, address6);
  attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_SK_LOOKUP;
  attributes.expected_attach_type = BPF_SK_LOOKUP;
  attributes.insns = reinterpret_cast<uint64_t>(code.data());
  attributes.insn_cnt = static_cast<uint32_t>(code.size());
  attributes.license = reinterpret_cast<uint64_t>("MIT");
  const Fd program(static_cast<int>(Bpf(BPF_PROG_LOAD, attributes)));
  if (!program.valid()) return fail("program");
  attributes = {};
  attributes.link_create.prog_fd = static_cast<uint32_t>(program.get());
  attributes.link_create.target_fd = static_cast<uint32_t>(space);
  attributes.link_create.attach_type = BPF_SK_LOOKUP;
  Fd link(static_cast<int>(Bpf(BPF_LINK_CREATE, attributes)));
  if (!link.valid()) return fail("attachment");
  return link;
}

}  // namespace clove
