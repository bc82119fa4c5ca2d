#include "controllers/machine_set/audit.hpp"

#include <algorithm>

#include "controllers/common/cut.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {
namespace {

const api::PackageSlot* slot_of(const std::vector<api::PackageSlot>& slots, const Text& name) {
  for (const auto& s : slots)
    if (s.name == name) return &s;
  return nullptr;
}

std::size_t bytes_of(const std::vector<api::ChangeRecord>& history) { return reconcile::encode(history).size(); }

}  // namespace

reconcile::Query ask_editor(const api::MachineSet& set) {
  return {.id = std::string(editor_question),
          .resource = reconcile::kind_of<api::MachineSet>.resource,
          .name_space = set.metadata.name_space.str(),
          .name = set.metadata.name.str(),
          .max_age = std::chrono::seconds(60)};
}

std::string change_text(const Revision* from, const Revision& to) {
  std::string out;
  const auto say = [&](std::string_view a, std::string_view b = {}, std::string_view c = {}, std::string_view d = {}) {
    out.append(out.empty() ? "" : ", ").append(a).append(b).append(c).append(d);
  };
  if (!from) return out;
  const auto &a = from->template_.spec, &b = to.template_.spec;
  for (const auto& slot : b.packages) {
    const auto* had = slot_of(a.packages, slot.name);
    if (!had)
      say(slot.name, ": none -> ", slot.version_ref.name);
    else if (!(had->version_ref == slot.version_ref))
      say(slot.name, ": ", had->version_ref.name, " -> " + slot.version_ref.name.str());
    else if (!(*had == slot))
      say(slot.name, ": its settings");
  }
  for (const auto& slot : a.packages)
    if (!slot_of(b.packages, slot.name)) say(slot.name, ": ", slot.version_ref.name, " -> none");
  if (!(a.readiness_gates == b.readiness_gates)) say("readinessGates");
  if (!(a.taints == b.taints)) say("taints");
  if (!(a.labels == b.labels)) say("labels");
  if (!(a.deletion == b.deletion)) say("deletion");
  if (!(from->template_.metadata == to.template_.metadata)) say("the Machines' labels or annotations");
  if (out.empty()) out = "the order of the packages";
  return std::string(cut(out, 1024));
}

std::int64_t permits_seen(const Facts& facts, const Text& revision, WallTime since) {
  const auto granted = [&](const Fact& f) {
    const auto& st = f.machine->status;
    if (st.operation && st.operation->revision == revision && !st.operation->id.empty()) return true;
    const auto& last = st.last_operation;
    return last && last->revision == revision && last->start_time >= since;
  };
  return std::count_if(facts.live.begin(), facts.live.end(), granted) +
         std::count_if(facts.deleting.begin(), facts.deleting.end(), granted);
}

std::string by_whom(const api::ChangeRecord& change) {
  return change.field_manager.empty() ? std::string() : " (asked for by " + change.field_manager.str() + ")";
}

void trim_history(std::vector<api::ChangeRecord>& history) {
  if (history.size() > max_changes) history.erase(history.begin(), history.end() - static_cast<std::ptrdiff_t>(max_changes));
  auto bytes = bytes_of(history);
  // The newest change keeps what it has for as long as older ones have something to give.
  const auto shorten = [&](auto&& drop) {
    for (auto& change : history) {
      if (bytes <= max_history_bytes) return;
      const auto before = reconcile::encode(change).size();
      drop(change);
      bytes -= before - std::min(before, reconcile::encode(change).size());
    }
  };
  shorten([](api::ChangeRecord& c) {
    for (auto& s : c.steps) {
      s.metrics.clear();
      s.probes.clear();
    }
  });
  shorten([](api::ChangeRecord& c) { c.steps.clear(); });
  while (history.size() > 1 && bytes_of(history) > max_history_bytes) history.erase(history.begin());
}

}  // namespace endstate::machine_set
