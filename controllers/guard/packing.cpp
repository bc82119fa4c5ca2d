#include "controllers/guard/packing.hpp"

#include <algorithm>
#include <array>

namespace endstate::guard {

namespace {

constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr auto values = [] {
  std::array<std::int8_t, 256> out{};
  for (auto& v : out) v = -1;
  for (std::size_t i = 0; i < letters.size(); ++i) out[static_cast<unsigned char>(letters[i])] = static_cast<std::int8_t>(i);
  return out;
}();

}  // namespace

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](std::size_t k) { return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U; };
    const std::uint32_t three = at(0) << 16U | at(1) << 8U | at(2);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : letters[three >> (18U - 6U * k) & 63U];
  }
  return out;
}

std::optional<std::string> unbase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t padding = !last || text[i + 3] != '=' ? 0 : text[i + 2] == '=' ? 2 : 1;
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const auto value = k < 4 - padding ? values[static_cast<unsigned char>(text[i + k])] : std::int8_t(0);
      if (value < 0) return std::nullopt;
      three = three << 6U | static_cast<std::uint32_t>(value);
    }
    for (std::size_t k = 0; k < 3 - padding; ++k) out += static_cast<char>(three >> (16U - 8U * k) & 255U);
  }
  return out;
}

void put_number(std::string& out, std::uint64_t number) {
  for (; number > 127; number >>= 7U) out += static_cast<char>((number & 127U) | 128U);
  out += static_cast<char>(number);
}

std::optional<std::uint64_t> take_number(std::string_view& bytes) {
  std::uint64_t out = 0;
  for (unsigned shift = 0; !bytes.empty() && shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    out |= static_cast<std::uint64_t>(byte & 127U) << shift;
    if (byte < 128) return out;
  }
  return std::nullopt;
}

std::string pack_ids(const std::vector<std::uint64_t>& sorted) {
  std::string bytes;
  bytes.reserve(sorted.size() * 8);
  for (const auto id : sorted)
    for (unsigned k = 0; k < 8; ++k) bytes += static_cast<char>(id >> (56U - 8U * k) & 255U);
  return base64(bytes);
}

std::vector<std::uint64_t> unpack_ids(std::string_view text) {
  const auto bytes = unbase64(text);
  if (!bytes || bytes->size() % 8 != 0) return {};
  std::vector<std::uint64_t> out(bytes->size() / 8);
  for (std::size_t i = 0; i < bytes->size(); ++i) out[i / 8] = out[i / 8] << 8U | static_cast<unsigned char>((*bytes)[i]);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace endstate::guard
