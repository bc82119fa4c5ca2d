// Reads the manifests of add-ons. An add-on is taken whole or not at all: one bad document is the trouble of all of it.
//
// Refused, beside what YAML itself refuses (reconcile/json/yaml.hpp): an object without apiVersion, kind or metadata.name; generateName;
// a List (write its items as documents); a Secret with content (whoever reads packages reads it); Pods, Nodes, HostAssignments, Leases and
// ControllerRevisions, which have other writers; a namespace where the kind has none; an object that is there twice; more than 128 objects;
// the name of the built-in add-on.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "controllers/addons/addon.hpp"

namespace endstate::addons {

struct Manifest {
  std::string name, yaml;
  bool builtin = false;
};
// In their order. A CRD places the objects of its kind in all of them.
std::vector<Addon> read_manifests(const std::vector<Manifest>& manifests, Kinds& kinds);

}  // namespace endstate::addons
