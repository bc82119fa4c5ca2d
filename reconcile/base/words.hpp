// Words of an enum that this version doesn't know: an older operator reads objects of a newer one (`helm rollback`, a standby during an
// upgrade). Such a word is kept: its value is none of the enum's own, compares unequal to all of them, and is written back as it was read.
// So no plan acts on it by accident, and no write loses it. At most 127 different ones a process; the rest share one value, whose name is
// "".
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace reconcile {

struct Type;

inline constexpr std::uint8_t first_unknown_word = 128;  // a described enum has fewer names than this
std::uint8_t unknown_word_value(std::string_view word);  // any thread
std::string_view unknown_word(std::uint8_t value);       // valid for ever; "" of what has no place left

// Where in an object a word stands that this version doesn't know: "spec.limits[0].scope: Zone"; empty: nowhere. Json members aren't looked
// into: who decodes them decides by itself.
std::string find_unknown_word(const Type& type, const void* object);

}  // namespace reconcile
