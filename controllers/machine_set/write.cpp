#include "controllers/machine_set/write.hpp"

#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {
namespace {

using reconcile::Action, reconcile::Labels, reconcile::Type, reconcile::Verb;

const reconcile::Kind& set_kind = reconcile::kind_of<api::MachineSet>;
const reconcile::Kind& machine_kind = reconcile::kind_of<api::Machine>;

// A JSON merge patch (RFC 7386) of a map: what `to` says, and null for what only `from` has.
void merge_labels(std::string& out, const Labels& from, const Labels& to) {
  out += '{';
  bool first = true;
  const auto put = [&](std::string_view key, const std::string& value) {
    if (!first) out += ',';
    first = false;
    out.append(reconcile::quote(key)).append(":").append(value);
  };
  for (const auto& [key, value] : to) put(key, reconcile::quote(value));
  for (const auto& [key, value] : from)
    if (!to.has(key)) put(key, "null");
  out += '}';
}

// Every field of a described object, so that a field that the template gets one day can't be forgotten here.
void merge_object(std::string& out, const Type& type, const void* from, const void* to) {
  out += '{';
  bool first = true;
  for (const auto& field : type.fields) {
    const void* old_value = field.at(const_cast<void*>(from));  // `at` computes an address and nothing else
    const void* new_value = field.at(const_cast<void*>(to));
    if (!first) out += ',';
    first = false;
    out.append(reconcile::quote(field.name)).append(":");
    if (field.type->kind == Type::Kind::object)
      merge_object(out, *field.type, old_value, new_value);
    else if (field.type->kind == Type::Kind::labels)
      merge_labels(out, *static_cast<const Labels*>(old_value), *static_cast<const Labels*>(new_value));
    else
      reconcile::encode_to(out, *field.type, new_value);  // an optional without a value is null, which removes it
  }
  out += '}';
}

api::MachineTemplateSpec template_part(const api::MachineSpec& spec) {
  return {.packages = spec.packages,
          .readiness_gates = spec.readiness_gates,
          .taints = spec.taints,
          .labels = spec.labels,
          .deletion = spec.deletion};
}

Labels machine_labels(const api::MachineSet& set, const Revision& r) {
  Labels labels = r.template_.metadata.labels;
  labels.set(api::label::cluster_name, set.spec.cluster_name);
  labels.set(api::label::set_name, set.metadata.name);
  labels.set(api::label::revision, r.hash);
  return labels;
}

Labels machine_annotations(const api::MachineSet& set, const Revision& r, bool was_unavailable, bool back) {
  Labels annotations = r.template_.metadata.annotations;
  if (set.spec.rollout.machine_timeout)
    annotations.set(api::annotation::operation_timeout, std::to_string(set.spec.rollout.machine_timeout->count()));
  if (was_unavailable) annotations.set(api::annotation::was_unavailable, r.hash);
  if (back) annotations.set(api::annotation::rollback_to, r.hash);
  return annotations;
}

// Annotations that came from the set and that the new revision may not have. Anybody else's stay.
Labels old_annotations(const api::Machine& machine, const Revision* from) {
  Labels out;
  if (from)
    for (const auto& [key, value] : from->template_.metadata.annotations)
      if (machine.metadata.annotations.has(key)) out.set(key, value);
  for (const auto key : {api::annotation::operation_timeout, api::annotation::was_unavailable, api::annotation::rollback_to})
    if (machine.metadata.annotations.has(key)) out.set(key, {});
  return out;
}

Action patch_set(const api::MachineSet& set, Verb verb, std::string body, std::string why) {
  return {.verb = verb,
          .kind = &set_kind,
          .name_space = set.metadata.name_space,
          .name = set.metadata.name,
          .body = std::move(body),
          .uid = set.metadata.uid,
          .why = std::move(why)};
}

std::string test(const std::string& path, std::string_view value) {
  return "{\"op\":\"test\",\"path\":" + reconcile::quote(path) + ",\"value\":" + reconcile::quote(value) + "}";
}
std::string test_and_remove(const api::MachineSet& set, const std::string& path, std::string_view value) {
  return "[" + test("/metadata/uid", set.metadata.uid) + "," + test(path, value) +
         ",{\"op\":\"remove\",\"path\":" + reconcile::quote(path) + "}]";
}

}  // namespace

reconcile::OwnerReference owner_of(const api::MachineSet& set) {
  return {.api_version = reconcile::api_version(*set_kind.resource),
          .kind = set_kind.resource->kind,
          .name = set.metadata.name,
          .uid = set.metadata.uid,
          .controller = true,
          .block_owner_deletion = true};
}

