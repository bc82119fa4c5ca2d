// Buckets: how often something happened in a sliding window, counted in parts of a 60th of its length. A bucket counts until the last
// moment that it could hold has left the window: never one over, at most a 60th too slow. Pure.
#pragma once
#include <chrono>
#include <vector>

#include "apis/v1alpha1/policy.hpp"

namespace endstate::guard {

std::chrono::seconds bucket_width(std::chrono::seconds window);
bool counts(const v1alpha1::LedgerBucket& bucket, std::chrono::seconds window, reconcile::WallTime now);
std::int64_t sum(const std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime now);
// Adds to the bucket of `at`, which may be a while ago. Of more than 61 the oldest goes into the next: it counts for longer.
void put(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime at, std::int64_t times);
void drop_old(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime now);
// Takes one back that was put at that time. What is in no bucket any more counts no more, and can't be taken back.
void take_back(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime at);
// A bucket from a future that a set clock made up would count for ever: it is taken as of now. True if there was one.
bool pull_back(std::vector<v1alpha1::LedgerBucket>& buckets, std::chrono::seconds window, reconcile::WallTime now);

}  // namespace endstate::guard
