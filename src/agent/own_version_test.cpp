// The agent upgrades itself, and survives its own bad version.
#include "src/agent/own_version.hpp"

#include <sys/stat.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "src/agent/reasons.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

using State = api::PackageState;
namespace fs = std::filesystem;

api::ResolvedPackage agent_package(const Machine& m, const std::string& version, const std::string& spec = "") {
  return make_package(m, {.slot = "endstate-agent", .version = version, .spec = spec});
}

// A host on which agents run, one after the other, as the first version would start them.
struct Fleet : Machine {
  std::unique_ptr<FaultHost> fault;
  std::unique_ptr<Engine> engine;
  int starts = 0;
  bool bad = false;  // the version that is on trial is no good: it ends at once

  Fleet() { start(); }
  Tree tree() const { return {disk.path(), false}; }
  void start() {
    for (int tries = 0; tries < 10; ++tries) {
      const auto start = choose_start(tree());
      program = start.program.empty() ? "/usr/local/bin/endstate-agent" : start.program;
      ++starts;
      if (start.trial && bad) continue;  // it ends; systemd starts it again
      engine.reset();
      fault = host();
      engine = std::make_unique<Engine>(*fault, settings());
      return;
    }
    FAIL("no agent comes up");
  }
  // As an agent on the API server does it: it is confirmed by its first report.
  Round settle(const Order& order, bool api = true) {
    for (int agents = 0; agents < 10; ++agents) {
      if (api) engine->confirm();
      Round round;
      for (int rounds = 0; rounds < 200; ++rounds) {
        round = engine->round(order, now());
        if (round.begin_again) break;
        if (round.did) continue;
        if (round.plan.again - mono >= look_period) return round;
        pass(std::max<std::chrono::nanoseconds>(round.plan.again - mono, std::chrono::milliseconds(1)));
      }
      if (!round.begin_again) return round;
      start();
    }
    FAIL("agents follow each other without an end");
    return {};
  }
  std::string runs() const { return get(at(program)); }
};

std::string message_of(const Round& round) {
  const auto* r = find_report(round, agent_slot);
  return r == nullptr ? "no report" : r->reason.str() + ": " + r->message.str();
}
State state_of(const Round& round) {
  const auto* r = find_report(round, agent_slot);
  return r == nullptr ? State::unknown : r->state;
}

}  // namespace

TEST_CASE("the agent upgrades itself by a package, goes back by an order, and is the first version again", "[agent][own]") {
  Fleet f;
  const auto bare = outside_view(f.disk.path());
  auto round = f.settle(order_of({agent_package(f, "2")}));
  CHECK(state_of(round) == State::ready);
  CHECK(f.runs() == "endstate-agent 2\n");
  CHECK(f.starts == 2);
  CHECK_FALSE(fs::exists(f.at(trial_path())));
  round = f.settle(order_of({agent_package(f, "3")}, "g2"));
  CHECK(f.runs() == "endstate-agent 3\n");
  CHECK(f.starts == 3);
  f.pass(std::chrono::minutes(10));
  f.settle(order_of({agent_package(f, "3")}, "g2"));
  CHECK(f.starts == 3);
  f.reboot();
  f.start();
  CHECK(f.runs() == "endstate-agent 3\n");
  round = f.settle(order_of({agent_package(f, "2")}, "g3"));
  CHECK(f.runs() == "endstate-agent 2\n");
  auto released = order_of({});
  released.spec.state = api::AssignmentState::released;
  f.settle(released);
  CHECK(f.program == "/usr/local/bin/endstate-agent");
  CHECK(outside_view(f.disk.path()) == bare);
}