Action create_machine(const api::MachineSet& set, const Revision& revision, const Text& name) {
  reconcile::ObjectMeta meta;
  meta.name = name;
  meta.name_space = set.metadata.name_space;
  meta.labels = machine_labels(set, revision);
  meta.annotations = machine_annotations(set, revision, false, false);
  meta.finalizers = {api::finalizer::machine};
  meta.owner_references = {owner_of(set)};
  const auto spec = api::machine_spec(revision.template_.spec, set.spec.cluster_name);
  return {.verb = Verb::create,
          .kind = &machine_kind,
          .name_space = meta.name_space,
          .name = name,
          .body = "{\"apiVersion\":" + reconcile::quote(reconcile::api_version(*machine_kind.resource)) +
                  ",\"kind\":" + reconcile::quote(machine_kind.resource->kind) + ",\"metadata\":" + reconcile::encode(meta) +
                  ",\"spec\":" + reconcile::encode(spec) + "}",
          .stage = 1,
          .tolerate_exists = true,  // by its name it is the one that an earlier pass made
          .why = "a machine is missing"};
}

Action delete_machine(const api::Machine& machine, std::string why) {
  return {.verb = Verb::remove,
          .kind = &machine_kind,
          .name_space = machine.metadata.name_space,
          .name = machine.metadata.name,
          .uid = machine.metadata.uid,
          .stage = 1,
          .why = std::move(why)};
}

Action edit_machine(const api::MachineSet& set, const api::Machine& machine, const Revision* from, const Revision& to, bool was_unavailable,
                    bool back, std::string why) {
  Labels old_labels;
  if (from)
    for (const auto& [key, value] : from->template_.metadata.labels)
      if (machine.metadata.labels.has(key)) old_labels.set(key, value);
  std::string body = "{\"metadata\":{\"labels\":";
  merge_labels(body, old_labels, machine_labels(set, to));
  body += ",\"annotations\":";
  merge_labels(body, old_annotations(machine, from), machine_annotations(set, to, was_unavailable, back));
  body += "},\"spec\":";
  const auto now = template_part(machine.spec);
  merge_object(body, reconcile::type_of<api::MachineTemplateSpec>, &now, &to.template_.spec);
  body += '}';
  return {.verb = Verb::merge_patch,
          .kind = &machine_kind,
          .name_space = machine.metadata.name_space,
          .name = machine.metadata.name,
          .body = std::move(body),
          .uid = machine.metadata.uid,
          .resource_version = machine.metadata.resource_version,
          .stage = 1,
          .why = std::move(why)};
}

std::string_view revision_given(const Action& action) {
  const std::string_view body = action.body;
  const auto key = reconcile::quote(api::label::revision) + ":\"";  // a hash has nothing that would be escaped
  const auto at = body.find(key);
  if (at == std::string_view::npos) return {};
  const auto rest = body.substr(at + key.size());
  return rest.substr(0, rest.find('"'));
}

Action retry_machine(const api::Machine& machine, std::string_view revision) {
  return {.verb = Verb::merge_patch,
          .kind = &machine_kind,
          .name_space = machine.metadata.name_space,
          .name = machine.metadata.name,
          .body = "{\"metadata\":{\"annotations\":{" + reconcile::quote(api::annotation::retry) + ":" + reconcile::quote(revision) + "}}}",
          .uid = machine.metadata.uid,
          .resource_version = machine.metadata.resource_version,
          .stage = 1,
          .why = "somebody asked to try the revision again"};
}

Action add_finalizer(const api::MachineSet& set) {
  auto finalizers = set.metadata.finalizers;
  finalizers.emplace_back(api::finalizer::machine_set);
  auto action = patch_set(set, Verb::merge_patch, "{\"metadata\":{\"finalizers\":" + reconcile::encode(finalizers) + "}}",
                          "its machines must be able to go in order");
  action.resource_version = set.metadata.resource_version;  // the list is replaced as a whole
  return action;
}

Action remove_finalizer(const api::MachineSet& set) {
  std::size_t at = 0;
  while (at < set.metadata.finalizers.size() && !(set.metadata.finalizers[at] == api::finalizer::machine_set)) ++at;
  return patch_set(set, Verb::json_patch, test_and_remove(set, "/metadata/finalizers/" + std::to_string(at), api::finalizer::machine_set),
                   "nothing of it is left");
}

Action remove_annotation(const api::MachineSet& set, std::string_view key) {
  return patch_set(set, Verb::json_patch,
                   test_and_remove(set, "/metadata/annotations/" + reconcile::pointer(key), set.metadata.annotations.get(key)),
                   "annotation " + std::string(key) + " is done");
}

bool stands_for(const api::Machine& machine, const api::MachineTemplate& t) {
  const auto& spec = machine.spec;
  return spec.packages == t.spec.packages && spec.readiness_gates == t.spec.readiness_gates && spec.taints == t.spec.taints &&
         spec.labels == t.spec.labels && spec.deletion == t.spec.deletion && machine.metadata.labels.contains(t.metadata.labels) &&
         machine.metadata.annotations.contains(t.metadata.annotations);
}

}  // namespace endstate::machine_set
