#include "src/agent/file_watch.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <array>
#include <cerrno>

namespace endstate::agent {
namespace {

constexpr std::uint32_t events =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::uint32_t folder_is_gone = IN_DELETE_SELF | IN_MOVE_SELF | IN_Q_OVERFLOW | IN_UNMOUNT;

}  // namespace

FileWatch::FileWatch(std::string root, std::function<void()> changed, std::chrono::milliseconds calm)
    : tree_(std::move(root), false),
      changed_(std::move(changed)),
      calm_(calm),
      notify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

FileWatch::~FileWatch() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

bool FileWatch::watch(const std::vector<std::string>& paths) {
  if (!notify_) return false;
  std::map<std::string, std::set<std::string>> folders;
  for (const auto& path : paths) {
    const auto at = path.rfind('/');
    folders[path.substr(0, std::max<std::size_t>(at, 1))].insert(path.substr(at + 1));
  }
  bool all = folders.size() <= max_watched_folders;
  const std::lock_guard lock(mutex_);
  std::map<int, std::set<std::string>> now;
  for (auto& [folder, names] : folders) {
    if (now.size() >= max_watched_folders) break;
    const auto opened = tree_.open_folder(folder);
    if (!opened) continue;
    // Through the descriptor: the very folder that was resolved below the root.
    const auto id = ::inotify_add_watch(notify_.get(), ("/proc/self/fd/" + std::to_string(opened->get())).c_str(), events);
    if (id < 0) {
      all = false;
      continue;
    }
    now[id].merge(names);
  }
  for (const auto& [id, names] : names_)
    if (!now.contains(id)) ::inotify_rm_watch(notify_.get(), id);
  names_ = std::move(now);
  return all;
}

// What is there; true: something that counts.
bool FileWatch::read_events() {
  alignas(inotify_event) std::array<char, 16'384> block{};
  bool any = false;
  for (;;) {
    const auto n = ::read(notify_.get(), block.data(), block.size());
    if (n <= 0) return any;
    const std::lock_guard lock(mutex_);
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(block.data() + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      const auto names = names_.find(event->wd);
      const bool known = names != names_.end() && event->len > 0 && names->second.contains(event->name);
      any = any || known || (event->mask & IN_Q_OVERFLOW) != 0 || (names != names_.end() && (event->mask & folder_is_gone) != 0);
    }
  }
}

void FileWatch::run() {
  for (;;) {
    std::array<pollfd, 2> wait{{{notify_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    ::poll(wait.data(), wait.size(), -1);
    if (wait[1].revents != 0) return;
    if (!read_events()) continue;
    changed_();
    // What comes in a burst is one change.
    if (::poll(&wait[1], 1, static_cast<int>(calm_.count())) > 0) return;
  }
}

}  // namespace endstate::agent
