#include "controllers/enrolment/loop.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include "apis/v1alpha1/enrolment.hpp"
#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/enrolment/pki_request.hpp"
#include "controllers/enrolment/plan.hpp"

namespace endstate::enrolment {
namespace {

namespace names = api::enrolment;
using reconcile::CertificateSigningRequest, reconcile::Key, reconcile::kind_of, reconcile::Secret, reconcile::View;
using Enqueue = std::function<void(Key)>;

template <class T>
const T* as(const void* object) {
  return static_cast<const T*>(object);
}

// Whom a request is about: uids of hosts, and names of Nodes. Who asks says it; a stranger who asks for the name of a host is found by
// what he asks for.
void subjects(const CertificateSigningRequest& r, const std::function<void(std::string_view)>& uid,
              const std::function<void(std::string_view)>& node) {
  if (const auto by = host_uid_of(r)) return uid(*by);
  if (const auto by = node_of(r)) return node(*by);
  if (!(r.spec.signer_name == names::client_signer)) return;
  const auto facts = read_request(r.spec.request);
  if (facts && facts->common_name.starts_with(names::user_prefix))
    uid(std::string_view(facts->common_name).substr(names::user_prefix.size()));
}

constexpr std::string_view node_mark = "node/";
// Value: uid of a host, or "node/" and the name of a Node.
constexpr reconcile::Index requests_by_subject =
    reconcile::index<CertificateSigningRequest>("subject", [](const CertificateSigningRequest& r, auto& emit) {
      subjects(
          r, [&](std::string_view uid) { emit(uid); }, [&](std::string_view node) { emit(std::string(node_mark).append(node)); });
    });

// ---- observe ----

void add_requests(const View& view, const std::string& connection, const std::string& subject, Input& in) {
  for (auto& r : view.by_index<CertificateSigningRequest>(connection, requests_by_subject, subject))
    in.requests.push_back({.connection = connection, .object = std::move(r), .facts = {}, .trouble = {}});
}

// What waits, the oldest first (of two who come with one token the first has it), and what was approved lately, by which a token is known
// to be used. What was denied is nobody's business any more: a host can't crowd out its own good requests by bad ones.
void keep(std::vector<Request>& all) {
  const auto made = [](const Request& r) { return r.object->metadata.creation_timestamp.value_or(WallTime{}); };
  std::stable_sort(all.begin(), all.end(), [&](const Request& a, const Request& b) { return made(a) < made(b); });
  std::vector<Request> waiting, approved;
  for (auto& r : all) {
    if (is_pending(*r.object)) {
      if (waiting.size() < max_requests) waiting.push_back(std::move(r));
    } else if (is_approved(*r.object)) {
      approved.push_back(std::move(r));
    }
  }
  if (approved.size() > max_requests) approved.erase(approved.begin(), approved.end() - static_cast<std::ptrdiff_t>(max_requests));
  all = std::move(approved);
  std::move(waiting.begin(), waiting.end(), std::back_inserter(all));
}

void read_claim(const reconcile::Snapshot& s, Input& in) {
  const auto* consumer = claim_of(*in.host);
  if (!consumer) return;
  in.unseen = true;
  const auto machine = s.view.get<api::Machine>("", consumer->name_space, consumer->name);
  if (!machine || !(machine->metadata.uid == consumer->uid)) return;
  const auto cluster = s.view.get<api::Cluster>("", consumer->name_space, machine->spec.cluster_name);
  if (!cluster) return;
  in.connection = connection_of(*cluster);
  if (!s.view.synced<api::HostAssignment>(in.connection) || !s.view.synced<CertificateSigningRequest>(in.connection)) return;
  in.unseen = false;
  in.machine_uid = machine->metadata.uid;
  in.cluster = cluster->metadata.key().str();
  in.assignment = s.view.get<api::HostAssignment>(in.connection, {}, in.host->metadata.uid);
  if (in.assignment && !(in.assignment->spec.machine_uid == in.machine_uid)) in.assignment = nullptr;
  if (in.connection.empty()) return;
  const auto& plane = cluster->spec.control_plane;
  in.kubeconfig_namespace = cluster->metadata.name_space.str();
  in.kubeconfig_secret = plane.kubeconfig_secret ? plane.kubeconfig_secret->name.str() : cluster->metadata.name.str() + "-kubeconfig";
}

void read_facts(Input& in) {
  for (auto& r : in.requests) {
    auto facts = read_request(r.object->spec.request);
    if (facts)
      r.facts = std::move(*facts);
    else
      r.trouble = facts.error().message;
  }
}

// ---- sources ----

void itself(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  for (const void* host : {before, after})
    if (host && is_managed(*as<api::Host>(host))) return enqueue(as<api::Host>(host)->metadata.key());
}

void secret_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto& meta = as<Secret>(after ? after : before)->metadata;
  if (meta.labels.get(api::label::component) != names::component) return;
  for (const auto& owner : meta.owner_references)
    if (owner.kind == "Host") enqueue({meta.name_space, owner.name});
}

void request_changed(const View& view, std::string_view connection, const void* before, const void* after, const Enqueue& enqueue) {
  subjects(
      *as<CertificateSigningRequest>(after ? after : before),
      [&](std::string_view uid) {
        for (const auto& host : hosts_named(view, connection, uid)) enqueue(host->metadata.key());
      },
      [&](std::string_view node) {
        for (const auto& host : view.by_index<api::Host>("", hosts_by_name, node))
          if (is_managed(*host) && may_speak_of(connection, host->metadata.name_space)) enqueue(host->metadata.key());
      });
}

// Only what is handed over depends on: that it is there, whose it is, what it may be, and that its agent has reported.
void assignment_changed(const View& view, std::string_view connection, const void* before, const void* after, const Enqueue& enqueue) {
  const auto* a = as<api::HostAssignment>(before);
  const auto* b = as<api::HostAssignment>(after);
  if (a && b && a->spec.machine_uid == b->spec.machine_uid && a->spec.state == b->spec.state &&
      a->status.agent.has_value() == b->status.agent.has_value())
    return;
  for (const auto& host : hosts_named(view, connection, (b ? b : a)->metadata.name))
    if (is_managed(*host)) enqueue(host->metadata.key());
}

void nobody(const View&, std::string_view, const void*, const void*, const Enqueue&) {}

}  // namespace

