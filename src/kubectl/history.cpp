#include "src/kubectl/history.hpp"

#include <algorithm>
#include <set>

#include "reconcile/json/encode.hpp"
#include "reconcile/json/yaml.hpp"
#include "src/kubectl/text.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using reconcile::fail, reconcile::Result, reconcile::Text, reconcile::WallTime;

std::string or_dash(std::string_view text) { return text.empty() ? "-" : std::string(text); }
std::string time_of(WallTime t) { return t == WallTime{} ? "-" : reconcile::format_rfc3339(t); }

std::string number_of(const std::vector<Recorded>& revisions, const Text& hash) {
  for (const auto& r : revisions)
    if (r.hash == hash) return std::to_string(r.number);
  return "-";
}

std::string result_of(const api::ChangeRecord& change) {
  return change.result == api::ChangeResult::none ? "under way" : std::string(reconcile::name_of(change.result));
}

std::string note_of(const api::MachineSet& set, const Text& hash) {
  if (rejection(set, hash)) return "rejected";
  if (hash == set.status.current_revision) return hash == set.status.update_revision ? "current" : "current: the way back";
  return hash == set.status.update_revision ? "being rolled out" : "";
}

std::string metrics_of(const api::StepRecord& step) {
  std::string out;
  for (const auto& m : step.metrics)
    out += "\n      " + m.name.str() + " = " + or_dash(m.value) + " (" + std::to_string(m.good) + " good, " + std::to_string(m.bad) +
           " bad, " + std::to_string(m.inconclusive) + " inconclusive)";
  for (const auto& p : step.probes) out += "\n      probe " + p.str();
  return out;
}

void tell(const api::ChangeRecord& c, std::string& out) {
  out += "Change:\n  from revision:  " + or_dash(c.from) + "\n  what:           " + or_dash(c.change) +
         "\n  by:             " + or_dash(c.field_manager) + (c.request_time == WallTime{} ? "" : " at " + time_of(c.request_time)) +
         "\n  began:          " + time_of(c.start_time) + "\n  ended:          " + time_of(c.end_time) +
         "\n  result:         " + result_of(c) + (c.message.empty() ? "" : ": " + c.message.str()) +
         "\n  permits:        " + std::to_string(c.permits) + "\n";
  if (!c.skipped_preflight.empty()) {
    out += "  skipped checks:";
    for (const auto check : c.skipped_preflight) out += " " + std::string(reconcile::name_of(check));
    out += "\n";
  }
  for (const auto& s : c.steps)
    out += "  step " + s.name.str() + ": " + std::to_string(s.updated) + " updated, " + std::to_string(s.failed) + " failed, " +
           time_of(s.start_time) + " to " + time_of(s.end_time) + metrics_of(s) + "\n";
}

}  // namespace

std::string history_table(const api::MachineSet& set, const std::vector<Recorded>& revisions, WallTime now) {
  std::vector<std::vector<std::string>> rows{{"REVISION", "HASH", "BEGAN", "TOOK", "BY", "RESULT", "STEPS", "CHANGE", "NOTE"}};
  std::set<std::string_view> told;
  for (const auto& c : set.status.history) told.insert(c.revision.view());
  std::int64_t newest = 0;  // of those that history tells of
  for (const auto& r : revisions)
    if (told.contains(r.hash.view())) newest = std::max(newest, r.number);
  const auto add_untold = [&](bool newer) {
    for (const auto& r : revisions)
      if (!told.contains(r.hash.view()) && (newest > 0 && r.number > newest) == newer)
        rows.push_back({std::to_string(r.number), r.hash.str(), "-", "-", "-", "-", "-", "-", note_of(set, r.hash)});
  };
  add_untold(false);  // older than what history holds, or there from the beginning
  for (const auto& c : set.status.history) {
    std::string steps;
    for (const auto& s : c.steps) steps += (steps.empty() ? "" : ",") + s.name.str() + ":" + std::to_string(s.updated);
    rows.push_back({number_of(revisions, c.revision), c.revision.str(), time_of(c.start_time),
                    c.start_time == WallTime{} ? "-" : age(c.start_time, c.end_time == WallTime{} ? now : c.end_time),
                    or_dash(c.field_manager), result_of(c), or_dash(steps), or_dash(c.change),
                    &c == &set.status.history.back() ? note_of(set, c.revision) : ""});
  }
  add_untold(true);  // an earlier one that the template was put back to: its number was raised, and no change was needed
  return table(rows);
}

Result<std::string> history_of(const api::MachineSet& set, const std::vector<Recorded>& revisions, std::int64_t number) {
  auto found = undo_target(set, revisions, number);
  if (!found) return fail(std::move(found.error()));
  const auto& r = **found;
  std::string out = "Revision " + std::to_string(r.number) + " (" + r.hash.str() + ") of machineset/" + set.metadata.name.str();
  if (const auto note = note_of(set, r.hash); !note.empty()) out += ": " + note;
  out += "\n";
  if (const auto* why = rejection(set, r.hash))
    out +=
        "Rejected at " + time_of(why->time) + ", step " + or_dash(why->step) + ": " + why->reason.str() + ": " + why->message.str() + "\n";
  for (const auto& c : set.status.history)
    if (c.revision == r.hash) tell(c, out);
  const auto yaml = reconcile::json_to_yaml(r.template_);
  if (!yaml) return fail(yaml.error());
  return out + "Template:\n" + *yaml;
}

std::string history_json(const api::MachineSet& set, const std::vector<Recorded>& revisions) {
  std::string out = "{\"revisions\":[";
  for (std::size_t i = 0; i < revisions.size(); ++i)
    out += (i ? "," : "") + std::string("{\"revision\":") + std::to_string(revisions[i].number) +
           ",\"hash\":" + reconcile::quote(revisions[i].hash) + ",\"template\":" + revisions[i].template_ + "}";
  out += "],\"changes\":";
  reconcile::encode_to(out, reconcile::type_of<std::vector<api::ChangeRecord>>, &set.status.history);
  return out + "}\n";
}

}  // namespace endstate::kubectl
