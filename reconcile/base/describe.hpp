// A type is described once, as constexpr data beside it. Decoding, encoding, the CRD's schema and the reference page are plain
// functions over that data (reconcile/json/). No macros, no code generation.
//
//   struct PackageRef { Text name; Text version; };
//   consteval auto describe(const PackageRef*) {
//     return object("A package slot.", field<&PackageRef::name>("name", "The slot.", {.required = true}),
//                   field<&PackageRef::version>("version", "Which one.", {.max_length = 253}))
//         .check("self.name != self.version", "name and version must differ");
//   }
//
// C++ type            JSON                                      absent when
// bool, std::int64_t  boolean, integer                          never: a plain scalar is always written (statuses)
// std::optional<T>    as T                                      nullopt (user-written scalars: no default hides in the type)
// std::chrono::seconds integer, a field named ...Seconds        never
// Text, std::string   string                                    empty
// enum                string, one of names; names[0] may be ""  its name is ""; of an unknown word see words.hpp
// WallTime, MicroTime RFC 3339 string                           the epoch
// IntOrPercent        integer or "10%"                          never (use optional)
// Labels              object of strings                         empty
// Json                anything, kept as raw text                empty
// JsonOf<T>           as T, kept as raw text                    empty
// std::vector<T>      array                                     empty
// a described struct  object                                    all its fields are absent and it is not required
#pragma once
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "reconcile/base/text.hpp"
#include "reconcile/base/time.hpp"
#include "reconcile/base/words.hpp"

namespace reconcile {

// A count, or a share of a total in percent (intstr.IntOrString in k8s.io/apimachinery; decimals are not allowed).
struct IntOrPercent {
  std::int64_t value = 0;
  bool percent = false;
  friend bool operator==(const IntOrPercent&, const IntOrPercent&) = default;
};

// An ordered flat map of strings: labels, annotations, ConfigMap data. Sorted by key, keys unique.
class Labels {
 public:
  using Entry = std::pair<Text, Text>;
  Labels() = default;
  Labels(std::initializer_list<std::pair<std::string_view, std::string_view>> entries) {
    for (const auto& [k, v] : entries) set(k, v);
  }
  // Empty if absent; use has() where an empty value differs from none.
  std::string_view get(std::string_view key) const {
    const auto it = find(key);
    return it != entries_.end() && it->first == key ? it->second.view() : std::string_view();
  }
  bool has(std::string_view key) const {
    const auto it = find(key);
    return it != entries_.end() && it->first == key;
  }
  void set(Text key, Text value) {
    const auto it = find(key.view());
    const auto at = entries_.begin() + (it - entries_.begin());
    if (at != entries_.end() && at->first == key)
      at->second = std::move(value);
    else
      entries_.insert(at, {std::move(key), std::move(value)});
  }
  void erase(std::string_view key) {
    const auto it = find(key);
    if (it != entries_.end() && it->first == key) entries_.erase(it);
  }
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  // Every entry of `selector` is here too (metav1.LabelSelector.matchLabels; an empty selector matches everything).
  bool contains(const Labels& selector) const {
    for (const auto& [k, v] : selector)
      if (!has(k) || get(k) != v.view()) return false;
    return true;
  }
  friend bool operator==(const Labels&, const Labels&) = default;

