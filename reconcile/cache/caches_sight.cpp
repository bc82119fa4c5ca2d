// How Caches find out whether a cluster can be seen (sight.hpp).
#include <algorithm>
#include <utility>

#include "reconcile/cache/caches_entry.hpp"
#include "reconcile/json/decode.hpp"

namespace reconcile {
namespace {

using namespace std::chrono_literals;

constexpr auto look_period = 1s;
constexpr int probes_to_fail = 2;
// A collection of so many objects is read anew rather than waited for: a bookmark may be a minute away.
constexpr std::size_t small_collection = 500;
constexpr auto mark_wait = 90s;  // longer than a bookmark's minute; then even a big one is read anew
constexpr auto mark_timeout = 10s, mark_retry = 5s;
constexpr auto missed_lasts = 300s;  // connections that are made so soon after a gap have it, too

struct End {
  Text resource_version;
};
consteval auto describe(const End*) {
  return object("A list's own metadata.", field<&End::resource_version>("resourceVersion", "The collection's version."));
}
struct ListEnd {
  End metadata;
};
consteval auto describe(const ListEnd*) { return object("The end of a list.", field<&ListEnd::metadata>("metadata", "Its metadata.")); }

std::string seconds_of(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
}

}  // namespace

bool Caches::is_needed(const Resource& resource) const {
  return options_.needed.empty() || std::any_of(options_.needed.begin(), options_.needed.end(), [&](const Resource* r) {
           return r->plural == resource.plural && r->group == resource.group && r->cache == resource.cache;
         });
}

std::vector<std::shared_ptr<Caches::Entry>> Caches::entries_of(std::string_view cluster, bool needed_only) const {
  std::vector<std::shared_ptr<Entry>> all, needed;
  for (auto it = entries_.lower_bound(Slot{cluster, {}, {}, {}}); it != entries_.end() && std::get<0>(it->first) == cluster; ++it) {
    all.push_back(it->second);
    if (is_needed(*it->second->store.kind().resource)) needed.push_back(it->second);
  }
  return needed_only && !needed.empty() ? needed : all;
}

void Caches::begin_vision(std::unique_ptr<Vision>& vision) {
  const auto now = env_.now();
  vision = std::make_unique<Vision>();
  vision->began = now.mono;
  vision->sight = {.seen = false, .since = now.wall, .why = "not everything has been read yet"};
  if (missed_at_ != MonoTime::min() && now.mono - missed_at_ < missed_lasts) vision->sight.since = std::min(now.wall, missed_since_);
  if (!look_timer_) look_timer_ = env_.at(now.mono + look_period, [this] { look(); });
}

// The earliest last contact of all that has trouble: what was not seen since then is not known.
std::optional<Caches::Trouble> Caches::find_trouble(std::string_view cluster, const Vision& vision, MonoTime now) const {
  std::optional<Trouble> out;
  const auto add = [&](MonoTime since, bool dark, auto why) {
    if (!out || since < out->since) out = Trouble{since, why(), dark || (out && out->dark)};
    out->dark = out->dark || dark;
  };
  const bool silent = vision.failed_probes >= probes_to_fail;
  for (const auto& e : entries_of(cluster, true)) {
    const auto& r = e->reflector;
    const auto since = r.synced() ? r.contact() : vision.began;
    const std::string plural(e->store.kind().resource->plural);
    const auto told = [&] { return r.last_error().empty() ? std::string() : ": " + r.last_error(); };
    const bool nothing_comes = now - r.heard() > options_.contact;
    if (silent)
      add(since, true, [&] { return "its API server does not answer" + told(); });
    else if (r.refusal())
      add(since, true, [&] { return plural + " may not be watched: " + r.refusal()->message; });
    else if (!r.synced())
      add(since, nothing_comes, [&] { return plural + " have not been read yet" + told(); });
    else if (r.doubted())
      add(since, nothing_comes, [&] { return plural + " are being read anew: the versions show that something was missed"; });
    else if (now - r.contact() > options_.contact)
      add(since, nothing_comes, [&] { return "nothing was heard of " + plural + " for " + seconds_of(now - r.contact()) + told(); });
  }
  return out;
}

Sight Caches::sight(std::string_view cluster) const {
  if (sight_asked_) sight_asked_(cluster);
  const auto it = visions_.find(cluster);
  if (it == visions_.end()) return {.seen = false, .since = {}, .why = "not connected"};
  const auto& vision = *it->second;
  if (!vision.sight.seen) return vision.sight;
  const auto now = env_.now();
  const auto trouble = find_trouble(cluster, vision, now.mono);  // look() tells it within a second
  if (!trouble) return vision.sight;
  return {
      .seen = false, .since = std::chrono::floor<std::chrono::microseconds>(now.wall - (now.mono - trouble->since)), .why = trouble->why};
}

void Caches::look() {
  look_timer_ = env_.at(env_.now().mono + look_period, [this] { look(); });
  std::vector<std::string> there;  // listeners may connect and drop
  there.reserve(visions_.size());
  for (const auto& [cluster, vision] : visions_) there.push_back(cluster);
  for (const auto& cluster : there)
    if (const auto it = visions_.find(cluster); it != visions_.end()) look_at(cluster, *it->second);
}

void Caches::look_soon() {
  look_timer_ = env_.at(env_.now().mono, [this] { look(); });
}

void Caches::look_at(const std::string& cluster, Vision& vision) {
  const auto now = env_.now();
  auto& sight = vision.sight;
  if (const auto trouble = find_trouble(cluster, vision, now.mono)) {
    if (trouble->dark) vision.dark = now.mono;
    vision.back = false;
    const bool news = std::exchange(sight.seen, false);
    sight.why = trouble->why;
    if (!news) return;
    sight.since = std::chrono::floor<std::chrono::microseconds>(now.wall - (now.mono - trouble->since));
    log_(Level::warning, "a cluster is out of sight", {{"cluster", cluster}, {"since", format_rfc3339(sight.since)}, {"why", sight.why}});
    return tell_sight(cluster);
  }
  if (sight.seen) return;
  const auto needed = entries_of(cluster, true);
  if (!std::exchange(vision.back, true))
    for (const auto& e : needed) e->forget_mark();
  bool all = !needed.empty();
  for (const auto& e : needed) {
    if (has_passed(*e, vision)) continue;
    all = false;
    sight.why =
        "its API server answers again; what has happened meanwhile to " + std::string(e->store.kind().resource->plural) + " is being read";
    pursue(e);
  }
  if (!all || now.mono < vision.hold) return;
  for (const auto& e : needed) {
    e->forget_mark();
    e->rereads = 0;
  }
  sight = {.seen = true, .since = now.wall, .why = {}};
  log_(Level::info, "a cluster is in sight", {{"cluster", cluster}});
  tell_sight(cluster);
}

// The newest state was read after the darkness, or the watch has come past a version that the collection had after it.
bool Caches::has_passed(Entry& e, const Vision& vision) const {
  return (e.reflector.read() != MonoTime::min() && e.reflector.read() >= vision.dark) || (e.mark != 0 && e.reflector.version() >= e.mark);
}

void Caches::pursue(const std::shared_ptr<Entry>& e) {
  const auto now = env_.now().mono;
  if (e->reread || e->asking || now < e->retry) return;
  const bool late = e->mark != 0 && now >= e->marked + mark_wait;
  if (late || (e->store.size() <= small_collection && e->rereads == 0)) {
    e->reread = e->reflector.reread();
    e->rereads += e->reread ? 1 : 0;
    return;
  }
  if (e->mark != 0) return;
  Call call{.cluster = e->cluster, .verb = Verb::list, .resource = e->store.kind().resource, .query = "limit=1"};
  call.name_space = e->what.name_space;
  call.timeout = mark_timeout;
  const auto version = std::make_shared<std::string>();
  e->asking = env_.call(
      std::move(call),
      [version](std::string_view frame) {  // the list's own metadata comes last
        Pool pool;
        if (const auto read = decode<ListEnd>(frame, pool)) *version = read->metadata.resource_version.str();
      },
      [this, entry = e.get(), version](Result<void> end) {
        const auto held = std::exchange(entry->asking, nullptr);
        entry->mark = end ? version_number(*version) : 0;
        entry->marked = env_.now().mono;
        if (entry->mark == 0) entry->retry = env_.now().mono + mark_retry;
      });
}

void Caches::tell_sight(const std::string& cluster) const {
  for (const auto& tell : sight_changes_) tell(cluster);
}

void Caches::missed(WallTime since, std::string why) {
  const auto now = env_.now();
  if (since >= now.wall) return;
  missed_since_ = since;
  missed_at_ = now.mono;
  std::vector<std::string> changed;
  for (const auto& [cluster, vision] : visions_) {
    auto& sight = vision->sight;
    sight = {.seen = false, .since = sight.seen ? since : std::min(since, sight.since), .why = why};
    vision->hold = now.mono + missed_hold;
    vision->back = false;
    changed.push_back(cluster);
  }
  for (const auto& cluster : changed) tell_sight(cluster);
}

}  // namespace reconcile
