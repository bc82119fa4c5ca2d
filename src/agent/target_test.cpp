#include "src/agent/target.hpp"

#include <catch2/catch.hpp>

#include "src/agent/attempt.hpp"
#include "src/agent/options.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

api::ResolvedPackage raw(const std::string& more) {
  api::ResolvedPackage r;
  r.name = "app";
  r.version = {"app-1", "u1", "d1"};
  r.spec.raw = Text(
      R"({"packageName":"app","version":"1","install":{"method":"Archive","artifacts":[{"arch":"amd64","url":"file:///x","sha256":"00"}]})" +
      more + "}");
  return r;
}
TargetSlot slot_of(const std::string& more) { return target_of(order_of({raw(more)}), "m-1", "amd64").slots.at(0); }
std::string trouble_of(const std::string& more) {
  const auto t = slot_of(more);
  return t.trouble ? t.trouble->reason + ": " + t.trouble->message : "";
}

}  // namespace

TEST_CASE("variables are replaced, and other people's dollars left alone", "[agent][target]") {
  const Variables v{{"nodeName", "h1"}};
  CHECK(render("a ${endstate.nodeName} ${HOME} $x ${endstate", v).value() == "a h1 ${HOME} $x ${endstate");
  CHECK_FALSE(render("${endstate.secret}", v));
  CHECK_FALSE(render("${endstate.nodeName", v));
  const auto t = slot_of(R"(,"files":[{"path":"/etc/a","content":"${endstate.nodeName} ${endstate.arch}","mode":2541}])");
  REQUIRE(t.files.size() == 1);
  CHECK(t.files[0].content == "h1 amd64");
  CHECK(*t.files[0].mode == 0755);  // no set-user-id bit
}

TEST_CASE("what a package can't ask for", "[agent][target]") {
  CHECK(trouble_of("").empty());
  for (const auto* path : {"/proc/sys/kernel/x", "/sys/x", "/dev/x", "/run/x", "/var/lib/endstate/journal.json", "/etc/./x", "/etc//x"}) {
    INFO(path);
    CHECK_THAT(trouble_of(R"(,"files":[{"path":")" + std::string(path) + R"(","content":""}])"), Catch::StartsWith("PackageNotUsable"));
  }
  CHECK_THAT(trouble_of(R"(,"files":[{"path":"/etc/x","content":"1"},{"path":"/etc/x","content":"2"}])"), Catch::Contains("twice"));
  CHECK_THAT(trouble_of(R"(,"sysctls":[{"name":"net.*","value":"1"}])"), Catch::Contains("pattern"));
  CHECK_THAT(trouble_of(R"(,"files":[{"path":"/etc/x","content":"${endstate.none}"}])"), Catch::Contains("nobody knows"));
  auto other = raw("");
  other.spec.raw = "{";
  CHECK(target_of(order_of({other}), "m-1", "amd64").slots.at(0).trouble);
  CHECK(target_of(order_of({raw("")}), "m-1", "arm64").slots.at(0).trouble);
  auto deb = raw("").spec.raw.str();
  deb.replace(deb.find("Archive"), 7, "Deb");
  other.spec.raw = Text(deb);
  CHECK_FALSE(target_of(order_of({other}), "m-1", "amd64").slots.at(0).trouble);
  other.name = "endstate-agent";
  CHECK_THAT(target_of(order_of({other}), "m-1", "amd64").slots.at(0).trouble->message, Catch::Contains("method Archive"));
  CHECK_THAT(trouble_of(R"(,"kernelModules":[{"name":"x","parameters":"a\nb"}])"), Catch::Contains("two lines"));
}

TEST_CASE("what is the same needs no other generation", "[agent][target]") {
  const auto key = [](const api::ResolvedPackage& p, const std::string& grant = "g1", const std::string& node = "h1") {
    auto order = order_of({p}, grant);
    order.spec.node_name = Text(node);
    return target_of(order, "m-1", "amd64").slots.at(0);
  };
  const auto plain = raw("");
  auto rewritten = plain;
  rewritten.spec.raw = Text(plain.spec.raw.str() + " ");
  rewritten.version.digest = "of another endstate";
  CHECK(key(plain).key == key(rewritten).key);
  CHECK(key(plain).key == key(plain, "g2").key);
  CHECK_FALSE(key(plain).order == key(plain, "g2").order);
  CHECK(key(plain).key == key(plain, "g1", "h2").key);
  const auto asks = raw(R"(,"files":[{"path":"/etc/a","content":"${endstate.nodeName}"}])");
  CHECK_FALSE(key(asks).key == key(asks, "g1", "h2").key);
  auto other = plain;
  other.version.uid = "u2";
  CHECK_FALSE(key(plain).key == key(other).key);
}

TEST_CASE("whose the host is", "[agent][target]") {
  auto order = order_of({raw("")});
  CHECK_FALSE(target_of(order, "", "amd64").wipe);
  CHECK_FALSE(target_of(order, "m-1", "amd64").wipe);
  CHECK(target_of(order, "m-2", "amd64").wipe);
  order.spec.state = api::AssignmentState::released;
  CHECK(target_of(order, "m-1", "amd64").wipe);
}

