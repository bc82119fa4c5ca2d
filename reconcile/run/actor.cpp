#include "reconcile/run/actor.hpp"

#include <algorithm>
#include <deque>

#include "reconcile/json/encode.hpp"
#include "reconcile/kube/url.hpp"
#include "reconcile/kube/workloads.hpp"
#include "reconcile/run/body.hpp"
#include "reconcile/run/wiped.hpp"

namespace reconcile {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t max_actions = 100;
constexpr std::size_t max_secrets = 4;   // that one body is made from
constexpr auto permit_life = 30s;        // half of what the guard waits for its lock (controllers/guard/account.cpp)
constexpr int max_reads = 6;             // of an object whose write got no answer: 1 + 2 + 4 + 8 + 16 s
constexpr std::size_t max_logged = 512;  // of an API server's words: a 422 of many fields has thousands

std::string what_of(Verb verb, const Resource& resource, const Key& key, std::string_view subresource) {
  std::string out = std::string(verb_name(verb)) + " " + std::string(resource.plural);
  if (!subresource.empty()) out.append("/").append(subresource);
  return out + " " + key.str();
}

// An eviction of a pod that has gone has done its work, as has a delete of what is not there.
bool is_done_already(const Action& a, Code code) {
  if (code == Code::exists) return a.verb == Verb::create && a.tolerate_exists;
  return code == Code::not_found && (a.verb == Verb::remove || (a.verb == Verb::create && a.subresource == "eviction"));
}

// What was sent, for telling a refused write that is tried again from another.
std::size_t hash_of(std::initializer_list<std::string_view> parts) {
  std::size_t out = 0;
  for (const auto part : parts) out = out * 1099511628211ULL + std::hash<std::string_view>{}(part);
  return out;
}
std::size_t hash_of(const Action& a) {
  return hash_of({verb_name(a.verb), a.kind->resource->plural, a.kind->resource->group, a.cluster, a.name_space.view(), a.name.view(),
                  a.subresource.view(), a.body, a.making ? std::string_view(a.making->what) : "", a.uid.view(), a.resource_version.view()});
}
std::size_t hash_of(const StatusWrite& s) {
  return hash_of({"status", s.kind->resource->plural, s.cluster, s.key.name_space.view(), s.key.name.view(), s.status, s.uid.view(),
                  s.resource_version.view()});
}

// An answer that only a change, or time, turns into another. 500 InternalError: a webhook that fails, a pod under two budgets.
bool is_refusal(const Error& e) {
  return e.code == Code::invalid || e.code == Code::forbidden || e.code == Code::throttled || e.reason == "InternalError";
}
// Was it done or not? An answer says no, but for one of an API server that doesn't know (api_error.hpp).
bool is_open(const Error& e) { return e.code == Code::maybe_done || e.reason == "InternalError"; }

}  // namespace

// One plan being carried out. It is kept by its handle, and by nothing else: callbacks hold it weakly.
class Actor::Pass : public std::enable_shared_from_this<Pass> {
 public:
  Pass(Actor& actor, ActOrder order, std::function<void(ActResult)> done)
      : actor_(actor),
        order_(std::move(order)),
        done_(std::move(done)),
        plan_(*order_.plan),
        generation_(actor.options_.lease ? actor.options_.lease->generation() : 0) {}
  ~Pass() { actor_.looking_.erase(this); }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  void begin() {
    next([this] { ask(); });
  }
  void give_up(const std::string& cluster) {
    std::erase_if(looks_, [&](const Look& l) { return l.cluster == cluster; });
    std::vector<std::uint64_t> ended;
    for (const auto& [slot, there] : reading_)
      if (there == cluster) ended.push_back(slot);
    for (const auto slot : ended) looked(slot);
  }

 private:
  struct Look {
    std::string cluster;
    const Kind* kind = nullptr;
    Key key;
  };

