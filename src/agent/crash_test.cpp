// The power goes between any two steps, or the disk is full at any of them: the host ends in the old or the new version, and says which.
#include <catch2/catch.hpp>

#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

using State = api::PackageState;

// Everything that a package can have: archive, files, a unit, sysctls, hooks, a probe; the two versions share some and differ in some.
api::ResolvedPackage version_1(const Machine& m) {
  return make_package(m, {.slot = "app",
                          .version = "1",
                          .more = {{.path = "share/app/common", .content = "same"}, {.path = "share/app-1/only", .content = "1"}},
                          .spec = R"(,"files":[{"path":"/etc/app/config","content":"one"},{"path":"/etc/app-1/old","content":"1"}],)"
                                  R"("sysctls":[{"name":"net.ipv4.ip_forward","value":"1"}],)"
                                  R"("service":{"unit":"app.service","content":"[Service]\nExecStart=/usr/local/bin/app\n"})"});
}
api::ResolvedPackage version_2(const Machine& m, bool bad = false) {
  return make_package(m, {.slot = "app",
                          .version = bad ? "2bad" : "2",
                          .more = {{.path = "share/app/common", .content = "same"}, {.path = "share/app-2/only", .content = "2"}},
                          .spec = R"(,"files":[{"path":"/etc/app/config","content":"two"},{"path":"/etc/app-2/new","content":"2"}],)"
                                  R"("sysctls":[{"name":"net.ipv4.ip_forward","value":"2"}],)"
                                  R"("service":{"unit":"app2.service","content":"[Service]\nExecStart=/usr/local/bin/app\n)" +
                                  std::string(bad ? "# fails" : "") + R"(\n"})"});
}

// What stands in the files that both versions have, when the power has just gone.
enum class Sees { nothing, one, two, mixed };
Sees sees(const Machine& m) {
  const auto view = outside_view(m.disk.path());
  const auto at = [&](const char* path) { return view.contains(path) ? view.at(path) : std::string(); };
  const auto binary = at("/usr/local/bin/app");
  const auto config = at("/etc/app/config");
  if (binary.find("app 1") != std::string::npos && config == "link to: one") return Sees::one;
  if (binary.find("app 2") != std::string::npos && config == "link to: two") return Sees::two;
  if (binary.find("app") == std::string::npos && config.find("one") == std::string::npos && config.find("two") == std::string::npos)
    return Sees::nothing;
  return Sees::mixed;
}

// Runs to its end or to its death; how many steps there were.
template <class Arrange>
int run(Machine& m, const std::optional<Order>& order, Arrange arrange) {
  const auto host = m.host();
  arrange(*host);
  Engine engine(*host, m.settings());
  try {
    m.settle(engine, order);
  } catch (const Killed&) {
    return -1;
  }
  return host->steps;
}
Round finish(Machine& m, const std::optional<Order>& order) {
  const auto host = m.host();
  Engine engine(*host, m.settings());
  return m.settle(engine, order);
}
const auto nothing_special = [](FaultHost&) {};

std::map<std::string, std::string> view_after(const std::function<void(Machine&)>& story) {
  Machine m;
  story(m);
  return outside_view(m.disk.path());
}

}  // namespace

TEST_CASE("killed between any two steps of an update, a host ends in the new version", "[agent][crash]") {
  const auto expected = view_after([](Machine& m) { finish(m, order_of({version_2(m)}, "g2")); });
  int steps = 0;
  {
    Machine m;
    finish(m, order_of({version_1(m)}));
    steps = run(m, order_of({version_2(m)}, "g2"), nothing_special);
    REQUIRE(steps > 20);
  }
  int in_old = 0;
  int in_new = 0;
  for (int k = 0; k < steps; ++k) {
    for (const bool after : {false, true}) {
      if (!after && k > 0) continue;  // the same as after the step before it
      Machine m;
      finish(m, order_of({version_1(m)}));
      const auto next = order_of({version_2(m)}, "g2");
      REQUIRE(run(m, next, [&](FaultHost& h) { (after ? h.kill_after : h.kill_before) = k; }) == -1);
      const auto now = sees(m);
      CHECK((now == Sees::one || now == Sees::two));  // never between, even before anybody looks after it
      (now == Sees::one ? in_old : in_new)++;
      m.units->active.clear();  // the power was gone
      m.reboot();
      const auto round = finish(m, k % 2 == 0 ? std::optional(next) : std::nullopt);  // with and without an API server
      INFO("killed " << (after ? "after" : "before") << " step " << k);
      const bool told = find_report(round, "app") != nullptr && find_report(round, "app")->actual;
      REQUIRE(told);
      const auto actual = find_report(round, "app")->actual->name.str();
      CHECK(find_report(round, "app")->state == State::ready);
      // Without an API server an order that wasn't stored yet is not known: then it is the old one, and it says so.
      const bool knows = k % 2 == 0 || actual == "app-2";
      CHECK(sees(m) == (knows ? Sees::two : Sees::one));
      CHECK(actual == (knows ? "app-2" : "app-1"));
      if (knows) CHECK(outside_view(m.disk.path()) == expected);
      CHECK(m.units->active == std::set<std::string, std::less<>>{knows ? "app2.service" : "app.service"});
      if (knows) continue;
      const auto done = finish(m, next);
      CHECK(find_report(done, "app")->actual->name == "app-2");
      CHECK(outside_view(m.disk.path()) == expected);
    }
  }
  CHECK(in_old > 5);
  CHECK(in_new > 5);
}

