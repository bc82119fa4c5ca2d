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

struct Input {
  reconcile::Now now;
  Ref<api::Host> host;
  Ref<reconcile::Secret> token, hand_over;  // the two Secrets; null: there is none
  std::vector<Request> requests;            // those that wait by their creation
  // Of the Machine that has it; all empty while it is free, or while its cluster can't be seen.
  Text machine_uid;
  std::string cluster, connection;  // "<namespace>/<name>", and where that is
  Ref<api::HostAssignment> assignment;
  bool unseen = false;            // it is claimed, but its cluster can't be seen now: what is handed over stays
  std::string kubeconfig_secret;  // in the Cluster's namespace; empty: it is the meta cluster itself
  std::string kubeconfig_namespace;
};

// Whether enrolment has anything to do with this Host.
bool is_managed(const api::Host& host);

reconcile::Plan plan(const Input& in);

// The public half of a one-time token: of the host, the purpose and the moment, so that a pass that is repeated names the same one.
std::string token_id(std::string_view host_uid, std::string_view purpose, WallTime when);

}  // namespace endstate::enrolment