  // All that runs here comes from the Env through this: an exception ends the pass, not the process.
  template <class F>
  void safely(F step) {
    std::string what;
    try {
      return step();
    } catch (const std::exception& e) {
      what = e.what();
    } catch (...) {
      what = "not a std::exception";
    }
    broke(what);
  }
  void broke(const std::string& what) {
    actor_.metrics_.add("reconcile_plan_exceptions_total", "Exceptions out of a loop: bugs.", {{"loop", order_.loop}});
    actor_.log_(Level::error, "a pass threw an exception", {{"loop", std::string(order_.loop)}, {"error", what}});
    if (!done_) return;
    result_.failures.push_back({"carry out the plan", Verb::get, nullptr, {}, {Code::unavailable, "an exception: " + what, {}, {}}});
    looks_.clear();
    reading_.clear();
    handles_.clear();  // what is on its way is not waited for
    end();
  }
  void next(std::function<void()> step) {
    timer_ = actor_.env_.at(actor_.env_.now().mono, [this, step = std::move(step)] { safely(step); });
  }

  // ---- permit, lock ----

  void ask() {
    if (!plan_.permit) return lock();
    asked_at_ = actor_.env_.now().mono;
    actor_.ask(*plan_.permit, [weak = weak_from_this()](Result<Verdict> verdict) {
      if (const auto self = weak.lock()) self->safely([&] { self->judged(std::move(verdict)); });
    });
  }
  void judged(Result<Verdict> verdict) {
    if (!verdict) {
      result_.failures.push_back({"ask the guard", Verb::get, nullptr, plan_.permit->subject.name, verdict.error()});
      refused_ = true;
    } else if (auto* no = std::get_if<Refused>(&*verdict)) {
      actor_.metrics_.add("permits_refused_total", "Permits that were refused, by who said no.",
                          {{"kind", no->kind.view()}, {"name", no->name.view()}, {"reason", no->reason.view()}});
      result_.refused = std::move(*no);
      refused_ = true;
    } else {
      result_.granted = true;
    }
    lock();
  }
  bool status_wanted() const { return plan_.status && plan_.status->changed && order_.status_due; }
  void lock() {
    if (plan_.status) own_version_ = plan_.status->resource_version.str();
    if (!status_wanted() || !plan_.status->first || refused_) return actions();
    if (rests(plan_.status->cluster)) return finish();
    if (is_permit_old()) {
      result_.more = true;
      return finish();
    }
    write_status([this](bool good) {
      locked_ = good;
      if (good) return actions();
      finish();
    });
  }

  // A guard gives a permit back by which nothing begins. What was asked for too long ago (this process was stopped, or the guard had to
  // wait) is asked for again: the next pass gets the same permit, or none.
  bool is_permit_old() const { return result_.granted && !locked_ && actor_.env_.now().mono - asked_at_ > permit_life; }

  // ---- actions ----

  void actions() {
    for (const auto& a : plan_.actions) todo_.push_back(&a);
    std::stable_sort(todo_.begin(), todo_.end(), [](const Action* a, const Action* b) { return a->stage < b->stage; });
    if (todo_.size() > max_actions) {
      todo_.resize(max_actions);
      result_.more = true;
    }
    stage();
  }
  // Starts what may run now; goes on when the last of a stage is back.
  void stage() {
    const int limit = actor_.options_.writes_per_pass;
    while (at_ < todo_.size() && in_flight_ < limit && todo_[at_]->stage == stage_of_flight()) {
      const Action& a = *todo_[at_++];
      current_ = a.stage;
      if (a.guarded && (refused_ || !plan_.permit)) {
        blocked_ = true;
        continue;
      }
      if (rests(a.cluster)) {
        blocked_ = true;
        continue;
      }
      if (a.guarded && is_permit_old()) {
        blocked_ = result_.more = true;
        continue;
      }
      locked_ = locked_ || a.guarded;  // from its first write on it has begun
      ++in_flight_;
      act(a);
    }
    if (in_flight_ > 0) return;
    const bool more = at_ < todo_.size();
    if (more && !stage_failed_ && !blocked_) {
      current_.reset();
      return next([this] { stage(); });
    }
    status();
  }
  // Its API server has asked to be left alone, by an answer to this pass or to another.
  bool rests(const std::string& cluster) {
    const auto until = actor_.options_.rests ? actor_.options_.rests(cluster) : std::nullopt;
    if (until) result_.rests_until = std::max(result_.rests_until.value_or(*until), *until);
    return until.has_value();
  }
  std::uint8_t stage_of_flight() const { return current_.value_or(todo_[at_]->stage); }

