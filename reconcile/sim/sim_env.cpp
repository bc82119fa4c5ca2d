#include "reconcile/sim/sim_env.hpp"

#include <algorithm>
#include <deque>

#include "reconcile/kube/url.hpp"

namespace reconcile {

using namespace std::chrono_literals;

SimWorld::SimWorld(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}

WallTime SimWorld::wall() const {
  constexpr WallTime start = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23);
  return start + std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch());
}

std::uint64_t SimWorld::random() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::chrono::nanoseconds SimWorld::between(std::chrono::nanoseconds low, std::chrono::nanoseconds high) {
  return low + std::chrono::nanoseconds(random() % static_cast<std::uint64_t>(std::max<std::int64_t>((high - low).count(), 0) + 1));
}

void SimWorld::post(MonoTime when, std::function<void()> task) {
  due_.emplace(std::pair(std::max(when, now_), sequence_++), std::move(task));
}

bool SimWorld::step() {
  if (due_.empty()) return false;
  const auto next = due_.extract(due_.begin());
  now_ = next.key().first;
  ++steps_;
  trace_ = (trace_ ^ static_cast<std::uint64_t>(now_.time_since_epoch().count())) * 1099511628211ULL;
  next.mapped()();
  return true;
}

void SimWorld::run_for(std::chrono::nanoseconds duration) {
  const auto until = now_ + duration;
  while (!due_.empty() && due_.begin()->first.first <= until) step();
  now_ = until;
}

bool SimWorld::run_until(const std::function<bool()>& done, std::chrono::nanoseconds limit) {
  const auto until = now_ + limit;
  while (!done()) {
    if (due_.empty() || due_.begin()->first.first > until) return false;
    step();
  }
  return true;
}

struct SimEnv::Life {
  SimEnv* env;
  MonoTime paused_until{};
  std::deque<std::function<void()>> held{};  // what was due meanwhile, in its order, however often it was paused again
};

// One call, from its start to its end. Its callbacks are the owner's: they run only while the owner holds the handle.
struct SimEnv::Exchange {
  Call call;
  std::function<void(std::string_view)> frame;
  std::function<void(Result<void>)> end;
  bool over = false;
  bool silent = false;                // a watch whose connection is dead without anyone knowing
  MonoTime begun{}, heard{}, next{};  // last frame; when the next one may arrive (frames don't overtake)
  Handle subscription{};
};

SimEnv::SimEnv(SimWorld& world, std::string name, SimFaults faults)
    : world_(world), name_(std::move(name)), faults_(faults), life_(std::make_shared<Life>(Life{this})) {}

SimEnv::~SimEnv() { kill(); }

void SimEnv::serve(const std::string& cluster, SimServer& server) { servers_[cluster] = &server; }
void SimEnv::reachable(const std::string& kubeconfig, SimServer& server) { reachable_[kubeconfig] = &server; }
void SimEnv::pause(std::chrono::nanoseconds duration) { life_->paused_until = std::max(life_->paused_until, world_.now() + duration); }
void SimEnv::kill() { life_->env = nullptr; }

void SimEnv::cut(const std::string& cluster, bool off) {
  if (!off) {
    cut_.erase(cluster);
    return;
  }
  cut_.insert(cluster);
  for (const auto& weak : exchanges_)
    if (const auto x = weak.lock(); x && x->call.cluster == cluster) x->silent = true;
}

void SimEnv::freeze(const std::string& cluster, bool on) {
  if (on) {
    frozen_[cluster];
    for (const auto& weak : exchanges_)
      if (const auto x = weak.lock(); x && !x->over && x->call.cluster == cluster && x->call.verb != Verb::watch)
        no_reply(x, {is_read(x->call.verb) ? Code::unavailable : Code::maybe_done, "no reply in time"});
    return;
  }
  const auto held = frozen_.extract(cluster);
  if (held)
    for (const auto& task : held.mapped()) task();
}

void SimEnv::at_server(const std::string& cluster, std::function<void()> task) {
  if (const auto it = frozen_.find(cluster); it != frozen_.end())
    it->second.push_back(std::move(task));
  else
    task();
}

// Of a call to a server that is frozen: it ends when its own time is over. A watch that was never accepted has its own rule, too.
void SimEnv::no_reply(const std::shared_ptr<Exchange>& x, Error error) {
  inside(world_.now() + x->call.timeout, [this, weak = std::weak_ptr(x), error = std::move(error)] {
    if (const auto held = weak.lock(); held && !held->over && held->heard == held->begun) finish(held, fail(error));
  });
}

Now SimEnv::now() const {
  const auto mono = world_.now();
  return {mono, clock_ ? clock_->wall(mono) : world_.wall() + wall_offset_};
}

