#include "src/kubectl/verbs.hpp"

#include <algorithm>

#include "controllers/machine_set/names.hpp"
#include "controllers/machine_set/steps.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/patch.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using reconcile::Code, reconcile::fail, reconcile::quote, reconcile::Result, reconcile::Text;
using What = Deed::What;

// A merge patch of metadata.annotations (and more), that holds only for the very set that was read.
Deed annotate(const api::MachineSet& set, std::string_view key, const std::string& value, std::string said, const std::string& spec = {}) {
  std::string body = "{\"metadata\":{\"uid\":" + quote(set.metadata.uid) + ",\"resourceVersion\":" + quote(set.metadata.resource_version);
  if (!key.empty()) body += ",\"annotations\":{" + quote(key) + ":" + value + "}";
  body += "}" + spec + "}";
  return {What::write, std::move(said), std::move(body)};
}

std::string name_of_set(const api::MachineSet& set) { return "machineset/" + set.metadata.name.str(); }

// A word that was carried out is not carried out again: what follows the @ makes a new one of it. Only where it is needed, for an operator
// before this rule knows no @.
std::string word(const api::MachineSet& set, const std::string& value, const Text& handled) {
  if (handled.view().substr(0, handled.view().find('@')) != value) return value;
  return value + "@" + set.metadata.resource_version.str();
}

// The annotation says it, and was not carried out yet.
bool asks(const api::MachineSet& set, std::string_view key, const std::string& value, const Text& handled) {
  const auto said = set.metadata.annotations.get(key);
  return said.substr(0, said.find('@')) == value && !(handled == said);
}

Deed pause(const api::MachineSet& set) {
  if (is_paused_by_annotation(set)) return {What::nothing, name_of_set(set) + " is paused already"};
  if (set.spec.paused.value_or(false)) return {What::nothing, name_of_set(set) + " is paused already, by its spec.paused"};
  return annotate(set, api::annotation::paused, quote("kubectl endstate rollout pause"), name_of_set(set) + " paused");
}

Deed resume(const api::MachineSet& set) {
  const bool by_spec = set.spec.paused.value_or(false), by_annotation = is_paused_by_annotation(set);
  if (!by_spec && !by_annotation) return {What::nothing, name_of_set(set) + " isn't paused"};
  return annotate(set, by_annotation ? api::annotation::paused : std::string_view(), "null",
                  name_of_set(set) + " resumed" +
                      (by_spec ? "; spec.paused was true and is taken out: take it out of the files that it is applied from, too" : ""),
                  by_spec ? ",\"spec\":{\"paused\":null}" : "");
}

bool under_way(const api::MachineSet& set) {
  const auto& st = set.status;
  return st.rollout && st.rollout->revision == st.update_revision && !(st.update_revision == st.current_revision) &&
         !rejection(set, st.update_revision);
}

Deed promote(const api::MachineSet& set, const std::string& step) {
  const auto& st = set.status;
  if (!under_way(set)) return {What::refused, "no rollout of " + name_of_set(set) + " is under way: there is nothing to promote"};
  const auto& rollout = *st.rollout;
  const std::string at = step.empty() ? rollout.step.str() : step;
  const auto steps = machine_set::resolve_steps(set.spec.rollout, api::replicas(set.spec));
  const auto index = [&](const std::string& name) {
    return std::find_if(steps.begin(), steps.end(), [&](const auto& s) { return s.name == name; }) - steps.begin();
  };
  if (at.empty()) return {What::refused, "the rollout hasn't reached its first step: " + rollout.message.str()};
  if (index(at) == static_cast<std::ptrdiff_t>(steps.size())) {
    std::string names;
    for (const auto& s : steps) names.append(names.empty() ? "" : ", ").append(s.name.view());
    return {What::refused, "there is no step " + at + "; the steps are " + names};
  }
  if (index(at) < index(rollout.step.str()))
    return {What::nothing, "step " + at + " is past already; the rollout is at step " + rollout.step.str()};
  if (step.empty() && rollout.phase != api::RolloutPhase::paused)
    return {What::refused, "step " + at + " isn't waiting (" + std::string(reconcile::name_of(rollout.phase)) +
                               "): its machines are on the way. To promote it ahead of time, name it: --step " + at};
  const std::string value = st.update_revision.str() + "/" + at;
  if (asks(set, api::annotation::promote, value, st.handled.promote))
    return {What::nothing, "step " + at + " is promoted already; the operator hasn't taken it up yet"};
  return annotate(set, api::annotation::promote, quote(word(set, value, st.handled.promote)),
                  "step " + at + " of revision " + st.update_revision.str() + " promoted");
}

Deed retry(const api::MachineSet& set) {
  const auto& revision = set.status.update_revision;
  const auto* stalled = reconcile::find_condition(set.status.conditions, api::condition::stalled);
  const bool unclear = stalled && stalled->status == api::ConditionStatus::true_ && stalled->reason == api::reason::analysis_inconclusive;
  if (revision.empty() || (!rejection(set, revision) && !unclear))
    return {What::nothing, "revision " + revision.str() + " of " + name_of_set(set) + " isn't rejected: there is nothing to retry"};
  return annotate(set, api::annotation::retry, quote(word(set, revision.str(), set.status.handled.retry)),
                  "revision " + revision.str() + " is tried again");
}

