// Members of etcd over tables, and in a small world that plays etcd's own rules: who may begin without data, who is a voter, what
// `etcdctl member` does. The operator may die between any two actions.
#include "controllers/cluster/etcd_members.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/etcd_reports.hpp"
#include "controllers/cluster/testing.hpp"

using namespace endstate::cluster;
using namespace std::chrono_literals;
using nlohmann::json;
using reconcile::Action, reconcile::Job, reconcile::Pod, reconcile::Verb;
namespace api = endstate::v1alpha1;

namespace {

struct Entry {
  std::string id, name, url;
  bool learner = false;
};

reconcile::ContainerStatus etcd_container() {
  return {.name = "etcd",
          .image = {},
          .image_id = {},
          .container_id = {},
          .ready = {},
          .started = {},
          .restart_count = {},
          .state = {},
          .last_state = {}};
}

struct Etcd {
  Site site;
  HostedFacts facts;
  std::optional<api::EtcdStatus> status;
  bool created = true, busy = false, refused = false;
  WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 1);
  std::vector<Entry> entries;
  std::vector<bool> data, dead;           // of members: dead: its pod is away
  std::vector<std::int64_t> bytes, used;  // of their databases
  std::set<std::string> failing;          // Jobs
  std::set<std::string> half_done;        // Jobs that fail once their first part, or all of it, is done
  std::array<int, 5> next_try{}, crashes{};
  int ids = 0, jobs = 0, rounds = 0;
  bool rejoined = false;  // a voter began without its data: what it voted for is forgotten
  std::vector<std::string> done;
  std::map<std::string, json> bodies;  // of Jobs, by uid
  std::map<std::string, std::string> logs;

  explicit Etcd(std::int64_t members = 3) {
    site.name = "hz-a";
    site.name_space = "prod";
    site.uid = "u1";
    site.members = members;
    for (std::int64_t i = 0; i < members; ++i) {
      site.member_addresses.push_back("10.96.0." + std::to_string(i));
      entries.push_back({new_id(), site.member(i), site.peer_url(i)});
      auto pod = std::make_shared<Pod>();
      pod->metadata.name = site.member(i);
      pod->metadata.name_space = "prod";
      pod->metadata.uid = site.member(i);
      facts.pods.push_back(pod);
    }
    data.assign(static_cast<std::size_t>(members), true);
    dead.assign(static_cast<std::size_t>(members), false);
    bytes.assign(static_cast<std::size_t>(members), 1 << 20);
    used = bytes;
    tick();
  }
  std::string new_id() { return "a" + std::to_string(++ids); }
  Entry* entry(std::size_t i) {
    for (auto& e : entries)
      if (e.url == site.peer_url(static_cast<std::int64_t>(i))) return &e;
    return nullptr;
  }
  std::size_t voters() const {
    return static_cast<std::size_t>(std::count_if(entries.begin(), entries.end(), [](const auto& e) { return !e.learner; }));
  }
  std::size_t serving() {
    std::size_t n = 0;
    for (std::size_t i = 0; i < data.size(); ++i) n += data[i] && !dead[i] && entry(i) && !entry(i)->learner;
    return n;
  }
  bool has_quorum() { return serving() > voters() / 2; }

