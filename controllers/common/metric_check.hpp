// Judges the answers to a MetricCheck and counts them. Pure; the whole state is a CheckStatus, which is stored: a restart goes on where
// it was.
//
//   good          passes the threshold
//   bad           misses it (and is beyond failureThreshold, where there is one)
//   inconclusive  between the two thresholds, or no data
//   error         no answer, or one that isn't one number
#pragma once
#include <chrono>
#include <string>

#include "controllers/common/metric_answer.hpp"

namespace endstate::metrics {

enum class Verdict : std::uint8_t { good, bad, inconclusive, error };
struct Judged {
  Verdict verdict{};
  std::string message;  // what the answer means, with value and threshold
};
// An infinite answer is never good: it is bad where it misses the threshold (a quantile in the last bucket), else an error.
Judged judge(const api::MetricCheck& check, const Answer& answer);

// When the next question is due: 0 s is now. A last answer in the future (our clock went back) doesn't hold anything.
std::chrono::seconds due_in(const api::MetricCheck& check, const api::CheckStatus& status, reconcile::WallTime now);

// Counts one answer of a check that ends: of a rollout's step. Failed when bad > failureLimit; Inconclusive when inconclusive >
// inconclusiveLimit, or errors in a row > errorLimit; Passed when good >= count; in this order. A check that has ended, and an answer
// that was counted already (by its time), change nothing.
void advance(api::CheckStatus& status, const api::MetricCheck& check, const Answer& answer);

// Counts one answer of a check that never ends: of a budget's breaker. Counts are of answers in a row. Failed after more than failureLimit
// bad ones in a row (an answer that isn't clear interrupts nothing), Passed after a good one, Inconclusive after the limits of unclear
// answers or errors; until then it stands as it stood.
void advance_endless(api::CheckStatus& status, const api::MetricCheck& check, const Answer& answer);

}  // namespace endstate::metrics
