#include "reconcile/run/manager.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <set>
#include <stdexcept>
#include <unordered_map>

#include "reconcile/run/actor.hpp"
#include "reconcile/run/connections.hpp"
#include "reconcile/run/events.hpp"
#include "reconcile/run/facts.hpp"
#include "reconcile/run/places.hpp"
#include "reconcile/run/queue.hpp"
#include "reconcile/run/waits.hpp"

namespace reconcile {

using namespace std::chrono_literals;

namespace {

constexpr auto beat = 1s;               // of the Env's thread, for alive()
constexpr auto gauges_every = 5;        // beats
constexpr auto terminal_retry = 1000s;  // what only a change can heal is still looked at again, rarely
constexpr auto flush_limit = 5s;
constexpr std::size_t max_marks = 2'048;     // of one key
constexpr std::size_t max_replayed = 2'000;  // objects in one go: the thread has other things to do as well

// A line of Places that is no connection: no id begins so.
const std::string permit_line = "|permits of ";

std::string dashed(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

bool same_failures(const std::vector<Outcome>& a, const std::vector<Outcome>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Outcome& x, const Outcome& y) {
    return x.what == y.what && x.error.code == y.error.code && x.error.message == y.error.message;
  });
}
bool same_refusal(const std::optional<Refused>& a, const std::optional<Refused>& b) {
  return a.has_value() == b.has_value() && (!a || (a->kind == b->kind && a->name == b->name && a->reason == b->reason));
}

}  // namespace

struct Manager::Impl {
  // What is known of a key beyond its object. Made at its first pass, dropped when its object is gone.
  struct KeyState {
    Memory memory;
    Inquiries asking;                       // into memory.facts
    Refusals refusals;                      // of its last pass
    Text lane;                              // the connection that its last plan was about
    std::vector<std::string> held;          // lines (Places) of which it has a place ...
    std::string wanted;                     // ... and the one that it waits for, or was given a place of
    bool general = false;                   // it has one of ManagerOptions::passes
    std::optional<MonoTime> differs_since;  // the status that settles
    std::shared_ptr<const Plan> plan;       // of the pass that runs
    Handle pass;                            // whatever runs now
    std::vector<Wait> waits;                // what it waits for in the caches ...
    Handle stale_timer;                     // ... and for how long at most
    MonoTime started{};
    bool running = false;
  };
  struct Watcher {  // a kind that is watched, and who wants to hear of it
    Watched what;
    bool remote = false;
    std::vector<std::pair<std::size_t, Source>> sources;  // by runner
  };
  // What is in the caches at a take-over, told to the sources bit by bit.
  struct Replay {
    std::vector<std::pair<std::string, const Watcher*>> left;
    std::vector<Ref<void>> objects;  // of the last of them
    Handle timer;
  };
  struct Runner {
    const Loop* loop;
    std::string name, field_manager;
    Queue queue;
    std::unordered_map<Key, KeyState, Queue::Hash> keys;
    std::unique_ptr<Events> events;
  };
  Env& env;
  Caches& caches;
  ManagerOptions options;
  Metrics& metrics;
  Log log;
  Actor actor;
  Connections connections;
  std::vector<std::unique_ptr<Runner>> runners;
  std::vector<Watcher> watchers;
  Waits waits;
  std::map<std::string, std::set<Waits::Waiter>, std::less<>> askers;  // who asked for a connection's state, or its sight
  std::optional<Waits::Waiter> observing;                              // who asks now
  int passes = 0;                                                      // that have one of the general places
  int running = 0;                                                     // all of them
  Places places;
  std::deque<Waits::Waiter> woken;  // they have a place of the line that they waited in
  MonoTime rest_due{};
  Handle rest_timer;  // for who waits in a line that rests
  std::unique_ptr<Replay> replay;
  std::size_t next_runner = 0;
  bool started = false, leading = false, synced = false, stopping = false;
  MonoTime wake_at = MonoTime::max();
  Handle wake_timer, beat_timer, stop_timer;
  std::function<void()> stopped;
  int beats = 0;
  std::map<std::pair<std::string, const Resource*>, std::pair<std::uint64_t, std::uint64_t>> counted;  // relists, undecodable objects
  // For other threads.
  std::atomic<std::int64_t> last_beat{0};
  std::atomic<bool> is_synced{false}, is_leading{false}, is_stopping{false};

