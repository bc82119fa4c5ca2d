// Waits: keys that must not be planned again before the caches have reached what the last pass wrote. A pure data structure.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "reconcile/run/actor.hpp"

namespace reconcile {

class Waits {
 public:
  using Waiter = std::pair<std::size_t, Key>;  // a loop, by number, and its key
  // Until all of `waits` are over, or drop() is called. A waiter that waits already waits for these instead. `waits` is not empty.
  void add(const Waiter& waiter, const std::vector<Wait>& waits);
  void drop(const Waiter& waiter);

  // Each gives the waiters whose last wait ended with that, sorted.
  std::vector<Waiter> reached(std::string_view cluster, const Resource& resource, std::uint64_t version);
  std::vector<Waiter> gone(std::string_view cluster, const Resource& resource, const Key& key, std::string_view uid);
  std::vector<Waiter> forget(std::string_view cluster, const Resource* resource = nullptr);  // of that kind there, or of all

  std::size_t size() const { return open_.size(); }

 private:
  using Place = std::tuple<std::string, std::string_view, std::string_view, std::string_view>;  // cluster, plural, group, cache
  struct Waiting {
    std::multimap<std::uint64_t, Waiter> versions;
    std::multimap<Key, std::pair<Text, Waiter>> gone;  // uid
  };
  static Place place(std::string_view cluster, const Resource& r);
  void over(const Waiter& waiter, std::vector<Waiter>& out);
  std::map<Place, Waiting> places_;
  std::map<Waiter, std::size_t> open_;  // how many waits are not over
};

}  // namespace reconcile
