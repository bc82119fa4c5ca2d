// Selectors as a list or a watch carries them (k8s.io/apimachinery pkg/labels, Parse): "labelSelector=a%3Db%2Cc" in its query. Pure.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/base/describe.hpp"

namespace reconcile {

// The parameters of a query, decoded; of a repeated one the last.
std::map<std::string, std::string> parse_query(std::string_view query);

// The requirements of a selector: "a=b", "a!=b", "a in (b,c)", "a notin (b,c)", "a", "!a". All of them must hold.
std::vector<std::string> requirements(const std::string& selector);
// One of them over a lookup of key to value (null: not there).
bool satisfied(const std::string& requirement, const std::function<const std::string*(const std::string&)>& find);

// Whether a list or watch with this query chooses an object with these labels. Its fields are not looked at.
bool selects(std::string_view query, const Labels& labels);

}  // namespace reconcile