  // ---- pods ----
  Pod& pod(std::size_t i) {
    auto copy = std::make_shared<Pod>(*facts.pods[i]);
    auto* out = copy.get();
    facts.pods[i] = std::move(copy);
    return *out;
  }
  void crash(std::size_t i, const std::string& why) {
    auto c = etcd_container();
    c.state.waiting = reconcile::Waiting{.reason = "CrashLoopBackOff", .message = {}};
    c.last_state.terminated = reconcile::Terminated{.exit_code = 1, .reason = "Error", .message = why, .finished_at = now};
    pod(i).status.container_statuses = {c};
  }
  void begin(std::size_t i) {
    auto& p = pod(i);
    const auto annotation = std::string(p.metadata.annotations.get(api::annotation::initial_cluster));
    const auto name = site.member(static_cast<std::int64_t>(i));
    if (("," + annotation).find("," + name + "=") == std::string::npos)
      return crash(i, R"({"level":"fatal","msg":"discovery failed","error":"couldn't find local name \")" + name +
                          "\\\" in the initial cluster configuration\"}");
    std::size_t named = 1, matching = 0;
    named += static_cast<std::size_t>(std::count(annotation.begin(), annotation.end(), ','));
    for (const auto& e : entries) matching += (annotation + ",").find("=" + e.url + ",") != std::string::npos;
    if (p.metadata.annotations.get(api::annotation::initial_cluster_state) != "existing" || named != entries.size() ||
        matching != entries.size())
      return crash(i, "error validating peerURLs: member count is unequal");
    auto* e = entry(i);
    if (!e->name.empty() && !e->learner) rejoined = true;
    e->name = name;
    data[i] = true;
  }
  void play_pods() {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const bool was = data[i];
      // Kubelet's backoff: 10 s, 20 s, ... 5 minutes.
      if (!data[i] && !dead[i] && rounds >= next_try[i]) {
        begin(i);
        next_try[i] = rounds + std::min(2 << std::min(crashes[i]++, 5), 60);
      }
      if (!data[i] && was == data[i]) {
        pod(i).status.conditions.clear();
        continue;
      }
      auto& p = pod(i);
      const bool up = !dead[i] && entry(i) && !entry(i)->learner;
      p.status.conditions.clear();
      if (up && has_quorum())
        p.status.conditions = {
            {.type = "Ready", .status = reconcile::ConditionStatus::true_, .reason = {}, .message = {}, .last_transition_time = {}}};
      const bool running = !p.status.container_statuses.empty() && p.status.container_statuses[0].state.running;
      if (running || dead[i]) continue;
      auto c = etcd_container();
      c.state.running = reconcile::Running{now};
      p.status.container_statuses = {c};
    }
  }
  void lose(std::size_t i) {
    data[i] = false;
    next_try[i] = rounds;
    crashes[i] = 0;
    pod(i).status.container_statuses.clear();
    pod(i).status.conditions.clear();
    pod(i).metadata.annotations = {};
  }

  // ---- Jobs ----
  bool carry_out(const std::vector<std::string>& command) {
    const auto at = std::find(command.begin(), command.end(), "member");
    if (!has_quorum()) return false;
    if (std::find(command.begin(), command.end(), "defrag") != command.end()) {
      for (std::size_t i = 0; i < data.size(); ++i)
        if (command[1] == "--endpoints=" + site.client_url(static_cast<std::int64_t>(i))) bytes[i] = used[i];
      return true;
    }
    if (at == command.end()) return true;
    const auto verb = at[1];
    if (verb == "remove") return std::erase_if(entries, [&](const auto& e) { return e.id == at[2]; }) == 1;
    if (verb == "add") {
      const auto url = command.back().substr(std::string("--peer-urls=").size());
      for (const auto& e : entries)
        if (e.url == url) return false;
      entries.push_back({new_id(), "", url, true});
      return true;
    }
    if (verb == "promote")
      for (auto& e : entries)
        if (e.id == at[2]) return !e.name.empty() && std::exchange(e.learner, false);
    return verb == "list";
  }
  std::string list() const {
    json out{{"header", json::object()}, {"members", json::array()}};
    for (const auto& e : entries) {
      json m{{"ID", std::stoull(e.id, nullptr, 16)}, {"name", e.name}, {"peerURLs", {e.url}}};
      if (e.learner) m["isLearner"] = true;
      out["members"].push_back(m);
    }
    return "a warning\n" + out.dump() + "\n";
  }
  std::string sizes() const {
    auto out = json::array();
    for (std::size_t i = 0; i < data.size(); ++i)
      out.push_back({{"Endpoint", site.client_url(static_cast<std::int64_t>(i))},
                     {"Status",
                      {{"header", {{"member_id", 9000000000000000000u + i}}},
                       {"version", "3.6.4"},
                       {"dbSize", bytes[i]},
                       {"dbSizeInUse", used[i]},
                       {"leader", 9000000000000000000u}}}});
    return out.dump() + "\n";
  }
  void play_jobs() {
    for (auto& j : facts.jobs) {
      if (!j->status.conditions.empty()) continue;
      const auto& spec = bodies[j->metadata.uid.str()]["spec"]["template"]["spec"];
      bool good = !failing.contains(j->metadata.name.str());
      for (const auto& c : spec.value("initContainers", json::array())) good = good && carry_out(c["command"]);
      if (half_done.contains(j->metadata.name.str())) good = false;
      auto ended = std::make_shared<Job>(*j);
      ended->status.conditions.push_back({.type = good ? "Complete" : "Failed",
                                          .status = reconcile::ConditionStatus::true_,
                                          .reason = {},
                                          .message = "it went wrong",
                                          .last_transition_time = now,
                                          .observed_generation = {}});
      const auto uid = j->metadata.uid.str();
      if (good) logs["log/" + uid + "/list"] = list(), logs["log/" + uid + "/status"] = sizes();
      j = ended;
    }
  }
  void write(const Action& a) {
    if (a.kind == &reconcile::kind_of<Pod>) {
      auto& p = pod(static_cast<std::size_t>(a.name.str().back() - '0'));
      const auto patch = json::parse(a.body);
      for (const auto& [key, value] : patch["metadata"]["annotations"].items())
        if (value.is_null())
          p.metadata.annotations.erase(key);
        else
          p.metadata.annotations.set(key, value.get<std::string>());
      return;
    }
    if (a.verb == Verb::remove) {
      std::erase_if(facts.jobs, [&](const auto& j) { return j->metadata.name == a.name; });
      return;
    }
    const auto body = json::parse(a.body);
    auto job = std::make_shared<Job>();
    job->metadata.name = a.name;
    job->metadata.uid = "job-" + std::to_string(++jobs);
    job->metadata.creation_timestamp = now;
    for (const auto& [k, v] : body["metadata"]["annotations"].items()) job->metadata.annotations.set(k, v.get<std::string>());
    bodies[job->metadata.uid.str()] = body;
    auto pod = std::make_shared<Pod>();
    pod->metadata.name = job->metadata.uid;
    pod->metadata.owner_references = {{.api_version = {},
                                       .kind = "Job",
                                       .name = job->metadata.name,
                                       .uid = job->metadata.uid,
                                       .controller = true,
                                       .block_owner_deletion = {}}};
    facts.pods.push_back(pod);
    facts.jobs.push_back(job);
    done.push_back(std::string(body["metadata"]["annotations"]["endstate.dev/etcd-operation"]));
  }

  MembersPlan plan() const {
    return plan_members(
        {.site = site, .facts = facts, .before = status, .image = "r/etcd:3.6.4", .created = created, .busy = busy, .now = now});
  }
  MembersPlan pass(std::size_t limit = 1000) {
    auto p = plan();
    std::size_t n = 0;
    for (const auto& a : p.actions) {
      if (a.guarded) REQUIRE_FALSE(p.permit.empty());
      if (n++ < limit && !(a.guarded && refused)) write(a);
    }
    std::map<std::string, std::string, std::less<>> answers;
    for (const auto& q : p.queries)
      if (logs.contains(q.id)) answers[q.id] = logs[q.id];
    facts.logs = std::move(answers);
    if (n <= limit && !p.members.empty()) {
      if (!status) status.emplace();
      status->members = p.members;
      status->members_time = p.members_time;
    }
    return p;
  }
  void tick(std::chrono::seconds by = 5s) {
    now += by;
    ++rounds;
    play_jobs();
    play_pods();
  }
  void settle(int n = 40) {
    for (int i = 0; i < n; ++i) pass(), tick();
  }
  std::string story() {
    std::string out = list();
    for (std::size_t i = 0; i < data.size(); ++i) out += data[i] ? " +" : " -";
    for (auto i = done.size() < 12 ? 0 : done.size() - 12; i < done.size(); ++i) out += "; " + done[i];
    return out;
  }
  bool whole() {
    return std::all_of(data.begin(), data.end(), [](bool d) { return d; }) && voters() == data.size() && entries.size() == data.size() &&
           has_quorum() && std::none_of(facts.pods.begin(), facts.pods.end(), [](const auto& p) {
             return p->metadata.annotations.has(api::annotation::initial_cluster);
           });
  }
};

}  // namespace