  Impl(Env& e, Caches& c, Guard& guard, const std::vector<const Loop*>& loops, ManagerOptions o, Metrics& m, Log l)
      : env(e),
        caches(c),
        options(std::move(o)),
        metrics(m),
        log(std::move(l)),
        actor(e, c, guard,
              {.lease = options.lease,
               .disruptive = options.disruptive,
               .make = options.make,
               .rests = [this](const std::string& cluster) { return places.rests(cluster, env.now().mono); },
               .asked_to_rest = [this](const std::string& cluster, MonoTime until) { asked_to_rest(cluster, until); },
               .reachable = [this](const std::string& cluster) { return connections.state(cluster).reachable != ConditionStatus::false_; },
               .writes_per_pass = options.writes_per_pass},
              m, log),
        connections(e, {.probe_period = options.probe_period, .probe_timeout = options.probe_timeout},
                    {.connected = [this](const std::string& id) { on_connected(id); },
                     .disconnected = [this](const std::string& id) { on_disconnected(id); },
                     .changed = [this](const std::string& id) { on_connection(id); },
                     .silent = [this](const std::string& id, std::optional<MonoTime> since) { caches.unreachable(id, since); }},
                    log) {
    for (const auto* loop : loops) add_loop(*loop);
    for (const auto& source : options.also_watch) add_source(std::nullopt, source);
    caches.on_change([this](std::string_view cluster, const Kind& kind, const Ref<void>& before, const Ref<void>& after) {
      on_change(cluster, kind, before, after);
    });
    caches.on_sight([this](std::string_view cluster) { on_connection(std::string(cluster)); });
    caches.on_sight_asked([this](std::string_view cluster) {
      if (observing) askers[std::string(cluster)].insert(*observing);
    });
    caches.on_progress([this](std::string_view cluster, const Kind& kind, bool broke) { on_progress(cluster, kind, broke); });
  }

  // ---- set-up ----

  void add_loop(const Loop& loop) {
    for (const auto& r : runners)
      if (r->name == loop.name()) throw std::invalid_argument("two loops are named " + r->name);
    auto runner = std::make_unique<Runner>(
        Runner{&loop, std::string(loop.name()), options.program + "-" + dashed(loop.name()), Queue({.gap = options.gap}), {}, nullptr});
    runner->events =
        std::make_unique<Events>(env, EventsOptions{.controller = runner->field_manager, .instance = options.instance}, metrics, log);
    runners.push_back(std::move(runner));
    bool own = false;
    for (const auto& source : loop.sources()) {
      add_source(runners.size() - 1, source);
      own = own || source.kind->resource == loop.kind().resource;
    }
    if (!own) throw std::invalid_argument("loop " + std::string(loop.name()) + " does not watch its own kind");
  }
  void add_source(std::optional<std::size_t> runner, const Source& source) {
    auto it =
        std::find_if(watchers.begin(), watchers.end(), [&](const Watcher& w) { return w.what.kind->resource == source.kind->resource; });
    if (it == watchers.end())
      it = watchers.insert(watchers.end(), {{source.kind, source.name_space, source.selector}, false, {}});
    else if (it->what.name_space != source.name_space || it->what.selector != source.selector)
      throw std::invalid_argument("two sources of " + std::string(source.kind->resource->plural) + " differ in namespace or selector");
    it->remote = it->remote || source.remote;
    if (runner && source.keys) it->sources.emplace_back(*runner, source);
  }
  void start() {
    started = true;
    for (const auto& w : watchers) caches.watch("", w.what);
    zeros();
    connections.start();
    if (!options.lease) lead(true);
    on_beat();
  }

  // ---- what happens around ----

  void on_connected(const std::string& cluster) {
    for (const auto& w : watchers)
      if (w.remote) caches.watch(cluster, w.what);
  }
  void on_disconnected(const std::string& cluster) {
    caches.drop(cluster);
    forget_figures(cluster);
    release(waits.forget(cluster), true);
    actor.give_up(cluster);
    on_connection(cluster);
    unpark(places.dismiss(cluster));
    askers.erase(cluster);
  }
  void on_connection(const std::string& cluster) {
    if (connections.state(cluster).reachable == ConditionStatus::false_) {
      actor.give_up(cluster);
      unpark(places.dismiss(cluster));  // they plan otherwise now
    }
    const auto it = askers.find(cluster);
    if (it == askers.end()) return;
    for (const auto& [runner, key] : std::exchange(it->second, {})) add(runner, key, Priority::high);
  }
  void on_change(std::string_view cluster, const Kind& kind, const Ref<void>& before, const Ref<void>& after) {
    if (before && (!after || kind.meta(before.get()).uid != kind.meta(after.get()).uid)) {
      const auto& meta = kind.meta(before.get());
      release(waits.gone(cluster, *kind.resource, meta.key(), meta.uid.view()));
    }
    if (!leading && !stopping && cluster.empty()) follow(kind, before, after);
    if (!leading || stopping) return;  // a new leader hears of every object anyway
    const auto it =
        std::find_if(watchers.begin(), watchers.end(), [&](const Watcher& w) { return w.what.kind->resource == kind.resource; });
    if (it == watchers.end()) return;
    hear(*it, cluster, before, after, caches.synced(cluster, kind) ? Priority::high : Priority::low);
  }
  void hear(const Watcher& watcher, std::string_view cluster, const Ref<void>& before, const Ref<void>& after, Priority priority) {
    const Text lane(cluster);
    for (const auto& [runner, source] : watcher.sources) {
      if (!source.remote && !cluster.empty()) continue;
      guarded(*runners[runner], "a source", [&, r = runner, &from = source] {
        from.keys(caches, cluster, before.get(), after.get(), [&](Key key) { add(r, key, priority, lane); });
      });
    }
  }
  void on_progress(std::string_view cluster, const Kind& kind, bool broke) {
    if (broke)
      release(waits.forget(cluster, kind.resource), true);
    else if (waits.size() > 0)
      release(waits.reached(cluster, *kind.resource, caches.version(cluster, *kind.resource)));
    if (!synced && cluster.empty() && caches.synced("")) {
      synced = true;
      is_synced = true;
      log(Level::info, "the caches are filled", {});
      wake(env.now().mono);
    }
  }

