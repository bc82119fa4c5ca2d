#include "src/kubectl/args.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <iostream>

#include "src/common/command_line.hpp"
#include "src/common/version.hpp"

namespace endstate::kubectl {
namespace {

struct KindNames {
  const char* kind;
  std::vector<std::string> names;
};
const std::vector<KindNames>& kind_names() {
  static const std::vector<KindNames> all{
      {"MachineSet", {"machineset", "machinesets", "ems"}},
      {"Cluster", {"cluster", "clusters", "ecl"}},
      {"Machine", {"machine", "machines", "ema"}},
  };
  return all;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

int wrong(const std::string& what) {
  std::string line = what;
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::cerr << "kubectl-endstate: " << line << "; see --help\n";
  return exit_code::usage;
}

// "30", "30s", "5m", "1h": as kubectl's durations, in whole seconds; 0 means none.
std::optional<std::chrono::seconds> parse_seconds(const std::string& text) {
  std::size_t digits = 0;
  while (digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits]))) ++digits;
  if (digits == 0 || digits > 9) return std::nullopt;
  const std::string unit = text.substr(digits);
  const std::int64_t factor = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (factor == 0) return std::nullopt;
  return std::chrono::seconds(std::stoll(text.substr(0, digits)) * factor);
}

constexpr const char* codes_of_status =
    "Exit codes: 0 complete, 1 failed (rejected, rolled back, stalled), 2 wrong command line,\n"
    "3 paused or waiting for a person (--watch=false only), 4 not over yet (--timeout, or --watch=false),\n"
    "5 the API server can't be reached or says no.";
constexpr const char* codes_of_verb =
    "Exit codes: 0 done, or nothing to do; 1 refused, it says why; 2 wrong command line; 5 the API server can't be reached or says no.";
constexpr const char* codes_of_read = "Exit codes: 0 good; 2 wrong command line; 5 the API server can't be reached or says no.";
constexpr const char* codes_of_diff =
    "Exit codes, as kubectl diff: 0 nothing would change; 1 something would; 2 wrong command line or file; 5 the API server can't be\n"
    "reached or says no.";

// What CLI11 fills; turned into Args when the whole line is read.
struct Raw {
  Common common;
  std::vector<std::string> target;
  std::string request_timeout = "30s", timeout = "0s", interval = "2s", enrol_timeout = "60s", dry_run = "none", machine_seconds;
  RolloutArgs rollout;
  DiffArgs diff;
  KubeconfigArgs kubeconfig;
  TopArgs top;
  EnrolArgs enrol;
};

void add_common(CLI::App& app, Raw& raw) {
  app.add_option("--kubeconfig", raw.common.kubeconfig, "The kubeconfig; absent: $KUBECONFIG, else ~/.kube/config");
  app.add_option("--context", raw.common.context, "Which context of the kubeconfig; absent: its current-context");
  app.add_option("-n,--namespace", raw.common.name_space, "The namespace; absent: the context's, else default");
  app.add_option("--request-timeout", raw.request_timeout, "Longest wait for one answer of the API server")->capture_default_str();
}
void add_target(CLI::App& app, Raw& raw, const char* what) { app.add_option("target", raw.target, what)->expected(0, 2); }

using Make = std::function<std::variant<Args, int>()>;
struct Command {
  CLI::App* app;
  Make make;
};

class Builder {
 public:
  explicit Builder(CLI::App& app) : app_(app) {
    app.require_subcommand(1);
    add_common(app, raw_);
    app.set_version_flag("--version", std::string(version));
    rollout();
    diff();
    describe();
    kubeconfig();
    top();
    enrol();
    rights();
    doctor();
  }
  std::variant<Args, int> made() const {
    const auto request = parse_seconds(raw_.request_timeout);
    if (!request || request->count() == 0) return wrong("--request-timeout: give a time like 30s or 2m");
    for (const auto& c : commands_)
      if (c.app->parsed()) {
        auto made = c.make();
        if (auto* args = std::get_if<Args>(&made)) {
          args->common = raw_.common;
          args->common.request_timeout = *request;
        }
        return made;
      }
    return wrong("no command is given");
  }

 private:
  CLI::App* sub(CLI::App& parent, const char* name, const char* what, const char* codes) {
    auto* app = parent.add_subcommand(name, what);
    add_common(*app, raw_);
    app->footer(codes);
    return app;
  }

