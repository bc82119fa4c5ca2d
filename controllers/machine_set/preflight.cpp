#include "controllers/machine_set/preflight.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_set>

#include "controllers/common/cut.hpp"
#include "controllers/common/quantity.hpp"
#include "controllers/guard/plan.hpp"

namespace endstate::machine_set {
namespace {

using api::PreflightCheck, api::PreflightResult;

constexpr std::array all_checks{PreflightCheck::artifacts_reachable, PreflightCheck::version_skew, PreflightCheck::cluster_healthy,
                                PreflightCheck::budget_open, PreflightCheck::disk_room};
constexpr std::int64_t oldest_minor = 3;  // a kubelet may be so many minor versions older than its API server
constexpr std::int64_t room_factor = 3;   // what is fetched, what is unpacked, and what it replaces, at the same time
constexpr std::size_t max_named = 3;      // offenders in a message
constexpr std::string_view free_disk = "endstate.dev/free-disk";

// ---- text ----

std::string_view trimmed(std::string_view s) {
  const auto begin = s.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return s.substr(begin, s.find_last_not_of(" \t") - begin + 1);
}
std::string lower(std::string_view s) {
  std::string out(s);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}
std::optional<std::int64_t> leading_number(std::string_view& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}
// "https://user@host:443/x?y" -> "user@host:443".
std::string_view authority_of(std::string_view url) {
  const auto begin = url.find("://");
  if (begin == std::string_view::npos) return {};
  const auto rest = url.substr(begin + 3);
  return rest.substr(0, rest.find_first_of("/?#"));
}
std::string host_of(std::string_view url) {
  auto host = authority_of(url);
  if (const auto at = host.rfind('@'); at != std::string_view::npos) host.remove_prefix(at + 1);
  if (host.starts_with('[')) return std::string(host.substr(0, host.find(']')));
  host = host.substr(0, host.find(':'));
  while (host.ends_with('.')) host.remove_suffix(1);
  return lower(host);
}
// For people: no user, no query (either may hold a secret).
std::string shown(std::string_view url) {
  const auto authority = authority_of(url);
  if (authority.empty()) return std::string(url);
  std::string out(url.substr(0, url.find("://") + 3));
  out.append(authority.substr(authority.rfind('@') + 1));  // npos + 1 is 0
  const auto path = url.substr(url.find("://") + 3 + authority.size());
  return out.append(path.substr(0, path.find_first_of("?#")));
}

// ---- the checks ----

struct Found {
  PreflightResult result = PreflightResult::passed;
  std::string message;
  Text kind, name;             // what blocks
  bool needs_somebody = true;  // of a failure: a clock doesn't end it
};
Found skipped(std::string why) { return {.result = PreflightResult::skipped, .message = std::move(why)}; }
Found pending(std::string why) { return {.result = PreflightResult::pending, .message = std::move(why), .needs_somebody = false}; }
Found failed(std::string why, std::string_view kind, const Text& name) {
  return {.result = PreflightResult::failed, .message = std::move(why), .kind = kind, .name = name};
}

class Checker {
 public:
  Checker(const Snapshot& s, const Revision* from, const Revision& to) : s_(s), in_(*s.preflight), to_(to) {
    for (const auto& p : in_.packages)
      if (names(to, p->metadata.name) && !(from && names(*from, p->metadata.name))) new_.push_back(p.get());
  }

  Found run(PreflightCheck check) {
    switch (check) {
      case PreflightCheck::artifacts_reachable: return artifacts_reachable();
      case PreflightCheck::version_skew: return version_skew();
      case PreflightCheck::cluster_healthy: return cluster_healthy();
      case PreflightCheck::budget_open: return budget_open();
      case PreflightCheck::disk_room: return disk_room();
    }
    return {};
  }
  std::vector<reconcile::Query> queries;
  std::optional<reconcile::Refused> refusal;
  std::chrono::milliseconds again = preflight_again;

 private:
  static bool names(const Revision& r, const Text& package) {
    const auto& slots = r.template_.spec.packages;
    return std::any_of(slots.begin(), slots.end(), [&](const api::PackageSlot& slot) { return slot.version_ref.name == package; });
  }

  // ---- artifacts ----

