#include "controllers/guard/account.hpp"

#include <algorithm>
#include <set>

#include "controllers/common/machine_state.hpp"
#include "controllers/common/operation_name.hpp"
#include "controllers/guard/availability.hpp"
#include "controllers/guard/buckets.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::WallTime;

namespace {

// Long enough for the status that names the operation to come back through the cache.
constexpr auto unnamed_limit = 60s;
// Buckets are of whole seconds, and each counts for one longer than the window: so far a begin may be from where it was counted.
constexpr auto bucket_slack = 1s;
// A pass that waited for longer than this is counted as if it had begun this long ago. Longer than a call to the API server takes.
constexpr auto longest_wait = 15s;
// Past its deadline an operation is ended by its loop: until that is seen.
constexpr auto adopted_for = 600s;

std::vector<reconcile::Text> limits_of(const Snapshot& snapshot, std::string_view operation) {
  std::vector<reconcile::Text> out;
  for (const auto& budget : snapshot.budgets)
    for (const auto& limit : budget->spec.limits)
      if (covers(limit.operations, operation)) out.emplace_back(budget->metadata.name.str() + "/" + limit.name.str());
  return out;
}

}  // namespace

bool is_under_way(const api::Machine* machine, const reconcile::Text& id) {
  return machine && machine->status.operation && machine->status.operation->id == id;
}

bool has_ended(const api::LedgerGrant& grant, const api::Machine* machine, WallTime now) {
  if (!machine || (machine->status.last_operation && machine->status.last_operation->id == grant.id)) return true;
  if (is_under_way(machine, grant.id)) return now >= std::max(grant.expire_time, machine->status.operation->deadline + adopted_for);
  return now >= grant.expire_time || (now - grant.grant_time >= unnamed_limit && is_available(*machine));
}

// A creation isn't named by its machine; it counts when it is granted, and the machine disturbs nobody before it is there.
bool is_stale(const api::LedgerGrant& grant, const api::Machine* machine, WallTime begins) {
  return !(grant.operation == api::operation::machine_create) && machine && !is_under_way(machine, grant.id) &&
         begins - grant.grant_time > bucket_slack;
}

WallTime begin_of(const reconcile::PermitRequest& request, WallTime now) {
  return request.begins == WallTime{} ? now : std::clamp<WallTime>(request.begins, now - longest_wait, now);
}

Account::Account(const Snapshot& snapshot) : snapshot_(snapshot), ledger_(snapshot.ledger), breakers_(snapshot_, ledger_) {
  by_uid_.reserve(snapshot.machines.size());
  for (const auto& m : snapshot.machines) {
    if (!by_uid_.emplace(m->metadata.uid.view(), m.get()).second || m->metadata.deleting()) continue;
    ++wanted_;
    ++wanted_in_[m->status.failure_domain.view()];
  }
  place_grants();
}

void Account::place_grants() {
  grants_.clear();
  for (std::size_t i = 0; i < ledger_.grants.size(); ++i) grants_[ledger_.grants[i].id.str()] = i;
}

