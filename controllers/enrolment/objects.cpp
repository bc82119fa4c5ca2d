#include "controllers/enrolment/objects.hpp"

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

Action create(const Kind& kind, std::string connection, std::string_view name_space, std::string_view name, std::uint8_t stage) {
  Action a{.verb = Verb::create, .kind = &kind, .cluster = std::move(connection), .name_space = name_space, .name = name};
  a.stage = stage;
  a.tolerate_exists = true;  // named by the host's uid: one that exists is an earlier one of ours
  return a;
}

json rule(std::string_view group, std::string_view resource, std::string_view name, std::vector<std::string> verbs) {
  return {{"apiGroups", json::array({group})},
          {"resources", json::array({resource})},
          {"resourceNames", json::array({name})},
          {"verbs", std::move(verbs)}};
}

Action role(const Kind& kind, std::string connection, std::string_view name_space, std::string_view uid, json owners, json rules,
            std::uint8_t stage) {
  auto a = create(kind, std::move(connection), name_space, names::role(uid), stage);
  json metadata{{"name", names::role(uid)}, {"ownerReferences", std::move(owners)}};
  if (!name_space.empty()) metadata["namespace"] = name_space;
  auto body = object(kind, std::move(metadata));
  body["rules"] = std::move(rules);
  a.body = body.dump();
  a.why = "let host " + std::string(uid) + " read what is its own";
  return a;
}

Action binding(const Kind& kind, std::string_view role_kind, std::string connection, std::string_view name_space, std::string_view uid,
               json owners, std::uint8_t stage) {
  auto a = create(kind, std::move(connection), name_space, names::role(uid), stage);
  json metadata{{"name", names::role(uid)}, {"ownerReferences", std::move(owners)}};
  if (!name_space.empty()) metadata["namespace"] = name_space;
  auto body = object(kind, std::move(metadata));
  body["roleRef"] = {{"apiGroup", rbac_group}, {"kind", role_kind}, {"name", names::role(uid)}};
  body["subjects"] = json::array({{{"apiGroup", rbac_group}, {"kind", "User"}, {"name", names::user(uid)}}});
  a.body = body.dump();
  a.why = "let host " + std::string(uid) + " read what is its own";
  return a;
}

json secret_metadata(const api::Host& host, const std::string& name, json annotations) {
  return {{"name", name},
          {"namespace", host.metadata.name_space.view()},
          {"labels", {{api::label::component, names::component}}},
          {"annotations", std::move(annotations)},
          {"ownerReferences", owned_by_host(host)}};
}

void add_token(json& annotations, const std::string& id, WallTime now) {
  annotations[std::string(names::token_id)] = id;
  annotations[std::string(names::token_expires)] = reconcile::format_rfc3339(now + names::token_life);
}

std::string bootstrap_name(const Secret& from) {
  return std::string(names::bootstrap_prefix).append(from.metadata.annotations.get(names::token_id));
}

}  // namespace

// ---- in the meta cluster ----

Action meta_role(const api::Host& host, std::uint8_t stage) {
  const auto& uid = host.metadata.uid;
  const auto rules = json::array({rule("endstate.dev", "hosts", host.metadata.name, {"get"}),
                                  rule("", "secrets", names::hand_over_secret(uid), {"get", "list", "watch"})});
  return role(kind_of<reconcile::Role>, {}, host.metadata.name_space, uid, owned_by_host(host), rules, stage);
}

Action meta_binding(const api::Host& host, std::uint8_t stage) {
  return binding(kind_of<reconcile::RoleBinding>, "Role", {}, host.metadata.name_space, host.metadata.uid, owned_by_host(host), stage);
}

Action enrolment_secret(const api::Host& host, std::string_view wish, WallTime now, std::uint8_t stage) {
  const auto name = names::token_secret(host.metadata.uid);
  const auto id = token_id(host.metadata.uid, wish, now);
  auto a = create(kind_of<Secret>, {}, host.metadata.name_space, name, stage);
  a.tolerate_exists = false;  // another's token would be another's: looked at again
  json annotations{{names::wanted, wish}};
  add_token(annotations, id, now);
  auto body = object(kind_of<Secret>, secret_metadata(host, name, std::move(annotations)));
  body["type"] = "Opaque";
  a.making =
      reconcile::Making{.what = json{{"make", "enrolment-token"}, {"tokenID", id}, {"object", std::move(body)}}.dump(), .secrets = {}};
  a.why = "a one-time token for host " + host.metadata.name.str();
  return a;
}

Action hand_over(const Input& in, std::string_view enrolled, WallTime now, std::uint8_t stage) {
  const auto& host = *in.host;
  const auto name = names::hand_over_secret(host.metadata.uid);
  auto a = create(kind_of<Secret>, {}, host.metadata.name_space, name, stage);
  a.tolerate_exists = false;
  json annotations{{names::claimed_by, in.machine_uid.view()}, {names::cluster, in.cluster}, {names::enrolled, enrolled}};
  a.why = "hand cluster " + in.cluster + " over to host " + host.metadata.name.str();
  if (in.kubeconfig_secret.empty()) {  // it is known there already: nothing secret is handed over
    annotations[std::string(names::published)] = "true";
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

Action remove_secret(const Secret& secret, std::uint8_t stage, std::string why) {
  Action a{.verb = Verb::remove,
           .kind = &kind_of<Secret>,
           .cluster = {},
           .name_space = secret.metadata.name_space,
           .name = secret.metadata.name};
  a.uid = secret.metadata.uid;
  a.stage = stage;
  a.why = std::move(why);
  return a;
}

// ---- in the business cluster ----

Action business_role(const Input& in, std::uint8_t stage) {
  const auto& uid = in.host->metadata.uid;
  const auto rules = json::array({rule("endstate.dev", "hostassignments", uid, {"get", "list", "watch"})});
  return role(kind_of<reconcile::ClusterRole>, in.connection, {}, uid, owned_by_assignment(*in.assignment), rules, stage);
}

Action business_binding(const Input& in, std::uint8_t stage) {
  return binding(kind_of<reconcile::ClusterRoleBinding>, "ClusterRole", in.connection, {}, in.host->metadata.uid,
                 owned_by_assignment(*in.assignment), stage);
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
bool is_published(const Secret& secret) { return secret.metadata.annotations.get(names::published) == "true"; }

}  // namespace endstate::enrolment