  struct Address {
    const api::MachinePackageVersion* package;
    std::string_view url;
  };
  Found artifacts_reachable() {
    std::vector<Address> addresses;
    std::size_t files = 0, reserved = 0;
    for (const auto* p : new_)
      for (const auto& a : p->spec.install.artifacts) {
        const auto url = a.url.view();
        const auto reach = reach_of(url);
        files += reach == Reach::file;
        reserved += reach == Reach::reserved;
        if (reach != Reach::ask || std::any_of(addresses.begin(), addresses.end(), [&](const Address& x) { return x.url == url; }))
          continue;
        addresses.push_back({p, url});
      }
    std::string unasked;
    if (files > 0) unasked += "; file:// is on the hosts themselves: not looked at";
    if (reserved > 0) unasked += "; reserved name: not looked up";
    if (addresses.size() > max_artifacts) unasked += "; only the first " + std::to_string(max_artifacts) + " were looked at";
    if (addresses.empty()) return unasked.empty() ? Found{.message = "nothing new to fetch"} : skipped(unasked.substr(2));
    addresses.resize(std::min(addresses.size(), max_artifacts));
    std::optional<Found> bad;
    std::size_t waiting = 0, more = 0;
    for (const auto& a : addresses) {
      const auto state = ask(a, bad, more);
      waiting += !state;
    }
    if (bad) {
      if (more > 0) bad->message += " (and " + std::to_string(more) + " more)";
      bad->message += "; put it there, or name another version in the template";
      return *bad;
    }
    if (waiting > 0) return pending("waits for " + std::to_string(waiting) + " addresses to answer");
    return {.message = std::to_string(addresses.size()) + " addresses answer" + unasked};
  }
  // Whether the address has answered, well or not.
  bool ask(const Address& a, std::optional<Found>& bad, std::size_t& more) {
    const auto* answer = question(head_id(a.url), "HEAD", a.url);
    if (answer && (answer->status == 405 || answer->status == 501)) answer = question(get_id(a.url), "GET", a.url);
    if (!answer) return false;
    if (answer->status >= 200 && answer->status < 400) return true;
    if (bad) {
      ++more;
      return true;
    }
    const auto what = answer->status > 0 ? " answers " + std::to_string(answer->status) : " doesn't answer: " + answer->error;
    bad = failed(shown(a.url) + std::string(cut(what, 200)), "MachinePackageVersion", a.package->metadata.name);
    return true;
  }
  const ArtifactAnswer* question(const std::string& id, std::string_view method, std::string_view url) {
    reconcile::Query q{.id = id, .max_age = preflight_again};
    q.http = reconcile::HttpQuery{.method = std::string(method), .url = std::string(url)};
    queries.push_back(std::move(q));
    const auto it = in_.answers.find(id);
    return it == in_.answers.end() ? nullptr : &it->second;
  }

  // ---- versions ----

  Found version_skew() const {
    std::size_t judged = 0;
    for (const auto* p : new_) {
      if (!(p->spec.package_name == "kubelet") && !(p->spec.package_name == "kube-proxy")) continue;
      ++judged;
      if (auto no = skew(*p)) return *no;
    }
    return {.message = judged == 0 ? "no new kubelet or kube-proxy" : "fits the API server's version " + s_.cluster.version.str()};
  }
  std::optional<Found> skew(const api::MachinePackageVersion& p) const {
    const std::string what =
        "MachinePackageVersion " + p.metadata.name.str() + " (" + p.spec.package_name.str() + " " + p.spec.version.str() + ")";
    const auto no = [&](const std::string& why) { return failed(what + " " + why, "MachinePackageVersion", p.metadata.name); };
    const auto ours = parse_version(p.spec.version);
    if (!ours) return no("has a version that doesn't begin with two numbers: give it Kubernetes' own, or skip the check VersionSkew");
    if (s_.cluster.version.empty())
      return pending("waits for Cluster " + s_.set->spec.cluster_name.str() + " to say the version of its API server");
    const auto theirs = parse_version(s_.cluster.version);
    if (!theirs) return no("can't be compared with the API server's version " + s_.cluster.version.str() + ": skip the check VersionSkew");
    const std::string server = "the API server (" + s_.cluster.version.str() + ")";
    if (*ours > *theirs) return no("is newer than " + server + ": upgrade the control plane first");
    if (ours->major != theirs->major || theirs->minor - ours->minor > oldest_minor)
      return no("is more than " + std::to_string(oldest_minor) + " minor versions older than " + server + ": take a newer one");
    return std::nullopt;
  }

  // ---- the cluster ----

  Found cluster_healthy() const {
    const auto& name = s_.set->spec.cluster_name;
    const auto why = s_.cluster.why_not_ready.empty() ? std::string() : ": " + s_.cluster.why_not_ready.str();
    switch (s_.cluster.ready) {
      case api::ConditionStatus::true_: return {.message = "Cluster " + name.str() + " is Ready"};
      case api::ConditionStatus::false_: return failed("Cluster " + name.str() + " isn't Ready" + why, "Cluster", name);
      case api::ConditionStatus::unknown: break;
    }
    return pending("whether Cluster " + name.str() + " is Ready isn't known" + why);
  }

  // ---- the budget ----

