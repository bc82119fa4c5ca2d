#include "src/kubectl/doctor.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "controllers/common/machine_state.hpp"
#include "reconcile/base/words.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;

constexpr int oldest_minor = 30;  // ValidatingAdmissionPolicy is stable from 1.30

class Doctor {
 public:
  explicit Doctor(const DoctorFacts& facts) : f_(facts) {}

  std::vector<Finding> run() {
    server();
    policies();
    clusters();
    hosts();
    budgets();
    people();
    std::stable_sort(out_.begin(), out_.end(), [](const auto& a, const auto& b) { return a.severity < b.severity; });
    return std::move(out_);
  }

 private:
  void add(Severity severity, std::string what, std::string remedy) { out_.push_back({severity, std::move(what), std::move(remedy)}); }

  void server() {
    const auto dot = f_.server_version.find('.');
    int minor = 0;
    if (dot != std::string::npos)
      std::from_chars(f_.server_version.data() + dot + 1, f_.server_version.data() + f_.server_version.size(), minor);
    if (minor > 0 && minor < oldest_minor)
      add(Severity::danger,
          "the API server is " + f_.server_version + ": it knows no ValidatingAdmissionPolicy, so nothing of docs/security.md is held",
          "use Kubernetes 1.30 or newer");
  }

  void policies() {
    const auto has = [](const std::vector<PolicyFact>& all, const std::string& name) {
      return std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.name == name; });
    };
    for (const auto& name : f_.expected) {
      const auto binding = has(f_.bindings, name);
      if (has(f_.policies, name) == f_.policies.end() || binding == f_.bindings.end())
        add(Severity::danger, "the admission policy " + name + " or its binding is missing: what it forbids can be done",
            "kubectl apply -f manifests/policies, or helm upgrade");
      else if (!binding->denies)
        add(Severity::danger, "the binding of the admission policy " + name + " doesn't deny", "set its validationActions to [Deny]");
    }
  }

  void clusters() {
    for (const auto& c : f_.clusters) {
      const auto name = c->metadata.key().str();
      if (connection_of(*c).empty())
        add(Severity::note, "Cluster " + name + " is the meta cluster itself: its Machines become Nodes of it",
            "if nobody meant that, delete it; who may join the meta cluster is told by the verb join-meta (docs/security.md)");
      if (const auto& network = c->spec.cluster_network;
          network && (network->pods.cidr_blocks.size() > 1 || network->services.cidr_blocks.size() > 1))
        add(Severity::note, "Cluster " + name + " names two ranges, of which the first alone is used",
            "create another Cluster with one range");
      if (c->status.break_glass && c->status.break_glass->state == "Active")
        add(Severity::danger, "Cluster " + name + ": break-glass is active, by " + c->status.break_glass->by.str() + ": budgets don't hold",
            "take the annotation endstate.dev/break-glass off");
    }
  }

  void hosts() {
    std::size_t unnumbered = 0, unmarked = 0;
    for (const auto& h : f_.hosts) {
      const auto& ready = reconcile::find_condition(h->status.conditions, "Enrolled");
      unnumbered += ready && ready->status == api::ConditionStatus::true_ && h->status.identity.value_or(0) == 0;
      unmarked += h->spec.consumer_ref && !h->metadata.has_finalizer(api::finalizer::claimed);
    }
    if (unnumbered > 0)
      add(Severity::note,
          std::to_string(unnumbered) + " Hosts have certificates without a number: a stolen key of theirs is good until they enrol anew",
          "kubectl endstate enrol HOST, for each of them in time");
    if (unmarked > 0)
      add(Severity::note, std::to_string(unmarked) + " claimed Hosts lack the finalizer " + std::string(api::finalizer::claimed) + " yet",
          "nothing: it comes with the next change of each");
    for (const auto& secret : f_.old_hand_overs)
      add(Severity::danger, "Secret " + secret + " hands a host its cluster where people of its namespace can read it",
          "it is for a host that enrolled before identities had a number: enrol it anew (kubectl endstate enrol HOST), then it is handed "
          "over in " +
              std::string(api::system_namespace));
  }

  void budgets() {
    for (const auto& b : f_.budgets)
      if (const auto word = reconcile::find_unknown_word(b->spec); !word.empty())
        add(Severity::note,
            "ChangeBudget " + b->metadata.name.str() + " has a word that this version doesn't know (" + word +
                "): forward changes of what it selects are refused",
            "upgrade endstate, or edit the budget");
    for (const auto& c : f_.clusters) {
      const auto selects = [&](const auto& b) { return api::matches(b->spec.cluster_selector, c->metadata.labels); };
      if (std::none_of(f_.budgets.begin(), f_.budgets.end(), selects))
        add(Severity::note,
            "no ChangeBudget selects Cluster " + c->metadata.key().str() + ": only its sets' own maxUnavailable bounds a change",
            "kubectl explain changebudget.spec");
    }
  }

  void people() {
    std::map<std::string, std::set<std::string>> by_namespace;
    for (const auto& h : f_.holders) by_namespace[h.name_space].insert(h.subject + " (" + h.role + ")");
    for (const auto& [name_space, subjects] : by_namespace) {
      std::string who;
      for (const auto& s : subjects) who.append(who.empty() ? "" : ", ").append(s);
      std::string what = "who reads Secrets in namespace ";
      what.append(name_space).append(" is administrator of its clusters and root on their hosts: ").append(who);
      add(Severity::note, std::move(what), "bind endstate's own roles instead, if one of them should not be (docs/security.md)");
    }
  }

  const DoctorFacts& f_;
  std::vector<Finding> out_;
};

}  // namespace

std::vector<Finding> diagnose(const DoctorFacts& facts) { return Doctor(facts).run(); }

std::string doctor_text(const std::vector<Finding>& findings) {
  std::string out;
  for (const auto& f : findings)
    out.append(f.severity == Severity::danger ? "DANGER  " : "note    ")
        .append(f.what)
        .append("\n        -> ")
        .append(f.remedy)
        .append("\n");
  return out;
}

}  // namespace endstate::kubectl
