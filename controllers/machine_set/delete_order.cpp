#include "controllers/machine_set/delete_order.hpp"

#include <algorithm>
#include <tuple>

namespace endstate::machine_set {

std::vector<const Fact*> delete_order(const Facts& facts, const Revisions& revisions, const Course& course) {
  struct Ranked {
    std::uint8_t rank;  // lower goes first
    WallTime created;
    const Fact* fact;
  };
  const bool forward = course.way == Course::Way::forward;
  const auto age_of_revision = [&](const Text& r) -> std::uint8_t {
    if (r.empty() || course.is_rejected(r)) return 0;
    if (r == (forward ? revisions.update : course.current)) return 2;
    return 1;
  };
  std::vector<Ranked> all;
  all.reserve(facts.live.size());
  for (const auto& f : facts.live) {
    if (f.protected_) continue;
    const bool evidence = forward && f.revision == revisions.update;
    const auto health = static_cast<std::uint8_t>(!f.has_host || !f.born ? 0 : f.ready || f.unseen ? 2 : 1);
    const auto rank = static_cast<std::uint8_t>(f.delete_first ? 0 : 16 + (evidence ? 16 : 0) + health * 4 + age_of_revision(f.revision));
    all.push_back({rank, f.machine->metadata.creation_timestamp.value_or(WallTime{}), &f});
  }
  std::sort(all.begin(), all.end(), [](const Ranked& a, const Ranked& b) {
    if (a.rank != b.rank) return a.rank < b.rank;
    if (a.created != b.created) return a.created > b.created;
    return a.fact->machine->metadata.name.view() > b.fact->machine->metadata.name.view();
  });
  std::vector<const Fact*> out;
  out.reserve(all.size());
  for (const auto& r : all) out.push_back(r.fact);
  return out;
}

}  // namespace endstate::machine_set