  static bool holds(const Text& reason) {
    static constexpr std::array long_ones{api::reason::window_full, api::reason::breaker_open, api::reason::schedule_closed,
                                          api::reason::schedule_invalid, api::reason::metrics_unknown};
    return std::any_of(long_ones.begin(), long_ones.end(), [&](std::string_view r) { return reason == r; });
  }
  Found budget_open() {
    if (in_.budgets.empty()) return {.message = "no ChangeBudget selects the Cluster"};
    if (!in_.ledger) return {.message = "the Cluster has no account yet: the guard decides machine by machine"};
    const auto requests = permit_requests();
    if (requests.empty()) return {.message = "no machine is there to disturb"};
    guard::Snapshot dry{.cluster = {s_.set->metadata.name_space, s_.set->spec.cluster_name},
                        .budgets = in_.budgets,
                        .machines = in_.cluster_machines,
                        .ledger = in_.ledger->status,
                        .zones = in_.zones,
                        .own = true,  // whether the account is to be believed, the guard finds out when it is asked
                        .now = s_.now};
    const auto decision = guard::decide(dry, requests);
    const reconcile::Refused* no = nullptr;
    for (const auto& verdict : decision.verdicts) {
      const auto* refused = std::get_if<reconcile::Refused>(&verdict);
      if (!refused || !holds(refused->reason)) return {.message = "a permit would be given"};
      if (!no) no = refused;
    }
    again = std::min(again, std::max<std::chrono::milliseconds>(no->retry_after, std::chrono::seconds(1)));
    auto found = failed(no->kind.str() + " " + no->name.str() + " refuses (" + no->reason.str() + "): " + no->message, no->kind, no->name);
    found.needs_somebody = no->reason != api::reason::window_full && no->reason != api::reason::schedule_closed;
    refusal = *no;
    return found;
  }
  // One machine of each failure domain: a limit may be of one domain only.
  std::vector<reconcile::PermitRequest> permit_requests() const {
    std::vector<reconcile::PermitRequest> out;
    std::unordered_set<std::string_view> domains;
    for (const auto& m : s_.machines) {
      if (m->metadata.deleting() || out.size() >= max_domains || !domains.insert(m->status.failure_domain.view()).second) continue;
      out.push_back({.cluster = {s_.set->metadata.name_space, s_.set->spec.cluster_name},
                     .operation = api::operation::machine_update,
                     .subject = m->metadata.key(),
                     .subject_uid = m->metadata.uid,
                     .revision = to_.hash,
                     .domain = m->status.failure_domain});
    }
    return out;
  }

  // ---- disks ----

  Found disk_room() const {
    std::int64_t size = 0;
    for (const auto* p : new_) {
      std::int64_t largest = 0;  // of its architectures: a host has one of them, and which isn't known here
      for (const auto& a : p->spec.install.artifacts) largest = std::max(largest, a.size.value_or(0));
      size += largest;
    }
    if (size == 0)
      return new_.empty() ? Found{.message = "nothing new to store"} : skipped("no new artifact says its sizeBytes: not looked at");
    const auto need = size * room_factor;
    std::size_t silent = 0, looked_at = 0, small = 0;
    Text first;
    std::string names;
    for (const auto& [revision, host] : in_.hosts) {
      if (revision == to_.hash) continue;  // it has them already
      const auto free = host ? parse_bytes(host->status.capacity.get(free_disk)) : std::nullopt;
      silent += !free;
      looked_at += free.has_value();
      if (!free || *free >= need) continue;
      if (small == 0) first = host->metadata.name;
      if (++small <= max_named)
        names.append(names.empty() ? "" : ", ").append(host->metadata.name.view()).append(" (").append(std::to_string(*free)).append(")");
    }
    const std::string unknown =
        silent == 0 ? "" : "; " + std::to_string(silent) + " hosts don't report " + std::string(free_disk) + ": not looked at";
    if (small > 0) {
      if (small > max_named) names += " and " + std::to_string(small - max_named) + " more";
      return failed(
          "hosts have less than the " + std::to_string(need) + " bytes free that the new packages need: " + names + "; make room on them",
          "Host", first);
    }
    if (looked_at == 0 && silent > 0) return skipped(unknown.substr(2));
    return {.message = std::to_string(looked_at) + " hosts have " + std::to_string(need) + " bytes free" + unknown};
  }

