#include "src/fleet/packages.hpp"

#include <algorithm>
#include <string>

namespace endstate::fleet {
namespace {

using namespace std::chrono_literals;
using State = v1alpha1::PackageState;

// The name may be used again for other bytes after a delete: the digest tells.
bool same(const PackageIdentity& a, const PackageIdentity& b) { return a.name == b.name && a.digest == b.digest; }

void enter(Packages::Slot& slot, State state, Text reason = {}, Text message = {}) {
  slot.state = state;
  slot.reason = std::move(reason);
  slot.message = std::move(message);
  slot.due.reset();
}

// kubelet-1.34.4 of package kubelet is 1.34.4: all that a report leaves of a version that is no longer wanted.
Text version_by_name(const PackageIdentity& identity, std::string_view package_name) {
  auto name = identity.name.view();
  if (name.starts_with(package_name) && name.substr(package_name.size()).starts_with("-")) name.remove_prefix(package_name.size() + 1);
  return {name};
}

// Entered just now: draws how long it lasts. True when it is over.
bool over(Packages::Slot& slot, MonoTime now, Chance& chance, std::chrono::nanoseconds low, std::chrono::nanoseconds high, double scale) {
  if (!slot.due) slot.due = now + chance.between(low, high, scale);
  return *slot.due <= now;
}

}  // namespace

void Packages::want(const std::vector<AgentPackage>& packages) {
  std::vector<Slot> next;
  next.reserve(packages.size());
  for (const auto& p : packages) {
    const auto old = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.want.name == p.name; });
    if (old == slots_.end()) {
      next.push_back(Slot{.want = p});
      continue;
    }
    auto slot = std::move(*old);
    slots_.erase(old);
    const bool changed = slot.removing || !same(slot.want.version, p.version);
    slot.want = p;
    slot.removing = false;
    if (slot.actual && slot.actual_version.empty())
      slot.actual_version = same(*slot.actual, p.version) ? p.spec.version : version_by_name(*slot.actual, p.spec.package_name);
    if (changed) {
      slot.attempts = 0;
      enter(slot, slot.actual && same(*slot.actual, p.version) ? State::probing : State::pending);
    }
    next.push_back(std::move(slot));
  }
  for (auto& slot : slots_) {
    if (!slot.removing) enter(slot, State::applying, "Removing");
    slot.removing = true;
    next.push_back(std::move(slot));
  }
  slots_ = std::move(next);
}

void Packages::restore(const std::vector<v1alpha1::PackageReport>& reports) {
  for (const auto& r : reports) {
    if (!r.actual || find(r.name) != nullptr) continue;
    Slot slot;
    slot.want.name = r.name;
    slot.want.version = *r.actual;  // what was wanted beside is in no report: want() puts it right
    slot.actual = r.actual;
    slot.state = r.state == State::ready ? State::ready : State::probing;
    slot.attempts = r.attempts;
    slots_.push_back(std::move(slot));
  }
}

void Packages::wipe() { want({}); }

void Packages::forget() {
  std::erase_if(slots_, [](const Slot& s) { return s.removing; });
  for (auto& slot : slots_) {
    slot.actual.reset();
    slot.actual_version = {};
    slot.attempts = 0;
    enter(slot, State::pending);
  }
}

bool Packages::advance(MonoTime now, const Faults& faults, Chance& chance, Pace pace) {
  bool changed = false;
  // A slot passes through at most 6 states, and each round moves at least one: bounded by what there is.
  for (auto rounds = slots_.size() * 8 + 1; rounds > 0; --rounds) {
    bool moved = false;
    for (auto& slot : slots_) moved |= step(slot, now, faults, chance, pace);
    moved |= std::erase_if(slots_, [&](const Slot& s) { return s.removing && (!s.actual || (s.due && *s.due <= now)); }) > 0;
    if (!moved) break;
    changed = true;
  }
  return changed;
}

