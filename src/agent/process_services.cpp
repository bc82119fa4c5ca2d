#include "src/agent/process_services.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <sstream>
#include <thread>

#include "src/agent/reasons.hpp"
#include "src/agent/spawn.hpp"
#include "src/agent/tree.hpp"

namespace endstate::agent {
namespace {

using namespace std::chrono_literals;
constexpr auto stop_limit = 10s;  // then it is killed
constexpr auto look_again = 20ms;
constexpr std::string_view folder = "/run/endstate/services";

Error failed(std::string message) { return {Code::unavailable, std::move(message), {}, std::string(reason::service_failed)}; }

Result<std::vector<std::string>> words_of(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool any = false;
  char quote = 0;
  for (const char c : line) {
    if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '"' || c == '\'') {
      quote = c;
      any = true;
    } else if (c == ' ' || c == '\t') {
      if (any) words.push_back(std::move(word));
      word.clear();
      any = false;
    } else {
      word += c;
      any = true;
    }
  }
  if (quote != 0) return fail(failed("a quote in the unit file has no end"));
  if (any) words.push_back(std::move(word));
  return words;
}

std::string birth_of(pid_t pid) {  // field 22 of /proc/PID/stat (proc(5)): a PID alone belongs to a stranger some day; "": it is dead
  const Fd file(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(1024, '\0');
  const auto n = file ? ::read(file.get(), text.data(), text.size()) : -1;
  if (n <= 0) return {};
  text.resize(static_cast<std::size_t>(n));
  std::istringstream rest(text.substr(text.rfind(')') + 1));
  std::string field;
  for (int i = 3; i <= 22 && rest >> field; ++i)
    if (i == 3 && (field == "Z" || field == "X")) return {};
  return field;
}

class Processes final : public Services {
 public:
  explicit Processes(std::string root) : tree_(std::move(root), false) {}

  Result<UnitInfo> unit(const std::string& name) override {
    auto file = unit_file(name);
    if (!file) return fail(file.error());
    const auto pid = running(name);
    if (pid > 0) return UnitInfo{UnitState::active, "running"};
    return UnitInfo{file->empty() ? UnitState::absent : UnitState::inactive, "dead"};
  }
  Result<void> reload_units() override { return {}; }

  Result<void> unit_job(const std::string& name, UnitJob job, const std::atomic<bool>& cancelled) override {
    const auto pid = running(name);
    if (job == UnitJob::reload && pid > 0) {
      ::kill(pid, SIGHUP);
      return {};
    }
    if (pid > 0 && (job == UnitJob::stop || job == UnitJob::restart))
      if (auto stopped = stop(name, pid, cancelled); !stopped) return stopped;
    if (job == UnitJob::stop || (pid > 0 && job == UnitJob::start)) return {};
    return start(name);
  }

  Result<void> reboot() override { return fail(failed("this agent can't reboot a host without systemd")); }

 private:
  Result<std::string> unit_file(const std::string& name) {  // "": there is none
    for (const std::string_view place : {"/etc/systemd/system/", "/usr/local/lib/systemd/system/", "/usr/lib/systemd/system/"}) {
      const auto path = std::string(place) + name;
      auto info = tree_.look(path);
      if (!info) return fail(info.error());
      if (!*info) continue;
      auto text = tree_.read((*info)->kind == FileKind::link && (*info)->target.starts_with('/') ? (*info)->target : path, 65'536);
      if (text) return text;
    }
    return std::string();
  }

  std::string record(const std::string& name) const { return std::string(folder) + "/" + name; }

  pid_t running(const std::string& name) {  // 0: it isn't
    auto text = tree_.read(record(name), 128);
    if (!text) return 0;
    std::istringstream in(*text);
    pid_t pid = 0;
    std::string birth;
    in >> pid >> birth;
    if (pid <= 1) return 0;
    ::waitpid(pid, nullptr, WNOHANG);  // our own child, if this agent started it
    return birth_of(pid) == birth && !birth.empty() ? pid : 0;
  }

  Result<void> stop(const std::string& name, pid_t pid, const std::atomic<bool>& cancelled) {
    ::kill(pid, SIGTERM);
    const auto deadline = std::chrono::steady_clock::now() + stop_limit;
    bool killed = false;
    while (running(name) > 0) {
      if (cancelled) return fail(Code::cancelled, "the agent stops");
      if (std::chrono::steady_clock::now() > deadline) {
        if (killed) return fail(failed(name + " doesn't stop"));
        ::kill(-pid, SIGKILL);
        killed = true;
        std::this_thread::sleep_for(1s);
      }
      std::this_thread::sleep_for(look_again);
    }
    return {};
  }

  Result<void> start(const std::string& name) {
    auto file = unit_file(name);
    if (!file) return fail(file.error());
    if (file->empty()) return fail(failed(name + " doesn't start: there is no unit file of that name"));
    auto command = service_command(*file);
    if (!command) return fail(failed(name + ": " + command.error().message));
    for (const auto* path : {"/run", "/run/endstate", "/run/endstate/services"})
      if (auto made = tree_.make_folder(path, 0755); !made) return made;
    auto pid = spawn_apart({.program = tree_.outside(command->argv.front()), .argv = command->argv, .environment = command->environment});
    if (!pid) return fail(failed(pid.error().message));
    return tree_.write(record(name), std::to_string(*pid) + " " + birth_of(*pid) + "\n", 0600);
  }

  Tree tree_;
};

}  // namespace

Result<ServiceCommand> service_command(std::string_view unit_file) {
  ServiceCommand out;
  out.environment = {search_path};
  std::istringstream lines{std::string(unit_file)};
  std::string line;
  std::string whole;
  bool service = false;
  while (std::getline(lines, line)) {
    if (line.ends_with('\\')) {
      line.back() = ' ';
      whole += line;
      continue;
    }
    whole += line;
    const auto text = std::exchange(whole, {});
    if (text.starts_with('[')) service = text.starts_with("[Service]");
    if (!service) continue;
    const auto value = [&](std::string_view key) { return text.starts_with(key) ? std::optional(text.substr(key.size())) : std::nullopt; };
    if (auto command = value("ExecStart=")) {
      auto words = words_of(*command);
      if (!words) return fail(words.error());
      out.argv = std::move(*words);
    }
    if (auto variables = value("Environment=")) {
      auto words = words_of(*variables);
      if (!words) return fail(words.error());
      out.environment.insert(out.environment.end(), words->begin(), words->end());
    }
  }
  if (out.argv.empty()) return fail(failed("its unit file has no ExecStart"));
  if (out.argv.front().starts_with('-')) out.argv.front().erase(0, 1);
  if (!out.argv.front().starts_with('/')) return fail(failed("ExecStart must name its program by an absolute path"));
  return out;
}

std::unique_ptr<Services> process_services(std::string root) { return std::make_unique<Processes>(std::move(root)); }

}  // namespace endstate::agent
