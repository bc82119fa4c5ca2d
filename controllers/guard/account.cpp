#include "controllers/guard/account.hpp"

#include <algorithm>

#include "controllers/common/elapsed.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/guard/buckets.hpp"
#include "controllers/guard/packing.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::PermitRequest, reconcile::Text, reconcile::WallTime;

namespace {

// A permit lives so long without its lock. The actor sends none by a permit older than half of it (reconcile/run/actor.cpp).
constexpr auto unnamed_limit = 60s;
// Buckets are of whole seconds, and each counts for one longer than the window: so far a begin may be from where it was counted.
constexpr auto bucket_slack = 1s;
// A pass that waited for longer than this is counted as if it had begun this long ago. Longer than a call to the API server takes.
constexpr auto longest_wait = 15s;
// Past its deadline an operation is ended by its loop: until that is seen.
constexpr auto ends_within = 600s;
constexpr std::size_t max_windows = 256;  // of scope Cluster; each may hold 61 buckets
constexpr std::size_t max_open = 3'000;   // ids: 32,000 characters of base64
constexpr std::size_t max_checks = 64;    // budgets that have some, as the field's description says

bool counts_failures(const Snapshot& snapshot) {
  return std::any_of(snapshot.budgets.begin(), snapshot.budgets.end(),
                     [](const auto& b) { return b->spec.breaker && b->spec.breaker->failures; });
}

}  // namespace

// A creation counts when it is granted: its machine disturbs nobody before it is there.
bool is_stale(const api::LedgerGrant& grant, const api::Machine* machine, WallTime begins) {
  return !(grant.operation == api::operation::machine_create) && machine && begins - grant.grant_time > bucket_slack;
}

bool is_under_way(const Fleet& fleet, const PermitRequest& request, std::string_view id) {
  const auto* lock = fleet.lock_of(request.subject_uid, request.component);
  return (lock && lock->id == id) || (request.subject_uid == fleet.cluster_uid() && !request.subject_uid.empty() && fleet.under_way(id));
}

WallTime begin_of(const PermitRequest& request, WallTime now) {
  return request.begins == WallTime{} ? now : std::clamp<WallTime>(request.begins, now - longest_wait, now);
}

GrantState state_of(const api::LedgerGrant& grant, const Fleet& fleet, WallTime now) {
  const WallTime none{};
  if (!fleet.cluster_uid().empty() && grant.machine_uid == fleet.cluster_uid()) {
    if (fleet.under_way(grant.id)) return GrantState::seen;
    return now >= (grant.expire_time == none ? grant.grant_time + unnamed_limit : grant.expire_time) ? GrantState::expired
                                                                                                     : GrantState::pending;
  }
  const auto* member = fleet.find(grant.machine_uid);
  if (!member) return GrantState::ended;
  const auto& machine = *member->machine;
  if (machine.status.last_operation && machine.status.last_operation->id == grant.id) return GrantState::ended;
  const bool closes = grant.operation == api::operation::close_scheduling;
  if (const auto& lock = member->lock;
      lock && !lock->lost && (lock->id == grant.id || (closes && lock->operation == api::BudgetOperation::close_scheduling)))
    return GrantState::seen;
  // An older version held permits for as long as their operation may take; its creations have no lock that we know.
  if (grant.expire_time != none)
    return now >= grant.expire_time || (now - grant.grant_time >= unnamed_limit && is_available(machine)) ? GrantState::expired
                                                                                                          : GrantState::pending;
  return now - grant.grant_time >= unnamed_limit ? GrantState::never_begun : GrantState::pending;
}

// Whether the answer must be stored now: what it says is another, or what is stored would soon be too old for who reads it.
static bool is_news(const api::MetricCheck& spec, const api::CheckStatus* stored, const api::CheckStatus& now) {
  if (!stored || stored->result != now.result || stored->bad != now.bad || stored->inconclusive != now.inconclusive ||
      stored->errors != now.errors)
    return true;
  return now.time - stored->time >= std::max<std::chrono::seconds>(40s, 2 * api::interval(spec));
}

