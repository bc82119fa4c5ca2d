#include "reconcile/run/lease.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "reconcile/cache/store.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/url.hpp"

namespace reconcile {

using namespace std::chrono_literals;
using Record = reconcile::Lease;  // the object of the API

Result<void> validate(const LeaseOptions& o) {
  if (o.name_space.empty() || o.name.empty() || o.identity.empty())
    return fail(Code::invalid, "a lease needs a namespace, a name and an identity");
  if (o.duration <= o.renew_deadline) return fail(Code::invalid, "the lease must last longer than its renew deadline");
  if (10 * o.renew_deadline <= 12 * o.retry_period) return fail(Code::invalid, "the renew deadline must be more than 1.2 retry periods");
  if (o.retry_period <= 0ms || o.duration % 1s != 0ms) return fail(Code::invalid, "the lease's duration must be in whole seconds");
  return {};
}

struct Leadership::Impl {
  Leadership& self;
  Env& env;
  Log log;
  Pool pool;
  std::function<void(bool)> changed;

  bool leading = false, released = false;
  std::optional<Record> known;  // the object as last read or written
  MonoTime observed{};          // when that version of it was first seen
  std::int64_t attempted = -1;  // the generation that a write of ours was sent with, while we don't know that it was not done ...
  WallTime attempted_at{};      // ... and the renewTime in it, which tells our record from a namesake's
  std::optional<WallTime> found, unrenewed;  // the renewTime that an acquisition replaces; of the last one that succeeded
  std::int64_t held = -1;                    // our last generation in this process; -1: never
  Handle call, timer, expiry, watch, watch_timer;

  Impl(Leadership& s, Env& e, Log l) : self(s), env(e), log(std::move(l)) {}
  const LeaseOptions& options() const { return self.options_; }

  Call request(Verb verb, std::string body = {}) const {
    Call c{.verb = verb, .resource = &resource_of<Record>, .name_space = options().name_space, .body = std::move(body)};
    if (verb != Verb::create && verb != Verb::watch) c.name = options().name;
    c.timeout = options().renew_deadline / 2;
    return c;
  }

  // ---- trying ----

  void again_in(std::chrono::nanoseconds delay) {
    timer = env.at(env.now().mono + delay, [this] { attempt(); });
  }
  // wait.JitterUntil(retryPeriod, 1.2) for candidates, so that they don't knock together.
  void again_later() {
    auto delay = std::chrono::nanoseconds(options().retry_period);
    if (!leading) {
      delay += std::chrono::nanoseconds(env.random() % static_cast<std::uint64_t>(delay.count() / 5 + 1));
      if (known && !known->spec.holder_identity.empty()) {
        const auto left = observed + lasts(*known) - env.now().mono + 1ms;
        if (left > 0ns) delay = std::min(delay, left);
      }
    }
    again_in(delay);
  }
  void attempt() {
    if (released) return;
    if (leading && known) return write(*known, false);  // renewing needs no read: the resourceVersion tells whether it is still ours
    auto body = std::make_shared<std::string>();
    call = env.call(
        request(Verb::get), [body](std::string_view frame) { body->assign(frame); },
        [this, body](Result<void> end) {
          if (!end) {
            if (end.error().code == Code::not_found) return create();
            trouble("the lease can't be read", end.error());
            return again_later();
          }
          auto record = decode<Record>(*body, pool);
          if (!record) {
            trouble("the lease can't be read", record.error());
            return again_later();
          }
          observe(std::move(*record));
          decide();
        });
  }
  void observe(Record record) {
    if (known && known->metadata.resource_version == record.metadata.resource_version) return;
    known = std::move(record);
    observed = env.now().mono;
  }
  std::chrono::nanoseconds lasts(const Record& record) const {
    return std::max<std::chrono::nanoseconds>(options().duration, record.spec.lease_duration.value_or(0s));
  }
  // Whose is it? Ours from before, ours by a write whose reply was lost, nobody's, or another's: then until it has ended.
  void decide() {
    const auto& spec = known->spec;
    const auto generation = spec.lease_transitions.value_or(0);
    if (spec.holder_identity == options().identity) {
      if (generation == held) return write(*known, !leading);
      if (generation == attempted && spec.renew_time.time == attempted_at) return write(*known, false);  // its reply was lost
      if (leading) lose("another process holds the lease in our name");
      if (held < 0) return write(*known, true);
    } else if (leading) {
      lose("the lease was taken by " + spec.holder_identity.str());
    }
    if (spec.holder_identity.empty() || env.now().mono > observed + lasts(*known)) return write(*known, true);
    again_later();
  }

