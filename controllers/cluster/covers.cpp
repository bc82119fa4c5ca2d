#include "controllers/cluster/covers.hpp"

#include <nlohmann/json.hpp>

#include "controllers/common/quantity.hpp"

namespace endstate::cluster {
namespace {

using nlohmann::json;

constexpr int max_depth = 64;  // a pod template has some 12

bool same_quantity(const json& a, const json& b) {
  const auto text = [](const json& v) { return v.is_string() ? v.get<std::string>() : v.dump(); };
  const auto x = parse_quantity(text(a)), y = parse_quantity(text(b));
  return x && y && *x == *y;
}

bool nothing(const json& v) {
  return v.is_null() || ((v.is_object() || v.is_array()) && v.empty()) || (v.is_string() && v.get_ref<const std::string&>().empty());
}

// The API server leaves a 0 out where its type says omitempty (minReadySeconds). A false that is left out may mean true: that is another.
bool is_zero(const json& v) { return v.is_number() && v == 0; }

bool compare(const json& found, const json& wanted, bool quantities, int depth) {
  if (depth > max_depth) return false;
  if (wanted.is_object()) {
    if (!found.is_object()) return wanted.empty() && nothing(found);
    for (const auto& [key, value] : wanted.items()) {
      const auto it = found.find(key);
      if (it == found.end()) {
        if (!nothing(value) && !is_zero(value)) return false;
        continue;
      }
      if (!compare(*it, value, key == "requests" || key == "limits" || quantities, depth + 1)) return false;
    }
    return true;
  }
  if (wanted.is_array()) {
    if (!found.is_array()) return wanted.empty() && nothing(found);
    if (found.size() != wanted.size()) return false;
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (!compare(found[i], wanted[i], quantities, depth + 1)) return false;
    return true;
  }
  return found == wanted || (quantities && same_quantity(found, wanted)) || (nothing(found) && nothing(wanted));
}

}  // namespace

bool covers(std::string_view found, std::string_view wanted) {
  const auto f = json::parse(found, nullptr, false), w = json::parse(wanted, nullptr, false);
  return !f.is_discarded() && !w.is_discarded() && compare(f, w, false, 0);
}

}  // namespace endstate::cluster
