#include "controllers/machine_set/steps.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;

namespace {

std::vector<std::int64_t> targets(const std::vector<Step>& steps) {
  std::vector<std::int64_t> out;
  for (const auto& s : steps) out.push_back(s.target);
  return out;
}
api::Rollout rollout_of(std::vector<api::IntOrPercent> counts) {
  api::Rollout r;
  for (const auto& c : counts) r.steps.push_back(step_of("s" + std::to_string(r.steps.size()), c));
  return r;
}

}  // namespace

TEST_CASE("steps are counts that round up and never fall", "[machine_set]") {
  using List = std::vector<std::int64_t>;
  const auto r = rollout_of({{1, false}, {5, true}, {25, true}, {100, true}});
  CHECK(targets(resolve_steps(r, 100)) == List{1, 5, 25, 100});
  CHECK(targets(resolve_steps(r, 101)) == List{1, 6, 26, 101});
  CHECK(targets(resolve_steps(r, 10)) == List{1, 1, 3, 10});
  CHECK(targets(resolve_steps(r, 2)) == List{1, 1, 1, 2});  // under 100% one is left
  CHECK(targets(resolve_steps(r, 1)) == List{1, 1, 1, 1});
  CHECK(targets(resolve_steps(r, 0)) == List{0, 0, 0, 0});
  CHECK(targets(resolve_steps(rollout_of({{30, false}, {5, true}}), 100)) == List{30, 30, 100});  // a share below the count before
  CHECK(targets(resolve_steps(rollout_of({{30, false}}), 10)) == List{10, 10});
}

TEST_CASE("a last step of everybody is implied", "[machine_set]") {
  const auto all = resolve_steps(api::Rollout{}, 10);
  REQUIRE(all.size() == 1);
  CHECK((all[0].name == "all" && all[0].last && all[0].target == 10));
  auto r = rollout_of({{10, true}});
  r.steps[0].name = "rest";
  const auto two = resolve_steps(r, 10);
  REQUIRE(two.size() == 2);
  CHECK((two[1].name == "rest-2" && two[1].last && !two[0].last));
  CHECK(resolve_steps(rollout_of({{10, true}, {100, true}}), 10).size() == 2);
  r.steps.clear();
  r.partition = 3;
  const auto kept = resolve_steps(r, 10);
  REQUIRE(kept.size() == 1);
  CHECK((kept[0].target == 7 && !kept[0].last));
  r.partition = 30;
  CHECK(resolve_steps(r, 10)[0].target == 0);
}

TEST_CASE("failures that an earlier step tolerated don't condemn later", "[machine_set]") {
  auto r = rollout_of({{10, false}, {50, true}});
  r.steps[0].max_failed = api::IntOrPercent{2, false};
  const auto steps = resolve_steps(r, 100);
  CHECK((steps[0].max_failed == 2 && steps[1].max_failed == 2 && steps[2].max_failed == 2));
  r.steps[1].max_failed = api::IntOrPercent{10, true};  // of 50, and of 100 in the implied step
  const auto shares = resolve_steps(r, 100);
  CHECK((shares[1].max_failed == 5 && shares[2].max_failed == 10));
}

TEST_CASE("an edit of the steps neither takes back nor jumps over a pause", "[machine_set]") {
  const auto steps = resolve_steps(rollout_of({{1, false}, {10, true}, {50, true}}), 100);
  CHECK(locate_step(steps, "s1", 0) == 1);
  CHECK(locate_step(steps, "gone", 25) == 1);  // 10 are passed, 50 are ahead
  CHECK(locate_step(steps, "gone", 0) == 0);
  CHECK(locate_step(steps, "gone", 100) == 3);
}

TEST_CASE("maxUnavailable is a floor of at least one, maxSurge a ceiling", "[machine_set]") {
  api::Rollout r;
  CHECK(allowed_unavailable(r, 100) == 10);
  CHECK(allowed_unavailable(r, 19) == 1);
  CHECK(allowed_unavailable(r, 3) == 1);
  r.max_unavailable = api::IntOrPercent{0, false};
  CHECK(allowed_unavailable(r, 100) == 0);
  r.max_unavailable = api::IntOrPercent{5, false};
  CHECK(allowed_unavailable(r, 3) == 3);
  r.max_surge = api::IntOrPercent{10, true};
  CHECK(allowed_surge(r, 25) == 0);  // in place nothing is made
  r.type = api::RolloutType::recreate;
  CHECK(allowed_surge(r, 25) == 3);
}

TEST_CASE("machine names are deterministic, short, and rarely meet", "[machine_set]") {
  CHECK(machine_name("workers", "u", 0) == machine_name("workers", "u", 0));
  CHECK(machine_name("workers", "u", 0) != machine_name("workers", "v", 0));
  CHECK(machine_name("workers", "u", 7).size() == std::string("workers-12345").size());
  std::set<std::string> names;
  for (std::uint64_t i = 0; i < 10'000; ++i) names.insert(machine_name("workers", "u", i));
  CHECK(names.size() > 9'980);  // of 27^5 names: about 3.5 pairs are to be expected
}
