#include "src/fleet/options.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>
#include <sstream>
#include <vector>

using namespace endstate::fleet;
using namespace std::chrono_literals;

namespace {

struct Outcome {
  std::variant<CommandLine, int> parsed;
  std::string said;  // on stderr
};
Outcome parse(std::vector<const char*> words) {
  words.insert(words.begin(), "endstate-fleet");
  std::ostringstream captured;
  auto* const real = std::cerr.rdbuf(captured.rdbuf());
  auto parsed = parse_command_line(static_cast<int>(words.size()), words.data());
  std::cerr.rdbuf(real);
  return {std::move(parsed), captured.str()};
}

}  // namespace

TEST_CASE("what is given arrives, and what isn't has its default") {
  const auto given = parse({"--kubeconfig",    "k",          "--hosts", "7",    "--namespace",   "lab",
                            "--racks",         "3",          "--seed",  "9",    "--delay-scale", "0.5",
                            "--lease-seconds", "5",          "--fault", "Slow", "--fault",       "InstallFails,package=a",
                            "--http-address",  "127.0.0.1:1"});
  const auto& c = std::get<CommandLine>(given.parsed);
  CHECK(c.kubeconfig == "k");
  CHECK(c.fleet.hosts == 7);
  CHECK(c.fleet.inventory.name_space == "lab");
  CHECK(c.fleet.inventory.racks == 3);
  CHECK(c.fleet.inventory.seed == 9);
  CHECK(c.fleet.settings.pace.scale == 0.5);
  CHECK(c.fleet.settings.lease_period == 5s);
  REQUIRE(c.fleet.faults.size() == 2);
  CHECK(c.fleet.faults[1].package == "a");
  CHECK(c.http_address == "127.0.0.1:1");

  const auto none = parse({});
  CHECK(std::get<CommandLine>(none.parsed).fleet.hosts == 100);
  CHECK(std::get<CommandLine>(none.parsed).fleet.settings.lease_period == 60s);
}

TEST_CASE("wrong flags are one clear line and exit code 2") {
  const std::pair<std::vector<const char*>, std::string> table[] = {
      {{"--hosts", "0"}, "--hosts"},
      {{"--hosts", "20001"}, "--hosts"},
      {{"--hosts", "many"}, "--hosts"},
      {{"--racks", "0"}, "--racks"},
      {{"--delay-scale", "-1"}, "--delay-scale"},
      {{"--lease-seconds", "0"}, "--lease-seconds"},
      {{"--fault", "Nope"}, "--fault: \"Nope\" is no fault"},
      {{"--namespace", ""}, "--namespace"},
      {{"--log-level", "loud"}, "loud"},
      {{"--bogus"}, "--bogus"},
      {{"stray"}, "stray"},
  };
  for (const auto& [words, message] : table) {
    const auto outcome = parse(words);
    INFO(message);
    REQUIRE(std::holds_alternative<int>(outcome.parsed));
    CHECK(std::get<int>(outcome.parsed) == 2);
    CHECK_THAT(outcome.said, Catch::Contains(message));
    CHECK(std::count(outcome.said.begin(), outcome.said.end(), '\n') == 1);
  }
}