  const Snapshot& s_;
  const PreflightInput& in_;
  const Revision& to_;
  std::vector<const api::MachinePackageVersion*> new_;
};

// What the annotation names.
void read_skips(const Snapshot& s, Preflight& out) {
  auto rest = s.set->metadata.annotations.get(api::annotation::skip_preflight);
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    const auto name = trimmed(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    if (name.empty()) continue;
    bool known = name == "all";
    for (const auto check : all_checks)
      if (name == "all" || name == reconcile::name_of(check)) {
        known = true;
        if (std::find(out.skipped.begin(), out.skipped.end(), check) == out.skipped.end()) out.skipped.push_back(check);
      }
    if (!known) out.unknown.emplace_back(name);
  }
  std::sort(out.skipped.begin(), out.skipped.end());
}

// The first failure is what blocks, else the first that is open.
Problem problem_of(const std::vector<std::pair<PreflightCheck, Found>>& found) {
  const Found* worst = nullptr;
  std::string text;
  bool any_failed = false;
  for (const auto& [check, f] : found) {
    const bool bad = f.result == PreflightResult::failed;
    if (!bad && f.result != PreflightResult::pending) continue;
    if (bad && !any_failed) {
      any_failed = true;
      worst = &f;
      text.clear();
    }
    if (!worst) worst = &f;
    if (bad == any_failed) text.append(text.empty() ? "" : "; ").append(reconcile::name_of(check)).append(": ").append(f.message);
  }
  std::string remedy = any_failed
                           ? ". It is looked at again every " + std::to_string(preflight_again.count()) +
                                 " s; to go on without, annotate " + std::string(api::annotation::skip_preflight) + " with the check's name"
                           : "";
  return {any_failed ? api::reason::preflight_failed : api::reason::preflight_pending, std::string(cut(text, 800)) + remedy, worst->kind,
          worst->name};
}

}  // namespace

Preflight plan_preflight(const Snapshot& s, const Revision* from, const Revision& to) {
  Preflight out;
  read_skips(s, out);
  std::optional<Checker> checker;
  if (s.preflight && s.preflight->known) checker.emplace(s, from, to);
  std::vector<std::pair<PreflightCheck, Found>> found;
  bool open = false;
  for (const auto check : all_checks) {
    const bool skip = std::find(out.skipped.begin(), out.skipped.end(), check) != out.skipped.end();
    auto f = skip      ? skipped("the annotation " + std::string(api::annotation::skip_preflight) + " says so")
             : checker ? checker->run(check)
                       : pending("not looked at yet");
    open = open || f.result == PreflightResult::failed || f.result == PreflightResult::pending;
    out.needs_somebody = out.needs_somebody || (f.result == PreflightResult::failed && f.needs_somebody);
    out.checks.push_back({.check = check, .result = f.result, .message = cut(f.message, 512)});
    found.emplace_back(check, std::move(f));
  }
  if (checker) {
    out.queries = std::move(checker->queries);
    out.refusal = std::move(checker->refusal);
    out.again = checker->again;
  }
  if (!open) return out;
  out.problem = problem_of(found);
  if (!checker) out.again = std::chrono::seconds(1);  // the next snapshot has it
  return out;
}

std::string preflight_check_names() {
  std::string out;
  for (const auto check : all_checks) out.append(out.empty() ? "" : ", ").append(reconcile::name_of(check));
  return out;
}

std::optional<KubernetesVersion> parse_version(std::string_view text) {
  if (const auto epoch = text.find(':'); epoch != std::string_view::npos) text.remove_prefix(epoch + 1);
  if (text.starts_with('v')) text.remove_prefix(1);
  KubernetesVersion out;
  const auto major = leading_number(text);
  if (!major || !text.starts_with('.')) return std::nullopt;
  text.remove_prefix(1);
  const auto minor = leading_number(text);
  if (!minor) return std::nullopt;
  out.major = *major;
  out.minor = *minor;
  return out;
}

std::optional<std::int64_t> parse_bytes(std::string_view quantity) {
  const auto read = parse_quantity(quantity);
  if (!read || read->nanos < 0) return std::nullopt;
  return read->whole();
}

Reach reach_of(std::string_view url) {
  if (url.starts_with("file:")) return Reach::file;
  const auto host = host_of(url);
  static constexpr std::array reserved{std::string_view("example"),     std::string_view("invalid"),     std::string_view("test"),
                                       std::string_view("example.com"), std::string_view("example.net"), std::string_view("example.org")};
  for (const auto name : reserved)
    if (host == name || host.ends_with("." + std::string(name))) return Reach::reserved;
  return Reach::ask;
}

std::string head_id(std::string_view url) { return "artifact HEAD " + std::string(url); }
std::string get_id(std::string_view url) { return "artifact GET " + std::string(url); }

bool is_artifact_question(std::string_view id) { return id.starts_with("artifact "); }

bool preflight_is_near(const api::MachineSet& set) {
  const auto& st = set.status.rollout;
  if (!st || set.status.observed_generation != set.metadata.generation) return true;
  if (set.metadata.annotations.has(api::annotation::retry)) return true;
  return st->step.empty() && !(set.status.current_revision == set.status.update_revision) &&
         (st->phase == api::RolloutPhase::paused || st->phase == api::RolloutPhase::progressing);
}

}  // namespace endstate::machine_set
