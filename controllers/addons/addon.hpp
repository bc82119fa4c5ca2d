// An add-on's manifest, read: which objects it has, and in which order they can be made.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "controllers/addons/kinds.hpp"

namespace endstate::addons {

// What must be there before what: within an add-on, and a CRD before what it defines wherever that is.
enum class Phase : std::uint8_t { foundation, access, workload, admission };  // namespaces and CRDs; roles and accounts; the rest; webhooks

struct WantedObject {
  std::string api_version, group, version, kind, name_space, name;  // as the manifest says; "" in name_space: not said
  const reconcile::Kind* place = nullptr;                           // null: a kind that neither Kubernetes nor a CRD beside it has
  Phase phase{};
  std::string body;     // JSON, with the add-on's label
  std::string hash;     // of the body
  GroupKind defines{};  // of a CRD

  GroupKind group_kind() const { return {group, kind}; }
  // Its name among all objects of a cluster, without the version: that may move.
  std::string id() const { return id(name_space); }
  std::string id(std::string_view in) const {
    return std::string(group).append("/").append(kind).append("/").append(in).append("/").append(name);
  }
  std::string text() const { return kind + " " + (name_space.empty() ? "" : name_space + "/") + name; }
};

struct Addon {
  std::string name, hash;
  std::vector<WantedObject> objects;
  std::string trouble;  // it can't be used, and has no objects: which document, which line, and what is wrong
};

}  // namespace endstate::addons
