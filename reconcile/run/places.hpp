// Places: how many passes may be under way at once for each line: a connection that they write to or ask, or one cluster's permits. Who
// finds none free stands in that line, in order, and costs nothing else: one API server that hangs, or is slow, holds its own line up and
// nobody else's. A line rests when its API server said Retry-After: no place of it is given until then.
//
// A pure data structure: time is handed in. Memory: one entry a line that is used, waited for, or rests.
#pragma once
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reconcile/base/time.hpp"
#include "reconcile/kube/meta.hpp"

namespace reconcile {

class Places {
 public:
  using Waiter = std::pair<std::size_t, Key>;  // a loop, by number, and its key
  static constexpr std::chrono::seconds longest_rest{60};

  // False: none of `limit` is free. Then `who` waits in that line, and is named by give() or rested() when a place has been taken for it.
  bool take(const std::string& line, int limit, const Waiter& who, MonoTime now);
  std::vector<Waiter> give(const std::string& line, MonoTime now);  // a place back: who has it now, if anybody

  void rest(const std::string& line, MonoTime until, MonoTime now);  // never shortens a rest; at most longest_rest
  std::optional<MonoTime> rests(std::string_view line, MonoTime now) const;
  std::vector<Waiter> rested(MonoTime now);  // who has a place now that its line's rest is over
  std::optional<MonoTime> next() const;      // when rested() may have somebody

  std::vector<Waiter> dismiss(const std::string& line);  // who waits there waits no more, without a place
  std::vector<Waiter> dismiss_all();
  std::map<std::string, std::size_t> waiting() const;  // by line
  bool empty() const { return lines_.empty(); }

 private:
  struct Line {
    int taken = 0, limit = 0;
    std::deque<Waiter> waiting;
    MonoTime rests_until = MonoTime::min();
  };
  using Lines = std::map<std::string, Line, std::less<>>;
  static void fill(Line& line, MonoTime now, std::vector<Waiter>& out);

  Lines lines_;
};

}  // namespace reconcile
