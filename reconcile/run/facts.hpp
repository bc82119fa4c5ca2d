// Facts: answers the queries of plans: one GET, LIST or HTTP exchange each, for one key. For the Env's thread only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/run/loop.hpp"

namespace reconcile {

constexpr std::size_t max_queries = 32, max_lists = 8;  // of a plan; what comes after is not asked
constexpr std::size_t max_fact = 4u << 20;              // bytes; more is Code::invalid

using Facts = std::map<std::string, Fact, std::less<>>;

// Drops from `facts` what `queries` doesn't name, and asks the API for what is missing or older than its max_age. `done` comes when all
// have been answered: never from inside the call. Null: nothing was to be asked. Dropping the handle cancels. `pool`: for the strings of
// Fact::items (list_items.hpp), which keys share; it must live longer than the handle.
[[nodiscard]] Handle ask_facts(Env& env, Pool& pool, const std::vector<Query>& queries, Facts& facts, std::function<void()> done);

// The HTTP questions of one key that are under way, by id. Dropping one cancels it.
struct Inquiry {
  std::size_t question = 0;
  Handle handle;
};
using Inquiries = std::map<std::string, Inquiry, std::less<>>;

// The same for HTTP queries, but nobody waits: each answer stands in `facts` when `answered` comes. A question that is under way is not
// asked twice; what is not named any more is cancelled. `facts` and `asking` must live as long as each other.
void ask_http(Env& env, const std::vector<Query>& queries, Facts& facts, Inquiries& asking, const std::function<void()>& answered);

}  // namespace reconcile