void Account::take_answers() {
  for (const auto& budget : snapshot_.budgets) {
    if (!budget->spec.breaker) continue;
    const auto of = [&](const api::LedgerChecks& c) { return c.budget == budget->metadata.name; };
    const auto fresh = std::find_if(snapshot_.checks.begin(), snapshot_.checks.end(), of);
    if (fresh == snapshot_.checks.end()) continue;
    auto stored = std::find_if(ledger_.checks.begin(), ledger_.checks.end(), of);
    if (stored == ledger_.checks.end()) {
      if (ledger_.checks.size() >= max_checks) continue;
      stored = ledger_.checks.insert(ledger_.checks.end(), api::LedgerChecks{.budget = budget->metadata.name});
    }
    for (const auto& spec : budget->spec.breaker->checks) {
      const auto named = [&](const api::CheckStatus& c) { return c.name == spec.name; };
      const auto now = std::find_if(fresh->checks.begin(), fresh->checks.end(), named);
      const auto before = std::find_if(stored->checks.begin(), stored->checks.end(), named);
      if (now != fresh->checks.end() && is_news(spec, before == stored->checks.end() ? nullptr : &*before, *now)) changed_ = true;
    }
    stored->checks = fresh->checks;
  }
  std::erase_if(ledger_.checks, [&](const api::LedgerChecks& c) {
    return std::none_of(snapshot_.budgets.begin(), snapshot_.budgets.end(),
                        [&](const auto& b) { return b->metadata.name == c.budget && b->spec.breaker; });
  });
}

Account::Account(const Snapshot& snapshot, const Fleet& fleet)
    : snapshot_(snapshot), fleet_(fleet), ledger_(snapshot.ledger), domains_(ledger_), breakers_(snapshot_, fleet, ledger_) {
  for (auto& w : ledger_.windows) unpack(w);
  find_too_wide();
  find_late();
  place_grants();
  take_answers();
}

// Budgets by name: the first that fit are counted.
void Account::find_too_wide() {
  std::size_t windows = 0;
  for (const auto& budget : snapshot_.budgets) {
    std::size_t own = 0;
    for (const auto& limit : budget->spec.limits)
      if (api::scope(limit) != api::LimitScope::cluster) own += limit.windows.size();
    if (own == 0) continue;
    if (windows + own > max_domain_windows || (windows + own) * std::max<std::size_t>(1, fleet_.domains()) > max_domain_rows)
      too_wide_.insert(budget->metadata.name.view());
    else
      windows += own;
  }
}

// The clock of an operation stands still while its cluster can't be seen.
bool Account::is_late(const Lock& lock) const {
  if (lock.deadline == WallTime{}) return false;
  if (!lock.component.empty() || lock.operation >= api::BudgetOperation::control_plane_update) return snapshot_.now >= lock.deadline;
  return elapsed(lock.start, snapshot_.now, snapshot_.gaps) >= lock.deadline - lock.start + ends_within;
}

void Account::find_late() {
  fleet_.each_late(snapshot_.now - ends_within, [this](const Text&, const Lock& lock) {
    if (is_late(lock)) late_.push_back(lock);
  });
  fleet_.each_plane_lock([this](const Lock& lock) {
    if (is_late(lock)) late_.push_back(lock);
  });
}

bool Account::is_of_cluster(const api::LedgerGrant& grant) const {
  return !fleet_.cluster_uid().empty() && grant.machine_uid == fleet_.cluster_uid();
}
// Of a control plane's permit `machine` is the component.
bool Account::is_subject(const api::LedgerGrant& grant, const Text& uid, const Text& component) const {
  return grant.machine_uid == uid && (!is_of_cluster(grant) || grant.machine == component);
}

void Account::place_grants() {
  grants_.clear();
  pending_.clear();
  subjects_.clear();
  disturbed_.clear();
  held_ = 0;
  for (const auto& grant : ledger_.grants) place(grant);
}

void Account::place(const api::LedgerGrant& grant) {
  grants_[grant.id.str()] = pending_.size();
  const Text component = is_of_cluster(grant) ? grant.machine : Text();
  Pending p;
  if (const auto o = operation_of(grant.operation.view())) p.operation = bit(*o);
  if (const auto* lock = fleet_.lock_of(grant.machine_uid, component); lock && lock->domain == grant.domain && !is_late(*lock))
    p.lock = bit(lock->operation);
  p.repeated = !subjects_.emplace(grant.machine_uid, component).second;
  pending_.push_back(p);
  if (grant.expire_time == WallTime{} || is_of_cluster(grant)) ++held_;
  if (const auto* m = fleet_.find(grant.machine_uid); m && m->in_service && !m->out) disturbed_.insert(grant.machine_uid);
}

const api::Machine* Account::machine(const Text& uid) const {
  const auto* member = fleet_.find(uid);
  return member ? member->machine.get() : nullptr;
}

