#include "reconcile/run/events.hpp"

#include <cstdio>
#include <deque>
#include <map>
#include <optional>

#include "reconcile/json/encode.hpp"

namespace reconcile {
namespace {

constexpr std::size_t max_note = 1'024;     // validation of events.k8s.io/v1 (pkg/apis/core/validation/events.go)
constexpr std::size_t max_reason = 128;     // reason, action and reportingInstance, there
constexpr std::size_t max_objects = 4'096;  // of which a rate is remembered

struct Reference {
  Text api_version, kind, name_space, name, uid;
};
consteval auto describe(const Reference*) {
  return object("What the event is about.", field<&Reference::api_version>("apiVersion", ""), field<&Reference::kind>("kind", ""),
                field<&Reference::name_space>("namespace", ""), field<&Reference::name>("name", ""), field<&Reference::uid>("uid", ""));
}
struct Series {
  std::int64_t count = 0;
  MicroTime last_observed_time;
};
consteval auto describe(const Series*) {
  return object("How often it happened.", field<&Series::count>("count", ""),
                field<&Series::last_observed_time>("lastObservedTime", "", {.required = true}));
}
struct Event {
  ObjectMeta metadata;
  MicroTime event_time;
  Text type, reason, action, note, reporting_controller, reporting_instance;
  Reference regarding;
};
consteval auto describe(const Event*) {
  return object("events.k8s.io/v1 Event.", field<&Event::metadata>("metadata", ""), field<&Event::event_time>("eventTime", ""),
                field<&Event::type>("type", ""), field<&Event::reason>("reason", ""), field<&Event::action>("action", ""),
                field<&Event::note>("note", ""), field<&Event::reporting_controller>("reportingController", ""),
                field<&Event::reporting_instance>("reportingInstance", ""), field<&Event::regarding>("regarding", ""));
}
constexpr Resource resource(const Event*) { return {"events.k8s.io", "v1", "events", "Event"}; }

// At most `limit` bytes, not cut inside of a UTF-8 sequence.
std::string_view cut(std::string_view s, std::size_t limit) {
  if (s.size() <= limit) return s;
  while (limit > 0 && (static_cast<unsigned char>(s[limit]) & 0xC0) == 0x80) --limit;
  return s.substr(0, limit);
}

// A token bucket (flowcontrol.NewTokenBucketPassiveRateLimiterWithClock in client-go's events_cache.go).
struct Bucket {
  double tokens = 0;
  MonoTime at{};
  bool take(MonoTime now, double burst, std::chrono::seconds refill) {
    tokens = std::min(burst, tokens + std::chrono::duration<double>(now - at) / refill);
    at = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }
};

}  // namespace

struct Events::Impl {
  struct Open {  // a series, from its first event on
    Key object;  // the Event
    std::int64_t count = 1;
    std::int64_t written = 1;
    WallTime last{};
    MonoTime seen{}, wrote{};
    bool stored = false;  // the create has been answered
  };
  struct Sending {
    Call call;
    std::string series;  // which it belongs to
    int tries = 0;
    MonoTime not_before{};
    std::uint64_t id = 0;
  };

  Impl(Env& e, EventsOptions o, Metrics& m, Log l) : env(e), options(std::move(o)), metrics(m), log(std::move(l)) {}

  Env& env;
  EventsOptions options;
  Metrics& metrics;
  Log log;
  std::map<std::string, Open> series;
  std::map<std::string, Bucket> rates;  // by uid (or name) of the object
  std::deque<Sending> waiting;
  std::map<std::uint64_t, Handle> in_flight;
  std::uint64_t next_id = 0;
  Handle tick, limit;
  bool closing = false;
  std::function<void()> done;

  void count(std::string_view result) { metrics.add("events_total", "Events by what became of them.", {{"result", result}}); }

  void emit(const Regarding& about, const EventNote& note) {
    if (closing) return count("dropped");
    const Now now = env.now();
    const std::string key = series_key(about, note);
    if (const auto it = series.find(key); it != series.end()) {
      ++it->second.count;
      it->second.last = now.wall;
      it->second.seen = now.mono;
      count("series");
      return wake();
    }
    if (!may_speak(about, now.mono)) return count("spam");
    if (waiting.size() >= options.max_waiting) return count("dropped");
    Event event = make(about, note, now);
    series.emplace(key, Open{.object = event.metadata.key(), .last = now.wall, .seen = now.mono, .wrote = now.mono});
    push({.call = {.verb = Verb::create,
                   .resource = &resource_of<Event>,
                   .name_space = event.metadata.name_space.str(),
                   .body = encode_object("events.k8s.io/v1", "Event", type_of<Event>, &event)},
          .series = key});
    wake();
  }

  std::string series_key(const Regarding& about, const EventNote& note) const {
    std::string key = about.kind + "\n" + about.key.str() + "\n" + about.uid.str() + "\n" + note.reason.str() + "\n" + note.action.str();
    return key + (note.warning ? "\nW" : "\nN");
  }

