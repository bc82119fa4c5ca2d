#include "controllers/cluster/release.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/testing.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
namespace api = endstate::v1alpha1;
namespace reason = api::reason;
using api::ReleaseResult;

namespace {

// Plays the meta cluster: parts take a time to become what they are told, and some versions never become well.
struct World {
  ReleaseInput in;
  std::set<std::pair<std::string, Part>> broken;
  std::vector<std::string> history;
  ReleaseDecision last;

  World() {
    for (const auto* v : {"v1.32.1", "v1.33.1", "v1.33.10", "v1.33.9", "v1.34.4", "v1.35.0"}) add(v, v);
    in.wanted = "v1.33.1";
    in.limits.fill(300s);
    in.now = WallTime{1'000'000s};
  }
  void add(const std::string& name, const std::string& version, const std::string& etcd = "r/etcd:3.6.4",
           std::vector<reconcile::Text> args = {}) {
    api::ClusterPackageVersionSpec spec;
    spec.kubernetes_version = version;
    spec.components.etcd.image = etcd;
    spec.components.kube_api_server.args = std::move(args);
    in.versions[name] = facts_of(spec);
  }
  ReleaseDecision pass(bool store = true) {
    last = plan_release(in);
    if (!store) return last;
    in.current = last.current;
    in.rejected = last.rejected;
    in.steps = last.steps;
    if (last.end) history.push_back(last.end->package + ":" + std::to_string(static_cast<int>(last.end->result)));
    if (!last.decided)
      for (std::size_t i = 0; i < 4; ++i)
        if (!last.targets[i].empty() && (!in.parts[i].exists || in.parts[i].package != last.targets[i])) {
          in.parts[i] = {true, last.targets[i], false, {}};
        }
    return last;
  }
  void tick(std::chrono::seconds by = 10s) {
    in.now += by;
    for (std::size_t i = 0; i < 4; ++i) in.parts[i].settled = in.parts[i].exists && !broken.contains({in.parts[i].package, all_parts[i]});
  }
  void settle(int rounds = 200) {
    for (int i = 0; i < rounds; ++i) {
      pass();
      tick();
    }
  }
  bool all(const std::string& package) const {
    return std::all_of(in.parts.begin(), in.parts.end(), [&](const PartNow& p) { return p.package == package && p.settled; });
  }
  std::string packages() const {
    std::string out;
    for (const auto& p : in.parts) out += p.package + " ";
    return out;
  }
};
World running(const std::string& at) {
  World w;
  w.in.wanted = at;
  w.settle(5);
  REQUIRE(w.in.current == at);
  w.history.clear();
  return w;
}

}  // namespace

TEST_CASE("created: all parts at once at the wanted version; it counts when all are well", "[hosted][release]") {
  World w;
  const auto p = w.pass();
  CHECK(p.course == Course::creating);
  for (const auto& t : p.targets) CHECK(t == "v1.33.1");
  CHECK(w.in.current.empty());
  w.tick();
  const auto done = w.pass();
  CHECK(done.course == Course::steady);
  CHECK(done.current == "v1.33.1");
  REQUIRE(done.end);
  CHECK(done.end->result == ReleaseResult::complete);
  // The reference may be edited while it is made.
  World other;
  other.broken.insert({"v1.33.1", Part::etcd});
  other.settle(3);
  other.in.wanted = "v1.34.4";
  other.settle(3);
  CHECK(other.in.current == "v1.34.4");
  World nothing;
  nothing.in.wanted = "gone";
  CHECK(nothing.pass().problem->reason == reason::package_not_found);
}

TEST_CASE("a release: one part after the other, each when the one before is done", "[hosted][release]") {
  auto w = running("v1.33.1");
  w.in.wanted = "v1.34.4";
  std::vector<std::string> seen;
  for (int i = 0; i < 20; ++i) {
    w.pass();
    if (seen.empty() || seen.back() != w.packages()) seen.push_back(w.packages());
    w.tick();
  }
  CHECK(seen == std::vector<std::string>{"v1.34.4 v1.33.1 v1.33.1 v1.33.1 ", "v1.34.4 v1.34.4 v1.33.1 v1.33.1 ",
                                         "v1.34.4 v1.34.4 v1.34.4 v1.33.1 ", "v1.34.4 v1.34.4 v1.34.4 v1.34.4 "});
  CHECK(w.in.current == "v1.34.4");
  CHECK(w.history == std::vector<std::string>{"v1.34.4:1"});
  CHECK(w.in.steps.size() == 4);
}

