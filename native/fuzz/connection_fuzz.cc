// connection_fuzz SEED SECONDS: feeds one connection a stream of good and broken frames, cut anywhere, answers its requests
// in any order, and compares all that comes out with what a plain reading of the whole stream says.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <ctime>

#include "../addon/wire_connection.h"
#include "fuzz_support.h"

using namespace clove::fuzz;
using namespace clove::wire;

namespace {

constexpr uint32_t kHeaderId = 77;
constexpr uint8_t kRawOpcode = 0xFF;

const std::vector<std::string_view> kDictionary = {
    "TNGA", "TNG", std::string_view("\0\0\0\0", 4), std::string_view("\x05\0\0\0\0\0\0\0", 8),
    std::string_view("\x01\0\x10\0\0\0\0\0", 8), "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "{\"a\":1}", "[", "null"};

std::string FrameOf(uint8_t opcode, uint32_t agentId, std::string_view payload) {
  std::string frame(kHeaderBytes, '\0');
  WriteHeader(reinterpret_cast<uint8_t*>(frame.data()), agentId, opcode, payload.size());
  return frame.append(payload);
}

std::string MakeStream(Random& random) {
  std::string stream;
  for (size_t frames = random.Below(12); frames > 0; --frames) {
    const uint8_t opcodes[] = {kOpcodeNoop, kOpcodeNoop, 0x30, 0x21, kRawOpcode};
    const size_t sizes[] = {0, 1, 16, 100, 5000};
    const std::string payload(sizes[random.Below(5)], random.OneIn(3) ? 'x' : '7');
    stream += FrameOf(opcodes[random.Below(5)], static_cast<uint32_t>(random.Next()), payload);
  }
  return stream;
}

struct Expected {
  std::string answers;
  std::vector<std::string> requests;
  bool failed = false;
};

/// The plain reading: one pass over the whole stream, no state.
Expected Read(std::string_view stream) {
  Expected expected;
  while (!stream.empty()) {
    const size_t magicBytes = stream.size() < 4 ? stream.size() : 4;
    if (stream.substr(0, magicBytes) != std::string_view("TNGA").substr(0, magicBytes)) {
      expected.failed = true;
      const uint8_t opcode = stream.size() > 8 ? static_cast<uint8_t>(stream[8]) : 0xFF;
      expected.answers += FrameOf(opcode, kHeaderId, R"({"code":"PROTOCOL","error":"bad magic","success":false})");
      return expected;
    }
    if (stream.size() < 17) return expected;
    const uint8_t opcode = static_cast<uint8_t>(stream[8]);
    uint64_t length;
    memcpy(&length, stream.data() + 9, 8);
    if (length > 1048576) {
      expected.failed = true;
      expected.answers += FrameOf(
          opcode, kHeaderId,
          R"({"code":"PAYLOAD_TOO_LARGE","error":"payload is larger than 1048576 bytes","success":false})");
      return expected;
    }
    if (stream.size() - 17 < length) return expected;
    const std::string payload(stream.substr(17, length));
    expected.answers += FrameOf(opcode, kHeaderId, payload);
    if (opcode != kOpcodeNoop) expected.requests.push_back(payload);
    stream.remove_prefix(17 + length);
  }
  return expected;
}

class Trial {
 public:
  Trial(Random& random, int epollFd, uint8_t* scratch, size_t scratchBytes)
      : random_(random),
        handoff_(1 << 20, [](void*) {}, nullptr),
        guard_(random.Next()),
        shared_{limits_, raw_, counters_, handoff_, guard_, epollFd, scratch, scratchBytes} {
    raw_.set(kRawOpcode);
    limits_.outstandingRequests = 1 + static_cast<uint32_t>(random.Below(6));
    limits_.outstandingBytes = 1 + random.Below(8000);
    limits_.handoffRequests = 1 + static_cast<uint32_t>(random.Below(3));
    limits_.outputBytes = 1 + random.Below(20000);
  }

  void Run(std::string_view stream) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) Die("socketpair", stream);
    UniqueFd peer(pair[1]);
    peer_ = peer.Get();
    Connection connection(&shared_, kFirstConnection, kHeaderId, 1, UniqueFd(pair[0]));
    if (connection.Register() != 0) Die("epoll_ctl", stream);
    size_t position = 0;
    for (size_t idle = 0; idle < 40;) {
      bool moved = false;
      if (position < stream.size() && !random_.OneIn(3)) {
        const size_t piece = 1 + random_.Below(random_.OneIn(2) ? 40 : 9000);
        const ssize_t n = send(peer_, stream.data() + position, std::min(piece, stream.size() - position), MSG_NOSIGNAL);
        if (n > 0) position += static_cast<size_t>(n);
        moved = n > 0;
        if (n < 0 && errno != EAGAIN) position = stream.size();
      }
      if (!connection.Dead()) connection.OnEvents(random_.OneIn(4) ? EPOLLIN | EPOLLOUT : EPOLLIN);
      moved |= Collect();
      moved |= AnswerSome(connection);
      if (!connection.Dead() && connection.NeedsAttention()) connection.OnAttention();
      moved |= Receive();
      idle = moved || position < stream.size() || !waiting_.empty() ? 0 : idle + 1;
    }
    connection.Unregister();
    Compare(stream);
  }

