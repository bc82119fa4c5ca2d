// trouble_flood: an API server that lies: it is ready, and answers every list and watch with objects of that kind without end. For
// e2e/trouble; on loopback only. Ends on SIGTERM.
#include <httplib.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <string>

namespace {

// What a kind's objects need to be taken for real: the names are new each time.
std::string object(const std::string& plural, std::uint64_t number) {
  const auto n = std::to_string(number);
  const std::string meta = R"("metadata":{"name":"flood-)" + n + R"(","uid":"flood-)" + n + R"(","resourceVersion":")" + n + R"("})";
  if (plural == "hostassignments")
    return R"({"apiVersion":"endstate.dev/v1alpha1","kind":"HostAssignment",)" + meta + R"(,"spec":{"state":"Active","machineUID":"m-)" +
           n + R"(","nodeName":"n-)" + n + R"("}})";
  return R"({"apiVersion":"v1","kind":"Object",)" + meta + "}";
}

void answer(const httplib::Request& request, httplib::Response& response) {
  static std::atomic<std::uint64_t> number{1};
  const auto plural = request.path.substr(request.path.rfind('/') + 1);
  const bool watch = request.get_param_value("watch") == "true" || request.get_param_value("watch") == "1";
  response.set_chunked_content_provider("application/json", [plural, watch, first = true](std::size_t, httplib::DataSink& sink) mutable {
    std::string out = first && !watch ? R"({"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[)" : "";
    for (int i = 0; i < 100; ++i) {
      const auto o = object(plural, number++);
      if (watch)
        out += R"({"type":"ADDED","object":)" + o + "}\n";
      else
        out += (first && i == 0 ? "" : ",") + o;
    }
    first = false;
    return sink.write(out.data(), out.size());
  });
}

}  // namespace

int main(int argc, char** argv) {
  int port = 0;
  std::string certificate, key;
  CLI::App app("An API server that answers every list and watch without end.", "trouble_flood");
  app.add_option("--port", port, "Of loopback")->required();
  app.add_option("--certificate", certificate, "PEM")->required()->check(CLI::ExistingFile);
  app.add_option("--key", key, "PEM")->required()->check(CLI::ExistingFile);
  CLI11_PARSE(app, argc, argv);
  httplib::SSLServer server(certificate.c_str(), key.c_str());
  server.new_task_queue = [] { return new httplib::ThreadPool(64); };
  server.Get("/readyz", [](const auto&, auto& r) { r.set_content("ok", "text/plain"); });
  server.Get("/version",
             [](const auto&, auto& r) { r.set_content(R"({"major":"1","minor":"34","gitVersion":"v1.34.4"})", "application/json"); });
  server.Get("/api.*", answer);
  return server.listen("127.0.0.1", port) ? 0 : 1;
}
