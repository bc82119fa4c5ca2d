// The engine on a whole machine: what an outsider sees before, after, and wherever the power went.
#include <catch2/catch.hpp>

#include "reconcile/json/decode.hpp"
#include "src/agent/attempt.hpp"
#include "src/agent/reasons.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

using State = api::PackageState;

const std::string service = R"(,"service":{"unit":"app.service","content":"[Service]\nExecStart=/usr/local/bin/app\n"})";
const std::string broken_service = R"(,"service":{"unit":"app.service","content":"[Service]\n# fails\n"})";

PackageSpec app(const std::string& version, const std::string& spec = service) {
  return {.slot = "app",
          .version = version,
          .more = {{.path = "share/app-" + version + "/data", .content = "data of " + version}},
          .spec = R"(,"files":[{"path":"/etc/app/config","content":"version )" + version +
                  R"( on ${endstate.nodeName}\n"}],"sysctls":[{"name":"net.ipv4.ip_forward","value":"1"}])" + spec};
}

State state_of(const Round& round, std::string_view slot = "app") {
  const auto* r = find_report(round, slot);
  return r == nullptr ? State::unknown : r->state;
}
std::string reason_of(const Round& round, std::string_view slot = "app") {
  const auto* r = find_report(round, slot);
  return r == nullptr ? "no report" : r->reason.str();
}
std::string actual_of(const Round& round, std::string_view slot = "app") {
  const auto* r = find_report(round, slot);
  return r == nullptr || !r->actual ? "" : r->actual->name.str();
}

struct Bench : Machine {
  std::unique_ptr<FaultHost> fault = host();
  std::unique_ptr<Engine> engine = std::make_unique<Engine>(*fault, settings());
  void restart_agent() {
    engine.reset();
    fault = host();
    engine = std::make_unique<Engine>(*fault, settings());
  }
  Round settle(const Order& order) { return Machine::settle(*engine, order); }
  Round settle_without_api() { return Machine::settle(*engine, std::nullopt); }
};

}  // namespace

TEST_CASE("a package is installed, its service runs, and the report says so", "[agent]") {
  Bench b;
  const auto order = order_of({make_package(b, app("1"))});
  const auto round = b.settle(order);
  CHECK(state_of(round) == State::ready);
  CHECK(actual_of(round) == "app-1");
  CHECK(round.plan.settled);
  CHECK(get(b.at("/usr/local/bin/app")).empty());  // through this test's own root it leads nowhere: it is the host's path
  const auto view = outside_view(b.disk.path());
  CHECK(view.at("/usr/local/bin/app") == "link to: app 1\n");
  CHECK(view.at("/etc/app/config") == "link to: version 1 on h1\n");
  CHECK(get(b.at("/proc/sys/net/ipv4/ip_forward")) == "1\n");
  CHECK(b.units->active.contains("app.service"));
  CHECK(b.units->starts["app.service"] == 1);

  SECTION("and nothing is done any more") {
    const auto steps = b.fault->steps;
    b.pass(std::chrono::minutes(10));
    b.settle(order);
    CHECK(b.fault->steps == steps);
  }
  SECTION("a fresh agent does nothing either, also without an API server") {
    b.restart_agent();
    const auto again = b.settle_without_api();
    CHECK(state_of(again) == State::ready);
    CHECK(b.units->starts["app.service"] == 1);
    for (const auto& what : b.fault->log) CHECK(what.starts_with("make_folder /var"));
  }
  SECTION("taken away, nothing is left") {
    const auto before = Bench();
    const auto bare = outside_view(before.disk.path());
    auto released = order;
    released.spec.state = api::AssignmentState::released;
    released.spec.packages.clear();
    const auto gone = b.settle(released);
    CHECK(gone.plan.packages.empty());
    REQUIRE(gone.plan.conditions.size() == 1);
    CHECK(gone.plan.conditions[0].type == "Wiped");
    CHECK(outside_view(b.disk.path()) == bare);
    CHECK(b.units->active.empty());
    CHECK(b.engine->journal().machine_uid.empty());
    CHECK(std::filesystem::is_empty(b.at("/var/lib/endstate/generations")));
    CHECK(std::filesystem::is_empty(b.at("/var/lib/endstate/blobs")));
    CHECK(std::filesystem::is_empty(b.at("/var/lib/endstate/displaced")));
  }
}