TEST_CASE("files of the machine itself come and go with its order", "[agent]") {
  Machine m;
  const auto host = m.host();
  Engine engine(*host, m.settings());
  auto order = order_of({make_package(m, {.slot = "tool", .version = "1"})});
  order.spec.files.resize(1);
  order.spec.files[0].path = "/etc/motd";
  order.spec.files[0].content = "this is ${endstate.nodeName}\n";
  auto round = m.settle(engine, order);
  CHECK(round.plan.packages.size() == 1);
  CHECK(outside_view(m.disk.path()).at("/etc/motd") == "link to: this is h1\n");
  order.spec.files[0].content = "other\n";
  m.settle(engine, order);
  CHECK(outside_view(m.disk.path()).at("/etc/motd") == "link to: other\n");
  order.spec.state = api::AssignmentState::released;
  round = m.settle(engine, order);
  CHECK(round.plan.packages.empty());
  CHECK_FALSE(outside_view(m.disk.path()).contains("/etc/motd"));
}

TEST_CASE("how an attempt ends", "[agent]") {
  SlotRecord r{.slot = "app", .good = "g1", .previous = "g0"};
  const reconcile::Error error{Code::invalid, "it broke", {}, "HookFailed"};
  SECTION("well") {
    r.attempt = Attempt{.work = Work::update, .phase = Phase::prepare, .to = "g2", .order = "o"};
    for (int i = 0; i < 4; ++i) CHECK(advance(r) == Ending::goes_on);
    CHECK(advance(r) == Ending::done);
    CHECK(r.good == "g2");
    CHECK(r.previous == "g1");
  }
  SECTION("before anything was touched") {
    r.attempt = Attempt{.work = Work::update, .phase = Phase::prepare, .to = "g2", .order = "o"};
    CHECK(give_up(r, error, 1, {"app-2", "u", "d"}));
    CHECK_FALSE(r.attempt);
    CHECK(r.failure->reason == "HookFailed");
    CHECK(r.good == "g1");
  }
  SECTION("after") {
    r.attempt = Attempt{.work = Work::update, .phase = Phase::probe, .to = "g2", .order = "o"};
    CHECK(give_up(r, error, 1, {"app-2", "u", "d"}));
    REQUIRE(r.attempt);
    CHECK(r.attempt->work == Work::revert);
    CHECK(r.attempt->to == "g1");
    CHECK(r.attempt->phase == Phase::change);
    CHECK_FALSE(give_up(r, error, 100, {}));  // the old files must be right, however long it takes
    r.attempt->phase = Phase::start;
    CHECK_FALSE(give_up(r, error, 1, {}));
    CHECK(give_up(r, error, max_revert_tries, {}));
    CHECK_FALSE(r.attempt);
    CHECK(r.good == "g1");
    CHECK(r.failure->attempts == 1);
  }
  SECTION("a removal ends, whatever its hooks say") {
    r.failure = Failure{.order = "o"};
    r.attempt = Attempt{.work = Work::remove, .phase = Phase::prepare};
    CHECK_FALSE(give_up(r, error, 1, {}));
    CHECK(give_up(r, error, max_revert_tries, {}));
    CHECK(r.attempt->phase == Phase::change);
    CHECK_FALSE(give_up(r, error, 100, {}));
    CHECK(advance(r) == Ending::goes_on);
    CHECK(advance(r) == Ending::goes_on);
    CHECK(advance(r) == Ending::removed);
  }
}

TEST_CASE("the agent's command line", "[agent]") {
  const auto parse = [](std::vector<const char*> args) {
    args.insert(args.begin(), "endstate-agent");
    return parse_command_line(static_cast<int>(args.size()), args.data());
  };
  const auto good = parse({"--kubeconfig", "/k", "--host-uid", "u", "--allow-url", "https://a/", "--allow-url", "https://b/", "--mirror",
                           "https://a/=https://b/m", "--lease-seconds", "10", "--services", "process"});
  REQUIRE(std::holds_alternative<CommandLine>(good));
  const auto& c = std::get<CommandLine>(good);
  CHECK(c.agent.host_uid == "u");
  CHECK(c.agent.lease_period == std::chrono::seconds(10));
  CHECK(c.engine.sources.allowed.size() == 2);
  CHECK(c.engine.sources.mirrors.at(0).second == "https://b/m");
  CHECK_FALSE(c.systemd);
  CHECK(std::get<int>(parse({"--kubeconfig", "/k"})) == 2);
  CHECK(std::get<int>(parse({"--kubeconfig", "/k", "--host-uid", "u", "--mirror", "x"})) == 2);
  CHECK(std::get<int>(parse({"--kubeconfig", "/k", "--host-uid", "u", "--services", "x"})) == 2);
  CHECK(std::get<int>(parse({"--kubeconfig", "/k", "--host-uid", "u", "--netrc", "/not/there"})) == 2);
  CHECK(goarch("x86_64") == "amd64");
}

}  // namespace endstate::agent::testing
