#include "src/fleet/fault.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "src/fleet/inventory.hpp"

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

  f = parse_fault("share=20%,WorkFails,Reboots,every=90,package=kubelet-1.34.5");
  REQUIRE(f);
  CHECK(f->has(FaultKind::work_fails));
  CHECK(f->has(FaultKind::reboots));
  CHECK(f->share == 20);
  CHECK(f->every == std::chrono::seconds(90));
}

TEST_CASE("a share of the hosts is that share, always the same hosts, and others for another package") {
  const auto taken = [](const char* text) {
    const auto fault = parse_fault(text);
    std::vector<bool> out;
    for (std::uint32_t i = 0; i < 1000; ++i) out.push_back(fault->takes(host_facts({}, i).seed));
    return out;
  };
  const auto count = [](const std::vector<bool>& v) { return std::count(v.begin(), v.end(), true); };
  const auto twenty = taken("WorkFails,share=20%,package=a"), other = taken("WorkFails,share=20%,package=b");
  CHECK(count(twenty) > 170);
  CHECK(count(twenty) < 230);
  CHECK(twenty == taken("HostDown,share=20%,package=a"));  // the kind doesn't matter
  CHECK(twenty != other);
  const auto half = taken("WorkFails,share=50%,package=a");
  for (std::size_t i = 0; i < twenty.size(); ++i) CHECK((!twenty[i] || half[i]));  // a larger share takes more, and leaves out none
  CHECK(count(taken("WorkFails")) == 1000);
  CHECK(count(taken("WorkFails,share=100%")) == 1000);
}

TEST_CASE("bad faults are refused, with the word that is wrong") {
  const std::pair<std::string, std::string> table[] = {
      {"", "\"\" is no fault"},
      {"InstallFails,", "\"\" is no fault"},
      {"installfails", "\"installfails\" is no fault"},
      {"InstallFails;Slow", "\"InstallFails;Slow\" is no fault"},
      {"package=a", "no fault is named"},
      {"share=20%", "no fault is named"},
      {"Slow,share=20", "whole percentage"},
      {"Slow,share=0%", "whole percentage"},
      {"Slow,share=101%", "whole percentage"},
      {"Slow,share=1.5%", "whole percentage"},
      {"Slow,share=-1%", "whole percentage"},
      {"Slow,share=10%,share=20%", "twice"},
      {"Reboots,every=4", "from 5 to 86400"},
      {"Reboots,every=99999999999999999999", "from 5 to 86400"},
      {"Reboots,every=1m", "from 5 to 86400"},
      {"Reboots,every=10,every=10", "twice"},
      {"Slow,every=10", "of Reboots only"},
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
