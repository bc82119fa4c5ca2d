// The body of a probe's Job: the user's raw template with our names put in. nlohmann lives here: a template is changed as what it is.
#include <nlohmann/json.hpp>

#include "controllers/machine_set/probe.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {

using nlohmann::json;
using reconcile::Code, reconcile::fail, reconcile::Result;

namespace {

constexpr int max_depth = 64;  // a pod template has some 12
constexpr int keep_seconds = 3600;

// The member as an object; what is something else is the user's mistake, and stays for the API server to name.
json* child(json& parent, const char* key) {
  auto& value = parent[key];
  if (value.is_null()) value = json::object();
  return value.is_object() ? &value : nullptr;
}
void unless_set(json& object, const char* key, json value) {
  if (!object.contains(key) || object[key].is_null()) object[key] = std::move(value);
}

}  // namespace

std::string job_name(const ProbeSite& site, const Text& probe) {
  const auto seed = site.set.metadata.uid.str() + "/" + site.revision.str() + "/" + site.step.str() + "/" + probe.str();
  return site.set.metadata.name.str() + "-" + reconcile::hash_of(seed);
}

std::vector<std::string> read_failed_creates(const std::string& body) {
  std::vector<std::string> out;
  const auto list = json::parse(body, nullptr, false);
  if (!list.is_object() || !list.contains("items") || !list["items"].is_array()) return out;
  for (const auto& e : list["items"])
    if (e.is_object() && e.value("reason", "") == "FailedCreate" && e.contains("note") && e["note"].is_string())
      out.push_back(e["note"].get<std::string>().substr(0, 1024));
  return out;
}

std::string probe_query(const Text& step, const Text& probe) { return "probe/" + step.str() + "/" + probe.str(); }

Result<std::string> job_of(const ProbeSite& site, const api::JobProbe& probe, const std::string& attempt) {
  bool too_deep = false;
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > max_depth;
    return !too_deep;
  };
  auto job = json::parse(probe.job_template.raw.view(), shallow, false);
  if (too_deep || !job.is_object()) return fail(Code::invalid, "jobTemplate is no object with a spec");
  job["apiVersion"] = "batch/v1";
  job["kind"] = "Job";
  job.erase("status");
  auto* meta = child(job, "metadata");
  auto* spec = child(job, "spec");
  if (!meta || !spec) return fail(Code::invalid, "jobTemplate's metadata and spec must be objects");
  for (const char* key : {"generateName", "uid", "resourceVersion", "ownerReferences"}) meta->erase(key);
  (*meta)["name"] = job_name(site, probe.name);
  (*meta)["namespace"] = site.set.metadata.name_space.str();
  auto *labels = child(*meta, "labels"), *annotations = child(*meta, "annotations");
  if (!labels || !annotations) return fail(Code::invalid, "jobTemplate's labels and annotations must be objects");
  (*labels)[std::string(api::label::set_name)] = site.set.metadata.name.str();
  (*labels)[std::string(api::label::revision)] = site.revision.str();
  (*annotations)[std::string(api::annotation::probe_attempt)] = attempt;
  unless_set(*spec, "backoffLimit", 0);
  unless_set(*spec, "activeDeadlineSeconds", api::timeout(probe).count());
  unless_set(*spec, "ttlSecondsAfterFinished", keep_seconds);
  if (auto* pod = child(*spec, "template"))
    if (auto* pod_spec = child(*pod, "spec")) unless_set(*pod_spec, "restartPolicy", "Never");
  return job.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace endstate::machine_set
