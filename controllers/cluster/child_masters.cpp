// kube-apiserver, kube-controller-manager and kube-scheduler of a Hosted cluster: Deployments.
#include "controllers/cluster/child_workloads.hpp"
#include "controllers/common/network.hpp"

namespace endstate::cluster {
namespace {

constexpr int manager_port = 10257, scheduler_port = 10259;

// A new pod is there and has stayed well before an old one goes: one replica at a time, and never one less than wanted.
Child deployment(const Site& s, const PartVersion& version, const PodSketch& pod) {
  const auto part = suffix(pod.part);
  const auto name = s.child(part);
  auto meta = metadata(s, name, part);
  meta["annotations"] = {{std::string(v1alpha1::annotation::package_version), version.package}};
  return child(reconcile::kind_of<reconcile::Deployment>, name, std::move(meta),
               {{"replicas", s.replicas},
                {"selector", {{"matchLabels", selector(s, part)}}},
                {"strategy", {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 1}, {"maxUnavailable", 0}}}}},
                {"minReadySeconds", s.soak.count()},
                {"progressDeadlineSeconds", (s.progress_deadline + s.soak).count()},
                {"revisionHistoryLimit", 2},
                {"template", pod_template(s, version, pod)}});
}

Object port(std::string_view name, int number) { return Object::array({{{"name", name}, {"containerPort", number}, {"protocol", "TCP"}}}); }

std::string etcd_servers(const Site& s) {
  std::string out;
  for (std::int64_t i = 0; i < s.members; ++i) out += (i > 0 ? "," : "") + ("https://" + s.member_host(i) + ":2379");
  return out;
}

std::vector<std::string> api_server_flags(const Site& s) {
  std::vector<std::string> out{
      "--allow-privileged=true",
      "--authorization-mode=Node,RBAC",
      "--client-ca-file=" + key_path("ca.crt"),
      "--enable-admission-plugins=NodeRestriction",
      "--enable-bootstrap-token-auth=true",
      "--etcd-cafile=" + key_path("etcd-ca.crt"),
      "--etcd-certfile=" + key_path("etcd-client.crt"),
      "--etcd-keyfile=" + key_path("etcd-client.key"),
      "--etcd-servers=" + etcd_servers(s),
      "--kubelet-client-certificate=" + key_path("kubelet-client.crt"),
      "--kubelet-client-key=" + key_path("kubelet-client.key"),
      "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
      "--proxy-client-cert-file=" + key_path("front-proxy-client.crt"),
      "--proxy-client-key-file=" + key_path("front-proxy-client.key"),
      "--requestheader-allowed-names=front-proxy-client",
      "--requestheader-client-ca-file=" + key_path("front-proxy-ca.crt"),
      "--requestheader-extra-headers-prefix=X-Remote-Extra-",
      "--requestheader-group-headers=X-Remote-Group",
      "--requestheader-username-headers=X-Remote-User",
      "--secure-port=" + std::to_string(s.port),
      "--service-account-issuer=https://kubernetes.default.svc." + s.service_domain,
      "--service-account-key-file=" + key_path("sa.pub"),
      "--service-account-signing-key-file=" + key_path("sa.key"),
      "--service-cluster-ip-range=" + s.service_range,
      "--tls-cert-file=" + key_path("apiserver.crt"),
      "--tls-private-key-file=" + key_path("apiserver.key"),
      // On its way out it says so by /readyz and goes on serving while the endpoint forgets it; then watches end within its grace.
      "--shutdown-delay-duration=8s",
      "--shutdown-send-retry-after=true",
      "--shutdown-watch-termination-grace-period=5s",
  };
  // The `kubernetes` Service of the business cluster leads to one address that stays, whichever replica writes it.
  if (canonical_address(s.client_endpoint()))
    out.push_back("--advertise-address=" + s.client_endpoint());
  else
    out.emplace_back("--endpoint-reconciler-type=none");
  return out;
}