TEST_CASE("what is to come is fetched and kept, and nothing is touched", "[agent]") {
  Bench b;
  auto order = order_of({make_package(b, app("1"))});
  b.settle(order);
  const auto next = make_package(b, app("2"));
  reconcile::Pool pool;
  const auto artifact = reconcile::decode<api::MachinePackageVersionSpec>(next.spec.raw, pool)->install.artifacts.front();
  auto foreign = artifact;
  foreign.arch = "arm64";
  foreign.sha256 = Text(std::string(64, 'a'));
  order.prefetch = api::Prefetch{.id = "w1", .artifacts = {foreign, artifact}};
  const auto said = [](const Round& round) { return *find_condition(round.plan.conditions, "Prefetched"); };
  const auto before = outside_view(b.disk.path());
  const auto blob = b.at(blob_path(artifact.sha256));

  SECTION("it is there when the order comes, which needs no server any more") {
    const auto round = b.settle(order);
    CHECK(said(round).status == reconcile::ConditionStatus::true_);
    CHECK(said(round).message == "w1");
    CHECK(state_of(round) == State::ready);
    CHECK(std::filesystem::exists(blob));
    CHECK(outside_view(b.disk.path()) == before);
    b.restart_agent();
    CHECK(said(b.settle_without_api()).message == "w1");  // remembered
    CHECK(std::filesystem::exists(blob));
    std::filesystem::remove(b.shop.path() + "/app-2.tar.gz");
    CHECK(actual_of(b.settle(order_of({next}, "g2"))) == "app-2");
  }
  SECTION("not wanted any more: it goes") {
    b.settle(order);
    order.prefetch.reset();
    const auto round = b.settle(order);
    CHECK(said(round).status == reconcile::ConditionStatus::true_);
    CHECK(said(round).message.empty());
    CHECK_FALSE(std::filesystem::exists(blob));
  }
  SECTION("can't be had: said with the wish's id; what is there is kept as it is") {
    std::filesystem::remove(b.shop.path() + "/app-2.tar.gz");
    const auto round = b.settle(order);
    CHECK(said(round).status == reconcile::ConditionStatus::false_);
    CHECK(said(round).reason == reason::artifact_unavailable);
    CHECK(said(round).message.view().starts_with("w1: "));
    CHECK(state_of(round) == State::ready);
    std::filesystem::remove(b.at("/etc/app/config"));
    b.settle(order);
    CHECK(outside_view(b.disk.path()) == before);
  }
}

TEST_CASE("an update touches only what differs, and keeps the version before it", "[agent]") {
  Bench b;
  b.settle(order_of({make_package(b, app("1")), make_package(b, {.slot = "tool", .version = "1"})}));
  const auto order = order_of({make_package(b, app("2")), make_package(b, {.slot = "tool", .version = "1"})}, "g2");
  b.fault->log.clear();
  const auto round = b.settle(order);
  CHECK(actual_of(round) == "app-2");
  CHECK(b.units->starts["app.service"] == 2);
  const auto view = outside_view(b.disk.path());
  CHECK(view.at("/usr/local/bin/app") == "link to: app 2\n");
  CHECK_FALSE(view.contains("/usr/local/share/app-1"));
  CHECK(view.at("/usr/local/share/app-2/data") == "link to: data of 2");
  for (const auto& what : b.fault->log) CHECK(what.find("tool") == std::string::npos);
  const auto* record = find_slot(b.engine->journal(), "app");
  REQUIRE(record != nullptr);
  CHECK_FALSE(record->previous.empty());
  CHECK(std::filesystem::exists(b.at(generation_path(record->previous, {}))));

  SECTION("the way back needs no artifact") {
    std::filesystem::remove(b.shop.path() + "/app-1.tar.gz.gone");
    auto back = make_package(b, app("1"));
    std::filesystem::remove(b.shop.path() + "/app-1.tar.gz");
    const auto reverted = b.settle(order_of({back, make_package(b, {.slot = "tool", .version = "1"})}, "g3"));
    CHECK(actual_of(reverted) == "app-1");
    CHECK(state_of(reverted) == State::ready);
  }
  SECTION("a version whose files are the same restarts nothing") {
    auto same = make_package(b, app("2"));
    same.version = {"app-2b", "uid-app-2b", "d2"};
    const auto relabelled = b.settle(order_of({same, make_package(b, {.slot = "tool", .version = "1"})}, "g4"));
    CHECK(actual_of(relabelled) == "app-2b");
    CHECK(b.units->starts["app.service"] == 2);
  }
}

