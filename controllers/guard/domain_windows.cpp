#include "controllers/guard/domain_windows.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "controllers/guard/packing.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using reconcile::Text, reconcile::WallTime;
using std::chrono::seconds;

namespace {

constexpr std::int64_t last_place = domain_parts + 2;  // one that leaves, and clocks that differ

}  // namespace

DomainWindows::DomainWindows(api::GuardLedgerStatus& ledger) {
  for (const auto& w : ledger.domain_windows) read(w, ledger.domains);
  for (const auto& w : ledger.windows)
    if (!w.domain.empty())
      for (const auto& b : w.buckets) add(w.budget, w.limit, w.duration, w.domain, b.start + bucket_width(w.duration) - seconds(1), b.used);
  std::erase_if(ledger.windows, [](const auto& w) { return !w.domain.empty(); });
}

void DomainWindows::read(const api::LedgerDomainWindows& w, const std::vector<Text>& domains) {
  const auto bytes = unbase64(w.counts.view());
  if (!bytes || w.duration <= seconds(0)) return;
  auto& rows = windows_[{w.budget, w.limit, w.duration.count()}];
  const auto width = bucket_width(w.duration, domain_parts);
  std::string_view rest = *bytes;
  for (std::size_t place = 0; !rest.empty(); ++place) {
    const auto skipped = take_number(rest);
    const auto filled = take_number(rest);
    if (!skipped || !filled || *skipped >= domains.size() || (place += *skipped) >= domains.size()) return;
    auto& row = rows[domains[place]];
    for (unsigned k = 0; k <= last_place; ++k) {
      if ((*filled >> k & 1U) == 0) continue;
      const auto count = take_number(rest);
      if (!count) return;
      row.push_back({w.start + width * k, static_cast<std::int64_t>(*count)});
    }
  }
}

void DomainWindows::store(api::GuardLedgerStatus& ledger) const {
  ledger.domains.clear();
  ledger.domain_windows.clear();
  std::set<Text> named;
  for (const auto& [name, rows] : windows_)
    for (const auto& [domain, buckets] : rows)
      if (!buckets.empty()) named.insert(domain);
  ledger.domains.assign(named.begin(), named.end());
  for (const auto& [name, rows] : windows_) {
    const seconds duration(std::get<2>(name));
    const auto width = bucket_width(duration, domain_parts);
    WallTime start = WallTime::max();
    for (const auto& [domain, buckets] : rows)
      if (!buckets.empty()) start = std::min(start, buckets.front().start);
    std::string bytes;
    std::uint64_t skipped = 0;
    for (const auto& domain : ledger.domains) {
      const auto row = rows.find(domain);
      if (row == rows.end() || row->second.empty()) {
        ++skipped;
        continue;
      }
      std::uint64_t filled = 0;
      std::string counts;
      for (const auto& b : row->second) {
        // Buckets that time has left behind are dropped before this; what is too far from the first counts with the last.
        const auto k = std::min<std::int64_t>((b.start - start) / width, last_place);
        filled |= std::uint64_t(1) << static_cast<unsigned>(k);
      }
      for (unsigned k = 0; k <= last_place; ++k) {
        std::int64_t count = 0;
        for (const auto& b : row->second)
          if (std::min<std::int64_t>((b.start - start) / width, last_place) == k) count += b.used;
        if ((filled >> k & 1U) != 0) put_number(counts, static_cast<std::uint64_t>(std::max<std::int64_t>(0, count)));
      }
      put_number(bytes, std::exchange(skipped, 0));
      put_number(bytes, filled);
      bytes += counts;
    }
    if (!bytes.empty())
      ledger.domain_windows.push_back(
          {.budget = std::get<0>(name), .limit = std::get<1>(name), .duration = duration, .start = start, .counts = base64(bytes)});
  }
}

const DomainWindows::Buckets* DomainWindows::find(const Text& budget, const Text& limit, seconds duration, const Text& domain) const {
  const auto rows = windows_.find({budget, limit, duration.count()});
  if (rows == windows_.end()) return nullptr;
  const auto row = rows->second.find(domain);
  return row == rows->second.end() ? nullptr : &row->second;
}

std::int64_t DomainWindows::used(const Text& budget, const Text& limit, seconds duration, const Text& domain, WallTime now) const {
  const auto* buckets = find(budget, limit, duration, domain);
  return buckets ? sum(*buckets, duration, now, domain_parts) : 0;
}

std::int64_t DomainWindows::fullest(const Text& budget, const Text& limit, seconds duration, WallTime now) const {
  std::int64_t most = 0;
  const auto rows = windows_.find({budget, limit, duration.count()});
  if (rows == windows_.end()) return 0;
  for (const auto& [domain, buckets] : rows->second) most = std::max(most, sum(buckets, duration, now, domain_parts));
  return most;
}

std::optional<WallTime> DomainWindows::oldest(const Text& budget, const Text& limit, seconds duration, const Text& domain) const {
  const auto* buckets = find(budget, limit, duration, domain);
  if (!buckets || buckets->empty()) return std::nullopt;
  return buckets->front().start + bucket_width(duration, domain_parts);
}

bool DomainWindows::add(const Text& budget, const Text& limit, seconds duration, const Text& domain, WallTime at, std::int64_t times) {
  const Name name{budget, limit, duration.count()};
  const auto rows = windows_.find(name);
  if (rows == windows_.end() && windows_.size() >= max_domain_windows) return false;
  put(windows_[name][domain], duration, at, times, domain_parts);
  return true;
}

void DomainWindows::take_back(const Text& budget, const Text& limit, const Text& domain, WallTime at) {
  for (auto& [name, rows] : windows_) {
    if (!(std::get<0>(name) == budget) || !(std::get<1>(name) == limit)) continue;
    if (const auto row = rows.find(domain); row != rows.end()) guard::take_back(row->second, seconds(std::get<2>(name)), at, domain_parts);
  }
}

bool DomainWindows::pull_back(WallTime now) {
  bool pulled = false;
  for (auto& [name, rows] : windows_)
    for (auto& [domain, buckets] : rows) pulled = guard::pull_back(buckets, seconds(std::get<2>(name)), now, domain_parts) || pulled;
  return pulled;
}

void DomainWindows::drop_old(WallTime now) {
  for (auto& [name, rows] : windows_) {
    for (auto& [domain, buckets] : rows) guard::drop_old(buckets, seconds(std::get<2>(name)), now, domain_parts);
    std::erase_if(rows, [](const auto& row) { return row.second.empty(); });
  }
  std::erase_if(windows_, [](const auto& w) { return w.second.empty(); });
}

}  // namespace endstate::guard
