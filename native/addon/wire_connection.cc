#include "wire_connection.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cstdio>

namespace clove::wire {

namespace {

/// How much a peer may still send after a protocol error before it is cut off.
constexpr size_t kSwallowBytes = 16 << 20;

}  // namespace

uint64_t NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

Connection::Connection(Shared* shared, uint32_t id, uint32_t headerId, uint32_t listener, UniqueFd fd)
    : Source(Kind::kConnection), shared_(shared), id_(id), headerId_(headerId), listener_(listener), fd_(std::move(fd)) {}

int Connection::Register() {
  epoll_event event = {};
  event.events = interest_ = EPOLLIN;
  event.data.ptr = static_cast<Source*>(this);
  if (epoll_ctl(shared_->epollFd, EPOLL_CTL_ADD, fd_.Get(), &event) != 0) return errno;
  registered_ = true;
  return 0;
}

/// Needed before close(): a forked child that has not executed yet holds the descriptor too, and epoll would go on with it.
void Connection::Unregister() {
  if (registered_) epoll_ctl(shared_->epollFd, EPOLL_CTL_DEL, fd_.Get(), nullptr);
  registered_ = false;
}

void Connection::OnEvents(uint32_t events) {
  const bool hungUp = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if ((events & EPOLLOUT) != 0) Drain();
  switch (state_) {
    case Input::kReading:
      if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Read(hungUp);
      break;
    case Input::kStalled:
      // A hang-up cannot be masked and would be told without end.
      if (hungUp) {
        hungUp_ = true;
        Unregister();
      }
      break;
    case Input::kLingering:
      if (hungUp) {
        dead_ = true;
      } else if ((events & EPOLLIN) != 0) {
        Swallow();
      }
      break;
    case Input::kEnded:
    case Input::kFailed:
      if (hungUp) dead_ = true;
      break;
  }
  Settle();
}

void Connection::OnAttention() { Settle(); }

/// Goes on with what was read before a bound was reached.
void Connection::Resume() {
  while (!dead_ && state_ == Input::kStalled && HasPlentyOfRoom()) {
    // Asked for before the last look, so that room made in between is not missed.
    if (!HandoffHasRoom()) shared_->handoff.WaitForRoom();
    if (!HandoffHasRoom()) return;
    state_ = Input::kReading;
    ConsumeStored();
    if (hungUp_) ReadRest();
  }
}

void Connection::Read(bool hungUp) {
  const ssize_t n = recv(fd_.Get(), shared_->scratch, shared_->scratchBytes, 0);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    dead_ = true;
    return;
  }
  if (n == 0) {
    // What the peer sent of an unfinished frame is lost with its end.
    if (!input_.Empty()) ++shared_->counters.protocolErrors;
    input_.Clear();
    state_ = Input::kEnded;
    if (hungUp) dead_ = true;
    return;
  }
  const size_t size = static_cast<size_t>(n);
  shared_->counters.bytesReceived += size;
  if (input_.Empty()) {
    const size_t used = Consume(shared_->scratch, size);
    if (used < size) {
      input_.Append(shared_->scratch + used, size - used);
      NoteProgress(true);
    }
  } else {
    input_.Append(shared_->scratch, size);
    ConsumeStored();
  }
}

/// The rest of what a peer sent before it hung up; epoll no longer tells about it.
void Connection::ReadRest() {
  while (!dead_ && state_ == Input::kReading) Read(true);
  if (state_ != Input::kStalled) dead_ = true;
}

void Connection::ConsumeStored() {
  const size_t used = Consume(input_.Data(), input_.Size());
  // A protocol error has emptied the store.
  if (!input_.Empty()) input_.Drop(used);
  NoteProgress(used > 0);
}

void Connection::NoteProgress(bool frameEnded) {
  if (input_.Empty()) return;
  lastByteMs_ = NowMs();
  if (frameEnded) frameSinceMs_ = lastByteMs_;
}

/// Takes whole frames off the front; returns how many bytes. A run of NOOPs with nothing before it is answered with
/// the very bytes it came in, only the agent id replaced.
size_t Connection::Consume(uint8_t* data, size_t size) {
  size_t position = 0;
  size_t runStart = 0;
  uint64_t runFrames = 0;
  auto emitRun = [&] {
    if (runFrames == 0) return;
    shared_->counters.framesReceived += runFrames;
    shared_->counters.framesSent += runFrames;
    shared_->counters.answeredNatively += runFrames;
    headSequence_ += runFrames;
    nativeCount_ += runFrames;
    runFrames = 0;
    Emit(data + runStart, position - runStart);
  };
  while (position < size) {
    if (!HasRoom(position - runStart)) {
      state_ = Input::kStalled;
      break;
    }
    Frame frame;
    const Scan scan = ScanFrame(data + position, size - position, &frame);
    if (scan == Scan::kIncomplete) break;
    if (scan != Scan::kFrame) {
      emitRun();
      if (scan == Scan::kBadMagic) {
        Fail(frame.opcode, "PROTOCOL", "bad magic");
      } else {
        Fail(frame.opcode, "PAYLOAD_TOO_LARGE", "payload is larger than 1048576 bytes");
      }
      return size;
    }
    const size_t frameBytes = kHeaderBytes + frame.payloadBytes;
    if (frame.opcode == kOpcodeNoop && slots_.empty()) {
      memcpy(data + position + kAgentIdOffset, &headerId_, sizeof headerId_);
      ++runFrames;
      position += frameBytes;
      continue;
    }
    emitRun();
    TakeRequest(data + position, frame);
    position += frameBytes;
    runStart = position;
  }
  emitRun();
  return position;
}

