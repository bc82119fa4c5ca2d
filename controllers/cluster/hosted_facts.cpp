#include "controllers/cluster/hosted_facts.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/covers.hpp"
#include "controllers/common/network.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::cluster {

namespace api = v1alpha1;
using nlohmann::json;

const FoundChild* find_child(const HostedFacts& facts, const reconcile::Kind& kind, std::string_view name) {
  for (const auto& c : facts.children)
    if (c.kind == &kind && c.metadata.name == name) return &c;
  return nullptr;
}

std::string service_address(const HostedFacts& facts, std::string_view service) {
  const auto* found = find_child(facts, reconcile::kind_of<reconcile::Service>, service);
  const auto spec = found ? json::parse(found->spec.raw.view(), nullptr, false) : json();
  if (!spec.is_object() || !spec.contains("clusterIP") || !spec["clusterIP"].is_string()) return {};
  return canonical_address(spec["clusterIP"].get<std::string>()).value_or("");
}

void fill_addresses(const HostedFacts& facts, Site& site) {
  site.service_address = service_address(facts, site.child("apiserver"));
  site.member_addresses.clear();
  for (std::int64_t i = 0; i < site.members; ++i) site.member_addresses.push_back(service_address(facts, site.member(i)));
}

namespace {

bool carries(const reconcile::Labels& found, const json& wanted) {
  for (const auto& [key, value] : wanted.items())
    if (!found.has(key) || found.get(key) != value.get<std::string>()) return false;
  return true;
}

}  // namespace

bool is_as_wanted(const reconcile::ObjectMeta& metadata, const reconcile::Json& spec, const Child& wanted) {
  const auto meta = json::parse(wanted.body).value("metadata", json::object());
  const auto labels = meta.value("labels", json::object()), annotations = meta.value("annotations", json::object());
  if (!carries(metadata.labels, labels) || !carries(metadata.annotations, annotations)) return false;
  const auto* owner = metadata.controller();
  const auto owners = meta.value("ownerReferences", json::array());
  if (!owners.empty() && (!owner || owner->uid != owners[0].value("uid", ""))) return false;
  return covers(spec.raw.view(), wanted.spec);
}

std::string with_identity(const std::string& body, const reconcile::ObjectMeta& metadata) {
  auto object = nlohmann::ordered_json::parse(body);
  object["metadata"]["uid"] = metadata.uid.str();
  object["metadata"]["resourceVersion"] = metadata.resource_version.str();
  return object.dump();
}

bool is_well(const reconcile::Workload& w, std::int64_t replicas, Wellness wellness) {
  const auto& s = w.status;
  if (!w.metadata.generation || s.observed_generation.value_or(-1) < *w.metadata.generation) return false;
  if (s.replicas != replicas || s.updated_replicas != replicas) return false;  // more: an old pod is still there
  return (wellness == Wellness::ready ? s.ready_replicas : s.available_replicas) >= replicas;
}

std::string failure_of(const reconcile::Workload& w) {
  if (!w.metadata.generation || w.status.observed_generation.value_or(-1) < *w.metadata.generation) return {};
  const auto* c = reconcile::find_condition(w.status.conditions, "Progressing");
  return c && c->status == reconcile::ConditionStatus::false_ ? c->message.str() : std::string();
}

std::string trust_of(const reconcile::Workload& w) {
  const auto spec = json::parse(w.spec.raw.view(), nullptr, false);
  const auto at = json::json_pointer("/template/metadata/annotations/" + reconcile::pointer(api::annotation::trust));
  return spec.is_object() && spec.contains(at) && spec[at].is_string() ? spec[at].get<std::string>() : std::string();
}

std::string bundle_fingerprints(const CaState& ca) {
  std::string out;
  for (const auto& c : ca.trusted) out += c.fingerprint + " ";
  return out;
}

std::string wanted_trust(const HostedFacts& facts, Part part) {
  std::string text;
  for (const auto ca : all_cas) {
    if (part == Part::etcd && ca != CaName::etcd) continue;
    if ((part == Part::controller_manager || part == Part::scheduler) && ca != CaName::cluster) continue;
    const auto& state = facts.cas[static_cast<std::size_t>(ca)];
    text += std::string(secret_suffix(ca)) + ": " + bundle_fingerprints(state) + "signs " +
            (state.issuing ? state.issuing->fingerprint : "") + "\n";
  }
  return reconcile::hash_of(text);
}

RecordedKeys recorded_keys(const api::ControlPlaneStatus& status) {
  RecordedKeys out;
  const auto texts = [](const api::CertificateStatus& c) {
    std::vector<std::string> all;
    for (const auto& f : c.fingerprints) all.push_back(f.str());
    return all;
  };
  for (const auto& c : status.certificates) {
    if (c.name == service_account_suffix) out.signing_keys = texts(c);
    for (const auto ca : all_cas)
      if (c.name == secret_suffix(ca)) out.cas[static_cast<std::size_t>(ca)] = texts(c);
  }
  return out;
}

namespace {

bool has(const std::vector<std::string>& list, const std::string& text) { return std::find(list.begin(), list.end(), text) != list.end(); }

class Recorder {
 public:
  explicit Recorder(const api::ControlPlaneStatus& before) : before_(before), recorded_(recorded_keys(before)) {}

  void ca(CaName name, const CaState& s) {
    const auto& known = recorded_.cas[static_cast<std::size_t>(name)];
    if (!s.issuing || (!known.empty() && !has(known, s.issuing->fingerprint))) return keep(secret_suffix(name));
    api::CertificateStatus c{.name = secret_suffix(name), .not_after = s.issuing->not_after, .fingerprints = {s.issuing->fingerprint}};
    if (s.next) c.fingerprints.emplace_back(s.next->fingerprint);
    out_.push_back(std::move(c));
  }
  void signing_keys(const SigningKeysState& s) {
    const auto& known = recorded_.signing_keys;
    if (!s.exists || s.fingerprint.empty() || (!known.empty() && !has(known, s.fingerprint))) return keep(service_account_suffix);
    out_.push_back({.name = service_account_suffix, .not_after = {}, .fingerprints = {s.fingerprint}});
  }
  void leaf(const std::string& name, const LeafState& s) {
    if (s.certificate) out_.push_back({.name = name, .not_after = s.certificate->not_after, .fingerprints = {}});
  }
  std::vector<api::CertificateStatus> done() {
    std::sort(out_.begin(), out_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::move(out_);
  }

 private:
  void keep(std::string_view name) {
    for (const auto& c : before_.certificates)
      if (c.name == name) out_.push_back(c);
  }
  const api::ControlPlaneStatus& before_;
  RecordedKeys recorded_;
  std::vector<api::CertificateStatus> out_;
};

}  // namespace

std::vector<api::CertificateStatus> certificate_status(const HostedFacts& facts, const api::ControlPlaneStatus& before) {
  Recorder recorder(before);
  for (const auto ca : all_cas) recorder.ca(ca, facts.cas[static_cast<std::size_t>(ca)]);
  recorder.signing_keys(facts.signing_keys);
  for (const auto& [name, leaf] : facts.leaves) recorder.leaf(name, leaf);
  return recorder.done();
}

}  // namespace endstate::cluster
