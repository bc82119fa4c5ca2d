#include "controllers/machine_set/loop_audit.hpp"

#include "controllers/common/cut.hpp"
#include "reconcile/json/decode.hpp"

namespace endstate::machine_set {
namespace {

using reconcile::field, reconcile::Json, reconcile::object;

// fieldsV1 is a tree whose keys are "f:<name>"; only whether spec.template is in it is of interest.
struct OwnedSpec {
  Json template_;
};
consteval auto describe(const OwnedSpec*) { return object("Of spec.", field<&OwnedSpec::template_>("f:template", "Of the template.")); }
struct Owned {
  OwnedSpec spec;
};
consteval auto describe(const Owned*) { return object("What one manager wrote.", field<&Owned::spec>("f:spec", "Of spec.")); }
struct Manager {
  Text manager, subresource;
  std::optional<WallTime> time;
  Owned fields;
};
consteval auto describe(const Manager*) {
  return object("Who wrote what, and when last.", field<&Manager::manager>("manager", "Who."),
                field<&Manager::subresource>("subresource", "By which subresource."), field<&Manager::time>("time", "When."),
                field<&Manager::fields>("fieldsV1", "What."));
}
struct EditedMeta {
  Text uid;
  std::optional<std::int64_t> generation;
  std::vector<Manager> managed_fields;
};
consteval auto describe(const EditedMeta*) {
  return object("Its metadata.", field<&EditedMeta::uid>("uid", "Its uid."),
                field<&EditedMeta::generation>("generation", "Counts the changes of its spec."),
                field<&EditedMeta::managed_fields>("managedFields", "Who wrote what."));
}
struct Edited {
  EditedMeta metadata;
};
consteval auto describe(const Edited*) {
  return object("An object, by who wrote it.", field<&Edited::metadata>("metadata", "Its metadata."));
}

}  // namespace

std::optional<Editor> last_editor(std::string_view json, const api::MachineSet& set) {
  reconcile::Pool pool;
  const auto object = reconcile::decode<Edited>(json, pool);
  if (!object) return std::nullopt;
  const auto& meta = object->metadata;
  if (!(meta.uid == set.metadata.uid) || meta.generation != set.metadata.generation) return std::nullopt;
  Editor newest;
  for (const auto& m : meta.managed_fields) {
    if (m.fields.spec.template_.raw.empty() || !m.subresource.empty() || m.manager.view().starts_with("endstate-")) continue;
    const auto time = m.time.value_or(WallTime{});
    if (newest.manager.empty() || time > newest.time) newest = {.manager = cut(m.manager, 128), .time = time};
  }
  return newest;
}

}  // namespace endstate::machine_set