const reconcile::Kind& EnrolmentLoop::kind() const { return kind_of<api::Host>; }

std::function<reconcile::Plan()> EnrolmentLoop::observe(const reconcile::Snapshot& s, const Key& key) const {
  Input in;
  in.now = s.now;
  in.host = s.view.get<api::Host>("", key.name_space, key.name);
  if (!in.host || !s.view.synced<Secret>("") || !s.view.synced<CertificateSigningRequest>("")) return nullptr;
  const auto& uid = in.host->metadata.uid;
  in.token = s.view.get<Secret>("", key.name_space, names::token_secret(uid));
  in.hand_over = s.view.get<Secret>("", key.name_space, names::hand_over_secret(uid));
  read_claim(s, in);
  std::set<std::string> connections{""};
  if (in.assignment) connections.insert(in.connection);
  for (const auto& connection : connections) {
    add_requests(s.view, connection, uid.str(), in);
    if (in.assignment && connection == in.connection)
      add_requests(s.view, connection, std::string(node_mark) + in.assignment->spec.node_name, in);
  }
  keep(in.requests);
  if (!is_managed(*in.host) && !in.token && !in.hand_over && in.requests.empty()) return nullptr;
  return [in = std::move(in)]() mutable {
    read_facts(in);
    return plan(in);
  };
}

std::vector<reconcile::Source> EnrolmentLoop::sources() const {
  std::vector<reconcile::Source> all;
  all.push_back({.kind = &kind_of<api::Host>, .keys = itself});
  all.push_back({.kind = &kind_of<Secret>, .selector = "labelSelector=endstate.dev%2Fcomponent", .keys = secret_changed});
  all.push_back({.kind = &kind_of<CertificateSigningRequest>, .remote = true, .keys = request_changed});
  all.push_back({.kind = &kind_of<api::HostAssignment>, .remote = true, .keys = assignment_changed});
  all.push_back({.kind = &kind_of<api::Machine>, .keys = nobody});  // the claim on the Host says it
  all.push_back({.kind = &kind_of<api::Cluster>, .keys = nobody});
  return all;
}

}  // namespace endstate::enrolment
