#include "reconcile/cache/equal.hpp"

namespace reconcile {
namespace {

template <class T>
bool same(const void* a, const void* b) {
  return *static_cast<const T*>(a) == *static_cast<const T*>(b);
}

}  // namespace

bool equal(const Type& type, const void* a, const void* b, const void* skip) {
  using Kind = Type::Kind;
  if (a == skip) return true;
  switch (type.kind) {
    case Kind::boolean: return same<bool>(a, b);
    case Kind::integer: return same<std::int64_t>(a, b);
    case Kind::seconds: return same<std::chrono::seconds>(a, b);
    case Kind::string: return same<std::string>(a, b);
    case Kind::text: return same<Text>(a, b);
    case Kind::names: return same<std::uint8_t>(a, b);
    case Kind::time: return same<WallTime>(a, b);
    case Kind::micro_time: return same<MicroTime>(a, b);
    case Kind::int_or_percent: return same<IntOrPercent>(a, b);
    case Kind::labels: return same<Labels>(a, b);
    case Kind::json: return same<Json>(a, b);
    case Kind::list:
    case Kind::optional: {
      const auto x = type.items(a), y = type.items(b);
      if (x.size() != y.size()) return false;
      for (std::size_t i = 0; i < x.size(); i += type.stride)
        if (!equal(*type.item, x.data() + i, y.data() + i, skip)) return false;
      return true;
    }
    case Kind::object:
      for (const Field& field : type.fields) {
        // A field's accessor takes a mutable object because the decoder writes through it; this only reads.
        if (!equal(*field.type, field.at(const_cast<void*>(a)), field.at(const_cast<void*>(b)), skip)) return false;
      }
      return true;
  }
  return false;
}

}  // namespace reconcile
