#include "reconcile/run/places.hpp"

#include <algorithm>

namespace reconcile {

bool Places::take(const std::string& name, int limit, const Waiter& who, MonoTime now) {
  Line& line = lines_[name];
  line.limit = limit;
  const bool free = line.waiting.empty() && line.taken < limit && line.rests_until <= now;
  if (free)
    ++line.taken;
  else
    line.waiting.push_back(who);
  return free;
}

void Places::fill(Line& line, MonoTime now, std::vector<Waiter>& out) {
  if (line.rests_until > now) return;
  for (; !line.waiting.empty() && line.taken < line.limit; line.waiting.pop_front()) {
    ++line.taken;
    out.push_back(line.waiting.front());
  }
}

std::vector<Places::Waiter> Places::give(const std::string& name, MonoTime now) {
  std::vector<Waiter> out;
  const auto it = lines_.find(name);
  if (it == lines_.end()) return out;
  Line& line = it->second;
  line.taken = std::max(0, line.taken - 1);
  fill(line, now, out);
  if (line.taken == 0 && line.waiting.empty() && line.rests_until <= now) lines_.erase(it);
  return out;
}

void Places::rest(const std::string& name, MonoTime until, MonoTime now) {
  Line& line = lines_[name];
  line.rests_until = std::max(line.rests_until, std::min(until, now + longest_rest));
}

std::optional<MonoTime> Places::rests(std::string_view name, MonoTime now) const {
  const auto it = lines_.find(name);
  if (it == lines_.end() || it->second.rests_until <= now) return std::nullopt;
  return it->second.rests_until;
}

std::vector<Places::Waiter> Places::rested(MonoTime now) {
  std::vector<Waiter> out;
  for (auto it = lines_.begin(); it != lines_.end();) {
    fill(it->second, now, out);
    const Line& line = it->second;
    const bool used = line.taken > 0 || !line.waiting.empty() || line.rests_until > now;
    it = used ? std::next(it) : lines_.erase(it);
  }
  return out;
}

std::optional<MonoTime> Places::next() const {
  std::optional<MonoTime> out;
  for (const auto& [name, line] : lines_)
    if (!line.waiting.empty() && line.taken < line.limit && (!out || line.rests_until < *out)) out = line.rests_until;
  return out;
}

std::vector<Places::Waiter> Places::dismiss(const std::string& name) {
  const auto it = lines_.find(name);
  if (it == lines_.end()) return {};
  std::vector<Waiter> out(it->second.waiting.begin(), it->second.waiting.end());
  it->second.waiting.clear();
  return out;
}

std::vector<Places::Waiter> Places::dismiss_all() {
  std::vector<Waiter> out;
  for (auto& [name, line] : lines_) {
    out.insert(out.end(), line.waiting.begin(), line.waiting.end());
    line.waiting.clear();
  }
  return out;
}

std::map<std::string, std::size_t> Places::waiting() const {
  std::map<std::string, std::size_t> out;
  for (const auto& [name, line] : lines_)
    if (!line.waiting.empty()) out[name] = line.waiting.size();
  return out;
}

}  // namespace reconcile
