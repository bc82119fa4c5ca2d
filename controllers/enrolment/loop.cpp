#include "controllers/enrolment/loop.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include "apis/v1alpha1/enrolment.hpp"
#include "controllers/common/cluster_sight.hpp"
#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/common/network.hpp"
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

// Value: "<namespace>/<name>" of the Host that it is for, as those in endstate-system say.
template <class T>
constexpr reconcile::Index by_host = reconcile::index<T>("host", [](const T& object, auto& emit) {
  if (const auto host = object.metadata.annotations.get(names::host); !host.empty()) emit(host);
});
// Value: the Node's name, of an active one.
constexpr reconcile::Index assignments_by_node =
    reconcile::index<api::HostAssignment>("node", [](const api::HostAssignment& a, auto& emit) {
      if (a.spec.state == api::AssignmentState::active) emit(a.spec.node_name.view());
    });
// Value: each of its addresses, as addresses are compared.
constexpr reconcile::Index nodes_by_address = reconcile::index<reconcile::Node>("address", [](const reconcile::Node& n, auto& emit) {
  for (const auto& a : n.status.addresses)
    if (const auto address = canonical_address(a.address)) emit(*address);
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

// Whether the policy that keeps agents apart is there, as the last query says.
void read_isolation(const reconcile::Snapshot& s, Input& in) {
  const auto fact = s.memory.facts.find(isolation_query);
  if (fact == s.memory.facts.end()) return;
  if (const auto& body = fact->second.body; body) {
    in.isolation = Isolation::there;
  } else {
    in.isolation = body.error().code == reconcile::Code::not_found ? Isolation::missing : Isolation::unreadable;
    in.isolation_trouble = body.error().message;
  }
}

// Who else has the host's address, as far as that can be told: another Node, the API server, a Service.
std::string owner_of_address(const View& view, const std::string& connection, const api::Cluster& cluster, const api::Host& host,
                             std::string_view node_name) {
  const auto address = canonical_address(host.spec.address);
  if (!address) return {};
  for (const auto& node : view.by_index<reconcile::Node>(connection, nodes_by_address, *address))
    if (!(node->metadata.name == node_name)) return "the address of Node " + node->metadata.name.str();
  const auto& plane = cluster.spec.control_plane;
  if (plane.endpoint && canonical_address(plane.endpoint->host) == address) return "the address of the API server";
  if (cluster.spec.cluster_network)
    for (const auto& range : cluster.spec.cluster_network->services.cidr_blocks)
      if (in_range(range, *address)) return "in the range of the cluster's Services";
  return {};
}

// What its Node's certificates are judged by: what we have recorded, and what stands against it.
void read_node(const reconcile::Snapshot& s, const api::Machine& machine, const api::Cluster& cluster, Input& in) {
  const auto& name = in.assignment->spec.node_name;
  in.seen = cluster_sight(s, in.connection).seen && s.view.synced<reconcile::Node>(in.connection);
  if (machine.status.host_ref) in.host_ref = machine.status.host_ref->uid;
  if (machine.status.node_ref) in.node_ref = machine.status.node_ref->uid;
  in.adopted = machine.metadata.annotations.get(api::annotation::adopt_node);
  in.node = s.view.get<reconcile::Node>(in.connection, {}, name);
  in.name_shared = s.view.by_index<api::HostAssignment>(in.connection, assignments_by_node, name).size() > 1;
  in.address_owner = owner_of_address(s.view, in.connection, cluster, *in.host, name);
}

void read_roles(const reconcile::Snapshot& s, Input& in) {
  const auto name = names::role(in.host->metadata.uid);
  in.sees_roles = s.view.synced<reconcile::ClusterRole>(in.connection) && s.view.synced<reconcile::ClusterRoleBinding>(in.connection);
  if (!in.sees_roles) return;
  in.cluster_role = s.view.get<reconcile::ClusterRole>(in.connection, {}, name);
  in.cluster_binding = s.view.get<reconcile::ClusterRoleBinding>(in.connection, {}, name);
}

// A claim leads to a Machine of the Host's own namespace, and to nothing else: whatever is written there, or in a business cluster.
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
  if (in.assignment) {
    read_node(s, *machine, *cluster, in);
    read_roles(s, in);
    read_isolation(s, in);
  }
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

// "<namespace>/<name>" of an annotation.
void enqueue_host(std::string_view text, const Enqueue& enqueue) {
  const auto slash = text.find('/');
  if (slash != std::string_view::npos) enqueue({text.substr(0, slash), text.substr(slash + 1)});
}
// What is in endstate-system for a Host. What stands beside it is nobody's word.
template <class T>
void of_host_changed(const View&, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto& meta = as<T>(after ? after : before)->metadata;
  if (meta.name_space == api::system_namespace) enqueue_host(meta.annotations.get(names::host), enqueue);
}

// Roles in a business cluster, by their name.
template <class T>
void cluster_role_changed(const View& view, std::string_view connection, const void* before, const void* after, const Enqueue& enqueue) {
  const auto name = as<T>(after ? after : before)->metadata.name.view();
  if (!name.starts_with(names::user_prefix)) return;
  for (const auto& host : hosts_named(view, connection, name.substr(names::user_prefix.size()))) enqueue(host->metadata.key());
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

// Which Host and which Node it has.
void machine_changed(const View& view, std::string_view, const void* before, const void* after, const Enqueue& enqueue) {
  const auto* a = as<api::Machine>(before);
  const auto* b = as<api::Machine>(after);
  if (!b || !b->status.host_ref) return;
  const auto adopted = [](const api::Machine& m) { return m.metadata.annotations.get(api::annotation::adopt_node); };
  if (a && a->status.host_ref == b->status.host_ref && a->status.node_ref == b->status.node_ref && adopted(*a) == adopted(*b)) return;
  const Key key{b->metadata.name_space, b->status.host_ref->name};
  if (const auto host = view.get<api::Host>("", key.name_space, key.name); host && is_managed(*host)) enqueue(key);
}
// That it comes or goes; its heartbeats say nothing here.
void node_changed(const View& view, std::string_view connection, const void* before, const void* after, const Enqueue& enqueue) {
  if (before && after) return;
  for (const auto& host : view.by_index<api::Host>("", hosts_by_name, as<reconcile::Node>(after ? after : before)->metadata.name))
    if (is_managed(*host) && may_speak_of(connection, host->metadata.name_space)) enqueue(host->metadata.key());
}

void nobody(const View&, std::string_view, const void*, const void*, const Enqueue&) {}

// What has the Host's key, and isn't of the Host that is there.
template <class T>
std::vector<reconcile::Ref<T>> left_of(const View& view, const Key& key, const api::Host* host) {
  std::vector<reconcile::Ref<T>> out;
  for (auto& object : view.by_index<T>("", by_host<T>, key.str())) {
    const bool own = host && object->metadata.name.view().ends_with(host->metadata.uid.view());
    if (!own && object->metadata.name_space == api::system_namespace) out.push_back(std::move(object));
  }
  return out;
}
std::function<reconcile::Plan()> observe_remains(const reconcile::Snapshot& s, const Key& key, const api::Host* host) {
  if (!s.view.synced<api::Host>("")) return nullptr;
  Remains remains{.secrets = left_of<Secret>(s.view, key, host),
                  .roles = left_of<reconcile::Role>(s.view, key, host),
                  .bindings = left_of<reconcile::RoleBinding>(s.view, key, host)};
  if (remains.empty()) return nullptr;
  return [remains = std::move(remains)] { return plan_remains(remains); };
}

}  // namespace

const reconcile::Kind& EnrolmentLoop::kind() const { return kind_of<api::Host>; }

std::function<reconcile::Plan()> EnrolmentLoop::observe(const reconcile::Snapshot& s, const Key& key) const {
  Input in;
  in.now = s.now;
  in.host = s.view.get<api::Host>("", key.name_space, key.name);
  if (!s.view.synced<Secret>("") || !s.view.synced<CertificateSigningRequest>("")) return nullptr;
  if (auto remains = observe_remains(s, key, in.host.get())) return remains;
  if (!in.host) return nullptr;
  const auto& uid = in.host->metadata.uid;
  in.token = s.view.get<Secret>("", api::system_namespace, names::token_secret(uid));
  in.hand_over = s.view.get<Secret>("", api::system_namespace, names::hand_over_secret(uid));
  in.sees_meta_roles = s.view.synced<reconcile::Role>("") && s.view.synced<reconcile::RoleBinding>("");
  in.role = s.view.get<reconcile::Role>("", api::system_namespace, names::role(uid));
  in.binding = s.view.get<reconcile::RoleBinding>("", api::system_namespace, names::role(uid));
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
  const std::string system(api::system_namespace), labelled = "labelSelector=endstate.dev%2Fcomponent";
  all.push_back(
      {.kind = &kind_of<Secret>, .name_space = options_.hosted ? "" : system, .selector = labelled, .keys = of_host_changed<Secret>});
  all.push_back({.kind = &kind_of<reconcile::Role>, .name_space = system, .selector = labelled, .keys = of_host_changed<reconcile::Role>});
  all.push_back({.kind = &kind_of<reconcile::RoleBinding>,
                 .name_space = system,
                 .selector = labelled,
                 .keys = of_host_changed<reconcile::RoleBinding>});
  all.push_back({.kind = &kind_of<reconcile::ClusterRole>,
                 .remote = true,
                 .selector = labelled,
                 .keys = cluster_role_changed<reconcile::ClusterRole>});
  all.push_back({.kind = &kind_of<reconcile::ClusterRoleBinding>,
                 .remote = true,
                 .selector = labelled,
                 .keys = cluster_role_changed<reconcile::ClusterRoleBinding>});
  all.push_back({.kind = &kind_of<CertificateSigningRequest>, .remote = true, .keys = request_changed});
  all.push_back({.kind = &kind_of<api::HostAssignment>, .remote = true, .keys = assignment_changed});
  all.push_back({.kind = &kind_of<reconcile::Node>, .remote = true, .keys = node_changed});
  all.push_back({.kind = &kind_of<api::Machine>, .keys = machine_changed});  // the claim on the Host says whose it is
  all.push_back({.kind = &kind_of<api::Cluster>, .keys = nobody});
  return all;
}

}  // namespace endstate::enrolment
