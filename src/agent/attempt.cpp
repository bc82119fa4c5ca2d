#include "src/agent/attempt.hpp"

#include <algorithm>

#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

Ending finish(SlotRecord& record) {
  const Attempt done = *record.attempt;
  record.attempt.reset();
  if (done.work == Work::remove) return Ending::removed;
  if (done.to.empty()) {  // an install that was taken back: only what failed is remembered
    record.good = {};
    record.previous = {};
    record.repairs.clear();
    return record.failure ? Ending::done : Ending::removed;
  }
  if (done.work == Work::install || done.work == Work::update) {
    record.previous = record.good;
    record.good = done.to;
    record.failure.reset();
    record.repairs.clear();
  }
  if (done.work == Work::repair) record.good = done.to;
  return Ending::done;
}

void fail_attempt(SlotRecord& record, const reconcile::Error& error, const PackageIdentity& version) {
  const auto before = record.failure && record.failure->version == version ? record.failure->attempts : 0;
  record.failure = Failure{.order = record.attempt->order,
                           .version = version,
                           .reason = error.reason.empty() ? Text(reason::install_failed) : Text(error.reason),
                           .message = Text(std::string_view(error.message).substr(0, 900)),
                           .attempts = before + 1};
}

}  // namespace

Ending advance(SlotRecord& record) {
  auto& a = *record.attempt;
  const bool last = a.phase == Phase::probe || (a.to.empty() && a.phase == Phase::finish);
  if (last) return finish(record);
  a.phase = static_cast<Phase>(static_cast<std::uint8_t>(a.phase) + 1);
  return Ending::goes_on;
}

bool give_up(SlotRecord& record, const reconcile::Error& error, int tries, const PackageIdentity& version) {
  auto& a = *record.attempt;
  switch (a.work) {
    case Work::install:
    case Work::update:
      fail_attempt(record, error, version);
      if (a.phase == Phase::prepare)
        record.attempt.reset();
      else
        record.attempt = Attempt{.work = Work::revert, .phase = Phase::change, .to = record.good, .order = a.order, .restart = true};
      return true;
    case Work::repair: record.attempt.reset(); return true;
    case Work::revert: {
      const bool files = a.phase == Phase::change;  // these must be right; the service of the old version may be broken by itself
      if (files || tries < max_revert_tries) return false;
      if (record.failure)
        record.failure->message =
            Text(record.failure->message.str() + "; the version before it is back, but: " + error.message.substr(0, 100));
      (void)finish(record);
      return true;
    }
    case Work::remove:
      if (a.phase == Phase::change || a.phase == Phase::start || tries < max_revert_tries) return false;
      (void)advance(record);  // a hook that can't succeed must not keep a host from being freed
      return true;
  }
  return false;
}

}  // namespace endstate::agent