const api::LedgerGrant* Account::find(std::string_view id) const {
  const auto it = grants_.find(std::string(id));
  return it == grants_.end() ? nullptr : &ledger_.grants[it->second];
}

bool Account::is_full(bool way_back) const {
  if (held_ >= max_pending) return true;
  return !way_back && counts_failures(snapshot_) && fleet_.locks() + held_ >= max_open;
}

void Account::add(api::LedgerGrant grant) {
  ledger_.grants.push_back(std::move(grant));
  place(ledger_.grants.back());
  changed_ = true;
}

// Windows that were filled because the account was doubted hold nothing of what was counted before.
void Account::withdraw(api::LedgerGrant grant) {
  const bool counted = !ledger_.distrusted || ledger_.distrusted->time < grant.grant_time;
  for (const auto& path : grant.limits) {
    const auto slash = path.view().find('/');
    if (!counted || slash == std::string_view::npos) continue;
    const Text budget = path.view().substr(0, slash), limit = path.view().substr(slash + 1);
    for (auto& w : ledger_.windows)
      if (w.budget == budget && w.limit == limit) take_back(w.buckets, w.duration, grant.grant_time);
    domains_.take_back(budget, limit, grant.domain, grant.grant_time);
  }
  breakers_.withdraw(grant.id);
  std::erase_if(ledger_.grants, [&](const api::LedgerGrant& g) { return g.id == grant.id; });
  place_grants();
  changed_ = true;
}

void Account::settle() {
  std::vector<api::LedgerGrant> kept, gone, never;
  for (auto& grant : ledger_.grants) {
    const auto state = state_of(grant, fleet_, snapshot_.now);
    (state == GrantState::pending ? kept : state == GrantState::never_begun ? never : gone).push_back(std::move(grant));
  }
  ended_ = !gone.empty();
  ledger_.grants = std::move(kept);
  place_grants();
  for (auto& grant : never) withdraw(std::move(grant));
  for (const auto& grant : gone) {
    const auto* m = machine(grant.machine_uid);
    if (state_of(grant, fleet_, snapshot_.now) == GrantState::ended) breakers_.ended(grant.id, m);
  }
  count_ends();
  if (breakers_.turn()) changed_ = true;
  drop_old_buckets();
}

// What had a lock when the account was written last, or is a breaker's trial, and has ended since. A result is known for as long as
// nothing else was done to the machine: that needs a permit, and so comes by here first.
void Account::count_ends() {
  std::set<std::uint64_t> looked_at;
  const auto look = [&](std::uint64_t id) {
    if (!looked_at.insert(id).second) return;
    const auto* m = fleet_.named_by(id);
    if (!m || !m->status.last_operation || short_id(m->status.last_operation->id) != id) return;
    breakers_.ended(m->status.last_operation->id, m);
    ended_ = true;
  };
  for (const auto id : unpack_ids(ledger_.open.view())) look(id);
  std::vector<std::uint64_t> trials;
  for (const auto& b : ledger_.breakers)
    for (const auto& id : b.trials) trials.push_back(short_id(id));
  for (const auto id : trials) look(id);
}

std::string Account::open_ids() const {
  if (!counts_failures(snapshot_)) return {};
  std::vector<std::uint64_t> ids;
  fleet_.each_machine_lock([&](const Lock& lock) {
    if (!lock.id.empty() && !lock.lost && ids.size() < max_open) ids.push_back(short_id(lock.id));
  });
  std::sort(ids.begin(), ids.end());
  return pack_ids(ids);
}

void Account::drop_old_buckets() {
  for (auto& w : ledger_.windows)
    if (pull_back(w.buckets, w.duration, snapshot_.now)) changed_ = true;
  if (domains_.pull_back(snapshot_.now)) changed_ = true;
  // A window without buckets is none. That alone is no reason to write: the next grant takes it along.
  const auto before = snapshot_.now - longest_wait;  // what begins by then may ask still
  for (auto& w : ledger_.windows) drop_old(w.buckets, w.duration, before);
  std::erase_if(ledger_.windows, [](const auto& w) { return w.buckets.empty(); });
  domains_.drop_old(before);
}

bool Account::costs_availability(const PermitRequest& request) const {
  const auto* m = fleet_.find(request.subject_uid);
  return m && m->in_service && !m->out && !disturbed_.contains(request.subject_uid);
}

std::int64_t Account::machines(const Text& domain, bool any_domain) const {
  return any_domain ? fleet_.wanted() : fleet_.wanted_in(domain);
}

