#include "src/fleet/fault.hpp"

#include <catch2/catch.hpp>

using namespace endstate::fleet;

TEST_CASE("a fault's words are read in any order") {
  auto f = parse_fault("InstallFails");
  REQUIRE(f);
  CHECK(f->has(FaultKind::install_fails));
  CHECK_FALSE(f->has(FaultKind::slow));
  CHECK(f->package.empty());

  f = parse_fault(" package=kubelet-1.34.5 , NodeNotReady,Slow ");
  REQUIRE(f);
  CHECK(f->has(FaultKind::node_not_ready));
  CHECK(f->has(FaultKind::slow));
  CHECK(f->package == "kubelet-1.34.5");
  for (const auto name : fault_names) CHECK(parse_fault(name));
}

TEST_CASE("bad faults are refused, with the word that is wrong") {
  const std::pair<std::string, std::string> table[] = {
      {"", "\"\" is no fault"},
      {"InstallFails,", "\"\" is no fault"},
      {"installfails", "\"installfails\" is no fault"},
      {"InstallFails;Slow", "\"InstallFails;Slow\" is no fault"},
      {"package=a", "package= alone"},
      {"Slow,package=", "no name"},
      {"Slow,package=A_b", "no name"},
      {"Slow,package=a,package=b", "twice"},
      {std::string(2000, 'x'), "at most 1024"},
  };
  for (const auto& [text, message] : table) {
    const auto f = parse_fault(text);
    INFO(text);
    REQUIRE_FALSE(f);
    CHECK(f.error().code == reconcile::Code::invalid);
    CHECK_THAT(f.error().message, Catch::Contains(message));
  }
}

TEST_CASE("a fault that names a package holds only there") {
  Faults faults{{*parse_fault("InstallFails,package=a"), *parse_fault("Slow")}};
  CHECK(faults.on(FaultKind::install_fails, "a"));
  CHECK_FALSE(faults.on(FaultKind::install_fails, "b"));
  CHECK_FALSE(faults.on(FaultKind::install_fails, ""));
  CHECK(faults.on(FaultKind::slow, "b"));
  CHECK(faults.on(FaultKind::slow, ""));
}
