// Poller: waits for sockets, and for other threads that want to be heard (epoll). What a wait costs goes by what has happened, not by how
// many sockets there are: hundreds of watches that are silent cost nothing.
//
// Level-triggered: what is ready and was not dealt with comes again with the next wait. For one thread, but for wake().
#pragma once
#include <chrono>
#include <deque>
#include <optional>

namespace reconcile {

class Poller {
 public:
  struct Ready {
    int socket = -1;
    bool readable = false, writable = false, broken = false;  // broken: an error or a hang-up, beside the others or alone
  };

  Poller();  // throws std::system_error when the process has no descriptors left
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  void watch(int socket, bool read, bool write);  // from now on, in place of what was asked before; must be taken back before it is closed
  void forget(int socket);                        // also what wait() has found of it; no-op for one that isn't watched
  // Until something is ready, wake() is called, or `limit` has passed; then next() hands out what was found, each socket once.
  void wait(std::chrono::milliseconds limit);
  std::optional<Ready> next();
  void wake();  // any thread; before a wait it ends the next one

 private:
  int epoll_, bell_;
  std::deque<Ready> ready_;
};

}  // namespace reconcile
