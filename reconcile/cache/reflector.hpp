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
#pragma once
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
  // A watch is cut off when nothing came for this long: API servers send a bookmark about each minute.
  std::chrono::milliseconds watch_silence{150'000};
  std::chrono::milliseconds list_timeout{120'000};
  std::chrono::milliseconds first_backoff{800}, last_backoff{30'000};
};
struct ReflectorHooks {                   // each may be null
  std::function<void()> progressed{};     // version() moved, or synced() became true
  std::function<void()> relisted{};       // a whole new state was put in place
  std::function<void()> undecodable{};    // one more
  std::function<void()> history_broke{};  // versions moved backwards: what was written before may be gone
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
  std::uint64_t version() const { return number_; }              // the store has reached this resourceVersion, at least
  std::chrono::nanoseconds lag(MonoTime now) const;              // since the last contact while the watch is broken; 0: it is live
  const std::string& last_error() const { return last_error_; }  // for people; "" while all is well

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
  void on_change(EventType type, Ref<void> object);
  void on_undecodable(std::string_view frame, const Error& error, bool in_event);
  void on_end(Result<void> end);
  void on_broken(Error error);
  void swap_in(std::string_view version);
  void reach(std::string_view version);
  void contact();
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
  MonoTime contact_{}, opened_{};
  std::uint64_t events_ = 0;  // of this call
  std::chrono::milliseconds backoff_{0};
  std::string last_error_;
  Handle call_, timer_;
};

}  // namespace reconcile