 private:
  bool Collect() {
    handoff_.Publish();
    Batch batch;
    handoff_.Take(&batch);
    for (const RequestEvent& event : batch.requests) {
      std::string payload = batch.bytes.substr(event.offset, event.size);
      if (event.refused) payload.clear();
      waiting_.push_back({event, static_cast<uint32_t>(requests_.size())});
      requests_.push_back({event.refused, std::move(payload)});
    }
    return !batch.requests.empty();
  }

  /// Answers with the index of the request: the payload is compared apart, for it may have been refused.
  bool AnswerSome(Connection& connection) {
    bool any = false;
    while (!waiting_.empty() && !random_.OneIn(4)) {
      const size_t pick = random_.Below(waiting_.size());
      const Waiting waiting = waiting_[pick];
      waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(pick));
      Response response = {kFirstConnection, waiting.event.sequence,
                           FrameOf(waiting.event.opcode, 0, "#" + std::to_string(waiting.index))};
      if (connection.Dead()) continue;
      if (!connection.Answer(&response)) Die("an answer was not awaited", "");
      connection.Flush();
      any = true;
    }
    return any;
  }

  bool Receive() {
    char buffer[4096];
    const ssize_t n = recv(peer_, buffer, 1 + random_.Below(sizeof buffer), 0);
    if (n > 0) received_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  void Compare(std::string_view stream) {
    const Expected expected = Read(stream);
    if (requests_.size() != expected.requests.size()) Die("number of requests", stream);
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (!requests_[i].refused && requests_[i].payload != expected.requests[i]) Die("payload of a request", stream);
    }
    std::string answers;
    std::string_view rest = expected.answers;
    for (uint32_t request = 0; !rest.empty();) {
      uint64_t length;
      memcpy(&length, rest.data() + 9, 8);
      const uint8_t opcode = static_cast<uint8_t>(rest[8]);
      const bool isError = expected.failed && rest.size() == 17 + length;
      if (opcode == kOpcodeNoop || isError) {
        answers.append(rest.substr(0, 17 + length));
      } else {
        answers += FrameOf(opcode, kHeaderId, "#" + std::to_string(request++));
      }
      rest.remove_prefix(17 + length);
    }
    if (received_ == answers) return;
    // The opcode of a bad magic is only known when its bytes came at once.
    const size_t kErrorBytes = 17 + strlen(R"({"code":"PROTOCOL","error":"bad magic","success":false})");
    if (expected.failed && received_.size() == answers.size() && answers.size() >= kErrorBytes) {
      received_[answers.size() - kErrorBytes + 8] = answers[answers.size() - kErrorBytes + 8];
      if (received_ == answers) return;
    }
    Die("answers", stream);
  }

  struct Waiting {
    RequestEvent event;
    uint32_t index;
  };
  struct Seen {
    bool refused;
    std::string payload;
  };

  Random& random_;
  Limits limits_;
  OpcodeSet raw_;
  Counters counters_;
  Handoff handoff_;
  JsonGuard guard_;
  Shared shared_;
  int peer_ = -1;
  std::vector<Waiting> waiting_;
  std::vector<Seen> requests_;
  std::string received_;
};

}  // namespace

#ifdef CLOVE_LIBFUZZER
// How the bytes are cut and answered is in the first of them, so that an input does the same each time.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  static std::vector<uint8_t> scratch(3000);
  uint64_t seed = 0;
  if (size < sizeof seed) return 0;
  memcpy(&seed, data, sizeof seed);
  Random random(seed);
  const std::string_view stream(reinterpret_cast<const char*>(data) + sizeof seed, size - sizeof seed);
  Trial(random, epoll.Get(), scratch.data(), scratch.size()).Run(stream);
  return 0;
}
#else
int main(int argc, char** argv) {
  if (argc != 3) return 2;
  Random random(strtoull(argv[1], nullptr, 10));
  const time_t end = time(nullptr) + atoi(argv[2]);
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  // Smaller than in earnest, so that frames are often cut by it.
  std::vector<uint8_t> scratch(3000);
  std::vector<std::string> corpus = {MakeStream(random)};
  uint64_t runs = 0;
  while (time(nullptr) < end) {
    std::string stream = random.OneIn(2) ? MakeStream(random) : corpus[random.Below(corpus.size())];
    if (!random.OneIn(3)) Mutate(random, &stream, kDictionary, corpus);
    ResetCoverage();
    Trial(random, epoll.Get(), scratch.data(), scratch.size()).Run(stream);
    if (ReachedNew() && stream.size() < 50'000) corpus.push_back(std::move(stream));
    ++runs;
  }
  printf("%llu runs, %zu edges, %zu kept\n", static_cast<unsigned long long>(runs), EdgesReached(), corpus.size());
  return 0;
}
#endif
