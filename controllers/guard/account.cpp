#include "controllers/guard/account.hpp"

#include <algorithm>
#include <set>

#include "controllers/common/machine_state.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::WallTime;

namespace {

// Long enough for the status that names the operation to come back through the cache.
constexpr auto unnamed_limit = 60s;
constexpr std::int64_t buckets_per_window = 60;

std::chrono::seconds width(std::chrono::seconds duration) {
  return std::max(1s, std::chrono::seconds((duration.count() + buckets_per_window - 1) / buckets_per_window));
}

WallTime bucket_start(WallTime now, std::chrono::seconds duration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch();
  return WallTime(seconds - seconds % width(duration));
}

// The newest moment that a bucket can hold is before its end.
bool counts(const api::LedgerBucket& bucket, std::chrono::seconds duration, WallTime now) {
  return bucket.start + width(duration) > now - duration;
}

std::int64_t sum(const std::vector<api::LedgerBucket>& buckets, std::chrono::seconds duration, WallTime now) {
  std::int64_t total = 0;
  for (const auto& b : buckets)
    if (counts(b, duration, now)) total += b.used;
  return total;
}

// Adds to the bucket of `now`. After a clock was set back, newer buckets stay the newest: they are kept, and counted, for longer.
void put(std::vector<api::LedgerBucket>& buckets, std::chrono::seconds duration, WallTime now, std::int64_t operations) {
  std::erase_if(buckets, [&](const api::LedgerBucket& b) { return !counts(b, duration, now); });
  const WallTime start = bucket_start(now, duration);
  if (buckets.empty() || buckets.back().start < start)
    buckets.push_back({start, operations});
  else
    buckets.back().used += operations;
}

// A bucket from a future that a set clock made up would count for ever: it is taken as of now.
bool pull_back(std::vector<api::LedgerBucket>& buckets, std::chrono::seconds duration, WallTime now) {
  bool pulled = false;
  for (auto& b : buckets) {
    if (b.start <= now + width(duration)) continue;
    b.start = bucket_start(now, duration);
    pulled = true;
  }
  return pulled;
}

}  // namespace

Account::Account(const Snapshot& snapshot) : snapshot_(snapshot), ledger_(snapshot.ledger) {
  for (const auto& m : snapshot.machines) by_uid_[m->metadata.uid.view()] = m.get();
  for (std::size_t i = 0; i < ledger_.grants.size(); ++i) grants_[ledger_.grants[i].id.str()] = i;
}

const api::LedgerGrant* Account::find(std::string_view id) const {
  const auto it = grants_.find(id);
  return it == grants_.end() ? nullptr : &ledger_.grants[it->second];
}

void Account::add(api::LedgerGrant grant) {
  const auto it = by_uid_.find(grant.machine_uid.view());
  if (it != by_uid_.end() && !grant.unavailable && was_in_service(*it->second) && !it->second->metadata.deleting())
    if (out_of_service_.try_emplace(grant.machine_uid.str(), true).second) ++unavailable_;
  grants_[grant.id.str()] = ledger_.grants.size();
  ledger_.grants.push_back(std::move(grant));
  changed_ = true;
}

bool Account::ended(const api::LedgerGrant& grant, const api::Machine* machine) const {
  if (!machine || snapshot_.now >= grant.expire_time) return true;
  if (machine->status.last_operation && machine->status.last_operation->id == grant.id) return true;
  if (machine->status.operation && machine->status.operation->id == grant.id) return false;
  return snapshot_.now - grant.grant_time >= unnamed_limit && is_available(*machine);
}

void Account::settle() {
  std::vector<api::LedgerGrant> kept;
  for (auto& grant : ledger_.grants) {
    const auto it = by_uid_.find(grant.machine_uid.view());
    const auto* machine = it == by_uid_.end() ? nullptr : it->second;
    if (!ended(grant, machine)) {
      kept.push_back(std::move(grant));
      continue;
    }
    changed_ = true;
    if (machine && machine->status.last_operation && machine->status.last_operation->id == grant.id &&
        machine->status.last_operation->result == api::OperationResult::failed)
      count_failure(*machine);
  }
  ledger_.grants = std::move(kept);
  grants_.clear();
  for (std::size_t i = 0; i < ledger_.grants.size(); ++i) grants_[ledger_.grants[i].id.str()] = i;
  reset_breakers();
  drop_old_buckets();
  count_availability();
}

void Account::count_failure(const api::Machine& machine) {
  for (const auto& budget : snapshot_.budgets) {
    if (!budget->spec.breaker || !budget->spec.breaker->failures) continue;
    const auto& rule = *budget->spec.breaker->failures;
    auto it =
        std::find_if(ledger_.breakers.begin(), ledger_.breakers.end(), [&](const auto& b) { return b.budget == budget->metadata.name; });
    if (it == ledger_.breakers.end())
      it = ledger_.breakers.insert(ledger_.breakers.end(), api::LedgerBreaker{.budget = budget->metadata.name, .since = snapshot_.now});
    put(it->failures, rule.duration, snapshot_.now, 1);
    const auto failed = sum(it->failures, rule.duration, snapshot_.now);
    if (failed <= rule.max || it->state == api::BreakerState::open) continue;
    it->state = api::BreakerState::open;
    it->since = snapshot_.now;
    it->reason = api::reason::too_many_failures;
    it->message = std::to_string(failed) + " operations failed within " + reconcile::format_duration(rule.duration) +
                  ", the last one on machine " + machine.metadata.name.str();
  }
}

