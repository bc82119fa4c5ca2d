// What plan_hosted reads out of the objects that are there. Pure.
#pragma once
#include "controllers/cluster/children.hpp"
#include "controllers/cluster/plan_hosted.hpp"

namespace endstate::cluster {

const FoundChild* find_child(const HostedFacts& facts, const reconcile::Kind& kind, std::string_view name);
// A Service's own address in the meta cluster, canonical; empty: it has none (yet).
std::string service_address(const HostedFacts& facts, std::string_view service);
void fill_addresses(const HostedFacts& facts, Site& site);

// Everything that we want of it is there: spec, labels, annotations, owner.
bool is_as_wanted(const reconcile::ObjectMeta& metadata, const reconcile::Json& spec, const Child& wanted);
// `body` with the uid and resourceVersion of what is there: server-side apply can't make it anew.
std::string with_identity(const std::string& body, const reconcile::ObjectMeta& metadata);

enum class Wellness : std::uint8_t { ready, available };
// All its pods are of the newest template, and ready (or available: for minReadySeconds).
bool is_well(const reconcile::Workload& workload, std::int64_t replicas, Wellness wellness);
std::string failure_of(const reconcile::Workload& workload);
std::string trust_of(const reconcile::Workload& workload);  // the CAs that its pods are told to start with

// The hash of the CAs that a part's programs read when they start: another one means a restart.
std::string wanted_trust(const HostedFacts& facts, Part part);
std::string bundle_fingerprints(const CaState& ca);

RecordedKeys recorded_keys(const v1alpha1::ControlPlaneStatus& status);
// What status says of keys from now on. Never forgets a CA that can't be read, and never takes in another than was recorded.
std::vector<v1alpha1::CertificateStatus> certificate_status(const HostedFacts& facts, const v1alpha1::ControlPlaneStatus& before);

}  // namespace endstate::cluster
