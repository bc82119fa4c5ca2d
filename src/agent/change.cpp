#include "src/agent/change.hpp"

#include <algorithm>
#include <iterator>
#include <sstream>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

Error refused(std::string message) { return {Code::invalid, std::move(message), {}, std::string(reason::install_failed)}; }

class Changing {
 public:
  Changing(Host& host, SlotRecord& record, const Seen& seen, const std::function<Result<void>()>& save)
      : host_(host), record_(record), seen_(seen), save_(save) {}

  Result<void> run() {
    if (auto read = read_manifests(); !read) return read;
    if (auto stopped = stop_other_units(); !stopped) return stopped;
    if (auto loaded = load_modules(); !loaded) return loaded;
    if (auto done = bring_in_package(); !done) return done;
    if (auto done = begin_trial(); !done) return done;
    if (auto surveyed = survey(); !surveyed) return surveyed;
    const bool fresh = seen_.slots.contains(record_.slot.str()) ? seen_.slots.at(record_.slot.str()).current.empty() : true;
    // The first version has no links yet that could lead nowhere: there it is current/SLOT that may come first, and what stood in its
    // links' places never is gone.
    if (to_ != nullptr && fresh)
      if (auto done = switch_over(); !done) return done;
    if (auto done = bring_in(); !done) return done;
    if (to_ != nullptr && !fresh)
      if (auto done = switch_over(); !done) return done;
    if (auto done = take_away(); !done) return done;
    return take_away_packages();
  }

 private:
  Result<void> read_manifests() {
    for (const auto& [id, generation] : seen_.generations) {
      if (generation.manifest->slot != record_.slot) continue;
      all_.push_back(generation.manifest.get());
      if (record_.attempt->to == id) to_ = generation.manifest.get();
      if (record_.good == id) good_ = generation.manifest.get();
    }
    if (record_.attempt->to.empty()) return {};
    if (to_ == nullptr) return fail(refused("the generation " + record_.attempt->to.str() + " is gone from " + std::string(state_folder)));
    auto damage = damage_of(host_, record_.attempt->to.str(), *to_);
    if (!damage) return fail(damage.error());
    if (!damage->empty()) return fail(refused("the staged version is damaged: " + *damage));
    for (const auto& e : to_->entries) wanted_.insert(e.path.view());
    auto spec = spec_of(*to_);
    if (!spec) return fail(spec.error());
    spec_ = std::move(*spec);
    return {};
  }

  static Result<api::MachinePackageVersionSpec> spec_of(const Manifest& manifest) {
    reconcile::Pool pool;
    return reconcile::decode<api::MachinePackageVersionSpec>(manifest.spec.raw, pool);
  }

  // Before their unit files go: systemd must still know how to stop them.
  Result<void> stop_other_units() {
    for (const auto* manifest : all_) {
      auto spec = spec_of(*manifest);
      if (!spec || !spec->service || (to_ != nullptr && spec_.service && spec_.service->unit == spec->service->unit)) continue;
      auto unit = host_.unit(spec->service->unit.str());
      if (!unit) return fail(unit.error());
      const bool runs = unit->state == UnitState::active || unit->state == UnitState::starting || unit->state == UnitState::stopping;
      if (!runs) continue;
      if (auto stopped = host_.unit_job(spec->service->unit.str(), UnitJob::stop); !stopped) return stopped;
    }
    return {};
  }

  // ---- a package of the distribution: not one rename, but dpkg and rpm put right what they were cut off in ----

  // Before the links: what it brings at one of their paths is then a file that stood there before.
  Result<void> bring_in_package() {
    if (to_ == nullptr || !to_->system) return {};
    const auto& wanted = *to_->system;
    for (const auto& [id, generation] : seen_.generations) {
      const auto& m = *generation.manifest;
      if (m.slot != record_.slot && m.system && m.system->format == wanted.format && m.system->name == wanted.name &&
          seen_.in_use.contains(id))
        return fail(refused("package " + wanted.name.str() + " belongs to slot " + m.slot.str()));
    }
    auto there = host_.installed_package(wanted.format, wanted.name.str());
    if (!there) return fail(there.error());
    const bool whole = *there && (*there)->whole;
    if (whole && (*there)->version == wanted.version.view()) {
      if (record_.attempt->work != Work::repair) return {};
      auto wrong = host_.verify_package(wanted.format, wanted.name.str());
      if (!wrong || wrong->empty()) return wrong ? Result<void>() : fail(wrong.error());
    } else if (whole && !is_ours(wanted, (*there)->version)) {
      return fail(refused("package " + wanted.name.str() + " is installed as " + (*there)->version +
                          ", of which there is no file to go back to: order that version first, or remove it"));
    }
    return host_.install_package(wanted.format, package_path(record_.attempt->to));
  }

