// View: what loops see of all caches. Reads only; objects are immutable and shared, so a snapshot is a copy of pointers. For the
// thread that owns the Env only; the pointers that it hands out may go to any thread.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "reconcile/cache/sight.hpp"
#include "reconcile/kube/kind.hpp"

namespace reconcile {

template <class T>
using Ref = std::shared_ptr<const T>;

// An index of a store: an object stands under every value that `values` emits. Plain data, so that programs list them as constants.
struct Index {
  std::string_view name;
  const Kind* kind;
  void (*values)(const void* object, const std::function<void(std::string_view)>& emit);
};
// constexpr auto hosts_by_consumer = index<Host>("consumer", [](const Host& h, auto& emit) { if (...) emit(h.spec.consumer_ref->uid); });
template <class T, class F>
constexpr Index index(std::string_view name, F) {
  return {name, &kind_of<T>,
          [](const void* o, const std::function<void(std::string_view)>& emit) { F{}(*static_cast<const T*>(o), emit); }};
}

class View {
 public:
  virtual ~View() = default;

  // `cluster`: a connection's id, "" is the meta cluster. An unknown connection or kind holds nothing and isn't synced.
  template <class T>
  Ref<T> get(std::string_view cluster, std::string_view name_space, std::string_view name) const {
    return std::static_pointer_cast<const T>(get_any(cluster, kind_of<T>, name_space, name));
  }
  template <class T>
  std::vector<Ref<T>> list(std::string_view cluster, std::string_view name_space = {}) const {  // "": all namespaces; by key
    return cast<T>(list_any(cluster, kind_of<T>, name_space));
  }
  template <class T>
  std::vector<Ref<T>> by_index(std::string_view cluster, const Index& index, std::string_view value) const {  // by key
    return cast<T>(index_any(cluster, index, value));
  }
  // The first list is complete. An absence means something only then.
  template <class T>
  bool synced(std::string_view cluster) const {
    return synced_any(cluster, kind_of<T>);
  }
  // When *we* saw that object last change (by our own clock): how fresh a Lease is. min() if it is not there.
  template <class T>
  MonoTime seen(std::string_view cluster, std::string_view name_space, std::string_view name) const {
    return seen_any(cluster, kind_of<T>, name_space, name);
  }
  // Whether that cluster can be seen now.
  virtual Sight sight(std::string_view /*cluster*/) const { return {.seen = true}; }
  // For how long the watch of that kind has been without contact; 0: it is live. Our own lag must be discounted before anything is
  // judged silent.
  template <class T>
  std::chrono::nanoseconds lag(std::string_view cluster) const {
    return lag_any(cluster, kind_of<T>);
  }

 protected:
  virtual Ref<void> get_any(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name) const = 0;
  virtual std::vector<Ref<void>> list_any(std::string_view cluster, const Kind& kind, std::string_view name_space) const = 0;
  virtual std::vector<Ref<void>> index_any(std::string_view cluster, const Index& index, std::string_view value) const = 0;
  virtual bool synced_any(std::string_view cluster, const Kind& kind) const = 0;
  virtual MonoTime seen_any(std::string_view cluster, const Kind& kind, std::string_view name_space, std::string_view name) const = 0;
  virtual std::chrono::nanoseconds lag_any(std::string_view cluster, const Kind& kind) const = 0;

 private:
  template <class T>
  static std::vector<Ref<T>> cast(std::vector<Ref<void>> all) {
    std::vector<Ref<T>> out;
    out.reserve(all.size());
    for (auto& o : all) out.push_back(std::static_pointer_cast<const T>(std::move(o)));
    return out;
  }
};

}  // namespace reconcile
