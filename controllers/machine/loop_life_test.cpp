// Whole lives of machines, with a process that dies after any of its writes, over many seeds: the end is always the same, and what must
// hold holds after every single write.
#include <catch2/catch.hpp>

#include "controllers/machine/pass.hpp"
#include "controllers/machine/testing.hpp"
#include "reconcile/sim/seeds.hpp"

using namespace endstate;
using namespace endstate::machine;
using reconcile::resource_of;

namespace {

// What holds after every write.
class Watchman {
 public:
  explicit Watchman(TestWorld& w) : w_(w) {}
  void look() {
    std::map<std::string, int> claims;
    for (const auto& h : w_.view.list<api::Host>("")) {
      if (h->spec.consumer_ref) ++claims[h->spec.consumer_ref->uid.str()];
      const auto a = w_.view.get<api::HostAssignment>("", {}, h->metadata.uid);
      // No host is free while something of a machine may be on it.
      if (a && !is_wiped(*a)) CHECK((h->spec.consumer_ref || !claimable(*h) || a->spec.state == api::AssignmentState::released));
    }
    for (const auto& [uid, n] : claims) CHECK(n == 1);
    for (const auto& a : w_.view.list<api::HostAssignment>("")) look_at(*a);
  }

 private:
  // What a host in service may do changes only under a lock that names the grant; and not before it is drained, if it must be.
  void look_at(const api::HostAssignment& a) {
    const std::string key = a.metadata.uid.str();
    auto& before = revisions_[key];
    const std::string now = a.spec.revision.str() + (a.spec.state == api::AssignmentState::released ? "/released" : "");
    if (!before.empty() && before != now) {
      for (const auto& m : w_.view.list<api::Machine>("")) {
        if (!(m->metadata.uid == a.spec.machine_uid) || !was_in_service(*m)) continue;
        REQUIRE(m->status.operation);
        if (a.spec.state == api::AssignmentState::active) {
          CHECK(m->status.operation->id == a.spec.grant_id);
          CHECK(m->status.operation->revision == a.spec.revision);
        } else {
          CHECK(m->status.operation->type == api::OperationType::delete_);
        }
        for (const auto& pod : w_.view.list<Pod>(""))
          if (a.spec.state == api::AssignmentState::released || a.spec.revision == "rev2")
            CHECK_FALSE(pod->spec.node_name == a.spec.node_name);
      }
    }
    before = now;
  }
  TestWorld& w_;
  std::map<std::string, std::string> revisions_;
};

void live(std::uint64_t seed, int deaths) {
  INFO("seed " << seed);
  TestWorld w(seed);
  Watchman watchman(w);
  w.after_write = [&] { watchman.look(); };
  w.deaths_per_mille = deaths;
  w.package("k-1");
  w.package("k-2", "Drain");
  w.package("k-3", "None");
  for (int i = 0; i < 3; ++i) w.host("h" + std::to_string(i), "r" + std::to_string(i));
  if (seed % 2 == 0)
    for (auto& [name, state] : w.hosts_state) state.fetched = true;  // agents that can prefetch
  w.machine("a", "k-1", "rev1");
  w.machine("b", "k-1", "rev1");
  const auto both = [&](const char* revision) {
    return w.settle([&] { return w.running("a", revision) && w.running("b", revision); }, 200);
  };
  REQUIRE(both("rev1"));
  w.pod(w.m("a")->status.host_ref->name.str(), "p1");
  w.pod(w.m("b")->status.host_ref->name.str(), "p2");
  w.want("a", "k-2", "rev2");
  w.want("b", "k-2", "rev2");
  if (seed % 3 == 0) {  // changed minds, at any moment
    for (std::uint64_t i = w.world.random() % 8; i > 0; --i) w.step();
    w.want("a", "k-3", "rev3");
    w.want("b", "k-1", "rev1");
    for (std::uint64_t i = w.world.random() % 8; i > 0; --i) w.step();
    w.want("a", "k-2", "rev2");
    w.want("b", "k-2", "rev2");
  }
  REQUIRE(both("rev2"));
  const std::string host = w.m("a")->status.host_ref->name.str();
  w.hosts_state[host].fails["k-3"] = "ProbeFailed";
  w.want("a", "k-3", "rev3");
  REQUIRE(w.settle([&] { return w.m("a")->status.phase == api::MachinePhase::failed; }, 200));
  w.want("a", "k-2", "rev2");
  REQUIRE(both("rev2"));
  w.remove("a");
  w.remove("b");
  if (seed % 4 == 0) w.machine("a2", "k-1", "rev1");
  REQUIRE(w.settle([&] { return !w.m("a") && !w.m("b"); }, 1000));
  if (seed % 4 == 0) {
    REQUIRE(w.settle([&] { return w.running("a2", "rev1"); }, 200));
    w.remove("a2");
    REQUIRE(w.settle([&] { return !w.m("a2"); }, 1000));
  }
  // Nothing is left behind, all hosts are free again.
  CHECK(w.view.list<Node>("").empty());
  CHECK(w.view.list<api::HostAssignment>("").empty());
  for (const auto& h : w.view.list<api::Host>("")) CHECK(claimable(*h));
}

}  // namespace

