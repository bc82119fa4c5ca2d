// nlohmann lives here: its objects sort their keys, as Go's maps do when they are written.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "controllers/machine_set/names.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {

std::string stored_template(const v1alpha1::MachineTemplate& t) {
  const auto value = nlohmann::json::parse(canonical_template(t), nullptr, false);
  const auto sorted = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  // Outside of strings JSON has none of these.
  static constexpr std::pair<std::string_view, std::string_view> escapes[] = {
      {"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"}, {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}};
  std::string out;
  out.reserve(sorted.size());
  for (std::size_t at = 0; at < sorted.size();) {
    const auto rest = std::string_view(sorted).substr(at);
    const auto* found = std::find_if(std::begin(escapes), std::end(escapes), [&](const auto& e) { return rest.starts_with(e.first); });
    if (found == std::end(escapes)) {
      out += sorted[at++];
    } else {
      out.append(found->second);
      at += found->first.size();
    }
  }
  return out;
}

}  // namespace endstate::machine_set
