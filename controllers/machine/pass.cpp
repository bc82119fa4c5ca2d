#include "controllers/machine/pass.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "apis/v1alpha1/prefetch.hpp"
#include "controllers/common/indexes.hpp"
#include "reconcile/json/patch.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::encode, reconcile::Kind, reconcile::kind_of, reconcile::Verb;

Pass::Pass(const Input& input)
    : in(input), machine(*input.machine), now(std::chrono::floor<std::chrono::seconds>(input.now.wall)), status(input.machine->status) {
  status.conditions.clear();
  status.blocked_by.reset();
  status.observed_generation = machine.metadata.generation;
  if (in.refused) refused_wait = in.now.mono < in.refused_at + in.refused->retry_after;
}

// ---- the draft ----

void Pass::condition(std::string_view type, ConditionStatus value, std::string_view why, std::string_view message) {
  Condition c{.type = type, .status = value, .reason = why, .message = message, .last_transition_time = now, .observed_generation = {}};
  c.observed_generation = machine.metadata.generation;
  // That we couldn't see it is no turn of its own: for how long it has been well is still known when it is well again.
  const auto unseen = [](ConditionStatus s, std::string_view r) { return s == ConditionStatus::unknown && r == reason::connection_lost; };
  if (const auto* old = find_condition(machine.status.conditions, type);
      old && (old->status == value || unseen(value, why) || (unseen(old->status, old->reason) && value == ConditionStatus::true_)))
    c.last_transition_time = old->last_transition_time;
  auto& all = status.conditions;
  const auto at = std::lower_bound(all.begin(), all.end(), type, [](const Condition& a, std::string_view b) { return a.type.view() < b; });
  if (at != all.end() && at->type == type)
    *at = std::move(c);
  else if (all.size() < max_conditions)
    all.insert(at, std::move(c));
}

void Pass::keep_conditions() { status.conditions = machine.status.conditions; }

void Pass::block(std::string_view kind, std::string_view name, std::string_view why, std::string_view message) {
  api::BlockedBy b{.kind = kind, .name = name, .reason = why, .message = message.substr(0, 1024), .since = now};
  if (const auto& old = machine.status.blocked_by; old && old->kind == b.kind && old->name == b.name && old->reason == b.reason)
    b.since = old->since;
  status.blocked_by = std::move(b);
}

void Pass::again(std::chrono::nanoseconds wait) {
  const auto ms = std::max(std::chrono::ceil<std::chrono::milliseconds>(wait), std::chrono::milliseconds(10));
  if (!out.again || ms < *out.again) out.again = ms;
}

void Pass::warn(std::string_view why, std::string_view action, const std::string& text) {
  out.events.push_back({.warning = true, .reason = why, .action = action, .note = std::string_view(text).substr(0, 1024), .regarding = {}});
}
void Pass::note(std::string_view why, std::string_view action, const std::string& text) {
  out.events.push_back(
      {.warning = false, .reason = why, .action = action, .note = std::string_view(text).substr(0, 1024), .regarding = {}});
}

// ---- the guard ----

reconcile::PermitRequest Pass::request(std::string_view operation, std::string_view to_revision, std::int64_t attempt) const {
  const auto& host = in.host ? in.host : in.candidate;
  return {.cluster = {machine.metadata.name_space, machine.spec.cluster_name},
          .operation = operation,
          .subject = machine.metadata.key(),
          .subject_uid = machine.metadata.uid,
          .revision = to_revision,
          .attempt = attempt,
          .domain = host ? Text(api::failure_domain(host->spec.hardware)) : status.failure_domain,
          .forced = !forced().empty() && machine.metadata.deleting(),
          .begins = now,
          .lasts = timeout() + drain_timeout(machine.spec.deletion) + std::chrono::seconds(600)};
}

// A creation that failed is tried again by another grant.
reconcile::PermitRequest Pass::creation_request() const {
  const auto& last = status.last_operation;
  return request(api::operation::machine_create, {}, last && last->type == api::OperationType::create ? last->attempt + 1 : 0);
}

