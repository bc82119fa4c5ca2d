// The world of testing.hpp.
#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/agent_lease.hpp"
#include "apis/v1alpha1/prefetch.hpp"
#include "controllers/guard/disruptive.hpp"
#include "controllers/machine/testing.hpp"
#include "reconcile/kube/url.hpp"
#include "reconcile/run/body.hpp"

namespace endstate::machine {

using reconcile::Action, reconcile::Call, reconcile::encode, reconcile::Key, reconcile::kind_of, reconcile::quote, reconcile::Resource,
    reconcile::resource_of, reconcile::Verb;

// ---- LiveView ----

Ref<void> LiveView::read(const reconcile::Kind& kind, const std::string& json) const {
  std::shared_ptr<void> object = kind.make();
  const auto done = reconcile::decode(json, *kind.type, object.get(), pool_);
  if (!done) throw std::logic_error("undecodable: " + done.error().message + " in " + json);
  return object;
}

Ref<void> LiveView::get_any(std::string_view, const reconcile::Kind& kind, std::string_view name_space, std::string_view name) const {
  const auto json = api_.get(*kind.resource, kind.resource->namespaced ? name_space : std::string_view(), name);
  return json ? read(kind, *json) : nullptr;
}

std::vector<Ref<void>> LiveView::list_any(std::string_view, const reconcile::Kind& kind, std::string_view name_space) const {
  std::vector<Ref<void>> out;
  for (const auto& json : api_.list(*kind.resource, name_space)) out.push_back(read(kind, json));
  return out;
}

std::vector<Ref<void>> LiveView::index_any(std::string_view cluster, const reconcile::Index& index, std::string_view value) const {
  std::vector<Ref<void>> out;
  ++asked[std::string(index.name)];
  for (auto& object : list_any(cluster, *index.kind, {})) {
    bool found = false;
    index.values(object.get(), [&](std::string_view v) { found = found || v == value; });
    if (found) out.push_back(std::move(object));
  }
  return out;
}

reconcile::MonoTime LiveView::seen_any(std::string_view, const reconcile::Kind& kind, std::string_view ns, std::string_view name) const {
  const auto object = get_any("", kind, ns, name);
  if (!object) return reconcile::MonoTime::min();
  auto& seen = seen_[std::string(name)];
  const Text& version = kind.meta(object.get()).resource_version;
  if (!(seen.first == version)) seen = {version, world_.now()};
  return seen.second;
}

// ---- people ----

TestWorld::TestWorld(std::uint64_t seed) : world(seed), api_server(world), view(api_server, world) {
  must(
      {.verb = Verb::create,
       .resource = &resource_of<api::Cluster>,
       .name_space = "default",
       .body =
           R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Cluster","metadata":{"name":"c"},"spec":{"controlPlane":{"type":"External"}}})"});
}

void TestWorld::must(Call call) {
  const auto done = api_server.request(std::move(call));
  if (!done) throw std::logic_error(done.error().message);
}

void TestWorld::package(const std::string& name, std::string_view disruption) {
  const std::string extra = disruption.empty() ? "" : R"(,"disruption":")" + std::string(disruption) + "\"";
  must(
      {.verb = Verb::create,
       .resource = &resource_of<api::MachinePackageVersion>,
       .body =
           R"({"apiVersion":"endstate.dev/v1alpha1","kind":"MachinePackageVersion","metadata":{"name":)" + quote(name) +
           R"(},"spec":{"packageName":"kubelet","version":"1","install":{"method":"Archive","artifacts":[{"arch":"amd64","url":"https://packages.example/)" +
           name + R"(","sha256":")" + std::string(64, 'a') + R"("}]})" + extra + "}}"});
}

void TestWorld::host(const std::string& name, const std::string& rack, const std::string& name_space) {
  must({.verb = Verb::create,
        .resource = &resource_of<api::Host>,
        .name_space = name_space,
        .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Host","metadata":{"name":)" + quote(name) +
                R"(},"spec":{"address":"10.0.0.1","hardware":{"idc":"d","rack":)" + quote(rack) + "}}}"});
  patch(resource_of<api::Host>, name_space, name, "status", R"({"status":{"phase":"Ready","agent":{"version":"1","bootID":"b1"}}})");
  if (name_space == "default") hosts_state[name];
}

namespace {
std::string packages_json(const std::string& package) {
  return package.empty() ? "[]" : R"([{"name":"kubelet","versionRef":{"name":)" + quote(package) + "}}]";
}
}  // namespace