Deed abort(const api::MachineSet& set) {
  const auto& st = set.status;
  const auto& revision = st.update_revision;
  const bool moving =
      st.rollout && st.rollout->phase != api::RolloutPhase::rolled_back && st.rollout->phase != api::RolloutPhase::rolling_back;
  if (const auto* why = rejection(set, revision); why && !moving)
    return {What::nothing, "revision " + revision.str() + " is rejected already, since " + reconcile::format_rfc3339(why->time)};
  if (!st.rollout || st.update_revision == st.current_revision)
    return {What::refused, "no rollout of " + name_of_set(set) + " is under way: there is nothing to abort"};
  if (asks(set, api::annotation::reject, revision.str(), st.handled.reject))
    return {What::nothing, "revision " + revision.str() + " is aborted already; the operator hasn't taken it up yet"};
  return annotate(set, api::annotation::reject, quote(word(set, revision.str(), st.handled.reject)),
                  "revision " + revision.str() + " aborted: its machines go back to " + st.current_revision.str());
}

Deed undo(const RolloutArgs& args, const api::MachineSet& set, const std::vector<Recorded>& revisions) {
  const auto found = undo_target(set, revisions, args.revision);
  if (!found) return {What::refused, found.error().message};
  const auto& to = **found;
  if (const auto* why = rejection(set, to.hash); why && !args.force)
    return {What::refused, "revision " + std::to_string(to.number) + " (" + to.hash.str() + ") was rejected at step " + why->step.str() +
                               ": " + why->message.str() +
                               ". --force puts it back all the same; it is tried only after: kubectl endstate rollout retry " +
                               name_of_set(set)};
  if (to.template_ == machine_set::canonical_template(set.spec.template_))
    return {What::nothing,
            name_of_set(set) + " has the template of revision " + std::to_string(to.number) + " (" + to.hash.str() + ") already"};
  reconcile::JsonPatch patch;
  patch.test("/metadata/uid", quote(set.metadata.uid)).test("/metadata/resourceVersion", quote(set.metadata.resource_version));
  patch.replace("/spec/template", to.template_);
  return {What::write, name_of_set(set) + " rolled back to revision " + std::to_string(to.number) + " (" + to.hash.str() + ")", patch.str(),
          true};
}

}  // namespace

bool is_paused_by_annotation(const api::MachineSet& set) { return set.metadata.annotations.has(api::annotation::paused); }

const api::RejectedRevision* rejection(const api::MachineSet& set, const Text& revision) {
  for (const auto& r : set.status.rejected_revisions)
    if (r.revision == revision) return &r;
  return nullptr;
}

std::vector<Recorded> recorded(const api::MachineSet& set, const std::vector<reconcile::Ref<reconcile::ControllerRevision>>& objects) {
  std::vector<Recorded> out;
  reconcile::Pool pool;
  const auto prefix = machine_set::revision_name(set.metadata.name, "");
  for (const auto& object : objects) {
    const auto name = object->metadata.name.view();
    if (!name.starts_with(prefix) || object->metadata.deleting()) continue;
    const auto decoded = reconcile::decode<api::MachineTemplate>(object->data.raw, pool);
    if (!decoded) continue;
    // As the plans read it: the API server may have written it another way.
    out.push_back({object->revision, name.substr(prefix.size()), machine_set::canonical_template(*decoded)});
  }
  std::sort(out.begin(), out.end(), [](const Recorded& a, const Recorded& b) { return a.number < b.number; });
  return out;
}

Result<const Recorded*> undo_target(const api::MachineSet& set, const std::vector<Recorded>& revisions,
                                    std::optional<std::int64_t> number) {
  std::string all;
  for (const auto& r : revisions) all.append(all.empty() ? "" : ", ").append(std::to_string(r.number));
  if (number) {
    for (const auto& r : revisions)
      if (r.number == *number) return &r;
    return fail(Code::not_found,
                "revision " + std::to_string(*number) + " of " + name_of_set(set) +
                    " isn't recorded any more (spec.revisionHistoryLimit), or never was; there are: " + (all.empty() ? "none" : all));
  }
  // Under way: the one that went through last. Else the newest one that isn't the template's and wasn't rejected.
  const auto canonical = machine_set::canonical_template(set.spec.template_);
  const Recorded* best = nullptr;
  for (const auto& r : revisions) {
    if (r.template_ == canonical) continue;
    if (r.hash == set.status.current_revision) return &r;
    if (!rejection(set, r.hash)) best = &r;
  }
  if (best) return best;
  return fail(Code::not_found,
              name_of_set(set) + " has no earlier revision that wasn't rejected; there are: " + (all.empty() ? "none" : all));
}

Deed deed_of(const RolloutArgs& args, const api::MachineSet& set, const std::vector<Recorded>& revisions) {
  if (set.metadata.deleting()) return {What::refused, name_of_set(set) + " is being deleted"};
  switch (args.verb) {
    case Verb::pause: return pause(set);
    case Verb::resume: return resume(set);
    case Verb::promote: return promote(set, args.step);
    case Verb::retry: return retry(set);
    case Verb::abort: return abort(set);
    case Verb::undo: return undo(args, set, revisions);
    case Verb::status:
    case Verb::history: break;
  }
  return {What::refused, "not a verb that writes"};
}

}  // namespace endstate::kubectl
