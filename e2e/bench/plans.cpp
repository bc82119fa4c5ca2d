// plan_bench: what planning costs, and how many writes a rollout costs, without an API server. One row a figure, as e2e/bench/run.sh prints
// them; never judges: a slow machine is no failure.
//
//   PLAN_BENCH_MACHINES  of the plans that are measured (default 10000)
//   PLAN_BENCH_ROLLOUT   of the rollout that is played to its end (default 2000; 0: none; 10000 takes minutes)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <vector>

#include "controllers/guard/domain_windows.hpp"
#include "controllers/guard/fleet.hpp"
#include "e2e/bench/table_world.hpp"
#include "reconcile/json/encode.hpp"

namespace {

using namespace endstate;
using namespace std::chrono_literals;

double cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

// Pushes everything else out of the caches: 64 MiB is more than any last level that this runs on.
void cool_down() {
  static std::vector<char> block(64U << 20U);
  for (std::size_t i = 0; i < block.size(); i += 64) block[i] = static_cast<char>(block[i] + 1);
}

// The median of CPU times; others use the machine too.
double measure(bool cold, const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < 15; ++i) {
    if (cold) cool_down();
    const auto began = cpu_ms();
    work();
    times.push_back(cpu_ms() - began);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void row(double value, double target, const char* unit, const char* text) {
  std::printf("  %-46s %9.2f %-12s target <= %-7g ratio %.2f\n", text, value, unit, target, value / target);
}

void plan_rows(const bench::TableWorld& world, const std::string& when) {
  const auto snapshot = world.set_snapshot();
  const auto once = [&] { (void)machine_set::plan(snapshot); };
  row(measure(false, once), 5, "ms", ("plan of the set, " + when + ", warm").c_str());
  row(measure(true, once), 5, "ms", ("plan of the set, " + when + ", cold").c_str());
}

// What a guard has at hand: the fleet as it follows the caches, 500 machines under way by their locks, 300 failure domains, every bucket of
// every window filled, those of scope FailureDomain too, failures counted.
struct GuardScene {
  GuardScene(const bench::TableWorld& world, std::size_t machines) : snapshot(world.guard_snapshot()) {
    auto budget = *snapshot.budgets.front();
    budget.spec.max_unavailable = reconcile::IntOrPercent{100, true};  // everything is looked at, nothing ends early by a refusal
    budget.spec.limits.front().max_concurrent = reconcile::IntOrPercent{100, true};
    budget.spec.breaker = v1alpha1::Breaker{.failures = v1alpha1::FailureLimit{100'000, 3600s}};
    auto by_domain = budget.spec.limits.front();
    by_domain.name = "racks";
    by_domain.scope = v1alpha1::LimitScope::failure_domain;
    budget.spec.limits.push_back(by_domain);
    snapshot.budgets.front() = std::make_shared<v1alpha1::ChangeBudget>(budget);
    for (std::size_t i = 0; i < snapshot.machines.size(); ++i) {
      auto m = *snapshot.machines[i];
      m.status.failure_domain = reconcile::Text("idc-a/rack-" + std::to_string(i % 300));
      m.status.operation.reset();
      if (i < std::min<std::size_t>(500, machines / 4))
        m.status.operation = v1alpha1::Operation{.id = world.request(i).id(),
                                                 .type = v1alpha1::OperationType::update,
                                                 .revision = "another",
                                                 .start_time = snapshot.now,
                                                 .deadline = snapshot.now + 1h};
      snapshot.machines[i] = std::make_shared<v1alpha1::Machine>(std::move(m));
    }
    fleet = guard::count({.cluster = snapshot.object, .machines = snapshot.machines, .hosts = {}, .assignments = {}});
    snapshot.fleet = &fleet;
    snapshot.ledger = {};
    fill(budget);
    for (std::size_t i = 0; i < 50; ++i) {
      requests.push_back(world.request(machines - 1 - i));
      requests.back().domain = snapshot.machines[machines - 1 - i]->status.failure_domain;
    }
  }
  void fill(const v1alpha1::ChangeBudget& budget) {
    guard::DomainWindows domains(snapshot.ledger);
    const auto now = snapshot.now;
    for (const auto& limit : budget.spec.limits)
      for (const auto& w : limit.windows)
        if (v1alpha1::scope(limit) == v1alpha1::LimitScope::cluster) {
          v1alpha1::LedgerWindow window{.budget = budget.metadata.name, .limit = limit.name, .duration = w.duration};
          for (int b = 59; b >= 0; --b) window.buckets.push_back({now - w.duration * b / 60, 10});
          snapshot.ledger.windows.push_back(std::move(window));
        } else {
          for (int domain = 0; domain < 300; ++domain)
            for (int b = 11; b >= 0; --b)
              domains.add(budget.metadata.name, limit.name, w.duration, "idc-a/rack-" + std::to_string(domain), now - w.duration * b / 12,
                          1);
        }
    domains.store(snapshot.ledger);
  }
  guard::Snapshot snapshot;
  guard::Fleet fleet;
  std::vector<reconcile::PermitRequest> requests;
};

void guard_rows(const bench::TableWorld& world, std::size_t machines) {
  GuardScene scene(world, machines);
  const auto once = [&] { (void)guard::decide(scene.snapshot, scene.requests); };
  row(measure(false, once), 5, "ms", "guard: 50 requests, 500 under way, warm");
  row(measure(true, once), 5, "ms", "guard: 50 requests, 500 under way, cold");
  const auto decision = guard::decide(scene.snapshot, scene.requests);
  row(static_cast<double>(reconcile::encode(decision.ledger).size()) / 1024, 64, "KiB", "guard: the account, 300 failure domains");
  std::printf("    %zu of 50 granted, %zu permits, %zu windows of failure domains\n", decision.fresh.size(), decision.ledger.grants.size(),
              decision.ledger.domain_windows.size());
}

std::size_t from_environment(const char* name, std::size_t otherwise, std::size_t least) {
  const char* given = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): one thread
  return given != nullptr ? std::clamp<std::size_t>(std::strtoull(given, nullptr, 10), least, 100'000) : otherwise;
}

// Until half of it is updated; a few hours of its own time are more than it takes.
void begin_rollout(bench::TableWorld& world) {
  world.change("v1");
  for (int i = 0; i < 25; ++i) world.tick();  // until the status speaks of the new template
  while (world.share_updated() < 0.5 && world.time() < 4h) world.tick();
}

bool play_rollout(std::size_t machines) {
  bench::TableWorld world(machines);
  begin_rollout(world);
  while (!world.complete() && world.time() < 4h) world.tick();
  if (!world.complete()) return false;
  const auto& w = world.writes();
  const auto each = [&](std::int64_t n) { return static_cast<double>(n) / static_cast<double>(machines); };
  std::printf("a rollout of a RestartService package over %zu machines, played by the plans (%lld s of its own time):\n", machines,
              static_cast<long long>(std::chrono::floor<std::chrono::seconds>(world.time()).count()));
  row(each(w.total()), 5, "writes", "writes of the operator a machine");
  std::printf("    of these: wish %.2f, lock %.2f, assignment %.2f, progress %.2f, end %.2f, ledger %.3f, set %.3f, others %.4f\n",
              each(w.machine_specs), each(w.machine_locks), each(w.assignments), each(w.machine_progress), each(w.machine_ends),
              each(w.ledger), each(w.set), each(w.others));
  return true;
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // each row when it is known
  const auto machines = from_environment("PLAN_BENCH_MACHINES", 10'000, 100);
  const auto rollout = from_environment("PLAN_BENCH_ROLLOUT", 2'000, 0);
  std::printf("plans over %zu machines, CPU of one thread:\n", machines);
  bench::TableWorld world(machines);
  plan_rows(world, "at rest");
  begin_rollout(world);
  plan_rows(world, "half rolled out");
  guard_rows(world, machines);
  if (rollout > 0 && !play_rollout(rollout)) {
    std::fprintf(stderr, "plan_bench: the rollout does not end\n");
    return 1;
  }
  return 0;
}
