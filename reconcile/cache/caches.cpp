#include "reconcile/cache/caches.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "reconcile/cache/caches_entry.hpp"
#include "reconcile/kube/selector.hpp"

namespace reconcile {

Caches::Caches(Env& env, Log log, CachesOptions options) : env_(env), log_(std::move(log)), options_(std::move(options)) {}
Caches::~Caches() = default;

const Caches::Entry* Caches::find_entry(std::string_view cluster, const Resource& resource) const {
  const auto it = entries_.find({cluster, resource.plural, resource.group, resource.cache});
  return it == entries_.end() ? nullptr : it->second.get();
}

void Caches::watch(const std::string& cluster, const Watched& what) {
  if (watches(cluster, *what.kind->resource)) return;
  if (const auto it = excesses_.find(cluster); it != excesses_.end()) return it->second->what.push_back(what);
  const auto entry = std::make_shared<Entry>(*this, cluster, what);
  const Resource& r = *what.kind->resource;
  entries_.emplace(Slot{entry->cluster, r.plural, r.group, r.cache}, entry);
  if (auto& vision = visions_[cluster]; !vision) begin_vision(vision);
  entry->reflector.start();
}

// One may be dropped from inside a handler that its own reflector called: it ends at once, and goes when the call stack has.
void Caches::drop(const std::string& cluster) {
  bury(cluster);
  unreachable_.erase(cluster);
  visions_.erase(cluster);
  excesses_.erase(cluster);
}

void Caches::bury(const std::string& cluster) {
  auto gone = std::make_shared<std::vector<std::shared_ptr<Entry>>>();
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (std::get<0>(it->first) != cluster) {
      ++it;
      continue;
    }
    it->second->reflector.stop();
    gone->push_back(it->second);
    it = entries_.erase(it);
  }
  if (!gone->empty()) {
    graves_.push_back(nullptr);
    const auto at = std::prev(graves_.end());
    *at = env_.at(env_.now().mono, [this, gone, at] {
      gone->clear();
      graves_.erase(at);
    });
  }
}

void Caches::unreachable(const std::string& cluster, std::optional<MonoTime> since) {
  if (since)
    unreachable_[cluster] = *since;
  else
    unreachable_.erase(cluster);
  const auto it = visions_.find(cluster);
  if (it == visions_.end()) return;
  it->second->failed_probes = since ? it->second->failed_probes + 1 : 0;
  look_at(it->first, *it->second);
}

bool Caches::watches(std::string_view cluster, const Resource& resource, std::string_view name_space) const {
  const auto* entry = find_entry(cluster, resource);
  return entry && (name_space.empty() || entry->what.name_space.empty() || entry->what.name_space == name_space);
}

bool Caches::shows(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name,
                   const Labels& labels) const {
  if (!watches(cluster, *kind.resource, name_space)) return false;
  const auto* entry = find_entry(cluster, *kind.resource);
  return entry->what.selector.empty() || entry->store.get(name_space, name) != nullptr || selects(entry->what.selector, labels);
}

std::uint64_t Caches::version(std::string_view cluster, const Resource& resource) const {
  const auto* entry = find_entry(cluster, resource);
  return entry ? entry->reflector.version() : std::numeric_limits<std::uint64_t>::max();
}

std::uint64_t Caches::newest_object(std::string_view cluster, const Resource& resource) const {
  const auto* entry = find_entry(cluster, resource);
  return entry ? entry->store.newest() : 0;
}

bool Caches::any_unreadable(std::string_view cluster, const Kind& kind) const {
  const auto* entry = find_entry(cluster, *kind.resource);
  return entry && !entry->store.unreadable().empty();
}

std::vector<Unreadable> Caches::unreadable(std::string_view cluster, const Kind& kind) const {
  std::vector<Unreadable> out;
  if (const auto* entry = find_entry(cluster, *kind.resource))
    for (const auto& [key, object] : entry->store.unreadable()) out.push_back(object);
  return out;
}

bool Caches::contradicts(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name,
                         std::string_view resource_version, MonoTime sent) {
  const auto* entry = find_entry(cluster, *kind.resource);
  const auto cached = entry ? entry->store.get(name_space, name) : nullptr;
  if (!cached) return false;                                       // a selector may hide it
  if (entry->store.is_unreadable(name_space, name)) return false;  // its record is known to be old
  const auto theirs = version_number(resource_version), ours = version_number(kind.meta(cached.get()).resource_version);
  const bool newer = theirs > ours && entry->reflector.version() >= theirs;
  const bool older = theirs < ours && theirs != 0 && entry->store.seen(name_space, name) < sent;
  if (newer || older) doubt(cluster);
  return newer || older;
}

bool Caches::agrees(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name,
                    std::uint64_t version) const {
  const auto* entry = find_entry(cluster, *kind.resource);
  const auto cached = entry ? entry->store.get(name_space, name) : nullptr;
  if (!cached || entry->reflector.version() < version || entry->store.is_unreadable(name_space, name)) return true;
  const auto ours = version_number(kind.meta(cached.get()).resource_version);
  return ours == 0 || ours >= version;
}

void Caches::doubt(std::string_view cluster) {
  std::vector<std::shared_ptr<Entry>> there;  // the reflectors call out
  for (const auto& [slot, e] : entries_)
    if (e->cluster == cluster) there.push_back(e);
  for (const auto& e : there) e->reflector.doubt();
}

bool Caches::synced(std::string_view cluster) const {
  return std::all_of(entries_.begin(), entries_.end(),
                     [&](const auto& e) { return e.second->cluster != cluster || e.second->reflector.synced(); });
}

std::vector<WatchState> Caches::states() const {
  std::vector<WatchState> out;
  for (const auto& [slot, e] : entries_)
    out.push_back({e->cluster, &e->store.kind(), e->reflector.synced(), e->store.size(), lag_any(e->cluster, e->store.kind()), e->relists,
                   e->undecodable, e->reflector.last_error()});
  return out;
}

Ref<void> Caches::get_any(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name) const {
  const auto* entry = find_entry(cluster, *kind.resource);
  return entry ? entry->store.get(name_space, name) : nullptr;
}

std::vector<Ref<void>> Caches::list_any(std::string_view cluster, const Kind& kind, std::string_view name_space) const {
  const auto* entry = find_entry(cluster, *kind.resource);
  return entry ? entry->store.list(name_space) : std::vector<Ref<void>>();
}

std::vector<Ref<void>> Caches::index_any(std::string_view cluster, const Index& index, std::string_view value) const {
  const auto* entry = find_entry(cluster, *index.kind->resource);
  return entry ? entry->store.by_index(index, value) : std::vector<Ref<void>>();
}

bool Caches::synced_any(std::string_view cluster, const Kind& kind) const {
  const auto* entry = find_entry(cluster, *kind.resource);
  return entry && entry->reflector.synced();
}

MonoTime Caches::seen_any(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name) const {
  const auto* entry = find_entry(cluster, *kind.resource);
  return entry ? entry->store.seen(name_space, name) : MonoTime::min();
}

std::chrono::nanoseconds Caches::lag_any(std::string_view cluster, const Kind& kind) const {
  const auto now = env_.now().mono;
  std::chrono::nanoseconds lag{0};
  if (const auto* entry = find_entry(cluster, *kind.resource)) lag = entry->reflector.lag(now);
  const auto it = unreachable_.find(cluster);
  return it == unreachable_.end() ? lag : std::max(lag, now - it->second);
}

}  // namespace reconcile
