// Caches: the stores and reflectors of all connections, one of each for a kind and a cluster; what loops see of them is the View.
//
//   Caches caches(env, log, {});
//   caches.watch("", {.kind = &kind_of<Machine>}, on_change);     // starts
//   caches.drop("prod/hz-a");                                     // a connection that is gone: stores, watches, memory
//
// For the Env's thread only. Watched kinds are told apart by their Resource's group and plural.
#pragma once
#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/reflector.hpp"
#include "reconcile/cache/store.hpp"
#include "reconcile/cache/view.hpp"

namespace reconcile {

inline constexpr std::chrono::seconds missed_hold{15};

struct Watched {
  const Kind* kind = nullptr;
  std::string name_space{}, selector{};
};
struct CachesOptions {
  bool streaming = true;                                     // ReflectorOptions::streaming
  std::chrono::milliseconds quiet{65'000}, contact{75'000};  // the same's
  // The kinds without which a connection can't be seen (sight.hpp): those by which machines are judged. A connection that watches none of
  // them needs all that it watches. Empty: every kind.
  std::vector<const Resource*> needed{};
  // A connection that is not the meta cluster's may show so much, in all its kinds; what shows more is dropped, and tried again after
  // `excess_retry`: somebody else decides what it holds, and this process serves all others too. Bytes are of records (record_size.hpp).
  std::size_t max_objects = 200'000, max_bytes = std::size_t{128} << 20;
  std::size_t max_total_bytes = std::size_t{256} << 20;  // of all of them together: the one that holds the most is dropped
  std::chrono::seconds excess_retry{300};
};
// How one watch is, for metrics and messages.
struct WatchState {
  std::string_view cluster;
  const Kind* kind;
  bool synced;
  std::size_t objects;
  std::chrono::nanoseconds lag;
  std::uint64_t relists, undecodable;  // since it was started
  std::string_view error;              // the last one; empty while all is well
};

class Caches final : public View {
 public:
  // before/after: null for an add, a delete.
  using Change = std::function<void(std::string_view cluster, const Kind& kind, const Ref<void>& before, const Ref<void>& after)>;
  // version(cluster, kind) has moved, or that watch became synced, or (history_broke) what was written before may be gone.
  using Progress = std::function<void(std::string_view cluster, const Kind& kind, bool history_broke)>;
  using ClusterHook = std::function<void(std::string_view cluster)>;

  Caches(Env& env, Log log, CachesOptions options = {});
  ~Caches() override;
  Caches(const Caches&) = delete;
  Caches& operator=(const Caches&) = delete;

  // Several may listen; they are called in order, and can't be taken off again: they live as long as this.
  void on_change(Change change) { changes_.push_back(std::move(change)); }
  void on_progress(Progress progress) { progresses_.push_back(std::move(progress)); }
  // sight(cluster) is another than before: what was decided by it must be looked at again.
  void on_sight(ClusterHook changed) { sight_changes_.push_back(std::move(changed)); }
  // Somebody asks for sight(cluster): one listener, that remembers who must hear of a change.
  void on_sight_asked(ClusterHook asked) { sight_asked_ = std::move(asked); }

  void watch(const std::string& cluster, const Watched& what);  // no-op if that kind is watched there already
  void drop(const std::string& cluster);                        // no handler hears of the objects that go with it
  // That API server has not answered our probe since then: every watch of it lags at least so much. nullopt: it answers. The second time
  // in a row it is out of sight.
  void unreachable(const std::string& cluster, std::optional<MonoTime> since);
  // Nobody looked from `since` until now (no leader was there), or time itself has jumped from there to now: every connection is out of
  // sight from then until missed_hold from now, so that the gap is written down before anyone judges by it.
  void missed(WallTime since, std::string why);

