// Facts: answers the queries of plans: one GET or LIST each, for one key. For the Env's thread only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/run/loop.hpp"

namespace reconcile {

constexpr std::size_t max_queries = 8;      // of a plan; what comes after is not asked
constexpr std::size_t max_fact = 4u << 20;  // bytes; more is Code::invalid

// Drops from `facts` what `queries` doesn't name, and asks for what is missing or older than its max_age. `done` comes when all have been
// answered, with the number that were asked: never from inside the call. Null: nothing was to be asked. Dropping the handle cancels.
[[nodiscard]] Handle ask_facts(Env& env, const std::vector<Query>& queries, std::map<std::string, Fact, std::less<>>& facts,
                               std::function<void()> done);

}  // namespace reconcile
