#include "src/agent/plan.hpp"

#include <algorithm>

#include "src/agent/attempt.hpp"
#include "src/agent/reasons.hpp"
#include "src/agent/report.hpp"

namespace endstate::agent {
namespace {

class Planning {
 public:
  explicit Planning(const Input& in) : in_(in), again_(in.now.mono + look_period) {}

  Plan run() {
    Plan out;
    if (in_.journal.order) {
      out.step = next();
      report(in_, out);
    } else {
      out.step = tidy();
    }
    out.again = again_;
    return out;
  }

 private:
  std::optional<Step> next() {
    for (const auto& record : in_.journal.slots)
      if (record.attempt) return go_on(record);
    if (auto step = do_requests()) return step;
    if (is_wiping(in_)) return wipe();
    if (auto step = remove_unwanted()) return step;
    if (auto step = get_ready()) return step;
    if (auto step = bring_in()) return step;
    if (auto step = repair()) return step;
    if (auto step = prefetch()) return step;
    return tidy();
  }

  // ---- an attempt that is under way ----

  std::optional<Step> go_on(const SlotRecord& record) {
    const auto& a = *record.attempt;
    const bool forward = a.work == Work::install || a.work == Work::update;
    const auto* t = is_wiping(in_) ? nullptr : in_.target.find(record.slot);
    if (t == nullptr && a.work != Work::remove) return begin(record.slot, Work::remove, {}, {}, true, "it is not wanted any more");
    const bool superseded = t != nullptr && manifest_key(in_, a.to) != t->key;
    if (superseded && forward && a.phase == Phase::prepare) return drop(record, "another version is wanted");
    if (superseded && forward) return begin(record.slot, Work::revert, record.good, {}, true, "another version is wanted");
    // The agent's own version takes over once more each time that it is tried; who starts it counts that (own_version.hpp).
    const auto limit = record.slot == agent_slot ? 2 * max_starts + max_trial_starts : max_starts;
    if (forward && a.starts > limit) {
      auto step = begin(record.slot, Work::revert, record.good, a.order, true, "it was begun too often");
      step.failure = Failure{.order = a.order,
                             .version = version_of(a.to),
                             .reason = reason::interrupted,
                             .message = "the agent or the host died " + std::to_string(limit) + " times while it was installed"};
      return step;
    }
    if (waits(record.slot)) return std::nullopt;
    return Step{.what = Do::phase,
                .slot = record.slot,
                .why = std::string(reconcile::name_of(a.work)) + ", " + std::string(reconcile::name_of(a.phase))};
  }

  // ---- what was asked for once ----

  std::optional<Step> do_requests() {
    for (const auto& r : in_.journal.requests) {
      if (r.state != api::RequestState::pending && r.state != api::RequestState::running) continue;
      if (r.type == api::RequestType::wipe && r.state == api::RequestState::running) continue;  // wipe() is at it
      if (waits("request " + r.id.str())) return std::nullopt;
      return Step{.what = Do::request, .request = r.id.str(), .why = std::string(reconcile::name_of(r.type))};
    }
    return std::nullopt;
  }

  // ---- taking away ----

  std::optional<Step> wipe() {
    if (!in_.journal.slots.empty()) return remove(in_.journal.slots.back());
    const bool owned = !in_.journal.machine_uid.empty();
    const bool asked = std::any_of(in_.journal.requests.begin(), in_.journal.requests.end(), is_running_wipe);
    if (owned || asked) return Step{.what = Do::forget, .why = "nothing is left"};
    return tidy();
  }

  std::optional<Step> remove_unwanted() {
    for (auto r = in_.journal.slots.rbegin(); r != in_.journal.slots.rend(); ++r)
      if (in_.target.find(r->slot) == nullptr) return remove(*r);
    return std::nullopt;
  }

  std::optional<Step> remove(const SlotRecord& record) {
    if (waits(record.slot)) return std::nullopt;
    return begin(record.slot, Work::remove, {}, {}, true, "it is not wanted any more");
  }

  // ---- bringing in ----

