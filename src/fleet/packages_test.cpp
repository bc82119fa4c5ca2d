#include "src/fleet/packages.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace endstate::fleet;
using namespace std::chrono_literals;
using reconcile::MonoTime;
using State = endstate::v1alpha1::PackageState;

namespace {

AgentPackage package(std::string_view slot, std::string_view name, std::string_view version, std::string_view requires_ = {},
                     std::string_view at = {}) {
  AgentPackage p;
  p.name = slot;
  p.version.name = std::string(name) + "-" + std::string(version);
  p.version.digest = "digest-of-" + std::string(name) + std::string(version);
  p.spec.package_name = name;
  p.spec.version = version;
  if (!requires_.empty()) p.spec.requires_.push_back({requires_, at});
  return p;
}

struct Rig {
  Packages packages;
  Chance chance{7};
  Pace pace{0};
  Faults faults;
  MonoTime now{};
  bool advance() { return packages.advance(now, faults, chance, pace); }
  void fault(std::string_view text) { faults.all = {*parse_fault(text)}; }
  // Goes from due time to due time; the number of changes that a report would show.
  int settle(std::chrono::seconds longest = 3600s) {
    int changes = advance() ? 1 : 0;
    const auto end = now + longest;
    for (auto next = packages.next(); next != MonoTime::max() && next <= end; next = packages.next()) {
      now = std::max(now, next);
      changes += advance() ? 1 : 0;
    }
    return changes;
  }
  State state(std::string_view slot) const { return packages.find(slot)->state; }
};

const auto runtime = package("runtime", "containerd", "1.7.20");
const auto kubelet = package("kubelet", "kubelet", "1.34.3", "containerd");

}  // namespace

TEST_CASE("without delays everything is installed in one go, in the order of what requires what") {
  Rig rig;
  rig.packages.want({kubelet, runtime});
  CHECK(rig.advance());
  CHECK(rig.packages.all_ready());
  CHECK(rig.packages.applied == 2);
  CHECK(rig.packages.next() == MonoTime::max());
  CHECK_FALSE(rig.advance());
  for (const auto& r : rig.packages.report()) {
    CHECK(r.state == State::ready);
    CHECK(r.attempts == 1);
    REQUIRE(r.actual);
  }
}

TEST_CASE("with delays a package goes through all its states, one package at a time") {
  Rig rig;
  rig.pace = {1.0};
  rig.packages.want({runtime, kubelet, package("network", "cni", "1.5.0")});
  std::vector<std::string> seen;
  int working = 0;
  rig.advance();
  while (!rig.packages.all_ready()) {
    REQUIRE(rig.packages.next() < MonoTime::max());
    rig.now = std::max(rig.now, rig.packages.next());
    rig.advance();
    int now_working = 0;
    for (const auto& s : rig.packages.slots()) now_working += s.state == State::applying || s.state == State::probing;
    working = std::max(working, now_working);
    seen.emplace_back(reconcile::name_of(rig.state("runtime")));
    if (rig.state("kubelet") == State::applying) CHECK(rig.state("runtime") == State::ready);
  }
  CHECK(working == 1);
  CHECK(std::find(seen.begin(), seen.end(), "Applying") != seen.end());
  CHECK(std::find(seen.begin(), seen.end(), "Probing") != seen.end());
  const auto took = rig.now - MonoTime{};
  CHECK(took > 5s);
  CHECK(took < 60s);
}

TEST_CASE("a requirement that is not met is named, and the package waits") {
  Rig rig;
  rig.packages.want({kubelet});
  rig.settle();
  CHECK(rig.state("kubelet") == State::waiting);
  CHECK(rig.packages.find("kubelet")->message == "requires containerd, which no slot holds");
  rig.packages.want({package("runtime", "containerd", "1.6.9"), package("kubelet", "kubelet", "1.34.3", "containerd", "1.7.")});
  rig.settle();
  CHECK(rig.state("runtime") == State::ready);
  CHECK(rig.state("kubelet") == State::waiting);
  CHECK(rig.packages.find("kubelet")->message == "requires containerd 1.7. to be Ready");
  rig.packages.want({runtime, package("kubelet", "kubelet", "1.34.3", "containerd", "1.7.")});
  rig.settle();
  CHECK(rig.packages.all_ready());
}

TEST_CASE("an install that fails keeps what was there, is tried five times, and going back heals at once") {
  Rig rig;
  rig.packages.want({runtime, kubelet});
  rig.settle();
  rig.fault("InstallFails,package=kubelet-1.34.5");
  rig.packages.want({runtime, package("kubelet", "kubelet", "1.34.5", "containerd")});
  rig.advance();
  CHECK(rig.state("kubelet") == State::failed);
  CHECK(rig.packages.find("kubelet")->actual->name == "kubelet-1.34.3");
  CHECK(rig.packages.find("kubelet")->reason == "InstallFailed");
  CHECK_THAT(rig.packages.find("kubelet")->message.str(), Catch::Contains("kubelet-1.34.5"));
  CHECK(rig.state("runtime") == State::ready);
  CHECK(rig.packages.any_failed());

  SECTION("it is tried again, then left") {
    rig.settle();
    CHECK(rig.packages.find("kubelet")->attempts == max_attempts);
    CHECK(rig.packages.next() == MonoTime::max());
    CHECK(rig.packages.failed == 5);
    rig.faults.all.clear();  // the fault goes: a change, so it is tried again
    rig.advance();
    CHECK(rig.packages.all_ready());
    CHECK(rig.packages.find("kubelet")->actual_version == "1.34.5");
  }
  SECTION("going back needs no install") {
    const auto applied = rig.packages.applied;
    rig.packages.want({runtime, kubelet});
    rig.advance();
    CHECK(rig.packages.all_ready());
    CHECK(rig.packages.applied == applied);
    CHECK(rig.packages.find("kubelet")->actual_version == "1.34.3");
  }
  SECTION("going on to another version works") {
    rig.packages.want({runtime, package("kubelet", "kubelet", "1.34.6", "containerd")});
    rig.advance();
    CHECK(rig.packages.all_ready());
    CHECK(rig.packages.find("kubelet")->attempts == 1);
  }
}

