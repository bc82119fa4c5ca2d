#include "controllers/cluster/break_glass.hpp"

#include <algorithm>

namespace endstate::cluster {

namespace api = v1alpha1;
using reconcile::WallTime;

namespace {

constexpr std::size_t max_text = 512, least_reason = 8;

struct Said {
  std::optional<WallTime> until;
  std::string by, reason, wrong;  // wrong: what keeps it from being accepted; empty: nothing
};

// "until=<time> by=<user> reason=<text>", in this order, each but the last without blanks.
Said read(std::string_view text) {
  static constexpr std::string_view until = "until=", by = " by=", reason = " reason=";
  Said out;
  const auto at_by = text.find(by);
  const auto at_reason = at_by == std::string_view::npos ? at_by : text.find(reason, at_by + by.size());
  if (!text.starts_with(until) || at_reason == std::string_view::npos || text.size() > max_text) {
    out.wrong = "it isn't of the form until=<RFC 3339> by=<user> reason=<text>, of at most 512 characters";
    return out;
  }
  out.until = reconcile::parse_rfc3339(text.substr(until.size(), at_by - until.size()));
  out.by = text.substr(at_by + by.size(), at_reason - at_by - by.size());
  out.reason = text.substr(at_reason + reason.size());
  if (!out.until)
    out.wrong = "its `until` is no time, e.g. 2026-11-30T12:00:00Z";
  else if (out.by.empty() || out.by.find(' ') != std::string::npos)
    out.wrong = "its `by` is no user";
  else if (out.reason.size() < least_reason)
    out.wrong = "its `reason` has fewer than 8 characters";
  return out;
}

reconcile::EventNote note(std::string_view reason, const std::string& text) {
  return {.warning = true, .reason = reason, .action = "BreakGlass", .note = std::string_view(text).substr(0, 1024), .regarding = {}};
}

}  // namespace

BreakGlass plan_break_glass(const api::Cluster& cluster, WallTime clock) {
  const WallTime now = std::chrono::floor<std::chrono::seconds>(clock);
  const auto text = cluster.metadata.annotations.get(api::annotation::break_glass).substr(0, max_text + 1);
  BreakGlass out{.status = cluster.status.break_glass, .events = {}, .again = {}};
  auto& status = out.status;
  const bool active = status && status->state == glass_state::active;
  const bool same = status && status->text == text.substr(0, max_text);
  if (active && (!same || now >= status->end_time)) {
    status->state = glass_state::ended;
    status->end_time = std::min<WallTime>(status->end_time, now);
    out.events.push_back(note(api::reason::break_glass_ended, "budgets hold again, since " + reconcile::format_rfc3339(status->end_time)));
  }
  if (!text.empty() && !same) {
    const auto said = read(text);
    status = api::BreakGlassStatus{
        .text = text.substr(0, max_text), .by = said.by, .reason = said.reason, .state = glass_state::active, .start_time = now};
    if (said.until) status->end_time = std::min<WallTime>(*said.until, now + break_glass_longest);
    const auto wrong = !said.wrong.empty() ? said.wrong : *said.until <= now ? "its `until` has passed" : std::string();
    if (!wrong.empty()) {
      status->state = glass_state::refused;
      status->end_time = now;
      status->by = std::string_view(said.by).substr(0, 253);
      out.events.push_back(note(api::reason::break_glass_refused, "endstate.dev/break-glass is not accepted: " + wrong));
    } else {
      out.events.push_back(note(api::reason::break_glass, "until " + reconcile::format_rfc3339(status->end_time) +
                                                              " schedules, windows, breakers and maxConcurrent of ChangeBudgets hold "
                                                              "nothing here, by " +
                                                              said.by + ": " + said.reason));
    }
  }
  if (status && status->state == glass_state::active)
    out.again = std::max(std::chrono::ceil<std::chrono::milliseconds>(status->end_time - clock), std::chrono::milliseconds(10));
  return out;
}

}  // namespace endstate::cluster