void Connection::TakeRequest(uint8_t* data, const Frame& frame) {
  ++shared_->counters.framesReceived;
  const uint32_t requestBytes = static_cast<uint32_t>(frame.payloadBytes);
  const char* payload = reinterpret_cast<const char*>(data) + kHeaderBytes;
  if (frame.opcode == kOpcodeNoop) {
    // An earlier request still waits for its answer, so this one waits for its turn.
    memcpy(data + kAgentIdOffset, &headerId_, sizeof headerId_);
    ++shared_->counters.answeredNatively;
    ++nativeCount_;
    PushSlot(true, requestBytes, std::string(reinterpret_cast<const char*>(data), kHeaderBytes + frame.payloadBytes));
    return;
  }
  const uint64_t epoch = shared_->handoff.Epoch();
  handedOver_ = handoffEpoch_ == epoch ? handedOver_ + 1 : 1;
  handoffEpoch_ = epoch;
  RequestEvent event = {};
  event.connection = id_;
  event.sequence = headSequence_ + slots_.size();
  event.opcode = frame.opcode;
  PushSlot(false, requestBytes, std::string());
  JsonGuard& guard = shared_->guard;
  if (shared_->rawOpcodes[frame.opcode]) {
    shared_->handoff.Request(event, {payload, frame.payloadBytes});
  } else if (guard.Check(payload, frame.payloadBytes)) {
    event.ascii = guard.Ascii();
    shared_->handoff.Request(event, {payload, frame.payloadBytes});
  } else {
    event.refused = true;
    shared_->handoff.Request(event, guard.Reason());
  }
}

/// The error takes its turn behind the answers that are owed; then the connection ends.
void Connection::Fail(uint8_t opcode, const char* code, const char* message) {
  ++shared_->counters.protocolErrors;
  state_ = Input::kFailed;
  endMs_ = NowMs() + shared_->limits.failedMs;
  input_.Clear();
  char json[160];
  const int n = snprintf(json, sizeof json, R"({"code":"%s","error":"%s","success":false})", code, message);
  const size_t size = static_cast<size_t>(n);
  std::string frame(kHeaderBytes, '\0');
  WriteHeader(reinterpret_cast<uint8_t*>(frame.data()), headerId_, opcode, size);
  frame.append(json, size);
  PushSlot(true, 0, std::move(frame));
  Flush();
}

void Connection::Swallow() {
  const ssize_t n = recv(fd_.Get(), shared_->scratch, shared_->scratchBytes, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) swallowed_ += static_cast<size_t>(n);
  if (n <= 0 || swallowed_ > kSwallowBytes) dead_ = true;
}

/// Wire thread: draws the consequences of what has just happened.
void Connection::Settle() {
  if (state_ == Input::kStalled) Resume();
  if (dead_) return;
  const bool allSent = slots_.empty() && output_.Empty();
  if (state_ == Input::kEnded && (allSent || outputDead_)) {
    dead_ = true;
  } else if (state_ == Input::kFailed && outputDead_) {
    dead_ = true;
  } else if (state_ == Input::kFailed && allSent) {
    shutdown(fd_.Get(), SHUT_WR);
    state_ = Input::kLingering;
    endMs_ = NowMs() + shared_->limits.lingerMs;
  }
  if (!dead_) UpdateInterest();
}

void Connection::UpdateInterest() {
  if (!registered_) return;
  uint32_t interest = 0;
  if (state_ == Input::kReading || state_ == Input::kLingering) interest |= EPOLLIN;
  if (!output_.Empty()) interest |= EPOLLOUT;
  if (interest == interest_) return;
  epoll_event event = {};
  event.events = interest_ = interest;
  event.data.ptr = static_cast<Source*>(this);
  epoll_ctl(shared_->epollFd, EPOLL_CTL_MOD, fd_.Get(), &event);
}

uint64_t Connection::DeadlineMs() const {
  const Limits& limits = shared_->limits;
  if (state_ == Input::kFailed || state_ == Input::kLingering) return endMs_;
  if (state_ != Input::kReading || input_.Empty()) return 0;
  return std::min(lastByteMs_ + limits.frameSilenceMs, frameSinceMs_ + limits.frameTotalMs);
}

void Connection::OnDeadline() {
  if (state_ != Input::kReading) {
    dead_ = true;
    return;
  }
  Frame frame;
  ScanFrame(input_.Data(), input_.Size(), &frame);
  Fail(frame.opcode, "PROTOCOL", "frame was not completed in time");
  Settle();
}

uint64_t Connection::TakeNativeCount() {
  const uint64_t count = nativeCount_;
  nativeCount_ = 0;
  return count;
}

}  // namespace clove::wire
