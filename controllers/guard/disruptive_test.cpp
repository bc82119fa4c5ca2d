#include "controllers/guard/disruptive.hpp"

#include <catch2/catch.hpp>

#include "apis/v1alpha1/machine.hpp"
#include "controllers/common/indexes.hpp"
#include "reconcile/json/patch.hpp"
#include "reconcile/kube/certificates.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/rbac.hpp"
#include "reconcile/kube/workloads.hpp"

using namespace endstate;
using guard::disruptive;
using reconcile::Action, reconcile::JsonPatch, reconcile::kind_of, reconcile::Verb;
namespace api = v1alpha1;

namespace {

template <class T>
Action of(Verb verb, std::string body = "{}", std::string_view subresource = {}) {
  return {.verb = verb, .kind = &kind_of<T>, .name = "x", .subresource = subresource, .body = std::move(body)};
}
bool node(const std::string& patch) { return disruptive(of<reconcile::Node>(Verb::json_patch, patch)); }
std::string taint(std::string_view key, std::string_view effect) {
  return R"({"key":")" + std::string(key) + R"(","effect":")" + std::string(effect) + "\"}";
}
JsonPatch opening() {
  return JsonPatch()
      .test("/spec/taints/1/key", R"("endstate.dev/not-ready")")
      .test("/spec/taints/1/effect", R"("NoSchedule")")
      .remove("/spec/taints/1");
}

}  // namespace

TEST_CASE("what is done to pods disturbs, whatever it is", "[guard][disruptive]") {
  CHECK(disruptive(of<reconcile::Pod>(Verb::create, "{}", "eviction")));
  for (const auto verb : {Verb::create, Verb::apply, Verb::update, Verb::merge_patch, Verb::json_patch, Verb::remove})
    CHECK(disruptive(of<reconcile::Pod>(verb)));
}

TEST_CASE("an annotation of a pod disturbs nobody; a label may take it out of a Service", "[guard][disruptive]") {
  CHECK_FALSE(disruptive(of<reconcile::Pod>(Verb::merge_patch, R"({"metadata":{"annotations":{"a":null,"b":"c"}}})")));
  for (const auto* body :
       {R"({"metadata":{"labels":{"a":"b"}}})", R"({"metadata":{"annotations":{"a":"b"},"labels":{"a":"b"}}})",
        R"({"metadata":{"annotations":{}},"spec":{}})", R"({"metadata":{"annotations":{},"finalizers":[]}})", "[]", "{}"})
    CHECK(disruptive(of<reconcile::Pod>(Verb::merge_patch, body)));
  CHECK(disruptive(of<reconcile::Pod>(Verb::merge_patch, R"({"metadata":{"annotations":{}}})", "status")));
  CHECK(disruptive(of<reconcile::PersistentVolumeClaim>(Verb::remove)));
  CHECK_FALSE(disruptive(of<reconcile::PersistentVolumeClaim>(Verb::create)));
}

TEST_CASE("what a host may do is not changed without a permit; what its agent said may be", "[guard][disruptive]") {
  for (const auto verb : {Verb::create, Verb::apply, Verb::update, Verb::merge_patch, Verb::json_patch, Verb::remove})
    CHECK(disruptive(of<api::HostAssignment>(verb)));
  CHECK_FALSE(disruptive(of<api::HostAssignment>(Verb::merge_patch, "{}", "status")));
  CHECK_FALSE(disruptive(of<api::Host>(Verb::merge_patch)));
  CHECK(disruptive(of<api::Host>(Verb::remove)));
}

TEST_CASE("wishes and records disturb nothing", "[guard][disruptive]") {
  for (const auto verb : {Verb::create, Verb::apply, Verb::update, Verb::merge_patch, Verb::json_patch, Verb::remove})
    CHECK_FALSE(disruptive(of<api::Machine>(verb)));
  CHECK_FALSE(disruptive(of<api::Machine>(Verb::apply, "{}", "status")));
}

