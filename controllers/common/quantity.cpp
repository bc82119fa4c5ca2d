#include "controllers/common/quantity.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace endstate {
namespace {

constexpr Wide per_one = 1'000'000'000;
constexpr Wide largest = Wide{std::numeric_limits<std::int64_t>::max()} * per_one;
constexpr std::size_t most_digits = 28;  // that tell two quantities apart: nothing larger than `largest`, nothing finer than a nano

struct Scale {
  int ten = 0, two = 0;  // times 10^ten, times 2^two
};

std::optional<Scale> scale_of(std::string_view suffix) {
  static constexpr std::string_view binary = "KMGTPE", decimal = "num kMGTPE";
  if (suffix.empty()) return Scale{};
  if (suffix.size() == 2 && suffix[1] == 'i') {
    const auto at = binary.find(suffix[0]);
    if (at == std::string_view::npos) return std::nullopt;
    return Scale{0, 10 * (static_cast<int>(at) + 1)};
  }
  if (suffix.size() == 1 && suffix != " " && suffix != "e") {
    const auto at = decimal.find(suffix[0]);
    if (at == std::string_view::npos) return std::nullopt;
    return Scale{3 * (static_cast<int>(at) - 3), 0};
  }
  if (suffix[0] != 'e' && suffix[0] != 'E') return std::nullopt;
  suffix.remove_prefix(1);
  if (suffix.starts_with('+')) suffix.remove_prefix(1);
  int ten = 0;
  const auto [end, error] = std::from_chars(suffix.data(), suffix.data() + suffix.size(), ten);
  if (error != std::errc() || end != suffix.data() + suffix.size()) return std::nullopt;
  return Scale{std::clamp(ten, -1'000, 1'000), 0};
}

struct Number {
  Wide value = 0;  // not negative; times 10^ten nanos
  int ten = 9;
  bool rest = false;  // and something that was left away
  void drop_digit() {
    rest = rest || value % 10 != 0;
    value /= 10;
    ++ten;
  }
};

// In nanos, rounded away from 0 as Kubernetes does.
Wide scaled(Number n, Scale scale) {
  constexpr Wide room = Wide{1} << 125;
  n.ten += scale.ten;
  for (int i = 0; i < scale.two; ++i) {
    while (n.value > room && n.ten < 0) n.drop_digit();
    if (n.value > room) return largest;
    n.value *= 2;
  }
  while (n.ten < 0 && n.value != 0) n.drop_digit();
  for (; n.ten > 0 && n.value != 0; --n.ten) {
    if (n.value > largest) return largest;
    n.value *= 10;
  }
  return std::min(n.value + (n.rest ? 1 : 0), largest);
}

// The digits at the front of `text`, which go; nullopt: there are none.
std::optional<Number> number_of(std::string_view& text) {
  Number out;
  bool point = false, any = false;
  std::size_t kept = 0, at = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    any = true;
    if (kept == most_digits) {
      out.rest = out.rest || c != '0';
      if (!point) ++out.ten;
      continue;
    }
    if (out.value != 0 || c != '0') ++kept;
    out.value = out.value * 10 + (c - '0');
    if (point) --out.ten;
  }
  text.remove_prefix(at);
  return any ? std::optional(out) : std::nullopt;
}

}  // namespace

std::int64_t Quantity::whole() const {
  const Wide up = nanos > 0 ? (nanos + per_one - 1) / per_one : nanos / per_one;
  return static_cast<std::int64_t>(up);
}

std::optional<Quantity> parse_quantity(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto number = number_of(text);
  const auto scale = number ? scale_of(text) : std::nullopt;
  if (!scale) return std::nullopt;
  const Wide nanos = scaled(*number, *scale);
  return Quantity{negative ? -nanos : nanos};
}

}  // namespace endstate
