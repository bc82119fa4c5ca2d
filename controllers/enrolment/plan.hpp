// The plan of a Host's credentials: one-time tokens, what is handed over when a Machine claims it, and which certificates it gets. A pure
// function from what is known of it; docs/decisions/0010-enrolment.md tells the whole path.
//
// Hosts that nobody has enrolled are none of its business: it does nothing about them, and writes nothing.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "controllers/enrolment/rules.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/rbac.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/run/loop.hpp"

namespace endstate::enrolment {

namespace api = v1alpha1;
using reconcile::Ref, reconcile::Text, reconcile::WallTime;

inline constexpr std::size_t max_requests = 32;  // of one host that wait, and as many that were approved

struct Request {
  std::string connection;
  Ref<reconcile::CertificateSigningRequest> object;
  std::optional<RequestFacts> facts;  // none: it can't be read, and `trouble` says why
  std::string trouble;
};

// What the business cluster's API server says of the policy that keeps agents apart (isolation_query).
enum class Isolation : std::uint8_t { unknown, there, missing, unreadable };

struct Input {
  reconcile::Now now;
  Ref<api::Host> host;
  Ref<reconcile::Secret> token, hand_over;  // the two Secrets in endstate-system; null: there is none
  std::vector<Request> requests;            // those that wait by their creation
  bool sees_meta_roles = false;
  Ref<reconcile::Role> role;  // of its hand-over, in endstate-system
  Ref<reconcile::RoleBinding> binding;
  // Of the Machine that has it; all empty while it is free, or while its cluster can't be seen.
  Text machine_uid;
  std::string cluster, connection;  // "<namespace>/<name>", and where that is
  Ref<api::HostAssignment> assignment;
  bool unseen = false;            // it is claimed, but its cluster can't be seen now: what is handed over stays
  std::string kubeconfig_secret;  // in the Cluster's namespace; empty: it is the meta cluster itself
  std::string kubeconfig_namespace;
  // In that cluster. Roles: null also if they can't be seen (sees_roles).
  bool sees_roles = false;
  Ref<reconcile::ClusterRole> cluster_role;
  Ref<reconcile::ClusterRoleBinding> cluster_binding;
  Isolation isolation{};
  std::string isolation_trouble;
  // For its Node. `host_ref`, `node_ref`: what the Machine's status says; `adopted`: which Node it takes over by a person's word; empty:
  // none.
  Text host_ref, node_ref, adopted;
  Ref<reconcile::Node> node;  // named as the assignment says
  bool name_shared = false;   // another Active assignment has that name too
  bool seen = false;          // the cluster is seen now
  std::string address_owner;  // who else has spec.address, for people; empty: nobody is known
};

inline constexpr std::string_view isolation_query = "isolation";  // Query::id

// Whether enrolment has anything to do with this Host.
bool is_managed(const api::Host& host);

reconcile::Plan plan(const Input& in);

// What is left in endstate-system of a Host that is gone, or was made again with another uid.
struct Remains {
  std::vector<Ref<reconcile::Secret>> secrets;
  std::vector<Ref<reconcile::Role>> roles;
  std::vector<Ref<reconcile::RoleBinding>> bindings;
  bool empty() const { return secrets.empty() && roles.empty() && bindings.empty(); }
};
reconcile::Plan plan_remains(const Remains& remains);

// The public half of a one-time token: of the host, the purpose and the moment, so that a pass that is repeated names the same one.
std::string token_id(std::string_view host_uid, std::string_view purpose, WallTime when);

}  // namespace endstate::enrolment