  void verb(CLI::App& parent, Verb verb, const char* name, const char* what, const char* codes) {
    auto* app = sub(parent, name, what, codes);
    add_target(*app, raw_, "machineset/NAME");
    if (verb != Verb::status && verb != Verb::history)
      app->add_option("--dry-run", raw_.dry_run,
                      "none; client: only says what would be sent; server: the API server checks it, and stores nothing")
          ->check(CLI::IsMember({"none", "client", "server"}))
          ->capture_default_str();
    switch (verb) {
      case Verb::status:
        app->add_flag("--watch,-w,!--no-watch", raw_.rollout.watch, "Follow it until it is over; --watch=false: one look")
            ->capture_default_str();
        app->add_option("--timeout", raw_.timeout, "Give up after this, e.g. 10m; 0s: never")->capture_default_str();
        break;
      case Verb::history:
        app->add_option("--revision", raw_.rollout.revision, "All of one revision")->check(CLI::Range(1L, 1'000'000'000L));
        break;
      case Verb::promote:
        app->add_option("--step", raw_.rollout.step, "Which step's end; may be ahead of time. Absent: the one that waits now");
        break;
      case Verb::undo:
        app->add_option("--to-revision", raw_.rollout.revision, "Which revision; absent: the one before")
            ->check(CLI::Range(1L, 1'000'000'000L));
        app->add_flag("--force", raw_.rollout.force, "Even to a revision that was rejected");
        break;
      default: break;
    }
    if (verb == Verb::history || verb == Verb::status)
      app->add_option("-o,--output", raw_.rollout.output, "json; absent: for people")->check(CLI::IsMember({"json"}));
    commands_.push_back(
        {app, [this, verb]() -> std::variant<Args, int> {
           auto args = raw_.rollout;
           args.verb = verb;
           const auto target = parse_target(raw_.target, {"MachineSet"});
           if (!target) return wrong("name a set, like machineset/workers");
           args.target = *target;
           const auto timeout = parse_seconds(raw_.timeout);
           if (!timeout) return wrong("--timeout: give a time like 90s, 10m or 1h");
           args.timeout = *timeout;
           args.dry_run = raw_.dry_run == "none" ? DryRun::none : raw_.dry_run == "client" ? DryRun::client : DryRun::server;
           return Args{{}, std::move(args)};
         }});
  }

  void rollout() {
    auto* app = app_.add_subcommand("rollout", "How a change of a MachineSet stands, and what a person can say to it");
    app->require_subcommand(1);
    verb(*app, Verb::status, "status", "Follows a rollout, and says how it ended", codes_of_status);
    verb(*app, Verb::history, "history", "What was changed, when, by whom, and how it ended", codes_of_read);
    verb(*app, Verb::pause, "pause", "Nothing is done with the set until it is resumed (annotation endstate.dev/paused)", codes_of_verb);
    verb(*app, Verb::resume, "resume", "Takes a pause away", codes_of_verb);
    verb(*app, Verb::promote, "promote", "Ends the step's wait: it goes on", codes_of_verb);
    verb(*app, Verb::retry, "retry", "A rejected revision is tried again", codes_of_verb);
    verb(*app, Verb::undo, "undo", "Puts an earlier revision's template back", codes_of_verb);
    verb(*app, Verb::abort, "abort", "Rejects the revision that is being rolled out: its machines go back", codes_of_verb);
  }

  void diff() {
    auto* app = sub(app_, "diff",
                    "What a change would do, in order: which machines, in which step, how long, held by which budget. Changes nothing",
                    codes_of_diff);
    app->add_option("target", raw_.target, "machineset/NAME, with --to-revision")->expected(0, 2);
    app->add_option("-f,--filename", raw_.diff.files, "Files or folders of manifests; -: the standard input")->take_all();
    app->add_option("--to-revision", raw_.diff.to_revision, "Of a set: back to this revision")->check(CLI::Range(1L, 1'000'000'000L));
    app->add_option("-o,--output", raw_.diff.output, "wide: all names; json: for programs")->check(CLI::IsMember({"wide", "json"}));
    app->add_flag("--all", raw_.diff.all, "Every machine's name, as -o wide");
    app->add_flag("--server-side", raw_.diff.server_side, "As kubectl apply --server-side would merge it");
    app->add_option("--machine-seconds", raw_.machine_seconds, "How long one machine takes; absent: as the set's machines took last");
    commands_.push_back({app, [this]() -> std::variant<Args, int> {
                           auto args = raw_.diff;
                           args.all = args.all || args.output == "wide";
                           if (!raw_.target.empty()) {
                             args.target = parse_target(raw_.target, {"MachineSet"});
                             if (!args.target) return wrong("name a set, like machineset/workers");
                           }
                           if (args.files.empty() == !args.target.has_value())
                             return wrong("give either -f FILE or machineset/NAME --to-revision N");
                           if (args.target.has_value() != args.to_revision.has_value())
                             return wrong("machineset/NAME and --to-revision N go together");
                           if (!raw_.machine_seconds.empty()) {
                             args.machine_time = parse_seconds(raw_.machine_seconds);
                             if (!args.machine_time || args.machine_time->count() == 0)
                               return wrong("--machine-seconds: give a number of seconds, at least 1");
                           }
                           return Args{{}, std::move(args)};
                         }});
  }

  void describe() {
    auto* app = sub(app_, "describe", "A tree of what is going on, and what blocks it", codes_of_read);
    add_target(*app, raw_, "machineset NAME, cluster NAME or machine NAME (also KIND/NAME)");
    commands_.push_back({app, [this]() -> std::variant<Args, int> {
                           const auto target = parse_target(raw_.target, {"MachineSet", "Cluster", "Machine"});
                           if (!target) return wrong("name what to describe: machineset NAME, cluster NAME or machine NAME");
                           return Args{{}, DescribeArgs{*target}};
                         }});
  }

  void kubeconfig() {
    auto* app = sub(app_, "kubeconfig", "The kubeconfig of a cluster's administrator, from its Secret", codes_of_read);
    add_target(*app, raw_, "NAME, or cluster/NAME");
    app->add_option("--output", raw_.kubeconfig.output, "A file that only you can read (mode 0600); absent: the standard output");
    commands_.push_back({app, [this]() -> std::variant<Args, int> {
                           auto args = raw_.kubeconfig;
                           auto words = raw_.target;
                           if (words.size() == 1 && words[0].find('/') == std::string::npos) words.insert(words.begin(), "cluster");
                           const auto target = parse_target(words, {"Cluster"});
                           if (!target) return wrong("name a cluster, like hz-a");
                           args.target = *target;
                           return Args{{}, std::move(args)};
                         }});
  }

  void rights() {
    auto* app = sub(app_, "rights", "Which rules endstate lacks in the cluster of an External Cluster, as YAML that grants them",
                    "Exit codes: 0 it lacks none; 1 it lacks some; 2 wrong command line; 5 an API server can't be reached or says no.");
    add_target(*app, raw_, "NAME, or cluster/NAME");
    commands_.push_back({app, [this]() -> std::variant<Args, int> {
                           auto words = raw_.target;
                           if (words.size() == 1 && words[0].find('/') == std::string::npos) words.insert(words.begin(), "cluster");
                           const auto target = parse_target(words, {"Cluster"});
                           if (!target) return wrong("name a cluster, like hz-a");
                           return Args{{}, RightsArgs{*target}};
                         }});
  }

  void doctor() {
    auto* app =
        sub(app_, "doctor", "What of this installation breaks docs/security.md, and what to do about it. Changes nothing",
            "Exit codes: 0 nothing, or notes only; 1 a danger; 2 wrong command line; 5 the API server can't be reached or says no.");
    commands_.push_back({app, []() -> std::variant<Args, int> { return Args{{}, DoctorArgs{}}; }});
  }

  void top() {
    auto* app = sub(app_, "top", "The fleet by state: clusters, machines, rollouts, budgets", codes_of_read);
    app->add_flag("-w,--watch", raw_.top.watch, "Redraw it live, also where the output is no terminal; ends with Ctrl-C");
    app->add_flag("--once", raw_.top.once, "One look; so it is anyway where the output is no terminal");
    app->add_flag("-A,--all-namespaces", raw_.top.all_namespaces, "The whole fleet");
    app->add_option("--interval", raw_.interval, "Time between two looks, at least 1s")->capture_default_str();
    app->add_option("-o,--output", raw_.top.output, "json: one look, for programs")->check(CLI::IsMember({"json"}));
    commands_.push_back({app, [this]() -> std::variant<Args, int> {
                           auto args = raw_.top;
                           const auto interval = parse_seconds(raw_.interval);
                           if (!interval || interval->count() == 0) return wrong("--interval: give a time of at least 1s");
                           if (args.watch && args.once) return wrong("--watch and --once exclude each other");
                           args.interval = *interval;
                           return Args{{}, args};
                         }});
  }

  void enrol() {
    auto* app = sub(app_, "enrol",
                    "Makes a one-time token for a Host, and prints what its agent takes: kubectl endstate enrol h1 | ssh root@h1 "
                    "endstate-agent --enrol -",
                    codes_of_verb);
    app->add_option("host", raw_.target, "The Host's name")->expected(0, 2);
    app->add_option("--server", raw_.enrol.server, "The API server as the host reaches it, https://...; absent: as the kubeconfig says");
    app->add_option("--tls-server-name", raw_.enrol.tls_server_name, "The name in its certificate, if that is another than the address");
    app->add_option("--timeout", raw_.enrol_timeout, "Longest wait for the operator to make the token")->capture_default_str();
    commands_.push_back({app, [this]() -> std::variant<Args, int> {
                           auto args = raw_.enrol;
                           if (raw_.target.size() != 1) return wrong("name one Host");
                           args.host = raw_.target[0];
                           if (const auto slash = args.host.find('/'); slash != std::string::npos) {  // host/h1, as kubectl prints it
                             const auto kind = lower(args.host.substr(0, slash));
                             if (kind != "host" && kind != "hosts" && kind != "host.endstate.dev" && kind != "hosts.endstate.dev" &&
                                 kind != "eho")
                               return wrong("name one Host, like h1 or host/h1");
                             args.host.erase(0, slash + 1);
                           }
                           if (!args.server.empty() && args.server.rfind("https://", 0) != 0)
                             return wrong("--server: give an address that starts with https://");
                           const auto timeout = parse_seconds(raw_.enrol_timeout);
                           if (!timeout || timeout->count() == 0) return wrong("--timeout: give a time like 60s or 2m");
                           args.timeout = *timeout;
                           return Args{{}, args};
                         }});
  }

  CLI::App& app_;
  Raw raw_;
  std::vector<Command> commands_;
};

}  // namespace

std::optional<Target> parse_target(const std::vector<std::string>& words, const std::vector<std::string>& kinds) {
  std::string kind, name;
  if (words.size() == 2) {
    kind = words[0];
    name = words[1];
  } else if (words.size() == 1) {
    const auto slash = words[0].find('/');
    if (slash == std::string::npos) return std::nullopt;
    kind = words[0].substr(0, slash);
    name = words[0].substr(slash + 1);
  }
  kind = lower(kind);
  for (const std::string group : {".v1alpha1.endstate.dev", ".endstate.dev"})
    if (kind.size() > group.size() && kind.compare(kind.size() - group.size(), group.size(), group) == 0) {
      kind.resize(kind.size() - group.size());
      break;
    }
  if (name.empty() || name.find('/') != std::string::npos) return std::nullopt;
  for (const auto& k : kind_names())
    if (std::find(kinds.begin(), kinds.end(), k.kind) != kinds.end() && std::find(k.names.begin(), k.names.end(), kind) != k.names.end())
      return Target{k.kind, name};
  return std::nullopt;
}

namespace {

CommandNames names_of(const CLI::App& app) {
  CommandNames out{.name = app.get_name(), .what = app.get_description(), .flags = {}, .values = {}, .below = {}};
  for (const auto* option : app.get_options()) {
    std::vector<std::string> names;
    for (const auto& n : option->get_lnames()) names.push_back("--" + n);
    for (const auto& n : option->get_snames()) names.push_back("-" + n);
    out.flags.insert(out.flags.end(), names.begin(), names.end());
    if (option->get_items_expected_min() > 0) out.values.insert(out.values.end(), names.begin(), names.end());
  }
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) out.below.push_back(names_of(*sub));
  return out;
}

// CLI11 says only that a command is missing.
std::string which_commands(const CLI::App& app) {
  const CLI::App* at = &app;
  for (const auto* sub : app.get_subcommands()) at = sub;
  std::string names;
  for (const auto* sub : at->get_subcommands([](const CLI::App*) { return true; }))
    names.append(names.empty() ? "" : ", ").append(sub->get_name());
  return "give one of these commands: " + names;
}

}  // namespace

CommandNames command_names() {
  CLI::App app("", "kubectl endstate");
  const Builder builder(app);
  return names_of(app);
}

std::variant<Args, int> parse_args(int argc, const char* const* argv) {
  CLI::App app("Previews, follows and steers what endstate does with machines.", "kubectl endstate");
  Builder builder(app);
  try {
    last_one_counts(app);
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::RequiredError& e) {
    return wrong(which_commands(app));  // nothing else is required
  } catch (const CLI::ParseError& e) {
    return wrong(e.what());
  }
  return builder.made();
}

}  // namespace endstate::kubectl
