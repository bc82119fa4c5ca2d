#include "e2e/chaos/judge.hpp"

#include <catch2/catch.hpp>

using namespace endstate;
using namespace std::chrono_literals;
namespace api = endstate::v1alpha1;
using reconcile::WallTime;

namespace {

const WallTime epoch{std::chrono::sys_days(std::chrono::year(2026) / 11 / 25)};

// A cluster of machines that all work, a set of them with maxUnavailable 2, and a budget.
struct Rig {
  chaos::Judge judge;
  api::Cluster cluster;
  api::MachineSet set;
  api::ChangeBudget budget;
  api::GuardLedger ledger;
  std::vector<api::Machine> machines;
  std::vector<api::HostAssignment> assignments;
  WallTime now = epoch;

  explicit Rig(std::size_t count = 10) {
    cluster.metadata.name = "hz-a";
    cluster.metadata.name_space = "default";
    judge.saw_cluster(nullptr, &cluster);
    set.metadata.name = "workers";
    set.metadata.name_space = "default";
    set.spec.replicas = static_cast<std::int64_t>(count);
    set.spec.rollout.max_unavailable = api::IntOrPercent{2, false};
    judge.saw_set(nullptr, &set);
    budget.metadata.name = "default";
    budget.spec.max_unavailable = api::IntOrPercent{30, true};
    api::BudgetLimit limit;
    limit.name = "updates";
    limit.operations = {api::BudgetOperation::machine_update, api::BudgetOperation::machine_rollback};
    limit.windows = {{60s, 3}};
    limit.max_concurrent = api::IntOrPercent{2, false};
    budget.spec.limits = {limit};
    judge.saw_budget(nullptr, &budget);
    ledger.metadata.name = "hz-a";
    ledger.metadata.name_space = "default";
    ledger.spec.cluster_name = "hz-a";
    for (std::size_t i = 0; i < count; ++i) add(i);
    judge.begin();
    judge.look(now);
  }
  void add(std::size_t i) {
    api::Machine m;
    m.metadata.name = reconcile::Text("m-" + std::to_string(i));
    m.metadata.name_space = "default";
    m.metadata.uid = reconcile::Text("uid-" + std::to_string(i));
    m.metadata.labels = {{api::label::set_name, "workers"}};
    m.spec.cluster_name = "hz-a";
    m.status.node_ref = api::UidRef{"node", {}};
    m.status.failure_domain = reconcile::Text("rack-" + std::to_string(i % 2));
    ready(m, true);
    machines.push_back(m);
    judge.saw_machine(nullptr, &m, now);
    api::HostAssignment a;
    a.metadata.name = reconcile::Text("host-" + std::to_string(i));
    a.spec.machine_uid = m.metadata.uid;
    a.spec.revision = "r1";
    assignments.push_back(a);
    judge.saw_assignment(nullptr, &a, now);
  }
  static void ready(api::Machine& m, bool is) {
    api::Condition c;
    c.type = api::condition::ready;
    c.status = is ? api::ConditionStatus::true_ : api::ConditionStatus::false_;
    reconcile::set_condition(m.status.conditions, c, epoch);
  }
  template <class F>
  void edit(std::size_t i, F change) {
    const auto before = machines[i];
    change(machines[i]);
    judge.saw_machine(&before, &machines[i], now);
  }
  void assign(std::size_t i, std::string_view revision) {
    const auto before = assignments[i];
    assignments[i].spec.revision = revision;
    judge.saw_assignment(&before, &assignments[i], now);
  }
  void grant(std::string_view id) {
    const auto before = ledger;
    ledger.status.grants.push_back({.id = id});
    judge.saw_ledger(&before, &ledger);
  }
  // What a well-behaved operator does: a grant, the lock, then the assignment.
  void begin(std::size_t i, std::string_view revision, api::OperationType type = api::OperationType::update) {
    const auto id = "g-" + std::to_string(i) + std::string(revision);
    grant(id);
    edit(i, [&](api::Machine& m) {
      m.status.operation = api::Operation{.id = reconcile::Text(id), .type = type, .revision = revision, .start_time = now};
      ready(m, false);
    });
    assign(i, revision);
  }
  void end(std::size_t i) {
    edit(i, [&](api::Machine& m) {
      const auto op = *m.status.operation;
      m.status.last_operation =
          api::LastOperation{.id = op.id, .type = op.type, .revision = op.revision, .start_time = op.start_time, .end_time = now};
      m.status.operation.reset();
      ready(m, true);
    });
  }
  void pass(std::chrono::seconds time) {
    for (std::chrono::seconds s{0}; s < time; ++s) {
      now += 1s;
      judge.look(now);
    }
  }
  chaos::Row row(std::string_view part) const {
    for (const auto& r : judge.rows())
      if (r.what.find(part) != std::string::npos) return r;
    FAIL("no row of " << part);
    return {};
  }
};

}  // namespace

