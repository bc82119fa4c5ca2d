#include "src/fleet/pod.hpp"

#include <catch2/catch.hpp>

using namespace endstate::fleet;
using namespace std::chrono_literals;
using reconcile::Code, reconcile::MonoTime, reconcile::Result, reconcile::Verb;

namespace {

Pod pod(std::string_view owner_kind = {}) {
  Pod p;
  p.metadata.name = "web-1";
  p.metadata.name_space = "shop";
  p.metadata.uid = "u-1";
  p.spec.node_name = "host-0001";
  p.spec.containers = {{"web", "web:1"}};
  p.status.phase = "Pending";
  if (!owner_kind.empty()) {
    auto& o = p.metadata.owner_references.emplace_back();
    o.kind = owner_kind;
    o.controller = true;
  }
  return p;
}

struct Rig {
  std::shared_ptr<Settings> settings = std::make_shared<Settings>();
  HostFacts host = host_facts({}, 3);
  PodModel model{host, 5, settings};
  Now now{MonoTime{}, reconcile::WallTime(1'700'000'000s)};
  void to(std::chrono::nanoseconds after) {
    now.mono = MonoTime{} + after;
    model.advance(now);
  }
  // Goes on until it wants to write; the call.
  std::optional<reconcile::Call> next_write() {
    for (int i = 0; i < 20; ++i) {
      model.advance(now);
      if (model.wants(now.mono)) return model.take(now);
      const auto next = model.next(now.mono);
      if (next == MonoTime::max()) return std::nullopt;
      now.mono = next;
    }
    return std::nullopt;
  }
};

}  // namespace

TEST_CASE("a bound pod runs after a while, with an address and its containers ready") {
  Rig rig;
  rig.model.saw(pod());
  rig.model.advance(rig.now);
  CHECK_FALSE(rig.model.wants(rig.now.mono));
  const auto call = rig.next_write();
  REQUIRE(call);
  CHECK(rig.now.mono >= MonoTime{} + 1s);
  CHECK(rig.now.mono <= MonoTime{} + 3s);
  CHECK(call->verb == Verb::apply);
  CHECK(call->name == "web-1");
  CHECK(call->name_space == "shop");
  CHECK(call->subresource == "status");
  CHECK_THAT(call->query, Catch::Contains("fieldManager=kubelet"));
  CHECK_THAT(call->body, Catch::Contains(R"("uid":"u-1")") && Catch::Contains(R"("phase":"Running")") &&
                             Catch::Contains(R"("podIP":"10.128.3.7")") && Catch::Contains(R"("type":"Ready","status":"True")") &&
                             Catch::Contains(R"("ready":true)"));
  rig.model.done({}, rig.now);
  CHECK_FALSE(rig.next_write());  // a service's pod runs on
}

TEST_CASE("a pod on the host network has the host's address") {
  Rig rig;
  auto p = pod();
  p.spec.host_network = true;
  rig.model.saw(p);
  CHECK_THAT(rig.next_write()->body, Catch::Contains("\"podIP\":\"" + rig.host.address + "\""));
}

TEST_CASE("a Job's pod ends, well or as its annotation says") {
  for (const std::string code : {"", "0", "3", "nonsense"}) {
    Rig rig;
    auto p = pod("Job");
    if (!code.empty()) p.metadata.annotations.set(exit_code_annotation, code);
    rig.model.saw(p);
    REQUIRE_THAT(rig.next_write()->body, Catch::Contains("Running"));
    rig.model.done({}, rig.now);
    const auto ended = rig.next_write();
    REQUIRE(ended);
    const bool fails = code == "3";
    CHECK_THAT(ended->body, Catch::Contains(fails ? R"("phase":"Failed")" : R"("phase":"Succeeded")") &&
                                Catch::Contains(fails ? R"("exitCode":3)" : R"("exitCode":0)") &&
                                Catch::Contains(R"("type":"Ready","status":"False")"));
    rig.model.done({}, rig.now);
    CHECK_FALSE(rig.next_write());
  }
}

TEST_CASE("a deleted pod ends within its grace period and is removed with its uid and no grace") {
  Rig rig;
  auto p = pod();
  p.spec.termination_grace_period_seconds = 2;
  p.status.phase = "Running";
  p.metadata.deletion_timestamp = rig.now.wall;
  rig.model.saw(p);
  const auto call = rig.next_write();
  REQUIRE(call);
  CHECK(rig.now.mono > MonoTime{});
  CHECK(rig.now.mono <= MonoTime{} + 2s);
  CHECK(call->verb == Verb::remove);
  CHECK(call->subresource.empty());
  CHECK_THAT(call->body, Catch::Contains(R"("gracePeriodSeconds":0)") && Catch::Contains(R"("uid":"u-1")"));

  SECTION("done is done") {
    rig.model.done({}, rig.now);
    CHECK_FALSE(rig.next_write());
  }
  SECTION("gone already is done too") {
    rig.model.done(reconcile::fail(Code::not_found, "gone"), rig.now);
    CHECK_FALSE(rig.next_write());
  }
  SECTION("refused: again after a while") {
    rig.model.done(reconcile::fail(Code::forbidden, "no"), rig.now);
    CHECK_FALSE(rig.model.wants(rig.now.mono));
    const auto before = rig.now.mono;
    CHECK(rig.next_write()->verb == Verb::remove);
    CHECK(rig.now.mono >= before + 1s);
  }
  SECTION("not answered: again at once") {
    rig.model.put_back();
    CHECK(rig.model.wants(rig.now.mono));
  }
}

TEST_CASE("after a restart nothing that was said is said again, and an older view undoes nothing") {
  Rig rig;
  auto p = pod();
  p.status.phase = "Running";
  rig.model.saw(p);
  CHECK_FALSE(rig.next_write());
  p.status.phase = "Pending";
  rig.model.saw(p);
  CHECK(rig.model.phase() == PodPhase::running);
  CHECK_FALSE(rig.next_write());
}

TEST_CASE("without delays a pod runs at once") {
  Rig rig;
  rig.settings->pace.scale = 0;
  rig.model.saw(pod());
  rig.model.advance(rig.now);
  CHECK(rig.model.wants(rig.now.mono));
}
