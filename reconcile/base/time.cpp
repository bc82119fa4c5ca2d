#include "reconcile/base/time.hpp"

#include <array>
#include <charconv>
#include <cstdio>

namespace reconcile {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

std::string format(WallTime time, bool micro) {
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::array<char, 48> out{};
  const int n =
      std::snprintf(out.data(), out.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                    static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                    static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()));
  std::string text(out.data(), static_cast<std::size_t>(n));
  if (micro) {
    std::snprintf(out.data(), out.size(), ".%06d", static_cast<int>(clock.subseconds().count()));
    text += out.data();
  }
  return text + "Z";
}

// Takes exactly `digits` digits off the front.
std::optional<int> take(std::string_view& text, std::size_t digits) {
  int value = 0;
  if (text.size() < digits) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value);
  if (error != std::errc() || end != text.data() + digits || text[0] == '-') return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text[0]) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::chrono::microseconds> take_fraction(std::string_view& text) {
  if (!take(text, ".")) return std::chrono::microseconds(0);
  std::int64_t micros = 0;
  std::size_t digits = 0;
  for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1), ++digits)
    if (digits < 6) micros = micros * 10 + (text[0] - '0');
  if (digits == 0) return std::nullopt;
  for (; digits < 6; ++digits) micros *= 10;
  return std::chrono::microseconds(micros);
}

std::optional<minutes> take_offset(std::string_view& text) {
  if (take(text, "Zz")) return minutes(0);
  const bool west = !text.empty() && text[0] == '-';
  if (!take(text, "+-")) return std::nullopt;
  const auto h = take(text, 2);
  if (!h || *h > 23 || !take(text, ":")) return std::nullopt;
  const auto m = take(text, 2);
  if (!m || *m > 59) return std::nullopt;
  const minutes offset = hours(*h) + minutes(*m);
  return west ? -offset : offset;
}

}  // namespace

std::string format_rfc3339(WallTime time) { return format(time, false); }
std::string format_rfc3339_micro(WallTime time) { return format(time, true); }

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  const auto year = take(text, 4);
  if (!year || !take(text, "-")) return std::nullopt;
  const auto month = take(text, 2);
  if (!month || !take(text, "-")) return std::nullopt;
  const auto day = take(text, 2);
  if (!day || !take(text, "Tt ")) return std::nullopt;
  const auto hour = take(text, 2);
  if (!hour || *hour > 23 || !take(text, ":")) return std::nullopt;
  const auto minute = take(text, 2);
  if (!minute || *minute > 59 || !take(text, ":")) return std::nullopt;
  auto second = take(text, 2);
  if (!second || *second > 60) return std::nullopt;
  if (*second == 60) second = 59;
  const auto fraction = take_fraction(text);
  if (!fraction) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return WallTime(std::chrono::sys_days(date) + hours(*hour) + minutes(*minute) + seconds(*second) + *fraction - *offset);
}

std::string format_duration(seconds duration) {
  constexpr std::array<std::pair<std::int64_t, char>, 4> units{{{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};
  auto left = duration.count();
  if (left < 0) return "-" + format_duration(-duration);
  for (std::size_t i = 0; i < units.size(); ++i) {
    const auto [size, letter] = units[i];
    if (left < size && i + 1 < units.size()) continue;
    std::string text = std::to_string(left / size) + letter;
    const auto rest = i + 1 < units.size() ? left % size / units[i + 1].first : 0;
    return rest > 0 ? text + std::to_string(rest) + units[i + 1].second : text;
  }
  return "0s";
}

}  // namespace reconcile
