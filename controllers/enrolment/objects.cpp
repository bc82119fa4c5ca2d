#include "controllers/enrolment/objects.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/enrolment.hpp"
#include "apis/v1alpha1/names.hpp"
#include "reconcile/kube/rbac.hpp"

namespace endstate::enrolment {

namespace names = api::enrolment;
using json = nlohmann::ordered_json;
using reconcile::Kind, reconcile::kind_of, reconcile::Secret, reconcile::Verb;

namespace {

constexpr std::string_view rbac_group = "rbac.authorization.k8s.io";

json owner(std::string_view kind, const reconcile::ObjectMeta& meta) {
  return json::array({{{"apiVersion", "endstate.dev/v1alpha1"}, {"kind", kind}, {"name", meta.name.view()}, {"uid", meta.uid.view()}}});
}
json owned_by_host(const api::Host& host) { return owner("Host", host.metadata); }
json owned_by_assignment(const api::HostAssignment& a) { return owner("HostAssignment", a.metadata); }

json object(const Kind& kind, json metadata) {
  return {{"apiVersion", reconcile::api_version(*kind.resource)}, {"kind", kind.resource->kind}, {"metadata", std::move(metadata)}};
}

Action write(Verb verb, const Kind& kind, std::string connection, std::string_view name_space, std::string_view name, std::uint8_t stage) {
  Action a{.verb = verb, .kind = &kind, .cluster = std::move(connection), .name_space = name_space, .name = name};
  a.stage = stage;
  return a;
}
// Named by the host's uid: one that exists is an earlier one of ours.
Action create(const Kind& kind, std::string connection, std::string_view name_space, std::string_view name, std::uint8_t stage) {
  auto a = write(Verb::create, kind, std::move(connection), name_space, name, stage);
  a.tolerate_exists = true;
  return a;
}

json rule(std::string_view group, std::string_view resource, std::string_view name, std::vector<std::string> verbs) {
  return {{"apiGroups", json::array({group})},
          {"resources", json::array({resource})},
          {"resourceNames", json::array({name})},
          {"verbs", std::move(verbs)}};
}

// Where a role or binding is, and whose.
struct Place {
  std::string connection, name_space, uid;
  std::int64_t identity = 0;
  json owners{};       // null: nobody's
  std::string host{};  // key of the Host, if nobody's
  bool put = true;
};
json role_metadata(const Place& at) {
  json out{{"name", names::role(at.uid)}, {"labels", {{api::label::component, names::component}}}};
  out["annotations"][std::string(names::identity)] = std::to_string(at.put ? at.identity : 0);  // what isn't put is bound to the user
  if (!at.host.empty()) out["annotations"][std::string(names::host)] = at.host;
  if (!at.owners.is_null()) out["ownerReferences"] = at.owners;
  if (!at.name_space.empty()) out["namespace"] = at.name_space;
  return out;
}
Action put(const Kind& kind, const Place& at, json body, std::uint8_t stage) {
  auto a = write(at.put ? Verb::apply : Verb::create, kind, at.connection, at.name_space, names::role(at.uid), stage);
  a.tolerate_exists = !at.put;
  a.body = body.dump();
  a.why = "let host " + at.uid + " read what is its own";
  return a;
}

Action role(const Kind& kind, const Place& at, json rules, std::uint8_t stage) {
  auto body = object(kind, role_metadata(at));
  body["rules"] = std::move(rules);
  return put(kind, at, std::move(body), stage);
}

// To the group of its last enrolment, so that older keys of the host lose what it may read. Without a number: to its user.
Action binding(const Kind& kind, std::string_view role_kind, const Place& at, std::uint8_t stage) {
  auto body = object(kind, role_metadata(at));
  body["roleRef"] = {{"apiGroup", rbac_group}, {"kind", role_kind}, {"name", names::role(at.uid)}};
  const bool numbered = at.identity > 0 && at.put;
  body["subjects"] = json::array({{{"apiGroup", rbac_group},
                                   {"kind", numbered ? "Group" : "User"},
                                   {"name", numbered ? names::identity_group(at.uid, at.identity) : names::user(at.uid)}}});
  return put(kind, at, std::move(body), stage);
}

json secret_metadata(const api::Host& host, const std::string& name, json annotations) {
  annotations[std::string(names::host)] = host.metadata.key().str();
  return {{"name", name},
          {"namespace", api::system_namespace},
          {"labels", {{api::label::component, names::component}}},
          {"annotations", std::move(annotations)}};
}

void add_token(json& annotations, const std::string& id, WallTime now) {
  annotations[std::string(names::token_id)] = id;
  annotations[std::string(names::token_expires)] = reconcile::format_rfc3339(now + names::token_life);
}

std::string bootstrap_name(const Secret& from) {
  return std::string(names::bootstrap_prefix).append(from.metadata.annotations.get(names::token_id));
}

}  // namespace

// ---- beside the Host ----

namespace {

Place beside(const api::Host& host, std::int64_t identity) {
  return {.connection = {},
          .name_space = host.metadata.name_space.str(),
          .uid = host.metadata.uid.str(),
          .identity = identity,
          .owners = owned_by_host(host)};
}
Place in_system(const api::Host& host, std::int64_t identity) {
  return {.connection = {},
          .name_space = std::string(api::system_namespace),
          .uid = host.metadata.uid.str(),
          .identity = identity,
          .host = host.metadata.key().str()};
}
json reads_hand_over(std::string_view uid) { return rule("", "secrets", names::hand_over_secret(uid), {"get", "list", "watch"}); }

Action copy(const api::Host& host, const Secret& from, const std::string& name, std::vector<std::string_view> notes, std::uint8_t stage) {
  json annotations{{names::published, "true"}};
  for (const auto note : notes)
    if (from.metadata.annotations.has(note)) annotations[std::string(note)] = from.metadata.annotations.get(note);
  json metadata{{"name", name},
                {"namespace", host.metadata.name_space.view()},
                {"labels", {{api::label::component, names::component}}},
                {"annotations", std::move(annotations)},
                {"ownerReferences", owned_by_host(host)}};
  auto a = write(Verb::create, kind_of<Secret>, {}, host.metadata.name_space, name, stage);
  auto body = object(kind_of<Secret>, std::move(metadata));
  body["type"] = "Opaque";
  a.making = reconcile::Making{.what = json{{"make", "copy"}, {"object", std::move(body)}}.dump(), .secrets = {from.metadata.key()}};
  a.why = "a copy of " + from.metadata.key().str() + " beside the Host";
  return a;
}

}  // namespace

Action host_role(const api::Host& host, std::int64_t identity, std::uint8_t stage) {
  auto rules = json::array({rule("endstate.dev", "hosts", host.metadata.name, {"get"})});
  if (identity == 0) rules.push_back(reads_hand_over(host.metadata.uid));
  return role(kind_of<reconcile::Role>, beside(host, identity), std::move(rules), stage);
}
Action host_binding(const api::Host& host, std::int64_t identity, std::uint8_t stage) {
  return binding(kind_of<reconcile::RoleBinding>, "Role", beside(host, identity), stage);
}
Action copy_token(const api::Host& host, const Secret& from, std::uint8_t stage) {
  return copy(host, from, names::token_secret(host.metadata.uid), {names::wanted, names::token_expires, names::identity}, stage);
}
Action copy_hand_over(const api::Host& host, const Secret& from, std::uint8_t stage) {
  return copy(host, from, names::hand_over_secret(host.metadata.uid), {names::claimed_by, names::cluster, names::enrolled}, stage);
}
// Whatever stands there: nobody has kept its uid, and it is named by that of the Host.
Action remove_copy(const api::Host& host, const std::string& name, std::uint8_t stage) {
  auto a = write(Verb::remove, kind_of<Secret>, {}, host.metadata.name_space, name, stage);
  a.why = "what was copied beside the Host is over";
  return a;
}

// ---- in endstate-system ----

Action system_role(const api::Host& host, std::int64_t identity, std::uint8_t stage) {
  return role(kind_of<reconcile::Role>, in_system(host, identity), json::array({reads_hand_over(host.metadata.uid)}), stage);
}
Action system_binding(const api::Host& host, std::int64_t identity, std::uint8_t stage) {
  return binding(kind_of<reconcile::RoleBinding>, "Role", in_system(host, identity), stage);
}

Action enrolment_secret(const api::Host& host, std::string_view wish, WallTime now, std::uint8_t stage) {
  const auto name = names::token_secret(host.metadata.uid);
  const auto id = token_id(host.metadata.uid, wish, now);
  // One that is there would be another's: looked at again.
  auto a = write(Verb::create, kind_of<Secret>, {}, api::system_namespace, name, stage);
  json annotations{{names::wanted, wish}, {names::identity, std::to_string(host.status.identity.value_or(0) + 1)}};
  add_token(annotations, id, now);
  auto body = object(kind_of<Secret>, secret_metadata(host, name, std::move(annotations)));
  body["type"] = "Opaque";
  a.making =
      reconcile::Making{.what = json{{"make", "enrolment-token"}, {"tokenID", id}, {"object", std::move(body)}}.dump(), .secrets = {}};
  a.why = "a one-time token for host " + host.metadata.name.str();
  return a;
}

Action hand_over(const Input& in, std::int64_t identity, std::string_view enrolled, WallTime now, std::uint8_t stage) {
  const auto& host = *in.host;
  const auto name = names::hand_over_secret(host.metadata.uid);
  auto a = write(Verb::create, kind_of<Secret>, {}, api::system_namespace, name, stage);
  json annotations{{names::claimed_by, in.machine_uid.view()}, {names::cluster, in.cluster}, {names::enrolled, enrolled}};
  if (identity > 0) annotations[std::string(names::identity)] = std::to_string(identity);
  a.why = "hand cluster " + in.cluster + " over to host " + host.metadata.name.str();
  if (in.kubeconfig_secret.empty()) {                                       // it is known there already: nothing secret is handed over
    if (identity > 0) annotations[std::string(names::published)] = "true";  // without a number a copy must be made first
    auto body = object(kind_of<Secret>, secret_metadata(host, name, std::move(annotations)));
    body["type"] = "Opaque";
    a.body = body.dump();
    return a;
  }
  const auto id = token_id(host.metadata.uid, in.machine_uid, now);
  add_token(annotations, id, now);
  auto body = object(kind_of<Secret>, secret_metadata(host, name, std::move(annotations)));
  body["type"] = "Opaque";
  a.making = reconcile::Making{.what = json{{"make", "hand-over"}, {"tokenID", id}, {"object", std::move(body)}}.dump(),
                               .secrets = {{in.kubeconfig_namespace, in.kubeconfig_secret}}};
  return a;
}

Action annotate(const Secret& secret, std::string_view key, std::string_view value, std::uint8_t stage, std::string why) {
  Action a{.verb = Verb::merge_patch,
           .kind = &kind_of<Secret>,
           .cluster = {},
           .name_space = secret.metadata.name_space,
           .name = secret.metadata.name};
  json body;
  body["metadata"]["annotations"][std::string(key)] = value;
  a.body = body.dump();
  a.uid = secret.metadata.uid;
  a.resource_version = secret.metadata.resource_version;
  a.stage = stage;
  a.why = std::move(why);
  return a;
}
Action mark_published(const Secret& secret, std::uint8_t stage) {
  return annotate(secret, names::published, "true", stage, "its token is known now");
}

Action remove_object(const Kind& kind, const reconcile::ObjectMeta& meta, std::uint8_t stage, std::string why) {
  auto a = write(Verb::remove, kind, {}, meta.name_space, meta.name, stage);
  a.uid = meta.uid;
  a.why = std::move(why);
  return a;
}

// ---- in the business cluster ----

namespace {

Place in_business(const Input& in, std::int64_t identity, bool put) {
  return {.connection = in.connection,
          .name_space = {},
          .uid = in.host->metadata.uid.str(),
          .identity = identity,
          .owners = owned_by_assignment(*in.assignment),
          .put = put};
}

}  // namespace

Action business_role(const Input& in, std::int64_t identity, bool put, std::uint8_t stage) {
  const auto rules = json::array({rule("endstate.dev", "hostassignments", in.host->metadata.uid, {"get", "list", "watch"})});
  return role(kind_of<reconcile::ClusterRole>, in_business(in, identity, put), rules, stage);
}
Action business_binding(const Input& in, std::int64_t identity, bool put, std::uint8_t stage) {
  return binding(kind_of<reconcile::ClusterRoleBinding>, "ClusterRole", in_business(in, identity, put), stage);
}

bool is_right(const reconcile::ObjectMeta* there, std::int64_t identity, std::string_view owner_uid) {
  if (!there || !there->annotations.has(names::identity) || number_of(*there) != identity) return false;
  const auto& owners = there->owner_references;
  return owner_uid.empty() || std::any_of(owners.begin(), owners.end(), [&](const auto& o) { return o.uid == owner_uid; });
}

// ---- tokens ----

Action publish_token(const api::Host& host, const Secret& from, std::string connection, const api::HostAssignment* owner,
                     std::uint8_t stage) {
  const auto name = bootstrap_name(from);
  auto a = create(kind_of<Secret>, std::move(connection), names::bootstrap_namespace, name, stage);
  const auto& uid = host.metadata.uid;
  json metadata{{"name", name}, {"namespace", names::bootstrap_namespace}, {"labels", {{api::label::component, names::component}}}};
  if (owner) metadata["ownerReferences"] = owned_by_assignment(*owner);
  const json recipe{{"make", "bootstrap-token"},
                    {"object", object(kind_of<Secret>, std::move(metadata))},
                    {"expires", from.metadata.annotations.get(names::token_expires)},
                    {"groups", std::string(names::token_group) + "," + names::token_group_of(uid)}};
  a.making = reconcile::Making{.what = recipe.dump(), .secrets = {from.metadata.key()}};
  a.why = "the one-time token of host " + host.metadata.name.str() + " is known";
  return a;
}

// By its name, which is of one token only; its uid nobody has kept.
Action withdraw_token(const Secret& from, std::string connection, std::uint8_t stage) {
  Action a{.verb = Verb::remove,
           .kind = &kind_of<Secret>,
           .cluster = std::move(connection),
           .name_space = names::bootstrap_namespace,
           .name = bootstrap_name(from)};
  a.stage = stage;
  a.why = "the one-time token is used, or over";
  return a;
}

// ---- requests ----

Action decide(const Request& request, bool approve, std::string_view reason, std::string_view message) {
  const auto& meta = request.object->metadata;
  Action a{.verb = Verb::merge_patch,
           .kind = &kind_of<reconcile::CertificateSigningRequest>,
           .cluster = request.connection,
           .name_space = {},
           .name = meta.name,
           .subresource = "approval"};
  json body;
  body["status"]["conditions"] = json::array({{{"type", approve ? "Approved" : "Denied"},
                                               {"status", "True"},
                                               {"reason", reason},
                                               {"message", std::string("endstate: ").append(message.substr(0, 1000))}}});
  a.body = body.dump(-1, ' ', false, json::error_handler_t::replace);  // a subject may be any bytes
  a.uid = meta.uid;
  a.resource_version = meta.resource_version;
  a.why = std::string(approve ? "approve: " : "deny: ").append(message);
  return a;
}

std::string token_user(const Secret* secret) {
  if (!secret) return {};
  const auto id = secret->metadata.annotations.get(names::token_id);
  return id.empty() ? std::string() : "system:bootstrap:" + std::string(id);
}
std::optional<WallTime> token_end(const Secret& secret) {
  return reconcile::parse_rfc3339(secret.metadata.annotations.get(names::token_expires));
}
std::optional<WallTime> token_used(const Secret& secret) {
  return reconcile::parse_rfc3339(secret.metadata.annotations.get(names::used_at));
}
std::int64_t number_of(const reconcile::ObjectMeta& meta) {
  const auto text = meta.annotations.get(names::identity);
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}
bool is_published(const Secret& secret) { return secret.metadata.annotations.get(names::published) == "true"; }

}  // namespace endstate::enrolment
