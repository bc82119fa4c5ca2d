// Which URL objects of a kind have. What Kubernetes itself serves is known; what a CRD defines is learnt from the CRD, or asked for.
#pragma once
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "reconcile/kube/kind.hpp"

namespace endstate::addons {

struct GroupKind {
  std::string group, kind;
  friend auto operator<=>(const GroupKind&, const GroupKind&) = default;
};
struct Place {  // of a kind in the API
  std::string plural;
  bool namespaced = true;
};
// Of Kubernetes' own kinds.
std::optional<Place> builtin_place(std::string_view group, std::string_view kind);

inline constexpr std::size_t max_kinds = 512;  // that packages bring; more are refused, since none is ever forgotten

// Kinds that are no C++ types: of objects that are only written. They live as long as this, which is as long as the program: writes,
// logs and metrics refer to them by address. Any thread.
class Kinds {
 public:
  Kinds() = default;
  Kinds(const Kinds&) = delete;
  Kinds& operator=(const Kinds&) = delete;
  // Null: there are too many.
  const reconcile::Kind* get(std::string_view group, std::string_view version, std::string_view kind, const Place& place);

 private:
  struct Entry {
    std::string group, version, plural, kind;
    reconcile::Resource resource;
    reconcile::Kind described;
  };
  std::mutex mutex_;
  std::deque<Entry> entries_;  // never moved
  std::map<std::string, const Entry*, std::less<>> by_name_;
};

}  // namespace endstate::addons
