// doctor: what of an installation breaks docs/security.md, or would keep a promise from being held. Pure: facts in, findings out.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/cache/view.hpp"

namespace endstate::kubectl {

using reconcile::Ref;

// A ValidatingAdmissionPolicy or its binding, as far as it matters.
struct PolicyFact {
  std::string name;
  bool denies = false;  // of a binding: validationActions has Deny
};
// Who holds a role in a namespace, by one RoleBinding.
struct Holder {
  std::string name_space, role, subject;
};

struct DoctorFacts {
  std::string server_version;         // gitVersion of the API server
  std::vector<std::string> expected;  // names of the policies that endstate brings
  std::vector<PolicyFact> policies, bindings;
  std::vector<Ref<v1alpha1::Cluster>> clusters;
  std::vector<Ref<v1alpha1::Host>> hosts;
  std::vector<Ref<v1alpha1::ChangeBudget>> budgets;
  std::vector<Holder> holders;              // of edit, admin or cluster-admin in namespaces with Clusters or Hosts
  std::vector<std::string> old_hand_overs;  // Secrets endstate-host-... outside of endstate-system, as <namespace>/<name>
};

enum class Severity : std::uint8_t { danger, note };
struct Finding {
  Severity severity{};
  std::string what, remedy;
};

// The dangers first.
std::vector<Finding> diagnose(const DoctorFacts& facts);
std::string doctor_text(const std::vector<Finding>& findings);

}  // namespace endstate::kubectl