void TestWorld::machine(const std::string& name, const std::string& package, const std::string& revision, const std::string& extra_spec) {
  must({.verb = Verb::create,
        .resource = &resource_of<api::Machine>,
        .name_space = "default",
        .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Machine","metadata":{"name":)" + quote(name) +
                R"(,"labels":{"endstate.dev/revision":)" + quote(revision) +
                R"(},"finalizers":["endstate.dev/machine"]},"spec":{"clusterName":"c","packages":)" + packages_json(package) + extra_spec +
                "}}"});
}

void TestWorld::want(const std::string& name, const std::string& package, const std::string& revision) {
  patch(
      resource_of<api::Machine>, "default", name, "",
      R"({"metadata":{"labels":{"endstate.dev/revision":)" + quote(revision) + R"(}},"spec":{"packages":)" + packages_json(package) + "}}");
}

void TestWorld::annotate(const std::string& name, const std::string& key, const std::string& value_json) {
  patch(resource_of<api::Machine>, "default", name, "", R"({"metadata":{"annotations":{)" + quote(key) + ":" + value_json + "}}}");
}

void TestWorld::remove(const std::string& name) {
  must({.verb = Verb::remove, .resource = &resource_of<api::Machine>, .name_space = "default", .name = name});
}

void TestWorld::pod(const std::string& node, const std::string& name, const std::string& extra_meta) {
  must({.verb = Verb::create,
        .resource = &resource_of<Pod>,
        .name_space = "default",
        .body = R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":)" + quote(name) + extra_meta + R"(},"spec":{"nodeName":)" +
                quote(node) + "}}"});
}

void TestWorld::patch(const Resource& resource, const std::string& ns, const std::string& name, const std::string& sub,
                      const std::string& body) {
  must({.verb = Verb::merge_patch, .resource = &resource, .name_space = ns, .name = name, .subresource = sub, .body = body});
}

void TestWorld::blind() { view.sees = {.seen = false, .since = world.wall(), .why = "connection refused"}; }

void TestWorld::sees_again() {
  const auto gap = R"([{"startTime":)" + quote(reconcile::format_rfc3339(view.sees.since)) + R"(,"endTime":)" +
                   quote(reconcile::format_rfc3339(world.wall())) + "}]";
  view.sees = {.seen = true, .since = world.wall()};
  if (get<api::Cluster>("c")) patch(resource_of<api::Cluster>, "default", "c", "status", R"({"status":{"blind":)" + gap + "}}");
}

// ---- hosts ----

void TestWorld::agent(const api::Host& host, TestHost& state) {
  const std::string uid = host.metadata.uid.str(), lease = api::agent_lease_name(uid);
  const auto assignment = view.get<api::HostAssignment>("", {}, uid);
  if (!assignment || !state.alive) return;
  if (!view.get<reconcile::Lease>("", api::system_namespace, lease))
    must({.verb = Verb::create,
          .resource = &resource_of<reconcile::Lease>,
          .name_space = std::string(api::system_namespace),
          .body = R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":)" + quote(lease) +
                  R"(},"spec":{"renewTime":"2026-01-01T00:00:00.000000Z"}})"});
  else if (world.random() % 30 == 0)
    patch(resource_of<reconcile::Lease>, std::string(api::system_namespace), lease, "",
          R"({"spec":{"renewTime":")" + reconcile::format_rfc3339_micro(world.wall()) + "\"}}");
  api::HostAssignmentStatus status = assignment->status;
  status.observed_generation = assignment->metadata.generation;
  status.observed_revision = assignment->spec.revision;
  status.agent = {.version = "1", .boot_id = state.boot};
  status.packages.clear();
  for (const auto& package : assignment->spec.packages) {
    const auto bad = state.fails.find(package.version.name.view());
    api::PackageReport report{
        .name = package.name, .actual = package.version, .state = api::PackageState::ready, .reason = {}, .message = {}};
    if (bad != state.fails.end()) {
      report.state = api::PackageState::failed;
      report.reason = bad->second;
    }
    status.packages.push_back(std::move(report));
  }
  if (state.fetched) {
    reconcile::Pool pool;
    const auto text = assignment->metadata.annotations.get(api::prefetch::annotation);
    const auto id = text.empty() ? Text() : decode<api::Prefetch>(text, pool)->id;
    const bool there = id.empty() || *state.fetched;
    status.conditions = {{.type = Text(api::prefetch::condition),
                          .status = there ? ConditionStatus::true_ : ConditionStatus::false_,
                          .reason = there ? "Prefetched" : "ArtifactUnavailable",
                          .message = there ? id : Text(api::prefetch::note(id, "no route")),
                          .last_transition_time = {},
                          .observed_generation = {}}};
  }
  if (status == assignment->status) return;
  std::string body = encode(status);
  if (status.packages.empty()) body.insert(1, R"("packages":[],)");
  patch(resource_of<api::HostAssignment>, {}, uid, "status", R"({"status":)" + body + "}");
}

