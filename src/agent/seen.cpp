#include "src/agent/seen.hpp"

#include <algorithm>

#include "reconcile/json/decode.hpp"

namespace endstate::agent {
namespace {

constexpr std::size_t max_manifest = std::size_t{16} << 20U;

bool same_values(std::string_view a, std::string_view b) {  // "4096 87380  6291456": blanks don't count
  const auto next = [](std::string_view& text) {
    const auto from = text.find_first_not_of(" \t\n");
    if (from == std::string_view::npos) return text = {}, std::string_view();
    text.remove_prefix(from);
    const auto word = text.substr(0, text.find_first_of(" \t\n"));
    text.remove_prefix(word.size());
    return word;
  };
  while (!a.empty() || !b.empty())
    if (next(a) != next(b)) return false;
  return true;
}

bool is_kept(const Journal& journal, const std::string& path) {
  return std::any_of(journal.slots.begin(), journal.slots.end(), [&](const SlotRecord& r) {
    return std::any_of(r.displaced.begin(), r.displaced.end(), [&](const Displaced& d) { return d.kept == path; });
  });
}

}  // namespace

Result<std::string> damage_of(Host& host, const std::string& id, const Manifest& manifest) {
  for (const auto& e : manifest.entries) {
    auto info = host.look(generation_path(id, "root" + e.path.str()));
    if (!info) return fail(info.error());
    const auto& there = *info;
    const bool same = there && (e.target.empty() ? there->kind == FileKind::file && there->size == static_cast<std::uint64_t>(e.size) &&
                                                       there->mode == static_cast<std::uint32_t>(e.mode) && there->changed == e.changed
                                                 : there->kind == FileKind::link && there->target == e.target.view());
    if (!same) return e.path.str() + (there ? " was changed" : " was removed");
  }
  if (manifest.system) {
    auto file = host.look(package_path(id));
    if (!file) return fail(file.error());
    if (!*file || (*file)->size != static_cast<std::uint64_t>(manifest.system->size) || (*file)->changed != manifest.system->changed)
      return std::string(*file ? "its package file was changed" : "its package file was removed");
  }
  return std::string();
}

// Those that aren't there: at the first start, and when somebody has removed one.
Result<void> Observer::make_state_folders() {
  const std::string own(state_folder);
  // Its own folder is for root's eyes; files of packages are read through it, so others may pass.
  const std::pair<std::string, std::uint32_t> folders[] = {{"/var", 0755U},
                                                           {"/var/lib", 0755U},
                                                           {own, 0711U},
                                                           {state_path("blobs"), 0700U},
                                                           {state_path("generations"), 0755U},
                                                           {state_path("current"), 0755U},
                                                           {state_path("displaced"), 0700U}};
  for (const auto& [path, mode] : folders) {
    auto there = host_.look(path);
    if (!there) return fail(there.error());
    if (*there) continue;
    if (auto made = host_.make_folder(path, mode); !made) return made;
  }
  return {};
}

Result<void> Observer::look_at_generations(Seen& seen) {
  auto names = host_.list(state_path("generations"));
  if (!names) return fail(names.error());
  std::erase_if(manifests_, [&](const auto& m) { return !std::binary_search(names->begin(), names->end(), m.first); });
  std::erase_if(verified_, [&](const auto& v) { return !std::binary_search(names->begin(), names->end(), v.first); });
  for (const auto& id : *names) {
    auto& known = manifests_[id];
    if (!known) {
      auto text =
          id.ends_with(".part") ? Result<std::string>(std::string()) : host_.read(generation_path(id, "manifest.json"), max_manifest);
      reconcile::Pool pool;
      auto manifest = text && !text->empty() ? reconcile::decode<Manifest>(*text, pool) : Result<Manifest>(fail(Code::invalid, ""));
      if (!manifest) {
        manifests_.erase(id);
        seen.leftovers.insert("generations/" + id);
        continue;
      }
      known = std::make_shared<const Manifest>(std::move(*manifest));
    }
    seen.generations[id].manifest = known;
  }
  return {};
}

// A package of the distribution is asked for by its own tool when the database has changed, or one of its files has: else a look at each is
// all.
Result<std::string> Observer::package_off(const std::string& id, const SystemPackage& package) {
  auto stamp = host_.package_stamp(package.format);
  if (!stamp) return fail(stamp.error());
  const auto known = verified_.find(id);
  if (known == verified_.end() || known->second.stamp != *stamp) return look_at_package(id, package, *stamp);
  for (const auto& [path, before] : known->second.files) {
    auto now = host_.look(path);
    if (!now) return fail(now.error());
    if (!(*now == before)) return look_at_package(id, package, *stamp);
  }
  return std::string();
}

Result<std::string> Observer::look_at_package(const std::string& id, const SystemPackage& package, std::int64_t stamp) {
  verified_.erase(id);
  const auto name = package.name.str();
  auto there = host_.installed_package(package.format, name);
  if (!there) return fail(there.error());
  if (!*there) return "package " + name + " was removed";
  if (!(*there)->whole) return "package " + name + " is not whole";
  if ((*there)->version != package.version.view()) return "package " + name + " is " + (*there)->version + ", not " + package.version.str();
  Verified now{.stamp = stamp};
  auto files = host_.package_files(package.format, name);
  if (!files) return fail(files.error());
  for (auto& path : *files) {  // before they are verified: what is changed meanwhile is seen the next time
    auto info = host_.look(path);
    if (!info) return fail(info.error());
    now.files.emplace_back(std::move(path), std::move(*info));
  }
  auto wrong = host_.verify_package(package.format, name);
  if (wrong && wrong->empty()) verified_[id] = std::move(now);
  return wrong;
}

Result<void> Observer::look_at_slot(const SlotRecord& record, Seen& seen) {
  auto& slot = seen.slots[record.slot.str()];
  auto current = host_.look(current_path(record.slot));
  if (!current) return fail(current.error());
  if (*current && (*current)->kind == FileKind::link) slot.current = Text((*current)->target.substr((*current)->target.rfind('/') + 1));
  const auto generation = seen.generations.find(record.good.view());
  if (generation == seen.generations.end()) return {};
  const Manifest& manifest = *generation->second.manifest;
  reconcile::Pool pool;
  const auto spec = reconcile::decode<api::MachinePackageVersionSpec>(manifest.spec.raw, pool);
  if (!spec) return fail(spec.error());
  slot.disruption = disruption(*spec);
  if (spec->service) {
    slot.unit_name = spec->service->unit.str();
    auto unit = host_.unit(spec->service->unit.str());
    if (unit)
      slot.unit = std::move(*unit);
    else
      slot.unit_unknown = true;
  }
  if (record.attempt) return {};  // it is being changed: nothing of it has drifted
  auto damage = damage_of(host_, record.good.str(), manifest);
  if (!damage) return fail(damage.error());
  generation->second.damage = std::move(*damage);
  for (const auto& e : manifest.entries) {
    auto info = host_.look(e.path.str());
    if (!info) return fail(info.error());
    const auto& there = *info;
    if (there && there->kind == FileKind::link && there->target == link_target(record.slot, e.path)) continue;
    slot.off = e.path.str() + (there ? " was replaced" : " was removed");
    slot.file_off = true;
    return {};
  }
  if (manifest.system) {
    auto off = package_off(record.good.str(), *manifest.system);
    if (!off) return fail(off.error());
    slot.off = std::move(*off);
    slot.file_off = !slot.off.empty();
    if (slot.file_off) return {};
  }
  for (const auto& m : spec->kernel_modules) {
    auto there = host_.module_loaded(m.name.str());
    if (there && *there) continue;
    slot.off = "kernel module " + m.name.str() + (there ? " is not loaded" : " can't be looked for: " + there.error().message);
    return {};
  }
  for (const auto& s : spec->sysctls) {
    auto value = host_.sysctl(s.name.str());
    if (value && same_values(*value, s.value)) continue;
    slot.off = "sysctl " + s.name.str() + (value ? " is " + *value + ", not " + s.value.str() : " can't be read: " + value.error().message);
    return {};
  }
  return {};
}

std::vector<std::string> Observer::owned_paths(const Journal& journal) const {
  std::vector<std::string> paths;
  for (const auto& record : journal.slots) {
    const auto manifest = manifests_.find(record.good.view());
    if (manifest == manifests_.end()) continue;
    paths.push_back(current_path(record.slot));
    for (const auto& e : manifest->second->entries) {
      paths.push_back(e.path.str());
      paths.push_back(generation_path(record.good, "root" + e.path.str()));
    }
    const auto verified = verified_.find(record.good.view());
    if (verified == verified_.end()) continue;
    for (const auto& [path, info] : verified->second.files) paths.push_back(path);
  }
  return paths;
}

// A trial that no attempt knows of any more is over.
Result<void> Observer::look_at_agent(const Journal& journal, Seen& seen) {
  auto program = host_.program();
  if (!program) return fail(program.error());
  seen.agent_generation = generation_of_program(*program);
  auto text = host_.read(trial_path(), 4096);
  if (!text) return text.error().code == Code::not_found ? Result<void>() : fail(text.error());
  reconcile::Pool pool;
  if (auto trial = reconcile::decode<Trial>(*text, pool)) seen.trial = std::move(*trial);
  const auto* record = find_slot(journal, agent_slot);
  if (record == nullptr || !record->attempt) seen.leftovers.insert("trial.json");
  return {};
}

Result<Seen> Observer::look(const Journal& journal) {
  Seen seen;
  if (auto made = make_state_folders(); !made) return fail(made.error());
  if (auto looked = look_at_generations(seen); !looked) return fail(looked.error());
  for (const auto& record : journal.slots)
    if (auto looked = look_at_slot(record, seen); !looked) return fail(looked.error());
  for (const auto& record : journal.slots) {
    seen.in_use.insert(record.good.str());
    if (record.attempt) seen.in_use.insert(record.attempt->to.str());
  }
  auto blobs = host_.list(state_path("blobs"));
  if (!blobs) return fail(blobs.error());
  for (auto& name : *blobs) {
    const bool part = name.ends_with(".part");
    (part ? seen.leftovers : seen.blobs).insert(part ? "blobs/" + name : name);
  }
  auto displaced = host_.list(state_path("displaced"));
  if (!displaced) return fail(displaced.error());
  for (const auto& name : *displaced)
    if (!is_kept(journal, state_path("displaced/" + name))) seen.leftovers.insert("displaced/" + name);
  if (auto looked = look_at_agent(journal, seen); !looked) return fail(looked.error());
  auto boot = host_.boot_id();
  if (!boot) return fail(boot.error());
  seen.boot_id = std::move(*boot);
  auto free = host_.free_bytes(std::string(state_folder));
  if (!free) return fail(free.error());
  seen.free_bytes = *free;
  auto reserve = host_.look(state_path("reserve"));
  if (!reserve) return fail(reserve.error());
  seen.reserve = reserve->has_value();
  return seen;
}

}  // namespace endstate::agent