std::vector<std::string> controller_manager_flags(const Site& s) {
  std::vector<std::string> out{
      "--authentication-kubeconfig=" + key_path("kubeconfig"),
      "--authorization-kubeconfig=" + key_path("kubeconfig"),
      "--client-ca-file=" + key_path("ca.crt"),
      "--cluster-signing-cert-file=" + key_path("signer.crt"),
      "--cluster-signing-key-file=" + key_path("signer.key"),
      "--controllers=*,bootstrapsigner,tokencleaner",
      "--kubeconfig=" + key_path("kubeconfig"),
      "--leader-elect=true",
      "--root-ca-file=" + key_path("ca.crt"),
      "--secure-port=" + std::to_string(manager_port),
      "--service-account-private-key-file=" + key_path("sa.key"),
      "--service-cluster-ip-range=" + s.service_range,
      "--use-service-account-credentials=true",
  };
  if (!s.pod_range.empty()) {
    out.emplace_back("--allocate-node-cidrs=true");
    out.push_back("--cluster-cidr=" + s.pod_range);
  }
  return out;
}

// What calls the API server with a kubeconfig of files: it takes in a renewed certificate without a restart.
std::vector<KeyFile> client_files(std::string_view secret) {
  std::vector<KeyFile> files{{"ca", "ca.crt", "ca.crt"}, {std::string(secret), "kubeconfig", "kubeconfig"}};
  add_pair(files, secret, "client");
  return files;
}

void probe(PodSketch& pod, int port) {
  pod.startup = with(http_probe("/healthz", port, true), 2, 60);
  pod.liveness = with(http_probe("/healthz", port, true), 10, 6, 10);
  pod.readiness = with(http_probe("/healthz", port, true), 5, 3);
}

}  // namespace

Child api_server(const Site& s, const PartVersion& version) {
  PodSketch pod;
  pod.part = Part::api_server;
  pod.flags = api_server_flags(s);
  pod.files = {{"ca", "ca.crt", "ca.crt"},
               {"etcd", "ca.crt", "etcd-ca.crt"},
               {"proxy", "ca.crt", "front-proxy-ca.crt"},
               {"sa", "tls.crt", "sa.pub"},
               {"sa", "tls.key", "sa.key"}};
  add_pair(pod.files, "apiserver", "apiserver");
  add_pair(pod.files, "apiserver-etcd-client", "etcd-client");
  add_pair(pod.files, "apiserver-kubelet-client", "kubelet-client");
  add_pair(pod.files, "front-proxy-client", "front-proxy-client");
  pod.ports = port("https", s.port);
  pod.startup = with(http_probe("/readyz", s.port, true), 2, 90);
  pod.liveness = with(http_probe("/livez", s.port, true), 10, 6, 15);
  pod.readiness = with(http_probe("/readyz", s.port, true), 2, 2);
  pod.grace = std::chrono::seconds(45);
  pod.cpu = "250m";
  pod.memory = "512Mi";
  return deployment(s, version, pod);
}

Child controller_manager(const Site& s, const PartVersion& version) {
  PodSketch pod;
  pod.part = Part::controller_manager;
  pod.flags = controller_manager_flags(s);
  pod.files = client_files("controller-manager");
  pod.files.push_back({"ca", "tls.crt", "signer.crt"});
  pod.files.push_back({"ca", "tls.key", "signer.key"});
  pod.files.push_back({"sa", "tls.key", "sa.key"});
  pod.ports = port("https", manager_port);
  probe(pod, manager_port);
  return deployment(s, version, pod);
}

Child scheduler(const Site& s, const PartVersion& version) {
  PodSketch pod;
  pod.part = Part::scheduler;
  pod.flags = {"--authentication-kubeconfig=" + key_path("kubeconfig"),
               "--authorization-kubeconfig=" + key_path("kubeconfig"),
               "--client-ca-file=" + key_path("ca.crt"),
               "--kubeconfig=" + key_path("kubeconfig"),
               "--leader-elect=true",
               "--secure-port=" + std::to_string(scheduler_port)};
  pod.files = client_files("scheduler");
  pod.ports = port("https", scheduler_port);
  pod.memory = "64Mi";
  probe(pod, scheduler_port);
  return deployment(s, version, pod);
}

Child workload(const Site& site, Part part, const PartVersion& version) {
  switch (part) {
    case Part::etcd: return etcd(site, version);
    case Part::api_server: return api_server(site, version);
    case Part::controller_manager: return controller_manager(site, version);
    case Part::scheduler: break;
  }
  return scheduler(site, version);
}

}  // namespace endstate::cluster
