// A bound on what one connection may hold here: its API server is somebody else's.
#include <algorithm>
#include <utility>

#include "reconcile/cache/caches_entry.hpp"
#include "reconcile/cache/excess.hpp"

namespace reconcile {
namespace {

struct Weight {
  std::size_t objects = 0, bytes = 0;
};

std::string mebibytes(std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

// Counted while a list streams in, too: one that has no end is cut.
void Caches::weigh(const std::string& cluster) {
  std::map<std::string_view, Weight> all;
  for (const auto& [slot, e] : entries_) {
    if (e->cluster.empty()) continue;
    auto& w = all[e->cluster];
    w.objects += e->reflector.size() + e->store.unreadable().size();
    w.bytes += e->reflector.bytes();
  }
  std::shared_ptr<Entry> biggest;
  for (const auto& e : entries_of(cluster, false)) {
    e->frames = e->frame_bytes = 0;
    if (!biggest || e->reflector.size() > biggest->reflector.size()) biggest = e;
  }
  if (cluster.empty() || !biggest) return;
  const auto& mine = all[cluster];
  if (mine.objects > options_.max_objects || mine.bytes > options_.max_bytes)
    return cut_off(cluster, std::to_string(mine.objects) + " of " + mebibytes(mine.bytes) + ", " +
                                std::to_string(biggest->reflector.size()) + " of them " +
                                std::string(biggest->store.kind().resource->plural) + "; at most " + std::to_string(options_.max_objects) +
                                " of " + mebibytes(options_.max_bytes) + " are taken from one cluster");
  std::size_t total = 0;
  auto most = all.begin();
  for (auto it = all.begin(); it != all.end(); ++it) {
    total += it->second.bytes;
    if (it->second.bytes > most->second.bytes) most = it;
  }
  if (total > options_.max_total_bytes)
    cut_off(std::string(most->first),
            mebibytes(most->second.bytes) + ", the most of all clusters, which together may have " + mebibytes(options_.max_total_bytes));
}

void Caches::cut_off(const std::string& name, const std::string& why) {
  const std::string cluster = name;  // NOLINT(performance-unnecessary-copy-initialization): it may be of what goes
  auto excess = std::make_unique<Excess>();
  std::vector<const Kind*> kinds;
  for (const auto& e : entries_of(cluster, false)) {
    excess->what.push_back(e->what);
    kinds.push_back(e->what.kind);
  }
  log_(Level::error, "a cluster shows more objects than are taken from one: it is not watched for some minutes",
       {{"cluster", cluster}, {"why", why}});
  auto& vision = *visions_[cluster];
  const auto now = env_.now();
  if (vision.sight.seen) vision.sight.since = now.wall;
  vision.sight.seen = false;
  vision.sight.why = std::string(too_many_objects) + why;
  bury(cluster);
  excess->timer = env_.at(now.mono + options_.excess_retry, [this, cluster] {
    const auto node = excesses_.extract(cluster);
    visions_[cluster]->began = env_.now().mono;
    for (const auto& what : node.mapped()->what) watch(cluster, what);
  });
  excesses_[cluster] = std::move(excess);
  for (const auto* kind : kinds)  // what was written there will not be seen: nobody may wait for it
    for (const auto& tell : progresses_) tell(cluster, *kind, true);
  tell_sight(cluster);
}

}  // namespace reconcile
