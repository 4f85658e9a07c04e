#include "wire_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "responsive.h"
#include "urgent.h"

namespace clove::wire {

namespace {

constexpr int kEventsPerTurn = 64;
constexpr size_t kScratchBytes = 256 << 10;
constexpr int kAcceptsPerTurn = 64;
constexpr uint64_t kAcceptPauseMs = 100;
constexpr uint64_t kDeadlineTickMs = 250;

uint64_t RandomSeed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed)) {
    // Only before the pool is seeded, early at boot: the address space is random as well.
    seed = reinterpret_cast<uintptr_t>(&seed) * 0x9E3779B97F4A7C15ull ^ NowMs();
  }
  return seed;
}

int OpenReserve() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

WireLoop::WireLoop(const Limits& limits, const OpcodeSet& rawOpcodes, Handoff::Notify notify, void* context)
    : limits_(limits),
      rawOpcodes_(rawOpcodes),
      handoff_(limits.handoffBytes, notify, context),
      scratch_(new uint8_t[kScratchBytes]),
      guard_(RandomSeed()),
      shared_{limits_, rawOpcodes_, counters_, handoff_, guard_, -1, scratch_.get(), kScratchBytes} {}

WireLoop::~WireLoop() { Stop(); }

int WireLoop::Start() {
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.Valid()) return errno;
  wake_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.Valid()) return errno;
  reserve_.Reset(OpenReserve());
  shared_.epollFd = epoll_.Get();
  // Edge-triggered: every write tells once, and nobody has to read the count back.
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = &wakeSource_;
  if (epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, wake_.Get(), &event) != 0) return errno;
  // Signals are for JavaScript's thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&thread_, nullptr, &WireLoop::ThreadMain, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return error;
  pthread_setname_np(thread_, "clove-wire");
  started_ = true;
  return 0;
}

void WireLoop::Stop() {
  if (!started_) return;
  {
    std::lock_guard lock(state_);
    ApplyQueuedAnswers();
  }
  stopping_.store(true);
  Wake();
  pthread_join(thread_, nullptr);
  started_ = false;
  connections_.clear();
  for (auto& [id, listener] : listeners_) listener->Close();
  listeners_.clear();
  retiredListeners_.clear();
  counters_.connectionsOpen = 0;
  epoll_.Reset();
  wake_.Reset();
  reserve_.Reset();
}

void* WireLoop::ThreadMain(void* self) {
  StayResponsive(0);
  const UrgentThread urgent;
  static_cast<WireLoop*>(self)->Run();
  return nullptr;
}

void WireLoop::Run() {
  epoll_event events[kEventsPerTurn];
  while (!stopping_.load(std::memory_order_relaxed)) {
    const int n = epoll_wait(epoll_.Get(), events, kEventsPerTurn, WaitMs());
    for (int i = 0; i < n; ++i) Handle(static_cast<Source*>(events[i].data.ptr), events[i].events);
    if (woken_.load(std::memory_order_relaxed)) HandleWake();
    if (!timed_.empty() || !paused_.empty()) RunDeadlines();
    handoff_.Publish();
    Sweep();
  }
}

int WireLoop::WaitMs() const {
  if (timed_.empty() && paused_.empty()) return -1;
  return static_cast<int>(std::min<uint64_t>(kDeadlineTickMs, limits_.frameSilenceMs / 4 + 1));
}

void WireLoop::Handle(Source* source, uint32_t events) {
  if (source->kind == Source::Kind::kWake) return;
  std::lock_guard lock(state_);
  if (source->kind == Source::Kind::kListener) {
    Accept(static_cast<Listener*>(source));
    return;
  }
  Connection* connection = static_cast<Connection*>(source);
  if (!connection->Dead()) connection->OnEvents(events);
  Track(connection);
}

/// Follows up on one connection: watches its deadline, or ends it.
void WireLoop::Track(Connection* connection) {
  if (connection->Dead()) {
    Destroy(connection);
    return;
  }
  const bool timed = connection->DeadlineMs() != 0;
  if (timed == connection->tracked) return;
  connection->tracked = timed;
  if (timed) {
    timed_.insert(connection);
  } else {
    timed_.erase(connection);
  }
}

void WireLoop::HandleWake() {
  woken_.store(false);
  std::lock_guard lock(state_);
  ApplyQueuedAnswers();
  if (roomMade_.exchange(false)) {
    for (auto& [id, connection] : connections_) {
      if (connection->Stalled()) RequestAttention(connection.get());
    }
  }
  std::vector<uint32_t> attention = std::move(attention_);
  attention_.clear();
  for (uint32_t id : attention) {
    Connection* connection = Find(id);
    if (connection == nullptr) continue;
    if (!connection->Dead()) connection->OnAttention();
    Track(connection);
  }
}

