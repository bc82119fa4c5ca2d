// endstate-agent: one on each worker host. This file is the wiring; each part's header says what it does.
#include <iostream>

#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "reconcile/run/events.hpp"
#include "src/agent/enrol_command.hpp"
#include "src/agent/enrolment.hpp"
#include "src/agent/file_watch.hpp"
#include "src/agent/linux_host.hpp"
#include "src/agent/options.hpp"
#include "src/agent/own_version.hpp"
#include "src/agent/process_services.hpp"
#include "src/agent/systemd.hpp"
#include "src/common/logging.hpp"
#include "src/common/memory.hpp"
#include "src/common/signals.hpp"
#include "src/common/version.hpp"

namespace {

using namespace endstate::agent;

constexpr const char* host_certificate_file = "host.pem";

int refuse(const std::string& why) {
  std::cerr << "endstate-agent: " << why << "\n";
  return 2;
}

// Members are made in this order and end in the opposite one: what refers to another comes after it.
class Program {
 public:
  Program(const CommandLine& options, std::optional<reconcile::Credentials> credentials, reconcile::Log log)
      : options_(options),
        log_(std::move(log)),
        host_(linux_host({.root = options.root}, options.systemd ? systemd_services() : process_services(options.root))),
        identity_host_(linux_host({.root = options.root}, nullptr)),
        identity_(*identity_host_),
        engine_(*host_, options.engine),
        env_({.user_agent = "endstate-agent/" + std::string(endstate::version)}, std::move(credentials)),
        events_(env_, {.controller = "endstate-agent", .instance = options.agent.identity}, metrics_, log_) {}

  Result<void> start() {
    auto agent = options_.agent;
    if (options_.kubeconfig.empty()) {
      auto file = identity_.enrolment();
      if (!file) return fail(file.error());
      file_ = std::move(*file);
      if (auto pem = identity_.pem(host_certificate_file)) began_with_ = std::move(*pem);
      if (file_) agent.host_uid = file_->host_uid;
    }
    make_agent(std::move(agent));
    if (!options_.kubeconfig.empty()) {
      agent_->follow();
      return {};
    }
    look_for_enrolment();
    if (file_) return enrol();
    log_(reconcile::Level::warning,
         "this host has not enrolled: 'kubectl endstate enrol HOST' prints what 'endstate-agent --enrol -' takes", {});
    return {};
  }
  void run() { env_.run(); }
  // Any thread. What runs on the worker must end, too: a hook is killed, and begun again by the next agent.
  void stop() {
    host_->cancel();
    env_.stop();
  }
  bool begins_again() const { return begins_again_; }

 private:
  void make_agent(AgentOptions options) {
    const auto uid = options.host_uid;
    options.idle = endstate::give_memory_back;  // what an archive or TLS needed once
    options.begin_again = [this] { begin_again(); };
    options.watch = [this](const std::vector<std::string>& paths) {
      if (!files_->watch(paths))
        log_(reconcile::Level::warning, "not every file can be watched: a change of one is seen by the next sweep", {});
    };
    agent_ = std::make_unique<Agent>(env_, engine_, std::move(options), log_, [this, uid](const Told& told, const Text& assignment) {
      events_.emit({.api_version = "endstate.dev/v1alpha1", .kind = "HostAssignment", .key = {{}, uid}, .uid = assignment},
                   {.warning = told.warning,
                    .reason = Text(told.reason),
                    .action = "Converge",
                    .note = Text(std::string_view(told.note).substr(0, 1000))});
    });
    files_ = std::make_unique<FileWatch>(options_.root, [this] { env_.post([this] { agent_->look(); }); });
    agent_->start();
  }
  Result<void> enrol() {
    enrolment_ = std::make_unique<Enrolment>(env_, identity_, *file_, Enrolment::Options{options_.certificate_life},
                                             Worker{[this] { agent_->follow(); }, [this] { agent_->leave(); },
                                                    [this] { return agent_->is_assigned(); }, [this] { return agent_->silence(); }},
                                             nullptr, log_);
    return enrolment_->start();
  }
  // A person has enrolled this host (again): the file is another. A look each few seconds costs nothing.
  void look_for_enrolment() {
    timer_ = env_.at(env_.now().mono + std::chrono::seconds(3), [this] {
      const auto held = std::move(timer_);
      if (!has_enrolled_anew()) return look_for_enrolment();
      log_(reconcile::Level::info, "enrolled anew: beginning again", {});
      begin_again();
    });
  }
  // By another token, or, where `endstate-agent --enrol` has used that up between two looks, by a certificate that is neither ours nor the
  // one we began with (which may be over: that is no news).
  bool has_enrolled_anew() const {
    const auto now = identity_.enrolment();
    if (!now || !*now) return false;
    if (!file_ || (*now)->host_uid != file_->host_uid) return true;
    if (!(*now)->token.empty()) return (*now)->token != file_->token;
    const auto pem = identity_.pem(host_certificate_file);
    return pem && !pem->empty() && *pem != began_with_ && *pem != enrolment_->certificate();
  }
  void begin_again() {
    begins_again_ = true;
    stop();
  }

  const CommandLine& options_;
  reconcile::Log log_;
  std::unique_ptr<Host> host_, identity_host_;  // one each: the engine's is the worker's
  Identity identity_;
  Engine engine_;
  reconcile::CurlEnv env_;
  reconcile::Metrics metrics_{"endstate_agent"};
  reconcile::Events events_;
  std::optional<EnrolmentFile> file_;
  std::string began_with_;  // certificate 1 as it was on the disk; empty: none
  std::unique_ptr<FileWatch> files_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<Enrolment> enrolment_;
  reconcile::Handle timer_;
  bool begins_again_ = false;
};

int run(const CommandLine& options, bool& begins_again) {
  const auto log = endstate::stderr_log(options.log_level);
  if (!options.enrol.empty()) return enrol_command(options, log);
  std::optional<reconcile::Credentials> credentials;
  if (!options.kubeconfig.empty()) {
    auto read = reconcile::default_credentials(options.kubeconfig, options.context);
    if (!read) return refuse(read.error().message);
    credentials = std::move(*read);
  }
  Program program(options, std::move(credentials), log);
  const endstate::StopSignal on_signal([&] { program.stop(); });
  log(reconcile::Level::info, "starting", {{"version", std::string(endstate::version)}});
  if (const auto started = program.start(); !started) return refuse(started.error().message);
  program.run();
  begins_again = program.begins_again();
  if (!begins_again) log(reconcile::Level::info, "stopped; the host stays as it is", {});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  endstate::agent::become_current(argv);
  endstate::keep_memory_small();
  endstate::block_stop_signals();
  const auto parsed = parse_command_line(argc, argv);
  if (const auto* code = std::get_if<int>(&parsed)) return *code;
  bool begins_again = false;
  const int code = run(std::get<CommandLine>(parsed), begins_again);
  if (!begins_again) return code;
  endstate::agent::begin_again(argv);
  return 1;  // whoever keeps it running starts it again
}