TEST_CASE("lives that nothing disturbs") { live(1, 0); }

TEST_CASE("lives under a process that dies after any of its writes") {
  for (std::uint64_t seed = 1; seed <= reconcile::seeds(40); ++seed) live(seed, 350);
}

namespace {

// A namespace is deleted: the namespace controller takes what is in it in an order of its own, and a Cluster goes when no Machine is left
// (controllers/cluster/).
void end(std::uint64_t seed) {
  INFO("seed " << seed);
  TestWorld w(seed);
  w.patch(resource_of<api::Cluster>, "default", "c", "", R"({"metadata":{"finalizers":["endstate.dev/cluster"]}})");
  w.package("k-1");
  w.package("k-2", "Drain");
  for (int i = 0; i < 4; ++i) w.host("h" + std::to_string(i), "r" + std::to_string(i));
  for (const char* name : {"a", "b", "c"}) w.machine(name, "k-1", "rev1");
  const auto some_steps = [&](std::uint64_t most) {
    for (std::uint64_t i = w.world.random() % most; i > 0; --i) w.step();
  };
  some_steps(12);  // perhaps one is being made still, or under way to another revision
  w.want("b", "k-2", "rev2");
  some_steps(6);
  const bool silent = seed % 3 == 0;
  if (silent) w.hosts_state["h1"].alive = false;
  struct Doomed {
    const reconcile::Resource* resource;
    std::string name;
  };
  std::vector<Doomed> doomed{{&resource_of<api::Cluster>, "c"}};
  for (const char* name : {"a", "b", "c"}) doomed.push_back({&resource_of<api::Machine>, name});
  for (int i = 0; i < 4; ++i) doomed.push_back({&resource_of<api::Host>, "h" + std::to_string(i)});
  w.deaths_per_mille = seed % 2 ? 200 : 0;
  while (!doomed.empty()) {
    const auto at = static_cast<std::ptrdiff_t>(w.world.random() % doomed.size());
    w.must({.verb = reconcile::Verb::remove,
            .resource = doomed[static_cast<std::size_t>(at)].resource,
            .name_space = "default",
            .name = doomed[static_cast<std::size_t>(at)].name});
    doomed.erase(doomed.begin() + at);
    some_steps(3);
  }
  w.guard_error = reconcile::Error{reconcile::Code::unavailable, "the account went first"};
  some_steps(4);
  w.guard_error.reset();
  const auto machines = [&] { return w.view.list<api::Machine>("").size(); };
  REQUIRE(w.settle(
      [&] {
        for (const auto& m : w.view.list<api::Machine>("")) {
          const bool says = m->status.phase == api::MachinePhase::deleting || m->status.phase == api::MachinePhase::draining;
          if (!says && m->metadata.deleting() && w.world.wall() - *m->metadata.deletion_timestamp > std::chrono::seconds(20)) return true;
        }
        return machines() == 0;
      },
      700));
  CHECK(machines() == 0);  // and each said meanwhile that it is being deleted
  CHECK(w.view.list<api::Host>("").empty());
  CHECK(w.view.list<Node>("").empty());
  for (const auto& a : w.view.list<api::HostAssignment>("")) {
    CHECK(a->spec.state == api::AssignmentState::released);
    CHECK(silent);  // one that nobody hears: the order to undo it stays
  }
}

}  // namespace

TEST_CASE("a namespace is deleted in any order, and everything in it ends") {
  for (std::uint64_t seed = 1; seed <= reconcile::seeds(20); ++seed) end(seed);
}