namespace {
// The guard couldn't answer: neither yes nor no, so nothing of it is remembered but the failure of the last pass.
const reconcile::Error* guard_trouble(const Input& in) {
  for (const auto& f : in.failures)
    if (!f.resource) return &f.error;
  return nullptr;
}
}  // namespace

bool Pass::ask(reconcile::PermitRequest wanted) {
  if (const auto* trouble = guard_trouble(in)) {
    block("GuardLedger", machine.spec.cluster_name, reason::unknown, "the guard can't answer: " + trouble->message);
    const auto& shown = machine.status.blocked_by;
    if (!shown || !(shown->kind == "GuardLedger") || !(shown->reason == reason::unknown)) {
      tell_now = true;  // this pass only says it: a pass that asks writes its status with what is granted
      again(refusal_settle);
      return false;
    }
  }
  // The last answer is shown for as long as the plan still wants something: a wait is never silent.
  if (in.refused) block(in.refused->kind, in.refused->name, in.refused->reason, in.refused->message);
  if (refused_wait) {
    again(in.refused_at + in.refused->retry_after - in.now.mono);
    return false;
  }
  out.permit = std::move(wanted);
  return true;
}

void Pass::lock() {
  lock_written = true;
  status.blocked_by.reset();
}

// ---- writes ----

namespace {

api::ResolvedPackage resolve(const Package& package) {
  api::ResolvedPackage r;
  r.name = package.slot;
  r.spec.raw = encode(package.version->spec);
  r.version = {package.name, package.version->metadata.uid, reconcile::hash_of(r.spec.raw)};
  return r;
}

}  // namespace

void Pass::must_be_near(const api::Host& host) const {
  const auto& own = machine.metadata;
  const bool mine = host.spec.consumer_ref ? belongs_to(host, machine) : host.metadata.name_space == own.name_space;
  if (!mine) throw std::logic_error("Host " + host.metadata.key().str() + " is no Host for Machine " + own.key().str());
}

void Pass::assign(std::uint8_t stage, std::string_view grant) {
  const api::Host& host = *(in.host ? in.host : in.candidate);
  must_be_near(host);
  api::HostAssignment a;
  if (assignment) a = *assignment;
  a.spec.state = api::AssignmentState::active;
  a.spec.node_name = host.metadata.name;
  a.spec.revision = revision;
  a.spec.grant_id = grant;
  a.spec.packages.clear();
  for (const Package& package : in.packages) a.spec.packages.push_back(resolve(package));
  put_assignment(std::move(a), stage, "let host " + host.metadata.name.str() + " be revision " + revision);
}

// The Host that it runs on, or ran on: the claimed one, else by what its status says.
namespace {
Text host_uid_of(const Input& in) {
  if (in.host) return in.host->metadata.uid;
  return in.candidate ? in.candidate->metadata.uid : in.machine->status.host_ref ? in.machine->status.host_ref->uid : Text();
}
}  // namespace

void Pass::release(std::uint8_t stage) {
  api::HostAssignment a;
  if (assignment) a = *assignment;
  a.spec.state = api::AssignmentState::released;
  a.spec.packages.clear();
  a.spec.files.clear();
  a.spec.requests.clear();
  if (!assignment) {
    a.spec.node_name = in.host ? in.host->metadata.name : status.host_ref->name;
    a.spec.revision = revision;
  }
  const std::string why = "undo what was installed on " + (in.host ? in.host->metadata.name.str() : a.spec.node_name.str());
  put_assignment(std::move(a), stage, why);
}