 private:
  std::vector<Entry>::const_iterator find(std::string_view key) const {
    auto lo = entries_.begin();
    for (auto n = entries_.size(); n > 0;) {
      const auto half = n / 2;
      if (lo[static_cast<std::ptrdiff_t>(half)].first.view() < key) {
        lo += static_cast<std::ptrdiff_t>(half) + 1;
        n -= half + 1;
      } else {
        n = half;
      }
    }
    return lo;
  }
  std::vector<Entry> entries_;
};

// Any JSON value, kept as the text it came in (a Job template, a ControllerRevision's data).
struct Json {
  Text raw;
  friend bool operator==(const Json&, const Json&) = default;
};

// A described T that is passed on unread: the schema is T's, the record holds one shared text. encode() makes it, decode<T>() reads it.
template <class T>
struct JsonOf : Json {
  using Schema = T;
  friend bool operator==(const JsonOf&, const JsonOf&) = default;
};

struct Type;
struct Cel {
  std::string_view rule, message;
};
// Validation of one field, copied into the CRD as it stands.
struct Rules {
  bool required = false;
  std::optional<std::int64_t> minimum{}, maximum{}, min_length{}, max_length{}, min_items{}, max_items{}, max_properties{};
  std::string_view pattern{};  // RE2, anchored by its author
  std::string_view format{};
  std::string_view list_key{};  // makes a list a map list (x-kubernetes-list-type: map)
  bool set = false;             // a list of unique scalars (x-kubernetes-list-type: set)
  bool unique = false;          // a Text that is hardly ever the same twice (a resourceVersion): decoded without a place in the pool
  bool atomic = false;          // x-kubernetes-map-type / list-type: atomic
  std::array<Cel, 3> cel{};     // an entry with an empty rule is unused
};
struct Field {
  std::string_view name, doc;
  const Type* type;
  void* (*at)(void* object);  // all the machine code that a field costs
  Rules rules{};
};
inline constexpr std::size_t max_checks = 12;
template <std::size_t N>
struct Object {
  std::string_view doc;
  std::array<Field, N> fields;
  std::array<Cel, max_checks> checks{};  // CEL over the whole object, as in x-kubernetes-validations
  std::size_t check_count = 0;
  consteval Object check(std::string_view rule, std::string_view message) const {
    Object copy = *this;
    copy.checks[copy.check_count++] = {rule, message};
    return copy;
  }
};
template <std::size_t N>
struct Names {
  std::string_view doc;
  std::array<std::string_view, N> names;
};

struct Type {
  enum class Kind : std::uint8_t {
    boolean,
    integer,
    seconds,
    string,
    text,
    names,
    time,
    micro_time,
    int_or_percent,
    labels,
    json,
    list,
    optional,
    object
  };
  Kind kind;
  std::string_view doc{};
  std::span<const Field> fields{};                             // object
  std::span<const Cel> checks{};                               // object
  std::span<const std::string_view> names{};                   // enum (of std::uint8_t): index is the value
  const Type* item = nullptr;                                  // of a list, an optional, or a JsonOf
  void* (*grow)(void*) = nullptr;                              // list: append one; optional: engage; returns the new item
  void (*clear)(void*) = nullptr;                              // list, optional
  std::span<const std::byte> (*items)(const void*) = nullptr;  // list: all; optional: none or one
  std::size_t stride = 0;                                      // sizeof an item
};

template <class T>
consteval Type make_type();
template <class T>
inline constexpr Type type_of = make_type<T>();
template <class T>
inline constexpr auto described = describe(static_cast<const T*>(nullptr));  // found by ADL

template <auto M>
struct Member;
template <class T, class V, V T::*M>
struct Member<M> {
  using Value = V;
  static void* at(void* o) { return &(static_cast<T*>(o)->*M); }
};
template <auto M>
consteval Field field(std::string_view name, std::string_view doc, Rules rules = {}) {
  return {name, doc, &type_of<typename Member<M>::Value>, &Member<M>::at, rules};
}
template <std::same_as<Field>... F>
consteval auto object(std::string_view doc, F... f) {
  return Object<sizeof...(F)>{doc, {f...}};
}
template <class... S>
consteval auto names(std::string_view doc, S... s) {
  return Names<sizeof...(S)>{doc, {s...}};
}
// Whether this version knows the word that was read (words.hpp).
template <class E>
requires std::is_enum_v<E>
constexpr bool is_known(E value) { return static_cast<std::size_t>(value) < described<E>.names.size(); }
// The text of an enum value, for messages and comparisons; of a word that isn't known, the word.
template <class E>
requires std::is_enum_v<E>
constexpr std::string_view name_of(E value) {
  return is_known(value) ? described<E>.names[static_cast<std::size_t>(value)] : unknown_word(static_cast<std::uint8_t>(value));
}
template <class T>
std::string find_unknown_word(const T& object) {
  return find_unknown_word(type_of<T>, &object);
}

template <class C>
consteval Type make_container(Type::Kind kind) {
  using E = typename C::value_type;
  return {.kind = kind,
          .item = &type_of<E>,
          .grow = [](void* c) -> void* {
            if constexpr (requires(C x) { x.emplace_back(); })
              return &static_cast<C*>(c)->emplace_back();
            else
              return &static_cast<C*>(c)->emplace();
          },
          .clear = [](void* c) { *static_cast<C*>(c) = C{}; },
          .items = [](const void* c) -> std::span<const std::byte> {
            const auto& x = *static_cast<const C*>(c);
            if constexpr (requires { x.has_value(); })
              return std::as_bytes(std::span(x ? &*x : nullptr, x ? 1 : 0));
            else
              return std::as_bytes(std::span(x));
          },
          .stride = sizeof(E)};
}
template <class T>
consteval Type make_type() {
  using K = Type::Kind;
  if constexpr (std::same_as<T, bool>)
    return {.kind = K::boolean};
  else if constexpr (std::same_as<T, std::int64_t>)
    return {.kind = K::integer};
  else if constexpr (std::same_as<T, std::chrono::seconds>)
    return {.kind = K::seconds};
  else if constexpr (std::same_as<T, Text>)
    return {.kind = K::text};
  else if constexpr (std::same_as<T, std::string>)
    return {.kind = K::string};
  else if constexpr (std::same_as<T, WallTime>)
    return {.kind = K::time};
  else if constexpr (std::same_as<T, MicroTime>)
    return {.kind = K::micro_time};
  else if constexpr (std::same_as<T, IntOrPercent>)
    return {.kind = K::int_or_percent};
  else if constexpr (std::same_as<T, Labels>)
    return {.kind = K::labels};
  else if constexpr (std::same_as<T, Json>)
    return {.kind = K::json};
  else if constexpr (std::derived_from<T, Json>)
    return {.kind = K::json, .item = &type_of<typename T::Schema>};
  else if constexpr (std::is_enum_v<T>) {
    static_assert(sizeof(T) == 1, "a described enum is an enum class : std::uint8_t");
    static_assert(described<T>.names.size() < first_unknown_word, "the values from there on are words that aren't known");
    return {.kind = K::names, .doc = described<T>.doc, .names = described<T>.names};
  } else if constexpr (requires(T t) { t.emplace_back(); })
    return make_container<T>(K::list);
  else if constexpr (requires(T t) { t.has_value(); })
    return make_container<T>(K::optional);
  else
    return {.kind = K::object,
            .doc = described<T>.doc,
            .fields = described<T>.fields,
            .checks = std::span(described<T>.checks.data(), described<T>.check_count)};
}

}  // namespace reconcile