  // ---- leading ----

  void lead(bool now_leading) {
    if (std::exchange(leading, now_leading) == now_leading) return;
    is_leading = leading;
    metrics.set("leader", "1: this process leads.", {}, leading ? 1 : 0);
    if (options.lease)
      metrics.set("lease_generation", "Of the last time that this process led.", {}, static_cast<double>(options.lease->generation()));
    replay.reset();
    if (!leading) {
      unpark(places.dismiss_all());
      for (const auto& [i, key] : woken) {
        auto& state = runners[i]->keys[key];
        state.held.push_back(std::exchange(state.wanted, {}));
      }
      unpark(std::exchange(woken, {}));
      return;
    }
    for (std::size_t i = 0; i < runners.size(); ++i) {
      const Kind& kind = runners[i]->loop->kind();
      for (const auto& object : caches.all("", kind)) add(i, kind.meta(object.get()).key(), Priority::low);
      for (const auto& [key, state] : runners[i]->keys) add(i, key, Priority::low);  // its object may have gone meanwhile
    }
    forget_unseen();
    tell_all();
    wake(env.now().mono);
  }
  // While another leads: what connections there should be.
  void follow(const Kind& kind, const Ref<void>& before, const Ref<void>& after) {
    const auto& f = options.follow;
    if (!f.kind || f.kind->resource != kind.resource) return;
    ConnectWish wish;
    try {
      wish = f.wish((after ? after : before).get());
    } catch (const std::exception& e) {
      return log(Level::error, "a connection can't be followed", {{"error", e.what()}});
    }
    if (!after) wish.connected = false;
    connections.wish(wish);
  }
  // Connections whose object was deleted while another led: no key of this process would end them.
  void forget_unseen() {
    const auto& f = options.follow;
    if (!f.kind || !caches.synced("", *f.kind)) return;
    std::set<std::string> wished;
    for (const auto& object : caches.all("", *f.kind)) wished.insert(f.wish(object.get()).cluster);
    for (const auto& id : connections.wished())
      if (!id.empty() && !wished.contains(id)) connections.wish({.cluster = id, .connected = false});
  }
  // What happened while another led is not told again: each object is, as if it had just come.
  void tell_all() {
    replay = std::make_unique<Replay>();
    for (const auto& id : connections.ids())
      for (const auto& w : watchers)
        if ((id.empty() || w.remote) && !w.sources.empty()) replay->left.emplace_back(id, &w);
    tell_more();
  }
  void tell_more() {
    for (std::size_t n = max_replayed; n > 0 && !replay->left.empty();) {
      const auto& [cluster, watcher] = replay->left.back();
      if (replay->objects.empty()) replay->objects = caches.all(cluster, *watcher->what.kind);
      for (; n > 0 && !replay->objects.empty(); --n, replay->objects.pop_back())
        hear(*watcher, cluster, nullptr, replay->objects.back(), Priority::low);
      if (replay->objects.empty()) replay->left.pop_back();
    }
    if (replay->left.empty())
      replay.reset();
    else
      replay->timer = env.at(env.now().mono, [this] {
        const auto held = std::move(replay->timer);
        tell_more();
      });
  }

  // ---- the queues ----

  void add(std::size_t runner, const Key& key, Priority priority, Text lane = {}) {
    if (stopping) return;
    auto& r = *runners[runner];
    const auto now = env.now().mono;
    if (const auto it = r.keys.find(key); it != r.keys.end() && !it->second.lane.empty()) lane = it->second.lane;
    r.queue.add(key, priority, now, lane);
    count_add(r);
    if (const auto due = r.queue.next_due(now)) wake(*due);
  }
  void count_add(const Runner& r) { metrics.add("queue_adds_total", "Keys that were queued.", {{"loop", r.name}}); }
  void wake(MonoTime when) {
    if (when >= wake_at) return;
    wake_at = when;
    wake_timer = env.at(when, [this] {
      wake_at = MonoTime::max();
      pump();
    });
  }
  // Starts passes while there is room: first who waited for a place, then the loops in turn.
  void pump() {
    if (!leading || !synced || stopping) return;
    const auto now = env.now().mono;
    std::size_t idle_runners = 0;
    while (passes < options.passes && !woken.empty()) {
      const auto [i, key] = woken.front();
      woken.pop_front();
      auto& state = runners[i]->keys[key];
      state.held.push_back(std::exchange(state.wanted, {}));
      observe(i, key);
    }
    while (passes < options.passes && idle_runners < runners.size()) {
      const std::size_t i = next_runner++ % runners.size();
      std::chrono::nanoseconds waited{};
      if (const auto key = runners[i]->queue.take(now, &waited)) {
        idle_runners = 0;
        metrics.observe("queue_duration_seconds", "How long keys that were due waited for their pass.", {{"loop", runners[i]->name}},
                        waited);
        observe(i, *key);
      } else {
        ++idle_runners;
      }
    }
    if (passes >= options.passes) return;  // the end of a pass comes back here
    for (const auto& r : runners)
      if (const auto due = r->queue.next_due(now)) wake(*due);
  }

