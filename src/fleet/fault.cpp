#include "src/fleet/fault.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "src/fleet/chance.hpp"

namespace endstate::fleet {
namespace {

using reconcile::Code, reconcile::fail, reconcile::Result;

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// RFC 1123, as the names of objects are; the API server checks the rest when such an object is made.
bool is_object_name(std::string_view s) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return !s.empty() && s.size() <= 253 && std::all_of(s.begin(), s.end(), good);
}

// A whole number of [low, high] in all of `text`.
std::optional<std::int64_t> number_of(std::string_view text, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) return std::nullopt;
  return value;
}

// What has been given already: each word with a value may stand once.
struct Given {
  bool package = false, share = false, every = false;
};

Result<void> read_package(Fault& fault, Given& given, std::string_view name) {
  if (std::exchange(given.package, true))
    return fail(Code::invalid, "package= is given twice; use one annotation or --fault for each package");
  if (!is_object_name(name)) return fail(Code::invalid, "\"" + std::string(name) + "\" is no name of a MachinePackageVersion");
  fault.package = reconcile::Text(name);
  return {};
}

Result<void> read_share(Fault& fault, Given& given, std::string_view value) {
  if (std::exchange(given.share, true)) return fail(Code::invalid, "share= is given twice");
  const auto share = value.ends_with('%') ? number_of(value.substr(0, value.size() - 1), 1, 100) : std::nullopt;
  if (!share) return fail(Code::invalid, "share=" + std::string(value) + ": must be a whole percentage from 1% to 100%, e.g. share=20%");
  fault.share = static_cast<std::uint8_t>(*share);
  return {};
}

Result<void> read_every(Fault& fault, Given& given, std::string_view value) {
  if (std::exchange(given.every, true)) return fail(Code::invalid, "every= is given twice");
  const auto seconds = number_of(value, 5, 86'400);
  if (!seconds) return fail(Code::invalid, "every=" + std::string(value) + ": must be whole seconds from 5 to 86400, e.g. every=60");
  fault.every = std::chrono::seconds(*seconds);
  return {};
}

Result<void> read_kind(Fault& fault, std::string_view word) {
  const auto* const found = std::find(std::begin(fault_names), std::end(fault_names), word);
  if (found == std::end(fault_names))
    return fail(Code::invalid, "\"" + std::string(word) +
                                   "\" is no fault; it must be InstallFails, NodeNotReady, AgentSilent, HostDown, Slow, WorkFails, "
                                   "Reboots, package=NAME, share=N% or every=SECONDS");
  fault.kinds |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(found - std::begin(fault_names)));
  return {};
}

Result<void> read_word(Fault& fault, Given& given, std::string_view word) {
  static constexpr std::string_view package = "package=", share = "share=", every = "every=";
  if (word.starts_with(package)) return read_package(fault, given, word.substr(package.size()));
  if (word.starts_with(share)) return read_share(fault, given, word.substr(share.size()).substr(0, 64));
  if (word.starts_with(every)) return read_every(fault, given, word.substr(every.size()).substr(0, 64));
  return read_kind(fault, word.substr(0, 64));
}

}  // namespace

bool Fault::takes(std::uint64_t host_seed) const {
  if (share >= 100) return true;
  auto mixed = host_seed;
  for (const char c : package.view()) mixed = (mixed ^ static_cast<unsigned char>(c)) * 0x100000001b3U;  // FNV-1a's step
  return Chance(mixed).share() * 100 < static_cast<double>(share);
}

reconcile::Result<Fault> parse_fault(std::string_view text) {
  if (text.size() > 1024) return fail(Code::invalid, "a fault is at most 1024 characters long");
  Fault fault;
  Given given;
  for (auto rest = text;;) {
    const auto comma = rest.find(',');
    if (auto read = read_word(fault, given, trim(rest.substr(0, comma))); !read) return fail(std::move(read.error()));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (fault.kinds == 0) return fail(Code::invalid, "no fault is named beside its words; say also which, e.g. InstallFails,package=NAME");
  if (given.every && !fault.has(FaultKind::reboots)) return fail(Code::invalid, "every= is of Reboots only");
  return fault;
}

}  // namespace endstate::fleet