TEST_CASE("while the cluster is being created its members may begin without data; then none may", "[hosted][etcd]") {
  Etcd e;
  e.created = false;
  for (std::size_t i = 0; i < 3; ++i) e.pod(i).status.conditions.clear();
  const auto p = e.pass();
  CHECK(p.actions.size() == 3);
  CHECK(p.permit.empty());
  CHECK(e.facts.pods[1]->metadata.annotations.get(api::annotation::initial_cluster_state) == "new");
  CHECK(e.facts.pods[1]
            ->metadata.annotations.get(api::annotation::initial_cluster)
            .find("hz-a-etcd-2=https://hz-a-etcd-2.hz-a-etcd.prod.svc:2380") != std::string::npos);
  e.tick();
  e.created = true;
  e.pass();
  CHECK(e.whole());
}

TEST_CASE("a member that lost its data is removed, added as a learner, let begin, and promoted", "[hosted][etcd]") {
  Etcd e(GENERATE(3, 5));
  e.settle(3);
  const auto old = e.entry(1)->id;
  e.done.clear();
  e.lose(1);
  e.tick(), e.tick(), e.tick();
  const auto first = e.pass();
  CHECK(first.permit.empty());  // looking disturbs nobody
  CHECK(first.progress.find("hz-a-etcd-1 lost its data") != std::string::npos);
  e.settle(80);
  CHECK(e.whole());
  CHECK_FALSE(e.rejoined);
  CHECK(e.entry(1)->id != old);
  CHECK(e.done[0] == "list hz-a-etcd-1");
  CHECK(e.done[1] == "replace hz-a-etcd-1");
  CHECK(e.done.back() == "promote hz-a-etcd-1");
  CHECK(e.plan().progress.empty());
  CHECK_FALSE(e.plan().problem);
}