  bool may_speak(const Regarding& about, MonoTime now) {
    if (rates.size() >= max_objects) forget_full_buckets(now);
    auto [it, fresh] = rates.try_emplace(about.kind + "/" + about.key.str());
    if (fresh) it->second = {options.burst, now};
    return it->second.take(now, options.burst, options.refill);
  }
  void forget_full_buckets(MonoTime now) {
    std::erase_if(rates, [&](const auto& entry) {
      const auto& b = entry.second;
      return b.tokens + std::chrono::duration<double>(now - b.at) / options.refill >= options.burst - 1;
    });
    if (rates.size() >= max_objects) rates.clear();  // rather a few events too many than memory without bound
  }

  Event make(const Regarding& about, const EventNote& note, Now now) {
    Event e;
    char suffix[17];
    std::snprintf(suffix, sizeof suffix, "%016llx", static_cast<unsigned long long>(env.random()));
    e.metadata.name = std::string(cut(about.key.name, 200)) + "." + suffix;
    e.metadata.name_space = about.key.name_space.empty() ? Text("default") : about.key.name_space;  // of cluster-scoped objects too
    e.event_time = {now.wall};
    e.type = note.warning ? "Warning" : "Normal";
    e.reason = cut(note.reason, max_reason);
    e.action = cut(note.action.empty() ? note.reason : note.action, max_reason);
    e.note = cut(note.note, max_note);
    e.reporting_controller = options.controller;
    e.reporting_instance = cut(options.instance.empty() ? options.controller : options.instance, max_reason);
    e.regarding = {about.api_version, about.kind, about.key.name_space, about.key.name, about.uid};
    return e;
  }

  void push(Sending sending) {
    sending.id = next_id++;
    waiting.push_back(std::move(sending));
  }

  // One timer does it all: sends what is due, writes the counts of series, ends those that are silent.
  void wake() {
    if (tick) return;
    tick = env.at(env.now().mono, [this] {
      tick.reset();
      work();
    });
  }

  void work() {
    const MonoTime now = env.now().mono;
    write_series(now);
    for (std::size_t n = waiting.size(); n > 0 && in_flight.size() < options.max_in_flight; --n) {
      Sending sending = std::move(waiting.front());
      waiting.pop_front();
      if (sending.not_before > now && !closing)
        waiting.push_back(std::move(sending));
      else
        send(std::move(sending));
    }
    if (closing && waiting.empty() && in_flight.empty()) return finish();
    if (!tick && (!series.empty() || !waiting.empty()))
      tick = env.at(now + std::chrono::seconds(1), [this] {
        tick.reset();
        work();
      });
  }

  void write_series(MonoTime now) {
    for (auto it = series.begin(); it != series.end();) {
      Open& open = it->second;
      const bool ends = now - open.seen >= options.series_end || closing;
      if (open.stored && open.count > open.written && (ends || now - open.wrote >= options.series_write)) patch(it->first, open, now);
      it = ends && (open.stored || closing) ? series.erase(it) : std::next(it);
    }
  }

  void patch(const std::string& key, Open& open, MonoTime now) {
    if (waiting.size() >= options.max_waiting) return count("dropped");
    open.written = open.count;
    open.wrote = now;
    push({.call = {.verb = Verb::merge_patch,
                   .resource = &resource_of<Event>,
                   .name_space = open.object.name_space.str(),
                   .name = open.object.name.str(),
                   .body = "{\"series\":" + encode(Series{open.count, {open.last}}) + "}"},
          .series = key});
  }

  void send(Sending sending) {
    const std::uint64_t id = sending.id;
    ++sending.tries;
    const Call call = sending.call;
    in_flight[id] = env.call(
        call, [](std::string_view) {},
        [this, sending = std::move(sending)](Result<void> end) mutable {
          in_flight.erase(sending.id);
          answered(std::move(sending), end);
          wake();
        });
  }

  void answered(Sending sending, const Result<void>& end) {
    const auto it = series.find(sending.series);
    // A create whose reply was lost may have been done: then its repetition says that it exists.
    const bool good = end || (sending.call.verb == Verb::create && end.error().code == Code::exists);
    if (good) {
      if (it != series.end()) it->second.stored = true;
      return count("sent");
    }
    const Code code = end.error().code;
    const bool again = code == Code::unavailable || code == Code::maybe_done || code == Code::throttled;
    if (again && sending.tries < options.tries && !closing && waiting.size() < options.max_waiting) {
      sending.not_before = env.now().mono + options.retry;
      waiting.push_back(std::move(sending));
      return;
    }
    if (it != series.end()) series.erase(it);  // the Event has gone (they live for an hour), or never came to be: the next one starts anew
    count("failed");
    if (code != Code::not_found) log(Level::debug, "an event was not stored", {{"error", end.error().message}});
  }

  void finish() {
    limit.reset();
    tick.reset();
    if (auto call = std::exchange(done, nullptr)) call();
  }
};

Events::Events(Env& env, EventsOptions options, Metrics& metrics, Log log)
    : impl_(std::make_unique<Impl>(env, std::move(options), metrics, std::move(log))) {}

Events::~Events() = default;

void Events::emit(const Regarding& regarding, const EventNote& note) { impl_->emit(regarding, note); }

void Events::flush(std::chrono::milliseconds limit, std::function<void()> done) {
  impl_->closing = true;
  impl_->done = std::move(done);
  impl_->limit = impl_->env.at(impl_->env.now().mono + limit, [this] { impl_->finish(); });
  impl_->tick.reset();
  impl_->wake();
}

}  // namespace reconcile