  // ---- one pass ----

  template <class F>
  bool guarded(Runner& r, std::string_view what, F f) {
    std::string error;
    try {
      f();
      return true;
    } catch (const std::exception& e) {
      error = e.what();
    } catch (...) {
      error = "not a std::exception";
    }
    thrown(r, what, error);
    return false;
  }
  void thrown(const Runner& r, std::string_view what, const std::string& error) {
    metrics.add("reconcile_plan_exceptions_total", "Exceptions out of a loop: bugs.", {{"loop", r.name}});
    log(Level::error, "a loop threw an exception", {{"loop", r.name}, {"in", std::string(what)}, {"error", error}});
  }

  void observe(std::size_t i, const Key& key) {
    auto& r = *runners[i];
    auto& state = r.keys[key];
    state.started = env.now().mono;
    state.running = true;
    state.general = true;
    ++passes;
    ++running;
    std::function<Plan()> plan;
    const Snapshot snapshot{caches, env.now(), state.memory, [this, i, &key](std::string_view cluster) {
                              askers[std::string(cluster)].insert({i, key});
                              return connections.state(cluster);
                            }};
    observing = Waits::Waiter{i, key};
    const bool good = guarded(r, "observe", [&] { plan = r.loop->observe(snapshot, key); });
    observing.reset();
    if (!good) return failed(i, key, "exception");
    if (!plan) {
      r.queue.forget(key);
      const bool gone = !caches.find("", r.loop->kind(), key.name_space.view(), key.name.view());
      end(i, key, "success");
      if (gone) {
        r.keys.erase(key);
        for (auto& [cluster, who] : askers) who.erase({i, key});
      }
      return;
    }
    state.pass = env.compute([this, i, key, plan = std::move(plan)]() -> std::function<void()> {
      auto made = std::make_shared<Plan>();
      std::string error;
      try {
        *made = plan();
        return [this, i, key, made] { safely(i, key, "planned", [&] { planned(i, key, made); }); };
      } catch (const std::exception& e) {
        error = e.what();
      } catch (...) {
        error = "not a std::exception";
      }
      return [this, i, key, error] {
        thrown(*runners[i], "plan of " + key.str(), error);
        failed(i, key, "exception");
      };
    });
  }

  void planned(std::size_t i, const Key& key, std::shared_ptr<const Plan> plan) {
    auto& r = *runners[i];
    auto& state = r.keys[key];
    state.plan = plan;
    const auto now = env.now().mono;
    bool due = true;
    if (!plan->status || !plan->status->changed) {
      state.differs_since.reset();
    } else {
      if (!state.differs_since) state.differs_since = now;
      due = plan->status->first || now >= *state.differs_since + plan->status->settle;
      if (!due) r.queue.add_after(key, *state.differs_since + plan->status->settle - now, now);
    }
    for (const auto& wish : plan->connections) connections.wish(wish);
    if (!enter(i, key, lines_of(*plan, due))) return park(i, key);
    state.pass = actor.carry_out({.loop = r.name,
                                  .field_manager = r.field_manager,
                                  .kind = &r.loop->kind(),
                                  .plan = plan,
                                  .status_due = due,
                                  .refusals = std::exchange(state.refusals, {}),
                                  .looking = [this, i, key] { leave(runners[i]->keys[key]); }},
                                 [this, i, key](ActResult result) { safely(i, key, "acted", [&] { acted(i, key, std::move(result)); }); });
  }

  // ---- places ----

