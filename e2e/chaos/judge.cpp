#include "e2e/chaos/judge.hpp"

#include <algorithm>
#include <cstdio>

#include "controllers/common/machine_state.hpp"
#include "controllers/machine_set/steps.hpp"

namespace endstate::chaos {
namespace {

namespace api = v1alpha1;
using reconcile::WallTime;

std::string_view operation_name(api::OperationType type) {
  switch (type) {
    case api::OperationType::create: return api::operation::machine_create;
    case api::OperationType::update: return api::operation::machine_update;
    case api::OperationType::repair: return api::operation::machine_repair;
    case api::OperationType::reinstall: return api::operation::machine_reinstall;
    case api::OperationType::rollback: return api::operation::machine_rollback;
    case api::OperationType::delete_: return api::operation::machine_delete;
  }
  return {};
}

bool covers(const api::BudgetLimit& limit, std::string_view operation) {
  return std::any_of(limit.operations.begin(), limit.operations.end(), [&](auto o) { return reconcile::name_of(o) == operation; });
}

// apis/v1alpha1/policy.hpp: shares of maxUnavailable are rounded down but never to 0, those of maxConcurrent up.
std::int64_t most_unavailable(const reconcile::IntOrPercent& share, std::int64_t in_service) {
  return share.percent ? std::max<std::int64_t>(1, in_service * share.value / 100) : share.value;
}
std::int64_t most_under_way(const reconcile::IntOrPercent& share, std::int64_t machines) {
  return share.percent ? (machines * share.value + 99) / 100 : share.value;
}

// The most of these times (sorted) in any (t - duration, t], whole seconds as the API keeps them, and the first such t.
std::pair<std::int64_t, WallTime> fullest(const std::vector<WallTime>& times, std::chrono::seconds duration) {
  std::pair<std::int64_t, WallTime> out;
  std::size_t first = 0;
  for (std::size_t last = 0; last < times.size(); ++last) {
    while (times[first] <= times[last] - duration) ++first;
    if (const auto count = static_cast<std::int64_t>(last - first + 1); count > out.first) out = {count, times[last]};
  }
  return out;
}

std::string cluster_tally(const std::string& cluster) { return "cluster " + cluster; }
std::string domain_tally(const std::string& cluster, const std::string& domain) { return "domain " + cluster + " " + domain; }
std::string set_tally(const std::string& set) { return "set " + set; }

std::string clock_of(WallTime time) { return time == WallTime{} ? "-" : reconcile::format_rfc3339(time).substr(11, 8); }

}  // namespace

// ---- what is seen ----

void Judge::saw_cluster(const api::Cluster* before, const api::Cluster* after) {
  if (after != nullptr)
    clusters_[after->metadata.key().str()] = after->metadata.labels;
  else
    clusters_.erase(before->metadata.key().str());
}

void Judge::saw_set(const api::MachineSet* before, const api::MachineSet* after) {
  if (after != nullptr)
    sets_[after->metadata.key().str()] = *after;
  else
    sets_.erase(before->metadata.key().str());
}

void Judge::saw_budget(const api::ChangeBudget* before, const api::ChangeBudget* after) {
  if (after != nullptr)
    budgets_[after->metadata.name.str()] = *after;
  else
    budgets_.erase(before->metadata.name.str());
}

void Judge::saw_ledger(const api::GuardLedger* before, const api::GuardLedger* after) {
  const auto& ledger = after != nullptr ? *after : *before;
  auto& ids = grants_[ledger.metadata.name_space.str() + "/" + ledger.spec.cluster_name.str()];
  if (after == nullptr) return;
  // A permit leaves the ledger when its operation is seen: what was ever in it was given.
  for (const auto& g : after->status.grants) ids.insert(g.id.str());
}

void Judge::saw_machine(const api::Machine* before, const api::Machine* after, WallTime now) {
  const auto uid = (after != nullptr ? after : before)->metadata.uid.str();
  auto& facts = machines_[uid];
  if (!facts.cluster.empty()) add(facts, -1);
  if (after == nullptr) {
    machines_.erase(uid);
    return;
  }
  const auto& status = after->status;
  const auto name_space = after->metadata.name_space.str();
  facts.cluster = name_space + "/" + after->spec.cluster_name.str();
  const auto set = after->metadata.labels.get(api::label::set_name);
  facts.set = set.empty() ? std::string() : name_space + "/" + std::string(set);
  facts.domain = status.failure_domain.str();
  facts.wanted = after->metadata.deleting() ? 0 : 1;
  facts.in_service = facts.wanted == 1 && was_in_service(*after) ? 1 : 0;
  facts.unavailable = facts.in_service == 1 && (!is_available(*after) || status.operation) ? 1 : 0;
  facts.operation = status.operation ? std::string(operation_name(status.operation->type)) : std::string();
  const auto id = status.operation ? status.operation->id.str() : std::string();
  if (id != facts.operation_id) facts.operation_seen = now;
  if (!judging_ && !id.empty()) grants_[facts.cluster].insert(id);  // under way before we looked: its permit may have left the ledger
  facts.operation_id = id;
  facts.revision = status.operation ? status.operation->revision : reconcile::Text();
  facts.last_revision = status.last_operation ? status.last_operation->revision : reconcile::Text();
  if (status.last_operation)
    note_start(facts, status.last_operation->id, std::string(operation_name(status.last_operation->type)),
               status.last_operation->start_time);
  if (status.operation) note_start(facts, status.operation->id, facts.operation, status.operation->start_time);
  add(facts, 1);
  if (judging_) judge_counts(facts, now);
}

void Judge::saw_assignment(const api::HostAssignment* before, const api::HostAssignment* after, WallTime now) {
  if (after == nullptr || after->spec.state != api::AssignmentState::active) return;
  touched_[after->spec.revision.str()].insert(after->metadata.name.str());
  if (before == nullptr || before->spec.revision == after->spec.revision || !(before->spec.machine_uid == after->spec.machine_uid)) return;
  awaited_.push_back({after->spec.machine_uid.str(), after->spec.revision, now});
}

// Bounded by what a run of hours needs; what was forgotten can only make a window look emptier, and long ones are not filled that fast.
void Judge::note_start(Facts& facts, const reconcile::Text& id, const std::string& operation, WallTime at) {
  // An id comes again when a machine is brought to a revision for the second time. A creation has one start, told in several ways.
  const bool creation = operation == api::operation::machine_create;
  if (!facts.started.insert(id.str() + (creation ? "" : " " + reconcile::format_rfc3339(at))).second) return;
  ++started_[operation];
  const auto place = std::upper_bound(starts_.begin(), starts_.end(), at, [](WallTime t, const Start& s) { return t < s.at; });
  starts_.insert(place, {at, facts.cluster, facts.domain, operation});
  if (starts_.size() > max_starts) starts_.erase(starts_.begin());
}

void Judge::add(const Facts& facts, std::int64_t sign) {
  for (const auto& key : {cluster_tally(facts.cluster), domain_tally(facts.cluster, facts.domain), set_tally(facts.set)}) {
    auto& tally = tallies_[key];
    tally.wanted += sign * facts.wanted;
    tally.in_service += sign * facts.in_service;
    tally.unavailable += sign * facts.unavailable;
    if (!facts.operation.empty()) tally.under_way[facts.operation] += sign;
  }
}

// ---- what is judged ----

bool Judge::selects(const api::ChangeBudget& budget, const std::string& cluster) const {
  const auto found = clusters_.find(cluster);
  return found != clusters_.end() && api::matches(budget.spec.cluster_selector, found->second);
}

void Judge::judge_counts(const Facts& facts, WallTime now) {
  if (const auto set = sets_.find(facts.set); set != sets_.end()) {
    const auto& spec = set->second.spec;
    measure("MachineSet " + facts.set + ": unavailable", tallies_[set_tally(facts.set)].unavailable,
            machine_set::allowed_unavailable(spec.rollout, api::replicas(spec)), now);
  }
  const auto& tally = tallies_[cluster_tally(facts.cluster)];
  for (const auto& [name, budget] : budgets_) {
    if (!selects(budget, facts.cluster)) continue;
    if (budget.spec.max_unavailable && tally.in_service > 0)
      measure("ChangeBudget " + name + ": unavailable in " + facts.cluster, tally.unavailable,
              most_unavailable(*budget.spec.max_unavailable, tally.in_service), now);
    for (const auto& limit : budget.spec.limits) judge_limit_now(budget, limit, facts.cluster, facts.domain, now);
  }
}

void Judge::judge_limit_now(const api::ChangeBudget& budget, const api::BudgetLimit& limit, const std::string& cluster,
                            const std::string& domain, WallTime now) {
  if (!limit.max_concurrent) return;
  const bool whole = api::scope(limit) == api::LimitScope::cluster;
  const auto& tally = tallies_[whole ? cluster_tally(cluster) : domain_tally(cluster, domain)];
  std::int64_t count = 0;
  for (const auto& [operation, number] : tally.under_way)
    if (covers(limit, operation)) count += number;
  measure("ChangeBudget " + budget.metadata.name.str() + "/" + limit.name.str() + ": under way in " + cluster + (whole ? "" : " " + domain),
          count, most_under_way(*limit.max_concurrent, tally.wanted), now);
}

void Judge::judge_windows(const api::ChangeBudget& budget, const api::BudgetLimit& limit) {
  const bool whole = api::scope(limit) == api::LimitScope::cluster;
  std::map<std::string, std::vector<WallTime>> accounts;  // sorted, as starts_ is
  for (const auto& s : starts_)
    if (s.operation != api::operation::machine_rollback && covers(limit, s.operation) && selects(budget, s.cluster))
      accounts[s.cluster + (whole ? "" : " " + s.domain)].push_back(s.at);
  for (const auto& window : limit.windows) {
    for (const auto& [account, times] : accounts) {
      const auto [most, when] = fullest(times, window.duration);
      measure("ChangeBudget " + budget.metadata.name.str() + "/" + limit.name.str() + ": started in " +
                  reconcile::format_duration(window.duration) + " in " + account,
              most, window.max, when);
    }
  }
}

void Judge::judge_links(WallTime now) {
  std::erase_if(awaited_, [&](const Awaited& a) {
    const auto machine = machines_.find(a.machine_uid);
    if (machine == machines_.end() || machine->second.in_service == 0) return true;  // it goes, or it comes
    if (machine->second.revision == a.revision || machine->second.last_revision == a.revision) return true;
    if (now - a.since <= patience) return false;
    ++without_operation_;
    return true;
  });
  measure("HostAssignments changed without an operation", without_operation_, 0, now);
  for (const auto& [uid, m] : machines_) {
    if (m.operation_id.empty() || m.in_service == 0 || now - m.operation_seen <= patience) continue;
    const auto ledger = grants_.find(m.cluster);
    if (ledger == grants_.end() || !ledger->second.contains(m.operation_id)) without_grant_.insert(m.operation_id);
  }
  measure("Operations without a grant in the ledger", static_cast<std::int64_t>(without_grant_.size()), 0, now);
}

void Judge::look(WallTime now) {
  if (!judging_) return;
  for (const auto& [name, budget] : budgets_)
    for (const auto& limit : budget.spec.limits) judge_windows(budget, limit);
  judge_links(now);
}

void Judge::measure(const std::string& what, std::int64_t count, std::int64_t limit, WallTime when) {
  auto [it, fresh] = rows_.try_emplace(what);
  auto& row = it->second;
  if (fresh) row = {.what = what, .limit = limit, .when = when};
  if (count > row.most) {
    row.most = count;
    row.limit = limit;
    row.when = when;
  }
  if (count <= limit) return;
  if (!row.exceeded) row.exceeded_at = when;
  row.exceeded = true;
  row.exceeded_by = std::max(row.exceeded_by, count - limit);
}

// ---- what is told ----

std::vector<Row> Judge::rows() const {
  std::vector<Row> out;
  out.reserve(rows_.size());
  for (const auto& [what, row] : rows_) out.push_back(row);
  return out;
}

bool Judge::exceeded() const {
  return std::any_of(rows_.begin(), rows_.end(), [](const auto& r) { return r.second.exceeded; });
}

std::int64_t Judge::touched(std::string_view revision) const {
  const auto found = touched_.find(revision);
  return found == touched_.end() ? 0 : static_cast<std::int64_t>(found->second.size());
}

std::int64_t Judge::started(std::string_view operation) const {
  const auto found = started_.find(operation);
  return found == started_.end() ? 0 : found->second;
}

std::string table(const Judge& judge) {
  std::size_t width = 4;
  const auto rows = judge.rows();
  for (const auto& r : rows) width = std::max(width, r.what.size());
  const auto padded = [&](std::string text) { return text.append(width - std::min(width, text.size()), ' '); };
  std::string out = padded("WHAT") + "   MOST  LIMIT  AT        \n";
  for (const auto& r : rows) {
    char numbers[64];
    std::snprintf(numbers, sizeof numbers, "  %5lld  %5lld  ", static_cast<long long>(r.most), static_cast<long long>(r.limit));
    out += padded(r.what) + numbers + clock_of(r.when);
    if (r.exceeded) out += "  EXCEEDED by " + std::to_string(r.exceeded_by) + ", first at " + clock_of(r.exceeded_at);
    out += "\n";
  }
  return out;
}

}  // namespace endstate::chaos
