// How exact the guard is under load, and what it costs: many streams of requests at two operators that both believe to lead.
#include <catch2/catch.hpp>
#include <map>

#include "apis/v1alpha1/cluster.hpp"
#include "controllers/guard/ledger_guard.hpp"
#include "reconcile/cache/caches.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/sim/sim_api.hpp"

using namespace endstate;
using namespace endstate::guard;
using namespace std::chrono_literals;
using reconcile::Call, reconcile::PermitRequest, reconcile::Result, reconcile::Verb, reconcile::Verdict, reconcile::WallTime;
namespace api = v1alpha1;

namespace {

constexpr int streams = 32, machines_a_stream = 50, per_ask = 50, all_requests = 100'000;
constexpr std::array<api::BudgetWindow, 3> windows{{{1s, 600}, {10s, 2'700}, {30s, 7'500}}};

template <class T>
std::string manifest(const T& object) {
  const auto& r = reconcile::resource_of<T>;
  return reconcile::encode_object(reconcile::api_version(r), r.kind, reconcile::type_of<T>, &object);
}

struct Operator {
  Operator(reconcile::SimWorld& world, reconcile::SimApi& server, std::string name, reconcile::SimFaults faults)
      : env(world, std::move(name), faults) {
    env.serve("", server);
    for (const auto& source : LedgerGuard::sources()) caches.watch("", {.kind = source.kind});
    env.on_send = [this](const Call& call) {
      if (call.verb != Verb::watch && call.verb != Verb::list && call.resource->plural == "guardledgers") ++calls;
    };
  }
  reconcile::SimEnv env;
  reconcile::Caches caches{env, reconcile::no_log()};
  reconcile::Metrics metrics{"endstate"};
  LedgerGuard guard{env, caches, nullptr, metrics, reconcile::no_log()};
  int calls = 0;  // writes of the ledger, those that are refused too, and reads of it
};

struct Load {
  explicit Load(std::uint64_t seed) : world(seed) {
    api::Cluster c;
    c.metadata.name = "hz";
    c.metadata.name_space = "prod";
    c.spec.control_plane.type = api::ControlPlaneType::external;
    create(c);
    for (int i = 0; i < streams * machines_a_stream; ++i) {
      api::Machine m;
      m.metadata.name = "m" + std::to_string(i);
      m.metadata.name_space = "prod";
      m.spec.cluster_name = "hz";
      create(m);
      subjects.push_back(
          reconcile::decode<api::Machine>(*server.get(reconcile::resource_of<api::Machine>, "prod", m.metadata.name.view()), pool)
              ->metadata.uid);
    }
    api::ChangeBudget b;
    b.metadata.name = "b";
    auto& l = b.spec.limits.emplace_back();
    l.name = "updates";
    l.operations = {api::BudgetOperation::machine_update};
    l.windows = {windows.begin(), windows.end()};
    create(b);
    server.written = [this](const Call& call, std::string_view) {
      if (call.resource->plural == "guardledgers" && call.subresource == "status") record();
    };
  }
  template <class T>
  void create(const T& object) {
    REQUIRE(server.request({.verb = Verb::create,
                            .resource = &reconcile::resource_of<T>,
                            .name_space = object.metadata.name_space.str(),
                            .body = manifest(object)}));
  }
  // The outside recorder: what is stored is what was granted, at the time that stands there.
  void record() {
    const auto ledger = reconcile::decode<api::GuardLedger>(*server.get(reconcile::resource_of<api::GuardLedger>, "prod", "hz"), pool);
    for (const auto& g : ledger->status.grants)
      if (stored.emplace(g.id.str(), g.grant_time).second) times.push_back(g.grant_time);
  }
  void ask(int stream) {
    if (asked >= all_requests) return;
    std::vector<PermitRequest> requests;
    for (int i = 0; i < per_ask && asked < all_requests; ++i, ++asked)
      requests.push_back({.cluster = {"prod", "hz"},
                          .operation = api::operation::machine_update,
                          .subject_uid = subjects[static_cast<std::size_t>(stream * machines_a_stream + i % machines_a_stream)],
                          .revision = "r2",
                          .attempt = asked});
    ++open;
    auto& op = *operators[static_cast<std::size_t>(stream % 2)];
    std::vector<std::string> ids;
    for (const auto& r : requests) ids.push_back(r.id());
    op.guard.ask(std::move(requests), [this, stream, ids = std::move(ids)](const Result<std::vector<Verdict>>& verdicts) {
      --open;
      if (!verdicts) ++errors;
      for (std::size_t i = 0; verdicts && i < ids.size(); ++i)
        if (std::holds_alternative<reconcile::Granted>((*verdicts)[i])) {
          ++granted;
          if (!stored.contains(ids[i])) FAIL("granted, and not stored");
          done(stream, i, ids[i]);
        }
      timers[static_cast<std::size_t>(stream)] = operators[static_cast<std::size_t>(stream % 2)]->env.at(
          world.now() + std::chrono::milliseconds(world.random() % 1'500), [this, stream] { ask(stream); });
    });
  }
  // The operation takes no time: rates are what is tested.
  void done(int stream, std::size_t place, const std::string& id) {
    const auto name = "m" + std::to_string(stream * machines_a_stream + static_cast<int>(place) % machines_a_stream);
    REQUIRE(server.request({.verb = Verb::merge_patch,
                            .resource = &reconcile::resource_of<api::Machine>,
                            .name_space = "prod",
                            .name = name,
                            .subresource = "status",
                            .body = R"({"status":{"lastOperation":{"id":")" + id + R"(","type":"Update","result":"Succeeded"}}})"}));
  }
  void run() {
    const reconcile::SimFaults faults{
        .refused = 2, .reply_lost = 2, .request_lost = 1, .throttled = 2};  // a cut watch is blindness: another test
    for (const auto* name : {"one", "two"}) operators.push_back(std::make_unique<Operator>(world, server, name, faults));
    world.run_for(20s);
    for (auto& op : operators) op->calls = 0;
    timers.resize(streams);
    for (int i = 0; i < streams; ++i) ask(i);
    REQUIRE(world.run_until([this] { return asked == all_requests && open == 0; }, 1h));
  }
  // The most in any window, as the recorder saw it.
  std::int64_t most(std::chrono::seconds window) const {
    auto sorted = times;
    std::sort(sorted.begin(), sorted.end());
    std::int64_t most = 0;
    for (std::size_t from = 0, to = 0; to < sorted.size(); ++to) {
      while (sorted[from] <= sorted[to] - window) ++from;
      most = std::max(most, static_cast<std::int64_t>(to - from + 1));
    }
    return most;
  }

  reconcile::SimWorld world;
  reconcile::SimApi server{world};
  reconcile::Pool pool;
  std::vector<reconcile::Text> subjects;
  std::vector<std::unique_ptr<Operator>> operators;
  std::vector<reconcile::Handle> timers;
  std::map<std::string, WallTime> stored;  // by grant id
  std::vector<WallTime> times;
  int asked = 0, open = 0, granted = 0, errors = 0;
};

}  // namespace

TEST_CASE("100,000 requests in 32 streams at two rival operators: never one over, and 50 grants cost at most one write", "[ledger][load]") {
  for (const std::uint64_t seed : {1U, 2U}) {
    Load load(seed);
    load.run();
    const int calls = load.operators[0]->calls + load.operators[1]->calls;
    INFO("seed " << seed << ": granted " << load.granted << ", stored " << load.times.size() << ", calls " << calls << ", errors "
                 << load.errors << ", took " << std::chrono::duration<double>(load.world.now().time_since_epoch()).count() << " s");
    for (const auto& w : windows) {
      INFO("window " << w.duration.count() << " s");
      CHECK(load.most(w.duration) <= w.max);
      CHECK(load.most(w.duration) >= w.max * 9 / 10);  // and it was under load
    }
    CHECK(load.granted > 8'000);
    CHECK(static_cast<int>(load.times.size()) >= load.granted);
    CHECK(calls * 50 <= static_cast<int>(load.times.size()));
  }
}
