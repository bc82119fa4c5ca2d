#include "controllers/guard/plan.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "controllers/guard/account.hpp"
#include "controllers/guard/buckets.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::Granted;
using reconcile::PermitRequest;
using reconcile::Refused;
using reconcile::Verdict;

namespace {

constexpr auto soon = std::chrono::milliseconds(2'000);    // something under way must end first: ask again soon
constexpr auto later = std::chrono::milliseconds(30'000);  // a person or a clock must act first

// Rounded up: of 3 machines 10% may be 1 at once.
std::int64_t share_up(const reconcile::IntOrPercent& share, std::int64_t total) {
  return share.percent ? (total * share.value + 99) / 100 : share.value;
}
// Rounded down, at least 1: a percentage never means "none ever".
std::int64_t share_down(const reconcile::IntOrPercent& share, std::int64_t total) {
  return share.percent ? std::max<std::int64_t>(1, total * share.value / 100) : share.value;
}

// The schedules as they stand now: judged once for all requests.
class Schedules {
 public:
  explicit Schedules(const Snapshot& snapshot) : snapshot_(snapshot) {}
  const ScheduleState& state(const api::BudgetSchedule& schedule) {
    if (snapshot_.schedules) return snapshot_.schedules->state(schedule, zone_of(schedule, snapshot_.zones), snapshot_.now);
    const auto [it, is_new] = states_.try_emplace(&schedule);
    if (is_new) it->second = guard::judge(schedule, zone_of(schedule, snapshot_.zones), snapshot_.now);
    return it->second;
  }

 private:
  const Snapshot& snapshot_;
  std::map<const api::BudgetSchedule*, ScheduleState> states_;
};

// One request against the budgets; what it would count in is collected on the way.
class Judge {
 public:
  Judge(const Snapshot& snapshot, Account& account, Schedules& schedules, const PermitRequest& request)
      : snapshot_(snapshot),
        account_(account),
        schedules_(schedules),
        request_(request),
        begins_(begin_of(request, snapshot.now)),
        way_back_(is_way_back(request.operation)) {}

  std::optional<Refused> budget(const api::ChangeBudget& budget) {
    budget_ = &budget;
    if (!way_back_ && !snapshot_.break_glass) {
      if (auto no = account_.breakers().hold(budget)) return no;
      if (auto no = schedules()) return no;
    }
    if (auto no = availability()) return no;
    for (const auto& l : budget.spec.limits)
      if (covers(l.operations, request_.operation))
        if (auto no = limit(l)) return no;
    return std::nullopt;
  }
  void commit(const reconcile::Text& id) {
    for (const auto& w : windows_) account_.count(w, begins_, 1);
    for (const auto& b : snapshot_.budgets)
      if (!way_back_) account_.breakers().let_through(*b, id);
  }
  std::vector<reconcile::Text> limits;  // "<budget>/<limit>" of all that count it

 private:
  Refused no(std::string_view reason, std::string message, std::chrono::milliseconds again) const {
    return {.kind = "ChangeBudget", .name = budget_->metadata.name, .reason = reason, .message = std::move(message), .retry_after = again};
  }

  std::optional<Refused> schedules() const {
    const api::BudgetSchedule* opens = nullptr;  // of the Allow schedules that name the operation, the one that is on first
    std::optional<reconcile::WallTime> opens_at;
    bool named = false, allowed = false;
    for (const auto& s : budget_->spec.schedules) {
      if (!covers(s.operations, request_.operation)) continue;
      const auto& state = schedules_.state(s);
      if (!state.error.empty())
        return no(api::reason::schedule_invalid,
                  "schedule " + s.name.str() + ": " + state.error + "; it holds what it names until it is corrected", later);
      if (s.type == api::ScheduleType::deny) {
        if (state.on)
          return no(api::reason::schedule_closed, "schedule " + s.name.str() + " is on " + until(state.until), wait(state.until));
        continue;
      }
      named = true;
      allowed = allowed || state.on;
      if (opens && (!state.until || (opens_at && *opens_at <= *state.until))) continue;
      opens = &s;
      opens_at = state.until;
    }
    if (!named || allowed) return std::nullopt;
    return no(
        api::reason::schedule_closed,
        "no schedule of type Allow is on; " +
            (opens_at ? opens->name.str() + " is the next, at " + reconcile::format_rfc3339(*opens_at) : "none will be within a year"),
        wait(opens_at));
  }
  static std::string until(std::optional<reconcile::WallTime> time) {
    return time ? "until " + reconcile::format_rfc3339(*time) : "for more than a year";
  }
  // Bounded: somebody may edit the schedule meanwhile.
  std::chrono::milliseconds wait(std::optional<reconcile::WallTime> time) const { return time ? bounded(*time - snapshot_.now) : later; }

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
    const reconcile::Text domain = whole_cluster ? reconcile::Text() : request_.domain;
    if (limit.max_concurrent && !snapshot_.break_glass) {
      const auto allowed = share_up(*limit.max_concurrent, account_.machines(domain, whole_cluster));
      const auto now = account_.in_flight(bits(limit.operations), domain, whole_cluster, request_);
      if (now + 1 > allowed)
        return no(api::reason::max_concurrent,
                  "limit " + limit.name.str() + ": " + std::to_string(now) + " are under way, " + std::to_string(allowed) + " may be",
                  soon);
    }
    for (const auto& w : limit.windows) {
      const Account::Window window{
          .budget = budget_, .limit = &limit, .duration = w.duration, .domain = domain, .whole_cluster = whole_cluster};
      if (!account_.has_room(window)) {
        if (way_back_) continue;  // it is counted no more
        return whole_cluster ? too_many() : too_wide();
      }
      const auto count = account_.used(window, begins_);
      if (!way_back_ && !snapshot_.break_glass && count + 1 > w.max) return window_full(limit, w, window, count);
      windows_.push_back(window);
    }
    if (!limit.windows.empty()) limits.emplace_back(budget_->metadata.name.str() + "/" + limit.name.str());
    return std::nullopt;
  }

  Refused too_wide() const {
    return no(api::reason::budget_too_wide,
              "its windows of scope FailureDomain, those of budgets before it by name included, times the " +
                  std::to_string(account_.fleet().domains()) + " failure domains of this cluster are more than " +
                  std::to_string(max_domain_rows) + ", or the windows more than " + std::to_string(max_domain_windows) +
                  ": use fewer of them, or scope Cluster",
              later);
  }
  Refused too_many() const {
    return no(api::reason::ledger_full, "all budgets of this cluster have more windows than its account can hold: use fewer", later);
  }

  Refused window_full(const api::BudgetLimit& limit, const api::BudgetWindow& w, const Account::Window& window, std::int64_t count) const {
    const std::string length = reconcile::format_duration(w.duration);
    if (const auto& d = account_.distrusted(); d && d->time + w.duration + bucket_width(w.duration, parts(window)) > snapshot_.now)
      return no(d->reason.view(),
                "limit " + limit.name.str() + ": its window of " + length + " counts as full since " + reconcile::format_rfc3339(d->time) +
                    ", when the GuardLedger was not to be trusted: " + d->message.str(),
                until_free(window));
    return no(
        api::reason::window_full,
        "limit " + limit.name.str() + ": " + std::to_string(count) + " in the last " + length + ", " + std::to_string(w.max) + " may be",
        until_free(window));
  }
  static std::int64_t parts(const Account::Window& window) { return window.whole_cluster ? window_parts : domain_parts; }

  // When the oldest bucket leaves the window; bounded, for others may change the budget meanwhile.
  std::chrono::milliseconds until_free(const Account::Window& window) const {
    const auto ends = account_.oldest_ends(window);
    return ends ? bounded(*ends + window.duration - snapshot_.now) : later;
  }
  static std::chrono::milliseconds bounded(std::chrono::microseconds wait) {
    return std::clamp(std::chrono::ceil<std::chrono::milliseconds>(wait), std::chrono::milliseconds(1'000), later);
  }

  const Snapshot& snapshot_;
  Account& account_;
  Schedules& schedules_;
  const PermitRequest& request_;
  reconcile::WallTime begins_;
  bool way_back_;
  const api::ChangeBudget* budget_ = nullptr;
  std::vector<Account::Window> windows_;  // which to count in
};

// Of several that say no, the one that says it for the longest is named: before that it is no use to ask again.
Refused most_restrictive(std::vector<Refused> all) {
  const auto longest =
      std::max_element(all.begin(), all.end(), [](const Refused& a, const Refused& b) { return a.retry_after < b.retry_after; });
  Refused named = std::move(*longest);
  std::string others;
  for (auto it = all.begin(); it != all.end(); ++it)
    if (it != longest) others += (others.empty() ? "" : ", ") + it->name.str() + " (" + it->reason.str() + ")";
  if (!others.empty()) named.message += "; refused by " + others + " too";
  return named;
}

std::optional<Refused> unseen(const Snapshot& snapshot, const PermitRequest& request) {
  if (snapshot.sight.seen || request.forced || !is_of_machines(request.operation)) return std::nullopt;
  return Refused{.kind = "Cluster",
                 .name = snapshot.cluster.name,
                 .reason = api::reason::waiting_for_connection,
                 .message = "nothing is changed there while it can't be seen" +
                            (snapshot.sight.why.empty() ? std::string() : ": " + snapshot.sight.why),
                 .retry_after = std::chrono::milliseconds(5'000)};
}

// Nobody knows what it says, so it may say no to this.
std::optional<Refused> unreadable(const Snapshot& snapshot, const PermitRequest& request) {
  if (snapshot.unreadable.empty() || is_way_back(request.operation)) return std::nullopt;
  const auto& first = snapshot.unreadable.front();
  return Refused{
      .kind = "ChangeBudget",
      .name = first.name,
      .reason = api::reason::budget_unreadable,
      .message = "this version of endstate can't read it (" + first.why + "), so nothing forward is done: upgrade endstate, or edit it",
      .retry_after = later};
}

struct Judged {
  Verdict verdict;
  bool fresh = false;  // given now, not found again
};

Judged judge(const Snapshot& snapshot, Account& account, Schedules& schedules, const PermitRequest& request) {
  if (auto no = unseen(snapshot, request)) return {std::move(*no)};
  const std::string id = request.id();
  const auto begins = begin_of(request, snapshot.now);
  if (is_under_way(account.fleet(), request, id)) return {Granted{id}};  // what has begun must be able to end
  if (const auto* grant = account.find(id)) {
    if (!is_stale(*grant, account.machine(request.subject_uid), begins)) return {Granted{id}};
    account.withdraw(*grant);
  }
  const bool way_back = is_way_back(request.operation);
  if (account.is_full(way_back))
    return {Refused{.kind = "GuardLedger",
                    .name = snapshot.cluster.name,
                    .reason = api::reason::ledger_full,
                    .message = std::to_string(account.pending()) + " operations are about to begin in this cluster, and " +
                               std::to_string(account.fleet().locks()) + " are under way",
                    .retry_after = soon}};
  Judge judge(snapshot, account, schedules, request);
  std::vector<Refused> refusals;
  if (auto no = unreadable(snapshot, request)) refusals.push_back(std::move(*no));
  for (const auto& budget : snapshot.budgets)
    if (auto refused = judge.budget(*budget)) refusals.push_back(std::move(*refused));
  if (!refusals.empty()) return {most_restrictive(std::move(refusals))};
  judge.commit(id);
  // Of a control plane: its component. It has no lock yet where an older loop asks, so it counts until it expires.
  const bool of_cluster = !request.subject_uid.empty() && request.subject_uid == account.fleet().cluster_uid();
  account.add({.id = id,
               .machine_uid = request.subject_uid,
               .machine = of_cluster ? request.component : request.subject.name,
               .operation = request.operation,
               .domain = request.domain,
               .limits = std::move(judge.limits),
               .grant_time = begins,
               .expire_time = of_cluster ? begins + request.lasts : reconcile::WallTime{}});
  return {Granted{id}, true};
}

}  // namespace

bool covers(const std::vector<api::BudgetOperation>& operations, std::string_view operation) {
  return std::any_of(operations.begin(), operations.end(), [operation](auto o) { return reconcile::name_of(o) == operation; });
}

bool is_way_back(std::string_view operation) {
  return operation == api::operation::machine_rollback || operation == api::operation::control_plane_rollback ||
         operation == api::operation::certificate_rotation;
}

bool is_of_machines(std::string_view operation) {
  return operation.starts_with("Machine") || operation == api::operation::close_scheduling;
}

Decision decide(const Snapshot& snapshot, const std::vector<PermitRequest>& requests) {
  std::optional<Fleet> counted;
  if (!snapshot.fleet) counted = count({snapshot.object, snapshot.machines, snapshot.hosts, snapshot.assignments});
  const Fleet& fleet = snapshot.fleet ? *snapshot.fleet : *counted;
  Decision decision;
  decision.doubt = snapshot.doubt;
  if (!decision.doubt && !snapshot.own) decision.doubt = doubt_of(snapshot.ledger, fleet);
  Account account(snapshot, fleet);
  account.settle();
  if (decision.doubt) account.distrust(*decision.doubt);
  Schedules schedules(snapshot);
  decision.verdicts.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto judged = judge(snapshot, account, schedules, requests[i]);
    decision.verdicts.push_back(std::move(judged.verdict));
    if (judged.fresh) decision.fresh.push_back(i);
  }
  decision.changed = account.changed();
  decision.may_wait = account.may_wait();
  decision.ledger = account.take();
  if (decision.changed) {
    ++decision.ledger.generation;
    decision.ledger.seen = snapshot.seen;
    seal(decision.ledger, snapshot.now);
  }
  return decision;
}

}  // namespace endstate::guard
