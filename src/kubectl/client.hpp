// Client: an API server for a command line: asks, waits, and has the answer. Over CurlEnv, so TLS, proxies, retries of reads and errors
// are the operator's own.
//
//   Client client(credentials, {.timeout = 30s});
//   auto sets = client.list<MachineSet>("default");
//   if (!sets) return refuse(sets.error());
//
// For one thread.
#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/cache/view.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/kube/curl_env.hpp"

namespace endstate::kubectl {

using reconcile::Ref, reconcile::Result;

class Client {
 public:
  struct Options {
    std::chrono::milliseconds timeout{30'000};  // of one request
  };
  Client(reconcile::Credentials credentials, Options options);

  // The body of the reply. A list's items come as {"items":[...]}.
  Result<std::string> send(reconcile::Call call);
  // A list, item by item as it comes: a big one is never held as text.
  Result<void> each(reconcile::Call call, const std::function<Result<void>(std::string_view item)>& item);

  template <class T>
  Result<Ref<T>> get(std::string_view name_space, std::string_view name) {
    auto body = send({.verb = reconcile::Verb::get,
                      .resource = &reconcile::resource_of<T>,
                      .name_space = std::string(name_space),
                      .name = std::string(name)});
    if (!body) return reconcile::fail(std::move(body.error()));
    return read<T>(*body);
  }
  // By key. An empty namespace: all of them.
  template <class T>
  Result<std::vector<Ref<T>>> list(std::string_view name_space, std::string query = {}) {
    std::vector<Ref<T>> out;
    auto done = each({.verb = reconcile::Verb::list,
                      .resource = &reconcile::resource_of<T>,
                      .name_space = std::string(name_space),
                      .query = std::move(query)},
                     [&](std::string_view item) -> Result<void> {
                       auto object = read<T>(item);
                       if (!object) return reconcile::fail(std::move(object.error()));
                       out.push_back(std::move(*object));
                       return {};
                     });
    if (!done) return reconcile::fail(std::move(done.error()));
    std::sort(out.begin(), out.end(), [](const Ref<T>& a, const Ref<T>& b) { return a->metadata.key() < b->metadata.key(); });
    return out;
  }
  template <class T>
  Result<Ref<T>> read(std::string_view json) {
    auto object = reconcile::decode<T>(json, pool_);
    if (!object) return reconcile::fail(std::move(object.error()));
    return std::make_shared<const T>(std::move(*object));
  }

  reconcile::WallTime now() const { return env_.now().wall; }
  reconcile::MonoTime mono() const { return env_.now().mono; }
  void sleep(std::chrono::milliseconds time);

 private:
  Options options_;
  reconcile::Pool pool_;
  reconcile::CurlEnv env_;
};

}  // namespace endstate::kubectl
