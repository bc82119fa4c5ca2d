// HttpServer: the program's own endpoints (/metrics, /healthz, /readyz): plain HTTP, GET only, exact paths of at most 256 bytes, no
// request body, one request a connection, two threads. Reachable by whom the address and the network policy let in; it serves no secret.
//
//   auto server = HttpServer::start("127.0.0.1:16080", {{"/metrics", [&] { return HttpReply{200, metrics.text()}; }},
//                                                       {"/healthz", [&] { return http_reply(manager.alive(env.now().mono)); }},
//                                                       {"/readyz", [&] { return http_reply(manager.ready()); }}});
//   if (!server) { print(server.error().message); return 2; }
//
// The routes run on the server's threads: what they read must be safe for that. One that throws answers 500.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "reconcile/base/result.hpp"

namespace reconcile {

struct HttpReply {
  int status = 200;
  std::string body{};
  std::string content_type = "text/plain; charset=utf-8";
};
struct Health {  // what a probe is told
  bool ok = false;
  std::string text{};
};
inline HttpReply http_reply(const Health& health) { return {health.ok ? 200 : 503, health.text + "\n"}; }

class HttpServer {
 public:
  using Routes = std::map<std::string, std::function<HttpReply()>, std::less<>>;
  // address: "host:port"; no host, or "*": every address of this machine, of both families; port 0: any free one. Listens when this
  // returns. An address that can't be used is Code::invalid.
  static Result<std::unique_ptr<HttpServer>> start(std::string_view address, Routes routes);
  ~HttpServer();  // stops listening, ends what it serves
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  int port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace reconcile
