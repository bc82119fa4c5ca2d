// A machine without a host claims one, and tells it what to be. The guard is asked first: one that is refused holds no host. The claim is
// the lock of the creation: it names the grant, and is a compare-and-swap on the Host; of two machines that want it one gets a 409, sees
// the Host taken, and looks again.
#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::quote, reconcile::Verb;

namespace {

void claim(Pass& p, const api::Host& host, std::string_view grant, bool guarded) {
  p.must_be_near(host);
  const api::ConsumerRef consumer{
      .kind = "Machine", .name_space = p.machine.metadata.name_space, .name = p.machine.metadata.name, .uid = p.machine.metadata.uid};
  std::string labels = quote(api::label::cluster_name) + ":" + quote(p.machine.spec.cluster_name);
  if (const auto set = p.machine.metadata.labels.get(api::label::set_name); !set.empty())
    labels += "," + quote(api::label::set_name) + ":" + quote(set);
  Action a{.verb = Verb::merge_patch,
           .kind = &kind_of<api::Host>,
           .cluster = {},
           .name_space = host.metadata.name_space,
           .name = host.metadata.name};
  std::vector<Text> finalizers = host.metadata.finalizers;
  if (!host.metadata.has_finalizer(api::finalizer::claimed)) finalizers.push_back(api::finalizer::claimed);
  a.body = R"({"metadata":{"labels":{)" + labels + R"(},"annotations":{)" + quote(api::annotation::grant) + ":" + quote(grant) +
           R"(},"finalizers":)" + reconcile::encode(finalizers) + R"(},"spec":{"consumerRef":)" + reconcile::encode(consumer) + "}}";
  a.uid = host.metadata.uid;
  a.resource_version = host.metadata.resource_version;
  a.guarded = guarded;
  a.why = "claim host " + host.metadata.name.str();
  p.out.actions.push_back(std::move(a));
}

// A machine whose host went away under it isn't moved to another by itself: what ran there may still run. Repair or a person deletes it.
void lose_host(Pass& p) {
  const auto& former = p.in.former_host;
  const std::string name = p.machine.status.host_ref ? p.machine.status.host_ref->name.str()
                           : p.in.assignment         ? p.in.assignment->spec.node_name.str()
                                                     : "";
  const std::string message =
      former ? "Host " + name + " was given to " + (former->spec.consumer_ref ? former->spec.consumer_ref->name.str() : "another") +
                   " while this machine had it: delete this Machine"
      : p.machine.status.host_ref
          ? "Host " + name + " is gone: delete this Machine, its set makes another"
          : "HostAssignment " + p.in.assignment->metadata.name.str() + " in its cluster says that it runs on Host " + name +
                ", but this namespace has no Host of that uid: delete this Machine; if nobody knows that assignment, somebody forged it";
  p.condition(api::condition::host_claimed, ConditionStatus::false_, former ? reason::host_taken : reason::host_not_found, message);
  p.status.phase = api::MachinePhase::failed;
  p.block("Host", name, reason::host_lost, message);
}

// A Node of the host's name is there, and nobody has said that it is this machine's: its host isn't told to be somebody else's Node.
bool name_is_taken(Pass& p) {
  if (p.node_is != NodeIs::foreign || p.assignment) return false;
  const auto* gate = find_condition(p.status.conditions, api::condition::node_ready);  // says what to do
  p.block("Node", p.in.node->metadata.name, reason::node_name_taken, gate ? gate->message.view() : std::string_view());
  p.again(reopen_wait);
  return true;
}

// What keeps it from claiming one. False: nothing.
bool waits_for_host(Pass& p) {
  if (p.in.candidate) return false;
  const auto why = p.machine.spec.host_name.empty() ? reason::no_free_host : reason::host_not_claimable;
  p.condition(api::condition::host_claimed, ConditionStatus::false_, why, p.in.no_candidate);
  p.block("Host", p.machine.spec.host_name, why, p.in.no_candidate);
  p.again(reopen_wait);
  return true;
}

}  // namespace

void plan_claim(Pass& p) {
  const bool had_one = p.machine.status.host_ref.has_value() || p.in.assignment;
  const bool put_back = p.in.former_host && p.in.former_host == p.in.candidate;
  if (had_one && !put_back) return lose_host(p);
  p.status.phase = api::MachinePhase::pending;
  if (!p.resolved) return;  // said by the gate; a host isn't kept waiting for it
  if (p.in.assignment) return claim(p, *p.in.candidate, p.in.assignment->spec.grant_id, false);  // by its grant of then
  auto request = p.creation_request();
  if (p.refused_wait) {  // no host was looked for
    p.ask(std::move(request));
    return p.condition(api::condition::host_claimed, ConditionStatus::unknown, reason::progressing, "waiting for a permit to claim one");
  }
  if (waits_for_host(p) || name_is_taken(p)) return;
  p.condition(api::condition::host_claimed, ConditionStatus::unknown, reason::progressing,
              "claiming Host " + p.in.candidate->metadata.name.str());
  const std::string grant = request.id();
  if (!p.ask(std::move(request))) return;
  claim(p, *p.in.candidate, grant, true);
  p.assign(1, grant);
}

void plan_assign(Pass& p) {
  p.status.phase = api::MachinePhase::provisioning;
  if (p.in.assignment && !p.assignment) {
    const std::string message = "Host " + p.in.host->metadata.name.str() + " still carries the assignment of another machine (" +
                                p.in.assignment->metadata.annotations.get(api::annotation::machine).data() +
                                "): it was released without a wipe, or the claim was edited by hand";
    p.block("HostAssignment", p.in.assignment->metadata.name, reason::host_not_claimable, message);
    p.condition(api::condition::host_claimed, ConditionStatus::false_, reason::host_not_claimable, message);
    p.again(reopen_wait);
    return;
  }
  if (!p.resolved || name_is_taken(p)) return;
  auto request = p.creation_request();
  const std::string grant = request.id();
  if (!p.ask(std::move(request))) return;
  p.keep_claim(0, grant);
  p.assign(1, grant);
}

}  // namespace endstate::machine