void TestWorld::kubelet(const api::Host& host, const api::HostAssignment& assignment, TestHost& state) {
  const std::string name = host.metadata.name.str();
  const bool installed = assignment.spec.state == api::AssignmentState::active && !assignment.status.packages.empty();
  const auto node = view.get<Node>("", {}, name);
  if (!installed || !state.alive) return;
  const std::string ready = state.node_ready ? "True" : "False";
  if (!node) {
    must({.verb = Verb::create,
          .resource = &resource_of<Node>,
          .body = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":)" + quote(name) +
                  R"(},"spec":{"taints":[{"key":"endstate.dev/not-ready","effect":"NoSchedule"}]}})"});
    patch(resource_of<Node>, {}, name, "status", R"({"status":{"conditions":[{"type":"Ready","status":")" + ready + "\"}]}}");
    return;
  }
  const bool is_ready = !node->status.conditions.empty() && node->status.conditions.front().status == ConditionStatus::true_;
  if (is_ready != state.node_ready)
    patch(resource_of<Node>, {}, name, "status", R"({"status":{"conditions":[{"type":"Ready","status":")" + ready + "\"}]}}");
}

void TestWorld::hosts() {
  for (auto& [name, state] : hosts_state) {
    const auto host = get<api::Host>(name);
    if (!host) continue;
    agent(*host, state);
    if (const auto assignment = view.get<api::HostAssignment>("", {}, host->metadata.uid)) kubelet(*host, *assignment, state);
  }
}

// ---- the runtime ----

bool TestWorld::write(const Action& a, Process& process) {
  Call c{.verb = a.verb,
         .resource = a.kind->resource,
         .name_space = a.name_space.str(),
         .name = a.name.str(),
         .subresource = a.subresource.str(),
         .body = a.body};
  if (a.verb == Verb::apply) c.query = reconcile::apply_query("endstate-machine");
  if (a.verb == Verb::remove) c.body = reconcile::delete_options(a.uid.view(), a.resource_version.view());
  if (a.verb == Verb::merge_patch) c.body = *reconcile::with_preconditions(a.body, a.uid, a.resource_version);
  if (a.verb == Verb::json_patch) c.body = *reconcile::with_tests(a.body, a.uid, a.resource_version);
  if (a.verb == Verb::create && c.subresource.empty()) c.name.clear();
  const auto done = api_server.request(c);
  ++writes;
  ++write_kinds[std::string(verb_name(a.verb)) + " " + std::string(a.kind->resource->plural) +
                (a.subresource.empty() ? "" : "/" + a.subresource.str())];
  if (after_write) after_write();
  if (done && !a.mark.empty()) process.memory.done[a.mark] = world.now();
  const bool fine = done || (a.verb == Verb::create && a.tolerate_exists && done.error().code == reconcile::Code::exists) ||
                    (a.verb == Verb::remove && done.error().code == reconcile::Code::not_found);
  if (!fine)
    process.memory.failures.push_back({.what = a.why, .verb = a.verb, .resource = a.kind->resource, .name = a.name, .error = done.error()});
  return fine;
}

