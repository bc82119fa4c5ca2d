#include "reconcile/cache/reflector.hpp"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "reconcile/json/decode.hpp"
#include "reconcile/kube/api_error.hpp"
#include "reconcile/kube/url.hpp"

namespace reconcile {
namespace {

using namespace std::chrono_literals;

// All that is read of an object that its own type can't read.
struct NameOnly {
  Text name, name_space, uid, resource_version;
};
consteval auto describe(const NameOnly*) {
  return object("What tells an object from others.", field<&NameOnly::name>("name", "Its name."),
                field<&NameOnly::name_space>("namespace", "Its namespace."), field<&NameOnly::uid>("uid", "Its uid."),
                field<&NameOnly::resource_version>("resourceVersion", "Its version."));
}
struct BarelyNamed {
  NameOnly metadata;
};
consteval auto describe(const BarelyNamed*) {
  return object("An object's name.", field<&BarelyNamed::metadata>("metadata", "Its metadata."));
}
struct RawEvent {
  Text type;
  Json object;
};
consteval auto describe(const RawEvent*) {
  return reconcile::object("A watch event, its object unread.", field<&RawEvent::type>("type", "What happened."),
                           field<&RawEvent::object>("object", "To whom."));
}

Unreadable name_unreadable(std::string_view text, Pool& pool) {
  Unreadable out;
  if (auto read = decode<BarelyNamed>(text, pool)) {
    out.key = {read->metadata.name_space, read->metadata.name};
    out.uid = read->metadata.uid;
    out.version = version_number(read->metadata.resource_version.view());
  }
  out.text = text;
  return out;
}

constexpr std::string_view initial_events_end = "k8s.io/initial-events-end";
// Shorter, and without an event, it was no watch: client-go's VeryShortWatchError.
constexpr auto shortest_watch = 1s;
constexpr std::size_t big_list = 1'000;

bool version_too_large(const Error& error) { return error.reason == "ResourceVersionTooLarge"; }

}  // namespace

Reflector::Reflector(Env& env, Store& store, Pool& pool, ReflectorOptions options, ReflectorHooks hooks, Log log)
    : env_(env),
      store_(store),
      pool_(pool),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      log_(std::move(log)),
      event_fields_{Field{"type", "", &type_of<EventType>, [](void* e) -> void* { return &static_cast<Event*>(e)->type; }},
                    Field{"object", "", store.kind().type, [](void* e) -> void* { return static_cast<Event*>(e)->object; }}},
      event_type_{.kind = Type::Kind::object, .fields = event_fields_},
      streaming_(options_.streaming) {}

void Reflector::start() {
  contact_ = heard_ = env_.now().mono;
  begin();
}

void Reflector::stop() {
  stopped_ = true;
  call_.reset();
  timer_.reset();
  quiet_timer_.reset();
  batch_.reset();
  phase_ = Phase::resting;
  broken_ = true;
}

void Reflector::doubt() {
  if (stopped_ || !synced_ || std::exchange(doubted_, true)) return;
  quorum_ = other_history_ = true;
  if (hooks_.history_broke) hooks_.history_broke();
  on_broken({Code::gone, "the versions show that a watch has missed something: all is read again"});
}

bool Reflector::reread() {
  if (stopped_ || !synced_ || phase_ != Phase::watching) return false;
  quorum_ = true;
  begin();
  return true;
}

void Reflector::begin() {
  if (stopped_) return;
  if (streaming_ && failed_streams_ < 2)
    stream();
  else
    list();
}

std::string Reflector::query(std::string_view more) const {
  std::string out = options_.selector;
  if (!out.empty() && !more.empty()) out += '&';
  return out.append(more);
}

Call Reflector::call(Verb verb, std::string query) const {
  Call call{.cluster = options_.cluster, .verb = verb, .resource = store_.kind().resource, .query = std::move(query)};
  call.name_space = options_.name_space;
  call.timeout = verb == Verb::watch ? options_.watch_silence : options_.list_timeout;
  return call;
}

// reflector.go, watchList(): without a version the server answers with its newest state (from its cache, once that has caught up with
// etcd); with one, with anything that is not older.
void Reflector::stream() {
  phase_ = Phase::filling;
  batch_.emplace(store_, !other_history_);
  events_ = 0;
  opened_ = env_.now().mono;
  const auto length = options_.watch_length.count() + static_cast<std::int64_t>(env_.random() % (options_.watch_length.count() + 1));
  newest_ = quorum_ || version_.empty();
  accepted_ = false;
  look_later(opened_ + options_.quiet);
  std::string more =
      "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=" + std::to_string(length) +
      "&resourceVersion=" + (quorum_ ? std::string() : percent_encode(version_));
  call_ = env_.call(
      call(Verb::watch, query(more)), [this](std::string_view frame) { on_event(frame); },
      [this](Result<void> end) { on_end(std::move(end)); });
}

// reflector.go, relistResourceVersion(): "0" (whatever the server's cache has) at first, then nothing older than what we have seen, and a
// quorum read when that failed.
void Reflector::list() {
  phase_ = Phase::listing;
  batch_.emplace(store_, !other_history_);
  list_version_.clear();
  opened_ = env_.now().mono;
  std::string more;
  newest_ = quorum_;
  if (!quorum_) more = "resourceVersion=" + (version_.empty() ? std::string("0") : percent_encode(version_));
  call_ = env_.call(
      call(Verb::list, query(more)), [this](std::string_view frame) { on_item(frame); },
      [this](Result<void> end) { on_end(std::move(end)); });
}

void Reflector::watch() {
  if (stopped_) return;
  phase_ = Phase::watching;
  batch_.reset();
  events_ = 0;
  opened_ = env_.now().mono;
  const auto length = options_.watch_length.count() + static_cast<std::int64_t>(env_.random() % (options_.watch_length.count() + 1));
  accepted_ = false;
  look_later(opened_ + options_.quiet);
  std::string more = "resourceVersion=" + percent_encode(version_) + "&allowWatchBookmarks=true&timeoutSeconds=" + std::to_string(length);
  call_ = env_.call(
      call(Verb::watch, query(more)), [this](std::string_view frame) { on_event(frame); },
      [this](Result<void> end) { on_end(std::move(end)); });
}

// What is being read says nothing of what the store has.
void Reflector::hear() {
  heard_ = env_.now().mono;
  if (phase_ != Phase::watching) return;
  contact_ = heard_;
  broken_ = false;
  refusal_.reset();
}

void Reflector::look_later(MonoTime when) {
  quiet_timer_ = env_.at(when, [this] { on_quiet(); });
}

// One timer a watch, that moves when it is due and not at each event.
void Reflector::on_quiet() {
  if (stopped_ || (phase_ != Phase::watching && phase_ != Phase::filling)) return;
  // What is not accepted yet ends by itself: Call::timeout.
  const auto now = env_.now().mono;
  const auto due = std::max(heard_, opened_) + options_.quiet;
  if (accepted_ && phase_ == Phase::watching && now >= due) return watch();
  look_later(due > now ? due : now + options_.quiet);
}

void Reflector::reach(std::string_view version) {
  if (version.empty() || version == version_) return;
  version_ = version;
  number_ = version_number(version);
}

// The list's own metadata comes as the last frame; an object always has a name.
void Reflector::on_item(std::string_view frame) {
  take_item(frame);
  if (hooks_.took && !stopped_) hooks_.took(frame.size());
}

void Reflector::take_item(std::string_view frame) {
  hear();
  auto object = store_.kind().make();
  if (auto read = decode(frame, *store_.kind().type, object.get(), pool_, UnknownWords::kept); !read)
    return on_undecodable(frame, read.error(), false);
  const ObjectMeta& meta = store_.kind().meta(object.get());
  if (meta.name.empty())
    list_version_ = meta.resource_version.str();
  else
    batch_->add(std::move(object), env_.now().mono);
}

void Reflector::on_event(std::string_view frame) {
  if (frame.empty()) {
    accepted_ = true;
    return hear();
  }
  take_event(frame);
  if (hooks_.took && !stopped_) hooks_.took(frame.size());
}

void Reflector::take_event(std::string_view frame) {
  if (auto error = watch_error(frame)) return on_broken(std::move(*error));
  auto object = store_.kind().make();
  Event event{.object = object.get()};
  ++events_;
  if (auto read = decode(frame, event_type_, &event, pool_, UnknownWords::kept); !read) return on_undecodable(frame, read.error(), true);
  on_change(event.type, std::move(object));
}

void Reflector::on_change(EventType type, Ref<void> object) {
  hear();
  const ObjectMeta& meta = store_.kind().meta(object.get());
  const std::string version = meta.resource_version.str();
  if (phase_ == Phase::filling) {  // the initial events come by key, not by version
    if (type == EventType::bookmark && meta.annotations.get(initial_events_end) == "true") {
      phase_ = Phase::watching;
      return swap_in(version);
    }
    if (type == EventType::deleted)
      batch_->erase(meta.name_space.view(), meta.name.view());
    else if (type != EventType::bookmark)
      batch_->add(std::move(object), env_.now().mono);
    return;
  }
  if (const auto number = version_number(version); number != 0 && number < number_) {
    log_(Level::warning, "resource versions moved backwards", {{"from", version_}, {"to", version}});
    return doubt();
  }
  reach(version);
  if (type == EventType::deleted)
    store_.remove(meta.name_space.view(), meta.name.view(), number_);
  else if (type != EventType::bookmark)
    store_.put(std::move(object), env_.now().mono);
  if (hooks_.progressed) hooks_.progressed();
}

void Reflector::on_undecodable(std::string_view frame, const Error& error, bool in_event) {
  hear();
  if (hooks_.undecodable) hooks_.undecodable();
  RawEvent event;
  if (in_event) {
    Pool pool;  // the text isn't worth a place among those that many share
    if (auto read = decode<RawEvent>(frame, pool)) event = std::move(*read);
    frame = event.object.raw.view();
  }
  auto object = name_unreadable(frame, pool_);
  const Key key = object.key;
  const auto version = object.version;
  log_(Level::error, "an object can't be read; what was last read of it stands",
       {{"cluster", options_.cluster},
        {"resource", std::string(store_.kind().resource->plural)},
        {"object", key.str()},
        {"resourceVersion", std::to_string(version)},
        {"error", error.message}});
  const bool gone = event.type == "DELETED";
  if (phase_ == Phase::watching) {
    if (version != 0) reach(std::to_string(version));
    if (gone)
      store_.remove(key.name_space.view(), key.name.view(), version);
    else if (event.type != "BOOKMARK")
      store_.put_unreadable(std::move(object));
    if (hooks_.progressed) hooks_.progressed();
  } else if (batch_) {
    if (gone)
      batch_->erase(key.name_space.view(), key.name.view());
    else if (event.type != "BOOKMARK")
      batch_->keep(std::move(object));
  }
}

void Reflector::swap_in(std::string_view version) {
  const auto number = version_number(version);
  const bool backwards = number != 0 && number < number_;
  const bool big = batch_->size() >= big_list;
  store_.replace(std::move(*batch_), backwards || other_history_);
  batch_.reset();
  reach(version);
  synced_ = true;
  broken_ = false;
  contact_ = heard_ = env_.now().mono;
  refusal_.reset();
  if (newest_) read_ = opened_;
  quorum_ = doubted_ = other_history_ = false;
  failed_streams_ = 0;
  last_error_.clear();
  if (big) malloc_trim(0);  // glibc keeps the spike of a list otherwise
  if (backwards && hooks_.history_broke) {
    doubted_ = true;  // the others are; this one has just been read
    hooks_.history_broke();
    doubted_ = false;
  }
  if (hooks_.relisted) hooks_.relisted();
  if (hooks_.progressed) hooks_.progressed();
}

void Reflector::on_end(Result<void> end) {
  if (!end) return on_broken(std::move(end.error()));
  const auto lasted = env_.now().mono - opened_;
  if (phase_ == Phase::listing) {
    if (list_version_.empty()) return on_broken({Code::unavailable, "a list without a resourceVersion"});
    swap_in(list_version_);
    return watch();
  }
  if (phase_ == Phase::filling) return on_broken({Code::unavailable, "the stream ended before the first list was complete"});
  if (lasted < shortest_watch) {
    if (events_ == 0) return on_broken({Code::unavailable, "the watch ended at once, without an event"});
    hear();
    return rest(0ms, &Reflector::watch);  // a server that cuts every watch must not be asked as fast as it can
  }
  hear();
  backoff_ = 0ms;
  watch();
}

// What comes next depends on what we know: the version that we could go on from, and whether the server still has it.
void Reflector::on_broken(Error error) {
  call_.reset();
  const auto lasted = env_.now().mono - opened_;
  const Phase phase = std::exchange(phase_, Phase::resting);
  batch_.reset();
  broken_ = true;
  last_error_ = error.message;
  if (error.code == Code::forbidden) refusal_ = error;
  log_(Level::warning, phase == Phase::watching ? "the watch broke" : "the first list failed",
       {{"cluster", options_.cluster},
        {"resource", std::string(store_.kind().resource->plural)},
        {"code", std::string(code_name(error.code))},
        {"error", error.message}});
  if (phase == Phase::watching && lasted > 30s) backoff_ = 0ms;
  if (version_too_large(error)) quorum_ = other_history_ = true;
  const bool later = error.code == Code::throttled || error.code == Code::unavailable || error.code == Code::maybe_done;
  if (phase == Phase::watching && later && !version_too_large(error)) return rest(error.retry_after, &Reflector::watch);
  if (phase == Phase::filling) {
    if (error.code == Code::invalid) {  // WatchList is off there: "sendInitialEvents is forbidden for watch unless ..."
      streaming_ = false;
      return list();
    }
    if (error.code == Code::gone) quorum_ = true;
    if (error.code != Code::throttled && error.code != Code::forbidden) ++failed_streams_;
  }
  if (phase == Phase::listing) {
    failed_streams_ = 0;  // the next round may try to stream again
    if (error.code == Code::gone) quorum_ = true;
  }
  rest(error.retry_after, &Reflector::begin);
}

void Reflector::rest(std::chrono::milliseconds at_least, void (Reflector::*then)()) {
  if (stopped_) return;
  phase_ = Phase::resting;
  backoff_ = backoff_ == 0ms ? options_.first_backoff : std::min(2 * backoff_, options_.last_backoff);
  const auto jitter = std::chrono::milliseconds(env_.random() % static_cast<std::uint64_t>(backoff_.count() / 2 + 1));
  timer_ = env_.at(env_.now().mono + std::max(at_least, backoff_ / 2 + jitter), [this, then] { (this->*then)(); });
}

// A broken watch was last heard of at its last event or bookmark: on the safe side, as it may have been dead since then.
std::chrono::nanoseconds Reflector::lag(MonoTime now) const { return broken_ || now - contact_ > options_.contact ? now - contact_ : 0ns; }

}  // namespace reconcile
