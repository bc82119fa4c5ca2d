// HostPool: which free Host a new machine takes. Spread over failure domains (the domain where the machine's group has the fewest
// machines), and deterministic per machine, so that 2,000 machines that look at the same free hosts don't all grab the same one.
//
// It is a hint, not a lock: the claim itself is a compare-and-swap on the Host. Its reservations only keep this process from choosing
// one host twice while the first claim is on its way through the cache; losing them costs a 409 and a second look.
//
// Pure: time is passed in. Not thread safe: it belongs to the Env's thread.
#pragma once
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "reconcile/base/text.hpp"
#include "reconcile/base/time.hpp"

namespace endstate {

class HostPool {
 public:
  struct Free {
    reconcile::Text uid, name, domain;  // domain: where it can fail together with others (rack, else idc); empty: one more domain
  };
  struct Used {
    reconcile::Text group, domain;  // a claimed host: whose group it serves
  };
  static constexpr std::chrono::seconds reservation{10};  // longer than a claim needs to come back through the cache
  static constexpr std::chrono::seconds patience{2};      // then a machine that finds nothing else takes a host that is reserved
  static constexpr std::chrono::milliseconds max_age{
      200};  // of what the caches said; that nothing is free the caller asks anew each time, it is one look

  // What the caches say is too old to choose from.
  bool stale(reconcile::MonoTime now) const;
  void refresh(const std::vector<Free>& free, const std::vector<Used>& used, reconcile::MonoTime now);

  // The host for that machine, reserved for it; asked again it is the same one while it stays free. Empty: none is free.
  // `refuse`: hosts that the caller knows to be taken after all (by name).
  reconcile::Text pick(std::string_view machine_uid, std::string_view group, reconcile::MonoTime now,
                       const std::function<bool(const reconcile::Text& name)>& refuse = {});
  // It was refused a permit, and keeps no host from others.
  void release(std::string_view machine_uid);
  std::size_t free_count() const { return free_count_; }

 private:
  struct Domain {
    reconcile::Text name;
    std::vector<Free> free;  // sorted by uid
  };
  struct Reservation {
    reconcile::Text host_uid, host_name, domain, group;
    reconcile::MonoTime until;
  };
  std::size_t& usage(std::string_view group, std::string_view domain);
  bool reserved_by_other(const Free& host, std::string_view machine_uid, reconcile::MonoTime lives_past) const;
  const Free* choose_in(const Domain& domain, std::string_view machine_uid, reconcile::MonoTime lives_past,
                        const std::function<bool(const reconcile::Text&)>& refuse) const;

  std::vector<Domain> domains_;
  std::unordered_map<std::string, std::size_t> usage_;           // group + '\n' + domain
  std::unordered_map<std::string, Reservation> reservations_;    // by machine uid
  std::unordered_map<std::string, std::string> reserved_hosts_;  // host uid -> machine uid
  std::size_t free_count_ = 0;
  std::optional<reconcile::MonoTime> refreshed_;
};

}  // namespace endstate
