// DomainWindows: what was begun in windows of scope FailureDomain. A big cluster has some hundred domains, so they are kept in coarser
// buckets (a 12th of the window, buckets.hpp says what that means) and stored packed: all domains of one limit and duration in one string
// beside one table of names. Pure.
//
//   counts of a window  for each domain that has any: how many domains were skipped since the last one, which buckets aren't empty (bits),
//                       and what is in each of those; all as numbers of seven bits a byte, in base64
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "apis/v1alpha1/policy.hpp"
#include "controllers/guard/buckets.hpp"

namespace endstate::guard {

inline constexpr std::int64_t domain_parts = 12;       // buckets of a window
inline constexpr std::size_t max_domain_rows = 3'000;  // windows times domains, of one cluster
inline constexpr std::size_t max_domain_windows = 64;  // as the field's description says

class DomainWindows {
 public:
  // Those of a version that kept them as windows of their own (LedgerWindow::domain) are taken over, and taken out of the status.
  explicit DomainWindows(v1alpha1::GuardLedgerStatus& ledger);

  std::int64_t used(const reconcile::Text& budget, const reconcile::Text& limit, std::chrono::seconds duration,
                    const reconcile::Text& domain, reconcile::WallTime now) const;
  std::int64_t fullest(const reconcile::Text& budget, const reconcile::Text& limit, std::chrono::seconds duration,
                       reconcile::WallTime now) const;  // of all domains
  // When the oldest of what counts there was begun, at the latest; nullopt: nothing counts.
  std::optional<reconcile::WallTime> oldest(const reconcile::Text& budget, const reconcile::Text& limit, std::chrono::seconds duration,
                                            const reconcile::Text& domain) const;
  // False: there is no place for another one.
  bool add(const reconcile::Text& budget, const reconcile::Text& limit, std::chrono::seconds duration, const reconcile::Text& domain,
           reconcile::WallTime at, std::int64_t times);
  // In all windows of that limit.
  void take_back(const reconcile::Text& budget, const reconcile::Text& limit, const reconcile::Text& domain, reconcile::WallTime at);
  bool pull_back(reconcile::WallTime now);
  void drop_old(reconcile::WallTime now);
  void clear() { windows_.clear(); }
  void store(v1alpha1::GuardLedgerStatus& ledger) const;

 private:
  using Buckets = std::vector<v1alpha1::LedgerBucket>;
  using Name = std::tuple<reconcile::Text, reconcile::Text, std::int64_t>;  // budget, limit, seconds
  using Rows = std::unordered_map<reconcile::Text, Buckets>;                // by domain
  const Buckets* find(const reconcile::Text& budget, const reconcile::Text& limit, std::chrono::seconds duration,
                      const reconcile::Text& domain) const;
  void read(const v1alpha1::LedgerDomainWindows& window, const std::vector<reconcile::Text>& domains);

  std::map<Name, Rows> windows_;
};

}  // namespace endstate::guard
