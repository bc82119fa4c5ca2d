#include "controllers/common/network.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace endstate {
namespace {

using Bytes = std::vector<unsigned char>;  // 4 or 16

std::optional<Bytes> parse(std::string_view text) {
  const std::string zero_ended(text);
  Bytes v4(4), v6(16);
  if (inet_pton(AF_INET, zero_ended.c_str(), v4.data()) == 1) return v4;
  if (inet_pton(AF_INET6, zero_ended.c_str(), v6.data()) == 1) return v6;
  return std::nullopt;
}
std::string text_of(const Bytes& address) {
  std::array<char, INET6_ADDRSTRLEN> out{};
  return inet_ntop(address.size() == 4 ? AF_INET : AF_INET6, address.data(), out.data(), out.size()) ? out.data() : "";
}

struct Range {
  Bytes base;
  unsigned length;  // of the prefix
};
void cut(Bytes& address, unsigned length) {
  for (std::size_t i = 0; i < address.size(); ++i) {
    const auto kept = length >= (i + 1) * 8 ? 8u : length > i * 8 ? length - static_cast<unsigned>(i) * 8 : 0u;
    address[i] = static_cast<unsigned char>(address[i] & (0xff00u >> kept));
  }
}
std::optional<Range> parse_range(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto base = parse(text.substr(0, slash));
  unsigned length = 0;
  const auto digits = text.substr(slash + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (!base || error != std::errc() || end != digits.data() + digits.size() || length > base->size() * 8) return std::nullopt;
  cut(*base, length);
  return Range{std::move(*base), length};
}
bool holds(const Range& range, Bytes address) {
  if (address.size() != range.base.size()) return false;
  cut(address, range.length);
  return address == range.base;
}

}  // namespace

std::optional<std::string> canonical_address(std::string_view text) {
  const auto address = parse(text);
  if (!address) return std::nullopt;
  return text_of(*address);
}

std::optional<std::string> address_of(std::string_view text, unsigned n) {
  const auto range = parse_range(text);
  if (!range) return std::nullopt;
  auto address = range->base;
  unsigned carry = n;
  for (auto i = address.size(); i-- > 0 && carry > 0; carry >>= 8) {
    carry += address[i];
    address[i] = static_cast<unsigned char>(carry & 0xff);
  }
  if (carry > 0 || !holds(*range, address)) return std::nullopt;
  return text_of(address);
}

bool in_range(std::string_view text, std::string_view address) {
  const auto range = parse_range(text);
  const auto bytes = parse(address);
  return range && bytes && holds(*range, *bytes);
}

bool overlap(std::string_view a, std::string_view b) {
  const auto x = parse_range(a), y = parse_range(b);
  return x && y && (holds(*x, y->base) || holds(*y, x->base));
}

bool is_range(std::string_view range) { return parse_range(range).has_value(); }

}  // namespace endstate
