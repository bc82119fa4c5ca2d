#include "src/kubectl/policies.hpp"

#include <nlohmann/json.hpp>

#include "reconcile/json/yaml.hpp"

namespace endstate::kubectl {

std::vector<std::string> policy_names() {
  std::vector<std::string> out;
  const auto documents = reconcile::yaml_documents_to_json(policies_manifest());
  if (!documents) return out;
  for (const auto& text : *documents) {
    const auto object = nlohmann::json::parse(text, nullptr, false);
    if (object.is_object() && object.value("kind", std::string()) == "ValidatingAdmissionPolicy") out.push_back(object["metadata"]["name"]);
  }
  return out;
}

}  // namespace endstate::kubectl
