#include "controllers/guard/trust.hpp"

#include <algorithm>
#include <set>

#include "controllers/common/operation_name.hpp"
#include "controllers/guard/fleet.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/run/guard.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::Text, reconcile::WallTime;

namespace {

constexpr auto slack = 60s;  // an operation's start and the ledger's time are told by two clocks when the leader changes between them

std::string digest_of(api::GuardLedgerStatus ledger) {
  ledger.digest = {};
  return reconcile::hash_of(reconcile::encode(ledger));
}

struct Begun {
  Text id, revision;
  api::OperationType type{};
  std::int64_t attempt = 0;
  WallTime start{};
};

// Its id is what the guard would have made of it: only such an operation had a grant. A creation's start is told by the API server's
// clock, so it says nothing.
bool was_granted(const Begun& begun, const Text& machine_uid) {
  if (begun.type == api::OperationType::create) return false;
  const reconcile::PermitRequest request{
      .operation = operation_name(begun.type), .subject_uid = machine_uid, .revision = begun.revision, .attempt = begun.attempt};
  return begun.id == request.id();
}

std::vector<Begun> begun_on(const api::Machine& machine) {
  std::vector<Begun> all;
  if (const auto& o = machine.status.operation) all.push_back({o->id, o->revision, o->type, o->attempt, o->start_time});
  if (const auto& o = machine.status.last_operation) all.push_back({o->id, o->revision, o->type, o->attempt, o->start_time});
  return all;
}

std::optional<Doubt> is_old(const api::GuardLedgerStatus& ledger, const Fleet& fleet) {
  std::set<std::string_view> known;
  for (const auto& g : ledger.grants) known.insert(g.id.view());
  std::optional<Doubt> doubt;
  fleet.each([&](const Fleet::Member& member) {
    if (doubt) return;
    const auto& machine = *member.machine;
    for (const auto& begun : begun_on(machine))
      if (begun.start > ledger.time + slack && !known.contains(begun.id.view()) && was_granted(begun, machine.metadata.uid))
        doubt = Doubt{api::reason::ledger_old, "it was written at " + reconcile::format_rfc3339(ledger.time) +
                                                   " and doesn't know the grant by which machine " + machine.metadata.name.str() +
                                                   " began at " + reconcile::format_rfc3339(begun.start)};
  });
  return doubt;
}

// A version that didn't say what it had seen kept no claims either: nothing can be told from its ledger.
std::optional<Doubt> is_lost(const api::GuardLedgerStatus& ledger, const Fleet& fleet) {
  if (ledger.seen == api::LedgerSeen{}) return std::nullopt;
  for (const auto& uid : fleet.lost()) {
    const auto& member = *fleet.find(uid);
    const auto of_it = [&](const auto& g) { return g.id == member.lock->id; };
    if (std::any_of(ledger.grants.begin(), ledger.grants.end(), of_it)) continue;
    return Doubt{api::reason::ledger_old, "the host of machine " + member.machine->metadata.name.str() + " is at work by the grant " +
                                              member.lock->id.str() + ", of which nothing is known: was the meta cluster restored?"};
  }
  return std::nullopt;
}

}  // namespace

void seal(api::GuardLedgerStatus& ledger, WallTime now) {
  ledger.time = std::max<WallTime>(ledger.time, std::chrono::floor<std::chrono::seconds>(now));
  ledger.digest = digest_of(ledger);
}

std::optional<Doubt> doubt_of(const api::GuardLedgerStatus& ledger, const Fleet& fleet) {
  if (ledger.digest.empty() && ledger.time == WallTime{}) return std::nullopt;
  if (!(ledger.digest == digest_of(ledger)))
    return Doubt{api::reason::ledger_edited, "it was changed by somebody else than the operator: its digest doesn't match"};
  if (auto old = is_old(ledger, fleet)) return old;
  return is_lost(ledger, fleet);
}

}  // namespace endstate::guard