  // The lines that a plan needs a place of, in the order in which they are taken: none waits for what another holds in a circle. The meta
  // cluster's is one only while it rests.
  std::vector<std::string> lines_of(const Plan& plan, bool status_due) const {
    std::set<std::string> clusters;
    for (const auto& a : plan.actions) clusters.insert(a.cluster);
    for (const auto& q : plan.queries)
      if (!q.http) clusters.insert(q.cluster);
    if (plan.status && plan.status->changed && status_due) clusters.insert(plan.status->cluster);
    if (!places.rests("", env.now().mono)) clusters.erase("");
    std::vector<std::string> out(clusters.begin(), clusters.end());
    if (plan.permit) out.push_back(permit_line + plan.permit->cluster.str());
    return out;
  }
  int places_of(const std::string& line) const {
    return line.empty() || line.starts_with(permit_line) ? std::max(options.passes, 1) : std::max(options.passes / 4, 1);
  }
  // False: it stands in one of the lines now, and keeps the places that it has.
  bool enter(std::size_t i, const Key& key, const std::vector<std::string>& lines) {
    auto& state = runners[i]->keys[key];
    const auto now = env.now().mono;
    auto spare = std::exchange(state.held, {});
    state.lane = {};
    for (const auto& line : lines) {
      if (!line.empty() && !line.starts_with(permit_line)) state.lane = Text(line);
      const auto has = std::find(spare.begin(), spare.end(), line);
      if (has != spare.end())
        spare.erase(has);
      else if (!places.take(line, places_of(line), {i, key}, now))
        state.wanted = line;
      if (!state.wanted.empty()) break;
      state.held.push_back(line);
    }
    runners[i]->queue.set_lane(key, state.lane);
    for (const auto& line : spare) gave(places.give(line, now));
    if (!state.wanted.empty()) return false;
    const bool elsewhere = std::any_of(lines.begin(), lines.end(), [](const auto& line) { return !line.empty(); });
    if (elsewhere) leave_general(state);
    return true;
  }
  void park(std::size_t i, const Key& key) {
    auto& state = runners[i]->keys[key];
    state.running = false;
    state.plan.reset();
    --running;
    leave_general(state);
    const auto held = std::exchange(state.pass, nullptr);
    await_rest();
    pumped();
  }
  void leave_general(KeyState& state) {
    if (!std::exchange(state.general, false)) return;
    --passes;
    if (!stopping) wake(env.now().mono);
  }
  void leave(KeyState& state) {
    leave_general(state);
    for (const auto& line : std::exchange(state.held, {})) gave(places.give(line, env.now().mono));
  }
  void gave(const std::vector<Waits::Waiter>& whom) {
    woken.insert(woken.end(), whom.begin(), whom.end());
    await_rest();
    if (!whom.empty() && !stopping) wake(env.now().mono);
  }
  // They wait for a place no more: planned anew.
  template <class Waiters>
  void unpark(const Waiters& whom) {
    for (const auto& [i, key] : whom) {
      auto& state = runners[i]->keys[key];
      state.wanted.clear();
      leave(state);
      add(i, key, Priority::high);
      back(i, key);
    }
  }
  void asked_to_rest(const std::string& cluster, MonoTime until) {
    const auto now = env.now().mono;
    if (!places.rests(cluster, now)) {
      metrics.add("connection_rests_total", "Times that an API server asked to be left alone (Retry-After).",
                  {{"connection", connection_label(cluster)}});
      log(Level::warning, "an API server asks to be left alone",
          {{"connection", std::string(connection_label(cluster))},
           {"for", std::to_string(std::chrono::ceil<std::chrono::seconds>(until - now).count()) + " s"}});
    }
    places.rest(cluster, until, now);
  }
  void await_rest() {
    const auto next = places.next();
    if (!next || (rest_timer && rest_due <= *next)) return;
    rest_due = *next;
    rest_timer = env.at(rest_due, [this] {
      const auto held = std::move(rest_timer);
      gave(places.rested(env.now().mono));
    });
  }

  // ---- after it ----