  // Of a namespace: whether what is written there will be seen (a kind may be watched in one namespace only).
  bool watches(std::string_view cluster, const Resource& resource, std::string_view name_space = {}) const;
  // Whether a write that left the object with these labels will be seen. One that a selector hides now as before sends no event: the cache
  // passes it with the next bookmark only, which is a minute away.
  bool shows(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name, const Labels& labels) const;
  // What the cache of that kind has reached, as a number; max() if it isn't watched (there is nothing to wait for).
  std::uint64_t version(std::string_view cluster, const Resource& resource) const;
  // Compares what a GET that was sent at `sent` has answered with the cache. An object can't be newer than a cache that claims to have
  // reached its version, nor older than what the cache had before the GET: then two histories were mixed (an etcd was restored, and has
  // passed the old versions before our watch came back). No watch tells that. True: so it was.
  // What one kind shows is so of all: etcd is one. So every watch of that cluster is read again.
  bool contradicts(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name,
                   std::string_view resource_version, MonoTime sent);
  void doubt(std::string_view cluster);
  // The same of a write of ours that got that version: false when the cache claims to have reached it and holds an older object.
  bool agrees(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name, std::uint64_t version) const;
  Ref<void> find(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name) const {
    return get_any(cluster, kind, name_space, name);
  }
  // The highest resourceVersion of an *object* of that kind that the cache has seen (or of an object's end), never a bookmark's: the cache
  // of a successor has what this one had when its version() is no lower. 0: none was seen, or it isn't watched.
  std::uint64_t newest_object(std::string_view cluster, const Resource& resource) const;
  // What is there and can't be read (store.hpp), by key. A kind whose objects forbid something must be taken to forbid while this is not
  // empty: what was last read of them stands in the cache, or nothing.
  std::vector<Unreadable> unreadable(std::string_view cluster, const Kind& kind) const;
  bool any_unreadable(std::string_view cluster, const Kind& kind) const;
  std::vector<Ref<void>> all(std::string_view cluster, const Kind& kind) const { return list_any(cluster, kind, {}); }
  Sight sight(std::string_view cluster) const override;
  std::vector<WatchState> states() const;
  bool synced(std::string_view cluster) const;  // all that is watched there
  bool synced(std::string_view cluster, const Kind& kind) const { return synced_any(cluster, kind); }
  Pool& pool() { return pool_; }

 protected:
  Ref<void> get_any(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name) const override;
  std::vector<Ref<void>> list_any(std::string_view cluster, const Kind& kind, std::string_view name_space) const override;
  std::vector<Ref<void>> index_any(std::string_view cluster, const Index& index, std::string_view value) const override;
  bool synced_any(std::string_view cluster, const Kind& kind) const override;
  MonoTime seen_any(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name) const override;
  std::chrono::nanoseconds lag_any(std::string_view cluster, const Kind& kind) const override;

 private:
  struct Entry;
  struct Vision;
  struct Excess;
  using Slot = std::tuple<std::string_view, std::string_view, std::string_view, std::string_view>;  // cluster, plural, group, cache
  struct Trouble {                                                                                  // of what is needed to see a cluster
    MonoTime since{};
    std::string why{};
    bool dark = false;  // nothing comes; else it is being read
  };
  const Entry* find_entry(std::string_view cluster, const Resource& resource) const;
  std::vector<std::shared_ptr<Entry>> entries_of(std::string_view cluster, bool needed_only) const;
  bool is_needed(const Resource& resource) const;
  std::optional<Trouble> find_trouble(std::string_view cluster, const Vision& vision, MonoTime now) const;
  void begin_vision(std::unique_ptr<Vision>& vision);
  void look();  // at all connections, each second
  void look_soon();
  void look_at(const std::string& cluster, Vision& vision);
  bool has_passed(Entry& entry, const Vision& vision) const;
  void pursue(const std::shared_ptr<Entry>& entry);
  void tell_sight(const std::string& cluster) const;
  void bury(const std::string& cluster);
  void weigh(const std::string& cluster);
  void cut_off(const std::string& cluster, const std::string& why);

  Env& env_;
  Log log_;
  CachesOptions options_;
  Pool pool_;
  std::vector<Change> changes_;
  std::vector<Progress> progresses_;
  std::vector<ClusterHook> sight_changes_;
  ClusterHook sight_asked_;
  std::map<std::string, MonoTime, std::less<>> unreachable_;
  std::map<Slot, std::shared_ptr<Entry>> entries_;  // the views point into the entry and the kind's Resource
  std::map<std::string, std::unique_ptr<Vision>, std::less<>> visions_;
  std::map<std::string, std::unique_ptr<Excess>, std::less<>> excesses_;  // connections that show too much
  WallTime missed_since_{};                                               // of connections that come soon after missed()
  MonoTime missed_at_{MonoTime::min()};
  Handle look_timer_;
  std::list<Handle> graves_;  // of dropped entries, until the call stack that dropped them is gone
};

}  // namespace reconcile