  // ---- writing ----

  std::string spec_json(std::int64_t generation, bool acquire) {
    const auto now = env.now().wall;
    attempted = generation;
    attempted_at = now;
    std::string out = "{\"holderIdentity\":" + quote(options().identity) + ",\"leaseDurationSeconds\":" +
                      std::to_string(std::chrono::duration_cast<std::chrono::seconds>(options().duration).count()) + ",\"renewTime\":\"" +
                      format_rfc3339_micro(now) + "\"";
    if (acquire) out += ",\"acquireTime\":\"" + format_rfc3339_micro(now) + "\",\"leaseTransitions\":" + std::to_string(generation);
    return out + "}";
  }
  void create() {
    known.reset();
    found.reset();
    if (leading) lose("the lease was deleted");
    const auto generation = held + 1;
    send(request(Verb::create, R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":)" + quote(options().name) +
                                   ",\"namespace\":" + quote(options().name_space) + "},\"spec\":" + spec_json(generation, true) + "}"));
  }
  // A merge patch with uid and resourceVersion is a compare-and-swap that leaves others' labels alone.
  void write(const Record& from, bool acquire) {
    if (acquire) found = from.spec.renew_time.time;
    const auto generation = from.spec.lease_transitions.value_or(0) + (acquire ? 1 : 0);
    send(request(Verb::merge_patch, "{\"metadata\":{\"uid\":" + quote(from.metadata.uid.view()) +
                                        ",\"resourceVersion\":" + quote(from.metadata.resource_version.view()) +
                                        "},\"spec\":" + spec_json(generation, acquire) + "}"));
  }
  void send(Call request) {
    const auto sent = env.now().mono;  // our right counts from here: nobody can have seen the record earlier
    auto body = std::make_shared<std::string>();
    call = env.call(
        std::move(request), [body](std::string_view frame) { body->assign(frame); },
        [this, body, sent](Result<void> end) {
          auto record = end ? decode<Record>(*body, pool) : Result<Record>(fail(end.error()));
          if (record) return won(std::move(*record), sent);
          if (record.error().code != Code::maybe_done) attempted = -1;
          if (record.error().code == Code::conflict || record.error().code == Code::exists) {
            known.reset();
            if (leading) return read_now();
          } else {
            trouble("the lease can't be written", record.error());
            if (record.error().code == Code::not_found || record.error().code == Code::maybe_done || record.error().code == Code::invalid)
              if (leading) return read_soon();
          }
          again_later();
        });
  }
  // After a conflict or a lost reply a holder reads before it writes, without giving up what it surely still has.
  void read_now() { read_then_decide(0ns); }
  void read_soon() { read_then_decide(options().retry_period / 2); }
  void read_then_decide(std::chrono::nanoseconds delay) {
    known.reset();
    again_in(delay);
  }

  void won(Record record, MonoTime sent) {
    observe(std::move(record));
    const auto generation = known->spec.lease_transitions.value_or(0);
    const auto deadline = sent + options().renew_deadline;
    if (env.now().mono >= deadline) return again_in(0ns);  // the answer took too long: it is ours, but for how long we don't know
    if (!leading && generation == held)
      return write(*known, true);  // it was lost and regained: an acquisition, with a generation of its own
    const bool was = std::exchange(leading, true);
    held = generation;
    self.generation_.store(generation, std::memory_order_release);
    self.deadline_.store(deadline.time_since_epoch().count(), std::memory_order_release);
    expiry = env.at(deadline, [this] { lose("it could not be renewed in time"); });
    again_in(std::max<std::chrono::nanoseconds>(sent + options().retry_period - env.now().mono, 0ns));
    if (was) return;
    unrenewed = found;
    watch.reset();
    watch_timer.reset();
    log(Level::info, "leading", {{"lease", name()}, {"identity", options().identity}, {"generation", std::to_string(generation)}});
    changed(true);
  }
  void lose(const std::string& why) {
    if (!std::exchange(leading, false)) return;
    self.deadline_.store(0, std::memory_order_release);
    expiry.reset();
    log(Level::error, "no longer leading", {{"lease", name()}, {"identity", options().identity}, {"why", why}});
    changed(false);
    start_watch();
  }
  void trouble(std::string_view what, const Error& error) const {
    log(Level::warning, what, {{"lease", name()}, {"code", std::string(code_name(error.code))}, {"error", error.message}});
  }
  std::string name() const { return options().name_space + "/" + options().name; }

