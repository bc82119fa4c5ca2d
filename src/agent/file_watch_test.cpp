#include "src/agent/file_watch.hpp"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <filesystem>
#include <fstream>

#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

using namespace std::chrono_literals;

struct Bell {
  std::mutex mutex;
  std::condition_variable rung;
  int rings = 0, seen = 0;
  void ring() {
    const std::lock_guard lock(mutex);
    ++rings;
    rung.notify_all();
  }
  bool rings_within(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    const bool rang = rung.wait_for(lock, time, [&] { return rings > seen; });
    seen = rings;
    return rang;
  }
};

}  // namespace

TEST_CASE("a change of a watched file is told within a second, others are not", "[agent][watch]") {
  const Folder folder;
  const auto at = [&](const std::string& path) { return folder.path() + path; };
  put(at("/etc/app/config"), "one");
  put(at("/etc/app/other"), "one");
  put(at("/bin/app"), "one");
  Bell bell;
  FileWatch watch(
      folder.path(), [&] { bell.ring(); }, 1ms);
  const std::vector<std::string> paths{"/etc/app/config", "/bin/app", "/not/there/yet"};
  REQUIRE(watch.watch(paths));
  put(at("/etc/app/other"), "two");
  CHECK_FALSE(bell.rings_within(150ms));
  put(at("/etc/app/config"), "two");
  CHECK(bell.rings_within(1s));
  while (bell.rings_within(50ms)) continue;
  SECTION("removed") { std::filesystem::remove(at("/bin/app")); }
  SECTION("replaced") {
    put(at("/bin/new"), "two");
    while (bell.rings_within(50ms)) continue;
    std::filesystem::rename(at("/bin/new"), at("/bin/app"));
  }
  SECTION("its mode") { std::filesystem::permissions(at("/bin/app"), std::filesystem::perms::owner_all); }
  SECTION("with its folder") { std::filesystem::remove_all(at("/bin")); }
  SECTION("in a folder that came later") {
    std::filesystem::create_directories(at("/not/there"));
    REQUIRE(watch.watch(paths));
    put(at("/not/there/yet"), "here");
  }
  CHECK(bell.rings_within(1s));
}

TEST_CASE("what isn't to be watched any more is silent, and watches have a bound", "[agent][watch]") {
  const Folder folder;
  put(folder.path() + "/a/file", "one");
  Bell bell;
  FileWatch watch(
      folder.path(), [&] { bell.ring(); }, 1ms);
  REQUIRE(watch.watch({"/a/file"}));
  REQUIRE(watch.watch({}));
  put(folder.path() + "/a/file", "two");
  CHECK_FALSE(bell.rings_within(150ms));
  std::vector<std::string> many;
  for (std::size_t i = 0; i <= max_watched_folders; ++i) many.push_back("/" + std::to_string(i) + "/file");
  CHECK_FALSE(watch.watch(many));
}

}  // namespace endstate::agent::testing