TEST_CASE("a rollout within its limits is judged good, and its most is told with its time", "[chaos]") {
  Rig rig;
  for (std::size_t i = 0; i < 10; i += 2) {
    rig.begin(i, "r2");
    rig.pass(1s);
    rig.begin(i + 1, "r2");
    rig.pass(5s);
    rig.end(i);
    rig.end(i + 1);
    rig.pass(60s);
  }
  CHECK_FALSE(rig.judge.exceeded());
  CHECK(rig.row("MachineSet default/workers: unavailable").most == 2);
  CHECK(rig.row("MachineSet default/workers: unavailable").when == epoch + 1s);
  CHECK(rig.row("ChangeBudget default: unavailable in default/hz-a").limit == 3);
  CHECK(rig.row("under way").most == 2);
  CHECK(rig.row("started in 1m").most == 2);
  CHECK(rig.row("without an operation").most == 0);
  CHECK(rig.row("without a grant").most == 0);
  CHECK(rig.judge.touched("r2") == 10);
  CHECK(rig.judge.started("MachineUpdate") == 10);
  CHECK_THAT(chaos::table(rig.judge), !Catch::Contains("EXCEEDED") && Catch::Contains("started in 1m"));
}

TEST_CASE("one machine too many out of service is seen, even between two seconds", "[chaos]") {
  Rig rig;
  for (std::size_t i = 0; i < 3; ++i) rig.edit(i, [](api::Machine& m) { Rig::ready(m, false); });
  for (std::size_t i = 0; i < 3; ++i) rig.edit(i, [](api::Machine& m) { Rig::ready(m, true); });
  rig.pass(5s);
  CHECK(rig.judge.exceeded());
  const auto set = rig.row("MachineSet default/workers: unavailable");
  CHECK(set.most == 3);
  CHECK(set.exceeded_by == 1);
  CHECK(set.exceeded_at == epoch);
  CHECK_FALSE(rig.row("ChangeBudget default: unavailable").exceeded);  // 30% of 10
  CHECK_THAT(chaos::table(rig.judge), Catch::Contains("EXCEEDED by 1, first at 00:00:00"));
}

TEST_CASE("machines that were never in service or are being deleted cost no availability", "[chaos]") {
  Rig rig;
  for (std::size_t i = 0; i < 4; ++i)
    rig.edit(i, [](api::Machine& m) {
      m.metadata.deletion_timestamp = epoch;
      Rig::ready(m, false);
    });
  for (std::size_t i = 10; i < 15; ++i) {
    rig.add(i);
    rig.edit(i, [](api::Machine& m) {
      m.status.node_ref.reset();
      Rig::ready(m, false);
    });
  }
  CHECK(rig.row("MachineSet default/workers: unavailable").most == 0);
  CHECK_FALSE(rig.judge.exceeded());
}

TEST_CASE("a window is judged wherever it begins", "[chaos]") {
  // The window of 60 s allows 3. Four starts within 59 s are one too many, however they lie to the clock's minutes.
  const auto run = [](std::chrono::seconds last) {
    Rig rig;
    rig.pass(45s);
    for (std::size_t i = 0; i < 3; ++i) {
      rig.begin(i, "r2");
      rig.pass(1s);
      rig.end(i);
    }
    rig.pass(last - 3s);
    rig.begin(3, "r2");
    rig.end(3);
    rig.pass(1s);
    return rig.row("started in 1m");
  };
  CHECK(run(59s).exceeded_by == 1);
  CHECK_FALSE(run(60s).exceeded);
}

