// A world for the machine loop: the simulated API server holds the objects, this plays the runtime (one pass at a time, which may die
// after any of its writes), the guard, the agents and the kubelets. Only for tests.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controllers/common/indexes.hpp"
#include "controllers/common/machine_state.hpp"
#include "controllers/machine/loop.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/sim/sim_api.hpp"

namespace endstate::machine {

// A cache that is never behind.
class LiveView final : public reconcile::View {
 public:
  LiveView(const reconcile::SimApi& api, const reconcile::SimWorld& world) : api_(api), world_(world) {}
  std::chrono::nanoseconds lags{0};
  bool is_synced = true;
  reconcile::Sight sees{.seen = true};
  mutable std::map<std::string, int, std::less<>> asked;  // by an index's name
  reconcile::Sight sight(std::string_view) const override { return sees; }
  Ref<void> read(const reconcile::Kind& kind, const std::string& json) const;

 protected:
  Ref<void> get_any(std::string_view, const reconcile::Kind& kind, std::string_view name_space, std::string_view name) const override;
  std::vector<Ref<void>> list_any(std::string_view, const reconcile::Kind& kind, std::string_view name_space) const override;
  std::vector<Ref<void>> index_any(std::string_view, const reconcile::Index& index, std::string_view value) const override;
  bool synced_any(std::string_view, const reconcile::Kind&) const override { return is_synced; }
  reconcile::MonoTime seen_any(std::string_view, const reconcile::Kind& kind, std::string_view ns, std::string_view name) const override;
  std::chrono::nanoseconds lag_any(std::string_view, const reconcile::Kind&) const override { return lags; }

 private:
  const reconcile::SimApi& api_;
  const reconcile::SimWorld& world_;
  mutable reconcile::Pool pool_;
  mutable std::map<std::string, std::pair<Text, reconcile::MonoTime>, std::less<>> seen_;  // lease -> version, since when
};

struct TestHost {  // what a host does of its own
  bool alive = true, node_ready = true;
  std::map<std::string, std::string, std::less<>> fails;  // package version -> reason
  std::string boot = "b1";
  std::optional<bool> fetched;  // its agent can prefetch, and has or hasn't what is wanted
};

class TestWorld {
 public:
  explicit TestWorld(std::uint64_t seed = 1);

  // ---- what people do ----
  void package(const std::string& name, std::string_view disruption = {});
  void host(const std::string& name, const std::string& rack = "r1", const std::string& name_space = "default");
  void machine(const std::string& name, const std::string& package, const std::string& revision, const std::string& extra_spec = {});
  void want(const std::string& name, const std::string& package, const std::string& revision);  // as its set would edit it
  void annotate(const std::string& name, const std::string& key, const std::string& value_json);
  void remove(const std::string& name);
  void pod(const std::string& node, const std::string& name, const std::string& extra_meta = {});
  void patch(const reconcile::Resource& resource, const std::string& ns, const std::string& name, const std::string& sub,
             const std::string& body);
  void must(reconcile::Call call);
  void blind();       // the business cluster can't be seen
  void sees_again();  // it can; the cluster loop stores the gap

  // ---- the runtime ----
  // One pass of that Machine; false if there was nothing to do. `die_after`: so many writes are done, then the process dies.
  bool pass(const std::string& name, int die_after = -1);
  void hosts();                                                  // every agent and kubelet does what it should do now
  void step(std::chrono::seconds by = std::chrono::seconds(1));  // hosts, a pass of every machine, then time passes
  bool settle(const std::function<bool()>& done, int steps = 4000);

  // ---- looking ----
  template <class T>
  Ref<T> get(const std::string& name, const std::string& ns = "default") const {
    return view.get<T>("", ns, name);
  }
  Ref<api::Machine> m(const std::string& name) const { return get<api::Machine>(name); }
  Ref<Node> node_of(const std::string& machine) const;
  Ref<api::HostAssignment> assignment_of(const std::string& machine) const;
  bool running(const std::string& name, const std::string& revision) const;
  std::string condition(const std::string& name, std::string_view type) const;  // "False/Reason"

  reconcile::SimWorld world;
  reconcile::SimApi api_server;
  LiveView view;
  std::unique_ptr<MachineLoop> loop = std::make_unique<MachineLoop>();
  std::map<std::string, TestHost, std::less<>> hosts_state;                  // by Host name
  std::function<reconcile::Verdict(const reconcile::PermitRequest&)> guard;  // null: grants
  std::optional<reconcile::Error> guard_error;                               // it can't answer
  std::vector<reconcile::PermitRequest> granted;
  std::function<void()> after_write;  // an invariant's check
  int deaths_per_mille = 0;           // of passes, in step()
  int writes = 0;
  std::map<std::string, int> write_kinds;
  reconcile::Plan last_plan;
  reconcile::ConnectionState link{.known = true, .reachable = ConditionStatus::true_};
  std::vector<std::string> events;
  std::map<std::string, reconcile::Error, std::less<>> query_errors;  // by Query::id: what such a query is answered
  std::map<std::string, int, std::less<>> asked;                      // by Query::id
  bool stale_pods = false;                                            // what has resourceVersion=0 is answered as it was long ago: nothing

 private:
  struct Process {  // of one key, in memory only
    reconcile::Memory memory;
    std::optional<reconcile::MonoTime> differs_since;
  };
  bool write(const reconcile::Action& action, Process& process);
  reconcile::Fact answer(const reconcile::Query& query);
  void agent(const api::Host& host, TestHost& state);
  void kubelet(const api::Host& host, const api::HostAssignment& assignment, TestHost& state);
  std::map<std::string, Process, std::less<>> processes_;
};

}  // namespace endstate::machine