TEST_CASE("a part that is not well holds the next, for as long as it may", "[hosted][release]") {
  auto w = running("v1.33.1");
  w.in.wanted = "v1.34.4";
  w.broken.insert({"v1.34.4", Part::api_server});
  w.pass(), w.tick(), w.pass(), w.tick();
  const auto started = w.in.now;
  while (w.in.now - started < 250s) {
    w.pass();
    CHECK(w.packages() == "v1.34.4 v1.34.4 v1.33.1 v1.33.1 ");
    w.tick();
  }
}

TEST_CASE("a broken version is rejected and taken back, by itself, and stays so until the reference is edited", "[hosted][release]") {
  const auto part = GENERATE(Part::etcd, Part::api_server, Part::controller_manager, Part::scheduler);
  const bool says_so = GENERATE(true, false);
  auto w = running("v1.33.1");
  w.in.wanted = "v1.34.4";
  w.broken.insert({"v1.34.4", part});
  for (int i = 0; i < 100; ++i) {
    w.pass();
    w.tick();
    for (auto& p : w.in.parts) p.failure = says_so && !p.settled ? "ProgressDeadlineExceeded" : "";
  }
  CHECK(w.all("v1.33.1"));
  CHECK(w.in.current == "v1.33.1");
  CHECK(w.in.rejected == "v1.34.4");
  CHECK(w.last.problem->reason == reason::release_rejected);
  CHECK(w.last.course == Course::steady);
  CHECK(w.history == std::vector<std::string>{"v1.34.4:3", "v1.34.4:2"});
  w.in.wanted = "v1.33.1";
  w.settle(5);
  CHECK(w.in.rejected.empty());
  CHECK_FALSE(w.last.problem);
  CHECK(w.all("v1.33.1"));
  w.broken.clear();
  w.in.wanted = "v1.34.4";
  w.settle();
  CHECK(w.in.current == "v1.34.4");
}

TEST_CASE("a rejection is stored before anything is taken back", "[hosted][release]") {
  auto w = running("v1.33.1");
  w.in.wanted = "v1.34.4";
  w.broken.insert({"v1.34.4", Part::etcd});
  w.pass();
  w.tick(301s);
  const auto p = w.pass();
  CHECK(p.decided);
  CHECK(p.rejected == "v1.34.4");
  CHECK(w.in.parts[0].package == "v1.34.4");
  CHECK(w.pass().course == Course::back);
  CHECK(w.in.parts[0].package == "v1.33.1");
}

TEST_CASE("onFailure Pause: it stops where it is, until the reference is edited", "[hosted][release]") {
  auto w = running("v1.33.1");
  w.in.pause_on_failure = true;
  w.in.wanted = "v1.34.4";
  w.broken.insert({"v1.34.4", Part::api_server});
  w.settle(100);
  CHECK(w.packages() == "v1.34.4 v1.34.4 v1.33.1 v1.33.1 ");
  CHECK(w.last.problem->reason == reason::release_failed);
  CHECK(w.in.rejected.empty());
  w.in.wanted = "v1.33.1";
  w.settle(10);
  CHECK(w.all("v1.33.1"));
}

TEST_CASE("edited back, or to a third version, in the middle", "[hosted][release]") {
  auto w = running("v1.33.1");
  w.in.wanted = "v1.34.4";
  w.pass(), w.tick(), w.pass();
  REQUIRE(w.packages() == "v1.34.4 v1.34.4 v1.33.1 v1.33.1 ");
  SECTION("back") {
    w.in.wanted = "v1.33.1";
    CHECK(w.pass().course == Course::back);
    w.settle(5);
    CHECK(w.all("v1.33.1"));
    CHECK(w.history == std::vector<std::string>{"v1.34.4:4"});
    CHECK(w.last.course == Course::steady);
  }
  SECTION("to a third: what hasn't its turn yet stays as it is") {
    w.in.wanted = "v1.33.10";
    w.pass();
    CHECK(w.packages() == "v1.33.10 v1.34.4 v1.33.1 v1.33.1 ");
    w.settle(20);
    CHECK(w.all("v1.33.10"));
    CHECK(w.in.current == "v1.33.10");
  }
}

