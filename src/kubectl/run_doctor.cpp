#include <nlohmann/json.hpp>
#include <set>

#include "apis/v1alpha1/enrolment.hpp"
#include "src/kubectl/doctor.hpp"
#include "src/kubectl/policies.hpp"
#include "src/kubectl/run.hpp"

namespace endstate::kubectl {
namespace {

using nlohmann::json;
using reconcile::Result;

constexpr reconcile::Resource policies{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy",
                                       false};
constexpr reconcile::Resource bindings{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings",
                                       "ValidatingAdmissionPolicyBinding", false};
constexpr reconcile::Resource role_bindings{"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"};
constexpr reconcile::Resource secrets{"", "v1", "secrets", "Secret"};

Result<void> each(const Session& s, const reconcile::Resource& resource, const std::string& name_space,
                  const std::function<void(const json&)>& use) {
  return s.client.each({.verb = reconcile::Verb::list, .resource = &resource, .name_space = name_space},
                       [&](std::string_view item) -> Result<void> {
                         if (const auto object = json::parse(item, nullptr, false); object.is_object()) use(object);
                         return {};
                       });
}

std::string text(const json& object, const char* outer, const char* inner) {
  return object.contains(outer) && object[outer].is_object() ? object[outer].value(inner, std::string()) : std::string();
}

void add_holders(const json& binding, std::vector<Holder>& out) {
  const auto role = text(binding, "roleRef", "name");
  if (text(binding, "roleRef", "kind") != "ClusterRole" || (role != "edit" && role != "admin" && role != "cluster-admin")) return;
  if (!binding.contains("subjects") || !binding["subjects"].is_array()) return;
  for (const auto& subject : binding["subjects"])
    out.push_back(
        {text(binding, "metadata", "namespace"), role, subject.value("kind", std::string()) + " " + subject.value("name", std::string())});
}

// What the user may not read is said, and not judged.
class Reader {
 public:
  explicit Reader(const Session& s) : s_(s) {}

  DoctorFacts run() {
    f_.expected = policy_names();
    version();
    note("admission policies", each(s_, policies, "", [&](const json& o) { f_.policies.push_back({text(o, "metadata", "name")}); }));
    note("their bindings", each(s_, bindings, "", [&](const json& o) {
           const auto name = text(o, "metadata", "name");
           const auto actions = o.contains("spec") ? o["spec"].value("validationActions", json::array()) : json::array();
           f_.bindings.push_back({name, std::find(actions.begin(), actions.end(), "Deny") != actions.end()});
         }));
    list(f_.clusters, "Clusters");
    list(f_.hosts, "Hosts");
    list(f_.budgets, "ChangeBudgets");
    people();
    return std::move(f_);
  }
  const std::vector<std::string>& unread() const { return unread_; }

 private:
  void note(const std::string& what, const Result<void>& done) {
    if (!done) unread_.push_back(what + ": " + done.error().message);
  }
  template <class T>
  void list(std::vector<Ref<T>>& out, const std::string& what) {
    auto all = s_.client.list<T>("");
    if (all)
      out = std::move(*all);
    else
      unread_.push_back(what + ": " + all.error().message);
  }
  void version() {
    const auto answer = s_.client.send({.path = "/version"});
    const auto object = answer ? json::parse(*answer, nullptr, false) : json();
    if (object.is_object()) f_.server_version = object.value("gitVersion", std::string());
  }
  void people() {
    std::set<std::string> names;
    for (const auto& c : f_.clusters) names.insert(c->metadata.name_space.str());
    for (const auto& h : f_.hosts) names.insert(h->metadata.name_space.str());
    for (const auto& name : names) {
      note("RoleBindings of " + name, each(s_, role_bindings, name, [&](const json& o) { add_holders(o, f_.holders); }));
      for (const auto& h : f_.hosts) {
        if (!(h->metadata.name_space == name) || name == v1alpha1::system_namespace) continue;
        const auto secret = v1alpha1::enrolment::hand_over_secret(h->metadata.uid);
        if (s_.client.send({.verb = reconcile::Verb::get, .resource = &secrets, .name_space = name, .name = secret}))
          f_.old_hand_overs.push_back(std::string(name).append("/").append(secret));
      }
    }
  }

  const Session& s_;
  DoctorFacts f_;
  std::vector<std::string> unread_;
};

}  // namespace

int run_doctor(const Session& s) {
  Reader reader(s);
  const auto facts = reader.run();
  if (facts.server_version.empty() && !reader.unread().empty()) return s.fail(reader.unread().front(), exit_code::server);
  const auto findings = diagnose(facts);
  s.out << doctor_text(findings);
  for (const auto& what : reader.unread()) s.err << "not looked at: " << what << "\n";
  const bool danger = !findings.empty() && findings.front().severity == Severity::danger;
  if (findings.empty() && reader.unread().empty()) s.out << "nothing breaks docs/security.md\n";
  return danger ? exit_code::no : exit_code::good;
}

}  // namespace endstate::kubectl