bool Packages::step(Slot& slot, MonoTime now, const Faults& faults, Chance& chance, Pace pace) {
  const auto version = slot.want.version.name.view();
  const auto scale = faults.on(FaultKind::slow, version) ? pace.slow() : pace.scale;
  if (slot.removing) {
    (void)over(slot, now, chance, 500ms, 2s, scale);
    return false;  // advance() takes it out
  }
  switch (slot.state) {
    case State::pending:
      if (!over(slot, now, chance, 1s, 4s, scale)) return false;
      enter(slot, State::prefetched);
      return true;
    case State::prefetched:
    case State::waiting: {
      std::string waits_for;
      if (may_start(slot, waits_for)) {
        enter(slot, State::applying);
        return true;
      }
      if (waits_for.empty()) return false;  // its turn comes
      if (slot.state == State::waiting && slot.message == waits_for) return false;
      enter(slot, State::waiting, "WaitingForPackage", Text(waits_for));
      return true;
    }
    case State::applying:
      if (!over(slot, now, chance, 2s, 6s, scale)) return false;
      return apply(slot, faults.on(FaultKind::install_fails, version), now, chance, scale);
    case State::probing:
      if (!over(slot, now, chance, 500ms, 2s, scale)) return false;
      enter(slot, State::ready);
      return true;
    case State::failed: {
      const bool fails = faults.on(FaultKind::install_fails, version);
      if (fails && (slot.attempts >= max_attempts || !slot.due || *slot.due > now)) return false;
      return apply(slot, fails, now, chance, scale);  // in the background: a state that flaps tells nobody anything
    }
    case State::ready:
    case State::drifted:
    case State::unknown: return false;
  }
  return false;
}

bool Packages::apply(Slot& slot, bool fails, MonoTime now, Chance& chance, double scale) {
  ++slot.attempts;
  if (!fails) {
    ++applied;
    slot.actual = slot.want.version;
    slot.actual_version = slot.want.spec.version;
    enter(slot, State::probing);
    return true;
  }
  ++failed;
  enter(slot, State::failed, "InstallFailed",
        Text("installing " + slot.want.version.name + " failed: simulated by a fault (" + std::string(fault_annotation) + ")"));
  const auto wait = std::chrono::seconds(10) * (std::int64_t{1} << std::min<std::int64_t>(slot.attempts - 1, 5));
  slot.due = now + std::max<std::chrono::nanoseconds>(chance.between(wait, wait * 5 / 4, scale), 1s);
  return true;
}

// A host applies one package at a time, and none before what it requires.
bool Packages::may_start(const Slot& slot, std::string& waits_for) const {
  for (const auto& r : slot.want.spec.requires_) {
    const auto* other = find_package(r.package_name);
    const bool ready = other != nullptr && !other->removing && other->state == State::ready &&
                       other->want.spec.version.view().starts_with(r.version.view());
    if (ready) continue;
    waits_for = "requires " + r.package_name.str() + (r.version.empty() ? "" : " " + r.version.str()) +
                (other == nullptr ? ", which no slot holds" : " to be Ready");
    return false;
  }
  for (const auto& other : slots_) {
    if (&other == &slot) continue;
    if (other.state == State::applying || other.state == State::probing) return false;
  }
  return true;
}

MonoTime Packages::next() const {
  auto first = MonoTime::max();
  for (const auto& s : slots_)
    if (s.due && s.state != State::ready && !(s.state == State::failed && s.attempts >= max_attempts)) first = std::min(first, *s.due);
  return first;
}

bool Packages::all_ready() const {
  return !slots_.empty() && std::all_of(slots_.begin(), slots_.end(), [](const Slot& s) { return s.state == State::ready && !s.removing; });
}

bool Packages::any_failed() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& s) { return s.state == State::failed; });
}

const Packages::Slot* Packages::find(std::string_view name) const {
  for (const auto& s : slots_)
    if (s.want.name == name) return &s;
  return nullptr;
}

const Packages::Slot* Packages::find_package(std::string_view package_name) const {
  for (const auto& s : slots_)
    if (s.want.spec.package_name == package_name) return &s;
  return nullptr;
}

bool Packages::installed(std::string_view package_version) const {
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.actual && s.actual->name == package_version; });
}

const Fault* Packages::find(const Faults& faults, FaultKind kind) const {
  for (const auto& f : faults.all)
    if (f.has(kind) && (f.package.empty() || installed(f.package))) return &f;
  return nullptr;
}

std::vector<v1alpha1::PackageReport> Packages::report() const {
  std::vector<v1alpha1::PackageReport> out;
  out.reserve(slots_.size());
  for (const auto& s : slots_)
    out.push_back(
        {.name = s.want.name, .actual = s.actual, .state = s.state, .reason = s.reason, .message = s.message, .attempts = s.attempts});
  return out;
}

}  // namespace endstate::fleet
