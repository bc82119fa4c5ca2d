#include "reconcile/run/waits.hpp"

#include <algorithm>

namespace reconcile {

Waits::Place Waits::place(std::string_view cluster, const Resource& r) { return {std::string(cluster), r.plural, r.group, r.cache}; }

void Waits::add(const Waiter& waiter, const std::vector<Wait>& waits) {
  drop(waiter);
  for (const auto& w : waits) {
    auto& at = places_[place(w.cluster, *w.kind->resource)];
    if (w.gone_uid.empty())
      at.versions.emplace(w.version, waiter);
    else
      at.gone.emplace(w.key, std::pair(w.gone_uid, waiter));
    ++open_[waiter];
  }
}

void Waits::drop(const Waiter& waiter) {
  if (open_.erase(waiter) == 0) return;
  for (auto& [where, place] : places_) {
    std::erase_if(place.versions, [&](const auto& v) { return v.second == waiter; });
    std::erase_if(place.gone, [&](const auto& g) { return g.second.second == waiter; });
  }
}

void Waits::over(const Waiter& waiter, std::vector<Waiter>& out) {
  const auto it = open_.find(waiter);
  if (it == open_.end() || --it->second > 0) return;
  open_.erase(it);
  out.push_back(waiter);
}

std::vector<Waits::Waiter> Waits::reached(std::string_view cluster, const Resource& resource, std::uint64_t version) {
  std::vector<Waiter> out;
  if (open_.empty()) return out;  // nearly always: this is called for every event
  const auto it = places_.find(place(cluster, resource));
  if (it == places_.end()) return out;
  auto& versions = it->second.versions;
  while (!versions.empty() && versions.begin()->first <= version) {
    const Waiter waiter = versions.begin()->second;
    versions.erase(versions.begin());
    over(waiter, out);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Waits::Waiter> Waits::gone(std::string_view cluster, const Resource& resource, const Key& key, std::string_view uid) {
  std::vector<Waiter> out;
  if (open_.empty()) return out;
  const auto it = places_.find(place(cluster, resource));
  if (it == places_.end()) return out;
  auto [from, to] = it->second.gone.equal_range(key);
  while (from != to) {
    if (!(from->second.first == uid)) {
      ++from;
      continue;
    }
    const Waiter waiter = from->second.second;
    from = it->second.gone.erase(from);
    over(waiter, out);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Waits::Waiter> Waits::forget(std::string_view cluster, const Resource* resource) {
  std::vector<Waiter> out;
  for (auto it = places_.begin(); it != places_.end();) {
    if (std::get<0>(it->first) != cluster || (resource && it->first != place(cluster, *resource))) {
      ++it;
      continue;
    }
    for (const auto& [version, waiter] : it->second.versions) over(waiter, out);
    for (const auto& [key, wait] : it->second.gone) over(wait.second, out);
    it = places_.erase(it);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace reconcile
