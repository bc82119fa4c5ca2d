// Buckets: how often something happened in a sliding window, counted in parts of its length: 60, or fewer where there
// are many windows. A bucket counts until the last
// moment that it could hold has left the window: never one over, at most one part too slow. Pure.
#pragma once
#include <chrono>
#include <vector>

#include "apis/v1alpha1/policy.hpp"

namespace endstate::guard {

inline constexpr std::int64_t window_parts = 60;

std::chrono::seconds bucket_width(std::chrono::seconds window, std::int64_t parts = window_parts);
bool counts(const v1alpha1::LedgerBucket& bucket, std::chrono::seconds window, reconcile::WallTime now, std::int64_t parts = window_parts);
std::int64_t sum(const std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime now,
                 std::int64_t parts = window_parts);
// Adds to the bucket of `at`, which may be a while ago. Of more than one over `parts` the oldest goes into the next: it counts for longer.
void put(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime at, std::int64_t times,
         std::int64_t parts = window_parts);
void drop_old(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime now,
              std::int64_t parts = window_parts);
// Takes one back that was put at that time. What is in no bucket any more counts no more, and can't be taken back.
void take_back(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime at,
               std::int64_t parts = window_parts);
// A bucket from a future that a set clock made up would count for ever: it is taken as of now. True if there was one.
bool pull_back(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime now,
               std::int64_t parts = window_parts);

// A window of scope Cluster as the account stores it, packed: some 200 bytes instead of 2.7 KB with each of its writes.
std::vector<v1alpha1::LedgerBucket> buckets_of(const v1alpha1::LedgerWindow& window);  // packed, or as operators before wrote it
void pack(v1alpha1::LedgerWindow& window);
void unpack(v1alpha1::LedgerWindow& window);

}  // namespace endstate::guard
