#include "controllers/common/rights.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace endstate;
using nlohmann::json;

namespace {

json rules_of(const std::vector<Right>& rights) {
  auto out = json::array();
  for (const auto& r : rights) {
    json rule{{"apiGroups", {r.group}}, {"resources", {r.resource}}, {"verbs", r.verbs}};
    if (!r.name.empty()) rule["resourceNames"] = {r.name};
    out.push_back(rule);
  }
  return out;
}
std::string answer(const json& rules, bool incomplete = false) {
  return json{{"kind", "SelfSubjectRulesReview"}, {"status", {{"resourceRules", rules}, {"incomplete", incomplete}}}}.dump();
}
std::string missing(const json& rules) {
  const auto found = find_missing_rights(answer(rules));
  REQUIRE(found);
  return text_of(found->missing);
}

}  // namespace

TEST_CASE("rights: what is granted isn't missing, in whatever form", "[rights]") {
  CHECK(missing(rules_of(business_rights())).empty());
  CHECK(missing({{{"apiGroups", {"*"}}, {"resources", {"*"}}, {"verbs", {"*"}}}}).empty());
  auto rules = rules_of(business_rights());
  for (auto& rule : rules)  // "*/eviction" is that subresource of everything
    if (rule["resources"][0] == "pods/eviction") rule["resources"] = {"*/eviction"};
  CHECK(missing(rules).empty());
}

TEST_CASE("rights: each rule that is taken out is named, with what needs it", "[rights]") {
  const auto& all = business_rights();
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto rules = rules_of(all);
    rules.erase(i);
    const auto text = missing(rules);
    CAPTURE(text);
    CHECK(text.starts_with(all[i].resource));
    CHECK(text.ends_with(all[i].without));
  }
  SECTION("and one verb of it") {
    auto rules = rules_of(all);
    for (auto& rule : rules)
      if (rule["resources"][0] == "nodes") rule["verbs"] = {"get", "list", "watch", "delete"};
    CHECK(missing(rules) == "nodes (patch): no machine is ever Ready");
  }
}

TEST_CASE("rights: a rule for one name, for another group or resource, is no rule for all", "[rights]") {
  for (const auto& change : {json{{"resourceNames", {"one"}}}, json{{"apiGroups", {"apps"}}}, json{{"resources", {"nodes/status"}}}}) {
    auto rules = rules_of(business_rights());
    for (auto& rule : rules)
      if (rule["resources"][0] == "nodes") rule.merge_patch(change);
    CAPTURE(change.dump());
    CHECK(missing(rules).starts_with("nodes (get, list, watch, patch, delete)"));
  }
}

TEST_CASE("rights: an answer that says less than all says so, and what is none is none", "[rights]") {
  const auto found = find_missing_rights(answer(json::array(), true));
  REQUIRE(found);
  CHECK_FALSE(found->complete);
  CHECK(found->missing.size() == business_rights().size());
  CHECK(text_of(found->missing).ends_with(" more"));
  for (const auto* text : {"", "{}", "[]", "nonsense", R"({"status":{}})", R"({"status":{"resourceRules":5}})"}) {
    CAPTURE(text);
    CHECK_FALSE(find_missing_rights(text));
  }
  CHECK(find_missing_rights(R"({"status":{"resourceRules":[null,5,{}]}})")->missing.size() == business_rights().size());
  CHECK(json::parse(rules_review())["spec"]["namespace"] == "endstate-system");
}