TEST_CASE("what is unknown, and what is too much, is left alone", "[hosted][etcd]") {
  Etcd e;
  e.settle(3);
  e.done.clear();
  SECTION("a member that is away") {
    e.dead[1] = true;
    e.settle();
    CHECK(std::all_of(e.done.begin(), e.done.end(), [](const auto& d) { return d == "list hz-a-etcd-1"; }));
    CHECK(e.entries.size() == 3);
  }
  SECTION("a member that ends for another reason") {
    e.data[1] = false;  // not by its own words
    e.crash(1, "panic: wal: crc mismatch");
    for (int i = 0; i < 10; ++i) e.pass(), e.now += 5s;
    CHECK(e.done.empty());
  }
  SECTION("two of three: nobody is removed, and it is said") {
    e.lose(0), e.lose(1);
    e.settle();
    CHECK(e.done.empty());
    REQUIRE(e.plan().problem);
    CHECK(e.plan().problem->reason == api::reason::etcd_data_lost);
    CHECK(e.plan().problem->serious);
  }
  SECTION("a permit that isn't given: nothing is done, the others serve") {
    e.refused = true;
    e.lose(2);
    e.settle();
    CHECK(std::all_of(e.done.begin(), e.done.end(), [](const auto& d) { return d == "list hz-a-etcd-2"; }));
    CHECK(e.entries.size() == 3);
    CHECK(e.has_quorum());
    e.refused = false;
    e.settle(150);
    CHECK(e.whole());
  }
}

TEST_CASE("pods that nobody has ever seen ready: nothing is claimed of their data", "[hosted][etcd]") {
  Etcd e;
  for (std::size_t i = 0; i < 3; ++i) {
    e.dead[i] = true;
    e.pod(i).status = {};
    e.pod(i).metadata.annotations.set(api::annotation::initial_cluster, "x");
  }
  CHECK_FALSE(e.plan().problem);
  e.pass();
  CHECK_FALSE(e.facts.pods[0]->metadata.annotations.has(api::annotation::initial_cluster));
}

TEST_CASE("the only member lost its data: it doesn't come up empty", "[hosted][etcd]") {
  Etcd e(1);
  e.lose(0);
  e.settle();
  CHECK_FALSE(e.data[0]);
  REQUIRE(e.plan().problem);
  CHECK(e.plan().problem->reason == api::reason::etcd_data_lost);
}

TEST_CASE("a Job that fails is tried again, and named", "[hosted][etcd]") {
  Etcd e;
  e.settle(3);
  e.lose(1);
  e.failing.insert("hz-a-etcd-replace");
  e.settle(20);
  REQUIRE(e.plan().problem);
  CHECK(e.plan().problem->reason == api::reason::etcd_member_lost);
  CHECK_FALSE(e.plan().problem->serious);
  CHECK(e.has_quorum());
  e.failing.clear();
  e.settle(150);
  CHECK(e.whole());
}