void Pass::put_assignment(api::HostAssignment a, std::uint8_t stage, std::string why) {
  a.status = {};
  if (!assignment) a.metadata.name = host_uid_of(in);
  a.metadata.labels.set(api::label::cluster_name, machine.spec.cluster_name);
  a.metadata.annotations.set(api::annotation::machine, key());
  a.metadata.annotations.erase(api::prefetch::annotation);  // what is ordered is fetched anyway
  a.spec.machine_uid = machine.metadata.uid;
  if (const auto& host = in.host ? in.host : in.candidate; host) a.spec.identity = host->status.identity;  // who may report
  const Kind& kind = kind_of<api::HostAssignment>;
  Action action{.verb = assignment ? Verb::update : Verb::create,
                .kind = &kind,
                .cluster = in.connection,
                .name_space = {},
                .name = a.metadata.name,
                .subresource = {},
                .body = reconcile::encode_object(api_version(*kind.resource), kind.resource->kind, *kind.type, &a)};
  action.uid = a.metadata.uid;
  action.resource_version = a.metadata.resource_version;
  action.stage = stage;
  action.guarded = true;                 // what a host may do is never changed without a permit
  action.tolerate_exists = !assignment;  // its name is the host's uid: a repeated create meets its own first one
  action.why = std::move(why);
  out.actions.push_back(std::move(action));
}

void Pass::remove(const Kind& kind, std::string connection, const reconcile::ObjectMeta& meta, std::uint8_t stage, std::string why) {
  Action action{.verb = Verb::remove, .kind = &kind, .cluster = std::move(connection), .name_space = meta.name_space, .name = meta.name};
  action.uid = meta.uid;
  action.stage = stage;
  action.why = std::move(why);
  out.actions.push_back(std::move(action));
}

void Pass::free_host(const api::Host& host, std::uint8_t stage) {
  must_be_near(host);
  Action action{.verb = Verb::merge_patch,
                .kind = &kind_of<api::Host>,
                .cluster = {},
                .name_space = host.metadata.name_space,
                .name = host.metadata.name};
  std::vector<Text> finalizers = host.metadata.finalizers;
  std::erase(finalizers, Text(api::finalizer::claimed));
  action.body = R"({"metadata":{"labels":{)" + reconcile::quote(api::label::cluster_name) + ":null," +
                reconcile::quote(api::label::set_name) + R"(:null},"annotations":{)" + reconcile::quote(api::annotation::grant) +
                R"(:null},"finalizers":)" + encode(finalizers) + R"(},"spec":{"consumerRef":null}})";
  action.uid = host.metadata.uid;
  action.resource_version = host.metadata.resource_version;
  action.stage = stage;
  action.why = "free host " + host.metadata.name.str();
  out.actions.push_back(std::move(action));
}

void Pass::keep_claim(std::uint8_t stage, std::string_view grant) {
  if (!in.host) return;
  const auto& meta = in.host->metadata;
  must_be_near(*in.host);
  // The API server takes no new finalizer of an object that is being deleted.
  const bool unheld = !meta.has_finalizer(api::finalizer::claimed) && !meta.deleting();
  const bool unnamed = !grant.empty() && !(meta.annotations.get(api::annotation::grant) == grant);
  if (!unheld && !unnamed) return;
  std::string fields;
  if (unheld) {
    auto finalizers = meta.finalizers;
    finalizers.push_back(api::finalizer::claimed);
    fields = R"("finalizers":)" + encode(finalizers);
  }
  if (unnamed)
    fields += (fields.empty() ? "" : ",") + std::string(R"("annotations":{)") + reconcile::quote(api::annotation::grant) + ":" +
              reconcile::quote(grant) + "}";
  Action action{.verb = Verb::merge_patch, .kind = &kind_of<api::Host>, .cluster = {}, .name_space = meta.name_space, .name = meta.name};
  action.body = R"({"metadata":{)" + fields + "}}";
  action.uid = meta.uid;
  action.resource_version = meta.resource_version;
  action.stage = stage;
  action.guarded = unnamed;  // a lock, and only what it locks needs it
  action.why = "hold host " + meta.name.str() + " while it is claimed";
  out.actions.push_back(std::move(action));
}

void Pass::add_finalizer() {
  std::vector<Text> all = machine.metadata.finalizers;
  all.push_back(api::finalizer::machine);
  Action action{.verb = Verb::merge_patch,
                .kind = &kind_of<api::Machine>,
                .cluster = {},
                .name_space = machine.metadata.name_space,
                .name = machine.metadata.name};
  action.body = R"({"metadata":{"finalizers":)" + encode(all) + "}}";
  action.uid = machine.metadata.uid;
  action.resource_version = machine.metadata.resource_version;
  action.why = "clean up before it goes";
  out.actions.push_back(std::move(action));
}

