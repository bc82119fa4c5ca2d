// Before pods are moved for a change, the host fetches what the change needs, while they still run and before the guard is asked: a
// download that takes long, or fails, takes no place in a budget and keeps no node closed.
#include <algorithm>

#include "apis/v1alpha1/prefetch.hpp"
#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::Verb;

namespace {

constexpr std::chrono::seconds prefetch_wait{600};  // then the change goes on without: what it lacks will be its failure
constexpr std::size_t max_wish = 65'536;            // bytes; an object's annotations may have 262,144 together

api::Prefetch wish(const Pass& p) {
  api::Prefetch out;
  const auto& have = p.assignment->spec.packages;
  for (const Package& package : p.in.packages) {
    if (!package.version) continue;
    const auto& uid = package.version->metadata.uid;
    if (std::any_of(have.begin(), have.end(), [&](const auto& h) { return h.version.uid == uid; })) continue;
    const auto& artifacts = package.version->spec.install.artifacts;
    out.artifacts.insert(out.artifacts.end(), artifacts.begin(), artifacts.end());
  }
  out.id = Text(reconcile::hash_of(reconcile::encode(out.artifacts)));
  return out;
}

void ask_host(Pass& p, std::string_view text) {
  const auto& meta = p.assignment->metadata;
  Action a{
      .verb = Verb::merge_patch, .kind = &kind_of<api::HostAssignment>, .cluster = p.in.connection, .name_space = {}, .name = meta.name};
  a.body = R"({"metadata":{"annotations":{)" + reconcile::quote(api::prefetch::annotation) + ":" + reconcile::quote(text) + "}}}";
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.why = "let host " + p.assignment->spec.node_name.str() + " fetch what revision " + p.revision + " needs";
  p.out.actions.push_back(std::move(a));
}

}  // namespace

bool prefetched(Pass& p) {
  const auto* said = find_condition(p.assignment->status.conditions, api::prefetch::condition);
  if (!said || p.silent()) return true;  // an agent that can't, or that nobody hears
  const api::Prefetch wanted = wish(p);
  const std::string text = reconcile::encode(wanted);
  if (wanted.artifacts.empty() || text.size() > max_wish) return true;
  const bool asked = p.assignment->metadata.annotations.get(api::prefetch::annotation) == text;
  if (!asked) ask_host(p, text);
  const bool heard = asked && api::prefetch::speaks_of(said->message, wanted.id);
  if (heard && said->status == ConditionStatus::true_) return true;

  const std::string message = heard ? said->message.str() : "the host hasn't begun to fetch what revision " + p.revision + " needs";
  const auto* shown = find_condition(p.machine.status.conditions, api::prefetch::condition);
  const WallTime since = shown && shown->status == ConditionStatus::false_ ? shown->last_transition_time : p.now;
  p.condition(api::prefetch::condition, ConditionStatus::false_, reason::prefetching, message);
  const auto left = p.left(since, prefetch_wait);
  if (left <= left.zero()) return true;
  p.block("HostAssignment", p.assignment->metadata.name, reason::prefetching, message);
  p.again(left);
  return false;
}

}  // namespace endstate::machine