  void acted(std::size_t i, const Key& key, ActResult result) {
    auto& r = *runners[i];
    auto& state = r.keys[key];
    const Plan& plan = *state.plan;
    const auto now = env.now().mono;
    if (result.status_written) state.differs_since.reset();
    const bool same = same_failures(state.memory.failures, result.failures);
    const bool refused_anew = result.refused && !same_refusal(state.memory.refused, result.refused);
    const auto result_name = judge(r, key, plan, result, same, now);
    remember(state.memory, plan, result, now);
    state.refusals = std::move(result.refusals);
    if (refused_anew) r.queue.add(key, Priority::high, now);  // so that the next plan can tell why nothing happens
    if (result.refused) r.queue.add_after(key, result.refused->retry_after, now);
    if (result.rests_until) r.queue.add_after(key, *result.rests_until - now, now);
    if (result.more) r.queue.add(key, Priority::high, now);
    if (plan.again) r.queue.add_after(key, *plan.again, now);
    if (result.failures.empty() && !result.fenced && !result.refused && !result.rests_until)
      tell(r, key, plan);  // what was not done is not told
    // What was asked for, now that the writes are done.
    ask_http(env, plan.queries, state.memory.facts, state.asking, [this, i, key] { add(i, key, Priority::high); });
    const bool has_place = state.general || !state.held.empty();  // else it gave it back, to read what became of its writes
    if (!has_place && !plan.queries.empty()) r.queue.add(key, Priority::high, now);
    if (!has_place) return finish(i, key, result_name, result.waits);
    auto asking = ask_facts(env, caches.pool(), plan.queries, state.memory.facts, [this, i, key, result_name, w = result.waits] {
      safely(i, key, "asked", [&] {
        runners[i]->queue.add(key, Priority::high, env.now().mono);
        finish(i, key, result_name, w);
      });
    });
    if (asking)
      state.pass = std::move(asking);
    else
      finish(i, key, result_name, result.waits);
  }
  // When the key is looked at again: an error beats a result; what only a change can heal waits for one.
  std::string_view judge(Runner& r, const Key& key, const Plan& plan, const ActResult& result, bool same, MonoTime now) {
    if (result.fenced) {
      r.queue.add_failed(key, now);
      return "fenced";
    }
    if (plan.error) {
      log(Level::warning, "a plan can't be made",
          {{"loop", r.name}, {"object", key.str()}, {"code", std::string(code_name(plan.error->code))}, {"error", plan.error->message}});
      if (plan.error->code == Code::invalid) {
        r.queue.forget(key);
        return "terminal";
      }
      retry(r, key, plan.error->retry_after, now);
      return "error";
    }
    if (result.failures.empty()) {
      r.queue.forget(key);
      return result.refused ? "refused" : plan.again || result.rests_until ? "again" : "success";
    }
    std::chrono::milliseconds at_least{0};
    bool terminal = true, conflict = true;
    for (const auto& f : result.failures) {
      at_least = std::max(at_least, f.error.retry_after);
      terminal = terminal && f.error.code == Code::invalid;
      conflict = conflict && f.error.code == Code::conflict;
    }
    if (terminal && same) {
      r.queue.add_after(key, terminal_retry, now);
      return "terminal";
    }
    retry(r, key, at_least, now);
    return conflict ? "conflict" : "error";
  }
  void retry(Runner& r, const Key& key, std::chrono::milliseconds at_least, MonoTime now) {
    metrics.add("queue_retries_total", "Keys that were queued after a failure.", {{"loop", r.name}});
    r.queue.add_failed(key, now, at_least);
  }
  static void remember(Memory& memory, const Plan& plan, const ActResult& result, MonoTime now) {
    memory.failures = result.failures;
    for (const auto& mark : result.done) memory.done[mark] = now;
    while (memory.done.size() > max_marks)
      memory.done.erase(std::min_element(memory.done.begin(), memory.done.end(), [](auto& a, auto& b) { return a.second < b.second; }));
    if (result.refused) {
      memory.refused = result.refused;
      memory.refused_at = now;
    } else if (result.granted || (!plan.permit && memory.refused && now >= memory.refused_at + memory.refused->retry_after)) {
      memory.refused.reset();  // until then a plan that waits for its turn may still show who said no
    }
  }
  void tell(Runner& r, const Key& key, const Plan& plan) {
    for (const auto& m : plan.metrics)
      if (m.duration)
        metrics.observe(m.name, m.help, {{m.label, m.value.view()}}, *m.duration, Metrics::Scale::hours);
      else
        metrics.add(m.name, m.help, {{m.label, m.value.view()}});
    const Kind& kind = r.loop->kind();
    const auto object = caches.find("", kind, key.name_space.view(), key.name.view());
    for (const auto& note : plan.events) {
      Regarding about{api_version(*kind.resource), std::string(kind.resource->kind), key, object ? kind.meta(object.get()).uid : Text()};
      if (note.regarding)
        about = {
            note.regarding->api_version.str(), note.regarding->kind.str(), {key.name_space, note.regarding->name}, note.regarding->uid};
      r.events->emit(about, note);
    }
  }
  // What the Env calls back: an exception is an error of that key, as one of its loop is.
  template <class F>
  void safely(std::size_t i, const Key& key_, std::string_view what, F step) {
    const Key key = key_;  // NOLINT(performance-unnecessary-copy-initialization): it may stand in what is dropped here
    if (guarded(*runners[i], std::string(what) + " of " + key.str(), step)) return;
    const auto it = runners[i]->keys.find(key);
    if (it != runners[i]->keys.end() && it->second.running) failed(i, key, "exception");
  }
  void failed(std::size_t i, const Key& key, std::string_view result) {
    retry(*runners[i], key, 0ms, env.now().mono);
    finish(i, key, result, {});
  }