TEST_CASE("of enrolment: tokens, hand-overs, a host's own role, and the word on a request", "[guard][disruptive]") {
  const auto named = [](Action a, std::string_view name_space, std::string_view name) {
    a.name_space = name_space;
    a.name = name;
    return a;
  };
  for (const auto verb : {Verb::create, Verb::merge_patch, Verb::remove}) {
    CHECK_FALSE(disruptive(named(of<reconcile::Secret>(verb), "default", "endstate-host-u1")));
    CHECK_FALSE(disruptive(named(of<reconcile::Secret>(verb), "default", "endstate-enrol-u1")));
  }
  CHECK(disruptive(named(of<reconcile::Secret>(Verb::remove), "default", "c-ca")));
  CHECK_FALSE(disruptive(named(of<reconcile::Secret>(Verb::remove), "kube-system", "bootstrap-token-abcdef")));
  CHECK(disruptive(named(of<reconcile::Secret>(Verb::remove), "kube-system", "endstate-host-u1")));
  CHECK_FALSE(disruptive(named(of<reconcile::ClusterRole>(Verb::create), "", "endstate:host:u1")));
  CHECK(disruptive(named(of<reconcile::ClusterRole>(Verb::create), "", "cluster-admin")));
  CHECK_FALSE(disruptive(named(of<reconcile::ClusterRole>(Verb::apply), "", "endstate:host:u1")));
  CHECK(disruptive(named(of<reconcile::ClusterRole>(Verb::apply), "", "cluster-admin")));
  CHECK(disruptive(named(of<reconcile::ClusterRoleBinding>(Verb::remove), "", "endstate:host:u1")));
  CHECK_FALSE(disruptive(named(of<reconcile::RoleBinding>(Verb::remove), "endstate-system", "endstate:host:u1")));
  CHECK(disruptive(named(of<reconcile::RoleBinding>(Verb::remove), "default", "endstate:host:u1")));
  CHECK_FALSE(disruptive(of<reconcile::CertificateSigningRequest>(Verb::merge_patch, "{}", "approval")));
  CHECK(disruptive(of<reconcile::CertificateSigningRequest>(Verb::remove)));
}

TEST_CASE("a kind that nobody has judged disturbs", "[guard][disruptive]") {
  CHECK(disruptive(of<reconcile::Lease>(Verb::remove)));
  CHECK(disruptive(of<reconcile::ConfigMap>(Verb::merge_patch)));
}

TEST_CASE("nodes: what closes them, drives pods off, or isn't known", "[guard][disruptive]") {
  for (const auto verb : {Verb::create, Verb::apply, Verb::update, Verb::remove}) CHECK(disruptive(of<reconcile::Node>(verb)));
  CHECK(disruptive(of<reconcile::Node>(Verb::json_patch, "[]", "status")));
  CHECK(node(JsonPatch().add("/spec/taints/-", taint("endstate.dev/isolated", "NoSchedule")).str()));
  CHECK(node(JsonPatch().add("/spec/taints", "[" + taint("endstate.dev/not-ready", "NoSchedule") + "]").str()));
  CHECK(node(JsonPatch().add("/spec/taints/-", taint("gpu", "NoExecute")).str()));
  CHECK(node(JsonPatch().add("/spec/taints/-", taint("gpu", "NoSchedule")).str()));
  CHECK(node(JsonPatch().add("/spec/taints", "[" + taint("a", "PreferNoSchedule") + "," + taint("b", "NoSchedule") + "]").str()));
  CHECK(node(JsonPatch().replace("/spec/taints/0/effect", R"("NoExecute")").str()));
  CHECK(node(JsonPatch().replace("/spec/unschedulable", "true").str()));
  CHECK(node(JsonPatch().add("/spec", "{}").str()));
  CHECK(node(JsonPatch().replace("/metadata/ownerReferences", "[]").str()));
  CHECK(node(R"([ { "op" : "add" , "path" : "/spec/taints/-" , "value" : { "effect" : "No\u0053chedule" } } ])"));
  CHECK(node(R"([{"op":"move","from":"/metadata/labels/x","path":"/spec/taints/-"}])"));
  CHECK(node("{}"));
  CHECK(node("not json"));
  CHECK(node("[1]"));
  CHECK(disruptive(of<reconcile::Node>(Verb::merge_patch, R"({"spec":{"unschedulable":true}})")));
  CHECK(disruptive(of<reconcile::Node>(Verb::merge_patch, R"({"metadata":{},"spec":{}})")));
}

