#include "controllers/machine_set/revisions.hpp"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "controllers/machine_set/names.hpp"
#include "controllers/machine_set/write.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/core.hpp"

namespace endstate::machine_set {
namespace {

using reconcile::Action, reconcile::Verb;

std::int64_t newest_number(const std::vector<Revision>& revisions) {
  std::int64_t newest = 0;
  for (const auto& r : revisions) newest = std::max(newest, r.number);
  return newest;
}

Action create_revision(const api::MachineSet& set, const Revision& r) {
  reconcile::ControllerRevision object;
  object.metadata.name = r.name;
  object.metadata.name_space = set.metadata.name_space;
  object.metadata.labels.set(api::label::set_uid, set.metadata.uid);
  object.metadata.owner_references = {owner_of(set)};
  object.data.raw = Text(stored_template(r.template_));
  object.revision = r.number;
  const auto& kind = reconcile::kind_of<reconcile::ControllerRevision>;
  return {.verb = Verb::create,
          .kind = &kind,
          .name_space = object.metadata.name_space,
          .name = object.metadata.name,
          .body = reconcile::encode_object(reconcile::api_version(*kind.resource), kind.resource->kind, *kind.type, &object),
          .why = "record the template as revision " + r.hash.str()};
}

Action raise_number(const api::MachineSet& set, const Revision& r, std::int64_t number) {
  return {.verb = Verb::merge_patch,
          .kind = &reconcile::kind_of<reconcile::ControllerRevision>,
          .name_space = set.metadata.name_space,
          .name = r.name,
          .body = "{\"revision\":" + std::to_string(number) + "}",
          .uid = r.uid,
          .resource_version = r.resource_version,
          .why = "the template is revision " + r.hash.str() + " again"};
}

// The hash of a text, or of the text with a number behind it while another revision or a stranger has that name.
Text free_hash(const Snapshot& s, const std::string& canonical) {
  const auto taken = [&](const Text& hash) {
    const auto name = revision_name(s.set->metadata.name, hash);
    const auto is_it = [&](const Text& t) { return t == name; };
    return std::any_of(s.revisions.begin(), s.revisions.end(), [&](const Revision& r) { return r.hash == hash; }) ||
           std::any_of(s.taken_revision_names.begin(), s.taken_revision_names.end(), is_it);
  };
  Text hash = reconcile::hash_of(canonical);
  for (int salt = 1; taken(hash); ++salt) hash = reconcile::hash_of(canonical + "#" + std::to_string(salt));
  return hash;
}

// What most machines have: the best guess of what went through last when the status doesn't say (a restored backup, an edit by hand), or
// says one that isn't recorded and that no machine has.
Text most_common(const Snapshot& s) {
  std::map<std::string_view, std::size_t> counts;
  for (const auto* some : {&s.machines, &s.orphans})  // those that are to be adopted too: what they have is where a change comes from
    for (const auto& m : *some) ++counts[m->metadata.labels.get(api::label::revision)];
  std::string_view best;
  for (const auto& r : s.revisions)
    if (const auto it = counts.find(r.hash.view()); it != counts.end() && (best.empty() || it->second > counts[best])) best = r.hash;
  return best;
}

bool is_known(const Snapshot& s, const Text& hash) {
  return std::any_of(s.revisions.begin(), s.revisions.end(), [&](const Revision& r) { return r.hash == hash; }) ||
         std::any_of(s.machines.begin(), s.machines.end(),
                     [&](const auto& m) { return m->metadata.labels.get(api::label::revision) == hash.view(); });
}

}  // namespace

Revisions plan_revisions(const Snapshot& s) {
  Revisions out{.all = s.revisions, .update = {}, .current = s.set->status.current_revision, .actions = {}};
  const auto canonical = canonical_template(s.set->spec.template_);
  const auto newest = newest_number(s.revisions);
  const Revision* same = nullptr;
  for (const auto& r : s.revisions)
    if (r.canonical == canonical && (!same || r.number > same->number)) same = &r;
  if (!same) {
    const auto hash = free_hash(s, canonical);
    const Revision made{.hash = hash,
                        .name = revision_name(s.set->metadata.name, hash),
                        .uid = {},
                        .resource_version = {},
                        .number = newest + 1,
                        .template_ = s.set->spec.template_,
                        .canonical = canonical};
    out.actions.push_back(create_revision(*s.set, made));
    out.all.push_back(made);
    out.update = hash;
  } else {
    if (same->number < newest) out.actions.push_back(raise_number(*s.set, *same, newest + 1));
    out.update = same->hash;
  }
  if (out.current.empty() || !is_known(s, out.current)) out.current = most_common(s);
  if (out.current.empty()) out.current = out.update;
  return out;
}

std::vector<Action> plan_history_trim(const Snapshot& s, const Revisions& revisions) {
  const auto limit = static_cast<std::size_t>(api::revision_history_limit(s.set->spec));
  if (s.revisions.size() <= limit) return {};  // nobody has to be asked which revisions are in use
  std::unordered_set<std::string_view> used{revisions.update.view(), revisions.current.view()};
  for (const auto& m : s.machines) used.insert(m->metadata.labels.get(api::label::revision));
  std::vector<const Revision*> old;
  for (const auto& r : s.revisions)
    if (!used.contains(r.hash.view())) old.push_back(&r);
  std::sort(old.begin(), old.end(), [](const Revision* a, const Revision* b) { return a->number < b->number; });
  const auto excess = old.size() > limit ? old.size() - limit : 0;
  std::vector<Action> out;
  for (std::size_t i = 0; i < excess; ++i)
    out.push_back({.verb = Verb::remove,
                   .kind = &reconcile::kind_of<reconcile::ControllerRevision>,
                   .name_space = s.set->metadata.name_space,
                   .name = old[i]->name,
                   .uid = old[i]->uid,
                   .why = "revision " + old[i]->hash.str() + " is older than revisionHistoryLimit keeps"});
  return out;
}

}  // namespace endstate::machine_set
