// What JavaScript's thread asks of the server: all of it takes the state lock for a moment, and none of it waits for peers.
#include <errno.h>
#include <sys/epoll.h>

#include "wire_loop.h"

namespace clove::wire {

uint32_t WireLoop::Listen(const std::string& path, const ListenOptions& options, BindFailure* failure) {
  auto listener = std::make_unique<Listener>(lastListener_ + 1, options);
  if (!listener->Bind(path, failure)) return 0;
  std::lock_guard lock(state_);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.ptr = static_cast<Source*>(listener.get());
  if (epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, listener->fd.Get(), &event) != 0) {
    *failure = {"IO", "cannot watch " + path, nullptr, errno};
    listener->Close();
    return 0;
  }
  const uint32_t id = ++lastListener_;
  listeners_.emplace(id, std::move(listener));
  return id;
}

void WireLoop::CloseListener(uint32_t id) {
  {
    std::lock_guard lock(state_);
    ApplyQueuedAnswers();
    auto found = listeners_.find(id);
    if (found == listeners_.end()) return;
    Listener* listener = found->second.get();
    epoll_ctl(epoll_.Get(), EPOLL_CTL_DEL, listener->fd.Get(), nullptr);
    listener->Close();
    for (auto& [connectionId, connection] : connections_) {
      if (connection->Listener() != id) continue;
      connection->Kill();
      RequestAttention(connection.get());
    }
    retiredListeners_.push_back(std::move(found->second));
    retired_.store(true);
    listeners_.erase(found);
  }
  Wake();
}

void WireLoop::CloseConnection(uint32_t id) {
  {
    std::lock_guard lock(state_);
    ApplyQueuedAnswers();
    Connection* connection = Find(id);
    if (connection == nullptr) return;
    connection->Kill();
    RequestAttention(connection);
  }
  Wake();
}

void WireLoop::Respond(std::vector<Response>* responses) {
  // The wire thread may be in the middle of a large event; JavaScript does not wait for that.
  std::unique_lock lock(state_, std::try_to_lock);
  if (!lock.owns_lock()) {
    {
      std::lock_guard queueLock(queueMutex_);
      for (Response& response : *responses) queued_.push_back(std::move(response));
    }
    responses->clear();
    Wake();
    return;
  }
  ApplyAnswers(responses);
  const bool wake = !attention_.empty();
  lock.unlock();
  if (wake) Wake();
}

void WireLoop::ApplyAnswers(std::vector<Response>* responses) {
  for (Response& response : *responses) {
    Connection* connection = Find(response.connection);
    if (connection == nullptr || connection->Dead()) continue;
    if (!connection->Answer(&response)) {
      ++strayAnswers_;
      continue;
    }
    if (connection->touched) continue;
    connection->touched = true;
    touched_.push_back(connection);
  }
  responses->clear();
  for (Connection* connection : touched_) {
    connection->touched = false;
    connection->Flush();
    if (connection->NeedsAttention()) RequestAttention(connection);
  }
  touched_.clear();
}

void WireLoop::ApplyQueuedAnswers() {
  std::vector<Response> responses;
  {
    std::lock_guard queueLock(queueMutex_);
    responses.swap(queued_);
  }
  if (!responses.empty()) ApplyAnswers(&responses);
}

void WireLoop::RequestAttention(Connection* connection) { attention_.push_back(connection->Id()); }

Connection* WireLoop::Find(uint32_t id) {
  auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

void WireLoop::TakeBatch(Batch* batch) {
  if (!handoff_.Take(batch)) return;
  roomMade_.store(true);
  Wake();
}

void WireLoop::ForgetClosed(const std::vector<uint32_t>& connections) {
  if (connections.empty()) return;
  std::lock_guard lock(state_);
  for (uint32_t id : connections) lastNativeCounts_.erase(id);
}

uint64_t WireLoop::TakeNativeCount(uint32_t id) {
  std::lock_guard lock(state_);
  if (Connection* connection = Find(id)) return connection->TakeNativeCount();
  auto found = lastNativeCounts_.find(id);
  if (found == lastNativeCounts_.end()) return 0;
  const uint64_t count = found->second;
  lastNativeCounts_.erase(found);
  return count;
}

Counters WireLoop::ReadCounters() {
  std::lock_guard lock(state_);
  return counters_;
}

uint64_t WireLoop::TakeStrayAnswers() {
  std::lock_guard lock(state_);
  const uint64_t count = strayAnswers_;
  strayAnswers_ = 0;
  return count;
}

}  // namespace clove::wire
