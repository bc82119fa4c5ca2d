#include "src/kubectl/rights.hpp"
#include "src/kubectl/run.hpp"
#include "src/kubectl/secret.hpp"

namespace endstate::kubectl {
namespace {

using reconcile::Result;

constexpr reconcile::Resource secrets{"", "v1", "secrets", "Secret"};
constexpr reconcile::Resource reviews{"authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false};

// The verbs of each right that whom the kubeconfig names lacks there.
Result<std::vector<Right>> find_missing(Client& there) {
  std::vector<Right> out;
  for (auto right : business_rights()) {
    std::vector<std::string_view> lacks;
    for (const auto verb : right.verbs) {
      const auto answer = there.send({.verb = reconcile::Verb::create, .resource = &reviews, .body = review(right, verb)});
      if (!answer) return reconcile::fail(answer.error());
      if (!allowed(*answer)) lacks.push_back(verb);
    }
    right.verbs = std::move(lacks);
    if (!right.verbs.empty()) out.push_back(std::move(right));
  }
  return out;
}

Result<reconcile::Credentials> credentials_of(const Session& s, const v1alpha1::Cluster& cluster) {
  const auto name = kubeconfig_secret(cluster);
  if (!name) return reconcile::fail(name.error());
  const auto secret = s.client.send({.verb = reconcile::Verb::get, .resource = &secrets, .name_space = s.name_space, .name = *name});
  if (!secret) return reconcile::fail(secret.error());
  const auto text = kubeconfig_of(*secret);
  if (!text) return reconcile::fail(text.error());
  return reconcile::parse_kubeconfig(*text, "", "", "Secret " + s.name_space + "/" + *name);
}

}  // namespace

int run_rights(const Session& s, const RightsArgs& args) {
  const auto found = s.client.get<v1alpha1::Cluster>(s.name_space, args.target.name);
  if (!found) return s.fail(found.error());
  if ((*found)->spec.control_plane.type == v1alpha1::ControlPlaneType::hosted) {
    s.err << "Cluster " << args.target.name << " is Hosted: endstate is its administrator, and lacks nothing.\n";
    return exit_code::good;
  }
  const auto credentials = credentials_of(s, **found);
  if (!credentials) return s.fail(credentials.error().message, exit_code::no);
  Client there(*credentials, {});
  const auto missing = find_missing(there);
  if (!missing) return s.fail("the API server of Cluster " + args.target.name + ": " + missing.error().message, exit_code::server);
  if (missing->empty()) {
    s.err << "Cluster " << args.target.name << ": endstate may do all that it must there.\n";
    return exit_code::good;
  }
  s.err << "Cluster " << args.target.name
        << ": endstate lacks rights there. Apply this in that cluster, and bind it to whom the kubeconfig of its "
        << "Secret names:\n";
  s.out << grant_yaml(*missing);
  return exit_code::no;
}

}  // namespace endstate::kubectl
