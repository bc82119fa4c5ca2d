#include "controllers/guard/fleet.hpp"

#include <charconv>

#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/common/operation_name.hpp"
#include "controllers/guard/availability.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using reconcile::Ref, reconcile::Text, reconcile::WallTime;

namespace {

// Of an unknown word (a newer version's): it is something that disturbs, so it counts as an update.
api::BudgetOperation operation_of(api::OperationType type) {
  return guard::operation_of(operation_name(type)).value_or(api::BudgetOperation::machine_update);
}

// As the machine loop says it (controllers/machine/plan_status.cpp): a message tells of somebody else.
bool is_closed_by_us(const api::Machine& m) {
  const auto* open = reconcile::find_condition(m.status.conditions, api::condition::scheduling_open);
  return open && open->status == reconcile::ConditionStatus::false_ && open->reason == api::reason::scheduling_closed &&
         open->message.empty();
}

bool has_ended(const api::Machine& m, const Text& id) { return m.status.last_operation && m.status.last_operation->id == id; }

}  // namespace

std::optional<api::BudgetOperation> operation_of(std::string_view name) {
  for (std::size_t i = 0; i < operation_count; ++i)
    if (reconcile::name_of(static_cast<api::BudgetOperation>(i)) == name) return static_cast<api::BudgetOperation>(i);
  return std::nullopt;
}

Operations bits(const std::vector<api::BudgetOperation>& operations) {
  Operations out = 0;
  for (const auto o : operations) out = static_cast<Operations>(out | bit(o));
  return out;
}

std::uint64_t short_id(std::string_view id) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), value, 16);
  if (id.size() == 16 && error == std::errc() && end == id.data() + id.size()) return value;
  value = 14695981039346656037ULL;  // not of our making
  for (const char c : id) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return value;
}

// ---- locks ----

std::optional<Lock> Fleet::find_lock(const api::Machine& m) const {
  const auto& uid = m.metadata.uid;
  const auto& domain = m.status.failure_domain;
  if (const auto& op = m.status.operation)
    return Lock{.id = op->id, .operation = operation_of(op->type), .domain = domain, .start = op->start_time, .deadline = op->deadline};
  if (const auto host = claimed_.find(uid); host != claimed_.end() && !was_in_service(m)) {
    const auto& claim = claims_.at(host->second);
    if (!has_ended(m, claim.grant))
      return Lock{.id = claim.grant,
                  .operation = api::BudgetOperation::machine_create,
                  .domain = domain.empty() ? claim.domain : domain,
                  .start = {},
                  .deadline = {}};
  }
  if (const auto at = told_.find(uid); at != told_.end()) {
    const auto& grant = unreported_.at(at->second).grant;
    if (!has_ended(m, grant))
      return Lock{
          .id = grant, .operation = api::BudgetOperation::machine_update, .domain = domain, .start = {}, .deadline = {}, .lost = true};
  }
  if (was_in_service(m) && is_closed_by_us(m))
    return Lock{.id = {}, .operation = api::BudgetOperation::close_scheduling, .domain = domain, .start = {}, .deadline = {}};
  return std::nullopt;
}

void Fleet::count(const Lock& lock, std::int64_t sign) {
  const auto place = static_cast<std::size_t>(lock.operation);
  if (place >= operation_count) return;
  auto& tally = under_way_[place];
  tally.total += sign;
  const auto at = tally.by_domain.try_emplace(lock.domain).first;
  if ((at->second += sign) == 0) tally.by_domain.erase(at);
}

void Fleet::count(const Member& m, std::int64_t sign) {
  const auto& uid = m.machine->metadata.uid;
  if (m.wanted) {
    wanted_ += sign;
    const auto at = wanted_in_.try_emplace(m.machine->status.failure_domain).first;
    if ((at->second += sign) == 0) wanted_in_.erase(at);
  }
  in_service_ += m.in_service ? sign : 0;
  out_ += m.out ? sign : 0;
  if (!m.lock) return;
  count(*m.lock, sign);
  if (sign > 0) {
    by_deadline_.emplace(m.lock->deadline, uid);
    if (m.lock->lost) lost_.insert(uid);
  } else {
    by_deadline_.erase({m.lock->deadline, uid});
    lost_.erase(uid);
  }
}

void Fleet::name(const Member& member, bool is) {
  const auto& m = *member.machine;
  const auto one = [&](const Text& id) {
    if (id.empty()) return;
    const auto key = short_id(id);
    if (is) {
      named_[key] = m.metadata.uid;
    } else if (const auto at = named_.find(key); at != named_.end() && at->second == m.metadata.uid) {
      named_.erase(at);
    }
  };
  if (m.status.last_operation) one(m.status.last_operation->id);
  if (m.status.operation) one(m.status.operation->id);
  if (member.lock) one(member.lock->id);
}

// ---- what changes ----

void Fleet::put(Ref<api::Machine> machine) {
  const auto& m = *machine;
  const Text uid = m.metadata.uid;
  remove_machine(uid);
  Member member{.machine = machine, .lock = find_lock(m)};
  member.wanted = !m.metadata.deleting();
  member.in_service = member.wanted && was_in_service(m);
  member.out = member.in_service && (member.lock || is_out_of_service(m));
  name(member, true);
  count(member, 1);
  members_.emplace(uid, std::move(member));
}

void Fleet::remove_machine(const Text& uid) {
  const auto at = members_.find(uid);
  if (at == members_.end()) return;
  count(at->second, -1);
  name(at->second, false);
  members_.erase(at);
}

void Fleet::again(const Text& uid) {
  const auto at = members_.find(uid);
  if (at != members_.end()) put(Ref<api::Machine>(at->second.machine));
}

