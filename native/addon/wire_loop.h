// The epoll thread that owns every socket of one server, and what JavaScript's thread may ask of it.
// No dependency on Node: JavaScript is a function to notify and a queue to take from.
#pragma once
#include <pthread.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "wire_connection.h"
#include "wire_fair_mutex.h"
#include "wire_listener.h"

namespace clove::wire {

class WireLoop {
 public:
  WireLoop(const Limits& limits, const OpcodeSet& rawOpcodes, Handoff::Notify notify, void* context);
  ~WireLoop();
  WireLoop(const WireLoop&) = delete;
  WireLoop& operator=(const WireLoop&) = delete;

  /// Starts the thread; an errno, or 0.
  int Start();
  /// Sends what can be sent at once, ends the thread, closes everything. May be called again.
  void Stop();

  /// The new listener's id, or 0 with the reason.
  uint32_t Listen(const std::string& path, const ListenOptions& options, BindFailure* failure);
  void CloseListener(uint32_t listener);
  void CloseConnection(uint32_t connection);
  /// Takes the answers. Sends at once when the wire thread is not busy, else leaves it to that thread.
  void Respond(std::vector<Response>* responses);
  void TakeBatch(Batch* batch);
  /// The ends told by a batch have been heard: their last figures may go.
  void ForgetClosed(const std::vector<uint32_t>& connections);
  uint64_t TakeNativeCount(uint32_t connection);
  Counters ReadCounters();
  /// Answers that no request waited for, since the last call.
  uint64_t TakeStrayAnswers();

 private:
  static void* ThreadMain(void* self);
  void Run();
  void Handle(Source* source, uint32_t events);
  void HandleWake();
  void Accept(Listener* listener);
  void AcceptWithoutDescriptors(Listener* listener);
  void Watch(Listener* listener, uint32_t events);
  void Adopt(Listener* listener, UniqueFd fd);
  void Track(Connection* connection);
  void RunDeadlines();
  void Destroy(Connection* connection);
  void Sweep();
  int WaitMs() const;
  void Wake();

  // These need state_ held.
  void ApplyAnswers(std::vector<Response>* responses);
  void ApplyQueuedAnswers();
  void RequestAttention(Connection* connection);
  Connection* Find(uint32_t connection);

  const Limits limits_;
  const OpcodeSet rawOpcodes_;
  UniqueFd epoll_;
  UniqueFd wake_;
  /// Kept to be given up for a moment when a connection has to be turned away for want of descriptors.
  UniqueFd reserve_;
  pthread_t thread_ = {};
  bool started_ = false;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> woken_{false};
  std::atomic<bool> roomMade_{false};
  std::atomic<bool> retired_{false};
  Handoff handoff_;
  Source wakeSource_{Source::Kind::kWake};

  // The wire thread's own.
  std::unique_ptr<uint8_t[]> scratch_;
  JsonGuard guard_;
  std::unordered_set<Connection*> timed_;
  std::unordered_set<Listener*> paused_;
  uint64_t deadlinesRunMs_ = 0;
  /// Kept until the end of the turn: epoll may have told about them already.
  std::vector<std::unique_ptr<Connection>> graveyard_;

  /// Guards everything below and every Connection. Held by the wire thread for one event at a time, never while waiting.
  FairMutex state_;
  Counters counters_;
  Shared shared_;
  std::unordered_map<uint32_t, std::unique_ptr<Connection>> connections_;
  std::unordered_map<uint32_t, std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Listener>> retiredListeners_;
  std::vector<uint32_t> attention_;
  std::vector<Connection*> touched_;
  /// NOOPs of connections whose end JavaScript has not heard of yet.
  std::unordered_map<uint32_t, uint64_t> lastNativeCounts_;
  uint32_t lastConnection_ = kFirstConnection - 1;
  uint32_t lastListener_ = 0;
  uint64_t strayAnswers_ = 0;

  std::mutex queueMutex_;
  /// Guarded by queueMutex_: answers that came while the wire thread was busy.
  std::vector<Response> queued_;
};

}  // namespace clove::wire