  // The slot has had this package, or this very version of it.
  bool is_ours(const SystemPackage& package, std::string_view version) const {
    return std::any_of(all_.begin(), all_.end(), [&](const Manifest* m) {
      return m->system && m->system->format == package.format && m->system->name == package.name &&
             (m->system->version == version || m == good_);
    });
  }

  // Last: what was displaced by links is back at its place, and goes with the package if it is the package's.
  Result<void> take_away_packages() {
    bool any = false;
    for (const auto* manifest : all_) {
      if (!manifest->system) continue;
      const auto& old = *manifest->system;
      if (to_ != nullptr && to_->system && to_->system->format == old.format && to_->system->name == old.name) continue;
      auto there = host_.installed_package(old.format, old.name.str());
      if (!there) return fail(there.error());
      if (!*there || ((*there)->whole && !is_ours(old, (*there)->version))) continue;
      if (auto gone = host_.remove_package(old.format, old.name.str()); !gone) return gone;
      any = true;
    }
    return any ? bring_in() : Result<void>();  // a file of the new version may have had the name of its configuration
  }

  // Before anything is looked at: a module brings sysctls. It stays when the package goes, until the next boot: others may have come to use
  // it.
  Result<void> load_modules() {
    if (to_ == nullptr) return {};
    for (const auto& m : spec_.kernel_modules) {
      auto there = host_.module_loaded(m.name.str());
      if (!there) return fail(there.error());
      if (*there) continue;
      std::istringstream words(m.parameters.str());
      if (auto loaded = host_.load_module(m.name.str(), {std::istream_iterator<std::string>(words), {}}); !loaded) return loaded;
    }
    return {};
  }

  bool is_ours(const FileInfo& info) const {
    return info.kind == FileKind::link && info.target.starts_with(current_path(record_.slot) + "/");
  }

  // What can't be undone without being remembered: looked for, copied and stored before anything is touched.
  Result<void> survey() {
    const auto before = record_;
    if (to_ == nullptr) return {};
    for (const auto& e : to_->entries) {
      if (auto looked = survey_path(e.path.str()); !looked) return looked;
      if (auto looked = survey_folders(e.path.str()); !looked) return looked;
    }
    for (const auto& s : spec_.sysctls) {
      if (std::any_of(record_.sysctls.begin(), record_.sysctls.end(), [&](const SysctlBefore& b) { return b.name == s.name; })) continue;
      auto value = host_.sysctl(s.name.str());
      if (!value) return fail(refused("sysctl " + s.name.str() + " is not there: " + value.error().message));
      record_.sysctls.push_back({s.name, Text(*value)});
    }
    return record_ == before ? Result<void>() : save_();
  }

  Result<void> survey_path(const std::string& path) {
    auto info = host_.look(path);
    if (!info) return fail(info.error());
    if (!*info || is_ours(**info)) return {};
    const auto& there = **info;
    if (there.kind == FileKind::folder || there.kind == FileKind::other)
      return fail(refused(path + " is a folder, not a file: move it away"));
    if (there.kind == FileKind::link && there.target.starts_with(state_path("current/")))
      return fail(refused(path + " belongs to the package of slot " +
                          there.target.substr(state_path("current/").size(),
                                              there.target.find('/', state_path("current/").size()) - state_path("current/").size())));
    if (std::any_of(record_.displaced.begin(), record_.displaced.end(), [&](const Displaced& d) { return d.path == path; })) return {};
    const auto kept = state_path("displaced/" + record_.slot.str() + "-" + reconcile::hash_of(path));
    if (auto copied = host_.copy(path, kept); !copied) return copied;
    record_.displaced.push_back({Text(path), Text(kept)});
    return {};
  }

