// A machine without a host claims one, and tells it what to be. The claim is a compare-and-swap on the Host; of two machines that want
// it one gets a 409, sees the Host taken, and looks again.
#include "controllers/machine/pass.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::kind_of, reconcile::quote, reconcile::Verb;

namespace {

void claim(Pass& p, const api::Host& host) {
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
  a.body = R"({"metadata":{"labels":{)" + labels + R"(}},"spec":{"consumerRef":)" + reconcile::encode(consumer) + "}}";
  a.uid = host.metadata.uid;
  a.resource_version = host.metadata.resource_version;
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

// The first assignment. Its grant is asked in the same pass as the claim: refused, the host stays claimed and waits.
void first_assignment(Pass& p, std::uint8_t stage) {
  const auto& last = p.machine.status.last_operation;
  const std::int64_t attempt = last && last->type == api::OperationType::create ? last->attempt + 1 : 0;
  auto request = p.request(api::operation::machine_create, {}, attempt);
  const std::string grant = request.id();
  if (p.ask(std::move(request))) p.assign(stage, grant);
}

}  // namespace

void plan_claim(Pass& p) {
  const bool had_one = p.machine.status.host_ref.has_value() || p.in.assignment;
  if (had_one && !(p.in.former_host && p.in.former_host == p.in.candidate)) return lose_host(p);
  p.status.phase = api::MachinePhase::pending;
  if (!p.resolved) return;  // said by the gate; a host isn't kept waiting for it
  if (!p.in.candidate) {
    p.condition(api::condition::host_claimed, ConditionStatus::false_,
                p.machine.spec.host_name.empty() ? reason::no_free_host : reason::host_not_claimable, p.in.no_candidate);
    p.block("Host", p.machine.spec.host_name, p.machine.spec.host_name.empty() ? reason::no_free_host : reason::host_not_claimable,
            p.in.no_candidate);
    p.again(reopen_wait);
    return;
  }
  p.condition(api::condition::host_claimed, ConditionStatus::unknown, reason::progressing,
              "claiming Host " + p.in.candidate->metadata.name.str());
  claim(p, *p.in.candidate);
  if (!p.in.assignment) first_assignment(p, 1);
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
  if (!p.resolved) return;
  first_assignment(p, 0);
}

}  // namespace endstate::machine
