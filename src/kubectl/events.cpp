#include "src/kubectl/events.hpp"

#include <algorithm>

namespace endstate::kubectl {
namespace {

using reconcile::WallTime;

WallTime last_of(const Event& e) {
  return std::max({e.series ? e.series->last_observed_time.time : WallTime{}, e.event_time.time, e.last_time, e.first_time});
}

std::string event_line(const Event& e, WallTime now) {
  const auto count = std::max<std::int64_t>({1, e.series ? e.series->count : 0, e.old_count});
  return age(last_of(e), now) + " ago" + (count > 1 ? " (" + std::to_string(count) + " times)" : "") +
         (e.type == "Warning" ? ", Warning " : ", ") + e.reason.str() + (e.note.empty() ? "" : ": " + e.note.str());
}

}  // namespace

void tell_events(std::vector<reconcile::Ref<Event>> events, WallTime now, Tree& root) {
  if (events.empty()) return;
  std::stable_sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return last_of(*a) > last_of(*b); });
  auto& node = root.add("events");
  for (std::size_t i = 0; i < std::min(events.size(), events_told); ++i) node.add(event_line(*events[i], now));
  if (events.size() > events_told) node.add("... and " + std::to_string(events.size() - events_told) + " older ones");
}

}  // namespace endstate::kubectl
