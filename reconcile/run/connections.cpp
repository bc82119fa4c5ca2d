#include "reconcile/run/connections.hpp"

#include <openssl/crypto.h>

#include <optional>
#include <vector>

#include "reconcile/json/decode.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/secret.hpp"
#include "reconcile/run/reference.hpp"

namespace reconcile {
namespace {

using namespace std::chrono_literals;

struct Version {
  Text git_version;
};
consteval auto describe(const Version*) {
  return object("What /version answers.", field<&Version::git_version>("gitVersion", "E.g. v1.34.4."));
}

}  // namespace

struct Connections::Entry {
  ConnectionState state;
  Text secret_namespace, secret_name;
  std::size_t hash = 0;               // of the kubeconfig in use
  MonoTime answered{};                // the last good probe
  std::optional<MonoTime> versioned;  // when it last said its version
  int failures = 0;                   // of probes, in a row
  std::string reply;                  // of the probe under way
  std::string trouble;                // with its Secret, as it was logged last: it is looked at each few seconds
  Handle call, probe, timer, reread;
};

Connections::Connections(Env& env, ConnectionsOptions options, ConnectionsHooks hooks, Log log)
    : env_(env), options_(options), hooks_(std::move(hooks)), log_(std::move(log)) {
  entries_[""] = std::make_unique<Entry>();
  entries_[""]->state.known = true;
}
Connections::~Connections() = default;

Connections::Entry* Connections::find(std::string_view cluster) const {
  const auto it = entries_.find(cluster);
  return it == entries_.end() ? nullptr : it->second.get();
}

void Connections::start() {
  entries_[""]->answered = env_.now().mono;
  probe("");
}

ConnectionState Connections::state(std::string_view cluster) const {
  const auto* e = find(cluster);
  return e ? e->state : ConnectionState{};
}

std::vector<std::string> Connections::ids() const {
  std::vector<std::string> out;
  for (const auto& [id, e] : entries_)
    if (e->state.known) out.push_back(id);
  return out;
}

std::vector<std::string> Connections::wished() const {
  std::vector<std::string> out;
  for (const auto& [id, e] : entries_) out.push_back(id);
  return out;
}

void Connections::wish(const ConnectWish& wish) {
  if (wish.cluster.empty()) return;
  auto* e = find(wish.cluster);
  if (!wish.connected) {
    if (!e) return;
    const bool known = e->state.known;
    entries_.erase(wish.cluster);
    if (known) {
      hooks_.disconnected(wish.cluster);
      env_.disconnect(wish.cluster);
      log_(Level::info, "disconnected", {{"cluster", wish.cluster}});
    }
    return;
  }
  const bool fresh = !e;
  if (fresh) e = (entries_[wish.cluster] = std::make_unique<Entry>()).get();
  const bool moved = e->secret_name != wish.secret_name || e->secret_namespace != wish.secret_namespace;
  e->secret_namespace = wish.secret_namespace;
  e->secret_name = wish.secret_name;
  if (fresh || moved) read_secret(wish.cluster);
}

void Connections::read_secret(const std::string& cluster) {
  auto& e = *find(cluster);
  Call call{.verb = Verb::get, .resource = &resource_of<SecretData>, .name_space = e.secret_namespace.str(), .name = e.secret_name.str()};
  call.timeout = options_.probe_timeout;
  auto body = std::make_shared<std::string>();
  e.call = env_.call(
      std::move(call), [body](std::string_view frame) { body->assign(frame); },
      [this, cluster, body](Result<void> end) {
        auto* entry = find(cluster);
        const Handle held = std::move(entry->call);
        entry->call = nullptr;
        use_secret(cluster, end ? Result<std::string>(std::move(*body)) : Result<std::string>(fail(std::move(end.error()))));
        OPENSSL_cleanse(body->data(), body->size());
        entry->reread =
            env_.at(env_.now().mono + (entry->state.known ? options_.reread : options_.retry), [this, cluster] { read_secret(cluster); });
      });
}

// A Secret that can't be used leaves a connection that stands as it is.
void Connections::use_secret(const std::string& cluster, Result<std::string> body) {
  auto& e = *find(cluster);
  const std::string where = "Secret " + e.secret_namespace.str() + "/" + e.secret_name.str();
  const auto trouble = [&](const std::string& what) {
    if (std::exchange(e.trouble, what) != what)
      log_(Level::warning, "a connection can't be made", {{"cluster", cluster}, {"error", where + ": " + what}});
    if (!e.state.known) set(e, cluster, ConditionStatus::unknown, where + ": " + what);
  };
  if (!body) return trouble(body.error().message);
  Pool pool;
  auto secret = decode<SecretData>(*body, pool);
  OPENSSL_cleanse(body->data(), body->size());
  if (!secret) return trouble(secret.error().message);
  auto kubeconfig = from_base64(secret->data.get("value"));
  if (!kubeconfig) return trouble("data.value: expected a kubeconfig in base64");
  const auto hash = std::hash<std::string>{}(*kubeconfig);
  if (e.state.known && hash == e.hash) e.trouble.clear();
  if (e.state.known && hash == e.hash) {
    OPENSSL_cleanse(kubeconfig->data(), kubeconfig->size());
    return;
  }
  const auto connected = env_.connect(cluster, *kubeconfig);
  OPENSSL_cleanse(kubeconfig->data(), kubeconfig->size());
  if (!connected) return trouble(connected.error().message);
  e.hash = hash;
  e.trouble.clear();
  log_(Level::info, e.state.known ? "new credentials" : "connected", {{"cluster", cluster}, {"from", where}});
  e.state.credentials = env_.now().mono;
  if (std::exchange(e.state.known, true)) return hooks_.changed(cluster);
  e.answered = env_.now().mono;
  set(e, cluster, ConditionStatus::unknown, "not probed yet");
  hooks_.connected(cluster);
  probe(cluster);
}

void Connections::probe(const std::string& cluster) {
  auto& e = *find(cluster);
  Call ready{.cluster = cluster, .path = "/readyz"};
  ready.timeout = options_.probe_timeout;
  e.probe = env_.call(
      std::move(ready), [](std::string_view) {},
      [this, cluster](Result<void> end) {
        auto& entry = *find(cluster);
        // Which version it is changes rarely, and hardly ever without a silence: with a hundred connections half of all requests would ask
        // that.
        if (!end || (entry.failures == 0 && entry.versioned && env_.now().mono < *entry.versioned + options_.reread))
          return answered(cluster, std::move(end), {});
        Call version{.cluster = cluster, .path = "/version"};
        version.timeout = options_.probe_timeout;
        auto body = std::make_shared<std::string>();
        entry.probe = env_.call(
            std::move(version), [body](std::string_view frame) { body->assign(frame); },
            [this, cluster, body](Result<void> done) {
              Pool pool;
              const auto read = done ? decode<Version>(*body, pool) : Result<Version>(fail(done.error()));
              if (read) find(cluster)->versioned = env_.now().mono;
              answered(cluster, std::move(done), read ? read->git_version.str() : std::string());
            });
      });
}

void Connections::answered(const std::string& cluster, Result<void> end, std::string version) {
  auto& e = *find(cluster);
  const auto now = env_.now().mono;
  e.state.probed = now;
  e.timer = env_.at(now + options_.probe_period, [this, cluster] { probe(cluster); });
  if (end) {
    const bool was_silent = std::exchange(e.failures, 0) > 0;
    e.answered = now;
    const bool other_version = !version.empty() && version != e.state.version;
    if (other_version) e.state.version = std::move(version);
    if (was_silent && hooks_.silent) hooks_.silent(cluster, std::nullopt);
    if (e.state.reachable == ConditionStatus::true_ && other_version) hooks_.changed(cluster);
    return set(e, cluster, ConditionStatus::true_, "");
  }
  ++e.failures;
  if (hooks_.silent) hooks_.silent(cluster, e.answered);
  // One lost probe of a server that answered before is no news yet.
  if (e.failures >= 2 || e.state.reachable != ConditionStatus::true_) set(e, cluster, ConditionStatus::false_, end.error().message);
}

void Connections::set(Entry& e, const std::string& cluster, ConditionStatus reachable, std::string message) {
  if (e.state.reachable == reachable && e.state.message == message) return;
  if (e.state.reachable != reachable || e.state.since == MonoTime{}) e.state.since = env_.now().mono;
  e.state.reachable = reachable;
  e.state.message = std::move(message);
  hooks_.changed(cluster);
}

}  // namespace reconcile
