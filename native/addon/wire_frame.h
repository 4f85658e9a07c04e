// The 17-byte frame header: magic u32 | agent id u32 | opcode u8 | payload length u64, little-endian.
// Reads bytes only; owns nothing and allocates nothing, so that a hostile length costs nothing.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace clove::wire {

static_assert(std::endian::native == std::endian::little, "header fields are copied as they lie in memory");

constexpr uint32_t kMagic = 0x41474E54;
constexpr size_t kHeaderBytes = 17;
constexpr uint64_t kMaxPayloadBytes = 1 << 20;
constexpr uint8_t kOpcodeNoop = 0x00;
/// Opcode of an error answer to bytes that end before the opcode.
constexpr uint8_t kOpcodeUnknown = 0xFF;

constexpr size_t kAgentIdOffset = 4;
constexpr size_t kOpcodeOffset = 8;
constexpr size_t kLengthOffset = 9;

enum class Scan { kFrame, kIncomplete, kBadMagic, kTooLarge };

struct Frame {
  uint8_t opcode = kOpcodeUnknown;
  size_t payloadBytes = 0;
};

/// Looks at the frame that starts at data[0]. kFrame: all kHeaderBytes + payloadBytes bytes are there.
/// A wrong magic is told from its first wrong byte, so that a stranger is not waited for.
inline Scan ScanFrame(const uint8_t* data, size_t size, Frame* frame) {
  frame->opcode = size > kOpcodeOffset ? data[kOpcodeOffset] : kOpcodeUnknown;
  frame->payloadBytes = 0;
  const size_t magicBytes = size < sizeof kMagic ? size : sizeof kMagic;
  if (memcmp(data, &kMagic, magicBytes) != 0) return Scan::kBadMagic;
  if (size < kHeaderBytes) return Scan::kIncomplete;
  uint64_t length;
  memcpy(&length, data + kLengthOffset, sizeof length);
  if (length > kMaxPayloadBytes) return Scan::kTooLarge;
  frame->payloadBytes = static_cast<size_t>(length);
  return size - kHeaderBytes < frame->payloadBytes ? Scan::kIncomplete : Scan::kFrame;
}

inline void WriteHeader(uint8_t* out, uint32_t agentId, uint8_t opcode, uint64_t payloadBytes) {
  memcpy(out, &kMagic, sizeof kMagic);
  memcpy(out + kAgentIdOffset, &agentId, sizeof agentId);
  out[kOpcodeOffset] = opcode;
  memcpy(out + kLengthOffset, &payloadBytes, sizeof payloadBytes);
}

}  // namespace clove::wire
