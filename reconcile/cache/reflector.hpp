// Reflector: keeps a Store equal to what the API server has, by list and watch (client-go's tools/cache/reflector.go). For the Env's
// thread only.
//
// It streams the first list over the watch itself (KEP-3157: sendInitialEvents), fills a batch, and swaps it in at the bookmark annotated
// k8s.io/initial-events-end; the stream goes on as the watch. A server that refuses that gets the classic list, then watch. Whatever
// breaks is tried again for ever, 0.8 s to 30 s apart with jitter; meanwhile the store serves what it last knew, and lag() says for how
// long.
//
// A watch is resumed from the last version seen. Started over are: 410 or an ERROR event (Expired); a version that is "too large" (the
// server has not seen it: read again with a quorum); versions that move backwards (an etcd that was restored: read with a quorum).
// An object that can't be decoded is counted, logged with its name, and stays as it last was.
//
// Of a watch the Env hands out an empty frame when the server's header has come, before any event: only then it is accepted.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/cache/store.hpp"

namespace reconcile {

struct ReflectorOptions {
  std::string cluster{};     // connection id
  std::string name_space{};  // "": all
  std::string selector{};    // "labelSelector=...", encoded; "": all
  bool streaming = true;     // false: list, then watch
  // The server ends a watch after a random time between this and twice this.
  std::chrono::seconds watch_length{300};
  // A watch is cut off when nothing came for this long.
  std::chrono::milliseconds watch_silence{150'000};
  // A watch on which nothing came for this long is asked for again from where it is. API servers send a bookmark each minute, but not of a
  // kind in which nothing has happened since they started (k8s.io/apiserver storage/cacher, dispatchEvents): the new watch's header shows
  // that a resting kind is only at rest. A server that is frozen sends none.
  std::chrono::milliseconds quiet{65'000};
  std::chrono::milliseconds contact{75'000};  // a watch has contact while its header or a frame came within this
  std::chrono::milliseconds list_timeout{120'000};
  std::chrono::milliseconds first_backoff{800}, last_backoff{30'000};
};
struct ReflectorHooks {                   // each may be null
  std::function<void()> progressed{};     // version() moved, or synced() became true
  std::function<void()> relisted{};       // a whole new state was put in place
  std::function<void()> undecodable{};    // one more
  std::function<void()> history_broke{};  // versions moved backwards: what was written before may be gone
  // A frame of so many bytes was taken: size() and bytes() may have grown. It may end this reflector.
  std::function<void(std::size_t)> took{};
};

class Reflector {
 public:
  Reflector(Env& env, Store& store, Pool& pool, ReflectorOptions options, ReflectorHooks hooks, Log log);
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;

  void start();
  void stop();                             // for good; the store stays as it is
  void doubt();                            // somebody has seen that the store can't be right: reads all of it again, with a quorum
  bool synced() const { return synced_; }  // the first list is complete
  // Reads all of it again, with a quorum, while the store serves what it has. False: not now, it has trouble or reads already.
  bool reread();
  std::uint64_t version() const { return number_; }  // the store has reached this resourceVersion, at least
  // Since the last contact, while the watch is broken or without contact; 0: it is live.
  std::chrono::nanoseconds lag(MonoTime now) const;
  // When the store was last known to follow the server: a header or a frame of its watch came, or a new state was put in place.
  MonoTime contact() const { return contact_; }
  MonoTime heard() const { return heard_; }  // the same, but also of what is being read
  MonoTime read() const { return read_; }    // when the last read of the server's *newest* state that is in place began
  // What it holds, with what is being read.
  std::size_t size() const { return std::max(store_.size(), batch_ ? batch_->size() : 0); }
  std::size_t bytes() const { return store_.bytes() + (batch_ ? batch_->bytes() : 0); }
  bool doubted() const { return doubted_; }                         // the store is known to be wrong, and is being read again
  const std::optional<Error>& refusal() const { return refusal_; }  // the server has said that we may not; null once it lets us
  const std::string& last_error() const { return last_error_; }     // for people; "" while all is well

 private:
  enum class Phase : std::uint8_t { resting, filling, listing, watching };
  // {"type": ..., "object": {...}}; the object goes where `object` points.
  enum class EventType : std::uint8_t { added, modified, deleted, bookmark, error };
  friend consteval auto describe(const EventType*) {
    return names("What happened (metav1.WatchEvent).", "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR");
  }
  struct Event {
    EventType type{};
    void* object = nullptr;
  };

  void begin();  // from nothing, or over: by stream or by list
  void stream();
  void list();
  void watch();
  void fallback();
  void on_item(std::string_view frame);
  void on_event(std::string_view frame);
  void take_item(std::string_view frame);
  void take_event(std::string_view frame);
  void on_change(EventType type, Ref<void> object);
  void on_undecodable(std::string_view frame, const Error& error, bool in_event);
  void on_end(Result<void> end);
  void on_broken(Error error);
  void swap_in(std::string_view version);
  void reach(std::string_view version);
  void hear();
  void look_later(MonoTime when);
  void on_quiet();
  void rest(std::chrono::milliseconds at_least, void (Reflector::*then)());
  std::string query(std::string_view more) const;
  Call call(Verb verb, std::string query) const;

  Env& env_;
  Store& store_;
  Pool& pool_;
  ReflectorOptions options_;
  ReflectorHooks hooks_;
  Log log_;
  std::array<Field, 2> event_fields_;
  Type event_type_;

  Phase phase_ = Phase::resting;
  bool streaming_;
  bool stopped_ = false;
  bool synced_ = false;
  bool doubted_ = false;        // no other word of it until it has been read
  bool other_history_ = false;  // perhaps: then equal versions prove nothing
  bool quorum_ = false;         // the next read asks for the newest state, whatever it costs the server
  int failed_streams_ = 0;      // in a row
  std::string version_;         // last seen, "" before the first
  std::uint64_t number_ = 0;    // the same as a number
  std::optional<Store::Batch> batch_;
  std::string list_version_;
  bool broken_ = true;
  bool accepted_ = false;  // the header of this call has come
  bool newest_ = false;    // this call reads the newest state
  std::optional<Error> refusal_;
  MonoTime contact_{}, heard_{}, opened_{}, read_{MonoTime::min()};
  std::uint64_t events_ = 0;  // of this call
  std::chrono::milliseconds backoff_{0};
  std::string last_error_;
  Handle call_, timer_, quiet_timer_;
};

}  // namespace reconcile
