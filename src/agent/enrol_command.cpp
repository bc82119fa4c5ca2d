#include "src/agent/enrol_command.hpp"

#include <sys/file.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "reconcile/kube/curl_env.hpp"
#include "src/agent/enrolment.hpp"
#include "src/agent/linux_host.hpp"
#include "src/common/signals.hpp"
#include "src/common/version.hpp"

namespace endstate::agent {
namespace {

int say(const std::string& what, int code) {
  std::cerr << "endstate-agent: " << what << "\n";
  return code;
}

std::string read_all(std::istream& in) {
  std::string text(std::size_t{1} << 20U, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

}  // namespace

int enrol_command(const CommandLine& options, const reconcile::Log& log) {
  std::ifstream file;
  if (options.enrol != "-") file.open(options.enrol, std::ios::binary);
  if (options.enrol != "-" && !file) return say("can't read " + options.enrol, 2);
  auto brought = parse_enrolment(read_all(options.enrol == "-" ? std::cin : file));
  if (!brought) return say(brought.error().message, 2);

  const auto host = linux_host({.root = options.root}, nullptr);
  Identity identity(*host);
  const auto before = identity.enrolment();
  // Another host, or the same one again: its key is made anew. What it is in its business cluster stays, unless it becomes another.
  const bool same = before && *before && (*before)->host_uid == brought->host_uid;
  for (const char* name : {"host.pem", "host.next", "agent.pem", "agent.next", "cluster.json"}) {
    if (same && std::string_view(name).starts_with("agent")) continue;
    if (same && std::string_view(name) == "cluster.json") continue;
    if (const auto gone = identity.remove(name); !gone) return say(gone.error().message, 1);
  }
  if (const auto stored = identity.store(*brought); !stored) return say(stored.error().message, 1);

  reconcile::CurlEnv env({.user_agent = "endstate-agent/" + std::string(version)});
  bool enrolled = false;
  // The service may have gone on with it already: who asks first has the certificate, and it is on the disk.
  reconcile::Handle look;
  std::function<void()> check = [&] {
    const auto pem = identity.pem("host.pem");
    if (pem && !pem->empty()) {
      enrolled = true;
      return env.stop();
    }
    look = env.at(env.now().mono + std::chrono::milliseconds(500), check);
  };
  CertificateOptions wanted = host_certificate_options(brought->host_uid, brought->identity, options.certificate_life);
  if (const auto done = env.connect("enrol", token_kubeconfig(brought->server, brought->token)); !done) return say(done.error().message, 2);
  Certificate certificate(
      env, identity, std::move(wanted), [] { return std::string("enrol"); }, [] {}, log);
  certificate.start();
  check();
  const auto limit = env.at(env.now().mono + options.enrol_timeout, [&] { env.stop(); });
  const StopSignal stop([&] { env.stop(); });
  env.run();
  if (!enrolled)
    return say("this host has no certificate yet" + (certificate.trouble().empty() ? std::string() : ": " + certificate.trouble()) +
                   "; the service goes on with it (systemctl start endstate-agent)",
               1);
  brought->token.clear();
  if (const auto stored = identity.store(*brought); !stored) return say(stored.error().message, 1);
  std::cout << "enrolled as Host " << brought->name_space << "/" << (brought->host.empty() ? brought->host_uid : brought->host) << "\n";
  return 0;
}

}  // namespace endstate::agent
