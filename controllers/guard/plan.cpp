#include "controllers/guard/plan.hpp"

#include <algorithm>
#include <optional>

#include "controllers/guard/account.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::Granted;
using reconcile::PermitRequest;
using reconcile::Refused;
using reconcile::Verdict;

namespace {

constexpr std::size_t max_grants = 3'000;                  // as the CRD says: past it the object would come near etcd's limit
constexpr auto soon = std::chrono::milliseconds(2'000);    // something under way must end first: ask again soon
constexpr auto later = std::chrono::milliseconds(30'000);  // a person or a clock must act first

bool covers(const std::vector<api::BudgetOperation>& operations, std::string_view operation) {
  return std::any_of(operations.begin(), operations.end(), [operation](auto o) { return reconcile::name_of(o) == operation; });
}

// Rounded up: of 3 machines 10% may be 1 at once.
std::int64_t share_up(const reconcile::IntOrPercent& share, std::int64_t total) {
  return share.percent ? (total * share.value + 99) / 100 : share.value;
}
// Rounded down, at least 1: a percentage never means "none ever".
std::int64_t share_down(const reconcile::IntOrPercent& share, std::int64_t total) {
  return share.percent ? std::max<std::int64_t>(1, total * share.value / 100) : share.value;
}

// One request against the budgets; what it would count in is collected on the way.
class Judge {
 public:
  Judge(const Snapshot& snapshot, Account& account, const PermitRequest& request)
      : snapshot_(snapshot), account_(account), request_(request), way_back_(is_way_back(request.operation)) {}

  std::optional<Refused> budget(const api::ChangeBudget& budget) {
    budget_ = &budget;
    if (!way_back_) {
      if (auto no = breaker()) return no;
      if (auto no = schedules()) return no;
    }
    if (auto no = availability()) return no;
    for (const auto& l : budget.spec.limits)
      if (covers(l.operations, request_.operation))
        if (auto no = limit(l)) return no;
    return std::nullopt;
  }
  void commit() {
    for (const auto& w : windows_) account_.count(account_.window(w.budget, w.limit, w.domain, w.duration), 1);
  }
  std::vector<reconcile::Text> limits;  // "<budget>/<limit>" of all that count it

 private:
  Refused no(std::string_view reason, std::string message, std::chrono::milliseconds again) const {
    return {.kind = "ChangeBudget", .name = budget_->metadata.name, .reason = reason, .message = std::move(message), .retry_after = again};
  }

  std::optional<Refused> breaker() const {
    const auto& rule = budget_->spec.breaker;
    if (!rule) return std::nullopt;
    const auto* state = account_.breaker(budget_->metadata.name);
    if (state && state->state == api::BreakerState::open)
      return no(api::reason::breaker_open,
                "the breaker is open since " + reconcile::format_rfc3339(state->since) + ": " + state->message.str() +
                    "; close it with: kubectl annotate changebudget " + budget_->metadata.name.str() + " " +
                    std::string(api::annotation::reset_breaker) + "=" + snapshot_.cluster.str(),
                later);
    if (!rule->checks.empty())
      return no(api::reason::not_supported, "breaker.checks can't be judged by this version: no forward change", later);
    return std::nullopt;
  }

  std::optional<Refused> schedules() const {
    for (const auto& s : budget_->spec.schedules)
      if (covers(s.operations, request_.operation))
        return no(api::reason::schedule_closed, "schedule " + s.name.str() + " can't be judged by this version: it holds what it names",
                  later);
    return std::nullopt;
  }

  std::optional<Refused> availability() const {
    if (!budget_->spec.max_unavailable || !account_.costs_availability(request_)) return std::nullopt;
    const auto allowed = share_down(*budget_->spec.max_unavailable, account_.in_service());
    if (account_.unavailable() + 1 <= allowed) return std::nullopt;
    return no(api::reason::max_unavailable,
              std::to_string(account_.unavailable()) + " of " + std::to_string(account_.in_service()) + " machines are unavailable, " +
                  std::to_string(allowed) + " may be",
              soon);
  }

  std::optional<Refused> limit(const api::BudgetLimit& limit) {
    const bool whole_cluster = api::scope(limit) == api::LimitScope::cluster;
    const std::string path = budget_->metadata.name.str() + "/" + limit.name.str();
    const std::string domain = whole_cluster ? std::string() : request_.domain.str();
    if (limit.max_concurrent) {
      const auto allowed = share_up(*limit.max_concurrent, account_.machines(domain, whole_cluster));
      const auto now = account_.in_flight(path, domain, whole_cluster, request_.subject_uid);
      if (now + 1 > allowed)
        return no(api::reason::max_concurrent,
                  "limit " + limit.name.str() + ": " + std::to_string(now) + " are under way, " + std::to_string(allowed) + " may be",
                  soon);
    }
    for (const auto& w : limit.windows) {
      const auto& account = account_.window(budget_->metadata.name, limit.name, domain, w.duration);
      const auto count = used(account, snapshot_.now);
      if (!way_back_ && count + 1 > w.max)
        return no(api::reason::window_full,
                  "limit " + limit.name.str() + ": " + std::to_string(count) + " in the last " + reconcile::format_duration(w.duration) +
                      ", " + std::to_string(w.max) + " may be",
                  until_free(account));
      windows_.push_back({.budget = budget_->metadata.name, .limit = limit.name, .domain = domain, .duration = w.duration});
    }
    limits.emplace_back(path);
    return std::nullopt;
  }

  // When the oldest bucket leaves the window; bounded, for others may change the budget meanwhile.
  std::chrono::milliseconds until_free(const api::LedgerWindow& window) const {
    if (window.buckets.empty()) return later;
    const auto leaves = window.buckets.front().start + window.duration + window.duration / 60 + 1s - snapshot_.now;
    return std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(leaves), std::chrono::milliseconds(1'000), later);
  }

  const Snapshot& snapshot_;
  Account& account_;
  const PermitRequest& request_;
  bool way_back_;
  const api::ChangeBudget* budget_ = nullptr;
  std::vector<api::LedgerWindow> windows_;  // which to count in; without buckets
};

Verdict judge(const Snapshot& snapshot, Account& account, const PermitRequest& request) {
  const std::string id = request.id();
  if (account.find(id)) return Granted{id};
  if (account.grants() >= max_grants)
    return Refused{.kind = "GuardLedger",
                   .name = snapshot.cluster.name,
                   .reason = api::reason::ledger_full,
                   .message = std::to_string(max_grants) + " operations are under way in this cluster",
                   .retry_after = soon};
  Judge judge(snapshot, account, request);
  for (const auto& budget : snapshot.budgets)
    if (auto refused = judge.budget(*budget)) return *refused;
  const bool unavailable = !account.costs_availability(request);
  judge.commit();
  account.add({.id = id,
               .machine_uid = request.subject_uid,
               .machine = request.subject.name,
               .operation = request.operation,
               .revision = request.revision,
               .attempt = request.attempt,
               .domain = request.domain,
               .limits = std::move(judge.limits),
               .unavailable = unavailable,
               .grant_time = snapshot.now,
               .expire_time = snapshot.now + request.lasts});
  return Granted{id};
}

}  // namespace

bool is_way_back(std::string_view operation) {
  return operation == api::operation::machine_rollback || operation == api::operation::control_plane_rollback ||
         operation == api::operation::certificate_rotation;
}

Decision decide(const Snapshot& snapshot, const std::vector<PermitRequest>& requests) {
  Account account(snapshot);
  account.settle();
  if (!snapshot.trusted) account.fill_windows();
  Decision decision;
  decision.verdicts.reserve(requests.size());
  for (const auto& request : requests) decision.verdicts.push_back(judge(snapshot, account, request));
  decision.changed = account.changed();
  decision.ledger = account.take();
  // Windows that were only looked at are none.
  std::erase_if(decision.ledger.windows, [](const auto& w) { return w.buckets.empty(); });
  if (decision.changed) ++decision.ledger.generation;
  return decision;
}

}  // namespace endstate::guard
