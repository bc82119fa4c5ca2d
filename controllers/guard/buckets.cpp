#include "controllers/guard/buckets.hpp"

#include <algorithm>
#include <utility>

#include "controllers/guard/packing.hpp"

namespace endstate::guard {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::WallTime;

namespace {

WallTime bucket_start(WallTime now, std::chrono::seconds window, std::int64_t parts) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch();
  return WallTime(seconds - seconds % bucket_width(window, parts));
}

}  // namespace

std::chrono::seconds bucket_width(std::chrono::seconds window, std::int64_t parts) {
  return std::max(1s, std::chrono::seconds((window.count() + parts - 1) / parts));
}

bool counts(const api::LedgerBucket& bucket, std::chrono::seconds window, WallTime now, std::int64_t parts) {
  return bucket.start + bucket_width(window, parts) > now - window;
}

std::int64_t sum(const std::vector<api::LedgerBucket>& buckets, std::chrono::seconds window, WallTime now, std::int64_t parts) {
  std::int64_t total = 0;
  for (const auto& b : buckets)
    if (counts(b, window, now, parts)) total += b.used;
  return total;
}

void put(std::vector<api::LedgerBucket>& buckets, std::chrono::seconds window, WallTime at, std::int64_t times, std::int64_t parts) {
  const WallTime start = bucket_start(at, window, parts);
  const auto it = std::lower_bound(buckets.begin(), buckets.end(), start, [](const auto& b, WallTime t) { return b.start < t; });
  if (it != buckets.end() && it->start == start)
    it->used += times;
  else
    buckets.insert(it, {start, times});
  if (buckets.size() <= static_cast<std::size_t>(parts) + 1) return;
  buckets[1].used += buckets[0].used;
  buckets.erase(buckets.begin());
}

void drop_old(std::vector<api::LedgerBucket>& buckets, std::chrono::seconds window, WallTime now, std::int64_t parts) {
  std::erase_if(buckets, [&](const auto& b) { return !counts(b, window, now, parts); });
}

void take_back(std::vector<api::LedgerBucket>& buckets, std::chrono::seconds window, WallTime at, std::int64_t parts) {
  const auto it = std::find_if(buckets.begin(), buckets.end(), [&](const auto& b) { return b.start == bucket_start(at, window, parts); });
  if (it == buckets.end()) return;
  if (--it->used <= 0) buckets.erase(it);
}

bool pull_back(std::vector<api::LedgerBucket>& buckets, std::chrono::seconds window, WallTime now, std::int64_t parts) {
  bool pulled = false;
  for (auto& b : buckets) {
    if (b.start <= now + bucket_width(window, parts)) continue;
    b.start = bucket_start(now, window, parts);
    pulled = true;
  }
  return pulled;
}

std::vector<api::LedgerBucket> buckets_of(const api::LedgerWindow& window) {
  if (window.counts.empty()) return window.buckets;
  std::vector<api::LedgerBucket> out;
  const auto bytes = unbase64(window.counts.view());
  auto start = window.start;
  for (std::string_view rest = bytes ? *bytes : std::string_view(); !rest.empty();) {
    const auto gap = take_number(rest);
    const auto used = take_number(rest);
    if (!gap || !used) break;
    start += std::chrono::seconds(*gap);
    out.push_back({start, static_cast<std::int64_t>(*used)});
  }
  return out;
}

void pack(api::LedgerWindow& window) {
  auto buckets = std::exchange(window.buckets, {});
  std::sort(buckets.begin(), buckets.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
  window.start = buckets.empty() ? WallTime() : buckets.front().start;
  std::string bytes;
  auto before = window.start;
  for (const auto& b : buckets) {
    put_number(bytes, static_cast<std::uint64_t>(std::chrono::floor<std::chrono::seconds>(b.start - before).count()));
    put_number(bytes, static_cast<std::uint64_t>(std::max<std::int64_t>(0, b.used)));
    before = b.start;
  }
  window.counts = base64(bytes);
}

void unpack(api::LedgerWindow& window) {
  window.buckets = buckets_of(window);
  window.counts = {};
  window.start = {};
}

}  // namespace endstate::guard