TEST_CASE("minors go up one at a time, over the newest patch of each", "[hosted][release]") {
  auto w = running("v1.32.1");
  w.in.wanted = "v1.34.4";
  const auto first = w.pass();
  CHECK(first.began);
  REQUIRE(first.steps.size() == 8);
  CHECK((first.steps[0].to == "v1.33.10" && first.steps[7].to == "v1.34.4"));  // 10 is more than 9
  std::vector<std::string> seen;
  for (int i = 0; i < 40; ++i) {
    w.pass();
    if (seen.empty() || seen.back() != w.in.current) seen.push_back(w.in.current);
    // Never two minors apart.
    std::set<int> minors;
    for (const auto& p : w.in.parts) minors.insert(w.in.versions.at(p.package).kubernetes->minor);
    CHECK(*minors.rbegin() - *minors.begin() <= 1);
    w.tick();
  }
  CHECK(seen == std::vector<std::string>{"v1.32.1", "v1.33.10", "v1.34.4"});
  CHECK(w.in.steps.size() == 8);
  CHECK(w.history == std::vector<std::string>{"v1.34.4:1"});
}

TEST_CASE("a chain that fails on its way goes back to the last version that went through", "[hosted][release]") {
  auto w = running("v1.32.1");
  w.in.wanted = "v1.34.4";
  w.broken.insert({"v1.34.4", Part::scheduler});
  w.settle();
  CHECK(w.all("v1.33.10"));
  CHECK(w.in.rejected == "v1.34.4");
}

TEST_CASE("what is refused before anything moves", "[hosted][release]") {
  struct Row {
    std::string from, to;
    std::string_view reason;
  };
  const Row rows[] = {{"v1.33.1", "gone", reason::package_not_found},
                      {"v1.33.1", "v1.32.1", reason::downgrade_refused},
                      {"v1.33.1", "v2.0.0", reason::version_skew},
                      {"v1.30.0", "v1.33.1", reason::version_skew},
                      {"old-etcd", "v1.33.1", {}},
                      {"v1.33.1", "old-etcd", reason::downgrade_refused},
                      {"v1.33.10", "v1.33.1", {}}};
  for (const auto& row : rows) {
    World w;
    w.add("v2.0.0", "v2.0.0");
    w.add("v1.30.0", "v1.30.0");
    w.add("old-etcd", "v1.33.5", "r/etcd:3.5.21-0");
    w.in.wanted = row.from;
    w.settle(5);
    REQUIRE(w.in.current == row.from);
    w.in.wanted = row.to;
    INFO(row.from << " -> " << row.to);
    const auto before = w.packages();
    const auto p = w.pass();
    if (row.reason.empty()) {
      CHECK_FALSE(p.problem);
      continue;
    }
    REQUIRE(p.problem);
    CHECK(p.problem->reason == row.reason);
    CHECK(w.packages() == before);
    CHECK(w.in.current == row.from);
  }
}

TEST_CASE("a minor goes down only while the API server emulates it", "[hosted][release]") {
  World w;
  w.add("new-emulating", "v1.34.4", "r/etcd:3.6.4", {"--emulated-version=1.33"});
  w.in.wanted = "v1.33.1";
  w.settle(5);
  w.in.wanted = "new-emulating";
  w.settle(20);
  REQUIRE(w.in.current == "new-emulating");
  SECTION("before it is committed") {
    w.in.wanted = "v1.33.1";
    w.settle(20);
    CHECK(w.all("v1.33.1"));
  }
  SECTION("but not further") {
    w.in.wanted = "v1.32.1";
    CHECK(w.pass().problem->reason == reason::downgrade_refused);
  }
  SECTION("and not after") {
    w.in.wanted = "v1.34.4";
    w.settle(20);
    w.in.wanted = "v1.33.1";
    CHECK(w.pass().problem->reason == reason::downgrade_refused);
  }
}