void WireLoop::RunDeadlines() {
  const uint64_t now = NowMs();
  if (now < deadlinesRunMs_ + std::min<uint64_t>(kDeadlineTickMs, limits_.frameSilenceMs / 4)) return;
  deadlinesRunMs_ = now;
  std::lock_guard lock(state_);
  std::vector<Connection*> due;
  for (Connection* connection : timed_) {
    if (connection->DeadlineMs() <= now) due.push_back(connection);
  }
  for (Connection* connection : due) {
    connection->OnDeadline();
    Track(connection);
  }
  for (auto it = paused_.begin(); it != paused_.end();) {
    Listener* listener = *it;
    if (now < listener->pausedUntilMs) {
      ++it;
      continue;
    }
    it = paused_.erase(it);
    listener->pausedUntilMs = 0;
    if (!listener->closed) Watch(listener, EPOLLIN);
  }
}

void WireLoop::Accept(Listener* listener) {
  for (int i = 0; i < kAcceptsPerTurn && !listener->closed; ++i) {
    UniqueFd fd(accept4(listener->fd.Get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.Valid()) {
      Adopt(listener, std::move(fd));
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    AcceptWithoutDescriptors(listener);
    return;
  }
}

/// Turns peers away with the descriptor kept for that, rather than leaving them to wait for ever. Where even that fails
/// the listener is left alone for a while: it stays readable, and would be told about without end.
void WireLoop::AcceptWithoutDescriptors(Listener* listener) {
  reserve_.Reset();
  int error = 0;
  for (int i = 0; i < kAcceptsPerTurn && error == 0; ++i) {
    UniqueFd refused(accept4(listener->fd.Get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (refused.Valid()) {
      ++counters_.connectionsRefused;
    } else {
      error = errno;
    }
  }
  reserve_.Reset(OpenReserve());
  if (error == 0 || error == EAGAIN || error == EINTR || error == ECONNABORTED) return;
  Watch(listener, 0);
  listener->pausedUntilMs = NowMs() + kAcceptPauseMs;
  paused_.insert(listener);
}

void WireLoop::Watch(Listener* listener, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.ptr = static_cast<Source*>(listener);
  epoll_ctl(epoll_.Get(), EPOLL_CTL_MOD, listener->fd.Get(), &event);
}

void WireLoop::Adopt(Listener* listener, UniqueFd fd) {
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  const bool known = getsockopt(fd.Get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0;
  if (!known || !listener->Admits(credentials.uid) || listener->connections >= listener->options.maxConnections ||
      lastConnection_ == UINT32_MAX) {
    ++counters_.connectionsRefused;
    return;
  }
  const uint32_t id = lastConnection_ + 1;
  const uint32_t principal = listener->options.principal;
  auto connection = std::make_unique<Connection>(&shared_, id, principal == 0 ? id : principal, listener->id, std::move(fd));
  if (connection->Register() != 0) {
    ++counters_.connectionsRefused;
    return;
  }
  lastConnection_ = id;
  ++listener->connections;
  ++counters_.connectionsTotal;
  ++counters_.connectionsOpen;
  handoff_.Open({id, principal, {credentials.pid, credentials.uid, credentials.gid}});
  connections_.emplace(id, std::move(connection));
}

void WireLoop::Destroy(Connection* connection) {
  auto found = connections_.find(connection->Id());
  if (found == connections_.end()) return;
  connection->Unregister();
  timed_.erase(connection);
  const uint64_t nativeCount = connection->TakeNativeCount();
  if (nativeCount > 0) lastNativeCounts_[connection->Id()] = nativeCount;
  auto listener = listeners_.find(connection->Listener());
  if (listener != listeners_.end()) --listener->second->connections;
  --counters_.connectionsOpen;
  handoff_.Close(connection->Id());
  graveyard_.push_back(std::move(found->second));
  connections_.erase(found);
}

/// What epoll may have told about in this turn can go now.
void WireLoop::Sweep() {
  graveyard_.clear();
  if (!retired_.load(std::memory_order_relaxed)) return;
  std::lock_guard lock(state_);
  retired_.store(false);
  for (auto& listener : retiredListeners_) paused_.erase(listener.get());
  retiredListeners_.clear();
}

void WireLoop::Wake() {
  if (woken_.exchange(true)) return;
  const uint64_t one = 1;
  // Cannot fail but by overflow, and then the thread has been told 2^64 times.
  (void)!write(wake_.Get(), &one, sizeof one);
}

}  // namespace clove::wire