  bool is_wanted_now(const TargetSlot& t) const {  // and can be worked on
    const auto* record = find_slot(in_.journal, t.slot);
    return !t.trouble && !is_good(in_, t) && !has_failed(record, t);
  }

  std::optional<Step> get_ready() {
    for (const auto& t : in_.target.slots) {
      const auto damaged = is_good(in_, t) && is_damaged(in_, t) && !repairs_used_up(t.slot);
      if (!is_wanted_now(t) && !damaged) continue;
      if (!staged_generation(in_, t).empty() || waits(t.slot)) continue;
      if (t.artifact && !in_.seen.blobs.contains(t.artifact->sha256.view()))
        return Step{.what = Do::fetch, .slot = t.slot, .artifact = t.artifact, .why = t.artifact->url.str()};
      return Step{.what = Do::stage, .slot = t.slot, .generation = free_id(t), .why = t.version.name.str()};
    }
    return std::nullopt;
  }

  Text free_id(const TargetSlot& t) const {
    for (std::size_t n = 1;; ++n) {  // at most one more than there are generations
      auto id = t.key.str() + "-" + std::to_string(n);
      if (!in_.seen.generations.contains(id)) return Text(id);
    }
  }

  std::optional<Step> bring_in() {
    for (const auto& t : in_.target.slots) {
      if (!is_wanted_now(t)) continue;
      const auto to = staged_generation(in_, t);
      if (to.empty() || !unmet_requirement(in_, t).empty() || waits(t.slot)) continue;
      const auto* record = find_slot(in_.journal, t.slot);
      const bool fresh = record == nullptr || record->good.empty();
      return begin(t.slot, fresh ? Work::install : Work::update, to, t.order, fresh || differ(record->good, to), t.version.name.str());
    }
    return std::nullopt;
  }

  // Whether anything that runs can have read differs.
  bool differ(const Text& a, const Text& b) const {
    const auto& x = in_.seen.generations.find(a.view());
    const auto& y = in_.seen.generations.find(b.view());
    if (x == in_.seen.generations.end() || y == in_.seen.generations.end()) return true;
    const auto alike = [](const ManifestEntry& p, const ManifestEntry& q) {
      return p.path == q.path && p.mode == q.mode && p.sha256 == q.sha256 && p.target == q.target;
    };
    const auto& p = x->second.manifest->entries;
    const auto& q = y->second.manifest->entries;
    const auto& s = x->second.manifest->system;
    const auto& t = y->second.manifest->system;
    const bool same_package = s && t ? s->format == t->format && s->name == t->name && s->version == t->version : !s && !t;
    return !same_package || !std::equal(p.begin(), p.end(), q.begin(), q.end(), alike);
  }

  // ---- keeping ----

  bool repairs_used_up(const Text& slot) {
    const auto* record = find_slot(in_.journal, slot);
    if (record == nullptr || recent_repairs(*record, in_.now.wall) < max_repairs) return false;
    const auto oldest = *std::min_element(record->repairs.begin(), record->repairs.end());
    wait_until(in_.now.mono + std::chrono::nanoseconds(oldest + repair_window - in_.now.wall));
    return true;
  }

  // Also of a version that is not the wanted one any more: while that one can't be had, the host stays what it is.
  std::optional<Step> repair() {
    for (const auto& record : in_.journal.slots) {
      const auto what = drift_of(in_, record);
      if (what.empty() || repairs_used_up(record.slot) || waits(record.slot)) continue;
      const auto* t = in_.target.find(record.slot);
      const bool damaged = !in_.seen.generations.at(record.good.str()).damage.empty();
      const auto to = !damaged ? record.good : t != nullptr && is_good(in_, *t) ? staged_generation(in_, *t) : Text();
      if (to.empty()) continue;  // get_ready() is at it, or waits
      const auto& seen = in_.seen.slots.at(record.slot.str());
      // What runs may have read the wrong file. A restart that would need a drain first is not the agent's to decide.
      const bool restart = (damaged || seen.file_off) && seen.disruption <= api::Disruption::restart_service;
      return begin(record.slot, Work::repair, to, {}, restart, what);
    }
    return std::nullopt;
  }

