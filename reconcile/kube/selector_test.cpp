#include "reconcile/kube/selector.hpp"

#include <catch2/catch.hpp>

namespace reconcile {

TEST_CASE("selector: a query chooses by labels as the API server does") {
  Labels labels;
  labels.set("a", "b");
  labels.set("example.com/empty", "");
  const std::pair<const char*, bool> table[] = {
      {"", true},
      {"limit=5", true},
      {"fieldSelector=metadata.name%3Dx", true},  // of fields nothing is said
      {"labelSelector=", true},
      {"labelSelector=a", true},
      {"labelSelector=c", false},
      {"labelSelector=%21a", false},
      {"labelSelector=%21c", true},
      {"labelSelector=a%3Db", true},
      {"labelSelector=a%3D%3Db", true},
      {"labelSelector=a%3Dc", false},
      {"labelSelector=a%21%3Dc%2Cexample.com%2Fempty", true},
      {"labelSelector=a%3Db%2Cc", false},
      {"labelSelector=a+in+(b%2Cc)", false},  // '+' is no blank here: percent_encode writes %20
      {"labelSelector=a%20in%20(b%2Cc)", true},
      {"labelSelector=a%20notin%20(b%2Cc)", false},
      {"limit=5&labelSelector=example.com%2Fempty%3D", true},
  };
  for (const auto& [query, chosen] : table) {
    CAPTURE(query);
    CHECK(selects(query, labels) == chosen);
  }
}

}  // namespace reconcile
