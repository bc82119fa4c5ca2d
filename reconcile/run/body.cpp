#include "reconcile/run/body.hpp"

#include <nlohmann/json.hpp>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/json/patch.hpp"
#include "reconcile/kube/meta.hpp"

namespace reconcile {
namespace {

struct Answered {
  Text kind;
  ObjectMeta metadata;
};
consteval auto describe(const Answered*) {
  return object("What a write answers.", field<&Answered::kind>("kind", "Its kind."),
                field<&Answered::metadata>("metadata", "Its metadata."));
}

std::string preconditions(std::string_view uid, std::string_view version) {
  std::string out;
  if (!uid.empty()) out += "\"uid\":" + quote(uid);
  if (!version.empty()) out += std::string(out.empty() ? "" : ",") + "\"resourceVersion\":" + quote(version);
  return out;
}

}  // namespace

Result<std::string> with_preconditions(std::string_view merge_patch, std::string_view uid, std::string_view resource_version) {
  const auto added = preconditions(uid, resource_version);
  if (added.empty()) return std::string(merge_patch);
  // Nearly all of ours say nothing in metadata.
  if (merge_patch.starts_with("{\"") && merge_patch.find("\"metadata\"") == std::string_view::npos)
    return "{\"metadata\":{" + added + "}," + std::string(merge_patch.substr(1));
  auto patch = nlohmann::json::parse(merge_patch, nullptr, false);
  if (!patch.is_object() || (patch.contains("metadata") && !patch["metadata"].is_object()))
    return fail(Code::invalid, "a merge patch must be a JSON object");
  if (!uid.empty()) patch["metadata"]["uid"] = uid;
  if (!resource_version.empty()) patch["metadata"]["resourceVersion"] = resource_version;
  return patch.dump();
}

Result<std::string> with_tests(std::string_view json_patch, std::string_view uid, std::string_view resource_version) {
  if (!json_patch.starts_with('[') || !json_patch.ends_with(']')) return fail(Code::invalid, "a JSON patch must be a JSON array");
  JsonPatch tests;
  if (!uid.empty()) tests.test("/metadata/uid", quote(uid));
  if (!resource_version.empty()) tests.test("/metadata/resourceVersion", quote(resource_version));
  if (tests.empty()) return std::string(json_patch);
  std::string out = tests.str();
  out.pop_back();
  const auto rest = json_patch.substr(1);
  if (rest != "]") out += ',';
  return out.append(rest);
}

Answer read_answer(std::string_view body) {
  Pool pool;
  auto read = decode<Answered>(body, pool);
  if (!read || read->kind == "Status") return {};
  return {read->metadata.uid.str(), read->metadata.resource_version.str(), std::move(read->metadata.labels)};
}

// patch.go of k8s.io/apiserver answers a failed test with NewGenericServerResponse(422), whose message says nothing of it; a uid that
// changes is a validation error of ObjectMeta.
bool is_stale(Verb verb, const Error& error) {
  if (error.code != Code::invalid) return false;
  if (verb == Verb::json_patch)
    return error.message.find("the server rejected our request due to an error in our request") != std::string::npos;
  return error.message.find("metadata.uid") != std::string::npos && error.message.find("immutable") != std::string::npos;
}

}  // namespace reconcile
