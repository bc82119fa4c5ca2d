#include "controllers/machine_set/write.hpp"

#include <catch2/catch.hpp>

#include "controllers/machine_set/delete_order.hpp"
#include "controllers/machine_set/names.hpp"
#include "controllers/machine_set/testing.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using reconcile::Verb;

TEST_CASE("an edit replaces lists as a whole and takes away what the new template doesn't have", "[machine_set]") {
  const auto set = set_of(1, "v1");
  auto old_template = template_of("v1");
  old_template.metadata.labels.set("old", "1");
  old_template.metadata.annotations.set("note", "1");
  old_template.spec.packages.push_back({.name = "runtime", .version_ref = {"containerd-1"}});
  old_template.spec.labels = {{"a", "1"}, {"b", "2"}};
  old_template.spec.deletion.node_drain_timeout = seconds(5);
  const auto from = revision_of(old_template, 1);
  auto new_template = template_of("v2");
  new_template.spec.labels = {{"a", "3"}};
  new_template.spec.taints = {{.key = "gpu", .value = "", .effect = api::TaintEffect::no_schedule}};
  const auto to = revision_of(new_template, 2);

  auto m = machine_of(set, "m1", "v1");
  m.metadata.labels.set("old", "1");
  m.metadata.labels.set("theirs", "1");
  m.metadata.annotations = {{"note", "1"}, {"theirs", "2"}, {api::annotation::was_unavailable, "x"}};
  m.spec = api::machine_spec(old_template.spec, "local");
  m.spec.host_name = "pinned";
  const auto a = edit_machine(set, m, &from, to, false, false, "why");
  CHECK(a.verb == Verb::merge_patch);
  CHECK((a.uid == m.metadata.uid && a.resource_version == m.metadata.resource_version && a.stage == 1));
  CHECK(a.body ==
        R"({"metadata":{"labels":{"endstate.dev/cluster-name":"local","endstate.dev/revision":")" + to.hash.str() +
            R"(","endstate.dev/set-name":"workers","pool":"workers","old":null},)"
            R"("annotations":{"endstate.dev/was-unavailable":null,"note":null}},)"
            R"("spec":{"packages":[{"name":"kubelet","versionRef":{"name":"v2"}}],"readinessGates":[],)"
            R"("taints":[{"key":"gpu","effect":"NoSchedule"}],"labels":{"a":"3","b":null},)"
            R"("deletion":{"nodeDrainTimeoutSeconds":null,"nodeDeletionTimeoutSeconds":null,"nodeVolumeDetachTimeoutSeconds":null}}})");
}

TEST_CASE("an edit says when a machine was unavailable before, and how long it may take", "[machine_set]") {
  auto set = set_of(1, "v1");
  set.spec.rollout.machine_timeout = seconds(90);
  const auto to = revision_of(template_of("v2"), 2);
  const auto a = edit_machine(set, machine_of(set, "m1", "v1"), nullptr, to, true, false, "why");
  CHECK(a.body.find(R"("annotations":{"endstate.dev/operation-timeout-seconds":"90","endstate.dev/was-unavailable":")" + to.hash.str()) !=
        std::string::npos);
}

TEST_CASE("an edit back says so, and the next edit forward takes the word off", "[machine_set]") {
  const auto set = set_of(1, "v1");
  const auto r = revision_of(template_of("v1"), 1);
  auto m = machine_of(set, "m1", "v2");
  CHECK(edit_machine(set, m, nullptr, r, false, true, "why").body.find(R"("endstate.dev/rollback-to":")" + r.hash.str() + "\"") !=
        std::string::npos);
  m.metadata.annotations.set(api::annotation::rollback_to, r.hash);
  CHECK(edit_machine(set, m, nullptr, r, false, false, "why").body.find(R"("endstate.dev/rollback-to":null)") != std::string::npos);
}

TEST_CASE("a revision's data is as Go writes it, so that a strategic merge patch leaves it byte for byte", "[machine_set]") {
  auto t = template_of("v1");
  t.metadata.annotations = {{"z", "<a> & \"b\"\n\xE2\x80\xA8"}};
  t.spec.deletion.node_drain_timeout = seconds(60);
  CHECK(stored_template(t) ==
        R"({"metadata":{"annotations":{"z":"\u003ca\u003e \u0026 \"b\"\n\u2028"},"labels":{"pool":"workers"}},)"
        R"("spec":{"deletion":{"nodeDrainTimeoutSeconds":60},"packages":[{"name":"kubelet","versionRef":{"name":"v1"}}]}})");
  // The revision's hash stays that of the text that older versions stored.
  CHECK(canonical_template(t).find(R"("packages")") < canonical_template(t).find(R"("deletion")"));
}

