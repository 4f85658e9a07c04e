// Calls between processes, as many as there can be: `calls` serves and prints its port; `calls PORT COUNT` calls, and prints how many
// calls ran out of time. Between two calls it sleeps a little, so that time jumps all the while.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr int kDayMs = 86'400'000;
/** Virtual: longer than any machine stands still, and over at once when time jumps while a call is on its way. */
constexpr int kTimeoutMs = 20'000;

int Serve() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 || listen(listener, 64) != 0) return 1;
  getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  printf("port %d\n", ntohs(at.sin_port));
  fflush(stdout);
  for (;;) {
    pollfd waited = {listener, POLLIN, 0};
    if (poll(&waited, 1, kDayMs) != 1) continue;
    const int peer = accept(listener, nullptr, nullptr);
    char text[64];
    const ssize_t length = read(peer, text, sizeof text);
    if (length > 0 && write(peer, text, static_cast<size_t>(length)) != length) return 1;
    close(peer);
  }
}

int Call(int port, int count) {
  int late = 0;
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(static_cast<uint16_t>(port));
  for (int i = 0; i < count; i++) {
    const int peer = socket(AF_INET, SOCK_STREAM, 0);
    // Ended by a reset: a port is free again at once.
    const linger none = {1, 0};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    char text[64];
    if (connect(peer, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || write(peer, "call", 4) != 4) return 1;
    pollfd waited = {peer, POLLIN, 0};
    if (poll(&waited, 1, kTimeoutMs) == 0) late++;
    else if (read(peer, text, sizeof text) != 4) return 1;
    close(peer);
    usleep(static_cast<useconds_t>(1000 + i % 7 * 500));
  }
  printf("%d\n", late);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return argc < 3 ? Serve() : Call(atoi(argv[1]), atoi(argv[2])); }