TEST_CASE("an operation that came and went between two looks is counted by its end", "[chaos]") {
  Rig rig;
  for (std::size_t i = 0; i < 4; ++i) {
    rig.grant("g");
    rig.edit(i, [&](api::Machine& m) {
      m.status.last_operation = api::LastOperation{.id = "g", .type = api::OperationType::update, .revision = "r2", .start_time = rig.now};
    });
  }
  rig.pass(1s);
  CHECK(rig.row("started in 1m").most == 4);
  CHECK(rig.judge.exceeded());
}

TEST_CASE("an operation is one start, however often it is seen; the same id at another time is another", "[chaos]") {
  Rig rig;
  rig.begin(0, "r2");
  rig.pass(1s);
  rig.edit(0, [](api::Machine& m) { m.status.phase = api::MachinePhase::updating; });
  rig.end(0);
  rig.pass(90s);
  CHECK(rig.judge.started("MachineUpdate") == 1);
  rig.begin(0, "r2");
  rig.pass(1s);
  CHECK(rig.judge.started("MachineUpdate") == 2);
}

TEST_CASE("the way back is not held by a window, but counts as under way", "[chaos]") {
  Rig rig;
  for (std::size_t i = 0; i < 6; ++i) {
    rig.begin(i, "r1", api::OperationType::rollback);
    rig.pass(1s);
    rig.end(i);
  }
  CHECK_FALSE(rig.judge.exceeded());
  CHECK(rig.row("under way").most == 1);
  for (std::size_t i = 0; i < 3; ++i) rig.begin(i, "r0", api::OperationType::rollback);
  CHECK(rig.row("under way").exceeded_by == 1);
}

TEST_CASE("each failure domain has its own account where the limit says so", "[chaos]") {
  Rig rig;
  const auto before = rig.budget;
  rig.budget.spec.limits[0].scope = api::LimitScope::failure_domain;
  rig.budget.spec.limits[0].max_concurrent = api::IntOrPercent{1, false};
  rig.judge.saw_budget(&before, &rig.budget);
  rig.begin(0, "r2");
  rig.begin(1, "r2");  // the other rack
  rig.pass(1s);
  CHECK_FALSE(rig.judge.exceeded());
  rig.begin(2, "r2");
  CHECK(rig.row("under way in default/hz-a rack-0").exceeded);
  CHECK_FALSE(rig.row("under way in default/hz-a rack-1").exceeded);
}

TEST_CASE("a budget that doesn't select the cluster says nothing about it", "[chaos]") {
  Rig rig;
  const auto before = rig.budget;
  rig.budget.spec.cluster_selector.match_labels = {{"tier", "other"}};
  rig.judge.saw_budget(&before, &rig.budget);
  for (std::size_t i = 0; i < 10; ++i) rig.begin(i, "r2");
  rig.pass(1s);
  for (const auto& r : rig.judge.rows()) CHECK(r.what.find("ChangeBudget") == std::string::npos);
  CHECK(rig.row("MachineSet").exceeded);
}

TEST_CASE("a host that is given a revision without an operation is found out", "[chaos]") {
  Rig rig;
  rig.assign(0, "r2");
  rig.pass(5s);
  CHECK_FALSE(rig.judge.exceeded());  // the other watch may be late
  rig.pass(10s);
  CHECK(rig.row("without an operation").most == 1);
  CHECK(rig.judge.exceeded());
}

TEST_CASE("an operation without a grant is found out", "[chaos]") {
  Rig rig;
  rig.edit(0, [&](api::Machine& m) {
    m.status.operation = api::Operation{.id = "made-up", .type = api::OperationType::update, .revision = "r2", .start_time = rig.now};
  });
  rig.pass(5s);
  CHECK_FALSE(rig.judge.exceeded());
  rig.pass(10s);
  CHECK(rig.row("without a grant").most == 1);
}

TEST_CASE("nothing is judged before all has been shown", "[chaos]") {
  chaos::Judge judge;
  api::MachineSet set;
  set.metadata.name = "workers";
  judge.saw_set(nullptr, &set);
  api::Machine m;
  m.metadata.uid = "u";
  m.metadata.labels = {{api::label::set_name, "workers"}};
  m.status.node_ref = api::UidRef{"node", {}};
  judge.saw_machine(nullptr, &m, epoch);
  judge.look(epoch);
  CHECK(judge.rows().empty());
}