  void act(const Action& a) {
    if (is_unguarded(a))
      return later(
          [this, &a] { acted(a, fail(Code::invalid, "disruptive, and without a permit: not sent; this is a bug of the loop"), {}); });
    if (const auto* refusal = refused_lately(hash_of(a)))
      return later([this, &a, refusal] {
        still_refused(a.verb, *a.kind->resource, {a.name_space, a.name}, a.subresource.view(), hash_of(a), *refusal);
        landed(false);
      });
    if (a.making) return gather(a, std::make_shared<Wiped>());
    write(a, a.body);
  }
  const Refusal* refused_lately(std::size_t what) const {
    const auto it = order_.refusals.find(what);
    return it == order_.refusals.end() || it->second.until <= actor_.env_.now().mono ? nullptr : &it->second;
  }
  void still_refused(Verb verb, const Resource& resource, const Key& key, std::string_view subresource, std::size_t what,
                     const Refusal& refusal) {
    result_.refusals[what] = refusal;
    Error error = refusal.error;
    error.retry_after = std::chrono::ceil<std::chrono::milliseconds>(refusal.until - actor_.env_.now().mono);
    result_.failures.push_back({what_of(verb, resource, key, subresource), verb, &resource, key.name, std::move(error)});
  }
  // After an answer that says no: what it means beyond this write.
  void note(const std::string& cluster, bool eviction, std::size_t what, const Error& error) {
    const auto now = actor_.env_.now().mono;
    const bool asks_to_wait = (error.code == Code::throttled || error.code == Code::unavailable) && error.retry_after > 0ms;
    if (asks_to_wait && !eviction) {
      if (actor_.options_.asked_to_rest) actor_.options_.asked_to_rest(cluster, now + error.retry_after);
      return;
    }
    // A budget frees its next pod in seconds at the earliest.
    const auto holds = error.code == Code::throttled ? 2 * actor_.options_.refusal_holds : actor_.options_.refusal_holds;
    if (is_refusal(error)) result_.refusals[what] = {error, now + std::max(holds, error.retry_after)};
  }
  void write(const Action& a, const std::string& given) {
    auto call = call_for(a, given);
    if (!call) return later([this, &a, error = call.error()] { acted(a, fail(error), {}); });
    send(a.kind->resource, std::move(*call), [this, &a](Result<void> end, const std::string& body) { acted(a, std::move(end), body); });
  }
  bool is_unguarded(const Action& a) {
    if (!actor_.options_.disruptive || (a.guarded && result_.granted) || !actor_.options_.disruptive(a)) return false;
    actor_.log_(
        Level::error, "a loop would disturb without a permit",
        {{"loop", std::string(order_.loop)}, {"write", what_of(a.verb, *a.kind->resource, {a.name_space, a.name}, a.subresource.view())}});
    actor_.metrics_.add("unguarded_total", "Disruptive writes without a permit, which were not sent: bugs of a loop.",
                        {{"loop", order_.loop}, {"verb", verb_name(a.verb)}, {"resource", a.kind->resource->plural}});
    return true;
  }
  // Reads what a body is made from, one Secret after the other, then has it made.
  void gather(const Action& a, std::shared_ptr<Wiped> found) {
    if (!actor_.options_.make || a.making->secrets.size() > max_secrets)
      return later([this, &a] { acted(a, fail(Code::invalid, "nobody can make this body"), {}); });
    if (found->texts.size() == a.making->secrets.size()) return make(a, std::move(found));
    const Key& key = a.making->secrets[found->texts.size()];
    Call c{.verb = Verb::get, .resource = &resource_of<Secret>, .name_space = key.name_space.str(), .name = key.name.str()};
    c.timeout = 10s;
    keep(actor_.env_.call(
        std::move(c), [found](std::string_view frame) { found->texts.emplace_back(frame); },
        [this, &a, found, key, at = found->texts.size(), slot = next_slot_](Result<void> end) {
          const auto held = take(slot);
          safely([&] {
            // Not there (yet): what it is wanted for can't be made, which says nothing about the object that would be written.
            if (!end) return acted(a, fail(Code::unavailable, "Secret " + key.str() + ": " + end.error().message), {});
            found->texts.resize(at + 1);
            gather(a, found);
          });
        }));
  }
  void make(const Action& a, std::shared_ptr<Wiped> found) {
    keep(actor_.env_.compute([this, &a, found = std::move(found), make = actor_.options_.make, what = a.making->what,
                              now = actor_.env_.now().wall, slot = next_slot_]() -> std::function<void()> {
      auto made = std::make_shared<Wiped>();
      Error trouble;
      try {
        if (auto body = make(what, found->texts, now))
          made->texts.push_back(std::move(*body));
        else
          trouble = body.error();
      } catch (const std::exception& e) {
        trouble = {Code::unavailable, std::string("an exception: ") + e.what(), {}, {}};
      } catch (...) {
        trouble = {Code::unavailable, "an exception", {}, {}};
      }
      return [this, &a, made, trouble, slot] {
        const auto held = take(slot);
        safely([&] {
          if (made->texts.empty()) return acted(a, fail(trouble), {});
          write(a, made->texts.front());
        });
      };
    }));
  }
  Result<Call> call_for(const Action& a, const std::string& given) const {
    Call c{.cluster = a.cluster,
           .verb = a.verb,
           .resource = a.kind->resource,
           .name_space = a.name_space.str(),
           .name = a.name.str(),
           .subresource = a.subresource.str(),
           .body = given};
    const auto version =
        is_own(a) && !a.resource_version.empty() && moved_own_ ? std::string_view(own_version_) : a.resource_version.view();
    Result<std::string> body = given;
    switch (a.verb) {
      case Verb::apply: c.query = apply_query(order_.field_manager); break;
      case Verb::remove: body = delete_options(a.uid.view(), version, "Background"); break;  // a Job of batch/v1 would leave its pods
      case Verb::merge_patch: body = with_preconditions(given, a.uid.view(), version); break;
      case Verb::json_patch: body = with_tests(given, a.uid.view(), version); break;
      default: break;
    }
    if (!body) return fail(std::move(body.error()));
    c.body = std::move(*body);
    if (c.query.empty() && a.verb != Verb::remove) c.query = "fieldManager=" + percent_encode(order_.field_manager);
    if (a.verb == Verb::create && c.subresource.empty()) c.name.clear();
    return c;
  }
  bool is_own(const Action& a) const {
    return plan_.status && a.kind == plan_.status->kind && a.cluster == plan_.status->cluster && a.name == plan_.status->key.name &&
           a.name_space == plan_.status->key.name_space;
  }

