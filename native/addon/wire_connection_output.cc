// The half of a connection that answers: the queue of requests waiting for theirs, and the bytes on their way out.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "wire_connection.h"

namespace clove::wire {

void Connection::PushSlot(bool ready, uint32_t requestBytes, std::string frame) {
  outstandingBytes_ += requestBytes;
  readyBytes_ += frame.size();
  slots_.push_back({ready, requestBytes, std::move(frame)});
}

bool Connection::HasRoom(size_t moreOutput) const {
  const Limits& limits = shared_->limits;
  return slots_.size() < limits.outstandingRequests && outstandingBytes_ < limits.outstandingBytes &&
         output_.Size() + readyBytes_ + moreOutput < limits.outputBytes && HandoffHasRoom();
}

bool Connection::HandoffHasRoom() const {
  const Handoff& handoff = shared_->handoff;
  return handoff.HasRoom() &&
         (handedOver_ < shared_->limits.handoffRequests || handoffEpoch_ != handoff.Epoch());
}

/// Below half of its own bounds.
bool Connection::HasPlentyOfRoom() const {
  const Limits& limits = shared_->limits;
  return slots_.size() <= limits.outstandingRequests / 2 && outstandingBytes_ <= limits.outstandingBytes / 2 &&
         output_.Size() + readyBytes_ <= limits.outputBytes / 2;
}

bool Connection::Answer(Response* response) {
  if (response->sequence < headSequence_) return false;
  const uint64_t index = response->sequence - headSequence_;
  if (index >= slots_.size()) return false;
  Slot& slot = slots_[index];
  if (slot.ready) return false;
  slot.ready = true;
  slot.frame = std::move(response->frame);
  memcpy(slot.frame.data() + kAgentIdOffset, &headerId_, sizeof headerId_);
  readyBytes_ += slot.frame.size();
  return true;
}

void Connection::Flush() {
  while (!slots_.empty() && slots_.front().ready) {
    Slot slot = std::move(slots_.front());
    slots_.pop_front();
    ++headSequence_;
    ++shared_->counters.framesSent;
    outstandingBytes_ -= slot.requestBytes;
    readyBytes_ -= slot.frame.size();
    const uint8_t* frame = reinterpret_cast<const uint8_t*>(slot.frame.data());
    const bool last = slots_.empty() || !slots_.front().ready;
    if (last && output_.Empty()) {
      Emit(frame, slot.frame.size());
    } else if (!outputDead_) {
      output_.Append(frame, slot.frame.size());
      if (last && (interest_ & EPOLLOUT) == 0) Drain();
    }
  }
  if (output_.Size() + readyBytes_ > shared_->limits.outputBytesHard) {
    ++shared_->counters.protocolErrors;
    dead_ = true;
  }
  UpdateInterest();
}

void Connection::Kill() {
  Flush();
  dead_ = true;
}

bool Connection::NeedsAttention() const {
  if (dead_) return true;
  if (state_ == Input::kStalled) return HasPlentyOfRoom();
  const bool ending = state_ == Input::kEnded || state_ == Input::kFailed;
  return ending && (outputDead_ || (slots_.empty() && output_.Empty()));
}

/// Sends at once if nothing waits; keeps the rest.
void Connection::Emit(const uint8_t* data, size_t size) {
  if (outputDead_) return;
  size_t sent = 0;
  if (output_.Empty()) sent = Send(data, size);
  if (sent < size && !outputDead_) output_.Append(data + sent, size - sent);
}

void Connection::Drain() {
  if (output_.Empty()) return;
  const size_t sent = Send(output_.Data(), output_.Size());
  if (!output_.Empty()) output_.Drop(sent);
}

size_t Connection::Send(const uint8_t* data, size_t size) {
  for (;;) {
    const ssize_t n = send(fd_.Get(), data, size, MSG_NOSIGNAL);
    if (n >= 0) {
      shared_->counters.bytesSent += static_cast<uint64_t>(n);
      return static_cast<size_t>(n);
    }
    if (errno == EINTR) continue;
    // A peer that reads no more may still have sent requests; reading goes on to its end.
    if (errno != EAGAIN) DropOutput();
    return 0;
  }
}

void Connection::DropOutput() {
  outputDead_ = true;
  output_.Clear();
}

}  // namespace clove::wire
