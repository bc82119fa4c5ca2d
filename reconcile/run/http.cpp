#include "reconcile/run/http.hpp"

#include <httplib.h>

#include <charconv>
#include <string>
#include <thread>
#include <vector>

namespace reconcile {
namespace {

constexpr std::size_t max_path = 256;
constexpr std::size_t threads = 2;  // a scrape and a probe at once; a third waits, at most for their time-outs

struct Address {
  std::string host;
  int port = 0;
};

Result<Address> parse_address(std::string_view address) {
  const auto colon = address.rfind(':');
  int port = -1;
  if (colon != std::string_view::npos) {
    const auto digits = address.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size()) port = -1;
  }
  if (port < 0 || port > 65535)
    return fail(Code::invalid,
                "HTTP address '" + std::string(address) + "': expected host:port, like 127.0.0.1:8080, or :8080 for all addresses");
  std::string host(address.substr(0, colon));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);  // [::1]:8080
  return Address{host == "*" ? "" : host, port};
}

// Everywhere: "::" takes IPv4 too (Linux' default; httplib 0.11 never sets IPV6_V6ONLY), and where IPv6 is off there is 0.0.0.0 only.
std::vector<std::string> hosts_of(const Address& at) {
  if (at.host.empty()) return {"::", "0.0.0.0"};
  return {at.host};
}

}  // namespace

struct HttpServer::Impl {
  httplib::Server server;
  Routes routes;
  std::thread thread;
  int port = 0;

  void answer(const httplib::Request& request, httplib::Response& response) const {
    const auto route = request.path.size() <= max_path ? routes.find(request.path) : routes.end();
    if (request.method != "GET" || route == routes.end()) {
      response.status = route == routes.end() ? 404 : 405;
      response.set_content(route == routes.end() ? "not found\n" : "only GET\n", "text/plain");
      return;
    }
    const auto reply = route->second();
    response.status = reply.status;
    response.set_content(reply.body, reply.content_type);
  }
};

Result<std::unique_ptr<HttpServer>> HttpServer::start(std::string_view address, Routes routes) {
  const auto at = parse_address(address);
  if (!at) return fail(at.error());
  auto impl = std::make_unique<Impl>();
  auto& server = impl->server;
  impl->routes = std::move(routes);
  server.new_task_queue = [] { return new httplib::ThreadPool(threads); };  // httplib owns and deletes it
  // httplib's default is SO_REUSEPORT: a second process on the same address would share its requests instead of being told.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1, no = 0;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);  // whatever net.ipv6.bindv6only says; IPv4's sockets refuse it
  });
  server.set_keep_alive_max_count(1);
  server.set_payload_max_length(0);
  server.set_read_timeout(5);
  server.set_write_timeout(5);
  // Before httplib looks at anything else of the request: exact paths only.
  server.set_pre_routing_handler([self = impl.get()](const httplib::Request& request, httplib::Response& response) {
    self->answer(request, response);
    return httplib::Server::HandlerResponse::Handled;
  });
  server.set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
    response.status = 500;
    response.set_content("internal error\n", "text/plain");
  });
  for (const auto& host : hosts_of(*at)) {
    impl->port = at->port == 0 ? server.bind_to_any_port(host.c_str()) : (server.bind_to_port(host.c_str(), at->port) ? at->port : -1);
    if (impl->port > 0) break;
  }
  if (impl->port <= 0)
    return fail(Code::invalid,
                "HTTP address '" + std::string(address) + "': can't listen there (in use, or not an address of this machine)");
  impl->thread = std::thread([self = impl.get()] { self->server.listen_after_bind(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  while (!impl_->server.is_running()) std::this_thread::yield();  // stop() before listen_after_bind() would be lost
  impl_->server.stop();
  impl_->thread.join();
}

int HttpServer::port() const { return impl_->port; }

}  // namespace reconcile