void SimEnv::dated(WallTime date, MonoTime sent) {
  if (!clock_) return;
  const auto jump = clock_->take(std::chrono::floor<std::chrono::seconds>(date + server_offset_), sent, world_.now());
  if (jump && clock_jumped) clock_jumped(jump->before, jump->after);
}

void SimEnv::inside(MonoTime when, std::function<void()> task) {
  world_.post(when, [life = life_, &world = world_, task = std::move(task)]() mutable {
    if (!life->env) return;
    if (life->held.empty() && world.now() >= life->paused_until) return task();
    life->held.push_back(std::move(task));
    if (life->held.size() == 1) go_on(world, life);
  });
}

// Runs what was held when the pause is over.
void SimEnv::go_on(SimWorld& world, const std::shared_ptr<Life>& life) {
  world.post(life->paused_until, [&world, life] {
    while (life->env && !life->held.empty()) {
      if (world.now() < life->paused_until) return go_on(world, life);
      const auto task = std::move(life->held.front());
      life->held.pop_front();
      task();
    }
  });
}

Handle SimEnv::at(MonoTime when, std::function<void()> task) {
  auto handle = std::make_shared<std::function<void()>>(std::move(task));
  inside(when, [weak = std::weak_ptr(handle)] {
    if (const auto held = weak.lock(); held && *held) std::exchange(*held, nullptr)();
  });
  return handle;
}

Handle SimEnv::compute(std::function<std::function<void()>()> job) {
  auto handle = std::make_shared<int>(0);
  inside(world_.now() + world_.between(50us, 5ms), [this, weak = std::weak_ptr(handle), job = std::move(job)] {
    auto then = job();
    inside(world_.now() + world_.between(10us, 1ms), [weak, then = std::move(then)] {
      if (const auto held = weak.lock(); held && then) then();
    });
  });
  return handle;
}

Handle SimEnv::http(HttpCall call, std::function<void(Result<HttpAnswer>)> end) {
  auto handle = std::make_shared<int>(0);
  inside(world_.now() + hop() + hop(), [this, weak = std::weak_ptr(handle), call = std::move(call), end = std::move(end)] {
    if (!weak.lock()) return;
    if (on_http)
      end(on_http(call));
    else
      end(fail(Code::unavailable, "connection refused"));
  });
  return handle;
}

Result<void> SimEnv::connect(const std::string& cluster, std::string_view kubeconfig) {
  const auto it = reachable_.find(kubeconfig);
  if (it == reachable_.end()) return fail(Code::invalid, "kubeconfig: no cluster");
  servers_[cluster] = it->second;
  return {};
}

void SimEnv::disconnect(const std::string& cluster) {
  servers_.erase(cluster);
  for (const auto& weak : exchanges_)
    if (const auto x = weak.lock(); x && x->call.cluster == cluster) finish(x, fail(Code::cancelled, "disconnected"));
}

Handle SimEnv::call(Call call, std::function<void(std::string_view)> frame, std::function<void(Result<void>)> end) {
  ++calls_;
  if (on_send) on_send(call);
  auto x = std::make_shared<Exchange>(Exchange{.call = std::move(call), .frame = std::move(frame), .end = std::move(end)});
  std::erase_if(exchanges_, [](const auto& weak) { return weak.expired(); });
  exchanges_.push_back(x);
  x->begun = x->heard = x->next = world_.now();
  if (!servers_.contains(x->call.cluster))
    finish(x, fail(Code::invalid, "no such connection: " + x->call.cluster));
  else if (cut_.contains(x->call.cluster))
    inside(world_.now() + std::min<std::chrono::nanoseconds>(x->call.timeout, 10s), [this, weak = std::weak_ptr(x)] {
      if (const auto held = weak.lock()) finish(held, fail(Code::unavailable, "connect: timed out"));
    });
  else if (world_.chance(faults_.refused))
    finish(x, fail(Code::unavailable, "connection refused"));
  else if (x->call.verb == Verb::watch)
    send_watch(x);
  else
    send(x);
  return x;
}

// Ends the call in its owner's process, a hop later. The first end stands.
void SimEnv::finish(const std::shared_ptr<Exchange>& x, Result<void> result) {
  const auto when = std::max(x->next, world_.now() + hop());
  inside(when, [weak = std::weak_ptr(x), result = std::move(result)]() mutable {
    const auto held = weak.lock();
    if (!held || std::exchange(held->over, true)) return;
    held->subscription.reset();
    held->end(std::move(result));
  });
}

