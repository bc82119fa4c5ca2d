#include "src/kubectl/verbs.hpp"

#include <catch2/catch.hpp>

#include "controllers/machine_set/names.hpp"
#include "reconcile/json/encode.hpp"
#include "src/kubectl/history.hpp"
#include "src/kubectl/progress.hpp"

using namespace endstate::kubectl;
using reconcile::Text;
namespace api = endstate::v1alpha1;
using What = Deed::What;
using Verdict = Progress::Verdict;

namespace {

api::MachineTemplate template_of(std::string_view version) {
  api::MachineTemplate t;
  t.metadata.labels = {{"pool", "w"}};
  t.spec.packages = {{.name = "kubelet", .version_ref = {version}}};
  return t;
}
std::string canonical(std::string_view version) { return endstate::machine_set::canonical_template(template_of(version)); }

// A rollout from "old" (revision 1) to "new" (revision 2) that is at its canary.
api::MachineSet under_way() {
  api::MachineSet set;
  set.metadata.name = "w";
  set.metadata.uid = "u";
  set.metadata.resource_version = "7";
  set.metadata.generation = 2;
  set.spec.replicas = 10;
  set.spec.template_ = template_of("new");
  api::RolloutStep canary, half;
  canary.name = "canary";
  canary.updated = {1, false};
  half.name = "half";
  half.updated = {50, true};
  set.spec.rollout.steps = {canary, half};
  set.status.observed_generation = 2;
  set.status.current_revision = "old";
  set.status.update_revision = "new";
  api::RolloutStatus r;
  r.revision = "new";
  r.step = "canary";
  r.target = 1;
  set.status.rollout = r;
  return set;
}
std::vector<Recorded> both() { return {{1, "old", canonical("old")}, {2, "new", canonical("new")}}; }
api::MachineSet complete() {
  auto set = under_way();
  set.status.current_revision = "new";
  set.status.rollout->phase = api::RolloutPhase::complete;
  set.status.rollout->step = {};
  reconcile::set_condition(set.status.conditions, {.type = "Ready", .status = api::ConditionStatus::true_, .reason = "Ready"}, {});
  return set;
}
void rolling_out(api::MachineSet& set, std::string_view reason, std::string_view message = "m") {
  set.status.rollout->phase = api::RolloutPhase::paused;
  set.status.rollout->message = message;
  reconcile::set_condition(set.status.conditions, {.type = "RollingOut", .status = api::ConditionStatus::true_, .reason = reason}, {});
}
void reject(api::MachineSet& set, std::string_view revision) {
  set.status.rejected_revisions.push_back({.revision = revision, .step = "canary", .reason = "PackageFailed", .message = "exit 1"});
}

Deed say(Verb verb, const api::MachineSet& set, RolloutArgs args = {}) {
  args.verb = verb;
  return deed_of(args, set, both());
}
const std::string precondition = R"({"metadata":{"uid":"u","resourceVersion":"7")";

}  // namespace

TEST_CASE("pause is an annotation, resume takes it away", "[verbs]") {
  auto set = under_way();
  auto deed = say(Verb::pause, set);
  CHECK(deed.what == What::write);
  CHECK(deed.body == precondition + R"(,"annotations":{"endstate.dev/paused":"kubectl endstate rollout pause"}}})");
  CHECK(say(Verb::resume, set).what == What::nothing);
  set.metadata.annotations.set(api::annotation::paused, "x");
  CHECK(say(Verb::pause, set).what == What::nothing);
  deed = say(Verb::resume, set);
  CHECK(deed.body == precondition + R"(,"annotations":{"endstate.dev/paused":null}}})");
}

TEST_CASE("a pause of the spec is seen, and resumed with a word", "[verbs]") {
  auto set = under_way();
  set.spec.paused = true;
  CHECK(say(Verb::pause, set).what == What::nothing);
  const auto deed = say(Verb::resume, set);
  CHECK(deed.body == precondition + R"(},"spec":{"paused":null}})");
  CHECK(deed.said.find("files") != std::string::npos);
}

TEST_CASE("promote names revision and step", "[verbs]") {
  auto set = under_way();
  CHECK(say(Verb::promote, set).what == What::refused);  // it isn't waiting
  CHECK(say(Verb::promote, set).said.find("--step canary") != std::string::npos);
  RolloutArgs args;
  args.step = "half";
  CHECK(say(Verb::promote, set, args).body == precondition + R"(,"annotations":{"endstate.dev/promote":"new/half"}}})");
  args.step = "nowhere";
  CHECK(say(Verb::promote, set, args).said.find("canary, half, rest") != std::string::npos);
  rolling_out(set, "WaitingForPromotion");
  CHECK(say(Verb::promote, set).body == precondition + R"(,"annotations":{"endstate.dev/promote":"new/canary"}}})");
  set.metadata.annotations.set(api::annotation::promote, "new/canary");
  CHECK(say(Verb::promote, set).what == What::nothing);
  set.status.rollout->step = "half";
  args.step = "canary";
  CHECK(say(Verb::promote, set, args).what == What::nothing);  // past
  CHECK(say(Verb::promote, complete()).what == What::refused);
}

