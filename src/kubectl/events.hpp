// Events about an object (events.k8s.io/v1), as far as a person is told of them. Pure.
#pragma once
#include <string>
#include <vector>

#include "reconcile/cache/view.hpp"
#include "reconcile/kube/kind.hpp"
#include "src/kubectl/text.hpp"

namespace endstate::kubectl {

struct EventSeries {
  std::int64_t count = 0;
  reconcile::MicroTime last_observed_time;
  friend bool operator==(const EventSeries&, const EventSeries&) = default;
};
consteval auto describe(const EventSeries*) {
  using S = EventSeries;
  return reconcile::object("How often it happened.", reconcile::field<&S::count>("count", "So often."),
                           reconcile::field<&S::last_observed_time>("lastObservedTime", "And last then."));
}
struct Event {
  reconcile::ObjectMeta metadata;
  reconcile::MicroTime event_time;
  reconcile::WallTime first_time{}, last_time{};  // of those that are written by the older API
  std::int64_t old_count = 0;
  std::optional<EventSeries> series;
  reconcile::Text type, reason, note;
  friend bool operator==(const Event&, const Event&) = default;
};
consteval auto describe(const Event*) {
  using E = Event;
  return reconcile::object("What happened.", reconcile::field<&E::metadata>("metadata", "Standard object metadata."),
                           reconcile::field<&E::event_time>("eventTime", "When, first."),
                           reconcile::field<&E::first_time>("deprecatedFirstTimestamp", "When, first (core/v1)."),
                           reconcile::field<&E::last_time>("deprecatedLastTimestamp", "When, last (core/v1)."),
                           reconcile::field<&E::old_count>("deprecatedCount", "How often (core/v1)."),
                           reconcile::field<&E::series>("series", "How often."), reconcile::field<&E::type>("type", "Normal or Warning."),
                           reconcile::field<&E::reason>("reason", "In one word."), reconcile::field<&E::note>("note", "For people."));
}
constexpr reconcile::Resource resource(const Event*) { return {"events.k8s.io", "v1", "events", "Event", true}; }

inline constexpr std::size_t events_told = 10;  // the newest; the rest is counted

// The newest first. Nothing when there are none.
void tell_events(std::vector<reconcile::Ref<Event>> events, reconcile::WallTime now, Tree& root);

}  // namespace endstate::kubectl
