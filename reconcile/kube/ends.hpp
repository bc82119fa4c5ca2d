// Ends: both ends of a TCP connection, to know it again by. The port of ours alone may be that of another one, to another server.
#pragma once
#include <string>

namespace reconcile {

struct Ends {
  std::string peer;
  int peer_port = 0, port = 0;
  friend bool operator==(const Ends&, const Ends&) = default;
};
Ends ends_of(int socket);  // empty: it has none (any more)

}  // namespace reconcile
