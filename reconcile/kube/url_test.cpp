#include "reconcile/kube/url.hpp"

#include <catch2/catch.hpp>

using namespace reconcile;

namespace {
constexpr Resource machines{"endstate.dev", "v1alpha1", "machines", "Machine"};
constexpr Resource hosts{"endstate.dev", "v1alpha1", "hosts", "Host", false};
constexpr Resource pods{"", "v1", "pods", "Pod"};
constexpr Resource nodes{"", "v1", "nodes", "Node", false};
constexpr Resource roles{"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false};

struct Row {
  Call call;
  std::string_view method, target, content_type;
};
}  // namespace

TEST_CASE("a call is said in HTTP", "[url]") {
  const Row rows[] = {
      {{.verb = Verb::get, .resource = &pods, .name_space = "default", .name = "p"}, "GET", "/api/v1/namespaces/default/pods/p", ""},
      {{.verb = Verb::get, .resource = &nodes, .name = "n1"}, "GET", "/api/v1/nodes/n1", ""},
      {{.verb = Verb::get, .resource = &hosts, .name = "h1", .subresource = "status"},
       "GET",
       "/apis/endstate.dev/v1alpha1/hosts/h1/status",
       ""},
      {{.verb = Verb::get, .resource = &roles, .name = "system:node"},
       "GET",
       "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
       ""},
      {{.verb = Verb::list, .resource = &machines, .query = "limit=500"}, "GET", "/apis/endstate.dev/v1alpha1/machines?limit=500", ""},
      {{.verb = Verb::list, .resource = &machines, .name_space = "a"}, "GET", "/apis/endstate.dev/v1alpha1/namespaces/a/machines", ""},
      {{.verb = Verb::watch, .resource = &pods}, "GET", "/api/v1/pods?watch=1", ""},
      {{.verb = Verb::watch, .resource = &pods, .query = "resourceVersion=5"}, "GET", "/api/v1/pods?resourceVersion=5&watch=1", ""},
      {{.verb = Verb::watch, .resource = &pods, .query = "watch=true&a=b"}, "GET", "/api/v1/pods?watch=true&a=b", ""},
      {{.verb = Verb::create, .resource = &machines, .name_space = "a", .name = "m", .body = "{}"},
       "POST",
       "/apis/endstate.dev/v1alpha1/namespaces/a/machines",
       "application/json"},
      {{.verb = Verb::create, .resource = &pods, .name_space = "a", .name = "p", .subresource = "eviction", .body = "{}"},
       "POST",
       "/api/v1/namespaces/a/pods/p/eviction",
       "application/json"},
      {{.verb = Verb::apply,
        .resource = &machines,
        .name_space = "a",
        .name = "m",
        .subresource = "status",
        .query = apply_query("endstate machine"),
        .body = "{}"},
       "PATCH",
       "/apis/endstate.dev/v1alpha1/namespaces/a/machines/m/status?fieldManager=endstate%20machine&force=true",
       "application/apply-patch+yaml"},
      {{.verb = Verb::update, .resource = &hosts, .name = "h", .body = "{}"},
       "PUT",
       "/apis/endstate.dev/v1alpha1/hosts/h",
       "application/json"},
      {{.verb = Verb::merge_patch, .resource = &hosts, .name = "h", .body = "{}"},
       "PATCH",
       "/apis/endstate.dev/v1alpha1/hosts/h",
       "application/merge-patch+json"},
      {{.verb = Verb::json_patch, .resource = &nodes, .name = "n", .body = "[]"},
       "PATCH",
       "/api/v1/nodes/n",
       "application/json-patch+json"},
      {{.verb = Verb::remove, .resource = &nodes, .name = "n"}, "DELETE", "/api/v1/nodes/n", ""},
      {{.verb = Verb::remove, .resource = &nodes, .name = "n", .body = delete_options("u", "")},
       "DELETE",
       "/api/v1/nodes/n",
       "application/json"},
      {{.verb = Verb::get, .path = "/readyz"}, "GET", "/readyz", ""},
      {{.verb = Verb::get, .query = "verbose", .path = "/readyz"}, "GET", "/readyz?verbose", ""},
      {{.verb = Verb::create, .body = "{}", .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"},
       "POST",
       "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
       "application/json"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.target);
    const auto request = request_of(row.call);
    REQUIRE(request);
    CHECK(request->method == row.method);
    CHECK(request->target == row.target);
    CHECK(request->content_type == row.content_type);
    CHECK(request->body == row.call.body);
  }
}

TEST_CASE("a call that would be another request is refused", "[url]") {
  const std::pair<Call, std::string_view> rows[] = {
      {{.verb = Verb::get, .resource = &pods, .name_space = "a", .name = "../secrets/s"}, "name"},
      {{.verb = Verb::get, .resource = &pods, .name_space = "a", .name = ".."}, "name"},
      {{.verb = Verb::get, .resource = &pods, .name_space = "a", .name = "."}, "name"},
      {{.verb = Verb::get, .resource = &pods, .name_space = "a", .name = "x%2Fy"}, "name"},
      {{.verb = Verb::get, .resource = &pods, .name_space = "a", .name = "x\r\nHost: y"}, "name"},
      {{.verb = Verb::get, .resource = &pods, .name_space = "a", .name = std::string("x\0y", 3)}, "name"},
      {{.verb = Verb::get, .resource = &pods, .name_space = "a/b", .name = "x"}, "namespace"},
      {{.verb = Verb::list, .resource = &pods, .name_space = ".."}, "namespace"},
      {{.verb = Verb::get, .resource = &pods, .name_space = "a", .name = "x", .subresource = "a/b"}, "subresource"},
      {{.verb = Verb::get, .resource = &pods, .name = "x"}, "namespace"},
      {{.verb = Verb::get, .resource = &nodes, .name_space = "a", .name = "x"}, "namespace"},
      {{.verb = Verb::get, .resource = &nodes}, "name"},
      {{.verb = Verb::remove, .resource = &nodes}, "name"},
      {{.verb = Verb::create, .resource = &pods, .name_space = "a", .subresource = "eviction", .body = "{}"}, "name"},
      {{.verb = Verb::list, .resource = &nodes, .name = "x"}, "name"},
      {{.verb = Verb::list, .resource = &nodes, .query = "a=b c"}, "query"},
      {{.verb = Verb::list, .resource = &nodes, .query = "a=b#c"}, "query"},
      {{.verb = Verb::list, .resource = &nodes, .query = "a=\n"}, "query"},
      {{.verb = Verb::list, .resource = &nodes, .query = "a=\xc3\xa4"}, "query"},
      {{.verb = Verb::apply, .resource = &nodes, .name = "x", .query = "force=true", .body = "{}"}, "query"},
      {{.verb = Verb::apply, .resource = &nodes, .name = "x", .query = apply_query("m")}, "body"},
      {{.verb = Verb::get, .resource = &nodes, .name = "x", .body = "{}"}, "body"},
      {{.verb = Verb::get}, "path"},
      {{.verb = Verb::get, .path = "readyz"}, "path"},
      {{.verb = Verb::get, .path = "/api/../x"}, "path"},
      {{.verb = Verb::get, .path = "/api/.."}, "path"},
      {{.verb = Verb::get, .path = "/a?b"}, "path"},
      {{.verb = Verb::get, .path = "/a b"}, "path"},
  };
  for (const auto& [call, field] : rows) {
    CAPTURE(describe_call(call), call.query, field);
    const auto request = request_of(call);
    REQUIRE_FALSE(request);
    CHECK(request.error().code == Code::invalid);
    CHECK(request.error().message.substr(0, field.size() + 1) == std::string(field) + ":");
  }
}

TEST_CASE("percent encoding, queries, DeleteOptions", "[url]") {
  CHECK(percent_encode("aZ09-._~") == "aZ09-._~");
  CHECK(percent_encode("a/b c%\xff=&") == "a%2Fb%20c%25%FF%3D%26");
  CHECK(encode_query({{"labelSelector", "a=b,c in (d)"}, {"continue", ""}, {"limit", "5"}}) ==
        "labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=5");
  CHECK(encode_query({}).empty());
  CHECK(delete_options("", "") == R"({"kind":"DeleteOptions","apiVersion":"v1"})");
  CHECK(delete_options("u\"\\\n", "7", "Background", std::chrono::seconds(0)) ==
        R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,"preconditions":{"uid":"u\"\\\n","resourceVersion":"7"},)"
        R"("propagationPolicy":"Background"})");
  CHECK(describe_call({.verb = Verb::merge_patch, .resource = &machines, .name_space = "a", .name = "m", .subresource = "status"}) ==
        "patch machines a/m status");
  CHECK(describe_call({.verb = Verb::list, .resource = &machines, .name_space = "a"}) == "list machines a");
}