  // ---- what is to come ----

  std::optional<Step> prefetch() {
    for (const auto& a : in_.target.prefetch)
      if (!in_.seen.blobs.contains(a.sha256.view()) && !waits(prefetch_key(a)))
        return Step{.what = Do::prefetch, .artifact = a, .why = a.url.str()};
    return std::nullopt;
  }

  // ---- order in the store ----

  std::optional<Step> tidy() {
    Step sweep{.what = Do::sweep, .why = "nobody needs it"};
    for (const auto& [id, generation] : in_.seen.generations)
      if (!is_needed(id, generation)) sweep.paths.push_back("generations/" + id);
    for (const auto& sha : in_.seen.blobs)
      if (!is_blob_needed(sha)) sweep.paths.push_back("blobs/" + sha);
    for (const auto& path : in_.seen.leftovers) {
      const auto name = std::string_view(path).substr(path.rfind('/') + 1);
      const bool wanted = path.starts_with("blobs/") && is_blob_needed(name.substr(0, name.find('.')));
      if (!wanted) sweep.paths.push_back(path);
    }
    if (!sweep.paths.empty() && !waits("sweep")) return sweep;
    if (!in_.seen.reserve && in_.seen.free_bytes > reserve_above && !waits("reserve"))
      return Step{.what = Do::reserve, .why = "for the way back on a full disk"};
    return std::nullopt;
  }

  bool is_needed(const std::string& id, const GenerationSeen& generation) const {
    for (const auto& r : in_.journal.slots)
      if (r.good == id || r.previous == id || (r.attempt && r.attempt->to == id)) return true;
    const auto* t = in_.target.find(generation.manifest->slot);
    return t != nullptr && t->key == generation.manifest->key && !has_failed(find_slot(in_.journal, t->slot), *t);
  }

  bool is_blob_needed(std::string_view sha) const {
    const auto& to_come = in_.target.prefetch;
    if (std::any_of(to_come.begin(), to_come.end(), [&](const auto& a) { return a.sha256 == sha; })) return true;
    return std::any_of(in_.target.slots.begin(), in_.target.slots.end(), [&](const TargetSlot& t) {
      return t.artifact && t.artifact->sha256 == sha && !has_failed(find_slot(in_.journal, t.slot), t);
    });
  }

  // ---- small things ----

  Step begin(const Text& slot, Work work, const Text& to, const Text& order, bool restart, std::string why) const {
    const auto phase = work == Work::revert || work == Work::repair ? Phase::change : Phase::prepare;
    Step step{.what = Do::begin, .slot = slot, .why = std::move(why)};
    step.attempt = Attempt{.work = work, .phase = phase, .to = to, .order = order, .restart = restart};
    return step;
  }
  static Step drop(const SlotRecord& record, std::string why) { return {.what = Do::drop, .slot = record.slot, .why = std::move(why)}; }

  PackageIdentity version_of(const Text& generation) const {
    const auto at = in_.seen.generations.find(generation.view());
    return at == in_.seen.generations.end() ? PackageIdentity{} : at->second.manifest->version;
  }

  bool waits(const std::string_view who) {
    const auto m = in_.memory.find(who);
    if (m == in_.memory.end() || m->second.not_before <= in_.now.mono) return false;
    wait_until(m->second.not_before);
    return true;
  }
  void wait_until(MonoTime when) { again_ = std::min(again_, std::max(when, in_.now.mono + std::chrono::milliseconds(100))); }

  const Input& in_;
  MonoTime again_;
};

}  // namespace

std::chrono::nanoseconds backoff_after(int failures) {
  if (failures > fetch_tries) return hopeless_backoff;
  return std::min<std::chrono::nanoseconds>(last_backoff, first_backoff * (std::int64_t{1} << std::clamp(failures - 1, 0, 10)));
}

std::string prefetch_key(const api::Artifact& artifact) { return "prefetch " + artifact.sha256.str(); }

Plan plan(const Input& in) { return Planning(in).run(); }

}  // namespace endstate::agent
