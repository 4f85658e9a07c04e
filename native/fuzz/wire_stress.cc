// wire_stress FOLDER SEED SECONDS: the whole server with everything at once, for the thread and address sanitizers:
// clients that call, pipeline, break the protocol, half-close and vanish, while "JavaScript" answers late and in any
// order, closes connections and listeners, and reads figures. Every answer must come in the order of its request.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <ctime>
#include <thread>

#include "../addon/wire_loop.h"
#include "fuzz_support.h"

using namespace clove::fuzz;
using namespace clove::wire;

namespace {

constexpr uint8_t kStore = 0x30;

std::atomic<bool> ending{false};
std::atomic<uint64_t> answered{0};

/// The way in which the loop tells that there is something to take.
struct Doorbell {
  std::mutex mutex;
  std::condition_variable changed;
  bool rung = false;

  static void Ring(void* self) {
    Doorbell* bell = static_cast<Doorbell*>(self);
    std::lock_guard lock(bell->mutex);
    bell->rung = true;
    bell->changed.notify_one();
  }
  void Wait() {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::milliseconds(2), [this] { return rung; });
    rung = false;
  }
};

std::string FrameOf(uint8_t opcode, std::string_view payload) {
  std::string frame(kHeaderBytes, '\0');
  WriteHeader(reinterpret_cast<uint8_t*>(frame.data()), 0, opcode, payload.size());
  return frame.append(payload);
}

int Dial(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

/// Numbered requests down, numbered answers up. False when the connection is of no more use.
bool Converse(int fd, Random& random) {
  const uint32_t count = 1 + static_cast<uint32_t>(random.Below(200));
  std::string bytes;
  for (uint32_t i = 0; i < count; ++i) bytes += FrameOf(random.OneIn(2) ? kOpcodeNoop : kStore, std::to_string(i));
  const size_t wanted = bytes.size();
  const bool junk = random.OneIn(8);
  if (junk) bytes += "this is not a frame";
  size_t sent = 0;
  std::string received;
  const bool vanish = random.OneIn(10);
  const bool halfClose = random.OneIn(4);
  while (received.size() < wanted) {
    pollfd poll_ = {fd, static_cast<short>(POLLIN | (sent < bytes.size() ? POLLOUT : 0)), 0};
    poll(&poll_, 1, 1000);
    if ((poll_.revents & POLLOUT) != 0) {
      const size_t piece = std::min(bytes.size() - sent, 1 + random.Below(5000));
      const ssize_t n = send(fd, bytes.data() + sent, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) return false;
      if (n > 0) sent += static_cast<size_t>(n);
      if (sent == bytes.size() && halfClose) shutdown(fd, SHUT_WR);
      if (vanish && sent > bytes.size() / 2) return false;
    }
    if ((poll_.revents & (POLLIN | POLLHUP)) != 0) {
      char buffer[8192];
      const ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN)) break;
      if (n > 0) received.append(buffer, static_cast<size_t>(n));
    }
  }
  const size_t compared = std::min(received.size(), wanted);
  for (size_t at = 0, i = 0; at + kHeaderBytes <= compared; ++i) {
    uint64_t length;
    memcpy(&length, received.data() + at + kLengthOffset, sizeof length);
    if (at + kHeaderBytes + length > compared) break;
    if (received.compare(at + kHeaderBytes, length, std::to_string(i)) != 0) Die("answers out of order", received);
    at += kHeaderBytes + length;
    answered.fetch_add(1, std::memory_order_relaxed);
  }
  return !junk && !halfClose && received.size() == wanted;
}

void Client(const std::string& folder, uint64_t seed) {
  Random random(seed);
  while (!ending.load()) {
    const int fd = Dial(folder + (random.OneIn(3) ? "/b" : "/a"));
    if (fd < 0) {
      usleep(500);
      continue;
    }
    for (size_t rounds = 1 + random.Below(3); rounds > 0 && Converse(fd, random); --rounds) {
    }
    close(fd);
  }
}

struct Kernel {
  WireLoop& loop;
  Random random;
  std::vector<Response> waiting;
  std::vector<uint32_t> open;

  void Take() {
    Batch batch;
    loop.TakeBatch(&batch);
    for (const OpenEvent& event : batch.opens) open.push_back(event.connection);
    for (const RequestEvent& event : batch.requests) {
      waiting.push_back({event.connection, event.sequence,
                         FrameOf(event.opcode, std::string_view(batch.bytes).substr(event.offset, event.size))});
    }
    for (uint32_t closed : batch.closes) std::erase(open, closed);
    loop.ForgetClosed(batch.closes);
  }

  void AnswerSome() {
    std::vector<Response> now;
    while (!waiting.empty() && !random.OneIn(20)) {
      std::swap(waiting[random.Below(waiting.size())], waiting.back());
      now.push_back(std::move(waiting.back()));
      waiting.pop_back();
      if (random.OneIn(30)) loop.Respond(&now);
    }
    loop.Respond(&now);
  }

  void Disturb(uint32_t* listener, const std::string& path) {
    BindFailure failure;
    if (!open.empty() && random.OneIn(50)) loop.CloseConnection(open[random.Below(open.size())]);
    if (!open.empty() && random.OneIn(10)) loop.TakeNativeCount(open[random.Below(open.size())]);
    if (random.OneIn(100)) {
      loop.CloseListener(*listener);
      *listener = loop.Listen(path, Options(), &failure);
      if (*listener == 0) Die("cannot listen again", failure.message);
    }
    if (random.OneIn(10)) loop.ReadCounters();
  }

  static ListenOptions Options() {
    ListenOptions options;
    options.maxConnections = 6;
    return options;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string folder = argv[1];
  const uint64_t seed = strtoull(argv[2], nullptr, 10);
  Doorbell bell;
  Limits limits;
  limits.outstandingRequests = 50;
  limits.outputBytes = 2000;
  limits.handoffRequests = 10;
  limits.handoffBytes = 5000;
  limits.failedMs = limits.lingerMs = 20;
  limits.frameSilenceMs = 50;
  WireLoop loop(limits, OpcodeSet(1), Doorbell::Ring, &bell);
  if (loop.Start() != 0) Die("cannot start", "");
  BindFailure failure;
  loop.Listen(folder + "/a", Kernel::Options(), &failure);
  uint32_t second = loop.Listen(folder + "/b", Kernel::Options(), &failure);
  if (second == 0) Die("cannot listen", failure.message);
  std::vector<std::thread> clients;
  for (uint64_t i = 0; i < 6; ++i) clients.emplace_back(Client, folder, seed * 100 + i);
  Kernel kernel = {loop, Random(seed), {}, {}};
  const time_t end = time(nullptr) + atoi(argv[3]);
  while (time(nullptr) < end) {
    bell.Wait();
    kernel.Take();
    kernel.AnswerSome();
    kernel.Disturb(&second, folder + "/b");
  }
  ending.store(true);
  const Counters counters = loop.ReadCounters();
  loop.Stop();
  for (std::thread& client : clients) client.join();
  printf("%llu answers in order, %llu connections, %llu protocol errors\n",
         static_cast<unsigned long long>(answered.load()), static_cast<unsigned long long>(counters.connectionsTotal),
         static_cast<unsigned long long>(counters.protocolErrors));
  return answered.load() > 0 ? 0 : 1;
}
