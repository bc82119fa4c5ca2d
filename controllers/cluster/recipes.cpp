#include "controllers/cluster/recipes.hpp"

#include <algorithm>

#include "controllers/cluster/child_parts.hpp"

namespace endstate::cluster {
namespace {

using reconcile::Action, reconcile::Verb;

constexpr std::string_view secret_component = "pki";

constexpr std::string_view step_name(KeyStep step) {
  constexpr std::string_view names[] = {"ca", "keys", "leaf", "trust", "switch", "retire"};
  return names[static_cast<std::size_t>(step)];
}

Object leaf_object(const LeafSpec& spec) {
  return {{"name", spec.name},          {"commonName", spec.common_name}, {"organization", spec.organization},
          {"dnsNames", spec.dns_names}, {"addresses", spec.addresses},    {"server", spec.server},
          {"client", spec.client}};
}

// Cluster API's type for the kubeconfig and the CAs, so that its tools take them (api/core/v1beta2/common_types.go).
Object secret(const Site& site, std::string_view name, bool owned, std::string_view made_for) {
  auto meta = metadata(site, site.child(name), secret_component, owned);
  meta["labels"]["cluster.x-k8s.io/cluster-name"] = site.name;
  if (!made_for.empty()) meta["annotations"] = {{std::string(v1alpha1::annotation::made_for), made_for}};
  return {{"apiVersion", "v1"}, {"kind", "Secret"}, {"metadata", meta}, {"type", "Opaque"}};
}

std::string secret_name(const RotationStep& step) {
  if (step.step == KeyStep::make_leaf) return step.leaf;
  return std::string(step.step == KeyStep::make_signing_keys ? service_account_suffix : secret_suffix(step.ca));
}

}  // namespace

Action key_action(const Site& site, const RotationStep& step, const std::vector<WantedLeaf>& wanted, KeyType type,
                  const reconcile::Secret* found) {
  const auto name = secret_name(step);
  const bool lasting = step.step == KeyStep::make_ca || step.step == KeyStep::make_signing_keys;
  Object recipe{{"make", step_name(step.step)}, {"keyType", type == KeyType::ecdsa ? "ecdsa" : "rsa"}, {"commonName", site.child(name)}};
  std::string made_for;
  if (step.step == KeyStep::make_leaf) {
    const auto at = std::find_if(wanted.begin(), wanted.end(), [&](const WantedLeaf& w) { return w.spec.name == step.leaf; });
    recipe["leaf"] = leaf_object(at->spec);
    made_for = at->made_for;
    if (!made_for.empty()) {
      recipe["server"] = made_for.substr(0, made_for.find(' '));
      recipe["cluster"] = site.name;
      recipe["inside"] = step.leaf != "kubeconfig";  // files beside it, in a pod; else everything in one text
    }
  }
  Action a{.verb = found ? Verb::merge_patch : Verb::create,
           .kind = &reconcile::kind_of<reconcile::Secret>,
           .name_space = site.name_space,
           .name = site.child(name)};
  if (found) {
    a.uid = found->metadata.uid;
    a.resource_version = found->metadata.resource_version;
    recipe["madeFor"] = made_for;
  } else {
    // CAs and signing keys have no owner: they never go by garbage collection, whatever becomes of the Cluster object.
    recipe["object"] = secret(site, name, !lasting, made_for);
  }
  a.why = step.why;
  a.making = reconcile::Making{.what = recipe.dump(), .secrets = {}};
  if (!lasting) a.making->secrets.push_back({site.name_space, site.child(secret_suffix(step.ca))});
  return a;
}

}  // namespace endstate::cluster
