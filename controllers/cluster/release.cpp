#include "controllers/cluster/release.hpp"

#include <algorithm>
#include <charconv>

#include "apis/v1alpha1/names.hpp"

namespace endstate::cluster {
namespace {

namespace api = v1alpha1;
using api::PlanStepState, api::UpgradeStep;

constexpr std::size_t max_hops = 12;  // 4 steps each: within status's 64
constexpr std::size_t parts = std::size(all_parts);

// Compares "v1.34.10" and "v1.34.9" by numbers; what follows the third number counts as text.
bool older(std::string_view a, std::string_view b) {
  const auto numbers = [](std::string_view v) {
    std::array<int, 3> out{};
    if (v.starts_with('v')) v.remove_prefix(1);
    for (auto& n : out) {
      const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), n);
      if (error != std::errc()) break;
      v.remove_prefix(static_cast<std::size_t>(end - v.data()));
      if (v.starts_with('.')) v.remove_prefix(1);
    }
    return out;
  };
  const auto x = numbers(a), y = numbers(b);
  return x == y ? a < b : x < y;
}

std::string text(const Minor& m) { return std::to_string(m.major) + "." + std::to_string(m.minor); }

class Planner {
 public:
  explicit Planner(const ReleaseInput& in) : in_(in) {
    out_.current = in.current;
    out_.steps = in.steps;
    // An edit of the reference takes the rejection away.
    out_.rejected = in.rejected == in.wanted ? in.rejected : std::string();
  }

  ReleaseDecision run() {
    if (in_.current.empty())
      create();
    else if (in_.wanted == in_.current)
      stay(api::ReleaseResult::superseded, "packageVersion was edited back");
    else if (in_.wanted == in_.rejected)
      rejected();
    else
      forward();
    return std::move(out_);
  }

 private:
  const PartNow& part(std::size_t i) const { return in_.parts[i]; }
  const VersionFacts* version(std::string_view name) const {
    const auto it = in_.versions.find(name);
    return it == in_.versions.end() ? nullptr : &it->second;
  }
  bool all_at(const std::array<std::string, parts>& targets) const {
    for (std::size_t i = 0; i < parts; ++i)
      if (!part(i).exists || !part(i).settled || part(i).package != targets[i]) return false;
    return true;
  }
  void stop(std::string_view reason, std::string message) {
    out_.course = Course::stopped;
    out_.problem = ReleaseProblem{reason, std::move(message)};
  }
  bool found(const std::string& name) {
    if (version(name)) return true;
    stop(api::reason::package_not_found, "there is no ClusterPackageVersion " + name);
    return false;
  }

  void create() {
    out_.course = Course::creating;
    if (!found(in_.wanted)) return;
    out_.targets.fill(in_.wanted);
    out_.steps.clear();
    if (!all_at(out_.targets)) return;
    out_.current = in_.wanted;
    out_.course = Course::steady;
    out_.end = ReleaseEnd{api::ReleaseResult::complete, in_.wanted, {}, "created"};
  }

  // Everything at the last version that went through; etcd may have to stay above it.
  std::array<std::string, parts> last_good() const {
    std::array<std::string, parts> out;
    out.fill(in_.current);
    const auto *now = version(part(0).package), *good = version(in_.current);
    if (part(0).settled && now && good && now->etcd && good->etcd && *now->etcd > *good->etcd) out[0] = part(0).package;
    return out;
  }
  bool under_way() const {
    return std::any_of(in_.steps.begin(), in_.steps.end(), [](const UpgradeStep& s) { return s.state != PlanStepState::done; });
  }
  // Until everything is there, the release that was under way isn't over.
  void go_back(api::ReleaseResult result, const std::string& package, std::string message) {
    out_.targets = last_good();
    if (!all_at(out_.targets)) {
      out_.course = Course::back;
      return;
    }
    out_.course = Course::steady;
    if (!under_way()) return;
    if (out_.targets[0] != in_.current) message += "; etcd stays at that of " + out_.targets[0] + ": its minor can't go down";
    out_.end = ReleaseEnd{result, package, in_.current, std::move(message)};
    out_.steps.clear();
  }
  void stay(api::ReleaseResult result, std::string message) {
    if (!found(in_.current)) return;
    const auto package = in_.steps.empty() ? std::string() : in_.steps.back().to.str();
    go_back(result, package, std::move(message));
  }
  void rejected() {
    if (!found(in_.current)) return;
    const auto failed = std::find_if(in_.steps.begin(), in_.steps.end(), [](const auto& s) { return s.state == PlanStepState::failed; });
    go_back(api::ReleaseResult::rolled_back, in_.wanted, failed == in_.steps.end() ? "it failed" : failed->component.str() + " failed");
    out_.problem = ReleaseProblem{api::reason::release_rejected, "ClusterPackageVersion " + in_.wanted +
                                                                     " failed and was taken back: edit spec.packageVersion (back to " +
                                                                     in_.current + ", or to another version)"};
  }