void Pass::accept_retry(std::uint8_t stage) {
  if (!retry) return;
  Action action{.verb = Verb::merge_patch,
                .kind = &kind_of<api::Machine>,
                .cluster = {},
                .name_space = machine.metadata.name_space,
                .name = machine.metadata.name};
  action.body = R"({"metadata":{"annotations":{)" + reconcile::quote(api::annotation::retry) + ":null}}}";
  action.uid = machine.metadata.uid;  // no version: the lock before it has moved it
  action.stage = stage;
  action.guarded = true;
  action.why = "the retry is accepted";
  out.actions.push_back(std::move(action));
}

void Pass::drop_finalizer(std::uint8_t stage) {
  const auto& all = machine.metadata.finalizers;
  const auto at = std::find(all.begin(), all.end(), Text(api::finalizer::machine));
  if (at == all.end()) return;
  const std::string place = "/metadata/finalizers/" + std::to_string(at - all.begin());
  Action action{.verb = Verb::json_patch,
                .kind = &kind_of<api::Machine>,
                .cluster = {},
                .name_space = machine.metadata.name_space,
                .name = machine.metadata.name};
  action.body = reconcile::JsonPatch().test(place, reconcile::quote(api::finalizer::machine)).remove(place).str();
  action.uid = machine.metadata.uid;
  action.stage = stage;
  is_last = true;
  action.why = "nothing of it is left";
  out.actions.push_back(std::move(action));
}

// ---- small questions ----

const api::Operation* Pass::operation(api::OperationType type) const {
  const auto& op = machine.status.operation;
  return op && op->type == type ? &*op : nullptr;
}

std::chrono::seconds Pass::timeout() const {
  const auto text = machine.metadata.annotations.get(api::annotation::operation_timeout);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!text.empty() && error == std::errc() && end == text.data() + text.size())
    return std::chrono::seconds(std::clamp<std::int64_t>(value, 30, 604'800));  // the bounds of machineTimeoutSeconds
  return in.set ? machine_timeout(in.set->spec.rollout) : default_timeout;
}

std::chrono::microseconds Pass::left_of_settling(std::chrono::microseconds left) const {
  if (!in.sight.seen || in.sight.since == WallTime{}) return left;
  return std::max<std::chrono::microseconds>(left, sight_settle - (now - std::min(in.sight.since, now)));
}
std::chrono::microseconds Pass::left(const api::Operation& op) const {
  return left_of_settling(left(op.start_time, op.deadline - op.start_time));
}

// By what this process saw, else by what the last one stored; of a cluster that was never seen, since it is said to be so.
WallTime Pass::blind_since() const {
  if (!in.cluster) return now;
  if (in.sight.since != WallTime{}) return in.sight.since;
  for (const auto& gap : in.cluster->status.blind)
    if (gap.end_time == WallTime{}) return gap.start_time;
  const auto* connected = find_condition(in.cluster->status.conditions, api::condition::connected);
  return connected && connected->status != ConditionStatus::true_ ? connected->last_transition_time : now;
}

bool Pass::is_abandoned() const {
  if (!machine.metadata.deleting() || seen()) return false;
  if (!forced().empty()) return true;
  if (in.cluster && !in.cluster->metadata.deleting()) return false;
  WallTime since = *machine.metadata.deletion_timestamp;
  if (in.cluster) since = std::max(since, *in.cluster->metadata.deletion_timestamp);
  return now >= since + abandon_after;  // by the clock on the wall: what can't be seen has no other
}

std::string_view Pass::forced() const {
  const auto own = machine.metadata.annotations.get(api::annotation::force_delete);
  return own.empty() && in.cluster ? in.cluster->metadata.annotations.get(api::annotation::force_delete) : own;
}

}  // namespace endstate::machine