  Result<void> survey_folders(const std::string& path) {
    for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
      const auto folder = path.substr(0, end);
      if (!known_folders_.insert(folder).second) continue;
      auto info = host_.look(folder);
      if (!info) return fail(info.error());
      if (*info || std::find(record_.folders.begin(), record_.folders.end(), Text(folder)) != record_.folders.end()) continue;
      record_.folders.push_back(Text(folder));
    }
    return {};
  }

  Result<void> bring_in() {
    if (to_ == nullptr) return {};
    for (const auto& folder : record_.folders)
      if (auto made = host_.make_folder(folder.str(), 0755); !made) return made;
    for (const auto& e : to_->entries) {
      const auto target = link_target(record_.slot, e.path);
      auto info = host_.look(e.path.str());
      if (!info) return fail(info.error());
      if (*info && (*info)->kind == FileKind::link && (*info)->target == target) continue;
      if (auto linked = host_.link(e.path.str(), target); !linked) return linked;
    }
    for (const auto& s : spec_.sysctls)
      if (auto set = host_.set_sysctl(s.name.str(), s.value.str()); !set)
        return fail(refused("sysctl " + s.name.str() + ": " + set.error().message));
    return {};
  }

  // A version of the agent that wasn't Ready yet comes on trial: written down before it can be started.
  Result<void> begin_trial() {
    const auto& to = record_.attempt->to;
    const bool forward = record_.attempt->work == Work::install || record_.attempt->work == Work::update;
    if (record_.slot != agent_slot || !forward) return {};
    const auto& current = seen_.slots.contains(record_.slot.str()) ? seen_.slots.at(record_.slot.str()).current : Text();
    if (current == to || (seen_.trial && seen_.trial->to == to)) return {};
    return host_.write(trial_path(), reconcile::encode(Trial{.to = to, .back = record_.good}), 0600);
  }

  Result<void> switch_over() { return host_.link(current_path(record_.slot), "../generations/" + record_.attempt->to.str()); }

  Result<void> take_away() {
    for (const auto* manifest : all_)
      for (const auto& e : manifest->entries)
        if (!wanted_.contains(e.path.view()))
          if (auto gone = remove_link(e.path.str()); !gone) return gone;
    if (auto back = put_back(); !back) return back;
    if (to_ == nullptr)
      if (auto gone = host_.remove(current_path(record_.slot)); !gone) return gone;
    return remove_folders();
  }

  Result<void> remove_link(const std::string& path) {
    auto info = host_.look(path);
    if (!info) return fail(info.error());
    if (!*info || !is_ours(**info)) return {};
    // What stood there takes the link's place in one step; else the link goes.
    const auto kept = std::find_if(record_.displaced.begin(), record_.displaced.end(), [&](const Displaced& d) { return d.path == path; });
    return kept != record_.displaced.end() ? host_.copy(kept->kept.str(), path) : host_.remove(path);
  }

  // The kept copies go with the record that names them: what is forgotten here is stored when the phase ends.
  Result<void> put_back() {
    std::erase_if(record_.displaced, [&](const Displaced& d) { return !wanted_.contains(d.path.view()); });
    for (auto s = record_.sysctls.begin(); s != record_.sysctls.end();) {
      const bool keep =
          to_ != nullptr && std::any_of(spec_.sysctls.begin(), spec_.sysctls.end(), [&](const auto& w) { return w.name == s->name; });
      if (keep) {
        ++s;
        continue;
      }
      if (auto set = host_.set_sysctl(s->name.str(), s->value.str()); !set && set.error().code != Code::not_found) return set;
      s = record_.sysctls.erase(s);
    }
    return {};
  }

  Result<void> remove_folders() {
    for (auto f = record_.folders.rbegin(); f != record_.folders.rend();) {
      const auto below = f->str() + "/";
      const bool used = std::any_of(wanted_.begin(), wanted_.end(), [&](std::string_view path) { return path.starts_with(below); });
      if (used) {
        ++f;
        continue;
      }
      auto gone = host_.remove(f->str());
      if (!gone && gone.error().code != Code::exists) return gone;  // others have put something into it: it is theirs now
      f = std::make_reverse_iterator(record_.folders.erase(std::next(f).base()));
    }
    return {};
  }

  Host& host_;
  SlotRecord& record_;
  const Seen& seen_;
  const std::function<Result<void>()>& save_;
  std::vector<const Manifest*> all_;  // of this slot, in the store
  const Manifest* to_ = nullptr;
  const Manifest* good_ = nullptr;
  api::MachinePackageVersionSpec spec_;
  std::set<std::string_view> wanted_;
  std::set<std::string> known_folders_;
};

}  // namespace

Result<void> change_over(Host& host, SlotRecord& record, const Seen& seen, const std::function<Result<void>()>& save) {
  return Changing(host, record, seen, save).run();
}

}  // namespace endstate::agent
