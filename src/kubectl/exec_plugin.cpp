#include "src/kubectl/exec_plugin.hpp"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "reconcile/base/time.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): unistd.h has it only with _GNU_SOURCE

namespace endstate::kubectl {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using reconcile::Code, reconcile::ExecPlugin, reconcile::fail, reconcile::Result, reconcile::Secrets;
using Clock = std::chrono::steady_clock;

std::string text_at(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::string exec_info(const ExecPlugin& plugin, bool interactive) {
  json spec = {{"interactive", interactive}};
  if (!plugin.cluster.empty()) spec["cluster"] = json::parse(plugin.cluster, nullptr, false);
  return json{{"apiVersion", plugin.api_version}, {"kind", "ExecCredential"}, {"spec", spec}}.dump();
}

std::vector<std::string> environment_of(const ExecPlugin& plugin, bool interactive) {
  auto set = plugin.env;
  set.emplace_back("KUBERNETES_EXEC_INFO", exec_info(plugin, interactive));
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto name = text.substr(0, text.find('='));
    if (std::none_of(set.begin(), set.end(), [&](const auto& one) { return one.first == name; })) out.emplace_back(text);
  }
  for (const auto& [name, value] : set) out.push_back(std::string(name).append("=").append(value));
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// A child and the end of the pipe that it writes to. It is killed, and waited for, when this goes.
struct Child {
  pid_t pid = -1;
  int output = -1;
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (output >= 0) ::close(output);
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
};

int start(const ExecPlugin& plugin, bool interactive, Child& child) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno;
  child.output = ends[0];
  std::vector<std::string> words{plugin.command};
  words.insert(words.end(), plugin.args.begin(), plugin.args.end());
  auto environment = environment_of(plugin, interactive);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  if (!interactive) posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, ends[1], 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);  // `top` blocks signals
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error =
      ::posix_spawnp(&child.pid, plugin.command.c_str(), &files, &attributes, pointers(words).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  ::close(ends[1]);
  if (error != 0) child.pid = -1;
  return error;
}

enum class Trouble : std::uint8_t { none, late, too_much, broken };

Trouble read_all(Child& child, Clock::time_point until, std::size_t limit, std::string& out) {
  std::array<char, 4096> piece{};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    if (left <= 0ms) return Trouble::late;
    pollfd ready{child.output, POLLIN, 0};
    if (const int n = ::poll(&ready, 1, static_cast<int>(left.count())); n < 0 && errno != EINTR)
      return Trouble::broken;
    else if (n <= 0)
      continue;
    const auto got = ::read(child.output, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Trouble::broken;
    if (got == 0) return Trouble::none;
    out.append(piece.data(), static_cast<std::size_t>(got));
    OPENSSL_cleanse(piece.data(), piece.size());
    if (out.size() > limit) return Trouble::too_much;
  }
}

// Its exit status; nullopt: it closed its output and doesn't end.
std::optional<int> wait_for(Child& child, Clock::time_point until) {
  for (;; std::this_thread::sleep_for(5ms)) {
    int status = 0;
    if (::waitpid(child.pid, &status, WNOHANG) == child.pid) {
      child.pid = -1;
      return status;
    }
    if (Clock::now() >= until) return std::nullopt;
  }
}

class ExecSource final : public reconcile::CredentialSource {
 public:
  ExecSource(ExecPlugin plugin, std::string origin, ExecLimits limits)
      : plugin_(std::move(plugin)), origin_(std::move(origin)), limits_(limits) {}

  bool is_stale() const override {  // in microseconds: a time far ahead has no nanoseconds
    return !issued_ || (expires_ && std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()) >= *expires_);
  }
  Result<Secrets> issue(bool was_refused) override {
    if (is_stale() || was_refused) {
      auto fresh = run();
      if (!fresh) return fail(fresh.error());
      issued_ = std::move(*fresh);
    }
    return *issued_;
  }

 private:
  tl::unexpected<reconcile::Error> trouble(const std::string& what) const {
    return fail(Code::invalid, origin_ + ": user.exec: the plugin " + plugin_.command + " " + what +
                                   (plugin_.install_hint.empty() ? "" : "\n" + plugin_.install_hint));
  }

  Result<Secrets> run() {
    const bool terminal = ::isatty(0) == 1;
    if (plugin_.interactive_mode == "Always" && !terminal) return trouble("needs a terminal (interactiveMode: Always), and there is none");
    const auto until = Clock::now() + limits_.timeout;
    Child child;
    std::string output;
    if (const int error = start(plugin_, terminal && plugin_.interactive_mode != "Never", child); error != 0)
      return trouble(std::string("can't be run: ") + std::strerror(error));
    const auto read = read_all(child, until, limits_.output, output);
    const auto wiped = std::shared_ptr<std::string>(&output, [](std::string* text) { OPENSSL_cleanse(text->data(), text->size()); });
    if (read == Trouble::too_much) return trouble("says more than " + std::to_string(limits_.output) + " bytes");
    if (read == Trouble::broken) return trouble("can't be read");
    const auto status = read == Trouble::none ? wait_for(child, until) : std::nullopt;
    if (!status)
      return trouble("has not ended within " + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limits_.timeout).count()) +
                     " s");
    if (WIFSIGNALED(*status)) return trouble("was ended by signal " + std::to_string(WTERMSIG(*status)));
    if (WEXITSTATUS(*status) != 0) return trouble("failed with exit code " + std::to_string(WEXITSTATUS(*status)));
    return read_credential(output);
  }

  // Never says what stands in it.
  Result<Secrets> read_credential(const std::string& output) {
    const json credential = json::parse(output, nullptr, false);
    if (!credential.is_object() || text_at(credential, "kind") != "ExecCredential") return trouble("says no ExecCredential");
    if (const auto version = text_at(credential, "apiVersion"); version != plugin_.api_version)
      return trouble("answers in another version than the kubeconfig's " + plugin_.api_version + ": update one of them");
    const auto status = credential.find("status");
    if (status == credential.end() || !status->is_object()) return trouble("says no status");
    Secrets out;
    out.token = text_at(*status, "token");
    out.certificate_pem = text_at(*status, "clientCertificateData");
    out.key_pem = text_at(*status, "clientKeyData");
    if (out.token.empty() && out.certificate_pem.empty()) return trouble("says neither a token nor a clientCertificateData");
    if (out.certificate_pem.empty() != out.key_pem.empty()) return trouble("says clientCertificateData or clientKeyData without the other");
    expires_.reset();
    if (const auto text = text_at(*status, "expirationTimestamp"); !text.empty()) {
      const auto time = reconcile::parse_rfc3339(text);
      if (!time) return trouble("says an expirationTimestamp that is no RFC 3339 time");
      expires_ = *time;
    }
    return out;
  }

  const ExecPlugin plugin_;
  const std::string origin_;
  const ExecLimits limits_;
  std::optional<Secrets> issued_;
  std::optional<reconcile::WallTime> expires_;
};

}  // namespace

std::shared_ptr<reconcile::CredentialSource> exec_source(ExecPlugin plugin, std::string origin, ExecLimits limits) {
  return std::make_shared<ExecSource>(std::move(plugin), std::move(origin), limits);
}

}  // namespace endstate::kubectl
