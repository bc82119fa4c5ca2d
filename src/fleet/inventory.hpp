// The inventory of simulated hardware: host number N always is the same machine, whatever run it is in.
#pragma once
#include <cstdint>
#include <string>

#include "src/fleet/types.hpp"

namespace endstate::fleet {

inline constexpr std::uint32_t max_hosts = 20'000;  // each has 254 pod addresses of 10.128.0.0/9

struct Inventory {
  std::string name_space = "default";
  std::string prefix = "host-";  // of names, and so of Nodes: two fleets of one cluster need two
  std::uint32_t racks = 10;      // over up to three data centres
  std::uint64_t seed = 1;
};

struct HostFacts {
  std::uint32_t index = 0;  // from 0; its name counts from 1
  std::string name_space, name, address, idc, rack, serial_number, model;
  Labels capacity;         // cpu, memory, ephemeral-storage, pods
  std::uint64_t seed = 0;  // of its chance
};

HostFacts host_facts(const Inventory& inventory, std::uint32_t index);
// The address of a host's `number`th pod (any number; the last octet repeats after 253).
std::string pod_address(std::uint32_t host_index, std::uint32_t number);
// A name-based id in UUID form, the same for the same words: machine ids, boot ids, container ids.
std::string uuid_of(std::uint64_t seed, std::string_view what, std::uint64_t number = 0);

}  // namespace endstate::fleet