TEST_CASE("killed anywhere on the way to a bad version and back, a host ends in the old version", "[agent][crash]") {
  const auto expected = view_after([](Machine& m) { finish(m, order_of({version_1(m)})); });
  int steps = 0;
  {
    Machine m;
    finish(m, order_of({version_1(m)}));
    steps = run(m, order_of({version_2(m, true)}, "g2"), nothing_special);
    CHECK(outside_view(m.disk.path()) == expected);
  }
  for (int k = 0; k < steps; ++k) {
    Machine m;
    finish(m, order_of({version_1(m)}));
    const auto next = order_of({version_2(m, true)}, "g2");
    REQUIRE(run(m, next, [&](FaultHost& h) { h.kill_after = k; }) == -1);
    m.reboot();
    const auto round = finish(m, next);
    INFO("killed after step " << k);
    REQUIRE(find_report(round, "app") != nullptr);
    CHECK(find_report(round, "app")->state == State::failed);
    CHECK(find_report(round, "app")->reason == "ServiceFailed");
    CHECK(find_report(round, "app")->actual->name == "app-1");
    CHECK(outside_view(m.disk.path()) == expected);
    CHECK(get(m.at("/proc/sys/net/ipv4/ip_forward")) == "1\n");
    CHECK(m.units->active == std::set<std::string, std::less<>>{"app.service"});
  }
}

TEST_CASE("killed anywhere in an install or its removal, a host ends there or bare", "[agent][crash]") {
  const auto bare = view_after([](Machine& m) { put(m.at("/etc/app/config"), "by hand"); });
  for (const bool removal : {false, true}) {
    const auto arrange = [&](Machine& m) {
      put(m.at("/etc/app/config"), "by hand");
      if (removal) finish(m, order_of({version_1(m)}));
      auto order = order_of({version_1(m)});
      if (removal) order.spec.state = api::AssignmentState::released;
      return order;
    };
    int steps = 0;
    {
      Machine m;
      steps = run(m, arrange(m), nothing_special);
      REQUIRE(steps > 20);
    }
    for (int k = 0; k < steps; ++k) {
      Machine m;
      const auto order = arrange(m);
      REQUIRE(run(m, order, [&](FaultHost& h) { h.kill_after = k; }) == -1);
      m.reboot();
      auto round = finish(m, order);
      INFO((removal ? "removal" : "install") << ", killed after step " << k);
      if (!removal) {
        CHECK(find_report(round, "app")->state == State::ready);
        auto released = order;
        released.spec.state = api::AssignmentState::released;
        round = finish(m, released);
      }
      CHECK(round.plan.packages.empty());
      CHECK(outside_view(m.disk.path()) == bare);
      CHECK(get(m.at("/proc/sys/net/ipv4/ip_forward")) == "0\n");
      CHECK(m.units->active.empty());
      CHECK(std::filesystem::is_empty(m.at("/var/lib/endstate/generations")));
      CHECK(std::filesystem::is_empty(m.at("/var/lib/endstate/displaced")));
    }
  }
}

TEST_CASE("a disk that is full at any step, for a moment or for good", "[agent][crash]") {
  int steps = 0;
  {
    Machine m;
    finish(m, order_of({version_1(m)}));
    steps = run(m, order_of({version_2(m)}, "g2"), nothing_special);
  }
  for (int k = 0; k < steps; ++k) {
    for (const int length : {1, 1'000'000}) {
      Machine m;
      finish(m, order_of({version_1(m)}));
      const auto next = order_of({version_2(m)}, "g2");
      const auto host = m.host();
      host->fail_from = k;
      host->fail_to = k + length;
      auto engine = std::make_unique<Engine>(*host, m.settings());
      auto round = m.settle(*engine, next, 60);
      INFO("full from step " << k << " for " << length);
      CHECK(sees(m) != Sees::mixed);
      CHECK(sees(m) != Sees::nothing);
      host->fail_to = -1;  // room again
      for (int i = 0; i < 10; ++i) {
        m.pass(std::chrono::minutes(6));
        round = m.settle(*engine, next);
      }
      REQUIRE(find_report(round, "app") != nullptr);
      const auto& r = *find_report(round, "app");
      REQUIRE(r.actual);
      // What was taken back for the lack of space is not tried again before it is ordered again.
      const bool is_new = r.actual->name == "app-2";
      CHECK(r.state == (is_new ? State::ready : State::failed));
      if (!is_new) CHECK(r.reason == "DiskFull");
      CHECK(sees(m) == (is_new ? Sees::two : Sees::one));
      round = m.settle(*engine, order_of({version_2(m)}, "g3"));
      CHECK(find_report(round, "app")->state == State::ready);
      CHECK(sees(m) == Sees::two);
    }
  }
}

}  // namespace endstate::agent::testing
