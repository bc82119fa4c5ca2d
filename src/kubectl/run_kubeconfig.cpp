#include "src/kubectl/run.hpp"
#include "src/kubectl/secret.hpp"

namespace endstate::kubectl {
namespace {

constexpr reconcile::Resource secrets{"", "v1", "secrets", "Secret"};

}  // namespace

int run_kubeconfig(const Session& s, const KubeconfigArgs& args) {
  const auto found = s.client.get<v1alpha1::Cluster>(s.name_space, args.target.name);
  if (!found) return s.fail(found.error());
  const auto name = kubeconfig_secret(**found);
  if (!name) return s.fail(name.error().message, exit_code::no);
  const auto secret = s.client.send({.verb = reconcile::Verb::get, .resource = &secrets, .name_space = s.name_space, .name = *name});
  if (!secret && secret.error().code == reconcile::Code::not_found &&
      (*found)->spec.control_plane.type == v1alpha1::ControlPlaneType::hosted)
    return s.fail(why_no_kubeconfig(**found), exit_code::no);
  if (!secret) return s.fail(secret.error());
  const auto kubeconfig = kubeconfig_of(*secret);
  if (!kubeconfig) return s.fail("Secret " + *name + ": " + kubeconfig.error().message, exit_code::no);
  if (args.output.empty()) {
    s.out << *kubeconfig;
    return exit_code::good;
  }
  if (const auto written = write_private(args.output, *kubeconfig); !written) return s.fail(written.error().message, exit_code::usage);
  return exit_code::good;
}

}  // namespace endstate::kubectl