  // The answer to an action. What it means for the caches: they must reach what was written, or what somebody else wrote before us.
  void acted(const Action& a, Result<void> end, const std::string& body) {
    const Key key{a.name_space, a.name};
    if (!a.mark.empty() && (end || is_done_already(a, end.error().code))) result_.done.push_back(a.mark);
    if (end) {
      succeeded(a, key, read_answer(body));
      return landed(true);
    }
    const Error error = end.error();
    if (is_done_already(a, error.code)) {
      ++result_.writes;
      if (error.code == Code::exists)
        look(a.cluster, *a.kind, key);
      else if (a.subresource.empty())
        wait_gone(a.cluster, a.kind, key, a.uid);
      return landed(true);
    }
    const bool stale = error.code == Code::conflict || error.code == Code::exists || is_stale(a.verb, error);
    failed(a.verb, *a.kind->resource, key, a.subresource.view(), stale && error.code == Code::invalid ? as_conflict(error) : error);
    if (!stale) note(a.cluster, a.subresource == "eviction", hash_of(a), error);
    if (error.code == Code::not_found) wait_gone(a.cluster, a.kind, key, a.uid);
    if (stale || is_open(error)) look(a.cluster, *a.kind, key);
    landed(false);
  }
  static Error as_conflict(Error error) {
    error.code = Code::conflict;
    return error;
  }
  void succeeded(const Action& a, const Key& key, const Answer& answer) {
    ++result_.writes;
    if (!a.subresource.empty() && a.verb == Verb::create) return;  // an eviction answers for itself only
    if (!answer.resource_version.empty()) {
      if (is_own(a)) {
        // Only a write that was bound to the version that the plan saw leaves the plan's status true of the new one.
        own_unknown_ = own_unknown_ || a.resource_version.empty();
        moved_own_ = true;
        own_version_ = answer.resource_version;
      }
      return wait_version(a.cluster, a.kind, key, answer);
    }
    if (is_own(a)) own_unknown_ = true;
    if (a.verb == Verb::remove) wait_gone(a.cluster, a.kind, key, a.uid);
  }
  void landed(bool good) {
    stage_failed_ = stage_failed_ || !good;
    --in_flight_;
    stage();
  }

