#include "src/kubectl/run_top.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>
#include <optional>

#include "reconcile/cache/caches.hpp"
#include "reconcile/kube/curl_env.hpp"
#include "src/common/signals.hpp"
#include "src/common/version.hpp"
#include "src/kubectl/top.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using namespace std::chrono_literals;
using reconcile::kind_of;

constexpr auto poll = 100ms;  // for the first list

// The other screen of a terminal (xterm's 1049), without a cursor; what was there before comes back at the end.
class Screen {
 public:
  Screen() { std::cout << "\x1b[?1049h\x1b[?25l" << std::flush; }
  ~Screen() { std::cout << "\x1b[?25h\x1b[?1049l" << std::flush; }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  static void draw(const std::string& text) {
    winsize size{};
    std::size_t lines = 24, columns = 80;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
      lines = size.ws_row;
      columns = size.ws_col;
    }
    std::string out = "\x1b[H";
    const auto fitted = fit(text, lines > 1 ? lines - 1 : 1, columns);
    for (std::size_t at = 0; at < fitted.size();) {
      const auto end = fitted.find('\n', at);
      out.append(fitted, at, end - at).append("\x1b[K\r\n");  // each line over the old one: nothing flickers
      at = end + 1;
    }
    std::cout << out << "\x1b[J" << std::flush;
  }
};

class Top {
 public:
  Top(const reconcile::Credentials& credentials, std::string name_space, const Args& args, const TopArgs& top)
      : env_({.user_agent = "kubectl-endstate/" + std::string(version)}, credentials),
        caches_(env_, reconcile::no_log()),
        name_space_(std::move(name_space)),
        common_(args.common),
        top_(top) {}

  int run() {
    const bool terminal = isatty(STDOUT_FILENO) == 1;
    live_ = top_.watch || (terminal && !top_.once && top_.output.empty());
    env_.post([this] { begin(); });
    const StopSignal on_signal([this] { env_.stop(); });
    if (live_ && terminal) screen_.emplace();
    env_.run();
    screen_.reset();
    if (!error_.empty()) std::cerr << "kubectl-endstate: " << error_ << "\n";
    return code_;
  }

 private:
  void begin() {
    caches_.watch("", {.kind = &kind_of<api::Cluster>, .name_space = name_space_});
    caches_.watch("", {.kind = &kind_of<api::MachineSet>, .name_space = name_space_});
    caches_.watch("", {.kind = &kind_of<api::Machine>, .name_space = name_space_});
    caches_.watch("", {.kind = &kind_of<api::ChangeBudget>});
    began_ = env_.now().mono;
    look();
  }

  // Every kind has been read, or has said why it can't be.
  bool answered() const {
    for (const auto& s : caches_.states())
      if (!s.synced && s.error.empty()) return false;
    return true;
  }

  void look() {
    const bool late = env_.now().mono - began_ >= common_.request_timeout;
    if (!shown_ && !answered() && !late) {
      timer_ = env_.at(env_.now().mono + poll, [this] { look(); });
      return;
    }
    show();
    if (!live_) return finish();
    timer_ = env_.at(env_.now().mono + top_.interval, [this] { look(); });
  }

  Fleet fleet() const {
    const reconcile::View& view = caches_;
    Fleet f{.clusters = view.list<api::Cluster>(""),
            .sets = view.list<api::MachineSet>(""),
            .machines = view.list<api::Machine>(""),
            .budgets = view.list<api::ChangeBudget>(""),
            .trouble = {}};
    for (const auto& s : caches_.states()) {
      if (s.synced && s.error.empty()) continue;
      f.trouble.push_back(std::string(s.kind->resource->plural) + (s.synced ? " may be old: " : " can't be read: ") +
                          (s.error.empty() ? "no answer yet" : std::string(s.error)));
    }
    return f;
  }

  void show() {
    shown_ = true;
    const auto f = fleet();
    const auto text = top_.output == "json" ? fleet_json(f) : fleet_text(f, env_.now().wall);
    if (screen_)
      Screen::draw(text);
    else
      std::cout << text << (live_ ? "\n" : "") << std::flush;
  }

  // One look: machines are what it is about.
  void finish() {
    for (const auto& s : caches_.states())
      if (!s.synced && s.kind == &kind_of<api::Machine>) {
        code_ = exit_code::server;
        error_ = "machines can't be read: " + (s.error.empty() ? std::string("no answer") : std::string(s.error));
      }
    env_.stop();
  }

  reconcile::CurlEnv env_;
  reconcile::Caches caches_;
  std::string name_space_;
  const Common& common_;
  const TopArgs& top_;
  bool live_ = false, shown_ = false;
  int code_ = exit_code::good;
  std::string error_;
  reconcile::MonoTime began_{};
  reconcile::Handle timer_;
  std::optional<Screen> screen_;
};

}  // namespace

int run_top(const reconcile::Credentials& credentials, const std::string& name_space, const Args& args, const TopArgs& top) {
  return Top(credentials, top.all_namespaces ? "" : name_space, args, top).run();
}

}  // namespace endstate::kubectl