const api::Machine* Account::machine(std::string_view uid) const {
  const auto it = by_uid_.find(uid);
  return it == by_uid_.end() ? nullptr : it->second;
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

// Windows that were filled because the account was doubted hold nothing of what was counted before.
void Account::withdraw(api::LedgerGrant grant) {
  const bool counted = !ledger_.distrusted || ledger_.distrusted->time < grant.grant_time;
  for (auto& w : ledger_.windows) {
    const std::string path = w.budget.str() + "/" + w.limit.str();
    const bool in_it = std::any_of(grant.limits.begin(), grant.limits.end(), [&](const auto& l) { return l == path; });
    if (counted && in_it && (w.domain.empty() || w.domain == grant.domain)) take_back(w.buckets, w.duration, grant.grant_time);
  }
  breakers_.withdraw(grant.id);
  std::erase_if(ledger_.grants, [&](const api::LedgerGrant& g) { return g.id == grant.id; });
  place_grants();
  // Its machine is in service again, unless it is ill, or another grant disturbs it.
  const auto* there = machine(grant.machine_uid.view());
  const bool disturbed = std::any_of(ledger_.grants.begin(), ledger_.grants.end(),
                                     [&](const api::LedgerGrant& g) { return g.machine_uid == grant.machine_uid; });
  if (there && !is_out_of_service(*there) && !disturbed)
    unavailable_ -= static_cast<std::int64_t>(out_of_service_.erase(grant.machine_uid.str()));
  changed_ = true;
}

void Account::settle() {
  std::vector<api::LedgerGrant> kept;
  std::vector<std::pair<api::LedgerGrant, const api::Machine*>> gone;
  for (auto& grant : ledger_.grants) {
    const auto* machine = this->machine(grant.machine_uid.view());
    if (!has_ended(grant, machine, snapshot_.now)) {
      kept.push_back(std::move(grant));
      continue;
    }
    ended_ = true;
    gone.emplace_back(std::move(grant), machine);
  }
  ledger_.grants = std::move(kept);
  place_grants();
  for (const auto& [grant, machine] : gone) breakers_.ended(grant, machine);
  if (breakers_.turn()) changed_ = true;
  drop_old_buckets();
  count_availability();
}

void Account::drop_old_buckets() {
  for (auto& w : ledger_.windows)
    if (pull_back(w.buckets, w.duration, snapshot_.now)) changed_ = true;
  // A window without buckets is none. That alone is no reason to write: the next grant takes it along.
  for (auto& w : ledger_.windows) drop_old(w.buckets, w.duration, snapshot_.now - longest_wait);  // what begins by then may ask still
  std::erase_if(ledger_.windows, [](const auto& w) { return w.buckets.empty(); });
}

void Account::count_availability() {
  for (const auto& [uid, machine] : by_uid_) {
    if (machine->metadata.deleting() || !was_in_service(*machine)) continue;
    ++in_service_;
    if (is_out_of_service(*machine)) out_of_service_.emplace(uid, true);
  }
  for (const auto& grant : ledger_.grants) {
    const auto it = by_uid_.find(grant.machine_uid.view());
    if (it == by_uid_.end() || it->second->metadata.deleting() || !was_in_service(*it->second)) continue;
    out_of_service_.emplace(grant.machine_uid.str(), true);
  }
  unavailable_ = static_cast<std::int64_t>(out_of_service_.size());
}

bool Account::costs_availability(const reconcile::PermitRequest& request) const {
  if (out_of_service_.contains(request.subject_uid.view())) return false;
  const auto it = by_uid_.find(request.subject_uid.view());
  return it != by_uid_.end() && !it->second->metadata.deleting() && was_in_service(*it->second);
}

std::int64_t Account::machines(std::string_view domain, bool any_domain) const {
  if (any_domain) return wanted_;
  const auto found = wanted_in_.find(domain);
  return found == wanted_in_.end() ? 0 : found->second;
}

void Account::distrust(const Doubt& doubt) {
  ledger_.distrusted = {.reason = doubt.reason, .message = std::string_view(doubt.message).substr(0, 1024), .time = snapshot_.now};
  breakers_.restore();
  fill_windows();
  adopt_operations();
  changed_ = true;
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
          if (w.max > 0) count(window(budget->metadata.name, limit.name, domain, w.duration), snapshot_.now, w.max);
}

// A grant that the account lost is still what its machine goes by: it counts as under way, and goes on.
void Account::adopt_operations() {
  for (const auto& machine : snapshot_.machines) {
    const auto& op = machine->status.operation;
    if (op && !find(op->id.view()) && ledger_.grants.size() < max_grants) adopt(*machine);
  }
}

void Account::adopt(const api::Machine& machine) {
  const auto& op = *machine.status.operation;
  add({.id = op.id,
       .machine_uid = machine.metadata.uid,
       .machine = machine.metadata.name,
       .operation = operation_name(op.type),
       .revision = op.revision,
       .attempt = op.attempt,
       .domain = machine.status.failure_domain,
       .limits = limits_of(snapshot_, operation_name(op.type)),
       .unavailable = is_out_of_service(machine),
       .grant_time = op.start_time,
       .expire_time = std::max(op.deadline, snapshot_.now) + adopted_for});
}

api::LedgerWindow& Account::window(std::string_view budget, std::string_view limit, std::string_view domain,
                                   std::chrono::seconds duration) {
  for (auto& w : ledger_.windows)
    if (w.budget == budget && w.limit == limit && w.domain == domain && w.duration == duration) return w;
  ledger_.windows.push_back({.budget = budget, .limit = limit, .domain = domain, .duration = duration});
  return ledger_.windows.back();
}

void Account::count(api::LedgerWindow& window, WallTime at, std::int64_t operations) {
  put(window.buckets, window.duration, at, operations);
  changed_ = true;
}

std::int64_t Account::in_flight(std::string_view limit_path, std::string_view domain, bool any_domain, std::string_view except) const {
  return std::count_if(ledger_.grants.begin(), ledger_.grants.end(), [&](const api::LedgerGrant& g) {
    return !(g.machine_uid == except) && (any_domain || g.domain == domain) &&
           std::any_of(g.limits.begin(), g.limits.end(), [limit_path](const auto& l) { return l == limit_path; });
  });
}

std::int64_t used(const api::LedgerWindow& window, WallTime now) { return sum(window.buckets, window.duration, now); }

}  // namespace endstate::guard
