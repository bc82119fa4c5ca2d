#include "src/fleet/inventory.hpp"

#include <array>

#include "src/fleet/chance.hpp"

namespace endstate::fleet {
namespace {

std::string padded(std::uint64_t number, std::size_t width) {
  auto digits = std::to_string(number);
  return digits.size() >= width ? digits : std::string(width - digits.size(), '0') + digits;
}

std::string hex(std::uint64_t value, std::size_t digits) {
  std::string out(digits, '0');
  for (auto i = digits; i > 0; value >>= 4U) out[--i] = "0123456789abcdef"[value & 0xfU];
  return out;
}

struct Size {
  std::string_view model, cpu, memory, disk;
};
constexpr std::array<Size, 3> sizes{{{"S2", "32", "128Gi", "480Gi"}, {"M2", "64", "256Gi", "960Gi"}, {"L2", "96", "384Gi", "1920Gi"}}};

}  // namespace

HostFacts host_facts(const Inventory& inventory, std::uint32_t index) {
  Chance chance(inventory.seed * 1'000'003 + index);
  const auto racks = std::max<std::uint32_t>(inventory.racks, 1);
  const auto rack = index % racks;  // neighbours in number stand in different racks
  const auto& size = sizes[chance.next() % sizes.size()];
  const auto number = index + 1;
  HostFacts f;
  f.index = index;
  f.name_space = inventory.name_space;
  f.name = inventory.prefix + padded(number, 4);
  f.address = "10.0." + std::to_string(number >> 8U) + "." + std::to_string(number & 0xffU);
  f.idc = std::string("idc-") + static_cast<char>('a' + rack * 3 / std::max<std::uint32_t>(racks, 3));
  f.rack = "rack-" + padded(rack + 1, 2);
  f.serial_number = "SIM" + hex(chance.next(), 10);
  f.model = std::string(size.model);
  // Nothing of a simulated disk is ever used.
  f.capacity = {
      {"cpu", size.cpu}, {"endstate.dev/free-disk", size.disk}, {"ephemeral-storage", size.disk}, {"memory", size.memory}, {"pods", "110"}};
  f.seed = chance.next();
  return f;
}

std::string pod_address(std::uint32_t host_index, std::uint32_t number) {
  return "10." + std::to_string(128 + (host_index >> 8U)) + "." + std::to_string(host_index & 0xffU) + "." +
         std::to_string(2 + number % 253);
}

std::string uuid_of(std::uint64_t seed, std::string_view what, std::uint64_t number) {
  auto mixed = seed ^ (number * 0x9e3779b97f4a7c15U);
  for (const char c : what) mixed = (mixed ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  Chance chance(mixed);
  const auto a = hex(chance.next(), 16), b = hex(chance.next(), 16);
  // Version 8 (RFC 9562): made by rules of its own.
  return a.substr(0, 8) + "-" + a.substr(8, 4) + "-8" + a.substr(13, 3) + "-a" + b.substr(1, 3) + "-" + b.substr(4, 12);
}

}  // namespace endstate::fleet