// By hand (the annotation names the cluster), or by itself when its failures have left the window.
void Account::reset_breakers() {
  for (auto& breaker : ledger_.breakers) {
    if (breaker.state != api::BreakerState::open) continue;
    for (const auto& budget : snapshot_.budgets) {
      if (!(budget->metadata.name == breaker.budget)) continue;
      const bool by_hand = budget->metadata.annotations.get(api::annotation::reset_breaker) == snapshot_.cluster.str();
      const auto& rule = budget->spec.breaker;
      const bool by_itself = rule && rule->failures && api::reset(*rule) == api::BreakerReset::automatic &&
                             sum(breaker.failures, rule->failures->duration, snapshot_.now) <= rule->failures->max;
      if (!by_hand && !by_itself) continue;
      breaker = api::LedgerBreaker{.budget = breaker.budget, .since = snapshot_.now};
      changed_ = true;
    }
  }
}

void Account::drop_old_buckets() {
  for (auto& w : ledger_.windows)
    if (pull_back(w.buckets, w.duration, snapshot_.now)) changed_ = true;
  // A window without buckets is none. That alone is no reason to write: the next grant takes it along.
  for (auto& w : ledger_.windows) std::erase_if(w.buckets, [&](const auto& b) { return !counts(b, w.duration, snapshot_.now); });
  std::erase_if(ledger_.windows, [](const auto& w) { return w.buckets.empty(); });
}

void Account::count_availability() {
  for (const auto& [uid, machine] : by_uid_) {
    if (machine->metadata.deleting() || !was_in_service(*machine)) continue;
    ++in_service_;
    if (!is_available(*machine)) out_of_service_.emplace(uid, true);
  }
  for (const auto& grant : ledger_.grants) {
    const auto it = by_uid_.find(grant.machine_uid.view());
    if (it == by_uid_.end() || it->second->metadata.deleting() || !was_in_service(*it->second)) continue;
    out_of_service_.emplace(grant.machine_uid.str(), true);
  }
  unavailable_ = static_cast<std::int64_t>(out_of_service_.size());
}

bool Account::costs_availability(const reconcile::PermitRequest& request) const {
  if (request.already_unavailable || out_of_service_.contains(request.subject_uid.view())) return false;
  const auto it = by_uid_.find(request.subject_uid.view());
  return it != by_uid_.end() && !it->second->metadata.deleting() && was_in_service(*it->second);
}

std::int64_t Account::machines(std::string_view domain, bool any_domain) const {
  return std::count_if(by_uid_.begin(), by_uid_.end(), [&](const auto& entry) {
    return !entry.second->metadata.deleting() && (any_domain || entry.second->status.failure_domain == domain);
  });
}

void Account::fill_windows() {
  ledger_.windows.clear();
  std::set<std::string_view> domains;
  for (const auto& [uid, machine] : by_uid_) domains.insert(machine->status.failure_domain.view());
  const std::set<std::string_view> whole{std::string_view()};
  for (const auto& budget : snapshot_.budgets)
    for (const auto& limit : budget->spec.limits)
      for (const auto& w : limit.windows)
        for (const auto domain : api::scope(limit) == api::LimitScope::cluster ? whole : domains)
          count(window(budget->metadata.name, limit.name, domain, w.duration), w.max);
  changed_ = true;
}

api::LedgerWindow& Account::window(std::string_view budget, std::string_view limit, std::string_view domain,
                                   std::chrono::seconds duration) {
  for (auto& w : ledger_.windows)
    if (w.budget == budget && w.limit == limit && w.domain == domain && w.duration == duration) return w;
  ledger_.windows.push_back({.budget = budget, .limit = limit, .domain = domain, .duration = duration});
  return ledger_.windows.back();
}

void Account::count(api::LedgerWindow& window, std::int64_t operations) {
  put(window.buckets, window.duration, snapshot_.now, operations);
  changed_ = true;
}

std::int64_t Account::in_flight(std::string_view limit_path, std::string_view domain, bool any_domain, std::string_view except) const {
  return std::count_if(ledger_.grants.begin(), ledger_.grants.end(), [&](const api::LedgerGrant& g) {
    return !(g.machine_uid == except) && (any_domain || g.domain == domain) &&
           std::any_of(g.limits.begin(), g.limits.end(), [limit_path](const auto& l) { return l == limit_path; });
  });
}

const api::LedgerBreaker* Account::breaker(std::string_view budget) const {
  for (const auto& b : ledger_.breakers)
    if (b.budget == budget) return &b;
  return nullptr;
}

std::int64_t used(const api::LedgerWindow& window, WallTime now) { return sum(window.buckets, window.duration, now); }

}  // namespace endstate::guard
