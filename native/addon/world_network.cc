#include "world_network.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "world_thread.h"

namespace clove {
namespace {

constexpr int kBacklog = 512;

bool LoopbackUp() {
  const Fd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return control.valid() && ioctl(control.get(), SIOCSIFFLAGS, &request) == 0;
}

/** `ip route add local default dev lo`: every address of the family is this machine. */
bool EverythingLocal(unsigned char family) {
  const Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!netlink.valid()) return false;
  struct {
    nlmsghdr header;
    rtmsg route;
    rtattr attribute;
    uint32_t interface;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = RTM_NEWROUTE;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  message.route.rtm_family = family;
  message.route.rtm_table = RT_TABLE_LOCAL;
  message.route.rtm_protocol = RTPROT_BOOT;
  message.route.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  message.route.rtm_type = RTN_LOCAL;
  message.attribute.rta_type = RTA_OIF;
  message.attribute.rta_len = RTA_LENGTH(sizeof message.interface);
  message.interface = if_nametoindex("lo");
  if (send(netlink.get(), &message, sizeof message, 0) < 0) return false;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } answer{};
  if (recv(netlink.get(), &answer, sizeof answer, 0) < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(int))) return false;
  if (answer.header.nlmsg_type != NLMSG_ERROR) {
    errno = EBADMSG;
    return false;
  }
  errno = -answer.error.error;
  return answer.error.error == 0;
}

/** A socket on every address of both families. */
Fd Everywhere(int type, uint16_t port) {
  Fd socketFd(socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socketFd.valid()) return Fd();
  const int off = 0, on = 1;
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (setsockopt(socketFd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
      setsockopt(socketFd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(socketFd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return Fd();
  if (type == SOCK_STREAM && listen(socketFd.get(), kBacklog) != 0) return Fd();
  return socketFd;
}

void Make(const WorldNetworkRequest& request, WorldNetwork& network) {
  const auto fail = [&](const char* step) {
    network.error = errno == 0 ? EIO : errno;
    network.step = step;
  };
  if (unshare(CLONE_NEWNET) != 0) return fail("unshare");
  network.space = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!network.space.valid()) return fail("open of the namespace");
  if (!LoopbackUp()) return fail("loopback");
  if (!EverythingLocal(AF_INET)) return fail("route of IPv4");
  if (!EverythingLocal(AF_INET6)) return fail("route of IPv6");
  network.dnsUdp = Everywhere(SOCK_DGRAM, 53);
  if (!network.dnsUdp.valid()) return fail("DNS over UDP");
  network.dnsTcp = Everywhere(SOCK_STREAM, 53);
  if (!network.dnsTcp.valid()) return fail("DNS over TCP");
  network.any = Everywhere(SOCK_STREAM, 0);
  if (!network.any.valid()) return fail("listener");
  network.link = CatchConnections(network.space.get(), network.any.get(), request.address4, request.address6, network.reason);
  if (network.link.valid()) return;
  network.any.reset();
  for (const uint16_t port : request.ports) {
    Fd listener = Everywhere(SOCK_STREAM, port);
    if (!listener.valid()) return fail("listener");
    network.listeners.push_back({port, std::move(listener)});
  }
}

int Connect(const std::string& address, uint16_t port, int timeoutMs) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof *v4;
  } else if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof *v6;
  } else {
    return -EINVAL;
  }
  Fd connection(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!connection.valid()) return -errno;
  if (connect(connection.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0) return connection.release();
  if (errno != EINPROGRESS) return -errno;
  pollfd wait{connection.get(), POLLOUT, 0};
  const int ready = poll(&wait, 1, timeoutMs);
  if (ready <= 0) return ready == 0 ? -ETIMEDOUT : -errno;
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) return -errno;
  return error != 0 ? -error : connection.release();
}

}  // namespace

WorldNetwork MakeWorldNetwork(const WorldNetworkRequest& request) {
  WorldNetwork network;
  OnOwnThread([&] { Make(request, network); });
  return network;
}

int ConnectInside(int space, const std::string& address, uint16_t port, int timeoutMs) {
  int result = -EIO;
  OnOwnThread([&] { result = setns(space, CLONE_NEWNET) != 0 ? -errno : Connect(address, port, timeoutMs); });
  return result;
}

}  // namespace clove