std::int64_t Account::in_flight(Operations operations, const Text& domain, bool any_domain, const PermitRequest& but) const {
  const auto counts = [&](const Lock& lock) { return (bit(lock.operation) & operations) != 0 && (any_domain || lock.domain == domain); };
  std::int64_t n = any_domain ? fleet_.under_way(operations) : fleet_.under_way(operations, domain);
  for (const auto& lock : late_) n -= counts(lock) ? 1 : 0;
  if (const auto* own = fleet_.lock_of(but.subject_uid, but.component); own && counts(*own) && !is_late(*own)) --n;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const auto& p = pending_[i];
    const auto& grant = ledger_.grants[i];
    if ((p.operation & operations) == 0 || (p.lock & operations) != 0 || (!any_domain && !(grant.domain == domain))) continue;
    if (is_subject(grant, but.subject_uid, but.component)) continue;
    const auto same = [&](std::size_t other) {
      const auto& g = ledger_.grants[other];
      return (pending_[other].operation & operations) != 0 &&
             is_subject(g, grant.machine_uid, is_of_cluster(grant) ? grant.machine : Text());
    };
    bool counted = false;
    for (std::size_t other = 0; p.repeated && other < i && !counted; ++other) counted = same(other);
    n += counted ? 0 : 1;
  }
  return n;
}

// ---- windows ----

std::vector<api::LedgerWindow>::const_iterator Account::find(const Window& w) const {
  return std::find_if(ledger_.windows.begin(), ledger_.windows.end(), [&](const api::LedgerWindow& found) {
    return found.duration == w.duration && found.limit == w.limit->name && found.budget == w.budget->metadata.name;
  });
}

std::int64_t Account::used(const Window& w, WallTime now) const {
  if (!w.whole_cluster) return domains_.used(w.budget->metadata.name, w.limit->name, w.duration, w.domain, now);
  const auto found = find(w);
  return found == ledger_.windows.end() ? 0 : guard::used(*found, now);
}

bool Account::has_room(const Window& w) const {
  if (!w.whole_cluster) return !is_too_wide(*w.budget);
  return ledger_.windows.size() < max_windows || find(w) != ledger_.windows.end();
}

std::optional<WallTime> Account::oldest_ends(const Window& w) const {
  if (!w.whole_cluster) return domains_.oldest(w.budget->metadata.name, w.limit->name, w.duration, w.domain);
  const auto found = find(w);
  if (found == ledger_.windows.end() || found->buckets.empty()) return std::nullopt;
  return found->buckets.front().start + bucket_width(w.duration);
}

void Account::count(const Window& w, WallTime at, std::int64_t operations) {
  changed_ = true;
  if (!w.whole_cluster) {
    domains_.add(w.budget->metadata.name, w.limit->name, w.duration, w.domain, at, operations);
    return;
  }
  const auto place = static_cast<std::size_t>(find(w) - ledger_.windows.cbegin());
  if (place == ledger_.windows.size())
    ledger_.windows.push_back({.budget = w.budget->metadata.name, .limit = w.limit->name, .domain = {}, .duration = w.duration});
  put(ledger_.windows[place].buckets, w.duration, at, operations);
}

void Account::distrust(const Doubt& doubt) {
  ledger_.distrusted = {.reason = doubt.reason, .message = std::string_view(doubt.message).substr(0, 1024), .time = snapshot_.now};
  fill_windows();
  breakers_.restore();
  changed_ = true;
}

void Account::fill_windows() {
  ledger_.windows.clear();
  domains_.clear();
  for (const auto& budget : snapshot_.budgets)
    for (const auto& limit : budget->spec.limits)
      for (const auto& w : limit.windows) {
        Window window{.budget = budget.get(), .limit = &limit, .duration = w.duration};
        window.whole_cluster = api::scope(limit) == api::LimitScope::cluster;
        if (w.max <= 0 || !has_room(window)) continue;
        if (window.whole_cluster) {
          count(window, snapshot_.now, w.max);
          continue;
        }
        fleet_.each_domain([&](const Text& domain) {
          window.domain = domain;
          count(window, snapshot_.now, w.max);
        });
      }
}

api::GuardLedgerStatus Account::take() {
  std::erase_if(ledger_.windows, [](const auto& w) { return w.buckets.empty(); });
  for (auto& w : ledger_.windows) pack(w);
  domains_.store(ledger_);
  ledger_.open = open_ids();
  return std::move(ledger_);
}

std::int64_t used(const api::LedgerWindow& window, WallTime now) { return sum(buckets_of(window), window.duration, now); }

}  // namespace endstate::guard