void SimEnv::send(const std::shared_ptr<Exchange>& x) {
  const bool write = x->call.verb != Verb::get && x->call.verb != Verb::list;
  const Error lost{write ? Code::maybe_done : Code::unavailable, "the connection broke"};
  const bool request_lost = world_.chance(faults_.request_lost), reply_lost = world_.chance(faults_.reply_lost);
  if (request_lost) return finish(x, fail(lost));
  if (world_.chance(faults_.throttled)) return finish(x, fail(Error{Code::throttled, "too many requests", 1s, "TooManyRequests"}));
  if (frozen_.contains(x->call.cluster)) no_reply(x, lost);
  // On the network nobody can call it back: what was sent arrives even when its sender is dead or has dropped the handle.
  const auto slow = slow_.find(x->call.cluster);
  const auto longer = write && slow != slow_.end() ? slow->second : 0ns;
  world_.post(world_.now() + hop() + longer, [this, life = life_, weak = std::weak_ptr(x), server = servers_.find(x->call.cluster)->second,
                                              call = x->call, lost, reply_lost] {
    const auto serve = [this, life, weak, server, call, lost, reply_lost] {
      auto reply = server->serve(call);
      if (!life->env) return;
      const auto held = weak.lock();
      if (!held) return;
      if (reply_lost || held->silent) return finish(held, fail(lost));
      inside(world_.now() + hop(), [this, weak, date = world_.wall(), reply = std::move(reply)]() mutable {
        const auto to = weak.lock();
        if (!to || to->over) return;
        if (to->call.cluster.empty()) dated(date, to->begun);
        for (const auto& frame : reply.frames) {
          if (to.use_count() == 1 || to->over) return;  // dropped by the frame before
          to->frame(frame);
        }
        if (to.use_count() == 1 || std::exchange(to->over, true)) return;
        to->end(std::move(reply.result));
      });
    };
    if (life->env)
      at_server(call.cluster, serve);
    else
      serve();
  });
}

void SimEnv::send_watch(const std::shared_ptr<Exchange>& x) {
  if (frozen_.contains(x->call.cluster)) no_reply(x, {Code::unavailable, "silent for too long"});
  world_.post(world_.now() + hop(), [this, life = life_, weak = std::weak_ptr(x), server = servers_.find(x->call.cluster)->second] {
    const auto asked = weak.lock();
    if (!asked || !life->env) return;
    at_server(asked->call.cluster, [this, life, weak, server] {
      const auto held = weak.lock();
      if (!held || !life->env || held->over) return;
      open_watch(held, *server);
    });
  });
}

// Frames travel in order, each with a delay of its own. The first is empty: the header of a watch that was accepted.
void SimEnv::open_watch(const std::shared_ptr<Exchange>& x, SimServer& server) {
  const auto deliver = [this, life = life_, weak = std::weak_ptr(x)](std::string frame) {
    const auto to = weak.lock();
    if (!to || !life->env || to->silent || to->over) return;
    if (world_.chance(faults_.watch_cut)) {
      to->silent = true;
      return finish(to, fail(Code::unavailable, "the watch was cut"));
    }
    to->next = std::max(to->next, world_.now() + hop() + faults_.watch_lag);
    inside(to->next, [this, weak, frame = std::move(frame)] {
      const auto last = weak.lock();
      if (!last || last->over) return;
      last->heard = world_.now();
      last->frame(frame);
    });
  };
  const auto accepted = std::make_shared<bool>(false);
  const auto header = [accepted, deliver] {
    if (!std::exchange(*accepted, true)) deliver({});
  };
  const auto push = [this, life = life_, cluster = x->call.cluster, header, deliver](std::string frame) {
    if (!life->env) return;
    at_server(cluster, [header, deliver, frame = std::move(frame)] {
      header();
      deliver(frame);
    });
  };
  const auto end = [this, life = life_, weak = std::weak_ptr(x), cluster = x->call.cluster](Result<void> result) {
    if (!life->env) return;
    at_server(cluster, [this, life, weak, result = std::move(result)] {
      const auto to = weak.lock();
      if (to && life->env && !to->silent) finish(to, result);
    });
  };
  auto subscription = server.serve_watch(x->call, push, end);
  if (!subscription) return finish(x, fail(std::move(subscription.error())));
  x->subscription = std::move(*subscription);
  header();
  watch_silence(x);
}

void SimEnv::watch_silence(const std::shared_ptr<Exchange>& x) {
  inside(x->heard + x->call.timeout, [this, weak = std::weak_ptr(x)] {
    const auto held = weak.lock();
    if (!held || held->over) return;
    if (world_.now() < held->heard + held->call.timeout) return watch_silence(held);
    finish(held, fail(Code::unavailable, "silent for too long"));
  });
}

}  // namespace reconcile