bool TestWorld::pass(const std::string& name, int die_after) {
  Process& process = processes_[name];
  const reconcile::Now now{world.now(), world.wall()};
  const reconcile::Snapshot snapshot{view, now, process.memory, [this](std::string_view) { return link; }};
  const auto bound = loop->observe(snapshot, {Text("default"), Text(name)});
  if (!bound) return false;
  last_plan = bound();
  process.memory.failures.clear();
  if (last_plan.error) throw std::logic_error(last_plan.error->message);
  bool granted_now = false;
  if (last_plan.permit && guard_error) {
    process.memory.failures.push_back({.what = "ask the guard", .error = *guard_error});
    process.memory.refused.reset();
  } else if (last_plan.permit) {
    const auto verdict = guard ? guard(*last_plan.permit) : reconcile::Verdict(reconcile::Granted{last_plan.permit->id()});
    granted_now = std::holds_alternative<reconcile::Granted>(verdict);
    process.memory.refused.reset();
    const auto same = [&](const reconcile::PermitRequest& r) { return r.id() == last_plan.permit->id(); };
    if (granted_now && std::none_of(granted.begin(), granted.end(), same))
      granted.push_back(*last_plan.permit);
    else if (!granted_now)
      process.memory.refused = std::get<reconcile::Refused>(verdict);
    process.memory.refused_at = now.mono;
  }
  const auto dies = [&] {
    if (die_after < 0 || die_after-- > 0) return false;
    processes_.erase(name);
    loop = std::make_unique<MachineLoop>();
    return true;
  };
  auto actions = last_plan.actions;
  std::stable_sort(actions.begin(), actions.end(), [](const Action& a, const Action& b) { return a.stage < b.stage; });
  std::uint8_t stage = 0;
  bool good = true;
  for (const Action& a : actions) {
    if (a.stage != stage && !good) break;
    stage = a.stage;
    if (a.guarded && !granted_now) {
      good = false;
      continue;
    }
    if (!a.guarded && guard::disruptive(a)) throw std::logic_error("disruptive without a permit: " + a.why);
    if (dies()) return true;
    good = write(a, process) && good;
  }
  const auto& s = last_plan.status;
  if (!s || !s->changed)
    process.differs_since.reset();
  else if (!process.differs_since)
    process.differs_since = now.mono;
  if (s && s->changed && now.mono >= *process.differs_since + s->settle) {
    if (dies()) return true;
    const auto machine = m(name);
    const bool moved = !machine || !(machine->metadata.resource_version == s->resource_version);
    if (!moved)
      write({.verb = Verb::apply,
             .kind = s->kind,
             .name_space = s->key.name_space,
             .name = s->key.name,
             .subresource = "status",
             .body = R"({"apiVersion":"endstate.dev/v1alpha1","kind":"Machine","metadata":{"name":)" + quote(s->key.name) +
                     R"(,"namespace":"default","uid":)" + quote(s->uid) + R"(,"resourceVersion":)" + quote(s->resource_version) +
                     R"(},"status":)" + s->status + "}"},
            process);
    process.differs_since.reset();
  }
  for (const auto& q : last_plan.queries) process.memory.facts.insert_or_assign(q.id, answer(q));
  for (const auto& e : last_plan.events) events.push_back(e.reason.str() + ": " + e.note.str());
  return true;
}

// As reconcile/run/facts.cpp: items are decoded one by one, and their text is dropped.
reconcile::Fact TestWorld::answer(const reconcile::Query& q) {
  ++asked[q.id];
  reconcile::Fact fact{.at = world.now(), .time = world.wall()};
  if (const auto error = query_errors.find(q.id); error != query_errors.end()) {
    fact.body = reconcile::fail(error->second);
    return fact;
  }
  if (stale_pods && q.query.ends_with("resourceVersion=0")) return fact;
  auto text =
      api_server.request({.verb = q.name.empty() ? Verb::list : Verb::get, .resource = q.resource, .name = q.name, .query = q.query});
  if (!text || !q.items) {
    fact.body = std::move(text);
    return fact;
  }
  const auto list = nlohmann::json::parse(*text);
  for (const auto& item : list.at("items")) fact.items.push_back(view.read(*q.items, item.dump()));
  return fact;
}

void TestWorld::step(std::chrono::seconds by) {
  hosts();
  std::set<std::string> names;
  for (const auto& machine : view.list<api::Machine>("")) names.insert(machine->metadata.name.str());
  for (const auto& a : view.list<api::HostAssignment>("")) {
    const auto key = std::string(a->metadata.annotations.get(api::annotation::machine));
    if (const auto slash = key.find('/'); slash != std::string::npos) names.insert(key.substr(slash + 1));
  }
  for (const auto& name : names) pass(name, world.chance(deaths_per_mille) ? static_cast<int>(world.random() % 4) : -1);
  world.run_for(by);
}

bool TestWorld::settle(const std::function<bool()>& done, int steps) {
  for (int i = 0; i < steps; ++i) {
    if (done()) return true;
    step();
  }
  return done();
}

// ---- looking ----

Ref<Node> TestWorld::node_of(const std::string& machine) const {
  const auto hosts = view.by_index<api::Host>("", hosts_by_consumer, path("default", m(machine)->metadata.uid));
  return hosts.empty() ? nullptr : view.get<Node>("", {}, hosts.front()->metadata.name);
}
Ref<api::HostAssignment> TestWorld::assignment_of(const std::string& machine) const {
  const auto all = view.by_index<api::HostAssignment>("", assignments_by_machine, m(machine)->metadata.uid);
  return all.empty() ? nullptr : all.front();
}
bool TestWorld::running(const std::string& name, const std::string& revision) const {
  const auto machine = m(name);
  return machine && machine->status.phase == api::MachinePhase::running && is_available(*machine) && machine->status.revision == revision;
}
std::string TestWorld::condition(const std::string& name, std::string_view type) const {
  const auto machine = m(name);
  const auto* c = machine ? find_condition(machine->status.conditions, type) : nullptr;
  return c ? std::string(name_of(c->status)) + "/" + c->reason.str() : "";
}

}  // namespace endstate::machine
