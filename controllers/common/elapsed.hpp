// One clock for what machines take their time for: it stands still while their cluster can't be seen.
#pragma once
#include <algorithm>
#include <chrono>
#include <vector>

#include "apis/v1alpha1/cluster.hpp"
#include "reconcile/cache/sight.hpp"

namespace endstate {

// The gaps of a Cluster as they count now: those that are stored, and the one that this process sees itself. Sorted, apart.
inline std::vector<v1alpha1::BlindGap> blind_gaps(const v1alpha1::Cluster& cluster, const reconcile::Sight& sight,
                                                  reconcile::WallTime now) {
  auto gaps = cluster.status.blind;
  for (auto& gap : gaps)
    if (gap.end_time == reconcile::WallTime{}) gap.end_time = sight.seen ? std::max(gap.start_time, sight.since) : now;
  if (!sight.seen) gaps.push_back({sight.since == reconcile::WallTime{} ? now : sight.since, now});
  std::sort(gaps.begin(), gaps.end(), [](const auto& a, const auto& b) { return a.start_time < b.start_time; });
  std::vector<v1alpha1::BlindGap> out;
  for (const auto& gap : gaps) {
    if (gap.end_time <= gap.start_time) continue;
    if (!out.empty() && gap.start_time <= out.back().end_time)
      out.back().end_time = std::max(out.back().end_time, gap.end_time);
    else
      out.push_back(gap);
  }
  return out;
}

// now - start without the gaps; never below zero. Every deadline, soak, pause, minReady, progress, silence, promotion and drain clock of
// machines and sets uses it. Not: windows, breakers, schedules, certificates, tokens, retention, and a Hosted cluster's own release and
// repair, whose pods are seen in the meta cluster.
inline std::chrono::microseconds elapsed(reconcile::WallTime start, reconcile::WallTime now, const std::vector<v1alpha1::BlindGap>& gaps) {
  std::chrono::microseconds out = now > start ? now - start : std::chrono::microseconds(0);
  for (const auto& gap : gaps) {
    const auto from = std::max(start, gap.start_time);
    const auto to = std::min(now, gap.end_time);
    if (to > from) out -= to - from;
  }
  return std::max(out, std::chrono::microseconds(0));
}
// When `wait` will have elapsed since `start`, if nothing else is missed: for Plan::again.
inline reconcile::WallTime due(reconcile::WallTime start, std::chrono::microseconds wait, reconcile::WallTime now,
                               const std::vector<v1alpha1::BlindGap>& gaps) {
  return now + (wait - elapsed(start, now, gaps));
}
// The start from which `past` has elapsed until now: what was stopped for a while goes on from there.
inline reconcile::WallTime began(std::chrono::microseconds past, reconcile::WallTime now, const std::vector<v1alpha1::BlindGap>& gaps) {
  auto at = now;
  for (auto gap = gaps.rbegin(); gap != gaps.rend(); ++gap) {
    if (gap->start_time >= at) continue;
    const auto end = std::min(at, gap->end_time);
    if (at - end >= past) break;
    past -= at - end;
    at = gap->start_time;
  }
  return at - past;
}

}  // namespace endstate