TEST_CASE("how far down a release may go: by what the API server behaves as, not by its binary alone", "[hosted][release]") {
  struct Row {
    std::string from, to;
    bool allowed;
  };
  const std::string plain = "v1.34.4", early = "emulating", earlier = "emulating-older", next = "next", older = "v1.33.1",
                    oldest = "v1.32.1";
  const std::vector<Row> rows{
      {older, early, true},                                                  // the first of two steps
      {early, older, true},                                                  // and its way back
      {early, plain, true},                                                  // the commit
      {plain, older, false},                                                 // which is final
      {plain, early, false},                                                 // also by way of the same binary, told to emulate again
      {early, earlier, false}, {early, oldest, false}, {plain, next, true},  // 1.35 as 1.34
      {next, plain, true},                                                   // has a way back
      {next, early, false},                                                  // but not to 1.33
  };
  for (const auto& row : rows) {
    World w;
    w.add(early, "v1.34.4", "r/etcd:3.6.4", {"--emulated-version=1.33"});
    w.add(earlier, "v1.34.4", "r/etcd:3.6.4", {"--emulated-version=kube=1.32"});
    w.add(next, "v1.35.0", "r/etcd:3.6.4", {"--emulated-version=1.34"});
    w.in.wanted = row.from;
    w.settle(5);
    REQUIRE(w.in.current == row.from);
    w.in.wanted = row.to;
    INFO(row.from << " to " << row.to);
    const auto p = w.pass();
    CHECK(!p.problem == row.allowed);
    if (p.problem) {
      CHECK(p.problem->reason == reason::downgrade_refused);
      CHECK(p.problem->message.find("--emulated-version") != std::string::npos);
      CHECK(w.all(row.from));
    }
    w.settle(20);
    CHECK(w.in.current == (row.allowed ? row.to : row.from));
  }
}

TEST_CASE("etcd stays above once all its members have gone up a minor; before that it goes back", "[hosted][release]") {
  World w;
  w.add("old", "v1.33.5", "r/etcd:3.5.21-0");
  w.in.wanted = "old";
  w.settle(5);
  w.in.wanted = "v1.34.4";
  SECTION("all members were up when the API server failed") {
    w.broken.insert({"v1.34.4", Part::api_server});
    w.settle();
    CHECK(w.packages() == "v1.34.4 old old old ");
    CHECK(w.last.course == Course::steady);
    CHECK(w.in.rejected == "v1.34.4");
  }
  SECTION("a member failed") {
    w.broken.insert({"v1.34.4", Part::etcd});
    w.settle();
    CHECK(w.packages() == "old old old old ");
  }
}

TEST_CASE("versions and tags", "[hosted][release]") {
  CHECK(minor_of("v1.34.4") == Minor{1, 34});
  CHECK(minor_of("1.34") == Minor{1, 34});
  CHECK(minor_of("v1.34.0-rc.1+x") == Minor{1, 34});
  for (const auto* bad : {"", "v1", "v1.", "latest", "v1.x", "1.34x"}) CHECK_FALSE(minor_of(bad));
  CHECK(minor_of_image("registry.example.com:5000/etcd:3.6.4-0") == Minor{3, 6});
  CHECK(minor_of_image("etcd:v3.5.21@sha256:00") == Minor{3, 5});
  for (const auto* bad : {"etcd", "registry.example.com:5000/etcd", "etcd:latest", "etcd@sha256:00"}) CHECK_FALSE(minor_of_image(bad));
  api::ClusterPackageVersionSpec spec;
  spec.components.kube_api_server.args = {"--v=2", "--emulated-version=kube=1.33"};
  CHECK(facts_of(spec).emulated == Minor{1, 33});
}

TEST_CASE("whatever is edited when, and whoever fails: it ends well, and never two minors apart", "[hosted][release]") {
  const std::vector<std::string> names{"v1.32.1", "v1.33.1", "v1.33.10", "v1.34.4"};
  for (unsigned seed = 1; seed <= 300; ++seed) {
    Chance chance(seed * 2654435761u);
    auto w = running("v1.32.1");
    for (int i = 0; i < 300; ++i) {
      if (i < 200 && chance(15) == 0) w.in.wanted = names[chance(4)];
      if (i < 200 && chance(25) == 0) w.broken.insert({names[1 + chance(3)], all_parts[chance(4)]});
      if (i == 200) w.broken.clear();
      w.pass(chance(4) != 0);  // the operator may die before anything is stored
      w.tick(chance(10) == 0 ? 200s : 10s);
      std::set<int> minors;
      for (const auto& p : w.in.parts) minors.insert(w.in.versions.at(p.package).kubernetes->minor);
      INFO("seed " << seed << ", round " << i << ": " << w.packages());
      REQUIRE(*minors.rbegin() - *minors.begin() <= 1);
    }
    INFO("seed " << seed << ": " << w.packages() << " wanted " << w.in.wanted << " current " << w.in.current);
    CHECK(w.all(w.in.current));
    CHECK((w.in.current == w.in.wanted || w.last.problem));
  }
}
