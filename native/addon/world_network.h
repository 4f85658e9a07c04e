// The network of an agent in a world: a namespace with nothing but lo, in which every address is local.
#pragma once
#include <stdint.h>

#include <string>
#include <vector>

#include "sandbox_fd.h"

namespace clove {

struct WorldNetworkRequest {
  std::string address4, address6;  // the agent's own, where its servers are reached; left to its own sockets
  std::vector<uint16_t> ports;     // listened on where connections to every port cannot be caught
};

struct WorldNetwork {
  Fd space;              // the namespace
  Fd link;               // keeps the program attached that sends connections to every port to `any`
  Fd any;                // listener for connections to every port; invalid = `listeners` are all there is
  Fd dnsTcp, dnsUdp;     // port 53, on every address
  std::vector<std::pair<uint16_t, Fd>> listeners;
  std::string reason;    // why `any` could not be had
  int error = 0;         // errno of what failed altogether
  const char* step = "";
};

/** Makes one. On failure `error` and `step` say what and nothing remains. */
WorldNetwork MakeWorldNetwork(const WorldNetworkRequest& request);

/** A connected socket inside of a namespace, or -errno. */
int ConnectInside(int space, const std::string& address, uint16_t port, int timeoutMs);

/** Sends every TCP connection of the namespace (but those to loopback and to its own addresses) to one listener. */
Fd CatchConnections(int space, int listener, const std::string& address4, const std::string& address6, std::string& reason);

}  // namespace clove
