// What endstate brings into each hosted cluster, against a real API server: it takes every object by server-side apply, and applying it
// again changes nothing, which is what makes putting right every ten minutes cheap.
#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "controllers/addons/loop_builtin.hpp"
#include "controllers/addons/loop_manifest.hpp"
#include "e2e/conformance/cluster.hpp"
#include "reconcile/kube/url.hpp"

using namespace endstate::addons;
using endstate::conformance::administrator, endstate::conformance::ask;
using nlohmann::json;
using reconcile::Verb;

TEST_CASE("a real API server takes the built-in add-on, and applying it again is no write", "[addons]") {
  reconcile::CurlEnv env{{.user_agent = "endstate-test"}, administrator()};
  Kinds kinds;
  auto addon = read_manifests({{"endstate", std::string(builtin_manifest()), true}}, kinds).front();
  INFO(addon.trouble);
  REQUIRE(addon.trouble.empty());
  std::stable_sort(addon.objects.begin(), addon.objects.end(), [](const auto& a, const auto& b) { return a.phase < b.phase; });
  for (const auto& o : addon.objects) {
    INFO(o.text());
    const reconcile::Call apply{.verb = Verb::apply,
                                .resource = o.place->resource,
                                .name_space = o.name_space,
                                .name = o.name,
                                .query = reconcile::apply_query("endstate-addons"),
                                .body = o.body};
    const auto first = ask(env, apply);
    INFO((first ? std::string() : first.error().message));
    REQUIRE(first);
    const auto second = ask(env, apply);
    REQUIRE(second);
    // A CRD's status and a policy's are others' to write meanwhile.
    if (o.phase == Phase::access) CHECK((*first)["metadata"]["resourceVersion"] == (*second)["metadata"]["resourceVersion"]);
    CHECK((*first)["metadata"].value("generation", 0) == (*second)["metadata"].value("generation", 0));
    CHECK((*second)["metadata"]["labels"]["endstate.dev/addon"] == "endstate");
  }
}
