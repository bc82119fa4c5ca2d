#include "controllers/metric_source/plan.hpp"

#include <algorithm>

#include "controllers/common/metric_answer.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::metric_source {
namespace {

using api::ConditionStatus;
using namespace std::chrono_literals;

constexpr auto period = 60s, period_of_silence = 15s;
constexpr std::chrono::milliseconds early{
    5'000};  // an answer takes a moment: it is a little younger than the period when it is asked again

struct Line {
  ConditionStatus status{};
  std::string_view reason;
  std::string message;
};

// Without its figures: "after 3 ms" and "after 4 ms" are the same news.
std::string gist(std::string_view message) {
  std::string out(message);
  std::erase_if(out, [](char c) { return c >= '0' && c <= '9'; });
  return out;
}

Line judge(const Snapshot& s) {
  const auto& status = s.source->status;
  const auto* old = reconcile::find_condition(status.conditions, api::condition::reachable);
  if (!s.answer) {
    // Another process has asked lately: what it found stands until we know better. Not for another spec.
    if (old && status.observed_generation == s.source->metadata.generation) return {old->status, old->reason.view(), old->message.str()};
    return {ConditionStatus::unknown, api::reason::progressing, "not asked yet"};
  }
  const auto answer = metrics::read_answer(*s.answer);
  using Kind = metrics::Answer::Kind;
  if (answer.kind == Kind::number && answer.value == 1) return {ConditionStatus::true_, api::reason::reachable, ""};
  std::string message =
      answer.kind == Kind::error ? answer.message : "vector(1) was answered with something else: is this a Prometheus server?";
  if (old && old->status == ConditionStatus::false_ && gist(old->message.view()) == gist(message)) message = old->message.str();
  return {ConditionStatus::false_, api::reason::not_reachable, std::move(message)};
}

void set(api::MetricSourceStatus& status, const Snapshot& s, std::string_view type, Line line) {
  reconcile::set_condition(status.conditions,
                           {.type = type,
                            .status = line.status,
                            .reason = line.reason,
                            .message = reconcile::Text(line.message),
                            .last_transition_time = {},
                            .observed_generation = s.source->metadata.generation},
                           s.now);
}

}  // namespace

Planned plan_in_full(const Snapshot& s) {
  const auto& source = *s.source;
  Planned out;
  if (source.metadata.deleting()) return out;
  const auto reachable = judge(s);
  out.status = source.status;
  out.status.observed_generation = source.metadata.generation;
  using enum ConditionStatus;
  const bool good = reachable.status == true_, bad = reachable.status == false_;
  set(out.status, s, api::condition::reachable, reachable);
  set(out.status, s, api::condition::ready, {good ? true_ : false_, good ? api::reason::ready : reachable.reason, reachable.message});
  set(out.status, s, api::condition::reconciling, {good || bad ? false_ : true_, good ? api::reason::ready : reachable.reason, ""});
  set(out.status, s, api::condition::stalled,
      {bad ? true_ : false_, bad ? reachable.reason : api::reason::not_stalled, bad ? reachable.message : ""});

  auto query = metrics::question(std::string(up_query), source, "vector(1)");
  const auto next = bad ? period_of_silence : period;
  query.max_age = next - early;
  out.plan.queries.push_back(std::move(query));
  out.plan.again = next;
  const bool changed = !reconcile::same(out.status, source.status);
  out.plan.status = reconcile::StatusWrite{.kind = &reconcile::kind_of<api::MetricSource>,
                                           .key = source.metadata.key(),
                                           .uid = source.metadata.uid,
                                           .resource_version = source.metadata.resource_version,
                                           .status = changed ? reconcile::encode(out.status) : std::string(),
                                           .changed = changed};
  return out;
}

reconcile::Plan plan(const Snapshot& s) { return plan_in_full(s).plan; }

}  // namespace endstate::metric_source