TEST_CASE("every field of a template reaches the machine, and is seen when it differs", "[machine_set]") {
  // A field that is added to the template must be added to machine_spec() and stands_for() too: this fails until it is.
  REQUIRE(reconcile::type_of<api::MachineTemplateSpec>.fields.size() == 5);
  const auto set = set_of(1, "v1");
  auto t = template_of("v1");
  const auto fresh = [&] {
    auto m = machine_of(set, "m1", "v1");
    m.spec = api::machine_spec(t.spec, "local");
    return m;
  };
  CHECK(stands_for(fresh(), t));
  auto m = fresh();
  m.spec.packages.clear();
  CHECK_FALSE(stands_for(m, t));
  m = fresh();
  m.spec.readiness_gates.push_back({"X"});
  CHECK_FALSE(stands_for(m, t));
  m = fresh();
  m.spec.taints.push_back({.key = "k", .value = {}});
  CHECK_FALSE(stands_for(m, t));
  m = fresh();
  m.spec.labels.set("k", "v");
  CHECK_FALSE(stands_for(m, t));
  m = fresh();
  m.spec.deletion.node_drain_timeout = seconds(1);
  CHECK_FALSE(stands_for(m, t));
  m = fresh();
  m.metadata.labels.erase("pool");
  CHECK_FALSE(stands_for(m, t));
  m = fresh();
  m.spec.host_name = "pinned";
  m.metadata.labels.set("theirs", "1");
  CHECK(stands_for(m, t));
}

TEST_CASE("a created machine belongs to its set and carries its loop's finalizer", "[machine_set]") {
  const auto set = set_of(1, "v1");
  const auto r = revision_of(template_of("v1"), 1);
  const auto a = create_machine(set, r, "workers-abcde");
  CHECK((a.verb == Verb::create && a.tolerate_exists && a.stage == 1));
  CHECK(a.body == R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Machine","metadata":{"name":"workers-abcde","namespace":"default",)"
                  R"("labels":{"endstate.dev/cluster-name":"local","endstate.dev/revision":")" +
                      r.hash.str() +
                      R"(","endstate.dev/set-name":"workers","pool":"workers"},"finalizers":["endstate.dev/machine"],)"
                      R"("ownerReferences":[{"apiVersion":"endstate.dev/v1alpha1","kind":"MachineSet","name":"workers","uid":"set-uid",)"
                      R"("controller":true,"blockOwnerDeletion":true}]},)"
                      R"("spec":{"clusterName":"local","packages":[{"name":"kubelet","versionRef":{"name":"v1"}}]}})");
}

TEST_CASE("finalizer and annotations are taken off only if they are still what was read", "[machine_set]") {
  auto set = set_of(1, "v1");
  set.metadata.finalizers = {"other/one", api::finalizer::machine_set};
  CHECK(remove_finalizer(set).body == R"([{"op":"test","path":"/metadata/uid","value":"set-uid"},)"
                                      R"({"op":"test","path":"/metadata/finalizers/1","value":"endstate.dev/machine-set"},)"
                                      R"({"op":"remove","path":"/metadata/finalizers/1"}])");
  set.metadata.finalizers = {"other/one"};
  const auto add = add_finalizer(set);
  CHECK(add.body == R"({"metadata":{"finalizers":["other/one","endstate.dev/machine-set"]}})");
  CHECK(add.resource_version == set.metadata.resource_version);
  set.metadata.annotations.set(api::annotation::promote, "x/y");
  CHECK(remove_annotation(set, api::annotation::promote).body ==
        R"([{"op":"test","path":"/metadata/uid","value":"set-uid"},)"
        R"({"op":"test","path":"/metadata/annotations/endstate.dev~1promote","value":"x/y"},)"
        R"({"op":"remove","path":"/metadata/annotations/endstate.dev~1promote"}])");
}

TEST_CASE("who goes first when a set shrinks", "[machine_set]") {
  auto scene = settled(0, "v1");
  edit_template(scene, "v2");
  const auto add = [&](std::string_view name, std::string_view version, int age) -> api::Machine& {
    scene.machines.push_back(machine_of(scene.set, name, version, epoch - seconds(age)));
    return scene.machines.back();
  };
  scene.machines.reserve(10);
  add("a-old-revision", "v1", 10);
  add("b-newer", "v1", 5);
  add("c-canary", "v2", 1);
  set_ready(add("d-ill", "v1", 50), api::ConditionStatus::false_, "NotReady", epoch);
  add("e-no-host", "v1", 60).status.host_ref.reset();
  add("f-asked", "v1", 100).metadata.annotations.set(api::annotation::delete_machine, "");
  add("g-kept", "v1", 0).metadata.annotations.set(api::annotation::delete_protection, "Always");
  set_ready(add("h-ill-canary", "v2", 1), api::ConditionStatus::unknown, "AgentSilent", epoch);
  const auto s = scene.snapshot();
  const auto revisions = plan_revisions(s);
  const auto facts = judge(s, revisions);
  Course course;
  course.way = Course::Way::forward;
  course.current = revision_for("v1");
  const auto names = [&] {
    std::vector<std::string> out;
    for (const auto* f : delete_order(facts, revisions, course)) out.push_back(f->machine->metadata.name.str());
    return out;
  };
  CHECK(names() == std::vector<std::string>{"f-asked", "e-no-host", "d-ill", "b-newer", "a-old-revision", "h-ill-canary", "c-canary"});
  course.way = Course::Way::back;  // the rejected revision's machines are worth less than any that is well
  course.rejected.push_back({.revision = revision_for("v2"), .step = {}, .reason = {}, .message = {}});
  CHECK(names() == std::vector<std::string>{"f-asked", "e-no-host", "h-ill-canary", "d-ill", "c-canary", "b-newer", "a-old-revision"});
}
