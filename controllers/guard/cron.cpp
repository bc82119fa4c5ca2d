#include "controllers/guard/cron.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <string>

namespace endstate::guard {

using namespace std::chrono_literals;
using reconcile::Code, reconcile::fail, reconcile::Result;

namespace {

constexpr std::array<std::string_view, 12> month_names{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> day_names{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct FieldRule {
  std::string_view name;
  int low, high;
  std::span<const std::string_view> names{};  // the first one is `low`
};

std::string range_of(const FieldRule& rule) { return std::to_string(rule.low) + "-" + std::to_string(rule.high); }

auto wrong(const FieldRule& rule, std::string_view item, const std::string& why) {
  return fail(Code::invalid, std::string(rule.name) + " \"" + std::string(item) + "\" " + why);
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text.front() == '-') return std::nullopt;
  return value;
}

std::optional<int> value_of(std::string_view text, const FieldRule& rule) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  for (std::size_t i = 0; i < rule.names.size(); ++i)
    if (rule.names[i] == lower) return rule.low + static_cast<int>(i);
  return number(text);
}

// One item of a list: *, a, a-b, each with an optional /step.
template <std::size_t N>
Result<void> add_item(std::string_view item, const FieldRule& rule, std::bitset<N>& out) {
  const auto slash = item.find('/');
  const auto base = item.substr(0, slash);
  int step = 1, from = rule.low, to = rule.high;
  if (slash != std::string_view::npos) {
    const auto s = number(item.substr(slash + 1));
    if (!s || *s < 1 || *s > rule.high) return wrong(rule, item, "has a step that is not in 1-" + std::to_string(rule.high));
    step = *s;
  }
  if (base != "*") {
    const auto dash = base.find('-');
    const auto a = value_of(base.substr(0, dash), rule);
    const auto b = dash == std::string_view::npos ? a : value_of(base.substr(dash + 1), rule);
    if (!a || !b || *a < rule.low || *a > rule.high || *b < rule.low || *b > rule.high)
      return wrong(rule, item, "is not in " + range_of(rule));
    if (*a > *b) return wrong(rule, item, "runs backwards: write it as two ranges");
    if (slash != std::string_view::npos && dash == std::string_view::npos) return wrong(rule, item, "has a step but no range");
    from = *a;
    to = *b;
  }
  for (int v = from; v <= to; v += step) out.set(static_cast<std::size_t>(v));
  return {};
}

template <std::size_t N>
Result<std::bitset<N>> parse_field(std::string_view text, const FieldRule& rule) {
  std::bitset<N> out;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    if (const auto good = add_item(text.substr(at, end - at), rule, out); !good) return fail(good.error());
    at = end + 1;
  }
  return out;
}

// Whether some day of some year has it: day 30 of February alone never comes.
bool comes(const Cron& cron) {
  if (!cron.any_weekday) return true;  // every month has each of them
  for (unsigned m = 1; m <= 12; ++m) {
    const auto last = std::chrono::year_month_day_last(std::chrono::year(2024) / std::chrono::month(m) / std::chrono::last).day();
    for (unsigned d = 1; d <= static_cast<unsigned>(last); ++d)
      if (cron.months[m] && cron.days[d]) return true;
  }
  return false;
}

}  // namespace

bool Cron::on(std::chrono::year_month_day day) const {
  if (!months[static_cast<unsigned>(day.month())]) return false;
  const bool by_day = days[static_cast<unsigned>(day.day())];
  const bool by_weekday = weekdays[std::chrono::weekday(std::chrono::sys_days(day)).c_encoding()];
  return any_day || any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

Result<Cron> parse_cron(std::string_view text) {
  std::array<std::string_view, 5> fields;
  std::size_t n = 0;
  for (std::size_t at = 0; at <= text.size(); ++n) {
    const auto end = std::min(text.find(' ', at), text.size());
    if (n < fields.size()) fields[n] = text.substr(at, end - at);
    at = end + 1;
  }
  if (n != fields.size())
    return fail(Code::invalid, "has " + std::to_string(n) + " fields, not 5: minute, hour, day of month, month, day of week");
  const auto minutes = parse_field<60>(fields[0], {"minute", 0, 59});
  const auto hours = parse_field<24>(fields[1], {"hour", 0, 23});
  const auto days = parse_field<32>(fields[2], {"day of month", 1, 31});
  const auto months = parse_field<13>(fields[3], {"month", 1, 12, month_names});
  const auto weekdays = parse_field<8>(fields[4], {"day of week", 0, 7, day_names});
  if (!minutes) return fail(minutes.error());
  if (!hours) return fail(hours.error());
  if (!days) return fail(days.error());
  if (!months) return fail(months.error());
  if (!weekdays) return fail(weekdays.error());
  Cron cron{*minutes, *hours, *days, *months, {}, fields[1].front() == '*', fields[2].front() == '*', fields[4].front() == '*'};
  for (std::size_t d = 0; d < 8; ++d)
    if ((*weekdays)[d]) cron.weekdays.set(d % 7);
  if (!comes(cron)) return fail(Code::invalid, "never comes: none of its months has such a day");
  return cron;
}

bool each_match(const Cron& cron, std::chrono::local_seconds from, std::chrono::local_seconds to,
                const std::function<bool(std::chrono::local_seconds)>& found) {
  for (auto day = std::chrono::floor<std::chrono::days>(from); day < to; day += std::chrono::days(1)) {
    if (!cron.on(std::chrono::year_month_day(day))) continue;
    for (int h = 0; h < 24; ++h) {
      if (!cron.hours[static_cast<std::size_t>(h)]) continue;
      const std::chrono::local_seconds hour = day + std::chrono::hours(h);
      if (hour + 1h <= from || hour >= to) continue;
      for (int m = 0; m < 60; ++m) {
        const auto at = hour + std::chrono::minutes(m);
        if (cron.minutes[static_cast<std::size_t>(m)] && at >= from && at < to && !found(at)) return false;
      }
    }
  }
  return true;
}

}  // namespace endstate::guard
