// One connection: bytes in, frames, requests waiting for their answers, bytes out. Answers leave in the order of requests.
//
// Everything here happens under the server's state lock. "Wire thread" marks what only the epoll thread may call;
// answers may be given by JavaScript's thread too, which saves them the way through the epoll thread.
#pragma once
#include <deque>
#include <string>

#include "wire_buffer.h"
#include "wire_fd.h"
#include "wire_frame.h"
#include "wire_handoff.h"
#include "wire_json_guard.h"
#include "wire_types.h"

namespace clove::wire {

/// What an epoll event points to.
struct Source {
  enum class Kind : uint8_t { kWake, kListener, kConnection };
  const Kind kind;
  explicit Source(Kind k) : kind(k) {}
};

/// What connections use of their server.
struct Shared {
  const Limits& limits;
  const OpcodeSet& rawOpcodes;
  Counters& counters;
  Handoff& handoff;
  JsonGuard& guard;
  int epollFd;
  /// Bytes read at once: the budget of one connection in one turn of the loop.
  uint8_t* scratch;
  size_t scratchBytes;
};

uint64_t NowMs();

class Connection : public Source {
 public:
  /// `headerId`: the agent id that headers of answers carry.
  Connection(Shared* shared, uint32_t id, uint32_t headerId, uint32_t listener, UniqueFd fd);

  uint32_t Id() const { return id_; }
  uint32_t Listener() const { return listener_; }
  /// To be destroyed by the wire thread.
  bool Dead() const { return dead_; }
  bool Stalled() const { return state_ == Input::kStalled; }

  /// Wire thread. Returns the errno of epoll_ctl, or 0.
  int Register();
  void Unregister();
  void OnEvents(uint32_t events);
  /// Wire thread: does what became possible after answers were given or room was made.
  void OnAttention();
  /// Wire thread: 0 = no deadline.
  uint64_t DeadlineMs() const;
  void OnDeadline();
  bool tracked = false;

  /// Ends the connection; what can be sent at once still is.
  void Kill();
  /// Takes one answer; false when no request with this sequence waits for one. Flush() sends.
  bool Answer(Response* response);
  void Flush();
  /// Whether OnAttention() has something to do.
  bool NeedsAttention() const;
  bool touched = false;

  uint64_t TakeNativeCount();

 private:
  enum class Input : uint8_t {
    kReading,
    /// A bound was reached: not read until it is below half again.
    kStalled,
    /// The peer sent its last byte; answers are still owed.
    kEnded,
    /// Protocol error: the error frame is the last answer.
    kFailed,
    /// All is sent: incoming bytes are swallowed a little, so that the peer can read the error before the reset.
    kLingering,
  };
  struct Slot {
    bool ready;
    uint32_t requestBytes;
    std::string frame;
  };

  void Read(bool hungUp);
  void ReadRest();
  void Resume();
  size_t Consume(uint8_t* data, size_t size);
  void ConsumeStored();
  void NoteProgress(bool frameEnded);
  void TakeRequest(uint8_t* data, const Frame& frame);
  void PushSlot(bool ready, uint32_t requestBytes, std::string frame);
  void Fail(uint8_t opcode, const char* code, const char* message);
  void Swallow();
  bool HasRoom(size_t moreOutput) const;
  bool HasPlentyOfRoom() const;
  bool HandoffHasRoom() const;
  void Emit(const uint8_t* data, size_t size);
  void Drain();
  size_t Send(const uint8_t* data, size_t size);
  void DropOutput();
  void Settle();
  void UpdateInterest();

  Shared* const shared_;
  const uint32_t id_;
  const uint32_t headerId_;
  const uint32_t listener_;
  UniqueFd fd_;
  Input state_ = Input::kReading;
  bool dead_ = false;
  bool registered_ = false;
  /// The peer is gone in both directions, but not all it sent has been read.
  bool hungUp_ = false;
  /// Nobody reads answers any more.
  bool outputDead_ = false;
  uint32_t interest_ = 0;

  /// Bytes read and not consumed: part of a frame, or all that came when a bound was reached.
  ByteQueue input_;
  uint64_t frameSinceMs_ = 0;
  uint64_t lastByteMs_ = 0;
  uint64_t endMs_ = 0;
  size_t swallowed_ = 0;

  std::deque<Slot> slots_;
  /// Sequence of slots_.front(), or of the next request when there is none.
  uint64_t headSequence_ = 1;
  uint64_t outstandingBytes_ = 0;
  /// Answers that wait in slots_ for an earlier one.
  uint64_t readyBytes_ = 0;
  uint64_t nativeCount_ = 0;
  /// Requests handed over since JavaScript last took some (Handoff::Epoch).
  uint32_t handedOver_ = 0;
  uint64_t handoffEpoch_ = 0;

  /// Answers that the socket did not take yet.
  ByteQueue output_;
};

}  // namespace clove::wire
