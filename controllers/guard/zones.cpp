#include "controllers/guard/zones.hpp"

#include <date/tz.h>

namespace endstate::guard {

using reconcile::WallTime;

namespace {

constexpr std::size_t max_segments = 32;

std::string unknown(std::string_view name) {
  return "\"" + std::string(name) + "\" is no time zone of this system's tzdata; use an IANA name such as Europe/Berlin or UTC";
}

}  // namespace

ZoneFacts zone_facts(std::string_view name, WallTime now) {
  ZoneFacts facts{.name = name};
  try {
    const auto* zone = date::locate_zone(std::string(name));
    auto at = std::chrono::floor<std::chrono::seconds>(now) - schedule_past;
    const auto end = std::chrono::floor<std::chrono::seconds>(now) + schedule_future;
    while (at < end && facts.segments.size() < max_segments) {
      const auto info = zone->get_info(at);
      facts.segments.push_back({facts.segments.empty() ? at : info.begin, info.offset});
      at = info.end;
    }
  } catch (const std::exception&) {  // the library's only way to say that it doesn't know a name, or that there is no data
    return {.name = name, .error = unknown(name)};
  }
  return facts;
}

std::vector<ZoneFacts> zones_of(const std::vector<reconcile::Ref<v1alpha1::ChangeBudget>>& budgets, WallTime now) {
  std::vector<ZoneFacts> zones;
  for (const auto& budget : budgets)
    for (const auto& schedule : budget->spec.schedules)
      if (!zone_of(schedule, zones)) zones.push_back(zone_facts(schedule.time_zone.view(), now));
  return zones;
}

}  // namespace endstate::guard
