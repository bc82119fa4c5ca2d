#include "src/fleet/write_queue.hpp"

#include <algorithm>

namespace endstate::fleet {

using reconcile::Code, reconcile::Error, reconcile::Result;

WriteQueue::WriteQueue(reconcile::Env& env, WriteQueueOptions options, WriteQueueHooks hooks)
    : env_(env), options_(options), hooks_(std::move(hooks)), limit_(options.max_in_flight), next_pause_(options.first_pause) {}

void WriteQueue::add(Ticket ticket, Lane lane) {
  if (!queued_.insert(ticket).second) return;
  lanes_[static_cast<std::size_t>(lane)].push_back(ticket);
  if (!turn_ && !pause_ && flights_.size() < limit_) turn_ = env_.at(env_.now().mono, [this] { pump(); });
}

std::pair<Ticket, Lane> WriteQueue::take() {
  auto& [prompt, patient] = lanes_;
  const bool wait = !patient.empty() && (prompt.empty() || ++turns_ % 4 == 0);
  auto& lane = wait ? patient : prompt;
  const auto ticket = lane.front();
  lane.pop_front();
  queued_.erase(ticket);
  return {ticket, wait ? Lane::patient : Lane::prompt};
}

void WriteQueue::pump() {
  const auto running = std::move(turn_);  // we may be inside it
  while (!pause_ && flights_.size() < limit_ && !queued_.empty()) {
    const auto [ticket, lane] = take();
    if (flights_.contains(ticket)) continue;  // asked for again meanwhile; whoever asked does so when it has ended, too
    if (auto call = hooks_.make(ticket)) send(ticket, lane, std::move(*call));
  }
}

void WriteQueue::send(Ticket ticket, Lane lane, reconcile::Call call) {
  auto& flight = flights_[ticket];
  flight.lane = lane;
  flight.handle = env_.call(
      std::move(call), [this, ticket](std::string_view frame) { flights_[ticket].body = frame; },
      [this, ticket](const Result<void>& result) { ended(ticket, result); });
}

void WriteQueue::ended(Ticket ticket, const Result<void>& result) {
  const auto node = flights_.extract(ticket);  // keeps the handle alive until we are through
  const auto code = result ? Code::invalid : result.error().code;
  const bool unanswered =
      !result && (code == Code::unavailable || code == Code::throttled || code == Code::maybe_done || code == Code::cancelled);
  if (unanswered) {
    hooks_.unanswered(ticket, result.error());
    add(ticket, node.mapped().lane);  // at the end: one that always fails must not keep out the rest
    hold(result.error());
    return;
  }
  next_pause_ = options_.first_pause;
  limit_ = std::min(limit_ + 1, options_.max_in_flight);
  hooks_.answered(ticket, result, node.mapped().body);
  if (!turn_ && !pause_ && !queued_.empty()) turn_ = env_.at(env_.now().mono, [this] { pump(); });
}

void WriteQueue::hold(const Error& error) {
  limit_ = 1;
  if (pause_) return;  // the others that were in flight say the same
  auto wait = next_pause_;
  next_pause_ = std::min(next_pause_ * 2, options_.last_pause);
  if (error.retry_after.count() > 0) wait = std::min(error.retry_after, options_.longest_retry_after);
  wait += std::chrono::milliseconds(env_.random() % static_cast<std::uint64_t>(wait.count() / 4 + 1));
  turn_.reset();
  pause_ = env_.at(env_.now().mono + wait, [this] {
    const auto running = std::move(pause_);
    pump();
  });
}

}  // namespace endstate::fleet
