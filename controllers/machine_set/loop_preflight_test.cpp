// What observe gathers for the pre-flight and the audit trail: through the whole loop, from records and answers to a plan.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "controllers/common/indexes.hpp"
#include "controllers/machine_set/loop.hpp"
#include "controllers/machine_set/preflight.hpp"
#include "controllers/machine_set/testing.hpp"
#include "reconcile/kube/core.hpp"

using namespace endstate::machine_set;
using namespace endstate::machine_set::testing;
using reconcile::Kind, reconcile::Ref;

namespace {

// Caches that hold what they are given.
class Records final : public reconcile::View {
 public:
  template <class T>
  void put(T object) {
    auto& all = objects_[&reconcile::kind_of<T>];
    std::erase_if(all, [&](const Ref<void>& x) { return static_cast<const T*>(x.get())->metadata.key() == object.metadata.key(); });
    all.push_back(std::make_shared<T>(std::move(object)));
  }
  std::set<const Kind*> missing;  // not synced

 protected:
  Ref<void> get_any(std::string_view, const Kind& kind, std::string_view ns, std::string_view name) const override {
    for (const auto& x : list_any("", kind, ns))
      if (kind.meta(x.get()).name == name) return x;
    return nullptr;
  }
  std::vector<Ref<void>> list_any(std::string_view, const Kind& kind, std::string_view ns) const override {
    std::vector<Ref<void>> out;
    if (const auto it = objects_.find(&kind); it != objects_.end())
      for (const auto& x : it->second)
        if (ns.empty() || kind.meta(x.get()).name_space == ns) out.push_back(x);
    return out;
  }
  std::vector<Ref<void>> index_any(std::string_view, const reconcile::Index& index, std::string_view value) const override {
    std::vector<Ref<void>> out;
    for (const auto& x : list_any("", *index.kind, {})) {
      bool found = false;
      index.values(x.get(), [&](std::string_view v) { found = found || v == value; });
      if (found) out.push_back(x);
    }
    return out;
  }
  bool synced_any(std::string_view, const Kind& kind) const override { return !missing.contains(&kind); }
  reconcile::MonoTime seen_any(std::string_view, const Kind&, std::string_view, std::string_view) const override { return {}; }
  std::chrono::nanoseconds lag_any(std::string_view, const Kind&) const override { return {}; }

 private:
  std::map<const Kind*, std::vector<Ref<void>>> objects_;
};

constexpr std::string_view url = "https://mirror.corp/kubelet.tar.gz";

// A set of three at v1 whose template names v2 now.
struct World {
  Records view;
  reconcile::Memory memory;
  Scene scene = settled(3, "v1");
  reconcile::Now now{reconcile::MonoTime(std::chrono::hours(1)), scene.now};

  World() {
    edit_template(scene, "v2");
    view.put(scene.set);
    auto controller = owner();
    for (auto m : scene.machines) {
      m.metadata.owner_references = {controller};
      m.status.host_ref = api::UidRef{m.metadata.name, {}};
      api::Host host;
      host.metadata.name = m.metadata.name;
      host.metadata.name_space = "default";
      host.status.capacity = {{"endstate.dev/free-disk", "1Gi"}};
      view.put(host);
      view.put(m);
    }
    for (const auto& r : scene.revisions) {
      reconcile::ControllerRevision object;
      object.metadata.name = r.name;
      object.metadata.name_space = "default";
      object.metadata.uid = r.uid;
      object.metadata.labels.set(api::label::set_uid, scene.set.metadata.uid);
      object.data.raw = Text(r.canonical);
      object.revision = r.number;
      view.put(object);
    }
    cluster(api::ConditionStatus::true_);
    package("v1", {});
    package("v2", 1000);
  }
  reconcile::OwnerReference owner() const {
    return {.api_version = "endstate.dev/v1alpha1",
            .kind = "MachineSet",
            .name = "workers",
            .uid = scene.set.metadata.uid,
            .controller = true,
            .block_owner_deletion = true};
  }
  void cluster(api::ConditionStatus ready) {
    api::Cluster c;
    c.metadata.name = "local";
    c.metadata.name_space = "default";
    c.metadata.uid = "cluster-uid";
    c.spec.control_plane.type = api::ControlPlaneType::external;
    c.status.control_plane.version = "v1.34.4";
    c.status.conditions = {{.type = "Ready", .status = ready, .reason = "X", .message = "says why", .last_transition_time = epoch}};
    view.put(c);
  }
  void package(std::string_view name, std::optional<std::int64_t> size) {
    api::MachinePackageVersion p;
    p.metadata.name = name;
    p.spec.package_name = "kubelet";
    p.spec.version = "1.34.4";
    p.spec.install.artifacts = {{.arch = "amd64", .url = url, .sha256 = {}, .size = size}};
    view.put(p);
  }
  void answer(const std::string& id, int status, reconcile::Result<std::string> body = std::string()) {
    memory.facts[id] = {.at = now.mono, .body = std::move(body), .time = now.wall, .status = status};
  }
  reconcile::Plan plan() {
    const MachineSetLoop loop;
    const auto bound = loop.observe({view, now, memory, nullptr}, scene.set.metadata.key());
    REQUIRE(bound);
    return bound();
  }
  static bool says(const reconcile::Plan& p, std::string_view text) { return p.status && p.status->status.find(text) != std::string::npos; }
  static std::size_t edits(const reconcile::Plan& p) {
    return static_cast<std::size_t>(
        std::count_if(p.actions.begin(), p.actions.end(), [](const auto& a) { return a.verb == reconcile::Verb::merge_patch; }));
  }
};

bool asks(const reconcile::Plan& p, const std::string& id) {
  return std::any_of(p.queries.begin(), p.queries.end(), [&](const auto& q) { return q.id == id; });
}

}  // namespace