  // ---- a candidate watches, so that a released lease is taken at once ----

  void start_watch() {
    if (released || leading) return;
    Call c = request(Verb::watch);
    c.query =
        "fieldSelector=metadata.name%3D" + percent_encode(options().name) + "&timeoutSeconds=" + std::to_string(300 + env.random() % 300);
    c.timeout = 10 * options().duration;
    watch = env.call(
        std::move(c), [this](std::string_view frame) { on_event(frame); },
        [this](Result<void>) { watch_timer = env.at(env.now().mono + 2 * options().retry_period, [this] { start_watch(); }); });
  }
  struct Event {
    Text type;
    Record object;
  };
  friend consteval auto describe(const Event*) {
    return reconcile::object("A change of the lease.", field<&Event::type>("type", "What happened."),
                             field<&Event::object>("object", "The lease."));
  }
  void on_event(std::string_view frame) {
    auto event = decode<Event>(frame, pool);
    if (!event || leading || released) return;
    const bool gone = event->type == "DELETED";
    if (!gone && event->type != "ADDED" && event->type != "MODIFIED") return;
    const bool newer = !known || version_number(event->object.metadata.resource_version) > version_number(known->metadata.resource_version);
    if (!newer) return;
    const bool free = gone || event->object.spec.holder_identity.empty();
    if (!gone) observe(std::move(event->object));
    if (free) again_in(0ns);
  }

  // ---- giving it back ----

  void release(std::function<void()> done) {
    const bool was = std::exchange(leading, false);
    released = true;
    self.deadline_.store(0, std::memory_order_release);
    for (Handle* h : {&call, &timer, &expiry, &watch, &watch_timer}) h->reset();
    const auto finish = std::make_shared<std::function<void()>>(std::move(done));
    const auto end = [this, finish] {
      expiry.reset();
      call.reset();
      if (auto f = std::exchange(*finish, nullptr)) f();
    };
    if (!was) {
      timer = env.at(env.now().mono, end);
      return;
    }
    expiry = env.at(env.now().mono + options().renew_deadline / 2, end);
    give_back(end);
  }
  // A renewal may still be on its way: what it did is read first, and once more when it comes in between.
  void give_back(const std::function<void()>& end) {
    auto body = std::make_shared<std::string>();
    call = env.call(
        request(Verb::get), [body](std::string_view frame) { body->assign(frame); },
        [this, body, end](Result<void> read) {
          auto record = read ? decode<Record>(*body, pool) : Result<Record>(fail(read.error()));
          if (!record || record->spec.holder_identity != options().identity || record->spec.lease_transitions.value_or(0) != held)
            return end();
          // leaderelection.go, release(): one second, so that even who doesn't know an empty holder takes it soon.
          const std::string patch = "{\"metadata\":{\"uid\":" + quote(record->metadata.uid.view()) +
                                    ",\"resourceVersion\":" + quote(record->metadata.resource_version.view()) +
                                    "},\"spec\":{\"holderIdentity\":null,\"leaseDurationSeconds\":1,\"renewTime\":\"" +
                                    format_rfc3339_micro(env.now().wall) + "\"}}";
          call = env.call(
              request(Verb::merge_patch, patch), [](std::string_view) {},
              [this, end](Result<void> written) {
                if (!written && written.error().code == Code::conflict) return give_back(end);
                if (written)
                  log(Level::info, "the lease is given back", {{"lease", name()}});
                else
                  trouble("the lease could not be given back", written.error());
                end();
              });
        });
  }
};

Leadership::Leadership(Env& env, LeaseOptions options, Log log)
    : options_(std::move(options)), impl_(std::make_unique<Impl>(*this, env, std::move(log))) {
  if (auto good = validate(options_); !good) throw std::invalid_argument(good.error().message);
}
Leadership::~Leadership() = default;

void Leadership::start(std::function<void(bool)> changed) {
  impl_->changed = std::move(changed);
  impl_->again_in(0ns);
  impl_->start_watch();
}

std::optional<WallTime> Leadership::unrenewed_since() const { return impl_->unrenewed; }

void Leadership::release(std::function<void()> done) { impl_->release(std::move(done)); }

std::chrono::nanoseconds Leadership::time_to_act(MonoTime now) const {
  const auto deadline = deadline_.load(std::memory_order_acquire);
  if (deadline == 0) return 0ns;
  return std::max<std::chrono::nanoseconds>(MonoTime(std::chrono::nanoseconds(deadline)) - now, 0ns);
}

}  // namespace reconcile