  // ---- forward ----

  // As what the API server behaves, and so what it may have stored (KEP-4330): the emulated minor, until a release without the flag
  // commits to the binary's own.
  static Minor behaves_as(const VersionFacts& v) { return v.emulated && *v.emulated < *v.kubernetes ? *v.emulated : *v.kubernetes; }
  bool may_go_down(const VersionFacts& from, const VersionFacts& to) {
    if (behaves_as(from) <= behaves_as(to)) return true;
    const bool same_binary = *from.kubernetes == *to.kubernetes;
    stop(api::reason::downgrade_refused,
         "from Kubernetes " + text(behaves_as(from)) + " there is no way down to " + text(behaves_as(to)) +
             (same_binary ? ": " + in_.current + " runs without emulation, or with a newer one, and that can't be taken back"
                          : std::string()) +
             ": what the API server has stored may be unknown to the older one. Only one that emulates the older version "
             "(--emulated-version in the package's kubeAPIServer.args) can be taken back");
    return false;
  }
  // The versions on the way, the wanted one last; empty: there is none (and a problem says why).
  std::vector<std::string> chain() {
    if (!found(in_.wanted) || !found(in_.current)) return {};
    const auto &from = *version(in_.current), &to = *version(in_.wanted);
    if (!from.kubernetes || !to.kubernetes || from.kubernetes->major != to.kubernetes->major) {
      stop(api::reason::version_skew, "the Kubernetes versions of " + in_.current + " and " + in_.wanted + " can't be compared");
      return {};
    }
    if (!may_go_down(from, to)) return {};
    if (to.etcd && from.etcd && *to.etcd < *from.etcd && part(0).settled) {
      stop(api::reason::downgrade_refused, "etcd can't go down from " + text(*from.etcd) + " to " + text(*to.etcd));
      return {};
    }
    std::vector<std::string> out;
    for (int minor = from.kubernetes->minor + 1; minor < to.kubernetes->minor; ++minor) {
      auto name = newest({to.kubernetes->major, minor});
      if (name.empty() || out.size() + 1 == max_hops) {
        stop(api::reason::version_skew, "Kubernetes goes up one minor at a time: from " + text(*from.kubernetes) + " to " +
                                            text(*to.kubernetes) + " a ClusterPackageVersion of " + text({to.kubernetes->major, minor}) +
                                            " is needed on the way");
        return {};
      }
      out.push_back(std::move(name));
    }
    out.push_back(in_.wanted);
    return out;
  }
  std::string newest(Minor minor) const {
    std::string best;
    for (const auto& [name, facts] : in_.versions)
      if (facts.kubernetes == minor && (best.empty() || older(version(best)->full, facts.full))) best = name;
    return best;
  }

  void lay_out(const std::vector<std::string>& hops) {
    const bool known = !in_.steps.empty() && in_.steps.back().to == in_.wanted &&
                       std::any_of(in_.steps.begin(), in_.steps.end(), [&](const auto& s) { return s.to == hops.front(); });
    if (known) return;
    out_.steps.clear();
    out_.began = true;
    auto from = in_.current;
    for (const auto& hop : hops) {
      for (const auto p : all_parts)
        out_.steps.push_back({.component = component_name(p), .from = from, .to = hop, .state = PlanStepState::pending});
      from = hop;
    }
  }

  void fail(UpgradeStep& step, std::string why) {
    step.state = PlanStepState::failed;
    out_.decided = true;
    out_.targets.fill({});
    if (in_.pause_on_failure)
      return stop(api::reason::release_failed, step.component.str() + " of " + step.to.str() + " failed (" + why +
                                                   "); rollout.onFailure says Pause: edit spec.packageVersion");
    out_.rejected = in_.wanted;
    out_.course = Course::back;
    out_.end = ReleaseEnd{api::ReleaseResult::rejected, in_.wanted, in_.current, step.component.str() + ": " + why};
  }