  // ---- status ----

  void status() {
    const bool lock_only = plan_.status && plan_.status->first;
    if (!status_wanted() || lock_only || own_unknown_ || result_.fenced || rests(plan_.status->cluster)) return finish();
    write_status([this](bool) { finish(); });
  }
  void write_status(std::function<void(bool)> then) {
    const StatusWrite& s = *plan_.status;
    const Resource& r = *s.kind->resource;
    if (const auto* refusal = refused_lately(hash_of(s)))
      return later([this, &s, &r, refusal, then = std::move(then)] {
        still_refused(Verb::apply, r, s.key, "status", hash_of(s), *refusal);
        then(false);
      });
    Call c{.cluster = s.cluster,
           .verb = Verb::apply,
           .resource = &r,
           .name_space = s.key.name_space.str(),
           .name = s.key.name.str(),
           .subresource = "status",
           .query = apply_query(order_.field_manager)};
    c.body =
        "{\"apiVersion\":" + quote(api_version(r)) + ",\"kind\":" + quote(r.kind) + ",\"metadata\":{\"name\":" + quote(s.key.name.view());
    if (!s.key.name_space.empty()) c.body += ",\"namespace\":" + quote(s.key.name_space.view());
    c.body += ",\"uid\":" + quote(s.uid.view()) + ",\"resourceVersion\":" + quote(own_version_) + "},\"status\":" + s.status + "}";
    send(&r, std::move(c), [this, &s, then = std::move(then)](Result<void> end, const std::string& body) {
      if (end) {
        ++result_.writes;
        result_.status_written = true;
        const auto answer = read_answer(body);
        moved_own_ = true;
        own_version_ = answer.resource_version;
        wait_version(s.cluster, s.kind, s.key, answer);
        return then(true);
      }
      const Error error = end.error();
      if (error.code == Code::not_found) {  // it has gone: there is nothing to say about it any more
        wait_gone(s.cluster, s.kind, s.key, s.uid);
        return then(false);
      }
      const bool stale = error.code == Code::conflict || is_stale(Verb::apply, error);
      failed(Verb::apply, *s.kind->resource, s.key, "status", stale ? as_conflict(error) : error);
      if (!stale) note(s.cluster, false, hash_of(s), error);
      if (stale || is_open(error)) look(s.cluster, *s.kind, s.key);
      then(false);
    });
  }
  // Nothing more is written. What is read now may take long: the pass gives its place back for it.
  void finish() {
    if (looks_.empty()) return end();
    actor_.looking_.insert(this);
    if (order_.looking) order_.looking();
    read_next();
  }
  void end() {
    actor_.looking_.erase(this);
    timer_ = actor_.env_.at(actor_.env_.now().mono, [this] {
      handles_.clear();
      std::exchange(done_, nullptr)(std::move(result_));
    });
  }

  // ---- calls ----

