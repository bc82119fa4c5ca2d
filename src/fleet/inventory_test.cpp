#include "src/fleet/inventory.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace endstate::fleet;

TEST_CASE("a host is the same machine in every run, and no two are alike") {
  const Inventory inventory{.racks = 10};
  std::set<std::string> names, addresses, serials, machines, pods;
  std::map<std::string, int> racks;
  for (std::uint32_t i = 0; i < max_hosts; ++i) {
    const auto f = host_facts(inventory, i);
    names.insert(f.name);
    addresses.insert(f.address);
    serials.insert(f.serial_number);
    machines.insert(uuid_of(f.seed, "machine"));
    pods.insert(pod_address(i, 0));
    ++racks[f.idc + "/" + f.rack];
  }
  CHECK(names.size() == max_hosts);
  CHECK(addresses.size() == max_hosts);
  CHECK(serials.size() == max_hosts);
  CHECK(machines.size() == max_hosts);
  CHECK(pods.size() == max_hosts);
  CHECK(racks.size() == 10);
  for (const auto& [rack, count] : racks) CHECK(count == max_hosts / 10);
  CHECK(host_facts(inventory, 0).name == "host-0001");
  auto other = inventory;
  other.prefix = "far-";
  CHECK(host_facts(other, 0).name == "far-0001");
  CHECK(host_facts(inventory, 41).serial_number == host_facts(inventory, 41).serial_number);
  CHECK(host_facts({.seed = 2}, 41).serial_number != host_facts({.seed = 1}, 41).serial_number);
}

TEST_CASE("few racks and many racks") {
  for (const std::uint32_t racks : {0U, 1U, 2U, 3U, 7U, 1000U}) {
    std::set<std::string> seen, idcs;
    for (std::uint32_t i = 0; i < 2000; ++i) {
      const auto f = host_facts({.racks = racks}, i);
      seen.insert(f.rack);
      idcs.insert(f.idc);
    }
    CHECK(seen.size() == std::max(racks, 1U));
    CHECK(idcs.size() == std::min<std::size_t>(std::max(racks, 1U), 3));
    for (const auto& idc : idcs) CHECK((idc == "idc-a" || idc == "idc-b" || idc == "idc-c"));
  }
}

TEST_CASE("ids look like UUIDs") {
  const auto id = uuid_of(1, "boot");
  REQUIRE(id.size() == 36);
  CHECK(id[14] == '8');
  CHECK(id[19] == 'a');
  CHECK(id == uuid_of(1, "boot"));
  CHECK(id != uuid_of(1, "boot", 1));
  CHECK(id != uuid_of(2, "boot"));
}