TEST_CASE("an artifact is asked for, and its answer decides", "[machine_set][preflight]") {
  World w;
  auto p = w.plan();
  CHECK(asks(p, head_id(url)));
  CHECK(World::says(p, "PreflightPending"));
  CHECK(World::edits(p) == 0);
  w.answer(head_id(url), 404);
  p = w.plan();
  CHECK(World::says(p, "answers 404"));
  CHECK(World::edits(p) == 0);
  w.answer(head_id(url), 0, reconcile::fail(reconcile::Code::unavailable, "connection refused"));
  CHECK(World::says(w.plan(), "connection refused"));
  w.answer(head_id(url), 405);
  CHECK(asks(w.plan(), get_id(url)));
  w.answer(get_id(url), 0, reconcile::fail(reconcile::Code::invalid, "the reply is longer than 65536 bytes"));
  CHECK(World::edits(w.plan()) == 1);  // it is there
  w.answer(get_id(url), 404);
  CHECK(World::edits(w.plan()) == 0);
  w.answer(head_id(url), 200);
  p = w.plan();
  CHECK(World::edits(p) == 1);
  CHECK(World::says(p, R"("check":"ArtifactsReachable","result":"Passed")"));
}

TEST_CASE("the caches' part of the pre-flight", "[machine_set][preflight]") {
  World w;
  w.answer(head_id(url), 200);
  SECTION("the Cluster") {
    w.cluster(api::ConditionStatus::false_);
    const auto p = w.plan();
    CHECK(World::says(p, "says why"));
    CHECK(World::edits(p) == 0);
  }
  SECTION("a host's disk") {
    api::Host host;
    host.metadata.name = w.scene.machines[1].metadata.name;
    host.metadata.name_space = "default";
    host.status.capacity = {{"endstate.dev/free-disk", "2999"}};
    w.view.put(host);
    const auto p = w.plan();
    CHECK(World::says(p, host.metadata.name.str() + " (2999)"));
    CHECK(World::edits(p) == 0);
  }
  SECTION("a budget that selects the Cluster, by its account") {
    api::ChangeBudget budget;
    budget.metadata.name = "strict";
    budget.spec.limits = {{.name = "updates",
                           .operations = {api::BudgetOperation::machine_update},
                           .scope = {},
                           .windows = {{.duration = seconds(60), .max = 0}},
                           .max_concurrent = {}}};
    w.view.put(budget);
    CHECK(World::edits(w.plan()) == 1);  // no account yet
    api::GuardLedger ledger;
    ledger.metadata.name = "local";
    ledger.metadata.name_space = "default";
    ledger.spec.cluster_uid = "cluster-uid";
    w.view.put(ledger);
    auto p = w.plan();
    CHECK(World::says(p, "ChangeBudget strict refuses (WindowFull)"));
    CHECK(World::edits(p) == 0);
    budget.spec.cluster_selector.match_labels = {{"tier", "other"}};
    w.view.put(budget);
    CHECK(World::edits(w.plan()) == 1);
  }
  SECTION("a cache that isn't filled yet") {
    w.view.missing = {&reconcile::kind_of<api::ChangeBudget>};
    CHECK(World::edits(w.plan()) == 0);
    CHECK(World::says(w.plan(), "PreflightPending"));
  }
}
