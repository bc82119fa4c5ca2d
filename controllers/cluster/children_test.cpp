#include "controllers/cluster/children.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/covers.hpp"

using namespace endstate::cluster;
using nlohmann::json;
namespace api = endstate::v1alpha1;

namespace {

Site site(std::int64_t replicas = 3) {
  Site s;
  s.name = "hz-a";
  s.name_space = "prod";
  s.uid = "u1";
  s.replicas = s.members = replicas;
  s.pod_range = "10.128.0.0/14";
  s.service_range = "10.112.0.0/16";
  s.service_address = "10.96.7.1";
  for (std::int64_t i = 0; i < s.members; ++i) s.member_addresses.push_back("10.96.8." + std::to_string(i));
  return s;
}
PartVersion version() { return {.package = "v1.34.4-r1", .component = {.image = "k/x:1", .args = {}, .resources = {}}, .trust = "t1"}; }
json body(const Child& c) { return json::parse(c.body); }
std::vector<std::string> flags(const Child& c) { return body(c)["spec"]["template"]["spec"]["containers"][0]["args"]; }
bool has(const std::vector<std::string>& list, const std::string& text) { return std::find(list.begin(), list.end(), text) != list.end(); }
std::string flag(const Child& c, const std::string& name) {
  for (const auto& f : flags(c))
    if (f.starts_with(name + "=")) return f.substr(name.size() + 1);
  return {};
}
// Which Secret's key a container finds under a path.
std::map<std::string, std::string> files(const Child& c) {
  std::map<std::string, std::string> out;
  const auto object = body(c);
  for (const auto& volume : object["spec"]["template"]["spec"]["volumes"])
    if (volume.contains("projected"))
      for (const auto& source : volume["projected"]["sources"])
        for (const auto& item : source["secret"]["items"])
          out[item["path"]] = source["secret"]["name"].get<std::string>() + "/" + item["key"].get<std::string>();
  return out;
}
std::vector<Child> everything(const Site& s) {
  auto all = services(s);
  for (auto& c : guards(s)) all.push_back(std::move(c));
  for (const auto part : all_parts) all.push_back(workload(s, part, version()));
  return all;
}

}  // namespace

TEST_CASE("every child is named once, owned, labelled, and in the Cluster's namespace", "[hosted]") {
  std::vector<std::string> names;
  for (const auto& c : everything(site())) {
    const auto b = body(c);
    INFO(c.name);
    CHECK(b["metadata"]["name"] == c.name);
    CHECK(b["metadata"]["namespace"] == "prod");
    CHECK(b["metadata"]["labels"][std::string(api::label::cluster_name)] == "hz-a");
    CHECK(b["metadata"]["labels"].contains(std::string(api::label::component)));
    CHECK(b["metadata"]["ownerReferences"][0]["uid"] == "u1");
    CHECK(b["metadata"]["ownerReferences"][0]["controller"] == true);
    CHECK(b["spec"].dump() == json::parse(c.spec).dump());
    names.push_back(std::string(c.kind->resource->kind) + "/" + c.name);
  }
  auto unique = names;
  std::sort(unique.begin(), unique.end());
  CHECK(std::unique(unique.begin(), unique.end()) == unique.end());
  CHECK(names.size() == 5 + 9 + 4);
  CHECK(everything(site(1)).size() == 3 + 9 + 4);
}

TEST_CASE("the same input gives the same text, and a child is covered by itself", "[hosted]") {
  const auto a = everything(site()), b = everything(site());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].body == b[i].body);
    CHECK(covers(a[i].spec, b[i].spec));
  }
}