TEST_CASE("the same name with another digest is another version") {
  Rig rig;
  rig.packages.want({runtime});
  rig.settle();
  auto other = runtime;
  other.version.digest = "other";
  rig.packages.want({other});
  rig.settle();
  CHECK(rig.packages.applied == 2);
  CHECK(rig.packages.find("runtime")->actual->digest == "other");
}

TEST_CASE("what is no longer wanted is removed; a wipe removes all") {
  Rig rig;
  rig.pace = {1.0};
  rig.packages.want({runtime, kubelet});
  rig.settle();
  rig.packages.want({runtime});
  rig.advance();
  REQUIRE(rig.packages.find("kubelet") != nullptr);
  CHECK_FALSE(rig.packages.all_ready());
  rig.settle();
  CHECK(rig.packages.find("kubelet") == nullptr);
  CHECK(rig.packages.all_ready());
  rig.packages.wipe();
  CHECK(rig.settle() > 0);
  CHECK(rig.packages.slots().empty());
}

TEST_CASE("an unfinished removal that is wanted again ends well") {
  Rig rig;
  rig.pace = {1.0};
  rig.packages.want({runtime, kubelet});
  rig.settle();
  rig.packages.want({runtime});
  rig.advance();
  rig.packages.want({runtime, kubelet});
  rig.settle();
  CHECK(rig.packages.all_ready());
  CHECK(rig.packages.applied == 2);  // it was never gone
}

TEST_CASE("the disk survives a restart of the agent: what is Ready stays, what was at work goes on") {
  Rig rig;
  rig.packages.want({runtime, kubelet});
  rig.settle();
  Rig again;
  again.packages.restore(rig.packages.report());
  again.packages.want({runtime, kubelet});
  CHECK_FALSE(again.advance());
  CHECK(again.packages.all_ready());
  CHECK(again.packages.find("kubelet")->actual_version == "1.34.3");
  CHECK(again.packages.applied == 0);

  Rig later;  // and meanwhile another version is wanted
  later.packages.restore(rig.packages.report());
  later.packages.want({runtime, package("kubelet", "kubelet", "1.34.4", "containerd")});
  CHECK(later.packages.find("kubelet")->actual_version == "1.34.3");
  later.settle();
  CHECK(later.packages.all_ready());
  CHECK(later.packages.applied == 1);
}

TEST_CASE("Slow costs ten times the time, and a real host's time where nothing else costs any") {
  Rig plain, slow, only;
  for (auto* rig : {&plain, &slow, &only}) {
    rig->pace = {1.0};
    rig->packages.want({runtime, kubelet});
  }
  slow.fault("Slow");
  only.fault("Slow,package=kubelet-1.34.3");
  plain.settle();
  slow.settle();
  only.settle();
  CHECK(slow.now - MonoTime{} > (plain.now - MonoTime{}) * 5);
  CHECK(only.now > plain.now);
  CHECK(only.now < slow.now);

  Rig fast;
  fast.fault("Slow");
  fast.packages.want({runtime});
  fast.advance();
  CHECK_FALSE(fast.packages.all_ready());
  fast.settle();
  CHECK(fast.packages.all_ready());
  CHECK(fast.now - MonoTime{} > 3s);
}

TEST_CASE("whatever is wanted, in whatever order, ends Ready, and nothing rings in the past for ever") {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    Chance dice(seed);
    Rig rig;
    rig.chance = Chance(seed);
    rig.pace = {dice.next() % 2 == 0 ? 0.0 : 1.0};
    std::vector<AgentPackage> last;
    for (int round = 0; round < 6; ++round) {
      last.clear();
      last.push_back(package("runtime", "containerd", "1.7." + std::to_string(dice.next() % 3)));
      if (dice.next() % 3 != 0) last.push_back(package("kubelet", "kubelet", "1.34." + std::to_string(dice.next() % 3), "containerd"));
      if (dice.next() % 2 != 0) last.insert(last.begin(), package("network", "cni", "1.5." + std::to_string(dice.next() % 2), "kubelet"));
      if (last.size() == 2 && last[0].name == "network") last.erase(last.begin());  // what it requires would be missing
      rig.packages.want(last);
      rig.advance();
      if (dice.next() % 2 == 0) {
        rig.now += std::chrono::milliseconds(dice.next() % 5000);
        rig.advance();
      }
    }
    rig.settle();
    INFO("seed " << seed);
    REQUIRE(rig.packages.all_ready());
    REQUIRE(rig.packages.slots().size() == last.size());
    for (const auto& p : last) REQUIRE(rig.packages.installed(p.version.name));
    REQUIRE(rig.packages.next() == MonoTime::max());
  }
}
