#include "reconcile/kube/ends.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

namespace reconcile {

namespace {

std::pair<std::string, int> address_of(const sockaddr_storage& a) {
  char text[INET6_ADDRSTRLEN] = {};
  if (a.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(a);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return {text, ntohs(v6.sin6_port)};
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(a);
  inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  return {text, ntohs(v4.sin_port)};
}

}  // namespace

Ends ends_of(int socket) {
  sockaddr_storage ours{}, theirs{};
  socklen_t size = sizeof ours, their_size = sizeof theirs;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&ours), &size) != 0) return {};
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&theirs), &their_size) != 0) return {};
  auto [peer, peer_port] = address_of(theirs);
  return {std::move(peer), peer_port, address_of(ours).second};
}

}  // namespace reconcile