  // The pass is over, but its key stays out until the caches have reached what it wrote.
  void finish(std::size_t i, const Key& key_, std::string_view result, const std::vector<Wait>& after) {
    const Key key = key_;  // NOLINT(performance-unnecessary-copy-initialization): it may stand in what is dropped here
    std::vector<Wait> open;
    for (const auto& w : after)
      if (!over(w)) open.push_back(w);
    if (open.empty() || stopping) {
      if (!agree(after)) runners[i]->queue.add(key, Priority::high, env.now().mono);
      return end(i, key, result);
    }
    auto& state = runners[i]->keys[key];
    state.running = false;
    state.plan.reset();
    --running;
    leave(state);
    measure(*runners[i], state, result);
    waits.add({i, key}, open);
    state.waits = after;
    state.stale_timer = env.at(env.now().mono + options.stale_limit, [this, i, key, open] {
      const auto& first = open.front();
      log(Level::warning, "the cache has not reached what was written",
          {{"loop", runners[i]->name},
           {"object", key.str()},
           {"cluster", first.cluster},
           {"written", std::string(first.kind->resource->plural) + " " + first.key.str()}});
      metrics.add("cache_stale_total", "Keys that went on with an old cache, as it did not catch up in time.",
                  {{"loop", runners[i]->name}});
      // It should have in seconds: perhaps it follows another history than the one that was written to.
      std::set<std::string> clusters;
      for (const auto& w : open) clusters.insert(w.cluster);
      waits.drop({i, key});
      runners[i]->keys[key].waits.clear();
      for (const auto& cluster : clusters) caches.doubt(cluster);
      add(i, key, Priority::high);
      back(i, key);
    });
    const auto held = std::exchange(state.pass, nullptr);
    pumped();
  }
  bool over(const Wait& w) const {
    if (w.gone_uid.empty()) return caches.version(w.cluster, *w.kind->resource) >= w.version;
    const auto object = caches.find(w.cluster, *w.kind, w.key.name_space.view(), w.key.name.view());
    return !object || w.kind->meta(object.get()).uid != w.gone_uid;
  }
  // `anew`: what they wrote will never come (a broken history, a lost connection), so nothing else would bring them back.
  void release(const std::vector<Waits::Waiter>& waiters, bool anew = false) {
    for (const auto& [i, key] : waiters) {
      auto& state = runners[i]->keys[key];
      state.stale_timer.reset();
      if (!agree(std::exchange(state.waits, {})) || anew) add(i, key, Priority::high);
      back(i, key);
    }
  }
  // A cache that has passed our write without having it follows another history (an etcd that was restored): all of it is read again.
  bool agree(const std::vector<Wait>& done) {
    bool good = true;
    for (const auto& w : done) {
      if (!w.gone_uid.empty() || caches.agrees(w.cluster, *w.kind, w.key.name_space.view(), w.key.name.view(), w.version)) continue;
      good = false;
      caches.doubt(w.cluster);
    }
    return good;
  }
  void end(std::size_t i, const Key& key, std::string_view result) {
    auto& state = runners[i]->keys[key];
    state.running = false;
    state.plan.reset();
    --running;
    leave(state);
    measure(*runners[i], state, result);
    const auto held = std::exchange(state.pass, nullptr);
    back(i, key);
    pumped();
  }
  void back(std::size_t i, const Key& key) {
    const auto now = env.now().mono;
    runners[i]->queue.done(key, now);
    if (const auto due = runners[i]->queue.next_due(now)) wake(*due);
  }
  void pumped() {
    if (stopping) return stop_if_done();
    wake(env.now().mono);
  }
  void measure(const Runner& r, const KeyState& state, std::string_view result) {
    metrics.add("reconcile_total", "Passes by their end.", {{"loop", r.name}, {"result", result}});
    metrics.observe("reconcile_duration_seconds", "Time of a pass: observe, plan and act.", {{"loop", r.name}},
                    env.now().mono - state.started);
  }

  // ---- the end ----

  void stop(std::function<void()> done) {
    stopping = true;
    is_stopping = true;
    stopped = std::move(done);
    wake_timer.reset();
    stop_timer = env.at(env.now().mono + options.stop_limit, [this] {
      log(Level::warning, "passes were still running at the end", {{"passes", std::to_string(running)}});
      flush();
    });
    stop_if_done();
  }
  void stop_if_done() {
    if (running == 0) stop_timer = env.at(env.now().mono, [this] { flush(); });
  }
  void flush() {
    if (!stopped) return;
    for (auto& r : runners)
      for (auto& [key, state] : r->keys) {
        state.asking.clear();
        state.pass.reset();
      }
    auto left = std::make_shared<std::size_t>(runners.size());
    auto done = std::make_shared<std::function<void()>>(std::exchange(stopped, nullptr));
    if (runners.empty()) return (*done)();
    for (auto& r : runners)
      r->events->flush(flush_limit, [left, done] {
        if (--*left == 0) (*done)();
      });
  }

  // ---- figures ----

  // What alerts ask for is there from the start: a counter that appears with its first error has no rise that a rate could see.
  void zeros() {
    metrics.set("leader", "1: this process leads.", {}, 0);
    for (const auto& r : runners) {
      metrics.add("reconcile_plan_exceptions_total", "Exceptions out of a loop: bugs.", {{"loop", r->name}}, 0);
      metrics.add("queue_retries_total", "Keys that were queued after a failure.", {{"loop", r->name}}, 0);
      metrics.add("cache_stale_total", "Keys that went on with an old cache, as it did not catch up in time.", {{"loop", r->name}}, 0);
      for (const auto* result : {"success", "again", "refused", "conflict", "error", "terminal", "exception", "fenced"})
        metrics.add("reconcile_total", "Passes by their end.", {{"loop", r->name}, {"result", result}}, 0);
    }
  }

