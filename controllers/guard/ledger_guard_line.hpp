// Line: who was refused and waits for room, the oldest first. Bounded: who doesn't find a place asks again by itself.
#pragma once
#include <cstddef>
#include <list>
#include <map>
#include <utility>
#include <vector>

#include "reconcile/run/guard.hpp"

namespace endstate::guard {

class Line {
 public:
  // False: there is no place.
  bool add(const reconcile::PermitRequest& request) {
    const Who who = who_of(request);
    if (const auto at = places_.find(who); at != places_.end()) {
      *at->second = request;
      return true;
    }
    if (places_.size() >= max_waiting) return false;
    places_[who] = waiting_.insert(waiting_.end(), request);
    return true;
  }
  void remove(const reconcile::PermitRequest& request) {
    const auto at = places_.find(who_of(request));
    if (at == places_.end()) return;
    waiting_.erase(at->second);
    places_.erase(at);
  }
  // The first ones, who go to the end meanwhile: whoever stands behind one that waits for a schedule gets a turn.
  std::vector<reconcile::PermitRequest> next(std::size_t n) {
    std::vector<reconcile::PermitRequest> out;
    for (; out.size() < n && out.size() < places_.size(); waiting_.splice(waiting_.end(), waiting_, waiting_.begin()))
      out.push_back(waiting_.front());
    return out;
  }
  bool empty() const { return places_.empty(); }
  std::size_t size() const { return places_.size(); }
  void clear() {
    waiting_.clear();
    places_.clear();
  }

 private:
  static constexpr std::size_t max_waiting = 10'000;
  using Who = std::pair<reconcile::Text, reconcile::Text>;
  static Who who_of(const reconcile::PermitRequest& r) { return {r.subject_uid, r.component}; }
  std::list<reconcile::PermitRequest> waiting_;
  std::map<Who, std::list<reconcile::PermitRequest>::iterator> places_;
};

}  // namespace endstate::guard