  void send(const Resource* resource, Call call, std::function<void(Result<void>, const std::string&)> then) {
    const auto now = actor_.env_.now().mono;
    call.timeout = actor_.options_.write_timeout;
    if (const auto* lease = actor_.options_.lease) {
      // A leadership that was lost and won again is another: what others did in between is not in what this pass saw.
      const auto left = lease->generation() == generation_ ? lease->time_to_act(now) : 0ns;
      if (left <= 0ns) {
        result_.fenced = true;
        return later([then = std::move(then)] { then(fail(Code::fenced, "not the leader: nothing was sent"), {}); });
      }
      call.timeout = std::min(call.timeout, std::chrono::floor<std::chrono::milliseconds>(left) + lease->write_margin());
    }
    const Verb verb = call.verb;
    auto body = std::make_shared<std::string>();
    keep(actor_.env_.call(
        std::move(call), [body](std::string_view frame) { body->assign(frame); },
        [this, body, resource, verb, then = std::move(then), slot = next_slot_](Result<void> end) {
          actor_.metrics_.add("writes_total", "Writes by their end.",
                              {{"loop", order_.loop},
                               {"verb", verb_name(verb)},
                               {"resource", resource->plural},
                               {"result", end ? "done" : code_name(end.error().code)}});
          const auto held = take(slot);  // a finished call's handle goes, but not before its callback has
          safely([&] { then(std::move(end), *body); });
        }));
  }
  void later(std::function<void()> step) {
    keep(actor_.env_.at(actor_.env_.now().mono, [this, step = std::move(step), slot = next_slot_] {
      const auto held = take(slot);
      safely(step);
    }));
  }
  void keep(Handle handle) { handles_[next_slot_++] = std::move(handle); }
  Handle take(std::uint64_t slot) {
    const auto it = handles_.find(slot);
    return it == handles_.end() ? nullptr : std::exchange(it->second, nullptr);
  }

  // The object will be read as it is, when all is written: the caches must reach that.
  void look(const std::string& cluster, const Kind& kind, const Key& key) {
    if (actor_.caches_.watches(cluster, *kind.resource, key.name_space.view())) looks_.push_back({cluster, &kind, key});
  }
  void read_next() {
    while (!looks_.empty() && reading_.size() < static_cast<std::size_t>(std::max(actor_.options_.writes_per_pass, 1))) {
      const Look what = looks_.front();
      looks_.pop_front();
      read(what, 0);
    }
    if (reading_.empty()) end();
  }
  // An answer is worth some tries: without it we know nothing.
  void read(const Look& what, int tries) {
    Call c{.cluster = what.cluster,
           .verb = Verb::get,
           .resource = what.kind->resource,
           .name_space = what.key.name_space.str(),
           .name = what.key.name.str()};
    c.timeout = 10s;
    auto body = std::make_shared<std::string>();
    reading_[next_slot_] = what.cluster;
    keep(actor_.env_.call(
        std::move(c), [body](std::string_view frame) { body->assign(frame); },
        [this, what, tries, body, sent = actor_.env_.now().mono, slot = next_slot_](Result<void> end) {
          const auto held = take(slot);
          safely([&] { answered(what, tries, sent, std::move(end), *body, slot); });
        }));
  }
  void answered(const Look& what, int tries, MonoTime sent, Result<void> end, const std::string& body, std::uint64_t slot) {
    const auto& [cluster, kind, key] = what;
    if (end) {
      const auto answer = read_answer(body);
      if (!actor_.caches_.contradicts(cluster, *kind, key.name_space.view(), key.name.view(), answer.resource_version, sent))
        wait_version(cluster, kind, key, answer);
    } else if (end.error().code == Code::not_found) {
      if (const auto cached = actor_.caches_.find(cluster, *kind, key.name_space.view(), key.name.view()))
        wait_gone(cluster, kind, key, kind->meta(cached.get()).uid);
    } else if (tries + 1 < max_reads && end.error().code != Code::forbidden && is_reachable(cluster)) {
      reading_.erase(slot);
      reading_[next_slot_] = cluster;
      keep(actor_.env_.at(actor_.env_.now().mono + 1s * (1 << tries), [this, what, tries, again = next_slot_] {
        const auto held = take(again);
        reading_.erase(again);
        safely([&] { read(what, tries + 1); });
      }));
      return;
    }
    looked(slot);
  }
  bool is_reachable(const std::string& cluster) const { return !actor_.options_.reachable || actor_.options_.reachable(cluster); }
  void looked(std::uint64_t slot) {
    const auto held = take(slot);
    if (reading_.erase(slot) > 0 && actor_.looking_.contains(this)) read_next();
  }