  void on_beat() {
    const auto now = env.now().mono;
    last_beat = now.time_since_epoch().count();
    if (beats++ % gauges_every == 0) figures(now);
    beat_timer = env.at(now + beat, [this] { on_beat(); });
  }
  void figures(MonoTime now) {
    for (auto& r : runners) {
      std::chrono::nanoseconds longest{0};
      for (const auto& [key, state] : r->keys)
        if (state.running) longest = std::max(longest, now - state.started);
      metrics.set("queue_depth", "Keys that are due.", {{"loop", r->name}}, static_cast<double>(r->queue.depth(now)));
      metrics.set("queue_longest_running_seconds", "The oldest pass that runs.", {{"loop", r->name}},
                  std::chrono::duration<double>(longest).count());
    }
    metrics.set("cache_waiting_keys", "Keys whose last pass wrote what the cache has not reached.", {}, static_cast<double>(waits.size()));
    for (const auto& s : caches.states()) {
      const Metrics::Labels labels{{"connection", connection_label(s.cluster)},
                                   {"resource", s.kind->resource->cache.empty() ? s.kind->resource->plural : s.kind->resource->cache}};
      metrics.set("watch_lag_seconds", "For how long a watch has been without contact.", labels,
                  std::chrono::duration<double>(s.lag).count());
      metrics.set("cache_objects", "Objects that are held.", labels, static_cast<double>(s.objects));
      auto& [relists, undecodable] = counted[{std::string(s.cluster), s.kind->resource}];
      metrics.add("watch_relists_total", "Whole new states that were put in place.", labels, since(relists, s.relists));
      metrics.add("decode_errors_total", "Objects that could not be read.", labels, since(undecodable, s.undecodable));
    }
    const auto parked = places.waiting();
    for (const auto& id : connections.ids()) {
      const auto it = parked.find(id);
      metrics.set("connection_waiting_keys", "Keys that wait for a place of that connection.", {{"connection", connection_label(id)}},
                  it == parked.end() ? 0 : static_cast<double>(it->second));
    }
    for (const auto& id : connections.ids())
      metrics.set("connection_up", "1: that API server answers.", {{"connection", connection_label(id)}},
                  connections.state(id).reachable == ConditionStatus::true_ ? 1 : 0);
  }

  // Those of an API server that is connected no more.
  void forget_figures(const std::string& cluster) {
    for (const auto* name : {"watch_lag_seconds", "watch_relists_total", "cache_objects", "decode_errors_total", "connection_up",
                             "client_requests_total", "connection_waiting_keys", "connection_rests_total"})
      metrics.drop(name, "connection", connection_label(cluster));
    std::erase_if(counted, [&](const auto& entry) { return entry.first.first == cluster; });
  }

  // A watch that was ended and started again counts from 0.
  static double since(std::uint64_t& last, std::uint64_t now) {
    const auto was = std::exchange(last, now);
    return static_cast<double>(now >= was ? now - was : now);
  }

  bool idle() const {
    const auto now = env.now().mono;
    return running == 0 && woken.empty() && places.waiting().empty() && !replay && waits.size() == 0 &&
           std::all_of(runners.begin(), runners.end(), [&](const auto& r) {
             const auto due = r->queue.next_due(now);
             return !due || *due > now;
           });
  }
};

Manager::Manager(Env& env, Caches& caches, Guard& guard, std::vector<const Loop*> loops, ManagerOptions options, Metrics& metrics, Log log)
    : impl_(std::make_unique<Impl>(env, caches, guard, loops, std::move(options), metrics, std::move(log))) {}
Manager::~Manager() = default;

void Manager::start() { impl_->start(); }
void Manager::lead(bool leading) { impl_->lead(leading); }
void Manager::stop(std::function<void()> done) { impl_->stop(std::move(done)); }
ConnectionState Manager::connection(std::string_view cluster) const { return impl_->connections.state(cluster); }
bool Manager::idle() const { return impl_->idle(); }

void Manager::enqueue(std::string_view loop, const Key& key) {
  for (std::size_t i = 0; i < impl_->runners.size(); ++i)
    if (impl_->runners[i]->name == loop) impl_->add(i, key, Priority::high);
}

void Manager::let_in(std::string_view loop, const Key& key) {
  for (const auto& runner : impl_->runners) {
    if (runner->name != loop) continue;
    if (const auto at = runner->keys.find(key); at != runner->keys.end()) at->second.memory.refused_at = MonoTime::min();
  }
  enqueue(loop, key);
}

Health Manager::alive(MonoTime now) const {
  const auto last = impl_->last_beat.load();
  const auto silence = now - MonoTime(std::chrono::nanoseconds(last));
  if (last == 0 || silence <= impl_->options.stuck_limit) return {true, "ok"};
  return {false, "the main thread has not come round for " +
                     std::to_string(std::chrono::duration_cast<std::chrono::seconds>(silence).count()) + " s"};
}

Health Manager::ready() const {
  if (impl_->is_stopping) return {false, "stopping"};
  if (!impl_->is_synced) return {false, "the caches are being filled"};
  return {true, impl_->is_leading ? "leading" : "standing by"};
}

}  // namespace reconcile