void Fleet::put(const api::Host& host) {
  remove_host(host.metadata.uid);
  const auto grant = host.metadata.annotations.get(api::annotation::grant);
  const auto* claim = claim_of(host);
  if (!claim || grant.empty()) return;
  const Text machine = claim->uid;
  claims_[host.metadata.uid] = {machine, grant, Text(api::failure_domain(host.spec.hardware))};
  // One machine may have claimed two (a reply that was lost): the same one counts, whichever was seen first.
  const auto at = claimed_.try_emplace(machine, host.metadata.uid).first;
  if (host.metadata.uid < at->second) at->second = host.metadata.uid;
  again(machine);
}

void Fleet::remove_host(const Text& uid) {
  const auto at = claims_.find(uid);
  if (at == claims_.end()) return;
  const Text machine = at->second.machine_uid;
  claims_.erase(at);
  if (const auto of = claimed_.find(machine); of != claimed_.end() && of->second == uid) claimed_.erase(of);
  again(machine);
}

void Fleet::put(const api::Cluster& cluster) {
  cluster_uid_ = cluster.metadata.uid;
  for (const auto& lock : plane_) count(lock, -1);
  plane_.clear();
  for (const auto& op : cluster.status.operations) {
    plane_.push_back({.id = op.id,
                      .operation = operation_of(op.type.view()).value_or(api::BudgetOperation::control_plane_update),
                      .domain = {},
                      .component = op.component,
                      .start = op.start_time,
                      .deadline = op.deadline});
    count(plane_.back(), 1);
  }
}

void Fleet::put(const api::HostAssignment& a) {
  remove_assignment(a.metadata.name);
  if (a.spec.state != api::AssignmentState::active || a.spec.grant_id.empty() || is_observed(a)) return;
  unreported_[a.metadata.name] = {a.spec.machine_uid, a.spec.grant_id};
  told_[a.spec.machine_uid] = a.metadata.name;
  again(a.spec.machine_uid);
}

void Fleet::remove_assignment(const Text& name) {
  const auto at = unreported_.find(name);
  if (at == unreported_.end()) return;
  const Text machine = at->second.machine_uid;
  unreported_.erase(at);
  if (const auto of = told_.find(machine); of != told_.end() && of->second == name) told_.erase(of);
  again(machine);
}

// ---- what is asked ----

const Fleet::Member* Fleet::find(const Text& uid) const {
  const auto at = members_.find(uid);
  return at == members_.end() ? nullptr : &at->second;
}

const Lock* Fleet::lock_of(const Text& subject_uid, const Text& component) const {
  if (!cluster_uid_.empty() && subject_uid == cluster_uid_) {
    for (const auto& lock : plane_)
      if (lock.component == component) return &lock;
    return nullptr;
  }
  const auto* member = find(subject_uid);
  return member && member->lock ? &*member->lock : nullptr;
}

const api::Machine* Fleet::named_by(std::uint64_t id) const {
  const auto at = named_.find(id);
  const auto* member = at == named_.end() ? nullptr : find(at->second);
  return member ? member->machine.get() : nullptr;
}

bool Fleet::under_way(std::string_view id) const {
  for (const auto& lock : plane_)
    if (lock.id == id) return true;
  const auto* m = named_by(short_id(id));
  const auto* member = m ? find(m->metadata.uid) : nullptr;
  return member && member->lock && member->lock->id == id;
}

std::int64_t Fleet::wanted_in(const Text& domain) const {
  const auto at = wanted_in_.find(domain);
  return at == wanted_in_.end() ? 0 : at->second;
}

std::int64_t Fleet::under_way(Operations operations) const {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < operation_count; ++i)
    if ((operations >> i & 1U) != 0) n += under_way_[i].total;
  return n;
}

std::int64_t Fleet::under_way(Operations operations, const Text& domain) const {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < operation_count; ++i) {
    if ((operations >> i & 1U) == 0) continue;
    const auto at = under_way_[i].by_domain.find(domain);
    if (at != under_way_[i].by_domain.end()) n += at->second;
  }
  return n;
}

void Fleet::each_late(WallTime now, const std::function<void(const Text& uid, const Lock&)>& look) const {
  // Without a deadline nobody can say that it is late.
  for (auto at = by_deadline_.upper_bound({WallTime{}, Text("\xff")}); at != by_deadline_.end() && at->first <= now; ++at)
    look(at->second, *members_.at(at->second).lock);
}

void Fleet::each_machine_lock(const std::function<void(const Lock&)>& look) const {
  for (const auto& [deadline, uid] : by_deadline_) look(*members_.at(uid).lock);
}

void Fleet::each_plane_lock(const std::function<void(const Lock&)>& look) const {
  for (const auto& lock : plane_) look(lock);
}

void Fleet::each(const std::function<void(const Member&)>& look) const {
  for (const auto& [uid, member] : members_) look(member);
}

void Fleet::each_domain(const std::function<void(const Text&)>& look) const {
  for (const auto& [domain, machines] : wanted_in_) look(domain);
}

Fleet::Counts Fleet::counts() const {
  Counts out{.wanted = wanted_, .in_service = in_service_, .out = out_, .locks = static_cast<std::int64_t>(locks())};
  for (const auto& [domain, n] : wanted_in_) out.wanted_in[domain.str()] = n;
  for (std::size_t i = 0; i < operation_count; ++i)
    for (const auto& [domain, n] : under_way_[i].by_domain) out.under_way[{i, domain.str()}] = n;
  return out;
}

Fleet count(const FleetObjects& objects) {
  Fleet out;
  if (objects.cluster) out.put(*objects.cluster);
  for (const auto& host : objects.hosts) out.put(*host);
  for (const auto& a : objects.assignments) out.put(*a);
  for (const auto& m : objects.machines) out.put(m);
  return out;
}

}  // namespace endstate::guard
