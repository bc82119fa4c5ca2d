#include "src/agent/report.hpp"

#include <algorithm>

#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

using State = api::PackageState;
using reconcile::Condition, reconcile::ConditionStatus;

const SlotMemory* memory_of(const Input& in, std::string_view who) {
  const auto at = in.memory.find(who);
  return at == in.memory.end() ? nullptr : &at->second;
}

void say(api::PackageReport& r, State state, std::string_view why = {}, std::string_view message = {}) {
  r.state = state;
  r.reason = why;
  r.message = message.substr(0, 1000);
}

std::optional<PackageIdentity> actual_of(const Input& in, const SlotRecord* record) {
  if (record == nullptr || record->good.empty()) return std::nullopt;
  const auto at = in.seen.generations.find(record->good.view());
  if (at == in.seen.generations.end()) return std::nullopt;
  return at->second.manifest->version;
}

void of_failure(api::PackageReport& r, const Failure& failure) {
  say(r, State::failed, failure.reason, failure.message);
  r.attempts = failure.attempts;
}

void of_attempt(api::PackageReport& r, const SlotRecord& record) {
  const auto& a = *record.attempt;
  if (a.work == Work::remove) return say(r, State::applying, reason::removing);
  if (a.work == Work::revert && record.failure) return of_failure(r, *record.failure);
  if (a.work == Work::repair) return say(r, State::drifted, reason::drifted, "it is being put right");
  say(r, a.phase == Phase::probe ? State::probing : State::applying);
  r.attempts = 1;
}

// Not there yet, and nothing of it has been touched.
void of_preparation(api::PackageReport& r, const Input& in, const TargetSlot& t) {
  const auto* memory = memory_of(in, t.slot.view());
  if (memory != nullptr && memory->trouble) {
    const auto& e = *memory->trouble;
    const bool hopeless = e.code == Code::invalid || memory->failures >= fetch_tries;
    say(r, hopeless ? State::failed : State::pending, e.reason, e.message);
    r.attempts = memory->failures;
    return;
  }
  if (staged_generation(in, t).empty()) return say(r, State::pending);
  const auto unmet = unmet_requirement(in, t);
  if (unmet.empty()) return say(r, State::prefetched);
  say(r, State::waiting, reason::waiting_for_package, unmet);
}

void of_good(api::PackageReport& r, const Input& in, const SlotRecord& record) {
  r.attempts = 1;
  const auto drift = drift_of(in, record);
  if (!drift.empty()) {
    const bool contested = recent_repairs(record, in.now.wall) >= max_repairs;
    return say(
        r, State::drifted, contested ? reason::drift_contested : reason::drifted,
        contested ? drift + "; it was put right " + std::to_string(max_repairs) + " times within an hour: find who changes it" : drift);
  }
  const auto seen = in.seen.slots.find(record.slot.view());
  if (seen != in.seen.slots.end() && seen->second.unit_unknown)
    return say(r, State::unknown, reason::service_failed, "systemd doesn't answer");
  say(r, State::ready);
}

api::PackageReport report_of(const Input& in, const TargetSlot& t) {
  api::PackageReport r;
  r.name = t.slot;
  const auto* record = find_slot(in.journal, t.slot);
  r.actual = actual_of(in, record);
  if (record != nullptr && record->attempt)
    of_attempt(r, *record);
  else if (t.trouble)
    say(r, State::failed, t.trouble->reason, t.trouble->message);
  else if (has_failed(record, t))
    of_failure(r, *record->failure);
  else if (is_good(in, t))
    of_good(r, in, *record);
  else
    of_preparation(r, in, t);
  return r;
}

Condition condition(std::string_view type, bool good, std::string_view why, std::string_view message) {
  Condition c;
  c.type = type;
  c.status = good ? ConditionStatus::true_ : ConditionStatus::false_;
  c.reason = why;
  c.message = message;
  return c;
}

const api::PackageReport* find_report(const Plan& out, const Input& in, std::string_view slot, std::string_view package) {
  for (const auto& r : out.packages)
    if (r.name == slot) return &r;
  for (const auto& t : in.target.slots)
    if (t.spec.package_name == package && !package.empty())
      for (const auto& r : out.packages)
        if (r.name == t.slot) return &r;
  return nullptr;
}

// What runs goes on running while its package waits or repairs: only what never was there, or doesn't run, isn't ready.
bool runs(const Input& in, const api::PackageReport& r) {
  if (!r.actual || r.reason == reason::removing) return false;
  const auto seen = in.seen.slots.find(r.name.view());
  if (seen == in.seen.slots.end() || !seen->second.unit) return true;
  return seen->second.unit->state == UnitState::active;
}

void prefetch_condition(const Input& in, Plan& out) {
  const auto say_it = [&](bool there, std::string_view why, std::string_view message) {
    out.conditions.push_back(condition(api::prefetch::condition, there, why, message.substr(0, 1000)));
  };
  const auto& wish = in.journal.order->prefetch;
  if (!wish) return say_it(true, "NothingToPrefetch", "");
  for (const auto& a : in.target.prefetch) {
    if (in.seen.blobs.contains(a.sha256.view())) continue;
    const auto* memory = memory_of(in, prefetch_key(a));
    if (memory != nullptr && memory->trouble)
      return say_it(false, memory->trouble->reason, api::prefetch::note(wish->id, memory->trouble->message));
    return say_it(false, api::reason::prefetching, api::prefetch::note(wish->id, a.url.view()));
  }
  say_it(true, api::prefetch::condition, wish->id.view());
}

