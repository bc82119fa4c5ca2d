// Services, NetworkPolicies and PodDisruptionBudgets of a Hosted cluster.
#include "controllers/cluster/child_jobs.hpp"
#include "controllers/cluster/child_workloads.hpp"

namespace endstate::cluster {
namespace {

Object tcp(std::string_view name, int number) { return {{"name", name}, {"port", number}, {"targetPort", number}, {"protocol", "TCP"}}; }

Child service(const Site& s, std::string_view name, std::string_view component, Object spec) {
  return child(reconcile::kind_of<reconcile::Service>, name, metadata(s, name, component), std::move(spec));
}

Object policy_port(int number) { return {{"port", number}, {"protocol", "TCP"}}; }
Object from(const Site& s, Part part) { return {{"podSelector", {{"matchLabels", selector(s, suffix(part))}}}}; }

// Who may call a part's pods. Probes come from the kubelet, which policies don't hold up.
Object callers(const Site& s, Part part) {
  switch (part) {
    case Part::etcd:
      return {{{"from", Object::array({from(s, Part::api_server), {{"podSelector", {{"matchLabels", selector(s, job_component)}}}}})},
               {"ports", Object::array({policy_port(2379)})}},
              {{"from", Object::array({from(s, Part::etcd)})}, {"ports", Object::array({policy_port(2379), policy_port(2380)})}}};
    case Part::api_server: return {{{"ports", Object::array({policy_port(s.port)})}}};  // whoever has credentials, from anywhere
    case Part::controller_manager:
    case Part::scheduler: break;
  }
  return Object::array();
}

// Whom a part's pods may call. The API server calls webhooks, kubelets and aggregated APIs, wherever they are.
Object called(const Site& s, Part part) {
  if (part == Part::etcd) return {{{"to", Object::array({from(s, Part::etcd)})}, {"ports", Object::array({policy_port(2380)})}}};
  return {{{"to", Object::array({from(s, Part::api_server)})}, {"ports", Object::array({policy_port(s.port)})}}};
}

Child policy(const Site& s, Part part) {
  const auto name = s.child(suffix(part));
  Object spec{{"podSelector", {{"matchLabels", selector(s, suffix(part))}}},
              {"policyTypes", Object::array({"Ingress"})},
              {"ingress", callers(s, part)}};
  if (part != Part::api_server) {
    spec["policyTypes"].push_back("Egress");
    spec["egress"] = called(s, part);
  }
  return child(reconcile::kind_of<reconcile::NetworkPolicy>, name, metadata(s, name, suffix(part)), std::move(spec));
}

Child budget(const Site& s, Part part) {
  const auto name = s.child(suffix(part));
  return child(reconcile::kind_of<reconcile::PodDisruptionBudget>, name, metadata(s, name, suffix(part)),
               {{"maxUnavailable", 1}, {"selector", {{"matchLabels", selector(s, suffix(part))}}}});
}

}  // namespace

std::vector<Child> services(const Site& s) {
  std::vector<Child> all;
  const auto api_server = s.child("apiserver"), etcd = s.child("etcd");
  all.push_back(service(s, api_server, "apiserver",
                        {{"type", "ClusterIP"}, {"selector", selector(s, "apiserver")}, {"ports", Object::array({tcp("https", s.port)})}}));
  all.push_back(service(s, etcd, "etcd",
                        {{"clusterIP", "None"},
                         {"publishNotReadyAddresses", true},
                         {"selector", selector(s, "etcd")},
                         {"ports", Object::array({tcp("client", 2379), tcp("peer", 2380)})}}));
  for (std::int64_t i = 0; i < s.members; ++i) {
    auto pods = selector(s, "etcd");
    pods["statefulset.kubernetes.io/pod-name"] = s.member(i);
    // Peers must meet before any of them is ready.
    all.push_back(service(s, s.member(i), "etcd",
                          {{"type", "ClusterIP"},
                           {"publishNotReadyAddresses", true},
                           {"selector", pods},
                           {"ports", Object::array({tcp("client", 2379), tcp("peer", 2380)})}}));
  }
  return all;
}

std::vector<Child> guards(const Site& s) {
  std::vector<Child> all;
  for (const auto part : all_parts) {
    all.push_back(policy(s, part));
    all.push_back(budget(s, part));
  }
  all.push_back(job_policy(s));
  return all;
}

}  // namespace endstate::cluster
