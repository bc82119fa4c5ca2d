// Tells soon when one of some files changes, by inotify(7): the folders that they stand in are watched, and only what happens to these
// names counts. It may say so once too often, and it may miss something (a folder above that is moved, a kernel's queue that runs over): a
// sweep at longer intervals finds that.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "src/agent/tree.hpp"

namespace endstate::agent {

inline constexpr std::size_t max_watched_folders = 1024;

class FileWatch {
 public:
  // `changed`: on a thread of its own, at most once each `calm`.
  FileWatch(std::string root, std::function<void()> changed, std::chrono::milliseconds calm = std::chrono::milliseconds(300));
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // From now on these, and no others; those of folders that aren't there are left out. False: not all of them can be watched (too many
  // folders, or a limit of the kernel). May be called again with the same: folders that were made anew are found. One thread at a time.
  bool watch(const std::vector<std::string>& paths);

 private:
  void run();
  bool read_events();

  Tree tree_;
  std::function<void()> changed_;
  std::chrono::milliseconds calm_;
  Fd notify_, stop_;
  std::mutex mutex_;
  std::map<int, std::set<std::string>> names_;  // by watch
  std::thread thread_;
};

}  // namespace endstate::agent
