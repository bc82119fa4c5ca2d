#include "src/agent/phases.hpp"

#include <algorithm>

#include "reconcile/json/decode.hpp"
#include "src/agent/process.hpp"
#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

using Wait = std::optional<std::chrono::nanoseconds>;

Result<api::MachinePackageVersionSpec> spec_of(const Manifest& manifest) {
  reconcile::Pool pool;
  return reconcile::decode<api::MachinePackageVersionSpec>(manifest.spec.raw, pool);
}

Error bad(std::string_view why, std::string message) { return {Code::unavailable, std::move(message), {}, std::string(why)}; }

std::string said(const std::string& output) {
  const auto text = last_words(output);
  return text.empty() ? "" : ": " + text;
}

std::vector<std::string> argv_of(const std::vector<Text>& command) {
  std::vector<std::string> argv;
  argv.reserve(command.size());
  for (const auto& word : command) argv.push_back(word.str());
  return argv;
}

std::optional<api::HookPoint> hook_point(Work work, Phase phase) {
  const bool before = phase == Phase::prepare;
  switch (work) {
    case Work::install: return before ? api::HookPoint::pre_install : api::HookPoint::post_install;
    case Work::update: return before ? api::HookPoint::pre_update : api::HookPoint::post_update;
    case Work::remove: return before ? api::HookPoint::pre_uninstall : api::HookPoint::post_uninstall;
    case Work::repair:
    case Work::revert: return std::nullopt;
  }
  return std::nullopt;
}

// By priority; those of one priority in the order of the list.
std::vector<const api::Hook*> hooks_of(const api::MachinePackageVersionSpec& spec, api::HookPoint point) {
  std::vector<const api::Hook*> hooks;
  for (const auto& h : spec.hooks)
    if (h.point == point) hooks.push_back(&h);
  std::stable_sort(hooks.begin(), hooks.end(), [](const auto* a, const auto* b) { return priority(*a) < priority(*b); });
  return hooks;
}

Result<void> run_hook(Host& host, const api::Hook& hook) {
  auto ended = host.run({.argv = argv_of(hook.command), .timeout = timeout(hook)});
  if (!ended && ended.error().code == Code::cancelled) return fail(ended.error());
  if (on_failure(hook) == api::HookFailure::ignore) return {};
  if (!ended) return fail(bad(reason::hook_failed, "hook " + hook.name.str() + ": " + ended.error().message));
  if (ended->timed_out)
    return fail(bad(reason::hook_failed, "hook " + hook.name.str() + " did not end within " + std::to_string(timeout(hook).count()) +
                                             " s and was killed" + said(ended->output)));
  if (ended->code != 0)
    return fail(bad(reason::hook_failed, "hook " + hook.name.str() + " ended with " + std::to_string(ended->code) + said(ended->output)));
  return {};
}

Result<void> run_hooks_at(Host& host, const api::MachinePackageVersionSpec& spec, api::HookPoint point) {
  for (const auto* hook : hooks_of(spec, point))
    if (auto ran = run_hook(host, *hook); !ran) return ran;
  return {};
}

bool has_units(const Manifest& manifest) {
  if (manifest.system) return true;  // its units are where the distribution has them
  return std::any_of(manifest.entries.begin(), manifest.entries.end(),
                     [](const ManifestEntry& e) { return e.path.view().find("/systemd/system/") != std::string_view::npos; });
}

Result<Wait> probe_service(Host& host, const std::string& unit, SlotMemory& memory, MonoTime now) {
  auto info = host.unit(unit);
  if (!info) return fail(info.error());
  if (info->state == UnitState::active) {
    if (!memory.up_since) memory.up_since = now;
    if (now - *memory.up_since >= service_settles) return Wait();
    return Wait(service_settles - (now - *memory.up_since));
  }
  memory.up_since.reset();
  if (info->state == UnitState::failed) return fail(bad(reason::service_failed, unit + " has failed: " + info->detail));
  if (++memory.probe_failures["/service"] < service_tries) return Wait(std::chrono::seconds(1));
  return fail(bad(reason::service_failed, unit + " doesn't come up: " + info->detail));
}