TEST_CASE("a bad version goes back by itself, is reported, and isn't tried again", "[agent]") {
  Bench b;
  const auto good = order_of({make_package(b, app("1"))});
  b.settle(good);
  const auto before = outside_view(b.disk.path());
  auto bad = app("2", broken_service);
  std::string why = "ServiceFailed";
  SECTION("its service doesn't start") {}
  SECTION("its probe fails") {
    bad = app("2", service + R"(,"probes":[{"name":"p","command":["/bin/false"],"periodSeconds":1,"failureThreshold":3}])");
    why = "PackageProbeFailed";
  }
  SECTION("its hook after the update fails") {
    bad = app("2", service + R"(,"hooks":[{"name":"h","point":"PostUpdate","command":["/bin/sh","-c","echo no luck; exit 3"]}])");
    why = "HookFailed";
  }
  SECTION("its hook before the update fails") {
    bad = app("2", service + R"(,"hooks":[{"name":"h","point":"PreUpdate","command":["/bin/false"]}])");
    why = "HookFailed";
  }
  SECTION("its hook hangs") {
    bad = app("2", service + R"(,"hooks":[{"name":"h","point":"PostUpdate","command":["/bin/sleep","1000"],"timeoutSeconds":1}])");
    why = "HookFailed";
  }
  SECTION("its service stays where it starts") {
    bad = app("2", R"(,"service":{"unit":"app.service","content":"[Service]\n# never\n"})");
    why = "ServiceFailed";
  }
  SECTION("a sysctl of it isn't there") {
    bad.spec.replace(bad.spec.find("ip_forward"), 10, "no_such_one");
    why = "InstallFailed";
  }
  SECTION("its unit is missing") {
    bad = app("2", R"(,"service":{"unit":"other.service"})");
    why = "ServiceFailed";
  }
  SECTION("a folder stands where its file should be") {
    std::filesystem::create_directories(b.at("/etc/app/more"));
    bad.spec.insert(bad.spec.find("],\"sysctls"), R"(,{"path":"/etc/app/more","content":""})");
    why = "InstallFailed";
    std::filesystem::remove(b.at("/etc/app/more"));
    std::filesystem::create_directories(b.at("/etc/app/more"));
  }
  const auto order = order_of({make_package(b, bad)}, "g2");
  auto round = b.settle(order);
  CHECK(state_of(round) == State::failed);
  CHECK(reason_of(round) == why);
  CHECK(actual_of(round) == "app-1");
  CHECK(b.units->active.contains("app.service"));
  auto after = outside_view(b.disk.path());
  after.erase("/etc/app/more");
  CHECK(after == before);
  CHECK(get(b.at("/proc/sys/net/ipv4/ip_forward")) == "1\n");

  const auto steps = b.fault->steps;
  b.pass(std::chrono::hours(2));
  b.settle(order);
  CHECK(b.fault->steps == steps);
  b.restart_agent();
  round = b.settle(order);
  CHECK(state_of(round) == State::failed);
  SECTION("a new grant is a new try") {
    auto again = order;
    again.spec.grant_id = "g3";
    round = b.settle(again);
    CHECK(state_of(round) == State::failed);
    CHECK(find_report(round, "app")->attempts == 2);
  }
  SECTION("released, nothing is left of it either") {
    auto released = order;
    released.spec.state = api::AssignmentState::released;
    round = b.settle(released);
    CHECK(round.plan.packages.empty());
    CHECK_FALSE(round.did);
    CHECK(b.engine->journal().slots.empty());
  }
  SECTION("going back is nothing to do") {
    round = b.settle(order_of({make_package(b, app("1"))}, "g3"));
    CHECK(state_of(round) == State::ready);
  }
}

TEST_CASE("a first version that fails leaves nothing", "[agent]") {
  Bench b;
  put(b.at("/etc/app/config"), "by hand");
  const auto bare = outside_view(b.disk.path());
  const auto round = b.settle(order_of({make_package(b, app("1", broken_service))}));
  CHECK(state_of(round) == State::failed);
  CHECK(actual_of(round).empty());
  CHECK(outside_view(b.disk.path()) == bare);
  CHECK(get(b.at("/proc/sys/net/ipv4/ip_forward")) == "0\n");
}

TEST_CASE("a node made by hand is adopted, and gets its files back when it is released", "[agent]") {
  Bench b;
  put(b.at("/usr/local/bin/app"), "app by hand");
  std::filesystem::permissions(b.at("/usr/local/bin/app"), std::filesystem::perms(0750));
  put(b.at("/etc/app/config"), "config by hand");
  const auto bare = outside_view(b.disk.path());
  const auto order = order_of({make_package(b, app("1"))});
  CHECK(state_of(b.settle(order)) == State::ready);
  CHECK(outside_view(b.disk.path()).at("/usr/local/bin/app") == "link to: app 1\n");
  CHECK(state_of(b.settle(order_of({make_package(b, app("2"))}, "g2"))) == State::ready);
  auto released = order;
  released.spec.state = api::AssignmentState::released;
  b.settle(released);
  CHECK(outside_view(b.disk.path()) == bare);
  CHECK((std::filesystem::status(b.at("/usr/local/bin/app")).permissions() & std::filesystem::perms::mask) == std::filesystem::perms(0750));
}

TEST_CASE("packages come in order, after what they require, and two can't own one file", "[agent]") {
  Bench b;
  const auto runtime = make_package(b, {.slot = "runtime", .version = "1.7.2"});
  SECTION("required later in the list") {
    const auto round =
        b.settle(order_of({make_package(b, app("1", R"(,"requires":[{"packageName":"runtime","version":"1.7."}])")), runtime}));
    CHECK(state_of(round) == State::ready);
    CHECK(state_of(round, "runtime") == State::ready);
    CHECK(b.engine->journal().slots.front().slot == "runtime");
  }
  SECTION("required and not there") {
    const auto round =
        b.settle(order_of({make_package(b, app("1", R"(,"requires":[{"packageName":"runtime","version":"1.6"}])")), runtime}));
    CHECK(state_of(round) == State::waiting);
    CHECK(reason_of(round) == "WaitingForPackage");
    CHECK(find_report(round, "app")->message == "requires runtime 1.6, which no slot holds");
  }
  SECTION("one file, two owners") {
    const auto round = b.settle(
        order_of({runtime, make_package(b, {.slot = "thief", .version = "1", .more = {{.path = "bin/runtime", .content = "x"}}})}));
    CHECK(state_of(round, "runtime") == State::ready);
    CHECK(state_of(round, "thief") == State::failed);
    CHECK(find_report(round, "thief")->message == "/usr/local/bin/runtime belongs to the package of slot runtime");
    CHECK(outside_view(b.disk.path()).at("/usr/local/bin/runtime") == "link to: runtime 1.7.2\n");
    CHECK_FALSE(outside_view(b.disk.path()).contains("/usr/local/bin/thief"));
  }
  SECTION("what isn't wanted any more goes first") {
    b.settle(order_of({runtime, make_package(b, app("1"))}));
    const auto round =
        b.settle(order_of({make_package(b, {.slot = "other", .version = "1", .more = {{.path = "bin/app", .content = "x"}}})}, "g2"));
    CHECK(round.plan.packages.size() == 1);
    CHECK(state_of(round, "other") == State::ready);
    CHECK(outside_view(b.disk.path()).at("/usr/local/bin/app") == "link to: x");
  }
}

TEST_CASE("artifacts that can't be had", "[agent]") {
  Bench b;
  auto package = make_package(b, app("1"));
  const auto file = b.shop.path() + "/app-1.tar.gz";
  const auto bytes = get(file);
  SECTION("not there yet") {
    std::filesystem::remove(file);
    auto round = static_cast<Machine&>(b).settle(*b.engine, order_of({package}), 3);
    CHECK(reason_of(round) == "ArtifactUnavailable");
    CHECK(state_of(round) == State::pending);
    for (int i = 0; i < 20; ++i) {
      b.pass(std::chrono::seconds(61));
      round = b.settle(order_of({package}));
    }
    CHECK(state_of(round) == State::failed);  // so that a rollout stops
    put(file, bytes);
    b.pass(std::chrono::seconds(301));
    CHECK(state_of(b.settle(order_of({package}))) == State::ready);
  }
  SECTION("other bytes than those that are meant") {
    put(file, bytes + "x");
    auto round = b.settle(order_of({package}));
    CHECK(state_of(round) == State::failed);
    CHECK(reason_of(round) == "ArtifactRejected");
    CHECK(find_report(round, "app")->message.view().find("checksum mismatch") != std::string_view::npos);
    CHECK(b.engine->journal().slots.empty());
  }
  SECTION("cut off") {
    put(file, bytes.substr(0, bytes.size() / 2));
    CHECK(reason_of(b.settle(order_of({package}))) == "ArtifactRejected");
  }
  SECTION("from a place that isn't allowed") {
    auto engine_settings = b.settings();
    engine_settings.sources.allowed = {"https://packages.example.com/"};
    Engine other(*b.fault, engine_settings);
    const auto round = static_cast<Machine&>(b).settle(other, order_of({package}));
    CHECK(reason_of(round) == "ArtifactRejected");
  }
  SECTION("no archive, though its checksum is right") {
    put(file, "this is no archive");
    auto raw = package.spec.raw.str();
    const auto at = raw.find("\"sha256\":\"") + 10;
    raw.replace(at, 64, sha256_of_file(file));
    package.spec.raw = Text(raw);
    const auto round = b.settle(order_of({package}));
    CHECK(state_of(round) == State::failed);
    CHECK(reason_of(round) == "ArtifactRejected");
    CHECK(b.engine->journal().slots.empty());
  }
  SECTION("an archive that climbs out") {
    make_archive(file, {{.path = "../../../../etc/cron.d/evil", .content = "x"}});
    auto raw = package.spec.raw.str();
    raw.replace(raw.find("\"sha256\":\"") + 10, 64, sha256_of_file(file));
    package.spec.raw = Text(raw);
    CHECK(reason_of(b.settle(order_of({package}))) == "ArtifactRejected");
    CHECK_FALSE(std::filesystem::exists(b.at("/etc/cron.d")));
  }
  SECTION("of a kind or for a machine that this agent doesn't do") {
    auto raw = package.spec.raw.str();
    raw.replace(raw.find("amd64"), 5, "arm64");
    package.spec.raw = Text(raw);
    CHECK(reason_of(b.settle(order_of({package}))) == "PackageNotUsable");
  }
}

TEST_CASE("drift is put right, and two writers don't fight for ever", "[agent]") {
  Bench b;
  const auto order = order_of({make_package(b, app("1"))});
  b.settle(order);
  const auto before = outside_view(b.disk.path());
  int starts = 2;
  SECTION("a file replaced") {
    std::filesystem::remove(b.at("/etc/app/config"));
    put(b.at("/etc/app/config"), "by hand");
  }
  SECTION("a file removed") { std::filesystem::remove(b.at("/usr/local/bin/app")); }
  SECTION("a file edited through its link") {
    const auto* record = find_slot(b.engine->journal(), "app");
    put(b.at(generation_path(record->good, "root/etc/app/config")), "edited");
  }
  SECTION("a file's mode changed") {
    const auto* record = find_slot(b.engine->journal(), "app");
    std::filesystem::permissions(b.at(generation_path(record->good, "root/usr/local/bin/app")), std::filesystem::perms(0644));
  }
  SECTION("a service stopped") { b.units->active.clear(); }
  SECTION("a service disabled") { std::filesystem::remove(b.at("/etc/systemd/system/multi-user.target.wants/app.service")); }
  SECTION("a generation removed") {
    std::filesystem::remove_all(b.at("/var/lib/endstate/generations"));
    starts = 1;  // the same bytes come back: what runs is what should
  }
  SECTION("current turned to nothing") {
    std::filesystem::remove(b.at("/var/lib/endstate/current/app"));
    starts = 1;
  }
  SECTION("a sysctl set by hand") {
    put(b.at("/proc/sys/net/ipv4/ip_forward"), "0\n");
    starts = 1;
  }
  SECTION("everything of the agent's removed") {
    std::filesystem::remove_all(b.at("/var/lib/endstate"));
    b.restart_agent();
  }
  b.pass(look_period);
  const auto round = b.settle(order);
  INFO(reason_of(round) << ": " << (find_report(round, "app") ? find_report(round, "app")->message.str() : ""));
  CHECK(state_of(round) == State::ready);
  CHECK(outside_view(b.disk.path()) == before);
  CHECK(get(b.at("/proc/sys/net/ipv4/ip_forward")) == "1\n");
  CHECK(b.units->active.contains("app.service"));
  CHECK(b.units->starts["app.service"] == starts);
}

TEST_CASE("who changes a file again and again is found out", "[agent]") {
  Bench b;
  const auto order = order_of({make_package(b, app("1"))});
  b.settle(order);
  Round round;
  for (int i = 0; i < 50; ++i) {
    put(b.at("/proc/sys/net/ipv4/ip_forward"), "0\n");
    b.pass(look_period);
    round = b.settle(order);
  }
  CHECK(state_of(round) == State::drifted);
  CHECK(reason_of(round) == "DriftContested");
  CHECK(find_slot(b.engine->journal(), "app")->repairs.size() == max_repairs);
  CHECK(get(b.at("/proc/sys/net/ipv4/ip_forward")) == "0\n");
  b.pass(repair_window);
  CHECK(state_of(b.settle(order)) == State::ready);
}

TEST_CASE("a drifted file of a package that needs a drain is put back without a restart", "[agent]") {
  Bench b;
  const auto order = order_of({make_package(b, app("1", service + R"(,"disruption":"Drain")"))});
  b.settle(order);
  std::filesystem::remove(b.at("/etc/app/config"));
  b.pass(look_period);
  CHECK(state_of(b.settle(order)) == State::ready);
  CHECK(b.units->starts["app.service"] == 1);
}

TEST_CASE("another Machine's host is wiped before it is this one's", "[agent]") {
  Bench b;
  b.settle(order_of({make_package(b, app("1"))}));
  const auto next = order_of({make_package(b, {.slot = "tool", .version = "1"})}, "g9", "m-2");
  const auto round = b.settle(next);
  CHECK(state_of(round, "tool") == State::ready);
  CHECK(b.engine->journal().machine_uid == "m-2");
  CHECK(b.units->active.empty());
  CHECK_FALSE(outside_view(b.disk.path()).contains("/usr/local/bin/app"));
}

TEST_CASE("what is asked for once is done once", "[agent]") {
  Bench b;
  auto order = order_of({make_package(b, app("1"))});
  b.settle(order);
  SECTION("Restart") {
    order.spec.requests = {{.id = "r1", .type = api::RequestType::restart}};
    auto round = b.settle(order);
    REQUIRE(round.plan.requests.size() == 1);
    CHECK(round.plan.requests[0].state == api::RequestState::done);
    b.restart_agent();
    b.settle(order);
    CHECK(b.units->starts["app.service"] == 2);
  }
  SECTION("Reboot") {
    order.spec.requests = {{.id = "r1", .type = api::RequestType::reboot}};
    auto round = b.settle(order);
    CHECK(round.plan.requests[0].state == api::RequestState::running);
    CHECK(b.units->reboots == 1);
    b.reboot();
    b.restart_agent();
    round = b.settle(order);
    CHECK(round.plan.requests[0].state == api::RequestState::done);
    CHECK(b.units->reboots == 1);
    CHECK(state_of(round) == State::ready);  // its service didn't come by itself here, so it was started
  }
  SECTION("Reboot of a host that doesn't go down") {
    order.spec.requests = {{.id = "r1", .type = api::RequestType::reboot}};
    Round round;
    for (int i = 0; i < 60; ++i) {
      round = b.settle(order);
      b.pass(std::chrono::minutes(1));
    }
    CHECK(round.plan.requests[0].state == api::RequestState::failed);
    CHECK(b.units->reboots == reboot_tries);
  }
  SECTION("Wipe") {
    order.spec.requests = {{.id = "r1", .type = api::RequestType::wipe}};
    const auto round = b.settle(order);
    CHECK(round.plan.requests[0].state == api::RequestState::done);
    CHECK(state_of(round) == State::ready);
    CHECK(b.units->starts["app.service"] == 2);
    CHECK(std::count(b.units->log.begin(), b.units->log.end(), "stop app.service") == 1);
  }
}

TEST_CASE("a newer order takes the place of what is under way", "[agent]") {
  Bench b;
  b.settle(order_of({make_package(b, app("1"))}));
  const auto bad =
      order_of({make_package(b, app("2", service + R"(,"probes":[{"name":"p","command":["/bin/false"],"periodSeconds":600}])"))}, "g2");
  auto round = b.settle(bad);
  CHECK(state_of(round) == State::probing);
  CHECK(outside_view(b.disk.path()).at("/usr/local/bin/app") == "link to: app 2\n");
  SECTION("another version") {
    round = b.settle(order_of({make_package(b, app("3"))}, "g3"));
    CHECK(state_of(round) == State::ready);
    CHECK(actual_of(round) == "app-3");
  }
  SECTION("back") {
    round = b.settle(order_of({make_package(b, app("1"))}, "g3"));
    CHECK(state_of(round) == State::ready);
    CHECK(outside_view(b.disk.path()).at("/usr/local/bin/app") == "link to: app 1\n");
  }
  SECTION("release") {
    auto released = bad;
    released.spec.state = api::AssignmentState::released;
    round = b.settle(released);
    CHECK(round.plan.packages.empty());
    CHECK_FALSE(outside_view(b.disk.path()).contains("/usr/local/bin/app"));
  }
}

TEST_CASE("a journal that can't be read stops everything", "[agent]") {
  Bench b;
  const auto order = order_of({make_package(b, app("1"))});
  b.settle(order);
  const auto before = outside_view(b.disk.path());
  put(b.at("/var/lib/endstate/journal.json"), R"({"format":2})");
  b.restart_agent();
  const auto round = b.engine->round(order_of({}, "g2"), b.now());
  REQUIRE(round.trouble);
  CHECK(round.trouble->message.find("of a newer agent") != std::string::npos);
  CHECK(outside_view(b.disk.path()) == before);
}

TEST_CASE("a version that kills its agent again and again is given up", "[agent]") {
  Bench b;
  b.settle(order_of({make_package(b, app("1"))}));
  const auto order = order_of({make_package(b, app("2"))}, "g2");
  int deaths = 0;
  for (; deaths < 20; ++deaths) {
    b.restart_agent();
    bool died = false;
    // The service's start is what kills it.
    for (int rounds = 0; rounds < 100 && !died; ++rounds) {
      b.units->log.clear();
      const auto round = b.engine->round(order, b.now());
      died = std::find(b.units->log.begin(), b.units->log.end(), "restart app.service") != b.units->log.end() &&
             b.units->ran["app.service"].find("app") != std::string::npos && find_slot(b.engine->journal(), "app")->attempt &&
             find_slot(b.engine->journal(), "app")->attempt->work == Work::update;
      if (!round.did && round.plan.again - b.mono >= look_period) break;
      if (!round.did) b.pass(std::chrono::seconds(1));
    }
    if (!died) break;
    // What it did after the start is lost: as if it had died in it.
    auto journal = get(b.at("/var/lib/endstate/journal.json"));
    const auto at = journal.find("\"phase\":\"Finish\"");
    if (at != std::string::npos) put(b.at("/var/lib/endstate/journal.json"), journal.replace(at, 16, "\"phase\":\"Start\""));
  }
  CHECK(deaths <= max_starts + 1);
  const auto round = b.settle(order);
  CHECK(state_of(round) == State::failed);
  CHECK(reason_of(round) == "Interrupted");
  CHECK(outside_view(b.disk.path()).at("/usr/local/bin/app") == "link to: app 1\n");
}

TEST_CASE("kernel modules are loaded before what needs them, and kept", "[agent]") {
  Bench b;
  const auto with_module = [&](const std::string& name) {
    return app("1", service + R"(,"kernelModules":[{"name":"overlay"},{"name":")" + name + R"(","parameters":"size=4 fast=1"}])");
  };
  SECTION("there") {
    const auto order = order_of({make_package(b, with_module("br-filter"))});
    std::filesystem::create_directories(b.at("/sys/module/overlay"));
    CHECK(state_of(b.settle(order)) == State::ready);
    CHECK(get(b.shop.path() + "/loaded") == "-- br-filter size=4 fast=1\n");  // what is loaded already is left alone
    const auto view = outside_view(b.disk.path());
    CHECK(view.at("/etc/modules-load.d/90-endstate-app.conf") == "link to: overlay\nbr-filter\n");
    CHECK(view.at("/etc/modprobe.d/90-endstate-app.conf") == "link to: options br-filter size=4 fast=1\n");
    CHECK(std::filesystem::exists(b.at("/sys/module/br_filter")));  // as the kernel writes it
    const auto steps = b.fault->steps;
    b.pass(std::chrono::minutes(1));
    b.settle(order);
    CHECK(b.fault->steps == steps);
    std::filesystem::remove(b.at("/sys/module/overlay"));  // by hand
    b.pass(std::chrono::minutes(1));
    CHECK(state_of(b.settle(order)) == State::ready);
    CHECK(std::filesystem::exists(b.at("/sys/module/overlay")));
    CHECK(b.units->starts["app.service"] == 1);
  }
  SECTION("not there") {
    const auto round = b.settle(order_of({make_package(b, with_module("missing"))}));
    CHECK(state_of(round) == State::failed);
    CHECK(reason_of(round) == "InstallFailed");
    CHECK_THAT(find_report(round, "app")->message.str(), Catch::Contains("Module missing not found"));
    CHECK_FALSE(outside_view(b.disk.path()).contains("/usr/local/bin/app"));
  }
}

TEST_CASE("hooks of one point run by priority, and a service is not started past its PreStart hook", "[agent]") {
  Bench b;
  const auto log = b.shop.path() + "/log";
  const auto hook = [&](const std::string& name, const std::string& point, const std::string& more = "") {
    return R"({"name":")" + name + R"(","point":")" + point + R"(","command":["/bin/sh","-c","echo )" + name + " >>" + log + R"("])" +
           more + "}";
  };
  const auto hooks = [&](const std::string& last) {
    return service + R"(,"hooks":[)" + hook("late", "PreStart", R"(,"priority":200)") + "," + hook("middle", "PreStart") + "," +
           hook("first", "PreStart", R"(,"priority":0)") + "," + hook("second", "PreStart", R"(,"priority":0)") + "," +
           hook("after", "PostInstall") + "," + last + "]";
  };
  const auto order = order_of({make_package(b, app("1", hooks(hook("before", "PreInstall"))))});
  CHECK(state_of(b.settle(order)) == State::ready);
  CHECK(get(log) == "before\nfirst\nsecond\nmiddle\nlate\nafter\n");
  std::filesystem::remove(log);
  b.units->active.clear();  // it died
  b.pass(std::chrono::minutes(1));
  b.settle(order);
  CHECK(get(log) == "first\nsecond\nmiddle\nlate\n");
  std::filesystem::remove(log);
  const auto starts = b.units->starts["app.service"];
  const auto bad = b.settle(
      order_of({make_package(b, app("2", hooks(R"({"name":"no","point":"PreStart","priority":100,"command":["/bin/false"]})")))}, "g2"));
  CHECK(reason_of(bad) == "HookFailed");
  CHECK(actual_of(bad) == "app-1");
  CHECK(get(log) == "first\nsecond\nmiddle\nfirst\nsecond\nmiddle\nlate\n");  // its own up to the bad one, then those of the version before
  CHECK(b.units->starts["app.service"] == starts + 1);                        // that one only
}

}  // namespace endstate::agent::testing
