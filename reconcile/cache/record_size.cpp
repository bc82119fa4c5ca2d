#include "reconcile/cache/record_size.hpp"

namespace reconcile {
namespace {

constexpr std::size_t text_header = 12;  // references, hash, length

std::size_t size_of(const Text& text) { return text.empty() ? 0 : text_header + text.view().size(); }

// What lies outside of the object itself.
std::size_t heap(const Type& type, const void* at) {
  using Kind = Type::Kind;
  switch (type.kind) {
    case Kind::string: return static_cast<const std::string*>(at)->size();
    case Kind::text: return size_of(*static_cast<const Text*>(at));
    case Kind::json: return size_of(static_cast<const Json*>(at)->raw);
    case Kind::labels: {
      std::size_t out = 0;
      for (const auto& [key, value] : *static_cast<const Labels*>(at)) out += sizeof(Labels::Entry) + size_of(key) + size_of(value);
      return out;
    }
    case Kind::list:
    case Kind::optional: {
      const auto items = type.items(at);
      std::size_t out = type.kind == Kind::list ? items.size() : 0;
      for (std::size_t i = 0; i < items.size(); i += type.stride) out += heap(*type.item, items.data() + i);
      return out;
    }
    case Kind::object: {
      std::size_t out = 0;
      for (const Field& field : type.fields) out += heap(*field.type, field.at(const_cast<void*>(at)));  // reads only
      return out;
    }
    default: return 0;
  }
}

// The object itself: a Type knows no sizeof, so it is put together from its fields.
std::size_t inside(const Type& type) {
  using Kind = Type::Kind;
  switch (type.kind) {
    case Kind::string: return sizeof(std::string);
    case Kind::labels:
    case Kind::list: return sizeof(std::vector<Text>);
    case Kind::optional: return sizeof(void*) + type.stride;
    case Kind::object: {
      std::size_t out = 0;
      for (const Field& field : type.fields) out += inside(*field.type);
      return out;
    }
    default: return sizeof(std::int64_t);
  }
}

}  // namespace

std::size_t record_size(const Type& type, const void* record) { return inside(type) + heap(type, record); }

}  // namespace reconcile