Result<std::string> ask(Host& host, const api::Probe& probe) {  // empty: it is well
  if (!probe.http_url.empty()) {
    auto status = host.http_status(probe.http_url.str(), timeout(probe));
    if (!status && status.error().code == Code::cancelled) return fail(status.error());
    if (!status) return status.error().message;
    return *status >= 200 && *status < 300 ? std::string() : probe.http_url.str() + " answers " + std::to_string(*status);
  }
  auto ended = host.run({.argv = argv_of(probe.command), .timeout = timeout(probe)});
  if (!ended && ended.error().code == Code::cancelled) return fail(ended.error());
  if (!ended) return ended.error().message;
  if (ended->timed_out) return "no end within " + std::to_string(timeout(probe).count()) + " s";
  return ended->code == 0 ? std::string() : "ended with " + std::to_string(ended->code) + said(ended->output);
}

}  // namespace

Stand stand_of(const SlotRecord& record, const Seen& seen) {
  Stand stand{.record = record, .all = {}};
  for (const auto& [id, generation] : seen.generations) {
    if (generation.manifest->slot != record.slot) continue;
    stand.all.push_back(generation.manifest.get());
    if (record.attempt->to == id) stand.to = generation.manifest.get();
    if (record.good == id) stand.good = generation.manifest.get();
  }
  return stand;
}

Result<void> run_hooks(Host& host, const Stand& stand) {
  const auto& attempt = *stand.record.attempt;
  const auto point = hook_point(attempt.work, attempt.phase);
  const auto* of = attempt.work == Work::remove ? stand.good : stand.to;
  if (!point || of == nullptr) return {};
  auto spec = spec_of(*of);
  if (!spec) return fail(spec.error());
  return run_hooks_at(host, *spec, *point);
}

namespace {

// What has to be done to a service that is to run; nullopt: nothing.
std::optional<UnitJob> job_for(const api::Service& service, UnitState state, bool restart) {
  // What an earlier version's service is in: it may be failing, and waiting to be started again.
  if (state != UnitState::active) return restart ? UnitJob::restart : UnitJob::start;
  if (!restart) return std::nullopt;
  switch (on_update(service)) {
    case api::OnUpdate::restart: return UnitJob::restart;
    case api::OnUpdate::reload: return UnitJob::reload;
    case api::OnUpdate::none: return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

Result<void> start_service(Host& host, const Stand& stand) {
  if (std::any_of(stand.all.begin(), stand.all.end(), [](const Manifest* m) { return has_units(*m); }))
    if (auto reloaded = host.reload_units(); !reloaded) return reloaded;
  if (stand.to == nullptr) return {};
  auto spec = spec_of(*stand.to);
  if (!spec) return fail(spec.error());
  if (!spec->service) return {};
  const auto unit = spec->service->unit.str();
  auto info = host.unit(unit);
  if (!info) return fail(info.error());
  const auto job = job_for(*spec->service, info->state, stand.record.attempt->restart);
  if (!job) return {};
  if (*job != UnitJob::reload)
    if (auto ran = run_hooks_at(host, *spec, api::HookPoint::pre_start); !ran) return ran;
  return host.unit_job(unit, *job);
}

Result<bool> enter_version(const SlotRecord& record, const OwnVersion& own) {
  const auto& to = record.attempt->to;
  const bool of_this = own.trial && own.trial->to == to && !to.empty();
  if (of_this && !own.trial->failed.empty()) return fail(bad(reason::agent_not_confirmed, own.trial->failed.str()));
  return own.running != to;
}

Result<Wait> confirm_version(const SlotRecord& record, const OwnVersion& own) {
  const bool on_trial = own.trial && own.trial->to == record.attempt->to;
  if (!on_trial || own.confirmed) return Wait();
  return Wait(std::chrono::seconds(1));  // the watchdog's patience ends, not ours
}

Result<Wait> probe(Host& host, const Stand& stand, SlotMemory& memory, MonoTime now) {
  if (stand.to == nullptr) return Wait();
  auto spec = spec_of(*stand.to);
  if (!spec) return fail(spec.error());
  if (spec->service) {
    auto up = probe_service(host, spec->service->unit.str(), memory, now);
    if (!up || *up) return up;
  }
  if (stand.record.attempt->work == Work::revert) return Wait();  // it was Ready before: all that counts is that it is back
  for (const auto& p : spec->probes) {
    auto trouble = ask(host, p);
    if (!trouble) return fail(trouble.error());
    if (trouble->empty()) {
      memory.probe_failures[p.name.str()] = 0;
      continue;
    }
    if (++memory.probe_failures[p.name.str()] < failure_threshold(p)) return Wait(period(p));
    return fail(bad(reason::package_probe_failed, "probe " + p.name.str() + " failed " + std::to_string(failure_threshold(p)) +
                                                      " times in a row, the last time: " + *trouble));
  }
  return Wait();
}

}  // namespace endstate::agent
