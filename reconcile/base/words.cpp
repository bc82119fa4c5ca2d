#include "reconcile/base/words.hpp"

#include <array>
#include <mutex>

#include "reconcile/base/describe.hpp"

namespace reconcile {
namespace {

constexpr std::uint8_t no_place = 255;
constexpr std::size_t longest = 64;  // enums' words are short; a longer one is cut, so that a lying server can't fill the memory

struct Words {
  std::mutex mutex;
  std::array<std::string, no_place - first_unknown_word> kept;
  std::size_t count = 0;
};
Words& words() {
  static Words w;
  return w;
}

std::string at(std::string_view place, std::string_view rest) {
  std::string out(place);
  if (rest[0] != '[' && rest[0] != ':') out += '.';
  return out.append(rest);
}

std::string find(const Type& type, const void* value) {
  using Kind = Type::Kind;
  if (type.kind == Kind::names) {
    const auto word = *static_cast<const std::uint8_t*>(value);
    return word < type.names.size() ? "" : std::string(": ").append(unknown_word(word));
  }
  if (type.kind == Kind::list || type.kind == Kind::optional) {
    const auto items = type.items(value);
    for (std::size_t i = 0; i < items.size(); i += type.stride) {
      const std::string found = find(*type.item, items.data() + i);
      if (found.empty()) continue;
      return type.kind == Kind::optional ? found : at("[" + std::to_string(i / type.stride) + "]", found);
    }
  }
  if (type.kind == Kind::object) {
    for (const Field& field : type.fields)
      if (const std::string found = find(*field.type, field.at(const_cast<void*>(value))); !found.empty()) return at(field.name, found);
  }
  return "";
}

}  // namespace

std::uint8_t unknown_word_value(std::string_view word) {
  auto& w = words();
  word = word.substr(0, longest);
  const std::lock_guard lock(w.mutex);
  for (std::size_t i = 0; i < w.count; ++i)
    if (w.kept[i] == word) return static_cast<std::uint8_t>(first_unknown_word + i);
  if (w.count == w.kept.size()) return no_place;
  w.kept[w.count] = word;
  return static_cast<std::uint8_t>(first_unknown_word + w.count++);
}

std::string_view unknown_word(std::uint8_t value) {
  auto& w = words();
  const std::lock_guard lock(w.mutex);
  const std::size_t i = value - first_unknown_word;
  return value >= first_unknown_word && i < w.count ? std::string_view(w.kept[i]) : std::string_view();
}

std::string find_unknown_word(const Type& type, const void* object) { return find(type, object); }

}  // namespace reconcile
