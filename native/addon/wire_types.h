// Plain values that the parts of the wire server share.
#pragma once
#include <sys/types.h>

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace clove::wire {

/// Bounds of one server. Every queue has one: a peer that exceeds it is no longer read until it is below half of it.
struct Limits {
  /// Requests of one connection that wait for their answer, or for their turn to be answered.
  uint32_t outstandingRequests = 1024;
  /// Payload bytes of those requests.
  uint64_t outstandingBytes = 4 << 20;
  /// Answer bytes that one peer has not read yet.
  uint64_t outputBytes = 4 << 20;
  /// The same, answers that came after reading was stopped included: beyond, the connection is closed.
  uint64_t outputBytesHard = 64 << 20;
  /// Requests of one connection that JavaScript has not taken yet: what others may have to wait behind.
  uint32_t handoffRequests = 128;
  /// Request bytes of all connections that JavaScript has not taken yet.
  uint64_t handoffBytes = 32 << 20;
  /// A frame that was begun: longest silence, and longest time in all.
  uint32_t frameSilenceMs = 10'000;
  uint32_t frameTotalMs = 60'000;
  /// After a protocol error: how long owed answers are waited for, and how long what still comes in is swallowed.
  uint32_t failedMs = 1'000;
  uint32_t lingerMs = 500;
};

/// Connections are numbered from here, never twice; agents, with whom they share the header field, stay below.
constexpr uint32_t kFirstConnection = 1u << 30;

struct Peer {
  int32_t pid = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct OpenEvent {
  uint32_t connection;
  uint32_t principal;
  Peer peer;
};

struct RequestEvent {
  uint64_t sequence;
  uint32_t connection;
  /// Where payload, or the reason of the refusal, lies in Batch::bytes.
  uint32_t offset;
  uint32_t size;
  uint8_t opcode;
  bool refused;
  bool ascii;
};

/// What JavaScript has to be told. To keep each connection's order: opens first, then requests, then closes.
struct Batch {
  std::vector<OpenEvent> opens;
  std::vector<RequestEvent> requests;
  std::string bytes;
  std::vector<uint32_t> closes;

  bool Empty() const { return opens.empty() && requests.empty() && closes.empty(); }
};

/// One answer: a whole frame, header included; its agent id is filled in by the connection.
struct Response {
  uint32_t connection;
  uint64_t sequence;
  std::string frame;
};

struct Counters {
  uint64_t connectionsOpen = 0;
  uint64_t connectionsTotal = 0;
  uint64_t connectionsRefused = 0;
  uint64_t framesReceived = 0;
  uint64_t framesSent = 0;
  uint64_t bytesReceived = 0;
  uint64_t bytesSent = 0;
  uint64_t protocolErrors = 0;
  uint64_t answeredNatively = 0;
};

struct ListenOptions {
  /// Whose socket it is: an agent id, or 0.
  uint32_t principal = 0;
  mode_t mode = 0600;
  bool changeOwner = false;
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  bool anyUid = true;
  std::vector<uint32_t> allowUids;
  uint32_t maxConnections = 0;
};

using OpcodeSet = std::bitset<256>;

}  // namespace clove::wire