TEST_CASE("pods run without privileges, and each with the keys that it needs alone", "[hosted]") {
  for (const auto part : all_parts) {
    const auto c = workload(site(), part, version());
    const auto pod = body(c)["spec"]["template"]["spec"];
    INFO(c.name);
    CHECK(pod["securityContext"]["runAsNonRoot"] == true);
    CHECK(pod["securityContext"]["runAsUser"] != 0);
    CHECK(pod["automountServiceAccountToken"] == false);
    const auto& box = pod["containers"][0];
    CHECK(box["securityContext"]["readOnlyRootFilesystem"] == true);
    CHECK(box["securityContext"]["allowPrivilegeEscalation"] == false);
    CHECK(box["securityContext"]["capabilities"]["drop"] == json{"ALL"});
    for (const auto* probe : {"startupProbe", "livenessProbe", "readinessProbe"}) CHECK(box[probe]["httpGet"].contains("port"));
    CHECK(box["resources"]["requests"].contains("memory"));
    CHECK_FALSE(pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"].empty());
    // A CA's key is where CSRs are signed, and nowhere else.
    for (const auto& [path, source] : files(c)) {
      const bool ca_key = source == "hz-a-ca/tls.key" || source == "hz-a-etcd/tls.key" || source == "hz-a-proxy/tls.key";
      CHECK(ca_key == (part == Part::controller_manager && path == "signer.key"));
    }
    // Every file that a flag names is mounted.
    const auto mounted = files(c);
    for (const auto& f : flags(c))
      if (const auto at = f.find("/etc/kubernetes/pki/"); at != std::string::npos) CHECK(mounted.contains(f.substr(at + 20)));
  }
}

TEST_CASE("etcd: stable names, an address each, Parallel, a quota below the volume's size", "[hosted]") {
  const auto s = site();
  const auto c = workload(s, Part::etcd, version());
  CHECK(flag(c, "--initial-cluster") == "$(INITIAL_CLUSTER)");  // its pod's annotation: without one, no data is no beginning
  const auto environment = body(c)["spec"]["template"]["spec"]["containers"][0]["env"];
  CHECK(environment[1]["name"] == "INITIAL_CLUSTER");
  CHECK(environment[3]["name"] == "ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL");
  CHECK(environment[1]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.annotations['endstate.dev/initial-cluster']");
  CHECK(flag(c, "--initial-cluster-token") == "u1");
  CHECK(body(c)["spec"]["podManagementPolicy"] == "Parallel");
  CHECK(body(c)["spec"]["template"]["spec"]["hostAliases"][2] ==
        json{{"ip", "10.96.8.2"}, {"hostnames", {"hz-a-etcd-2.hz-a-etcd.prod.svc"}}});
  CHECK(body(c)["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain");
  struct Row {
    const char *size, *quota;
  };
  for (const auto& row : {Row{"10Gi", "8589934592"}, Row{"5Gi", "4294967296"}, Row{"500Mi", "419430400"}, Row{"1Ti", "8589934592"}}) {
    auto t = s;
    t.storage_size = row.size;
    CHECK(flag(workload(t, Part::etcd, version()), "--quota-backend-bytes") == row.quota);
  }
}

TEST_CASE("the API server finds every member, and advertises an address only if it has one", "[hosted]") {
  auto s = site();
  auto c = workload(s, Part::api_server, version());
  CHECK(flag(c, "--etcd-servers") ==
        "https://hz-a-etcd-0.hz-a-etcd.prod.svc:2379,https://hz-a-etcd-1.hz-a-etcd.prod.svc:2379,https://"
        "hz-a-etcd-2.hz-a-etcd.prod.svc:2379");
  CHECK(flag(c, "--advertise-address") == "10.96.7.1");
  CHECK(flag(c, "--service-cluster-ip-range") == "10.112.0.0/16");
  s.endpoint = "api.example.com";
  c = workload(s, Part::api_server, version());
  CHECK(flag(c, "--advertise-address").empty());
  CHECK(has(flags(c), "--endpoint-reconciler-type=none"));
}

TEST_CASE("a flag of the package wins over ours, whole", "[hosted]") {
  CHECK(merge_flags({"--a=1", "--b=2"}, {"--b=3", "--c"}) == std::vector<std::string>{"--a=1", "--b=3", "--c"});
  CHECK(merge_flags({"--a=1"}, {"--a=2", "--a=3"}) == std::vector<std::string>{"--a=2", "--a=3"});
  CHECK(merge_flags({"--ab=1"}, {"--a=2"}) == std::vector<std::string>{"--ab=1", "--a=2"});
  CHECK(merge_flags({"--a"}, {}) == std::vector<std::string>{"--a"});
}

TEST_CASE("only what changed restarts", "[hosted]") {
  const auto templates = [](const Site& s, const PartVersion& v) {
    std::map<Part, std::string> out;
    for (const auto part : all_parts) out[part] = body(workload(s, part, v))["spec"]["template"].dump();
    return out;
  };
  const auto before = templates(site(), version());
  auto v = version();
  v.package = "v1.34.4-r2";  // the same content by another name
  CHECK(templates(site(), v) == before);
  v.component.image = "k/x:2";
  for (const auto& [part, text] : templates(site(), v)) CHECK(text != before.at(part));
  v = version();
  v.trust = "t2";
  for (const auto& [part, text] : templates(site(), v)) CHECK(text != before.at(part));
  auto s = site();
  s.soak = std::chrono::seconds(60);
  s.replicas = 5;
  CHECK(templates(s, version()) == before);  // neither is a matter of the pods
}

TEST_CASE("who may call whom", "[hosted]") {
  std::map<std::string, json> policies;
  for (const auto& c : guards(site()))
    if (c.kind->resource->kind == "NetworkPolicy") policies[c.name] = body(c)["spec"];
  REQUIRE(policies.size() == 5);
  CHECK(policies["hz-a-etcd-job"]["ingress"].empty());
  CHECK(policies["hz-a-etcd-job"]["egress"][0]["to"][0]["podSelector"]["matchLabels"]["endstate.dev/component"] == "etcd");
  CHECK(policies["hz-a-scheduler"]["ingress"].empty());
  CHECK(policies["hz-a-controller-manager"]["ingress"].empty());
  const auto callers = policies["hz-a-etcd"]["ingress"];
  REQUIRE(callers.size() == 2);
  for (const auto& rule : callers)  // never a rule without a `from`, which would mean everybody
    for (const auto& who : rule["from"]) CHECK(who["podSelector"]["matchLabels"][std::string(api::label::cluster_name)] == "hz-a");
  CHECK(policies["hz-a-etcd"]["policyTypes"] == json{"Ingress", "Egress"});
  CHECK(policies["hz-a-apiserver"]["policyTypes"] == json{"Ingress"});
}

TEST_CASE("what a Cluster's spec becomes, and what is refused", "[hosted]") {
  api::Cluster cluster;
  cluster.metadata.name = "hz-a";
  cluster.metadata.name_space = "prod";
  auto s = site_of(cluster);
  CHECK((s.replicas == 3 && s.members == 3 && s.port == 6443 && s.keep_data));
  CHECK(refusal(s).empty());
  cluster.spec.control_plane.endpoint = api::Endpoint{.host = "FD00:0::1", .port = 8443};
  s = site_of(cluster);
  CHECK(s.server_url(s.client_endpoint()) == "https://[fd00::1]:8443");
  struct Row {
    std::string what;
    void (*change)(Site&);
    const char* says;
  };
  const Row rows[] = {
      {"a long name", [](Site& x) { x.name = std::string(41, 'a'); }, "at most 40"},
      {"no range", [](Site& x) { x.service_range = "10.0.0.1"; }, "no range"},
      {"pods and Services", [](Site& x) { x.pod_range = "10.0.0.0/8"; }, "overlap"},
      {"the meta cluster's Services", [](Site& x) { x.service_range = "10.96.0.0/12", x.pod_range = "10.128.0.0/14"; },
       "10.96.0.0/12 holds 10.96."},
      {"the endpoint", [](Site& x) { x.endpoint = "10.128.0.9"; }, "holds 10.128.0.9"},
  };
  for (const auto& row : rows) {
    auto t = site();
    INFO(row.what);
    CHECK(refusal(t).empty());
    row.change(t);
    INFO(refusal(t));
    CHECK(refusal(t).find(row.says) != std::string::npos);
  }
}

TEST_CASE("certificates: everyone that needs one, with its names", "[hosted]") {
  auto s = site();
  s.endpoint = "api.example.com";
  std::map<std::string, WantedLeaf> all;
  for (const auto& w : wanted_leaves(s, "f1")) all[w.spec.name] = w;
  CHECK(all.size() == 10);
  const auto& server = all["apiserver"].spec;
  CHECK(has(server.dns_names, "api.example.com"));
  CHECK(has(server.dns_names, "kubernetes.default.svc.cluster.local"));
  CHECK(has(server.addresses, "10.112.0.1"));  // the `kubernetes` Service inside
  CHECK(has(server.addresses, "10.96.7.1"));
  CHECK((server.server && !server.client));
  CHECK(std::is_sorted(server.dns_names.begin(), server.dns_names.end()));
  CHECK((all["etcd-peer-client"].spec.dns_names.empty() && all["etcd-peer-client"].spec.addresses.empty()));
  CHECK(has(all["etcd-peer"].spec.dns_names, "hz-a-etcd-2.hz-a-etcd.prod.svc"));
  CHECK(all["kubeconfig"].made_for == "https://api.example.com:6443 f1");
  CHECK(all["scheduler"].made_for == "https://10.96.7.1:6443");
  for (const auto& [name, w] : all)
    CHECK(w.spec.ca == (name.find("etcd") != std::string::npos ? CaName::etcd
                        : name == "front-proxy-client"         ? CaName::front_proxy
                                                               : CaName::cluster));
  // Every Secret of a leaf that a pod mounts is one that is made.
  for (const auto part : all_parts)
    for (const auto& [path, source] : files(workload(site(), part, version()))) {
      const auto secret = source.substr(0, source.find('/')).substr(5);
      CHECK((all.contains(secret) || secret == "ca" || secret == "etcd" || secret == "proxy" || secret == "sa"));
    }
}