// As the simulator's hosts say it: without a slot of its own the runtime is all that is installed, and the network the runtime's.
void conditions(const Input& in, Plan& out) {
  if (in.journal.order->spec.state == api::AssignmentState::released) {
    if (in.journal.slots.empty() && in.journal.machine_uid.empty())
      out.conditions.push_back(condition("Wiped", true, "Released", "nothing of the machine is left on the host"));
    return;
  }
  const auto* runtime = find_report(out, in, "runtime", "containerd");
  const bool all =
      !out.packages.empty() && std::all_of(out.packages.begin(), out.packages.end(), [&](const auto& r) { return runs(in, r); });
  const bool runtime_runs = runtime != nullptr ? runs(in, *runtime) : all;
  out.conditions.push_back(condition("RuntimeReady", runtime_runs, runtime_runs ? "RuntimeRuns" : "RuntimeNotInstalled",
                                     runtime_runs ? "" : "the container runtime is not installed, or doesn't run"));
  const auto* network = find_report(out, in, "network", {});
  if (network == nullptr) network = find_report(out, in, "cni", {});
  const bool network_ready = network != nullptr ? runs(in, *network) : runtime_runs;
  out.conditions.push_back(condition("NetworkReady", network_ready, network_ready ? "NetworkConfigured" : "NetworkNotConfigured",
                                     network_ready ? "" : "the pod network is not configured"));
  prefetch_condition(in, out);
}

}  // namespace

bool is_running_wipe(const RequestRecord& r) { return r.type == api::RequestType::wipe && r.state == api::RequestState::running; }
bool is_wiping(const Input& in) {
  return in.target.wipe || std::any_of(in.journal.requests.begin(), in.journal.requests.end(), is_running_wipe);
}

Text manifest_key(const Input& in, const Text& generation) {
  const auto at = in.seen.generations.find(generation.view());
  return at == in.seen.generations.end() ? Text() : at->second.manifest->key;
}

bool is_good(const Input& in, const TargetSlot& t) {
  const auto* record = find_slot(in.journal, t.slot);
  return record != nullptr && !record->good.empty() && manifest_key(in, record->good) == t.key;
}

bool is_damaged(const Input& in, const TargetSlot& t) {
  const auto* record = find_slot(in.journal, t.slot);
  if (record == nullptr) return false;
  const auto at = in.seen.generations.find(record->good.view());
  return at != in.seen.generations.end() && !at->second.damage.empty();
}

bool has_failed(const SlotRecord* record, const TargetSlot& t) {
  return record != nullptr && record->failure && record->failure->order == t.order;
}

Text staged_generation(const Input& in, const TargetSlot& t) {
  for (const auto& [id, generation] : in.seen.generations)
    if (generation.manifest->key == t.key && generation.damage.empty()) return Text(id);
  return {};
}

std::string unmet_requirement(const Input& in, const TargetSlot& t) {
  for (const auto& r : t.spec.requires_) {
    const auto other = std::find_if(in.target.slots.begin(), in.target.slots.end(),
                                    [&](const TargetSlot& o) { return o.spec.package_name == r.package_name; });
    const bool there = other != in.target.slots.end() && other->spec.version.view().starts_with(r.version.view());
    if (there && is_good(in, *other)) continue;
    return "requires " + r.package_name.str() + (r.version.empty() ? "" : " " + r.version.str()) +
           (there ? " to be Ready" : ", which no slot holds");
  }
  return {};
}

std::string drift_of(const Input& in, const SlotRecord& record) {
  const auto generation = in.seen.generations.find(record.good.view());
  const auto at = in.seen.slots.find(record.slot.view());
  if (record.good.empty() || generation == in.seen.generations.end() || at == in.seen.slots.end()) return {};
  if (!generation->second.damage.empty()) return generation->second.damage;
  const SlotSeen& slot = at->second;
  if (slot.current != record.good) return "another version is in effect than the agent put there";
  if (!slot.off.empty()) return slot.off;
  if (!slot.unit) return {};
  switch (slot.unit->state) {
    case UnitState::failed: return slot.unit_name + " has failed: " + slot.unit->detail;
    case UnitState::inactive: return slot.unit_name + " doesn't run";
    case UnitState::absent: return slot.unit_name + " isn't known to systemd";
    case UnitState::unknown:
    case UnitState::starting:  // these end by themselves
    case UnitState::stopping:
    case UnitState::active: return {};
  }
  return {};
}

std::size_t recent_repairs(const SlotRecord& record, WallTime now) {
  return static_cast<std::size_t>(
      std::count_if(record.repairs.begin(), record.repairs.end(), [&](WallTime at) { return at + repair_window > now && at <= now; }));
}

void report(const Input& in, Plan& out) {
  if (!is_wiping(in))
    for (const auto& t : in.target.slots)
      if (t.slot != machine_files_slot) out.packages.push_back(report_of(in, t));
  for (const auto& record : in.journal.slots) {
    if (!is_wiping(in) && (record.slot == machine_files_slot || in.target.find(record.slot) != nullptr)) continue;
    api::PackageReport r;
    // A host that is wiped reports no package: so while they are there its own files count as one.
    r.name = record.slot == machine_files_slot ? Text("machine-files") : record.slot;
    r.actual = actual_of(in, &record);
    say(r, State::applying, reason::removing);
    const auto* memory = memory_of(in, record.slot.view());
    if (memory != nullptr && memory->trouble)
      say(r, State::failed, memory->trouble->reason, "can't be removed yet: " + memory->trouble->message);
    out.packages.push_back(std::move(r));
  }
  for (const auto& r : in.journal.requests) out.requests.push_back({.id = r.id, .state = r.state, .message = r.message});
  conditions(in, out);
  out.settled = !out.step && std::all_of(out.packages.begin(), out.packages.end(), [](const auto& r) { return r.state == State::ready; });
}

}  // namespace endstate::agent