TEST_CASE("abort and retry", "[verbs]") {
  auto set = under_way();
  CHECK(say(Verb::abort, set).body == precondition + R"(,"annotations":{"endstate.dev/reject":"new"}}})");
  CHECK(say(Verb::retry, set).what == What::nothing);
  CHECK(say(Verb::abort, complete()).what == What::refused);
  reject(set, "new");
  set.status.rollout->phase = api::RolloutPhase::rolling_back;
  CHECK(say(Verb::abort, set).what == What::nothing);
  CHECK(say(Verb::retry, set).body == precondition + R"(,"annotations":{"endstate.dev/retry":"new"}}})");
  set.status.rollout->phase = api::RolloutPhase::paused;  // more machines than onFailure.maxMachines: a person says so
  CHECK(say(Verb::abort, set).what == What::write);
}

TEST_CASE("a word that was carried out before is said anew", "[verbs]") {
  auto set = under_way();
  rolling_out(set, "WaitingForPromotion");
  set.status.handled = {.promote = "new/canary", .reject = "new", .retry = "new@3"};
  CHECK(say(Verb::promote, set).body == precondition + R"(,"annotations":{"endstate.dev/promote":"new/canary@7"}}})");
  CHECK(say(Verb::abort, set).body == precondition + R"(,"annotations":{"endstate.dev/reject":"new@7"}}})");
  set.metadata.annotations.set(api::annotation::promote, "new/canary");  // Git has put it back
  CHECK(say(Verb::promote, set).what == What::write);
  set.metadata.annotations.set(api::annotation::promote, "new/canary@7");
  CHECK(say(Verb::promote, set).what == What::nothing);
  reject(set, "new");
  CHECK(say(Verb::retry, set).body == precondition + R"(,"annotations":{"endstate.dev/retry":"new@7"}}})");
}

TEST_CASE("an analysis without a clear answer can be tried again", "[verbs]") {
  auto set = under_way();
  CHECK(say(Verb::retry, set).what == What::nothing);
  reconcile::set_condition(set.status.conditions,
                           {.type = "Stalled", .status = api::ConditionStatus::true_, .reason = "AnalysisInconclusive"}, {});
  CHECK(say(Verb::retry, set).body == precondition + R"(,"annotations":{"endstate.dev/retry":"new"}}})");
}

TEST_CASE("undo puts the very template back, for the very version", "[verbs]") {
  const auto set = under_way();
  const auto deed = say(Verb::undo, set);
  CHECK(deed.what == What::write);
  CHECK(deed.json_patch);
  CHECK(deed.body == R"([{"op":"test","path":"/metadata/uid","value":"u"},{"op":"test","path":"/metadata/resourceVersion","value":"7"},)"
                     R"({"op":"replace","path":"/spec/template","value":)" +
                         canonical("old") + "}]");
  RolloutArgs args;
  args.revision = 2;
  CHECK(say(Verb::undo, set, args).what == What::nothing);
  args.revision = 9;
  CHECK(say(Verb::undo, set, args).what == What::refused);
  CHECK(say(Verb::undo, set, args).said.find("1, 2") != std::string::npos);
}

TEST_CASE("undo to a rejected revision needs --force", "[verbs]") {
  auto set = complete();
  reject(set, "old");
  RolloutArgs args;
  args.revision = 1;
  CHECK(say(Verb::undo, set, args).what == What::refused);
  CHECK(say(Verb::undo, set, args).said.find("exit 1") != std::string::npos);
  args.force = true;
  CHECK(say(Verb::undo, set, args).what == What::write);
  CHECK(say(Verb::undo, set).what == What::refused);  // and it is never chosen by itself
}

TEST_CASE("revisions of a set, and only they", "[verbs]") {
  const auto set = under_way();
  auto object = [](std::string_view name, std::int64_t number, std::string_view data) {
    auto o = std::make_shared<reconcile::ControllerRevision>();
    o->metadata.name = name;
    o->revision = number;
    o->data.raw = data;
    return reconcile::Ref<reconcile::ControllerRevision>(o);
  };
  const auto all = recorded(set, {object("w-new", 2, canonical("new")), object("w-old", 1, canonical("old")),
                                  object("other-x", 3, canonical("x")), object("w-bad", 4, "[]")});
  REQUIRE(all.size() == 2);
  CHECK(all[0].hash == "old");
  CHECK(all[1].template_ == canonical("new"));
}

