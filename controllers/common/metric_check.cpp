#include "controllers/common/metric_check.hpp"

#include <charconv>
#include <cmath>
#include <optional>

namespace endstate::metrics {
namespace {

using api::CheckOperator, api::CheckResult;
using std::chrono::duration_cast, std::chrono::seconds;

constexpr std::size_t max_message = 512;  // CheckStatus::message

// The schema's pattern lets only decimals through; what got past it is no number.
std::optional<double> decimal(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

bool holds(double value, CheckOperator op, double threshold) {
  switch (op) {
    case CheckOperator::greater_or_equal: return value >= threshold;
    case CheckOperator::greater: return value > threshold;
    case CheckOperator::less_or_equal: return value <= threshold;
    case CheckOperator::less: return value < threshold;
  }
  return false;
}
std::string_view sign(CheckOperator op) {
  switch (op) {
    case CheckOperator::greater_or_equal: return ">=";
    case CheckOperator::greater: return ">";
    case CheckOperator::less_or_equal: return "<=";
    case CheckOperator::less: return "<";
  }
  return "?";
}

Judged without_data(const api::MetricCheck& check, const std::string& why) {
  switch (api::on_no_data(check)) {
    case api::OnNoData::fail: return {Verdict::bad, why + "; onNoData says Fail"};
    case api::OnNoData::ignore: return {Verdict::good, why + "; onNoData says Ignore"};
    case api::OnNoData::pause: break;
  }
  return {Verdict::inconclusive, why};
}

Judged compare(const api::MetricCheck& check, const Answer& answer) {
  const auto threshold = decimal(check.threshold.view());
  const auto failure = check.failure_threshold.empty() ? threshold : decimal(check.failure_threshold.view());
  if (!threshold || !failure) return {Verdict::error, "threshold or failureThreshold is no decimal number: edit the check"};
  const std::string wanted = std::string(sign(check.operator_)) + " " + check.threshold.str();
  const bool good = holds(answer.value, check.operator_, *threshold);
  if (good && std::isinf(answer.value))
    return {Verdict::error, "the answer is " + answer.text + ": a division by 0; make the query answer a number then"};
  if (good) return {Verdict::good, answer.text + ", wanted " + wanted};
  if (!check.failure_threshold.empty() && holds(answer.value, check.operator_, *failure))
    return {Verdict::inconclusive, answer.text + ", wanted " + wanted + "; it fails beyond " + check.failure_threshold.str()};
  return {Verdict::bad, answer.text + ", wanted " + wanted};
}

// False: it is the answer that was counted last.
bool note(api::CheckStatus& status, const Answer& answer, const Judged& judged) {
  if (answer.time == status.time) return false;
  status.time = answer.time;
  status.value = answer.text;
  status.message = api::Text(std::string_view(judged.message).substr(0, max_message));
  return true;
}

}  // namespace

Judged judge(const api::MetricCheck& check, const Answer& answer) {
  switch (answer.kind) {
    case Answer::Kind::number: return compare(check, answer);
    case Answer::Kind::no_data: return without_data(check, answer.message);
    case Answer::Kind::error: break;
  }
  return {Verdict::error, answer.message};
}

seconds due_in(const api::MetricCheck& check, const api::CheckStatus& status, reconcile::WallTime now) {
  if (status.time == reconcile::WallTime{} || status.time > now) return seconds(0);
  return std::max(seconds(0), api::interval(check) - duration_cast<seconds>(now - status.time));
}

void advance(api::CheckStatus& status, const api::MetricCheck& check, const Answer& answer) {
  if (status.result != CheckResult::running) return;
  const auto judged = judge(check, answer);
  if (!note(status, answer, judged)) return;
  if (judged.verdict != Verdict::error) status.errors = 0;
  switch (judged.verdict) {
    case Verdict::good: ++status.good; break;
    case Verdict::bad: ++status.bad; break;
    case Verdict::inconclusive: ++status.inconclusive; break;
    case Verdict::error: ++status.errors; break;
  }
  if (status.bad > api::failure_limit(check))
    status.result = CheckResult::failed;
  else if (status.inconclusive > api::inconclusive_limit(check) || status.errors > api::error_limit(check))
    status.result = CheckResult::inconclusive;
  else if (status.good >= api::count(check))
    status.result = CheckResult::passed;
}

void advance_endless(api::CheckStatus& status, const api::MetricCheck& check, const Answer& answer) {
  const auto judged = judge(check, answer);
  if (!note(status, answer, judged)) return;
  switch (judged.verdict) {
    case Verdict::good:
      ++status.good;
      status.bad = status.inconclusive = status.errors = 0;
      status.result = CheckResult::passed;
      break;
    case Verdict::bad:
      ++status.bad;
      status.good = status.inconclusive = status.errors = 0;
      if (status.bad > api::failure_limit(check)) status.result = CheckResult::failed;
      break;
    case Verdict::inconclusive:
      ++status.inconclusive;
      status.good = status.errors = 0;
      if (status.inconclusive > api::inconclusive_limit(check)) status.result = CheckResult::inconclusive;
      break;
    case Verdict::error:
      ++status.errors;
      status.good = 0;
      if (status.errors > api::error_limit(check)) status.result = CheckResult::inconclusive;
      break;
  }
}

}  // namespace endstate::metrics
