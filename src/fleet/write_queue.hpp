// WriteQueue: what wants to be written, in the order it came, a bounded number at a time. It holds tickets, not requests: a request is
// made when its turn has come, from the state of then, so that a long queue never writes what is no longer true.
//
// Two lanes: what can wait (renewals of leases, thousands at once after a restart) gets every fourth turn while there is other work.
//
// When the API server is away, or says that it is too busy, everything stops; one write at a time finds out when it is back (0.25 s to
// 5 s apart, or as Retry-After says), and then as many as may be in flight come back one by one with each success.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "reconcile/base/env.hpp"

namespace endstate::fleet {

using Ticket = std::uint64_t;
enum class Lane : std::uint8_t { prompt, patient };

struct WriteQueueOptions {
  std::size_t max_in_flight = 32;
  std::chrono::milliseconds first_pause{250}, last_pause{5'000}, longest_retry_after{60'000};
};
struct WriteQueueHooks {
  // The request of now; nullopt: it isn't wanted any more.
  std::function<std::optional<reconcile::Call>(Ticket)> make;
  // It was answered: done, or refused. `body`: the object as it was stored, or "".
  std::function<void(Ticket, const reconcile::Result<void>&, std::string_view body)> answered;
  // It was not answered; it stays in the queue, and make() will be asked again.
  std::function<void(Ticket, const reconcile::Error&)> unanswered;
};

class WriteQueue {
 public:
  WriteQueue(reconcile::Env& env, WriteQueueOptions options, WriteQueueHooks hooks);
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  void add(Ticket ticket, Lane lane = Lane::prompt);  // again while it waits: no change
  std::size_t waiting() const { return queued_.size(); }
  std::size_t in_flight() const { return flights_.size(); }
  bool paused() const { return pause_ != nullptr; }

 private:
  struct Flight {
    Lane lane{};
    reconcile::Handle handle;
    std::string body;
  };
  void pump();
  std::pair<Ticket, Lane> take();
  void send(Ticket ticket, Lane lane, reconcile::Call call);
  void ended(Ticket ticket, const reconcile::Result<void>& result);
  void hold(const reconcile::Error& error);

  reconcile::Env& env_;
  WriteQueueOptions options_;
  WriteQueueHooks hooks_;
  std::deque<Ticket> lanes_[2];
  unsigned turns_ = 0;
  std::unordered_set<Ticket> queued_;
  std::unordered_map<Ticket, Flight> flights_;
  std::size_t limit_;
  std::chrono::milliseconds next_pause_;
  reconcile::Handle pause_;  // set while everything stops
  reconcile::Handle turn_;   // pump() is to come: never from inside the caller's add()
};

}  // namespace endstate::fleet
