#include "src/agent/options.hpp"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "src/common/command_line.hpp"
#include "src/common/logging.hpp"
#include "src/common/version.hpp"

namespace endstate::agent {
namespace {

reconcile::Labels capacity() {
  reconcile::Labels c;
  struct sysinfo info {};
  c.set("cpu", Text(std::to_string(::sysconf(_SC_NPROCESSORS_ONLN))));
  if (::sysinfo(&info) == 0) c.set("memory", Text(std::to_string(std::uint64_t{info.totalram} * info.mem_unit / 1024) + "Ki"));
  return c;
}

}  // namespace

std::string goarch(const std::string& machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return machine;
}

std::variant<CommandLine, int> parse_command_line(int argc, const char* const* argv) {
  CommandLine c;
  std::string level = "info", services = "systemd", uid;
  std::vector<std::string> mirrors;
  std::int64_t lease_seconds = c.agent.lease_period.count(), certificate_seconds = c.certificate_life.count(),
               enrol_seconds = c.enrol_timeout.count();
  c.agent.version = std::string(version);
  c.agent.identity = host_name();
  utsname machine{};
  if (::uname(&machine) == 0) c.engine.arch = goarch(machine.machine);
  CLI::App app("Makes this host what its HostAssignment says, keeps it so, and reports.", "endstate-agent");
  app.set_version_flag("--version", std::string(version));
  app.set_config("--config", "", "A file with these options, one a line: host-uid = \"...\"");
  app.add_option("--enrol", c.enrol,
                 "Takes up what 'kubectl endstate enrol HOST' has printed (a file, or - for the standard input), gets this host's "
                 "certificate, and ends")
      ->configurable(false);
  app.add_option("--kubeconfig", c.kubeconfig,
                 "How the API server is reached, and who this host is there; absent: as this host has enrolled");
  app.add_option("--context", c.context, "Which context of the kubeconfig; absent: its current-context");
  app.add_option("--host-uid", uid, "With --kubeconfig: the uid of this host's Host object, the name of its HostAssignment");
  app.add_option("--certificate-seconds", certificate_seconds,
                 "How long this host's certificates are asked for; they are renewed at two thirds of it")
      ->check(CLI::Range(600, 31'536'000))
      ->capture_default_str();
  app.add_option("--enrol-timeout-seconds", enrol_seconds, "How long --enrol waits for the certificate")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--identity", c.agent.identity, "Who holds the Lease; absent: the host's name")->capture_default_str();
  app.add_option(
         "--allow-url", c.engine.sources.allowed,
         "Artifacts may come from addresses below this one (https://packages.example.com/); may be given again; without it none may")
      ->take_all();
  app.add_option("--mirror", mirrors, "FROM=TO: addresses below FROM are tried below TO first; TO must be allowed too; may be given again")
      ->take_all();
  app.add_option("--netrc", c.engine.sources.netrc,
                 "A file with names and passwords for artifacts by host, as netrc(5) has it, without 'default'; mode 0600; for https only");
  app.add_option("--artifact-ca", c.engine.sources.ca, "A file with the authorities (PEM) of https artifacts; absent: the system's")
      ->check(CLI::ExistingFile);
  app.add_option("--services", services, "Who runs services: systemd, or process: the agent itself, on a host without systemd")
      ->check(CLI::IsMember({"systemd", "process"}))
      ->capture_default_str();
  app.add_option("--root", c.root, "The folder that is the host's /")->check(CLI::ExistingDirectory)->capture_default_str();
  app.add_option("--lease-seconds", lease_seconds, "Time between two renewals of the Lease, +/- 10 %")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  app.add_option("--log-level", level, "debug, info, warning or error")->capture_default_str();
  if (const auto code = parse(app, argc, argv)) return *code;
  const auto parsed = parse_level(level);
  if (!parsed) return wrong_usage(app, parsed.error().message);
  c.log_level = *parsed;
  c.systemd = services == "systemd";
  c.agent.host_uid = Text(uid);
  c.agent.capacity = capacity();
  c.agent.lease_period = std::chrono::seconds(lease_seconds);
  for (const auto& m : mirrors) {
    const auto at = m.find('=');
    if (at == std::string::npos || at == 0 || at + 1 == m.size()) return wrong_usage(app, "--mirror " + m + ": must be FROM=TO");
    c.engine.sources.mirrors.emplace_back(m.substr(0, at), m.substr(at + 1));
  }
  if (!c.engine.sources.netrc.empty())
    if (auto usable = check_netrc(c.engine.sources.netrc); !usable)
      return wrong_usage(app, "--netrc " + c.engine.sources.netrc + ": " + usable.error().message);
  c.certificate_life = std::chrono::seconds(certificate_seconds);
  c.enrol_timeout = std::chrono::seconds(enrol_seconds);
  if (uid.empty() != c.kubeconfig.empty()) return wrong_usage(app, "--kubeconfig and --host-uid go together; without both the host enrols");
  if (!c.kubeconfig.empty() && !c.enrol.empty()) return wrong_usage(app, "--enrol is for a host without --kubeconfig");
  return c;
}

}  // namespace endstate::agent
