#include "src/agent/engine.hpp"

#include <algorithm>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "src/agent/attempt.hpp"
#include "src/agent/change.hpp"
#include "src/agent/reasons.hpp"
#include "src/agent/report.hpp"

namespace endstate::agent {
namespace {

constexpr std::size_t max_journal = std::size_t{16} << 20U;

std::string journal_path() { return state_path("journal.json"); }

std::string memory_key(const Step& step) {
  if (step.what == Do::request) return "request " + step.request;
  if (step.what == Do::sweep) return "sweep";
  if (step.what == Do::reserve) return "reserve";
  if (step.what == Do::prefetch) return prefetch_key(*step.artifact);
  return step.slot.str();
}

OwnVersion own_version(const Seen& seen, bool confirmed) { return {seen.agent_generation, seen.trial, confirmed}; }

std::string name_of_version(const Manifest* manifest) {
  return manifest == nullptr ? std::string("nothing") : manifest->version.name.str();
}

}  // namespace

// ---- the journal ----

Result<void> Engine::load() {
  if (loaded_) return {};
  auto text = host_.read(journal_path(), max_journal);
  if (!text && text.error().code != Code::not_found) return fail(text.error());
  if (text) {
    reconcile::Pool pool;
    auto journal = reconcile::decode<Journal>(*text, pool);
    if (!journal || journal->format != 1)
      return fail(Code::invalid, journal_path() + " can't be read: " + (journal ? "it is of a newer agent" : journal.error().message) +
                                     "; nothing is touched until it can");
    journal_ = std::move(*journal);
    // An agent was here before: if it died over something, that counts.
    auto changed = journal_;
    for (auto& r : changed.slots) {
      if (!r.attempt) continue;
      ++r.attempt->starts;
      // The host may have been down meanwhile: what was started before must be looked at again from there.
      if (r.attempt->phase > Phase::start) r.attempt->phase = Phase::start;
    }
    if (!(changed == journal_))
      if (auto saved = save(changed); !saved) return saved;
  }
  loaded_ = true;
  return {};
}

Result<void> Engine::save(const Journal& journal) {
  const auto text = reconcile::encode(journal);
  auto written = host_.write(journal_path(), text, 0600);
  if (!written && written.error().reason == reason::disk_full) {
    if (auto gone = host_.remove(state_path("reserve")); !gone) return gone;
    written = host_.write(journal_path(), text, 0600);
  }
  if (written) journal_ = journal;
  return written;
}

// A new order: what stood in the way of the old one may not stand in its way.
Result<void> Engine::take(const Order& order) {
  auto next = journal_;
  next.order = order;
  if (next.machine_uid.empty() && order.spec.state == api::AssignmentState::active) next.machine_uid = order.spec.machine_uid;
  std::vector<RequestRecord> requests;
  for (const auto& wanted : order.spec.requests) {
    const auto old = std::find_if(next.requests.begin(), next.requests.end(), [&](const auto& r) { return r.id == wanted.id; });
    if (old != next.requests.end())
      requests.push_back(*old);
    else
      requests.push_back(RequestRecord{.id = wanted.id, .type = wanted.type});
  }
  next.requests = std::move(requests);
  if (auto saved = save(next); !saved) return saved;
  memory_.clear();
  return {};
}

// ---- a round ----

Round Engine::round(const std::optional<Order>& order, Now now) {
  Round out;
  // The folders are made by looking; a journal that isn't there yet is an empty one.
  auto ready = load();
  auto seen = ready ? observer_.look(journal_) : Result<Seen>(fail(ready.error()));
  if (seen && order && !(journal_.order == order)) {
    auto taken = take(*order);
    seen = taken ? observer_.look(journal_) : Result<Seen>(fail(taken.error()));
  }
  if (!seen) {
    out.trouble = seen.error();
    out.plan.again = now.mono + look_period;
    return out;
  }
  out.order = journal_.order;
  out.boot_id = seen->boot_id;
  out.free_bytes = seen->free_bytes;
  const auto target = journal_.order ? target_of(*journal_.order, journal_.machine_uid, settings_.arch) : Target{};
  out.plan = plan({.now = now, .journal = journal_, .target = target, .seen = *seen, .memory = memory_});
  if (!out.plan.step) return out;
  out.did = true;
  const Step step = *out.plan.step;
  const auto key = memory_key(step);
  if (auto done = perform(step, target, *seen, now, out); done) {
    const auto memory = memory_.find(key);
    if (memory == memory_.end()) return out;
    memory->second.trouble.reset();
    if (step.what != Do::phase && step.what != Do::request) memory->second.failures = 0;
  } else if (done.error().code != Code::cancelled) {
    remember(key, done.error(), now);
  }
  return out;
}

void Engine::remember(const std::string& who, const Error& error, Now now) {
  auto& m = memory_[who];
  ++m.failures;
  // Bytes that are not those that are meant won't be soon; an address that is not allowed won't be at all.
  m.not_before = now.mono + (error.code == Code::invalid ? std::chrono::nanoseconds(hopeless_backoff) : backoff_after(m.failures));
  m.trouble = error;
}

Result<void> Engine::perform(const Step& step, const Target& target, const Seen& seen, Now now, Round& out) {
  const auto* wanted = target.find(step.slot);
  switch (step.what) {
    case Do::fetch:
    case Do::prefetch: return fetch_artifact(host_, *step.artifact, settings_.sources);
    case Do::stage: return stage(host_, *wanted, step.generation.str(), settings_.arch);
    case Do::begin: return begin(step, now, out);
    case Do::drop: {
      auto next = journal_;
      find_slot(next, step.slot)->attempt.reset();
      return save(next);
    }
    case Do::phase: return phase(step, seen, now, out);
    case Do::sweep: return sweep(step);
    case Do::reserve: return host_.write(state_path("reserve"), std::string(settings_.reserve, '\0'), 0600);
    case Do::request: return request(step, target, seen, now);
    case Do::forget: return forget();
  }
  return {};
}

// ---- attempts ----

Result<void> Engine::begin(const Step& step, Now now, Round& out) {
  auto next = journal_;
  auto* record = find_slot(next, step.slot);
  if (record == nullptr) {
    next.slots.push_back(SlotRecord{.slot = step.slot});
    record = &next.slots.back();
  }
  record->attempt = step.attempt;
  if (step.failure) record->failure = step.failure;
  if (step.attempt->work == Work::repair) {
    std::erase_if(record->repairs, [&](WallTime at) { return at + repair_window <= now.wall || at > now.wall; });
    record->repairs.push_back(now.wall);
    out.told.push_back({true, std::string(reason::drifted), "slot " + step.slot.str() + ": " + step.why + "; it is put right"});
  }
  memory_[step.slot.str()] = {};
  return save(next);
}

Result<void> Engine::phase(const Step& step, const Seen& seen, Now now, Round& out) {
  auto next = journal_;
  auto& record = *find_slot(next, step.slot);
  auto& memory = memory_[step.slot.str()];
  Result<void> done;
  switch (record.attempt->phase) {
    case Phase::prepare:
    case Phase::finish: done = run_hooks(host_, stand_of(record, seen)); break;
    case Phase::change: done = change_over(host_, record, seen, [&] { return save(next); }); break;
    case Phase::start:
      if (record.slot == agent_slot) {
        auto other = enter_version(record, own_version(seen, confirmed_));
        out.begin_again = other && *other;
        if (out.begin_again) return {};
        if (!other) done = fail(other.error());
      } else {
        done = start_service(host_, stand_of(record, seen));
      }
      memory.up_since.reset();
      break;
    case Phase::probe: {
      auto wait = probe_slot(record, seen, memory, now.mono);
      if (wait && *wait) {
        memory.not_before = now.mono + **wait;
        return {};
      }
      if (!wait) done = fail(wait.error());
      break;
    }
  }
  if (!done && done.error().code == Code::cancelled) return done;
  if (!done) return phase_failed(step.slot.str(), done.error(), seen, out);
  memory.failures = 0;
  return end_phase(next, record, stand_of(record, seen), out);
}

Result<std::optional<std::chrono::nanoseconds>> Engine::probe_slot(const SlotRecord& record, const Seen& seen, SlotMemory& memory,
                                                                   MonoTime now) {
  if (record.slot == agent_slot) {
    auto wait = confirm_version(record, own_version(seen, confirmed_));
    if (!wait || *wait) return wait;
  }
  return probe(host_, stand_of(record, seen), memory, now);
}

Result<void> Engine::end_phase(Journal& journal, SlotRecord& record, const Stand& stand, Round& out) {
  const auto work = record.attempt->work;
  const auto slot = record.slot;
  const auto ending = advance(record);
  if (ending == Ending::removed) std::erase_if(journal.slots, [&](const SlotRecord& r) { return r.slot == slot; });
  if (auto saved = save(journal); !saved) return saved;
  if (ending == Ending::goes_on) return {};
  memory_.erase(slot.str());
  const auto what = "slot " + slot.str() + ": ";
  if (work == Work::install || work == Work::update)
    out.told.push_back({false, "Installed", what + name_of_version(stand.to) + " is installed"});
  if (work == Work::revert) out.told.push_back({true, "Reverted", what + "back to " + name_of_version(stand.to)});
  if (work == Work::remove) out.told.push_back({false, "Removed", what + "nothing is left"});
  return {};
}

Result<void> Engine::phase_failed(const std::string& slot, const Error& error, const Seen& seen, Round& out) {
  auto next = journal_;  // as it was stored last: what the phase may have begun is in it
  auto& record = *find_slot(next, slot);
  if (error.reason == reason::disk_full)
    if (auto gone = host_.remove(state_path("reserve")); !gone) return gone;  // the way back must not end at a full disk
  const auto stand = stand_of(record, seen);
  const auto version = stand.to == nullptr ? PackageIdentity{} : stand.to->version;
  const auto tries = memory_[slot].failures + 1;
  if (!give_up(record, error, tries, version)) return fail(error);  // tried again after a while
  out.told.push_back({true, error.reason.empty() ? std::string(reason::install_failed) : error.reason,
                      "slot " + slot + ", " + name_of_version(stand.to) + ": " + error.message});
  if (record.attempt || record.failure || !record.good.empty()) {
    if (auto saved = save(next); !saved) return saved;
  } else {
    std::erase_if(next.slots, [&](const SlotRecord& r) { return r.slot == slot; });
    if (auto saved = save(next); !saved) return saved;
  }
  memory_[slot] = {};
  return {};
}

// ---- the rest ----

Result<void> Engine::request(const Step& step, const Target& target, const Seen& seen, Now now) {
  auto next = journal_;
  const auto r = std::find_if(next.requests.begin(), next.requests.end(), [&](const auto& x) { return x.id == step.request; });
  if (r->type == api::RequestType::wipe) {
    r->state = api::RequestState::running;
    return save(next);
  }
  if (r->type == api::RequestType::restart) {
    auto done = restart_all(target);
    if (!done && done.error().code == Code::cancelled) return done;
    r->state = done ? api::RequestState::done : api::RequestState::failed;
    r->message = done ? Text() : Text(done.error().message);
    return save(next);
  }
  auto& memory = memory_["request " + step.request];
  if (r->state == api::RequestState::running && r->boot_id != seen.boot_id) {
    r->state = api::RequestState::done;
    return save(next);
  }
  if (memory.failures >= reboot_tries) {
    r->state = api::RequestState::failed;
    r->message = "the host was told to reboot " + std::to_string(reboot_tries) + " times, and is still up";
    return save(next);
  }
  r->state = api::RequestState::running;
  r->boot_id = Text(seen.boot_id);
  if (auto saved = save(next); !saved) return saved;
  if (auto asked = host_.reboot(); !asked) return asked;
  ++memory.failures;  // one try
  memory.not_before = now.mono + reboot_wait;
  return {};
}

Result<void> Engine::restart_all(const Target& target) {
  for (const auto& t : target.slots) {
    const auto* record = find_slot(journal_, t.slot);
    if (!t.spec.service || record == nullptr || record->good.empty()) continue;
    if (auto done = host_.unit_job(t.spec.service->unit.str(), UnitJob::restart); !done) return done;
  }
  return {};
}

Result<void> Engine::sweep(const Step& step) {
  for (const auto& path : step.paths)
    if (auto gone = host_.remove_tree(state_path(path)); !gone) return gone;
  return {};
}

// Nothing of the machine is left: whose the disk is, is forgotten, and a request to wipe is done.
Result<void> Engine::forget() {
  auto next = journal_;
  const auto& order = next.order->spec;
  next.machine_uid = order.state == api::AssignmentState::active ? order.machine_uid : Text();
  for (auto& r : next.requests)
    if (is_running_wipe(r)) r.state = api::RequestState::done;
  return save(next);
}

}  // namespace endstate::agent