TEST_CASE("what a host may do is never changed without a permit; a wish that permits nothing is an annotation", "[guard][disruptive]") {
  for (const auto verb : {Verb::create, Verb::update, Verb::merge_patch, Verb::json_patch, Verb::remove})
    CHECK(disruptive(of<api::HostAssignment>(verb)));
  CHECK_FALSE(disruptive(of<api::HostAssignment>(Verb::merge_patch, R"({"metadata":{"annotations":{"endstate.dev/prefetch":"{}"}}})")));
  CHECK(disruptive(of<api::HostAssignment>(Verb::merge_patch, R"({"metadata":{"annotations":{}},"spec":{"revision":"x"}})")));
  CHECK_FALSE(disruptive(of<api::HostAssignment>(Verb::merge_patch, R"({"spec":{"identity":2}})")));
  CHECK(disruptive(of<api::HostAssignment>(Verb::merge_patch, R"({"spec":{"identity":2,"revision":"x"}})")));
  CHECK(disruptive(of<api::HostAssignment>(Verb::merge_patch, R"({"metadata":{},"spec":{"identity":2}})")));
  CHECK(disruptive(of<api::HostAssignment>(Verb::update, R"({"spec":{"identity":2}})")));
}

TEST_CASE("nodes: labels, annotations, and opening", "[guard][disruptive]") {
  CHECK_FALSE(node(JsonPatch().add("/metadata/labels/a", R"("b")").add("/metadata/annotations", "{}").remove("/metadata/labels/c").str()));
  CHECK_FALSE(disruptive(of<reconcile::Node>(Verb::merge_patch, R"({"metadata":{"labels":{"a":"b"}}})")));
  CHECK_FALSE(node(opening().str()));
  CHECK_FALSE(node(opening().add("/spec/taints/-", taint("gpu", "NoSchedule")).str()));
  CHECK_FALSE(node(JsonPatch().add("/spec/taints/-", taint("gpu", "PreferNoSchedule")).str()));
  CHECK(node(opening().add("/spec/taints/-", taint("gpu", "NoExecute")).str()));
  CHECK(node(
      opening().add("/spec/taints/-", taint("endstate.dev/isolated", "NoSchedule")).str()));  // opened with one hand, closed with the other
  // What only looks like an opening isn't one.
  CHECK(
      node(JsonPatch().test("/spec/taints/1/key", R"("endstate.dev/not-ready")").add("/spec/taints/-", taint("gpu", "NoSchedule")).str()));
  CHECK(node(JsonPatch()
                 .test("/spec/taints/1/key", R"("endstate.dev/not-ready")")
                 .remove("/spec/taints/0")
                 .add("/spec/taints/-", taint("gpu", "NoSchedule"))
                 .str()));
}

TEST_CASE("add-ons: what their loop brings into a hosted cluster and takes away there, and nothing of a host's", "[guard][disruptive]") {
  const auto addon = [](Action a) {
    a.cluster = "prod/hz-a";
    a.mark = "addon/x";
    return a;
  };
  CHECK_FALSE(disruptive(addon(of<reconcile::ConfigMap>(Verb::apply))));
  CHECK_FALSE(disruptive(addon(of<reconcile::ConfigMap>(Verb::remove))));
  CHECK_FALSE(disruptive(addon(of<reconcile::ClusterRole>(Verb::apply))));
  CHECK(disruptive(addon(of<reconcile::ConfigMap>(Verb::merge_patch))));
  CHECK(disruptive(addon(of<reconcile::Pod>(Verb::remove))));
  CHECK(disruptive(addon(of<reconcile::Node>(Verb::remove))));
  CHECK(disruptive(addon(of<api::HostAssignment>(Verb::apply))));
  auto meta = addon(of<reconcile::ConfigMap>(Verb::apply));
  meta.cluster.clear();
  CHECK(disruptive(meta));  // the meta cluster has no add-ons
}