TEST_CASE("a Job that failed when its work was done: the next step follows from what there is, not from what was said before",
          "[hosted][etcd]") {
  Etcd e;
  e.settle(3);
  e.lose(1);
  e.half_done.insert("hz-a-etcd-replace");  // removed and added, and the list that follows can't be had
  e.settle(150);
  CHECK(e.has_quorum());
  CHECK(e.whole());
}

TEST_CASE("killed anywhere, with data lost again and again: no quorum is lost, and nobody votes on what it has forgotten",
          "[hosted][etcd]") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    Etcd e(seed % 2 == 0 ? 3 : 5);
    Chance chance(seed * 2654435761u);
    INFO("seed " << seed);
    for (int i = 0; i < 150; ++i) {
      // Whatever happens, those that are left are more than half of all: else nothing is done (EtcdDataLost).
      if (chance(12) == 0) {
        const auto which = chance(static_cast<unsigned>(e.data.size()));
        const bool voter = e.entry(which) && !e.entry(which)->learner;
        if (!voter || e.serving() - (e.data[which] ? 1 : 0) > e.data.size() / 2) e.lose(which);
      }
      e.failing.clear();
      if (chance(5) == 0) e.failing.insert("hz-a-etcd-" + std::string(chance(2) == 0 ? "replace" : "promote"));
      e.refused = chance(6) == 0;
      e.pass(chance(3) == 0 ? 1000 : chance(3));
      e.tick();
      REQUIRE(e.has_quorum());
      REQUIRE_FALSE(e.rejoined);
    }
    e.refused = false;
    e.failing.clear();
    e.settle(300);
    UNSCOPED_INFO(e.story());
    CHECK(e.whole());
  }
}

TEST_CASE("sizes are asked for on schedule; what is half empty is defragmented once, the leader last", "[hosted][etcd]") {
  Etcd e;
  e.settle(10);
  REQUIRE(e.status);
  REQUIRE(e.status->members.size() == 3);
  CHECK(e.status->members[0].leader == true);
  CHECK_FALSE(e.status->members[1].leader);
  CHECK(e.status->members[2].version == "3.6.4");
  CHECK(e.done == std::vector<std::string>{"status all"});
  e.bytes = {300 << 20, 1 << 20, 300 << 20};
  e.used = {100 << 20, 100, 100 << 20};  // the second is small: it isn't worth it
  e.done.clear();
  e.now += 3600s;
  SECTION("all well") {
    e.settle(20);
    CHECK(e.done == std::vector<std::string>{"status all", "defragment-2 hz-a-etcd-2", "defragment-0 hz-a-etcd-0"});
    CHECK(e.status->members[0].database_bytes == 100 << 20);
    e.done.clear();
    e.used = {1, 1, 1};  // it would be worth it again: at the next survey
    e.settle(20);
    CHECK(e.done.empty());
  }
  SECTION("one fails: the other is done, and it isn't tried again before the next survey") {
    e.failing.insert("hz-a-etcd-defragment-2");
    e.settle(40);
    CHECK(e.done == std::vector<std::string>{"status all", "defragment-2 hz-a-etcd-2", "defragment-0 hz-a-etcd-0"});
  }
  SECTION("something else is under way") {
    e.busy = true;
    e.settle(20);
    CHECK(e.done.empty());
  }
}

TEST_CASE("what etcdctl says is read, or isn't taken for anything", "[hosted][etcd]") {
  const auto members = read_members(
      "{\"level\":\"warn\"}\n"
      R"({"header":{"cluster_id":"1"},"members":[{"ID":635446211148698228,"name":"m1","peerURLs":["https://x:2380"],"clientURLs":["c"]},)"
      R"({"ID":9035666947260895882,"peerURLs":["https://y:2380"],"clientURLs":null,"isLearner":true}]})"
      "\n");
  REQUIRE(members);
  CHECK(members->at(1).learner);
  CHECK(members->at(0).id == "8d18ef65962d274");
  CHECK(members->at(0).peers == std::vector<std::string>{"https://x:2380"});
  for (const auto* bad : {"", "null", "{}", R"({"header":{},"members":[]})", R"({"header":{},"members":[{"ID":"; rm -rf","peerURLs":[]}]})",
                          R"({"header":{},"members":[{"ID":"5","peerURLs":[]}]})", "Error: context deadline exceeded"})
    CHECK_FALSE(read_members(bad));
  Site site;
  for (const auto* bad : {"", "[]", "[1]", "{}"}) CHECK_FALSE(read_status(site, bad));
}
