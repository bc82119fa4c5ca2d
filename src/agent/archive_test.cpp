#include "src/agent/archive.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <random>

#include "src/agent/testing.hpp"
#include "src/agent/tree.hpp"

namespace endstate::agent::testing {
namespace {

struct Unpacked {
  Folder folder;
  Result<std::vector<UnpackedEntry>> entries = fail(Code::invalid, "");
};

std::unique_ptr<Unpacked> unpack(const std::string& file, const UnpackLimits& limits = {}) {
  auto out = std::make_unique<Unpacked>();
  std::filesystem::create_directory(out->folder.path() + "/in");
  const Fd archive(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const Fd folder(::open((out->folder.path() + "/in").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  out->entries = unpack_archive(archive.get(), std::filesystem::file_size(file), folder.get(), limits);
  return out;
}
std::unique_ptr<Unpacked> unpack(const std::vector<Entry>& entries, const UnpackLimits& limits = {}) {
  const Folder shop;
  make_archive(shop.path() + "/a.tar.gz", entries);
  return unpack(shop.path() + "/a.tar.gz", limits);
}

}  // namespace

TEST_CASE("an archive is unpacked as it is", "[agent][archive]") {
  const auto u = unpack({{.path = "./", .type = 'd'},
                         {.path = "./bin/", .type = 'd', .mode = 0700},
                         {.path = "./bin/tool", .content = "#!/bin/sh\n", .mode = 04755},
                         {.path = "lib/deep/er/file", .content = "x", .mode = 0640},
                         {.path = "bin/alias", .content = "tool", .type = 'l'},
                         {.path = "bin/up", .content = "../lib/deep/er/file", .type = 'l'},
                         {.path = "bin/same", .content = "bin/tool", .type = 'h'},
                         {.path = "empty", .content = ""}});
  REQUIRE(u->entries);
  CHECK(u->entries->size() == 6);
  const auto in = u->folder.path() + "/in/";
  CHECK(get(in + "bin/tool") == "#!/bin/sh\n");
  CHECK(get(in + "bin/alias") == "#!/bin/sh\n");
  CHECK(get(in + "bin/same") == "#!/bin/sh\n");
  CHECK(get(in + "bin/up") == "x");
  CHECK(std::filesystem::status(in + "bin/tool").permissions() == std::filesystem::perms(0755));  // no set-user-id
  CHECK(u->entries->at(0).path == "bin/tool");
  CHECK(u->entries->at(0).mode == 0755);
  CHECK(u->entries->at(0).sha256 == sha256_of_file(in + "bin/tool"));
}

TEST_CASE("what an archive must not hold", "[agent][archive]") {
  std::vector<Entry> entries{{.path = "bin/tool", .content = "x"}};
  std::string says;
  SECTION("a way up") { entries.push_back({.path = "../evil", .content = "x"}), says = "has a path that must not be"; }
  SECTION("a way up in the middle") { entries.push_back({.path = "a/../../evil", .content = "x"}), says = "has a path that must not be"; }
  SECTION("an absolute path") { entries.push_back({.path = "/etc/evil", .content = "x"}), says = "has a path that must not be"; }
  SECTION("a link to an absolute path") { entries.push_back({.path = "l", .content = "/etc", .type = 'l'}), says = "leads out of it"; }
  SECTION("a link that climbs out") { entries.push_back({.path = "a/l", .content = "../../x", .type = 'l'}), says = "leads out of it"; }
  SECTION("a link that climbs after a name") {
    entries.push_back({.path = "a/b/l", .content = "x/../y", .type = 'l'}), says = "leads out of it";
  }
  SECTION("a file through a link") {
    entries.push_back({.path = "l", .content = "bin", .type = 'l'});
    entries.push_back({.path = "l/x", .content = "x"});
    says = "is a folder and something else";
  }
  SECTION("a file through a link, with the folder announced") {
    entries.push_back({.path = "l", .content = "bin", .type = 'l'});
    entries.push_back({.path = "l/", .type = 'd'});
    entries.push_back({.path = "l/x", .content = "x"});
    says = "is a folder and something else";
  }
  SECTION("a file below a file") { entries.push_back({.path = "bin/tool/x", .content = "x"}), says = "is a folder and something else"; }
  SECTION("a device") { entries.push_back({.path = "dev", .type = 'c'}), says = "is a device"; }
  SECTION("a pipe") { entries.push_back({.path = "pipe", .type = 'p'}), says = "is a device, a pipe"; }
  SECTION("an entry twice") { entries.push_back({.path = "./bin//tool", .content = "y"}), says = "twice"; }
  SECTION("a hard link out") { entries.push_back({.path = "h", .content = "/etc/passwd", .type = 'h'}), says = "is no file before it"; }
  SECTION("a hard link to nothing") { entries.push_back({.path = "h", .content = "none", .type = 'h'}), says = "is no file before it"; }
  SECTION("a hard link to a link") {
    entries.push_back({.path = "l", .content = "bin/tool", .type = 'l'});
    entries.push_back({.path = "h", .content = "l", .type = 'h'});
    says = "is no file before it";
  }
  SECTION("a name with a line in it") { entries.push_back({.path = "a\nb", .content = "x"}), says = "has a path that must not be"; }
  SECTION("a name of the agent's own") {
    entries.push_back({.path = ".endstate-new.x", .content = "x"}), says = "has a path that must not be";
  }
  SECTION("a path that is too deep") {
    std::string deep = "x";
    for (int i = 0; i < 40; ++i) deep += "/x";
    entries.push_back({.path = deep, .content = "x"});
    says = "has a path that must not be";
  }
  const auto u = unpack(entries);
  REQUIRE_FALSE(u->entries);
  CHECK(u->entries.error().code == Code::invalid);
  CHECK(u->entries.error().reason == "ArtifactRejected");
  CHECK_THAT(u->entries.error().message, Catch::Contains(says));
  CHECK_FALSE(std::filesystem::exists(u->folder.path() + "/evil"));
  CHECK(get(u->folder.path() + "/in/bin/x").empty());
}

TEST_CASE("an archive that is too much", "[agent][archive]") {
  SECTION("entries") {
    std::vector<Entry> many;
    for (int i = 0; i < 101; ++i) many.push_back({.path = "f" + std::to_string(i), .content = "x"});
    CHECK_FALSE(unpack(many, {.entries = 100})->entries);
    CHECK(unpack(many, {.entries = 101})->entries);
  }
  SECTION("bytes") {
    CHECK_FALSE(unpack({{.path = "a", .content = std::string(600, 'x')}, {.path = "b", .content = std::string(600, 'y')}}, {.bytes = 1000})
                    ->entries);
  }
  SECTION("bytes out of nearly none") {  // 20 MiB of zeros pack to 20 KiB
    const std::vector<Entry> bomb{{.path = "zeros", .content = std::string(20U << 20U, '\0')}};
    const auto u = unpack(bomb, {.ratio = 200, .free_bytes = 1U << 20U});
    REQUIRE_FALSE(u->entries);
    CHECK_THAT(u->entries.error().message, Catch::Contains("unpacks to more than"));
    CHECK(unpack(bomb)->entries);  // below what any package may have
  }
}

TEST_CASE("what is no whole archive", "[agent][archive]") {
  const Folder shop;
  const auto file = shop.path() + "/a.tar.gz";
  std::string noise;
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same bytes each time
  for (int i = 0; i < 200'000; ++i) noise += static_cast<char>(random() & 0xffU);
  make_archive(file, {{.path = "a", .content = noise}, {.path = "b", .content = noise}});
  const auto bytes = get(file);
  SECTION("cut off anywhere") {
    for (const std::size_t keep : {std::size_t{10}, bytes.size() / 3, bytes.size() - 20'000}) {
      std::ofstream(file, std::ios::trunc) << bytes.substr(0, keep);
      const auto u = unpack(file);
      CHECK_FALSE(u->entries);
    }
  }
  SECTION("text") {
    std::ofstream(file, std::ios::trunc) << "<html>not found</html>";
    CHECK_FALSE(unpack(file)->entries);
  }
}

TEST_CASE("where a link leads", "[agent][archive]") {
  CHECK(safe_link_target("l", "x"));
  CHECK(safe_link_target("l", "./x/y"));
  CHECK(safe_link_target("a/b/l", "../../x"));
  CHECK_FALSE(safe_link_target("a/b/l", "../../../x"));
  CHECK_FALSE(safe_link_target("l", ".."));
  CHECK_FALSE(safe_link_target("l", ""));
  CHECK_FALSE(safe_link_target("a/l", "b/.."));
  CHECK_FALSE(safe_link_target("l", "/x"));
  CHECK(*safe_entry_path("./a//b/./c/") == "a/b/c");
  CHECK(*safe_entry_path("./") == "");  // NOLINT(readability-container-size-empty): it is there, and empty
  CHECK_FALSE(safe_entry_path("a\\..\\b"));
}

}  // namespace endstate::agent::testing