  void wait_version(const std::string& cluster, const Kind* kind, const Key& key, const Answer& answer) {
    const auto number = version_number(answer.resource_version);
    if (actor_.caches_.shows(cluster, *kind, key.name_space.view(), key.name.view(), answer.labels))
      result_.waits.push_back({cluster, kind, key, number, {}});
  }
  void wait_gone(const std::string& cluster, const Kind* kind, const Key& key, Text uid) {
    const auto cached = actor_.caches_.find(cluster, *kind, key.name_space.view(), key.name.view());
    if (!cached || (!uid.empty() && kind->meta(cached.get()).uid != uid)) return;
    result_.waits.push_back({cluster, kind, key, 0, kind->meta(cached.get()).uid});
  }
  void failed(Verb verb, const Resource& resource, const Key& key, std::string_view subresource, const Error& error) {
    auto what = what_of(verb, resource, key, subresource);
    auto words = error.message.substr(0, max_logged);
    if (words.size() < error.message.size()) words += "...";
    actor_.log_(error.code == Code::fenced || error.code == Code::conflict ? Level::info : Level::warning, "a write failed",
                {{"loop", std::string(order_.loop)}, {"write", what}, {"code", std::string(code_name(error.code))}, {"error", words}});
    result_.failures.push_back({std::move(what), verb, &resource, key.name, error});
  }

  Actor& actor_;
  ActOrder order_;
  std::function<void(ActResult)> done_;
  const Plan& plan_;
  const std::int64_t generation_;  // of the leadership that it began under
  ActResult result_;
  bool refused_ = false, blocked_ = false, stage_failed_ = false, locked_ = false;
  MonoTime asked_at_{};                           // for the permit
  bool moved_own_ = false, own_unknown_ = false;  // the loop's own object was written in this pass
  std::string own_version_;
  std::vector<const Action*> todo_;
  std::size_t at_ = 0;
  int in_flight_ = 0;
  std::optional<std::uint8_t> current_;
  std::deque<Look> looks_;                        // to be read when all is written
  std::map<std::uint64_t, std::string> reading_;  // those under way, by slot: where
  std::map<std::uint64_t, Handle> handles_;
  std::uint64_t next_slot_ = 0;
  Handle timer_;
};

Actor::Actor(Env& env, Caches& caches, Guard& guard, ActorOptions options, Metrics& metrics, Log log)
    : env_(env), caches_(caches), guard_(guard), options_(options), metrics_(metrics), log_(std::move(log)) {}
Actor::~Actor() = default;

Handle Actor::carry_out(ActOrder order, std::function<void(ActResult)> done) {
  auto pass = std::make_shared<Pass>(*this, std::move(order), std::move(done));
  pass->begin();
  return pass;
}

void Actor::give_up(const std::string& cluster) {
  const auto passes = looking_;
  for (auto* pass : passes)
    if (looking_.contains(pass)) pass->give_up(cluster);
}

void Actor::ask(PermitRequest request, std::function<void(Result<Verdict>)> answer) {
  guard_.ask({std::move(request)}, [answer = std::move(answer), alive = std::weak_ptr(alive_)](Result<std::vector<Verdict>> verdicts) {
    if (alive.expired()) return;
    if (!verdicts)
      answer(fail(verdicts.error()));
    else if (verdicts->empty())
      answer(fail(Code::invalid, "the guard gave no verdict"));
    else
      answer(std::move(verdicts->front()));
  });
}

}  // namespace reconcile
