// Connections: the API servers besides the meta cluster: connects and disconnects them as plans wish, and asks each of them, and the meta
// cluster, every 10 s how it is. For the Env's thread only.
//
// The kubeconfig is read from its Secret (data key `value`, as Cluster API writes it), once a minute again for as long as it is wished for
// (credentials rotate), and never kept: only a hash of it is.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "reconcile/run/loop.hpp"

namespace reconcile {

struct ConnectionsOptions {
  std::chrono::milliseconds probe_period{10'000}, probe_timeout{5'000}, reread{60'000}, retry{5'000};
};
struct ConnectionsHooks {
  std::function<void(const std::string& cluster)> connected;                              // its watches may be started
  std::function<void(const std::string& cluster)> disconnected;                           // and must be ended
  std::function<void(const std::string& cluster)> changed;                                // state() is another
  std::function<void(const std::string& cluster, std::optional<MonoTime> since)> silent;  // no answer since then; nullopt: it answers
};

class Connections {
 public:
  Connections(Env& env, ConnectionsOptions options, ConnectionsHooks hooks, Log log);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  void start();                        // probes the meta cluster from now on
  void wish(const ConnectWish& wish);  // idempotent; the id "" is always there
  ConnectionState state(std::string_view cluster) const;
  std::vector<std::string> ids() const;     // that are connected, "" included
  std::vector<std::string> wished() const;  // the same, and those that can't be yet

 private:
  struct Entry;
  void read_secret(const std::string& cluster);
  void use_secret(const std::string& cluster, Result<std::string> body);
  void probe(const std::string& cluster);
  void answered(const std::string& cluster, Result<void> end, std::string version);
  void set(Entry& entry, const std::string& cluster, ConditionStatus reachable, std::string message);
  Entry* find(std::string_view cluster) const;

  Env& env_;
  ConnectionsOptions options_;
  ConnectionsHooks hooks_;
  Log log_;
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> entries_;
};

}  // namespace reconcile
