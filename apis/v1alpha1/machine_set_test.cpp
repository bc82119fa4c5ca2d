#include "apis/v1alpha1/machine_set.hpp"

#include <catch2/catch.hpp>

using namespace endstate::v1alpha1;
using namespace std::chrono_literals;

TEST_CASE("shares are rounded as asked and stay within the total", "[apis]") {
  struct Row {
    IntOrPercent value;
    std::int64_t total, down, up;
  };
  const Row table[] = {
      {{10, true}, 100, 10, 10}, {{10, true}, 99, 9, 10},
      {{10, true}, 9, 0, 1},     {{1, true}, 1, 0, 1},
      {{100, true}, 7, 7, 7},    {{0, true}, 50, 0, 0},
      {{3, false}, 2, 2, 2},     {{3, false}, 100, 3, 3},
      {{-1, false}, 5, 0, 0},    {{5, true}, 0, 0, 0},
      {{33, true}, 3, 0, 1},     {{67, true}, 3, 2, 3},
      {{5, false}, -3, 0, 0},    {{99, true}, 100'000, 99'000, 99'000},
  };
  for (const auto& row : table) {
    INFO(row.value.value << (row.value.percent ? "%" : "") << " of " << row.total);
    CHECK(scaled(row.value, row.total, false) == row.down);
    CHECK(scaled(row.value, row.total, true) == row.up);
  }
}

TEST_CASE("what a user leaves out has the documented meaning", "[apis]") {
  const Rollout r;
  CHECK(type(r) == RolloutType::in_place);
  CHECK(max_unavailable(r) == IntOrPercent{10, true});
  CHECK(max_surge(r) == IntOrPercent{});
  CHECK(pick(r) == Pick::spread);
  CHECK(min_ready(r) == 0s);
  CHECK(progress_deadline(r) == 3600s);
  CHECK(machine_timeout(r) == 1800s);
  CHECK(partition(r) == 0);
  CHECK(action(r.on_failure) == FailureAction::rollback);
  CHECK(max_failed(RolloutStep{}) == IntOrPercent{});
  CHECK(drain_timeout(Deletion{}) == 600s);
  CHECK(node_deletion_timeout(Deletion{}) == 300s);
  const MachineSetSpec s;
  CHECK(replicas(s) == 1);
  CHECK(revision_history_limit(s) == 10);
}

TEST_CASE("a machine's spec carries all of the template's", "[apis]") {
  MachineTemplateSpec t;
  t.packages = {{"kubelet", {"kubelet-1.34.4"}}};
  t.readiness_gates = {{"NetworkReady"}};
  t.taints = {{"gpu", "yes", TaintEffect::no_execute}};
  t.labels = {{"zone", "a"}};
  t.deletion.node_drain_timeout = 5s;
  const auto m = machine_spec(t, "hz-a");
  CHECK(m.cluster_name == "hz-a");
  CHECK(m.packages == t.packages);
  CHECK(m.readiness_gates == t.readiness_gates);
  CHECK(m.taints == t.taints);
  CHECK(m.labels == t.labels);
  CHECK(m.deletion == t.deletion);
  CHECK(m.host_name.empty());
}

TEST_CASE("label selectors choose as Kubernetes' do", "[apis]") {
  const Labels prod{{"tier", "prod"}, {"zone", "a"}}, bare;
  using O = SelectorOperator;
  const auto one = [](Text key, O op, std::vector<Text> values = {}) {
    LabelSelector s;
    s.match_expressions = {{std::move(key), op, std::move(values)}};
    return s;
  };
  CHECK(matches({}, prod));
  CHECK(matches({}, bare));
  CHECK(matches({.match_labels = {{"tier", "prod"}}, .match_expressions = {}}, prod));
  CHECK_FALSE(matches({.match_labels = {{"tier", "test"}}, .match_expressions = {}}, prod));
  CHECK_FALSE(matches({.match_labels = {{"tier", "prod"}}, .match_expressions = {}}, bare));
  CHECK(matches(one("tier", O::in, {"test", "prod"}), prod));
  CHECK_FALSE(matches(one("tier", O::in, {"test"}), prod));
  CHECK_FALSE(matches(one("tier", O::in, {""}), bare));  // an absent label isn't an empty one
  CHECK(matches(one("tier", O::not_in, {"test"}), prod));
  CHECK(matches(one("tier", O::not_in, {"test"}), bare));
  CHECK_FALSE(matches(one("tier", O::not_in, {"prod"}), prod));
  CHECK(matches(one("zone", O::exists), prod));
  CHECK_FALSE(matches(one("zone", O::exists), bare));
  CHECK(matches(one("zone", O::does_not_exist), bare));
  CHECK_FALSE(matches(one("zone", O::does_not_exist), prod));
  auto both = one("zone", O::exists);
  both.match_labels = {{"tier", "test"}};
  CHECK_FALSE(matches(both, prod));  // all demands must hold
}

TEST_CASE("a failure domain is as much of the place as is known", "[apis]") {
  Hardware h;
  CHECK(failure_domain(h).empty());
  h.idc = "hz";
  CHECK(failure_domain(h) == "hz");
  h.rack = "r1";
  CHECK(failure_domain(h) == "hz/r1");
}
