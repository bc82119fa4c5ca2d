#include "reconcile/kube/ends.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

using reconcile::ends_of;

namespace {

struct Socket {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Socket() {
    const int on = 1;
    REQUIRE(fd >= 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(fd); }
  static sockaddr_in loopback(int port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<std::uint16_t>(port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
  }
  int bind_to(int port) const {
    const auto a = loopback(port);
    REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0);
    sockaddr_in got{};
    socklen_t size = sizeof got;
    REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&got), &size) == 0);
    return ntohs(got.sin_port);
  }
  void connect_to(int port) const {
    const auto a = loopback(port);
    REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0);
  }
};

}  // namespace

TEST_CASE("two connections from one port of ours, to two servers, are told apart", "[curl_env]") {
  Socket one, other, to_one, to_other;
  const int first = one.bind_to(0), second = other.bind_to(0);
  REQUIRE(listen(one.fd, 1) == 0);
  REQUIRE(listen(other.fd, 1) == 0);
  const int ours = to_one.bind_to(0);
  to_other.bind_to(ours);
  to_one.connect_to(first);
  to_other.connect_to(second);
  CHECK(ends_of(to_one.fd) == reconcile::Ends{.peer = "127.0.0.1", .peer_port = first, .port = ours});
  CHECK(ends_of(to_other.fd) == reconcile::Ends{.peer = "127.0.0.1", .peer_port = second, .port = ours});
  CHECK_FALSE(ends_of(to_one.fd) == ends_of(to_other.fd));
  CHECK(ends_of(one.fd) == reconcile::Ends());  // it is connected to nobody
}