TEST_CASE("a version of the agent that ends is taken back, reported, and not tried again", "[agent][own]") {
  Fleet f;
  const bool first = GENERATE(true, false);
  if (!first) f.settle(order_of({agent_package(f, "1")}));
  const auto before = outside_view(f.disk.path());
  const auto runs = f.runs();
  const auto order = order_of({agent_package(f, "2")}, "g2");
  f.bad = true;
  auto round = f.settle(order);
  CHECK(state_of(round) == State::failed);
  CHECK_THAT(message_of(round), Catch::Contains("AgentNotConfirmed") && Catch::Contains("ended 3 times"));
  CHECK(f.runs() == runs);
  CHECK(outside_view(f.disk.path()) == before);
  const auto starts = f.starts;
  f.pass(std::chrono::hours(1));
  f.settle(order);
  CHECK(f.starts == starts);
  CHECK_FALSE(fs::exists(f.at(trial_path())));
  f.bad = false;
  round = f.settle(order_of({agent_package(f, "2")}, "g3"));  // ordered again: tried again
  CHECK(state_of(round) == State::ready);
  CHECK(f.runs() == "endstate-agent 2\n");
}

TEST_CASE("a version of the agent that is never answered by the API server is taken back by its watchdog", "[agent][own]") {
  Fleet f;
  const auto order = order_of({agent_package(f, "2")});
  auto round = f.settle(order, false);
  CHECK(state_of(round) == State::probing);
  CHECK(f.runs() == "endstate-agent 2\n");
  REQUIRE(fs::exists(f.at(trial_path())));
  reconcile::Pool pool;
  take_back(f.tree(), reconcile::decode<Trial>(get(f.at(trial_path())), pool).value(), "the new agent wasn't confirmed");
  f.start();
  round = f.settle(order);
  CHECK(state_of(round) == State::failed);
  CHECK_THAT(message_of(round), Catch::Contains("wasn't confirmed"));
  CHECK(f.program == "/usr/local/bin/endstate-agent");
}

TEST_CASE("killed after any step of its own upgrade, an agent ends in the new version", "[agent][own][crash]") {
  int steps = 1;
  for (int k = 0; k < steps; ++k) {
    Fleet f;
    f.settle(order_of({agent_package(f, "1")}));
    f.fault->steps = 0;
    f.fault->log.clear();
    const auto order = order_of({agent_package(f, "2")}, "g2");
    if (k > 0) f.fault->kill_after = k - 1;
    try {
      for (int rounds = 0; rounds < 100; ++rounds)
        if (f.engine->round(order, f.now()).begin_again) break;
      if (k == 0) steps = f.fault->steps + 1;
    } catch (const Killed&) {
    }
    INFO("killed after step " << k - 1);
    f.reboot();
    f.start();
    const auto round = f.settle(order);
    CHECK(state_of(round) == State::ready);
    CHECK(f.runs() == "endstate-agent 2\n");
    CHECK_FALSE(fs::exists(f.at(trial_path())));
  }
  CHECK(steps > 5);
}

TEST_CASE("what the agent's own package can't be", "[agent][own]") {
  Fleet f;
  auto elsewhere = agent_package(f, "2");
  std::string spec = elsewhere.spec.raw.str();
  spec.insert(spec.find("\"method\""), R"("destination":"/usr/local",)");
  elsewhere.spec.raw = Text(spec);
  CHECK_THAT(message_of(f.settle(order_of({elsewhere}))), Catch::Contains("leave the destination out"));
  CHECK_THAT(message_of(f.settle(order_of({agent_package(f, "3", R"(,"service":{"unit":"endstate-agent.service"})")}))),
             Catch::Contains("no service"));
  CHECK(f.starts == 1);
}

