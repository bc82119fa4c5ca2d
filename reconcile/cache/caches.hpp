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

struct Watched {
  const Kind* kind = nullptr;
  std::string name_space{}, selector{};
};
struct CachesOptions {
  bool streaming = true;  // ReflectorOptions::streaming
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

  Caches(Env& env, Log log, CachesOptions options = {}) : env_(env), log_(std::move(log)), options_(options) {}
  ~Caches() override;
  Caches(const Caches&) = delete;
  Caches& operator=(const Caches&) = delete;

  // Several may listen; they are called in order, and can't be taken off again: they live as long as this.
  void on_change(Change change) { changes_.push_back(std::move(change)); }
  void on_progress(Progress progress) { progresses_.push_back(std::move(progress)); }

  void watch(const std::string& cluster, const Watched& what);  // no-op if that kind is watched there already
  void drop(const std::string& cluster);                        // no handler hears of the objects that go with it
  // That API server has not answered our probe since then: every watch of it lags at least so much. nullopt: it answers.
  void unreachable(const std::string& cluster, std::optional<MonoTime> since);

  bool watches(std::string_view cluster, const Resource& resource) const;
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
  using Slot = std::tuple<std::string_view, std::string_view, std::string_view, std::string_view>;  // cluster, plural, group, cache
  const Entry* find_entry(std::string_view cluster, const Resource& resource) const;

  Env& env_;
  Log log_;
  CachesOptions options_;
  Pool pool_;
  std::vector<Change> changes_;
  std::vector<Progress> progresses_;
  std::map<std::string, MonoTime, std::less<>> unreachable_;
  std::map<Slot, std::shared_ptr<Entry>> entries_;  // the views point into the entry and the kind's Resource
  std::list<Handle> graves_;                        // of dropped entries, until the call stack that dropped them is gone
};

}  // namespace reconcile