TEST_CASE("how a rollout stands, and the exit code", "[progress]") {
  const auto verdict = [](const api::MachineSet& s) { return progress_of(s).verdict; };
  auto set = under_way();
  CHECK(verdict(set) == Verdict::going);
  CHECK(progress_of(set).line == "step canary (1 of 3): 0 of 1 machines updated and available, 10 in all");
  set.metadata.generation = 3;
  CHECK(verdict(set) == Verdict::going);
  CHECK(progress_of(set).line == "waiting for the operator to see the last edit");
  CHECK(verdict(complete()) == Verdict::complete);
  set = complete();
  set.status.conditions.clear();  // every machine has it, some aren't well
  CHECK(verdict(set) == Verdict::going);

  set = under_way();
  rolling_out(set, "WaitingForPromotion");
  CHECK(verdict(set) == Verdict::waits);
  rolling_out(set, "StepPause");
  CHECK(verdict(set) == Verdict::going);
  reconcile::set_condition(set.status.conditions,
                           {.type = "Stalled", .status = api::ConditionStatus::true_, .reason = "PackageNotFound", .message = "x"}, {});
  CHECK(verdict(set) == Verdict::failed);
  CHECK(progress_of(set).line == "PackageNotFound: x");
  rolling_out(set, "MachinesLost");
  CHECK(verdict(set) == Verdict::waits);
  set.metadata.annotations.set(api::annotation::paused, "");
  CHECK(verdict(set) == Verdict::waits);

  set = under_way();
  reject(set, "new");
  set.status.rollout->phase = api::RolloutPhase::rolling_back;
  CHECK(verdict(set) == Verdict::failed);
  set.status.rollout->phase = api::RolloutPhase::rolled_back;
  CHECK(verdict(set) == Verdict::failed);
  set.status.rollout->phase = api::RolloutPhase::paused;
  CHECK(verdict(set) == Verdict::failed);

  set = complete();  // the user went back: that is no failure
  set.status.rollout->phase = api::RolloutPhase::rolling_back;
  set.status.conditions.clear();
  CHECK(verdict(set) == Verdict::going);

  CHECK(exit_code_of(Verdict::complete) == 0);
  CHECK(exit_code_of(Verdict::failed) == 1);
  CHECK(exit_code_of(Verdict::waits) == 3);
  CHECK(exit_code_of(Verdict::going) == 4);
}

TEST_CASE("a progress bar", "[progress]") {
  CHECK(bar(0, 10, 4) == "[....] 0/10");
  CHECK(bar(5, 10, 4) == "[##..] 5/10");
  CHECK(bar(12, 10, 4) == "[####] 12/10");
  CHECK(bar(0, 0, 4) == "[####] 0/0");
}

TEST_CASE("history: a line a change, older revisions before", "[history]") {
  auto set = complete();
  const reconcile::WallTime t{std::chrono::seconds(1'790'000'000)};
  api::ChangeRecord c{.revision = "new",
                      .from = "old",
                      .field_manager = "kubectl",
                      .change = "kubelet: old -> new",
                      .start_time = t,
                      .end_time = t + std::chrono::seconds(90)};
  c.result = api::ChangeResult::complete;
  c.steps = {{.name = "canary", .updated = 1, .start_time = t, .end_time = t, .metrics = {{.name = "errors", .value = "0.1", .good = 5}}}};
  set.status.history = {c};
  const auto text = history_table(set, both(), t);
  CHECK(text.find("1          old    -") != std::string::npos);
  CHECK(text.find("1m30s   kubectl   Complete   canary:1   kubelet: old -> new   current") != std::string::npos);
  CHECK(text.find("old    -") < text.find("1m30s"));
  auto raised = both();
  raised[0].number = 3;  // the template was put back to it
  const auto later = history_table(set, raised, t);
  CHECK(later.find("3          old    -") > later.find("1m30s"));
  const auto one = history_of(set, both(), 2);
  REQUIRE(one);
  CHECK(one->find("errors = 0.1 (5 good, 0 bad, 0 inconclusive)") != std::string::npos);
  CHECK(one->find("name: kubelet") != std::string::npos);
  CHECK_FALSE(history_of(set, both(), 3));
  CHECK(history_json(set, both()).find(R"({"revision":1,"hash":"old","template":)") != std::string::npos);
}