// Real processes: the first version, in a process of this test, becomes a program of the package.
TEST_CASE("the first version starts what is on trial, and goes back when it hangs or can't be executed", "[agent][own][process]") {
  Folder folder;
  const Tree tree(folder.path(), false);
  const auto install = [&](const std::string& generation, const std::string& program) {
    put(folder.path() + agent_program(generation), program);
    ::chmod((folder.path() + agent_program(generation)).c_str(), 0755);
  };
  const auto run = [&](std::chrono::milliseconds limit) {  // how the agent ended; 77: the first version itself was the agent
    const std::string root = "--root=" + folder.path();
    const pid_t pid = ::fork();
    if (pid == 0) {
      const char* argv[] = {"endstate-agent", root.c_str(), nullptr};
      become_current(const_cast<char**>(argv), limit);
      ::_exit(77);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  };
  const auto trial = [&] {
    reconcile::Pool pool;
    return reconcile::decode<Trial>(get(folder.path() + trial_path()), pool).value();
  };
  const auto put_on_trial = [&](const std::string& to, const std::string& back) {
    put(folder.path() + trial_path(), reconcile::encode(Trial{.to = Text(to), .back = Text(back)}));
    REQUIRE(tree.link(current_path(agent_slot), "../generations/" + to));
  };
  fs::create_directories(folder.path() + state_path("current"));
  CHECK(run(std::chrono::seconds(9)) == 77);  // there is no other

  install("good", "#!/bin/sh\ntest -n \"$ENDSTATE_AGENT_LAUNCHER\" && exit 5\n");
  REQUIRE(tree.link(current_path(agent_slot), "../generations/good"));
  CHECK(run(std::chrono::seconds(9)) == 5);
  CHECK_FALSE(fs::exists(folder.path() + trial_path()));

  SECTION("a person's command is not a start") {
    install("bad", "#!/bin/sh\nexit 1\n");
    put_on_trial("bad", "good");
    for (const char* flag : {"--enrol", "--enrol=-", "--version"}) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        const std::string root = "--root=" + folder.path();
        const char* argv[] = {"endstate-agent", root.c_str(), flag, nullptr};
        become_current(const_cast<char**>(argv), std::chrono::seconds(9));
        ::_exit(77);
      }
      int status = 0;
      ::waitpid(pid, &status, 0);
      CHECK(WEXITSTATUS(status) == 77);
    }
    CHECK(trial().starts == 0);
  }
  SECTION("it ends at once") {
    install("bad", "#!/bin/sh\nexit 1\n");
    put_on_trial("bad", "good");
    for (int i = 1; i <= 3; ++i) {
      CHECK(run(std::chrono::seconds(9)) == 1);
      CHECK(trial().starts == i);
    }
    CHECK(run(std::chrono::seconds(9)) == 5);
    CHECK_THAT(trial().failed.str(), Catch::Contains("ended 3 times"));
  }
  SECTION("it hangs") {
    install("bad", "#!/bin/sh\nexec sleep 100\n");
    put_on_trial("bad", "good");
    CHECK(run(std::chrono::milliseconds(700)) == 128 + SIGKILL);
    CHECK_THAT(trial().failed.str(), Catch::Contains("wasn't confirmed"));
    CHECK(run(std::chrono::seconds(9)) == 5);
  }
  SECTION("it is no program") {
    install("bad",
            "\x7f"
            "ELF and nothing more");
    put_on_trial("bad", "good");
    CHECK(run(std::chrono::seconds(9)) == 5);
    CHECK_THAT(trial().failed.str(), Catch::Contains("can't be executed"));
  }
  SECTION("it is no program, and there was none before") {
    install("bad",
            "\x7f"
            "ELF and nothing more");
    put_on_trial("bad", "");
    CHECK(run(std::chrono::seconds(9)) == 77);
    CHECK_FALSE(tree.look(current_path(agent_slot)).value());
  }
  SECTION("it is confirmed in time") {
    install("better", "#!/bin/sh\nrm '" + folder.path() + trial_path() + "'\nsleep 1.2\nexit 6\n");
    put_on_trial("better", "good");
    CHECK(run(std::chrono::milliseconds(700)) == 6);
    CHECK(run(std::chrono::milliseconds(700)) == 6);
  }
  SECTION("one that was known before vanished: better the first than none") {
    fs::remove_all(folder.path() + generation_path("good", ""));
    CHECK(run(std::chrono::seconds(9)) == 77);
  }
}

}  // namespace endstate::agent::testing
