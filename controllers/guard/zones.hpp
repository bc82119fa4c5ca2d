// What the system's time zone data (tzdata) says of a zone, as plain facts for a plan. Impure: it reads /usr/share/zoneinfo.
#pragma once
#include <string_view>
#include <vector>

#include "controllers/guard/schedule.hpp"
#include "reconcile/cache/view.hpp"

namespace endstate::guard {

// An unknown name gives an error in the facts. At most 32 changes of the offset around now are told (Morocco has 4 a year).
ZoneFacts zone_facts(std::string_view name, reconcile::WallTime now);

// Of all zones that these budgets' schedules name, each once.
std::vector<ZoneFacts> zones_of(const std::vector<reconcile::Ref<v1alpha1::ChangeBudget>>& budgets, reconcile::WallTime now);

}  // namespace endstate::guard