  void forward() {
    const auto hops = chain();
    if (hops.empty()) {  // refused: what an earlier release has begun is not left half done
      if (version(in_.current))
        go_back(api::ReleaseResult::superseded, in_.steps.empty() ? std::string() : in_.steps.back().to.str(), "the next one was refused");
      return;
    }
    lay_out(hops);
    out_.course = Course::updating;
    const auto& hop = hops.front();
    for (std::size_t i = 0; i < parts; ++i) out_.targets[i] = part(i).package;
    const bool untouched =
        std::all_of(out_.steps.begin(), out_.steps.end(), [&](const auto& s) { return s.to != hop || s.state == PlanStepState::pending; });
    if (untouched && in_.hold && in_.hold(hop)) return;
    for (std::size_t i = 0; i < parts; ++i) {
      auto* const step = find(hop, all_parts[i]);
      if (!step || !advance(*step, i, hop)) return;
    }
    out_.current = hop;
    out_.decided = true;
    if (hop == in_.wanted) {
      out_.course = Course::steady;
      out_.end = ReleaseEnd{api::ReleaseResult::complete, in_.wanted, in_.steps.empty() ? in_.current : in_.steps.front().from.str(), {}};
    }
  }
  UpgradeStep* find(std::string_view hop, Part p) {
    for (auto& s : out_.steps)
      if (s.to == hop && s.component == component_name(p)) return &s;
    return nullptr;
  }
  // True: this part is done, and the next may go.
  bool advance(UpgradeStep& step, std::size_t i, const std::string& hop) {
    if (step.state == PlanStepState::failed) {
      fail(step, "it failed");
      return false;
    }
    out_.targets[i] = hop;
    if (step.state == PlanStepState::done) return true;
    if (step.state == PlanStepState::pending) {
      step.state = PlanStepState::running;
      step.start_time = in_.now;
    }
    const bool there = part(i).package == hop;
    if (there && part(i).settled) {
      step.state = PlanStepState::done;
      return true;
    }
    if (there && !part(i).failure.empty())
      fail(step, part(i).failure);
    else if (in_.now - step.start_time > in_.limits[i])
      fail(step, "not all of its pods became available in " + std::to_string(in_.limits[i].count()) + " s");
    return false;
  }

  const ReleaseInput& in_;
  ReleaseDecision out_;
};

}  // namespace

std::optional<Minor> minor_of(std::string_view version) {
  if (version.starts_with('v')) version.remove_prefix(1);
  Minor out;
  const auto* const end = version.data() + version.size();
  const auto major = std::from_chars(version.data(), end, out.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return std::nullopt;
  const auto minor = std::from_chars(major.ptr + 1, end, out.minor);
  if (minor.ec != std::errc() || (minor.ptr != end && *minor.ptr != '.' && *minor.ptr != '-' && *minor.ptr != '+')) return std::nullopt;
  return out;
}

std::optional<Minor> minor_of_image(std::string_view image) {
  image = image.substr(0, image.find('@'));
  const auto colon = image.rfind(':');
  if (colon == std::string_view::npos || image.find('/', colon) != std::string_view::npos) return std::nullopt;
  return minor_of(image.substr(colon + 1));
}

VersionFacts facts_of(const api::ClusterPackageVersionSpec& spec) {
  VersionFacts out;
  out.full = spec.kubernetes_version.str();
  out.kubernetes = minor_of(spec.kubernetes_version);
  out.etcd = minor_of_image(spec.components.etcd.image);
  constexpr std::string_view flag = "--emulated-version=";
  for (const auto& arg : spec.components.kube_api_server.args) {
    if (!arg.view().starts_with(flag)) continue;
    auto value = arg.view().substr(flag.size());
    if (value.starts_with("kube=")) value.remove_prefix(5);  // KEP-4330's component-qualified form
    out.emulated = minor_of(value);
  }
  return out;
}

ReleaseDecision plan_release(const ReleaseInput& input) { return Planner(input).run(); }

}  // namespace endstate::cluster
